"""flatten, unnest and parse_json: nested values as columns and rows, whether their types are known or they are JSON."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.transforms.conftest import Transformed, made, pipeline, problems_of

from dataforge.config.pipeline import parse
from dataforge.runtime.compile import compile
from dataforge.runtime.lineage import trace
from dataforge.testing import TransformContract

TYPED = """
    SELECT 1 AS id, {'city': 'Ulm', 'geo': {'lat': 48.4, 'the lon': 10.0}, 'tags': ['a']} AS address,
           [{'sku': 'x', 'price': 1.10::DECIMAL(38,10)}, {'sku': 'y', 'price': NULL}] AS items, ['p', 'q'] AS labels
    UNION ALL BY NAME SELECT 2 AS id, NULL AS address, [] AS items, NULL AS labels
"""
JSON = """
    SELECT * FROM (VALUES
        (1, '{"city": "Ulm", "geo": {"lat": 48.4}, "extra": 1}', '[{"sku": "x", "price": 1.10}, {"sku": "y"}]'),
        (2, 'null', '[]'), (3, NULL, NULL)
    ) t(id, address, items)
"""
AS_JSON = f"SELECT id, address::JSON AS address, items::JSON AS items FROM ({JSON})"
D = Decimal


class TestFlatten(TransformContract):
    config: ClassVar = {"type": "flatten", "columns": {"address": {"city": "text", "geo": "struct(lat double)"}}}
    columns: ClassVar = {"id": "BIGINT", "address": "JSON"}
    rows: ClassVar = [{"id": 1, "address": '{"city": "Ulm", "geo": {"lat": 48.4}}'}, {"id": 2}]
    expected: ClassVar = [
        {"id": 1, "address_city": "Ulm", "address_geo_lat": 48.4},
        {"id": 2, "address_city": None, "address_geo_lat": None},
    ]


class TestUnnest(TransformContract):
    config: ClassVar = {"type": "unnest", "column": "tags", "keep": {"id": "parent"}, "into": "tag", "position": "nr"}
    columns: ClassVar = {"id": "BIGINT", "tags": "VARCHAR[]"}
    rows: ClassVar = [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}, {"id": 3}]
    expected: ClassVar = [{"parent": 1, "nr": 1, "tag": "a"}, {"parent": 1, "nr": 2, "tag": "b"}]


class TestParseJson(TransformContract):
    config: ClassVar = {"type": "parse_json", "columns": {"payload": "struct(id bigint, tags text[])"}}
    columns: ClassVar = {"payload": "VARCHAR"}
    rows: ClassVar = [{"payload": '{"id": 7, "tags": ["a"], "more": true}'}, {"payload": None}]
    expected: ClassVar = [{"payload": {"id": 7, "tags": ["a"]}}, {"payload": None}]


def test_flatten_takes_all_fields_of_typed_records_with_their_types(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "flatten", "columns": ["ADDRESS"]},
        {"type": "drop", "columns": ["items", "labels"]},
        tables={"source": TYPED},
    )
    assert names == ["id", "address_city", "address_geo_lat", "address_geo_the lon", "address_tags"]
    assert rows == [(1, "Ulm", D("48.4"), D("10.0"), ["a"]), (2, None, None, None, None)]


def test_flatten_stops_at_the_wanted_depth_and_uses_the_wanted_separator(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "select", "columns": ["address"]},
        {"type": "flatten", "columns": ["address"], "depth": 1, "separator": "."},
        tables={"source": TYPED},
    )
    assert names == ["address.city", "address.geo", "address.tags"]
    assert rows[0][1] == {"lat": D("48.4"), "the lon": D("10.0")}


def test_flatten_takes_only_wanted_fields_of_typed_records_in_wanted_types(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "flatten", "columns": {"address": {"GEO": "struct(lat double)", "city": "text"}}},
        {"type": "drop", "columns": ["items", "labels"]},
        tables={"source": TYPED},
    )
    assert names == ["id", "address_GEO_lat", "address_city"]
    assert rows == [(1, 48.4, "Ulm"), (2, None, None)]


@pytest.mark.parametrize("table", [JSON, AS_JSON], ids=["text", "json"])
def test_flatten_and_unnest_read_json_by_the_named_fields(table: str, transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "flatten", "columns": {"address": {"city": "text", "geo": "struct(lat double, lon double)"}}},
        {"type": "parse_json", "columns": {"items": "json"}},
        {
            "type": "unnest",
            "column": "items",
            "fields": {"sku": "text", "price": "decimal(9,2)"},
            "prefix": "item_",
            "empty": "keep",
            "position": "line",
        },
        {"type": "sort", "by": ["id", "line"]},
        tables={"source": table},
    )
    assert names == ["id", "address_city", "address_geo_lat", "address_geo_lon", "line", "item_sku", "item_price"]
    assert rows == [
        (1, "Ulm", 48.4, None, 1, "x", D("1.10")),
        (1, "Ulm", 48.4, None, 2, "y", None),
        (2, None, None, None, None, None, None),
        (3, None, None, None, None, None, None),
    ]


def test_unnest_makes_the_child_table_of_records_with_the_keys_of_the_parent(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "unnest", "column": "items", "keep": {"id": "order_id"}, "position": "line"},
        tables={"source": TYPED},
    )
    assert names == ["order_id", "line", "sku", "price"]
    assert rows == [(1, 1, "x", D("1.1000000000")), (1, 2, "y", None)]


def test_a_named_child_table_is_an_input_of_later_steps(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "unnest", "name": "lines", "column": "items", "keep": {"id": "order_id"}},
        {"type": "aggregate", "name": "totals", "group_by": ["order_id"], "columns": {"lines": "count(*)"}},
        {"type": "select", "input": "source", "columns": ["id"]},
        {"type": "join", "with": "totals", "on": {"id": "order_id"}, "how": "left"},
        {"type": "sort", "by": "id"},
        tables={"source": TYPED},
    )
    assert (names, rows) == (["id", "lines"], [(1, 2), (2, None)])


def test_unnest_keeps_rows_without_items_when_asked(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "unnest", "column": "labels", "keep": ["id"], "empty": "keep", "position": "n"},
        tables={"source": TYPED},
    )
    assert rows == [(1, 1, "p"), (1, 2, "q"), (2, None, None)]


def test_items_of_json_stay_json_when_no_fields_are_named(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "unnest", "column": "items", "keep": ["id"], "into": "item"},
        {"type": "derive", "columns": {"item": "item ->> '$.sku'"}},
        tables={"source": AS_JSON},
    )
    assert rows == [(1, "x"), (1, "y")]


def test_parse_json_reads_lists_of_records_and_exact_numbers(transformed: Transformed) -> None:
    text = '{"a b": [{"n": 1, "at": "2024-01-02"}, null], "m": {"x": 2}, "q\\"": 123456789012.345, "o": {"z": [1]}}'
    type_ = 'struct("a b" struct(n integer, at date)[], m map(text, int), "q""" decimal(18,3), o json)'
    _, rows = transformed(
        {"type": "parse_json", "columns": {"p": type_}},
        tables={"source": f"SELECT '{text}' AS p"},
    )
    (found,) = rows[0]
    assert found["a b"] == [{"n": 1, "at": date(2024, 1, 2)}, None]
    assert (found['q"'], found["o"], dict(found["m"])) == (D("123456789012.345"), '{"z":[1]}', {"x": 2})


