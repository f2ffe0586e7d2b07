"""DuckDB under the commit protocol: one session has the file, so nothing is waited for and no stage is shared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.components.database import quote_identifier, quote_literal
from dataforge.destinations._columns import (
    Outgoing,
    Planned,
    TargetColumn,
    Wire,
    duckdb_wire,
    is_text,
    lossless,
    record_json,
)
from dataforge.destinations._tables import Target, Upsert, literal
from dataforge.errors import DataForgeError, TerminalError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class DuckdbTables:
    """One open database file with one open transaction."""

    dialect = "duckdb"
    text_type = "varchar"
    instant_type = "timestamptz"
    keys = False
    stages = False
    alone = True
    transactional_ddl = True
    case_sensitive = False
    max_name_bytes = 200

    def __init__(self, db: DuckDBPyConnection, path: Path, *, durable: bool = True) -> None:
        self._db, self._path, self.durable = db, path, durable
        self._begun = False
        self._arrow_types: dict[str, pa.DataType] = {}

    # ---- Statements

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        self._begin()
        found = self._db.sql(sql)
        instants = [index for index, type_ in enumerate(found.types) if type_ == "TIMESTAMP WITH TIME ZONE"]
        if not instants:
            return found.fetchall()
        # As numbers: DuckDB's own values for instants need another package, and Arrow's load pandas where it is there.
        columns = [quote_identifier(name) for name in found.columns]
        for index in instants:
            columns[index] = f"epoch_us({columns[index]})"
        return [
            tuple(
                _EPOCH + timedelta(microseconds=value) if index in instants and value is not None else value
                for index, value in enumerate(row)
            )
            for row in found.project(", ".join(columns)).fetchall()
        ]

    def run(self, sql: str) -> int:
        """Run a statement; return the number of rows it touched, -1 when it touches none by its nature."""
        found = self._execute(sql).fetchall()
        return int(found[0][0]) if found and len(found[0]) == 1 and isinstance(found[0][0], int) else -1

    def commit(self) -> None:
        """Commit."""
        if self._begun:
            self._db.execute("commit")
            self._begun = False

    def rollback(self) -> None:
        """Roll back."""
        if self._begun:
            self._begun = False
            self._db.execute("rollback")

    def _execute(self, sql: str) -> DuckDBPyConnection:
        self._begin()
        return self._db.execute(sql)

    def _table(self, sql: str) -> pa.Table:
        """Return the result of a query by way of Arrow: DuckDB's own values for instants need another package."""
        self._begin()
        found: pa.Table = self._db.sql(sql).to_arrow_table()
        return found

    def _begin(self) -> None:
        if not self._begun:
            self._db.execute("begin")
            self._begun = True

    def quote(self, name: str) -> str:
        """Return a quoted identifier."""
        return quote_identifier(name)

    def literal(self, value: str, type_: str) -> str:
        """Return the text of a value of a DuckDB type as SQL."""
        return literal(value, type_, self.dialect)

    def quoted(self, target: Target) -> str:
        """Return the quoted, qualified name."""
        return f"{quote_identifier(target.schema)}.{quote_identifier(target.table)}"

    def has_table(self, schema: str, table: str) -> bool:
        """Whether there is a table of that name."""
        return bool(
            self.rows(f"select 1 from duckdb_tables() where {_called('schema_name', schema, 'table_name', table)}")
        )

    def one_at_a_time(self) -> None:
        """Nothing to do: no other session has the file."""

    def errors(self, target: Target) -> AbstractContextManager[None]:
        """Turn DuckDB's errors into ours."""
        return errors(self._path, str(target))

    # ---- What is there

    def target(self, table: str) -> Target:
        """Return what stands in the file under that name; TerminalError when it is a view."""
        schema, _, name = table.rpartition(".")
        schema = schema or "main"
        there = {
            "duckdb_tables": _called("schema_name", schema, "table_name", name),
            "duckdb_views": _called("schema_name", schema, "view_name", name),
            "duckdb_schemas": _is_schema(schema),
        }
        counts = ", ".join(f"(select count(*) from {list_}() where {which})" for list_, which in there.items())
        ((tables, views, schemas),) = self.rows(f"select {counts}")
        if views:
            raise TerminalError(f"{table} is a view; rows are written to tables only")
        columns = None
        if tables:
            # of one table alone: duckdb_columns() goes through those of all, and of the engine's own
            full_name = quote_literal(f"{quote_identifier(schema)}.{quote_identifier(name)}")
            found = self.rows(
                f'select name, type, "notnull" and dflt_value is null from pragma_table_info({full_name}) order by cid'
            )
            columns = tuple(TargetColumn(name, type_, required) for name, type_, required in found)
        return Target(schema, name, columns, schema_exists=bool(schemas), case_sensitive=False)

    def _has_schema(self, schema: str) -> bool:
        return bool(self.rows(f"select 1 from duckdb_schemas() where {_is_schema(schema)}"))

    def check_rights(self, target: Target, names: Sequence[str], disposition: str) -> None:
        """Nothing to check: whoever opens the file may do all."""

    def check_schema(self, target: Target, schema: str) -> None:
        """Nothing to check."""

    def check_ledger(self, schema: str) -> None:
        """Nothing to check."""

    # ---- Columns

    def fit(self, field: pa.Field[Any], column: TargetColumn) -> Planned | None:
        """Return how an Arrow field goes into an existing column; None when its type does not go there."""
        wire = _fit(field, column, self._arrow_type(column.type))
        return Planned(wire, column.type) if wire else None

    def new(self, field: pa.Field[Any]) -> Planned:
        """Return the column that a new table gets for an Arrow field."""
        return Planned(*_new_column(self._db, field))

    def checked(self, planned: Planned) -> Planned:
        """Nothing that passes the wire is refused later, but for constraints."""
        return planned

    def arrow_type(self, target: Target, column: TargetColumn) -> pa.DataType | None:  # noqa: ARG002 - as others need it
        """Return the Arrow type of an existing column's values; None for types that are read from text."""
        return None if column.type.startswith(_BY_TEXT) else self._arrow_type(column.type)

    def _arrow_type(self, type_: str) -> pa.DataType:
        if type_ not in self._arrow_types:
            with self._db.cursor() as cursor:
                empty = cursor.sql(f"select cast(null as {type_}) as value limit 0").to_arrow_table()
            self._arrow_types[type_] = empty.schema[0].type
        return self._arrow_types[type_]

    def create_schema(self, schema: str) -> str | None:
        """Return the statement that makes the schema; None when it is there."""
        return None if self._has_schema(schema) else f"create schema if not exists {quote_identifier(schema)}"

    def widen(self, target: Target, column: TargetColumn, type_: str, *, empty: bool) -> str:
        """Return the statement that gives the column a wider type."""
        name = quote_identifier(column.name)
        value = f"cast(null as {type_})" if empty else f"cast({name} as {type_})"
        return f"alter table {self.quoted(target)} alter column {name} set data type {type_} using {value}"

    def differs(self, left: str, right: str, type_: str) -> str:  # noqa: ARG002 - all types compare
        """Return SQL: whether two values differ."""
        return f"{left} is distinct from {right}"

    # ---- Rows

    def copy(self, rows: Outgoing, table: str, planned: Sequence[Planned], schema: str | None) -> int:
        """Write rows into an existing table."""
        names = ", ".join(quote_identifier(column.wire.name) for column in planned)
        values = ", ".join(f"cast({quote_identifier(column.wire.name)} as {column.type})" for column in planned)
        into = f"{quote_identifier(schema)}.{quote_identifier(table)}" if schema else quote_identifier(table)
        self._db.register("incoming", rows.reader())
        with rows.errors():
            count = self.run(f"insert into {into} ({names}) select {values} from incoming")
        self._db.unregister("incoming")  # after an error this would fail as well, and the session ends anyway
        return count

    def create_stage(self, name: str, columns: Sequence[tuple[str, str]], schema: str | None) -> str:  # noqa: ARG002
        """Make a temporary table."""
        listed = ", ".join(f"{quote_identifier(column)} {type_}" for column, type_ in columns)
        self.run(f"create temporary table {quote_identifier(name)} ({listed})")
        return f"temp.{quote_identifier(name)}"

    def settle_stage(self, table: str) -> None:
        """Nothing to do: DuckDB knows its tables' sizes."""

    def insert(self, target: Target, names: str, select: str, rows: int) -> int:  # noqa: ARG002 - it counts itself
        """Insert the result of a query."""
        return self.run(f"insert into {self.quoted(target)} ({names}) {select}")

    def upsert(self, target: Target, what: Upsert) -> tuple[int, int] | None:  # noqa: ARG002 - as others need it
        """Not at once: two statements tell how many rows each touched."""
        return None

    def before_replace(self, target: Target, *, undo: bool = False) -> None:
        """Nothing to lock."""

    def empty(self, target: Target) -> int:
        """Remove all rows; return how many there were."""
        return self.run(f"delete from {self.quoted(target)}")

    def swap_table(self, target: Target) -> Target | None:  # noqa: ARG002 - as others need it
        """Nothing: replace empties the table."""
        return None

    def swap_in(self, target: Target, new: Target) -> None:
        """Never called."""

    def records(self, sql: str, without: Sequence[str]) -> list[str]:
        """Return the rows of a query as JSON texts."""
        rows = self._table(sql).to_pylist()
        return [record_json({name: value for name, value in row.items() if name not in without}) for row in rows]

    def stages_of(self, schema: str, prefix: str) -> list[str]:  # noqa: ARG002 - as others need it
        """Return nothing: temporary tables end with their session."""
        return []


def _called(schema_column: str, schema: str, name_column: str, name: str) -> str:
    return (
        f"database_name = current_database() and lower({schema_column}) = lower({quote_literal(schema)}) "
        f"and lower({name_column}) = lower({quote_literal(name)})"
    )


def _is_schema(name: str) -> str:
    return f"database_name = current_database() and lower(schema_name) = lower({quote_literal(name)})"


_EPOCH = datetime.fromtimestamp(0, timezone.utc)
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


def _new_column(db: DuckDBPyConnection, field: pa.Field[Any]) -> tuple[Wire, str]:
    """Return how an Arrow field is handed over and the column type that it gets in a new table."""
    import pyarrow as pa

    extension = getattr(field.type, "extension_name", "")
    if extension == "arrow.uuid":
        return _plain(field), "UUID"
    wire = duckdb_wire(field)
    if extension == "arrow.json":
        return wire, "JSON"
    empty = pa.schema([pa.field(field.name, wire.type)]).empty_table()
    with db.cursor() as memory:
        memory.register("sample", empty)
        found = memory.execute("select column_type from (describe sample)").fetchone()
    assert found is not None
    return wire, str(found[0])


@contextmanager
def errors(path: Path, table: str) -> Iterator[None]:
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
