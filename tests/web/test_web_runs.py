"""Pipelines at work: what Airflow's tables say of them, run now, pause, parse status, repairs of failed runs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.web.conftest import CANARY, CONFIG, Web

from dataforge.store import audit
from dataforge.store.database import open_store
from dataforge.web import observed

NOW = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
Parse = Callable[..., None]


@pytest.fixture
def parse(web: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parse]:
    """Let Airflow parse pipelines of the folder, as its DAG processor does; its tables are empty again afterwards."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.db import synchronize_log_template
    from airflow.utils.session import create_session
    from sqlalchemy import text

    from dataforge.config.files import read_folder
    from dataforge.dag_factory.stub import dag

    monkeypatch.setattr(observed, "FRESH_SECONDS", 0)
    monkeypatch.setattr(observed, "REST", 0)
    bundles: Any = DagBundlesManager
    bundles().sync_bundles_to_db()
    synchronize_log_template()

    def do(*dag_ids: str, made: Iterable[Any] = ()) -> None:
        with create_session(scoped=False) as session:  # Airflow writes a DAG again only after a while
            session.execute(text("update serialized_dag set last_updated = '2026-01-01 00:00:00'"))
        bag = DagBag(collect_dags=False, bundle_name="dags-folder")
        for one in read_folder(web.folder).pipelines:
            if one.config.dag_id in dag_ids:
                made = [*made, dag(one.file.name, json.dumps(one.data, indent=2))]
        for each in made:
            each.fileloc, each.relative_fileloc = __file__, f"{each.dag_id}.json.py"
            bag.bag_dag(each)
        sync_bag_to_db(bag, "dags-folder", None)
        with create_session(scoped=False) as session:
            session.execute(text("update dag set is_paused = false"))

    yield do
    with create_session(scoped=False) as session:
        for table in ("xcom", "task_instance", "dag_run", "serialized_dag", "dag_code", "dag_version", "import_error",
                      "log", "dag"):  # fmt: skip
            session.execute(text(f"delete from {table}"))


