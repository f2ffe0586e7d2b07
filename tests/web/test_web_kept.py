"""What the page keeps: drafts, uploads, chats with search and export, use, audit, deploys that wait for approval."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.web.conftest import BASE, CANARY, CONFIG, Web

from dataforge.authoring import uploads
from dataforge.cli import main
from dataforge.dag_factory.uploads import sweep_old
from dataforge.runtime.uploads import Place
from dataforge.settings import get_settings
from dataforge.store import audit
from dataforge.store.database import open_store
from dataforge.web import door

CHANGED = CONFIG.replace("100", "200")
CSV = b"id,email,city\n1,ada@example.com,Graz\n2,bob@example.com,\n3,,Linz\n"
SECRET = "AKIA" + "QWERTZUIOPASDFGH"


@pytest.fixture
def approving(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The app where deploys need a second person."""
    monkeypatch.setenv("AIRFLOW__DATAFORGE__DEPLOY_APPROVAL", "true")
    get_settings.cache_clear()
    return web


def draft(**more: Any) -> dict[str, Any]:
    return {"name": "Orders", "file": "sales.json", "base": "", "text": CONFIG, **more}


def upload(web: Web, data: bytes, name: str = "people.csv", who: str = "ada") -> Any:
    token = {"Authorization": f"Bearer {web.token(who, 'USER')}"}
    return web.client.post(f"{BASE}/uploads", files={"file": (name, data, "application/pdf")}, headers=token)


def actions(web: Web, **query: str) -> list[tuple[str, str, str]]:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    found = web.ask("GET", f"/audit?{asked}", name="root", role="ADMIN").json()["entries"]
    return [(one["actor"], one["action"], one["subject"]) for one in found]


def test_a_draft_is_its_persons_own_and_two_pages_do_not_overwrite_each_other(web: Web) -> None:
    first = web.ask("POST", "/drafts", draft(pinned={"schedule": "@daily"}))
    assert first.status_code == 201
    path = f"/drafts/{first.json()['id']}"
    listed = web.ask("GET", "/drafts").json()["drafts"]
    assert [one["name"] for one in listed] == ["Orders"]
    assert "text" not in listed[0]
    assert web.ask("PUT", path, draft(text="{")).status_code == 428
    kept = web.ask("PUT", path, draft(text='{"dag_id":'), If_Match=first.headers["etag"])
    assert (kept.status_code, kept.json()["text"]) == (200, '{"dag_id":')
    late = web.ask("PUT", path, draft(text="{}"), If_Match=first.headers["etag"])
    assert (late.status_code, late.json()["code"], late.json()["draft"]["text"]) == (412, "draft-changed", '{"dag_id":')
    assert web.ask("GET", path).headers["etag"] == kept.headers["etag"] == late.headers["etag"]
    for method, body in (("GET", None), ("PUT", draft()), ("DELETE", None)):
        others = web.ask(method, path, body, name="otto", If_Match=kept.headers["etag"])
        assert others.status_code == 404, method
    assert web.ask("GET", "/drafts", name="otto").json() == {"drafts": []}
    assert web.ask("DELETE", path, If_Match=first.headers["etag"]).status_code == 412
    assert web.ask("DELETE", path, If_Match=kept.headers["etag"]).status_code == 204
    assert web.ask("GET", path).status_code == 404
    assert actions(web) == [("ada", "draft-delete", "sales.json")]


def test_a_draft_names_only_files_that_may_be_edited_and_keeps_no_secret(web: Web) -> None:
    assert web.ask("POST", "/drafts", draft(file="../outside.json")).status_code == 422
    bad = CONFIG.replace('"sales.csv"', f'"https://x.example/{SECRET}"')
    for given in (bad, bad[:-5]):
        kept = web.ask("POST", "/drafts", draft(text=given, name=f"with {SECRET}"))
        assert kept.json()["withheld"] is True
        assert SECRET not in kept.text
    assert SECRET not in web.ask("GET", "/drafts").text
    exact = web.ask("POST", "/drafts", draft()).json()
    assert (exact["text"], exact["withheld"]) == (CONFIG, False)


