"""What sources and destinations share about databases: quoting, and the URI for libpq from an Airflow connection."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from dataforge.components.base import Connection
from dataforge.errors import TerminalError

LIBPQ_EXTRAS = (
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "gssencmode",
    "host",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
)
"""Keys of a connection's extra that reach libpq; others (`options`, `service`, `passfile`, …) never do."""


def writing_config() -> dict[str, str]:
    """Return the settings of DuckDB for a connection that writes files by COPY."""
    import duckdb

    # Where other threads write, 2.0 may wait for ever once a COPY ends with an error: the one that gives up the file
    # holds the lock that the writer needs to come to its end (AsyncFileWriter, ManagedAsyncWriteStreamQueue).
    return {"async_threads": "0"} if int(duckdb.__version__.split(".")[0]) >= 2 else {}


_DEFAULTS = {
    "application_name": "dataforge",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted identifier of standard SQL (PostgreSQL, DuckDB); TerminalError where none exists."""
    if not name or "\0" in name:
        raise TerminalError(f"{name!r} can't be a name in SQL: it is empty or has a NUL character")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return `text` as a string literal of standard SQL, for the places where a statement takes no parameters."""
    if "\0" in text:
        raise TerminalError(f"{text!r} can't be a text in SQL: it has a NUL character")
    return "'" + text.replace("'", "''") + "'"


def postgres_uri(connection: Connection) -> str:
    """Return the libpq URI of an Airflow connection of type postgres; TerminalError for another type.

    It holds the password: never log it. What the connection leaves out is left to libpq, but for time-outs.
    """
    if connection.type not in ("postgres", ""):
        raise TerminalError(f"connection {connection.id!r} is of type {connection.type!r}; a 'postgres' one is needed")
    given = {name: str(connection.extra[name]) for name in LIBPQ_EXTRAS if connection.extra.get(name) is not None}
    values = {
        "host": connection.host,
        "port": str(connection.port) if connection.port else "",
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
        **_DEFAULTS,
        **given,
    }
    return "postgresql:///?" + urlencode({name: value for name, value in values.items() if value}, quote_via=quote)


def without_secrets(text: str, connection: Connection) -> str:
    """Return `text` with the connection's password masked, as it stands and as it stands in a URI."""
    for secret in {connection.password, quote(connection.password), quote(connection.password, safe="")} - {""}:
        text = text.replace(secret, "***")
    return text
