"""CSV → the same transformations → a table in a DuckDB file, append."""

from __future__ import annotations

from benchmarks.bench import SAME_TABLE, Bench
from benchmarks.outcome import Outcome
from benchmarks.scenarios.csv_to_files import compare


def run(bench: Bench) -> Outcome:
    """Let ours and dlt take turns."""
    return compare(
        bench,
        "csv_to_duckdb",
        f"{bench.rows:,} rows of CSV → DuckDB append",
        {"type": "duckdb", "database": "bench/orders.duckdb", "table": "orders", **SAME_TABLE},
        "duckdb",
        "orders.duckdb",
    )
