"""What the file destinations remember of their loads: cursors, contracts, dead letters, undo, guards, older folders."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests import s3_server
from tests.destinations.conftest import Rows, rows

from dataforge.components.base import Connection, LoadContext, LoadReport
from dataforge.components.delivery import (
    CursorPosition,
    CursorStep,
    Ledger,
    Reject,
    RejectLimit,
    SchemaContract,
    Window,
)
from dataforge.components.paths import filesystem
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations import _file_ledger
from dataforge.destinations._file_place import Bucket
from dataforge.destinations.csv_ import CsvConfig
from dataforge.destinations.ndjson import NdjsonConfig
from dataforge.destinations.parquet import ParquetConfig
from dataforge.errors import ConfigError, FencedError, TerminalError, TransientError
from dataforge.settings import get_settings

Context = Callable[..., LoadContext]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The deployment's output folder."""
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    monkeypatch.setattr(_file_ledger, "GRACE", timedelta(seconds=-5))
    get_settings.cache_clear()
    yield tmp_path / "output"
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def lake() -> Iterator[Connection]:
    with s3_server.running("lake") as connection:
        yield connection


@pytest.fixture(params=["local", "s3"])
def target(request: pytest.FixtureRequest, output: Path, context: Context, lake: Connection, tmp_path: Path) -> Target:
    """A target in a folder, and one in a bucket."""
    if request.param == "local":
        return Target({}, context)
    return Target({"connection": "lake"}, lambda **more: context(lake, **more), f"s3://lake/{tmp_path.name}/")


