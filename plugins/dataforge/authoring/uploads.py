"""Uploaded sample files: kept below `uploads_url`, profiled, and lent to the drafts of the person who uploaded them.

A draft names one as `upload://<id>/<name>`. That path leads nowhere by itself: only within `lent`, which looks up whose
file it is, does it stand for the file, so that no config in force and nobody else's draft can read it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from dataforge.authoring.sniffing import Sniffed, sniff
from dataforge.components.paths import UPLOAD, filesystem, lending, s3_call
from dataforge.errors import ConfigError, DataForgeError, NothingToLoad, Problem, TerminalError
from dataforge.settings import Settings, get_settings

if TYPE_CHECKING:
    from dataforge.store.database import Store
    from dataforge.store.uploads import Upload

MAX_BYTES = 5 * 1024 * 1024
MAX_COLUMNS = 300
EXAMPLES = 5
_MAX_EXAMPLE = 60
_MAX_READ = 1_000
"""Characters of a value that are looked at, so that no secret is cut in a place where it is no longer known."""
_MAX_LENT = 20
_ENDINGS = {"excel": "csv", "openapi": "json"}
_MAX_UNPACKED = 64 * 1024 * 1024
_ROWS_LOOKED_AT = 200
_swept: dict[str, float] = {}
_NAMED = re.compile(re.escape(UPLOAD) + r"([0-9a-f]{32})/")


def take(store: Store, actor: str, name: str, data: bytes, folder: Path) -> Upload:
    """Keep a file of a person; ConfigError when it is too large, of no known kind, or they have too many.

    `folder` is the configs folder, whose policies say which columns are private.
    """
    from dataforge.store import uploads

    if len(data) > MAX_BYTES:
        raise ConfigError(Problem("too-large", f"a file may have {MAX_BYTES:,} bytes"))
    if not uploads.room(store, actor):
        message = f"you have {uploads.MOST} uploads"
        raise ConfigError(Problem("too-many-uploads", message, (), "delete one that you don't need"))
    sniffed = sniff(data)
    kept = _as_csv(data) if sniffed.kind == "excel" else data
    told = {**_profile(kept, sniffed, name, folder), "source": dict(sniffed.source)}
    id_, place = uploads.new_id(), Place.of(get_settings())
    place.put(id_, kept)
    try:
        digest = hashlib.sha256(data).hexdigest()
        return uploads.keep(
            store, id_, actor, name=shown_name(name), kind=sniffed.kind, size=len(data), digest=digest, profile=told
        )
    except BaseException:
        place.remove(id_)
        raise


def forget(store: Store, id_: str, actor: str) -> bool:
    """Remove a person's file; False when this person has none such."""
    from dataforge.store import uploads

    if uploads.forget(store, id_, actor) is None:
        return False
    Place.of(get_settings()).remove(id_)
    return True


def sweep(store: Store, at_most_every_seconds: float = 0) -> int:
    """Remove files that are too old, and those that a crash left without an owner; return how many."""
    from dataforge.store import uploads

    settings = get_settings()
    now = time.monotonic()
    if now < _swept.get(settings.uploads_url, -math.inf) + at_most_every_seconds:
        return 0
    _swept[settings.uploads_url] = now
    place = Place.of(settings)
    old = uploads.forget_old(store, settings.uploads_days)
    for id_ in old:
        place.remove(id_)
    there = place.left(older_than_seconds=3_600)
    lost = there - uploads.known(store, there) if there else set()
    for id_ in lost:
        place.remove(id_)
    return len(old) + len(lost)


def path_of(upload: Upload) -> str:
    """Return the path by which a draft names a file."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(upload.name).stem).strip("_-")[:80] or "file"
    return f"{UPLOAD}{upload.id}/{safe}.{_ENDINGS.get(upload.kind, upload.kind)}"


def shown_name(name: str) -> str:
    """Return the last part of a file's name, without what a reader could be misled by."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(char for char in last if char.isprintable())[:200] or "file"


