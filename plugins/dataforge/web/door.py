"""The door of the app: nothing behind it, whatever its route, is reached by someone who may not enter.

It stands before routing, so that neither a new route nor a mount, a body or a wrong address gets by. In order: who it
is (401, 403), how often they came (429), where a change comes from and whether they may edit anything (403), and the
body's size and time (413, 408). What is about one DAG is decided where its file is opened (`dataforge.web.desk`).
Whoever was refused for want of a right, here or there, leaves an entry in the audit log.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress

from anyio import to_thread
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataforge.authoring.uploads import MAX_BYTES
from dataforge.errors import DataForgeError
from dataforge.settings import get_settings
from dataforge.store import audit
from dataforge.store.database import open_store
from dataforge.store.limits import Taken, take, take_from
from dataforge.web import static
from dataforge.web.access import SAFE, Person, check_origin, who
from dataforge.web.problems import Refused, answer, of

OPEN = frozenset({"/api/v1/health", "/api/v1/ready"}) | static.PATHS
UNCOUNTED = frozenset({("POST", "/api/v1/check"), ("POST", "/api/v1/diff")})
"""What the page asks while a person types; the rest of what changes nothing is told by its method."""
UPLOADS = "/api/v1/uploads"
BODY_SECONDS = 30.0
MOST_DENIED, DENIED_SECONDS = 20, 900
"""Refusals of one person, or of all whom nobody knows, that are noted in that time."""
_ENVELOPE = 64_000
"""Bytes that a request may have besides the text of one config, written as JSON."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Door:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here
        request = Request(scope)
        limits: dict[str, str] = {}
        request.state.dataforge_limits = limits
        begun = denied = False
        asker: Person | None = None

        async def told(message: Message) -> None:
            nonlocal begun, denied
            if message["type"] == "http.response.start":
                begun, denied = True, message["status"] == 403
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | limits).items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if _path(scope) not in OPEN:
                asker = await who(request)
                request.state.dataforge_person = asker
                if request.method not in SAFE or not asker.known_to_read:  # else there is nothing to wait for
                    await to_thread.run_sync(_admit, request, asker, limits)
            await self._app(scope, self._bounded(request, receive), told)
        except Exception as error:  # noqa: BLE001 - the last one who can turn it into an answer
            refused = of(error)
            if not begun:
                await answer(refused)(scope, receive, told)
        if denied and not _is_quiet(asker):
            await to_thread.run_sync(_note, request, asker)

    def _bounded(self, request: Request, receive: Receive) -> Receive:
        """Return what reads the body, until it is too large or too slow."""
        most = 6 * get_settings().max_config_bytes + _ENVELOPE  # a text in JSON has at most six bytes for one
        if _path(request.scope) == UPLOADS:
            most = MAX_BYTES + _ENVELOPE
        said = request.headers.get("content-length", "")
        if said and (not said.isdecimal() or int(said) > most):
            raise _too_large(most)
        size = 0
        whole = False
        until = time.monotonic() + self._seconds

        async def bounded() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()  # waits for the caller to hang up
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except (asyncio.TimeoutError, TimeoutError):
                raise HTTPException(408, "the body of the request came too slowly") from None
            size += len(message.get("body", b""))
            if size > most:
                raise _too_large(most)
            whole = not message.get("more_body", False)
            return message

        return bounded


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body of a request may have {most:,} bytes")


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")))


def _admit(request: Request, asker: Person, limits: dict[str, str]) -> None:
    asked = (request.method, _path(request.scope))
    if request.method not in SAFE and asked not in UNCOUNTED and not _DRAFT.fullmatch(" ".join(asked)):
        count(asker, "request", limits)
    if request.method in SAFE:
        if not asker.reads:
            raise Refused(403, "forbidden", "this needs the permission to read DAGs")
        return
    check_origin(request)
    if not asker.edits:
        raise Refused(403, "forbidden", "this needs the permission to edit DAGs")


def _is_quiet(asker: Person | None) -> bool:
    return _quiet.get(asker.name if asker else "", 0.0) > time.monotonic()


def _note(request: Request, asker: Person | None) -> None:
    """Note who was refused what; no more often than so, else they could fill the log."""
    name, scope = asker.name if asker else "", request.scope
    with suppress(DataForgeError):  # the answer was given
        taken = take(open_store(), name, "denied", limit=MOST_DENIED, seconds=DENIED_SECONDS)
        if not taken.remaining:
            _quiet[name] = time.monotonic() + taken.reset
        if not taken.allowed:
            return
        params = scope.get("path_params", {})
        subject = str(params.get("dag_id") or _path(scope))
        if "file" in params:
            subject = os.path.normpath(get_settings().configs_folder.resolve() / str(params["file"]))
        told = {"method": request.method, "path": _path(scope)}
        more = {} if taken.remaining else {"more": f"none is noted for the next {taken.reset} seconds"}
        audit.record(open_store(), name, "denied", subject, told | more)


_quiet: dict[str, float] = {}
"""Until when nothing more is noted of a person."""
_DRAFT = re.compile(r"PUT /api/v1/drafts/[^/]+")
"""A page that keeps what is typed."""
_LIMITS: dict[str, tuple[Callable[[], int], str]] = {
    "request": (lambda: get_settings().web_requests, "requests"),
    "generate": (lambda: get_settings().web_generates, "generations"),
    "refine": (lambda: get_settings().web_refines, "refinements, repairs and explanations"),
}


def count(asker: Person, kind: str, limits: dict[str, str]) -> None:
    """Count a request of a person in the store and tell what is left; Refused (429) when nothing is."""
    setting, words = _LIMITS[kind]
    limit, seconds = setting(), get_settings().web_window_seconds
    if not limit:
        return
    url = get_settings().limits_url
    if url:
        taken = take_from(url, asker.name, kind, limit=limit, seconds=seconds)
    else:
        taken = take(open_store(), asker.name, kind, limit=limit, seconds=seconds)
    limits.update(_told(kind, taken, seconds))
    if not taken.allowed:
        detail = f"{limit} {words} in {seconds} seconds are allowed; try again in {taken.reset} seconds"
        raise Refused(429, "too-many-requests", detail, {"Retry-After": str(taken.reset), **limits})


def _told(kind: str, taken: Taken, seconds: int) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"{kind}";q={taken.limit};w={seconds}',
        "RateLimit": f'"{kind}";r={taken.remaining};t={taken.reset}',
    }
