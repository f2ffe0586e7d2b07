"""The sql destination against a real SQLite file, and a real PostgreSQL by Airflow's hook with both its drivers."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.destinations.conftest import Database, Rows, rows

from dataforge.components.base import Connection, ExtractContext, LoadContext, LoadReport
from dataforge.components.delivery import CursorPosition, CursorStep, Reject, RejectLimit, SchemaContract, Window
from dataforge.destinations._sql_dialects import DIALECTS, SQLITE
from dataforge.destinations._sql_tables import SqlTables, retyped
from dataforge.destinations.sql import SqlConfig, SqlDestination
from dataforge.errors import ConfigError, FencedError, TerminalError, TransientError


class Place:
    """One database behind the Airflow connection `target`; `sql` runs a statement of our own and commits."""

    def __init__(self, connection: Connection, run: Callable[[str], list[tuple[Any, ...]]], schema: str) -> None:
        self.connection, self.sql, self.schema = connection, run, schema
        self.sqlite = connection.type == "sqlite"
        self.scratch = Path("/nonexistent")

    def context(self, run_id: str = "", **given: Any) -> LoadContext:
        run_key = uuid.uuid5(uuid.NAMESPACE_URL, run_id).hex[:16] if run_id else uuid.uuid4().hex[:16]
        values = {"dag_id": "orders_daily", "run_id": run_id, **given}
        return LoadContext({"target": self.connection}.__getitem__, self.scratch, run_key, **values)

    def load(self, incoming: Rows, run_id: str = "", context: Any = None, **config: Any) -> LoadReport:
        return destination(**config).load(incoming, self.context(run_id, **(context or {})))

    def rows(self, what: str = "*", of: str = "t", order: str = "") -> list[tuple[Any, ...]]:
        found = self.sql(f"select {what} from {of}")
        return sorted(found, key=repr) if not order else found

    def count(self, table: str) -> int:
        return int(self.sql(f"select count(*) from {table}")[0][0])

    def tables(self) -> set[str]:
        query = "select name from sqlite_master where type = 'table'"
        if not self.sqlite:
            query = "select table_name::text from information_schema.tables where table_schema not like 'pg%' and "
            query += "table_schema <> 'information_schema'"
        return {name for (name,) in self.sql(query)}


def destination(**config: Any) -> SqlDestination:
    return SqlDestination(SqlConfig(connection="target", **{"table": "t", **config}))


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "sqlite":
        return _sqlite(tmp_path, monkeypatch)
    from airflow.providers.postgres.hooks import postgres

    monkeypatch.setattr(postgres, "USE_PSYCOPG3", request.param == "psycopg")
    database: Database = request.getfixturevalue("database")
    of = database.connection
    spelled = {"conn_type": "postgres", "host": of.host, "login": of.login, "schema": of.schema}
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", json.dumps(spelled))
    found = Place(replace(of, id="target"), database.sql, "public")
    found.scratch = tmp_path
    return found


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return _sqlite(tmp_path, monkeypatch)


def _sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    file = tmp_path / "orders.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def run(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as con, con:
            return con.execute(statement).fetchall()

    found = Place(Connection("target", "sqlite", host=str(file)), run, "main")
    found.scratch = tmp_path
    return found


# ---- Values


TORTURE: dict[str, tuple[pa.Array[Any], str, list[Any] | None]] = {
    "bool": (pa.array([True, False, None]), "boolean", [1, 0, None]),
    "i8": (pa.array([-128, 127, None], pa.int8()), "smallint", [-128, 127, None]),
    "i64": (pa.array([2**63 - 1, -(2**63), 2**31]), "bigint", [2**63 - 1, -(2**63), 2**31]),
    "u64": (pa.array([2**64 - 1, 0, None], pa.uint64()), "text", [str(2**64 - 1), "0", None]),
    "f64": (pa.array([float("inf"), 5e-324, 0.1 + 0.2]), "double precision", [float("inf"), 5e-324, 0.1 + 0.2]),
    "dec": (pa.array([Decimal("0.10"), Decimal("-99999999.99"), None], pa.decimal128(12, 2)), "numeric(12,2)", None),
    "wide": (pa.array([Decimal("9" * 38), Decimal("-1"), None], pa.decimal128(38, 0)), "text", ["9" * 38, "-1", None]),
    "text": (pa.array(["", "a\n\"'\\\t,;é%s", "🦆\u202e"]), "text", ["", "a\n\"'\\\t,;é%s", "🦆\u202e"]),
    "digits": (pa.array(["007", "1.50", "1e5"]), "text", ["007", "1.50", "1e5"]),
    "dict": (pa.array(["x", None, "y"]).dictionary_encode(), "text", ["x", None, "y"]),
    "bytes": (pa.array([b"\0\xff", b"", None]), "blob", [b"\0\xff", b"", None]),
    "date": (pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]), "date", ["0001-01-01", "9999-12-31", None]),
    "ts": (
        pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
        "timestamp",
        ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", None],
    ),
    "tz": (
        pa.array([dt.datetime(2024, 3, 31, 1, 30), None, dt.datetime(1, 1, 1)], pa.timestamp("us", "Europe/Berlin")),
        "timestamptz",
        ["2024-03-31 01:30:00+00:00", None, "0001-01-01 00:00:00+00:00"],
    ),
    "time": (pa.array([dt.time(23, 59, 59, 999999), None, dt.time(0)]), "time", ["23:59:59.999999", None, "00:00:00"]),
    "null": (pa.nulls(3), "text", [None, None, None]),
    "list": (pa.array([[1, 2], [], None]), "text", ["[1,2]", "[]", None]),
    "struct": (pa.array([{"a": '"é'}, {"a": None}, None]), "text", ['{"a":"\\"é"}', '{"a":null}', None]),
}


def test_every_type_arrives_equal_in_sqlite(sqlite: Place) -> None:
    batch = pa.record_batch({name: array for name, (array, _, _) in TORTURE.items()})
    for _ in range(2):  # into a table made for it, and into a table that is there
        report = sqlite.load(Rows([batch]), run_column=None)
    assert (report.rows, report.target) == (3, "main.t")
    assert types_of(sqlite) == {name: type_ for name, (_, type_, _) in TORTURE.items()}
    found = sqlite.sql("select * from t")
    for index, (name, (array, _, expected)) in enumerate(TORTURE.items()):
        wanted = expected if expected is not None else array.to_pylist()
        got = [row[index] for row in found[:3]]
        if name == "dec":
            got = [None if value is None else Decimal(str(value)).quantize(Decimal("0.01")) for value in got]
        assert got == wanted, name
    assert found[:3] == found[3:]


def test_every_type_arrives_equal_in_postgres_through_the_hook(place: Place) -> None:
    if place.sqlite:
        pytest.skip("has a test of its own")
    wanted = dict(TORTURE)
    wanted["wide"] = (wanted["wide"][0], "numeric(38,0)", ["9" * 38, "-1", None])
    wanted["u64"] = (wanted["u64"][0], "numeric(20,0)", [str(2**64 - 1), "0", None])
    batch = pa.record_batch({name: array for name, (array, _, _) in wanted.items()})
    for _ in range(2):
        place.load(Rows([batch]), run_column=None)
    texts = ("dec", "wide", "u64", "date", "ts", "tz", "time", "list", "struct")
    names = ", ".join(f'"{name}"::text' if name in texts else f'"{name}"' for name in wanted)
    found = place.sql(f"select {names} from t")
    expected = {
        "dec": ["0.10", "-99999999.99", None],
        "tz": ["2024-03-31 01:30:00+00", None, "0001-01-01 00:00:00+00"],
        "list": ["[1, 2]", "[]", None],
        "struct": ['{"a": "\\"é"}', '{"a": null}', None],
        "bool": [True, False, None],
    }
    place.sql("set timezone = 'UTC'")
    for index, (name, (_, _, values)) in enumerate(wanted.items()):
        if name != "tz":
            assert [row[index] for row in found[:3]] == expected.get(name, values), name
    instants = place.sql("select tz at time zone 'UTC' from t limit 3")
    assert [value and value.replace(tzinfo=None) for (value,) in instants] == [
        dt.datetime(2024, 3, 31, 1, 30),
        None,
        dt.datetime(1, 1, 1),
    ]
    assert found[:3] == found[3:]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([float("nan")]), "NaN"),
        (pa.array([2**60], pa.timestamp("us")), "years 1 to 9999"),
        (pa.array([Decimal("1234567890123456.78")], pa.decimal128(18, 2)), "more digits"),
        (pa.array([1], pa.duration("us")), "cast it"),
    ],
)
def test_a_value_that_sqlite_would_change_is_refused(sqlite: Place, array: pa.Array[Any], reason: str) -> None:
    with pytest.raises(TerminalError, match=f"'v'.*{reason}"):
        sqlite.load(rows(v=array))
    assert "t" not in sqlite.tables()


def test_a_text_that_sqlite_would_take_for_a_number_is_refused_in_such_a_column(sqlite: Place) -> None:
    sqlite.sql("create table t (v json)")
    sqlite.load(rows(v=['{"a": 1}']))
    with pytest.raises(TerminalError, match="'v' holds a text that SQLite would turn into a number"):
        sqlite.load(rows(v=["007"]))
    assert sqlite.rows() == [('{"a": 1}',)]


def test_values_are_adapted_to_a_table_that_is_there(place: Place) -> None:
    key = "integer primary key" if place.sqlite else "bigint generated by default as identity primary key"
    place.sql(f"create table t (id {key}, price decimal(10,2), note varchar(5), at timestamp, ok boolean)")
    place.load(rows(price=[1.5], note=["five!"], at=[dt.date(2024, 1, 31)], ok=[True]))
    price, note, at, ok = place.sql("select price, note, at, ok from t")[0]
    assert (Decimal(str(price)), note, str(at), bool(ok)) == (Decimal("1.5"), "five!", "2024-01-31 00:00:00", True)
    with pytest.raises(TerminalError, match="'price'"):
        place.load(rows(price=[1.555], note=["x"], at=[None], ok=[None]))
    if not place.sqlite:
        with pytest.raises(TerminalError, match=r"'note' holds a text of 6 characters, the table's column takes 5"):
            place.load(rows(note=["secret"]))


def test_texts_go_into_columns_of_other_types_by_a_cast_of_the_server(place: Place) -> None:
    if place.sqlite:
        pytest.skip("SQLite has no such types")
    place.sql("create type mood as enum ('sad', 'ok')")
    place.sql("create table t (m mood, j jsonb, u uuid)")
    key = "12345678-1234-5678-1234-567812345678"
    place.load(rows(m=["ok"], j=[{"a": 1}], u=[key]))
    assert place.sql("select m::text, j::text, u::text from t") == [("ok", '{"a": 1}', key)]
    with pytest.raises(TerminalError) as caught:
        place.load(rows(m=["secret"], j=[None], u=[None]))
    assert "secret" not in str(caught.value)


def test_names_are_only_names(place: Place) -> None:
    names = [
        "select",
        "Group",
        'quo"te',
        "a.b",
        "x; drop table t --",
        " ",
        "é",
        "%s",
        "%(a)s",
        ":1",
        "?",
        "$1",
        "`",
        "]",
    ]
    for _ in range(2):
        place.load(Rows([pa.record_batch({name: [1] for name in names})]), run_column=None)
    with_key: dict[str, Any] = {"write_disposition": "merge", "primary_key": ["%s"], "run_column": None}
    report = place.load(Rows([pa.record_batch({name: [2] for name in names})]), **with_key)
    assert (report.inserted, report.updated) == (1, 0)
    assert place.rows() == [(1,) * len(names)] * 2 + [(2,) * len(names)]


def test_many_rows_arrive_in_batches(place: Place) -> None:
    batches = [pa.record_batch({"id": list(range(n, n + 700)), "name": [f"n{n}"] * 700}) for n in range(0, 7000, 700)]
    report = place.load(Rows(batches), batch_rows=300)
    assert (report.rows, report.inserted) == (7000, 7000)
    assert place.sql("select count(*), count(distinct id), min(id), max(id) from t") == [(7000, 7000, 0, 6999)]


# ---- The commit protocol


def test_a_run_repeated_is_skipped_with_its_digest_and_replaces_its_rows_without(place: Place) -> None:
    place.load(rows(id=[0]), "run-0", {"digest": "z"})
    place.load(rows(id=[1, 2]), "run-1", {"digest": "a"})
    again = place.load(rows(id=[1, 2]), "run-1", {"digest": "a"})
    assert (again.already, again.rows) == (True, 2)
    assert place.rows("id") == [(0,), (1,), (2,)]
    other = place.load(rows(id=[3]), "run-1", {"digest": "b"})
    assert (other.already, other.deleted) == (False, 2)
    assert place.rows("id") == [(0,), (3,)]


def test_a_repeated_append_without_a_run_column_is_refused(place: Place) -> None:
    place.load(rows(id=[1]), "run-1", {"digest": "a"}, run_column=None)
    with pytest.raises(TerminalError, match="has no column that tells them"):
        place.load(rows(id=[1]), "run-1", {"digest": "b"}, run_column=None)
    assert place.rows() == [(1,)]


@pytest.mark.parametrize("done", [True, False])
def test_a_lost_answer_to_the_commit_is_found_out(place: Place, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
    place.load(rows(id=[1]), "run-1")
    lost: list[int] = []

    def commit(db: SqlTables) -> None:
        if lost:
            db.con.commit()
            return
        lost.append(1)
        if done:
            db.con.commit()
        error = sys.modules[db.driver].OperationalError
        db.con.close()
        raise error("database is locked" if place.sqlite else "server closed the connection unexpectedly")

    monkeypatch.setattr(SqlTables, "commit", commit)
    if done:
        assert place.load(rows(id=[2]), "run-2").rows == 1
        assert place.rows("id") == [(1,), (2,)]
    else:
        with pytest.raises(TransientError):
            place.load(rows(id=[2]), "run-2")
        assert place.rows("id") == [(1,)]


def test_a_source_that_breaks_leaves_nothing(place: Place) -> None:
    batch = pa.record_batch({"id": list(range(900))})
    for disposition in ("append", "replace"):
        with pytest.raises(RuntimeError, match="the source broke"):
            place.load(Rows([batch] * 4, fail_after=3), write_disposition=disposition)
        assert not {name for name in place.tables() if name == "t" or name.startswith("_dataforge_stage")}


def test_dry_run_leaves_nothing(place: Place) -> None:
    merge: dict[str, Any] = {"write_disposition": "merge", "primary_key": ["id"]}
    report = place.load(rows(id=[1, 2]), context={"dry_run": True}, **merge)
    assert (report.created, report.inserted) == (True, 2)
    assert place.tables() == set()
    place.load(rows(id=[1, 2], v=["a", "b"]), **merge)
    before = place.sql("select epoch from _dataforge_state"), place.rows()
    tried = place.load(rows(id=[2, 3], v=["B", "c"], new=[1, 2]), context={"dry_run": True}, **merge)
    assert (tried.inserted, tried.updated) == (1, 1)
    assert any("new" in change for change in tried.schema_changes)
    assert (place.sql("select epoch from _dataforge_state"), place.rows()) == before


def position(value: int) -> dict[str, CursorPosition]:
    return {"main": CursorPosition("id", str(value), "BIGINT")}


def test_the_cursor_is_committed_with_the_rows_and_fences_other_runs_off(place: Place) -> None:
    place.load(rows(id=[5]), "run-1", {"cursor": CursorStep("advance", {}, position(5))})
    with destination().ledger(place.context()) as ledger:
        assert ledger.state().cursor == {"main": position(5)["main"].to_json()}
    step = CursorStep("advance", position(5), position(9))
    place.load(rows(id=[9]), "run-2", {"cursor": step})
    with pytest.raises(FencedError, match=r"the cursor of .*t moved"):
        place.load(rows(id=[8]), "run-3", {"cursor": step})
    assert place.rows("id") == [(5,), (9,)]


def test_two_sessions_from_one_cursor_commit_once(place: Place) -> None:
    place.load(rows(id=[0]), "run-0", {"cursor": CursorStep("advance", {}, position(0))})
    step = CursorStep("advance", position(0), position(1))

    class Meanwhile(Rows):
        """While the first load reads its rows, another one begins and commits."""

        def _read(self) -> Iterator[pa.RecordBatch]:
            if not done:
                done.append(place.load(rows(id=[100]), "run-1", {"cursor": step}))
            yield from super()._read()

    done: list[LoadReport] = []
    with pytest.raises(FencedError):
        place.load(Meanwhile([pa.record_batch({"id": [200]})]), "run-2", {"cursor": step})
    assert place.rows("id") == [(0,), (100,)]


def test_a_cursor_set_by_hand_fences_a_run_off(place: Place) -> None:
    place.load(rows(id=[5]), "run-1", {"cursor": CursorStep("advance", {}, position(5))})
    with destination().ledger(place.context()) as ledger:
        ledger.set_cursor(None, "ann")
        assert ledger.state().cursor is None
    with pytest.raises(FencedError):
        place.load(rows(id=[9]), "run-2", {"cursor": CursorStep("advance", position(5), position(9))})


def test_a_backfill_replaces_the_rows_of_its_interval(place: Place) -> None:
    zone = dt.timezone.utc
    days = [dt.datetime(2024, 1, day, 12, tzinfo=zone) for day in (1, 2, 3)]
    at = pa.array(days, pa.timestamp("us", "UTC"))
    place.load(rows(id=[1, 2, 3], at=at), "run-1", {"cursor": CursorStep("advance", {}, position(3))})
    window = Window("at", "2024-01-02 00:00:00+00", "2024-01-03 00:00:00+00")
    step = CursorStep("window", window=window)
    report = place.load(rows(id=[22], at=at.slice(1, 1)), "backfill", {"cursor": step})
    assert (report.deleted, report.inserted) == (1, 1)
    assert place.rows("id") == [(1,), (22,), (3,)]
    with destination().ledger(place.context()) as ledger:
        assert ledger.state().cursor == {"main": position(3)["main"].to_json()}


def test_a_replace_without_rows_needs_leave(place: Place) -> None:
    place.load(rows(id=list(range(10))))
    none = Rows([pa.record_batch({"id": pa.array([], pa.int64())})])
    with pytest.raises(TerminalError, match="would leave no rows, where there are 10"):
        place.load(none, write_disposition="replace")
    with pytest.raises(TerminalError, match="would leave 4 of 10 rows"):
        place.load(rows(id=[1, 2, 3, 4]), write_disposition="replace")
    assert place.count("t") == 10
    place.load(none, write_disposition="replace", allow_empty=True)
    assert place.count("t") == 0


def test_loads_can_be_taken_back(place: Place) -> None:
    place.load(rows(id=[1]), "run-1", {"cursor": CursorStep("advance", {}, position(1))})
    place.load(rows(id=[2, 3]), "run-2", {"cursor": CursorStep("advance", position(1), position(3))})
    with destination().ledger(place.context()) as ledger:
        undone = ledger.undo("run-2", "ann")
        assert (undone.removed, undone.cursor_moved) == (2, True)
        assert ledger.state().cursor == {"main": position(1)["main"].to_json()}
        assert [one.undone_at is None for one in ledger.loads()] == [False, True]
    assert place.rows("id") == [(1,)]
    keeping: dict[str, Any] = {"write_disposition": "replace", "keep_previous": True}
    place.load(rows(id=[7, 8]), "run-3", **keeping)
    with destination(**keeping).ledger(place.context()) as ledger:
        assert ledger.undo("run-3", "ann").restored == 1
    assert place.rows("id") == [(1,)]


def test_rejects_are_kept_and_taken_back_in_once(place: Place) -> None:
    limit = RejectLimit(0.9, 10)
    reject = Reject("check", "it's bad \\ %s", '{"id": 3, "text": "\\u0000 é"}', step=1, column="id")
    report = place.load(rows(id=[1]), "run-1", {"rejects": [reject], "limit": limit, "rows_read": 2})
    assert report.rejected == 1
    with destination().ledger(place.context()) as ledger:
        (kept,) = ledger.dead_letters(pending=True)
        assert (kept.reject.reason, kept.reject.record, kept.run_id) == (reject.reason, reject.record, "run-1")
    place.load(rows(id=[3]), "replay", {"replays": (kept.id,), "digest": "a"})
    place.load(rows(id=[3]), "replay", {"replays": (kept.id,), "digest": "b"})
    with pytest.raises(TransientError, match="were replayed by another load"):
        place.load(rows(id=[3]), "other", {"replays": (kept.id,)})
    assert place.rows("id") == [(1,), (3,)]
    with destination().ledger(place.context()) as ledger:
        assert ledger.dead_letters(pending=True) == []
    with pytest.raises(TerminalError, match="max_share"):
        place.load(rows(id=[5]), "run-9", {"rejects": [reject] * 9, "limit": RejectLimit(0.5, 10), "rows_read": 10})
    assert place.count("t") == 2


# ---- Merge, against a model


def pick(strategy: str) -> Mapping[str, Any]:
    return {
        "write_disposition": "merge",
        "merge_strategy": strategy,
        "primary_key": ["id"],
        "delete_flag": "gone",
        "null_keys": "dead_letter",
        "duplicate_keys": "deduplicate",
        "latest_by": "at",
    }


def batch_of(rng: random.Random, size: int) -> list[dict[str, Any]]:
    return [
        {
            "id": None if rng.random() < 0.05 else rng.randrange(30),
            "name": rng.choice([None, "a", "A", "b", "b ", "", "é'\"%s"]),
            "amount": rng.choice([None, Decimal("0.10"), Decimal("12345.67"), Decimal("-1.00")]),
            "day": rng.choice([None, dt.date(2024, 2, 29), dt.date(1999, 12, 31)]),
            "at": rng.choice([None, *range(5)]),
            "gone": rng.choice([None, False, False, True]),
        }
        for _ in range(size)
    ]


TYPES: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "name": pa.string(),
    "amount": pa.decimal128(12, 2),
    "day": pa.date32(),
    "at": pa.int64(),
    "gone": pa.bool_(),
}
SCHEMA = pa.schema(TYPES)


def last_of_each(records: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for record in records:
        if (key := record["id"]) is None:
            continue
        old = found.get(key)
        rank = -1 if record["at"] is None else record["at"]
        if old is None or rank >= (-1 if old["at"] is None else old["at"]):
            found[key] = record
    return found


def is_older(at: int | None, stored: tuple[Any, ...] | None) -> bool:
    """Whether a record is older, by `latest_by`, than the row that it would change."""
    return stored is not None and stored[-1] is not None and (at is None or at < stored[-1])


def plain(row: Iterable[Any]) -> tuple[Any, ...]:
    """Return values of any of the databases in one form."""
    id_, name, amount, day, at = row
    return id_, name, None if amount is None else Decimal(str(amount)).quantize(Decimal("0.01")), day and str(day), at


@pytest.mark.parametrize("strategy", ["upsert", "delete_insert", "scd2"])
@pytest.mark.parametrize("seed", range(3))
def test_merge_equals_a_model(place: Place, strategy: str, seed: int) -> None:
    rng = random.Random(seed)
    columns = [name for name in SCHEMA.names if name != "gone"]
    model: dict[int, tuple[Any, ...]] = {}
    versions = 0
    for index in range(6):
        records = batch_of(rng, rng.choice([5, 40]))
        stage_above = rng.choice([0, 1000])  # a real stage table, or all in one transaction
        arrived = Rows([pa.RecordBatch.from_pylist(records, SCHEMA)])
        config: dict[str, Any] = {**pick(strategy), "stage_above": stage_above}
        report = place.load(arrived, f"run-{index}", {"limit": RejectLimit(1.0, 100)}, **config)
        assert report.rejected == sum(record["id"] is None for record in records)
        before = dict(model)
        for key, record in last_of_each(records).items():
            if strategy == "upsert" and is_older(record["at"], model.get(key)):
                continue
            if record["gone"]:
                model.pop(key, None)
            else:
                model[key] = plain(record[name] for name in columns)
        versions += sum(1 for key, row in model.items() if before.get(key) != row)
        if strategy == "upsert":
            assert report.inserted == len(model.keys() - before.keys())
            assert report.updated == sum(1 for key in model.keys() & before.keys() if model[key] != before[key])
        wanted = " where _valid_to is null" if strategy == "scd2" else ""
        found = place.sql(f"select {', '.join(columns)} from t{wanted}")
        assert sorted(map(plain, found), key=repr) == sorted(model.values(), key=repr)
        if strategy == "scd2":
            assert place.count("t") == versions
    assert not [name for name in place.tables() if name.startswith("_dataforge_stage")]
    if strategy == "scd2":
        with destination(**pick(strategy)).ledger(place.context()) as ledger:
            undone = ledger.undo("run-5", "ann")
        found = place.sql(f"select {', '.join(columns)} from t where _valid_to is null")
        assert sorted(map(plain, found), key=repr) == sorted(before.values(), key=repr)
        assert undone.removed or undone.restored or before == model


def test_null_and_duplicate_keys_fail_by_default_and_can_be_dead_letters(place: Place) -> None:
    config: dict[str, Any] = {"write_disposition": "merge", "primary_key": ["id"]}
    with pytest.raises(TerminalError, match="have no value in the primary key"):
        place.load(rows(id=[1, None], v=[True, False]), **config)
    with pytest.raises(TerminalError, match="stand in more than one record"):
        place.load(rows(id=[1, 1], v=[True, False]), **config)
    assert place.tables() <= {"_dataforge_state", "_dataforge_loads", "_dataforge_dead_letters", "_dataforge_schemas"}
    lenient: dict[str, Any] = {**config, "null_keys": "dead_letter", "duplicate_keys": "dead_letter"}
    amount = pa.array([Decimal("1.50"), Decimal("2.50"), Decimal("3.50")], pa.decimal128(10, 2))
    incoming = rows(id=[1, 1, None], v=[True, False, True], amount=amount)
    place.load(incoming, "run-1", {"limit": RejectLimit(1, 10)}, **lenient)
    with destination(**lenient).ledger(place.context()) as ledger:
        records = [json.loads(one.reject.record) for one in ledger.dead_letters()]
    assert sorted(records, key=str) == [
        {"id": 1, "v": True, "amount": 1.5},
        {"id": None, "v": True, "amount": 3.5},
    ]
    assert [(id_, bool(v)) for id_, v, _ in place.rows("id, v, amount")] == [(1, False)]


def test_missing_rows_can_be_deleted(place: Place) -> None:
    config: dict[str, Any] = {"write_disposition": "merge", "primary_key": ["id"], "missing_rows": "delete"}
    place.load(rows(id=[1, 2, 3], v=["a", "b", "c"]), **config)
    report = place.load(rows(id=[2, 4], v=["b", "d"]), **config)
    assert (report.deleted, report.inserted, report.updated) == (2, 1, 0)
    assert place.rows("id, v") == [(2, "b"), (4, "d")]


# ---- Columns


def types_of(place: Place, table: str = "t") -> dict[str, str]:
    if place.sqlite:
        return {name: type_.lower() for _, name, type_, *_ in place.sql(f"pragma table_info({table})")}
    found = place.sql(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
        f"where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped order by attnum"
    )
    return dict(found)


def test_columns_widen_step_by_step_and_keep_their_values(place: Place) -> None:
    config: dict[str, Any] = {"run_column": None}
    place.load(rows(id=[1], v=pa.array([7], pa.int32())), **config)
    place.load(rows(id=[2], v=[2**40]), **config)
    place.load(rows(id=[3], v=pa.array([Decimal("1.50")], pa.decimal128(10, 2))), **config)
    wide = types_of(place)["v"]
    assert wide.startswith("numeric(") if not place.sqlite else wide in ("bigint", "numeric(21,2)", "text")
    report = place.load(rows(id=[4], v=["007"]), **config)
    assert types_of(place)["v"] == "text"
    assert any("is widened from" in note for note in report.schema_notes)
    found = dict(place.sql("select id, v from t"))
    assert [Decimal(found[1]), Decimal(found[2]), Decimal(found[3])] == [7, 2**40, Decimal("1.5")]
    assert found[4] == "007"


ODD = (
    'create table "o\'dd" ("The Id" INTEGER PRIMARY KEY AUTOINCREMENT, v int CHECK (v <> 0) DEFAULT 3, '
    "w decimal(10, 2) NOT NULL DEFAULT 1.5, g int generated always as (v + 1), UNIQUE (v, w))"
)


def test_widening_in_sqlite_keeps_indexes_triggers_views_defaults_and_keys(sqlite: Place) -> None:
    for statement in (
        ODD,
        'create index by_w on "o\'dd" (w)',
        "create table seen (n)",
        'create trigger note after insert on "o\'dd" begin insert into seen values (new.w); end',
        'create view doubled as select v * 2 as d from "o\'dd"',
        'insert into "o\'dd" (v, w) values (5, 1.5), (6, 2.25)',
    ):
        sqlite.sql(statement)
    made = retyped(
        sqlite.sql("select sql from sqlite_master where name = 'o''dd'")[0][0], '"main"."x"', "v", "double precision"
    )
    assert made == (
        'CREATE TABLE "main"."x" ("The Id" INTEGER PRIMARY KEY AUTOINCREMENT, v double precision CHECK (v <> 0) '
        "DEFAULT 3, w decimal(10, 2) NOT NULL DEFAULT 1.5, g int generated always as (v + 1), UNIQUE (v, w))"
    )
    sqlite.sql('alter table "o\'dd" rename to t')
    evolve: dict[str, Any] = {"contract": SchemaContract(default="evolve")}
    sqlite.load(rows(v=[2.5], w=pa.array([Decimal("2.5")], pa.decimal128(10, 2))), context=evolve)
    assert types_of(sqlite)["v"] == "double precision"
    assert sqlite.sql("select v, w, g from t order by 1") == [(2.5, 2.5, 3.5), (5.0, 1.5, 6.0), (6.0, 2.25, 7.0)]
    sqlite.load(rows(v=[1.0], w=["a"]), context=evolve)
    assert sqlite.sql("select w, typeof(w) from t where v = 6.0") == [("2.25", "text")]
    assert sqlite.sql("select w from t where v = 5.0") == [("1.50",)]
    assert sqlite.sql("select d from doubled order by 1") == [(2.0,), (5.0,), (10.0,), (12.0,)]
    assert sqlite.sql("select n from seen") == [(1.5,), (2.25,), (2.5,), ("a",)]
    assert sqlite.sql("select name from sqlite_master where type = 'index' and sql is not null") == [("by_w",)]
    assert sqlite.sql('select max("The Id") from t') == [(4,)]


def test_a_widening_that_fails_later_leaves_the_table_as_it_was(place: Place) -> None:
    place.load(rows(id=[1], v=[1]), run_column=None)
    before = types_of(place)
    batches = [pa.record_batch({"id": [n], "v": ["x"]}) for n in range(3)]
    with pytest.raises(RuntimeError, match="broke"):
        place.load(Rows(batches, fail_after=2), run_column=None)
    assert (types_of(place), place.rows()) == (before, [(1, 1)])


@pytest.mark.parametrize(
    ("mode", "ids", "rejected"),
    [("freeze", None, 0), ("discard_row", [1, 3], 1), ("discard_value", [1, 2, 3], 0), ("evolve", [1, 2, 3], 0)],
)
def test_contract_modes_for_a_new_column(place: Place, mode: Any, ids: list[int] | None, rejected: int) -> None:
    place.load(rows(id=[1]), run_column=None)
    given: dict[str, Any] = {"contract": SchemaContract(default=mode), "limit": RejectLimit(0.9, 10)}
    incoming = rows(id=[2, 3], extra=["x", None])
    if ids is None:
        with pytest.raises(ConfigError, match="'extra'"):
            place.load(incoming, context=given, run_column=None)
        return
    report = place.load(incoming, context=given, run_column=None)
    assert report.rejected == rejected
    assert [id_ for (id_,) in place.rows("id")] == ids
    assert ("extra" in types_of(place)) == (mode == "evolve")


def test_a_column_without_values_takes_the_type_of_the_first_one(place: Place) -> None:
    place.load(Rows([pa.record_batch({"id": pa.array([1]), "v": pa.nulls(1)})]), run_column=None)
    place.load(rows(id=[2], v=[5]), run_column=None)
    assert types_of(place)["v"] == "bigint"
    assert place.rows() == [(1, None), (2, 5)]


# ---- Sessions, locks, kills


def test_a_database_that_is_locked_is_tried_again_later(sqlite: Place) -> None:
    sqlite.load(rows(id=[1]))
    with closing(sqlite3.connect(sqlite.connection.host)) as other:
        other.execute("begin immediate")
        began = time.monotonic()
        with pytest.raises(TransientError, match="locked"):
            sqlite.load(rows(id=[2]), lock_timeout="300ms")
        assert 0.25 < time.monotonic() - began < 3
        with destination().ledger(sqlite.context()) as ledger:  # readers need not wait
            assert len(ledger.loads()) == 1
    assert sqlite.rows("id") == [(1,)]


def test_a_lock_held_by_others_ends_in_a_transient_error(place: Place) -> None:
    if place.sqlite:
        pytest.skip("has a test of its own")
    import psycopg

    place.load(rows(id=[1]))
    of = place.connection
    with psycopg.connect(host=of.host, user=of.login, dbname=of.schema) as other:
        other.execute("lock table t in access exclusive mode")
        with pytest.raises(TransientError, match="lock timeout"):
            place.load(rows(id=[2]), lock_timeout="300ms")
    assert place.rows("id") == [(1,)]


def test_a_foreign_key_that_cascades_stops_a_replace(place: Place) -> None:
    if place.sqlite:
        pytest.skip("SQLite's foreign keys are off by default")
    place.sql("create table t (id bigint primary key)")
    place.sql("create table child (id bigint references t on delete cascade)")
    place.sql("insert into t values (1)")
    place.sql("insert into child values (1)")
    with pytest.raises(TerminalError, match="'child_id_fkey' cascades"):
        place.load(rows(id=[1]), write_disposition="replace")
    assert place.count("child") == 1


def test_a_broken_constraint_is_told_without_the_rows_values(place: Place) -> None:
    place.sql("create table t (id bigint primary key, secret text)")
    with pytest.raises(TerminalError) as caught:
        place.load(rows(id=[3_000_007, 3_000_007], secret=["hush", "hush"]))
    assert "hush" not in str(caught.value)
    assert "3000007" not in str(caught.value)
    assert "t.id" in str(caught.value) or "t_pkey" in str(caught.value)
    assert place.count("t") == 0


def test_views_are_not_written(place: Place) -> None:
    place.sql("create view t as select 1 as id")
    with pytest.raises(TerminalError, match="is a view"):
        place.load(rows(id=[1]))


def test_schemas_are_made_in_postgres_and_refused_in_sqlite(place: Place) -> None:
    if place.sqlite:
        with pytest.raises(TerminalError, match="has no schema 'sales'"):
            place.load(rows(id=[1]), table="sales.t")
        return
    place.load(rows(id=[1]), table="sales.t", ledger_schema="ledgers")
    assert place.rows("id", "sales.t") == [(1,)]
    assert place.count("ledgers._dataforge_loads") == 1
    with pytest.raises(TerminalError, match="set create_schema to true"):
        place.load(rows(id=[1]), table="other.t", create_schema=False)


KILLED = """
import json, sys, time
import pyarrow as pa
from pathlib import Path
from dataforge.components.base import Connection, LoadContext
from dataforge.destinations.sql import SqlConfig, SqlDestination

