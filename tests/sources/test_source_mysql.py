"""The mysql source against a real MariaDB, by each driver."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from tests import mariadb_server

from dataforge.components.base import Batches, CursorBounds, ExtractContext, RunValues
from dataforge.components.registry import SOURCES
from dataforge.config.delivery import WORDS
from dataforge.dag_factory.health import check_connections
from dataforge.errors import ConfigError, DataForgeError, TerminalError
from dataforge.runtime.connections import lookup
from dataforge.testing import Row, SourceContract

ROWS: tuple[dict[str, Any], ...] = (
    {"id": 1, "name": "Ann", "amount": Decimal("10.50"), "day": date(2024, 1, 31)},
    {"id": 2, "name": None, "amount": Decimal("7.25"), "day": None},
    {"id": 3, "name": 'Zoë, "Z"', "amount": None, "day": date(2023, 2, 28)},
)


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb_server.Server]:
    with mariadb_server.running() as found:
        yield found


class Shop:
    """An empty database behind the Airflow connection `shop`."""

    def __init__(self, server: mariadb_server.Server, monkeypatch: pytest.MonkeyPatch, driver: str = "pymysql") -> None:
        from dataforge.components import dbapi

        self.server, self.database = server, f"d{uuid.uuid4().hex[:12]}"
        self.fields: dict[str, Any] = {
            "conn_type": "mysql", "host": "127.0.0.1", "port": server.port, "login": "shop",
            "password": mariadb_server.PASSWORD, "schema": self.database,
        }  # fmt: skip
        if driver == "pymysql":
            monkeypatch.setattr(dbapi, "provided", lambda name: False)
        else:
            pytest.importorskip("airflow.providers.mysql", reason="Airflow's MySQL provider is not installed")
            self.fields["extra"] = json.dumps({"client": driver})
        server.sql(f"create database {self.database} character set utf8mb4")
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(self.fields))

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.sql(*statements, database=self.database)


@pytest.fixture(params=["pymysql", "mysqlclient", "mysql-connector-python"])
def shop(request: pytest.FixtureRequest, server: mariadb_server.Server, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(server, monkeypatch, request.param)


@pytest.fixture
def own(server: mariadb_server.Server, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(server, monkeypatch)


def source(**config: Any) -> Any:
    return SOURCES.build(SOURCES.get("mysql").config.model_validate({"type": "mysql", "connection": "shop", **config}))


def read(folder: Path, context: ExtractContext | None = None, **config: Any) -> pa.Table:
    extracted = source(**config).extract(context or ExtractContext(lookup, folder))
    assert isinstance(extracted, Batches)
    found = extracted.reader.read_all()
    extracted.close()
    return found


class TestMysql(SourceContract):
    config = {"type": "mysql", "connection": "shop", "table": "people"}
    expected: ClassVar[tuple[Row, ...]] = ROWS

    @pytest.fixture(autouse=True)
    def _place(self, own: Shop) -> None:
        own.sql(
            "create table people (id bigint, name varchar(20), amount decimal(5,2), day date)",
            "insert into people values (1, 'Ann', 10.50, '2024-01-31'), (2, null, 7.25, null), "
            "(3, 'Zoë, \"Z\"', null, '2023-02-28')",
        )


def test_a_table_comes_with_the_types_that_it_declares(shop: Shop, tmp_path: Path) -> None:
    shop.sql(
        "create table t (i int, u bigint unsigned, b bool, n decimal(30,4), d double, s varchar(9), x varbinary(4), "
        "j json, e enum('a','b'), day date, dt datetime(6), ts timestamp(6) null, cl time(6), nothing decimal(9,3))",
        "set time_zone = '+05:00'",
        "insert into t values (-1, 18446744073709551615, true, 12345678901234567890.1234, 0.1, 'é', x'00ff', '{}', 'b',"
        " '2024-02-29', '2024-01-31 23:59:59.123456', '2024-01-31 23:59:59.123456', '01:02:03.5', null)",
    )
    found = read(tmp_path, table="t")
    types = {field.name: str(field.type) for field in found.schema}
    assert types["n"] == "decimal128(30, 4)"
    assert (types["i"], types["b"], types["d"], types["nothing"]) == ("int64", "int64", "double", "decimal128(9, 3)")
    assert (types["dt"], types["ts"], types["x"]) == ("timestamp[us]", "timestamp[us]", "binary")
    (row,) = found.to_pylist()
    assert (row["i"], int(row["u"]), row["b"], row["d"]) == (-1, 2**64 - 1, 1, 0.1)
    assert (row["n"], row["s"], row["x"], row["e"]) == (Decimal("12345678901234567890.1234"), "é", b"\0\xff", "b")
    assert row["day"] == date(2024, 2, 29)
    assert row["dt"] == datetime(2024, 1, 31, 23, 59, 59, 123456)
    assert row["ts"] == row["dt"] - timedelta(hours=5)  # an instant, in UTC
    assert source(table="t").discover(ExtractContext(lookup, tmp_path))["n"] == "DECIMAL(30,4)"


def test_rows_that_come_while_it_is_read_are_not_of_the_snapshot(shop: Shop, tmp_path: Path) -> None:
    shop.sql("create table t (id int)", "insert into t select seq from seq_1_to_30000")
    at_work = source(query="select id from t", batch_rows=1000)
    from dataforge.sources import sql as module

    began = module._run

    def then_more(con: Any, query: str) -> Any:
        names, rows = began(con, query)
        shop.sql("insert into t select seq from seq_1_to_500", "delete from t where id > 29000")
        return names, rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_run", then_more)
        assert at_work.extract(ExtractContext(lookup, tmp_path)).reader.read_all().num_rows == 30_000


def test_only_records_above_the_cursor_are_asked_for(shop: Shop, tmp_path: Path) -> None:
    shop.sql("create table t (id int, at datetime)", "insert into t select seq, now() from seq_1_to_1000")
    bounds = CursorBounds("id", lower="991", type="BIGINT", nulls=False)
    found = read(tmp_path, ExtractContext(lookup, tmp_path, cursor=bounds), table="t")
    assert {row["id"] for row in found.to_pylist()} == set(range(991, 1001))
    assert found.num_rows == 10


def test_a_preview_and_discovery_of_a_large_table_read_few_rows(shop: Shop, tmp_path: Path) -> None:
    shop.sql("create table t (id int)", "insert into t select seq from seq_1_to_20000")
    assert read(tmp_path, ExtractContext(lookup, tmp_path, sample=5), query="select id from t").num_rows == 5
    assert source(table="t").discover(ExtractContext(lookup, tmp_path)) == {"id": "BIGINT"}


def test_a_query_takes_parameters_and_can_not_write(own: Shop, tmp_path: Path) -> None:
    own.sql("create table t (id int)")
    context = ExtractContext(lookup, tmp_path, RunValues(params={"name": "it's \\ %s"}))
    found = read(tmp_path, context, query="select ${params.name} as n, '%d' as p")
    assert found.to_pylist() == [{"n": "it's \\ %s", "p": "%d"}]
    with pytest.raises(ConfigError, match="can only"):
        read(tmp_path, query="delete from t")
    assert next(iter(source(query="selec 1").verify())).code in ("invalid-sql", "not-allowed")


def test_a_query_that_takes_too_long_is_ended(own: Shop, tmp_path: Path) -> None:
    with pytest.raises(DataForgeError, match=r"max_statement_time|interrupted|took too long|timeout"):
        read(tmp_path, query="select sleep(20) from (select 1 union select 2) x", statement_timeout="1s")


def test_a_check_of_the_connection_says_what_to_fix(own: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Airflow's hook where its provider is installed, by the driver alone where it is not."""
    from dataforge.runtime import checkup

    cases: dict[str, tuple[dict[str, Any], str, str]] = {
        "right": ({}, "ok", ""),
        "password": ({"password": "wrong-and-secret"}, "failed", "right login and password"),
        "database": ({"schema": "nowhere"}, "failed", "no database of that name"),
        "port": ({"port": 1}, "failed", "nothing listens"),
    }
    for name, (changed, _, _) in cases.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({**own.fields, **changed}))
    for by in ("driver", "hook"):
        if by == "hook":
            pytest.importorskip("airflow.providers.mysql")
        monkeypatch.setattr(checkup, "provided", lambda name, by=by: by == "hook")
        found = check_connections(cases)
        for name, (_, state, advice) in cases.items():
            assert found[name]["state"] == state, (by, found[name])
            assert advice in found[name]["advice"], (by, found[name])
            assert "wrong-and-secret" not in json.dumps(found[name])


def test_another_type_of_connection_is_refused(own: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "postgres", "host": "x"}))
    with pytest.raises(TerminalError, match="a 'mysql' one is needed"):
        read(tmp_path, table="t")


def test_the_examples_are_valid_and_tell_their_guarantee() -> None:
    from dataforge.dag_factory.check import check_paths

    folder = Path(__file__).parents[2] / "docs" / "examples"
    checked = check_paths([folder / "mysql.json"], root=folder)
    assert [str(one) for one in checked.findings if one.severity == "error"] == []
    assert "E" in WORDS
