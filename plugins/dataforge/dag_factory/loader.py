"""The loader: configs become DAGs where Airflow's DAG bundles can't be configured.

Two files in the DAG folder call it. `dataforge_dags.py` defines the DAGs of all valid configs; `dataforge_errors.py`
defines none and raises the text of all invalid ones. So Airflow shows every broken config among its import errors, and
hides no DAG: an error in the file that defines the DAGs would take all of them away.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from pathlib import Path

from airflow.configuration import conf
from airflow.sdk import DAG, get_parsing_context

from dataforge.components.base import JsonValue
from dataforge.dag_factory.inventory import SQL_SECONDS, Inventory, Ready, errors, ready
from dataforge.dag_factory.stub import InvalidConfigError, dag
from dataforge.errors import DataForgeError
from dataforge.observability.log import line
from dataforge.settings import airflow_home, get_settings

BUNDLE = "dataforge.bundle.ConfigBundle"


def load(folder: Path | None = None) -> dict[str, DAG]:
    """Return the DAGs of the folder's valid configs by global name; the deployment's folder when None.

    In a task's process only the task's own config is read. Nothing is returned where a ConfigBundle has the folder.
    """
    folder = folder or get_settings().configs_folder
    if served_by_bundle(folder):
        return {}
    inventory = _inventory(folder)
    only = get_parsing_context().dag_id
    if only is not None and (found := inventory.find(only)) is not None:
        return {"dag_0": dag(found.path, found.text, found.sql)}
    with inventory.transaction() as con:
        inventory.update(con, sql_seconds=SQL_SECONDS)
        pipelines = [one for one in ready(con) if only in (None, one.dag_id)]
    made = {f"dag_{number}": _dag(one) for number, one in enumerate(pipelines)}
    return {name: dag for name, dag in made.items() if dag is not None}


def raise_errors(folder: Path | None = None) -> None:
    """Raise InvalidConfigError with the findings of all invalid configs, one a line; return when there are none."""
    folder = folder or get_settings().configs_folder
    if get_parsing_context().dag_id is not None or served_by_bundle(folder):
        return
    inventory = _inventory(folder)
    with inventory.transaction() as con:
        inventory.update(con, sql_seconds=SQL_SECONDS)
        found = errors(con)
    if found:
        raise InvalidConfigError(f"{len(found)} invalid in {folder}\n" + "\n".join(found.values()))


def served_by_bundle(folder: Path) -> bool:
    """Whether Airflow's configuration names a ConfigBundle for that folder."""
    return any(os.path.realpath(path) == os.path.realpath(folder) for path in _bundle_folders())


def _bundle_folders() -> list[Path]:
    try:
        bundles: JsonValue = json.loads(conf.get("dag_processor", "dag_bundle_config_list", fallback="") or "[]")
    except ValueError:
        return []
    folders = []
    for bundle in bundles if isinstance(bundles, list) else []:
        if isinstance(bundle, dict) and bundle.get("classpath") == BUNDLE:
            path = (bundle.get("kwargs") or {}).get("path")
            folders.append(get_settings().configs_folder if path is None else airflow_home() / Path(path).expanduser())
    return folders


def _inventory(folder: Path) -> Inventory:
    """Return the inventory in Airflow's home, or one in memory alone where that can't be written."""
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    inventory = Inventory(folder, airflow_home() / "dataforge" / "loader" / f"{name}.sqlite")
    try:
        with inventory.transaction():
            return inventory
    except (OSError, sqlite3.OperationalError):
        return Inventory(folder, Path(":memory:"))


def _dag(one: Ready) -> DAG | None:
    """Return the pipeline's DAG; None, with a log line, when a component's package was removed since it was read."""
    try:
        return dag(one.path, one.text, one.sql)
    except DataForgeError as error:
        line("config makes no DAG", file=one.path, dag_id=one.dag_id, error=error)
        return None
