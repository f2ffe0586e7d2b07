"""From what a source extracted to a typed view in the engine.

Parquet and Arrow batches have types. CSV and JSON have none, so they are typed over all rows (`runtime.inference`).

CSV is typed optimistically: the types come from the first rows, and the view checks every value on its way, strictly,
that it means exactly what its text says. That costs half as much CPU again as reading with types unchecked (2 million
rows of 12 columns, 350 MB: 1.3 against 0.85 CPU seconds), where a pass over all rows beforehand costs 0.8 to read the
texts alone. A value that does not fit fails the query with an assumption failure; `Landed.widen` then types over all
rows and replaces the view.
A value is therefore never changed in silence, whichever row it stands in, and the types do not depend on row order.

Where a pipeline keeps dead letters, reading begins in the same way, and costs the same. Only when a value or a line
breaks it, `Landed.sift` replaces the view by one without such records, and `Landed.write_rejects` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dataforge.components.base import Batches, Extracted, Files, Records
from dataforge.components.database import quote_identifier as name_sql
from dataforge.components.database import quote_literal as text_sql
from dataforge.components.delimited import first_record, unique_names
from dataforge.components.delivery import RejectLimit
from dataforge.components.lattice import Seen
from dataforge.components.wide_decimals import held_batch, held_schema
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError
from dataforge.runtime.inference import is_fixed, is_fixed_json, json_misfit, json_parts, json_seen, misfit, text_seen
from dataforge.runtime.malformed import SUSPECT, TOO_DEEP, Sound, json_fault, sift_csv, sift_json
from dataforge.runtime.sieve import POSITION, Lines, Misfits, Sieve, Wanted, misfits, place, told, unfit, write_unfit

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from dataforge.runtime.engines.duckdb_ import Handed

SAMPLE_ROWS = 20_480
ASSUMPTION = "dataforge-assumption"
VALUE = "dataforge-value"
_FILE = '"dataforge file"'
_RECORD = '"dataforge record"'
UNKNOWN = ""
"""The assumed type of a column without any value in the sample: it becomes a nullable text if none follows."""

T = TypeVar("T")


@dataclass
class Landed:
    """A typed view in the engine.

    `columns` are names to DuckDB types. While `assumed`, the types come from the first rows and reading may end in an
    assumption failure; then call `widen` and read again. A view that is `once` can be read one time only.
    """

    view: str
    columns: dict[str, str]
    assumed: bool = False
    once: bool = False
    _widen: Callable[[], dict[str, str]] | None = field(default=None, repr=False)
    _stream: Handed | None = field(default=None, repr=False)
    _sieve: Sieve | None = field(default=None, repr=False)
    _wanted: Wanted | None = field(default=None, repr=False)

    @property
    def failure(self) -> Exception | None:
        """What broke the source's stream, as it was raised; for the engine the stream just ended."""
        return self._stream.failure if self._stream is not None else None

    def refuse_broken(self) -> None:
        """Raise what broke the source's stream: call it after reading, before what was read is used."""
        if self._stream is not None:
            self._stream.refuse_broken()

    def widen(self) -> None:
        """Type over all rows and replace the view; nothing changes where the types were not assumed."""
        if self._widen is not None:
            self.columns, self.assumed, self._widen = self._widen(), False, None

    def sift(self, error: BaseException) -> bool:
        """Leave out, from now on, records such as the one that reading ended with; False where that can't be done.

        With True the view was replaced: read again from the front.
        """
        if self._sieve is None:
            return False
        known = error if isinstance(error, DataForgeError) else explain(error)
        if isinstance(known, UnfitValueError):
            return self._sieve.sift_values()
        return isinstance(known, MalformedError) and self._sieve.sift_lines()

    def write_rejects(self, folder: Path, source: str) -> list[Path]:
        """Write the records that were left out as reject parts into `folder`; return their paths."""
        return self._sieve.write(folder, source, self._wanted) if self._sieve is not None else []

    def only(self, column: str, condition: str) -> None:
        """Take as rejects only records for which the condition, SQL over that column, is true or can't be told."""
        self._wanted = Wanted(column, self.columns[column], condition)


class UnfitValueError(TerminalError):
    """A value is not exactly of the type that the config gives to its column."""


class MalformedError(TerminalError):
    """A line of a file is no record."""


class NoRecordsError(TerminalError):
    """Nothing was extracted and nothing tells the columns; with types for them in the config there is an empty view."""


def is_assumption_failure(error: BaseException) -> bool:
    """Whether reading failed since a value does not fit the types taken from the first rows."""
    return ASSUMPTION in str(error)


