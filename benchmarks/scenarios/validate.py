"""`dataforge validate`: one config beyond the start of the process, and 1,000 configs."""

from __future__ import annotations

from statistics import median

from benchmarks.bench import Bench
from benchmarks.measure import Figures, alternate
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.pipelines import write_json
from benchmarks.place import PYTHON, Contestant, program

COUNT = 1000
START, ONE, MANY, INSIDE = "dataforge --version", "validate, 1 config", "validate, many configs", "inside"


def run(bench: Bench) -> Outcome:
    """Time whole processes, and the validation of one config alone in a process that has its imports behind it."""
    count = 100 if bench.quick else COUNT
    one, many = bench.folder("validate-one", empty=True), bench.folder("validate-many", empty=True)
    write_json(one, 1)
    write_json(many, count)
    file = str(one / "pipeline_00000.json")
    command = (PYTHON, "-m", "dataforge")
    environment = bench.our_environment
    contestants = [
        Contestant(START, (*command, "--version"), environment),
        Contestant(ONE, (*command, "validate", file), environment),
        Contestant(MANY, (*command, "validate", str(many)), environment),
        Contestant(INSIDE, program("validate_ours", file), environment),
    ]
    runs = alternate(contestants, max(bench.repeat, 5), tell=bench.tell)
    inside = median(float(each.json()["seconds"]) for each in runs.pop(INSIDE))
    found = {name: Figures.of(name, each) for name, each in runs.items()}
    lines = (
        *(
            Line(each.name, {"seconds": each.seconds, "best": each.best_seconds, "peak MB": each.peak_mb})
            for each in found.values()
        ),
        Line("validate, 1 config, imports done", {"seconds": inside}),
    )
    targets = (
        Target("validate one config, beyond start-up", inside * 1000, "<=", 100, "ms"),
        Target(f"validate {count:,} configs, whole process", found[MANY].seconds, "<=", 5, "s"),
    )
    note = "Start-up is Python and the imports that the command needs."
    return Outcome("validate", f"dataforge validate: one config, and {count:,}", lines, targets, (note,))
