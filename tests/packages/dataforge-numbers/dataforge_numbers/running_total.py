"""A transform in Python: it keeps a sum from batch to batch, which no SQL of ours does in a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components.base import TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    import pyarrow as pa


class RunningTotalConfig(TransformConfig):
    """Sum up a column as rows go by."""

    type: Literal["running_total"] = "running_total"
    column: ColumnName = Field(description="Integer column to sum up.", examples=["n"])
    into: ColumnName = Field(default="total", description="Column for the sum so far.")


@TRANSFORMS.register(RunningTotalConfig)
class RunningTotal:
    """Adds a column with the sum of another one over all rows so far."""

    def __init__(self, config: RunningTotalConfig) -> None:
        self._config = config

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema with the new bigint column at its end."""
        import pyarrow as pa

        return schema.append(pa.field(self._config.into, pa.int64()))

    def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield each batch with the sums added."""
        import pyarrow as pa

        total = 0
        for batch in batches:
            sums = []
            for value in batch.column(self._config.column).to_pylist():
                total += value or 0
                sums.append(total)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, pa.array(sums, pa.int64())], schema=self.schema(batch.schema)
            )
