"""The web API in a real Airflow API server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from tests.airflow.conftest import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]
API = "/dataforge/api/v1"


def test_pipelines_are_listed_with_a_token_and_to_nobody_without(
    airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    airflow.put("listed.json", numbers("listed", owner="ada"))
    (found,) = [one for one in airflow.api.get(f"{API}/pipelines")["pipelines"] if one["dag_id"] == "listed"]
    assert (found["valid"], found["owner"], found["delivery"][0]["letter"]) == (True, "ada", "E")
    assert airflow.api.get(f"{API}/ready") == {"status": "ok"}

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(f"{airflow.api.base}{API}/pipelines", timeout=30)
    assert refused.value.code == 401
    assert json.loads(refused.value.read())["code"] == "not-signed-in"
    assert refused.value.headers["content-type"] == "application/problem+json"


def test_what_is_deployed_over_the_api_is_picked_up_by_airflow(
    airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    body = json.dumps({"text": json.dumps(numbers("by_api", description="first")), "reason": "a try"}).encode()
    headers = {**airflow.api.headers, "If-None-Match": "*"}
    request = urllib.request.Request(f"{airflow.api.base}{API}/configs/by_api.json", body, headers, method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        done = json.loads(answer.read())
        assert answer.headers["etag"] == f'"{done["digest"]}"'
    assert done["status"] == "deployed"
    airflow.until("the DAG of the API", lambda: (airflow.dag("by_api") or {}).get("description") == "first")
    events = airflow.api.post(f"{API}/jobs", {"kind": "explain", "file": "by_api.json"})["id"]
    stream = urllib.request.Request(f"{airflow.api.base}{API}/jobs/{events}/events", headers=airflow.api.headers)
    with opener.open(stream, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = answer.read().decode()
    assert "event: done" in text
