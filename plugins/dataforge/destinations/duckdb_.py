"""Tables in a DuckDB file, the embedded default: nothing to install, one file below the output folder."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, field_validator

from dataforge.components import retry
from dataforge.components.base import (
    Capabilities,
    Connection,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
)
from dataforge.components.fields import ConnectionId, Duration, TemplatedText
from dataforge.components.paths import place
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._output_path import outside, stable_path
from dataforge.destinations._table import TableConfig
from dataforge.errors import TerminalError, TransientError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from dataforge.destinations._commit import TableLedger
    from dataforge.destinations._duckdb_tables import DuckdbTables

DEFAULT_DATABASE = "warehouse.duckdb"
OTHER_ENDINGS = (".wal", ".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zst", ".tmp")
"""Endings of a database's log and of the files that other destinations write."""

_FILES: dict[str, threading.Lock] = {}
"""A lock for each file that this process has opened."""


class DuckdbConfig(TableConfig):
    """Config of the `duckdb` destination."""

    type: Literal["duckdb"] = "duckdb"
    database: TemplatedText = Field(
        default=DEFAULT_DATABASE,
        min_length=1,
        description="Database file, relative to the deployment's output folder; made when it is missing.",
        examples=["warehouse.duckdb", "sales/orders.duckdb"],
    )
    connection: ConnectionId | None = Field(
        default=None,
        description="Airflow connection of type duckdb whose host is the database file, in place of `database`.",
    )
    lock_timeout: Duration = Field(
        default=timedelta(seconds=60),
        description="Longest wait for a file that another process has open; after that the task is tried again later.",
    )

    @field_validator("database")
    @classmethod
    def _can_be_written(cls, value: str) -> str:
        if message := refused_database(value):
            raise ValueError(message)
        return value

    def asset(self) -> str | None:
        """Return `dataforge://connection/table`, or with a file of its own `dataforge://duckdb/file/table`."""
        if self.connection:
            return f"dataforge://{quote(self.connection)}/{quote(self.table)}"
        if self.database == DEFAULT_DATABASE:
            return f"dataforge://duckdb/{quote(self.table)}"
        file = stable_path(self.database)
        return f"dataforge://duckdb/{quote(file)}/{quote(self.table)}" if file == self.database else None

    def slot(self) -> str | None:
        """Return the file: DuckDB lets one process at a time write it."""
        if self.connection:
            return f"duckdb_{self.connection}"
        file = stable_path(self.database)
        return f"duckdb_{file}" if file == self.database else None


def refused_database(value: str) -> str | None:
    """Return why that path can't be a database file of the duckdb destination; None when it can."""
    if "://" in value:
        return f"{value!r} is no path; write one relative to the output folder"
    if value.endswith("/"):
        return f"{value!r} is a folder; write the path of a file, such as {value + DEFAULT_DATABASE!r}"
    if value.lower().endswith(OTHER_ENDINGS):
        return f"{value!r} is the name of a file of another kind; write a name such as {DEFAULT_DATABASE!r}"
    return outside(value, PurePosixPath(value))


