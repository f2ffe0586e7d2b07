"""The excel source, on workbooks that openpyxl and hand-written XML make."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from dataforge.components.base import ExtractContext
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError
from dataforge.runtime.landing import land
from dataforge.testing import SourceContract

MakeContext = Callable[..., ExtractContext]


def book(folder: Path, rows: list[list[Any]], name: str = "a.xlsx", sheet: str = "Orders") -> Path:
    """A workbook with an empty first sheet and one with the rows."""
    made = openpyxl.Workbook()
    made.active.title = "Cover"
    page = made.create_sheet(sheet)
    for row in rows:
        page.append(row)
    made.save(folder / name)
    return folder / name


def read(context: ExtractContext, **source: Any) -> list[tuple[Any, ...]]:
    """Extract and type as the runtime does."""
    config = SOURCES.get("excel").config.model_validate(
        {"type": "excel", "path": "a.xlsx", "sheet": "Orders", **source}
    )
    with duckdb.connect() as con:
        view = land(con, "source", SOURCES.build(config).extract(context), scratch=context.scratch / "land")
        view.widen()
        return con.execute('SELECT * FROM "source"').fetchall()


class TestExcel(SourceContract):
    """A sheet with every kind of value."""

    config = {"type": "excel", "path": "a.xlsx", "sheet": 2}
    expected = [{"id": 1, "name": "ä", "paid": True, "day": date(2025, 1, 2), "price": 1.5}]

    @pytest.fixture(autouse=True)
    def workbook(self, data: Path) -> None:
        book(data, [["id", "name", "paid", "day", "price"], [1, "ä", True, date(2025, 1, 2), 1.5], [None]])


def test_values_keep_their_kinds(data: Path, context: MakeContext) -> None:
    book(
        data,
        [
            ["n", "text", "at", "clock", "flag"],
            [1, "007", datetime(2025, 1, 2, 3, 4, 5), time(6, 7), False],
            [2.5, None, datetime(2025, 1, 3), time(0), None],
        ],
    )
    assert read(context()) == [
        (1.0, "007", datetime(2025, 1, 2, 3, 4, 5), "06:07:00", False),
        (2.5, None, datetime(2025, 1, 3), "00:00:00", None),
    ]


def test_a_range_and_a_header_further_down_are_found(data: Path, context: MakeContext) -> None:
    book(data, [["Report"], [], ["", "id", "name", "note"], ["", 1, "a", "x"], [], ["", 2, "b", "y"]])
    assert read(context(), header=3) == [(None, 1, "a", "x"), (None, 2, "b", "y")]
    assert read(context(), range="B3:C6") == [(1, "a"), (2, "b")]
    assert read(context(), range="B4:C6", header=None) == [(1, "a"), (2, "b")]


def test_cells_beyond_the_header_are_not_lost(data: Path, context: MakeContext) -> None:
    book(data, [["id", "id"], [1, 2], [3, 4, 5]])
    assert read(context()) == [(1, 2, None), (3, 4, 5)]


def test_several_workbooks_are_read_as_one(data: Path, context: MakeContext) -> None:
    book(data, [["id", "a"], [1, "x"]])
    book(data, [["b", "id"], ["y", 2]], "b.xlsx")
    assert sorted(read(context(), path="*.xlsx"), key=str) == [(1, "x", None), (2, None, "y")]


def test_the_sheet_is_named_when_it_is_not_there(data: Path, context: MakeContext) -> None:
    book(data, [["id"], [1]])
    with pytest.raises(TerminalError, match=r"no sheet 'Sales'; it has: 'Cover', 'Orders'"):
        read(context(), sheet="Sales")
    config = SOURCES.get("excel").config.model_validate({"type": "excel", "path": "a.xlsx", "sheet": "Orders"})
    source: Any = SOURCES.build(config)
    assert source.check(context()) == "1 workbook(s); sheets of the first: 'Cover', 'Orders'"
    assert source.discover(context()) == {"id": ""}


def test_errors_end_the_run_or_are_no_value(data: Path, context: MakeContext) -> None:
    book(data, [["id", "share"], [1, "#DIV/0!"], [2, 1]])
    with pytest.raises(TerminalError, match=r"cell B2: the error #DIV/0!"):
        read(context())
    assert read(context(), errors="null") == [(1, None), (2, 1)]


def test_formulas_give_what_they_were_computed_to(data: Path, context: MakeContext) -> None:
    path = book(data, [["id", "double", "text"], [1, "=A2*2", '=IF(A2=1,"","x")']])
    with pytest.raises(TerminalError, match=r"sheet 'Orders', cell B2: the formula was never computed"):
        read(context())
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet2.xml"].decode()
    sheet = sheet.replace("<f>A2*2</f><v />", "<f>A2*2</f><v>2</v>").replace(
        "<f>A2*2</f><v></v>", "<f>A2*2</f><v>2</v>"
    )
    parts["xl/worksheets/sheet2.xml"] = sheet.replace('<c r="C2">', '<c r="C2" t="str">').encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert read(context()) == [(1, 2, None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1old", "save it as .xlsx"),
        (b"id,name\n", "no .xlsx workbook"),
        (b"PK\x03\x04cut", "cut short"),
    ],
)
def test_what_is_no_workbook_is_said(data: Path, context: MakeContext, content: bytes, message: str) -> None:
    (data / "a.xlsx").write_bytes(content)
    with pytest.raises(TerminalError, match=message):
        read(context())


@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_a_sheet_that_is_cut_short_is_said(data: Path, context: MakeContext, kept: float) -> None:
    path = book(data, [["id"], *([number] for number in range(5_000))])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet2.xml"] = parts["xl/worksheets/sheet2.xml"][: int(kept * 100_000)]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(TerminalError, match=r"a\.xlsx is no workbook that can be read"):
        read(context())


def test_a_bomb_is_refused(data: Path, context: MakeContext) -> None:
    path = book(data, [["id"], [1]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/big", bytes(200 * 1024 * 1024))
    with pytest.raises(TerminalError, match="bomb"):
        read(context())
