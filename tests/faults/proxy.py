"""A proxy in front of PostgreSQL, HTTP or any other server that does to a connection what networks and kernels do.

It counts whole messages, so that a test can sweep: kill the client at message 1, 2, 3 … of a load. One fault is armed
at a time and strikes once (or `times` times); connections after that pass untouched, as a retry's would.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

Address = Path | tuple[str, int]
"""A Unix socket, or host and port."""

Protocol = Literal["postgres", "http", "raw"]
Side = Literal["request", "reply"]
Action = Literal["stall", "drip", "delay", "cut", "reset", "half_close", "mute", "lose", "kill", "stop", "call"]


@dataclass(frozen=True)
class Fault:
    """What happens, and at which message.

    stall       nothing passes any more, the connection stays open
    drip        from here on one byte in `seconds`
    delay       this message waits for `seconds`
    cut         both ends are closed; reset: with RST where there is TCP; half_close: only the receiver sees an end
    mute        replies vanish from here on
    lose        the server gets the message and answers; the answer vanishes and the connection is cut: a lost reply
    kill, stop  SIGKILL or SIGSTOP for the client's process (`pid`, or the one at the other end of a Unix socket)
    call        `call(pid of the client)` runs while the message waits

    It strikes before or after the `message`-th message of that `side` since it was armed, or of those of its `kind`:
    for PostgreSQL the type's letter, "startup", "commit" or "answer" (see `fits`); for HTTP the method. With
    `after_bytes` it strikes that far into the stream of that side instead.
    """

    action: Action
    side: Side = "request"
    message: int = 1
    kind: str | None = None
    when: Literal["before", "after"] = "before"
    after_bytes: int | None = None
    seconds: float = 0.0
    times: int = 1
    pid: int | None = None
    call: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Message:
    """One message that passed: `text` is the beginning of a statement or request line, empty for others."""

    connection: int
    side: Side
    kind: str
    bytes: int
    text: str = ""


@dataclass(frozen=True)
class Piece:
    """Some bytes of a message; `first` and `last` tell its borders."""

    data: bytes
    kind: str = ""
    text: str = ""
    first: bool = True
    last: bool = True


class RawFrames:
    """Every read is a message."""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what has come."""
        yield Piece(data, "data")


@dataclass
class PostgresFrames:
    """Messages of the PostgreSQL protocol 3; `pending` counts negotiation requests, which get one bare byte."""

    side: Side
    pending: list[str]
    started: bool = False
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the messages that are complete."""
        self._buffer += data
        while (piece := self._next()) is not None:
            yield piece

    def _next(self) -> Piece | None:
        buffer = self._buffer
        if self.side == "reply" and self.pending and buffer:
            return self._take(1, self.pending.pop(0))
        if self.side == "request" and not self.started:
            if len(buffer) < 8 or len(buffer) < (size := struct.unpack_from("!I", buffer)[0]):
                return None
            code = struct.unpack_from("!I", buffer, 4)[0]
            kind = {80877103: "ssl", 80877104: "gss", 80877102: "cancel"}.get(code, "startup")
            if kind in ("ssl", "gss"):
                self.pending.append(kind)
            else:
                self.started = True
            return self._take(size, kind)
        if len(buffer) < 5 or len(buffer) < (size := 1 + struct.unpack_from("!I", buffer, 1)[0]):
            return None
        kind = chr(buffer[0])
        text = ""
        if self.side == "request" and kind in "QP":
            body = bytes(buffer[5:size])
            statement = body if kind == "Q" else body.partition(b"\0")[2]
            text = statement.partition(b"\0")[0].decode("utf-8", "replace").strip()
        return self._take(size, kind, text)

    def _take(self, size: int, kind: str, text: str = "") -> Piece:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Piece(data, kind, text)


@dataclass
class HttpFrames:
    """HTTP/1.1 requests: the head is the first piece, the body follows as it comes."""

    _buffer: bytearray = field(default_factory=bytearray)
    _left: int = 0
    _chunked: bool = False
    _kind: str = ""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield heads when they are whole, and bodies as they come."""
        self._buffer += data
        while self._buffer:
            if self._chunked and not self._left:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    return
                # a chunk's size, the chunk and its line end; the last one has size 0 and no trailers here
                self._left = end + 2 + int(self._buffer[:end].partition(b";")[0], 16) + 2
                self._chunked = self._left > end + 4
            if self._left:
                size = min(self._left, len(self._buffer))
                self._left -= size
                yield Piece(self._take(size), self._kind, first=False, last=not self._left and not self._chunked)
            else:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = self._take(end + 4)
                lines = head.decode("latin-1").split("\r\n")
                headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
                self._kind = lines[0].partition(" ")[0]
                self._left = int(headers.get("content-length", 0))
                self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
                yield Piece(head, self._kind, lines[0], last=not self._left and not self._chunked)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


