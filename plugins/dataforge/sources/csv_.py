"""The csv source: delimited text files; dialect and encoding detected, each part with an override."""

from __future__ import annotations

import csv
import io
import itertools
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dataforge.components.base import ExtractContext, Files
from dataforge.components.database import quote_literal
from dataforge.components.delimited import first_record, unique_names
from dataforge.components.registry import SOURCES
from dataforge.errors import Problem, TerminalError
from dataforge.sources._files import FileSourceConfig, encoding_of, local_files, path_problems, to_utf8

DELIMITERS = ",;\t|"
_RECORDS_BYTES = 64 * 1024
_CUT_RECORDS = 5
_LINE_BYTES = 4 * 1024 * 1024
"""More than the engine takes in one line, 2 MB, which it tells, and less than its buffer, beyond which it does not."""
_QUOTES_BYTES = 4 * 1024 * 1024
"""Bytes to search for unusual quotes: that is cheap, and they may come late."""


class CsvConfig(FileSourceConfig):
    """Config of the csv source."""

    type: Literal["csv"] = "csv"
    encoding: str | None = Field(
        default=None,
        description="Encoding of the files. When not set: UTF-8, UTF-16 or UTF-32 where they are that, another where "
        "much text speaks for it, else cp1252; the log names it.",
        examples=["utf-8", "cp1252", "utf-16"],
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=4,
        description="Text between fields; detected when not set.",
        examples=[";", "\t"],
    )
    quote: str | None = Field(
        default=None, max_length=1, description='Quoting character; empty for none; detected when not set, mostly ".'
    )
    escape: str | None = Field(
        default=None, max_length=1, description="Character that escapes a quote; a doubled quote when not set."
    )
    header: bool | None = Field(
        default=None,
        description="Whether the first record holds the column names. Detected when not set: it does when all its "
        "fields are texts. Names that come twice get _1, _2 and so on.",
    )
    null_values: tuple[str, ...] = Field(
        default=("",), description="Texts that mean no value, quoted or not.", examples=[["", "NA", "null"]]
    )
    skip_rows: int = Field(default=0, ge=0, description="Lines to skip before the header.")
    comment: str | None = Field(
        default=None, min_length=1, max_length=1, description="Character that begins a comment.", examples=["#"]
    )


