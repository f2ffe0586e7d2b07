"""Answers by idempotency key: what was done once is told again and not done again.

known = begin(store, "ada", key, fingerprint)        # None: do it, then keep() or forget()
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from dataforge.store.database import Store
from dataforge.store.schema import ANSWERS

KEPT_SECONDS = 24 * 3_600
LEFT_SECONDS = 600
"""After so long, a request that neither ended well nor badly counts as one that a crash ended."""


@dataclass(frozen=True)
class Known:
    """An earlier request with this key; `answer` is None while it is at work."""

    same: bool
    answer: dict[str, Any] | None


def begin(store: Store, actor: str, key: str, fingerprint: str) -> Known | None:
    """Return what is known of a key; None when it is new, and from now on taken."""
    actor, key = actor[:200], key[:200]
    mine = (ANSWERS.c.actor == actor, ANSWERS.c.key == key)
    with store.transaction() as connection:
        store.lock(connection, f"answer {actor} {key}")
        now = time.time()
        connection.execute(delete(ANSWERS).where(ANSWERS.c.at < now - KEPT_SECONDS))
        connection.execute(delete(ANSWERS).where(*mine, ANSWERS.c.answer.is_(None), ANSWERS.c.at < now - LEFT_SECONDS))
        row = connection.execute(select(ANSWERS.c.fingerprint, ANSWERS.c.answer).where(*mine)).first()
        if row is not None:
            return Known(row[0] == fingerprint, None if row[1] is None else json.loads(row[1]))
        connection.execute(insert(ANSWERS).values(actor=actor, key=key, fingerprint=fingerprint, at=now))
    return None


def keep(store: Store, actor: str, key: str, answer: dict[str, Any]) -> None:
    """Keep the answer of a request that ended well."""
    text = json.dumps(answer, ensure_ascii=False, default=str)
    query = update(ANSWERS).where(ANSWERS.c.actor == actor[:200], ANSWERS.c.key == key[:200]).values(answer=text)
    with store.transaction() as connection:
        connection.execute(query)


def forget(store: Store, actor: str, key: str) -> None:
    """Free the key of a request that did not end well, so that it may be tried again."""
    with store.transaction() as connection:
        connection.execute(delete(ANSWERS).where(ANSWERS.c.actor == actor[:200], ANSWERS.c.key == key[:200]))
