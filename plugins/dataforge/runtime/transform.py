"""The second stage: run the compiled query over the staged records, check the result, stage it again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataforge.components.base import Files, JsonValue, Relation
from dataforge.components.sql import DIALECT
from dataforge.config.pipeline import PipelineConfig
from dataforge.observability.log import line, timed
from dataforge.runtime import again, recipes, rejects
from dataforge.runtime.checks import CheckResult, Measures, evaluate, measure, prepare, refuse_failed
from dataforge.runtime.compile import Plan, SqlSegment, compile, scope
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import connect_for
from dataforge.runtime.landing import land
from dataforge.runtime.staging import Manifest, Staging, parquet_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def run(
    config: PipelineConfig, manifests: Mapping[str, Mapping[str, JsonValue]], context: TaskContext
) -> dict[str, JsonValue]:
    """Transform what the manifests (source name to manifest) stand for; return the result's manifest as JSON.

    Raises CheckFailed when a check of severity "fail" finds violations; nothing has been loaded then.
    """
    with ExitStack() as stack:
        done = stack.enter_context(timed("transform", dag_id=config.dag_id, run_id=context.run_id))
        scratch = stack.enter_context(context.scratch())
        staging = Staging.open(context.settings, context.connection)
        manifests, step = again.agreed(config, manifests, context)
        inputs = {name: Manifest.from_json(manifest) for name, manifest in manifests.items()}
        paths = {name: tuple(staging.fetch(manifest, scratch)) for name, manifest in inputs.items()}
        attempt = staging.attempt(context.dag_id, context.run_id, "transform", context.attempt)
        folder = stack.enter_context(attempt).folder
        readable = (folder, *(path for files in paths.values() for path in files))
        con = stack.enter_context(closing(connect_for(config, context, scratch, readable)))
        columns = {
            name: land(con, name, Files("parquet", files), scratch=scratch).columns for name, files in paths.items()
        }
        rows_read, aside = 0, []
        for name, manifest in inputs.items():
            read, _ = rejects.counts(staging.contents(manifest).extra, manifest.rows)
            rows_read += read
            for path in staging.fetch_rejects(manifest, scratch / f"rejects-{name}"):
                aside.append(rejects.next_part(folder))
                shutil.copyfile(path, aside[-1])
        recipe = recipes.name_of(config, columns)
        made = _by_recipe(config, con, recipe, folder)
        if made is None:
            plan = compile(config, columns, context.values, context.for_transforms())
            made = make(config, con, plan, folder, scratch, context, rows_read, aside)
            if not context.dry_run:
                _keep_recipe(config, con, recipe, plan)
        extra: dict[str, JsonValue] = {
            "checks": [asdict(result) for result in made.checks],
            "rows_read": rows_read,
            "rejected": made.rejected,
        }
        if step is not None:
            extra["cursor"] = step.to_json()
        published = attempt.publish([made.part], extra=extra, rejects=made.rejects, rows={made.part: made.rows})
        done(
            rows_in=sum(one.rows for one in inputs.values()),
            rows=published.rows,
            bytes=published.bytes,
            **({"rejected": made.rejected} if made.rejected else {}),
        )
    return {**published.to_json(), "rows_read": rows_read, "rejected": made.rejected}


@dataclass(frozen=True)
class Made:
    """The result of the transforms as a Parquet part, what the checks say, and the parts with rejects of all stages."""

    part: Path
    rows: int
    checks: tuple[CheckResult, ...]
    rejects: tuple[Path, ...]
    rejected: int


def _by_recipe(config: PipelineConfig, con: DuckDBPyConnection, name: str | None, folder: Path) -> Made | None:
    """Do by a kept recipe what `make` does; None when there is none or it fails, for `make` tells better why."""
    import duckdb

    from dataforge.runtime.engines.duckdb_ import copy_parquet

    recipe = recipes.find(name)
    if recipe is None:
        return None
    part = folder / "part-0.parquet"
    try:
        rows = copy_parquet(con, recipe.select, part)
    except duckdb.Error:
        part.unlink(missing_ok=True)
        return None
    return Made(part, rows, _checked(config, con, part, recipe.measures), (), 0)


def _keep_recipe(config: PipelineConfig, con: DuckDBPyConnection, name: str | None, plan: Plan) -> None:
    segment, *others = plan.segments
    if name is None or others or not isinstance(segment, SqlSegment):
        return
    from dataforge.runtime.engines.duckdb_ import columns

    measures = prepare(config.checks, _RESULT, columns(con, _RESULT) if config.checks else None, scope(config, None))
    recipes.keep(name, recipes.Recipe(segment.query.sql(DIALECT), measures))


def make(
    config: PipelineConfig,
    con: DuckDBPyConnection,
    plan: Plan,
    folder: Path,
    scratch: Path,
    context: TaskContext,
    rows_read: int,
    aside: Sequence[Path] = (),
    *,
    first: int = 0,
) -> Made:
    """Run the plan over its inputs, views that can be read more than once, and check the result; parts in `folder`.

    `rows_read` counts the records of the sources, of which those in the parts `aside` were set aside before. `first`
    is the index in the whole pipeline of the plan's first step. TerminalError when too many records were set aside in
    all, CheckFailed when a check of severity "fail" is broken.
    """
    from dataforge.runtime.engines.duckdb_ import write_parquet

    part = folder / "part-0.parquet"
    limit = config.reject_limit
    if not limit.enabled:
        rows = write_parquet(con, plan, part)
        return Made(part, rows, check(config, con, part, context), tuple(aside), len(rejects.read(aside)))
    from dataforge.runtime.strain import steady, strain

    parts = list(aside)
    with steady(con):
        plan, found = strain(con, plan, folder, scratch, first=first)
        parts += found
        rejects.refuse_too_many(limit, len(rejects.read(parts)), rows_read, parts)
        write_parquet(con, plan, part)
    part, results, found = _check_apart(config, con, part, folder, context, plan.result, first + len(plan.steps))
    parts += found
    rejected = len(rejects.read(parts))
    rejects.refuse_too_many(limit, rejected, rows_read, parts)
    refuse_failed(one for one in results if one.severity != "reject")
    return Made(part, parquet_rows(part), results, tuple(parts), rejected)


def _check_apart(
    config: PipelineConfig,
    con: DuckDBPyConnection,
    part: Path,
    folder: Path,
    context: TaskContext,
    source: str,
    step: int,
) -> tuple[Path, tuple[CheckResult, ...], list[Path]]:
    """Take the rows that break a check of severity "reject" out of the part, and hold the other checks against it."""
    from dataforge.runtime.strain import write_breaking

    values = scope(config, context.values)
    result = land(con, _RESULT, Files("parquet", (part,)), scratch=folder)
    found: dict[int, CheckResult] = {}
    aside: list[Path] = []
    rejecting = {index: one for index, one in enumerate(config.checks) if one.severity == "reject"}
    if rejecting:
        measured = evaluate(con, list(rejecting.values()), result.view, result.columns, values)
        found = dict(zip(rejecting, measured, strict=True))
        if broken := [config.checks[index] for index, one in found.items() if not one.passed]:
            relation, kept = Relation(result.view, result.columns), folder / "part-1.parquet"
            aside.append(write_breaking(con, broken, relation, folder, kept, values, source=source, step=step))
            part.unlink()
            part = kept
            result = land(con, _RESULT, Files("parquet", (part,)), scratch=folder)
    others = {index: one for index, one in enumerate(config.checks) if index not in rejecting}
    if others:
        measured = evaluate(con, list(others.values()), result.view, result.columns, values)
        found |= dict(zip(others, measured, strict=True))
    results = tuple(found[index] for index in sorted(found))
    _log(results)
    return part, results, aside


_RESULT = "checked result"


def check_results(manifest: Mapping[str, JsonValue], context: TaskContext) -> list[dict[str, JsonValue]]:
    """Return the check results that `run` left beside the staged rows, with their examples."""
    staging = Staging.open(context.settings, context.connection)
    results: list[dict[str, JsonValue]] = staging.contents(Manifest.from_json(manifest)).extra["checks"]
    return results


def check(config: PipelineConfig, con: DuckDBPyConnection, part: Path, context: TaskContext) -> tuple[CheckResult, ...]:
    """Measure the config's checks on a Parquet file and log each; CheckFailed when one of severity "fail" is broken."""
    return _checked(config, con, part, context)


def _checked(
    config: PipelineConfig, con: DuckDBPyConnection, part: Path, how: TaskContext | Measures
) -> tuple[CheckResult, ...]:
    if not config.checks:
        return ()
    result = land(con, _RESULT, Files("parquet", (part,)), scratch=part.parent)
    if isinstance(how, TaskContext):
        how = prepare(config.checks, result.view, result.columns, scope(config, how.values))
    results = measure(con, config.checks, how)
    _log(results)
    refuse_failed(results)
    return results


def _log(results: Iterable[CheckResult]) -> None:
    broken = {"fail": "check failed", "warn": "check warning", "reject": "check set rows aside"}
    for one in results:
        line(
            "check" if one.passed else broken[one.severity],
            level=logging.INFO if one.passed else logging.WARNING,
            check=one.check,
            violations=one.violations,
            checked=one.checked,
            message=one.message,
            **({"examples": list(one.examples)} if one.examples else {}),
        )
