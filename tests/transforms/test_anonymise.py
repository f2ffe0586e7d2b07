"""anonymise: coarser values, and no group of rows that is too small, whatever the rows are."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from tests.transforms.conftest import Transformed, pipeline, problems_of

from dataforge.errors import TerminalError
from dataforge.runtime.compile import compile
from dataforge.runtime.lineage import trace
from dataforge.testing import TransformContract

D = Decimal


class TestAnonymise(TransformContract):
    config: ClassVar = {
        "type": "anonymise",
        "remove": ["name"],
        "generalise": {"age": {"width": 10.0}, "postcode": {"first": 2}},
        "k": 2,
        "small_groups": "drop",
    }
    columns: ClassVar = {"name": "VARCHAR", "age": "DOUBLE", "postcode": "VARCHAR", "illness": "VARCHAR"}
    rows: ClassVar = [
        {"name": "Ann", "age": 31.0, "postcode": "89073", "illness": "a"},
        {"name": "Bob", "age": 39.5, "postcode": "89081", "illness": "b"},
        {"name": "Cy", "age": 40.0, "postcode": "89081", "illness": "c"},
    ]
    expected: ClassVar = [
        {"age": 30.0, "postcode": "89", "illness": "a"},
        {"age": 30.0, "postcode": "89", "illness": "b"},
    ]


def test_each_way_makes_values_coarser_and_keeps_their_types(transformed: Transformed) -> None:
    table = """SELECT -3 AS n, 12.75::DECIMAL(9,2) AS d, DATE '2024-05-17' AS day, 'Ulm' AS town, '89073' AS code
               UNION ALL SELECT NULL, NULL, NULL, NULL, NULL UNION ALL SELECT 37, 0, DATE '2024-01-01', 'Rome', '1'"""
    ways = {
        "N": {"width": 10},
        "d": {"width": 0.5},
        "day": {"to": "quarter"},
        "town": {"groups": {"Ulm": "South"}, "other": "?"},
        "code": {"first": 3},
    }
    names, rows = transformed({"type": "anonymise", "generalise": ways}, tables={"source": table})
    assert names == ["n", "d", "day", "town", "code"]
    assert rows == [
        (-10, D("12.50"), date(2024, 4, 1), "South", "890"),
        (None, None, None, "?", None),
        (30, D("0.00"), date(2024, 1, 1), "?", "1"),
    ]


GROUPS = "SELECT * FROM (VALUES (31, 'f', 1), (32, 'f', 2), (41, 'm', 3), (51, 'm', 4), (61, NULL, 5)) t(age, sex, id)"
STEP = {"type": "anonymise", "generalise": {"age": {"width": 10}}, "within": ["sex"], "k": 2}


def test_a_small_group_fails_the_run_or_its_rows_are_left_out_or_made_null(transformed: Transformed) -> None:
    with pytest.raises(TerminalError, match="anonymise: a group of 1 rows is smaller than 2; generalise more"):
        transformed(STEP, tables={"source": GROUPS})
    _, rows = transformed({**STEP, "small_groups": "drop"}, tables={"source": GROUPS})
    assert sorted(rows) == [(30, "f", 1), (30, "f", 2)]
    _, rows = transformed({**STEP, "small_groups": "suppress"}, {"type": "sort", "by": "id"}, tables={"source": GROUPS})
    assert rows == [(30, "f", 1), (30, "f", 2), (None, None, 3), (None, None, 4), (None, None, 5)]


def test_suppressed_rows_are_left_out_when_they_are_too_few_themselves(transformed: Transformed) -> None:
    table = f"SELECT * FROM ({GROUPS}) WHERE id <= 3"
    _, rows = transformed({**STEP, "small_groups": "suppress"}, tables={"source": table})
    assert sorted(rows) == [(30, "f", 1), (30, "f", 2)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("small", ["drop", "suppress"])
def test_no_group_is_ever_smaller_than_k(seed: int, small: str, transformed: Transformed) -> None:
    rng = random.Random(seed)
    k = rng.choice([2, 3, 5])
    values = ", ".join(
        f"({rng.choice(['NULL', str(rng.randrange(60))])}, {rng.choice(['NULL', repr('f'), repr('m')])}, {row})"
        for row in range(rng.randrange(1, 80))
    )
    table = f"SELECT age::INTEGER AS age, sex::TEXT AS sex, id FROM (VALUES {values}) t(age, sex, id)"
    _, rows = transformed({**STEP, "k": k, "small_groups": small}, tables={"source": table})
    assert all(count >= k for count in Counter(row[:2] for row in rows).values())


CASES: list[tuple[dict[str, Any], str, tuple[str | int, ...]]] = [
    ({"type": "anonymise"}, "missing-key", ()),
    ({"type": "anonymise", "remove": ["mail"]}, "unknown-column", ("remove", 0)),
    ({"type": "anonymise", "generalise": {"agee": {"first": 1}}}, "unknown-column", ("generalise", "agee")),
    ({"type": "anonymise", "generalise": {"email": {"width": 5}}}, "type-mismatch", ("generalise", "email", "width")),
    ({"type": "anonymise", "generalise": {"id": {"to": "year"}}}, "type-mismatch", ("generalise", "id", "to")),
    ({"type": "anonymise", "remove": ["id"], "within": ["ID"], "k": 2}, "duplicate-column", ("within", 0)),
    ({"type": "anonymise", "remove": ["id"], "k": 2}, "missing-key", ("k",)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]} {'/'.join(map(str, case[2]))}")
def test_what_is_wrong_is_said_before_it_runs(case: Any) -> None:
    step, code, path = case
    (problem,) = problems_of(step)
    assert (problem.code, problem.path) == (code, ("transforms", 0, *path))


@pytest.mark.parametrize("way", [{}, {"first": 1, "width": 2}, {"first": 1, "other": "x"}])
def test_a_column_is_made_coarser_in_one_way(way: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of|goes with"):
        pipeline({"type": "anonymise", "generalise": {"age": way}})


def test_lineage_leads_through_groups() -> None:
    columns = {"source": {"age": "INTEGER", "sex": "VARCHAR", "id": "INTEGER"}}
    found = {one.column: one for one in trace(compile(pipeline({**STEP, "small_groups": "drop"}), columns))}
    assert {name: one.origins for name, one in found.items()} == {
        name: (("source", name),) for name in columns["source"]
    }
    assert [found[name].steps for name in ("age", "sex", "id")] == [(0,), (), ()]
