"""The store's database: SQLite below Airflow's home by default, PostgreSQL where `store_url` says so.

    with open_store().transaction() as connection: …

The first use of a process brings the tables up to date. On SQLite a transaction takes the write lock when it begins, so
that what it read still holds when it writes; on PostgreSQL `lock` does the same for one subject. What only reads uses
`reading()`, which waits for nobody.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from dataforge.errors import ConfigError, Problem, TerminalError, TransientError
from dataforge.settings import airflow_home, get_settings
from dataforge.store.schema import NEWEST

VERSION_TABLE = "dataforge_version"
_MIGRATION_LOCK = 7_220_411_902
_BUSY_SECONDS = 30

_open: dict[tuple[str, int], Store] = {}
_opening = threading.Lock()


@dataclass(frozen=True)
class Store:
    """An open database whose tables are up to date."""

    engine: Engine = field(repr=False)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """Yield a connection; commit at the end, roll back when an exception passes.

        What is not durable does not wait for the disk: it is lost when the machine loses its power, and only then.
        """
        with self._told():
            connection = self.engine.connect().execution_options(durable=durable)
        with connection, self._told(), connection.begin():
            if not durable and connection.dialect.name == "postgresql":
                connection.execute(text("set local synchronous_commit = off"))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for what only reads: all of it sees one state, and no writer is waited for or kept."""
        with self._told():
            connection = self.engine.connect().execution_options(reading=True)
        with connection, self._told(), connection.begin():
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the driver's errors into ours, without the URL and the values that stand in their texts."""
        try:
            yield
        except DBAPIError as error:
            kind = type(error.orig).__name__
            busy = error.connection_invalidated or kind in ("OperationalError", "InterfaceError")
            message = f"the store ({self.engine.dialect.name}) failed: {kind}: {_first_line(error.orig)}"
            raise (TransientError if busy else TerminalError)(message) from None
        except SQLAlchemyError as error:
            raise TerminalError(f"the store failed: {type(error).__name__}") from None

    def lock(self, connection: Connection, subject: str) -> None:
        """Wait until no other transaction works on `subject`; SQLite's transactions wait for each other anyway."""
        lock(connection, subject)


def lock(connection: Connection, subject: str) -> None:
    """Do what `Store.lock` does."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big", signed=True)
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key})


def default_url() -> str:
    """Return the URL of the database where the settings name none."""
    return f"sqlite:///{airflow_home() / 'dataforge' / 'dataforge.db'}"


def open_store(url: str | None = None) -> Store:
    """Return the store of the settings, or that at `url`; its tables are made or brought up to date first.

    ConfigError when the URL is none, TransientError when the database is away.
    """
    wanted = url or get_settings().store_url or default_url()
    key = (wanted, os.getpid())
    with _opening:
        if key not in _open:
            parsed = _parsed(wanted)
            store = Store(_engine(parsed))
            _migrate(store)
            _open[key] = store
        return _open[key]


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        hint = "write sqlite:////absolute/path.db or postgresql://user:password@host/database"
        raise ConfigError(
            Problem("invalid-setting", "[dataforge] store_url is no URL of SQLite or PostgreSQL", (), hint)
        )
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg2")
    return parsed


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=8, hide_parameters=True)
        _make_file(Path(str(url.database)))
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS})
    except (NoSuchModuleError, ImportError) as error:
        raise TerminalError(f"the driver of the store's database is not installed: {error}") from None
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _make_file(path: Path) -> None:
    """Make the database's folder and file readable for their owner alone: chats and configs are nobody else's."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions late, and read outside of them
    for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
        connection.execute(f"pragma {pragma}")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("reading"):
        connection.exec_driver_sql("begin")
        return
    connection.exec_driver_sql(f"pragma synchronous = {'full' if options.get('durable', True) else 'normal'}")
    connection.exec_driver_sql("begin immediate")


def _migrate(store: Store) -> None:
    if _is_new(store):
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every look at the tables
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with store.transaction() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        message = f"the store's tables are of a newer DataForge than this one: {error}"
        raise TerminalError(message) from None


def _is_new(store: Store) -> bool:
    """Return whether the tables are those of this version, which saves a command line Alembic's own loading time."""
    with store.transaction() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return False
        return connection.execute(text(f"select version_num from {VERSION_TABLE}")).scalar() == NEWEST


def _first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
