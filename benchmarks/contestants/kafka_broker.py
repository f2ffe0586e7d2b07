"""A local Kafka cluster: `kafka_broker.py NDJSON_FILE TOPICS` prints its address and its topics, until it is ended.

It is the one inside librdkafka. That keeps the newest five megabytes of each partition as the producer sent them, so
the records are compressed and spread over several topics; all of them must be there in the end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main(path: Path, count: int) -> None:
    """Fill the topics and wait."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    holder = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "ignored", "log_level": 2})
    brokers = holder.list_topics(timeout=20).brokers.values()
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    topics = [f"orders-{number}" for number in range(count)]
    producer = Producer(
        {"bootstrap.servers": servers, "compression.type": "zstd", "linger.ms": 50, "batch.num.messages": 10_000}
    )
    sent = 0
    with path.open("rb") as lines:
        for line in lines:
            while True:
                try:
                    producer.produce(topics[sent % count], line.rstrip())
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += 1
    if producer.flush(120):
        sys.exit("the cluster did not take all records")
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "count", "log_level": 2})
    kept = 0
    for topic, found in producer.list_topics(timeout=20).topics.items():
        for partition in found.partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), 20)
            kept += end - first
    if kept != sent:
        sys.exit(f"the cluster keeps {kept:,} of {sent:,} records; take fewer rows or more topics")
    print(servers, ",".join(topics), flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
