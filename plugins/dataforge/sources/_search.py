"""Reading an index of Elasticsearch or OpenSearch: all documents as they were at one point in time.

Elasticsearch from 7.10 on opens a point in time and pages by search_after; OpenSearch and older servers scroll, which
keeps the same promise. An answer that some shards did not take part in is never taken for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from dataforge.components.base import ExtractContext, Files, JsonValue, SourceConfig
from dataforge.components.bounds import parse_instant
from dataforge.components.delivery import Reject
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.search_client import SearchClient, index_path
from dataforge.errors import TerminalError, TransientError
from dataforge.sources import _json_text

IndexPattern = Annotated[str, Field(pattern=r"^[^\\/?\"<>| #:A-Z]{1,255}$")]
KEEP_ALIVE = "5m"
_POINT_IN_TIME = (7, 10)

TYPES = {
    "boolean": "BOOLEAN",
    "byte": "BIGINT",
    "short": "BIGINT",
    "integer": "BIGINT",
    "long": "BIGINT",
    "unsigned_long": "UBIGINT",
    "half_float": "DOUBLE",
    "float": "DOUBLE",
    "double": "DOUBLE",
    "scaled_float": "DOUBLE",
    "date": "TIMESTAMPTZ",
    "date_nanos": "TIMESTAMPTZ",
    "object": "JSON",
    "nested": "JSON",
    "geo_point": "JSON",
    "geo_shape": "JSON",
}
"""What a mapping's types are to the engine; all others are texts."""


class SearchConfig(SourceConfig):
    """Base of the configs of both sources."""

    connection: ConnectionId = Field(
        description="Airflow connection of type elasticsearch, opensearch or http: host, port, login and password, or "
        "'api_key' in the extra.",
        examples=["search"],
    )
    index: IndexPattern = Field(description="Index, alias, or pattern with * of several.", examples=["orders-*"])
    query: dict[str, JsonValue] | None = Field(
        default=None,
        description="Query in the server's own JSON; all documents when not set.",
        examples=[{"term": {"status": "paid"}}],
    )
    fields: tuple[str, ...] = Field(
        default=(), description="Fields of the documents to read, with * for several; all when not set."
    )
    id_column: ColumnName = Field(default="_id", description="Column for the id of a document.")
    index_column: ColumnName | None = Field(
        default=None, description="Column for the index of a document, where a pattern reads several."
    )
    page: int = Field(default=2_000, ge=1, le=10_000, description="Documents of one answer.")
    mode: Literal["auto", "point_in_time", "scroll"] = Field(
        default="auto",
        description="How one state is read: auto takes a point in time from Elasticsearch 7.10 on, else a scroll.",
    )

    def asset(self) -> str:
        """Return `dataforge://connection/index`."""
        return f"dataforge://{quote(self.connection)}/{quote(self.index, safe='*')}"


