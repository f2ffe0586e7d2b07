"""The wire below an HTTP client: cut it from another thread, and bound what comes over it.

All three official clients stand on httpx (or its successor httpx2), whose own time-outs hold for one read only and
whose `close` does not wake a thread that reads. So each call's socket is known here, and shut down to end the call.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any

from dataforge.errors import AnswerUnfit

MAX_BYTES = 32 * 1024 * 1024
"""More bytes than this, of one answer, are no answer."""


class Line:
    """The wire of one call."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._cut = False
        self.max_bytes = max_bytes
        self.retry_after: float | None = None

    def cut(self) -> None:
        """End the call: whoever reads or writes on the wire gets an error at once."""
        with self._lock:
            self._cut = True
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            _shut(one)

    @property
    def is_cut(self) -> bool:
        """Whether the call was ended from here."""
        return self._cut

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take note of connections as they are made (httpcore's trace)."""
        if not event.endswith(("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")):
            return
        found = info["return_value"].get_extra_info("socket")
        if found is None:
            return
        with self._lock:
            if not self._cut:
                self._sockets.append(found)
                return
        _shut(found)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may have been faster
        one.shutdown(socket.SHUT_RDWR)


class Lines:
    """The wires of one HTTP client. `line` of the calling thread gets the connections that the client makes for it."""

    def __init__(self) -> None:
        self._local = threading.local()

    def use(self, line: Line) -> None:
        """Let the calls that this thread makes from now on belong to `line`."""
        self._local.line = line

    def options(self, seconds: float) -> dict[str, Any]:
        """Return what httpx clients are made with: no redirects, no pooling, no compression, hooks that watch."""
        return {
            "follow_redirects": False,
            "timeout": seconds,
            "event_hooks": {"request": [self._request], "response": [self._response]},
        }

    def _request(self, request: Any) -> None:
        line: Line | None = getattr(self._local, "line", None)
        request.headers["accept-encoding"] = "identity"
        request.headers["connection"] = "close"
        if line is not None:
            request.extensions = {**request.extensions, "trace": line.trace}

    def _response(self, response: Any) -> None:
        line: Line | None = getattr(self._local, "line", None)
        if line is not None:
            line.retry_after = seconds_of(response.headers.get("retry-after"))
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() not in ("", "identity"):
            raise AnswerUnfit(f"the model server sent an answer encoded as {encoding[:40]!r}, which was not asked for")
        length = response.headers.get("content-length", "")
        limit = line.max_bytes if line is not None else MAX_BYTES
        if length.isdigit() and int(length) > limit:
            raise AnswerUnfit(f"the model server sent {int(length):,} bytes, more than the {limit:,} that are read")
        response.stream = _counted(response.stream, limit)


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds a number or a date; None for none and for nonsense."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return None


def _counted(stream: Any, limit: int) -> Any:
    """Return the stream of an httpx answer, ended by AnswerUnfit after so many bytes."""
    # of httpx or httpx2, whichever the client stands on
    base: Any = import_module(type(stream).__module__.split(".", maxsplit=1)[0]).SyncByteStream

    class Counted(base):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            count = 0
            for chunk in stream:
                count += len(chunk)
                if count > limit:
                    raise AnswerUnfit(f"the model server sent more than the {limit:,} bytes that are read of an answer")
                yield chunk

        def close(self) -> None:
            stream.close()

    return Counted()
