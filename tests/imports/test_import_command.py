"""`dataforge import`: what the command does with what a converter returns."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dataforge.cli import importing, main
from dataforge.errors import ConfigError
from dataforge.imports import documents
from dataforge.imports.documents import dag_id, read_document, table_name
from dataforge.imports.gaps import Gap, Imported


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a kind whose converter makes one config named by the file's text, with one gap."""

    def convert(text: str, *, file: Path) -> Imported:
        config: dict[str, Any] = {
            "dag_id": text.strip(),
            "source": {"type": "http", "connection": "shop_api", "endpoint": "/orders"},
            "destination": {"type": "duckdb", "table": "orders"},
        }
        return Imported((config,), (Gap(f"{file.name}/auth", "a login by hand", "make a token"),))

    module = ModuleType("dataforge.imports.made_up")
    module.convert = convert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(importing.KINDS, "made-up", importing.Kind("made_up", "a kind of this test"))
    monkeypatch.delenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", raising=False)
    file = tmp_path / "api.txt"
    file.write_text("orders_daily")
    return file


def test_without_a_folder_the_config_is_printed_and_the_gaps_are_told(
    described: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "made-up", str(described)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["dag_id"] == "orders_daily"
    assert "gap: api.txt/auth: a login by hand -> make a token" in err
    assert "1 configs, 1 gaps, 0 errors" in err
    assert main(["import", "made-up", str(described), "--strict"]) == 1


def test_files_are_written_and_never_overwritten_without_force(
    described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "configs"
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    assert main(["import", "made-up", str(described), "--to", str(folder)]) == 0
    written = folder / "orders_daily.json"
    assert json.loads(written.read_text())["source"]["endpoint"] == "/orders"
    written.write_text("{}")
    assert main(["import", "made-up", str(described), "--to", str(folder)]) == 2
    assert written.read_text() == "{}"
    assert main(["import", "made-up", str(described), "--to", str(folder), "--force"]) == 0
    assert written.read_text() != "{}"


def test_validation_speaks_about_the_result(described: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described.write_text("9 lives")
    assert main(["import", "made-up", str(described), "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["configs"][0]["dag_id"] == "9 lives"
    assert [finding["pointer"] for finding in report["findings"]] == ["/dag_id"]
    assert report["gaps"] == [{"place": "api.txt/auth", "what": "a login by hand", "remedy": "make a token"}]


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path, described: Path) -> None:
    assert main(["import", "made-up", str(tmp_path / "none.yaml")]) == 2
    described.write_bytes(b"\xff\xfe\x00")
    assert main(["import", "made-up", str(described)]) == 2


def test_a_version_that_looks_like_a_date_stays_text() -> None:
    assert read_document("version: 2024-10-01\nat: 2024-01-01T00:00:00Z", Path("a.yaml")) == {
        "version": "2024-10-01",
        "at": "2024-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("text", ["a: [", "- 1", "!!python/object/apply:os.getcwd []", "a: !!python/name:os.system x"])
def test_what_holds_no_plain_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_document(text, Path("a.yaml"))


def test_aliases_that_stand_for_billions_of_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 10_000)
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="more than"):
        read_document("\n".join(lines), Path("bomb.yaml"))


def test_names_are_made_valid() -> None:
    assert dag_id("Shop API", "9 orders/all") == "Shop_API_9_orders_all"
    assert dag_id("//", "1") == "pipeline"
    assert table_name("lineItems.V2") == "line_items_v2"
    assert table_name("2024") == "t_2024"
