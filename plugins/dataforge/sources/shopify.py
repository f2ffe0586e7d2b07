"""The shopify source: orders, customers, products, inventory, payouts and all else that a shop's Admin API gives."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO, Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from dataforge.components.base import CursorBounds, ExtractContext, Files
from dataforge.components.bounds import parse_instant
from dataforge.components.delivery import Grade
from dataforge.components.fields import ColumnName, Duration, TemplatedText
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError
from dataforge.sources import _json_text
from dataforge.sources._graphql import check_query, without_texts
from dataforge.sources._http import Answer, Client, Ruling
from dataforge.sources._http_options import (
    ApiKeyAuth,
    DottedPath,
    FromExtra,
    HttpSourceConfig,
    LinkHeader,
    ParentPartition,
    Retry,
    Scalar,
)

_TIMES = frozenset({"updated_at", "created_at", "processed_at", "published_at", "date"})
"""Fields that REST takes bounds for, as `<field>_min` and `<field>_max`."""

_MONEY = "{ shopMoney { amount currencyCode } }"


@dataclass(frozen=True)
class _Known:
    """A resource of which we know where it is: REST path, GraphQL field, fields of a record, nested (field, fields)."""

    rest: str
    graphql: str
    fields: str
    nested: tuple[str, str] | None = None


_KNOWN = {
    "orders": _Known(
        "orders",
        "orders",
        "id name createdAt updatedAt processedAt cancelledAt displayFinancialStatus displayFulfillmentStatus "
        f"currencyCode totalPriceSet {_MONEY} subtotalPriceSet {_MONEY} totalTaxSet {_MONEY} customer {{ id }} tags",
        ("lineItems", f"id sku title quantity originalUnitPriceSet {_MONEY} variant {{ id }} product {{ id }}"),
    ),
    "customers": _Known("customers", "customers", "id firstName lastName createdAt updatedAt numberOfOrders tags"),
    "products": _Known(
        "products",
        "products",
        "id title handle status vendor productType createdAt updatedAt tags",
        ("variants", "id sku title price inventoryQuantity createdAt updatedAt"),
    ),
    "inventory": _Known(
        "inventory_levels",
        "inventoryItems",
        "id sku tracked createdAt updatedAt",
        (
            "inventoryLevels",
            'id updatedAt location { id } quantities(names: ["available", "on_hand"]) { name quantity }',
        ),
    ),
    "payouts": _Known(
        "shopify_payments/payouts", "shopifyPaymentsAccount.payouts", "id issuedAt status net { amount currencyCode }"
    ),
}


class ShopifyConfig(HttpSourceConfig):
    """Config of the shopify source."""

    type: Literal["shopify"] = "shopify"
    resource: str = Field(
        description="orders, customers, products, inventory or payouts; or any other: a path of the REST API such as "
        "draft_orders, for the other ways a field of GraphQL such as draftOrders.",
        examples=["orders"],
    )
    api: Literal["rest", "graphql", "bulk"] = Field(
        default="rest",
        description="How records are read: rest gives all fields of a record; graphql those of `fields`, page by page; "
        "bulk lets the shop write all of them into one file first, which is right for very many.",
    )
    api_version: str = Field(
        default="2026-07",
        pattern=r"^20\d\d-(01|04|07|10)$",
        description="Version of the API. A shop that answers as another one (it does once a version is retired) ends "
        "the run.",
    )
    from_extra: FromExtra = Field(
        default=None,
        description="Key of the connection's extra that holds the access token; the connection's password when not "
        "set.",
    )
    query: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Further query parameters of REST; orders are read with status any unless it says otherwise.",
        examples=[{"financial_status": "paid"}],
    )
    search: TemplatedText = Field(
        default="", description="Search terms of GraphQL and bulk.", examples=["financial_status:paid"]
    )
    fields: str | None = Field(
        default=None,
        max_length=20_000,
        description="Fields of a record, as a GraphQL selection; those of the known resources when not set. In bulk, "
        "nested connections are written as `lineItems { edges { node { id } } }`.",
        examples=["id name updatedAt"],
    )
    rows: DottedPath | None = Field(
        default=None,
        min_length=1,
        description="Nested list whose items become the records, one row each: line_items of REST's orders, lineItems "
        "of GraphQL's. A record without items gives none. Not set: the list stays within its record.",
        examples=["line_items"],
    )
    parent_columns: dict[ColumnName, DottedPath] = Field(
        default_factory=dict,
        description="With rows: columns of each row that come from the record around it, by dotted path.",
        examples=[{"order_id": "id", "updated_at": "updated_at"}],
    )
    page_size: int | None = Field(
        default=None, ge=1, le=250, description="Records per page; 250 in REST and 25 in GraphQL when not set."
    )
    poll: Duration = Field(
        default=timedelta(seconds=5), description="How often a bulk operation is asked whether it is done."
    )
    retry: Retry = Field(
        default_factory=lambda: Retry(tries=6, repeat_post=True),
        description="How a request is repeated when its failure may pass.",
    )

    @field_validator("resource")
    @classmethod
    def _plain_resource(cls, value: str) -> str:
        if not re.match(r"\A[A-Za-z][A-Za-z0-9_]*(?:[/.][A-Za-z][A-Za-z0-9_]*)*\Z", value):
            raise ValueError(f"{value!r} is no resource: letters, digits, '_' and '/' (REST) or '.' (GraphQL)")
        return value

    @field_validator("fields")
    @classmethod
    def _only_reads(cls, value: str | None) -> str | None:
        if value is not None:
            check_query("{ " + value + " }")
            if check_depth(value) < 0:
                raise ValueError("the selection closes a brace that it did not open")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.api == "rest" and (self.fields is not None or self.search):
            raise ValueError("'fields' and 'search' belong to GraphQL; REST gives all fields, and takes 'query'")
        if self.api != "rest" and self.query:
            raise ValueError("'query' belongs to REST; GraphQL takes 'search'")
        if self.api != "rest" and self.fields is None and self.resource not in _KNOWN:
            raise ValueError(f"{self.resource!r} needs 'fields', as its own are not known")
        if self.api == "bulk" and "." in self.known().graphql:
            raise ValueError(f"bulk operations can't read {self.resource!r}; use graphql or rest")
        if self.parent_columns and self.rows is None:
            raise ValueError("'parent_columns' needs 'rows'")
        return self

    def login_options(self) -> Any:
        """Return the header that Shopify takes access tokens in."""
        return ApiKeyAuth(name="X-Shopify-Access-Token", from_extra=self.from_extra)

    def grade(self) -> Grade:
        """Return what reading proves: a bulk operation counts its objects, pages by cursor are a window."""
        return "window"

    def asset(self) -> str | None:
        """Return the shop's resource as an asset URI."""
        return f"dataforge://{self.connection}/{self.resource.replace('.', '/')}"

    def known(self) -> _Known:
        """Return where the resource is."""
        return _KNOWN.get(self.resource, _Known(self.resource, self.resource, self.fields or "id"))


