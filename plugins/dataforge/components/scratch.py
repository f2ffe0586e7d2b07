"""Local folders of attempts, and the removal of those that killed attempts left behind.

Each folder holds a lock for as long as its process lives, which the system lets go with the process, however that
ends. So what nobody locks belongs to nobody, and a living attempt keeps its folder however long it takes.

The next attempt of the same run removes such folders of that run; all others go by age, since where a disk is shared
by several machines a lock may be known on one of them only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

PREFIX = "dataforge-scratch-"


@dataclass
class Claim:
    """An empty folder, private to the user, that no sweep touches until it is given back."""

    folder: Path
    _handle: int | None

    def remove(self) -> None:
        """Remove the folder and give it back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def claim(parent: Path | None, owner: str) -> Claim:
    """Return a new folder in `parent` (None: the system's temporary folder), for the run that `owner` names."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{_name(owner)}-", dir=parent))
        handle = _locked(folder, wait=True)
        # a sweep may have had it in hand before it was locked
        if folder.is_dir():
            return Claim(folder, handle)
        if handle is not None:
            os.close(handle)


@contextmanager
def claimed(parent: Path | None, owner: str) -> Iterator[Path]:
    """Give a folder as `claim` does, removed afterwards; what killed attempts of the same run left goes first."""
    sweep(parent, owner)
    found = claim(parent, owner)
    try:
        yield found.folder
    finally:
        found.remove()


def sweep(parent: Path | None, owner: str | None = None, older_than: timedelta | None = None) -> int:
    """Remove folders of dead processes: those of the run that `owner` names, or all older than an age; return how many.

    Folders of other users, and those that can't be removed, stay.
    """
    root = Path(tempfile.gettempdir()) if parent is None else parent
    removed = 0
    for folder in root.glob(f"{PREFIX}{'*' if owner is None else f'{_name(owner)}-*'}"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if older_than is not None and _newest(folder) > time.time() - older_than.total_seconds():
                continue
            handle = _locked(folder, wait=False)
        except OSError:  # another sweep was faster
            continue
        if handle is None:
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
            removed += not folder.exists()
        finally:
            os.close(handle)
    return removed


def _name(owner: str) -> str:
    """The run's part of a folder's name; on another machine it is another, whose locks may be unknown here."""
    return hashlib.sha256(f"{platform.node()}\n{owner}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _locked(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder and return the handle that holds the lock; None where another has it, or there are no locks."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def _newest(folder: Path) -> float:
    newest = folder.stat().st_mtime
    for path in folder.rglob("*"):
        with suppress(OSError):
            newest = max(newest, path.lstat().st_mtime)
    return newest
