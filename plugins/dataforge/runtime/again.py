"""What becomes of a run that was fenced off: another run of the pipeline moved the cursor since this one read.

Nothing was loaded, and loading the same records again can never succeed. Airflow tries only the failed task again, so
that task reads anew by itself, under attempts of its own, from where the cursor stands now. The twin may have been an
attempt of the same run: then its marker is found, and what it read is read again and replaced by the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from dataforge.components.base import JsonValue
from dataforge.components.delivery import CursorStep
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import FencedError
from dataforge.observability.log import line
from dataforge.runtime import cursor
from dataforge.runtime.context import TaskContext
from dataforge.runtime.staging import Manifest, Staging

ROUNDS = 5
"""Times that the stages are done before another run was faster once too often; the task's own retries come on top."""

Manifests = Mapping[str, Mapping[str, JsonValue]]
Result = TypeVar("Result")


def until_current(config: PipelineConfig, stage: Callable[[int], Result]) -> Result:
    """Return what `stage` returns, called with 0, and again with 1, 2 … while it is fenced off."""
    for turn in range(ROUNDS - 1):
        try:
            return stage(turn)
        except FencedError as error:
            if all(source.cursor_name is None for source in config.inputs.values()):
                raise
            line("reading again", level=logging.WARNING, dag_id=config.dag_id, reason=str(error))
    return stage(ROUNDS - 1)


def staged(config: PipelineConfig, context: TaskContext, turn: int) -> Mapping[str, JsonValue]:
    """Extract and transform once more in this process; return the manifest to load."""
    from dataforge.runtime import transform

    return transform.run(config, _extracted(config, context, turn), _renewed(context, turn))


def agreed(config: PipelineConfig, manifests: Manifests, context: TaskContext) -> tuple[Manifests, CursorStep | None]:
    """Return manifests of the sources that saw the same state, and the step that they make together.

    Those that are given, unless another load was committed between their tasks; then all are extracted again.
    """
    if all(source.cursor_name is None for source in config.inputs.values()):
        return manifests, None
    staging = Staging.open(context.settings, context.connection)

    def together(turn: int) -> tuple[Manifests, CursorStep | None]:
        found = manifests if turn == 0 else _extracted(config, context, turn)
        extras = (staging.contents(Manifest.from_json(manifest)).extra for manifest in found.values())
        return found, cursor.merge(CursorStep.from_json(extra.get("cursor")) for extra in extras)

    return until_current(config, together)


def _extracted(config: PipelineConfig, context: TaskContext, turn: int) -> Manifests:
    from dataforge.runtime import extract

    return {name: extract.run(config, name, _renewed(context, turn)) for name in config.inputs}


def _renewed(context: TaskContext, turn: int) -> TaskContext:
    return replace(context, attempt=f"{context.attempt}-again-{turn}")
