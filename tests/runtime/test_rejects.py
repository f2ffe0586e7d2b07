"""Records that are set aside: which, why, in what words, and that none is lost or counted twice."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataforge.components.delivery import Reject, RejectLimit
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import CheckFailed, ConfigError, TerminalError, TransientError
from dataforge.runtime import extract, fused, rejects, transform
from dataforge.runtime.compile import compile as compile_
from dataforge.runtime.context import TaskContext, local
from dataforge.runtime.staging import Manifest, Staging

LETTERS = {"max_share": 1}


def pipeline(**changes: Any) -> PipelineConfig:
    return parse(
        {
            "dag_id": "numbers",
            "source": {"type": "csv", "path": "numbers.csv"},
            "destination": {"type": "duckdb", "table": "numbers", "write_disposition": "replace"},
            "dead_letters": LETTERS,
            **changes,
        }
    )


def made(config: PipelineConfig, context: TaskContext | None = None) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Run extract and transform; return the rows and the rejects that a load would get."""
    context = context or local(config, {})
    manifests = {name: extract.run(config, name, context) for name in config.inputs}
    manifest = Manifest.from_json(transform.run(config, manifests, context))
    staging = Staging.open(context.settings, context.connection)
    with context.scratch() as scratch:
        rows = [row for path in staging.fetch(manifest, scratch) for row in pq.read_table(path).to_pylist()]
        found = rejects.read(staging.fetch_rejects(manifest, scratch))
        extra = staging.contents(manifest).extra
        assert len(found) == extra["rejected"] == len(list(found)) == len(list(found))
        assert manifest.rows == len(rows)
        return rows, list(found)


def csv(**columns: str) -> dict[str, Any]:
    return {"type": "csv", "path": "numbers.csv", "columns": columns}


