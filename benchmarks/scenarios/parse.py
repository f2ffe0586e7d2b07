"""1,000 configs → DAGs in one process; one config in a task's process; what our package adds to a DAG file's import."""

from __future__ import annotations

from statistics import median

from benchmarks.bench import Bench
from benchmarks.measure import alternate
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.pipelines import write_json, write_yaml
from benchmarks.place import Contestant, program

COUNT = 1000
COLD, TASK, IMPORT, DAG_FACTORY = "DataForge", "DataForge, in a task", "DataForge, import", "dag-factory"


def run(bench: Bench) -> Outcome:
    """Measure inside the processes, after Airflow's own import."""
    count = 100 if bench.quick else COUNT
    ours, theirs = bench.folder("many-json", empty=True), bench.folder("many-yaml", empty=True)
    write_json(ours, count)
    write_yaml(theirs, count)
    home = str(bench.folder("airflow-parse", empty=True))
    environment = {**bench.our_environment, "AIRFLOW_HOME": home, "AIRFLOW__DATAFORGE__CONFIGS_FOLDER": str(ours)}

    def mine(name: str, what: str) -> Contestant:
        return Contestant(name, program("parse_ours", str(ours), what, f"pipeline_{count // 2:05d}"), environment)

    def before(contestant: Contestant) -> None:
        if contestant.name == COLD:  # forget what the loader remembers of earlier parses
            bench.folder("airflow-parse", empty=True)

    contestants = [
        mine(COLD, "all"),
        mine(TASK, "task"),
        mine(IMPORT, "import"),
        Contestant(DAG_FACTORY, program("parse_dagfactory", str(theirs), home="dag-factory"), {"AIRFLOW_HOME": home}),
    ]
    runs = alternate(contestants, bench.repeat, before, tell=bench.tell)
    found = {name: [each.json() for each in results] for name, results in runs.items()}
    for name, expected in ((COLD, count), (TASK, 1), (DAG_FACTORY, count)):
        if any((each["dags"], each["tasks"]) != (expected, expected * 3) for each in found[name]):
            raise RuntimeError(f"{name} made {found[name][0]} of {expected} pipelines with three tasks each")

    def seconds(name: str, key: str) -> float:
        return float(median(each[key] for each in found[name]))

    lines = (
        Line(
            f"{COLD}, first parse",
            {"import s": seconds(COLD, "import"), "DAGs": count, "seconds": seconds(COLD, "load")},
        ),
        Line(f"{COLD}, unchanged", {"DAGs": count, "seconds": seconds(COLD, "again")}),
        Line(TASK, {"import s": seconds(TASK, "import"), "DAGs": 1, "seconds": seconds(TASK, "load")}),
        Line(
            DAG_FACTORY,
            {"import s": seconds(DAG_FACTORY, "import"), "DAGs": count, "seconds": seconds(DAG_FACTORY, "load")},
        ),
    )
    targets = (
        Target(f"{count:,} configs parsed", seconds(COLD, "load") + seconds(COLD, "import"), "<=", 5, "s"),
        Target("one config in a task", seconds(TASK, "load") * 1000, "<=", 50, "ms"),
        Target("import of our package in a DAG file", seconds(IMPORT, "import") * 1000, "<=", 60, "ms"),
    )
    title = f"{count:,} config files → DAGs of three tasks, over Airflow's own import"
    return Outcome(
        "parse",
        title,
        lines,
        targets,
        ("A first parse has nothing remembered from earlier ones; `unchanged` is what Airflow pays later.",),
    )
