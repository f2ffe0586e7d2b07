"""A listener that imports what tasks need once, in the scheduler, before it forks the workers of the LocalExecutor.

Each task runs in a process of its own, forked from a worker: what the scheduler has imported before it makes its
workers costs a task nothing. Only modules are loaded here; connections, threads and files are the tasks' own business,
since they don't survive a fork.
"""

from __future__ import annotations

import logging
from importlib import import_module

from airflow.listeners import hookimpl

from dataforge.components.registry import CHECKS, DESTINATIONS, SOURCES, TRANSFORMS

MODULES = (
    "dataforge.dag_factory.stub",
    "dataforge.dag_factory.loader",
    "dataforge.runtime.extract",
    "dataforge.runtime.transform",
    "dataforge.runtime.load",
    "dataforge.runtime.context",
    "dataforge.runtime.breaker",
    "dataforge.destinations._commit",
    "dataforge.destinations._duckdb_tables",
    "dataforge.destinations._dispositions",
    "duckdb",
    "pyarrow.parquet",
)


def preload() -> None:
    """Import every module that a task may need; what can't be imported is left to the task, which says it better."""
    for module in MODULES:
        try:
            import_module(module)
        except Exception:  # the scheduler must start, whatever is wrong with a package
            logging.getLogger(__name__).warning("can't import %s ahead of the tasks", module, exc_info=True)
    for registry in (SOURCES, TRANSFORMS, CHECKS, DESTINATIONS):
        for type_ in registry.types():
            try:
                registry.get(type_)
            except Exception:  # as above; a package of somebody else's among them
                logging.getLogger(__name__).warning("can't load %s %s", registry.singular, type_, exc_info=True)


@hookimpl
def on_starting(component: object) -> None:  # noqa: ARG001 # the hook's signature
    """Import what tasks need; Airflow calls this when a component starts, and the plugin loads this in schedulers."""
    preload()
