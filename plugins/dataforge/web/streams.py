"""Events of a job as a server-sent stream: resumable by the number of the last one seen, with signs of life.

A stream sleeps until its job has said something: the runner tells of jobs of this process, and one look at the store
for all streams together finds what those of other processes said.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from anyio import CapacityLimiter, to_thread

from dataforge.errors import DataForgeError
from dataforge.store import jobs
from dataforge.store.database import Store
from dataforge.web.problems import of

ENDS = frozenset({"done", "failed", "cancelled", "interrupted"})
BEAT_SECONDS = 15.0
OTHERS_SECONDS = 1.0
"""How often the store is asked for the words of other processes' jobs."""
_READS = CapacityLimiter(4)
"""Streams take no threads from Airflow's own routes."""


class Ear:
    """One stream that listens; `seen` is the number of the last event that it had."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the stream; in the event loop."""
        self._rung.set()

    def hush(self) -> None:
        """Forget what rang, before the store is read."""
        self._rung.clear()

    async def rings(self, seconds: float) -> bool:
        """Wait for news at most so long; return whether there may be any."""
        try:
            await asyncio.wait_for(self._rung.wait(), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return False
        return True


class News:
    """Wakes the streams of one process; `here` tells whether a job is at work in it."""

    def __init__(self, store: Callable[[], Store], here: Callable[[str], bool]) -> None:
        self._store = store
        self._here = here
        self._ears: dict[str, set[Ear]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking: asyncio.Task[None] | None = None

    def tell(self, job: str) -> None:
        """Wake the streams of a job that said something, from any thread."""
        loop = self._loop
        if loop is not None and job in self._ears:
            with suppress(RuntimeError):  # the loop has ended with the server
                loop.call_soon_threadsafe(self._ring, job)

    @contextmanager
    def listening(self, job: str, seen: int) -> Iterator[Ear]:
        """Yield what rings when a job said something after that number."""
        ear = Ear(seen)
        self._loop = asyncio.get_running_loop()
        self._ears.setdefault(job, set()).add(ear)
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(self._look())
        try:
            yield ear
        finally:
            self._ears[job].discard(ear)
            if not self._ears[job]:
                del self._ears[job]

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _ring(self, job: str, newest: int | None = None) -> None:
        for ear in self._ears.get(job, ()):
            if newest is None or newest > ear.seen:
                ear.ring()

    async def _look(self) -> None:
        while self._ears:
            if others := [job for job in self._ears if not self._here(job)]:
                with suppress(DataForgeError):  # each stream looks for itself with its next sign of life, and tells
                    for job, number in (await to_thread.run_sync(self._newest, others, limiter=_READS)).items():
                        self._ring(job, number)
            await asyncio.sleep(OTHERS_SECONDS)

    def _newest(self, others: list[str]) -> dict[str, int]:
        return jobs.newest(self._store(), others)


async def follow(store: Store, news: News, job: str, after: int) -> AsyncIterator[str]:
    """Yield what a job said after that number, and what it says, to its end."""
    yield "retry: 2000\n\n"
    beat = time.monotonic()
    with news.listening(job, after) as ear:
        while True:
            ear.hush()
            try:
                found = await to_thread.run_sync(jobs.events, store, job, ear.seen, limiter=_READS)
            except DataForgeError as error:
                yield _frame("error", {"code": of(error).code, "message": str(error)})
                return  # the page comes again with the last number
            for event in found:
                yield _frame(event.kind, event.data, event.number)
                ear.seen, beat = event.number, time.monotonic()
                if event.kind in ENDS:
                    return
            if not await ear.rings(beat + BEAT_SECONDS - time.monotonic()):
                yield ": at work\n\n"
                beat = time.monotonic()


def _frame(kind: str, data: object, number: int | None = None) -> str:
    id_ = f"id: {number}\n" if number is not None else ""
    return f"{id_}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, default=str)}\n\n"
