"""The reconciler: compares what Airflow says of loads with the markers that were committed together with the rows.

Both are right almost always. They differ after a kill between commit and report whose retries were used up, after one
of the two was restored from a backup, and when somebody marks a task by hand. Then a run has to be repeated or undone,
and nobody else would notice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol

from dataforge.components.base import JsonValue
from dataforge.components.delivery import Ledger, LoadRecord
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import DataForgeError
from dataforge.observability.log import line
from dataforge.runtime.context import TaskContext
from dataforge.runtime.ledgers import accountable, opened, target_name, without_run

MARKERS = 10_000
"""Markers of a target that are looked at, the newest."""

SETTLED = timedelta(minutes=10)
"""A marker younger than this may be of a task that is about to report."""

OUTSIDE = ("cli__", "replay__", "plan__")
"""Beginnings of run ids that Airflow never had: runs of the command line."""

_FAILED = frozenset({"failed", "upstream_failed", "skipped", "removed"})


class Runs(Protocol):
    """What Airflow knows of runs."""

    def states(self, dag_id: str, tasks: Iterable[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Return the states of those tasks: run id to task id to state; None for no state yet."""
        ...

    def began(self, dag_id: str, run_id: str) -> datetime | None:
        """Return when a run began; None when it did not or when nobody knows."""
        ...


@dataclass(frozen=True)
class Divergence:
    """One thing in which Airflow and the ledger differ, or a ledger that could not be asked."""

    kind: Literal["marker-without-success", "success-without-marker", "unreachable"]
    dag_id: str
    target: str
    message: str
    run_id: str = ""


@dataclass(frozen=True)
class Reconciled:
    """What was compared, what differs, and the left-overs that were removed on the way."""

    targets: int = 0
    markers: int = 0
    divergences: tuple[Divergence, ...] = ()
    swept: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return counts and the first divergences, small enough for XCom."""
        shown = [f"{one.kind}: {one.dag_id} {one.run_id}"[:150] for one in self.divergences[:5]]
        counts = {"targets": self.targets, "markers": self.markers, "swept": len(self.swept)}
        return {**counts, "divergences": len(self.divergences), "first": shown}


def load_task(config: PipelineConfig, index: int) -> str:
    """Return the id of the task that loads into the destination at `index`."""
    if config.execution == "fused":
        return "extract_transform_load"
    if isinstance(config.destination, tuple):
        return f"load_{index + 1}_{config.outputs[index].type}"
    return "load"


def run(
    pipelines: Iterable[PipelineConfig],
    runs: Runs,
    *,
    days: float,
    now: datetime | None = None,
    context: Callable[[PipelineConfig], TaskContext] = without_run,
) -> Reconciled:
    """Compare the last `days` of all pipelines; log a warning for each divergence and return them.

    Left-overs of killed loads in the targets are removed on the way. A target that can't be reached is a divergence.
    """
    now = now or datetime.now(timezone.utc)
    total = _Total()
    for config in pipelines:
        able = accountable(config)
        # asked before the markers are read: a load that has succeeded by now has written its marker
        states = runs.states(config.dag_id, [load_task(config, index) for index in able]) if able else {}
        for index in able:
            target = target_name(config, index)
            try:
                with opened(config, index, context(config)) as ledger:
                    task = load_task(config, index)
                    mine = {run_id: tasks[task] for run_id, tasks in states.items() if task in tasks}
                    total.add(compare(config.dag_id, target, ledger, mine, runs, now - timedelta(days=days), now))
                    total.swept += ledger.sweep()
            except DataForgeError as error:
                total.divergences.append(Divergence("unreachable", config.dag_id, target, str(error)))
            total.targets += 1
    for one in total.divergences:
        line(one.kind, level=logging.WARNING, dag_id=one.dag_id, target=one.target, run_id=one.run_id, why=one.message)
    for name in total.swept:
        line("left-over removed", name=name)
    found = Reconciled(total.targets, total.markers, tuple(total.divergences), tuple(total.swept))
    line("reconciled", targets=found.targets, markers=found.markers, divergences=len(found.divergences))
    return found


@dataclass
class _Total:
    targets: int = 0
    markers: int = 0
    divergences: list[Divergence] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)

    def add(self, found: tuple[int, list[Divergence]]) -> None:
        self.markers += found[0]
        self.divergences += found[1]


def compare(
    dag_id: str,
    target: str,
    ledger: Ledger,
    states: Mapping[str, str | None],
    runs: Runs,
    since: datetime,
    now: datetime,
) -> tuple[int, list[Divergence]]:
    """Return how many markers of one target were compared and what differs; `states` is run id to load task's state."""
    markers = ledger.loads(MARKERS)
    whole = len(markers) < MARKERS
    if not whole:
        since = max(since, *(marker.committed_at for marker in markers[-1:] if marker.committed_at))
    recent = [
        marker
        for marker in markers
        if marker.committed_at is not None
        and since <= marker.committed_at <= now - SETTLED
        and not marker.run_id.startswith(OUTSIDE)
    ]
    found = [
        Divergence("marker-without-success", dag_id, target, why, marker.run_id)
        for marker in recent
        if marker.undone_at is None and (why := _unfounded(marker, states))
    ]
    known = {marker.run_id for marker in markers}
    for run_id in _unmarked(states, known):
        began = runs.began(dag_id, run_id)
        if began is not None and began < since:
            continue
        if not whole and ledger.load(run_id) is not None:
            continue
        message = "Airflow says that this run loaded its rows, but the target has no marker of it; clear the run"
        found.append(Divergence("success-without-marker", dag_id, target, message, run_id))
    return len(recent), found


def _unfounded(marker: LoadRecord, states: Mapping[str, str | None]) -> str:
    """Return in words why a marker has no success to go with it; empty when it has, or when the run is under way."""
    rows = f"the target has the {marker.rows:,} rows of this run"
    if marker.run_id not in states:
        return f"{rows}, but Airflow knows no such run; `dataforge undo` takes them back if they should not be there"
    state = states[marker.run_id]
    if state in _FAILED:
        return f"{rows}, but Airflow says that its load is {state!r}; clear the load task, which finds them, or undo it"
    return ""


def _unmarked(states: Mapping[str, str | None], known: set[str]) -> Iterator[str]:
    return (run_id for run_id, state in sorted(states.items()) if state == "success" and run_id not in known)


class AirflowRuns:
    """Asks Airflow from within a task, through the Task API: no metadata database, no user's token."""

    def states(self, dag_id: str, tasks: Iterable[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Return the states of those tasks in all runs that Airflow remembers."""
        from airflow.sdk import get_current_context

        task = get_current_context()["ti"]
        found: Mapping[str, Mapping[str, str | None]] = task.get_task_states(dag_id=dag_id, task_ids=list(tasks))
        return found

    def began(self, dag_id: str, run_id: str) -> datetime | None:
        """Return when a run began."""
        from airflow.sdk.execution_time.comms import DagRunResult, GetDagRun
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        answer = SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))
        return answer.start_date if isinstance(answer, DagRunResult) else None