class SearchSource:
    """Reads the documents of an index; base of both sources."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return the documents as NDJSON, each copied as the server keeps it."""
        context.scratch.mkdir(parents=True, exist_ok=True)
        path = context.scratch / "documents.ndjson"
        client = SearchClient(context.connection(self.config.connection), context.log)
        try:
            self._copy(client, path, context)
        finally:
            client.close()
        return Files("json", (path,), {"format": "newline_delimited"})

    def _copy(self, client: SearchClient, path: Path, context: ExtractContext) -> None:
        import msgspec

        encode = msgspec.json.Encoder().encode
        names = [name for name in (self.config.id_column, self.config.index_column) if name]
        marks = [json.dumps(name, ensure_ascii=False).encode() for name in names]
        count = 0
        with path.open("wb") as out:
            for hit in self._hits(client, context):
                source, about = hit.source, {self.config.id_column: hit.id}
                if self.config.index_column:
                    about[self.config.index_column] = hit.index
                if any(mark in source for mark in marks) and (taken := set(json.loads(source)) & set(names)):
                    reason = f"the document has a field {sorted(taken)[0]!r} of its own; set 'id_column'"
                    record, place = source.decode(), f"{hit.index}/{hit.id}"
                    context.reject(Reject("extract", reason, record, context.source, position=place))
                    continue
                out.write(_json_text.with_members(source, encode(about)) + b"\n")
                count += 1
                if context.sample is not None and count >= context.sample:
                    break
        context.log("documents read", documents=count)

    def _hits(self, client: SearchClient, context: ExtractContext) -> Iterator[Any]:
        size = self.config.page if context.sample is None else min(self.config.page, max(1, context.sample))
        body: dict[str, Any] = {"size": size, "query": self._query(context)}
        if self.config.fields:
            body["_source"] = list(self.config.fields)
        if self._takes_points(client):
            yield from _by_point(client, self.config.index, body)
        else:
            yield from _by_scroll(client, self.config.index, body)

    def _takes_points(self, client: SearchClient) -> bool:
        if self.config.mode != "auto":
            return self.config.mode == "point_in_time"
        name, version = client.about()
        return name == "Elasticsearch" and version[:2] >= _POINT_IN_TIME

    def _query(self, context: ExtractContext) -> dict[str, Any]:
        """Return the query, with what the cursor makes unwanted left out where that can be said for sure."""
        wanted = self.config.query or {"match_all": {}}
        bounds = context.cursor
        if bounds is None or bounds.lower is None or not bounds.type.upper().startswith("TIMESTAMP"):
            return wanted
        # the server's times end at the millisecond
        lower = parse_instant(bounds.lower) - timedelta(milliseconds=1)
        since: list[dict[str, Any]] = [{"range": {bounds.field: {"gte": lower.isoformat(timespec="milliseconds")}}}]
        if bounds.nulls:
            since.append({"bool": {"must_not": {"exists": {"field": bounds.field}}}})
        newer = {"bool": {"should": since, "minimum_should_match": 1}}
        return {"bool": {"filter": [wanted, newer]}}

    def check(self, context: ExtractContext) -> str:
        """Say which server answers and how many documents there are."""
        client = SearchClient(context.connection(self.config.connection), context.log)
        try:
            name, version = client.about()
            said = client.ask("GET", f"{index_path(self.config.index)}/_count", what=f"index {self.config.index!r}")
        finally:
            client.close()
        return f"{name} {'.'.join(map(str, version))}, {self.config.index}: {int(said['count']):,} documents"

    def measure(self, context: ExtractContext) -> tuple[int, int]:
        """Return how many documents there are, and their bytes as far as the server tells."""
        client = SearchClient(context.connection(self.config.connection), context.log)
        try:
            place = index_path(self.config.index)
            count = client.ask("POST", f"{place}/_count", {"query": self.config.query or {"match_all": {}}})["count"]
            stats = client.ask("GET", f"{place}/_stats/store")
        finally:
            client.close()
        return int(count), int(stats.get("_all", {}).get("primaries", {}).get("store", {}).get("size_in_bytes", 0))

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the columns that the mapping names, those of all indexes; a field may hold a list of its type too."""
        client = SearchClient(context.connection(self.config.connection), context.log)
        try:
            said = client.ask("GET", f"{index_path(self.config.index)}/_mapping", what=f"index {self.config.index!r}")
        finally:
            client.close()
        found: dict[str, str] = {}
        for mapping in said.values():
            for name, field in (mapping.get("mappings", {}).get("properties") or {}).items():
                kind = field.get("type") or "object"
                type_ = TYPES.get(kind, "VARCHAR")
                found[name] = type_ if found.get(name, type_) == type_ else "VARCHAR"
        found[self.config.id_column] = "VARCHAR"
        if self.config.index_column:
            found[self.config.index_column] = "VARCHAR"
        return found


def _by_point(client: SearchClient, index: str, body: Mapping[str, Any]) -> Iterator[Any]:
    opened = client.ask("POST", f"{index_path(index)}/_pit", what=f"index {index!r}", keep_alive=KEEP_ALIVE)
    point = str(opened["id"])
    try:
        after: Any = None
        while True:
            asked = {
                **body,
                "pit": {"id": point, "keep_alive": KEEP_ALIVE},
                "sort": [{"_shard_doc": "asc"}],
                "track_total_hits": False,
            }
            if after is not None:
                asked["search_after"] = after
            page = _page(
                client.call("POST", "_search", asked, what=f"index {index!r}", allow_partial_search_results=False)
            )
            point = page.pit_id or point
            yield from page.hits.hits
            if len(page.hits.hits) < body["size"]:
                return
            after = json.loads(page.hits.hits[-1].sort)
    finally:
        with suppress(Exception):
            client.ask("DELETE", "_pit", {"id": point}, again=False)


def _by_scroll(client: SearchClient, index: str, body: Mapping[str, Any]) -> Iterator[Any]:
    what = f"index {index!r}"
    first = {**body, "sort": ["_doc"]}
    page = _page(
        client.call(
            "POST",
            f"{index_path(index)}/_search",
            first,
            what=what,
            scroll=KEEP_ALIVE,
            allow_partial_search_results=False,
        )
    )
    scroll = page.scroll_id
    try:
        while page.hits.hits:
            yield from page.hits.hits
            # not tried again: a scroll goes on each time it is asked, so that a lost answer is lost for good
            page = _page(
                client.call(
                    "POST", "_search/scroll", {"scroll": KEEP_ALIVE, "scroll_id": scroll}, what=what, again=False
                )
            )
            scroll = page.scroll_id or scroll
    finally:
        with suppress(Exception):
            client.ask("DELETE", "_search/scroll", {"scroll_id": [scroll]}, again=False)


_PAGES: list[Any] = []


def _page(text: bytes | None) -> Any:
    """Return an answer's hits; TransientError where some shards did not answer."""
    import msgspec

    if not _PAGES:
        hit = msgspec.defstruct(
            "Hit",
            [
                ("id", str),
                ("index", str, ""),
                ("source", msgspec.Raw, msgspec.Raw(b"{}")),
                ("sort", msgspec.Raw, msgspec.Raw(b"null")),
            ],
            rename={"id": "_id", "index": "_index", "source": "_source"},
        )
        hits = msgspec.defstruct("Hits", [("hits", list[hit])])  # type: ignore[valid-type]
        shards = msgspec.defstruct("Shards", [("failed", int, 0)], frozen=True)
        page = msgspec.defstruct(
            "Page",
            [
                ("hits", hits),
                ("timed_out", bool, False),
                ("shards", shards, shards()),
                ("pit_id", str, ""),
                ("scroll_id", str, ""),
            ],
            rename={"shards": "_shards", "scroll_id": "_scroll_id"},
        )
        _PAGES.append(msgspec.json.Decoder(page))
    try:
        found = _PAGES[0].decode(text or b"")
    except (msgspec.DecodeError, ValueError) as error:
        raise TerminalError(f"the answer is no search result: {error}") from None
    for hit_ in found.hits.hits:
        hit_.source = bytes(hit_.source)
        hit_.sort = bytes(hit_.sort)
    if found.timed_out or found.shards.failed:
        raise TransientError(
            f"the search gave a part only ({found.shards.failed} shards failed"
            f"{', it timed out' if found.timed_out else ''}); nothing was loaded"
        )
    return found
