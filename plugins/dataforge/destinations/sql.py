"""Tables in any database with an Airflow hook and a DB-API connection.

One load is one transaction by the commit protocol of `_commit`, with the ledger in the same database. Where a change of
tables ends the transaction (MySQL, MariaDB, Snowflake), new tables and columns are made before it, in steps that can be
repeated; the rows, the dead letters, the marker and the cursor are one transaction everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from dataforge.components.base import (
    Capabilities,
    Connection,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
)
from dataforge.components.fields import ConnectionId, Duration
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._table import TableConfig
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    from dataforge.destinations._commit import TableLedger
    from dataforge.destinations._sql_dialects import Dialect
    from dataforge.destinations._sql_tables import SqlTables
    from dataforge.destinations._tables import Target


class DatabaseConfig(TableConfig):
    """Base of the configs of databases that are written through a DB-API connection."""

    connection: ConnectionId = Field(description="Airflow connection of the database.", examples=["warehouse"])
    create_schema: bool = Field(default=True, description="Make the table's schema when it is missing.")
    lock_timeout: Duration = Field(
        default=timedelta(seconds=5),
        description="Longest wait for a lock before the load gives up and is tried again; in SQLite for the database.",
    )
    batch_rows: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Rows that are handed to the driver at a time."
    )

    def asset(self) -> str:
        """Return `dataforge://connection/table`."""
        return f"dataforge://{quote(self.connection)}/{quote(self.table)}"


class SqlConfig(DatabaseConfig):
    """Config of the `sql` destination."""

    type: Literal["sql"] = "sql"
    connection: ConnectionId = Field(
        description="Airflow connection of type sqlite, postgres, mysql, mssql or snowflake, whose provider package is "
        "installed. Tested against real servers: SQLite, PostgreSQL and MariaDB. For SQL Server and Snowflake the "
        "statements are tested, but no server. For PostgreSQL and MySQL the destinations postgres and mysql are "
        "faster.",
        examples=["warehouse"],
    )


@DESTINATIONS.register(SqlConfig)
class SqlDestination:
    """Writes a table of any database with an Airflow hook, all rows or none.

    SQLite, PostgreSQL and MariaDB are tested against the real thing; SQL Server and Snowflake by the text of the
    statements only. A destination of one database's own derives from this: `connection_type` is the type that its
    connection must have. Oracle is refused: to it an empty text is no value, so that texts would not arrive as they
    are.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace", "merge"}), transactional=True, kind="table", commit="transaction", plans=True
    )

    connection_type: ClassVar[str] = ""

    def __init__(self, config: DatabaseConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Append, replace or merge the rows, in one transaction with all that belongs to them."""
        from dataforge.destinations._commit import load

        connection = context.connection(self.config.connection)
        return load(lambda: self._open(connection, context), self.config, incoming, context)

    def ledger(self, context: LoadContext) -> AbstractContextManager[TableLedger]:
        """Open the ledger of this pipeline and table."""
        from dataforge.destinations._commit import table_ledger

        connection = context.connection(self.config.connection)
        return table_ledger(lambda: self._open(connection, context, immediate=False), self.config, context)

    def check(self, context: ExtractContext) -> str:
        """Say which database answers and what the table is."""
        connection = context.connection(self.config.connection)
        with self._open(connection, context, immediate=False) as db:
            target = db.target(self.config.table)
            with db.errors(target):
                version = db.asked(db.dialect_.version)
                for schema in dict.fromkeys((target.schema, self.config.ledger_schema or target.schema)):
                    db.check_schema(target, schema)
                db.rollback()
            state = f"{len(target.columns)} columns" if target.columns is not None else "to be created"
            return f"{db.dialect_.title} {version}, table {target} ({state})"

    @contextmanager
    def _open(
        self, connection: Connection, context: LoadContext | ExtractContext, *, immediate: bool = True
    ) -> Iterator[SqlTables]:
        from dataforge.components.dbapi import connect
        from dataforge.destinations._sql_tables import SqlTables

        config, dialect = self.config, self._dialect(connection)
        made = connect(
            connection,
            None,
            context.log,
            lambda hook, con: _prepare(hook, con, dialect, config.lock_timeout),
            files=self.bulk,
        )
        db = SqlTables(
            made.connection,
            made.lifeline,
            dialect,
            connection,
            batch_rows=config.batch_rows,
            immediate=immediate,
            create_schemas=config.create_schema,
            bulk_folder=context.scratch if self.bulk else None,
        )
        try:
            with db.errors(_place(connection)):
                yield db
        finally:
            # whatever is wrong with a session that ends, its transaction ends with it
            with suppress(Exception):
                db.rollback()
            with suppress(Exception):
                made.connection.close()
            made.lifeline.close()

    @property
    def bulk(self) -> bool:
        """Whether the driver may send files where that is faster than statements."""
        return False

    def _dialect(self, connection: Connection) -> Dialect:
        if self.connection_type and connection.type != self.connection_type:
            raise TerminalError(
                f"connection {connection.id!r} is of type {connection.type!r}; a {self.connection_type!r} one is needed"
            )
        return _dialect_of(connection)


def _place(connection: Connection) -> Target:
    """Return what errors outside of any table's statements name."""
    from dataforge.destinations._tables import Target

    return Target("", f"of connection {connection.id!r}")


def _dialect_of(connection: Connection) -> Dialect:
    from dataforge.destinations._sql_dialects import DIALECTS

    if connection.type in DIALECTS:
        return DIALECTS[connection.type]
    why = " (to Oracle an empty text is no value, so texts would not arrive as they are)"
    raise TerminalError(
        f"connection {connection.id!r} is of type {connection.type!r}, to which the sql destination can't write"
        f"{why if connection.type == 'oracle' else ''}; it writes to: {', '.join(sorted(DIALECTS))}"
    )


def _prepare(hook: Any, con: Any, dialect: Dialect, lock_timeout: timedelta) -> None:
    """Set a new session up: no autocommit, one isolation level, a limit for locks, UTC."""
    seconds = lock_timeout.total_seconds()
    if dialect.name == "sqlite":
        version = con.execute("select sqlite_version()").fetchone()[0]
        if tuple(map(int, version.split("."))) < (3, 35):
            raise TerminalError(f"SQLite {version} is too old for the sql destination, which needs 3.35 or later")
        con.isolation_level = None  # transactions begin where we say so
        con.execute(f"pragma busy_timeout = {max(1, int(seconds * 1000))}")
        return
    if getattr(hook, "supports_autocommit", False):
        hook.set_autocommit(con, False)
    values = {"milliseconds": max(1, int(seconds * 1000)), "seconds": max(1, round(seconds))}
    with closing(con.cursor()) as cursor:
        for statement in dialect.session:
            cursor.execute(statement.format(**values))
    con.commit()
