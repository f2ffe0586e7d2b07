"""Jobs with their streams, and chats."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.web.conftest import CONFIG, REQUEST, STEPS, Web, serving

from dataforge.store import jobs
from dataforge.store.database import open_store
from dataforge.store.schema import JOBS

GENERATE = {"kind": "generate", "request": REQUEST}
LONG: Any = ['{"transforms"', 30.0, ": []}"]
"""An answer that pauses for half a minute."""


def begun(web: Web, body: dict[str, Any], **more: str) -> str:
    found = web.ask("POST", "/jobs", body, **more)
    assert found.status_code == 202, found.text
    return str(found.json()["id"])


def until(web: Web, job: str, kind: str) -> None:
    """Wait until a job has said that."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(event.kind == kind for event in jobs.events(open_store(), job)):
            return
        time.sleep(0.005)
    raise AssertionError(f"the job never said {kind}")


def test_a_draft_streams_in_and_the_stream_goes_on_where_it_was_lost(web: Web) -> None:
    model = web.model(STEPS)
    job = begun(web, GENERATE | {"params": {"schedule": "@daily"}})
    said = web.events(job)
    assert [number for number, _, _ in said] == list(range(1, len(said) + 1))
    kinds = [kind for _, kind, _ in said]
    assert (kinds[:2], kinds[-1], "text" in kinds) == (["queued", "running"], "done", True)
    assert "".join(data["text"] for _, kind, data in said if kind == "text") == STEPS
    draft = said[-1][2]
    assert (draft["status"], draft["config"]["schedule"]) == ("valid", "@daily")
    assert draft["trace"]
    assert draft["text"].startswith("{")
    assert str(web.folder) not in str(draft)
    assert web.events(job, Last_Event_ID="2") == said[2:]
    assert web.ask("GET", f"/jobs/{job}/events", Last_Event_ID=str(len(said))).status_code == 204
    assert web.ask("GET", f"/jobs/{job}").json()["result"] == draft
    assert len(model.calls) == 1
    for path in (f"/jobs/{job}", f"/jobs/{job}/events"):
        assert web.ask("GET", path, name="otto").status_code == 404
    assert web.ask("POST", f"/jobs/{job}/cancel", name="otto").status_code == 404
    assert web.ask("GET", "/jobs", name="otto").json() == {"jobs": []}
    usage = web.ask("GET", "/usage").json()["usage"]
    assert [one["calls"] for one in usage] == [1]


def test_refine_repair_and_explain_are_jobs_too_and_work_without_a_model(web: Web) -> None:
    refined = web.events(begun(web, {"kind": "refine", "request": "Run it daily at 6", "file": "sales.json"}))[-1]
    assert refined[2]["config"]["schedule"] == "0 6 * * *", refined
    broken = CONFIG.replace('"filter"', '"filtr"')
    repaired = web.events(begun(web, {"kind": "repair", "text": broken, "file": "sales.json"}))[-1]
    assert (repaired[1], repaired[2]["status"]) == ("done", "valid")
    told = web.events(begun(web, {"kind": "explain", "file": "sales.json"}))[-1]
    assert "cents > 100" in told[2]["text"]
    failed = web.ask("POST", "/jobs", {"kind": "refine", "request": "Run it daily", "file": "none.json"})
    assert failed.status_code == 404


def test_a_job_that_can_not_be_done_says_why(web: Web) -> None:
    job = begun(web, {"kind": "refine", "request": "Run it daily", "text": '{"dag_id": "sales", }'})
    kind, data = web.events(job)[-1][1:]
    assert (kind, data["code"], data["status"]) == ("failed", "syntax-error", 422)


def test_a_job_is_cancelled_and_frees_its_model(web: Web) -> None:
    model = web.model(LONG)
    job = begun(web, GENERATE)
    until(web, job, "running")
    assert web.ask("POST", f"/jobs/{job}/cancel").status_code == 202
    assert web.events(job)[-1][1] == "cancelled"
    assert web.ask("GET", f"/jobs/{job}").json()["state"] == "cancelled"
    assert model.closed or not model.calls


def test_a_person_has_two_jobs_at_work_and_a_repeated_key_begins_none(web: Web) -> None:
    web.model(LONG)
    first = begun(web, GENERATE, Idempotency_Key="once")
    assert begun(web, GENERATE, Idempotency_Key="once") == first
    second = begun(web, GENERATE)
    third = web.ask("POST", "/jobs", GENERATE)
    assert (third.status_code, third.json()["code"]) == (429, "too-many-jobs")
    for job in (first, second):
        web.ask("POST", f"/jobs/{job}/cancel")
        assert web.events(job)[-1][1] == "cancelled"


