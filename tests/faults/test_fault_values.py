"""Every value arrives as it is, or the load says that it can't take it; none changes in silence (F53, F54)."""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.faults.child import Outcome
from tests.faults.places import FIRST, Bench, World, supported

KINDS = [kind for kind in ("postgres", "duckdb", "sqlite", "parquet") if supported(kind, "append")]
UTC = timezone.utc
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (
        pa.string(),
        [
            "",
            " ",
            "\t",
            "\n",
            "\r\n",
            "a,b",
            'a"b',
            "a'b",
            "a;b",
            "\\",
            "\\N",
            "\\.",
            "NULL",
            "null",
            "None",
            "N/A",
            "true",
            "007",
            "1e5",
            "-0",
            "é",
            "e\u0301",
            "ﬁ",
            "𝄞",
            "🏳️‍🌈",
            "\u200b",
            "\u202eabc",
            "\ufeff",
            "\ufffd",
            "\uffff",
            "\x01",
            "\x7f",
            "\x00",
            "a\x00b",
            "${run_id}",
            "{{ ds }}",
            "%s",
            "$1",
            "?",
            ":name",
            "--",
            "/*",
            "x" * 100_000,
        ],
    ),
    "whole": (
        pa.int64(),
        [0, 1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    ),
    "small": (pa.int8(), [0, 127, -128]),
    "unsigned": (pa.uint64(), [0, 2**63 - 1, 2**63, 2**64 - 1]),
    "float": (
        pa.float64(),
        [0.0, -0.0, 0.1, 1 / 3, 5e-324, -5e-324, 1.7976931348623157e308, 2.0**53 + 1, math.inf, -math.inf, math.nan],
    ),
    "single": (pa.float32(), [0.0, -0.0, 1.5, float(2.0**-149), math.inf, math.nan]),
    "decimal": (
        pa.decimal128(38, 9),
        [Decimal(0), Decimal("0.000000001"), Decimal("-0.1"), Decimal("9" * 29 + "." + "9" * 9), Decimal("1.10")],
    ),
    "wide": (pa.decimal128(38, 0), [Decimal("9" * 38), Decimal("-" + "9" * 38)]),
    "wider": (pa.decimal256(40, 0), [Decimal("9" * 40), Decimal("-" + "9" * 40), Decimal(1)]),
    "widest": (pa.decimal256(76, 38), [Decimal("9" * 38 + "." + "9" * 38), Decimal("1e-38"), Decimal("-1.1")]),
    "day": (pa.date32(), [date(1, 1, 1), date(1582, 10, 10), date(1970, 1, 1), date(2000, 2, 29), date(9999, 12, 31)]),
    "instant": (
        pa.timestamp("us", "UTC"),
        [
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(2024, 3, 31, 0, 59, 59, 999_999, tzinfo=UTC),
            datetime(2024, 3, 31, 1, tzinfo=UTC),
            datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
            datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        ],
    ),
    "zoned": (
        pa.timestamp("us", "Europe/Berlin"),
        [datetime(2024, 10, 27, 0, 30, tzinfo=UTC), datetime(2024, 10, 27, 1, 30, tzinfo=UTC)],
    ),
    "nanos": (pa.timestamp("ns"), [1, 1_700_000_000_123_456_789]),
    "clock": (
        pa.timestamp("us"),
        [datetime(1, 1, 1), datetime(2024, 3, 31, 2, 30), datetime(9999, 12, 31, 23, 59, 59, 999_999)],
    ),
    "time": (pa.time64("us"), [time(0), time(23, 59, 59, 999_999)]),
    "span": (pa.duration("us"), [timedelta(0), timedelta(microseconds=-1), timedelta(days=100_000)]),
    "bytes": (pa.binary(), [b"", b"\x00", b"\xff\xfe", bytes(range(256)), b"\\x00", b"x" * 100_000]),
    "flag": (pa.bool_(), [True, False]),
    "list": (pa.list_(pa.int64()), [[], [1, None, 3], [2**63 - 1]]),
    "struct": (
        pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.string())]),
        [{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": 2, "b": '"\n'}],
    ),
}
Row = tuple[int, Any]


@contextmanager
def world_of(bench: Bench, kind: str, source: dict[str, Any] | None = None) -> Iterator[World]:
    """An empty world, removed afterwards."""
    world = bench.new(kind, "append", {"source": source} if source else None)
    try:
        yield world
    finally:
        world.drop()


def load(bench: Bench, kind: str, type_: pa.DataType, values: list[Any]) -> tuple[Outcome, dict[int, Any]]:
    """Load one column of values with a number each; return how it ended and what is there by number."""
    with world_of(bench, kind) as world:
        table = pa.table({"n": list(range(len(values))), "v": pa.array(values, type_)})
        pq.write_table(table, world.home / "configs" / "in.parquet")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        return outcome, {row["n"]: row.get("v") for row in stored(world)}


