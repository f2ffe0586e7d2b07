from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataforge.dag_factory.inventory import Inventory

Put = Callable[..., Path]
Make = Callable[..., dict[str, Any]]
DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))


def ids(dags: dict[str, Any]) -> set[str]:
    return {dag.dag_id for dag in dags.values()}


def run(name: str) -> dict[str, Any]:
    """Run a file of the DAG folder as Airflow does; return its DAGs by id."""
    from airflow.sdk import DAG

    found: dict[str, Any] = {}
    exec(compile((DAGS / name).read_text(), name, "exec"), found)
    return {value.dag_id: value for value in found.values() if isinstance(value, DAG)}


def test_the_dag_folder_defines_a_dag_for_each_valid_config_and_tells_the_invalid_ones_elsewhere(put: Put) -> None:
    put("a.json")
    put("team/b.json")
    put("bad.json", sorce=1)
    path = put("worse.json", "{,}")
    os.utime(path, (1, 1))
    assert set(run("dataforge_dags.py")) == {"a", "b"}
    with pytest.raises(
        Exception, match=r"(?s)2 invalid in .*bad\.json:.*unknown key 'sorce'.*worse\.json:1:2: "
    ) as told:
        run("dataforge_errors.py")
    assert type(told.value).__name__ == "InvalidConfigError"


def test_without_invalid_configs_nothing_is_raised(put: Put) -> None:
    put("a.json")
    assert run("dataforge_errors.py") == {}


def test_a_tasks_process_reads_its_own_config_only(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataforge.dag_factory.loader import load

    put("a.json")
    put("b.json")
    assert ids(load()) == {"a", "b"}

    def refuse(self: Inventory, con: object, **options: object) -> set[str]:
        raise AssertionError("a task must not look at all configs")

    monkeypatch.setattr(Inventory, "update", refuse)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "b")
    assert ids(load()) == {"b"}


def test_a_tasks_process_finds_a_config_that_nobody_read_yet(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataforge.dag_factory.loader import load

    put("a.json")
    put("b.json", description="new")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "b")
    (dag,) = load().values()
    assert (dag.dag_id, dag.description) == ("b", "new")


def test_the_loader_leaves_a_folder_to_its_bundle(put: Put, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataforge.dag_factory.loader import load, raise_errors

    put("a.json")
    put("bad.json", sorce=1)
    bundles = [
        {"name": "p", "classpath": "dataforge.bundle.ConfigBundle", "kwargs": {"path": str(folder) + "/../configs"}}
    ]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    assert load() == {}
    raise_errors()
    bundles[0]["kwargs"] = {"path": str(folder.parent / "others")}
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    assert ids(load()) == {"a"}
    bundles[0]["kwargs"] = {}
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    assert load() == {}, "without a path a bundle has the deployment's folder"


def test_where_nothing_can_be_remembered_all_is_read_anew(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataforge.dag_factory.loader import load

    put("a.json")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "file"))
    assert ids(load()) == {"a"}


def test_the_maintenance_dag_sweeps_reconciles_and_checks_connections_once_a_day() -> None:
    dags = run("dataforge_maintenance.py")
    assert set(dags) == {"dataforge_maintenance", "dataforge_errands"}
    dag = dags["dataforge_maintenance"]
    names = ["sweep_staging", "sweep_uploads", "reconcile", "check_connections"]
    assert [task.task_id for task in dag.tasks] == names
    assert dag.timetable.can_be_scheduled
