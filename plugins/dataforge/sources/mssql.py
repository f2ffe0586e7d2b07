"""The mssql source: a table or query of Microsoft SQL Server or Azure SQL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, ClassVar, Literal

from dataforge.components.delivery import Grade
from dataforge.components.extras import Extra
from dataforge.components.lifeline import Lifeline
from dataforge.components.registry import SOURCES
from dataforge.sources._information_schema import SIZED, declared_types
from dataforge.sources.sql import DatabaseConfig, SqlSource


class MssqlConfig(DatabaseConfig):
    """Config of the mssql source."""

    type: Literal["mssql"] = "mssql"

    def extras(self) -> tuple[Extra, ...]:
        """Name the provider, which brings the driver."""
        return (Extra("mssql", "airflow.providers.microsoft.mssql.hooks.mssql"),)

    def grade(self) -> Grade:
        """Return "unstable": unless the database keeps row versions, a read can miss rows that move meanwhile."""
        return "unstable"


@SOURCES.register(MssqlConfig)
class MssqlSource(SqlSource):
    """Reads a table or query of Microsoft SQL Server or Azure SQL in one statement; columns have their declared types.

    Tested by the text of its statements only: no server was to be had.
    """

    connection_type: ClassVar[str] = "mssql"
    session: ClassVar[tuple[str, ...]] = ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED",)

    def declared(self, con: Any, lifeline: Lifeline) -> Mapping[str, str]:
        """Return the types of the table's columns."""
        if self.config.table is None:
            return {}
        schema, _, table = self.config.table.rpartition(".")
        with lifeline.within("the columns"), closing(con.cursor()) as cursor:
            cursor.execute(SIZED.format(schema="COALESCE(%s, SCHEMA_NAME())"), (schema or None, table))
            return declared_types(cursor.fetchall(), "tsql")
