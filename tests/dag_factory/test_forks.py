from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from dataforge.dag_factory import forks
from dataforge.dag_factory.forks import divided

HERE = os.getpid()


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three processes whatever the machine; none is left behind."""
    monkeypatch.setattr(forks, "processes", lambda: 3)
    before = children()  # servers that other tests share
    yield
    assert children() <= before


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_every_item_is_worked_out_once_and_not_all_here() -> None:
    found = list(divided(lambda item: (item * item, os.getpid()), range(100)))
    assert sorted((item, square) for item, (square, _) in found) == [(item, item * item) for item in range(100)]
    assert len({pid for _, (_, pid) in found}) == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_there_may_be_fewer_items_than_processes(count: int) -> None:
    assert sorted(divided(str, range(count))) == [(item, str(item)) for item in range(count)]


def test_what_a_fork_fails_to_deliver_is_worked_out_here() -> None:
    def fails_elsewhere(item: int) -> int:
        if os.getpid() != HERE:
            raise RuntimeError(item)
        return -item

    assert sorted(divided(fails_elsewhere, range(9))) == [(item, -item) for item in range(9)]


def test_a_fork_that_was_killed_costs_no_result() -> None:
    def dies_elsewhere(item: int) -> int:
        if os.getpid() != HERE:
            os.kill(os.getpid(), 9)
        return -item

    assert sorted(divided(dies_elsewhere, range(9))) == [(item, -item) for item in range(9)]


def test_results_that_can_not_be_sent_are_worked_out_here() -> None:
    found = dict(divided(lambda _: threading.Lock(), range(6)))
    assert len(found) == 6


def test_a_fork_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE_SECONDS", 0.1)

    def hangs_elsewhere(item: int) -> int:
        if os.getpid() != HERE:
            time.sleep(600)
        return -item

    assert sorted(divided(hangs_elsewhere, range(6))) == [(item, -item) for item in range(6)]


def test_an_error_here_is_raised_here() -> None:
    def fails(item: int) -> int:
        raise RuntimeError(item)

    with pytest.raises(RuntimeError, match="0"):
        list(divided(fails, range(6)))


def test_without_a_process_to_spare_all_is_worked_out_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> object:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(forks, "_fork", refused)
    assert sorted(divided(str, range(7))) == [(item, str(item)) for item in range(7)]
