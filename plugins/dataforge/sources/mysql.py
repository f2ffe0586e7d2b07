"""The mysql source: a table or query of MySQL or MariaDB, in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, ClassVar, Literal

from dataforge.components.extras import Extra
from dataforge.components.lifeline import Lifeline
from dataforge.components.registry import SOURCES
from dataforge.sources._information_schema import declared_types
from dataforge.sources.sql import DatabaseConfig, SqlSource


class MysqlConfig(DatabaseConfig):
    """Config of the mysql source."""

    type: Literal["mysql"] = "mysql"

    def extras(self) -> tuple[Extra, ...]:
        """Name the driver."""
        return (Extra("mysql", "pymysql"),)


@SOURCES.register(MysqlConfig)
class MysqlSource(SqlSource):
    """Reads a table or query of MySQL or MariaDB in one consistent, read-only snapshot.

    Columns have the types that the table declares, in every run. TIMESTAMP columns come in UTC, without an offset, as
    DATETIME columns do.
    """

    connection_type: ClassVar[str] = "mysql"
    session: ClassVar[tuple[str, ...]] = (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET time_zone = '+00:00'",
    )

    def declared(self, con: Any, lifeline: Lifeline) -> Mapping[str, str]:
        """Return the types of the table's columns."""
        if self.config.table is None:
            return {}
        schema, _, table = self.config.table.rpartition(".")
        with lifeline.within("the columns"), closing(con.cursor()) as cursor:
            cursor.execute(
                "SELECT COLUMN_NAME, COLUMN_TYPE FROM INFORMATION_SCHEMA.COLUMNS "
                "WHERE TABLE_SCHEMA = COALESCE(%s, DATABASE()) AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
                (schema or None, table),
            )
            return declared_types(cursor.fetchall(), "mysql")
