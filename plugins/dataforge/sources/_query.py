"""The query of a database source: one SELECT, placeholders as literals, held against what reading may be.

This guard gives early, clear findings. What truly stops writes is the read-only transaction the query runs in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import RunValues, SourceConfig
from dataforge.components.fields import ConnectionId, Duration, SqlQuery, TableName
from dataforge.components.placeholders import Placeholder, parse_placeholder
from dataforge.errors import ConfigError, Problem

# Texts, quoted names and comments are passed over whole: a placeholder in them is no value of its own.
_PIECES = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$([A-Za-z_]*)\$.*?\$\1\$|\$\{(?P<body>[^{}]*)\}",
    re.DOTALL,
)

_REACHING = re.compile(
    r"dblink\w*|lo_(export|from_bytea|get|import|put)|set_config|pg_(read|ls|file)_\w+|pg_(stat_file|current_logfile)"
    r"|pg_(reload_conf|rotate_logfile|terminate_backend|cancel_backend|notify|switch_wal)"
    r"|(cursor|database|query|schema|table)_to_xml\w*"
)
"""Functions of PostgreSQL that read the server's files, run SQL out of a text, or change what is no table.

A list can't be complete, extensions have more: the role of the connection is the real limit.
"""


_REACHING_CLICKHOUSE = re.compile(
    r"(file|url|s3|hdfs|azureblobstorage|iceberg\w*|deltalake\w*|hudi|paimon)(cluster)?|gcs|s3queue|remote(secure)?"
    r"|cluster(allreplicas)?|mysql|postgresql|mongodb|redis|sqlite|odbc|jdbc|executable\w*|ytsaurus|arrowflight|python"
    r"|input|merge"
)
"""Table functions of ClickHouse that reach beyond its own tables, and `merge`, which takes tables by a pattern."""


class QuerySourceConfig(SourceConfig):
    """Base of the configs of database sources."""

    connection: ConnectionId = Field(description="Airflow connection of the database.", examples=["shop_db"])
    table: TableName | None = Field(
        default=None, description="Table or view to read whole: table or schema.table.", examples=["sales.orders"]
    )
    query: SqlQuery | None = Field(
        default=None,
        description="One SELECT in the database's own SQL, in place of table. ${params.x}, ${data_interval_start} and "
        "${data_interval_end} stand for literals: write them without quotes.",
        examples=["select id, amount from sales.orders where updated_at >= ${data_interval_start}"],
    )

    statement_timeout: Duration | None = Field(
        default=None,
        description="Longest time for the whole query, until its last row is read; no limit when not set. A server "
        "that shows no progress at all is given up after the deployment's stall_seconds.",
        examples=["30m"],
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("exactly one of 'table' and 'query' is needed")
        return self

    def asset(self) -> str | None:
        """Return the table as an asset URI; None for a query."""
        return f"dataforge://{self.connection}/{self.table}" if self.table else None


def prepare(query: str, dialect: str | None, values: RunValues) -> str:
    """Return the query to run: placeholders as literals, checked to be one SELECT; ConfigError at `query` if not."""
    text = _PIECES.sub(lambda match: _piece(match, dialect, values), query).strip().rstrip(";").rstrip()
    check_select(text, dialect)
    return f"{text}\n" if "--" in text else text  # whatever follows must not end up in the query's last comment


def query_problems(config: QuerySourceConfig, dialect: str | None, *, strict: bool = True) -> Iterable[Problem]:
    """Yield what is wrong with the config's query as it stands, each placeholder read as a value.

    Not `strict` where the dialect is not known: then what can't be parsed may yet be right.
    """
    if config.query is None:
        return
    found: tuple[Problem, ...] = ()
    for value in ("'1'", "1"):  # some places take only a text, as in date '…', and some only a number
        try:
            text = _PIECES.sub(lambda match: _sample_piece(match, value), config.query)  # noqa: B023
            check_select(text.strip().rstrip(";").rstrip(), dialect)
        except ConfigError as error:
            found = error.problems
        else:
            return
    yield from (one for one in found if strict or one.code != "invalid-sql")


def _sample_piece(match: re.Match[str], value: str) -> str:
    if match["body"] is None:
        return _untouched(match)
    _placeholder(match["body"])
    return value


def check_select(text: str, dialect: str | None) -> None:
    """Raise ConfigError at `query` when the text is not one SELECT that only reads."""
    import sqlglot
    from sqlglot import exp

    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise _problem("invalid-sql", f"the query can't be parsed as {dialect or 'SQL'}: {first}") from None
    if len(trees) != 1:
        raise _problem("not-one", f"exactly one statement is needed, there are {len(trees)}")
    tree = trees[0]
    if not isinstance(tree, exp.Query):
        raise _problem("not-allowed", f"a source can only SELECT; this is {type(tree).__name__.upper()}")
    writes = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Command, exp.Into, exp.Lock)
    if found := next(tree.find_all(*writes), None):
        raise _problem(
            "not-allowed", f"a source can only read; {type(found).__name__.upper()} can't stand in its query"
        )
    for node in tree.find_all(exp.Func):
        name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
        if (_REACHING_CLICKHOUSE if dialect == "clickhouse" else _REACHING).fullmatch(name):
            raise _problem("not-allowed", f"a source can only read tables; {name}() reaches beyond them")


def _problem(code: str, message: str) -> ConfigError:
    return ConfigError(Problem(code, message, ("query",)))


def _piece(match: re.Match[str], dialect: str | None, values: RunValues) -> str:
    body = match["body"]
    if body is None:
        return _untouched(match)
    placeholder = _placeholder(body)
    value: Any = placeholder.value(values)
    if value is None:
        raise _problem("missing-value", f"'${{{body}}}' has no value in this run")
    if placeholder.format:
        value = placeholder.text(values)
    return literal(value, dialect)


def _untouched(match: re.Match[str]) -> str:
    if "${" in match[0] and match[0][0] == "'":
        raise _problem("quoted-placeholder", "a placeholder stands for a whole literal; write it without quotes")
    return match[0]


def _placeholder(body: str) -> Placeholder:
    try:
        return parse_placeholder(body)
    except ValueError as error:
        raise _problem("unknown-placeholder", str(error)) from None


def literal(value: Any, dialect: str | None) -> str:
    """Return a literal of that dialect for a text, number, boolean or instant (in UTC)."""
    from sqlglot import exp

    if isinstance(value, bool):
        return exp.Boolean(this=value).sql(dialect)
    if isinstance(value, int | float):
        return f"({value!r})" if value < 0 else repr(value)
    if isinstance(value, datetime):
        instant = value.astimezone(timezone.utc)
        if dialect == "postgres":
            return f"TIMESTAMPTZ '{instant:%Y-%m-%d %H:%M:%S.%f}+00'"
        return f"'{instant:%Y-%m-%d %H:%M:%S}'"
    text = str(value)
    if "\0" in text or ("\\" in text and dialect is None):
        # Whether a backslash escapes differs between databases, and this one is not known.
        raise _problem("invalid-value", f"{text!r} can't be a literal for this connection")
    return exp.Literal.string(text).sql(dialect)
