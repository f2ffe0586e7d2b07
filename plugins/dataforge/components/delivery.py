"""The values that are committed together with the rows: run, cursor, dead letters, schema contract, and the ledger.

A destination keeps a ledger beside its data: a state for each pipeline and target (cursor, epoch), a marker for each
load, dead letters, schema versions. All of it changes in the transaction that changes the rows, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from dataforge.components.fields import ColumnName

ContractMode = Literal["evolve", "freeze", "discard_row", "discard_value"]
Grade = Literal["snapshot", "ordered", "window", "unstable"]
"""What a source can prove of a read: one state of the source; a replayable order; all up to late commits; nothing."""


class SchemaContract(BaseModel):
    """What may happen to the columns of a table: one mode for all, others for single columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: ContractMode | None = Field(default=None, description="Mode of every column that is not listed.")
    columns: dict[ColumnName, ContractMode] = Field(default_factory=dict, description="Column name to its mode.")

    def over(self, other: SchemaContract | None) -> SchemaContract:
        """Return this contract, with what it leaves open taken from `other`."""
        if other is None:
            return self
        return SchemaContract(default=self.default or other.default, columns={**other.columns, **self.columns})


@dataclass(frozen=True)
class CursorPosition:
    """Up to where a source was read: the greatest value, as text of the DuckDB type `type`.

    `ties` are digests of the records that have exactly that value and were read, so that those which come later with
    the same value are told apart. Of a source that is read file by file, they are those of the files that the last
    load brought, and `seen` is the set of all (see `seen_files`); a marker does not hold it.
    """

    field: str
    value: str
    type: str
    ties: tuple[str, ...] = ()
    seen: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        found = {**asdict(self), "ties": list(self.ties)}
        if not self.seen:
            del found["seen"]
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CursorPosition:
        """Return the position that `to_json` gave."""
        return cls(value["field"], value["value"], value["type"], tuple(value.get("ties", ())), value.get("seen", ""))


Cursor = Mapping[str, CursorPosition]
"""Source name to its position; a source that is not there was not read yet."""


def cursor_to_json(cursor: Cursor) -> dict[str, Any]:
    """Return plain dicts, in the order of the names, so that equal cursors give equal text."""
    return {name: cursor[name].to_json() for name in sorted(cursor)}


def cursor_from_json(value: Mapping[str, Any] | None) -> dict[str, CursorPosition]:
    """Return the cursor that `cursor_to_json` gave; none for None."""
    return {name: CursorPosition.from_json(position) for name, position in (value or {}).items()}


@dataclass(frozen=True)
class Window:
    """The records that an interval-scoped run is about: `start` <= field < `end`, texts of the DuckDB type `type`."""

    field: str
    start: str
    end: str
    type: str = "TIMESTAMPTZ"


