"""A Kafka cluster for tests: the one that librdkafka brings, which speaks the protocol over loopback sockets.

It has topics, offsets, idempotent and transactional producers, groups and injected errors. It does not hide the
messages of aborted transactions from those who read what is committed, does not compact, and keeps the newest five
megabytes of a partition.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from dataforge.components.base import Connection

PARTITIONS = 4
"""Partitions of each topic, which is made by the first message in it."""


class MockCluster:
    """The address of a running cluster, and a producer of messages."""

    def __init__(self, servers: str) -> None:
        from confluent_kafka import Producer

        self.servers = servers
        self.connection = Connection("events", "kafka", extra={"bootstrap.servers": servers})
        self.producer = Producer({"bootstrap.servers": servers, "linger.ms": 1, "log_level": 2})

    def send(self, topic: str, values: Iterable[Any], partition: int | None = None, **given: Any) -> None:
        """Send values (bytes, None, or what becomes JSON) and wait until they are there."""
        for value in values:
            text = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            self.producer.produce(topic, text, partition=-1 if partition is None else partition, **given)
        assert self.producer.flush(20) == 0

    def pairs(self, topic: str, pairs: Iterable[tuple[Any, Any]], partition: int = 0) -> None:
        """Send keys and values, both as `send` takes values."""
        for key, value in pairs:
            self.send(topic, [value], partition, key=key if isinstance(key, bytes) else json.dumps(key).encode())

    def transaction(self, topic: str, values: Iterable[Any], partition: int = 0) -> None:
        """Send values in a transaction, which leaves a marker behind them."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.servers, "transactional.id": "tests", "log_level": 2})
        producer.init_transactions(20)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, json.dumps(value).encode(), partition=partition)
        producer.commit_transaction(20)

    def messages(self, topic: str) -> list[Any]:
        """Return all messages of a topic."""
        from confluent_kafka import Consumer, TopicPartition

        settings = {"group.id": "tests", "enable.partition.eof": True, "auto.offset.reset": "earliest", "log_level": 2}
        consumer = Consumer({"bootstrap.servers": self.servers, **settings})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        found, ends = [], 0
        try:
            while ends < PARTITIONS:
                for message in consumer.consume(1000, 0.1):
                    if message.error() is not None:
                        ends += 1
                    else:
                        found.append(message)
        finally:
            consumer.close()
        return found


@contextmanager
def running(settings: Mapping[str, Any] | None = None) -> Iterator[MockCluster]:
    """Start a cluster of one broker in this process; skip the test where the client is not installed."""
    pytest.importorskip("confluent_kafka")
    from confluent_kafka import Producer

    holder = Producer(
        {"test.mock.num.brokers": "1", "bootstrap.servers": "ignored", "log_level": 2, **(settings or {})}
    )
    brokers = holder.list_topics(timeout=20).brokers.values()
    yield MockCluster(",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    del holder
