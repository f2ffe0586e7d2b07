"""A pipeline over the web API in a real Airflow: parsed, run, its dead letters replayed, a connection checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.airflow.conftest import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]
API = "/dataforge/api/v1"


def test_a_pipeline_is_parsed_run_counted_and_its_dead_letters_are_taken_back_in_by_a_task(
    airflow: Airflow, numbers: Callable[..., dict[str, Any]]
) -> None:
    (airflow.configs / "mixed.csv").write_text("n,word\n1,one\nx,two\n3,three\n")
    config = numbers(
        "at_work",
        source={"type": "csv", "path": "mixed.csv", "columns": {"n": "integer"}},
        destination={"type": "duckdb", "table": "at_work", "write_disposition": "append"},
        dead_letters={"max_share": 1},
    )
    airflow.put("at_work.json", config)
    here = f"{API}/pipelines/at_work"
    digest = airflow.until("the file", lambda: airflow.api.get(f"{API}/configs/at_work.json"))["digest"]
    status = airflow.until("its DAG", lambda: (s := airflow.api.get(f"{here}/status?digest={digest}"))["current"] and s)
    assert (status["parsed"], status["import_error"], status["version"]) == (True, None, 1)

    begun = airflow.api.post(f"{here}/runs", {"unpause": True})["run_id"]
    airflow.wait("at_work", begun)
    (run,) = airflow.api.get(f"{here}/runs")["runs"]
    assert (run["state"], run["rows_in"], run["rows_out"], run["rejected"]) == ("success", 3, 2, 1)
    stages = [(one["task_id"], one["rows"], one["rejected"], one["state"]) for one in run["stages"]]
    assert stages == [("extract", 2, 1, "success"), ("transform", 2, 0, "success"), ("load", 2, 0, "success")]
    assert all(one["seconds"] > 0 and one["bytes"] > 0 for one in run["stages"])
    listed = {one["dag_id"]: one for one in airflow.api.get(f"{API}/pipelines")["pipelines"]}["at_work"]
    assert (listed["last_run"]["run_id"], listed["parsed"], listed["runs"]) == (begun, True, ["success"])

    (letter,) = airflow.api.get(f"{here}/dead-letters")["letters"]
    assert letter["record"] == {"n": "x", "word": "two"}
    airflow.put("at_work.json", json.dumps(config).replace('"integer"', '"text"'))
    airflow.until("the errands DAG", lambda: airflow.dag("dataforge_errands"))
    assert airflow.api.post(f"{here}/dead-letters/replay", {"ids": [letter["id"]]}) == {"replayed": 1, "rejected": 0}
    assert airflow.api.get(f"{here}/dead-letters")["pending"] == 0
    assert sorted(word for _, word, *_ in airflow.rows("at_work")) == ["one", "three", "two"]

    made = {"connection_id": "itself", "conn_type": "http", "host": airflow.api.base}
    airflow.api.post("/api/v2/connections", made)
    airflow.api.post(f"{API}/connections/itself/check", {})
    found = airflow.until(
        "the check", lambda: (c := airflow.api.get(f"{API}/connections/itself/check"))["state"] != "running" and c
    )
    assert (found["state"], found["message"].startswith("the server answered ")) == ("ok", True), found
