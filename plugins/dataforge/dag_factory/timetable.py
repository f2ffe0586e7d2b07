"""The cron timetable of our DAGs: Airflow's own, but decoded once for all DAGs of one schedule.

Airflow decodes a DAG's timetable some sixteen times to store that DAG, and each time its own one reads a file for the
words that the page shows: a third of the time in which it takes up a large folder.

The class stands in Airflow's database by its import path, `dataforge.dag_factory.timetable.CronTimetable`: never rename
it. Whoever decodes it there must know it from our plugin, so it is used only where the plugin is registered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow.plugins_manager import get_timetables_plugins
from airflow.timetables.interval import CronDataIntervalTimetable

KEPT = 1024
"""Timetables kept at hand; Airflow looks at one DAG's several times in a row, so that fewer than all will do."""


class CronTimetable(CronDataIntervalTimetable):
    """The data intervals of a cron expression in a time zone."""

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CronTimetable:
        """Return the timetable that `serialize` described: the same object each time, since none ever changes."""
        return _decoded(data["expression"], data["timezone"])


@lru_cache(maxsize=KEPT)
def _decoded(expression: str, timezone: str | int) -> CronTimetable:
    made = super(CronTimetable, CronTimetable).deserialize({"expression": expression, "timezone": timezone})
    assert isinstance(made, CronTimetable)
    return made


def cron_timetable(expression: str, timezone: str) -> CronTimetable | None:
    """Return the timetable of a cron expression or preset; None where Airflow has not loaded our plugin."""
    return _decoded(expression, timezone) if is_registered() else None


def is_registered() -> bool:
    """Whether Airflow can decode our timetable here."""
    return CronTimetable in get_timetables_plugins().values()
