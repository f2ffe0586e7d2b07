"""The duckdb destination on real files."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.destinations.conftest import Rows, rows

from dataforge.components.base import Connection, ExtractContext, LoadContext, LoadReport
from dataforge.destinations.duckdb_ import DuckdbConfig, DuckdbDestination
from dataforge.errors import ConfigError, TerminalError, TransientError
from dataforge.settings import get_settings

Context = Callable[..., LoadContext]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The deployment's output folder."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    get_settings.cache_clear()
    yield tmp_path / "output"
    get_settings.cache_clear()


def load(context: Context, incoming: Rows, table: str = "t", **config: Any) -> LoadReport:
    return DuckdbDestination(DuckdbConfig(table=table, **{"run_column": None, **config})).load(incoming, context())


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file)) as db:
        return db.execute(sql).fetchall()


def test_every_type_arrives_equal(output: Path, context: Context) -> None:
    columns: dict[str, pa.Array[Any]] = {
        "bool": pa.array([True, None]),
        "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        "i64": pa.array([2**63 - 1, -(2**63)]),
        "f": pa.array([float("inf"), -0.0]),
        "dec": pa.array([Decimal("9" * 38), None], pa.decimal128(38, 0)),
        "text": pa.array(["a\n\"'\0\\;é🦆", ""]),
        "dict": pa.array(["x", None]).dictionary_encode(),
        "bytes": pa.array([b"\0\xff", None]),
        "date": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        "ts": pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]),
        "tz": pa.array([dt.datetime(2024, 3, 31, 1, 30), None], pa.timestamp("us", "Europe/Berlin")),
        "time": pa.array([dt.time(23, 59, 59, 999999), None]),
        "none": pa.nulls(2),
        "list": pa.array([[1, None], None]),
        "struct": pa.array([{"a": [{"b": "x"}]}, None]),
        "nan": pa.array([float("nan"), None]),
    }
    report = load(context, Rows([pa.record_batch(columns)]))
    assert (report.rows, report.created, report.target) == (2, True, "main.t")
    with duckdb.connect(str(output / "warehouse.duckdb")) as db:
        db.execute("set timezone = 'UTC'")
        found = db.sql("select * from t").to_arrow_table()
    assert found.schema.field("u64").type == pa.uint64()
    for name, array in columns.items():
        expected: Any = array.cast(pa.timestamp("us", "UTC")) if name == "tz" else array
        if name == "nan":
            assert str(found.column(name).to_pylist()) == str(expected.to_pylist())
        elif name == "tz":
            assert found.column(name).cast(pa.int64()).to_pylist() == expected.cast(pa.int64()).to_pylist()
        else:
            assert found.column(name).to_pylist() == expected.to_pylist(), name


def test_append_and_replace_keep_the_tables_object_and_views(output: Path, context: Context) -> None:
    load(context, rows(id=[1], v=["a"]), table="sales.orders")
    query(output / "warehouse.duckdb", "create view v as select id from sales.orders")
    load(context, rows(id=pa.array([2], pa.int8())), table="sales.orders")
    assert query(output / "warehouse.duckdb", "from v order by 1") == [(1,), (2,)]
    load(context, rows(id=[3]), table="sales.orders", write_disposition="replace")
    assert query(output / "warehouse.duckdb", "from v") == [(3,)]


def test_replace_of_a_table_with_a_primary_key_may_bring_the_same_keys(output: Path, context: Context) -> None:
    output.mkdir()
    query(output / "warehouse.duckdb", "create table t (id bigint primary key)")
    load(context, rows(id=[1, 2]))
    load(context, rows(id=[2, 1, 3]), write_disposition="replace")
    assert query(output / "warehouse.duckdb", "from t order by 1") == [(1,), (2,), (3,)]


def test_a_broken_source_leaves_the_table_as_before_and_makes_none(output: Path, context: Context) -> None:
    broken = Rows([pa.record_batch({"id": [7] * 3000})] * 8, fail_after=6, failure=TransientError("the API went away"))
    with pytest.raises(TransientError, match="the API went away"):
        load(context, broken, table="s.t")
    assert query(output / "warehouse.duckdb", "select count(*) from duckdb_tables()") == [(0,)]
    load(context, rows(id=[1]))
    with pytest.raises(TransientError, match="the API went away"):
        load(context, broken, write_disposition="replace")
    assert query(output / "warehouse.duckdb", "from t") == [(1,)]


def test_wrong_columns_are_all_told(output: Path, context: Context) -> None:
    output.mkdir()
    query(output / "warehouse.duckdb", "create table t (id bigint, Customer varchar not null, n integer default 7)")
    with pytest.raises(ConfigError) as caught:
        load(context, rows(custmer=["a"], ID=["x"]))
    codes = sorted(problem.code for problem in caught.value.problems)
    assert codes == ["missing-column", "unknown-column"]
    with pytest.raises(ConfigError, match="cast it to BIGINT"):
        load(context, rows(customer=["a"], ID=["x"]))
    with pytest.raises(ConfigError, match="are the same"):
        load(context, rows(id=[1], ID=[1]), table="u")
    load(context, rows(customer=["a"], ID=[5]))
    assert query(output / "warehouse.duckdb", "from t") == [(5, "a", 7)]


@pytest.mark.parametrize(
    ("type_", "array", "expected"),
    [
        ("integer", pa.array([5]), "5"),
        ("decimal(10,2)", pa.array([0.1]), "0.10"),
        ("json", pa.array(['{"a":1}']), '{"a":1}'),
        ("json", pa.array([{"a": 1}]), '{"a":1}'),
        ("uuid", pa.array(["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("enum('sad','ok')", pa.array(["ok"]), "ok"),
        ("bigint[]", pa.array([[1, 2]], pa.list_(pa.int32())), "[1, 2]"),
        ("timestamp", pa.array([dt.date(2024, 1, 1)]), "2024-01-01 00:00:00"),
        ("varchar", pa.array([5]), "5"),
    ],
)
def test_values_are_adapted(output: Path, context: Context, type_: str, array: pa.Array[Any], expected: str) -> None:
    output.mkdir()
    query(output / "warehouse.duckdb", f"create table t (v {type_})")
    load(context, rows(v=array))
    assert query(output / "warehouse.duckdb", "select v::varchar from t") == [(expected,)]


@pytest.mark.parametrize(
    ("type_", "array"),
    [
        ("integer", pa.array([3_000_007_000])),
        ("decimal(10,2)", pa.array([Decimal("3000007.555")])),
        ("uuid", pa.array(["3000007"])),
        ("json", pa.array(["3000007'\"x"])),
        ("enum('sad','ok')", pa.array(["3000007"])),
        ("integer check (v < 5)", pa.array([3_000_007])),
        ("bigint primary key", pa.array([3_000_007, 3_000_007])),
        ("tinyint[]", pa.array([[3_000_007]])),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_not_quoted(
    output: Path, context: Context, type_: str, array: pa.Array[Any]
) -> None:
    output.mkdir()
    query(output / "warehouse.duckdb", f"create table t (v {type_})")
    with pytest.raises(TerminalError) as caught:
        load(context, rows(v=array))
    assert "3000007" not in str(caught.value)
    assert query(output / "warehouse.duckdb", "select count(*) from t") == [(0,)]


HOLD = """
import duckdb, sys, time
db = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def hold(file: Path, seconds: float) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(file), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_file_held_by_another_process_ends_in_an_error_that_names_it(output: Path, context: Context) -> None:
    load(context, rows(id=[1]))
    with hold(output / "warehouse.duckdb", 30) as holder:
        try:
            began = time.monotonic()
            with pytest.raises(TransientError, match=f"held open by process {holder.pid}"):
                load(context, rows(id=[2]), lock_timeout="500ms")
            assert time.monotonic() - began < 10
        finally:
            holder.kill()
    assert query(output / "warehouse.duckdb", "from t") == [(1,)]


