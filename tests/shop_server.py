"""A shop on loopback that plays Shopify from its published Admin API: no shop of Shopify's is asked.

REST with `Link` pages and a leaky bucket (`X-Shopify-Shop-Api-Call-Limit`, 429 with `Retry-After`); GraphQL by
graphql-core with cursors and costs in points (`throttleStatus`, THROTTLED); bulk operations that run, finish and leave
a JSONL file; the header that says which version answered.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

VERSION = "2026-07"
KEY = "shop-key-1234"

SDL = """
type Query {
  shop: Shop!
  orders(first: Int, after: String, query: String): OrderConnection!
  shopifyPaymentsAccount: Account
  node(id: ID!): Node
}
type Mutation {
  bulkOperationRunQuery(query: String!, groupObjects: Boolean!): Payload
  bulkOperationCancel(id: ID!): Payload
}
interface Node { id: ID! }
type Shop { name: String! }
type Account { payouts(first: Int, after: String): PayoutConnection! }
type Payout implements Node { id: ID!, issuedAt: String!, status: String!, net: Money! }
type PayoutConnection { nodes: [Payout!]!, pageInfo: PageInfo! }
type Payload { bulkOperation: BulkOperation, userErrors: [UserError!]! }
type UserError { message: String! }
type BulkOperation implements Node { id: ID!, status: String!, errorCode: String, objectCount: String!, url: String }
type PageInfo { hasNextPage: Boolean!, endCursor: String }
type Money { amount: String!, currencyCode: String! }
type MoneyBag { shopMoney: Money! }
type OrderConnection { nodes: [Order!]!, edges: [OrderEdge!]!, pageInfo: PageInfo! }
type OrderEdge { node: Order! }
type LineConnection { nodes: [LineItem!]!, edges: [LineEdge!]!, pageInfo: PageInfo! }
type LineEdge { node: LineItem! }
type Ref { id: ID! }
type Order implements Node {
  id: ID!, name: String!, createdAt: String!, updatedAt: String!, processedAt: String, cancelledAt: String,
  displayFinancialStatus: String, displayFulfillmentStatus: String, currencyCode: String, totalPriceSet: MoneyBag,
  subtotalPriceSet: MoneyBag, totalTaxSet: MoneyBag, customer: Ref, tags: [String!]!,
  lineItems(first: Int): LineConnection!
}
type LineItem implements Node {
  id: ID!, sku: String, title: String!, quantity: Int!, originalUnitPriceSet: MoneyBag, variant: Ref, product: Ref
}
"""


def orders(count: int, lines: int = 2) -> list[dict[str, Any]]:
    """Return orders as REST gives them, one a minute, the later ones with a later `updated_at`."""
    return [
        {
            "id": 1000 + index,
            "name": f"#{1000 + index}",
            "created_at": _minute(index),
            "updated_at": _minute(index),
            "total_price": f"{index}.50",
            "line_items": [
                {"id": (1000 + index) * 10 + line, "sku": f"S{line}", "title": "Thing", "quantity": line + 1}
                for line in range(lines if index % 3 else 1)
            ],
        }
        for index in range(count)
    ]


def _minute(index: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_735_689_600 + 60 * index))  # from 2025-01-01 on


@dataclass
class Shop:
    """The shop: what it sells, its limits, and what it was asked."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    bucket: int = 40
    points: float = 1000.0
    restore: float = 50.0
    version: str = VERSION
    retry_after: float = 0.3
    bulk_polls: int = 2
    bulk_ends_as: tuple[str, str | None] = ("COMPLETED", None)
    lost_lines: int = 0
    url: str = ""
    result_url: str | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    refused: int = 0
    cancelled: bool = False
    _level: float = 0.0
    _at: float = field(default_factory=time.monotonic)
    _points: float | None = None
    _polls: int = 0
    _running: bool = False
    _result: bytes = b""
    _count: int = 0
    _schema: Any = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    # ---- Limits

    def leak(self) -> float:
        """Requests per second that leave the bucket."""
        return self.bucket / 20

    def pour(self) -> bool:
        """Whether one more request fits into the bucket; it counts when it does."""
        now = time.monotonic()
        self._level = max(0.0, self._level - (now - self._at) * self.leak())
        self._at = now
        if self._level + 1 > self.bucket:
            self.refused += 1
            return False
        self._level += 1
        return True

    def pay(self, cost: float) -> bool:
        """Whether a query can be paid; it is when it can."""
        now = time.monotonic()
        had = self.points if self._points is None else self._points
        self._points = min(self.points, had + (now - self._at) * self.restore)
        self._at = now
        if cost > self._points:
            self.refused += 1
            return False
        self._points -= cost
        return True

    # ---- REST

    def rest(self, path: str, query: dict[str, str]) -> tuple[Any, str | None]:
        """Return the answer to a path, and the query of the next page."""
        name = path.rsplit("/", 1)[-1].removesuffix(".json")
        if name == "shop":
            return {"shop": {"name": "Loopback Goods"}}, None
        if name == "locations":
            return {"locations": [{"id": 7}, {"id": 8}]}, None
        rows: list[dict[str, Any]]
        if name == "inventory_levels":
            rows = [{"location_id": int(query["location_ids"]), "inventory_item_id": n, "available": n} for n in (1, 2)]
        elif name == "payouts":
            rows = [{"id": 1, "status": "paid", "date": "2025-01-02", "amount": "41.90"}]
        else:
            rows = self.orders
        if "page_info" in query:
            assert set(query) <= {"page_info", "limit"}, "page_info goes alone"
            query = {**json.loads(base64.urlsafe_b64decode(query["page_info"])), "limit": query["limit"]}
        rows = [
            row
            for row in rows
            if row.get("updated_at", "9") >= query.get("updated_at_min", "")
            and row.get("updated_at", "") <= query.get("updated_at_max", "9")
        ]
        start, limit = int(query.get("at", 0)), int(query.get("limit", 50))
        assert limit <= 250
        following = None
        if start + limit < len(rows):
            kept = {**query, "at": str(start + limit)}
            page = base64.urlsafe_b64encode(json.dumps(kept).encode()).decode()
            following = urlencode({"limit": limit, "page_info": page})
        return {name: rows[start : start + limit]}, following

    # ---- GraphQL

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a GraphQL request, with its cost."""
        import graphql

        variables = body.get("variables") or {}
        cost = 1.0 if "first" not in variables else 2.0 + variables["first"]
        paid = self.pay(cost)
        assert self._points is not None
        status = {"maximumAvailable": self.points, "currentlyAvailable": int(self._points), "restoreRate": self.restore}
        extensions = {"cost": {"requestedQueryCost": cost, "throttleStatus": status}}
        if not paid:
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return {"errors": [error], "extensions": extensions}
        result = graphql.graphql_sync(self._schema, body["query"], _Root(self), variable_values=variables)
        return {**result.formatted, "extensions": extensions}

    def nodes(self, search: str | None) -> list[dict[str, Any]]:
        """Return the orders as GraphQL gives them."""
        since = (search or "").partition("updated_at:>='")[2].partition("'")[0]
        return [_node(order) for order in self.orders if order["updated_at"] >= since]

    def start(self, query: str) -> dict[str, Any]:
        """Start a bulk operation."""
        import graphql

        if self._running:
            return {"bulkOperation": None, "userErrors": [{"message": "A bulk query operation is already in progress"}]}
        self._running, self._polls = True, 0
        result = graphql.graphql_sync(self._schema, query, _Root(self))
        assert not result.errors, result.errors
        lines: list[dict[str, Any]] = []
        for connection in (result.data or {}).values():
            _flatten(connection, None, lines)
        self._count = len(lines)
        kept = lines[: len(lines) - self.lost_lines]
        self._result = b"".join(json.dumps(line).encode() + b"\n" for line in kept)
        return {"bulkOperation": self.operation(), "userErrors": []}

    def operation(self) -> dict[str, Any]:
        """Return the state of the bulk operation; it is done after a few questions."""
        self._polls += 1
        status, code = ("RUNNING", None) if self._polls <= self.bulk_polls else self.bulk_ends_as
        url = None
        if status != "RUNNING":
            self._running = False
        if status == "COMPLETED" and self._count:
            url = self.result_url or f"{self.url}/results/1.jsonl"
        counted = str(self._count)
        id_ = "gid://shopify/BulkOperation/1"
        return {"__typename": "BulkOperation", "id": id_, "status": status, "errorCode": code,
                "objectCount": counted, "url": url}  # fmt: skip


class _Root:
    """The resolvers of the schema."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.shop = {"name": "Loopback Goods"}
        self.shopifyPaymentsAccount = {"payouts": lambda info, first=None, after=None: _connection(
            [{"id": "gid://shopify/Payout/1", "issuedAt": "2025-01-02", "status": "PAID",
              "net": {"amount": "41.90", "currencyCode": "EUR"}}], first, after)}  # fmt: skip

    def orders(self, info: Any, first: int | None = None, after: str | None = None, query: str | None = None) -> Any:
        return _connection(self._shop.nodes(query), first, after)

    def node(self, info: Any, id: str) -> Any:
        return self._shop.operation()

    def bulkOperationRunQuery(self, info: Any, query: str, groupObjects: bool) -> Any:  # noqa: N802, N803
        return self._shop.start(query)

    def bulkOperationCancel(self, info: Any, id: str) -> Any:  # noqa: N802
        self._shop.cancelled, self._shop._running = True, False
        return {"bulkOperation": None, "userErrors": []}


