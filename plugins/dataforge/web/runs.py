"""A pipeline at work: its runs and what they counted, whether Airflow has read it, run now, pause."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from dataforge.web import control, forms, observed
from dataforge.web.access import Asker, Person
from dataforge.web.bodies import PauseBody, RunNowBody
from dataforge.web.once import Key, once
from dataforge.web.problems import Refused
from dataforge.web.state import AtDesk

ROUTES = APIRouter(prefix="/pipelines", tags=["runs"])
Id = Annotated[str, Path(max_length=250)]


@ROUTES.get("/{dag_id}/runs", response_model=forms.RunsForm)
def runs(dag_id: Id, at: AtDesk, asker: Asker, limit: Annotated[int, Query(ge=1, le=200)] = 25) -> dict[str, Any]:
    """List the runs of a pipeline, the newest first: seconds, rows and rejected records of every task."""
    at.pipeline(dag_id)
    if not asker.may("GET", dag_id, "RUN"):
        raise Refused(403, "forbidden", f"this needs the permission to read the runs of the DAG {dag_id!r}")
    return {"runs": _runs(asker, dag_id, limit)}


@ROUTES.post("/{dag_id}/runs", status_code=201, response_model=forms.RunForm)
def run_now(
    dag_id: Id, body: RunNowBody, at: AtDesk, asker: Asker, request: Request, response: Response, key: Key = None
) -> dict[str, Any]:
    """Start a run by hand."""
    from dataforge.runtime.context import check_params

    config = at.pipeline(dag_id).config
    if not asker.may("POST", dag_id, "RUN"):
        raise Refused(403, "forbidden", f"this needs the permission to start runs of the DAG {dag_id!r}")

    def do() -> dict[str, Any]:
        check_params(config, body.params)
        run_id = control.trigger(dag_id, body.params, asker, unpause=body.unpause)
        observed.forget()
        return _runs(asker, dag_id, 1, run_id)[0]

    return once(request, response, asker, key, body.model_dump_json().encode(), do)


@ROUTES.post("/{dag_id}/pause", response_model=forms.PausedForm)
def pause(dag_id: Id, body: PauseBody, at: AtDesk, asker: Asker) -> dict[str, Any]:
    """Pause a pipeline, or let it go on."""
    at.pipeline(dag_id)
    control.pause(dag_id, body.paused, asker)
    observed.forget()
    return {"paused": body.paused}


@ROUTES.get("/{dag_id}/status", response_model=forms.StatusForm)
def status(dag_id: Id, at: AtDesk, digest: Annotated[str, Query(max_length=64)] = "") -> dict[str, Any]:
    """Tell whether Airflow has parsed a config: that of the digest, or the one that is in force."""
    return at.status(at.pipeline(dag_id), digest)


def _runs(asker: Person, dag_id: str, limit: int, run_id: str | None = None) -> list[dict[str, Any]]:
    stages, figures = asker.may("GET", dag_id, "TASK_INSTANCE"), asker.may("GET", dag_id, "XCOM")
    return observed.runs(dag_id, limit, stages=stages, figures=figures, run_id=run_id)