class Target:
    """Loads into one place as runs of one pipeline."""

    def __init__(self, config: dict[str, Any], make: Callable[..., LoadContext], base: str = "") -> None:
        self.config, self.make, self.base = config, make, base

    def context(self, run: str, **more: Any) -> LoadContext:
        key = f"{abs(hash(run)):016x}"[-16:]
        target = "dataforge://files/orders/"
        return replace(
            self.make(run_key=key), **{"run_id": run, "target": target, "digest": f"digest of {run}", **more}
        )

    def build(self, config: dict[str, Any]) -> Any:
        whole = {"type": "parquet", **self.config, **config}
        whole["path"] = self.base + whole.get("path", "orders/")
        component = DESTINATIONS.get(whole["type"])
        return DESTINATIONS.build(component.config.model_validate(whole))

    def load(self, run: str, incoming: Rows, config: dict[str, Any] | None = None, **more: Any) -> LoadReport:
        report: LoadReport = self.build(config or {}).load(incoming, self.context(run, **more))
        return report

    def ledger(self, config: dict[str, Any] | None = None) -> Any:
        return self.build(config or {}).ledger(self.context("any"))

    def live(self, config: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self.ledger(config) as ledger:
            place = ledger.book.place
            manifest, _ = ledger.book.read()
            tables = [pq.read_table(pa.BufferReader(place.read(part.name))) for part in manifest.parts]
        return sorted((row for table in tables for row in table.to_pylist()), key=repr)


REPLACE = {"write_disposition": "replace"}
SINGLE = {"write_disposition": "replace", "path": "orders.parquet"}


def at(value: int | None) -> dict[str, CursorPosition]:
    return {} if value is None else {"source": CursorPosition("id", str(value), "BIGINT", ("tie",))}


def advance(before: int | None, after: int) -> CursorStep:
    return CursorStep("advance", at(before), at(after))


@pytest.mark.parametrize("config", [{}, REPLACE, SINGLE])
def test_the_same_records_again_are_not_written_again(target: Target, config: dict[str, Any]) -> None:
    first = target.load("one", rows(id=[1, 2]), config)
    broken = Rows([pa.record_batch({"id": [1]})], fail_after=0)  # nothing is read
    again = target.load("one", broken, config)
    assert again.already
    assert (again.rows, again.target, again.inserted) == (2, first.target, 2)
    other = target.load("one", rows(id=[3, 4]), config, digest="another")
    assert (other.already, other.deleted) == (False, 2)
    assert target.live(config) == [{"id": 3}, {"id": 4}]
    with target.ledger(config) as ledger:
        assert [(one.run_id, one.digest, one.rows) for one in ledger.loads()] == [("one", "another", 2)]


@pytest.mark.parametrize("config", [{}, SINGLE])
def test_records_whose_data_were_damaged_since_are_loaded_again(
    target: Target, config: dict[str, Any], tmp_path: Path
) -> None:
    report = target.load("one", rows(id=[1, 2]), config)
    (tmp_path / "damage").write_bytes(b"PAR1 damaged PAR1")
    with target.ledger(config) as ledger:
        place = ledger.book.place
        name = report.target.rsplit("/", 1)[1]
        place.publish(tmp_path / "damage", name)
        assert any("changed" in line for line in ledger.verify())
    assert not target.load("one", rows(id=[1, 2]), config).already
    assert target.live(config) == [{"id": 1}, {"id": 2}]
    with target.ledger(config) as ledger:
        assert ledger.verify() == []


def test_the_cursor_moves_with_the_rows_and_fences_others_off(target: Target) -> None:
    with target.ledger() as ledger:
        assert ledger.state().cursor is None
    target.load("one", rows(id=[1]), cursor=advance(None, 1))
    target.load("two", rows(id=[2]), cursor=advance(1, 2))
    with pytest.raises(FencedError, match="fenced off"):
        target.load("three", rows(id=[2]), cursor=advance(1, 2))
    assert target.load("one", rows(id=[1]), cursor=advance(None, 1)).already
    repeated = replace(advance(None, 1), mode="repeat")
    target.load("one", rows(id=[1, 1]), cursor=repeated, digest="again")
    assert target.live() == [{"id": 1}, {"id": 1}, {"id": 2}]
    with target.ledger() as ledger:
        state = ledger.state()
        assert state.cursor == {"source": {"field": "id", "value": "2", "type": "BIGINT", "ties": ["tie"]}}
        assert state.epoch == 3
        assert ledger.load("two").rows == 1
        assert ledger.load("unknown") is None
        ledger.set_cursor(None, "somebody")
        assert (ledger.state().cursor, ledger.state().epoch) == (None, 4)
    with pytest.raises(FencedError):
        target.load("three", rows(id=[3]), cursor=advance(2, 3))
    target.load("three", rows(id=[3]), cursor=advance(None, 3))


def test_new_records_are_not_put_in_the_place_of_a_run_s_own(target: Target) -> None:
    target.load("one", rows(id=[1]), cursor=advance(None, 1))
    with pytest.raises(FencedError, match="loaded before"):
        target.load("one", rows(id=[2]), cursor=advance(1, 2), digest="another")
    assert target.live() == [{"id": 1}]


def test_a_backfill_replaces_the_backfill_of_its_interval_and_nothing_else(target: Target) -> None:
    def window(start: int, end: int) -> CursorStep:
        return CursorStep(
            "window", window=Window("at", f"2026-01-0{start}T00:00:00Z", f"2026-01-0{end}T00:00:00+00:00")
        )

    target.load("a", rows(id=[1]), cursor=window(1, 2))
    target.load("b", rows(id=[2]), cursor=window(2, 3))
    assert target.load("c", rows(id=[3]), cursor=window(1, 2)).deleted == 1
    assert target.live() == [{"id": 2}, {"id": 3}]
    target.load("d", rows(id=[4]), cursor=window(1, 3))
    assert target.live() == [{"id": 4}]
    with pytest.raises(TerminalError, match="can't be cut out of files"):
        target.load("e", rows(id=[5]), cursor=window(2, 4))
    target.load("live", rows(id=[6]), cursor=advance(None, 6))
    with pytest.raises(TerminalError, match="can't be cut out of files"):
        target.load("f", rows(id=[7]), cursor=window(5, 6))
    assert target.live() == [{"id": 4}, {"id": 6}]
    with target.ledger() as ledger:
        assert ledger.state().cursor["source"]["value"] == "6"


@pytest.mark.parametrize("config", [REPLACE, SINGLE])
def test_a_replace_by_nothing_or_by_few_rows_needs_leave(target: Target, config: dict[str, Any]) -> None:
    empty = Rows([pa.record_batch({"id": pa.array([], pa.int64())})])
    target.load("first", empty, config)  # where there was nothing, nothing is lost
    target.load("one", rows(id=[1, 2, 3, 4, 5]), config)
    before = target.live(config)
    with pytest.raises(TerminalError, match=r"no rows, where there are 5 rows.*allow_empty"):
        target.load("two", empty, config)
    with pytest.raises(TerminalError, match=r"2 of 5 rows.*allow_shrink"):
        target.load("two", rows(id=[1, 2]), config)
    assert target.live(config) == before
    with target.ledger(config) as ledger:
        assert [one.run_id for one in ledger.loads()] == ["one", "first"]
        assert ledger.sweep() == []
    target.load("three", rows(id=[1, 2]), {**config, "allow_shrink": True})
    target.load("four", empty, {**config, "allow_empty": True})
    assert target.live(config) == []


def test_the_guard_counts_a_parquet_file_that_others_wrote(output: Path, context: Context) -> None:
    output.mkdir()
    pq.write_table(pa.table({"id": [1] * 10}), output / "orders.parquet")
    target = Target({}, context)
    with pytest.raises(TerminalError, match="4 of 10 rows"):
        target.load("one", rows(id=[1, 2, 3, 4]), SINGLE)
    (output / "orders.csv").write_text("id\n1\n")
    with pytest.raises(TerminalError, match="an unknown number of rows"):
        target.load(
            "one",
            Rows([pa.record_batch({"id": pa.array([], pa.int64())})]),
            {**SINGLE, "type": "csv", "path": "orders.csv"},
        )


def test_dead_letters_are_kept_with_the_rows_and_replayed_once(target: Target) -> None:
    rejects = [Reject("check", "too small", '{"id": -1}', "source", 2, "id", "record 7", '{"id": "BIGINT"}')] * 2
    report = target.load("one", rows(id=[1]), rejects=rejects)
    assert report.rejected == 2
    with target.ledger() as ledger:
        kept = ledger.dead_letters("one", pending=True)
        assert [one.reject for one in kept] == rejects
        assert len({one.id for one in kept}) == 2
        assert ledger.dead_letter_counts() == (2, 2)
    ids = tuple(one.id for one in kept)
    target.load("replay", rows(id=[-1]), replays=ids[:1])
    with pytest.raises(TransientError, match="replayed by another load"):
        target.load("replay 2", rows(id=[-1]), replays=ids)
    with target.ledger() as ledger:
        assert [one.id for one in ledger.dead_letters(pending=True)] == [ids[1]]
        assert ledger.dead_letter_counts() == (2, 1)
        assert ledger.dead_letters(ids=ids[:1])[0].replayed_by == target.context("replay").run_key
        ledger.undo("replay", "somebody")
        assert len(ledger.dead_letters(pending=True)) == 2
    target.load("one", rows(id=[1]), rejects=rejects[:1], digest="another")
    with target.ledger() as ledger:
        assert len(ledger.dead_letters()) == 1
        ledger.sweep()
        names = ledger.book.place.listing("_dataforge/dead_letters", "")
        assert len(names) == 1
        ledger.undo("one", "somebody")
        assert ledger.dead_letters() == []


def test_a_load_that_was_appended_is_taken_back(target: Target) -> None:
    target.load("one", rows(id=[1]), cursor=advance(None, 1))
    target.load("two", rows(id=[2, 3]), cursor=advance(1, 3))
    with target.ledger() as ledger:
        undone = ledger.undo("two", "somebody")
        assert (undone.removed, undone.restored, undone.cursor_moved) == (2, 0, True)
        assert ledger.state().cursor["source"]["value"] == "1"
        assert ledger.load("two") is None
        assert ledger.loads()[0].undone_at is not None
        with pytest.raises(TerminalError, match="taken back before"):
            ledger.undo("two", "somebody")
        with pytest.raises(TerminalError, match="no load of run 'three'"):
            ledger.undo("three", "somebody")
    assert target.live() == [{"id": 1}]
    assert not target.load("two", rows(id=[2, 3]), cursor=advance(1, 3)).already
    with target.ledger() as ledger:
        undone = ledger.undo("one", "somebody")
        assert (undone.cursor_moved, "cursor stays" in undone.note) == (False, True)
    assert target.live() == [{"id": 2}, {"id": 3}]


@pytest.mark.parametrize("config", [REPLACE, SINGLE])
def test_a_replace_is_taken_back_where_the_data_before_were_kept(target: Target, config: dict[str, Any]) -> None:
    keep = {**config, "keep_previous": True}
    target.load("one", rows(id=[1, 2]), config)
    with target.ledger(config) as ledger, pytest.raises(TerminalError, match="keep_previous"):
        ledger.undo("one", "somebody")
    target.load("two", rows(id=[3]), keep)
    target.load("two", rows(id=[4]), keep, digest="another")  # what it replaced at first is still what comes back
    with target.ledger(config) as ledger, pytest.raises(TerminalError, match="replaced its data since"):
        ledger.undo("one", "somebody")
    with target.ledger(config) as ledger:
        undone = ledger.undo("two", "somebody")
        assert (undone.removed, undone.restored) == (1, 2)
        assert ledger.sweep() == []
        assert ledger.verify() == []
        left = ledger.book.place.listing("", "")
        assert len([name for name in left if "/" not in name and name.endswith("parquet")]) == 1
    assert target.live(config) == [{"id": 1}, {"id": 2}]


def test_the_contract_evolve_takes_columns_as_they_come_and_says_so(target: Target) -> None:
    target.load("one", Rows([pa.record_batch({"id": pa.array([1]), "x": pa.array([1], pa.int32()), "n": pa.nulls(1)})]))
    report = target.load("two", rows(id=[2], y=["new"], x=[2**40]))
    assert report.schema_version == 2
    assert any("'y' is new" in note for note in report.schema_notes)
    assert any("'n'" in note and "missing" in note for note in report.schema_notes)
    assert any("'x' was int32 and is int64" in note for note in report.schema_notes)
    report = target.load(
        "three", Rows([pa.record_batch({"id": pa.array([3], pa.int16()), "x": pa.array([5], pa.int32())})])
    )
    assert report.schema_version == 2
    with target.ledger() as ledger:
        place, manifest = ledger.book.place, ledger.book.read()[0]
        schemas = [pq.read_schema(pa.BufferReader(place.read(part.name))) for part in manifest.parts]
    assert schemas[1].equals(schemas[2])
    assert schemas[2].names == ["id", "x", "n", "y"]


def test_the_contract_freeze_refuses_before_anything_is_written(target: Target) -> None:
    frozen = SchemaContract(default="freeze")
    target.load("one", rows(id=[1]), contract=frozen)
    unread = Rows([pa.record_batch({"id": ["a"], "y": [1]})], fail_after=0)
    with pytest.raises(ConfigError) as caught:
        target.load("two", unread, contract=frozen)
    assert {problem.code for problem in caught.value.problems} == {"contract-frozen"}
    assert len(caught.value.problems) == 2
    assert target.live() == [{"id": 1}]


def test_the_contract_discard_value_and_discard_row(target: Target) -> None:
    target.load("one", rows(id=[1], x=[1]))
    drop = SchemaContract(default="discard_value")
    report = target.load("two", Rows([pa.record_batch({"id": [2, 3], "x": [2.5, 3.0], "y": [1, 2]})]), contract=drop)
    assert (report.rows, report.rejected, report.schema_version) == (2, 0, 1)
    strict = SchemaContract(columns={"x": "discard_row", "y": "discard_row"})
    mixed = Rows([pa.record_batch({"id": [4, 5, 6], "x": [4.0, 5.5, 6.0], "y": [None, None, 1]})])
    with pytest.raises(TerminalError):
        target.load("three", mixed, contract=strict)
    report = target.load("three", mixed, contract=strict, limit=RejectLimit(1, 10), rows_read=3)
    assert (report.rows, report.rejected) == (1, 2)
    with target.ledger() as ledger:
        letters = ledger.dead_letters()
    assert [json.loads(one.reject.record)["id"] for one in letters] == [5, 6]
    assert {one.reject.stage for one in letters} == {"contract"}
    assert [json.loads(one.reject.types) for one in letters] == [{"id": "BIGINT", "x": "DOUBLE", "y": "BIGINT"}] * 2
    assert target.live() == [{"id": 1, "x": 1}, {"id": 2, "x": None}, {"id": 3, "x": 3}, {"id": 4, "x": 4}]
    with pytest.raises(TerminalError, match="max_share"):
        target.load("four", mixed, contract=strict, limit=RejectLimit(0.5, 10), rows_read=3)


@pytest.mark.parametrize("config", [{}, SINGLE])
def test_a_dry_run_writes_nothing(target: Target, config: dict[str, Any]) -> None:
    target.load("one", rows(id=[1]), config)
    with target.ledger(config) as ledger:
        seen = ledger.book.place.ledger()
    report = target.load("two", rows(id=[2], y=[1]), config, dry_run=True)
    assert (report.inserted, report.deleted, report.schema_version) == (1, 1 if config else 0, 2)
    with target.ledger(config) as ledger:
        assert ledger.book.place.ledger() == seen
        assert ledger.sweep() == []
    assert target.live(config) == [{"id": 1}]


def test_parts_from_before_there_were_manifests_stay_live_and_other_files_alone(output: Path, context: Context) -> None:
    folder = output / "orders"
    folder.mkdir(parents=True)
    target = Target({}, context)
    own = f"part-{target.context('old').run_key}.parquet"
    pq.write_table(pa.table({"id": [1]}), folder / own)
    pq.write_table(pa.table({"id": [2]}), folder / "part-0123456789abcdef.parquet")
    for foreign in ("part-00000-1a2b3c4d.parquet", "orders.csv", "part-x.txt"):
        (folder / foreign).write_text("foreign")
    target.load("old", rows(id=[3]))
    assert target.live() == [{"id": 2}, {"id": 3}]
    assert not (folder / own).exists()
    target.load("new", rows(id=[4]), REPLACE)
    with target.ledger() as ledger:
        ledger.sweep()
    assert target.live() == [{"id": 4}]
    left = {path.name for path in folder.iterdir() if path.is_file() and not path.name.endswith("parquet")}
    assert left == {"orders.csv", "part-x.txt"}
    assert (folder / "part-00000-1a2b3c4d.parquet").read_text() == "foreign"
    assert len(list(folder.glob("*.parquet"))) == 2


def test_an_append_without_rows_adds_no_part(target: Target) -> None:
    empty = Rows([pa.record_batch({"id": pa.array([], pa.int64())})])
    target.load("one", rows(id=[1]))
    assert target.load("two", empty, cursor=advance(None, 1)).rows == 0
    assert target.load("two", empty, cursor=advance(None, 1)).already
    with target.ledger() as ledger:
        assert len(ledger.book.read()[0].parts) == 1
        assert ledger.sweep() == []
        assert ledger.load("two") is not None


def test_markers_are_bounded_and_a_live_part_still_tells_of_its_load(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataforge.destinations._file_manifest.MARKERS", 2)
    for run in ("one", "two", "three", "four"):
        target.load(run, rows(id=[1]))
    with target.ledger() as ledger:
        assert [one.run_id for one in ledger.loads()] == ["four", "three"]
        found = ledger.load("one")
        assert found is not None
        assert found.rows == 1
    assert target.load("one", rows(id=[1])).already


def test_pipelines_that_share_a_folder_have_cursors_of_their_own(target: Target) -> None:
    target.load("one", rows(id=[1]), cursor=advance(None, 1))
    target.load("other", rows(id=[2]), cursor=advance(None, 2), dag_id="another")
    with target.ledger() as ledger:
        assert ledger.state().cursor["source"]["value"] == "1"
        assert [one.run_id for one in ledger.loads()] == ["one"]
    assert target.live() == [{"id": 1}, {"id": 2}]


def test_single_files_and_a_dataset_in_one_folder_do_not_meet(output: Path, context: Context) -> None:
    target = Target({}, context)
    rejects = [Reject("check", "no", "{}")]
    configs: list[dict[str, Any]] = [
        {"path": "d/"},
        *({**SINGLE, "path": f"d/{name}.parquet"} for name in ("a", "manifest")),
    ]
    for config in configs:
        target.load("one", rows(id=[1]), config, rejects=rejects)
    for config in configs:
        with target.ledger(config) as ledger:
            assert ledger.sweep() == []
    for config in configs:
        with target.ledger(config) as ledger:
            assert len(ledger.dead_letters()) == 1


def test_an_unreadable_or_newer_manifest_is_refused(output: Path, context: Context) -> None:
    target = Target({}, context)
    target.load("one", rows(id=[1]))
    path = output / "orders" / "_dataforge" / "manifest.json"
    whole = path.read_text()
    for text in (whole[:-5], whole.replace('"format":1', '"format":2'), "[]", "null"):
        path.write_text(text)
        with pytest.raises(TerminalError, match="manifest"):
            target.load("two", rows(id=[2]))
        assert path.read_text() == text


@pytest.mark.parametrize("model", [CsvConfig, NdjsonConfig, ParquetConfig])
def test_merge_and_our_own_folder_are_refused_at_validation(model: Any) -> None:
    with pytest.raises(ValidationError, match="table destination"):
        model(path="orders/", write_disposition="merge")
    with pytest.raises(ValidationError, match="_dataforge"):
        model(path="orders/_dataforge/")


def test_the_ledger_keeps_its_protocol(output: Path, context: Context) -> None:
    with Target({}, context).ledger() as ledger:
        kept: Ledger = ledger
        assert kept.loads() == []
        assert kept.sweep() == []
    assert not (output / "orders" / "_dataforge" / "manifest.json").exists()


@pytest.mark.parametrize("config", [{}, REPLACE, SINGLE])
def test_a_request_whose_answer_was_lost_is_not_done_twice(
    target: Target, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not target.base:
        pytest.skip("a rename has no answer that could be lost")
    target.load("one", rows(id=[1]), config)
    # The client sends a request again when no answer comes; the second one fails, as the first has changed the ETag.
    put = Bucket._put
    monkeypatch.setattr(Bucket, "_put", lambda self, *a, **b: put(self, *a, **b) and put(self, *a, **b))
    report = target.load("two", rows(id=[2]), config)
    assert (report.rows, report.already) == (1, False)
    assert target.live(config) == ([{"id": 2}] if config else [{"id": 1}, {"id": 2}])
    with target.ledger(config) as ledger:
        assert [one.run_id for one in ledger.loads()] == ["two", "one"]
        assert ledger.sweep() == []
        epoch = ledger.state().epoch
        ledger.set_cursor(None, "somebody")
        assert ledger.state().epoch == epoch + 1


def test_a_large_object_is_uploaded_in_parts_and_abandoned_uploads_are_swept(
    target: Target, monkeypatch: pytest.MonkeyPatch, lake: Connection
) -> None:
    if not target.base:
        pytest.skip("only S3 has uploads in parts")
    monkeypatch.setattr("dataforge.destinations._file_place.CHUNK", 5 * 1024 * 1024)
    noise = rows(id=[random.randbytes(1024 * 1024) for _ in range(7)])
    assert target.load("one", noise, SINGLE).bytes > 5 * 1024 * 1024
    assert len(target.live(SINGLE)) == 7
    bucket, _, key = target.base.removeprefix("s3://").partition("/")
    where = {"Bucket": bucket, "Key": f"{key}orders.parquet"}
    filesystem(lake).call_s3("create_multipart_upload", **where)
    with target.ledger(SINGLE) as ledger:
        assert len(ledger.sweep()) == 1
        assert ledger.sweep() == []
    assert target.load("one", noise, SINGLE).already


@pytest.mark.parametrize("type_", ["csv", "ndjson"])
def test_text_files_keep_a_ledger_too(output: Path, context: Context, type_: str) -> None:
    target = Target({"type": type_}, context)
    target.load("one", rows(id=[1], x=["a"]))
    report = target.load("two", rows(id=[2]))
    assert target.load("two", rows(id=[2])).already
    (text,) = (output / "orders").glob(f"{Path(report.target).name}")
    assert text.read_text() == ("id,x\n2,\n" if type_ == "csv" else '{"id":2,"x":null}\n')
