"""The shopify source against a loopback server that plays Shopify from its published API (tests/shop_server.py)."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.shop_server import KEY, Shop, orders, running
from tests.sources.conftest import Log

from dataforge.components.base import Connection, CursorBounds, ExtractContext
from dataforge.errors import TerminalError, TransientError
from dataforge.sources import _http
from dataforge.sources._shopify_bulk import Level, levels, nested
from dataforge.sources.shopify import Bucket, ShopifyConfig, ShopifySource
from dataforge.testing import SourceContract

pytest.importorskip("graphql", reason="graphql-core, which plays the shop's GraphQL, is not installed")

Run = Callable[..., list[dict[str, Any]]]
SINCE = CursorBounds("updated_at", "2025-01-01 00:05:00", None, "TIMESTAMP")


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop with seven orders."""
    with running(Shop(orders(7))) as shop:
        yield shop


@pytest.fixture
def run(shop: Shop, context: Callable[..., ExtractContext], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Extract with a config and return the records."""
    monkeypatch.setattr(_http, "FIRST_WAIT", 0.01)

    def go(cursor: CursorBounds | None = None, sample: int | None = None, **config: Any) -> list[dict[str, Any]]:
        model = ShopifyConfig.model_validate({"connection": "shop", "resource": "orders", "poll": 0.01, **config})
        made = replace(context(Connection("shop", "http", shop.url, None, "", KEY), sample=sample), cursor=cursor)
        files = ShopifySource(model).extract(made)
        return [json.loads(line) for line in files.paths[0].read_bytes().splitlines()]

    return go


# ---- REST


def test_rest_follows_the_link_header_and_sends_the_token_in_its_header(shop: Shop, run: Run) -> None:
    assert run(page_size=3) == shop.orders
    paths = [(path, query.get("limit"), query.get("status")) for _, path, query in shop.asked]
    assert paths == [
        ("/admin/api/2026-07/orders.json", "3", "any"),
        *[("/admin/api/2026-07/orders.json", "3", None)] * 2,
    ]
    assert len(run(page_size=3, sample=1)) == 3


def test_rest_reads_what_changed_since_the_cursor(shop: Shop, run: Run) -> None:
    assert [order["id"] for order in run(cursor=SINCE, cursor_field="updated_at")] == [1005, 1006]
    upper = replace(SINCE, upper="2025-01-01T00:05:00+00:00")
    assert [order["id"] for order in run(cursor=upper, cursor_field="updated_at")] == [1005]
    assert shop.asked[-1][2]["updated_at_min"] == "2025-01-01T00:05:00Z"


def test_line_items_become_rows_with_columns_of_their_order(shop: Shop, run: Run) -> None:
    columns = {"order_id": "id", "changed": "updated_at"}
    rows = run(rows="line_items", parent_columns=columns, cursor_field="changed", cursor=SINCE)
    assert rows == [
        {"order_id": order["id"], "changed": order["updated_at"], **line}
        for order in shop.orders[5:]
        for line in order["line_items"]
    ]
    assert run(rows="refunds") == []


def test_inventory_is_read_for_each_location_and_payouts_where_they_lie(shop: Shop, run: Run) -> None:
    rows = run(resource="inventory")
    assert [(row["location_id"], row["inventory_item_id"]) for row in rows] == [(7, 1), (7, 2), (8, 1), (8, 2)]
    assert run(resource="payouts")[0]["amount"] == "41.90"
    assert shop.asked[-1][1] == "/admin/api/2026-07/shopify_payments/payouts.json"
    assert run(resource="draft_orders") == shop.orders


def test_a_full_bucket_is_waited_for_so_that_no_request_is_refused(shop: Shop, run: Run) -> None:
    shop.orders, shop.bucket = orders(105, 0), 100
    assert len(run(page_size=1)) == 105
    assert len(shop.asked) == 105
    assert shop.refused == 0


def test_a_request_that_is_refused_all_the_same_comes_again_after_the_time_it_was_told(shop: Shop, run: Run) -> None:
    shop._level, shop.retry_after = 40.0, 1.1
    began = time.monotonic()
    assert run() == shop.orders
    assert shop.refused == 1
    assert time.monotonic() - began >= shop.retry_after


def test_another_version_of_the_api_ends_the_run(shop: Shop, run: Run) -> None:
    shop.version = "2026-10"
    with pytest.raises(TerminalError, match="2026-10, not 2026-07"):
        run()
    with pytest.raises(TerminalError, match="2026-10, not 2026-07"):
        run(api="graphql")
    assert run(api_version="2026-10") == shop.orders


def test_a_wrong_token_is_terminal(shop: Shop, context: Callable[..., ExtractContext]) -> None:
    source = ShopifySource(ShopifyConfig(connection="shop", resource="orders"))
    with pytest.raises(TerminalError, match="check its credentials") as raised:
        source.extract(context(Connection("shop", "http", shop.url, None, "", "wrong-token-1")))
    assert "wrong-token-1" not in str(raised.value)


# ---- GraphQL


def test_graphql_reads_all_pages_with_nested_lines(shop: Shop, run: Run) -> None:
    rows = run(api="graphql", page_size=3)
    assert [row["name"] for row in rows] == [order["name"] for order in shop.orders]
    assert [len(row["lineItems"]["nodes"]) for row in rows] == [len(order["line_items"]) for order in shop.orders]
    assert len(shop.asked) == 3
    changed = replace(SINCE, field="updatedAt")
    assert len(run(api="graphql", cursor=changed, cursor_field="updatedAt", search="status:open")) == 2
    assert run(api="graphql", resource="payouts")[0]["status"] == "PAID"


def test_graphql_flattens_lines_and_refuses_orders_whose_lines_do_not_fit(shop: Shop, run: Run) -> None:
    rows = run(api="graphql", rows="lineItems", parent_columns={"order": "name"})
    assert [(row["order"], row["sku"]) for row in rows[:3]] == [("#1000", "S0"), ("#1001", "S0"), ("#1001", "S1")]
    few = "id name lineItems(first: 1) { nodes { id } pageInfo { hasNextPage } }"
    with pytest.raises(TerminalError, match="more nested items"):
        run(api="graphql", fields=few)


def test_points_are_waited_for_so_that_no_query_is_refused(shop: Shop, run: Run, log: Log) -> None:
    shop.points, shop.restore = 20.0, 30.0
    assert len(run(api="graphql", page_size=1, fields="id name updatedAt")) == 7
    assert shop.refused == 0
    shop.orders = orders(12)
    assert len(run(api="graphql", page_size=1, fields="id name updatedAt")) == 12
    assert shop.refused <= 1  # the first query of a run knows nothing of the one before
    assert any(message == "waiting" for message, _ in log)


def test_a_throttled_query_comes_again(shop: Shop, run: Run) -> None:
    shop.points, shop._points, shop.restore = 100.0, 0.0, 100.0
    assert len(run(api="graphql")) == 7
    assert shop.refused == 1


# ---- Bulk


def test_a_bulk_operation_is_started_asked_for_downloaded_and_nested(shop: Shop, run: Run) -> None:
    rows = run(api="bulk")
    assert [row["name"] for row in rows] == [order["name"] for order in shop.orders]
    assert [[line["sku"] for line in row["lineItems"]] for row in rows] == [
        [line["sku"] for line in order["line_items"]] for order in shop.orders
    ]
    assert rows[2]["totalPriceSet"] == {"shopMoney": {"amount": "2.50", "currencyCode": "EUR"}}
    flat = run(api="bulk", rows="lineItems", parent_columns={"order": "name"})
    assert len(flat) == sum(len(order["line_items"]) for order in shop.orders)
    assert len(run(api="bulk", sample=2)) == 2
    shop.orders = []
    assert run(api="bulk") == []


def test_a_bulk_operation_reads_what_changed(shop: Shop, run: Run) -> None:
    changed = replace(SINCE, field="updatedAt")
    assert len(run(api="bulk", cursor=changed, cursor_field="updatedAt")) == 2


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        (("FAILED", "ACCESS_DENIED"), TerminalError),
        (("FAILED", "TIMEOUT"), TransientError),
        (("CANCELED", None), TerminalError),
        (("EXPIRED", None), TerminalError),
    ],
)
def test_a_bulk_operation_that_failed_gives_nothing_of_its_part(
    shop: Shop, run: Run, ends: tuple[str, str | None], error: type[Exception]
) -> None:
    shop.bulk_ends_as = ends
    with pytest.raises(error, match=ends[0]):
        run(api="bulk")


def test_lines_that_are_missing_from_a_result_are_noticed(shop: Shop, run: Run) -> None:
    shop.lost_lines = 1
    with pytest.raises(TransientError, match="17 lines, and the shop counted 18"):
        run(api="bulk")


def test_an_operation_that_takes_too_long_is_cancelled_and_another_one_waits(shop: Shop, run: Run) -> None:
    shop.bulk_polls = 1000
    with pytest.raises(TransientError, match="still at the end"):
        run(api="bulk", total_timeout=1.5, poll=0.5)
    assert shop.cancelled
    shop._running = True
    with pytest.raises(TransientError, match="another bulk operation"):
        run(api="bulk")


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/x", "http://storage.googleapis.com/x", "https://storage.googleapis.com@evil.example/x",
     "https://a:b@storage.googleapis.com/x", "https://evilgoogleapis.com/x", "file:///etc/passwd"],
)  # fmt: skip
def test_a_result_is_fetched_from_no_other_place(shop: Shop, run: Run, url: str) -> None:
    shop.result_url = url
    with pytest.raises(TerminalError, match="nothing was fetched"):
        run(api="bulk")


def test_lines_of_several_connections_and_levels_are_nested_by_their_type() -> None:
    tree = levels(
        'id variants(first: 5) { edges { node { id media { edges { node { id } } } } } } note: title images(x: "{") '
        "{ edges { node { id } } } seo { title }"
    )
    assert tree == Level({"variants": Level({"media": Level()}), "images": Level()})
    lines = [
        {"id": "gid://shopify/Product/1", "n": 1},
        {"id": "gid://shopify/ProductVariant/2", "__parentId": "gid://shopify/Product/1"},
        {"id": "gid://shopify/Media/4", "__parentId": "gid://shopify/ProductVariant/2"},
        {"id": "gid://shopify/Image/3", "__parentId": "gid://shopify/Product/1"},
        {"id": "gid://shopify/Product/5"},
    ]
    text = io.BytesIO(b"\n".join(json.dumps(line).encode() for line in lines))
    assert [json.loads(record) for record in nested(text, tree, 5)] == [
        {
            "id": "gid://shopify/Product/1",
            "n": 1,
            "variants": [{"id": "gid://shopify/ProductVariant/2", "media": [{"id": "gid://shopify/Media/4"}]}],
            "images": [{"id": "gid://shopify/Image/3"}],
        },
        {"id": "gid://shopify/Product/5", "variants": [], "images": []},
    ]
    for wrong, message in (
        ({"id": "gid://shopify/Metafield/1", "__parentId": "gid://shopify/Product/1"}, "fits none"),
        ({"id": "gid://shopify/Image/1", "__parentId": "gid://shopify/Product/9"}, "no parent above"),
    ):
        text = io.BytesIO(json.dumps(lines[0]).encode() + b"\n" + json.dumps(wrong).encode())
        with pytest.raises(TerminalError, match=message):
            list(nested(text, tree, 2))


# ---- The config and the rest


@pytest.mark.parametrize(
    "wrong",
    [
        {"resource": "../x"},
        {"resource": "orders.json?x=1"},
        {"api": "graphql", "resource": "draftOrders"},
        {"api": "graphql", "query": {"a": 1}},
        {"api": "bulk", "resource": "payouts"},
        {"search": "x"},
        {"api": "graphql", "fields": "id } } mutation { x"},
        {"api": "graphql", "fields": "id #\r } } query Q { a #\n { b }"},
        {"api": "graphql", "fields": "id } {"},
        {"api_version": "latest"},
        {"page_size": 251},
        {"parent_columns": {"a": "b"}},
    ],
)
def test_what_can_mean_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ShopifyConfig.model_validate({"connection": "shop", "resource": "orders", **wrong})


def test_a_bucket_that_is_not_known_is_not_waited_for() -> None:
    bucket = Bucket()
    for header in (None, "x", "1/0", "0/1"):
        bucket.learn(header)
        assert bucket.pause() == 0
    bucket.learn("40/40")
    assert 0.9 <= bucket.pause() <= 1


class TestShopify(SourceContract):
    config = {"type": "shopify", "connection": "shop", "resource": "payouts", "columns": {"amount": "decimal(9,2)"}}
    expected = ()

    @pytest.fixture(autouse=True)
    def _place(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        import datetime
        import decimal

        day = datetime.date(2025, 1, 2)
        expected = [{"id": 1, "status": "paid", "date": day, "amount": decimal.Decimal("41.90")}]
        monkeypatch.setattr(type(self), "expected", expected)
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "http", "host": shop.url, "password": KEY}))


def test_check_names_the_shop(shop: Shop, context: Callable[..., ExtractContext]) -> None:
    source = ShopifySource(ShopifyConfig(connection="shop", resource="orders"))
    told = source.check(context(Connection("shop", "http", shop.url, None, "", KEY)))
    assert told == "reached the shop 'Loopback Goods', API version 2026-07"


def test_the_example_is_valid() -> None:
    example = json.loads((Path(__file__).parents[2] / "docs" / "examples" / "shopify.json").read_text())
    assert ShopifyConfig.model_validate(example["source"]).rows == "line_items"
