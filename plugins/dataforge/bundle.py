"""`ConfigBundle`: the watched folder of JSON configs as a versioned Airflow DAG bundle.

    AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST='[{"name": "pipelines", "classpath": "dataforge.bundle.ConfigBundle",
      "kwargs": {"path": "configs", "refresh_interval": 2}}]'

Airflow reads only Python files, so the bundle writes one small stub for each config, for large folders one for several.
A config that can't be used has a stub that raises: Airflow shows its text under the config's own name, and no file can
hide another. Every state of the folder is a snapshot of hard links, named by its content; a run keeps the snapshot that
it began with.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion, get_bundle_tracking_file

from dataforge.dag_factory.inventory import Inventory, Ready, error, invalid, ready, shard
from dataforge.dag_factory.pools import TargetPools, chosen
from dataforge.settings import airflow_home, get_settings

PORTION_SECONDS = 2.0
"""Time in one refresh for reading configs: Airflow's DAG processor does nothing else meanwhile. The rest is for the
next refresh, so that a large folder that arrives at once shows bit by bit."""

MANY = 100
"""Configs above which all are read from the memory at once, not one by one."""

KEEP_SNAPSHOTS = 50
KEEP_SECONDS = 7 * 86_400
"""Snapshots that no task ever used are removed when they are older than this and not among the newest."""

RECENT_SECONDS, PARSE_SECONDS = 60.0, 2.0
"""A DAG file written so recently may be in Airflow's hands now, and is for no longer than that."""

HEADER = "# Made by DataForge: an airflow dag file. Change the JSON config, not this file.\n"
MAX_NAME_BYTES = 240
SIDECAR = ".pipelines"
"""How the name of the file ends that holds the texts of a DAG file's configs, when it has several."""


