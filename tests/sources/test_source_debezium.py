"""The debezium source: envelopes with and without schema, flattened events, deletes, events that come twice."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.kafka_cluster import running

from dataforge.components.base import ExtractContext, RunValues
from dataforge.components.delivery import Reject
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import RecordError, TerminalError
from dataforge.runtime import fused
from dataforge.runtime.connections import lookup
from dataforge.runtime.context import TaskContext
from dataforge.settings import get_settings
from dataforge.sources.debezium import DebeziumConfig, DebeziumSource, position_of
from dataforge.testing import SourceContract, rows_of


def envelope(op: str, lsn: int | None = 1, *, before: Any = None, after: Any = None, **source: Any) -> dict[str, Any]:
    """Return a change as Debezium's PostgreSQL connector writes it, without schema."""
    place = {"connector": "postgresql", "schema": "public", "table": "orders", "ts_ms": 1735689600000 + (lsn or 0)}
    said = {**place, "lsn": lsn, "snapshot": "true" if op == "r" else "false", **source}
    return {"before": before, "after": after, "source": said, "op": op, "ts_ms": 1735689700000, "transaction": None}


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__DATA_FOLDERS", str(tmp_path / "data"))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def read(
    tmp_path: Path, given: Iterable[Any], rejects: list[Reject] | None = None, **config: Any
) -> list[dict[str, Any]]:
    """Return the rows that events in a file become, in their order."""
    from dataforge.components import sql
    from dataforge.components.base import Relation
    from dataforge.runtime.engines.duckdb_ import connect
    from dataforge.runtime.engines.duckdb_ import read as read_rows
    from dataforge.runtime.landing import land

    lines = [one if isinstance(one, str) else json.dumps(one) for one in given]
    (tmp_path / "data" / "changes.ndjson").write_text("\n".join(lines) + "\n")
    model = DebeziumConfig.model_validate({"type": "debezium", "path": "changes.ndjson", **config})
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    aside: dict[str, Any] = {"reject": rejects.append} if rejects is not None else {}
    extracted = DebeziumSource(model).extract(ExtractContext(lookup, scratch, RunValues(), **aside))
    with closing(connect(scratch, readable=extracted.paths)) as con:
        landed = land(con, "rows", extracted, scratch=scratch)
        from sqlglot import exp

        return rows_of(read_rows(con, sql.select(Relation(landed.view), exp.Star())))


class TestDebezium(SourceContract):
    """What holds for every source."""

    config = {
        "type": "debezium",
        "path": "contract.ndjson",
        "metadata": {"deleted": "_deleted", "op": "_op", "table": "_table"},
    }
    expected = [
        {"id": 1, "name": "Zoë", "_deleted": False, "_op": "r", "_table": "public.orders"},
        {"id": 1, "name": None, "_deleted": True, "_op": "d", "_table": "public.orders"},
    ]

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path, _folders: None) -> None:
        events = [
            envelope("r", 5, after={"id": 1, "name": "Zoë"}),
            {"key": {"id": 1}, "value": envelope("d", 6, before={"id": 1, "name": None})},
            {"key": {"id": 1}, "value": None},
        ]
        (tmp_path / "data" / "contract.ndjson").write_text("\n".join(map(json.dumps, events)))


