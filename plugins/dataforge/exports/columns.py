"""What an export asks the sources: the columns with their types, and how their files are written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from dataforge.components.base import Columns, ExtractContext, Files, RunValues
from dataforge.components.registry import SOURCES
from dataforge.config.pipeline import PipelineConfig
from dataforge.dag_factory.check import live_columns
from dataforge.errors import DataForgeError
from dataforge.runtime.context import TaskContext, local
from dataforge.runtime.extract import connect_for
from dataforge.runtime.landing import land
from dataforge.runtime.values import resolve

FILES = ("csv", "json", "parquet")


@dataclass(frozen=True)
class Known:
    """What is known of one source: `columns` are None where nobody could tell, `options` those of its file reader."""

    columns: Columns | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


def ask(config: PipelineConfig) -> dict[str, Known]:
    """Return what the sources tell: files are read whole for their types, other systems are asked for theirs."""
    return {name: _ask(config, name) for name in config.inputs}


def _ask(config: PipelineConfig, name: str) -> Known:
    source = config.inputs[name]
    defaults = {key: param.default for key, param in config.params.items() if param.default is not None}
    context = local(config.model_copy(update={"params": {}}), {})
    values = RunValues(defaults, context.values.data_interval_start, context.values.data_interval_end, context.run_id)
    try:
        if source.type not in FILES:
            alone = config.model_copy(update={"source": None, "sources": {name: source}})
            return Known(live_columns(alone)[name])
        return _of_files(config, name, context, values)
    except DataForgeError as error:
        return Known(trouble=str(error))


def _of_files(config: PipelineConfig, name: str, context: TaskContext, values: RunValues) -> Known:
    source = resolve(config.inputs[name], values)
    with context.scratch() as scratch:
        folder = scratch / "source"
        folder.mkdir()
        files = SOURCES.build(source).extract(ExtractContext(context.connection, folder, values))
        assert isinstance(files, Files)
        with closing(connect_for(config, context, scratch, files.paths)) as con:
            landed = land(con, name, files, overrides=source.columns, scratch=scratch / "land")
            landed.widen()
            return Known(landed.columns, files.options)
