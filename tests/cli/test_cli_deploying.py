"""`repair`, `deploy`, `rollback` and `history` as a person and a machine use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.cli import main
from dataforge.settings import get_settings

CONFIG: dict[str, Any] = {
    "dag_id": "orders",
    "schedule": "@daily",
    "source": {"type": "csv", "path": "orders.csv"},
    "destination": {"type": "duckdb", "table": "orders"},
}


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    return folder


def text_of(**changes: Any) -> str:
    return json.dumps({**CONFIG, **changes}, indent=2) + "\n"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code = main([*map(str, arguments), "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_repair_shows_what_it_would_do_and_writes_only_when_told(
    configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configs / "orders.json"
    path.write_text(text_of(schedule="dayly"))
    assert main(["repair", str(path), "--no-model"]) == 0
    out = capsys.readouterr().out
    assert '-  "schedule": "dayly"' in out
    assert "repeat with --yes" in out
    assert "dayly" in path.read_text()
    assert main(["repair", str(path), "--no-model", "--yes"]) == 0
    assert path.read_text() == text_of()
    code, found = call(capsys, "history", path) if capsys.readouterr() else (1, [])
    assert code == 0
    assert [one["kind"] for one in found] == ["deploy", "found"]


def test_repair_without_a_model_says_what_is_left(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configs / "orders.json"
    path.write_text(text_of(schedule="now and then", retries=3))
    code, found = call(capsys, "repair", path, "--no-model")
    assert code == 1
    assert found["stopped"] == "no model"
    assert [each["pointer"] for each in found["findings"]] == ["/schedule"]
    assert found["config"]["default_args"] == {"retries": 3}
    assert found["written"] is None
    assert "retries" in path.read_text()


def test_a_failed_run_is_repaired_from_its_log(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configs / "orders.json"
    path.write_text(text_of(transforms=[{"type": "filter", "where": "amuont > 0"}]))
    folder = configs.parent / "logs" / "dag_id=orders" / "run_id=manual__1" / "task_id=transform"
    folder.mkdir(parents=True)
    said = "/transforms/0/where: column 'amuont' is not known (did you mean 'amount'?)"
    error = {"exc_type": "ConfigError", "exc_value": said}
    line = {"level": "error", "event": "Task failed with exception", "error_detail": [error]}
    (folder / "attempt=1.log").write_text(json.dumps(line) + "\n")
    code, found = call(capsys, "repair", "--run", "orders", "manual__1", "--no-model", "--yes")
    assert code == 0
    assert "amuont" in found["failure"]["explanation"]
    assert json.loads(path.read_text())["transforms"][0]["where"] == "amount > 0"
    assert main(["repair", "--run", "orders", "../../etc", "--no-model"]) == 3
    assert main(["repair", "--run", "nobody", "x", "--no-model"]) == 2


def test_deploy_history_and_rollback_go_together(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = tmp_path / "orders.json"
    draft.write_text(text_of())
    code, first = call(capsys, "deploy", draft, "--message", "first", "--yes")
    assert (code, first["status"]) == (0, "deployed")
    draft.write_text(text_of(tags=["b"]))
    code, seen = call(capsys, "deploy", draft)
    assert (code, seen["status"]) == (0, "not-deployed")
    code, second = call(capsys, "deploy", draft, "--yes", "--base", first["digest"][:12])
    assert '"b"' in second["diff"]
    draft.write_text(text_of(tags=["c"]))
    assert call(capsys, "deploy", draft, "--yes", "--base", first["digest"])[0] == 3
    code, found = call(capsys, "history", "orders.json")
    assert [one["reason"] for one in found] == ["", "first"]
    code, _ = call(capsys, "rollback", "orders.json", "--yes")
    assert (code, (configs / "orders.json").read_text()) == (0, text_of())
    assert main(["history", "orders.json"]) == 0
    assert "back to revision" in capsys.readouterr().out


def test_a_deploy_with_errors_is_refused_with_its_findings(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = tmp_path / "orders.json"
    draft.write_text(text_of(shedule=1))
    code, found = call(capsys, "deploy", draft, "--yes")
    assert (code, found["status"]) == (1, "findings")
    assert found["findings"][0]["code"] == "unknown-key"
    assert not (configs / "orders.json").exists()
