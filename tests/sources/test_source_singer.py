"""The singer source against a real tap on Meltano's SDK, and against what broken taps write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest

from dataforge.components.base import ExtractContext, Position
from dataforge.components.registry import SOURCES
from dataforge.config.pipeline import parse
from dataforge.dag_factory.check import component_problems
from dataforge.errors import ConfigError, TerminalError, TransientError
from dataforge.runtime import fused
from dataforge.runtime.connections import lookup
from dataforge.runtime.context import local
from dataforge.settings import get_settings
from dataforge.sources import _tap
from dataforge.testing import SourceContract

pytest.importorskip("singer_sdk")
ROOT = Path(__file__).parents[2]
TOKEN = "sk-very-secret-1234"
BOOKS = [
    {"id": 1, "title": "a", "price": 1.10, "changed_at": "2025-01-01T00:00:00Z", "tags": ["x"]},
    {"id": 2, "title": "b", "price": 20, "changed_at": "2025-01-02T00:00:00Z", "tags": []},
]
SHELF = {"type": "singer", "tap": "tap-shelf", "connection": "shelf", "stream": "books"}
CONFIG = {**SHELF, "tap": "tap-plain"}
Settings = Callable[..., None]


def install(site: Path, name: str, module: str) -> None:
    """Put a distribution with one console script into a folder, as an installer would."""
    about = site / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[console_scripts]\n{name} = {module}:main\n")


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tap, on the path of this process and of its children."""
    folder = tmp_path / "site"
    for name in ("tap-shelf", "tap-plain"):
        module = name.replace("-", "_")
        install(folder, name, module)
        shutil.copy(ROOT / "tests" / "packages" / "tap-shelf" / f"{module}.py", folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return folder


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A function that puts the tap's settings into its connection."""

    def put(**changes: Any) -> None:
        extra = {"books": BOOKS, "token": TOKEN, "url": "https://example.org/a", **changes}
        monkeypatch.setenv("AIRFLOW_CONN_SHELF", json.dumps({"conn_type": "generic", "extra": extra}))

    put()
    return put


@pytest.fixture
def broken(site: Path) -> Callable[[str], dict[str, Any]]:
    """A function that installs a tap which prints a text, and returns a config for it."""

    def make(text: str) -> dict[str, Any]:
        install(site, "tap-broken", "tap_broken")
        catalog = {"streams": [{"tap_stream_id": "books", "stream": "books", "schema": {"properties": {}}}]}
        (site / "tap_broken.py").write_text(
            f"import sys\ndef main():\n    print({json.dumps(json.dumps(catalog))} if '--discover' in sys.argv "
            f"else {text!r})\n"
        )
        return {**CONFIG, "tap": "tap-broken"}

    return make


def extract(folder: Path, config: dict[str, Any], **context: Any) -> list[dict[str, Any]]:
    source: Any = SOURCES.build(SOURCES.get("singer").config.model_validate(config))
    files = source.extract(ExtractContext(lookup, folder, **context))
    return [json.loads(line) for line in files.paths[0].read_text().splitlines()]


class TestContract(SourceContract):
    config: ClassVar[dict[str, Any]] = CONFIG
    expected: ClassVar[list[dict[str, Any]]] = []

    def test_gives_the_expected_rows(self, tmp_path: Path) -> None:
        """The whole pipeline shows it, types and all (below)."""

    def test_a_sample_is_enough_for_a_preview(self, tmp_path: Path) -> None:
        """A preview asks for few rows and gets no more."""
        assert len(self.read(tmp_path, sample=1)) == 1

    def test_gives_the_same_rows_again(self, tmp_path: Path) -> None:
        """The state test below reads twice."""


def pipeline(**source: Any) -> Any:
    target = {"type": "duckdb", "table": "books", "write_disposition": "merge", "primary_key": ["id"]}
    return parse({"dag_id": "shelf", "source": {**SHELF, **source}, "destination": target})


def stored() -> list[tuple[Any, ...]]:
    with duckdb.connect(str(get_settings().output_folder / "warehouse.duckdb"), read_only=True) as con:
        return con.execute("SELECT id, title, price::DOUBLE, changed_at::VARCHAR FROM books ORDER BY 1").fetchall()


def test_the_state_is_committed_with_the_rows_and_the_next_run_goes_on_from_it(settings: Settings) -> None:
    config = pipeline(resume=True)
    fused.run(config, local(config, {}))
    assert stored() == [(1, "a", 1.1, "2025-01-01 00:00:00+00"), (2, "b", 20.0, "2025-01-02 00:00:00+00")]
    # were it read from the beginning, the first book would come back with its new title
    changed = [
        {**BOOKS[0], "title": "not seen"},
        {**BOOKS[1], "title": "b2"},
        {**BOOKS[1], "id": 3, "changed_at": "2025-01-03T00:00:00Z"},
    ]
    settings(books=changed)
    run = local(config, {})
    fused.run(config, run)
    assert [row[:2] for row in stored()] == [(1, "a"), (2, "b2"), (3, "b")]
    with pytest.raises(TerminalError, match="dataforge undo"):
        fused.run(config, local(config, {}, run_id=run.run_id))


def test_only_selected_properties_come(tmp_path: Path) -> None:
    (first, _) = extract(tmp_path, {**CONFIG, "select": ["id", "title"]})
    assert first == {"id": 1, "title": "a"}


def test_the_tap_tells_its_columns(tmp_path: Path) -> None:
    source: Any = SOURCES.build(SOURCES.get("singer").config.model_validate(SHELF))
    assert source.discover(ExtractContext(lookup, tmp_path)) == {
        "id": "BIGINT", "title": "VARCHAR", "price": "", "changed_at": "TIMESTAMPTZ", "tags": "JSON",
    }  # fmt: skip


def test_secrets_show_neither_in_the_log_nor_in_the_error_and_the_settings_are_private(
    tmp_path: Path, settings: Settings
) -> None:
    said: list[str] = []
    settings(fail=True)
    with pytest.raises(TransientError, match=r"exit code 1: .*refused: \*\*\*") as failure:
        extract(tmp_path, CONFIG, log=lambda message, **fields: said.append(str(fields)))
    assert any("calling with token ***" in line for line in said)
    assert TOKEN not in str(failure.value) + "".join(said)
    assert (tmp_path / "tap-config.json").stat().st_mode & 0o077 == 0


def test_the_environment_of_airflow_does_not_reach_the_tap(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "x")
    said: list[str] = []
    settings(show_environment=True)
    extract(tmp_path, CONFIG, log=lambda message, **fields: said.append(str(fields)))
    assert "PYTHONPATH" in "".join(said)
    assert "AIRFLOW" not in "".join(said)


def test_a_tap_that_hangs_is_ended_with_what_it_started(tmp_path: Path, settings: Settings) -> None:
    pids = tmp_path / "pids"
    settings(hang=str(pids))
    with pytest.raises(TransientError, match="took longer than 3 s"):
        extract(tmp_path, {**CONFIG, "timeout": "3s"})
    assert_gone(pids)


def test_a_tap_ends_when_the_task_is_killed(tmp_path: Path, settings: Settings) -> None:
    pids = tmp_path / "pids"
    settings(hang=str(pids))
    code = (
        "import sys, json, pathlib; from dataforge.components.registry import SOURCES\n"
        "from dataforge.components.base import ExtractContext; from dataforge.runtime.connections import lookup\n"
        "source = SOURCES.build(SOURCES.get('singer').config.model_validate(json.loads(sys.argv[1])))\n"
        "source.extract(ExtractContext(lookup, pathlib.Path(sys.argv[2])))"
    )
    paths = os.pathsep.join([str(ROOT / "plugins"), os.environ["PYTHONPATH"]])
    task = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(CONFIG), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (pids.exists() and pids.read_text().count(" ")) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        task.send_signal(signal.SIGKILL)
        task.wait()
    assert_gone(pids)


def assert_gone(pids: Path) -> None:
    numbers = [int(text) for text in pids.read_text().split()]
    assert len(numbers) == 2
    deadline = time.monotonic() + 20
    while any(_lives(pid) for pid in numbers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_lives, numbers))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_tap_that_nobody_listens_to_any_more_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    point = _tap.installed("tap-plain")
    assert point is not None
    log: Callable[..., None] = lambda message, **fields: None
    lines = _tap.Tap(point, {"books": [], "hang": str(pids)}, tmp_path, log, seconds=60, stall=60)
    (tmp_path / "catalog").write_text('{"streams": [{"metadata": []}]}')
    run = lines.run(["--catalog", str(tmp_path / "catalog")])
    assert b"SCHEMA" in next(run)
    deadline = time.monotonic() + 30
    while not (pids.exists() and pids.read_text().count(" ")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.close()
    assert_gone(pids)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "6 bytes that are no Singer message"),
        ('{"type": "RECORD", "stream": "books"}', "without a record"),
        ('{"type": "RECORD", "stream": "books", "record": {}} x', "no Singer message"),
        ('{"type": "STATE", "value": "' + "x" * 2_000_000 + '"}', "a state of more than"),
    ],
)
def test_what_is_no_message_ends_the_run(
    tmp_path: Path, broken: Callable[[str], dict[str, Any]], text: str, message: str
) -> None:
    with pytest.raises(TerminalError, match=message) as found:
        extract(tmp_path, broken(text))
    assert text not in str(found.value)


