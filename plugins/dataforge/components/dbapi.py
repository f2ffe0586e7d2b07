"""Databases that Airflow reaches by a hook with a DB-API connection: how one is opened, which driver it is, what its
errors mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.components.database import without_secrets
from dataforge.components.lifeline import Lined, lined
from dataforge.errors import DataForgeError, TerminalError

DIALECTS = {
    "clickhouse": "clickhouse",
    "databricks": "databricks",
    "drill": "drill",
    "druid": "druid",
    "duckdb": "duckdb",
    "exasol": "exasol",
    "gcpbigquery": "bigquery",
    "hiveserver2": "hive",
    "mssql": "tsql",
    "mysql": "mysql",
    "oracle": "oracle",
    "postgres": "postgres",
    "presto": "presto",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "sqlite": "sqlite",
    "teradata": "teradata",
    "trino": "trino",
}
"""Airflow connection types to SQLGlot dialects; others are parsed as plain SQL."""


def connect(
    connection: Connection,
    limit: timedelta | None,
    log: Callable[..., None],
    prepare: Callable[[Any, Any], None],
    *,
    files: bool = False,
) -> Lined[Any]:
    """Return a DB-API connection through the connection's Airflow hook; `prepare` gets hook and connection first.

    `limit` bounds all calls together. With `files` MySQL's driver may send files, for LOAD DATA LOCAL. ServerAway,
    TransientError or TerminalError when there is none to be had.
    """
    hook = _hook(connection)
    if files:
        hook.local_infile = True

    def once() -> Lined[Any]:
        try:
            made = lined(connection.id, hook.get_conn, limit)
            try:
                with made.lifeline.within("the first statement"):
                    prepare(hook, made.connection)
            except BaseException:
                made.lifeline.close()
                with suppress(Exception):
                    made.connection.close()
                raise
        except DataForgeError:
            raise
        except Exception as error:  # noqa: BLE001 each driver has errors of its own
            raise explain(error, connection, connecting=True) from None
        return made

    return retry.connecting(once, connection.id, log)


def _hook(connection: Connection) -> Any:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook

    if connection.type == "mysql" and not provided("mysql") and find_spec("pymysql") is not None:
        return PyMySql(connection)
    try:
        hook = BaseHook.get_hook(connection.id)
    except Exception as error:  # noqa: BLE001 each driver has errors of its own
        raise TerminalError(
            f"connection {connection.id!r} of type {connection.type!r} has no usable hook: "
            f"{without_secrets(str(error), connection)}"
        ) from None
    if not isinstance(hook, DbApiHook):
        raise TerminalError(f"connection {connection.id!r} of type {connection.type!r} is no database")
    return hook


def provided(name: str) -> bool:
    """Whether Airflow's provider of that name is installed."""
    try:
        return find_spec(f"airflow.providers.{name}") is not None
    except ModuleNotFoundError:
        return False


class PyMySql:
    """What Airflow's MySQL hook does, by PyMySQL, where its package, which needs a compiler, is not installed."""

    supports_autocommit = True

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.local_infile = False

    def get_conn(self) -> Any:
        """Return a new connection."""
        import pymysql  # type: ignore[import-untyped,import-not-found,unused-ignore]

        extra = self.connection.extra
        tls = extra.get("ssl")
        return pymysql.connect(
            host=self.connection.host or "localhost",
            port=self.connection.port or 3306,
            user=self.connection.login or None,
            password=self.connection.password,
            database=self.connection.schema or None,
            unix_socket=extra.get("unix_socket"),
            charset=str(extra.get("charset") or "utf8mb4"),
            ssl=json.loads(tls) if isinstance(tls, str) and tls else tls or None,
            connect_timeout=10,
            local_infile=self.local_infile,
        )

    def set_autocommit(self, con: Any, autocommit: bool) -> None:
        """Set autocommit."""
        con.autocommit(autocommit)


def driver_of(con: Any) -> str:
    """Return the driver's package; Airflow wraps some connections, so the attribute they wrap counts too."""
    return type(getattr(con, "conn", None) or con).__module__.split(".")[0]


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE that a driver's error carries, "" where it has none."""
    return str(getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or "")


def explain(
    error: Exception,
    connection: Connection,
    *,
    connecting: bool = False,
    where: str = "",
    hide: Callable[[str], str] = lambda text: text,
) -> DataForgeError:
    """Return our error for a driver's; its text is the first line of the driver's, passed through `hide`."""
    said = str(error).strip()
    line = hide(said.splitlines()[0]) if said else type(error).__name__
    text = without_secrets(f"{where or f'connection {connection.id!r}'}: {line}", connection)
    verdict = retry.of_driver(error, connecting=connecting)
    return retry.error_for(verdict, text, connection.id, retry.pause(said, sqlstate(error)))
