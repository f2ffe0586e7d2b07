"""The app: its door, its routes, and what begins and ends with the server.

Routes are a few lines each: the desk knows what a person may do, the store keeps what must not be lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute

from dataforge import __version__
from dataforge.errors import ConfigError, DataForgeError
from dataforge.gateway.base import Gateway
from dataforge.settings import get_settings
from dataforge.web import (
    approvals,
    audit,
    catalogue,
    chats,
    configs,
    connections,
    drafts,
    letters,
    pipelines,
    problems,
    runs,
    state,
    static,
    uploads,
    work,
)
from dataforge.web.door import Door
from dataforge.web.jobs import Runner
from dataforge.web.streams import News

PREFIX = "/dataforge"
VERSION = "/api/v1"


def make_app(models: Callable[[], Gateway | None] | None = None) -> FastAPI:
    """Return a new app; `models` gives the gateway in place of the deployment's own."""
    app = FastAPI(
        title="DataForge", version=__version__, lifespan=_life, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False, generate_unique_id_function=_operation,
        description="Pipelines as configs: say what is wanted, check, preview, deploy, and go back.",
    )  # fmt: skip
    app.state.models = models or _models
    app.add_middleware(Door)
    problems.handle(app)
    for router in (
        state.ROUTES,
        catalogue.ROUTES,
        pipelines.ROUTES,
        runs.ROUTES,
        letters.ROUTES,
        connections.ROUTES,
        configs.ROUTES,
        work.ROUTES,
        chats.ROUTES,
        drafts.ROUTES,
        uploads.ROUTES,
        approvals.ROUTES,
        audit.ROUTES,
    ):
        app.include_router(router, prefix=VERSION)
    app.include_router(static.ROUTES)
    return app


def _operation(route: APIRoute) -> str:
    """Return the name by which generated clients know a route."""
    return f"{(route.tags or ['dataforge'])[0]}_{route.name}"


@cache
def the_app() -> FastAPI:
    """Return the app of this process, which Airflow asks for several times."""
    return make_app()


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    from dataforge.store.database import open_store

    try:
        most = get_settings().web_jobs
    except ConfigError:  # a wrong setting of ours must not keep Airflow from starting; every request tells of it
        most = 1
    runner = app.state.runner = Runner(open_store, most)
    news = app.state.news = News(open_store, runner.has)
    runner.tell = news.tell
    await to_thread.run_sync(_begin, runner)
    yield
    await to_thread.run_sync(runner.stop)
    news.stop()


def _begin(runner: Runner) -> None:
    import logging

    from dataforge.authoring.deploy import reconcile
    from dataforge.observability.log import line

    try:
        if get_settings().configs_folder.is_dir():
            reconcile()
    except (DataForgeError, OSError) as error:  # Airflow's own routes go on; /ready tells that ours don't
        line("what crashes left could not be settled", level=logging.WARNING, reason=str(error))
    runner.start()


@cache
def _models() -> Any:
    from dataforge.authoring.models import open_models

    return open_models()
