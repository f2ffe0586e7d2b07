"""Which SQL type holds all values of a column unchanged: the widening lattice. `runtime.inference` has it as SQL.

What was seen of a column is a `Seen`: the set of kinds of its values and the most digits before and after the point.
Joining two is a union and two maxima, so the order of rows, pages and files never matters. Only at the end does
`Seen.type` choose a type:

    nothing                         VARCHAR (nothing is known)
    bool                            BOOLEAN
    int                             BIGINT, or DECIMAL(38,0) beyond 64 bits
    int, decimal                    DECIMAL(18,s) or DECIMAL(38,s), s the most digits after the point
    int, decimal, float             DOUBLE, if every number without exponent survives it digit by digit
    date / date, timestamp          DATE / TIMESTAMP
    timestamptz                     TIMESTAMPTZ (an instant; mixed with local times it is text)
    json                            JSON
    anything else                   VARCHAR

Texts (CSV) are numbers, dates and so on only in their one canonical form: `007`, `+5`, ` 5`, `1_000`, `nan`,
`infinity`, `2024-1-2`, `24:00` are text, and one such value makes its column text. `true` and `false` in any case are
bool. Dates are YYYY-MM-DD from year 1 to 9999; timestamps add `T` or a space, HH:MM, seconds and up to six digits.
A number with an exponent is a binary float, its nearest double.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any
from uuid import UUID

BOOL, INT, WIDE, DECIMAL, FLOAT = 1, 2, 4, 8, 16
DATE, TIMESTAMP, TIMESTAMPTZ, TEXT, JSON = 32, 64, 128, 256, 512
TIME, BLOB, UUID_ = 1024, 2048, 4096
INEXACT = 1 << 20
"""Not a kind: some number without exponent would lose digits in a double."""

MAX_PRECISION = 38
SAFE_DIGITS = 15
"""Every decimal number of so many digits survives the way into a double and back."""

INT_FORM = r"-?(0|[1-9][0-9]*)"
FIXED_FORM = rf"{INT_FORM}(\.[0-9]+)?"
NUMBER_FORM = rf"{FIXED_FORM}([eE][+-]?[0-9]+)?"
DAY_FORM = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
LOCAL_FORM = rf"{DAY_FORM}[ T]{_CLOCK}"
_OFFSET = r"(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
INSTANT_FORM = rf"{LOCAL_FORM}{_OFFSET}"

_RE_NUMBER = re.compile(NUMBER_FORM)
_RE_TEMPORAL = re.compile(rf"({DAY_FORM})(?:([ T])({_CLOCK})({_OFFSET})?)?")


@dataclass(frozen=True)
class Seen:
    """What was seen of a column: a bit set of kinds, and the most digits before and after the decimal point."""

    kinds: int = 0
    digits: int = 0
    scale: int = 0

    def __or__(self, other: Seen) -> Seen:
        return Seen(self.kinds | other.kinds, max(self.digits, other.digits), max(self.scale, other.scale))

    @property
    def type(self) -> str:
        """The narrowest SQL type, in DuckDB's spelling, that holds everything seen unchanged."""
        kinds = self.kinds & ~INEXACT
        if simple := _SIMPLE.get(kinds):
            return simple
        if kinds and not kinds & ~(INT | WIDE | DECIMAL):
            if self.digits + self.scale <= MAX_PRECISION:
                # Room above the data: tomorrow's larger amount must not need another type.
                narrow = self.digits + self.scale <= 18 and not kinds & WIDE
                return f"DECIMAL({18 if narrow else MAX_PRECISION},{self.scale})"
            return "VARCHAR" if self.kinds & INEXACT else "DOUBLE"
        if kinds and not kinds & ~(INT | WIDE | DECIMAL | FLOAT):
            return "VARCHAR" if self.kinds & INEXACT else "DOUBLE"
        return "VARCHAR"


