"""A source that counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components.base import Batches, ExtractContext, Extracted, SourceConfig
from dataforge.components.registry import SOURCES

if TYPE_CHECKING:
    import pyarrow as pa


class NumbersConfig(SourceConfig):
    """Count from 1."""

    type: Literal["numbers"] = "numbers"
    up_to: int = Field(ge=0, description="Last number.", examples=[10])


@SOURCES.register(NumbersConfig)
class NumbersSource:
    """Counts from 1 to a limit, in batches of 1,000."""

    def __init__(self, config: NumbersConfig) -> None:
        self._config = config

    def extract(self, context: ExtractContext) -> Extracted:
        """Return one bigint column `n`."""
        import pyarrow as pa

        last = min(self._config.up_to, context.sample or self._config.up_to)
        return Batches(pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), self._batches(last)))

    def _batches(self, last: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for start in range(1, last + 1, 1000):
            numbers = pa.array(range(start, min(start + 1000, last + 1)), pa.int64())
            yield pa.RecordBatch.from_arrays([numbers], ["n"])
