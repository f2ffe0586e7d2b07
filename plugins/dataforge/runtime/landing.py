"""From what a source extracted to a typed view in the engine.

Parquet and Arrow batches have types. CSV and JSON have none, so they are typed over all rows (`runtime.inference`).

CSV is typed optimistically: the types come from the first rows, and the view checks every value on its way, strictly,
that it means exactly what its text says. That costs half as much CPU again as reading with types unchecked (2 million
rows of 12 columns, 350 MB: 1.3 against 0.85 CPU seconds), where a pass over all rows beforehand costs 0.8 to read the
texts alone. A value that does not fit fails the query with an assumption failure; `Landed.widen` then types over all
rows and replaces the view.
A value is therefore never changed in silence, whichever row it stands in, and the types do not depend on row order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dataforge.components.base import Batches, Extracted, Files, Records
from dataforge.components.database import quote_identifier as name_sql
from dataforge.components.database import quote_literal as text_sql
from dataforge.components.delimited import first_record, unique_names
from dataforge.components.lattice import Seen
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError
from dataforge.runtime.inference import is_fixed, is_fixed_json, json_misfit, json_parts, json_seen, misfit, text_seen

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

SAMPLE_ROWS = 20_480
ASSUMPTION = "dataforge-assumption"
VALUE = "dataforge-value"
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
    _stream: _Stream | None = field(default=None, repr=False)

    @property
    def failure(self) -> Exception | None:
        """What broke the source's stream, as it was raised; the engine knows of it only the text."""
        return self._stream.failure if self._stream is not None else None

    def widen(self) -> None:
        """Type over all rows and replace the view; nothing changes where the types were not assumed."""
        if self._widen is not None:
            self.columns, self.assumed, self._widen = self._widen(), False, None


class NoRecordsError(TerminalError):
    """Nothing was extracted and nothing tells the columns; with types for them in the config there is an empty view."""


def is_assumption_failure(error: BaseException) -> bool:
    """Whether reading failed since a value does not fit the types taken from the first rows."""
    return ASSUMPTION in str(error)


def explain(error: BaseException) -> DataForgeError | None:
    """Return the engine's error about an input file or value as ours, with its place; None when it is about neither."""
    text = str(error)
    if VALUE in text:
        return TerminalError(text.split(f"{VALUE}: ", 1)[1].split("\n")[0])
    if "CSV Error on Line" in text:
        return TerminalError(_csv_error(text))
    if "Malformed JSON" in text or "JSON transform error" in text:
        return TerminalError(_short_names(text.split("\n")[0].split("Try setting")[0].strip()))
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
) -> Landed:
    """Make a view called `name` in `con` over what was extracted, every column typed; at most `sample` rows.

    `overrides` are column names to SQL types: such columns are cast strictly, and a value that does not fit ends the
    read with a TerminalError (through `explain`) that names column and value. ConfigError for an unknown column or
    type; TerminalError for a file that can't be read.
    """
    types = {column: sql_type(column, text) for column, text in (overrides or {}).items()}
    if isinstance(extracted, Records):
        extracted = Files("json", (_spool(extracted, scratch, sample),), {"format": "newline_delimited"})
    if isinstance(extracted, Batches):
        return _land_batches(con, name, extracted, types, sample)
    if extracted.format == "parquet":
        paths = _list(str(path) for path in extracted.paths)
        union = ", union_by_name = true" if len(extracted.paths) > 1 else ""
        return _land_typed(con, name, f"read_parquet({paths}{union})", types, sample)
    try:
        return (_Csv if extracted.format == "csv" else _Json)(con, name, extracted, types, sample).land()
    except NoRecordsError:
        if not types:
            raise
    empty = ", ".join(f"CAST(NULL AS {type_}) AS {name_sql(column)}" for column, type_ in types.items())
    _create(con, name, f"SELECT {empty} WHERE false")
    return Landed(name, types)


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
    stream = f"{name} stream" if types or sample is not None else name
    _check_known(batches.reader.schema.names, types)
    guarded = _Stream(batches.reader)
    con.register(stream, guarded.reader)
    if stream == name:
        columns = _described(con, name)
        return Landed(name, columns, once=True, _stream=guarded)
    landed = _land_typed(con, name, name_sql(stream), types, sample, temporary=True)
    return replace(landed, once=True, _stream=guarded)


