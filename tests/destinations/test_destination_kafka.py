"""The kafka destination against librdkafka's own cluster: transactions with markers, fences, repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.kafka_cluster import MockCluster, running

from dataforge.components.base import LoadContext, LoadReport
from dataforge.components.delivery import CursorPosition, CursorStep, Reject
from dataforge.config.delivery import letter
from dataforge.config.pipeline import parse
from dataforge.destinations.kafka import KafkaConfig, KafkaDestination
from dataforge.errors import FencedError, ServerAway, TerminalError, TransientError
from dataforge.testing import ComponentContract, Rows

ROWS = pa.table({"id": pa.array(range(1_500), pa.int64()), "name": [f"n{n}" if n % 7 else None for n in range(1_500)]})


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    """A cluster with a marker topic, which it can't make by itself when asked to."""
    with running() as cluster:
        cluster.send("dataforge-markers", [b"{}"], 1, key=b"another")
        yield cluster


class Target:
    """A topic to load into."""

    def __init__(self, cluster: MockCluster, topic: str, scratch: Path) -> None:
        self.cluster, self.topic, self.scratch = cluster, topic, scratch
        cluster.send(topic, [{"first": True}])

    def context(self, run: str, **given: Any) -> LoadContext:
        """Return the context of a run."""
        connection = {"events": self.cluster.connection}.__getitem__
        return LoadContext(connection, self.scratch, run, "p", run_id=run, target=self.topic, **given)

    def destination(self, **config: Any) -> KafkaDestination:
        """Return the destination."""
        given = {"type": "kafka", "connection": "events", "topic": self.topic, **config}
        return KafkaDestination(KafkaConfig.model_validate(given))

    def load(self, table: pa.Table, run: str, context: Mapping[str, Any] | None = None, **config: Any) -> LoadReport:
        """Load a table as a run does."""
        return self.destination(**config).load(Rows(table), self.context(run, **(context or {})))

    def messages(self) -> list[tuple[Any, Any]]:
        """Return keys and values."""
        found = self.cluster.messages(self.topic)
        return [(one.key(), one.value()) for one in found if one.value() != b'{"first": true}']


