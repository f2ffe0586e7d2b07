"""Loads into files that are killed at every step, run twice at once, or meet a full disk: the target stays right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import s3_server
from tests.destinations import file_child

from dataforge.components.base import Connection
from dataforge.components.paths import filesystem
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations import _file_ledger, _file_place
from dataforge.destinations._file_ledger import FileLedger
from dataforge.settings import get_settings

ROOT = Path(__file__).parents[2]
FIRST, SECOND, THIRD = "1" * 16, "2" * 16, "3" * 16
REJECT = {"stage": "check", "reason": "no", "record": '{"id":-1}'}


@cache
def client(endpoint: str) -> Any:
    """Return the one S3 client of this process: to make one takes as long as twenty requests."""
    return filesystem(Connection("lake", "aws", login="k", password="s", extra={"endpoint_url": endpoint}))


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Debris needs no age, so that `sweep` can be tried at once; one S3 client serves all."""
    monkeypatch.setattr(_file_ledger, "GRACE", timedelta(seconds=-5))
    monkeypatch.setattr(_file_place, "filesystem", lambda connection: client(connection.extra["endpoint_url"]))
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def lake() -> Iterator[Connection]:
    with s3_server.running("lake") as connection:
        yield connection


class Children:
    """The process that runs jobs."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.destinations.file_child"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        """Run jobs at the same time; return what became of each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        found: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    found = Children()
    yield found
    found.close()


@dataclass
class Target:
    """A place to load into. `config` is the destination's, `shared` the base of every job."""

    config: dict[str, Any]
    output: Path
    scratch: Path
    connection: Connection | None = None

    def job(self, run_key: str, ids: list[int], **more: Any) -> dict[str, Any]:
        connection = asdict(self.connection) if self.connection else None
        return {
            "config": self.config,
            "output": str(self.output),
            "scratch": str(self.scratch),
            "connection": connection,
            "run_key": run_key,
            "ids": ids,
            "digest": f"digest of {ids}",
            **more,
        }

    def load(self, run_key: str, ids: list[int], **more: Any) -> dict[str, Any]:
        """Load in this process."""
        os.environ.pop("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", None)
        try:
            return file_child.perform(self.job(run_key, ids, **more))
        finally:
            os.environ.pop("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", None)

    @contextmanager
    def ledger(self) -> Iterator[FileLedger]:
        os.environ["AIRFLOW__DATAFORGE__OUTPUT_FOLDER"] = str(self.output)
        get_settings.cache_clear()
        try:
            model = DESTINATIONS.get("parquet").config.model_validate(self.config)
            destination: Any = DESTINATIONS.build(model)
            with destination.ledger(file_child.context_of(self.job(FIRST, []))) as ledger:
                yield ledger
        finally:
            os.environ.pop("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", None)

    def live(self) -> list[int]:
        """Return the ids that a reader of the manifest finds."""
        with self.ledger() as ledger:
            manifest, _ = ledger.book.read()
            names = [part.name for part in manifest.parts]
            if ledger.book.file:
                names = [ledger.book.file] if ledger.book.place.stat(ledger.book.file) else []
            return sorted(number for name in names for number in self._ids(name))

    def listed(self) -> list[int]:
        """Return the ids that a reader finds who lists the folder."""
        return sorted(
            number for name in self.files() if "/" not in name and name[0] != "." for number in self._ids(name)
        )

    def files(self) -> list[str]:
        """Return the names of all files, without locks, relative to the folder."""
        base = self._base()
        if self.connection is None:
            found = [str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()]
        else:
            found = [
                name.removeprefix(f"{base}/") for name in client(self.connection.extra["endpoint_url"]).find(str(base))
            ]
        return sorted(name for name in found if not name.endswith(".lock"))

    def _base(self) -> Any:
        path = self.config["path"]
        folder = path if path.endswith("/") else path.rpartition("/")[0]
        return folder.removeprefix("s3://").rstrip("/") if self.connection else self.output / folder

    def _ids(self, name: str) -> list[int]:
        if self.connection is None:
            table = pq.read_table(self._base() / name, partitioning=None)
        else:
            table = pq.read_table(
                pa.BufferReader(client(self.connection.extra["endpoint_url"]).cat_file(f"{self._base()}/{name}"))
            )
        return [number for number in table.column("id").to_pylist() if number is not None]