def ran(
    dag_id: str, run_id: str, state: str, number: int, key: str = "return_value", **counted: dict[str, Any]
) -> None:
    """Let Airflow's tables say that a run ended, its tasks with what they returned."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    began = NOW + timedelta(hours=number)
    with create_session(scoped=False) as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        run.state = state
        run.run_after, run.start_date, run.end_date = began, began, began + timedelta(seconds=9)
        for task in session.scalars(
            select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        ):
            task.state, task.try_number, task.duration = state, 1, 2.5
            if task.task_id in counted:
                value = counted[task.task_id]
                session.add(XComModel(
                    dag_run_id=run.id, task_id=task.task_id, key=key, dag_id=dag_id, run_id=run_id,
                    map_index=-1, value=value,
                ))  # fmt: skip


def run_now(web: Web, dag_id: str = "sales", **body: Any) -> str:
    """Start a run and return its id."""
    found = web.ask("POST", f"/pipelines/{dag_id}/runs", body)
    assert found.status_code == 201, found.text
    return str(found.json()["run_id"])


def test_a_pipeline_that_airflow_does_not_know_yet_is_told_so(web: Web, parse: Parse) -> None:
    (listed,) = web.ask("GET", "/pipelines").json()["pipelines"]
    assert (listed["parsed"], listed["paused"], listed["last_run"], listed["runs"]) == (False, None, None, [])
    assert web.ask("GET", "/pipelines/sales/runs").json() == {"runs": []}
    status = web.ask("GET", "/pipelines/sales/status").json()
    assert status == {"parsed": False, "current": False, "import_error": None, "paused": None, "version": None}
    for path, body in (("runs", {}), ("pause", {"paused": True})):
        refused = web.ask("POST", f"/pipelines/sales/{path}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "not-parsed")


def test_a_run_is_started_counted_and_shown_in_the_list(web: Web, parse: Parse) -> None:
    parse("sales")
    first, second = run_now(web), run_now(web)
    report = {"rows": 5, "bytes": 70, "rejected": 4, "schema_changes": {"__classname__": "builtins.tuple"}}
    ran("sales", first, "success", 1,
        extract={"url": "x", "digest": "y", "rows": 9, "bytes": 90, "parts": 1, "rows_read": 10, "rejected": 1},
        transform={"url": "x", "digest": "z", "rows": 6, "bytes": 60, "parts": 1, "rows_read": 10, "rejected": 3},
        load=report)  # fmt: skip
    ran("sales", second, "failed", 2)
    newest, oldest = web.ask("GET", "/pipelines/sales/runs").json()["runs"]
    assert (newest["run_id"], newest["state"], newest["rows_out"]) == (second, "failed", None)
    assert (oldest["seconds"], oldest["run_type"]) == (9.0, "manual")
    assert (oldest["rows_in"], oldest["rows_out"], oldest["rejected"]) == (10, 5, 4)
    keys = ("task_id", "rows_in", "rows", "rejected", "bytes")
    assert [tuple(one[key] for key in keys) for one in oldest["stages"]] == [
        ("extract", 10, 9, 1, 90), ("transform", 9, 6, 2, 60), ("load", 6, 5, 1, 70),
    ]  # fmt: skip
    assert {(one["state"], one["seconds"], one["try_number"]) for one in oldest["stages"]} == {("success", 2.5, 1)}
    (listed,) = web.ask("GET", "/pipelines").json()["pipelines"]
    assert (listed["last_run"]["run_id"], listed["runs"]) == (second, ["failed", "success"])
    age = (datetime.now(timezone.utc) - NOW - timedelta(hours=1, seconds=9)).total_seconds()
    assert listed["freshness_seconds"] == pytest.approx(age, abs=30)


def test_a_fused_run_tells_what_its_one_task_counted(web: Web, parse: Parse) -> None:
    fused = CONFIG.replace('"owner"', '"execution": "fused",\n  "owner"')
    (web.folder / "sales.json").write_text(fused, encoding="utf-8")
    parse("sales")
    report = {"rows": 5, "bytes": 70, "rejected": 1}
    ran("sales", run_now(web), "success", 1, extract_transform_load={"loads": [report, report], "rows_read": 6})
    (run,) = web.ask("GET", "/pipelines/sales/runs").json()["runs"]
    assert (run["rows_in"], run["rows_out"], run["rejected"], run["stages"][0]["bytes"]) == (6, 5, 1, 140)


def test_the_list_of_many_pipelines_needs_as_many_queries_as_that_of_one(web: Web, parse: Parse) -> None:
    from sqlalchemy import event

    from airflow import settings

    engine: Any = settings.engine
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))
    web.ask("GET", "/pipelines")
    one = len(asked)
    for number in range(40):
        (web.folder / f"p{number}.json").write_text(CONFIG.replace('"sales",', f'"p{number}",', 1), encoding="utf-8")
    parse("sales", "p1", "p2")
    asked.clear()
    assert len(web.ask("GET", "/pipelines").json()["pipelines"]) == 41
    assert len(asked) == one


def test_a_run_with_params_that_do_not_fit_is_refused_and_one_by_a_repeated_key_starts_once(
    web: Web, parse: Parse
) -> None:
    with_param = CONFIG.replace('"owner"', '"params": {"least": {"type": "integer", "default": 100}},\n  "owner"')
    (web.folder / "sales.json").write_text(with_param, encoding="utf-8")
    parse("sales")
    for given in ({"least": "many"}, {"other": 1}):
        refused = web.ask("POST", "/pipelines/sales/runs", {"params": given})
        assert refused.status_code == 422
        assert refused.json()["problems"][0]["pointer"].startswith("/params")
    keyed = [web.ask("POST", "/pipelines/sales/runs", {"params": {"least": 5}}, Idempotency_Key="k") for _ in range(2)]
    assert [one.status_code for one in keyed] == [201, 201]
    assert keyed[0].json()["run_id"] == keyed[1].json()["run_id"]
    assert len(web.ask("GET", "/pipelines/sales/runs").json()["runs"]) == 1


def test_a_paused_pipeline_is_not_run_unless_that_unpauses_it_and_airflow_s_audit_tells_who(
    web: Web, parse: Parse
) -> None:
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    parse("sales")
    assert web.ask("POST", "/pipelines/sales/pause", {"paused": True}).json() == {"paused": True}
    assert web.ask("GET", "/pipelines/sales/status").json()["paused"] is True
    refused = web.ask("POST", "/pipelines/sales/runs", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "paused")
    run_id = run_now(web, unpause=True)
    assert web.ask("GET", "/pipelines").json()["pipelines"][0]["paused"] is False
    with create_session(scoped=False) as session:
        noted = session.execute(select(Log.event, Log.dag_id, Log.owner, Log.run_id).order_by(Log.id)).all()
    assert [tuple(one) for one in noted] == [
        ("patch_dag", "sales", "ada", None), ("trigger_dag_run", "sales", "ada", run_id),
    ]  # fmt: skip
    ours = [(one.actor, one.action, one.subject, one.detail) for one in audit.entries(open_store())]
    assert ours == [("ada", "run", "sales", {"run_id": run_id}), ("ada", "pause", "sales", {})]


def test_after_a_deploy_the_status_tells_when_airflow_has_parsed_that_very_text(web: Web, parse: Parse) -> None:
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session

    parse("sales")
    before = web.ask("GET", "/configs/sales.json").json()["digest"]
    told = web.ask("GET", f"/pipelines/sales/status?digest={before}").json()
    assert (told["parsed"], told["current"], told["version"]) == (True, True, 1)
    changed = CONFIG.replace("100", "200")
    done = web.ask("PUT", "/configs/sales.json", {"text": changed}, If_Match=f'"{before}"').json()
    for digest in (done["digest"], before, ""):
        assert web.ask("GET", f"/pipelines/sales/status?digest={digest}").json()["current"] is False
    parse("sales")
    assert web.ask("GET", f"/pipelines/sales/status?digest={done['digest']}").json()["current"] is True
    assert web.ask("GET", f"/pipelines/sales/status?digest={before}").json()["current"] is False
    trace = f'Traceback (most recent call last):\n  File "{web.folder}/x.py"\nNameError: no x\n'
    with create_session(scoped=False) as session:
        session.add(ParseImportError(filename="sales.json.py", bundle_name="dags-folder", stacktrace=trace))
    told = web.ask("GET", "/pipelines/sales/status").json()
    assert told["import_error"] == "NameError: no x"
    assert web.ask("GET", "/pipelines").json()["pipelines"][0]["import_error"] == told["import_error"]


def test_runs_are_shown_to_those_alone_who_may_read_runs(
    web: Web, parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    parse("sales")
    run_id = run_now(web)
    ran("sales", run_id, "success", 1, load={"rows": 5, "rejected": 0})
    hidden: set[str] = set()
    monkeypatch.setattr(
        SimpleAuthManager, "is_authorized_dag",
        lambda self, *, access_entity=None, **_: getattr(access_entity, "name", "") not in hidden,
    )  # fmt: skip
    hidden.add("XCOM")
    (seen,) = web.ask("GET", "/pipelines/sales/runs").json()["runs"]
    assert [one["rows"] for one in seen["stages"]] == [None, None, None]
    hidden.add("TASK_INSTANCE")
    assert web.ask("GET", "/pipelines/sales/runs").json()["runs"][0]["stages"] == []
    hidden.add("RUN")
    assert web.ask("GET", "/pipelines/sales/runs").status_code == 403
    assert web.ask("POST", "/pipelines/sales/runs", {}).status_code == 403
    (listed,) = web.ask("GET", "/pipelines").json()["pipelines"]
    assert (listed["parsed"], listed["last_run"], listed["runs"], listed["freshness_seconds"]) == (True, None, [], None)


# ---------------------------------------------------------------------------------------- dead letters, checks, repair

STRAINED = {
    "dag_id": "strained",
    "source": {"type": "csv", "path": "strained.csv", "columns": {"cents": "integer"}},
    "transforms": [{"type": "derive", "columns": {"euro": "cents / 100"}}],
    "destination": {"type": "duckdb", "table": "strained"},
    "dead_letters": {"max_share": 1},
}


@pytest.fixture
def strained(web: Web) -> Web:
    """A pipeline whose run set two records aside."""
    from dataforge.config.pipeline import parse as parsed
    from dataforge.runtime import extract, load, transform
    from dataforge.runtime.context import local

    rows = "id,email,cents\n1,ada@example.com,100\n2,bob@example.com,many\n3,eve@example.com,few\n"
    (web.folder / "strained.csv").write_text(rows, encoding="utf-8")
    (web.folder / "strained.json").write_text(json.dumps(STRAINED), encoding="utf-8")
    config = parsed(STRAINED)
    context = local(config, {}, run_id="first")
    staged = transform.run(config, {"source": extract.run(config, "source", context)}, context)
    assert (staged["rows_read"], staged["rejected"]) == (3, 2)
    load.run(config, 0, staged, context)
    return web


@pytest.fixture
def worker(web: Web, parse: Parse) -> Iterator[list[dict[str, Any]]]:
    """Something that does what a worker does with errands, in a thread; the value is what it was asked."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from dataforge.dag_factory.maintenance import ANSWER, ERRAND_TASK, ERRANDS, errand, errands_dag
    from dataforge.errors import DataForgeError

    parse(made=[errands_dag()])
    asked: list[dict[str, Any]] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            with create_session(scoped=False) as session:
                queued = select(DagRun.run_id, DagRun.conf).where(DagRun.dag_id == ERRANDS, DagRun.state == "queued")
                found = session.execute(queued).all()
            for run_id, conf in found:
                asked.append(conf)
                try:
                    ran(ERRANDS, run_id, "success", 0, key=ANSWER, **{ERRAND_TASK: errand(conf)})
                except DataForgeError as error:
                    ran(ERRANDS, run_id, "failed", 0, key=ANSWER, **{ERRAND_TASK: {"error": str(error)}})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield asked
    ended.set()
    thread.join(10)


