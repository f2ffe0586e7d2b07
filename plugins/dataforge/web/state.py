"""Whether the server answers, whether it can work, who asks, and what they used."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response

from dataforge.errors import DataForgeError
from dataforge.settings import get_settings
from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.bodies import Health
from dataforge.web.desk import Desk, desk

ROUTES = APIRouter(tags=["state"])
_LAST_DAY = date(9999, 12, 30)
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
    """Tell who asks, what they may do, and what is left to them."""
    from dataforge.authoring.models import StoreLedger
    from dataforge.gateway.budgets import standings

    settings = get_settings()
    return {
        "name": asker.name,
        "edits": asker.edits,
        "creates": asker.may("PUT", None),
        "may_author": asker.edits,
        "may_admin": asker.administers,
        "approval_required": settings.deploy_approval,
        "limits": {
            "seconds": settings.web_window_seconds,
            "requests": settings.web_requests,
            "generates": settings.web_generates,
            "refines": settings.web_refines,
        },
        "budgets": [
            {**vars(one), "left": one.left, "ends_at": one.ends_at.isoformat()}
            for one in standings(StoreLedger(), settings, asker.name)
        ],
    }


@ROUTES.get("/usage", response_model=forms.UsageForm)
def usage(
    at: AtDesk,
    asker: Asker,
    by: Literal["", "day", "user", "model"] = "",
    since: Annotated[date | None, Query(alias="from", description="First day (UTC).")] = None,
    until: Annotated[date | None, Query(alias="to", description="Last day (UTC).")] = None,
) -> dict[str, Any]:
    """Tell what the language models used: with `by`, as rows, for administrators those of all; else by month, model
    and task, this person's own."""
    if not by:
        return {**at.model_usage(), "rows": []}
    from dataforge.store.database import open_store
    from dataforge.store.usage import grouped

    found = grouped(
        open_store(), by, actor=None if asker.administers else asker.name, since=_midnight(since),
        until=_midnight(until, days=1),
    )  # fmt: skip
    return {"usage": [], "rows": [vars(one) for one in found]}


def _midnight(day: date | None, days: int = 0) -> datetime | None:
    if day is None:
        return None
    return datetime.combine(min(day, _LAST_DAY), time(), timezone.utc) + timedelta(days=days)


@ROUTES.get("/models", response_model=forms.ModelsForm)
def models(at: AtDesk) -> dict[str, Any]:
    """List the language models, or why there is none."""
    return at.list_models()
