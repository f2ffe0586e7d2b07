"""dlt merges a CSV by key into PostgreSQL, Arrow all the way: `dlt_merge.py FILE URL upsert|delete-insert`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.contestants.dlt_csv import TYPES, destination

if TYPE_CHECKING:
    import pyarrow as pa


def orders(path: str) -> Iterator[pa.RecordBatch]:
    """Yield the orders as they are, typed, in batches."""
    import duckdb

    con = duckdb.connect()
    con.execute("set threads = 2")
    query = f"select * from read_csv($path, header = true, columns = {TYPES})"
    yield from con.sql(query, params={"path": path}).to_arrow_reader(100_000)


def main(path: str, url: str, strategy: str) -> None:
    """Merge into bench_dlt.orders; an exception when a load job failed."""
    import dlt

    pipeline = dlt.pipeline("merged", destination=destination("postgres", url), dataset_name="bench_dlt")
    how = {"disposition": "merge", "strategy": strategy}
    resource = dlt.resource(orders(path), name="orders", write_disposition=how, primary_key="id", file_format="parquet")
    pipeline.run(resource).raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:4])
