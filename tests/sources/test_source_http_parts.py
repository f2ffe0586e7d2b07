"""The http source beyond one plain walk: logging in, partitions, parents, slices of time, rules for errors."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import ValidationError
from tests.sources.conftest import Api, Log, Reply, Request

from dataforge.components.base import Connection, CursorBounds, ExtractContext
from dataforge.errors import TerminalError, TransientError
from dataforge.sources import _http
from dataforge.sources.http_ import HttpConfig, HttpSource

SECRET = "hunter2-secret"
ROWS = [{"id": index} for index in range(6)]

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(api: Api, context: Callable[..., ExtractContext], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Extract with a config and return the records."""
    monkeypatch.setattr(_http, "FIRST_WAIT", 0.01)

    def go(
        extra: dict[str, Any] | None = None,
        cursor: CursorBounds | None = None,
        others: tuple[Connection, ...] = (),
        login: str = "user",
        **config: Any,
    ) -> list[dict[str, Any]]:
        connection = Connection("shop_api", "http", api.url, None, login, SECRET, extra=extra or {})
        model = HttpConfig.model_validate({"connection": "shop_api", "endpoint": "/rows", **config})
        made = replace(context(connection, *others), cursor=cursor)
        path = HttpSource(model).extract(made).paths[0]
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    return go


# ---- Logging in


def test_a_bearer_token_comes_from_the_connection_and_its_extra_key_is_no_header(api: Api, run: Run) -> None:
    api.replies(Reply(ROWS))
    assert run(auth={"type": "bearer"}) == ROWS
    assert api.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    run(auth={"type": "bearer", "from_extra": "pat", "scheme": "Token"}, extra={"pat": "abc12345", "X-Tenant": "t"})
    headers = api.requests[1].headers
    assert headers["authorization"] == "Token abc12345"
    assert headers["x-tenant"] == "t"
    assert "pat" not in headers


def test_an_api_key_goes_into_a_header_or_into_every_query(api: Api, run: Run) -> None:
    api.replies(Reply(ROWS))
    run(auth={"type": "api_key", "name": "X-Key", "prefix": "k="})
    assert api.requests[0].headers["x-key"] == f"k={SECRET}"
    assert "authorization" not in api.requests[0].headers
    api.answer = lambda request: Reply({"rows": ROWS, "next": f"/rows?at=1&api_key={SECRET}"})
    with pytest.raises(TerminalError, match="circle"):
        run(auth={"type": "api_key", "name": "api_key", "location": "query"}, records="rows", query={"a": 1},
            pagination={"type": "next_url"})  # fmt: skip
    assert api.requests[1].query == {"a": "1", "api_key": SECRET}
    assert api.requests[2].query == {"at": "1", "api_key": SECRET}
    api.replies(Reply(ROWS))
    run(auth={"type": "api_key", "name": "key", "location": "query"}, query={"sort_key": "id"})
    assert api.requests[3].query == {"sort_key": "id", "key": SECRET}


def test_a_secret_that_the_connection_lacks_is_asked_for(run: Run) -> None:
    with pytest.raises(TerminalError, match="needs 'pat' in its extra"):
        run(auth={"type": "bearer", "from_extra": "pat"})


def test_client_credentials_give_a_token_that_is_renewed_when_it_is_refused(api: Api, run: Run) -> None:
    tokens = iter(["first-token", "second-token"])

    def answer(request: Request) -> Reply:
        if request.path == "/oauth/token":
            return Reply({"access_token": next(tokens), "expires_in": 3600})
        fresh = request.headers["authorization"] == "Bearer second-token"
        return Reply(ROWS) if fresh else Reply({"error": "expired"}, 401)

    api.answer = answer
    assert run(auth={"type": "oauth2", "scopes": ["a", "b"], "params": {"audience": "x"}}) == ROWS
    asked = [request for request in api.requests if request.path == "/oauth/token"]
    assert asked[0].body == {
        "grant_type": "client_credentials", "scope": "a b", "client_id": "user", "client_secret": SECRET,
        "audience": "x",
    }  # fmt: skip
    assert "authorization" not in asked[0].headers
    assert len(asked) == 2


