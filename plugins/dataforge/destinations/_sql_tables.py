"""Any database with a DB-API connection under the commit protocol: its catalogue, its stage tables, its ways to insert.

SQLite does everything in one transaction that holds the file's write lock, with a temporary table as stage. Others
stage large loads in a real table beside the ledger, whose name has its time, so that the sweep can tell which are left.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.components.base import Connection
from dataforge.components.dbapi import driver_of, explain, sqlstate
from dataforge.components.lifeline import Lifeline
from dataforge.destinations import _mysql_files, _sql_types
from dataforge.destinations._columns import Outgoing, Planned, TargetColumn, record_json
from dataforge.destinations._ledger import STAGE
from dataforge.destinations._sql_dialects import Dialect, differs, literal, quote, text, translated
from dataforge.destinations._tables import Target, Upsert
from dataforge.errors import DataForgeError, TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

STAGE_LIVES = timedelta(days=1)
"""A stage table that is older belongs to no load that still works."""

FEW_ROWS = 500
"""So many rows are sent by a statement as fast as by a file."""

LOCAL_FILES = "select @@local_infile"
_PSYCOPG = ("psycopg", "psycopg2")


@dataclass
class SqlTables:
    """One session; the first statement after a commit or rollback begins a transaction."""

    con: Any
    lifeline: Lifeline
    dialect_: Dialect
    connection: Connection
    batch_rows: int = 10_000
    immediate: bool = True
    create_schemas: bool = True
    bulk_folder: Path | None = None
    _rebuilds: dict[str, tuple[Target, TargetColumn, str]] = field(default_factory=dict)
    _staged: dict[str, pa.DataType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.driver = driver_of(self.con)
        self.dialect = self.dialect_.written
        self.text_type = self.dialect_.text
        self.instant_type = self.dialect_.instant
        self.case_sensitive = self.dialect_.case_sensitive
        self.max_name_bytes = self.dialect_.max_name_bytes
        self.transactional_ddl = self.dialect_.transactional_ddl
        self.sqlite = self.dialect_.name == "sqlite"
        self.stages = not self.sqlite
        self.bulk = self.bulk_folder is not None and self.dialect_.name == "mysql" and bool(self.asked(LOCAL_FILES))
        self.alone = False
        self.keys = True
        self.durable = True

    # ---- Statements

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._executed(sql) as cursor:
            return [tuple(row) for row in cursor.fetchall()]

    def run(self, sql: str) -> int:
        """Run a statement; return the number of rows it touched, -1 when unknown."""
        if rebuild := self._rebuilds.pop(sql, None):
            self._rebuild(*rebuild)
            return -1
        with self._executed(sql) as cursor:
            return int(cursor.rowcount)

    def commit(self) -> None:
        """Commit."""
        with self.lifeline.within("the commit"):
            self.con.commit()

    def rollback(self) -> None:
        """Roll back."""
        with self.lifeline.within("the rollback"):
            self.con.rollback()

    @contextmanager
    def _executed(self, sql: str) -> Iterator[Any]:
        own = translated(sql, self.dialect_)
        with self.lifeline.within("a statement"), closing(self.con.cursor()) as cursor:
            self._begin(cursor)
            cursor.execute(own)
            yield cursor

    def _begin(self, cursor: Any) -> None:
        if self.sqlite and not self.con.in_transaction:
            cursor.execute("begin immediate" if self.immediate else "begin")

    def quote(self, name: str) -> str:
        """Return a quoted identifier."""
        if not name or "\0" in name:
            raise TerminalError(f"{name!r} can't be a name in SQL: it is empty or has a NUL character")
        return quote(name, self.dialect_)

    def quoted(self, target: Target) -> str:
        """Return the quoted, qualified name."""
        return f"{self.quote(target.schema)}.{self.quote(target.table)}"

    def literal(self, value: str, type_: str) -> str:
        """Return the text of a value of a DuckDB type as SQL."""
        return literal(value, type_, self.dialect_)

    def _text(self, value: str) -> str:
        return text(value, self.dialect_)

    def has_table(self, schema: str, table: str) -> bool:
        """Whether there is a table of that name."""
        if self.sqlite:
            return bool(self._sqlite_master(schema, table))
        return bool(self.rows(f"select 1 from INFORMATION_SCHEMA.TABLES where {self._called(schema, table)}"))

    def _called(self, schema: str, table: str) -> str:
        return f"TABLE_SCHEMA = {self._text(schema)} and TABLE_NAME = {self._text(table)}"

    def _sqlite_master(self, schema: str, table: str) -> list[tuple[Any, ...]]:
        return self.rows(
            f"select type, name from {self.quote(schema)}.sqlite_master where type in ('table', 'view') "
            f"and lower(name) = lower({self._text(table)})"
        )

    def one_at_a_time(self) -> None:
        """Wait for other sessions that make ledger tables, where `if not exists` alone fails when two make one."""
        if self.dialect_.name == "postgres":
            self.rows("select pg_advisory_xact_lock(3568, 0)::text")

    @contextmanager
    def errors(self, target: Target) -> Iterator[None]:
        """Turn the driver's errors into ours, without any row's values."""
        try:
            yield
        except DataForgeError:
            raise
        except Exception as error:
            if not _is_drivers(error, self.driver):
                raise
            state = sqlstate(error)
            raise explain(
                error, self.connection, where=f"table {target}", hide=lambda said: _without_values(said, state)
            ) from None

    # ---- What is there

    def target(self, table: str) -> Target:
        """Return what stands in the database under that name now."""
        schema, _, name = table.rpartition(".")
        if self.sqlite:
            return self._sqlite_target(schema or "main", name)
        if not schema:
            schema = self.asked(self.dialect_.schema)
            if not schema:
                raise TerminalError(f"the connection has no schema of its own; write the table as 'schema.{name}'")
        found = self.rows(f"select TABLE_TYPE from INFORMATION_SCHEMA.TABLES where {self._called(schema, name)}")
        if not found:
            exists = bool(
                self.rows(f"select 1 from INFORMATION_SCHEMA.SCHEMATA where SCHEMA_NAME = {self._text(schema)}")
            )
            return Target(schema, name, schema_exists=exists, case_sensitive=self.case_sensitive)
        if "TABLE" not in str(found[0][0]).upper():
            raise TerminalError(f"{schema}.{name} is a view; rows are written to tables only")
        query = self.dialect_.columns.format(schema=self._text(schema), table=self._text(name))
        columns = tuple(
            TargetColumn(
                str(column),
                _sql_types.written_type(_sql_types.sized(str(type_), length, precision, scale), self.dialect_),
                required=bool(required),
                generated=bool(generated),
            )
            for column, type_, length, precision, scale, required, generated in self.rows(query)
        )
        return Target(schema, name, columns, case_sensitive=self.case_sensitive)

    def _sqlite_target(self, schema: str, name: str) -> Target:
        known = {row[1].lower(): row[1] for row in self.rows("select seq, name from pragma_database_list")}
        if schema.lower() not in known:
            return Target(schema, name, schema_exists=False, case_sensitive=False)
        schema = known[schema.lower()]
        found = self._sqlite_master(schema, name)
        if not found:
            return Target(schema, name, case_sensitive=False)
        kind, name = found[0]
        if kind != "table":
            raise TerminalError(f"{schema}.{name} is a view; rows are written to tables only")
        listed = self.rows(
            'select name, type, "notnull", dflt_value, pk, hidden '
            f"from pragma_table_xinfo({self._text(name)}, {self._text(schema)}) where hidden <> 1"
        )
        columns = tuple(
            TargetColumn(
                column,
                (type_ or "").lower(),  # SQLite itself spells some of them in capitals
                # an integer that is the primary key gets its number by itself
                required=bool(not_null) and default is None and not (pk and type_.lower() == "integer"),
                generated=hidden in (2, 3),
            )
            for column, type_, not_null, default, pk, hidden in listed
        )
        return Target(schema, name, columns, case_sensitive=False)

    def check_rights(self, target: Target, names: Sequence[str], disposition: str) -> None:
        """Nothing to check in general: what the user may not do, the database says, and nothing is changed."""

    def check_schema(self, target: Target, schema: str) -> None:  # noqa: ARG002 - as others need it
        """Raise TerminalError when the schema is missing and can't be made."""
        if self._has_schema(schema):
            return
        if self.sqlite:
            raise TerminalError(f"the SQLite database has no schema {schema!r}; write the table without one")
        if not self.create_schemas:
            raise TerminalError(f"schema {schema!r} does not exist; create it or set create_schema to true")

    def check_ledger(self, schema: str) -> None:
        """Nothing to check in general."""

    def _has_schema(self, schema: str) -> bool:
        if self.sqlite:
            name = f"lower({self._text(schema)})"
            return bool(self.rows(f"select 1 from pragma_database_list where lower(name) = {name}"))
        return bool(self.rows(f"select 1 from INFORMATION_SCHEMA.SCHEMATA where SCHEMA_NAME = {self._text(schema)}"))

    # ---- Columns

    def fit(self, field: pa.Field[Any], column: TargetColumn) -> Planned | None:
        """Return how an Arrow field goes into an existing column; None when its type does not go there."""
        return _sql_types.plan_column(field, column, self.dialect_)

    def new(self, field: pa.Field[Any]) -> Planned:
        """Return the column that a new table gets for an Arrow field."""
        return _sql_types.new_column(field, self.dialect_)

    def checked(self, planned: Planned) -> Planned:
        """The wires refuse already what the database would refuse, but for constraints."""
        return planned

    def arrow_type(self, target: Target, column: TargetColumn) -> pa.DataType | None:  # noqa: ARG002 - as others need it
        """Return the Arrow type of an existing column's values; None for types without a plain one."""
        return _sql_types.arrow_of(column.type, self.dialect_)

    def create_schema(self, schema: str) -> str | None:
        """Return the statement that makes the schema; None when it is there."""
        return None if self._has_schema(schema) else f"create schema if not exists {self.quote(schema)}"

    def widen(self, target: Target, column: TargetColumn, type_: str, *, empty: bool) -> str:
        """Return the statement that gives the column a wider type; in SQLite `run` makes the table anew for it."""
        name = self.quote(column.name)
        statement = f"alter table {self.quoted(target)} alter column {name} type {type_}"
        if self.sqlite:
            self._rebuilds[statement] = (target, column, type_)
        elif self.dialect_.name == "postgres":
            return f"{statement} using {'null' if empty else name}::{type_}"
        return statement

    def differs(self, left: str, right: str, type_: str) -> str:
        """Return SQL: whether two values differ, to the byte."""
        from dataforge.destinations._columns import is_text

        arrow = _sql_types.arrow_of(type_, self.dialect_) if type_ else None
        plain = arrow is not None and is_text(arrow)
        json_ = type_.lower() in _WITHOUT_EQUALITY
        return differs(left, right, text_=plain, json_=json_, dialect=self.dialect_)

    # ---- Rows

    def copy(self, rows: Outgoing, table: str, planned: Sequence[Planned], schema: str | None) -> int:
        """Insert rows into an existing table, a batch at a time; return how many the database took."""
        into = translated_name(self._table(table, schema), self.dialect_)
        names = [translated_name(self.quote(column.wire.name), self.dialect_) for column in planned]
        taken = 0
        with rows.errors():
            for batch in rows.reader():
                if self.bulk and batch.num_rows > FEW_ROWS:
                    with self.lifeline.within("a bulk load"), closing(self.con.cursor()) as cursor:
                        taken += _mysql_files.load(cursor, self.driver, into, names, batch, self.bulk_folder)
                    continue
                for first in range(0, batch.num_rows, self.batch_rows):
                    part = batch.slice(first, self.batch_rows)
                    columns = [_sql_types.bound(column, self.dialect_) for column in part.columns]
                    values = list(zip(*columns, strict=True)) if columns else []
                    with self.lifeline.within("an insert"), closing(self.con.cursor()) as cursor:
                        self._begin(cursor)
                        taken += _insert(cursor, self.driver, into, names, values)
        return taken

    def _table(self, table: str, schema: str | None) -> str:
        if schema is not None:
            return f"{self.quote(schema)}.{self.quote(table)}"
        name = self.quote(self.dialect_.temporary_name.format(name=table))
        return f"temp.{name}" if self.sqlite else name

    def create_stage(self, name: str, columns: Sequence[tuple[str, str]], schema: str | None) -> str:
        """Make a stage table: temporary, or a real one whose name has its time."""
        listed = ", ".join(f"{self.quote(column)} {type_}" for column, type_ in columns)
        quoted = self._table(name, schema)
        if schema is None:
            made = self.quote(self.dialect_.temporary_name.format(name=name))
            self.run(self.dialect_.temporary.format(name=made, columns=listed))
        else:
            self.run(f"create table {quoted} ({listed})")
        self._staged = {
            column: arrow for column, type_ in columns if (arrow := _sql_types.arrow_of(type_, self.dialect_))
        }
        return quoted

    def settle_stage(self, table: str) -> None:
        """Gather statistics, where the planner would guess at the size of the stage table without them."""
        if self.dialect_.name == "postgres":
            self.run(f"analyze {table}")

    def insert(self, target: Target, names: str, select: str, rows: int) -> int:
        """Insert the result of a query."""
        done = self.run(f"insert into {self.quoted(target)} ({names}) {select}")
        return rows if done < 0 else done

    def upsert(self, target: Target, what: Upsert) -> tuple[int, int] | None:  # noqa: ARG002 - as others need it
        """Not at once: few databases tell what their MERGE did to each row."""
        return None

    def before_replace(self, target: Target, *, undo: bool = False) -> None:  # noqa: ARG002 - the same for both
        """Lock out other writers where the database can, and refuse where a foreign key would delete other rows too."""
        if self.dialect_.lock:
            self._native(self.dialect_.lock.format(table=translated_name(self.quoted(target), self.dialect_)))
        if rules := self._cascades(target):
            raise TerminalError(
                f"replacing {target} would change rows of other tables: foreign key {rules[0]!r} cascades on delete; "
                "append or merge, or make the foreign key NO ACTION"
            )

    def _cascades(self, target: Target) -> list[str]:
        if self.sqlite:
            if not self.rows("select foreign_keys from pragma_foreign_keys")[0][0]:
                return []
            found = self.rows(
                f"select m.name from {self.quote(target.schema)}.sqlite_master m, pragma_foreign_key_list(m.name) f "
                f"where m.type = 'table' and lower(f.\"table\") = lower({self._text(target.table)}) "
                "and f.on_delete not in ('NO ACTION', 'RESTRICT')"
            )
        elif self.dialect_.name == "mysql":
            found = self.rows(
                "select CONSTRAINT_NAME from INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS "
                f"where UNIQUE_CONSTRAINT_SCHEMA = {self._text(target.schema)} "
                f"and REFERENCED_TABLE_NAME = {self._text(target.table)} "
                "and DELETE_RULE not in ('NO ACTION', 'RESTRICT')"
            )
        else:
            found = self.rows(
                "select r.CONSTRAINT_NAME from INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS r "
                "join INFORMATION_SCHEMA.TABLE_CONSTRAINTS c on c.CONSTRAINT_SCHEMA = r.UNIQUE_CONSTRAINT_SCHEMA "
                "and c.CONSTRAINT_NAME = r.UNIQUE_CONSTRAINT_NAME "
                f"where c.TABLE_SCHEMA = {self._text(target.schema)} and c.TABLE_NAME = {self._text(target.table)} "
                "and r.DELETE_RULE not in ('NO ACTION', 'RESTRICT')"
            )
        return [str(name) for (name,) in found]

    def asked(self, sql: str) -> Any:
        """Return the one value of a query in the database's own dialect."""
        with self.lifeline.within("a query"), closing(self.con.cursor()) as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    def _native(self, sql: str) -> None:
        with self.lifeline.within("a statement"), closing(self.con.cursor()) as cursor:
            cursor.execute(sql)

    def empty(self, target: Target) -> int:
        """Remove all rows; return how many there were."""
        count = int(self.rows(f"select count(*) from {self.quoted(target)}")[0][0])
        self.run(f"delete from {self.quoted(target)}")
        return count

    def swap_table(self, target: Target) -> Target | None:  # noqa: ARG002 - as others need it
        """Nothing: replace empties the table."""
        return None

    def swap_in(self, target: Target, new: Target) -> None:
        """Never called."""

    def records(self, sql: str, without: Sequence[str]) -> list[str]:
        """Return the rows of a query over the stage table as JSON texts."""
        with self._executed(sql) as cursor:
            names = [str(column[0]) for column in cursor.description]
            found = [tuple(row) for row in cursor.fetchall()]
        kinds = [self._staged.get(name) for name in names]
        return [
            record_json(
                {
                    name: _sql_types.unbound(value, kind)
                    for name, kind, value in zip(names, kinds, row, strict=True)
                    if name not in without
                }
            )
            for row in found
        ]

    def stages_of(self, schema: str, prefix: str) -> list[str]:
        """Return the stage tables that are too old to belong to a load at work; in SQLite none outlives its session."""
        if self.sqlite:
            return []
        found = self.rows(
            f"select TABLE_NAME from INFORMATION_SCHEMA.TABLES where TABLE_SCHEMA = {self._text(schema)} order by 1"
        )
        return [name for (name,) in found if name.startswith(prefix) and _is_left_over(name)]

    # ---- SQLite: a column of another type

    def _rebuild(self, target: Target, column: TargetColumn, type_: str) -> None:
        """Make the table anew with another type for one column; indexes, triggers, views and keys stay as they are."""
        schema, name = self.quote(target.schema), self._text(target.table)
        master = f"{schema}.sqlite_master where lower(tbl_name) = lower({name})"
        ((made,),) = self.rows(f"select sql from {master} and type = 'table'")
        others = [sql for (sql,) in self.rows(f"select sql from {master} and type <> 'table' and sql is not null")]
        if self.rows("select foreign_keys from pragma_foreign_keys")[0][0]:
            raise TerminalError(
                f"column {column.name!r} of {target} can't get the type {type_}: SQLite makes the table anew for that, "
                "and the connection has foreign_keys on; change the table by hand"
            )
        new = f"{target.table}__widened"
        self.con.create_function("dataforge_text", 2, _sql_types.text_of, deterministic=True)
        self._native("pragma legacy_alter_table = on")
        try:
            self._native(retyped(made, f"{schema}.{self.quote(new)}", column.name, type_))
            kept = [one for one in (self.target(f"{target.schema}.{target.table}").columns or ()) if not one.generated]
            values = []
            as_text = "text" in type_.lower()
            for one in kept:
                value = self.quote(one.name)
                if as_text and one.name == column.name:
                    value = f"dataforge_text({value}, {self._text(column.type)})"
                values.append(value)
            names = ", ".join(self.quote(one.name) for one in kept)
            old = self.quoted(target)
            self.run(f"insert into {schema}.{self.quote(new)} ({names}) select {', '.join(values)} from {old}")
            self.run(f"drop table {old}")
            self.run(f"alter table {schema}.{self.quote(new)} rename to {self.quote(target.table)}")
            for sql in others:
                self._native(sql)
        finally:
            self._native("pragma legacy_alter_table = off")