@pytest.mark.parametrize("text", ["no json", '{"id": "x"}', "[1]", "5"])
def test_parse_json_gives_null_for_what_does_not_fit_when_asked(text: str, transformed: Transformed) -> None:
    table = f"SELECT * FROM (VALUES ('{text}'), ('{{\"id\": 1}}')) t(p)"
    step = {"type": "parse_json", "columns": {"p": "struct(id bigint)"}}
    _, rows = transformed({**step, "on_error": "null"}, tables={"source": table})
    assert rows == [(None,), ({"id": 1},)]
    with pytest.raises(Exception, match=r"(?i)malformed json|expected object|is no BIGINT"):
        transformed(step, tables={"source": table})


NESTED = {"source": {"id": "BIGINT", "r": "STRUCT(a BIGINT, b VARCHAR)", "l": "BIGINT[]", "j": "JSON", "r_a": "DATE"}}

CASES: list[tuple[dict[str, Any], str, tuple[str | int, ...], str]] = [
    ({"type": "flatten", "columns": ["rr"]}, "unknown-column", ("columns", 0), "'r'"),
    ({"type": "flatten", "columns": ["id"]}, "type-mismatch", ("columns", 0), ""),
    ({"type": "flatten", "columns": ["l"]}, "type-mismatch", ("columns", 0), "unnest"),
    ({"type": "flatten", "columns": ["j"]}, "unknown-fields", ("columns", 0), "FIELD"),
    ({"type": "flatten", "columns": ["r"]}, "duplicate-column", ("columns", 0), ""),
    ({"type": "flatten", "columns": {"r": {"c": "text"}}}, "unknown-column", ("columns", "r", "c"), ""),
    ({"type": "flatten", "columns": {"j": {"c": "txt"}}}, "unknown-type", ("columns", "j", "c"), "text"),
    ({"type": "unnest", "column": "r"}, "type-mismatch", ("column",), "flatten"),
    ({"type": "unnest", "column": "id"}, "type-mismatch", ("column",), "parse_json"),
    ({"type": "unnest", "column": "l", "fields": {"a": "text"}}, "type-mismatch", ("fields",), ""),
    ({"type": "unnest", "column": "l", "keep": ["idd"]}, "unknown-column", ("keep", 0), "'id'"),
    ({"type": "unnest", "column": "l", "into": "ID"}, "duplicate-column", ("into",), ""),
    ({"type": "unnest", "column": "l", "position": "ID"}, "duplicate-column", ("position",), ""),
    ({"type": "unnest", "column": "j", "fields": {"id": "text"}}, "duplicate-column", ("fields", "id"), "prefix"),
    ({"type": "parse_json", "columns": {"r": "json"}}, "type-mismatch", ("columns", "r"), "flatten"),
    ({"type": "parse_json", "columns": {"id": "json"}}, "type-mismatch", ("columns", "id"), "cast"),
    ({"type": "parse_json", "columns": {"j": "struct(a intger)"}}, "unknown-type", ("columns", "j"), ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]['type']} {case[1]} {'/'.join(map(str, case[2]))}")
