"""The HTTP session of an Airflow connection: auth, headers, TLS and proxies as the http provider's hook sets them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dataforge.components.base import Connection

if TYPE_CHECKING:
    import requests

HOOK_OPTIONS = frozenset(
    (
        "allow_redirects",
        "cert",
        "check_response",
        "max_redirects",
        "proxies",
        "proxy",
        "srv_lookup",
        "stream",
        "timeout",
        "trust_env",
        "verify",
        "verify_ssl",
    )
)
"""Keys of a connection's extra that the hook gives a meaning; all others are headers."""


def open_session(connection: Connection, adapter: Any, *, made: bool = False) -> tuple[requests.Session, str]:
    """Return a session and the base URL; ValueError when the connection has no usable host.

    The hook makes it, but for one case: outside of Airflow, a connection of plain host, login and headers needs none of
    what the hook can do beyond, and importing Airflow for it takes longer than many a run (see decision 1). Nor does a
    connection that was `made` by a source: the hook would take Airflow's own one of that id.
    """
    if is_plain(connection) and (made or "airflow.sdk" not in sys.modules):
        return _plain_session(connection)
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(method="GET", http_conn_id=connection.id, adapter=adapter, tcp_keep_alive=False)
    session: requests.Session = hook.get_conn()
    return session, hook.base_url


def is_plain(connection: Connection) -> bool:
    """Whether host, port, schema, login and headers are all that the connection says."""
    extra = connection.extra
    return not HOOK_OPTIONS & set(extra) and all(isinstance(value, str) for value in extra.values())


def _plain_session(connection: Connection) -> tuple[requests.Session, str]:
    import requests

    session = requests.Session()
    if connection.login:
        session.auth = (connection.login, connection.password)
    session.headers.update({name: str(value) for name, value in connection.extra.items()})
    base = connection.host if "://" in connection.host else f"{connection.schema or 'http'}://{connection.host}"
    return session, f"{base}:{connection.port}" if connection.port else base