def explain(error: BaseException) -> DataForgeError | None:
    """Return the engine's error about an input file or value as ours, with its place; None when it is about neither."""
    text = str(error)
    if VALUE in text:
        return UnfitValueError(text.split(f"{VALUE}: ", 1)[1].split("\n")[0])
    if "CSV Error on Line" in text:
        return MalformedError(_csv_error(text))
    if "Malformed JSON" in text or "JSON transform error" in text:
        return MalformedError(_short_names(text.split("\n")[0].split("Try setting")[0].strip()))
    if "maximum recursion depth" in text:
        return MalformedError(f"a JSON record is {TOO_DEEP}; flatten it, or let 'dead_letters' keep such records aside")
    if '"maximum_object_size"' in text:
        return TerminalError("a JSON record is larger than 16 MB: " + _short_names(text.split("\n")[0]))
    if "Invalid unicode" in text or "not utf-8" in text:
        return TerminalError("the file is not UTF-8; set 'encoding'")
    return None


def land(
    con: DuckDBPyConnection,
    name: str,
    extracted: Extracted,
    *,
    overrides: Mapping[str, str] | None = None,
    scratch: Path,
    sample: int | None = None,
    limit: RejectLimit | None = None,
) -> Landed:
    """Make a view called `name` in `con` over what was extracted, every column typed; at most `sample` rows.

    `overrides` are column names to SQL types: such columns are cast strictly, and a value that does not fit ends the
    read with a TerminalError (through `explain`) that names column and value. With an enabled `limit`, such records
    can be left out (`Landed.sift`). ConfigError for an unknown column or type; TerminalError for a file that can't be
    read.
    """
    aside = limit if limit is not None and limit.enabled else None
    types = {column: sql_type(column, text) for column, text in (overrides or {}).items()}
    if isinstance(extracted, Records):
        extracted = Files("json", (_spool(extracted, scratch, sample),), {"format": "newline_delimited"})
    if isinstance(extracted, Batches):
        if not types or aside is None:
            return _land_batches(con, name, extracted, types, sample)
        # records are told apart in a second pass, which a stream does not have
        _check_known(extracted.reader.schema.names, types)
        extracted = Files("parquet", (_spool_stream(con, extracted, scratch),))
    if extracted.format == "parquet" and extracted.paths:
        paths = _held(con, extracted.paths, scratch, sample)
        return _land_typed(con, name, _parquet(paths), types, sample, paths if aside else ())
    try:
        if not extracted.paths:
            raise NoRecordsError("there are no files to read")
        if extracted.format == "csv":
            return _Csv(con, name, extracted, types, sample, Lines(scratch, aside) if aside else None).land()
        return _Json(con, name, extracted, types, sample, Lines(scratch, aside) if aside else None).land()
    except NoRecordsError:
        if not types:
            raise
    empty = ", ".join(f"CAST(NULL AS {type_}) AS {name_sql(column)}" for column, type_ in types.items())
    _create(con, name, f"SELECT {empty} WHERE false")
    return Landed(name, types)


def _parquet(paths: Sequence[Path]) -> str:
    union = ", union_by_name = true" if len(paths) > 1 else ""
    return f"read_parquet({_list(map(str, paths))}{union})"


def _held(con: DuckDBPyConnection, paths: Sequence[Path], scratch: Path, sample: int | None) -> list[Path]:
    """Return the files, those with decimals that the engine does not have as copies in scratch that it can read."""
    wide = _query(con, f"SELECT DISTINCT file_name FROM parquet_schema({_list(map(str, paths))}) WHERE precision > 38")
    if not wide:
        return list(paths)
    import pyarrow.parquet as pq

    copies: dict[str, Path] = {}
    for index, (path,) in enumerate(wide):
        copies[path] = scratch / f"decimals-{index}" / Path(path).name
        copies[path].parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema, rows = held_schema(file.schema_arrow), 0
            with pq.ParquetWriter(copies[path], schema) as copy:
                for batch in file.iter_batches(batch_size=SAMPLE_ROWS):
                    copy.write_batch(held_batch(batch, schema))
                    rows += batch.num_rows
                    if sample is not None and rows >= sample:
                        break
    return [copies.get(str(path), path) for path in paths]


def sql_type(column: str, text: str) -> str:
    """Return the SQL type that a config names, in DuckDB's spelling; ConfigError when it is none."""
    from dataforge.components.sql import parse_type

    return parse_type(text, "columns", column).sql("duckdb")


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(text_sql, texts))}]"


