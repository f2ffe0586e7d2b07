"""No SQL of a config says more than an expression or a SELECT over the named inputs, and names survive any spelling."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from dataforge.components import sql
from dataforge.components.base import Relation, Scope
from dataforge.components.sql_allowed import AGGREGATES, FUNCTIONS, SCALARS, WINDOWS
from dataforge.errors import ConfigError

OPEN = Relation("source")
KNOWN = Relation("source", {"id": "INTEGER", "name": "VARCHAR", "tags": "VARCHAR[]"})
SCOPE = Scope({"source": OPEN, "orders": Relation("orders")})

EXPRESSIONS = [
    "id; drop table source",
    "id; select 1",
    ";",
    "",
    "   ",
    "-- nothing",
    "/* nothing */",
    "drop table source",
    "delete from source",
    "insert into source values (1)",
    "update source set id = 1",
    "create table x as select 1",
    "attach '/tmp/x.db'",
    "attach '/tmp/x.db' as y",
    "detach x",
    "copy source to '/tmp/x.csv'",
    "copy (select 1) to program 'id'",
    "install httpfs",
    "load httpfs",
    "pragma database_list",
    "set memory_limit = '1TB'",
    "reset memory_limit",
    "call pragma_version()",
    "export database '/tmp/x'",
    "import database '/tmp/x'",
    "use memory",
    "vacuum",
    "begin",
    "prepare p as select 1",
    "execute p",
    "explain select 1",
    "describe source",
    "show tables",
    "summarize source",
    "select 1",
    "select * from source",
    "from source",
    "values (1)",
    "with x as (select 1) select * from x",
    "id as other",
    "id other",
    "id, name",
    "*",
    "source.*",
    "columns('.*')",
    "columns(*)",
    "getenv('HOME')",
    "getvariable('x')",
    "current_setting('temp_directory')",
    "read_text('/etc/passwd')",
    "read_blob('/etc/passwd')",
    "read_csv('/etc/passwd')",
    "glob('/etc/*')",
    "(select content from read_text('/etc/passwd'))",
    "(select * from '/etc/passwd')",
    "(select * from '/etc/hosts.csv')",
    '(select * from "/etc/hosts.csv")',
    "exists (select 1 from information_schema.tables)",
    "id in (select oid from pg_catalog.pg_class)",
    "id in (table secrets)",
    "(select 1 from duckdb_secrets())",
    "(select 1 from unknown)",
    "(select 1 from orders, unknown)",
    "(with w as (delete from orders returning *) select 1 from w)",
    "(with w as (select * from nowhere) select 1 from w)",
    "(select 1 from range(1000000000))",
    "(select 1 from (select 1 from read_csv('x')))",
    "nextval('s')",
    "setseed(0.5)",
    "random()",
    "uuid()",
    "gen_random_uuid()",
    "error('x')",
    "sleep_ms(1000)",
    "pg_sleep(10)",
    "txid_current()",
    "version()",
    "current_user",
    "session_user",
    "current_schema()",
    "current_database()",
    "current_query()",
    "in_search_path('a', 'b')",
    "write_log('x')",
    "json_serialize_sql('select 1')",
    "json_deserialize_sql('x')",
    "query('select 1')",
    "query_table('source')",
    "list_aggregate([1], 'sum')",
    "invoke(x -> x, 1)",
    "parse_duckdb_log_message('a', 'b')",
    "main.read_text('/etc/passwd')",
    "system.main.getenv('HOME')",
    "\"getenv\"('HOME')",
    "\"read_text\"('/etc/passwd')",
    "'/etc/passwd'.read_text()",
    "name.lower()",
    "ｇｅｔｅｎｖ('HOME')",
    "geten\u200bv('HOME')",
    "lower(name",
    "lower(name))",
    "name)) union select (1",
    "?",
    "$1",
    ":name",
    "$name",
    "#1",
    "e'\\x41'",
    "[x for x in range(10)]",
    "name collate nocase",
    "cast(name as some_type)",
    'name::"x; drop"',
    "{% raw %}",
    "__import__('os').system('id')",
    "lambda: 1",
    "id \x00 or 1",
    "name || '\ud800'",
    "__dataforge_value_0__",
    "('a' = 'a",
    "1 /* open",
    "'open",
]

QUERIES = [
    "drop table source",
    "select 1; select 2",
    "select 1; drop table source",
    "copy orders to '/tmp/x'",
    "attach 'x.db'",
    "pragma version",
    "insert into orders select 1",
    "create view x as select 1",
    "select * into x from orders",
    "select * from orders for update",
    "select * from read_csv('/etc/passwd')",
    "select * from read_parquet('s3://x/y')",
    "select * from read_text('/etc/passwd')",
    "select * from glob('/*')",
    "select * from '/etc/passwd'",
    "select * from 'https://example.com/x.csv'",
    "from '/etc/passwd'",
    "from read_text('/etc/passwd') select content",
    "select * from duckdb_settings()",
    "select * from pragma_version()",
    "select * from sqlite_master",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_class",
    "select * from main.orders",
    "select * from memory.main.orders",
    "select * from generate_series(1, 1000000000000)",
    "select * from range(10)",
    "select * from orders, lateral (select * from read_text(orders.path))",
    "select * from orders join read_csv('x') on true",
    "select * from (select * from (select * from read_csv('x')))",
    "with x as (insert into orders values (1) returning *) select * from x",
    "with x as (delete from orders returning *) select * from x",
    "with x as (select * from read_csv('x')) select * from x",
    "with recursive x as (select 1 union all select * from x) select * from x",
    "with orders as (select 1) select * from orders",
    "select (select content from read_text('/etc/passwd'))",
    "select getenv('HOME')",
    "select getenv('HOME') from orders",
    "select * from orders where id = getenv('HOME')",
    "select * from orders order by getenv('HOME')",
    "select * from orders group by all having getenv('x') = ''",
    "select * from orders limit (select count(*) from read_csv('x'))",
    "select * from orders qualify row_number() over (order by getenv('x')) = 1",
    "select * from query('select 1')",
    "select * from query_table('orders')",
    "select * from orders tablesample 10%",
    "select * from orders using sample 5",
    "pivot orders on id using sum(id)",
    "select * from (pivot orders on id using sum(id))",
    "select * from orders pivot (sum(id) for id in (1))",
    "unpivot orders on id into name n value v",
    "describe orders",
    "summarize orders",
    "show tables",
    "explain select * from orders",
    "select * from orders at (version => 1)",
    "select * from ${params.table}",
    'select * from "${params.table}"',
    "select 1 as ${params.table}",
    "id + 1",
    "",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_that_is_more_than_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sql.parse_expression(text, OPEN, SCOPE, "where", aggregates=True, windows=True)
    assert all(problem.path == ("where",) for problem in caught.value.problems)


@pytest.mark.parametrize("text", QUERIES)
def test_a_query_that_is_more_than_a_select_over_inputs_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        sql.parse_query(text, OPEN, SCOPE, "query")


COLUMNS_AFTER_ALL = ["user", "checkpoint", "{{ params.x }}", "source.__class__.__mro__", "__import__", "os.path"]


@pytest.mark.parametrize("text", COLUMNS_AFTER_ALL)
def test_what_merely_looks_like_code_is_a_column_that_does_not_exist(text: str) -> None:
    with pytest.raises(ConfigError, match="is not known"):
        sql.parse_expression(text, KNOWN, SCOPE, "where")
    assert '"' in sql.parse_expression(text, OPEN, SCOPE, "where").sql("duckdb")


HARMLESS = [
    "name = $$it's$$",
    "id > 1 -- drop table source",
    "id /* ; drop */ > 1",
    "name = '; drop table source; --'",
    "name = 'it''s' || chr(39)",
    "name like '%read_csv(%'",
    "interval '3' day + date '2024-01-01' > date_trunc('month', current_date)",
    "extract(year from now()) > 2000",
    "name is not distinct from null",
    "tags[1] = 'a' or list_contains(tags, 'b')",
    "try_cast(name as decimal(12,2)) between -1 and 1e3",
    "id in (select id from orders)",
    "not exists (select 1 from orders o where o.id = id)",
    "count(*) filter (where id > 1) over (partition by name order by id rows between 1 preceding and current row) > 0",
    "first_value(name ignore nulls) over (order by id) = 'x'",
    "{'a': id}.a = 1",
    "map {'a': 1}['a'] = 1",
    "name similar to '[a-z]+' and name !~ '^x' and name ilike 'A%'",
    "cast(name as struct(a int, b varchar[])) is null",
    "position('a' in name) > 0 and substring(name from 2 for 3) = 'abc' and trim(both 'x' from name) <> ''",
    "id // 2 + id % 3 ** 2 > ~id & 3 | 4 << 1",
    "case name when 'a' then 1 else 0 end = 1",
    "name at time zone 'UTC' is null",
    "string_agg(distinct name, ',' order by name desc) = 'x'",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_sql_passes_and_comments_are_gone(text: str) -> None:
    node = sql.parse_expression(text, KNOWN, SCOPE, "where", aggregates=True, windows=True)
    written = node.sql("duckdb")
    assert "drop */" not in written
    assert "--" not in written.replace("; --'", "")
    assert sqlglot.parse_one(written, dialect="duckdb").sql("duckdb") == written


def _calls(name: str) -> list[str]:
    suffix = " over ()" if name in WINDOWS else ""
    arguments = ["", "a", "a, b", "a, b, c", "'x', a", "'day', a, b", "l, x -> x"]
    return [f"{name}({argument}){suffix}" for argument in arguments]


def _accepted(text: str) -> str | None:
    try:
        return sql.parse_expression(text, OPEN, SCOPE, aggregates=True, windows=True).sql("duckdb")
    except ConfigError:
        return None


@pytest.mark.parametrize("name", sorted(FUNCTIONS - {"current_date", "current_timestamp", "current_time"}))
def test_every_listed_function_can_be_called(name: str) -> None:
    assert any(map(_accepted, _calls(name))), f"{name} is listed, but no call of it is accepted"


def test_no_function_of_the_engine_passes_unless_it_is_listed() -> None:
    rows = duckdb.execute("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()
    names = {name for (name,) in rows if name.replace("_", "").isalnum()}
    assert len(names) > 500
    for name in sorted(names - FUNCTIONS):
        for call in _calls(name):
            written = _accepted(call)
            if written is not None:
                called = {
                    found.name.lower() if isinstance(found, exp.Anonymous) else type(found).__name__
                    for found in sqlglot.parse_one(written, dialect="duckdb").find_all(exp.Func)
                }
                # Another name for something that is listed: what the engine gets is the listed one.
                assert not written.lower().startswith(f"{name}("), (call, written, called)


def test_lists_name_functions_that_the_engine_has() -> None:
    rows = duckdb.execute("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()
    grammar = {"coalesce", "current_timestamp", "current_time", "ifnull", "unnest", "if", "nullif"}
    assert FUNCTIONS - {name for (name,) in rows} - grammar == set()
    assert not SCALARS & AGGREGATES


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000 + "id" + ")" * 5_000,
        "not " * 2_000 + "true",
        "- " * 4_000 + "1",
        "[" * 3_000 + "]" * 3_000,
        "abs(" * 1_500 + "id" + ")" * 1_500,
        "id" + " + id" * 3_000,
        "case when " * 400 + "true" + " then 1 end" * 400,
        "id" + "::text" * 1_000,
        "a" + ".b" * 2_000,
        "x -> " * 1_000 + "x",
        "2" + " ** 2" * 1_500,
        "id" + "[1]" * 1_500,
        "{'a': " * 500 + "1" + "}" * 500,
        "(select " * 100 + "1" + ")" * 100,
    ],
    ids=lambda text: text[:12],
)
def test_a_deep_or_huge_expression_is_refused_quickly(text: str) -> None:
    with pytest.raises(ConfigError):
        sql.parse_expression(text, OPEN, SCOPE, "where")


ODD = ["select", 'a"b', '""', "a'b", "a;b", "--", "/*", "*/", "$$", "${params.x}", "\\", "`", "]", "%s", "{}"]
PRINTABLE = st.characters(min_codepoint=32, exclude_categories=["Cs"])
IDENTIFIERS = st.text(PRINTABLE, min_size=1, max_size=60) | st.sampled_from(ODD)


@given(name=IDENTIFIERS)
@settings(max_examples=300, deadline=None)
def test_any_name_is_quoted_to_one_statement_with_exactly_that_name(name: str) -> None:
    text = sql.select(OPEN, sql.column(name), sql.aliased(sql.column(name), name + "2")).sql("duckdb")
    statements = duckdb.extract_statements(text)
    assert len(statements) == 1
    (parsed,) = sqlglot.parse(text, dialect="duckdb")
    assert isinstance(parsed, exp.Select)
    assert [found.name for found in parsed.find_all(exp.Column)] == [name, name]
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE {sql.identifier('source').sql('duckdb')} ({sql.identifier(name).sql('duckdb')} INT)")
        assert con.sql(text).columns == [name, name + "2"]


@given(value=st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_written_as_one_literal_with_exactly_that_text(value: str) -> None:
    text = exp.Select(expressions=[sql.literal(value)]).sql("duckdb")
    assert duckdb.execute(text).fetchall() == [(value,)]


@given(text=st.text(st.sampled_from("ab'\"();-*/$ \\\n,.[]{}:=<>0123456789") | st.characters(), max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_accepted_as_one_expression_or_refused_with_a_problem(text: str) -> None:
    try:
        node = sql.parse_expression(text, OPEN, SCOPE)
    except ConfigError:
        return
    written = exp.Select(expressions=[node]).sql("duckdb")
    assert len(duckdb.extract_statements(written)) == 1


def test_reading_the_module_loads_no_parser() -> None:
    code = "import sys, dataforge.components.sql, dataforge.transforms.join; print('sqlglot' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "plugins"}
    )
    assert done.stdout.strip() == "False"
