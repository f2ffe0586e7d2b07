"""What the file destinations share: where a file goes, and how it gets there whole or not at all.

A path that ends in `/` is a dataset folder, to which every run adds a part of its own; any other path is one file that
a run replaces. Local paths lie below the deployment's output folder, S3 keys are reached through an Airflow connection.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator

from dataforge.components.base import (
    Capabilities,
    DestinationConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
)
from dataforge.components.delivery import Reject
from dataforge.components.fields import ColumnName, ConnectionId, TemplatedText
from dataforge.components.paths import filesystem, is_s3, place, s3_call
from dataforge.components.prefetch import prefetch
from dataforge.destinations._columns import Wire, engine_types
from dataforge.destinations._file_columns import Arranged, arrange
from dataforge.destinations._file_ledger import Book, FileLedger
from dataforge.destinations._file_load import FileLoad, Piece, Terms, Written
from dataforge.destinations._file_manifest import PART, ledger_of, pipeline_key
from dataforge.destinations._file_partitions import Split, check_columns
from dataforge.destinations._file_place import (
    Bucket,
    Folder,
    sha256_of,
    sync,
    temporary,
)
from dataforge.destinations._output_path import TEMPORARY, outside, stable_path
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError, TransientError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    import pyarrow as pa

DATABASE_ENDINGS = (".duckdb", ".db", ".sqlite", ".sqlite3", ".wal")
"""Endings of database files and of their logs, which no file destination writes, whatever their case."""
_OTHER_NAME = "choose another name, or the duckdb destination to write a table in a database"
_TERMINAL = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


class FilesConfig(DestinationConfig):
    """Base of the file destinations' configs."""

    path: TemplatedText = Field(
        min_length=1,
        description="File or folder to write, relative to the deployment's output folder, or s3://bucket/key. A path "
        "that ends in '/' is a dataset folder: each run adds a part of its own; repeating a run replaces that part. "
        "Any other path is one file, which only write_disposition 'replace' can write.",
        examples=["exports/orders/", "s3://lake/orders/"],
    )
    connection: ConnectionId | None = Field(
        default=None, description="Airflow connection of type aws for a path in S3.", examples=["lake"]
    )

    keep_previous: bool = Field(
        default=False,
        description="Whether replace keeps the data that it replaces, in the folder _dataforge beside them, so that "
        "the load can be undone.",
    )
    partition_by: tuple[ColumnName, ...] = Field(
        default=(),
        max_length=5,
        description="Columns whose values name folders below the path, as Hive does (region=north/day=2025-01-02/): "
        "text, integers, booleans or dates. The files do not hold these columns; readers take them from the names.",
        examples=[["region", "day"]],
    )
    replace_scope: Literal["all", "partitions"] = Field(
        default="all",
        description="What replace replaces: all of the target, or those partitions that this run has rows for.",
    )

    @field_validator("path")
    @classmethod
    def _can_be_written(cls, value: str) -> str:
        if message := refused_path(value):
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _path_fits_disposition(self) -> FilesConfig:
        if self.write_disposition == "merge":
            raise ValueError(
                "files can't be merged into: their rows are not found by key. Choose a table destination (such as "
                "duckdb or postgres), or write_disposition 'replace'"
            )
        if self.write_disposition == "append" and not self.path.endswith("/"):
            raise ValueError(
                f"append needs a folder: write the path as {self.path + '/'!r} (each run adds a part of its own), or "
                "set write_disposition to 'replace'"
            )
        if self.partition_by and not self.path.endswith("/"):
            raise ValueError(f"'partition_by' needs a folder: write the path as {self.path + '/'!r}")
        if len(set(self.partition_by)) < len(self.partition_by):
            raise ValueError("'partition_by' names a column twice")
        if self.replace_scope == "partitions" and not (self.partition_by and self.write_disposition == "replace"):
            raise ValueError("replace_scope 'partitions' needs 'partition_by' and write_disposition 'replace'")
        if is_s3(self.path) and self.connection is None:
            raise ValueError(f"path {self.path!r} needs a 'connection' (an Airflow connection of type aws)")
        return self

    def asset(self) -> str | None:
        """Return `dataforge://files/path` or `dataforge://connection/bucket/key`; the part before the first `${`."""
        path = stable_path(self.path.removeprefix("s3://"))
        return f"dataforge://{quote(self.connection or 'files')}/{quote(path)}" if path else None


