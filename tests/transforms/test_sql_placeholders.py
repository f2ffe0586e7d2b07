"""Values of a run become typed literals in SQL, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transforms.conftest import RUN, Transformed, problems_of

from dataforge.components import sql
from dataforge.components.base import Relation, RunValues, Scope
from dataforge.errors import ConfigError

PARAMS: Mapping[str, Any] = {
    "region": "EU",
    "least": 10,
    "rate": {"type": "number", "default": 0.5},
    "quick": True,
    "since": {"type": "date"},
    "at": {"type": "datetime"},
}
TYPES = {
    "region": "string", "least": "integer", "rate": "number", "quick": "boolean", "since": "date", "at": "datetime",
}  # fmt: skip
SOURCE = Relation("source")


def written(text: str, values: RunValues | None, params: Mapping[str, str] | None = TYPES) -> str:
    return sql.parse_expression(text, SOURCE, Scope(values=values, params=params)).sql("duckdb")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r = ${params.region}", "\"r\" = 'EU'"),
        ("n > ${params.least}", '"n" > 10'),
        ("n > -${params.least}", '"n" > -10'),
        ("n > ${params.rate}", '"n" > CAST(0.5 AS DOUBLE)'),
        ("b = ${params.quick}", '"b" = TRUE'),
        ("d >= ${params.since}", "\"d\" >= CAST('2024-01-02' AS DATE)"),
        ("t < ${params.at}", "\"t\" < CAST('2024-01-02T12:00:00+00:00' AS TIMESTAMPTZ)"),
        ("t >= ${data_interval_start}", "\"t\" >= CAST('2024-01-02T00:00:00+00:00' AS TIMESTAMPTZ)"),
        ("p = ${data_interval_end:%Y/%m/%d}", "\"p\" = '2024/01/03'"),
        ("p = ${run_id}", "\"p\" = 'run-1'"),
        ("p = 'x/${params.region}/${data_interval_start:%Y}'", "\"p\" = 'x/EU/2024'"),
        ("d >= date '${params.since}'", "\"d\" >= CAST('2024-01-02' AS DATE)"),
        ("p like '%${params.region}'", "\"p\" LIKE '%EU'"),
    ],
)
def test_a_placeholder_becomes_a_literal_of_its_type(text: str, expected: str) -> None:
    assert written(text, RUN) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r = ${params.region}", '"r" = CAST(NULL AS TEXT)'),
        ("n > ${params.least}", '"n" > CAST(NULL AS BIGINT)'),
        ("d >= ${params.since}", '"d" >= CAST(NULL AS DATE)'),
        ("t >= ${data_interval_start}", '"t" >= CAST(NULL AS TIMESTAMPTZ)'),
        ("d >= date '${params.since}'", "\"d\" >= CAST('2000-01-01' AS DATE)"),
    ],
)
def test_without_a_run_a_null_of_the_type_stands_in(text: str, expected: str) -> None:
    assert written(text, None) == expected


HOSTILE = ["' or 1=1 --", "'; drop table source; --", "''", "\\'", "${params.region}", "\x00", "*/", "$$", "ü'\"\n"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("text", ["${params.region}", "'${params.region}'"])
def test_a_hostile_value_stays_a_value(value: str, text: str) -> None:
    try:
        node = sql.parse_expression(text, SOURCE, Scope(values=RunValues({"region": value}), params=TYPES))
    except ConfigError:
        assert value == "\x00"
        return
    assert node.is_string
    assert node.this == value


@given(value=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=100))
@settings(max_examples=200, deadline=None)
def test_any_value_stays_exactly_that_value(value: str) -> None:
    for text in ("${params.region}", "'${params.region}'"):
        node = sql.parse_expression(text, SOURCE, Scope(values=RunValues({"region": value}), params=TYPES))
        assert (node.is_string, node.this) == (True, value)


def test_a_hostile_value_filters_nothing_more_than_itself(transformed: Transformed) -> None:
    for where in ("status = ${params.region}", "status = '${params.region}'"):
        _, rows = transformed(
            {"type": "filter", "where": where}, values=RunValues({"region": "' or 1=1 --"}), params=PARAMS
        )
        assert rows == []


def test_a_query_takes_values_in_every_place(transformed: Transformed) -> None:
    _, rows = transformed(
        {
            "type": "sql",
            "query": "select id, ${params.region} as r from input where amount >= ${params.least} "
            "and day < ${params.at} and ${params.quick} order by id limit ${params.least}",
        },
        values=RUN,
        params=PARAMS,
    )
    assert rows == [(1, "EU")]


def test_defaults_count_when_a_run_names_no_value(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "derive", "columns": {"least": "${params.least}"}},
        {"type": "select", "columns": ["least"]},
        {"type": "limit", "count": 1},
        values=RunValues(),
        params=PARAMS,
    )
    assert rows == [(10,)]


@pytest.mark.parametrize(
    ("where", "code", "hint"),
    [
        ("status = ${params.regio}", "unknown-param", "did you mean 'region'?"),
        ("status = ${regio}", "unknown-placeholder", "params.NAME"),
        ("status = ${params.region.x}", "unknown-placeholder", ""),
        ("${params.region}.id = 1", "misplaced-placeholder", ""),
        ("cast(id as ${params.region}) = 1", "misplaced-placeholder", ""),
        ('"${params.region}" = 1', "unknown-column", ""),
        ("${params.region}(id) = 1", "misplaced-placeholder", ""),
        ("id > ${params.since}", "type-mismatch", "cast"),
    ],
)
def test_a_wrong_placeholder_is_a_problem(where: str, code: str, hint: str) -> None:
    found = problems_of({"type": "filter", "where": where}, params=PARAMS)
    assert found[0].path == ("transforms", 0, "where")
    assert hint in f"{found[0].message} {found[0].suggestion}"
    assert "__dataforge" not in str(found[0])
    assert found[0].code == code
