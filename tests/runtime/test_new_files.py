"""New files only: each is read once, whenever it comes, and what was read is committed with the rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests import s3_server

from dataforge.components.base import Connection
from dataforge.components.delivery import CursorStep
from dataforge.components.paths import filesystem
from dataforge.components.seen_files import MOST, ListedFile, is_at, known, position_of, taken_back
from dataforge.config.delivery import letter
from dataforge.config.incremental import problems
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import ConfigError, NothingToLoad, TerminalError, TransientError
from dataforge.runtime import extract, fused, ledgers, load, transform
from dataforge.runtime.context import TaskContext, local
from dataforge.runtime.new_files import NewFiles

UTC = timezone.utc
TARGETS: dict[str, dict[str, Any]] = {
    "duckdb": {"type": "duckdb", "table": "drops"},
    "parquet": {"type": "parquet", "path": "drops/"},
}
both = pytest.mark.parametrize("execution", ["staged", "fused"])
each = pytest.mark.parametrize("to", list(TARGETS))


@pytest.fixture(scope="module")
def s3() -> Iterator[Connection]:
    """A bucket `drops` on a real S3 server."""
    with s3_server.running("drops") as connection:
        yield connection


def pipeline(path: str | list[str] = "drop/*.csv", to: str = "duckdb", **source: Any) -> PipelineConfig:
    """A pipeline that reads new files."""
    reads = {"type": "csv", "path": path, "only_new": True, **source}
    return parse({"dag_id": "drops", "source": reads, "destination": TARGETS[to]})


def put(folder: Path, name: str, *ids: int, age: timedelta = timedelta(0)) -> Path:
    """Write a file of ids, as if that had been so long ago."""
    path = folder / "drop" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("id\n" + "".join(f"{id_}\n" for id_ in ids))
    then = (datetime.now(UTC) - age).timestamp()
    os.utime(path, (then, then))
    return path


def run(config: PipelineConfig, run_id: str, execution: str = "staged", **more: Any) -> None:
    """Run the pipeline as a scheduler or the command line would."""
    interval = more.pop("interval", None)
    context = replace(local(config, {}, interval, run_id=run_id), **more)
    if execution == "fused":
        fused.run(config, context)
        return
    load.run(config, 0, staged(config, context), context)


def staged(config: PipelineConfig, context: TaskContext) -> dict[str, Any]:
    """Extract and transform."""
    return transform.run(config, {"source": extract.run(config, "source", context)}, context)


def stored(home: Path, to: str = "duckdb") -> list[int]:
    """The ids in the target."""
    output = home / "dataforge" / "output"
    with duckdb.connect(":memory:" if to == "parquet" else str(output / "warehouse.duckdb")) as con:
        where = f"'{output}/drops/part-*.parquet'" if to == "parquet" else "drops"
        return [id_ for (id_,) in con.execute(f"SELECT id FROM {where} ORDER BY id").fetchall()]


@both
@each
def test_each_file_is_read_once_also_one_that_comes_late_with_an_older_time(
    configs: Path, home: Path, execution: str, to: str
) -> None:
    config = pipeline(to=to)
    put(configs, "b.csv", 1, 2)
    run(config, "one", execution)
    put(configs, "a.csv", 3, age=timedelta(days=400))
    run(config, "two", execution)
    with pytest.raises(NothingToLoad, match="nothing is new"):
        run(config, "three", execution)
    assert stored(home, to) == [1, 2, 3]


def test_files_of_the_same_time_are_told_apart(configs: Path, home: Path) -> None:
    config = pipeline()
    first = put(configs, "a.csv", 1)
    run(config, "one")
    second = put(configs, "b.csv", 2)
    os.utime(second, ns=(first.stat().st_mtime_ns, first.stat().st_mtime_ns))
    run(config, "two")
    assert stored(home) == [1, 2]


def test_a_replaced_file_is_new_again(configs: Path, home: Path) -> None:
    config = pipeline()
    put(configs, "a.csv", 1)
    run(config, "one")
    put(configs, "a.csv", 1, 2)
    run(config, "two")
    assert stored(home) == [1, 1, 2]
    (delivery,) = letter(config)
    assert delivery.letter == "A"
    assert "replaced" in delivery.reason


def test_a_run_that_failed_leaves_its_files_to_the_next(configs: Path, home: Path) -> None:
    config = pipeline()
    put(configs, "a.csv", 1)
    staged(config, local(config, {}, run_id="never loaded"))
    put(configs, "b.csv", 2)
    run(config, "two")
    assert stored(home) == [1, 2]


@both
def test_a_cleared_run_reads_its_own_files_again_and_no_others(configs: Path, home: Path, execution: str) -> None:
    config = pipeline()
    put(configs, "a.csv", 1)
    run(config, "one", execution)
    put(configs, "b.csv", 2)
    run(config, "two", execution)
    put(configs, "c.csv", 3)
    run(config, "one", execution)
    assert stored(home) == [1, 2]
    run(config, "three", execution)
    assert stored(home) == [1, 2, 3]


def test_a_cleared_run_whose_file_is_gone_keeps_its_rows(configs: Path, home: Path) -> None:
    config = pipeline()
    path = put(configs, "a.csv", 1)
    put(configs, "b.csv", 2)
    run(config, "one")
    path.unlink()
    with pytest.raises(TerminalError, match="1 of the 2 files"):
        run(config, "one")
    assert stored(home) == [1, 2]


def test_two_runs_at_once_load_a_file_once(configs: Path, home: Path) -> None:
    config = pipeline()
    put(configs, "a.csv", 1)
    slow = local(config, {}, run_id="slow")
    manifest = staged(config, slow)
    run(config, "quick")
    put(configs, "b.csv", 2)
    load.run(config, 0, manifest, slow)  # fenced off, so it reads anew
    assert stored(home) == [1, 2]


@each
def test_an_undo_gives_the_files_back_whichever_loads_came_later(configs: Path, home: Path, to: str) -> None:
    config = pipeline(to=to)
    for number, name in enumerate(("a", "b", "c"), 1):
        put(configs, f"{name}.csv", number)
        run(config, name)
    with ledgers.opened(config, 0, local(config, {})) as ledger:
        undone = ledger.undo("b", "me")
    assert (undone.removed, undone.cursor_moved, undone.note) == (1, True, "")
    assert stored(home, to) == [1, 3]
    run(config, "again")
    assert stored(home, to) == [1, 2, 3]
    with ledgers.opened(config, 0, local(config, {})) as ledger:
        assert ledger.state().cursor["source"]["seen"]  # type: ignore[index]
        assert all("seen" not in record.cursor["after"]["source"] for record in ledger.loads() if record.cursor)


def test_files_that_were_just_changed_wait(configs: Path, home: Path) -> None:
    config = pipeline(min_age="1m")
    put(configs, "old.csv", 1, age=timedelta(minutes=2))
    put(configs, "young.csv", 2)
    run(config, "one")
    assert stored(home) == [1]


def test_a_file_that_changes_after_it_was_listed_is_not_loaded(
    configs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pipeline()
    path = put(configs, "a.csv", 1)
    choose = NewFiles.choose

    def slow(self: NewFiles, there: Any) -> list[ListedFile]:
        found = choose(self, there)
        path.write_text("id\n1\n2\n")
        return found

    monkeypatch.setattr(NewFiles, "choose", slow)
    with pytest.raises(TransientError, match="changed after it was listed"):
        run(config, "one")


def test_a_backfill_reads_the_unread_files_of_its_interval(configs: Path, home: Path) -> None:
    config = pipeline()
    put(configs, "now.csv", 1)
    put(configs, "then.csv", 2, age=timedelta(days=10))
    now = datetime.now(UTC)
    run(config, "then", interval=(now - timedelta(days=11), now - timedelta(days=9)))
    assert stored(home) == [2]
    run(config, "one")
    assert stored(home) == [1, 2]


def test_a_backfill_of_a_path_with_a_date_reads_the_files_of_that_date(configs: Path, home: Path) -> None:
    config = pipeline("drop/${data_interval_start:%Y-%m-%d}-*.csv")
    put(configs, "2024-05-01-a.csv", 1)
    put(configs, "2024-05-02-a.csv", 2)
    day = datetime(2024, 5, 1, tzinfo=UTC)
    run(config, "first", interval=(day, day + timedelta(days=1)))
    put(configs, "2024-05-01-late.csv", 3)
    run(config, "first again", interval=(day, day + timedelta(days=1)))
    assert stored(home) == [1, 3]


def test_one_of_several_sources_without_new_files_is_empty_where_its_columns_are_known(
    configs: Path, home: Path
) -> None:
    def several(**more: Any) -> PipelineConfig:
        sources = {name: {"type": "csv", "path": f"drop/{name}*.csv", "only_new": True, **more} for name in ("a", "b")}
        return parse(
            {
                "dag_id": "drops",
                "sources": sources,
                "transforms": [{"type": "union", "input": "a", "with": ["b"]}],
                "destination": TARGETS["duckdb"],
            }
        )

    put(configs, "a1.csv", 1)
    with pytest.raises(TerminalError, match="set 'columns'"):
        run(several(), "one", "fused")
    run(several(columns={"id": "bigint"}), "one", "fused")
    put(configs, "b1.csv", 2)
    run(several(columns={"id": "bigint"}), "two", "fused")
    assert stored(home) == [1, 2]


def test_the_cursor_of_records_is_not_taken_for_files(configs: Path, home: Path) -> None:
    put(configs, "a.csv", 1)
    records = parse(
        {
            "dag_id": "drops",
            "source": {"type": "csv", "path": "drop/*.csv", "cursor_field": "id"},
            "destination": TARGETS["duckdb"],
        }
    )
    run(records, "one")
    with pytest.raises(TerminalError, match="cursor reset"):
        run(pipeline(), "two")


def test_what_contradicts_new_files_is_said_when_the_config_is_checked() -> None:
    with pytest.raises(ConfigError, match="remove one of the two"):
        pipeline(cursor_field="id")
    with pytest.raises(ConfigError, match="no effect without 'only_new'"):
        pipeline(only_new=False, min_age="1m")
    several = parse(
        {
            "dag_id": "drops",
            "source": {"type": "csv", "path": "a.csv", "only_new": True},
            "destination": [TARGETS["duckdb"], TARGETS["parquet"]],
        }
    )
    (problem,) = problems(several)
    assert (problem.code, problem.path) == ("incremental-several-destinations", ("source", "only_new"))


@both
def test_new_objects_in_s3_are_read_once(configs: Path, home: Path, s3: Connection, execution: str) -> None:
    fs = filesystem(s3)
    prefix = f"drops/{execution}"
    config = pipeline(f"s3://{prefix}/**/*.csv", connection="lake")
    here: dict[str, Any] = {"connection": lambda _: s3}
    fs.pipe_file(f"{prefix}/2025/01/b.csv", b"id\n1\n")
    run(config, "one", execution, **here)
    fs.pipe_file(f"{prefix}/2025/01/a.csv", b"id\n2\n")
    fs.pipe_file(f"{prefix}/2025/02/b.csv", b"id\n3\n")
    fs.touch(f"{prefix}/2025/03/")
    run(config, "two", execution, **here)
    with pytest.raises(NothingToLoad):
        run(config, "three", execution, **here)
    assert stored(home) == [1, 2, 3]


def test_an_object_replaced_between_listing_and_reading_is_not_loaded(
    configs: Path, home: Path, s3: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = filesystem(s3)
    fs.pipe_file("drops/swap/a.csv", b"id\n1\n")
    choose = NewFiles.choose

    def slow(self: NewFiles, there: Any) -> list[ListedFile]:
        found = choose(self, there)
        fs.pipe_file("drops/swap/a.csv", b"id\n2\n")
        return found

    monkeypatch.setattr(NewFiles, "choose", slow)
    with pytest.raises(TransientError, match="replaced while it was read"):
        run(pipeline("s3://drops/swap/*.csv", connection="lake"), "one", connection=lambda _: s3)


def test_positions_hold_many_files_and_tell_where_they_end() -> None:
    files = [ListedFile(f"s3://b/{number}", "etag") for number in range(1000)]
    position = position_of((one.digest for one in files), [files[0].digest])
    assert known(position) == {one.digest for one in files}
    assert len(position.seen) == 16_000
    assert position.ties == (files[0].digest,)
    with pytest.raises(TerminalError, match="at most"):
        position_of(f"{number:016d}" for number in range(MOST + 1))


def test_an_undo_takes_exactly_its_own_files_out_of_the_set() -> None:
    a, b, c = (ListedFile(name, "1").digest for name in "abc")
    first = CursorStep("advance", {}, {"s": position_of([a], [a])})
    second = CursorStep("advance", first.after, {"s": position_of([a, b], [b])})
    third = CursorStep("advance", second.after, {"s": position_of([a, b, c], [c])})
    state = third.to_json()["after"]
    marker = CursorStep.from_json(second.to_marker())
    assert marker is not None
    assert not is_at(state, marker.after)
    left, moved = taken_back(state, marker)
    assert moved
    assert known(CursorStep("advance", {}, {}).from_json({**third.to_json(), "after": left}).after["s"]) == {a, c}  # type: ignore[union-attr]
    assert taken_back(first.to_json()["after"], first) == (None, True)