def test_dead_letters_are_shown_without_private_values_and_taken_back_in_once(
    strained: Web, worker: list[dict[str, Any]]
) -> None:
    path = "/pipelines/strained/dead-letters"
    listed = strained.ask("GET", path, name="vera", role="VIEWER").json()
    assert (listed["total"], listed["pending"]) == (2, 2)
    first, second = listed["letters"]
    assert (first["run_id"], first["stage"], first["destination"], first["replayed"]) == ("first", "extract", 1, False)
    assert "'many' is not exactly" in first["reason"]
    assert first["record"] == {"id": "2", "email": "***", "cents": "many"}
    page = strained.ask("GET", f"{path}?limit=1&offset=1").json()
    assert (page["total"], [one["id"] for one in page["letters"]]) == (2, [second["id"]])

    (strained.folder / "strained.json").write_text(json.dumps(STRAINED).replace("integer", "text").replace(
        "cents / 100", "coalesce(try_cast(cents as integer), 0)"), encoding="utf-8")  # fmt: skip
    done = strained.ask("POST", f"{path}/replay", {"ids": [first["id"]]})
    assert (done.status_code, done.json()) == (200, {"replayed": 1, "rejected": 0}), done.text
    assert [one["replayed"] for one in strained.ask("GET", path).json()["letters"]] == [True, False]
    again = strained.ask("POST", f"{path}/replay", {"ids": [first["id"]]})
    assert again.status_code == 422
    assert "none of these dead letters" in again.json()["detail"]
    assert strained.ask("POST", f"{path}/replay", {}).json() == {"replayed": 1, "rejected": 0}
    assert strained.ask("GET", path).json()["pending"] == 0
    assert [(one["errand"], one["dag_id"], one["actor"]) for one in worker] == [("replay", "strained", "ada")] * 3
    noted = audit.entries(open_store())[::-1]
    assert {one.subject for one in noted} == {"strained"}
    assert [one.action for one in noted] == ["replay", "replayed", "replay", "replay", "replayed"]
    assert (noted[1].detail["replayed"], noted[1].detail["rejected"]) == (1, 0)
    refused = strained.ask("POST", f"{path}/replay", {}, name="vera", role="VIEWER")
    assert refused.status_code == 403


