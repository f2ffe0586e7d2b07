"""OpenAPI descriptions become drafts, and what is guessed in them is told as a guess."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dataforge.cli import main
from dataforge.errors import ConfigError
from dataforge.imports.openapi import convert

WRONG: tuple[Any, ...] = (1, "x", [], {}, None, [[]])
ROOT = Path(__file__).parents[2]

ORDER = {
    "allOf": [
        {"type": "object", "properties": {"id": {"type": "integer"}}},
        {"type": "object", "properties": {"updated_at": {"type": "string", "format": "date-time"}}},
    ]
}


def described(**paths: Any) -> dict[str, Any]:
    """A description with these endpoints, by words for slashes."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shop API", "version": "1"},
        "servers": [{"url": "https://{region}.shop.example/v1", "variables": {"region": {"default": "eu"}}}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "app": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": "https://login.shop.example/token", "scopes": {}}},
                },
                "person": {"type": "oauth2", "flows": {"authorizationCode": {"tokenUrl": "https://l.example/t"}}},
            },
            "schemas": {"Order": ORDER},
            "parameters": {"Limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 250}}},
        },
    }


def listing(schema: Any, *parameters: Any, **more: Any) -> dict[str, Any]:
    """An endpoint that answers with a schema."""
    answer = {"description": "ok", "content": {"application/json": {"schema": schema}}}
    return {"get": {"summary": "List them.", "parameters": list(parameters), "responses": {"200": answer}, **more}}


def drafts(document: Any) -> tuple[dict[str, Any], list[str]]:
    """Configs by their endpoint, and gaps."""
    imported = convert(json.dumps(document), file=Path("shop.json"))
    return {config["source"]["endpoint"]: dict(config) for config in imported.configs}, [str(g) for g in imported.gaps]


def query(name: str, **schema: Any) -> dict[str, Any]:
    """A query parameter."""
    return {"name": name, "in": "query", "schema": {"type": "string", **schema}}


ORDERS = {"type": "array", "items": {"$ref": "#/components/schemas/Order"}}


def test_a_list_endpoint_becomes_a_draft_with_auth_pages_and_new_records() -> None:
    page = {"type": "object", "properties": {"data": ORDERS, "meta": {"properties": {"next_cursor": {}}}}}
    limit = {"$ref": "#/components/parameters/Limit"}
    configs, gaps = drafts(described(**{"/orders": listing(page, query("cursor"), limit, query("updated_since"))}))
    assert configs["/v1/orders"] == {
        "dag_id": "shop_api_orders",
        "description": "List them.",
        "schedule": None,
        "source": {
            "type": "http",
            "connection": "shop_api",
            "auth": {"type": "api_key", "name": "X-Api-Key"},
            "endpoint": "/v1/orders",
            "records": "data",
            "query": {"limit": 250, "updated_since": "${cursor:%Y-%m-%dT%H:%M:%SZ}"},
            "pagination": {"type": "cursor", "path": "meta.next_cursor", "param": "cursor"},
            "cursor_field": "updated_at",
        },
        "transforms": [],
        "destination": {"type": "duckdb", "table": "orders", "write_disposition": "merge", "primary_key": ["id"]},
    }
    guesses = [gap for gap in gaps if "a guess" in gap]
    assert len(guesses) == 3
    assert any("https://eu.shop.example" in gap and "'shop_api' must be made" in gap for gap in gaps)


@pytest.mark.parametrize(
    ("parameters", "fields", "expected"),
    [
        (
            ["page", "per_page"],
            {},
            {"type": "page", "param": "page", "start": 1, "size_param": "per_page", "size": 100},
        ),
        (["offset", "limit"], {}, {"type": "offset", "param": "offset", "limit": 100, "limit_param": "limit"}),
        ([], {"links": {"properties": {"next": {"type": "string"}}}}, {"type": "next_url", "path": "links.next"}),
        (["pageToken"], {"nextPageToken": {}}, {"type": "cursor", "path": "nextPageToken", "param": "pageToken"}),
        (["cursor"], {}, None),
        ([], {}, None),
    ],
)
def test_pages_are_guessed_from_usual_names(parameters: list[str], fields: dict[str, Any], expected: Any) -> None:
    page = {"type": "object", "properties": {"items": ORDERS, **fields}}
    configs, gaps = drafts(described(**{"/orders": listing(page, *map(query, parameters))}))
    assert configs["/v1/orders"]["source"].get("pagination") == expected
    assert any("set 'pagination' if there are any" in gap for gap in gaps) == (expected is None)


