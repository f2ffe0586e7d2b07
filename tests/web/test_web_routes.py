"""Who passes which route, walked over all that the API describes; and that it describes all there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.web.conftest import BASE, CONFIG, Web
from tests.web.walk import Operation, operations

from dataforge.settings import get_settings
from dataforge.web import access, page, static
from dataforge.web.app import PREFIX
from dataforge.web.door import OPEN

Ask = Callable[[Operation], Any]

AUTHORS_ONLY = {"/connections", "/connections/{conn_id}/check"}
"""What is read by those alone who may edit a DAG."""
ODD = (
    ("GET", "/nothing"), ("POST", "/../../docs"), ("GET", "/openapi.json"), ("GET", "/../../docs"), ("HEAD", "/me"),
    ("OPTIONS", "/pipelines"), ("GET", "//health"), ("GET", "/health/"), ("GET", "/health;x"), ("GET", "/HEALTH"),
    ("GET", "/health/../me"), ("POST", "/me%2f.."),
)  # fmt: skip
ADMINS_ONLY = {"/audit/verify"}
"""What is read by those alone who run the deployment."""
OWN = {"POST /chats", "GET /audit"}
"""What names a config, but is its owner's alone and tells nothing of the config."""


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("REQUESTS", "GENERATES", "REFINES", "JOBS_PER_USER"):
        monkeypatch.setenv(f"AIRFLOW__DATAFORGE__WEB_{name}", "0" if name != "JOBS_PER_USER" else "100")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def files(web: Web) -> list[tuple[str, bytes]]:
    """The configs folder as it is."""
    return sorted((path.name, path.read_bytes()) for path in web.folder.iterdir())


def nobody_passes(web: Web) -> None:
    """Check that without credentials nothing answers but the open routes."""
    for one in operations():
        found = web.client.request(one.method, BASE + one.path, json=one.body)
        assert found.status_code in ((200, 503) if one.is_open else (401,)), (str(one), found.text)
        assert one.is_open or found.headers["content-type"] == "application/problem+json"
    for method, path in ODD:
        assert web.client.request(method, BASE + path).status_code == 401, (method, path)


def a_viewer_only_reads(web: Web, ask: Ask) -> None:
    """Check that whoever may edit no DAG changes nothing, and reads all but what is the authors'."""
    before = files(web)
    walked = list(operations())
    assert len(walked) > 35
    for one in walked:
        found = ask(one)
        if one.changes or one.template in AUTHORS_ONLY | ADMINS_ONLY:
            assert found.status_code == 403, (str(one), found.text)
            assert found.json()["code"] == "forbidden"
        else:
            assert found.status_code in (200, 204, 404), (str(one), found.text)
    assert files(web) == before


def rights_on_another_dag_open_nothing(web: Web, ask: Ask) -> None:
    """Check that whoever has rights on the DAG `other` alone reaches nothing of the DAG `sales`, whatever the route."""
    before = files(web)
    walked = [one for one in operations() if one.is_about and str(one) not in OWN]
    assert len(walked) > 15
    for one in walked:
        found = ask(one)
        assert found.status_code in (403, 404), (str(one), found.status_code, found.text)
        assert "cents" not in found.text
    assert files(web) == before


