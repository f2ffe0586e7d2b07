"""The load task of an exported module: one for each destination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dataforge.components.base import Columns, DestinationConfig
from dataforge.components.database import quote_identifier
from dataforge.components.paths import is_s3
from dataforge.exports.python import block, literal, sql
from dataforge.exports.values import Variables

LINE = 100
"""Longest statement that stands on one line."""


@dataclass(frozen=True)
class Write:
    """How a destination is written: SQL constants, and the body of the task, which has `file`, the rows as Parquet.

    `imports` are what it needs, `notes` what is not as it was; where `missing` says why, the body only says so.
    """

    constant: str
    body: str
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: str = ""


def writing(number: int, target: DestinationConfig, columns: Columns | None, variables: Variables) -> Write:
    """Return how the destination of that number (from 1; 0 for the only one) is written."""
    write = _FORMS.get(target.type)
    if write is None:
        return _missing(target, f"writing to a destination of type {target.type!r} has no form here yet")
    return write(f"LOAD_{number}" if number else "LOAD", target, columns, variables)


def _missing(target: DestinationConfig, why: str) -> Write:
    settings = target.model_dump(mode="json", exclude_defaults=True)
    body = f"raise NotImplementedError({literal(f'write the rows of the Parquet file to: {settings}')})"
    return Write("", body, missing=why)


# ---- Tables


def _duckdb(constant: str, target: Any, columns: Columns | None, variables: Variables) -> Write:
    if why := _unspeakable(target):
        return _missing(target, why)
    table = _quoted(target.table)
    create = f"CREATE TABLE IF NOT EXISTS {table} AS FROM arriving LIMIT 0"
    schema = (
        [f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(target.table.split('.')[0])}"] if "." in target.table else []
    )
    statements = ["CREATE OR REPLACE TEMP VIEW arriving AS FROM read_parquet(getvariable('file'))", *schema, create]
    statements += _dispositions(target, table, columns)
    if target.connection:
        place = f"BaseHook.get_connection({literal(target.connection)}).host"
        imports: tuple[str, ...] = ("from airflow.sdk.bases.hook import BaseHook",)
    else:
        imports = ()
        place = f"str(OUTPUT_FOLDER / {_formatted(target.database, variables)})"
    body = [
        f"database_file = {place}",
        "Path(database_file).parent.mkdir(parents=True, exist_ok=True)",
        "with duckdb.connect(database_file) as con:",
        "    con.execute(\"SET TimeZone = 'UTC'\")",
        '    con.execute("SET VARIABLE file = ?", [file])',
        "    con.begin()  # what is not committed is rolled back when the connection closes",
        f"    for statement in {constant}:",
        "        con.execute(statement)",
        *_guards(target, table, "con.execute({0}).fetchone()[0]", 1),
        "    con.commit()",
    ]
    return Write(_statements(constant, statements), "\n".join(body), imports, _table_notes(target))


def _postgres(constant: str, target: Any, columns: Columns | None, variables: Variables) -> Write:  # noqa: ARG001
    if why := _unspeakable(target):
        return _missing(target, why)
    if not columns or not all(columns.values()):
        return _missing(target, "the columns of the result are not known: export where the sources can be asked")
    table = _quoted(target.table)
    types = _postgres_types(columns)
    names = ", ".join(map(quote_identifier, columns))
    defined = ",\n    ".join(f"{quote_identifier(name)} {type_}" for name, type_ in types.items())
    schema = (
        [f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(target.table.split('.')[0])}"] if "." in target.table else []
    )
    before = [
        *schema,
        f"CREATE TABLE IF NOT EXISTS {table} (\n    {defined}\n)",
        f"CREATE TEMP TABLE arriving ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0",
    ]
    texts = ", ".join(_to_text(name, type_, types[name]) for name, type_ in columns.items())
    constants = [
        _statements(f"PREPARE_{constant}", before),
        f"{constant}_ROWS = {sql(f'SELECT {texts} FROM read_parquet(getvariable({chr(39)}file{chr(39)}))')}",
        f"{constant}_COPY = {literal(f'COPY arriving ({names}) FROM STDIN (FORMAT csv, HEADER)')}",
        _statements(constant, _dispositions(target, table, columns)),
    ]
    body = [
        'rows = Path(file).with_suffix(".csv")',
        "with database(file=file) as con:",
        f'    con.execute(f"COPY ({{{constant}_ROWS}}) TO $rows (FORMAT csv, HEADER)", {{"rows": str(rows)}})',
        f"hook = PostgresHook({literal(target.connection)})",
        "# one transaction: leaving the block commits, an error rolls back",
        "with hook.get_conn() as connection, connection.cursor() as cursor:",
        "    cursor.execute(\"SET TIME ZONE 'UTC'\")",
        f"    for statement in PREPARE_{constant}:",
        "        cursor.execute(statement)",
        f'    with cursor.copy({constant}_COPY) as copy, rows.open("rb") as data:',
        "        while chunk := data.read(1 << 20):",
        "            copy.write(chunk)",
        f"    for statement in {constant}:",
        "        cursor.execute(statement)",
        *_guards(target, table, "cursor.execute({0}).fetchone()[0]", 1),
        "rows.unlink()",
    ]
    imports = ("from airflow.providers.postgres.hooks.postgres import PostgresHook",)
    return Write("\n\n".join(constants), "\n".join(body), imports, _table_notes(target))


def _unspeakable(target: Any) -> str:
    """Return why a merge can't be written by hand in a few statements; "" when it can."""
    if target.write_disposition != "merge":
        return ""
    if target.merge_strategy == "scd2":
        return "merge with the strategy scd2 has no form here"
    if target.delete_flag:
        return "merge with a delete_flag has no form here"
    return "merge that deletes missing rows has no form here" if target.missing_rows == "delete" else ""


