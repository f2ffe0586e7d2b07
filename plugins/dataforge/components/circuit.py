"""The state machine of circuit breakers, and the file that keeps states for all processes of a machine.

closed      callers go through; failures in a row to reach the server are counted
open        after so many of them: callers are refused at once, until the time of rest is over
half-open   then one caller tries the server: it closes the breaker again, or opens it anew
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal, Protocol

from dataforge.components.base import Connection
from dataforge.components.database import without_secrets
from dataforge.errors import ServerAway, TransientError, bounded
from dataforge.observability.log import line

PREFIX = "dataforge_breaker_"
MAX_ERROR = 300


@dataclass(frozen=True)
class Circuit:
    """The state of one breaker. Instants are ISO 8601 texts in UTC; `host` is the server that it is about."""

    state: Literal["closed", "open", "half-open"] = "closed"
    failures: int = 0
    opened_at: str | None = None
    until: str | None = None
    last_error: str = ""
    probe: str | None = None
    host: str = ""

    def to_text(self) -> str:
        """Return JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str | None) -> Circuit | None:
        """Return the circuit that `to_text` gave; None for none and for what is no circuit."""
        try:
            circuit = cls(**json.loads(text)) if text else None
            if circuit is not None and (circuit.state not in ("closed", "open", "half-open") or circuit.failures < 0):
                return None
            for instant in (circuit.opened_at, circuit.until) if circuit is not None else ():
                assert instant is None or datetime.fromisoformat(instant).tzinfo is not None
        except (ValueError, TypeError, AssertionError):
            return None
        return circuit


class Store(Protocol):
    """Where circuits are kept as texts by name. `settle` is how long a mark must stand, 0 where `exclusive` locks."""

    settle: float

    def names(self) -> set[str]: ...
    def read(self, name: str) -> str | None: ...
    def write(self, name: str, text: str | None) -> None: ...
    def exclusive(self) -> AbstractContextManager[None]: ...


class FileStore:
    """One JSON file for runs without Airflow, locked while it is changed."""

    settle = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        """Return the names in use."""
        return set(self._all())

    def read(self, name: str) -> str | None:
        """Return a circuit's text."""
        return self._all().get(name)

    def write(self, name: str, text: str | None) -> None:
        """Keep a circuit's text; remove it for None."""
        kept = {**self._all(), name: text}
        temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        temporary.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))
        temporary.replace(self.path)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all others from changing the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _all(self) -> dict[str, str]:
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


