"""CSV files, one or a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from dataforge.components.database import quote_identifier, quote_literal
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._columns import Wire, duckdb_wire, is_bytes, is_nested, is_text
from dataforge.destinations._files import TEXT_KINDS, FileDestination, FilesConfig, Format, copy_with_duckdb

if TYPE_CHECKING:
    import pyarrow as pa

TextCompression = Literal["none", "gzip", "zstd"]
SUFFIXES: dict[TextCompression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def compression_of(path: str, given: TextCompression | None) -> TextCompression:
    """Return the compression that the config gives, or the one that the file's name tells."""
    if given is not None:
        return given
    return next((kind for kind, suffix in SUFFIXES.items() if suffix and path.endswith(suffix)), "none")


class CsvConfig(FilesConfig):
    """Config of the `csv` destination."""

    type: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="Character between values.")
    quote: str = Field(
        default='"',
        min_length=1,
        max_length=1,
        description="Character around values that need it; doubled inside them.",
    )
    header: bool = Field(default=True, description="Write the column names as the first line.")
    null_text: str = Field(
        default="", max_length=20, description="What stands for null; an empty text is written as two quotes."
    )
    compression: TextCompression | None = Field(
        default=None, description="Compression of the file; when not set, by the name's ending (.gz, .zst), else none."
    )
    neutralize_formulas: bool = Field(
        default=False,
        description="Put a ' before texts that begin with = + - @, a tab or a carriage return, so that a spreadsheet "
        "takes them as text. Changes those values: leave it off where programs read the file.",
    )

    @model_validator(mode="after")
    def _marks_differ(self) -> CsvConfig:
        if self.delimiter == self.quote or {self.delimiter, self.quote} & set("\r\n\0"):
            raise ValueError("delimiter and quote must be two different characters, neither of them a line break")
        return self


@DESTINATIONS.register(CsvConfig)
class CsvDestination(FileDestination):
    """Writes CSV files: UTF-8, instants in UTC, bytes as Base64, lists and structs as JSON."""

    config: CsvConfig

    def format(self) -> Format:
        """Return the CSV writer."""
        compression = compression_of(self.config.path, self.config.compression)
        return _Csv(self.config, compression, f".csv{SUFFIXES[compression]}")


@dataclass(frozen=True)
class _Csv:
    config: CsvConfig
    compression: TextCompression
    suffix: str
    replaces: tuple[str | None, ...] = TEXT_KINDS

    def wire(self, field: pa.Field[Any]) -> Wire:
        return duckdb_wire(field)

    def write(self, reader: pa.RecordBatchReader, target: Path, scratch: Path) -> None:
        columns = ", ".join(self._expression(field) for field in reader.schema)
        marks = quote_literal(self.config.quote)
        options = (
            f"format csv, header {str(self.config.header).lower()}, delimiter {quote_literal(self.config.delimiter)}, "
            f"quote {marks}, escape {marks}, nullstr {quote_literal(self.config.null_text)}, "
            f"compression {quote_literal(self.compression)}"
        )
        copy_with_duckdb(reader, f"select {columns} from incoming", options, target, scratch)

    def _expression(self, field: pa.Field[Any]) -> str:
        name = quote_identifier(field.name)
        if is_nested(field.type):
            return f"case when {name} is not null then cast(to_json({name}) as varchar) end as {name}"
        if is_bytes(field.type):
            return f"to_base64({name}) as {name}"
        if self.config.neutralize_formulas and is_text(field.type):
            risky = ", ".join(f"chr({ord(char)})" for char in "=+-@\t\r")
            return f"case when left({name}, 1) in ({risky}) then chr(39) || {name} else {name} end as {name}"
        return name
