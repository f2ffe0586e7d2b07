"""PostgreSQL under the commit protocol: its catalogue, its rights, its stage tables, its ways to empty a table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataforge.components.database import quote_identifier, quote_literal
from dataforge.destinations._columns import MisfitError, Outgoing, Planned, TargetColumn, Wire, is_text, record_json
from dataforge.destinations._postgres_session import Session, referenced
from dataforge.destinations._postgres_types import Column, arrow_of, column_of, new_column, plan_column
from dataforge.destinations._tables import Target, Upsert, literal
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAME_BYTES = 63
_MERGE_TELLS = 170_000
"""The first version whose MERGE returns what it did."""

_JOIN_MB = 64
"""Memory of one join with a stage table, in MB of the server."""

_LOCK_CLASS = 0x0DF0
"""First key of our advisory locks, which PostgreSQL keeps apart from those of applications by it."""


@dataclass
class PostgresTables:
    """One session; `replace_method` is how replace empties a table."""

    session: Session
    create_schemas: bool = True
    replace_method: str = "delete"

    dialect = "postgres"
    text_type = "text"
    instant_type = "timestamp with time zone"
    keys = True
    durable = True
    stages = True
    alone = False
    transactional_ddl = True
    case_sensitive = True
    max_name_bytes = MAX_NAME_BYTES

    # ---- Statements

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.session.rows(sql)

    def run(self, sql: str) -> int:
        """Run a statement; return the number of rows it touched."""
        return self.session.run(sql)

    def commit(self) -> None:
        """Commit."""
        self.session.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.session.rollback()

    def quote(self, name: str) -> str:
        """Return a quoted identifier."""
        return quote_identifier(name)

    def literal(self, value: str, type_: str) -> str:
        """Return the text of a value of a DuckDB type as SQL."""
        return literal(value, type_, self.dialect)

    def quoted(self, target: Target) -> str:
        """Return the quoted, qualified name."""
        return f"{quote_identifier(target.schema)}.{quote_identifier(target.table)}"

    def has_table(self, schema: str, table: str) -> bool:
        """Whether there is a table of that name."""
        name = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        return bool(self.rows(f"select to_regclass({quote_literal(name)}) is not null")[0][0])

    def one_at_a_time(self) -> None:
        """Wait for other sessions that make ledger tables; `if not exists` alone fails when two make one at once."""
        self.rows(f"select pg_advisory_xact_lock({_LOCK_CLASS}, 0)::text")

    def errors(self, target: Target) -> AbstractContextManager[None]:
        """Turn the server's errors into ours."""
        return self.session.errors(str(target), target.oid)

    # ---- What is there

    def target(self, table: str) -> Target:
        """Return what stands in the database under that name now."""
        schema, _, name = table.rpartition(".")
        if schema:
            found = self.session.rows(
                "select n.nspname::text, c.oid::bigint, c.relkind::text from pg_class c "
                "join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2",
                (schema, name),
            )
        else:
            found = self.session.rows(
                "select n.nspname::text, c.oid::bigint, c.relkind::text from pg_class c "
                "join pg_namespace n on n.oid = c.relnamespace "
                "where c.relname = $1 and n.nspname = any(current_schemas(false)) "
                "order by array_position(current_schemas(false), n.nspname) limit 1",
                (name,),
            )
        if found:
            schema, oid, kind = found[0]
            if kind not in ("r", "p"):
                what = _KINDS.get(kind, "not a table")
                raise TerminalError(f"{schema}.{name} is {what}; rows are written to tables only")
            columns = tuple(column_of(row) for row in self.session.rows(_COLUMNS, (oid,)))
            return Target(schema, name, columns, oid=oid)
        if not schema:
            schema = self.rows("select current_schema()::text")[0][0]
            if schema is None:
                raise TerminalError(f"no schema on the search path exists; write the table as 'schema.{name}'")
        exists = bool(self.session.rows("select 1 from pg_namespace where nspname = $1", (schema,)))
        return Target(schema, name, schema_exists=exists)

    def check_rights(self, target: Target, names: Sequence[str], disposition: str) -> None:
        """Raise TerminalError that names the first right that this load needs and the user lacks."""
        require = self.session.require
        schema, table = target.schema, target.table
        if target.columns is None:
            require("has_schema_privilege($1, 'USAGE')", (schema,), f"USAGE on schema {schema}")
            require(
                "has_schema_privilege($1, 'CREATE')", (schema,), f"CREATE on schema {schema}, to make table {table}"
            )
            return
        require("has_schema_privilege($1, 'USAGE')", (schema,), f"USAGE on schema {schema}")
        oid = target.oid
        for name in names:
            if target.column(name) is None:
                continue
            require(
                "has_table_privilege($1::oid, 'INSERT') or has_column_privilege($1::oid, $2::text, 'INSERT')",
                (oid, name),
                f"INSERT on table {target}",
            )
            if self.session.rows("select has_table_privilege($1::oid, 'INSERT')", (oid,))[0][0]:
                break
        rights: list[str] = []
        if disposition == "replace":
            rights = ["TRUNCATE" if self.replace_method == "truncate" else "DELETE"]
        elif disposition.startswith("merge"):
            rights = ["SELECT", "UPDATE", "DELETE"]
        for right in rights:
            require(f"has_table_privilege($1::oid, {quote_literal(right)})", (oid,), f"{right} on table {target}")
        if disposition == "replace":
            self._refuse_referenced(target)

    def check_schema(self, target: Target, schema: str) -> None:
        """Raise TerminalError when the tables that a load needs can't be made in that schema."""
        there = target.schema_exists if schema == target.schema else self._has_schema(schema)
        if not there:
            if not self.create_schemas:
                raise TerminalError(f"schema {schema!r} does not exist; create it or set create_schema to true")
            self.session.require(
                "has_database_privilege(current_database(), 'CREATE')", (), f"CREATE on the database, to make {schema}"
            )

    def check_ledger(self, schema: str) -> None:
        """Raise TerminalError when the ledger's tables are missing and can't be made."""
        self.session.require("has_schema_privilege($1, 'USAGE')", (schema,), f"USAGE on schema {schema}")
        self.session.require(
            "has_schema_privilege($1, 'CREATE')",
            (schema,),
            f"CREATE on schema {schema}, for the tables of cursors and load markers (ledger_schema can name another)",
        )

    def _has_schema(self, schema: str) -> bool:
        return bool(self.session.rows("select 1 from pg_namespace where nspname = $1", (schema,)))

    # ---- Columns

    def fit(self, field: pa.Field[Any], column: TargetColumn) -> Planned | None:
        """Return how an Arrow field goes into an existing column; None when its type does not go there."""
        assert isinstance(column, Column)
        return plan_column(field, column)

    def new(self, field: pa.Field[Any]) -> Planned:
        """Return the column that a new table gets for an Arrow field."""
        return new_column(field)

    def checked(self, planned: Planned) -> Planned:
        """Refuse texts with NUL before the server does, so that the row can be told."""
        import pyarrow.compute as pc

        wire = planned.wire
        if not is_text(wire.type):
            return planned

        def convert(array: pa.Array[Any]) -> pa.Array[Any]:
            array = wire.convert(array) if wire.convert else array
            if pc.any(pc.match_substring(array, "\0")).as_py():
                raise MisfitError(
                    f"column {wire.name!r} holds a text with NUL (U+0000), which PostgreSQL can't store", wire.name
                )
            return array

        return Planned(Wire(wire.name, wire.type, convert), planned.type, planned.stage_type, planned.explicit)

    def arrow_type(self, target: Target, column: TargetColumn) -> pa.DataType | None:  # noqa: ARG002 - as others need it
        """Return the Arrow type of an existing column's values; None for types without a plain one."""
        assert isinstance(column, Column)
        return arrow_of(column)

    def create_schema(self, schema: str) -> str | None:
        """Return the statement that makes the schema; None when it is there."""
        return None if self._has_schema(schema) else f"create schema if not exists {quote_identifier(schema)}"

    def widen(self, target: Target, column: TargetColumn, type_: str, *, empty: bool) -> str:
        """Return the statement that gives the column a wider type."""
        name = quote_identifier(column.name)
        value = "null" if empty else name
        return f"alter table {self.quoted(target)} alter column {name} type {type_} using {value}::{type_}"

    def differs(self, left: str, right: str, type_: str) -> str:
        """Return SQL: whether two values differ; types without equality are compared as text."""
        if type_.rstrip("[]") in _WITHOUT_EQUALITY:
            left, right = f"{left}::text", f"({right})::text"
        return f"{left} is distinct from {right}"

    # ---- Rows

    def copy(self, rows: Outgoing, table: str, planned: Sequence[Planned], schema: str | None) -> int:
        """COPY rows into an existing table."""
        self.session.casting = [column.wire.name for column in planned if column.explicit]
        return self.session.copy(rows, table, schema=schema)

    def create_stage(self, name: str, columns: Sequence[tuple[str, str]], schema: str | None) -> str:
        """Make a stage table: temporary, or unlogged and held by a lock that ends with this session."""
        listed = ", ".join(f"{quote_identifier(column)} {type_}" for column, type_ in columns)
        # the rows are joined with the whole target: with 4 MB, which is the default, that join goes by way of the disk
        self.rows(
            f"select set_config('work_mem', '{_JOIN_MB}MB', false) "
            f"where pg_size_bytes(current_setting('work_mem')) < {_JOIN_MB * 1024 * 1024}"
        )
        if schema is None:
            self.session.require(
                "has_database_privilege(current_database(), 'TEMPORARY')", (), "TEMPORARY on the database"
            )
            self.run(f"create temporary table {quote_identifier(name)} ({listed}) on commit drop")
            return f"pg_temp.{quote_identifier(name)}"
        self.rows(f"select pg_advisory_lock({_LOCK_CLASS}, {_lock_key(name)})::text")
        quoted = f"{quote_identifier(schema)}.{quote_identifier(name)}"
        self.run(f"create unlogged table {quoted} ({listed})")
        return quoted

    def settle_stage(self, table: str) -> None:
        """Gather statistics: without them the planner guesses at the size of the stage table."""
        self.run(f"analyze {table}")

    def insert(self, target: Target, names: str, select: str, rows: int) -> int:  # noqa: ARG002 - the server counts
        """Insert the result of a query."""
        return self.run(f"insert into {self.quoted(target)} ({names}) overriding system value {select}")

    def upsert(self, target: Target, what: Upsert) -> tuple[int, int] | None:
        """MERGE, from the version on that tells what it did to each row."""
        if int(self.rows("select current_setting('server_version_num')")[0][0]) < _MERGE_TELLS:
            return None
        sets = ", ".join(f"{name} = {value}" for name, value in what.sets.items())
        found = self.rows(
            f"with done as (merge into {self.quoted(target)} as t using {what.rows} as s on {what.match} "
            f"when matched and ({what.differs}) then update set {sets} "
            f"when not matched then insert ({', '.join(what.inserts)}) overriding system value "
            f"values ({', '.join(what.inserts.values())}) returning merge_action() as action) "
            "select count(*) filter (where action = 'INSERT'), count(*) filter (where action = 'UPDATE') from done"
        )
        return int(found[0][0]), int(found[0][1])

    def before_replace(self, target: Target, *, undo: bool = False) -> None:  # noqa: ARG002 - the same for both
        """Lock out other writers; readers go on. Two replaces at once would each keep the other's rows."""
        self.run(f"lock table {self.quoted(target)} in share row exclusive mode")
        self._refuse_referenced(target)
        self.run("set constraints all deferred")

    def empty(self, target: Target) -> int:
        """Remove all rows; return how many there were."""
        if self.replace_method != "truncate":
            return self.run(f"delete from {self.quoted(target)}")
        count = int(self.rows(f"select count(*) from {self.quoted(target)}")[0][0])
        self.run(f"truncate {self.quoted(target)}")
        return count

    def swap_table(self, target: Target) -> Target | None:
        """Make an empty table like the target; TerminalError when something hangs on the target's own object."""
        if self.replace_method != "swap":
            return None
        for what, query in _HANGING.items():
            if found := self.session.rows(query, (target.oid,)):
                names = ", ".join(sorted({str(name) for (name,) in found})[:5])
                raise TerminalError(
                    f"table {target} can't be swapped for a new one: {what} ({names}); nothing was changed. Set "
                    "replace_method to 'delete'"
                )
        new = target.beside(f"{target.table[:50]}__dataforge_new")
        self.run(f"create table {self.quoted(new)} (like {self.quoted(target)} including all)")
        grants = self.session.rows(
            "select privilege_type::text, "
            "case when grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end, is_grantable "
            "from pg_class, aclexplode(relacl) where oid = $1::oid and grantee <> relowner",
            (target.oid,),
        )
        for right, grantee, grantable in grants:
            option = " with grant option" if grantable else ""
            self.run(f"grant {right} on {self.quoted(new)} to {grantee}{option}")
        return new

    def swap_in(self, target: Target, new: Target) -> None:
        """Drop the target and give the new table its name, in the open transaction."""
        self.run(f"drop table {self.quoted(target)}")
        self.run(f"alter table {self.quoted(new)} rename to {quote_identifier(target.table)}")

    def records(self, sql: str, without: Sequence[str]) -> list[str]:
        """Return the rows of a query as JSON texts."""
        return [
            record_json({name: value for name, value in record.items() if name not in without})
            for record in self.session.records(sql)
        ]

    def stages_of(self, schema: str, prefix: str) -> list[str]:
        """Return the stage tables whose session is gone: its lock is free."""
        found = self.session.rows(
            "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = $1 and starts_with(c.relname::text, $2::text) and c.relkind = 'r' order by 1",
            (schema, prefix),
        )
        return [
            name
            for (name,) in found
            if self.rows(f"select pg_try_advisory_xact_lock({_LOCK_CLASS}, {_lock_key(name)})")[0][0]
        ]

    def _refuse_referenced(self, target: Target) -> None:
        """Raise TerminalError when a foreign key of another table does not let the rows of this one be replaced."""
        # Without SELECT on the referring table, or for one partition, the server itself finds out, at the delete.
        referring = self.session.rows(
            "select conrelid::bigint, conrelid::regclass::text, conname::text, confdeltype::text, condeferrable, "
            "has_table_privilege(conrelid, 'SELECT') and has_schema_privilege(relnamespace, 'USAGE') "
            "and not (select relispartition from pg_class t where t.oid = confrelid) "
            "from pg_constraint join pg_class on pg_class.oid = conrelid "
            "where contype = 'f' and confrelid = $1::oid and conrelid <> confrelid "
            "order by 2, 3",
            (target.oid,),
        )
        for oid, table, constraint, action, deferrable, readable in referring:
            if self.replace_method == "truncate":
                raise TerminalError(
                    f"table {target} can't be truncated: foreign key {constraint!r} of {table} refers to it; set "
                    "replace_method to 'delete'"
                )
            if action in ("c", "n", "d"):
                raise TerminalError(
                    f"replacing {target} would change rows of {table}: its key {constraint!r} cascades on delete"
                    "; append, or make the foreign key NO ACTION DEFERRABLE"
                )
            if (action == "r" or not deferrable) and readable and self._refers(oid, constraint):
                raise referenced(str(target), constraint, table)

    def _refers(self, oid: int, constraint: str) -> bool:
        """Whether a row of the referring table has a key: rows with a null in it refer to nothing."""
        names = self.session.rows(
            "select n.nspname::text, c.relname::text, a.attname::text from pg_constraint k "
            "join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace "
            "join pg_attribute a on a.attrelid = c.oid and a.attnum = any(k.conkey) "
            "where k.conrelid = $1::oid and k.conname = $2",
            (oid, constraint),
        )
        schema, table = names[0][:2]
        known = " and ".join(f"{quote_identifier(column)} is not null" for _, _, column in names)
        found = self.rows(
            f"select exists (select from {quote_identifier(schema)}.{quote_identifier(table)} where {known})"
        )
        return bool(found[0][0])


