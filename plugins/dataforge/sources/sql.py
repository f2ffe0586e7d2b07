"""The sql source: any database that has an Airflow hook with a DB-API connection, by table or query."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from dataforge.components.base import Batches, Connection, ExtractContext
from dataforge.components.dbapi import DIALECTS, connect, driver_of, explain
from dataforge.components.lattice import (
    BLOB,
    DATE,
    DECIMAL,
    FLOAT,
    INEXACT,
    INT,
    TEXT,
    TIMESTAMP,
    WIDE,
    Seen,
    see_values,
)
from dataforge.components.lifeline import Lifeline
from dataforge.components.registry import SOURCES
from dataforge.errors import DataForgeError, Problem, TerminalError
from dataforge.sources._pushdown import driver_literals, limited, sampled, spelled
from dataforge.sources._query import QuerySourceConfig, prepare, query_problems

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 100
"""Rows by which the driver shows how it gives the cursor field's values, before the query is limited to new ones."""


class DatabaseConfig(QuerySourceConfig):
    """Base of the configs of databases that are read through a DB-API connection."""

    batch_rows: int = Field(default=10_000, ge=1, le=1_000_000, description="Rows fetched from the driver at a time.")


class SqlConfig(DatabaseConfig):
    """Config of the sql source."""

    type: Literal["sql"] = "sql"


@SOURCES.register(SqlConfig)
class SqlSource:
    """Reads a table or query of any database with an Airflow hook, on one cursor, typed over all rows.

    A source of one database's own derives from this: `connection_type` is the type that its connection must have,
    `session` are statements for a new session, `declared` tells the types that the table declares.
    """

    connection_type: ClassVar[str] = ""
    session: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: DatabaseConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Batches:
        """Return the rows; they are read now, into scratch, since only the values of all rows tell their types."""
        connection = self._connection(context)
        query = self._first_rows(self._query(connection, context), context.sample)
        spool = _Spool(context.scratch / "rows.arrows")
        with self._open(connection, context) as (con, lifeline):
            try:
                spool.declared = self.declared(con, lifeline)
                with lifeline.within("the query"):
                    names, rows, sample = self._started(con, query, connection, context)
                left = context.sample
                for batch in _chunks(rows, self.config.batch_rows, left, lifeline):
                    spool.add(names, batch)
                if not spool.names:
                    spool.add(names, [])
                    # nothing new tells no types; those of older rows keep what reads the result working
                    spool.see(sample)
            except DataForgeError:
                raise
            except Exception as error:  # noqa: BLE001 each driver has errors of its own
                raise explain(error, connection) from None
        return Batches(spool.reader())

    def _started(
        self, con: Any, query: str, connection: Connection, context: ExtractContext
    ) -> tuple[list[str], Rows, Sequence[Sequence[Any]]]:
        """Run the query, limited to the cursor's bounds where the database takes them.

        Returns names, rows, and some rows from anywhere in the query when it was limited.
        """
        bounds, dialect = context.cursor, DIALECTS.get(connection.type)
        if bounds is None or dialect is None or (bounds.lower is None and bounds.upper is None):
            return *_run(con, query), ()
        sample: Sequence[Sequence[Any]] = ()
        try:
            with closing(con.cursor()) as cursor:
                cursor.execute(sampled(query, dialect, SAMPLE_ROWS))
                names, sample = [str(column[0]) for column in cursor.description], cursor.fetchall()
            name = spelled(names, bounds.field)
            values = [row[names.index(name)] for row in sample] if name else []
            example = next((value for value in values if value is not None), None)
            literals = driver_literals(example, dialect, bounds)
            if name and literals and (within := limited(query, dialect, name, bounds, literals)):
                return *_run(con, within), sample
        except DataForgeError:
            raise
        except Exception as error:  # noqa: BLE001 each driver has errors of its own
            # a query that can't stand within another one, such as with ORDER BY in some databases, is read whole
            context.log("cursor not pushed down", reason=str(explain(error, connection)))
            con.rollback()
            _read_only(con)
        return *_run(con, query), sample

    def _first_rows(self, query: str, most: int | None) -> str:
        """Return the query for so many rows, where its database is known: some drivers read a result to its end."""
        dialect = DIALECTS.get(self.connection_type)
        if dialect is None or most is None or (dialect in _ORDERS_LAST and self.config.query is not None):
            return query
        return sampled(query, dialect, most)

    def _query(self, connection: Connection, context: ExtractContext) -> str:
        from sqlglot import exp

        dialect = DIALECTS.get(connection.type)
        if self.config.query is not None:
            return prepare(self.config.query, dialect, context.values)
        spelled_out = self.config.table or ""
        if self.connection_type in ("oracle", "snowflake"):
            spelled_out = upper_case(spelled_out)
        names = [exp.to_identifier(part, quoted=True) for part in spelled_out.split(".")]
        table = exp.Table(this=names[-1], db=names[0] if len(names) > 1 else None)
        return exp.select("*").from_(table).sql(dialect)

    def declared(self, con: Any, lifeline: Lifeline) -> Mapping[str, str]:  # noqa: ARG002 - for those who can tell
        """Return the types that the table declares, column name to DuckDB type; none where it can't be told."""
        return {}

    def opened(self, con: Any) -> None:
        """Prepare a new connection beyond what statements can say."""

    def _connection(self, context: ExtractContext) -> Connection:
        connection = context.connection(self.config.connection)
        if self.connection_type and connection.type != self.connection_type:
            raise TerminalError(
                f"connection {connection.id!r} is of type {connection.type!r}; a {self.connection_type!r} one is needed"
            )
        return connection

    @contextmanager
    def _open(self, connection: Connection, context: ExtractContext) -> Iterator[tuple[Any, Lifeline]]:
        """Open a connection that only reads where the driver can say so."""

        def prepare(_hook: Any, con: Any) -> None:
            self.opened(con)
            for statement in self.session:
                with closing(con.cursor()) as cursor:
                    cursor.execute(statement)
            _read_only(con)
            _limit(con, self.config.statement_timeout)

        made = connect(connection, self.config.statement_timeout, context.log, prepare)
        try:
            with closing(made.connection):
                yield made.connection, made.lifeline
                _leave(made.connection)
        finally:
            made.lifeline.close()

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the query as it stands; its dialect may be known only with the connection."""
        return query_problems(self.config, DIALECTS.get(self.connection_type), strict=bool(self.connection_type))

    def check(self, context: ExtractContext) -> str:
        """Return how many columns the table or query has."""
        return f"connected; {self.config.table or 'the query'} has {len(self.discover(context))} columns"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns; a type is empty where it is known only when the rows are read."""
        connection = self._connection(context)
        query = self._first_rows(self._query(connection, context), 1)
        with self._open(connection, context) as (con, lifeline):
            try:
                declared = self.declared(con, lifeline)
                with lifeline.within("the query"):
                    names, rows = _run(con, query)
                    next(iter(rows(1)), None)
            except DataForgeError:
                raise
            except Exception as error:  # noqa: BLE001 each driver has errors of its own
                raise explain(error, connection) from None
        return {name: declared.get(name, "") for name in names}