def test_digits_of_numbers_stay_and_other_streams_are_left_out(
    tmp_path: Path, broken: Callable[[str], dict[str, Any]]
) -> None:
    number = "12345678901234567890.123456789"
    lines = [
        '{"type":"SCHEMA","stream":"books","schema":{},"key_properties":[]}',
        '{ "record" : {"n": %s, "s": "a\\nb"}, "stream":"books", "type" : "RECORD", "version": 1 }'.replace(
            "%s", number
        ),
        '{"type": "RECORD", "stream": "other", "record": {"n": 1}}',
        '{"type": "STATE", "value": {"a": [1, 2]}}',
    ]
    reached: list[Any] = []
    source: Any = SOURCES.build(SOURCES.get("singer").config.model_validate(broken("\n".join(lines))))
    files = source.extract(ExtractContext(lookup, tmp_path, position=Position(reach=reached.append)))
    assert files.paths[0].read_text() == '{"n": %s, "s": "a\\nb"}\n'.replace("%s", number)
    assert reached == [{"a": [1, 2]}]


def test_findings_name_what_is_not_there(tmp_path: Path) -> None:
    (problem,) = component_problems(pipeline(tap="tap-shelv"))
    assert (problem.code, problem.suggestion) == ("unknown-component", "did you mean 'tap-shelf'?")
    assert [one.code for one in component_problems(pipeline(resume=True, cursor_field="id"))] == ["conflicting-keys"]
    for changes, hint in (
        ({"stream": "book"}, "did you mean 'books'"),
        ({"select": ["titel"]}, "did you mean 'title'"),
    ):
        with pytest.raises(ConfigError, match=hint):
            extract(tmp_path, {**CONFIG, **changes})


def test_no_path_leads_to_a_tap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tap-anything").write_text("#!/bin/sh\n")
    (tmp_path / "tap-anything").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert _tap.installed("tap-anything") is None
    with pytest.raises(ValueError, match="tap"):
        SOURCES.get("singer").config.model_validate({**CONFIG, "tap": "../tap-x"})


def test_the_example_is_sound() -> None:
    data = json.loads((ROOT / "docs" / "examples" / "singer.json").read_text())
    assert parse(data).dag_id == "github_issues"
