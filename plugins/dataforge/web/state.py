"""Whether the server answers, whether it can work, who asks, and what they used."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from dataforge.errors import DataForgeError
from dataforge.settings import get_settings
from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.bodies import Health
from dataforge.web.desk import Desk, desk

ROUTES = APIRouter(tags=["state"])
AtDesk = Annotated[Desk, Depends(desk)]


@ROUTES.get("/health")
async def health() -> Health:
    """Tell that the server answers; open to all."""
    return Health(status="ok")


@ROUTES.get("/ready", responses={503: {"model": Health}})
def ready(response: Response) -> Health:
    """Tell whether the store and the configs folder can be reached; open to all."""
    from dataforge.store.database import open_store

    try:
        with open_store().transaction():
            there = get_settings().configs_folder.is_dir()
    except DataForgeError:
        there = False
    response.status_code = 200 if there else 503
    return Health(status="ok" if there else "not-ready")


@ROUTES.get("/me", response_model=forms.MeForm)
def me(asker: Asker) -> dict[str, Any]:
    """Tell who asks and what they may do."""
    settings = get_settings()
    return {
        "name": asker.name,
        "edits": asker.edits,
        "creates": asker.may("PUT", None),
        "limits": {
            "seconds": settings.web_window_seconds,
            "requests": settings.web_requests,
            "generates": settings.web_generates,
            "refines": settings.web_refines,
        },
    }


@ROUTES.get("/usage", response_model=forms.UsageForm)
def usage(at: AtDesk) -> dict[str, Any]:
    """Tell what the language models used for this person, by month, model and task."""
    return at.model_usage()


@ROUTES.get("/models", response_model=forms.ModelsForm)
def models(at: AtDesk) -> dict[str, Any]:
    """List the language models, or why there is none."""
    return at.list_models()
