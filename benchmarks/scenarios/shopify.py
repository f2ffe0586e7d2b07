"""A simulated shop with Shopify's rate limits: how near our requests come to what the limits let through."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measure import alternate
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.place import ROOT, program

BUCKET, POINTS, RESTORE = 80, 1000, 50
"""Limits of real plans: 80 requests, of which 4 leave each second; 1,000 points, of which 50 come back."""
PAGE = 48


def run(bench: Bench) -> Outcome:
    """Read the same orders by each API, far beyond what is free, and once by a bulk operation."""
    requests = 120 if bench.quick else 240
    rest = measured(bench, "rest", requests, {"page_size": 1})
    points = measured(
        bench, "graphql", requests // 4, {"page_size": PAGE, "fields": "id name createdAt updatedAt"}, PAGE
    )
    bulk = measured(bench, "bulk", 1, {"poll": 0.5}, requests * 10)
    leak, restored = BUCKET / 20, RESTORE / (PAGE + 2)
    lines = (
        line("REST, leaky bucket", rest, leak),
        line("GraphQL, points", points, restored),
        line("bulk operation", bulk, None),
    )
    targets = (
        Target("REST: requests/s ÷ what the bucket lets through", rest["rate"] / leak, ">=", 0.95),
        Target("GraphQL: requests/s ÷ what the points pay for", points["rate"] / restored, ">=", 0.95),
        Target("requests that the shop refused", rest["refused"] + points["refused"], "<=", 0),
    )
    note = (
        "The shop is this project's own stand-in for Shopify, by its published limits, on the same machine: the "
        "figures say that nothing but the limit is waited for, not how fast Shopify is."
    )
    return Outcome("shopify", f"a simulated shop: {requests} requests through its rate limit", lines, targets, (note,))


def line(name: str, found: dict[str, float], limit: float | None) -> Line:
    """Return a line of the table; requests a second are those of the last third, when the free part is used up."""
    figures: dict[str, float | None] = {
        "seconds": found["seconds"],
        "requests": found["asked"],
        "requests/s": None if limit is None else found["rate"],
        "limit": limit,
        "refused": found["refused"],
    }
    return Line(name, figures)


def measured(bench: Bench, api: str, requests: int, options: dict[str, Any], each: int = 1) -> dict[str, float]:
    """Read all orders of a fresh shop in one process; return seconds and what the shop was asked."""
    command = program("shop", str(requests * each), str(BUCKET), str(POINTS), str(RESTORE))
    shop = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert shop.stdout is not None
        host = shop.stdout.readline().strip()
        connection = json.dumps({"conn_type": "http", "host": host, "password": "shop-key-1234"})
        config = {
            "dag_id": f"bench_shopify_{api}",
            "source": {"type": "shopify", "connection": "shop", "resource": "orders", "api": api, **options},
            "destination": {"type": "duckdb", "table": f"orders_{api}", "write_disposition": "replace"},
        }
        runs = alternate([bench.ours(api, config, shop=connection)], 1, tell=bench.tell)
        told, _ = shop.communicate(timeout=30)
    finally:
        shop.kill()
        shop.wait()
    return {"seconds": runs[api][0].seconds, **json.loads(told)}
