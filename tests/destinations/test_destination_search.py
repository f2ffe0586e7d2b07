"""The elasticsearch and opensearch destinations against a server that plays their documented API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.search_server import SearchServer, running

from dataforge.components.base import ExtractContext, LoadContext, LoadReport
from dataforge.components.delivery import CursorPosition, CursorStep, Reject, RejectLimit
from dataforge.components.registry import DESTINATIONS
from dataforge.components.retry import Policy
from dataforge.config.delivery import letter
from dataforge.config.pipeline import parse
from dataforge.errors import FencedError, TerminalError, TransientError
from dataforge.testing import ComponentContract, Rows

ROWS = pa.table({"id": pa.array(range(2_500), pa.int64()), "name": [f"n{n}" if n % 7 else None for n in range(2_500)]})


@pytest.fixture(params=["elasticsearch", "opensearch"])
def server(request: pytest.FixtureRequest) -> Iterator[SearchServer]:
    """A server of each kind."""
    with running(request.param) as found:
        yield found


class Target:
    """An alias to load into."""

    def __init__(self, server: SearchServer, scratch: Path) -> None:
        self.server, self.scratch = server, scratch

    def destination(self, **config: Any) -> Any:
        """Return the destination."""
        kind = self.server.distribution
        given = {"type": kind, "connection": "search", "index": "orders", "primary_key": ["id"], **config}
        return DESTINATIONS.build(DESTINATIONS.get(kind).config.model_validate(given))

    def context(self, run: str, **given: Any) -> LoadContext:
        """Return the context of a run."""
        connection = {"search": self.server.connection}.__getitem__
        return LoadContext(connection, self.scratch, run, "p", run_id=run, target="t", **given)

    def load(self, table: pa.Table, run: str, context: Mapping[str, Any] | None = None, **config: Any) -> LoadReport:
        """Load a table as a run does."""
        report: LoadReport = self.destination(**config).load(Rows(table), self.context(run, **(context or {})))
        return report

    def rows(self) -> dict[str, Any]:
        """Return the documents by id."""
        return self.server.documents("orders")

    def indexes(self) -> list[str]:
        """Return the names of the indexes, but for the ledger's."""
        return [name for name in self.server.indexes if name.startswith("orders")]


@pytest.fixture
def target(server: SearchServer, tmp_path: Path) -> Target:
    """The alias."""
    return Target(server, tmp_path)


class TestElasticsearch(ComponentContract):
    """What holds for every component."""

    kind = "destination"
    config = {"type": "elasticsearch", "connection": "search", "index": "orders", "primary_key": ["id"]}


class TestOpensearch(TestElasticsearch):
    """The same."""

    config = {"type": "opensearch", "connection": "search", "index": "orders", "primary_key": ["id"]}


def test_merge_writes_whole_documents_by_id_and_deletes(target: Target) -> None:
    """Others stay as they are."""
    assert target.load(ROWS, "one").created
    table = pa.table({"id": [1, 2, 9_999], "name": [None, "x", "new"], "gone": [False, True, None]})
    report = target.load(table, "two", delete_flag="gone")
    rows = target.rows()
    assert (report.rows, report.deleted, len(rows), "2" in rows) == (2, 1, 2_500, False)
    assert (rows["1"], rows["9999"]) == ({"id": 1, "name": None}, {"id": 9_999, "name": "new"})
    assert len(target.indexes()) == 1


def test_replace_makes_a_new_index_and_moves_the_alias(target: Target) -> None:
    """The old index goes; a new one of a load that failed goes too."""
    target.load(ROWS, "one", write_disposition="replace")
    (first,) = target.indexes()
    target.load(ROWS.slice(0, 1_500), "two", write_disposition="replace")
    (second,) = target.indexes()
    assert (len(target.rows()), first != second) == (1_500, True)
    with pytest.raises(Exception, match="broke"):
        context = target.context("three")
        target.destination(write_disposition="replace").load(Rows(ROWS, fail_after=1), context)
    for rows, flag in ((0, "allow_empty"), (100, "allow_shrink")):
        with pytest.raises(TerminalError, match=flag):
            target.load(ROWS.slice(0, rows), "three", write_disposition="replace")
    assert target.indexes() == [second]


