"""The kafka source against librdkafka's own cluster: ranges, offsets that are committed with the rows, bad messages."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.kafka_cluster import MockCluster, running
from tests.sources.conftest import Api, Reply

from dataforge.components.base import Batches, Connection, ExtractContext, Position, RunValues
from dataforge.components.delivery import Reject
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.errors import DataForgeError, NothingToLoad, ServerAway, TerminalError, TransientError
from dataforge.runtime import extract, fused, ledgers, load, transform
from dataforge.runtime.context import TaskContext
from dataforge.settings import get_settings
from dataforge.sources._kafka import Range, plan
from dataforge.sources.kafka import KafkaConfig, KafkaSource
from dataforge.testing import SourceContract

TIMELESS = {"partition": "_partition", "offset": "_offset"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    """A cluster for the module; every test has a topic of its own."""
    with running() as cluster:
        yield cluster


def read(
    cluster: MockCluster,
    scratch: Path,
    *others: Connection,
    position: Position | None = None,
    sample: int | None = None,
    rejects: list[Reject] | None = None,
    **config: Any,
) -> list[dict[str, Any]]:
    """Return the rows that a source gives, typed."""
    from dataforge.runtime.engines.duckdb_ import connect
    from dataforge.runtime.landing import land

    known = {one.id: one for one in (cluster.connection, *others)}
    scratch.mkdir(parents=True, exist_ok=True)
    aside: dict[str, Any] = {"reject": rejects.append} if rejects is not None else {}
    context = ExtractContext(known.__getitem__, scratch, RunValues(), sample, position=position, **aside)
    model = KafkaConfig.model_validate({"type": "kafka", "connection": "events", "metadata": TIMELESS, **config})
    extracted = KafkaSource(model).extract(context)
    assert not isinstance(extracted, Batches)
    with connect(scratch, readable=extracted.paths) as con:
        landed = land(con, "rows", extracted, overrides=model.columns, scratch=scratch, sample=sample)
        rows: list[dict[str, Any]] = (
            con.sql('SELECT * FROM "rows" ORDER BY _partition, _offset').to_arrow_table().to_pylist()
        )
        landed.refuse_broken()
    return rows


class TestKafka(SourceContract):
    """What holds for every source."""

    config = {"type": "kafka", "connection": "events", "topics": ["contract"], "metadata": {"offset": "_offset"}}
    expected = [{"id": 1, "name": "Zoë", "_offset": 0}, {"id": 2, "name": None, "_offset": 1}]

    @pytest.fixture(autouse=True)
    def _topic(self, cluster: MockCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = json.dumps({"bootstrap.servers": cluster.servers})
        monkeypatch.setenv("AIRFLOW_CONN_EVENTS", json.dumps({"conn_type": "kafka", "extra": extra}))
        if not os.environ.get("CONTRACT_TOPIC_FILLED"):
            cluster.send("contract", [{"id": 1, "name": "Zoë"}, {"id": 2, "name": None}], 1)
            os.environ["CONTRACT_TOPIC_FILLED"] = "1"


class TestReading:
    """What becomes of messages."""

    def test_numbers_keep_their_digits_and_columns_of_the_message_follow(
        self, cluster: MockCluster, tmp_path: Path
    ) -> None:
        """A value is copied, never parsed and printed; key, time and headers are columns by choice."""
        value = b'{"amount": 1234567890.891, "big": 9007199254740993, "note": "a\\n \xc3\xab"}'
        cluster.send(
            "digits", [value], 2, key="k-1", headers=[("trace", b"abc"), ("none", None)], timestamp=1735689600123
        )
        metadata = {"topic": "t", "partition": "_partition", "offset": "_offset", "timestamp": "at", "key": "key"}
        (row,) = read(
            cluster,
            tmp_path,
            topics=["digits"],
            metadata={**metadata, "headers": "headers"},
            columns={"amount": "decimal(38,3)"},
        )
        assert str(row["amount"]) == "1234567890.891"
        assert row["big"] == 9007199254740993
        assert row["note"] == "a\n ë"
        assert (row["t"], row["_partition"], row["_offset"], row["key"]) == ("digits", 2, 0, "k-1")
        assert row["at"].isoformat() == "2025-01-01T00:00:00.123000+00:00"
        assert json.loads(row["headers"]) == [{"key": "trace", "value": "abc"}, {"key": "none", "value": None}]

    def test_a_marker_of_a_transaction_at_the_end_does_not_hold_a_run_up(
        self, cluster: MockCluster, tmp_path: Path
    ) -> None:
        """The last offset of a range may have no message; the position goes behind it."""
        cluster.transaction("marked", [{"id": 1}, {"id": 2}])
        reached: list[Any] = []
        rows = read(cluster, tmp_path, topics=["marked"], position=Position(reach=reached.append))
        assert [row["id"] for row in rows] == [1, 2]
        assert reached[0]["marked"]["0"] > 2

    def test_a_run_done_again_reads_its_own_range_and_no_more(self, cluster: MockCluster, tmp_path: Path) -> None:
        """Whatever has come since, and whatever limits the config has."""
        cluster.send("again", [{"id": number} for number in range(5)], 0)
        position = Position({"again": {"0": 1}}, {"again": {"0": 4}})
        rows = read(cluster, tmp_path, topics=["again"], position=position, max_records=1)
        assert [row["id"] for row in rows] == [1, 2, 3]

    def test_limits_end_a_run_and_the_next_one_goes_on_there(self, cluster: MockCluster, tmp_path: Path) -> None:
        """Nothing is read twice and nothing is left out."""
        cluster.send("limited", [{"id": number} for number in range(25)])
        seen: list[int] = []
        position = Position()
        limits: list[dict[str, Any]] = [{"max_records": 10}, {"max_records": 7}, {"max_bytes": 10_000_000}]
        for turn, limit in enumerate(limits):
            reached: list[Any] = []
            position = Position(position.before, reach=reached.append)
            rows = read(cluster, tmp_path / str(turn), topics=["limited"], position=position, **limit)
            seen += [row["id"] for row in rows]
            position = Position(reached[0])
        assert sorted(seen) == list(range(25))

    def test_messages_without_a_value_are_kept_where_a_column_says_so(
        self, cluster: MockCluster, tmp_path: Path
    ) -> None:
        """So that a merge can delete by key."""
        cluster.pairs("compacted", [({"id": 1}, {"name": "a"}), ({"id": 1}, None)])
        assert len(read(cluster, tmp_path / "1", topics=["compacted"])) == 1
        metadata = {**TIMELESS, "key": "key", "deleted": "gone"}
        rows = read(cluster, tmp_path / "2", topics=["compacted"], metadata=metadata, key="json")
        assert [(json.loads(row["key"]), row["name"], row["gone"]) for row in rows] == [
            ({"id": 1}, "a", False),
            ({"id": 1}, None, True),
        ]

    def test_texts_become_one_column(self, cluster: MockCluster, tmp_path: Path) -> None:
        """Nothing is made of them."""
        cluster.send("texts", [b"plain", "ë\n".encode()], 0)
        assert [row["value"] for row in read(cluster, tmp_path, topics=["texts"], value="text")] == ["plain", "ë\n"]


class TestBadMessages:
    """Messages that can't be decoded."""

    BAD = (b"no json", b"[1]", b"\xff{", b'{"a": 1}{"b": 2}', b'{"_offset": 1}')

    def test_each_is_set_aside_with_its_place(self, cluster: MockCluster, tmp_path: Path) -> None:
        """Topic, partition and offset find it again; the others are read."""
        cluster.send("bad", [{"id": 1}, *self.BAD, {"id": 2}], 3)
        rejects: list[Reject] = []
        rows = read(cluster, tmp_path, topics=["bad"], rejects=rejects)
        assert [row["id"] for row in rows] == [1, 2]
        assert [one.position for one in rejects] == [f"bad/3/{number}" for number in range(1, 6)]
        assert "no JSON" in rejects[0].reason
        assert "no object" in rejects[1].reason
        assert "UTF-8" in rejects[2].reason
        assert "'_offset'" in rejects[4].reason
        assert all(json.loads(one.record) is not None for one in rejects)

    def test_without_dead_letters_the_run_ends_and_names_the_place(self, cluster: MockCluster, tmp_path: Path) -> None:
        """A message is never dropped in silence."""
        cluster.send("worse", [b"no json"], 1)
        with pytest.raises(TerminalError, match=r"worse/1/0: the value is no JSON.*dead_letters"):
            read(cluster, tmp_path, topics=["worse"])


