"""What a pipeline as a whole must be for its sources to be read by a cursor."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.config.incremental import problems
from dataforge.config.pipeline import parse

TABLE = {"type": "duckdb", "table": "t"}


@pytest.mark.parametrize(
    ("source", "destination", "codes"),
    [
        ({"cursor_field": "n"}, TABLE, []),
        ({"cursor_field": "n"}, [TABLE], []),
        ({}, [TABLE, {**TABLE, "table": "u"}], []),
        ({"cursor_field": "n"}, [TABLE, {**TABLE, "table": "u"}], ["incremental-several-destinations"]),
        ({"cursor_field": "n"}, {**TABLE, "database": "${params.tenant}.duckdb"}, ["incremental-no-ledger"]),
    ],
)
def test_a_cursor_needs_one_place_to_be_kept(source: dict[str, Any], destination: Any, codes: list[str]) -> None:
    config = parse({"dag_id": "a", "source": {"type": "csv", "path": "a.csv", **source}, "destination": destination})
    found = problems(config)
    assert [problem.code for problem in found] == codes
    assert all(problem.path == ("source", "cursor_field") for problem in found)
