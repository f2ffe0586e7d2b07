"""Killed anywhere, a run that is tried again ends as if nothing had happened (F01, F02, F16)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.faults.child import Seam
from tests.faults.places import DISPOSITIONS, KINDS, Base, Bench, Trial, supported
from tests.faults.proxy import Fault, Proxy

FULL = bool(os.environ.get("DATAFORGE_FAULTS"))
"""Whether sweeps visit every point; else each disposition visits a share of them, not the same ones."""
EVERY = 1 if FULL else 10
"""One in how many statements, messages and answers of the server is visited: a point costs about half a second."""

WHERE = [
    pytest.param(kind, disposition, id=f"{kind}-{disposition}")
    for kind in KINDS
    for disposition in DISPOSITIONS
    if supported(kind, disposition)
]


class Sweep:
    """Collects what the oracle says at each point, so that one test shows all that is wrong."""

    def __init__(self) -> None:
        self.points = 0
        self.wrong: list[str] = []

    def add(self, point: str, trial: Trial, *, struck: bool = True) -> None:
        self.points += 1
        if not trial.outcome.ok:
            self.wrong.append(f"{point}: the run failed: {trial.story}")
        elif not trial.verdict:
            self.wrong.append(f"{point}: {trial.verdict} ({trial.story})")
        elif not struck:
            self.wrong.append(f"{point}: the fault did not strike")

    def done(self) -> None:
        print(f"{self.points} points")
        assert self.points > 0
        assert not self.wrong, f"{len(self.wrong)} of {self.points} points:\n" + "\n".join(self.wrong[:20])


def counted(bench: Bench, base: Base, at: str, stage: str = "load") -> int:
    """Return how often an undisturbed task passes a seam."""
    if stage == "load":
        with bench.copy(base) as world:
            trial = bench.disturb(base, world, (Seam(at, do="count"),))
    else:
        with bench.copy(base.origin) as world:
            trial = bench.rerun(base, world, {stage: (Seam(at, do="count"),)})
    assert trial.outcome.ok, trial.story
    return next(one.counts[at] for name, one in trial.run.outcomes if name == stage)


def points(count: int, disposition: str) -> Iterator[tuple[int, str]]:
    """Yield the places to strike at: one in EVERY, others for each disposition."""
    first = sorted(DISPOSITIONS).index(disposition) * EVERY // len(DISPOSITIONS)
    for number in range(1 + first, count + 1, EVERY):
        for when in ("before", "after"):
            yield number, when


@pytest.mark.parametrize(("kind", "disposition"), WHERE)
def test_a_kill_at_any_stage_border_leaves_no_trace(bench: Bench, kind: str, disposition: str) -> None:
    base = bench.base(kind, disposition)
    sweep = Sweep()
    staging = "dataforge.runtime.staging"
    borders = {
        "extract": (
            "dataforge.runtime.engines.duckdb_:write_parquet",
            f"{staging}:Attempt.publish",
            "dataforge.runtime.extract:run",
        ),
        "transform": (
            f"{staging}:Staging.fetch",
            "dataforge.runtime.engines.duckdb_:copy_parquet",  # by a kept recipe or not
            f"{staging}:Attempt.publish",
            "dataforge.runtime.transform:run",
        ),
        "load": (
            f"{staging}:Staging.fetch",
            "dataforge.runtime.load:load",
            f"{staging}:Staging.remove_run",
            "dataforge.runtime.load:run",
        ),
    }
    for stage, seams in borders.items():
        if stage != "load" and disposition != "append" and not FULL:
            continue  # nothing of these stages depends on the disposition
        for at in seams:
            for when in ("before", "after"):
                if stage == "load":
                    with bench.copy(base) as world:
                        trial = bench.disturb(base, world, (Seam(at, when=when),))
                else:
                    with bench.copy(base.origin) as world:
                        trial = bench.rerun(base, world, {stage: (Seam(at, when=when),)})
                sweep.add(f"{stage} {when} {at}", trial, struck=any(one.killed for _, one in trial.run.outcomes))
    sweep.done()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if supported(kind, "append")])
def test_a_kill_before_any_change_of_a_file_leaves_no_trace(bench: Bench, kind: str) -> None:
    base = bench.base(kind, "append")
    sweep = Sweep()
    for stage in ("extract", "transform", "load") if kind == "parquet" or FULL else ("load",):
        for number in range(1, counted(bench, base, "files", stage) + 1):
            seam = Seam("files", number)
            if stage == "load":
                with bench.copy(base) as world:
                    trial = bench.disturb(base, world, (seam,))
            else:
                with bench.copy(base.origin) as world:
                    trial = bench.rerun(base, world, {stage: (seam,)})
            sweep.add(f"{stage} file change {number}", trial)
    sweep.done()


@pytest.mark.parametrize("disposition", [one for one in DISPOSITIONS if supported("parquet", one)])
def test_a_kill_before_any_change_of_a_file_leaves_no_trace_in_a_dataset(bench: Bench, disposition: str) -> None:
    base = bench.base("parquet", disposition)
    sweep = Sweep()
    for number in range(1, counted(bench, base, "files") + 1):
        with bench.copy(base) as world:
            sweep.add(f"file change {number}", bench.disturb(base, world, (Seam("files", number),)))
    sweep.done()


@pytest.mark.parametrize(
    ("kind", "disposition"),
    [one for one in WHERE if one.values[0] in ("duckdb", "sqlite")],
)
def test_a_kill_at_any_statement_leaves_no_trace(bench: Bench, kind: str, disposition: str) -> None:
    base = bench.base(kind, disposition)
    sweep = Sweep()
    for number, when in points(counted(bench, base, kind), disposition):
        if kind == "sqlite" and when == "after":
            continue  # SQLite tells of a statement before it only
        with bench.copy(base) as world:
            trial = bench.disturb(base, world, (Seam(kind, number, when),))
        sweep.add(f"statement {number} {when}", trial)
    sweep.done()


@pytest.mark.parametrize("disposition", [one for one in DISPOSITIONS if supported("postgres", one)])
def test_a_kill_at_any_protocol_message_leaves_no_trace(bench: Bench, proxy: Proxy, disposition: str) -> None:
    base = bench.base("postgres", disposition)
    sweep = Sweep()
    bench.rehearse(base, proxy)
    for number, when in points(proxy.count(), disposition):
        with bench.copy(base) as world:
            proxy.arm(Fault("kill", message=number, when="before" if when == "before" else "after"))
            trial = bench.disturb(base, world)
            sweep.add(f"message {number} {when}", trial, struck=bool(proxy.struck))
    sweep.done()


@pytest.mark.parametrize("disposition", [one for one in DISPOSITIONS if supported("postgres", one)])
def test_a_cut_at_any_answer_leaves_no_trace(bench: Bench, proxy: Proxy, disposition: str) -> None:
    base = bench.base("postgres", disposition)
    sweep = Sweep()
    bench.rehearse(base, proxy)
    for number, when in points(proxy.count("reply", "answer"), disposition):
        if when == "after":
            continue  # an answer that came through whole
        with bench.copy(base) as world:
            proxy.arm(Fault("cut", "reply", number, "answer"))
            trial = bench.disturb(base, world)
            sweep.add(f"answer {number}", trial, struck=bool(proxy.struck))
    sweep.done()


@pytest.mark.parametrize("action", ["lose", "cut", "kill"])
@pytest.mark.parametrize("disposition", [one for one in DISPOSITIONS if supported("postgres", one)])
def test_a_lost_answer_to_any_commit_leaves_no_trace(bench: Bench, proxy: Proxy, disposition: str, action: str) -> None:
    base = bench.base("postgres", disposition)
    sweep = Sweep()
    bench.rehearse(base, proxy)
    for number in range(1, proxy.count(kind="commit") + 1):
        with bench.copy(base) as world:
            when = "before" if action == "lose" else "after"
            proxy.arm(Fault(action, message=number, kind="commit", when=when))  # type: ignore[arg-type]  # see the marks
            trial = bench.disturb(base, world)
            sweep.add(f"commit {number}", trial, struck=bool(proxy.struck))
    sweep.done()


def test_the_try_after_a_lost_commit_says_that_it_was_done_before(bench: Bench, proxy: Proxy) -> None:
    base = bench.base("postgres", "append")
    with bench.copy(base) as world:
        proxy.arm(None)
        run = world.run(bench.attempts, "count")
        assert run.load().ok
        last = proxy.count(kind="commit")
    with bench.copy(base) as world:
        # the process dies when the server has the commit, so that nobody can look for the marker at once
        proxy.arm(Fault("kill", message=last, kind="commit", when="after"))
        trial = bench.disturb(base, world)
    assert trial.outcome.value["already"] is True
    assert trial.outcome.value["rows"] == base.world.manifest["rows"]
    assert trial.verdict, trial.verdict


@pytest.mark.parametrize("kind", [kind for kind in KINDS if supported(kind, "append")])
def test_a_try_after_the_staged_rows_were_removed_finds_the_marker(bench: Bench, kind: str) -> None:
    base = bench.base(kind, "append")
    with bench.copy(base) as world:
        trial = bench.disturb(base, world, (Seam("dataforge.runtime.load:run", when="after"),))
    assert trial.outcome.ok, trial.story
    assert trial.outcome.value["already"] is True
    assert trial.verdict, trial.verdict


def test_after_a_kill_at_nine_tenths_of_a_load_only_the_load_is_repeated(bench: Bench, proxy: Proxy) -> None:
    base = bench.base("postgres", "append", rows=3_000)
    bench.rehearse(base, proxy)
    with bench.copy(base) as world:
        (world.home / "configs" / "in.parquet").unlink()  # nothing can be read from the source again
        proxy.arm(Fault("kill", message=proxy.count() * 9 // 10, when="after"))
        trial = bench.disturb(base, world)
    assert proxy.struck
    assert [(stage, one.killed) for stage, one in trial.run.outcomes] == [("load", True), ("load", False)]
    assert trial.verdict, trial.verdict
