"""Contradictions, risks and idle settings around delivery, as findings with places."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dataforge.config.findings import CODES
from dataforge.config.pipeline import parse
from dataforge.config.review import review
from dataforge.errors import ConfigError, Problem

Data = dict[str, Any]
TABLE: Data = {"type": "postgres", "connection": "warehouse", "table": "orders"}
MERGE: Data = {**TABLE, "write_disposition": "merge", "primary_key": ["id"]}
REPLACE: Data = {**TABLE, "write_disposition": "replace"}
CURSOR: Data = {"type": "csv", "path": "orders.csv", "cursor_field": "updated_at"}


def found(**changes: Any) -> list[Problem]:
    data = {"dag_id": "orders", "source": {"type": "csv", "path": "orders.csv"}, "destination": TABLE, **changes}
    problems = review(parse(data), data)
    assert {problem.code for problem in problems} <= CODES.keys()
    return problems


def told(**changes: Any) -> list[tuple[str, str, tuple[str | int, ...]]]:
    return [(problem.severity, problem.code, problem.path) for problem in found(**changes)]


def test_a_plain_pipeline_has_none() -> None:
    assert found() == []
    assert found(destination=MERGE, source={**CURSOR, "lookback": "1h"}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("merge_strategy", "scd2"), ("merge_key", ["id"]), ("duplicate_keys", "deduplicate"), ("latest_by", "day")],
)
def test_options_of_merge_without_merge_have_no_effect(key: str, value: object) -> None:
    assert told(destination={**TABLE, key: value}) == [("warning", "no-effect", ("destination", key))]


@pytest.mark.parametrize(("key", "value"), [("delete_flag", "gone"), ("missing_rows", "delete")])
def test_what_deletes_rows_needs_merge(key: str, value: object) -> None:
    assert told(destination={**TABLE, key: value}) == [("error", "needs-merge", ("destination", key))]


def test_options_of_replace_without_replace_have_no_effect() -> None:
    assert told(destination={**TABLE, "keep_previous": True}) == [
        ("warning", "no-effect", ("destination", "keep_previous"))
    ]
    assert told(destination={**REPLACE, "keep_previous": True}) == []


def test_a_merge_into_files_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="Choose a table destination"):
        found(destination={"type": "parquet", "path": "orders/", "write_disposition": "merge"})


def test_a_disposition_that_the_destination_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataforge.destinations.postgres import PostgresDestination

    able = dataclasses.replace(PostgresDestination.capabilities, dispositions=frozenset({"append"}))
    monkeypatch.setattr(PostgresDestination, "capabilities", able)
    (problem,) = found(destination=MERGE)
    assert (problem.severity, problem.code) == ("error", "unsupported-disposition")
    assert (problem.suggestion, problem.allowed) == ("one of: append", ("append",))


def test_replace_with_a_cursor_would_remove_what_was_loaded_before() -> None:
    assert told(source=CURSOR, destination=REPLACE) == [
        ("error", "conflicting-keys", ("destination", "write_disposition"))
    ]


def test_deleting_missing_rows_with_a_cursor_would_delete_what_was_loaded_before() -> None:
    assert told(source=CURSOR, destination={**MERGE, "missing_rows": "delete"}) == [
        ("error", "conflicting-keys", ("destination", "missing_rows"))
    ]


def test_a_lookback_that_is_appended_doubles_rows() -> None:
    assert told(source={**CURSOR, "lookback": "1h"}) == [
        ("warning", "duplicates-possible", ("destination", "write_disposition"))
    ]


def test_groups_that_are_deleted_whole_but_read_in_part_are_at_risk() -> None:
    target = {**TABLE, "write_disposition": "merge", "merge_strategy": "delete_insert", "merge_key": ["order_id"]}
    assert told(source={**CURSOR, "lookback": "1h"}, destination=target) == [
        ("warning", "rows-at-risk", ("destination", "merge_key"))
    ]


@pytest.mark.parametrize("key", ["initial_value", "lookback", "null_cursor"])
def test_settings_of_a_cursor_without_one_have_no_effect(key: str) -> None:
    value: object = "skip" if key == "null_cursor" else 5
    assert told(source={"type": "csv", "path": "orders.csv", key: value}) == [("warning", "no-effect", ("source", key))]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"source": {**CURSOR, "null_cursor": "dead_letter"}}, ("source", "null_cursor")),
        (
            {"checks": [{"type": "not_null", "columns": ["id"], "severity": "reject"}]},
            ("checks", 0, "severity"),
        ),
        ({"destination": {**MERGE, "null_keys": "dead_letter"}}, ("destination", "null_keys")),
        ({"destination": [{**MERGE, "duplicate_keys": "dead_letter"}]}, ("destination", 0, "duplicate_keys")),
        ({"schema_contract": "discard_row"}, ("schema_contract",)),
        (
            {"destination": {**TABLE, "schema_contract": {"columns": {"zip": "discard_row"}}}},
            ("destination", "schema_contract"),
        ),
    ],
)
def test_setting_records_aside_needs_to_be_allowed(changes: Data, path: tuple[str | int, ...]) -> None:
    (problem,) = found(**changes)
    assert (problem.severity, problem.code, problem.path) == ("error", "needs-dead-letters", path)
    assert '"dead_letters"' in str(problem.suggestion)
    assert found(**changes, dead_letters={"max_share": 0.5}) == []
