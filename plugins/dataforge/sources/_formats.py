"""What sources of files at a distance share: in which format the files are, and the reading of it.

A source such as `sftp` finds files and brings them here; the source of the format reads them as it reads local ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import Field, ValidationError, field_validator, model_validator

from dataforge.components.base import Discoverable, ExtractContext, Extracted, SourceConfig
from dataforge.components.extras import Extra
from dataforge.components.fields import Duration
from dataforge.components.registry import SOURCES
from dataforge.sources._files import (
    MIN_AGE,
    ONLY_NEW,
    Compression,
    FileSourceConfig,
    plain_files,
    refuse_two_ways,
)

FileFormat = Literal["csv", "json", "ndjson", "parquet", "excel"]
_ELSEWHERE = frozenset({*FileSourceConfig.model_fields, *SourceConfig.model_fields})


class Reader(Protocol):
    """A source of a format, which reads local files."""

    def read(self, files: Iterable[Path], context: ExtractContext) -> Extracted:
        """Return the records of these files."""
        ...


class FormattedConfig(SourceConfig):
    """Base of the configs of sources that bring files of any format."""

    format: FileFormat = Field(description="Format of the files.", examples=["csv"])
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the format, as the source of that name has them: such as delimiter, encoding and "
        "header for csv, records for json, sheet and range for excel.",
        examples=[{"delimiter": ";"}, {"sheet": "Orders"}],
    )
    compression: Compression = Field(
        default="auto",
        description="How files are compressed; auto looks at their first bytes. A zip must hold one file.",
    )
    only_new: bool = ONLY_NEW
    min_age: Duration | None = MIN_AGE

    @field_validator("options")
    @classmethod
    def _are_of_the_format(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        for key in sorted(_ELSEWHERE.intersection(value)):
            raise ValueError(f"{key!r} is no option of a format; write it beside 'options'")
        return value

    @model_validator(mode="after")
    def _fits(self) -> FormattedConfig:
        refuse_two_ways(self)
        try:
            self.inner()
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ValueError(f"options.{name}: {first['msg']}") from None
        return self

    def incremental(self) -> str | None:
        """Return the key by which each run reads on from the last."""
        return "only_new" if self.only_new else super().incremental()

    def extras(self) -> tuple[Extra, ...]:
        """Return what the format needs."""
        return self.inner().extras()

    def inner(self, **more: Any) -> FileSourceConfig:
        """Return the config of the source that reads the format, with `more` of its settings."""
        type_, options = ("json", {"format": "newline_delimited"}) if self.format == "ndjson" else (self.format, {})
        model: Any = SOURCES.get(type_).config
        found: FileSourceConfig = model.model_validate(
            {"type": type_, "path": "any", **options, **self.options, **more}
        )
        return found

    def reader(self) -> Reader:
        """Return the source that reads the format from local files."""
        found: Reader = cast("Any", SOURCES.build(self.inner()))
        return found

    def plain(self, paths: Iterable[Path], scratch: Path) -> tuple[Path, ...]:
        """Return the files without their compression; a workbook is a zip that stays one."""
        kind = "none" if self.format == "excel" and self.compression == "auto" else self.compression
        return plain_files(paths, kind, scratch)


def matches(name: str, pattern: str) -> bool:
    """Whether a file's path below a folder fits a pattern: `*` and `?` within one folder, `**/` across folders."""
    marks = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.fullmatch("".join(marks.get(part, re.escape(part)) for part in parts), name, re.DOTALL) is not None


def columns_of(source: Any, context: ExtractContext) -> dict[str, str]:
    """Return what the source of a format can tell of its columns without typing them; nothing of JSON."""
    return dict(source.discover(context)) if isinstance(source, Discoverable) else {}
