"""The mssql destination: tables of Microsoft SQL Server and Azure SQL."""

from __future__ import annotations

from typing import ClassVar, Literal

from dataforge.components.extras import Extra
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations.sql import DatabaseConfig, SqlDestination


class MssqlConfig(DatabaseConfig):
    """Config of the mssql destination."""

    type: Literal["mssql"] = "mssql"

    def extras(self) -> tuple[Extra, ...]:
        """Name the provider, which brings the driver."""
        return (Extra("mssql", "airflow.providers.microsoft.mssql.hooks.mssql"),)


@DESTINATIONS.register(MssqlConfig)
class MssqlDestination(SqlDestination):
    """Writes a table of Microsoft SQL Server or Azure SQL, all rows or none; changes of tables are in the transaction.

    Tested by the text of its statements only: no server was to be had.
    """

    connection_type: ClassVar[str] = "mssql"
