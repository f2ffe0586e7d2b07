"""A CSV of changed orders merged by key into a PostgreSQL table of ten times as many; from process start to commit."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.bench import Bench, expect_rows, faster, figures
from benchmarks.measure import Run, alternate
from benchmarks.outcome import Outcome
from benchmarks.place import PEERS, Contestant, program
from benchmarks.scenarios.csv_to_postgres import COPIED

FUSED, STAGED = "DataForge fused", "DataForge staged"
UPSERT, DELETE_INSERT = "dlt (Arrow, upsert)", "dlt (Arrow, delete-insert)"
SLING = "Sling (incremental)"
TABLES = {
    FUSED: "bench.fused",
    STAGED: "bench.staged",
    UPSERT: "bench_dlt.orders",
    DELETE_INSERT: "bench_dlt.orders",
    SLING: "bench_sling.orders",
}
SUMS = """select count(*), sum(amount::numeric(12,2)), min(id), max(id), sum(length(note)),
count(*) filter (where note like 'changed%') from {table}"""


def run(bench: Bench) -> Outcome:
    """Let all take turns; each finds its table as its own first load would have left it."""
    server = bench.server
    whole, changed = bench.orders(), bench.folder("inputs") / f"changed-{bench.rows}.csv"
    server.query(
        "drop schema if exists bench cascade",
        "create schema bench",
        COPIED,
        f"\\copy bench.copied from '{whole}' with (format csv, header)",
    )
    # a tenth of the rows: nine parts known orders with another note, one part new ones
    server.query(
        "create table bench.changed as select id, customer, email, status, amount, quantity, score, is_gift, "
        "order_date, updated_at, sku, 'changed ' || note as note from bench.copied where id % 11 = 3 "
        f"limit {bench.rows * 9 // 100}",
        "insert into bench.changed select id + 10000000, customer, email, status, amount, quantity, score, is_gift, "
        f"order_date, updated_at, sku, note from bench.copied where id % 100 = 7 limit {bench.rows // 100}",
        f"\\copy bench.changed to '{changed}' with (format csv, header)",
    )
    contestants = [
        *(ours(bench, name, changed.name, execution) for name, execution in ((FUSED, "fused"), (STAGED, "staged"))),
        bench.dlt(UPSERT, "dlt_merge", str(changed), server.url, "upsert", files=1),
        bench.dlt(DELETE_INSERT, "dlt_merge", str(changed), server.url, "delete-insert", files=1),
    ]
    if sling := sling_binary():
        command = (
            sling, "run", "--src-stream", f"file://{changed}", "--tgt-conn", "BENCH", "--tgt-object",
            "bench_sling.orders", "--mode", "incremental", "--primary-key", "id",
        )  # fmt: skip
        contestants.append(Contestant(SLING, command, {"BENCH": f"{server.url}?sslmode=disable"}))
    bench.forget_dlt()
    first = program("dlt_merge", str(whole), server.url, "delete-insert", home="dlt")
    environment = contestants[2].environment
    alternate([Contestant("dlt's first load", first, environment)], 1, tell=bench.tell)
    server.query("create table bench.dlt as select * from bench_dlt.orders")
    expected: set[str] = set()

    def before(contestant: Contestant) -> None:
        table = TABLES[contestant.name]
        if contestant.name in (UPSERT, DELETE_INSERT):
            server.query(f"truncate {table}", f"insert into {table} select * from bench.dlt", f"vacuum analyze {table}")
        else:
            schema = table.partition(".")[0]
            server.query(
                f"create schema if not exists {schema}",
                f"drop table if exists {table}",
                f"create table {table} as select * from bench.copied",
                f"vacuum analyze {table}",
            )
        server.query("checkpoint")

    def after(contestant: Contestant, _: Run) -> None:
        got = server.query(SUMS.format(table=TABLES[contestant.name]))
        expect_rows(got, sorted(expected) or [got], contestant.name)
        expected.add(got)

    runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, bench.rows // 10)
    peers = [name for name in (UPSERT, DELETE_INSERT, SLING) if name in found]
    targets = faster(found, (FUSED, STAGED), peers)
    server.query(*(f"drop schema if exists {schema} cascade" for schema in ("bench", "bench_dlt", "bench_sling")))
    title = f"{bench.rows // 10:,} changed rows merged by key into {bench.rows:,} rows of PostgreSQL"
    notes = [f"PostgreSQL {server.version}; no table has an index on the key. Ours and dlt's is one transaction."]
    if not sling:
        notes.append("Sling was not there (BENCH_SLING names its program).")
    return Outcome("merge_postgres", title, lines, targets, tuple(notes))


def sling_binary() -> str | None:
    """Return Sling's program: the one that BENCH_SLING names, or the one that its package brings."""
    found = next((PEERS / "sling").glob("lib/*/site-packages/sling_linux_amd64/bin/sling-*"), None)
    return os.environ.get("BENCH_SLING") or (str(found) if found else None)


def ours(bench: Bench, name: str, path: str, execution: str) -> Contestant:
    """Return our side."""
    config: dict[str, Any] = {
        "dag_id": f"bench_merge_{execution}",
        "source": {"type": "csv", "path": path},
        "transforms": [{"type": "cast", "columns": {"amount": "decimal(12,2)", "is_gift": "boolean"}}],
        "destination": {
            "type": "postgres",
            "connection": "warehouse",
            "table": TABLES[name],
            "write_disposition": "merge",
            "primary_key": ["id"],
        },
        "execution": execution,
    }
    return bench.ours(name, config, warehouse=bench.server.connection)
