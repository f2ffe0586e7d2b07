"""What Airflow loads as plugin "dataforge". It is imported in every Airflow process, so it imports nothing else."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class DataForgePlugin(AirflowPlugin):
    """DataForge in Airflow."""

    name = "dataforge"
