"""The real gateway over whatever connections a test describes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.gateway.fault_server import FaultServer

from dataforge.components.base import Connection
from dataforge.errors import ConfigError, Problem
from dataforge.gateway.base import Event
from dataforge.gateway.calls import ModelGateway
from dataforge.gateway.opening import open_gateway
from dataforge.settings import Settings

MakeGateway = Callable[..., ModelGateway]


@pytest.fixture
def events() -> list[Event]:
    """What the gateway told of its calls."""
    return []


@pytest.fixture
def gateway(events: list[Event]) -> MakeGateway:
    """Make a gateway: connections by position, settings by name."""

    def make(*connections: Connection, **settings: Any) -> ModelGateway:
        known = {connection.id: connection for connection in connections}

        def lookup(conn_id: str) -> Connection:
            if conn_id not in known:
                raise ConfigError(Problem("unknown-connection", f"there is no Airflow connection {conn_id!r}"))
            return known[conn_id]

        settings.setdefault("llm_chain", tuple(known))
        settings.setdefault("llm_cache_hours", 0)
        return open_gateway(lookup, settings=Settings(**settings), observer=events.append)

    return make


@pytest.fixture
def faults() -> Iterator[FaultServer]:
    """A server that does what no model server should."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _clients() -> None:
    """Import the clients before any deadline runs: the first import of one takes seconds on a slow machine."""
    for name in ("anthropic", "ollama", "openai"):
        importlib.import_module(name)
