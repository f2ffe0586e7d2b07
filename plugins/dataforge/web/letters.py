"""Dead letters of a pipeline: listed from the ledgers of its destinations, and taken back in by a task."""

from __future__ import annotations

import json
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Query

from dataforge.authoring.tools import answered
from dataforge.components.delivery import DeadLetter
from dataforge.config.files import Loaded
from dataforge.store import audit
from dataforge.store.database import open_store
from dataforge.web import errands, forms
from dataforge.web.access import Asker
from dataforge.web.bodies import ReplayBody
from dataforge.web.state import AtDesk

ROUTES = APIRouter(prefix="/pipelines/{dag_id}/dead-letters", tags=["dead-letters"])
Id = Annotated[str, Path(max_length=250)]
_LEDGERS = CapacityLimiter(2)
"""Ledgers stand in databases of their own: few at a time, in threads that Airflow's own routes don't need."""


@ROUTES.get("", response_model=forms.LettersForm)
async def letters(
    dag_id: Id,
    at: AtDesk,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> dict[str, Any]:
    """List the records that were set aside, the oldest first, with the values of private columns hidden."""

    def read() -> dict[str, Any]:
        loaded = at.pipeline(dag_id)
        total, pending, found = _read(loaded, limit, offset)
        return answered(
            {"total": total, "pending": pending, "letters": [_told(*one, at.hides(loaded, one[1])) for one in found]}
        )

    return await to_thread.run_sync(read, limiter=_LEDGERS)


@ROUTES.post("/replay", response_model=forms.ReplayedForm)
async def replay(dag_id: Id, body: ReplayBody, at: AtDesk, asker: Asker) -> dict[str, Any]:
    """Take dead letters back in, by a task: each takes effect once, and what is rejected again is set aside again."""

    def begin() -> str:
        at.pipeline(dag_id)
        return errands.begin("replay", dag_id, {"dag_id": dag_id, "ids": body.ids}, asker)

    run_id = await to_thread.run_sync(begin)
    found = await errands.done(run_id)
    done = {"replayed": int(found["replayed"]), "rejected": int(found["rejected"])}
    await to_thread.run_sync(audit.record, open_store(), asker.name, "replayed", dag_id, {"run_id": run_id, **done})
    return done


def _read(loaded: Loaded, limit: int, offset: int) -> tuple[int, int, list[tuple[int, DeadLetter]]]:
    """Return how many letters there are, how many of them wait, and those of one page with their destinations."""
    from dataforge.runtime.ledgers import accountable, opened, without_run

    config = loaded.config
    total = pending = 0
    found: list[tuple[int, DeadLetter]] = []
    for index in accountable(config):
        with opened(config, index, without_run(config)) as ledger:
            counts = ledger.dead_letter_counts()
            skipped = max(0, offset - total)
            if (wanted := limit - len(found)) and counts[0] > skipped:
                page = ledger.dead_letters(limit=skipped + wanted)[skipped:]
                found += ((index, letter) for letter in page)
        total, pending = total + counts[0], pending + counts[1]
    return total, pending, found


def _told(index: int, letter: DeadLetter, hidden: frozenset[str]) -> dict[str, Any]:
    from dataforge.gateway.redaction import Redaction

    reject = letter.reject
    try:
        record: Any = json.loads(reject.record)
    except ValueError:
        record = reject.record
    if isinstance(record, dict):
        record = {name: "***" if name.lower() in hidden else value for name, value in record.items()}
    else:  # a line that could not be read has no columns to go by
        record = Redaction().text(str(record))
    reason = reject.reason
    if reject.column.lower() in hidden:
        reason = f"column {reject.column!r}: its value, which is private, does not fit"
    return {
        "id": letter.id, "run_id": letter.run_id, "stage": reject.stage, "source": reject.source,
        "reason": reason, "position": reject.position, "column": reject.column, "record": record,
        "replayed": bool(letter.replayed_by), "destination": index + 1,
        "kept_at": letter.kept_at.isoformat() if letter.kept_at else None,
    }  # fmt: skip
