"""Deploys that wait for a second person.

One is pending until somebody rejects it, its author withdraws it, or another person approves it. Approving carries it
out: it is "carried" from the moment on when its revision is written, and "approved" when that revision is live, by the
same step (`revisions.settle`), which a crash only delays. A revision that comes to nothing leaves it pending again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from dataforge.store import audit
from dataforge.store.database import Store
from dataforge.store.revisions import Kind, digest, now
from dataforge.store.rows import LONG_AGO, aware
from dataforge.store.schema import APPROVALS

State = Literal["pending", "carried", "approved", "rejected", "withdrawn"]


@dataclass(frozen=True)
class Approval:
    """What waits, or waited: `text` is to stand in `file`, where the text of digest `base` stood when it was asked."""

    file: str
    kind: Kind
    text: str
    base: str
    actor: str
    reason: str = ""
    id: str = ""
    digest: str = ""
    state: State = "pending"
    decider: str = ""
    comment: str = ""
    revision: int | None = None
    created_at: datetime = LONG_AGO
    decided_at: datetime | None = None


def ask(store: Store, wanted: Approval) -> Approval:
    """Let a deploy wait for a second person, with its audit entry."""
    asked = replace(wanted, id=uuid.uuid4().hex, actor=wanted.actor[:200], digest=digest(wanted.text), created_at=now())
    with store.transaction() as connection:
        connection.execute(insert(APPROVALS).values(vars(asked)))
        detail = {"approval": asked.id, "kind": asked.kind, "digest": asked.digest, "base": asked.base}
        audit.add(connection, asked.actor, "approval-ask", asked.file, {**detail, "reason": asked.reason})
    return asked


def of(store: Store, *, state: State | None = None, limit: int = 100) -> list[Approval]:
    """Return the newest ones, of one state or of all."""
    query = select(APPROVALS).order_by(APPROVALS.c.created_at.desc(), APPROVALS.c.id).limit(limit)
    if state is not None:
        query = query.where(APPROVALS.c.state == state)
    with store.reading() as connection:
        return [_approval(row) for row in connection.execute(query).mappings().all()]


def get(store: Store, id_: str) -> Approval | None:
    """Return one; None when there is none such."""
    with store.reading() as connection:
        row = connection.execute(select(APPROVALS).where(APPROVALS.c.id == id_)).mappings().first()
    return _approval(row) if row else None


def carry(connection: Connection, approval: Approval, decider: str, comment: str, revision: int) -> bool:
    """Note, with the revision that is about to be, who approved; False when it was decided meanwhile."""
    values = {"state": "carried", "decider": decider[:200], "comment": comment, "revision": revision}
    if not _decide(connection, approval.id, {**values, "decided_at": now()}):
        return False
    audit.add(connection, decider, "approve", approval.file, _detail(approval, comment))
    return True


def refuse(store: Store, approval: Approval, decider: str, comment: str) -> bool:
    """Let a deploy come to nothing; False when it was decided meanwhile. Who asked for it withdraws it so."""
    state = "withdrawn" if decider == approval.actor else "rejected"
    with store.transaction() as connection:
        values = {"state": state, "decider": decider[:200], "comment": comment, "decided_at": now()}
        if not _decide(connection, approval.id, values):
            return False
        action = "approval-withdraw" if state == "withdrawn" else "reject"
        audit.add(connection, decider, action, approval.file, _detail(approval, comment))
    return True


def _decide(connection: Connection, id_: str, values: dict[str, Any]) -> bool:
    pending = update(APPROVALS).where(APPROVALS.c.id == id_, APPROVALS.c.state == "pending")
    return connection.execute(pending.values(values)).rowcount == 1


def _detail(approval: Approval, comment: str) -> dict[str, Any]:
    return {"approval": approval.id, "author": approval.actor, "digest": approval.digest, "comment": comment}


def _approval(row: Any) -> Approval:
    return Approval(**aware(row))
