"""The postgres source: a table or query as Arrow batches through ADBC, in one snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from dataforge.components import retry
from dataforge.components.base import Batches, Connection, ExtractContext
from dataforge.components.database import postgres_uri, quote_identifier, quote_literal, without_secrets
from dataforge.components.lifeline import Lined, lined
from dataforge.components.registry import SOURCES
from dataforge.errors import DataForgeError, Problem, TerminalError
from dataforge.observability.log import line
from dataforge.sources._pushdown import POSTGRES_TYPES, limited, postgres_literals, spelled
from dataforge.sources._query import QuerySourceConfig, prepare, query_problems

if TYPE_CHECKING:
    import pyarrow as pa

Shape = tuple[int, int] | None
"""What numbers need: digits before and after the point; None where some are no finite numbers."""

OPEN_NUMERIC = (38, 10)
"""Precision and scale for a numeric column that declares none and whose values fit; the same in every run."""

_EXACT = {"money": "numeric(19,2)", "oid": "bigint"}
# By the type's own output function: a cast to text is another thing for some types (inet adds its mask).
_AS_TEXT = "CASE WHEN {0} IS NOT NULL THEN format('%s', {0}) END"


class PostgresConfig(QuerySourceConfig):
    """Config of the postgres source."""

    type: Literal["postgres"] = "postgres"


@SOURCES.register(PostgresConfig)
class PostgresSource:
    """Reads a PostgreSQL table or query in one read-only snapshot, streamed as typed Arrow batches.

    What a query may reach is limited by the role of the connection, not by the guard on its text: give it a role that
    may only select from the tables meant to be read.
    """

    def __init__(self, config: PostgresConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Batches:
        """Return the rows as a stream; the snapshot is taken now and released when the stream ends."""
        import pyarrow as pa

        connection = context.connection(self.config.connection)
        session = _Session(connection, self.config.statement_timeout, context.log)
        try:
            query = self._query(context)
            schema = self._schema(session, query)
            query = self._limited(query, schema, context)
            wrapped, fields = _readable(query, schema, self.config.columns, context.sample)
            open_ = [field.name for field in schema if _is_open(field) and field.name not in self.config.columns]
            if context.sample is None:
                shapes = session.shapes(query, open_)
                reader = session.read(wrapped)
            else:
                sampled = session.table(wrapped)
                shapes = {name: _shape(sampled[name].to_pylist()) for name in open_}
                reader = sampled.to_reader()
                session.close()
            for index, field in enumerate(fields):
                if field.name in shapes:
                    fields[index] = _fitting(field, shapes[field.name], context)
        except BaseException:
            session.close()
            raise
        target = pa.schema(fields)
        return Batches(pa.RecordBatchReader.from_batches(target, _typed(session, reader, target)), session.close)

    def _query(self, context: ExtractContext) -> str:
        if self.config.table is not None:
            return f"SELECT * FROM {'.'.join(map(quote_identifier, self.config.table.split('.')))}"
        return prepare(self.config.query or "", "postgres", context.values)

    def _limited(self, query: str, schema: pa.Schema, context: ExtractContext) -> str:
        """Return the query with the cursor's bounds around it, where its column has a type that they fit."""
        bounds = context.cursor
        name = spelled(schema.names, bounds.field) if bounds else None
        if bounds is None or name is None:
            return query
        column = schema.field(name)
        override = next((type_ for key, type_ in self.config.columns.items() if key.lower() == name.lower()), None)
        as_text = override is not None and override.strip().lower() in ("text", "varchar", "string")
        server_type = _server_type(column)
        # another type may put the values in another order
        if override is not None and not (as_text and POSTGRES_TYPES.get(server_type) == "text"):
            return query
        if as_text and not bounds.type:
            bounds = replace(bounds, type="VARCHAR")
        literals = postgres_literals(server_type, bounds)
        return (limited(query, "postgres", name, bounds, literals) if literals else None) or query

    def _schema(self, session: _Session, query: str) -> pa.Schema:
        """Return the schema of the query with the server's types, also where the driver is too old to tell them."""
        schema = session.schema(query)
        if all(b"POSTGRESQL:type" in (field.metadata or {}) for field in schema):
            return schema
        return session.described(schema, query, self.config.table)

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the query as it stands."""
        return query_problems(self.config, "postgres")

    def check(self, context: ExtractContext) -> str:
        """Return the server's version and what it lets us read."""
        session = _Session(context.connection(self.config.connection))
        try:
            version = session.one("SELECT current_setting('server_version')")
            columns = len(session.schema(self._query(context)))
        finally:
            session.close()
        return f"PostgreSQL {version}; {self.config.table or 'the query'} has {columns} columns"

    def measure(self, context: ExtractContext) -> tuple[int, int]:
        """Return the rows and bytes that the server's planner expects."""
        session = _Session(context.connection(self.config.connection))
        try:
            planned = session.plan(self._query(context))
        finally:
            session.close()
        return int(planned["Plan Rows"]), int(planned["Plan Rows"]) * int(planned["Plan Width"])

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns with their types in the engine."""
        import duckdb
        import pyarrow as pa

        session = _Session(context.connection(self.config.connection))
        try:
            query = self._query(context)
            _, fields = _readable(query, self._schema(session, query), self.config.columns, None)
        finally:
            session.close()
        empty = pa.schema(fields).empty_table()
        with duckdb.connect() as con:
            con.register("empty", empty)
            return {row[0]: row[1] for row in con.execute("DESCRIBE SELECT * FROM empty").fetchall()}


class _Session:
    """One connection with one read-only snapshot; its errors are ours and hold no password."""

    def __init__(self, connection: Connection, limit: timedelta | None = None, log: Callable[..., None] = line) -> None:
        self.connection = connection
        made = retry.connecting(lambda: self._connect(limit), connection.id, log)
        self.con, self.lifeline = made.connection, made.lifeline
        self.cursor = self.con.cursor()
        try:
            self._run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._run("SET LOCAL intervalstyle = 'iso_8601'")
            if limit is not None:
                self._run(f"SET LOCAL statement_timeout = {max(1, int(limit.total_seconds() * 1000))}")
        except BaseException:
            self.close()
            raise

    def _connect(self, limit: timedelta | None) -> Lined[Any]:
        import adbc_driver_postgresql.dbapi as adbc

        try:
            return lined(self.connection.id, lambda: adbc.connect(postgres_uri(self.connection)), limit)
        except adbc.Error as error:
            raise self.explain(error, connecting=True) from None

    def _run(self, statement: str) -> None:
        import adbc_driver_postgresql.dbapi as adbc

        try:
            with self.lifeline.within("a statement"):
                self.cursor.execute(statement)
        except adbc.Error as error:
            raise self.explain(error) from None

    def schema(self, query: str) -> pa.Schema:
        """Return the Arrow schema of a query without running it."""
        import adbc_driver_postgresql.dbapi as adbc

        try:
            with self.lifeline.within("the query's description"):
                schema: pa.Schema = self.cursor.adbc_execute_schema(query)
        except adbc.Error as error:
            raise self.explain(error) from None
        names = schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise TerminalError(f"the query has more than one column {twice[0]!r}; give each its own name")
        return schema

    def described(self, schema: pa.Schema, query: str, table: str | None) -> pa.Schema:
        """Return the schema with the server's types and, for a table, their modifiers, as newer drivers tell them.

        A join with nothing gives the types without running the query.
        """
        names = list(map(quote_identifier, schema.names))
        items = [f"pg_catalog.pg_typeof(rows.{name})::text AS t{index}" for index, name in enumerate(names)]
        none = f"(SELECT) AS nothing LEFT JOIN (\n{query}\n) AS rows ON false"
        types = self.table(f"SELECT {', '.join(items)} FROM {none}").to_pylist()[0]
        typmods: dict[str, int] = {}
        if table is not None:
            place = quote_literal(".".join(map(quote_identifier, table.split("."))))
            found = self.table(
                "SELECT attname::text AS name, atttypmod AS typmod FROM pg_catalog.pg_attribute "
                f"WHERE attrelid = {place}::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped"
            )
            typmods = {row["name"]: row["typmod"] for row in found.to_pylist()}
        for index, field in enumerate(schema):
            metadata: dict[bytes | str, bytes | str] = {
                b"POSTGRESQL:type": types[f"t{index}"].encode(),
                b"POSTGRESQL:typmod": str(typmods.get(field.name, -1)).encode(),
            }
            schema = schema.set(index, field.with_metadata(metadata))
        return schema

    def shapes(self, query: str, names: Sequence[str]) -> dict[str, Shape]:
        """Return what the values of numeric columns need: digits before and after the point; None for NaN, infinity."""
        if not names:
            return {}
        items = []
        for index, name in enumerate(map(quote_identifier, names)):
            items.append(
                f"max(pg_catalog.abs({name}))::text AS m{index}, max(pg_catalog.scale({name}))::int AS s{index}"
            )
        row = self.table(f"SELECT {', '.join(items)} FROM (\n{query}\n) AS numbers").to_pylist()[0]
        found: dict[str, Shape] = {}
        for index, name in enumerate(names):
            most, scale = row[f"m{index}"], row[f"s{index}"]
            is_number = most is None or most[:1].isdigit()
            found[name] = (len((most or "0").split(".")[0].lstrip("0")), scale or 0) if is_number else None
        return found

    def read(self, query: str) -> pa.RecordBatchReader:
        """Run a query and return its rows as a stream."""
        import adbc_driver_postgresql.dbapi as adbc

        try:
            with self.lifeline.within("the query"):
                self.cursor.execute(query)
                reader: pa.RecordBatchReader = self.cursor.fetch_record_batch()
        except adbc.Error as error:
            raise self.explain(error) from None
        return reader

    def table(self, query: str) -> pa.Table:
        """Return all rows of a query, of which there are few."""
        import pyarrow as pa

        reader = self.read(query)
        try:
            with self.lifeline.within("the query"):
                return reader.read_all()
        except (OSError, pa.ArrowException, self.con.Error) as error:
            raise self.explain(error) from None

    def plan(self, query: str) -> dict[str, Any]:
        """Return the root of a query's plan; the query is not run."""
        # EXPLAIN can't be the query of a COPY, by which the driver reads else
        self.cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        found = self.one(f"EXPLAIN (FORMAT JSON) {query}")
        plan: dict[str, Any] = json.loads(found)[0]["Plan"]
        return plan

    def one(self, query: str) -> Any:
        """Return the first value of a query."""
        return self.table(query).column(0)[0].as_py()

    def explain(self, error: BaseException, *, connecting: bool = False) -> DataForgeError:
        """Return the driver's error as ours: transient when trying again may help."""
        text = without_secrets(str(error).split("\nQuery was:")[0].strip(), self.connection)
        state = getattr(error, "sqlstate", None) or ""
        message = f"connection {self.connection.id!r}: {text}"
        verdict = retry.of_sqlstate(state) if state else retry.of_driver(error, connecting=connecting)
        return retry.error_for(verdict, message, self.connection.id, retry.pause(text, state))

    def close(self) -> None:
        """End the transaction and the connection."""
        self.lifeline.close()
        for part in (self.cursor, self.con) if hasattr(self, "cursor") else (self.con,):
            with suppress(Exception):
                part.close()


