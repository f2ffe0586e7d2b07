"""dlt moves a PostgreSQL table to PostgreSQL: `dlt_postgres.py URL TABLE TARGET_URL`.

ADBC reads the table as Arrow batches (faster than dlt's own sql_database source with its pyarrow backend, which fetches
Python rows), DuckDB transforms them, dlt loads them through Parquet and ADBC.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.contestants.dlt_csv import COLUMNS, run

if TYPE_CHECKING:
    import pyarrow as pa


def orders(url: str, table: str) -> Iterator[pa.RecordBatch]:
    """Yield the transformed orders in batches."""
    import adbc_driver_postgresql.dbapi as adbc
    import duckdb

    with adbc.connect(url) as source, source.cursor() as cursor:
        cursor.execute(f"select * from {table}")
        stream = cursor.fetch_record_batch()
        con = duckdb.connect()
        con.execute("set threads = 2")
        con.register("orders", stream)
        query = f"select {COLUMNS} from orders where cast(amount as decimal(12,2)) > 0"
        yield from con.sql(query).to_arrow_reader(100_000)


if __name__ == "__main__":
    run(orders(sys.argv[1], sys.argv[2]), "postgres", sys.argv[3])
