"""All configs of a folder with what the checks say of them, worked out anew only when a file has changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dataforge.dag_factory.check import Checked, check_paths
from dataforge.errors import TerminalError

_Signature = tuple[tuple[str, int, int, int], ...]
_kept: dict[Path, tuple[_Signature, Checked]] = {}
_lock = threading.Lock()


def read(folder: Path) -> Checked:
    """Return the checked configs of a folder; TerminalError when it is not there."""
    if not folder.is_dir():
        raise TerminalError("the configs folder is not there yet")
    with _lock:  # callers who come at once wait for one reading
        now = _signature(folder)
        kept = _kept.get(folder)
        if kept is not None and kept[0] == now:
            return kept[1]
        checked = check_paths([folder], root=folder)
        if any(file.incomplete for file in checked.files):
            _kept.pop(folder, None)  # what is half-written is read again soon
        else:
            _kept[folder] = (now, checked)
        return checked


def _signature(folder: Path) -> _Signature:
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.endswith(".json") or name == ".dataforgeignore":
                try:
                    stat = os.stat(os.path.join(at, name))  # noqa: PTH116, PTH118 - ten times faster than Path
                except OSError:
                    continue
                found.append((os.path.join(at, name), stat.st_mtime_ns, stat.st_size, stat.st_ino))  # noqa: PTH118
    return tuple(sorted(found))
