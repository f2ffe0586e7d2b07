"""Uploaded sample files: whose each is and what is in it. `authoring.uploads` keeps the files themselves."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select

from dataforge.store import audit
from dataforge.store.database import Store
from dataforge.store.revisions import now
from dataforge.store.rows import LONG_AGO, aware
from dataforge.store.schema import UPLOADS

MOST = 100
"""Uploads of one person."""


@dataclass(frozen=True)
class Upload:
    """One file: `name` as its owner calls it, `kind` what its content is, `profile` its rows and columns."""

    id: str
    actor: str
    name: str
    kind: str
    bytes: int
    digest: str
    profile: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime = LONG_AGO


def new_id() -> str:
    """Return an id that nobody can guess."""
    return uuid.uuid4().hex


def room(store: Store, actor: str) -> bool:
    """Return whether this person may keep one more."""
    with store.reading() as connection:
        mine = select(func.count()).where(UPLOADS.c.actor == actor[:200])
        return bool(connection.execute(mine).scalar_one() < MOST)


def keep(
    store: Store, id_: str, actor: str, *, name: str, kind: str, size: int, digest: str, profile: Mapping[str, Any]
) -> Upload:
    """Keep what is known of a file that was stored, with its audit entry."""
    kept = Upload(id_, actor[:200], name[:200], kind, size, digest, profile, now())
    with store.transaction() as connection:
        values = {**vars(kept), "profile": json.dumps(profile, ensure_ascii=False, default=str)}
        connection.execute(insert(UPLOADS).values(values))
        detail = {"upload": id_, "kind": kind, "bytes": size, "sha256": digest}
        audit.add(connection, actor, "upload", kept.name, detail)
    return kept


def of(store: Store, actor: str, ids: Iterable[str] | None = None) -> list[Upload]:
    """Return a person's uploads, the newest first; with `ids`, those of them alone."""
    query = select(UPLOADS).where(UPLOADS.c.actor == actor[:200])
    if ids is not None:
        query = query.where(UPLOADS.c.id.in_(tuple(ids)))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(UPLOADS.c.created_at.desc(), UPLOADS.c.id)).mappings().all()
    return [_upload(row) for row in rows]


def forget(store: Store, id_: str, actor: str) -> Upload | None:
    """Remove what is known of a file, with an audit entry; None when this person has no such file."""
    with store.transaction() as connection:
        mine = (UPLOADS.c.id == id_, UPLOADS.c.actor == actor[:200])
        row = connection.execute(select(UPLOADS).where(*mine)).mappings().first()
        if row is None or connection.execute(delete(UPLOADS).where(*mine)).rowcount != 1:
            return None
        audit.add(connection, actor, "upload-delete", row["name"], {"upload": id_})
    return _upload(row)


def forget_old(store: Store, days: float) -> list[str]:
    """Remove what is known of files that are older; return their ids."""
    with store.transaction() as connection:
        old = UPLOADS.c.created_at < now() - timedelta(days=days)
        found = list(connection.execute(select(UPLOADS.c.id).where(old)).scalars())
        connection.execute(delete(UPLOADS).where(UPLOADS.c.id.in_(found)))
    return found


def known(store: Store, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that there are uploads of, whoever's."""
    with store.reading() as connection:
        return set(connection.execute(select(UPLOADS.c.id).where(UPLOADS.c.id.in_(tuple(ids)))).scalars())


def _upload(row: Any) -> Upload:
    return Upload(**{**aware(row), "profile": json.loads(row["profile"])})
