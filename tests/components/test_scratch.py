"""Scratch folders: nobody's are removed, and never one of a process that lives; processes are real ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dataforge.components.base import RunValues
from dataforge.components.scratch import PREFIX, claim, claimed, sweep
from dataforge.runtime import clean_up
from dataforge.runtime.context import TaskContext
from dataforge.settings import Settings

NOW = timedelta(0)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def killed(action: Callable[[], object]) -> None:
    """Do something in another process, which is then killed."""
    child = os.fork()
    if child == 0:
        action()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def leave(parent: Path, owner: str) -> None:
    """Leave the folder of a killed process behind, with something in it."""
    killed(lambda: (claim(parent, owner).folder / "spill").write_bytes(b"x" * 100))


def test_a_folder_is_empty_private_and_removed_afterwards(parent: Path) -> None:
    with claimed(parent, "run") as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "spill").write_bytes(b"x")
    assert list(parent.iterdir()) == []


def test_the_next_attempt_of_the_same_run_removes_what_a_kill_left(parent: Path) -> None:
    leave(parent, "run")
    leave(parent, "another")
    with claimed(parent, "run"):
        assert len(list(parent.iterdir())) == 2
    assert [path.name.startswith(PREFIX) for path in parent.iterdir()] == [True]


def test_the_folder_of_a_living_attempt_stays_whoever_sweeps(parent: Path) -> None:
    with claimed(parent, "run") as mine, claimed(parent, "run") as twin:
        killed(lambda: sweep(parent, older_than=NOW))
        assert sweep(parent, "run") == sweep(parent, older_than=NOW) == 0
        assert mine.is_dir()
        assert twin.is_dir()


def test_others_go_by_age_alone(parent: Path) -> None:
    leave(parent, "run")
    assert sweep(parent, older_than=timedelta(hours=1)) == 0
    (folder,) = parent.iterdir()
    for path in (folder / "spill", folder):
        os.utime(path, (0, 0))
    assert sweep(parent, older_than=timedelta(hours=1)) == 1
    assert list(parent.iterdir()) == []


def test_what_is_not_ours_stays(parent: Path, tmp_path: Path) -> None:
    parent.mkdir()
    (parent / "other").mkdir()
    (tmp_path / "precious").mkdir()
    (parent / f"{PREFIX}x").symlink_to(tmp_path / "precious")
    assert sweep(parent, older_than=NOW) == 0
    assert (tmp_path / "precious").is_dir()
    assert (parent / "other").is_dir()
    assert sweep(tmp_path / "missing", older_than=NOW) == 0


def test_the_janitor_removes_them_beside_staged_records(parent: Path, tmp_path: Path) -> None:
    leave(parent, "run")
    settings = Settings(scratch_folder=parent, staging_url=f"file://{tmp_path}/staging", staging_retention_hours=1e-9)
    with TaskContext("orders", "r", RunValues(), settings=settings).scratch() as alive:
        clean_up.sweep(settings)
        assert list(parent.iterdir()) == [alive]
