"""What a converter returns: configs, and the gaps between what was described and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gap:
    """One thing that a config does not say, or says by a guess.

    `place` is where it stands in the imported file (keys and indexes joined by "/", or a line), `what` what could not
    be said, `remedy` what a person can do about it. None of them holds a secret value.
    """

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} -> {self.remedy}"


@dataclass(frozen=True)
class Imported:
    """Whole pipeline configs, as they would stand in files, and what they lack."""

    configs: tuple[Mapping[str, Any], ...]
    gaps: tuple[Gap, ...] = ()
