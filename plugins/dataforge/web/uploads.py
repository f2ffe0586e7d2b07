"""Uploaded sample files: each person's own, told by their content, and readable by that person's drafts alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, File, Path, UploadFile
from pydantic import BaseModel

from dataforge.authoring.tools import answered
from dataforge.settings import get_settings
from dataforge.store import uploads
from dataforge.store.database import open_store
from dataforge.web.access import Asker
from dataforge.web.problems import Refused

ROUTES = APIRouter(prefix="/uploads", tags=["uploads"])
Id = Annotated[str, Path(max_length=64)]
OneFile = Annotated[UploadFile, File(description="CSV, JSON, NDJSON, Parquet, Excel or OpenAPI; at most 5 MB.")]
_READING = CapacityLimiter(2)
"""Files are profiled few at a time, in threads that Airflow's own routes don't need."""
_SWEEP_SECONDS = 3_600.0
_TOLD_OPERATIONS = 20


class UploadColumn(BaseModel):
    """A column of a file; values of private columns are masked in the examples."""

    name: str
    type: str
    nulls: int
    examples: list[str]


class UploadForm(BaseModel):
    """A file: `path` is how the drafts of its owner name it, `source` the other keys of the source that reads it."""

    id: str
    name: str
    kind: Literal["csv", "json", "ndjson", "parquet", "excel", "openapi"]
    bytes: int
    rows: int | None
    columns: list[UploadColumn]
    path: str
    source: dict[str, Any]
    operations: list[str]
    created_at: str


class UploadsForm(BaseModel):
    """A person's files, the newest first."""

    uploads: list[UploadForm]


@ROUTES.post("", status_code=201, response_model=UploadForm)
async def take(asker: Asker, file: OneFile) -> dict[str, Any]:
    """Keep a file: its type is told by its content, and its rows and columns are counted."""
    from dataforge.authoring.uploads import MAX_BYTES, sweep, take

    data = await file.read(MAX_BYTES + 1)
    name, folder = file.filename or "", get_settings().configs_folder

    def kept() -> uploads.Upload:
        sweep(open_store(), at_most_every_seconds=_SWEEP_SECONDS)
        return take(open_store(), asker.name, name, data, folder)

    return _told(await to_thread.run_sync(kept, limiter=_READING))


@ROUTES.get("", response_model=UploadsForm)
def mine(asker: Asker) -> dict[str, Any]:
    """List this person's files, the newest first."""
    from dataforge.authoring.uploads import sweep

    sweep(open_store(), at_most_every_seconds=_SWEEP_SECONDS)
    return {"uploads": [_told(one) for one in uploads.of(open_store(), asker.name)]}


@ROUTES.delete("/{id}", status_code=204)
def forget(id: Id, asker: Asker) -> None:
    """Remove a file."""
    from dataforge.authoring.uploads import forget

    if not forget(open_store(), id, asker.name):
        raise missing()


def missing() -> Refused:
    """Return the answer to whoever asks for a file that is not there, or not theirs."""
    return Refused(404, "not-found", "there is no such upload of yours")


def attached(actor: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return what a message tells of the files attached to it; Refused (404) for one that is not this person's."""
    from dataforge.authoring.uploads import path_of

    wanted = list(dict.fromkeys(ids))
    found = {one.id: one for one in uploads.of(open_store(), actor, wanted)} if wanted else {}
    if len(found) < len(wanted):
        raise missing()
    return [
        {
            "id": one.id, "name": one.name, "kind": one.kind, "path": path_of(one), "source": one.profile["source"],
            "operations": one.profile.get("operations", []),
        }
        for one in (found[id_] for id_ in wanted)
    ]  # fmt: skip


def with_files(body: Any, files: list[dict[str, Any]]) -> Any:
    """Return the body of a job with the files attached to it: named by the paths under which drafts read them."""
    request, pinned = body.request, dict(body.params)
    for one in files:
        if not one["source"]:
            said = ", ".join(one["operations"][:_TOLD_OPERATIONS])
            request = f"{request}\nThe API offers: {said}" if said else request
        elif one["name"] in request:
            request = request.replace(one["name"], one["path"])
        elif one["path"] not in request:
            request = f"{request}\nRead the file {one['path']}"
        if one["source"].get("records") and len(files) == 1 and body.kind == "generate":
            pinned.setdefault("/source/records", one["source"]["records"])
    return body.model_copy(update={"request": request, "params": pinned})


def _told(one: uploads.Upload) -> dict[str, Any]:
    from dataforge.authoring.uploads import path_of

    return answered(
        {
            "id": one.id, "name": one.name, "kind": one.kind, "bytes": one.bytes, "rows": one.profile["rows"],
            "columns": one.profile["columns"], "path": path_of(one), "source": one.profile["source"],
            "operations": one.profile.get("operations", []), "created_at": one.created_at.isoformat(),
        }
    )  # fmt: skip
