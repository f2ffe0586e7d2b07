"""Values of a cursor, as people write them: read, checked and compared by the engine that reads the cursor later."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from dataforge.errors import TerminalError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from sqlglot import exp

GUESSES = ("BIGINT", "DECIMAL(38,9)", "DATE", "TIMESTAMPTZ")
"""Types that a text is tried as, in this order, when nothing says which it has."""


def typed(text: str, type_: str | None = None) -> tuple[str, str]:
    """Return (DuckDB type, the value as that type writes it); the type is guessed when None.

    TerminalError when the text is no value of the type.
    """
    with closing(_engine()) as con:
        if type_ is not None:
            value = _cast(con, text, type_)
            if value is None:
                raise TerminalError(f"{text!r} is no value of type {type_}, which the cursor has")
            return type_, value
        for guess in GUESSES:
            value = _cast(con, text, guess)
            if value is not None and not (guess == "DATE" and len(text) > len("2024-01-01")):
                return guess, value
    return "VARCHAR", text


def compare(one: str, other: str, type_: str) -> int:
    """Return -1, 0 or 1: whether the first value of a type is below, equal to or above the second."""
    from sqlglot import exp

    with closing(_engine()) as con:
        kind = _type(type_)
        first, second = (exp.cast(exp.Literal.string(value), kind) for value in (one, other))
        query = exp.select(exp.LT(this=first, expression=second), exp.GT(this=first.copy(), expression=second.copy()))
        found = con.execute(query.sql("duckdb")).fetchone()
    below, above = found or (False, False)
    return -1 if below else 1 if above else 0


def _engine() -> DuckDBPyConnection:
    import duckdb

    con = duckdb.connect(config={"threads": 1, "enable_external_access": "false"})
    con.execute("SET TimeZone = 'UTC'")
    return con


def _type(type_: str) -> exp.DataType:
    from sqlglot import exp
    from sqlglot.errors import ParseError

    try:
        return exp.DataType.build(type_, dialect="duckdb")
    except ParseError:
        raise TerminalError(f"{type_!r} is no type of a cursor") from None


def _cast(con: DuckDBPyConnection, text: str, type_: str) -> str | None:
    from sqlglot import exp

    value = exp.TryCast(this=exp.Literal.string(text), to=_type(type_))
    found = con.execute(exp.select(exp.cast(value, "varchar")).sql("duckdb")).fetchone()
    return str(found[0]) if found and found[0] is not None else None
