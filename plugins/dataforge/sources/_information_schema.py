"""Types that databases declare for columns, as the engine's types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_PLAIN = {
    "TINYINT": "BIGINT",
    "SMALLINT": "BIGINT",
    "MEDIUMINT": "BIGINT",
    "UTINYINT": "BIGINT",
    "USMALLINT": "BIGINT",
    "UINTEGER": "BIGINT",
    "INT": "BIGINT",
    "BIGINT": "BIGINT",
    "FLOAT": "DOUBLE",
    "DOUBLE": "DOUBLE",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
    "TEXT": "VARCHAR",
    "VARCHAR": "VARCHAR",
    "BLOB": "BLOB",
    "JSON": "VARCHAR",
}


def declared_types(columns: Iterable[Sequence[Any]], dialect: str) -> dict[str, str]:
    """Return DuckDB's types for (name, type) pairs; a column of a type that has no plain counterpart is left out."""
    import sqlglot
    from sqlglot import exp

    found = {}
    for name, type_, *_ in columns:
        text = type_.decode() if isinstance(type_, bytes) else str(type_)
        try:
            kind = exp.DataType.build(text, dialect=dialect)
        except (sqlglot.errors.SqlglotError, ValueError):
            continue
        spelled = kind.sql("duckdb").upper().replace(" ", "")
        if kind.is_type(*exp.DataType.NUMERIC_TYPES) and spelled.startswith(("DECIMAL(", "NUMERIC(")):
            digits = [int(size.name) for size in kind.expressions]
            precision, scale = digits[0], digits[1] if len(digits) > 1 else 0
            if precision <= 38:
                found[str(name)] = f"DECIMAL({precision},{scale})"
        elif dialect == "mysql" and kind.is_type("timestamptz", "timestampltz"):
            found[str(name)] = "TIMESTAMP"  # the drivers give it without an offset
        elif plain := _PLAIN.get(spelled.split("(")[0]):
            found[str(name)] = plain
    return found
