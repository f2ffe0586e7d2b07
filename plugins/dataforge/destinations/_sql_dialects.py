"""What databases differ in: the statements of the commit protocol in their dialect, and facts that no statement tells.

The protocol's statements are written in PostgreSQL's dialect (SQLite's for SQLite, which takes them as they are) and
translated by SQLGlot on their way. Tested against real servers: SQLite and PostgreSQL. Of MySQL, MariaDB, SQL Server
and Snowflake only the text of the statements is tested.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

_COLUMNS = (
    "select COLUMN_NAME, {type}, {length}, {precision}, {scale}, {required}, {generated} "
    "from INFORMATION_SCHEMA.COLUMNS where TABLE_SCHEMA = {{schema}} and TABLE_NAME = {{table}} "
    "order by ORDINAL_POSITION"
)
_SIZES = {"length": "CHARACTER_MAXIMUM_LENGTH", "precision": "NUMERIC_PRECISION", "scale": "NUMERIC_SCALE"}
_REQUIRED = "case when IS_NULLABLE = 'NO' and COLUMN_DEFAULT is null{filled} then 1 else 0 end"


def _when(condition: str) -> str:
    return f"case when {condition} then 1 else 0 end"


@dataclass(frozen=True)
class Dialect:
    """One database: `name` is SQLGlot's, `written` the dialect in which statements for it are built.

    `types` are the written types to the database's own, where SQLGlot's choice would lose something. `session` are
    statements for a new session, with `{milliseconds}` and `{seconds}` of the lock time-out; they, `schema`, `version`
    and `lock` are in the database's own words. `columns` is the query for name, type, length, precision, scale, whether
    a value is required, and whether it is generated. With `transactional_ddl` a change of tables is part of the
    transaction; elsewhere it ends it.
    """

    name: str
    title: str
    written: str = "postgres"
    text: str = "text"
    instant: str = "timestamptz"
    json: str = "text"
    types: Mapping[str, str] = field(default_factory=dict)
    session: tuple[str, ...] = ()
    schema: str = ""
    columns: str = ""
    temporary: str = "create temporary table {name} ({columns})"
    temporary_name: str = "{name}"
    lock: str | None = None
    case_sensitive: bool = True
    max_name_bytes: int = 63
    transactional_ddl: bool = True
    special_floats: bool = False
    aware: bool = True
    version: str = "select version()"


SQLITE = Dialect(
    name="sqlite",
    title="SQLite",
    written="sqlite",
    instant="text",
    case_sensitive=False,
    max_name_bytes=1_000,
    temporary="create temp table {name} ({columns})",
    aware=False,
    version="select sqlite_version()",
)

POSTGRES = Dialect(
    name="postgres",
    title="PostgreSQL",
    json="jsonb",
    session=(
        "set session characteristics as transaction isolation level read committed",
        "set lock_timeout = {milliseconds}",
        "set idle_in_transaction_session_timeout = 600000",
        "set timezone = 'UTC'",
    ),
    schema="select current_schema()",
    columns="select a.attname::text, format_type(a.atttypid, a.atttypmod), null, null, null, "
    "case when (a.attnotnull or t.typnotnull) and not (a.atthasdef or a.attidentity <> '') then 1 else 0 end, "
    "case when a.attgenerated <> '' then 1 else 0 end "
    "from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_class c on c.oid = a.attrelid "
    "join pg_namespace n on n.oid = c.relnamespace where n.nspname = {schema} and c.relname = {table} "
    "and a.attnum > 0 and not a.attisdropped order by a.attnum",
    temporary="create temporary table {name} ({columns}) on commit drop",
    lock="lock table {table} in share row exclusive mode",
    special_floats=True,
)

MYSQL = Dialect(
    name="mysql",
    title="MySQL or MariaDB",
    json="json",
    types={
        "text": "longtext",
        "bytea": "longblob",
        "timestamptz": "datetime(6)",
        "timestamp": "datetime(6)",
        "time": "time(6)",
        "jsonb": "json",
        "uuid": "char(36)",
    },
    session=(
        "set session transaction isolation level read committed",
        "set session innodb_lock_wait_timeout = {seconds}",
        "set session sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
        "set time_zone = '+00:00'",
    ),
    schema="select database()",
    columns=_COLUMNS.format(
        type="COLUMN_TYPE",
        length="null",
        precision="null",
        scale="null",
        required=_REQUIRED.format(filled=" and EXTRA not like '%auto_increment%'"),
        generated=_when("EXTRA like '%GENERATED%' and EXTRA not like '%DEFAULT_GENERATED%'"),
    ),
    case_sensitive=False,
    transactional_ddl=False,
    aware=False,
)

MSSQL = Dialect(
    name="tsql",
    title="SQL Server",
    types={
        "text": "nvarchar(max)",
        "bytea": "varbinary(max)",
        "timestamptz": "datetimeoffset(6)",
        "timestamp": "datetime2(6)",
        "time": "time(6)",
        "jsonb": "nvarchar(max)",
    },
    session=("set lock_timeout {milliseconds}", "set xact_abort on", "set transaction isolation level read committed"),
    schema="select schema_name()",
    columns=_COLUMNS.format(
        type="DATA_TYPE",
        **_SIZES,
        required=_REQUIRED.format(
            filled=" and columnproperty(object_id(quotename(TABLE_SCHEMA) + '.' + quotename(TABLE_NAME)), COLUMN_NAME, "
            "'IsIdentity') = 0"
        ),
        generated=_when(
            "columnproperty(object_id(quotename(TABLE_SCHEMA) + '.' + quotename(TABLE_NAME)), COLUMN_NAME, "
            "'IsComputed') = 1"
        ),
    ),
    temporary="create table {name} ({columns})",
    temporary_name="#{name}",
    lock="select count(*) from {table} with (tablockx, holdlock) where 1 = 0",
    case_sensitive=False,
    max_name_bytes=128,
    aware=False,
    version="select cast(serverproperty('ProductVersion') as varchar(100))",
)

SNOWFLAKE = Dialect(
    name="snowflake",
    title="Snowflake",
    types={"uuid": "varchar(36)", "jsonb": "varchar"},
    session=("alter session set timezone = 'UTC'", "alter session set lock_timeout = {seconds}"),
    schema="select current_schema()",
    columns=_COLUMNS.format(
        type="DATA_TYPE",
        **_SIZES,
        required=_REQUIRED.format(filled=" and IS_IDENTITY = 'NO'"),
        generated="0",
    ),
    max_name_bytes=255,
    transactional_ddl=False,
    special_floats=True,
    version="select current_version()",
)

DIALECTS: Mapping[str, Dialect] = {
    "sqlite": SQLITE,
    "postgres": POSTGRES,
    "mysql": MYSQL,
    "mssql": MSSQL,
    "snowflake": SNOWFLAKE,
}
"""Airflow connection types that the sql destination writes to."""


def quote(name: str, dialect: Dialect) -> str:
    """Return a quoted identifier in the dialect in which statements are written."""
    from sqlglot import exp

    return exp.to_identifier(name, quoted=True).sql(dialect.written)


def text(value: str, dialect: Dialect) -> str:
    """Return a text literal in the dialect in which statements are written."""
    from sqlglot import exp

    return exp.Literal.string(value).sql(dialect.written)


def literal(value: str, type_: str, dialect: Dialect) -> str:
    """Return the text of a value of a DuckDB type as SQL in the dialect in which statements are written."""
    from sqlglot import exp

    kind = exp.DataType.build(type_, dialect="duckdb")
    if dialect.written != "sqlite":
        value = plain_instant(value) if kind.is_type("timestamptz") else value
        return exp.cast(exp.Literal.string(value), kind).sql(dialect.written)
    if kind.is_type("timestamptz", "timestamp", "datetime"):
        return text(plain_instant(value) if kind.is_type("timestamptz") else spaced(value), dialect)
    if kind.is_type(*exp.DataType.NUMERIC_TYPES):
        return f"cast({text(value, dialect)} as numeric)"
    return text(value, dialect)


def spaced(value: str) -> str:
    """Return a local time as SQLite's tables have it."""
    return datetime.fromisoformat(_full(value)).isoformat(sep=" ")


