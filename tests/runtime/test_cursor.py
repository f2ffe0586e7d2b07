"""Incremental reading: what a run reads by its cursor, what it leaves to the next, and where the cursor goes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.runtime.memory_destination import STORE, Held, MemoryConfig, MemoryDestination

from dataforge.components.base import ExtractContext
from dataforge.components.delivery import CursorPosition, CursorStep, Window, cursor_to_json
from dataforge.components.registry import DESTINATIONS, Component
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import ConfigError, FencedError, NothingToLoad, TerminalError
from dataforge.runtime import again, cursor, extract, fused, load, transform
from dataforge.runtime.context import TaskContext, local
from dataforge.runtime.landing import Landed
from dataforge.runtime.staging import Staging
from dataforge.sources.parquet import ParquetSource

TARGET = "dataforge://memory/t"
UTC = timezone.utc


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    component = Component("memory", MemoryConfig, MemoryDestination, __name__)
    monkeypatch.setitem(DESTINATIONS._known, "memory", component)
    STORE.clear()
    yield
    STORE.clear()


def pipeline(
    field: str = "n", *, source: Mapping[str, Any] | None = None, key: bool = False, **changes: Any
) -> PipelineConfig:
    target: dict[str, Any] = {"type": "memory"}
    if key:
        target |= {"write_disposition": "merge", "primary_key": ["id"]}
    return parse(
        {
            "dag_id": "numbers",
            "source": {"type": "parquet", "path": "data.parquet", "cursor_field": field, **(source or {})},
            "destination": target,
            **changes,
        }
    )


def write(folder: Path, query: str, name: str = "data.parquet") -> None:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"COPY ({query}) TO '{folder / name}' (FORMAT parquet)")


def rows(folder: Path, type_: str, *values: tuple[int, str | None]) -> None:
    """Write rows of an id and a cursor value of a type."""
    listed = ", ".join(f"({id_}, {'NULL' if value is None else repr(value)})" for id_, value in values)
    write(folder, f"SELECT id, CAST(n AS {type_}) AS n FROM (VALUES {listed}) AS t(id, n)")


def staged(config: PipelineConfig, context: TaskContext) -> None:
    manifests = {name: extract.run(config, name, context) for name in config.inputs}
    load.run(config, 0, transform.run(config, manifests, context), context)


def run(config: PipelineConfig, run_id: str | None = None, execution: str = "staged", **changes: Any) -> None:
    context = replace(local(config, {}, run_id=run_id), **changes)
    if execution == "staged":
        staged(config, context)
    else:
        fused.run(config, context)


def held() -> Held:
    return STORE[TARGET]


def ids() -> list[int]:
    return sorted(row["id"] for row in held().records)


def position(source: str = "source") -> Mapping[str, Any]:
    cursor_ = held().state.cursor
    assert cursor_ is not None
    found: Mapping[str, Any] = cursor_[source]
    return found


both = pytest.mark.parametrize("execution", ["staged", "fused"])


@both
class TestAdvance:
    def test_a_run_reads_only_what_is_above_the_cursor(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        run(pipeline(), execution=execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (3, "30"))
        run(pipeline(), execution=execution)
        assert ids() == [1, 2, 3]
        assert position()["value"] == "30"

    def test_late_records_with_the_cursors_own_value_are_read_once(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        run(pipeline(), execution=execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (3, "20"))
        run(pipeline(), execution=execution)
        rows(configs, "INTEGER", (4, "20"), (3, "20"), (1, "10"), (2, "20"))
        run(pipeline(), execution=execution)
        run(pipeline(), execution=execution)
        assert ids() == [1, 2, 3, 4]
        assert len(position()["ties"]) == 3

    def test_records_that_are_equal_in_everything_are_counted(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"))
        run(pipeline(), execution=execution)
        rows(configs, "INTEGER", (1, "10"), (1, "10"), (1, "10"))
        run(pipeline(), execution=execution)
        run(pipeline(), execution=execution)
        assert ids() == [1, 1, 1]

    def test_records_below_the_cursor_are_never_read(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"))
        run(pipeline(), execution=execution)
        rows(configs, "INTEGER", (2, "5"))
        run(pipeline(), execution=execution)
        assert ids() == [1]
        assert position()["value"] == "10"

    def test_a_first_run_begins_at_the_initial_value(self, configs: Path, execution: str) -> None:
        rows(configs, "TIMESTAMPTZ", (1, "2024-12-31 23:59:59+00"), (2, "2025-01-01 00:00:00+00"))
        run(pipeline(source={"initial_value": "2025-01-01"}), execution=execution)
        assert ids() == [2]

    def test_a_run_with_nothing_new_loads_nothing_and_leaves_the_cursor(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"))
        run(pipeline(), execution=execution)
        before = position()
        run(pipeline(), execution=execution)
        assert ids() == [1]
        assert position() == before
        assert [marker.rows for marker in held().markers.values()] == [1, 0]

    def test_with_a_key_records_at_the_cursor_are_read_again(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        run(pipeline(key=True), execution=execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (3, "20"))
        run(pipeline(key=True), execution=execution)
        assert ids() == [1, 2, 3]
        assert position()["ties"] == []
        assert [marker.rows for marker in held().markers.values()] == [2, 2]

    def test_a_lookback_reads_again_what_may_have_come_late(self, configs: Path, execution: str) -> None:
        config = pipeline(source={"lookback": "1h"}, key=True)
        rows(configs, "TIMESTAMPTZ", (1, "2025-01-01 10:00:00+00"))
        run(config, execution=execution)
        rows(
            configs,
            "TIMESTAMPTZ",
            (1, "2025-01-01 10:00:00+00"),
            (2, "2025-01-01 09:00:00+00"),
            (3, "2025-01-01 08:59:59.999999+00"),
        )
        run(config, execution=execution)
        assert ids() == [1, 2]
        assert position()["value"] == "2025-01-01 10:00:00+00"

    def test_a_widened_column_does_not_make_old_records_new(self, configs: Path, execution: str) -> None:
        config = pipeline(source={"type": "csv", "path": "data.csv"})
        (configs / "data.csv").write_text("id,n,amount\n1,10,1\n2,10,2\n")
        run(config, execution=execution)
        (configs / "data.csv").write_text("id,n,amount,note\n1,10,1,\n2,10,2,\n3,10,2.50,late\n4,10.5,1,\n")
        run(config, execution=execution)
        assert ids() == [1, 2, 3, 4]


class TestTypes:
    @pytest.mark.parametrize(
        ("type_", "first", "second"),
        [
            ("DATE", "2025-01-31", "2025-02-01"),
            ("BIGINT", "9007199254740992", "9007199254740993"),
            ("HUGEINT", "9999999999999999999999", "10000000000000000000000"),
            ("UBIGINT", "9223372036854775808", "18446744073709551615"),
            ("DECIMAL(38,18)", "1.000000000000000001", "1.000000000000000002"),
            ("DOUBLE", "0.1", "0.30000000000000004"),
            ("FLOAT", "1.3", "1.7"),
            ("TIMESTAMP_NS", "2025-01-01 00:00:00.000000001", "2025-01-01 00:00:00.000000002"),
            ("TIMESTAMP", "9999-12-31 23:59:59.999998", "9999-12-31 23:59:59.999999"),
        ],
    )
    def test_values_are_compared_exactly(self, configs: Path, type_: str, first: str, second: str) -> None:
        rows(configs, type_, (1, first))
        run(pipeline())
        rows(configs, type_, (1, first), (2, first), (3, second))
        run(pipeline())
        run(pipeline())
        assert ids() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("first_type", "first", "then_type", "second"),
        [
            ("INTEGER", "10", "DECIMAL(10,2)", "10.01"),
            ("INTEGER", "10", "DOUBLE", "10.5"),
            ("DECIMAL(10,2)", "10.50", "BIGINT", "11"),
            ("DATE", "2025-01-31", "TIMESTAMP", "2025-01-31 00:00:01"),
            ("TIMESTAMP", "2025-01-31 00:00:00", "TIMESTAMPTZ", "2025-01-31 00:00:01+00"),
        ],
    )
    def test_a_type_of_the_same_kind_goes_on(
        self, configs: Path, first_type: str, first: str, then_type: str, second: str
    ) -> None:
        rows(configs, first_type, (1, first))
        run(pipeline())
        rows(configs, then_type, (3, second))
        run(pipeline())
        assert ids() == [1, 3]

    @pytest.mark.parametrize(
        ("first_type", "first", "then_type", "second"),
        [
            ("INTEGER", "10", "DATE", "2025-01-01"),
            ("INTEGER", "10", "VARCHAR", "11"),
            ("TIMESTAMPTZ", "2025-01-31 12:00:00+00", "DATE", "2025-01-31"),
            ("TIMESTAMP", "2025-01-31 12:00:00", "DATE", "2025-02-01"),
            ("TIMESTAMPTZ", "2025-01-31 12:00:00+00", "VARCHAR", "2025-02-01T00:00:00Z"),
            ("DATE", "2025-01-31", "BIGINT", "20250201"),
        ],
    )
    def test_a_type_that_tells_no_longer_what_is_new_is_refused_until_the_cursor_is_moved(
        self, configs: Path, first_type: str, first: str, then_type: str, second: str
    ) -> None:
        rows(configs, first_type, (1, first))
        run(pipeline())
        rows(configs, then_type, (1, second), (2, second))
        kind = first_type.removesuffix("TZ")
        told = rf"stands at '.*' \({kind}.*'n' is {then_type} now.*'columns'.*cursor set.*cursor reset"
        declared = {"columns": {"n": "text"}} if then_type == "VARCHAR" else {}
        for config in (pipeline(), pipeline(source=declared)):
            with pytest.raises(TerminalError, match=told):
                run(config)
        assert ids() == [1]
        assert position()["value"] == first
        held().state = replace(held().state, cursor=None)
        run(config)
        assert ids() == [1, 1, 2]

    def test_text_needs_a_word_from_the_config(self, configs: Path) -> None:
        rows(configs, "VARCHAR", (1, "a"))
        with pytest.raises(TerminalError, match=r"is text, such as 'a'.*\"columns\": \{\"n\": \"timestamptz\"\}"):
            run(pipeline())
        declared = pipeline(source={"columns": {"n": "text"}})
        run(declared)
        rows(configs, "VARCHAR", (1, "a"), (2, "b"), (3, "B"))
        run(declared)
        assert ids() == [1, 2]

    def test_text_with_offsets_is_compared_as_instants_when_typed(self, configs: Path) -> None:
        config = pipeline(source={"columns": {"n": "timestamptz"}})
        rows(configs, "VARCHAR", (1, "2025-06-01T12:00:00+02:00"))
        run(config)
        rows(
            configs,
            "VARCHAR",
            (1, "2025-06-01T12:00:00+02:00"),
            (2, "2025-06-01T10:30:00Z"),
            (3, "2025-06-01T11:59:00+02:00"),
        )
        run(config)
        assert ids() == [1, 2]

    @pytest.mark.parametrize("type_", ["TIME", "BOOLEAN", "UUID", "INTEGER[]"])
    def test_a_type_without_an_order_in_time_is_located(self, configs: Path, type_: str) -> None:
        write(configs, f"SELECT 1 AS id, CAST(NULL AS {type_}) AS n")
        with pytest.raises(ConfigError) as caught:
            run(pipeline())
        assert caught.value.problems[0].path == ("source", "cursor_field")

    def test_an_unknown_field_is_located(self, configs: Path) -> None:
        rows(configs, "INTEGER", (1, "10"))
        with pytest.raises(ConfigError, match="'m' is not known"):
            run(pipeline("m"))

    def test_infinity_can_be_no_cursor(self, configs: Path) -> None:
        rows(configs, "DOUBLE", (1, "inf"))
        with pytest.raises(TerminalError, match="nothing could come after"):
            run(pipeline())

    def test_another_field_than_the_cursors_is_refused(self, configs: Path) -> None:
        rows(configs, "INTEGER", (1, "10"))
        run(pipeline())
        with pytest.raises(TerminalError, match=r"of the field 'n'.*names 'id'.*cursor reset"):
            run(pipeline("id"))


class TestClock:
    def test_the_hour_that_comes_twice_is_told_apart_by_offsets(self, configs: Path) -> None:
        """02:30 comes twice on 26 October 2025 in Berlin; as instants the second is an hour later."""
        rows(configs, "TIMESTAMPTZ", (1, "2025-10-26 02:30:00+02:00"))
        run(pipeline())
        rows(configs, "TIMESTAMPTZ", (1, "2025-10-26 02:30:00+02:00"), (2, "2025-10-26 02:10:00+01:00"))
        run(pipeline())
        assert ids() == [1, 2]

    def test_the_missing_hour_skips_nothing(self, configs: Path) -> None:
        config = pipeline(source={"lookback": "30m"}, key=True)
        rows(configs, "TIMESTAMPTZ", (1, "2025-03-30 03:15:00+02:00"))
        run(config)
        rows(configs, "TIMESTAMPTZ", (2, "2025-03-30 01:45:00+01:00"), (3, "2025-03-30 01:44:00+01:00"))
        run(config)
        assert ids() == [1, 2]

    def test_the_zone_of_the_process_changes_nothing(self, configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        rows(configs, "TIMESTAMP", (1, "2025-01-01 12:00:00"))
        run(pipeline())
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        try:
            rows(configs, "TIMESTAMP", (1, "2025-01-01 12:00:00"), (2, "2025-01-01 12:00:00.000001"))
            run(pipeline())
        finally:
            monkeypatch.undo()
            time.tzset()
        assert ids() == [1, 2]


class TestNulls:
    @both
    def test_they_fail_the_run_unless_the_config_says_otherwise(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, None))
        with pytest.raises(TerminalError, match=r"1 of 2 records have no value in the cursor field 'n'.*null_cursor"):
            run(pipeline(), execution=execution)
        assert held().rows == []

    @both
    def test_they_can_be_skipped(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, None))
        run(pipeline(source={"null_cursor": "skip"}), execution=execution)
        assert ids() == [1]

    @both
    def test_they_can_become_dead_letters(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, None))
        config = pipeline(source={"null_cursor": "dead_letter"}, dead_letters={"max_share": 0.5})
        run(config, execution=execution)
        assert ids() == [1]
        ((reject,),) = held().rejects.values()
        assert (reject.stage, reject.column, reject.source) == ("extract", "n", "source")
        assert reject.reason == "no value in the cursor field"
        assert '"id": 2' in reject.record


class TestTies:
    def test_too_many_records_with_one_value_are_refused(self, configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cursor, "MAX_TIES", 3)
        rows(configs, "INTEGER", *((n, "7") for n in range(4)))
        with pytest.raises(TerminalError, match=r"4 records have the same, greatest value '7'.*at most 3.*merge"):
            run(pipeline())
        run(pipeline(key=True))
        assert ids() == [0, 1, 2, 3]


@both
class TestRepeat:
    def prepare(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        run(pipeline(), "one", execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (3, "20"), (4, "30"))
        run(pipeline(), "two", execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (3, "20"), (4, "30"), (5, "30"), (6, "40"))
        run(pipeline(), "three", execution)

    @pytest.mark.parametrize("run_id", ["one", "two", "three"])
    def test_a_cleared_run_reads_in_its_own_bounds(self, configs: Path, execution: str, run_id: str) -> None:
        self.prepare(configs, execution)
        before, of_runs = held().state, Counter(key for key, _ in held().rows)
        run(pipeline(), run_id, execution)
        assert ids() == [1, 2, 3, 4, 5, 6]
        assert held().state == before
        assert Counter(key for key, _ in held().rows) == of_runs

    def test_what_was_corrected_since_is_replaced(self, configs: Path, execution: str) -> None:
        self.prepare(configs, execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (33, "25"), (4, "30"), (5, "30"), (6, "40"))
        run(pipeline(), "two", execution)
        assert ids() == [1, 2, 4, 5, 6, 33]

    def test_a_run_that_read_nothing_reads_nothing_again(self, configs: Path, execution: str) -> None:
        write(configs, "SELECT 1 AS id, 1 AS n WHERE false")
        run(pipeline(), "empty", execution)
        rows(configs, "INTEGER", (1, "10"))
        run(pipeline(), "one", execution)
        run(pipeline(), "empty", execution)
        assert ids() == [1]

    def test_with_a_key_all_between_its_bounds_is_read(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"))
        run(pipeline(key=True), "one", execution)
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        run(pipeline(key=True), "two", execution)
        rows(configs, "INTEGER", (7, "10"), (2, "20"), (3, "30"))
        run(pipeline(key=True), "two", execution)
        assert ids() == [1, 2, 7]

    def test_a_run_from_before_the_cursor_can_not_be_repeated(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"))
        plain = parse(
            {
                "dag_id": "numbers",
                "source": {"type": "parquet", "path": "data.parquet"},
                "destination": {"type": "memory"},
            }
        )
        run(plain, "old", execution)
        with pytest.raises(TerminalError, match="before the pipeline had a cursor"):
            run(pipeline(), "old", execution)


@both
class TestWindow:
    DAY = (datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC))

    def scoped(self, config: PipelineConfig, run_id: str, execution: str) -> None:
        context = local(config, {}, self.DAY, run_id)
        staged(config, context) if execution == "staged" else fused.run(config, context)

    @pytest.mark.parametrize(
        ("type_", "inside", "outside"),
        [
            ("TIMESTAMPTZ", ["2025-01-02 00:00:00+00", "2025-01-02 23:59:59.999999+00"], ["2025-01-03 00:00:00+00"]),
            ("TIMESTAMPTZ", ["2025-01-03 00:59:00+01:00"], ["2025-01-02 00:59:00+01:00"]),
            ("TIMESTAMP", ["2025-01-02 00:00:00"], ["2025-01-01 23:59:59.999999", "2025-01-03 00:00:00"]),
            ("DATE", ["2025-01-02"], ["2025-01-01", "2025-01-03"]),
        ],
    )
    def test_a_backfill_reads_its_interval_and_moves_nothing(
        self, configs: Path, execution: str, type_: str, inside: list[str], outside: list[str]
    ) -> None:
        values = [
            *((n, value) for n, value in enumerate(inside)),
            *((100 + n, value) for n, value in enumerate(outside)),
        ]
        rows(configs, type_, *values)
        self.scoped(pipeline(key=True), "backfill", execution)
        assert ids() == list(range(len(inside)))
        assert held().state.cursor is None
        (marker,) = held().markers.values()
        step = CursorStep.from_json(marker.cursor)
        assert step is not None
        assert step.mode == "window"
        assert step.window is not None
        assert step.window.field == "n"

    def test_a_backfill_after_runs_leaves_the_cursor_and_is_no_double(self, configs: Path, execution: str) -> None:
        rows(
            configs,
            "TIMESTAMPTZ",
            (1, "2025-01-01 12:00:00+00"),
            (2, "2025-01-02 12:00:00+00"),
            (3, "2025-01-04 12:00:00+00"),
        )
        run(pipeline(), "one", execution)
        before = held().state
        self.scoped(pipeline(), "backfill", execution)
        self.scoped(pipeline(), "backfill", execution)
        assert held().state == before
        assert ids() == [1, 2, 3]

    def test_a_numeric_cursor_has_no_intervals(self, configs: Path, execution: str) -> None:
        rows(configs, "INTEGER", (1, "10"))
        with pytest.raises(TerminalError, match=r"INTEGER, no time.*a backfill is not possible"):
            self.scoped(pipeline(key=True), "backfill", execution)

    def test_records_without_a_value_belong_to_no_interval(self, configs: Path, execution: str) -> None:
        rows(configs, "TIMESTAMPTZ", (1, "2025-01-02 12:00:00+00"), (2, None))
        self.scoped(pipeline(key=True), "backfill", execution)
        assert ids() == [1]

    def test_a_backfill_leaves_to_the_next_run_what_that_one_appends(self, configs: Path, execution: str) -> None:
        rows(configs, "TIMESTAMPTZ", (1, "2025-01-02 12:00:00+00"))
        run(pipeline(), "one", execution)
        later = ((2, "2025-01-02 12:00:00+00"), (3, "2025-01-02 13:00:00+00"))
        rows(configs, "TIMESTAMPTZ", (1, "2025-01-02 12:00:00+00"), *later)
        self.scoped(pipeline(), "backfill", execution)
        assert ids() == [1]
        run(pipeline(), "two", execution)
        assert ids() == [1, 2, 3]

    def test_a_backfill_before_the_first_run_is_about_what_that_one_does_not_read(
        self, configs: Path, execution: str
    ) -> None:
        rows(configs, "TIMESTAMPTZ", (1, "2025-01-02 11:00:00+00"), (2, "2025-01-02 12:00:00+00"))
        with pytest.raises(TerminalError, match="no cursor yet"):
            self.scoped(pipeline(), "backfill", execution)
        begun = pipeline(source={"initial_value": "2025-01-02T12:00:00Z"})
        self.scoped(begun, "backfill", execution)
        assert ids() == [1]
        run(begun, "one", execution)
        assert ids() == [1, 2]


def test_dates_of_an_interval_are_those_whose_midnight_is_in_it() -> None:
    start, end = datetime(2025, 1, 1, 23, tzinfo=UTC), datetime(2025, 1, 2, 23, tzinfo=UTC)
    source = pipeline().inputs["source"]
    reading = cursor.Reading("source", source, CursorStep("window"), span=(start, end))
    edges = cursor._Edges(reading, {"n": "DATE"}, "n", "DATE", "date")
    assert edges.window() == Window("n", "2025-01-02", "2025-01-03", "DATE")


class TestSeveral:
    def config(self, **changes: Any) -> PipelineConfig:
        return parse(
            {
                "dag_id": "numbers",
                "sources": {
                    "a": {"type": "parquet", "path": "a.parquet", "cursor_field": "n"},
                    "b": {"type": "parquet", "path": "b.parquet", "cursor_field": "m"},
                },
                "transforms": [{"type": "select", "columns": ["id"]}, {"type": "union", "with": ["ids of b"]}],
                "destination": {"type": "memory"},
                **changes,
            }
        )

    @both
    def test_each_source_has_its_own_position(self, configs: Path, execution: str) -> None:
        config = self.config(transforms=[{"type": "sql", "query": "select id from a union all select id from b"}])
        write(configs, "SELECT 1 AS id, 10 AS n", "a.parquet")
        write(configs, "SELECT 2 AS id, DATE '2025-01-01' AS m", "b.parquet")
        run(config, execution=execution)
        write(configs, "SELECT 3 AS id, 20 AS n", "a.parquet")
        run(config, execution=execution)
        assert ids() == [1, 2, 3]
        assert (position("a")["value"], position("b")["value"]) == ("20", "2025-01-01")

    def test_steps_that_saw_different_states_do_not_merge(self) -> None:
        one = CursorStep("advance", {}, {"a": CursorPosition("n", "1", "INTEGER")})
        two = CursorStep("advance", {"a": CursorPosition("n", "1", "INTEGER")}, {})
        with pytest.raises(FencedError):
            cursor.merge([one, two])
        assert cursor.merge([None, one, None]) == one
        assert cursor.merge([None]) is None

    def test_a_load_between_two_extracts_makes_both_read_again(self, configs: Path) -> None:
        config = self.config(transforms=[{"type": "sql", "query": "select id from a union all select id from b"}])
        write(configs, "SELECT 1 AS id, 10 AS n", "a.parquet")
        write(configs, "SELECT 2 AS id, 10 AS m", "b.parquet")
        context = local(config, {}, run_id="slow")
        first = extract.run(config, "a", context)
        run(config, "quick")
        write(configs, "SELECT 3 AS id, 30 AS n", "a.parquet")
        second = extract.run(config, "b", context)
        load.run(config, 0, transform.run(config, {"a": first, "b": second}, context), context)
        assert ids() == [1, 2, 3]


class TestFence:
    def test_a_run_that_was_overtaken_reads_again_and_ends_right(self, configs: Path) -> None:
        rows(configs, "INTEGER", (1, "10"))
        slow = local(pipeline(), {}, run_id="slow")
        manifest = transform.run(pipeline(), {"source": extract.run(pipeline(), "source", slow)}, slow)
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        run(pipeline(), "quick")
        rows(configs, "INTEGER", (1, "10"), (2, "20"), (3, "30"))
        report = load.run(pipeline(), 0, manifest, slow)
        assert report["rows"] == 1
        assert ids() == [1, 2, 3]
        assert position()["value"] == "30"

    def test_a_twin_of_the_same_run_is_found_by_its_marker(
        self, configs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows(configs, "INTEGER", (1, "10"))
        one = local(pipeline(), {}, run_id="same")
        two = replace(one, attempt="2")
        monkeypatch.setattr(Staging, "remove_run", lambda *_: None)  # the twin has its records in hand already
        first, second = (
            transform.run(pipeline(), {"source": extract.run(pipeline(), "source", each)}, each) for each in (one, two)
        )
        load.run(pipeline(), 0, first, one)
        rows(configs, "INTEGER", (1, "10"), (2, "20"))
        load.run(pipeline(), 0, second, two)
        assert ids() == [1]
        run(pipeline(), "next")
        assert ids() == [1, 2]

    def test_a_fence_without_a_cursor_is_left_to_the_tasks_retries(self) -> None:
        plain = parse(
            {"dag_id": "numbers", "source": {"type": "csv", "path": "a.csv"}, "destination": {"type": "memory"}}
        )
        turns = []

        def stage(turn: int) -> None:
            turns.append(turn)
            raise FencedError("fenced off")

        with pytest.raises(FencedError):
            again.until_current(plain, stage)
        assert turns == [0]
        turns.clear()
        with pytest.raises(FencedError):
            again.until_current(pipeline(), stage)
        assert turns == list(range(again.ROUNDS))


class TestBounds:
    def test_a_source_learns_what_it_may_leave_out(self, configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Any] = []
        plain = ParquetSource.extract

        def spy(self: ParquetSource, context: ExtractContext) -> Any:
            seen.append(context.cursor)
            return plain(self, context)

        monkeypatch.setattr(ParquetSource, "extract", spy)
        rows(configs, "TIMESTAMPTZ", (1, "2025-01-01 12:00:00+00"))
        run(pipeline(source={"lookback": "1h", "initial_value": "2024-01-01"}, key=True))
        run(pipeline(source={"lookback": "1h"}, key=True))
        first, second = seen
        assert (first.lower, first.upper, first.type, first.nulls) == ("2024-01-01", None, "", True)
        assert (second.lower, second.upper) == ("2025-01-01 11:00:00+00", None)

    @pytest.mark.parametrize(
        ("type_", "value", "lookback", "lower"),
        [
            ("INTEGER", "10", 3, "7"),
            ("DECIMAL(10,2)", "10.50", 0.25, "10.25"),
            ("DATE", "2025-03-01", "36h", "2025-02-27"),
            ("TIMESTAMP", "2025-03-01 00:00:00", "1d", "2025-02-28 00:00:00"),
            ("TIMESTAMP", "0001-01-01 00:00:00", "1d", "0001-01-01 00:00:00"),
        ],
    )
    def test_lookbacks(self, type_: str, value: str, lookback: Any, lower: str) -> None:
        source = pipeline(source={"lookback": lookback}).inputs["source"]
        step = CursorStep("advance", {"source": CursorPosition("n", value, type_)})
        assert cursor.Reading("source", source, step).lower() == (lower, type_)

    @pytest.mark.parametrize(("type_", "value", "lookback"), [("INTEGER", "10", "1h"), ("VARCHAR", "a", 5)])
    def test_a_lookback_of_another_kind_is_located(self, type_: str, value: str, lookback: Any) -> None:
        source = pipeline(source={"lookback": lookback}).inputs["source"]
        step = CursorStep("advance", {"source": CursorPosition("n", value, type_)})
        with pytest.raises(ConfigError) as caught:
            cursor.Reading("source", source, step, place=("source",)).lower()
        assert caught.value.problems[0].path == ("source", "lookback")


class TestRefused:
    def test_a_cursor_needs_one_destination(self) -> None:
        config = parse(
            {
                "dag_id": "numbers",
                "source": {"type": "parquet", "path": "data.parquet", "cursor_field": "n"},
                "destination": [{"type": "memory"}, {"type": "memory", "table": "u"}],
            }
        )
        with pytest.raises(ConfigError) as caught:
            run(config)
        assert caught.value.problems[0].code == "incremental-several-destinations"

    def test_replace_would_remove_what_is_not_read(self, configs: Path) -> None:
        rows(configs, "INTEGER", (1, "10"))
        with pytest.raises(ConfigError) as caught:
            run(pipeline(destination={"type": "memory", "write_disposition": "replace"}))
        assert caught.value.problems[0].code == "conflicting-keys"


# ---- The model: a random sequence of appended records and runs is one read of all of them


class Model:
    """A source that grows, and a target that is read by cursor, at the level of one reading."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random, self.folder = random.Random(seed), folder
        self.con = duckdb.connect(config={"threads": 1})
        self.con.execute("SET TimeZone = 'UTC'")
        self.type = self.random.choice(["INTEGER", "DECIMAL(10,2)", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "DOUBLE"])
        self.records: list[tuple[int, int, int]] = []
        self.loaded: dict[str, list[tuple[Any, ...]]] = {}
        self.steps: dict[str, CursorStep] = {}
        self.state: dict[str, CursorPosition] = {}
        self.high = 0

    def grow(self) -> None:
        for _ in range(self.random.randrange(4)):
            # never below the greatest value that was read, which a cursor can't see; often exactly it
            value = self.high + self.random.choice([0, 0, 0, 1, 2])
            self.records.append((self.random.randrange(3), value, self.random.randrange(2)))
        self.random.shuffle(self.records)

    def read(self, run_id: str) -> None:
        config = pipeline().inputs["source"]
        known = self.steps.get(run_id)
        step = CursorStep("repeat", known.before, known.after) if known else CursorStep("advance", dict(self.state))
        con = self.con
        listed = ", ".join(f"({a}, {value}, {b})" for a, value, b in self.records) or "(0, 0, 0)"
        typed = "TIMESTAMP '2025-01-01' + to_hours(n::INTEGER)" if self.type.startswith("TIME") else "n"
        typed = "DATE '2025-01-01' + n::INTEGER" if self.type == "DATE" else typed
        con.execute(
            f"CREATE OR REPLACE VIEW source AS SELECT id, CAST({typed} AS {self.type}) AS n, b "
            f"FROM (VALUES {listed}) AS t(id, n, b) WHERE {'true' if self.records else 'false'}"
        )
        columns = {row[0]: row[1] for row in con.execute("DESCRIBE source").fetchall()}
        reading = cursor.Reading("source", config, step)
        cut = cursor.cut(con, Landed("source", columns), reading, self.folder / f"{len(self.loaded)}-{run_id}.parquet")
        self.loaded[run_id] = con.execute("SELECT id, CAST(n AS VARCHAR), b FROM source").fetchall()
        if known is None:
            self.steps[run_id] = cut.step
            self.state = dict(cut.step.after)
            self.high = max((value for _, value, _ in self.records), default=0)
        else:
            assert cut.step == step

    def all_of_them(self) -> Counter[tuple[Any, ...]]:
        return Counter(row for rows_ in self.loaded.values() for row in rows_)


