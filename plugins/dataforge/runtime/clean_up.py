"""Removal of staged records and scratch folders: of a run that succeeded, and of runs that a kill left behind."""

from __future__ import annotations

from datetime import timedelta

from dataforge.components import scratch
from dataforge.components.base import JsonValue
from dataforge.observability.log import line
from dataforge.runtime.connections import lookup
from dataforge.runtime.context import TaskContext
from dataforge.runtime.staging import Staging
from dataforge.settings import Settings


def run(context: TaskContext) -> dict[str, JsonValue]:
    """Remove what the run has staged; for pipelines whose several destinations read the same staged rows."""
    Staging.open(context.settings, context.connection).remove_run(context.dag_id, context.run_id)
    line("staging removed", dag_id=context.dag_id, run_id=context.run_id)
    return {}


def sweep(settings: Settings) -> int:
    """Remove staged runs older than the deployment's retention; return how many there were.

    Scratch folders of this machine that old go too, unless their process is alive.
    """
    age = timedelta(hours=settings.staging_retention_hours)
    folders = scratch.sweep(settings.scratch_folder, older_than=age)
    line("scratch swept", older_than=age, removed=folders)
    removed = Staging.open(settings, lookup).sweep(age)
    line("staging swept", older_than=age, removed=removed)
    return removed
