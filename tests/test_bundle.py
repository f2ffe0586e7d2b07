from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.dag_factory.conftest"]  # the same folder and the same pipelines

Put = Callable[..., Path]
Make = Callable[..., dict[str, Any]]
Open = Callable[..., Any]


@pytest.fixture
def bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return a function that opens the bundle as a new process would, optionally at a version."""
    from dataforge.bundle import ConfigBundle

    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))

    def open_(version: str | None = None) -> ConfigBundle:
        opened = ConfigBundle(name="pipelines", version=version)
        opened.initialize()
        return opened

    return open_


def stubs(bundle: Any) -> set[str]:
    return {path.relative_to(bundle.path).as_posix() for path in bundle.path.rglob("*.py")}


def version(bundle: Any) -> str:
    found = bundle.get_current_version()
    assert found is not None
    return str(found.version)


def load(path: Path, dag_id: str | None = None) -> dict[str, Any]:
    """Run a stub as Airflow does; in a task's process when a dag_id is given. Return its DAGs by id."""
    from airflow.sdk import DAG

    found: dict[str, Any] = {"__file__": str(path)}
    with pytest.MonkeyPatch.context() as patch:
        if dag_id is not None:
            patch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
        exec(compile(path.read_text(), str(path), "exec"), found)
    return {value.dag_id: value for value in found.values() if isinstance(value, DAG)}


def test_each_config_has_a_dag_file_of_its_own_name(bundle: Open, put: Put) -> None:
    put("a.json")
    put("team/b.json")
    opened = bundle()
    assert stubs(opened) == {"a.json.py", "team/b.json.py"}
    assert set(load(opened.path / "team/b.json.py")) == {"b"}
    for path in opened.path.rglob("*.py"):
        text = path.read_text()
        assert "airflow" in text, "else Airflow's safe mode takes it for something else"
        assert "dag" in text


def test_the_dag_file_of_an_invalid_config_raises_its_findings(bundle: Open, put: Put) -> None:
    put("good.json")
    path = put("bad.json", '{\n  "dag_id": "bad",,\n}')
    os.utime(path, (1, 1))
    opened = bundle()
    with pytest.raises(Exception, match=r"^bad\.json:2:19: "):
        load(opened.path / "bad.json.py")
    assert set(load(opened.path / "good.json.py")) == {"good"}


def test_no_text_of_a_config_can_run_as_python(bundle: Open, put: Put, tmp_path: Path) -> None:
    from dataforge.dag_factory.stub import InvalidConfigError

    mark = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    hostile = f"'''\n\"\"\"\n'); {code} #\\"
    put("a.json", description=hostile, transforms=[{"type": "derive", "columns": {hostile[:40]: "1"}}])
    put("b'\\n.json", "{")
    put('c".json', {hostile: hostile})
    put("d.json", '{"dag_id": "' + hostile)
    put("e\n" + code[:20].replace("/", "_") + ".json", "{}")
    for path in bundle().path.rglob("*.py"):
        with contextlib.suppress(InvalidConfigError):
            assert load(path)["a"].description == hostile
    assert not mark.exists()


def test_an_unchanged_folder_keeps_version_and_files_as_they_are(bundle: Open, put: Put) -> None:
    put("a.json")
    opened = bundle()
    before = version(opened), (opened.path / "a.json.py").stat().st_mtime_ns
    opened.refresh()
    assert (version(bundle()), (opened.path / "a.json.py").stat().st_mtime_ns) == before


def test_an_edit_rewrites_one_stub_with_a_later_second_and_makes_a_version(bundle: Open, put: Put) -> None:
    put("a.json", description="one")
    put("b.json")
    opened = bundle()
    first, kept = version(opened), (opened.path / "b.json.py").stat().st_ino
    before = (opened.path / "a.json.py").stat()
    put("a.json", description="two")
    opened.refresh()
    after = (opened.path / "a.json.py").stat()
    assert version(opened) != first
    assert (opened.path / "b.json.py").stat().st_ino == kept
    assert after.st_size == before.st_size
    assert int(after.st_mtime) > int(before.st_mtime), "compiled Python is found by size and second"


def test_a_pinned_version_keeps_the_config_it_had(bundle: Open, put: Put) -> None:
    put("a.json", description="one")
    put("b.json")
    opened = bundle()
    first = version(opened)
    put("a.json", description="two")
    (opened.configs / "b.json").unlink()
    opened.refresh()
    pinned = bundle(first)
    assert load(pinned.path / "a.json.py")["a"].description == "one"
    assert set(load(pinned.path / "b.json.py")) == {"b"}
    assert load(opened.path / "a.json.py")["a"].description == "two"
    assert stubs(opened) == {"a.json.py"}
    assert version(pinned) == first


