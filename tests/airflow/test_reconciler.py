"""The reconciler in a real Airflow, with real markers in PostgreSQL: one is deleted, one is forged."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.airflow.conftest import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

Numbers = Callable[..., dict[str, Any]]


@pytest.fixture
def target(airflow: Airflow, postgres_folder: Path) -> dict[str, Any]:
    """Return a destination in a real PostgreSQL that the running Airflow has a connection to."""
    made = {"connection_id": "ledgers", "conn_type": "postgres", "host": str(postgres_folder)}
    with suppress(urllib.error.HTTPError):  # it is there from another test
        airflow.api.post("/api/v2/connections", {**made, "login": "postgres", "schema": "postgres"})
    return {"type": "postgres", "connection": "ledgers", "table": "reconciled.numbers"}


def change(folder: Path, *statements: str) -> None:
    from adbc_driver_postgresql import dbapi

    uri = f"postgresql:///postgres?user=postgres&host={folder}"
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def reconciled(airflow: Airflow) -> dict[str, Any]:
    """Run the maintenance DAG; return what its reconciler says."""
    run = airflow.trigger("dataforge_maintenance")
    path = f"/api/v2/dags/dataforge_maintenance/dagRuns/{run}/taskInstances/reconcile/xcomEntries/return_value"
    value: dict[str, Any] = airflow.api.get(path)["value"]
    return value


def test_a_deleted_and_a_forged_marker_are_found(
    airflow: Airflow, numbers: Numbers, target: dict[str, Any], postgres_folder: Path
) -> None:
    path = airflow.put("reconciled.json", numbers("reconciled", destination=target))
    first, second = airflow.trigger("reconciled"), airflow.trigger("reconciled")
    fine = [one for one in reconciled(airflow)["first"] if "reconciled" in one]
    assert fine == []
    ledger = "reconciled._dataforge_loads"
    columns = (
        "pipeline, target, run_key, run_number, run_id, attempt, disposition, digest, row_count, inserted, updated, "
        "deleted, rejected, epoch, cursor_json, schema_version, revision, actor, committed_at"
    )
    forged = columns.replace("run_key", "'f' || run_key").replace("run_id", "'forged'")
    forged = forged.replace("committed_at", "now() - interval '1 hour'")
    change(
        postgres_folder,
        f"insert into {ledger} ({columns}) select {forged} from {ledger} where run_id = '{first}'",
        f"delete from {ledger} where run_id = '{second}'",
        'create table reconciled."_dataforge_stage_0123456789abcdef_left" (a int)',
    )
    found = reconciled(airflow)
    assert "marker-without-success: reconciled forged" in found["first"]
    assert f"success-without-marker: reconciled {second}" in found["first"]
    assert not any(first in one for one in found["first"])
    assert found["swept"] == 1
    path.unlink()