def _readable(query: str, schema: pa.Schema, overrides: dict[str, str], sample: int | None) -> tuple[str, list[Any]]:
    """Return the query with columns cast where Arrow can't hold them, and the fields that the stream shall have."""
    import pyarrow as pa

    items, fields, changed = [], [], False
    type_: Any
    for field in schema:
        name = quote_identifier(field.name)
        server_type = _server_type(field)
        as_text = overrides.get(field.name, "").strip().lower() in ("text", "varchar", "string")
        cast = None
        if as_text:
            cast, type_ = _AS_TEXT.format(name), pa.string()
        elif server_type == "numeric":
            type_ = _decimal(field, overrides.get(field.name))
        elif server_type in _EXACT:
            cast = f"CAST({name} AS {_EXACT[server_type]})"
            type_ = pa.decimal128(19, 2) if server_type == "money" else pa.int64()
        elif pa.types.is_interval(field.type) and field.name in overrides:
            type_ = field.type
        elif _is_opaque(field.type) or pa.types.is_interval(field.type):
            cast, type_ = _AS_TEXT.format(name), pa.string()
        elif pa.types.is_list(field.type) and (
            _is_opaque(field.type.value_type) or pa.types.is_interval(field.type.value_type)
        ):
            cast, type_ = f"CAST({name} AS text[])", pa.list_(pa.string())
        else:
            type_ = field.type
        items.append(f"{cast} AS {name}" if cast else name)
        changed = changed or cast is not None
        fields.append(pa.field(field.name, type_))
    if changed:
        query = f"SELECT {', '.join(items)} FROM (\n{query}\n) AS source_rows"
    if sample is not None:
        query = f"SELECT * FROM (\n{query}\n) AS sampled_rows LIMIT {int(sample)}"
    return query, fields


