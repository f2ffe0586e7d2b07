"""DataForge's own Airflow DAGs: one of every night that cleans up, and one for what the page has done by tasks."""

from dataforge.dag_factory.maintenance import errands_dag, maintenance_dag

dag = maintenance_dag()
errands = errands_dag()