@DESTINATIONS.register(DuckdbConfig)
class DuckdbDestination:
    """Writes a table in a DuckDB database file, all rows or none."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace", "merge"}), transactional=True, kind="table", commit="transaction", plans=True
    )

    def __init__(self, config: DuckdbConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Append, replace or merge the rows, in one transaction with all that belongs to them."""
        from dataforge.destinations._commit import load

        path = self._path(context.connection)
        return load(lambda: self._open(path, context.scratch, new=not context.dry_run), self.config, incoming, context)

    def ledger(self, context: LoadContext) -> AbstractContextManager[TableLedger]:
        """Open the ledger of this pipeline and table; no file is made to look into it."""
        from dataforge.destinations._commit import table_ledger

        path = self._path(context.connection)
        return table_ledger(lambda: self._open(path, context.scratch, new=False), self.config, context)

    def check(self, context: ExtractContext) -> str:
        """Say which file and table stand there; nothing is created."""
        path = self._path(context.connection)
        if not path.exists():
            return f"DuckDB file {path} does not exist yet and will be made"
        with self._open(path, context.scratch) as db:
            columns = db.target(self.config.table).columns
        return f"DuckDB file {path}, table {self.config.table} ({len(columns or ()) or 'to be created:'} columns)"

    def _path(self, connection: Any) -> Path:
        if self.config.connection is None:
            if message := refused_database(self.config.database):  # placeholders have their values by now
                raise TerminalError(message)
            return place(self.config.database, get_settings().output_folder)
        return _connected_path(connection(self.config.connection))

    @contextmanager
    def _open(self, path: Path, scratch: Path, *, new: bool = True) -> Iterator[DuckdbTables]:
        """Open the file; where there is none and no `new` one is to be made, an empty database in memory."""
        from dataforge.destinations._duckdb_tables import DuckdbTables, errors

        with errors(path, self.config.table), self._alone(path):
            lasting = new or path.exists()
            db = self._connect(path, scratch) if lasting else _in_memory()
            try:
                yield DuckdbTables(db, path, durable=lasting)
            finally:
                # what was not committed is rolled back with the connection
                db.close()

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Let one thread of this process at a time have the file, as DuckDB lets one process."""
        lock = _FILES.setdefault(str(path), threading.Lock())
        if not lock.acquire(timeout=self.config.lock_timeout.total_seconds()):
            raise TransientError(f"DuckDB file {path} is open elsewhere in this process")
        try:
            yield
        finally:
            lock.release()

    def _connect(self, path: Path, scratch: Path) -> DuckDBPyConnection:
        import duckdb

        path.parent.mkdir(parents=True, exist_ok=True)
        settings = get_settings()
        spill = scratch / "duckdb-spill"
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{settings.memory_limit_mb}MiB",
            "threads": settings.threads,
            "temp_directory": str(spill),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }

        def connect() -> DuckDBPyConnection:
            try:
                return duckdb.connect(str(path), config=config)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                raise _busy(error, path) or error from None

        patience = retry.Policy(1_000_000, 0.05, 2.0, self.config.lock_timeout.total_seconds())
        db = retry.repeat(connect, patience, what=f"DuckDB file {path}")
        try:
            _lock_down(db)
        except Exception:
            db.close()
            raise
        return db


def _in_memory() -> DuckDBPyConnection:
    import duckdb

    db = duckdb.connect()
    _lock_down(db)
    return db


def _lock_down(db: DuckDBPyConnection) -> None:
    """Close the instance against everything but its own file; one that this process shares is closed already."""
    import duckdb

    try:
        db.execute("set TimeZone = 'UTC'")
        db.execute("set enable_external_access = false")
        db.execute("set lock_configuration = true")
    except duckdb.InvalidInputException:
        if db.execute("select current_setting('lock_configuration')").fetchone() != (True,):
            raise


def _connected_path(connection: Connection) -> Path:
    """Return the local file that an Airflow connection of type duckdb names; whoever made it decides where it lies."""
    path = Path(connection.host or connection.schema)
    if connection.type not in ("duckdb", "") or not path.is_absolute() or ".." in path.parts:
        raise TerminalError(
            f"connection {connection.id!r} must be of type 'duckdb' with the absolute path of a database file as host"
        )
    return path


def _busy(error: Exception, path: Path) -> TransientError | None:
    """Return the error for a file that somebody else has open; None for other troubles."""
    text = str(error)
    if "lock on file" in text or "being used by another process" in text:
        holder = re.search(r"\(?PID (\d+)\)?", text)
        who = f"process {holder[1]}" if holder else "another process"
        return TransientError(f"DuckDB file {path} is held open by {who}; DuckDB lets one process write at a time")
    if "different configuration" in text or "already attached" in text:
        return TransientError(f"DuckDB file {path} is open elsewhere in this process")
    return None