def test_what_is_wrong_with_a_nested_step_is_said_before_it_runs(case: Any) -> None:
    step, code, path, hint = case
    (problem,) = problems_of(step, inputs=NESTED)
    assert (problem.code, problem.path) == (code, ("transforms", 0, *path))
    assert hint in (problem.suggestion or "")


def test_lineage_leads_from_the_columns_of_a_child_table_to_the_list_and_the_keys() -> None:
    columns = {"source": {"id": "BIGINT", "items": "STRUCT(sku VARCHAR, n INTEGER)[]", "j": "JSON"}}
    steps = (
        {"type": "parse_json", "columns": {"j": "struct(a text[])"}},
        {"type": "flatten", "columns": ["j"]},
        {"type": "unnest", "column": "items", "keep": {"id": "parent", "j_a": "a"}, "position": "line"},
    )
    found = {one.column: one for one in trace(compile(pipeline(*steps), columns))}
    assert {name: one.origins for name, one in found.items()} == {
        "parent": (("source", "id"),),
        "a": (("source", "j"),),
        "line": (("source", "items"),),
        "sku": (("source", "items"),),
        "n": (("source", "items"),),
    }
    assert found["a"].steps == (0, 1, 2)


def test_rows_with_unfit_json_are_set_aside_where_dead_letters_are_kept(configs: Path) -> None:
    texts = ['{"id": 1}', "no json", '{"id": "x"}', "[1]", "null", '{"id": 2, "more": [1]}']
    (configs / "payloads.json").write_text(
        "\n".join(json.dumps({"nr": nr, "p": text}) for nr, text in enumerate(texts))
    )
    config = parse(
        {
            "dag_id": "payloads",
            "source": {"type": "json", "path": "payloads.json"},
            "transforms": [
                {"type": "parse_json", "columns": {"p": "struct(id bigint)"}},
                {"type": "flatten", "columns": ["p"]},
            ],
            "destination": {"type": "parquet", "path": "out/"},
            "dead_letters": {"max_share": 1},
        }
    )
    rows, found = made(config)
    assert [(row["nr"], row["p_id"]) for row in rows] == [(0, 1), (4, None), (5, 2)]
    assert [json.loads(one.record)["nr"] for one in found] == [1, 2, 3]
    assert {(one.column, one.step) for one in found} == {("p", 0)}
