"""Kafka → the same transformations → a DuckDB file."""

from __future__ import annotations

from benchmarks.bench import SAME_TABLE, Bench
from benchmarks.outcome import Outcome
from benchmarks.scenarios.kafka_to_files import compare


def run(bench: Bench) -> Outcome:
    """Let ours and dlt take turns."""
    return compare(
        bench,
        "kafka_to_duckdb",
        "{rows:,} JSON messages of a local Kafka (librdkafka's own) → a DuckDB file, append",
        {"type": "duckdb", "database": "bench/orders.duckdb", "table": "orders", **SAME_TABLE},
        "duckdb",
        "orders.duckdb",
    )
