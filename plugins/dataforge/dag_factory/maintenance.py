"""Our own DAGs: maintenance of every night, and errands, which the web API has done where tasks run.

Maintenance removes what killed runs left behind and uploads that are too old, compares Airflow's successes with the
load markers, and checks the connections that configs name. An errand is a run of the errands DAG whose conf says what
is wanted; its answer is an XCom. Whoever may run that DAG may replay the dead letters of every pipeline and check every
connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, task

from dataforge.dag_factory.builder import TAG

DAG_ID = "dataforge_maintenance"
ERRANDS = "dataforge_errands"
ERRAND_TASK = "run_errand"
ANSWER = "answer"
"""The key of an errand's answer among its XComs."""


def maintenance_dag() -> DAG:
    """Return the DAG of every night: sweeps of staging area and uploads, loads against markers, connection checks."""
    dag = DAG(
        dag_id=DAG_ID,
        description="Removes what runs that never finished left behind; compares Airflow's successes with the markers; "
        "checks the connections that configs name.",
        schedule=CronTriggerTimetable("17 3 * * *", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        tags=[TAG, "maintenance"],
        default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    )
    with dag:

        @task(task_id="sweep_staging")
        def sweep_staging():  # type: ignore[no-untyped-def]  # an annotated dict would be split into several XComs
            from dataforge.runtime.clean_up import sweep
            from dataforge.settings import get_settings

            return {"removed": sweep(get_settings())}

        @task(task_id="sweep_uploads")
        def sweep_uploads():  # type: ignore[no-untyped-def]
            from dataforge.dag_factory.uploads import sweep_old
            from dataforge.settings import get_settings
            from dataforge.store.database import open_store

            return {"removed": sweep_old(open_store(), get_settings())}

        @task(task_id="reconcile")
        def reconcile():  # type: ignore[no-untyped-def]
            from airflow.sdk.exceptions import AirflowFailException

            from dataforge.config.files import read_folder
            from dataforge.runtime.reconcile import AirflowRuns, run
            from dataforge.settings import get_settings

            settings = get_settings()
            pipelines = [loaded.config for loaded in read_folder(settings.configs_folder).pipelines]
            found = run(pipelines, AirflowRuns(), days=settings.reconcile_days)
            if found.divergences and settings.reconcile_fails:
                raise AirflowFailException(f"{len(found.divergences)} divergences; the log names them")
            return found.to_json()

        @task(task_id="check_connections", retries=0)
        def check_named():  # type: ignore[no-untyped-def]
            from dataforge.dag_factory.health import check_connections, named_connections
            from dataforge.observability.log import line

            found = check_connections(named_connections())
            for name, one in found.items():
                if one["state"] == "failed":
                    line("a connection does not work", connection=name, said=one["message"], advice=one["advice"])
            return {name: one["state"] for name, one in found.items()}

        sweep_staging()
        sweep_uploads()
        reconcile()
        check_named()
    return dag


def errands_dag() -> DAG:
    """Return the DAG that the web API runs for what has to be done where tasks run."""
    dag = DAG(
        dag_id=ERRANDS,
        description="What the page asks for where tasks run: checks of connections, replays of dead letters.",
        schedule=None,
        catchup=False,
        max_active_runs=8,
        is_paused_upon_creation=False,
        tags=[TAG, "maintenance"],
        default_args={"retries": 0, "execution_timeout": timedelta(hours=1)},
    )
    with dag:

        @task(task_id=ERRAND_TASK)
        def run_errand():  # type: ignore[no-untyped-def]
            from airflow.sdk import get_current_context
            from airflow.sdk.exceptions import AirflowFailException

            from dataforge.errors import DataForgeError

            context = get_current_context()
            conf = dict(context["dag_run"].conf or {})
            try:
                context["ti"].xcom_push(ANSWER, errand(conf))
            except DataForgeError as error:
                context["ti"].xcom_push(ANSWER, {"error": str(error)[:4_000]})
                raise AirflowFailException(str(error)) from None

        run_errand()
    return dag


def errand(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Do what an errand's conf says; TerminalError for one that is not known."""
    from dataforge.errors import TerminalError

    known: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"check": _check, "replay": _replay}
    if (kind := conf.get("errand")) not in known:
        raise TerminalError(f"there is no errand {kind!r}; known are {', '.join(known)}")
    return known[str(kind)](conf)


def _check(conf: Mapping[str, Any]) -> dict[str, Any]:
    from dataforge.dag_factory.health import check_connections

    (found,) = check_connections([str(conf.get("conn_id") or "")]).values()
    return found


def _replay(conf: Mapping[str, Any]) -> dict[str, Any]:
    from dataclasses import replace

    from dataforge.config.files import read_folder
    from dataforge.errors import TerminalError
    from dataforge.runtime.ledgers import without_run
    from dataforge.runtime.replay import replay_pending
    from dataforge.settings import get_settings

    folder = get_settings().configs_folder
    for loaded in read_folder(folder).pipelines:
        if loaded.config.dag_id == conf.get("dag_id"):
            context = replace(without_run(loaded.config), actor=str(conf.get("actor") or ""))
            replayed, rejected = replay_pending(loaded.config, context, [str(one) for one in conf.get("ids") or ()])
            return {"replayed": replayed, "rejected": rejected}
    raise TerminalError(f"the worker finds no pipeline {conf.get('dag_id')!r} in the configs folder {str(folder)!r}")
