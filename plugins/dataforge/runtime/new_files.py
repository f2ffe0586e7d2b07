"""Reading new files only: which files of a source a run reads, and what the ledger knows of them afterwards.

Files are a set, not a line: one that comes late, with an older time or a smaller name, is read like any other, and runs
may be done in any order. So a backfill needs no window: it reads those files of its interval that were not read yet,
and notes them. A run that is repeated reads the very files that it read the first time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from dataforge.components.base import SourceConfig
from dataforge.components.delivery import CursorPosition, CursorStep
from dataforge.components.seen_files import TYPE, ListedFile, known, position_of
from dataforge.errors import TerminalError


@dataclass
class NewFiles:
    """What one source with `only_new` reads in a run; `choose` is asked once, `step` follows it.

    `span` is the interval in which files must have been changed, where nothing else tells what a backfill is about.
    """

    source: str
    config: SourceConfig
    step: CursorStep
    span: tuple[datetime, datetime] | None = None
    _chosen: list[ListedFile] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for position in (self.step.before.get(self.source), self.step.after.get(self.source)):
            if position is not None and position.type != TYPE:
                raise TerminalError(
                    f"the cursor of {self.source!r} stands at {position.value!r} of the field {position.field!r}, but "
                    "the source reads new files now; 'dataforge cursor reset' forgets it, and all files are read"
                )

    def choose(self, there: Iterable[ListedFile]) -> list[ListedFile]:
        """Return those of the files that this run reads; TerminalError when a repeat can't have its files again."""
        there = list(there)
        if self.step.mode == "repeat":
            mine = set(self._after.ties) if self._after else set()
            self._chosen = [one for one in there if one.digest in mine]
            if missing := len(mine) - len(self._chosen):
                raise TerminalError(
                    f"run repeated: {missing} of the {len(mine)} files that it read are not there any more, or were "
                    "changed, so its rows can't be made again; they stay as they are"
                )
            return self._chosen
        before = known(self.step.before.get(self.source))
        self._chosen = [one for one in there if one.digest not in before and self._within(one)]
        return self._chosen

    def done(self) -> CursorStep:
        """Return the step that reading the chosen files makes."""
        if self.step.mode == "repeat":
            return self.step
        after = dict(self.step.before)
        added = [one.digest for one in self._chosen]
        before = self.step.before.get(self.source)
        if added or before is not None:
            after[self.source] = position_of({*known(before), *added}, added)
        return CursorStep("advance", self.step.before, after)

    @property
    def _after(self) -> CursorPosition | None:
        """In a repeat: what the run read the first time; None when that was nothing."""
        return self.step.after.get(self.source)

    def _within(self, one: ListedFile) -> bool:
        if self.span is None:
            return True
        return one.changed is None or self.span[0] <= one.changed < self.span[1]
