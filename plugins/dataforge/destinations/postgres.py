"""Tables in PostgreSQL, written by binary COPY through ADBC.

One load is one transaction on the table's own object: nothing is dropped or renamed, so grants, views and foreign keys
stay. Columns whose types have no binary form in the driver pass through a temporary table and are cast by the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from dataforge.components.base import (
    Capabilities,
    DestinationConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
)
from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.fields import ConnectionId, Duration, TableName
from dataforge.components.prefetch import Prefetched, prefetch
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._columns import Outgoing, check_names, match
from dataforge.destinations._postgres_session import Session, referenced, session
from dataforge.destinations._postgres_types import Column, Planned, column_of, fit_existing, new_column
from dataforge.errors import TerminalError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAME_BYTES = 63
STAGE = "dataforge_load"


class PostgresConfig(DestinationConfig):
    """Config of the `postgres` destination."""

    type: Literal["postgres"] = "postgres"
    connection: ConnectionId = Field(description="Airflow connection of type postgres.", examples=["warehouse"])
    table: TableName = Field(
        description="Table to write, as 'table' or 'schema.table'; made from the records' columns when it is missing.",
        examples=["sales.orders"],
    )
    create_schema: bool = Field(default=True, description="Make the table's schema when it is missing.")
    replace_method: Literal["delete", "truncate"] = Field(
        default="delete",
        description="How replace empties the table, in the load's transaction: delete lets readers go on with the old "
        "rows; truncate is faster and frees the space at once, but makes readers wait until the load is done. A table "
        "to which rows of another refer by a foreign key can be replaced by delete only, and only when that key is "
        "DEFERRABLE with NO ACTION on delete; else the load stops and nothing is changed.",
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
        frozenset({"append", "replace"}), transactional=True, kind="table"
    )

    def __init__(self, config: PostgresConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Append the rows, or put them in place of all others, in one transaction."""
        connection = context.connection(self.config.connection)
        with prefetch(incoming.reader()) as ahead:
            ahead.wait()  # no lock is held while the first rows are in the making
            with session(connection, self.config.lock_timeout, self.config.statement_timeout) as db:
                target = _target(db, self.config.table)
                with db.errors(str(target), target.oid):
                    plan = self._plan(db, target, ahead.schema)
                    report = self._write(db, target, plan, ahead)
                context.log("rows committed", target=report.target, rows=report.rows, created=report.created)
                return report

    def check(self, context: ExtractContext) -> str:
        """Say which server answers and what the table is; raise when a right is missing."""
        connection = context.connection(self.config.connection)
        with session(connection, self.config.lock_timeout, None) as db:
            version, database = db.rows("select current_setting('server_version'), current_database()")[0]
            target = _target(db, self.config.table)
            self._check_rights(db, target, [column.name for column in target.columns or ()])
            state = f"{len(target.columns)} columns" if target.columns is not None else "to be created"
            return f"PostgreSQL {version}, database {database!r}, table {target} ({state})"

    def _plan(self, db: Session, target: Target, schema: pa.Schema) -> list[Planned]:
        """Return how each column goes into the table; raises before anything is written."""
        if target.columns is None:
            check_names(schema.names, str(target), limit=MAX_NAME_BYTES)
            planned = [new_column(field) for field in schema]
        else:
            planned = fit_existing(schema, match(schema.names, target.columns, str(target)), str(target))
        self._check_rights(db, target, schema.names)
        if target.columns is not None and self.config.write_disposition == "replace":
            self._refuse_referenced(db, target)
        if any(column.stage_type for column in planned):
            db.require(
                "has_database_privilege(current_database(), 'TEMPORARY')",
                (),
                "TEMPORARY on the database (to cast columns on the server)",
            )
        return planned

    def _check_rights(self, db: Session, target: Target, names: Sequence[str]) -> None:
        schema, table = target.schema, target.table
        if not target.schema_exists:
            if not self.config.create_schema:
                raise TerminalError(f"schema {schema!r} does not exist; create it or set create_schema to true")
            db.require(
                "has_database_privilege(current_database(), 'CREATE')", (), f"CREATE on the database, to make {schema}"
            )
            return
        db.require("has_schema_privilege($1, 'USAGE')", (schema,), f"USAGE on schema {schema}")
        if target.columns is None:
            db.require(
                "has_schema_privilege($1, 'CREATE')", (schema,), f"CREATE on schema {schema}, to make table {table}"
            )
            return
        oid = target.oid
        for name in names:
            db.require(
                "has_table_privilege($1::oid, 'INSERT') or has_column_privilege($1::oid, $2::text, 'INSERT')",
                (oid, name),
                f"INSERT on table {target}",
            )
            if db.rows("select has_table_privilege($1::oid, 'INSERT')", (oid,))[0][0]:
                break
        if self.config.write_disposition == "replace":
            right = self.config.replace_method.upper()
            db.require(f"has_table_privilege($1::oid, {quote_literal(right)})", (oid,), f"{right} on table {target}")

    def _refuse_referenced(self, db: Session, target: Target) -> None:
        """Raise TerminalError when a foreign key of another table does not let the rows of this one be replaced."""
        # Without SELECT on the referring table, or for one partition, the server itself finds out, at the delete.
        referring = db.rows(
            "select conrelid::bigint, conrelid::regclass::text, conname::text, confdeltype::text, condeferrable, "
            "has_table_privilege(conrelid, 'SELECT') and has_schema_privilege(relnamespace, 'USAGE') "
            "and not (select relispartition from pg_class t where t.oid = confrelid) "
            "from pg_constraint join pg_class on pg_class.oid = conrelid "
            "where contype = 'f' and confrelid = $1::oid and conrelid <> confrelid "
            "order by 2, 3",
            (target.oid,),
        )
        for oid, table, constraint, action, deferrable, readable in referring:
            if self.config.replace_method == "truncate":
                raise TerminalError(
                    f"table {target} can't be truncated: foreign key {constraint!r} of {table} refers to it; set "
                    "replace_method to 'delete'"
                )
            if action in ("c", "n", "d"):
                raise TerminalError(
                    f"replacing {target} would change rows of {table}: its key {constraint!r} cascades on delete"
                    "; append, or make the foreign key NO ACTION DEFERRABLE"
                )
            if (action == "r" or not deferrable) and readable and _refers(db, oid, constraint):
                raise referenced(str(target), constraint, table)

    def _write(self, db: Session, target: Target, plan: Sequence[Planned], ahead: Prefetched) -> LoadReport:
        created = target.columns is None
        if created:
            if not target.schema_exists:
                db.run(f"create schema if not exists {quote_identifier(target.schema)}")
            columns = ", ".join(f"{quote_identifier(column.wire.name)} {column.type}" for column in plan)
            db.run(f"create table {target.quoted} ({columns})")
        elif self.config.write_disposition == "replace":
            self._empty(db, target)
        sent = Outgoing(ahead, [column.wire for column in plan])
        if any(column.stage_type for column in plan):
            rows = _copy_and_cast(db, target, plan, sent)
        else:
            rows = db.copy(sent, target.table, schema=target.schema)
        ahead.finish()
        if rows != sent.rows:
            raise TransientError(
                f"table {target}: {sent.rows} rows were sent, the server took {rows}; nothing is committed"
            )
        db.commit()
        return LoadReport(str(target), rows, sent.bytes, created=created)

    def _empty(self, db: Session, target: Target) -> None:
        # Readers go on; other writers wait: two replaces at once would each keep the other's rows.
        db.run(f"lock table {target.quoted} in share row exclusive mode")
        self._refuse_referenced(db, target)
        db.run("set constraints all deferred")
        db.run(
            f"delete from {target.quoted}" if self.config.replace_method == "delete" else f"truncate {target.quoted}"
        )


