"""Runs benchmarks: `benchmarks/run [SCENARIO…] [--rows N] [--repeat K] [--page]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.bench import Bench
from benchmarks.outcome import Outcome
from benchmarks.place import PAGE, PEERS, RESULTS, ROOT, SCRATCH

SCENARIOS = (
    "csv_to_postgres",
    "postgres_to_postgres",
    "merge_postgres",
    "guards",
    "api_to_postgres",
    "shopify",
    "csv_to_duckdb",
    "csv_to_parquet",
    "kafka_to_duckdb",
    "kafka_to_parquet",
    "parse",
    "validate",
    "three_tasks",
    "pickup",
    "web",
    "breaker",
)
"""In the order of the page."""

LATEST = RESULTS / "latest.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen scenarios; return 0 when every target was met, 1 when one was missed or a scenario failed."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="DataForge beside its peers, in one run.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: all of {', '.join(SCENARIOS)}")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the large inputs (default: 2,000,000)")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each contestant (default: 5)")
    parser.add_argument("--page", action="store_true", help="also write docs/benchmarks.md from all latest results")
    parser.add_argument("--only-page", action="store_true", help="measure nothing, only write docs/benchmarks.md")
    parser.add_argument("--quick", action="store_true", help="fewer files where files count; for trying out")
    options = parser.parse_args(arguments)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    outcomes = []
    with ExitStack() as stack:
        bench = Bench(options.rows, options.repeat, SCRATCH, stack, options.quick)
        for name in () if options.only_page else options.scenarios or SCENARIOS:
            print(f"{name} …", file=sys.stderr, flush=True)
            about = machine(options.rows, options.repeat)  # before: the load average must not be our own
            outcomes.append(attempt(name, bench))
            print(table.text(outcomes[-1]), flush=True)
            keep(outcomes[-1], about)
    if options.page or options.only_page:
        write_page()
    return 0 if all(not each.failed and all(target.met for target in each.targets) for each in outcomes) else 1


def write_page() -> None:
    """Write docs/benchmarks.md from results/latest.json, each scenario with the date it was measured."""
    results = json.loads(LATEST.read_text(encoding="utf-8"))
    kept = {name: results["outcomes"][name] for name in SCENARIOS if name in results["outcomes"]}
    outcomes = [(Outcome.from_json(value), str(value["made"])) for value in kept.values()]
    PAGE.write_text(table.page(outcomes, results["machine"]), encoding="utf-8")
    print(f"\nwrote {PAGE.relative_to(ROOT)}")


def attempt(name: str, bench: Bench) -> Outcome:
    """Run one scenario; a failure becomes its outcome, so that the others still run."""
    try:
        outcome: Outcome = import_module(f"benchmarks.scenarios.{name}").run(bench)
    except Exception as error:  # noqa: BLE001  # one scenario must not take the others' results away
        traceback.print_exc()
        return Outcome(name, "", failed=str(error) or type(error).__name__)
    return outcome


def keep(outcome: Outcome, about: dict[str, Any]) -> None:
    """Write the outcome into results/latest.json, beside those of the other scenarios."""
    RESULTS.mkdir(exist_ok=True)
    results: dict[str, Any] = {"outcomes": {}}
    if LATEST.exists():
        results = json.loads(LATEST.read_text(encoding="utf-8"))
    results["machine"] = about
    results["outcomes"][outcome.scenario] = {
        **outcome.to_json(),
        "made": f"{about['date']}, {about['turns']} turns, load average {about['load average']}",
    }
    LATEST.write_text(json.dumps(results, indent=1), encoding="utf-8")


def machine(rows: int, repeat: int) -> dict[str, Any]:
    """Return what stands above the tables: when, on what, with which versions."""
    return {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "load average": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "turns": repeat,
        "rows": f"{rows:,}",
        **{name: metadata.version(name) for name in ("apache-airflow", "duckdb", "pyarrow", "adbc-driver-postgresql")},
        **{name: version for name in ("dlt", "dag-factory") if (version := peer_version(name))},
    }


def processor() -> str:
    """Return the processor's name as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def peer_version(name: str) -> str | None:
    """Return the version of the peer, in the environment of its name."""
    folders = [str(folder) for folder in (PEERS / name).glob("lib/python*/site-packages")]
    found = next(iter(metadata.distributions(name=name, path=folders)), None)
    return found.version if found else None


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"\n{time.monotonic() - began:.0f} s in all", file=sys.stderr)
    sys.exit(code)
