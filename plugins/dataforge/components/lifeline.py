"""Deadlines for calls into drivers that know none: a connection that shows no progress is cut.

A server that is stopped (a paused machine, a hung process) acknowledges what is sent, so that neither keepalives nor
time-outs of the kernel notice. The driver waits inside of C for ever, deaf to Python's signals and to Airflow's
`execution_timeout`. What wakes it is the end of its socket: the lifeline notes which sockets a driver opens while it
connects, and shuts them down when the time is over. It can't be told from a lost server then, and is handled as one.
"""

from __future__ import annotations

import math
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from dataforge.errors import ServerAway
from dataforge.settings import get_settings

if TYPE_CHECKING:
    import pyarrow as pa

Result = TypeVar("Result")

GRACE = 5.0
"""Seconds for which a server may be late with its own statement_timeout."""

_CONNECTING = threading.Lock()
"""Only one connection is made at a time, so that the sockets which came meanwhile are its own."""


class Lifeline:
    """The sockets of one connection of a driver, and how long its server may be silent: `stall` seconds in one call.

    `ends` (monotonic) is when all has to be over. One thread watches from the first call on, until `close`.
    """

    def __init__(
        self, connection: str, sockets: frozenset[tuple[int, int]], stall: float, ends: float = math.inf
    ) -> None:
        self._connection = connection
        self._sockets = sockets
        self._stall = stall or math.inf
        self._ends = ends
        self._until = self._wakes = math.inf
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._closed = False
        self.late = False

    @contextmanager
    def within(self, what: str) -> Iterator[None]:
        """Cut the connection when the block takes too long; ServerAway then. Blocks don't nest."""
        self._expect(min(time.monotonic() + self._stall, self._ends))
        try:
            yield
        except Exception:
            if not self.late:
                raise
        finally:
            self._until = math.inf  # the watcher is left asleep: waking it costs more than a look in vain
        if self.late:
            why = "took too long" if time.monotonic() >= self._ends else f"stood still for {self._stall:g} s"
            text = f"connection {self._connection!r}: {what} {why}; the connection was cut"
            raise ServerAway(text, self._connection)

    def watched(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the same stream; each batch it gives is progress, and the time in which it makes one is not ours."""
        import pyarrow as pa

        def batches() -> Iterator[pa.RecordBatch]:
            while True:
                self._until = math.inf
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                finally:
                    self._expect(min(time.monotonic() + self._stall, self._ends))
                yield batch

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def close(self) -> None:
        """End the watching."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _expect(self, until: float) -> None:
        self._until = until
        if until == math.inf:
            return
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="dataforge-lifeline", daemon=True)
            self._watcher.start()
        elif until < self._wakes:
            with self._changed:
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._until - time.monotonic()
                if left <= 0:
                    self.late = True
                    cut(self._sockets)
                    return
                left = min(left, self._stall, 3_600)
                self._wakes = time.monotonic() + left
                self._changed.wait(left)


class Lined(Generic[Result]):
    """A driver's connection with its lifeline."""

    def __init__(self, connection: Result, lifeline: Lifeline) -> None:
        self.connection = connection
        self.lifeline = lifeline


def lined(connection: str, connect: Callable[[], Result], limit: timedelta | None = None) -> Lined[Result]:
    """Return what `connect` gives, with a lifeline over the sockets that it opened.

    With `limit` all calls together may take so long, and a little longer, since the server is to end them first.
    """
    ends = math.inf if limit is None else time.monotonic() + limit.total_seconds() + GRACE
    with _CONNECTING:
        before = _sockets()
        made = connect()
        opened = frozenset(_sockets() - before)
    return Lined(made, Lifeline(connection, opened, get_settings().stall_seconds, ends))


def cut(sockets: frozenset[tuple[int, int]]) -> None:
    """Shut down those of the sockets that are still the same; whoever waits on one sees its end."""
    for number in {number for number, inode in sockets & _sockets()}:
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as same:
            same.shutdown(socket.SHUT_RDWR)


def _sockets() -> set[tuple[int, int]]:
    """Return descriptor and inode of this process's open sockets; none on systems that don't list them."""
    found = set()
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208 only the names are wanted
                with suppress(OSError, ValueError):
                    state = os.fstat(int(name))
                    if stat.S_ISSOCK(state.st_mode):
                        found.add((int(name), state.st_ino))
            return found
    return found


def bounded_call(seconds: float | None, call: Callable[[], Result], late: Callable[[], Exception]) -> Result:
    """Return `call()`; when it takes longer, raise `late()` and leave it to a thread that dies with the process.

    For calls whose sockets nobody knows, such as those to an object store. None or 0: no limit, no thread.
    """
    if not seconds:
        return call()
    answer: list[Result] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(call())
        except BaseException as error:  # noqa: BLE001 it is raised where the call was made
            failure.append(error)

    thread = threading.Thread(target=work, name="dataforge-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise late()
    if failure:
        raise failure[0]
    return answer[0]