class TestTypes:
    def test_a_csv_record_that_does_not_fit_its_type_is_kept_as_it_came(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text('id,amount,note\n1,1.5,a\n2,"1,5",\n3,4.00,"x\ny"\n4,1.555,007\n')
        rows, found = made(pipeline(source=csv(amount="decimal(9,2)")))
        assert [(row["id"], row["amount"]) for row in rows] == [(1, Decimal("1.50")), (3, Decimal("4.00"))]
        first, second = found
        assert first == Reject(
            "extract",
            "column 'amount': '1,5' is not exactly a DECIMAL(9, 2)",
            '{"id": "2", "amount": "1,5", "note": null}',
            source="source",
            column="amount",
            position="record 2",
            types='{"id": "BIGINT", "note": "VARCHAR"}',
        )
        assert (second.position, json.loads(second.record)["note"]) == ("record 4", "007")

    def test_a_record_with_two_bad_values_is_one_reject_with_both_reasons(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("a,b\nx,y\n1,2\n")
        rows, (reject,) = made(pipeline(source=csv(a="int", b="int")))
        assert rows == [{"a": 1, "b": 2}]
        assert "'a': 'x'" in reject.reason
        assert "'b': 'y'" in reject.reason
        assert reject.column == ""

    def test_positions_count_within_each_file_and_name_it(self, configs: Path) -> None:
        (configs / "a.csv").write_text("n\n1\n2\nx\n")
        (configs / "b.csv").write_text("n\n1\ny\n3\n")
        (configs / "c.csv").write_text("n\n7\n")
        source = {"type": "csv", "path": "*.csv", "columns": {"n": "int"}}
        rows, found = made(pipeline(source=source))
        assert sorted(row["n"] for row in rows) == [1, 1, 2, 3, 7]
        assert [reject.position for reject in found] == ["a.csv, record 3", "b.csv, record 2"]

    def test_a_json_record_is_kept_in_its_own_words(self, configs: Path) -> None:
        lines = ['{"n": 1}', '{"n": "x", "deep": {"v": 1.100}, "t": "\\u00e9"}', '{"n": 3}']
        (configs / "numbers.json").write_text("\n".join(lines))
        rows, (reject,) = made(pipeline(source={"type": "json", "path": "numbers.json", "columns": {"n": "int"}}))
        assert sorted(row["n"] for row in rows) == [1, 3]
        assert (reject.record, reject.position) == (lines[1], "record 2")

    def test_typed_records_are_kept_with_all_digits(self, configs: Path) -> None:
        values = {
            "n": pa.array([1, 300], pa.int64()),
            "d": pa.array([Decimal("1.10"), Decimal("12345678901234567890123456789012345.67")], pa.decimal128(38, 2)),
            "b": pa.array([b"", b"\x00\xff"]),
            "f": pa.array([0.1, float("nan")]),
            "l": pa.array([[], [{"v": Decimal("1.10")}]], pa.list_(pa.struct([pa.field("v", pa.decimal128(5, 2))]))),
        }
        pq.write_table(pa.table(values), configs / "numbers.parquet")
        source = {"type": "parquet", "path": "numbers.parquet", "columns": {"n": "tinyint"}}
        rows, (reject,) = made(pipeline(source=source))
        assert [row["n"] for row in rows] == [1]
        assert reject.record == (
            '{"n": 300, "d": 12345678901234567890123456789012345.67, "b": "AP8=", "f": "nan", "l": [{"v": 1.10}]}'
        )
        assert json.loads(reject.types)["d"] == "DECIMAL(38,2)"

    def test_a_stream_is_read_once(self, configs: Path, warehouse: str) -> None:
        query = "select n, n * 100 as big from generate_series(1, 3) as t(n)"
        source = {"type": "postgres", "connection": "warehouse", "query": query, "columns": {"big": "tinyint"}}
        rows, found = made(pipeline(source=source))
        assert [row["n"] for row in rows] == [1]
        assert [json.loads(reject.record) for reject in found] == [{"n": 2, "big": 200}, {"n": 3, "big": 300}]

    def test_a_late_value_widens_other_columns_all_the_same(self, configs: Path) -> None:
        rows = "\n".join(f"{n},{n}" for n in range(30_000))
        (configs / "numbers.csv").write_text(f"a,b\n{rows}\n1,late\nbad,2\n")
        result, (reject,) = made(pipeline(source=csv(a="int")))
        assert len(result) == 30_001
        assert result[-1] == {"a": 1, "b": "late"}
        assert reject.position == "record 30002"
        assert json.loads(reject.types) == {"b": "VARCHAR"}


class TestCursor:
    def test_records_that_an_earlier_run_set_aside_are_not_set_aside_anew(self, configs: Path) -> None:
        from dataforge.runtime import load

        source = {**csv(n="int", at="timestamp"), "cursor_field": "at"}
        config = pipeline(source=source, destination={"type": "duckdb", "table": "numbers"})
        (configs / "numbers.csv").write_text("n,at\nx,2024-01-01 00:00:00\n1,2024-01-02 00:00:00\n")
        context = local(config, {}, run_id="first")
        manifest = transform.run(config, {"source": extract.run(config, "source", context)}, context)
        load.run(config, 0, manifest, context)
        with (configs / "numbers.csv").open("a") as file:
            file.write("2,2024-01-03 00:00:00\ny,2024-01-03 00:00:00\nz,never\n")
        rows, found = made(config, local(config, {}, run_id="second"))
        assert [row["n"] for row in rows] == [2]
        assert [json.loads(reject.record)["n"] for reject in found] == ["y", "z"]


class TestLines:
    def test_malformed_csv_lines_are_kept_and_nothing_behind_them_is_lost(self, configs: Path) -> None:
        text = 'a,b\n1,2\n3\n4,5,6\n"x\ny",7\n"8,9\n10,11\n12,"13"z\n14,15\n'
        (configs / "numbers.csv").write_text(text)
        rows, found = made(pipeline())
        assert [tuple(row.values()) for row in rows] == [("1", 2), ("x\ny", 7), ("10", 11), ("14", 15)]
        assert [(reject.position, json.loads(reject.record)["line"]) for reject in found] == [
            ("line 3", "3"),
            ("line 4", "4,5,6"),
            ("line 7", '"8,9'),
            ("line 9", '12,"13"z'),
        ]
        assert found[0].reason == "1 fields where the header has 2"
        assert found[2].reason == "a quoted value is not closed, or a quote inside it is not doubled"

    def test_records_keep_their_number_behind_malformed_lines(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("a,b\n1,2\n3\nx,4\n5\n6\ny,7\n")
        _, found = made(pipeline(source=csv(a="int")))
        assert [reject.position for reject in found] == ["line 3", "line 5", "line 6", "record 3", "record 6"]

    def test_malformed_json_lines_are_kept(self, configs: Path) -> None:
        (configs / "numbers.json").write_text('{"n": 1}\n{"n": \n[1]\n\n{"n": 2}\n')
        rows, found = made(pipeline(source={"type": "json", "path": "numbers.json"}))
        assert [row["n"] for row in rows] == [1, 2]
        assert [(reject.position, json.loads(reject.record)["line"]) for reject in found] == [
            ("line 2", '{"n": '),
            ("line 3", "[1]"),
        ]

    def test_numbers_that_json_does_not_have_are_kept_with_what_they_are(self, configs: Path) -> None:
        deep = "[" * 5_000 + "]" * 5_000
        lines = ['{"n": NaN}', '{"n": 1}', '{"n": 2, "t": {"x": [1, -Infinity]}}', '{"n": 3, "t": "NaN"}']
        (configs / "numbers.json").write_text("\n".join([*lines, f'{{"n": 4, "t": {deep}}}']))
        rows, found = made(pipeline(source={"type": "json", "path": "numbers.json"}))
        assert sorted((row["n"], row["t"]) for row in rows) == [(1, None), (3, "NaN")]
        assert [(reject.position, reject.reason) for reject in found] == [
            ("line 1", "NaN, which JSON does not have; write null"),
            ("line 3", "Infinity, which JSON does not have; write null"),
            ("line 5", "nested deeper than 128 levels, which is more than can be read"),
        ]
        assert json.loads(found[1].record) == {"line": lines[2]}

    def test_a_record_nested_too_deeply_is_kept(self, configs: Path) -> None:
        lines = [f'{{"n": {n}, "t": {"[" * levels + "]" * levels}}}' for n, levels in enumerate((127, 128, 1))]
        (configs / "numbers.json").write_text("\n".join(lines))
        rows, found = made(pipeline(source={"type": "json", "path": "numbers.json"}))
        assert sorted(row["n"] for row in rows) == [0, 2]
        assert [(one.position, one.reason[:30]) for one in found] == [("line 2", "nested deeper than 128 levels,")]


class TestSteps:
    def test_a_cast_sets_aside_what_does_not_fit_as_it_was_before_the_step(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("id,v\n1,5\n2,x\n3,\n4,6.5\n")
        steps = [{"type": "rename", "columns": {"v": "w"}}, {"type": "cast", "columns": {"w": "bigint"}}]
        config = pipeline(transforms=steps)
        rows, (reject,) = made(config)
        assert [tuple(row.values()) for row in rows] == [(1, 5), (3, None), (4, 7)]
        assert (reject.stage, reject.step, reject.source, reject.column) == ("transform", 1, "step_1_rename", "w")
        assert reject.reason == "transforms/1 (cast): column 'w': 'x' is no BIGINT"
        assert json.loads(reject.record) == {"id": 2, "w": "x"}
        assert json.loads(reject.types) == {"id": "BIGINT", "w": "VARCHAR"}

    def test_rows_that_a_condition_leaves_out_are_never_rejected(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("k,v\na,1\nb,x\nc,y\n")
        query = "select k, cast(v as integer) as n from input where k <> 'b'"
        rows, (reject,) = made(pipeline(transforms=[{"type": "sql", "query": query}]))
        assert rows == [{"k": "a", "n": 1}]
        assert json.loads(reject.record) == {"k": "c", "v": "y"}

    def test_a_condition_that_raises_rejects_the_row(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("v\n1\nx\n-1\n")
        rows, (reject,) = made(pipeline(transforms=[{"type": "filter", "where": "cast(v as integer) > 0"}]))
        assert rows == [{"v": "1"}]
        assert "the condition can't be computed" in reject.reason

    def test_each_step_rejects_its_own_and_later_steps_see_none_of_them(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("a,b\n1,1\nx,1\n3,y\n4,\n5,0\nz,z\n")
        steps = [
            {"type": "cast", "columns": {"a": "integer"}},
            {"type": "cast", "columns": {"b": "integer"}},
            {"type": "derive", "columns": {"c": "cast(repeat('9', 10 * b) as integer)"}},
            {"type": "aggregate", "columns": {"n": "count(*)", "s": "sum(a)"}},
            {"type": "derive", "columns": {"t": "n * 2"}},
        ]
        rows, found = made(pipeline(transforms=steps))
        assert [(reject.step, json.loads(reject.record)["a"]) for reject in found] == [
            (0, "x"),
            (0, "z"),
            (1, 3),
            (2, 1),
            (2, 5),
        ]
        assert rows == [{"n": 1, "s": 4, "t": 2}]

    def test_what_many_rows_make_is_computed_once_for_all_passes(self, configs: Path) -> None:
        lines = "\n".join(f"{n % 100},{n if n % 7 else 'x'}" for n in range(20_000))
        (configs / "numbers.csv").write_text(f"k,v\n{lines}\n")
        steps = [{"type": "deduplicate", "keys": ["k"]}, {"type": "cast", "columns": {"v": "bigint"}}]
        rows, found = made(pipeline(transforms=steps))
        assert len(rows) + len(found) == 100
        assert sorted([row["k"] for row in rows] + [json.loads(one.record)["k"] for one in found]) == list(range(100))

    def test_errors_of_a_step_over_many_rows_still_fail(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("v\n1\nx\n")
        steps = [{"type": "aggregate", "columns": {"s": "sum(cast(v as integer))"}}]
        with pytest.raises(TerminalError, match="'x' is no"):
            made(pipeline(transforms=steps))

    def test_a_name_with_a_quote_and_a_long_value_are_told_safely(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text(f'"a\'""b"\n1\n{"x" * 100}\n')
        rows, (reject,) = made(pipeline(transforms=[{"type": "cast", "columns": {"a'\"b": "int"}}]))
        assert rows == [{"a'\"b": 1}]
        assert reject.column == "a'\"b"
        assert "x" * 41 not in reject.reason


class TestChecks:
    def test_rows_that_break_checks_are_set_aside_once_with_all_reasons(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("id,v\n1,5\n,-1\n3,-2\n4,\n")
        checks = [
            {"type": "not_null", "columns": ["id"], "severity": "reject"},
            {"type": "range", "column": "v", "min": 0, "severity": "reject"},
            {"type": "row_count", "min": 2, "max": 2},
        ]
        config = pipeline(checks=checks, transforms=[{"type": "derive", "columns": {"w": "v + 1"}}])
        context = local(config, {})
        rows, found = made(config, context)
        assert [row["id"] for row in rows] == [1, 4]
        both, one = found
        assert both.reason == "check not_null: there is no value in id; check range: v is not >= 0"
        assert (both.column, one.column) == ("", "v")
        assert (one.stage, one.step, one.record) == ("check", 1, '{"id": 3, "v": -2, "w": -1}')

    def test_check_results_tell_what_was_found(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("id\n1\nx\n3\n")
        check = {"type": "expression", "expression": "cast(id as integer) < 3", "severity": "reject"}
        config = pipeline(checks=[check])
        context = local(config, {})
        manifest = transform.run(config, {"source": extract.run(config, "source", context)}, context)
        (result,) = transform.check_results(manifest, context)
        assert (result["passed"], result["violations"], result["checked"], result["severity"]) == (
            False,
            2,
            3,
            "reject",
        )
        assert [example["id"] for example in result["examples"]] == ["x", "3"]

    def test_checks_of_severity_fail_hold_of_what_is_left(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("id,v\n1,1\n,1\n,1\n")
        checks = [
            {"type": "not_null", "columns": ["id"], "severity": "reject"},
            {"type": "unique", "columns": ["v"]},
        ]
        rows, found = made(pipeline(checks=checks))
        assert (len(rows), len(found)) == (1, 2)
        with pytest.raises(CheckFailed):
            made(pipeline(checks=checks[1:]))

    def test_a_check_over_many_rows_can_not_reject(self) -> None:
        checks = [{"type": "unique", "columns": ["id"], "severity": "reject"}]
        with pytest.raises(ConfigError) as caught:
            compile_(pipeline(checks=checks), {"source": None})
        (problem,) = caught.value.problems
        assert (problem.code, problem.path) == ("not-rejectable", ("checks", 0, "severity"))


class TestLimits:
    def test_beyond_the_share_the_run_fails_with_figures_and_examples(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n\n" + "1\n" * 8 + "x\ny\n")
        config = pipeline(source=csv(n="int"), dead_letters={"max_share": 0.1})
        with pytest.raises(TerminalError) as caught:
            made(config)
        text = str(caught.value)
        for part in ("2 of 10", "max_share", "10.00%", "nothing was loaded", "record 9", "'x'"):
            assert part in text

    def test_exactly_the_share_is_fine(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n\n" + "1\n" * 9 + "x\n")
        rows, found = made(pipeline(source=csv(n="int"), dead_letters={"max_share": 0.1}))
        assert (len(rows), len(found)) == (9, 1)

    def test_the_number_is_a_limit_too(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n,m\n" + "1,1\n" * 9 + "1\n2\n")
        with pytest.raises(TerminalError, match=r"max_rows"):
            made(pipeline(dead_letters={"max_share": 1, "max_rows": 1}))

    def test_all_stages_count_together(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("a,b,c\n" + "1,1,1\n" * 7 + "x,1,1\n1,x,1\n1,1,-1\n")
        parts: dict[str, Any] = {
            "source": csv(a="int"),
            "transforms": [{"type": "cast", "columns": {"b": "int"}}],
            "checks": [{"type": "range", "column": "c", "min": 0, "severity": "reject"}],
        }
        rows, found = made(pipeline(**parts, dead_letters={"max_share": 0.3}))
        assert (len(rows), [reject.stage for reject in found]) == (7, ["extract", "transform", "check"])
        with pytest.raises(TerminalError, match="3 of 10"):
            made(pipeline(**parts, dead_letters={"max_share": 0.29}))

    def test_a_large_share_of_a_small_source_may_be_a_small_share_of_all(self, configs: Path) -> None:
        (configs / "a.csv").write_text("n\nx\n1\n")
        (configs / "b.csv").write_text("n\n" + "2\n" * 98)
        sources = {name: {"type": "csv", "path": f"{name}.csv", "columns": {"n": "int"}} for name in ("a", "b")}
        changes: dict[str, Any] = {"source": None, "sources": sources, "transforms": [{"type": "union", "with": ["b"]}]}
        rows, found = made(pipeline(**changes, dead_letters={"max_share": 0.01}))
        assert (len(rows), [reject.source for reject in found]) == (99, ["a"])

    def test_too_many_words(self) -> None:
        assert RejectLimit(0.5, 10).exceeded(5, 10) is None
        assert "max_share" in str(RejectLimit(0.5, 10).exceeded(6, 10))
        assert "max_rows" in str(RejectLimit(1, 10).exceeded(11, 10))


class TestPreview:
    def test_a_preview_leaves_out_what_a_run_sets_aside(self, configs: Path) -> None:
        from dataforge.runtime import preview

        (configs / "numbers.csv").write_text("a,b\n1,1\nx,1\n2,y\n3,3\n")
        steps = [{"type": "cast", "columns": {"b": "int"}}, {"type": "derive", "columns": {"c": "a + b"}}]
        config = pipeline(source=csv(a="int"), transforms=steps)
        shown = preview.run(config, local(config, {}))
        assert [step.row_count for step in shown.steps] == [3, 2, 2]


class TestUnchanged:
    """Without `dead_letters` the first such record fails the run, as ever."""

    def test_a_value(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\nx\n")
        with pytest.raises(TerminalError, match="column 'n': 'x' is not exactly"):
            made(pipeline(source=csv(n="int"), dead_letters=None))

    def test_a_line(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n,m\n1,1\n2\n")
        with pytest.raises(TerminalError, match="line 3: 1 fields"):
            made(pipeline(dead_letters=None))

    def test_a_step(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\nx\n")
        with pytest.raises(TerminalError, match="'x' is no"):
            made(pipeline(transforms=[{"type": "cast", "columns": {"n": "int"}}], dead_letters=None))

    def test_no_reject_parts(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\n")
        for letters in (None, LETTERS):
            assert made(pipeline(source=csv(n="int"), dead_letters=letters)) == ([{"n": 1}], [])


class TestHandOver:
    def test_a_damaged_reject_part_is_noticed(self, configs: Path) -> None:
        (configs / "numbers.csv").write_text("n\n1\nx\n")
        config = pipeline(source=csv(n="int"))
        context = local(config, {})
        manifest = extract.run(config, "source", context)
        staging = Staging.open(context.settings, context.connection)
        (path,) = staging.fetch_rejects(Manifest.from_json(manifest), configs)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(TransientError, match="damaged"):
            transform.run(config, {"source": manifest}, context)

    def test_what_is_written_is_what_is_read(self, tmp_path: Path) -> None:
        given = [Reject("key", "r", '{"a": "\\u0000"}', "s", 3, "c", "p", "t"), Reject("load", "", "{}")]
        assert rejects.write(tmp_path / "rejects-0.parquet", given) == 2
        found = rejects.read([tmp_path / "rejects-0.parquet"])
        assert (list(found), list(found), len(found)) == (given, given, 2)
        assert rejects.write(tmp_path / "rejects-1.parquet", []) == 0
        assert not (tmp_path / "rejects-1.parquet").exists()

    @pytest.mark.parametrize("execution", ["staged", "fused"])
    def test_the_target_and_its_dead_letters_add_up(self, configs: Path, home: Path, execution: str) -> None:
        from dataforge.runtime import load

        (configs / "numbers.csv").write_text("a,b\n1,1\nx,1\n2,y\n3,-1\n4,0\n")
        config = pipeline(
            source=csv(a="int"),
            transforms=[{"type": "cast", "columns": {"b": "int"}}, {"type": "filter", "where": "b <> 0"}],
            checks=[{"type": "range", "column": "b", "min": 0, "severity": "reject"}],
            execution=execution,
        )
        context = local(config, {})
        if execution == "fused":
            fused.run(config, context)
        else:
            manifests = {"source": extract.run(config, "source", context)}
            load.run(config, 0, transform.run(config, manifests, context), context)
        with duckdb.connect(str(home / "dataforge" / "output" / "warehouse.duckdb"), read_only=True) as con:
            assert con.execute("SELECT a, b FROM numbers").fetchall() == [(1, 1)]
            kept = con.execute("SELECT stage FROM _dataforge_dead_letters ORDER BY ALL").fetchall()
        assert [stage for (stage,) in kept] == ["check", "extract", "transform"]


VALUES: Sequence[str] = (
    "1", "-2", "007", "1.5", "1e3", "x", "", " 5", "99999999999999999999", "true", "2024-01-01", "null", "NaN",
    "1,5", 'say "hi"', "two\nlines", "é", "0x10", "+7", "-0", "1_000",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_any_values_are_all_accounted_for(configs: Path, kind: str, seed: int) -> None:
    """Source = result + rejects + filtered, record by record, for random values, lines and steps."""
    chance = random.Random(seed)
    records = [{"id": str(n), "a": chance.choice(VALUES), "b": chance.choice(VALUES)} for n in range(60)]
    broken = chance.sample(range(60), 5) if seed % 2 else []
    lines = []
    for n, record in enumerate(records):
        if n in broken:
            lines.append(chance.choice(("one", "a,b,c,d", 'z"q",1')) if kind == "csv" else chance.choice(("{", "[1]")))
        elif kind == "csv":
            lines.append(",".join('"' + value.replace('"', '""') + '"' if value else "" for value in record.values()))
        else:
            lines.append(json.dumps({key: value or None for key, value in record.items()}))
    text = "\n".join((["id,a,b"] if kind == "csv" else []) + lines) + "\n"
    (configs / f"numbers.{kind}").write_text(text)
    type_ = chance.choice(("int", "bigint", "decimal(5,1)", "double", "date", "boolean"))
    source = {"type": kind, "path": f"numbers.{kind}", "columns": {"id": "int", "a": type_, "b": "text"}}
    steps = [
        {"type": "cast", "columns": {"b": chance.choice(("int", "double", "boolean", "date"))}},
        {"type": "filter", "where": "id % 3 <> 0"},
    ]
    rows, found = made(pipeline(source=source, transforms=steps))
    result = {row["id"] for row in rows}
    rejected = {int(json.loads(one.record)["id"]) for one in found if "line" not in json.loads(one.record)}
    assert len(rows) == len(result)
    assert not result & rejected
    filtered = {n for n in range(60) if n not in broken} - result - rejected
    assert all(n % 3 == 0 for n in filtered)
    assert sum("line" in json.loads(one.record) for one in found) == len(broken)
    for one in found:
        record = json.loads(one.record)
        if one.stage == "extract" and "line" not in record:
            assert record == {key: value or None for key, value in records[int(record["id"])].items()}
            assert one.position == f"record {int(record['id']) + 1}" or broken