def test_an_upload_is_told_by_its_content_and_profiled(web: Web) -> None:
    found = upload(web, CSV, "../../etc/x\u202ey.exe")
    assert found.status_code == 201, found.text
    told = found.json()
    assert (told["kind"], told["rows"], told["name"], told["bytes"]) == ("csv", 3, "xy.exe", len(CSV))
    columns = {one["name"]: one for one in told["columns"]}
    assert columns["id"] == {"name": "id", "type": "BIGINT", "nulls": 0, "examples": ["1", "2", "3"]}
    assert (columns["email"]["nulls"], columns["email"]["examples"]) == (1, ["***"])
    assert columns["city"]["examples"] == ["Graz", "Linz"]
    assert told["path"].startswith(f"upload://{told['id']}/")
    assert [one["id"] for one in web.ask("GET", "/uploads").json()["uploads"]] == [told["id"]]
    assert web.ask("GET", "/uploads", name="otto").json() == {"uploads": []}
    assert web.ask("DELETE", f"/uploads/{told['id']}", name="otto").status_code == 404
    stored = list(Path(get_settings().uploads_url.removeprefix("file://")).iterdir())
    assert [(one.name, one.read_bytes(), one.stat().st_mode & 0o777) for one in stored] == [(told["id"], CSV, 0o600)]
    assert web.ask("DELETE", f"/uploads/{told['id']}").status_code == 204
    assert not stored[0].exists()
    assert [action for _, action, _ in actions(web)] == ["upload-delete", "upload"]


def test_what_is_no_data_is_refused_whatever_it_is_called(web: Web) -> None:
    for data in (
        b"", b"   \n", b"%PDF-1.7\n\x00\x01", b"\x7fELF\x02\x01\x00", b"<html><script>alert(1)</script></html>",
        b"<?xml version='1.0'?><!DOCTYPE x>", b"\x1f\x8b\x08\x00abc", b"PK\x03\x04rest", b"PAR1brokenPAR1",
        b"[" * 100_000, b'{"a": ', b"[1, 2, 3]", b"just some words\nof a letter to you\n", b"openapi: [",
        b"id,name\n", b"openapi: " + b"[" * 500_000, b"openapi: !!python/object/apply:os.system ['id']",
        b"openapi: 3\na: &a [b]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\npaths: [*c,*c,*c]\n",
    ):  # fmt: skip
        found = upload(web, data)
        assert (found.status_code, found.json()["code"]) == (415, "unfit-upload"), (data[:20], found.text)
        assert str(web.folder.parent) not in found.text
    assert upload(web, CSV.ljust(uploads.MAX_BYTES + 1, b"\n")).status_code == 413
    assert upload(web, b"x" * (uploads.MAX_BYTES + 100_000)).status_code == 413
    largest = upload(web, b'[{"a": "' + b"x" * (uploads.MAX_BYTES - 11) + b'"}]')
    assert (largest.status_code, len(largest.json()["columns"][0]["examples"][0])) == (201, 61)


def test_json_parquet_and_api_descriptions_are_read_too(web: Web) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.table({"a": [1, None]}), buffer)
    api = {"openapi": "3.1.0", "paths": {"/orders": {"get": {}, "post": {}, "summary": "x"}}}
    for data, kind, rows, source in (
        (b'[{"a": 1}, {"a": 2}]', "json", 2, {"type": "json"}),
        (b'{"a": 1}\n{"a": 2}\n{"a": 3}\n', "ndjson", 3, {"type": "json"}),
        (b'{"meta": {"n": 1}, "data": {"orders": [{"a": 1}, {"a": 2}]}}', "json", 2,
         {"type": "json", "records": "data.orders"}),
        (buffer.getvalue(), "parquet", 2, {"type": "parquet"}),
        (json.dumps(api).encode(), "openapi", None, {}),
        (b"# shop\nopenapi: 3.0.0\npaths:\n  /orders:\n    get: {}\n    post: {}\n", "openapi", None, {}),
        ("id;name\n1;Jörg\n2;Zoë\n".encode("utf-16"), "csv", 2, {"type": "csv"}),
    ):  # fmt: skip
        told = upload(web, data, "a.txt").json()
        assert (told.get("kind"), told.get("rows"), told.get("source")) == (kind, rows, source), told
        assert told["operations"] == (["GET /orders", "POST /orders"] if kind == "openapi" else [])


@pytest.mark.parametrize(("bound", "value"), [("READ_MEMORY", 50 * 1024**2), ("READ_SECONDS", 0.05)])
def test_a_file_that_takes_too_much_ends_its_reader_alone(
    web: Web, monkeypatch: pytest.MonkeyPatch, bound: str, value: float
) -> None:
    monkeypatch.setattr(uploads, bound, value)
    found = upload(web, CSV)
    assert (found.status_code, found.json()["code"]) == (415, "unfit-upload"), found.text
    assert "reading the file takes" in found.json()["detail"]
    assert web.ask("GET", "/uploads").json() == {"uploads": []}


