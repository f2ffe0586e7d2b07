"""Requests are counted exactly: by the store for several processes, and by a real Redis or Valkey server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context

import pytest
from tests.valkey_server import running

from dataforge.cli.diagnosis import diagnose
from dataforge.errors import ConfigError, TransientError
from dataforge.settings import get_settings
from dataforge.store import limits
from dataforge.store.database import open_store

ASKED = 14


def from_store(_: int) -> int:
    """Ask as often as a process may; return how often it was allowed."""
    store = open_store()
    return sum(limits.take(store, "ada", "request", limit=20, seconds=900).allowed for _ in range(ASKED))


def from_server(url: str, _: int) -> int:
    """Do the same with a server."""
    return sum(limits.take_from(url, "ada", "request", limit=20, seconds=900).allowed for _ in range(ASKED))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server."""
    with running(tmp_path_factory.mktemp("valkey")) as url:
        yield url


def test_the_store_counts_exactly_for_several_processes() -> None:
    open_store()
    with get_context("fork").Pool(4) as pool:
        assert sum(pool.map(from_store, range(4), chunksize=1)) == 20


def test_a_server_counts_exactly_for_several_processes(server: str) -> None:
    with get_context("fork").Pool(4) as pool:
        assert sum(pool.map(partial(from_server, server), range(4), chunksize=1)) == 20
    told = limits.take_from(server, "ada", "request", limit=20, seconds=900)
    assert (told.allowed, told.remaining) == (False, 0)
    assert 890 < told.reset <= 900
    assert limits.take_from(server, "eve", "request", limit=20, seconds=900).remaining == 19
    assert limits.take_from(server, "ada", "generate", limit=20, seconds=900).remaining == 19


def test_doctor_tells_where_requests_are_counted_and_when_nobody_answers(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, away = server.replace("redis:", "valkey:"), "redis://somebody:s3cr3t-w0rd@localhost:1/0"
    for url, state, said in ((there, "ok", "counts the requests"), (away, "error", "ConnectionError")):
        monkeypatch.setenv("AIRFLOW__DATAFORGE__LIMITS_URL", url)
        get_settings.cache_clear()
        (found,) = (one for one in diagnose() if one.check == "limits")
        assert (found.state, said in found.message, "s3cr3t" in found.message) == (state, True, False), found


def test_what_a_server_counted_is_free_again_after_the_time(server: str) -> None:
    taken = [limits.take_from(server.replace("redis:", "valkey:"), "otto", "x", limit=1, seconds=1) for _ in range(2)]
    assert [one.allowed for one in taken] == [True, False]
    time.sleep(1.05)
    assert limits.take_from(server, "otto", "x", limit=1, seconds=1).allowed


def test_a_server_that_is_away_or_not_named_well_is_told_without_its_password() -> None:
    pytest.importorskip("redis")
    with pytest.raises(TransientError) as away:
        limits.take_from("redis://:hunter2@127.0.0.1:1/0", "ada", "x", limit=1, seconds=1)
    for url in ("http://:hunter2@h", "redis://:hunter2@h:port/0"):
        with pytest.raises(ConfigError, match="limits_url") as wrong:
            limits.take_from(url, "ada", "x", limit=1, seconds=1)
        assert "hunter2" not in str(wrong.value)
    assert "hunter2" not in str(away.value)


def test_a_missing_client_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    limits._opened.cache_clear()
    monkeypatch.setattr(limits, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as found:
        limits.take_from("redis://127.0.0.1:1/0", "ada", "x", limit=1, seconds=1)
    assert found.value.problems[0].suggestion == "install airflow-dataforge[redis]"
