"""Parquet files, one or a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._columns import Wire
from dataforge.destinations._files import FileDestination, FilesConfig, Format

if TYPE_CHECKING:
    import pyarrow as pa

Compression = Literal["zstd", "snappy", "gzip", "lz4", "none"]


class ParquetConfig(FilesConfig):
    """Config of the `parquet` destination."""

    type: Literal["parquet"] = "parquet"
    compression: Compression = Field(
        default="zstd", description="Compression of the column chunks; snappy for the oldest readers."
    )
    row_group_rows: int = Field(
        default=122_880, ge=1_000, le=10_000_000, description="Rows of one row group; this many are held in memory."
    )


@DESTINATIONS.register(ParquetConfig)
class ParquetDestination(FileDestination):
    """Writes Parquet files with the records' own Arrow types."""

    config: ParquetConfig

    def format(self) -> Format:
        """Return the Parquet writer."""
        return _Parquet(self.config.compression, self.config.row_group_rows)


@dataclass(frozen=True)
class _Parquet:
    compression: Compression
    group_rows: int
    suffix: str = ".parquet"
    replaces: tuple[str | None, ...] = ("a Parquet file",)

    def wire(self, field: pa.Field[Any]) -> Wire:
        return Wire(field.name, field.type)

    def write(self, reader: pa.RecordBatchReader, target: Path, scratch: Path) -> None:  # noqa: ARG002 - no spill
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(target, reader.schema, compression=self.compression) as writer:
            held: list[pa.RecordBatch] = []
            rows = 0
            for batch in reader:
                held.append(batch)
                rows += batch.num_rows
                if rows >= self.group_rows:
                    writer.write_table(pa.Table.from_batches(held), row_group_size=self.group_rows)
                    held, rows = [], 0
            if held:
                writer.write_table(pa.Table.from_batches(held), row_group_size=self.group_rows)