def _query(con: DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; what the engine says about a file comes out as a TerminalError."""
    import duckdb

    try:
        # A cursor of its own: the caller's connection may still hold a result that is being read.
        with con.cursor() as cursor:
            return cursor.execute(sql).fetchall()
    except duckdb.Error as error:
        raise explain(error) or TerminalError(f"can't be read: {_short_names(str(error).splitlines()[0])}") from None


def _create(con: DuckDBPyConnection, name: str, select: str, temporary: bool = False) -> None:
    kind = "TEMP VIEW" if temporary else "VIEW"
    con.execute(f"CREATE OR REPLACE {kind} {name_sql(name)} AS {select}")


def _limit(sample: int | None) -> str:
    return "" if sample is None else f" LIMIT {int(sample)}"


def _aggregates(kinds: str, digits: str, scale: str) -> tuple[str, str, str]:
    return f"bit_or({kinds})", f"max({digits})", f"max({scale})"


def _check_known(columns: Iterable[str], types: Mapping[str, str]) -> None:
    import difflib

    known = list(columns)
    problems = []
    for column in types:
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(known[:30])}"
            message = f"the source has no column {column!r}"
            problems.append(Problem("unknown-column", message, ("columns", column), hint, tuple(known)))
    if problems:
        raise ConfigError(problems)


# ---- Typed input


def _land_batches(
    con: DuckDBPyConnection, name: str, batches: Batches, types: Mapping[str, str], sample: int | None
) -> Landed:
    from dataforge.runtime.engines.duckdb_ import Handed

    stream = f"{name} stream" if types or sample is not None else name
    _check_known(batches.reader.schema.names, types)
    handed = Handed(batches.reader)
    con.register(stream, handed.reader)
    if stream == name:
        columns = _described(con, name)
        return Landed(name, columns, once=True, _stream=handed)
    landed = _land_typed(con, name, name_sql(stream), types, sample, temporary=True)
    return replace(landed, once=True, _stream=handed)


def _land_typed(
    con: DuckDBPyConnection,
    name: str,
    source: str,
    types: Mapping[str, str],
    sample: int | None,
    files: Sequence[Path] = (),
    *,
    temporary: bool = False,
) -> Landed:
    described = _describe(con, f"SELECT * FROM {source}")
    _check_known(described, types)
    typed = _Typed(con, name, source, described, types, sample, files)
    typed.create(temporary)
    return Landed(name, _described(con, name), _sieve=typed if files and typed.changes else None)


class _Typed:
    """Records that came with types, some of them to be changed."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        name: str,
        source: str,
        described: Mapping[str, str],
        types: Mapping[str, str],
        sample: int | None,
        files: Sequence[Path],
    ) -> None:
        self.con, self.name, self.source, self.sample, self.files = con, name, source, sample, files
        self.described = described
        self.changes = {
            column: (type_, types[column]) for column, type_ in described.items() if types.get(column, type_) != type_
        }
        self.sifted = False

    def create(self, temporary: bool = False) -> None:
        """Make the view."""
        cast = _fitting if self.sifted else _strict
        items = []
        for column in self.described:
            value = name_sql(column)
            if column in self.changes:
                value = f"{cast(column, value, *self.changes[column])} AS {value}"
            items.append(value)
        where = f" WHERE NOT ({misfits(self.changes).any})" if self.sifted else ""
        select = f"SELECT {', '.join(items)} FROM {self.source}{where}{_limit(self.sample)}"
        _create(self.con, self.name, select, temporary)

    def sift_values(self) -> bool:
        """Leave out records with a value that is not of its type."""
        if self.sifted:
            return False
        self.sifted = True
        self.create()
        return True

    def sift_lines(self) -> bool:
        """Return False: there are no lines."""
        return False

    def write(self, folder: Path, source: str, wanted: Wanted | None) -> list[Path]:
        """Write the records left out, file by file, with the types they came with."""
        found = []
        for path in self.files if self.sifted else ():
            read = _parquet([path])
            columns = _describe(self.con, f"SELECT * FROM {read}")
            bad = misfits(self.changes).of(columns)
            if bad.fits and _query(self.con, f"SELECT count(*) FROM {read} WHERE {bad.any}")[0][0]:
                rows = f"SELECT *, row_number() OVER () AS {POSITION} FROM {read}"
                where = place(path, self.files)
                some = wanted if wanted is not None and wanted.column in columns else None
                found += write_unfit(self.con, folder, source, rows, columns, bad, where, wanted=some)
        return found


def _spool_stream(con: DuckDBPyConnection, batches: Batches, scratch: Path) -> Path:
    """Write a stream into scratch by the engine, types and all; an error of the source comes out as it is."""
    from dataforge.runtime.engines.duckdb_ import Handed

    handed = Handed(batches.reader)
    path = scratch / "stream.parquet"
    scratch.mkdir(parents=True, exist_ok=True)
    con.register("stream to keep", handed.reader)
    try:
        con.execute(f'COPY (FROM "stream to keep") TO {text_sql(str(path))} (FORMAT parquet)')
    except Exception:
        handed.refuse_broken()
        raise
    finally:
        con.unregister("stream to keep")
    handed.refuse_broken()
    return path


