"""Lines of CSV and JSON files that are no records, taken out of a copy so that the engine can read the others.

The engine's own way to skip such lines also skips sound lines behind them (DuckDB 1.5 and 2.0, `ignore_errors` after
an unterminated quote), so lines are told apart here. It is done only for files that the engine has refused, and the
engine reads the copy as strictly as the original: what is not taken out must be a record to it, in the same number.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from dataforge.components.base import JsonValue

MAX_RECORD = 2_000_000
"""Characters after which a quote that was not closed counts as unterminated; the engine's own longest line."""


@dataclass(frozen=True)
class Malformed:
    """One line that is no record: its text, its number in the file (from 1), the sound records before it, and why."""

    text: str
    line: int
    before: int
    cause: str


@dataclass(frozen=True)
class Sound:
    """A copy without malformed lines: how many records it has, and how many lines that may or may not be one."""

    path: Path
    records: int
    blanks: int


def sift_csv(
    path: Path, copy: Path, options: Mapping[str, JsonValue], width: int, found: Callable[[Malformed], None]
) -> Sound:
    """Copy the records of `width` fields to `copy` and give all other lines to `found`, which may raise to stop.

    A quote that is never closed costs its own line only. Text that the encoding does not have raises UnicodeError.
    """
    quote, escape = str(options.get("quote", '"') or ""), str(options.get("escape", '"') or "")
    comment, encoding = options.get("comment"), str(options.get("encoding") or "utf-8")
    records = blanks = 0
    before_limit = csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding=encoding, newline="") as text, copy.open("w", encoding=encoding, newline="") as out:
            for _ in range(int(options.get("skip_rows") or 0)):
                out.write(text.readline())
            lines = _Lines(text, int(options.get("skip_rows") or 0))
            reader = csv.reader(
                lines,
                delimiter=str(options.get("delimiter") or ","),
                quotechar=quote or None,
                quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
                doublequote=escape == quote,
                escapechar=escape if escape and escape != quote else None,
                strict=True,
            )
            header = bool(options.get("header", True))
            while line := lines.peek():
                if not line.strip("\r\n") or (comment and line.startswith(str(comment))):
                    out.write(lines.take())
                    blanks += not line.strip("\r\n")
                    continue
                number, cause, fields = lines.number + 1, "", []
                try:
                    fields = next(reader)
                except (_TooLongError, csv.Error):
                    cause = "a quoted value is not closed, or a quote inside it is not doubled"
                if cause:
                    wrong = lines.first_only()
                elif header or len(fields) == width:
                    records += not header
                    header = False
                    out.write(lines.all())
                    continue
                else:
                    wrong, cause = lines.all(), f"{len(fields)} fields where the header has {width}"
                found(Malformed(wrong.rstrip("\r\n"), number, records, cause))
    finally:
        csv.field_size_limit(before_limit)
    return Sound(copy, records, blanks)


def sift_json(path: Path, copy: Path, found: Callable[[Malformed], None]) -> Sound:
    """Copy the lines that are JSON objects to `copy` and give all others to `found`, which may raise to stop."""
    import msgspec

    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    records = blanks = 0
    with path.open("rb") as lines, copy.open("wb") as out:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                blanks += 1
                continue
            try:
                decoder.decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                cause = "no JSON object" if isinstance(error, msgspec.ValidationError) else f"no JSON: {error}"
                text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                found(Malformed(text, number, records, cause))
                continue
            out.write(line if line.endswith(b"\n") else line + b"\n")
            records += 1
    return Sound(copy, records, blanks)


class _TooLongError(Exception):
    """A record is longer than any can be."""


class _Lines:
    """The lines of a file as the CSV reader takes them; what a broken record took too much can be put back."""

    def __init__(self, text: TextIO, number: int) -> None:
        self._text = text
        self._back: list[str] = []
        self._taken: list[str] = []
        self._size = 0
        self.number = number
        """Lines that are done with."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > MAX_RECORD and len(self._taken) > 1:
            raise _TooLongError
        line = self.peek()
        if not line:
            raise StopIteration
        self._back.pop()
        self._taken.append(line)
        self._size += len(line)
        return line

    def peek(self) -> str:
        """Return the next line without taking it, empty at the end."""
        if not self._back and (line := self._text.readline()):
            self._back.append(line)
        return self._back[-1] if self._back else ""

    def take(self) -> str:
        """Take the next line alone."""
        next(self)
        return self.all()

    def all(self) -> str:
        """Return the lines of the record that was read."""
        taken = "".join(self._taken)
        self.number += len(self._taken)
        self._taken, self._size = [], 0
        return taken

    def first_only(self) -> str:
        """Return the first line of the record that was tried, and put the others back."""
        first, *rest = self._taken
        self._back += reversed(rest)
        self.number += 1
        self._taken, self._size = [], 0
        return first
