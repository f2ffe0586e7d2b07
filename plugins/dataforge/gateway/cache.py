"""Answers that are given again for equal requests: exact, for a day, never across teams or people.

The key counts everything that an answer depends on: the whole redacted prompt with its examples and its catalogue, the
schema, provider, model and its digest, sampling, the team and the person. Only the person's own words count in a normal
form: white space, and the case of plain words at the start of a sentence. Names, numbers and whatever stands in quotes
keep every character, since "6am" and "7am", or `Orders` and `orders`, are not the same.

Where the settings allow it, an answer also serves other words of the same person: those with the same facts, which the
caller has read from them for certain, when the words are alike too.

What is kept holds placeholders in place of secrets and personal data.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from dataforge.gateway.base import Call, Message
from dataforge.gateway.store import opened

VERSION = "2"
MAX_ANSWER = 1_000_000
"""Longer answers, in characters, are not kept."""


@dataclass(frozen=True)
class Answer:
    """What is kept of an answer; `asked` are the words that it answered, without what was withheld."""

    text: str
    finish: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    asked: str = ""

    def to_text(self) -> str:
        """Return JSON."""
        return json.dumps(self.__dict__)

    @classmethod
    def from_text(cls, text: str | bytes) -> Answer | None:
        """Return what `to_text` gave; None for anything else."""
        try:
            answer = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        return answer if isinstance(answer.text, str) and isinstance(answer.asked, str) else None


class Cache(Protocol):
    """Where answers are kept."""

    def get(self, key: str, team: str) -> Answer | None: ...
    def put(self, key: str, team: str, answer: Answer) -> None: ...


@dataclass(frozen=True)
class Scope:
    """Within what an answer may be given again: one person's calls of one model for one task."""

    task: str
    team: str
    actor: str
    provider: str
    connection: str
    digest: str


def key_of(call: Call, scope: Scope, asked: str) -> str:
    """Return the key of a call: that of all that goes out."""
    normal = normalised(asked)
    messages = [[message.role, _with(message, asked, normal)] for message in call.messages]
    return _hashed(call, scope, schema=call.schema, messages=messages)


def facts_key_of(call: Call, scope: Scope, facts: str) -> str:
    """Return the key of a call for whatever words: that of its facts."""
    return _hashed(call, scope, facts=facts)


def _hashed(call: Call, scope: Scope, **more: object) -> str:
    sampling = [call.max_tokens, call.temperature, call.seed, list(call.stop)]
    counted = {"version": VERSION, "model": call.model, "sampling": sampling, **vars(scope), **more}
    return hashlib.sha256(json.dumps(counted, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _with(message: Message, asked: str, normal: str) -> str:
    """Return the message with the person's words in their normal form, also where they stand as JSON."""
    if not asked.strip():
        return message.text
    text = message.text
    for form in (asked, json.dumps(asked)[1:-1], json.dumps(asked, ensure_ascii=False)[1:-1]):
        text = text.replace(form, normal)
    return text


_QUOTED = re.compile(r"(\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`|„[^“\n]*“|“[^”\n]*”|«[^»\n]*»)")
_SENTENCE_START = re.compile(r"(?:\A|(?<=[.!?:]\s))[^\W\d_]+(?=[\s,;]|\Z)")


def normalised(text: str) -> str:
    """Return a request with white space, compatible characters and the case of sentence starts made equal."""
    parts = _QUOTED.split(text.strip())
    for place in range(0, len(parts), 2):
        part = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", parts[place]))
        parts[place] = _SENTENCE_START.sub(_lower, part) if place == 0 else part
    return "".join(parts)


def _lower(match: re.Match[str]) -> str:
    word = match.group()
    return word.casefold() if word[1:].islower() or len(word) == 1 else word


class SqliteCache:
    """Answers in the gateway's SQLite file; the least used go first when they are too large together."""

    def __init__(self, path: Path, seconds: float, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._now = now

    def get(self, key: str, team: str) -> Answer | None:
        """Return a kept answer of the team; None when there is none, or none that is young enough."""
        now = self._now()
        with opened(self._path) as connection:
            row = connection.execute(
                "SELECT answer FROM answers WHERE key = ? AND team = ? AND kept_at > ?",
                (key, team, now - self._seconds),
            ).fetchone()
            if row is not None:
                connection.execute("UPDATE answers SET used_at = ? WHERE key = ?", (now, key))
        return None if row is None else Answer.from_text(row[0])

    def put(self, key: str, team: str, answer: Answer) -> None:
        """Keep an answer."""
        text = answer.to_text()
        if len(text) > MAX_ANSWER:
            return
        now = self._now()
        with opened(self._path) as connection:
            connection.execute("DELETE FROM answers WHERE kept_at <= ?", (now - self._seconds,))
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                (key, team, now, now, len(text.encode()), text),
            )
            total = connection.execute("SELECT coalesce(sum(bytes), 0) FROM answers").fetchone()[0]
            if total > self._max_bytes:
                connection.execute(
                    "DELETE FROM answers WHERE key IN (SELECT key FROM (SELECT key, sum(bytes) OVER "
                    "(ORDER BY used_at DESC, key) AS upto FROM answers) WHERE upto > ?)",
                    (self._max_bytes,),
                )


class RedisCache:
    """Answers in Redis or Valkey, which forget by themselves; their own `maxmemory` bounds the size."""

    def __init__(self, client: Any, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    def get(self, key: str, team: str) -> Answer | None:
        """Return a kept answer of the team."""
        found = self._client.get(_name(key, team))
        return None if found is None else Answer.from_text(found)

    def put(self, key: str, team: str, answer: Answer) -> None:
        """Keep an answer."""
        text = answer.to_text()
        if len(text) <= MAX_ANSWER:
            self._client.set(_name(key, team), text, px=max(1, int(self._seconds * 1_000)))


def _name(key: str, team: str) -> str:
    return f"dataforge:llm:{hashlib.sha256(team.encode()).hexdigest()[:16]}:{key}"


def redis_client(url: str) -> Any:
    """Return a client for a redis://, rediss:// or valkey:// URL. ImportError where neither client is installed."""
    name = "redis" if find_spec("redis") is not None else "valkey"
    module, backoff, retry = (import_module(part) for part in (name, f"{name}.backoff", f"{name}.retry"))
    plain = url.replace("valkey", "redis", 1).replace("redis", name, 1)
    # an answer is not waited for: without the cache the model is asked
    patience = retry.Retry(backoff.NoBackoff(), 0)
    return module.from_url(plain, socket_timeout=2, socket_connect_timeout=1, retry=patience)