class TestRows:
    """Rows out of events."""

    def test_inserts_updates_deletes_and_snapshot_events_become_rows(self, tmp_path: Path) -> None:
        """Each with the state after the change, and its place in the database's log."""
        rows = read(
            tmp_path,
            [
                envelope("r", 10, after={"id": 1, "n": "a"}),
                envelope("c", 11, after={"id": 2, "n": "b"}),
                envelope("u", 12, before={"id": 1, "n": "a"}, after={"id": 1, "n": "c"}),
                {"key": {"id": 2}, "value": envelope("d", 13)},
                envelope("m", 14),
            ],
            metadata={"deleted": "gone", "position": "at", "time": "when", "snapshot": "first"},
        )
        ordered = sorted(rows, key=lambda row: str(row["at"]))
        assert [(row["id"], row["n"], row["gone"], row["first"]) for row in ordered] == [
            (1, "a", False, True),
            (2, "b", False, False),
            (1, "c", False, False),
            (2, None, True, False),
        ]
        assert ordered[0]["when"] == datetime(2025, 1, 1, 0, 0, 0, 10_000, timezone.utc)
        assert ordered[0]["at"] == f"{10:020d}-{1:016d}"

    def test_values_with_a_schema_get_the_types_of_the_database(self, tmp_path: Path) -> None:
        """Dates, instants and decimals are numbers and Base64 in the JSON; the schema says what they mean."""
        decimal = {"name": "org.apache.kafka.connect.data.Decimal", "type": "bytes"}
        fields = [
            {"field": "id", "type": "int64"},
            {"field": "price", **decimal, "parameters": {"scale": "2", "connect.decimal.precision": "10"}},
            {"field": "day", "type": "int32", "name": "io.debezium.time.Date"},
            {"field": "at", "type": "int64", "name": "io.debezium.time.MicroTimestamp"},
            {"field": "zoned", "type": "string", "name": "io.debezium.time.ZonedTimestamp"},
            {"field": "free", "type": "struct", "name": "io.debezium.data.VariableScaleDecimal", "fields": []},
            {"field": "tags", "type": "array", "items": {"type": "string"}},
            {"field": "raw", "type": "bytes"},
            {"field": "spot", "type": "struct", "name": "io.debezium.data.geometry.Point", "fields": []},
        ]
        row = {
            "id": 9007199254740993,
            "price": base64.b64encode((-1250).to_bytes(2, "big", signed=True)).decode(),
            "day": 20089,
            "at": 1735689600000005,
            "zoned": "2025-01-01T02:00:00.5+02:00",
            "free": {"scale": 3, "value": base64.b64encode(b"\x01\x00").decode()},
            "tags": ["a", None],
            "raw": base64.b64encode(b"\x00\xff").decode(),
            "spot": {"x": 1.5},
        }
        schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": fields}]}
        events = [{"schema": schema, "payload": envelope("c", 1, after=row)}]
        key = {"schema": {"type": "struct"}, "payload": {"id": 9007199254740993}}
        events.append({"key": key, "value": {"schema": schema, "payload": envelope("d", 2)}})
        first, second = sorted(read(tmp_path, events), key=lambda one: bool(one["_deleted"]))
        assert first["id"] == second["id"] == 9007199254740993
        assert first["price"] == Decimal("-12.50")
        assert first["day"] == date(2025, 1, 1)
        assert first["at"] == datetime(2025, 1, 1, 0, 0, 0, 5)
        assert first["zoned"] == datetime(2025, 1, 1, 0, 0, 0, 500_000, timezone.utc)
        assert (first["free"], first["tags"], first["raw"]) == ("0.256", ["a", None], b"\x00\xff")
        assert json.loads(first["spot"]) == {"x": 1.5}
        assert second["_deleted"] is True
        assert second["price"] is None

    def test_flattened_events_are_rows_already(self, tmp_path: Path) -> None:
        """ExtractNewRecordState adds what the config asks of it; a rewritten delete says so in the row."""
        rows = read(
            tmp_path,
            [
                {"id": 1, "n": "a", "__op": "c", "__lsn": 7, "__deleted": "false"},
                {"id": 1, "n": None, "__op": "d", "__lsn": 8, "__deleted": "true"},
            ],
        )
        assert [(row["id"], row["_deleted"]) for row in sorted(rows, key=lambda row: row["_position"])] == [
            (1, False),
            (1, True),
        ]
        assert "__deleted" not in rows[0]

    def test_a_tombstone_is_a_delete_where_the_config_says_so(self, tmp_path: Path) -> None:
        """Flattened events may have nothing else for it."""
        events = [{"key": {"id": 1}, "value": {"id": 1, "n": "a"}}, {"key": {"id": 1}, "value": None}]
        rows = read(tmp_path, events, tombstones="delete", order_by="offset")
        assert sorted((row["_position"], row["id"], row["_deleted"]) for row in rows) == [
            (f"{1:016d}", 1, False),
            (f"{2:016d}", 1, True),
        ]
        assert len(read(tmp_path, events, order_by="offset")) == 1

    def test_the_log_keeps_every_event_as_it_is(self, tmp_path: Path) -> None:
        """Key, before and after are JSON."""
        event = envelope("u", 3, before={"id": 1, "n": 1.50}, after={"id": 1, "n": 2})
        (row,) = read(
            tmp_path, [{"key": {"id": 1}, "value": event}], events="log", metadata={"op": "op", "position": "position"}
        )
        assert [json.loads(row[name]) for name in ("key", "before", "after")] == [
            {"id": 1},
            {"id": 1, "n": 1.5},
            {"id": 1, "n": 2},
        ]
        assert row["op"] == "u"

    def test_events_that_no_row_can_tell_of_are_set_aside(self, tmp_path: Path) -> None:
        """With the line that they stand in."""
        rejects: list[Reject] = []
        events = [
            envelope("t", 1),
            envelope("d", 2),
            "no json",
            '"text"',
            envelope("c", None, after={"id": 1}),
            envelope("c", 3, after={"id": 1, "_deleted": 1}),
            envelope("c", 4, after={"id": 2}),
        ]
        rows = read(tmp_path, events, rejects)
        assert [row["id"] for row in rows] == [2]
        assert [one.position for one in rejects] == [f"changes.ndjson, line {number}" for number in range(1, 7)]
        says = ["truncate", "message key", "JSON objects", "JSON objects", "order_by", "'_deleted'"]
        assert all(word in one.reason for one, word in zip(rejects, says, strict=True))

    def test_what_only_looks_like_an_event_is_set_aside_too(self, tmp_path: Path) -> None:
        """A message of another program may have the same keys."""
        rejects: list[Reject] = []
        events = [
            {"op": "c", "after": {"id": 1}, "source": "shop"},
            envelope("c", 2, after={"id": 2}) | {"source": {"connector": "postgresql", "lsn": "0/16B3748"}},
            envelope("c", 3, after={"id": 3}, ts_ms=10**30),
            envelope("c", 4, after={"id": 4}),
        ]
        rows = read(tmp_path, events, rejects, metadata={"position": "_position", "time": "_time"})
        assert [row["id"] for row in rows] == [4]
        assert ["no change event" in one.reason for one in rejects] == [True] * 3

    def test_events_with_and_without_schema_do_not_mix(self, tmp_path: Path) -> None:
        """A number may be a date in one and a number in the other."""
        schema = {"fields": [{"field": "after", "fields": [{"field": "id", "type": "int32"}]}]}
        typed = {"schema": schema, "payload": envelope("c", 1, after={"id": 1})}
        with pytest.raises(TerminalError, match=r"schemas\.enable"):
            read(tmp_path, [typed, envelope("c", 2, after={"id": 1})])

    @pytest.mark.parametrize(
        ("earlier", "later"),
        [
            ({"connector": "postgresql", "lsn": 999}, {"connector": "postgresql", "lsn": 1000}),
            (
                {"connector": "mysql", "file": "bin.000009", "pos": 500, "row": 9},
                {"connector": "mysql", "file": "bin.000010", "pos": 4},
            ),
            (
                {"connector": "sqlserver", "commit_lsn": "0000002a:00000458:0003", "event_serial_no": 2},
                {"connector": "sqlserver", "commit_lsn": "0000002a:00000458:0003", "event_serial_no": 10},
            ),
            ({"connector": "oracle", "scn": "99"}, {"connector": "oracle", "scn": "100"}),
            ({"connector": "mongodb", "ts_ms": 5, "ord": 9}, {"connector": "mongodb", "ts_ms": 5, "ord": 10}),
        ],
    )
    def test_positions_sort_as_the_databases_log_does(self, earlier: dict[str, Any], later: dict[str, Any]) -> None:
        """Whatever order the events came in."""
        assert position_of(earlier, 1, 7, "source") < position_of(later, 1, 3, "source")

    def test_a_position_that_is_not_told_is_not_guessed(self) -> None:
        """Two kinds of positions don't compare."""
        with pytest.raises(RecordError, match="order_by"):
            position_of({"connector": "db2"}, 1, 1, "source")


