"""Pools per target: which loads share one, and that DAGs name only pools that exist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataforge.bundle import ConfigBundle
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.dag_factory import pools
from dataforge.dag_factory.builder import build_dag
from dataforge.dag_factory.pools import Wanted, pool_name, wanted
from dataforge.settings import get_settings

FILE = "dataforge_duckdb_warehouse.duckdb"


def pipeline(dag_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "source": {"type": "csv", "path": "numbers.csv"},
        "destination": {"type": "duckdb", "table": dag_id},
        **changes,
    }


def config(dag_id: str, **changes: Any) -> PipelineConfig:
    return parse(pipeline(dag_id, **changes))


def test_pipelines_that_write_one_duckdb_file_share_a_pool_named_after_it() -> None:
    other = {"type": "duckdb", "database": "sales/orders.duckdb", "table": "t"}
    found = wanted([config("b"), config("a"), config("alone", destination=other)])
    assert found == [Wanted(FILE, ("a", "b"))]


def test_one_pipeline_wants_a_pool_when_its_own_loads_may_meet() -> None:
    assert wanted([config("a")]) == []
    assert wanted([config("a", max_active_runs=2)]) == [Wanted(FILE, ("a",))]
    two = [{"type": "duckdb", "table": "x"}, {"type": "duckdb", "table": "y"}]
    assert wanted([config("a", destination=two)]) == [Wanted(FILE, ("a",))]


def test_a_pool_of_the_config_goes_first_and_unknown_files_have_none() -> None:
    own = config("own", default_args={"pool": "mine"})
    params = {"file": {"type": "string", "default": "x.duckdb"}}
    open_ = config("open", params=params, destination={"type": "duckdb", "database": "${params.file}", "table": "t"})
    assert wanted([own, own, open_, open_]) == []
    task = build_dag(own, pools={0: FILE}).get_task("load")
    assert task.pool == "mine"


def test_names_are_fit_for_airflow_and_differ_where_slots_do() -> None:
    assert pool_name("duckdb_sales/orders.duckdb").startswith("dataforge_duckdb_sales_orders.duckdb_")
    assert pool_name("a/b") != pool_name("a_b") != pool_name("a b") != pool_name("a/b")
    assert len(pool_name("x" * 1000)) <= 256


@pytest.mark.parametrize("execution", ["staged", "fused"])
def test_loads_are_in_their_targets_pool_with_one_slot_and_other_tasks_are_not(execution: str) -> None:
    dag = build_dag(config("a", execution=execution, default_args={"pool_slots": 3}), pools={0: FILE})
    for task in dag.tasks:
        loads = task.task_id in ("load", "extract_transform_load")
        assert (task.pool, task.pool_slots) == ((FILE, 1) if loads else ("default_pool", 3))


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    configs = tmp_path / "configs"
    configs.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(configs))
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    get_settings.cache_clear()
    yield configs
    get_settings.cache_clear()


@pytest.fixture
def airflow_pools(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The pools that stand in Airflow's database, which is only there for real in the tests with a real Airflow."""
    there = {"default_pool"}
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setattr(pools, "existing", lambda: set(there))
    monkeypatch.setattr(pools, "create", there.add)
    return there


def put(folder: Path, *configs: dict[str, Any]) -> None:
    for one in configs:
        (folder / f"{one['dag_id']}.json").write_text(json.dumps(one))


def stub(bundle: ConfigBundle, dag_id: str) -> str:
    return (bundle.tracking / f"{dag_id}.json.py").read_text()


def test_the_bundle_makes_the_pool_when_a_second_pipeline_comes_and_keeps_it(
    folder: Path, airflow_pools: set[str]
) -> None:
    bundle = ConfigBundle(path=str(folder), name="pipelines")
    put(folder, pipeline("a"))
    bundle.initialize()
    assert FILE not in stub(bundle, "a")
    assert airflow_pools == {"default_pool"}
    put(folder, pipeline("b"))
    bundle.refresh()
    assert airflow_pools == {"default_pool", FILE}
    assert FILE in stub(bundle, "a")
    assert FILE in stub(bundle, "b")
    assert dag_of(stub(bundle, "a")).get_task("load").pool == FILE
    (folder / "b.json").unlink()
    bundle.refresh()
    assert FILE in stub(bundle, "a")


def test_a_second_targets_pool_is_made_at_once_after_a_first_ones(folder: Path, airflow_pools: set[str]) -> None:
    bundle = ConfigBundle(path=str(folder), name="pipelines")
    put(folder, pipeline("a"), pipeline("b"))
    bundle.initialize()
    other = {"type": "duckdb", "database": "other.duckdb", "table": "t"}
    put(folder, pipeline("c", destination=other), pipeline("d", destination=other))
    bundle.refresh()
    assert airflow_pools == {"default_pool", FILE, "dataforge_duckdb_other.duckdb"}


def dag_of(source: str) -> Any:
    found: dict[str, Any] = {"__file__": "x.py"}
    exec(source, found)  # the file as Airflow runs it
    return found["dag_0"]


def test_a_process_without_airflows_database_names_only_pools_that_were_seen(
    folder: Path, airflow_pools: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, pipeline("a"), pipeline("b"))
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT")
    bundle = ConfigBundle(path=str(folder), name="pipelines")
    bundle.initialize()
    assert FILE not in stub(bundle, "a")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    ConfigBundle(path=str(folder), name="pipelines").initialize()
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    ConfigBundle(path=str(folder), name="pipelines").initialize()
    assert FILE in stub(bundle, "a")


def test_a_database_that_refuses_leaves_the_dags_without_pools_until_it_does_not(
    folder: Path, airflow_pools: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise PermissionError("read only")

    put(folder, pipeline("a"), pipeline("b"))
    with monkeypatch.context() as patch:
        patch.setattr(pools, "create", refuse)
        bundle = ConfigBundle(path=str(folder), name="pipelines")
        bundle.initialize()
    assert FILE not in stub(bundle, "a")
    bundle.refresh()
    assert FILE not in stub(bundle, "a")  # not asked again so soon
    monkeypatch.setattr(bundle.pools, "_ask_at", 0.0)
    bundle.refresh()
    assert FILE in stub(bundle, "a")


def test_the_setting_switches_pools_off(folder: Path, airflow_pools: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__TARGET_POOLS", "false")
    get_settings.cache_clear()
    put(folder, pipeline("a"), pipeline("b"))
    bundle = ConfigBundle(path=str(folder), name="pipelines")
    bundle.initialize()
    assert airflow_pools == {"default_pool"}
    assert FILE not in stub(bundle, "a")


def test_many_configs_packed_into_few_files_have_their_pools_too(
    folder: Path, airflow_pools: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__SHARD_ABOVE", "3")
    get_settings.cache_clear()
    put(folder, *(pipeline(f"p{number}") for number in range(6)))
    bundle = ConfigBundle(path=str(folder), name="pipelines")
    bundle.initialize()
    texts = [file.read_text() for file in bundle.tracking.rglob("*.pipelines")]
    assert sum(text.count(FILE) for text in texts) == 6
