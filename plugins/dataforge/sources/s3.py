"""The s3 source: objects of any format below a prefix in a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator

from dataforge.components.base import ExtractContext, Extracted
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId, TemplatedText
from dataforge.components.paths import listing
from dataforge.components.registry import SOURCES
from dataforge.errors import Problem
from dataforge.settings import get_settings
from dataforge.sources._formats import FormattedConfig, columns_of


class S3Config(FormattedConfig):
    """Config of the s3 source."""

    type: Literal["s3"] = "s3"
    connection: ConnectionId = Field(
        description="Airflow connection of type aws: keys in login and password, endpoint_url and region_name in extra."
    )
    bucket: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$", description="Name of the bucket.", examples=["lake"]
    )
    prefix: TemplatedText = Field(
        default="",
        description="Folder in the bucket; nothing outside of it is listed. A date in it keeps listings short.",
        examples=["orders/${data_interval_start:%Y/%m/%d}/"],
    )
    pattern: TemplatedText = Field(
        default="**",
        min_length=1,
        description="Which objects below the prefix: * and ? stand for text within one folder, **/ for any folders.",
        examples=["*.csv.gz", "**/*.parquet"],
    )

    @field_validator("prefix", "pattern")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        if "://" in value or "\0" in value:
            raise ValueError(f"{value!r} is no part of a key; write it below the bucket, such as orders/")
        return value

    @property
    def url(self) -> str:
        """The bucket, prefix and pattern as one path with globs."""
        parts = (self.bucket, self.prefix.strip("/"), self.pattern.lstrip("/"))
        return "s3://" + "/".join(filter(None, parts))

    def asset(self) -> str | None:
        """Return the prefix as an asset URI; None where it depends on the run."""
        return None if "${" in self.url else f"dataforge://{self.connection}/{self.url.removeprefix('s3://')}"

    def extras(self) -> tuple[Extra, ...]:
        """Return s3fs, and what the format needs."""
        return (Extra("s3", "s3fs"), *super().extras())


@SOURCES.register(S3Config)
class S3Source:
    """Reads objects of any file format below a prefix in a bucket, on request only those that are new."""

    def __init__(self, config: S3Config) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Extracted:
        """Download the objects and return what the source of their format makes of them."""
        found: Extracted = self._source().extract(context)
        return found

    def verify(self) -> Iterable[Problem]:
        """Yield nothing: what can be wrong shows in the model or in the bucket."""
        return ()

    def check(self, context: ExtractContext) -> str:
        """Return how many objects there are; nothing is downloaded."""
        connection = context.connection(self.config.connection)
        there = listing(self.config.url, get_settings().readable_folders, connection=connection)
        return f"{len(there)} object(s) match {self.config.url!r}"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns of the objects; types that only reading tells are empty."""
        return columns_of(self._source(), context)

    def _source(self) -> Any:
        config = self.config
        more = {"path": config.url, "connection": config.connection, "only_new": config.only_new}
        kind = "none" if config.format == "excel" and config.compression == "auto" else config.compression
        return SOURCES.build(config.inner(**more, compression=kind, min_age=config.min_age))
