"""Cron expressions, checked field by field without a library, so that a DAG parse stays light.

The dialect is croniter's, which Airflow runs: five fields, or six with seconds last; names of months and days, ranges,
steps, lists, `L` for the last day of a month, `5#2` for the second Friday, `L5` for the last. A test compares the two.
"""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
    ("second", 0, 59, ()),
)
_PART = re.compile(r"\A(\*|[0-9]{1,4}|[a-z]{3})(?:-([0-9]{1,4}|[a-z]{3}))?(?:/([0-9]{1,4}))?\Z")


def check_cron(text: str) -> str:
    """Return `text` when it is a cron expression that fires some day; ValueError that names the wrong field."""
    fields = text.split()
    if len(fields) not in (5, 6):
        raise ValueError(
            f"{text!r} has {len(fields)} fields; cron takes 5: minute, hour, day of month, month, day of week"
        )
    days, months, weekdays = (set[int](), set[int](), "*")
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=False):
        values = _values(text, field.lower(), name, low, high, names)
        if name == "day of month":
            days = values
        elif name == "month":
            months = values
        elif name == "day of week":
            weekdays = field
    if weekdays in ("*", "?") and not any(day <= _DAYS_IN[month - 1] for day in days for month in months):
        raise ValueError(f"{text!r} never comes: no month of field 4 has a day of field 3")
    return text


def _values(text: str, field: str, name: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    """Return all values that a field stands for; a day that needs a calendar counts as the first of its kind."""
    if field == "?" and name in ("day of month", "day of week"):
        return set(range(low, high + 1))
    found: set[int] = set()
    for part in field.split(","):
        special = _special(part, name)
        if special is not None:
            found.add(special)
            continue
        match = _PART.match(part)
        if not match:
            raise ValueError(f"{text!r}: {part!r} is no {name}; write {low} to {high}, *, a range, a list or a step")
        first, last, step = match.groups()
        start = low if first == "*" else _number(text, first, name, low, high, names)
        if last is not None and first == "*":
            raise ValueError(f"{text!r}: {part!r} is no {name}; a range begins with a number")
        if last is not None:
            end = _number(text, last, name, low, high, names)
        else:
            end = high if first == "*" or step else start
        if step is not None and not 1 <= int(step) <= high:
            raise ValueError(f"{text!r}: step {step} of the {name} must be between 1 and {high}")
        if start > end and name == "second":
            raise ValueError(f"{text!r}: the range {part!r} of the {name} ends before it begins")
        span = range(start, end + 1) if start <= end else [*range(start, high + 1), *range(low, end + 1)]
        found.update([*span][:: int(step or 1)])
    return found


def _special(part: str, name: str) -> int | None:
    if name == "day of month" and part == "l":
        return 28
    if name == "day of week" and re.match(r"\A(?:l[0-7]|(?:[0-7]|[a-z]{3})#[1-5])\Z", part):
        day = part.split("#")[0]
        return 0 if not day.isalpha() or day in _DAYS else None
    return None


def _number(text: str, part: str, name: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if part.isalpha():
        if part not in names:
            raise ValueError(f"{text!r}: {part!r} is no {name}" + (f"; names are {', '.join(names)}" if names else ""))
        return names.index(part) + (1 if names is _MONTHS else 0)
    if not low <= int(part) <= high:
        raise ValueError(f"{text!r}: {name} {part} is not between {low} and {high}")
    return int(part)
