"""Tables in PostgreSQL, written by binary COPY through ADBC.

One load is one transaction on the table's own object, by the commit protocol of `_commit`: nothing is dropped or
renamed, so grants, views and foreign keys stay. Columns whose types have no binary form in the driver pass through a
stage table and are cast by the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal
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

if TYPE_CHECKING:
    from dataforge.destinations._commit import TableLedger
    from dataforge.destinations._postgres_tables import PostgresTables


class PostgresConfig(TableConfig):
    """Config of the `postgres` destination."""

    type: Literal["postgres"] = "postgres"
    connection: ConnectionId = Field(description="Airflow connection of type postgres.", examples=["warehouse"])
    create_schema: bool = Field(default=True, description="Make the table's schema when it is missing.")
    replace_method: Literal["delete", "truncate", "swap"] = Field(
        default="delete",
        description="How replace empties the table, in the load's transaction: delete lets readers go on with the old "
        "rows; truncate is faster and frees the space at once, but makes readers wait until the load is done; swap "
        "fills a new table and puts it in the old one's place, which is refused while views or foreign keys depend on "
        "it. A table to which rows of another refer by a foreign key can be replaced by delete only, and only when "
        "that key is DEFERRABLE with NO ACTION on delete; else the load stops and nothing is changed.",
    )
    lock_timeout: Duration = Field(
        default=timedelta(seconds=5), description="Longest wait for a lock before the load gives up and is tried again."
    )
    statement_timeout: Duration | None = Field(
        default=None, description="Longest time of one statement, the load's COPY included; no limit when not set."
    )

    def asset(self) -> str:
        """Return `dataforge://connection/table`."""
        return f"dataforge://{quote(self.connection)}/{quote(self.table)}"


@DESTINATIONS.register(PostgresConfig)
class PostgresDestination:
    """Writes a PostgreSQL table by binary COPY, all rows or none."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"append", "replace", "merge"}), transactional=True, kind="table", commit="transaction", plans=True
    )

    def __init__(self, config: PostgresConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Append, replace or merge the rows, in one transaction with all that belongs to them."""
        from dataforge.destinations._commit import load

        connection = context.connection(self.config.connection)
        return load(lambda: self._open(connection), self.config, incoming, context)

    def ledger(self, context: LoadContext) -> AbstractContextManager[TableLedger]:
        """Open the ledger of this pipeline and table."""
        from dataforge.destinations._commit import table_ledger

        connection = context.connection(self.config.connection)
        return table_ledger(lambda: self._open(connection), self.config, context)

    def check(self, context: ExtractContext) -> str:
        """Say which server answers and what the table is; raise when a right is missing."""
        from dataforge.destinations._commit import disposition_of

        with self._open(context.connection(self.config.connection)) as db:
            version, database = db.rows("select current_setting('server_version'), current_database()")[0]
            target = db.target(self.config.table)
            ledger = self.config.ledger_schema or target.schema
            for schema in dict.fromkeys((target.schema, ledger)):
                db.check_schema(target, schema)
            if target.schema_exists:
                names = [column.name for column in target.columns or ()]
                db.check_rights(target, names, disposition_of(self.config))
            state = f"{len(target.columns)} columns" if target.columns is not None else "to be created"
            return f"PostgreSQL {version}, database {database!r}, table {target} ({state})"

    @contextmanager
    def _open(self, connection: Connection) -> Iterator[PostgresTables]:
        from dataforge.destinations._postgres_session import session
        from dataforge.destinations._postgres_tables import PostgresTables

        with session(connection, self.config.lock_timeout, self.config.statement_timeout) as db:
            yield PostgresTables(db, self.config.create_schema, self.config.replace_method)