def test_maintenance_removes_uploads_by_age_also_where_it_knows_nothing_of_them(web: Web) -> None:
    new, old = (upload(web, CSV).json()["id"] for _ in range(2))
    folder = Path(get_settings().uploads_url.removeprefix("file://"))
    unknown, kept = folder / ("a" * 32), folder / ("b" * 32)
    for path in (unknown, kept):
        path.write_bytes(CSV)
    os.utime(unknown, (86_400, 86_400))
    with open_store().transaction() as connection:
        connection.execute(
            text("update dataforge_uploads set created_at = '2020-01-01 00:00:00.000000' where id = :id"), {"id": old}
        )
    assert sweep_old(open_store(), get_settings()) == 2
    assert {path.name for path in folder.iterdir()} == {new, kept.name}
    assert [one["id"] for one in web.ask("GET", "/uploads").json()["uploads"]] == [new]


def test_an_excel_sheet_is_read_as_the_rows_that_it_shows(web: Web) -> None:
    openpyxl: Any = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "city"], [1, "Graz"], [2, None]):
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    told = upload(web, buffer.getvalue(), "a.csv").json()
    assert (told["kind"], told["rows"], [one["name"] for one in told["columns"]]) == ("excel", 2, ["id", "city"])
    preview = web.ask("POST", "/preview", {"text": using(told["path"])})
    assert preview.json()["steps"][0]["row_count"] == 2, preview.text


def using(path: str) -> str:
    return json.dumps({"dag_id": "sales", "source": {"type": "csv", "path": path},
                       "destination": {"type": "duckdb", "table": "people"}})  # fmt: skip


def test_a_draft_reads_its_owners_upload_and_nothing_in_force_does(web: Web) -> None:
    path = upload(web, CSV).json()["path"]
    mine = using(path)
    preview = web.ask("POST", "/preview", {"text": mine})
    assert preview.status_code == 200, preview.text
    assert preview.json()["steps"][0]["rows"][0] == {"id": 1, "email": "***", "city": "Graz"}
    checked = web.ask("POST", "/check", {"text": mine}).json()
    assert (checked["valid"], [one["code"] for one in checked["findings"]]) == (True, ["uploaded-sample"])
    digest = web.ask("GET", "/configs/sales.json").headers["etag"]
    refused = web.ask("PUT", "/configs/sales.json", {"text": mine}, If_Match=digest)
    assert (refused.status_code, refused.json()["findings"][0]["code"]) == (422, "invalid-path")
    assert web.ask("POST", "/preview", {"text": mine}, name="otto").status_code == 422
    assert web.ask("POST", "/check", {"text": mine}, name="otto").json()["valid"] is False
    folder = path.rpartition("/")[0]
    for other in (f"{folder}/../../home/x", f"{folder}/*", f"{folder}/", f"{path}/../x", path.upper(), "upload:///x",
                  f"{get_settings().uploads_url}/{path.split('/')[2]}"):  # fmt: skip
        tried = web.ask("POST", "/preview", {"text": using(other)})
        assert tried.status_code == 422, (other, tried.text)
    (web.folder / "sales.json").write_text(mine, encoding="utf-8")
    assert web.ask("POST", "/preview", {"file": "sales.json"}).status_code == 422
    assert main(["preview", str(web.folder / "sales.json")]) != 0


