"""Records that were set aside on the way, before any destination sees them: written, counted against the limit, read.

They wait as Parquet files `rejects-….parquet` beside the staged rows; the columns are the fields of `Reject`. `record`
is JSON text with every value exact: whole numbers and decimals keep all digits, texts are unchanged, NULL is null,
dates and instants are ISO 8601 text, binary values base64 text, NaN and the infinities the texts "nan", "inf" and
"-inf". `types` beside it says which types the values had, so that a replay can give them back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.components.base import Columns, JsonValue
from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.delivery import Reject, RejectLimit
from dataforge.errors import TerminalError, bounded

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXAMPLES = 5
MAX_VALUE = 40
"""Characters of a value that a reason shows."""
_BATCH = 10_000


@dataclass(frozen=True)
class Rejects:
    """The records in some files, streamed in order; may be iterated any number of times. Its length counts them."""

    paths: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[Reject]:
        import pyarrow.parquet as pq

        names = [one.name for one in fields(Reject)]
        for path in self.paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=names):
                    for values in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                        yield Reject(*values)

    def __len__(self) -> int:
        if not self.paths:
            return 0
        import pyarrow.parquet as pq

        return sum(int(pq.read_metadata(path).num_rows) for path in self.paths)


def read(paths: Iterable[Path]) -> Rejects:
    """Return the records of reject parts, in the order of the paths."""
    return Rejects(tuple(paths))


def write(path: Path, rejects: Iterable[Reject]) -> int:
    """Write records as one reject part; return how many. Without any, no file is made."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(one.name, pa.int32() if one.name == "step" else pa.string()) for one in fields(Reject)])
    rest, count = iter(rejects), 0
    writer: Any = None
    try:
        while batch := list(islice(rest, _BATCH)):
            writer = writer or pq.ParquetWriter(path, schema)
            columns = [[getattr(reject, name) for reject in batch] for name in schema.names]
            writer.write_table(pa.table(columns, schema=schema))
            count += len(batch)
    finally:
        if writer is not None:
            writer.close()
    return count


def write_rows(
    con: DuckDBPyConnection,
    path: Path,
    rows: str,
    columns: Columns,
    *,
    stage: str,
    reason: str,
    source: str,
    step: int = 0,
    column: str = "''",
    position: str = "''",
    record: str | None = None,
    types: Columns | None = None,
) -> int:
    """Write the rows of the query `rows` as one reject part; return how many.

    `columns` are those of the query that make the record (name to type). `reason`, `column` and `position` are SQL
    over the query; `record` is SQL for the JSON text where that is not the row itself. `types` are those that a replay
    gives to the record's values, by default those of `columns`.
    """
    import duckdb

    from dataforge.runtime.engines.duckdb_ import engine_error

    typed = json.dumps(dict(columns if types is None else types), ensure_ascii=False)
    items = {
        "stage": quote_literal(stage),
        "reason": reason,
        "record": record or record_sql(con, columns),
        "source": quote_literal(source),
        "step": f"CAST({int(step)} AS INTEGER)",
        "column": column,
        "position": position,
        "types": quote_literal(typed),
    }
    listed = ", ".join(f"{value} AS {quote_identifier(name)}" for name, value in items.items())
    try:
        row = con.execute(
            f"COPY (SELECT {listed} FROM ({rows}) AS aside) TO {quote_literal(str(path))} (FORMAT parquet)"
        ).fetchone()
    except duckdb.Error as error:
        raise engine_error(error) from error
    return int(row[0]) if row else 0


def refuse_too_many(limit: RejectLimit, rejected: int, read: int, parts: Sequence[Path]) -> None:
    """Raise TerminalError when more of the `read` records were set aside than the limit allows; `parts` hold them."""
    message = limit.exceeded(rejected, read)
    if message is None:
        return
    reasons = dict.fromkeys(
        f"{reject.position}: {reject.reason}" if reject.position else reject.reason
        for reject in islice(Rejects(tuple(parts)), 1000)
    )
    examples = "; ".join(bounded(reason, 200) for reason in islice(reasons, EXAMPLES))
    raise TerminalError(
        f"{message}; nothing was loaded. Correct the records, or raise the limit under 'dead_letters' in the config"
        + (f". For example: {examples}" if examples else "")
    )


