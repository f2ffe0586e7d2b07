"""What has to be done where tasks run: a run of our errands DAG, whose answer is awaited or looked up later."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import anyio
from anyio import CapacityLimiter, to_thread

from dataforge.dag_factory.maintenance import ANSWER, ERRAND_TASK, ERRANDS
from dataforge.web import control
from dataforge.web.access import Person
from dataforge.web.problems import Refused

WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.3
SLOW_SECONDS = 30.0
"""An errand that waits for so long has nobody to do it."""
_LOOKS = CapacityLimiter(4)


@dataclass(frozen=True)
class Errand:
    """How an errand stands; `answer` is what the task said, None as long as it said nothing."""

    run_id: str
    state: str
    asked_at: datetime
    answer: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.state in ("success", "failed")

    @property
    def waits(self) -> bool:
        """Whether nobody has taken it up for longer than that should take."""
        age = (datetime.now(timezone.utc) - self.asked_at).total_seconds()
        return not self.ended and self.state == "queued" and age > SLOW_SECONDS

    @property
    def broken(self) -> str:
        """What to tell of an errand that ended without an answer."""
        return f"the task broke off; the log of run {self.run_id!r} of the DAG {ERRANDS!r} says why"


IDLE = (
    f"no worker takes it up: look whether Airflow's scheduler runs, whether the DAG {ERRANDS!r} is unpaused, and "
    "whether the pools and workers have room"
)


def begin(kind: str, subject: str, conf: Mapping[str, Any], asker: Person) -> str:
    """Ask for an errand and return its run's id; Refused (409) where Airflow has no errands DAG that runs."""
    run_id = f"{_prefix(kind, subject)}{uuid.uuid4().hex[:12]}"
    try:
        return control.trigger(
            ERRANDS, {**conf, "errand": kind, "actor": asker.name}, asker, run_id=run_id, scoped=False,
            noted=(kind, subject),
        )  # fmt: skip
    except Refused as refused:
        hints = {
            "not-parsed": "put dags/dataforge_maintenance.py of this release into Airflow's DAGs folder",
            "import-error": "Airflow's import errors tell why",
            "paused": "unpause it",
        }
        if refused.code not in hints:
            raise
        detail = f"what tasks do for the page needs the DAG {ERRANDS!r}, which can't run: {hints[refused.code]}"
        raise Refused(409, "no-errands", detail) from None


def newest(kind: str, subject: str) -> Errand | None:
    """Return the errand of that kind and subject that was asked for last; None when there was none."""
    from airflow.models.dagrun import DagRun

    return _look(DagRun.run_id.startswith(_prefix(kind, subject), autoescape=True))


async def done(run_id: str) -> Mapping[str, Any]:
    """Wait for an errand's answer; Refused when there is none in time, when it broke off, or when it could not."""
    from airflow.models.dagrun import DagRun

    until = time.monotonic() + WAIT_SECONDS
    while True:
        found = await to_thread.run_sync(_look, DagRun.run_id == run_id, limiter=_LOOKS)
        if found is not None and found.ended:
            break
        if time.monotonic() >= until:
            why = IDLE if found is not None and found.state == "queued" else "it goes on; look again later"
            raise Refused(504, "not-done-yet", f"there is no answer within {WAIT_SECONDS:.0f} seconds: {why}")
        await anyio.sleep(LOOK_SECONDS)
    if found.answer is None:
        raise Refused(502, "errand-failed", found.broken)
    if "error" in found.answer:
        raise Refused(422, "impossible", str(found.answer["error"]))
    return found.answer


def _look(which: Any) -> Errand | None:
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    mine = (XComModel.dag_run_id == DagRun.id, XComModel.task_id == ERRAND_TASK, XComModel.key == ANSWER)
    value = select(XComModel.value).where(*mine).limit(1).scalar_subquery()
    query = select(DagRun.run_id, DagRun.state, DagRun.run_after, value).where(DagRun.dag_id == ERRANDS, which)
    with create_session(scoped=False) as session:
        row = session.execute(query.order_by(DagRun.id.desc()).limit(1)).first()
    if row is None:
        return None
    return Errand(row[0], str(row[1]), row[2], row[3] if isinstance(row[3], Mapping) else None)


def _prefix(kind: str, subject: str) -> str:
    return f"{kind}__{hashlib.sha256(subject.encode()).hexdigest()[:16]}__"
