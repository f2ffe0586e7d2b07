"""The snowflake destination: tables of Snowflake."""

from __future__ import annotations

from typing import ClassVar, Literal

from dataforge.components.extras import Extra
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations.sql import DatabaseConfig, SqlDestination


class SnowflakeConfig(DatabaseConfig):
    """Config of the snowflake destination."""

    type: Literal["snowflake"] = "snowflake"

    def extras(self) -> tuple[Extra, ...]:
        """Name the provider, which brings the driver."""
        return (Extra("snowflake", "airflow.providers.snowflake.hooks.snowflake"),)


@DESTINATIONS.register(SnowflakeConfig)
class SnowflakeDestination(SqlDestination):
    """Writes a table of Snowflake, all rows or none, with marker and cursor in the same transaction.

    New tables and columns are made before the transaction, in steps that can be repeated. Tested by the text of its
    statements only: no account was to be had.
    """

    connection_type: ClassVar[str] = "snowflake"