def test_a_load_waits_for_a_file_that_is_let_go(output: Path, context: Context) -> None:
    load(context, rows(id=[1]))
    with hold(output / "warehouse.duckdb", 1):
        load(context, rows(id=[2]), lock_timeout="20s")
    assert query(output / "warehouse.duckdb", "from t order by 1") == [(1,), (2,)]


def test_two_loads_in_one_process_both_arrive(output: Path, context: Context) -> None:
    destination = DuckdbDestination(DuckdbConfig(table="t", run_column=None))
    destination.load(rows(id=[0]), context())
    threads = [threading.Thread(target=destination.load, args=(rows(id=[n]), context())) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query(output / "warehouse.duckdb", "from t order by 1") == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize("path", ["../x.duckdb", "/etc/x.duckdb", "s3://b/x", "a/../../x.duckdb", "link/x.duckdb"])
def test_a_database_outside_the_output_folder_is_refused(output: Path, context: Context, path: str) -> None:
    output.mkdir()
    (output / "link").symlink_to(output.parent)
    with pytest.raises((TerminalError, ValueError)):
        load(context, rows(id=[1]), database=path)
    assert not list(output.parent.glob("*.duckdb"))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("../x.duckdb", "leads out of the output folder"),
        ("/etc/x.duckdb", "is absolute"),
        ("s3://b/x", "is no path"),
        ("x.duckdb.wal", "another kind"),
        ("orders.CSV", "another kind"),
        (".orders.csv.17.tmp", "another kind"),
        ("folder/", "is a folder"),
    ],
)
def test_a_wrong_database_is_found_before_the_run_and_told_the_same_in_it(
    output: Path, context: Context, path: str, says: str
) -> None:
    with pytest.raises(ValidationError, match=says) as early:
        DuckdbConfig(table="t", database=path)
    resolved = DuckdbConfig(table="t", database="${params.file}").model_copy(update={"database": path})
    with pytest.raises(TerminalError, match=says) as late:
        DuckdbDestination(resolved).load(rows(id=[1]), context())
    assert str(late.value) in str(early.value)
    assert not output.exists()


