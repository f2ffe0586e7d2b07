"""The excel source: one sheet, or a part of it, of xlsx workbooks."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

from pydantic import Field, field_validator

from dataforge.components.base import ExtractContext, Extracted, Files, JsonValue, Records
from dataforge.components.delimited import unique_names
from dataforge.components.extras import Extra
from dataforge.components.paths import CHUNK
from dataforge.components.registry import SOURCES
from dataforge.errors import Problem, TerminalError
from dataforge.sources._files import FREE_BYTES, MAX_RATIO, Compression, FileSourceConfig, local_files, path_problems

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

PAGE = 1_000
"""Records that are handed on at a time."""

_RANGE = re.compile(r"\A([A-Za-z]{1,3})([1-9][0-9]{0,6}):([A-Za-z]{1,3})([1-9][0-9]{0,6})\Z")
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class ExcelConfig(FileSourceConfig):
    """Config of the excel source."""

    type: Literal["excel"] = "excel"
    sheet: str | int = Field(
        default=1,
        description="Name of the sheet, or its number from the left, beginning with 1.",
        examples=["Orders", 2],
    )
    header: int | None = Field(
        default=1,
        ge=1,
        le=1_000,
        description="Which row of the range, or of the sheet, holds the column names, beginning with 1; rows above it "
        "are skipped. null where there is none: columns are named column0, column1 and so on.",
    )
    range: str | None = Field(
        default=None, description="The part of the sheet that is read; all of it when not set.", examples=["B3:F200"]
    )
    errors: Literal["fail", "null"] = Field(
        default="fail",
        description="What becomes of a cell with an error such as #DIV/0!: fail ends the run and names it.",
    )
    compression: Compression = Field(
        default="none", description="How the workbook is compressed beyond what it is by itself; mostly not at all."
    )

    @field_validator("range")
    @classmethod
    def _is_a_range(cls, value: str | None) -> str | None:
        if value is not None and not _RANGE.match(value):
            raise ValueError(f"{value!r} is no range; write its corners, such as 'B3:F200'")
        return value

    @field_validator("sheet")
    @classmethod
    def _is_a_sheet(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError(f"there is no sheet {value}; the first one is 1")
        return value

    def extras(self) -> tuple[Extra, ...]:
        """Return openpyxl."""
        return (Extra("excel", "openpyxl"),)


@SOURCES.register(ExcelConfig)
class ExcelSource:
    """Reads a sheet of xlsx workbooks: values as they were computed last, dates as dates."""

    def __init__(self, config: ExcelConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Extracted:
        """Return the rows of the sheet as records; blank rows are left out."""
        return self.read(local_files(self.config, context), context)

    def read(self, files: Iterable[Path], context: ExtractContext) -> Extracted:
        """Return the rows of these workbooks, which are local."""
        paths = tuple(files)
        for path in paths:
            _refuse_odd(path)
        if not paths:
            return Files("json", ())
        return Records(self._pages(paths, context))

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the paths as they stand."""
        return path_problems(self.config)

    def check(self, context: ExtractContext) -> str:
        """Return the sheets of the first workbook; TerminalError when the one that is wanted is not among them."""
        paths = local_files(self.config, context)
        if not paths:
            return "0 workbook(s)"
        _refuse_odd(paths[0])
        with _opened(paths[0]) as book:
            book.sheet(self.config.sheet)
            sheets = ", ".join(map(repr, book.names[:20]))
        return f"{len(paths)} workbook(s); sheets of the first: {sheets}"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the column names; types are known only when the rows are read, so they are empty."""
        for path in local_files(self.config, context):
            _refuse_odd(path)
            with _opened(path) as book:
                names, _ = self._rows(book)
                return dict.fromkeys(names, "")
        return {}

    def _pages(self, paths: Iterable[Path], context: ExtractContext) -> Iterator[list[dict[str, JsonValue]]]:
        page: list[dict[str, JsonValue]] = []
        for path in paths:
            with _opened(path) as book:
                _refuse_uncomputed(book, book.sheet(self.config.sheet))
                names, rows = self._rows(book)
                count = 0
                for row in rows:
                    # beyond the last name there is mostly nothing; a value there is a column without a name
                    names += tuple(f"column{index}" for index in range(len(names), len(row)))
                    page.append({name: row[index] if index < len(row) else None for index, name in enumerate(names)})
                    count += 1
                    if len(page) == PAGE:
                        yield page
                        page = []
                context.log("sheet read", file=path.name, sheet=str(self.config.sheet), rows=count)
        if page:
            yield page

    def _rows(self, book: _Book) -> tuple[tuple[str, ...], Iterator[list[JsonValue]]]:
        """Return the column names and the rows below them, without trailing cells that are empty."""
        sheet = book.sheet(self.config.sheet)
        corners = _RANGE.match(self.config.range or "")
        limits: dict[str, int] = {}
        if corners:
            from openpyxl.utils import column_index_from_string as number

            columns = sorted((number(corners[1].upper()), number(corners[3].upper())))
            lines = sorted((int(corners[2]), int(corners[4])))
            limits = {"min_col": columns[0], "max_col": columns[1], "min_row": lines[0], "max_row": lines[1]}
        else:
            sheet.reset_dimensions()  # some programs write wrong ones
        cells = sheet.iter_rows(**limits)
        rows = ([self._value(cell, sheet.title) for cell in row] for row in cells)
        names: tuple[str, ...] = ()
        if self.config.header is not None:
            head: list[JsonValue] = []
            for _ in range(self.config.header):
                head = next(rows, [])
            names = unique_names("" if value is None else str(value) for value in _trimmed(head))
        return names, (trimmed for row in rows if (trimmed := _trimmed(row)))

    def _value(self, cell: Any, sheet: str) -> JsonValue:
        value = cell.value
        if cell.data_type == "e":
            if self.config.errors == "null":
                return None
            message = f"sheet {sheet!r}, cell {cell.coordinate}: the error {value}"
            raise TerminalError(f"{message}; mend it, or set 'errors' to 'null'")
        if isinstance(value, datetime):
            from openpyxl.styles.numbers import is_datetime

            only_day = value.time() == time() and is_datetime(cell.number_format) == "date"
            return value.date().isoformat() if only_day else value.isoformat(sep=" ")
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
            return int(value)  # a sheet knows but one kind of number
        return None if value == "" else value


@contextmanager
def _opened(path: Path) -> Iterator[_Book]:
    """Open a workbook; its file stays open until the block ends."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except (KeyError, ValueError, OSError, ET.ParseError, zipfile.BadZipFile) as error:
        raise TerminalError(f"{path.name} is no workbook that can be read: {error}") from None
    try:
        yield _Book(path, tuple(book.worksheets))
    except (KeyError, ET.ParseError, zipfile.BadZipFile, zlib.error, EOFError) as error:  # sheets are read lazily
        raise TerminalError(f"{path.name} is no workbook that can be read: {error}") from None
    finally:
        book.close()


