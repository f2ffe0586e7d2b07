"""Which columns a load writes, and what that changes in the table: the schema contract, applied to one stream of rows.

A type is widened only on evidence: the load is tried with the table as it is, and when a value does not fit, once more
with a wider column. A column in which no load had a value yet takes the type of the first value that comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dataforge.components.delivery import ContractMode, RejectLimit, RejectStage, SchemaContract
from dataforge.destinations._columns import (
    Planned,
    Sieve,
    TargetColumn,
    Wire,
    check_names,
    exactly,
    lossless,
    match,
    nulls_only,
    twice,
)
from dataforge.destinations._ledger import Known, SchemaVersion
from dataforge.destinations._table import TableConfig
from dataforge.destinations._tables import Tables, Target
from dataforge.errors import ConfigError, Problem, TerminalError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class ColumnPlan:
    """The columns of a load: how each is written, what changes in the table before, and what is not written."""

    columns: list[Planned] = field(default_factory=list)
    added: list[Planned] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    modes: dict[str, Literal["row", "value"]] = field(default_factory=dict)
    stages: dict[str, RejectStage] = field(default_factory=dict)
    unwanted: list[str] = field(default_factory=list)
    flag: Planned | None = None
    evolving: set[str] = field(default_factory=set)

    def sieve(self, limit: RejectLimit, step: int) -> Sieve | None:
        """Return what takes rows or values out on their way; None where nothing is taken out."""
        if not self.modes and not self.unwanted:
            return None
        return Sieve(self.modes, self.unwanted, stages=self.stages, step=step, most=limit.max_rows)


@dataclass(frozen=True)
class Rules:
    """What a contract says of this target: a table that DataForge made evolves by default, another one is frozen."""

    contract: SchemaContract
    ours: bool

    def mode(self, column: str) -> ContractMode:
        """Return the mode of a column."""
        default = self.contract.default or ("evolve" if self.ours else "freeze")
        return self.contract.columns.get(column, default)


def plan_columns(
    db: Tables,
    target: Target,
    schema: pa.Schema,
    config: TableConfig,
    rules: Rules,
    version: SchemaVersion,
    limit: RejectLimit,
    evidence: Mapping[str, int],
) -> ColumnPlan:
    """Return how the columns of `schema` go into the target.

    `evidence` counts, for a column, how often a value did not fit so far: once means a wider type, twice means text.
    ConfigError names every column that the contract does not let in.
    """
    import pyarrow as pa

    plan = ColumnPlan()
    if problems := list(twice(schema.names, target.fold, str(target))):
        raise ConfigError(problems)
    fields = {field.name: field for field in schema}
    if (passed_on := _named(fields, target, config.run_column)) and pa.types.is_int64(fields[passed_on].type):
        del fields[passed_on]  # of one of our own tables, from which the records were read; here it is filled anew
    _check_reserved(fields, target, config)
    if flag := _named(fields, target, config.delete_flag if config.write_disposition == "merge" else None):
        plan.flag = db.new(fields.pop(flag))
    _check_keys(fields, target, config)
    _check_versions(target, config)
    if target.columns is None:
        names = [*fields]
        check_names(names, str(target), limit=db.max_name_bytes, case_sensitive=db.case_sensitive)
        plan.columns = [_reject_misfits(db, plan, db.new(fields[name]), limit, "load") for name in names]
        return plan
    _plan_existing(db, target, fields, rules, version, limit, evidence, plan)
    return plan


def _plan_existing(
    db: Tables,
    target: Target,
    fields: dict[str, pa.Field[Any]],
    rules: Rules,
    version: SchemaVersion,
    limit: RejectLimit,
    evidence: Mapping[str, int],
    plan: ColumnPlan,
) -> None:
    fresh = [name for name in fields if target.column(name) is None]
    for name in fresh:
        mode = rules.mode(name)
        if mode == "discard_value":
            plan.notes.append(f"column {name!r} is not in {target}; its values are left out (discard_value)")
            del fields[name]
        elif mode == "discard_row":
            plan.unwanted.append(name)
            plan.stages[name] = "contract"
            plan.notes.append(f"column {name!r} is not in {target}; rows with a value in it are set aside")
            del fields[name]
        elif mode == "evolve":
            column = db.new(fields[name])
            plan.added.append(column)
            plan.notes.append(f"column {name!r} is new: {column.type}")
    evolving = {column.wire.name for column in plan.added}
    if evolving:
        check_names([*evolving], str(target), limit=db.max_name_bytes, case_sensitive=db.case_sensitive)
    kept = [name for name in fields if name not in evolving]
    columns = dict(
        zip(kept, match(kept, target.columns or (), str(target), case_sensitive=db.case_sensitive), strict=True)
    )
    given = {target.fold(name) for name in fields}
    for name, known in (version.columns or {}).items():
        if target.fold(name) not in given:
            plan.notes.append(f"column {name!r} ({known.type}) is missing in the records: new rows get its default")
    problems: list[Problem] = []
    added = {column.wire.name: column for column in plan.added}
    for name, one in fields.items():
        if name in added:
            plan.columns.append(_reject_misfits(db, plan, added[name], limit, "load"))
            continue
        before = (version.columns or {}).get(columns[name].name)
        found = _fit(db, target, one, columns[name], rules.mode(name), before, evidence.get(name, 0), plan)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        mode = rules.mode(name)
        if mode in ("discard_row", "discard_value"):
            plan.modes[name] = "row" if mode == "discard_row" else "value"
            plan.stages[name] = "contract"
            found = db.checked(found)
        elif mode != "evolve" or evidence.get(name, 0) > 1:
            found = _reject_misfits(db, plan, found, limit, "load")
        elif limit.enabled:
            found = db.checked(found)
        if mode == "evolve":
            plan.evolving.add(name)
        plan.columns.append(found)
    if problems:
        raise ConfigError(problems)


def _reject_misfits(db: Tables, plan: ColumnPlan, column: Planned, limit: RejectLimit, stage: RejectStage) -> Planned:
    """Set rows whose value does not fit aside, where the pipeline keeps dead letters."""
    if not limit.enabled:
        return column
    plan.modes[column.wire.name] = "row"
    plan.stages[column.wire.name] = stage
    return db.checked(column)


def _fit(
    db: Tables,
    target: Target,
    field: pa.Field[Any],
    column: TargetColumn,
    mode: ContractMode,
    known: Known | None,
    evidence: int,
    plan: ColumnPlan,
) -> Planned | Problem:
    found = db.fit(field, column)
    existing = db.arrow_type(target, column)
    if mode == "evolve" and known is not None and known.unknown and evidence == 0:
        fresh = db.new(field)
        if fresh.type != column.type and not _is_nothing(field) and _only_nulls(db, target, column):
            plan.changes.append(db.widen(target, column, fresh.type, empty=True))
            plan.notes.append(f"column {column.name!r} had no value until now: {column.type} becomes {fresh.type}")
            return fresh
    if mode == "evolve" and evidence and existing is not None:
        wider = _wider(db, target, column, existing, field, evidence)
        if wider is not None:
            return _widened(db, target, column, field, wider, plan)
    if found is not None:
        return found
    problem = Problem(
        "unfit-column",
        f"column {field.name!r} of type {field.type} can't go into {target}, where it is {column.type}",
        ("table",),
        f"cast it to {column.type} with a cast transform",
    )
    if existing is None:
        return problem
    # rows without a value in it can go in all the same: a column that happens to be empty has no type of its own
    fitting = db.fit(_of_type(field, existing), column)
    if fitting is None:
        return problem
    if mode in ("discard_row", "discard_value") and fitting.wire.type == existing:
        wire = exactly(field.name, field.type, existing, problem)
    else:
        wire = Wire(field.name, fitting.wire.type, nulls_only(field.name, fitting.wire.type, problem).convert)
    return Planned(wire, fitting.type, fitting.stage_type, fitting.explicit)


def _widened(
    db: Tables, target: Target, column: TargetColumn, field: pa.Field[Any], wider: pa.DataType, plan: ColumnPlan
) -> Planned:
    fresh = db.new(_of_type(field, wider))
    first = lossless(field.name, field.type, wider, fresh.type)
    if first is None:
        raise TerminalError(f"column {field.name!r}: {field.type} can't become {fresh.type}; cast it with a transform")
    plan.changes.append(db.widen(target, column, fresh.type, empty=False))
    plan.notes.append(f"column {column.name!r} is widened from {column.type} to {fresh.type}")
    steps = [step for step in (first.convert, fresh.wire.convert) if step is not None]

    def convert(array: pa.Array[Any]) -> pa.Array[Any]:
        for step in steps:
            array = step(array)
        return array

    return Planned(Wire(field.name, fresh.wire.type, convert), fresh.type, fresh.stage_type, fresh.explicit)


def _wider(
    db: Tables, target: Target, column: TargetColumn, existing: pa.DataType, field: pa.Field[Any], evidence: int
) -> pa.DataType | None:
    """Return the type that holds the old values and the new ones; None where there is none, or it is text already."""
    import pyarrow as pa
    from pyarrow import types as t

    wanted = common_type(existing, field.type) if evidence == 1 else pa.string()
    if wanted == existing:
        wanted = pa.string()
    if t.is_floating(wanted) and not t.is_floating(existing):
        name = db.quote(column.name)
        back = f"cast(cast({name} as double precision) as {column.type})"
        lossy = f"select 1 from {db.quoted(target)} where {name} is not null and {back} <> {name} limit 1"
        if db.rows(lossy):
            wanted = pa.string()
    if t.is_string(wanted) and (t.is_nested(existing) or t.is_string(existing) or t.is_nested(field.type)):
        return None
    return wanted


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the narrowest type of int, bigint, decimal, double and text that holds the values of both."""
    import pyarrow as pa
    from pyarrow import types as t

    def digits(type_: pa.DataType) -> tuple[int, int] | None:
        if t.is_decimal(type_):
            return type_.precision - type_.scale, type_.scale
        widths = {8: 3, 16: 5, 32: 10, 64: 19}
        return (widths[type_.bit_width], 0) if t.is_signed_integer(type_) else (20, 0) if t.is_integer(type_) else None

    if t.is_null(one) or one == other:
        return other
    if t.is_null(other):
        return one
    if t.is_signed_integer(one) and t.is_signed_integer(other):
        return one if one.bit_width >= other.bit_width else other
    if (first := digits(one)) and (second := digits(other)):
        whole, scale = max(first[0], second[0]), max(first[1], second[1])
        return pa.decimal128(whole + scale, scale) if whole + scale <= 38 else pa.string()
    numeric = [type_ for type_ in (one, other) if t.is_floating(type_) or digits(type_)]
    if len(numeric) == 2:
        return pa.float64()
    if {t.is_date(one), t.is_date(other)} == {True, False}:
        instant = other if t.is_date(one) else one
        return instant if t.is_timestamp(instant) and instant.tz is None else pa.string()
    return pa.string()


