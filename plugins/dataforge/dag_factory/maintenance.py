"""The maintenance DAG: removes what runs left in staging when they were killed or failed."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task

from dataforge.dag_factory.builder import TAG

DAG_ID = "dataforge_maintenance"


def maintenance_dag() -> DAG:
    """Return the DAG that sweeps the staging area every night, by age (`staging_retention_hours`)."""
    dag = DAG(
        dag_id=DAG_ID,
        description="Removes staged records of runs that never finished, by age.",
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

        sweep_staging()
    return dag
