"""What configs are made of: the same for everybody as long as the server runs, so it is put into words once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.problems import Refused
from dataforge.web.state import AtDesk

ROUTES = APIRouter(tags=["catalogue"])
Kind = Literal["source", "transform", "check", "destination"]
_MADE: dict[str, tuple[bytes, str]] = {}
"""Answers with their ETags, by what was asked for; only what there is gets in."""


def _once(request: Request, what: str, make: Callable[[], Any]) -> Response:
    """Answer what never changes: 304 to whoever has it already."""
    if what not in _MADE:
        body = bytes(JSONResponse(make()).body)
        _MADE[what] = (body, f'"{hashlib.sha256(body).hexdigest()}"')
    body, tag = _MADE[what]
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@ROUTES.get("/schema", response_model=dict[str, Any])
def schema(request: Request) -> Response:
    """Return the JSON Schema of a config."""
    from dataforge.config.schema import json_schema

    return _once(request, "schema", json_schema)


@ROUTES.get("/components", response_model=forms.ComponentsForm)
def components(
    request: Request,
    at: AtDesk,
    kind: Annotated[Literal["", "source", "transform", "check", "destination"], Query()] = "",
) -> Response:
    """List the components, each with its keys in short."""
    return _once(request, f"components {kind}", lambda: at.list_components(kind))


@ROUTES.get("/components/{kind}/{type}", response_model=dict[str, Any])
def component(request: Request, kind: Kind, type: Annotated[str, Path(max_length=100)]) -> Response:
    """Describe a component: every key with type, default, meaning and examples, and the JSON Schema of its config."""
    from dataforge.components.reference import describe
    from dataforge.components.registry import KINDS

    registry = KINDS[kind][0]
    if type not in registry.types():
        raise Refused(404, "unknown-component", f"there is no {kind} of that type", allowed=registry.types())
    found = registry.get(type)

    def made() -> dict[str, Any]:
        return {**describe(kind, found), "schema": found.config.model_json_schema()}

    return _once(request, f"{kind} {type}", made)


@ROUTES.get("/examples", response_model=forms.ExamplesForm)
def examples(request: Request) -> Response:
    """List requests with the configs that answer them."""
    from dataforge.authoring import library

    def made() -> dict[str, Any]:
        return {
            "examples": [
                {"id": one.id, "request": one.request, "language": one.language, "config": one.config}
                for one in library.packaged()
            ]
        }

    return _once(request, "examples", made)


@ROUTES.get("/findings/{code}", response_model=forms.CodeForm)
def finding(code: Annotated[str, Path(max_length=100)]) -> dict[str, Any]:
    """Say in plain words what a finding's code means."""
    from dataforge.authoring.explain import code_in_words
    from dataforge.config.findings import CODES

    if code not in CODES:
        raise Refused(404, "not-found", "there is no finding of that code")
    return {"code": code, "text": code_in_words(code)}


@ROUTES.get("/connections", response_model=forms.ConnectionsForm)
def connections(at: AtDesk, asker: Asker) -> dict[str, Any]:
    """List the connections that configs may name, by id and type, for those who may write configs."""
    if not asker.edits:
        raise Refused(403, "forbidden", "this needs the permission to edit DAGs")
    return at.list_connections()
