"""The fixers: what each determined finding becomes, and that nothing else is touched."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from benchmarks.authoring.faults import inject, run

from dataforge.authoring.editing import patch
from dataforge.authoring.fixers import FIXERS, Fixed, fix
from dataforge.authoring.fixers.values import dates, duration_text, schedules
from dataforge.config.findings import CODES
from dataforge.config.json_reader import read_json
from dataforge.settings import Settings

ROOT = Path("/nowhere/configs")
SETTINGS = Settings(configs_folder=ROOT)
BASE: dict[str, Any] = {
    "dag_id": "orders",
    "source": {"type": "csv", "path": "orders.csv"},
    "destination": {"type": "postgres", "connection": "warehouse", "table": "sales.orders"},
}


def fixed(config: Any, **more: Any) -> Fixed:
    return fix(config, path=ROOT / "orders.json", root=ROOT, settings=SETTINGS, today=date(2025, 6, 1), **more)


def with_(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**BASE, **changes}.items() if value is not ...}


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a misspelled key", {"shedule": "@daily"}, {"schedule": "@daily"}),
    ("an older key", {"schedule_interval": "@daily"}, {"schedule": "@daily"}),
    ("task settings at the top", {"retries": 2}, {"default_args": {"retries": 2}}),
    (
        "a schedule in default_args",
        {"default_args": {"schedule": "@daily"}},
        {"default_args": {}, "schedule": "@daily"},
    ),
    ("days_ago", {"start_date": "days_ago(2)"}, {"start_date": "2025-05-30"}),
    ("a German date", {"start_date": "31.01.2025"}, {"start_date": "2025-01-31"}),
    ("provide_context", {"provide_context": True}, {}),
    ("a list in a text", {"tags": "a, b"}, {"tags": ["a", "b"]}),
    ("a number in quotes", {"max_active_runs": "3"}, {"max_active_runs": 3}),
    ("a truth in quotes", {"catchup": "no"}, {"catchup": False}),
    ("a duration in words", {"default_args": {"retry_delay": "5 minutes"}}, {"default_args": {"retry_delay": "5m"}}),
    ("a city as time zone", {"timezone": "Berlin"}, {"timezone": "Europe/Berlin"}),
    ("cron with four fields", {"schedule": "0 6 * *"}, {"schedule": "0 6 * * *"}),
    ("Quartz", {"schedule": "0 30 6 * * ?"}, {"schedule": "30 6 * * ?"}),
    (
        "another name of a source",
        {"source": {"type": "csv_file", "file": "a.csv"}},
        {"source": {"type": "csv", "path": "a.csv"}},
    ),
    ("a source as a text", {"source": "in/orders.csv"}, {"source": {"type": "csv", "path": "in/orders.csv"}}),
    (
        "a write mode",
        {"destination": {**BASE["destination"], "mode": "overwrite"}},
        {"destination": {**BASE["destination"], "write_disposition": "replace"}},
    ),
    (
        "an upsert with a key",
        {"destination": {**BASE["destination"], "write_disposition": "upsert", "keys": "id"}},
        {"destination": {**BASE["destination"], "write_disposition": "merge", "primary_key": ["id"]}},
    ),
    (
        "scd2 as a write mode",
        {"destination": {**BASE["destination"], "write_disposition": "scd2", "primary_key": ["id"]}},
        {
            "destination": {
                **BASE["destination"],
                "write_disposition": "merge",
                "primary_key": ["id"],
                "merge_strategy": "scd2",
            }
        },
    ),
    ("a type as key", {"transforms": [{"limit": {"count": 5}}]}, {"transforms": [{"type": "limit", "count": 5}]}),
    (
        "columns a level too high",
        {"transforms": [{"type": "rename", "id": "order_id"}]},
        {"transforms": [{"type": "rename", "columns": {"id": "order_id"}}]},
    ),
    (
        "options a level too deep",
        {"source": {"type": "csv", "options": {"path": "a.csv", "delimiter": ";"}}},
        {"source": {"type": "csv", "path": "a.csv", "delimiter": ";"}},
    ),
    (
        "a condition that begins with where",
        {"transforms": [{"type": "filter", "where": "where a => 1;"}]},
        {"transforms": [{"type": "filter", "where": "a >= 1"}]},
    ),
    (
        "rejects without dead letters",
        {"checks": [{"type": "not_null", "columns": ["a"], "severity": "reject"}]},
        {"checks": [{"type": "not_null", "columns": ["a"], "severity": "reject"}], "dead_letters": {"max_share": 0.01}},
    ),
]


@pytest.mark.parametrize(("changes", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_determined_fault_is_fixed(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    result = fixed(with_(**changes))
    assert result.valid, result.errors
    assert result.config == with_(**wanted)


def test_every_fix_says_what_it_did_as_json_patch() -> None:
    before = with_(shedule="dayly", tags="a")
    result = fixed(before)
    operations = [operation for each in result.applied for operation in each.operations]
    assert patch(before, operations) == result.config
    assert all(each.reason and each.code in CODES for each in result.applied)
    assert result.applied[0].to_json()["patch"]


def test_what_is_not_touched_stays_byte_for_byte() -> None:
    text = '{ "dag_id" :"orders",\n\t"source": {"type":"csv",  "path":"ü.csv"},\n "destination": '
    text += '{"type": "duckdb","tabel": "o"} }\r\n'
    assert fixed(text).text == text.replace("tabel", "table")


def test_a_valid_config_is_left_alone() -> None:
    text = json.dumps(BASE)
    assert (fixed(text).text, fixed(text).applied) == (text, ())


def test_what_is_not_determined_is_left() -> None:
    for changes in (
        {"start_date": "03/04/2025"},
        {"schedule": "sometimes"},
        {"transforms": [{"type": "filter"}]},
        {"destination": {"type": "postgres", "connection": "warehouse"}},
        {"source": {"type": "json", "path": "a.json"}, "sources": {"b": {"type": "csv", "path": "b.csv"}}},
    ):
        text = json.dumps(with_(**changes))
        result = fixed(text)
        assert not result.valid
        assert result.text == text


def test_a_secret_is_taken_out_and_told_nowhere() -> None:
    secret = "correct-horse-battery"
    result = fixed(with_(destination={**BASE["destination"], "password": secret}))
    assert result.config == BASE
    assert "'warehouse'" in result.advice[0].message
    assert secret not in repr(result.applied)
    assert secret not in repr(result.advice)


def test_the_only_connection_of_a_kind_is_put_in() -> None:
    lacking = with_(destination={"type": "postgres", "table": "sales.orders"})
    assert fixed(lacking, connections={"warehouse": "postgres", "api": "http"}).valid
    assert not fixed(lacking, connections={"warehouse": "postgres", "other": "postgres"}).valid
    assert not fixed(lacking).valid


def test_fixers_are_registered_for_known_codes_only() -> None:
    assert set(FIXERS) <= set(CODES)


def test_hostile_texts_end() -> None:
    for text in ("[" * 2000, "{" * 2000, "'" * 1000, "{a:" * 900, "", "\0" * 50):
        assert fixed(text).config is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5 minutes", "5m"), ("PT1H30M", "90m"), ("00:00:30", "30s"), ("timedelta(hours=2)", "2h"),
        ("half an hour", "30m"),
        ({"minutes": 5}, "5m"), ("1 day, 2 hours", "26h"), ("soon", None), ("5 parsecs", None), ("P", None),
    ],
)  # fmt: skip
def test_durations_have_one_reading_or_none(written: Any, meant: str | None) -> None:
    assert duration_text(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("every day", "@daily"), ("daily at 6:30 pm", "30 18 * * *"), ("weekdays at 7", "0 7 * * 1-5"),
        ("manual", None),
        ("timedelta(hours=1)", "every 1h"), ("every monday at 5", "0 5 * * 1"), ("0 6 * * 1, 3", "0 6 * * 1,3"),
        ("0 6 * * Monday-Friday", "0 6 * * mon-fri"), ("@every 15m", "every 15m"), ("*/15 * * *", "*/15 * * * *"),
    ],
)  # fmt: skip
def test_schedules_in_other_words_are_understood(written: str, meant: str | None) -> None:
    assert next(iter(schedules(written))) == meant


def test_an_ambiguous_date_has_no_reading() -> None:
    assert list(dates("03/04/2025", date(2025, 6, 1))) == []
    assert list(dates("13/04/2025", date(2025, 6, 1))) == ["2025-04-13"]
    assert list(dates("2025-02-30", date(2025, 6, 1))) == []


def test_seven_of_ten_injected_faults_are_fixed_without_a_model() -> None:
    outcomes = run(inject(most=1))
    assert len(outcomes) >= 45
    assert sum(outcome.good for outcome in outcomes) / len(outcomes) >= 0.7
    assert not [outcome for outcome in outcomes if outcome.valid and outcome.elsewhere]
    assert all(
        outcome.fixed.config is None or read_json(outcome.fixed.text) == outcome.fixed.config for outcome in outcomes
    )