def _dispositions(target: Any, table: str, columns: Columns | None) -> list[str]:
    names = ", ".join(map(quote_identifier, columns)) if columns else ""
    insert = f"INSERT INTO {table} ({names})\nSELECT {names}\nFROM arriving"
    if not columns:
        insert = f"INSERT INTO {table} BY NAME SELECT * FROM arriving"
    if target.write_disposition == "append":
        return [insert]
    if target.write_disposition == "replace":
        return [f"DELETE FROM {table}", insert]
    keys = target.primary_key if target.merge_strategy == "upsert" else target.merge_key or target.primary_key
    if target.merge_strategy == "delete_insert":
        listed = ", ".join(map(quote_identifier, keys))
        match = " AND ".join(f"target.{key} = gone.{key}" for key in map(quote_identifier, keys))
        gone = f"(SELECT DISTINCT {listed} FROM arriving) AS gone"
        return [f"DELETE FROM {table} AS target USING {gone} WHERE {match}", insert]
    match = " AND ".join(f"target.{key} = arriving.{key}" for key in map(quote_identifier, keys))
    merge = f"MERGE INTO {table} AS target\nUSING arriving ON {match}\n"
    if not columns:
        return [f"{merge}WHEN MATCHED THEN UPDATE BY NAME\nWHEN NOT MATCHED THEN INSERT BY NAME"]
    others = [quote_identifier(name) for name in columns if name not in keys]
    newer = ""
    if target.latest_by:
        latest = quote_identifier(target.latest_by)
        newer = f" AND (target.{latest} IS NULL OR arriving.{latest} >= target.{latest})"
    if others:
        merge += f"WHEN MATCHED{newer} THEN UPDATE SET {', '.join(f'{name} = arriving.{name}' for name in others)}\n"
    given = ", ".join(f"arriving.{quote_identifier(name)}" for name in columns)
    return [f"{merge}WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({given})"]


def _guards(target: Any, table: str, ask: str, level: int) -> list[str]:
    if target.write_disposition != "replace" or target.allow_empty:
        return []
    count = ask.format(literal(f"SELECT count(*) FROM {table}"))
    indent = "    " * level
    return [
        f"{indent}if not {count}:",
        f'{indent}    raise AirflowFailException("there are no rows: the old ones stay")',
    ]


def _table_notes(target: Any) -> tuple[str, ...]:
    notes = []
    if target.write_disposition == "append":
        notes.append(f"{target.table}: rows carry no run number, so a repeated run appends its rows again.")
    if target.write_disposition == "replace" and not target.allow_shrink:
        notes.append(f"{target.table}: a replace that leaves fewer than half of the rows is not refused.")
    if target.write_disposition == "merge":
        notes.append(
            f"{target.table}: records that share a key with another of the same run, or have none, are not told."
        )
    return tuple(notes)


def _postgres_types(columns: Columns) -> dict[str, str]:
    import duckdb

    from dataforge.destinations._postgres_types import new_column

    with duckdb.connect() as con:
        empty = ", ".join(f"CAST(NULL AS {type_}) AS {quote_identifier(name)}" for name, type_ in columns.items())
        schema = con.sql(f"SELECT {empty} LIMIT 0").to_arrow_table().schema
    types = {field.name: new_column(field).type for field in schema}
    # lists would need another text than the one that DuckDB writes
    return {name: "jsonb" if type_.endswith("[]") else type_ for name, type_ in types.items()}


