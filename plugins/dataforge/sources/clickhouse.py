"""The clickhouse source: a table or query of ClickHouse as Arrow batches, by its own HTTP interface."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from dataforge.components import retry
from dataforge.components.base import Batches, Connection, CursorBounds, ExtractContext
from dataforge.components.bounds import family, is_number, is_time, parse_instant, parse_number
from dataforge.components.dbapi import explain
from dataforge.components.extras import Extra
from dataforge.components.registry import SOURCES
from dataforge.errors import DataForgeError, Problem, TerminalError
from dataforge.settings import get_settings
from dataforge.sources._pushdown import limited, sampled, spelled
from dataforge.sources._query import QuerySourceConfig, prepare, query_problems

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

_WRAPPERS = re.compile(r"^(?:Nullable|LowCardinality)\((.*)\)$", re.DOTALL)
_AS_TEXT = re.compile(r"UUID|Enum|IPv[46]|U?Int(128|256)|Time(64)?\b|Interval|Variant|Dynamic|Object|BFloat16")
_NESTED = re.compile(r"Array|Map|Tuple|Nested|Point|Ring|Polygon|MultiPolygon|LineString|MultiLineString")
_PLAIN_INSIDE = re.compile(r"[\w`]* ?(U?Int(8|16|32|64)|Float(32|64)|String|Bool|Date|Date32|Nullable|LowCardinality)")


class ClickhouseConfig(QuerySourceConfig):
    """Config of the clickhouse source."""

    type: Literal["clickhouse"] = "clickhouse"

    def extras(self) -> tuple[Extra, ...]:
        """Name the provider and its driver."""
        return (
            Extra("clickhouse", "airflow.providers.clickhousedb.hooks.clickhouse"),
            Extra("clickhouse", "clickhouse_connect"),
        )


@SOURCES.register(ClickhouseConfig)
class ClickhouseSource:
    """Reads a table or query of ClickHouse in one statement, streamed as Arrow batches.

    DateTime columns come as instants in UTC, to the microsecond. UUID, Enum, IP addresses and whole numbers of more
    than 64 bits come as text, nested values that hold such as JSON. What a query may reach is limited by the user of
    the connection, not by the guard on its text.
    """

    def __init__(self, config: ClickhouseConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Batches:
        """Return the rows as a stream; the server has ended the query without an error when the first one comes."""
        import pyarrow as pa

        connection = context.connection(self.config.connection)
        client = _client(connection, context.log)
        try:
            with _told(connection):
                query = self._query(context)
                columns = _described(client, query)
                query = self._limited(query, columns, context.cursor)
                wrapped = _readable(query, columns)
                if context.sample is not None:
                    wrapped = sampled(wrapped, "clickhouse", context.sample)
                stream = client.raw_stream(wrapped, settings=self._settings(), fmt="ArrowStream")
                reader = pa.ipc.open_stream(stream)
        except BaseException:
            client.close()
            raise

        def close() -> None:
            stream.close()
            client.close()

        return Batches(pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, connection, close)), close)

    def _query(self, context: ExtractContext) -> str:
        from sqlglot import exp

        if self.config.query is not None:
            return prepare(self.config.query, "clickhouse", context.values)
        parts = [exp.to_identifier(part, quoted=True) for part in (self.config.table or "").split(".")]
        table = exp.Table(this=parts[-1], db=parts[0] if len(parts) > 1 else None)
        return exp.select("*").from_(table).sql("clickhouse")

    def _limited(self, query: str, columns: dict[str, str], bounds: CursorBounds | None) -> str:
        """Return the query with the cursor's bounds around it, where its column has a type that they fit."""
        name = spelled(list(columns), bounds.field) if bounds else None
        overrides = {key.lower() for key in self.config.columns}
        if bounds is None or name is None or name.lower() in overrides:
            return query
        literal = _literals(columns[name], bounds)
        return (limited(query, "clickhouse", name, bounds, literal) if literal else None) or query

    def _settings(self) -> dict[str, Any]:
        # until the query has ended the server says nothing, so that what fails midway can't look like a short result
        settings: dict[str, Any] = {"readonly": "2", "wait_end_of_query": "1"}
        if self.config.statement_timeout is not None:
            settings["max_execution_time"] = str(max(1, int(self.config.statement_timeout.total_seconds())))
        return settings

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the query as it stands."""
        return query_problems(self.config, "clickhouse")

    def check(self, context: ExtractContext) -> str:
        """Return the server's version and what it lets us read."""
        connection = context.connection(self.config.connection)
        client = _client(connection, context.log)
        try:
            with _told(connection):
                columns = len(_described(client, self._query(context)))
                version = client.server_version
        finally:
            client.close()
        return f"ClickHouse {version}; {self.config.table or 'the query'} has {columns} columns"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns with their types in the engine."""
        import duckdb

        connection = context.connection(self.config.connection)
        client = _client(connection, context.log)
        try:
            with _told(connection):
                query = self._query(context)
                empty = client.query_arrow(f"{_readable(query, _described(client, query))} LIMIT 0")
        finally:
            client.close()
        with duckdb.connect() as con:
            con.register("empty", empty)
            return {row[0]: row[1] for row in con.execute("DESCRIBE SELECT * FROM empty").fetchall()}


def _client(connection: Connection, log: Callable[..., None]) -> Any:
    """Return a client by the connection's hook."""
    from airflow.sdk import BaseHook

    if connection.type != "clickhouse":
        raise TerminalError(
            f"connection {connection.id!r} is of type {connection.type!r}; a 'clickhouse' one is needed"
        )
    hook: Any = BaseHook.get_hook(connection.id)
    seconds = get_settings().stall_seconds
    hook.client_kwargs = {"send_receive_timeout": int(seconds)} if seconds else {}

    def once() -> Any:
        try:
            return hook.get_client()
        except Exception as error:  # noqa: BLE001 the driver and what it stands on have many
            raise explain(error, connection, connecting=True) from None

    return retry.connecting(once, connection.id, log)