def target(tmp_path: Path, kind: str, lake: Connection | None, **config: Any) -> Target:
    """Return a fresh target: a dataset folder or a single file, local or in S3."""
    (tmp_path / "scratch").mkdir(parents=True, exist_ok=True)
    folder = f"{tmp_path.parent.name}-{tmp_path.name}/data"
    path = f"{folder}/" if kind != "single" else f"{folder}/orders.parquet"
    where = {"path": f"s3://lake/{path}", "connection": "lake"} if lake else {"path": path}
    disposition = "append" if kind == "append" else "replace"
    base = {"type": "parquet", "write_disposition": disposition, **where, **config}
    return Target(base, tmp_path / "output", tmp_path / "scratch", lake)


def expected_files(place: Target, parts: int, kind: str, letters: int = 1, previous: int = 0) -> None:
    """Assert that there is nothing but live data, the manifest, dead letters and what is kept for an undo."""
    names = place.files()
    kinds = {
        "data": [name for name in names if "/" not in name],
        "manifest": [name for name in names if name.endswith(".json")],
        "letters": [name for name in names if name.endswith(".rejects")],
        "previous": [name for name in names if "previous" in name],
    }
    assert {key: len(found) for key, found in kinds.items()} == {
        "data": parts,
        "manifest": 1,
        "letters": letters,
        "previous": previous,
    }, names
    assert len(names) == parts + 1 + letters + previous, names


@pytest.mark.parametrize("kind", ["append", "replace", "replace and keep", "single", "single and keep"])
@pytest.mark.parametrize("where", ["local", "s3"])
def test_a_load_killed_at_any_step_is_done_once_after_its_retry(
    tmp_path: Path, children: Children, lake: Connection, kind: str, where: str
) -> None:
    keep = kind.endswith("keep")
    kind = kind.split()[0]
    before, after = [1, 2], [1, 2, 3] if kind == "append" else [3]
    here = lake if where == "s3" else None
    config = {"keep_previous": keep} if kind != "append" else {}
    # Killed after a step is killed before the next one; after the last one it is said so.
    for number in range(1, 200):
        place = target(tmp_path / str(number), kind, here, **config)
        assert "error" not in place.load(FIRST, before)
        (outcome,) = children.run(place.job(SECOND, [3], rejects=[REJECT], kill=number))
        assert "error" not in outcome, outcome
        seen = place.live()
        assert seen in (before, after), number
        with place.ledger() as ledger:
            committed = ledger.load(f"run {SECOND}") is not None
        assert committed == (seen == after), number
        retried = place.load(SECOND, [3], rejects=[REJECT])
        assert retried.get("already") == committed, (number, retried)
        assert (retried["rows"], retried["rejected"]) == (1, 1)
        assert place.live() == after, number
        with place.ledger() as ledger:
            assert [one.run_key for one in ledger.loads()] == [SECOND, FIRST]
            assert [one.reject.record for one in ledger.dead_letters()] == [REJECT["record"]]
            if where == "local":
                assert place.listed() == after, number
            ledger.sweep()
            assert ledger.verify() == []
        assert place.listed() == after, number
        expected_files(place, 2 if kind == "append" else 1, kind, previous=1 if keep else 0)
        shutil.rmtree(place.output, ignore_errors=True)
        if "signal" not in outcome:
            break
    assert number > 8


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("kind", ["append", "single"])
def test_loads_of_several_runs_at_once_all_come_true(
    tmp_path: Path, children: Children, lake: Connection, kind: str, where: str
) -> None:
    place = target(tmp_path, kind, lake if where == "s3" else None)
    runs = [str(number) * 16 for number in range(1, 6)]
    outcomes = children.run(*(place.job(run, [number]) for number, run in enumerate(runs)))
    overtaken = [number for number, outcome in enumerate(outcomes) if "error" in outcome]
    if where == "s3" and kind == "single":  # between its PUT of the file and that of the manifest; Airflow tries again
        assert {outcomes[number]["error"] for number in overtaken} <= {"FencedError", "ConflictError"}
        assert len(overtaken) < 5
        assert all("error" not in place.load(runs[number], [number]) for number in overtaken)
    else:
        assert overtaken == []
    with place.ledger() as ledger:
        assert sorted(one.run_key for one in ledger.loads()) == runs
        newest = ledger.loads()[0]
    assert place.live() == ([0, 1, 2, 3, 4] if kind == "append" else [runs.index(newest.run_key)])
    expected_files(place, 5 if kind == "append" else 1, kind, letters=0)


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("kind", ["append", "replace", "single"])
@pytest.mark.parametrize("same", [True, False])
def test_twin_attempts_of_a_run_leave_one_of_them(
    tmp_path: Path, children: Children, lake: Connection, kind: str, where: str, same: bool
) -> None:
    for round_ in range(3):
        place = target(tmp_path / str(round_), kind, lake if where == "s3" else None)
        twins = [place.job(FIRST, [7] if same else [number]) for number in range(3)]
        outcomes = children.run(*twins)
        errors = [outcome.get("error") for outcome in outcomes]
        if same or kind != "single":
            assert errors == [None] * 3
            assert sum(outcome["already"] for outcome in outcomes) == (2 if same else 0)
        else:  # in a bucket one can be overtaken between its PUT of the file and that of the manifest
            assert {None} <= set(errors) <= {None, "FencedError"}
        with place.ledger() as ledger:
            assert [one.run_key for one in ledger.loads()] == [FIRST]
            assert ledger.verify() == []
            ledger.sweep()
        assert len(place.live()) == 1
        assert place.listed() == place.live()
        expected_files(place, 1, kind, letters=0)


