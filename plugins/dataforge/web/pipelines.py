"""The pipelines that are in force, as those see them who may read their DAGs."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from dataforge.authoring.tools import answered
from dataforge.web import forms
from dataforge.web.state import AtDesk

ROUTES = APIRouter(prefix="/pipelines", tags=["pipelines"])
Id = Annotated[str, Path(max_length=250)]
_SAMPLES = CapacityLimiter(2)
"""Sources are sampled in threads that Airflow's own routes don't need."""


@ROUTES.get("", response_model=forms.PipelinesForm)
def pipelines(at: AtDesk) -> Response:
    """List the pipelines: validity with findings, delivery guarantee, owner; and the files that give none."""
    return JSONResponse(at.pipelines())  # many people look at it: it is not read into its form once more


@ROUTES.get("/{dag_id}", response_model=forms.PipelineForm)
def pipeline(dag_id: Id, at: AtDesk) -> dict[str, Any]:
    """Return a pipeline with what it does in words and what it guarantees."""
    return at.told(at.pipeline(dag_id))


@ROUTES.get("/{dag_id}/effective", response_model=forms.ValuesForm)
def effective(dag_id: Id, at: AtDesk) -> dict[str, Any]:
    """Return every value in force with the place that it comes from."""
    from dataforge.config.effective import explain

    rows = explain(at.pipeline(dag_id))
    return answered({"values": [{"pointer": one, "value": value, "origin": place} for one, value, place in rows]})


@ROUTES.get("/{dag_id}/lineage", response_model=forms.LineageForm)
async def lineage(dag_id: Id, at: AtDesk) -> dict[str, Any]:
    """Trace the columns of the result back to the sources; their columns are read from a sample, once for a config."""
    return await to_thread.run_sync(lambda: at.lineage(at.pipeline(dag_id)), limiter=_SAMPLES)


@ROUTES.get("/{dag_id}/sql", response_model=forms.SqlForm)
def sql(dag_id: Id, at: AtDesk) -> dict[str, Any]:
    """Return the SQL that the transforms become; "" when there are none."""
    from dataforge.authoring.explain import compiled

    return answered({"sql": compiled(at.pipeline(dag_id).data)})
