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
NAMES = {OURS: "DataForge", THEIRS: "hand-written TaskFlow"}
STUB = """# airflow dag
from dataforge.dag_factory.stub import dags

globals().update(dags({{{dag_id!r}: ("bench.json", {text!r}, "")}}))
"""


def run(bench: Bench) -> Outcome:
    """Measure with `dag.test()` in one process, and on a scheduler."""
    path = bench.orders(ROWS)
    text = json.dumps(config(path))
    environment = {"BENCH_INPUT": str(path), "BENCH_WORK": str(bench.folder("three-work", empty=True))}
    bench.folder("output", empty=True)
    found = {
        "dag.test()": in_process(bench, text, environment),
        "on a scheduler": on_scheduler(bench, text, environment),
    }
    lines = tuple(
        Line(f"{NAMES[dag_id]}, {way}", {"median s": median(seconds), "best s": min(seconds), "runs": len(seconds)})
        for way, each in found.items()
        for dag_id, seconds in each.items()
    )
    targets = tuple(
        Target(f"ours ÷ hand-written, {way}", median(each[OURS]) / median(each[THEIRS]), "<=", 1.1)
        for way, each in found.items()
    )
    title = f"extract >> transform >> load of {ROWS:,} rows of CSV into DuckDB"
    note = "On the scheduler, seconds go from a run's queueing to its end as Airflow records them."
    return Outcome("three_tasks", title, lines, targets, (note,))


def config(path: Path) -> dict[str, Any]:
    """Return our pipeline."""
    return {
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
        "destination": {"type": "duckdb", "database": "three/orders.duckdb", "table": "orders"},
    }


def in_process(bench: Bench, text: str, environment: dict[str, str]) -> dict[str, list[float]]:
    """Return the seconds of each run with `dag.test()`, both DAGs in one process."""
    dags = bench.folder("three-test-dags", empty=True)
    shutil.copy(hand_written(), dags)
    (dags / "ours.py").write_text(STUB.format(dag_id=OURS, text=text), encoding="utf-8")
    home = bench.folder("airflow-test", empty=True)
    folders = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    settings = {**bench.our_environment, **environment, **folders}
    migrate = Contestant("airflow db migrate", (PYTHON, "-m", "airflow", "db", "migrate"), settings)
    subprocess.run(migrate.command, env=migrate.full_environment, check=True, capture_output=True)
    command = program("three_tasks", str(dags), str(max(bench.repeat, 5)))
    found: dict[str, list[float]] = run_contestant(Contestant("dag.test()", command, settings)).json()
    return found


def on_scheduler(bench: Bench, text: str, environment: dict[str, str]) -> dict[str, list[float]]:
    """Return the seconds of each run on a scheduler, executor and API server, the two DAGs in turns."""
    configs, dags = bench.folder("three-configs", empty=True), bench.folder("three-dags", empty=True)
    (configs / f"{OURS}.json").write_text(text, encoding="utf-8")
    shutil.copy(hand_written(), dags)
    seconds: dict[str, list[float]] = {OURS: [], THEIRS: []}
    with running(bench, configs, dags, **environment) as (api, _):
        for dag_id in seconds:
            wait(lambda dag_id=dag_id: dag(api, dag_id) is not None, 60)  # type: ignore[misc]
        for turn in range(max(bench.repeat, 5) + 2):
            for dag_id, times in seconds.items():
                took = run_dag(api, dag_id)
                if turn >= 2:  # the executor's workers are warm then
                    times.append(took)
                    bench.tell(f"{NAMES[dag_id]} on the scheduler: {took:.2f} s")
    return seconds


def hand_written() -> Path:
    """Return the DAG file of the peer."""
    return ROOT / "benchmarks" / "contestants" / "taskflow_dag.py"
