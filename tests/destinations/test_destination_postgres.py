"""The postgres destination against a real server."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.destinations.conftest import Database, Rows, rows

from dataforge.components.base import Connection, ExtractContext, LoadContext, LoadReport
from dataforge.components.database import postgres_uri
from dataforge.destinations.postgres import PostgresConfig, PostgresDestination
from dataforge.errors import ConfigError, TerminalError, TransientError

Context = Callable[..., LoadContext]


def load(database: Database, context: Context, incoming: Rows, table: str = "t", **config: Any) -> LoadReport:
    settings_ = PostgresConfig(connection="warehouse", table=table, **{"run_column": None, **config})
    return PostgresDestination(settings_).load(incoming, context(database.connection))


def types_of(database: Database, table: str) -> dict[str, str]:
    found = database.sql(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
        f"where attrelid = '{table}'::regclass and attnum > 0 order by attnum"
    )
    return dict(found)


TORTURE: dict[str, tuple[pa.Array[Any], str, list[Any]]] = {
    "bool": (pa.array([True, False, None]), "boolean", [True, False, None]),
    "i8": (pa.array([-128, 127, None], pa.int8()), "smallint", [-128, 127, None]),
    "i32": (pa.array([2**31 - 1, -(2**31), None], pa.int32()), "integer", [2**31 - 1, -(2**31), None]),
    "i64": (pa.array([2**63 - 1, -(2**63), 2**31]), "bigint", [2**63 - 1, -(2**63), 2**31]),
    "u32": (pa.array([2**32 - 1, 0, None], pa.uint32()), "bigint", [2**32 - 1, 0, None]),
    "u64": (pa.array([2**64 - 1, 0, None], pa.uint64()), "numeric(20,0)", [str(2**64 - 1), "0", None]),
    "f64": (pa.array([float("inf"), float("-inf"), 5e-324]), "double precision", [float("inf"), float("-inf"), 5e-324]),
    "f32": (pa.array([1.5, None, 0], pa.float32()), "real", [1.5, None, 0]),
    "dec": (
        pa.array([Decimal("9" * 38), Decimal("-" + "9" * 38), None], pa.decimal128(38, 0)),
        "numeric(38,0)",
        ["9" * 38, "-" + "9" * 38, None],
    ),
    "dec2": (
        pa.array([Decimal("0.10"), Decimal("-1.05"), None], pa.decimal128(12, 2)),
        "numeric(12,2)",
        ["0.10", "-1.05", None],
    ),
    "text": (pa.array(["", "a\n\"'\\\t,;é", "🦆\u202e"]), "text", ["", "a\n\"'\\\t,;é", "🦆\u202e"]),
    "large": (pa.array(["x", None, "y"], pa.large_string()), "text", ["x", None, "y"]),
    "dict": (pa.array(["x", None, "y"]).dictionary_encode(), "text", ["x", None, "y"]),
    "bytes": (pa.array([b"\0\xff", b"", None]), "bytea", [b"\0\xff", b"", None]),
    "date": (
        pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
        "date",
        [dt.date(1, 1, 1), dt.date(9999, 12, 31), None],
    ),
    "ts": (
        pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
        "timestamp without time zone",
        [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None],
    ),
    "tz": (
        pa.array([dt.datetime(2024, 3, 31, 1, 30), None, dt.datetime(1, 1, 1)], pa.timestamp("us", "Europe/Berlin")),
        "timestamp with time zone",
        [dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.timezone.utc), None, dt.datetime(1, 1, 1, tzinfo=dt.timezone.utc)],
    ),
    "time": (
        pa.array([dt.time(23, 59, 59, 999999), None, dt.time(0)]),
        "time without time zone",
        [dt.time(23, 59, 59, 999999), None, dt.time(0)],
    ),
    "null": (pa.nulls(3), "text", [None, None, None]),
    "list": (pa.array([[1, 2], [], None], pa.list_(pa.int64())), "bigint[]", ["{1,2}", "{}", None]),
    "texts": (pa.array([["", 'a"b,{}', "NULL"], [], None]), "text[]", ['{"","a\\"b,{}","NULL"}', "{}", None]),
    "doubles": (
        pa.array([[0.1, float("nan")], [], None], pa.large_list(pa.float64())),
        "double precision[]",
        ["{0.1,NaN}", "{}", None],
    ),
    "decimals": (
        pa.array([[Decimal("0.10")], [], None], pa.list_(pa.decimal128(12, 2))),
        "numeric(12,2)[]",
        ["{0.10}", "{}", None],
    ),
    "instants": (
        pa.array([[dt.datetime(2024, 1, 1, 5)], [], None], pa.list_(pa.timestamp("ms", "Europe/Berlin"))),
        "timestamp with time zone[]",
        ['{"2024-01-01 05:00:00+00"}', "{}", None],
    ),
    "lists": (pa.array([[[1], None], [], None]), "jsonb", ["[[1], null]", "[]", None]),
    "structs": (pa.array([[{"a": 1}], [], None]), "jsonb", ['[{"a": 1}]', "[]", None]),
    "interval": (
        pa.array([(14, 3, 4_500_000_000), (0, -5, 0), None], pa.month_day_nano_interval()),
        "interval",
        ["1 year 2 mons 3 days 00:00:04.5", "-5 days", None],
    ),
    "struct": (pa.array([{"a": '"é'}, {"a": None}, None]), "jsonb", ['{"a": "\\"é"}', '{"a": null}', None]),
}


def test_every_type_arrives_equal_in_a_table_made_for_it(database: Database, context: Context) -> None:
    report = load(database, context, Rows([pa.record_batch({name: array for name, (array, _, _) in TORTURE.items()})]))
    assert (report.rows, report.created, report.target) == (3, True, "public.t")
    assert types_of(database, "t") == {name: type_ for name, (_, type_, _) in TORTURE.items()}
    names = ", ".join(
        f'"{name}"::text' if "numeric" in type_ or type_.endswith(("[]", "jsonb", "interval")) else f'"{name}"'
        for name, (_, type_, _) in TORTURE.items()
    )
    found = database.sql(f"select {names} from t")
    for index, (name, (_, _, expected)) in enumerate(TORTURE.items()):
        assert [row[index] for row in found] == expected, name


def test_nan_and_negative_zero_keep_their_bits(database: Database, context: Context) -> None:
    load(database, context, rows(x=[float("nan"), -0.0]))
    assert database.sql("select x::text from t") == [("NaN",), ("-0",)]


@pytest.mark.parametrize("type_", ["us", "ns"])
def test_an_infinite_instant_is_refused_by_column(database: Database, context: Context, type_: Any) -> None:
    with pytest.raises(TerminalError, match="'at'"):
        load(database, context, rows(at=pa.array([2**63 - 1], pa.timestamp(type_))))
    assert database.sql("select to_regclass('t')::text") == [(None,)]


def test_nul_in_text_is_refused_and_names_the_column(database: Database, context: Context) -> None:
    with pytest.raises(TerminalError, match=r"column 'note' holds a character .* NUL"):
        load(database, context, rows(id=[1, 2], note=["fine", "secret\0value"]))
    assert database.sql("select to_regclass('t')::text") == [(None,)]


def test_append_adds_and_replace_leaves_only_the_new_rows(database: Database, context: Context) -> None:
    load(database, context, rows(id=[1, 2]))
    assert load(database, context, rows(id=[3])).created is False
    assert database.sql("select id from t order by id") == [(1,), (2,), (3,)]
    for method in ("delete", "truncate"):
        how: dict[str, Any] = {"write_disposition": "replace", "replace_method": method, "allow_shrink": True}
        load(database, context, rows(id=[9]), **how)
        assert database.sql("select id from t") == [(9,)]


def test_zero_rows_make_the_table_and_replace_empties_it(database: Database, context: Context) -> None:
    empty = Rows([pa.record_batch({"id": pa.array([], pa.int64())})])
    assert load(database, context, empty).rows == 0
    load(database, context, rows(id=[1]))
    with pytest.raises(TerminalError, match="would leave no rows, where there are 1"):
        load(database, context, empty, write_disposition="replace")
    assert database.sql("select count(*) from t") == [(1,)]
    load(database, context, empty, write_disposition="replace", allow_empty=True)
    assert database.sql("select count(*) from t") == [(0,)]


@pytest.mark.parametrize("method", ["delete", "truncate"])
def test_view_grant_and_foreign_key_survive_replace(database: Database, context: Context, method: str) -> None:
    for statement in (
        "create table customers (id bigint primary key)",
        "insert into customers values (1)",
        "create table t (id bigint primary key, customer bigint references customers)",
        "create view v as select id from t",
        "create role " + (role := f"reader_{database.connection.schema}"),
        f"grant select on t to {role}",
    ):
        database.sql(statement)
    before = database.sql("select oid::bigint, relacl::text from pg_class where relname = 't'")
    load(database, context, rows(id=[1, 2]), write_disposition="replace", replace_method=method)
    load(database, context, rows(id=[3], customer=[1]), write_disposition="replace", replace_method=method)
    assert database.sql("select id from v") == [(3,)]
    assert database.sql("select oid::bigint, relacl::text from pg_class where relname = 't'") == before
    assert database.sql("select conname::text from pg_constraint where contype = 'f'") == [("t_customer_fkey",)]
    database.sql(f"drop owned by {role}")
    database.sql(f"drop role {role}")


def test_replace_of_a_referred_table_works_when_the_key_is_deferrable(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint primary key)")
    database.sql("create table child (id bigint references t deferrable)")
    load(database, context, rows(id=[1]))
    database.sql("insert into child values (1)")
    load(database, context, rows(id=[1, 2]), write_disposition="replace")
    assert database.sql("select id from t order by 1") == [(1,), (2,)]
    with pytest.raises(TerminalError, match=r"public\.child .* 'child_id_fkey' to rows that the new ones don't have"):
        load(database, context, rows(id=[2]), write_disposition="replace")
    with pytest.raises(TerminalError, match="can't be truncated"):
        load(database, context, rows(id=[2]), write_disposition="replace", replace_method="truncate")
    assert database.sql("select id from t order by 1") == [(1,), (2,)]


@pytest.mark.parametrize("key", ["references t", "references t on delete restrict deferrable"])
def test_replace_under_a_key_that_does_not_wait_is_refused(database: Database, context: Context, key: str) -> None:
    database.sql("create schema hr")
    database.sql("create table t (id bigint primary key)")
    database.sql(f"create table hr.child (parent bigint constraint child_parent {key})")
    load(database, context, rows(id=[1]))
    load(database, context, rows(id=[1]), write_disposition="replace")  # nobody refers to a row yet
    database.sql("insert into hr.child values (null)")
    load(database, context, rows(id=[1]), write_disposition="replace")
    database.sql("insert into hr.child values (1)")
    with pytest.raises(TerminalError) as caught:
        load(database, context, rows(id=[1]), write_disposition="replace")
    for words in ("public.t", "hr.child", "'child_parent'", "nothing was changed", "DEFERRABLE", "'append'"):
        assert words in str(caught.value)
    assert database.sql("select id from t") == [(1,)]
    assert load(database, context, rows(id=[2])).rows == 1


def test_a_key_of_a_table_that_may_not_be_read_is_named_by_the_server(database: Database, context: Context) -> None:
    database.sql("create schema hr")
    database.sql("create table t (id bigint primary key)")
    database.sql("insert into t values (1)")
    database.sql("create table hr.child (parent bigint constraint child_parent references t)")
    database.sql("insert into hr.child values (1)")
    connection = role(database, "grant insert, select, delete, update on t to", "grant create on schema public to")
    with pytest.raises(TerminalError, match=r"rows of hr\.child refer to it by .* 'child_parent'.*nothing was changed"):
        PostgresDestination(
            PostgresConfig(connection=connection.id, table="public.t", write_disposition="replace")
        ).load(rows(id=[1]), context(connection))
    assert database.sql("select id from t") == [(1,)]


def test_replace_refuses_to_delete_rows_of_other_tables(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint primary key)")
    database.sql("create table child (id bigint references t on delete cascade)")
    load(database, context, rows(id=[1]))
    database.sql("insert into child values (1)")
    with pytest.raises(TerminalError, match="cascades on delete"):
        load(database, context, rows(id=[1]), write_disposition="replace")
    assert database.sql("select id from child") == [(1,)]


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_a_source_that_breaks_midway_leaves_the_table_as_before(
    database: Database, context: Context, disposition: Any
) -> None:
    batches = [pa.record_batch({"id": list(range(1000))})] * 8
    broken = Rows(batches, fail_after=6, failure=TransientError("the API went away"))
    with pytest.raises(TransientError, match="the API went away"):
        load(database, context, broken, table="s.t", write_disposition=disposition)
    # the schema with the ledger's tables stays: others that begin at the same time don't wait for this load's rows
    assert database.sql("select to_regclass('s.t')::text") == [(None,)]
    load(database, context, rows(id=[1]))
    with pytest.raises(TransientError, match="the API went away"):
        load(database, context, broken, write_disposition=disposition)
    assert database.sql("select id from t") == [(1,)]
    assert not [thread for thread in threading.enumerate() if thread.name == "dataforge-prefetch"]


def test_schema_is_made_unless_that_is_forbidden(database: Database, context: Context) -> None:
    with pytest.raises(TerminalError, match="schema 'sales' does not exist"):
        load(database, context, rows(id=[1]), table="sales.orders", create_schema=False)
    assert load(database, context, rows(id=[1]), table="sales.orders").target == "sales.orders"
    assert database.sql("select id from sales.orders") == [(1,)]


def test_columns_are_matched_by_name_and_missing_ones_take_their_default(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint, at timestamptz not null default '2020-01-01', note text, n int)")
    load(database, context, rows(n=pa.array([7], pa.int32()), id=[1]))
    assert database.sql("select id, extract(year from at)::int, note, n from t") == [(1, 2020, None, 7)]


def test_wrong_columns_are_all_told_before_anything_is_written(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint, customer text not null, total bigint generated always as (id * 2) stored)")
    with pytest.raises(ConfigError) as caught:
        load(database, context, rows(id=["x"], custmer=["a"], total=[1], zzz=[1]))
    by_code: dict[str, list[str]] = {}
    for problem in caught.value.problems:
        by_code.setdefault(problem.code, []).append(f"{problem.message} {problem.suggestion}")
    assert len(by_code["unknown-column"]) == 2
    assert "did you mean 'customer'" in by_code["unknown-column"][0]
    assert "'customer'" in by_code["missing-column"][0]
    assert "'total'" in by_code["generated-column"][0]


def test_a_text_for_a_number_column_is_refused_with_the_cast_to_write(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint)")
    with pytest.raises(ConfigError, match=r"cast it to bigint"):
        load(database, context, rows(id=["5"]))


@pytest.mark.parametrize(
    ("type_", "array", "expected"),
    [
        ("integer", pa.array([2**31 - 1, None]), ["2147483647", None]),
        ("smallint", pa.array([1.0, None]), ["1", None]),
        ("numeric(10,2)", pa.array([Decimal("1.5000"), None], pa.decimal128(12, 4)), ["1.50", None]),
        ("numeric(10,2)", pa.array([5, None]), ["5.00", None]),
        ("numeric(10,2)", pa.array([0.1, None]), ["0.10", None]),
        ("numeric", pa.array([0.1, 1e20]), ["0.1", "100000000000000000000"]),
        ("numeric", pa.array([2**63 - 1]), [str(2**63 - 1)]),
        ("numeric", pa.array(["9" * 60, "-0.10", None]), ["9" * 60, "-0.10", None]),
        ("numeric(50,2)", pa.array(["9" * 48 + ".25", "-0.1", "3.500"]), ["9" * 48 + ".25", "-0.10", "3.50"]),
        ("numeric(40,40)", pa.array(["0." + "9" * 40]), ["0." + "9" * 40]),
        ("numeric(60,0)", pa.array([Decimal("9" * 60)], pa.decimal256(60, 0)), ["9" * 60]),
        ("double precision", pa.array([2**53, None]), ["9.007199254740992e+15", None]),
        ("real", pa.array([1.5, float("nan")]), ["1.5", "NaN"]),
        ("varchar(3)", pa.array(["abc", None]), ["abc", None]),
        ("char(3)", pa.array(["ab"]), ["ab"]),
        ("text", pa.array([1, None]), ["1", None]),
        ("timestamptz", pa.array([dt.datetime(2024, 1, 1)]), ["2024-01-01 00:00:00+00"]),
        ("timestamp", pa.array([dt.date(2024, 1, 1)]), ["2024-01-01 00:00:00"]),
        ("date", pa.array([dt.datetime(2024, 1, 1)]), ["2024-01-01"]),
        ("timestamp", pa.array([1000], pa.timestamp("ns")), ["1970-01-01 00:00:00.000001"]),
        ("interval", pa.array([dt.timedelta(seconds=61)]), ["00:01:01"]),
        (
            "uuid",
            pa.array(["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None]),
            ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None],
        ),
        ("inet", pa.array(["10.0.0.1/8"]), ["10.0.0.1/8"]),
        ("jsonb", pa.array(['{"b":1,"a":[]}', None]), ['{"a": [], "b": 1}', None]),
        ("json", pa.array(['{"b":1}']), ['{"b":1}']),
        ("jsonb", pa.array([{"a": 1}]), ['{"a": 1}']),
        ("text[]", pa.array([["a", ""], [], None]), ['{a,""}', "{}", None]),
        ("integer[]", pa.array([[1, 2**31 - 1]]), ["{1,2147483647}"]),
        ("text[]", pa.array(["{a,b}"]), ["{a,b}"]),
        ("mood", pa.array(["sad", None]), ["sad", None]),
        ("posint", pa.array([5]), ["5"]),
        ("hours", pa.array(["[2,5)"]), ["[2,5)"]),
        ("money", pa.array(["12.50"]), ["$12.50"]),
    ],
)
def test_values_are_adapted_to_the_tables_types(
    database: Database, context: Context, type_: str, array: pa.Array[Any], expected: list[str | None]
) -> None:
    database.sql("create type mood as enum ('sad', 'ok')")
    database.sql("create domain posint as integer check (value > 0)")
    database.sql("create domain hours as int4range")
    database.sql(f'create table t (id bigint generated always as identity, "V" {type_})')
    report = load(database, context, rows(V=array))
    assert report.rows == len(array)
    assert database.sql('select "V"::text from t order by id') == [(value,) for value in expected]


@pytest.mark.parametrize(
    ("type_", "array"),
    [
        ("integer", pa.array([1, 3_000_000_007])),
        ("numeric(10,2)", pa.array([Decimal("1.555")])),
        ("numeric(4,2)", pa.array([3_000_000_007])),
        ("numeric(10,2)", pa.array([0.125])),
        ("numeric", pa.array(["1", "secret"])),
        ("numeric", pa.array(["007"])),
        ("numeric", pa.array(["1", "NaN"])),
        ("numeric(40,2)", pa.array(["1.255"])),
        ("numeric(40,2)", pa.array(["9" * 39])),
        ("numeric(40,40)", pa.array(["1"])),
        ("double precision", pa.array([2**53 + 1])),
        ("real", pa.array([1.1])),
        ("varchar(3)", pa.array(["secret"])),
        ("date", pa.array([dt.datetime(2024, 1, 1, 5)])),
        ("timestamp", pa.array([1], pa.timestamp("ns"))),
        ("uuid", pa.array(["secret"])),
        ("jsonb", pa.array(["secret"])),
        ("mood", pa.array(["secret"])),
        ("posint", pa.array([-3_000_007])),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_column_and_not_quoted(
    database: Database, context: Context, type_: str, array: pa.Array[Any]
) -> None:
    database.sql("create type mood as enum ('sad', 'ok')")
    database.sql("create domain posint as integer check (value > 0)")
    database.sql(f"create table t (v {type_})")
    with pytest.raises(TerminalError) as caught:
        load(database, context, rows(v=array))
    assert "secret" not in str(caught.value)
    assert "3000000007" not in str(caught.value)
    assert "'v'" in str(caught.value) or "posint" in str(caught.value)
    assert database.sql("select count(*) from t") == [(0,)]


def test_a_list_with_nulls_gets_an_array_or_is_refused(database: Database, context: Context) -> None:
    incoming = rows(v=[[1, None], None])
    if version("adbc-driver-postgresql") < "1.13":  # such a driver would write a zero
        with pytest.raises(TerminalError, match="'v'"):
            load(database, context, incoming)
        assert database.sql("select to_regclass('t')::text") == [(None,)]
    else:
        load(database, context, incoming)
        assert database.sql("select v::text from t") == [("{1,NULL}",), (None,)]


def test_an_infinite_instant_in_a_list_is_refused(database: Database, context: Context) -> None:
    with pytest.raises(TerminalError, match="'at'"):
        load(database, context, rows(at=pa.array([[2**63 - 1]], pa.list_(pa.timestamp("us")))))


def test_a_null_element_arrives_as_null_or_is_refused(database: Database, context: Context) -> None:
    database.sql("create table t (v text[])")
    if version("adbc-driver-postgresql") < "1.13":  # such a driver would write an empty text
        with pytest.raises(TerminalError, match="'v'"):
            load(database, context, rows(v=[["a", None], None]))
        assert database.sql("select count(*) from t") == [(0,)]
    else:
        load(database, context, rows(v=[["a", None], None]))
        assert database.sql("select v::text from t") == [("{a,NULL}",), (None,)]


def test_an_instant_never_loses_its_zone(database: Database, context: Context) -> None:
    database.sql("create table t (at timestamp)")
    with pytest.raises(ConfigError, match="'at'"):
        load(database, context, rows(at=pa.array([0], pa.timestamp("us", "UTC"))))


@pytest.mark.parametrize(
    ("table", "column", "constraint"),
    [
        ("create table t (id bigint primary key, secret text)", "'id'", "t_pkey"),
        ("create table t (id bigint, secret text, constraint short check (length(secret) < 5))", "'secret'", "short"),
        ("create table t (id bigint, secret text not null)", "'secret'|\"secret\"", "not-null"),
        ("create table t (id bigint, secret text); create unique index one on t (id)", "'id'", "one"),
    ],
)
def test_a_broken_constraint_is_named_without_the_rows_values(
    database: Database, context: Context, table: str, column: str, constraint: str
) -> None:
    for statement in table.split("; "):
        database.sql(statement)
    with pytest.raises(TerminalError, match=constraint) as caught:
        load(database, context, rows(id=[3_000_007, 3_000_007, 1], secret=["hush", "hush-hush", None]))
    assert "3000007" not in str(caught.value)
    assert "hush" not in str(caught.value)
    assert any(part in str(caught.value) for part in column.split("|"))
    assert database.sql("select count(*) from t") == [(0,)]


def role(database: Database, *grants: str) -> Connection:
    name = f"writer_{database.connection.schema}"
    database.sql(f"create role {name} login")
    for grant in grants:
        database.sql(f"{grant} {name}")
    return Connection("warehouse", "postgres", database.connection.host, login=name, schema=database.connection.schema)


@pytest.mark.parametrize(
    ("grants", "config", "right"),
    [
        ((), {"table": "t"}, "INSERT on table public.t"),
        (("grant insert on t to",), {"table": "t", "write_disposition": "replace"}, "DELETE on table"),
        (
            ("grant insert, delete on t to",),
            {"table": "t", "write_disposition": "replace", "replace_method": "truncate"},
            "TRUNCATE on table",
        ),
        ((), {"table": "u"}, "CREATE on schema public"),
        ((), {"table": "s.u"}, "CREATE on the database"),
        ((), {"table": "hidden.u"}, "USAGE on schema hidden"),
    ],
)
def test_a_missing_right_is_named_before_anything_is_written(
    database: Database, context: Context, grants: tuple[str, ...], config: Any, right: str
) -> None:
    database.sql("create table t (id bigint)")
    database.sql("create schema hidden")
    database.sql("insert into t values (1)")
    writer = role(database, *grants)
    with pytest.raises(TerminalError, match=f"lacks {right}"):
        PostgresDestination(PostgresConfig(connection="warehouse", **config)).load(rows(id=[2]), context(writer))
    assert database.sql("select id from t") == [(1,)]


def test_insert_on_the_columns_alone_is_enough(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint, other bigint)")
    writer = role(database, "grant insert (id) on t to")
    config = PostgresConfig(connection="warehouse", table="t")
    with pytest.raises(TerminalError, match=r"lacks CREATE on schema public, for the tables of cursors"):
        PostgresDestination(config).load(rows(id=[2]), context(writer))
    database.sql("create schema ledgers")
    database.sql(f"grant all on schema ledgers to {writer.login}")
    own = config.model_copy(update={"ledger_schema": "ledgers"})
    PostgresDestination(own).load(rows(id=[2]), context(writer))
    assert database.sql("select id from t") == [(2,)]


def test_readers_see_the_old_rows_until_the_new_ones_are_all_there(database: Database, context: Context) -> None:
    load(database, context, rows(id=[1]))
    seen: list[list[tuple[Any, ...]]] = []

    class Slow(Rows):
        def _read(self) -> Any:
            yield self.batches[0]
            time.sleep(0.4)
            seen.append(database.sql("select id from t"))
            yield self.batches[0]

    load(database, context, Slow([pa.record_batch({"id": [2]})]), write_disposition="replace")
    assert seen == [[(1,)]]
    assert database.sql("select id from t") == [(2,), (2,)]


def test_two_replaces_at_once_leave_the_rows_of_one(database: Database, context: Context) -> None:
    load(database, context, rows(id=[0]))
    barrier = threading.Barrier(2)

    class Together(Rows):
        def _read(self) -> Any:
            barrier.wait(10)
            for batch in self.batches:
                time.sleep(0.05)
                yield batch

    def one(value: int) -> None:
        load(database, context, Together([pa.record_batch({"id": [value]})] * 5), write_disposition="replace")

    threads = [threading.Thread(target=one, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(database.sql("select id from t")) in ([(1,)] * 5, [(2,)] * 5)


def test_a_lock_held_by_others_ends_in_a_transient_error(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint)")
    with closing(dbapi.connect(postgres_uri(database.connection))) as db, db.cursor() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        began = time.monotonic()
        with pytest.raises(TransientError, match="lock timeout"):
            load(database, context, rows(id=[1]), lock_timeout="300ms")
        assert time.monotonic() - began < 3
        cursor.close()
    assert database.sql("select count(*) from t") == [(0,)]


def test_a_terminated_backend_is_transient_and_leaves_nothing(database: Database, context: Context) -> None:
    database.sql("create table t (id bigint)")

    class Cut(Rows):
        def _read(self) -> Any:
            for index, batch in enumerate(self.batches):
                if index == 6:
                    time.sleep(0.3)
                    database.sql(
                        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dataforge' "
                        "and pid <> pg_backend_pid() and datname = current_database()"
                    )
                    time.sleep(0.3)
                yield batch

    with pytest.raises(TransientError):
        load(database, context, Cut([pa.record_batch({"id": list(range(50_000))})] * 30))
    assert database.sql("select count(*) from t") == [(0,)]


def test_a_server_away_is_transient_and_a_wrong_database_terminal(database: Database, context: Context) -> None:
    away = Connection("warehouse", "postgres", "127.0.0.1", 1, "postgres", "hunter2-secret", "db")
    destination = PostgresDestination(PostgresConfig(connection="warehouse", table="t"))
    with pytest.raises(TransientError, match="warehouse") as caught:
        destination.load(rows(id=[1]), context(away))
    assert "hunter2" not in str(caught.value)
    wrong = Connection("warehouse", "postgres", database.connection.host, login="postgres", schema="nowhere")
    with pytest.raises(TerminalError, match="nowhere"):
        destination.load(rows(id=[1]), context(wrong))
    with pytest.raises(TerminalError, match="'mysql'"):
        destination.load(rows(id=[1]), context(Connection("warehouse", "mysql", "h")))


def test_views_are_not_written(database: Database, context: Context) -> None:
    database.sql("create view t as select 1 as id")
    with pytest.raises(TerminalError, match="is a view"):
        load(database, context, rows(id=[1]))


def test_reserved_and_quoted_names_are_just_names(database: Database, context: Context) -> None:
    names = ["select", "Group", 'quo"te', "a.b", "x; drop table t --", " ", "é", "%s", "$1"]
    for _ in range(2):
        load(database, context, Rows([pa.record_batch({name: [1] for name in names})]), table="Order.user")
    assert list(types_of(database, '"Order"."user"')) == names
    assert database.sql('select count(*) from "Order"."user"') == [(2,)]


def test_names_that_the_server_would_cut_are_refused(database: Database, context: Context) -> None:
    with pytest.raises(ConfigError, match="at most 63"):
        load(database, context, Rows([pa.record_batch({"é" * 32: [1]})]))
    with pytest.raises(ConfigError, match="are the same"):
        batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
        load(database, context, Rows([batch]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_any_name_comes_back_as_it_went_in(database: Database, context: Context, names: list[str]) -> None:
    database.sql("drop table if exists named")
    for _ in range(2):
        load(database, context, Rows([pa.record_batch({name: [1] for name in names})]), table="named")
    found = database.sql(
        "select json_agg(attname order by attnum)::text from pg_attribute "
        "where attrelid = 'named'::regclass and attnum > 0"
    )
    assert json.loads(found[0][0]) == names


def test_check_says_what_it_reached(database: Database, context: Context, tmp_path: Any) -> None:
    asked = ExtractContext(lambda _: database.connection, tmp_path)
    destination = PostgresDestination(PostgresConfig(connection="warehouse", table="t"))
    assert "table public.t (to be created)" in destination.check(asked)
    database.sql("create table t (id bigint)")
    assert "(1 columns)" in destination.check(asked)


def test_asset_names_connection_and_table() -> None:
    assert PostgresConfig(connection="warehouse", table="sales.orders").asset() == "dataforge://warehouse/sales.orders"
