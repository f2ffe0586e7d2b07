"""What the scenarios with a local file as destination share."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import TRANSFORMS, Bench, expect_rows, faster, figures
from benchmarks.measure import Run, alternate, run
from benchmarks.outcome import Outcome
from benchmarks.place import Contestant, program

FUSED, STAGED, DLT = "DataForge fused", "DataForge staged", "dlt (Arrow)"


def compare(bench: Bench, scenario: str, title: str, destination: dict[str, Any], kind: str, dlt_file: str) -> Outcome:
    """Let ours and dlt write the transformed orders to local files; `dlt_file` is relative to dlt's target folder."""
    path = bench.orders()
    target = bench.folder("dlt-output")
    contestants = [
        *(
            ours(bench, name, path.name, destination, execution)
            for name, execution in ((FUSED, "fused"), (STAGED, "staged"))
        ),
        bench.dlt(DLT, "dlt_csv", str(path), kind, str(target / dlt_file)),
    ]
    sums: set[str] = set()

    def before(_: Contestant) -> None:
        bench.folder("output", empty=True)
        bench.folder("dlt-output", empty=True)
        bench.forget_dlt()

    def after(contestant: Contestant, _: Run) -> None:
        folder = target if contestant.name == DLT else bench.folder("output")
        got = run(Contestant("count", program("count", str(folder)), {})).output.strip()
        expect_rows(got, sorted(sums) or [got], contestant.name)
        sums.add(got)

    runs = alternate(contestants, bench.repeat, before, after, bench.tell)
    lines, found = figures(runs, bench.rows)
    targets = faster(found, (FUSED, STAGED), (DLT,))
    return Outcome(scenario, title, lines, targets)


def ours(bench: Bench, name: str, path: str, destination: dict[str, Any], execution: str) -> Contestant:
    """Return our side."""
    config: dict[str, Any] = {
        "dag_id": f"bench_{destination['type']}_{execution}",
        "source": {"type": "csv", "path": path},
        "transforms": TRANSFORMS,
        "destination": destination,
        "execution": execution,
    }
    return bench.ours(name, config)
