"""Airflow connections as plain values.

Inside a task Airflow is asked. Elsewhere (command line, checks) a connection that stands in the environment is read
here, by Airflow's own rules, since importing Airflow takes seconds; only what is not there is asked of Airflow.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dataforge.components.base import Connection
from dataforge.components.secret_shapes import names_secret
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError, TransientError
from dataforge.settings import config_option

ENV_PREFIX = "AIRFLOW_CONN_"
EXTRA_KEY = "__extra__"


def lookup(conn_id: str) -> Connection:
    """Return the Airflow connection of that id.

    ConfigError (path `connection`) with near ids when there is none, TerminalError when it can't be read or is not
    permitted, TransientError when Airflow could not answer.
    """
    if in_task():
        return _ask_task_api(conn_id)
    text = os.environ.get(ENV_PREFIX + conn_id.upper())
    if text and text.strip() and _environment_is_first():
        return parse(conn_id, text)
    return _ask_backends(conn_id)


def in_task() -> bool:
    """Whether this process runs an Airflow task (or anything else that Airflow's supervisor started)."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None


def parse(conn_id: str, text: str) -> Connection:
    """Return the connection that `text` (a JSON object or a URI, as in AIRFLOW_CONN_…) describes; else TerminalError.

    The rules are those of `airflow.sdk.Connection.from_json` and `from_uri`.
    """
    text = text.strip()
    try:
        return _from_json(conn_id, text) if text.startswith("{") else _from_uri(conn_id, text)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # The text holds secrets, so the parser's own words about it are kept out unless they are ours.
        reason = f": {error}" if isinstance(error, _UnfitError) else ""
        raise TerminalError(
            f"connection {conn_id!r} in the environment variable {ENV_PREFIX}{conn_id.upper()} can't be read{reason}; "
            'write a URI such as postgres://user:password@host:5432/database or JSON such as {"conn_type": "postgres", '
            '"host": "…"}'
        ) from None


def secrets(conn_ids: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the secrets of connections, to be withheld wherever they are found.

    Those of connections in the environment, of the given ones wherever they are kept, and of all in Airflow's database
    where this process has read it. Words that could stand anywhere, such as the password "postgres", are left out.
    """
    known: list[Connection] = []
    for name, text in os.environ.items():
        if name.startswith(ENV_PREFIX) and text.strip():
            with suppress(TerminalError):
                known.append(parse(name.removeprefix(ENV_PREFIX).lower(), text))
    for conn_id in conn_ids:
        with suppress(DataForgeError):
            known.append(lookup(conn_id))
    found = {text for one in known for text in (one.password, *_secrets_in(one.extra))} | _stored_secrets()
    return tuple(sorted(text for text in found if len(text) >= 6 and not _PLAIN_WORD.fullmatch(text)))


def _stored_secrets() -> set[str]:
    """Return what Airflow's database keeps; nothing where its models are not loaded, since that takes seconds."""
    if in_task() or "airflow.models.connection" not in sys.modules:
        return set()
    try:
        from airflow.models.connection import Connection as Stored
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            found = session.scalars(select(Stored)).all()
            return {text for one in found for text in (one.password or "", *_secrets_in(one.extra_dejson))}
    except Exception:  # noqa: BLE001  # what Airflow and its database may raise is not ours to list
        return set()


_PLAIN_WORD = re.compile(r"[a-z]{1,15}|[A-Z]?[a-z]{1,15}|[A-Z]{1,15}")


def _secrets_in(extra: Mapping[str, Any]) -> Iterator[str]:
    for key, value in extra.items():
        if isinstance(value, Mapping):
            yield from _secrets_in(value)
        elif isinstance(value, str) and names_secret(key):
            yield value


class _UnfitError(ValueError):
    """A reason that is free of the connection's own text."""


def _from_json(conn_id: str, text: str) -> Connection:
    data = json.loads(text)
    unknown = set(data) - {"conn_type", "description", "host", "login", "password", "schema", "port", "extra"}
    if unknown:
        raise _UnfitError(f"unknown keys {', '.join(sorted(unknown))}")
    port = data.get("port")
    try:
        number = int(port) if port else None
    except (TypeError, ValueError):
        raise _UnfitError("port is not a whole number") from None
    return _connection(
        conn_id,
        type_=_normal_type(data.get("conn_type") or ""),
        host=data.get("host"),
        port=number,
        login=data.get("login"),
        password=data.get("password"),
        schema=data.get("schema"),
        extra=data.get("extra"),
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    schemes = text.count("://")
    if schemes > 2:
        raise _UnfitError("more than two '://'")
    if schemes == 0:
        raise _UnfitError("it has no '://' and is no JSON object")
    scheme = urlsplit(text).scheme
    rest = text.replace(f"{scheme}://", "" if schemes == 2 else "//")
    if schemes == 2 and any(mark in rest.split("://", 1)[0] for mark in "@:"):
        raise _UnfitError("the second '://' must follow a protocol")
    parts = urlsplit(rest)
    host = _host(parts.netloc, parts.hostname)
    if host and schemes == 2:
        host = f"{parts.scheme}://{host}"
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return _connection(
        conn_id,
        type_=_normal_type(scheme),
        host=host,
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path[1:]),
        extra=query.get(EXTRA_KEY, query),
    )


def _host(netloc: str, hostname: str | None) -> str:
    """Return the host; one with an encoded path in it (a socket folder) keeps its case, as in Airflow."""
    host = unquote(hostname or "")
    return unquote(netloc.rsplit("@", 1)[-1].split(":", 1)[0]) if "/" in host else host


def _normal_type(text: str) -> str:
    return "postgres" if text == "postgresql" else text.replace("-", "_")


def _connection(
    conn_id: str,
    *,
    type_: str | None,
    host: str | None,
    port: int | None,
    login: str | None,
    password: str | None,
    schema: str | None,
    extra: Any,
) -> Connection:
    if isinstance(extra, str):
        try:
            extra = json.loads(extra) if extra else {}
        except ValueError:
            extra = {}
    return Connection(
        id=conn_id,
        type=type_ or "",
        host=host or "",
        port=port,
        login=login or "",
        password=password or "",
        schema=schema or "",
        extra=dict(extra) if isinstance(extra, Mapping) else {},
    )


def _environment_is_first() -> bool:
    """Whether Airflow would ask the environment before anything else: no secrets backend and no teams are set up."""
    backends = ("secrets", "backend"), ("workers", "secrets_backend"), ("secrets", "backends_order")
    if any(config_option(section, option) for section, option in backends):
        return False
    return (config_option("core", "multi_team") or "false").strip().lower() in ("false", "f", "0", "")


def _ask_task_api(conn_id: str) -> Connection:
    from airflow.sdk import Connection as Found
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

    try:
        return _plain(conn_id, Found.get(conn_id))
    except AirflowNotFoundException:
        raise _unknown(conn_id) from None
    except AirflowException as error:
        raise _refused(conn_id, error) from None


def _ask_backends(conn_id: str) -> Connection:
    from airflow.models.connection import Connection as Found
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

    try:
        return _plain(conn_id, Found.get_connection_from_secrets(conn_id))
    except AirflowNotFoundException:
        raise _unknown(conn_id) from None
    except AirflowException as error:
        raise _refused(conn_id, error) from None


def _plain(conn_id: str, found: Any) -> Connection:
    return _connection(
        conn_id,
        type_=found.conn_type,
        host=found.host,
        port=found.port,
        login=found.login,
        password=found.password,
        schema=found.schema,
        extra=found.extra,
    )


def _refused(conn_id: str, error: Exception) -> TerminalError | TransientError:
    if "AccessDenied" in type(error).__name__:
        return TerminalError(f"connection {conn_id!r}: this task is not permitted to read it")
    return TransientError(f"connection {conn_id!r}: Airflow could not give it ({type(error).__name__})")


def _unknown(conn_id: str) -> ConfigError:
    known = sorted(name.removeprefix(ENV_PREFIX).lower() for name in os.environ if name.startswith(ENV_PREFIX))
    near = difflib.get_close_matches(conn_id.lower(), known, n=1)
    add = f"add it with: airflow connections add {conn_id} --conn-uri 'TYPE://USER:PASSWORD@HOST:PORT/SCHEMA'"
    return ConfigError(
        Problem(
            "unknown-connection",
            f"there is no Airflow connection {conn_id!r}",
            ("connection",),
            f"did you mean {near[0]!r}? Or {add}" if near else add,
            tuple(known),
        )
    )