def _only_nulls(db: Tables, target: Target, column: TargetColumn) -> bool:
    name = db.quote(column.name)
    return not db.rows(f"select 1 from {db.quoted(target)} where {name} is not null limit 1")


def _is_nothing(field: pa.Field[Any]) -> bool:
    import pyarrow as pa

    return pa.types.is_null(field.type)


def _of_type(field: pa.Field[Any], type_: pa.DataType) -> pa.Field[Any]:
    import pyarrow as pa

    return pa.field(field.name, type_)


def _check_keys(fields: Mapping[str, pa.Field[Any]], target: Target, config: TableConfig) -> None:
    """Raise ConfigError when a column that merge goes by is not among the records' columns."""
    if config.write_disposition != "merge":
        return
    wanted: list[tuple[str, Sequence[str]]] = [
        ("primary_key", config.primary_key),
        ("merge_key", config.merge_key),
        ("latest_by", (config.latest_by,) if config.latest_by else ()),
    ]
    problems = [
        Problem(
            "unknown-column",
            f"the records have no column {name!r}, which {key} names",
            (key,),
            f"they have: {', '.join(list(fields)[:50])}",
            tuple(fields),
        )
        for key, names in wanted
        for name in names
        if _named(fields, target, name) is None
    ]
    if problems:
        raise ConfigError(problems)


