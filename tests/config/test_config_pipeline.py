from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.samples import good, plain

from dataforge.config.cron import check_cron
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import ConfigError, Problem


def problems(config: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(config)
    return list(caught.value.problems)


def test_a_good_config_survives_a_round_trip() -> None:
    config = parse(good())
    again = parse(json.loads(config.model_dump_json(by_alias=True, exclude_unset=True)))
    assert again == config


SCHEDULES = st.sampled_from(["@daily", "0 6 * * 1-5", "every 15m", None, {"asset": "a/b"}, {"any": [{"asset": "x"}]}])


@given(
    schedule=SCHEDULES,
    retries=st.integers(0, 100),
    delay=st.sampled_from(["5m", "90s", 30, "1h30m"]),
    tags=st.lists(st.text(min_size=1, max_size=100), max_size=3),
    description=st.text(max_size=50),
    params=st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), st.text() | st.integers() | st.booleans(), max_size=3),
)
def test_any_valid_config_survives_a_round_trip(
    schedule: Any, retries: int, delay: Any, tags: list[str], description: str, params: dict[str, Any]
) -> None:
    args = {"retries": retries, "retry_delay": delay}
    config = parse(
        plain(schedule=schedule, tags=tags, description=description, params=params, default_args=args, catchup=True)
    )
    assert parse(config.model_dump(mode="json", by_alias=True)) == config


@pytest.mark.parametrize(
    ("changes", "code", "path", "hint"),
    [
        ({"schedule": "@dayly"}, "invalid-value", ("schedule",), "did you mean '@daily'?"),
        ({"schedule": {"aset": "x"}}, "unknown-key", ("schedule", "aset"), "did you mean 'asset'?"),
        (
            {"schedule": {"any": [{"asset": "x"}, {"assets": "y"}]}},
            "unknown-key",
            ("schedule", "any", 1, "assets"),
            None,
        ),
        ({"schedule": {"all": []}}, "invalid-value", ("schedule", "all"), None),
        ({"schedule": 5}, "wrong-type", ("schedule",), None),
        ({"schedule": "61 * * * *"}, "invalid-value", ("schedule",), None),
        ({"schedule": "0 0 30 2 *"}, "invalid-value", ("schedule",), None),
        ({"schedule": "every day"}, "invalid-value", ("schedule",), None),
        ({"schedule": "every 0s"}, "invalid-value", ("schedule",), None),
        ({"execution": "stagd"}, "invalid-choice", ("execution",), "did you mean 'staged'?"),
        ({"timezone": "Europe/Berln"}, "invalid-value", ("timezone",), None),
        ({"start_date": 20250101}, "wrong-type", ("start_date",), None),
        ({"start_date": "2025-02-30"}, "invalid-value", ("start_date",), None),
        ({"end_date": "2024-01-01"}, "invalid-value", ("end_date",), None),
        ({"default_args": {"retries": "3"}}, "wrong-type", ("default_args", "retries"), None),
        ({"default_args": {"retrys": 3}}, "unknown-key", ("default_args", "retrys"), "did you mean 'retries'?"),
        ({"catchup": 1}, "wrong-type", ("catchup",), None),
        ({"desc": "x"}, "unknown-key", ("desc",), "did you mean 'description'?"),
        ({"tags": "sales"}, "wrong-type", ("tags",), None),
        ({"params": {"region": "eu", "day": {"type": "dat"}}}, "invalid-choice", ("params", "day", "type"), None),
        ({"source": {"type": "cvs", "path": "x"}}, "unknown-source", ("source", "type"), "did you mean 'csv'?"),
        ({"source": {"type": "csv", "pth": "x"}}, "unknown-key", ("source", "pth"), "did you mean 'path'?"),
        ({"source": {"type": "csv"}}, "missing-key", ("source", "path"), None),
        ({"source": {"path": "x"}}, "missing-key", ("source", "type"), None),
        ({"source": ...}, "missing-key", (), None),
        ({"sources": {"a": {"type": "csv", "path": "x"}}}, "conflicting-keys", ("sources",), None),
        ({"destination": []}, "invalid-value", ("destination",), None),
        ({"destination": "postgres"}, "wrong-type", ("destination",), None),
        ({"transforms": {}}, "wrong-type", ("transforms",), None),
        ({"schedule_interval": "@daily"}, "conflicting-keys", ("schedule_interval",), None),
        ({"dag_id": "a..b"}, "invalid-value", ("dag_id",), None),
        ({"dag_id": "orders\n"}, "invalid-value", ("dag_id",), None),
    ],
)
def test_one_fault_is_one_problem_at_its_place(
    changes: dict[str, Any], code: str, path: tuple[Any, ...], hint: str | None
) -> None:
    [problem] = problems(good(**changes))
    assert (problem.code, problem.path) == (code, path)
    assert hint is None or problem.suggestion == hint


