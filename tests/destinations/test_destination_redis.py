"""The redis destination against a real Valkey: whole loads or nothing, markers, fences, repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from tests import valkey_server

from dataforge.components.base import LoadContext, LoadReport
from dataforge.components.delivery import CursorPosition, CursorStep, Reject, RejectLimit
from dataforge.destinations.redis import OURS, RedisConfig, RedisDestination
from dataforge.errors import FencedError, ServerAway, TerminalError, TransientError
from dataforge.runtime.connections import lookup
from dataforge.testing import ComponentContract, Rows

ROWS = pa.table({"id": pa.array(range(2_500), pa.int64()), "name": [f"n{n}" if n % 7 else None for n in range(2_500)]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the module."""
    with valkey_server.running(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def db(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty database of it, which is the connection `cache`."""
    import redis

    monkeypatch.setenv("AIRFLOW_CONN_CACHE", f"redis://127.0.0.1:{urlsplit(server).port}/0")
    with closing(redis.Redis.from_url(server, decode_responses=True)) as found:
        found.flushall()
        yield found


class Target:
    """A prefix to load into."""

    def __init__(self, db: Any, scratch: Path) -> None:
        self.db, self.scratch = db, scratch

    def destination(self, **config: Any) -> RedisDestination:
        """Return the destination."""
        given = {"type": "redis", "connection": "cache", "prefix": "o:", "primary_key": ["id"], **config}
        return RedisDestination(RedisConfig.model_validate(given))

    def context(self, run: str, **given: Any) -> LoadContext:
        """Return the context of a run."""
        return LoadContext(lookup, self.scratch, run, "p", run_id=run, target="t", **given)

    def load(self, table: pa.Table, run: str, context: Mapping[str, Any] | None = None, **config: Any) -> LoadReport:
        """Load a table as a run does."""
        return self.destination(**config).load(Rows(table), self.context(run, **(context or {})))

    def rows(self, prefix: str = "o:") -> dict[str, Any]:
        """Return the hashes by key."""
        return {key.removeprefix(prefix): self.db.hgetall(key) for key in self.db.scan_iter(match=f"{prefix}*")}

    def waiting(self) -> list[str]:
        """Return the keys of rows that wait."""
        return list(self.db.scan_iter(match=f"{OURS}stage:*"))


@pytest.fixture
def target(db: Any, tmp_path: Path) -> Target:
    """The prefix."""
    return Target(db, tmp_path)


class TestRedis(ComponentContract):
    """What holds for every component."""

    kind = "destination"
    config = {"type": "redis", "connection": "cache", "prefix": "order:", "primary_key": ["id"]}


class TestLoads:
    """What loads do."""

    def test_merge_writes_the_keys_of_the_records_and_leaves_others(self, target: Target) -> None:
        """Each row whole: a value that is null now has no field any more."""
        target.load(ROWS, "one")
        report = target.load(pa.table({"id": [1, 9_999], "name": [None, "new"]}), "two")
        rows = target.rows()
        assert (len(rows), report.rows) == (2_501, 2)
        assert (rows["1"], rows["9999"], rows["2"]) == (
            {"id": "1"},
            {"id": "9999", "name": "new"},
            {"id": "2", "name": "n2"},
        )
        assert target.waiting() == []

    def test_replace_leaves_only_the_last_run_and_keys_of_others(self, target: Target) -> None:
        """Only keys that loads wrote are removed."""
        target.db.hset("o:foreign", "x", 1)
        target.load(ROWS, "one", write_disposition="replace")
        target.load(ROWS.slice(0, 1_500), "two", write_disposition="replace")
        assert set(target.rows()) == {*map(str, range(1_500)), "foreign"}

    def test_the_same_rows_of_the_same_run_are_not_loaded_twice(self, target: Target) -> None:
        """As a retry after a lost answer brings them."""
        target.load(ROWS, "one", {"digest": "d"})
        target.db.hset("o:1", "name", "touched")
        report = target.load(ROWS, "one", {"digest": "d"})
        assert (report.already, report.rows, target.rows()["1"]["name"]) == (True, 2_500, "touched")

    def test_deletes_remove_keys(self, target: Target) -> None:
        """A column says which records are gone."""
        target.load(ROWS, "one")
        table = pa.table({"id": [1, 2], "gone": [True, False]})
        report = target.load(table, "two", delete_flag="gone")
        assert (report.rows, report.deleted, "1" in target.rows()) == (1, 1, False)
        assert target.rows()["2"] == {"id": "2"}

    def test_values_arrive_as_they_are(self, target: Target) -> None:
        """As texts in a hash, as JSON with all digits, and in keys of several columns without mixing them up."""
        table = pa.table(
            {
                "a": ["x:y", "x"],
                "b": ["z", "y:z"],
                "amount": pa.array([Decimal("12345678901234567.891")] * 2, pa.decimal128(20, 3)),
                "small": pa.array([Decimal("0E-10"), Decimal("1E-7")], pa.decimal128(20, 10)),
                "ok": [True, None],
                "at": pa.array([0, 1], pa.timestamp("ms", "UTC")),
                "list": [[1, 2], []],
            }
        )
        target.load(table, "one", primary_key=["a", "b"])
        rows = target.rows()
        assert set(rows) == {"x%3Ay:z", "x:y%3Az"}
        assert rows["x%3Ay:z"] == {
            "a": "x:y",
            "b": "z",
            "amount": "12345678901234567.891",
            "small": "0.0000000000",
            "ok": "true",
            "at": "1970-01-01T00:00:00+00:00",
            "list": "[1,2]",
        }
        target.load(table, "two", primary_key=["a", "b"], store="json", prefix="j:")
        text = target.db.get("j:x:y%3Az")
        assert '"amount":12345678901234567.891' in text
        assert json.loads(text)["ok"] is None

    def test_keys_that_are_missing_or_double_end_the_load_or_are_set_aside(self, target: Target) -> None:
        """By the config's choice; nothing is left of a load that failed."""
        double = pa.table({"id": [1, 1, None], "name": ["a", "b", "c"]})
        with pytest.raises(TerminalError, match="more than one record has the key 'o:1'"):
            target.load(double, "one")
        with pytest.raises(TerminalError, match="primary key"):
            target.load(double, "one", duplicate_keys="deduplicate")
        assert (target.rows(), target.waiting()) == ({}, [])
        limit = {"limit": RejectLimit(1, 5)}
        report = target.load(double, "one", limit, duplicate_keys="deduplicate", null_keys="dead_letter")
        assert (report.rows, report.rejected, target.rows()) == (1, 1, {"1": {"id": "1", "name": "b"}})
        with target.destination().ledger(target.context("x")) as ledger:
            (letter,) = ledger.dead_letters(pending=True)
            assert (letter.reject.stage, json.loads(letter.reject.record)["name"]) == ("key", "c")
            assert ledger.dead_letter_counts() == (1, 1)
        target.load(ROWS.slice(0, 1), "replay", {"replays": (letter.id,)})
        with target.destination().ledger(target.context("x")) as ledger:
            assert ledger.dead_letter_counts() == (1, 0)
            assert ledger.dead_letters(pending=True) == []

    def test_a_replace_that_would_leave_nothing_or_little_needs_leave(self, target: Target) -> None:
        """A broken source must not empty the target."""
        target.load(ROWS, "one", write_disposition="replace")
        for rows, flag in ((0, "allow_empty"), (1_000, "allow_shrink")):
            with pytest.raises(TerminalError, match=flag):
                target.load(ROWS.slice(0, rows), "two", write_disposition="replace")
            assert len(target.rows()) == 2_500
        target.load(ROWS.slice(0, 0), "two", write_disposition="replace", allow_empty=True)
        assert target.rows() == {}

    def test_a_column_that_is_not_there_is_named(self, target: Target) -> None:
        """With those that are."""
        with pytest.raises(TerminalError, match="no column 'key'; columns: id, name"):
            target.load(ROWS, "one", primary_key=["key"])


class TestCommit:
    """All or nothing."""

    def step(self, before: str | None, after: str) -> CursorStep:
        """Return a step of a cursor."""
        at = {"source": CursorPosition("n", before, "BIGINT")} if before else {}
        return CursorStep("advance", at, {"source": CursorPosition("n", after, "BIGINT")})

    def test_rows_cursor_and_marker_are_one_and_a_twin_is_fenced_off(self, target: Target) -> None:
        """Two runs from one cursor: the second must read again."""
        target.load(ROWS, "one", {"cursor": self.step(None, "5"), "rejects": [Reject("extract", "why", "{}")]})
        with pytest.raises(FencedError):
            target.load(ROWS.slice(0, 2), "two", {"cursor": self.step(None, "6")})
        target.load(ROWS.slice(0, 2), "two", {"cursor": self.step("5", "6")})
        with target.destination().ledger(target.context("x")) as ledger:
            cursor: Any = ledger.state().cursor
            assert (cursor["source"]["value"], ledger.state().epoch) == ("6", 2)
            assert [one.run_id for one in ledger.loads()] == ["two", "one"]
            found = ledger.load("one")
            assert found is not None
            assert (found.rows, found.rejected) == (2_500, 1)
            ledger.set_cursor(None, "someone")
            assert ledger.state().cursor is None
            with pytest.raises(TerminalError, match="can't be taken back"):
                ledger.undo("one", "someone")
        with pytest.raises(FencedError):
            target.load(ROWS, "three", {"cursor": self.step("6", "7")})

    def test_a_load_that_breaks_changes_nothing(self, target: Target) -> None:
        """Neither keys nor marker, and nothing waits any more."""
        target.load(ROWS.slice(0, 5), "one")
        with pytest.raises(Exception, match="broke"):
            target.destination().load(Rows(ROWS, fail_after=1), target.context("two"))
        assert (len(target.rows()), target.waiting()) == (5, [])

    def test_a_dry_run_writes_nothing(self, target: Target) -> None:
        """It says what a load would do."""
        report = target.load(ROWS, "one", {"dry_run": True})
        assert (report.rows, target.rows(), target.waiting()) == (2_500, {}, [])

    def test_rows_that_the_server_evicted_before_the_commit_end_the_load(
        self, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is committed then."""
        from dataforge.destinations.redis import _Load

        commit = _Load._commit

        def evicted(self: _Load, *given: Any) -> int:
            target.db.delete(next(key for key in target.waiting() if key.endswith(":7")))
            return commit(self, *given)

        monkeypatch.setattr(_Load, "_commit", evicted)
        with pytest.raises(TransientError, match="gone"):
            target.load(ROWS, "one")
        assert (target.rows(), target.waiting()) == ({}, [])

    def test_a_commit_whose_answer_was_lost_is_found_by_its_marker(
        self, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is reported is never a guess."""
        import redis

        ask = redis.Redis.eval

        def lost(self: Any, script: str, *given: Any) -> Any:
            ask(self, script, *given)
            raise redis.ConnectionError("the answer was lost")

        monkeypatch.setattr(redis.Redis, "eval", lost)
        report = target.load(ROWS, "one")
        assert (report.rows, report.already, len(target.rows())) == (2_500, False, 2_500)
        monkeypatch.setattr(redis.Redis, "eval", lambda *given: (_ for _ in ()).throw(redis.ConnectionError("cut")))
        with pytest.raises(ServerAway):
            target.load(ROWS.slice(0, 1), "two")

    def test_the_sweep_removes_what_killed_loads_left_behind_a_day_ago(self, target: Target) -> None:
        """And nothing that may still be of a living one."""
        import time

        old, new = f"{OURS}stage:1000-abc:1", f"{OURS}stage:{int(time.time())}-abc:1"
        for key in (old, new):
            target.db.set(key, 1)
        with target.destination().ledger(target.context("x")) as ledger:
            assert ledger.sweep() == [old]
        assert target.waiting() == [new]

    def test_readers_see_all_rows_of_a_load_or_none(self, target: Target, server: str) -> None:
        """A reader that looks all the time never sees rows of two loads."""
        import threading

        import redis

        target.load(pa.table({"id": range(500), "v": ["a"] * 500}), "one", write_disposition="replace")
        seen: set[str] = set()
        stop = threading.Event()

        def look() -> None:
            with (
                closing(redis.Redis.from_url(server, decode_responses=True)) as reader,
                suppress(redis.ConnectionError),
            ):
                while not stop.is_set():
                    with reader.pipeline(transaction=True) as pipe:
                        for number in (0, 499):
                            pipe.hget(f"o:{number}", "v")
                        seen.add("".join(pipe.execute()))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for turn in "bcde":
                target.load(pa.table({"id": range(500), "v": [turn] * 500}), turn, write_disposition="replace")
        finally:
            stop.set()
            thread.join()
        assert seen <= {"aa", "bb", "cc", "dd", "ee"}
        assert len(seen) > 1


def test_a_prefix_of_ours_or_with_a_pattern_is_refused() -> None:
    """It would hold the ledgers, or match other keys."""
    for prefix in ("dataforge:x", "a*", "a b", ""):
        with pytest.raises(ValueError, match="prefix"):
            RedisConfig(connection="cache", prefix=prefix, primary_key=("id",))


def test_a_document_of_another_kind_is_refused(target: Target) -> None:
    """It is not written over."""
    from dataforge.destinations._document_ledger import document_name

    target.db.set(f"{OURS}ledger:{document_name(replace(target.context('x')))}", "[1]")
    with pytest.raises(TerminalError, match="not one of ours"):
        target.load(ROWS, "one")