class TestRuns:
    """From Kafka into a table that is the database's own again."""

    def config(self) -> PipelineConfig:
        """Return the pipeline of the docs."""
        return parse(
            {
                "dag_id": "replica",
                "source": {"type": "debezium", "connection": "events", "topics": ["shop.orders"]},
                "destination": {
                    "type": "duckdb",
                    "database": "out.duckdb",
                    "table": "orders",
                    "write_disposition": "merge",
                    "primary_key": ["id"],
                    "delete_flag": "_deleted",
                    "duplicate_keys": "deduplicate",
                    "latest_by": "_position",
                },
            }
        )

    def test_the_newest_event_of_each_row_wins_also_when_older_ones_come_again(self, tmp_path: Path) -> None:
        """A connector that starts again sends events a second time, and a run may end between them."""
        import duckdb

        def event(op: str, lsn: int, id_: int, name: str | None = None) -> tuple[Any, Any]:
            row = {"id": id_, "name": name}
            sides = {"before": row} if op == "d" else {"after": row}
            return {"id": id_}, envelope(op, lsn, **sides)

        def table() -> list[Any]:
            with duckdb.connect(str(tmp_path / "output" / "out.duckdb")) as con:
                return con.execute("SELECT id, name FROM orders ORDER BY id").fetchall()

        def run(number: int) -> None:
            connection = {"events": cluster.connection}.__getitem__
            fused.run(config, TaskContext("replica", f"run-{number}", RunValues(), connection=connection))

        config = self.config()
        with running() as cluster:
            first = [event("r", 1, 1, "a"), event("r", 1, 2, "b"), event("u", 2, 1, "c"), event("c", 3, 3, "d")]
            cluster.pairs("shop.orders", [*first, event("d", 4, 2), ({"id": 2}, None)])
            run(1)
            assert table() == [(1, "c"), (3, "d")]
            cluster.pairs("shop.orders", [event("u", 9, 3, "z"), event("c", 10, 4, "new"), event("d", 11, 1, "c")])
            run(2)
            assert table() == [(3, "z"), (4, "new")]
            cluster.pairs("shop.orders", [event("c", 3, 3, "d"), event("u", 9, 3, "z"), event("c", 10, 4, "new")])
            run(3)
            assert table() == [(3, "z"), (4, "new")]
            cluster.pairs("shop.orders", [event("c", 3, 3, "d")])
            run(4)
            assert table() == [(3, "z"), (4, "new")]
