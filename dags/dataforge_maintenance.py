"""The Airflow DAG that removes left-over staged records by age."""

from dataforge.dag_factory.maintenance import maintenance_dag

dag = maintenance_dag()
