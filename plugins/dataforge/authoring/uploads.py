"""Uploaded sample files: kept below `uploads_url`, profiled, and lent to the drafts of the person who uploaded them.

A draft names one as `upload://<id>/<name>`. That path leads nowhere by itself: only within `lent`, which looks up whose
file it is, does it stand for the file, so that no config in force and nobody else's draft can read it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dataforge.authoring.sniffing import Sniffed, sniff
from dataforge.components.paths import UPLOAD, lending
from dataforge.dag_factory.uploads import sweep_old
from dataforge.errors import ConfigError, Problem
from dataforge.runtime.uploads import Place
from dataforge.settings import get_settings

if TYPE_CHECKING:
    from dataforge.store.database import Store
    from dataforge.store.uploads import Upload

MAX_BYTES = 5 * 1024 * 1024
READ_SECONDS, READ_MEMORY = 60, 2 * 1024**3
"""The time, and the bytes of memory, that reading a file may take, in a process of its own."""
_MAX_LENT = 20
_ENDINGS = {"excel": "csv", "openapi": "json"}
_swept: dict[str, float] = {}
_NAMED = re.compile(re.escape(UPLOAD) + r"([0-9a-f]{32})/")


def take(store: Store, actor: str, name: str, data: bytes, folder: Path) -> Upload:
    """Keep a file of a person; ConfigError when it is too large, of no known kind, or they have too many.

    `folder` is the configs folder, whose policies say which columns are private.
    """
    from dataforge.store import uploads

    if len(data) > MAX_BYTES:
        raise ConfigError(Problem("too-large", f"a file may have {MAX_BYTES:,} bytes"))
    if not uploads.room(store, actor):
        message = f"you have {uploads.MOST} uploads"
        raise ConfigError(Problem("too-many-uploads", message, (), "delete one that you don't need"))
    sniffed = sniff(data)
    if sniffed.source:
        kept, told = _read_apart(data, sniffed, shown_name(name), folder)
    else:
        kept, told = data, {"rows": None, "columns": [], "operations": list(sniffed.operations)}
    told["source"] = dict(sniffed.source)
    id_, place = uploads.new_id(), Place.of(get_settings())
    place.put(id_, kept)
    try:
        digest = hashlib.sha256(data).hexdigest()
        return uploads.keep(
            store, id_, actor, name=shown_name(name), kind=sniffed.kind, size=len(data), digest=digest, profile=told
        )
    except BaseException:
        place.remove(id_)
        raise


def forget(store: Store, id_: str, actor: str) -> bool:
    """Remove a person's file; False when this person has none such."""
    from dataforge.store import uploads

    if uploads.forget(store, id_, actor) is None:
        return False
    Place.of(get_settings()).remove(id_)
    return True


def sweep(store: Store, at_most_every_seconds: float = 0) -> int:
    """Remove files that are too old, and those that a crash left without an owner; return how many."""
    from dataforge.store import uploads

    settings = get_settings()
    now = time.monotonic()
    if now < _swept.get(settings.uploads_url, -math.inf) + at_most_every_seconds:
        return 0
    _swept[settings.uploads_url] = now
    place = Place.of(settings)
    old = sweep_old(store, settings)
    there = place.left(older_than_seconds=3_600)
    lost = there - uploads.known(store, there) if there else set()
    for id_ in lost:
        place.remove(id_)
    return old + len(lost)


def path_of(upload: Upload) -> str:
    """Return the path by which a draft names a file."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(upload.name).stem).strip("_-")[:80] or "file"
    return f"{UPLOAD}{upload.id}/{safe}.{_ENDINGS.get(upload.kind, upload.kind)}"


def shown_name(name: str) -> str:
    """Return the last part of a file's name, without what a reader could be misled by."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(char for char in last if char.isprintable())[:200] or "file"


@contextmanager
def lent(store: Store, actor: str, text: str) -> Iterator[None]:
    """Let the files of this person that a text names be read within the block."""
    from dataforge.store import uploads

    ids = list(dict.fromkeys(_NAMED.findall(text)))[:_MAX_LENT]
    mine = [one for one in uploads.of(store, actor, ids) if one.profile.get("source")] if ids else []
    if not mine:
        yield
        return
    with ExitStack() as stack:
        place = Place.of(get_settings())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dataforge-", dir=_scratch())))
        files = {path_of(one): found for one in mine if (found := place.local(one.id, scratch)) is not None}
        stack.enter_context(lending(files))
        yield


def _scratch() -> str | None:
    folder = get_settings().scratch_folder
    if folder is not None:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # as the runtime's own scratch does
    return str(folder) if folder else None


def _read_apart(data: bytes, sniffed: Sniffed, name: str, folder: Path) -> tuple[bytes, dict[str, Any]]:
    """Return what is kept of a file and its profile, read by a process of its own with bounds on time and memory."""
    asked = {
        "kind": sniffed.kind, "source": dict(sniffed.source), "name": name, "configs": str(folder),
        "seconds": READ_SECONDS, "memory": READ_MEMORY,
    }  # fmt: skip
    # Airflow puts its plugins folder into its own path alone; arenas and pools for many threads are of no use here
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "2",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="dataforge-", dir=_scratch()) as work:
        place = Path(work)
        (place / "upload").write_bytes(data)
        try:
            done = subprocess.run(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "dataforge.authoring.profiling", work],
                input=json.dumps(asked), capture_output=True, text=True, timeout=READ_SECONDS, check=False,
                env=environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise _too_much(f"more than {READ_SECONDS:g} seconds") from None
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:  # it was ended, or ended itself, before it could say anything
            raise _too_much("too much memory or time")
        told = json.loads(lines[-1])
        if problem := told.get("problem"):
            raise ConfigError(Problem(problem["code"], problem["message"], (), problem["suggestion"]))
        return ((place / "kept").read_bytes() if sniffed.kind == "excel" else data), told["profile"]


def _too_much(what: str) -> ConfigError:
    return ConfigError(Problem("unfit-upload", f"reading the file takes {what}", (), "upload a smaller part of it"))
