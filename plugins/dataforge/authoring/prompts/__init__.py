"""The prompts: versioned files, and how a request, its facts and its examples are put into messages.

What is the same for all requests comes first, so that a server keeps it in its cache. Foreign text (columns, samples,
logs, other configs) stands as JSON inside <data>…</data>, where nothing in it can end the fence.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from dataforge.gateway.base import Message

_VERSION = re.compile(r"\A<!-- version: (\d+) -->\n")
MAX_REQUEST = 6_000
"""Characters of a request that a prompt takes; more is refused before."""
MAX_WORD = 300
"""Characters of one word: each is looked at from each of its letters, and one of thousands would take seconds."""


def too_much(request: str) -> str:
    """Return why a request is too long to be read, "" when it is not."""
    if len(request) > MAX_REQUEST:
        return f"the request is too long: {len(request):,} characters, of {MAX_REQUEST:,} at most"
    longest = max(map(len, request.split()), default=0)
    return f"a word of {longest:,} characters is too long: {MAX_WORD} at most" if longest > MAX_WORD else ""


@dataclass(frozen=True)
class Prompt:
    """Messages ready to go. `name` is the prompt file with version and hash: "author@1:3f2a9c0d11e4"."""

    name: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Shown:
    """One example as the prompt shows it."""

    request: str
    answer: Mapping[str, Any]


def load(name: str) -> tuple[str, str]:
    """Return (a prompt file's text without its version line, its name with version and hash)."""
    return _load(name)


@cache
def _load(name: str) -> tuple[str, str]:
    text = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    match = _VERSION.match(text)
    if not match:
        raise ValueError(f"prompt {name!r} has no version line")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text[match.end() :], f"{name}@{match[1]}:{digest}"


def build(
    name: str,
    request: str,
    *,
    facts: Mapping[str, Any] | None = None,
    examples: Sequence[Shown] = (),
    data: Mapping[str, Any] | None = None,
    values: Mapping[str, str] | None = None,
) -> Prompt:
    """Return the messages of one call: the prompt file, examples as turns, then facts, foreign data and the request.

    `facts` are what is already decided, `data` is foreign text, fenced; `values` fill the file's {…}.
    """
    text, label = load(name)
    for key, value in {"language": language(), **(values or {})}.items():
        text = text.replace(f"{{{key}}}", value)
    messages = [Message("system", text.strip())]
    for example in examples:
        messages += [Message("user", example.request), Message("assistant", compact(example.answer))]
    parts = []
    if facts:
        parts.append("Facts: " + compact(facts))
    if data:
        parts.append(fenced(data))
    parts.append(request.strip())
    messages.append(Message("user", "\n".join(parts)))
    return Prompt(label, tuple(messages))


def fenced(data: Any) -> str:
    """Return foreign data as JSON in a fence that nothing inside can end."""
    text = json.dumps(data, ensure_ascii=True, default=str).replace("<", "\\u003c").replace(">", "\\u003e")
    return f"<data>\n{text}\n</data>"


def compact(value: Any) -> str:
    """Return JSON on one line, as examples show it and models answer it."""
    return json.dumps(value, ensure_ascii=False, default=str)


@cache
def language() -> str:
    """Return the components that can be used, one a line, from their own models."""
    from dataforge.authoring.catalogue import components

    lines = []
    for title, kind in (
        ("Sources", "source"),
        ("Transforms", "transform"),
        ("Checks", "check"),
        ("Destinations", "destination"),
    ):
        lines.append(f"{title}:")
        lines += [f"- {one.type}: {one.signature}" for one in components(kind)]
    return "\n".join(lines)


def names() -> Iterable[str]:
    """Return the names of all prompt files."""
    return sorted(one.name.removesuffix(".md") for one in files(__name__).iterdir() if one.name.endswith(".md"))