class Endless:
    schema = pa.schema({"id": pa.int64()})
    def reader(self):
        def batches():
            for n in range(10_000):
                yield pa.record_batch({"id": list(range(1000))})
                if n == 20:
                    print("halfway", flush=True)
                if n >= 20:
                    time.sleep(0.05)
        return pa.RecordBatchReader.from_batches(self.schema, batches())

connection = Connection("target", "sqlite", host=sys.argv[1])
config = SqlConfig(connection="target", table="t", write_disposition=sys.argv[2], **json.loads(sys.argv[3]))
found = {"target": connection}.__getitem__
context = LoadContext(found, Path("."), "0123456789abcdef", "orders_daily", run_id="killed")
SqlDestination(config).load(Endless(), context)
"""


@pytest.mark.parametrize(("disposition", "more"), [("append", "{}"), ("replace", '{"stage_above": 0}')])
def test_a_load_that_is_killed_leaves_the_state_before(sqlite: Place, disposition: str, more: str) -> None:
    sqlite.load(rows(id=[1, 2]), "before")
    command = [sys.executable, "-c", KILLED, sqlite.connection.host, disposition, more]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "halfway"
        time.sleep(0.3)
        child.send_signal(signal.SIGKILL)
    assert sqlite.rows("id") == [(1,), (2,)]
    sqlite.load(rows(id=[3, 4]), "killed", write_disposition=disposition)
    assert sqlite.rows("id") == ([(1,), (2,), (3,), (4,)] if disposition == "append" else [(3,), (4,)])
    assert sqlite.sql("pragma integrity_check") == [("ok",)]


def test_the_sweep_takes_only_old_stage_tables(place: Place) -> None:
    place.load(rows(id=[1]))
    now = dt.datetime.now(dt.timezone.utc)
    old, young = (f"_dataforge_stage_{at:%y%m%d%H%M}_0123456789abcdef_x" for at in (now - dt.timedelta(days=2), now))
    for name in (old, young, "_dataforge_stage_mine"):
        place.sql(f'create table "{name}" (a int)')
    with destination().ledger(place.context()) as ledger:
        assert ledger.sweep() == ([] if place.sqlite else [old])
    assert young in place.tables()


def test_a_stage_table_has_its_time_and_is_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str | None]] = []
    create = SqlTables.create_stage

    def noted(db: SqlTables, name: str, columns: Any, schema: str | None) -> str:
        made.append((name, schema))
        return create(db, name, columns, schema)

    monkeypatch.setattr(SqlTables, "create_stage", noted)
    many: dict[str, Any] = {"write_disposition": "merge", "primary_key": ["id"], "stage_above": 2}
    place.load(rows(id=[1]), **many)
    place.load(rows(id=[1, 2, 3]), **many)
    (name, schema) = made[-1]
    assert schema == (None if place.sqlite else "public")
    assert name.startswith(f"_dataforge_stage_{dt.datetime.now(dt.timezone.utc):%y%m%d}")
    assert not [name for name in place.tables() if name.startswith("_dataforge_stage")]
    assert place.count("t") == 3


def test_where_ddl_ends_a_transaction_changes_come_first_and_rows_stay_atomic(
    sqlite: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands for MySQL and Snowflake: each change of a table is committed at once, as there."""
    run = SqlTables.run
    changes: list[str] = []

    def committing(db: SqlTables, sql: str) -> int:
        done = run(db, sql)
        if sql.startswith(("create ", "alter ", "drop ")):
            assert not [name for name in changes if name == "locked"], f"{sql} in the load's transaction"
            db.con.commit()
        if sql.startswith("update") and "epoch = epoch where" in sql:
            changes.append("locked")
        return done

    def commit(db: SqlTables) -> None:
        changes.clear()
        db.con.commit()

    def rollback(db: SqlTables) -> None:
        changes.clear()
        db.con.rollback()

    place = replace(SQLITE, transactional_ddl=False)
    monkeypatch.setitem(DIALECTS, "sqlite", place)
    for name, instead in (("run", committing), ("commit", commit), ("rollback", rollback)):
        monkeypatch.setattr(SqlTables, name, instead)
    with pytest.raises(TerminalError, match="before its first load"):
        sqlite.load(rows(id=[1]), context={"dry_run": True})
    with pytest.raises(RuntimeError, match="broke"):
        sqlite.load(Rows([pa.record_batch({"id": [1]})] * 3, fail_after=2))
    sqlite.load(rows(id=[1]))
    sqlite.load(rows(id=[2], new=["x"]))
    merge: dict[str, Any] = {"write_disposition": "merge", "primary_key": ["id"]}
    report = sqlite.load(rows(id=[2, 3], new=["y", "z"], newer=[1, 2]), **merge)
    assert (report.updated, report.inserted) == (1, 1)
    assert sqlite.rows("id, new, newer") == [(1, None, None), (2, "y", 1), (3, "z", 2)]
    assert sqlite.load(rows(id=[3], new=["!"]), context={"dry_run": True}, **merge).updated == 1
    with pytest.raises(TerminalError, match="can't roll back"):
        sqlite.load(rows(id=[3], more=["!"]), context={"dry_run": True}, **merge)
    with pytest.raises(TerminalError, match="keep_previous is not possible"):
        sqlite.load(rows(id=[3]), write_disposition="replace", keep_previous=True)
    assert not [name for name in sqlite.tables() if name.startswith("_dataforge_stage")]


