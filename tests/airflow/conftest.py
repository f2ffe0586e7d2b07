"""One real Airflow for all tests of this folder: the demo's four components over a configs folder of the tests' own."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from scripts import demo
from tests import model_server, scripted_ollama
from tests.web.test_web_hostile_texts import CORPUS

USERS = {demo.USER: "admin", "vera": "viewer", "otto": "user"}
"""Who may log in, by name, with the name as password; the value is the role."""
STEPS = json.dumps({"transforms": [{"type": "derive", "columns": {"n": "n * 100"}}], "checks": []})
"""What the language model says to whatever it is asked, but for what holds hostile texts: those it repeats."""
HOSTILE = " ".join(CORPUS)
PATIENCE = 60.0
"""Seconds after which something that takes about two counts as missing."""


@dataclass(frozen=True)
class Airflow:
    """A running Airflow, its REST API, and the folder of configs that it watches."""

    home: Path
    configs: Path
    api: demo.Api
    small_model: str = ""
    """The real small model, as the page names it; "" where it is not here."""

    @property
    def output(self) -> Path:
        """The folder below which pipelines write."""
        return self.home / "output"

    def put(self, name: str, config: dict[str, Any] | str) -> Path:
        """Write a config at once, as an editor does."""
        path = self.configs / name
        temporary = path.with_name(f".{name}.new")
        temporary.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
        temporary.replace(path)
        return path

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return what Airflow knows of a DAG; None when there is none in force."""
        try:
            found: dict[str, Any] = self.api.get(f"/api/v2/dags/{dag_id}/details")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return None if found["is_stale"] else found

    def errors(self) -> dict[str, str]:
        """Return the import errors: file name to text."""
        return {each["filename"]: each["stack_trace"] for each in self.api.get("/api/v2/importErrors")["import_errors"]}

    def until(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask until the answer is true; return it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if answer := ask():
                return answer
            time.sleep(0.2)
        raise AssertionError(f"waited {PATIENCE:.0f} s for {what}; import errors: {self.errors()}")

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run and wait for its success; return its id."""
        self.until(f"the DAG {dag_id}", lambda: self.dag(dag_id))
        run: str = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
        self.wait(dag_id, run)
        return run

    def wait(self, dag_id: str, run: str) -> None:
        """Wait until a run has ended well."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run}"
        state = self.until(
            f"the run of {dag_id}", lambda: (s := self.api.get(path)["state"]) in ("success", "failed") and s
        )
        assert state == "success", demo.failed_log(self.api, dag_id, run)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table of the embedded database."""
        import duckdb

        with duckdb.connect(str(self.output / "warehouse.duckdb"), read_only=True) as con:
            return con.execute(f'SELECT * FROM "{table}"').fetchall()


@contextmanager
def started(home: Path) -> Iterator[Airflow]:
    """Start an Airflow with the demo's settings; stop it at the end."""
    configs = home / "configs"
    configs.mkdir()
    (configs / "numbers.csv").write_text("n,word\n1,one\n2,two\n3,three\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
            patch.delenv(name)  # settings of the test that happens to be the first
        made = demo.prepare(home, argparse.Namespace(port=demo.free_ports(1)[0], check=False))
    (home / "passwords.json").write_text(json.dumps({name: name for name in USERS}))
    with ExitStack() as stack:
        model = stack.enter_context(scripted_ollama.running(lambda said: HOSTILE if CORPUS[4] in said else STEPS))
        environment = {
            **made.environment,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            "AIRFLOW__DATAFORGE__CONFIGS_FOLDER": str(configs),
            "AIRFLOW__DATAFORGE__WEB_REQUESTS": "0",
            "AIRFLOW__DATAFORGE__LLM_CHAIN": f"robot/{scripted_ollama.MODEL}",
            "AIRFLOW_CONN_ROBOT": json.dumps({"conn_type": "ollama", "host": "127.0.0.1", "port": model}),
            "AIRFLOW__DATAFORGE__LLM_TOTAL_SECONDS": "300",
            "AIRFLOW__DATAFORGE__LLM_FIRST_TOKEN_SECONDS": "120",
        }
        small = ""
        if model_server.weights() is not None and find_spec("xllamacpp") is not None:
            front, small = stack.enter_context(model_server.running()), f"small/{model_server.NAME}"
            environment["AIRFLOW__DATAFORGE__LLM_CHAIN"] += f",{small}"
            environment["AIRFLOW_CONN_SMALL"] = json.dumps(
                {"conn_type": "ollama", "host": "127.0.0.1", "port": front.server_port}
            )
        with demo.components(dataclasses.replace(made, environment=environment)) as running:
            yield Airflow(home, configs, demo.Api(running).login(), small)
    ours = [text for text in running.ended if re.search(r'File "[^"]*/plugins/dataforge/', text)]
    assert not ours, f"a component of Airflow ended in our code:\n{ours[0]}"


class Lease:
    """The one Airflow of this folder: started by the first test that wants it, stopped after the folder's last test."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._airflow: Airflow | None = None

    def take(self, factory: pytest.TempPathFactory) -> Airflow:
        if self._airflow is None:
            self._airflow = self._stack.enter_context(started(factory.mktemp("airflow")))
        return self._airflow

    def end(self) -> None:
        self._airflow = None
        self._stack.close()


LEASE = Lease()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Stop Airflow after the last test that uses it: it takes an eighth of a core from all that follow."""
    if nextitem is None or nextitem.path.parent != Path(__file__).parent:
        LEASE.end()


@pytest.fixture
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Return a healthy Airflow with the demo's settings."""
    return LEASE.take(tmp_path_factory)


@pytest.fixture
def numbers() -> Callable[..., dict[str, Any]]:
    """Return a function that gives a small pipeline from numbers.csv into a table of its own name."""

    def make(dag_id: str, **changes: Any) -> dict[str, Any]:
        return {
            "dag_id": dag_id,
            "default_args": {"retries": 0},
            "source": {"type": "csv", "path": "numbers.csv"},
            "destination": {"type": "duckdb", "table": dag_id, "write_disposition": "replace"},
            **changes,
        }

    return make
