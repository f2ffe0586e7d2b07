"""Who did what to what: entries that are only ever added, each sealed with the digest of the one before.

    with store.transaction() as connection:
        …                                                           # the change itself
        audit.add(connection, "ada", "deploy", "orders.json", {"revision": 7})
    audit.record(store, "ada", "run", "orders", {"run_id": "…"})    # where the change is not in the store

An entry that is changed, removed or moved breaks the chain from there on, and one that is removed at the end differs
from what is noted of the end. Whoever writes the end's digest down elsewhere can tell a chain that was made anew, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from dataforge.components.secret_shapes import names_secret, secret_spans
from dataforge.store.database import Store, lock
from dataforge.store.schema import AUDIT, AUDIT_END

HIDDEN = "***"
_PAGE = 1_000
_LONGEST = 2_000
"""Characters of one text of an entry's detail."""


@dataclass(frozen=True)
class Entry:
    """One entry; `digest` seals it together with all before it."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class Verified:
    """What was found of the chain: `broken_at` is the first entry that does not fit, None when all do.

    `end` is the digest of the last entry that fits.
    """

    entries: int
    end: str
    broken_at: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was changed, removed or moved."""
        return not self.reason


def record(store: Store, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    """Write one entry in a transaction of its own: who did what to what; secrets in it are hidden."""
    with store.transaction() as connection:
        add(connection, actor, action, subject, detail)


def add(connection: Connection, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    """Write one entry together with the change that it tells of; the transaction's other locks were taken before."""
    lock(connection, "audit")
    row: dict[str, Any] = {
        "at": datetime.now(timezone.utc),
        "actor": _plain(actor)[:200],
        "action": _plain(action)[:40],
        "subject": _plain(_without_secrets(subject))[:1000],
        "details": json.dumps(_safe(detail or {}), ensure_ascii=False, default=str),
    }
    end = connection.execute(select(AUDIT_END.c.digest, AUDIT_END.c.entries)).first()
    digest = seal(end[0] if end else "", **row)
    connection.execute(insert(AUDIT).values(**row, digest=digest))
    if end is None:
        connection.execute(insert(AUDIT_END).values(id=1, digest=digest, entries=1))
    else:
        connection.execute(update(AUDIT_END).values(digest=digest, entries=int(end[1]) + 1))


def seal(before: str, *, at: datetime, actor: str, action: str, subject: str, details: str) -> str:
    """Return the digest of an entry, in which that of the entry before is contained."""
    instant = _aware(at).isoformat(timespec="microseconds")
    said = json.dumps([before, instant, actor, action, subject, details], ensure_ascii=False)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def entries(
    store: Store,
    *,
    actor: str | None = None,
    action: str | None = None,
    subjects: Sequence[str] | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Return the entries that match all that is given, the newest first; `before` is the id to go on from."""
    wanted = ((AUDIT.c.actor, actor), (AUDIT.c.action, action))
    conditions: list[ColumnElement[bool]] = [column == value for column, value in wanted if value is not None]
    if subjects is not None:
        conditions.append(AUDIT.c.subject.in_(subjects))
    if before is not None:
        conditions.append(AUDIT.c.id < before)
    query = select(AUDIT).where(*conditions).order_by(AUDIT.c.id.desc()).limit(limit)
    with store.reading() as connection:
        return [_entry(row) for row in connection.execute(query).mappings().all()]


def verify(store: Store, end: str = "") -> Verified:
    """Walk the whole chain and say where it is broken; `end` is a digest that was written down and must be in it."""
    with store.reading() as connection:
        noted = connection.execute(select(AUDIT_END.c.digest, AUDIT_END.c.entries)).first()
    last, count, place, met = "", 0, 0, not end
    while True:
        with store.reading() as connection:
            query = select(AUDIT).where(AUDIT.c.id > place).order_by(AUDIT.c.id).limit(_PAGE)
            rows = connection.execute(query).mappings().all()
        for row in rows:
            parts = {name: row[name] for name in ("at", "actor", "action", "subject", "details")}
            if seal(last, **parts) != row["digest"]:
                return Verified(count, last, row["id"], "it was changed, or the entry before it removed or moved")
            last, count, place = row["digest"], count + 1, row["id"]
            met = met or last == end
            if noted and count == noted[1] and last != noted[0]:
                return Verified(count, last, place, "the chain was made anew")
        if len(rows) < _PAGE:
            break
    if count < (int(noted[1]) if noted else 0) or (count and not noted):
        return Verified(count, last, place, "entries after it were removed")
    if not met:
        return Verified(count, last, place, "the digest that was written down is not in the chain")
    return Verified(count, last)


def _entry(row: Any) -> Entry:
    detail = json.loads(row["details"])
    return Entry(row["id"], _aware(row["at"]), row["actor"], row["action"], row["subject"], detail, row["digest"])


def _aware(at: datetime) -> datetime:
    """SQLite gives instants back without their zone, which is UTC."""
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)


def _safe(value: Any, key: str = "") -> Any:
    """Return a detail without what looks like a secret by its shape or by the key it stands under."""
    if isinstance(value, Mapping):
        return {_plain(str(name)): _safe(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(part, key) for part in value]
    if not isinstance(value, str):
        return value
    if names_secret(key):
        return HIDDEN
    return _plain(_without_secrets(value))


def _without_secrets(text: str) -> str:
    parts, end = [], 0
    for start, stop, _ in sorted(secret_spans(text)):
        if stop > end:
            parts += [text[end:start], HIDDEN] if start >= end else []
            end = stop
    return "".join((*parts, text[end:]))


def _plain(text: str) -> str:
    """Return a text that every database takes, without the marks by which one turns what a reader sees."""
    return "".join(char if char.isprintable() or char == " " else "�" for char in text[:_LONGEST])
