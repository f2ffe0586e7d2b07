"""Chats: each person's own."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from dataforge.gateway.redaction import Redaction
from dataforge.store import chats
from dataforge.store.database import open_store
from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.bodies import ChatBody, MessageBody
from dataforge.web.problems import Refused
from dataforge.web.uploads import attached

ROUTES = APIRouter(prefix="/chats", tags=["chats"])
Id = Annotated[str, Path(max_length=64)]


@ROUTES.get("", response_model=forms.ChatsForm)
def mine(asker: Asker, search: Annotated[str, Query(max_length=200)] = "") -> dict[str, Any]:
    """List this person's chats, the last used first; with `search`, those in whose title or messages it stands."""
    return {"chats": [_told(one) for one in chats.chats(open_store(), asker.name, search=search)]}


@ROUTES.post("", status_code=201, response_model=forms.ChatForm)
def begin(body: ChatBody, asker: Asker) -> dict[str, Any]:
    """Begin a chat."""
    title = Redaction(personal=False).text(body.title)
    return _told(chats.begin_chat(open_store(), asker.name, title, file=body.file))


@ROUTES.get("/{id}/messages", response_model=forms.MessagesForm)
def messages(id: Id, asker: Asker) -> dict[str, Any]:
    """Return the messages of a chat, the oldest first."""
    return {"messages": [_message(one) for one in _said(id, asker)[1]]}


@ROUTES.get(
    "/{id}/export",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {}, "application/json": {}}, "description": "The whole chat."}},
)
def export(id: Id, asker: Asker, accept: Annotated[str, Header()] = "text/markdown") -> Response:
    """Return a chat as a file to keep: as JSON where that is what is accepted, as Markdown otherwise."""
    chat, said = _said(id, asker)
    as_json = "application/json" in accept and "text/markdown" not in accept
    told = {"chat": _told(chat), "messages": [_message(one) for one in said]}
    text = json.dumps(told, indent=2, ensure_ascii=False) if as_json else _markdown(chat, said)
    name = f"chat-{chat.created_at:%Y-%m-%d}-{chat.id[:8]}.{'json' if as_json else 'md'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="application/json" if as_json else "text/markdown", headers=headers)


@ROUTES.post("/{id}/messages", status_code=201, response_model=forms.MessageForm)
def say(id: Id, body: MessageBody, asker: Asker) -> dict[str, Any]:
    """Add a message of this person, as a note that no model answers; jobs add those that one does."""
    files = attached(asker.name, body.attachments)
    text, details = Redaction(personal=False).text(body.text), {"attachments": files} if files else {}
    found = chats.say(open_store(), id, asker.name, "user", text, details)
    if found is None:
        raise _missing()
    return _message(found)


@ROUTES.delete("/{id}", status_code=204)
def forget(id: Id, asker: Asker) -> None:
    """Remove a chat with all its messages."""
    if not chats.forget_chat(open_store(), id, asker.name):
        raise _missing()


def _said(id_: str, asker: Asker) -> tuple[chats.Chat, list[chats.ChatMessage]]:
    chat = chats.chat(open_store(), id_, asker.name)
    if chat is None:
        raise _missing()
    return chat, chats.messages(open_store(), id_, asker.name)


def _markdown(chat: chats.Chat, said: list[chats.ChatMessage]) -> str:
    """Return a chat for reading: every text in a block that nothing inside can close, so that none is markup."""
    parts = [f"# {_line(chat.title)}", f"{chat.created_at:%Y-%m-%d %H:%M} UTC"]
    for one in said:
        longest = max((len(run) for run in re.findall(r"`+", one.text)), default=0)
        fence = "`" * max(3, longest + 1)
        files = [f"attached: {_line(str(file.get('name', '')))}" for file in one.details.get("attachments", ())]
        parts += [f"## {one.role}, {one.at:%Y-%m-%d %H:%M}", *files, f"{fence}text\n{one.text}\n{fence}"]
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#!|])", r"\\\1", " ".join(text.split()))


def _missing() -> Refused:
    return Refused(404, "not-found", "there is no such chat of yours")


def _told(chat: chats.Chat) -> dict[str, Any]:
    return {
        "id": chat.id, "title": chat.title, "file": chat.file, "created_at": chat.created_at.isoformat(),
        "updated_at": chat.updated_at.isoformat(),
    }  # fmt: skip


def _message(one: chats.ChatMessage) -> dict[str, Any]:
    return {
        "id": one.id, "role": one.role, "text": one.text, "details": dict(one.details), "at": one.at.isoformat()
    }  # fmt: skip