@dataclass(frozen=True)
class _Book:
    """An open workbook and its sheets with cells, from the left."""

    path: Path
    sheets: tuple[Any, ...]

    @property
    def names(self) -> list[str]:
        """The names of the sheets."""
        return [sheet.title for sheet in self.sheets]

    def sheet(self, wanted: str | int) -> ReadOnlyWorksheet:
        """Return the sheet of that name or number; TerminalError with the names that there are."""
        for number, sheet in enumerate(self.sheets, 1):
            if wanted in (sheet.title, number):
                found: ReadOnlyWorksheet = sheet
                return found
        shown = ", ".join(map(repr, self.names[:20]))
        raise TerminalError(f"{self.path.name} has no sheet {wanted!r}; it has: {shown}")


def _refuse_odd(path: Path) -> None:
    """Raise TerminalError for what is no xlsx, or expands to far more than it is."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise TerminalError(f"{path.name} is an old .xls, or is encrypted; save it as .xlsx without a password")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        raise TerminalError(f"{path.name} is no .xlsx workbook, or it is cut short") from None
    if "[Content_Types].xml" not in {entry.filename for entry in entries}:
        raise TerminalError(f"{path.name} is a zip, but no .xlsx workbook")
    if sum(entry.file_size for entry in entries) > max(FREE_BYTES, path.stat().st_size * MAX_RATIO):
        raise TerminalError(f"{path.name}: expands to more than {MAX_RATIO} times its size; it is refused as a bomb")


def _refuse_uncomputed(book: _Book, sheet: Any) -> None:
    """Raise TerminalError for a formula that was never computed, which would come as no value in silence."""
    name = sheet._worksheet_path.lstrip("/")  # noqa: SLF001 - nothing else says where a sheet lies
    with zipfile.ZipFile(book.path) as archive:
        with archive.open(name) as xml:
            if not any(_FORMULA.search(line) for line in iter(lambda: xml.read(CHUNK), b"")):
                return
        with archive.open(name) as xml:
            _refuse_uncomputed_in(xml, f"{book.path.name}, sheet {sheet.title!r}")


def _refuse_uncomputed_in(xml: IO[bytes], where: str) -> None:
    for _, element in ET.iterparse(xml):  # noqa: S314 - openpyxl reads the same by the same parser, and sizes are capped
        if element.tag == f"{_NAMESPACE}row":
            for cell in element.iter(f"{_NAMESPACE}c"):
                value = cell.find(f"{_NAMESPACE}v")
                # an empty text is a result; Excel marks it as text
                has_none = value is None or (not value.text and cell.get("t") != "str")
                if has_none and cell.find(f"{_NAMESPACE}f") is not None:
                    raise TerminalError(
                        f"{where}, cell {cell.get('r')}: the formula was never computed; open the workbook in a "
                        "spreadsheet program and save it"
                    )
            element.clear()


def _trimmed(row: list[JsonValue]) -> list[JsonValue]:
    while row and row[-1] is None:
        row.pop()
    return row