def test_values_in_a_path_come_from_the_list_above_or_are_to_be_filled_in() -> None:
    line = {"type": "array", "items": {"type": "object", "properties": {"sku": {}}}}
    configs, gaps = drafts(
        described(
            **{
                "/orders": listing({"type": "object", "properties": {"data": ORDERS}}, query("page")),
                "/orders/{order-id}/lines": listing(line),
                "/shops/{shop}/staff": listing(line, {"name": "shop", "in": "path", "schema": {"enum": ["a", "b"]}}),
                "/teams/{team}/staff": listing(line),
            }
        )
    )
    lines = configs["/v1/orders/{order_id}/lines"]["source"]
    assert lines["partitions"] == [
        {"type": "parent", "name": "order_id", "endpoint": "/v1/orders", "key": "id", "column": "order_id",
         "records": "data", "pagination": {"type": "page", "param": "page", "start": 1}},
    ]  # fmt: skip
    assert configs["/v1/shops/{shop}/staff"]["source"]["partitions"][0]["values"] == ["a", "b"]
    assert configs["/v1/teams/{team}/staff"]["source"]["partitions"][0]["values"] == ["FILL_IN"]
    assert any("{team} has no known values" in gap for gap in gaps)
    assert len({config["dag_id"] for config in configs.values()}) == 4
    assert len({config["destination"]["table"] for config in configs.values()}) == 4


def test_logins_of_apps_are_taken_over_and_those_of_people_are_told() -> None:
    document = described(
        **{
            "/a": listing(ORDERS, security=[{"app": []}]),
            "/b": listing(ORDERS, security=[{"person": []}]),
            "/c": listing(ORDERS, security=[]),
        }
    )
    configs, gaps = drafts(document)
    auth = {path: config["source"].get("auth") for path, config in configs.items()}
    assert auth == {
        "/v1/a": {"type": "oauth2", "connection": "shop_login", "endpoint": "/token"},
        "/v1/b": {"type": "bearer"},
        "/v1/c": None,
    }
    assert any("login of a person" in gap for gap in gaps)


def test_what_gives_no_list_of_objects_is_named_and_required_values_are_asked_for() -> None:
    required = {**query("account"), "required": True}
    configs, gaps = drafts(
        described(
            **{
                "/one": listing({"type": "object", "properties": {"id": {}}}),
                "/names": listing({"type": "array", "items": {"type": "string"}}),
                "/orders": listing(ORDERS, required, {**query("kind", enum=["x"]), "required": True}),
            }
        )
    )
    assert list(configs) == ["/v1/orders"]
    assert configs["/v1/orders"]["source"]["query"] == {"kind": "x"}
    assert any("paths//one/get" in gap for gap in gaps)
    assert any("'account' has no value" in gap for gap in gaps)


def test_drafts_of_a_real_description_are_valid_by_our_own_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = ROOT / "docs" / "openapi.json"  # that of this project's own API, made by FastAPI
    assert main(["import", "openapi", str(description), "--to", str(tmp_path / "configs"), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["files"]) >= 2
    assert [each for each in report["findings"] if each["severity"] == "error"] == []


@pytest.mark.parametrize("text", ['{"swagger": "2.0"}', "{}", "[]"])
def test_other_descriptions_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        convert(text, file=Path("a.json"))


def test_references_in_a_circle_end() -> None:
    document = described(**{"/orders": listing({"$ref": "#/components/schemas/Loop"})})
    document["components"]["schemas"]["Loop"] = {"allOf": [{"$ref": "#/components/schemas/Loop"}]}
    configs, _ = drafts(document)
    assert configs == {}


def test_a_description_with_parts_of_a_wrong_kind_gives_gaps_and_no_crash() -> None:
    page = {"type": "object", "properties": {"data": ORDERS, "meta": {"properties": {"next_cursor": {}}}}}
    document = described(
        **{
            "/orders": listing(page, query("cursor"), query("limit"), security=[{"app": []}]),
            "/orders/{id}/lines": listing(ORDERS, {"name": "id", "in": "path", "schema": {"type": "string"}}),
        }
    )
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in range(len(node)) if isinstance(node, list) else list(node):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                collect(node[key])

    collect(document)
    for holder, key in places:
        kept = holder[key]
        for wrong in WRONG:
            holder[key] = wrong
            with suppress(ConfigError):
                convert(json.dumps(document), file=Path("a.json"))
        holder[key] = kept
