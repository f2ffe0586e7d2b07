"""Column lineage: through every kind of step, unions, subqueries and columns of strange names."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.config.pipeline import parse
from dataforge.errors import TerminalError
from dataforge.runtime.compile import compile
from dataforge.runtime.lineage import trace

ORDERS = {"id": "BIGINT", "email": "VARCHAR", "cents": "BIGINT"}
PEOPLE = {"id": "BIGINT", "name": "VARCHAR"}


def traced(*steps: dict[str, Any], **inputs: Any) -> dict[str, tuple[list[str], list[int]]]:
    """Return for each column of the result its sources as "source.column", sorted, and the steps that change it."""
    sources = {name: {"type": "csv", "path": f"{name}.csv"} for name in ("orders", "people")}
    config = parse(
        {"dag_id": "p", "sources": sources, "transforms": steps, "destination": {"type": "duckdb", "table": "t"}}
    )
    plan = compile(config, {"orders": ORDERS, "people": PEOPLE, **inputs})
    found = {one.column: one for one in trace(plan)}
    assert {name: one.type for name, one in found.items()} == plan.columns
    return {name: (sorted(map(".".join, one.origins)), list(one.steps)) for name, one in found.items()}


def test_a_column_is_followed_through_all_kinds_of_steps() -> None:
    found = traced(
        {"type": "filter", "where": "cents > 100"},
        {"type": "join", "with": "people", "on": ["id"], "how": "left"},
        {"type": "derive", "columns": {"euro": "cents / 100", "label": "upper(name) || id"}},
        {"type": "rename", "columns": {"email": "mail"}},
        {"type": "mask", "columns": {"mail": "hash"}},
        {"type": "deduplicate", "keys": ["id"]},
        {"type": "drop", "columns": ["cents"]},
        {"type": "sort", "by": ["id"]},
    )
    assert found == {
        "id": (["orders.id"], []),
        "mail": (["orders.email"], [3, 4]),
        "name": (["people.name"], [1]),
        "euro": (["orders.cents"], [2]),
        "label": (["orders.id", "people.name"], [1, 2]),
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("with t as (select id, sum(cents) as s, count(*) as n from input group by id) select *, s / n as m from t",
         {"id": (["orders.id"], []), "s": (["orders.cents"], [0]), "n": ([], [0]), "m": (["orders.cents"], [0])}),
        ("select id, (select max(name) from people) as top from input union all select id, name from people",
         {"id": (["orders.id", "people.id"], [0]), "top": (["people.name"], [0])}),
        ("select id from input union by name select name, id from people",
         {"id": (["orders.id", "people.id"], [0]), "name": (["people.name"], [0])}),
        ("select x.v from input i, unnest([cents, id]) as x(v)", {"v": (["orders.cents", "orders.id"], [0])}),
        ("select case when exists(select 1 from people p where p.id = input.id) then email end as e from input",
         {"e": (["orders.email", "orders.id", "people.id"], [0])}),
        ("select s.e from (select email as e from input) s", {"e": (["orders.email"], [0])}),
    ],
)  # fmt: skip
def test_a_step_of_free_sql_is_followed_too(query: str, expected: dict[str, Any]) -> None:
    assert traced({"type": "sql", "query": query}) == expected


def test_names_keep_their_spelling_and_a_union_has_two_origins() -> None:
    strange = {"ID": "BIGINT", 'we "ird.x': "VARCHAR"}
    found = traced({"type": "union", "with": ["people"]}, orders=strange, people=strange)
    assert found == {name: ([f"orders.{name}", f"people.{name}"], [0]) for name in strange}


def test_a_hundred_columns_through_ten_steps_take_no_time() -> None:
    wide = {f"c{number}": "BIGINT" for number in range(100)}
    steps = [{"type": "derive", "columns": {f"d{number}": f"c{number} + 1"}} for number in range(10)]
    found = traced(*steps, orders=wide)
    assert (len(found), found["d9"], found["c99"]) == (110, (["orders.c9"], [9]), (["orders.c99"], []))


def test_columns_that_are_not_known_are_told_so() -> None:
    with pytest.raises(TerminalError, match="can't be known before a run"):
        traced({"type": "filter", "where": "cents > 1"}, orders=None)
