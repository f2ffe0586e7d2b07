"""The clickhouse source against ClickHouse's engine (chdb) behind an HTTP front of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from tests import clickhouse_server

from dataforge.components.base import Batches, CursorBounds, ExtractContext, RunValues
from dataforge.components.registry import SOURCES
from dataforge.dag_factory.health import check_connections
from dataforge.errors import ConfigError, TerminalError
from dataforge.runtime.connections import lookup
from dataforge.testing import Row, SourceContract

pytest.importorskip("clickhouse_connect")
pytest.importorskip("airflow.providers.clickhousedb")

ROWS: tuple[dict[str, Any], ...] = (
    {"id": 1, "name": "Ann", "amount": Decimal("10.50"), "day": date(2024, 1, 31)},
    {"id": 2, "name": None, "amount": Decimal("7.25"), "day": None},
    {"id": 3, "name": 'Zoë, "Z"', "amount": None, "day": date(2023, 2, 28)},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clickhouse_server.Server]:
    with clickhouse_server.running(tmp_path_factory.mktemp("clickhouse")) as found:
        found.sql(
            "create table people (id Int64, name Nullable(String), amount Nullable(Decimal(5,2)), day Nullable(Date))"
            " engine = MergeTree order by id",
            "insert into people values (1, 'Ann', 10.50, '2024-01-31'), (2, null, 7.25, null), "
            "(3, 'Zoë, \"Z\"', null, '2023-02-28')",
        )
        yield found


@pytest.fixture(autouse=True)
def fields(server: clickhouse_server.Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found = {
        "conn_type": "clickhouse", "host": "127.0.0.1", "port": server.port, "login": "default",
        "password": clickhouse_server.PASSWORD,
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_EVENTS", json.dumps(found))
    return found


def source(**config: Any) -> Any:
    given = {"type": "clickhouse", "connection": "events", **config}
    return SOURCES.build(SOURCES.get("clickhouse").config.model_validate(given))


def read(folder: Path, context: ExtractContext | None = None, **config: Any) -> pa.Table:
    extracted = source(**config).extract(context or ExtractContext(lookup, folder))
    assert isinstance(extracted, Batches)
    found = extracted.reader.read_all()
    extracted.close()
    return found


class TestClickhouse(SourceContract):
    config = {"type": "clickhouse", "connection": "events", "table": "people"}
    expected: ClassVar[tuple[Row, ...]] = ROWS


TYPES: dict[str, tuple[str, str, Any]] = {
    "i": ("Int32", "-5", -5),
    "u": ("UInt64", "18446744073709551615", 2**64 - 1),
    "b": ("Bool", "true", True),
    "n": ("Decimal(30,4)", "toDecimal128('12345678901234567890.1234', 4)", Decimal("12345678901234567890.1234")),
    "w": ("Decimal(60,2)", "toDecimal256('1.50', 2)", "1.5"),
    "f": ("Float64", "0.1", 0.1),
    "s": ("String", "'é\\n\\'\"'", "é\n'\""),
    "lc": ("LowCardinality(Nullable(String))", "'x'", "x"),
    "fs": ("FixedString(5)", "'abc'", "abc"),
    "d": ("Date", "'2024-02-29'", date(2024, 2, 29)),
    "d32": ("Date32", "'1900-01-01'", date(1900, 1, 1)),
    "dt": ("DateTime('UTC')", "'2024-01-31 23:59:59'", datetime(2024, 1, 31, 23, 59, 59, tzinfo=timezone.utc)),
    "dtz": (
        "Nullable(DateTime('Europe/Berlin'))",
        "'2024-01-31 23:59:59'",
        datetime(2024, 1, 31, 22, 59, 59, tzinfo=timezone.utc),
    ),
    "d64": (
        "DateTime64(9, 'UTC')",
        "'2024-01-31 23:59:59.123456789'",
        datetime(2024, 1, 31, 23, 59, 59, 123456, tzinfo=timezone.utc),
    ),
    "uid": (
        "UUID",
        "'04e75b58-9a91-4a00-863c-c26e08c3ee90'",
        "04e75b58-9a91-4a00-863c-c26e08c3ee90",
    ),
    "e": ("Enum('a' = 1, 'b' = 2)", "'b'", "b"),
    "ip": ("IPv4", "'1.2.3.4'", "1.2.3.4"),
    "big": ("Int256", "123", "123"),
    "a": ("Array(Int32)", "[1, 2]", [1, 2]),
    "m": ("Map(String, Int32)", "map('a', 1)", [("a", 1)]),
    "tu": ("Tuple(x Int32, y String)", "tuple(1, 'q')", {"x": 1, "y": "q"}),
    "at": ("Array(DateTime('UTC'))", "['2024-01-31 23:59:59']", '["2024-01-31 23:59:59"]'),
    "nn": ("Nullable(Int64)", "null", None),
}


def test_every_type_comes_as_it_is_or_as_text(server: clickhouse_server.Server, tmp_path: Path) -> None:
    server.sql(
        f"create table kinds ({', '.join(f'`{name}` {type_}' for name, (type_, _, _) in TYPES.items())}) "
        "engine = MergeTree order by i",
        f"insert into kinds select {', '.join(value for _, value, _ in TYPES.values())}",
    )
    (row,) = read(tmp_path, table="default.kinds").to_pylist()
    assert row == {name: value for name, (_, _, value) in TYPES.items()}
    found = source(table="kinds").discover(ExtractContext(lookup, tmp_path))
    assert (found["n"], found["d64"], found["uid"]) == ("DECIMAL(30,4)", "TIMESTAMP WITH TIME ZONE", "VARCHAR")
    assert list(found) == list(TYPES)


@pytest.mark.parametrize(
    ("field", "bounds", "expected"),
    [
        ("id", CursorBounds("id", lower="9999990", type="BIGINT", nulls=False), 10),
        ("at", CursorBounds("at", lower="2024-04-25 17:46:30+00", type="TIMESTAMPTZ", nulls=False), 10),
        ("s", CursorBounds("s", lower="9999990", upper="9999994", type="VARCHAR", nulls=False), 5),
    ],
)
def test_only_records_within_the_cursors_bounds_are_asked_for(
    field: str, bounds: CursorBounds, expected: int, tmp_path: Path
) -> None:
    query = (
        "select number as id, toDateTime('2024-01-01 00:00:00', 'UTC') + number as at, toString(number) as s "
        "from numbers(10000000)"
    )
    context = ExtractContext(lookup, tmp_path, cursor=bounds)
    assert read(tmp_path, context, query=query).num_rows == expected


def test_large_results_come_in_batches(tmp_path: Path) -> None:
    extracted = source(query="select number as n, toString(number) as s from numbers(300000)").extract(
        ExtractContext(lookup, tmp_path)
    )
    sizes = [batch.num_rows for batch in extracted.reader]
    assert (sum(sizes), len(sizes) > 1) == (300_000, True)


def test_a_query_takes_parameters_and_reaches_nothing_but_tables(tmp_path: Path) -> None:
    context = ExtractContext(lookup, tmp_path, RunValues(params={"name": "it's \\ %"}))
    assert read(tmp_path, context, query="select ${params.name} as n").to_pylist() == [{"n": "it's \\ %"}]
    for query in (
        "insert into people select * from people",
        "select * from file('/etc/passwd', 'LineAsString')",
        "select * from url('http://127.0.0.1/', 'CSV')",
        "select * from remote('127.0.0.1', 'default', 'people')",
        "select * from people where id in (select id from s3('https://x/y', 'CSV'))",
    ):
        assert [one.code for one in source(query=query).verify()] == ["not-allowed"], query
        with pytest.raises(ConfigError, match="can only"):
            read(tmp_path, query=query)


def test_what_the_server_says_of_a_wrong_query_is_told_without_a_secret(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="nowhere") as told:
        read(tmp_path, table="nowhere")
    assert clickhouse_server.PASSWORD not in str(told.value)


def test_a_check_of_the_connection_says_what_to_fix(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "3 columns" in source(query="select 1 as a, 2 as b, 3 as c").check(ExtractContext(lookup, tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps({**fields, "password": "wrong-and-secret"}))
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps({**fields, "port": 1}))
    found = check_connections(["events", "wrong", "away"])
    assert {name: one["state"] for name, one in found.items()} == {"events": "ok", "wrong": "failed", "away": "failed"}
    assert "right login and password" in found["wrong"]["advice"]
    assert "nothing listens" in found["away"]["advice"]


def test_the_example_is_valid() -> None:
    from dataforge.dag_factory.check import check_paths

    folder = Path(__file__).parents[2] / "docs" / "examples"
    checked = check_paths([folder / "clickhouse.json"], root=folder)
    assert [str(one) for one in checked.findings if one.severity == "error"] == []
