"""The component protocols, their config models, and the values that pass between components and the runtime.

A component is one file: a config model, a registration, a class with one method. Its config model is light (pydantic
only); what its class needs (pyarrow, duckdb, sqlglot, drivers, hooks) is imported inside methods, so that a DAG parse
never pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr

from dataforge.components.delivery import ContractMode, CursorStep, Grade, Reject, RejectLimit, SchemaContract
from dataforge.components.extras import Extra
from dataforge.components.fields import ColumnName, DataType, Duration, Name
from dataforge.errors import Problem, TerminalError
from dataforge.observability.log import line

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from dataforge.components.seen_files import ListedFile

JsonValue = Any
"""A value that JSON can hold; `Any` since recursive aliases defeat both mypy and pydantic here."""

WriteDisposition = Literal["append", "replace", "merge"]


class ComponentConfig(BaseModel):
    """Base of every component's config: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)

    type: str

    def extras(self) -> tuple[Extra, ...]:
        """Return the optional packages that this config needs, whether installed or not."""
        return ()


class SourceConfig(ComponentConfig):
    """Base of source configs."""

    columns: dict[ColumnName, DataType] = Field(
        default_factory=dict,
        description="Types to give to columns instead of the inferred ones: column name to SQL type.",
        examples=[{"zip": "text", "amount": "decimal(12,2)"}],
    )
    cursor_field: ColumnName | None = Field(
        default=None,
        description="Column that only grows, such as a change time or serial number: each run then reads only records "
        "above the greatest value that was loaded, and those with that very value which came later. The value is "
        "committed with the rows. Times are compared as instants, in UTC where they have no offset; text only where "
        "'columns' says that it is text. A backfill reads the records of its interval and leaves the value as it is.",
        examples=["updated_at"],
    )
    initial_value: StrictStr | StrictInt | StrictFloat | None = Field(
        default=None, description="Where the first run begins (included); everything is read when not set."
    )
    lookback: StrictInt | StrictFloat | Duration | None = Field(
        default=None,
        description="How far before the cursor each run reads again, for records that arrive late: a duration for a "
        "time, a number for a number. Records read twice need a primary key and write_disposition merge.",
        examples=["1h"],
    )
    null_cursor: Literal["fail", "skip", "dead_letter"] = Field(
        default="fail", description="What happens to records without a value in the cursor field."
    )

    def asset(self) -> str | None:
        """Return what is read as an asset URI, or None where nothing stable can be named."""
        return None

    def position_name(self) -> str | None:
        """Return what the source calls the position of its own that it reads on from, such as "offsets".

        None for sources without one; those read on by a cursor field, if at all.
        """
        return None

    @property
    def cursor_name(self) -> str | None:
        """The cursor field or the name of the source's own position; None where each run reads everything."""
        return self.cursor_field if self.cursor_field is not None else self.position_name()

    def grade(self) -> Grade:
        """Return what a full read of this source proves; a read by cursor is a "window" at best."""
        return "snapshot"

    def incremental(self) -> str | None:
        """Return the key by which each run reads on from where the last one ended; None where all is read anew."""
        if self.cursor_field is not None:
            return "cursor_field"
        return "resume" if self.position_name() is not None else None


class TransformConfig(ComponentConfig):
    """Base of transform configs."""

    input: Name | None = Field(
        default=None,
        description="Name of the source or of the earlier named transform to read; the previous step when not set.",
    )
    name: Name | None = Field(default=None, description="A name under which later transforms can read this result.")


class CheckConfig(ComponentConfig):
    """Base of check configs."""

    severity: Literal["fail", "warn", "reject"] = Field(
        default="fail",
        description="fail stops the run before anything is loaded; warn is reported and goes on; reject sets the rows "
        "that break it aside as dead letters, up to the pipeline's dead_letters limits.",
    )