class Cut(Exception):
    """Ends both directions of a connection."""


class HalfClosed(Exception):
    """Ends one direction of a connection."""


class Proxy:
    """Listens, forwards to `upstream`, and strikes. Runs its own event loop in a thread; a context manager.

    Without `listen` it takes a free port of the loopback interface.
    """

    def __init__(self, upstream: Address, protocol: Protocol = "raw", listen: Address | None = None) -> None:
        self.upstream = upstream
        self.protocol = protocol
        self.address: Address = listen or ("127.0.0.1", 0)
        self.messages: list[Message] = []
        self.struck = 0
        self.failures: list[BaseException] = []
        self._fault: Fault | None = None
        self._seen = 0
        self._bytes = 0
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(20) or self.failures:
            raise RuntimeError(f"the proxy did not start: {self.failures}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def arm(self, fault: Fault | None) -> None:
        """Wait for the fault's place from now on; counters and the record of messages begin anew."""
        self.messages = []
        self.struck = 0
        self._seen = self._bytes = 0
        self._fault = fault

    def count(self, side: Side = "request", kind: str | None = None) -> int:
        """Return how many messages passed since `arm`."""
        return sum(one.side == side and (kind is None or fits(kind, one.kind, one.text)) for one in self.messages)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server: asyncio.AbstractServer | None = None
        try:
            server = self._loop.run_until_complete(self._listen())
            self._ready.set()
            self._loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - the test is told of it
            self.failures.append(error)
        finally:
            self._ready.set()
            if server is not None:
                server.close()
            for task in self._tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            if isinstance(self.address, Path):
                self.address.unlink(missing_ok=True)

    async def _listen(self) -> asyncio.AbstractServer:
        if isinstance(self.address, Path):
            return await asyncio.start_unix_server(self._accept, str(self.address))
        server = await asyncio.start_server(self._accept, *self.address)
        self.address = server.sockets[0].getsockname()[:2]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections += 1
        try:
            if isinstance(self.upstream, Path):
                up_reader, up_writer = await asyncio.open_unix_connection(str(self.upstream))
            else:
                up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.close()
            return
        finally:
            self._tasks.discard(task)
        self._tasks.add(task)
        wire = Wire(self, self._connections, writer, up_writer)
        pending: list[str] = []
        ways = [
            asyncio.ensure_future(wire.forward("request", reader, up_writer, pending)),
            asyncio.ensure_future(wire.forward("reply", up_reader, writer, pending)),
        ]
        try:
            done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if left and not any(way.result() for way in done):
                await asyncio.wait(left)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, up_writer):
                one.close()
            self._tasks.discard(task)

    def strikes(self, side: Side, piece: Piece, when: Literal["before", "after"]) -> Fault | None:
        """Return the armed fault when this is its place, and use it up."""
        fault = self._fault
        if fault is None or fault.side != side or fault.after_bytes is not None:
            return None
        if when == "before" and piece.first and (fault.kind is None or fits(fault.kind, piece.kind, piece.text)):
            self._seen += 1
        border = piece.first if when == "before" else piece.last
        if not border or fault.when != when or self._seen != fault.message:
            return None
        if fault.kind is not None and not fits(fault.kind, piece.kind, piece.text or fault.kind):
            return None
        return self._use(fault)

    def cut_inside(self, side: Side, size: int) -> tuple[Fault, int] | None:
        """Return the armed fault and how many of the next `size` bytes still pass, when it strikes among them."""
        fault = self._fault
        if fault is None or fault.side != side or fault.after_bytes is None:
            return None
        before, self._bytes = self._bytes, self._bytes + size
        return (self._use(fault), fault.after_bytes - before) if before <= fault.after_bytes < self._bytes else None

    def _use(self, fault: Fault) -> Fault:
        self.struck += 1
        self._seen = self._bytes = 0
        if self.struck >= fault.times:
            self._fault = None
        return fault


def fits(kind: str, found: str, text: str) -> bool:
    """Whether a message is of a kind; "commit" is that statement, "answer" any reply but rows and settings."""
    if kind == "commit":
        return text.upper().startswith(("COMMIT", "END")) and found in ("Q", "P", "commit")
    return found not in "DSKN" if kind == "answer" else kind == found


