"""Where a destination may write, as its config says it: below the output folder, apart from what we keep there."""

from __future__ import annotations

from pathlib import PurePosixPath

from dataforge.components.paths import is_s3

LEDGER_FOLDER = "_dataforge"
"""Folder beside the data for ledgers, dead letters and kept parts; readers of datasets leave names with _ out."""

TEMPORARY = ".tmp"


def outside(value: str, path: PurePosixPath) -> str | None:
    """Return why `path`, written as `value` in a config, is no place in the output folder; None when it is one."""
    if "://" in value and not is_s3(value):
        return f"{value!r} is no path; write one relative to the output folder"
    if path.is_absolute() and not is_s3(value):
        return f"{value!r} is absolute; write a path relative to the output folder"
    if ".." in path.parts or "\0" in value or "\\" in value or not path.parts:
        return f"{value!r} leads out of the output folder; write a path without '..' and '\\'"
    if LEDGER_FOLDER in path.parts:
        return f"{value!r} leads into {LEDGER_FOLDER!r}, where DataForge keeps its manifests; choose another folder"
    if any(part.startswith(".") and part.endswith(TEMPORARY) for part in path.parts):
        return f"{value!r} is the name of a temporary file of a destination; choose one that does not begin with '.'"
    return None


def stable_path(text: str) -> str:
    """Return the part of a path that is the same for every run: whole, or the folders before the first `${`."""
    head, found, _ = text.partition("${")
    return head[: head.rfind("/") + 1] if found else text
