"""Seeded random combinations of destination, disposition, number of rows, fault and place (section 5.1)."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pytest
from tests.faults.child import Seam
from tests.faults.places import DISPOSITIONS, KINDS, Base, Bench, Trial, supported
from tests.faults.proxy import Fault, Proxy

ROUNDS = int(os.environ.get("DATAFORGE_FAULT_ROUNDS", "240"))
GROUPS = 8
WHERE = [(kind, disposition) for kind in KINDS for disposition in DISPOSITIONS if supported(kind, disposition)]
ROWS = (1, 7, 7, 7, 1_300)
"""A single row, a few, and more than are loaded without a stage table."""


@dataclass(frozen=True)
class Round:
    """One combination, and what came of it."""

    text: str
    trial: Trial


def messages(bench: Bench, proxy: Proxy, base: Base, known: dict[int, int]) -> int:
    """Return how many messages an undisturbed load sends."""
    if id(base) not in known:
        bench.rehearse(base, proxy)
        known[id(base)] = proxy.count()
    return known[id(base)]


def one(chance: random.Random, bench: Bench, proxy: Proxy, known: dict[int, int]) -> Round:
    """Run one random combination."""
    kind, disposition = chance.choice(WHERE)
    rows = chance.choice(ROWS)
    base = bench.base(kind, disposition, rows, seed=1)
    seams: tuple[Seam, ...] = ()
    text = f"{kind} {disposition} {rows} rows"
    proxy.arm(None)
    fault: Fault | None = None
    if kind == "postgres" and chance.random() < 0.8:
        action = chance.choice(["kill", "kill", "cut", "cut", "reset", "half_close", "lose", "delay"])
        side = "request" if action in ("lose", "kill") else chance.choice(["request", "reply"])
        kind_of = "answer" if side == "reply" else None
        fault = Fault(
            action,  # type: ignore[arg-type]  # the lists above hold its values only
            side,  # type: ignore[arg-type]
            chance.randint(1, messages(bench, proxy, base, known)),
            kind_of,
            when=chance.choice(["before", "after"]) if action != "lose" else "before",
            seconds=0.2,
            times=chance.choice([1, 1, 2]),
        )
    else:
        statements = {"duckdb": "duckdb", "sqlite": "sqlite"}.get(kind, "files")
        at = chance.choice([statements, statements, "files", "dataforge.runtime.load:load"])
        do = "raise" if at == "dataforge.runtime.load:load" else "kill"
        last = {"files": 14, "duckdb": 45, "sqlite": 60}.get(at, 1)
        seams = (Seam(at, chance.randint(1, last), chance.choice(["before", "after"]), do),)
    with bench.copy(base) as world:
        proxy.arm(fault)
        trial = bench.disturb(base, world, seams)
        proxy.arm(None)
    return Round(f"{text}, {fault or seams}", trial)


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_faults_leave_no_trace(bench: Bench, proxy: Proxy, seed: int, group: int) -> None:
    chance = random.Random(f"{seed} {group}")
    print(f"DATAFORGE_FAULT_SEED={seed}")
    known: dict[int, int] = {}
    wrong = []
    for number in range(-(-ROUNDS // GROUPS)):
        round_ = one(chance, bench, proxy, known)
        if not round_.trial.outcome.ok or not round_.trial.verdict:
            wrong.append(f"round {number}: {round_.text}: {round_.trial.verdict} ({round_.trial.story})")
    assert not wrong, f"seed {seed}: {len(wrong)} rounds went wrong\n" + "\n".join(wrong[:10])
