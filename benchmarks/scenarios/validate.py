"""`dataforge validate`: one config and 1,000, beyond the start of the command."""

from __future__ import annotations

from benchmarks.bench import Bench, line
from benchmarks.measure import Figures, alternate
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.pipelines import write_json
from benchmarks.place import PYTHON, Contestant

COUNT = 1000
START, ONE, MANY, BARE = "dataforge --version", "validate 1", "validate many", "python -c pass"


def run(bench: Bench) -> Outcome:
    """Time whole processes; the start of the command is taken from those that do work."""
    count = 100 if bench.quick else COUNT
    one, many = bench.folder("validate-one", empty=True), bench.folder("validate-many", empty=True)
    write_json(one, 1)
    write_json(many, count)
    command = (PYTHON, "-m", "dataforge")
    environment = {**bench.our_environment, "AIRFLOW__DATAFORGE__CONFIGS_FOLDER": str(bench.folder("configs"))}
    contestants = [
        Contestant(BARE, (PYTHON, "-c", "pass"), environment),
        Contestant(START, (*command, "--version"), environment),
        Contestant(ONE, (*command, "validate", str(one / "pipeline_00000.json")), environment),
        Contestant(MANY, (*command, "validate", str(many)), environment),
    ]
    runs = alternate(contestants, max(bench.repeat, 5), tell=bench.tell)
    found = {name: Figures.of(name, each) for name, each in runs.items()}
    start = found[START].seconds
    rows = {BARE: 0, START: 0, ONE: 1, MANY: count}
    lines = tuple(
        Line(each.name, {key: value for key, value in line(each, rows[each.name]).figures.items() if key != "rows/s"})
        for each in found.values()
    )
    targets = (
        Target("validate one config, beyond start-up", (found[ONE].seconds - start) * 1000, "<=", 100, "ms"),
        Target(f"validate {count:,} configs", found[MANY].seconds, "<=", 5, "s"),
    )
    return Outcome("validate", f"validate one config, and {count:,}", lines, targets)