def _describe(con: DuckDBPyConnection, select: str) -> dict[str, str]:
    import duckdb

    try:
        rows = con.execute(f"DESCRIBE {select}").fetchall()
    except duckdb.Error as error:
        raise explain(error) or TerminalError(f"can't be read: {_short_names(str(error).splitlines()[0])}") from None
    return {row[0]: row[1] for row in rows}


def _described(con: DuckDBPyConnection, name: str) -> dict[str, str]:
    return _describe(con, f"SELECT * FROM {name_sql(name)}")


# ---- Strict casts


def _strict(column: str, value: str, from_: str, to: str) -> str:
    """Return SQL that casts `value` and fails, naming column and value, where the cast would change it."""
    if to == "TEXT":
        return f"CAST({value} AS VARCHAR)"
    failure = f"error({text_sql(f'{VALUE}: ')} || {told(column, value, to)})"
    return f"CASE WHEN {unfit(value, from_, to)} THEN {failure} ELSE TRY_CAST({value} AS {to}) END"


def _fitting(column: str, value: str, from_: str, to: str) -> str:  # noqa: ARG001 - takes what _strict takes
    """Return SQL that casts `value` where all that does not fit was left out."""
    return f"CAST({value} AS VARCHAR)" if to == "TEXT" else f"TRY_CAST({value} AS {to})"


# ---- Untyped input


