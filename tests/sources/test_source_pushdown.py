"""What sources leave out of a read by cursor, against real servers: less is sent, and never too little."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi
from pydantic import ValidationError
from tests.sources.conftest import Api, Log, Reply

from dataforge.components.base import Batches, Connection, CursorBounds, ExtractContext, RunValues
from dataforge.components.database import postgres_uri
from dataforge.components.placeholders import fill_cursor
from dataforge.components.registry import SOURCES
from dataforge.config.pipeline import PipelineConfig
from dataforge.config.placeholders import check_placeholders
from dataforge.runtime.values import resolve
from dataforge.settings import get_settings
from dataforge.sources._pushdown import driver_literals, limited, sampled
from dataforge.sources.http_ import HttpConfig, HttpSource

MakeContext = Callable[..., ExtractContext]


def ids(context: ExtractContext, bounds: CursorBounds | None, type_: str, **config: Any) -> list[int]:
    """Return the ids that the source sends within bounds."""
    component = SOURCES.get(type_)
    source = component.cls(component.config.model_validate({"type": type_, "connection": "shop_db", **config}))
    extracted = source.extract(replace(context, cursor=bounds))
    assert isinstance(extracted, Batches)
    return sorted(row["id"] for row in extracted.reader.read_all().to_pylist())


class TestPostgres:
    @pytest.fixture
    def times(self, postgres: Connection) -> Iterator[Connection]:
        def run(*statements: str) -> None:
            with closing(dbapi.connect(postgres_uri(postgres))) as con, con.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                con.commit()

        run(
            "CREATE TABLE times (id int, tz timestamptz, ts timestamp, d date, n numeric, i int, f float4, "
            "t text, v varchar(20), ip inet)",
            "INSERT INTO times SELECT g, timestamptz '2025-01-01 00:00+00' + g * interval '1 hour', "
            "timestamp '2025-01-01' + g * interval '1 hour', date '2025-01-01' + g, g + 0.5, g, g + 0.3, "
            "chr(64 + g), chr(64 + g), '10.0.0.1' FROM generate_series(1, 5) AS s(g)",
            "INSERT INTO times (id, t) VALUES (6, 'a')",
        )
        yield postgres
        run("DROP TABLE times")

    @pytest.mark.parametrize(
        ("field", "type_", "lower", "expected"),
        [
            ("tz", "TIMESTAMP WITH TIME ZONE", "2025-01-01 03:00:00+00", [3, 4, 5, 6]),
            ("tz", "TIMESTAMPTZ", "2025-01-01 05:00:00+02", [3, 4, 5, 6]),
            ("tz", "", "2025-01-01T04:00:00+01:00", [3, 4, 5, 6]),
            ("tz", "TIMESTAMP", "2025-01-01 03:00:00", [3, 4, 5, 6]),
            ("ts", "TIMESTAMP", "2025-01-01 03:00:00", [3, 4, 5, 6]),
            ("TS", "TIMESTAMP", "2025-01-01 03:00:00.000001", [4, 5, 6]),
            ("d", "DATE", "2025-01-04", [3, 4, 5, 6]),
            ("d", "TIMESTAMP", "2025-01-04 12:00:00", [3, 4, 5, 6]),
            ("n", "DECIMAL(38,10)", "3.5000000000", [3, 4, 5, 6]),
            ("i", "INTEGER", "3", [3, 4, 5, 6]),
            ("i", "DECIMAL(10,2)", "3.5", [4, 5, 6]),
            ("i", "HUGEINT", "99999999999999999999", [6]),
            ("f", "FLOAT", "3.3", [3, 4, 5, 6]),
        ],
    )
    def test_a_bound_is_a_typed_literal(
        self, times: Connection, context: MakeContext, field: str, type_: str, lower: str, expected: list[int]
    ) -> None:
        bounds = CursorBounds(field, lower, None, type_)
        assert ids(context(times), bounds, "postgres", table="times") == expected
        # a comment at the end and an order within must not swallow or break the condition
        query = "select * from times order by id -- all"
        assert ids(context(times), replace(bounds, nulls=False), "postgres", query=query) == [
            one for one in expected if one != 6
        ]

    def test_both_ends(self, times: Connection, context: MakeContext) -> None:
        bounds = CursorBounds("i", "2", "4", "INTEGER", nulls=False)
        assert ids(context(times), bounds, "postgres", table="times") == [2, 3, 4]

    def test_text_is_compared_by_its_bytes_where_the_config_says_it_is_text(
        self, times: Connection, context: MakeContext
    ) -> None:
        for field in ("t", "v"):
            bounds = CursorBounds(field, "C", None, "VARCHAR", nulls=False)
            expected = [3, 4, 5, 6] if field == "t" else [3, 4, 5]
            assert ids(context(times), bounds, "postgres", table="times", columns={field: "text"}) == expected

    @pytest.mark.parametrize(
        ("bounds", "columns"),
        [
            (CursorBounds("i", "3", None, "INTEGER"), {"i": "text"}),
            (CursorBounds("i", "no number", None, "INTEGER"), {}),
            (CursorBounds("tz", "3", None, "INTEGER"), {}),
            (CursorBounds("ip", "10.0.0.1", None, "VARCHAR"), {}),
            (CursorBounds("gone", "1", None, "INTEGER"), {}),
        ],
    )
    def test_what_does_not_fit_is_left_to_the_runtime(
        self, times: Connection, context: MakeContext, bounds: CursorBounds, columns: dict[str, str]
    ) -> None:
        assert ids(context(times), bounds, "postgres", table="times", columns=columns) == [1, 2, 3, 4, 5, 6]

    def test_a_bound_can_not_leave_its_literal(self, times: Connection, context: MakeContext) -> None:
        hostile = "A' OR true; DROP TABLE times; --"
        bounds = CursorBounds("t", hostile, None, "VARCHAR", nulls=False)
        assert ids(context(times), bounds, "postgres", table="times", columns={"t": "text"}) == [2, 3, 4, 5, 6]


class TestSql:
    @pytest.fixture
    def shop(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
        path = tmp_path / "shop.sqlite"
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
        with closing(sqlite3.connect(path)) as con:
            con.execute('create table t (id integer, n integer, f real, s text collate nocase, "q""x" integer)')
            con.executemany(
                "insert into t values (?, ?, ?, ?, ?)", [(n, n * 10, n + 0.3, chr(64 + n), n) for n in range(1, 6)]
            )
            con.execute("insert into t (id, s) values (6, 'a')")
            con.commit()
        return Connection("shop_db", "sqlite", str(path))

    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            (CursorBounds("n", "30", None, "BIGINT"), [3, 4, 5, 6]),
            (CursorBounds("N", "30", "40", "BIGINT", nulls=False), [3, 4]),
            (CursorBounds("n", "-1", None, "BIGINT", nulls=False), [1, 2, 3, 4, 5]),
            (CursorBounds("n", "30.5", None, "DECIMAL(4,2)", nulls=False), [4, 5]),
            (CursorBounds("f", "3.3", None, "DOUBLE", nulls=False), [3, 4, 5]),
            (CursorBounds("s", "D", None, "VARCHAR", nulls=False), [4, 5, 6]),
            (CursorBounds("s", "2025-01-01", None, "TIMESTAMP", nulls=False), [1, 2, 3, 4, 5, 6]),
            (CursorBounds("n", "2025-01-01", None, "DATE", nulls=False), [1, 2, 3, 4, 5, 6]),
            (CursorBounds('q"x', "4", None, "BIGINT", nulls=False), [4, 5]),
        ],
    )
    def test_a_bound_is_given_in_the_drivers_terms(
        self, shop: Connection, context: MakeContext, bounds: CursorBounds, expected: list[int]
    ) -> None:
        assert ids(context(shop), bounds, "sql", table="t") == expected
        assert ids(context(shop), bounds, "sql", query="select * from t -- all") == expected

    def test_nothing_new_keeps_the_types_of_what_is_old(self, shop: Connection, context: MakeContext) -> None:
        component = SOURCES.get("sql")
        source = component.cls(component.config.model_validate({"type": "sql", "connection": "shop_db", "table": "t"}))
        bounds = CursorBounds("n", "1000", None, "BIGINT", nulls=False)
        extracted = source.extract(replace(context(shop), cursor=bounds))
        assert isinstance(extracted, Batches)
        found = extracted.reader.read_all()
        assert found.num_rows == 0
        assert [str(field.type) for field in found.schema][:3] == ["int64", "int64", "double"]

    @pytest.mark.parametrize(
        ("dialect", "expected"),
        [("postgres", "LIMIT 7"), ("tsql", "TOP 7"), ("oracle", "FETCH FIRST 7 ROWS ONLY"), ("mysql", "LIMIT 7")],
    )
    def test_each_dialect_has_its_own_way_to_read_a_few_rows(self, dialect: str, expected: str) -> None:
        text = sampled("select 1 as n", dialect, 7)
        assert expected in text
        assert "(\nselect 1 as n\n) dataforge_rows" in text

    def test_a_bound_on_a_clock_is_moved_out_by_more_than_a_driver_rounds(self) -> None:
        bounds = CursorBounds("at", "2025-01-01 00:00:00.9", None, "TIMESTAMP")
        literals = driver_literals(datetime(2025, 1, 1), "mysql", bounds)
        assert literals is not None
        found = limited("select 1", "mysql", "at", bounds, literals)
        assert found is not None
        assert "`at` >= '2024-12-31 23:59:59' OR `at` IS NULL" in found


class TestHttp:
    @pytest.fixture
    def sent(
        self, api: Api, context: MakeContext, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., tuple[dict[str, str], Any]]:
        """Extract within bounds; return query and body of the request."""
        value = {"conn_type": "http", "host": api.url}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_API", json.dumps(value))
        monkeypatch.setenv("AIRFLOW__DATAFORGE__ALLOW_PRIVATE_HOSTS", "true")
        get_settings.cache_clear()

        def go(bounds: CursorBounds | None, **config: Any) -> tuple[dict[str, str], Any]:
            api.replies(Reply([{"id": 1}]))
            connection = Connection("shop_api", "http", api.url)
            whole = {"connection": "shop_api", "endpoint": "/orders", "cursor_field": "at", **config}
            resolved = resolve(HttpConfig.model_validate(whole), RunValues(params={"p": "x"}))
            HttpSource(resolved).extract(replace(context(connection), cursor=bounds))
            return api.requests[-1].query, api.requests[-1].body

        return go

    @pytest.mark.parametrize(
        ("text", "bounds", "expected"),
        [
            (
                "${cursor}",
                CursorBounds("at", "2025-01-01 02:00:00+00", None, "TIMESTAMPTZ"),
                "2025-01-01T02:00:00+00:00",
            ),
            ("${cursor}", CursorBounds("at", "2025-01-01 02:00:00", None, "TIMESTAMP"), "2025-01-01T02:00:00"),
            (
                "${cursor:%Y-%m-%dT%H:%M:%SZ}",
                CursorBounds("at", "2025-01-01 02:00:00.9+00", None, "TIMESTAMPTZ"),
                "2025-01-01T02:00:00Z",
            ),
            ("gt:${cursor}", CursorBounds("at", "2025-01-01", None, "DATE"), "gt:2025-01-01"),
            ("${cursor}", CursorBounds("at", "17", None, "BIGINT"), "17"),
            ("${cursor}", CursorBounds("at", "2024-01-01", None, ""), "2024-01-01"),
        ],
    )
    def test_the_cursor_goes_into_the_query(
        self,
        sent: Callable[..., tuple[dict[str, str], Any]],
        text: str,
        bounds: CursorBounds,
        expected: str,
    ) -> None:
        query, _ = sent(bounds, query={"since": text, "status": "paid", "p": "${params.p}"})
        assert query == {"since": expected, "status": "paid", "p": "x"}

    def test_without_a_place_the_parameter_is_left_out(self, sent: Callable[..., tuple[dict[str, str], Any]]) -> None:
        for bounds in (None, CursorBounds("at")):
            query, _ = sent(bounds, query={"since": "${cursor}", "status": "paid", "all": ["${cursor}", "b"]})
            assert query == {"status": "paid", "all": "b"}

    def test_a_body_takes_values_and_numbers_stay_numbers(
        self, sent: Callable[..., tuple[dict[str, str], Any]]
    ) -> None:
        body = {"filter": {"after": "${cursor}", "note": "id > ${cursor}", "none": None}, "p": "${params.p}"}
        _, found = sent(CursorBounds("at", "17", None, "BIGINT"), method="POST", body=body)
        assert found == {"filter": {"after": 17, "note": "id > 17", "none": None}, "p": "x"}
        _, found = sent(None, method="POST", body=body)
        assert found == {"filter": {"none": None}, "p": "x"}

    def test_the_cursor_needs_its_field(self) -> None:
        with pytest.raises(ValidationError, match="needs 'cursor_field'"):
            HttpConfig.model_validate({"connection": "shop_api", "query": {"since": "${cursor}"}})

    def test_a_pattern_is_for_times(self) -> None:
        with pytest.raises(ValueError, match="no date or time"):
            fill_cursor("${cursor:%Y}", CursorBounds("at", "17x", None, "VARCHAR"))

    @pytest.mark.parametrize(
        ("source", "path"),
        [
            ({"type": "csv", "path": "a-${cursor}.csv"}, ("source", "path")),
            ({"type": "postgres", "connection": "c", "query": "select ${cursor}"}, ("source", "query")),
            (
                {"type": "http", "connection": "c", "endpoint": "/a/${cursor}", "cursor_field": "a"},
                ("source", "endpoint"),
            ),
        ],
    )
    def test_elsewhere_it_is_a_located_problem(self, source: dict[str, Any], path: tuple[str, ...]) -> None:
        config = {"dag_id": "a", "source": source, "destination": {"type": "duckdb", "table": "t"}}
        (problem,) = check_placeholders(config, PipelineConfig)
        assert (problem.code, problem.path) == ("misplaced-placeholder", path)

    def test_within_the_http_source_it_is_none(self) -> None:
        source = {
            "type": "http",
            "connection": "c",
            "cursor_field": "a",
            "method": "POST",
            "query": {"a": "${cursor}"},
            "body": {"b": {"c": ["${cursor:%Y-%m-%d}"]}},
        }
        config = {"dag_id": "a", "source": source, "destination": {"type": "duckdb", "table": "t"}}
        assert check_placeholders(config, PipelineConfig) == []


@pytest.mark.parametrize(
    ("pagination", "grade"),
    [
        ("none", "snapshot"),
        ("link_header", "window"),
        ("next_url", "window"),
        ("page", "unstable"),
        ("offset", "unstable"),
    ],
)
def test_ways_to_page_prove_different_things(pagination: str, grade: str) -> None:
    config = HttpConfig.model_validate({"connection": "c", "pagination": {"type": pagination}})
    assert config.grade() == grade


def test_the_log_says_when_a_database_takes_no_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: MakeContext, log: Log
) -> None:
    path = tmp_path / "shop.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as con:
        con.execute("create table t (id integer)")
        con.execute("insert into t values (1), (2)")
        con.commit()
    monkeypatch.setattr("dataforge.sources.sql.sampled", lambda query, dialect, rows: f"select * from ({query}")
    found = ids(
        context(Connection("shop_db", "sqlite", str(path))), CursorBounds("id", "2", None, "BIGINT"), "sql", table="t"
    )
    assert found == [1, 2]
    assert "cursor not pushed down" in [message for message, _ in log]
