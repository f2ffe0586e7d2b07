"""A three-task pipeline over a small file beside a hand-written TaskFlow DAG that does the same, on one Airflow."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.airflow_ import dag, run_dag, running, wait
from benchmarks.bench import Bench
from benchmarks.measure import run as run_contestant
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.place import PYTHON, ROOT, Contestant, program

ROWS = 1000
OURS, THEIRS = "bench_three_tasks", "hand_written"


def run_in_process(bench: Bench, config: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """Return the seconds of each run with `dag.test()`, both DAGs in one process."""
    home = bench.folder("airflow-test", empty=True)
    settings = {
        **bench.our_environment,
        **environment,
        "AIRFLOW_HOME": str(home),
    }
    migrate = Contestant("airflow db migrate", (PYTHON, "-m", "airflow", "db", "migrate"), settings)
    subprocess.run(migrate.command, env=migrate.full_environment, check=True, capture_output=True)
    turns = str(max(bench.repeat, 5))
    found: dict[str, list[float]] = run_contestant(
        Contestant("dag.test()", program("three_tasks", str(config), turns), settings)
    ).json()
    return found


def run_on_scheduler(bench: Bench, configs: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """Return the seconds of each run on a scheduler, executor and API server, the two DAGs in turns."""
    dags = bench.folder("three-dags", empty=True)
    shutil.copy(ROOT / "benchmarks" / "contestants" / "taskflow_dag.py", dags / "taskflow_dag.py")
    seconds: dict[str, list[float]] = {"ours": [], "hand-written": []}
    with running(bench, configs, dags, **environment) as (api, _):
        for dag_id in (OURS, THEIRS):
            wait(lambda dag_id=dag_id: dag(api, dag_id) is not None, 60)  # type: ignore[misc]
        for turn in range(max(bench.repeat, 5) + 2):
            for name, dag_id in (("ours", OURS), ("hand-written", THEIRS)):
                took = run_dag(api, dag_id)
                if turn >= 2:  # the executor's workers are warm then
                    seconds[name].append(took)
                    bench.tell(f"{name} on the scheduler: {took:.2f} s")
    return seconds


def measure(bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of both ways."""
    path = bench.orders(ROWS)
    configs = bench.folder("three-configs", empty=True)
    config: dict[str, Any] = {
        "dag_id": OURS,
        "schedule": None,
        "start_date": "2025-01-01",
        "source": {"type": "csv", "path": path.name},
        "transforms": [
            {"type": "rename", "columns": {"id": "order_id"}},
            {"type": "cast", "columns": {"amount": "decimal(12,2)"}},
            {"type": "filter", "where": "amount > 0"},
            {"type": "derive", "columns": {"order_day": "cast(updated_at as date)"}},
        ],
        "destination": {"type": "duckdb", "path": "three/orders.duckdb", "table": "orders"},
    }
    file = configs / f"{OURS}.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    environment = {"BENCH_INPUT": str(path), "BENCH_WORK": str(bench.folder("three-work", empty=True))}
    bench.folder("output", empty=True)
    return {
        "dag.test()": run_in_process(bench, file, environment),
        "scheduler": run_on_scheduler(bench, configs, environment),
    }


def run(bench: Bench) -> Outcome:
    """Measure both ways."""
    found = measure(bench)
    lines = tuple(
        Line(f"{name}, {way}", {"median s": median(seconds), "best s": min(seconds), "runs": len(seconds)})
        for way, each in found.items()
        for name, seconds in each.items()
    )
    targets = tuple(
        Target(f"ours ÷ hand-written, {way}", median(each["ours"]) / median(each["hand-written"]), "<=", 1.1)
        for way, each in found.items()
    )
    title = f"extract >> transform >> load of {ROWS:,} rows of CSV into DuckDB, ours beside a hand-written TaskFlow DAG"
    return Outcome("three_tasks", title, lines, targets)
