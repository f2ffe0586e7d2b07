"""The snowflake source: a table or query of Snowflake as Arrow batches, as its driver fetches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dataforge.components.base import Batches, Connection, ExtractContext
from dataforge.components.dbapi import explain
from dataforge.components.extras import Extra
from dataforge.components.registry import SOURCES
from dataforge.errors import DataForgeError, TerminalError
from dataforge.sources._pushdown import driver_literals, limited, spelled
from dataforge.sources.sql import DatabaseConfig, SqlSource

if TYPE_CHECKING:
    import pyarrow as pa

FIXED, REAL, DATE, BINARY, TIME, BOOLEAN = 0, 1, 3, 11, 12, 13
INSTANTS, LOCAL_TIMES = (6, 7), (4, 8)
"""Codes of types in a cursor's description; the others are texts, or JSON as text."""


class SnowflakeConfig(DatabaseConfig):
    """Config of the snowflake source."""

    type: Literal["snowflake"] = "snowflake"

    def extras(self) -> tuple[Extra, ...]:
        """Name the provider, which brings the driver."""
        return (Extra("snowflake", "airflow.providers.snowflake.hooks.snowflake"),)


@SOURCES.register(SnowflakeConfig)
class SnowflakeSource(SqlSource):
    """Reads a table or query of Snowflake in one statement, streamed as Arrow batches with the types that it declares.

    Names that are all in lower case stand for Snowflake's own upper case. VARIANT, OBJECT and ARRAY columns come as
    JSON text.
    """

    connection_type: ClassVar[str] = "snowflake"

    def extract(self, context: ExtractContext) -> Batches:
        """Return the rows as a stream; the connection is given back at its end."""
        import pyarrow as pa

        connection = self._connection(context)
        query = self._first_rows(self._query(connection, context), context.sample)
        with ExitStack() as opening:
            con, lifeline = opening.enter_context(self._open(connection, context))
            try:
                cursor = opening.enter_context(con.cursor())
                with lifeline.within("the query"):
                    if context.cursor is not None:
                        query = self._limited(query, cursor.describe(query), context)
                    cursor.execute(query)
                schema = _schema(cursor.description)
            except DataForgeError:
                raise
            except Exception as error:  # noqa: BLE001 the driver and what it stands on have many
                raise explain(error, connection) from None
            open_ = opening.pop_all()
        batches = _batches(cursor, schema, connection, open_)
        return Batches(lifeline.watched(pa.RecordBatchReader.from_batches(schema, batches)), open_.close)

    def opened(self, con: Any) -> None:
        """Let decimals come as such, and keep the time limit on the server too."""
        con.arrow_number_to_decimal_setter = True
        if self.config.statement_timeout is not None:
            seconds = max(1, int(self.config.statement_timeout.total_seconds()))
            with con.cursor() as cursor:
                cursor.execute(f"ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {seconds}")

    def _limited(self, query: str, columns: Any, context: ExtractContext) -> str:
        """Return the query with the cursor's bounds around it, where its column has a type that they fit."""
        bounds, kinds = context.cursor, {column[0]: column[1] for column in columns}
        name = spelled(list(kinds), bounds.field) if bounds else None
        if bounds is None or name is None or name.lower() in {key.lower() for key in self.config.columns}:
            return query
        examples = {FIXED: 0, REAL: 0.0, DATE: date(2000, 1, 1)}
        examples |= dict.fromkeys(LOCAL_TIMES, datetime(2000, 1, 1))  # noqa: DTZ001 that is the kind
        examples |= dict.fromkeys(INSTANTS, datetime(2000, 1, 1, tzinfo=timezone.utc))
        literals = driver_literals(examples.get(kinds[name]), "snowflake", bounds)
        return (limited(query, "snowflake", name, bounds, literals) if literals else None) or query

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns with their types in the engine."""
        import duckdb

        connection = self._connection(context)
        with self._open(connection, context) as (con, lifeline), con.cursor() as cursor:
            try:
                with lifeline.within("the columns"):
                    schema = _schema(cursor.describe(self._query(connection, context)))
            except DataForgeError:
                raise
            except Exception as error:  # noqa: BLE001 the driver and what it stands on have many
                raise explain(error, connection) from None
        with duckdb.connect() as engine:
            engine.register("empty", schema.empty_table())
            return {row[0]: row[1] for row in engine.execute("DESCRIBE SELECT * FROM empty").fetchall()}


def _schema(description: Any) -> pa.Schema:
    """Return the Arrow schema for a cursor's description."""
    import pyarrow as pa

    plain: dict[int, pa.DataType] = {
        REAL: pa.float64(), DATE: pa.date32(), BINARY: pa.binary(), TIME: pa.time64("us"), BOOLEAN: pa.bool_(),
        **dict.fromkeys(LOCAL_TIMES, pa.timestamp("us")), **dict.fromkeys(INSTANTS, pa.timestamp("us", "UTC")),
    }  # fmt: skip
    fields: list[pa.Field[Any]] = []
    for name, code, _, _, precision, scale, *_ in description:
        if code == FIXED:
            whole = not scale and precision is not None and precision <= 18
            kind: pa.DataType = pa.int64() if whole else pa.decimal128(precision or 38, scale or 0)
        else:
            kind = plain.get(code, pa.string())
        fields.append(pa.field(name, kind))
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TerminalError(f"the query has more than one column {twice[0]!r}; give each its own name")
    return pa.schema(fields)


def _batches(cursor: Any, schema: pa.Schema, connection: Connection, open_: ExitStack) -> Iterator[pa.RecordBatch]:
    """Yield what the driver fetches, each batch in the declared types: the driver chooses narrower ones for each."""
    import pyarrow as pa

    with open_:
        try:
            for table in cursor.fetch_arrow_batches(force_microsecond_precision=True):
                columns = [
                    column.cast(field.type, safe=not pa.types.is_timestamp(field.type))
                    for column, field in zip(table.columns, schema, strict=True)
                ]
                yield from pa.Table.from_arrays(columns, schema=schema).to_batches()
        except DataForgeError:
            raise
        except Exception as error:  # noqa: BLE001 the driver and what it stands on have many
            raise explain(error, connection) from None
