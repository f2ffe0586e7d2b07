"""The graphql source against graphql-core, the reference implementation for Python, behind a local HTTP server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.sources.conftest import Api, Log, Reply, Request

from dataforge.components.base import Connection, CursorBounds, ExtractContext
from dataforge.errors import TerminalError, TransientError
from dataforge.sources import _http
from dataforge.sources.graphql import GraphqlConfig, GraphqlSource
from dataforge.testing import SourceContract

graphql = pytest.importorskip("graphql", reason="graphql-core is not installed")

SDL = """
type Query { orders(first: Int = 2, after: String, since: String): Orders!, order(id: ID!): Order, tags: [Tag] }
type Orders { nodes: [Order]!, edges: [Edge]!, pageInfo: PageInfo! }
type Edge { node: Order, cursor: String! }
type Order { id: ID!, number: Int!, total: Float, broken: String! }
type PageInfo { hasNextPage: Boolean!, endCursor: String }
type Tag { name: String }
"""
ORDERS = [{"id": f"gid-{n}", "number": n, "total": n + 0.5} for n in range(5)]
PAGES = "query($after: String) { orders(after: $after) { nodes { id number } pageInfo { hasNextPage endCursor } } }"
ROWS = [{"id": order["id"], "number": order["number"]} for order in ORDERS]

Run = Callable[..., list[dict[str, Any]]]


class Shop:
    """Resolvers of the schema: what a GraphQL server of orders does."""

    def orders(self, info: Any, first: int, after: str | None = None, since: str | None = None) -> dict[str, Any]:
        kept = [order for order in ORDERS if since is None or str(order["number"]) >= since]
        start = int(after) if after else 0
        part = kept[start : start + first]
        edges = [{"node": order, "cursor": str(start + index + 1)} for index, order in enumerate(part)]
        page = {"hasNextPage": start + first < len(kept), "endCursor": str(start + len(part))}
        return {"nodes": part, "edges": edges, "pageInfo": page}

    def order(self, info: Any, id: str) -> dict[str, Any] | None:
        return next((order for order in ORDERS if order["id"] == id), None)

    def tags(self, info: Any) -> list[Any]:
        return [{"name": "a"}, None, {"name": "b"}]


@pytest.fixture
def shop(api: Api) -> Api:
    """The local server, answering by the reference implementation."""
    schema = graphql.build_schema(SDL)

    def answer(request: Request) -> Reply:
        body = request.body
        result = graphql.graphql_sync(
            schema,
            body["query"],
            Shop(),
            variable_values=body.get("variables"),
            operation_name=body.get("operationName"),
        )
        return Reply(result.formatted)

    api.answer = answer
    return api


@pytest.fixture
def run(shop: Api, context: Callable[..., ExtractContext], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Extract with a config and return the records."""
    monkeypatch.setattr(_http, "FIRST_WAIT", 0.01)

    def go(cursor: CursorBounds | None = None, sample: int | None = None, **config: Any) -> list[dict[str, Any]]:
        model = GraphqlConfig.model_validate(
            {"connection": "shop", "query": PAGES, "records": "orders", "auth": {"type": "bearer"}, **config}
        )
        made = context(Connection("shop", "http", shop.url, None, "", "hunter2-token"), sample=sample)
        files = GraphqlSource(model).extract(replace(made, cursor=cursor))
        return [json.loads(line) for line in files.paths[0].read_bytes().splitlines()]

    return go


def test_all_pages_of_a_connection_are_read_by_their_cursor(shop: Api, run: Run) -> None:
    assert run() == ROWS
    assert [request.body["variables"].get("after") for request in shop.requests] == [None, "2", "4"]
    assert shop.requests[0].headers["authorization"] == "Bearer hunter2-token"
    assert len(run(sample=1)) == 2


def test_edges_lists_objects_and_null_are_records_too(run: Run) -> None:
    edges = PAGES.replace("nodes { id number }", "edges { node { id number } }")
    assert run(query=edges) == ROWS
    assert run(query="{ tags { name } }", records="tags") == [{"name": "a"}, {"name": "b"}]
    one = 'query A { order(id: "gid-1") { id } } query B { order(id: "none") { id } }'
    assert run(query=one, records="order", operation="A") == [{"id": "gid-1"}]
    assert run(query=one, records="order", operation="B") == []


def test_numbers_come_as_the_server_wrote_them(shop: Api, run: Run, tmp_path: Path) -> None:
    shop.replies(Reply(b'{"data": {"tags": [{"n": 1.10, "w": 123456789012345678901234567890}]}}'))
    run(query="{ tags { name } }", records="tags")
    assert (tmp_path / "scratch" / "records.ndjson").read_bytes() == (
        b'{"n": 1.10, "w": 123456789012345678901234567890}\n'
    )


