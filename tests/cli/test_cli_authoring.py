from __future__ import annotations

import getpass
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataforge.authoring.deploy import history
from dataforge.authoring.models import StoreLedger
from dataforge.cli import main
from dataforge.gateway.base import Gateway
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import get_settings
from dataforge.store import chats
from dataforge.store.database import open_store

REQUEST = "Every day at 6 load sales.csv, only rows where status is 'paid', into the duckdb table sales, replace it"

OPEN = "load sales.csv into the duckdb table sales, replacing it, but squash whatever is small"


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


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_chat_ends_cleanly_by_ctrl_d_and_ctrl_c_and_tells_what_was_not_written(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    lines: Iterator[str | type[BaseException]] = iter([REQUEST, "/nonsense", end])

    def read(_: str = "") -> str:
        line = next(lines)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", read)
    main(["chat", "--no-model"])
    told = capsys.readouterr().err
    assert "there is no '/nonsense'" in told
    assert told.rstrip().endswith("the config was not written; /write does that")
    assert not list(configs.glob("*.json"))


def test_ctrl_c_while_a_model_answers_ends_the_answer_and_not_the_chat(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"transforms": [{"type": "filter", "where": "amount > 1"}], "checks": []})
    gateway = gateway_over(Scripted(answer))
    monkeypatch.setattr("dataforge.authoring.models.open_models", lambda: _Raising(gateway))
    lines = iter([OPEN, OPEN, "/write", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _="": next(lines))
    assert main(["chat"]) == 0
    assert "stopped; nothing was changed" in capsys.readouterr().err
    (path,) = configs.glob("*.json")
    (revision,) = history(path, root=configs)
    assert (revision.model, revision.reason) == ("scripted/scripted", OPEN)
    assert revision.prompt_hash


class _Raising:
    """A gateway whose first answer is ended by Ctrl-C, as the person's thread sees it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._first = True

    def complete(self, *arguments: Any) -> Any:
        if self._first:
            self._first = False
            raise KeyboardInterrupt
        return self._gateway.complete(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)


def test_what_a_model_wrote_is_recorded_and_its_revision_names_it(
    configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"transforms": [{"type": "filter", "where": "amount > 1"}], "checks": []})
    gateway = gateway_over(Scripted(answer), ledger=StoreLedger())
    monkeypatch.setattr("dataforge.authoring.models.open_models", lambda: gateway)
    assert main(["author", OPEN, "--yes", "--name", "sales.json"]) == 0
    (kept,) = chats.generations(open_store(), getpass.getuser())
    (revision,) = history("sales.json", root=configs)
    assert (kept["kind"], kept["model"]) == ("author", "scripted/scripted")
    assert (revision.model, revision.prompt_hash) == (kept["model"], kept["prompt_hash"])
    assert revision.reason == OPEN
    assert main(["usage", "--actor", getpass.getuser(), "--format", "json"]) == 0


def test_logs_stay_out_of_the_json_where_airflow_sends_them_to_standard_output(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"transforms": [{"type": "filter", "where": "amount > 1"}], "checks": []})
    gateway = gateway_over(Scripted(answer))
    monkeypatch.setattr("dataforge.authoring.models.open_models", lambda: gateway)
    monkeypatch.setenv("DATAFORGE_LOG", "INFO")
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger().addHandler(handler)
    try:
        assert main(["author", OPEN, "--format", "json"]) == 0
    finally:
        logging.getLogger().removeHandler(handler)
    told = capsys.readouterr()
    assert json.loads(told.out)["status"] == "valid"
    assert "model called" in told.err
    monkeypatch.setenv("DATAFORGE_LOG", "loud")
    assert main(["models"]) == 2


@pytest.mark.parametrize(
    "command",
    [["refine", "sale.json", "x"], ["explain", "sale"], ["repair", "sale"], ["history", "sale"], ["show", "sale"]],
)
def test_a_wrong_name_of_a_config_suggests_the_near_one(
    configs: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (configs / "sales.json").write_text("{}", encoding="utf-8")
    assert main(command) == 2
    assert "did you mean 'sales.json'?" in capsys.readouterr().err


def test_a_config_of_the_configs_folder_needs_neither_its_path_nor_json(
    configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["author", REQUEST, "--no-model", "--yes", "--name", "sales.json"]) == 0
    assert main(["explain", "sales", "--no-model"]) == 0
    assert main(["history", "sales"]) == 0
    assert main(["refine", "sales", "append the rows", "--no-model", "--yes"]) == 0
    assert '"append"' in (configs / "sales.json").read_text(encoding="utf-8")


def test_windows_line_ends_stay_when_a_config_is_refined(configs: Path) -> None:
    path = configs / "sales.json"
    lines = [
        "{", '  "dag_id": "sales",', '  "source": {"type": "csv", "path": "sales.csv"},',
        '  "destination": {"type": "duckdb", "table": "sales", "write_disposition": "replace"}', "}", "",
    ]  # fmt: skip
    path.write_bytes("\r\n".join(lines).encode())
    assert main(["refine", str(path), "append the rows", "--no-model", "--yes"]) == 0
    assert path.read_bytes() == "\r\n".join(lines).replace('"replace"', '"append"').encode()


def test_models_and_usage_answer_without_a_server(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert main(["usage", "--format", "json"]) == 0
    assert capsys.readouterr().out