class DestinationConfig(ComponentConfig):
    """Base of destination configs."""

    write_disposition: WriteDisposition = Field(
        default="append",
        description="append adds rows; replace leaves only this run's rows; merge brings rows of known keys up to date "
        "and adds the others (tables only).",
    )
    schema_contract: SchemaContract | ContractMode | None = Field(
        default=None,
        description="What may happen to this target's columns, over the pipeline's own schema_contract. evolve adds "
        "new columns and widens types; freeze refuses them; discard_row sets rows with them aside; discard_value "
        "drops the values.",
    )
    allow_empty: bool = Field(
        default=False,
        description="Whether replace, or a merge that deletes missing rows, may leave no rows where there were some.",
    )
    allow_shrink: bool = Field(
        default=False,
        description="Whether replace, or a merge that deletes missing rows, may leave fewer than half of the rows that "
        "there were.",
    )

    def asset(self) -> str | None:
        """Return what is written as an asset URI, or None where nothing stable can be named."""
        return None

    def slot(self) -> str | None:
        """Return a name for what only one load may write at a time; None where loads don't disturb each other."""
        return None

    def commit_point(self) -> str | None:
        """Return where a load becomes true, for a destination whose readers must look there; None for one by files."""
        return None


@dataclass(frozen=True)
class Connection:
    """An Airflow connection as a plain value; its secrets never show in a repr."""

    id: str
    type: str = ""
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RunValues:
    """What `${…}` in a config may stand for during one run. Instants are timezone-aware."""

    params: Mapping[str, JsonValue] = field(default_factory=dict)
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    run_id: str = "manual"


@dataclass(frozen=True)
class CursorBounds:
    """The records that a run reads by its cursor: from `lower` up to `upper`, both included; None is no limit.

    They are texts of the DuckDB type `type`, which is "" while it is not known (`initial_value` of a first run). With
    `nulls` records without a value are wanted too. A source may leave the others out, but need not: the runtime does
    so again, exactly.
    """

    field: str
    lower: str | None = None
    upper: str | None = None
    type: str = ""
    nulls: bool = True


@dataclass(frozen=True)
class Position:
    """From where on a source reads that keeps a position of its own (`SourceConfig.position_name`), as JSON values.

    `before` is where the run before ended, None where there was none. With `until`, this is a run done again: it reads
    exactly from `before` to `until`. The source calls `reach`, before it returns from `extract`, with where it ends;
    that is committed with the rows.
    """

    before: JsonValue = None
    until: JsonValue = None
    reach: Callable[[JsonValue], None] = lambda value: None  # noqa: ARG005 - for sources that are used by themselves


def refuse_record(reject: Reject) -> None:
    """Raise TerminalError for a record that can't be read, as where a pipeline keeps no dead letters."""
    raise TerminalError(
        f"{reject.position}: {reject.reason}; nothing was loaded. 'dead_letters' in the config would set it aside"
    )


@dataclass(frozen=True)
class ExtractContext:
    """What a source may use while it reads.

    `connection` looks an Airflow connection up by id; `scratch` is an empty local folder that is removed afterwards;
    `sample` is the number of rows that are enough (preview), or None for all; `log` takes a message and fields;
    `cursor` tells a source with a cursor field what is wanted, None for everything. A source calls `watch` with each
    file of others that it is about to read: when it is another by the end of reading, the run begins anew. A source
    that reads new files only calls `choose` once with all that there are, and reads those that it gives back.
    `position` is for sources with a position of their own, None in a preview. `reject` takes a record that can't be
    read, before `extract` returns; it raises where none may be set aside. `source` is its name in the pipeline.
    """

    connection: Callable[[str], Connection]
    scratch: Path
    values: RunValues = field(default_factory=RunValues)
    sample: int | None = None
    log: Callable[..., None] = line
    cursor: CursorBounds | None = None
    watch: Callable[[Path], None] = lambda path: None  # noqa: ARG005 - for sources that are used by themselves
    choose: Callable[[Iterable[ListedFile]], list[ListedFile]] = list
    position: Position | None = None
    reject: Callable[[Reject], None] = refuse_record
    source: str = ""


