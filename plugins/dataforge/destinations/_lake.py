"""What destinations of open table formats share: the columns, the marker of a load, and rows that are whole or fail.

A load is one commit of the table, and the commit carries our marker. It is refused by the format's own optimistic
concurrency when anybody committed since the table was read; then the table is read again, and the marker of a twin or
of an attempt whose answer was lost is found. Rows carry the number of their run, by which a repeated run replaces them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import DestinationConfig, Incoming, LoadContext, LoadReport
from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.delivery import ContractMode, SchemaContract
from dataforge.components.fields import ColumnName
from dataforge.components.prefetch import prefetch
from dataforge.destinations._columns import Wire, lossless
from dataforge.destinations._file_columns import Arranged, arrange
from dataforge.destinations._file_manifest import SchemaVersion
from dataforge.destinations._ledger import run_number
from dataforge.destinations._table import RUN_COLUMN
from dataforge.errors import ConfigError, Problem, TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

MARKER = "dataforge"
"""The key of our marker among a commit's own properties."""

BATCH_ROWS = 20_000
TRIES = 5
"""How often a load is written again after another commit was faster."""


class LakeConfig(DestinationConfig):
    """Base of the configs of table formats."""

    primary_key: tuple[ColumnName, ...] = Field(
        default=(),
        description="Columns that tell rows apart; merge needs them. Records with the same key, or with none, end the "
        "load.",
        examples=[["order_id"]],
    )
    run_column: ColumnName = Field(
        default=RUN_COLUMN,
        description="Column with the number of the run that wrote the row. By it a repeated run replaces its own rows.",
    )

    @model_validator(mode="after")
    def _merge_has_keys(self) -> Self:
        if self.write_disposition == "merge" and not self.primary_key:
            raise ValueError("merge needs 'primary_key', the columns of the key")
        return self