def test_a_connection_names_the_file(output: Path, context: Context, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.duckdb"
    destination = DuckdbDestination(DuckdbConfig(table="t", connection="lake", run_column=None))
    destination.load(rows(id=[1]), context(Connection("lake", "duckdb", str(file))))
    assert query(file, "from t") == [(1,)]
    for host in (":memory:", "md:x", "relative.duckdb"):
        with pytest.raises(TerminalError, match="absolute path"):
            destination.load(rows(id=[1]), context(Connection("lake", "duckdb", host)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12),
        min_size=1,
        max_size=6,
        unique_by=str.lower,
    )
)
def test_any_name_comes_back_as_it_went_in(output: Path, context: Context, names: list[str]) -> None:
    file = f"n{abs(hash(tuple(names)))}.duckdb"
    for _ in range(2):
        load(context, Rows([pa.record_batch({name: [1] for name in names})]), database=file)
    found = query(
        output / file, "select column_name from duckdb_columns() where table_name = 't' order by column_index"
    )
    assert [name for (name,) in found] == names


def test_views_are_not_written_and_check_makes_nothing(output: Path, context: Context, tmp_path: Path) -> None:
    asked = ExtractContext(lambda _: Connection("x"), tmp_path)
    assert "will be made" in DuckdbDestination(DuckdbConfig(table="t")).check(asked)
    assert not output.exists()
    output.mkdir()
    query(output / "warehouse.duckdb", "create view t as select 1 as id")
    with pytest.raises(TerminalError, match="is a view"):
        load(context, rows(id=[1]))


def test_assets_tell_databases_apart() -> None:
    assert DuckdbConfig(table="s.t").asset() == "dataforge://duckdb/s.t"
    assert DuckdbConfig(table="t", database="a/b.duckdb").asset() == "dataforge://duckdb/a/b.duckdb/t"
    assert DuckdbConfig(table="t", database="${params.x}.duckdb").asset() is None
    assert DuckdbConfig(table="t", connection="lake").asset() == "dataforge://lake/t"
