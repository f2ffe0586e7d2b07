"""Every check, measured for real: violations, rows looked at, examples, one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataforge.components.base import CheckConfig, Columns, Relation, RunValues, Scope
from dataforge.components.registry import CHECKS
from dataforge.errors import CheckFailed, ConfigError
from dataforge.runtime.checks import CheckResult, evaluate, refuse_failed
from dataforge.runtime.engines.duckdb_ import columns, connect

ROWS = """
    SELECT * FROM (VALUES
        (1, 'paid', 10.5::DOUBLE, DATE '2024-01-01', 'a'),
        (2, 'open', NULL, DATE '2024-02-01', 'a'),
        (3, 'lost', -1.0, NULL, NULL),
        (3, NULL, 99.0, DATE '2025-01-01', NULL)
    ) t(id, Status, amount, day, "group")
"""


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path) as connection:
        connection.execute(f"CREATE TABLE result AS {ROWS}")
        yield connection


def parsed(*checks: Mapping[str, Any]) -> list[CheckConfig]:
    configs = [CHECKS.get(check["type"]).config.model_validate(check) for check in checks]
    return [config for config in configs if isinstance(config, CheckConfig)]


def measured(
    con: duckdb.DuckDBPyConnection, *checks: Mapping[str, Any], scope: Scope | None = None
) -> tuple[CheckResult, ...]:
    return evaluate(con, parsed(*checks), "result", columns(con, "result"), scope)


BROKEN: list[tuple[Mapping[str, Any], int, int, str]] = [
    ({"type": "not_null", "columns": ["STATUS", "day"]}, 2, 4, "2 of 4 rows have no value in STATUS, day"),
    ({"type": "unique", "columns": ["id"]}, 2, 4, "2 of 4 rows share their id with another row"),
    ({"type": "unique", "columns": ["group"]}, 2, 4, "2 of 4 rows share their group with another row"),
    ({"type": "accepted_values", "column": "status", "values": ["paid", "open"]}, 1, 4, "1 of 4 rows have another"),
    ({"type": "accepted_values", "column": "day", "values": ["2024-01-01"]}, 2, 4, "2 of 4 rows"),
    ({"type": "range", "column": "amount", "min": 0, "max": 50}, 2, 4, "not >= 0 and <= 50"),
    ({"type": "range", "column": "amount", "max": 10.5, "exclusive": True}, 2, 4, "not < 10.5"),
    ({"type": "range", "column": "day", "max": "2024-12-31"}, 1, 4, "not <= 2024-12-31"),
    ({"type": "row_count", "min": 5}, 1, 4, "there are 4 rows, not at least 5"),
    ({"type": "row_count", "max": 3}, 1, 4, "there are 4 rows, not at most 3"),
    ({"type": "row_count", "min": 5, "max": 10}, 1, 4, "there are 4 rows, not 5 to 10"),
    ({"type": "expression", "expression": "amount > 0 and id < 3"}, 2, 4, "they break"),
    ({"type": "expression", "expression": "id <> 3", "message": "no threes"}, 2, 4, "2 of 4 rows: no threes"),
]


@pytest.mark.parametrize(("check", "violations", "checked", "message"), BROKEN)
def test_a_broken_check_says_how_many_rows_break_it(
    con: duckdb.DuckDBPyConnection, check: Mapping[str, Any], violations: int, checked: int, message: str
) -> None:
    (result,) = measured(con, check)
    assert (result.check, result.severity, result.passed) == (check["type"], "fail", False)
    assert (result.violations, result.checked) == (violations, checked)
    assert message in result.message


@pytest.mark.parametrize(
    "check",
    [
        {"type": "not_null", "columns": ["id"]},
        {"type": "unique", "columns": ["id", "status"]},
        {"type": "accepted_values", "column": "id", "values": [1, 2, 3]},
        {"type": "range", "column": "id", "min": 1, "max": 3},
        {"type": "row_count", "min": 4, "max": 4},
        {"type": "expression", "expression": "id between 1 and 3"},
    ],
)
def test_a_kept_check_passes_without_examples(con: duckdb.DuckDBPyConnection, check: Mapping[str, Any]) -> None:
    (result,) = measured(con, check)
    assert (result.passed, result.violations, result.checked, result.examples) == (True, 0, 4, ())


def test_examples_are_rows_that_break_it(con: duckdb.DuckDBPyConnection) -> None:
    null, unique, count = measured(
        con,
        {"type": "not_null", "columns": ["amount"]},
        {"type": "unique", "columns": ["id"]},
        {"type": "row_count", "max": 1},
    )
    assert null.examples == ({"id": 2, "Status": "open", "amount": None, "day": "2024-02-01", "group": "a"},)
    assert unique.examples == ({"id": 3, "rows": 2},)
    assert count.examples == ()


def test_examples_have_instants_that_python_has_no_value_for(tmp_path: Path) -> None:
    with connect(tmp_path) as con:
        con.execute(
            "CREATE TABLE result AS SELECT 1 AS id, TIMESTAMPTZ '2024-01-01 12:00:00+00' AS at, "
            "TIMESTAMP 'infinity' AS never, DATE '12000-01-01' AS late, NULL AS v"
        )
        (result,) = evaluate(con, parsed({"type": "not_null", "columns": ["v"]}), "result", columns(con, "result"))
    texts = {"at": "2024-01-01 12:00:00+00", "never": "infinity", "late": "12000-01-01"}
    assert result.examples == ({"id": 1, **texts, "v": None},)


def test_at_most_five_examples_with_bounded_texts(tmp_path: Path) -> None:
    with connect(tmp_path) as con:
        con.execute("CREATE TABLE result AS SELECT NULL::INT AS id, repeat('x', 1000) AS t FROM range(100)")
        (result,) = measured(con, {"type": "not_null", "columns": ["id"]})
    assert (result.violations, len(result.examples)) == (100, 5)
    assert all(len(str(example["t"])) == 200 for example in result.examples)


def test_checks_hold_over_no_rows_but_for_the_row_count(tmp_path: Path) -> None:
    with connect(tmp_path) as con:
        con.execute(f"CREATE TABLE result AS SELECT * FROM ({ROWS}) LIMIT 0")
        results = measured(con, *(check for check, *_ in BROKEN))
    assert [(result.check, result.violations, result.checked) for result in results if not result.passed] == [
        ("row_count", 1, 0),
        ("row_count", 1, 0),
    ]


def test_many_checks_on_rows_take_one_scan(con: duckdb.DuckDBPyConnection) -> None:
    class Counting:
        def __init__(self) -> None:
            self.statements: list[str] = []

        def execute(self, statement: str) -> duckdb.DuckDBPyConnection:
            self.statements.append(statement)
            return con.execute(statement)

    counting = Counting()
    configs = parsed(
        {"type": "not_null", "columns": ["id"]},
        {"type": "range", "column": "id", "min": 0},
        {"type": "row_count", "min": 1},
    )
    evaluate(counting, configs, "result", columns(con, "result"))  # type: ignore[arg-type]
    assert len(counting.statements) == 1


def test_an_expression_takes_values_of_the_run(con: duckdb.DuckDBPyConnection) -> None:
    values = RunValues({"limit": 2}, datetime(2024, 2, 1, tzinfo=timezone.utc))
    scope = Scope(values=values, params={"limit": "integer"})
    first, second = measured(
        con,
        {"type": "expression", "expression": "id <= ${params.limit}"},
        {"type": "expression", "expression": "day >= ${data_interval_start}"},
        scope=scope,
    )
    assert (first.violations, second.violations) == (2, 1)


def test_only_broken_checks_of_severity_fail_stop_a_run(con: duckdb.DuckDBPyConnection) -> None:
    warned = measured(con, {"type": "row_count", "max": 1, "severity": "warn"})
    refuse_failed(warned)
    assert not warned[0].passed
    with pytest.raises(CheckFailed) as caught:
        refuse_failed((*warned, *measured(con, {"type": "unique", "columns": ["id"]})))
    (failure,) = caught.value.failures
    assert (failure.check, failure.violations, failure.checked) == ("unique", 2, 4)


KNOWN: Columns = {"id": "INTEGER", "Status": "VARCHAR", "day": "DATE"}

MISTAKES: list[tuple[Mapping[str, Any], str, tuple[str | int, ...]]] = [
    ({"type": "not_null", "columns": ["idd"]}, "unknown-column", ("columns", 0)),
    ({"type": "not_null", "columns": []}, "empty-list", ("columns",)),
    ({"type": "unique", "columns": ["id", "ID"]}, "duplicate-column", ("columns", 1)),
    ({"type": "accepted_values", "column": "statu", "values": ["a"]}, "unknown-column", ("column",)),
    ({"type": "accepted_values", "column": "id", "values": [1, "x"]}, "type-mismatch", ("values", 1)),
    ({"type": "range", "column": "id"}, "missing-key", ()),
    ({"type": "range", "column": "day", "min": 5}, "type-mismatch", ("min",)),
    ({"type": "row_count"}, "missing-key", ()),
    ({"type": "row_count", "min": 5, "max": 1}, "invalid-value", ("min",)),
    ({"type": "expression", "expression": "sum(id) > 1"}, "not-allowed", ("expression",)),
    ({"type": "expression", "expression": "getenv('x') = ''"}, "unknown-function", ("expression",)),
]


@pytest.mark.parametrize(("check", "code", "path"), MISTAKES)
def test_a_mistake_in_a_check_is_found_at_its_place(
    check: Mapping[str, Any], code: str, path: tuple[str | int, ...]
) -> None:
    component = CHECKS.build(CHECKS.get(check["type"]).config.model_validate(check))
    with pytest.raises(ConfigError) as caught:
        component.queries(Relation("result", KNOWN), Scope())
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == (code, path)
