"""Pieces of Python source: literals, indented blocks, SQL as text between quotes."""

from __future__ import annotations

import json
import textwrap
from datetime import date, datetime, timedelta
from typing import Any

WIDTH = 110


def literal(value: Any) -> str:
    """Return a Python literal in double quotes for texts, numbers, booleans, None, lists, tuples and dicts of them."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        items = ", ".join(map(literal, value))
        if isinstance(value, list):
            return f"[{items}]"
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _text(value: str) -> str:
    if not value.isprintable() or ('"' in value and "'" not in value):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def block(text: str, levels: int = 1) -> str:
    """Return lines of code indented by so many levels; empty lines stay empty."""
    return textwrap.indent(text, "    " * levels)


def name(text: str) -> str:
    """Return a text as a Python name: letters, digits and underscores."""
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in text)


def words(text: str) -> str:
    """Return a text that can stand inside of a docstring."""
    return text.replace("\\", "\\\\").replace('"', "'")


def sql(text: str) -> str:
    """Return SQL as a text over several lines, as it stands wherever quotes and backslashes let it."""
    safe = text.strip("\n").replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    safe = safe.replace("\r", "\\r")  # in a source, a bare one is a line feed
    return f'"""\n{safe}\n"""'


def docstring(paragraphs: list[str]) -> str:
    """Return a module's docstring of wrapped paragraphs; lines that begin with `- ` are items of a list."""
    lines: list[str] = []
    for paragraph in paragraphs:
        item = paragraph.startswith("- ")
        if lines and not (item and lines[-1].startswith(("- ", "  "))):
            lines.append("")
        text = " ".join(paragraph.split()).replace("\\", "\\\\").replace('"""', "'''")
        indent = "  " if item else ""  # a long word stays whole: a break within an escape would change what it says
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    body = "\n".join(lines)
    return f'"""{body}\n"""' if not body.startswith('"') else f'""" {body}\n"""'


def instant(value: date | datetime, zone: str, *, end: bool = False) -> str:
    """Return a pendulum call for a date or datetime; without an offset it is in `zone`, and a date may mean its end."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            return f"pendulum.parse({literal(value.isoformat())})"
        parts = [value.year, value.month, value.day, value.hour, value.minute, value.second]
    else:
        parts = [value.year, value.month, value.day, *([23, 59, 59] if end else [])]
    return f"pendulum.datetime({', '.join(map(str, parts))}, tz={literal(zone)})"


def duration(value: timedelta) -> str:
    """Return a timedelta in the largest unit that fits without a rest."""
    seconds = int(value.total_seconds())
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds and seconds % size == 0:
            return f"timedelta({unit}={seconds // size})"
    return f"timedelta(seconds={seconds if value == timedelta(seconds=seconds) else value.total_seconds()})"
