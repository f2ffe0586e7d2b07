"""dlt reads Kafka: `dlt_kafka.py arrow|json SERVERS TOPICS duckdb|parquet TARGET`.

dlt's own Kafka source is a recipe to copy, which yields one dictionary for each message; `json` does what it does with
the message's own fields as columns. `arrow` hands each batch of messages to dlt as Arrow, by Arrow's JSON reader, and
does the transformations in DuckDB: the fastest way for dlt that was found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.contestants.dlt_csv import COLUMNS, run

BATCH = 50_000


def messages(servers: str, topics: list[str]) -> Iterator[list[bytes]]:
    """Yield the values of all messages up to the ends that the topics have now."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "dlt", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    known = consumer.list_topics(timeout=20).topics
    places = [TopicPartition(topic, partition, 0) for topic in topics for partition in known[topic].partitions]
    consumer.assign(places)
    left = len(places)
    values: list[bytes] = []
    while left:
        for message in consumer.consume(10_000, 0.1):
            if message.error() is not None:
                left -= 1
            else:
                value = message.value()
                assert isinstance(value, bytes)
                values.append(value)
        if len(values) >= BATCH:
            yield values
            values = []
    consumer.close()
    if values:
        yield values


def as_records(servers: str, topics: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield records with the transformations done in Python."""
    for values in messages(servers, topics):
        found = []
        for value in values:
            record = json.loads(value)
            if float(record["amount"]) > 0:
                record["order_id"] = record.pop("id")
                record["order_day"] = record["updated_at"][:10]
                found.append(record)
        yield found


def as_arrow(servers: str, topics: list[str]) -> Iterator[Any]:
    """Yield Arrow tables with the transformations done in DuckDB."""
    import io

    import duckdb
    import pyarrow.json

    con = duckdb.connect()
    con.execute("set threads = 2")
    for values in messages(servers, topics):
        batch = pyarrow.json.read_json(io.BytesIO(b"\n".join(values)))
        con.register("batch", batch)
        yield con.sql(f"select {COLUMNS} from batch where cast(amount as decimal(12,2)) > 0").to_arrow_table()


if __name__ == "__main__":
    way, servers_, topics_, kind, target = sys.argv[1:]
    ways = {"arrow": as_arrow, "json": as_records}
    run(ways[way](servers_, topics_.split(",")), kind, target)
