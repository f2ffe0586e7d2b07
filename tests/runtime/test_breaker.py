"""Circuit breakers: against a reference model, with many threads, and around real calls to a server that goes away."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dataforge.components.base import Connection, ExtractContext, RunValues
from dataforge.errors import ServerAway, TerminalError, TransientError
from dataforge.runtime.breaker import PREFIX, Breakers, Circuit, FileStore, Store, guarded
from dataforge.runtime.context import TaskContext
from dataforge.settings import Settings
from dataforge.sources.http_ import HttpConfig, HttpSource

SHOP = Connection("shop", "http", "shop.test", 80)
START = datetime(2026, 3, 29, 0, 59, tzinfo=timezone.utc)


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class SlowStore:
    """Behaves as Airflow's Variables do: no lock, and writes that take their time; counts what it is asked."""

    def __init__(self, settle: float = 0.0, delay: float = 0.0) -> None:
        self.settle = settle
        self.delay = delay
        self.texts: dict[str, str] = {}
        self.asked: list[str] = []

    def _linger(self, what: str) -> None:
        self.asked.append(what)
        if self.delay:
            time.sleep(random.uniform(0, self.delay))

    def names(self) -> set[str]:
        self._linger("names")
        return set(self.texts)

    def read(self, name: str) -> str | None:
        self._linger("read")
        return self.texts.get(name)

    def write(self, name: str, text: str | None) -> None:
        self._linger("write")
        if text is None:
            self.texts.pop(name, None)
        else:
            self.texts[name] = text

    def exclusive(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


def breakers(store: Store, clock: Clock, failures: int = 5, seconds: float = 60) -> Breakers:
    return Breakers(store, failures, seconds, now=clock, sleep=lambda _: None)


def fail(store: Store, clock: Clock, times: int = 1) -> None:
    for _ in range(times):
        task = breakers(store, clock)
        task.admit(SHOP)
        task.away(ServerAway("connection 'shop': refused", "shop"))


def state(store: Store) -> Circuit | None:
    return Circuit.from_text(store.read(PREFIX + "shop"))


def test_five_failures_in_a_row_open_it_and_the_refusal_says_until_when_and_why() -> None:
    store, clock = SlowStore(), Clock()
    fail(store, clock, 4)
    breakers(store, clock).admit(SHOP)
    fail(store, clock)
    with pytest.raises(TransientError) as refused:
        breakers(store, clock).admit(SHOP)
    assert str(refused.value) == (
        "connection 'shop' is resting until 01:00:00 UTC after 5 failures in a row (last: connection 'shop': refused)"
    )
    assert not isinstance(refused.value, ServerAway)
    assert json.loads(store.texts["dataforge_breaker_shop"]) == {
        "state": "open",
        "failures": 5,
        "opened_at": "2026-03-29T00:59:00.000+00:00",
        "until": "2026-03-29T01:00:00.000+00:00",
        "last_error": "connection 'shop': refused",
        "probe": None,
        "host": "shop.test:80",
    }


def test_a_success_between_failures_starts_the_count_anew() -> None:
    store, clock = SlowStore(), Clock()
    fail(store, clock, 4)
    task = breakers(store, clock)
    task.admit(SHOP)
    task.well()
    assert store.texts == {}
    fail(store, clock, 4)
    breakers(store, clock).admit(SHOP)


def test_a_task_with_nothing_wrong_asks_once_and_writes_nothing() -> None:
    store, clock = SlowStore(), Clock()
    task = breakers(store, clock)
    for name in ("shop", "lake", "shop"):
        task.admit(replace(SHOP, id=name))
    task.well()
    assert store.asked == ["names"]


def test_a_clock_set_back_and_a_mended_connection_end_the_rest() -> None:
    store, clock = SlowStore(), Clock()
    fail(store, clock, 5)
    breakers(store, clock).admit(replace(SHOP, host="new.test"))
    clock.pass_(-3600)
    breakers(store, clock).admit(SHOP)


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"state": "ajar"}', '{"state": "open", "until": "soon"}'])
def test_a_variable_that_somebody_edited_badly_counts_as_closed(text: str) -> None:
    store = SlowStore()
    store.texts[PREFIX + "shop"] = text
    breakers(store, Clock()).admit(SHOP)