class TestPlan:
    """Ranges where offsets are not what they were, to the very offset: the cluster's answers are played."""

    class Played:
        """Two partitions whose first offset is 100 and whose end is 200."""

        def __init__(self) -> None:
            self.lines: list[str] = []

        def partitions(self, topics: Any) -> list[tuple[str, int]]:
            return [("t", 0), ("t", 1)]

        def offsets(self, partitions: Any, which: Any) -> dict[Any, int]:
            if which == 1735689601000:
                return {("t", 0): 150, ("t", 1): -1}
            return dict.fromkeys(partitions, {"first": 100, "end": 200}[which])

        def log(self, message: str, **fields: Any) -> None:
            self.lines.append(f"{message} {fields}")

    def planned(self, before: Mapping[str, Any] | None, until: Any = None, **config: Any) -> list[Range]:
        """Return the ranges after `before`."""
        model = KafkaConfig.model_validate({"type": "kafka", "connection": "events", "topics": ["t"], **config})
        played: Any = self.Played()
        return plan(model, ["t"], played, Position(before, until))

    def test_a_partition_that_is_new_is_read_from_its_first_message(self) -> None:
        """Also where the first run ever began at a time."""
        found = self.planned({"t": {"0": 150}}, start="2030-01-01")  # the cluster is not asked for the time
        assert found == [Range("t", 0, 150, 200), Range("t", 1, 100, 200)]

    def test_a_time_says_where_the_first_run_begins(self) -> None:
        """A partition without later messages begins at its end."""
        found = self.planned(None, start="2025-01-01T00:00:01Z")
        assert found == [Range("t", 0, 150, 200), Range("t", 1, 200, 200)]

    @pytest.mark.parametrize(("at", "says"), [(40, "40 to 99; the topic's retention"), (300, "made anew or cut")])
    def test_lost_offsets_end_the_run_unless_the_config_says_otherwise(self, at: int, says: str) -> None:
        """What is lost is said; by choice the run goes on with what there is."""
        with pytest.raises(TerminalError, match=says):
            self.planned({"t": {"0": at, "1": 120}})
        found = self.planned({"t": {"0": at, "1": 120}}, on_lost="continue")
        assert found == [Range("t", 0, 100, 200), Range("t", 1, 120, 200)]

    def test_a_run_whose_messages_are_gone_is_not_done_again(self) -> None:
        """To read less and replace its rows by that would lose rows."""
        with pytest.raises(TerminalError, match="can't be read again"):
            self.planned({"t": {"0": 40}}, {"t": {"0": 90, "1": 100}})

    def test_a_cursor_that_is_no_offsets_is_refused(self) -> None:
        """As a person may have set it."""
        with pytest.raises(TerminalError, match="no offsets"):
            self.planned({"t": 5})