def test_variables_hold_the_cursor_of_incremental_reading(shop: Api, run: Run) -> None:
    query = PAGES.replace("$after: String", "$after: String, $since: String").replace(
        "after: $after", "after: $after, since: $since"
    )
    config = {"query": query, "variables": {"since": "${cursor}"}, "cursor_field": "number"}
    assert run(**config) == ROWS
    text = CursorBounds("number", "3", None, "VARCHAR")
    assert run(**config, cursor=text) == ROWS[3:]
    with pytest.raises(ValidationError, match="cursor_field"):
        run(query=query, variables={"since": "${cursor}"})


def test_data_beside_errors_is_a_failure_never_a_part(shop: Api, run: Run) -> None:
    with pytest.raises(TerminalError, match=r"Cannot query field 'nope'.*answer|answered 200: .*nope"):
        run(query=PAGES.replace("id number", "nope"))
    partial = PAGES.replace("nodes { id number }", "nodes { id broken }")
    with pytest.raises(TerminalError, match=r"orders\.nodes"):
        run(query=partial)
    shop.replies(Reply({"errors": [{"message": "bad hunter2-token"}]}, 400))
    with pytest.raises(TerminalError, match=r"bad \*\*\*"):
        run()


def test_a_used_up_limit_is_waited_for_as_its_points_say(shop: Api, run: Run, log: Log) -> None:
    answer = shop.answer
    cost = {"requestedQueryCost": 30, "throttleStatus": {
        "maximumAvailable": 100, "currentlyAvailable": 0, "restoreRate": 100}}  # fmt: skip
    throttled = {
        "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
        "extensions": {"cost": cost},
    }

    def limited(request: Request) -> Reply:
        if len(shop.requests) == 1:
            return Reply(throttled)
        reply = answer(request)
        return replace(reply, body={**reply.body, "extensions": {"cost": cost}})

    shop.answer = limited
    began = time.monotonic()
    assert run() == ROWS
    assert time.monotonic() - began >= 0.85
    assert len(shop.requests) == 4
    assert sum(message == "waiting" for message, _ in log) == 2


def test_a_limit_that_lasts_longer_than_a_run_should_wait_is_left_to_the_tasks_retries(shop: Api, run: Run) -> None:
    reset = {"remaining": 0, "cost": 1, "resetAt": "2999-01-01T00:00:00Z"}
    shop.replies(Reply({"data": {"tags": [], "rateLimit": reset}}))
    with pytest.raises(TransientError, match="used up"):
        run(query="{ tags { name } }", records="tags")


def test_a_query_is_asked_again_when_the_server_fails_for_a_moment(shop: Api, run: Run) -> None:
    answer = shop.answer
    shop.answer = lambda request: Reply({}, 502) if len(shop.requests) == 2 else answer(request)
    assert run() == ROWS


def test_pages_that_can_not_go_on_end_with_what_to_do(shop: Api, run: Run) -> None:
    with pytest.raises(TerminalError, match="no variable"):
        run(query="{ orders { nodes { id } pageInfo { hasNextPage } } }")
    with pytest.raises(TerminalError, match="select it"):
        run(query="query($after: String) { orders(after: $after) { nodes { id } } }")
    with pytest.raises(TerminalError, match="no new endCursor"):
        run(query=PAGES.replace("endCursor", ""))
    with pytest.raises(TerminalError, match="max_pages = 2"):
        run(max_pages=2)
    shop.replies(
        Reply({"data": {"orders": {"nodes": [{"a": 1}], "pageInfo": {"hasNextPage": True, "endCursor": "x"}}}})
    )
    with pytest.raises(TerminalError, match="no new endCursor"):
        run()
    shop.replies(Reply({"data": {}}))
    with pytest.raises(TerminalError, match=r"nothing at 'data\.orders'"):
        run()
    shop.replies(Reply(b"<html>", headers={"Content-Type": "text/html"}))
    with pytest.raises(TerminalError, match="answered no GraphQL"):
        run()


@pytest.mark.parametrize(
    "query",
    [
        "mutation { x }",
        "{ a } mutation M { x }",
        "# {\n subscription { a }",
        "{ a",
        "a }",
        "",
        '{ a(x: "}") ',
        "\ufeffmutation M { x }",
        "# {\rmutation M { x }\nquery Q { a }",
        'query Q($a: A = """\\\\""" """) { a } mutation M { x } #""" \n query Z { b }',
    ],
)
def test_a_document_that_writes_or_does_not_close_is_refused(query: str) -> None:
    with pytest.raises(ValidationError):
        GraphqlConfig(connection="shop", query=query, records="a")


def test_words_in_texts_and_fields_are_no_operations() -> None:
    query = 'query mutations { mutation(text: "} mutation {") { a } # mutation\n }'
    assert GraphqlConfig(connection="shop", query=query, records="a").query == query


class TestGraphql(SourceContract):
    config = {"type": "graphql", "connection": "shop", "query": PAGES, "records": "orders"}
    expected = ROWS

    @pytest.fixture(autouse=True)
    def _place(self, shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", shop.url)


def test_the_example_is_valid() -> None:
    example = json.loads((Path(__file__).parents[2] / "docs" / "examples" / "graphql.json").read_text())
    assert GraphqlConfig.model_validate(example["source"]).cursor_field == "updatedAt"
