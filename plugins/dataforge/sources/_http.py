"""One guarded HTTP conversation: same origin only, checked addresses, deadlines, caps on the body, retries.

The session (auth, headers, proxies, TLS) comes from the connection's HttpHook. Every hop of every request is checked
here, since an answer decides where the next request goes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.errors import DataForgeError, ServerAway, TerminalError, TransientError
from dataforge.settings import Settings
from dataforge.sources._http_session import open_session

TRIES = 3
FIRST_WAIT = 1.0
MAX_WAIT = 60.0
MAX_REDIRECTS = 5
MAX_RATIO = 100
FREE_BYTES = 8 * 1024 * 1024
"""A body may expand to this many bytes at any ratio, and beyond it to `MAX_RATIO` times what came over the wire."""
SHOWN = 200
IN_MEMORY = 16 * 1024 * 1024
"""Bodies from this many bytes on go to scratch."""
_READ = 16 * 1024
_METADATA = tuple(map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")))


@dataclass(frozen=True)
class Answer:
    """One answer: its final URL, status, headers and whole body, in memory or, when it is large, in `file`.

    `proved` is whether its length could be checked; `digest` identifies the body.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    proved: bool = True
    digest: bytes = b""
    file: Path | None = None


@dataclass
class Client:
    """Sends requests to one origin. `page_seconds` bounds one answer with its body, `ends` (monotonic) all of them."""

    connection: Connection
    settings: Settings
    scratch: Path
    page_seconds: float
    ends: float
    interval: float = 0.0
    log: Callable[..., None] = lambda message, **fields: None  # noqa: ARG005 the call needs their names
    _session: Any = None
    _base: str = ""
    _adapter: Any = None
    _last: float = field(default=0.0)

    def open(self, headers: Mapping[str, str]) -> None:
        """Make the session of the connection."""
        self._adapter = _adapter_class()(self.settings.allow_private_hosts)
        try:
            self._session, self._base = open_session(self.connection, self._adapter)
        except ValueError as error:
            raise TerminalError(f"connection {self.connection.id!r}: {error}") from None
        self._session.headers.update({"Accept": "application/json, application/x-ndjson;q=0.9, */*;q=0.1", **headers})
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)
        parts = urlsplit(self._base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TerminalError(
                f"connection {self.connection.id!r} needs a host with http or https, such as https://api.example.org"
            )

    def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            self._session.close()

    def url(self, endpoint: str) -> str:
        """Return the URL of an endpoint below the connection's base; TerminalError when it could lead elsewhere."""
        bad = check_endpoint(endpoint)
        if bad:
            raise TerminalError(f"endpoint {endpoint!r} {bad}")
        url = self._base.rstrip("/") + "/" + endpoint.lstrip("/") if endpoint.strip("/") else self._base
        self.check_origin(url, "endpoint")
        return url

    def check_origin(self, url: str, what: str) -> None:
        """Raise TerminalError when `url` is not of the connection's origin."""
        if _origin(url) not in _allowed_origins(self._base):
            raise TerminalError(
                f"{what} leads to {_shown(url)}, another origin than the connection's {_shown(self._base)}; "
                "nothing was sent there"
            )

    def send(self, method: str, url: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Answer:
        """Return the answer to one request, repeated on what may pass; DataForgeError when there is none.

        A POST is repeated only when the server can't have acted on it.
        """
        policy = retry.Policy(TRIES, FIRST_WAIT, MAX_WAIT, self.ends - time.monotonic())
        tries = 0

        def once() -> Answer:
            nonlocal tries
            tries += 1
            return self._follow(method, url, query, body)

        try:
            return retry.repeat(once, policy, when=Again, what=_shown(url), log=self.log)
        except Again as error:
            why = "" if tries == TRIES else "; the run's time limit leaves no room to try again"
            raise self._lost(f"{error}{why}", away=error.away) from None

    def _lost(self, text: str, *, away: bool) -> TransientError:
        return ServerAway(text, self.connection.id) if away else TransientError(text)

    def _follow(self, method: str, url: str, query: Mapping[str, Any] | None, body: Any) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(method, url, query, body)
            location = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return self._judged(answer, method)
            url, query = urljoin(answer.url, location), None
            self.check_origin(url, f"a redirect from {_shown(answer.url)}")
            if answer.status not in (307, 308):
                method, body = "GET", None
        raise TerminalError(f"{_shown(url)}: more than {MAX_REDIRECTS} redirects")

    def _judged(self, answer: Answer, method: str) -> Answer:
        if answer.status < 300:
            return answer
        text = f"{method} {_shown(answer.url)} answered {answer.status}"
        if answer.status in (401, 403):
            raise TerminalError(f"{text}: connection {self.connection.id!r} is not let in; check its credentials")
        verdict = retry.of_status(answer.status)
        if verdict != "terminal" and (method != "POST" or answer.status in (429, 503)):
            after = _retry_after(answer.headers.get("retry-after"))
            if after is not None and after > MAX_WAIT:
                raise TransientError(f"{text}; it asks to come back in {after:.0f} s")
            raise Again(text, after, away=verdict == "away")
        raise TerminalError(f"{text}: {self.excerpt(answer.body)}")

    def _once(self, method: str, url: str, query: Mapping[str, Any] | None, body: Any) -> Answer:
        import requests
        import urllib3

        self._pace()
        request = requests.Request(method, url, params=dict(query or {}), json=body)
        prepared = self._session.prepare_request(request)
        self.check_origin(prepared.url, "the request")
        options = self._session.merge_environment_settings(prepared.url, {}, True, None, None)
        seconds = min(self.page_seconds, self.ends - time.monotonic())
        if seconds <= 0:
            raise TransientError(f"{_shown(url)}: the run's time limit is reached")
        try:
            with self._adapter.within(seconds) as expired:
                try:
                    response = self._session.send(
                        prepared, timeout=(min(10, seconds), seconds), allow_redirects=False, **options
                    )
                    with response:
                        body_read = self._body(response, url)
                except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                    if expired():
                        raise _Late from None
                    raise self._failed(method, url, error) from None
        except _Late:
            text = f"{method} {_shown(url)} took longer than {seconds:g} s"
            raise (self._lost(text, away=True) if method == "POST" else Again(text, away=True)) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.url, response.status_code, headers, *body_read)

    def _failed(self, method: str, url: str, error: Exception) -> DataForgeError | Again:
        import requests
        import urllib3

        text = f"{method} {_shown(url)}: {self._plain(error)}"
        refused = _cause(error, _Refused)
        if refused is not None:
            return TerminalError(f"{_shown(url)}: {refused}")
        if isinstance(error, requests.exceptions.SSLError):
            return TerminalError(text)
        if isinstance(error, urllib3.exceptions.DecodeError | requests.exceptions.ContentDecodingError):
            return TerminalError(f"{method} {_shown(url)}: the compressed body is damaged")
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
            return TerminalError(text)
        if method == "POST" and not isinstance(error, requests.exceptions.ConnectTimeout):
            reset = _cause(error, urllib3.exceptions.NewConnectionError) is None
            return self._lost(text, away=True) if reset else Again(text, away=True)
        return Again(text, away=_cause(error, urllib3.exceptions.IncompleteRead) is None)

    def _plain(self, error: Exception) -> str:
        import urllib3

        if isinstance(error, urllib3.exceptions.IncompleteRead) or _cause(error, urllib3.exceptions.IncompleteRead):
            return "the body ended early"
        inner: BaseException = error
        while inner.args and isinstance(inner.args[0], BaseException):
            inner = inner.args[0]
        reason = getattr(inner, "reason", None)
        text = str(reason if isinstance(reason, BaseException) else inner)
        return self.redact(text.split(": ", 1)[-1] if "object at 0x" in text else text)[:300]

    def _body(self, response: Any, url: str) -> tuple[bytes, bool, bytes, Path | None]:
        """Return the body, whether a length or chunk framing proves its end, its digest, and its file if large."""
        limit, total = self.settings.max_response_bytes, 0
        parts = bytearray()
        digest, file = hashlib.blake2b(digest_size=16), None
        raw = response.raw
        declared = response.headers.get("content-length")
        while True:
            # Small reads keep what one step of decompression can make small too.
            chunk = raw.read1(_READ, decode_content=True) if hasattr(raw, "read1") else raw.read(_READ, True)
            if not chunk:
                break
            total += len(chunk)
            if total > limit:
                raise TerminalError(f"{_shown(url)}: the answer is larger than {limit} bytes")
            if total > FREE_BYTES and total > MAX_RATIO * max(1, raw.tell()):
                raise TerminalError(f"{_shown(url)}: the body expands more than {MAX_RATIO} times; refused as a bomb")
            digest.update(chunk)
            parts += chunk
            if len(parts) >= IN_MEMORY:
                file = file or self.scratch / "body"
                with file.open("ab" if total > len(parts) else "wb") as out:
                    out.write(parts)
                parts.clear()
        if declared is not None and declared.isdigit() and raw.tell() < int(declared):
            raise Again(f"{_shown(url)}: the body ended after {raw.tell()} of {declared} bytes")
        chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
        if file is not None:
            with file.open("ab") as out:
                out.write(parts)
            parts.clear()
        return bytes(parts), declared is not None or chunked, digest.digest(), file

    def _pace(self) -> None:
        pause = self._last + self.interval - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._last = time.monotonic()

    def excerpt(self, body: bytes) -> str:
        """Return the beginning of a body for a message, without secrets and control characters."""
        text = body[: SHOWN * 4].decode("utf-8", "replace")
        shown = "".join(char if char.isprintable() else " " for char in self.redact(text))[:SHOWN].strip()
        return repr(shown) if shown else "an empty body"

    def redact(self, text: str) -> str:
        """Return `text` without the connection's secrets."""
        secrets = {self.connection.password, *_strings(self.connection.extra)}
        for secret in sorted((item for item in secrets if len(item) >= 4), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class Again(Exception):
    """The request may be repeated, after `retry_after` seconds if the server said so; `away`: it was not reached."""

    def __init__(self, message: str, retry_after: float | None = None, *, away: bool = False) -> None:
        self.retry_after = retry_after
        self.away = away
        super().__init__(message)


class _Late(Exception):
    """The deadline of one answer passed."""


class _Refused(OSError):
    """The name leads to an address that may not be reached."""


def check_endpoint(endpoint: str) -> str:
    """Return what is wrong with an endpoint that must stay below the connection's base URL, or nothing."""
    decoded = unquote(unquote(endpoint))
    if "\\" in decoded or any(ord(char) <= 32 or ord(char) == 127 for char in endpoint):
        return "has a backslash, blank or control character; percent-encode it"
    path = decoded.split("?", 1)[0]
    if "://" in path or path.startswith("//") or path.lstrip("/").startswith("@") or endpoint.startswith(":"):
        return "names a host; only a path below the connection's host is possible"
    if ".." in path.split("/"):
        return "has '..'; write the path itself"
    return ""


def check_address(text: str, allow_private: bool) -> str:
    """Return why an IP address may not be reached, or nothing."""
    address = ipaddress.ip_address(text.split("%", 1)[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address in _METADATA:
        return f"{address} is a link-local or metadata address, which is never reached"
    if address.is_multicast or (address.is_reserved and not address.is_loopback):
        return f"{address} is a multicast or reserved address"
    if not allow_private and (address.is_private or address.is_loopback or address.is_unspecified):
        return f"{address} is a private address and [dataforge] allow_private_hosts is off"
    return ""


@cache
def _adapter_class() -> Any:
    """Return the transport adapter; made here, since requests is imported only when something is fetched."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Adapter(HTTPAdapter):
        """Connects only to permitted addresses, and cuts all its connections when a deadline passes."""

        def __init__(self, allow_private: bool) -> None:
            self.allow_private = allow_private
            self.open: list[Any] = []
            super().__init__(pool_connections=2, pool_maxsize=2)

        def track(self, sock: Any) -> None:
            # The sockets themselves: a connection lets go of its socket as soon as the answer's body belongs to it.
            self.open = [*self.open[-8:], sock]

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            adapter = self

            def checked(sock: socket.socket) -> socket.socket:
                # Asked of the socket and not of the resolver, whose next answer may differ.
                if sock.family in (socket.AF_INET, socket.AF_INET6) and (
                    reason := check_address(sock.getpeername()[0], adapter.allow_private)
                ):
                    sock.close()
                    raise _Refused(reason)
                adapter.track(sock)
                return sock

            class Plain(HTTPConnection):
                def _new_conn(self) -> socket.socket:
                    return checked(super()._new_conn())

                def connect(self) -> None:
                    super().connect()
                    adapter.track(self.sock)

            class Secure(HTTPSConnection):
                def _new_conn(self) -> socket.socket:
                    return checked(super()._new_conn())

                def connect(self) -> None:
                    super().connect()
                    adapter.track(self.sock)

            class PlainPool(HTTPConnectionPool):
                ConnectionCls = Plain

            class SecurePool(HTTPSConnectionPool):
                ConnectionCls = Secure

            self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

        @contextmanager
        def within(self, seconds: float) -> Iterator[Callable[[], bool]]:
            """Cut the connections after so many seconds; yields a function that tells whether that happened."""
            late = threading.Event()

            def cut() -> None:
                late.set()
                for sock in list(self.open):
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

            timer = threading.Timer(seconds, cut)
            timer.daemon = True
            timer.start()
            try:
                yield late.is_set
                if late.is_set():
                    raise _Late
            finally:
                timer.cancel()

    return Adapter


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the error of that kind among an error's causes, contexts, reasons and arguments."""
    seen: set[int] = set()
    stack: list[Any] = [error]
    while stack:
        item = stack.pop()
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        if isinstance(item, kind):
            return item
        seen.add(id(item))
        stack += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return None


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.username is not None:
        return "", "", -1
    default = {"http": 80, "https": 443}.get(parts.scheme, -1)
    return parts.scheme.lower(), (parts.hostname or "").lower().rstrip("."), default if port is None else port


def _allowed_origins(base: str) -> tuple[tuple[str, str, int], ...]:
    scheme, host, port = _origin(base)
    secure = (("https", host, 443),) if (scheme, port) == ("http", 80) else ()
    return ((scheme, host, port), *secure)


def _shown(url: str) -> str:
    """Return a URL without user, password, query and fragment, where secrets may stand."""
    parts = urlsplit(url)
    netloc = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    if text.strip().isdigit():
        return float(text.strip())
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
