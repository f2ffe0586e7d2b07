"""Previews: sample rows after every step, from every kind of source, without writing anywhere."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dataforge.config.pipeline import parse
from dataforge.runtime import preview
from dataforge.runtime.context import local

DOUBLE = {"type": "derive", "columns": {"twice": "n * 2"}}


def run(source: dict[str, Any], *transforms: dict[str, Any], rows: int = 2) -> preview.Preview:
    data = {"dag_id": "p", "source": source, "transforms": transforms, "destination": {"type": "duckdb", "table": "t"}}
    config = parse({**data, "checks": [{"type": "not_null", "columns": ["n"]}]})
    return preview.run(config, local(config, {}), rows)


@pytest.fixture(params=["csv", "json", "postgres", "sql"])
def source(request: pytest.FixtureRequest, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The numbers 1 to 500 from each kind of source."""
    folder = home / "configs"
    folder.mkdir(parents=True)
    numbers = range(1, 501)
    if request.param == "csv":
        (folder / "n.csv").write_text("\n".join(["n", *map(str, numbers)]))
        return {"type": "csv", "path": "n.csv"}
    if request.param == "json":
        (folder / "n.ndjson").write_text("\n".join(json.dumps({"n": n}) for n in numbers))
        return {"type": "json", "path": "n.ndjson"}
    if request.param == "postgres":
        request.getfixturevalue("warehouse")
        query = "select n from generate_series(1, 500) as t(n) order by n"
        return {"type": "postgres", "connection": "warehouse", "query": query}
    with sqlite3.connect(tmp_path / "n.db") as con:
        con.execute("create table numbers (n integer)")
        con.executemany("insert into numbers values (?)", [(n,) for n in numbers])
    monkeypatch.setenv("AIRFLOW_CONN_N", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "n.db")}))
    return {"type": "sql", "connection": "n", "table": "numbers"}


def test_every_source_shows_rows_after_every_step(source: dict[str, Any]) -> None:
    shown = run(source, DOUBLE, {"type": "filter", "where": "twice > 4"})
    assert [(step.type, len(step.rows)) for step in shown.steps] == [("source", 2), ("derive", 2), ("filter", 2)]
    assert shown.steps[0].row_count == 200
    assert all(row["twice"] == 2 * row["n"] > 4 for row in shown.steps[2].rows)
    assert shown.steps[1].added == ("twice",)
    assert [check.passed for check in shown.checks] == [True]


def test_a_step_that_reads_nothing_is_shown_too(home: Path) -> None:
    (home / "configs").mkdir(parents=True)
    (home / "configs" / "n.csv").write_text("n\n1\n")
    shown = run({"type": "csv", "path": "n.csv"}, {"type": "sql", "query": "select 7 as n"})
    assert [dict(row) for row in shown.steps[1].rows] == [{"n": 7}]