def test_going_back_to_an_earlier_config_is_the_earlier_version(bundle: Open, put: Put) -> None:
    put("a.json", description="one")
    opened = bundle()
    first = version(opened)
    put("a.json", description="two")
    opened.refresh()
    put("a.json", description="one")
    opened.refresh()
    assert version(opened) == first


def test_a_run_under_way_survives_the_renaming_of_its_config(bundle: Open, put: Put, pipeline: Make) -> None:
    path = put("a.json", pipeline("orders", description="one"))
    opened = bundle()
    first = version(opened)
    path.rename(path.with_name("b.json"))
    opened.refresh()
    put("b.json", pipeline("orders", description="two"))
    opened.refresh()
    assert stubs(opened) == {"b.json.py"}
    # Airflow looks for the DAG's newest file name in the oldest version
    dags = load(bundle(first).path / "b.json.py", "orders")
    assert dags["orders"].description == "one"


def test_a_missing_version_that_equals_the_configs_is_made_again(bundle: Open, put: Put) -> None:
    put("a.json")
    opened = bundle()
    pinned = version(opened)
    shutil.rmtree(opened.base_dir)
    assert set(load(bundle(pinned).path / "a.json.py")) == {"a"}
    with pytest.raises(FileNotFoundError, match="no version 'feedfeedfeedfeed' here"):
        bundle("feedfeedfeedfeed")


def test_a_damaged_folder_of_stubs_is_mended_at_the_next_start(bundle: Open, put: Put) -> None:
    put("a.json")
    opened = bundle()
    shutil.rmtree(opened.tracking)
    assert stubs(bundle()) == {"a.json.py"}


def test_a_broken_config_keeps_its_file_name_and_comes_back_when_mended(bundle: Open, put: Put) -> None:
    put("a.json")
    opened = bundle()
    put("a.json", nonsense=1)
    opened.refresh()
    assert stubs(opened) == {"a.json.py"}
    with pytest.raises(Exception, match="unknown key 'nonsense'"):
        load(opened.path / "a.json.py")
    put("a.json")
    opened.refresh()
    assert set(load(opened.path / "a.json.py")) == {"a"}


def test_a_matrix_with_a_duplicate_keeps_its_other_pipelines(bundle: Open, put: Put, pipeline: Make) -> None:
    put("a.json", pipeline("load_x"))
    opened = bundle()
    put("m.json", pipeline("load_${matrix.t}", matrix={"t": ["x", "y"]}))
    opened.refresh()
    assert stubs(opened) == {"a.json.py", "m.json.py", "m.json.errors.py"}
    assert set(load(opened.path / "m.json.py")) == {"load_y"}
    with pytest.raises(Exception, match=r"dag_id 'load_x' of 'm\.json' is already used by 'a\.json'"):
        load(opened.path / "m.json.errors.py")


