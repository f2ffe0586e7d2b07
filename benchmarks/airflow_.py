"""A real Airflow on the settings of scripts/demo, with folders of our own."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.demo import Api, components, prepare

from benchmarks.bench import Bench


@contextlib.contextmanager
def running(bench: Bench, configs: Path, dags: Path, **environment: str) -> Iterator[tuple[Api, float]]:
    """Start Airflow on a new home; give its REST API, logged in, and the time.monotonic() of the start."""
    folder = bench.folder("airflow-real", empty=True)
    with contextlib.redirect_stdout(sys.stderr):
        demo = prepare(folder, argparse.Namespace(port=None, check=False))
        inputs, output = bench.folder("inputs"), bench.folder("output")
        ours = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__DATAFORGE__CONFIGS_FOLDER": str(configs),
            "AIRFLOW__DATAFORGE__DATA_FOLDERS": str(inputs),
            "AIRFLOW__DATAFORGE__OUTPUT_FOLDER": str(output),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        demo = replace(demo, environment={**demo.environment, **ours, **environment})
        began = time.monotonic()
        with components(demo):
            yield Api(demo).login(), began


def wait(condition: Callable[[], bool], seconds: float = 60, pause: float = 0.05) -> float:
    """Return the seconds until `condition` holds; TimeoutError when it doesn't in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"nothing to be seen of it after {seconds} s")
        time.sleep(pause)
    return time.monotonic() - began


def dag(api: Api, dag_id: str) -> dict[str, Any] | None:
    """Return what Airflow shows of a DAG; None when it knows none of that id, or only an old one."""
    try:
        found: dict[str, Any] = api.get(f"/api/v2/dags/{dag_id}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    return None if found["is_stale"] else found


def run_dag(api: Api, dag_id: str) -> float:
    """Trigger a DAG, wait for it; return the seconds from trigger to the end as Airflow recorded them."""
    from datetime import datetime

    path = f"/api/v2/dags/{dag_id}/dagRuns"
    run = api.post(path, {"logical_date": None, "conf": {}})
    run_path = f"{path}/{run['dag_run_id']}"
    wait(lambda: api.get(run_path)["state"] in ("success", "failed"), 120, 0.1)
    run = api.get(run_path)
    if run["state"] != "success":
        raise RuntimeError(f"the run of {dag_id} ended as {run['state']}")
    queued, ended = (datetime.fromisoformat(run[key].replace("Z", "+00:00")) for key in ("queued_at", "end_date"))
    return (ended - queued).total_seconds()
