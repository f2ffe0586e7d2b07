"""The page's files, which a browser loads before it asks for anything; they hold nothing of the deployment."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from dataforge.web import page
from dataforge.web.problems import Refused

ROUTES = APIRouter(prefix="/static", include_in_schema=False)
KINDS = {page.BUNDLE: "application/javascript", "icon.svg": "image/svg+xml", "icon-dark.svg": "image/svg+xml"}
"""Every file that is served, with its media type: Python's own list does not know .cjs."""
PATHS = frozenset(f"/static/{name}" for name in KINDS)
_YEAR = "public, max-age=31536000, immutable"


@ROUTES.get("/{name}")
def file(name: str, request: Request) -> FileResponse:
    """Return a file of the page; what is asked for by its own version never changes."""
    path = page.FOLDER / name
    if name not in KINDS or not path.is_file():
        raise Refused(404, "not-found", "there is no such file")
    known = request.query_params.get("v") == page.version()
    headers = {"Cache-Control": _YEAR if known and name == page.BUNDLE else "no-cache"}
    return FileResponse(path, media_type=KINDS[name], headers=headers)
