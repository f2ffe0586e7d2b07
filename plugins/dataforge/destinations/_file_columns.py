"""Which columns a load writes to files, given those of earlier loads: the schema contract, applied to one stream.

Parts that are written already are never rewritten. So that readers see columns of one type, a load writes the types of
earlier ones wherever its values fit, and null where a known column is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dataforge.components.delivery import ContractMode, RejectLimit, RejectStage, SchemaContract
from dataforge.destinations._columns import Outgoing, Sieve, Wire, lossless, nulls_only
from dataforge.destinations._contract import common_type
from dataforge.destinations._file_manifest import SchemaVersion
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Arranged:
    """The columns of a load: what is written (`schema`), how it comes from the records, and what differs."""

    schema: pa.Schema
    wires: tuple[Wire, ...]
    missing: tuple[pa.Field[Any], ...]
    sieve: Sieve | None
    notes: tuple[str, ...]

    def outgoing(self, batches: Iterable[pa.RecordBatch], constants: Mapping[str, int] | None = None) -> Outgoing:
        """Return the rows on their way to the writer, with the same integer in the columns `constants`."""
        rows = _completed(batches, self.missing) if self.missing else batches
        return Outgoing(rows, self.wires, names=self.schema.names, constants=constants, sieve=self.sieve)

    def records(self, schema: pa.Schema) -> pa.Schema:
        """Return the columns of the records on their way, which came with the columns of `schema`."""
        import pyarrow as pa

        return pa.schema([*schema, *self.missing])

    def fits(self, version: SchemaVersion) -> bool:
        """Whether what is written has the columns of that version."""
        return dict(version.columns) == {field.name: str(field.type) for field in self.schema}

    def version(self, before: SchemaVersion | None, run_id: str, since: str) -> SchemaVersion:
        """Return the schema version that is true after the load: `before`, or one more."""
        import base64

        if before is not None and self.fits(before):
            return before
        columns = {field.name: str(field.type) for field in self.schema}
        data = base64.b64encode(self.schema.remove_metadata().serialize().to_pybytes()).decode()
        return SchemaVersion(before.version + 1 if before else 1, columns, data, run_id, since)


def arrange(
    schema: pa.Schema,
    known: SchemaVersion | None,
    contract: SchemaContract | None,
    wire: Callable[[pa.Field[Any]], Wire],
    limit: RejectLimit,
    *,
    replaces: bool,
    step: int = 0,
) -> Arranged:
    """Return how the columns of `schema` are written after data with the columns `known` (None: there are none).

    ConfigError names every column that the contract does not let in. A replace under "evolve" takes the records'
    columns as they are.
    """
    import pyarrow as pa

    rules = contract or SchemaContract()
    before = {field.name: field for field in known.schema()} if known else {}
    modes: dict[str, Literal["row", "value"]] = {}
    stages: dict[str, RejectStage] = {}
    unwanted: list[str] = []
    notes: list[str] = []
    problems: list[Problem] = []
    fields: dict[str, tuple[pa.Field[Any], Wire | None]] = {}
    for field in schema:
        mode: ContractMode = rules.columns.get(field.name) or rules.default or "evolve"
        old = before.get(field.name)
        if not before or (mode == "evolve" and replaces):
            if old is None and before:
                notes.append(f"column {field.name!r} is new: {field.type}")
            elif old is not None and old.type != field.type:
                notes.append(f"column {field.name!r} was {old.type} and is {field.type} now")
            fields[field.name] = (field, None)
        elif old is None:
            if mode == "evolve":
                notes.append(f"column {field.name!r} is new: {field.type}")
                fields[field.name] = (field, None)
            elif mode == "freeze":
                problems.append(_frozen(f"column {field.name!r} ({field.type}) is new", "drop it with a transform"))
            elif mode == "discard_value":
                notes.append(f"column {field.name!r} is new; its values are left out (discard_value)")
            else:
                unwanted.append(field.name)
                stages[field.name] = "contract"
                notes.append(f"column {field.name!r} is new; rows with a value in it are set aside (discard_row)")
        else:
            found = _fit(field, old, mode, notes)
            if isinstance(found, Problem):
                problems.append(found)
                continue
            fields[field.name] = found
            if mode in ("discard_row", "discard_value"):
                modes[field.name] = "row" if mode == "discard_row" else "value"
                stages[field.name] = "contract"
    if problems:
        raise ConfigError(problems)
    gone = [field for name, field in before.items() if name not in schema.names]
    notes += [f"column {field.name!r} ({field.type}) is missing in the records" for field in gone]
    missing = [
        field
        for field in gone
        if not (replaces and (rules.columns.get(field.name) or rules.default or "evolve") == "evolve")
    ]
    fields |= {field.name: (field, None) for field in missing}
    order = [name for name in before if name in fields and not replaces]
    order += [name for name in fields if name not in order]
    wires = []
    for name in order:
        target, first = fields[name]
        last = wire(target)
        wires.append(last if first is None else Wire(last.name, last.type, _in_turn(first.convert, last.convert)))
    if limit.enabled:
        for one in wires:
            if one.convert is not None:
                modes.setdefault(one.name, "row")
    sieve = Sieve(modes, unwanted, stages=stages, step=step, most=limit.max_rows) if modes or unwanted else None
    return Arranged(pa.schema([fields[name][0] for name in order]), tuple(wires), tuple(missing), sieve, tuple(notes))


def _fit(
    field: pa.Field[Any], old: pa.Field[Any], mode: ContractMode, notes: list[str]
) -> tuple[pa.Field[Any], Wire | None] | Problem:
    """Return what is written for a known column, and the conversion to it."""
    import pyarrow as pa
    from pyarrow import types as t

    if field.type == old.type:
        return old, None
    if t.is_null(old.type):
        notes.append(f"column {field.name!r} had no value until now; it is {field.type}")
        return field, None
    target = old.type
    if mode == "evolve":
        target = common_type(old.type, field.type)
        if t.is_string(target) and not t.is_string(old.type):
            target = field.type  # nothing narrower than text holds both: this part has a type of its own
    wire = lossless(field.name, field.type, target, str(target))
    problem = Problem(
        "contract-frozen",
        f"column {field.name!r} is {old.type} in the earlier data and {field.type} in the records, and its contract "
        f"is {mode}",
        ("path",),
        f"cast it to {old.type} with a cast transform",
    )
    if wire is None and mode == "evolve":
        target, wire = field.type, Wire(field.name, field.type)
    if wire is None and mode == "freeze":
        return problem
    if wire is None:
        wire = nulls_only(field.name, target, problem)
    if target != old.type:
        notes.append(f"column {field.name!r} was {old.type} and is {target} from this load on")
    return pa.field(field.name, target), wire


def _frozen(message: str, suggestion: str) -> Problem:
    return Problem("contract-frozen", f"{message}, and the schema contract is freeze", ("path",), suggestion)


def _in_turn(
    *steps: Callable[[pa.Array[Any]], pa.Array[Any]] | None,
) -> Callable[[pa.Array[Any]], pa.Array[Any]] | None:
    wanted = [step for step in steps if step is not None]
    if not wanted:
        return None

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        for step in wanted:
            array = step(array)
        return array

    return convert


def _completed(batches: Iterable[pa.RecordBatch], missing: Iterable[pa.Field[Any]]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in batches:
        nulls: list[Any] = [pa.nulls(batch.num_rows, field.type) for field in missing]
        yield pa.RecordBatch.from_arrays([*batch.columns, *nulls], schema=pa.schema([*batch.schema, *missing]))
