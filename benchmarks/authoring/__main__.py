"""Evaluates authoring and repair with real language models on this machine.

    python -m benchmarks.authoring                                    the 135 M model, all requests
    python -m benchmarks.authoring --model 0.5b --control --faults    fetched when it is not there, digest checked
    python -m benchmarks.authoring --gguf some.gguf --only nasty --limit 10
    python -m benchmarks.authoring --page                             docs/authoring-evaluation.md from all results

The model runs on one thread at temperature 0, with five turns a request at most. Results go to
benchmarks/results/authoring/, one file a model; a run of a part replaces that part.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.authoring import evaluation, page
from benchmarks.authoring.requests import CASES, Case
from benchmarks.authoring.weights import WEIGHTS, Weights, named
from benchmarks.place import RESULTS, ROOT

FOLDER = RESULTS / "authoring"
PAGE = ROOT / "docs" / "authoring-evaluation.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments name; return 0 unless a model that was named could not be had."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.authoring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", action="append", help=f"one of {', '.join(one.name for one in WEIGHTS)}, or its size"
    )
    parser.add_argument("--gguf", type=Path, help="another model's file; its figures are kept under the file's name")
    parser.add_argument("--only", choices=("plain", "nasty", "loose"), help="one third of the requests")
    parser.add_argument("--control", action="store_true", help="again without the two nearest examples of each request")
    parser.add_argument("--faults", action="store_true", help="also repair the injected faults")
    parser.add_argument("--only-faults", action="store_true", help="repair the injected faults and nothing else")
    parser.add_argument("--limit", type=int, help="so many requests of each third")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)} from all results and end")
    given = parser.parse_args(argv)
    if given.page:
        PAGE.write_text(page.page(_results()), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
        return 0
    models: list[tuple[str, str, Path | None]] = []
    if given.gguf:
        models.append((given.gguf.stem, given.gguf.stem, given.gguf))
    for name in given.model or ([] if given.gguf else [WEIGHTS[0].name]):
        weights = named(name)
        if weights is None:
            parser.error(f"no model {name!r}; there are {', '.join(one.name for one in WEIGHTS)}")
        models.append((weights.name, weights.title, _file(weights)))
    cases = () if given.only_faults else tuple(_chosen(given.only, given.limit))
    for name, title, file in models:
        if file is not None:
            _run(name, title, file, cases, given)
    return 0 if all(file for _, _, file in models) else 1


def _file(weights: Weights) -> Path | None:
    return weights.fetch()


def _chosen(only: str | None, limit: int | None) -> list[Case]:
    found: list[Case] = []
    for wording in ("plain", "nasty", "loose"):
        found += [case for case in CASES if case.wording == wording and only in (None, wording)][:limit]
    return found


def _run(name: str, title: str, file: Path, cases: Sequence[Case], given: argparse.Namespace) -> None:
    kept = _kept(name)
    kept |= {"name": name, "title": title}
    found: list[evaluation.Result] = []
    with evaluation.served(name, file) as gateway:
        if cases:
            about = {
                "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
                "load average": f"{os.getloadavg()[0]:.1f}",
                "cores": os.cpu_count(),
            }
            kept["about"] = about
            for main_, control in evaluation.run(cases, gateway, control=given.control):
                found.append(main_)
                before = kept["results"].get(main_.case, {})
                again = evaluation.packed(control) or before.get("control")
                kept["results"][main_.case] = {"main": evaluation.packed(main_), "control": again}
                _keep(name, kept)
        if given.faults or given.only_faults:
            kept["repair"] = evaluation.mend(gateway)
            _keep(name, kept)
    print(page.report(kept))
    _failures(found)


def _failures(results: Sequence[evaluation.Result]) -> None:
    """Print the failures by kind, and each one of the wordings that may be looked at."""
    kinds: Counter[str] = Counter()
    for result in results:
        kinds.update(result.kinds)
    print("failures by kind: " + (", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "none"))
    for result in results:
        if result.failures or (result.outcome == "config" and not result.valid and result.wording != "loose"):
            print(f"{result.case} {result.right}/{result.facts}{'' if result.valid else ' (not valid)'}")
            for kind, place, wanted, found in result.failures:
                print(f"    {kind} {place}: wanted {wanted}, is {found}")


def _path(name: str) -> Path:
    return FOLDER / f"{name.replace(':', '-')}.json"


def _kept(name: str) -> dict[str, Any]:
    path = _path(name)
    known = {case.id for case in CASES}
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"results": {}}
    kept["results"] = {id_: value for id_, value in kept["results"].items() if id_ in known}
    return kept


def _keep(name: str, kept: dict[str, Any]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    _path(name).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _results() -> list[dict[str, Any]]:
    order = {one.name: number for number, one in enumerate(WEIGHTS)}
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return sorted(found, key=lambda one: order.get(one["name"], len(order)))


if __name__ == "__main__":
    sys.exit(main())