_HANGING = {
    "views depend on it": (
        "select distinct r.ev_class::regclass::text from pg_depend d join pg_rewrite r on r.oid = d.objid "
        "where d.refobjid = $1::oid and d.classid = 'pg_rewrite'::regclass and r.ev_class <> d.refobjid"
    ),
    "foreign keys lead from or to it": (
        "select conname::text from pg_constraint where contype = 'f' and (conrelid = $1::oid or confrelid = $1::oid)"
    ),
    "it has triggers": "select tgname::text from pg_trigger where tgrelid = $1::oid and not tgisinternal",
    "it has row policies": "select polname::text from pg_policy where polrelid = $1::oid",
    "it owns a sequence": (
        "select objid::regclass::text from pg_depend where refobjid = $1::oid and deptype = 'a' "
        "and classid = 'pg_class'::regclass and objid in (select oid from pg_class where relkind = 'S')"
    ),
    "it is or has a partition": (
        "select inhrelid::regclass::text from pg_inherits where $1::oid in (inhrelid, inhparent)"
    ),
    "it belongs to another user": (
        "select pg_get_userbyid(relowner)::text from pg_class where oid = $1::oid "
        "and pg_get_userbyid(relowner) <> current_user"
    ),
}
"""What would be lost or left on the old object, with the query that finds it."""


def _lock_key(name: str) -> int:
    value = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return value - (1 << 32) if value >= 1 << 31 else value


_WITHOUT_EQUALITY = ("json", "xml", "point", "polygon", "path", "box", "circle", "lseg", "line")
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
}

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
