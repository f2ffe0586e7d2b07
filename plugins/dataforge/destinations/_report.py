"""A small result for people: its first rows as a table in HTML or plain text, and as CSV."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dataforge.components.base import DestinationConfig, Incoming, LoadContext
from dataforge.components.fields import TemplatedText
from dataforge.errors import TerminalError, bounded

MAX_CELL = 200
"""Characters of one value in a table; the CSV has all of them."""

RISKY = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that a spreadsheet would take for formulas."""


class ReportConfig(DestinationConfig):
    """Base of the configs of destinations that tell people a small result."""

    message: TemplatedText = Field(
        default="",
        max_length=5_000,
        description="Text above the table.",
        examples=["Orders of ${data_interval_start:%d.%m.%Y}"],
    )
    table: Literal["rows", "none"] = Field(default="rows", description="Whether the first rows stand in the message.")
    max_rows: int = Field(default=50, ge=1, le=1_000, description="Most rows in the message; it says how many follow.")
    attachment: Literal["none", "csv"] = Field(
        default="none", description="Whether the rows come as a CSV file too; texts like formulas get a ' before them."
    )
    max_attached_rows: int = Field(
        default=10_000,
        ge=1,
        le=100_000,
        description="Most rows in the attached file; the message says how many follow.",
    )
    send_empty: bool = Field(default=False, description="Whether a result without rows is told too.")


@dataclass(frozen=True)
class Report:
    """What is told: columns, rows for table and file (values as texts, None for null), and how many there are."""

    columns: tuple[str, ...]
    shown: tuple[tuple[str | None, ...], ...]
    attached: tuple[tuple[str | None, ...], ...]
    rows: int

    @property
    def rest(self) -> str:
        """One sentence on the rows that are not shown; empty when all are."""
        missing = self.rows - len(self.shown)
        return f"and {missing:,} more of {self.rows:,} rows" if missing else ""

    def as_html(self) -> str:
        """Return an HTML table, every text escaped."""
        cell = 'style="border:1px solid #ccc;padding:2px 6px;text-align:left"'
        head = "".join(f"<th {cell}>{_escaped(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td {cell}>{_escaped(value or '')}</td>" for value in row) + "</tr>"
            for row in self.shown
        )
        rest = f"<p>{self.rest}</p>" if self.rest else ""
        return f'<table style="border-collapse:collapse"><tr>{head}</tr>{body}</table>{rest}'

    def as_text(self, characters: int) -> str:
        """Return lines with aligned columns, as many rows as fit into so many characters."""
        cells = [[_line(value) for value in row] for row in (self.columns, *self.shown)]
        widths = [max(len(row[index]) for row in cells) for index in range(len(self.columns))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        kept, size = [], 0
        for line in lines:
            size += len(line) + 1
            if size > characters:
                break
            kept.append(line)
        missing = self.rows - max(0, len(kept) - 1)
        return "\n".join([*kept, *([f"… and {missing:,} more of {self.rows:,} rows"] if missing else [])])

    def write_csv(self, path: Path) -> Path:
        """Write the attached rows as CSV and return the path."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        for row in (self.columns, *self.attached):
            writer.writerow("" if value is None else f"'{value}" if _is_risky(value) else value for value in row)
        path.write_text(text.getvalue(), encoding="utf-8-sig")
        return path


def collect(config: ReportConfig, incoming: Incoming, context: LoadContext) -> Report:
    """Return what is to be told of the rows; TerminalError where records were set aside, which have no place here."""
    if any(True for _ in context.rejects):
        raise TerminalError("a report keeps no dead letters; add a table destination, or drop the records")
    most = config.max_attached_rows if config.attachment == "csv" else config.max_rows
    kept: list[tuple[str | None, ...]] = []
    rows = 0
    for batch in incoming.reader():
        if len(kept) < most:
            part = batch.slice(0, most - len(kept))
            columns = [column.to_pylist() for column in part.columns]
            kept += [tuple(map(_text, row)) for row in zip(*columns, strict=True)]
        rows += batch.num_rows
    shown = tuple(kept[: config.max_rows]) if config.table == "rows" else ()
    return Report(tuple(incoming.schema.names), shown, tuple(kept), rows)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _line(value: str | None) -> str:
    return bounded(" ".join((value or "").split()), MAX_CELL)


def _escaped(text: str) -> str:
    return html.escape(bounded(text, MAX_CELL))


def _is_risky(value: str) -> bool:
    if not value.startswith(RISKY):
        return False
    try:
        Decimal(value)
    except ArithmeticError:
        return True
    return False
