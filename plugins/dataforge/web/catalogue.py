"""What configs are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query

from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.problems import Refused
from dataforge.web.state import AtDesk

ROUTES = APIRouter(tags=["catalogue"])
Kind = Literal["source", "transform", "check", "destination"]


@ROUTES.get("/schema")
def schema() -> dict[str, Any]:
    """Return the JSON Schema of a config."""
    from dataforge.config.schema import json_schema

    return json_schema()


@ROUTES.get("/components", response_model=forms.ComponentsForm)
def components(
    at: AtDesk, kind: Annotated[Literal["", "source", "transform", "check", "destination"], Query()] = ""
) -> dict[str, Any]:
    """List the components, each with its keys in short."""
    return at.list_components(kind)


@ROUTES.get("/components/{kind}/{type}")
def component(kind: Kind, type: Annotated[str, Path(max_length=100)]) -> dict[str, Any]:
    """Describe a component: every key with type, default, meaning and examples, and the JSON Schema of its config."""
    from dataforge.components.reference import describe
    from dataforge.components.registry import KINDS

    registry = KINDS[kind][0]
    if type not in registry.types():
        raise Refused(404, "unknown-component", f"there is no {kind} of that type", allowed=registry.types())
    found = registry.get(type)
    return {**describe(kind, found), "schema": found.config.model_json_schema()}


@ROUTES.get("/examples", response_model=forms.ExamplesForm)
def examples() -> dict[str, Any]:
    """List requests with the configs that answer them."""
    from dataforge.authoring import library

    return {
        "examples": [
            {"id": one.id, "request": one.request, "language": one.language, "config": one.config}
            for one in library.packaged()
        ]
    }


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
