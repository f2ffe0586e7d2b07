"""What is wrong with a step is said before anything runs: code, exact place, nearest name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.transforms.conftest import CUSTOMERS, ORDERS, columns_of, pipeline, problems_of

from dataforge.runtime.compile import compile

Case = tuple[Mapping[str, Any], str, tuple[str | int, ...], str]

CASES: list[Case] = [
    ({"type": "select", "columns": ["id", "custmer"]}, "unknown-column", ("columns", 1), "did you mean 'customer'?"),
    ({"type": "select", "columns": ["id", "ID"]}, "duplicate-column", ("columns", 1), ""),
    ({"type": "select", "columns": []}, "empty-list", ("columns",), ""),
    ({"type": "select", "columns": {}}, "empty-list", ("columns",), ""),
    ({"type": "select", "columns": {"id": "a", "day": "A"}}, "duplicate-column", ("columns", "day"), ""),
    ({"type": "drop", "columns": ["emial"]}, "unknown-column", ("columns", 0), "did you mean 'email'?"),
    (
        {"type": "drop", "columns": ["id", "status", "amount", "email", "day", "customer"]},
        "no-columns",
        ("columns",),
        "",
    ),
    ({"type": "rename", "columns": {"ida": "x"}}, "unknown-column", ("columns", "ida"), "did you mean 'id'?"),
    ({"type": "rename", "columns": {"id": "EMAIL"}}, "duplicate-column", ("columns", "id"), ""),
    ({"type": "cast", "columns": {"id": "intger"}}, "unknown-type", ("columns", "id"), "did you mean 'integer'?"),
    ({"type": "cast", "columns": {"id": "decimal(50,2)"}}, "unknown-type", ("columns", "id"), ""),
    ({"type": "cast", "columns": {"id": "decimal(5,7)"}}, "unknown-type", ("columns", "id"), ""),
    ({"type": "cast", "columns": {"id": "int; drop table x"}}, "unknown-type", ("columns", "id"), ""),
    ({"type": "cast", "columns": {"id": "int) from x --"}}, "invalid-sql", ("columns", "id"), ""),
    ({"type": "cast", "columns": {"id": "enum('a')"}}, "unknown-type", ("columns", "id"), ""),
    ({"type": "cast", "columns": {"day": "bigint"}}, "type-mismatch", ("columns", "day"), "cast"),
    ({"type": "filter", "where": "day = 5"}, "type-mismatch", ("where",), "cast"),
    ({"type": "filter", "where": "day in (5, 6)"}, "type-mismatch", ("where",), "cast"),
    ({"type": "filter", "where": "email"}, "type-mismatch", ("where",), "VARCHAR"),
    ({"type": "filter", "where": "amount"}, "type-mismatch", ("where",), "cast it to boolean"),
    ({"type": "filter", "where": "id > 1 and not (amount or id = 2)"}, "type-mismatch", ("where",), '"amount"'),
    ({"type": "filter", "where": "amount = 'x'"}, "type-mismatch", ("where",), "write a number"),
    ({"type": "filter", "where": "'x' <> id"}, "type-mismatch", ("where",), "cast the column to text"),
    ({"type": "filter", "where": "amount between '1' and 'two'"}, "type-mismatch", ("where",), "'two'"),
    ({"type": "filter", "where": "id in (1, 'x')"}, "type-mismatch", ("where",), "'x'"),
    ({"type": "filter", "where": "day >= 'soon'"}, "type-mismatch", ("where",), "write a date"),
    ({"type": "derive", "columns": {"a": "amount = ''"}}, "type-mismatch", ("columns", "a"), "write a number"),
    ({"type": "filter", "where": "custmer = 1"}, "unknown-column", ("where",), "did you mean 'customer'?"),
    ({"type": "filter", "where": "day > 5"}, "type-mismatch", ("where",), "cast"),
    ({"type": "filter", "where": "email + 1 > 0"}, "type-mismatch", ("where",), "cast"),
    ({"type": "filter", "where": "sum(amount) > 0"}, "not-allowed", ("where",), "aggregate"),
    ({"type": "filter", "where": "row_number() over () = 1"}, "not-allowed", ("where",), "derive"),
    ({"type": "filter", "where": "lowr(email) = 'a'"}, "unknown-function", ("where",), "did you mean 'lower'?"),
    ({"type": "filter", "where": "id ="}, "invalid-sql", ("where",), ""),
    ({"type": "filter", "where": "(id = 1"}, "invalid-sql", ("where",), ""),
    ({"type": "derive", "columns": {"a": "id + zz"}}, "unknown-column", ("columns", "a"), ""),
    ({"type": "derive", "columns": {"a": "sum(amount)"}}, "not-allowed", ("columns", "a"), "over"),
    ({"type": "derive", "columns": {"ok": "id", "a": "sum(email) over ()"}}, "type-mismatch", ("columns", "a"), "cast"),
    ({"type": "derive", "columns": {"a": "cast(id as nope)"}}, "unknown-type", ("columns", "a"), ""),
    ({"type": "derive", "columns": {"a": "id as b"}}, "not-an-expression", ("columns", "a"), ""),
    ({"type": "derive", "columns": {}}, "empty-list", ("columns",), ""),
    ({"type": "fill_null", "columns": {"amount": "x"}}, "type-mismatch", ("columns", "amount"), "write a number"),
    ({"type": "fill_null", "columns": {"email": 1}}, "type-mismatch", ("columns", "email"), "write a text"),
    ({"type": "fill_null", "columns": {"day": "1.1.2024"}}, "type-mismatch", ("columns", "day"), "2024-12-31"),
    ({"type": "fill_null", "columns": {"id": True}}, "type-mismatch", ("columns", "id"), "write a number"),
    ({"type": "deduplicate", "keys": ["idd"]}, "unknown-column", ("keys", 0), "did you mean 'id'?"),
    ({"type": "deduplicate", "keys": []}, "empty-list", ("keys",), ""),
    ({"type": "deduplicate", "order_by": "id"}, "missing-key", (), ""),
    ({"type": "deduplicate", "keys": ["id"], "order_by": "x desc"}, "unknown-column", ("order_by",), ""),
    ({"type": "sort", "by": ["id", "amnt desc"]}, "unknown-column", ("by", 1), "did you mean 'amount'?"),
    ({"type": "sort", "by": "1"}, "constant", ("by",), ""),
    ({"type": "sort", "by": []}, "empty-list", ("by",), ""),
    ({"type": "aggregate", "columns": {}}, "missing-key", (), ""),
    ({"type": "aggregate", "group_by": ["statsu"]}, "unknown-column", ("group_by", 0), "did you mean 'Status'?"),
    ({"type": "aggregate", "columns": {"n": "id"}}, "not-aggregated", ("columns", "n"), "group_by"),
    ({"type": "aggregate", "columns": {"n": "sum(email)"}}, "type-mismatch", ("columns", "n"), "cast"),
    (
        {"type": "aggregate", "group_by": ["id"], "columns": {"ID": "count(*)"}},
        "duplicate-column",
        ("columns", "ID"),
        "",
    ),
    ({"type": "join", "with": "custmers", "on": ["id"]}, "unknown-input", ("with",), "did you mean 'customers'?"),
    ({"type": "join", "with": "customers", "on": ["customer"]}, "unknown-column", ("on", 0), ""),
    ({"type": "join", "with": "customers", "on": {"id": "ident"}}, "unknown-column", ("on", "id"), ""),
    ({"type": "join", "with": "customers", "on": ["id"], "columns": ["nam"]}, "unknown-column", ("columns", 0), "name"),
    (
        {"type": "join", "with": "customers", "on": ["id"], "columns": {"name": "email"}},
        "duplicate-column",
        ("columns", "name"),
        "",
    ),
    (
        {"type": "join", "with": "customers", "on": ["id"], "how": "semi", "columns": ["name"]},
        "not-allowed",
        ("columns",),
        "",
    ),
    ({"type": "join", "with": "customers", "on": {"day": "id"}}, "type-mismatch", ("on", "day"), "cast"),
    ({"type": "join", "with": "customers", "on": {"email": "id"}}, "type-mismatch", ("on", "email"), "VARCHAR"),
    (
        {"type": "join", "with": "customers", "on": {"id": "id", "amount": "status"}},
        "type-mismatch",
        ("on", "amount"),
        "",
    ),
    ({"type": "union", "with": ["nobody"]}, "unknown-input", ("with", 0), ""),
    ({"type": "union", "with": []}, "empty-list", ("with",), ""),
    ({"type": "mask", "columns": {"mail": "hash"}}, "unknown-column", ("columns", "mail"), "did you mean 'email'?"),
    ({"type": "sql", "query": "select custmer from input"}, "unknown-column", ("query",), "did you mean 'customer'?"),
    ({"type": "sql", "query": "select * from ordrs"}, "unknown-input", ("query",), ""),
    ({"type": "sql", "query": "select id, id from input"}, "duplicate-column", (), ""),
    ({"type": "sql", "query": "id + 1"}, "not-a-query", ("query",), ""),
    ({"type": "sql", "query": "with input as (select 1 as a) select * from input"}, "duplicate-name", ("query",), ""),
    ({"type": "limit", "count": 1, "input": "nobody"}, "unknown-input", ("input",), ""),
    ({"type": "limit", "count": 1, "name": "Source"}, "duplicate-name", ("name",), ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]['type']} {case[1]} {'/'.join(map(str, case[2]))}")
def test_a_mistake_is_found_at_its_place_with_a_hint(case: Case) -> None:
    step, code, path, hint = case
    (problem,) = problems_of(step)
    assert (problem.code, problem.path[:2], problem.path[2:]) == (code, ("transforms", 0), path)
    assert hint in f"{problem.message} {problem.suggestion}"
    assert len(str(problem)) < 1_000
    assert "__dataforge" not in str(problem)


def test_an_unknown_column_lists_what_is_allowed() -> None:
    (problem,) = problems_of({"type": "drop", "columns": ["x"]})
    assert problem.allowed == ("id", "Status", "amount", "email", "day", "customer")


def test_all_problems_of_all_steps_are_told_at_once() -> None:
    found = problems_of(
        {"type": "select", "columns": ["id", "aa", "bb"]},
        {"type": "filter", "where": "nonsense(("},
        {"type": "cast", "columns": {"id": "wrong", "id2": "worse"}},
        {"type": "sort", "by": ["id", "now("]},
    )
    assert [problem.path for problem in found] == [
        ("transforms", 0, "columns", 1),
        ("transforms", 0, "columns", 2),
        ("transforms", 1, "where"),
        ("transforms", 2, "columns", "id"),
        ("transforms", 2, "columns", "id2"),
        ("transforms", 3, "by", 1),
    ]


def test_a_column_that_an_earlier_step_dropped_is_unknown_later() -> None:
    (problem,) = problems_of({"type": "drop", "columns": ["email"]}, {"type": "filter", "where": "email is null"})
    assert problem.path == ("transforms", 1, "where")
    assert "email" not in problem.allowed


def test_names_are_known_again_after_a_select_over_open_columns() -> None:
    (problem,) = problems_of(
        {"type": "select", "columns": ["id", "amount"]},
        {"type": "derive", "columns": {"double": "amount * 2"}},
        {"type": "drop", "columns": ["amuont"]},
        inputs={"source": None},
    )
    assert (problem.path, problem.suggestion) == (("transforms", 2, "columns", 0), "did you mean 'amount'?")
    assert problem.allowed == ("id", "amount", "double")


def test_names_are_known_again_after_a_query_over_open_columns() -> None:
    (problem,) = problems_of(
        {"type": "sql", "query": "with a as (select id, 1 as one from input) select a.*, upper(x) as u from a"},
        {"type": "filter", "where": "tow = 1"},
        inputs={"source": None},
    )
    assert problem.allowed == ("id", "one", "u")


def test_a_check_with_an_unknown_column_is_found_too() -> None:
    found = problems_of(
        checks=[
            {"type": "not_null", "columns": ["id", "custmer"]},
            {"type": "expression", "expression": "day > 1"},
            {"type": "expression", "expression": "email"},
            {"type": "expression", "expression": "amount > 'x'"},
        ]
    )
    assert [(problem.code, problem.path) for problem in found] == [
        ("unknown-column", ("checks", 0, "columns", 1)),
        ("type-mismatch", ("checks", 1, "expression")),
        ("type-mismatch", ("checks", 2, "expression")),
        ("type-mismatch", ("checks", 3, "expression")),
    ]


@pytest.mark.parametrize(
    "where",
    [
        "amount = '10.5' and id in ('1', 2)",
        "day between '2024-01-01' and '2024-12-31'",
        "null or true or id is null",
        "amount = '${params.least}'",
        "day > '${params.since}' and customer = ${params.least}",
        "id in (select id from customers) or email like 'a%'",
        "case when id = 1 then email end = 'x'",
    ],
)
def test_values_that_the_engine_reads_are_no_mismatch(where: str) -> None:
    known = {"source": columns_of(ORDERS), "customers": columns_of(CUSTOMERS)}
    params = {"least": {"type": "string"}, "since": {"type": "string"}}
    compile(pipeline({"type": "filter", "where": where}, sources=known, params=params), known)