def test_two_replaces_at_once_do_not_both_move_the_alias(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one finds the alias elsewhere."""
    from dataforge.destinations._search import _Load

    target.load(ROWS, "one", write_disposition="replace")
    move, other = _Load._move, list[int]()

    def overtaken(self: _Load, old: str | None, new: str) -> None:
        if not other:
            other.append(1)
            target.load(ROWS.slice(0, 2_000), "faster", write_disposition="replace")
        move(self, old, new)

    monkeypatch.setattr(_Load, "_move", overtaken)
    with pytest.raises(TerminalError, match="alias"):
        target.load(ROWS, "slower", write_disposition="replace")
    assert (len(target.rows()), len(target.indexes())) == (2_000, 1)


def test_the_same_rows_of_the_same_run_are_written_once(target: Target) -> None:
    """As a retry after a lost answer brings them."""
    target.load(ROWS, "one", {"digest": "d"})
    before = len(target.server.requests)
    report = target.load(ROWS, "one", {"digest": "d"})
    assert (report.already, report.rows) == (True, 2_500)
    assert not any("_bulk" in request for request in target.server.requests[before:])


def test_documents_that_the_server_refuses_are_set_aside_or_end_the_load(target: Target) -> None:
    """Without their values in the reason; others are written."""
    target.load(ROWS.slice(0, 10), "one")
    mixed = pa.table({"id": ["20", "x21", "22"]})  # the mapping says that they are numbers
    with pytest.raises(TerminalError, match=r"document '20': the server refuses.*failed to parse field") as raised:
        target.load(mixed, "two")
    assert "Preview" not in str(raised.value)
    table = pa.table({"id": pa.array([30, 31], pa.int64()), "name": ["a", "b"]})
    (index,) = target.indexes()
    target.server.indexes[index].mappings["properties"]["name"] = {"type": "long"}
    report = target.load(table.slice(0, 1), "three", {"limit": RejectLimit(1, 5)})
    assert (report.rows, report.rejected) == (0, 1)
    with target.destination().ledger(target.context("x")) as ledger:
        (found,) = ledger.dead_letters()
        assert (found.reject.position, json.loads(found.reject.record)) == ("30", {"id": 30, "name": "a"})


def test_a_busy_server_gets_again_only_what_it_did_not_take(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each document by its own status."""
    monkeypatch.setattr("dataforge.destinations._search._POLICY", Policy(3, 0.01))
    target.load(ROWS.slice(0, 2), "one")
    items = [{"index": {"_id": "0", "status": 201}}, {"index": {"_id": "1", "status": 429, "error": {}}}]
    target.server.faults.append(("POST", "_bulk", (200, {"errors": True, "items": items})))
    assert target.load(ROWS.slice(0, 2), "two").rows == 2
    assert sum("_bulk" in request for request in target.server.requests) == 3


def test_cursor_and_marker_are_one_document_and_a_twin_is_fenced_off(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was overtaken while it wrote."""
    from dataforge.destinations._search import _Load

    def step(before: str | None, after: str) -> CursorStep:
        at = {"source": CursorPosition("n", before, "BIGINT")} if before else {}
        return CursorStep("advance", at, {"source": CursorPosition("n", after, "BIGINT")})

    target.load(ROWS, "one", {"cursor": step(None, "5"), "rejects": [Reject("extract", "why", "{}")]})
    with pytest.raises(FencedError):
        target.load(ROWS, "two", {"cursor": step(None, "6")})
    marked, other = _Load._marked, list[int]()

    def overtaken(self: _Load, text: str | None, after: Any) -> bool:
        if not other:
            other.append(1)
            target.load(ROWS.slice(0, 1), "faster", {"cursor": step("5", "7")})
        return marked(self, text, after)

    monkeypatch.setattr(_Load, "_marked", overtaken)
    with pytest.raises(FencedError):
        target.load(ROWS.slice(0, 1), "slower", {"cursor": step("5", "6")})
    with target.destination().ledger(target.context("x")) as ledger:
        cursor: Any = ledger.state().cursor
        assert (cursor["source"]["value"], [one.run_id for one in ledger.loads()]) == ("7", ["faster", "one"])
        assert ledger.dead_letter_counts() == (1, 1)
        ledger.set_cursor(None, "someone")
        assert ledger.state().cursor is None


def test_keys_that_are_missing_or_double_end_the_load(target: Target) -> None:
    """And no marker is written."""
    for table, says in ((pa.table({"id": [1, 1]}), "more than one"), (pa.table({"id": [None]}), "no value")):
        with pytest.raises(TerminalError, match=says):
            target.load(table, "one")
    with target.destination().ledger(target.context("x")) as ledger:
        assert ledger.loads() == []
    assert target.indexes() == []


def test_an_index_in_the_place_of_the_alias_is_refused_and_the_check_says_what_is_there(target: Target) -> None:
    """It was made by somebody else."""
    target.server.put("orders", {"a": {}})
    with pytest.raises(TerminalError, match="is an index, no alias"):
        target.load(ROWS, "one")
    context = ExtractContext({"search": target.server.connection}.__getitem__, target.scratch)
    assert "alias 'others' is to be made" in target.destination(index="others").check(context)


def test_the_sweep_removes_indexes_of_killed_loads_after_a_day(target: Target) -> None:
    """Those behind the alias stay."""
    target.load(ROWS.slice(0, 1), "one")
    (live,) = target.indexes()
    target.server.put("orders-df20200101000000-abc", {})
    with target.destination().ledger(target.context("x")) as ledger:
        assert ledger.sweep() == ["orders-df20200101000000-abc"]
    assert target.indexes() == [live]


def test_a_marker_that_can_not_be_written_can_be_tried_again(target: Target) -> None:
    """The rows are written once more, under the same ids."""
    target.load(ROWS.slice(0, 1), "one")
    name = next(iter(target.server.indexes["dataforge-ledger"].documents))
    target.server.faults.append(("PUT", name, (503, {})))
    with pytest.raises((FencedError, TransientError)):
        target.load(ROWS.slice(0, 2), "two")
    assert target.load(ROWS.slice(0, 2), "two").rows == 2


def test_the_letters_say_what_readers_see() -> None:
    """By key for merge; through the alias for replace."""
    for disposition, expected in (("merge", "K"), ("replace", "M")):
        target = {"connection": "search", "index": "o", "primary_key": ["id"], "write_disposition": disposition}
        config = parse(
            {
                "dag_id": "p",
                "source": {"type": "csv", "path": "a.csv"},
                "destination": {"type": "opensearch", **target},
            }
        )
        assert letter(config)[0].letter == expected