@SOURCES.register(CsvConfig)
class CsvSource:
    """Reads delimited text files: by path, glob or S3 key, compressed too, with any dialect and encoding."""

    def __init__(self, config: CsvConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the files with their dialect; the runtime types them over all rows."""
        return self.read(local_files(self.config, context), context)

    def read(self, files: Iterable[Path], context: ExtractContext) -> Files:
        """Return these files, which are local and not compressed, with their dialect."""
        paths: list[Path] = []
        for index, path in enumerate(files):
            encoding = self.config.encoding or encoding_of(path)
            if self.config.encoding is None and not encoding.startswith("utf-8"):
                told = "encoding detected" if encoding.startswith("utf-") else "encoding assumed"
                context.log(told, file=path.name, encoding=encoding)
            paths.append(to_utf8(path, encoding, context.scratch / f"utf8-{index}", keep_bom=True))
            _check_lines(paths[-1])
        if not paths:
            return Files("csv", ())
        sample = next((path for path in paths if path.stat().st_size), paths[0])
        return Files("csv", tuple(paths), self.options(sample))

    def options(self, path: Path) -> dict[str, Any]:
        """Return the reader options for files like `path`: the config's, and what it leaves open as detected."""
        config = self.config
        found: dict[str, str] = {}
        if config.delimiter is None or config.quote is None or config.escape is None:
            found = _plain_dialect(path, config) or _with_header_mark(_sniff(path, config), path, config)
        quote = config.quote if config.quote is not None else found.get("quote", '"')
        options: dict[str, Any] = {
            "delimiter": config.delimiter or found.get("delimiter", ","),
            "quote": quote,
            "escape": config.escape if config.escape is not None else found.get("escape") or quote,
            "null_values": list(config.null_values),
            "skip_rows": config.skip_rows,
            "comment": config.comment,
        }
        options["header"] = config.header if config.header is not None else _has_header(path, options)
        return options

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the paths as they stand."""
        return path_problems(self.config)

    def check(self, context: ExtractContext) -> str:
        """Return how many files there are."""
        paths = local_files(self.config, context)
        return f"{len(paths)} file(s), {sum(path.stat().st_size for path in paths)} bytes uncompressed"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns of the header; their types are known only when the rows are read, so they are empty."""
        files = self.extract(context)
        record = next(filter(None, (first_record(path, files.options) for path in files.paths)), [])
        names = record if files.options["header"] else [f"column{index}" for index in range(len(record))]
        return dict.fromkeys(unique_names(names), "")


def _plain_dialect(path: Path, config: CsvConfig) -> dict[str, str] | None:
    """Return the dialect of a file whose beginning leaves no doubt, else None for the engine's slower sniffer to see.

    No doubt: only one delimiter makes records of one length, and all quotes surround fields or are doubled.
    """
    quote = config.quote if config.quote is not None else '"'
    if not quote or config.escape not in (None, quote) or len(config.delimiter or ",") > 1:
        return None
    with path.open("rb") as file:
        data = file.read(_QUOTES_BYTES)
    text = data[:_RECORDS_BYTES].decode("utf-8-sig", "replace")
    lines = list(io.StringIO(text, newline=""))[config.skip_rows :]
    if config.comment:
        lines = [line for line in lines if not line.startswith(config.comment)]
    is_cut = len(data) > _RECORDS_BYTES
    fitting = [mark for mark in config.delimiter or DELIMITERS if mark in text and _is_even(lines, mark, quote, is_cut)]
    if len(fitting) != 1 or b"\\" + quote.encode() in data:
        return None
    if config.quote is None:
        openings = (b"\n'", b"\r'", fitting[0].encode() + b"'", fitting[0].encode() + b" '")
        if text.startswith("'") or any(opening in data for opening in openings):
            return None
    return {"delimiter": fitting[0], "quote": quote, "escape": quote}


def _is_even(lines: list[str], delimiter: str, quote: str, is_cut: bool) -> bool:
    """Whether the records all have the same number of fields, at least two, and no quote stands in an odd place."""
    # Without the doubled ones, a quote inside a field neither opens nor closes it.
    reader = csv.reader(
        (line.replace(quote * 2, "") for line in lines), delimiter=delimiter, quotechar=quote, strict=True
    )
    records: list[list[str]] = []
    try:
        records.extend(filter(None, reader))
    except csv.Error:
        # Where the text was cut, so may be a quoted field.
        if not is_cut or reader.line_num < len(lines):
            return False
    else:
        if is_cut:
            records.pop()
    return (
        len(records) >= (_CUT_RECORDS if is_cut else 1)
        and len({len(record) for record in records}) == 1
        and len(records[0]) > 1
        and not any(quote in field for record in records for field in record)
    )


def _sniff(path: Path, config: CsvConfig) -> dict[str, str]:
    """Return delimiter, quote and escape as the engine's sniffer sees them; nothing where it finds no sense."""
    import duckdb

    given = {"delim": config.delimiter, "quote": config.quote, "escape": config.escape, "comment": config.comment}
    arguments = [f"{key} = {quote_literal(value)}" for key, value in given.items() if value]
    if config.skip_rows:
        arguments.append(f"skip = {config.skip_rows}")
    call = ", ".join([quote_literal(str(path)), "all_varchar = true", *arguments])
    sql = f"SELECT Delimiter, Quote, Escape FROM sniff_csv({call})"
    try:
        with duckdb.connect(config={"threads": 1}) as con:
            rows = con.execute(sql).fetchall()
    except duckdb.Error:
        return _by_first_line(path, config)
    delimiter, quote, escape = rows[0]
    if config.delimiter is None and delimiter not in DELIMITERS:
        return _by_first_line(path, config)
    absent = (None, "", "\0", "(empty)")
    return {
        "delimiter": delimiter,
        "quote": '"' if quote in absent else quote,
        "escape": "" if escape in absent else escape,
    }


def _with_header_mark(found: dict[str, str], path: Path, config: CsvConfig) -> dict[str, str]:
    """Return the dialect with the delimiter that the header shows, where the sniffer saw one column for ragged records.

    So the ragged line is an error that names it, in place of a file that loads as one column.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        lines = [line for line in text.read(_RECORDS_BYTES).splitlines()[config.skip_rows :] if line.strip()]
    if config.comment:
        lines = [line for line in lines if not line.startswith(config.comment)]
    if config.delimiter or not lines or found["delimiter"] in lines[0]:
        return found
    marks = [mark for mark in DELIMITERS if mark in lines[0]]
    rest = lines[1:]
    if len(marks) != 1 or 2 * sum(marks[0] in line for line in rest) < len(rest):
        return found
    return {**found, "delimiter": marks[0]}


def _check_lines(path: Path) -> None:
    """Raise TerminalError for a line longer than the engine's buffer, which its reader may leave out in silence.

    A line break in each window of the file shows that there is none; it is looked for from the window's end.
    """
    size = path.stat().st_size
    if size <= _LINE_BYTES:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 0
        while start + _LINE_BYTES < size:
            end = start + _LINE_BYTES
            found = data.rfind(b"\n", start, end)
            if found < 0:
                found = data.rfind(b"\r", start, end)
            if found < 0:
                raise TerminalError(f"{path.name}: the line that begins at byte {start} is longer than 2 MB")
            start = found + 1


def _by_first_line(path: Path, config: CsvConfig) -> dict[str, str]:
    with path.open(encoding="utf-8-sig", errors="replace") as text:
        line = next(itertools.islice(text, config.skip_rows, None), "")[:65536]
    return {"delimiter": max(DELIMITERS, key=lambda mark: (line.count(mark), -DELIMITERS.index(mark)))}


def _has_header(path: Path, options: dict[str, Any]) -> bool:
    """Whether all fields of the first record are texts (one may be empty, as an index's name is)."""
    record = first_record(path, options)
    if not record:
        return True
    filled = [field for field in record if field.strip()]
    return len(filled) >= max(1, len(record) - 1) and not any(map(_is_value, filled))


def _is_value(field: str) -> bool:
    text = field.strip().lower()
    if text in ("true", "false") or (text[:4].isdigit() and text[4:5] == "-" and text[5:7].isdigit()):
        return True
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
