"""Values of cursors as texts: the kinds that can be compared, and what a text of one kind stands for.

A cursor is kept as the text that DuckDB gives for the value. Times are compared as instants, and what has no offset is
UTC, so the clocks of summer and winter never make a cursor go back.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Literal

Family = Literal["integer", "decimal", "float", "date", "time", "text"]

_INTEGERS = frozenset(
    "TINYINT SMALLINT INTEGER INT BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT".split()  # noqa: SIM905
)
_TIMES = frozenset(
    ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATETIME")
)
_INSTANT = re.compile(
    r"\A\s*(\d{4})-(\d\d)-(\d\d)"
    r"(?:[ Tt](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?\s*\Z"
)


def family(type_: str) -> Family | None:
    """Return the kind of a DuckDB type; None for types that no cursor can have."""
    name = type_.upper().strip()
    if name in _INTEGERS:
        return "integer"
    if name.startswith("DECIMAL"):
        return "decimal"
    if name in ("DOUBLE", "FLOAT", "REAL"):
        return "float"
    if name in _TIMES:
        return "time"
    return "date" if name == "DATE" else "text" if name in ("VARCHAR", "TEXT") else None


def is_zoned(type_: str) -> bool:
    """Whether a type of times holds instants, not clock readings."""
    return type_.upper() in ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")


def is_number(kind: Family | None) -> bool:
    """Whether values of that kind are numbers."""
    return kind in ("integer", "decimal", "float")


def is_time(kind: Family | None) -> bool:
    """Whether values of that kind are times or dates."""
    return kind in ("time", "date")


def parse_instant(text: str) -> datetime:
    """Return the instant of an ISO 8601 text or of DuckDB's own, in UTC; what has no offset is UTC. Else ValueError.

    Digits behind the microsecond are dropped.
    """
    match = _INSTANT.match(text)
    if not match:
        raise ValueError(f"{text!r} is no date or time; write it like '2025-01-31' or '2025-01-31T06:00:00Z'")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, zone = match.groups()[6:]
    micro = int((fraction or "").ljust(6, "0")[:6] or 0)
    value = datetime(year, month, day, hour, minute, second, micro, tzinfo=timezone.utc)
    try:
        return value - _offset(zone)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside of the years 1 to 9999") from None


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone[0] not in "+-":
        return timedelta()
    parts = re.findall(r"\d\d", zone)
    seconds = sum(int(part) * size for part, size in zip(parts, (3600, 60, 1)))  # noqa: B905 as many as there are
    return timedelta(seconds=-seconds if zone[0] == "-" else seconds)


def parse_number(text: str) -> int | Decimal:
    """Return the number of a text; ValueError when it is none, or none that is finite."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{text!r} is no finite number")
    return int(number) if number == number.to_integral_value() and abs(number) < Decimal(10) ** 38 else number
