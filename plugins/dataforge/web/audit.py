"""Who did what to what: for administrators all of it, for others what they did themselves."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from dataforge.authoring.tools import answered
from dataforge.settings import get_settings
from dataforge.store import audit
from dataforge.store.database import open_store
from dataforge.web.access import Asker
from dataforge.web.problems import Refused

ROUTES = APIRouter(prefix="/audit", tags=["audit"])


class EntryForm(BaseModel):
    """One entry; `digest` seals it together with all before it."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    digest: str


class AuditForm(BaseModel):
    """Entries, the newest first; `next` is the `before` of those that follow, null when there are none."""

    entries: list[EntryForm]
    next: int | None


class VerifiedForm(BaseModel):
    """Whether nothing was changed, removed or moved; `end` is the digest of the last entry, to be written down."""

    ok: bool
    entries: int
    broken_at: int | None
    reason: str
    end: str


@ROUTES.get("", response_model=AuditForm)
def entries(
    asker: Asker,
    actor: Annotated[str, Query(max_length=200)] = "",
    action: Annotated[str, Query(max_length=40)] = "",
    file: Annotated[str, Query(max_length=1_000, description="A config's name, or what else an entry is about.")] = "",
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """List entries, the newest first: all for administrators, for others their own."""
    if not asker.administers:
        if actor not in ("", asker.name):
            raise Refused(403, "forbidden", "only administrators see what others did")
        actor = asker.name
    root = f"{get_settings().configs_folder.resolve()}/"
    found = audit.entries(
        open_store(), actor=actor or None, action=action or None,
        subjects=(file, f"{root}{file}") if file else None, before=before, limit=limit + 1,
    )  # fmt: skip
    shown = [
        {**vars(one), "at": one.at.isoformat(), "subject": one.subject.removeprefix(root)} for one in found[:limit]
    ]
    return answered({"entries": shown, "next": found[limit - 1].id if len(found) > limit else None})


@ROUTES.get("/verify", response_model=VerifiedForm)
def verify(asker: Asker) -> dict[str, Any]:
    """Walk the whole chain of entries and tell whether it is whole."""
    if not asker.administers:
        raise Refused(403, "forbidden", "this needs the permission to edit connections")
    found = audit.verify(open_store())
    return {"ok": found.ok, **vars(found)}
