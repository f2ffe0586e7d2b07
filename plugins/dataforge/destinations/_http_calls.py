"""Calls to a web service: one session from the connection's hook, no redirects, retries by the one taxonomy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.errors import DataForgeError, ServerAway, TerminalError, bounded

if TYPE_CHECKING:
    import requests

LONGEST_WAIT = 300.0
"""Seconds that a server may ask to be left alone; more fails the task, which is tried again later."""

MAX_ANSWER = 1024 * 1024
"""Bytes of an answer that are looked at."""


@dataclass
class Calls:
    """Requests to one connection; `seconds` bounds the silence within each, `tries` how often one is sent."""

    connection: Connection
    seconds: float
    tries: int
    interval: float = 0.0
    log: Callable[..., None] = lambda message, **fields: None  # noqa: ARG005 the call needs their names
    _session: requests.Session | None = None
    _base: str = ""
    _last: float = field(default=0.0)

    def send(
        self, method: str, endpoint: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of a 2xx answer; TerminalError where trying again is no use."""
        for tried in range(1, self.tries + 1):
            wait = 2.0 ** (tried - 1)
            try:
                status, text, after = self._once(method, endpoint, body, headers or {})
            except OSError as error:  # those of requests are OSErrors
                failure: DataForgeError = self._away(error)
            else:
                if 200 <= status < 300:
                    return status, text
                failure = self._refusal(method, endpoint, status, text, after)
                if isinstance(failure, TerminalError):
                    raise failure
                wait = after if after is not None else wait
            if tried == self.tries or wait > LONGEST_WAIT:
                raise failure
            self.log("request repeated", endpoint=endpoint, wait=round(wait, 1), reason=str(failure)[:200])
            time.sleep(wait)
        raise AssertionError("unreachable")

    def probe(self, method: str, endpoint: str) -> int:
        """Return the status of one request; ServerAway where there is no answer."""
        try:
            return self._once(method, endpoint, None, {})[0]
        except OSError as error:
            raise self._away(error) from None

    def close(self) -> None:
        """Give the session back."""
        if self._session is not None:
            self._session.close()

    def _once(
        self, method: str, endpoint: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float | None]:
        from urllib3.exceptions import HTTPError

        session = self._open()
        pause = self._last + self.interval - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._last = time.monotonic()
        url = f"{self._base.rstrip('/')}/{endpoint.lstrip('/')}" if endpoint else self._base
        answer = session.request(
            method, url, data=body, headers=dict(headers), timeout=self.seconds, allow_redirects=False, stream=True
        )
        with answer:
            try:
                text = answer.raw.read(MAX_ANSWER, decode_content=True)
            except HTTPError as error:  # those of urllib3 are no OSErrors
                raise OSError(f"the answer broke off: {error}") from None
            return answer.status_code, text, _after(answer.headers.get("Retry-After"))

    def _open(self) -> requests.Session:
        if self._session is None:
            from airflow.providers.http.hooks.http import HttpHook

            hook = HttpHook(method="POST", http_conn_id=self.connection.id, tcp_keep_alive=False)
            try:
                self._session = hook.get_conn()
            except ValueError as error:
                raise TerminalError(f"connection {self.connection.id!r} can't be used: {error}") from None
            self._base = hook.base_url
        return self._session

    def _refusal(self, method: str, endpoint: str, status: int, text: bytes, after: float | None) -> DataForgeError:
        shown = self._without_secrets(text.decode("utf-8", "replace").strip())
        message = bounded(f"{method} {endpoint or '/'} was answered with {status}: {shown or 'no text'}", 500)
        if 300 <= status < 400:
            return TerminalError(f"{method} {endpoint} was redirected ({status}); write the address it leads to")
        return retry.error_for(retry.of_status(status), message, self.connection.id, after)

    def _away(self, error: OSError) -> DataForgeError:
        text = bounded(self._without_secrets(f"{type(error).__name__}: {error}"), 300)
        if type(error).__name__ in ("InvalidURL", "InvalidSchema", "MissingSchema", "InvalidHeader"):
            return TerminalError(f"connection {self.connection.id!r} can't be used: {text}")
        if type(error).__name__ == "SSLError":
            return TerminalError(f"the server of connection {self.connection.id!r} is not to be trusted: {text}")
        return ServerAway(
            f"the server of connection {self.connection.id!r} does not answer: {text}", self.connection.id
        )

    def _without_secrets(self, text: str) -> str:
        secrets = {self.connection.password, *(str(value) for value in self.connection.extra.values())}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***") if len(secret) >= 4 else text
        return text


def _after(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
