"""What marker, fence, ledger, run column and digests cost: the load benchmark with and without them."""

from __future__ import annotations

import json
from dataclasses import replace

from benchmarks.bench import Bench, expect_rows, figures
from benchmarks.measure import Run, alternate
from benchmarks.outcome import Outcome, Target
from benchmarks.place import Contestant, program
from benchmarks.scenarios.csv_to_postgres import SUMS, ours

EXECUTIONS = ("fused", "staged")


def run(bench: Bench) -> Outcome:
    """Let both take turns, fused and staged."""
    server = bench.server
    path = bench.orders().name
    contestants = []
    for execution in EXECUTIONS:
        guarded = ours(bench, f"{execution}, as it is", execution, path)
        contestants += [guarded, unguarded(bench, guarded, execution)]

    def before(_: Contestant) -> None:
        server.query("drop schema if exists bench cascade", "create schema bench", "vacuum", "checkpoint")

    expected: set[str] = set()

    def after(contestant: Contestant, _: Run) -> None:
        table = f"bench.{contestant.name.partition(',')[0]}"
        got = server.query(SUMS.format(table=table, id="order_id", day="order_day"))
        expect_rows(got, sorted(expected) or [got], contestant.name)
        expected.add(got)

    runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, bench.rows)
    targets = tuple(
        Target(
            f"{execution}: seconds with ÷ without",
            found[f"{execution}, as it is"].seconds / found[f"{execution}, unguarded"].seconds,
            "<=",
            1.05,
        )
        for execution in EXECUTIONS
    )
    server.query("drop schema bench cascade")
    title = f"{bench.rows:,} rows of CSV → PostgreSQL append, with and without marker, fence, run column and digests"
    return Outcome("guards", title, lines, targets)


def unguarded(bench: Bench, guarded: Contestant, execution: str) -> Contestant:
    """Return the same load without run column and ledger."""
    path = bench.folder("configs") / f"bench_{execution}.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dag_id"] = f"bench_{execution}_unguarded"
    config["destination"]["run_column"] = None
    own = path.with_name(f"{config['dag_id']}.json")
    own.write_text(json.dumps(config, indent=2), encoding="utf-8")
    command = program("unguarded", "run", str(own), "--format", "json")
    return replace(guarded, name=f"{execution}, unguarded", command=command)