def test_two_loads_from_one_cursor_are_not_both_committed(tmp_path: Path, children: Children, lake: Connection) -> None:
    def position(value: int) -> dict[str, Any]:
        return {"source": {"field": "id", "value": str(value), "type": "BIGINT", "ties": []}}

    step = {"mode": "advance", "before": {}, "after": position(2)}
    for where in (None, lake):
        place = target(tmp_path / str(where is None), "append", where)
        outcomes = children.run(*(place.job(run, [1, 2], cursor=step) for run in (FIRST, SECOND)))
        assert sorted(str(outcome.get("error")) for outcome in outcomes) == ["FencedError", "None"]
        assert place.live() == [1, 2]
        with place.ledger() as ledger:
            assert ledger.state().cursor == position(2)
            assert len(ledger.loads()) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An output folder on a file system of 1 MB."""
    folder = tmp_path / "output"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"A FULL DISK WAS NOT TESTED: no tmpfs can be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("kind", ["append", "replace", "single"])
def test_a_full_disk_leaves_the_target_as_it_was(tmp_path: Path, small_disk: Path, kind: str) -> None:
    place = target(tmp_path, kind, None)
    assert "error" not in place.load(FIRST, [1, 2])
    files = place.files()
    for free in range(0, 40_000, 4096):
        # every block that is left is one more step that still succeeds
        room = shutil.disk_usage(small_disk).free
        (small_disk / "ballast").write_bytes(b"x" * (room - free))
        outcome = place.load(SECOND, [3, 4])
        (small_disk / "ballast").unlink()
        if "error" not in outcome:
            break
        assert outcome["error"] == "TransientError", outcome
        assert str(small_disk) in outcome["message"]
        assert place.live() == [1, 2]
        assert place.files() == files, free
    else:
        pytest.fail("the load never had enough room")
    assert free > 0
    assert place.live() == ([1, 2, 3, 4] if kind == "append" else [3, 4])