def next_part(folder: Path) -> Path:
    """Return the path of the next reject part in a folder."""
    return folder / f"rejects-{len(list(folder.glob('rejects-*.parquet')))}.parquet"


def counts(extra: Mapping[str, JsonValue], rows: int) -> tuple[int, int]:
    """Return (records read, records set aside) as a stage noted them in its manifest's `extra`; `rows` are its rows."""
    rejected = int(extra.get("rejected") or 0)
    read = extra.get("rows_read")
    return (rows + rejected if read is None else int(read)), rejected


# --------------------------------------------------------------------------------------------- rows as exact JSON text


def record_sql(con: DuckDBPyConnection, columns: Columns) -> str:
    """Return SQL for a row as JSON text; see the module for how each type is written."""
    items = [
        f"{quote_literal(json.dumps(name, ensure_ascii=False) + ': ')} || "
        + _json(con.sqltype(type_), quote_identifier(name), 0)
        for name, type_ in columns.items()
    ]
    inner = " || ', ' || ".join(items)
    return f"'{{' || {inner} || '}}'" if items else "'{}'"


def _json(type_: Any, value: str, depth: int) -> str:
    """SQL for a value as JSON text, 'null' for NULL; nested values in parts, as to_json rounds their decimals."""
    kind, text = str(type_.id), f"CAST({value} AS VARCHAR)"
    if str(type_) == "JSON" or kind in _PLAIN:
        written = text
    elif kind in ("float", "double"):
        written = f"CASE WHEN isfinite({value}) THEN {text} ELSE CAST(to_json({text}) AS VARCHAR) END"
    elif kind == "blob":
        written = f"CAST(to_json(base64({value})) AS VARCHAR)"
    elif kind.startswith("timestamp"):
        iso = rf"regexp_replace(regexp_replace({text}, '^(\S+) (\d)', '\1T\2'), '([+-]\d\d)$', '\1:00')"
        iso = iso if "zone" in kind else rf"regexp_replace({text}, '^(\S+) (\d)', '\1T\2')"
        written = f"CAST(to_json({iso}) AS VARCHAR)"
    elif kind in ("list", "array"):
        item = f"x{depth}"
        inner = _json(dict(type_.children)["child"], item, depth + 1)
        each = f"array_to_string(list_transform({value}, lambda {item}: {inner}), ', ')"
        written = f"CASE WHEN {value} IS NOT NULL THEN '[' || {each} || ']' END"
    elif kind == "struct" and all(name for name, _ in type_.children):
        parts = [
            f"{quote_literal(json.dumps(name, ensure_ascii=False) + ': ')} || "
            + _json(child, f"struct_extract({value}, {quote_literal(name)})", depth)
            for name, child in type_.children
        ]
        joined = " || ', ' || ".join(parts)
        written = f"CASE WHEN {value} IS NOT NULL THEN '{{' || {joined} || '}}' END"
    elif kind == "map":
        item, inner = f"x{depth}", dict(type_.children)["value"]
        entry = f"CAST(to_json(CAST({item}.key AS VARCHAR)) AS VARCHAR) || ': ' || " + _json(
            inner, f"{item}.value", depth + 1
        )
        each = f"array_to_string(list_transform(map_entries({value}), lambda {item}: {entry}), ', ')"
        written = f"CASE WHEN {value} IS NOT NULL THEN '{{' || {each} || '}}' END"
    else:
        written = f"CAST(to_json({text}) AS VARCHAR)"
    return f"coalesce({written}, 'null')"


_PLAIN = frozenset(
    {
        "boolean", "decimal", "tinyint", "smallint", "integer", "bigint", "hugeint",
        "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint",
    }
)  # fmt: skip