class _Stream:
    """A source's stream that keeps the error it broke with: on its way through the engine it loses its class."""

    def __init__(self, source: pa.RecordBatchReader) -> None:
        import pyarrow as pa

        self.failure: Exception | None = None
        self.reader = pa.RecordBatchReader.from_batches(source.schema, self._guarded(source))

    def _guarded(self, source: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from source
        except Exception as error:
            self.failure = error
            raise


def _land_typed(
    con: DuckDBPyConnection,
    name: str,
    source: str,
    types: Mapping[str, str],
    sample: int | None,
    *,
    temporary: bool = False,
) -> Landed:
    described = _describe(con, f"SELECT * FROM {source}")
    _check_known(described, types)
    items = []
    for column, type_ in described.items():
        value = name_sql(column)
        if column in types and types[column] != type_:
            value = f"{_strict(column, value, type_, types[column])} AS {value}"
        items.append(value)
    _create(con, name, f"SELECT {', '.join(items)} FROM {source}{_limit(sample)}", temporary)
    return Landed(name, _described(con, name))


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
    if from_ in ("VARCHAR", "JSON"):
        bad = _unfit_text(f"CAST({value} AS VARCHAR)", to)
    else:
        bad = f"({value} IS NOT NULL AND CAST(TRY_CAST({value} AS {to}) AS {from_}) IS DISTINCT FROM {value})"
    return f"CASE WHEN {bad} THEN {_failure(column, value, to)} ELSE TRY_CAST({value} AS {to}) END"


def _failure(column: str, value: str, to: str) -> str:
    head, tail = text_sql(f"{VALUE}: column {column!r}: "), text_sql(f" is not exactly a {to}")
    shown = f"'''' || left(replace(CAST({value} AS VARCHAR), chr(10), ' '), 40) || ''''"
    return f"error({head} || {shown} || {tail})"


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


# ---- Untyped input


class _Csv:
    """CSV files: read as text, converted by a strict projection."""

    def __init__(
        self, con: DuckDBPyConnection, name: str, files: Files, types: Mapping[str, str], sample: int | None
    ) -> None:
        self.con, self.name, self.types, self.sample = con, name, types, sample
        self.options = files.options
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
        seen = self._see(self.inferred, head)
        assumed = {column: (seen[column].type if seen[column].kinds else UNKNOWN) for column in self.inferred}
        self._create(assumed, checked=True)
        return Landed(self.name, self._shown(assumed), True, False, lambda: self._widen(assumed))

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
        items = []
        for column in self.columns:
            quoted, text = name_sql(column), self._text_of(column)
            if column in self.types:
                items.append(f"{_strict(column, quoted, 'VARCHAR', self.types[column])} AS {quoted}")
            elif checked and (bad := self._misfit(column, types[column])):
                failure = f"error({text_sql(f'{ASSUMPTION}: ')} || left({text}, 40))"
                items.append(f"CASE WHEN {bad} THEN {failure} ELSE {quoted} END AS {quoted}")
            else:
                items.append(quoted)
        inner = self._converted(types, text=checked)
        _create(self.con, self.name, f"SELECT {', '.join(items)} FROM ({inner}){_limit(self.sample)}")

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

    def _read(self, header: Sequence[str], paths: Iterable[Path]) -> str:
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
        self, con: DuckDBPyConnection, name: str, files: Files, types: Mapping[str, str], sample: int | None
    ) -> None:
        self.con, self.name, self.types, self.sample = con, name, types, sample
        self.paths = [path for path in files.paths if path.stat().st_size]
        self.format = str(files.options.get("format") or "newline_delimited")
        self.all_paths = files.paths

    def land(self) -> Landed:
        """Make the view; its types are final."""
        keys = self._keys() if self.paths else []
        if not keys:
            raise NoRecordsError(f"{_names(self.all_paths)}: no record with a key in it")
        self.columns = dict(zip(unique_names(keys), keys, strict=True))
        # Keys that differ only in case are one name to the engine's reader; those are taken out one by one.
        self.direct = list(self.columns) == keys
        _check_known(self.columns, self.types)
        inferred = [column for column in self.columns if column not in self.types]
        types = self._types(inferred)
        items = []
        for column in self.columns:
            quoted = name_sql(column)
            to = self.types.get(column)
            value = _strict(column, quoted, "VARCHAR", to) if to else self._value(quoted, types[column])
            items.append(f"{value} AS {quoted}")
        read = self._read({column: _read_type(types.get(column, "VARCHAR")) for column in self.columns})
        _create(self.con, self.name, f"SELECT {', '.join(items)} FROM {read}{_limit(self.sample)}")
        return Landed(self.name, {column: self.types.get(column) or types[column] for column in self.columns})

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
            f"SELECT json_type(json) AS kind, json_keys(json) AS keys, min(left(json::VARCHAR, 40)) "
            f"FROM (SELECT json FROM {source}{_limit(self.sample)}) GROUP BY ALL",
        )
        for kind, _, example in rows:
            if kind != "OBJECT":
                raise TerminalError(
                    f"{_names(self.all_paths)}: {example!r} is no JSON object; set 'records' to the path of the list"
                )
        others = sorted({key for _, keys, _ in rows for key in keys or ()} - set(ordered))
        return [*ordered, *others]

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

    def _objects(self) -> str:
        return f"read_json_objects({_list(map(str, self.paths))}, format = {text_sql(self.format)})"

    def _read(self, types: Mapping[str, str]) -> str:
        if self.direct:
            columns = ", ".join(f"{text_sql(column)}: {text_sql(type_)}" for column, type_ in types.items())
            return (
                f"read_json({_list(map(str, self.paths))}, format = {text_sql(self.format)}, columns = {{{columns}}})"
            )
        items = []
        for column, type_ in types.items():
            pointer = text_sql("/" + self.columns[column].replace("~", "~0").replace("/", "~1"))
            value = f"json -> {pointer}" if type_ == "JSON" else f"CAST(json ->> {pointer} AS {type_})"
            items.append(f"{value} AS {name_sql(column)}")
        return f"(SELECT {', '.join(items)} FROM {self._objects()})"


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
