"""Jobs: generate, refine, repair and explain, each with a stream of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from dataforge.gateway.base import Cancel, OnText
from dataforge.gateway.redaction import Redaction
from dataforge.settings import get_settings
from dataforge.store import chats, jobs
from dataforge.store.database import open_store
from dataforge.web import door, forms
from dataforge.web.access import Asker
from dataforge.web.bodies import ExplainBody, GenerateBody, JobBody, RefineBody, RepairBody
from dataforge.web.desk import Desk
from dataforge.web.jobs import Work
from dataforge.web.once import Key, once
from dataforge.web.problems import Refused
from dataforge.web.state import AtDesk
from dataforge.web.streams import follow
from dataforge.web.uploads import attached, with_files

ROUTES = APIRouter(prefix="/jobs", tags=["jobs"])
Id = Annotated[str, Path(max_length=64)]


@ROUTES.post("", status_code=202, response_model=forms.JobForm)
def begin(
    body: JobBody, at: AtDesk, asker: Asker, request: Request, response: Response, key: Key = None
) -> dict[str, Any]:
    """Begin a job; its events tell how it goes, and its result is the draft."""

    def do() -> dict[str, Any]:
        work = _work(at, body)
        kind = "generate" if body.kind == "generate" else "refine"
        door.count(asker, kind, request.state.dataforge_limits)
        settings = get_settings()
        asked = Redaction(personal=False).json(body.model_dump(mode="json", exclude={"text"}))
        file = at.file_of(body.dag_id) if isinstance(body, RepairBody) and body.run_id else getattr(body, "file", "")
        job = jobs.begin(open_store(), asker.name, body.kind, asked, file=file, most=settings.web_jobs_per_user)
        if job is None:
            detail = f"{settings.web_jobs_per_user} jobs are at work for you; wait for one, or cancel it"
            raise Refused(429, "too-many-jobs", detail, {"Retry-After": "5"})
        request.app.state.runner.submit(job.id, work)
        return _told(job)

    answer = once(request, response, asker, key, body.model_dump_json().encode(), do)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/api/v1/jobs/{answer['id']}"
    return answer


@ROUTES.get("", response_model=forms.JobsForm)
def mine(asker: Asker, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """List this person's jobs, the newest first, without their results."""
    return {"jobs": [_told(one) for one in jobs.of(open_store(), asker.name, limit)]}


@ROUTES.get("/{id}", response_model=forms.JobWithResult)
def one(id: Id, asker: Asker) -> dict[str, Any]:
    """Return a job with its result."""
    job = _mine(id, asker)
    return {**_told(job), "result": job.result}


@ROUTES.post("/{id}/cancel", status_code=202, response_model=forms.JobForm)
def cancel(id: Id, asker: Asker, request: Request) -> dict[str, Any]:
    """End a job early; the model's server is freed."""
    job = jobs.cancel(open_store(), id, asker.name)
    if job is None:
        raise _missing()
    request.app.state.runner.cancel(id)
    return _told(job)


@ROUTES.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "The events of the job, to its end."},
               204: {"description": "The job has ended, and all its events were seen."}},
)  # fmt: skip
def events(
    id: Id,
    asker: Asker,
    request: Request,
    last: Annotated[int, Header(alias="Last-Event-ID", ge=0, le=2_000_000_000)] = 0,
) -> Response:
    """Stream what a job says: queued, running, text …, and in the end done, failed, cancelled or interrupted."""
    store = open_store()
    job = _mine(id, asker)
    if job.ended and not jobs.events(store, id, last):
        return Response(status_code=204)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    stream = follow(store, request.app.state.news, id, last)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _work(at: Desk, body: GenerateBody | RefineBody | RepairBody | ExplainBody) -> Work:
    """Return what a job is to do, after the permissions were looked at."""
    store, name = open_store(), at.asker.name
    if isinstance(body, RepairBody) and body.run_id:
        at.failed_run(body.dag_id, body.run_id)
    elif isinstance(body, RefineBody | RepairBody) or (isinstance(body, ExplainBody) and not body.finding):
        at.opened(body.text, body.file)
    words = getattr(body, "request", "") or body.kind
    files = attached(name, getattr(body, "attachments", ()))
    if files:
        body = with_files(body, files)
    history: tuple[str, ...] = ()
    if body.chat:
        said = chats.messages(store, body.chat, name)
        if not said and all(one.id != body.chat for one in chats.chats(store, name)):
            raise Refused(404, "not-found", "there is no such chat")
        history = tuple(one.text for one in said if one.role == "user")[-10:]

    def work(on_text: OnText, stop: Cancel) -> Mapping[str, Any]:
        if body.chat:
            details = {"kind": body.kind, **({"attachments": files} if files else {})}
            chats.say(store, body.chat, name, "user", Redaction(personal=False).text(words), details)
        sent = at.watch()
        with at.lent(f"{getattr(body, 'text', '')} {getattr(body, 'request', '')}"):
            result = {**_done(at, body, history, on_text, stop), "sent": sent}
        if body.chat and not stop.wanted:
            answer = str(result.get("answer") or result.get("text") or "")
            chats.say(store, body.chat, name, "assistant", answer, {"kind": body.kind, "result": result})
        return result

    return work


def _done(
    at: Desk, body: GenerateBody | RefineBody | RepairBody | ExplainBody, history: tuple[str, ...], on_text: OnText,
    stop: Cancel,
) -> dict[str, Any]:  # fmt: skip
    if isinstance(body, GenerateBody):
        return at.author_config(
            body.request, body.mode, body.params, body.model, history=history, on_text=on_text, cancel=stop
        )
    if isinstance(body, RefineBody):
        return at.refine_config(
            body.request, body.file, body.text, body.params, body.model, mode=body.mode, history=history,
            on_text=on_text, cancel=stop,
        )  # fmt: skip
    if isinstance(body, RepairBody) and body.run_id:
        return at.repair_run(body.dag_id, body.run_id, body.model, body.turns, on_text=on_text, cancel=stop)
    if isinstance(body, RepairBody):
        return at.repair_config(body.text, body.file, body.model, body.turns, on_text=on_text, cancel=stop)
    return at.reword(body.file, body.text, body.finding, body.model, body.language, on_text=on_text, cancel=stop)


def _mine(id_: str, asker: Asker) -> jobs.Job:
    job = jobs.get(open_store(), id_, asker.name)
    if job is None:
        raise _missing()
    return job


def _missing() -> Refused:
    return Refused(404, "not-found", "there is no such job of yours")


def _told(job: jobs.Job) -> dict[str, Any]:
    return {
        "id": job.id, "kind": job.kind, "state": job.state, "file": job.file,
        "created_at": job.created_at.isoformat(), "ended_at": job.ended_at.isoformat() if job.ended_at else None,
    }  # fmt: skip