def check_depth(text: str) -> int:
    """Return the least depth of braces that a selection reaches; below 0 it closes what it did not open."""
    depth = least = 0
    for char in without_texts(text):
        depth += (char == "{") - (char == "}")
        least = min(least, depth)
    return least


@dataclass
class Bucket:
    """A leaky bucket as `X-Shopify-Shop-Api-Call-Limit` tells of it: `used/size`, empty again after 20 seconds."""

    used: float = 0.0
    size: float = 0.0
    at: float = 0.0

    def learn(self, header: str | None) -> None:
        """Take over what an answer says."""
        match = re.match(r"\A(\d{1,6})/(\d{1,6})\Z", header or "")
        if match:
            self.used, self.size, self.at = float(match[1]), float(match[2]), time.monotonic()

    def pause(self) -> float:
        """Return the seconds until there is room for one more request, and one to spare."""
        if self.size < 2:
            return 0.0
        leak = self.size / 20
        level = self.used - (time.monotonic() - self.at) * leak
        return max(0.0, (level + 2 - self.size) / leak)


@SOURCES.register(ShopifyConfig)
class ShopifySource:
    """Reads a Shopify shop by REST, GraphQL or bulk operations, as fast as the shop's own rate limit lets it."""

    def __init__(self, config: ShopifyConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return all records as one NDJSON file in scratch, each value as the shop wrote it."""
        context.scratch.mkdir(parents=True, exist_ok=True)
        path = context.scratch / "records.ndjson"
        config = self.config
        read: dict[str, Callable[[Client, ExtractContext, IO[bytes]], Iterator[int]]] = {
            "rest": self._rest,
            "graphql": self._graphql,
            "bulk": self._bulk,
        }
        client = self._client(context)
        count = 0
        try:
            with path.open("w+b") as out:
                into: Any = Flattened(out, config.rows, config.parent_columns) if config.rows else out
                for records in read[config.api](client, context, into):
                    count += records
                    if context.sample is not None and count >= context.sample:
                        break
        finally:
            client.close()
        context.log("records read", records=count, requests=client.sent, bytes=path.stat().st_size)
        return Files("json", (path,), {"format": "newline_delimited"})

    def check(self, context: ExtractContext) -> str:
        """Return the name of the shop that was reached and the version it answers as."""
        client = self._client(context)
        try:
            answer = client.send("GET", client.url(f"{self._base()}/shop.json"))
            shop = json.loads(answer.body).get("shop") or {}
        except ValueError:
            raise TerminalError(f"connection {self.config.connection!r} leads to no Shopify shop") from None
        finally:
            client.close()
        return f"reached the shop {str(shop.get('name'))!r}, API version {self.config.api_version}"

    def _base(self) -> str:
        return f"/admin/api/{self.config.api_version}"

    def _client(self, context: ExtractContext) -> Client:
        from dataforge.sources._http_auth import connected

        bucket, version = Bucket(), self.config.api_version

        def judge(answer: Answer) -> Ruling | None:
            bucket.learn(answer.headers.get("x-shopify-shop-api-call-limit"))
            told = answer.headers.get("x-shopify-api-version")
            if told is not None and told != version:
                raise TerminalError(
                    f"the shop answers as API version {told}, not {version}, whose time is over; look at what changed, "
                    f'then set "api_version": "{told}"'
                )
            return None

        client = connected(self.config, context, judge)
        client.pause = bucket.pause
        return client

    # ---- REST

    def _rest(self, client: Client, context: ExtractContext, out: IO[bytes]) -> Iterator[int]:
        from dataforge.sources._http_pages import Budget, Walk
        from dataforge.sources._http_parts import Reader

        config, known = self.config, self.config.known()
        query: dict[str, Any] = {"limit": config.page_size or 250}
        if config.resource == "orders":
            query["status"] = "any"
        query |= {**config.query, **self._rest_bounds(context.cursor)}
        stream = _Stream(f"{self._base()}/{known.rest}.json", query, known.rest.rsplit("/", 1)[-1])
        locations = ParentPartition(
            name="location",
            endpoint=f"{self._base()}/locations.json",
            records="locations",
            query={"limit": 250},
            pagination=LinkHeader(),
            param="location_ids",
        )
        budget = Budget(config.max_pages)
        partitions = (locations,) if config.resource == "inventory" else ()
        for part in Reader(client, context, budget, form=False).parts(partitions, None):
            walk = Walk(client, part.endpoint(client, stream), LinkHeader(), budget)
            yield from (records for records, _ in walk.pages(context, out))

    def _field(self) -> str | None:
        """Return the field of the shop's record that the cursor stands for."""
        column = self.config.cursor_field
        return self.config.parent_columns.get(column, column) if column and self.config.rows else column

    def _rest_bounds(self, bounds: CursorBounds | None) -> dict[str, str]:
        of = self._field()
        if bounds is None or of not in _TIMES:
            return {}
        given = {f"{of}_min": bounds.lower, f"{of}_max": bounds.upper}
        return {name: _instant(value, of or "") for name, value in given.items() if value is not None}

    # ---- GraphQL

    def _selection(self, *, bulk: bool) -> str:
        known = self.config.known()
        if self.config.fields is not None or known.nested is None:
            return self.config.fields or known.fields
        name, fields = known.nested
        if bulk:
            return f"{known.fields} {name} {{ edges {{ node {{ {fields} }} }} }}"
        return f"{known.fields} {name}(first: 50) {{ nodes {{ {fields} }} pageInfo {{ hasNextPage }} }}"

    def _search(self, bounds: CursorBounds | None) -> str:
        terms = [f"({self.config.search})"] if self.config.search else []
        of = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self._field() or "").lower()
        if bounds is not None and of in _TIMES:
            for sign, value in ((">=", bounds.lower), ("<=", bounds.upper)):
                if value is not None:
                    terms.append(f"{of}:{sign}'{_instant(value, of)}'")
        return " AND ".join(terms)

    def _graphql(self, client: Client, context: ExtractContext, out: IO[bytes]) -> Iterator[int]:
        from dataforge.sources._graphql import Conversation, nodes

        config, path = self.config, self.config.known().graphql
        search = self._search(context.cursor)
        declared, given = (", $search: String", ", query: $search") if search else ("", "")
        inner = f"(first: $first, after: $after{given}) {{ nodes {{ {self._selection(bulk=False)} }} "
        text = inner + "pageInfo { hasNextPage endCursor } }"
        for key in reversed(path.split(".")):
            text = f"{key}{text}" if text.startswith("(") else f"{key} {{ {text} }}"
        query = f"query($first: Int!, $after: String{declared}) {{ {text} }}"
        variables: dict[str, Any] = {"first": config.page_size or 25, **({"search": search} if search else {})}
        conversation = Conversation(client, client.url(f"{self._base()}/graphql.json"))
        seen = set[str]()
        for _ in range(config.max_pages):
            records, info = nodes(conversation.ask(query, variables).body, path)
            for record in records:
                _refuse_cut(bytes(record))
            _json_text.write_lines(records, out)
            yield len(records)
            if not info or not info.get("hasNextPage"):
                return
            cursor = info.get("endCursor")
            if not isinstance(cursor, str) or cursor in seen:
                raise TerminalError("a page says that there is a next one, and gives no new endCursor for it")
            seen.add(cursor)
            variables["after"] = cursor
        raise TerminalError(f"more than max_pages = {config.max_pages} pages; raise it if that is right")

    def _bulk(self, client: Client, context: ExtractContext, out: IO[bytes]) -> Iterator[int]:
        from dataforge.sources import _shopify_bulk as bulk
        from dataforge.sources._graphql import Conversation

        selection, search = self._selection(bulk=True), self._search(context.cursor)
        given = f"(query: {json.dumps(search)})" if search else ""
        path = self.config.known().graphql
        query = f"{{ {path}{given} {{ edges {{ node {{ {selection} }} }} }} }}"
        tree = bulk.levels(selection)
        conversation = Conversation(client, client.url(f"{self._base()}/graphql.json"))
        id_ = bulk.start(conversation, query, group=bool(tree.below))
        url, count = bulk.wait(conversation, id_, self.config.poll.total_seconds())
        context.log("bulk operation done", operation=id_, objects=count)
        if url is None:
            yield 0
            return
        file = bulk.download(client, context, url)
        try:
            with file.open("rb") as lines:
                yield bulk.write(bulk.nested(lines, tree, count), out, context.sample)
        finally:
            file.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Stream:
    """What `Part.endpoint` needs of an endpoint."""

    endpoint: str
    query: Mapping[str, Any]
    records: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: None = None


