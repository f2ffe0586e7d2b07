"""The first record of a delimited text file, for those who must know its header without an engine."""

from __future__ import annotations

import csv
from collections.abc import Mapping
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
        except (csv.Error, UnicodeDecodeError) as error:
            raise TerminalError(f"{path.name}: the first record can't be read: {error}") from None