def refused_path(value: str) -> str | None:
    """Return why no file destination may write to that path, whatever lies there; None when it may."""
    if is_s3(value):
        bucket, _, key = value.removeprefix("s3://").partition("/")
        if not bucket or not key.strip("/"):
            return f"{value!r} names no place in a bucket; write s3://bucket/key or s3://bucket/folder/"
        problem = outside(value, PurePosixPath(key))
    else:
        problem = outside(value, PurePosixPath(value))
    if problem is None and value.lower().endswith(DATABASE_ENDINGS):
        return f"{value!r} is the name of a database file; {_OTHER_NAME}"
    return problem


class Format(Protocol):
    """How one file format is written."""

    @property
    def suffix(self) -> str:
        """The ending of the format's file names, compression included."""
        ...

    @property
    def replaces(self) -> tuple[str | None, ...]:
        """The kinds of files, as `kind_of` says them, that may stand at the target before."""
        ...

    def wire(self, field: pa.Field[Any]) -> Wire:
        """Return how a column is handed to the writer."""
        ...

    def write(self, reader: pa.RecordBatchReader, target: Path, scratch: Path) -> None:
        """Write all rows to a local file, which is there and empty."""
        ...


@dataclass(frozen=True)
class FileDestination:
    """Base of the file destinations: rows to a local temporary file, then in one step to its place.

    A reader who lists a dataset folder, in place of reading its manifest, can see the parts of a load and those that it
    replaces for a moment together, and after a kill until the next load or sweep.
    """

    config: FilesConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace"}), transactional=True, kind="files", commit="manifest", plans=True
    )

    def format(self) -> Format:
        """Return the writer that the config describes."""
        raise NotImplementedError

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Write one file or part; it is there whole, with all that belongs to it, or as before."""
        load = FileLoad(self._book(context), self._terms(), context)
        with _errors(load.book.place.named(load.book.file or f"{PART}{context.run_key}")):
            self._check_target(load.book)
            manifest, done = load.before()
            if done is not None:
                context.log("these records are loaded already", target=done.target, rows=done.rows)
                return done
            planned = load.schema_before(manifest)
            replaces = self.config.write_disposition == "replace"
            arranged = arrange(
                _checked(incoming.schema),
                planned,
                context.contract,
                self.format().wire,
                context.limit,
                replaces=replaces,
                step=context.last_step,
            )
            if self.config.partition_by:
                check_columns(self.config.partition_by, arranged.schema)
                with TemporaryDirectory(dir=_made(context.scratch), prefix="partitions-") as folder:
                    report = load.commit(self._partitioned(incoming, arranged, Path(folder)), planned)
            else:
                with self._temporary(load.book, context) as file:
                    written = self._write(incoming, arranged, file, context.scratch)
                    self._check_target(load.book)  # what came there while the rows were written counts as well
                    report = load.commit(written, planned)
        for note in report.schema_notes:
            context.log(note, target=report.target)
        context.log("file written", target=report.target, rows=report.rows, bytes=report.bytes)
        return report

    @contextmanager
    def ledger(self, context: LoadContext) -> Iterator[FileLedger]:
        """Open the ledger of a pipeline in this target."""
        book = self._book(context)
        with _errors(book.place.url):
            yield FileLedger(book, pipeline_key(context.dag_id, context.target), context.target)

    def check(self, context: ExtractContext) -> str:
        """Say where files go; raise when the place can't be written."""
        path = self.config.path
        if is_s3(path):
            connection = context.connection(self.config.connection or "")
            bucket = path.removeprefix("s3://").split("/")[0]
            s3_call(f"s3://{bucket}", connection, partial(filesystem(connection).ls, bucket))
            return f"bucket {bucket!r} is reached through connection {connection.id!r}"
        target = place(path, get_settings().output_folder)
        there = next(folder for folder in (target, *target.parents) if folder.exists())
        if not os.access(there, os.W_OK):
            raise TerminalError(f"folder {str(there)!r} can't be written")
        return f"files go to {target}"

    def _book(self, context: LoadContext) -> Book:
        path = self.config.path
        if message := refused_path(path):  # placeholders have their values by now
            raise TerminalError(message)
        dataset = path.endswith("/")
        if self.config.connection is not None and is_s3(path):
            folder, _, file = path.removeprefix("s3://").rpartition("/")
            connection = context.connection(self.config.connection)
            return Book(Bucket(folder, f"{ledger_of(file)}.json", connection, context.log), file)
        base = place(path, get_settings().output_folder)
        file = "" if dataset else base.name
        return Book(Folder(base if dataset else base.parent, f"{ledger_of(file)}.json"), file)

    def _terms(self) -> Terms:
        config = self.config
        return Terms(
            config.write_disposition,
            self.format().suffix,
            config.allow_empty,
            config.allow_shrink,
            config.keep_previous,
            config.partition_by,
            config.replace_scope == "partitions",
        )

    def _check_target(self, book: Book) -> None:
        """Raise TerminalError when something lies at the target that is not ours to replace."""
        if book.place.local:
            base = Path(book.place.named(book.file))
            _check_kind(base, dataset=not book.file)
        if book.file and (edges := book.place.edges(book.file, EDGE)):
            refuse_foreign(book.place.named(book.file), self.format(), *edges)

    def _temporary(self, book: Book, context: LoadContext) -> AbstractContextManager[Path]:
        """Give an empty file to write: for a local target hidden in its folder, so that the last step is one rename."""
        if not book.place.local or context.dry_run:
            context.scratch.mkdir(parents=True, exist_ok=True)
            return temporary(context.scratch / f"upload-{secrets.token_hex(4)}{self.format().suffix}")
        name = book.file or f"{PART}{context.run_key}{self.format().suffix}"
        folder = Path(book.place.named(""))
        folder.mkdir(parents=True, exist_ok=True)
        return temporary(folder / f".{name[-100:]}.{secrets.token_hex(4)}{TEMPORARY}")

    def _write(self, incoming: Incoming, arranged: Arranged, target: Path, scratch: Path) -> Written:
        rows = self._read(incoming, arranged, lambda reader: self.format().write(reader, target, scratch))
        sync(target)
        piece = Piece(target, rows, target.stat().st_size, sha256_of(target))
        return Written((piece,), arranged, _rejects(incoming, arranged))

    def _read(self, incoming: Incoming, arranged: Arranged, write: Callable[[pa.RecordBatchReader], None]) -> int:
        with prefetch(incoming.reader()) as ahead:
            ahead.wait()
            sent = arranged.outgoing(ahead)
            with sent.errors():
                write(sent.reader())
            ahead.finish()
        return sent.rows

    def _partitioned(self, incoming: Incoming, arranged: Arranged, scratch: Path) -> Written:
        """Write a file for each partition, all in scratch."""
        split = Split(self.config.partition_by, scratch / "rows")
        self._read(incoming, arranged, split.take)
        pieces = []
        for number, folder in enumerate(split.folders):
            target = scratch / f"{number}{self.format().suffix}"
            target.touch()
            self.format().write(split.reader(folder), target, scratch)
            pieces.append(Piece(target, split.rows[folder], target.stat().st_size, sha256_of(target), folder))
        return Written(tuple(pieces), arranged, _rejects(incoming, arranged))


