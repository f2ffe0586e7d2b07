"""The tables, as the newest migration leaves them. A test compares both."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

NEWEST = "0005"
"""The newest migration: a database that is there already is used without loading Alembic."""

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
    Column("digest", String(64), nullable=False, server_default=""),
    Index("dataforge_generations_actor", "actor", "id"),
    Index("dataforge_generations_request", "request_id"),
    Index("dataforge_generations_digest", "digest", "id"),
)

MODEL_CALLS = Table(
    "dataforge_model_calls",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("month", String(7), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("task", String(20), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("team", String(200), nullable=False),
    Column("model", String(400), nullable=False),
    Column("provider", String(50), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", String(50), nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_prompt_tokens", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("cost", Float, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Index("dataforge_model_calls_at", "at", "actor"),
    Index("dataforge_model_calls_request", "request_id"),
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
    Column("digest", String(64), nullable=False, server_default=""),
    Index("dataforge_audit_subject", "subject", "id"),
)

AUDIT_END = Table(
    "dataforge_audit_end",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("entries", Integer, nullable=False),
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

JOBS = Table(
    "dataforge_jobs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("actor", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("file", String(1000), nullable=False),
    Column("request", Text, nullable=False),
    Column("result", Text),
    Column("cancelled", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("beat_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Index("dataforge_jobs_actor", "actor", "created_at"),
    Index("dataforge_jobs_state", "state", "beat_at"),
)

JOB_EVENTS = Table(
    "dataforge_job_events",
    METADATA,
    Column("job", String(64), ForeignKey("dataforge_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("data", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)

REQUESTS = Table(
    "dataforge_requests",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("actor", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("at", Float, nullable=False),
    Index("dataforge_requests_actor", "actor", "kind", "at"),
)

ANSWERS = Table(
    "dataforge_answers",
    METADATA,
    Column("actor", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", Text),
    Column("at", Float, nullable=False),
)

DRAFTS = Table(
    "dataforge_drafts",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("actor", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("file", String(1000), nullable=False),
    Column("base", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("chat", String(64), nullable=False),
    Column("pinned", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Index("dataforge_drafts_actor", "actor", "updated_at"),
)

UPLOADS = Table(
    "dataforge_uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("actor", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("profile", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("dataforge_uploads_actor", "actor", "created_at"),
    Index("dataforge_uploads_created_at", "created_at"),
)

APPROVALS = Table(
    "dataforge_approvals",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("file", String(1000), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("base", String(64), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("decider", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Column("revision", Integer, ForeignKey("dataforge_revisions.id")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Index("dataforge_approvals_state", "state", "created_at"),
    Index("dataforge_approvals_revision", "revision"),
)

CONNECTION_HEALTH = Table(
    "dataforge_connection_health",
    METADATA,
    Column("connection", String(250), primary_key=True),
    Column("type", String(100), nullable=False),
    Column("state", String(20), nullable=False),
    Column("message", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("ok_at", DateTime(timezone=True)),
)