def test_large_folders_are_packed_into_few_files_and_invalid_configs_stay_apart(
    bundle: Open,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dataforge.settings import get_settings

    monkeypatch.setenv("AIRFLOW__DATAFORGE__SHARD_ABOVE", "20")
    get_settings.cache_clear()
    for number in range(20):
        put(f"p{number:02}.json")
    opened = bundle()
    single = version(opened)
    assert len(stubs(opened)) == 20
    put("p20.json")
    put("bad.json", nonsense=1)
    opened.refresh()
    packed = stubs(opened)
    assert "bad.json.py" in packed
    assert 2 <= len(packed) - 1 <= 8
    found = {dag_id for name in packed - {"bad.json.py"} for dag_id in load(opened.path / name)}
    assert found == {f"p{number:02}" for number in range(21)}
    home = next(name for name in packed - {"bad.json.py"} if "p07" in load(opened.path / name))
    assert set(load(opened.path / home, "p07")) == {"p07"}, "a task's process builds its own DAG alone"
    assert set(load(bundle(single).path / home, "p07")) == {"p07"}, "runs from before find their DAG in the new place"
    before = {name: (opened.path / name).stat().st_mtime_ns for name in packed}
    put("p07.json", description="changed")
    opened.refresh()
    changed = {name for name in packed if (opened.path / name).stat().st_mtime_ns != before[name]}
    assert changed == {home}


def test_a_packed_dag_file_does_not_grow_with_its_configs_and_changes_with_each_of_them(
    bundle: Open, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataforge.settings import get_settings

    monkeypatch.setenv("AIRFLOW__DATAFORGE__SHARD_ABOVE", "2")
    get_settings.cache_clear()
    for number in range(3):
        put(f"p{number}.json", description="first " + "x" * 4000)
    opened = bundle()
    before = version(opened)
    assert {path.stat().st_size < 1000 for path in opened.path.rglob("*.py")} == {True}, "Airflow stores it per DAG"
    put("p1.json", description="second")
    opened.refresh()
    home = next(name for name in stubs(opened) if "p1" in load(opened.path / name))
    pinned = bundle(before)
    assert (pinned.path / home).read_text() != (opened.path / home).read_text()
    assert str(load(pinned.path / home, "p1")["p1"].description).startswith("first")
    assert load(opened.path / home, "p1")["p1"].description == "second"
    for number in range(3):
        put(f"p{number}.json").unlink()
    opened.refresh()
    assert [path for path in opened.path.rglob("*") if path.is_file() and path.suffix != ".pyc"] == []


def test_many_configs_that_arrive_at_once_are_read_over_several_refreshes(
    bundle: Open, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = bundle()
    for number in range(60):
        put(f"p{number:02}.json")
    monkeypatch.setattr("dataforge.bundle.PORTION_SECONDS", 0)
    opened.refresh()
    first = stubs(opened)
    assert len(first) == 1
    assert first <= {f"shards_8/{number:04}.py" for number in range(8)}, "packed as all of them will be"
    monkeypatch.setattr("dataforge.bundle.PORTION_SECONDS", 60)
    opened.refresh()
    found = [dag_id for name in stubs(opened) for dag_id in load(opened.path / name)]
    assert sorted(found) == [f"p{number:02}" for number in range(60)]


def test_a_stub_changed_soon_after_it_was_written_is_newer_than_the_parse_under_way(bundle: Open, put: Put) -> None:
    put("a.json")
    opened = bundle()
    stub = opened.path / "a.json.py"
    put("a.json", description="changed while Airflow parses it")
    opened.refresh()
    assert stub.stat().st_mtime > time.time(), "else Airflow would take it for parsed and not look again"
    os.utime(stub, (time.time() - 3600,) * 2)
    put("a.json", description="changed later")
    opened.refresh()
    assert stub.stat().st_mtime <= time.time()


def test_stubs_that_nobody_remembers_are_removed_at_the_next_start(bundle: Open, put: Put) -> None:
    put("a.json")
    opened = bundle()
    (opened.base_dir / "inventory.sqlite").unlink()
    (opened.tracking / "shards_2").mkdir()
    (opened.tracking / "shards_2" / "0000.py").write_text("# of another release")
    assert stubs(bundle()) == {"a.json.py"}


def test_old_snapshots_that_no_task_used_are_removed(bundle: Open, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataforge.bundle.KEEP_SNAPSHOTS", 2)
    monkeypatch.setattr("dataforge.bundle.KEEP_SECONDS", -1)
    opened = bundle()
    for number in range(5):
        put("a.json", description=str(number))
        opened.refresh()
    kept = {path.name for path in opened.versions_dir.iterdir()}
    assert version(opened) in kept
    assert len(kept) <= 3


def test_names_that_are_too_long_for_a_file_are_shortened(bundle: Open, put: Put, pipeline: Make) -> None:
    put("x" * 245 + ".json", pipeline("long"))
    opened = bundle()
    (name,) = stubs(opened)
    assert len(name) < 60
    assert set(load(opened.path / name)) == {"long"}


def test_killed_half_way_the_next_start_finishes_the_work(put: Put, folder: Path, tmp_path: Path, bundle: Open) -> None:
    for number in range(30):
        put(f"p{number}.json")
    script = (
        "import os, dataforge.bundle as b\n"
        "real, count = b.write_file, []\n"
        "def write(path, text):\n"
        "    count.append(1)\n"
        "    if len(count) == 10: os._exit(9)\n"
        "    real(path, text)\n"
        "b.write_file = write\n"
        "b.ConfigBundle(name='pipelines').initialize()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": "plugins"}, check=False)
    assert done.returncode == 9
    opened = bundle()
    assert len(stubs(opened)) == 30
    assert json.loads(json.dumps(version(opened)))
