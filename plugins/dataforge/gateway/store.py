"""The gateway's own small SQLite file: what was used, answers that can be given again, and texts as vectors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from dataforge.gateway.base import Event, Spent, Usage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  at REAL NOT NULL, month TEXT NOT NULL, request_id TEXT NOT NULL, task TEXT NOT NULL, actor TEXT NOT NULL,
  team TEXT NOT NULL, connection TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, attempt INTEGER NOT NULL,
  outcome TEXT NOT NULL, cached INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  cached_prompt_tokens INTEGER NOT NULL, seconds REAL NOT NULL, cost REAL NOT NULL, estimated INTEGER NOT NULL,
  prompt_hash TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_at ON calls (at);
CREATE INDEX IF NOT EXISTS calls_request ON calls (request_id);
CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY, team TEXT NOT NULL, kept_at REAL NOT NULL, used_at REAL NOT NULL, bytes INTEGER NOT NULL,
  answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_used ON answers (used_at);
CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, kept_at REAL NOT NULL, vector BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS vectors_kept ON vectors (kept_at);
"""
_VERSION = 2
_SUMS = (
    "coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(seconds), 0), "
    "coalesce(sum(cost), 0), count(*), coalesce(sum(cached_prompt_tokens), 0), coalesce(max(estimated), 0)"
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give one transaction on the file, which is made, readable by its owner only, when it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            connection.executescript(f"{_SCHEMA}PRAGMA user_version = {_VERSION};")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


class SqliteLedger:
    """Use, counted in a SQLite file that all processes of a machine share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, event: Event) -> None:
        """Count what one try used."""
        used = event.usage
        values = (
            event.at.timestamp(), f"{event.at.astimezone(timezone.utc):%Y-%m}", event.request_id, event.task,
            event.actor, event.team, event.connection, event.provider, event.model, event.attempt, event.outcome,
            event.cached, used.prompt_tokens, used.completion_tokens, used.cached_prompt_tokens, used.seconds,
            used.cost,
            used.estimated, event.prompt_hash,
        )  # fmt: skip
        with opened(self._path) as connection:
            connection.execute(f"INSERT INTO calls VALUES ({', '.join('?' * len(values))})", values)

    def spent(
        self,
        *,
        since: datetime | None = None,
        actor: str | None = None,
        team: str | None = None,
        request_id: str | None = None,
    ) -> Usage:
        """Return the sum over what matches all that is given."""
        where, values = _where(since, actor, team, request_id)
        with opened(self._path) as connection:
            row = connection.execute(f"SELECT {_SUMS} FROM calls{where}", values).fetchone()
        return _usage(row)

    def summary(
        self, *, since: datetime | None = None, actor: str | None = None, team: str | None = None
    ) -> list[Spent]:
        """Return the sums by month, person, team, model and task, latest month first."""
        where, values = _where(since, actor, team, None)
        with opened(self._path) as connection:
            rows = connection.execute(
                f"SELECT month, actor, team, connection || '/' || model, task, {_SUMS} FROM calls{where} "
                "GROUP BY 1, 2, 3, 4, 5 ORDER BY 1 DESC, 2, 3, 4, 5",
                values,
            ).fetchall()
        return [Spent(row[0], row[1], row[2], row[3], row[4], _usage(row[5:])) for row in rows]


def _usage(row: tuple[int, int, float, float, int, int, int]) -> Usage:
    prompt, completion, seconds, cost, calls, cached, estimated = row
    return Usage(prompt, completion, seconds, cost, calls, cached, estimated=bool(estimated))


def _where(
    since: datetime | None, actor: str | None, team: str | None, request_id: str | None
) -> tuple[str, tuple[object, ...]]:
    given = {"actor = ?": actor, "team = ?": team, "request_id = ?": request_id}
    parts = {text: value for text, value in given.items() if value is not None}
    if since is not None:
        parts["at >= ?"] = str(since.timestamp())
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), tuple(
        float(value) if text.startswith("at") else value for text, value in parts.items()
    )
