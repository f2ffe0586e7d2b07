"""The real app behind Airflow's real SimpleAuthManager, with Airflow's tables in a database of these tests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dataforge.gateway.base import Gateway
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import get_settings

CONFIG = (
    '{\n  "dag_id": "sales",\n  "owner": "ada",\n  "source": {"type": "csv", "path": "sales.csv"},\n'
    '  "transforms": [{"type": "filter", "where": "cents > 100"}],\n'
    '  "destination": {"type": "duckdb", "table": "sales", "write_disposition": "replace"}\n}\n'
)
REQUEST = "Bring sales.csv to the duckdb table clean, and squash the cents column into whole units"
STEPS = json.dumps({"transforms": [{"type": "derive", "columns": {"cents": "cents / 100"}}], "checks": []})
BASE = "/dataforge/api/v1"
CANARY = "c4n4ry-Pa55w0rd-77"


@contextmanager
def airflow_tables(folder: Path, **wanted: str) -> Iterator[Any]:
    """Let Airflow work on a new database with these settings; the value is its settings module."""
    wanted |= {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of these tests that is long enough for HS512, which wants 64 bytes",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wanted.items():
            patch.setenv(name, value)
        from airflow.api_fastapi.app import purge_cached_app
        from airflow.models import import_all_models
        from airflow.models.base import Base

        from airflow import settings as airflow_settings

        settings: Any = airflow_settings
        import_all: Any = import_all_models
        names = ("SQL_ALCHEMY_CONN", "engine", "Session", "NonScopedSession")
        before = {name: getattr(settings, name, None) for name in names}
        settings.configure_vars()
        settings.configure_orm()
        import_all()
        Base.metadata.create_all(settings.get_engine())
        yield settings
        purge_cached_app()
        settings.engine.dispose()
        for name, kept in before.items():
            setattr(settings, name, kept)


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], str]]:
    """Airflow's auth manager at work; the value makes a token for a name and a role."""
    folder = tmp_path_factory.mktemp("auth")
    with airflow_tables(
        folder,
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS="ada:user,vera:viewer,otto:user",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(folder / "passwords.json"),
    ):
        from airflow.api_fastapi.app import create_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        manager = create_auth_manager()
        manager.init()

        def token(name: str, role: str) -> str:
            return str(manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role)))

        yield token


@dataclass
class Web:
    """The app with clients of several persons."""

    folder: Path
    token: Callable[[str, str], str]
    app: Any
    client: Any
    models: dict[str, Gateway | None] = field(default_factory=dict)

    def model(self, *answers: Any) -> Scripted:
        """Let a scripted model answer."""
        model = Scripted(*answers)
        self.models["now"] = gateway_over(model)
        return model

    def ask(
        self, method: str, path: str, body: Any = None, *, name: str = "ada", role: str = "USER", **headers: str
    ) -> Any:
        """Ask as a person, with a Bearer token."""
        told = {
            "Authorization": f"Bearer {self.token(name, role)}",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        return self.client.request(method, BASE + path, json=body, headers=told)

    def events(self, job: str, *, name: str = "ada", **headers: str) -> list[tuple[int, str, Any]]:
        """Return the events of a job, to its end."""
        found = []
        for frame in self.ask("GET", f"/jobs/{job}/events", name=name, **headers).text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
            if "event" in lines:
                found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
        return found


@contextmanager
def serving(folder: Path, auth: Callable[[str, str], str]) -> Iterator[Web]:
    """Serve the app below a parent, as Airflow's API server does."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from dataforge.web.app import PREFIX, make_app

    web = Web(folder, auth, None, None, {"now": None})
    web.app = make_app(lambda: web.models["now"])
    parent = FastAPI(lifespan=web.app.router.lifespan_context and (lambda _: web.app.router.lifespan_context(web.app)))
    parent.mount(PREFIX, web.app)
    with TestClient(parent, base_url="http://airflow.example", raise_server_exceptions=False) as client:
        web.client = client
        yield web


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Callable[[str, str], str]) -> Iterator[Web]:
    """The app over a configs folder with one config."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "sales.csv").write_text(
        "id,email,cents\n1,ada@example.com,100\n2,bob@example.com,900\n", encoding="utf-8"
    )
    (folder / "sales.json").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", f"postgres://shop:{CANARY}@10.1.2.3/shop")
    get_settings.cache_clear()
    assert os.environ["AIRFLOW_HOME"].startswith(str(tmp_path))
    with serving(folder, auth) as found:
        yield found
