"""The pipeline source: what another pipeline of this deployment wrote."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataforge.components.base import ExtractContext, Extracted
from dataforge.components.fields import Name
from dataforge.components.outputs import FollowingConfig, Output
from dataforge.components.registry import SOURCES
from dataforge.sources import _following


class PipelineSourceConfig(FollowingConfig):
    """Config of the pipeline source."""

    type: Literal["pipeline"] = "pipeline"
    pipeline: Name = Field(description="The dag_id of the pipeline whose result is read.", examples=["orders_daily"])
    destination: int = Field(
        default=1, ge=1, le=1000, description="Which of its destinations, from 1, where it has several."
    )

    def follows(self) -> Output:
        """Return the output that is read."""
        return Output("pipeline", dag_id=self.pipeline, number=self.destination)


@SOURCES.register(PipelineSourceConfig)
class PipelineSource:
    """Reads what another pipeline wrote: the rows of its table or files that are committed now."""

    def __init__(self, config: PipelineSourceConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Extracted:
        """Return the rows of the destination, without the column that tells the run."""
        return _following.read(self.config, context)

    def check(self, context: ExtractContext) -> str:
        """Return what would be read."""
        return _following.check(self.config, context)

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns of the destination."""
        return dict(_following.discover(self.config, context))
