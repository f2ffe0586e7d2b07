"""The snowflake source by Snowflake's own driver, against a fakesnow server that somebody started for it.

    fakesnow -s -p 18765 &  DATAFORGE_FAKESNOW=18765 python -m pytest tests/sources/test_source_snowflake.py

fakesnow needs other versions of SQLGlot than we do, so that it lies in an environment of its own. Without it, what the
driver gives is played from tables of Arrow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from typing_extensions import Self

from dataforge.components import dbapi
from dataforge.components.base import Batches, CursorBounds, ExtractContext
from dataforge.errors import TerminalError
from dataforge.runtime.connections import lookup
from dataforge.sources.snowflake import SnowflakeConfig, SnowflakeSource, _schema

PORT = os.environ.get("DATAFORGE_FAKESNOW")


def source(**config: Any) -> SnowflakeSource:
    return SnowflakeSource(SnowflakeConfig.model_validate({"connection": "shop", **config}))


def read(folder: Path, cursor: CursorBounds | None = None, sample: int | None = None, **config: Any) -> pa.Table:
    extracted = source(**config).extract(ExtractContext(lookup, folder, cursor=cursor, sample=sample))
    assert isinstance(extracted, Batches)
    return extracted.reader.read_all()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A connection to the running server, and the Airflow connection `shop` to it."""
    if PORT is None:
        pytest.skip("no fakesnow server runs: start one and set DATAFORGE_FAKESNOW to its port")
    connector = pytest.importorskip("snowflake.connector")

    def connect() -> Any:
        return connector.connect(
            user="fake", password="snow", account="fakesnow", host="localhost", port=int(PORT or 0), protocol="http",
            database="W", schema="PUBLIC", session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        )  # fmt: skip

    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "snowflake", "login": "fake", "schema": "PUBLIC"}))
    monkeypatch.setattr(dbapi, "_hook", lambda connection: SimpleNamespace(get_conn=connect))
    with connect() as con:
        for statement in ("create database if not exists W", "create schema if not exists W.PUBLIC"):
            con.cursor().execute(statement)
        con.cursor().execute("use schema W.PUBLIC")
        yield con.cursor()


def test_a_table_comes_with_the_types_that_it_declares(server: Any, tmp_path: Path) -> None:
    server.execute(
        "create or replace table KINDS (ID number(18,0), AMOUNT number(12,2), F float, B boolean, S varchar, D date, "
        "NTZ timestamp_ntz, TZ timestamp_tz, V variant, X binary)"
    )
    server.execute(
        "insert into KINDS select 1, 10.50, 0.5, true, 'é', '2024-02-29', '2024-01-31 23:59:59.123456', "
        "'2024-01-31 23:59:59.123456+02:00', parse_json('{\"a\":1}'), null"
    )
    found = read(tmp_path, table="kinds")
    assert found.schema.field("AMOUNT").type == pa.decimal128(12, 2)
    assert found.schema.field("TZ").type == pa.timestamp("us", "UTC")
    (row,) = found.to_pylist()
    assert (row["AMOUNT"], row["S"], row["D"], row["X"]) == (Decimal("10.50"), "é", date(2024, 2, 29), None)
    assert row["NTZ"] == datetime(2024, 1, 31, 23, 59, 59, 123456)
    assert row["TZ"] == datetime(2024, 1, 31, 21, 59, 59, 123456, tzinfo=timezone.utc)
    assert source(table="kinds").discover(ExtractContext(lookup, tmp_path))["AMOUNT"] == "DECIMAL(12,2)"


def test_only_records_above_the_cursor_and_a_preview_are_asked_for(server: Any, tmp_path: Path) -> None:
    server.execute("create or replace table MANY (ID number(18,0), SEEN timestamp_ntz)")
    server.execute(f"insert into MANY values {', '.join(f'({n}, null)' for n in range(1000))}")
    bounds = CursorBounds("id", lower="990", type="BIGINT", nulls=False)
    assert read(tmp_path, bounds, table="many").num_rows == 10
    assert read(tmp_path, sample=7, table="many").num_rows == 7
    assert read(tmp_path, table="many").num_rows == 1000
    assert "2 columns" in source(table="many").check(ExtractContext(lookup, tmp_path))


def test_a_missing_table_is_told(server: Any, tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match=r"(?i)nowhere"):
        read(tmp_path, table="nowhere")


class Driver:
    """What the driver's connection and cursor give: a description, and tables in types of their own."""

    def __init__(self, description: list[Any], tables: list[pa.Table]) -> None:
        self.description, self.tables, self.said, self.closed = description, tables, list[str](), 0

    def cursor(self) -> Driver:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed += 1

    def execute(self, statement: str) -> None:
        self.said.append(statement)

    def describe(self, statement: str) -> list[Any]:
        return self.description

    def fetch_arrow_batches(self, force_microsecond_precision: bool) -> Iterator[pa.Table]:
        yield from self.tables

    def close(self) -> None:
        self.closed += 1


def column(name: str, code: int, precision: int | None = None, scale: int | None = None) -> tuple[Any, ...]:
    return (name, code, None, None, precision, scale, True)


def test_batches_of_narrower_types_get_the_declared_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = [column("ID", 0, 18, 0), column("N", 0, 12, 2), column("AT", 8, 0, 9), column("T", 12, 0, 9)]
    first = {
        "ID": pa.array([1], pa.int8()), "N": pa.array([Decimal("1.50")], pa.decimal128(5, 2)),
        "AT": pa.array([datetime(2024, 1, 1)], pa.timestamp("ns")), "T": pa.array([time(1)], pa.time64("ns")),
    }  # fmt: skip
    second = {
        "ID": pa.array([2**40], pa.int64()), "N": pa.array([None], pa.decimal128(12, 2)),
        "AT": pa.array([datetime(9999, 12, 31)], pa.timestamp("us")), "T": pa.array([None], pa.time64("us")),
    }  # fmt: skip
    driver = Driver(described, [pa.table(first), pa.table(second)])
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "snowflake"}))
    monkeypatch.setattr(dbapi, "_hook", lambda connection: SimpleNamespace(get_conn=lambda: driver))
    bounds = CursorBounds("at", lower="2024-01-01 00:00:00", type="TIMESTAMP", nulls=False)
    found = read(tmp_path, bounds, table="sales.orders", statement_timeout="90s")
    assert found.to_pylist() == [
        {"ID": 1, "N": Decimal("1.50"), "AT": datetime(2024, 1, 1), "T": time(1)},
        {"ID": 2**40, "N": None, "AT": datetime(9999, 12, 31), "T": None},
    ]
    assert driver.said[0] == "ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = 90"
    assert '"SALES"."ORDERS"' in driver.said[-1]
    assert "\"AT\" >= CAST('2023-12-31 23:59:59' AS TIMESTAMP)" in driver.said[-1]
    assert driver.closed >= 2


def test_columns_of_the_same_name_are_refused() -> None:
    with pytest.raises(TerminalError, match="more than one column 'A'"):
        _schema([column("A", 2), column("A", 2)])
