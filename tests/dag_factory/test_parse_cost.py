"""What a DAG parse imports and reads; what that costs in seconds, `benchmarks/run parse` tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Make = Callable[..., dict[str, Any]]
Put = Callable[..., Path]

PACKAGE = Path(__file__).parents[2] / "plugins"
AIRFLOW = (
    "from airflow.sdk import DAG, Asset, AssetAll, AssetAny, CronDataIntervalTimetable, DeltaDataIntervalTimetable\n"
    "from airflow.sdk import Param, get_parsing_context, task\n"
    # what each DAG file costs Airflow itself, once
    "with DAG('x', schedule=CronDataIntervalTimetable('@daily', 'UTC')):\n"
    "    @task\n    def one(): ...\n    one()"
)
HEAVY = {
    "adbc_driver_manager", "adbc_driver_postgresql", "charset_normalizer", "duckdb", "fastapi", "fsspec", "jsonschema",
    "numpy", "ollama", "pandas", "psycopg2", "pyarrow", "requests", "rich", "s3fs", "sqlalchemy", "sqlglot", "sqlglotc",
    "tenacity",
}  # fmt: skip

OTHERS = (
    "from importlib.metadata import entry_points\n"
    "[one.load() for one in entry_points(group='airflow.plugins') if one.name != 'dataforge']\n"
)
"""Airflow imports the plugins of all installed providers; those of others are not our cost."""


def python(code: str, **environment: str) -> Any:
    """Run `code` in a fresh interpreter; return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONHASHSEED": "random", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_parse_imports_nothing_heavy_that_airflow_has_not_imported(pipeline: Make) -> None:
    config = json.dumps(
        pipeline(
            "a",
            schedule="@daily",
            start_date="2025-01-01",
            sources={
                "a": {"type": "csv", "path": "a.csv"},
                "b": {"type": "json", "path": "a.json"},
                "c": {"type": "parquet", "path": "a.parquet"},
                "d": {"type": "postgres", "connection": "warehouse", "table": "t"},
            },
            source=...,
            transforms=[{"type": "filter", "input": "a", "where": "true"}],
            checks=[{"type": "not_null", "columns": ["a"]}],
            destination=[
                {"type": "postgres", "connection": "warehouse", "table": "t"},
                {"type": "duckdb", "table": "t"},
            ],
        )
    )
    steps = [
        "import dataforge.plugin",
        "import dataforge.dag_factory.stub",
        f"dataforge.dag_factory.stub.dags({{'a': ('a.json', {config!r}, '')}})",
        "import dataforge.bundle",
        "import dataforge.dag_factory.loader",
        "import dataforge.dag_factory.maintenance",
    ]
    added = python(
        f"import sys, json, airflow.plugins_manager, airflow.dag_processing.bundles.base\n{AIRFLOW}\n{OTHERS}"
        f"before, added = set(sys.modules), {{}}\nfor step in {steps!r}:\n    exec(step)\n"
        "    added[step] = sorted(set(sys.modules) - before)\nprint(json.dumps(added))"
    )
    for step, names in added.items():
        heavy = [name for name in names if name.split(".")[0] in HEAVY or name.startswith("airflow.providers")]
        assert heavy == [], step
        assert any(name.startswith("dataforge") for name in names)


def test_a_task_parses_only_its_own_config_among_a_thousand(pipeline: Make, put: Put, tmp_path: Path) -> None:
    for number in range(1000):
        put(f"p{number}.json", schedule="0 6 * * *", start_date="2025-01-01")
    environment = {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "bundles"),
    }
    version, name = python(
        "import json\nfrom dataforge.bundle import ConfigBundle\nbundle = ConfigBundle(name='p')\nbundle.initialize()\n"
        "beside = next(p for p in bundle.path.rglob('*.pipelines') if 'p500' in json.loads(p.read_text()))\n"
        "home = beside.with_suffix('.py')\n"
        "print(json.dumps([bundle.get_current_version().version, str(home.relative_to(bundle.path))]))",
        **environment,
    )
    host = f"import json, time, runpy\n{AIRFLOW}\n"
    bundle = (
        f"{host}from dataforge.bundle import ConfigBundle\nimport dataforge.dag_factory.stub\n"
        f"bundle = ConfigBundle(name='p', version={version!r})\nbundle.initialize()\n"
        f"found = runpy.run_path(str(bundle.path / {name!r}))\n"
        "print(json.dumps([[v.dag_id for v in found.values() if isinstance(v, DAG)]]))"
    )
    loader = (
        f"{host}import dataforge.dag_factory.loader as loader\n"
        "found = loader.load()\n"
        "print(json.dumps([[v.dag_id for v in found.values()]]))"
    )
    python(loader, **environment)
    environment["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "p500"
    for code in (bundle, loader):
        assert python(code, **environment) == [["p500"]]


def test_a_thousand_configs_are_parsed_and_parsed_again(put: Put, tmp_path: Path) -> None:
    for number in range(1000):
        put(f"p{number}.json", schedule="0 6 * * *", start_date="2025-01-01")
    code = (
        f"import json\n{AIRFLOW}\nfrom dataforge.dag_factory.loader import load\n"
        "print(json.dumps(sorted(dag.dag_id for dag in load().values())))"
    )
    home = {"AIRFLOW_HOME": str(tmp_path / "home")}
    first, second = python(code, **home), python(code, **home)
    assert first == second == sorted(f"p{number}" for number in range(1000))


def test_processes_with_different_hash_seeds_build_equal_dags(pipeline: Make) -> None:
    config = json.dumps(
        pipeline(
            "a",
            tags=["x", "y", "z", "w"],
            params={"b": 1, "a": 2},
            schedule={"all": [{"asset": "b/c"}, {"asset": "a/b"}]},
        )
    )
    code = (
        "import json\nfrom airflow.models.serialized_dag import SerializedDagModel\n"
        "from airflow.serialization.serialized_objects import DagSerialization\n"
        "from dataforge.dag_factory.stub import dags\n"
        f"(dag,) = dags({{'a': ('a.json', {config!r}, 'SELECT 1')}}).values()\n"
        "print(json.dumps(SerializedDagModel.hash(DagSerialization.to_dict(dag))))"
    )
    assert len({python(code) for _ in range(2)}) == 1