@dataclass(frozen=True)
class LoadContext:
    """What a destination may use while it writes, and what it must commit together with the rows.

    `run_key` (16 hexadecimal digits) is the same for every attempt of one run into one target; `target` names the
    target in the ledger. `digest` is that of the staged manifest, None where rows stream; `rows_read` counts the
    records that the sources gave, of which `rejects` (which may be iterated again) were set aside before the load.
    With `dry_run` everything is done and rolled back. `replays` are ids of dead letters that this load takes back in.
    """

    connection: Callable[[str], Connection]
    scratch: Path
    run_key: str
    dag_id: str = ""
    values: RunValues = field(default_factory=RunValues)
    log: Callable[..., None] = line
    run_id: str = ""
    target: str = ""
    digest: str | None = None
    revision: str = ""
    actor: str = ""
    contract: SchemaContract | None = None
    cursor: CursorStep | None = None
    rejects: Iterable[Reject] = ()
    rows_read: int | None = None
    limit: RejectLimit = field(default_factory=RejectLimit)
    last_step: int = 0
    replays: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class Files:
    """Local files that the engine scans itself; `options` are reader options of that format.

    csv:     delimiter, quote, escape, header (bool), null_values (list of str), encoding: as DuckDB's read_csv names
    json:    format ("newline_delimited" or "array"), and `records` is already applied
    parquet: none
    CSV and JSON are untyped: the runtime types them over all rows.
    """

    format: Literal["csv", "json", "parquet"]
    paths: tuple[Path, ...]
    options: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Batches:
    """Typed records: an Arrow stream, read once, front to back.

    `close` gives back what the stream holds (a connection, a snapshot) also when it was not read to its end.
    """

    reader: pa.RecordBatchReader
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Records:
    """Untyped records as JSON objects, page by page; the runtime lands them and types them over all rows."""

    pages: Iterable[list[dict[str, JsonValue]]]


Extracted = Files | Batches | Records


class Source(Protocol):
    """Reads records. Built with its config; a new instance for each extract."""

    def __init__(self, config: Any) -> None: ...

    def extract(self, context: ExtractContext) -> Extracted:
        """Return the records; opened lazily, closed by exhausting or by garbage collection."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A source or destination whose connection can be tried."""

    def check(self, context: ExtractContext) -> str:
        """Return one sentence that says what was reached; raise a DataForgeError that says what was not."""
        ...


@runtime_checkable
class Verifiable(Protocol):
    """A component whose config can be wrong in ways that its model can't tell, but that need no I/O to see."""

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong with the config, with paths below it."""
        ...


@runtime_checkable
class Measurable(Protocol):
    """A source that can tell about how much it holds without reading its records."""

    def measure(self, context: ExtractContext) -> tuple[int, int]:
        """Return about how many rows and bytes a run would read."""
        ...


@runtime_checkable
class Discoverable(Protocol):
    """A source that can tell its columns without reading its records."""

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return column names to SQL types in DuckDB's spelling, in order."""
        ...


Columns = Mapping[str, str]
"""Column names to SQL types in DuckDB's spelling, in order."""


@dataclass(frozen=True)
class Relation:
    """A named input of a transform or check: a table to select from, and its columns when they are known."""

    name: str
    columns: Columns | None = None

    def table(self) -> exp.Table:
        """Return the quoted table expression to select from."""
        from sqlglot import exp

        return exp.Table(this=exp.to_identifier(self.name, quoted=True))


@dataclass(frozen=True)
class Scope:
    """What a transform's SQL may refer to besides its input: other named relations, and the run's values.

    `params` are the declared run parameters, name to type ("string", "integer", "number", "boolean", "date",
    "datetime"), or None where they are not at hand; `values` is None while a config is only validated.
    """

    relations: Mapping[str, Relation] = field(default_factory=dict)
    values: RunValues | None = None
    params: Mapping[str, str] | None = None


class Transform(Protocol):
    """Turns relations into a relation: no I/O, no engine."""

    def __init__(self, config: Any) -> None: ...

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return a query over `relation`; raise ConfigError with paths relative to this transform's config."""
        ...


@dataclass(frozen=True)
class Refused:
    """The rows of its input that a SQL transform sets aside: `broken` is true for them, over that relation's columns.

    It may hold subqueries over other relations of the scope. `says` is what is wrong with such a row, `column` the one
    column at fault, if it is one. What `apply` returns leaves these rows out by itself.
    """

    broken: exp.Expr
    says: str
    column: str = ""


@runtime_checkable
class Refusing(Protocol):
    """A SQL transform that can set rows aside as dead letters."""

    def refused(self, relation: Relation, scope: Scope) -> Refused | None:
        """Return which rows of `relation` are set aside; None when the config asks for none to be."""
        ...


class ArrowTransform(Protocol):
    """A transform in Python; it takes and gives Arrow batches as they stream by.

    Columns of type JSON come as `arrow.json` over text, and what is given as such is JSON again.
    """

    def __init__(self, config: Any) -> None: ...

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema of the batches that `apply_batches` yields for input of `schema`.

        Raise ConfigError with paths relative to this transform's config where that can't be its input.
        """
        ...

    def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        """Yield transformed batches."""
        ...


@dataclass(frozen=True)
class Question:
    """One request to a language model: what to do, and with which text. The answer follows the JSON Schema.

    Questions of one `request_id` share one budget; `model` is `model`, or `connection/model`, or None for the
    deployment's own; `actor` is whom the use is counted for.
    """

    instructions: str
    text: str
    schema: Mapping[str, JsonValue]
    request_id: str
    max_tokens: int = 1_024
    model: str | None = None
    actor: str = ""


Ask = Callable[[Question], JsonValue]
"""Puts a question to a language model and returns the JSON of its answer, None for one that is no such JSON.

