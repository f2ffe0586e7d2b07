"""What the Redis source and destination share: a client from an Airflow connection, and its errors as ours.

Valkey speaks the same protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.components.database import without_secrets
from dataforge.errors import DataForgeError, TerminalError

TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
"""Keys of a connection's extra, beside `db` and `ssl`, that reach the client."""

SECONDS = 30.0
"""Longest wait for an answer, but for that to a commit."""


def client(connection: Connection, seconds: float = SECONDS) -> Any:
    """Return a client, not connected yet; TerminalError for another type of connection or a database that is none."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if connection.type not in ("redis", ""):
        raise TerminalError(f"connection {connection.id!r} is of type {connection.type!r}; a 'redis' one is needed")
    number = connection.extra.get("db") or connection.schema or 0
    if not str(number).isdigit():
        raise TerminalError(f"connection {connection.id!r}: the database {number!r} is no number")
    secure = {name: connection.extra[name] for name in TLS if connection.extra.get(name) is not None}
    return redis.Redis(
        host=connection.host or "localhost",
        port=connection.port or 6379,
        db=int(number),
        username=connection.login or None,
        password=connection.password or None,
        ssl=bool(connection.extra.get("ssl", False)),
        socket_timeout=seconds,
        socket_connect_timeout=10,
        client_name="dataforge",
        # a command is repeated by those who know whether it may be
        retry=Retry(NoBackoff(), 0),
        **secure,
    )


@contextmanager
def errors(connection: Connection, what: str) -> Iterator[None]:
    """Turn the client's errors into ours, without secrets."""
    import redis

    try:
        yield
    except redis.RedisError as error:
        raise explain(error, connection, what) from None


def explain(error: Exception, connection: Connection, what: str) -> DataForgeError:
    """Return an error of the client as ours."""
    text = without_secrets(str(error), connection)
    return retry.error_for(_verdict(error, text), f"connection {connection.id!r}: {what}: {text}", connection.id)


def _verdict(error: Exception, text: str) -> retry.Verdict:
    import redis
    from redis.exceptions import AuthorizationError, NoPermissionError

    if isinstance(error, redis.AuthenticationError | AuthorizationError | NoPermissionError):
        return "terminal"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return "away"
    passing = ("BUSY", "LOADING", "TRYAGAIN", "OOM", "READONLY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")
    kinds = ("ReadOnlyError", "OutOfMemoryError", "BusyLoadingError")
    return "again" if type(error).__name__ in kinds or text.startswith(passing) else "terminal"


def about(found: Any) -> str:
    """Return name and version of the server; TerminalError for one of a cluster, whose keys lie on several servers."""
    info = found.info("server")
    if str(info.get("redis_mode", info.get("server_mode", "standalone"))) == "cluster":
        raise TerminalError("the server is one of a cluster, whose keys lie on several servers; that is not supported")
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version') or info['redis_version']}"
