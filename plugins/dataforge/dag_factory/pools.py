"""One Airflow pool of one slot for each target that several loads write: they wait for each other, and don't collide.

A task in a pool that does not exist is never run, so a DAG names only pools that Airflow is known to have. Airflow's
DAG processor may ask and write Airflow's database, which the processes that parse DAGs and run tasks may not: the
bundle makes the pools there, before it writes them into the DAG files. `dataforge pools` shows and makes them too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataforge.components.registry import DESTINATIONS
from dataforge.config.pipeline import PipelineConfig
from dataforge.observability.log import line
from dataforge.settings import config_option, get_settings

PREFIX = "dataforge_"
DESCRIPTION = "DataForge: loads into this target run one after the other."
MAX_NAME = 200
ASK_AGAIN_SECONDS = 60.0
"""Pause before Airflow is asked again for pools that it did not have and that could not be made."""

Slots = Mapping[int, str]
"""Index of a destination to the name of what only one load may write at a time."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS slots (path TEXT NOT NULL, dag_id TEXT NOT NULL, place INTEGER NOT NULL,
    slot TEXT NOT NULL, users INTEGER NOT NULL, PRIMARY KEY (path, dag_id, place)) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS pools (name TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS chosen (path TEXT NOT NULL, dag_id TEXT NOT NULL, pools TEXT NOT NULL,
    PRIMARY KEY (path, dag_id)) WITHOUT ROWID""",
)


@dataclass(frozen=True)
class Wanted:
    """A pool that configs want, and the pipelines whose loads it would hold."""

    name: str
    pipelines: tuple[str, ...]


def pool_name(slot: str) -> str:
    """Return the name of a slot's pool: letters, digits, `.`, `_` and `-`, by which metrics can be named too."""
    name = PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", slot)
    if name == PREFIX + slot and len(name) <= MAX_NAME:
        return name
    return f"{name[:MAX_NAME]}_{hashlib.sha256(slot.encode()).hexdigest()[:8]}"


def wanted(configs: Iterable[PipelineConfig]) -> list[Wanted]:
    """Return the pools of targets that more than one load of these pipelines may write at a time, by name."""
    users: dict[str, list[tuple[str, int]]] = {}
    for config in configs:
        for slot in _slots(config).values():
            users.setdefault(pool_name(slot), []).append((config.dag_id, config.max_active_runs))
    return [
        Wanted(name, tuple(sorted({dag_id for dag_id, _ in found})))
        for name, found in sorted(users.items())
        if sum(runs for _, runs in found) > 1
    ]


def _slots(config: PipelineConfig) -> Slots:
    """Return the slots of a pipeline's loads; none where the config names a pool of its own."""
    if config.default_args.pool is not None:
        return {}
    return {index: slot for index, output in enumerate(config.outputs) if (slot := output.slot()) is not None}


class TargetPools:
    """The pools of a bundle's pipelines, remembered beside its inventory."""

    def __init__(self) -> None:
        self._ask_at = 0.0
        self._lacking = False

    def due(self) -> bool:
        """Whether pools are lacking that Airflow may have by now."""
        return self._lacking and time.monotonic() >= self._ask_at

    def settle(self, con: sqlite3.Connection, touched: Iterable[str], *, verify: bool = False) -> set[str]:
        """Choose the pools of all loads after these config files changed; return the files whose choice is another.

        `verify` asks Airflow whether the pools that were known are still there.
        """
        for statement in _SCHEMA:
            con.execute(statement)
        self._read(con, None if verify else set(touched))
        known = {name for (name,) in con.execute("SELECT name FROM pools")}
        users: dict[str, int] = {}
        rows = con.execute("SELECT path, dag_id, place, slot, users FROM slots ORDER BY 1, 2, 3").fetchall()
        for *_, slot, runs in rows:
            users[pool_name(slot)] = users.get(pool_name(slot), 0) + runs
        # one that is there stays in use when its target is down to one load: each change is a new version of a DAG
        needed = {name for name, count in users.items() if count > 1 or name in known}
        if not get_settings().target_pools:
            needed = set()
        if needed and (verify or needed - known) and time.monotonic() >= self._ask_at:
            known = self._ensure(con, needed, known)
        self._lacking = bool(needed - known)
        choice: dict[tuple[str, str], dict[str, str]] = {}
        for path, dag_id, place, slot, _ in rows:
            if (name := pool_name(slot)) in needed & known:
                choice.setdefault((path, dag_id), {})[str(place)] = name
        return _keep(con, {key: json.dumps(value) for key, value in choice.items()})

    def _read(self, con: sqlite3.Connection, paths: set[str] | None) -> None:
        """Note which slots the pipelines of these files want; of all files for None."""
        query = "SELECT path, dag_id, text FROM pipelines WHERE in_force AND text != ''"
        if paths is None:
            con.execute("DELETE FROM slots")
            rows = con.execute(query).fetchall()
        else:
            con.executemany("DELETE FROM slots WHERE path = ?", [(path,) for path in paths])
            rows = [row for path in paths for row in con.execute(f"{query} AND path = ?", (path,))]
        for path, dag_id, text in rows:
            data = json.loads(text)
            runs = max(1, int(data.get("max_active_runs") or 1))
            found = [(path, dag_id, place, slot, runs) for place, slot in _slots_of(data).items()]
            con.executemany("INSERT INTO slots VALUES (?, ?, ?, ?, ?)", found)

    def _ensure(self, con: sqlite3.Connection, needed: set[str], known: set[str]) -> set[str]:
        if not may_write():
            self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS
            return known
        try:
            found = existing()
            for name in sorted(needed - found):
                create(name)
                found.add(name)
        except Exception as error:  # noqa: BLE001 DAGs without pools are better than none
            line("target pools can't be made", level=logging.WARNING, reason=f"{type(error).__name__}: {error}"[:300])
            found = _existing_or(known)
        found = {name for name in found if name.startswith(PREFIX)}
        if needed - found:
            self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS
        con.execute("DELETE FROM pools")
        con.executemany("INSERT INTO pools VALUES (?)", [(name,) for name in sorted(found)])
        return found


def _slots_of(data: Mapping[str, object]) -> Slots:
    """Return the slots of a config that is known to be valid, by its destinations alone."""
    args, given = data.get("default_args"), data.get("destination")
    if isinstance(args, dict) and args.get("pool") is not None:
        return {}
    found = {}
    for index, output in enumerate(given if isinstance(given, list) else [given]):
        if isinstance(output, dict):
            slot = DESTINATIONS.get(str(output["type"])).config.model_validate(output).slot()  # type: ignore[attr-defined]
            if slot is not None:
                found[index] = slot
    return found


def _keep(con: sqlite3.Connection, choice: Mapping[tuple[str, str], str]) -> set[str]:
    before = {(path, dag_id): text for path, dag_id, text in con.execute("SELECT path, dag_id, pools FROM chosen")}
    changed = {key for key in {*before, *choice} if before.get(key) != choice.get(key)}
    con.executemany("DELETE FROM chosen WHERE path = ? AND dag_id = ?", sorted(changed))
    con.executemany("INSERT INTO chosen VALUES (?, ?, ?)", [(*key, choice[key]) for key in changed if key in choice])
    return {path for path, _ in changed}


def chosen(con: sqlite3.Connection) -> dict[str, str]:
    """Return the pools of each DAG that has some, as JSON text: index of the destination to name."""
    if not con.execute("SELECT 1 FROM sqlite_master WHERE name = 'chosen'").fetchone():
        return {}
    rows = con.execute("SELECT dag_id, pools FROM chosen JOIN pipelines USING (path, dag_id) WHERE in_force")
    return dict(rows.fetchall())


def may_write() -> bool:
    """Whether this process is one of Airflow's own, with its database at hand, and pools belong to all teams."""
    multi_team = (config_option("core", "multi_team") or "").strip().lower() in ("true", "t", "1")
    return os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "server" and not multi_team


def existing() -> set[str]:
    """Return the names of Airflow's pools, from its database."""
    from airflow.models.pool import Pool

    return {str(pool.pool) for pool in Pool.get_pools()}


def _existing_or(known: set[str]) -> set[str]:
    try:
        return existing()
    except Exception:  # noqa: BLE001 it was told already
        return known


def create(name: str) -> None:
    """Make a pool of one slot in Airflow's database; one of that name must not exist, since its slots would change."""
    from airflow.models.pool import Pool

    Pool.create_or_update_pool(name, slots=1, description=DESCRIPTION, include_deferred=False)
