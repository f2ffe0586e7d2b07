"""From a pipeline config to an Airflow DAG."""
