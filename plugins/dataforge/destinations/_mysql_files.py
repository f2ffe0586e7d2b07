"""MySQL's and MariaDB's bulk way in: a file that the driver sends, by LOAD DATA LOCAL INFILE."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dataforge.components.database import quote_identifier, quote_literal, writing_config
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    import pyarrow as pa


def load(cursor: Any, driver: str, into: str, names: Sequence[str], batch: pa.RecordBatch, folder: Path | None) -> int:
    """Send a batch into a table (both in MySQL's quoting); return how many rows the server took.

    The server changes values that do not fit, and leaves out rows whose key is there, with no more than a warning:
    any warning is a TerminalError here.
    """
    path = (folder or Path()) / f"rows-{uuid4().hex}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        blobs = _write(batch, path)
        targets = [f"@c{index}" if index in blobs else name for index, name in enumerate(names)]
        sets = ", ".join(f"{names[index]} = unhex(@c{index})" for index in blobs)
        file = quote_literal(str(path).replace("\\", "\\\\"))
        _asking(cursor, driver, allowed=True)
        cursor.execute(
            f"load data local infile {file} into table {into} character set utf8mb4 fields terminated by ',' "
            f"enclosed by '\"' escaped by '' lines terminated by '\\n' ({', '.join(targets)})"
            f"{f' set {sets}' if sets else ''}"
        )
        taken = int(cursor.rowcount)
    finally:
        _asking(cursor, driver, allowed=False)
        path.unlink(missing_ok=True)
    cursor.execute("show warnings limit 1")
    if warned := cursor.fetchall():
        said = re.sub(r"'[^']*'", "'…'", str(warned[0][2]))
        raise TerminalError(f"the server would not take {into} as it is: {said} ({warned[0][1]}); nothing was changed")
    return taken


def _asking(cursor: Any, driver: str, *, allowed: bool) -> None:
    """Let the server ask for the file only while it should: PyMySQL sends any file that a server asks for."""
    if driver == "pymysql":
        cursor.connection._local_infile = allowed  # noqa: SLF001 - there is no public way


def _write(batch: pa.RecordBatch, path: Path) -> list[int]:
    """Write the rows as quoted fields, null as a bare NULL; return the indexes of columns written as hex digits."""
    import duckdb
    import pyarrow as pa
    from pyarrow import types as t

    numbered = pa.RecordBatch.from_arrays(batch.columns, names=[f"c{index}" for index in range(batch.num_columns)])
    blobs, columns = [], []
    for index, field in enumerate(numbered.schema):
        name = quote_identifier(field.name)
        if t.is_boolean(field.type):
            columns.append(f"cast({name} as tinyint)")
        elif t.is_timestamp(field.type) and field.type.tz is not None:
            columns.append(f"{name} at time zone 'UTC'")  # the session's zone, and what the columns hold
        elif t.is_binary(field.type) or t.is_large_binary(field.type):
            blobs.append(index)
            columns.append(f"hex({name})")
        else:
            columns.append(name)
    con = duckdb.connect(config={**writing_config()})
    try:
        con.execute("set timezone = 'UTC'")
        con.register("batch", pa.Table.from_batches([numbered]))
        con.execute(
            f"copy (select {', '.join(columns)} from batch) to {quote_literal(str(path))} (format csv, header false, "
            "delimiter ',', quote '\"', escape '\"', force_quote *, nullstr 'NULL')"
        )
    finally:
        con.close()
    return blobs
