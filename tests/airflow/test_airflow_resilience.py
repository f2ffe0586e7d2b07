"""Breakers and target pools in a real Airflow: states in its Variables, pools that its DAG processor makes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest
from tests.airflow.conftest import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

Numbers = Callable[..., dict[str, Any]]
VARIABLE = "dataforge_breaker_shop"


class Shop:
    """An HTTP server at one port that comes and goes; counts requests."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.requests = 0
        self.running: ThreadingHTTPServer | None = None

    def up(self) -> None:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.requests += 1
                body = b'[{"id": 1}, {"id": 2}]'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.running = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.running.serve_forever, daemon=True).start()

    def down(self) -> None:
        if self.running is not None:
            self.running.shutdown()
            self.running.server_close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.down()


def variable(airflow: Airflow) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(airflow.api.get(f"/api/v2/variables/{VARIABLE}")["value"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    return found


def ended(airflow: Airflow, dag_id: str) -> tuple[str, str]:
    """Run a pipeline; return the state of its extract task and that task's log."""
    body: dict[str, Any] = {"logical_date": None, "conf": {}}
    run = airflow.api.post(f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"]
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run}"
    airflow.until("the run's end", lambda: airflow.api.get(path)["state"] in ("success", "failed"))
    state = airflow.api.get(f"{path}/taskInstances/extract")["state"]
    return state, json.dumps(airflow.api.get(f"{path}/taskInstances/extract/logs/1?full_content=true"))


def test_tasks_share_a_breaker_through_a_variable_and_go_on_when_the_server_is_back(
    airflow: Airflow, numbers: Numbers, shop: Shop
) -> None:
    connection = {"connection_id": "shop", "conn_type": "http", "host": "127.0.0.1", "port": shop.port}
    airflow.api.post("/api/v2/connections", connection)
    airflow.put("calls.json", numbers("calls", source={"type": "http", "connection": "shop", "endpoint": "/orders"}))
    airflow.until("the DAG", lambda: airflow.dag("calls"))
    for count in (1, 2, 5):
        if count == 5:  # as if two more tasks had failed in the meantime
            body = {"key": VARIABLE, "value": json.dumps({**(variable(airflow) or {}), "failures": 4})}
            airflow.api.patch(f"/api/v2/variables/{VARIABLE}", body)
        state, log = ended(airflow, "calls")
        assert state == "failed", log
        found = variable(airflow)
        assert found is not None, log
        assert (found["failures"], found["state"]) == (count, "closed" if count < 5 else "open")
    shop.up()
    state, log = ended(airflow, "calls")
    assert state == "failed"
    assert "connection 'shop' is resting until" in log
    assert "after 5 failures in a row (last: GET http://127.0.0.1" in log
    assert "Traceback" not in log
    assert shop.requests == 0
    past = (datetime.now(timezone.utc) - timedelta(seconds=1)).isoformat()
    body = {"key": VARIABLE, "value": json.dumps({**(variable(airflow) or {}), "until": past})}
    airflow.api.patch(f"/api/v2/variables/{VARIABLE}", body)
    state, log = ended(airflow, "calls")
    assert state == "success", log
    assert "connection is tried again" in log
    assert shop.requests == 1
    assert variable(airflow) is None
    assert ended(airflow, "calls")[0] == "success"
    assert variable(airflow) is None


def test_pipelines_that_write_one_duckdb_file_get_a_pool_and_never_collide(airflow: Airflow, numbers: Numbers) -> None:
    pool = "dataforge_duckdb_together.duckdb"
    names = [f"together_{number}" for number in range(4)]
    lines = "".join(f"{number},word{number}\n" for number in range(300_000))
    (airflow.configs / "many.csv").write_text(f"n,word\n{lines}")
    for name in names:
        target = {"type": "duckdb", "database": "together.duckdb", "table": name, "lock_timeout": "1ms"}
        airflow.put(f"{name}.json", numbers(name, source={"type": "csv", "path": "many.csv"}, destination=target))

    def pooled() -> bool:
        return all(
            (airflow.dag(name) or {}) and airflow.api.get(f"/api/v2/dags/{name}/tasks/load")["pool"] == pool
            for name in names
        )

    airflow.until("the pool in all DAGs", pooled)
    found = airflow.api.get(f"/api/v2/pools/{pool}")
    assert found["slots"] == 1
    assert airflow.api.get(f"/api/v2/dags/{names[0]}/tasks/extract")["pool"] == "default_pool"
    body: dict[str, Any] = {"logical_date": None, "conf": {}}
    runs = {name: airflow.api.post(f"/api/v2/dags/{name}/dagRuns", body)["dag_run_id"] for name in names}
    spans = []
    for name, run in runs.items():
        airflow.wait(name, run)
        task = airflow.api.get(f"/api/v2/dags/{name}/dagRuns/{run}/taskInstances/load")
        assert (task["pool"], task["try_number"]) == (pool, 1)
        spans.append((task["start_date"], task["end_date"]))
    spans.sort()
    assert all(one[1] <= following[0] for one, following in pairwise(spans))


def test_the_command_line_lists_and_makes_pools_in_airflows_database(airflow: Airflow, numbers: Numbers) -> None:
    pool = "dataforge_duckdb_listed.duckdb"
    for name in ("listed_1", "listed_2"):
        target = {"type": "duckdb", "database": "listed.duckdb", "table": name}
        airflow.put(f"{name}.json", numbers(name, default_args={}, destination=target))

    def pools(*options: str) -> dict[str, str]:
        script = f'. "{airflow.home}/environment"; AIRFLOW__DATAFORGE__CONFIGS_FOLDER="{airflow.configs}" exec "$@"'
        command = [sys.executable, "-m", "dataforge", "pools", "--format", "json", *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        line = ["bash", "-c", script, "bash", *command]
        answer = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
        return {one["pool"]: one["state"] for one in json.loads(answer.stdout)}

    airflow.until("the pool", lambda: pools().get(pool) == "there")
    airflow.api._send("DELETE", f"/api/v2/pools/{pool}", None)
    assert pools()[pool] == "missing"
    assert pools("--create")[pool] == "created"
    assert airflow.api.get(f"/api/v2/pools/{pool}")["slots"] == 1
