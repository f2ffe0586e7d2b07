"""Deploys that a crash left between file and store, and how the next command settles them.

A deploy notes the file's path in its lock file before it begins, and takes the note back when file and store agree
again. A note that is still there, with nobody holding the lock, is what a crash left. Looking for notes costs next to
nothing, so every command does it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataforge.observability.log import line
from dataforge.settings import airflow_home

_MAX_NOTE = 10_000


class Lock:
    """The one lock of a config file among all processes of this machine, held; the system frees it when they die."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def begin(self, key: str) -> None:
        """Note, on the disk, that file and store may differ from now on."""
        os.pwrite(self._descriptor, key.encode("utf-8", "surrogateescape"), 0)
        os.fsync(self._descriptor)

    def end(self) -> None:
        """Take the note back: file and store agree."""
        os.ftruncate(self._descriptor, 0)


def folder() -> Path:
    """Return the folder of the locks."""
    return airflow_home() / "dataforge" / "locks"


@contextmanager
def locked(key: str) -> Iterator[Lock]:
    """Hold the lock of a file, named by its path; waits for it."""
    descriptor = _opened(key)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_if_free(key: str) -> Iterator[Lock | None]:
    """Hold the lock of a file if nobody else does; else None."""
    descriptor = _opened(key)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield Lock(descriptor)
    finally:
        os.close(descriptor)


def _opened(key: str) -> int:
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return os.open(folder() / f"deploy-{name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def notes() -> set[str]:
    """Return the paths of all files with a note."""
    found = set()
    with suppress(OSError), os.scandir(folder()) as entries:
        for entry in entries:
            if entry.name.startswith("deploy-") and entry.stat().st_size:
                found.add(Path(entry.path).read_bytes()[:_MAX_NOTE].decode("utf-8", "surrogateescape"))
    return found - {""}


def mend() -> list[str]:
    """Settle what crashes left, and return the files; a store that is away is told in the log and tried again later."""
    mended = []
    for key in sorted(notes()):
        try:
            with locked_if_free(key) as lock:
                if lock is None or key not in notes():  # a deploy is under way, or another process was faster
                    continue
                from dataforge.authoring.deploy import settle

                settle(key)
                lock.end()
                mended.append(key)
        except Exception as error:  # noqa: BLE001  # whatever the store raises, the command at hand goes on
            line("an unfinished deploy could not be settled", level=logging.WARNING, reason=type(error).__name__)
    return mended