_WITHOUT_EQUALITY = ("json", "xml", "point", "polygon", "path", "box", "circle", "lseg", "line")


def translated_name(name: str, dialect: Dialect) -> str:
    """Return a quoted, qualified name of the written dialect in the database's own."""
    if dialect.name == dialect.written:
        return name
    from sqlglot import exp

    return exp.to_table(name, dialect=dialect.written).sql(dialect.name)


def _insert(cursor: Any, driver: str, into: str, names: Sequence[str], values: list[tuple[Any, ...]]) -> int:
    """Insert rows by the fastest way that the driver has; return how many the database took."""
    if not values:
        return 0
    listed = ", ".join(names)
    if driver == "psycopg":
        with cursor.copy(f"copy {into} ({listed}) from stdin".encode()) as copy:
            for row in values:
                copy.write_row(row)
        return int(cursor.rowcount)
    marks, escaped = placeholders(driver, len(names), f"insert into {into} ({listed}) values ")
    if driver == "psycopg2":
        from psycopg2.extras import execute_values  # type: ignore[import-untyped,import-not-found,unused-ignore]

        execute_values(cursor, f"{escaped}%s", values, page_size=len(values))
        return int(cursor.rowcount)
    if driver == "pymssql":  # its executemany is one round trip for each row
        most = max(1, min(1000, 2000 // len(names)))
        for first in range(0, len(values), most):
            part = values[first : first + most]
            cursor.execute(escaped + ", ".join([marks] * len(part)), tuple(value for row in part for value in row))
        return len(values)
    if driver == "pyodbc":
        cursor.fast_executemany = True
    cursor.executemany(escaped + marks, values)
    return int(cursor.rowcount) if driver == "sqlite3" else len(values)


def placeholders(driver: str, count: int, statement: str) -> tuple[str, str]:
    """Return `(?, ?)` as the driver's paramstyle has it, and the statement, its percent signs doubled if need be."""
    module: Any = sys.modules.get(driver)
    style = getattr(module, "paramstyle", None) or ("pyformat" if driver == "snowflake" else "format")
    if style == "qmark":
        return f"({', '.join('?' * count)})", statement
    if style in ("numeric", "named"):
        return f"({', '.join(f':{number}' for number in range(1, count + 1))})", statement
    return f"({', '.join(['%s'] * count)})", statement.replace("%", "%%")


def retyped(create: str, name: str, column: str, type_: str) -> str:
    """Return SQLite's statement for a table, with another name for it and another type for one column.

    TerminalError when the statement has no such column. Only these two places of the text are changed.
    """
    from sqlglot.dialects.sqlite import SQLite

    tokens = SQLite().tokenize(create)
    kinds = [token.token_type.name for token in tokens]
    opened = kinds.index("L_PAREN")
    named = next(index for index, token in enumerate(tokens) if token.text.upper() == "TABLE") + 1
    depth = 0
    for index in range(opened, len(tokens)):
        begins = depth == 1 and kinds[index - 1] in ("L_PAREN", "COMMA")
        if begins and tokens[index].text.lower() == column.lower():
            break
        depth += (kinds[index] == "L_PAREN") - (kinds[index] == "R_PAREN")
    else:
        raise TerminalError(f"column {column!r} can't get the type {type_}; change the table by hand")
    end = index + 1
    inner = 0
    while inner or not (kinds[end] in ("COMMA", "R_PAREN") or tokens[end].text.upper() in _CONSTRAINTS):
        inner += (kinds[end] == "L_PAREN") - (kinds[end] == "R_PAREN")
        end += 1
    first, last = tokens[named].start, tokens[opened - 1].end + 1
    old, rest = tokens[index].end + 1, tokens[end - 1].end + 1
    return f"{create[:first]}{name}{create[last:old]} {type_}{create[rest:]}"


_CONSTRAINTS = {
    "CONSTRAINT",
    "PRIMARY",
    "PRIMARY KEY",
    "NOT",
    "NULL",
    "UNIQUE",
    "CHECK",
    "DEFAULT",
    "COLLATE",
    "REFERENCES",
    "GENERATED",
    "AS",
}


def _is_left_over(name: str) -> bool:
    made = re.match(rf"{STAGE}(\d{{10}})_", name)
    if made is None:
        return False
    at = datetime.strptime(made[1], "%y%m%d%H%M").replace(tzinfo=timezone.utc)
    return at < datetime.now(timezone.utc) - STAGE_LIVES


def _is_drivers(error: Exception, driver: str) -> bool:
    """Whether an error is one of the driver's: those of PEP 249 have a base class called Error."""
    return any(base.__name__ == "Error" and base.__module__.split(".")[0] == driver for base in type(error).__mro__)


def _without_values(said: str, state: str) -> str:
    """Return a driver's sentence without the values that it quotes; names in it stay where they can be told."""
    said = re.sub(r"'[^']*'", "'…'", said)
    return re.sub(r'"[^"]*"', '"…"', said) if state.startswith("22") else said
