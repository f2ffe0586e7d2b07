"""The tables, as the newest migration leaves them. A test compares both."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, ForeignKey, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

REVISIONS = Table(
    "dataforge_revisions",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("file", String(1000), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("text", Text),
    Column("parent", Integer, ForeignKey("dataforge_revisions.id")),
    Column("state", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("author", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("model", String(200), nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("commit_id", String(64), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("dataforge_revisions_file", "file", "id"),
    Index("dataforge_revisions_state", "state"),
)

GENERATIONS = Table(
    "dataforge_generations",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("request_id", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("team", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("request", Text, nullable=False),
    Column("config", Text),
    Column("outcome", String(20), nullable=False),
    Column("details", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("dataforge_generations_actor", "actor", "id"),
    Index("dataforge_generations_request", "request_id"),
)

AUDIT = Table(
    "dataforge_audit",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(1000), nullable=False),
    Column("details", Text, nullable=False),
    Index("dataforge_audit_subject", "subject", "id"),
)

CHATS = Table(
    "dataforge_chats",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("actor", String(200), nullable=False),
    Column("team", String(200), nullable=False),
    Column("title", String(200), nullable=False),
    Column("file", String(1000), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Index("dataforge_chats_actor", "actor", "updated_at"),
)

MESSAGES = Table(
    "dataforge_messages",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("chat", String(64), ForeignKey("dataforge_chats.id", ondelete="CASCADE"), nullable=False),
    Column("role", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("dataforge_messages_chat", "chat", "id"),
)
