"""Run our three-task DAG and the hand-written one in turns with `dag.test()`: `three_tasks.py CONFIG TURNS`.

Prints a JSON object: seconds of every run, after one run of each to warm up.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from pathlib import Path


def main() -> None:
    """Time both DAGs in this process."""
    from airflow.sdk import DagRunState

    from benchmarks.contestants.taskflow_dag import dag_ as theirs
    from dataforge.dag_factory.stub import dag

    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    ours = dag("bench.json", text)
    logging.disable(logging.INFO)
    seconds: dict[str, list[float]] = {"ours": [], "hand-written": []}
    with contextlib.redirect_stdout(sys.stderr):
        sync()
        for turn in range(int(sys.argv[2]) + 1):
            for name, each in (("ours", ours), ("hand-written", theirs)):
                began = time.perf_counter()
                run = each.test()
                took = time.perf_counter() - began
                if run.state != DagRunState.SUCCESS:
                    sys.exit(f"{name} ended as {run.state}")
                if turn:
                    seconds[name].append(took)
    print(json.dumps(seconds))


def sync() -> None:
    """Make the bundle that `dag.test()` puts DAGs into known to the metadata database."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name="testing"))


if __name__ == "__main__":
    main()
