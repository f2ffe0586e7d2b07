"""Kafka → the same transformations → Parquet."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.outcome import Outcome
from benchmarks.scenarios.kafka_to_files import compare


def run(bench: Bench) -> Outcome:
    """Let ours and dlt take turns."""
    return compare(
        bench,
        "kafka_to_parquet",
        "{rows:,} JSON messages of a local Kafka (librdkafka's own) → Parquet",
        {"type": "parquet", "path": "bench/orders/", "compression": "snappy"},
        "parquet",
        "",
    )
