"""Run our three-task DAG and the hand-written one in turns with `dag.test()`: `three_tasks.py DAGS_FOLDER TURNS`.

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
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DagRunState

    found = DagBag(Path(sys.argv[1])).dags
    logging.disable(logging.INFO)
    seconds: dict[str, list[float]] = {"bench_three_tasks": [], "hand_written": []}
    with contextlib.redirect_stdout(sys.stderr):
        for turn in range(int(sys.argv[2]) + 1):
            for dag_id, times in seconds.items():
                began = time.perf_counter()
                run = found[dag_id].test()
                took = time.perf_counter() - began
                if run.state != DagRunState.SUCCESS:
                    sys.exit(f"{dag_id} ended as {run.state}")
                if turn:
                    times.append(took)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