_SIMPLE = {
    BOOL: "BOOLEAN",
    INT: "BIGINT",
    FLOAT: "DOUBLE",
    DATE: "DATE",
    TIMESTAMP: "TIMESTAMP",
    DATE | TIMESTAMP: "TIMESTAMP",
    TIMESTAMPTZ: "TIMESTAMPTZ",
    TIME: "TIME",
    BLOB: "BLOB",
    UUID_: "UUID",
    JSON: "JSON",
    TEXT: "VARCHAR",
}


def join(seen: Iterable[Seen]) -> Seen:
    """Return what was seen in all."""
    return reduce(lambda left, right: left | right, seen, Seen())


def see_text(text: str | None) -> Seen:
    """Return what one CSV field is; None is no value."""
    if text is None:
        return Seen()
    if _RE_NUMBER.fullmatch(text):
        return _see_number(text)
    if text.lower() in ("true", "false"):
        return Seen(BOOL)
    return see_string(text)


def see_string(text: str) -> Seen:
    """Return what one JSON string is: a date, a timestamp, an instant, or text."""
    match = _RE_TEMPORAL.fullmatch(text)
    if match is None:
        return Seen(TEXT)
    try:
        date.fromisoformat(match[1])
    except ValueError:
        return Seen(TEXT)
    if match[2] is None:
        return Seen(DATE)
    if match[7] is None:
        return Seen(TIMESTAMP)
    return Seen(TIMESTAMPTZ if _in_range(text) else TEXT)


def _in_range(text: str) -> bool:
    """Whether an instant, moved to UTC, is still in the years 1 to 9999."""
    return text[:4] not in ("0001", "9999") or text[5:10] not in ("01-01", "12-31")


def see_value(value: Any) -> Seen:
    """Return what one value of a database driver is; its strings are text, whatever they look like."""
    if value is None:
        return Seen()
    if isinstance(value, bool):
        return Seen(BOOL)
    if isinstance(value, int):
        return _see_number(str(value)) if abs(value) < 10**40 else Seen(TEXT)
    if isinstance(value, float):
        return Seen(FLOAT)
    if isinstance(value, Decimal):
        return _see_number(format(value, "f")) if value.is_finite() else Seen(TEXT)
    if isinstance(value, datetime):
        return Seen(TIMESTAMP if value.tzinfo is None else TIMESTAMPTZ)
    for type_, kind in _PYTHON_KINDS:
        if isinstance(value, type_):
            return Seen(kind)
    return Seen(TEXT)


_PYTHON_KINDS: tuple[tuple[Any, int], ...] = (
    (date, DATE),
    (time, TIME),
    (timedelta, TEXT),
    ((bytes, bytearray, memoryview), BLOB),
    (UUID, UUID_),
    ((dict, list, tuple), JSON),
)


def _see_number(text: str) -> Seen:
    if "e" in text or "E" in text:
        value = float(text)
        mantissa = re.split("[eE]", text)[0]
        lost = math.isinf(value) or (value == 0 and mantissa.strip("-0.") != "")
        return Seen(TEXT if lost else FLOAT)
    whole, _, fraction = text.partition(".")
    digits = len(whole.lstrip("-0"))
    exact = len(text.replace(".", "").lstrip("-0")) <= SAFE_DIGITS or repr(float(text)) == text
    flag = 0 if exact else INEXACT
    if fraction:
        return Seen(DECIMAL | flag, digits, len(fraction))
    return Seen((INT if -(2**63) <= int(text) < 2**63 else WIDE) | flag, digits)


def see_values(values: Sequence[Any]) -> Seen:
    """Return what many values of a database driver are together; whole columns of one kind are seen at once."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return Seen()
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind is str:
            return Seen(TEXT)
        if kind is float:
            return Seen(FLOAT)
        if kind is bool:
            return Seen(BOOL)
        if kind is date:
            return Seen(DATE)
        if kind is bytes:
            return Seen(BLOB)
        if kind is int:
            present = [value for value in values if value is not None]
            return see_value(min(present)) | see_value(max(present))
    return join(map(see_value, values))
