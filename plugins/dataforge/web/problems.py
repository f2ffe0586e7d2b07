"""Errors as problem details (RFC 9457): what is wrong and what would be right; no stack trace, no secret, no input."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from dataforge.authoring.deploy import AlreadyDecided, FileChanged, InvalidDeploy
from dataforge.config.report import as_object
from dataforge.errors import (
    BudgetSpent,
    ConfigError,
    DataForgeError,
    FencedError,
    GatewayError,
    ServerAway,
    TransientError,
)
from dataforge.gateway.redaction import Redaction
from dataforge.observability.log import line

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_CODES = {
    401: "not-signed-in", 403: "forbidden", 404: "not-found", 405: "method-not-allowed", 408: "too-slow",
    413: "too-large",
}  # fmt: skip
_STATUS = {
    "no-such-file": 404, "unknown-component": 404, "unknown-revision": 404, "unknown-pipeline": 404, "too-large": 413,
    "invalid-setting": 503, "unfit-upload": 415, "too-many-uploads": 409, "own-deploy": 403, "needs-approval": 403,
}  # fmt: skip


class Refused(Exception):
    """An answer that is a problem: its status, a code for programs, and a sentence for people."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any):
        self.status, self.code, self.detail, self.headers, self.more = status, code, detail, dict(headers or {}), more
        super().__init__(detail)


def answer(refused: Refused) -> JSONResponse:
    """Return a refusal as a response."""
    body = {
        "type": f"urn:dataforge:problem:{refused.code}",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "code": refused.code,
        "detail": Redaction(personal=False).text(refused.detail),
        **Redaction(personal=False).json(refused.more),
    }
    headers = {"Cache-Control": "no-store", **refused.headers}
    return JSONResponse(body, refused.status, headers=headers, media_type=MEDIA_TYPE)


def of(error: Exception) -> Refused:
    """Return what a caller is told of an error; one that nobody expected is logged and told by an id alone."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, RequestValidationError):
        wrong = [_wrong(one) for one in error.errors()]
        return Refused(422, "invalid-request", "the request does not have the form that is wanted", errors=wrong)
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, f"http-{error.status_code}")
        return Refused(error.status_code, code, str(error.detail), error.headers)
    if isinstance(error, FileChanged):
        return Refused(412, "file-changed", str(error), current=error.current, diff=error.diff)
    if isinstance(error, AlreadyDecided):
        return Refused(409, "already-decided", str(error))
    if isinstance(error, InvalidDeploy):
        found = [{**as_object(one), "file": one.file.name} for one in error.findings]
        return Refused(422, "invalid-config", str(error), findings=found)
    if isinstance(error, ConfigError):
        codes = [problem.code for problem in error.problems]
        status = next((_STATUS[code] for code in codes if code in _STATUS), 422)
        told = [
            {
                "code": one.code, "message": one.message, "pointer": "".join(f"/{part}" for part in one.path),
                "suggestion": one.suggestion, "allowed": list(one.allowed),
            }
            for one in error.problems
        ]  # fmt: skip
        return Refused(status, codes[0] if codes else "invalid-config", str(error), problems=told)
    if isinstance(error, BudgetSpent):
        return Refused(429, "budget-spent", str(error), scope=error.scope)
    if isinstance(error, FencedError):
        return Refused(409, "conflict", str(error))
    if isinstance(error, TransientError):
        after = error.retry_after if isinstance(error, ServerAway) else None
        return Refused(503, "try-again", str(error), {"Retry-After": str(max(1, round(after or 5)))})
    if isinstance(error, GatewayError):
        return Refused(502, "no-model", str(error))
    if isinstance(error, DataForgeError):
        return Refused(422, "impossible", str(error))
    id_ = uuid.uuid4().hex[:12]
    logging.getLogger("dataforge.web").error("error %s in the web API", id_, exc_info=error)
    line("an error in the web API", level=logging.ERROR, id=id_, error=type(error).__name__)
    return Refused(500, "internal-error", f"something went wrong here; the server's log tells more of error {id_}")


def _wrong(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return one fault of a request without what was sent: neither values nor keys of the caller's own."""
    place, message = list(map(str, error["loc"])), str(error["msg"])
    if error["type"] == "extra_forbidden":
        place, message = place[:-1], "there is a key that is not known here"
    elif error["type"] == "union_tag_invalid":
        message = f"it is none of {error['ctx']['expected_tags']}"
    elif error["type"] == "json_invalid":
        message = "the body is no JSON"
    return {"place": place, "message": message}


def handle(app: FastAPI) -> None:
    """Let an app answer every expected error with its problem; the door does so for the others."""

    async def told(_: Request, error: Exception) -> Response:
        return answer(of(error))

    for kind in (Refused, RequestValidationError, HTTPException, DataForgeError):
        app.add_exception_handler(kind, told)
