"""The registry of connections: what the last check of each found, and when it last worked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import insert, select, update

from dataforge.store.database import Store
from dataforge.store.rows import aware
from dataforge.store.schema import CONNECTION_HEALTH


@dataclass(frozen=True)
class Health:
    """One connection: `state` is "ok", "failed" or "unknown" (it can't be told), `ok_at` when it last was "ok".

    `failures` counts the checks that failed since then; `seconds` is how long the last one took.
    """

    connection: str
    type: str
    state: str
    message: str
    advice: str
    seconds: float
    failures: int
    checked_at: datetime
    ok_at: datetime | None


def record(store: Store, connection: str, found: Mapping[str, Any], at: datetime | None = None) -> Health:
    """Keep what a check found (as `runtime.checkup.check` returns it); return how the connection stands now."""
    at = at or datetime.now(timezone.utc)
    table, mine = CONNECTION_HEALTH, CONNECTION_HEALTH.c.connection == connection
    with store.transaction(durable=False) as session:
        store.lock(session, f"connection {connection}")
        before = session.execute(select(table).where(mine)).mappings().first()
        state = str(found["state"])
        earlier: dict[str, Any] = aware(before) if before else {"ok_at": None, "failures": 0, "type": ""}
        health = Health(
            connection=connection,
            type=str(found.get("type") or earlier["type"]),
            state=state,
            message=str(found["message"]),
            advice=str(found.get("advice") or ""),
            seconds=float(found.get("seconds") or 0),
            failures=int(earlier["failures"]) + 1 if state == "failed" else 0,
            checked_at=at,
            ok_at=at if state == "ok" else earlier["ok_at"],
        )
        values = vars(health)
        session.execute(insert(table).values(values) if before is None else update(table).where(mine).values(values))
    return health


def listed(store: Store) -> list[Health]:
    """Return all connections that were ever checked, by name."""
    with store.transaction(durable=False) as session:
        rows = session.execute(select(CONNECTION_HEALTH).order_by(CONNECTION_HEALTH.c.connection)).mappings().all()
    return [Health(**aware(row)) for row in rows]
