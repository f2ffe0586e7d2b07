"""One Airflow DAG for each valid JSON config, for installations without a ConfigBundle (see dataforge.bundle)."""

from dataforge.dag_factory.loader import load

globals().update(load())
