"""Checks of connections, done where tasks run, since that is where a connection has to work."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from dataforge.authoring.failures import advice_on
from dataforge.authoring.tools import answered
from dataforge.web import errands, forms
from dataforge.web.access import Asker, Person
from dataforge.web.problems import Refused

ROUTES = APIRouter(prefix="/connections", tags=["connections"])
Id = Annotated[str, Path(max_length=250)]


@ROUTES.get("/{conn_id}/check", response_model=forms.ConnectionCheckForm)
def checked(conn_id: Id, asker: Asker) -> dict[str, Any]:
    """Tell what the last check of a connection found; for those who may write configs."""
    _may(asker)
    return _told(conn_id, asker)


@ROUTES.post("/{conn_id}/check", status_code=202, response_model=forms.ConnectionCheckForm)
def check(conn_id: Id, asker: Asker) -> dict[str, Any]:
    """Have a connection checked by a task; one that is being checked is not checked twice."""
    _may(asker)
    last = errands.newest("check", conn_id)
    if last is None or last.ended or last.waits:
        errands.begin("check", conn_id, {"conn_id": conn_id}, asker)
    return _told(conn_id, asker)


def _may(asker: Person) -> None:
    if not asker.edits:
        raise Refused(403, "forbidden", "this needs the permission to edit DAGs")


def _told(conn_id: str, asker: Person) -> dict[str, Any]:
    last = errands.newest("check", conn_id)
    if last is None:
        return {"state": "unknown", "message": "it was not checked yet", "checked_at": None}
    at = last.asked_at.isoformat()
    if not last.ended:
        message = errands.IDLE if last.waits else "a task looks at it"
        return {"state": "failed" if last.waits else "running", "message": message, "checked_at": at}
    if last.answer is None or "error" in last.answer:
        message = str((last.answer or {}).get("error") or last.broken)
        return answered({"state": "failed", "message": message, "checked_at": at})
    state, message = str(last.answer.get("state")), str(last.answer.get("message"))
    if state == "failed":
        told = message if _sees(asker, conn_id) else str(last.answer.get("public") or "the check failed")
        advice = str(last.answer.get("advice") or advice_on(message))
        message = ". ".join(filter(None, (told.rstrip("."), advice if told != last.answer.get("public") else "")))
    return answered({"state": state, "message": message, "checked_at": at})


def _sees(asker: Person, conn_id: str) -> bool:
    """Whether Airflow shows them the connection itself; a server's words may tell of host and login."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails

    manager = get_auth_manager()
    details = ConnectionDetails(conn_id=conn_id)
    return bool(manager.is_authorized_connection(method="GET", user=asker.user, details=details))