def _refers(db: Session, oid: int, constraint: str) -> bool:
    """Whether a row of the referring table has a key: rows with a null in it refer to nothing."""
    names = db.rows(
        "select n.nspname::text, c.relname::text, a.attname::text from pg_constraint k "
        "join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace "
        "join pg_attribute a on a.attrelid = c.oid and a.attnum = any(k.conkey) "
        "where k.conrelid = $1::oid and k.conname = $2",
        (oid, constraint),
    )
    schema, table = names[0][:2]
    known = " and ".join(f"{quote_identifier(column)} is not null" for _, _, column in names)
    found = db.rows(f"select exists (select from {quote_identifier(schema)}.{quote_identifier(table)} where {known})")
    return bool(found[0][0])


@dataclass(frozen=True)
class Target:
    """The table to write. `columns` and `oid` are None when there is no table yet."""

    schema: str
    table: str
    schema_exists: bool
    oid: int | None = None
    columns: tuple[Column, ...] | None = None

    @property
    def quoted(self) -> str:
        """The quoted, qualified name."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.table)}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


_COLUMNS = """
select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       (a.atthasdef or a.attidentity <> ''), a.attgenerated <> '',
       t.typname::text, t.typtype::text, coalesce(e.typname::text, ''),
       case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) else '' end,
       a.atttypmod, t.typnotnull
from pg_attribute a join pg_type t on t.oid = a.atttypid
left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


def _target(db: Session, table: str) -> Target:
    """Return what stands in the database under that name now."""
    schema, _, name = table.rpartition(".")
    if schema:
        found = db.rows(
            "select n.nspname::text, c.oid::bigint, c.relkind::text from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2",
            (schema, name),
        )
    else:
        found = db.rows(
            "select n.nspname::text, c.oid::bigint, c.relkind::text from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where c.relname = $1 and n.nspname = any(current_schemas(false)) "
            "order by array_position(current_schemas(false), n.nspname) limit 1",
            (name,),
        )
    if found:
        schema, oid, kind = found[0]
        if kind not in ("r", "p"):
            what = {
                "v": "a view",
                "m": "a materialized view",
                "f": "a foreign table",
                "S": "a sequence",
                "i": "an index",
            }
            raise TerminalError(f"{schema}.{name} is {what.get(kind, 'not a table')}; rows are written to tables only")
        return Target(schema, name, True, oid, tuple(column_of(row) for row in db.rows(_COLUMNS, (oid,))))
    if not schema:
        schema = db.rows("select current_schema()::text")[0][0]
        if schema is None:
            raise TerminalError(f"no schema on the search path exists; write the table as 'schema.{name}'")
    exists = bool(db.rows("select 1 from pg_namespace where nspname = $1", (schema,)))
    return Target(schema, name, exists)


def _copy_and_cast(db: Session, target: Target, plan: Sequence[Planned], sent: Outgoing) -> int:
    """COPY into a temporary table, then insert from it with casts; return the number of rows."""
    stage = quote_identifier(STAGE)
    columns = ", ".join(f"{quote_identifier(item.wire.name)} {item.stage_type or item.type}" for item in plan)
    db.run(f"create temporary table {stage} ({columns}) on commit drop")
    db.copy(sent, STAGE)
    names = ", ".join(quote_identifier(item.wire.name) for item in plan)
    values = ", ".join(
        f"cast({quote_identifier(item.wire.name)} as {item.type})"
        if item.explicit
        else quote_identifier(item.wire.name)
        for item in plan
    )
    db.casting = [item.wire.name for item in plan if item.explicit]
    count = db.run(
        f"insert into {target.quoted} ({names}) overriding system value select {values} from pg_temp.{stage}"
    )
    db.casting = []
    return count
