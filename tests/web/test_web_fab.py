"""The web API behind Flask AppBuilder's auth manager, with its own roles and with rights on single DAGs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.web.conftest import BASE, CONFIG, Web, airflow_tables
from tests.web.test_web_routes import a_viewer_only_reads, by_cookie, nobody_passes, rights_on_another_dag_open_nothing
from tests.web.test_web_routes import unlimited as unlimited  # a fixture

pytest.importorskip("airflow.providers.fab", reason="apache-airflow-providers-fab is not installed")
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], str]]:
    """FAB's auth manager at work; the value makes a token for a name and a role, as its log-in does."""
    folder = tmp_path_factory.mktemp("fab")
    with airflow_tables(folder, AIRFLOW__CORE__AUTH_MANAGER=FAB, AIRFLOW__FAB__CONFIG_FILE=str(folder / "none")) as own:
        from airflow.api_fastapi.app import create_auth_manager
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.providers.fab.auth_manager.models import metadata
        from airflow.utils.session import create_session
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        metadata.create_all(own.get_engine())
        manager: Any = create_auth_manager()
        manager.init()
        parent = FastAPI()
        parent.mount("/auth", manager.get_fastapi_app())
        with create_session() as session:
            session.add(DagBundleModel(name="pipelines"))
            session.flush()
            dag: Any = DagModel
            session.add_all(dag(dag_id=one, bundle_name="pipelines") for one in ("sales", "other"))
        with manager.flask_app.app_context(), TestClient(parent) as client:
            security = manager.security_manager
            for dag_id in ("sales", "other"):
                role = security.add_role(f"Only {dag_id}")
                for action in ("can_read", "can_edit"):
                    security.add_permission_to_role(role, security.create_permission(action, f"DAG:{dag_id}"))
            reader = security.add_role("Reads sales")
            for what in ("DAG:sales", "DAG Runs", "Task Instances", "Task Logs"):
                security.add_permission_to_role(reader, security.create_permission("can_read", what))
            for name, role in USERS.items():
                security.add_user(name, "Same", "Name", f"{name}@example.com", security.find_role(role), password="pw")

            tokens: dict[str, str] = {}

            def token(name: str, _: str) -> str:
                if name not in tokens:
                    given = client.post("/auth/token", json={"username": name, "password": "pw"})
                    tokens[name] = given.json()["access_token"]
                return tokens[name]

            yield token


USERS = {
    "ada": "User", "vera": "Viewer", "op": "Op", "admin": "Admin", "nobody": "Public", "seller": "Only sales",
    "stranger": "Only other", "reader": "Reads sales",
}  # fmt: skip


def test_nobody_passes_the_door(web: Web) -> None:
    nobody_passes(web)


def test_a_viewer_reads_and_changes_nothing_by_token_or_cookie(web: Web) -> None:
    a_viewer_only_reads(web, lambda one: web.ask(one.method, one.path, one.body, name="reader"))
    token = web.token("vera", "")
    a_viewer_only_reads(web, lambda one: by_cookie(web, token, one, X_DataForge_Request="1"))


def test_rights_on_one_dag_open_no_route_to_another(web: Web) -> None:
    tag = {"If_Match": f'"{"0" * 64}"'}
    rights_on_another_dag_open_nothing(web, lambda one: web.ask(one.method, one.path, one.body, name="stranger", **tag))


def test_a_file_whose_dag_is_unknown_is_read_by_those_alone_who_read_all(web: Web) -> None:
    (web.folder / "nameless.json").write_text('{"source": {"path": "cents.csv"}}', encoding="utf-8")
    seen = {name: web.ask("GET", "/configs/nameless.json", name=name).status_code for name in USERS}
    assert seen == dict.fromkeys(USERS, 403) | dict.fromkeys(("ada", "vera", "op", "admin"), 200)
    assert "nameless" not in web.ask("GET", "/pipelines", name="reader").text
    assert "nameless" in web.ask("GET", "/pipelines", name="vera").text


def test_each_role_may_what_airflow_says(web: Web) -> None:
    me = {name: web.ask("GET", "/me", name=name).json() for name in USERS}
    assert {name: (told.get("edits"), told.get("creates")) for name, told in me.items()} == {
        "ada": (True, True), "op": (True, True), "admin": (True, True), "vera": (False, False), "nobody": (None, None),
        "seller": (True, False), "stranger": (True, False), "reader": (False, False),
    }  # fmt: skip
    assert me["nobody"]["status"] == 403
    assert me["ada"]["name"] == "ada", "the name of the account: many people are called the same"
    for name, listed in (("seller", ["sales"]), ("reader", ["sales"]), ("stranger", []), ("vera", ["sales"])):
        assert [one["dag_id"] for one in web.ask("GET", "/pipelines", name=name).json()["pipelines"]] == listed


def test_who_may_edit_one_dag_deploys_that_one_by_cookie_and_makes_no_other(web: Web) -> None:
    read = web.ask("GET", "/configs/sales.json", name="seller")
    headers = {
        "Cookie": f"_token={web.token('seller', '')}", "If-Match": read.headers["etag"], "X-DataForge-Request": "1"
    }  # fmt: skip
    changed = {"text": CONFIG.replace("100", "200")}
    done = web.client.put(f"{BASE}/configs/sales.json", json=changed, headers=headers)
    assert done.status_code == 200, done.text
    assert web.ask("GET", "/configs/sales.json/revisions").json()["revisions"][0]["author"] == "seller"
    new = {"text": json.dumps(json.loads(CONFIG) | {"dag_id": "new"})}
    assert web.ask("PUT", "/configs/new.json", new, name="seller", If_None_Match="*").status_code == 403
    assert web.ask("PUT", "/configs/new.json", new, name="ada", If_None_Match="*").status_code == 200
