"""DuckDB as the embedded engine: a locked-down connection, and plans that run on it as streams.

User SQL is allow-listed before it gets here; the connection is the second belt. It can open only the given files and
folders, loads and installs no extension, sees no Python variables, and its settings can't be changed any more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dataforge.components import sql
from dataforge.components.base import ArrowTransform, Columns, Contextual
from dataforge.components.database import quote_identifier, quote_literal, writing_config
from dataforge.components.wide_decimals import held_batch, held_schema
from dataforge.errors import ConfigError, DataForgeError, TerminalError, TransientError, bounded
from dataforge.runtime.compile import ArrowSegment, Plan, SqlSegment, mark_json, read_arrow

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from sqlglot import exp

BATCH_ROWS = 65_536
ROW_GROUP_ROWS = 20_480
"""Rows of a staged row group: small ones are written and read with a third less CPU and memory than DuckDB's own."""
Compression = Literal["snappy", "zstd", "lz4"]


def connect(
    scratch: Path,
    *,
    readable: Iterable[Path] = (),
    memory_mb: int = 192,
    threads: int = 2,
    ordered: bool = True,
    straining: bool = False,
) -> duckdb.DuckDBPyConnection:
    """Return an in-memory database that spills to `scratch` and can open only `scratch` and the `readable` places.

    A folder opens everything below it, a file only itself; both must be absolute. Instants are shown in UTC. Without
    `ordered`, rows may come out in another order than they were read, faster and in less memory. With `straining`,
    rows for which an expression can't be computed can be told (`runtime.strain`).
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": f"{memory_mb}MiB",
            "threads": str(threads),
            "temp_directory": str(scratch / "spill"),
            "preserve_insertion_order": "true" if ordered else "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            **writing_config(),
            # it computes what two expressions share outside of their TRY, where an error ends the query
            **({"disabled_optimizers": "common_subexpressions"} if straining else {}),
        }
    )
    places = list(readable)
    folders = [scratch, *(place for place in places if place.is_dir())]
    files = [place for place in places if not place.is_dir()]
    connection.execute(
        f"SET allowed_directories = {_texts(folders)}; SET allowed_paths = {_texts(files)}; SET TimeZone = 'UTC'; "
        "SET python_enable_replacements = false; SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection


def columns(connection: duckdb.DuckDBPyConnection, name: str) -> Columns:
    """Return names and types of a table or view, in order."""
    quoted = sql.identifier(name).sql(sql.DIALECT)
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {quoted}").fetchall()}


def run(connection: duckdb.DuckDBPyConnection, plan: Plan, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
    """Return the result of a plan as a stream; the inputs are tables or views of their names on the connection.

    Nothing is read before the stream is. A plan that was compiled without types is compiled again with the real ones.
    Errors come out of the stream as ours: TerminalError for data that doesn't fit, TransientError for what may pass.
    """
    plan = _bound(connection, plan)
    where, query, stream, handed = _until_last(connection, plan, batch_rows)
    if stream is None:
        assert query is not None
        stream = _stream(where, query, plan, batch_rows)
    return _guarded(stream, plan, (where, connection), handed)


class Handed:
    """A Python stream on its way into the engine: it ends early where it breaks, and `refuse_broken` tells of it.

    Whoever has run a query over `reader` must call that before the result is used. Columns have the types in which the
    engine holds their values.
    """

    def __init__(self, source: pa.RecordBatchReader) -> None:
        import pyarrow as pa

        self._broken: list[Exception] = []
        # the reader must not lead back here: nobody could see that circle, and what is not read to its end would stay
        schema = held_schema(source.schema)
        self.reader = pa.RecordBatchReader.from_batches(schema, _until_broken(source, schema, self._broken))

    @property
    def failure(self) -> Exception | None:
        """What broke the stream, as it was raised."""
        return self._broken[0] if self._broken else None

    def refuse_broken(self) -> None:
        """Raise what broke the stream."""
        if self.failure is not None:
            raise self.failure


def _until_broken(source: pa.RecordBatchReader, schema: pa.Schema, broken: list[Exception]) -> Iterator[pa.RecordBatch]:
    try:
        for batch in source:
            yield held_batch(batch, schema)
    except Exception as error:  # noqa: BLE001 - raised by `refuse_broken`
        # an error that passes through the engine loses its class, and an ordered COPY may wait for ever after one
        broken.append(error)


def read(connection: duckdb.DuckDBPyConnection, query: exp.Query) -> pa.Table:
    """Return the whole result of a query; for results that are known to be small."""
    return _guarded(_stream(connection, query, None, BATCH_ROWS), None, (connection,)).read_all()


def write_parquet(
    connection: duckdb.DuckDBPyConnection,
    what: Plan | exp.Query | str,
    path: Path,
    *,
    compression: Compression = "snappy",
) -> int:
    """Write the result of a plan or query, or the table or view of a name, as one Parquet file; return its rows.

    The engine writes by itself and in parallel unless the last step is a transform in Python. The folder must be one
    that the connection may open.
    """
    import duckdb

    plan = _bound(connection, what) if isinstance(what, Plan) else None
    handed: Sequence[Handed] = ()
    try:
        if isinstance(what, Plan):
            assert plan is not None
            where, query, stream, handed = _until_last(connection, plan, BATCH_ROWS)
            if stream is not None:
                return _spool(_guarded(stream, plan, (where,), handed), path, compression)
            assert query is not None
            select = query.sql(sql.DIALECT)
        else:
            where = connection
            select = f"FROM {quote_identifier(what)}" if isinstance(what, str) else what.sql(sql.DIALECT)
        rows = copy_parquet(where, select, path, compression)
    except duckdb.Error as error:
        _refuse_broken(handed, plan)
        raise engine_error(error, plan) from error
    _refuse_broken(handed, plan)
    return rows


def copy_parquet(
    connection: duckdb.DuckDBPyConnection, select: str, path: Path, compression: Compression = "snappy"
) -> int:
    """Write the result of a query, given as SQL, as one Parquet file; return its rows. DuckDB's errors come as such."""
    rows = connection.execute(
        f"COPY ({select}) TO {quote_literal(str(path))} (FORMAT parquet, COMPRESSION {compression}, "
        f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}, DICTIONARY_SIZE_LIMIT 1)"
    ).fetchone()
    return int(rows[0]) if rows else 0


