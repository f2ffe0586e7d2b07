"""The mysql destination: tables of MySQL and MariaDB, in bulk where the server takes files."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dataforge.components.extras import Extra
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations.sql import DatabaseConfig, SqlDestination


class MysqlConfig(DatabaseConfig):
    """Config of the mysql destination."""

    type: Literal["mysql"] = "mysql"
    bulk: bool = Field(
        default=True,
        description="Whether rows are sent as files (LOAD DATA LOCAL INFILE) where the server's local_infile is on, "
        "which takes about half the time. While a driver sends files, a hostile server can ask for others: set false "
        "for a server that you don't trust.",
    )

    def extras(self) -> tuple[Extra, ...]:
        """Name the driver."""
        return (Extra("mysql", "pymysql"),)


@DESTINATIONS.register(MysqlConfig)
class MysqlDestination(SqlDestination):
    """Writes a table of MySQL or MariaDB, all rows or none, with marker and cursor in the same transaction.

    New tables and columns are made before the transaction, in steps that can be repeated, since these databases end a
    transaction with each of them. The tables must be of an engine with transactions, such as InnoDB.
    """

    connection_type: ClassVar[str] = "mysql"

    def __init__(self, config: MysqlConfig) -> None:
        super().__init__(config)
        self._bulk = config.bulk

    @property
    def bulk(self) -> bool:
        """Whether rows are sent as files."""
        return self._bulk
