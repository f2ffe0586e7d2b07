"""A local JSON API, paged along Link headers → the same transformations → PostgreSQL, append."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench import SAME_TABLE, TRANSFORMS, Bench, expect_rows, faster, figures
from benchmarks.measure import Run, alternate
from benchmarks.outcome import Outcome
from benchmarks.place import ROOT, Contestant, program
from benchmarks.scenarios.csv_to_postgres import SUMS

FUSED, STAGED, DLT_ARROW, DLT_JSON = "DataForge fused", "DataForge staged", "dlt (pages as Arrow)", "dlt (JSON records)"
TABLES = {FUSED: "bench.fused", STAGED: "bench.staged", DLT_ARROW: "bench_dlt.orders", DLT_JSON: "bench_dlt.orders"}
PAGE_SIZE = 1000


def run(bench: Bench) -> Outcome:
    """Let ours and dlt, on its two ways, take turns over a quarter of the rows."""
    server, rows = bench.server, bench.rows // 4
    with served(bench.orders(rows, ".ndjson")) as url:
        contestants = [
            *(ours(bench, name, url, execution) for name, execution in ((FUSED, "fused"), (STAGED, "staged"))),
            bench.dlt(DLT_ARROW, "dlt_api", "arrow", url, server.url, rows=rows),
            bench.dlt(DLT_JSON, "dlt_api", "json", url, server.url, rows=rows),
        ]
        sums: set[str] = set()

        def before(_: Contestant) -> None:
            server.query("drop schema if exists bench cascade", "drop schema if exists bench_dlt cascade")
            server.query("create schema bench", "vacuum", "checkpoint")
            bench.forget_dlt()

        def after(contestant: Contestant, _: Run) -> None:
            got = server.query(SUMS.format(table=TABLES[contestant.name], id="order_id", day="order_day"))
            expect_rows(got, sorted(sums) or [got], contestant.name)
            sums.add(got)

        runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, rows)
    targets = faster(found, (FUSED, STAGED), (DLT_ARROW, DLT_JSON))
    title = f"{rows:,} records of a local JSON API, pages of {PAGE_SIZE}, Link header → PostgreSQL append"
    return Outcome("api_to_postgres", title, lines, targets)


def ours(bench: Bench, name: str, url: str, execution: str) -> Contestant:
    """Return our side."""
    host, port = url.removeprefix("http://").split(":")
    api = json.dumps({"conn_type": "http", "host": host, "port": int(port), "schema": "http"})
    config: dict[str, Any] = {
        "dag_id": f"bench_api_{execution}",
        "source": {
            "type": "http",
            "connection": "shop_api",
            "endpoint": "/orders",
            "pagination": {"type": "link_header"},
        },
        "transforms": TRANSFORMS,
        "destination": {"type": "postgres", "connection": "warehouse", "table": TABLES[name], **SAME_TABLE},
        "execution": execution,
    }
    return bench.ours(name, config, warehouse=bench.server.connection, shop_api=api)


@contextmanager
def served(path: Path) -> Iterator[str]:
    """Serve the records of an NDJSON file in a process of its own; give the URL."""
    command = program("api", str(path), str(PAGE_SIZE))
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
