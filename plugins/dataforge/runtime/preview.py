"""Sample rows after every step of a pipeline, with what each step changed; nothing is written outside scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dataforge.components import sql
from dataforge.components.base import Columns, Files, JsonValue, Relation
from dataforge.config.pipeline import PipelineConfig
from dataforge.runtime.checks import CheckResult, evaluate
from dataforge.runtime.compile import Plan, compile, scope
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import keep, landed, with_widening
from dataforge.runtime.landing import land
from dataforge.runtime.strain import strain

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

SAMPLE_FACTOR = 100
"""Rows read from each source for every row shown, so that filters and joins leave some to show."""


@dataclass(frozen=True)
class StepPreview:
    """One source or step: its columns, its first rows, and how many rows it gives of the sample."""

    name: str
    type: str
    columns: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]
    row_count: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()

    def changes(self) -> dict[str, tuple[str, ...]]:
        """Return what the step did to the columns, by kind of change."""
        return {"added": self.added, "removed": self.removed, "retyped": self.retyped}


@dataclass(frozen=True)
class Preview:
    """The sources, then all steps in order, and what the checks say of the sample."""

    steps: tuple[StepPreview, ...]
    checks: tuple[CheckResult, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return plain dicts; cell values are Python values still."""
        return asdict(self)


def run(config: PipelineConfig, context: TaskContext, rows: int = 10) -> Preview:
    """Read a sample of the sources, run every step over it, and return the first `rows` rows after each."""
    with context.scratch() as scratch:
        sample = scratch / "sample"
        sample.mkdir()
        with landed(config, config.inputs, context, scratch, (sample,), rows * SAMPLE_FACTOR) as (con, views):
            # kept on disk once, so that every step sees the same rows and a stream is read one time
            kept = {
                name: with_widening([view], partial(keep, con, view, sample / f"{name}.parquet"))
                for name, view in views.items()
            }
            columns = {name: view.columns for name, view in kept.items()}
            plan = compile(config, columns, context.values, context.for_transforms(rows))
            if config.reject_limit.enabled:
                # what a run sets aside is left out here too; how much of it there may be is said of whole sources
                plan, _ = strain(con, plan, sample, sample)
            return _preview(con, plan, rows, sample, context)


def _preview(con: DuckDBPyConnection, plan: Plan, rows: int, folder: Path, context: TaskContext) -> Preview:
    from dataforge.runtime.engines.duckdb_ import write_parquet

    shown = {name: _shown(con, name, "source", rows) for name in plan.inputs}
    last = Relation(plan.result)
    for step in plan.steps:
        part = folder / f"step-{step.index}.parquet"
        write_parquet(con, plan.upto(step.index), part)
        last = Relation(f"preview of {step.name}")
        land(con, last.name, Files("parquet", (part,)), scratch=folder)
        shown[step.name] = _shown(
            con, last.name, step.type, rows, step.name, shown[step.reads[0]].columns if step.reads else None
        )
    result = shown[plan.result].columns
    checks = evaluate(con, plan.config.checks, last.name, result, scope(plan.config, context.values))
    return Preview(tuple(shown.values()), checks)


def _shown(
    con: DuckDBPyConnection, view: str, type_: str, rows: int, name: str | None = None, before: Columns | None = None
) -> StepPreview:
    from sqlglot import exp

    from dataforge.runtime.engines.duckdb_ import columns as columns_of
    from dataforge.runtime.engines.duckdb_ import read

    columns = columns_of(con, view)
    everything = sql.select(Relation(view), exp.Star())
    count = read(con, sql.select(Relation(view), exp.Count(this=exp.Star())))
    return StepPreview(
        name or view,
        type_,
        columns,
        tuple(read(con, everything.limit(rows)).to_pylist()),
        count.column(0)[0].as_py(),
        tuple(column for column in columns if before is not None and column not in before),
        tuple(column for column in before or () if column not in columns),
        tuple(
            f"{column} {before[column]} to {type_}"
            for column, type_ in columns.items()
            if before and column in before and before[column] != type_
        ),
    )
