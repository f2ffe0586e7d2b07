"""Chats with their messages, and what models generated: rows that belong to one person each."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import delete, insert, or_, select, update

from dataforge.store import audit
from dataforge.store.database import Store
from dataforge.store.revisions import digest, now
from dataforge.store.schema import CHATS, GENERATIONS, MESSAGES


@dataclass(frozen=True)
class Chat:
    """A conversation of one person; `file` is the config that it is about, "" for none."""

    id: str
    actor: str
    team: str
    title: str
    file: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ChatMessage:
    """One message of a chat; `details` is JSON that the page shows with it (a diff, findings)."""

    id: int
    chat: str
    role: str
    text: str
    at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)


def begin_chat(store: Store, actor: str, title: str, *, team: str = "", file: str = "") -> Chat:
    """Begin a chat."""
    instant = now()
    chat = Chat(uuid.uuid4().hex, actor[:200], team[:200], title[:200], file, instant, instant)
    with store.transaction() as connection:
        connection.execute(insert(CHATS).values(vars(chat)))
    return chat


def chats(store: Store, actor: str, limit: int = 100, search: str = "") -> list[Chat]:
    """Return a person's chats, the last used first; with `search`, those in whose title or messages it stands."""
    query = select(CHATS).where(CHATS.c.actor == actor).order_by(CHATS.c.updated_at.desc()).limit(limit)
    if search:
        said = select(MESSAGES.c.chat).where(MESSAGES.c.text.icontains(search, autoescape=True))
        query = query.where(or_(CHATS.c.title.icontains(search, autoescape=True), CHATS.c.id.in_(said)))
    with store.reading() as connection:
        return [Chat(**_aware(row)) for row in connection.execute(query).mappings().all()]


def chat(store: Store, id_: str, actor: str) -> Chat | None:
    """Return a person's chat; None when this person has no such chat."""
    query = select(CHATS).where(CHATS.c.id == id_, CHATS.c.actor == actor)
    with store.reading() as connection:
        row = connection.execute(query).mappings().first()
    return Chat(**_aware(row)) if row else None


def say(
    store: Store, chat: str, actor: str, role: str, text: str, details: Mapping[str, Any] | None = None
) -> ChatMessage | None:
    """Add a message to a chat; None when this person has no such chat."""
    instant = now()
    with store.transaction() as connection:
        owned = update(CHATS).where(CHATS.c.id == chat, CHATS.c.actor == actor).values(updated_at=instant)
        if connection.execute(owned).rowcount != 1:
            return None
        row = {
            "chat": chat,
            "role": role,
            "text": text,
            "at": instant,
            "details": json.dumps(details or {}, default=str),
        }
        found = connection.execute(insert(MESSAGES).values(row)).inserted_primary_key
        assert found is not None
    return ChatMessage(int(found[0]), chat, role, text, instant, dict(details or {}))


def messages(store: Store, chat: str, actor: str, limit: int = 1000) -> list[ChatMessage]:
    """Return the messages of a chat, the oldest first; none of another person's chat."""
    owned = select(CHATS.c.id).where(CHATS.c.id == chat, CHATS.c.actor == actor)
    query = select(MESSAGES).where(MESSAGES.c.chat.in_(owned)).order_by(MESSAGES.c.id).limit(limit)
    with store.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return [ChatMessage(**{**_aware(row), "details": json.loads(row["details"])}) for row in rows]


def forget_chat(store: Store, chat: str, actor: str) -> bool:
    """Remove a chat with its messages; False when this person has no such chat."""
    with store.transaction() as connection:
        owned = connection.execute(select(CHATS.c.id).where(CHATS.c.id == chat, CHATS.c.actor == actor)).first()
        if owned is None:
            return False
        connection.execute(delete(MESSAGES).where(MESSAGES.c.chat == chat))
        connection.execute(delete(CHATS).where(CHATS.c.id == chat))
        audit.add(connection, actor, "chat-delete", chat)
    return True


def record_generation(
    store: Store,
    *,
    request_id: str,
    kind: str,
    actor: str,
    request: str,
    config: str | None,
    outcome: str,
    model: str = "",
    prompt_hash: str = "",
    team: str = "",
    details: Mapping[str, Any] | None = None,
) -> int:
    """Keep what came of a request; `request` must be redacted already, `config` is its text. Returns the row's id."""
    row = {
        "request_id": request_id[:64],
        "kind": kind[:20],
        "actor": actor[:200],
        "team": team[:200],
        "model": model[:200],
        "prompt_hash": prompt_hash[:64],
        "request": request,
        "config": config,
        "outcome": outcome[:20],
        "details": json.dumps(details or {}, ensure_ascii=False, default=str),
        "created_at": now(),
        "digest": digest(config),
    }
    with store.transaction() as connection:
        found = connection.execute(insert(GENERATIONS).values(row)).inserted_primary_key
        assert found is not None
        return int(found[0])


def generations(store: Store, actor: str, limit: int = 100) -> list[dict[str, Any]]:
    """Return what came of a person's requests, the newest first."""
    query = select(GENERATIONS).where(GENERATIONS.c.actor == actor).order_by(GENERATIONS.c.id.desc()).limit(limit)
    with store.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return [{**_aware(row), "details": json.loads(row["details"])} for row in rows]


def origin(store: Store, digest: str) -> tuple[str, str]:
    """Return the model and the prompt hash of the newest generation of a text, by its digest; ("", "") of none."""
    columns = GENERATIONS.c.model, GENERATIONS.c.prompt_hash
    query = select(*columns).where(GENERATIONS.c.digest == digest).order_by(GENERATIONS.c.id.desc()).limit(1)
    with store.reading() as connection:
        row = connection.execute(query).first()
    return (str(row[0]), str(row[1])) if row and digest else ("", "")


def _aware(row: Any) -> dict[str, Any]:
    """SQLite gives instants back without their zone, which is UTC."""
    return {
        key: value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) and value.tzinfo is None else value
        for key, value in dict(row).items()
    }
