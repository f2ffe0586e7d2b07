"""A small client for the API that Elasticsearch and OpenSearch share, over HTTP and without a package of theirs.

Elastic's own client refuses to talk to OpenSearch, and the other way round; the calls that are needed here are the
same on both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.errors import DataForgeError, TerminalError

TYPES = ("elasticsearch", "opensearch", "http", "")
TIMEOUT = (10, 120)
_POLICY = retry.Policy(attempts=4, first=0.5, cap=10)
_HOOK_OPTIONS = ("api_key", "http_compress", "timeout", "verify_certs", "ca_certs")


class SearchClient:
    """One connection: host (with or without scheme), port, login and password, or `api_key` in the extra."""

    def __init__(self, connection: Connection, log: Callable[..., None]) -> None:
        import requests

        if connection.type not in TYPES:
            raise TerminalError(
                f"connection {connection.id!r} is of type {connection.type!r}; one of type 'elasticsearch', "
                "'opensearch' or 'http' is needed"
            )
        if not connection.host:
            raise TerminalError(f"connection {connection.id!r} names no host")
        scheme = connection.schema if connection.schema in ("http", "https") else "https"
        base = connection.host if "://" in connection.host else f"{scheme}://{connection.host}"
        self.connection, self.log = connection, log
        self._base = f"{base.rstrip('/')}:{connection.port}" if connection.port else base.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        extra = connection.extra
        if extra.get("api_key"):
            self._session.headers["Authorization"] = f"ApiKey {extra['api_key']}"
        elif connection.login:
            self._session.auth = (connection.login, connection.password)
        certificates = extra.get("ca_certs")
        self._session.verify = str(certificates) if certificates else extra.get("verify_certs", True) is not False

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        missing: bool = False,
        again: bool = True,
        what: str = "",
        **query: Any,
    ) -> bytes | None:
        """Return the body of an answer; None for status 404 where `missing` says that this is one.

        `body` is sent as JSON, or as NDJSON where it is bytes. What may pass is tried again, unless `again` is false.
        """
        policy = _POLICY if again else retry.Policy(attempts=1)
        return retry.repeat(
            lambda: self._ask(method, path, body, query, missing, what), policy, what=what or path, log=self.log
        )

    def ask(self, method: str, path: str, body: Any = None, **given: Any) -> Any:
        """Return the answer of `call` as what its JSON stands for."""
        text = self.call(method, path, body, **given)
        return None if text is None else _parsed(text, path)

    def _ask(
        self, method: str, path: str, body: Any, query: Mapping[str, Any], missing: bool, what: str
    ) -> bytes | None:
        import requests

        where = f"connection {self.connection.id!r}: {what or path}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
        try:
            answer = self._session.request(
                method,
                f"{self._base}/{path}",
                params=texts,
                data=data,
                headers={"Content-Type": kind},
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise retry.error_for("away", f"{where}: no answer ({type(error).__name__})", self.connection.id) from None
        if missing and answer.status_code == 404:
            return None
        if answer.status_code >= 300:
            raise self._refused(where, answer.status_code, answer.content)
        return bytes(answer.content)

    def _refused(self, where: str, status: int, content: bytes) -> DataForgeError:
        reason = ""
        try:
            error = json.loads(content).get("error")
            reason = str(error.get("reason") or error.get("type")) if isinstance(error, dict) else str(error or "")
        except (ValueError, AttributeError):
            pass
        verdict = retry.of_status(status)
        return retry.error_for(verdict, f"{where}: status {status} {reason[:300]}".rstrip(), self.connection.id)

    def about(self) -> tuple[str, tuple[int, ...]]:
        """Return "Elasticsearch" or "OpenSearch", and the version."""
        said = self.ask("GET", "", what="the server")
        try:
            version = said["version"]
            number = tuple(int(part) for part in str(version["number"]).split("-")[0].split("."))
            return "OpenSearch" if version.get("distribution") == "opensearch" else "Elasticsearch", number
        except (KeyError, TypeError, ValueError):
            raise TerminalError(
                f"connection {self.connection.id!r}: what answers is neither Elasticsearch nor OpenSearch"
            ) from None


def index_path(name: str) -> str:
    """Return an index, alias or pattern as part of a path."""
    return quote(name, safe="*,")


def _parsed(text: bytes, path: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise TerminalError(f"the answer to {path} is no JSON") from None


def check_index(text: str) -> str:
    """Return `text` when it can name an index or an alias; else ValueError."""
    bad = set('\\/*?"<>| ,#:') & set(text)
    if not text or bad or text != text.lower() or text[0] in "-_+." or len(text.encode()) > 200:
        raise ValueError(
            f'{text!r} names no index: lower case, no blank and none of \\ / * ? " < > | , # :, at most 200 bytes, '
            "and it begins with a letter or digit"
        )
    return text
