"""Keep what models generated: who asked for what, by which model and prompt, and what came of it.

Whoever shows a draft to a person records it; a revision that is deployed later finds its model and prompt by its text.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dataforge.authoring.base import Draft, Turn
from dataforge.authoring.explain import Explanation
from dataforge.authoring.repair import Repaired
from dataforge.authoring.report import status
from dataforge.errors import DataForgeError, bounded
from dataforge.gateway.redaction import Redaction
from dataforge.observability.log import line

MAX_REQUEST = 10_000


def origin(trace: Sequence[Turn]) -> tuple[str, str]:
    """Return the model and the prompt hash of the last turn that a model took; ("", "") when none had a part."""
    return next(((turn.model, turn.prompt_hash) for turn in reversed(trace) if turn.model), ("", ""))


def record_draft(draft: Draft, request: str, *, kind: str, actor: str, team: str = "") -> None:
    """Keep an authored or refined draft; one in which no model had a part is none."""
    _record(
        kind, request, draft.text or None, status(draft), draft.trace,
        request_id=draft.request_id, actor=actor, team=team,
    )  # fmt: skip


def record_repair(repaired: Repaired, request: str, *, actor: str, team: str = "") -> None:
    """Keep a repair; `request` says what was repaired. One by fixers alone is no generation."""
    outcome = "valid" if repaired.valid else repaired.stopped
    _record(
        "repair", request, repaired.candidate.text, outcome, repaired.trace,
        request_id=repaired.request_id, actor=actor, team=team,
    )  # fmt: skip


def record_explanation(told: Explanation, subject: str, *, actor: str, team: str = "") -> None:
    """Keep an explanation that a model worded."""
    turn = Turn("explain", "", told.prompt, told.prompt_hash, told.model, told.usage)
    _record("explain", subject, None, "told", [turn], request_id=told.request_id, actor=actor, team=team)


def _record(
    kind: str,
    request: str,
    config: str | None,
    outcome: str,
    trace: Sequence[Turn],
    *,
    request_id: str,
    actor: str,
    team: str,
) -> None:
    model, prompt_hash = origin(trace)
    if not model:
        return
    from dataforge.store import chats
    from dataforge.store.database import open_store

    turns = [
        {
            "kind": turn.kind, "model": turn.model, "prompt": turn.prompt, "prompt_hash": turn.prompt_hash,
            "tokens": turn.usage.tokens, "cost": turn.usage.cost, "seconds": turn.usage.seconds,
        }
        for turn in trace
    ]  # fmt: skip
    try:
        chats.record_generation(
            open_store(), request_id=request_id, kind=kind, actor=actor, team=team, model=model,
            prompt_hash=prompt_hash, request=Redaction().text(bounded(request, MAX_REQUEST)), config=config,
            outcome=outcome, details={"turns": turns},
        )  # fmt: skip
    except DataForgeError as error:  # the answer is there, and the person waits for it
        line("what a model generated could not be recorded", level=logging.WARNING, reason=str(error))
