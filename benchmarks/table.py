"""Results as text for a terminal and as the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.outcome import Outcome, Target

ABOUT = """Made by `benchmarks/run --page`, which installs what it measures, starts its own PostgreSQL, lets the
contestants take turns, and counts from process start to process end. Seconds are medians; memory is the highest peak of
the contestant's largest process. Run it on your machine: the ratios matter, not the seconds."""


def text(outcome: Outcome) -> str:
    """Return one scenario's result for a terminal."""
    parts = [f"\n{outcome.scenario}: {outcome.title}"]
    if outcome.failed:
        return "\n".join([*parts, f"  FAILED: {outcome.failed}"])
    if outcome.lines:
        parts += aligned(*_cells(outcome))
    if outcome.targets:
        parts += ["", *aligned(["target", "is", "wanted", ""], [target_cells(target) for target in outcome.targets])]
    parts += [f"  note: {note}" for note in outcome.notes]
    return "\n".join(parts)


def page(measured: Iterable[tuple[Outcome, str]], machine: Mapping[str, Any]) -> str:
    """Return docs/benchmarks.md, given each outcome with the time it was measured."""
    measured = tuple(measured)
    targets = [target for outcome, _ in measured for target in outcome.targets]
    missed = [target for target in targets if not target.met]
    parts = [
        "# Benchmarks",
        "",
        ABOUT,
        "",
        f"{len(targets) - len(missed)} of {len(targets)} targets met.",
        "",
        *markdown(["", ""], [[name, str(value)] for name, value in machine.items()]),
    ]
    for outcome, made in measured:
        parts += ["", f"## {outcome.scenario}", "", outcome.title, "", f"Measured {made}."]
        if outcome.failed:
            parts += ["", f"This scenario failed: {outcome.failed.splitlines()[0]}"]
            continue
        if outcome.lines:
            parts += ["", *markdown(*_cells(outcome))]
        if outcome.targets:
            parts += [
                "",
                *markdown(["target", "is", "wanted", ""], [target_cells(target) for target in outcome.targets]),
            ]
        for note in outcome.notes:
            parts += ["", note]
    return "\n".join(parts) + "\n"


def _cells(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    titles = list(dict.fromkeys(title for line in outcome.lines for title in line.figures))
    rows = [[line.name, *(_number(line.figures.get(title)) for title in titles)] for line in outcome.lines]
    return ["", *titles], rows


def target_cells(target: Target) -> list[str]:
    """Return a target's line: what, is, wanted, and whether it is met."""
    value, limit = (f"{_number(number)} {target.unit}".strip() for number in (target.value, target.limit))
    return [target.what, value, f"{target.sign} {limit}", "met" if target.met else "MISSED"]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1000 and not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def aligned(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (titles, *rows)
    ]


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table in Markdown."""
    lines = [titles, ["---", *("---:" for _ in titles[1:])], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
