"""Tells invalid JSON configs as an Airflow import error; a file apart from the DAGs, so that it hides none of them."""

from dataforge.dag_factory.loader import raise_errors

raise_errors()
