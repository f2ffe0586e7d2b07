"""Every transform, run for real: exact rows, with nulls, other letter case, reserved words and odd names."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import pytest
from tests.transforms.conftest import Transformed

D = Decimal


def test_select_keeps_columns_in_the_given_order_with_their_own_spelling(transformed: Transformed) -> None:
    names, rows = transformed({"type": "select", "columns": ["STATUS", "ID"]})
    assert names == ["Status", "id"]
    assert rows == [("paid", 1), ("open", 2), ("paid", 3), (None, 4)]


def test_select_renames_when_given_new_names(transformed: Transformed) -> None:
    names, rows = transformed({"type": "select", "columns": {"id": "Order Id", "amount": "amount"}})
    assert names == ["Order Id", "amount"]
    assert rows[0] == (1, D("10.50"))


def test_drop_leaves_columns_out_whatever_their_case(transformed: Transformed) -> None:
    names, _ = transformed({"type": "drop", "columns": ["EMAIL", "day", "customer"]})
    assert names == ["id", "Status", "amount"]


def test_rename_can_swap_two_names(transformed: Transformed) -> None:
    names, rows = transformed({"type": "rename", "columns": {"ID": "amount", "amount": "id"}})
    assert names == ["amount", "Status", "id", "email", "day", "customer"]
    assert rows[0][:3] == (1, "paid", D("10.50"))


def test_rename_can_change_only_the_case_of_a_name(transformed: Transformed) -> None:
    names, _ = transformed({"type": "rename", "columns": {"Status": "status"}})
    assert names[1] == "status"


def test_cast_changes_types_and_keeps_nulls(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "cast", "columns": {"ID": "text", "amount": "integer"}},
        {"type": "select", "columns": ["id", "amount"]},
    )
    # DuckDB rounds decimals half away from zero.
    assert rows == [("1", 11), ("2", None), ("3", 30), ("4", 5)]


def test_cast_with_on_error_null_gives_null_for_what_does_not_fit(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "cast", "columns": {"email": "integer"}, "on_error": "null"}, {"type": "select", "columns": ["email"]}
    )
    assert rows == [(None,)] * 4


def test_filter_leaves_out_rows_for_which_the_condition_is_null(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "filter", "where": "status = 'paid' and amount > 10 -- and a comment"},
        {"type": "select", "columns": ["id"]},
    )
    assert rows == [(1,), (3,)]


def test_filter_can_ask_another_input(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "filter", "where": "customer in (select id from customers)"}, {"type": "select", "columns": ["id"]}
    )
    assert rows == [(1,), (3,)]


def test_derive_adds_and_replaces_columns(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "select", "columns": ["id", "Status", "amount"]},
        {"type": "derive", "columns": {"STATUS": "upper(status)", "rank": "row_number() over (order by amount)"}},
        {"type": "sort", "by": "id"},
    )
    assert names == ["id", "Status", "amount", "rank"]
    assert [row[1] for row in rows] == ["PAID", "OPEN", "PAID", None]
    assert [row[3] for row in rows] == [2, 4, 3, 1]


def test_derive_understands_lists_structs_lambdas_and_json(transformed: Transformed) -> None:
    table = "SELECT [1, 2, 3] AS l, {'city': 'Ulm', 'geo': {'lat': 48.4}} AS a, '{\"x\": {\"y\": 5}}' AS j, 'a' AS city"
    _, rows = transformed(
        {
            "type": "derive",
            "columns": {
                "doubled": "list_transform(l, x -> x * 2)",
                "even": "list_filter(l, lambda n: n % 2 = 0)",
                "town": "a.city",
                "latitude": "A.geo.lat",
                "y": "cast(j ->> '$.x.y' as integer)",
                "third": "l[3]",
                "case": "case when city = 'a' then 'yes' else 'no' end",
                "parts": "string_split('a-b', '-')",
            },
        },
        {"type": "drop", "columns": ["l", "a", "j", "city"]},
        tables={"source": table},
    )
    assert rows == [([2, 4, 6], [2], "Ulm", D("48.4"), 5, 3, "yes", ["a", "b"])]


def test_fill_null_puts_values_in_place_of_nulls(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "fill_null", "columns": {"status": "none", "amount": 0, "day": "1970-01-01", "Customer": -1}},
        {"type": "select", "columns": ["status", "amount", "customer"]},
    )
    assert rows[1] == ("open", D("0.00"), 8)
    assert rows[3] == ("none", D("5.25"), -1)


def test_deduplicate_keeps_the_first_in_the_given_order_and_counts_nulls_as_equal(transformed: Transformed) -> None:
    table = "SELECT * FROM (VALUES (1,'a'),(1,'b'),(NULL,'c'),(NULL,'d'),(2,NULL)) t(k, v)"
    _, rows = transformed(
        {"type": "deduplicate", "keys": ["K"], "order_by": "v desc"},
        {"type": "sort", "by": ["k"]},
        tables={"source": table},
    )
    assert rows == [(1, "b"), (2, None), (None, "d")]


def test_deduplicate_without_keys_compares_whole_rows(transformed: Transformed) -> None:
    table = "SELECT * FROM (VALUES (1,'a'),(1,'a'),(1,NULL),(1,NULL)) t(k, v)"
    _, rows = transformed({"type": "deduplicate"}, {"type": "sort", "by": "v"}, tables={"source": table})
    assert rows == [(1, "a"), (1, None)]


def test_sort_then_limit_takes_the_first_rows_of_that_order(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "sort", "by": ["amount desc nulls last", "id"]},
        {"type": "limit", "count": 2, "offset": 1},
        {"type": "select", "columns": ["id"]},
    )
    assert rows == [(1,), (4,)]


def test_limit_zero_gives_no_rows_but_all_columns(transformed: Transformed) -> None:
    names, rows = transformed({"type": "limit", "count": 0})
    assert (len(names), rows) == (6, [])


def test_aggregate_groups_and_counts_nulls_as_one_group(transformed: Transformed) -> None:
    names, rows = transformed(
        {
            "type": "aggregate",
            "group_by": ["STATUS"],
            "columns": {"total": "sum(amount)", "orders": "count(*)", "large": "count(*) filter (where amount > 20)"},
        },
        {"type": "sort", "by": "status nulls first"},
    )
    assert names == ["Status", "total", "orders", "large"]
    assert rows == [(None, D("5.25"), 1, 0), ("open", None, 1, 0), ("paid", D("40.50"), 2, 1)]


def test_aggregate_without_groups_gives_one_row(transformed: Transformed) -> None:
    assert transformed({"type": "aggregate", "columns": {"n": "count(distinct customer)"}}) == (["n"], [(2,)])


JOINS: list[tuple[str, Any]] = [
    ("inner", [(1, 7, "Ann", "x"), (3, 7, "Ann", "x")]),
    ("left", [(1, 7, "Ann", "x"), (2, 8, None, None), (3, 7, "Ann", "x"), (4, None, None, None)]),
    ("right", [(1, 7, "Ann", "x"), (3, 7, "Ann", "x"), (None, 9, "Zoe", "y")]),
    (
        "full",
        [(1, 7, "Ann", "x"), (2, 8, None, None), (3, 7, "Ann", "x"), (4, None, None, None), (None, 9, "Zoe", "y")],
    ),
]


@pytest.mark.parametrize(("how", "expected"), JOINS)
def test_join_puts_columns_side_by_side_and_keys_once(how: str, expected: Any, transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "select", "columns": ["id", "customer", "Status"]},
        {"type": "join", "with": "customers", "on": {"CUSTOMER": "ID"}, "how": how},
        {"type": "drop", "columns": ["Status"]},
        {"type": "sort", "by": "id"},
    )
    assert names == ["id", "customer", "name", "status_customers"]
    assert rows == expected


@pytest.mark.parametrize(("how", "ids"), [("semi", [1, 3]), ("anti", [2, 4])])
def test_semi_and_anti_join_only_choose_rows(how: str, ids: list[int], transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "join", "with": "customers", "on": {"customer": "id"}, "how": how}, {"type": "sort", "by": "id"}
    )
    assert names == ["id", "Status", "amount", "email", "day", "customer"]
    assert [row[0] for row in rows] == ids


def test_join_takes_only_the_wanted_columns_under_new_names(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "select", "columns": {"customer": "id"}},
        {"type": "join", "with": "customers", "on": ["id"], "columns": {"name": "Who"}},
    )
    assert names == ["id", "Who"]
    assert rows == [(7, "Ann"), (7, "Ann")]


def test_join_with_open_columns_works_too(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "join", "with": "customers", "on": {"customer": "id"}, "how": "full"},
        {"type": "aggregate", "columns": {"n": "count(*)", "c": "count(customer)"}},
        known=False,
    )
    assert rows == [(5, 4)]


def test_union_goes_by_name_and_fills_with_null(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "select", "columns": ["id", "amount"]},
        {"type": "union", "with": ["customers"]},
        {"type": "select", "columns": ["id", "amount", "name"]},
        {"type": "sort", "by": ["id", "name"]},
    )
    assert names == ["id", "amount", "name"]
    assert rows[-2:] == [(7, None, "Ann"), (9, None, "Zoe")]
    assert len(rows) == 6


def test_union_distinct_keeps_one_of_equal_rows(transformed: Transformed) -> None:
    _, rows = transformed({"type": "union", "with": ["source"], "distinct": True})
    assert len(rows) == 4


def test_mask_hides_values_and_keeps_nulls(transformed: Transformed) -> None:
    values = "('anna@example.com', '+4915112345678', 5), ('a', '1234', NULL), (NULL, NULL, 7)"
    table = f"SELECT * FROM (VALUES {values}) t(e, p, n)"
    steps = {"hash": "e", "partial": "p", "redact": "n"}
    _, rows = transformed({"type": "mask", "columns": {v: k for k, v in steps.items()}}, tables={"source": table})
    assert rows == [
        (hashlib.sha256(b"anna@example.com").hexdigest(), "**********5678", "***"),
        (hashlib.sha256(b"a").hexdigest(), "****", None),
        (None, None, "***"),
    ]


def test_mask_knows_email_null_and_salt(transformed: Transformed) -> None:
    values = "('anna@example.com', 1, 'x'), ('\"a@b\"@c.de', 2, 'y'), ('nobody', 3, NULL), (NULL, 4, 'z')"
    table = f"SELECT * FROM (VALUES {values}) t(e, n, s)"
    _, rows = transformed(
        {"type": "mask", "columns": {"e": "email", "n": "null", "s": "hash"}, "salt": "it's"}, tables={"source": table}
    )
    assert [row[0] for row in rows] == ["a***@example.com", '"***@c.de', "***", None]
    assert [row[1] for row in rows] == [None] * 4
    assert rows[0][2] == hashlib.sha256(b"it'sx").hexdigest()
    assert rows[2][2] is None


def test_sql_reads_named_inputs_and_the_previous_step(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "filter", "where": "amount is not null", "name": "priced"},
        {"type": "select", "columns": ["id", "customer"]},
        {
            "type": "sql",
            "query": """
                with paid as (select * from Priced where Status = 'paid') -- only these
                select input.id, p.amount, c.name as "who is it"
                from input join paid p using (id) left join customers as c on c.id = input.customer
                order by 1
            """,
        },
    )
    assert names == ["id", "amount", "who is it"]
    assert rows == [(1, D("10.50"), "Ann"), (3, D("30.00"), "Ann")]


def test_sql_may_use_stars_windows_and_set_operations(transformed: Transformed) -> None:
    names, rows = transformed(
        {
            "type": "sql",
            "query": "select * exclude (email, day), sum(amount) over (order by id) as running from source "
            "where id < 3 union all select id, name, 0, id, 1 from customers",
        },
        {"type": "sort", "by": ["id"]},
    )
    assert names == ["id", "Status", "amount", "customer", "running"]
    assert len(rows) == 4


def test_a_step_reads_an_earlier_named_one_when_told_to(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "filter", "where": "id = 1", "name": "one"},
        {"type": "filter", "where": "id = 2", "input": "source", "name": "two"},
        {"type": "union", "with": ["one", "two"]},
        {"type": "select", "columns": ["id"]},
        {"type": "sort", "by": "id"},
    )
    assert rows == [(1,), (2,), (2,)]


ODD = 'SELECT 1 AS "select", 2 AS "a""b", 3 AS "x y", 4 AS "naïve — 名", 5 AS "from\'; drop table t; --"'


def test_odd_names_and_reserved_words_go_through_every_step(transformed: Transformed) -> None:
    names, rows = transformed(
        {"type": "rename", "columns": {"select": "group", 'a"b': 'c"d'}},
        {"type": "cast", "columns": {"from'; drop table t; --": "text", "GROUP": "bigint"}},
        {"type": "filter", "where": '"group" = 1 and "x y" = 3 and "NAÏVE — 名" = 4'},
        {"type": "derive", "columns": {"order by": '"c""d" + 1'}},
        {"type": "fill_null", "columns": {"x y": 0}},
        {"type": "sort", "by": '"order by" desc'},
        {"type": "deduplicate", "keys": ["from'; drop table t; --"]},
        {"type": "mask", "columns": {"naïve — 名": "redact"}},
        tables={"source": ODD},
    )
    assert names == ["group", 'c"d', "x y", "naïve — 名", "from'; drop table t; --", "order by"]
    assert rows == [(1, 2, 3, "***", "5", 3)]


def test_a_source_may_have_an_odd_name(transformed: Transformed) -> None:
    _, rows = transformed(
        {"type": "sql", "query": 'select count(*) as n from "orders-2024.v1"'},
        tables={"orders-2024.v1": "SELECT 1 AS a", "step_1_sql": "SELECT 2 AS a"},
    )
    assert rows == [(1,)]
