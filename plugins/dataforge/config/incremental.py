"""What a pipeline as a whole must be for its sources to be read by a cursor."""

from __future__ import annotations

from dataforge.components.registry import DESTINATIONS
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import Problem

Path = tuple[str | int, ...]


def problems(config: PipelineConfig) -> list[Problem]:
    """Return why the pipeline's cursor could not be kept; nothing for one without a cursor."""
    names = [name for name, source in config.inputs.items() if source.cursor_name is not None]
    if not names:
        return []
    single = config.source is not None
    place: Path = ("source",) if single else ("sources", names[0])
    own = config.inputs[names[0]].position_name()
    key = "cursor_field" if own is None else "resume"
    place = (*place, key)
    remove = "remove 'cursor_field'" if own is None else "set 'resume' to false, to read all each time"
    if len(config.outputs) > 1:
        return [
            Problem(
                "incremental-several-destinations",
                f"{key!r} needs one destination, there are {len(config.outputs)}: the cursor is committed with "
                "the rows, and two destinations can't commit together",
                place,
                "make a pipeline for each destination",
            )
        ]
    target = config.outputs[0]
    if not hasattr(DESTINATIONS.get(target.type).cls, "ledger"):
        return [
            Problem(
                "incremental-no-ledger",
                f"destination {target.type!r} keeps no record of its loads, so there is no place for the cursor",
                place,
                f"use a destination that does, such as postgres or duckdb, or {remove}",
            )
        ]
    templated = [name for name in ("path", "database") if "${" in str(getattr(target, name, ""))]
    if templated:
        return [
            Problem(
                "incremental-no-ledger",
                f"the destination's {templated[0]!r} differs between runs, and the cursor stands beside the data: each "
                "new place would begin without one",
                place,
                f"write a {templated[0]!r} without '${{…}}', or read by ${{data_interval_start}} in place of a cursor",
            )
        ]
    return []
