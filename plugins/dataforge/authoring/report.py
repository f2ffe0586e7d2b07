"""What came of a request as plain JSON, for machines: the command line's `--format json`, the MCP server, the page."""

from __future__ import annotations

from typing import Any

from dataforge.authoring.base import Draft, Turn
from dataforge.authoring.failures import as_json as failure_as_json
from dataforge.authoring.repair import Repaired
from dataforge.config.report import as_object


def of_draft(draft: Draft) -> dict[str, Any]:
    """Return a draft: status, config, findings, assumptions, questions, diff, trace and usage.

    The status is valid, findings, answered (modes ask and plan) or refused.
    """
    return {
        "status": status(draft),
        "request_id": draft.request_id,
        "answer": draft.answer,
        "config": draft.config,
        "text": draft.text,
        "findings": [as_object(finding) for finding in draft.findings],
        "assumptions": [vars(one) for one in draft.assumptions],
        "questions": [vars(one) for one in draft.questions],
        "extracted": [vars(one) for one in draft.extracted],
        "diff": [vars(one) for one in draft.diff],
        "notes": list(draft.notes),
        "examples": list(draft.examples),
        "similar": [{"dag_id": one.dag_id, "why": one.why} for one in draft.similar],
        "grounds": {pointer: vars(one) for pointer, one in draft.grounds.items()},
        "trace": [
            {
                **_turn(turn),
                "cached": turn.cached,
                "before": [as_object(one) for one in turn.before],
                "after": [as_object(one) for one in turn.after],
            }
            for turn in draft.trace
        ],
        "usage": vars(draft.usage),
    }


def status(draft: Draft) -> str:
    """Return in a word what a draft is."""
    if draft.refused:
        return "refused"
    if draft.config is None:
        return "answered"
    return "valid" if draft.valid else "findings"


def of_repair(repaired: Repaired) -> dict[str, Any]:
    """Return a repair: status, why it stopped, config, diff, what was fixed, what is left, trace and usage."""
    return {
        "status": "valid" if repaired.valid else "findings",
        "stopped": repaired.stopped,
        "config": repaired.candidate.config,
        "text": repaired.candidate.text,
        "diff": repaired.diff,
        "fixed": [fix.to_json() for fix in repaired.fixed.applied],
        "findings": [as_object(finding) for finding in repaired.candidate.findings],
        "advice": [as_object(finding) for finding in repaired.fixed.advice],
        "notes": list(repaired.notes),
        "trace": [{**_turn(turn), "before": len(turn.before), "after": len(turn.after)} for turn in repaired.trace],
        "usage": vars(repaired.usage),
        "request_id": repaired.request_id,
        "failure": failure_as_json(repaired.failure) if repaired.failure else None,
    }


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "kind": turn.kind,
        "note": turn.note,
        "model": turn.model,
        "prompt": turn.prompt,
        "prompt_hash": turn.prompt_hash,
        "changes": [vars(change) for change in turn.changes],
        "usage": vars(turn.usage),
    }
