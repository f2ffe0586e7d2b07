"""Texts of cursor values: which kinds there are, and which instants and numbers they stand for."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest

from dataforge.components.bounds import family, parse_instant, parse_number

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31", datetime(2025, 1, 31, tzinfo=UTC)),
        ("2025-01-31 06:00", datetime(2025, 1, 31, 6, tzinfo=UTC)),
        ("2025-01-31T06:00:00Z", datetime(2025, 1, 31, 6, tzinfo=UTC)),
        ("2025-01-31 06:00:00.1+00", datetime(2025, 1, 31, 6, 0, 0, 100_000, tzinfo=UTC)),
        ("2025-01-31 06:00:00.123456789", datetime(2025, 1, 31, 6, 0, 0, 123_456, tzinfo=UTC)),
        ("2025-10-26 02:30:00+02", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        ("2025-10-26 02:30:00+01:00", datetime(2025, 10, 26, 1, 30, tzinfo=UTC)),
        ("1890-01-01 00:00:00-00:53:28", datetime(1890, 1, 1, 0, 53, 28, tzinfo=UTC)),
        ("2025-01-31T06:00:00-0330", datetime(2025, 1, 31, 9, 30, tzinfo=UTC)),
    ],
)
def test_instants_are_read_in_utc(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "17", "infinity", "2025-02-30", "2025-01-31 25:00", "0001-01-01 00:00:00+02", "2025-01-31 (BC)", "10:00"],
)
def test_what_is_no_instant_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


def test_numbers_keep_all_their_digits() -> None:
    assert parse_number("9007199254740993") == 9007199254740993
    assert parse_number("10.50") == Decimal("10.50")
    assert parse_number("3.0") == 3
    assert isinstance(parse_number("3.0"), int)
    for text in ("nan", "inf", "x", ""):
        with pytest.raises(ValueError, match="number"):
            parse_number(text)


def test_types_have_kinds() -> None:
    kinds = {
        "BIGINT": "integer",
        "DECIMAL(10,2)": "decimal",
        "DOUBLE": "float",
        "DATE": "date",
        "TIMESTAMP WITH TIME ZONE": "time",
        "TIMESTAMP_NS": "time",
        "VARCHAR": "text",
        "TIME": None,
        "UUID": None,
        "INTEGER[]": None,
        "": None,
    }
    assert {type_: family(type_) for type_ in kinds} == kinds