@pytest.fixture
def target(cluster: MockCluster, request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """A topic of the test's own."""
    return Target(cluster, request.node.name[:200].replace("[", "-").replace("]", ""), tmp_path)


class TestKafka(ComponentContract):
    """What holds for every component."""

    kind = "destination"
    config = {"type": "kafka", "connection": "events", "topic": "orders"}


def test_each_row_is_a_message_and_its_key_is_of_the_primary_key(target: Target) -> None:
    """Numbers keep their digits."""
    table = pa.table({"id": [7], "amount": pa.array([Decimal("12345678901234567.891")], pa.decimal128(20, 3))})
    target.load(table, "one", primary_key=["id"])
    target.load(table, "two", primary_key=["id", "amount"])
    target.load(table, "three")
    value = b'{"id":7,"amount":12345678901234567.891}'
    assert sorted(target.messages(), key=str) == sorted([(b"7", value), (value, value), (None, value)], key=str)


def test_the_same_rows_of_the_same_run_are_written_once(target: Target) -> None:
    """As a retry after a lost answer brings them; other rows of that run are refused, for a topic keeps what it has."""
    target.load(ROWS, "one", {"digest": "d"})
    report = target.load(ROWS, "one", {"digest": "d"})
    assert (report.already, report.rows, len(target.messages())) == (True, 1_500, 1_500)
    with pytest.raises(TerminalError, match="1,500 messages"):
        target.load(ROWS.slice(0, 3), "one", {"digest": "e"})
    assert len(target.messages()) == 1_500


def test_a_merge_ends_keys_by_messages_without_a_value(target: Target) -> None:
    """So that a compacted topic drops them; the flag itself is not written."""
    table = pa.table({"id": ["a", "b"], "gone": [True, False]})
    report = target.load(table, "one", write_disposition="merge", primary_key=["id"], delete_flag="gone")
    assert (report.rows, report.deleted) == (1, 1)
    assert sorted(target.messages()) == [(b"a", None), (b"b", b'{"id":"b"}')]


def test_cursor_marker_and_dead_letters_stand_in_the_marker_topic(target: Target) -> None:
    """In the transaction of the rows; a load from a cursor that has moved is fenced off."""

    def step(before: str | None, after: str) -> CursorStep:
        at = {"source": CursorPosition("n", before, "BIGINT")} if before else {}
        return CursorStep("advance", at, {"source": CursorPosition("n", after, "BIGINT")})

    rejects = [Reject("extract", f"why {number}", json.dumps({"n": number})) for number in range(250)]
    target.load(ROWS, "one", {"cursor": step(None, "5"), "rejects": rejects})
    with pytest.raises(FencedError):
        target.load(ROWS, "two", {"cursor": step(None, "6")})
    with target.destination().ledger(target.context("x")) as ledger:
        cursor: Any = ledger.state().cursor
        assert (cursor["source"]["value"], ledger.state().epoch) == ("5", 1)
        assert [one.reject.reason for one in ledger.dead_letters()] == [f"why {number}" for number in range(250)]
        ledger.set_cursor(None, "someone")
        assert ledger.state().cursor is None
        assert [(one.run_id, one.rows, one.rejected) for one in ledger.loads()] == [("one", 1_500, 250)]
    assert len(target.messages()) == 1_500


def test_a_run_that_leaves_fewer_dead_letters_the_second_time_keeps_none_of_the_first(target: Target) -> None:
    """They stand in messages of a hundred."""
    for number in (250, 120):
        rejects = [Reject("extract", f"{number}", "{}") for _ in range(number)]
        target.load(ROWS, "one", {"rejects": rejects}, write_disposition="merge", primary_key=["id"])
    with target.destination().ledger(target.context("x")) as ledger:
        assert [one.reject.reason for one in ledger.dead_letters()] == ["120"] * 120


def test_markers_behind_an_open_transaction_are_waited_for(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """This cluster hides nothing behind one, so that the topic's end, which lies further then, is played."""
    monkeypatch.setattr("dataforge.destinations.kafka._Markers._end", lambda self: 1_000_000, raising=False)
    monkeypatch.setattr("dataforge.destinations.kafka.SECONDS", 2.0)
    with pytest.raises(TransientError, match="transaction in topic 'dataforge-markers' is open"):
        target.load(ROWS, "one")
    assert target.messages() == []


def test_the_cluster_is_asked_for_a_marker_topic_that_is_missing(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one has nobody who could make it, so that the answer is waited for in vain."""
    monkeypatch.setattr("dataforge.destinations.kafka.SECONDS", 2.0)
    with pytest.raises(ServerAway, match=r"'no-markers' can't be made.*controller"):
        target.load(ROWS, "one", marker_topic="no-markers")
    assert target.messages() == []


def test_a_load_that_breaks_leaves_no_marker(target: Target) -> None:
    """Its transaction is given up; this cluster shows its messages all the same, a real one hides them."""
    with pytest.raises(Exception, match="broke"):
        target.destination().load(Rows(ROWS, fail_after=1), target.context("one"))
    with target.destination().ledger(target.context("x")) as ledger:
        assert ledger.load("one") is None
    assert target.load(ROWS, "one").rows == 1_500


@pytest.mark.parametrize(
    ("name", "requires_abort", "becomes"),
    [
        ("_FENCED", False, FencedError),
        ("PRODUCER_FENCED", True, FencedError),
        ("INVALID_TXN_STATE", True, TransientError),
    ],
)
def test_a_commit_that_the_cluster_refuses_is_given_up(
    target: Target, monkeypatch: pytest.MonkeyPatch, name: str, requires_abort: bool, becomes: type[Exception]
) -> None:
    """A twin with the pipeline's transactional id, or a transaction that took too long; this cluster refuses none, so
    the answers are played."""
    from confluent_kafka import KafkaError, KafkaException

    from dataforge.destinations.kafka import _Markers

    class Refused:
        """A producer whose commit is refused."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def produce(self, topic: str, *given: Any, **named: Any) -> None:
            if topic != "dataforge-markers":  # which this cluster would show though it was given up
                self.inner.produce(topic, *given, **named)

        def commit_transaction(self, seconds: float) -> None:
            self.inner.abort_transaction(seconds)
            code = getattr(KafkaError, name)
            raise KafkaException(KafkaError(code, "refused", not requires_abort, False, requires_abort))

    producer = _Markers.producer
    monkeypatch.setattr(_Markers, "producer", lambda self: Refused(producer(self)))
    with pytest.raises(becomes):
        target.load(ROWS, "one", {"digest": "d"})
    monkeypatch.undo()
    with target.destination().ledger(target.context("x")) as ledger:
        assert ledger.load("one") is None


def test_a_commit_whose_answer_was_lost_is_found_by_its_marker(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is reported is never a guess."""
    from confluent_kafka import KafkaError, KafkaException

    from dataforge.destinations.kafka import _Markers

    class Lossy:
        """A producer whose answer to the commit does not arrive."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def commit_transaction(self, seconds: float) -> None:
            self.inner.commit_transaction(seconds)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "lost", True))

    producer = _Markers.producer
    monkeypatch.setattr(_Markers, "producer", lambda self: Lossy(producer(self)))
    assert target.load(ROWS, "one").rows == 1_500


def test_a_dry_run_and_a_missing_key_write_nothing(target: Target) -> None:
    """Nor does a column that is not there."""
    assert target.load(ROWS, "one", {"dry_run": True}).rows == 1_500
    with pytest.raises(TerminalError, match="key column 'name'"):
        target.load(ROWS, "one", {"dry_run": True}, primary_key=["name"])
    with pytest.raises(TerminalError, match="no column 'x'; columns: id, name"):
        target.load(ROWS, "one", {"dry_run": True}, primary_key=["x"])
    assert target.messages() == []


def test_the_check_names_a_topic_that_is_not_there(target: Target) -> None:
    """It is not made by writing to it, for nobody knows how many partitions it shall have."""
    from dataforge.components.base import ExtractContext

    context = ExtractContext({"events": target.cluster.connection}.__getitem__, target.scratch)
    assert "partitions" in target.destination().check(context)
    with pytest.raises(TerminalError, match="no topic 'nowhere'"):
        target.destination(topic="nowhere").check(context)


def test_the_letter_is_m_and_says_who_sees_what() -> None:
    """Readers must read what is committed."""
    config = parse(
        {
            "dag_id": "p",
            "source": {"type": "kafka", "connection": "events", "topics": ["a"]},
            "destination": {"type": "kafka", "connection": "events", "topic": "b"},
        }
    )
    (found,) = letter(config)
    assert found.letter == "M"
    assert "read_committed" in found.reason