def test_secrets_never_reach_the_state() -> None:
    store, clock = SlowStore(), Clock()
    connection = replace(SHOP, password="hunter2-secret", host="user:hunter2-secret@shop.test")
    task = breakers(store, clock)
    task.admit(connection)
    task.away(ServerAway("refused for hunter2-secret", "shop"))
    assert "hunter2" not in store.texts[PREFIX + "shop"]


@dataclass
class Model:
    """The three states as one would draw them on paper; tasks are numbers."""

    failures: int
    seconds: float
    state: str = "closed"
    count: int = 0
    until: datetime = START
    probe: int | None = None
    saw: dict[int, bool] = field(default_factory=dict)

    def begin(self, task: int, now: datetime) -> bool:
        self.saw[task] = self.count > 0
        if self.state == "closed":
            return True
        if now < self.until:
            return False
        self.state, self.probe, self.until = "half-open", task, now + timedelta(seconds=self.seconds)
        return True

    def end(self, task: int, outcome: str, now: datetime) -> None:
        mine = self.state == "half-open" and self.probe == task
        if outcome == "away" and (mine or self.state == "closed"):
            self.count += 1
            if mine or self.count >= self.failures:
                self.state, self.probe, self.until = "open", None, now + timedelta(seconds=self.seconds)
        elif outcome == "well" and (mine or (self.state == "closed" and self.saw[task])):
            self.state, self.probe, self.count = "closed", None, 0
        elif outcome == "other" and mine:
            self.state, self.probe, self.until = "open", None, now


@pytest.mark.parametrize("seed", range(200))
def test_it_does_what_the_model_does_in_any_order_of_events(seed: int) -> None:
    pick = random.Random(seed)
    store, clock = SlowStore(), Clock()
    model = Model(failures=pick.randint(1, 5), seconds=60)
    running: dict[int, Breakers] = {}
    for number in range(120):
        event = pick.choice(("begin", "begin", "away", "away", "well", "other", "time"))
        if event == "time":
            clock.pass_(pick.choice((0.5, 20, 59.5, 60, 61)))
        elif event == "begin":
            task = breakers(store, clock, model.failures, model.seconds)
            allowed = model.begin(number, clock())
            with contextlib.nullcontext() if allowed else pytest.raises(TransientError, match="'shop' is"):
                task.admit(SHOP)
            if allowed:
                running[number] = task
        elif running:
            ended = pick.choice(sorted(running))
            task = running.pop(ended)
            model.end(ended, event, clock())
            if event == "away":
                task.away(ServerAway("refused", "shop"))
            else:
                (task.well if event == "well" else task.give_back)()
        seen = state(store) or Circuit()
        assert (seen.state, seen.failures) == (model.state, model.count), (number, event)


