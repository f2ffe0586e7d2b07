"""What marker, fence, ledger and digests cost, and what the run column does: the load benchmark with and without."""

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
        bare = ours(bench, f"{execution}, no run column", execution, path)
        with_column = with_run_column(bench, execution)
        contestants += [
            replace(
                bare,
                name=f"{execution}, as it is",
                command=(*bare.command[:4], with_column, *bare.command[5:]),
            ),
            bare,
            replace(
                bare,
                name=f"{execution}, no run column, unguarded",
                command=program("unguarded", *bare.command[3:]),
            ),
        ]

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
            f"{execution}: seconds with ÷ without marker, fence, ledger, digests",
            found[f"{execution}, no run column"].seconds / found[f"{execution}, no run column, unguarded"].seconds,
            "<=",
            1.05,
        )
        for execution in EXECUTIONS
    )
    server.query("drop schema bench cascade")
    title = f"{bench.rows:,} rows of CSV → PostgreSQL append, with and without what makes it safe"
    note = "The run column, by which a run replaces its own rows, is data: 8 bytes more in each row."
    return Outcome("guards", title, lines, targets, (note,))


def with_run_column(bench: Bench, execution: str) -> str:
    """Return the path of the same config with the run column that appended tables have by default."""
    path = bench.folder("configs") / f"bench_{execution}.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dag_id"] = f"bench_{execution}_numbered"
    del config["destination"]["run_column"]
    own = path.with_name(f"{config['dag_id']}.json")
    own.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return str(own)