def _rejects(incoming: Incoming, arranged: Arranged) -> tuple[Reject, ...]:
    if not (arranged.sieve and arranged.sieve.rejects):
        return ()
    types = json.dumps(engine_types(arranged.records(incoming.schema)))
    return tuple(replace(reject, types=types) for reject in arranged.sieve.rejects)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _checked(schema: pa.Schema) -> pa.Schema:
    if not schema.names or len(set(schema.names)) < len(schema.names):
        message = "the records have no columns, or two of the same name"
        raise ConfigError(Problem("invalid-columns", message, ("path",), "name them with a select or rename transform"))
    return schema


def copy_with_duckdb(reader: pa.RecordBatchReader, query: str, options: str, target: Path, scratch: Path) -> None:
    """Run `COPY (query) TO target (options)`; the query reads the view `incoming`, and nothing else can be reached."""
    import duckdb

    from dataforge.components.database import quote_literal, writing_config

    settings = get_settings()
    spill = scratch / "duckdb-spill"
    try:
        with duckdb.connect(
            config={
                "memory_limit": f"{settings.memory_limit_mb}MiB",
                "threads": settings.threads,
                "temp_directory": str(spill),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
                **writing_config(),
            }
        ) as db:
            db.execute("set TimeZone = 'UTC'")
            db.execute(f"set allowed_paths = [{quote_literal(str(target))}]")
            db.execute("set enable_external_access = false")
            db.execute("set lock_configuration = true")
            db.register("incoming", reader)
            db.execute(f"copy ({query}) to {quote_literal(str(target))} ({options}, use_tmp_file false)")
    except duckdb.IOException as error:
        raise OSError(errno.EIO, str(error).split("\n", 1)[0]) from None
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _check_kind(base: Path, *, dataset: bool) -> None:
    if dataset and base.exists() and not base.is_dir():
        raise TerminalError(
            f"{str(base)!r} is a file; write its path without the '/' at the end, or choose another folder"
        )
    if not dataset and base.is_dir():
        raise TerminalError(f"{str(base)!r} is a folder; write its path with a '/' at the end to add a part to it")


