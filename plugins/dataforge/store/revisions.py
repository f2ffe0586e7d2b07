"""Revisions of config files: what stood in a file, since when, by whom and why.

A revision is written in two steps, so that a crash at any moment leaves a trail: `begin` commits it as "pending" before
the file is touched; `finish` makes it "live" together with its audit row. `reconcile` settles what a crash left open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from dataforge.errors import ConfigError, Problem
from dataforge.store import audit
from dataforge.store.database import Store
from dataforge.store.schema import APPROVALS, REVISIONS

State = Literal["pending", "live", "abandoned"]
Kind = Literal["deploy", "rollback", "found", "deleted"]


@dataclass(frozen=True)
class Revision:
    """What stood in a file. `text` is None when there was no file; `kind` "found" was written by somebody else.

    `file` is relative to the configs folder, with `/`; `digest` is the SHA-256 of the text ("" without a file).
    """

    file: str
    digest: str
    text: str | None
    author: str = ""
    reason: str = ""
    model: str = ""
    prompt_hash: str = ""
    parent: int | None = None
    kind: Kind = "deploy"
    state: State = "pending"
    commit_id: str = ""
    created_at: datetime = datetime(1970, 1, 1, tzinfo=timezone.utc)
    id: int = 0


def digest(text: str | bytes | None) -> str:
    """Return the SHA-256 of a file's content in hexadecimal; "" when there is no file."""
    if text is None:
        return ""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text).hexdigest()


def now() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(timezone.utc)


def add(connection: Connection, revision: Revision) -> Revision:
    """Write a revision row; return it with its id."""
    values = {key: value for key, value in vars(revision).items() if key != "id"}
    values["created_at"] = now()
    values["author"], values["model"] = revision.author[:200], revision.model[:200]
    result = connection.execute(insert(REVISIONS).values(values))
    found = result.inserted_primary_key
    assert found is not None
    return replace(revision, id=int(found[0]), created_at=values["created_at"])


def latest(connection: Connection, file: str) -> Revision | None:
    """Return the newest live revision of a file."""
    query = select(REVISIONS).where(REVISIONS.c.file == file, REVISIONS.c.state == "live")
    row = connection.execute(query.order_by(REVISIONS.c.id.desc()).limit(1)).mappings().first()
    return _revision(row) if row else None


def history(store: Store, file: str, limit: int = 100) -> list[Revision]:
    """Return the live revisions of a file, the newest first."""
    query = select(REVISIONS).where(REVISIONS.c.file == file, REVISIONS.c.state == "live")
    with store.reading() as connection:
        rows = connection.execute(query.order_by(REVISIONS.c.id.desc()).limit(limit)).mappings().all()
    return [_revision(row) for row in rows]


def get(store: Store, file: str, wanted: str) -> Revision:
    """Return the live revision with this id, or the newest whose digest begins so; ConfigError when there is none."""
    query = select(REVISIONS).where(REVISIONS.c.file == file, REVISIONS.c.state == "live")
    with store.reading() as connection:
        rows = connection.execute(query.order_by(REVISIONS.c.id.desc())).mappings().all()
    for row in rows:
        if wanted == str(row["id"]) or (len(wanted) >= 7 and str(row["digest"]).startswith(wanted)):
            return _revision(row)
    hint = "`dataforge history` lists them"
    raise ConfigError(Problem("unknown-revision", f"{file!r} has no revision {wanted!r}", (), hint))


def begin(connection: Connection, revision: Revision, before: str | None) -> Revision:
    """Write a revision that is about to be, and before it what stands in the file now, where nobody recorded that."""
    known = latest(connection, revision.file)
    if (before is not None or known is not None) and (known is None or known.digest != digest(before)):
        known = add(connection, found(revision.file, before, known))
    return add(connection, replace(revision, parent=known.id if known else None, state="pending"))


def found(file: str, text: str | None, parent: Revision | None) -> Revision:
    """Return the revision of a file that was changed by other means."""
    kind: Kind = "found" if text is not None else "deleted"
    reason = "changed outside of DataForge" if parent else "there before DataForge kept revisions"
    return Revision(
        file, digest(text), text, reason=reason, parent=parent.id if parent else None, kind=kind, state="live"
    )


def settle(connection: Connection, revision: Revision, state: State, commit_id: str = "") -> Revision:
    """Give a pending revision its final state, and what waited for it: a deploy that somebody approved."""
    query = update(REVISIONS).where(REVISIONS.c.id == revision.id)
    connection.execute(query.values(state=state, commit_id=commit_id))
    waiting = update(APPROVALS).where(APPROVALS.c.revision == revision.id, APPROVALS.c.state == "carried")
    connection.execute(waiting.values(state="approved" if state == "live" else "pending"))
    return replace(revision, state=state, commit_id=commit_id)


def pending(store: Store, prefix: str) -> list[str]:
    """Return the files below a folder that have a pending revision."""
    query = select(REVISIONS.c.file).where(
        REVISIONS.c.state == "pending", REVISIONS.c.file.startswith(prefix, autoescape=True)
    )
    with store.reading() as connection:
        return sorted(set(connection.execute(query).scalars()))


def reconcile(store: Store, read: Callable[[str], str | None], prefix: str = "") -> list[Revision]:
    """Settle revisions that a crash left pending: live where the file holds them, else abandoned; both are kept.

    `prefix` is a file, or how all files that are meant begin. `read` returns the text of a file by its name, None when
    there is none.
    """
    settled, told = [], []
    one = prefix.endswith(".json")
    file = REVISIONS.c.file == prefix if one else REVISIONS.c.file.startswith(prefix, autoescape=True)
    query = select(REVISIONS).where(REVISIONS.c.state == "pending", file)
    with store.transaction() as connection:
        rows = connection.execute(query.order_by(REVISIONS.c.id)).mappings().all()
        for row in rows:
            revision = _revision(row)
            store.lock(connection, revision.file)
            state: State = "live" if digest(read(revision.file)) == revision.digest else "abandoned"
            settled.append(settle(connection, revision, state))
            details = {"revision": revision.id, "digest": revision.digest, "state": state}
            told.append((revision, details))
        for revision, details in told:  # after all locks of files, as everywhere
            audit.add(connection, revision.author, "reconcile", revision.file, details)
    return settled


def _revision(row: Any) -> Revision:
    values = dict(row)
    instant: datetime = values["created_at"]
    values["created_at"] = instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)
    return Revision(**values)
