"""Low-code manifests of Airbyte become configs that read what the API has, and gaps that say what is missing."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.sources.conftest import Api, Reply, Request, api, context, log

from dataforge.cli import main
from dataforge.components.base import Connection
from dataforge.errors import ConfigError
from dataforge.imports.airbyte_manifest import convert
from dataforge.imports.documents import read_document
from dataforge.imports.interpolation import access, only, parse, sql_of
from dataforge.sources.http_ import HttpConfig, HttpSource

__all__ = ["api", "context", "log"]  # fixtures

WRONG: tuple[Any, ...] = (1, "x{{", [], {}, None, [[]])
SECRET = "s3cr3t-0f-the-shop"
MANIFEST = Path(__file__).parent / "shop_manifest.yaml"


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    """The configs of the manifest, by the table they write."""
    imported = convert(MANIFEST.read_text(), file=Path("source-shop/manifest.yaml"))
    return {str(config["destination"]["table"]): dict(config) for config in imported.configs}


@pytest.fixture(scope="module")
def gaps() -> dict[str, str]:
    """The gaps of the manifest: place to what."""
    imported = convert(MANIFEST.read_text(), file=Path("source-shop/manifest.yaml"))
    return {gap.place: gap.what for gap in imported.gaps}


def test_a_stream_becomes_a_pipeline_with_requests_pages_slices_rules_and_steps(
    configs: dict[str, dict[str, Any]],
) -> None:
    assert configs["orders"] == {
        "dag_id": "shop_orders",
        "description": "Stream orders of shop, imported from a low-code manifest.",
        "schedule": "@daily",
        "start_date": "2025-01-01",
        "params": {"status": {"type": "string", "default": "any", "description": "Which orders."}},
        "source": {
            "type": "http",
            "connection": "shop_api",
            "auth": {"type": "api_key", "name": "X-Api-Key"},
            "endpoint": "/v2/orders",
            "query": {"status": "${params.status}", "range": "{slice_start}..{slice_end}"},
            "headers": {"Accept-Language": "en"},
            "records": "data.orders",
            "pagination": {"type": "page", "param": "page", "start": 1, "size_param": "per_page", "size": 2},
            "errors": [
                {"status": [404], "action": "ignore"},
                {"path": "error", "equals": "busy", "action": "retry"},
                {"message": "suspended", "action": "fail", "says": "The shop is closed."},
            ],
            "retry": {"tries": 8, "wait_header": "X-RateLimit-Reset", "wait_kind": "epoch"},
            "cursor_field": "updated_at",
            "lookback": "1h",
            "slices": {
                "start": "2024-01-01T00:00:00Z",
                "format": "%Y-%m-%dT%H:%M:%S.%_msZ",
                "step": "30d",
                "granularity": "1ms",
            },
            "requests_per_second": 2.0,
        },
        "transforms": [
            {"type": "filter", "where": "(\"status\" <> 'draft' AND \"total\" >= 1)"},
            {"type": "derive", "columns": {"source": "'shop'", "state": '"status"'}},
            {"type": "drop", "columns": ["internal"]},
        ],
        "destination": {
            "type": "duckdb", "table": "orders", "write_disposition": "merge", "primary_key": ["id"],
        },
    }  # fmt: skip


def test_sub_streams_become_partitions_and_their_slice_a_column(configs: dict[str, dict[str, Any]]) -> None:
    source = configs["refunds"]["source"]
    assert source["endpoint"] == "/v2/orders/{order_id}/refunds"
    region, order = source["partitions"]
    assert region == {"type": "list", "name": "region", "values": ["eu", "us"]}
    assert (order["endpoint"], order["key"], order["column"]) == ("/v2/orders", "id", "order_id")
    assert order["records"] == "data.orders"
    assert order["query"] == {"status": "${params.status}"}
    assert source["pagination"] == {
        "type": "cursor", "path": "meta.next", "param": "page.after", "location": "body", "has_more": "meta.has_more",
    }  # fmt: skip
    assert configs["refunds"]["transforms"] == []
    assert configs["refunds"]["destination"]["write_disposition"] == "replace"


def test_a_token_server_gets_a_connection_of_its_own(configs: dict[str, dict[str, Any]]) -> None:
    source = configs["linked"]["source"]
    assert source["auth"] == {
        "type": "oauth2", "grant": "refresh_token", "connection": "shop_login", "endpoint": "/token",
        "scopes": ["read"],
    }  # fmt: skip
    assert source["pagination"] == {"type": "link_header"}


def test_what_could_not_be_said_is_told_with_its_place(gaps: dict[str, str]) -> None:
    assert "CustomRetriever" in gaps["streams/exported/retriever"]
    assert "CustomErrorHandler" in gaps["streams/orders/retriever/requester/error_handler"]
    assert "secret" in gaps["streams/orders/retriever/requester/request_parameters/secret"]
    assert "connection" in gaps["streams/orders/retriever/requester/request_headers/Authorization"]
    assert "'*'" in gaps["streams/linked/retriever/record_selector/extractor/field_path"]
    assert "host" in gaps["streams/linked/retriever/requester/url"]
    assert gaps["streams/orders/transformations"] == "KeysToLower"
    assert "GET with a body" in gaps["streams/refunds/retriever/requester"]
    assert "spans of time" in gaps["streams/refunds/retriever/partition_router"]


def test_each_connection_is_told_with_what_it_must_hold() -> None:
    imported = convert(MANIFEST.read_text(), file=Path("source-shop/manifest.yaml"))
    told = [str(gap) for gap in imported.gaps if gap.place == "spec"]
    assert any("'shop_api'" in text and "https://api.shop.example" in text and "api_key" in text for text in told)
    assert any("'shop_login'" in text and "extra refresh_token" in text for text in told)


def test_all_configs_are_valid_by_our_own_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "source-shop"
    folder.mkdir()
    (folder / "manifest.yaml").write_text(MANIFEST.read_text())
    assert main(["import", "airbyte-manifest", str(folder / "manifest.yaml"), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [finding for finding in report["findings"] if finding["severity"] != "info"] == []
    assert [config["dag_id"] for config in report["configs"]] == ["shop_orders", "shop_refunds", "shop_linked"]


def test_a_converted_stream_reads_all_the_api_has(configs: dict[str, dict[str, Any]], api: Api, context: Any) -> None:
    rows = [{"id": index, "status": "paid", "total": index} for index in range(5)]

    def answer(request: Request) -> Reply:
        assert request.headers["x-api-key"] == "hunter2-key"
        if "2024-01-01" not in request.query["range"]:
            return Reply({"error": "none"}, 404)
        at = (int(request.query["page"]) - 1) * 2
        return Reply({"data": {"orders": rows[at : at + 2]}})

    api.answer = answer
    source = {**configs["orders"]["source"], "requests_per_second": None}
    source["query"] = {**source["query"], "status": "any"}
    files = HttpSource(HttpConfig.model_validate(source)).extract(
        context(Connection("shop_api", "http", api.url, None, "", "hunter2-key"))
    )
    assert [json.loads(line) for line in files.paths[0].read_bytes().splitlines()] == rows


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ response['a'].b }}", ("response", ("a", "b"))),
        ('{{ response.get("a", {}).get("b") }}', ("response", ("a", "b"))),
        ("{{ last_records[-1]['id'] }}", ("last_records", ("-1", "id"))),
        ("{{ f(x) }}", None),
        ("{{ a }} {{ b }}", None),
    ],
)
def test_paths_in_jinja_are_read_and_nothing_is_run(text: str, found: Any) -> None:
    assert access(only(text)) == found


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("record.a in ['x', y]", None),
        ("record.a in ['x', \"it's\"]", "\"a\" IN ('x', 'it''s')"),
        ("record['a'] is not none or not record.b == true", '("a" IS NOT NULL OR NOT ("b" = TRUE))'),
        ("record.a == none", '"a" IS NULL'),
        ("record.a.b == 1", None),
        ("__import__('os').system('x') == 1", None),
        ("record.a == '${params.x}'", None),
    ],
)
def test_conditions_become_sql_or_a_gap(text: str, sql: str | None) -> None:
    def column(node: Any) -> str | None:
        found = access(node)
        return f'"{found[1][0]}"' if found and found[0] == "record" and len(found[1]) == 1 else None

    node = parse(text)
    assert node is not None
    assert sql_of(node, column) == sql


@pytest.mark.parametrize(
    "text",
    [
        "a: 1",
        "streams: ['#/definitions/none']",
        "streams: ['#/definitions/a']\ndefinitions: {a: {$ref: '#/definitions/b'}, b: {$ref: '#/definitions/a'}}",
    ],
)
def test_what_is_no_manifest_or_runs_in_a_circle_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        convert(text, file=Path("m.yaml"))


@pytest.mark.parametrize(
    ("authenticator", "auth"),
    [
        ({"type": "NoAuth"}, None),
        ({"type": "BasicHttpAuthenticator", "username": "{{ config['u'] }}"}, {"type": "basic"}),
        ({"type": "BearerAuthenticator", "api_token": "{{ config['t'] }}"}, {"type": "bearer"}),
        (
            {"type": "ApiKeyAuthenticator", "header": "Authorization", "api_token": "Token {{ config.t }}"},
            {"type": "bearer", "scheme": "Token"},
        ),
        (
            {"type": "ApiKeyAuthenticator", "inject_into": {"inject_into": "request_parameter", "field_name": "k"}},
            {"type": "api_key", "name": "k", "location": "query"},
        ),
        (
            {
                "type": "SessionTokenAuthenticator",
                "login_requester": {
                    "url_base": "https://a.example",
                    "path": "/login",
                    "http_method": "POST",
                    "request_body_json": {"mail": "{{ config['mail'] }}", "pass": "{{ config['pw'] }}", "app": "x"},
                },
                "session_token_path": ["data", "sid"],
                "expiration_duration": "PT1H",
                "request_authentication": {
                    "type": "ApiKey", "inject_into": {"inject_into": "header", "field_name": "X-Sid"},
                },
            },
            {
                "type": "session", "endpoint": "/login", "login_field": "mail", "password_field": "pass",
                "params": {"app": "x"}, "token_path": "data.sid", "name": "X-Sid", "scheme": "", "lifetime": "1h",
            },
        ),
        (
            {
                "type": "JwtAuthenticator", "algorithm": "ES256", "secret_key": "{{ config['key'] }}",
                "token_duration": 600, "jwt_headers": {"kid": "7"}, "jwt_payload": {"aud": "x"},
            },
            {"type": "jwt", "algorithm": "ES256", "claims": {"aud": "x"}, "headers": {"kid": "7"}, "lifetime": "600s"},
        ),
        (
            {
                "type": "OAuthAuthenticator", "token_refresh_endpoint": "https://a.example/t",
                "grant_type": "client_credentials", "client_id": "{{ config.i }}", "client_secret": "{{ config.s }}",
            },
            {"type": "oauth2", "grant": "client_credentials", "endpoint": "/t", "scopes": None},
        ),
        (
            {
                "type": "SelectiveAuthenticator", "authenticator_selection_path": ["a"],
                "authenticators": {"b": {"type": "BearerAuthenticator", "api_token": "x"}},
            },
            {"type": "bearer"},
        ),
        ({"type": "CustomAuthenticator", "class_name": "a.B"}, None),
        ({"type": "ApiKeyAuthenticator", "header": "Key", "api_token": SECRET}, {"type": "api_key", "name": "Key"}),
        (
            {"type": "ApiKeyAuthenticator", "header": "Authorization", "api_token": f"Bearer {SECRET}"},
            {"type": "api_key", "name": "Authorization"},
        ),
        ({"type": "BearerAuthenticator", "api_token": SECRET}, {"type": "bearer"}),
        ({"type": "BasicHttpAuthenticator", "username": "u", "password": SECRET}, {"type": "basic"}),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)  # fmt: skip
def test_each_kind_of_login_is_taken_over(authenticator: dict[str, Any], auth: dict[str, Any] | None) -> None:
    requester = {"url_base": "https://a.example", "path": "/x", "authenticator": authenticator}
    stream = {"name": "x", "retriever": {"requester": requester, "record_selector": {"extractor": {"field_path": []}}}}
    imported = convert(json.dumps({"type": "DeclarativeSource", "streams": [stream]}), file=Path("a.yaml"))
    (config,) = imported.configs
    assert SECRET not in str(imported)
    expected = {key: value for key, value in auth.items() if value is not None} if auth else None
    assert config["source"].get("auth") == expected
    HttpConfig.model_validate(config["source"])


def test_a_manifest_with_parts_of_a_wrong_kind_gives_gaps_and_no_crash() -> None:
    document = read_document(MANIFEST.read_text(), MANIFEST)
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in range(len(node)) if isinstance(node, list) else list(node):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                collect(node[key])

    collect(document)
    random = Random(7)
    for holder, key in random.sample(places, 100):
        kept = holder[key]
        for wrong in WRONG:
            holder[key] = wrong
            with suppress(ConfigError):
                convert(json.dumps(document), file=MANIFEST)
        holder[key] = kept
