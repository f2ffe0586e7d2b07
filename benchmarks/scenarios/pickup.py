"""From a file's change to Airflow's REST API, under the demo's settings; and 5,000 configs from a cold start."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from statistics import median
from typing import Any

from scripts.demo import Api

from benchmarks.airflow_ import dag, running, wait
from benchmarks.bench import Bench
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.pipelines import config, write_json

MANY = 5000
PAUSED = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}
"""Otherwise the scheduler would start a run of every config while the time is taken."""


def run(bench: Bench) -> Outcome:
    """Change files beside a few others; then start Airflow over a folder of many."""
    turns = 2 if bench.quick else max(bench.repeat, 5)
    seconds = changes(bench, turns)
    count = 200 if bench.quick else MANY
    cold = cold_start(bench, count)
    lines = tuple(
        Line(f"{kind} config", {"median s": median(each), "worst s": max(each), "times": len(each)})
        for kind, each in seconds.items()
    )
    targets = (
        *(Target(f"{kind} config shows, worst", max(each), "<=", 3, "s") for kind, each in seconds.items()),
        Target(f"{count:,} configs visible from a cold start", cold["visible"], "<=", 60, "s"),
    )
    note = (
        f"The cold start is counted from the start of Airflow's processes on an empty database; they were healthy "
        f"after {cold['healthy']:.0f} s."
    )
    return Outcome(
        "pickup",
        "a config file's change → Airflow's REST API, on the settings of scripts/demo",
        lines,
        targets,
        (note,),
    )


def changes(bench: Bench, turns: int) -> dict[str, list[float]]:
    """Return the seconds until each kind of change showed."""
    folder, dags = bench.folder("pickup-configs", empty=True), bench.folder("no-dags", empty=True)
    write_json(folder, 20)
    seconds: dict[str, list[float]] = {kind: [] for kind in ("new", "changed", "broken", "mended", "deleted")}
    with running(bench, folder, dags, **PAUSED) as (api, _):
        wait(lambda: visible(api) >= 20, 60)
        for turn in range(turns):
            time.sleep(random.uniform(0, 2))  # not in step with Airflow's own rounds
            for kind, took in one_life(api, folder, turn).items():
                seconds[kind].append(took)
                bench.tell(f"{kind}: {took:.2f} s")
    return seconds


def one_life(api: Api, folder: Path, turn: int) -> dict[str, float]:
    """Let one config appear, change, break, mend and go; return the seconds until each showed."""
    value = {**config(0), "dag_id": f"picked_up_{turn}", "description": "first"}
    file = folder / f"picked_up_{turn}.json"
    dag_id = str(value["dag_id"])

    def described(text: str) -> bool:
        found = dag(api, dag_id)
        return found is not None and found["description"] == text

    def broken() -> bool:
        found = api.get("/api/v2/importErrors?limit=100")["import_errors"]
        return any(file.name in error["filename"] for error in found)

    write(file, json.dumps(value))
    took = {"new": wait(lambda: described("first"))}
    write(file, json.dumps({**value, "description": "second"}))
    took["changed"] = wait(lambda: described("second"))
    write(file, json.dumps({**value, "schedul": "@daily"}))
    took["broken"] = wait(broken)
    write(file, json.dumps({**value, "description": "third"}))
    took["mended"] = wait(lambda: described("third") and not broken())
    file.unlink()
    took["deleted"] = wait(lambda: dag(api, dag_id) is None)
    return took


def write(file: Path, text: str) -> None:
    """Write as editors do: a whole new file in one rename."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def cold_start(bench: Bench, count: int) -> dict[str, float]:
    """Return the seconds from the start of Airflow's processes until it was healthy and until all DAGs showed."""
    folder, dags = bench.folder("cold-configs", empty=True), bench.folder("no-dags", empty=True)
    write_json(folder, count)
    with running(bench, folder, dags, **PAUSED) as (api, began):
        healthy = time.monotonic() - began
        wait(lambda: visible(api) >= count, 600, 1)  # asking takes from the same cores: no oftener than a page would
        return {"healthy": healthy, "visible": time.monotonic() - began}


def visible(api: Api) -> int:
    """Return how many DAGs Airflow shows."""
    found: dict[str, Any] = api.get("/api/v2/dags?limit=1&exclude_stale=true")
    return int(found["total_entries"])
