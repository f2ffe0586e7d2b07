"""The http source against a real local server: every pagination, every fault."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from pydantic import ValidationError
from tests.sources.conftest import Api, Log, Reply, Request

from dataforge.components.base import Connection, ExtractContext
from dataforge.errors import DataForgeError, TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.sources import _http, _json_text
from dataforge.sources.http_ import HttpConfig, HttpSource

SECRET = "hunter2-secret"
ROWS = [{"id": index, "name": f"n{index}"} for index in range(10)]

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(api: Api, context: Callable[..., ExtractContext], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Extract with a config and return the records."""
    monkeypatch.setattr(_http, "FIRST_WAIT", 0.01)

    def go(sample: int | None = None, extra: dict[str, Any] | None = None, **config: Any) -> list[dict[str, Any]]:
        value = {"conn_type": "http", "host": api.url, "login": "user", "password": SECRET, "extra": extra or {}}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_API", json.dumps({**value, "extra": json.dumps(value["extra"])}))
        connection = Connection("shop_api", "http", api.url, None, "user", SECRET, extra=extra or {})
        source = HttpSource(HttpConfig.model_validate({"connection": "shop_api", "endpoint": "/orders", **config}))
        files = source.extract(context(connection, sample=sample))
        assert files.format == "json"
        return [json.loads(line) for line in files.paths[0].read_bytes().splitlines()]

    return go


def served(request: Request, start: int, size: int) -> list[dict[str, Any]]:
    return ROWS[start : start + size]


def test_one_answer_with_a_list_gives_its_records_with_the_connections_auth_and_headers(api: Api, run: Run) -> None:
    api.replies(Reply(ROWS))
    assert run(query={"status": "paid", "n": 3, "flag": True}, headers={"X-Tenant": "a"}, extra={"X-Key": "k"}) == ROWS
    request = api.requests[0]
    assert request.path == "/orders"
    assert request.query == {"status": "paid", "n": "3", "flag": "true"}
    assert request.headers["authorization"].startswith("Basic ")
    assert (request.headers["x-tenant"], request.headers["x-key"]) == ("a", "k")


def test_numbers_come_as_the_server_wrote_them(api: Api, run: Run, tmp_path: Any) -> None:
    api.replies(Reply(b'{"data": {"orders": [{"n": 1.10,\n "w": 123456789012345678901234567890}]}}'))
    run(records="data.orders")
    text = (tmp_path / "scratch" / "records.ndjson").read_bytes()
    assert text == b'{"n": 1.10,  "w": 123456789012345678901234567890}\n'.replace(b",  ", b",  ")


@pytest.mark.parametrize("style", ["link_header", "next_url", "cursor", "page", "offset"])
def test_every_pagination_style_reads_all_records_once(api: Api, run: Run, style: str) -> None:
    def answer(request: Request) -> Reply:
        at = int(request.query.get("at", request.query.get("offset", 0)))
        if style == "page":
            at = (int(request.query["page"]) - 1) * 4
        following = at + 4 if at + 4 < len(ROWS) else None
        link = f"/orders?at={following}" if following else None
        headers = (
            {"Link": f'<{api.url}/x>; rel="prev", <{link}>; rel="next"'} if link and style == "link_header" else {}
        )
        cursor = {"cursor": str(following) if following else None}
        return Reply({"rows": ROWS[at : at + 4], "next": link, "meta": cursor}, headers=headers)

    api.answer = answer
    paging: dict[str, dict[str, Any]] = {
        "link_header": {},
        "next_url": {"path": "next"},
        "cursor": {"path": "meta.cursor", "param": "at"},
        "page": {},
        "offset": {"limit": 4},
    }
    assert run(records="rows", pagination={"type": style, **paging[style]}) == ROWS
    assert len(api.requests) == (4 if style in ("page", "offset") else 3)


def test_totals_and_has_more_save_the_last_empty_page(api: Api, run: Run) -> None:
    def answer(request: Request) -> Reply:
        at = int(request.query.get("offset", (int(request.query.get("page", 1)) - 1) * 5))
        return Reply({"rows": ROWS[at : at + 5], "total": 10, "pages": 2, "more": at < 5})

    api.answer = answer
    for paging in (
        {"type": "offset", "limit": 5, "total": "total"},
        {"type": "offset", "limit": 5, "has_more": "more"},
        {"type": "page", "total_pages": "pages"},
        {"type": "page", "total": "total", "size_param": "size", "size": 5},
    ):
        api.requests.clear()
        assert run(records="rows", pagination=paging) == ROWS
        assert len(api.requests) == 2


