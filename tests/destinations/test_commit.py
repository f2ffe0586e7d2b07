"""The commit protocol of the table destinations, the same on PostgreSQL and DuckDB."""

from __future__ import annotations

import dataclasses
import random
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataforge.components.base import LoadContext, LoadReport
from dataforge.components.delivery import (
    CursorPosition,
    CursorStep,
    Ledger,
    Reject,
    RejectLimit,
    SchemaContract,
    Window,
    cursor_to_json,
)
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._ledger import STAGE
from dataforge.destinations._table import RUN_COLUMN
from dataforge.errors import ConfigError, FencedError, TerminalError, TransientError
from dataforge.runtime.connections import lookup
from dataforge.testing import Rows

Row = dict[str, Any]
ALL, NONE = RejectLimit(1.0, 1000), RejectLimit()


@dataclass
class Place:
    """One database and one table in it of its own."""

    kind: str
    scratch: Path
    table: str
    pipeline: str = "orders"

    def destination(self, **config: Any) -> Any:
        base = {"type": self.kind, "table": self.table}
        base |= {"connection": "warehouse"} if self.kind == "postgres" else {}
        model = DESTINATIONS.get(self.kind).config.model_validate({**base, **config})
        return DESTINATIONS.build(model)

    def context(self, run: str = "", **about: Any) -> LoadContext:
        run = run or uuid.uuid4().hex
        key = uuid.uuid5(uuid.NAMESPACE_OID, run).hex[:16]
        return LoadContext(lookup, self.scratch, key, self.pipeline, run_id=run, target=self.table, **about)

    def load(
        self, columns: Mapping[str, Any], run: str = "", *, config: Mapping[str, Any] = {}, **about: Any
    ) -> LoadReport:
        report: LoadReport = self.destination(**config).load(Rows(pa.table(columns)), self.context(run, **about))
        return report

    def ledger(self, **config: Any) -> AbstractContextManager[Ledger]:
        found: AbstractContextManager[Ledger] = self.destination(**config).ledger(self.context())
        return found

    def session(self) -> AbstractContextManager[Any]:
        destination = self.destination()
        of = (lookup("warehouse"),) if self.kind == "postgres" else (destination._path(lookup), self.scratch)
        found: AbstractContextManager[Any] = destination._open(*of)
        return found

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with self.session() as db:
            found: list[tuple[Any, ...]] = db.rows(query)
            db.commit()
            return found

    def run(self, statement: str) -> None:
        with self.session() as db:
            db.run(statement)
            db.commit()

    def stored(self, *names: str) -> list[tuple[Any, ...]]:
        columns = ", ".join(f'"{name}"' for name in names)
        return sorted(self.sql(f'select {columns} from "{self.table}"'), key=repr)


