"""lookup: one row stays one row, and what a miss and a key of several rows come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.transforms.conftest import Transformed, made, pipeline, problems_of

from dataforge.config.pipeline import parse
from dataforge.errors import TerminalError
from dataforge.runtime.compile import compile
from dataforge.runtime.lineage import trace
from dataforge.testing import TransformContract

PEOPLE = "SELECT * FROM (VALUES (7, 'Ann', 1), (8, NULL, 1), (9, 'Zoe', 1), (9, 'Zoë', 2)) t(id, name, version)"
VISITS = "SELECT * FROM (VALUES (1, 7), (2, 8), (3, 5), (4, NULL)) t(id, person)"
STEP = {"type": "lookup", "with": "people", "on": {"PERSON": "ID"}, "columns": {"name": "who"}}


class TestLookup(TransformContract):
    config: ClassVar = {**STEP, "on": {"person": "id"}, "missing": "default", "defaults": {"who": "nobody"}}
    columns: ClassVar = {"id": "INTEGER", "person": "INTEGER"}
    rows: ClassVar = [{"id": 1, "person": 7}, {"id": 2, "person": 8}, {"id": 3, "person": 5}, {"id": 4}]
    others: ClassVar = {
        "people": ({"id": "INTEGER", "name": "VARCHAR"}, [{"id": 7, "name": "Ann"}, {"id": 8}, {"id": 9}, {"id": 9}])
    }
    expected: ClassVar = [
        {"id": 1, "person": 7, "who": "Ann"},
        {"id": 2, "person": 8, "who": None},
        {"id": 3, "person": 5, "who": "nobody"},
        {"id": 4, "person": None, "who": "nobody"},
    ]


TABLES = {"source": VISITS, "people": PEOPLE}


def test_a_miss_is_null_or_stops_the_run(transformed: Transformed) -> None:
    names, rows = transformed(STEP, {"type": "sort", "by": "id"}, tables=TABLES)
    assert names == ["id", "person", "who"]
    assert [row[2] for row in rows] == ["Ann", None, None, None]
    with pytest.raises(TerminalError, match=r"lookup: the key '(5|null)' is not in 'people'"):
        transformed({**STEP, "missing": "fail"}, tables=TABLES)


def test_a_key_of_several_rows_fails_when_it_is_looked_for_or_gives_the_first(transformed: Transformed) -> None:
    wanted = {**TABLES, "source": "SELECT 9 AS person"}
    with pytest.raises(TerminalError, match="lookup: the key '9' is in 'people' more than once"):
        transformed(STEP, tables=wanted)
    step = {**STEP, "several": "first", "order_by": "version desc", "columns": ["name", "version"]}
    assert transformed(step, tables=wanted) == (["person", "name", "version"], [(9, "Zoë", 2)])


@pytest.mark.parametrize(
    ("step", "source", "told"),
    [({**STEP, "missing": "fail"}, VISITS, "is not in 'people'"), (STEP, "SELECT 9 AS person", "more than once")],
)
@pytest.mark.parametrize(
    "later", [{"type": "select", "columns": ["person"]}, {"type": "aggregate", "columns": {"n": "count(*)"}}]
)
def test_what_stops_the_run_does_so_whatever_later_steps_keep(
    transformed: Transformed, step: dict[str, Any], source: str, told: str, later: dict[str, Any]
) -> None:
    with pytest.raises(TerminalError, match=told):
        transformed(step, later, tables={**TABLES, "source": source})


def test_several_keys_are_told_together(transformed: Transformed) -> None:
    step = {**STEP, "on": {"person": "id", "id": "version"}, "missing": "fail"}
    with pytest.raises(TerminalError, match="the key '5', '2' is not in 'people'"):
        transformed(step, tables={"source": "SELECT 5 AS person, 2 AS id", "people": PEOPLE})


INPUTS: Any = {
    "source": {"id": "BIGINT", "person": "BIGINT", "day": "DATE"},
    "people": {"id": "BIGINT", "name": "VARCHAR"},
}
CASES: list[tuple[dict[str, Any], str, tuple[str | int, ...]]] = [
    ({**STEP, "with": "peple"}, "unknown-input", ("with",)),
    ({**STEP, "on": ["name"]}, "unknown-column", ("on", 0)),
    ({**STEP, "on": []}, "empty-list", ("on",)),
    ({**STEP, "on": {"day": "id"}}, "type-mismatch", ("on", "day")),
    ({**STEP, "columns": ["nam"]}, "unknown-column", ("columns", 0)),
    ({**STEP, "columns": {"name": "DAY"}}, "duplicate-column", ("columns", "name")),
    ({**STEP, "missing": "default"}, "missing-key", ("missing",)),
    ({**STEP, "defaults": {"who": "x"}}, "missing-key", ("defaults",)),
    ({**STEP, "missing": "default", "defaults": {"whom": "x"}}, "unknown-column", ("defaults", "whom")),
    ({**STEP, "missing": "default", "defaults": {"who": 1}}, "type-mismatch", ("defaults", "who")),
    ({**STEP, "several": "first"}, "missing-key", ("several",)),
    ({**STEP, "missing": "dead_letter"}, "needs-dead-letters", ()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]} {'/'.join(map(str, case[2]))}")
def test_what_is_wrong_with_a_lookup_is_said_before_it_runs(case: Any) -> None:
    step, code, path = case
    (problem,) = problems_of(step, inputs=INPUTS)
    assert (problem.code, problem.path) == (code, ("transforms", 0, *path))


@pytest.mark.parametrize("named", [False, True], ids=["a source", "a named step"])
def test_rows_without_a_partner_are_set_aside_and_no_others(configs: Path, named: bool) -> None:
    (configs / "visits.csv").write_text("id,person\n1,7\n2,8\n3,5\n4,\n5,x\n")
    (configs / "people.csv").write_text("id,name\n7,Ann\n8,Bo\n")
    steps: list[dict[str, Any]] = [
        {"type": "cast", "input": "visits", "columns": {"person": "integer"}},
        {**STEP, "with": "folk" if named else "people", "missing": "dead_letter"},
        {"type": "derive", "columns": {"inverse": "1 / (id - 2)"}},
    ]
    if named:
        steps = [{"type": "filter", "input": "people", "name": "folk", "where": "id > 0"}, *steps]
    config = parse(
        {
            "dag_id": "visits",
            "sources": {
                "visits": {"type": "csv", "path": "visits.csv"},
                "people": {"type": "csv", "path": "people.csv"},
            },
            "transforms": steps,
            "destination": {"type": "parquet", "path": "out/"},
            "dead_letters": {"max_share": 1},
        }
    )
    rows, found = made(config)
    assert [row["who"] for row in rows] == ["Ann", "Bo"]
    aside = [(json.loads(one.record), one.step - named, one.column, one.reason) for one in found]
    assert [(record["id"], step, column) for record, step, column, _ in aside] == [
        (5, 0, "person"),
        (3, 1, "person"),
        (4, 1, "person"),
    ]
    assert aside[1][3].endswith(f"(lookup): the key in 'person' is not in {'folk' if named else 'people'!r}")


def test_lineage_leads_from_a_looked_up_column_to_the_other_input() -> None:
    found = {one.column: one for one in trace(compile(pipeline(STEP, sources=INPUTS), INPUTS))}
    assert set(found["who"].origins) >= {("people", "name")}
    assert set(found["who"].origins) <= {("people", "name"), ("people", "id"), ("source", "person")}
    assert (found["person"].origins, found["person"].steps) == ((("source", "person"),), ())
