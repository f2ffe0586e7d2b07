"""The extract task of an exported module: one for each source, written as a person would by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from dataforge.components.base import Columns, SourceConfig
from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.paths import is_s3, resolve
from dataforge.errors import TerminalError
from dataforge.exports.columns import Known
from dataforge.exports.python import literal, sql
from dataforge.exports.python import name as python_name
from dataforge.exports.values import Variables
from dataforge.settings import get_settings

_GUESSED = (
    "The source {name} could not be looked at when this was written ({trouble}): its columns get the types that DuckDB "
    "makes of their texts."
)


@dataclass(frozen=True)
class Read:
    """How a source is read: SQL constants of the module, and the body of the task.

    The body has `target`, the path of the Parquet file to write. `imports` are what it needs, `notes` what is not as
    it was; where `missing` says why, the body only says so.
    """

    constant: str
    body: str
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: str = ""


def reading(name: str, source: SourceConfig, known: Known, variables: Variables) -> Read:
    """Return how the source of that name is read."""
    write = _FORMS.get(source.type)
    if write is None:
        return _missing(source, f"reading a source of type {source.type!r} has no form here yet")
    return write(name, source, known, variables)


def _missing(source: SourceConfig, why: str) -> Read:
    settings = source.model_dump(mode="json", exclude_defaults=True)
    body = f"raise NotImplementedError({literal(f'read what this describes into {{target}}: {settings}')})"
    return Read("", body, missing=why)


# ---- Files


def _csv(name: str, source: Any, known: Known, variables: Variables) -> Read:
    options = dict(known.options)
    if not options:
        given = {"delimiter": source.delimiter, "quote": source.quote, "escape": source.escape}
        options = {key: value for key, value in given.items() if value is not None}
        options |= {"header": source.header} if source.header is not None else {}
        options |= {"null_values": list(source.null_values), "skip_rows": source.skip_rows, "comment": source.comment}
    spelled = {"delimiter": "delim", "skip_rows": "skip", "null_values": "nullstr"}
    arguments = {
        spelled.get(key, key): _sql_value(value)
        for key, value in options.items()
        if value is not None and not (key == "skip_rows" and not value) and not (key == "quote" and value == "")
    }
    if known.columns and options.get("header", True):
        arguments["types"] = _struct(known.columns)
    elif known.columns:
        arguments["columns"] = _struct(known.columns)
    else:
        arguments["sample_size"] = "-1"
    notes = []
    if source.encoding:
        arguments["encoding"] = quote_literal(source.encoding)
        notes.append(f"The encoding {source.encoding!r} may need DuckDB's extension 'encodings'.")
    return _files(name, source, known, variables, "read_csv", arguments, tuple(notes))


def _json(name: str, source: Any, known: Known, variables: Variables) -> Read:
    arguments = {"format": quote_literal(known.options.get("format", source.format))}
    if source.records:
        arguments["format"] = "'newline_delimited'"
    if known.columns:
        arguments["columns"] = _struct(known.columns)
    else:
        arguments["sample_size"] = "-1"
    return _files(name, source, known, variables, "read_json", arguments, (), source.records)


def _parquet(name: str, source: Any, known: Known, variables: Variables) -> Read:
    return _files(name, source, known, variables, "read_parquet", {"union_by_name": "true"}, ())


def _files(
    name: str,
    source: Any,
    known: Known,
    variables: Variables,
    function: str,
    arguments: dict[str, str],
    notes: tuple[str, ...],
    records: str = "",
) -> Read:
    if any(map(is_s3, source.paths)):
        return _missing(source, "reading from s3:// has no form here yet")
    if source.compression in ("bz2", "xz", "zip"):
        return _missing(source, f"DuckDB does not read {source.compression} files")
    if len(source.paths) > 1 and function == "read_csv":
        arguments = {"union_by_name": "true", **arguments}
    constant = f"READ_{python_name(name).upper()}"
    lines = ",\n".join(f"    {key} = {value}" for key, value in arguments.items())
    casts = _casts(source.columns) if function == "read_parquet" else ""
    where, cursor_notes = _newer(name, source, known.columns)
    query = f"SELECT *{casts} FROM {function}(\n    getvariable('files'),\n{lines}\n){where}"
    files = ", ".join(_path(text, variables) for text in source.paths)
    body = [f"files = [{files}]"]
    imports: list[str] = []
    if records:
        inner = "".join(f"[{literal(part)}]" for part in records.split("."))
        imports.append("import json")
        body += [
            'records = target.with_suffix(".ndjson")  # the records lie inside of an object: one a line, for DuckDB',
            'with records.open("w", encoding="utf-8") as lines:',
            "    for file in files:",
            f'        for record in json.loads(Path(file).read_text(encoding="utf-8")){inner}:',
            '            lines.write(json.dumps(record) + "\\n")',
            "files = [str(records)]",
        ]
    body += [
        f"with database({'files=files'}{_since(name, source)}) as con:",
        f'    con.execute(f"COPY ({{{constant}}}) TO $target (FORMAT parquet)", {{"target": str(target)}})',
    ]
    if known.trouble:
        notes = (*notes, _GUESSED.format(name=name, trouble=known.trouble))
    return Read(f"{constant} = {sql(query)}", "\n".join(body), tuple(imports), (*notes, *cursor_notes))


def _path(text: str, variables: Variables) -> str:
    folder = "DATA_FOLDER"
    home = get_settings().readable_folders
    if "${" in text:
        return f"str({folder} / {literal(variables.in_text(text))}.format(**run_values()))"
    for known in home:
        if _is_there(text, known):
            relative = Path(text.removeprefix("file://"))
            inner = relative.relative_to(known) if relative.is_absolute() else relative
            return f"str({_folder_name(known)} / {literal(str(inner))})"
    return f"str({folder} / {literal(text.removeprefix('file://'))})"


def _is_there(text: str, folder: Path) -> bool:
    try:
        return bool(resolve(text, (folder,)))
    except TerminalError:
        return False


def _folder_name(folder: Path) -> str:
    """Return the module's name for one of the deployment's folders."""
    settings = get_settings()
    if folder == settings.output_folder:
        return "OUTPUT_FOLDER"
    return "DATA_FOLDER" if folder == settings.configs_folder else f"Path({literal(str(folder))})"


# ---- PostgreSQL


def _postgres(name: str, source: Any, known: Known, variables: Variables) -> Read:
    constant = f"READ_{python_name(name).upper()}"
    if source.table:
        query = f"SELECT * FROM {'.'.join(map(quote_identifier, source.table.split('.')))}"
    else:
        query = source.query.strip().rstrip(";")
    parameters = ""
    if "${" in query:
        query, parameters = variables.in_query(query), ", run_values()"
    where, notes = _newer(name, source, known.columns)
    columns = ", ".join(_from_text(column, type_) for column, type_ in (known.columns or {}).items()) or "*"
    arguments = ["header = true", "allow_quoted_nulls = false"]
    if known.columns:
        texts = {column: "VARCHAR" if type_ == "BLOB" else type_ for column, type_ in known.columns.items()}
        arguments += [
            "auto_detect = false",
            "delim = ','",
            "quote = '\"'",
            "escape = '\"'",
            f"columns = {_struct(texts)}",
        ]
    else:
        arguments.append("sample_size = -1")
        notes = (*notes, _GUESSED.format(name=name, trouble=known.trouble or "it was not asked"))
    inner = ",\n".join(f"    {one}" for one in ("getvariable('files')", *arguments))
    typed = f"SELECT {columns}\nFROM read_csv(\n{inner}\n){where}"
    body = [
        'rows = target.with_suffix(".csv")',
        f"hook = PostgresHook({literal(source.connection)})",
        'with closing(hook.get_conn()) as connection, connection.cursor() as cursor, rows.open("wb") as file:',
        "    cursor.execute(\"SET TIME ZONE 'UTC'\")",
    ]
    if source.statement_timeout:
        milliseconds = int(source.statement_timeout.total_seconds() * 1000)
        body.append(f'    cursor.execute("SET statement_timeout = {milliseconds}")')
    body += [
        f'    with cursor.copy(f"COPY ({{{constant}}}) TO STDOUT (FORMAT csv, HEADER)"{parameters}) as copy:',
        "        for data in copy:",
        "            file.write(data)",
        f"with database(files=[str(rows)]{_since(name, source)}) as con:",
        f'    con.execute(f"COPY ({{{constant}_TYPED}}) TO $target (FORMAT parquet)", {{"target": str(target)}})',
        "rows.unlink()",
    ]
    constants = f"{constant} = {sql(query)}\n\n{constant}_TYPED = {sql(typed)}"
    imports = ("from contextlib import closing", "from airflow.providers.postgres.hooks.postgres import PostgresHook")
    return Read(constants, "\n".join(body), imports, notes)


def _from_text(column: str, type_: str) -> str:
    name = quote_identifier(column)
    return f"unhex(substr({name}, 3)) AS {name}" if type_ == "BLOB" else name


# ---- What sources share


def _newer(name: str, source: SourceConfig, columns: Columns | None) -> tuple[str, tuple[str, ...]]:
    """Return the WHERE of a source with a cursor, and what differs from DataForge's."""
    if source.cursor_field is None:
        return "", ()
    type_ = (columns or {}).get(source.cursor_field, "TIMESTAMP")
    column, since = quote_identifier(source.cursor_field), f"CAST(getvariable('since') AS {type_})"
    if source.lookback is not None:
        back = source.lookback
        step = f"INTERVAL '{back.total_seconds():.0f} seconds'" if isinstance(back, timedelta) else str(back)
        since = f"{since} - {step}"
    first = ""
    if source.initial_value is not None:
        first = f" AND {column} >= CAST({quote_literal(str(source.initial_value))} AS {type_})"
    where = f"\nWHERE {column} > {since}\n   OR getvariable('since') IS NULL{first}"
    note = (
        f"The source {name} is read above the greatest {source.cursor_field} that was loaded, which an Airflow "
        "Variable keeps. It is set after the load, so a run that dies between the two loads its rows again; records "
        "that come later with that very value, and those without one, are not read; a backfill reads what is new, not "
        "its days."
    )
    return where, (note,)


def _since(name: str, source: SourceConfig) -> str:
    return (
        "" if source.cursor_field is None else f", since=Variable.get(CURSOR_{python_name(name).upper()}, default=None)"
    )


def _casts(columns: Columns) -> str:
    if not columns:
        return ""
    casts = (
        f"CAST({quote_identifier(name)} AS {type_}) AS {quote_identifier(name)}" for name, type_ in columns.items()
    )
    return f" REPLACE ({', '.join(casts)})"


def _struct(columns: Columns) -> str:
    pairs = [f"{quote_literal(name)}: {quote_literal(type_)}" for name, type_ in columns.items()]
    flat = "{" + ", ".join(pairs) + "}"
    return flat if len(flat) < 80 else "{\n        " + ",\n        ".join(pairs) + "\n    }"


def _sql_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_sql_value, value)) + "]"
    return quote_literal(value) if isinstance(value, str) else str(value)


_FORMS: dict[str, Callable[[str, Any, Known, Variables], Read]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "postgres": _postgres,
}