def upper_case(table: str) -> str:
    """Return a table's name with each part that is all in lower case in upper case, as Oracle and Snowflake do."""
    return ".".join(part.upper() if part == part.lower() else part for part in table.split("."))


_ORDERS_LAST = frozenset({"tsql"})
"""Dialects in which a query with an order can't stand within another one."""

Rows = Callable[[int], Sequence[Sequence[Any]]]
"""Fetches at most so many further rows."""


def _chunks(rows: Rows, size: int, left: int | None, lifeline: Lifeline) -> Iterator[Sequence[Sequence[Any]]]:
    while left is None or left > 0:
        with lifeline.within("reading"):
            batch = rows(size if left is None else min(size, left))
        if not batch:
            return
        yield batch
        if left is not None:
            left -= len(batch)


def _leave(con: Any) -> None:
    """Let PyMySQL forget the rows of a result that nobody reads: it would read all of them before it closes."""
    result = getattr(con, "_result", None)
    if driver_of(con) == "pymysql" and getattr(result, "unbuffered_active", False):
        result.unbuffered_active = False  # type: ignore[union-attr]


def _read_only(con: Any) -> None:
    driver = driver_of(con)
    if driver == "sqlite3":
        con.execute("PRAGMA query_only = ON")
    elif driver == "psycopg2":
        con.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
    elif driver == "psycopg":
        con.read_only = True
    elif driver in ("MySQLdb", "pymysql", "mysql"):
        with closing(con.cursor()) as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    elif driver in ("oracledb", "cx_Oracle"):
        with closing(con.cursor()) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")


def _limit(con: Any, limit: timedelta | None) -> None:
    """Tell the server the longest time of a statement, where it can be told; elsewhere the lifeline alone keeps it."""
    driver = driver_of(con)
    if limit is None or driver not in ("psycopg2", "psycopg", "MySQLdb", "pymysql", "mysql"):
        return
    milliseconds = max(1, int(limit.total_seconds() * 1000))
    postgres = driver in ("psycopg2", "psycopg")
    with closing(con.cursor()) as cursor:
        if postgres:
            cursor.execute(f"SET statement_timeout = {milliseconds}")
            return
        cursor.execute("SELECT VERSION()")
        if "mariadb" in str(cursor.fetchone()[0]).lower():
            cursor.execute(f"SET SESSION max_statement_time = {milliseconds / 1000}")
        else:
            cursor.execute(f"SET SESSION max_execution_time = {milliseconds}")