class ConfigBundle(BaseDagBundle):
    """Airflow DAG bundle over a folder of pipeline configs; `path` is relative to Airflow's home unless absolute."""

    supports_versioning = True

    def __init__(self, *, path: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.configs = configs_folder(path)
        self.tracking = self.base_dir / "tracking"
        self.inventory = Inventory(self.configs, self.base_dir / "inventory.sqlite")
        self.pools = TargetPools()

    @property
    def path(self) -> Path:
        """The folder of stubs: the snapshot of the pinned version, or the one that follows the configs."""
        return self.versions_dir / self.version if self.version else self.tracking

    def get_current_version(self) -> BundleVersion | None:
        """Return the pinned version, or the one that the configs have now."""
        version = self.version or self._current()
        return BundleVersion(version) if version else None

    def initialize(self) -> None:
        """Make the stubs ready; with a pinned version that is one look at the disk.

        Raises FileNotFoundError when the pinned version is neither on this machine nor what the configs are now.
        """
        if self.version is None:
            self._follow(repair=True)
        elif not self.path.is_dir():
            ConfigBundle(path=str(self.configs), name=self.name).initialize()
            if not self.path.is_dir():
                raise FileNotFoundError(
                    f"bundle {self.name!r} has no version {self.version!r} here: its configs have changed since. Share "
                    "[dag_processor] dag_bundle_storage_path between machines, or clear the run with the latest version"
                )
        super().initialize()

    def refresh(self) -> None:
        """Bring the stubs up to date with the configs; costs one stat for each config when nothing changed."""
        if self.version is None and (self.inventory.stale() or self.pools.due()):
            self._follow(repair=False, seconds=PORTION_SECONDS)

    def _follow(self, *, repair: bool, seconds: float = math.inf) -> None:
        """Read what changed and write its stubs; `repair` compares all stubs with what is on disk."""
        with self.lock(), self.inventory.transaction() as con:
            before, old_shards = _homes(con), _shards(con)
            touched = self.inventory.update(con, recheck=not repair, seconds=seconds)
            touched |= self.pools.settle(con, touched, verify=repair)
            shards = _choose_shards(con, old_shards, self.inventory.unread)
            after = _homes(con)
            if repair or shards != old_shards:
                names = {name for name, _ in after.values()} | {_error_name(con, path) for path in invalid(con)}
                names |= {name for (name,) in con.execute("SELECT path FROM stubs")}
                kept = (file for mark in ("*.py", "*" + SIDECAR) for file in self.tracking.rglob(mark))
                names |= {file.relative_to(self.tracking).as_posix() for file in kept}
            else:
                names = {name for name, path in (*before.values(), *after.values()) if path in touched}
                names |= {name for path in touched for name in (_name(path), _name(path, ".errors"))}
            names |= {_sidecar(name) for name, _ in (*before.values(), *after.values()) if name in names}
            if self._write(con, names, after, repair=repair) or self._current() is None:
                self._snapshot(con)
            self._forward({dag_id: (name, after[dag_id][0]) for dag_id, (name, _) in before.items() if dag_id in after})

    def _write(
        self, con: sqlite3.Connection, names: Iterable[str], homes: Mapping[str, tuple[str, str]], *, repair: bool
    ) -> bool:
        """Write, replace or remove the stubs of those names; only one that differs gets a new file and time."""
        sources = _sources(con, set(names), homes)
        known = dict(con.execute("SELECT path, digest FROM stubs"))
        changed = False
        for name in sorted(names):  # a sidecar before the stub that reads it
            source = sources.get(name)
            path = self.tracking / name
            digest = hashlib.sha256(source.encode()).hexdigest() if source is not None else None
            if known.get(name) == digest and not (repair and path.is_file() != (source is not None)):
                continue
            changed = True
            if source is None:
                path.unlink(missing_ok=True)
                Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
                con.execute("DELETE FROM stubs WHERE path = ?", (name,))
            else:
                write_file(path, source)
                con.execute("REPLACE INTO stubs VALUES (?, ?)", (name, digest))
        self.tracking.mkdir(parents=True, exist_ok=True)
        return changed

    def _snapshot(self, con: sqlite3.Connection) -> None:
        """Keep the stubs as they are now under a name made of their content, and make that the current version."""
        stubs = con.execute("SELECT path, digest FROM stubs ORDER BY path").fetchall()
        version = hashlib.sha256(repr(stubs).encode()).hexdigest()[:16]
        folder = self.versions_dir / version
        if not folder.is_dir():
            building = folder.with_name(f".{version}.building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            for name, _ in stubs:
                target = building / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(self.tracking / name, target)  # safe: a changed stub is a new file, never written in place
                except OSError:
                    shutil.copy2(self.tracking / name, target)
            building.rename(folder)
            self._remove_old_snapshots(keep=version)
        write_file(self.base_dir / "CURRENT", version)

    def _remove_old_snapshots(self, keep: str) -> None:
        """Remove old snapshots that no task used; those that tasks used are Airflow's to remove, by its settings."""
        snapshots = sorted(self.versions_dir.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in snapshots[KEEP_SNAPSHOTS:]:
            used = get_bundle_tracking_file(self.name, folder.name).exists()
            if folder.name != keep and not used and time.time() - folder.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _forward(self, homes: Mapping[str, tuple[str, str]]) -> None:
        """Let the new stub names lead to the old ones in older snapshots.

        Airflow runs a task of an older snapshot by its DAG's newest file name, so a renamed config would fail the runs
        under way.
        """
        moved: dict[str, dict[str, str]] = {}
        for dag_id, (old, new) in homes.items():
            if old != new:
                moved.setdefault(new, {})[dag_id] = old
        if not moved:
            return
        current = self._current()
        for folder in (each for each in self.versions_dir.iterdir() if each.name != current):
            for new, places in moved.items():
                there = {dag_id: old for dag_id, old in places.items() if (folder / old).is_file()}
                if there and not (folder / new).exists():
                    write_file(folder / new, _forwarder(new, there))

    def _current(self) -> str | None:
        try:
            return (self.base_dir / "CURRENT").read_text(encoding="ascii")
        except FileNotFoundError:
            return None


def configs_folder(path: str | None) -> Path:
    """Return the absolute folder that `path` means: relative to Airflow's home; the deployment's own when None."""
    if path is None:
        return get_settings().configs_folder
    return Path(os.path.normpath(airflow_home() / Path(path).expanduser()))


def write_file(path: Path, text: str) -> None:
    """Replace a file at once, with a time at least one whole second after the one it replaces.

    Compiled Python is looked up by the source's size and second, so two edits within a second would share it. One that
    was written not long ago may just be being parsed: it gets a time to come, since Airflow takes no file for changed
    that is older than the end of its last parse, and would show the change only at the next full round.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    with contextlib.suppress(FileNotFoundError):
        before, now = path.stat().st_mtime, time.time()
        earliest = max(int(before) + 1, now + PARSE_SECONDS if before > now - RECENT_SECONDS else 0)
        if temporary.stat().st_mtime < earliest:
            os.utime(temporary, (earliest, earliest))
    temporary.replace(path)


def _homes(con: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return each DAG's stub name and config path."""
    shards = _shards(con)
    rows = con.execute("SELECT dag_id, path FROM pipelines WHERE in_force AND text != ''")
    return {dag_id: (_shard_name(path, shards) if shards else _name(path), path) for dag_id, path in rows}


def _shards(con: sqlite3.Connection) -> int:
    """Return into how many files the DAGs are packed; 0 when each config has its own."""
    return int(con.execute("SELECT shards FROM about").fetchone()[0])


def _choose_shards(con: sqlite3.Connection, now: int, unread: int) -> int:
    """Decide how many files to pack into, reluctant to change: each change moves all DAGs to other files.

    About the square root of the number of pipelines: each file costs Airflow a process when all are read anew, and each
    pipeline costs its neighbours in the file a look when it is edited.
    """
    count = unread + con.execute("SELECT count(*) FROM pipelines WHERE in_force").fetchone()[0]
    limit = get_settings().shard_above
    best = math.sqrt(count)
    if count <= limit * (0.8 if now else 1.0):
        wanted = 0
    elif now and now / 2.5 <= best <= now * 2.5:
        wanted = now
    else:
        wanted = 1 << round(math.log2(best))
    con.execute("UPDATE about SET shards = ?", (wanted,))
    return wanted


def _name(path: str, mark: str = "") -> str:
    folder, _, name = path.rpartition("/")
    name = f"{name}{mark}.py"
    if len(name.encode()) > MAX_NAME_BYTES:
        name = f"{hashlib.sha256(name.encode()).hexdigest()[:40]}{mark}.py"
    return f"{folder}/{name}" if folder else name


def _shard_name(path: str, shards: int) -> str:
    return f"shards_{shards}/{shard(path, shards):04d}.py"


def _error_name(con: sqlite3.Connection, path: str) -> str:
    """Return the stub that tells what is wrong: the config's own, unless that one holds DAGs."""
    return _name(path, ".errors" if ready(con, path) and not _shards(con) else "")


def _sources(con: sqlite3.Connection, names: set[str], homes: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return the text of each of those stubs that should exist."""
    shards = _shards(con)
    found: dict[str, list[Ready]] = {}
    paths = {path for name, path in homes.values() if name in names}
    for one in ready(con) if len(paths) > MANY else (one for path in sorted(paths) for one in ready(con, path)):
        if (name := homes[one.dag_id][0]) in names:
            found.setdefault(name, []).append(one)
    texts: dict[str, str] = {}
    pools = chosen(con)
    for name, pipelines in found.items():
        texts |= _packed(name, pipelines, pools) if shards else {name: _stub(pipelines, pools)}
    for path in invalid(con):
        if (name := _error_name(con, path)) in names and (text := error(con, path)):
            texts[name] = f"{HEADER}from dataforge.dag_factory.stub import invalid\n\nraise invalid({text!a})\n"
    return texts


def _stub(pipelines: Iterable[Ready], pools: Mapping[str, str]) -> str:
    """Return the DAG file of one config; all its text stands in it as the literal of a Python string."""
    body = "".join(
        f"    {one.dag_id!a}: (\n        {one.path!a},\n{_literal(one.text)},\n{_literal(one.sql)},\n"
        + (f"{_literal(pools[one.dag_id])},\n" if one.dag_id in pools else "")
        + "    ),\n"
        for one in pipelines
    )
    return f"{HEADER}from dataforge.dag_factory.stub import dags\n\nglobals().update(dags({{\n{body}}}))\n"


def _literal(text: str) -> str:
    return "\n".join(f"        {part!a}" for part in text.splitlines(keepends=True) or [""])


def _packed(name: str, pipelines: Iterable[Ready], pools: Mapping[str, str]) -> dict[str, str]:
    """Return the DAG file of several configs and its sidecar, which holds their texts.

    Airflow stores a DAG file's source once for each of its DAGs, so that with the texts in it the database would grow
    with the square of their number. The digest makes the DAG file differ whenever the sidecar does.
    """
    sidecar = json.dumps(
        {one.dag_id: (one.path, one.text, one.sql, pools.get(one.dag_id, "{}")) for one in pipelines}, indent=1
    )
    digest = hashlib.sha256(sidecar.encode()).hexdigest()
    beside = _sidecar(name)
    body = (
        f"# The configs are in {beside}, {digest}; each DAG's docs show its own.\n"
        f"from dataforge.dag_factory.stub import packed\n\n"
        f"globals().update(packed(__file__, {beside.rpartition('/')[2]!a}))\n"
    )
    return {beside: sidecar, name: HEADER + body}


def _sidecar(name: str) -> str:
    return name.removesuffix(".py") + SIDECAR


def _forwarder(name: str, places: Mapping[str, str]) -> str:
    start = Path(name).parent
    found = {dag_id: os.path.relpath(old, start) for dag_id, old in sorted(places.items())}
    return f"{HEADER}from dataforge.dag_factory.stub import moved\n\nglobals().update(moved(__file__, {found!a}))\n"
