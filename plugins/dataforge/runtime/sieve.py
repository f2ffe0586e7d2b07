"""What `runtime.landing` needs to leave records out of what it reads, and to tell which they were and why.

A sieve costs nothing until a value or a line has broken a read: only then is the view replaced by one without such
records, and only when that was read are they looked for, with their positions, file by file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from dataforge.components.database import quote_identifier as name_sql
from dataforge.components.database import quote_literal as text_sql
from dataforge.components.delivery import Reject, RejectLimit
from dataforge.errors import TerminalError
from dataforge.runtime import rejects
from dataforge.runtime.malformed import Malformed, Sound

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

POSITION = '"dataforge position"'
"""A column with the number of the row in its file, from 1."""


class Sieve(Protocol):
    """Takes records out of what is read, and tells which."""

    def sift_values(self) -> bool:
        """Leave out records with a value that is not of its type; False when that was done before."""
        ...

    def sift_lines(self) -> bool:
        """Leave out lines that are no records; False when there are none, or when that was done before."""
        ...

    def write(self, folder: Path, source: str, wanted: Wanted | None) -> list[Path]:
        """Write what was left out, as far as it is wanted, as reject parts; `source` is the name of the source."""
        ...


@dataclass(frozen=True)
class Wanted:
    """Which records a reading is about: those for which `condition` is true of a column, once that has its type."""

    column: str
    type: str
    condition: str

    def of(self, relation: str) -> str:
        """Return SQL for whether a record of `relation` is wanted; one for which that can't be told is."""
        value = f"TRY_CAST({relation}.{name_sql(self.column)} AS {self.type}) AS {name_sql(self.column)}"
        return f"coalesce((SELECT {self.condition} FROM (SELECT {value})), true)"


@dataclass(frozen=True)
class Misfits:
    """Columns to the SQL that is true where the value does not fit, and to the SQL that says so."""

    fits: Mapping[str, tuple[str, str]]

    def of(self, columns: Iterable[str]) -> Misfits:
        """Return what is about some columns only."""
        known = set(columns)
        return Misfits({column: fit for column, fit in self.fits.items() if column in known})

    @property
    def any(self) -> str:
        """SQL: whether any value of the row does not fit; false rather than NULL."""
        return " OR ".join(f"coalesce({bad}, false)" for bad, _ in self.fits.values()) or "false"

    @property
    def reason(self) -> str:
        """SQL for one sentence about all values of the row that do not fit."""
        return f"concat_ws('; ', {', '.join(f'CASE WHEN {bad} THEN {told} END' for bad, told in self.fits.values())})"

    @property
    def column(self) -> str:
        """SQL for the column, if only one is at fault."""
        count = " + ".join(f"CASE WHEN {bad} THEN 1 ELSE 0 END" for bad, _ in self.fits.values())
        named = ", ".join(f"CASE WHEN {bad} THEN {text_sql(column)} END" for column, (bad, _) in self.fits.items())
        return f"CASE WHEN {count} = 1 THEN concat_ws('', {named}) ELSE '' END"


def misfits(casts: Mapping[str, tuple[str, str]]) -> Misfits:
    """Return the misfits of columns to their types (before, after)."""
    return Misfits(
        {
            column: (unfit(name_sql(column), from_, to), told(column, name_sql(column), to))
            for column, (from_, to) in casts.items()
            if to != "TEXT"
        }
    )


def unfit(value: str, from_: str, to: str) -> str:
    """Return SQL for whether a cast would change `value`, or can't be made."""
    if to == "TEXT":
        return "false"
    if from_ in ("VARCHAR", "JSON"):
        return _unfit_text(f"CAST({value} AS VARCHAR)", to)
    return f"({value} IS NOT NULL AND CAST(TRY_CAST({value} AS {to}) AS {from_}) IS DISTINCT FROM {value})"


def told(column: str, value: str, to: str) -> str:
    """Return SQL for the sentence about a value that does not fit."""
    head, tail = text_sql(f"column {column!r}: "), text_sql(f" is not exactly a {to}")
    shown = f"'''' || left(replace(CAST({value} AS VARCHAR), chr(10), ' '), {rejects.MAX_VALUE}) || ''''"
    return f"{head} || {shown} || {tail}"


def _unfit_text(t: str, to: str) -> str:
    """SQL: whether the text is there but is no `to`, or would lose something on the way."""
    v = f"TRY_CAST({t} AS {to})"
    name = to.split("(")[0]
    number = r"\s*[+-]?[0-9]*(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*"
    zoned = r"^\s*\S+[ T].*(Z|[A-Za-z]|[+-][0-9]{1,2}(:?[0-9]{2})?)\s*$"
    fine = r"\.[0-9]{6}[0-9]*[1-9]"
    rules = {
        "BOOLEAN": "false",
        "DATE": f"TRY_CAST({t} AS TIMESTAMP) IS DISTINCT FROM CAST({v} AS TIMESTAMP) OR {_no_instant(t)}",
        "TIMESTAMP": f"{_no_instant(t)} OR regexp_matches({t}, '{zoned}') OR regexp_matches({t}, '{fine}')",
        "TIMESTAMPTZ": f"{_no_instant(t)} OR regexp_matches({t}, '{fine}')",
        "DOUBLE": f"isinf({v}) AND NOT contains(lower({t}), 'inf')",
        "REAL": f"isinf({v}) AND NOT contains(lower({t}), 'inf')",
    }
    if name in ("DECIMAL", "TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT", "HUGEINT") or name.startswith("U"):
        scale = int(to.rstrip(")").split(",")[1]) if "," in to else (3 if to == "DECIMAL" else 0)
        fits = rf"\s*[+-]?[0-9]*(\.[0-9]{{0,{scale}}}0*)?\s*"
        # With an exponent the text says nothing about the digits; the double must come out the same.
        exponent = (
            f"regexp_full_match({t}, '{number}') AND CAST({v} AS DOUBLE) IS NOT DISTINCT FROM TRY_CAST({t} AS DOUBLE)"
        )
        rule = f"NOT (regexp_full_match({t}, '{fits}') OR (regexp_matches({t}, '[eE]') AND {exponent}))"
        if name == "UUID":
            rule = "false"
    else:
        rule = rules.get(name, "false")
    return f"({t} IS NOT NULL AND ({v} IS NULL OR ({rule})))"


