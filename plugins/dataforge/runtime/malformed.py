"""Lines of CSV and JSON files that are no records, taken out of a copy so that the engine can read the others.

The engine's own way to skip such lines also skips sound lines behind them (DuckDB 1.5 and 2.0, `ignore_errors` after
an unterminated quote), so lines are told apart here. It is done only for files that the engine has refused, and the
engine reads the copy as strictly as the original: what is not taken out must be a record to it, in the same number.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TextIO

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
    records = blanks = 0
    with path.open("rb") as lines, copy.open("wb") as out:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                blanks += 1
                continue
            cause = json_fault(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if cause:
                text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                found(Malformed(text, number, records, cause))
                continue
            out.write(line if line.endswith(b"\n") else line + b"\n")
            records += 1
    return Sound(copy, records, blanks)


def json_fault(line: bytes) -> str:
    """Return why a line is no JSON object, as the standard has it; empty when it is one."""
    import msgspec

    try:
        _strict_decoder().decode(line)
    except msgspec.ValidationError:
        return "no JSON object"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        # the decoder stops behind what could have been a minus or null
        places = (int(found[1]), int(found[1]) - 1) if found else ()
        word = next((word for place in places if (word := _NO_NUMBER.match(line, max(place, 0)))), None)
        return f"{word[0].decode()}, which JSON does not have; write null" if word else f"no JSON: {error}"
    except RecursionError:
        return TOO_DEEP
    return TOO_DEEP if _is_deep(line) else ""


def _is_deep(line: bytes) -> bool:
    """Whether a JSON text is nested deeper than MAX_DEPTH."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return False
    marks = _STRING.sub(b"", line).translate(_AS_LISTS, _NO_MARKS)
    for _ in range(MAX_DEPTH):
        marks = marks.replace(b"[]", b"")  # the innermost level
    return bool(marks)


@cache
def _strict_decoder() -> Any:
    import msgspec

    return msgspec.json.Decoder(dict[str, msgspec.Raw])


MAX_DEPTH = 128
"""Levels of a record, itself included, that every version of the engine reads: 1.5 crashes far beyond it."""
SUSPECT = rf"(?i)[:\[,]\s*-?(nan|inf)|\A[^\[{{]*([\[{{][^\[{{]*){{{MAX_DEPTH + 1}}}"
"""A regular expression for records that may have NaN, an infinity or too many levels, all of which the engine takes."""
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels, which is more than can be read"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(set(range(256)) - set(b"[]{}"))
_NO_NUMBER = re.compile(rb"nan|inf(?:inity)?", re.IGNORECASE)


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
