"""Incremental loads in a real Airflow: a scheduled cursor, a backfill of some days, a cleared run."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from tests.airflow.conftest import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

DAYS = [f"2025-01-{day:02d}" for day in range(1, 11)]


def write(airflow: Airflow, mark: str) -> None:
    rows = "".join(f"{number},{day}T12:00:00Z,{mark}\n" for number, day in enumerate(DAYS))
    (airflow.configs / "incremental.csv").write_text(f"id,at,mark\n{rows}")


def marks(airflow: Airflow) -> list[tuple[Any, ...]]:
    """Return id and mark of the rows that are there, by id."""
    with duckdb.connect(str(airflow.output / "warehouse.duckdb"), read_only=True) as con:
        return sorted(con.execute("SELECT id, mark FROM incremental").fetchall())


def test_backfills_and_cleared_runs_replace_their_own_rows_and_leave_the_cursor(airflow: Airflow) -> None:
    write(airflow, "first")
    airflow.put(
        "incremental.json",
        {
            "dag_id": "incremental",
            "schedule": "@daily",
            "start_date": "2025-01-01",
            "end_date": "2025-01-20",
            "source": {"type": "csv", "path": "incremental.csv", "cursor_field": "at"},
            "destination": {"type": "duckdb", "table": "incremental"},
        },
    )
    first = airflow.trigger("incremental")
    assert marks(airflow) == [(number, "first") for number in range(10)]
    airflow.trigger("incremental")
    assert len(marks(airflow)) == 10

    write(airflow, "again")
    span = {"from_date": "2025-01-03T00:00:00Z", "to_date": "2025-01-05T00:00:00Z"}
    airflow.api.post("/api/v2/backfills", {"dag_id": "incremental", **span, "reprocess_behavior": "none"})
    listed = "/api/v2/dags/incremental/dagRuns?run_type=backfill"
    runs = airflow.until(
        "the backfill", lambda: (found := airflow.api.get(listed)["dag_runs"]) and len(found) >= 2 and found
    )
    for run in runs:
        airflow.wait("incremental", run["dag_run_id"])
    found = dict(marks(airflow))
    assert len(marks(airflow)) == len(found) == 10
    days = {number for number, mark in found.items() if mark == "again"}
    assert {2, 3} <= days <= {2, 3, 4}

    airflow.api.post(f"/api/v2/dags/incremental/dagRuns/{first}/clear", {"dry_run": False})
    airflow.wait("incremental", first)
    again = {number for number, mark in marks(airflow) if mark == "again"}
    assert set(range(9)) - days <= again
    # the record at the cursor's own value has changed: it counts as a new one, which the next run brings
    airflow.trigger("incremental")
    assert sorted(number for number, _ in marks(airflow)) == list(range(10))
