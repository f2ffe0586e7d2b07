"""Texts as vectors: how alike two are, and a file that keeps them, so that no text is sent twice.

A vector says only which texts are near each other. It ranks examples and finds earlier pipelines; it never decides by
itself that two requests mean the same, since "6am" and "7am" are as near as two vectors get.
"""

from __future__ import annotations

import hashlib
import math
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from pathlib import Path

from dataforge.gateway.base import Vector
from dataforge.gateway.store import opened

MOST = 20_000
"""So many vectors are kept; the oldest go first."""


def unit(vector: Sequence[float]) -> Vector | None:
    """Return a vector with length 1; None for one without a direction, or with something in it that is no number."""
    length = math.sqrt(sum(map(mul, vector, vector)))
    return tuple(one / length for one in vector) if math.isfinite(length) and length > 0 else None


def likeness(one: Vector, other: Vector) -> float:
    """Return the cosine of two vectors of length 1; 0 where they are not of one model."""
    return sum(map(mul, one, other)) if len(one) == len(other) else 0.0


class SqliteVectors:
    """Vectors in the gateway's SQLite file, by a digest of model and text; the texts are not kept."""

    def __init__(self, path: Path, most: int = MOST) -> None:
        self._path = path
        self._most = most

    def get(self, model: str, texts: Iterable[str]) -> dict[str, Vector]:
        """Return those that are known."""
        found = {}
        with opened(self._path) as connection:
            for text in texts:
                row = connection.execute("SELECT vector FROM vectors WHERE key = ?", (_key(model, text),)).fetchone()
                if row is not None:
                    found[text] = tuple(array("f", row[0]))
        return found

    def put(self, model: str, vectors: Mapping[str, Vector]) -> None:
        """Keep some."""
        now = time.time()
        rows = [(_key(model, text), now, array("f", vector).tobytes()) for text, vector in vectors.items()]
        with opened(self._path) as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            beyond = "SELECT key FROM vectors ORDER BY kept_at DESC, key LIMIT -1 OFFSET ?"
            connection.execute(f"DELETE FROM vectors WHERE key IN ({beyond})", (self._most,))


def _key(model: str, text: str) -> str:
    return hashlib.sha256(f"{model}\0{text}".encode()).hexdigest()
