"""dlt moves a JSON API to PostgreSQL: `dlt_api.py json|arrow API_URL TARGET_URL`.

json: records as dicts through dlt's normalizer, as its documentation shows it. arrow: each page becomes an Arrow table
and is transformed as one, which spares the normalizer all work on single records.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from benchmarks.contestants.dlt_csv import COLUMNS, destination, run

if TYPE_CHECKING:
    import pyarrow as pa


def pages(url: str) -> Iterator[list[dict[str, Any]]]:
    """Yield page after page, along the Link header."""
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import HeaderLinkPaginator

    client = RESTClient(base_url=url, paginator=HeaderLinkPaginator())
    for page in client.paginate("/orders"):
        yield list(page)


def tables(url: str) -> Iterator[pa.Table]:
    """Yield the transformed orders, one Arrow table for a hundred pages: small ones cost dlt more than they need."""
    import duckdb
    import pyarrow as pa

    con = duckdb.connect()
    con.execute("set threads = 2")
    waiting: list[pa.Table] = []

    def transformed() -> Any:
        con.register("orders", pa.concat_tables(waiting))
        waiting.clear()
        return con.sql(f"select {COLUMNS} from orders where amount > 0").to_arrow_table()

    for page in pages(url):
        waiting.append(pa.Table.from_pylist(page))
        if len(waiting) == 100:
            yield transformed()
    if waiting:
        yield transformed()


def record(order: dict[str, Any]) -> dict[str, Any]:
    """Return one order transformed."""
    order["order_id"] = order.pop("id")
    order["amount"] = Decimal(str(order["amount"]))
    order["order_date"] = date.fromisoformat(order["order_date"])
    order["updated_at"] = datetime.fromisoformat(order["updated_at"])
    order["order_day"] = order["updated_at"].date()
    return order


def as_json(url: str, target: str) -> None:
    """Run the pipeline over single records."""
    import dlt

    pipeline = dlt.pipeline("orders", destination=destination("postgres", target), dataset_name="bench_dlt")
    resource = dlt.resource(pages(url), name="orders", write_disposition="append")
    pipeline.run(resource.add_filter(lambda order: order["amount"] > 0).add_map(record)).raise_on_failed_jobs()


if __name__ == "__main__":
    if sys.argv[1] == "json":
        as_json(sys.argv[2], sys.argv[3])
    else:
        run(tables(sys.argv[2]), "postgres", sys.argv[3])