@dataclass(frozen=True)
class Marker:
    """What a commit says of the load that it is."""

    pipeline: str
    run_key: str
    run_id: str
    digest: str
    disposition: str
    rows: int = 0

    @classmethod
    def of(cls, config: LakeConfig, context: LoadContext) -> Marker:
        """Return the marker of a load."""
        pipeline = f"{context.dag_id}|{context.target}"
        return cls(pipeline, context.run_key, context.run_id, context.digest or "", config.write_disposition)

    def to_text(self) -> str:
        """Return it as one text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: object) -> Marker | None:
        """Return the marker of a text; None where it is none."""
        try:
            return cls(**json.loads(str(text)))
        except (ValueError, TypeError):
            return None

    def is_of(self, other: Marker) -> bool:
        """Whether both are of the same run of the same pipeline."""
        return (self.pipeline, self.run_key) == (other.pipeline, other.run_key)


def newest_of(marker: Marker, found: Iterable[object]) -> Marker | None:
    """Return the newest marker of that run among the texts, which come newest first."""
    return next((one for text in found if (one := Marker.from_text(text)) is not None and one.is_of(marker)), None)


@dataclass(frozen=True)
class Rows:
    """The rows of one load as a Parquet file in scratch: a library that commits by itself gets all of them or none."""

    path: Path
    schema: pa.Schema
    count: int
    bytes: int

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows from the front."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        def batches() -> Iterator[pa.RecordBatch]:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    yield batch.cast(self.schema)

        return pa.RecordBatchReader.from_batches(self.schema, batches())


@dataclass(frozen=True)
class Plan:
    """How records become rows of a table; `number` is that of the run."""

    config: LakeConfig
    arranged: Arranged
    number: int

    def spool(self, incoming: Incoming, scratch: Path) -> Rows:
        """Read the records once, into a file; what breaks them or does not fit is raised."""
        import pyarrow.parquet as pq

        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / f"rows-{secrets.token_hex(4)}.parquet"
        with prefetch(incoming.reader()) as ahead:
            ahead.wait()
            sent = self.arranged.outgoing(ahead, constants={self.config.run_column: self.number})
            with sent.errors(), pq.ParquetWriter(path, sent.schema, compression="lz4") as writer:
                for batch in sent.reader():
                    writer.write_batch(batch)
            ahead.finish()
        return Rows(path, sent.schema, sent.rows, sent.bytes)


def planned(
    config: LakeConfig, schema: pa.Schema, there: pa.Schema | None, context: LoadContext, adapt: Callable[[Any], Any]
) -> Plan:
    """Return how records with the columns `schema` become rows of a table with the columns `there`.

    Types of columns that are there don't change: values must fit them, unless all is replaced. `adapt` gives the type
    in which the format keeps an Arrow type. ConfigError where the contract does not let a column in.
    """
    if context.limit.enabled:
        message = f"{config.type!r} keeps no dead letters, so no record can be set aside"
        raise ConfigError(Problem("unsupported-setting", message, ("type",), "remove 'dead_letters' from the pipeline"))
    if config.run_column in schema.names:
        message = f"the records have a column {config.run_column!r}, which is the run column"
        raise ConfigError(Problem("invalid-columns", message, ("run_column",), "name another run_column"))
    names = schema.names
    if not names or len({name.lower() for name in names}) < len(names):
        message = "the records have no columns, or two of the same name"
        raise ConfigError(Problem("invalid-columns", message, (), "name them with a select or rename transform"))
    missing = [name for name in config.primary_key if name not in names]
    if missing:
        message = f"the records have no column {missing[0]!r}"
        raise ConfigError(Problem("unknown-column", message, ("primary_key",), f"columns: {', '.join(names[:30])}"))
    replaces = config.write_disposition == "replace"
    known, contract = None, context.contract or SchemaContract()
    if there is not None:
        fields = [field for field in there if field.name != config.run_column]
        known = _version(fields)
        if not replaces:
            fixed: dict[str, ContractMode] = {
                field.name: "freeze"
                for field in fields
                if (contract.columns.get(field.name) or contract.default or "evolve") == "evolve"
            }
            contract = SchemaContract(default=contract.default, columns={**contract.columns, **fixed})

    def wire(field: pa.Field[Any]) -> Wire:
        wanted = adapt(field.type)
        found = lossless(field.name, field.type, wanted, str(wanted))
        return found or Wire(field.name, wanted, lambda array: array.cast(wanted))

    arranged = arrange(schema, known, contract, wire, context.limit, replaces=replaces, step=context.last_step)
    return Plan(config, arranged, run_number(context.run_key))


def stored_type(type_: Any, *, zone: str = "UTC") -> Any:
    """Return the Arrow type in which open table formats keep a type: signed integers, microseconds, no dictionaries."""
    import pyarrow as pa
    from pyarrow import types as t

    signed = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20)}
    if type_ in signed:
        return signed[type_]
    if t.is_null(type_) or t.is_time(type_) or t.is_large_string(type_) or type_ == pa.string_view():
        return pa.string()
    if t.is_large_binary(type_) or t.is_fixed_size_binary(type_) or type_ == pa.binary_view():
        return pa.binary()
    if t.is_timestamp(type_):
        return pa.timestamp("us", zone if type_.tz else None)
    if t.is_date64(type_):
        return pa.date32()
    if t.is_float16(type_):
        return pa.float32()
    if t.is_dictionary(type_):
        return stored_type(type_.value_type, zone=zone)
    return type_


def refuse_loss(config: LakeConfig, where: str, rows: int, before: int | None) -> None:
    """Raise TerminalError for a replace that would leave nothing, or fewer than half of the rows, without leave to."""
    if config.write_disposition != "replace" or not before:
        return
    if rows == 0 and not config.allow_empty:
        raise TerminalError(
            f"replacing {where} would leave no rows, where there are {before:,}; nothing was changed. Set allow_empty "
            "to true if that is right"
        )
    if 0 < rows * 2 < before and not config.allow_shrink:
        raise TerminalError(
            f"replacing {where} would leave {rows:,} of {before:,} rows, fewer than half; nothing was changed. Set "
            "allow_shrink to true if that is right"
        )


def refuse_keys(config: LakeConfig, rows: Rows, memory_mb: int) -> None:
    """Raise TerminalError for records whose key is not given, or comes twice: no format says which one wins."""
    import duckdb

    columns = [quote_identifier(name) for name in config.primary_key]
    null = " OR ".join(f"{column} IS NULL" for column in columns)
    with duckdb.connect(config={"memory_limit": f"{memory_mb}MiB", "threads": 2}) as con:
        con.execute(f"SET temp_directory = {quote_literal(str(rows.path.parent / 'spill'))}")
        con.execute(f"SET allowed_paths = [{quote_literal(str(rows.path))}]; SET enable_external_access = false")
        found = con.execute(
            f"SELECT coalesce(sum(n), 0), count(*), coalesce(sum(n) FILTER ({null}), 0) FROM (SELECT "
            f"{', '.join(columns)}, count(*) AS n FROM read_parquet({quote_literal(str(rows.path))}) GROUP BY ALL)"
        ).fetchone()
    total, keys, nulls = found or (0, 0, 0)
    shown = ", ".join(map(repr, config.primary_key))
    if nulls:
        raise TerminalError(f"{nulls:,} of {total:,} records have no value in the key {shown}; nothing was loaded")
    if keys < total:
        raise TerminalError(
            f"{total - keys:,} of {total:,} records have the key {shown} of another one; nothing was loaded. Keep one "
            "of each with a deduplicate transform"
        )


def already(marker: Marker, target: str) -> LoadReport:
    """Return the report of a load that an earlier attempt committed."""
    return LoadReport(target, marker.rows, inserted=marker.rows, already=True)


def _version(fields: Iterable[pa.Field[Any]]) -> SchemaVersion:
    import base64

    import pyarrow as pa

    schema = pa.schema(list(fields))
    data = base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()
    return SchemaVersion(1, {field.name: str(field.type) for field in schema}, data)


Way = Literal["create", "append", "own", "replace", "merge"]


def way_of(config: LakeConfig, *, is_there: bool, may_have_rows: bool) -> Way:
    """Return how the rows get into the table: "own" replaces those of this run, where it may have some."""
    if not is_there:
        return "create"
    if config.write_disposition == "append":
        return "own" if may_have_rows else "append"
    return "replace" if config.write_disposition == "replace" else "merge"