def _connection(rows: list[Any], first: int | None, after: str | None = None) -> dict[str, Any]:
    start = int(after or 0)
    part = rows[start:] if first is None else rows[start : start + first]
    more = start + len(part) < len(rows)
    return {"nodes": part, "edges": [{"node": node} for node in part],
            "pageInfo": {"hasNextPage": more, "endCursor": str(start + len(part))}}  # fmt: skip


def _node(order: dict[str, Any]) -> dict[str, Any]:
    lines = [
        {**line, "id": f"gid://shopify/LineItem/{line['id']}", "variant": {"id": "gid://shopify/ProductVariant/1"}}
        for line in order["line_items"]
    ]
    money = {"shopMoney": {"amount": order["total_price"], "currencyCode": "EUR"}}
    return {
        "id": f"gid://shopify/Order/{order['id']}",
        "name": order["name"],
        "createdAt": order["created_at"],
        "updatedAt": order["updated_at"],
        "totalPriceSet": money,
        "tags": [],
        "lineItems": lambda info, first=None: _connection(lines, first),
    }


def _flatten(connection: dict[str, Any], parent: str | None, lines: list[dict[str, Any]]) -> None:
    """Write the objects of a connection as a bulk operation does: children below their parent, with its id."""
    for edge in connection["edges"]:
        node = edge["node"]
        inner = {key: value for key, value in node.items() if isinstance(value, dict) and "edges" in value}
        line = {key: value for key, value in node.items() if key not in inner}
        lines.append({**line, "__parentId": parent} if parent else line)
        for below in inner.values():
            _flatten(below, node["id"], lines)


