"""Logging in: what is put into each request so that the server knows who asks.

Each kind is one small object that requests calls with a prepared request. Secrets come from the Airflow connection;
what was obtained for them is told to the client, so that no message shows it.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dataforge.components.base import Connection, ExtractContext
from dataforge.errors import TerminalError
from dataforge.settings import get_settings
from dataforge.sources import _json_text
from dataforge.sources._http import Answer, Client, Login, Ruling, Tries
from dataforge.sources._http_options import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    HttpSourceConfig,
    JwtAuth,
    OAuth2Auth,
    SessionAuth,
)

EARLY = 30.0
"""Seconds before its end from which a token is not used any more."""

Asking = Callable[[Connection], Client]
"""Makes a client of its own for the server of a connection, under the same limits."""


def login(
    auth: Auth | None, connection: Connection, lookup: Callable[[str], Connection], asking: Asking
) -> Login | None:
    """Return what logs in, None where the connection's own login does; nothing is asked yet."""
    if auth is None or isinstance(auth, BasicAuth):
        return None
    if isinstance(auth, BearerAuth):
        return _Fixed(_secret(connection, auth.from_extra), "Authorization", auth.scheme, _names(auth.from_extra))
    if isinstance(auth, ApiKeyAuth):
        value = auth.prefix + _secret(connection, auth.from_extra)
        return _Fixed(value, auth.name, "", _names(auth.from_extra), in_query=auth.location == "query")
    if isinstance(auth, JwtAuth):
        return _Jwt(auth, _secret(connection, auth.from_extra, lines=True))
    server = lookup(auth.connection) if isinstance(auth, OAuth2Auth) and auth.connection else connection
    return _OAuth2(auth, server, asking) if isinstance(auth, OAuth2Auth) else _Session(auth, server, asking)


def connected(
    config: HttpSourceConfig,
    context: ExtractContext,
    judge: Callable[[Answer], Ruling | None] = lambda answer: None,  # noqa: ARG005
) -> Client:
    """Return an open client for a source: logged in, with its limits; `judge` decides about answers."""
    ends = time.monotonic() + config.total_timeout.total_seconds()

    def asking(server: Connection) -> Client:
        return Client(server, get_settings(), context.scratch, config.timeout.total_seconds(), ends, log=context.log)

    connection, retry = context.connection(config.connection), config.retry
    client = asking(connection)
    client.login = login(config.login_options(), connection, context.connection, asking)
    client.judge = judge
    client.tries = Tries(
        retry.tries,
        retry.first_wait.total_seconds() if retry.first_wait is not None else None,
        retry.max_wait.total_seconds(),
        retry.backoff == "constant",
        retry.wait_header,
        retry.wait_kind,
        retry.repeat_post,
    )
    client.interval = 1 / config.requests_per_second if config.requests_per_second else 0.0
    client.open(config.headers)
    return client


class _Fixed:
    """The same value for every request."""

    def __init__(self, value: str, name: str, scheme: str, own: tuple[str, ...], *, in_query: bool = False) -> None:
        self.value, self.name, self.scheme, self.own, self.in_query = value, name, scheme, own, in_query

    def __call__(self, prepared: Any) -> Any:
        _put(prepared, self.name, f"{self.scheme} {self.value}" if self.scheme else self.value, self.in_query)
        return prepared

    def renew(self) -> bool:
        return False

    def secrets(self) -> Iterator[str]:
        yield self.value


class _Token:
    """A token that lasts for a while; `_ask` gets a new one and the seconds it is good for."""

    own: tuple[str, ...] = ()
    in_query = False
    name = "Authorization"
    scheme = ""

    def __init__(self) -> None:
        self._token, self._until = "", 0.0
        self._known: set[str] = set()

    def __call__(self, prepared: Any) -> Any:
        if not self._token or time.monotonic() >= self._until:
            self._token, seconds = self._ask()
            self._until = time.monotonic() + max(seconds - EARLY, seconds / 2)
            self._known.add(self._token)
        _put(prepared, self.name, f"{self.scheme} {self._token}" if self.scheme else self._token, self.in_query)
        return prepared

    def renew(self) -> bool:
        had, self._token = bool(self._token), ""
        return had

    def secrets(self) -> Iterator[str]:
        yield from self._known

    def _ask(self) -> tuple[str, float]:
        raise NotImplementedError


