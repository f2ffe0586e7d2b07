"""The session that is made without Airflow equals the one of the http provider's hook."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataforge.components.base import Connection
from dataforge.runtime.connections import parse
from dataforge.sources._http_session import _plain_session, is_plain, open_session

CONNECTIONS = [
    "http://api.example.org",
    "http://user:p%40ss@api.example.org:8080/https",
    {"conn_type": "http", "host": "https://api.example.org/base", "extra": {"X-Key": "v", "Authorization": "Bearer t"}},
    {"conn_type": "http", "host": "api.example.org", "schema": "https", "port": 444, "login": "u", "password": "p"},
]


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("value", CONNECTIONS, ids=range(len(CONNECTIONS)))
def test_auth_headers_and_base_url_are_those_of_the_hook(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    monkeypatch.setenv("AIRFLOW_CONN_API", text(value))
    hook = HttpHook(http_conn_id="api")
    expected = hook.get_conn()
    session, base = _plain_session(parse("api", text(value)))
    assert base == hook.base_url
    found = vars(expected.auth) if expected.auth else {}
    auth = (found["username"], found["password"]) if found else None
    assert session.auth == auth
    assert dict(session.headers) == dict(expected.headers)


@pytest.mark.parametrize("extra", [{"verify": False}, {"proxies": {"http": "http://p"}}, {"X-Count": 3}])
def test_what_only_the_hook_understands_goes_to_the_hook(extra: dict[str, Any]) -> None:
    assert not is_plain(Connection("api", host="api.example.org", extra=extra))


def test_a_connection_that_a_source_made_is_taken_as_it_is_in_a_task_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SHOP", text({"conn_type": "http", "host": "shop.example", "extra": {"X-Key": "v"}})
    )
    monkeypatch.setitem(sys.modules, "airflow.sdk", importlib.import_module("airflow.sdk"))
    store = Connection("shop", "http", "https://store.example")
    session, base = open_session(store, None, made=True)
    assert base == "https://store.example"
    assert "X-Key" not in session.headers
    assert open_session(store, None)[1] == "http://shop.example"


def test_airflow_stays_out_of_a_process_that_needs_none() -> None:
    code = (
        "import sys\nfrom dataforge.components.base import Connection\n"
        "from dataforge.sources._http_session import open_session\n"
        "open_session(Connection('api', host='api.example.org'), None)\nsys.exit('airflow' in sys.modules)"
    )
    plugins = Path(__file__).parents[2] / "plugins"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(plugins)}, check=False)
    assert done.returncode == 0