class Breakers:
    """The breakers of the connections that one task uses."""

    def __init__(
        self,
        store: Store,
        failures: int,
        seconds: float,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._failures = failures
        self._rest = timedelta(seconds=seconds)
        self._now = now
        self._sleep = sleep
        self._mark = f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._names: set[str] | None = None
        self._used: dict[str, Connection] = {}
        self._counting: set[str] = set()
        self._probing: set[str] = set()

    def admit(self, connection: Connection) -> None:
        """Let the task use the connection, perhaps as the one that tries it; else TransientError that says till when.

        Asks the store once for a task, and again only for connections that something is wrong with.
        """
        if connection.id in self._used:
            return
        if self._names is None:
            self._names = self._store.names()
        circuit = self._read(connection) if PREFIX + connection.id in self._names else None
        if circuit is not None and circuit.state == "closed":
            self._counting.add(connection.id)
        elif circuit is not None:
            self._try(connection, circuit)
        self._used[connection.id] = connection

    def away(self, error: ServerAway) -> None:
        """Count that the task did not reach the server of a connection."""
        if (connection := self._used.get(error.connection)) is not None:
            self._count(connection, str(error))
        self.give_back()

    def well(self) -> None:
        """Note that the task reached all its servers: what was counted against them is forgotten."""
        for name in self._counting | self._probing:
            with self._store.exclusive():
                circuit = self._read(self._used[name])
                mine = circuit is not None and circuit.state == "half-open" and circuit.probe == self._mark
                if circuit is not None and (mine or circuit.state == "closed"):
                    self._write(name, None)
            if mine:
                line("connection is back", connection=name)
        self._probing.clear()

    def give_back(self) -> None:
        """Let another task try the server: this one ended for a reason that says nothing about it."""
        for name in list(self._probing):
            with self._store.exclusive():
                circuit = self._read(self._used[name])
                if circuit is not None and circuit.probe == self._mark:
                    self._write(name, replace(circuit, state="open", until=_text(self._now()), probe=None))
            self._probing.discard(name)

    def _count(self, connection: Connection, error: str) -> None:
        now = self._now()
        with self._store.exclusive():
            before = self._read(connection) or Circuit(host=_host(connection))
            mine = before.state == "half-open" and before.probe == self._mark
            if before.state != "closed" and not mine:
                return  # it began before the breaker opened; what counts now is the probe
            count = before.failures + 1
            told = bounded(without_secrets(error, connection), MAX_ERROR)
            after = replace(before, failures=count, last_error=told, probe=None)
            if mine or count >= self._failures:
                opened, until = before.opened_at or _text(now), _text(now + self._rest)
                after = replace(after, state="open", opened_at=opened, until=until)
            self._write(connection.id, after)
        self._probing.discard(connection.id)
        if after.state == "open":
            line("connection rests", level=logging.WARNING, connection=connection.id, failures=count, until=after.until)

    def _try(self, connection: Connection, circuit: Circuit) -> None:
        """Become the one that tries the server, or raise."""
        name = connection.id
        with self._store.exclusive():
            if self._store.settle == 0:
                circuit = self._read(connection) or Circuit()
            if circuit.state == "closed":
                return
            if self._resting(circuit):
                raise _resting(name, circuit)
            circuit = replace(circuit, state="half-open", until=_text(self._now() + self._rest), probe=self._mark)
            self._write(name, circuit)
        if self._store.settle:
            self._sleep(self._store.settle * random.uniform(1, 1.5))  # noqa: S311 it only spreads the looks
            seen = self._read(connection)
            if seen is None:  # somebody removed it: the server may be used
                return
            if seen.probe != self._mark:
                raise _resting(name, seen)
        self._probing.add(name)
        line("connection is tried again", connection=name, failures=circuit.failures)

    def _resting(self, circuit: Circuit) -> bool:
        """Whether the time of rest, or of another task's probe, is not over; a clock that was set back ends it."""
        left = datetime.fromisoformat(circuit.until or _text(self._now())) - self._now()
        return timedelta(0) < left <= self._rest * 2

    def _read(self, connection: Connection) -> Circuit | None:
        """Return the connection's circuit; None when there is none, or when it is about another server."""
        circuit = Circuit.from_text(self._store.read(PREFIX + connection.id))
        return circuit if circuit is not None and circuit.host == _host(connection) else None

    def _write(self, name: str, circuit: Circuit | None) -> None:
        self._store.write(PREFIX + name, None if circuit is None else circuit.to_text())


def _resting(name: str, circuit: Circuit) -> TransientError:
    until = datetime.fromisoformat(circuit.until) if circuit.until else datetime.now(timezone.utc)
    state = "is resting" if circuit.state == "open" else "is being tried by another task, and rests"
    count = f"{circuit.failures} failure{'s' if circuit.failures != 1 else ''} in a row"
    return TransientError(
        f"connection {name!r} {state} until {until.astimezone(timezone.utc):%H:%M:%S} UTC after {count} "
        f"(last: {circuit.last_error})"
    )


def _host(connection: Connection) -> str:
    """Return which server the connection leads to, without user and password."""
    host = connection.host.rsplit("@", 1)[-1]
    return f"{host}:{connection.port}" if connection.port else host


def _text(instant: datetime) -> str:
    return instant.astimezone(timezone.utc).isoformat(timespec="milliseconds")