def _run(con: Any, query: str) -> tuple[list[str], Rows]:
    """Run the query on one cursor, on the server where the driver can; return column names and a way to fetch."""
    driver = driver_of(con)
    if driver in ("psycopg2", "psycopg"):
        cursor = con.cursor("dataforge")
    elif driver == "MySQLdb":
        from MySQLdb.cursors import SSCursor  # type: ignore[import-not-found,import-untyped,unused-ignore]

        cursor = con.cursor(SSCursor)
    elif driver == "pymysql":
        from pymysql.cursors import SSCursor as Unbuffered  # type: ignore[import-untyped,import-not-found,unused-ignore]

        cursor = con.cursor(Unbuffered)
    else:
        cursor = con.cursor()
    cursor.execute(query)
    first: list[Sequence[Any]] = []
    if cursor.description is None:  # a server-side cursor knows its columns after the first fetch
        first = list(cursor.fetchmany(1))
    names = [str(column[0]) for column in cursor.description or ()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TerminalError(f"the query has more than one column {twice[0]!r}; give each its own name")

    def fetch(count: int) -> Sequence[Sequence[Any]]:
        head, first[:] = list(first), []
        return [*head, *cursor.fetchmany(count - len(head))] if head else cursor.fetchmany(count)

    return names, fetch


class _Spool:
    """Batches in a file, each with the types of its own rows; read back with types that hold all rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        self.seen: list[Seen] = []
        self.declared: Mapping[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def add(self, names: list[str], rows: Sequence[Sequence[Any]]) -> None:
        """Append rows."""
        import pyarrow as pa

        columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
        seen = [see_values(column) for column in columns]
        self.seen = [old | new for old, new in zip(self.seen, seen, strict=True)] if self.names else seen
        self.names = names
        arrays = [array_of(column, one.type) for column, one in zip(columns, seen, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, names=names)
        with self.path.open("ab") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)

    def see(self, rows: Sequence[Sequence[Any]]) -> None:
        """Let rows that are not among the batches tell the types."""
        if rows:
            columns = zip(*rows, strict=True)
            self.seen = [old | see_values(column) for old, column in zip(self.seen, columns, strict=True)]

    def reader(self) -> pa.RecordBatchReader:
        """Return all rows as one stream."""
        import pyarrow as pa

        types = [_declared(self.declared.get(name), seen) for name, seen in zip(self.names, self.seen, strict=True)]
        schema = pa.schema([pa.field(name, arrow_type(type_)) for name, type_ in zip(self.names, types, strict=True)])
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema, types))

    def _batches(self, schema: pa.Schema, types: list[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with self.path.open("rb") as source:
            size = self.path.stat().st_size
            while source.tell() < size:
                for batch in pa.ipc.open_stream(source):
                    arrays = [
                        array if array.type == field.type else array_of(array.to_pylist(), type_)
                        for array, field, type_ in zip(batch.columns, schema, types, strict=True)
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _declared(type_: str | None, seen: Seen) -> str:
    """Return the declared type where all values fit it, so that types are the same in every run; else the seen one."""
    if type_ is None:
        return seen.type
    fits = {"BIGINT": INT, "DOUBLE": FLOAT, "DATE": DATE, "TIMESTAMP": TIMESTAMP | DATE, "VARCHAR": TEXT, "BLOB": BLOB}
    kinds = seen.kinds & ~INEXACT
    if size := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", type_):
        whole = int(size[1]) - int(size[2])
        return type_ if not kinds & ~(INT | WIDE | DECIMAL) and seen.digits <= whole else seen.type
    return type_ if type_ in fits and not kinds & ~fits[type_] else seen.type


def arrow_type(type_: str) -> pa.DataType:
    """Return the Arrow type for one of the lattice's SQL types."""
    import pyarrow as pa

    if type_.startswith("DECIMAL"):
        precision, scale = type_[8:-1].split(",")
        return pa.decimal128(int(precision), int(scale))
    simple: dict[str, pa.DataType] = {
        "BOOLEAN": pa.bool_(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
        "TIME": pa.time64("us"),
        "BLOB": pa.binary(),
    }
    return simple.get(type_, pa.string())


def array_of(values: Sequence[Any], type_: str) -> pa.Array[Any]:
    """Return Python values as an Arrow array of one of the lattice's SQL types."""
    import pyarrow as pa

    target = arrow_type(type_)
    if pa.types.is_string(target):
        return pa.array([None if value is None else text_of(value) for value in values], target)
    if type_ == "DOUBLE":
        return pa.array([None if value is None else float(value) for value in values], target)
    if type_ == "TIMESTAMP":
        from datetime import datetime, time

        values = [
            datetime.combine(value, time()) if value is not None and not isinstance(value, datetime) else value
            for value in values
        ]
    if type_ == "BLOB":
        values = [None if value is None else bytes(value) for value in values]
    return pa.array(values, target)


def text_of(value: Any) -> str:
    """Return a driver's value as text: ISO forms for dates and times, JSON for lists and objects, hex for bytes."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=text_of, ensure_ascii=False)
    return str(value)