def view_parquet(connection: duckdb.DuckDBPyConnection, name: str, files: Iterable[Path]) -> None:
    """Make the rows of Parquet files of the same columns readable as a view."""
    quoted = sql.identifier(name).sql(sql.DIALECT)
    connection.execute(f"CREATE OR REPLACE VIEW {quoted} AS SELECT * FROM read_parquet({_texts(files)})")


def _texts(paths: Iterable[Path]) -> str:
    return "[" + ", ".join(quote_literal(str(path)) for path in paths) + "]"


def _bound(connection: duckdb.DuckDBPyConnection, plan: Plan) -> Plan:
    return plan if plan.is_bound else plan.bind({name: columns(connection, name) for name in plan.inputs})


def _until_last(
    connection: duckdb.DuckDBPyConnection, plan: Plan, batch_rows: int
) -> tuple[duckdb.DuckDBPyConnection, exp.Query | None, pa.RecordBatchReader | None, Sequence[Handed]]:
    """Set up all segments but the last; return its connection with its query, or its stream when it is in Python.

    Last come the streams of Python transforms that it is made from.
    """
    where, query = connection, None
    handed: list[Handed] = []
    segments = plan.segments
    for position, segment in enumerate(segments):
        if isinstance(segment, SqlSegment):
            query = segment.query
            continue
        assert query is not None
        component = ready(segment.component, plan, segment.step)
        stream = transformed(component, segment.step, plan, _stream(where, query, plan, batch_rows))
        if position == len(segments) - 1:
            return where, None, stream, handed
        if _is_read_once(segment.name, segments[position + 1 :]):
            # A connection has one open stream at a time, so the next query reads this one from a second connection.
            where = connection.cursor()
            handed.append(Handed(stream))
            where.register(segment.name, handed[-1].reader)
        else:
            where = connection
            _keep(connection, segment.name, _guarded(stream, plan, (), handed))
    return where, query, None, handed


