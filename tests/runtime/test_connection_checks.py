"""Checks of connections: what is told of one that works, is away, is silent or is refused, and what is kept of it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dataforge.cli import main
from dataforge.dag_factory.health import check_connections, connections_in, named_connections
from dataforge.runtime.advice import advice_on_connection
from dataforge.runtime.checkup import check
from dataforge.settings import get_settings
from dataforge.store.database import open_store
from dataforge.store.health import listed, record

PASSWORD = "pa55-of-the-shop-91"


@contextmanager
def listening(*, answers: bool) -> Iterator[int]:
    """A server that takes connections and says nothing; with `answers` it closes them at once."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        kept = []

        def serve() -> None:
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                taken.close() if answers else kept.append(taken)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)  # else the thread in accept would keep it open
        for one in kept:
            one.close()


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


def config(folder: Path, dag_id: str, connection: str) -> None:
    folder.mkdir(exist_ok=True)
    text = {
        "dag_id": dag_id,
        "source": {"type": "postgres", "connection": connection, "table": "orders"},
        "destination": {"type": "parquet", "path": "out/"},
    }
    (folder / f"{dag_id}.json").write_text(json.dumps(text), encoding="utf-8")


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    return folder


def test_a_server_that_is_away_is_told_with_what_to_look_at_and_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, "away", conn_type="postgres", host="127.0.0.1", port=1, login="shop", password=PASSWORD)
    found = check("away")
    assert (found["state"], found["type"]) == ("failed", "postgres")
    assert "nothing listens at that host and port" in found["advice"]
    assert "127.0.0.1" not in found["advice"]
    assert PASSWORD not in json.dumps(found)


def test_a_server_that_says_nothing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(answers=False) as port:
        connect(monkeypatch, "silent", conn_type="http", host=f"http://127.0.0.1:{port}")
        began = time.monotonic()
        found = check("silent", seconds=0.5)
        assert time.monotonic() - began < 5
    assert (found["state"], "no answer within" in found["message"]) == ("failed", True)
    assert "firewall" in found["advice"]


def test_of_a_type_without_a_test_it_is_told_whether_a_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(answers=True) as port:
        connect(monkeypatch, "plain", conn_type="acme", host="127.0.0.1", port=port)
        found = check("plain")
        assert (found["state"], "whether it lets us in was not tried" in found["message"]) == ("ok", True)
    assert check("plain")["state"] == "failed"
    connect(monkeypatch, "nohost", conn_type="acme")
    assert check("nohost")["state"] == "unknown"


def test_a_missing_connection_is_told_by_its_id() -> None:
    found = check("nowhere")
    assert (found["state"], "there is no Airflow connection 'nowhere'" in found["message"]) == ("failed", True)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ('FATAL: password authentication failed for user "x"', "right login and password"),
        ("(1045, \"Access denied for user 'x'@'localhost' (using password: YES)\")", "right login and password"),
        ("(1049, \"Unknown database 'shop'\")", "no database of that name"),
        ('FATAL:  database "shop" does not exist', "no database of that name"),
        ("could not translate host name \"db\" to address: Name or service not known", "host name is not known"),
        ("(2003, \"Can't connect to MySQL server on 'db' ([Errno 111] Connection refused)\")", "nothing listens"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "certificate"),
        ("FATAL: sorry, too many clients already", "no connection left"),
        ("permission denied for schema sales", "lacks a right"),
        ("ModuleNotFoundError: No module named 'oracledb'", "install its Airflow provider"),
        ("the dog ate it", ""),
    ],
)  # fmt: skip
def test_known_failures_have_advice(said: str, advice: str) -> None:
    assert advice in advice_on_connection(said)
    assert bool(advice) == bool(advice_on_connection(said))


def test_the_registry_keeps_the_last_success_over_later_failures() -> None:
    store, first = open_store(), datetime(2026, 1, 1, tzinfo=timezone.utc)
    record(store, "shop", {"state": "ok", "message": "fine", "type": "postgres", "seconds": 0.1}, first)
    for hour in (1, 2):
        record(store, "shop", {"state": "failed", "message": "away", "advice": "look"}, first + timedelta(hours=hour))
    (kept,) = listed(store)
    assert (kept.state, kept.failures, kept.ok_at, kept.type) == ("failed", 2, first, "postgres")
    assert kept.checked_at == first + timedelta(hours=2)
    assert record(store, "shop", {"state": "ok", "message": "fine"}).failures == 0


def test_the_connections_that_configs_name_are_checked_and_kept(
    configs: Path, warehouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "away", conn_type="postgres", host="127.0.0.1", port=1)
    config(configs, "first", "warehouse")
    config(configs, "second", "away")
    config(configs, "third", "away")
    assert named_connections() == {"away": ["second", "third"], "warehouse": ["first"]}
    found = check_connections(named_connections())
    assert {name: one["state"] for name, one in found.items()} == {"away": "failed", "warehouse": "ok"}
    assert [(one.connection, one.ok_at is not None) for one in listed(open_store())] == [
        ("away", False),
        ("warehouse", True),
    ]


def test_a_connection_is_found_however_deep_it_stands_in_a_config() -> None:
    from pydantic import BaseModel

    class Inner(BaseModel):
        connection: str | None

    class Outer(BaseModel):
        parts: dict[str, list[Inner]]

    assert list(connections_in([Outer(parts={"a": [Inner(connection="deep"), Inner(connection=None)]})])) == ["deep"]


def test_the_command_line_lists_what_works_and_checks_what_it_is_asked_to(
    configs: Path, warehouse: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(monkeypatch, "away", conn_type="postgres", host="127.0.0.1", port=1)
    config(configs, "first", "warehouse")
    config(configs, "second", "away")

    def told(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = main(["connections", *arguments, "--format", "json"])
        return code, {one["connection"]: one for one in json.loads(capsys.readouterr().out)["connections"]}

    code, rows = told()
    assert (code, {one["state"] for one in rows.values()}) == (0, {"never checked"})
    code, rows = told("--check", "warehouse")
    assert (code, list(rows), rows["warehouse"]["state"]) == (0, ["warehouse"], "ok")
    code, rows = told("--check")
    assert (code, rows["away"]["failures"], rows["away"]["used_by"]) == (1, 1, ["second"])
    assert rows["away"]["ok_at"] is None
    assert rows["warehouse"]["ok_at"] is not None
    assert main(["connections"]) == 0
    assert "nothing listens at that host and port" in capsys.readouterr().out


def test_without_a_registry_a_check_still_answers(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__STORE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert check_connections(["warehouse"])["warehouse"]["state"] == "ok"
