"""The widening lattice: the same in Python and in SQL, the same in any order, and exact."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataforge.components.lattice import Seen, join, see_string, see_text, see_value, see_values
from dataforge.runtime.inference import is_fixed, misfit, text_seen

AS_THEY_ARE = {
    "true": "BOOLEAN",
    "False": "BOOLEAN",
    "0": "BIGINT",
    "-12": "BIGINT",
    "9223372036854775807": "BIGINT",
    "9223372036854775808": "DECIMAL(38,0)",
    "12.50": "DECIMAL(18,2)",
    "1234567890123456789.5": "DECIMAL(38,1)",
    "1e3": "DOUBLE",
    "-2.5E-7": "DOUBLE",
    "2024-02-29": "DATE",
    "2024-01-02 03:04": "TIMESTAMP",
    "2024-01-02T03:04:05.123456": "TIMESTAMP",
    "2024-01-02T03:04:05Z": "TIMESTAMPTZ",
    "2024-01-02 03:04:05+02:30": "TIMESTAMPTZ",
}
TEXTS = [
    *("007", "+5", " 5", "5 ", "1_000", "0x10", "1,5", "--5", "٣", "5.", ".5", "01.5", "1d", "nan", "inf", "Infinity"),
    *("1e400", "1e-400", "9" * 39, "t", "yes", "epoch", "infinity", "now", "today", "2024-1-2", "2024/01/02"),
    *("2024-02-30", "0000-01-01", "99999-01-01", "2024-01-02 (BC)", "2024-01-02 24:00:00", "2024-01-02 23:59:60"),
    *("2024-01-02 03:04:05.1234567", "2024-01-02 03:04:05 UTC", "2024-01-02 3:4:5", "", "-"),
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        yield con


def sql_seen(con: duckdb.DuckDBPyConnection, texts: list[str | None]) -> Seen:
    con.execute("CREATE OR REPLACE TEMP TABLE probe (t VARCHAR)")
    if texts:
        con.executemany("INSERT INTO probe VALUES (?)", [[text] for text in texts])
    kinds, digits, scale = text_seen("t", "f")
    row = con.execute(
        f"SELECT bit_or({kinds}), max({digits}), max({scale}) FROM (SELECT t, {is_fixed('t')} AS f FROM probe)"
    ).fetchone()
    assert row is not None
    return Seen(*(int(value or 0) for value in row))


@pytest.mark.parametrize(("text", "type_"), AS_THEY_ARE.items())
def test_a_canonical_text_has_the_narrowest_type(con: duckdb.DuckDBPyConnection, text: str, type_: str) -> None:
    assert see_text(text).type == type_
    assert sql_seen(con, [text]).type == type_


@pytest.mark.parametrize("text", TEXTS)
def test_whatever_is_not_canonical_stays_text(con: duckdb.DuckDBPyConnection, text: str) -> None:
    assert see_text(text).type == "VARCHAR"
    assert sql_seen(con, [text]).type == "VARCHAR"


@pytest.mark.parametrize(
    ("texts", "type_"),
    [
        ([], "VARCHAR"),
        (["1", "2.5"], "DECIMAL(18,1)"),
        (["1", "9223372036854775808"], "DECIMAL(38,0)"),
        (["9007199254740993", "1e3"], "VARCHAR"),
        (["12", "0.1", "1e3"], "DOUBLE"),
        (["0.30000000000000004", "1e-5"], "DOUBLE"),
        (["2024-01-02", "2024-01-02 03:04:05"], "TIMESTAMP"),
        (["2024-01-02", "2024-01-02T03:04:05Z"], "VARCHAR"),
        (["2024-01-02 03:04:05", "2024-01-02T03:04:05Z"], "VARCHAR"),
        (["1", "true"], "VARCHAR"),
        (["1", "007"], "VARCHAR"),
        (["0." + "1" * 38], "DECIMAL(38,38)"),
        (["0." + "1" * 40], "VARCHAR"),
    ],
)
def test_a_column_widens_to_what_holds_all_values(con: duckdb.DuckDBPyConnection, texts: list[str], type_: str) -> None:
    assert join(map(see_text, texts)).type == type_
    assert sql_seen(con, list(texts)).type == type_


def test_strings_of_json_are_dates_but_never_numbers() -> None:
    assert see_string("12").type == "VARCHAR"
    assert see_string("true").type == "VARCHAR"
    assert see_string("2024-01-02T03:04:05Z").type == "TIMESTAMPTZ"


def test_values_of_a_driver_keep_their_kind() -> None:
    assert see_values([1, None, 2]).type == "BIGINT"
    assert see_values(["1", "2"]).type == "VARCHAR"
    assert see_values([1, Decimal("2.50")]).type == "DECIMAL(18,2)"
    assert see_values([1.5, 2**60 + 1]).type == "VARCHAR"
    assert see_values([date(2024, 1, 2), datetime(2024, 1, 2, 3)]).type == "TIMESTAMP"
    assert see_value(datetime(2024, 1, 2, tzinfo=timezone.utc)).type == "TIMESTAMPTZ"
    assert see_value(float("nan")).type == "DOUBLE"
    assert see_value({"a": 1}).type == "JSON"


numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(lambda value: format(value, "f")),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
moments = st.one_of(
    st.dates().map(str),
    st.datetimes(min_value=datetime(2, 1, 1)).map(str),
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)).map(
        lambda value: f"{value.isoformat()}Z"
    ),
)
near = st.from_regex(r"\A[-+ ]?0?[0-9]{1,3}[._]?[0-9]{0,2}([eE][-+]?[0-9]{1,3})?[ dT]?\Z")
dated = st.from_regex(r"\A[0-9]{3,4}-[0-9]{1,2}-[0-9]{1,2}([T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2})?)?\Z")
fields = st.one_of(st.none(), st.booleans().map(str), numbers, moments, near, dated, st.sampled_from(TEXTS))


@given(st.lists(fields, max_size=12), st.integers(0, 12))
def test_typing_all_rows_at_once_equals_the_join_of_chunks_in_any_order(rows: list[str | None], cut: int) -> None:
    whole = join(map(see_text, rows))
    assert join(map(see_text, rows[cut:])) | join(map(see_text, rows[:cut])) == whole
    assert whole | whole == whole


@given(st.lists(fields, min_size=1, max_size=8))
@example(["-0"])
@example(["0.30000000000000004", "1e-5", "100000000000000000"])
def test_sql_and_python_see_the_same(con: duckdb.DuckDBPyConnection, rows: list[str | None]) -> None:
    assert sql_seen(con, rows).type == join(map(see_text, rows)).type


def reading(text: str, type_: str) -> Any:
    """Return what a text means by its type, as Python reads it."""
    if type_ == "BOOLEAN":
        return text.lower() == "true"
    if type_ == "BIGINT" or type_.startswith("DECIMAL"):
        return Decimal(text)
    if type_ == "DOUBLE":
        return float(text)
    if type_ == "DATE":
        return date.fromisoformat(text)
    if type_ == "TIMESTAMP":
        return datetime.fromisoformat(text)
    if type_ == "TIMESTAMPTZ":
        offset = text[:-1] + "+00:00" if text.endswith("Z") else text
        return datetime.fromisoformat(offset if offset[-3] == ":" else offset + ":00")
    return text


@given(st.lists(fields, min_size=1, max_size=6))
def test_every_value_reads_back_equal_and_fits_by_its_own_check(
    con: duckdb.DuckDBPyConnection, rows: list[str | None]
) -> None:
    type_ = join(map(see_text, rows)).type
    bad = misfit(type_, "t", "v") or "false"
    for text in rows:
        shown = "NULL, epoch_us(v)" if type_ == "TIMESTAMPTZ" else "v, 0"
        query = f"SELECT {shown}, {bad} FROM (SELECT $t::VARCHAR AS t, CAST($t AS {type_}) AS v)"
        row = con.execute(query, {"t": text}).fetchone()
        assert row is not None
        assert not row[2]
        if text is None:
            assert row[0] is None
        elif type_ == "TIMESTAMPTZ":
            instant = reading(text, type_)
            epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
            difference = instant - epoch
            assert row[1] == (difference.days * 86_400 + difference.seconds) * 1_000_000 + difference.microseconds
        else:
            assert row[0] == reading(text, type_)


@given(fields, fields)
def test_the_check_refuses_what_the_type_would_change(
    con: duckdb.DuckDBPyConnection, sampled: str | None, later: str | None
) -> None:
    type_ = see_text(sampled).type
    bad = misfit(type_, "t", "v")
    if bad is None or later is None or sampled is None:
        return
    query = f"SELECT coalesce({bad}, false) FROM (SELECT $t::VARCHAR AS t, TRY_CAST($t AS {type_}) AS v)"
    row = con.execute(query, {"t": later}).fetchone()
    assert row is not None
    if (see_text(sampled) | see_text(later)).type != type_:
        assert row[0]
