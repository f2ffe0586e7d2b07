"""The snowflake destination by Snowflake's own driver, against a fakesnow server that somebody started for it.

    fakesnow -s -p 18765 &  DATAFORGE_FAKESNOW=18765 python -m pytest tests/destinations/test_destination_snowflake.py

fakesnow needs other versions of SQLGlot than we do, so that it lies in an environment of its own.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.destinations.conftest import rows

from dataforge.components import dbapi
from dataforge.components.base import LoadContext
from dataforge.components.extras import Extra
from dataforge.destinations import _sql_dialects
from dataforge.destinations._table import RUN_COLUMN
from dataforge.destinations.snowflake import SnowflakeConfig, SnowflakeDestination
from dataforge.runtime.connections import lookup
from dataforge.testing import DestinationContract

PORT = os.environ.get("DATAFORGE_FAKESNOW")
if PORT is None:
    pytest.skip("no fakesnow server runs: start one and set DATAFORGE_FAKESNOW", allow_module_level=True)


def connect() -> Any:
    """Return a connection to the server."""
    import snowflake.connector as connector  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return connector.connect(
        user="fake", password="snow", account="fakesnow", host="localhost", port=int(PORT or 0), protocol="http",
        database="W", schema="PUBLIC", session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty schema behind the Airflow connection `shop`; fakesnow does not know the statements for a session."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "snowflake"}))
    hook = SimpleNamespace(
        get_conn=connect, supports_autocommit=True, set_autocommit=lambda con, wanted: con.autocommit(wanted)
    )
    monkeypatch.setattr(dbapi, "_hook", lambda connection: hook)
    monkeypatch.setattr(Extra, "installed", True)
    without = replace(_sql_dialects.SNOWFLAKE, session=())
    monkeypatch.setattr(_sql_dialects, "DIALECTS", {"snowflake": without})
    sql("create database if not exists W", "drop schema if exists W.TEST cascade", "create schema W.TEST")


def sql(*statements: str) -> list[tuple[Any, ...]]:
    """Run statements; return the rows of the last one."""
    with connect() as con, con.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]


_NULLS = pytest.mark.xfail(reason="fakesnow gives 1970 for a null TIMESTAMP_TZ, so a marker looks taken back")


class TestSnowflake(DestinationContract):
    config = {"type": "snowflake", "connection": "shop", "table": "TEST.THINGS"}
    test_a_run_that_was_loaded_is_not_loaded_twice = _NULLS(
        DestinationContract.test_a_run_that_was_loaded_is_not_loaded_twice
    )
    test_a_run_done_again_replaces_its_own_rows = _NULLS(
        DestinationContract.test_a_run_done_again_replaces_its_own_rows
    )

    def stored(self) -> list[dict[str, Any]]:
        with connect() as con, con.cursor() as cursor:
            cursor.execute("select * from TEST.THINGS")
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [{name: value for name, value in row.items() if name != RUN_COLUMN} for row in found]


@pytest.mark.parametrize("strategy", ["upsert", "delete_insert", "scd2"])
def test_a_merge_updates_and_adds_by_key(strategy: str, tmp_path: Path) -> None:
    config = {"write_disposition": "merge", "primary_key": ["ID"], "merge_strategy": strategy, "stage_above": 0}
    model = SnowflakeConfig.model_validate({"connection": "shop", "table": "TEST.T", **config})
    for run, given in (("1", {"ID": [1, 2], "N": ["a", "b"]}), ("2", {"ID": [2, 3], "N": ["B", None]})):
        context = LoadContext(lookup, tmp_path, uuid.uuid4().hex[:16], "orders", run_id=run)
        SnowflakeDestination(model).load(rows(**given), context)
    open_ = ' where "_valid_to" is null' if strategy == "scd2" else ""
    assert sql(f"select ID, N from TEST.T{open_} order by ID") == [(1, "a"), (2, "B"), (3, None)]
