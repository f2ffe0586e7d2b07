"""Reading Kafka topics in ranges of offsets: what the sources share that read messages.

    Cluster     one connection: topics, offsets, and a consumer without a group
    plan        the range of each partition, fixed before the first message is read
    Messages    the messages of those ranges, in batches; `position` says where the next run begins

An offset need not have a message: compaction leaves gaps, and a transaction ends with a marker that no reader sees. So
a range is done when a message at or behind its end, or the end of the partition, was seen.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import Connection, ExtractContext, JsonValue, Position, SourceConfig
from dataforge.components.bounds import parse_instant
from dataforge.components.delivery import Grade
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId, Duration
from dataforge.components.kafka_client import SECONDS, client_settings, explain
from dataforge.errors import ServerAway, TerminalError, TransientError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
KAFKA = Extra("kafka", "confluent_kafka")
BATCH = 10_000
"""Messages that are taken from the client at a time."""
_WAIT = 0.1


class TopicsConfig(SourceConfig):
    """What a source that reads topics is told about how far it reads, and what it reads on from."""

    start: str = Field(
        default="earliest",
        description="Where the first run begins: 'earliest', or an ISO 8601 instant (UTC where it has no offset), from "
        "whose messages on it reads. There is no 'latest': what comes between two runs would depend on their hour.",
        examples=["earliest", "2025-01-01T00:00:00Z"],
    )
    resume: bool = Field(
        default=True,
        description="Whether each run reads on from the offsets that the run before ended at, which are committed with "
        "the rows. With false each run reads everything from 'start' on, as write_disposition replace needs it.",
    )
    on_lost: Literal["fail", "continue"] = Field(
        default="fail",
        description="What happens when the next offsets are not there any more, since the topic's retention removed "
        "them or the topic was made anew: fail says which are lost, continue goes on with the oldest message there is.",
    )
    max_records: int | None = Field(
        default=None, ge=1, description="Most messages that one run reads; the next run goes on there.", examples=[1000]
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="A run ends once it has read so many bytes of keys and values.",
        examples=[10**9],
    )
    max_time: Duration | None = Field(
        default=None,
        description="A run ends once it has read for so long; the next run goes on there.",
        examples=["5m"],
    )
    group: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Consumer group under which Kafka's own tools show up to where records are loaded. It is written "
        "by the run after and never read: the offsets that count are committed with the rows.",
        examples=["dataforge-orders"],
    )

    def extras(self) -> tuple[Extra, ...]:
        """Return the client."""
        return (KAFKA,)

    def position_name(self) -> str | None:
        """Return "offsets" where runs read on."""
        return "offsets" if self.resume else None

    def grade(self) -> Grade:
        """A partition is a replayable order."""
        return "ordered"

    @model_validator(mode="after")
    def _reads_by_offsets(self) -> Self:
        given = [name for name in ("cursor_field", "initial_value", "lookback", "null_cursor") if _set(self, name)]
        if given:
            raise ValueError(f"{given[0]!r} is for sources without offsets; topics are read by 'start' and 'resume'")
        if self.start != "earliest":
            try:
                parse_instant(self.start)
            except ValueError:
                raise ValueError(f"start {self.start!r} is neither 'earliest' nor an ISO 8601 instant") from None
        return self


def _set(config: SourceConfig, name: str) -> bool:
    return name in config.model_fields_set and getattr(config, name) != type(config).model_fields[name].default


@dataclass(frozen=True)
class Range:
    """The messages of one partition from `start` up to `end`, which is not included."""

    topic: str
    partition: int
    start: int
    end: int


class Cluster:
    """One Kafka connection; its errors are ours and hold no secret."""

    def __init__(self, connection: Connection, log: Callable[..., None]) -> None:
        from confluent_kafka.admin import AdminClient

        self.connection, self.log = connection, log
        self._settings = client_settings(connection)
        self._admin = AdminClient(self._settings)

    def partitions(self, topics: Iterable[str]) -> list[tuple[str, int]]:
        """Return all partitions of the topics; TerminalError with near names for a topic that is not there."""
        from confluent_kafka import KafkaException

        try:
            # all of them: to ask for one by name may make it
            known = self._admin.list_topics(timeout=SECONDS).topics
        except KafkaException as error:
            raise explain(error, self.connection, "the topics can't be listed") from None
        found = []
        for topic in topics:
            if topic not in known:
                near = difflib.get_close_matches(topic, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise TerminalError(f"connection {self.connection.id!r}: there is no topic {topic!r}{hint}")
            if known[topic].error is not None:
                raise explain(known[topic].error, self.connection, f"topic {topic!r}")
            found += [(topic, partition) for partition in sorted(known[topic].partitions)]
        return found

    def offsets(self, partitions: Iterable[tuple[str, int]], which: int | Literal["first", "end"]) -> dict[Any, int]:
        """Return an offset of each partition: its first one, its end for readers of what is committed, or the first one
        at or after a time (milliseconds since 1970; -1 where there is none).
        """
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        named = {"first": OffsetSpec.earliest, "end": OffsetSpec.latest}
        spec = OffsetSpec.for_timestamp(which) if isinstance(which, int) else named[which]()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(*partition): spec for partition in partitions}
        if not wanted:
            return {}
        found = self._admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=SECONDS)
        try:
            return {(one.topic, one.partition): answer.result(SECONDS).offset for one, answer in found.items()}
        except (KafkaException, TimeoutError) as error:
            raise explain(error, self.connection, "the offsets can't be listed") from None

    def consumer(self, group: str | None) -> Consumer:
        """Return a consumer that commits nothing by itself and reads what is committed."""
        from confluent_kafka import Consumer

        ours = {
            "group.id": group or "dataforge-reads-without-a-group",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 100,
        }
        return Consumer({**self._settings, **ours})

    def show(self, group: str, before: Mapping[str, Mapping[str, int]]) -> None:
        """Commit offsets under the group, for people to see; what goes wrong is logged and changes nothing."""
        from confluent_kafka import KafkaException, TopicPartition

        offsets = [TopicPartition(topic, int(one), at) for topic, some in before.items() for one, at in some.items()]
        consumer = self.consumer(group)
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self.log("offsets not shown", group=group, reason=str(explain(error, self.connection, "commit")))
        finally:
            consumer.close()


def plan(
    config: TopicsConfig,
    topics: Iterable[str],
    cluster: Cluster,
    position: Position | None,
) -> list[Range]:
    """Return the range of each partition, fixed now; TerminalError where wanted messages are not there any more."""
    before: Mapping[str, Mapping[str, int]] | None = position.before if position is not None else None
    if before is not None and not _is_position(before):
        raise TerminalError(
            f"the cursor stands at {before!r}, which are no offsets; 'dataforge cursor set' takes them as JSON, such "
            """as '{"orders": {"0": 1200, "1": 1180}}'"""
        )
    partitions = cluster.partitions(topics)
    first = cluster.offsets(partitions, "first")
    if position is not None and position.until is not None:
        ranges = [
            Range(topic, int(one), _known(before, topic, int(one), 0), end)
            for topic, some in position.until.items()
            for one, end in some.items()
        ]
        for one in ranges:
            if one.start < one.end and (missing := first.get((one.topic, one.partition), one.end)) > one.start:
                raise TerminalError(
                    f"the run that is done again read {one.topic}/{one.partition} from offset {one.start:,}, but the "
                    f"first message there now is {missing:,}: what it read can't be read again, its rows stay"
                )
        return ranges
    ends = cluster.offsets(partitions, "end")
    # a partition that is new since the run before is read from its first message
    starts = first if before is not None else _starts(config, partitions, cluster, first, ends)
    found = []
    for topic, partition in partitions:
        lowest, end = first[topic, partition], ends[topic, partition]
        known = _known(before, topic, partition, None)
        start = known if known is not None else starts[topic, partition]
        if start < lowest or start > end:
            lost = f"{start:,} to {lowest - 1:,}" if start < lowest else f"from {start:,} on (the end is {end:,})"
            cause = "the topic's retention removed them" if start < lowest else "the topic was made anew or cut"
            if config.on_lost == "fail":
                raise TerminalError(
                    f"the next offsets of {topic}/{partition} are not there any more: {lost}; {cause}. Nothing was "
                    "loaded. Set on_lost to 'continue' to go on with the oldest message there is, or say where to go "
                    "on with 'dataforge cursor set'"
                )
            cluster.log("messages lost", topic=topic, partition=partition, offsets=lost, reason=cause)
            start = lowest
        found.append(Range(topic, partition, start, end))
    return found


def _is_position(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(some, dict) and all(one.isdigit() and isinstance(at, int) for one, at in some.items())
        for some in value.values()
    )


def _known(before: Mapping[str, Mapping[str, int]] | None, topic: str, partition: int, default: Any) -> Any:
    return ((before or {}).get(topic) or {}).get(str(partition), default)


def _starts(
    config: TopicsConfig,
    partitions: list[tuple[str, int]],
    cluster: Cluster,
    first: Mapping[Any, int],
    ends: Mapping[Any, int],
) -> Mapping[Any, int]:
    if config.start == "earliest":
        return first
    instant = parse_instant(config.start)
    found = cluster.offsets(partitions, max(0, int(instant.timestamp() * 1000)))
    return {partition: at if at >= 0 else ends[partition] for partition, at in found.items()}


class Messages:
    """The messages of some ranges, read once, front to back."""

    def __init__(
        self, cluster: Cluster, ranges: Iterable[Range], config: TopicsConfig, context: ExtractContext
    ) -> None:
        self.cluster = cluster
        self.ranges = list(ranges)
        repeated = context.position is not None and context.position.until is not None
        self._most = context.sample if context.sample is not None else None if repeated else config.max_records
        self._bytes = None if repeated else config.max_bytes
        self._time: timedelta | None = None if repeated else config.max_time
        self._next = {(one.topic, one.partition): one.start for one in self.ranges}
        self.records = 0

    @property
    def position(self) -> JsonValue:
        """Where the next run begins: topic to partition to offset."""
        found: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in self._next.items():
            found.setdefault(topic, {})[str(partition)] = offset
        return found

    def __iter__(self) -> Iterator[list[Message]]:
        """Yield the messages in batches; TransientError when the cluster falls silent or has lost some meanwhile."""
        from confluent_kafka import KafkaException, TopicPartition

        open_ = {(one.topic, one.partition): one.end for one in self.ranges if one.start < one.end}
        if not open_:
            return
        consumer = self.cluster.consumer(None)
        try:
            consumer.assign([TopicPartition(*place, self._next[place]) for place in open_])
            began = heard = time.monotonic()
            size = 0
            while open_:
                wanted = BATCH if self._most is None else min(BATCH, self._most - self.records)
                found = consumer.consume(wanted, _WAIT)
                now = time.monotonic()
                heard = now if found else heard
                if now - heard > 4 * SECONDS:
                    raise ServerAway(
                        f"connection {self.cluster.connection.id!r}: no message came for {now - heard:.0f} seconds, "
                        f"though there are some in {_named(open_)}",
                        self.cluster.connection.id,
                    )
                batch, done = self._wanted(found, open_)
                if done:
                    consumer.incremental_unassign([TopicPartition(*place) for place in done])
                if batch:
                    self.records += len(batch)
                    if self._bytes is not None:
                        size += sum(len(one.value() or b"") + len(one.key() or b"") for one in batch)
                    yield batch
                if self._is_enough(size, now - began):
                    return
        except KafkaException as error:
            raise explain(error, self.cluster.connection, "the messages can't be read") from None
        finally:
            with suppress(Exception):
                consumer.close()

    def _wanted(self, found: list[Message], open_: dict[Any, int]) -> tuple[list[Message], list[Any]]:
        batch, done = [], []
        for message in found:
            place: Any = (message.topic(), message.partition())
            end = open_.get(place)
            if end is None:
                continue
            offset: Any = message.offset()
            if (error := message.error()) is not None:
                self._refuse(error, place, offset, end)
                self._next[place] = end
            elif offset < end:
                batch.append(message)
                self._next[place] = offset + 1
                if offset + 1 < end:
                    continue
            else:
                self._next[place] = end
            del open_[place]
            done.append(place)
        return batch, done

    def _refuse(self, error: Any, place: tuple[Any, Any], offset: Any, end: int) -> None:
        """Raise for an error, but not for the end of a partition that is the range's end or behind it."""
        from confluent_kafka import KafkaError

        where = f"{place[0]}/{place[1]}"
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name for it
            if offset is not None and 0 <= offset < end:
                raise TransientError(
                    f"{where} ends at offset {offset:,} now, it was {end:,} when the run began: the cluster lost "
                    "messages; nothing was loaded"
                )
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            raise TransientError(
                f"{where}: offset {self._next[place]:,} was removed while the run read; nothing was loaded"
            )
        raise explain(error, self.cluster.connection, where)

    def _is_enough(self, size: int, seconds: float) -> bool:
        return (
            (self._most is not None and self.records >= self._most)
            or (self._bytes is not None and size >= self._bytes)
            or (self._time is not None and seconds >= self._time.total_seconds())
        )