class TestRetention:
    """Messages that the cluster removes: this one keeps five megabytes of a partition."""

    def test_offsets_that_were_removed_end_the_run_unless_the_config_says_otherwise(
        self, cluster: MockCluster, tmp_path: Path
    ) -> None:
        """What is lost is said; by choice the run goes on with the oldest message there is."""
        cluster.send("removed", [{"id": 0}], 0)
        cluster.send("removed", [{"id": number, "text": "x" * 800_000} for number in range(1, 11)], 0)
        position = Position({"removed": {"0": 1}})
        with pytest.raises(TerminalError, match=r"removed/0 are not there any more: 1 to \d"):
            read(cluster, tmp_path, topics=["removed"], position=position)
        rows = read(cluster, tmp_path, topics=["removed"], position=position, on_lost="continue")
        assert 0 < len(rows) < 10
        assert rows[-1]["id"] == 10
        with pytest.raises(TerminalError, match="can't be read again"):
            read(cluster, tmp_path, topics=["removed"], position=Position({"removed": {"0": 0}}, {"removed": {"0": 5}}))


class TestConnection:
    """What a connection may say, and what its errors become."""

    @pytest.mark.parametrize(
        "name", ["plugin.library.paths", "sasl.oauthbearer.token.endpoint.url", "error_cb", "debug"]
    )
    def test_unsafe_properties_are_refused(self, name: str, tmp_path: Path) -> None:
        """They could load libraries, fetch from anywhere, or run code."""
        connection = Connection("events", "kafka", extra={"bootstrap.servers": "127.0.0.1:1", name: "x"})
        with pytest.raises(TerminalError, match=name):
            KafkaSource(KafkaConfig(connection="events", topics=("t",))).check(
                ExtractContext({"events": connection}.__getitem__, tmp_path)
            )

    def test_a_cluster_that_is_away_can_be_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its secrets don't show."""
        monkeypatch.setattr("dataforge.sources._kafka.SECONDS", 0.5)
        extra = {"bootstrap.servers": "127.0.0.1:1", "sasl.username": "u", "sasl.password": "hush-hush"}
        connection = Connection("events", "kafka", extra={**extra, "security.protocol": "SASL_PLAINTEXT"})
        with pytest.raises(ServerAway) as raised:
            KafkaSource(KafkaConfig(connection="events", topics=("t",))).check(
                ExtractContext({"events": connection}.__getitem__, tmp_path)
            )
        assert "hush" not in str(raised.value)

    def test_a_topic_that_is_not_there_is_named_with_its_neighbour(self, cluster: MockCluster, tmp_path: Path) -> None:
        """And is not made by asking for it."""
        cluster.send("orders", [{"id": 1}])
        for _ in range(2):
            with pytest.raises(TerminalError, match=r"no topic 'ordres'; did you mean 'orders'"):
                read(cluster, tmp_path, topics=["ordres"])

    def test_cursor_fields_are_refused(self) -> None:
        """A topic is read by offsets."""
        with pytest.raises(ValueError, match="without offsets"):
            KafkaConfig(connection="events", topics=("t",), cursor_field="id")


