"""Wall time, processor time and peak memory of processes, and the order in which contestants take turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.place import Contestant


class ContestantError(Exception):
    """A contestant's process ended with an error, or did not do its work."""


@dataclass(frozen=True)
class Run:
    """One run: wall seconds from process start to exit, CPU seconds, peak resident memory in MB, standard output.

    The CPU seconds and the memory are those of the process and of the children it waited for (memory: the largest one);
    a database server's share is not in them.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str

    def json(self) -> Any:
        """Return the JSON value on the last line of the output."""
        return json.loads(self.output.strip().splitlines()[-1])


@dataclass(frozen=True)
class Figures:
    """What several runs of one contestant gave: medians, the fastest run, and the highest peak memory."""

    name: str
    runs: int
    seconds: float
    best_seconds: float
    cpu_seconds: float
    peak_mb: float

    @classmethod
    def of(cls, name: str, runs: Sequence[Run]) -> Figures:
        """Return the figures of `runs`, at least one."""
        return cls(
            name,
            len(runs),
            statistics.median(run.seconds for run in runs),
            min(run.seconds for run in runs),
            statistics.median(run.cpu_seconds for run in runs),
            max(run.peak_mb for run in runs),
        )


def run(contestant: Contestant) -> Run:
    """Start the contestant, wait for it, return what it took; ContestantError with its last words when it fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            contestant.command,
            env=contestant.full_environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read().decode(errors="replace")
        if process.returncode != 0:
            err.seek(0)
            words = (output + err.read().decode(errors="replace")).strip()[-2000:]
            raise ContestantError(f"{contestant.name} ended with exit code {process.returncode}:\n{words}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def alternate(
    contestants: Iterable[Contestant],
    repeat: int,
    before: Callable[[Contestant], None] = lambda _: None,
    after: Callable[[Contestant, Run], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Run]]:
    """Let the contestants take turns `repeat` times (A, B, A, B, …); `before` and `after` are not measured."""
    contestants = tuple(contestants)
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for turn in range(repeat):
        for contestant in contestants:
            before(contestant)
            done = run(contestant)
            after(contestant, done)
            runs[contestant.name].append(done)
            tell(f"{contestant.name}: {done.seconds:.2f} s, {done.peak_mb:.0f} MB ({turn + 1} of {repeat})")
    return runs
