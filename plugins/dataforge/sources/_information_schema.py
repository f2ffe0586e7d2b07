"""Types that databases declare for columns, as the engine's types, and what asks for them."""

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
    "REAL": "DOUBLE",
    "DOUBLE": "DOUBLE",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
    "TEXT": "VARCHAR",
    "VARCHAR": "VARCHAR",
    "BLOB": "BLOB",
    "JSON": "VARCHAR",
}


SIZED = (
    "SELECT COLUMN_NAME, CASE WHEN DATA_TYPE IN ('decimal', 'numeric', 'NUMBER') AND NUMERIC_PRECISION IS NOT NULL "
    "THEN CONCAT(DATA_TYPE, '(', NUMERIC_PRECISION, ',', NUMERIC_SCALE, ')') ELSE DATA_TYPE END "
    "FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"
)
"""Asks SQL Server or Snowflake for a table's columns; `{schema}` is an expression for its schema."""


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
        elif dialect == "oracle" and kind.is_type("date"):
            found[str(name)] = "TIMESTAMP"  # Oracle's dates have a time of day
        elif dialect == "mysql" and kind.is_type("timestamptz", "timestampltz"):
            found[str(name)] = "TIMESTAMP"  # the drivers give it without an offset
        elif plain := _PLAIN.get(spelled.split("(")[0]):
            found[str(name)] = plain
    return found
