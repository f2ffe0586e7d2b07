"""dlt resources for the tests, as a package would bring them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import dlt
import pyarrow as pa
import requests

BOOKS = [
    {"id": 1, "title": "a", "price": Decimal("1.10"), "changed_at": datetime(2025, 1, 1, tzinfo=timezone.utc)},
    {"id": 2, "title": "b", "price": Decimal("20"), "changed_at": datetime(2025, 1, 2, tzinfo=timezone.utc)},
]
CHANGED: Any = dlt.sources.incremental("changed_at")


@dlt.resource(name="books", primary_key="id")
def books(most: int = 100, token: str = "", changed_at: Any = CHANGED) -> Iterator[list[dict[str, Any]]]:
    """Give books, those that are new by dlt's own incremental loading."""
    if token:
        yield [{"id": len(token), "title": "token", "changed_at": datetime(2025, 2, 1, tzinfo=timezone.utc)}]
    yield BOOKS[:most]


@dlt.resource
def tables() -> Iterator[pa.Table]:
    """Give Arrow tables."""
    for start in (0, 2):
        yield pa.table({"id": pa.array([start, start + 1], pa.int32()), "price": [Decimal("1.10"), None]})


@dlt.resource
def broken(kind: str, token: str = "") -> Iterator[Any]:
    """Break."""
    if kind == "token":
        raise requests.HTTPError(f"401 Client Error for url: https://api.example/x?key={quote(token, safe='')}")
    if kind == "away":
        raise requests.ConnectionError("no route")
    if kind == "mixed":
        yield {"id": 1}
        yield pa.table({"id": [1]})
    unheld: dict[str, Any] = {}
    yield 1 if kind == "number" else unheld[kind]


@dlt.source
def shelf(most: int) -> Any:
    """Give both resources."""
    return books(most), tables()
