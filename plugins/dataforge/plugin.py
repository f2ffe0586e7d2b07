"""What Airflow loads as plugin "dataforge". It is imported in every Airflow process, so it imports nothing else."""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class DataForgePlugin(AirflowPlugin):
    """DataForge in Airflow."""

    name = "dataforge"

    @property
    def timetables(self) -> list[Any]:  # type: ignore[override]  # Airflow only reads it
        """The timetable of our DAGs, imported only where Airflow asks for it: tasks don't."""
        from dataforge.dag_factory.timetable import CronTimetable

        return [CronTimetable]

    @property
    def listeners(self) -> list[Any]:  # type: ignore[override]  # Airflow only reads it
        """What imports the tasks' modules ahead of them, in the scheduler alone: other processes don't even load it."""
        if sys.argv[1:2] != ["scheduler"]:
            return []
        from dataforge.dag_factory import preload
        from dataforge.settings import get_settings

        return [preload] if get_settings().preload else []

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]  # Airflow only reads it, in its API server
        """The web API, made only where Airflow serves HTTP."""
        from dataforge.web.app import PREFIX, the_app

        return [{"app": the_app(), "url_prefix": PREFIX, "name": "dataforge"}]

    @property
    def react_apps(self) -> list[Any]:  # type: ignore[override]  # Airflow only reads it
        """The page: below "Pipelines" in the navigation, and as a tab of every DAG."""
        from dataforge.web.page import apps

        return apps("dataforge")  # relative: Airflow may stand below a path