def _is_read_once(name: str, later: tuple[SqlSegment | ArrowSegment, ...]) -> bool:
    """Whether a stream is enough: only the next segment reads `name`, nothing else, and no part of it twice."""
    from sqlglot import exp

    queries = [segment for segment in later if isinstance(segment, SqlSegment)]
    if queries[0].reads != (name,) or any(name in segment.reads for segment in queries[1:]):
        return False
    # What comes after would look for the inputs on the second connection, where they may not be.
    if len(queries) > 1 and any(not set(segment.reads) <= {name, *_results(later)} for segment in queries[1:]):
        return False
    return max(Counter(table.name for table in queries[0].query.find_all(exp.Table)).values()) == 1


def _results(segments: tuple[SqlSegment | ArrowSegment, ...]) -> set[str]:
    return {segment.name for segment in segments if isinstance(segment, ArrowSegment)}


def _stream(
    connection: duckdb.DuckDBPyConnection, query: exp.Query, plan: Plan | None, batch_rows: int
) -> pa.RecordBatchReader:
    import duckdb

    try:
        reader: pa.RecordBatchReader = read_arrow(connection.sql(query.sql(sql.DIALECT)), batch_rows)
    except duckdb.Error as error:
        raise engine_error(error, plan) from error
    return reader


def ready(component: ArrowTransform, plan: Plan, step: int) -> ArrowTransform:
    """Return a transform in Python with what it needs of the run's context."""
    if not isinstance(component, Contextual):
        return component
    if plan.context is None:
        raise TerminalError(f"{_place(plan, step)} needs a run: its connection or its language model")
    try:
        return component.using(plan.context)
    except ConfigError as error:
        raise error.under("transforms", step) from None


