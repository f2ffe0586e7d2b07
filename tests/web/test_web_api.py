"""The web API: who may do what, pipelines and configs, deploying, limits and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.web.conftest import BASE, CANARY, CONFIG, Web, serving
from tests.web.walk import operations

from dataforge.authoring.models import StoreLedger
from dataforge.gateway.base import Event, Usage
from dataforge.settings import get_settings
from dataforge.store import answers, limits, revisions
from dataforge.store.database import open_store
from dataforge.web.door import Door

CHANGED = CONFIG.replace("100", "200")


def test_a_change_by_cookie_comes_from_our_own_page_alone(web: Web) -> None:
    token = web.token("ada", "USER")

    def post(**headers: str) -> int:
        told = {"Cookie": f"_token={token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return int(web.client.post(f"{BASE}/check", json={"text": CONFIG}, headers=told).status_code)

    assert post() == 403
    assert post(X_DataForge_Request="1") == 200
    assert post(Origin="http://airflow.example") == 200
    assert post(Origin="http://evil.example", X_DataForge_Request="1") == 403
    assert post(Origin="null", X_DataForge_Request="1") == 403
    assert post(Sec_Fetch_Site="cross-site", X_DataForge_Request="1") == 403
    assert post(Origin="http://evil.example", Authorization=f"Bearer {token}") == 403
    assert web.client.get(f"{BASE}/me", headers={"Cookie": f"_token={token}"}).json()["name"] == "ada"


def test_rights_on_one_dag_are_no_rights_on_another(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def only_sales(self: Any, *, method: str, user: Any, details: Any = None, **_: Any) -> bool:
        return details is not None and details.id == "sales"

    (web.folder / "secret.json").write_text(CONFIG.replace('"sales"', '"hidden"'), encoding="utf-8")
    (web.folder / "broken.json").write_text('{"dag_id": "hidden2", "x": 1}', encoding="utf-8")
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", only_sales)
    monkeypatch.setattr(SimpleAuthManager, "get_authorized_dag_ids", lambda *_, **__: {"sales"})
    listed = web.ask("GET", "/pipelines").json()
    assert [one["dag_id"] for one in listed["pipelines"]] == ["sales"]
    assert listed["invalid"] == []
    for path in ("/pipelines/hidden", "/pipelines/hidden/sql", "/configs/secret.json", "/configs/secret.json/revisions",
                 "/configs/not_there.json", "/configs/broken.json"):  # fmt: skip
        assert web.ask("GET", path).status_code == 403, path
    other = CONFIG.replace('"sales"', '"other"')
    digest = web.ask("GET", "/configs/sales.json").headers["etag"]
    assert web.ask("PUT", "/configs/sales.json", {"text": other}, If_Match=digest).status_code == 403
    assert web.ask("PUT", "/configs/new.json", {"text": other}, If_None_Match="*").status_code == 403
    for path, body in (
        ("/preview", {"file": "secret.json"}), ("/plan", {"text": other}), ("/check", {"text": other}),
        ("/diff", {"file": "secret.json", "text": CONFIG}), ("/jobs", {"kind": "repair", "file": "secret.json"}),
        ("/jobs", {"kind": "explain", "text": other}),
    ):  # fmt: skip
        assert web.ask("POST", path, body).status_code == 403, path
    assert web.ask("PUT", "/configs/sales.json", {"text": CHANGED}, If_Match=digest).status_code == 200


def test_pipelines_are_listed_with_validity_findings_guarantee_and_owner(web: Web) -> None:
    (web.folder / "broken.json").write_text('{"dag_id": "broken",\n "sorce": {}}', encoding="utf-8")
    listed = web.ask("GET", "/pipelines").json()
    (sales,) = listed["pipelines"]
    assert (sales["dag_id"], sales["valid"], sales["owner"], sales["file"]) == ("sales", True, "ada", "sales.json")
    assert [one["letter"] for one in sales["delivery"]] == ["E"]
    (broken,) = listed["invalid"]
    assert {one["code"] for one in broken["findings"]} >= {"unknown-key"}
    assert {one["file"] for one in broken["findings"]} == {"broken.json"}
    told = web.ask("GET", "/pipelines/sales").json()
    assert (sales["may_edit"], sales["may_run"], told["may_edit"], told["may_run"]) == (True, True, True, True)
    assert "cents > 100" in told["words"]
    values = web.ask("GET", "/pipelines/sales/effective").json()["values"]
    assert {"pointer": "/owner", "value": "ada", "origin": "sales.json:3"} in values
    assert '"cents" > 100' in web.ask("GET", "/pipelines/sales/sql").json()["sql"]
    assert web.ask("GET", "/pipelines/none").status_code == 404
    assert str(web.folder) not in json.dumps([listed, told, values])


def test_each_pipeline_tells_what_this_person_may_do_with_it(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    both = CONFIG.replace('"sales"', '"${matrix.name}"').replace("{", '{"matrix": {"name": ["other", "third"]},', 1)
    (web.folder / "both.json").write_text(both, encoding="utf-8")
    everything = web.ask("GET", "/pipelines").json()
    assert [(one["may_edit"], one["may_run"]) for one in everything["pipelines"]] == [(True, True)] * 3, everything

    def two_of_three(self: Any, *, method: str, user: Any, details: Any = None, **_: Any) -> bool:
        return method == "GET" or details is None or details.id in ("sales", "other")

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", two_of_three)
    listed = {
        one["dag_id"]: (one["may_edit"], one["may_run"]) for one in web.ask("GET", "/pipelines").json()["pipelines"]
    }
    # saving the file of two pipelines changes both
    assert listed == {"sales": (True, True), "other": (False, True), "third": (False, False)}
    assert {name: web.ask("GET", f"/pipelines/{name}").json()["may_edit"] for name in listed} == {
        "sales": True, "other": False, "third": False,
    }  # fmt: skip
    assert {name: web.ask("GET", f"/configs/{name}.json").json()["may_edit"] for name in ("sales", "both")} == {
        "sales": True, "both": False,
    }  # fmt: skip


def test_an_answer_is_of_the_folder_as_it_is_now(web: Web) -> None:
    before = web.ask("GET", "/pipelines/sales").json()
    assert web.ask("GET", "/configs/sales.json").json()["digest"] == before["digest"]
    (web.folder / "sales.json").write_text(CHANGED, encoding="utf-8")
    told, listed = web.ask("GET", "/pipelines/sales").json(), web.ask("GET", "/pipelines").json()["pipelines"]
    text = web.ask("GET", "/configs/sales.json").json()
    assert (text["text"], text["digest"]) == (CHANGED, told["digest"])
    assert told["digest"] != before["digest"]
    (web.folder / "sales.json").unlink()
    assert web.ask("GET", "/pipelines/sales").status_code == 404
    assert [one["dag_id"] for one in listed] == ["sales"]
    assert web.ask("GET", "/pipelines").json()["pipelines"] == []


def test_a_person_is_told_what_is_left_of_their_budgets(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    assert web.ask("GET", "/me").json()["budgets"] == []
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_TOKENS_PER_USER_MONTH", "1000")
    get_settings.cache_clear()
    now, used = datetime.now(timezone.utc), Usage(prompt_tokens=300, completion_tokens=40)
    StoreLedger().add(Event("one", "author", "ada", "", "there", "ollama", "m", 1, "ok", used, now, ""))
    (mine,) = web.ask("GET", "/me").json()["budgets"]
    (others,) = web.ask("GET", "/me", name="otto").json()["budgets"]
    assert (mine["scope"], mine["unit"], mine["most"], mine["used"], mine["left"]) == (
        "user_month", "tokens", 1000, 340, 660,
    )  # fmt: skip
    assert (others["used"], others["left"]) == (0, 1000)


def test_what_configs_are_made_of_is_sent_once(web: Web) -> None:
    for path in ("/schema", "/components", "/components?kind=source", "/components/source/csv", "/examples"):
        first = web.ask("GET", path)
        again = web.ask("GET", path, If_None_Match=first.headers["etag"])
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path
        assert again.headers["etag"] == first.headers["etag"]
        assert web.ask("GET", path, If_None_Match='"other"').json() == first.json()


def test_a_text_is_checked_compared_previewed_and_planned_and_nothing_is_written(web: Web) -> None:
    bad = CONFIG.replace("filter", "filtr")
    checked = web.ask("POST", "/check", {"text": bad, "file": "sales.json"}).json()
    assert checked["valid"] is False
    assert checked["findings"][0]["line"] == 5
    diff = web.ask("POST", "/diff", {"file": "sales.json", "text": CHANGED}).json()
    assert [one["pointer"] for one in diff["changes"]] == ["/transforms/0/where"]
    preview = web.ask("POST", "/preview", {"text": CHANGED}).json()
    assert [step["row_count"] for step in preview["steps"]] == [2, 1]
    assert preview["steps"][-1]["rows"] == [{"id": 2, "email": "***", "cents": 900}]
    assert web.ask("POST", "/plan", {"file": "sales.json"}).json()["loads"][0]["inserted"] == 1
    refused = web.ask("POST", "/preview", {"text": bad})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CONFIG
    assert not list(Path(get_settings().output_folder).glob("*.duckdb"))


def test_a_deploy_names_what_it_was_made_from_and_the_second_of_two_editors_is_told(web: Web) -> None:
    read = web.ask("GET", "/configs/sales.json")
    tag = read.headers["etag"]
    assert read.json()["text"] == CONFIG
    put = {"text": CHANGED, "reason": "more"}
    assert web.ask("PUT", "/configs/sales.json", put).status_code == 428
    assert web.ask("PUT", "/configs/sales.json", put, If_Match="*").status_code == 428
    assert web.ask("PUT", "/configs/sales.json", put, If_None_Match="*").status_code == 412
    done = web.ask("PUT", "/configs/sales.json", put, If_Match=tag)
    assert (done.status_code, done.json()["status"]) == (200, "deployed")
    late = web.ask("PUT", "/configs/sales.json", {"text": CONFIG}, name="otto", If_Match=tag)
    assert late.status_code == 412
    assert late.json()["current"] == done.json()["digest"]
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CHANGED
    invalid = web.ask("PUT", "/configs/sales.json", {"text": '{"dag_id": "sales"}'}, If_Match=done.headers["etag"])
    assert invalid.status_code == 422
    assert invalid.json()["findings"][0]["file"] == "sales.json"

    listed = web.ask("GET", "/configs/sales.json/revisions").json()["revisions"]
    assert [(one["kind"], one["author"]) for one in listed] == [("deploy", "ada"), ("found", "")]
    older = web.ask("GET", f"/configs/sales.json/revisions/{listed[1]['id']}").json()
    assert older["text"] == CONFIG
    assert "+" in older["diff"]
    back = {"revision": str(listed[1]["id"]), "reason": "no"}
    assert web.ask("POST", "/configs/sales.json/rollback", back).status_code == 428
    assert web.ask("POST", "/configs/sales.json/rollback", back, If_Match=tag).status_code == 412
    assert web.ask("POST", "/configs/sales.json/rollback", back, If_Match=done.headers["etag"]).status_code == 200
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CONFIG
    assert web.ask("GET", "/configs/sales.json/revisions/999").status_code == 404


def test_a_request_that_comes_again_with_its_key_is_answered_and_not_done_again(web: Web) -> None:
    tag = web.ask("GET", "/configs/sales.json").headers["etag"]
    put = {"text": CHANGED}
    first = web.ask("PUT", "/configs/sales.json", put, If_Match=tag, Idempotency_Key="k1")
    again = web.ask("PUT", "/configs/sales.json", put, If_Match=tag, Idempotency_Key="k1")
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = web.ask("PUT", "/configs/sales.json", {"text": CONFIG}, If_Match=tag, Idempotency_Key="k1")
    assert (other.status_code, other.json()["code"]) == (422, "key-reused")
    assert answers.begin(open_store(), "ada", "busy", "x") is None
    bodies = web.ask("PUT", "/configs/sales.json", put, If_Match=tag, Idempotency_Key="k2")
    assert bodies.status_code == 412
    assert answers.begin(open_store(), "ada", "k2", "x") is None, "what went wrong may be tried again"
    assert len(web.ask("GET", "/configs/sales.json/revisions").json()["revisions"]) == 2


@pytest.mark.parametrize("file", ["..%2Foutside.json", "%2Fetc%2Fpasswd", ".x.json", "a.txt"])
def test_no_address_leads_out_of_the_configs_folder(web: Web, file: str) -> None:
    (web.folder.parent / "outside.json").write_text(CONFIG, encoding="utf-8")
    for method, path, headers in (("GET", f"/configs/{file}", {}), ("PUT", f"/configs/{file}", {"If_None_Match": "*"})):
        found = web.ask(method, path, {"text": CONFIG} if method == "PUT" else None, **headers)
        assert found.status_code in (404, 422), found.text
        assert "sales" not in found.text


def test_errors_are_problems_that_repeat_neither_input_nor_trace(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataforge.web.desk import Desk

    for body in (
        {"kind": CANARY},
        {"kind": "generate", "request": 7, CANARY: 1},
        {"kind": "generate", "request": CANARY[:9]},
    ):
        found = web.ask("POST", "/jobs", body)
        assert found.status_code == 422
        assert found.headers["content-type"] == "application/problem+json"
        assert CANARY[:9] not in found.text
        assert found.json()["errors"]

    def broken(self: Any) -> Any:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr(Desk, "pipelines", broken)
    found = web.ask("GET", "/pipelines")
    assert (found.status_code, found.json()["code"]) == (500, "internal-error")
    assert CANARY not in found.text
    assert "Traceback" not in found.text
    assert found.headers["x-content-type-options"] == "nosniff"


NASTY = (
    b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 50_000, b'{"text": "\\ud800"}',
    b'{"text": "{}", "file": "\\u0000.json"}', b'{"text": "{\\"dag_id\\": [1e999]}", "rows": 1e999}',
    b'{"kind": "explain", "text": "[]"}', b'{"text": "\\u0000", "title": "\\u202e"}',
    b'{"kind": "generate", "request": "xxxxxxxxxx", "params": {"a": NaN}}',
    b'{"kind": "generate", "request": "xxxxxxxxxx", "params": {"a": "\\ud800"}}',
    b'{"kind": "repair", "text": "{\\"a\\"", "turns": 0}',
)  # fmt: skip


def test_whatever_is_sent_the_server_does_not_fail(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__WEB_REQUESTS", "0")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__WEB_GENERATES", "0")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__WEB_REFINES", "0")
    get_settings.cache_clear()
    token = {"Authorization": f"Bearer {web.token('ada', 'USER')}", "Content-Type": "application/json"}
    for method, path in {(one.method, one.path) for one in operations()}:
        for body in NASTY if method != "GET" else (b"",):
            for odd in {path, path.replace("sales", "%00"), path.replace("/x", "/" + "y" * 3_000)}:
                headers = token | {"If-None-Match": "*", "Last-Event-ID": "-1"}
                found = web.client.request(method, BASE + odd, content=body, headers=headers)
                assert found.status_code < 500, (method, odd, body[:60], found.text)


def test_numbers_that_json_does_not_know_are_shown_as_words(web: Web) -> None:
    (web.folder / "odd.csv").write_text("a\n1.5\nNaN\ninf\n", encoding="utf-8")
    config = json.loads(CONFIG) | {"dag_id": "odd", "source": {"type": "csv", "path": "odd.csv"}}
    config["transforms"] = [{"type": "cast", "columns": {"a": "double"}}]
    steps = web.ask("POST", "/preview", {"text": json.dumps(config)}).json()["steps"]
    assert [row["a"] for row in steps[-1]["rows"]] == [1.5, "NaN", "Infinity"]


def test_a_secret_is_shown_neither_of_a_connection_nor_of_a_config(web: Web) -> None:
    config = json.loads(CONFIG)
    config["source"]["password"] = CANARY
    (web.folder / "leak.json").write_text(json.dumps({**config, "dag_id": "leak"}), encoding="utf-8")
    listed = web.ask("GET", "/connections")
    assert listed.json()["connections"] == [{"id": "shop_db", "type": "postgres"}]
    told = web.ask("GET", "/configs/leak.json")
    assert told.status_code == 200
    for found in (listed, told, web.ask("GET", "/pipelines"), web.ask("POST", "/check", {"file": "leak.json"})):
        assert CANARY not in found.text


@pytest.mark.parametrize(("length", "status"), [(9, 422), (10, 202), (5_000, 202), (5_001, 422)])
def test_a_message_has_ten_to_five_thousand_characters(web: Web, length: int, status: int) -> None:
    found = web.ask("POST", "/jobs", {"kind": "generate", "request": ("word " * 1_001)[:length], "mode": "plan"})
    assert found.status_code == status, found.text
    assert web.ask("POST", "/jobs", {"kind": "generate", "request": "x" * 301}).status_code == 422


def test_a_body_that_is_too_large_or_too_slow_is_refused_before_it_is_whole(web: Web) -> None:
    most = 6 * get_settings().max_config_bytes + 64_000
    token = {"Authorization": f"Bearer {web.token('ada', 'USER')}", "Content-Type": "application/json"}
    told = web.client.post(f"{BASE}/check", content=b" " * (most + 1), headers=token)
    assert (told.status_code, told.json()["code"]) == (413, "too-large")
    read = 0

    def pieces() -> Any:
        nonlocal read
        for _ in range(200):
            read += 65_536
            yield b" " * 65_536

    assert web.client.post(f"{BASE}/check", content=pieces(), headers=token).status_code == 413

    async def slow() -> list[Any]:
        sent: list[Any] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            await receive()

        async def receive() -> Any:
            await asyncio.sleep(30)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/api/v1/health", "headers": [], "query_string": b""}
        await Door(inner, seconds=0.01)(scope, receive, send)
        return sent

    assert asyncio.run(slow())[0]["status"] == 408


def test_requests_are_counted_exactly_in_the_store_whoever_serves_them(web: Web) -> None:
    def take(_: int) -> bool:
        return limits.take(open_store(), "ada", "test", limit=10, seconds=900).allowed

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(30))) == 10
    assert limits.take(open_store(), "otto", "test", limit=10, seconds=900).remaining == 9


def test_who_asks_too_often_is_told_when_to_come_again(
    web: Web, monkeypatch: pytest.MonkeyPatch, auth: Callable[[str, str], str]
) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__WEB_REQUESTS", "4")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__WEB_GENERATES", "1")
    get_settings.cache_clear()
    job = {"kind": "generate", "request": "x" * 10, "mode": "plan"}
    first = web.ask("POST", "/jobs", job)
    assert first.headers["ratelimit"].startswith('"generate";r=0')
    second = web.ask("POST", "/jobs", job, X_Forwarded_For="10.0.0.9")
    assert (second.status_code, second.json()["code"]) == (429, "too-many-requests")
    assert 0 < int(second.headers["retry-after"]) <= 900
    text = {"text": CONFIG}
    assert [web.ask("POST", "/preview", text).status_code for _ in range(3)] == [200, 200, 429]
    with serving(web.folder, auth) as restarted:
        assert restarted.ask("POST", "/preview", text).status_code == 429
        other = restarted.ask("POST", "/preview", text, name="otto")
        assert other.headers["ratelimit-policy"] == '"request";q=4;w=900'


def test_what_a_crash_left_of_a_deploy_is_settled_when_the_server_starts(
    web: Web, auth: Callable[[str, str], str]
) -> None:
    key = f"{web.folder.resolve()}/sales.json"
    wanted = revisions.Revision(key, revisions.digest(CHANGED), CHANGED, "ada")
    with open_store().transaction() as connection:
        revisions.begin(connection, wanted, CONFIG)
    (web.folder / "sales.json").write_text(CHANGED, encoding="utf-8")
    assert revisions.pending(open_store(), key) == [key]
    with serving(web.folder, auth) as restarted:
        assert revisions.pending(open_store(), key) == []
        found = restarted.ask("GET", "/configs/sales.json/revisions").json()["revisions"]
    assert [one["kind"] for one in found] == ["deploy", "found"]
