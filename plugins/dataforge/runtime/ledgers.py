"""The way from a pipeline to the ledgers that its destinations keep."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dataforge.components.base import LoadContext, RunValues
from dataforge.components.delivery import Accountable, Ledger
from dataforge.components.registry import DESTINATIONS
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, TerminalError
from dataforge.observability.log import line
from dataforge.runtime.context import TaskContext
from dataforge.runtime.values import resolve

if TYPE_CHECKING:
    from dataforge.components.base import Destination


def target_name(config: PipelineConfig, index: int) -> str:
    """Return what the ledger calls the target of the destination at `index`: the same in every run."""
    return config.outputs[index].asset() or f"destination-{index}"


def accountable(config: PipelineConfig) -> list[int]:
    """Return the indexes of the destinations that keep a ledger."""
    return [index for index, target in enumerate(config.outputs) if isinstance(DESTINATIONS.build(target), Accountable)]


def without_run(config: PipelineConfig) -> TaskContext:
    """Return a context to look at ledgers with: the parameters' defaults as far as there are any, and no interval."""
    defaults = {name: param.default for name, param in config.params.items() if param.default is not None}
    return TaskContext(config.dag_id, "", RunValues(defaults))


@contextmanager
def opened(config: PipelineConfig, index: int, context: TaskContext) -> Iterator[Ledger]:
    """Open the ledger of the destination at `index`.

    TerminalError where it keeps none; ConfigError, with its place in the config, when it can't be reached as written.
    """
    with context.scratch() as scratch:
        destination, load = built(config, index, context, scratch)
        if not isinstance(destination, Accountable):
            raise TerminalError(f"destination {config.outputs[index].type!r} keeps no record of its loads")
        try:
            with destination.ledger(load) as ledger:
                yield ledger
        except ConfigError as error:
            raise error.under(*place(config, index)) from None


def built(config: PipelineConfig, index: int, context: TaskContext, scratch: Path) -> tuple[Destination, LoadContext]:
    """Return the destination at `index` for this run, and what its load or its ledger needs to know of the run."""
    try:
        destination = DESTINATIONS.build(resolve(config.outputs[index], context.values))
    except ConfigError as error:
        raise error.under(*place(config, index)) from None
    target = target_name(config, index)
    return destination, LoadContext(
        connection=context.connection,
        scratch=scratch,
        run_key=context.run_key(target),
        dag_id=config.dag_id,
        values=context.values,
        log=line,
        run_id=context.run_id,
        target=target,
        contract=config.contract_of(index),
        limit=config.reject_limit,
        last_step=len(config.transforms),
        dry_run=context.dry_run,
        revision=revision(config),
        actor=context.actor,
    )


def revision(config: PipelineConfig) -> str:
    """Return the name of the config's content, by which a marker says what a run was made with."""
    return hashlib.sha256(config.model_dump_json(by_alias=True).encode()).hexdigest()[:16]


def place(config: PipelineConfig, index: int) -> tuple[str | int, ...]:
    """Return where the destination at `index` stands in the config."""
    return ("destination", index) if isinstance(config.destination, tuple) else ("destination",)
