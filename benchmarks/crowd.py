"""Many people at once, in one process: each on a connection of their own, asking on time however slow answers are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field


class Line:
    """One person's connection to a server on this machine, kept open."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: localhost:{port}\r\nAuthorization: Bearer {token}\r\nX-DataForge-Request: 1\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """Return the status and body of an answer."""
        reader = await self.begin(path, method, body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if "transfer-encoding: chunked" in head:
            content = b""
            while size := int((await reader.readline()).strip() or b"0", 16):
                content += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            length = head.partition("content-length: ")[2].partition("\r\n")[0]
            content = await reader.readexactly(int(length or 0))
        return int(head[9:12]), content

    async def begin(self, path: str, method: str = "GET", body: bytes = b"") -> asyncio.StreamReader:
        """Send a request; return where its answer comes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{kind}\r\n".encode() + body)
        await writer.drain()
        return reader

    def close(self) -> None:
        """Hang up."""
        if self._streams:
            self._streams[1].close()


@dataclass
class Times:
    """How long answers took, in seconds from the moment they were due to be asked for, and how many went wrong."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def at(self, share: float) -> float:
        """Return the milliseconds within which that share of the answers came."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))] * 1000


async def crowd(lines: Sequence[Line], paths: Sequence[str], rate: float, seconds: float) -> Times:
    """Let people ask for the paths in turn, `rate` times a second all together, evenly spread."""
    times = Times()
    began = time.perf_counter()

    async def one(number: int, line: Line) -> None:
        turn = number
        while (due := began + turn / rate) < began + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            status, _ = await line.ask(paths[turn % len(paths)])
            times.seconds.append(time.perf_counter() - due)
            times.failures += status != 200
            turn += len(lines)

    await asyncio.gather(*(one(number, line) for number, line in enumerate(lines)))
    return times


async def alternately(ask: Sequence[Callable[[], Awaitable[tuple[int, bytes]]]], turns: int) -> list[Times]:
    """Ask one after the other, in turns, with nothing else going on."""
    found = [Times() for _ in ask]
    for _ in range(turns):
        for each, times in zip(ask, found, strict=True):
            began = time.perf_counter()
            status, _ = await each()
            times.seconds.append(time.perf_counter() - began)
            times.failures += status != 200
    return found
