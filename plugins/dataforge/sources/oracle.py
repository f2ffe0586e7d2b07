"""The oracle source: a table or query of an Oracle database, in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, ClassVar, Literal

from dataforge.components.extras import Extra
from dataforge.components.lifeline import Lifeline
from dataforge.components.registry import SOURCES
from dataforge.sources._information_schema import declared_types
from dataforge.sources.sql import DatabaseConfig, SqlSource, upper_case

_COLUMNS = (
    "SELECT COLUMN_NAME, CASE WHEN DATA_TYPE = 'NUMBER' AND DATA_PRECISION IS NOT NULL "
    "THEN 'NUMBER(' || DATA_PRECISION || ',' || DATA_SCALE || ')' ELSE DATA_TYPE END FROM ALL_TAB_COLUMNS "
    "WHERE OWNER = COALESCE(:1, SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')) AND TABLE_NAME = :2 ORDER BY COLUMN_ID"
)


class OracleConfig(DatabaseConfig):
    """Config of the oracle source."""

    type: Literal["oracle"] = "oracle"

    def extras(self) -> tuple[Extra, ...]:
        """Name the provider, which brings the driver."""
        return (Extra("oracle", "airflow.providers.oracle.hooks.oracle"),)


@SOURCES.register(OracleConfig)
class OracleSource(SqlSource):
    """Reads a table or query of an Oracle database in one read-only transaction; numbers come digit by digit.

    Names that are all in lower case stand for Oracle's own upper case. Tested by the text of its statements only: no
    server was to be had.
    """

    connection_type: ClassVar[str] = "oracle"

    def opened(self, con: Any) -> None:
        """Let numbers come as decimals and large objects as their values."""
        import oracledb

        kinds = {
            oracledb.DB_TYPE_CLOB: oracledb.DB_TYPE_LONG,
            oracledb.DB_TYPE_NCLOB: oracledb.DB_TYPE_LONG_NVARCHAR,
            oracledb.DB_TYPE_BLOB: oracledb.DB_TYPE_LONG_RAW,
        }

        def handle(cursor: Any, column: Any) -> Any:
            if column.type_code is oracledb.DB_TYPE_NUMBER:
                from decimal import Decimal

                return cursor.var(Decimal, arraysize=cursor.arraysize)
            kind = kinds.get(column.type_code)
            return cursor.var(kind, arraysize=cursor.arraysize) if kind else None

        con.outputtypehandler = handle

    def declared(self, con: Any, lifeline: Lifeline) -> Mapping[str, str]:
        """Return the types of the table's columns."""
        if self.config.table is None:
            return {}
        schema, _, table = upper_case(self.config.table).rpartition(".")
        with lifeline.within("the columns"), closing(con.cursor()) as cursor:
            cursor.execute(_COLUMNS, [schema or None, table])
            return declared_types(cursor.fetchall(), "oracle")
