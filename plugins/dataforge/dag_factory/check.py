"""The one list of checks behind `validate`, the bundle and whoever else must know whether a config would work.

First what the files say (`config.files`: structure, types, names, secrets, placeholders), then what the pipeline as a
whole says: whether its transforms compile, with column types where they are known, and whether its checks do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dataforge.components.base import (
    Columns,
    ComponentConfig,
    Discoverable,
    ExtractContext,
    RunValues,
    Verifiable,
)
from dataforge.components.registry import CHECKS, DESTINATIONS, SOURCES, TRANSFORMS, Registry
from dataforge.config.delivery import letter
from dataforge.config.files import FileResult, Loaded, locate_problems, mark_duplicates, read_file, read_folder
from dataforge.config.findings import Finding, in_order
from dataforge.config.outputs import following_problems
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, DataForgeError, Problem


@dataclass(frozen=True)
class Checked:
    """What was looked at, and everything found."""

    files: tuple[FileResult, ...]
    findings: tuple[Finding, ...]

    @property
    def valid(self) -> tuple[Loaded, ...]:
        """The pipelines without an error."""
        broken = {finding.file for finding in self.findings if finding.severity == "error"}
        return tuple(one for file in self.files if file.path not in broken for one in file.pipelines)


def check_paths(paths: Iterable[Path], *, root: Path, live: bool = False) -> Checked:
    """Check config files and folders, with the defaults of the folders from `root` down.

    With `live`, sources that can tell their columns are asked, so that columns and types are checked too.
    """
    files: dict[Path, FileResult] = {}
    for path in paths:
        found = read_folder(path).files if path.resolve() == root.resolve() else _below(path, root)
        files |= {file.path: file for file in found}
    results = mark_duplicates(files.values())
    findings = [finding for file in results for finding in file.findings]
    pipelines = [loaded for file in results for loaded in file.pipelines]
    followed = following_problems([loaded.config for loaded in pipelines], root)
    for loaded in pipelines:
        wrong = (*problems(loaded.config, live=live), *followed.get(loaded.config.dag_id, ()))
        findings += locate_problems(wrong, loaded)
    return Checked(results, in_order(findings))


def problems(config: PipelineConfig, *, live: bool = False) -> tuple[Problem, ...]:
    """Return what is wrong with a pipeline whose file is sound: columns, types, SQL of its transforms and checks."""
    from dataforge.runtime.compile import compile as compile_

    found = component_problems(config)
    twice = same_destinations(config)
    try:
        compile_(config, live_columns(config) if live and not found else declared_columns(config))
    except ConfigError as error:
        found += error.problems
    return (*found, *twice)


def delivery_findings(loaded: Loaded) -> tuple[Finding, ...]:
    """Return the delivery guarantee of each destination of a valid pipeline as a finding of severity info."""
    config = loaded.config
    found = []
    for one in letter(config):
        place: tuple[str | int, ...] = ("destination", one.destination)
        place = place if isinstance(config.destination, tuple) else place[:1]
        hint = "; ".join(one.improvements) or None
        found.append(Problem("delivery", f"{config.dag_id}: {one}", place, hint, severity="info"))
    return locate_problems(found, loaded)


def same_destinations(config: PipelineConfig) -> tuple[Problem, ...]:
    """Return a problem for each destination that writes what an earlier one of the same pipeline writes."""
    first: dict[str, int] = {}
    found = []
    for index, destination in enumerate(config.outputs):
        asset = destination.asset()
        # What ends in '/' behind a placeholder is only the part of the path that all runs share.
        if asset is None or "${" in str(getattr(destination, "path", "")):
            continue
        if first.setdefault(asset, index) != index:
            message = f"this destination writes {unquote(asset)}, as destination {first[asset] + 1} of the list does"
            hint = "give one of them another table or path, or remove one"
            found.append(Problem("duplicate-destination", message, ("destination", index), hint))
    return tuple(found)


def component_problems(config: PipelineConfig) -> tuple[Problem, ...]:
    """Return what components find wrong with their own configs, and missing extras, without reaching for anything."""
    places: list[tuple[tuple[str | int, ...], Registry[Any], ComponentConfig]] = [
        (_place(config, name), SOURCES, source) for name, source in config.inputs.items()
    ]
    places += [(("transforms", index), TRANSFORMS, one) for index, one in enumerate(config.transforms)]
    places += [(("checks", index), CHECKS, one) for index, one in enumerate(config.checks)]
    several = isinstance(config.destination, tuple)
    places += [
        (("destination", index) if several else ("destination",), DESTINATIONS, one)
        for index, one in enumerate(config.outputs)
    ]
    found: list[Problem] = []
    for place, registry, component in places:
        missing = [extra for extra in component.extras() if not extra.installed]
        found += (extra.problem(f"{registry.singular} {component.type!r}").under(*place) for extra in missing)
        if not missing and isinstance(built := registry.build(component), Verifiable):
            found += (problem.under(*place) for problem in built.verify())
    return tuple(found)


def _place(config: PipelineConfig, name: str) -> tuple[str, ...]:
    return ("source",) if config.source is not None else ("sources", name)


def declared_columns(config: PipelineConfig) -> dict[str, Columns | None]:
    """Return what is known of each source's columns without asking it: nothing."""
    return dict.fromkeys(config.inputs)


def live_columns(config: PipelineConfig) -> dict[str, Columns | None]:
    """Return each source's columns as the source itself tells them; None for sources that can't tell.

    Raises ConfigError, with the place of the source, when one can't be reached.
    """
    from dataforge.runtime.context import local
    from dataforge.runtime.values import resolve

    defaults = {name: param.default for name, param in config.params.items() if param.default is not None}
    context = local(config.model_copy(update={"params": {}}), {})
    values = RunValues(defaults, context.values.data_interval_start, context.values.data_interval_end, context.run_id)
    found: dict[str, Columns | None] = {}
    for name, source in config.inputs.items():
        place = _place(config, name)
        try:
            built = SOURCES.build(resolve(source, values))
            if not isinstance(built, Discoverable):
                found[name] = None
                continue
            with context.scratch() as scratch:
                found[name] = {
                    **built.discover(ExtractContext(context.connection, scratch, values, sample=1000)),
                    **source.columns,
                }
        except ConfigError as error:
            raise error.under(*place) from None
        except DataForgeError as error:
            raise ConfigError(Problem("source-unreachable", str(error), place)) from None
    return found


def _below(path: Path, root: Path) -> tuple[FileResult, ...]:
    from dataforge.config.files import config_files

    if path.is_dir():
        files = config_files(path)
        return tuple(read_file(file, root=root) for file in files)
    return (read_file(path, root=root),)
