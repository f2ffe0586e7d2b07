"""split, pivot, unpivot and window: exact rows, and what is wrong told before anything runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import pytest
from tests.transforms.conftest import Transformed, problems_of

from dataforge.errors import TerminalError
from dataforge.testing import TransformContract

D = Decimal
SALES = """
    SELECT * FROM (VALUES
        ('north', 'Q1', 10, 1), ('north', 'Q2', 20, 2), ('north', 'Q1', 5, 3), ('south', 'Q2', 7, 4), (NULL, 'Q1', 1, 5)
    ) t(region, quarter, amount, id)
"""


class TestSplit(TransformContract):
    config: ClassVar = {"type": "split", "column": "name", "separator": " ", "into": ["first", "last"]}
    columns: ClassVar = {"id": "BIGINT", "name": "VARCHAR"}
    rows: ClassVar = [{"id": 1, "name": "Ann van Dyk"}, {"id": 2, "name": "Bo"}, {"id": 3}, {"id": 4, "name": ""}]
    expected: ClassVar = [
        {"id": 1, "first": "Ann", "last": "van Dyk"},
        {"id": 2, "first": "Bo", "last": None},
        {"id": 3, "first": None, "last": None},
        {"id": 4, "first": "", "last": None},
    ]


class TestSplitIntoRows(TransformContract):
    config: ClassVar = {"type": "split", "column": "tags", "separator": ",", "into": "tag", "trim": True}
    columns: ClassVar = {"id": "BIGINT", "tags": "VARCHAR"}
    rows: ClassVar = [{"id": 1, "tags": "a, b"}, {"id": 2}]
    expected: ClassVar = [{"id": 1, "tag": "a"}, {"id": 1, "tag": "b"}, {"id": 2, "tag": None}]


class TestPivot(TransformContract):
    config: ClassVar = {
        "type": "pivot",
        "group_by": ["region"],
        "column": "quarter",
        "values": {"first": "Q1", "second": "Q2"},
        "value": "amount",
    }
    columns: ClassVar = {"region": "VARCHAR", "quarter": "VARCHAR", "amount": "DECIMAL(9,2)"}
    rows: ClassVar = [
        {"region": "n", "quarter": "Q1", "amount": D("1.50")},
        {"region": "n", "quarter": "Q1", "amount": D("2.00")},
        {"region": "s", "quarter": "Q2", "amount": D("7.00")},
    ]
    expected: ClassVar = [
        {"region": "n", "first": D("3.50"), "second": None},
        {"region": "s", "first": None, "second": D("7.00")},
    ]


class TestUnpivot(TransformContract):
    config: ClassVar = {"type": "unpivot", "columns": ["jan", "feb"], "name_into": "month", "value_into": "amount"}
    columns: ClassVar = {"shop": "VARCHAR", "jan": "BIGINT", "feb": "BIGINT"}
    rows: ClassVar = [{"shop": "a", "jan": 1, "feb": 2}, {"shop": "b", "feb": 3}]
    expected: ClassVar = [
        {"shop": "a", "month": "jan", "amount": 1},
        {"shop": "a", "month": "feb", "amount": 2},
        {"shop": "b", "month": "feb", "amount": 3},
    ]


class TestWindow(TransformContract):
    config: ClassVar = {
        "type": "window",
        "columns": {"nr": "row_number()", "so_far": "sum(amount)", "before": "lag(amount)"},
        "partition_by": ["shop"],
        "order_by": ["day desc"],
    }
    columns: ClassVar = {"shop": "VARCHAR", "day": "BIGINT", "amount": "BIGINT"}
    rows: ClassVar = [
        {"shop": "a", "day": 1, "amount": 5},
        {"shop": "a", "day": 2, "amount": 7},
        {"shop": "b", "day": 1, "amount": 1},
    ]
    expected: ClassVar = [
        {"shop": "a", "day": 2, "amount": 7, "nr": 1, "so_far": 7, "before": None},
        {"shop": "a", "day": 1, "amount": 5, "nr": 2, "so_far": 12, "before": 7},
        {"shop": "b", "day": 1, "amount": 1, "nr": 1, "so_far": 1, "before": None},
    ]


def test_split_trims_tabs_and_line_breaks_too(transformed: Transformed) -> None:
    tables = {"source": "SELECT E'\\ta b\\r\\n,\\tc ' AS t"}
    rows = transformed({"type": "split", "column": "t", "separator": ",", "into": "p", "trim": True}, tables=tables)[1]
    assert rows == [("a b",), ("c",)]
    parts = {"type": "split", "column": "t", "separator": ",", "into": ["p", "q"], "trim": True}
    assert transformed(parts, tables=tables)[1] == [("a b", "c")]


def test_split_keeps_the_column_when_asked_and_takes_parts_as_they_stand(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "split", "column": "T", "separator": "--", "into": ["a", "b", "c"], "keep": True},
        tables={"source": "SELECT 'x-- y --z--w' AS t"},
    )
    assert (names, rows) == (["t", "a", "b", "c"], [("x-- y --z--w", "x", " y ", "z--w")])


def test_pivot_refuses_values_that_are_not_listed_whatever_later_steps_keep(transformed: Transformed) -> None:
    for keys in (["region"], []):
        step = {"type": "pivot", "group_by": keys, "column": "quarter", "values": ["Q1"], "function": "count"}
        with pytest.raises(TerminalError, match="does not list"):
            transformed(step, {"type": "aggregate", "columns": {"n": "count(*)"}}, tables={"source": SALES})


def test_pivot_counts_and_refuses_values_that_are_not_listed(transformed: Transformed) -> None:
    step = {"type": "pivot", "group_by": ["region"], "column": "quarter", "values": ["Q1", "Q2"], "function": "count"}
    names, rows = transformed(step, {"type": "sort", "by": "region nulls last"}, tables={"source": SALES})
    assert names == ["region", "Q1", "Q2"]
    assert rows == [("north", 2, 1), ("south", 0, 1), (None, 1, 0)]
    fewer = {**step, "values": ["Q1"]}
    with pytest.raises(TerminalError, match="has the value 'Q2', which 'values' does not list"):
        transformed(fewer, tables={"source": SALES})
    with pytest.raises(TerminalError, match="has the value 'null'"):
        transformed(step, tables={"source": "SELECT 'n' AS region, CAST(NULL AS TEXT) AS quarter"})
    _, rows = transformed({**fewer, "others": "drop"}, {"type": "sort", "by": "region"}, tables={"source": SALES})
    assert [row[1] for row in rows] == [2, 0, 1]


def test_unpivot_can_keep_nulls_and_name_the_rows(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "unpivot", "columns": {"A": "first", "b": "second"}, "nulls": "keep"},
        tables={"source": "SELECT 1 AS id, CAST(NULL AS INTEGER) AS a, 2.5 AS b"},
    )
    assert names == ["id", "name", "value"]
    assert rows == [(1, "first", None), (1, "second", D("2.5"))]


def test_a_window_of_the_last_rows_is_framed_by_rows(transformed: Transformed) -> None:
    _, rows = transformed(
        {
            "type": "window",
            "columns": {"two": "sum(amount)", "around": "count(*)  -- a comment"},
            "order_by": "id",
            "preceding": 1,
        },
        {"type": "window", "columns": {"ALL": "max(id)"}},
        {"type": "window", "columns": {"next": "sum(amount)"}, "order_by": "id", "preceding": 0, "following": 1},
        {"type": "select", "columns": ["two", "around", "ALL", "next"]},
        tables={"source": SALES},
    )
    assert rows == [(10, 1, 5, 30), (30, 2, 5, 25), (25, 2, 5, 12), (12, 2, 5, 8), (8, 2, 5, 1)]


CASES: list[tuple[dict[str, Any], str, tuple[str | int, ...], str]] = [
    ({"type": "split", "column": "mail", "separator": "@", "into": ["a", "b"]}, "unknown-column", ("column",), "email"),
    ({"type": "split", "column": "id", "separator": "@", "into": ["a", "b"]}, "type-mismatch", ("column",), "cast"),
    ({"type": "split", "column": "email", "separator": "@", "into": ["a", "ID"]}, "duplicate-column", ("into", 1), ""),
    ({"type": "split", "column": "email", "separator": "@", "into": ["a"]}, "empty-list", ("into",), ""),
    ({"type": "pivot", "column": "statu", "values": ["a"], "value": "id"}, "unknown-column", ("column",), "Status"),
    ({"type": "pivot", "column": "status", "values": [], "value": "id"}, "empty-list", ("values",), ""),
    ({"type": "pivot", "column": "status", "values": ["a"]}, "missing-key", ("value",), ""),
    ({"type": "pivot", "column": "id", "values": ["a"], "value": "id"}, "type-mismatch", ("values", 0), "number"),
    ({"type": "pivot", "column": "status", "values": ["a", "A"], "value": "id"}, "duplicate-column", ("values", 1), ""),
    ({"type": "pivot", "column": "status", "values": ["a"], "value": "email"}, "type-mismatch", ("value",), "cast"),
    ({"type": "unpivot", "columns": ["id", "email"]}, "type-mismatch", ("columns", 1), "cast"),
    ({"type": "unpivot", "columns": ["id"], "name_into": "EMAIL"}, "duplicate-column", ("name_into",), ""),
    ({"type": "unpivot", "columns": ["idd"]}, "unknown-column", ("columns", 0), "'id'"),
    ({"type": "window", "columns": {"a": "sum(amount) + 1"}}, "not-an-expression", ("columns", "a"), "derive"),
    ({"type": "window", "columns": {"a": "amount"}}, "not-an-expression", ("columns", "a"), ""),
    ({"type": "window", "columns": {"a": "sum(amount) over (), 1"}}, "not-an-expression", ("columns", "a"), ""),
    ({"type": "window", "columns": {"a": "sum(email)"}}, "type-mismatch", ("columns", "a"), "cast"),
    ({"type": "window", "columns": {"a": "rank()"}, "preceding": 1}, "missing-key", ("preceding",), "order_by"),
    ({"type": "window", "columns": {"a": "rank()"}, "order_by": "x"}, "unknown-column", ("order_by",), ""),
    ({"type": "window", "columns": {"a": "read_csv('x')"}}, "unknown-function", ("columns", "a"), ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]['type']} {case[1]} {'/'.join(map(str, case[2]))}")
def test_what_is_wrong_with_a_shaping_step_is_said_before_it_runs(case: Any) -> None:
    step, code, path, hint = case
    (problem,) = problems_of(step)
    assert (problem.code, problem.path) == (code, ("transforms", 0, *path))
    assert hint in (problem.suggestion or "")