def _named(open_: Mapping[tuple[str, int], int]) -> str:
    names = [f"{topic}/{partition}" for topic, partition in open_]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def begin(config: TopicsConfig, connection: ConnectionId, topics: Iterable[str], context: ExtractContext) -> Messages:
    """Return the messages that a run is to read; their ranges are fixed now."""
    cluster = Cluster(context.connection(connection), context.log)
    position = context.position
    ranges = plan(config, topics, cluster, position)
    if config.group and position is not None and position.before is not None and position.until is None:
        cluster.show(config.group, position.before)
    context.log(
        "offsets fixed",
        topics=list(topics),
        ranges={f"{one.topic}/{one.partition}": [one.start, one.end] for one in ranges if one.start < one.end},
    )
    return Messages(cluster, ranges, config, context)


def place_of(message: Message) -> str:
    """Return topic/partition/offset."""
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


class Clock:
    """Instants of messages as ISO 8601 text; most share their second with the one before."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def text(self, message: Message) -> str | None:
        """Return the time of a message in UTC, None where it has none."""
        kind, value = message.timestamp()
        if not kind or value < 0:
            return None
        second, rest = divmod(value, 1000)
        if second != self._second:
            self._second = second
            self._text = f"{datetime.fromtimestamp(second, timezone.utc):%Y-%m-%dT%H:%M:%S}"
        return f"{self._text}.{rest:03d}Z"