@contextmanager
def _told(connection: Connection) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except DataForgeError:
        raise
    except Exception as error:  # noqa: BLE001 the driver and what it stands on have many
        raise explain(error, connection) from None


def _batches(reader: Any, connection: Connection, close: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    try:
        while True:
            with _told(connection):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch
    finally:
        close()


def _described(client: Any, query: str) -> dict[str, str]:
    """Return the query's columns with the server's types, in order."""
    found = {str(row[0]): str(row[1]) for row in client.query(f"DESCRIBE (\n{query}\n)").result_rows}
    if not found:
        raise TerminalError("the query has no columns")
    return found


def _readable(query: str, columns: dict[str, str]) -> str:
    """Return a query for the same rows whose values Arrow can hold as they are."""
    from sqlglot import exp

    listed = []
    for name, type_ in columns.items():
        quoted = exp.to_identifier(name, quoted=True).sql("clickhouse")
        listed.append(f"{_value(quoted, type_)} AS {quoted}")
    return f"SELECT {', '.join(listed)} FROM (\n{query}\n) AS dataforge_rows"


def _bare(type_: str) -> str:
    while found := _WRAPPERS.match(type_):
        type_ = found[1]
    return type_


def _value(name: str, type_: str) -> str:
    bare = _bare(type_)
    if bare.startswith("DateTime"):
        digits = int(size[1]) if (size := re.match(r"DateTime64\((\d+)", bare)) else 0
        return f"toDateTime64({name}, {min(digits, 6)}, 'UTC')"
    if bare.startswith("FixedString"):
        return f"toStringCutToZero({name})"
    if (size := re.match(r"Decimal\((\d+)", bare)) and int(size[1]) > 38:
        return f"toString({name})"
    if _NESTED.match(bare):
        inside = re.findall(r"[A-Z]\w+", _NESTED.sub("", bare))
        plain = all(_PLAIN_INSIDE.fullmatch(one) or _NESTED.fullmatch(one) for one in inside)
        return name if plain and not re.match(r"Point|Ring|Poly|Multi|Line", bare) else f"toJSONString({name})"
    if _AS_TEXT.match(bare):
        return f"toString({name})"
    return name


def _literals(type_: str, bounds: CursorBounds) -> Callable[[str, bool], exp.Expr | None] | None:
    """Return what makes literals for a column of that type; None for one that bounds can't be pushed down to."""
    from sqlglot import exp

    bare, given = _bare(type_), family(bounds.type)
    number = re.fullmatch(r"U?Int\d+|Decimal.*", bare) is not None
    time = re.match(r"Date", bare) is not None
    if not (number or time or bare == "String"):
        return None
    if given is not None and (is_number(given), is_time(given)) != (number, time):
        return None

    def literal(text: str, upper: bool) -> exp.Expr | None:  # noqa: ARG001 both ends are exact here
        try:
            if number:
                value = parse_number(text)
                negative = value < 0
                plain = exp.Literal.number(format(abs(value), "f") if not isinstance(value, int) else str(abs(value)))
                return exp.Neg(this=plain) if negative else plain
            if bare.startswith("DateTime"):
                clock = parse_instant(text).replace(tzinfo=None).isoformat(sep=" ")
                return exp.func(
                    "toDateTime64", exp.Literal.string(clock), exp.Literal.number(6), exp.Literal.string("UTC")
                )
            if time:
                return exp.func("toDate32", exp.Literal.string(parse_instant(text).date().isoformat()))
        except (ValueError, OverflowError):
            return None
        return exp.Literal.string(text) if "\0" not in text and given == "text" else None

    return literal