def transformed(component: ArrowTransform, step: int, plan: Plan, stream: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return the stream behind a ready transform in Python, held to the schema that the transform promised."""
    import pyarrow as pa

    stream = with_json(stream, plan.columns_of(plan.steps[step].reads[0]) or {})
    schema = component.schema(stream.schema)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in component.apply_batches(stream):
            if batch.schema.names != schema.names or batch.schema.types != schema.types:
                raise TerminalError(
                    f"{_place(plan, step)} gave the columns {_fields(batch.schema)}, "
                    f"but its schema() promised {_fields(schema)}"
                )
            yield batch

    return pa.RecordBatchReader.from_batches(schema, batches())


def with_json(stream: pa.RecordBatchReader, columns: Columns) -> pa.RecordBatchReader:
    """Return the stream of a relation of these columns with JSON marked as such, which the engine gives as text."""
    import pyarrow as pa

    schema = mark_json(stream.schema, columns)
    if schema == stream.schema:
        return stream

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream:
            marked = [
                pa.ExtensionArray.from_storage(field.type, column) if field.type != column.type else column
                for field, column in zip(schema, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(marked, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _fields(schema: pa.Schema) -> str:
    return bounded(", ".join(f"{field.name} {field.type}" for field in schema), 300)


def _keep(connection: duckdb.DuckDBPyConnection, name: str, stream: pa.RecordBatchReader) -> None:
    """Put a stream into a file in the scratch folder and make it a view, for results that are read more than once."""
    # The stream may be the connection's own open result, which another query on it would close.
    found = connection.cursor().execute("SELECT current_setting('temp_directory')").fetchone()
    assert found is not None
    folder = Path(str(found[0])).parent
    path = folder / f"arrow-{len(list(folder.glob('arrow-*.parquet')))}.parquet"
    _spool(stream, path, "snappy")
    view_parquet(connection, name, [path])


def _spool(stream: pa.RecordBatchReader, path: Path, compression: Compression) -> int:
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(path, stream.schema, compression=compression) as writer:
        for batch in stream:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _guarded(
    stream: pa.RecordBatchReader, plan: Plan | None, keep: tuple[object, ...], handed: Sequence[Handed] = ()
) -> pa.RecordBatchReader:
    """The same stream, with the engine's errors as ours, and `keep` alive as long as it is.

    It ends with what broke one of the `handed` streams that it is made from.
    """
    import pyarrow as pa

    def batches(_keep: tuple[object, ...] = keep) -> Iterator[pa.RecordBatch]:
        try:
            yield from stream
        except Exception as error:
            _refuse_broken(handed, plan)
            if _is_engines(error):
                raise engine_error(error, plan) from error
            raise
        _refuse_broken(handed, plan)

    return pa.RecordBatchReader.from_batches(stream.schema, batches())


def _refuse_broken(handed: Iterable[Handed], plan: Plan | None) -> None:
    for one in handed:
        try:
            one.refuse_broken()
        except Exception as error:
            if _is_engines(error):
                raise engine_error(error, plan) from error
            raise


def _is_engines(error: Exception) -> bool:
    """Whether an error is the engine's, or what Arrow makes of one on its way through a stream."""
    import duckdb
    import pyarrow as pa

    return isinstance(error, duckdb.Error) or (
        isinstance(error, OSError | pa.ArrowException) and _ENGINE.match(str(error)) is not None
    )


# ------------------------------------------------------------------------------------------------------------- errors

_ENGINE = re.compile(r"\A(?P<kind>(?:[A-Z][\w-]* ?(?:of )?)+)Error: ")
_CONVERSION = re.compile(
    r"Could not convert (?:string )?(?P<quote>[\"'])(?P<value>.*?)(?P=quote) to (?P<type>[\w(),\[\] ]+?)"
    r"(?: when casting from source column (?P<column>.+))?\Z",
    re.DOTALL,
)
_TYPE_NAMES = {"INT8": "TINYINT", "INT16": "SMALLINT", "INT32": "INTEGER", "INT64": "BIGINT", "INT128": "HUGEINT"}


def engine_error(error: Exception, plan: Plan | None = None) -> DataForgeError:
    """Return DuckDB's error as ours: which step and column where it can be told, no more than a bit of the value."""
    from dataforge.runtime.landing import explain

    if (explained := explain(error)) is not None:
        return explained
    match = _ENGINE.match(str(error))
    kind = match["kind"].strip().lower() if match else ""
    text = re.split(r"\n\s*LINE \d+:|\n\s*Possible solutions:", str(error)[match.end() if match else 0 :])[0].strip()
    if kind.startswith("out of memory"):
        return TerminalError(
            "the engine ran out of memory; raise memory_limit_mb in [dataforge], lower threads, or sort, join and "
            f"aggregate fewer rows ({bounded(text, 200)})"
        )
    if kind == "conversion":
        return TerminalError(_conversion(text, plan))
    if kind in ("io", "interrupt", "connection", "http", "transactioncontext", "transaction"):
        return TransientError(f"the engine failed: {bounded(text, 500)}")
    return TerminalError(f"the engine refused: {bounded(text, 500)}")


def _conversion(text: str, plan: Plan | None) -> str:
    match = _CONVERSION.search(text)
    if not match:
        return f"a value does not fit: {bounded(text, 300)}"
    type_ = _TYPE_NAMES.get(match["type"], match["type"])
    column = match["column"]
    step = _casting_step(plan, column, type_) if plan else None
    place = f"{_place(plan, step)}: " if plan and step is not None else ""
    of_column = f"column {column!r}: " if column else ""
    return (
        f"{place}{of_column}{bounded(match['value'], 80)!r} is no {type_}; "
        'correct the data, or let a cast step give null ("on_error": "null")'
    )


def _casting_step(plan: Plan, column: str | None, type_: str) -> int | None:
    """The first step that casts that column, or anything, to that type."""
    from sqlglot import exp

    wanted = exp.DataType.build(type_, dialect=sql.DIALECT) if sql.family(type_) else None
    for by_type in (True, False):
        for step in plan.steps:
            for node in step.query.find_all(exp.Cast) if step.query is not None else ():
                same_column = column is None or (isinstance(node.this, exp.Column) and node.this.name == column)
                if same_column and (node.to == wanted or not by_type) and not isinstance(node, exp.TryCast):
                    return step.index
        if column is None:
            break
    return None


def _place(plan: Plan, step: int) -> str:
    return f"transforms/{step} ({plan.steps[step].type})"
