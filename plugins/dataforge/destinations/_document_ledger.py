"""The ledger of stores without tables: one JSON document for each pipeline and target, changed by compare and swap.

It keeps cursor, epoch, the newest MARKERS markers, and which loads left dead letters, which lie in documents of their
own. A store that swaps the document in the transaction that writes the records has the whole protocol of a ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

from dataforge.components.base import LoadContext, LoadReport
from dataforge.components.delivery import (
    DeadLetter,
    LoadRecord,
    Reject,
    State,
    Undone,
    cursor_to_json,
)
from dataforge.errors import ConflictError, FencedError, TerminalError

MARKERS = 200
"""How many markers a document keeps."""

TRIES = 8
"""How often a change begins again after another one was faster."""


class Store(Protocol):
    """Where the documents of one pipeline and target lie."""

    def read(self) -> str | None:
        """Return the document; None where there is none yet."""
        ...

    def swap(self, before: str | None, after: str) -> bool:
        """Put `after` in the place of `before`; False where something else is there by now."""
        ...

    def letters(self, run_key: str) -> str | None:
        """Return the dead letters of a load as one JSON list; None where there are none."""
        ...

    def sweep(self) -> list[str]:
        """Remove what killed loads left behind; return their names."""
        ...


@dataclass(frozen=True)
class Page:
    """The document as a value."""

    epoch: int = 0
    cursor: Mapping[str, Any] | None = None
    updated_at: str = ""
    loads: tuple[LoadRecord, ...] = ()
    letters: Mapping[str, int] = field(default_factory=dict)
    replayed: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0

    @classmethod
    def of(cls, text: str | None) -> Page:
        """Return the page that a document holds; TerminalError where it is none of ours."""
        if text is None:
            return cls()
        try:
            value = json.loads(text)
            loads = tuple(_record(one) for one in value.pop("loads"))
            return cls(loads=loads, **value)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TerminalError("the ledger's document is not one of ours, or of a newer version") from None

    def text(self) -> str:
        """Return the document."""
        value = {**asdict(self), "loads": [_plain(one) for one in self.loads]}
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    def standing(self, run_key: str) -> LoadRecord | None:
        """Return the marker of a run."""
        return next((one for one in self.loads if one.run_key == run_key and one.undone_at is None), None)

    def done(self, context: LoadContext) -> LoadReport | None:
        """Return what an earlier attempt has committed of exactly these records."""
        record = self.standing(context.run_key)
        if record is None or context.digest is None or record.digest != context.digest:
            return None
        return report_of(record)

    def fence(self, context: LoadContext, where: str) -> None:
        """Raise FencedError where the cursor was moved since the records were read."""
        step, record = context.cursor, self.standing(context.run_key)
        if step is None or step.expected is None:
            return
        if (self.cursor or {}) != cursor_to_json(step.expected):
            raise FencedError(
                f"fenced off: the cursor of {context.dag_id!r} for {where} was moved since these records were read; "
                "they are read again"
            )
        if step.mode == "advance" and record is not None and (record.cursor or {}).get("mode") == "advance":
            raise FencedError(
                f"fenced off: run {context.run_id!r} was loaded before, and these are records after its own; they are "
                "read again within its bounds"
            )

    def after(
        self,
        context: LoadContext,
        disposition: str,
        rows: int,
        letters: int,
        attempt: str,
        *,
        deleted: int = 0,
        total: int | None = None,
    ) -> Page:
        """Return the page that is true once the load is committed; `total` counts the rows that are there then."""
        step, now = context.cursor, datetime.now(timezone.utc)
        record = LoadRecord(
            run_key=context.run_key,
            run_id=context.run_id,
            target=context.target,
            disposition=disposition,
            digest=context.digest or "",
            rows=rows,
            rejected=letters,
            epoch=self.epoch + 1,
            committed_at=now,
            cursor=step.to_json() if step else None,
            revision=context.revision,
            actor=context.actor,
            attempt=attempt,
            deleted=deleted,
        )
        cursor = cursor_to_json(step.after) if step is not None and step.mode == "advance" else self.cursor
        kept = (record, *(one for one in self.loads if one.run_key != context.run_key))[:MARKERS]
        named = {one.run_key for one in kept}
        counts = {key: count for key, count in self.letters.items() if key in named and key != context.run_key}
        replayed = {id_: by for id_, by in self.replayed.items() if by != context.run_key}
        return Page(
            self.epoch + 1,
            cursor,
            now.isoformat(),
            kept,
            {**counts, **({context.run_key: letters} if letters else {})},
            {**replayed, **dict.fromkeys(context.replays, context.run_key)},
            self.rows if total is None else total,
        )


def report_of(record: LoadRecord) -> LoadReport:
    """Return the report of a load that was committed before."""
    figures = {name: getattr(record, name) for name in ("inserted", "updated", "deleted", "rejected")}
    return LoadReport(record.target, record.rows, already=True, **figures)


def guard(before: int, after: int, where: str, *, allow_empty: bool, allow_shrink: bool) -> None:
    """Refuse a replace that would leave nothing, or fewer than half of what was there, without leave to."""
    if after == 0 and before and not allow_empty:
        raise TerminalError(
            f"replacing {where} would leave no rows, where there are {before:,}; nothing was changed. Set allow_empty "
            "to true if that is right"
        )
    if 0 < after * 2 < before and not allow_shrink:
        raise TerminalError(
            f"replacing {where} would leave {after:,} of {before:,} rows, fewer than half; nothing was changed. Set "
            "allow_shrink to true if that is right"
        )


def letters_text(rejects: Iterable[Reject], context: LoadContext) -> tuple[str, int]:
    """Return dead letters as one JSON list, and how many there are; an id is the same in every repeat."""
    found = []
    for number, reject in enumerate(rejects):
        seed = "\n".join((context.dag_id, context.target, context.run_key, str(number), reject.record))
        id_ = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        found.append({"id": id_, "run_id": context.run_id, **asdict(reject)})
    return json.dumps(found, separators=(",", ":")), len(found)


def document_name(context: LoadContext) -> str:
    """Return the name of the document of a pipeline and target."""
    return hashlib.sha256(f"{context.dag_id}\n{context.target}".encode()).hexdigest()[:24]


@dataclass(frozen=True)
class DocumentLedger:
    """The ledger of one pipeline and target; see `delivery.Ledger`."""

    store: Store
    target: str

    def page(self) -> Page:
        """Return what is true now."""
        return Page.of(self.store.read())

    def state(self) -> State:
        """Return cursor and epoch."""
        page = self.page()
        at = datetime.fromisoformat(page.updated_at) if page.updated_at else None
        return State(page.epoch, page.cursor, at)

    def load(self, run_id: str) -> LoadRecord | None:
        """Return the marker of a run."""
        return next((one for one in self.page().loads if one.run_id == run_id and one.undone_at is None), None)

    def loads(self, limit: int = 50) -> list[LoadRecord]:
        """Return the newest markers first; at most MARKERS are kept."""
        return list(self.page().loads[:limit])

    def set_cursor(self, cursor: Mapping[str, Any] | None, actor: str) -> None:  # noqa: ARG002 - the caller logs it
        """Put the cursor there; a load that was read from another one is fenced off."""
        for _ in range(TRIES):
            text = self.store.read()
            page = Page.of(text)
            now = datetime.now(timezone.utc).isoformat()
            if self.store.swap(text, replace(page, epoch=page.epoch + 1, cursor=cursor, updated_at=now).text()):
                return
        raise too_busy(self.target)

    def dead_letters(
        self, run_id: str | None = None, *, pending: bool = False, ids: Iterable[str] = (), limit: int = 1000
    ) -> list[DeadLetter]:
        """Return dead letters, oldest first."""
        page, wanted = self.page(), set(ids)
        found: list[DeadLetter] = []
        for record in reversed(page.loads):
            if record.run_key not in page.letters or (run_id is not None and record.run_id != run_id):
                continue
            for value in json.loads(self.store.letters(record.run_key) or "[]"):
                id_, run = value.pop("id"), value.pop("run_id")
                by = page.replayed.get(id_, "")
                if (pending and by) or (wanted and id_ not in wanted):
                    continue
                found.append(DeadLetter(id_, run, Reject(**value), record.committed_at, by))
        return found[:limit]

    def dead_letter_counts(self) -> tuple[int, int]:
        """Return how many dead letters there are, and how many of them were not replayed yet."""
        page = self.page()
        total = sum(page.letters.values())
        return total, max(0, total - len(page.replayed))

    def undo(self, run_id: str, actor: str) -> Undone:  # noqa: ARG002 - nothing is done
        """Refuse: what was there before is not kept."""
        raise TerminalError(
            f"the load of run {run_id!r} into {self.target} can't be taken back: what it wrote over is not kept"
        )

    def sweep(self) -> list[str]:
        """Remove what killed loads left behind."""
        return self.store.sweep()


def too_busy(where: str) -> ConflictError:
    """Return the error for a change that others were always faster than."""
    return ConflictError(f"{where}: other loads were committed {TRIES} times meanwhile")


def _plain(record: LoadRecord) -> dict[str, Any]:
    value = asdict(record)
    for name in ("committed_at", "undone_at"):
        value[name] = value[name].isoformat() if value[name] else None
    return value


def _record(value: Mapping[str, Any]) -> LoadRecord:
    instants = {name: datetime.fromisoformat(text) for name in _INSTANTS if (text := value.get(name))}
    return LoadRecord(**{**value, **dict.fromkeys(_INSTANTS), **instants})


_INSTANTS = ("committed_at", "undone_at")
