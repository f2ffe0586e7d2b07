"""Sources of databases without a server here: the text of what they ask, the types they understand, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from dataforge.components.base import Connection, ExtractContext
from dataforge.components.dbapi import DIALECTS
from dataforge.components.registry import DESTINATIONS, SOURCES
from dataforge.errors import TerminalError
from dataforge.sources._information_schema import SIZED, declared_types
from dataforge.sources.oracle import _COLUMNS
from dataforge.sources.sql import upper_case

SERVERS = {"mssql": "tsql", "oracle": "oracle"}


def source(type_: str, **config: Any) -> Any:
    given = {"type": type_, "connection": "shop", **config}
    component = SOURCES.get(type_)
    return component.cls(component.config.model_validate(given))


def asked(type_: str, sample: int | None = None, **config: Any) -> str:
    """Return the query that is sent for a config."""
    made = source(type_, **config)
    context = ExtractContext(lambda name: Connection(name, type_), Path("/nonexistent"))
    query: str = made._first_rows(made._query(Connection("shop", type_), context), sample)
    return query


def test_a_table_is_asked_for_by_its_quoted_name() -> None:
    assert asked("mssql", table="dbo.orders") == "SELECT * FROM [dbo].[orders]"
    assert asked("oracle", table="sales.orders") == 'SELECT * FROM "SALES"."ORDERS"'
    assert asked("oracle", table="sales.Orders") == 'SELECT * FROM "SALES"."Orders"'
    assert upper_case("Sales.x_1") == "Sales.X_1"


def test_a_preview_asks_for_few_rows() -> None:
    assert "TOP 5" in asked("mssql", 5, table="t").upper()
    assert "FETCH FIRST 5 ROWS ONLY" in asked("oracle", 5, query="select a from t order by a").upper()
    # a query with an order can't stand within another one in SQL Server
    assert asked("mssql", 5, query="select a from t order by a") == "select a from t order by a"


@pytest.mark.parametrize("type_", SERVERS)
def test_what_is_asked_is_one_statement_of_the_dialect_that_only_reads(type_: str) -> None:
    for query in (asked(type_, table="a.b"), asked(type_, 3, table="a.b")):
        (tree,) = sqlglot.parse(query, dialect=SERVERS[type_])
        assert isinstance(tree, exp.Query)
        assert [table.name.lower() for table in tree.find_all(exp.Table) if table.db] == ["b"]
    for query in ("delete from t", "select 1; drop table t", "select * into x from t"):
        found = [one.code for one in source(type_, query=query).verify()]
        assert set(found) & {"not-allowed", "not-one", "invalid-sql"}, query


@pytest.mark.parametrize(
    ("statement", "dialect"),
    [
        (SIZED.format(schema="COALESCE('s', SCHEMA_NAME())").replace("%s", "'t'"), "tsql"),
        (_COLUMNS.replace(":1", "'S'").replace(":2", "'T'"), "oracle"),
    ],
)
def test_the_question_for_the_columns_is_one_of_the_dialect(statement: str, dialect: str) -> None:
    (tree,) = sqlglot.parse(statement, dialect=dialect)
    assert isinstance(tree, exp.Select)


@pytest.mark.parametrize(
    ("dialect", "declared", "type_"),
    [
        ("tsql", "decimal(12,2)", "DECIMAL(12,2)"),
        ("tsql", "tinyint", "BIGINT"),
        ("tsql", "float", "DOUBLE"),
        ("tsql", "nvarchar", "VARCHAR"),
        ("tsql", "datetime2", "TIMESTAMP"),
        ("tsql", "uniqueidentifier", None),
        ("tsql", "datetimeoffset", None),
        ("tsql", "geography", None),
        ("oracle", "NUMBER(12,2)", "DECIMAL(12,2)"),
        ("oracle", "NUMBER", None),
        ("oracle", "DATE", "TIMESTAMP"),
        ("oracle", "TIMESTAMP(6)", "TIMESTAMP"),
        ("oracle", "VARCHAR2", "VARCHAR"),
        ("oracle", "CLOB", "VARCHAR"),
        ("mysql", "decimal(40,2)", None),
    ],
)
def test_declared_types_are_those_of_the_engine(dialect: str, declared: str, type_: str | None) -> None:
    assert declared_types([("a", declared)], dialect).get("a") == type_


def test_numbers_of_oracle_come_digit_by_digit_and_large_objects_as_their_values() -> None:
    oracledb = pytest.importorskip("oracledb")
    con, variables = SimpleNamespace(), []
    source("oracle", table="t").opened(con)
    cursor = SimpleNamespace(arraysize=100, var=lambda kind, arraysize: variables.append(kind))
    for kind in (oracledb.DB_TYPE_NUMBER, oracledb.DB_TYPE_CLOB, oracledb.DB_TYPE_BLOB, oracledb.DB_TYPE_VARCHAR):
        con.outputtypehandler(cursor, SimpleNamespace(type_code=kind))
    assert [getattr(one, "__name__", one) for one in variables] == [
        "Decimal",
        oracledb.DB_TYPE_LONG,
        oracledb.DB_TYPE_LONG_RAW,
    ]


@pytest.mark.parametrize("type_", ["mssql", "oracle"])
def test_another_type_of_connection_is_refused(type_: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = ExtractContext(lambda name: Connection(name, "postgres"), tmp_path)
    with pytest.raises(TerminalError, match=f"a '{type_}' one is needed"):
        source(type_, table="t").extract(context)


@pytest.mark.parametrize("type_", ["mssql", "snowflake"])
def test_a_destination_writes_only_to_its_own_type(type_: str) -> None:
    component = DESTINATIONS.get(type_)
    made: Any = component.cls(component.config.model_validate({"type": type_, "connection": "w", "table": "t"}))
    assert made._dialect(Connection("w", type_)).name == DIALECTS[type_]
    with pytest.raises(TerminalError, match=f"a '{type_}' one is needed"):
        made._dialect(Connection("w", "mysql"))


def test_a_check_by_the_providers_hook_says_that_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataforge.runtime.checkup import check

    pytest.importorskip("airflow.providers.oracle")
    of = {"conn_type": "oracle", "host": "127.0.0.1", "port": 1, "login": "u", "password": "pa55-hidden-1"}
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps({**of, "extra": json.dumps({"service_name": "shop"})}))
    found = check("away")
    assert (found["state"], "could not be reached" in found["advice"]) == ("failed", True), found
    assert "pa55-hidden-1" not in json.dumps(found)


def test_a_config_whose_package_is_missing_gets_a_finding_with_the_install_line() -> None:
    from dataforge.components.extras import Extra
    from dataforge.dag_factory.check import check_paths

    folder = Path(__file__).parents[2] / "docs" / "examples"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Extra, "installed", property(lambda self: False))
        checked = check_paths([folder / "snowflake.json"], root=folder)
    (found,) = [one for one in checked.findings if one.severity == "error"]
    assert (found.code, "airflow-dataforge[snowflake]" in str(found)) == ("missing-extra", True)


@pytest.mark.parametrize("name", ["mssql", "oracle", "snowflake"])
def test_the_examples_are_valid(name: str) -> None:
    from dataforge.dag_factory.check import check_paths

    folder = Path(__file__).parents[2] / "docs" / "examples"
    checked = check_paths([folder / f"{name}.json"], root=folder)
    wrong = [str(one) for one in checked.findings if one.severity == "error" and one.code != "missing-extra"]
    assert wrong == []
