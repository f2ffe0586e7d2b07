"""Time our loader in this process: `parse_ours.py FOLDER all|import|task DAG_ID`; prints JSON with seconds.

Airflow is imported before the clock starts, with what a DAG file of three TaskFlow tasks imports anyway.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Measure what was asked for."""
    folder, what, dag_id = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if what == "task":  # as Airflow's supervisor marks the process of a task
        os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag_id
    from airflow.sdk import DAG, task

    with DAG("warm", schedule="@daily"):

        @task
        def nothing() -> None:
            pass

        nothing()
    began = time.perf_counter()
    from dataforge.dag_factory import loader

    imported = time.perf_counter()
    dags = {} if what == "import" else loader.load(folder)
    done = time.perf_counter()
    again = time.perf_counter()
    if what == "all":
        loader.load(folder)
        again = time.perf_counter()
    print(
        json.dumps(
            {
                "import": imported - began,
                "load": done - imported,
                "again": again - done,
                "dags": len(dags),
                "tasks": sum(len(dag.tasks) for dag in dags.values()),
            }
        )
    )


if __name__ == "__main__":
    main()
