"""Dead letters taken back in: through the rest of the pipeline, once, into the table of the run they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataforge.components.delivery import DeadLetter, Reject
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import TerminalError, TransientError
from dataforge.runtime import extract, ledgers, load, transform
from dataforge.runtime.context import local
from dataforge.runtime.replay import once_each, replay


def pipeline(**changes: Any) -> PipelineConfig:
    return parse(
        {
            "dag_id": "numbers",
            "source": {"type": "csv", "path": "numbers.csv"},
            "destination": {"type": "duckdb", "table": "numbers"},
            "dead_letters": {"max_share": 1},
            **changes,
        }
    )


def run(config: PipelineConfig, run_id: str = "first") -> None:
    context = local(config, {}, run_id=run_id)
    manifests = {name: extract.run(config, name, context) for name in config.inputs}
    load.run(config, 0, transform.run(config, manifests, context), context)


def letters(config: PipelineConfig, *, pending: bool = True) -> list[DeadLetter]:
    with ledgers.opened(config, 0, local(config, {})) as ledger:
        return ledger.dead_letters(pending=pending)


@pytest.fixture
def stored(home: Path) -> Callable[..., list[tuple[Any, ...]]]:
    def read(columns: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(home / "dataforge" / "output" / "warehouse.duckdb"), read_only=True) as con:
            return con.execute(f"SELECT {columns} FROM numbers ORDER BY ALL").fetchall()

    return read


Stored = Callable[..., list[tuple[Any, ...]]]


class TestTypes:
    def test_a_record_comes_in_by_the_types_of_now(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("id,code,v\n1,x7,1.5\n2,8,1.255\n3,9,x\n")
        run(pipeline(source={"type": "csv", "path": "numbers.csv", "columns": {"v": "decimal(9,2)"}}))
        assert stored("id, code") == [(1, "x7")]
        better = pipeline(source={"type": "csv", "path": "numbers.csv", "columns": {"v": "decimal(9,3)"}})
        (report,) = replay(better, letters(better), local(better, {}))
        assert (report["rows"], report["rejected"]) == (1, 1)
        assert stored("id, code") == [(1, "x7"), (2, "8")]
        (again,) = letters(better)
        assert json.loads(again.reject.record) == {"id": "3", "code": "9", "v": "x"}
        assert len(letters(better, pending=False)) == 3

    def test_a_json_record_keeps_its_digits_and_its_objects(self, configs: Path, stored: Stored) -> None:
        lines = ['{"n": 1, "o": {"a": 1.10}}', '{"n": 300, "o": {"a": 12345678901234567890.10}, "t": "a"}', '{"n": 2}']
        (configs / "numbers.json").write_text("\n".join(lines))
        source = {"type": "json", "path": "numbers.json", "columns": {"n": "tinyint"}}
        run(pipeline(source=source))
        better = pipeline(source={**source, "columns": {"n": "smallint"}})
        replay(better, letters(better), local(better, {}))
        assert stored("n, o, t")[-1] == (300, '{"a": 12345678901234567890.10}', "a")

    def test_a_line_that_is_no_record_is_refused(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("a,b\n1,2\n3\n")
        config = pipeline()
        run(config)
        with pytest.raises(TerminalError, match="no record"):
            replay(config, letters(config), local(config, {}))


class TestTargets:
    def test_what_a_file_did_not_take_comes_in_with_its_types(self, configs: Path) -> None:
        path = configs / "numbers.parquet"
        destination = {"type": "parquet", "path": "numbers/", "write_disposition": "append"}
        changes = {"source": {"type": "parquet", "path": path.name}, "destination": destination}
        pq.write_table(pa.table({"n": pa.array([1], pa.int8())}), path)
        run(pipeline(**changes))
        at, amount = datetime(2024, 1, 1, tzinfo=timezone.utc), Decimal("9" * 40)
        row = {"n": [2], "at": [at], "amount": pa.array([amount], pa.decimal256(40, 0)), "raw": [b"\xff"]}
        pq.write_table(pa.table(row), path)
        run(pipeline(**changes, schema_contract={"default": "discard_row"}), "second")
        config = pipeline(**changes)
        replay(config, letters(config), local(config, {}))
        files = (configs.parent / "dataforge" / "output" / "numbers").glob("*.parquet")
        (found,) = [row for path in files for row in pq.read_table(path).to_pylist() if row["n"] == 2]
        assert found == {"n": 2, "at": at, "amount": str(amount), "raw": b"\xff"}


class TestSteps:
    def test_a_row_goes_on_at_the_step_that_rejected_it(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("n,v\n1,10\n2,zehn\n")
        before = {"type": "derive", "columns": {"n": "n + 100"}}
        run(pipeline(transforms=[before, {"type": "cast", "columns": {"v": "int"}}]))
        query = {"type": "derive", "columns": {"v": "case v when 'zehn' then 10 else cast(v as int) end"}}
        better = pipeline(transforms=[before, query])
        replay(better, letters(better), local(better, {}))
        assert stored("n, v") == [(101, 10), (102, 10)]

    def test_types_before_the_step_come_back(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("d,t,v\n1.10,2024-01-01T10:00:00Z,1\n2.20,2024-06-01T10:00:00Z,x\n")
        cast = {"type": "cast", "columns": {"d": "decimal(38,10)", "v": "text"}}
        number = {"type": "derive", "columns": {"w": "cast(v as int)"}}
        run(pipeline(transforms=[cast, {"type": "filter", "where": "d > 0"}, number]))
        number = {"type": "derive", "columns": {"w": "try_cast(v as int)"}}
        better = pipeline(transforms=[cast, {"type": "filter", "where": "d > 0"}, number])
        replay(better, letters(better), local(better, {}))
        assert stored("CAST(d AS VARCHAR), typeof(d), epoch(t), w") == [
            ("1.1000000000", "DECIMAL(38,10)", 1704103200.0, 1),
            ("2.2000000000", "DECIMAL(38,10)", 1717236000.0, None),
        ]

    @pytest.mark.parametrize(
        "later",
        [
            {"type": "aggregate", "columns": {"n": "count(*)"}},
            {"type": "deduplicate", "keys": ["v"]},
            {"type": "limit", "count": 5},
            {"type": "sql", "query": "select *, row_number() over () as r from input"},
        ],
    )
    def test_a_step_over_many_rows_refuses_single_ones(self, configs: Path, later: dict[str, Any]) -> None:
        (configs / "numbers.csv").write_text("v\n1\nx\n")
        config = pipeline(transforms=[{"type": "cast", "columns": {"v": "int"}}, later])
        run(config)
        with pytest.raises(TerminalError, match=rf"transforms/1 \({later['type']}\) looks at more than one row"):
            replay(config, letters(config), local(config, {}))

    def test_other_inputs_are_refused(self, configs: Path) -> None:
        (configs / "a.csv").write_text("id,v\n1,1\n2,x\n")
        (configs / "b.csv").write_text("id,w\n1,1\n")
        sources = {name: {"type": "csv", "path": f"{name}.csv"} for name in ("a", "b")}
        steps = [{"type": "cast", "columns": {"v": "int"}}, {"type": "join", "with": "b", "on": ["id"]}]
        config = pipeline(source=None, sources=sources, transforms=steps)
        run(config)
        with pytest.raises(TerminalError, match="b"):
            replay(config, letters(config), local(config, {}))


class TestOnce:
    def test_rows_that_broke_a_check_come_in_behind_the_steps(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("n\n1\n-1\n")
        parts: dict[str, Any] = {"transforms": [{"type": "derive", "columns": {"m": "n * 10"}}]}
        check = {"type": "range", "column": "n", "min": 0, "severity": "reject"}
        run(pipeline(**parts, checks=[check]))
        better = pipeline(**parts, checks=[{**check, "min": -1}])
        replay(better, letters(better), local(better, {}))
        assert stored("n, m") == [(-1, -10), (1, 10)]

    def test_a_second_replay_adds_nothing(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("n\n1\nx\n")
        run(pipeline(source={"type": "csv", "path": "numbers.csv", "columns": {"n": "int"}}))
        kept = letters(pipeline())
        better = pipeline(
            source={"type": "csv", "path": "numbers.csv", "columns": {"n": "text"}},
            transforms=[{"type": "derive", "columns": {"n": "length(n)"}}],
        )
        replay(better, kept, local(better, {}))
        assert stored("n") == [(1,), (1,)]
        (report,) = replay(better, kept, local(better, {}))
        assert report["already"]
        assert stored("n") == [(1,), (1,)]
        with pytest.raises(TerminalError, match="replayed before"):
            replay(better, letters(better, pending=False), local(better, {}))

    def test_replace_adds_to_its_newest_run_only(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("n\n1\n300\n")
        target = {"type": "duckdb", "table": "numbers", "write_disposition": "replace"}
        source = {"type": "csv", "path": "numbers.csv", "columns": {"n": "tinyint"}}
        config = pipeline(source=source, destination=target)
        run(config, "first")
        old = letters(config)
        run(config, "second")
        better = pipeline(source={**source, "columns": {"n": "int"}}, destination=target)
        with pytest.raises(TerminalError, match="newest run"):
            replay(better, old, local(better, {}))
        new = [letter for letter in letters(config) if letter.run_id == "second"]
        replay(better, new, local(better, {}))
        assert stored("n") == [(1,), (300,)]

    def test_letters_that_the_ledger_does_not_know_load_nothing(self, configs: Path, stored: Stored) -> None:
        (configs / "numbers.csv").write_text("n,t\n1,a\n")
        config = pipeline()
        run(config)
        letter = DeadLetter("abc", "first", Reject("key", "twice", '{"n": 2, "t": "b"}'))
        with pytest.raises(TransientError, match="replayed by another load"):
            replay(config, [letter], local(config, {}))
        assert stored("n, t") == [(1, "a")]


def test_a_record_that_two_runs_rejected_is_replayed_once() -> None:
    def letter(number: int, run: str, record: str) -> DeadLetter:
        return DeadLetter(str(number), run, Reject("extract", "no", record))

    first = [letter(1, "A", '{"id":"x"}'), letter(2, "A", '{"id":"x"}'), letter(3, "A", '{"id":"y"}')]
    backfill = [letter(4, "backfill", '{"id":"x"}'), letter(5, "backfill", '{"id":"z"}')]
    assert [one.id for one in once_each([*first, *backfill])] == ["1", "2", "3", "5"]


def test_a_record_goes_through_a_transform_in_python_that_looks_at_each_row_alone(
    configs: Path, stored: Stored
) -> None:
    (configs / "numbers.csv").write_text("n,v\n1,10\n2,20\n3,x\n")
    cast = {"type": "cast", "columns": {"v": "integer"}}

    def limited(most: int) -> PipelineConfig:
        schema = {"properties": {"v": {"maximum": most}}}
        return pipeline(transforms=[cast, {"type": "validate_schema", "schema": schema, "invalid": "dead_letter"}])

    run(limited(15))
    assert stored("n, v") == [(1, 10)]
    config = limited(25)
    (report,) = replay(config, letters(config), local(config, {}))
    assert (report["rows"], report["rejected"]) == (1, 1)
    assert stored("n, v") == [(1, 10), (2, 20)]