@contextmanager
def lent(store: Store, actor: str, text: str) -> Iterator[None]:
    """Let the files of this person that a text names be read within the block."""
    from dataforge.store import uploads

    ids = list(dict.fromkeys(_NAMED.findall(text)))[:_MAX_LENT]
    mine = [one for one in uploads.of(store, actor, ids) if one.profile.get("source")] if ids else []
    if not mine:
        yield
        return
    with ExitStack() as stack:
        place = Place.of(get_settings())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dataforge-", dir=_scratch())))
        files = {path_of(one): found for one in mine if (found := place.local(one.id, scratch)) is not None}
        stack.enter_context(lending(files))
        yield


@dataclass(frozen=True)
class Place:
    """Where the files lie: a folder, or a prefix in S3. Their names are ours, never those of their owners."""

    root: str
    fs: Any
    connection: Any = None

    @classmethod
    def of(cls, settings: Settings) -> Place:
        """Return the place that `uploads_url` names; TerminalError when it names none."""
        url = settings.uploads_url.rstrip("/")
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            from fsspec.implementations.local import LocalFileSystem

            return cls(unquote(parts.path), LocalFileSystem())
        if parts.scheme == "s3" and parts.netloc and settings.staging_connection:
            from dataforge.runtime.connections import lookup

            found = lookup(settings.staging_connection)
            return cls(url.removeprefix("s3://"), filesystem(found), found)
        raise TerminalError(
            f"[dataforge] uploads_url {url!r} is not supported; write file:///folder, or s3://bucket/prefix with "
            "staging_connection"
        )

    def put(self, id_: str, data: bytes) -> None:
        """Write a file."""
        if self.connection is None:
            Path(self.root).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._call(lambda: self.fs.pipe_file(self._at(id_), data))
        if self.connection is None:
            Path(self._at(id_)).chmod(0o600)

    def local(self, id_: str, scratch: Path) -> Path | None:
        """Return the file as a local one, downloaded to scratch where it must be; None when it is gone."""
        if self.connection is None:
            path = Path(self._at(id_))
            return path if path.is_file() else None
        target = scratch / id_
        try:
            self._call(lambda: self.fs.get_file(self._at(id_), str(target)))
        except (FileNotFoundError, TerminalError):
            return None
        return target

    def remove(self, id_: str) -> None:
        """Remove a file, which may be gone already."""
        with suppress(FileNotFoundError, DataForgeError):
            self._call(lambda: self.fs.rm_file(self._at(id_)))

    def left(self, older_than_seconds: float) -> set[str]:
        """Return the ids of files that lie there for longer."""
        from datetime import datetime, timedelta, timezone

        try:
            found = self._call(lambda: self.fs.ls(self.root, detail=True))
        except (FileNotFoundError, DataForgeError):
            return set()
        until = datetime.now(timezone.utc) - timedelta(seconds=older_than_seconds)
        old = set()
        for one in found:
            changed = one.get("mtime") or one.get("LastModified")
            at = datetime.fromtimestamp(changed, timezone.utc) if isinstance(changed, int | float) else changed
            if one.get("type") == "file" and at is not None and at < until:
                old.add(PurePosixPath(one["name"]).name)
        return {name for name in old if re.fullmatch(r"[0-9a-f]{32}", name)}

    def _at(self, id_: str) -> str:
        assert re.fullmatch(r"[0-9a-f]{32}", id_)
        return f"{self.root}/{id_}"

    def _call(self, call: Any) -> Any:
        if self.connection is None:
            try:
                return call()
            except FileNotFoundError:
                raise
            except OSError as error:
                raise TerminalError(f"uploads can't be kept: {error.strerror}") from None
        return s3_call("uploads", self.connection, call)


def _scratch() -> str | None:
    folder = get_settings().scratch_folder
    if folder is not None:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # as the runtime's own scratch does
    return str(folder) if folder else None