def stored(world: World) -> list[dict[str, Any]]:
    """Return the target's rows, as Arrow gives them."""
    if world.kind == "parquet":
        files = sorted((world.home / "dataforge" / "output" / "things").glob("*.parquet"))
        return [row for path in files for row in _rows(pq.read_table(path))]
    if world.kind == "duckdb":
        import duckdb

        path = world.home / "dataforge" / "output" / "warehouse.duckdb"
        if not path.exists():
            return []
        with duckdb.connect(str(path)) as db:
            if not db.execute("select 1 from duckdb_tables() where table_name = 'things'").fetchall():
                return []
            return _rows(db.sql("select * from things").to_arrow_table())
    if world.kind == "sqlite":
        import sqlite3

        with closing(sqlite3.connect(world.home / "lite.db")) as lite:
            if not lite.execute("select 1 from sqlite_master where name = 'things'").fetchall():
                return []
            cursor = lite.execute("select * from things")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    from adbc_driver_postgresql import dbapi

    assert world.server is not None
    with closing(dbapi.connect(world.server.uri(world.database))) as pg, pg.cursor() as cursor:
        cursor.execute("select to_regclass('shop.things') is not null")
        if not cursor.fetchall()[0][0]:
            return []
        cursor.execute("select * from shop.things")
        return cursor.fetch_arrow_table().to_pylist()  # type: ignore[no-any-return]  # the driver has no types


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    columns = [_plain(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(column: Any) -> list[Any]:
    # nanoseconds have no Python type
    found: list[Any] = (column.cast(pa.int64()) if str(column.type) == "timestamp[ns]" else column).to_pylist()
    return found


def same(sent: Any, found: Any, kind: str = "") -> bool:
    """Whether a value stands there without loss: equal, or its one exact form in a type that the database has."""
    if kind == "sqlite" and sent == 0 and sent == found:
        return True  # SQLite keeps no sign of zero
    if isinstance(sent, float) and math.isnan(sent):
        return isinstance(found, float) and math.isnan(found)
    if isinstance(sent, float) and isinstance(found, float):
        return repr(sent) == repr(found)
    if type(sent) is type(found) and sent == found:
        return True
    if isinstance(sent, datetime) and isinstance(found, datetime):
        return sent.tzinfo is not None and found.tzinfo is not None and sent == found
    if isinstance(sent, list | dict) and isinstance(found, str):
        return bool(json.loads(found) == sent)
    forms: list[Callable[[Any], Any]] = [
        lambda value: Decimal(str(value)),
        lambda value: datetime.fromisoformat(value) if isinstance(value, str) else None,
        lambda value: date.fromisoformat(value),
        lambda value: time.fromisoformat(value),
        lambda value: bool(value) if value in (0, 1) else None,
        lambda value: base64.b64decode(value, validate=True),
        lambda value: bytes.fromhex(value),
        lambda value: timedelta(microseconds=int(value)),
        lambda value: value.value // 1 if hasattr(value, "value") else None,
    ]
    for form in forms:
        try:
            read = form(found)
        except Exception:  # noqa: BLE001 - not of this form
            continue
        if isinstance(sent, datetime) and isinstance(read, datetime) and (sent.tzinfo is None) != (read.tzinfo is None):
            read = read.replace(tzinfo=UTC) if sent.tzinfo else read
        try:
            if read is not None and read == sent:
                return True
        except TypeError:
            continue
    return False


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_value_arrives_or_the_load_says_why_not(bench: Bench, kind: str, name: str) -> None:
    type_, values = VALUES[name]
    wrong = []
    outcome, found = load(bench, kind, type_, [*values, None])
    # where one value is refused the others are tried without it, each alone
    groups = [[*values, None]] if outcome.ok else [[value] for value in values]
    for group in groups:
        if not outcome.ok or len(groups) > 1:
            outcome, found = load(bench, kind, type_, group)
        for number, value in enumerate(group):
            if outcome.ok and number not in found:
                wrong.append(f"{value!r:.40} is not there")
            elif outcome.ok and not (found[number] is None if value is None else same(value, found[number], kind)):
                wrong.append(f"{value!r:.40} became {found[number]!r:.60}")
            elif not outcome.ok and (not outcome.kind or found):
                wrong.append(
                    f"{value!r:.40}: {outcome.error} {outcome.message:.200} {outcome.trace}, {len(found)} rows"
                )
    assert not wrong, "\n".join(wrong)


TEXTS = {
    "10⁴⁰⁰": '{"n": 0, "v": 1' + "0" * 400 + "}",
    "2⁶³": '{"n": 0, "v": 9223372036854775808}',
    "40 digits": '{"n": 0, "v": 1234567890123456789012345678901234567890}',
    "0.1 with 40 digits": '{"n": 0, "v": 0.1234567890123456789012345678901234567890}',
    "lone surrogate": '{"n": 0, "v": "\\ud800"}',
    "NUL": '{"n": 0, "v": "a\\u0000b"}',
    "NaN": '{"n": 0, "v": NaN}',
    "doubled key": '{"n": 0, "v": 1, "v": 2}',
    "1,000 levels": '{"n": 0, "v": ' + "[" * 1_000 + "]" * 1_000 + "}",
    "100,000 levels": '{"n": 0, "v": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "year 10000": '{"n": 0, "v": "10000-01-01"}',
    "offset +14": '{"n": 0, "v": "2024-01-01T00:00:00+14:00"}',
    "gap": '{"n": 0, "v": "2024-03-31T02:30:00"}',
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sqlite"])
def test_every_json_text_arrives_or_the_load_says_why_not(bench: Bench, kind: str, name: str) -> None:
    with world_of(bench, kind, {"type": "json", "path": "in.json"}) as world:
        (world.home / "configs" / "in.json").write_text(TEXTS[name] + "\n")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        rows = stored(world)
    if not outcome.ok:
        assert outcome.kind, outcome
        assert rows == []
        return
    found = rows[0]["v"]
    exact: dict[str, Callable[[], bool]] = {
        "10⁴⁰⁰": lambda: int(Decimal(str(found))) == 10**400,
        "2⁶³": lambda: Decimal(str(found)) == 2**63 and not isinstance(found, float),
        "40 digits": lambda: Decimal(str(found)) == Decimal("1234567890123456789012345678901234567890"),
        "0.1 with 40 digits": lambda: str(found).startswith("0.1234567890123456"),
        "NUL": lambda: found == "a\x00b",
        "year 10000": lambda: str(found) == "10000-01-01",
        "offset +14": lambda: found == datetime(2023, 12, 31, 10, tzinfo=UTC) or found == "2024-01-01T00:00:00+14:00",
        "gap": lambda: str(found).replace("T", " ") == "2024-03-31 02:30:00",
        "1,000 levels": lambda: str(found).replace(" ", "") == "[" * 1_000 + "]" * 1_000,
        "100,000 levels": lambda: str(found).replace(" ", "") == "[" * 100_000 + "]" * 100_000,
    }
    assert name in exact, f"{name} was loaded as {found!r:.80}"
    assert exact[name](), f"{name} became {found!r:.80}"


NAMES = [
    "select",
    "user",
    "order",
    "ID",
    "Mixed Case",
    "with space",
    'quo"te',
    "apo'strophe",
    "back`tick",
    "semi;colon",
    "dash-ed",
    "dot.ted",
    "per%cent",
    "dollar$",
    "question?",
    "colon:name",
    "naïve",
    "名前",
    "🏳",
    "é",
    "e\u0301",
    "a" * 63,
    "ü" * 31,
    "1st",
    "_x",
    "true",
    "null",
    "--",
    "/*",
    "drop table things",
    "\\",
    "tab\t",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_a_column_of_that_name(bench: Bench, kind: str) -> None:
    with world_of(bench, kind) as world:
        columns = {name: [f"of {name}"] for name in NAMES}
        pq.write_table(pa.table(columns), world.home / "configs" / "in.parquet")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        rows = stored(world)
    assert outcome.ok, outcome
    assert {name: rows[0].get(name) for name in NAMES} == {name: f"of {name}" for name in NAMES}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a" * 64, "a" * 62 + "ü", "x\x00y", " ", "", "n\n"])
def test_a_name_that_a_database_may_not_have_is_kept_or_refused(bench: Bench, kind: str, name: str) -> None:
    with world_of(bench, kind) as world:
        pq.write_table(pa.table({"n": [1], name: ["v"]}), world.home / "configs" / "in.parquet")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        rows = stored(world)
    if outcome.ok:
        # a name that is none gets one; no value may be lost by it
        assert rows[0].get(name) == "v" if name else "v" in rows[0].values()
    else:
        assert outcome.kind, outcome
        assert rows == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", [("id", "ID"), ("é", "e\u0301"), ("a" * 63 + "x", "a" * 63 + "y")])
def test_names_that_collide_keep_both_columns_or_are_refused(bench: Bench, kind: str, pair: tuple[str, str]) -> None:
    with world_of(bench, kind) as world:
        pq.write_table(pa.table({pair[0]: ["first"], pair[1]: ["second"]}), world.home / "configs" / "in.parquet")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        rows = stored(world)
    if outcome.ok:
        assert {"first", "second"} <= set(rows[0].values())
    else:
        assert outcome.kind, outcome
        assert rows == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_1601_columns_is_loaded_or_refused(bench: Bench, kind: str) -> None:
    with world_of(bench, kind) as world:
        columns = {f"c{number}": [number] for number in range(1_601)}
        pq.write_table(pa.table(columns), world.home / "configs" / "in.parquet")
        outcome = world.run(bench.attempts, FIRST, tries=1).run()
        rows = stored(world)
    assert outcome.kind if not outcome.ok else rows[0]["c1600"] == 1600, outcome


def test_the_values_of_any_seed_arrive(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    for kind in KINDS:
        values = [
            "".join(
                chr(
                    chance.choice(
                        [chance.randrange(1, 128), chance.randrange(160, 0xD800), chance.randrange(0x10000, 0x11_0000)]
                    )
                )
                for _ in range(chance.randrange(20))
            )
            for _ in range(2_000)
        ]
        outcome, found = load(bench, kind, pa.string(), values)
        assert outcome.ok, outcome
        assert [found[number] for number in range(len(values))] == values
