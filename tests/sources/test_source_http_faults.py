"""What a network can do to the sources that share one HTTP client, and what must come of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.sources.conftest import Api, Reply, Request

from dataforge.components.base import Connection, ExtractContext
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.sources import _http

SECRET = "hunter2-token"
PAGES = "query($after: String) { a(after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"
CONFIGS: dict[str, dict[str, Any]] = {
    "http": {"type": "http", "endpoint": "/rows", "records": "rows", "auth": {"type": "bearer"}},
    "graphql": {"type": "graphql", "query": PAGES, "records": "a", "auth": {"type": "bearer"}},
    "shopify rest": {"type": "shopify", "resource": "orders"},
    "shopify graphql": {"type": "shopify", "resource": "orders", "api": "graphql", "fields": "id"},
    "shopify bulk": {"type": "shopify", "resource": "orders", "api": "bulk", "fields": "id"},
}
GOOD: dict[str, Any] = {
    "http": {"rows": [{"id": 1}]},
    "graphql": {"data": {"a": {"nodes": [{"id": 1}], "pageInfo": {"hasNextPage": False}}}},
    "shopify rest": {"orders": [{"id": 1}]},
    "shopify graphql": {"data": {"orders": {"nodes": [{"id": 1}], "pageInfo": {"hasNextPage": False}}}},
}

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=CONFIGS)
def name(request: pytest.FixtureRequest) -> str:
    """Each way of asking."""
    return str(request.param)


@pytest.fixture
def read(name: str, api: Api, context: Callable[..., ExtractContext], monkeypatch: pytest.MonkeyPatch) -> Read:
    """Extract and return the records."""
    monkeypatch.setattr(_http, "FIRST_WAIT", 0.01)

    def go(**changes: Any) -> list[dict[str, Any]]:
        config = {"connection": "shop", "retry": {"tries": 3, "repeat_post": True}, **CONFIGS[name], **changes}
        source: Any = SOURCES.build(SOURCES.get(config["type"]).config.model_validate(config))
        files = source.extract(context(Connection("shop", "http", api.url, None, "", SECRET)))
        return [json.loads(line) for line in files.paths[0].read_bytes().splitlines()]

    return go


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


def test_a_lasting_fault_is_one_that_may_pass_and_says_so(api: Api, read: Read) -> None:
    api.replies(Reply({}, 503))
    with pytest.raises(TransientError, match="answered 503"):
        read()


def test_a_fault_that_passes_costs_no_record(name: str, api: Api, read: Read) -> None:
    if name not in GOOD:
        pytest.skip("its first request starts something, and is not repeated")
    for fault in (Reply({}, 502), Reply(raw=reset), Reply(json.dumps(GOOD[name]).encode(), length=10_000)):
        api.replies(fault, Reply(GOOD[name]))
        assert read() == [{"id": 1}]


def test_an_answer_that_drips_ends_at_its_deadline(api: Api, read: Read) -> None:
    api.replies(Reply(raw=drip))
    with pytest.raises(TransientError, match="took longer"):
        read(timeout=0.3, retry={"tries": 1})


def test_wrong_credentials_end_the_run_and_show_nothing(api: Api, read: Read) -> None:
    api.replies(Reply({"got": SECRET}, 401))
    with pytest.raises(TerminalError) as raised:
        read()
    assert SECRET not in str(raised.value)
    assert len(api.requests) == 1


def test_a_redirect_to_another_host_is_not_followed(api: Api, read: Read) -> None:
    other = Api()
    try:
        api.replies(Reply({}, 307, {"Location": f"{other.url}/steal"}))
        with pytest.raises(TerminalError, match="another origin"):
            read()
        assert other.requests == []
    finally:
        other.close()


def test_a_page_for_people_in_place_of_data_ends_the_run(api: Api, read: Read) -> None:
    api.replies(Reply(b"<html>Log in</html>", headers={"Content-Type": "text/html"}))
    with pytest.raises(TerminalError, match="Log in"):
        read()


def test_private_addresses_are_refused_where_the_deployment_says_so(
    api: Api, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__ALLOW_PRIVATE_HOSTS", "false")
    get_settings.cache_clear()
    try:
        with pytest.raises(TerminalError, match="private address"):
            read()
        assert api.requests == []
    finally:
        monkeypatch.delenv("AIRFLOW__DATAFORGE__ALLOW_PRIVATE_HOSTS")
        get_settings.cache_clear()


def test_two_runs_of_a_pipeline_read_parts_and_slices_up_to_date_by_key(api: Api, tmp_path: Path) -> None:
    base = datetime(2025, 1, 1, tzinfo=timezone.utc)
    rows = [{"id": n, "region": ["eu", "us"][n % 2], "at": (base + timedelta(days=n)).isoformat()} for n in range(6)]

    def answer(request: Request) -> Reply:
        low, high = request.query["from"], request.query["to"]
        mine = [row for row in rows if request.path == f"/{row['region']}/rows" and low <= str(row["at"])[:10] <= high]
        return Reply([{"id": row["id"], "at": row["at"], "seen": len(api.requests)} for row in mine])

    api.answer = answer
    config = {
        "dag_id": "parts",
        "source": {
            "type": "http",
            "connection": "shop",
            "endpoint": "/{region}/rows",
            "partitions": [{"type": "list", "name": "region", "values": ["eu", "us"], "column": "region"}],
            "slices": {"start": "2025-01-01", "step": "400d", "granularity": "1d", "format": "%Y-%m-%d",
                       "start_param": "from", "end_param": "to"},
            "cursor_field": "at",
            "lookback": "1d",
        },
        "destination": {"type": "duckdb", "table": "rows", "write_disposition": "merge", "primary_key": ["id"]},
    }  # fmt: skip
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "parts.json").write_text(json.dumps(config))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2] / "plugins"),
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW_CONN_SHOP": api.url,
    }
    asked = []
    for _ in range(2):
        api.requests.clear()
        command = [sys.executable, "-m", "dataforge", "run", str(folder / "parts.json")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        asked.append(min(request.query["from"] for request in api.requests))
        rows.append({"id": 99, "region": "eu", "at": (base + timedelta(days=5)).isoformat()})
    assert asked == ["2025-01-01", "2025-01-05"]
    database = tmp_path / "home" / "dataforge" / "output" / "warehouse.duckdb"
    with duckdb.connect(str(database), read_only=True) as con:
        found = con.execute('SELECT id, region FROM "rows" ORDER BY id').fetchall()
    assert found == [(0, "eu"), (1, "us"), (2, "eu"), (3, "us"), (4, "eu"), (5, "us"), (99, "eu")]
