"""From a pipeline config to an Airflow DAG, and from a folder of configs to the DAG files that Airflow reads."""
