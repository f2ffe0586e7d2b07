"""CSV → the same transformations → Parquet."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.outcome import Outcome
from benchmarks.scenarios.csv_to_files import compare


def run(bench: Bench) -> Outcome:
    """Let ours and dlt take turns."""
    return compare(
        bench,
        "csv_to_parquet",
        f"{bench.rows:,} rows of CSV → Parquet",
        {"type": "parquet", "path": "bench/orders/", "compression": "snappy"},
        "parquet",
        "",
    )
