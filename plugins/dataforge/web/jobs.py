"""Jobs at work in this process: each in a thread, saying what it does into the store, where streams read it.

Signs of life go to the store every few seconds; a job whose process went away is found by their absence.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from dataforge.errors import DataForgeError
from dataforge.gateway.base import Cancel, OnText
from dataforge.gateway.redaction import Redaction
from dataforge.store import jobs
from dataforge.store.database import Store
from dataforge.web.problems import of

Work = Callable[[OnText, Cancel], Mapping[str, Any]]
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
"""A job that gave no sign of life for so long has lost its process."""
_FLUSH_SECONDS = 0.2
_TRIES = 3
_STOP_SECONDS = 5.0
"""How long the server's end waits for jobs to see that they are to end."""


class Runner:
    """The jobs of one process: at most `most` at work, the others wait in line; `tell` hears which one said something.

    `tell` is called from the jobs' threads.
    """

    def __init__(self, store: Callable[[], Store], most: int) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self._store = store
        self._free = most
        self._line: list[str] = []
        self._turn = threading.Condition()
        self._cancels: dict[str, Cancel] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to work, and to give signs of life."""
        self._stopped.clear()
        with suppress(DataForgeError):
            jobs.sweep(self._store(), SILENT_SECONDS)
        threading.Thread(target=self._beat, name="dataforge-jobs", daemon=True).start()

    def stop(self) -> None:
        """End all jobs: what they had so far is kept, and they count as interrupted."""
        self._stopped.set()
        for job in list(self._cancels):
            self.cancel(job)
        until = time.monotonic() + _STOP_SECONDS
        while self._cancels and time.monotonic() < until:
            time.sleep(0.02)
        for job in list(self._cancels):
            self._end(job, "interrupted", {"code": "interrupted", "message": "the server stops; ask again"})

    def submit(self, job: str, work: Work) -> None:
        """Put a job that stands in the store to work."""
        self._cancels[job] = Cancel()
        threading.Thread(target=self._queued, args=(job, work), name="dataforge-job", daemon=True).start()

    def cancel(self, job: str) -> None:
        """End a job of this process early; those of others see it in the store."""
        if cancel := self._cancels.get(job):
            cancel()
            with self._turn:
                self._turn.notify_all()

    def has(self, job: str) -> bool:
        """Return whether a job waits or is at work in this process."""
        return job in self._cancels

    def _queued(self, job: str, work: Work) -> None:
        cancel = self._cancels[job]
        with self._turn:
            self._line.append(job)
            self._turn.wait_for(lambda: cancel.wanted or (self._free > 0 and self._line[0] == job))
            self._line.remove(job)
            begun = not cancel.wanted
            self._free -= begun
            self._turn.notify_all()
        if not begun:
            self._end(job, "interrupted" if self._stopped.is_set() else "cancelled", {})
            return
        try:
            self._run(job, work)
        finally:
            with self._turn:
                self._free += 1
                self._turn.notify_all()

    def _run(self, job: str, work: Work) -> None:
        cancel = self._cancels[job]
        voice = _Voice(self, job, cancel)
        state: jobs.State = "done"
        result: Mapping[str, Any] = {}
        try:
            voice.say("running", {})
            if not cancel.wanted:
                result = work(voice.hear, cancel)
            voice.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, the person who waits hears of it
            refused = of(error)
            state = "failed"
            result = {
                "code": refused.code, "message": Redaction(personal=False).text(refused.detail),
                "status": refused.status,
            }  # fmt: skip
        if cancel.wanted:
            state = "interrupted" if self._stopped.is_set() else "cancelled"
        self._end(job, state, result)

    def say(self, job: str, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event; a job that is no longer wanted is ended."""
        if not jobs.say(self._store(), job, [(kind, data)], "running" if kind == "running" else None):
            self.cancel(job)
        self.tell(job)

    def _end(self, job: str, state: jobs.State, result: Mapping[str, Any]) -> None:
        for tried in range(_TRIES):
            try:
                jobs.end(self._store(), job, state, result)
                break
            except DataForgeError:  # a draft is worth another try
                time.sleep(tried * 0.5)
        self._cancels.pop(job, None)
        self.tell(job)

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            with suppress(DataForgeError):
                mine = list(self._cancels)
                for job in set(mine).difference(jobs.beat(self._store(), mine)):
                    self.cancel(job)
                jobs.sweep(self._store(), SILENT_SECONDS)


class _Voice:
    """Gathers a model's words, so that the store gets a few events each second and not one for each word."""

    def __init__(self, runner: Runner, job: str, cancel: Cancel) -> None:
        self._runner = runner
        self._job = job
        self._cancel = cancel
        self._words = ""
        self._at = time.monotonic()

    def say(self, kind: str, data: Mapping[str, Any]) -> None:
        self._runner.say(self._job, kind, data)

    def hear(self, piece: str) -> None:
        self._words += piece
        if time.monotonic() - self._at >= _FLUSH_SECONDS and not self._cancel.wanted:
            self.flush()

    def flush(self) -> None:
        if self._words:
            words, self._words = self._words, ""
            with suppress(DataForgeError):  # the words are only for the eye; the result comes by itself
                self.say("text", {"text": words})
        self._at = time.monotonic()
