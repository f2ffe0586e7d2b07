"""The maintenance DAG: removes what killed runs left behind, and compares Airflow's successes with the load markers."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task

from dataforge.dag_factory.builder import TAG

DAG_ID = "dataforge_maintenance"


def maintenance_dag() -> DAG:
    """Return the DAG of every night: it sweeps the staging area by age, and reconciles loads and markers."""
    dag = DAG(
        dag_id=DAG_ID,
        description="Removes what runs that never finished left behind; compares Airflow's successes with the markers.",
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

        sweep_staging()
        reconcile()
    return dag
