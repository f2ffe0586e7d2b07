"""CSV → rename, cast, filter, derive → PostgreSQL, append; from process start to commit."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import SAME_TABLE, TRANSFORMS, Bench, expect_rows, figures, line
from benchmarks.measure import Figures, Run, alternate
from benchmarks.outcome import Outcome, Target
from benchmarks.place import Contestant

TITLE = "{rows:,} rows × 12 mixed columns of CSV → rename, cast, filter, derive → PostgreSQL append"
PSQL, FUSED, STAGED = "psql \\copy", "DataForge fused", "DataForge staged"
DLT, DLT_ONE = "dlt (Arrow, ADBC, 4 files)", "dlt (Arrow, ADBC, 1 file)"

COPIED = """create table bench.copied (id bigint, customer text, email text, status text, amount numeric(12,2),
quantity bigint, score double precision, is_gift boolean, order_date date, updated_at timestamp, sku text, note text)"""
SUMS = """select count(*), sum(amount)::numeric(20,2), min({id}), max({id}), max({day}), sum(length(note))
from {table} where amount > 0"""


def run(bench: Bench) -> Outcome:
    """Let psql, ours and dlt take turns; then ours alone with five times the rows, for the memory."""
    server = bench.server
    path = bench.orders()
    server.query("create schema if not exists bench")
    contestants = [
        Contestant(PSQL, server.psql(f"\\copy bench.copied from '{path}' with (format csv, header)"), {}),
        ours(bench, FUSED, "fused", path.name),
        ours(bench, STAGED, "staged", path.name),
        bench.dlt(DLT, "dlt_csv", str(path), "postgres", server.url),
        bench.dlt(DLT_ONE, "dlt_csv", str(path), "postgres", server.url, files=1),
    ]
    tables = {
        PSQL: ("bench.copied", "id", "updated_at::date"),
        FUSED: ("bench.fused", "order_id", "order_day"),
        STAGED: ("bench.staged", "order_id", "order_day"),
        DLT: ("bench_dlt.orders", "order_id", "order_day"),
        DLT_ONE: ("bench_dlt.orders", "order_id", "order_day"),
    }
    sums: set[str] = set()

    def before(_: Contestant) -> None:
        reset(bench)

    def after(contestant: Contestant, _: Run) -> None:
        table, id_, day = tables[contestant.name]
        got = server.query(SUMS.format(table=table, id=id_, day=day))
        expect_rows(got, sorted(sums) or [got], contestant.name)
        sums.add(got)

    runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, bench.rows)
    more = memory(bench)
    fused, staged = found[FUSED], found[STAGED]
    dlt = min(found[DLT], found[DLT_ONE], key=lambda each: each.seconds)
    targets = (
        Target("fused ÷ psql \\copy, rows/s", found[PSQL].seconds / fused.seconds, ">=", 0.8),
        Target("staged ÷ psql \\copy, rows/s", found[PSQL].seconds / staged.seconds, ">=", 0.5),
        Target(f"fused ÷ {dlt.name}, rows/s", dlt.seconds / fused.seconds, ">=", 2.5),
        Target("peak memory, fused", fused.peak_mb, "<=", 500, "MB"),
        Target("peak memory, staged", staged.peak_mb, "<=", 500, "MB"),
        *(
            Target(
                f"peak memory, 5 × the rows ÷ 1 ×, {each.name.split()[1].strip(',')}",
                each.peak_mb / less.peak_mb,
                "<=",
                1.15,
            )
            for each, less in zip(more, (fused, staged), strict=True)
        ),
    )
    return Outcome(
        "csv_to_postgres",
        TITLE.format(rows=bench.rows),
        (*lines, *(line(each, bench.rows * 5) for each in more)),
        targets,
        (
            f"PostgreSQL {server.version}. psql copies into a table that is there; the others make theirs.",
            "All leave the same columns: ours without the run column, whose price the scenario guards shows.",
            "dlt with several files loads them in several transactions at once; ours and psql's is one.",
        ),
    )


def ours(bench: Bench, name: str, execution: str, path: str) -> Contestant:
    """Return our side."""
    config: dict[str, Any] = {
        "dag_id": f"bench_{execution}",
        "source": {"type": "csv", "path": path},
        "transforms": TRANSFORMS,
        "destination": {"type": "postgres", "connection": "warehouse", "table": f"bench.{execution}", **SAME_TABLE},
        "execution": execution,
    }
    return bench.ours(name, config, warehouse=bench.server.connection)


def memory(bench: Bench) -> list[Figures]:
    """Return what our side takes for five times the rows, one run each."""
    path = bench.orders(bench.rows * 5)
    found = []
    for name, execution in ((f"{FUSED}, 5 × the rows", "fused"), (f"{STAGED}, 5 × the rows", "staged")):
        reset(bench)
        runs = alternate([ours(bench, name, execution, path.name)], 1, tell=bench.tell)
        found.append(Figures.of(name, runs[name]))
    reset(bench)
    return found


def reset(bench: Bench) -> None:
    """Leave an empty table for psql and nothing for the others, and no work for the server's checkpointer."""
    bench.server.query("drop schema bench cascade", "create schema bench", COPIED)
    bench.server.query("drop schema if exists bench_dlt cascade")
    bench.forget_dlt()
    bench.server.query("vacuum", "checkpoint")
