"""A circuit breaker for each connection, shared by all tasks: a server that is away is left alone for a while.

    closed      tasks go through; failures in a row to reach the server are counted
    open        after `breaker_failures` of them: tasks end at once, until `breaker_seconds` have passed
    half-open   then one task tries the server: it closes the breaker again, or opens it anew

Inside of Airflow the state is an Airflow Variable `dataforge_breaker_<connection>`, shown in Airflow's UI under Admin,
elsewhere a file below Airflow's home. It is there only while something is wrong: a task asks once, with its first
connection, which Variables there are, and writes only when a state changes. Whoever knows better removes the Variable.

Variables have no compare-and-set. Two failures at once may count as one, so that the breaker opens one failure later.
The probe is taken by Fischer's protocol (Lamport, "A fast mutual exclusion algorithm", 1987): write one's own mark,
wait longer than a write takes, and go on only if the mark still stands. Should a write take longer after all, two tasks
try the server, which does no harm.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from dataforge.components.base import Connection
from dataforge.components.circuit import PREFIX, Breakers, Circuit, FileStore, Store
from dataforge.errors import ServerAway, TransientError
from dataforge.observability.log import line
from dataforge.runtime.connections import in_task
from dataforge.runtime.context import TaskContext
from dataforge.settings import airflow_home

__all__ = ["PREFIX", "Breakers", "Circuit", "FileStore", "Store", "VariableStore", "default_store", "guarded"]

DESCRIPTION = "DataForge leaves this connection's server alone while it is away. Remove this to try it at once."
SETTLE_SECONDS = 1.0
"""How long a probe's mark in a Variable must stand: much longer than Airflow takes to write one."""


class VariableStore:
    """Airflow Variables, through the Task API."""

    settle = SETTLE_SECONDS

    def names(self) -> set[str]:
        """Return the names in use, by one question to Airflow; secrets backends are not asked."""
        from airflow.sdk import Variable

        return set(Variable.keys(prefix=PREFIX))

    def read(self, name: str) -> str | None:
        """Return a circuit's text."""
        from airflow.sdk import Variable

        found = Variable.get(name, default=None)
        return None if found is None else str(found)

    def write(self, name: str, text: str | None) -> None:
        """Keep a circuit's text; remove it for None."""
        from airflow.sdk import Variable

        if text is None:
            Variable.delete(name)
        else:
            Variable.set(name, text, description=DESCRIPTION)

    def exclusive(self) -> AbstractContextManager[None]:
        """Nothing is locked: Variables can't be."""
        return contextlib.nullcontext()


def default_store() -> Store:
    """Return Airflow's Variables inside of a task, else a file below Airflow's home."""
    return VariableStore() if in_task() else FileStore(airflow_home() / "dataforge" / "breakers.json")


@contextmanager
def guarded(context: TaskContext, store: Callable[[], Store] = default_store) -> Iterator[TaskContext]:
    """Give the context with breakers over the connections that are looked up through it.

    A connection whose breaker is open is refused at once with a TransientError. Only ServerAway counts as a failure;
    other errors (a 4xx, a wrong password, data that don't fit) say nothing about the server. Where the states can't be
    read or written, the task goes on without them.
    """
    settings = context.settings
    if not settings.breaker_seconds:
        yield context
        return
    breakers = Breakers(store(), settings.breaker_failures, settings.breaker_seconds)

    def lookup(conn_id: str) -> Connection:
        found = context.connection(conn_id)
        with _harmless():
            breakers.admit(found)
        return found

    try:
        yield replace(context, connection=lookup)
    except ServerAway as error:
        with _harmless():
            breakers.away(error)
        raise
    except BaseException:
        with _harmless():
            breakers.give_back()
        raise
    with _harmless():
        breakers.well()


@contextmanager
def _harmless() -> Iterator[None]:
    """Let only our own refusal out: a breaker must not break what works."""
    try:
        yield
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001 whatever keeps the states may fail in its own ways
        line("breaker states can't be used", level=logging.WARNING, reason=f"{type(error).__name__}: {error}"[:300])
