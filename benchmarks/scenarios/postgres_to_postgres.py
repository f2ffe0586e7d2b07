"""A PostgreSQL table → the same transformations → another PostgreSQL table, append."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import SAME_TABLE, TRANSFORMS, Bench, expect_rows, faster, figures
from benchmarks.measure import Run, alternate
from benchmarks.outcome import Outcome
from benchmarks.place import Contestant
from benchmarks.scenarios.csv_to_postgres import COPIED, SUMS

FUSED, STAGED, DLT = "DataForge fused", "DataForge staged", "dlt (Arrow, ADBC)"
TABLES = {FUSED: "bench.fused", STAGED: "bench.staged", DLT: "bench_dlt.orders"}


def run(bench: Bench) -> Outcome:
    """Let ours and dlt take turns."""
    server = bench.server
    source = "bench_source.copied"
    server.query(
        "drop schema if exists bench_source cascade",
        "create schema bench_source",
        COPIED.replace("bench.copied", source),
        f"\\copy {source} from '{bench.orders()}' with (format csv, header)",
        f"vacuum analyze {source}",
    )
    expected = server.query(SUMS.format(table=source, id="id", day="updated_at::date"))
    contestants = [
        *(ours(bench, name, source, execution) for name, execution in ((FUSED, "fused"), (STAGED, "staged"))),
        bench.dlt(DLT, "dlt_postgres", server.url, source, server.url),
    ]

    def before(_: Contestant) -> None:
        server.query(
            "drop schema if exists bench cascade", "drop schema if exists bench_dlt cascade", "create schema bench"
        )
        bench.forget_dlt()
        server.query("vacuum", "checkpoint")

    def after(contestant: Contestant, _: Run) -> None:
        got = server.query(SUMS.format(table=TABLES[contestant.name], id="order_id", day="order_day"))
        expect_rows(got, [expected], contestant.name)

    runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, bench.rows)
    targets = faster(found, (FUSED, STAGED), (DLT,))
    server.query("drop schema bench_source cascade", "drop schema bench cascade", "drop schema bench_dlt cascade")
    title = f"{bench.rows:,} rows, PostgreSQL → PostgreSQL on the same server"
    return Outcome("postgres_to_postgres", title, lines, targets)


def ours(bench: Bench, name: str, table: str, execution: str) -> Contestant:
    """Return our side."""
    config: dict[str, Any] = {
        "dag_id": f"bench_postgres_{execution}",
        "source": {"type": "postgres", "connection": "warehouse", "table": table},
        "transforms": TRANSFORMS,
        "destination": {"type": "postgres", "connection": "warehouse", "table": TABLES[name], **SAME_TABLE},
        "execution": execution,
    }
    return bench.ours(name, config, warehouse=bench.server.connection)