@pytest.fixture(params=["postgres", "duckdb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgres":
        request.getfixturevalue("warehouse")
    return Place(request.param, tmp_path, f"t{uuid.uuid4().hex[:12]}")


MERGE = {"write_disposition": "merge", "primary_key": ["id"]}
SCD2 = {**MERGE, "merge_strategy": "scd2"}


def position(value: int) -> dict[str, CursorPosition]:
    return {"source": CursorPosition("id", str(value), "BIGINT")}


def advance(before: int | None, after: int) -> CursorStep:
    return CursorStep("advance", {} if before is None else position(before), position(after))


# ---- Markers


def test_rows_carry_their_run_and_a_run_replaces_its_own(place: Place) -> None:
    place.load({"id": [1, 2]}, "A", digest="a")
    place.load({"id": [3]}, "B", digest="b")
    report = place.load({"id": [7, 8, 9]}, "A", digest="other")
    assert (report.inserted, report.deleted) == (3, 2)
    assert place.stored("id") == [(3,), (7,), (8,), (9,)]
    assert len({run for (run,) in place.stored(RUN_COLUMN)}) == 2


def test_without_a_run_column_a_repeat_with_other_rows_is_refused(place: Place) -> None:
    config = {"run_column": None}
    place.load({"id": [1]}, "A", digest="a", config=config)
    assert place.load({"id": [1]}, "A", digest="a", config=config).already
    with pytest.raises(TerminalError, match="no column that tells them from others; nothing was written"):
        place.load({"id": [2]}, "A", digest="other", config=config)
    assert place.stored("id") == [(1,)]


def test_one_marker_for_each_run_says_what_was_done(place: Place) -> None:
    for digest in ("a", "a", "b"):
        place.load({"id": [1, 2]}, "A", digest=digest, revision="r1", actor="ada")
    with place.ledger() as ledger:
        (record,) = ledger.loads()
        assert ledger.load("A") == record
        assert ledger.load("B") is None
        assert ledger.state().epoch == 2  # the repeat with the same digest changed nothing
    assert (record.run_id, record.digest, record.rows, record.disposition) == ("A", "b", 2, "append")
    assert (record.revision, record.actor, record.schema_version) == ("r1", "ada", 1)
    assert record.committed_at is not None
    assert record.committed_at.tzinfo is not None


def test_nothing_of_a_load_that_fails_in_its_transaction_stays(place: Place) -> None:
    place.load({"id": [1, 2, 3]}, "A", cursor=advance(None, 3))
    with pytest.raises(TerminalError, match="records were rejected"):
        rejects = [Reject("check", "no", "{}")]
        place.load({"id": [4], "new": ["x"]}, "B", rejects=rejects, limit=RejectLimit(0.1, 5), cursor=advance(3, 4))
    assert place.stored("id") == [(1,), (2,), (3,)]
    with place.ledger() as ledger:
        assert ledger.state().cursor == cursor_to_json(position(3))
        assert [record.run_id for record in ledger.loads()] == ["A"]
        assert ledger.dead_letters() == []
    with pytest.raises(Exception, match="new"):
        place.stored("new")


# ---- Cursor and fence


def test_the_cursor_moves_with_the_rows_and_a_second_run_from_it_is_fenced_off(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    place.load({"id": [6]}, "B", cursor=advance(5, 6))
    with pytest.raises(FencedError, match="fenced off"):
        place.load({"id": [6]}, "C", cursor=advance(5, 6))
    assert place.stored("id") == [(5,), (6,)]
    with place.ledger() as ledger:
        assert ledger.state().cursor == cursor_to_json(position(6))


def test_two_runs_from_one_cursor_at_once_end_with_the_rows_of_one(place: Place) -> None:
    place.load({"id": [0]}, "start", cursor=advance(None, 0))
    barrier, outcomes = threading.Barrier(2), []

    def one(run: str) -> None:
        class Together(Rows):
            def reader(self) -> pa.RecordBatchReader:
                barrier.wait(20)
                return super().reader()

        try:
            context = place.context(run, cursor=advance(0, 9))
            place.destination().load(Together(pa.table({"id": [9]})), context)
            outcomes.append("committed")
        except FencedError:
            outcomes.append("fenced")

    threads = [threading.Thread(target=one, args=(run,)) for run in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["committed", "fenced"]
    assert place.stored("id") == [(0,), (9,)]


def test_repeats_and_windows_leave_the_cursor_where_it_is(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    place.load({"id": [6]}, "B", cursor=advance(5, 6))
    place.load({"id": [50]}, "A", digest="again", cursor=CursorStep("repeat", {}, position(5)))
    window = Window("id", "6", "8", "BIGINT")
    place.load({"id": [6, 7]}, "backfill", cursor=CursorStep("window", window=window))
    assert place.stored("id") == [(50,), (6,), (7,)]
    with place.ledger() as ledger:
        assert ledger.state().cursor == cursor_to_json(position(6))


def test_a_repeat_or_backfill_read_before_another_run_does_not_overwrite_it(place: Place) -> None:
    place.load({"id": [5]}, "A", digest="a", cursor=advance(None, 5))
    place.load({"id": [6]}, "B", cursor=advance(5, 6))
    late = [
        CursorStep("repeat", {}, position(5), seen=position(5)),
        CursorStep("window", position(5), position(5), Window("id", "5", "9", "BIGINT"), seen=position(5)),
    ]
    for step in late:
        with pytest.raises(FencedError):
            place.load({"id": [5]}, "A", digest="b", cursor=step)
    assert place.stored("id") == [(5,), (6,)]


def test_a_cleared_run_is_fenced_off_by_a_backfill_that_came_between(place: Place) -> None:
    place.load({"id": [5, 6]}, "A", cursor=advance(None, 6))
    again = CursorStep("repeat", {}, position(6), seen=position(6), windows=0)
    place.load({"id": [6]}, "backfill", cursor=CursorStep("window", window=Window("id", "6", "7", "BIGINT")))
    with pytest.raises(FencedError, match="a backfill of"):
        place.load({"id": [5, 6]}, "A", digest="again", cursor=again)
    place.load({"id": [5]}, "A", digest="again", cursor=dataclasses.replace(again, windows=1))
    assert place.stored("id") == [(5,), (6,)]


def test_setting_the_cursor_fences_off_a_run_under_way(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    with place.ledger() as ledger:
        ledger.set_cursor(cursor_to_json(position(2)), "ada")
        assert ledger.state().cursor == cursor_to_json(position(2))
    with pytest.raises(FencedError):
        place.load({"id": [6]}, "B", cursor=advance(5, 6))
    place.load({"id": [6]}, "C", cursor=advance(2, 6))
    with place.ledger() as ledger:
        ledger.set_cursor(None, "ada")
        assert ledger.state().cursor is None


# ---- Merge


def merged(model: dict[int, Row], batch: Sequence[Row], strategy: str, *, missing: bool) -> dict[int, Row]:
    """What a merge must leave, on plain dicts."""
    result = {} if missing and strategy == "delete_insert" else dict(model)
    if missing:
        result = {key: row for key, row in result.items() if any(one["id"] == key for one in batch)}
    for row in batch:
        result.pop(row["id"], None)
        if not row["gone"]:
            result[row["id"]] = {"id": row["id"], "v": row["v"]}
    return result


@pytest.mark.parametrize("strategy", ["upsert", "delete_insert", "scd2"])
@pytest.mark.parametrize("missing", ["keep", "delete"])
def test_merge_equals_a_dict_whatever_comes(place: Place, strategy: str, missing: str) -> None:
    chance = random.Random(f"{strategy} {missing}")
    config: dict[str, Any] = {
        **MERGE,
        "merge_strategy": strategy,
        "delete_flag": "gone",
        "missing_rows": missing,
        "allow_empty": True,
        "allow_shrink": True,
    }
    model: dict[int, Row] = {}
    for turn in range(6):
        ids = chance.sample(range(12), chance.randint(1, 9))
        batch = [{"id": n, "v": chance.choice([None, "x", "y"]), "gone": chance.random() < 0.3} for n in ids]
        config["stage_above"] = chance.choice([0, 1000])
        place.load(typed(batch), f"run {turn}", config=config)
        model = merged(model, batch, strategy, missing=missing == "delete")
        where = " where _valid_to is null" if strategy == "scd2" else ""
        stored = sorted(place.sql(f'select id, v from "{place.table}"{where}'))
        assert stored == [(key, model[key]["v"]) for key in sorted(model)], f"turn {turn}"


TYPES: dict[str, pa.DataType] = {"id": pa.int64(), "v": pa.string(), "gone": pa.bool_()}


def typed(batch: Sequence[Row]) -> dict[str, pa.Array[Any]]:
    return {name: pa.array([row[name] for row in batch], type_) for name, type_ in TYPES.items()}


def test_upsert_leaves_rows_alone_that_did_not_change(place: Place) -> None:
    place.load({"id": [1, 2, 3], "v": ["a", "b", None]}, config=MERGE)
    report = place.load({"id": [1, 2, 3, 4], "v": ["a", "B", None, "d"]}, config=MERGE)
    assert (report.inserted, report.updated, report.deleted) == (1, 1, 0)


def test_upsert_keeps_columns_that_the_records_do_not_have(place: Place) -> None:
    place.load({"id": [1], "v": ["a"], "note": ["kept"]}, config=MERGE)
    place.load({"id": [1, 2], "v": ["b", "c"]}, config=MERGE)
    assert place.stored("id", "v", "note") == [(1, "b", "kept"), (2, "c", None)]


def test_a_merge_key_may_stand_in_several_rows(place: Place) -> None:
    config = {"write_disposition": "merge", "merge_strategy": "delete_insert", "merge_key": ["order"]}
    place.load({"order": [1, 1, 2], "line": [1, 2, 1]}, config=config)
    place.load({"order": [1, 3], "line": [7, 1]}, config=config)
    assert place.stored("order", "line") == [(1, 7), (2, 1), (3, 1)]


def test_composite_keys_of_any_case_and_quoting(place: Place) -> None:
    config = {"write_disposition": "merge", "primary_key": ["Select", 'a "b"']}
    place.load({"Select": [1, 1], 'a "b"': ["x", "y"], "v": [1, 2]}, config=config)
    place.load({"Select": [1, 2], 'a "b"': ["y", "y"], "v": [20, 3]}, config=config)
    assert place.stored("Select", "v") == [(1, 1), (1, 20), (2, 3)]


@pytest.mark.parametrize("staged", [0, 1000])
def test_null_and_duplicate_keys_fail_deduplicate_or_become_dead_letters(place: Place, staged: int) -> None:
    columns = {"id": [1, 1, None, 2], "v": ["old", "new", "x", "y"], "at": [1, 2, 3, 4]}
    config: dict[str, Any] = {**MERGE, "stage_above": staged}
    with pytest.raises(TerminalError, match="1 records have no value in the primary key"):
        place.load(columns, config=config)
    config["null_keys"] = "dead_letter"
    with pytest.raises(TerminalError, match=r"1 values of the primary key .* stand in more than one record"):
        place.load(columns, config=config, limit=ALL)
    place.load(columns, "A", config={**config, "duplicate_keys": "deduplicate"}, limit=ALL, rows_read=4)
    assert place.stored("id", "v") == [(1, "new"), (2, "y")]
    back = {**columns, "at": [9, 2, 3, 4]}
    config |= {"duplicate_keys": "dead_letter", "latest_by": "at"}
    report = place.load(back, "B", config=config, limit=ALL, rows_read=4)
    assert (report.rejected, place.stored("id", "v")) == (2, [(1, "old"), (2, "y")])
    with place.ledger() as ledger:
        letters = ledger.dead_letters("B")
    assert sorted(letter.reject.record for letter in letters) == [
        '{"id":1,"v":"new","at":2}',
        '{"id":null,"v":"x","at":3}',
    ]
    assert {letter.reject.stage for letter in letters} == {"key"}


@pytest.mark.parametrize("staged", [0, 1000])
def test_a_record_without_a_merge_key_is_not_added_again_each_time(place: Place, staged: int) -> None:
    config = {"write_disposition": "merge", "merge_strategy": "delete_insert", "merge_key": ["id"]}
    columns = {"id": pa.array([1, None], pa.int64())}
    with pytest.raises(TerminalError, match=r"no value in the merge key \('id'\)"):
        place.load(columns, config={**config, "stage_above": staged})
    config["null_keys"] = "dead_letter"
    assert place.load(columns, config={**config, "stage_above": staged}, limit=ALL).rejected == 1
    assert place.stored("id") == [(1,)]


def test_keys_that_differ_as_texts_and_are_the_same_in_the_table_are_duplicates(place: Place) -> None:
    place.run(f'create table "{place.table}" (id uuid, v varchar)')
    key = "0f8fad5b-d9cb-469f-a165-70867728950e"
    with pytest.raises(TerminalError, match="stand in more than one record"):
        place.load({"id": [key, key.upper()], "v": ["a", "b"]}, config=MERGE)
    place.load({"id": [key, key.upper()], "v": ["a", "b"]}, config={**MERGE, "duplicate_keys": "deduplicate"})
    assert [v for (v,) in place.stored("v")] == ["b"]


@pytest.mark.parametrize("strategy", ["upsert", "delete_insert", "scd2"])
def test_missing_rows_are_not_deleted_when_most_records_are_missing(place: Place, strategy: str) -> None:
    config = {**MERGE, "merge_strategy": strategy, "missing_rows": "delete"}
    none = {"id": pa.array([], pa.int64())}
    place.load({"id": list(range(10))}, config=config)
    with pytest.raises(TerminalError, match=r"0 records for the 10 rows .* Set allow_empty"):
        place.load(none, config=config)
    with pytest.raises(TerminalError, match=r"1 records for the 10 rows .* Set allow_shrink"):
        place.load({"id": [1]}, config=config)
    assert place.load({"id": [0, 1, 2, 3, 4]}, config=config).deleted in (5, 10)
    place.load({"id": [1]}, config={**config, "allow_shrink": True})
    place.load(none, config={**config, "allow_empty": True})
    where = " where _valid_to is null" if strategy == "scd2" else ""
    assert place.sql(f'select count(*) from "{place.table}"{where}') == [(0,)]


def test_keys_that_the_records_do_not_have_are_a_finding(place: Place) -> None:
    with pytest.raises(ConfigError, match="the records have no column 'id', which primary_key names"):
        place.load({"v": [1]}, config=MERGE)


def test_scd2_keeps_every_version_and_its_time(place: Place) -> None:
    place.load({"id": [1, 2], "v": ["a", "b"]}, "A", config=SCD2)
    place.load({"id": [1, 2], "v": ["a", "B"]}, "B", config=SCD2)
    rows = place.sql(f'select id, v, _valid_to is null from "{place.table}" order by id, _valid_from')
    assert rows == [(1, "a", True), (2, "b", False), (2, "B", True)]
    gaps = place.sql(
        f'select count(*) from "{place.table}" o join "{place.table}" n on o.id = n.id and o._valid_to = n._valid_from'
    )
    assert gaps == [(1,)]
    # the same run again: its versions are taken back first, nothing is closed twice
    place.load({"id": [1, 2], "v": ["A", "b"]}, "B", config=SCD2, digest="other")
    rows = place.sql(f'select id, v, _valid_to is null from "{place.table}" order by id, _valid_from')
    assert rows == [(1, "a", False), (1, "A", True), (2, "b", True)]


# ---- Replace


@pytest.mark.parametrize("staged", [0, 1_000_000])
def test_replace_guards_against_an_empty_or_shrunken_result(place: Place, staged: int) -> None:
    config = {"write_disposition": "replace", "stage_above": staged}
    place.load({"id": list(range(10))}, config=config)
    with pytest.raises(TerminalError, match="would leave no rows, where there are 10; nothing was changed"):
        place.load({"id": pa.array([], pa.int64())}, config=config)
    with pytest.raises(TerminalError, match="would leave 4 of 10 rows, fewer than half"):
        place.load({"id": [1, 2, 3, 4]}, config=config)
    assert len(place.stored("id")) == 10
    assert place.load({"id": [1, 2, 3, 4, 5]}, config=config).rows == 5
    place.load({"id": [1]}, config={**config, "allow_shrink": True})
    place.load({"id": pa.array([], pa.int64())}, config={**config, "allow_empty": True})
    assert place.stored("id") == []


# ---- Columns


def test_a_table_of_ours_evolves(place: Place) -> None:
    place.load({"id": [1], "n": [1]})
    report = place.load({"id": [2], "n": [0.5], "note": ["x"]})
    assert [note.split(":")[0].split(" from ")[0] for note in report.schema_notes] == [
        "column 'note' is new",
        "column 'n' is widened",
    ]
    assert place.stored("id", "n", "note") == [(1, 1.0, None), (2, 0.5, "x")]
    assert place.load({"id": [3]}).schema_notes[0].startswith("column 'n'")
    assert report.schema_version == 2


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40]), [1, 2**40]),
        (pa.array([1]), pa.array([Decimal("1.25")], pa.decimal128(5, 2)), [Decimal(1), Decimal("1.25")]),
        (pa.array([Decimal("9.5")], pa.decimal128(4, 1)), pa.array([12345]), [Decimal("9.5"), Decimal(12345)]),
        (pa.array([2**60 + 1]), pa.array([0.5]), [str(2**60 + 1), "0.5"]),
        (pa.array([1, 2]), pa.array(["x"]), ["1", "2", "x"]),
        (pa.array([True]), pa.array(["x"]), ["true", "x"]),
    ],
)
def test_types_widen_only_as_far_as_no_value_changes(
    place: Place, before: pa.Array[Any], after: pa.Array[Any], found: list[Any]
) -> None:
    place.load({"v": before})
    place.load({"v": after})
    assert sorted(map(str, (value for (value,) in place.stored("v")))) == sorted(map(str, [*found])) or sorted(
        Decimal(str(value)) for (value,) in place.stored("v")
    ) == sorted(Decimal(str(value)) for value in found)


def test_a_value_that_fits_widens_nothing(place: Place) -> None:
    place.load({"v": pa.array([1], pa.int32())})
    report = place.load({"v": pa.array([2], pa.int64())})
    assert report.schema_changes == ()
    assert report.schema_version == 1


def test_a_column_without_any_value_takes_the_type_of_the_first_that_comes(place: Place) -> None:
    place.load({"id": [1], "v": pa.nulls(1, pa.string())})
    place.load({"id": [2], "v": pa.nulls(1)})
    report = place.load({"id": [3], "v": [7]})
    assert "had no value until now" in report.schema_notes[0]
    assert place.stored("id", "v") == [(1, None), (2, None), (3, 7)]
    # an empty text column, as a CSV file has it, goes into the number column as nulls
    place.load({"id": [4], "v": pa.nulls(1, pa.string())})
    assert place.stored("id", "v")[-1] == (4, None)


def test_a_table_of_others_is_frozen_unless_the_contract_says_otherwise(place: Place) -> None:
    place.load({"other": [1]})  # makes the database
    place.run(f'drop table "{place.table}"')
    place.table += "x"
    place.run(f'create table "{place.table}" (id integer)')
    with pytest.raises(ConfigError, match="has no column 'note'"):
        place.load({"id": [1], "note": ["x"]})
    with pytest.raises(TerminalError, match="does not fit"):
        place.load({"id": [2**40]})
    place.load({"id": [2**40], "note": ["x"]}, contract=SchemaContract(default="evolve"))
    assert place.stored("id", "note") == [(2**40, "x")]


def test_freeze_touches_nothing(place: Place) -> None:
    place.load({"id": [1]})
    frozen = SchemaContract(default="freeze")
    for columns in ({"id": [2], "note": ["x"]}, {"id": ["x"]}):
        with pytest.raises(ConfigError):
            place.load(columns, contract=frozen)
    assert place.stored("id") == [(1,)]


def test_discard_value_and_discard_row_take_out_what_does_not_fit(place: Place) -> None:
    place.load({"id": [1], "n": [1]})
    columns = {"id": [2, 3, 4], "n": ["7", "x", None], "note": [None, None, "note"]}
    value = SchemaContract(default="discard_value")
    report = place.load(columns, "A", contract=value)
    assert place.stored("id", "n") == [(1, 1), (2, 7), (3, None), (4, None)]  # one text makes texts of a CSV's numbers
    assert "column 'n': 1 values do not fit and are left out (discard_value)" in report.schema_notes
    row = SchemaContract(default="freeze", columns={"note": "discard_row"})
    report = place.load({"id": [5, 6], "note": [None, "x"]}, "B", contract=row, limit=ALL, rows_read=2)
    assert report.rejected == 1
    assert place.stored("id")[-1] == (5,)
    with place.ledger() as ledger:
        (letter,) = ledger.dead_letters()
    assert letter.reject.record == '{"id":6,"note":"x"}'
    assert (letter.reject.stage, letter.reject.column) == ("contract", "note")


DRIFTS: dict[str, dict[str, Any]] = {
    "new": {"id": [2, 3], "n": [20, 30], "note": ["x", None]},
    "missing": {"id": [2, 3]},
    "wider": {"id": [2, 3], "n": [2.5, 30.0]},
    "narrower": {"id": [2, 3], "n": pa.array([20, 30], pa.int16())},
    "renamed": {"id": [2, 3], "amount": [20, 30]},
    "flipped": {"id": [2, 3], "n": ["20", "x"]},
    "reordered": {"n": [20, 30], "id": [2, 3]},
    "null": {"id": [2, 3], "n": [None, 30]},
}
OUTCOMES: dict[str, dict[str, list[tuple[Any, Any]] | None]] = {
    # id and n of the rows that are there afterwards, beside (1, 10); None: refused, nothing is touched
    "evolve": {
        "new": [(2, 20), (3, 30)], "missing": [(2, None), (3, None)], "wider": [(2, 2.5), (3, 30)],
        "narrower": [(2, 20), (3, 30)], "renamed": [(2, None), (3, None)], "flipped": [(2, "20"), (3, "x")],
        "reordered": [(2, 20), (3, 30)], "null": [(2, None), (3, 30)],
    },
    "freeze": {
        "new": None, "missing": [(2, None), (3, None)], "wider": None, "narrower": [(2, 20), (3, 30)],
        "renamed": None, "flipped": None, "reordered": [(2, 20), (3, 30)], "null": [(2, None), (3, 30)],
    },
    "discard_row": {
        "new": [(3, 30)], "missing": [(2, None), (3, None)], "wider": [(3, 30)], "narrower": [(2, 20), (3, 30)],
        "renamed": [], "flipped": [(2, 20)], "reordered": [(2, 20), (3, 30)], "null": [(2, None), (3, 30)],
    },
    "discard_value": {
        "new": [(2, 20), (3, 30)], "missing": [(2, None), (3, None)], "wider": [(2, None), (3, 30)],
        "narrower": [(2, 20), (3, 30)], "renamed": [(2, None), (3, None)], "flipped": [(2, 20), (3, None)],
        "reordered": [(2, 20), (3, 30)], "null": [(2, None), (3, 30)],
    },
}  # fmt: skip


@pytest.mark.parametrize("mode", OUTCOMES)
@pytest.mark.parametrize("drift", DRIFTS)
def test_every_drift_has_one_outcome_in_every_mode(place: Place, drift: str, mode: Any) -> None:
    place.load({"id": [1], "n": [10]}, "A")
    wanted = OUTCOMES[mode][drift]
    contract = SchemaContract(default=mode)
    if wanted is None:
        with pytest.raises((ConfigError, TerminalError)):
            place.load(DRIFTS[drift], "B", contract=contract)
        wanted = []
    else:
        report = place.load(DRIFTS[drift], "B", contract=contract, limit=ALL if mode == "discard_row" else NONE)
        assert report.rejected == (2 - len(wanted) if mode == "discard_row" else 0)
    kind = str if drift == "flipped" and mode == "evolve" else float
    stored = {(row, value if value is None else kind(value)) for row, value in place.stored("id", "n")}
    assert stored == {(row, value if value is None else kind(value)) for row, value in [(1, 10), *wanted]}


def test_a_mode_for_one_column_beats_the_general_one(place: Place) -> None:
    place.load({"id": [1]})
    contract = SchemaContract(default="freeze", columns={"note": "evolve"})
    place.load({"id": [2], "note": ["x"]}, contract=contract)
    assert place.stored("id", "note") == [(1, None), (2, "x")]


def test_values_that_do_not_fit_become_dead_letters_where_they_are_kept(place: Place) -> None:
    place.load({"id": [1]})
    frozen = SchemaContract(default="freeze")
    columns = {"id": [2.0, 2.5, None, 3.0]}
    with pytest.raises(TerminalError, match="does not fit"):
        place.load(columns, contract=frozen)
    report = place.load(columns, "A", contract=frozen, limit=ALL, rows_read=4)
    assert (report.rows, report.rejected) == (3, 1)
    with place.ledger() as ledger:
        (letter,) = ledger.dead_letters("A")
    assert (letter.reject.record, letter.reject.stage, letter.reject.column) == ('{"id":2.5}', "load", "id")


# ---- Dead letters


def test_dead_letters_are_kept_with_the_rows_and_replayed_once(place: Place) -> None:
    rejects = [Reject("transform", "'x' is no BIGINT", '{"id":"x"}', "source", 2, "id", "record 3")]
    place.load({"id": [1, 2]}, "A", rejects=rejects, limit=ALL, rows_read=3)
    place.load({"id": [1, 2]}, "A", rejects=rejects, limit=ALL, rows_read=3, digest="again")
    with place.ledger() as ledger:
        (letter,) = ledger.dead_letters(pending=True)
    assert letter.reject == rejects[0]
    assert letter.run_id == "A"
    place.load({"id": [3]}, "replay", replays=(letter.id,), digest="r")
    with place.ledger() as ledger:
        assert ledger.dead_letters(pending=True) == []
        assert ledger.dead_letter_counts() == (1, 0)
        assert ledger.dead_letters(ids=[letter.id])[0].replayed_by
    assert place.load({"id": [3]}, "replay", replays=(letter.id,), digest="r").already
    with pytest.raises(TransientError, match="were replayed by another load meanwhile"):
        place.load({"id": [3]}, "other replay", replays=(letter.id,))
    assert place.stored("id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("strategy", ["upsert", "delete_insert", "scd2"])
def test_rows_of_rejected_records_do_not_count_as_missing(place: Place, strategy: str) -> None:
    config = {**MERGE, "merge_strategy": strategy, "missing_rows": "delete"}
    place.load({"id": [1, 2, 3]}, "A", config=config)
    rejects = [Reject("check", "no", '{"id":3}')]
    report = place.load({"id": [1, 2]}, "B", config=config, rejects=rejects, limit=ALL, rows_read=3)
    assert any("were kept" in note for note in report.schema_notes)
    alive = f'select id from "{place.table}"' + (" where _valid_to is null" if strategy == "scd2" else "")
    assert sorted(place.sql(alive)) == [(1,), (2,), (3,)]
    place.load({"id": [1, 2]}, "C", config=config)
    assert sorted(place.sql(alive)) == [(1,), (2,)]


def test_an_older_event_does_not_undo_a_newer_one(place: Place) -> None:
    config = {**MERGE, "latest_by": "at", "delete_flag": "gone"}
    place.load({"id": [1, 2], "at": [5, 5], "v": ["new", "new"], "gone": [False, False]}, config=config)
    report = place.load(
        {"id": [1, 2, 3], "at": [4, 4, 1], "v": ["old"] * 3, "gone": [False, True, False]}, config=config
    )
    assert (report.inserted, report.updated, report.deleted) == (1, 0, 0)
    assert place.stored("id", "v") == [(1, "new"), (2, "new"), (3, "old")]


def test_a_target_that_was_dropped_does_not_fill_with_new_rows_only(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    place.run(f'drop table "{place.table}"')
    with pytest.raises(TerminalError, match="is gone, and its cursor stands where the last load left it"):
        place.load({"id": [6]}, "B", cursor=advance(5, 6))
    with place.ledger() as ledger:
        ledger.set_cursor(cursor_to_json(position(4)), "ada")
    place.load({"id": [5, 6]}, "C", cursor=advance(4, 6))
    assert place.stored("id") == [(5,), (6,)]


# ---- Undo


def test_undo_takes_the_newest_append_back_with_its_cursor(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    place.load({"id": [6]}, "B", cursor=advance(5, 6), rejects=[Reject("check", "no", "{}")], limit=ALL)
    with place.ledger() as ledger:
        undone = ledger.undo("B", "ada")
        assert (undone.removed, undone.cursor_moved) == (1, True)
        assert ledger.state().cursor == cursor_to_json(position(5))
        assert ledger.dead_letters() == []
        assert ledger.load("B") is None
        with pytest.raises(TerminalError, match="no load of run 'B'"):
            ledger.undo("B", "ada")
    assert place.stored("id") == [(5,)]
    place.load({"id": [6]}, "B", cursor=advance(5, 6))
    assert place.stored("id") == [(5,), (6,)]


def test_undo_of_an_older_load_says_that_the_cursor_stays(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    place.load({"id": [6]}, "B", cursor=advance(5, 6))
    with place.ledger() as ledger:
        undone = ledger.undo("A", "ada")
    assert not undone.cursor_moved
    assert "not read again" in undone.note
    assert place.stored("id") == [(6,)]


def test_undo_of_replace_needs_the_rows_that_were_there(place: Place) -> None:
    config = {"write_disposition": "replace"}
    place.load({"id": [1, 2]}, "A", config=config)
    place.load({"id": [3]}, "B", config=config)
    with place.ledger(**config) as ledger, pytest.raises(TerminalError, match=r"are not kept. keep_previous"):
        ledger.undo("B", "ada")
    place.load({"id": [4]}, "C", config={**config, "keep_previous": True})
    with place.ledger(**config) as ledger:
        undone = ledger.undo("C", "ada")
    assert (undone.removed, undone.restored) == (1, 1)
    assert place.stored("id") == [(3,)]


def test_undo_of_scd2_opens_what_the_run_closed(place: Place) -> None:
    place.load({"id": [1, 2], "v": ["a", "b"]}, "A", config=SCD2)
    place.load({"id": [2, 3], "v": ["B", "c"]}, "B", config=SCD2)
    place.load({"id": [3], "v": ["C"]}, "C", config=SCD2)
    with place.ledger(**SCD2) as ledger:
        with pytest.raises(TerminalError, match=r"'B' can't be taken back: later runs built on .*: 'C'; nothing was"):
            ledger.undo("B", "ada")
        ledger.undo("C", "ada")
        ledger.undo("B", "ada")
    assert place.sql(f'select id, v, _valid_to is null from "{place.table}" order by id') == [
        (1, "a", True),
        (2, "b", True),
    ]


def test_a_repeat_of_an_scd2_run_that_later_runs_built_on_names_them_and_the_way_out(place: Place) -> None:
    for run, rows in (("A", [(1, "a"), (2, "b")]), ("B", [(2, "B")]), ("C", [(2, "C")]), ("D", [(3, "d")])):
        place.load({"id": [row[0] for row in rows], "v": [row[1] for row in rows]}, run, digest=run, config=SCD2)
    another = dataclasses.replace(place, pipeline="returns")
    another.load({"id": [2], "v": ["X"]}, "X", config=SCD2)
    before = place.stored("id", "v", "_valid_from", "_valid_to")
    assert place.load({"id": [2], "v": ["B"]}, "B", digest="B", config=SCD2).already
    built_on = (
        rf"run 'B' can't be repeated: later runs built on .* wrote to \w+.{place.table} or closed there: "
        "'X' of pipeline 'returns', 'C'; nothing was changed"
    )
    with pytest.raises(TerminalError, match=built_on) as caught:
        place.load({"id": [2], "v": ["new"]}, "B", digest="other", config=SCD2)
    assert "Take those back first, the newest before the others ('dataforge undo'), then clear this run" in str(
        caught.value
    )
    assert place.stored("id", "v", "_valid_from", "_valid_to") == before
    with (
        place.ledger(**SCD2) as ledger,
        pytest.raises(TerminalError, match="there: 'X' of pipeline 'returns'; nothing"),
    ):
        ledger.undo("C", "ada")
    with another.ledger(**SCD2) as ledger:
        ledger.undo("X", "ada")
    with place.ledger(**SCD2) as ledger:
        ledger.undo("C", "ada")
    place.load({"id": [2], "v": ["new"]}, "B", digest="other", config=SCD2)
    now = place.sql(f'select id, v from "{place.table}" where _valid_to is null order by id')
    assert now == [(1, "a"), (2, "new"), (3, "d")]


def test_a_key_that_came_again_after_an_scd2_run_deleted_it_has_one_open_version(place: Place) -> None:
    config = {**SCD2, "delete_flag": "gone"}
    for run, gone in (("A", False), ("B", True), ("C", False)):
        place.load({"id": [1], "v": [run], "gone": [gone]}, run, config=config)
    for what in ("taken back", "repeated"):
        with pytest.raises(TerminalError, match=f"'B' can't be {what}: .* closed there: 'C'; nothing was changed"):
            if what == "repeated":
                place.load({"id": [1], "v": ["x"], "gone": [True]}, "B", config=config)
            else:
                with place.ledger(**config) as ledger:
                    ledger.undo("B", "ada")
    assert place.sql(f'select v from "{place.table}" where _valid_to is null') == [("C",)]
    with place.ledger(**config) as ledger:
        ledger.undo("C", "ada")
        ledger.undo("B", "ada")
    assert place.sql(f'select v from "{place.table}" where _valid_to is null') == [("A",)]


KEPT: dict[str, Any] = {"write_disposition": "replace", "keep_previous": True}


@pytest.mark.parametrize("ledger_schema", [None, "bookkeeping"])
def test_undo_of_replace_does_not_take_what_another_pipeline_loaded_since(
    place: Place, ledger_schema: str | None
) -> None:
    kept = {**KEPT, "ledger_schema": ledger_schema}
    another = dataclasses.replace(place, pipeline="returns")
    place.load({"id": [1]}, "A", config={"ledger_schema": ledger_schema})
    place.load({"id": [2]}, "B", config=kept)
    another.load({"id": [9]}, "X")
    loaded_since = r"'B' can't be taken back: .* loaded since by 'X' of pipeline 'returns'"
    with place.ledger(**kept) as ledger, pytest.raises(TerminalError, match=loaded_since):
        ledger.undo("B", "ada")
    assert place.stored("id") == [(2,), (9,)]
    with another.ledger() as ledger:
        ledger.undo("X", "ada")
    with place.ledger(**kept) as ledger:
        assert ledger.load("B") is not None
        undone = ledger.undo("B", "ada")
    assert (undone.removed, undone.restored) == (1, 1)
    assert place.stored("id") == [(1,)]


def test_undo_of_replace_names_later_runs_of_its_own_pipeline(place: Place) -> None:
    place.load({"id": [1]}, "A")
    place.load({"id": [2]}, "B", config=KEPT)
    place.load({"id": [3]}, "C")
    with place.ledger(**KEPT) as ledger:
        with pytest.raises(TerminalError, match="loaded since by 'C', and"):
            ledger.undo("B", "ada")
        ledger.undo("C", "ada")
        ledger.undo("B", "ada")
    assert place.stored("id") == [(1,)]


def test_undo_of_replace_brings_back_what_another_pipeline_had_loaded_before(place: Place) -> None:
    another = dataclasses.replace(place, pipeline="returns")
    place.load({"id": [1]}, "A")
    another.load({"id": [9]}, "X")
    elsewhere = dataclasses.replace(another, table=f"{place.table}_2")
    place.load({"id": [2]}, "B", config=KEPT)
    elsewhere.load({"id": [5]}, "Y")
    with place.ledger(**KEPT) as ledger:
        ledger.undo("B", "ada")
    assert place.stored("id") == [(1,), (9,)]


def test_undo_of_replace_knows_loads_by_when_they_were_committed_not_begun(place: Place) -> None:
    another = dataclasses.replace(place, pipeline="returns")
    place.load({"id": [1]}, "A")

    class Slow(Rows):
        def reader(self) -> pa.RecordBatchReader:
            place.load({"id": [2]}, "B", config=KEPT)
            return super().reader()

    another.destination().load(Slow(pa.table({"id": [9]})), another.context("X"))
    assert place.stored("id") == [(2,), (9,)]
    with place.ledger(**KEPT) as ledger, pytest.raises(TerminalError, match="'X' of pipeline 'returns'"):
        ledger.undo("B", "ada")


def test_a_repeated_replace_keeps_what_another_pipeline_loaded_between(place: Place) -> None:
    another = dataclasses.replace(place, pipeline="returns")
    place.load({"id": [1]}, "A")
    place.load({"id": [2]}, "B", digest="a", config=KEPT)
    another.load({"id": [9]}, "X")
    place.load({"id": [3]}, "B", digest="b", config=KEPT)
    assert place.stored("id") == [(3,)]
    with place.ledger(**KEPT) as ledger:
        ledger.undo("B", "ada")
    assert place.stored("id") == [(2,), (9,)]


def test_undo_of_an_upsert_says_why_not(place: Place) -> None:
    place.load({"id": [1]}, "A", config=MERGE)
    with place.ledger(**MERGE) as ledger, pytest.raises(TerminalError, match=r"are not kept. Use the strategy scd2"):
        ledger.undo("A", "ada")


def test_undo_of_a_repeated_run_takes_the_cursor_back(place: Place) -> None:
    place.load({"id": [5]}, "A", digest="a", cursor=advance(None, 5))
    repeat = CursorStep("repeat", {}, position(5))
    place.load({"id": [4, 5]}, "A", digest="b", cursor=repeat)
    with place.ledger() as ledger:
        assert ledger.undo("A", "ada").cursor_moved
        assert not ledger.state().cursor


def test_undo_of_one_load_after_the_other_takes_the_cursor_back_step_by_step(place: Place) -> None:
    place.load({"id": [5]}, "A", cursor=advance(None, 5))
    place.load({"id": [6]}, "B", cursor=advance(5, 6))
    with place.ledger() as ledger:
        assert ledger.undo("B", "ada").cursor_moved
        undone = ledger.undo("A", "ada")
        assert (undone.cursor_moved, undone.note) == (True, "")
        assert not ledger.state().cursor


def test_undo_of_a_window_that_replaced_rows_is_refused(place: Place) -> None:
    place.load({"id": [1, 2]}, "A", cursor=advance(None, 2))
    window = CursorStep("window", position(2), position(2), Window("id", "2", "3", "BIGINT"))
    place.load({"id": [2]}, "B", cursor=window)
    with place.ledger() as ledger, pytest.raises(TerminalError, match="replaced 1 rows of its interval"):
        ledger.undo("B", "ada")
    assert place.stored("id") == [(1,), (2,)]


def test_undo_of_replace_brings_nothing_back_that_an_older_replace_kept(place: Place) -> None:
    kept: dict[str, Any] = {"write_disposition": "replace", "keep_previous": True}
    for run, config in (("A", kept), ("B", kept), ("C", {"write_disposition": "replace"})):
        place.load({"id": [ord(run)]}, run, config=config)
    with place.ledger(**kept) as ledger, pytest.raises(TerminalError, match="are not kept"):
        ledger.undo("C", "ada")
    assert place.stored("id") == [(ord("C"),)]


def test_undo_of_a_repeated_replace_brings_back_what_was_before_its_first_load(place: Place) -> None:
    kept: dict[str, Any] = {"write_disposition": "replace", "keep_previous": True}
    place.load({"id": [1]}, "A", config=kept)
    place.load({"id": [2]}, "B", digest="a", config=kept)
    place.load({"id": [3]}, "B", digest="b", config=kept)
    with place.ledger(**kept) as ledger:
        ledger.undo("B", "ada")
    assert place.stored("id") == [(1,)]


def test_rows_are_not_kept_under_a_name_that_the_database_would_cut_off(postgres: Place) -> None:
    kept: dict[str, Any] = {"write_disposition": "replace", "keep_previous": True}
    postgres.table = postgres.table.ljust(63, "x")
    with pytest.raises(TerminalError, match="more than 63 bytes"):
        postgres.load({"id": [1]}, config=kept)


# ---- What a marker can not vouch for


def test_backslashes_arrive_whatever_the_server_takes_them_for(postgres: Place) -> None:
    postgres.run("alter role postgres set standard_conforming_strings = off")
    try:
        reject = Reject("check", "it's \\' odd", '{"v": "a\\\\b"}')
        postgres.load({"id": [1]}, rejects=[reject], limit=ALL)
        with postgres.ledger() as ledger:
            (letter,) = ledger.dead_letters()
    finally:
        postgres.run("alter role postgres reset standard_conforming_strings")
    assert (letter.reject.reason, letter.reject.record) == (reject.reason, reject.record)


def test_a_table_that_was_dropped_is_loaded_anew_in_spite_of_the_marker(place: Place) -> None:
    place.load({"id": [1]}, "A", digest="a")
    place.run(f'drop table "{place.table}"')
    assert not place.load({"id": [1]}, "A", digest="a").already
    assert place.stored("id") == [(1,)]


def test_a_run_whose_dead_letters_were_replayed_is_not_repeated_beside_them(place: Place) -> None:
    rejects = [Reject("check", "no", '{"id": 2}')]
    place.load({"id": [1]}, "A", digest="a", rejects=rejects, limit=ALL)
    with place.ledger() as ledger:
        (letter,) = ledger.dead_letters()
    place.load({"id": [2]}, "replay__1", replays=(letter.id,))
    with pytest.raises(TerminalError, match=r"can't be repeated: .*'replay__1'"):
        place.load({"id": [1, 2]}, "A", digest="b")
    with place.ledger() as ledger:
        with pytest.raises(TerminalError, match=r"can't be taken back: .*'replay__1'"):
            ledger.undo("A", "ada")
        ledger.undo("replay__1", "ada")
    place.load({"id": [1, 2]}, "A", digest="b")
    assert place.stored("id") == [(1,), (2,)]


def test_a_merge_whose_dead_letters_were_replayed_is_repeated_by_key(place: Place) -> None:
    rejects = [Reject("check", "no", '{"id": 2}')]
    place.load({"id": [1]}, "A", digest="a", rejects=rejects, limit=ALL, config=MERGE)
    with place.ledger() as ledger:
        (letter,) = ledger.dead_letters()
    place.load({"id": [2]}, "replay__1", replays=(letter.id,), config=MERGE)
    place.load({"id": [1]}, "A", digest="b", rejects=rejects, limit=ALL, config=MERGE)
    assert place.stored("id") == [(1,), (2,)]
    with place.ledger() as ledger:
        assert [one.replayed_by for one in ledger.dead_letters()] == [""]


# ---- Dry runs, leftovers


@pytest.mark.parametrize("config", [{}, MERGE, {"write_disposition": "replace"}, SCD2], ids=str)
def test_a_dry_run_counts_and_leaves_nothing(place: Place, config: dict[str, Any]) -> None:
    report = place.load({"id": [1, 2]}, config=config, dry_run=True)
    assert report.inserted == 2
    assert report.schema_changes[0].startswith("create table")
    if place.kind == "duckdb":
        assert not list(place.scratch.rglob("*.duckdb"))
    place.load({"id": [1, 2], "v": [1, 1]}, "A", config=config)
    report = place.load({"id": [2, 3], "v": [5, 6], "new": [1, 2]}, config=config, dry_run=True)
    assert any("add column" in change for change in report.schema_changes)
    assert place.stored("id", "v") == [(1, 1), (2, 1)]
    with place.ledger() as ledger:
        assert [record.run_id for record in ledger.loads()] == ["A"]


def test_the_ledger_can_stand_in_a_schema_of_its_own(place: Place) -> None:
    config = {"ledger_schema": "bookkeeping"}
    place.load({"id": [1]}, "A", config=config)
    with place.ledger(**config) as ledger:
        assert ledger.load("A") is not None
    found = place.sql("select count(*) from information_schema.tables where table_schema = 'bookkeeping'")
    assert found == [(4,)]


@pytest.mark.parametrize("config", [{}, MERGE, {"write_disposition": "replace"}])
def test_a_column_of_the_name_of_our_own_is_refused_not_filled_anew(place: Place, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{RUN_COLUMN!r}, which DataForge fills") as caught:
        place.load({"id": [1], RUN_COLUMN: ["my own"]}, "A", config=config)
    assert "rename or drop it with a transform, or give run_column another name" in str(caught.value)
    place.load({"id": [1], RUN_COLUMN: ["my own"]}, "A", config={**config, "run_column": None})
    assert place.stored(RUN_COLUMN) == [("my own",)]


def test_the_run_column_of_a_table_that_was_read_is_left_out(place: Place) -> None:
    place.load({"id": [1], RUN_COLUMN: [77]}, "A")
    assert place.stored("id") == [(1,)]
    assert place.stored(RUN_COLUMN) != [(77,)]


# ---- PostgreSQL alone


@pytest.fixture
def postgres(warehouse: str, tmp_path: Path) -> Place:
    return Place("postgres", tmp_path, f"t{uuid.uuid4().hex[:12]}")


def test_no_stage_table_stays_and_those_of_the_dead_are_swept(postgres: Place) -> None:
    config = {**MERGE, "stage_above": 0}
    postgres.load({"id": [1]}, config=config)
    stages = f"select relname::text from pg_class where starts_with(relname, '{STAGE}') and relkind = 'r'"
    assert postgres.sql(stages) == []
    postgres.run(f"create unlogged table {STAGE}dead (id bigint)")
    with postgres.session() as alive:
        alive.create_stage(f"{STAGE}alive", [("id", "bigint")], "public")
        alive.commit()
        with postgres.ledger() as ledger:
            assert ledger.sweep() == [f"{STAGE}dead"]
        assert postgres.sql(stages) == [(f"{STAGE}alive",)]
    with postgres.ledger() as ledger:
        assert ledger.sweep() == [f"{STAGE}alive"]


def test_swap_keeps_grants_and_refuses_what_hangs_on_the_old_table(postgres: Place) -> None:
    config = {"write_disposition": "replace", "replace_method": "swap"}
    postgres.load({"id": [1, 2]}, config=config)
    role = f"reader_{postgres.table}"
    postgres.run(f"create role {role}")
    postgres.run(f"grant select on {postgres.table} to {role}")
    before = postgres.sql(f"select '{postgres.table}'::regclass::oid::bigint")
    postgres.load({"id": [3, 4]}, config=config)
    assert postgres.stored("id") == [(3,), (4,)]
    assert postgres.sql(f"select '{postgres.table}'::regclass::oid::bigint") != before
    assert postgres.sql(f"select has_table_privilege('{role}', '{postgres.table}', 'select')") == [(True,)]
    postgres.run(f"create view {postgres.table}_v as select id from {postgres.table}")
    with pytest.raises(TerminalError, match="views depend on it"):
        postgres.load({"id": [5, 6]}, config=config)
    with pytest.raises(TerminalError, match="would leave no rows"):
        postgres.run(f"drop view {postgres.table}_v")
        postgres.load({"id": pa.array([], pa.int64())}, config=config)
    assert postgres.stored("id") == [(3,), (4,)]
    postgres.run(f"drop owned by {role}")
    postgres.run(f"drop role {role}")


def test_pipelines_that_begin_at_once_share_the_ledger_tables(postgres: Place) -> None:
    schema = f"s{uuid.uuid4().hex[:8]}"
    postgres.run(f"create schema {schema}")
    barrier, failures = threading.Barrier(4), []

    def one(number: int) -> None:
        try:
            barrier.wait(20)
            other = Place("postgres", postgres.scratch, f"{schema}.t{number}")
            other.load({"id": [number]}, f"run {number}")
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert postgres.sql(f"select count(*) from {schema}._dataforge_loads") == [(4,)]


@pytest.mark.parametrize("made", [True, False])
def test_two_runs_that_change_the_table_at_once_are_both_there(postgres: Place, *, made: bool) -> None:
    if made:
        postgres.load({"id": [0]})
    together = threading.Barrier(2)

    class Waiting(Rows):
        def reader(self) -> pa.RecordBatchReader:
            if not together.broken:
                with suppress(threading.BrokenBarrierError):
                    together.wait(1)
            return super().reader()

    def one(number: int) -> None:
        try:
            rows = Waiting(pa.table({"id": [number], "more": ["x"]}))
            postgres.destination().load(rows, postgres.context(f"run {number}"))
        except Exception as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    failures: list[Exception] = []
    threads = [threading.Thread(target=one, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert postgres.stored("id") == [*([(0,)] if made else []), (1,), (2,)]


def test_a_pipeline_that_begins_does_not_keep_others_from_it(postgres: Place) -> None:
    other = Place("postgres", postgres.scratch, f"t{uuid.uuid4().hex[:12]}")
    schema = f"ledger_{postgres.table}"

    class Slow:
        schema = pa.schema([("id", pa.int64())])

        def reader(self) -> pa.RecordBatchReader:
            def batches() -> Iterator[pa.RecordBatch]:
                yield pa.record_batch({"id": pa.array(range(2000))})
                other.load({"id": [1]}, config={"ledger_schema": schema, "lock_timeout": "1s"})
                yield pa.record_batch({"id": pa.array(range(2000))})

            return pa.RecordBatchReader.from_batches(self.schema, batches())

    postgres.destination(ledger_schema=schema).load(Slow(), postgres.context())
    assert (len(other.stored("id")), len(postgres.stored("id"))) == (1, 4000)


def test_a_text_with_nul_becomes_a_dead_letter_where_they_are_kept(postgres: Place) -> None:
    report = postgres.load({"v": ["a", "b\0c"]}, "A", limit=ALL, rows_read=2)
    assert (report.rows, report.rejected) == (1, 1)
    with postgres.ledger() as ledger:
        (letter,) = ledger.dead_letters()
    assert letter.reject.record == '{"v":"b\\u0000c"}'


@pytest.mark.parametrize(
    ("statement", "stored"),
    [
        ("add column extra bigint", [(1, "a"), (2, "b"), (3, "c")]),
        ("drop column v", [(1, None), (2, "b"), (3, "c")]),
        ("alter column id type numeric(20,0)", [(1, "a"), (2, "b"), (3, "c")]),
        ("add column extra bigint not null default 0", [(1, "a"), (2, "b"), (3, "c")]),
        ("rename column v to w", [(1, None), (2, "b"), (3, "c")]),
    ],
)
def test_a_table_that_is_changed_while_rows_are_staged_gets_all_of_them_or_none(
    postgres: Place, statement: str, stored: list[Any]
) -> None:
    config = {**MERGE, "stage_above": 0}
    postgres.load({"id": [1], "v": ["a"]}, config=config)
    incoming = Changing(pa.table({"id": [2, 3], "v": ["b", "c"]}), postgres, statement)
    postgres.destination(**config).load(incoming, postgres.context("B"))
    assert [(int(row), value) for row, value in postgres.stored("id", "v")] == stored


@pytest.mark.parametrize(
    ("config", "locked"),
    [
        ({}, True),
        ({"stage_append": True}, False),
        ({"stage_append": True, "stage_above": 10_000}, False),  # read to their end before anything is locked
        ({"stage_append": True, "stage_above": 0, "ledger_schema": "bookkeeping"}, False),
    ],
)
def test_an_append_that_is_told_to_stage_keeps_no_lock_on_the_table_while_rows_come(
    postgres: Place, config: dict[str, Any], *, locked: bool
) -> None:
    postgres.load({"id": [-1]}, "A", config=config)
    incoming = Looking(pa.table({"id": range(10_000)}), postgres)
    report = postgres.destination(**config).load(incoming, postgres.context("B", digest="b"))
    assert (report.rows, report.inserted, bool(incoming.locks)) == (10_000, 10_000, locked)
    assert postgres.sql(f"select count(*), min(id), max(id) from {postgres.table}") == [(10_001, -1, 9_999)]
    assert len(postgres.sql(f"select distinct {RUN_COLUMN} from {postgres.table}")) == 2
    with postgres.ledger(**config) as ledger:
        ledger.undo("B", "ada")
    assert postgres.stored("id") == [(-1,)]


def test_the_first_load_and_a_database_without_stage_tables_load_directly_whatever_append_is_told(place: Place) -> None:
    config = {"stage_append": True, "stage_above": 0}
    for run in ("A", "B"):
        place.load({"id": [1, 2]}, run, config=config)
    assert place.stored("id") == [(1,), (1,), (2,), (2,)]


class Looking(Rows):
    """Rows that tell what locks were held on the table when the last of them was taken."""

    def __init__(self, table: pa.Table, place: Place) -> None:
        super().__init__(table)
        self.place, self.locks = place, [("not looked",)]

    def reader(self) -> pa.RecordBatchReader:
        batches = super().reader()

        def read() -> Iterator[pa.RecordBatch]:
            yield from batches
            self.locks = self.place.sql(
                "select mode from pg_locks join pg_class c on c.oid = relation "
                f"where relname = '{self.place.table}' and mode <> 'AccessShareLock'"
            )

        return pa.RecordBatchReader.from_batches(batches.schema, read())


def test_a_table_that_comes_to_need_a_column_while_rows_are_staged_stays_as_it_is(postgres: Place) -> None:
    config = {**MERGE, "stage_above": 0}
    postgres.load({"id": [1]}, config=config)
    incoming = Changing(
        pa.table({"id": [2]}), postgres, "add column must bigint not null default 0", "alter must drop default"
    )
    with pytest.raises(ConfigError, match=r"needs column 'must'"):
        postgres.destination(**config).load(incoming, postgres.context("B"))
    assert postgres.stored("id") == [(1,)]


class Changing(Rows):
    """Rows whose last is followed, in the first pass, by changes of the table in another session."""

    def __init__(self, table: pa.Table, place: Place, *statements: str) -> None:
        super().__init__(table)
        self.place, self.statements = place, list(statements)

    def reader(self) -> pa.RecordBatchReader:
        batches = super().reader()

        def read() -> Iterator[pa.RecordBatch]:
            yield from batches
            while self.statements:
                self.place.run(f"alter table {self.place.table} {self.statements.pop(0)}")

        return pa.RecordBatchReader.from_batches(batches.schema, read())
