"""Many small pipelines on disk, as our JSON and as dag-factory's YAML: three tasks, a schedule, a few settings each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def config(number: int) -> dict[str, Any]:
    """Return the config of pipeline `number`; like people write them: a handful of transforms and a check."""
    return {
        "dag_id": f"pipeline_{number:05d}",
        "description": f"Orders of shop {number}",
        "schedule": f"{number % 60} {number % 24} * * *",
        "start_date": "2025-01-01",
        "tags": ["bench", f"shop-{number % 20}"],
        "default_args": {"owner": f"team-{number % 7}", "retries": 2, "retry_delay": "5m"},
        "source": {"type": "csv", "path": f"shop-{number}/*.csv"},
        "transforms": [
            {"type": "rename", "columns": {"id": "order_id"}},
            {"type": "cast", "columns": {"amount": "decimal(12,2)", "updated_at": "timestamp"}},
            {"type": "filter", "where": f"status = 'paid' and amount > {number % 10}"},
            {"type": "derive", "columns": {"order_day": "cast(updated_at as date)"}},
        ],
        "checks": [{"type": "not_null", "columns": ["order_id"]}],
        "destination": {"type": "postgres", "connection": "warehouse", "table": f"sales.orders_{number}"},
    }


def write_json(folder: Path, count: int) -> None:
    """Write our configs."""
    for number in range(count):
        (folder / f"pipeline_{number:05d}.json").write_text(json.dumps(config(number), indent=2), encoding="utf-8")


YAML = """{dag_id}:
  description: {description}
  schedule: "{schedule}"
  start_date: "2025-01-01"
  catchup: false
  max_active_runs: 1
  tags: {tags}
  default_args:
    owner: {owner}
    retries: 2
    retry_delay_sec: 300
  tasks:
    - task_id: extract
      decorator: airflow.sdk.definitions.decorators.task
      python_callable: bench_steps.extract
      path: {path}
    - task_id: transform
      decorator: airflow.sdk.definitions.decorators.task
      python_callable: bench_steps.transform
      rows: +extract
      dependencies: [extract]
    - task_id: load
      decorator: airflow.sdk.definitions.decorators.task
      python_callable: bench_steps.load
      rows: +transform
      dependencies: [transform]
"""

STEPS = '''"""The steps of dag-factory's pipelines; never run, only referred to."""


def extract(path):
    return path


def transform(rows):
    return rows


def load(rows):
    return None
'''


def write_yaml(folder: Path, count: int) -> None:
    """Write equal three-task pipelines for dag-factory, and the module with their steps."""
    (folder / "bench_steps.py").write_text(STEPS, encoding="utf-8")
    for number in range(count):
        ours = config(number)
        text = YAML.format(**ours, owner=ours["default_args"]["owner"], path=ours["source"]["path"])
        (folder / f"pipeline_{number:05d}.yaml").write_text(text, encoding="utf-8")
