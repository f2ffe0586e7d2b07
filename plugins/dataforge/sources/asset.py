"""The asset source: what some pipeline of this deployment wrote, named by the asset that it updates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataforge.components.base import ExtractContext, Extracted
from dataforge.components.outputs import FollowingConfig, Output
from dataforge.components.registry import SOURCES
from dataforge.sources import _following


class AssetConfig(FollowingConfig):
    """Config of the asset source."""

    type: Literal["asset"] = "asset"
    name: str = Field(
        min_length=1,
        max_length=1000,
        description="The asset, as a schedule names it: connection/table of another pipeline's destination, or "
        "files/path, or duckdb/table. That pipeline's result is read.",
        examples=["warehouse/sales.orders", "duckdb/orders"],
    )

    def asset(self) -> str:
        """Return the asset itself."""
        return self.name if "://" in self.name else f"dataforge://{self.name}"

    def follows(self) -> Output:
        """Return the output that is read."""
        return Output("name", asset=self.name)


@SOURCES.register(AssetConfig)
class AssetSource:
    """Reads what the pipeline that updates an asset wrote: the rows of its table or files that are committed now."""

    def __init__(self, config: AssetConfig) -> None:
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