class _OAuth2(_Token):
    def __init__(self, auth: OAuth2Auth, server: Connection, asking: Asking) -> None:
        super().__init__()
        self.auth, self.server, self.asking = auth, server, asking
        self.name, self.scheme = auth.header, auth.scheme
        self.own = (auth.from_extra,) if auth.grant == "refresh_token" else ()
        self._refresh = _secret(server, auth.from_extra) if auth.grant == "refresh_token" else ""
        self._known |= {self._refresh} - {""}

    def _ask(self) -> tuple[str, float]:
        auth, server = self.auth, self.server
        form: dict[str, str] = {"grant_type": auth.grant}
        if auth.grant == "refresh_token":
            form["refresh_token"] = self._refresh
        if auth.scopes:
            form["scope"] = " ".join(auth.scopes)
        if auth.client_auth == "body":
            form |= {"client_id": server.login, "client_secret": server.password}
        with _asked(self.asking(server), self, basic=auth.client_auth == "basic") as client:
            answer = client.send("POST", client.url(auth.endpoint), None, {**form, **auth.params}, form=True)
        token = _text_at(answer.body, auth.token_path, f"the answer of the token endpoint {auth.endpoint!r}")
        new = _found(answer.body, "refresh_token")
        if auth.grant == "refresh_token" and isinstance(new, str) and new and new != self._refresh:
            self._refresh = new
            self._known.add(new)
            client.log(
                "refresh token replaced", connection=server.id, reason="the server gave another one for this run"
            )
        seconds = _found(answer.body, auth.expires_path)
        return token, float(seconds) if _is_number(seconds) else 3600.0


class _Session(_Token):
    def __init__(self, auth: SessionAuth, server: Connection, asking: Asking) -> None:
        super().__init__()
        self.auth, self.server, self.asking = auth, server, asking
        self.name, self.scheme, self.in_query = auth.name, auth.scheme, auth.location == "query"

    def _ask(self) -> tuple[str, float]:
        auth, server = self.auth, self.server
        body: dict[str, str] = dict(auth.params)
        if auth.send != "basic":
            body |= {auth.login_field: server.login, auth.password_field: server.password}
        with _asked(self.asking(server), self, basic=auth.send == "basic") as client:
            query = body if auth.method == "GET" else None
            sent = body if auth.method == "POST" and body else None
            answer = client.send(auth.method, client.url(auth.endpoint), query, sent, form=auth.send == "form")
        return _text_at(answer.body, auth.token_path, f"the answer of the login {auth.endpoint!r}"), (
            auth.lifetime.total_seconds() + EARLY
        )


class _Jwt(_Token):
    def __init__(self, auth: JwtAuth, key: str) -> None:
        super().__init__()
        self.auth, self.key = auth, key
        self.name, self.scheme, self.own = auth.header, auth.scheme, _names(auth.from_extra)
        self._known.add(key)

    def _ask(self) -> tuple[str, float]:
        import jwt

        auth, seconds = self.auth, self.auth.lifetime.total_seconds()
        key = base64.b64encode(self.key.encode()).decode() if auth.base64_key else self.key
        now = int(time.time())
        claims = {**auth.claims, "iat": now, "exp": now + int(seconds)}
        try:
            return jwt.encode(claims, key, algorithm=auth.algorithm, headers=dict(auth.headers)), seconds
        except (jwt.PyJWTError, ValueError, TypeError):
            raise TerminalError(f"the connection's key can't sign a token by {auth.algorithm}") from None


class _asked:  # noqa: N801 - used as a statement
    """A client for one question to a login, without the login that it is for."""

    def __init__(self, client: Client, owner: _Token, *, basic: bool) -> None:
        self.client, self.owner, self.basic = client, owner, basic

    def __enter__(self) -> Client:
        self.client.secrets = self.owner.secrets
        self.client.open({}, without=self.owner.own, anonymous=not self.basic)
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


def _put(prepared: Any, name: str, value: str, in_query: bool) -> None:
    if not in_query:
        prepared.headers[name] = value
    elif name not in parse_qs(urlsplit(prepared.url or "").query, keep_blank_values=True):
        prepared.prepare_url(prepared.url, {name: value})


def _names(from_extra: str | None) -> tuple[str, ...]:
    return (from_extra,) if from_extra else ()


def _secret(connection: Connection, from_extra: str | None, *, lines: bool = False) -> str:
    """Return a secret of the connection; TerminalError when it has none."""
    value = connection.extra.get(from_extra) if from_extra else connection.password
    if not isinstance(value, str) or not value:
        place = f"{from_extra!r} in its extra" if from_extra else "a password"
        raise TerminalError(f"connection {connection.id!r} needs {place} for this source's auth")
    if any(ord(char) < 32 and not (lines and char in "\r\n") for char in value):
        raise TerminalError(f"connection {connection.id!r}: the secret for this source's auth has a control character")
    return value


def _found(body: bytes, path: str) -> Any:
    try:
        text = _json_text.value_at(body, path)
    except ValueError:
        return None
    return json.loads(text) if text is not None else None


def _text_at(body: bytes, path: str, where: str) -> str:
    value = _found(body, path)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise TerminalError(f"{where} has no token at {path!r}")
    return str(value)


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) > 0
    except (TypeError, ValueError):
        return False