def test_a_restart_loses_no_finished_draft_and_tells_of_unfinished_ones(
    web: Web, auth: Callable[[str, str], str]
) -> None:
    web.model(STEPS)
    job = begun(web, GENERATE)
    said = web.events(job)
    with serving(web.folder, auth) as other:
        other.model(LONG)
        cut = begun(other, GENERATE)
        until(other, cut, "running")
    lost = jobs.begin(open_store(), "ada", "generate", {})
    assert lost is not None
    with open_store().transaction() as connection:  # its process was killed a while ago
        connection.execute(update(JOBS).where(JOBS.c.id == lost.id).values(beat_at=lost.beat_at - timedelta(hours=1)))
    with serving(web.folder, auth) as restarted:
        assert restarted.events(job) == said
        assert restarted.events(cut)[-1][1] == "interrupted"
        assert restarted.events(lost.id)[-1][1] == "interrupted"


def test_a_stream_hears_a_job_of_another_process(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataforge.web.streams.OTHERS_SECONDS", 0.05)
    store = open_store()
    found = [jobs.begin(store, name, "generate", {}) for name in ("ada", "otto")]
    first, second = (one.id for one in found if one is not None)
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(web.events, first), pool.submit(web.events, second, name="otto")]
        until_open(web, {first, second})
        jobs.say(store, first, [("text", {"text": "hello"})], "running")
        jobs.end(store, first, "done", {"status": "valid"})
        jobs.end(store, second, "cancelled", None)
        kinds = [[kind for _, kind, _ in one.result(timeout=10)] for one in streams]
    assert kinds == [["queued", "text", "done"], ["queued", "cancelled"]]


def until_open(web: Web, wanted: set[str]) -> None:
    """Wait until there are streams of these jobs."""
    deadline = time.monotonic() + 10
    while not wanted <= set(web.app.state.news._ears):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_jobs_begin_in_the_order_in_which_they_came_and_one_in_line_is_cancelled_at_once(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.model(LONG, STEPS)
    monkeypatch.setattr(web.app.state.runner, "_free", 1)
    at_work = begun(web, GENERATE)
    until(web, at_work, "running")
    waiting, last = begun(web, GENERATE), begun(web, GENERATE, name="otto")
    web.ask("POST", f"/jobs/{waiting}/cancel")
    assert [kind for _, kind, _ in web.events(waiting)] == ["queued", "cancelled"]
    assert web.ask("GET", f"/jobs/{last}", name="otto").json()["state"] == "queued"
    web.ask("POST", f"/jobs/{at_work}/cancel")
    assert web.events(at_work)[-1][1] == "cancelled"
    assert web.events(last, name="otto")[1][1] == "running"


def test_a_silent_stream_gives_signs_of_life(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataforge.web.streams.BEAT_SECONDS", 0.1)
    web.model(['{"transforms"', 0.5, ": []}"])
    job = begun(web, GENERATE)
    assert "\n: at work\n\n" in web.ask("GET", f"/jobs/{job}/events").text


def test_a_chat_is_its_persons_own_and_keeps_what_jobs_said(web: Web) -> None:
    web.model(STEPS)
    chat = web.ask("POST", "/chats", {"title": "Sales"}).json()["id"]
    web.events(begun(web, GENERATE | {"chat": chat}))
    told = web.ask("GET", f"/chats/{chat}/messages").json()["messages"]
    assert (told[0]["role"], told[0]["text"]) == ("user", REQUEST)
    assert told[1]["role"] == "assistant"
    assert told[1]["details"]["result"]["status"] == "valid"
    assert web.ask("POST", f"/chats/{chat}/messages", {"text": "a note of mine"}).status_code == 201
    assert [one["id"] for one in web.ask("GET", "/chats").json()["chats"]] == [chat]
    assert web.ask("GET", "/chats", name="otto").json() == {"chats": []}
    for method, path, body in (
        ("GET", f"/chats/{chat}/messages", None), ("POST", f"/chats/{chat}/messages", {"text": "let me in please"}),
        ("DELETE", f"/chats/{chat}", None), ("POST", "/jobs", GENERATE | {"chat": chat}),
    ):  # fmt: skip
        assert web.ask(method, path, body, name="otto").status_code == 404, path
    assert web.ask("DELETE", f"/chats/{chat}").status_code == 204
    assert web.ask("GET", f"/chats/{chat}/messages").status_code == 404
