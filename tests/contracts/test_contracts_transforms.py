"""Every transform and check keeps its contract."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from dataforge.testing import CheckContract, TransformContract

PEOPLE = {"id": "BIGINT", "name": "VARCHAR", "amount": "DECIMAL(8,2)"}


def person(id: int | None, name: str | None, amount: str | None) -> dict[str, Any]:
    return {"id": id, "name": name, "amount": None if amount is None else Decimal(amount)}


ANN, BOB, CY = person(1, "Ann", "10.00"), person(2, "Bob", None), person(3, None, "2.50")


class People(TransformContract):
    columns = PEOPLE
    rows = (ANN, BOB, CY)


class TestSelect(People):
    config = {"type": "select", "columns": ["name", "id"]}
    expected = tuple({"name": row["name"], "id": row["id"]} for row in (ANN, BOB, CY))


class TestDrop(People):
    config = {"type": "drop", "columns": ["amount", "name"]}
    expected = ({"id": 1}, {"id": 2}, {"id": 3})


class TestRename(People):
    config = {"type": "rename", "columns": {"id": "person id"}}
    expected = tuple({"person id": r["id"], "name": r["name"], "amount": r["amount"]} for r in (ANN, BOB, CY))


class TestCast(People):
    config = {"type": "cast", "columns": {"id": "text", "amount": "double"}}
    expected = (
        {"id": "1", "name": "Ann", "amount": 10.0},
        {"id": "2", "name": "Bob", "amount": None},
        {"id": "3", "name": None, "amount": 2.5},
    )


class TestFilter(People):
    config = {"type": "filter", "where": "amount > 5 or name is null"}
    expected = (ANN, CY)


class TestDerive(People):
    config = {"type": "derive", "columns": {"double amount": "amount * 2", "name": "upper(name)"}}
    expected = tuple(
        {**row, "name": row["name"] and row["name"].upper(), "double amount": row["amount"] and row["amount"] * 2}
        for row in (ANN, BOB, CY)
    )


class TestFillNull(People):
    config = {"type": "fill_null", "columns": {"name": "nobody", "amount": 0}}
    expected = (ANN, {**BOB, "amount": Decimal("0.00")}, {**CY, "name": "nobody"})


class TestDeduplicate(TransformContract):
    config = {"type": "deduplicate", "keys": ["name"], "order_by": "id desc"}
    columns = PEOPLE
    rows = (ANN, person(9, "Ann", "1.00"), CY, person(4, None, "3.00"))
    expected = (person(9, "Ann", "1.00"), person(4, None, "3.00"))


class TestSort(People):
    config = {"type": "sort", "by": ["name desc", "id"]}
    expected = (ANN, BOB, CY)


class TestLimit(People):
    config = {"type": "limit", "count": 10, "offset": 0}
    expected = (ANN, BOB, CY)


class TestAggregate(TransformContract):
    config = {"type": "aggregate", "group_by": ["name"], "columns": {"n": "count(*)", "total": "sum(id)"}}
    columns = {"id": "INTEGER", "name": "VARCHAR"}
    rows = ({"id": 1, "name": "a"}, {"id": 2, "name": "a"}, {"id": 5, "name": None})
    expected = ({"name": "a", "n": 2, "total": Decimal(3)}, {"name": None, "n": 1, "total": Decimal(5)})


class TestJoin(People):
    config = {"type": "join", "with": "cities", "on": ["id"], "how": "left"}
    others = {"cities": ({"id": "BIGINT", "city": "VARCHAR"}, ({"id": 1, "city": "Rome"}, {"id": 7, "city": "Oslo"}))}
    expected = ({**ANN, "city": "Rome"}, {**BOB, "city": None}, {**CY, "city": None})


class TestUnion(People):
    config = {"type": "union", "with": ["more"]}
    others = {"more": (PEOPLE, (person(4, "Dee", "0.01"),))}
    expected = (ANN, BOB, CY, person(4, "Dee", "0.01"))


class TestMask(People):
    config = {"type": "mask", "columns": {"name": "hash"}}
    expected = (
        {**ANN, "name": hashlib.sha256(b"Ann").hexdigest()},
        {**BOB, "name": hashlib.sha256(b"Bob").hexdigest()},
        CY,
    )


class TestSql(People):
    config = {"type": "sql", "query": "select name, id + 1 as next from input where id < 3"}
    expected = ({"name": "Ann", "next": 2}, {"name": "Bob", "next": 3})


class TestNotNull(CheckContract):
    config = {"type": "not_null", "columns": ["name", "amount"]}
    columns, rows, violations = PEOPLE, (ANN, BOB, CY), 2


class TestUnique(CheckContract):
    config = {"type": "unique", "columns": ["name"]}
    columns, rows, violations = PEOPLE, (ANN, ANN, BOB), 2


class TestAcceptedValues(CheckContract):
    config = {"type": "accepted_values", "column": "name", "values": ["Ann"]}
    columns, rows, violations = PEOPLE, (ANN, BOB), 1


class TestRange(CheckContract):
    config = {"type": "range", "column": "id", "min": 2, "max": 7}
    columns, rows, violations = PEOPLE, (ANN, BOB, CY, *(person(n, None, None) for n in range(10, 20))), 11


class TestRowCount(CheckContract):
    config = {"type": "row_count", "min": 4}
    columns, rows, violations = PEOPLE, (ANN, BOB, CY), 1


class TestExpression(CheckContract):
    config = {"type": "expression", "expression": "amount >= 3"}
    columns, rows, violations = PEOPLE, (ANN, BOB, CY), 1