EDGE = 64
"""Bytes of a file's beginning and end that tell what it is."""


def kind_of(head: bytes, tail: bytes) -> str | None:
    """Return in words what a file with these first and last bytes is; None when it is nothing that we know."""
    # The beginning alone is not enough where a text may begin the same way.
    kinds = (
        (head[8:12] == b"DUCK" and b"\0" in head[12:], "a DuckDB database"),
        (head.startswith(b"SQLite format 3\0"), "an SQLite database"),
        (head[:4] in (b"PAR1", b"PARE") and tail[-4:] == head[:4], "a Parquet file"),
        (head.startswith(b"ARROW1\0\0"), "an Arrow file"),
        (head.startswith(b"PK\3\4"), "a ZIP archive or workbook"),
        (head.startswith(b"%PDF-"), "a PDF document"),
        (head.startswith(b"\x1f\x8b"), "a gzip file"),
        (head.startswith(b"\x28\xb5\x2f\xfd"), "a zstd file"),
    )
    return next((kind for fits, kind in kinds if fits), None)


TEXT_KINDS = (None, "a gzip file", "a zstd file")
"""What `kind_of` says of the text files that are written, of any compression: a config may change it."""


def refuse_foreign(target: str, format_: Format, head: bytes, tail: bytes) -> None:
    """Raise TerminalError when what lies at the target is no file of the kind that would replace it."""
    kind = kind_of(head, tail)
    if head and kind not in format_.replaces:
        raise TerminalError(
            f"{target!r} is {kind or 'another kind of file'} and stays as it is, nothing was written; choose another "
            "path, or move that file away first"
        )


@contextmanager
def _errors(where: str) -> Iterator[None]:
    """Turn errors of the system into ours, with the place."""
    try:
        yield
    except DataForgeError:
        raise
    except OSError as error:
        message = f"{where}: {error.strerror or error}"
        if error.errno in _TERMINAL or "Permission denied" in message:
            raise TerminalError(message) from None
        raise TransientError(message) from None
