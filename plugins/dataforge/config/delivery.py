"""The letter: which delivery guarantee a config has, why, and what would make it better.

A guarantee is no better than the weakest of three: what the sources prove of a read, where the destination makes a load
true, and whether rows that are read twice can be recognised. Light: a DAG parse asks for it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dataforge.components.base import Capabilities, DestinationConfig, SourceConfig
from dataforge.components.registry import DESTINATIONS
from dataforge.config.pipeline import PipelineConfig

Letter = Literal["E", "M", "K", "A", "B"]

WORDS: dict[Letter, str] = {
    "E": "exactly-once effect",
    "M": "exactly-once through the commit point",
    "K": "exactly-once effect by key",
    "A": "at least once",
    "B": "completeness unproved",
}

MEANINGS: dict[Letter, str] = {
    "E": "After a reported success the target equals one undisturbed run; after a failure it is as it was before. "
    "Kills, retries, lost answers, twin attempts and runs at once change nothing about that.",
    "M": "The same, for whoever reads through the manifest or pointer that commits a load. Somebody who lists the "
    "files may see a load that is under way.",
    "K": "The same for each key: records that are read twice are recognised by their primary key. Records that appear "
    "later than the lookback are not read.",
    "A": "Nothing is lost, but a record may be there more than once; the run column says which run brought it.",
    "B": "What is read arrives as under the better letters, but the way of reading can't prove that it saw every "
    "record.",
}

_INTERVAL = "${data_interval_"
_KEY_HINT = "set write_disposition to 'merge' with a primary_key, so that records read twice are recognised"
_LATE_HINT = "add 'lookback', together with write_disposition 'merge' and a primary_key"


@dataclass(frozen=True)
class Delivery:
    """The guarantee of one destination of a config; `improvements` say what would make it better, best first."""

    destination: int
    letter: Letter
    reason: str
    improvements: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The letter in words."""
        return WORDS[self.letter]

    def __str__(self) -> str:
        """Return words, letter and reason as one sentence."""
        return f"{self.words} ({self.letter}): {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "destination": self.destination,
            "letter": self.letter,
            "words": self.words,
            "reason": self.reason,
            "improvements": list(self.improvements),
        }


@dataclass(frozen=True)
class Reading:
    """What a way of reading proves.

    whole     one state of the source, or a replayable order
    again     all records, some of them perhaps twice
    unproved  records may be missing, and nothing tells
    """

    proof: Literal["whole", "again", "unproved"]
    reason: str = ""
    improvements: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Greater is worse."""
        return ("whole", "again", "unproved").index(self.proof)


def letter(config: PipelineConfig) -> tuple[Delivery, ...]:
    """Return the delivery guarantee of each destination, in order."""
    readings = [reading(source, name, config) for name, source in config.inputs.items()]
    worst = max(readings, key=lambda one: one.rank)
    return tuple(_delivery(index, target, worst) for index, target in enumerate(config.outputs))


def reading(source: SourceConfig, name: str, config: PipelineConfig) -> Reading:
    """Return what reading this source in the way its config says proves."""
    who = f"source {source.type!r}" if config.source is not None else f"source {name!r}"
    grade = source.grade()
    if grade == "unstable":
        return Reading("unproved", *_unstable(source, who))
    if source.incremental() == "only_new":
        return Reading(
            "again",
            f"{who} reads each file once, however late it comes, but one that is replaced is read whole again",
        )
    if source.cursor_field is not None:
        field = source.cursor_field
        if source.lookback is None:
            return Reading(
                "unproved",
                f"each record that {who} gives arrives exactly once, but one that appears after a greater {field!r} "
                "was loaded, such as by a late commit, is never read",
                (_LATE_HINT,),
            )
        return Reading(
            "again",
            f"{who} reads again what is less than {_span(source.lookback)} before the cursor, which finds records "
            "that are up to so late",
        )
    if _reads_interval(source):
        return Reading(
            "unproved",
            f"{who} reads one data interval, so records that appear in it after its run are never read",
            ("use 'cursor_field' with 'lookback' instead, with write_disposition 'merge' and a primary_key",),
        )
    if grade == "window":
        return Reading("again", f"records of {who} may change places while they are read, and then come twice")
    return Reading("whole")


def _unstable(source: SourceConfig, who: str) -> tuple[str, tuple[str, ...]]:
    kind = getattr(getattr(source, "pagination", None), "type", "")
    if kind in ("page", "offset"):
        return (
            f"{who} counts its way through pages ({kind}), so a record that moves while they are read is missed unseen",
            ("use a pagination of type 'cursor', 'next_url' or 'link_header', where the API has one",),
        )
    return f"{who} can't prove that it gave every record", ()


def _span(value: object) -> str:
    seconds = getattr(value, "total_seconds", None)
    if seconds is None:
        return f"{value}"
    number = seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if number >= size and number % size == 0:
            return f"{number // size:.0f}{unit}"
    return f"{number:g}s"


def _reads_interval(source: SourceConfig) -> bool:
    """Whether the records, and not only the place that they are in, depend on the run's data interval."""
    return any(
        _mentions(getattr(source, name, None))
        for name in type(source).model_fields
        if name not in ("type", "path", "columns")
    )


