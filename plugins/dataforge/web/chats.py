"""Chats: each person's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from dataforge.gateway.redaction import Redaction
from dataforge.store import chats
from dataforge.store.database import open_store
from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.bodies import ChatBody, MessageBody
from dataforge.web.problems import Refused

ROUTES = APIRouter(prefix="/chats", tags=["chats"])
Id = Annotated[str, Path(max_length=64)]


@ROUTES.get("", response_model=forms.ChatsForm)
def mine(asker: Asker) -> dict[str, Any]:
    """List this person's chats, the last used first."""
    return {"chats": [_told(one) for one in chats.chats(open_store(), asker.name)]}


@ROUTES.post("", status_code=201, response_model=forms.ChatForm)
def begin(body: ChatBody, asker: Asker) -> dict[str, Any]:
    """Begin a chat."""
    title = Redaction(personal=False).text(body.title)
    return _told(chats.begin_chat(open_store(), asker.name, title, file=body.file))


@ROUTES.get("/{id}/messages", response_model=forms.MessagesForm)
def messages(id: Id, asker: Asker) -> dict[str, Any]:
    """Return the messages of a chat, the oldest first."""
    found = chats.messages(open_store(), id, asker.name)
    if not found and all(one.id != id for one in chats.chats(open_store(), asker.name)):
        raise _missing()
    return {"messages": [_message(one) for one in found]}


@ROUTES.post("/{id}/messages", status_code=201, response_model=forms.MessageForm)
def say(id: Id, body: MessageBody, asker: Asker) -> dict[str, Any]:
    """Add a message of this person, as a note that no model answers; jobs add those that one does."""
    found = chats.say(open_store(), id, asker.name, "user", Redaction(personal=False).text(body.text))
    if found is None:
        raise _missing()
    return _message(found)


@ROUTES.delete("/{id}", status_code=204)
def forget(id: Id, asker: Asker) -> None:
    """Remove a chat with all its messages."""
    if not chats.forget_chat(open_store(), id, asker.name):
        raise _missing()


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
