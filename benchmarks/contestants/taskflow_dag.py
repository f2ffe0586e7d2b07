"""The same small pipeline as people write it by hand: three TaskFlow tasks, DuckDB, Parquet between them.

Copied into a DAG folder by the scenario `three_tasks`; the paths come from the environment.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from airflow.sdk import dag, task

INPUT = os.environ.get("BENCH_INPUT", "")
WORK = os.environ.get("BENCH_WORK", "")


@dag(schedule=None, start_date=datetime(2025, 1, 1), catchup=False)  # noqa: DTZ001  # as people write it
def hand_written():  # type: ignore[no-untyped-def]
    """Orders from a CSV file into a DuckDB table."""

    @task
    def extract():  # type: ignore[no-untyped-def]
        import duckdb

        part = f"{WORK}/extracted.parquet"
        duckdb.sql(f"copy (from read_csv('{INPUT}')) to '{part}' (format parquet)")
        return part

    @task
    def transform(part):  # type: ignore[no-untyped-def]
        import duckdb

        result = f"{WORK}/transformed.parquet"
        duckdb.sql(f"""
            copy (
              select * replace (cast(amount as decimal(12, 2)) as amount) rename (id as order_id),
                cast(updated_at as date) as order_day
              from '{part}' where amount > 0
            ) to '{result}' (format parquet)
        """)
        return result

    @task
    def load(result):  # type: ignore[no-untyped-def]
        import duckdb

        with duckdb.connect(f"{WORK}/orders.duckdb") as con:
            con.execute(f"create table if not exists orders as from '{result}' limit 0")
            con.execute(f"insert into orders from '{result}'")
            rows = con.execute("select count(*) from orders").fetchone()
        Path(result).unlink()
        return rows

    load(transform(extract()))


dag_ = hand_written()
