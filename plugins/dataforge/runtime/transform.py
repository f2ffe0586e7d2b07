"""The second stage: run the compiled query over the staged records, check the result, stage it again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from dataforge.components.base import Files, JsonValue
from dataforge.config.pipeline import PipelineConfig
from dataforge.observability.log import line, timed
from dataforge.runtime import again
from dataforge.runtime.compile import compile, scope
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import connect_for
from dataforge.runtime.landing import land
from dataforge.runtime.staging import Manifest, Staging

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from dataforge.runtime.checks import CheckResult


def run(
    config: PipelineConfig, manifests: Mapping[str, Mapping[str, JsonValue]], context: TaskContext
) -> dict[str, JsonValue]:
    """Transform what the manifests (source name to manifest) stand for; return the result's manifest as JSON.

    Raises CheckFailed when a check of severity "fail" finds violations; nothing has been loaded then.
    """
    from dataforge.runtime.engines.duckdb_ import write_parquet

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
        part = folder / "part-0.parquet"
        rows = write_parquet(con, compile(config, columns, context.values), part)
        results = check(config, con, part, context)
        extra: dict[str, JsonValue] = {"checks": [asdict(result) for result in results]}
        if step is not None:
            extra["cursor"] = step.to_json()
        manifest = attempt.publish([part], extra=extra)
        done(rows_in=sum(one.rows for one in inputs.values()), rows=rows, bytes=manifest.bytes)
    return manifest.to_json()


def check_results(manifest: Mapping[str, JsonValue], context: TaskContext) -> list[dict[str, JsonValue]]:
    """Return the check results that `run` left beside the staged rows, with their examples."""
    staging = Staging.open(context.settings, context.connection)
    results: list[dict[str, JsonValue]] = staging.contents(Manifest.from_json(manifest)).extra["checks"]
    return results


def check(config: PipelineConfig, con: DuckDBPyConnection, part: Path, context: TaskContext) -> tuple[CheckResult, ...]:
    """Measure the config's checks on a Parquet file and log each; CheckFailed when one of severity "fail" is broken."""
    if not config.checks:
        return ()
    from dataforge.runtime.checks import evaluate, refuse_failed

    result = land(con, "checked result", Files("parquet", (part,)), scratch=part.parent)
    results = evaluate(con, config.checks, result.view, result.columns, scope(config, context.values))
    for one in results:
        line(
            "check" if one.passed else f"check {'failed' if one.severity == 'fail' else 'warning'}",
            level=logging.INFO if one.passed else logging.WARNING,
            check=one.check,
            violations=one.violations,
            checked=one.checked,
            message=one.message,
            **({"examples": list(one.examples)} if one.examples else {}),
        )
    refuse_failed(results)
    return results
