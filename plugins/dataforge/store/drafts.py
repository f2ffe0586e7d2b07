"""Drafts: configs on which a person works, each that person's own, so that a closed page loses nothing.

Each has a digest of all that it holds. A change names the digest that it was made from, so that two pages of the same
person never overwrite each other silently.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from dataforge.store import audit
from dataforge.store.database import Store
from dataforge.store.revisions import now
from dataforge.store.rows import LONG_AGO, aware
from dataforge.store.schema import DRAFTS

MOST = 200
"""Drafts of one person."""


@dataclass(frozen=True)
class Draft:
    """One draft; `file` is the config that it is to become and `base` the digest of what it was made from, or ""."""

    name: str
    file: str
    base: str
    text: str
    chat: str
    pinned: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    actor: str = ""
    digest: str = ""
    created_at: datetime = LONG_AGO
    updated_at: datetime = LONG_AGO


class DraftChanged(Exception):
    """The draft is not what the change was made from; `current` is what it is now."""

    def __init__(self, current: Draft) -> None:
        self.current = current
        super().__init__("the draft was changed meanwhile")


def begin(store: Store, actor: str, draft: Draft) -> Draft | None:
    """Keep a new draft; None when this person has as many as may be kept."""
    instant = now()
    new = _sealed(replace(draft, id=uuid.uuid4().hex, actor=actor[:200], created_at=instant, updated_at=instant))
    with store.transaction() as connection:
        store.lock(connection, f"drafts {new.actor}")
        mine = select(func.count()).where(DRAFTS.c.actor == new.actor)
        if connection.execute(mine).scalar_one() >= MOST:
            return None
        connection.execute(insert(DRAFTS).values(_values(new)))
    return new


def of(store: Store, actor: str) -> list[Draft]:
    """Return a person's drafts, the last changed first."""
    query = select(DRAFTS).where(DRAFTS.c.actor == actor[:200]).order_by(DRAFTS.c.updated_at.desc(), DRAFTS.c.id)
    with store.reading() as connection:
        return [_draft(row) for row in connection.execute(query).mappings().all()]


def get(store: Store, id_: str, actor: str) -> Draft | None:
    """Return a person's draft; None when this person has no such draft."""
    with store.reading() as connection:
        return _mine(connection, id_, actor)


def put(store: Store, id_: str, actor: str, draft: Draft, base: str) -> Draft | None:
    """Change a draft that is at digest `base`; DraftChanged when it is not, None when this person has none such."""
    with store.transaction() as connection:
        store.lock(connection, f"draft {id_}")
        known = _mine(connection, id_, actor)
        if known is None:
            return None
        if known.digest != base:
            raise DraftChanged(known)
        new = _sealed(replace(draft, id=known.id, actor=known.actor, created_at=known.created_at, updated_at=now()))
        connection.execute(update(DRAFTS).where(DRAFTS.c.id == id_).values(_values(new)))
    return new


def forget(store: Store, id_: str, actor: str, base: str | None = None) -> bool:
    """Remove a draft; False when this person has no such draft, DraftChanged when it is not at digest `base`."""
    with store.transaction() as connection:
        store.lock(connection, f"draft {id_}")
        known = _mine(connection, id_, actor)
        if known is None:
            return False
        if base is not None and known.digest != base:
            raise DraftChanged(known)
        connection.execute(delete(DRAFTS).where(DRAFTS.c.id == id_))
        audit.add(connection, actor, "draft-delete", known.file or known.name, {"draft": id_, "name": known.name})
    return True


def _mine(connection: Connection, id_: str, actor: str) -> Draft | None:
    query = select(DRAFTS).where(DRAFTS.c.id == id_, DRAFTS.c.actor == actor[:200])
    row = connection.execute(query).mappings().first()
    return _draft(row) if row else None


def _sealed(draft: Draft) -> Draft:
    held = [draft.id, draft.name, draft.file, draft.base, draft.text, draft.chat, dict(draft.pinned)]
    text = json.dumps(held, sort_keys=True, ensure_ascii=True, default=str)
    return replace(draft, digest=hashlib.sha256(text.encode()).hexdigest())


def _values(draft: Draft) -> dict[str, Any]:
    return {**vars(draft), "pinned": json.dumps(dict(draft.pinned), ensure_ascii=False, default=str)}


def _draft(row: Any) -> Draft:
    return Draft(**{**aware(row), "pinned": json.loads(row["pinned"])})