@pytest.mark.parametrize("kind", ["variables", "file"])
def test_of_a_hundred_threads_exactly_one_tries_the_server(kind: str, tmp_path: Path) -> None:
    variables = SlowStore(settle=0.6, delay=0.02)
    store: Store = variables if kind == "variables" else FileStore(tmp_path / "breakers.json")
    past = datetime.now(timezone.utc) - timedelta(seconds=1)
    circuit = Circuit("open", 5, past.isoformat(), past.isoformat(), "refused", None, "shop.test:80")
    with store.exclusive():
        store.write(PREFIX + "shop", circuit.to_text())
    gate, lock = threading.Barrier(100), threading.Lock()
    told = {"through": 0, "refused": 0}

    def task() -> None:
        own = Breakers(store, 5, 60)
        gate.wait()
        try:
            own.admit(SHOP)
            outcome = "through"
        except TransientError:
            outcome = "refused"
        with lock:
            told[outcome] += 1

    threads = [threading.Thread(target=task) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {"through": 1, "refused": 99}


def test_a_probe_that_was_killed_is_taken_over_after_the_rest() -> None:
    store, clock = SlowStore(), Clock()
    fail(store, clock, 5)
    clock.pass_(60)
    breakers(store, clock).admit(SHOP)  # killed: it never comes back
    with pytest.raises(TransientError, match="is being tried by another task"):
        breakers(store, clock).admit(SHOP)
    clock.pass_(60)
    breakers(store, clock).admit(SHOP)


@dataclass
class Server:
    """A real HTTP server at one port that can go away and come back; counts requests."""

    port: int
    status: int = 200
    requests: int = 0
    running: ThreadingHTTPServer | None = None

    def up(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                body = b'[{"id": 1}]'
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.running = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.running.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        if self.running is not None:
            self.running.shutdown()
            self.running.server_close()
            self.running = None


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(free.getsockname()[1])
    yield server
    server.down()


@pytest.fixture
def task(server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Run what a task runs: a guarded context, a source that asks the server; return the number of records."""
    from dataforge.sources import _http

    monkeypatch.setattr(_http, "FIRST_WAIT", 0.01)
    host = f"http://127.0.0.1:{server.port}"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "http", "host": host}))
    settings = Settings(breaker_failures=3, breaker_seconds=0.8)

    def run() -> int:
        base = TaskContext(
            "d", "r", RunValues(), settings=settings, connection=lambda name: Connection(name, "http", host)
        )
        with guarded(base) as context, context.scratch() as scratch:
            source = HttpSource(HttpConfig(connection="shop", endpoint="/x"))
            files = source.extract(ExtractContext(context.connection, scratch))
            return len(files.paths[0].read_bytes().splitlines())

    return run


def test_tasks_fail_fast_while_a_server_is_away_and_go_on_when_it_is_back(
    server: Server, task: Callable[[], int], home: Path
) -> None:
    file = home / "dataforge" / "breakers.json"
    for _ in range(3):
        with pytest.raises(ServerAway, match="refused"):
            task()
    assert json.loads(json.loads(file.read_text())["dataforge_breaker_shop"])["state"] == "open"
    server.up()
    with pytest.raises(TransientError, match="'shop' is resting until"):
        task()
    assert server.requests == 0
    time.sleep(0.9)
    assert task() == 1
    assert json.loads(file.read_text()) == {}
    assert task() == 1


def test_a_probe_that_fails_opens_it_again(server: Server, task: Callable[[], int]) -> None:
    for _ in range(3):
        with pytest.raises(ServerAway):
            task()
    time.sleep(0.9)
    with pytest.raises(ServerAway):
        task()
    with pytest.raises(TransientError, match="after 4 failures in a row"):
        task()


@pytest.mark.parametrize(("status", "error"), [(404, TerminalError), (401, TerminalError), (429, TransientError)])
def test_answers_that_a_bad_config_or_a_limit_brings_never_open_it(
    server: Server, task: Callable[[], int], home: Path, status: int, error: type[Exception]
) -> None:
    server.status = status
    server.up()
    for _ in range(5):
        with pytest.raises(error, match=str(status)):
            task()
    assert not (home / "dataforge" / "breakers.json").exists()


def test_states_that_cant_be_kept_stop_no_task(server: Server, task: Callable[[], int], home: Path) -> None:
    server.up()
    home.mkdir()
    (home / "dataforge").write_text("a file where a folder belongs")
    assert task() == 1
    server.down()
    with pytest.raises(ServerAway):
        task()


def test_zero_seconds_switch_it_off(tmp_path: Path) -> None:
    context = TaskContext("d", "r", RunValues(), settings=Settings(breaker_seconds=0))
    with guarded(context) as same:
        assert same is context