class _Csv:
    """CSV files: read as text, converted by a strict projection."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        name: str,
        files: Files,
        types: Mapping[str, str],
        sample: int | None,
        lines: Lines | None,
    ) -> None:
        self.con, self.name, self.types, self.sample, self.lines = con, name, types, sample, lines
        self.options, self.paths = files.options, files.paths
        self.sifted = False
        self.created: tuple[Mapping[str, str], bool] | None = None
        self.groups: dict[tuple[str, ...], list[Path]] = {}
        for path in files.paths:
            if header := self._header(path):
                self.groups.setdefault(header, []).append(path)
        if not self.groups:
            raise NoRecordsError(f"{_names(files.paths)}: no header and no record in it")
        self.columns = list(dict.fromkeys(column for header in self.groups for column in header))
        _check_known(self.columns, types)
        self.inferred = [column for column in self.columns if column not in types]
        # Beside each converted column stands its text, under a name that no column has.
        self.mark = " text"
        while any(f"{column}{self.mark}".lower() in map(str.lower, self.columns) for column in self.columns):
            self.mark += "'"

    def land(self) -> Landed:
        """Make the view with types from the first rows."""
        head = SAMPLE_ROWS if self.sample is None else min(SAMPLE_ROWS, self.sample)
        seen = self._sound(lambda: self._see(self.inferred, head))
        assumed = {column: (seen[column].type if seen[column].kinds else UNKNOWN) for column in self.inferred}
        self._create(assumed, checked=True)
        widen = partial(self._sound, partial(self._widen, assumed))
        sieve = self if self.lines is not None else None
        return Landed(self.name, self._shown(assumed), True, False, widen, _sieve=sieve)

    def _sound(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, a second time without malformed lines where those may be left out."""
        try:
            return action()
        except MalformedError:
            if not self.sift_lines():
                raise
            return action()

    def sift_values(self) -> bool:
        """Leave out records with a value that is not of its type."""
        if self.sifted or self.created is None:
            return False
        self.sifted = True
        types, checked = self.created
        self._create(types, checked=checked)
        return True

    def sift_lines(self) -> bool:
        """Leave out lines that are no records; False when there are none, or when that was done before."""
        if self.lines is None or self.lines.copies:
            return False
        widths = {path: len(header) for header, paths in self.groups.items() for path in paths}
        sound = self.lines.sift(
            tuple(widths), lambda path, copy, found: sift_csv(path, copy, self.options, widths[path], found)
        )
        copies = self.lines.copies
        for header, paths in self.groups.items():
            for path in paths:
                if path in sound:
                    self._check_count(header, sound[path])
            self.groups[header] = [copies.get(path, path) for path in paths]
        if sound and self.created is not None:
            types, checked = self.created
            self._create(types, checked=checked)
        return bool(sound)

    def _check_count(self, header: Sequence[str], sound: Sound) -> None:
        count = _query(self.con, f"SELECT count(*) FROM {self._read(header, [sound.path])}")[0][0]
        if not sound.records <= count <= sound.records + sound.blanks:
            raise TerminalError(
                f"{_names(self.paths)}: there are lines that are no records, and it is not clear how many records "
                f"there are besides: {count:,} or {sound.records:,}; correct the file"
            )

    def write(self, folder: Path, source: str, wanted: Wanted | None) -> list[Path]:
        """Write the records left out, file by file; a record's position is that in the file as it came."""
        if self.lines is None or self.created is None:
            return []
        found = self.lines.write(folder, source)
        inferred = {column: type_ or "VARCHAR" for column, type_ in self.created[0].items()}
        for header, paths in self.groups.items() if self.sifted else ():
            bad = self._misfits().of(header)
            if not bad.fits:
                continue
            read = f"SELECT {_FILE} FROM {self._read(header, paths, named=True)} WHERE {bad.any}"
            files = {name for (name,) in _query(self.con, f"SELECT DISTINCT {_FILE} FROM ({read})")}
            for path in paths:
                if str(path) in files:
                    origin = self.lines.origin(path)
                    where = place(origin, self.paths, self.lines.before(origin))
                    rows = f"SELECT *, row_number() OVER () AS {POSITION} FROM {self._read(header, [path])}"
                    columns = dict.fromkeys(header, "VARCHAR")
                    some = wanted if wanted is not None and wanted.column in columns else None
                    found += write_unfit(
                        self.con, folder, source, rows, columns, bad, where, types=inferred, wanted=some
                    )
        return found

    def _misfits(self) -> Misfits:
        return misfits({column: ("VARCHAR", to) for column, to in self.types.items()})

    def _widen(self, assumed: dict[str, str]) -> dict[str, str]:
        counts = {}
        for column, type_ in assumed.items():
            if bad := self._misfit(column, type_):
                counts[column] = f"count(*) FILTER ({bad})"
        narrow: list[str] = []
        if counts:
            row = _query(self.con, f"SELECT {', '.join(counts.values())} FROM ({self._converted(assumed)})")[0]
            narrow = [column for column, bad in zip(counts, row, strict=True) if bad]
        types = {**assumed, **{column: seen.type for column, seen in self._see(narrow).items()}}
        self._create(types, checked=False)
        return self._shown(types)

    def _shown(self, types: Mapping[str, str]) -> dict[str, str]:
        return {column: self.types.get(column) or types[column] or "VARCHAR" for column in self.columns}

    def _see(self, columns: Sequence[str], limit: int | None = None) -> dict[str, Seen]:
        """Return what all rows (or the first `limit`) show of some columns, in one pass."""
        if not columns:
            return {}
        # One expression over all values, not one for each column: planning those takes longer than a small file.
        texts = ", ".join(map(name_sql, columns))
        values = f"SELECT unnest([{texts}]) AS t, unnest(range({len(columns)})) AS c"
        rows = _query(
            self.con,
            f"SELECT c, {', '.join(_aggregates(*text_seen('t', 'fixed')))} FROM (SELECT c, t, {is_fixed('t')} AS fixed "
            f"FROM ({values} FROM (SELECT * FROM {self._text()}{_limit(limit)})) WHERE t IS NOT NULL) GROUP BY c",
        )
        found = {columns[index]: Seen(kinds, int(digits or 0), int(scale or 0)) for index, kinds, digits, scale in rows}
        return {column: found.get(column, Seen()) for column in columns}

    def _create(self, types: Mapping[str, str], *, checked: bool) -> None:
        self.created = types, checked
        cast = _fitting if self.sifted else _strict
        items = []
        for column in self.columns:
            quoted, text = name_sql(column), self._text_of(column)
            if column in self.types:
                items.append(f"{cast(column, quoted, 'VARCHAR', self.types[column])} AS {quoted}")
            elif checked and (bad := self._misfit(column, types[column])):
                failure = f"error({text_sql(f'{ASSUMPTION}: ')} || left({text}, 40))"
                items.append(f"CASE WHEN {bad} THEN {failure} ELSE {quoted} END AS {quoted}")
            else:
                items.append(quoted)
        inner = self._converted(types, text=checked)
        where = f" WHERE NOT ({self._misfits().any})" if self.sifted else ""
        _create(self.con, self.name, f"SELECT {', '.join(items)} FROM ({inner}){where}{_limit(self.sample)}")

    def _text_of(self, column: str) -> str:
        return name_sql(f"{column}{self.mark}")

    def _misfit(self, column: str, type_: str) -> str | None:
        text = self._text_of(column)
        return f"{text} IS NOT NULL" if type_ == UNKNOWN else misfit(type_, text, name_sql(column))

    def _converted(self, types: Mapping[str, str], *, text: bool = True) -> str:
        """SQL for every column converted and, where a check needs it, as text beside it.

        Two levels, since the engine would compute a cast once for the check and once for the value otherwise.
        """
        items = []
        for column in self.columns:
            quoted, type_ = name_sql(column), types.get(column, "VARCHAR")
            if type_ in (UNKNOWN, "VARCHAR"):
                items.append(quoted)
            else:
                items.append(f"{'TRY_CAST' if text else 'CAST'}({quoted} AS {type_}) AS {quoted}")
            if text and column in types and type_ != "VARCHAR":
                items.append(f"{quoted} AS {self._text_of(column)}")
        return f"SELECT {', '.join(items)} FROM {self._text()}"

    def _text(self) -> str:
        """SQL for the files as a table of texts; files with the same header are read together."""
        reads = [f"SELECT * FROM {self._read(header, paths)}" for header, paths in self.groups.items()]
        return f"({' UNION ALL BY NAME '.join(reads)})"

    def _read(self, header: Sequence[str], paths: Iterable[Path], *, named: bool = False) -> str:
        options = self.options
        columns = ", ".join(f"{text_sql(column)}: 'VARCHAR'" for column in header)
        arguments = {
            "columns": f"{{{columns}}}",
            "auto_detect": "false",
            "header": "true" if options.get("header", True) else "false",
            "delim": text_sql(str(options.get("delimiter") or ",")),
            "quote": text_sql(str(options.get("quote", '"') or "")),
            "escape": text_sql(str(options.get("escape", '"') or "")),
            "nullstr": _list(options.get("null_values", [""])),
            "skip": str(int(options.get("skip_rows") or 0)),
        }
        if options.get("comment"):
            arguments["comment"] = text_sql(str(options["comment"]))
        if options.get("encoding"):
            arguments["encoding"] = text_sql(str(options["encoding"]))
        if named:
            arguments["filename"] = text_sql(_FILE.strip('"'))
        given = ", ".join(f"{key} = {value}" for key, value in arguments.items())
        return f"read_csv({_list(str(path) for path in paths)}, {given})"

    def _header(self, path: Path) -> tuple[str, ...]:
        """Return the column names of a file, made unique; nothing for an empty file."""
        record = first_record(path, self.options)
        if record is None:
            return ()
        if not self.options.get("header", True):
            return tuple(f"column{index}" for index in range(len(record)))
        return unique_names(record)