def test_uploads_lie_in_object_storage_too_and_go_with_age(
    web: Web, monkeypatch: pytest.MonkeyPatch, s3_connection: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__UPLOADS_URL", "s3://staging/uploads")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__STAGING_CONNECTION", s3_connection)
    get_settings.cache_clear()
    told = upload(web, CSV).json()
    preview = web.ask("POST", "/preview", {"text": using(told["path"])})
    assert preview.json()["steps"][0]["row_count"] == 3, preview.text
    place = Place.of(get_settings())
    assert place.left(older_than_seconds=-60) == {told["id"]}
    with open_store().transaction() as connection:
        connection.execute(text("update dataforge_uploads set created_at = '2020-01-01 00:00:00.000000'"))
    assert uploads.sweep(open_store()) == 1
    assert place.left(older_than_seconds=-60) == set()
    assert web.ask("GET", "/uploads").json() == {"uploads": []}


def test_chats_are_searched_and_exported_and_carry_attachments(web: Web) -> None:
    file = upload(web, CSV).json()
    chat = web.ask("POST", "/chats", {"title": "Orders *of* 100%"}).json()["id"]
    web.ask("POST", "/chats", {"title": "Other"})
    said = web.ask(
        "POST", f"/chats/{chat}/messages", {"text": "```\n<b>Load</b> the people", "attachments": [file["id"]]}
    )
    assert said.json()["details"]["attachments"][0]["path"] == file["path"]
    theirs = {"text": "Load the people", "attachments": [upload(web, CSV, who="otto").json()["id"]]}
    assert web.ask("POST", f"/chats/{chat}/messages", theirs).status_code == 404
    for search, count in (("PEOPLE", 1), ("100%", 1), ("%", 1), ("_", 0), ("nothing", 0), ("", 2)):
        found = web.ask("GET", f"/chats?search={search.replace('%', '%25')}").json()["chats"]
        assert len(found) == count, search
    assert web.ask("GET", "/chats?search=people", name="otto").json() == {"chats": []}
    told = web.ask("GET", f"/chats/{chat}/export")
    assert told.headers["content-type"].startswith("text/markdown")
    assert told.headers["content-disposition"].startswith('attachment; filename="chat-')
    assert "# Orders \\*of\\* 100%" in told.text
    assert "````text\n```\n<b>Load</b> the people\n````" in told.text
    as_json = web.ask("GET", f"/chats/{chat}/export", Accept="application/json").json()
    assert as_json["messages"][0]["text"].startswith("```")
    assert web.ask("GET", f"/chats/{chat}/export", name="otto").status_code == 404


def test_use_is_told_by_day_user_and_model(web: Web) -> None:
    from datetime import datetime, timezone

    from dataforge.store import usage

    for day, actor, tokens in ((1, "ada", 100), (1, "otto", 10), (2, "ada", 5)):
        at = datetime(2026, 11, day, 23, 59, tzinfo=timezone.utc)
        call = usage.ModelCall(at, "2026-11", f"{actor}{day}", "author", actor, "", "c/m", "ollama", 1, "ok", False,
                               tokens, 1, 0, 1.0, 0.5, False, "h")  # fmt: skip
        usage.add(open_store(), call)
    rows = web.ask("GET", "/usage?by=day").json()["rows"]
    assert [(one["key"], one["requests"], one["prompt_tokens"]) for one in rows] == [
        ("2026-11-01", 1, 100), ("2026-11-02", 1, 5),
    ]  # fmt: skip
    everybody = web.ask("GET", "/usage?by=user&to=2026-11-01", name="root", role="ADMIN").json()["rows"]
    assert [(one["key"], one["prompt_tokens"], one["cost"]) for one in everybody] == [
        ("ada", 100, 0.5),
        ("otto", 10, 0.5),
    ]
    (model,) = web.ask("GET", "/usage?by=model&from=2026-11-02").json()["rows"]
    assert (model["key"], model["prompt_tokens"], model["completion_tokens"]) == ("c/m", 5, 1)
    assert web.ask("GET", "/usage?by=month").status_code == 422


def test_who_administers_sees_all_entries_and_others_their_own(web: Web) -> None:
    for name, given in (("ada", CHANGED), ("otto", CONFIG)):
        digest = web.ask("GET", "/configs/sales.json").headers["etag"]
        body = {"text": given, "reason": f"password: {CANARY} and {SECRET}"}
        assert web.ask("PUT", "/configs/sales.json", body, name=name, If_Match=digest).status_code == 200
    assert actions(web, file="sales.json") == [("otto", "deploy", "sales.json"), ("ada", "deploy", "sales.json")]
    mine = web.ask("GET", "/audit").json()
    assert [one["actor"] for one in mine["entries"]] == ["ada"]
    verified = web.ask("GET", "/audit/verify", name="root", role="ADMIN").json()
    assert (verified["ok"], verified["entries"], verified["broken_at"]) == (True, 2, None)
    page = web.ask("GET", "/audit?limit=1", name="root", role="ADMIN").json()
    assert web.ask("GET", "/audit?actor=otto").status_code == 403
    assert web.ask("GET", "/audit/verify").status_code == 403
    rest = web.ask("GET", f"/audit?before={page['next']}", name="root", role="ADMIN").json()
    assert ([one["actor"] for one in rest["entries"]], rest["next"]) == (["ada"], None)
    whole = web.ask("GET", "/audit", name="root", role="ADMIN").text
    assert CANARY not in whole
    assert SECRET not in whole
    assert str(web.folder) not in whole
    me, root = web.ask("GET", "/me").json(), web.ask("GET", "/me", name="root", role="ADMIN").json()
    assert (me["may_author"], me["may_admin"], me["approval_required"], root["may_admin"]) == (True, False, False, True)


def test_a_deploy_that_was_denied_is_noted(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def but_sales(self: Any, *, method: str, user: Any, details: Any = None, **_: Any) -> bool:
        return method == "GET" or details is None or details.id != "sales"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", but_sales)
    assert ask_for(web).status_code == 403
    assert actions(web) == [("ada", "denied", "sales.json")]


def test_who_is_refused_is_noted_but_can_not_fill_the_log(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_DENIED", 2)
    monkeypatch.setattr(door, "_quiet", {})
    for _ in range(4):
        assert (
            web.ask("POST", "/pipelines/sales/pause", {"paused": True}, name="vera", role="VIEWER").status_code == 403
        )
    assert web.client.get(f"{BASE}/pipelines", headers={"Authorization": "Bearer nonsense"}).status_code == 403
    assert web.ask("POST", "/pipelines/sales/pause", {"paused": True}, name="eve", role="VIEWER").status_code == 403
    noted = web.ask("GET", "/audit", name="root", role="ADMIN").json()["entries"]
    assert [(one["actor"], one["action"]) for one in noted] == [
        ("eve", "denied"), ("", "denied"), ("vera", "denied"), ("vera", "denied"),
    ]  # fmt: skip
    assert noted[3]["detail"] == {"method": "POST", "path": "/api/v1/pipelines/sales/pause"}
    assert "none is noted for the next" in noted[2]["detail"]["more"]


def ask_for(web: Web, body: str = CHANGED, name: str = "ada", **more: Any) -> Any:
    digest = web.ask("GET", "/configs/sales.json").headers["etag"]
    return web.ask("PUT", "/configs/sales.json", {"text": body}, name=name, If_Match=digest, **more)


def test_a_deploy_waits_for_another_person_who_may_edit_the_dag(approving: Web) -> None:
    web = approving
    asked = ask_for(web, Idempotency_Key="k")
    assert asked.status_code == 202, asked.text
    id_ = asked.json()["approval"]["id"]
    again = ask_for(web, Idempotency_Key="k")
    assert (again.status_code, again.json()["approval"]["id"], again.headers["idempotency-replayed"]) == (
        202,
        id_,
        "true",
    )
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CONFIG
    assert web.ask("GET", "/me").json()["approval_required"] is True
    own = web.ask("POST", f"/approvals/{id_}", {"approve": True})
    assert (own.status_code, own.json()["code"]) == (403, "own-deploy")
    assert web.ask("POST", f"/approvals/{id_}", {"approve": True}, name="vera", role="VIEWER").status_code == 403
    assert web.ask("GET", f"/approvals/{id_}", name="vera", role="VIEWER").status_code == 404
    assert web.ask("GET", "/approvals", name="vera", role="VIEWER").json() == {"approvals": []}
    shown = web.ask("GET", f"/approvals/{id_}", name="otto").json()
    assert (shown["text"], shown["mine"], [one["pointer"] for one in shown["changes"]]) == (
        CHANGED, False, ["/transforms/0/where"],
    )  # fmt: skip
    done = web.ask("POST", f"/approvals/{id_}", {"approve": True, "comment": "fine"}, name="otto").json()
    assert (done["approval"]["state"], done["deployed"]["status"]) == ("approved", "deployed")
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CHANGED
    (revision, _) = web.ask("GET", "/configs/sales.json/revisions").json()["revisions"]
    assert revision["author"] == "ada"
    assert [one for one in actions(web) if one[1] != "denied"] == [
        ("ada", "deploy", "sales.json"), ("otto", "approve", "sales.json"), ("ada", "approval-ask", "sales.json"),
    ]  # fmt: skip
    twice = web.ask("POST", f"/approvals/{id_}", {"approve": True}, name="otto")
    assert (twice.status_code, twice.json()["code"]) == (409, "already-decided")
    back = web.ask("POST", "/configs/sales.json/rollback", {}, If_Match=f'"{revision["digest"]}"')
    assert (back.status_code, back.json()["approval"]["kind"]) == (202, "rollback")
    assert audit.verify(open_store()).ok


def test_what_was_approved_is_checked_again_when_it_is_carried_out(approving: Web) -> None:
    web = approving
    first, second = (ask_for(web, CONFIG.replace("100", number)).json()["approval"]["id"] for number in ("1", "2"))
    assert web.ask("POST", f"/approvals/{first}", {"approve": True}, name="otto").status_code == 200
    late = web.ask("POST", f"/approvals/{second}", {"approve": True}, name="otto")
    assert (late.status_code, late.json()["code"]) == (412, "file-changed")
    assert web.ask("GET", f"/approvals/{second}").json()["state"] == "pending"
    assert web.ask("POST", f"/approvals/{second}", {"approve": False}).json()["approval"]["state"] == "withdrawn"
    third = ask_for(web, CONFIG).json()["approval"]["id"]
    no = web.ask("POST", f"/approvals/{third}", {"approve": False, "comment": f"{SECRET}"}, name="otto")
    assert (no.json()["approval"]["state"], SECRET in no.text) == ("rejected", False)
    assert ask_for(web, CONFIG.replace("filter", "filtr")).status_code == 422
    assert main(["rollback", str(web.folder / "sales.json"), "--yes"]) == 1


def test_a_crash_while_it_is_carried_out_leaves_file_revision_and_approval_agreeing(
    approving: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataforge.authoring import deploy
    from dataforge.authoring.unfinished import mend
    from dataforge.store import approvals

    class Crash(BaseException):
        """The process is gone."""

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    web = approving
    for where, state in (("dataforge.authoring.deploy._write", "pending"),
                         ("dataforge.store.revisions.settle", "approved")):  # fmt: skip
        asked = approvals.get(open_store(), ask_for(web).json()["approval"]["id"])
        assert asked is not None
        with monkeypatch.context() as patched, pytest.raises(Crash):
            patched.setattr(where, crash)
            patched.setattr(deploy, "history", crash)
            deploy.approve(asked, "otto")
        assert mend()
        assert web.ask("GET", f"/approvals/{asked.id}").json()["state"] == state
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CHANGED
    assert audit.verify(open_store()).ok


def test_looks_and_what_is_asked_while_typing_are_not_counted(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__WEB_REQUESTS", "2")
    get_settings.cache_clear()
    kept = web.ask("POST", "/drafts", draft())
    for _ in range(3):
        assert "ratelimit" not in web.ask("GET", "/me").headers
        assert web.ask("POST", "/check", {"text": CONFIG}).status_code == 200
        assert web.ask("POST", "/diff", {"text": CONFIG, "file": "sales.json"}).status_code == 200
        kept = web.ask("PUT", f"/drafts/{kept.json()['id']}", draft(), If_Match=kept.headers["etag"])
    assert web.ask("POST", "/preview", {"text": CONFIG}).headers["ratelimit"].startswith('"request";r=0')
    late = web.ask("POST", "/check/../preview", {"text": CONFIG})
    assert late.status_code == 429
    assert web.ask("DELETE", f"/drafts/{kept.json()['id']}").status_code == 429


def test_an_attached_file_is_what_a_job_reads(web: Web) -> None:
    from tests.web.conftest import STEPS

    file = upload(web, b"id,cents\n1,100\n2,900\n", "sales.csv").json()
    web.model(STEPS)
    words = "Bring sales.csv to the duckdb table clean, and squash the cents column into whole units"
    body = {"kind": "generate", "request": words, "attachments": [file["id"]]}
    assert web.ask("POST", "/jobs", body, name="otto").status_code == 404
    job = web.ask("POST", "/jobs", body).json()["id"]
    kind, result = web.events(job)[-1][1:]
    assert kind == "done", result
    assert result["config"]["source"]["path"] == file["path"]
    preview = web.ask("POST", "/preview", {"text": result["text"]})
    assert preview.json()["steps"][0]["row_count"] == 2, preview.text
    nested = upload(web, b'{"data": {"rows": [{"cents": 1}, {"cents": 2}]}}', "a.json").json()
    body |= {"request": "Load the attached file into the duckdb table clean", "attachments": [nested["id"]]}
    job = web.ask("POST", "/jobs", body).json()["id"]
    source = web.events(job)[-1][2]["config"]["source"]
    assert source == {"type": "json", "path": nested["path"], "records": "data.rows"}