# ---- Connections


def test_other_databases_are_refused_and_oracle_says_why(tmp_path: Path) -> None:
    for type_, why in (("oracle", "an empty text is no value"), ("trino", "it writes to: mssql, mysql")):
        context = LoadContext({"target": Connection("target", type_)}.__getitem__, tmp_path, "0" * 16)
        with pytest.raises(TerminalError, match=why):
            destination().load(rows(id=[1]), context)


def test_check_says_what_it_reached(place: Place, tmp_path: Path) -> None:
    asked = ExtractContext({"target": place.connection}.__getitem__, tmp_path)
    name = "main.t" if place.sqlite else "public.t"
    assert f"table {name} (to be created)" in destination().check(asked)
    assert place.tables() == set()
    place.sql("create table t (id bigint)")
    assert "(1 columns)" in destination().check(asked)


def test_a_server_away_is_transient_and_the_password_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spelled = "postgres://postgres:hunter2-secret@127.0.0.1:1/db"
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", spelled)
    away = Connection("target", "postgres", "127.0.0.1", 1, "postgres", "hunter2-secret", "db")
    context = LoadContext(lambda _: away, tmp_path, "0" * 16)
    with pytest.raises(TransientError, match="target") as caught:
        destination().load(rows(id=[1]), context)
    assert "hunter2" not in str(caught.value)


def test_asset_names_connection_and_table() -> None:
    assert SqlConfig(connection="target", table="sales.orders").asset() == "dataforge://target/sales.orders"
