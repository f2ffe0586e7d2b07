"""Types of config fields that mean the same in every component.

A value that may hold `${params.x}`, `${data_interval_start}`, `${data_interval_end}` or `${run_id}` is a
`TemplatedText` or an `SqlExpression`; everywhere else a `${` is refused. Substitution is ours: typed in SQL, escaped by
the field's own rule elsewhere (see `runtime.values`), never Jinja.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

# ASCII only and anchored with \A and \Z: Airflow's own pattern accepts "..", a trailing newline and look-alike letters.
NAME = r"\A[A-Za-z][A-Za-z0-9_.-]{0,199}\Z"
_DURATION = re.compile(r"\A(?:(\d+(?:\.\d+)?)(ms|s|m|h|d|w))+\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def check_name(text: str) -> str:
    """Return `text` when it is a name of letters, digits, `_`, `.` and `-` that begins with a letter."""
    if not re.match(NAME, text) or ".." in text:
        raise ValueError(
            f"{text!r} is not a valid name: letters, digits, '_', '.' and '-', beginning with a letter, at most 200"
        )
    return text


def check_identifier(text: str) -> str:
    """Return `text` when it can name a column: not empty, no NUL or control characters, at most 200 characters."""
    if not text or len(text) > 200 or any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise ValueError(f"{text!r} is not a valid column name: 1 to 200 characters, no control characters")
    return text


def check_table(text: str) -> str:
    """Return `text` when it is `table` or `schema.table` with names that need no quoting rules of their own."""
    parts = text.split(".")
    if len(parts) > 2 or not all(re.match(r"\A[A-Za-z_][A-Za-z0-9_$-]{0,62}\Z", part) for part in parts):
        raise ValueError(
            f"{text!r} is not a valid table: 'table' or 'schema.table', each part letters, digits, '_', '$' and '-', "
            "at most 63 characters"
        )
    return text


def parse_duration(text: object) -> timedelta:
    """Return the duration that `5m`, `1h30m`, `2d` or a number of seconds stands for."""
    if isinstance(text, timedelta):
        return text
    if isinstance(text, int | float) and not isinstance(text, bool):
        try:
            return timedelta(seconds=text)
        except (OverflowError, ValueError):
            raise ValueError(f"{text!r} is too long for a duration") from None
    if not isinstance(text, str) or not _DURATION.match(text):
        raise ValueError(f"{text!r} is not a duration: write 30s, 5m, 1h30m, 2d or a number of seconds")
    return timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text)))


def format_duration(value: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back as `value`."""
    seconds = value.total_seconds()
    for unit in ("w", "d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{seconds:g}s"


Name = Annotated[
    str, AfterValidator(check_name), Field(json_schema_extra={"pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,199}$"})
]
ConnectionId = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"x-connection": True})]
ColumnName = Annotated[str, AfterValidator(check_identifier), Field(json_schema_extra={"x-column": True})]
TableName = Annotated[str, AfterValidator(check_table)]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["5m", "1h30m"]}),
]
SqlExpression = Annotated[str, Field(min_length=1, max_length=10_000, json_schema_extra={"x-sql": "expression"})]
SqlQuery = Annotated[str, Field(min_length=1, max_length=50_000, json_schema_extra={"x-sql": "query"})]
DataType = Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"x-sql": "type"})]
TemplatedText = Annotated[str, Field(max_length=10_000, json_schema_extra={"x-templated": True})]
