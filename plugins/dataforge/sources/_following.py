"""Reading what another pipeline wrote: its destination's table or files, as far as they are committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataforge.components import retry
from dataforge.components.base import (
    Batches,
    ExtractContext,
    Extracted,
    Files,
    Source,
)
from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.outputs import FollowingConfig, Output
from dataforge.components.paths import filesystem, is_s3, place, s3_call
from dataforge.components.registry import SOURCES
from dataforge.errors import ConfigError, Problem, TerminalError, TransientError
from dataforge.settings import get_settings

LEDGER = "_dataforge"
"""Folder that the file destinations keep beside their data."""

FILE_TYPES = {"parquet": "parquet", "csv": "csv", "ndjson": "json"}
LOCK_SECONDS = 60.0
"""Longest wait for a DuckDB file that a load has open."""


def read(config: FollowingConfig, context: ExtractContext) -> Extracted:
    """Return the rows of an output, without the column that tells the run; TerminalError when nothing is there yet."""
    target: Any = config.target
    if target.type == "duckdb":
        return _duckdb(target, context)
    extracted = _reader(config, target, context).extract(context)
    run_column = getattr(target, "run_column", None)
    return _without(extracted, run_column) if isinstance(extracted, Batches) and run_column else extracted


def check(config: FollowingConfig, context: ExtractContext) -> str:
    """Return one sentence on what would be read."""
    target: Any = config.target
    name = getattr(target, "table", None) or getattr(target, "path", "")
    if target.type == "duckdb":
        found = _duckdb(target, context)
        return f"{target.type} {name}: {found.paths[0].stat().st_size} bytes as Parquet"
    source = _reader(config, target, context)
    asked = getattr(source, "check", None)
    return f"{target.type} {name}: {asked(context)}" if asked else f"{target.type} {name}"


def _reader(config: FollowingConfig, target: Any, context: ExtractContext) -> Source:
    """Return the source that reads what stands in the destination."""
    if target.type in FILE_TYPES:
        settings = _of_files(target, config.follows(), context)
    elif target.type in SOURCES.types() and getattr(target, "table", None) and getattr(target, "connection", None):
        settings = {"type": target.type, "connection": target.connection, "table": target.table}
    else:
        message = f"no source reads what a destination of type {target.type!r} wrote"
        raise ConfigError(Problem("unknown-component", message, (config.follows().key,)))
    wanted = SOURCES.get(settings["type"]).config.model_validate({**settings, "columns": dict(config.columns)})
    return SOURCES.build(wanted)


def _of_files(target: Any, output: Output, context: ExtractContext) -> dict[str, Any]:
    if "${" in target.path:
        message = f"its path {target.path!r} differs from run to run; read it with a source of type {target.type!r}"
        raise ConfigError(Problem("invalid-path", message, (output.key,)))
    settings: dict[str, Any] = {"type": FILE_TYPES[target.type], "connection": target.connection}
    folder = target.path if is_s3(target.path) else str(place(target.path, get_settings().output_folder))
    if target.path.endswith("/"):
        folder = folder.rstrip("/")
        settings["path"] = [f"{folder}/{name}" for name in _live(folder, target, context)]
    else:
        settings["path"] = folder
    if target.type == "csv":
        settings |= {"delimiter": target.delimiter, "quote": target.quote, "header": target.header}
        settings["null_values"] = [target.null_text]
    elif target.type == "ndjson":
        settings["format"] = "newline_delimited"
    return settings


def _live(folder: str, target: Any, context: ExtractContext) -> list[str]:
    """Return the names of the parts that are committed, by the dataset's manifest."""
    where = f"{folder}/{LEDGER}/manifest.json"
    try:
        if is_s3(folder):
            connection = context.connection(target.connection)
            key = where.removeprefix("s3://")
            data = s3_call(where, connection, lambda: filesystem(connection).cat_file(key))
        else:
            data = Path(where).read_bytes()
    except (FileNotFoundError, TerminalError):
        raise TerminalError(f"nothing was loaded into {target.path!r} yet; run the pipeline that writes it") from None
    names = [part["name"] for part in json.loads(data)["parts"]]
    if not names:
        raise TerminalError(f"no rows are in {target.path!r}")
    return names


def _duckdb(target: Any, context: ExtractContext) -> Files:
    """Copy the table out: the file is held open as short as can be, since one process at a time may write it."""
    import duckdb

    path = _database(target, context)
    if not path.is_file():
        raise TerminalError(f"there is no DuckDB file {path.name!r} yet; run the pipeline that writes it")
    table = str(target.table)
    copy = context.scratch / "output.parquet"
    name = ".".join(map(quote_identifier, table.split(".")))
    run_column = getattr(target, "run_column", None)
    limit = "" if context.sample is None else f" LIMIT {int(context.sample)}"

    def attempt() -> None:
        try:
            with duckdb.connect(str(path), read_only=True, config={"threads": get_settings().threads}) as con:
                con.execute("SET TimeZone = 'UTC'")
                names = [row[0] for row in con.execute(f"DESCRIBE {name}").fetchall()]
                kept = ", ".join(quote_identifier(one) for one in names if one != run_column)
                con.execute(f"COPY (SELECT {kept} FROM {name}{limit}) TO {quote_literal(str(copy))} (FORMAT parquet)")
        except duckdb.CatalogException:
            raise TerminalError(f"{path.name!r} has no table {table!r} yet; run the pipeline that writes it") from None
        except (duckdb.IOException, duckdb.ConnectionException) as error:
            raise TransientError(f"DuckDB file {path.name!r} is held open by a load: {error}") from None

    retry.repeat(attempt, retry.Policy(1_000_000, 0.05, 2.0, LOCK_SECONDS), what=f"DuckDB file {path.name!r}")
    return Files("parquet", (copy,))


def _database(target: Any, context: ExtractContext) -> Path:
    if target.connection:
        connection = context.connection(target.connection)
        return Path(connection.host or connection.schema)
    if "${" in target.database:
        raise TerminalError(f"the database {target.database!r} differs from run to run")
    return place(target.database, get_settings().output_folder)


def _without(batches: Batches, column: str) -> Batches:
    import pyarrow as pa

    schema = batches.reader.schema
    if column not in schema.names:
        return batches
    names = [name for name in schema.names if name != column]
    kept = pa.schema([schema.field(name) for name in names])
    rows = (batch.select(names) for batch in batches.reader)
    return Batches(pa.RecordBatchReader.from_batches(kept, rows), batches.close)


def discover(config: FollowingConfig, context: ExtractContext) -> Mapping[str, str]:
    """Return the columns of an output."""
    target: Any = config.target
    if target.type == "duckdb":
        import duckdb

        files = _duckdb(target, context)
        with duckdb.connect() as con:
            rows = con.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(files.paths[0])]).fetchall()
        return {row[0]: row[1] for row in rows}
    asked = getattr(_reader(config, target, context), "discover", None)
    if asked is None:
        raise TerminalError(f"a destination of type {target.type!r} does not tell its columns")
    found: dict[str, str] = asked(context)
    return {name: type_ for name, type_ in found.items() if name != getattr(target, "run_column", None)}
