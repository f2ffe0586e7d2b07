"""A look at a connection from where tasks run: can its server be reached, and does it let us in?"""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dataforge.components.base import Connection
from dataforge.components.dbapi import PyMySql, provided
from dataforge.components.lifeline import bounded_call
from dataforge.errors import ConfigError, DataForgeError, TerminalError, TransientError, bounded
from dataforge.runtime.advice import advice_on_connection
from dataforge.runtime.connections import in_task, lookup, secrets
from dataforge.settings import get_settings

SECONDS = 20.0
MODELS = frozenset({"ollama", "openai", "anthropic", "pydanticai", "pydantic_ai"})
"""Types of connections that only the web API and the command line use, never a task."""

State = Literal["ok", "failed", "unknown"]
Found = tuple[State, str]


def check(conn_id: str, seconds: float = SECONDS) -> dict[str, Any]:
    """Return the state of a connection and a sentence about it, free of its secrets; this takes `seconds` at most.

    `public` is what may be told to those too who may not see the connection itself; a server's words are not.
    `advice` says what to do about a failure, "" where we don't know; `type` is the connection's, `seconds` how long
    the look took.
    """
    began = time.monotonic()
    state: State
    public = type_ = ""

    def look() -> Found:
        nonlocal type_
        connection = lookup(conn_id)
        type_ = connection.type
        return _look(connection)

    try:
        state, message = bounded_call(seconds, look, lambda: _Late(seconds))
    except ConfigError as error:
        message = f"{error.problems[0].message}; add it in Airflow, under Admin, Connections"
        state, public = "failed", message
    except _Late as error:
        state, message, public = "failed", str(error), str(error)
    except DataForgeError as error:
        state, message = "failed", str(error)
    except Exception as error:  # noqa: BLE001  # what hooks and drivers may raise is not ours to list
        state, message = "failed", f"{type(error).__name__}: {error}"
    taken = time.monotonic() - began
    if state == "ok":
        message = f"{message} in {taken:.2f} s"
    advice = advice_on_connection(message) if state == "failed" else ""
    for secret in secrets([conn_id]):
        message = message.replace(secret, "***")
    return {
        "state": state,
        "message": bounded(message, 1_000),
        "public": message if state != "failed" else public,
        "advice": advice if advice not in public else "",
        "type": type_,
        "seconds": round(taken, 3),
    }


class _Late(TransientError):
    """Nothing came in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:.0f} s: look at host, port, and what lies between here and there")


def _look(connection: Connection) -> Found:
    ways: dict[str, Callable[[Connection], Found]] = {"postgres": _postgres, "http": _http, "aws": _s3, "mysql": _mysql}
    if connection.type in MODELS:
        return "unknown", "language models are asked by the API server, not by tasks; the list of models tells of them"
    return ways.get(connection.type, _by_hook)(connection)


def _postgres(connection: Connection) -> Found:
    import adbc_driver_postgresql.dbapi as adbc

    from dataforge.components.database import postgres_uri, without_secrets

    try:
        with adbc.connect(postgres_uri(connection)) as con, con.cursor() as cursor:
            cursor.execute("select current_setting('server_version')")
            row = cursor.fetchone()
    except adbc.Error as error:
        raise TerminalError(without_secrets(str(error).split("\nQuery was:")[0].strip(), connection)) from None
    return "ok", f"PostgreSQL {row[0] if row else ''} answered"


def _http(connection: Connection) -> Found:
    from dataforge.sources._http import Client

    with tempfile.TemporaryDirectory() as scratch:
        ends = time.monotonic() + SECONDS / 2
        client = Client(connection, get_settings(), Path(scratch), page_seconds=SECONDS / 2, ends=ends)
        try:
            client.open({})
            status = str(client.send("GET", client.url("")).status)
        except TerminalError as error:
            # the base of an API is often no page of its own: that the server says so is an answer
            found = re.search(r" answered (4\d\d): ", str(error))
            if found is None:
                raise
            status = found[1]
        finally:
            client.close()
    return "ok", f"the server answered {status}"


def _mysql(connection: Connection) -> Found:
    if provided("mysql"):
        return _by_hook(connection)
    import pymysql  # type: ignore[import-untyped,import-not-found,unused-ignore]

    try:
        with closing(PyMySql(connection).get_conn()) as con, con.cursor() as cursor:
            cursor.execute("select version()")
            (version,) = cursor.fetchone()
    except pymysql.Error as error:
        raise TerminalError(str(error)) from None
    return "ok", f"MySQL {version} answered"


def _s3(connection: Connection) -> Found:
    from dataforge.components.paths import filesystem

    try:
        buckets = filesystem(connection).ls("")
    except PermissionError as error:
        if "AccessDenied" in str(error) or "Access Denied" in str(error):
            return "ok", "the keys are accepted (they may not list buckets)"
        raise
    return "ok", f"the keys are accepted ({len(buckets)} buckets)"


def _by_hook(connection: Connection) -> Found:
    """Ask the connection's own Airflow hook, as Airflow's test of connections does."""
    if in_task():
        from airflow.sdk import Connection as Stored

        found, message = Stored.get(connection.id).test_connection()
    else:
        from airflow.models.connection import Connection as Kept

        kept: Any = Kept.get_connection_from_secrets(connection.id)
        found, message = kept.test_connection()
    if found:
        return "ok", message or "the server answered"
    if "Unknown hook type" in message or "doesn't implement" in message:
        hint = "install the provider's package where tasks run" if "Unknown" in message else "its hook has no test"
        return _port(connection, hint)
    return "failed", message


PORTS = {
    "clickhouse": 8123, "elasticsearch": 9200, "ftp": 21, "imap": 993, "mongo": 27017, "mssql": 1433, "mysql": 3306,
    "oracle": 1521, "redis": 6379, "sftp": 22, "smtp": 25, "ssh": 22, "trino": 8080,
}  # fmt: skip
"""Where servers listen whose connection names no port."""


def _port(connection: Connection, hint: str) -> Found:
    """Open a TCP connection: that a server listens is all that can be told of a type without a test."""
    port = connection.port or PORTS.get(connection.type)
    host = urlsplit(connection.host).hostname if "://" in connection.host else connection.host
    if not host or not port:
        return "unknown", f"connections of type {connection.type!r} can't be checked here: {hint}"
    with socket.create_connection((host, port), timeout=SECONDS / 2):
        return "ok", f"a server listens at port {port}; whether it lets us in was not tried ({hint}); it answered"
