"""What the sql destination says to databases without a server here: the text of its statements, and types."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any, cast

import psycopg2  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from dataforge.destinations._ledger import LedgerTables
from dataforge.destinations._sql_dialects import DIALECTS, differs, literal, translated
from dataforge.destinations._sql_tables import placeholders
from dataforge.destinations._sql_types import arrow_of, bound, new_column, sized, written_type

SAID = [
    (
        (
            'update "s"."t" as t set "a" = s."a" from "l"."st" s where t."id" = s."id" and not (s."f" is not '
            'null and s."f")'
        ),
        (
            "UPDATE `s`.`t` AS t JOIN `l`.`st` AS s ON TRUE SET t.`a` = s.`a` WHERE t.`id` = s.`id` AND NOT "
            "(s.`f` IS NOT NULL AND s.`f`)"
        ),
        (
            "UPDATE t SET [a] = s.[a] FROM [l].[st] AS s CROSS JOIN [s].[t] AS t WHERE t.[id] = s.[id] AND NOT "
            "(s.[f] IS NOT NULL AND s.[f] <> 0)"
        ),
    ),
    (
        (
            'delete from "l"."st" as s where s."r" in (select r."r" from (select s."r", row_number() over '
            '(partition by s."k" order by s."r" desc) as n from "l"."st" s) r where r.n > 1)'
        ),
        (
            "DELETE s FROM `l`.`st` AS s WHERE s.`r` IN (SELECT r.`r` FROM (SELECT s.`r`, ROW_NUMBER() OVER "
            "(PARTITION BY s.`k` ORDER BY s.`r` DESC) AS n FROM `l`.`st` AS s) AS r WHERE r.n > 1)"
        ),
        (
            "DELETE s FROM [l].[st] AS s WHERE s.[r] IN (SELECT r.[r] FROM (SELECT s.[r] AS [r], ROW_NUMBER() "
            "OVER (PARTITION BY s.[k] ORDER BY s.[r] DESC) AS n FROM [l].[st] AS s) AS r WHERE r.n > 1)"
        ),
    ),
    (
        (
            'delete from "s"."t" where exists (select 1 from "l"."st" s where "s"."t"."id" = s."id" and s."f" is '
            "not null)"
        ),
        (
            "DELETE FROM `s`.`t` WHERE EXISTS(SELECT 1 FROM `l`.`st` AS s WHERE `s`.`t`.`id` = s.`id` AND s.`f` "
            "IS NOT NULL)"
        ),
        (
            "DELETE FROM [s].[t] WHERE EXISTS(SELECT 1 FROM [l].[st] AS s WHERE [s].[t].[id] = s.[id] AND s.[f] "
            "IS NOT NULL)"
        ),
    ),
    (
        (
            'insert into "s"."t" ("a") select s."a" from "l"."st" s where true and not exists (select 1 from '
            '"s"."t" t where t."id" = s."id")'
        ),
        (
            "INSERT INTO `s`.`t` (`a`) SELECT s.`a` FROM `l`.`st` AS s WHERE TRUE AND NOT EXISTS(SELECT 1 FROM "
            "`s`.`t` AS t WHERE t.`id` = s.`id`)"
        ),
        (
            "INSERT INTO [s].[t] ([a]) SELECT s.[a] FROM [l].[st] AS s WHERE (1 = 1) AND NOT EXISTS(SELECT 1 "
            "FROM [s].[t] AS t WHERE t.[id] = s.[id])"
        ),
    ),
    (
        (
            'create table if not exists "s"."x" (p varchar(200) not null, c text, at timestamptz, ok boolean, b '
            "bytea, primary key (p))"
        ),
        (
            "CREATE TABLE IF NOT EXISTS `s`.`x` (p VARCHAR(200) NOT NULL, c LONGTEXT, at DATETIME(6), ok "
            "BOOLEAN, b LONGBLOB, PRIMARY KEY (p))"
        ),
        (
            "IF NOT EXISTS (SELECT * FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'x' AND TABLE_SCHEMA = "
            "'s') EXEC('CREATE TABLE [s].[x] (p NVARCHAR(200) NOT NULL, c NVARCHAR(MAX), at DATETIMEOFFSET(6), "
            "ok BIT, b VARBINARY(MAX), PRIMARY KEY (p))')"
        ),
    ),
    (
        (
            "insert into \"s\".\"x\" (a, b, c) values ('it''s \\ é', true, cast('2024-01-01 05:00:00+05:00' as "
            "timestamptz))"
        ),
        ("INSERT INTO `s`.`x` (a, b, c) VALUES ('it''s \\\\ é', TRUE, CAST('2024-01-01 00:00:00' AS DATETIME(6)))"),
        (
            "INSERT INTO [s].[x] (a, b, c) VALUES (N'it''s \\ é', 1, CAST(N'2024-01-01 05:00:00+05:00' AS "
            "DATETIMEOFFSET(6)))"
        ),
    ),
    (
        'select v from "s"."x" where a = \'b\' order by v desc limit 1',
        "SELECT v FROM `s`.`x` WHERE a = 'b' ORDER BY v DESC LIMIT 1",
        "SELECT TOP 1 v FROM [s].[x] WHERE a = N'b' ORDER BY v DESC",
    ),
    (
        'alter table "s"."t" add column "x" numeric(12,2)',
        "ALTER TABLE `s`.`t` ADD COLUMN `x` DECIMAL(12, 2)",
        "ALTER TABLE [s].[t] ADD [x] NUMERIC(12, 2)",
    ),
    (
        'alter table "s"."t" alter column "x" type text',
        "ALTER TABLE `s`.`t` MODIFY COLUMN `x` LONGTEXT",
        "ALTER TABLE [s].[t] ALTER COLUMN [x] NVARCHAR(MAX)",
    ),
    (
        'drop table if exists "s"."t"',
        "DROP TABLE IF EXISTS `s`.`t`",
        "DROP TABLE IF EXISTS [s].[t]",
    ),
]
"""Statements of the protocol as they are written, and in the words of MySQL and of SQL Server."""


@pytest.mark.parametrize(("written", "mysql", "mssql"), SAID)
def test_statements_are_said_in_the_databases_own_words(written: str, mysql: str, mssql: str) -> None:
    assert translated(written, DIALECTS["mysql"]) == mysql
    assert translated(written, DIALECTS["mssql"]) == mssql


@pytest.mark.parametrize("type_", ["mysql", "mssql", "snowflake"])
def test_every_statement_parses_in_its_dialect(type_: str) -> None:
    dialect = DIALECTS[type_]
    more = [
        dialect.columns.format(schema="'s'", table="'t'"),
        f'update "t" as t set a = 1 from "s" s where {differs("t.a", "s.a", text_=True, json_=False, dialect=dialect)}',
        f"select {literal('2024-01-01 00:00:00.5+00', 'TIMESTAMPTZ', dialect)}",
    ]
    for statement in (*(written for written, _, _ in SAID), *more):
        parsed = sqlglot.parse(translated(statement, dialect), read=dialect.name)
        assert not any(isinstance(one, exp.Command) for one in parsed if one is not None and type_ != "mssql")


@pytest.mark.parametrize(
    ("type_", "own", "arrow"),
    [
        ("mysql", "tinyint(1)", pa.bool_()),
        ("mysql", "decimal(12,2) unsigned", pa.decimal128(12, 2)),
        ("mysql", "bigint unsigned", pa.decimal128(20, 0)),
        ("mysql", "datetime(6)", pa.timestamp("us")),
        ("mysql", "longtext", pa.string()),
        ("mysql", "enum('a','b')", None),
        ("mssql", "nvarchar(max)", pa.string()),
        ("mssql", "bit", pa.bool_()),
        ("mssql", "datetimeoffset", pa.timestamp("us", "UTC")),
        ("mssql", "datetime2", pa.timestamp("us")),
        ("mssql", "varbinary(max)", pa.binary()),
        ("mssql", "float", pa.float64()),
        ("snowflake", "number(38,0)", pa.decimal128(38, 0)),
        ("snowflake", "timestamp_ntz", pa.timestamp("us")),
        ("snowflake", "timestamp_ltz", pa.timestamp("us", "UTC")),
        ("postgres", "numeric", None),
        ("postgres", "integer[]", None),
        ("postgres", "mood", None),
        ("postgres", "real", pa.float32()),
        ("sqlite", "UNSIGNED BIG INT", pa.int64()),
        ("sqlite", "whatever", None),
        ("sqlite", "decimal(10,5)", pa.decimal128(10, 5)),
    ],
)
def test_types_of_columns_are_understood(type_: str, own: str, arrow: pa.DataType | None) -> None:
    dialect = DIALECTS[type_]
    assert arrow_of(written_type(own, dialect), dialect) == arrow


KINDS: list[pa.DataType] = [
    pa.bool_(),
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.uint64(),
    pa.float64(),
    pa.decimal128(12, 2),
    pa.decimal128(38, 0),
    pa.string(),
    pa.binary(),
    pa.date32(),
    pa.time64("us"),
    pa.timestamp("us"),
]


@pytest.mark.parametrize("type_", list(DIALECTS))
def test_a_column_that_is_made_is_understood_again(type_: str) -> None:
    dialect = DIALECTS[type_]
    for kind in KINDS:
        planned = new_column(pa.field("a", kind), dialect)
        found = arrow_of(planned.type, dialect)
        both = found is not None and pa.types.is_integer(found) and pa.types.is_integer(planned.wire.type)
        assert both or found == planned.wire.type, planned.type


def test_values_are_bound_as_the_driver_wants_it() -> None:
    assert (sqlite3.paramstyle, psycopg2.paramstyle) == ("qmark", "pyformat")
    assert placeholders("sqlite3", 2, 'insert into "%s" values ') == ("(?, ?)", 'insert into "%s" values ')
    assert placeholders("psycopg2", 2, 'insert into "%s" values ') == ("(%s, %s)", 'insert into "%%s" values ')
    assert placeholders("oracledb-not-there", 1, "%")[0] == "(%s)"


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("mysql", "2024-03-31 01:30:00"),
        ("mssql", "2024-03-31 01:30:00+00:00"),
        ("snowflake", "2024-03-31 01:30:00+00:00"),
    ],
)
def test_instants_are_bound_in_utc(type_: str, expected: str) -> None:
    array: pa.Array[Any] = pa.array([1_711_848_600_000_000, None], pa.timestamp("us", "UTC"))
    value, nothing = bound(array, DIALECTS[type_])
    assert (str(value), nothing) == (expected, None)


def test_sizes_of_the_information_schema_become_types() -> None:
    assert sized("NVARCHAR", -1, None, None) == "nvarchar(max)"
    assert sized("decimal", None, 12, 2) == "decimal(12,2)"
    assert sized("int", None, 10, 0) == "int"


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "sqlite"])
@pytest.mark.parametrize("text", ["a'b", "x\\y", "two\nlines", "tab\t%s ${x}", "ü'' '", "\r", ""])
def test_the_ledgers_own_text_literals_are_those_of_sqlglot(dialect: str, text: str) -> None:
    tables = LedgerTables(cast("Any", SimpleNamespace(dialect=dialect)), "", "p", "t")
    assert tables.text(text) == exp.Literal.string(text).sql(dialect)