def _profile(data: bytes, sniffed: Sniffed, name: str, folder: Path) -> dict[str, Any]:
    """Return rows and columns of a file: types, missing values, and a few values of those that are not private."""
    if not sniffed.source:
        return {"rows": None, "columns": [], "operations": list(sniffed.operations)}
    from dataforge.authoring.policies import read_policies

    policies = read_policies(folder)
    with tempfile.TemporaryDirectory(prefix="dataforge-", dir=_scratch()) as scratch:
        path = Path(scratch) / "upload"
        path.write_bytes(data)
        try:
            rows, columns = _read(path, sniffed.source)
        except NothingToLoad:
            raise ConfigError(Problem("unfit-upload", "the file holds no records", ())) from None
        except (TerminalError, ConfigError) as error:
            said = str(error).replace(str(path), "the file")
            raise ConfigError(Problem("unfit-upload", f"the file can't be read: {said}", ())) from None
    hidden = {column for column in columns if policies.masks(shown_name(name), column)}
    return {"rows": rows, "columns": [_column(name, *found, hidden=name in hidden) for name, found in columns.items()]}


def _read(path: Path, source: Mapping[str, Any]) -> tuple[int, dict[str, tuple[str, int, list[Any]]]]:
    """Return the number of records, and of each column the type, how many values are missing, and some values."""
    from sqlglot import exp

    from dataforge.components import sql
    from dataforge.components.base import Relation
    from dataforge.config.pipeline import parse
    from dataforge.runtime.context import local
    from dataforge.runtime.engines.duckdb_ import read
    from dataforge.runtime.extract import landed

    text = f"{UPLOAD}the-file"
    with lending({text: path}):
        config = parse(
            {
                "dag_id": "upload",
                "source": {**source, "path": text},
                "destination": {"type": "duckdb", "table": "upload"},
            }
        )
        context = local(config, {})
        with context.scratch() as scratch, landed(config, ("source",), context, scratch, (scratch,)) as (con, views):
            columns = dict(list(views["source"].columns.items())[:MAX_COLUMNS])
            counts: list[exp.Expr] = [sql.aliased(exp.Count(this=exp.Star()), "total")]
            counts += [
                sql.aliased(exp.Count(this=sql.column(name)), f"filled {place}") for place, name in enumerate(columns)
            ]
            said = read(con, sql.select(Relation("source"), *counts)).to_pylist()[0]
            first = read(con, sql.select(Relation("source"), exp.Star()).limit(_ROWS_LOOKED_AT)).to_pylist()
    total = int(said["total"])
    return total, {
        name: (type_, total - int(said[f"filled {place}"]), [row[name] for row in first])
        for place, (name, type_) in enumerate(columns.items())
    }


def _column(name: str, type_: str, nulls: int, values: list[Any], *, hidden: bool) -> dict[str, Any]:
    from dataforge.authoring.catalogue import is_private
    from dataforge.gateway.redaction import Redaction

    shown: dict[str, None] = {}
    for value in values:
        if value is not None and len(shown) < EXAMPLES:
            text = "***" if hidden or is_private(name) else Redaction().text(str(value)[:_MAX_READ])
            shown[text if len(text) <= _MAX_EXAMPLE else text[:_MAX_EXAMPLE] + "…"] = None
    return {"name": name, "type": type_, "nulls": nulls, "examples": list(shown)}


def _as_csv(data: bytes) -> bytes:
    """Return the first sheet of an Excel file as CSV, which is what is kept of it."""
    import csv
    import io
    import zipfile

    try:
        from openpyxl import load_workbook
    except ImportError:
        hint = "install airflow-dataforge[excel], or save the sheet as CSV"
        raise ConfigError(Problem("unfit-upload", "Excel files need the package openpyxl", (), hint)) from None
    text = io.StringIO(newline="")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MAX_UNPACKED:
                raise ConfigError(Problem("too-large", f"the sheet has more than {_MAX_UNPACKED:,} bytes unpacked"))
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        writer = csv.writer(text)
        for row in book.worksheets[0].iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                writer.writerow([_cell(cell) for cell in row])
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  # the package raises whatever it meets in a damaged file
        message = f"the Excel file can't be read ({type(error).__name__})"
        raise ConfigError(Problem("unfit-upload", message, (), "save the sheet as CSV")) from None
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    from datetime import date, datetime, time

    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date | time) else value