def _server_type(field: Any) -> str:
    return str((field.metadata or {}).get(b"POSTGRESQL:type", b"").decode() or getattr(field.type, "type_name", ""))


def _is_opaque(type_: pa.DataType) -> bool:
    return getattr(type_, "extension_name", "") == "arrow.opaque"


def _typmod(field: Any) -> int:
    return int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))


def _is_open(field: Any) -> bool:
    """Whether a column is numeric of any precision."""
    return _server_type(field) == "numeric" and _typmod(field) < 4


def _shape(texts: Iterable[str | None]) -> Shape:
    """Return what numbers in text need, as `_Session.shapes` does."""
    digits = scale = 0
    for text in texts:
        if text is None:
            continue
        whole, _, fraction = text.lstrip("-").partition(".")
        if not whole.isdigit():
            return None
        digits, scale = max(digits, len(whole.lstrip("0"))), max(scale, len(fraction))
    return digits, scale


def _fitting(field: Any, shape: Shape, context: ExtractContext) -> Any:
    """Return a field of a numeric column with a type that holds all its values exactly: a decimal, else text."""
    import pyarrow as pa

    precision, scale = OPEN_NUMERIC
    if shape is not None and shape[0] <= precision - scale and shape[1] <= scale:
        return field
    if shape is not None and sum(shape) <= precision:
        return field.with_type(pa.decimal128(precision, shape[1]))
    why = "a value is NaN or infinite" if shape is None else f"its values need {sum(shape)} digits; 38 are the most"
    context.log("numeric read as text", column=field.name, reason=why)
    return field.with_type(pa.string())


