"""The header of a delimited text file, for those who must know it without an engine."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from dataforge.components.base import JsonValue
from dataforge.errors import TerminalError


def first_record(path: Path, options: Mapping[str, JsonValue]) -> list[str] | None:
    """Return the first CSV record of a file as texts, None when there is none."""
    quote = str(options.get("quote", '"') or "")
    escape = str(options.get("escape", '"') or "")
    comment = options.get("comment")
    encoding = str(options.get("encoding") or "utf-8")
    with path.open(encoding="utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding, newline="") as text:
        for _ in range(int(options.get("skip_rows") or 0)):
            text.readline()
        lines = (line for line in text if not (comment and line.startswith(str(comment))))
        reader = csv.reader(
            lines,
            delimiter=str(options.get("delimiter") or ","),
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            doublequote=escape == quote,
            escapechar=escape if escape and escape != quote else None,
        )
        try:
            return next((record for record in reader if record), None)
        except UnicodeDecodeError as error:
            raise TerminalError(f"{path.name}: byte {error.start} is not {error.encoding}; set 'encoding'") from None
        except csv.Error as error:
            raise TerminalError(f"{path.name}: the first record can't be read: {error}") from None


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return column names that differ also without regard to case: blanks become `column<i>`, twins get `_1`, `_2` …"""
    taken: set[str] = set()
    found = []
    for index, raw in enumerate(names):
        name = base = raw.strip() or f"column{index}"
        number = 0
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        found.append(name)
    return tuple(found)