It raises a GatewayError where there is no answer.
"""


@dataclass(frozen=True)
class TransformContext:
    """What a transform in Python may use while it runs.

    `connection` looks an Airflow connection up by id; `ask` reaches a language model, None where there is none;
    `sample` is the number of rows that a preview shows, None in a run; `actor` and `run_id` are those of the run.
    """

    connection: Callable[[str], Connection]
    ask: Ask | None = None
    sample: int | None = None
    actor: str = ""
    run_id: str = ""


@runtime_checkable
class Contextual(Protocol):
    """An Arrow transform that needs more than its config and its batches: a connection, a language model."""

    def using(self, context: TransformContext) -> ArrowTransform:
        """Return the transform that runs, with what it needs of the context; called once for each stream."""
        ...


@runtime_checkable
class Sifting(Protocol):
    """An Arrow transform that can set rows aside as dead letters."""

    @property
    def sifts(self) -> bool:
        """Whether the config asks for that."""
        ...

    def reasons(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        """Return for each row in words why it is set aside, null for one that `apply_batches` is to get."""
        ...


@runtime_checkable
class RowWise(Protocol):
    """An Arrow transform that makes each row of one row alone: dead letters can be replayed through it."""

    @property
    def row_wise(self) -> Literal[True]:
        """Say so."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """An Arrow transform that tells what its columns are made from; without that, a new one is made from all."""

    def made_from(self) -> Mapping[str, tuple[str, ...]]:
        """Return the new and changed columns, each with the columns that it is made from; all others pass as is."""
        ...


@dataclass(frozen=True)
class CheckQueries:
    """How a check is measured.

    `count` gives one row (violations bigint, checked bigint); `examples` gives violating rows, the caller limits them.
    A check that looks at each row alone gives `violates`, true for a row that breaks it, else false or null; only such
    a check can have severity "reject". `says` is what is wrong with such a row, `column` the one column at fault.
    """

    count: exp.Query
    examples: exp.Query | None = None
    violates: exp.Expr | None = None
    says: str = ""
    column: str = ""


class Check(Protocol):
    """Says what is wrong with a relation, as queries: no I/O, no engine."""

    def __init__(self, config: Any) -> None: ...

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Return the queries that measure this check on `relation`."""
        ...

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        ...


@dataclass(frozen=True)
class Capabilities:
    """What a destination can do; validation asks this value, never the type.

    `commit` says where a load becomes true: in one transaction with its marker; by a manifest or pointer through which
    readers must look; row by row under its key, with the marker after them, but a replace by a pointer ("keys"); or
    nowhere, so that a repeated load can't be told from a new one. `plans` says whether a load
    honours `LoadContext.dry_run`.
    """

    dispositions: frozenset[str]
    transactional: bool
    kind: Literal["table", "files"]
    commit: Literal["transaction", "manifest", "keys", "none"] = "none"
    plans: bool = False


@dataclass(frozen=True)
class LoadReport:
    """What a load did: rows and bytes are of this load, `target` is how a person would name the place.

    `schema_changes` says in SQL what was done to columns; `schema_notes` in words what is new, missing or different.
    With `already`, an earlier attempt had committed these rows, and the figures are that attempt's.
    """

    target: str
    rows: int
    bytes: int = 0
    seconds: float = 0.0
    created: bool = False
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: int = 0
    already: bool = False
    schema_version: int = 0
    schema_changes: tuple[str, ...] = ()
    schema_notes: tuple[str, ...] = ()


class Incoming(Protocol):
    """The rows to load. `reader` may be called again for another pass from the front."""

    @property
    def schema(self) -> pa.Schema: ...

    def reader(self) -> pa.RecordBatchReader: ...


class Destination(Protocol):
    """Writes records; one load is one transaction."""

    capabilities: ClassVar[Capabilities]

    def __init__(self, config: Any) -> None: ...

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Write all rows of `incoming` or none; raise TransientError, TerminalError or ConfigError."""
        ...
