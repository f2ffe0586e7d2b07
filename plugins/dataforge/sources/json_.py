"""The json source: NDJSON, JSON lists, and lists inside a JSON object."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dataforge.components.base import ExtractContext, Files
from dataforge.components.registry import SOURCES
from dataforge.errors import Problem, TerminalError
from dataforge.sources import _json_text
from dataforge.sources._files import FileSourceConfig, local_files, path_problems, to_utf8, unicode_of

Form = Literal["newline_delimited", "array", "unstructured"]


class JsonConfig(FileSourceConfig):
    """Config of the json source."""

    type: Literal["json"] = "json"
    records: str = Field(
        default="",
        max_length=500,
        description="Dotted path to the list of records inside a JSON object; not set for NDJSON and for a list.",
        examples=["data.orders"],
    )
    format: Literal["auto", "newline_delimited", "array"] = Field(
        default="auto",
        description="newline_delimited: one object a line; array: one list; auto looks at the beginning.",
    )
    encoding: str | None = Field(
        default=None, description="Encoding of the files; UTF-8, UTF-16 and UTF-32 are told when not set."
    )


@SOURCES.register(JsonConfig)
class JsonSource:
    """Reads JSON files: NDJSON, a list, or a list inside an object; by path, glob or S3 key, compressed too."""

    def __init__(self, config: JsonConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the files, all in one form; the runtime types the records over all of them."""
        return self.read(local_files(self.config, context), context)

    def read(self, paths: Iterable[Path], context: ExtractContext) -> Files:
        """Return these files, which are local and not compressed, all in one form."""
        files: list[tuple[Path, Form]] = []
        for index, path in enumerate(paths):
            encoding = self.config.encoding or unicode_of(path)
            if encoding is None:
                raise TerminalError(f"{path.name} is not UTF-8, as JSON is; set 'encoding', for example to cp1252")
            path = to_utf8(path, encoding, context.scratch / f"utf8-{index}")
            if self.config.records:
                files.append((self._inner(path, context.scratch / f"records-{index}"), "newline_delimited"))
            else:
                files.append((path, self.config.format if self.config.format != "auto" else form_of(path)))
        forms = {form for path, form in files if path.stat().st_size}
        if len(forms) > 1:
            forms = {"unstructured"} if "array" not in forms else set()
        if not forms and any(path.stat().st_size for path, _ in files):
            raise TerminalError("some files hold a JSON list and others objects; read them by two sources")
        return Files("json", tuple(path for path, _ in files), {"format": next(iter(forms), "newline_delimited")})

    def _inner(self, path: Path, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / path.name
        with path.open("rb") as source, target.open("wb") as out:
            try:
                _json_text.copy_records(source, self.config.records, out, path.name)
            except ValueError as error:
                raise TerminalError(f"{path.name}: a record is no JSON: {error}") from None
        return target

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the paths as they stand."""
        return path_problems(self.config)

    def check(self, context: ExtractContext) -> str:
        """Return how many files there are."""
        paths = local_files(self.config, context)
        return f"{len(paths)} file(s), {sum(path.stat().st_size for path in paths)} bytes uncompressed"


def form_of(path: Path) -> Form:
    """Return the form of a JSON file, by its beginning."""
    with path.open("rb") as file:
        line = file.readline(16 * 1024 * 1024)
        while line and not line.strip():
            line = file.readline(16 * 1024 * 1024)
    if line.lstrip().startswith(b"["):
        return "array"
    # otherwise it is an object that goes over several lines
    return "newline_delimited" if not _json_text.fault(line) or _json_text.is_whole(line) else "unstructured"