def test_all_faults_are_told_at_once() -> None:
    config = good(catchup="yes", tags=[1], source={"type": "csv"}, destination={"type": "postgres", "table": "t"})
    assert {problem.path for problem in problems(config)} == {
        ("catchup",),
        ("tags", 0),
        ("source", "path"),
        ("destination", "connection"),
    }


@pytest.mark.parametrize("value", [None, 3, "x", [], [1]])
def test_a_config_that_is_no_object_is_one_problem(value: Any) -> None:
    assert [problem.code for problem in problems(value)] == ["wrong-type"]


def test_the_older_name_of_the_schedule_is_understood() -> None:
    assert parse(good(schedule=..., schedule_interval="@hourly")).schedule == "@hourly"


def test_dates_without_offset_are_read_in_the_time_zone() -> None:
    config = parse(good(timezone="Europe/Berlin", start_date="2025-07-01", end_date="2025-07-02"))
    assert config.starts_at is not None
    assert config.ends_at is not None
    assert config.starts_at.astimezone(timezone.utc) == datetime(2025, 6, 30, 22, tzinfo=timezone.utc)
    assert config.ends_at.isoformat() == "2025-07-02T23:59:59.999999+02:00"


def test_aware_and_naive_dates_are_compared() -> None:
    parse(good(start_date="2025-01-01T00:00:00Z", end_date="2025-01-01"))
    [problem] = problems(good(start_date="2025-01-02T06:00:00+02:00", end_date="2025-01-01"))
    assert problem.path == ("end_date",)


ODD = "mon MON-FRI jan L l 5#2 L5 mon#1 x 1- -1 1--2 fri#6 8#1 */99 1,,2 00 feb-apr"
FIELD = st.sampled_from(
    ["*", "?", "0", "5", "7", "12", "31", "59", "60", "*/5", "*/0", "1-5", "5-1", "1,2", "10-20/3"]
) | (st.sampled_from(ODD.split(" ")))


@given(st.lists(FIELD, min_size=5, max_size=6))
def test_our_check_of_cron_never_takes_what_airflow_refuses(fields: list[str]) -> None:
    croniter = pytest.importorskip("croniter")
    text = " ".join(fields)
    try:
        check_cron(text)
    except ValueError:
        return
    assert croniter.croniter.is_valid(text), text


@given(st.tuples(*[st.sampled_from(["*", "1", "*/2", "1-3", "1,2", "2-3/2"])] * 5))
def test_our_check_takes_common_cron_expressions(fields: tuple[str, ...]) -> None:
    assert check_cron(" ".join(fields))


@pytest.mark.parametrize("text", ["0 6 * * MON-FRI", "0 0 L * *", "0 0 29 2 *", "30 5 1,15 jan-mar 5#2", "0 0 31 2 1"])
def test_special_cron_expressions_are_taken(text: str) -> None:
    assert check_cron(text) == text


def test_importing_the_model_stays_light() -> None:
    heavy = (
        "{'pyarrow', 'duckdb', 'sqlglot', 'jsonschema', 'airflow', 'pathspec', 'croniter', 'hypothesis', 'requests'}"
    )
    code = f"import dataforge.config.pipeline, dataforge.config.files, sys; print(sorted({heavy} & set(sys.modules)))"
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    assert done.stdout.strip() == "[]"


def test_every_field_of_the_pipeline_is_described() -> None:
    assert [name for name, info in PipelineConfig.model_fields.items() if not info.description] == []
