"""Requests of persons, counted for all processes: at most so many of a kind within any so many seconds, exactly.

taken = take(store, "ada", "request", limit=100, seconds=900)
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from dataforge.store.database import Store
from dataforge.store.schema import REQUESTS


@dataclass(frozen=True)
class Taken:
    """Whether one more was allowed; `reset` are the seconds until the next one is freed."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


def take(store: Store, actor: str, kind: str, *, limit: int, seconds: int) -> Taken:
    """Count one request of a person, unless `limit` of them lie within the last `seconds`."""
    actor = actor[:200]
    mine = (REQUESTS.c.actor == actor, REQUESTS.c.kind == kind)
    with store.transaction() as connection:
        store.lock(connection, f"requests {kind} {actor}")
        now = time.time()
        connection.execute(delete(REQUESTS).where(*mine, REQUESTS.c.at <= now - seconds))
        used, first = connection.execute(select(func.count(), func.min(REQUESTS.c.at)).where(*mine)).one()
        allowed = used < limit
        if allowed:
            connection.execute(insert(REQUESTS).values(actor=actor, kind=kind, at=now))
    reset = math.ceil((now if first is None else float(first)) + seconds - now)
    return Taken(allowed, limit, max(0, limit - used - allowed), min(seconds, max(1, reset)))