@dataclass(frozen=True)
class CursorStep:
    """How a run moves the cursor.

    advance     from `before`, which must still be the state at the commit, to `after`
    repeat      a run that was loaded before is read again in its own bounds; the state stays as it is
    window      a backfill of an interval; it replaces what this pipeline loaded of `window`, the state stays as it is

    `seen` is the state when a repeat or a window was read. When it has moved by the commit, another run may have loaded
    newer values of the same records in between. `windows` is how many backfills of the pipeline stood when a repeat was
    read: their intervals are theirs, and the repeat left them out.
    """

    mode: Literal["advance", "repeat", "window"]
    before: Cursor = field(default_factory=dict)
    after: Cursor = field(default_factory=dict)
    window: Window | None = None
    seen: Cursor | None = None
    windows: int | None = None

    @property
    def expected(self) -> Cursor | None:
        """The state that must still be there at the commit; None for any."""
        return self.before if self.mode == "advance" else self.seen

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts."""
        return {
            "mode": self.mode,
            "before": cursor_to_json(self.before),
            "after": cursor_to_json(self.after),
            "window": asdict(self.window) if self.window else None,
            "seen": None if self.seen is None else cursor_to_json(self.seen),
            "windows": self.windows,
        }

    def to_marker(self) -> dict[str, Any]:
        """Return what the marker of the load keeps of it: not the sets of files, which would stand in each marker."""
        before, after = (
            {name: replace(one, seen="") for name, one in cursor.items()} for cursor in (self.before, self.after)
        )
        seen = None if self.seen is None else {name: replace(one, seen="") for name, one in self.seen.items()}
        return replace(self, before=before, after=after, seen=seen).to_json()

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> CursorStep | None:
        """Return the step that `to_json` gave; None for None."""
        if value is None:
            return None
        window = Window(**value["window"]) if value.get("window") else None
        seen = None if value.get("seen") is None else cursor_from_json(value["seen"])
        before, after = cursor_from_json(value["before"]), cursor_from_json(value["after"])
        return cls(value["mode"], before, after, window, seen, value.get("windows"))


def windows_of(loads: Iterable[LoadRecord]) -> list[Window]:
    """Return the intervals of the backfills among those loads that stand."""
    steps = (CursorStep.from_json(load.cursor) for load in loads if load.undone_at is None)
    return [step.window for step in steps if step is not None and step.mode == "window" and step.window is not None]


EVERY_LOAD = 1_000_000
"""More loads than any ledger keeps of a pipeline."""

RejectStage = Literal["extract", "transform", "check", "contract", "key", "load"]


@dataclass(frozen=True)
class Reject:
    """One record that was set aside: why, where, and the record as JSON text as it was before that step.

    `stage` and `step` (index of the transform; the number of transforms for checks, keys and loads) say from where it
    can be replayed; `source` names the relation whose record it is, `position` says which in its own terms (such as
    "record 17"), and may be empty. `column` is empty where no single column is at fault. `types` is JSON text of the
    record's columns to DuckDB types as they were at that point; a replay gives the values these types again.
    """

    stage: RejectStage
    reason: str
    record: str
    source: str = ""
    step: int = 0
    column: str = ""
    position: str = ""
    types: str = ""


@dataclass(frozen=True)
class RejectLimit:
    """How many records may become dead letters: a share of the records read (0 to 1), and a number."""

    max_share: float = 0.0
    max_rows: int = 0

    @property
    def enabled(self) -> bool:
        """Whether any record may be set aside at all."""
        return self.max_share > 0 and self.max_rows > 0

    def exceeded(self, rejected: int, read: int) -> str | None:
        """Return in words why so many rejects are too many; None while they are not."""
        if rejected > self.max_rows:
            return f"{rejected:,} records were rejected; dead_letters.max_rows allows {self.max_rows:,}"
        if rejected and rejected > self.max_share * read:
            return (
                f"{rejected:,} of {read:,} records were rejected ({rejected / max(read, 1):.2%}); "
                f"dead_letters.max_share allows {self.max_share:.2%}"
            )
        return None


@dataclass(frozen=True)
class State:
    """What the ledger says of a pipeline and its target: the cursor as JSON (None: none yet) and the epoch."""

    epoch: int = 0
    cursor: Mapping[str, Any] | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True)
class LoadRecord:
    """One marker of the ledger: a committed load. `cursor` is the step as JSON; `undone_at` is set by an undo."""

    run_key: str
    run_id: str
    target: str
    disposition: str
    digest: str
    rows: int
    rejected: int
    epoch: int
    committed_at: datetime | None = None
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    cursor: Mapping[str, Any] | None = None
    schema_version: int = 0
    revision: str = ""
    actor: str = ""
    attempt: str = ""
    undone_at: datetime | None = None


@dataclass(frozen=True)
class DeadLetter:
    """One kept reject. `replayed_by` is the run key of the load that took it back in; empty until then."""

    id: str
    run_id: str
    reject: Reject
    kept_at: datetime | None = None
    replayed_by: str = ""


@dataclass(frozen=True)
class Undone:
    """What an undo did: rows removed and rows brought back, and whether the cursor went back with them."""

    run_id: str
    target: str
    removed: int
    restored: int
    cursor_moved: bool
    note: str = ""


class Ledger(Protocol):
    """What a destination keeps of one pipeline and target. Every call is one transaction of its own.

    All raise TransientError when the place is away, TerminalError when it can't be used.
    """

    def state(self) -> State:
        """Return cursor and epoch; a fresh state where nothing was loaded yet."""
        ...

    def load(self, run_id: str) -> LoadRecord | None:
        """Return the marker of a run that stands (not undone); None when there is none."""
        ...

    def loads(self, limit: int = 50) -> list[LoadRecord]:
        """Return the newest markers first, undone ones included."""
        ...

    def set_cursor(self, cursor: Mapping[str, Any] | None, actor: str) -> None:
        """Put the cursor there, None to forget it; the epoch goes up, so that a run under way is fenced off."""
        ...

    def dead_letters(
        self, run_id: str | None = None, *, pending: bool = False, ids: Iterable[str] = (), limit: int = 1000
    ) -> list[DeadLetter]:
        """Return dead letters, oldest first: of one run, or those not replayed yet, or those of the ids."""
        ...

    def dead_letter_counts(self) -> tuple[int, int]:
        """Return how many dead letters there are, and how many of them were not replayed yet."""
        ...

    def undo(self, run_id: str, actor: str) -> Undone:
        """Take a load back; TerminalError that says why, where that can't be done."""
        ...

    def sweep(self) -> list[str]:
        """Remove stage tables and files that loads which were killed left behind; return their names."""
        ...


@runtime_checkable
class Accountable(Protocol):
    """A destination that keeps a ledger."""

    def ledger(self, context: Any) -> AbstractContextManager[Ledger]:
        """Open the ledger of the pipeline (`context.dag_id`) and target (`context.target`) of a LoadContext."""
        ...
