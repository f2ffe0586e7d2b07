"""The kafka destination: each row a message, all of a load in one transaction with its marker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import Capabilities, DestinationConfig, ExtractContext, Incoming, LoadContext, LoadReport
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, ConnectionId, Duration
from dataforge.components.kafka_client import SECONDS, client_settings, explain
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._document_ledger import (
    DocumentLedger,
    Page,
    document_name,
    letters_text,
)
from dataforge.errors import DataForgeError, FencedError, ServerAway, TerminalError, TransientError

if TYPE_CHECKING:
    from confluent_kafka import Producer

MAX_DOCUMENT = 700_000
"""Bytes of the ledger's document, which is one message: most clusters take no message of more than a megabyte."""

_LETTERS = 100
_COMMIT_TRIES = 4


class KafkaConfig(DestinationConfig):
    """Config of the kafka destination."""

    type: Literal["kafka"] = "kafka"
    connection: ConnectionId = Field(
        description="Airflow connection of type kafka: its extra holds bootstrap.servers and how to log in.",
        examples=["events"],
    )
    topic: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Topic to write; it must be there.", examples=["orders"]
    )
    primary_key: tuple[ColumnName, ...] = Field(
        default=(),
        description="Columns that make the message's key: one as its text, several as a JSON object. merge needs them.",
        examples=[["order_id"]],
    )
    delete_flag: ColumnName | None = Field(
        default=None,
        description="Column that marks deleted records, for merge: where it is true, or is no boolean and not null, "
        "the message has no value, which removes the key from a compacted topic. It is not written.",
        examples=["_deleted"],
    )
    marker_topic: str = Field(
        default="dataforge-markers",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Topic in which markers, cursors and dead letters stand, in its first partition; made with "
        "cleanup.policy=compact where it is missing.",
    )
    transaction_timeout: Duration = Field(
        default=timedelta(minutes=15),
        description="Longest time that a load may take until its commit; the cluster's transaction.max.timeout.ms, "
        "15 minutes where nobody changed it, bounds it.",
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return the client."""
        return (Extra("kafka", "confluent_kafka"),)

    def asset(self) -> str:
        """Return `dataforge://connection/topic`."""
        return f"dataforge://{quote(self.connection)}/{quote(self.topic)}"

    def slot(self) -> str:
        """Return the topic's place: one pipeline's loads would fence each other off."""
        return f"{self.connection}.{self.topic}"

    def commit_point(self) -> str:
        """Return what readers must do."""
        return (
            "rows and load marker are one Kafka transaction, which is as good as Kafka's transactions are; who does "
            "not read with isolation.level=read_committed may see a load under way, or one that was given up"
        )

    @model_validator(mode="after")
    def _merge_has_keys(self) -> Self:
        if self.write_disposition == "merge" and not self.primary_key:
            raise ValueError("merge needs 'primary_key', the columns of the key by which a compacted topic keeps rows")
        return self


@DESTINATIONS.register(KafkaConfig)
class KafkaDestination:
    """Writes rows as JSON messages of a Kafka topic, in one transaction with the load's marker.

    merge is for compacted topics: the last message of a key is its row. What was written can't be taken back.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "merge"}), transactional=True, kind="table", commit="manifest"
    )

    def __init__(self, config: KafkaConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Write all rows or none, for whoever reads what is committed."""
        return _Load(self.config, context).run(incoming)

    @contextmanager
    def ledger(self, context: LoadContext) -> Iterator[DocumentLedger]:
        """Open the ledger of this pipeline and topic."""
        yield DocumentLedger(_Markers(self.config, context), self.config.topic)

    def check(self, context: ExtractContext) -> str:
        """Say how many partitions the topic has."""
        found = _topics(self.config, context)
        if self.config.topic not in found:
            raise TerminalError(
                f"connection {self.config.connection!r}: there is no topic {self.config.topic!r}; make it, with the "
                "partitions and the retention that it shall have"
            )
        state = "there" if self.config.marker_topic in found else "to be made"
        return (
            f"topic {self.config.topic!r} has {len(found[self.config.topic].partitions)} partitions; markers: {state}"
        )


def _topics(config: KafkaConfig, context: LoadContext | ExtractContext) -> dict[str, Any]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    connection = context.connection(config.connection)
    try:
        return dict(AdminClient(client_settings(connection)).list_topics(timeout=SECONDS).topics)
    except KafkaException as error:
        raise explain(error, connection, "the topics can't be listed") from None


class _Markers:
    """The documents of a ledger in the marker topic: the last message of a key is what is true.

    Who writes one has a transaction under the pipeline's own id, by which the cluster fences off all others.
    """

    def __init__(self, config: KafkaConfig, context: LoadContext) -> None:
        self.config, self.context = config, context
        self.connection = context.connection(config.connection)
        self.settings = client_settings(self.connection)
        self.name = document_name(context)

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn the client's errors into ours."""
        from concurrent.futures import TimeoutError as NoAnswer

        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as error:
            raise self.explained(error, what) from None
        except NoAnswer:
            raise ServerAway(f"connection {self.connection.id!r}: {what}: no answer", self.connection.id) from None

    def explained(self, error: Any, what: str) -> DataForgeError:
        """Return an error of the client as ours."""
        cause = error.args[0]
        if cause.name() in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"):
            return FencedError(
                f"fenced off: another load of {self.context.dag_id!r} into {self.config.topic!r} began meanwhile; "
                "nothing of this one was committed"
            )
        if cause.txn_requires_abort():
            return TransientError(f"connection {self.connection.id!r}: {what}: {cause.str()} ({cause.name()})")
        return explain(error, self.connection, what)

    def producer(self) -> Producer:
        """Return a producer with the pipeline's transactional id; what others began under it is given up."""
        from confluent_kafka import Producer

        ours = {
            "transactional.id": f"dataforge-{self.name}",
            "transaction.timeout.ms": int(self.config.transaction_timeout.total_seconds() * 1000),
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
        }
        producer = Producer({**self.settings, **ours})
        with self.errors("the transaction can't be begun"):
            producer.init_transactions(2 * SECONDS)
        return producer

    def prepare(self) -> None:
        """Make the marker topic where it is missing; TerminalError where the topic itself is."""
        from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

        found = _topics(self.config, self.context)
        if self.config.topic not in found:
            raise TerminalError(f"connection {self.connection.id!r}: there is no topic {self.config.topic!r}; make it")
        if self.config.marker_topic in found:
            return
        topic = NewTopic(self.config.marker_topic, 1, config={"cleanup.policy": "compact"})
        admin = AdminClient(self.settings)  # what it was asked is never answered once it is gone
        (answer,) = admin.create_topics([topic], request_timeout=SECONDS).values()
        with self.errors(f"the topic {self.config.marker_topic!r} can't be made"):
            answer.result(2 * SECONDS)

    def read(self) -> str | None:
        """Return the document."""
        return self._all().get(self.name)

    def letters(self, run_key: str) -> str | None:
        """Return the dead letters of a load."""
        prefix = f"{self.name}/{run_key}/"
        parts = [text[1:-1] for key, text in sorted(self._all().items()) if key.startswith(prefix)]
        return f"[{','.join(part for part in parts if part)}]" if parts else None

    def _all(self) -> dict[str, str]:
        from confluent_kafka import Consumer, KafkaError, TopicPartition

        if self.config.marker_topic not in _topics(self.config, self.context):
            return {}
        ours = {
            "group.id": "dataforge-reads-without-a-group",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
        consumer = Consumer({**self.settings, **ours})
        found: dict[str, str] = {}
        try:
            end = self._end()
            with self.errors("the markers can't be read"):
                consumer.assign([TopicPartition(self.config.marker_topic, 0, 0)])
                while True:
                    message = consumer.poll(2 * SECONDS)
                    if message is None:
                        raise TransientError(
                            f"a transaction in topic {self.config.marker_topic!r} is open, of a load that is killed or "
                            "slow, and hides the markers behind it; the cluster ends it after its transaction_timeout"
                        )
                    if (error := message.error()) is not None:
                        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name for it
                            if (message.offset() or 0) < end:
                                continue
                            return found
                        raise explain(error, self.connection, "the markers can't be read")
                    key, value = _bytes(message.key()).decode(errors="replace"), message.value()
                    if key.startswith(self.name):
                        if value is None:
                            found.pop(key, None)
                        else:
                            found[key] = _bytes(value).decode()
        finally:
            consumer.close()

    def _end(self) -> int:
        """Return where the marker topic ends; who reads what is committed is stopped before by an open transaction."""
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

        wanted = {TopicPartition(self.config.marker_topic, 0): OffsetSpec.latest()}  # type: ignore[no-untyped-call]
        level = IsolationLevel.READ_UNCOMMITTED
        admin = AdminClient(self.settings)  # what it was asked is never answered once it is gone
        (answer,) = admin.list_offsets(wanted, isolation_level=level, request_timeout=SECONDS).values()
        with self.errors("the markers can't be read"):
            return int(answer.result(2 * SECONDS).offset)

    def swap(self, before: str | None, after: str) -> bool:
        """Put another document in its place, under a transaction of its own."""
        producer = self.producer()
        if self.read() != before:
            return False
        with self.errors("the marker can't be written"):
            producer.begin_transaction()
            producer.produce(self.config.marker_topic, after, self.name, partition=0)
            producer.commit_transaction(4 * SECONDS)
        return True

    def sweep(self) -> list[str]:
        """Nothing is ever left behind: what is not committed is given up by the cluster."""
        return []


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


class _Load:
    """One attempt of a load."""

    def __init__(self, config: KafkaConfig, context: LoadContext) -> None:
        self.config, self.context = config, context
        self.markers = _Markers(config, context)
        self.name = uuid.uuid4().hex
        self.rows = self.deleted = 0

    def run(self, incoming: Incoming) -> LoadReport:
        """Load, and find out what became of a commit that was not answered."""
        context = self.context
        self.markers.prepare()
        producer = self.markers.producer()
        # whatever another attempt had under way is decided now, and can't be committed any more
        page = Page.of(self.markers.read())
        if (done := page.done(context)) is not None:
            context.log("rows were committed before", target=self.config.topic, rows=done.rows)
            return done
        self._refuse_other_rows(page)
        page.fence(context, f"topic {self.config.topic!r}")
        letters, count = letters_text(context.rejects, context)
        if context.dry_run:
            for _ in self._messages(incoming):
                pass
            return self._report(count)
        with self.markers.errors("the rows can't be written"):
            producer.begin_transaction()
        try:
            self._produce(producer, incoming)
            with self.markers.errors("the marker can't be written"):
                self._mark(producer, page, letters, count)
        except BaseException:
            with suppress(Exception):
                producer.abort_transaction(2 * SECONDS)
            raise
        self._commit(producer)
        report = self._report(count)
        context.log("rows committed", target=report.target, rows=report.rows, deleted=report.deleted)
        return report

    def _report(self, rejected: int) -> LoadReport:
        return LoadReport(self.config.topic, self.rows, inserted=self.rows, deleted=self.deleted, rejected=rejected)

    def _refuse_other_rows(self, page: Page) -> None:
        record = page.standing(self.context.run_key)
        if record is not None and self.config.write_disposition == "append" and record.rows:
            raise TerminalError(
                f"run {self.context.run_id!r} has written {record.rows:,} messages to {self.config.topic!r} before, "
                "and a topic can't take them back; nothing was written. Start a new run, or write to a compacted topic "
                "by write_disposition 'merge' with a primary_key"
            )

    def _produce(self, producer: Producer, incoming: Incoming) -> None:
        failures: list[Any] = []

        def told(error: Any, message: Any) -> None:  # noqa: ARG001
            if error is not None and not failures:
                failures.append(error)

        for key, value in self._messages(incoming):
            while True:
                try:
                    with self.markers.errors("a row can't be written"):
                        producer.produce(self.config.topic, value, key, on_delivery=told)
                    break
                except BufferError:
                    producer.poll(0.5)
            producer.poll(0)
            if failures:
                raise explain(failures[0], self.markers.connection, "a row can't be written")

    def _messages(self, incoming: Incoming) -> Iterator[tuple[str | None, str | None]]:
        from dataforge.destinations._columns import record_json

        config = self.config
        with incoming.reader() as reader:
            for name in (*config.primary_key, *((config.delete_flag,) if config.delete_flag else ())):
                if name not in reader.schema.names:
                    raise TerminalError(
                        f"the records have no column {name!r}; columns: {', '.join(reader.schema.names)}"
                    )
            for batch in reader:
                for row in batch.to_pylist():
                    flag = row.pop(config.delete_flag) if config.delete_flag else None
                    key = self._key(row)
                    gone = flag if isinstance(flag, bool) else flag is not None
                    if gone and config.write_disposition == "merge":
                        self.deleted += 1
                        yield key, None
                    else:
                        self.rows += 1
                        yield key, record_json(row)

    def _key(self, row: dict[str, Any]) -> str | None:
        from dataforge.destinations._columns import record_json

        if not self.config.primary_key:
            return None
        values = {name: row[name] for name in self.config.primary_key}
        if empty := [name for name, value in values.items() if value is None]:
            raise TerminalError(
                f"a record has no value in the key column {empty[0]!r}; nothing was committed. Filter such records out"
            )
        if len(values) > 1:
            return record_json(values)
        (value,) = values.values()
        return value.isoformat() if hasattr(value, "isoformat") else str(value)

    def _mark(self, producer: Producer, page: Page, letters: str, count: int) -> None:
        import json

        context, config = self.context, self.config
        after = page.after(context, config.write_disposition, self.rows, count, self.name, deleted=self.deleted)
        while len(text := after.text()) > MAX_DOCUMENT and len(after.loads) > 1:
            kept = after.loads[:-1]
            named = {one.run_key for one in kept}
            after = replace(after, loads=kept, letters={key: n for key, n in after.letters.items() if key in named})
        found = json.loads(letters)
        # an earlier load of this run may have left more
        for first in range(0, max(len(found), page.letters.get(context.run_key, 0)), _LETTERS):
            some = found[first : first + _LETTERS]
            part = json.dumps(some, separators=(",", ":")) if some else None
            key = f"{self.markers.name}/{context.run_key}/{first:09d}"
            producer.produce(config.marker_topic, part, key, partition=0)
        producer.produce(config.marker_topic, text, self.markers.name, partition=0)

    def _commit(self, producer: Producer) -> None:
        from confluent_kafka import KafkaException

        for turn in range(_COMMIT_TRIES):
            try:
                producer.commit_transaction(4 * SECONDS)
            except KafkaException as error:
                cause: Any = error.args[0]
                if cause.retriable() and turn + 1 < _COMMIT_TRIES:
                    continue
                if cause.txn_requires_abort():
                    with suppress(Exception):
                        producer.abort_transaction(2 * SECONDS)
                    raise self.markers.explained(error, "the transaction was given up") from None
                if not self._is_done():
                    raise self.markers.explained(error, "the commit failed") from None
                self.context.log("answer to the commit was lost; the marker says it was done", target=self.config.topic)
            return

    def _is_done(self) -> bool:
        """Whether the marker of this attempt is committed, once nothing of it can be under way any more."""
        self.markers.producer()
        record = Page.of(self.markers.read()).standing(self.context.run_key)
        return record is not None and record.attempt == self.name