@pytest.mark.parametrize("seeds", [range(first, first + 50) for first in range(0, 200, 50)], ids=str)
def test_any_sequence_of_growth_and_runs_is_one_read_of_all(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        model = Model(seed, folder)
        runs = model.random.randrange(2, 5)
        for number in range(runs):
            model.grow()
            model.read(f"run{number}")
            if model.random.random() < 0.4:
                model.grow()
                model.read(f"run{model.random.randrange(number + 1)}")
        model.read("last")
        expected = Model(seed, folder)
        expected.records = model.records
        expected.read("once")
        assert model.all_of_them() == expected.all_of_them(), f"seed {seed}"
        model.con.close()
        expected.con.close()


def test_the_cursor_of_a_step_survives_json() -> None:
    position = CursorPosition("n", "2025-01-01 00:00:00+00", "TIMESTAMP WITH TIME ZONE", ("a", "a", "b"))
    step = CursorStep("advance", {"source": position}, {"source": replace(position, value="x")})
    assert CursorStep.from_json(step.to_json()) == step
    assert cursor_to_json(step.before)["source"]["ties"] == ["a", "a", "b"]


def test_an_empty_file_of_an_untyped_source_moves_nothing(configs: Path) -> None:
    config = pipeline(source={"type": "json", "path": "data.ndjson"})
    (configs / "data.ndjson").write_text('{"id": 1, "n": 10}\n')
    run(config)
    (configs / "data.ndjson").write_text("")
    with pytest.raises(NothingToLoad, match="the cursor stays where it is"):
        run(config)
    assert position()["value"] == "10"


def test_a_header_alone_moves_nothing(configs: Path) -> None:
    config = pipeline(source={"type": "csv", "path": "data.csv"})
    (configs / "data.csv").write_text("id,n\n1,2025-01-01\n")
    run(config)
    (configs / "data.csv").write_text("id,n\n")
    run(config)
    assert position()["value"] == "2025-01-01"
