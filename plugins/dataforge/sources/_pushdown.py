"""What a database can leave out by itself of a read by cursor: conditions on the query, as typed literals.

They may let records through that are not wanted, never the reverse: the runtime filters exactly. So a text that does
not fit the column's type gives no condition, and where a driver or database rounds, the bound is moved out by more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dataforge.components.base import CursorBounds
from dataforge.components.bounds import family, is_number, is_time, parse_instant, parse_number

if TYPE_CHECKING:
    from sqlglot import exp

ROWS = "dataforge_rows"
_SLACK = timedelta(seconds=1)
_FLOAT_SLACK = 1e-6
POSTGRES_TYPES = {
    "smallint": "bigint",
    "integer": "bigint",
    "bigint": "bigint",
    "int2": "bigint",
    "int4": "bigint",
    "int8": "bigint",
    "numeric": "numeric",
    "float4": "real",
    "real": "real",
    "float8": "double precision",
    "double precision": "double precision",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "text": "text",
    "varchar": "text",
    "character varying": "text",
}
"""Types of PostgreSQL that a bound is pushed down to, and the type that its literal gets."""


def spelled(names: list[str], field: str) -> str | None:
    """Return the column's name as the database spells it; None when it has no such column."""
    if field in names:
        return field
    return next((name for name in names if name.lower() == field.lower()), None)


def sampled(query: str, dialect: str, rows: int) -> str:
    """Return the query for the first rows of a query, in the dialect's own way to say so."""
    from sqlglot import exp

    select = exp.select("*").from_(exp.to_table(ROWS)).limit(rows).sql(dialect)
    return select.replace(ROWS, f"(\n{query}\n) {ROWS}")


def limited(query: str, dialect: str | None, column: str, bounds: CursorBounds, literal: Literals) -> str | None:
    """Return the query with the bounds as a condition around it; None where there is nothing to push down."""
    from sqlglot import exp

    low = literal(bounds.lower, False) if bounds.lower is not None else None
    high = literal(bounds.upper, True) if bounds.upper is not None else None
    if low is None and high is None:
        return None
    name = exp.column(exp.to_identifier(column, quoted=True))
    parts: list[exp.Expr] = []
    for value, kind in ((low, exp.GTE), (high, exp.LTE)):
        if value is not None:
            place: exp.Expr = name.copy()
            if bounds_are_text(bounds) and dialect in _BINARY:
                place = exp.Collate(this=place, expression=exp.to_identifier(_BINARY[dialect], quoted=True))
            parts.append(kind(this=place, expression=value))
    condition: exp.Expr = exp.and_(*parts)
    if bounds.nulls:
        condition = exp.or_(condition, exp.Is(this=name.copy(), expression=exp.Null()))
    return f"SELECT * FROM (\n{query}\n) {ROWS} WHERE {condition.sql(dialect)}"


Literals = Callable[[str, bool], "exp.Expr | None"]
"""Makes the literal of a bound (its text, whether it is the upper one); None for what can't be pushed down."""

_BINARY = {"postgres": "C", "sqlite": "BINARY"}
"""How a dialect names the order of texts by their bytes, which is the runtime's."""


def bounds_are_text(bounds: CursorBounds) -> bool:
    """Whether the bounds are compared as texts."""
    return family(bounds.type) == "text"


def postgres_literals(server_type: str, bounds: CursorBounds) -> Literals | None:
    """Return what makes literals for a column of that type; None for a type that bounds can't be pushed down to."""
    from sqlglot import exp

    target = POSTGRES_TYPES.get(server_type)
    given = family(bounds.type)
    is_text = target == "text"
    if target is None or is_text != (given == "text"):
        return None
    if given is not None and is_time(given) != (target in ("date", "timestamp", "timestamptz")):
        return None

    def literal(text: str, upper: bool) -> exp.Expr | None:  # noqa: ARG001 both ends are exact here
        type_, value = target, text
        try:
            if target in ("bigint", "numeric"):
                number = parse_number(text)
                value = format(number, "f") if isinstance(number, Decimal) else str(number)
                type_ = "bigint" if isinstance(number, int) and abs(number) < 1 << 63 else "numeric"
            elif target in ("real", "double precision"):
                value = repr(float(text))
            elif target == "date":
                value = parse_instant(text).date().isoformat()
            elif target in ("timestamp", "timestamptz"):
                clock = parse_instant(text).replace(tzinfo=None).isoformat(sep=" ")
                value = f"{clock}+00" if target == "timestamptz" else clock
        except (ValueError, OverflowError):
            return None
        if "\0" in value:
            return None
        return exp.cast(exp.Literal.string(value), exp.DataType.build(type_, dialect="postgres"))

    return literal


def driver_literals(example: Any, dialect: str, bounds: CursorBounds) -> Literals | None:
    """Return what makes literals like a value that a driver gave; None where the bound can't be told in its terms."""
    from sqlglot import exp

    kind = family(bounds.type)
    if example is None or isinstance(example, bool):
        return None
    if isinstance(example, int | float | Decimal):
        if kind is not None and not is_number(kind):
            return None
        rounds = isinstance(example, float) or kind == "float"
        return lambda text, upper: _number(text, upper, rounds=rounds)
    if isinstance(example, datetime):
        if kind is not None and not is_time(kind):
            return None
        zoned = example.tzinfo is not None
        return lambda text, upper: _instant(text, upper, dialect, zoned=zoned)
    if isinstance(example, date):
        if kind is not None and not is_time(kind):
            return None
        return lambda text, upper: _date(text, upper)
    if isinstance(example, str) and kind == "text" and dialect in _BINARY:
        return lambda text, upper: exp.Literal.string(text) if "\0" not in text else None  # noqa: ARG005
    return None


def _number(text: str, upper: bool, *, rounds: bool) -> exp.Expr | None:
    from sqlglot import exp

    try:
        value = parse_number(text)
        if rounds:
            slack = abs(float(value)) * _FLOAT_SLACK
            value = Decimal(repr(float(value) + (slack if upper else -slack)))
    except (ValueError, OverflowError):
        return None
    number = exp.Literal.number(format(abs(value), "f"))
    return exp.Neg(this=number) if value < 0 else number


def _instant(text: str, upper: bool, dialect: str, *, zoned: bool) -> exp.Expr | None:
    from sqlglot import exp

    try:
        value = parse_instant(text).replace(microsecond=0) + (2 * _SLACK if upper else -_SLACK)
    except (ValueError, OverflowError):
        return None
    clock = value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(sep=" ")
    if zoned:
        return exp.cast(exp.Literal.string(f"{clock}+00:00"), exp.DataType.Type.TIMESTAMPTZ)
    if dialect in ("mysql", "sqlite"):
        return exp.Literal.string(clock)
    return exp.cast(exp.Literal.string(clock), exp.DataType.Type.TIMESTAMP)


def _date(text: str, upper: bool) -> exp.Expr | None:
    from sqlglot import exp

    try:
        value = parse_instant(text).date() + timedelta(days=1 if upper else 0)
    except (ValueError, OverflowError):
        return None
    return exp.cast(exp.Literal.string(value.isoformat()), exp.DataType.Type.DATE)
