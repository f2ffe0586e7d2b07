"""Events of a job as a server-sent stream: resumable by the number of the last one seen, with signs of life."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from anyio import CapacityLimiter, to_thread

from dataforge.errors import DataForgeError
from dataforge.store import jobs
from dataforge.store.database import Store
from dataforge.web.jobs import Runner
from dataforge.web.problems import of

ENDS = frozenset({"done", "failed", "cancelled", "interrupted"})
BEAT_SECONDS = 15.0
_LOOK_SECONDS = 0.05
_OTHERS_SECONDS = 1.0
"""How often the store is asked for the words of another process's job."""


async def follow(store: Store, runner: Runner, job: str, after: int) -> AsyncIterator[str]:
    """Yield what a job said after that number, and what it says, to its end."""
    threads = CapacityLimiter(1)  # a stream takes no thread from Airflow's own routes
    yield "retry: 2000\n\n"
    beat = time.monotonic()
    while True:
        version = runner.version(job)
        try:
            found = await to_thread.run_sync(jobs.events, store, job, after, limiter=threads)
        except DataForgeError as error:
            yield _frame("error", {"code": of(error).code, "message": str(error)})
            return  # the page comes again with the last number
        for event in found:
            yield _frame(event.kind, event.data, event.number)
            after, beat = event.number, time.monotonic()
            if event.kind in ENDS:
                return
        asked = time.monotonic()
        while runner.version(job) == version and time.monotonic() - asked < _OTHERS_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
        if time.monotonic() - beat >= BEAT_SECONDS:
            yield ": at work\n\n"
            beat = time.monotonic()


def _frame(kind: str, data: object, number: int | None = None) -> str:
    id_ = f"id: {number}\n" if number is not None else ""
    return f"{id_}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, default=str)}\n\n"
