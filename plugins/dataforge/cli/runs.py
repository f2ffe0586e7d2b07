"""`run`, `preview` and `plan`: pipelines without a scheduler, by the same code path as the tasks."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict

from dataforge.cli.loading import load_one
from dataforge.cli.output import print_json, print_table, progress
from dataforge.components.base import JsonValue
from dataforge.config.pipeline import Param, PipelineConfig
from dataforge.dag_factory.asking import with_models
from dataforge.runtime.breaker import guarded
from dataforge.runtime.context import TaskContext, local


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline of a file: extract, transform, load, one after the other."""
    config = load_one(arguments.path, arguments.dag_id).config
    context = local(config, _params(config, arguments.param), arguments.interval, run_id=arguments.run_id)
    began = time.monotonic()
    with guarded(context) as context:
        context = with_models(context)
        loads, checks = _fused(config, context) if config.execution == "fused" else _staged(config, context)
    seconds = time.monotonic() - began
    if arguments.format == "json":
        run = {"dag_id": config.dag_id, "run_id": context.run_id, "seconds": seconds}
        print_json({"status": "succeeded", **run, "loads": loads, "checks": checks})
    else:
        for load in loads:
            print(f"{load['target']}: {load['rows']:,} rows in {seconds:.2f} s")
    return 0


def preview(arguments: argparse.Namespace) -> int:
    """Show sample rows after every step."""
    from dataforge.runtime.preview import run as run_preview

    config = load_one(arguments.path, arguments.dag_id).config
    context = with_models(local(config, _params(config, arguments.param), arguments.interval))
    result = run_preview(config, context, arguments.rows)
    if arguments.format == "json":
        print_json(result.to_json())
        return 0
    for step in result.steps:
        notes = [f"{kind}: {', '.join(names)}" for kind, names in step.changes().items() if names]
        shown = f"{len(step.rows)} of {step.row_count} sampled rows"
        headers = [f"{name} {type_.lower()}" for name, type_ in step.columns.items()]
        print_table(f"{step.name} ({step.type}): {shown}", headers, [list(row.values()) for row in step.rows], notes)
    for check in result.checks:
        mark = "passed" if check.passed else "FAILED" if check.severity == "fail" else "warning"
        print(f"check {check.check}: {mark}, {check.violations} of {check.checked} sampled rows break it")
    return 0


def plan(arguments: argparse.Namespace) -> int:
    """Show what a run would change in the destinations."""
    from dataforge.runtime.plan import run as run_plan

    config = load_one(arguments.path, arguments.dag_id).config
    context = with_models(local(config, _params(config, arguments.param), arguments.interval))
    planned = run_plan(config, context)
    if arguments.format == "json":
        print_json({"status": "planned", "dag_id": config.dag_id, **asdict(planned)})
        return 0
    print("read: " + ", ".join(f"{rows:,} records of {name}" for name, rows in planned.read.items()))
    for load in planned.loads:
        counts = ", ".join(f"{load[key]:,} {key}" for key in ("inserted", "updated", "deleted", "rejected"))
        print(f"{load['target']}{' (would be made)' if load['created'] else ''}: {counts}")
        for statement in load["schema_changes"]:
            print(f"  {statement}")
        for note in load["schema_notes"]:
            print(f"  {note}")
    print("nothing was written")
    return 0


Reports = list[dict[str, JsonValue]]


def _staged(config: PipelineConfig, context: TaskContext) -> tuple[Reports, Reports]:
    """Return the load reports and the check results."""
    from dataforge.runtime import clean_up, extract, load, transform

    extracts = {f"extract {name}" if len(config.inputs) > 1 else "extract": name for name in config.inputs}
    loads = [f"load {n}" if len(config.outputs) > 1 else "load" for n in range(len(config.outputs))]
    manifests: dict[str, Mapping[str, JsonValue]] = {}
    reports: Reports = []
    with progress([*extracts, "transform", *loads]) as finished:
        try:
            for stage, name in extracts.items():
                manifests[name] = extract.run(config, name, context)
                finished(stage, f"{manifests[name]['rows']:,} rows")
            manifest = transform.run(config, manifests, context)
            checks: Reports = transform.check_results(manifest, context)
            finished("transform", f"{manifest['rows']:,} rows")
            for index, stage in enumerate(loads):
                reports.append(load.run(config, index, manifest, context))
                finished(stage, f"{reports[-1]['rows']:,} rows into {reports[-1]['target']}")
        finally:
            clean_up.run(context)
    return reports, checks


def _fused(config: PipelineConfig, context: TaskContext) -> tuple[Reports, Reports]:
    """Return the load reports and the check results."""
    from dataforge.runtime import fused

    with progress(["extract, transform, load"]) as finished:
        result = fused.run(config, context)
        finished("extract, transform, load", f"{result['loads'][0]['rows']:,} rows")
    return result["loads"], result["checks"]


def _params(config: PipelineConfig, given: list[tuple[str, str]]) -> dict[str, JsonValue]:
    return {name: _typed(config.params.get(name), text) for name, text in given}


def _typed(param: Param | None, text: str) -> JsonValue:
    """Return the value that the text of `--param name=text` stands for; a text that doesn't fit is refused later."""
    try:
        if param and param.type == "integer":
            return int(text)
        if param and param.type == "number":
            return float(text)
    except ValueError:
        return text
    if param and param.type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text
