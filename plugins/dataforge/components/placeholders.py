"""`${…}` in a config: what it names, and the text it stands for.

`${params.region}`, `${data_interval_start}`, `${data_interval_end}` (each also with a strftime pattern:
`${data_interval_start:%Y/%m/%d}`) and `${run_id}`. Nothing else; there is no nesting and no default.

`${cursor}`, also with a pattern, is apart: only a source knows it, only some fields take it, and while the cursor
stands nowhere, what holds it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from dataforge.components.base import CursorBounds, JsonValue, RunValues
from dataforge.components.bounds import family, is_number, is_time, is_zoned, parse_instant, parse_number

PATTERN = re.compile(r"\$\{([^{}]*)\}")
FORMS = ("params.NAME", "data_interval_start", "data_interval_end", "run_id")
CURSOR = re.compile(r"\$\{cursor(?::([^{}]{1,100}))?\}")
_INTERVALS = ("data_interval_start", "data_interval_end")
_BODY = re.compile(
    r"\A(?:params\.(?P<param>[A-Za-z_][A-Za-z0-9_]{0,99})"
    r"|(?P<name>data_interval_start|data_interval_end|run_id)(?::(?P<format>[^{}]{1,100}))?)\Z"
)


@dataclass(frozen=True)
class Placeholder:
    """One `${…}`: a run parameter (`param` is set) or one of the run's own values (`name`)."""

    name: str
    param: str | None = None
    format: str | None = None

    def value(self, values: RunValues) -> JsonValue | datetime:
        """Return what it stands for, untyped; None when the run has no such value."""
        return values.params.get(self.param) if self.param else getattr(values, self.name)

    def text(self, values: RunValues) -> str | None:
        """Return what it stands for as text: instants as ISO 8601 or by the pattern; None when there is no value."""
        value = self.value(values)
        if isinstance(value, datetime):
            return value.strftime(self.format) if self.format else value.isoformat()
        if isinstance(value, bool):
            return "true" if value else "false"
        return None if value is None else str(value)


def parse_placeholder(body: str) -> Placeholder:
    """Return the placeholder with that text between `${` and `}`; ValueError when it is none."""
    match = _BODY.match(body)
    if not match or (match["format"] and match["name"] not in _INTERVALS):
        forms = ", ".join(f"${{{form}}}" for form in FORMS)
        raise ValueError(f"'${{{body[:100]}}}' is no placeholder; these are: {forms}")
    if match["param"]:
        return Placeholder("params", match["param"])
    return Placeholder(match["name"], None, match["format"])


def substitute(text: str, replace: Callable[[Placeholder], str]) -> str:
    """Return `text` with every placeholder replaced by what `replace` returns for it; `${cursor}` stays."""
    return PATTERN.sub(
        lambda match: match[0] if CURSOR.fullmatch(match[0]) else replace(parse_placeholder(match[1])), text
    )


def fill_cursor(value: JsonValue, bounds: CursorBounds | None) -> JsonValue:
    """Return a JSON value with every `${cursor}` in it replaced by where the run begins to read.

    Without such a place, texts with `${cursor}` and what is left empty by that are left out: None for the whole. A text
    that is nothing but `${cursor}` becomes a number where the cursor is one. ValueError when a pattern is given for
    what is no time.
    """
    if isinstance(value, str):
        if not CURSOR.search(value):
            return value
        if bounds is None or bounds.lower is None:
            return None
        if value == "${cursor}" and is_number(family(bounds.type)):
            number = parse_number(bounds.lower)
            return number if isinstance(number, int) else float(number)
        return CURSOR.sub(lambda match: _cursor_text(bounds, match[1]), value)
    if isinstance(value, dict):
        filled = {key: fill_cursor(item, bounds) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None or value[key] is None}
    if isinstance(value, list | tuple):
        items = [(item, fill_cursor(item, bounds)) for item in value]
        return type(value)(new for old, new in items if new is not None or old is None)
    return value


def _cursor_text(bounds: CursorBounds, pattern: str | None) -> str:
    text = bounds.lower or ""
    kind = family(bounds.type)
    if pattern is not None:
        return parse_instant(text).strftime(pattern)
    if not is_time(kind) or kind == "date":
        return text
    instant: datetime = parse_instant(text)
    return (instant if is_zoned(bounds.type) else instant.astimezone(timezone.utc).replace(tzinfo=None)).isoformat()
