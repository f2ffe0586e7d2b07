"""A Singer tap for the tests, on Meltano's SDK: books from a list that stands in its settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class Books(Stream):
    """Books, by the time of their last change."""

    name = "books"
    primary_keys = ("id",)
    replication_key = "changed_at"
    is_sorted = True
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("title", th.StringType),
        th.Property("price", th.NumberType),
        th.Property("changed_at", th.DateTimeType),
        th.Property("tags", th.ArrayType(th.StringType)),
    ).to_dict()

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        """Give the books from the bookmark on."""
        start = self.get_starting_replication_key_value(context)
        for book in self.config["books"]:
            if start is None or book["changed_at"] >= start:
                yield book


class Shelf(Tap):
    """The tap."""

    name = "tap-shelf"
    config_jsonschema = th.PropertiesList(
        th.Property("books", th.ArrayType(th.ObjectType())), th.Property("token", th.StringType)
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        """Return the one stream."""
        return [Books(self)]


def main() -> None:
    """Run as a command."""
    Shelf.cli()