@contextmanager
def running(shop: Shop) -> Iterator[Shop]:
    """Serve the shop on loopback; its `url` is set."""
    import graphql

    shop._schema = graphql.build_schema(SDL)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            query = dict(parse_qsl(parts.query))
            with shop.lock:
                shop.asked.append((self.command, parts.path, query))
                shop.times.append(time.monotonic())
                self.answer(parts.path, query, body)

        def answer(self, path: str, query: dict[str, str], body: Any) -> None:
            if path.startswith("/results/"):
                assert "x-shopify-access-token" not in self.headers, "a result is fetched without login"
                return self.send(200, shop._result, {"Content-Type": "application/jsonl"})
            if self.headers.get("x-shopify-access-token") != KEY:
                return self.send(401, b'{"errors": "[API] Invalid API key or access token"}', {})
            told = {"X-Shopify-API-Version": shop.version}
            if path.endswith("/graphql.json"):
                return self.send(200, json.dumps(shop.ask(body)).encode(), told)
            fits = shop.pour()
            told["X-Shopify-Shop-Api-Call-Limit"] = f"{int(shop._level + 0.999)}/{shop.bucket}"
            if not fits:
                told["Retry-After"] = str(shop.retry_after)
                return self.send(429, b'{"errors": "Exceeded calls per second"}', told)
            found, following = shop.rest(path, query)
            if following:
                told["Link"] = f'<{shop.url}{path}?{following}>; rel="next"'
            return self.send(200, json.dumps(found).encode(), told)

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_one  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
