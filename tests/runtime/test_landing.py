"""Landing: typed views over untyped files, never a changed value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataforge.components.base import Batches, Extracted, Files, Records
from dataforge.components.delimited import unique_names
from dataforge.errors import ConfigError, TerminalError
from dataforge.runtime.landing import Landed, NoRecordsError, explain, is_assumption_failure, land


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as con:
        yield con


def csv_files(folder: Path, *texts: str, **options: Any) -> Files:
    paths = []
    for index, text in enumerate(texts):
        paths.append(folder / f"{index}.csv")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    return Files("csv", tuple(paths), options)


def ndjson(folder: Path, *lines: str) -> Files:
    path = folder / "data.ndjson"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Files("json", (path,), {"format": "newline_delimited"})


def rows(con: duckdb.DuckDBPyConnection, name: str = "source") -> list[tuple[Any, ...]]:
    return con.execute(f'SELECT * FROM "{name}"').fetchall()


def settled(con: duckdb.DuckDBPyConnection, landed: Landed) -> list[tuple[Any, ...]]:
    """Read as the runtime does: widen and read again where the types of the first rows don't hold."""
    try:
        return rows(con, landed.view)
    except duckdb.Error as error:
        if not is_assumption_failure(error):
            raise
    landed.widen()
    assert not landed.assumed
    return rows(con, landed.view)