def test_a_refresh_token_is_used_at_the_token_servers_own_connection(api: Api, run: Run, log: Log) -> None:
    server = Api()
    try:
        server.answer = lambda request: Reply({"t": {"access": "tok-1"}, "refresh_token": "new-refresh"})
        api.replies(Reply(ROWS))
        tokens = Connection("login", "http", server.url, None, "id", "pw-secret", extra={"refresh_token": "r-1234"})
        auth = {
            "type": "oauth2", "grant": "refresh_token", "connection": "login", "endpoint": "/t", "client_auth": "basic",
            "token_path": "t.access", "header": "X-Token", "scheme": "",
        }  # fmt: skip
        assert run(auth=auth, others=(tokens,)) == ROWS
        assert server.requests[0].body == {"grant_type": "refresh_token", "refresh_token": "r-1234"}
        assert server.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"id:pw-secret").decode()
        assert "refresh_token" not in server.requests[0].headers
        assert api.requests[0].headers["x-token"] == "tok-1"
        assert any(message == "refresh token replaced" for message, _ in log)
        assert "new-refresh" not in str(log)
    finally:
        server.close()


def test_a_refused_client_is_told_without_its_secret(api: Api, run: Run) -> None:
    api.replies(Reply({"error": "invalid_client", "got": SECRET}, 400))
    with pytest.raises(TerminalError, match="answered 400") as raised:
        run(auth={"type": "oauth2"})
    assert SECRET not in str(raised.value)
    api.replies(Reply({"token": "x"}))
    with pytest.raises(TerminalError, match="no token at 'access_token'"):
        run(auth={"type": "oauth2"})


def test_a_session_login_gives_a_token_that_no_message_shows(api: Api, run: Run) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/login":
            return Reply({"result": {"sid": "session-1234"}})
        return Reply({"oops": request.headers["x-session"]}, 400)

    api.answer = answer
    auth = {
        "type": "session", "endpoint": "/login", "login_field": "mail", "params": {"app": "x"},
        "token_path": "result.sid", "name": "X-Session", "scheme": "",
    }  # fmt: skip
    with pytest.raises(TerminalError, match="answered 400") as raised:
        run(auth=auth)
    assert api.requests[0].body == {"app": "x", "mail": "user", "password": SECRET}
    assert "session-1234" not in str(raised.value)


def test_a_json_web_token_is_signed_with_the_connections_key(api: Api, run: Run) -> None:
    import jwt

    api.replies(Reply(ROWS))
    key = "0123456789abcdef0123456789abcdef"
    auth = {"type": "jwt", "algorithm": "HS256", "from_extra": "key", "claims": {"iss": "me"}, "headers": {"kid": "7"}}
    assert run(auth=auth, extra={"key": key}) == ROWS
    token = api.requests[0].headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, key, algorithms=["HS256"])
    assert claims["iss"] == "me"
    assert claims["exp"] - claims["iat"] == 1200
    assert jwt.get_unverified_header(token)["kid"] == "7"
    with pytest.raises(TerminalError, match="can't sign a token by RS256") as raised:
        run(auth={**auth, "algorithm": "RS256"}, extra={"key": key})
    assert key not in str(raised.value)


# ---- Cursors in other places, forms, nested bodies