def _check_versions(target: Target, config: TableConfig) -> None:
    """Raise ConfigError when an existing table lacks the columns in which scd2 keeps its versions."""
    from dataforge.destinations._dispositions import CLOSED_BY

    if target.columns is None or config.write_disposition != "merge" or config.merge_strategy != "scd2":
        return
    wanted = [config.valid_from, config.valid_to, config.run_column or "", CLOSED_BY]
    if missing := [name for name in wanted if target.column(name) is None]:
        raise ConfigError(
            Problem(
                "missing-column",
                f"table {target} has no column {', '.join(map(repr, missing))}, in which scd2 keeps its versions",
                ("merge_strategy",),
                "let DataForge make a new table, or add them: instants for the times, bigint for the runs",
            )
        )


def _named(fields: Mapping[str, pa.Field[Any]], target: Target, name: str | None) -> str | None:
    return next((one for one in fields if name is not None and target.fold(one) == target.fold(name)), None)


def _check_reserved(names: Iterable[str], target: Target, config: TableConfig) -> None:
    """Raise ConfigError when the records bring a column that DataForge itself fills."""
    from dataforge.destinations._dispositions import CLOSED_BY, ROW

    remedies = {ROW: "", config.run_column: ", or give run_column another name"}
    if config.write_disposition == "merge" and config.merge_strategy == "scd2":
        versions = ", or give valid_from or valid_to another name"
        remedies |= {config.valid_from: versions, config.valid_to: versions, CLOSED_BY: ""}
    taken = {target.fold(name): remedy for name, remedy in remedies.items() if name}
    problems = [
        Problem(
            "reserved-column",
            f"the records have a column {name!r}, which DataForge fills itself",
            ("table",),
            f"rename or drop it with a transform{taken[target.fold(name)]}",
        )
        for name in names
        if target.fold(name) in taken
    ]
    if problems:
        raise ConfigError(problems)