def test_csv_gets_types_and_equal_values(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    text = "id,zip,amount,ok,day,at,note,none\n"
    text += "1,01234,1.50,true,2024-01-02,2024-01-02T03:04:05,x,\n"
    text += "2,99999,20.25,FALSE,2024-01-03,2024-01-02 03:04,,\n"
    landed = land(con, "source", csv_files(tmp_path, text), scratch=tmp_path)
    assert landed.columns == {
        "id": "BIGINT",
        "zip": "VARCHAR",
        "amount": "DECIMAL(18,2)",
        "ok": "BOOLEAN",
        "day": "DATE",
        "at": "TIMESTAMP",
        "note": "VARCHAR",
        "none": "VARCHAR",
    }
    assert rows(con)[0] == (
        1,
        "01234",
        Decimal("1.50"),
        True,
        date(2024, 1, 2),
        datetime(2024, 1, 2, 3, 4, 5),
        "x",
        None,
    )


@pytest.mark.parametrize(
    ("first", "late", "type_", "value"),
    [
        ("5", "007", "VARCHAR", "007"),
        ("5", "1e3", "DOUBLE", 1000.0),
        ("5", "12.5", "DECIMAL(18,1)", Decimal("12.5")),
        ("5", "9223372036854775808", "DECIMAL(38,0)", Decimal(9223372036854775808)),
        ("1.5", "1.234", "DECIMAL(18,3)", Decimal("1.234")),
        ("2024-01-01", "2024-1-2", "VARCHAR", "2024-1-2"),
        ("2024-01-01", "infinity", "VARCHAR", "infinity"),
        ("2024-01-01", "2024-01-02 03:04:05", "TIMESTAMP", datetime(2024, 1, 2, 3, 4, 5)),
        ("2024-01-01 00:00:00", "2024-01-01 00:00:00.1234567", "VARCHAR", "2024-01-01 00:00:00.1234567"),
        ("true", "1", "VARCHAR", "1"),
        ("", "12", "BIGINT", 12),
        ("1.5", "n/a", "VARCHAR", "n/a"),
    ],
)
def test_a_late_value_that_needs_a_wider_type_is_never_changed(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, first: str, late: str, type_: str, value: Any
) -> None:
    text = "v,w\n" + f"{first},x\n" * 30_000 + f"{late},x\n"
    landed = land(con, "source", csv_files(tmp_path, text), scratch=tmp_path)
    assert landed.assumed
    assert settled(con, landed)[-1][0] == value
    assert landed.columns["v"] == type_


def test_types_do_not_depend_on_where_a_value_stands(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    values = ["1"] * 25_000 + ["2.5", "", "300.125"]
    types = []
    for order in (values, values[::-1]):
        landed = land(
            con, "source", csv_files(tmp_path, "a,b\n" + "".join(f"{v},0\n" for v in order)), scratch=tmp_path
        )
        assert sum(row[0] or 0 for row in settled(con, landed)) == Decimal("25302.625")
        types.append(landed.columns)
    assert types == [{"a": "DECIMAL(18,3)", "b": "BIGINT"}] * 2


def test_files_with_other_headers_are_joined_by_name(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = csv_files(tmp_path, "a,b\n1,x\n", "b,a,c\ny,2,2024-01-01\n", "", "a,b\n")
    landed = land(con, "source", files, scratch=tmp_path)
    assert sorted(settled(con, landed)) == [(1, "x", None), (2, "y", date(2024, 1, 1))]


def test_names_that_differ_only_in_case_or_are_missing_stay_apart(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    land(con, "source", csv_files(tmp_path, ",id,ID,id text,id\n1,2,3,4,5\n"), scratch=tmp_path)
    assert rows(con) == [(1, 2, 3, 4, 5)]
    assert unique_names(["", "id", "ID", "id_1"]) == ("column0", "id", "ID_1", "id_1_1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"0\.csv, line 3: 1 fields where the header has 2"),
        ("a,b\n1,2,3\n", r"0\.csv, line 2: 3 fields where the header has 2"),
        ('a,b\n1,"x\n', r"0\.csv, line 2: a quoted value has no closing quote"),
        ("", "no header"),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(TerminalError, match=message):
        land(con, "source", csv_files(tmp_path, text), scratch=tmp_path)


def test_a_ragged_row_behind_the_sample_is_explained(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    landed = land(con, "source", csv_files(tmp_path, "a,b\n" + "1,2\n" * 300_000 + "1\n"), scratch=tmp_path)
    with pytest.raises(duckdb.Error) as raised:
        rows(con, landed.view)
    assert not is_assumption_failure(raised.value)
    assert "line 300002: 1 fields" in str(explain(raised.value))


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("text", "007", "007"),
        ("integer", "007", 7),
        ("decimal(12,2)", "+1.500", Decimal("1.50")),
        ("decimal(12,2)", "1e3", Decimal(1000)),
        ("double", "0.1", 0.1),
        ("date", "2024/01/02", date(2024, 1, 2)),
        ("timestamp", "2024-01-02 3:04:05", datetime(2024, 1, 2, 3, 4, 5)),
        ("boolean", "yes", True),
    ],
)
def test_a_given_type_reads_what_it_can_hold(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, type_: str, text: str, value: Any
) -> None:
    land(con, "source", csv_files(tmp_path, f"v\n{text}\n"), overrides={"v": type_}, scratch=tmp_path)
    assert rows(con) == [(value,)]


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("integer", "12.4"),
        ("integer", "99999999999"),
        ("integer", "1.5e0"),
        ("decimal(12,2)", "1.234"),
        ("date", "2024-01-02 10:00:00"),
        ("date", "epoch"),
        ("timestamp", "infinity"),
        ("timestamp", "2024-01-02 03:04:05Z"),
        ("timestamp", "2024-01-02 03:04:05.1234567"),
        ("double", "1e400"),
        ("boolean", "maybe"),
        ("uuid", "x" * 100),
    ],
)
def test_a_given_type_refuses_what_it_would_change(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, type_: str, text: str
) -> None:
    land(con, "source", csv_files(tmp_path, f"v\n{text}\n"), overrides={"v": type_}, scratch=tmp_path)
    with pytest.raises(duckdb.Error) as raised:
        rows(con)
    told = explain(raised.value)
    assert isinstance(told, TerminalError)
    assert "column 'v'" in str(told)
    assert text[:40] in str(told)
    assert text[:41] not in str(told) or len(text) <= 40


def test_an_override_for_an_unknown_column_or_type_is_a_finding(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = csv_files(tmp_path, "customer\n1\n")
    with pytest.raises(ConfigError, match="did you mean 'customer'"):
        land(con, "source", files, overrides={"custmer": "text"}, scratch=tmp_path)
    with pytest.raises(ConfigError, match="type 'txt'"):
        land(con, "source", files, overrides={"customer": "txt"}, scratch=tmp_path)


def test_json_keeps_kinds_digits_and_inner_values(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = ndjson(
        tmp_path,
        '{"i": 9007199254740993, "n": 1, "z": "007", "d": "2024-01-02", "o": {"a": [1]}, "w": 123456789012345678901}',
        '{"i": 1, "n": 2.5, "z": "5", "d": null, "o": null, "w": 1, "more": true}',
    )
    landed = land(con, "source", files, scratch=tmp_path)
    assert not landed.assumed
    assert landed.columns == {
        "i": "BIGINT",
        "n": "DECIMAL(18,1)",
        "z": "VARCHAR",
        "d": "DATE",
        "o": "JSON",
        "w": "DECIMAL(38,0)",
        "more": "BOOLEAN",
    }
    first, second = rows(con)
    assert first == (
        9007199254740993,
        Decimal(1),
        "007",
        date(2024, 1, 2),
        '{"a":[1]}',
        Decimal(123456789012345678901),
        None,
    )
    assert second[4] is None


def test_large_integers_beside_fractions_lose_no_digit(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    landed = land(
        con, "source", ndjson(tmp_path, '{"v": 9007199254740993}', '{"v": 0.5}', '{"v": 1e300}'), scratch=tmp_path
    )
    assert landed.columns == {"v": "VARCHAR"}
    assert rows(con)[0] == ("9007199254740993",)


@pytest.mark.parametrize(
    ("first", "late", "type_"),
    [
        ("1", "9007199254740993", "BIGINT"),
        ("1", "9223372036854775808", "DECIMAL(38,0)"),
        ("1", "1.5", "DECIMAL(18,1)"),
        ("1.5", "1.25", "DECIMAL(18,2)"),
        ("1.5", "0.3333333333333333", "DOUBLE"),
        ("1e300", "12345678901234567", "VARCHAR"),
        ("1e300", "123", "DOUBLE"),
        ("1", "true", "VARCHAR"),
        ("1", '"1"', "VARCHAR"),
        ("true", "1", "VARCHAR"),
        ("true", "null", "BOOLEAN"),
        ("null", "1", "BIGINT"),
        ('{"a": 1}', "[1]", "JSON"),
        ("[1]", '"x"', "VARCHAR"),
        ('"2024-01-01"', '"2024-01-02T03:04:05"', "TIMESTAMP"),
        ('"2024-01-01"', '"epoch"', "VARCHAR"),
        ('"2024-01-01"', "20240101", "VARCHAR"),
        ('"2024-01-01T00:00:00Z"', '"2024-01-01T00:00:00+02:00"', "TIMESTAMPTZ"),
        ('"2024-01-01T00:00:00Z"', '"2024-01-01T00:00:00"', "VARCHAR"),
    ],
)
def test_a_late_json_value_counts_as_much_as_the_first(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, first: str, late: str, type_: str
) -> None:
    for values in ([first] * 30_000 + [late], [late] + [first] * 30_000):
        landed = land(con, "source", ndjson(tmp_path, *(f'{{"v": {value}}}' for value in values)), scratch=tmp_path)
        assert landed.columns == {"v": type_}
        assert con.execute('SELECT count(*), count(v) FROM "source"').fetchall()[0][0] == 30_001


def test_keys_with_odd_names_are_columns(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    record = {"a.b": 1, "ID": 2, "id": 3, 'q"uote': 4, "sl/ash~": "x", "drop table": None}
    land(con, "source", ndjson(tmp_path, json.dumps(record)), scratch=tmp_path)
    assert rows(con) == [(1, 2, 3, 4, "x", None)]


@pytest.mark.parametrize("line", ["[1, 2]", '"x"', '{"a": 1', '{"a": 1, "a": 2}', '{"a": 01}'])
def test_json_lines_that_are_no_records_are_refused(con: duckdb.DuckDBPyConnection, tmp_path: Path, line: str) -> None:
    with pytest.raises(TerminalError, match=r"data\.ndjson"):
        land(con, "source", ndjson(tmp_path, '{"a": 0}', line), scratch=tmp_path)


@pytest.mark.parametrize("word", ["NaN", "nan", "Infinity", "-Infinity", "-inf"])
@pytest.mark.parametrize("value", ["{}", "[1, {}]", '{{"b": {}}}', "\t{} "])
def test_numbers_that_json_does_not_have_are_refused(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, word: str, value: str
) -> None:
    lines = ['{"a": "as a text: NaN, [inf"}'] * 3_000 + [f'{{"a": {value.format(word)}}}']
    with pytest.raises(TerminalError, match=rf"data\.ndjson, record 3001: {word.lstrip('-')}, which JSON does not"):
        land(con, "source", ndjson(tmp_path, *lines), scratch=tmp_path)
    given = {"a": "double"}
    with pytest.raises(TerminalError, match="which JSON does not have"):
        land(con, "source", ndjson(tmp_path, f'{{"a": {word}}}'), overrides=given, scratch=tmp_path)


def test_texts_with_such_words_are_texts(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for form, text in (("newline_delimited", '{"a": "x: NaN"}\n{"a": ",inf"}'), ("array", '[{"a": ": nan"}]')):
        (tmp_path / "data.json").write_text(text)
        files = Files("json", (tmp_path / "data.json",), {"format": form})
        assert land(con, "source", files, scratch=tmp_path).columns == {"a": "VARCHAR"}
    (tmp_path / "data.json").write_text('[{"a": 1}, {"a": NaN}]')
    with pytest.raises(TerminalError, match="record 2: NaN"):
        land(con, "source", files, scratch=tmp_path)


def test_records_page_by_page_are_typed_over_all_pages(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    pages: list[list[dict[str, Any]]] = [
        [{"id": 1, "v": None}],
        [],
        [{"id": 2, "v": 1.25, "new": "x"}],
        [{"id": 3, "v": "n/a"}],
    ]
    landed = land(con, "source", Records(pages), scratch=tmp_path / "land")
    assert landed.columns == {"id": "BIGINT", "v": "VARCHAR", "new": "VARCHAR"}
    assert rows(con) == [(1, None, None), (2, "1.25", "x"), (3, "n/a", None)]


def test_without_any_record_given_types_make_an_empty_view(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    landed = land(con, "source", Records([]), overrides={"id": "bigint", "at": "date"}, scratch=tmp_path)
    assert landed.columns == {"id": "BIGINT", "at": "DATE"}
    assert rows(con) == []
    with pytest.raises(NoRecordsError):
        land(con, "source", Records([[]]), scratch=tmp_path)


def test_a_sample_reads_no_more_rows_than_asked_for(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    def pages() -> Iterator[list[dict[str, Any]]]:
        yield [{"a": 1}, {"a": 2}]
        raise AssertionError("the second page is not needed")

    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "p.parquet")
    sources: list[Extracted] = [
        Records(pages()),
        csv_files(tmp_path, "a\n1\n2\n3\n"),
        Files("parquet", (tmp_path / "p.parquet",)),
        Batches(pa.table({"a": [1, 2, 3]}).to_reader()),
    ]
    for index, extracted in enumerate(sources):
        land(con, f"s{index}", extracted, scratch=tmp_path / "land", sample=2)
        assert rows(con, f"s{index}") == [(1,), (2,)]


def test_decimals_that_the_engine_does_not_have_keep_every_digit_as_text(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    values = [Decimal("9" * 38 + "." + "9" * 38), Decimal("1e-38"), None, Decimal("-12.5")]
    wide, list_ = pa.decimal256(76, 38), pa.list_(pa.decimal256(40, 0))
    table = pa.table(
        {
            "v": pa.array(values, wide),
            "l": pa.array([[10**39, None], None, [], [1]], list_),
            "s": pa.array([{"a": 10**39}, None, None, None], pa.struct([("a", pa.decimal256(40, 0))])),
            "n": pa.array([1, 2, 3, None], pa.decimal256(20, 2)),
        }
    )
    expected = ["9" * 38 + "." + "9" * 38, "0." + "0" * 37 + "1", None, "-12.5" + "0" * 37]
    pq.write_table(table, tmp_path / "p.parquet")
    for extracted in (Batches(table.to_reader()), Files("parquet", (tmp_path / "p.parquet",))):
        landed = land(con, "source", extracted, scratch=tmp_path)
        assert landed.columns == {"v": "VARCHAR", "l": "VARCHAR[]", "s": "STRUCT(a VARCHAR)", "n": "DECIMAL(20,2)"}
        found = rows(con)
        assert [row[0] for row in found] == expected
        assert [row[1] for row in found] == [[str(10**39), None], None, [], ["1"]]
        assert found[0][2:] == ({"a": str(10**39)}, Decimal("1.00"))
        con.unregister("source")
    narrow = pa.table({"v": pa.array([Decimal("1.5"), Decimal("-2.50")], wide)})
    pq.write_table(narrow, tmp_path / "q.parquet")
    land(con, "source", Files("parquet", (tmp_path / "q.parquet",)), overrides={"v": "decimal(9,1)"}, scratch=tmp_path)
    assert rows(con) == [(Decimal("1.5"),), (Decimal("-2.5"),)]
    both = Files("parquet", (tmp_path / "q.parquet", tmp_path / "p.parquet"))
    land(con, "source", both, overrides={"v": "decimal(9,1)"}, scratch=tmp_path)
    with pytest.raises(Exception, match=r"column 'v': '9+\.9*' is not exactly a DECIMAL"):
        rows(con)


def test_typed_batches_and_parquet_keep_their_types_and_take_overrides(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    table = pa.table({"a": [1, 2], "b": pa.array([1.5, 2.5])})
    pq.write_table(table, tmp_path / "p.parquet")
    for extracted in (Batches(table.to_reader()), Files("parquet", (tmp_path / "p.parquet",))):
        landed = land(con, "source", extracted, overrides={"a": "text"}, scratch=tmp_path)
        assert landed.columns == {"a": "VARCHAR", "b": "DOUBLE"}
        assert landed.once == isinstance(extracted, Batches)
        assert rows(con) == [("1", 1.5), ("2", 2.5)]
        con.execute("DROP VIEW source")
    land(con, "source", Files("parquet", (tmp_path / "p.parquet",)), overrides={"b": "integer"}, scratch=tmp_path)
    with pytest.raises(duckdb.Error) as raised:
        rows(con)
    assert "column 'b': '1.5'" in str(explain(raised.value))
