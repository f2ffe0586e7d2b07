"""The mysql destination against a real MariaDB, by each driver."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests import mariadb_server
from tests.destinations.conftest import Rows, rows

from dataforge.components.base import ExtractContext, LoadContext, LoadReport
from dataforge.components.delivery import CursorPosition, CursorStep, Reject, RejectLimit
from dataforge.destinations._sql_tables import SqlTables
from dataforge.destinations._table import RUN_COLUMN
from dataforge.destinations.mysql import MysqlConfig, MysqlDestination
from dataforge.errors import FencedError, TerminalError, TransientError
from dataforge.runtime.connections import lookup
from dataforge.testing import DestinationContract

pymysql = pytest.importorskip("pymysql")


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb_server.Server]:
    with mariadb_server.running() as found:
        yield found


class Place:
    """An empty database behind the Airflow connection `target`."""

    def __init__(self, server: mariadb_server.Server, database: str, scratch: Path) -> None:
        self.server, self.database, self.scratch = server, database, scratch

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.sql(statement, database=self.database)

    def context(self, run_id: str = "", **given: Any) -> LoadContext:
        run_key = uuid.uuid5(uuid.NAMESPACE_URL, run_id).hex[:16] if run_id else uuid.uuid4().hex[:16]
        return LoadContext(lookup, self.scratch, run_key, **{"dag_id": "orders_daily", "run_id": run_id, **given})

    def load(self, incoming: Rows, run_id: str = "", context: Any = None, **config: Any) -> LoadReport:
        return destination(**config).load(incoming, self.context(run_id, **(context or {})))


def destination(**config: Any) -> MysqlDestination:
    return MysqlDestination(MysqlConfig.model_validate({"connection": "target", "table": "t", **config}))


def connect(
    server: mariadb_server.Server, monkeypatch: pytest.MonkeyPatch, driver: str = "pymysql", **extra: Any
) -> str:
    """Make an empty database and the Airflow connection to it, used by that driver; return its name."""
    from dataforge.components import dbapi

    if driver == "pymysql":
        monkeypatch.setattr(dbapi, "provided", lambda name: False)
    else:
        pytest.importorskip("airflow.providers.mysql", reason="Airflow's MySQL provider is not installed")
        pytest.importorskip("MySQLdb" if driver == "mysqlclient" else "mysql.connector")
        extra["client"] = driver
    database = f"d{uuid.uuid4().hex[:12]}"
    server.sql(f"create database {database} character set utf8mb4")
    of = {"conn_type": "mysql", "host": "127.0.0.1", "port": server.port, "login": "shop", "schema": database}
    monkeypatch.setenv(
        "AIRFLOW_CONN_TARGET", json.dumps({**of, "password": mariadb_server.PASSWORD, "extra": json.dumps(extra)})
    )
    return database


@pytest.fixture(params=["pymysql", "mysqlclient", "mysql-connector-python"])
def place(
    request: pytest.FixtureRequest, server: mariadb_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    return Place(server, connect(server, monkeypatch, request.param), tmp_path)


@pytest.fixture
def own(server: mariadb_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(server, connect(server, monkeypatch), tmp_path)


class TestMysql(DestinationContract):
    config = {"type": "mysql", "connection": "target", "table": "things"}

    @pytest.fixture(autouse=True)
    def _place(self, server: mariadb_server.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.database = server, connect(server, monkeypatch)

    def stored(self) -> list[dict[str, Any]]:
        columns = self.server.sql("show columns from things", database=self.database)
        names = [column[0] for column in columns]
        found = self.server.sql("select * from things", database=self.database)
        return [{name: value for name, value in zip(names, row, strict=True) if name != RUN_COLUMN} for row in found]


TORTURE: dict[str, tuple[pa.Array[Any], str, list[Any] | None]] = {
    "bool": (pa.array([True, False, None]), "tinyint(1)", [1, 0, None]),
    "i8": (pa.array([-128, 127, None], pa.int8()), "smallint(6)", None),
    "i64": (pa.array([2**63 - 1, -(2**63), 2**31]), "bigint(20)", None),
    "u64": (pa.array([2**64 - 1, 0, None], pa.uint64()), "decimal(20,0)", [Decimal(2**64 - 1), Decimal(0), None]),
    "f32": (pa.array([0.5, -1.25, None], pa.float32()), "float", None),
    "f64": (pa.array([5e-324, 0.1 + 0.2, -1.7976931348623157e308]), "double", None),
    "dec": (pa.array([Decimal("0.10"), Decimal("-99999999.99"), None], pa.decimal128(12, 2)), "decimal(12,2)", None),
    "wide": (pa.array([Decimal("9" * 38), Decimal("-1"), None], pa.decimal128(38, 0)), "decimal(38,0)", None),
    "text": (pa.array(["", "a\n\"'\\\t,;é%s\0\r\n\\N", "🦆\u202e"]), "longtext", None),
    "word": (pa.array(["NULL", "\\N", None]), "longtext", None),
    "digits": (pa.array(["007", "1.50", " 1e5 "]), "longtext", None),
    "dict": (pa.array(["x", None, "y"]).dictionary_encode(), "longtext", None),
    "bytes": (pa.array([b"\0\xff\n,\"'\\", b"", None]), "longblob", None),
    "date": (pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]), "date", None),
    "ts": (
        pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
        "datetime(6)",
        None,
    ),
    "tz": (
        pa.array([dt.datetime(2024, 3, 31, 1, 30), None, dt.datetime(1, 1, 1)], pa.timestamp("us", "Europe/Berlin")),
        "datetime(6)",
        [dt.datetime(2024, 3, 31, 1, 30), None, dt.datetime(1, 1, 1)],
    ),
    "time": (
        pa.array([dt.time(23, 59, 59, 999999), None, dt.time(0)]),
        "time(6)",
        [dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=999999), None, dt.timedelta(0)],
    ),
    "null": (pa.nulls(3), "longtext", None),
    "list": (pa.array([[1, 2], [], None]), "longtext", ["[1,2]", "[]", None]),
    "struct": (pa.array([{"a": '"é'}, {"a": None}, None]), "longtext", ['{"a":"\\"é"}', '{"a":null}', None]),
}


@pytest.mark.parametrize("copies", [1, 600])
def test_every_type_arrives_equal(place: Place, copies: int) -> None:
    """By statements and, for more rows, by files; into a table made for it, and into a table that is there."""
    batch = pa.record_batch({name: array for name, (array, _, _) in TORTURE.items()})
    several = pa.Table.from_batches([batch] * copies).combine_chunks().to_batches()[0]
    for _ in range(2):
        assert place.load(Rows([several]), run_column=None).rows == 3 * copies
    types = {name: type_ for name, type_, *_ in place.sql("show columns from t")}
    assert types == {name: type_ for name, (_, type_, _) in TORTURE.items()}
    found = place.sql("select * from t")
    assert len(found) == 6 * copies
    for index, (name, (array, _, expected)) in enumerate(TORTURE.items()):
        wanted = expected if expected is not None else array.to_pylist()
        assert [row[index] for row in found[:3]] == wanted, name
        assert [row[index] for row in found[-3:]] == wanted, name


def test_a_merge_updates_adds_and_deletes_by_key(place: Place) -> None:
    config: dict[str, Any] = {
        "write_disposition": "merge",
        "primary_key": ["id"],
        "delete_flag": "gone",
        "stage_above": 2,
    }
    place.load(rows(id=[1, 2, 3], name=["a", "b", "c"], gone=[False] * 3), **config)
    report = place.load(rows(id=[2, 3, 4], name=["B", "c", "d"], gone=[False, True, False]), **config)
    assert (report.inserted, report.updated, report.deleted) == (1, 1, 1)
    assert place.sql("select id, name from t order by id") == [(1, "a"), (2, "B"), (4, "d")]


@pytest.mark.parametrize("strategy", ["upsert", "delete_insert", "scd2"])
def test_a_repeated_merge_changes_nothing(own: Place, strategy: str) -> None:
    config = {"write_disposition": "merge", "primary_key": ["id"], "merge_strategy": strategy}
    for run in ("one", "two"):
        own.load(rows(id=[1, 2], name=["a", None]), run, **config)
    assert own.sql("select id, name from t order by id") == [(1, "a"), (2, None)]


def test_new_columns_and_wider_types_evolve(own: Place) -> None:
    own.load(rows(id=[1], n=pa.array([1], pa.int32())))
    own.load(rows(id=[2], n=pa.array([2**40], pa.int64()), more=["x"]))
    assert own.sql("select id, n, more from t order by id") == [(1, 1, None), (2, 2**40, "x")]


def test_the_cursor_is_committed_with_the_rows_and_fences_off(own: Place) -> None:
    step = CursorStep("advance", {}, {"source": CursorPosition("id", "2", "BIGINT")})
    own.load(rows(id=[1, 2]), "one", {"cursor": step})
    with destination().ledger(own.context()) as ledger:
        cursor = ledger.state().cursor
    assert cursor is not None
    with pytest.raises(FencedError, match="fenced off"):
        own.load(rows(id=[3]), "two", {"cursor": step})
    assert own.sql("select count(*) from t") == [(2,)]


def test_dead_letters_are_kept_and_a_load_is_taken_back(own: Place) -> None:
    reject = Reject("check", "it's bad", json.dumps({"id": "é\\'"}), "source")
    limit = RejectLimit(1.0, 10)
    report = own.load(rows(id=[1, 2]), "one", {"rejects": [reject], "rows_read": 3, "limit": limit})
    assert report.rejected == 1
    own.load(rows(id=[3]), "two")
    with destination().ledger(own.context()) as ledger:
        (letter,) = ledger.dead_letters()
        assert letter.reject.record == reject.record
        undone = ledger.undo("one", "ada")
    assert undone.removed == 2
    assert own.sql("select id from t") == [(3,)]


def test_a_value_that_the_server_would_change_breaks_the_load_and_nothing_is_kept(place: Place) -> None:
    place.sql("create table t (id bigint, name longtext, check (id < 900))")
    with pytest.raises(TerminalError, match=r"CONSTRAINT|constraint"):
        place.load(rows(id=list(range(1000)), name=["x"] * 1000), run_column=None)
    assert place.sql("select count(*) from t") == [(0,)]


def test_a_key_that_is_there_breaks_the_load_and_is_not_left_out(own: Place) -> None:
    own.sql("create table t (id bigint primary key, name longtext)")
    own.sql("insert into t values (7, 'mine')")
    with pytest.raises(TerminalError, match="Duplicate entry"):
        own.load(rows(id=list(range(1000)), name=["x"] * 1000), run_column=None)
    assert own.sql("select * from t") == [(7, "mine")]


def test_without_the_servers_leave_rows_go_by_statements(own: Place) -> None:
    own.sql("set global local_infile = 0")
    try:
        assert own.load(rows(id=list(range(1000)))).rows == 1000
    finally:
        own.sql("set global local_infile = 1")
    assert own.load(rows(id=list(range(1000))), bulk=False).rows == 1000
    assert own.sql("select count(*) from t") == [(2000,)]


def test_a_session_that_is_killed_midway_changes_nothing_and_a_retry_loads_all(place: Place) -> None:
    place.load(rows(id=[-1]), "earlier")
    batch = pa.record_batch({"id": list(range(2000))})

    class Cut(Rows):
        def _read(self) -> Iterator[pa.RecordBatch]:
            yield batch
            wrote = "select trx_mysql_thread_id from information_schema.innodb_trx where trx_rows_modified >= 2000"
            until = time.monotonic() + 30
            while not (found := place.sql(wrote)):
                assert time.monotonic() < until, "the first rows are not written"
                time.sleep(0.3)  # the server answers from a copy, which it renews only after a pause
            place.sql(f"kill {found[0][0]}")
            yield batch

    with pytest.raises(TransientError):
        place.load(Cut([batch]), "one", {"digest": "d"})
    assert place.sql("select id from t") == [(-1,)]
    assert place.load(Rows([batch, batch]), "one", {"digest": "d"}).rows == 4000
    assert place.sql("select count(*) from t") == [(4001,)]


def test_when_the_answer_to_the_commit_is_lost_the_marker_tells(own: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    own.load(rows(id=[-1]), "earlier")
    commit = SqlTables.commit
    lost: list[SqlTables] = []

    def then_lose(db: SqlTables) -> None:
        marked = db.rows("select count(*) from _dataforge_loads where run_id = 'lost'") == [(1,)]
        commit(db)
        if marked and not lost:
            lost.append(db)
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")

    monkeypatch.setattr(SqlTables, "commit", then_lose)
    report = own.load(rows(id=list(range(1000))), "lost", {"digest": "d"})
    assert (report.already, report.rows, len(lost)) == (True, 1000, 1)
    assert own.load(rows(id=list(range(1000))), "lost", {"digest": "d"}).already
    assert own.sql("select count(*) from t") == [(1001,)]


def test_check_says_what_was_reached_and_a_wrong_type_is_refused(own: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ExtractContext(lookup, own.scratch)
    assert "MariaDB" in destination().check(context)
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", json.dumps({"conn_type": "postgres", "host": "x"}))
    with pytest.raises(TerminalError, match="a 'mysql' one is needed"):
        destination().check(context)
