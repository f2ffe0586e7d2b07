"""Configs as files and texts: read, check, compare, try, put into force, go back."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from dataforge.web import forms
from dataforge.web.access import Asker
from dataforge.web.approvals import AwaitingForm
from dataforge.web.bodies import ConfigBody, DeployBody, DiffBody, PreviewBody, RollbackBody, RunBody
from dataforge.web.once import IfMatch, IfNoneMatch, Key, base, etag, once
from dataforge.web.state import AtDesk

ROUTES = APIRouter(tags=["configs"])
Name = Annotated[str, Path(max_length=500, description="Name of a config in the configs folder.")]
_WAITS: dict[int | str, dict[str, Any]] = {
    202: {"model": AwaitingForm, "description": "It waits until another person approves it (deploy_approval)."}
}
_TRIALS = CapacityLimiter(2)
"""Previews and plans read data: few at a time, in threads that Airflow's own routes don't need."""


@ROUTES.post("/check", response_model=forms.CheckedForm)
def check(body: ConfigBody, at: AtDesk) -> dict[str, Any]:
    """Check a config as deploying it does."""
    return at.check(body.text, body.file)


@ROUTES.post("/explain", response_model=forms.WordsForm)
def explain(body: ConfigBody, at: AtDesk) -> dict[str, Any]:
    """Say in plain words, without a model, what a config does, with the SQL that its transforms become."""
    return at.words(body.text, body.file)


@ROUTES.post("/effective", response_model=forms.ValuesForm)
def effective(body: RunBody, at: AtDesk) -> dict[str, Any]:
    """Return every value that would be in force with a text, and the place that it comes from."""
    return at.effective(body.text, body.file, body.dag_id)


@ROUTES.post("/diff", response_model=forms.DiffForm)
def diff(body: DiffBody, at: AtDesk) -> dict[str, Any]:
    """Show what a text would change of a config: as a unified diff, value by value, and in words."""
    return at.compare(body.file, body.text)


@ROUTES.post("/preview", response_model=forms.PreviewForm)
async def preview(body: PreviewBody, at: AtDesk) -> dict[str, Any]:
    """Return sample rows after every step; nothing is written."""
    return await to_thread.run_sync(at.preview, body.text, body.file, body.dag_id, body.rows, limiter=_TRIALS)


@ROUTES.post("/plan", response_model=forms.PlanForm)
async def plan(body: RunBody, at: AtDesk) -> dict[str, Any]:
    """Tell what a run would change now in its destinations; nothing is written."""
    return await to_thread.run_sync(at.plan, body.text, body.file, body.dag_id, limiter=_TRIALS)


@ROUTES.get("/configs/{file:path}/revisions", response_model=forms.RevisionsForm)
def revisions(file: Name, at: AtDesk, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """List the revisions of a config, the newest first: when, by whom, why, by which model."""
    return at.history(file, limit)


@ROUTES.get("/configs/{file:path}/revisions/{revision}", response_model=forms.RevisionForm)
def revision(file: Name, revision: Annotated[str, Path(max_length=64)], at: AtDesk) -> dict[str, Any]:
    """Return one revision: its text, and how the config would change by going back to it."""
    return at.revision(file, revision)


@ROUTES.post("/configs/{file:path}/rollback", response_model=forms.DeployedForm, responses=_WAITS)
def rollback(
    file: Name, body: RollbackBody, at: AtDesk, asker: Asker, request: Request, response: Response,
    if_match: IfMatch = None, if_none_match: IfNoneMatch = None, key: Key = None,
) -> dict[str, Any] | Response:  # fmt: skip
    """Put an older revision into force again, after all checks."""

    def do() -> dict[str, Any]:
        return at.rollback(file, body.revision, body.reason, base(if_match, if_none_match))

    return _written(response, once(request, response, asker, key, body.model_dump_json().encode(), do))


@ROUTES.get("/configs/{file:path}", response_model=forms.ConfigForm)
def config(file: Name, at: AtDesk, response: Response) -> dict[str, Any]:
    """Return a config's text, with its digest as ETag, and its findings."""
    return _tagged(response, at.config(file))


@ROUTES.put("/configs/{file:path}", response_model=forms.DeployedForm, responses=_WAITS)
def deploy(
    file: Name, body: DeployBody, at: AtDesk, asker: Asker, request: Request, response: Response,
    if_match: IfMatch = None, if_none_match: IfNoneMatch = None, key: Key = None,
) -> dict[str, Any] | Response:  # fmt: skip
    """Put a config into force: checked, written in one step, recorded as a revision."""

    def do() -> dict[str, Any]:
        return at.deploy(file, body.text, body.reason, base(if_match, if_none_match))

    return _written(response, once(request, response, asker, key, body.model_dump_json().encode(), do))


def _written(response: Response, answer: dict[str, Any]) -> dict[str, Any] | Response:
    if "approval" not in answer:
        return _tagged(response, answer)
    replayed = {name: value for name, value in response.headers.items() if name == "idempotency-replayed"}
    return JSONResponse(answer, 202, headers=replayed)


def _tagged(response: Response, answer: dict[str, Any]) -> dict[str, Any]:
    response.headers["ETag"] = etag(answer["digest"])
    return answer
