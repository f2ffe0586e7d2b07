"""What a run would do, without doing it: rows are read, transformed and loaded into a transaction that is rolled back.

Extract and transform work as always, with staging in a folder of their own that goes away; the destinations load with
`dry_run`. Nothing remains: no table, no ledger, no file, no cursor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dataforge.components.base import JsonValue
from dataforge.config.delivery import capabilities
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import TerminalError
from dataforge.runtime import extract, load, transform
from dataforge.runtime.context import TaskContext


@dataclass(frozen=True)
class Planned:
    """What a run would do: the records that would be read by source, and the load report of each destination."""

    read: Mapping[str, int]
    loads: tuple[Mapping[str, JsonValue], ...]
    checks: tuple[Mapping[str, JsonValue], ...] = ()


def run(config: PipelineConfig, context: TaskContext) -> Planned:
    """Return what a run of `context` would do now; what would fail the run is raised as it would be then.

    TerminalError when a destination can't tell without writing.
    """
    for target in config.outputs:
        if not capabilities(target).plans:
            raise TerminalError(f"destination {target.type!r} can't tell what a load would do without doing it")
    with context.scratch() as scratch:
        (scratch / "staging").mkdir()
        place = {"staging_url": (scratch / "staging").as_uri(), "staging_connection": None}
        dry = replace(context, settings=context.settings.model_copy(update=place), dry_run=True)
        manifests = {name: extract.run(config, name, dry) for name in config.inputs}
        manifest = transform.run(config, manifests, dry)
        checks = transform.check_results(manifest, dry)
        loads = tuple(load.run(config, index, manifest, dry) for index in range(len(config.outputs)))
    return Planned({name: int(found["rows"]) for name, found in manifests.items()}, loads, tuple(checks))
