"""DataForge in a real Airflow: dag-processor, scheduler, API server and triggerer, asked through the REST API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from tests.airflow.conftest import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

Numbers = Callable[..., dict[str, Any]]


def derive(**columns: str) -> list[dict[str, Any]]:
    return [{"type": "derive", "columns": columns}]


def test_the_mounted_plugin_is_loaded_once_and_without_errors(airflow: Airflow) -> None:
    plugins = airflow.api.get("/api/v2/plugins?limit=100")["plugins"]
    assert [plugin["source"] for plugin in plugins if plugin["name"] == "dataforge"] == [
        "$PLUGINS_FOLDER/dataforge_plugin.py"
    ]
    assert airflow.api.get("/api/v2/plugins/importErrors")["import_errors"] == []


def test_a_config_shows_up_changes_breaks_is_mended_and_goes_away(airflow: Airflow, numbers: Numbers) -> None:
    name = "watched.json.py"
    path = airflow.put("watched.json", numbers("watched", description="first"))
    airflow.until("the new DAG", lambda: (airflow.dag("watched") or {}).get("description") == "first")
    airflow.put("watched.json", numbers("watched", description="second"))
    airflow.until("the change", lambda: (airflow.dag("watched") or {}).get("description") == "second")
    airflow.put("watched.json", '{\n  "dag_id": "watched",\n  "sorce": {"type": "csv"},\n  "destination": {}\n}')
    text = airflow.until("the import error", lambda: airflow.errors().get(name))
    assert "watched.json:3:3: unknown key 'sorce' (did you mean 'source'?)" in text
    airflow.put("watched.json", numbers("watched", description="third"))
    airflow.until("the end of the import error", lambda: name not in airflow.errors())
    airflow.until("the mended DAG", lambda: (airflow.dag("watched") or {}).get("description") == "third")
    path.unlink()
    airflow.until("the DAG's end", lambda: airflow.dag("watched") is None)


def test_each_invalid_file_has_an_import_error_of_its_own_and_hides_no_other(
    airflow: Airflow, numbers: Numbers
) -> None:
    made = [
        airflow.put("good.json", numbers("good")),
        airflow.put("twin.json", numbers("good")),
        airflow.put("syntax.json", '{"dag_id": "syntax",, }'),
        airflow.put("unknown.json", numbers("unknown", transforms=[{"type": "renme", "columns": {}}])),
    ]
    names = {"twin.json.py", "syntax.json.py", "unknown.json.py"}
    airflow.until("three import errors", lambda: names <= airflow.errors().keys())
    errors = airflow.errors()
    assert "syntax.json:1:" in errors["syntax.json.py"]
    assert "renme" in errors["unknown.json.py"]
    assert "'good.json', which stays in force" in errors["twin.json.py"]
    airflow.until("the good DAG", lambda: airflow.dag("good"))
    for path in made:
        path.unlink()
    airflow.until("no import errors", lambda: not airflow.errors())


def test_a_run_moves_rows_and_leaves_only_manifests_in_xcom(airflow: Airflow, numbers: Numbers) -> None:
    airflow.put("plain.json", numbers("plain", transforms=[{"type": "filter", "where": "n > 1"}]))
    run = airflow.trigger("plain")
    assert airflow.rows("plain") == [(2, "two"), (3, "three")]
    for task in ("extract", "transform", "load"):
        path = f"/api/v2/dags/plain/dagRuns/{run}/taskInstances/{task}/xcomEntries"
        assert [entry["key"] for entry in airflow.api.get(path)["xcom_entries"]] == ["return_value"]
        value = json.dumps(airflow.api.get(f"{path}/return_value")["value"])
        assert len(value.encode()) <= 2_048
        assert "three" not in value
    assert not any((airflow.home / "dataforge" / "staging").rglob("*.parquet")), "staging is empty after success"


def test_a_fused_run_moves_the_same_rows(airflow: Airflow, numbers: Numbers) -> None:
    airflow.put("fused.json", numbers("fused", execution="fused"))
    airflow.trigger("fused")
    assert airflow.rows("fused") == [(1, "one"), (2, "two"), (3, "three")]


def test_text_that_looks_like_a_template_comes_out_as_it_stands(airflow: Airflow, numbers: Numbers) -> None:
    text = "{{ ds }} {% raw %} {{ var.value.secret }}"
    airflow.put(
        "verbatim.json",
        numbers("verbatim", description=text, tags=[text], owner=text, transforms=derive(t=f"'{text}'")),
    )
    airflow.trigger("verbatim")
    assert [row[-1] for row in airflow.rows("verbatim")] == [text] * 3
    found = airflow.dag("verbatim")
    assert found is not None
    assert found["description"] == text
    assert text in [tag["name"] for tag in found["tags"]]
    assert text in found["doc_md"]
    assert '"n"' in found["doc_md"] or "SELECT" in found["doc_md"]


def test_run_parameters_are_checked_by_airflow_and_reach_the_query(airflow: Airflow, numbers: Numbers) -> None:
    import urllib.error

    params = {"least": {"type": "integer", "default": 3, "maximum": 3}}
    airflow.put(
        "param.json", numbers("param", params=params, transforms=[{"type": "filter", "where": "n >= ${params.least}"}])
    )
    airflow.trigger("param", least=2)
    assert airflow.rows("param") == [(2, "two"), (3, "three")]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        airflow.api.post("/api/v2/dags/param/dagRuns", {"logical_date": None, "conf": {"least": 4}})


def test_a_run_keeps_the_config_it_began_with_when_it_is_repeated(airflow: Airflow, numbers: Numbers) -> None:
    airflow.put("pinned.json", numbers("pinned", description="v1", transforms=derive(v="'v1'")))
    run = airflow.trigger("pinned")
    airflow.put("pinned.json", numbers("pinned", description="v2", transforms=derive(v="'v2'")))
    airflow.until("the new config", lambda: (airflow.dag("pinned") or {}).get("description") == "v2")
    airflow.trigger("pinned")
    assert {row[-1] for row in airflow.rows("pinned")} == {"v2"}
    airflow.api.post(f"/api/v2/dags/pinned/dagRuns/{run}/clear", {"dry_run": False})
    airflow.wait("pinned", run)
    assert {row[-1] for row in airflow.rows("pinned")} == {"v1"}
    versions = airflow.api.get("/api/v2/dags/pinned/dagVersions")["dag_versions"]
    assert len(versions) == 2


def test_ten_parses_of_an_unchanged_config_make_no_new_version(airflow: Airflow, numbers: Numbers) -> None:
    airflow.put(
        "steady.json",
        numbers("steady", schedule={"any": [{"asset": "a/b"}, {"asset": "c/d"}]}, params={"b": 1, "a": 2}),
    )
    airflow.trigger("steady")
    for _ in range(10):
        before = (airflow.dag("steady") or {})["last_parsed_time"]
        token = (airflow.dag("steady") or {})["file_token"]
        airflow.api._send("PUT", f"/api/v2/parseDagFile/{token}", b"{}")
        airflow.until("another parse", lambda: (airflow.dag("steady") or {}).get("last_parsed_time") != before)  # noqa: B023
    assert len(airflow.api.get("/api/v2/dags/steady/dagVersions")["dag_versions"]) == 1


def test_a_pipeline_runs_when_another_one_has_loaded_its_table(airflow: Airflow, numbers: Numbers) -> None:
    airflow.put("second.json", numbers("second", schedule={"asset": _asset(numbers("first"))}))
    airflow.put("first.json", numbers("first"))
    airflow.until("the second DAG", lambda: airflow.dag("second"))
    airflow.trigger("first")
    path = "/api/v2/dags/second/dagRuns"
    (run,) = airflow.until("the run of the second pipeline", lambda: airflow.api.get(path)["dag_runs"])
    assert run["run_type"] == "asset_triggered"
    airflow.wait("second", run["dag_run_id"])
    assert len(airflow.rows("second")) == 3


def test_a_failing_run_says_why_without_a_retry(airflow: Airflow, numbers: Numbers) -> None:
    from scripts import demo

    data = numbers(
        "failing", default_args={"retries": 5, "retry_delay": "1h"}, checks=[{"type": "row_count", "min": 100}]
    )
    airflow.put("failing.json", data)
    airflow.until("the DAG", lambda: airflow.dag("failing"))
    run = airflow.api.post("/api/v2/dags/failing/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]
    airflow.until("its failure", lambda: airflow.api.get(f"/api/v2/dags/failing/dagRuns/{run}")["state"] == "failed")
    text = demo.failed_log(airflow.api, "failing", run)
    assert text.startswith("task transform:")
    assert "100" in text
    assert not (airflow.output / "failing").exists()


def _asset(data: dict[str, Any]) -> str:
    """Return the short form of the asset that the pipeline's destination writes."""
    from dataforge.config.pipeline import parse

    uri = parse(data).outputs[0].asset()
    assert uri is not None
    return uri.removeprefix("dataforge://")


def test_a_scheduler_that_is_killed_is_started_again_and_runs_go_on(airflow: Airflow, numbers: Numbers) -> None:
    airflow.put("goes_on.json", numbers("goes_on"))
    (scheduler,) = [one for one in psutil.Process().children() if one.cmdline()[-1:] == ["scheduler"]]
    scheduler.kill()
    airflow.trigger("goes_on")
    assert sorted(airflow.rows("goes_on")) == [(1, "one"), (2, "two"), (3, "three")]
