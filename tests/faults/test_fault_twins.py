"""Attempts that are alive at the same time: a sleeper that wakes, twins, two runs of one pipeline (F04, F12, F63)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.faults.child import Outcome, Running, Seam
from tests.faults.places import DISPOSITIONS, SECOND, Base, Bench, World, supported
from tests.faults.proxy import Fault, Proxy
from tests.faults.records import Verdict, generate, judge, model, row_of

TABLES = [
    pytest.param(kind, disposition, id=f"{kind}-{disposition}")
    for kind in ("postgres", "duckdb", "sqlite")
    for disposition in DISPOSITIONS
    if supported(kind, disposition)
]
FULL = bool(os.environ.get("DATAFORGE_FAULTS"))
ROUNDS = 10 if FULL else 1
PATIENT = {kind: {"lock_timeout": "1s"} for kind in ("postgres", "duckdb", "sqlite")}


def base_for(bench: Bench, kind: str, disposition: str) -> Base:
    """Return a base whose loads wait for each other for a second at most."""
    changes = {"destination": PATIENT[kind]} if kind in PATIENT else None
    return bench.base(kind, disposition, changes=changes)


def until(condition: object, seconds: float = 30) -> None:
    """Wait for a condition; the test fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def settle(bench: Bench, world: World, sleeper: Running) -> list[Outcome]:
    """With the sleeper asleep try once more, wake it, and let Airflow's retries end the run; return all outcomes."""
    run = world.run(bench.attempts, SECOND, tries=1)
    second = bench.attempts.run(run.job("load", 2, 0, world.manifest))
    sleeper.signal(signal.SIGCONT)
    first = sleeper.wait()
    run = world.run(bench.attempts, SECOND)
    third = Outcome(value="none") if second.ok else run.load(first=3)
    assert second.ok or third.ok, (first, second, third)
    return [first, second, third]


@pytest.mark.parametrize("disposition", [one for one in DISPOSITIONS if supported("postgres", one)])
def test_a_sleeper_that_wakes_when_its_retry_is_done_changes_nothing(
    bench: Bench, proxy: Proxy, disposition: str
) -> None:
    base = base_for(bench, "postgres", disposition)
    bench.rehearse(base, proxy)
    wrong = []
    last = proxy.count()
    every = 3 if FULL else 29 if disposition in ("append", "upsert") else 53
    for number in range(1 + len(disposition) % 3, last + 1, every):
        with bench.copy(base) as world:
            proxy.arm(Fault("stop", message=number, when="after"))
            sleeper = bench.attempts.start(world.run(bench.attempts, SECOND).job("load", 1, 0, world.manifest))
            until(lambda: proxy.struck and sleeper.stopped)  # noqa: B023 - called at once
            outcomes = settle(bench, world, sleeper)
            verdict = look(bench, base, world, outcomes)
            if not verdict:
                wrong.append(f"asleep after message {number}: {verdict} ({outcomes})")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", [kind for kind in ("duckdb", "sqlite") if supported(kind, "append")])
def test_a_sleeper_in_a_database_file_that_wakes_changes_nothing(bench: Bench, kind: str) -> None:
    base = base_for(bench, kind, "append")
    wrong = []
    for number in range(1, 60, 1 if FULL else 9):
        with bench.copy(base) as world:
            job = world.run(bench.attempts, SECOND).job("load", 1, 0, world.manifest, (Seam(kind, number, do="stop"),))
            sleeper = bench.attempts.start(job)
            until(lambda: sleeper.stopped or sleeper.ended)  # noqa: B023
            if sleeper.ended:
                sleeper.wait()
                break
            outcomes = settle(bench, world, sleeper)
            verdict = look(bench, base, world, outcomes)
            if not verdict:
                wrong.append(f"asleep before statement {number}: {verdict} ({outcomes})")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("kind", "disposition"), TABLES)
def test_twins_load_once(bench: Bench, kind: str, disposition: str) -> None:
    base = base_for(bench, kind, disposition)
    for _ in range(ROUNDS):
        with bench.copy(base) as world:
            outcomes = at_once(bench, [(world, SECOND)] * 2)
            assert any(outcome.ok for outcome in outcomes), outcomes
            verdict = look(bench, base, world, outcomes)
            assert verdict, f"{verdict} ({outcomes})"


@pytest.mark.parametrize(("kind", "disposition"), TABLES)
def test_two_runs_at_once_are_both_there_as_if_one_had_waited(bench: Bench, kind: str, disposition: str) -> None:
    base = base_for(bench, kind, disposition)
    old = generate(1, 7, task=1)
    second, third = generate(1, 7, task=2, start=3), generate(1, 7, task=3, start=5)
    orders = ((second, third), (third, second))
    for _ in range(ROUNDS):
        with bench.copy(base) as world:
            world.feed(third)
            run = world.run(bench.attempts, "third")
            assert run.stage().ok
            outcomes = at_once(bench, [(world, SECOND), (replace(world, manifest=run.manifest), "third")])
            assert all(outcome.ok for outcome in outcomes), outcomes
            seen = world.see(debris=False)
            allowed = []
            for one, other in orders:
                if disposition in ("append", "replace"):
                    allowed.append(model(disposition, [*old, *one] if disposition == "append" else one, other))
                else:
                    merged = {record["id"]: record for record in (*old, *one, *other)}
                    allowed.append(Counter(map(row_of, merged.values())))
            assert seen.current in allowed, f"{seen.current.total()} rows, allowed {[one.total() for one in allowed]}"
            if seen.ledger:
                assert sorted(one.run_id for one in seen.markers)[-1] == "third"
                assert len(seen.markers) == 3


def at_once(bench: Bench, runs: Sequence[tuple[World, str]]) -> list[Outcome]:
    """Load several staged runs at the same moment, each tried again as Airflow would; return how each ended."""
    barrier = threading.Barrier(len(runs))

    def load(index: int) -> Outcome:
        world, run_id = runs[index]
        run = world.run(bench.attempts, run_id, tries=8)
        barrier.wait(30)
        return run.load(first=1 + 10 * index)

    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(load, range(len(runs))))


def look(bench: Bench, base: Base, world: World, outcomes: Sequence[Outcome]) -> Verdict:
    """Let the oracle judge after the janitor."""
    assert bench.attempts.run(world.run(bench.attempts, SECOND).job("janitor")).ok
    said = [(one.kind, one.message) for one in outcomes if one.error]
    return judge(
        world.see(),
        succeeded=True,
        before=base.before,
        undisturbed=base.undisturbed,
        expected=base.expected,
        staged=world.manifest,
        run_id=SECOND,
        messages=said,
    )
