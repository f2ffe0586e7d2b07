"""Reading a JSON or YAML document that somebody else wrote, as plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataforge.errors import ConfigError, Problem

MAX_DEPTH = 100
MAX_VALUES = 2_000_000
"""Values of a document with its YAML aliases written out; a few lines of aliases can stand for more than memory has."""


def read_document(text: str, file: Path) -> dict[str, Any]:
    """Return the object that a JSON or YAML text holds, with dates as text; ConfigError when it holds none."""
    value = _json(text) if text.lstrip()[:1] == "{" else None
    if value is not None:
        _measure(value, file)
        return value
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """The safe loader without dates: a version such as 2024-10-01 is a text here."""

    Loader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in base.yaml_implicit_resolvers.items()
    }
    try:
        value = yaml.load(text, Loader=Loader)  # noqa: S506 - built on the safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(Problem("unreadable", f"{file.name!r} is neither JSON nor YAML: {reason}")) from None
    if not isinstance(value, dict):
        raise ConfigError(Problem("wrong-type", f"{file.name!r} holds {type(value).__name__}, no object"))
    _measure(value, file)
    return value


MALFORMED = (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError)
"""What walking through a document raises where a part of it is of another kind than its format says."""


@contextmanager
def understood(file: Path) -> Iterator[None]:
    """Turn a part of a wrong kind into ConfigError, so that nobody sees a stack trace for what somebody else wrote."""
    try:
        yield
    except MALFORMED as error:
        message = f"{file.name!r} has a part of another kind than its format says ({type(error).__name__}: {error})"
        raise ConfigError(Problem("wrong-type", message, (), "check it with a validator of that format")) from None


def dag_id(*parts: str) -> str:
    """Return the nearest valid dag_id of some words: letters, digits, `_`, `.` and `-`, beginning with a letter."""
    name = re.sub(r"[^A-Za-z0-9_.-]+|\.{2,}", "_", "_".join(part for part in parts if part))
    return name.lstrip("0123456789_.-").rstrip("_.-")[:200] or "pipeline"


def table_name(text: str) -> str:
    """Return the nearest name of a table that needs no quoting: small letters, digits and `_`, at most 63."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    name = re.sub(r"[^a-z0-9_]+", "_", words.lower()).strip("_")[:63]
    return name if name[:1].isalpha() else f"t_{name}"[:63].rstrip("_") or "records"


def _json(text: str) -> dict[str, Any] | None:
    """Return the object of a JSON text, None for what is none: it may be YAML, which begins so too."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _measure(value: Any, file: Path) -> None:
    stack, seen = [(value, 0)], 0
    while stack:
        item, depth = stack.pop()
        seen += 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            raise ConfigError(
                Problem(
                    "too-large",
                    f"{file.name!r} holds more than {MAX_VALUES} values, or is nested deeper than {MAX_DEPTH}",
                )
            )
        if isinstance(item, dict):
            stack += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            stack += [(inner, depth + 1) for inner in item]
