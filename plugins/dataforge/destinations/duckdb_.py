"""Tables in a DuckDB file, the embedded default: nothing to install, one file below the output folder."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, field_validator

from dataforge.components.base import (
    Capabilities,
    Connection,
    DestinationConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
)
from dataforge.components.database import quote_identifier
from dataforge.components.fields import ConnectionId, Duration, TableName, TemplatedText
from dataforge.components.paths import place
from dataforge.components.prefetch import Prefetched, prefetch
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._columns import (
    Outgoing,
    TargetColumn,
    Wire,
    check_names,
    duckdb_wire,
    is_text,
    lossless,
    match,
)
from dataforge.destinations._files import outside, stable_path
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError, TransientError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

DEFAULT_DATABASE = "warehouse.duckdb"
MAX_NAME_BYTES = 200
OTHER_ENDINGS = (".wal", ".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zst", ".tmp")
"""Endings of a database's log and of the files that other destinations write."""


class DuckdbConfig(DestinationConfig):
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
    table: TableName = Field(
        description="Table to write, as 'table' or 'schema.table'; made from the records' columns when it is missing.",
        examples=["orders", "sales.orders"],
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
        frozenset({"append", "replace"}), transactional=True, kind="table", commit="transaction"
    )

    def __init__(self, config: DuckdbConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Append the rows, or put them in place of all others, in one transaction."""
        path = self._path(context.connection)
        # The file is locked for other processes while it is open, so the first rows come first.
        with prefetch(incoming.reader()) as ahead:
            ahead.wait()
            with _errors(path, self.config.table), self._open(path, context.scratch) as db:
                report = self._write(db, ahead)
        context.log("rows committed", target=report.target, rows=report.rows, created=report.created)
        return report

    def check(self, context: ExtractContext) -> str:
        """Say which file and table stand there; nothing is created."""
        path = self._path(context.connection)
        if not path.exists():
            return f"DuckDB file {path} does not exist yet and will be made"
        with _errors(path, self.config.table), self._open(path, context.scratch) as db:
            columns = _columns(db, *self._name(db))
        return f"DuckDB file {path}, table {self.config.table} ({len(columns) or 'to be created:'} columns)"

    def _write(self, db: DuckDBPyConnection, ahead: Prefetched) -> LoadReport:
        schema, table = self._name(db)
        quoted = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        db.execute("begin")
        existing = _columns(db, schema, table)
        if existing:
            plan = _existing(db, ahead.schema, existing, quoted, self.config.table)
            if self.config.write_disposition == "replace":
                db.execute(f"delete from {quoted}")
        else:
            check_names(ahead.schema.names, self.config.table, limit=MAX_NAME_BYTES, case_sensitive=False)
            plan = [_new_column(field) for field in ahead.schema]
            self._create(db, schema, quoted, plan)
        names = ", ".join(quote_identifier(wire.name) for wire, _ in plan)
        values = ", ".join(f"cast({quote_identifier(wire.name)} as {type_})" for wire, type_ in plan)
        sent = Outgoing(ahead, [wire for wire, _ in plan])
        db.register("incoming", sent.reader())
        with sent.errors():
            count = db.execute(f"insert into {quoted} ({names}) select {values} from incoming").fetchone()
        db.unregister("incoming")
        ahead.finish()
        if count is None or count[0] != sent.rows:
            raise TransientError(f"table {self.config.table}: {sent.rows} rows were sent, {count} arrived")
        db.execute("commit")
        return LoadReport(f"{schema}.{table}", sent.rows, sent.bytes, created=not existing)

    def _create(self, db: DuckDBPyConnection, schema: str, quoted: str, plan: Sequence[tuple[Wire, str]]) -> None:
        db.execute(f"create schema if not exists {quote_identifier(schema)}")
        columns = ", ".join(f"{quote_identifier(wire.name)} {type_}" for wire, type_ in plan)
        db.execute(f"create table {quoted} ({columns})")

    def _name(self, db: DuckDBPyConnection) -> tuple[str, str]:
        """Return schema and table; TerminalError when the name belongs to a view."""
        schema, _, table = self.config.table.rpartition(".")
        schema = schema or "main"
        view = "select 1 from duckdb_views() where lower(schema_name) = lower(?) and lower(view_name) = lower(?)"
        if db.execute(f"{view} and database_name = current_database()", [schema, table]).fetchone():
            raise TerminalError(f"{self.config.table} is a view; rows are written to tables only")
        return schema, table

    def _path(self, connection: Any) -> Path:
        if self.config.connection is None:
            if message := refused_database(self.config.database):  # placeholders have their values by now
                raise TerminalError(message)
            return place(self.config.database, get_settings().output_folder)
        return _connected_path(connection(self.config.connection))

    @contextmanager
    def _open(self, path: Path, scratch: Path) -> Iterator[DuckDBPyConnection]:
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
        deadline = time.monotonic() + self.config.lock_timeout.total_seconds()
        wait = 0.05
        while True:
            try:
                db = duckdb.connect(str(path), config=config)
                break
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                busy = _busy(error, path)
                if busy is None:
                    raise
                if time.monotonic() + wait > deadline:
                    raise busy from None
            time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - only spreads the waiting
            wait = min(wait * 2, 2)
        try:
            _lock_down(db)
            yield db
        finally:
            # what was not committed is rolled back with the connection
            db.close()


def _lock_down(db: DuckDBPyConnection) -> None:
    """Close the instance against everything but its own file; one that this process shares is closed already."""
    import duckdb

    try:
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


def _columns(db: DuckDBPyConnection, schema: str, table: str) -> list[TargetColumn]:
    found = db.execute(
        "select column_name, data_type, not is_nullable and column_default is null, "
        "exists (from duckdb_tables() t where t.table_oid = c.table_oid) "
        "from duckdb_columns() c where database_name = current_database() and not internal "
        "and lower(schema_name) = lower(?) and lower(table_name) = lower(?) order by column_index",
        [schema, table],
    ).fetchall()
    return [TargetColumn(name, type_, required) for name, type_, required, is_table in found if is_table]


def _existing(
    db: DuckDBPyConnection, schema: pa.Schema, existing: Sequence[TargetColumn], quoted: str, table: str
) -> list[tuple[Wire, str]]:
    """Return each column's wire and the type to cast it to; ConfigError with all that don't fit."""
    targets = match(schema.names, existing, table, case_sensitive=False)
    types = db.sql(f"select * from {quoted} limit 0").to_arrow_table().schema
    plan, problems = [], []
    for field, column in zip(schema, targets, strict=True):
        wire = _fit(field, column, types.field(column.name).type)
        if wire is None:
            message = f"column {field.name!r} of type {field.type} can't go into {table}, where it is {column.type}"
            problems.append(
                Problem("unfit-column", message, ("table",), f"cast it to {column.type} with a cast transform")
            )
        else:
            plan.append((wire, column.type))
    if problems:
        raise ConfigError(problems)
    return plan


_BY_TEXT = ("ENUM", "UUID", "JSON", "BIT", "BIGNUM", "VARINT", "INTERVAL", "TIME WITH TIME ZONE", "UNION")
"""Types that DuckDB reads from text, each value checked."""


def _fit(field: pa.Field[Any], column: TargetColumn, type_: pa.DataType) -> Wire | None:
    import pyarrow as pa

    if field.type == type_:
        return _plain(field)
    if column.type.startswith(_BY_TEXT):
        decoded = field.type.value_type if isinstance(field.type, pa.DictionaryType) else field.type
        if is_text(decoded) or pa.types.is_null(decoded):
            return lossless(field.name, field.type, pa.string(), column.type)
        return _plain(field) if column.type == "JSON" and pa.types.is_nested(decoded) else None
    if pa.types.is_nested(type_):
        # DuckDB casts element by element and fails on what does not fit; names of members must be the same.
        return _plain(field) if pa.types.is_nested(field.type) and field.type.id == type_.id else None
    return lossless(field.name, field.type, type_, column.type)


def _plain(field: pa.Field[Any]) -> Wire:
    return Wire(field.name, field.type)


def _new_column(field: pa.Field[Any]) -> tuple[Wire, str]:
    """Return how an Arrow field is handed over and the column type that it gets in a new table."""
    import duckdb
    import pyarrow as pa

    extension = getattr(field.type, "extension_name", "")
    if extension == "arrow.uuid":
        return _plain(field), "UUID"
    wire = duckdb_wire(field)
    if extension == "arrow.json":
        return wire, "JSON"
    empty = pa.schema([pa.field(field.name, wire.type)]).empty_table()
    with duckdb.connect() as memory:
        memory.register("sample", empty)
        found = memory.execute("select column_type from (describe sample)").fetchone()
    assert found is not None
    return wire, str(found[0])


@contextmanager
def _errors(path: Path, table: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours, with columns and constraint and without any row's values."""
    import duckdb

    try:
        yield
    except DataForgeError:
        raise
    except OSError as error:
        raise TransientError(f"DuckDB file {path}: {error.strerror or error}") from None
    except duckdb.ConstraintException as error:
        raise TerminalError(f"table {table}: {_without_values(str(error))}; nothing is committed") from None
    except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException) as error:
        raise TerminalError(f"table {table}: {_without_values(str(error))}; nothing is committed") from None
    except duckdb.IOException as error:
        raise TransientError(f"DuckDB file {path}: {_first_line(error)}") from None
    except (duckdb.TransactionException, duckdb.OutOfMemoryException) as error:
        raise TransientError(f"table {table}: {_first_line(error)}") from None
    except duckdb.Error as error:
        raise TerminalError(f"DuckDB file {path}, table {table}: {_without_values(str(error))}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _without_values(text: str) -> str:
    """Return DuckDB's first line; of a quoted `column: value` the column stays, other quoted values go."""
    line = text.strip().split("\n", 1)[0]
    line = re.sub(r'"([^":]*): .*"', lambda found: f'"{found[1]}"', line)
    line = re.sub(r"(duplicate key |Input: |value )[\"'].*[\"']", lambda found: f"{found[1]}…", line)
    line = re.sub(r"'[^']*'", "'…'", line)
    return re.sub(r"\b(value|values) -?[\d.]+", r"\1 …", line)