class Wire:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, number: int, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.number = number
        self.client = client
        self.server = server
        self._open = asyncio.Event()
        self._open.set()
        self._muted = False
        self._losing = False
        self._drip: dict[Side, float] = {}

    async def forward(
        self, side: Side, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pending: list[str]
    ) -> bool:
        """Pass messages on until the sender has no more, which the receiver is told; True when both ends must close."""
        frames = self._frames(side, pending)
        try:
            while data := await reader.read(65536):
                for piece in frames.feed(data):
                    await self._pass(side, piece, writer)
            if writer.can_write_eof():
                self._end(writer)
        except HalfClosed:
            return False
        except (Cut, ConnectionError):
            return True
        except OSError as error:
            self.proxy.failures.append(error)
            return True
        return False

    @staticmethod
    def _end(writer: asyncio.StreamWriter) -> None:
        """Say that no more comes, unless the other side has gone meanwhile."""
        try:
            writer.write_eof()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    def _frames(self, side: Side, pending: list[str]) -> RawFrames | PostgresFrames | HttpFrames:
        if self.proxy.protocol == "postgres":
            return PostgresFrames(side, pending)
        return HttpFrames() if self.proxy.protocol == "http" and side == "request" else RawFrames()

    async def _pass(self, side: Side, piece: Piece, writer: asyncio.StreamWriter) -> None:
        if piece.first:
            found = Message(self.number, side, piece.kind, len(piece.data), piece.text[:200])
            self.proxy.messages.append(found)
        if fault := self.proxy.strikes(side, piece, "before"):
            if fault.action in ("mute", "lose"):
                self._muted, self._losing = True, fault.action == "lose"
            else:
                await self._strike(fault, side, writer)
        await self._stalled()
        if side == "reply" and self._muted:
            if self._losing and (self.proxy.protocol != "postgres" or piece.kind == "Z"):
                raise Cut
            return
        if inside := self.proxy.cut_inside(side, len(piece.data)):
            fault, size = inside
            await self._send(side, piece.data[:size], writer)
            await self._strike(fault, side, writer)
            await self._stalled()
            await self._send(side, piece.data[size:], writer)
        else:
            await self._send(side, piece.data, writer)
        if fault := self.proxy.strikes(side, piece, "after"):
            await self._strike(fault, side, writer)

    async def _stalled(self) -> None:
        """Wait while nothing may pass; when one end gives up, the other is told, as by a network that came back."""
        watch = select.poll()
        for one in (self.client, self.server):
            watch.register(one.get_extra_info("socket").fileno(), select.POLLRDHUP)
        while not self._open.is_set():
            if watch.poll(0):
                raise Cut
            await asyncio.sleep(0.02)

    async def _send(self, side: Side, data: bytes, writer: asyncio.StreamWriter) -> None:
        seconds = self._drip.get(side)
        for piece in [data] if seconds is None else [data[n : n + 1] for n in range(len(data))]:
            writer.write(piece)
            await writer.drain()
            if seconds is not None:
                await asyncio.sleep(seconds)

    async def _strike(self, fault: Fault, side: Side, writer: asyncio.StreamWriter) -> None:
        action = fault.action
        if action == "stall":
            self._open.clear()
        elif action == "drip":
            self._drip[side] = fault.seconds
        elif action == "delay":
            await asyncio.sleep(fault.seconds)
        elif action in ("mute", "lose"):
            self._muted, self._losing = True, action == "lose"
        elif action == "half_close":
            if writer.can_write_eof():
                writer.write_eof()
            raise HalfClosed
        elif action in ("kill", "stop"):
            os.kill(fault.pid or peer(self.client), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
            if action == "kill":
                raise Cut
        elif action == "call":
            assert fault.call is not None
            await asyncio.get_running_loop().run_in_executor(None, fault.call, fault.pid or peer(self.client))
        else:
            await writer.drain()
            if action == "reset":
                for one in (self.client, self.server):
                    found = one.get_extra_info("socket")
                    if found.family != socket.AF_UNIX:
                        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.transport.abort()
            raise Cut


def peer(writer: asyncio.StreamWriter) -> int:
    """Return the process at the other end of a Unix socket; 0 for TCP, where it can't be told."""
    found = writer.get_extra_info("socket")
    if found.family != socket.AF_UNIX:
        return 0
    credentials = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])
