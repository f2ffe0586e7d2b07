"""Work on many items, divided among forked processes: no core idles while a large folder is read for the first time.

Forked, since a new Python would first import for as long as the work takes; Airflow's DAG processor forks for each DAG
file that it parses, too. What a fork fails to deliver is worked out here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, TypeVar

from dataforge.observability.log import line

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_PROCESSES = 4
PATIENCE, PATIENCE_SECONDS = 4.0, 10.0
"""A fork that takes so many times as long as an equal part took here, and some seconds, is given up."""


def divided(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield each item with what `work` gives for it, in any order; results must be picklable.

    `work` must touch no connection that this process has open: it may run in a fork of it.
    """
    count = min(processes(), len(items)) or 1
    parts = [items[number::count] for number in range(count)]
    began = time.monotonic()
    forks: list[_Fork[Item, Result]] = []
    try:
        with contextlib.suppress(OSError):  # no more processes or memory: what has no fork is worked out here
            for part in parts[1:]:
                forks.append(_fork(work, part))  # noqa: PERF401  # those before a failure must be known
        for item in parts[0]:
            yield item, work(item)
        deadline = time.monotonic() + PATIENCE_SECONDS + PATIENCE * (time.monotonic() - began)
        for fork, part in zip_longest(forks, parts[1:]):
            results = fork.results(deadline) if fork else None
            if results is None:
                line("a forked process delivered nothing; its work is done here", items=len(part))
            for number, item in enumerate(part):
                yield item, work(item) if results is None else results[number]
    finally:
        for fork in forks:
            fork.end()


def processes() -> int:
    """Return into how many processes to divide; one where the system can't fork safely."""
    return min(len(os.sched_getaffinity(0)), MAX_PROCESSES) if sys.platform == "linux" else 1


@dataclass(frozen=True)
class _Fork(Generic[Item, Result]):
    pid: int
    pipe: int

    def results(self, deadline: float) -> list[Result] | None:
        """Return the results of its items in their order; None when it failed or is late."""
        if not select.select([self.pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        try:
            with os.fdopen(self.pipe, "rb", closefd=False) as stream:
                found: list[Result] = pickle.load(stream)  # noqa: S301  # written by our own fork
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        return found

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.pipe)


def _fork(work: Callable[[Item], Result], part: Sequence[Item]) -> _Fork[Item, Result]:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which `work` waits for
        pid = os.fork()
    if pid:
        os.close(writing)
        return _Fork(pid, reading)
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        gc.freeze()
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump([work(item) for item in part], pipe)
    finally:
        os._exit(0)  # nothing of the process that it was forked from may be closed or written out twice
