"""Jobs of persons with what they said on the way, so that neither a closed page nor a restart loses a draft.

A job is queued, running, and then one of done, failed, cancelled or interrupted (its process went away). Its events are
numbered from 1; whoever lost the stream asks for those after a number.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from dataforge.store.database import Store
from dataforge.store.revisions import now
from dataforge.store.schema import JOB_EVENTS as EVENTS
from dataforge.store.schema import JOBS

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ACTIVE = ("queued", "running")
KEPT_DAYS = 30


@dataclass(frozen=True)
class Job:
    """One job; `request` is what was asked, `result` what came of it, `file` the config that it is about."""

    id: str
    actor: str
    kind: str
    state: State
    file: str
    request: Mapping[str, Any]
    result: Mapping[str, Any] | None
    cancelled: bool
    created_at: datetime
    beat_at: datetime
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state not in ACTIVE


@dataclass(frozen=True)
class JobEvent:
    """One thing that a job said."""

    number: int
    kind: str
    data: Mapping[str, Any]


def begin(
    store: Store, actor: str, kind: str, request: Mapping[str, Any], *, file: str = "", most: int = 2
) -> Job | None:
    """Write a queued job; None when this person has `most` at work already."""
    instant = now()
    job = Job(uuid.uuid4().hex, actor[:200], kind, "queued", file, request, None, False, instant, instant, None)
    with store.transaction() as connection:
        store.lock(connection, f"jobs {actor[:200]}")
        active = select(func.count()).where(JOBS.c.actor == job.actor, JOBS.c.state.in_(ACTIVE))
        if connection.execute(active).scalar_one() >= most:
            return None
        connection.execute(insert(JOBS).values({**vars(job), "request": _text(request)}))
        _add(connection, job.id, [("queued", {})])
    return job


def say(store: Store, job: str, events: Sequence[tuple[str, Mapping[str, Any]]], state: State | None = None) -> bool:
    """Add events to a job that has not ended, as a sign of life; return whether it is still wanted."""
    with store.transaction() as connection:
        alive = update(JOBS).where(JOBS.c.id == job, JOBS.c.state.in_(ACTIVE)).values(beat_at=now())
        if connection.execute(alive.values(state=state) if state else alive).rowcount != 1:
            return False
        _add(connection, job, events)
        return not connection.execute(select(JOBS.c.cancelled).where(JOBS.c.id == job)).scalar_one()


def beat(store: Store, running: Sequence[str]) -> list[str]:
    """Give a sign of life for jobs; return those of them that are still wanted."""
    if not running:
        return []
    mine = (JOBS.c.id.in_(running), JOBS.c.state.in_(ACTIVE))
    with store.transaction(durable=False) as connection:
        connection.execute(update(JOBS).where(*mine).values(beat_at=now()))
        return list(connection.execute(select(JOBS.c.id).where(*mine, JOBS.c.cancelled.is_(False))).scalars())


def end(store: Store, job: str, state: State, result: Mapping[str, Any] | None) -> bool:
    """End a job with its result, in one step with its last event; False when it had ended before."""
    with store.transaction() as connection:
        values = {"state": state, "result": None if result is None else _text(result), "ended_at": now()}
        ending = update(JOBS).where(JOBS.c.id == job, JOBS.c.state.in_(ACTIVE)).values(values)
        if connection.execute(ending).rowcount != 1:
            return False
        _add(connection, job, [(state, result or {})])
        return True


def cancel(store: Store, job: str, actor: str) -> Job | None:
    """Ask a job to end; None when this person has no such job."""
    with store.transaction() as connection:
        mine = (JOBS.c.id == job, JOBS.c.actor == actor)
        connection.execute(update(JOBS).where(*mine, JOBS.c.state.in_(ACTIVE)).values(cancelled=True))
    return get(store, job, actor)


def get(store: Store, job: str, actor: str) -> Job | None:
    """Return a person's job; None when there is no such job of this person."""
    with store.reading() as connection:
        row = connection.execute(select(JOBS).where(JOBS.c.id == job, JOBS.c.actor == actor)).mappings().first()
    return _job(row) if row else None


def of(store: Store, actor: str, limit: int = 50) -> list[Job]:
    """Return a person's jobs, the newest first."""
    query = select(JOBS).where(JOBS.c.actor == actor).order_by(JOBS.c.created_at.desc(), JOBS.c.id).limit(limit)
    with store.reading() as connection:
        return [_job(row) for row in connection.execute(query).mappings().all()]


def events(store: Store, job: str, after: int = 0) -> list[JobEvent]:
    """Return what a job said after that number."""
    query = select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.number > after).order_by(EVENTS.c.number)
    with store.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return [JobEvent(row["number"], row["kind"], json.loads(row["data"])) for row in rows]


def newest(store: Store, wanted: Sequence[str]) -> dict[str, int]:
    """Return the number of the newest event of each of these jobs."""
    query = select(EVENTS.c.job, func.max(EVENTS.c.number)).where(EVENTS.c.job.in_(wanted)).group_by(EVENTS.c.job)
    with store.reading() as connection:
        return {job: int(number) for job, number in connection.execute(query)}


def sweep(store: Store, silent_seconds: float) -> int:
    """End the jobs that gave no sign of life for so long, and remove the old ones; return how many were ended."""
    instant = now()
    with store.transaction() as connection:
        silent = select(JOBS.c.id).where(
            JOBS.c.state.in_(ACTIVE), JOBS.c.beat_at < instant - timedelta(seconds=silent_seconds)
        )
        found = list(connection.execute(silent).scalars())
        for job in found:
            told = {"code": "interrupted", "message": "the server was restarted meanwhile; ask again"}
            values = {"state": "interrupted", "result": _text(told), "ended_at": instant}
            connection.execute(update(JOBS).where(JOBS.c.id == job).values(values))
            _add(connection, job, [("interrupted", told)])
        old = select(JOBS.c.id).where(JOBS.c.created_at < instant - timedelta(days=KEPT_DAYS))
        connection.execute(delete(EVENTS).where(EVENTS.c.job.in_(old)))
        connection.execute(delete(JOBS).where(JOBS.c.created_at < instant - timedelta(days=KEPT_DAYS)))
    return len(found)


def _add(connection: Connection, job: str, said: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    if not said:
        return
    last = connection.execute(select(func.coalesce(func.max(EVENTS.c.number), 0)).where(EVENTS.c.job == job)).scalar()
    for number, (kind, data) in enumerate(said, int(last or 0) + 1):
        connection.execute(insert(EVENTS).values(job=job, number=number, kind=kind, data=_text(data), at=now()))


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _job(row: Any) -> Job:
    found: dict[str, Any] = {
        key: value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) and value.tzinfo is None else value
        for key, value in dict(row).items()
    }
    result = None if found["result"] is None else json.loads(found["result"])
    return Job(**{**found, "request": json.loads(found["request"]), "result": result})
