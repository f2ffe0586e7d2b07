"""Rows as the databases give them, made equal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


def aware(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row's values; SQLite gives instants back without their zone, which is UTC."""
    return {
        str(key): value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) and value.tzinfo is None else value
        for key, value in row.items()
    }
