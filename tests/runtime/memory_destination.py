"""A destination in the memory of the test's process, with the whole protocol of a ledger: fence, marker, cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from dataforge.components.base import Capabilities, DestinationConfig, Incoming, LoadContext, LoadReport
from dataforge.components.delivery import (
    DeadLetter,
    LoadRecord,
    Reject,
    State,
    Undone,
    cursor_to_json,
)
from dataforge.errors import FencedError


class MemoryConfig(DestinationConfig):
    """Config of the memory destination."""

    type: Literal["memory"] = "memory"
    table: str = "t"
    primary_key: tuple[str, ...] = ()

    def asset(self) -> str | None:
        """Return the table."""
        return f"dataforge://memory/{self.table}"


@dataclass
class Held:
    """What one target holds."""

    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    state: State = field(default_factory=State)
    markers: dict[str, LoadRecord] = field(default_factory=dict)
    rejects: dict[str, list[Reject]] = field(default_factory=dict)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows without the keys of their runs."""
        return [row for _, row in self.rows]


STORE: dict[str, Held] = {}


class MemoryDestination:
    """Keeps rows in memory."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace", "merge"}), transactional=True, kind="table", commit="transaction"
    )

    def __init__(self, config: MemoryConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Load all rows, or raise and change nothing."""
        held = STORE.setdefault(context.target, Held())
        table = incoming.reader().read_all()
        for index, column in enumerate(table.schema):
            if column.type in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):  # Python has none as fine as these
                table = table.set_column(index, column.name, table.column(index).cast(pa.int64()))
        rows = table.to_pylist()
        step = context.cursor
        record = held.markers.get(context.run_key)
        if record is None and step is not None and step.mode == "advance":
            if (held.state.cursor or {}) != cursor_to_json(step.before):
                raise FencedError("fenced off: the cursor moved")
            held.state = State(held.state.epoch + 1, cursor_to_json(step.after))
        held.rows = [(key, row) for key, row in held.rows if key != context.run_key or self.config.primary_key]
        if step is not None and step.mode == "window" and step.window is not None:
            window = step.window
            held.rows = [
                (key, row)
                for key, row in held.rows
                if not (window.start <= str(row[window.field]).replace("+00:00", "+00") < window.end)
            ]
        for row in rows:
            if self.config.primary_key:
                key = [row[name] for name in self.config.primary_key]
                held.rows = [one for one in held.rows if [one[1][name] for name in self.config.primary_key] != key]
            held.rows.append((context.run_key, row))
        held.rejects[context.run_key] = list(context.rejects)
        held.markers[context.run_key] = LoadRecord(
            context.run_key,
            context.run_id,
            context.target,
            self.config.write_disposition,
            context.digest or "",
            len(rows),
            len(held.rejects[context.run_key]),
            held.state.epoch,
            cursor=step.to_json() if step else None,
        )
        return LoadReport(context.target, len(rows))

    @contextmanager
    def ledger(self, context: LoadContext) -> Iterator[MemoryLedger]:
        """Open the ledger of the target."""
        yield MemoryLedger(STORE.setdefault(context.target, Held()))


class MemoryLedger:
    """The ledger of one target."""

    def __init__(self, held: Held) -> None:
        self.held = held

    def state(self) -> State:
        """Return the state."""
        return self.held.state

    def load(self, run_id: str) -> LoadRecord | None:
        """Return the marker of a run."""
        return next((record for record in self.held.markers.values() if record.run_id == run_id), None)

    def loads(self, limit: int = 50) -> list[LoadRecord]:
        """Return all markers."""
        return list(self.held.markers.values())[:limit]

    def set_cursor(self, cursor: Mapping[str, Any] | None, actor: str) -> None:
        """Set the cursor."""
        self.held.state = State(self.held.state.epoch + 1, cursor)

    def dead_letters(
        self, run_id: str | None = None, *, pending: bool = False, ids: Iterable[str] = (), limit: int = 1000
    ) -> list[DeadLetter]:
        """Not kept here."""
        raise NotImplementedError

    def dead_letter_counts(self) -> tuple[int, int]:
        """Not kept here."""
        return 0, 0

    def undo(self, run_id: str, actor: str) -> Undone:
        """Not done here."""
        raise NotImplementedError

    def sweep(self) -> list[str]:
        """Nothing is ever left behind."""
        return []