def by_cookie(web: Web, token: str, one: Operation, **headers: str) -> Any:
    """Ask as a browser does that is logged in."""
    told = {"Cookie": f"_token={token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return web.client.request(one.method, BASE + one.path, json=one.body, headers=told)


def test_nobody_passes_the_door_but_to_ask_for_health(web: Web) -> None:
    nobody_passes(web)
    opened = {f"/api/v1{one.template}" for one in operations() if one.is_open}
    assert opened == {"/api/v1/health", "/api/v1/ready"}
    assert opened | static.PATHS == OPEN
    for path in ("/static/package.json", "/static/", "/static/../api/v1/me", f"/static/{page.BUNDLE}/"):
        assert web.client.get(PREFIX + path).status_code == 401, path
    for path in static.PATHS:
        assert web.client.get(PREFIX + path).headers["x-content-type-options"] == "nosniff"
        assert web.client.post(PREFIX + path).status_code == 405
    for forged in ("e30.e30.x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."):
        assert web.client.get(f"{BASE}/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 403


def test_a_viewer_reads_and_can_neither_change_nor_author_anything(web: Web) -> None:
    token = web.token("vera", "VIEWER")
    a_viewer_only_reads(web, lambda one: web.ask(one.method, one.path, one.body, name="vera", role="VIEWER"))
    a_viewer_only_reads(web, lambda one: by_cookie(web, token, one, X_DataForge_Request="1"))


def test_rights_on_one_dag_open_no_route_to_another(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def only_other(self: Any, *, method: str, user: Any, details: Any = None, **_: Any) -> bool:
        return details.id == "other" if details is not None else method == "GET"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", only_other)
    monkeypatch.setattr(SimpleAuthManager, "get_authorized_dag_ids", lambda *_, **__: {"other"})
    tag = {"If_Match": f'"{"0" * 64}"'}
    rights_on_another_dag_open_nothing(web, lambda one: web.ask(one.method, one.path, one.body, **tag))
    (web.folder / "nameless.json").write_text('{"source": {"path": "cents.csv"}}', encoding="utf-8")
    assert web.ask("GET", "/configs/nameless.json").status_code == 403
    assert "nameless" not in web.ask("GET", "/pipelines").text


def test_a_token_that_was_taken_back_changes_nothing_and_reads_no_longer_than_some_seconds(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    token = web.token("ada", "USER")
    told = {"Authorization": f"Bearer {token}"}
    assert web.client.get(f"{BASE}/me", headers=told).status_code == 200
    get_auth_manager().revoke_token(token)
    assert web.client.get(f"{BASE}/me", headers=told).status_code == 200
    assert web.client.post(f"{BASE}/check", headers=told, json={"text": "{}"}).status_code == 403
    until, ada = access._known[token]
    monkeypatch.setitem(access._known, token, (until - access.TRUSTED_SECONDS, ada))
    assert web.client.get(f"{BASE}/me", headers=told).status_code == 403


FOREIGN = (
    "http://evil.example", "null", "http://airflow.example.evil.example", "http://airflow.example:81",
    "http://evil.example/airflow.example", "http://airflow.example@evil.example", "",
)  # fmt: skip


def test_no_other_sites_page_can_change_anything_by_a_browsers_cookie(web: Web) -> None:
    token = web.token("ada", "USER")
    before = files(web)
    changing = [one for one in operations() if one.changes]
    for one in changing:
        for found in (
            by_cookie(web, token, one),
            by_cookie(web, token, one, Sec_Fetch_Site="cross-site", X_DataForge_Request="1"),
            *(by_cookie(web, token, one, Origin=origin, X_DataForge_Request="1") for origin in FOREIGN),
        ):
            assert found.status_code == 403, (str(one), found.request.headers, found.text)
            assert "access-control-allow-origin" not in found.headers
            assert "set-cookie" not in found.headers
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            headers = {"Cookie": f"_token={token}", "Content-Type": kind}
            found = web.client.request(one.method, BASE + one.path, content=b'{"text": "x"}', headers=headers)
            assert found.status_code == 403, (str(one), kind, found.text)
    assert files(web) == before
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        told = {"Cookie": f"_token={token}", "Content-Type": kind, "X-DataForge-Request": "1"}
        assert web.client.post(f"{BASE}/check", content=b'{"text": "{}"}', headers=told).status_code == 422


def test_the_description_names_every_route_and_what_it_needs(web: Web) -> None:
    from dataforge.web.openapi import document

    found = document()
    assert found["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    there = {(method, re.sub(r":path}", "}", route.path)) for route in web.app.routes for method in route.methods}
    assert there == described | {("GET", "/static/{name}")}
    for path, methods in found["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == (path not in OPEN)
            assert operation["summary"]


def test_one_with_all_rights_is_let_in_where_others_are_not(web: Web) -> None:
    """The walks above would hold of an app that refuses everybody."""
    tag = web.ask("GET", "/configs/sales.json").headers["etag"]
    for one in operations():
        found = web.ask(one.method, one.path, one.body, role="ADMIN", If_Match=tag)
        assert found.status_code not in (401, 403), (str(one), found.text)
        assert found.status_code < 500 or found.json()["code"] == "no-model", (str(one), found.text)
    assert (web.folder / "sales.json").read_text(encoding="utf-8") == CONFIG
