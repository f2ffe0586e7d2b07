"""`${…}` in a config: what it names, and the text it stands for.

`${params.region}`, `${data_interval_start}`, `${data_interval_end}` (each also with a strftime pattern:
`${data_interval_start:%Y/%m/%d}`) and `${run_id}`. Nothing else; there is no nesting and no default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dataforge.components.base import JsonValue, RunValues

PATTERN = re.compile(r"\$\{([^{}]*)\}")
FORMS = ("params.NAME", "data_interval_start", "data_interval_end", "run_id")
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
    """Return `text` with every placeholder replaced by what `replace` returns for it."""
    return PATTERN.sub(lambda match: replace(parse_placeholder(match[1])), text)