def test_a_cursor_may_stand_in_a_header_or_in_the_last_record(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply(
        ROWS[int(request.query.get("cursor", 0)) :][:3], headers={"X-Next": "3"} if not request.query else {}
    )
    assert run(pagination={"type": "cursor", "header": "X-Next"}) == ROWS

    def after(request: Request) -> Reply:
        at = int(request.headers.get("x-after", -1)) + 1
        return Reply({"rows": ROWS[at : at + 2], "more": at + 2 < len(ROWS)})

    api.answer = after
    paging = {"type": "cursor", "last_record": "id", "has_more": "more", "param": "X-After", "location": "header"}
    assert run(records="rows", pagination=paging) == ROWS


def test_the_last_record_of_a_large_answer_is_found_too(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "IN_MEMORY", 1000)
    rows = [{"id": index, "text": "x" * 40} for index in range(90)]

    def answer(request: Request) -> Reply:
        at = int(request.query.get("after", -1)) + 1
        return Reply({"rows": rows[at : at + 30]})

    api.answer = answer
    assert run(records="rows", pagination={"type": "cursor", "last_record": "id", "param": "after"}) == rows
    assert len(api.requests) == 4


def test_a_body_goes_as_a_form_and_parameters_go_deep_into_a_json_body(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply({"rows": ROWS[:2], "next": None if "at" in str(request.body) else "x"})
    paging = {"type": "cursor", "path": "next", "param": "at", "location": "body"}
    run(method="POST", body={"q": "1"}, body_format="form", records="rows", pagination=paging)
    assert [request.body for request in api.requests] == [{"q": "1"}, {"q": "1", "at": "x"}]
    api.requests.clear()
    run(method="POST", body={"v": {"q": 1}}, records="rows", pagination={**paging, "param": "v.page.at"})
    assert api.requests[1].body == {"v": {"q": 1, "page": {"at": "x"}}}


# ---- Partitions and parents


def test_each_value_of_a_list_is_read_with_all_its_pages(api: Api, run: Run) -> None:
    def answer(request: Request) -> Reply:
        at = int(request.query.get("offset", 0))
        return Reply([{"id": index} for index in range(at, min(at + 2, 3))])

    api.answer = answer
    rows = run(
        endpoint="/v1/{region}/rows",
        partitions=[{"type": "list", "name": "region", "values": ["eu", "a/b c"], "column": "region", "param": "r"}],
        pagination={"type": "offset", "limit": 2},
    )
    assert rows == [{"region": region, "id": index} for region in ("eu", "a/b c") for index in range(3)]
    assert {request.path for request in api.requests} == {"/v1/eu/rows", "/v1/a%2Fb%20c/rows"}
    assert {request.query["r"] for request in api.requests} == {"eu", "a/b c"}


def test_children_are_read_for_each_distinct_parent_and_parents_may_be_nested(api: Api, run: Run, log: Log) -> None:
    orgs = [[{"login": "acme"}], [{"login": "acme"}, {"login": "zeta"}, {"other": 1}], []]
    repos = {"acme": [{"id": 1, "owner": {"name": "Ann"}}, {"id": 2}], "zeta": []}

    def answer(request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        if parts == ["orgs"]:
            return Reply({"data": orgs[int(request.query["page"]) - 1]})
        if parts[2] == "repos" and len(parts) == 3:
            return Reply(repos[parts[1]])
        return Reply([{"n": 1.10}, {}])

    api.answer = answer
    rows = run(
        endpoint="/orgs/{org}/repos/{repo}/issues",
        headers={"X-Org": "{org}"},
        partitions=[
            {"type": "parent", "name": "org", "endpoint": "/orgs", "records": "data", "key": "login",
             "pagination": {"type": "page"}},
            {"type": "parent", "name": "repo", "endpoint": "/orgs/{org}/repos", "column": "repo_id",
             "columns": {"owner": "owner.name"}},
        ],
    )  # fmt: skip
    assert rows == [
        {"owner": "Ann", "repo_id": 1, "n": 1.1},
        {"owner": "Ann", "repo_id": 1},
        {"owner": None, "repo_id": 2, "n": 1.1},
        {"owner": None, "repo_id": 2},
    ]
    paths = [request.path for request in api.requests]
    assert paths.count("/orgs/acme/repos") == 1
    assert api.requests[-2].headers["x-org"] == "acme"
    assert ("parents left out", {"partition": "org", "records": 1, "reason": "they have no key"}) in log


def test_only_changed_parents_are_read_when_their_query_holds_the_cursor(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply([{"id": 7}] if request.path == "/orders" else [{"x": 1}])
    config = {
        "endpoint": "/orders/{order}/lines",
        "cursor_field": "updated_at",
        "partitions": [
            {"type": "parent", "name": "order", "endpoint": "/orders", "query": {"since": "${cursor:%Y-%m-%d}"}}
        ],
    }
    run(**config)
    run(**config, cursor=CursorBounds("updated_at", "2024-05-01 10:00:00", None, "TIMESTAMP"))
    assert [request.query for request in api.requests if request.path == "/orders"] == [{}, {"since": "2024-05-01"}]


def test_an_added_column_never_hides_one_of_the_record(api: Api, run: Run) -> None:
    api.replies(Reply([{"a": {"region": 1}}]))
    parts = [{"type": "list", "name": "region", "values": ["eu"], "column": "region"}]
    assert run(partitions=parts) == [{"region": "eu", "a": {"region": 1}}]
    api.replies(Reply([{"region": 1}]))
    with pytest.raises(TerminalError, match="records have one of that name"):
        run(partitions=parts)


@pytest.mark.parametrize("value", ["..", ".", ""])
def test_a_value_that_would_lead_elsewhere_stands_in_no_path(api: Api, run: Run, value: str) -> None:
    with pytest.raises(TerminalError, match="can't stand in a path"):
        run(endpoint="/a/{x}/b", partitions=[{"type": "list", "name": "x", "values": [value]}])
    assert api.requests == []


def test_max_pages_counts_all_parts_together(api: Api, run: Run) -> None:
    api.replies(Reply(ROWS))
    with pytest.raises(TerminalError, match="max_pages = 3"):
        run(partitions=[{"type": "list", "name": "x", "values": [1, 2, 3, 4], "param": "x"}], max_pages=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "/a/{nobody}"},
        {"partitions": [{"type": "parent", "name": "a", "endpoint": "/{b}"}]},
        {"partitions": [{"type": "list", "name": "a", "values": [1]}, {"type": "list", "name": "a", "values": [2]}]},
        {"partitions": [{"type": "parent", "name": "a", "endpoint": "//evil.example"}]},
        {"partitions": [{"type": "parent", "name": "a", "endpoint": "/x", "query": {"s": "${cursor}"}}]},
        {"partitions": [{"type": "list", "name": "slice_start", "values": [1]}]},
        {"pagination": {"type": "cursor"}},
        {"pagination": {"type": "cursor", "path": "a", "header": "B"}},
        {"errors": [{"action": "ignore"}]},
        {"errors": [{"status": [404], "equals": 1, "action": "ignore"}]},
        {"slices": {"start": "2024-01-01", "step": "1s", "granularity": "1s"}},
        {"slices": {"start": "2024-01-01", "format": "yyyy"}},
        {"auth": {"type": "oauth2", "endpoint": "https://evil.example/token"}},
        {"auth": {"type": "api_key", "name": "X: y"}},
        {"auth": {"type": "api_key", "name": "Host"}},
        {"partitions": [{"type": "list", "name": "a", "values": [1], "param": "Host", "location": "header"}]},
        {"pagination": {"type": "cursor", "path": "a", "param": "Authorization", "location": "header"}},
        {"slices": {"start": "2024-01-01", "start_param": "Cookie", "location": "header"}},
    ],
)
def test_what_can_mean_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpConfig.model_validate({"connection": "shop_api", **wrong})


# ---- Slices of time


def test_time_is_read_in_slices_from_the_cursor_on_that_do_not_overlap(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply([request.query])
    slices = {
        "start": "2024-01-01T00:00:00Z", "step": "1d", "granularity": "1s", "format": "%Y-%m-%d %H:%M:%S",
        "start_param": "from", "end_param": "to",
    }  # fmt: skip
    bounds = CursorBounds("at", "2024-03-01 12:00:00", "2024-03-03 00:00:00+00", "TIMESTAMPTZ")
    rows = run(slices=slices, cursor_field="at", query={"q": "at>{slice_start}"}, cursor=bounds)
    assert [(row["from"], row["to"]) for row in rows] == [
        ("2024-03-01 12:00:00", "2024-03-02 11:59:59"),
        ("2024-03-02 12:00:00", "2024-03-03 00:00:00"),
    ]
    assert rows[0]["q"] == "at>2024-03-01 12:00:00"


def test_without_a_cursor_slices_begin_at_their_start_and_end_now(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply([request.query])
    (row,) = run(slices={"start": "2024-01-01", "format": "epoch", "start_param": "a", "end_param": "b"})
    assert int(row["a"]) == datetime(2024, 1, 1, tzinfo=timezone.utc).timestamp()
    assert abs(int(row["b"]) - time.time()) < 60
    numbers = CursorBounds("at", "1709294400", None, "BIGINT")
    (row,) = run(slices={"start": "2024-01-01", "format": "iso", "start_param": "a"}, cursor_field="at", cursor=numbers)
    assert row["a"] == "2024-03-01T12:00:00Z"


# ---- Rules for errors


def test_a_rule_ignores_what_is_missing_and_reads_on(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply({"e": 1}, 404) if request.path.endswith("/2") else Reply([{"id": 1}])
    rows = run(
        endpoint="/rows/{id}",
        partitions=[{"type": "list", "name": "id", "values": [1, 2, 3]}],
        errors=[{"status": [404], "action": "ignore"}],
        pagination={"type": "cursor", "path": "next"},
    )
    assert rows == [{"id": 1}, {"id": 1}]


def test_a_rule_finds_an_error_in_an_answer_of_200(api: Api, run: Run) -> None:
    api.replies(Reply({"ok": False, "error": {"code": "busy"}}), Reply({"ok": True, "rows": ROWS}))
    rules = [
        {"path": "error.code", "equals": "busy", "action": "retry"},
        {"path": "error", "action": "fail", "says": "ask the owner"},
    ]
    assert run(records="rows", errors=rules) == ROWS
    api.replies(Reply({"error": {"code": "denied"}}))
    with pytest.raises(TerminalError, match="answered 200: ask the owner"):
        run(records="rows", errors=rules)


def test_a_text_in_the_body_makes_a_failure_one_that_passes(api: Api, run: Run) -> None:
    api.replies(Reply({"m": "Slow down, please"}, 403), Reply(ROWS))
    assert run(errors=[{"status": [403], "message": "Slow down", "action": "rate_limited"}]) == ROWS
    api.replies(Reply({"m": "no"}, 403))
    with pytest.raises(TerminalError, match="check its credentials"):
        run(errors=[{"status": [403], "message": "Slow down", "action": "rate_limited"}])


def test_a_header_of_the_answer_says_how_long_to_wait(api: Api, run: Run) -> None:
    reset = str(time.time() + 0.4)
    api.replies(Reply({}, 429, {"X-Reset": reset}), Reply(ROWS))
    began = time.monotonic()
    assert run(retry={"wait_header": "X-Reset", "wait_kind": "epoch"}) == ROWS
    assert time.monotonic() - began >= 0.3
    api.replies(Reply({}, 429, {"X-Reset": "5000"}))
    with pytest.raises(TransientError, match="come back in 5000 s"):
        run(retry={"wait_header": "X-Reset", "max_wait": "10m"})
    api.replies(Reply({}, 429, {"X-Reset": "nan"}), Reply(ROWS))
    assert run(retry={"wait_header": "X-Reset"}) == ROWS


def test_tries_and_constant_waits_are_those_of_the_config(api: Api, run: Run) -> None:
    api.replies(*[Reply({}, 503)] * 4, Reply(ROWS))
    assert run(retry={"tries": 5, "backoff": "constant", "first_wait": 0.01}) == ROWS
    api.requests.clear()
    api.replies(Reply({}, 503))
    with pytest.raises(TransientError):
        run(retry={"tries": 1})
    assert len(api.requests) == 1


def test_a_post_is_repeated_only_where_the_config_says_that_it_reads(api: Api, run: Run) -> None:
    api.replies(Reply({}, 500), Reply(ROWS))
    with pytest.raises(TerminalError, match="answered 500"):
        run(method="POST", body={})
    api.replies(Reply({}, 500), Reply(ROWS))
    assert run(method="POST", body={}, retry={"repeat_post": True}) == ROWS


def test_what_reading_proves_follows_the_weakest_way_of_paging() -> None:
    def grade(**config: Any) -> str:
        return HttpConfig.model_validate({"connection": "a", **config}).grade()

    parent = {"type": "parent", "name": "a", "endpoint": "/a"}
    assert grade() == "snapshot"
    assert grade(partitions=[parent]) == "window"
    assert grade(partitions=[{**parent, "pagination": {"type": "page"}}]) == "unstable"
    assert grade(slices={"start": "2024-01-01"}) == "window"
