"""The redis source against a real Valkey: keys by pattern, streams that are read on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests import valkey_server

from dataforge.components.base import Connection, ExtractContext, Position, RunValues
from dataforge.components.delivery import Reject
from dataforge.errors import ServerAway, TerminalError
from dataforge.runtime.connections import lookup
from dataforge.sources.redis import RedisConfig, RedisSource
from dataforge.testing import SourceContract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the module."""
    with valkey_server.running(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def db(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty database of it, which is the connection `cache`."""
    import redis

    monkeypatch.setenv("AIRFLOW_CONN_CACHE", f"redis://127.0.0.1:{urlsplit(server).port}/0")
    with closing(redis.Redis.from_url(server)) as found:
        found.flushall()
        yield found


def read(scratch: Path, rejects: list[Reject] | None = None, position: Position | None = None, **config: Any) -> Any:
    """Return the rows of a source as they stand in its file."""
    model = RedisConfig.model_validate({"type": "redis", "connection": "cache", **config})
    aside: dict[str, Any] = {"reject": rejects.append} if rejects is not None else {}
    context = ExtractContext(lookup, scratch, RunValues(), position=position, **aside)
    (path,) = RedisSource(model).extract(context).paths
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestRedis(SourceContract):
    """What holds for every source."""

    config = {
        "type": "redis",
        "connection": "cache",
        "pattern": "order:*",
        "columns": {"id": "bigint"},
    }
    expected = [{"id": 1, "name": "Zoë", "_key": "order:1"}, {"id": 2, "name": None, "_key": "order:2"}]

    @pytest.fixture(autouse=True)
    def _keys(self, db: Any) -> None:
        db.hset("order:1", mapping={"id": 1, "name": "Zoë"})
        db.hset("order:2", mapping={"id": 2})
        db.set("order:text", "no hash")
        db.hset("other:1", mapping={"id": 3})


class TestKeys:
    """Keys by pattern."""

    def test_all_keys_of_many_are_read_once(self, db: Any, tmp_path: Path) -> None:
        """Over many pages of the scan."""
        with db.pipeline(transaction=False) as pipe:
            for number in range(5_000):
                pipe.set(f"n:{number}", number)
            pipe.execute()
        rows = read(tmp_path, pattern="n:*", kind="string")
        assert sorted(int(row["value"]) for row in rows) == list(range(5_000))

    def test_json_texts_keep_their_digits(self, db: Any, tmp_path: Path) -> None:
        """They are copied."""
        db.set("j:1", '{"n": 9007199254740993,\n "x": {"y": 1}}')
        assert read(tmp_path, pattern="j:*", kind="json") == [{"n": 9007199254740993, "x": {"y": 1}, "_key": "j:1"}]

    def test_what_is_no_text_or_no_json_is_set_aside(self, db: Any, tmp_path: Path) -> None:
        """With its key."""
        for key, value in {"j:1": "{}", "j:2": "no", "j:3": "[1]", "j:4": '{"_key": 1}'}.items():
            db.set(key, value)
        db.hset("h:1", mapping={"a": b"\xff"})
        rejects: list[Reject] = []
        assert read(tmp_path, rejects, pattern="j:*", kind="json") == [{"_key": "j:1"}]
        assert read(tmp_path, rejects, pattern="h:*") == []
        assert sorted(one.position for one in rejects) == ["h:1", "j:2", "j:3", "j:4"]
        with pytest.raises(TerminalError, match="h:1: the value is not UTF-8"):
            read(tmp_path, pattern="h:*")

    def test_either_a_pattern_or_streams_are_needed(self) -> None:
        """Not both."""
        with pytest.raises(ValueError, match="either"):
            RedisConfig(connection="cache")


class TestStreams:
    """Entries of streams."""

    def test_each_run_reads_on_and_a_run_done_again_reads_its_own(self, db: Any, tmp_path: Path) -> None:
        """By the entries' ids, which are committed with the rows."""
        for number in range(3):
            db.xadd("s", {"n": number}, id=f"{number + 1}-0")
        reached: list[Any] = []
        first = read(tmp_path, position=Position(reach=reached.append), streams=["s"])
        assert [(row["n"], row["_id"], row["_key"]) for row in first] == [
            ("0", "1-0", "s"),
            ("1", "2-0", "s"),
            ("2", "3-0", "s"),
        ]
        db.xadd("s", {"n": 3}, id="4-0")
        assert [row["n"] for row in read(tmp_path, position=Position(reached[0]), streams=["s"])] == ["3"]
        own = Position({"s": "1-0@1"}, {"s": "2-0@2"})
        assert [row["n"] for row in read(tmp_path, position=own, streams=["s"], max_records=1)] == ["1"]
        assert [row["n"] for row in read(tmp_path, position=Position({"s": "3-0"}), streams=["s"])] == ["3"]
        db.xtrim("s", minid="3-0", approximate=False)
        with pytest.raises(TerminalError, match="can't be read again"):
            read(tmp_path, position=own, streams=["s"])
        assert read(tmp_path, position=Position({"s": "4-0@4"}), streams=["s"]) == []  # trimmed, but not unread

    def test_a_run_done_again_does_not_miss_what_was_gone_before_it(self, db: Any, tmp_path: Path) -> None:
        """Entries that were trimmed or deleted before the run read the first time."""
        for number in range(5):
            db.xadd("s", {"n": number}, id=f"{number + 1}-0")
        db.xtrim("s", minid="3-0", approximate=False)
        db.xdel("s", "4-0")
        reached: list[Any] = []
        read(tmp_path, position=Position(reach=reached.append), streams=["s"])
        again = Position(None, reached[0])
        assert [row["n"] for row in read(tmp_path, position=again, streams=["s"])] == ["2", "4"]
        assert read(tmp_path, position=Position(reached[0]), streams=["s"]) == []
        db.xdel("s", "5-0")
        with pytest.raises(TerminalError, match="can't be read again"):
            read(tmp_path, position=again, streams=["s"])

    def test_limits_end_a_run_and_the_next_one_goes_on(self, db: Any, tmp_path: Path) -> None:
        """In every stream."""
        for number in range(5):
            db.xadd("a", {"n": number}, id=f"{number + 1}-0")
            db.xadd("b", {"n": number}, id=f"{number + 1}-0")
        seen, before = [], None
        for _ in range(3):
            reached: list[Any] = []
            rows = read(tmp_path, position=Position(before, reach=reached.append), streams=["a", "b"], max_records=2)
            seen += [(row["_key"], int(row["n"])) for row in rows]
            before = reached[0]
        assert sorted(seen) == [(name, number) for name in "ab" for number in range(5)]

    @pytest.mark.parametrize("how", ["trimmed", "anew"])
    def test_entries_that_are_lost_end_the_run_unless_the_config_says_otherwise(
        self, how: str, db: Any, tmp_path: Path
    ) -> None:
        """Trimming and a stream made anew are told."""
        for number in range(5):
            db.xadd("s", {"n": number}, id=f"{number + 1}-0")
        if how == "trimmed":
            db.xtrim("s", maxlen=1, approximate=False)
        else:
            db.delete("s")
            db.xadd("s", {"n": 9}, id="1-5")
        position = Position({"s": "2-0@2"})
        with pytest.raises(TerminalError, match=r"made anew|2 entries behind 2-0 were removed"):
            read(tmp_path, position=position, streams=["s"])
        rows = read(tmp_path, position=position, streams=["s"], on_lost="continue")
        assert [row["n"] for row in rows] == (["4"] if how == "trimmed" else ["9"])


def test_a_server_that_is_away_can_be_tried_again(tmp_path: Path) -> None:
    """Its password does not show."""
    pytest.importorskip("redis")
    connection = Connection("cache", "redis", "127.0.0.1", 1, password="hush-hush")
    config = RedisConfig(connection="cache", pattern="*")
    with pytest.raises(ServerAway) as raised:
        RedisSource(config).check(ExtractContext({"cache": connection}.__getitem__, tmp_path))
    assert "hush" not in str(raised.value)
