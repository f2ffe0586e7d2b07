"""The elasticsearch and opensearch sources against a server that plays their documented API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.search_server import SearchServer, running

from dataforge.components.base import CursorBounds, ExtractContext, RunValues
from dataforge.components.delivery import Reject
from dataforge.components.registry import SOURCES
from dataforge.errors import ServerAway, TerminalError, TransientError
from dataforge.testing import SourceContract


@pytest.fixture(params=[("elasticsearch", "8.15.0"), ("elasticsearch", "7.9.3"), ("opensearch", "2.17.0")])
def server(request: pytest.FixtureRequest) -> Iterator[SearchServer]:
    """A server of each kind."""
    with running(*request.param) as found:
        yield found


def read(server: SearchServer, scratch: Path, rejects: list[Reject] | None = None, **config: Any) -> list[Any]:
    """Return the documents of a source."""
    cursor = config.pop("cursor", None)
    given = {"type": server.distribution, "connection": "search", "index": "orders", **config}
    source: Any = SOURCES.build(SOURCES.get(server.distribution).config.model_validate(given))
    aside: dict[str, Any] = {"reject": rejects.append} if rejects is not None else {}
    connection = {"search": server.connection}.__getitem__
    (path,) = source.extract(ExtractContext(connection, scratch, RunValues(), cursor=cursor, **aside)).paths
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestElasticsearch(SourceContract):
    """What holds for every source."""

    config = {"type": "elasticsearch", "connection": "search", "index": "orders"}
    expected = [{"id": 1, "name": "Zoë", "_id": "a"}, {"id": 2, "name": None, "_id": "b"}]

    @pytest.fixture(autouse=True)
    def _index(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with running() as server:
            server.put("orders", {"a": {"id": 1, "name": "Zoë"}, "b": {"id": 2}})
            monkeypatch.setenv("AIRFLOW_CONN_SEARCH", f"elasticsearch://127.0.0.1:{server.connection.port}/http")
            yield


class TestOpensearch(TestElasticsearch):
    """The same."""

    config = {"type": "opensearch", "connection": "search", "index": "orders"}


def test_all_pages_of_one_state_are_read_and_given_back(server: SearchServer, tmp_path: Path) -> None:
    """Numbers keep their digits; what was opened is closed."""
    server.put("orders", {str(number): b'{"n": %d, "big": 9007199254740993.25}' % number for number in range(25)})
    rows = read(server, tmp_path, page=10)
    assert sorted(row["n"] for row in rows) == list(range(25))
    assert "9007199254740993.25" in (tmp_path / "documents.ndjson").read_text()
    assert server.points == {}
    points = any(request.endswith("/_pit") for request in server.requests)
    assert points is (server.version == "8.15.0")


def test_queries_patterns_and_fields_reach_the_server(server: SearchServer, tmp_path: Path) -> None:
    """And the index of a document is a column by choice."""
    server.put("orders-1", {"a": {"status": "paid"}})
    server.put("orders-2", {"a": {"status": "open"}, "b": {"status": "paid"}})
    rows = read(server, tmp_path, index="orders-*", query={"term": {"status": "paid"}}, index_column="_index")
    assert [(row["_index"], row["_id"]) for row in rows] == [("orders-1", "a"), ("orders-2", "b")]


def test_a_cursor_leaves_out_what_is_older_and_keeps_what_has_no_time(server: SearchServer, tmp_path: Path) -> None:
    """A little more than that, which the runtime cuts exactly."""
    times = {"a": "2025-01-01T00:00:00Z", "b": "2025-01-02T00:00:00Z", "c": None}
    server.put("orders", {id_: {"at": at} if at else {} for id_, at in times.items()})
    bounds = CursorBounds("at", "2025-01-02 00:00:00+00", None, "TIMESTAMP WITH TIME ZONE")
    assert [row["_id"] for row in read(server, tmp_path, cursor=bounds)] == ["b", "c"]


def test_a_part_of_the_shards_is_never_taken_for_the_whole(server: SearchServer, tmp_path: Path) -> None:
    """The run is tried again."""
    server.put("orders", {"a": {}})
    said = {"timed_out": False, "_shards": {"failed": 1}, "hits": {"hits": []}}
    server.faults.append(("POST", "_search", (200, said)))
    with pytest.raises(TransientError, match="1 shards failed"):
        read(server, tmp_path)


def test_a_busy_server_is_asked_again_and_a_refusal_is_told(
    server: SearchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server's reason."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.put("orders", {"a": {"n": 1}})
    server.faults.append(("POST", "_search" if server.version != "8.15.0" else "_pit", (503, {})))
    assert len(read(server, tmp_path)) == 1
    with pytest.raises(TerminalError, match=r"no such index \[orderz\]"):
        read(server, tmp_path, index="orderz")


def test_a_column_of_the_documents_own_is_not_written_over(server: SearchServer, tmp_path: Path) -> None:
    """The document is set aside with its place."""
    server.put("orders", {"a": {"_id": 1}, "b": {}})
    rejects: list[Reject] = []
    assert len(read(server, tmp_path, rejects)) == 1
    assert rejects[0].position == "orders/a"


def test_discovery_gives_the_types_of_the_mapping(server: SearchServer, tmp_path: Path) -> None:
    """Of all indexes; where they differ, text."""
    server.put("orders", {"a": {}})
    server.indexes["orders"].mappings = {"properties": {"n": {"type": "long"}, "at": {"type": "date"}, "o": {}}}
    given = {"type": "elasticsearch", "connection": "search", "index": "orders"}
    source: Any = SOURCES.build(SOURCES.get("elasticsearch").config.model_validate(given))
    found = source.discover(ExtractContext({"search": server.connection}.__getitem__, tmp_path))
    assert found == {"n": "BIGINT", "at": "TIMESTAMPTZ", "o": "JSON", "_id": "VARCHAR"}
    assert source.measure(ExtractContext({"search": server.connection}.__getitem__, tmp_path)) == (1, 1234)


def test_a_server_that_is_away_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password does not show."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with running() as server:
        pass
    object.__setattr__(server.connection, "login", "u")
    object.__setattr__(server.connection, "password", "hush-hush")
    with pytest.raises(ServerAway) as raised:
        read(server, tmp_path)
    assert "hush" not in str(raised.value)