class _Json:
    """JSON files: the keys and kinds of all records are read first, then the records with their types."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        name: str,
        files: Files,
        types: Mapping[str, str],
        sample: int | None,
        lines: Lines | None,
    ) -> None:
        self.con, self.name, self.types, self.sample, self.lines = con, name, types, sample, lines
        self.sifted = False
        self.inferred: dict[str, str] = {}
        self.paths = [path for path in files.paths if path.stat().st_size]
        self.format = str(files.options.get("format") or "newline_delimited")
        self.all_paths = files.paths

    def land(self) -> Landed:
        """Make the view; its types are final."""
        try:
            return self._land()
        except MalformedError:
            if not self.sift_lines():
                raise
            return self._land()

    def _land(self) -> Landed:
        keys = self._keys() if self.paths else []
        if not keys:
            if self.lines is not None and self.lines.copies:
                raise TerminalError(f"{_names(self.all_paths)}: no line is a record; nothing was loaded")
            raise NoRecordsError(f"{_names(self.all_paths)}: no record with a key in it")
        self.columns = dict(zip(unique_names(keys), keys, strict=True))
        # Keys that differ only in case are one name to the engine's reader; those are taken out one by one.
        self.direct = list(self.columns) == keys
        _check_known(self.columns, self.types)
        self.inferred = self._types([column for column in self.columns if column not in self.types])
        self._create()
        columns = {column: self.types.get(column) or self.inferred[column] for column in self.columns}
        return Landed(self.name, columns, _sieve=self if self.lines is not None else None)

    def _create(self) -> None:
        types, items = self.inferred, []
        cast = _fitting if self.sifted else _strict
        for column in self.columns:
            quoted = name_sql(column)
            to = self.types.get(column)
            value = cast(column, quoted, "VARCHAR", to) if to else self._value(quoted, types[column])
            items.append(f"{value} AS {quoted}")
        read = self._read({column: _read_type(types.get(column, "VARCHAR")) for column in self.columns})
        where = f" WHERE NOT ({self._misfits().any})" if self.sifted else ""
        _create(self.con, self.name, f"SELECT {', '.join(items)} FROM {read}{where}{_limit(self.sample)}")

    def _misfits(self) -> Misfits:
        return misfits({column: ("VARCHAR", to) for column, to in self.types.items()})

    def sift_values(self) -> bool:
        """Leave out records with a value that is not of its type."""
        if self.sifted:
            return False
        self.sifted = True
        self._create()
        return True

    def sift_lines(self) -> bool:
        """Leave out lines that are no JSON objects; False when there are none, or when that was done before."""
        if self.lines is None or self.lines.copies or self.format != "newline_delimited":
            return False
        sound = self.lines.sift(self.paths, sift_json)
        copies = self.lines.copies
        self.paths = [path for path in (copies.get(path, path) for path in self.paths) if path.stat().st_size]
        for one in sound.values():
            count = _query(self.con, f"SELECT count(*) FROM {self._objects([one.path])}")[0][0] if one.records else 0
            if count != one.records:
                raise TerminalError(
                    f"{_names(self.all_paths)}: there are lines that are no records, and it is not clear how many "
                    f"records there are besides: {count:,} or {one.records:,}; correct the file"
                )
        return bool(sound)

    def write(self, folder: Path, source: str, wanted: Wanted | None) -> list[Path]:
        """Write the records left out as they stand in the files."""
        if self.lines is None:
            return []
        found = self.lines.write(folder, source)
        bad, texts = self._misfits(), dict.fromkeys(self.types, "VARCHAR")
        if wanted is not None:
            texts[wanted.column] = "VARCHAR"
        for path in self.paths if self.sifted else ():
            read = self._read(texts, [path])
            if not _query(self.con, f"SELECT count(*) FROM {read} WHERE {bad.any}")[0][0]:
                continue
            # the same reader as the view's says which records are bad; only their number leads to the text
            numbered = f"SELECT *, row_number() OVER () AS {POSITION} FROM"
            rows = (
                f"SELECT * FROM ({numbered} (SELECT json AS {_RECORD} FROM {self._objects([path])})) "
                f"JOIN (SELECT * FROM ({numbered} {read}) WHERE {bad.any}) USING ({POSITION})"
            )
            origin = self.lines.origin(path)
            where = place(origin, self.all_paths, self.lines.before(origin))
            record, types = f"CAST({_RECORD} AS VARCHAR)", self.inferred
            found += write_unfit(
                self.con, folder, source, rows, texts, bad, where, record=record, types=types, wanted=wanted
            )
        return found

    def _value(self, quoted: str, type_: str) -> str:
        if type_ == "JSON":
            return f"CAST(nullif(CAST({quoted} AS VARCHAR), 'null') AS JSON)"
        return quoted if _read_type(type_) == type_ else f"CAST({quoted} AS {type_})"

    def _keys(self) -> list[str]:
        """Return the keys of all records: first those of the first records in their order, then the others by name."""
        source = self._objects()
        head = _query(self.con, f"SELECT json_keys(json) FROM {source} LIMIT 1000")
        ordered = dict.fromkeys(key for (keys,) in head for key in keys or ())
        rows = _query(
            self.con,
            f"SELECT json_type(json) AS kind, json_keys(json) AS keys, min(left(json::VARCHAR, 40)), "
            f"bool_or(regexp_matches(json::VARCHAR, {text_sql(SUSPECT)})) "
            f"FROM (SELECT json FROM {source}{_limit(self.sample)}) GROUP BY ALL",
        )
        for kind, _, example, _ in rows:
            if kind != "OBJECT":
                raise MalformedError(
                    f"{_names(self.all_paths)}: {example!r} is no JSON object; set 'records' to the path of the list"
                )
        if any(suspect for *_, suspect in rows):
            self._refuse_lenient()
        others = sorted({key for _, keys, *_ in rows for key in keys or ()} - set(ordered))
        return [*ordered, *others]

    def _refuse_lenient(self) -> None:
        """Raise MalformedError when a record has NaN or an infinity, or is nested too deeply: the engine takes both."""
        for path in self.paths:
            numbered = f"SELECT row_number() OVER () AS n, json::VARCHAR AS text FROM {self._objects([path])}"
            with self.con.cursor() as cursor:
                cursor.execute(f"SELECT * FROM ({numbered}) WHERE regexp_matches(text, {text_sql(SUSPECT)})")
                while rows := cursor.fetchmany(1_000):
                    for number, text in rows:
                        if cause := json_fault(text.encode()):
                            raise MalformedError(
                                f"{_names([path])}, record {number}: {cause}; null stands for no value"
                            )

    def _types(self, columns: Sequence[str]) -> dict[str, str]:
        """Return the types of columns over all rows.

        Those of the first rows are held against all rows by cheap tests; only columns that fail are seen in full.
        """
        head = SAMPLE_ROWS if self.sample is None else min(SAMPLE_ROWS, self.sample)
        found = {column: (seen.type if seen.kinds else UNKNOWN) for column, seen in self._see(columns, head).items()}
        tests, inner = {}, []
        for index, (column, type_) in enumerate(found.items()):
            text = f"j{index}"
            bad = f"{text} IS NOT NULL" if type_ == UNKNOWN else json_misfit(type_, text, f"t{index}", f"v{index}")
            if bad:
                tests[column] = f"count(*) FILTER ({bad})"
                parts = json_parts(type_ or "VARCHAR", text)
                inner.append(f"{text}, {parts[0]} AS t{index}, {parts[1]} AS v{index}")
        if tests:
            kept = [column if column in tests else None for column in found]
            read = f"SELECT {', '.join(inner)} FROM ({self._plain(kept, self.sample)})"
            row = _query(self.con, f"SELECT {', '.join(tests.values())} FROM ({read})")[0]
            late = [column for column, bad in zip(tests, row, strict=True) if bad]
            found |= {column: seen.type for column, seen in self._see(late, self.sample).items()}
        return {column: type_ or "VARCHAR" for column, type_ in found.items()}

    def _see(self, columns: Sequence[str], limit: int | None) -> dict[str, Seen]:
        """Return what all rows (or the first `limit`) show of some columns."""
        if not columns:
            return {}
        texts = [f"j{index}" for index in range(len(columns))]
        inner = ", ".join(f"{text}, {is_fixed_json(text)} AS f{text}" for text in texts)
        items = [part for text in texts for part in _aggregates(*json_seen(text, f"f{text}"))]
        read = f"SELECT {inner} FROM ({self._plain(columns, limit)})"
        row = _query(self.con, f"SELECT {', '.join(items)} FROM ({read})")[0]
        parts = [Seen(*(int(value or 0) for value in row[index : index + 3])) for index in range(0, len(row), 3)]
        return dict(zip(columns, parts, strict=True))

    def _plain(self, columns: Sequence[str | None], limit: int | None) -> str:
        """SQL for columns as JSON texts `j0`, `j1` …, null as NULL; None leaves a number out."""
        texts = {f"j{index}": name_sql(column) for index, column in enumerate(columns) if column is not None}
        items = ", ".join(f"nullif(CAST({quoted} AS VARCHAR), 'null') AS {text}" for text, quoted in texts.items())
        kinds = dict.fromkeys((column for column in columns if column is not None), "JSON")
        return f"SELECT {items} FROM {self._read(kinds)}{_limit(limit)}"

    def _objects(self, paths: Sequence[Path] | None = None) -> str:
        files = _list(map(str, self.paths if paths is None else paths))
        return f"read_json_objects({files}, format = {text_sql(self.format)})"

    def _read(self, types: Mapping[str, str], paths: Sequence[Path] | None = None) -> str:
        if self.direct:
            columns = ", ".join(f"{text_sql(column)}: {text_sql(type_)}" for column, type_ in types.items())
            files = _list(map(str, self.paths if paths is None else paths))
            return f"read_json({files}, format = {text_sql(self.format)}, columns = {{{columns}}})"
        items = []
        for column, type_ in types.items():
            pointer = text_sql("/" + self.columns[column].replace("~", "~0").replace("/", "~1"))
            value = f"json -> {pointer}" if type_ == "JSON" else f"CAST(json ->> {pointer} AS {type_})"
            items.append(f"{value} AS {name_sql(column)}")
        return f"(SELECT {', '.join(items)} FROM {self._objects(paths)})"


def _read_type(type_: str) -> str:
    """Return the type to ask of the JSON reader; others are cast from their exact text."""
    return type_ if type_ in ("BOOLEAN", "BIGINT", "DOUBLE", "JSON", "VARCHAR") else "VARCHAR"


def _spool(records: Records, scratch: Path, sample: int | None) -> Path:
    """Write pages of records as NDJSON into scratch, exactly (decimals keep their digits); return the file."""
    import msgspec

    encoder = msgspec.json.Encoder(decimal_format="number")
    path = scratch / "records.ndjson"
    scratch.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("wb") as out:
        for page in records.pages:
            out.write(encoder.encode_lines(page))
            count += len(page)
            if sample is not None and count >= sample:
                break
    return path


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more files"


def _short_names(text: str) -> str:
    """Return an engine's message without the folders of this machine."""
    import re

    return re.sub(r'"?/(?:[^\s"/]+/)+([^\s"/]+)"?', r"\1", text)


def _csv_error(text: str) -> str:
    """Return the engine's CSV error as one sentence: file, line, what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    number = lines[0].rsplit(":", 1)[-1].strip()
    file = next((Path(line.split("=", 1)[1].strip()).name for line in lines if line.startswith("file =")), "the file")
    cause = "the line can't be read"
    for line in lines[1:]:
        if line.startswith("Expected Number of Columns"):
            expected, found = (part for part in line.replace("Expected Number of Columns:", "").split("Found:"))
            cause = f"{found.strip()} fields where the header has {expected.strip()}"
        elif "unterminated quote" in line:
            cause = "a quoted value has no closing quote"
        elif "Invalid unicode" in line:
            cause = "a byte is not UTF-8; set 'encoding'"
        elif "Maximum line size" in line or "max_line_size" in line.lower():
            cause = "the line is longer than 2 MB"
    return f"{file}, line {number}: {cause}"