def test_offsets_follow_what_came_when_the_server_gives_fewer_than_asked_for(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply(ROWS[int(request.query["offset"]) :][:3])
    assert run(pagination={"type": "offset", "limit": 1000}) == ROWS


def test_an_empty_page_in_the_middle_does_not_end_a_cursor(api: Api, run: Run) -> None:
    pages = {"": (ROWS[:2], "a"), "a": ([], "b"), "b": (ROWS[2:4], None)}
    api.answer = lambda request: Reply(dict(zip(("rows", "next"), pages[request.query.get("cursor", "")], strict=True)))
    assert run(records="rows", pagination={"type": "cursor", "path": "next"}) == ROWS[:4]


def test_a_post_sends_body_and_cursor_in_the_body(api: Api, run: Run) -> None:
    def answer(request: Request) -> Reply:
        assert request.method == "POST"
        done = request.body.get("after") == "x"
        return Reply({"rows": ROWS[2:4] if done else ROWS[:2], "after": None if done else "x"})

    api.answer = answer
    paging = {"type": "cursor", "path": "after", "param": "after", "location": "body"}
    assert run(method="POST", body={"q": 1}, records="rows", pagination=paging) == ROWS[:4]
    assert [request.body for request in api.requests] == [{"q": 1}, {"q": 1, "after": "x"}]


def test_ndjson_gzip_bom_and_no_content_are_read(api: Api, run: Run) -> None:
    lines = b"\n".join(json.dumps(row).encode() for row in ROWS)
    api.replies(Reply(lines, headers={"Content-Type": "application/x-ndjson"}))
    assert run() == ROWS
    api.replies(Reply(gzip.compress(json.dumps(ROWS).encode()), headers={"Content-Encoding": "gzip"}))
    assert run() == ROWS
    api.replies(Reply(b"\xef\xbb\xbf" + json.dumps(ROWS).encode()))
    assert run() == ROWS
    api.replies(Reply(b"", 204))
    assert run() == []
    api.replies(Reply({"rows": None}))
    assert run(records="rows") == []


@pytest.mark.parametrize("form", ["inner", "list", "lines"])
def test_large_answers_go_through_scratch_and_still_page(
    api: Api, run: Run, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(_http, "IN_MEMORY", 1000)
    monkeypatch.setattr(_json_text, "CHUNK", 300)
    rows = [{"id": index, "text": '"}, {[' * (index % 7), "in": {"a": [{}]}} for index in range(400)]

    def answer(request: Request) -> Reply:
        at = int(request.query.get("at", 0))
        part = rows[at : at + 200]
        following = at + 200 if at + 200 < len(rows) else None
        if form == "lines":
            body = "\n".join(map(json.dumps, part)).encode()
            return Reply(body, headers={"Content-Type": "application/x-ndjson"})
        return Reply({"first": [1, {"rows": []}], "rows": part, "next": following} if form == "inner" else part)

    api.answer = answer
    if form == "inner":
        assert run(records="rows", pagination={"type": "cursor", "path": "next", "param": "at"}) == rows
    else:
        assert run() == rows[:200]


def test_a_sample_stops_paging(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply(ROWS[int(request.query["offset"]) :][:2])
    assert len(run(sample=3, pagination={"type": "offset", "limit": 2})) == 4
    assert len(api.requests) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_fault_is_tried_again(api: Api, run: Run, status: int) -> None:
    api.replies(Reply({}, status), Reply({}, status), Reply(ROWS))
    assert run() == ROWS
    assert len(api.requests) == 3


def test_a_lasting_fault_is_transient_after_three_tries(api: Api, run: Run) -> None:
    api.replies(Reply({}, 503))
    with pytest.raises(TransientError, match="answered 503"):
        run()
    assert len(api.requests) == 3


def test_retry_after_is_honoured_and_capped(api: Api, run: Run) -> None:
    api.replies(Reply({}, 429, {"Retry-After": "1"}), Reply(ROWS))
    began = time.monotonic()
    assert run() == ROWS
    assert time.monotonic() - began >= 1
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=1), usegmt=True)
    api.replies(Reply({}, 503, {"Retry-After": soon}), Reply(ROWS))
    assert run() == ROWS
    api.replies(Reply({}, 429, {"Retry-After": "soon"}), Reply(ROWS))
    assert run() == ROWS
    api.replies(Reply({}, 429, {"Retry-After": "86400"}))
    with pytest.raises(TransientError, match="come back in 86400 s"):
        run()


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def test_a_reset_in_the_middle_repeats_the_page_without_doubling_it(api: Api, run: Run) -> None:
    broken = iter([False, True, False, False, False])

    def answer(request: Request) -> Reply:
        return Reply(raw=reset) if next(broken) else Reply(ROWS[int(request.query["offset"]) :][:5])

    api.answer = answer
    assert run(pagination={"type": "offset", "limit": 5}) == ROWS


def test_a_post_is_not_repeated_when_the_server_may_have_acted(api: Api, run: Run) -> None:
    api.replies(Reply(raw=reset))
    with pytest.raises(TransientError):
        run(method="POST", body={})
    assert len(api.requests) == 1


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


def test_a_slow_drip_ends_at_the_page_deadline(api: Api, run: Run) -> None:
    api.replies(Reply(raw=drip))
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"took longer than 0\.3 s"):
        run(timeout=0.3)
    assert time.monotonic() - began < 4


