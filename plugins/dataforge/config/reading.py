"""Reading config files as bytes: nothing outside the folder, nothing that is not a regular file, nothing too large."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from dataforge.config.json_reader import JsonError, too_large
from dataforge.config.positions import Fault

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class Content:
    """A file's bytes and the time they were last changed, in seconds since 1970."""

    data: bytes
    changed: float


def read_content(path: Path, root: Path, max_bytes: int) -> Content:
    """Return a file's content; JsonError when it is refused, FileNotFoundError when there is none.

    A symbolic link may lead to a file below `root` (as Kubernetes mounts configs), never out of it. Pipes, devices,
    sockets and folders are never opened.
    """
    try:
        real, real_root = os.path.realpath(path, strict=True), os.path.realpath(root)
    except OSError as error:
        if not path.is_symlink():
            raise _refused("unreadable", f"the file can't be read: {error.strerror}", error) from None
        raise _refused("broken-link", "a symbolic link that leads nowhere") from None
    if not _is_below(real, real_root):
        raise _refused("outside-folder", "a symbolic link that leads out of the configs folder")
    try:
        before = os.lstat(real)
        if not stat.S_ISREG(before.st_mode):
            raise _refused("not-a-file", f"{_kind(before.st_mode)}, no file; it is not opened")
        descriptor = os.open(real, _FLAGS)
    except OSError as error:
        raise _refused("unreadable", f"the file can't be read: {error.strerror}", error) from None
    with os.fdopen(descriptor, "rb") as file:
        after = os.fstat(descriptor)
        if not stat.S_ISREG(after.st_mode) or not _is_below(_opened(descriptor, real), real_root):
            raise _refused("not-a-file", "the file was replaced while it was being read")
        if after.st_size > max_bytes:
            raise too_large(after.st_size, max_bytes)
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise _refused("unreadable", f"the file can't be read: {error.strerror}") from None
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    return Content(data, after.st_mtime)


def _refused(code: str, message: str, error: OSError | None = None) -> Exception:
    if isinstance(error, FileNotFoundError):
        return error
    return JsonError((Fault(code, message, 1, 1),))


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _opened(descriptor: int, otherwise: str) -> str:
    """Return the path of the file that is really open, where the system tells it."""
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(" (deleted)")
    except OSError:
        return otherwise


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")
