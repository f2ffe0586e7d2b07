"""The postgres and sql sources against a real PostgreSQL and a real SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi
from pydantic import ValidationError

from dataforge.components.base import Batches, Connection, ExtractContext, Verifiable
from dataforge.components.database import postgres_uri
from dataforge.components.registry import SOURCES
from dataforge.errors import ConfigError, DataForgeError, TerminalError
from dataforge.runtime.extract import with_widening
from dataforge.runtime.landing import explain, land

MakeContext = Callable[..., ExtractContext]


def source(context: ExtractContext, type_: str = "postgres", **config: Any) -> Any:
    """Return the source component for a config."""
    return SOURCES.build(SOURCES.get(type_).config.model_validate({"type": type_, "connection": "shop_db", **config}))


def table(context: ExtractContext, type_: str = "postgres", **config: Any) -> pa.Table:
    """Extract all rows."""
    extracted = source(context, type_, **config).extract(context)
    assert isinstance(extracted, Batches)
    return extracted.reader.read_all()


@pytest.fixture
def sql(postgres: Connection) -> Iterator[Callable[[str], None]]:
    """Run statements in the server; the tables in schema shop are dropped afterwards."""

    def run(statement: str) -> None:
        with closing(dbapi.connect(postgres_uri(postgres))) as con, con.cursor() as cursor:
            cursor.execute(statement)
            con.commit()

    run("CREATE SCHEMA IF NOT EXISTS shop")
    yield run
    run("DROP SCHEMA shop CASCADE")


def test_a_table_comes_with_exact_types_and_values(
    postgres: Connection, sql: Callable[[str], None], context: MakeContext
) -> None:
    sql(
        'CREATE TABLE shop."Od-d" (id bigint, n numeric, m numeric(12,2), w numeric(40,2), j jsonb, u uuid, a int[], '
        'na numeric[], d date, ts timestamp, tz timestamptz, b bytea, o boolean, ip inet, mon money, "q""x" text)'
    )
    sql(
        """INSERT INTO shop."Od-d" VALUES (9007199254740993, 1.25, -0.01,
        12345678901234567890123456789012345678.25,
        '{"a": 1}', '00000000-0000-0000-0000-000000000001', '{1,null}', '{1.5}', '2024-01-02',
        '2024-01-02 03:04:05.123456', '2024-01-02 03:04:05+02', '\\xdead', true, '10.0.0.1', 12.30, 'x')"""
    )
    sql('INSERT INTO shop."Od-d" (id) VALUES (1)')
    found = table(context(postgres), table="shop.Od-d")
    assert found.num_rows == 2
    row = found.slice(0, 1).to_pylist()[0]
    assert found.schema.field("m").type == pa.decimal128(12, 2)
    assert (row["id"], row["n"], row["m"]) == (9007199254740993, Decimal("1.25"), Decimal("-0.01"))
    assert row["w"] == "12345678901234567890123456789012345678.25"
    assert (row["a"], row["na"], row["d"]) == ([1, None], ["1.5"], date(2024, 1, 2))
    assert row["ts"] == datetime(2024, 1, 2, 3, 4, 5, 123456)
    assert row["tz"].isoformat() == "2024-01-02T01:04:05+00:00"
    assert (row["b"], row["o"], row["ip"], row["mon"], row['q"x']) == (
        b"\xde\xad",
        True,
        "10.0.0.1",
        Decimal("12.30"),
        "x",
    )
    assert found.slice(1, 1).to_pylist()[0] == {**dict.fromkeys(row), "id": 1}
    with duckdb.connect() as con:
        land(con, "source", Batches(found.to_reader()), scratch=Path("/nonexistent"))
        assert con.execute('SELECT j, u::VARCHAR FROM "source" WHERE id > 1').fetchall() == [
            ('{"a": 1}', "00000000-0000-0000-0000-000000000001")
        ]


@pytest.mark.parametrize(
    ("value", "override", "expected"),
    [
        ("1.12345678901", None, Decimal("1.12345678901")),
        ("'NaN'::numeric", None, "nan"),
        ("1.12345678901", "text", "1.12345678901"),
        ("1.12345678901", "decimal(38,12)", Decimal("1.12345678901")),
        ("1.5", "integer", "column 'v': '1.5'"),
        ("'infinity'::date", None, "holds infinity"),
        ("'infinity'::timestamp", None, "holds infinity"),
        ("'infinity'::date", "text", "infinity"),
    ],
)
def test_a_value_that_arrow_can_not_hold_is_told_and_a_given_type_helps(
    postgres: Connection, context: MakeContext, tmp_path: Path, value: str, override: str | None, expected: Any
) -> None:
    columns = {"v": override} if override else {}
    extracted = source(context(postgres), query=f"select {value} as v", columns=columns).extract(context(postgres))
    with duckdb.connect() as con:
        landed = land(con, "source", extracted, overrides=columns, scratch=tmp_path)
        try:
            found = con.execute('SELECT v FROM "source"').fetchall()
            landed.refuse_broken()
        except Exception as error:  # noqa: BLE001 both the engine's and ours
            told = explain(error) or error
            assert str(expected) in str(told)
        else:
            assert found == [(expected,)]


@pytest.mark.parametrize(
    ("values", "type_", "told"),
    [
        (["1.5", "-0.01", None], pa.decimal128(38, 10), False),
        ([None], pa.decimal128(38, 10), False),
        (["-12345678901234567890123456789.5", "0.12"], pa.decimal128(38, 2), False),
        (["0.12345678901234567890123456789012345678"], pa.decimal128(38, 38), False),
        (["12345678901234567890123456789", "0.1234567890"], pa.string(), True),
        (["nan", "1.5"], pa.string(), True),
        (["-inf", "1.5"], pa.string(), True),
    ],
)
@pytest.mark.parametrize("sample", [None, 100])
def test_a_numeric_without_precision_takes_a_type_that_holds_all_its_values(
    postgres: Connection,
    sql: Callable[[str], None],
    context: MakeContext,
    log: list[tuple[str, dict[str, Any]]],
    values: list[str | None],
    type_: pa.DataType,
    told: bool,
    sample: int | None,
) -> None:
    listed = ", ".join(f"({'NULL' if value is None else repr(value)}::numeric)" for value in values)
    sql(f"CREATE TABLE shop.n AS SELECT * FROM (VALUES {listed}) AS x (v)")
    found = table(context(postgres, sample=sample), table="shop.n")
    assert found.schema.field("v").type == type_
    shown = [None if value is None else str(value) for value in found["v"].to_pylist()]
    assert (
        shown == values
        if told
        else [value and Decimal(value) for value in shown] == [value and Decimal(value) for value in values]
    )
    assert [message for message, _ in log] == (["numeric read as text"] if told else [])


def test_intervals_are_text_and_arrays_are_lists_also_behind_parquet(
    postgres: Connection, context: MakeContext, tmp_path: Path
) -> None:
    query = (
        "select interval '1 year 2 mons -3 days 04:05:06.5' as i, array[interval '1 day'] as list, "
        "array[1, null] as ints, array['a', 'b'] as texts, null::interval as none"
    )
    extracted = source(context(postgres), query=query).extract(context(postgres))
    with duckdb.connect() as con:
        land(con, "source", extracted, scratch=tmp_path)
        con.execute(f"COPY \"source\" TO '{tmp_path}/x.parquet'")
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [
        {"i": "P1Y2M-3DT4H5M6.5S", "list": ["P1D"], "ints": [1, None], "texts": ["a", "b"], "none": None}
    ]


def test_an_error_inside_the_stream_is_one_clean_sentence(
    postgres: Connection, context: MakeContext, tmp_path: Path
) -> None:
    query = (
        "select i, case when i = 3 then 'infinity'::date else date '2024-01-01' end as d from generate_series(1, 4) i"
    )
    for columns in ({}, {"i": "text"}):
        extracted = source(context(postgres), query=query, columns=columns).extract(context(postgres))
        with duckdb.connect() as con:
            landed = land(con, "source", extracted, overrides=columns, scratch=tmp_path)
            with pytest.raises(TerminalError, match=r"\Acolumn 'd' holds infinity or a year outside") as raised:
                with_widening([landed], lambda: con.execute('SELECT * FROM "source"').fetchall())
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("type_", ["postgres", "sql"])
def test_a_query_that_does_not_only_read_is_found_without_a_connection(type_: str) -> None:
    for query, message in (
        ("delete from t", "this is DELETE"),
        ("select 1; select 2", "exactly one statement"),
        ("with x as (delete from t returning *) select * from x", "can only read"),
        ("select ${params.}", "is no placeholder"),
        ("select '${params.x}'", "without quotes"),
        ("select pg_catalog.pg_read_file('/etc/passwd')", "reaches beyond"),
    ):
        config = SOURCES.get(type_).config.model_validate({"type": type_, "connection": "c", "query": query})
        built = SOURCES.build(config)
        assert isinstance(built, Verifiable)
        (problem,) = built.verify()
        assert problem.path == ("query",)
        assert message in problem.message
    for fine in (
        {"query": "select a from t where b > ${params.low} limit ${params.count} -- x"},
        {"query": "select a from t where b > date ${params.day} and c = timestamp ${data_interval_start};"},
        {"table": "t"},
    ):
        built = SOURCES.build(SOURCES.get(type_).config.model_validate({"type": type_, "connection": "c", **fine}))
        assert isinstance(built, Verifiable)
        assert not list(built.verify())


@pytest.mark.parametrize(
    "call",
    [
        "pg_read_file('x')",
        "pg_catalog.pg_read_binary_file('x')",
        "pg_ls_dir('.')",
        "PG_STAT_FILE('x')",
        "\"pg_read_file\"('x')",
        "lo_import('x')",
        "lo_export(1, 'x')",
        "set_config('a.b', 'c', false)",
        "query_to_xml('select 1', true, true, '')",
        "table_to_xml('t', true, true, '')",
        "dblink_connect('host=x')",
    ],
)
def test_functions_that_reach_beyond_tables_are_refused(postgres: Connection, context: MakeContext, call: str) -> None:
    for query in (f"select {call} as v", f"select 1 from t where exists (select {call})", f"select * from {call} as x"):
        with pytest.raises(ConfigError, match="reaches beyond"):
            table(context(postgres), query=query)


def test_a_query_takes_parameters_as_literals(
    postgres: Connection, sql: Callable[[str], None], context: MakeContext
) -> None:
    sql("CREATE TABLE shop.t AS SELECT i AS id, 'r' || (i % 2) AS region FROM generate_series(1, 10) i")
    query = "select id from shop.t where region = ${params.region} and id > ${params.low} -- ${not a placeholder}"
    assert table(context(postgres, region="r1", low=4), query=query)["id"].to_pylist() == [5, 7, 9]
    evil = "' or true; drop table shop.t; --"
    assert table(context(postgres, region=evil, low=4), query=query).num_rows == 0
    assert table(context(postgres, sample=3), table="shop.t").num_rows <= 3
    with pytest.raises(ConfigError, match="without quotes"):
        table(context(postgres, region="r1"), query="select 1 where 'a' = '${params.region}'")
    with pytest.raises(ConfigError, match="has no value"):
        table(context(postgres), query="select ${params.gone}")


@pytest.mark.parametrize(
    "query",
    [
        "select 1; drop table shop.t",
        "delete from shop.t",
        "with gone as (delete from shop.t returning *) select * from gone",
        "select * into shop.u from shop.t",
        "copy shop.t to program 'id'",
        "set role postgres",
        "select id from shop.t for update",
        "select * from (",
    ],
)
def test_a_query_that_does_not_only_read_is_a_finding(postgres: Connection, context: MakeContext, query: str) -> None:
    with pytest.raises(ConfigError):
        table(context(postgres), query=query)


def test_the_server_itself_refuses_writes_hidden_in_functions(
    postgres: Connection, sql: Callable[[str], None], context: MakeContext
) -> None:
    sql("CREATE TABLE shop.t (id int)")
    sql("CREATE FUNCTION shop.evil() RETURNS int AS 'INSERT INTO shop.t VALUES (1) RETURNING id' LANGUAGE sql")
    with pytest.raises(TerminalError, match="read-only transaction"):
        table(context(postgres), query="select shop.evil()")


def test_all_rows_come_from_one_snapshot(
    postgres: Connection, sql: Callable[[str], None], context: MakeContext
) -> None:
    sql("CREATE TABLE shop.t AS SELECT i AS id FROM generate_series(1, 100000) i")
    extracted = source(context(postgres), table="shop.t").extract(context(postgres))
    sql("DELETE FROM shop.t WHERE id > 5")
    assert extracted.reader.read_all().num_rows == 100_000


def test_missing_tables_and_servers_are_told_without_the_password(postgres: Connection, context: MakeContext) -> None:
    with pytest.raises(TerminalError, match="nowhere"):
        table(context(postgres), table="shop.nowhere")
    gone = replace(postgres, host="127.0.0.1", port=1, password="hunter2-secret")
    with pytest.raises(DataForgeError) as raised:
        table(context(gone), table="shop.t")
    assert "hunter2" not in str(raised.value)
    with pytest.raises(TerminalError, match="more than one column"):
        table(context(postgres), query="select 1 as a, 2 as a")


def test_columns_and_reach_are_told_without_reading(
    postgres: Connection, sql: Callable[[str], None], context: MakeContext
) -> None:
    sql("CREATE TABLE shop.t (id bigint, amount numeric(12,2), at timestamptz)")
    reader = source(context(postgres), table="shop.t")
    assert reader.discover(context(postgres)) == {
        "id": "BIGINT",
        "amount": "DECIMAL(12,2)",
        "at": "TIMESTAMP WITH TIME ZONE",
    }
    assert "3 columns" in reader.check(context(postgres))


@pytest.mark.parametrize("config", [{}, {"table": "a", "query": "select 1"}, {"table": "a; drop"}, {"table": "a.b.c"}])
def test_exactly_one_sound_table_or_query_is_needed(config: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SOURCES.get("postgres").config.model_validate({"type": "postgres", "connection": "c", **config})


# ---- sql


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Connection, Path]:
    """A SQLite file as an Airflow connection."""
    path = tmp_path / "shop.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as con:
        con.executescript(
            "create table t (id integer, mixed, amount real, name text, raw blob, none text);"
            "insert into t values (1, 5, 1.5, '007', x'dead', null), (2, null, 2, '2024-01-02', null, null);"
        )
    return Connection("shop_db", "sqlite", str(path)), path


def test_a_table_of_any_hook_is_typed_over_all_rows(sqlite: tuple[Connection, Path], context: MakeContext) -> None:
    connection, path = sqlite
    with closing(sqlite3.connect(path)) as con:
        con.executemany("insert into t (id, mixed, amount) values (?, ?, ?)", [(i, i, i) for i in range(3, 30_000)])
        con.execute("insert into t (id, mixed) values (99999, 0.25)")
        con.commit()
    found = table(context(connection), "sql", table="t", batch_rows=1000)
    assert found.num_rows == 30_000
    assert {field.name: str(field.type) for field in found.schema} == {
        "id": "int64",
        "mixed": "double",
        "amount": "double",
        "name": "string",
        "raw": "binary",
        "none": "string",
    }
    first = found.slice(0, 1).to_pylist()[0]
    assert (first["id"], first["mixed"], first["name"], first["raw"]) == (1, 5.0, "007", b"\xde\xad")
    assert found["mixed"][29_999].as_py() == 0.25


def test_values_that_share_no_type_become_exact_text(sqlite: tuple[Connection, Path], context: MakeContext) -> None:
    query = "select 9007199254740993 as v union all select 0.5 union all select 'x' union all select null"
    found = table(context(sqlite[0]), "sql", query=query, batch_rows=1)
    assert sorted(value or "" for value in found["v"].to_pylist()) == ["", "0.5", "9007199254740993", "x"]


def test_an_sql_query_takes_parameters_samples_and_no_writes(
    sqlite: tuple[Connection, Path], context: MakeContext
) -> None:
    connection, _ = sqlite
    found = table(
        context(connection, name="it's"), "sql", query="select ${params.name} as n, ${params.name} || 'x' as m"
    )
    assert found.to_pylist() == [{"n": "it's", "m": "it'sx"}]
    assert table(context(connection, sample=1), "sql", table="t").num_rows == 1
    for query in ("delete from t", "select 1; select 2", "drop table t", "pragma query_only = off"):
        with pytest.raises(ConfigError):
            table(context(connection), "sql", query=query)


def test_an_empty_result_keeps_its_columns(sqlite: tuple[Connection, Path], context: MakeContext) -> None:
    found = table(context(sqlite[0]), "sql", query="select id, name from t where id < 0")
    assert found.num_rows == 0
    assert found.column_names == ["id", "name"]


def test_sql_errors_name_the_connection(sqlite: tuple[Connection, Path], context: MakeContext) -> None:
    with pytest.raises(TerminalError, match="'shop_db': no such table: nowhere"):
        table(context(sqlite[0]), "sql", table="nowhere")


def test_a_server_side_cursor_reads_postgres_through_its_hook(
    postgres: Connection, sql: Callable[[str], None], context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {"conn_type": "postgres", "host": postgres.host, "login": postgres.login, "schema": postgres.schema}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", json.dumps({**value, "port": postgres.port}))
    sql(
        "CREATE TABLE shop.t AS SELECT i AS id, i * 1.5 AS amount, DATE '2024-01-01' + i AS d "
        "FROM generate_series(1, 5000) i"
    )
    found = table(context(postgres), "sql", table="shop.t", batch_rows=700)
    assert found.num_rows == 5000
    assert [str(field.type) for field in found.schema] == ["int64", "decimal128(18, 1)", "date32[day]"]
    with pytest.raises(DataForgeError, match="read-only"):
        sql("CREATE FUNCTION shop.evil() RETURNS int AS 'INSERT INTO shop.t VALUES (1) RETURNING 1' LANGUAGE sql")
        table(context(postgres), "sql", query="select shop.evil()")