def plain_instant(value: str) -> str:
    """Return an instant in UTC as SQLite's tables have it: `2024-01-31 00:00:00+00:00`, with microseconds if any."""
    found = datetime.fromisoformat(_full(value))
    found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return found.astimezone(timezone.utc).isoformat(sep=" ")


def _full(value: str) -> str:
    """Return an ISO text that every Python reads: DuckDB writes whole hours of an offset alone, and short fractions."""
    value = re.sub(r"Z$", "+00:00", value)
    value = re.sub(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", r"\1:00", value)
    return re.sub(r"\.(\d{1,6})\d*", lambda found: "." + found[1].ljust(6, "0"), value)


def translated(sql: str, dialect: Dialect) -> str:
    """Return a statement of the protocol in the database's own dialect."""
    if dialect.name == dialect.written:
        return sql
    import sqlglot
    from sqlglot import exp

    statement = sqlglot.parse_one(sql, read=dialect.written)
    for ordered in list(statement.find_all(exp.Ordered)):
        # the protocol orders only by what is never null, so that no database needs words about nulls
        ordered.set("nulls_first", bool(ordered.args.get("desc")) == (dialect.name == "snowflake"))
    for cast in list(statement.find_all(exp.Cast)):
        if dialect.name == "mysql" and cast.is_type("timestamptz") and cast.this.is_string:
            cast.this.replace(exp.Literal.string(plain_instant(cast.this.name)[: -len("+00:00")]))
    for kind in list(statement.find_all(exp.DataType)):
        _retyped(kind, dialect)
    if dialect.name == "mysql" and isinstance(statement, exp.Update | exp.Select | exp.Delete | exp.Insert):
        for different in list(statement.find_all(exp.NullSafeNEQ)):
            different.replace(exp.Not(this=exp.Paren(this=exp.NullSafeEQ(**different.args))))
    if dialect.name in ("mysql", "tsql") and isinstance(statement, exp.Delete) and statement.this.alias:
        statement.set("tables", [exp.Table(this=exp.to_identifier(statement.this.alias))])
    if dialect.name == "tsql":
        statement = _for_sql_server(statement)
    return statement.sql(dialect.name)


def _retyped(kind: exp.DataType, dialect: Dialect) -> None:
    from sqlglot import exp

    plain = kind.sql("postgres").lower()
    own = dialect.types.get(plain)
    if dialect.name == "tsql" and kind.is_type("varchar") and kind.expressions:
        own = kind.sql("tsql").lower().replace("varchar", "nvarchar")
    if own is not None:
        new = exp.DataType.build(own, dialect=dialect.name)
        kind.set("this", new.this)
        kind.set("expressions", new.expressions)
        kind.set("kind", new.args.get("kind"))


def _for_sql_server(statement: exp.Expr) -> exp.Expr:
    """Return a statement with texts that keep their characters, and with the target of an update among its sources."""
    from sqlglot import exp

    if not isinstance(statement, exp.Create):
        for found in list(statement.find_all(exp.Literal)):
            if found.is_string:
                found.replace(exp.National(this=found.this))
    if isinstance(statement, exp.Update) and (source := statement.args.get("from_") or statement.args.get("from")):
        target = statement.this
        source.this.set("joins", [exp.Join(this=target.copy(), kind="CROSS")])
        statement.set("this", exp.Table(this=exp.to_identifier(target.alias)))
    return statement


def differs(left: str, right: str, *, text_: bool, json_: bool, dialect: Dialect) -> str:
    """Return SQL in the written dialect: whether two values differ to the byte, null being a value like others."""
    if dialect.name == "sqlite":
        return f"{left} is not {right} collate binary"
    if dialect.name == "postgres":
        left, right = (f"{left}::text", f"({right})::text") if json_ else (left, right)
        return f"{left} is distinct from {right}"
    if text_ and dialect.name in ("mysql", "tsql"):
        # their usual collations take 'a' for 'A' and ignore blanks at the end
        left, right = (
            f"hex({side})" if dialect.name == "mysql" else f"cast({side} as bytea)" for side in (left, right)
        )
    either = f"({left} is null and {right} is not null) or ({left} is not null and {right} is null)"
    return f"({left} <> {right} or {either})"
