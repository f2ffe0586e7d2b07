"""Databases that Airflow reaches by a hook with a DB-API connection: how one is opened, which driver it is, what its
errors mean.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
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
) -> Lined[Any]:
    """Return a DB-API connection through the connection's Airflow hook; `prepare` gets hook and connection first.

    `limit` bounds all calls together. ServerAway, TransientError or TerminalError when there is none to be had.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook

    try:
        hook = BaseHook.get_hook(connection.id)
    except Exception as error:  # noqa: BLE001 each driver has errors of its own
        raise TerminalError(
            f"connection {connection.id!r} of type {connection.type!r} has no usable hook: "
            f"{without_secrets(str(error), connection)}"
        ) from None
    if not isinstance(hook, DbApiHook):
        raise TerminalError(f"connection {connection.id!r} of type {connection.type!r} is no database")

    def once() -> Lined[Any]:
        try:
            made = lined(connection.id, hook.get_conn, limit)
            with made.lifeline.within("the first statement"):
                prepare(hook, made.connection)
        except DataForgeError:
            raise
        except Exception as error:  # noqa: BLE001 each driver has errors of its own
            raise explain(error, connection, connecting=True) from None
        return made

    return retry.connecting(once, connection.id, log)


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
