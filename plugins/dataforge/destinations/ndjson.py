"""NDJSON files (one JSON object a line), one or a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._columns import Wire, duckdb_wire, is_bytes
from dataforge.destinations._files import TEXT_KINDS, FileDestination, FilesConfig, Format, copy_with_duckdb
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
EXACT_DIGITS = 15
"""Decimals of more digits are written as text: most readers take JSON numbers as doubles, which hold no more."""


class NdjsonConfig(FilesConfig):
    """Config of the `ndjson` destination."""

    type: Literal["ndjson"] = "ndjson"
    compression: Literal["none", "gzip", "zstd"] | None = Field(
        default=None, description="Compression of the file; when not set, by the name's ending (.gz, .zst), else none."
    )


@DESTINATIONS.register(NdjsonConfig)
class NdjsonDestination(FileDestination):
    """Writes NDJSON files: ISO 8601 instants in UTC, bytes as Base64, long decimals as text."""

    config: NdjsonConfig

    def format(self) -> Format:
        """Return the NDJSON writer."""
        by_name = next((kind for kind, end in SUFFIXES.items() if end and self.config.path.endswith(end)), "none")
        compression = self.config.compression or by_name
        return _Ndjson(compression, f".ndjson{SUFFIXES[compression]}")


@dataclass(frozen=True)
class _Ndjson:
    compression: str
    suffix: str
    replaces: tuple[str | None, ...] = TEXT_KINDS

    def wire(self, field: pa.Field[Any]) -> Wire:
        import pyarrow as pa
        import pyarrow.compute as pc

        wire = duckdb_wire(field)
        if not pa.types.is_floating(wire.type):
            return wire

        def convert(array: pa.Array[Any]) -> pa.Array[Any]:
            array = wire.convert(array) if wire.convert else array
            if pc.all(pc.is_finite(array)).as_py() is False:
                raise TerminalError(
                    f"column {field.name!r} holds NaN or an infinity, which JSON can't say; turn it into null with a "
                    "derive transform"
                )
            return array

        return Wire(wire.name, wire.type, convert)

    def write(self, reader: pa.RecordBatchReader, target: Path, scratch: Path) -> None:
        columns = ", ".join(_expression(field) for field in reader.schema)
        options = f"format json, compression {quote_literal(self.compression)}"
        copy_with_duckdb(reader, f"select {columns} from incoming", options, target, scratch)


def _expression(field: pa.Field[Any]) -> str:
    from pyarrow import types as t

    name = quote_identifier(field.name)
    if is_bytes(field.type):
        return f"to_base64({name}) as {name}"
    if t.is_timestamp(field.type):
        utc = f"{name} at time zone 'UTC'" if field.type.tz else name
        return f"replace(cast({utc} as varchar), ' ', 'T'){chr(32) + '|| chr(90)' if field.type.tz else ''} as {name}"
    if t.is_decimal(field.type) and field.type.precision > EXACT_DIGITS:
        return f"cast({name} as varchar) as {name}"
    return name
