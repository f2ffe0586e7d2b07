"""What headers promise of a write: the state that it is made from, and that it is done once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Request, Response

from dataforge.store import answers
from dataforge.store.database import open_store
from dataforge.web.access import Person
from dataforge.web.problems import Refused

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description='ETag of the config that the change was made from: "<digest>".')
]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="* for a config that is new: it must not be there yet.")
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=200,
        description="Any text of the caller's own: a request that comes again with it is answered, and not done again.",
    ),
]  # fmt: skip
_TAG = re.compile(r'(?:W/)?"([0-9a-f]{64})"\Z')


def etag(digest: str) -> str:
    """Return a digest as an ETag."""
    return f'"{digest}"'


def base(if_match: str | None, if_none_match: str | None) -> str:
    """Return the digest that a write is made from, "" for a new file; Refused (428) when the headers tell none."""
    if if_match is None and if_none_match is not None:
        if if_none_match.strip() == "*":
            return ""
    elif if_match is not None and if_none_match is None and (found := _TAG.match(if_match.strip())):
        return found.group(1)
    hint = 'send If-Match with the ETag that the config was read with, or "If-None-Match: *" for a new one'
    raise Refused(428, "precondition-required", hint)


def once(
    request: Request, response: Response, asker: Person, key: str | None, body: bytes, do: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Do what is asked, or tell the answer that was given to the same request before."""
    if key is None:
        return do()
    store = open_store()
    parts = (request.method, request.url.path, request.headers.get("if-match", ""), body.hex())
    fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    known = answers.begin(store, asker.name, key, fingerprint)
    if known is not None and not known.same:
        raise Refused(422, "key-reused", "this Idempotency-Key was used for another request")
    if known is not None and known.answer is None:
        raise Refused(409, "in-progress", "the request with this Idempotency-Key is at work", {"Retry-After": "2"})
    if known is not None and known.answer is not None:
        response.headers["Idempotency-Replayed"] = "true"
        return known.answer
    try:
        done = do()
    except BaseException:
        answers.forget(store, asker.name, key)
        raise
    answers.keep(store, asker.name, key, done)
    return done
