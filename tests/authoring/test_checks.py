from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.authoring.catalogue import Catalogue, Known, masked, read, with_tables
from dataforge.authoring.checks import check, estimate
from dataforge.authoring.policies import Policies, shortest_gap
from dataforge.config.files import read_folder
from dataforge.config.pipeline import parse
from dataforge.errors import ConfigError
from dataforge.settings import get_settings

CONFIG: dict[str, Any] = {
    "dag_id": "orders",
    "schedule": "*/5 * * * *",
    "tags": ["sales"],
    "source": {"type": "postgres", "connection": "shop_db", "table": "orders"},
    "destination": {
        "type": "postgres",
        "connection": "warehouse",
        "table": "sales.orders",
        "write_disposition": "append",
    },
}
KNOWN = (Known("shop_db", "postgres"), Known("warehouse", "postgres"), Known("shop_api", "http"))


def found(config: dict[str, Any], catalogue: Catalogue) -> list[tuple[str, str, str]]:
    return [(one.code, one.severity, one.pointer) for one in check(config, catalogue=catalogue).findings]


def test_a_sound_config_has_no_findings(tmp_path: Path) -> None:
    assert found(CONFIG, Catalogue(KNOWN, complete=True, folder=tmp_path)) == []


def test_a_connection_must_exist_and_be_of_the_right_type(tmp_path: Path) -> None:
    catalogue = Catalogue(KNOWN, complete=True, folder=tmp_path)
    typo = {**CONFIG, "source": {**CONFIG["source"], "connection": "shopdb"}}
    checked = check(typo, catalogue=catalogue)
    assert [(one.code, one.pointer) for one in checked.findings] == [("unknown-connection", "/source/connection")]
    assert checked.findings[0].suggestion == "did you mean 'shop_db'?"
    assert checked.findings[0].line == 5
    other = {**CONFIG, "source": {**CONFIG["source"], "connection": "shop_api"}}
    assert found(other, catalogue) == [("unfit-connection", "error", "/source/connection")]


def test_where_not_all_connections_are_known_an_unknown_one_is_a_warning(tmp_path: Path) -> None:
    assert ("unknown-connection", "warning", "/source/connection") in found(CONFIG, Catalogue((), folder=tmp_path))


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"destinations": [{"type": "duckdb"}]}, "/destination"),
        ({"destinations": [{"type": "postgres", "table": "mart.*"}]}, "/destination"),
        ({"forbidden_connections": ["shop_*"]}, "/source/connection"),
        ({"connections": ["warehouse"]}, "/source/connection"),
        ({"dag_id": "[a-z]+_daily"}, "/dag_id"),
        ({"table": "dwh[.].*"}, "/destination/table"),
        ({"owners": ["data", "bi"]}, "/owner"),
        ({"required_tags": ["gdpr"]}, "/tags"),
        ({"tags": ["finance"]}, "/tags/0"),
        ({"schedules": ["@daily"]}, "/schedule"),
        ({"shortest_interval": "15m"}, "/schedule"),
        ({"checks": ["not_null"]}, "/checks"),
    ],
)
def test_a_broken_policy_is_a_finding_at_its_place(rule: dict[str, Any], pointer: str, tmp_path: Path) -> None:
    catalogue = Catalogue(KNOWN, complete=True, folder=tmp_path, policies=Policies.model_validate(rule))
    assert ("policy", "error", pointer) in found(CONFIG, catalogue)


def test_policies_are_read_from_the_folder_and_are_no_pipeline(tmp_path: Path) -> None:
    (tmp_path / "policies.json").write_text('{"required_tags": ["gdpr"]}', encoding="utf-8")
    assert read(tmp_path, airflow=False).policies.required_tags == ("gdpr",)
    assert read_folder(tmp_path).findings == ()
    (tmp_path / "policies.json").write_text('{"required_tag": ["gdpr"]}', encoding="utf-8")
    with pytest.raises(ConfigError, match="required_tag"):
        read(tmp_path, airflow=False)


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("@hourly", 60),
        ("*/5 * * * *", 5),
        ("0 6,18 * * *", 720),
        ("every 90m", 90),
        ("30 6 * * *", 1440),
        ("0,50 * * * *", 10),
    ],
)
def test_the_shortest_time_between_runs_is_known(schedule: str, minutes: int) -> None:
    gap = shortest_gap(schedule)
    assert gap is not None
    assert gap.total_seconds() == minutes * 60


def test_a_name_of_another_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "first.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    catalogue = read(tmp_path, airflow=False)
    checked = check(CONFIG, catalogue=catalogue, path=tmp_path / "second.json")
    assert "duplicate-dag-id" in {one.code for one in checked.findings}
    assert "duplicate-dag-id" not in {
        one.code for one in check(CONFIG, catalogue=catalogue, path=tmp_path / "first.json").findings
    }


def test_columns_of_a_file_are_discovered_within_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(tmp_path))
    get_settings.cache_clear()
    (tmp_path / "a.csv").write_text("id,name\n1,x\n", encoding="utf-8")
    catalogue = with_tables(
        Catalogue(folder=tmp_path), [{"type": "csv", "path": "a.csv"}, {"type": "csv", "path": "gone.csv"}]
    )
    assert catalogue.columns == ("id", "name")
    assert any("gone.csv" in note for note in catalogue.notes)
    assert (
        estimate(
            parse(
                {
                    "dag_id": "d",
                    "source": {"type": "csv", "path": "a.csv"},
                    "destination": {"type": "duckdb", "table": "t"},
                }
            )
        )[0].bytes
        == 12
    )


def test_samples_hide_what_columns_say_is_personal() -> None:
    rows = [{"email": "a@b.de", "amount": 3, "note": "x"}]
    assert masked(rows, ["note"]) == ({"email": "***", "amount": 3, "note": "***"},)


def test_airflow_builds_the_dag_in_a_child_process(tmp_path: Path) -> None:
    catalogue = Catalogue(KNOWN, complete=True, folder=tmp_path)
    assert check(CONFIG, catalogue=catalogue, build=True).findings == ()
