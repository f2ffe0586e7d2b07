"""A scheduler imports what tasks need before it forks them, and nothing that a fork would break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataforge.plugin import DataForgePlugin
from dataforge.settings import get_settings

Make = Callable[..., dict[str, Any]]
TASKS = """
import json, os, sys, threading
from pathlib import Path
from airflow.sdk.execution_time import task_runner
from dataforge.dag_factory.preload import preload
preload()
told, tell = os.pipe()
if os.fork() == 0:
    before = set(sys.modules)
    from dataforge.config.pipeline import parse
    from dataforge.runtime import context, extract, load, transform
    config = parse(json.loads(os.environ["CONFIG"]))
    here = context.local(config, {})
    staged = transform.run(config, {"source": extract.run(config, "source", here)}, here)
    rows = load.run(config, 0, staged, here)["rows"]
    os.write(tell, json.dumps([rows, sorted(set(sys.modules) - before)]).encode())
    os._exit(0)
os.close(tell)
print(json.dumps({"threads": threading.active_count(), "task": json.loads(os.read(told, 60000))}))
"""
PACKAGE = Path(__file__).parents[2] / "plugins"


def test_only_a_scheduler_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = DataForgePlugin()
    for command, listening in (("scheduler", True), ("api-server", False), ("dag-processor", False)):
        monkeypatch.setattr(sys, "argv", ["airflow", command])
        assert bool(plugin.listeners) is listening, command


def test_a_deployment_can_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    monkeypatch.setenv("AIRFLOW__DATAFORGE__PRELOAD", "False")
    get_settings.cache_clear()
    assert DataForgePlugin().listeners == []


def test_a_forked_task_works_and_has_next_to_nothing_left_to_import(pipeline: Make, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("amount,at\n1,2026-01-01 00:00:00\n2,2026-01-02 00:00:00\n", encoding="utf-8")
    folders = {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__DATAFORGE__DATA_FOLDERS": str(tmp_path),
        "AIRFLOW__DATAFORGE__OUTPUT_FOLDER": str(tmp_path / "out"),
    }
    config = pipeline("a", source={"type": "csv", "path": "orders.csv"}, destination={"type": "duckdb", "table": "t"})
    environment = {**os.environ, **folders, "PYTHONPATH": str(PACKAGE), "CONFIG": json.dumps(config)}
    for _ in range(2):  # the first run compiles, the second one finds it compiled
        done = subprocess.run(
            [sys.executable, "-c", TASKS], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        rows, imported = found["task"]
        assert (found["threads"], rows) == (1, 2)
    packages = {name.partition(".")[0] for name in imported}
    assert not packages & {"duckdb", "pyarrow", "sqlglot", "pydantic", "pandas"}, imported
    assert not [name for name in imported if name.startswith("dataforge.")], imported