class TestAvro:
    """Avro records with a schema registry, which is an HTTP server that answers as Confluent's documented API."""

    @pytest.fixture(autouse=True)
    def without_airflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where an earlier test has loaded it, its hook would look for the registry's connection, and know none."""
        monkeypatch.delitem(sys.modules, "airflow.sdk", raising=False)

    FIRST = {
        "type": "record",
        "name": "Order",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "tags", "type": {"type": "map", "values": "string"}},
            {"name": "either", "type": ["null", "int", "string"]},
            {"name": "place", "type": ["null", "Place"], "default": None},
        ],
    }
    PLACE = {"type": "record", "name": "Place", "fields": [{"name": "city", "type": "string"}]}
    SECOND = {**FIRST, "fields": [*FIRST["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}

    def registry(self, api: Api) -> Connection:
        """Serve two versions of a schema, which refers to another one."""
        reference = {"references": [{"name": "Place", "subject": "place", "version": 1}]}
        answers: dict[str, Any] = {
            "/schemas/ids/1": {"schema": json.dumps(self.FIRST), **reference},
            "/schemas/ids/2": {"schema": json.dumps(self.SECOND), **reference},
            "/subjects/place/versions/1": {"schema": json.dumps(self.PLACE), "id": 9},
        }
        api.answer = lambda request: Reply(answers.get(request.path), 200 if request.path in answers else 404)
        host, port = api.url.removeprefix("http://").split(":")
        return Connection("schemas", "http", host, int(port))

    def encoded(self, number: int, schema: Any, **record: Any) -> bytes:
        """Return a record as a registry's serialiser writes it."""
        import fastavro

        named: dict[str, Any] = {}
        fastavro.parse_schema(self.PLACE, named_schemas=named)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas=named), record)
        return b"\0" + number.to_bytes(4, "big") + out.getvalue()

    def test_records_of_several_schema_versions_come_typed(
        self, cluster: MockCluster, api: Api, tmp_path: Path
    ) -> None:
        """Each by the schema that wrote it; each schema is asked for once."""
        from datetime import datetime, timezone
        from decimal import Decimal

        at = datetime(2025, 1, 1, 12, 0, 0, 5, timezone.utc)
        record = {"price": Decimal("12.50"), "at": at, "tags": {"a": "b"}, "place": {"city": "Oslo"}}
        cluster.send(
            "avro",
            [
                self.encoded(1, self.FIRST, id=1, either=7, **record),
                self.encoded(2, self.SECOND, id=2, either="x", note="new", **record),
                self.encoded(1, self.FIRST, id=3, either=None, **record),
            ],
            0,
        )
        registry = self.registry(api)
        rows = read(cluster, tmp_path, registry, topics=["avro"], value="avro", registry="schemas")
        assert [row["id"] for row in rows] == [1, 2, 3]
        assert [row["note"] for row in rows] == [None, "new", None]
        assert [row["either"] for row in rows] == ["7", '"x"', None]
        assert all(row["price"] == Decimal("12.50") and row["place"] == {"city": "Oslo"} for row in rows)
        assert all(row["at"] == at and row["tags"] == [("a", "b")] for row in rows)
        assert len(api.requests) == 4

    def test_what_is_no_avro_or_of_no_schema_is_set_aside(self, cluster: MockCluster, api: Api, tmp_path: Path) -> None:
        """With its place; a schema that is not there ends the run, since it would be true of every message."""
        from decimal import Decimal

        broken = self.encoded(1, self.FIRST, id=1, price=Decimal(1), at=1, tags={}, either=None, place=None)[:7]
        cluster.send("not-avro", [b"{}", broken], 0)
        registry, rejects = self.registry(api), list[Reject]()
        with pytest.raises(DataForgeError):
            read(cluster, tmp_path, registry, topics=["not-avro"], value="avro", registry="schemas")
        given: dict[str, Any] = {"topics": ["not-avro"], "value": "avro", "registry": "schemas"}
        assert read(cluster, tmp_path, registry, rejects=rejects, **given) == []
        assert [one.position for one in rejects] == ["not-avro/0/0", "not-avro/0/1"]
        cluster.send("no-schema", [b"\0\0\0\0\7abc"], 0)
        with pytest.raises(TerminalError, match="no such schema"):
            read(cluster, tmp_path, registry, topics=["no-schema"], value="avro", registry="schemas")


class TestRuns:
    """Whole pipelines: offsets stand in the ledger, beside the rows."""

    @pytest.fixture(autouse=True)
    def _places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
        monkeypatch.setenv("AIRFLOW__DATAFORGE__STAGING_URL", f"file://{tmp_path / 'staging'}")
        get_settings.cache_clear()
        yield
        get_settings.cache_clear()

    def config(self, topic: str, execution: str = "fused", **source: Any) -> PipelineConfig:
        """Return a pipeline from a topic into a DuckDB table."""
        return parse(
            {
                "dag_id": topic,
                "execution": execution,
                "source": {"type": "kafka", "connection": "events", "topics": [topic], **source},
                "destination": {"type": "duckdb", "database": "out.duckdb", "table": "rows"},
                "dead_letters": {"max_share": 0.5, "max_rows": 10},
            }
        )

    def run(self, config: PipelineConfig, cluster: MockCluster, run_id: str) -> dict[str, Any]:
        """Do a run, in one task or in three."""
        connection = {"events": cluster.connection}.__getitem__
        context = TaskContext(config.dag_id, run_id, RunValues(), connection=connection)
        if config.execution == "fused":
            return fused.run(config, context)
        manifest = transform.run(config, {"source": extract.run(config, "source", context)}, context)
        return {"loads": [load.run(config, 0, manifest, context)]}

    def rows(self, tmp_path: Path, select: str = "id") -> list[Any]:
        """Return what is in the table."""
        import duckdb

        with duckdb.connect(str(tmp_path / "output" / "out.duckdb")) as con:
            return con.execute(f"SELECT {select} FROM rows ORDER BY ALL").fetchall()

    @pytest.mark.parametrize("execution", ["fused", "staged"])
    def test_each_run_reads_on_and_a_run_done_again_replaces_its_own_rows(
        self, cluster: MockCluster, tmp_path: Path, execution: str
    ) -> None:
        """Rows, offsets, dead letters and marker are one transaction of the destination."""
        topic = f"runs-{execution}"
        cluster.send(topic, [{"id": 1}, b"bad", {"id": 2}], 0)
        config = self.config(topic, execution, group="shown")
        self.run(config, cluster, "one")
        cluster.send(topic, [{"id": 3}], 0)
        self.run(config, cluster, "two")
        cluster.send(topic, [{"id": 4}], 0)
        report = self.run(config, cluster, "two")
        assert self.rows(tmp_path) == [(1,), (2,), (3,)]
        assert report["loads"][0]["rows"] == 1
        self.run(config, cluster, "three")
        assert self.rows(tmp_path) == [(1,), (2,), (3,), (4,)]
        with pytest.raises(NothingToLoad, match="nothing is new"):
            self.run(config, cluster, "four")
        with ledgers.opened(config, 0, TaskContext(topic, "", RunValues())) as ledger:
            cursor: Any = ledger.state().cursor
            (letter,) = ledger.dead_letters()
        assert json.loads(cursor["source"]["value"])[topic]["0"] == 5
        assert (cursor["source"]["field"], letter.reject.position) == ("offsets", f"{topic}/0/1")

    def test_the_group_shows_what_was_loaded_and_decides_nothing(self, cluster: MockCluster, tmp_path: Path) -> None:
        """A group that somebody moved changes nothing about what is read."""
        from confluent_kafka import Consumer, TopicPartition

        cluster.send("shown-topic", [{"id": 1}, {"id": 2}], 0)
        config = self.config("shown-topic", group="watched")
        self.run(config, cluster, "one")
        cluster.send("shown-topic", [{"id": 3}], 0)
        self.run(config, cluster, "two")
        consumer = Consumer({"bootstrap.servers": cluster.servers, "group.id": "watched", "log_level": 2})
        (shown,) = consumer.committed([TopicPartition("shown-topic", 0)], 20)
        consumer.close()
        assert shown.offset == 2
        assert self.rows(tmp_path) == [(1,), (2,), (3,)]

    def test_a_person_can_put_the_offsets_elsewhere(
        self, cluster: MockCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As JSON; the next run reads on from there."""
        from dataforge.cli import main

        cluster.send("moved", [{"id": 1}, {"id": 2}], 0)
        config = self.config("moved")
        self.run(config, cluster, "one")
        path = tmp_path / "moved.json"
        path.write_text(config.model_dump_json(by_alias=True, exclude_unset=True))
        assert main(["cursor", "set", str(path), '{"moved": {"0": 1}}', "--yes"]) == 0
        said = capsys.readouterr()
        assert "the next run reads on from there" in said.out + said.err
        assert main(["cursor", "set", str(path), "{moved", "--yes"]) != 0
        self.run(config, cluster, "two")
        assert self.rows(tmp_path) == [(1,), (2,), (2,)]

    def test_a_backfill_of_an_interval_is_refused(self, cluster: MockCluster) -> None:
        """Offsets say nothing about an interval."""
        from datetime import datetime, timezone

        cluster.send("interval", [{"id": 1}], 0)
        day = datetime(2025, 1, 1, tzinfo=timezone.utc)
        connection = {"events": cluster.connection}.__getitem__
        context = TaskContext("interval", "b", RunValues({}, day, day), connection=connection, scoped=True)
        with pytest.raises(TerminalError, match="nothing about a data interval"):
            fused.run(self.config("interval"), context)

    def test_a_run_that_another_one_overtook_reads_again(
        self, cluster: MockCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two runs from the same offsets: one commits, the other is fenced off and reads what is left."""
        cluster.send("race", [{"id": 1}, {"id": 2}], 0)
        config, other = self.config("race"), list[int]()
        extract = KafkaSource.extract

        def overtaken(self: KafkaSource, context: ExtractContext) -> Any:
            found = extract(self, context)
            if not other:
                other.append(1)
                cluster.send("race", [{"id": 3}], 0)
                run(config, cluster, "winner")
                cluster.send("race", [{"id": 4}], 0)
            return found

        run = self.run
        monkeypatch.setattr(KafkaSource, "extract", overtaken)
        self.run(config, cluster, "loser")
        assert self.rows(tmp_path) == [(1,), (2,), (3,), (4,)]


def test_offsets_that_vanish_while_a_run_reads_can_be_tried_again(cluster: MockCluster, tmp_path: Path) -> None:
    """A range that begins behind the partition's end is what the client calls out of range."""
    cluster.send("vanishing", [{"id": 1}], 0)
    position = Position({"vanishing": {"0": 50}}, {"vanishing": {"0": 60}})
    with pytest.raises(TransientError, match="vanishing/0"):
        read(cluster, tmp_path, topics=["vanishing"], position=position)
