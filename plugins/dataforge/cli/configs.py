"""`validate`, `schema`, `show`, `compile` and `new`: commands about config files."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataforge.cli.loading import read_one, use_root
from dataforge.cli.output import print_json, print_sql
from dataforge.cli.usage import UsageError
from dataforge.components.base import ComponentConfig
from dataforge.components.registry import DESTINATIONS, SOURCES
from dataforge.config.delivery import letter
from dataforge.config.pipeline import PipelineConfig


def validate(arguments: argparse.Namespace) -> int:
    """Check files and folders; print every finding in the asked format."""
    from dataforge.config import report
    from dataforge.dag_factory.check import check_paths, delivery_findings

    for path in arguments.paths:
        if not path.exists():
            print(f"error: there is no file or folder {str(path)!r}", file=sys.stderr)
            return 2
    checked = check_paths(arguments.paths, root=use_root(arguments.paths[0]), live=arguments.live)
    writers = {"text": report.as_text, "json": report.as_json, "sarif": report.as_sarif, "junit": report.as_junit}
    findings = list(checked.findings)
    if arguments.format == "json":
        findings += (finding for loaded in checked.valid for finding in delivery_findings(loaded))
    text = writers[arguments.format](findings)
    if text:
        print(text)
    if arguments.format == "text":
        for loaded in checked.valid:
            print(f"{loaded.config.dag_id}: {'; '.join(_guarantees(loaded.config))}")
    if arguments.format == "text":
        errors, warnings = (sum(f.severity == level for f in checked.findings) for level in ("error", "warning"))
        print(
            f"{len(checked.valid)} valid pipelines in {len(checked.files)} files, {errors} errors, {warnings} warnings"
        )
    blocking = ("error", "warning") if arguments.strict else ("error",)
    return 1 if any(finding.severity in blocking for finding in checked.findings) else 0


def _guarantees(config: PipelineConfig) -> Iterator[str]:
    """Yield the delivery guarantee of each destination as one sentence, with what would improve it most."""
    for one in letter(config):
        where = f"destination {one.destination + 1} " if len(config.outputs) > 1 else ""
        yield f"{where}{one}" + (f" -> {one.improvements[0]}" if one.improvements else "")


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema, or write it to a file."""
    from dataforge.config.schema import dump

    if arguments.output:
        arguments.output.write_text(dump(), encoding="utf-8")
    else:
        print(dump(), end="")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show the pipelines of a file: in short, or with --effective every value and its origin."""
    from dataforge.config.effective import explain
    from dataforge.dag_factory.docs import summary

    result = read_one(arguments.path)
    if any(finding.severity == "error" for finding in result.findings):
        return 1
    if arguments.format == "json":
        print_json(
            [
                {
                    "config": loaded.data,
                    "revision": loaded.revision,
                    "delivery": [one.to_json() for one in letter(loaded.config)],
                    **({"effective": [list(row) for row in explain(loaded)]} if arguments.effective else {}),
                }
                for loaded in result.pipelines
            ]
        )
        return 0
    for loaded in result.pipelines:
        print(f"# {loaded.config.dag_id}\n\n{summary(loaded.config)}\n")
        if arguments.effective:
            rows = [(pointer, json.dumps(value, default=str), origin) for pointer, value, origin in explain(loaded)]
            widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
            for pointer, value, origin in rows:
                print(f"{pointer:<{widths[0]}}  {value:<{min(widths[1], 60)}}  {origin}")
        print()
    return 0


def compile(arguments: argparse.Namespace) -> int:
    """Print the SQL that each pipeline's transforms become."""
    from dataforge.dag_factory.check import declared_columns, live_columns
    from dataforge.runtime.compile import compile as compile_config

    result = read_one(arguments.path)
    if any(finding.severity == "error" for finding in result.findings):
        return 1
    compiled = {}
    for loaded in result.pipelines:
        columns = (live_columns if arguments.live else declared_columns)(loaded.config)
        compiled[loaded.config.dag_id] = compile_config(loaded.config, columns).sql()
    if arguments.format == "json":
        print_json(compiled)
        return 0
    for dag_id, sql in compiled.items():
        if len(compiled) > 1:
            print(f"-- {dag_id}")
        print_sql(sql)
    return 0


def new(arguments: argparse.Namespace) -> int:
    """Write a first config with the required keys of its components filled in from their examples."""
    source, destination = SOURCES.get(arguments.source), DESTINATIONS.get(arguments.destination)
    path: Path = arguments.path if arguments.path.suffix == ".json" else arguments.path.with_suffix(".json")
    if path.exists():
        raise UsageError(f"{str(path)!r} exists already; choose another name")
    config = {
        "dag_id": _dag_id(path.stem),
        "description": "What this pipeline is for.",
        "schedule": None,
        "source": _first_values(source.config),
        "transforms": [],
        "checks": [{"type": "row_count", "min": 1}],
        "destination": _first_values(destination.config),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}; next: edit it, then `dataforge preview {path}`")
    return 0


def _dag_id(stem: str) -> str:
    """Return the nearest valid name: letters, digits, `_`, `.` and `-`, beginning with a letter."""
    name = re.sub(r"[^A-Za-z0-9_.-]+|\\.{2,}", "_", stem).lstrip("0123456789_.-")
    return name[:200] or "pipeline"


def _first_values(model: type[ComponentConfig]) -> Mapping[str, Any]:
    """Return the required keys of a component with the first example of each; `table` and `path` always."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name == "type":
            values[name] = field.default
        elif field.is_required() or name in ("table", "path", "endpoint"):
            values[name] = field.examples[0] if field.examples else f"<{name}>"
    return values
