from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataforge.cli import main
from dataforge.settings import get_settings

REQUEST = "Every day at 6 load sales.csv, only rows where status is 'paid', into the duckdb table sales, replace it"


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configs folder with a file of sales, and no model server."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "sales.csv").write_text("id,status,amount\n1,paid,10\n2,open,3\n", encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    return folder


def test_author_writes_a_config_that_can_be_run(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["author", REQUEST, "--no-model", "--yes", "--name", "sales.json"]) == 0
    out = capsys.readouterr().out
    assert "every day at 06:00" in out
    assert "paid" in out
    config = json.loads((configs / "sales.json").read_text(encoding="utf-8"))
    assert config["schedule"] == "0 6 * * *"
    assert main(["run", str(configs / "sales.json")]) == 0


def test_author_asks_before_it_writes(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["author", REQUEST, "--no-model", "--name", "sales.json"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert not (configs / "sales.json").exists()


def test_author_in_json_holds_config_findings_trace_and_usage(
    configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["author", REQUEST, "--no-model", "--param", "schedule=@hourly", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "valid"
    assert told["config"]["schedule"] == "@hourly"
    assert {"findings", "trace", "usage", "assumptions", "questions", "diff", "extracted"} <= set(told)


def test_a_refused_request_ends_with_a_finding(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["author", "run a python script", "--no-model", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "refused"


def test_refine_keeps_all_other_bytes(configs: Path) -> None:
    path = configs / "sales.json"
    text = (
        '{ "dag_id":"sales",\n  "source": {"type": "csv", "path":"sales.csv"},\n'
        '  "destination": {"type": "duckdb","table":"sales",  "write_disposition": "replace"}}\n'
    )
    path.write_text(text, encoding="utf-8")
    assert main(["refine", str(path), "append the rows", "--no-model", "--yes"]) == 0
    assert path.read_text(encoding="utf-8") == text.replace('"replace"', '"append"')


def test_explain_tells_a_config_and_a_finding(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["author", REQUEST, "--no-model", "--yes", "--name", "sales.json"]) == 0
    capsys.readouterr()
    assert main(["explain", str(configs / "sales.json"), "--no-model"]) == 0
    out = capsys.readouterr().out
    assert "keeps rows where status = 'paid'" in out
    assert "SELECT" in out
    assert main(["explain", "--finding", "unknown-column", "--no-model"]) == 0
    assert "No column of this name" in capsys.readouterr().out
    assert main(["explain", "--finding", "nonsense", "--no-model"]) == 1


def test_chat_keeps_its_context_from_line_to_line(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter([REQUEST, "run it hourly instead", "/diff", "/write", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _="": next(lines))
    assert main(["chat", "--no-model"]) == 0
    written = json.loads(next(configs.glob("*.json")).read_text(encoding="utf-8"))
    assert written["schedule"] == "@hourly"
    assert written["transforms"] == [{"type": "filter", "where": "status = 'paid'"}]


def test_models_and_usage_answer_without_a_server(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert main(["usage", "--format", "json"]) == 0
    assert capsys.readouterr().out
