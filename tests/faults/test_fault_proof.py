"""The suite proves itself: with a guard switched off inside the child, the fault that it guards against is noticed.

Each fault is a function that gives the oracle's verdict; it is run as the product is, and with the guard taken out.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.faults.places import FIRST, SECOND, Bench, World, succeed
from tests.faults.proxy import Fault, Proxy
from tests.faults.records import Verdict, generate, judge, row_of
from tests.faults.test_fault_staged import foreign, staged

Off = tuple[str, ...]


def lost_commit(bench: Bench, proxy: Proxy, off: Off) -> Verdict:
    """A process that dies when its last COMMIT was done, and Airflow's next try (F16)."""
    base = bench.base("postgres", "append")
    bench.rehearse(base, proxy)
    last = proxy.count(kind="commit")
    with bench.copy(base) as world:
        proxy.arm(Fault("kill", message=last, kind="commit", when="after"))
        trial = bench.disturb(base, world, off=off)
        assert proxy.struck
        return trial.verdict


def two_runs_from_one_cursor(bench: Bench, proxy: Proxy, off: Off) -> Verdict:
    """Two runs that read from the same cursor before either was loaded (F63)."""
    world = bench.new("postgres", "append", {"source": {"cursor_field": "id"}})
    try:
        records = generate(1, 10)
        world.feed(records[:7])
        succeed(world.run(bench.attempts, FIRST).run())
        before = world.see(debris=False)
        world.feed(records)
        runs = [world.run(bench.attempts, run_id, off=off) for run_id in (SECOND, "third")]
        for run in runs:
            succeed(run.stage())
        for run in runs:
            succeed(run.load())
        seen = world.see(debris=False)
        undisturbed = replace(seen, rows=Counter(map(row_of, records)))
        return judge(
            seen, succeeded=True, before=before, undisturbed=undisturbed, expected=Counter(map(row_of, records))
        )
    finally:
        world.drop()


def foreign_rows(bench: Bench, proxy: Proxy, off: Off) -> Verdict:
    """A staged part in whose place another one was put (F47)."""
    base = bench.base("duckdb", "append")
    with bench.copy(base) as world:
        foreign(staged(world))
        outcome = world.run(bench.attempts, SECOND, tries=1, off=off).load()
        return judge(
            world.see(debris=False),
            succeeded=outcome.ok,
            before=base.before,
            undisturbed=base.undisturbed,
            expected=base.expected,
        )


def nothing_to_replace_with(bench: Bench, proxy: Proxy, off: Off) -> Verdict:
    """A source that suddenly has no records, and a replace that was not allowed to leave none (F58)."""
    changes = {"destination": {"allow_shrink": False}}
    world = bench.new("postgres", "replace", changes)
    try:
        world.feed(generate(1, 7))
        succeed(world.run(bench.attempts, FIRST).run())
        before = world.see(debris=False)
        world.feed([])
        world.run(bench.attempts, SECOND, tries=1, off=off).run()
        return judge(world.see(debris=False), succeeded=False, before=before, undisturbed=before)
    finally:
        world.drop()


SECONDS = 25


@contextmanager
def dripping(bench: Bench) -> Iterator[World]:
    """A world whose source is an HTTP server that sends a byte now and then."""
    body = json.dumps([{"id": number} for number in range(2_000)]).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        with Proxy(("127.0.0.1", upstream.server_port), "http") as proxy:
            assert isinstance(proxy.address, tuple)
            source = {"type": "http", "connection": "api", "endpoint": "/", "timeout": "1s", "path": None}
            world = bench.new("duckdb", "replace", {"source": source})
            proxy.arm(Fault("drip", "reply", 1, seconds=0.2, times=10**6))
            try:
                yield replace(world, api=f"http://127.0.0.1:{proxy.address[1]}")
            finally:
                world.drop()
        upstream.shutdown()


def dripping_answer(bench: Bench, proxy: Proxy, off: Off) -> Verdict:
    """A server that sends a byte each 0.2 s, below every time-out between two bytes (F34, E10)."""
    with dripping(bench) as world:
        run = world.run(bench.attempts, FIRST, tries=1, off=off)
        outcome = bench.attempts.run(run.job("extract"), SECONDS)
        assert not outcome.ok
        if outcome.error == "Timeout":
            return Verdict((f"O7: {outcome.message}",))
        assert outcome.kind == "TransientError", outcome
        return Verdict()


FAULTS: dict[str, tuple[Callable[[Bench, Proxy, Off], Verdict], str]] = {
    "marker": (lost_commit, "O2: 0 records missing, 7 too many"),
    "fence": (two_runs_from_one_cursor, "O2: 0 records missing, 3 too many"),
    "digest": (foreign_rows, "O2: 7 records missing, 7 too many"),
    "zero rows": (nothing_to_replace_with, "O1: failure but 7 of 7 rows are missing"),
    "deadline": (dripping_answer, "O7"),
}


@pytest.mark.parametrize("guard", FAULTS)
def test_with_the_guard_the_fault_does_no_harm(bench: Bench, proxy: Proxy, guard: str) -> None:
    fault, _ = FAULTS[guard]
    verdict = fault(bench, proxy, ())
    assert verdict, verdict


@pytest.mark.parametrize("guard", FAULTS)
def test_without_the_guard_the_oracle_reports_the_harm(bench: Bench, proxy: Proxy, guard: str) -> None:
    fault, harm = FAULTS[guard]
    verdict = fault(bench, proxy, (guard,))
    assert any(violation.startswith(harm) for violation in verdict.violations), f"without {guard}: {verdict}"
