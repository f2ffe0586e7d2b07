"""Drafts: configs on which a person works, each that person's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from dataforge.gateway.redaction import Redaction
from dataforge.store import drafts
from dataforge.store.database import open_store
from dataforge.web.access import Asker
from dataforge.web.bodies import Body, ChatId, File, Pinned
from dataforge.web.once import IfMatch, base, etag
from dataforge.web.problems import Refused
from dataforge.web.state import AtDesk

ROUTES = APIRouter(prefix="/drafts", tags=["drafts"])
Id = Annotated[str, Path(max_length=64)]


class DraftBody(Body):
    """A draft as it is to be kept."""

    name: str = Field(min_length=1, max_length=200)
    file: File = ""
    base: str = Field(default="", max_length=64, description="Digest of the config that it was made from; '' for none.")
    text: str = Field(max_length=1_000_000, description="The text so far, which need not be right.")
    chat: ChatId = ""
    pinned: Pinned = Field(default={})


class ListedDraft(BaseModel):
    """A draft in short."""

    id: str
    name: str
    file: str
    base: str
    chat: str
    digest: str
    created_at: str
    updated_at: str


class DraftsForm(BaseModel):
    """A person's drafts, the last changed first."""

    drafts: list[ListedDraft]


class DraftForm(ListedDraft):
    """A draft; `withheld` says that its text held a secret, which was not kept."""

    text: str
    pinned: dict[str, Any]
    withheld: bool


@ROUTES.get("", response_model=DraftsForm)
def mine(asker: Asker) -> dict[str, Any]:
    """List this person's drafts, the last changed first, without their texts."""
    return {"drafts": [_listed(one) for one in drafts.of(open_store(), asker.name)]}


@ROUTES.post("", status_code=201, response_model=DraftForm)
def begin(body: DraftBody, at: AtDesk, asker: Asker, response: Response) -> dict[str, Any]:
    """Keep a new draft."""
    draft, withheld = _meant(body, at)
    kept = drafts.begin(open_store(), asker.name, draft)
    if kept is None:
        raise Refused(409, "too-many-drafts", f"you have {drafts.MOST} drafts; delete one that you don't need")
    return _told(kept, response, withheld=withheld)


@ROUTES.get("/{id}", response_model=DraftForm)
def one(id: Id, asker: Asker, response: Response) -> dict[str, Any]:
    """Return a draft, with its digest as ETag."""
    found = drafts.get(open_store(), id, asker.name)
    if found is None:
        raise _missing()
    return _told(found, response)


@ROUTES.put("/{id}", response_model=DraftForm)
def put(
    id: Id, body: DraftBody, at: AtDesk, asker: Asker, response: Response, if_match: IfMatch = None
) -> dict[str, Any]:
    """Change a draft that is still as If-Match says."""
    if drafts.get(open_store(), id, asker.name) is None:
        raise _missing()
    made_from = base(if_match, None)
    draft, withheld = _meant(body, at)
    try:
        kept = drafts.put(open_store(), id, asker.name, draft, made_from)
    except drafts.DraftChanged as changed:
        raise _changed(changed.current) from None
    if kept is None:
        raise _missing()
    return _told(kept, response, withheld=withheld)


@ROUTES.delete("/{id}", status_code=204)
def forget(id: Id, asker: Asker, if_match: IfMatch = None) -> None:
    """Remove a draft; with If-Match only when it is still so."""
    try:
        gone = drafts.forget(open_store(), id, asker.name, None if if_match is None else base(if_match, None))
    except drafts.DraftChanged as changed:
        raise _changed(changed.current) from None
    if not gone:
        raise _missing()


def _meant(body: DraftBody, at: AtDesk) -> tuple[drafts.Draft, bool]:
    """Return a draft as it may be kept, and whether something was withheld; Refused without the right to its file."""
    if body.file:
        at.may_edit(body.file)
    text = at.without_secret(body.text)
    safe = Redaction(personal=False)
    draft = drafts.Draft(safe.text(body.name), body.file, body.base, text, body.chat, safe.json(body.pinned))
    return draft, text != body.text


def _missing() -> Refused:
    return Refused(404, "not-found", "there is no such draft of yours")


def _changed(current: drafts.Draft) -> Refused:
    detail = "the draft was changed meanwhile, by another page of yours; nothing was written"
    return Refused(412, "draft-changed", detail, {"ETag": etag(current.digest)}, draft=_whole(current))


def _listed(draft: drafts.Draft) -> dict[str, Any]:
    return {
        "id": draft.id, "name": draft.name, "file": draft.file, "base": draft.base, "chat": draft.chat,
        "digest": draft.digest, "created_at": draft.created_at.isoformat(), "updated_at": draft.updated_at.isoformat(),
    }  # fmt: skip


def _whole(draft: drafts.Draft) -> dict[str, Any]:
    return {**_listed(draft), "text": draft.text, "pinned": dict(draft.pinned)}


def _told(draft: drafts.Draft, response: Response, *, withheld: bool = False) -> dict[str, Any]:
    response.headers["ETag"] = etag(draft.digest)
    return {**_whole(draft), "withheld": withheld}