def test_a_silent_stall_and_the_total_limit_end_too(api: Api, run: Run) -> None:
    api.replies(Reply(raw=lambda handler: time.sleep(2)))
    began = time.monotonic()
    with pytest.raises(TransientError):
        run(timeout=10, total_timeout=0.4)
    assert time.monotonic() - began < 2


def test_a_body_shorter_than_its_length_is_refused(api: Api, run: Run) -> None:
    api.replies(Reply(json.dumps(ROWS).encode(), length=10_000))
    with pytest.raises(TransientError, match="ended"):
        run()


def test_a_cut_body_without_a_length_is_told_or_marked_unproved(api: Api, run: Run, log: Log) -> None:
    api.replies(Reply(json.dumps(ROWS).encode()[:-20], length=False))
    with pytest.raises(TerminalError, match="no JSON"):
        run()
    whole_lines = b'{"id": 1}\n{"id": 2}\n'
    api.replies(Reply(whole_lines, headers={"Content-Type": "application/x-ndjson"}, length=False))
    assert len(run()) == 2
    assert any(message == "completeness unproved" for message, _ in log)
    api.replies(Reply(whole_lines + b'{"id": ', headers={"Content-Type": "application/x-ndjson"}, length=False))
    with pytest.raises(TerminalError, match="line 3 is no JSON"):
        run()


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"<html><body>Log in</body></html>", "text/html", "text/html: '<html><body>Log in"),
        (b"", "application/json", "an empty body"),
        (b'{"rows": [{"a": 1}', "application/json", "no JSON"),
        (b'{"data": [{"a": 1}]}', "application/json", "lists stand at: data"),
        (f'{{"oops": "{SECRET}"}}'.encode(), "application/json", r"\*\*\*"),
    ],
)
def test_an_answer_that_is_no_page_is_shown_without_secrets(
    api: Api, run: Run, body: bytes, kind: str, message: str
) -> None:
    api.replies(Reply(body, headers={"Content-Type": kind}))
    with pytest.raises(TerminalError, match=message) as raised:
        run(records="rows")
    assert SECRET not in str(raised.value)


def test_an_object_where_a_list_is_meant_asks_for_records(api: Api, run: Run) -> None:
    api.replies(Reply({"count": 2, "results": ROWS}))
    with pytest.raises(TerminalError, match='set "records": "results"'):
        run()
    api.replies(Reply({"id": 1, "tags": ["a"]}))
    assert run() == [{"id": 1, "tags": ["a"]}]


