"""What a scenario found: figures of the contestants, and how they stand to the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Line:
    """One line of a scenario's table: a contestant and its figures, by column title."""

    name: str
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class Target:
    """A ratio or figure that must be reached."""

    what: str
    value: float
    sign: Literal[">=", "<=", ">"]
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the value reaches the limit."""
        if self.sign == "<=":
            return self.value <= self.limit
        return self.value >= self.limit if self.sign == ">=" else self.value > self.limit


@dataclass(frozen=True)
class Outcome:
    """One scenario's result. `failed` tells why there is none."""

    scenario: str
    title: str
    lines: tuple[Line, ...] = ()
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with each target's verdict."""
        value = asdict(self)
        value["targets"] = [{**asdict(target), "met": target.met} for target in self.targets]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """Return what `to_json` gave."""
        targets = tuple(
            Target(**{name: part for name, part in target.items() if name != "met"}) for target in value["targets"]
        )
        lines = tuple(Line(line["name"], line["figures"]) for line in value["lines"])
        return cls(value["scenario"], value["title"], lines, targets, tuple(value["notes"]), value["failed"])