def _no_instant(t: str) -> str:
    """SQL: whether the text is one of the words, such as `epoch` and `infinity`, that the engine takes for a date."""
    return rf"NOT regexp_matches({t}, '^\s*[0-9]')"


def place(path: Path, paths: Sequence[Path], malformed: Sequence[int] = ()) -> str:
    """Return SQL for which record a row is, over POSITION; the file is named where there are several.

    `malformed` are the numbers of sound records before each line that was taken out of the file.
    """
    position = POSITION
    if malformed:
        position += f" + len(list_filter([{', '.join(map(str, malformed))}], lambda b: b < {POSITION}))"
    return f"{text_sql(_file(path, paths) + 'record ')} || CAST({position} AS VARCHAR)"


def _file(path: Path, paths: Sequence[Path]) -> str:
    return f"{path.name}, " if len(paths) > 1 else ""


def write_unfit(
    con: DuckDBPyConnection,
    folder: Path,
    source: str,
    rows: str,
    columns: Mapping[str, str],
    bad: Misfits,
    position: str,
    *,
    record: str | None = None,
    types: Mapping[str, str] | None = None,
    wanted: Wanted | None = None,
) -> list[Path]:
    """Write those rows of a query that do not fit as the next reject part in `folder`; see `rejects.write_rows`."""
    path = rejects.next_part(folder)
    count = rejects.write_rows(
        con,
        path,
        f"SELECT * FROM ({rows}) AS came WHERE ({bad.any})" + (f" AND {wanted.of('came')}" if wanted else ""),
        columns,
        stage="extract",
        reason=bad.reason,
        column=bad.column,
        position=position,
        source=source,
        record=record,
        types=types,
    )
    if not count:
        path.unlink()
    return [path] if count else []


class Lines:
    """The lines of some files that are no records: taken out of copies in `scratch`, kept as rejects."""

    def __init__(self, scratch: Path, limit: RejectLimit | None) -> None:
        self._scratch, self._limit = scratch, limit
        self._rejects: list[Reject] = []
        self._before: dict[Path, list[int]] = {}
        self.copies: dict[Path, Path] = {}

    def before(self, path: Path) -> Sequence[int]:
        """Return the numbers of sound records before each line that was taken out of a file."""
        return self._before.get(path, ())

    def origin(self, path: Path) -> Path:
        """Return the file that a copy was made of; the file itself when it is none."""
        return next((origin for origin, copy in self.copies.items() if copy == path), path)

    def sift(
        self, paths: Sequence[Path], sift: Callable[[Path, Path, Callable[[Malformed], None]], Sound]
    ) -> dict[Path, Sound]:
        """Give every file to `sift` and return what is sound of those that had such lines."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        found: dict[Path, Sound] = {}
        for index, path in enumerate(paths):
            before: list[int] = []
            lines: list[Reject] = []
            keep = partial(self._keep, lines, before, _file(path, paths))
            copy = self._scratch / f"sound-{index}{path.suffix}"
            try:
                sound = sift(path, copy, keep)
            except (UnicodeError, LookupError):  # the engine says it better: its own error stands
                before.clear()
            if before:
                found[path], self.copies[path], self._before[path] = sound, copy, before
                self._rejects += lines
            else:
                copy.unlink(missing_ok=True)
        return found

    def _keep(self, lines: list[Reject], before: list[int], file: str, line: Malformed) -> None:
        record = json.dumps({"line": line.text}, ensure_ascii=False)
        lines.append(Reject("extract", line.cause, record, position=f"{file}line {line.line}"))
        before.append(line.before)
        assert self._limit is not None
        if len(self._rejects) + len(lines) > self._limit.max_rows:
            self._stop([*self._rejects[:5], *lines[:5]][:5])

    def _stop(self, examples: Sequence[Reject]) -> NoReturn:
        assert self._limit is not None
        shown = "; ".join(f"{one.position}: {one.reason}" for one in examples)
        raise TerminalError(
            f"more than {self._limit.max_rows:,} lines are no records, which is as many as dead_letters.max_rows "
            f"allows; nothing was loaded. Correct the files or the way they are read. For example: {shown}"
        )

    def write(self, folder: Path, source: str) -> list[Path]:
        """Write the lines as a reject part, if there are any."""
        if not self._rejects:
            return []
        path = rejects.next_part(folder)
        rejects.write(path, (replace(reject, source=source) for reject in self._rejects))
        return [path]
