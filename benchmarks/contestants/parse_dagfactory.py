"""Time dag-factory in this process: `parse_dagfactory.py FOLDER`; prints JSON with seconds."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Load the YAML files of the folder, as its own one-line DAG file does."""
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    from airflow.sdk import DAG, task

    with DAG("warm", schedule="@daily"):

        @task
        def nothing() -> None:
            pass

        nothing()
    began = time.perf_counter()
    from dagfactory import load_yaml_dags  # type: ignore[import-not-found]

    imported = time.perf_counter()
    found: dict[str, object] = {}
    load_yaml_dags(globals_dict=found, dags_folder=folder)
    done = time.perf_counter()
    dags = [value for value in found.values() if isinstance(value, DAG)]
    tasks = sum(len(dag.tasks) for dag in dags)
    print(json.dumps({"import": imported - began, "load": done - imported, "dags": len(dags), "tasks": tasks}))


if __name__ == "__main__":
    main()