def _to_text(name: str, type_: str, stored: str) -> str:
    quoted = quote_identifier(name)
    if type_ == "BLOB":
        return f"'\\x' || hex({quoted}) AS {quoted}"
    if stored == "jsonb" and type_ != "JSON":
        return f"CAST(to_json({quoted}) AS VARCHAR) AS {quoted}"
    return quoted


def _quoted(table: str) -> str:
    return ".".join(map(quote_identifier, table.split(".")))


def _statements(constant: str, statements: list[str]) -> str:
    plain = (literal(one) if "\n" not in one and len(one) < LINE else block(sql(one)).lstrip() for one in statements)
    return f"{constant} = [\n" + "".join(f"    {one},\n" for one in plain) + "]"


# ---- Files


def _formatted(path: str, variables: Variables) -> str:
    if "${" not in path:
        return literal(path)
    return f"{literal(variables.in_text(path))}.format(**run_values())"


def _file(
    constant: str, target: Any, variables: Variables, suffix: str, options: str, notes: tuple[str, ...] = ()
) -> Write:
    if is_s3(target.path):
        return _missing(target, "writing to s3:// has no form here yet")
    place = f"OUTPUT_FOLDER / {_formatted(target.path, variables)}"
    body = [f"target = {place}"]
    folder = target.path.endswith("/")
    if folder:
        body.append(f'target = target / f"{{run_name()}}{suffix}"  # a repeated run replaces its own part')
    body += [
        "target.parent.mkdir(parents=True, exist_ok=True)",
        'written = target.with_name(f".{target.name}.writing")',
        "with database(file=file) as con:",
        f'    con.execute({constant}, {{"target": str(written)}})',
        "written.replace(target)  # readers see the old file or the new one, never half of it",
    ]
    if folder and target.write_disposition == "replace":
        body += [
            f'for old in target.parent.glob("*{suffix}"):',
            "    if old != target:",
            "        old.unlink()",
        ]
    more = (f"{PurePosixPath(target.path)}: there is no manifest, so readers may see parts of a run that failed.",)
    copy = f"COPY (\n    FROM read_parquet(getvariable('file'))\n) TO $target (\n    {options}\n)"
    return Write(f"{constant} = {sql(copy)}", "\n".join(body), (), (*notes, *(more if folder else ())))


def _parquet(constant: str, target: Any, columns: Columns | None, variables: Variables) -> Write:  # noqa: ARG001
    compression = "uncompressed" if target.compression == "none" else target.compression
    return _file(constant, target, variables, ".parquet", f"FORMAT parquet, COMPRESSION {compression}")


def _csv(constant: str, target: Any, columns: Columns | None, variables: Variables) -> Write:  # noqa: ARG001
    from dataforge.components.database import quote_literal
    from dataforge.destinations.csv_ import SUFFIXES, compression_of

    compression = compression_of(target.path, target.compression)
    quote = quote_literal(target.quote)
    options = (
        f"FORMAT csv, HEADER {str(target.header).lower()}, DELIMITER {quote_literal(target.delimiter)}, QUOTE {quote}, "
        f"ESCAPE {quote}, NULLSTR {quote_literal(target.null_text)}, COMPRESSION {compression}"
    )
    notes = (f"{target.path}: texts that a spreadsheet takes for formulas stay.",) if target.neutralize_formulas else ()
    return _file(constant, target, variables, f".csv{SUFFIXES[compression]}", options, notes)


def _ndjson(constant: str, target: Any, columns: Columns | None, variables: Variables) -> Write:  # noqa: ARG001
    from dataforge.destinations.ndjson import SUFFIXES

    by_name = next((kind for kind, end in SUFFIXES.items() if end and target.path.endswith(end)), "none")
    compression = target.compression or by_name
    notes = (f"{target.path}: instants and bytes are written in DuckDB's forms, and long decimals as numbers.",)
    suffix = f".ndjson{SUFFIXES[compression]}"
    return _file(constant, target, variables, suffix, f"FORMAT json, COMPRESSION {compression}", notes)


_FORMS: dict[str, Callable[[str, Any, Columns | None, Variables], Write]] = {
    "duckdb": _duckdb,
    "postgres": _postgres,
    "parquet": _parquet,
    "csv": _csv,
    "ndjson": _ndjson,
}