def test_damaged_and_exploding_compression_ends_at_once(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(json.dumps(ROWS).encode())
    api.replies(Reply(b"\x1f\x8bgarbage", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TerminalError, match="damaged"):
        run()
    api.replies(Reply(packed[:-12], headers={"Content-Encoding": "gzip"}))
    with pytest.raises(DataForgeError):
        run()
    api.replies(Reply(gzip.compress(b" " * 40_000_000), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TerminalError, match="bomb"):
        run()


def test_a_body_over_the_limit_is_refused(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__MAX_RESPONSE_BYTES", "1000")
    get_settings.cache_clear()
    api.replies(Reply([{"a": "x" * 2000}]))
    try:
        with pytest.raises(TerminalError, match="larger than 1000 bytes"):
            run()
    finally:
        monkeypatch.delenv("AIRFLOW__DATAFORGE__MAX_RESPONSE_BYTES")
        get_settings.cache_clear()


def test_pagination_that_runs_in_a_circle_ends(api: Api, run: Run) -> None:
    api.replies(Reply(ROWS))
    with pytest.raises(TerminalError, match="page 2 is the same as page 1"):
        run(pagination={"type": "page"})
    turns = iter(range(100))
    api.answer = lambda request: Reply({"rows": [{"n": next(turns)}], "next": ["a", "b", "c"][len(api.requests) % 3]})
    with pytest.raises(TerminalError, match="circle"):
        run(records="rows", pagination={"type": "cursor", "path": "next"})
    api.requests.clear()
    api.answer = lambda request: Reply({"rows": [{"n": next(turns)}], "next": "/orders"})
    with pytest.raises(TerminalError, match="circle"):
        run(records="rows", pagination={"type": "next_url"})
    api.answer = lambda request: Reply([{"n": next(turns)}])
    with pytest.raises(TerminalError, match="max_pages = 3"):
        run(pagination={"type": "page"}, max_pages=3)


def test_fewer_records_than_the_server_announced_are_reported(api: Api, run: Run, log: Log) -> None:
    api.answer = lambda request: Reply({"rows": ROWS[int(request.query["offset"]) :][:5], "total": 12})
    assert run(records="rows", pagination={"type": "offset", "limit": 5, "total": "total"}) == ROWS
    assert ("completeness unproved", {"records": 10, "total": 12, "reason": "the server announced more"}) in log


@pytest.mark.parametrize("style", ["link_header", "next_url"])
def test_a_next_page_on_another_origin_is_refused_and_nothing_is_sent(api: Api, run: Run, style: str) -> None:
    other = Api()
    try:
        link = f"{other.url}/orders"
        api.replies(Reply({"rows": ROWS, "next": link}, headers={"Link": f'<{link}>; rel="next"'}))
        with pytest.raises(TerminalError, match="another origin"):
            run(records="rows", pagination={"type": style})
        assert other.requests == []
    finally:
        other.close()


def test_redirects_stay_on_the_origin_and_end(api: Api, run: Run) -> None:
    other = Api()
    try:
        api.answer = lambda r: Reply({}, 302, {"Location": "/moved"}) if r.path == "/orders" else Reply(ROWS)
        assert run() == ROWS
        api.replies(Reply({}, 302, {"Location": f"{other.url}/steal"}))
        with pytest.raises(TerminalError, match="another origin"):
            run()
        assert other.requests == []
        api.requests.clear()
        api.replies(Reply({}, 302, {"Location": "/orders"}))
        with pytest.raises(TerminalError, match="more than 5 redirects"):
            run()
        assert len(api.requests) == 6
    finally:
        other.close()


def test_wrong_credentials_are_terminal_also_on_a_later_page(api: Api, run: Run) -> None:
    api.replies(Reply(ROWS[:5]), Reply({"error": SECRET}, 401))
    with pytest.raises(TerminalError, match="check its credentials") as raised:
        run(pagination={"type": "page"})
    assert SECRET not in str(raised.value)
    assert len(api.requests) == 2


def test_a_refused_connection_is_transient(api: Api, run: Run) -> None:
    api.close()
    with pytest.raises(TransientError, match="refused") as raised:
        run()
    assert "object at 0x" not in str(raised.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "//evil.example/x",
        "\\\\evil.example",
        "@evil.example",
        "http://evil.example",
        "/a/../b",
        "/%2e%2e/b",
        "/a b",
        "/a\r\nX: y",
        "/%5c%5cevil",
        "/%252e%252e/x",
    ],
)
def test_an_endpoint_that_could_lead_elsewhere_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        HttpConfig(connection="shop_api", endpoint=endpoint)


@pytest.mark.parametrize(
    "header", [{"Host": "x"}, {"Authorization": "x"}, {"X-A": "a\r\nB: c"}, {"X A": "b"}, {"Cookie": "c"}]
)
def test_headers_that_belong_to_the_connection_or_the_protocol_are_refused(header: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        HttpConfig(connection="shop_api", headers=header)


@pytest.mark.parametrize(
    ("address", "private", "fine"),
    [
        ("169.254.169.254", True, False),
        ("::ffff:169.254.169.254", True, False),
        ("fe80::1%eth0", True, False),
        ("fd00:ec2::254", True, False),
        ("100.100.100.200", True, False),
        ("127.0.0.1", True, True),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("10.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("::ffff:10.0.0.1", False, False),
        ("8.8.8.8", False, True),
        ("224.0.0.1", True, False),
    ],
)
def test_addresses_are_checked_in_every_spelling(address: str, private: bool, fine: bool) -> None:
    assert (_http.check_address(address, private) == "") == fine


def test_private_addresses_are_refused_on_the_socket_when_the_deployment_says_so(
    api: Api, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__ALLOW_PRIVATE_HOSTS", "false")
    get_settings.cache_clear()
    try:
        with pytest.raises(TerminalError, match="private address"):
            run()
        assert api.requests == []
    finally:
        monkeypatch.delenv("AIRFLOW__DATAFORGE__ALLOW_PRIVATE_HOSTS")
        get_settings.cache_clear()


def test_requests_keep_their_distance(api: Api, run: Run) -> None:
    api.answer = lambda request: Reply(ROWS[int(request.query["offset"]) :][:5])
    began = time.monotonic()
    run(pagination={"type": "offset", "limit": 5}, requests_per_second=10)
    assert time.monotonic() - began >= 0.2


def test_the_asset_names_connection_and_endpoint() -> None:
    assert HttpConfig(connection="shop_api", endpoint="/v1/orders?x=1").asset() == "dataforge://shop_api/v1/orders"
    assert HttpConfig(connection="shop_api", endpoint="/${run_id}").asset() is None