def _decimal(field: Any, override: str | None) -> pa.DataType:
    """Return the decimal type of a numeric column; its text, exactly, where the config gives another type."""
    import pyarrow as pa

    if override is not None:
        return pa.string()
    typmod = _typmod(field)
    if typmod < 4:
        return pa.decimal128(*OPEN_NUMERIC)
    precision, scale = (typmod - 4) >> 16 & 0xFFFF, (typmod - 4) & 0x7FF
    if scale > 1023:  # the server stores a negative scale, numeric(3,-2), in eleven bits
        precision, scale = precision + 2048 - scale, 0
    if scale > precision:
        precision = scale
    return pa.decimal128(precision, scale) if precision <= 38 else pa.string()


def _typed(session: _Session, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    try:
        while True:
            try:
                with session.lifeline.within("reading"):
                    batch = reader.read_next_batch()
            except StopIteration:
                return
            except (OSError, pa.ArrowException, session.con.Error) as error:
                raise session.explain(error) from None
            yield pa.RecordBatch.from_arrays(
                [_converted(batch.column(index), field) for index, field in enumerate(schema)], schema=schema
            )
    finally:
        session.close()


def _converted(array: Any, field: Any) -> Any:
    """Return a column in its final type; TerminalError where a value does not fit, never a rounded one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_temporal(field.type) and not pa.types.is_time(field.type):
        _check_range(array, field)
    if array.type == field.type:
        return array
    if _is_opaque(array.type):
        array = array.storage
    if not pa.types.is_decimal(field.type):
        return array.cast(field.type)
    try:
        return pc.cast(array, field.type)
    except pa.ArrowInvalid:
        bad = next(text for text in array.to_pylist() if text is not None and not _fits(text, field.type))
        raise TerminalError(
            f"column {field.name!r}: {bad[:40]!r} does not fit {field.type}; give the column a type under 'columns', "
            "such as decimal(38,20), double or text"
        ) from None


def _fits(text: str, type_: pa.DataType) -> bool:
    import pyarrow as pa

    try:
        pa.array([text]).cast(type_)
    except pa.ArrowInvalid:
        return False
    return True


def _check_range(array: Any, field: Any) -> None:
    """Raise TerminalError for infinity and for years outside of 1 to 9999, which Arrow and its readers can't hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_date32(array.type) or pa.types.is_timestamp(array.type)) or array.null_count == len(array):
        return
    ends = pc.min_max(array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    unit = 1 if pa.types.is_date32(array.type) else 86_400_000_000
    if low < -719_162 * unit or high >= 2_932_897 * unit:
        raise TerminalError(
            f"column {field.name!r} holds infinity or a year outside of 1 to 9999; read it as text: "
            f'"columns": {{"{field.name}": "text"}}'
        )
