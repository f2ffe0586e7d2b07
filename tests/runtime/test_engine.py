"""The engine: locked down, streaming in bounded memory, errors that name the place, Python transforms in the chain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.transforms.conftest import pipeline

from dataforge.components.base import TransformConfig
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import TerminalError
from dataforge.runtime.compile import compile
from dataforge.runtime.engines.duckdb_ import columns, connect, engine_error, run, view_parquet, write_parquet


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with connect(scratch) as connection:
        yield connection


class DoubledConfig(TransformConfig):
    """Config of `doubled`."""

    type: Literal["doubled"] = "doubled"
    column: str
    lie: bool = False
    fail_at: int | None = None


@pytest.fixture
def doubled() -> Iterator[None]:
    """A registered Python transform, as a package would bring it: doubles a column, batch by batch."""

    @TRANSFORMS.register(DoubledConfig)
    class Doubled:
        """Doubles a column."""

        def __init__(self, config: DoubledConfig) -> None:
            self._config = config

        def schema(self, schema: pa.Schema) -> pa.Schema:
            return schema.append(pa.field("wrong", pa.int8())) if self._config.lie else schema

        def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
            seen = 0
            for batch in batches:
                seen += batch.num_rows
                if self._config.fail_at is not None and seen > self._config.fail_at:
                    raise ValueError("this transform broke")
                index = batch.schema.get_field_index(self._config.column)
                field = batch.schema.field(index)
                value = pc.multiply(batch.column(index), pa.scalar(2, field.type))
                yield batch.set_column(index, field, value)

    yield
    del TRANSFORMS._known["doubled"]


def planned(con: duckdb.DuckDBPyConnection, *steps: dict[str, Any], names: Iterable[str] = ("source",)) -> Any:
    return compile(pipeline(*steps, sources=tuple(names)), {name: columns(con, name) for name in names})


FORBIDDEN = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('{outside}')",
    "SELECT * FROM '{outside}'",
    "SELECT * FROM read_csv('{scratch}/../outside.csv')",
    "SELECT * FROM read_csv('{scratch}/link.csv')",
    "SELECT * FROM glob('{outside}')",
    "SELECT * FROM read_csv('https://127.0.0.1:1/x.csv')",
    "COPY (SELECT 1) TO '{folder}/stolen.csv'",
    "ATTACH '{folder}/other.db' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET memory_limit = '10GB'",
    "SET allowed_directories = ['/']",
    "CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "SELECT * FROM local_variable",
    "EXPORT DATABASE '{folder}/dump'",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_sandbox_refuses(statement: str, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    local_variable = pa.table({"a": [1]})
    outside, scratch = tmp_path / "outside.csv", tmp_path / "scratch"
    outside.write_text("secret\n1\n")
    (scratch / "link.csv").symlink_to(outside)
    with pytest.raises(duckdb.Error):
        con.execute(statement.format(outside=outside, scratch=scratch, folder=tmp_path)).fetchall()
    assert local_variable.num_rows == 1
    assert not list(tmp_path.glob("stolen*"))


def test_the_sandbox_opens_its_scratch_folder_and_what_it_was_given(tmp_path: Path) -> None:
    for name in ("scratch", "staging", "data"):
        (tmp_path / name).mkdir()
    given = tmp_path / "data" / "it's.csv"
    given.write_text("a\n1\n")
    (tmp_path / "data" / "other.csv").write_text("a\n2\n")
    with connect(tmp_path / "scratch", readable=[tmp_path / "staging", given]) as con:
        con.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path}/staging/x.parquet'")
        path = str(given).replace("'", "''")
        assert con.execute(f"SELECT * FROM read_csv('{path}')").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match="disabled by configuration"):
            con.execute(f"SELECT * FROM read_csv('{tmp_path}/data/other.csv')")


def test_instants_are_in_utc_wherever_the_process_runs(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = ['plugins']\n"
        "from pathlib import Path\n"
        "from dataforge.runtime.engines.duckdb_ import connect\n"
        f"con = connect(Path({str(tmp_path)!r}))\n"
        "print(con.execute(\"SELECT CAST(TIMESTAMPTZ '2024-06-01 23:30:00+00' AS DATE)::VARCHAR\").fetchone()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"TZ": "Asia/Tokyo"}
    )
    assert done.stdout.strip() == "2024-06-01"


def test_a_result_streams_in_batches_before_all_of_it_is_made(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id, repeat('x', 100) AS t FROM range(100_000_000_000) r(i)")
    reader = run(con, planned(con, {"type": "filter", "where": "id % 2 = 0"}), batch_rows=10_000)
    first = next(iter(reader))
    assert first.num_rows <= 10_000
    assert first.column("id")[1].as_py() == 2


def test_a_sort_larger_than_the_memory_limit_spills_and_comes_out_whole(tmp_path: Path) -> None:
    with connect(tmp_path, memory_mb=100, threads=1) as con:
        con.execute("CREATE VIEW source AS SELECT hash(i) AS h, repeat('x', 150) || i AS t FROM range(1_500_000) r(i)")
        rows, last = 0, 0
        for batch in run(con, planned(con, {"type": "sort", "by": "h"})):
            rows += batch.num_rows
            assert batch.column("h")[0].as_py() >= last
            last = batch.column("h")[-1].as_py()
    assert rows == 1_500_000


def test_running_out_of_memory_is_told_with_what_to_do(tmp_path: Path) -> None:
    with connect(tmp_path, memory_mb=64) as con:
        con.execute("CREATE VIEW source AS SELECT i, repeat('x', 1000) AS t FROM range(400_000) r(i)")
        with pytest.raises(TerminalError, match="memory_limit_mb"):
            run(con, planned(con, {"type": "aggregate", "columns": {"all": "list(t || i)"}})).read_all()


def test_a_value_that_does_not_fit_names_step_column_and_value(con: duckdb.DuckDBPyConnection) -> None:
    value = "CASE i WHEN 90_000 THEN repeat('bad', 100) ELSE '1' END"
    con.execute(f"CREATE VIEW source AS SELECT {value} AS a FROM range(100_000) r(i)")
    plan = planned(con, {"type": "filter", "where": "a <> 'x'"}, {"type": "cast", "columns": {"a": "decimal(12,2)"}})
    path = Path(_scratch(con)) / "x.parquet"
    for read in (lambda: run(con, plan).read_all(), lambda: write_parquet(con, plan, path)):
        with pytest.raises(TerminalError) as caught:
            read()
        text = str(caught.value)
        assert text.startswith("transforms/1 (cast): column 'a': 'badbad")
        assert "is no DECIMAL(12,2)" in text
        assert '"on_error": "null"' in text
        assert len(text) < 300


def _scratch(con: duckdb.DuckDBPyConnection) -> str:
    (row,) = con.execute("SELECT current_setting('temp_directory')").fetchall()
    return str(Path(row[0]).parent)


def test_the_engine_writes_a_plan_as_parquet(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id FROM range(1000) r(i)")
    path = Path(_scratch(con)) / "it's.parquet"
    assert write_parquet(con, planned(con, {"type": "filter", "where": "id < 10"}), path) == 10
    view_parquet(con, "result", [path])
    assert columns(con, "result") == {"id": "BIGINT"}
    assert pq.read_table(path).num_rows == 10


def test_a_python_transform_runs_between_sql_steps(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id, i % 3 AS g FROM range(200_000) r(i)")
    plan = planned(
        con,
        {"type": "filter", "where": "g < 2"},
        {"type": "doubled", "column": "id"},
        {"type": "doubled", "column": "id"},
        {"type": "aggregate", "group_by": ["g"], "columns": {"total": "sum(id)", "n": "count(*)"}},
        {"type": "sort", "by": "g"},
    )
    expected = [{"g": g, "total": 4 * sum(range(g, 200_000, 3)), "n": len(range(g, 200_000, 3))} for g in (0, 1)]
    found = [{key: int(value) for key, value in row.items()} for row in run(con, plan).read_all().to_pylist()]
    assert found == expected


def test_the_result_of_a_python_transform_can_be_read_twice(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id FROM range(100_000) r(i)")
    plan = planned(
        con,
        {"type": "doubled", "column": "id", "name": "twice"},
        {"type": "filter", "where": "id < 10", "name": "few"},
        {"type": "join", "input": "twice", "with": "few", "on": ["id"]},
        {"type": "union", "with": ["twice", "source"]},
        {"type": "aggregate", "columns": {"n": "count(*)"}},
    )
    assert run(con, plan).read_all().to_pylist() == [{"n": 5 + 100_000 + 100_000}]


def test_a_python_transform_can_be_the_first_and_the_last_step(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id FROM range(10) r(i)")
    plan = planned(con, {"type": "doubled", "column": "id"})
    assert run(con, plan).read_all().column("id").to_pylist() == [2 * i for i in range(10)]
    path = Path(_scratch(con)) / "x.parquet"
    assert write_parquet(con, plan, path) == 10


def test_two_python_branches_meet_in_one_query(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW a AS SELECT i AS id FROM range(10) r(i)")
    con.execute("CREATE VIEW b AS SELECT i + 100 AS id FROM range(10) r(i)")
    plan = planned(
        con,
        {"type": "doubled", "column": "id", "input": "a", "name": "aa"},
        {"type": "doubled", "column": "id", "input": "b", "name": "bb"},
        {"type": "union", "input": "aa", "with": ["bb", "a"]},
        {"type": "sort", "by": "id"},
        names=("a", "b"),
    )
    found = run(con, plan).read_all().column("id").to_pylist()
    assert found == sorted([2 * i for i in range(10)] + [2 * (i + 100) for i in range(10)] + list(range(10)))


def test_a_plan_without_types_is_bound_to_the_real_columns(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS Id, 'a' AS t FROM range(3) r(i)")
    config = pipeline(
        {"type": "derive", "columns": {"ID": "id + 1"}},
        {"type": "doubled", "column": "Id"},
        {"type": "drop", "columns": ["T"]},
    )
    table = run(con, compile(config, {})).read_all()
    assert table.to_pylist() == [{"Id": 2}, {"Id": 4}, {"Id": 6}]


def test_a_python_transform_that_breaks_its_promise_is_named(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id FROM range(3) r(i)")
    with pytest.raises(TerminalError, match=r"transforms/0 \(doubled\) gave the columns id int64, but its schema"):
        run(con, planned(con, {"type": "doubled", "column": "id", "lie": True})).read_all()


def test_an_error_inside_a_python_transform_comes_out_as_it_is(con: duckdb.DuckDBPyConnection, doubled: None) -> None:
    con.execute("CREATE VIEW source AS SELECT i AS id FROM range(300_000) r(i)")
    with pytest.raises(ValueError, match="this transform broke"):
        run(con, planned(con, {"type": "doubled", "column": "id", "fail_at": 100_000})).read_all()


def test_engine_errors_are_sorted_by_what_to_do() -> None:
    conversion = "Conversion Error: Could not convert string 'x' to INT32 when casting from source column a"
    assert "is no INTEGER" in str(engine_error(Exception(conversion)))
    assert type(engine_error(Exception("IO Error: disk is full"))).__name__ == "TransientError"
    assert type(engine_error(Exception("Out of Range Error: overflow"))).__name__ == "TerminalError"
    assert len(str(engine_error(Exception("Binder Error: " + "x" * 10_000)))) < 1_000


@pytest.mark.timeout(60)
def test_a_query_that_fails_while_its_rows_are_written_ends(tmp_path: Path) -> None:
    def fail(number: int) -> int:
        scratch = tmp_path / str(number)
        scratch.mkdir()
        failures = 0
        with connect(scratch) as con:
            for at in range(20_500 + 61 * number, 61_000, 2_000):
                rows = f"SELECT CASE WHEN i = {at} THEN error('no') ELSE i END AS a, md5(i::VARCHAR) AS b"
                con.execute(f"CREATE OR REPLACE VIEW failing AS {rows} FROM range(61_000) AS t(i)")
                with pytest.raises(TerminalError):
                    write_parquet(con, "failing", scratch / "x.parquet")
                failures += 1
        return failures

    with ThreadPoolExecutor(3) as pool:
        assert min(pool.map(fail, range(3))) > 15
