"""What a person has Airflow do with a DAG: run it, pause it; each noted in our audit entries and in Airflow's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dataforge.store import audit
from dataforge.store.database import open_store
from dataforge.web.access import Person
from dataforge.web.problems import Refused

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def trigger(
    dag_id: str, conf: Mapping[str, Any], asker: Person, *, run_id: str | None = None, scoped: bool = True,
    unpause: bool = False, noted: tuple[str, str] | None = None,
) -> str:  # fmt: skip
    """Start a run of a DAG by hand, as Airflow's own API does, and return its id.

    `scoped` gives the run the data interval that a run by hand has; `unpause` unpauses a DAG that is paused, whose runs
    would only wait. `noted` is what our audit entry says was done to what, where the run is only a means.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound, DagRunAlreadyExists
    from airflow.sdk.exceptions import ParamValidationError
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType

    with create_session(scoped=False) as session:
        dag = _dag(dag_id, session)
        if dag.is_stale:
            raise _unparsed(dag_id)
        if dag.has_import_errors:
            raise Refused(409, "import-error", f"Airflow can't read the DAG {dag_id!r} as it is now; repair its config")
        if dag.is_paused and not unpause:
            raise Refused(409, "paused", f"the DAG {dag_id!r} is paused: a run would only wait; unpause it first")
        dag.is_paused = False
        try:
            run = trigger_dag(
                dag_id,
                triggered_by=DagRunTriggeredByType.REST_API,
                triggering_user_name=asker.name,
                run_id=run_id,
                conf=dict(conf),
                logical_date=datetime.now(timezone.utc) if scoped else None,
                replace_microseconds=False,
                session=session,
            )
        except DagNotFound:
            raise _unparsed(dag_id) from None
        except DagRunAlreadyExists:
            raise Refused(409, "conflict", "there is such a run already") from None
        except ParamValidationError as error:
            raise Refused(422, "invalid-param", str(error)) from None
        assert run is not None
        found = str(run.run_id)
        audit.record(open_store(), asker.name, *(noted or ("run", dag_id)), {"run_id": found})
        _note(session, "trigger_dag_run", dag_id, asker, {"method": "POST"}, found)
    return found


def pause(dag_id: str, paused: bool, asker: Person) -> None:
    """Pause or unpause a DAG."""
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        _dag(dag_id, session).is_paused = paused
        audit.record(open_store(), asker.name, "pause" if paused else "unpause", dag_id)
        _note(session, "patch_dag", dag_id, asker, {"is_paused": paused, "method": "PATCH"})


def _dag(dag_id: str, session: Session) -> Any:
    from airflow.models.dag import DagModel

    dag = session.get(DagModel, dag_id)
    if dag is None:
        raise _unparsed(dag_id)
    return dag


def _unparsed(dag_id: str) -> Refused:
    detail = f"Airflow does not know the DAG {dag_id!r} yet: its DAG processor has not read the config"
    return Refused(409, "not-parsed", detail, {"Retry-After": "2"})


def _note(
    session: Session, event: str, dag_id: str, asker: Person, extra: Mapping[str, Any], run_id: str | None = None
) -> None:
    from airflow.models.log import Log

    session.add(
        Log(
            event=event, dag_id=dag_id, run_id=run_id, owner=asker.name, owner_display_name=asker.name,
            extra=json.dumps({**extra, "by": "dataforge"}),
        )
    )  # fmt: skip