class Flattened:
    """A file of records one a line that writes the items of a nested list in their place."""

    def __init__(self, out: IO[bytes], rows: str, columns: Mapping[str, str]) -> None:
        self._out, self._rows, self._columns = out, rows, columns

    def write(self, block: bytes) -> int:
        """Write whole lines."""
        from dataforge.sources._graphql import members

        for line in block.splitlines():
            text = _json_text.value_at(line, self._rows) if line.strip() else None
            if text is None:
                continue
            items, _ = members(text, self._rows)
            front = b"".join(
                json.dumps(name).encode() + b": " + (_json_text.value_at(line, path) or b"null") + b", "
                for name, path in self._columns.items()
            )
            for item in items:
                record = bytes(item).replace(b"\n", b" ").strip()
                if record[:1] != b"{":
                    raise TerminalError(f"{self._rows!r} holds items that are no objects")
                rest = record[1:].lstrip()
                start = front.rstrip(b", ") if rest[:1] == b"}" else front
                self._out.write(b"{" + start + rest + b"\n")
        return len(block)


def _refuse_cut(record: bytes) -> None:
    """Raise TerminalError where a nested list goes on beyond what one page of it gives."""
    if b'"hasNextPage":true' in record.replace(b" ", b""):
        id_ = _json_text.value_at(record, "id")
        raise TerminalError(
            f'the record {(id_ or b"").decode()} has more nested items than one page of them gives; use "api": "bulk", '
            "or ask for more of them in 'fields'"
        )


def _instant(text: str, of: str) -> str:
    try:
        instant = parse_instant(text)
    except ValueError as error:
        raise TerminalError(f"the cursor of a shop's records must be a time: {error}") from None
    return instant.strftime("%Y-%m-%d" if of == "date" else "%Y-%m-%dT%H:%M:%SZ")