def _mentions(value: object) -> bool:
    if isinstance(value, str):
        return _INTERVAL in value
    if isinstance(value, Mapping):
        return any(map(_mentions, value.values()))
    return isinstance(value, list | tuple) and any(map(_mentions, value))


def capabilities(target: DestinationConfig) -> Capabilities:
    """Return what the destination of that config can do."""
    # mostly they stand at the class, and are known where its packages are not installed
    found = getattr(DESTINATIONS.get(target.type).cls, "capabilities", None)
    return found if isinstance(found, Capabilities) else DESTINATIONS.build(target).capabilities


def _delivery(index: int, target: DestinationConfig, read: Reading) -> Delivery:
    commit = capabilities(target).commit
    merged = target.write_disposition == "merge"
    if read.proof == "unproved":
        return Delivery(index, "B", read.reason, read.improvements)
    if commit == "none":
        reason = f"destination {target.type!r} keeps no marker of a load, so a repeated one is done again"
        return Delivery(index, "A", reason, ("use a destination that keeps load markers, such as postgres or duckdb",))
    if read.proof == "again":
        if merged:
            return Delivery(index, "K", f"{read.reason}; those that come twice are recognised by their key")
        doubled = "adds them once more" if target.write_disposition == "append" else "writes both"
        return Delivery(index, "A", f"{read.reason}; {target.write_disposition!r} {doubled}", (_hint_of(target),))
    if commit == "keys" and merged:
        return Delivery(
            index,
            "K",
            "each row is written under its key and the load marker after them: a load that fails may leave some of its "
            "rows, which the next try writes again",
            ("use a table destination, where every reader sees all rows of a load or none",),
        )
    if commit in ("manifest", "keys"):
        return Delivery(
            index,
            "M",
            target.commit_point()
            or "all files of a load become true at once, by one manifest; who lists files may see a load under way",
            ("use a table destination, where every reader sees all rows of a load or none",),
        )
    return Delivery(index, "E", "; ".join(_exact(target)))


def _hint_of(target: DestinationConfig) -> str:
    if "merge" in capabilities(target).dispositions:
        return _KEY_HINT
    return f"use a table destination, and {_KEY_HINT}"


def _exact(target: DestinationConfig) -> Iterator[str]:
    yield "rows, load marker and cursor are one transaction"
    if target.write_disposition == "replace":
        yield "readers see the rows of one run, whole"
    elif target.write_disposition == "merge":
        yield "each key is brought up to date once"
    elif getattr(target, "run_column", None) is None:
        yield "a run that is repeated with other rows is refused, since no run_column tells its rows from others"
    else:
        yield "a run that is repeated replaces its own rows"