def test_a_connection_is_checked_by_a_task_and_the_answer_holds_no_secret(
    web: Web, worker: list[dict[str, Any]], warehouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(conn_id: str, role: str = "USER") -> tuple[str, str]:
        begun = web.ask("POST", f"/connections/{conn_id}/check")
        assert begun.status_code == 202, begun.text
        found = begun.json()
        until = time.monotonic() + 30
        while found["state"] == "running" and time.monotonic() < until:
            time.sleep(0.05)
            found = web.ask("GET", f"/connections/{conn_id}/check", role=role).json()
        return found["state"], found["message"]

    assert web.ask("GET", "/connections/warehouse/check").json()["state"] == "unknown"
    state, message = checked("warehouse")
    assert (state, message.startswith("PostgreSQL ")) == ("ok", True)
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", f"postgres://shop:{CANARY}@127.0.0.1:1/shop?connect_timeout=2")
    state, message = checked("away", role="OP")
    assert (state, CANARY in message) == ("failed", False)
    assert "127.0.0.1" in message
    state, message = checked("away")
    assert (state, "127.0.0.1" in message) == ("failed", False)
    assert "could not be reached" in message
    assert checked("nowhere")[0] == "failed"
    assert "there is no Airflow connection 'nowhere'" in checked("nowhere")[1]
    for method in ("GET", "POST"):
        assert web.ask(method, "/connections/away/check", name="vera", role="VIEWER").status_code == 403


def test_without_our_dag_in_airflow_it_is_said_what_is_missing(web: Web, parse: Parse) -> None:
    refused = web.ask("POST", "/connections/shop_db/check")
    assert (refused.status_code, refused.json()["code"]) == (409, "no-errands")
    assert "dataforge_maintenance.py" in refused.json()["detail"]
    assert web.ask("GET", "/connections/shop_db/check").json()["state"] == "unknown"


def test_columns_are_traced_back_to_the_sources_with_the_steps_that_change_them(strained: Web) -> None:
    traced = strained.ask("GET", "/pipelines/strained/lineage", name="vera", role="VIEWER").json()["columns"]
    by_name = {one["column"]: one for one in traced}
    assert list(by_name) == ["id", "email", "cents", "euro"]
    assert by_name["euro"] == {
        "column": "euro", "type": "DOUBLE", "from": [{"source": "source", "column": "cents"}], "steps": [0],
    }  # fmt: skip
    assert (by_name["email"]["from"], by_name["email"]["steps"]) == ([{"source": "source", "column": "email"}], [])


def test_a_failed_run_is_repaired_from_its_masked_log(web: Web, parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.configuration import conf

    parse("sales")
    run_id = run_now(web)
    asked = {"kind": "repair", "dag_id": "sales", "run_id": run_id, "turns": 0}
    assert web.ask("POST", "/jobs", asked).status_code == 404  # nothing failed
    ran("sales", run_id, "failed", 1)
    folder = Path(conf.get("logging", "base_log_folder")) / "dag_id=sales" / f"run_id={run_id}" / "task_id=transform"
    folder.mkdir(parents=True)
    said = f"/transforms/0/where: column 'cents' is not known ({CANARY})"
    told = {
        "timestamp": "2026-01-05T13:00:00Z", "level": "error", "event": "Task failed with exception",
        "error_detail": [{"exc_type": "AirflowFailException", "exc_value": said, "is_cause": False, "frames": []}],
    }  # fmt: skip
    (folder / "attempt=1.log").write_text(json.dumps(told) + "\n", encoding="utf-8")
    job = web.ask("POST", "/jobs", asked)
    assert job.status_code == 202, job.text
    assert job.json()["file"] == "sales.json"
    (last,) = [data for _, kind, data in web.events(job.json()["id"]) if kind == "done"]
    assert last["failure"]["explanation"].startswith("The run failed: /transforms/0/where: column 'cents' is not known")
    assert {"unknown-column"} <= {one["code"] for one in last["findings"]}
    assert CANARY not in json.dumps(last)
    assert web.ask("POST", "/jobs", asked, name="vera", role="VIEWER").status_code == 403
