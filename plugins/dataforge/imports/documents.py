"""Reading a JSON or YAML document that somebody else wrote, as plain values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dataforge.errors import ConfigError, Problem

MAX_DEPTH = 100
MAX_VALUES = 2_000_000
"""Values of a document with its YAML aliases written out; a few lines of aliases can stand for more than memory has."""


def read_document(text: str, file: Path) -> dict[str, Any]:
    """Return the object that a JSON or YAML text holds, with dates as text; ConfigError when it holds none."""
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


def dag_id(*parts: str) -> str:
    """Return the nearest valid dag_id of some words: letters, digits, `_`, `.` and `-`, beginning with a letter."""
    name = re.sub(r"[^A-Za-z0-9_.-]+|\.{2,}", "_", "_".join(part for part in parts if part))
    return name.lstrip("0123456789_.-").rstrip("_.-")[:200] or "pipeline"


def table_name(text: str) -> str:
    """Return the nearest name of a table that needs no quoting: small letters, digits and `_`, at most 63."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    name = re.sub(r"[^a-z0-9_]+", "_", words.lower()).strip("_")[:63]
    return name if name[:1].isalpha() else f"t_{name}"[:63].rstrip("_") or "records"


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
