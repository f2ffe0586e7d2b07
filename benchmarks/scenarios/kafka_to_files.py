"""What the Kafka scenarios share: a local cluster → the same transformations → local files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench import TRANSFORMS, Bench, expect_rows, faster, figures
from benchmarks.measure import Run, alternate, run
from benchmarks.outcome import Outcome
from benchmarks.place import ROOT, Contestant, program

FUSED, STAGED, DLT_ARROW, DLT_JSON = "DataForge fused", "DataForge staged", "dlt (Arrow)", "dlt (JSON records)"
ROWS_IN_TOPIC = 100_000


def compare(bench: Bench, scenario: str, title: str, destination: dict[str, Any], kind: str, dlt_file: str) -> Outcome:
    """Let ours and dlt, on its two ways, read a quarter of the rows; `dlt_file` is relative to dlt's target folder."""
    rows = bench.rows // 4
    target = bench.folder("dlt-output")
    with served(bench.orders(rows, ".ndjson"), max(4, rows // ROWS_IN_TOPIC)) as (servers, topics):
        place = (servers, ",".join(topics), kind, str(target / dlt_file))
        contestants = [
            *(
                ours(bench, servers, topics, destination, name, how)
                for name, how in ((FUSED, "fused"), (STAGED, "staged"))
            ),
            bench.dlt(DLT_ARROW, "dlt_kafka", "arrow", *place, rows=rows),
            bench.dlt(DLT_JSON, "dlt_kafka", "json", *place, rows=rows),
        ]
        counted: set[str] = set()

        def before(_: Contestant) -> None:
            bench.folder("output", empty=True)
            bench.folder("dlt-output", empty=True)
            bench.forget_dlt()

        def after(contestant: Contestant, _: Run) -> None:
            folder = target if contestant.name.startswith("dlt") else bench.folder("output")
            got = run(Contestant("count", program("count", str(folder)), {})).output.strip()
            expect_rows(got, sorted(counted) or [got], contestant.name)
            counted.add(got)

        runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, rows)
    targets = faster(found, (FUSED, STAGED), (DLT_ARROW, DLT_JSON))
    return Outcome(scenario, title.format(rows=rows), lines, targets)


def ours(
    bench: Bench, servers: str, topics: list[str], destination: dict[str, Any], name: str, execution: str
) -> Contestant:
    """Return our side."""
    extra = json.dumps({"bootstrap.servers": servers})
    config: dict[str, Any] = {
        "dag_id": f"bench_kafka_{destination['type']}_{execution}",
        "source": {"type": "kafka", "connection": "events", "topics": topics, "metadata": {}},
        "transforms": TRANSFORMS,
        "destination": destination,
        "execution": execution,
    }
    return bench.ours(name, config, events=json.dumps({"conn_type": "kafka", "extra": extra}))


@contextmanager
def served(path: Path, topics: int) -> Iterator[tuple[str, list[str]]]:
    """Keep the records of an NDJSON file in a cluster of a process of its own; give its address and its topics."""
    command = program("kafka_broker", str(path), str(topics))
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        servers, _, names = process.stdout.readline().strip().partition(" ")
        assert names, "the cluster did not start"
        yield servers, names.split(",")
    finally:
        process.terminate()
        process.wait()
