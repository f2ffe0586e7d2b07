"""One guarded HTTP conversation: same origin only, checked addresses, deadlines, caps on the body, retries.

The session (auth, headers, proxies, TLS) comes from the connection's HttpHook. Every hop of every request is checked
here, since an answer decides where the next request goes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

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


Action = Literal["retry", "rate_limited", "ignore", "fail", "accept"]


@dataclass(frozen=True)
class Ruling:
    """What to do with an answer, what a failure says to people, and after how many seconds to try again."""

    action: Action
    says: str = ""
    after: float | None = None


@dataclass(frozen=True)
class Tries:
    """How a request is repeated: `first` and `cap` are seconds, `wait_header` names a header that says how long."""

    most: int | None = None
    first: float | None = None
    cap: float | None = None
    constant: bool = False
    wait_header: str | None = None
    wait_kind: str = "seconds"
    repeat_post: bool = False


class Login(Protocol):
    """Puts into a prepared request what tells the server who asks. `own` are keys of the extra that are no headers."""

    @property
    def own(self) -> tuple[str, ...]: ...

    def __call__(self, prepared: Any) -> Any: ...

    def renew(self) -> bool:
        """Forget what was obtained, so that the next request asks anew; False where nothing can be asked for."""
        ...

    def secrets(self) -> Iterable[str]:
        """Return what no message may show."""
        ...


@dataclass
class Client:
    """Sends requests to one origin. `page_seconds` bounds one answer with its body, `ends` (monotonic) all of them.

    `judge` may decide about an answer before its status does, `pause` says how many seconds to wait before the next
    request; `sent` counts requests.
    """

    connection: Connection
    settings: Settings
    scratch: Path
    page_seconds: float
    ends: float
    interval: float = 0.0
    log: Callable[..., None] = lambda message, **fields: None  # noqa: ARG005 the call needs their names
    login: Login | None = None
    judge: Callable[[Answer], Ruling | None] = lambda answer: None  # noqa: ARG005
    tries: Tries = field(default_factory=Tries)
    pause: Callable[[], float] = float
    secrets: Callable[[], Iterable[str]] = tuple
    sent: int = 0
    _session: Any = None
    _base: str = ""
    _adapter: Any = None
    _last: float = field(default=0.0)

    def open(
        self, headers: Mapping[str, str], *, without: Iterable[str] = (), anonymous: bool = False, made: bool = False
    ) -> None:
        """Make the session of the connection, without some keys of its extra; `anonymous` without its login too.

        `made` says that the connection was made here, so that Airflow knows none like it.
        """
        self._adapter = _adapter_class()(self.settings.allow_private_hosts)
        try:
            self._session, self._base = open_session(self.connection, self._adapter, made=made)
        except ValueError as error:
            raise TerminalError(f"connection {self.connection.id!r}: {error}") from None
        for name in (*without, *(self.login.own if self.login else ())):
            self._session.headers.pop(name, None)
        if self.login is not None:
            self._session.auth, self.secrets = self.login, self.login.secrets
        elif anonymous:
            self._session.auth = _as_it_is  # with none at all, a .netrc file would be asked
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

    def send(
        self,
        method: str,
        url: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        form: bool = False,
    ) -> Answer:
        """Return the answer to one request, repeated on what may pass; DataForgeError when there is none.

        The body goes as JSON, or as a form. A POST is repeated only when the server can't have acted on it, or where
        the tries say that it may be.
        """
        most = self.tries.most or TRIES
        policy = retry.Policy(most, self._first, self._cap, self.ends - time.monotonic())
        tries = 0

        def once() -> Answer:
            nonlocal tries
            tries += 1
            return self._follow(_Asked(method, url, query, body, headers or {}, form))

        try:
            return retry.repeat(once, policy, when=Again, what=_shown(url), log=self.log)
        except Again as error:
            why = "" if tries == most else "; the run's time limit leaves no room to try again"
            raise self._lost(f"{error}{why}", away=error.away) from None

    def _lost(self, text: str, *, away: bool) -> TransientError:
        return ServerAway(text, self.connection.id) if away else TransientError(text)

    @property
    def _first(self) -> float:
        return FIRST_WAIT if self.tries.first is None else self.tries.first

    @property
    def _cap(self) -> float:
        return MAX_WAIT if self.tries.cap is None else self.tries.cap

    def _follow(self, asked: _Asked) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(asked)
            if answer.status == 401 and self.login is not None and self.login.renew():
                answer = self._once(asked)
            location = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return self._judged(answer, asked.method)
            url = urljoin(answer.url, location)
            self.check_origin(url, f"a redirect from {_shown(answer.url)}")
            asked = replace(asked, url=url, query=None)
            if answer.status not in (307, 308):
                asked = replace(asked, method="GET", body=None)
        raise TerminalError(f"{_shown(asked.url)}: more than {MAX_REDIRECTS} redirects")

    def _judged(self, answer: Answer, method: str) -> Answer:
        text = f"{method} {_shown(answer.url)} answered {answer.status}"
        ruling = self.judge(answer)
        if ruling is not None:
            return self._ruled(answer, ruling, text)
        if answer.status < 300:
            return answer
        if answer.status in (401, 403):
            raise TerminalError(f"{text}: connection {self.connection.id!r} is not let in; check its credentials")
        verdict = retry.of_status(answer.status)
        if verdict != "terminal" and (method != "POST" or self.tries.repeat_post or answer.status in (429, 503)):
            raise self._again(answer, text, away=verdict == "away")
        raise TerminalError(f"{text}: {self.excerpt(answer.body)}")

    def _ruled(self, answer: Answer, ruling: Ruling, text: str) -> Answer:
        if ruling.action == "accept":
            return answer
        if ruling.action == "ignore":
            self.log("answer ignored", url=_shown(answer.url), status=answer.status)
            return Answer(answer.url, 204, {}, b"")
        says = ruling.says or self.excerpt(answer.body)
        if ruling.action == "fail":
            raise TerminalError(f"{text}: {says}")
        raise self._again(answer, f"{text}: {says}", away=False, after=ruling.after)

    def _again(self, answer: Answer, text: str, *, away: bool, after: float | None = None) -> Exception:
        """Return the error that has the request repeated, or one that ends it when the server asks for too long."""
        after = after if after is not None else _retry_after(answer.headers.get("retry-after"))
        if self.tries.wait_header and (told := answer.headers.get(self.tries.wait_header.lower())):
            wait = _told(told, self.tries.wait_kind)
            after = wait if after is None else after
        if after is not None and after > self._cap:
            return TransientError(f"{text}; it asks to come back in {after:.0f} s")
        return Again(text, self._first if after is None and self.tries.constant else after, away=away)

    def _once(self, asked: _Asked) -> Answer:
        import requests
        import urllib3

        method, url = asked.method, asked.url
        self._pace()
        self.sent += 1
        request = requests.Request(
            method,
            url,
            headers=dict(asked.headers),
            params=dict(asked.query or {}),
            json=None if asked.form else asked.body,
            data=asked.body if asked.form else None,
        )
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
            lost = method == "POST" and not self.tries.repeat_post
            raise (self._lost(text, away=True) if lost else Again(text, away=True)) from None
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
        careful = method == "POST" and not self.tries.repeat_post
        if careful and not isinstance(error, requests.exceptions.ConnectTimeout):
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
        pause = max(self._last + self.interval - time.monotonic(), self.pause())
        if pause > self.ends - time.monotonic():
            raise TransientError(f"the rate limit asks to wait for {pause:.0f} s, beyond the run's time limit")
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
        known = {self.connection.password, *_strings(self.connection.extra), *self.secrets()}
        secrets = {form for item in known for form in (item, quote(item, safe=""))}
        for secret in sorted((item for item in secrets if len(item) >= 4), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True)
class _Asked:
    """One request, as it is asked again after a redirect or a new login."""

    method: str
    url: str
    query: Mapping[str, Any] | None
    body: Any
    headers: Mapping[str, str]
    form: bool


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
    with suppress(ValueError):  # whole seconds by the standard, fractions by some
        seconds = float(text.strip())
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _told(text: str, kind: str) -> float | None:
    """Return the seconds that a header of that kind asks to wait; None when it says nothing of that kind."""
    if kind == "date":
        return _retry_after(text)
    try:
        number = float(text.strip())
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if kind == "seconds":
        return max(0.0, number)
    return max(0.0, number / (1000 if kind == "epoch_ms" else 1) - time.time())


def _as_it_is(prepared: Any) -> Any:
    """Log in as nobody."""
    return prepared


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
