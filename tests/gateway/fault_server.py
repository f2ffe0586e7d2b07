"""A TCP server that answers HTTP requests by scripts of bytes and pauses: faults that no good server can show."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from dataforge.components.base import Connection

if TYPE_CHECKING:
    from typing_extensions import Self

Step = bytes | float | Callable[[], bytes]
"""Bytes to send, seconds to wait, or a function that gives bytes for ever (until the client goes)."""


class FaultServer:
    """Each request gets the next script; the last one serves all further requests. `None` ends without an answer."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.scripts: list[Sequence[Step]] = []
        self.requests: list[bytes] = []
        self.gone = threading.Event()
        self.connections = 0
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.close()

    def connection(self, provider: str = "ollama", id_: str = "faulty", **extra: object) -> Connection:
        """Return an Airflow connection to here."""
        url = f"http://127.0.0.1:{self.port}" + ("/v1" if provider == "openai" else "")
        return Connection(id_, provider, url, password="key-canary-8812", extra={"model": "m", **extra})

    def answer(self, *scripts: Sequence[Step]) -> None:
        """Say what the next requests get."""
        self.scripts = list(scripts)

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self.connections += 1
            request = _read(client)
            if not request:
                return
            self.requests.append(request)
            place = min(len(self.requests), len(self.scripts)) - 1
            for step in self.scripts[place]:
                if isinstance(step, bytes):
                    client.sendall(step)
                elif callable(step):
                    while not self._over.is_set():
                        client.sendall(step())
                elif self._waited(client, step):
                    self.gone.set()
                    return

    def _waited(self, client: socket.socket, seconds: float) -> bool:
        """Wait; True as soon as the client is gone."""
        ends = time.monotonic() + seconds
        client.settimeout(0.05)
        while time.monotonic() < ends and not self._over.is_set():
            try:
                if client.recv(1) == b"":
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
        client.settimeout(None)
        return self._over.is_set()


def _read(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := client.recv(65_536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65_536)
    return head + b"\r\n\r\n" + body


def status(code: int, body: object, **headers: str) -> list[Step]:
    """Return a whole answer."""
    data = json.dumps(body).encode()
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{more}"
    head += "Connection: close\r\n\r\n"
    return [head.encode() + data]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def said(text: str) -> bytes:
    """Return one piece in Ollama's form."""
    return json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": False}).encode() + b"\n"


def done(reason: str = "stop", prompt: int = 1_000, answer: int = 5) -> bytes:
    """Return the end in Ollama's form."""
    end = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason}
    return json.dumps({**end, "prompt_eval_count": prompt, "eval_count": answer}).encode() + b"\n"


def stream(parts: Iterable[str], **end: object) -> list[Step]:
    """Return a whole answer in Ollama's form."""
    return [HEAD, *(said(part) for part in parts), done(**end)]  # type: ignore[arg-type]
