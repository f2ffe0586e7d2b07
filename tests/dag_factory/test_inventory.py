from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataforge.dag_factory.inventory import Inventory, errors, ready

Put = Callable[..., Path]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def inventory(folder: Path, tmp_path: Path) -> Inventory:
    return Inventory(folder, tmp_path / "memory" / "inventory.sqlite")


def update(inventory: Inventory, **seconds: float) -> set[str]:
    with inventory.transaction() as con:
        return inventory.update(con, **seconds)  # type: ignore[arg-type]  # recheck is the one bool


def names(inventory: Inventory) -> list[str]:
    with inventory.transaction() as con:
        return [one.dag_id for one in ready(con)]


def texts(inventory: Inventory) -> dict[str, str]:
    with inventory.transaction() as con:
        return errors(con)


def old(path: Path) -> Path:
    """Make the file look as if nobody had written to it for a while."""
    stat = path.stat()
    os.utime(path, (stat.st_atime, stat.st_mtime - 60))
    return path


def test_only_files_that_changed_are_read_again(inventory: Inventory, put: Put) -> None:
    put("a.json")
    put("team/b.json")
    assert update(inventory) == {"a.json", "team/b.json"}
    assert not inventory.stale()
    assert update(inventory) == set()
    put("a.json", schedule="@daily")
    assert inventory.stale()
    assert update(inventory) == {"a.json"}


def test_a_second_process_finds_what_the_first_one_read(inventory: Inventory, put: Put) -> None:
    put("a.json")
    update(inventory)
    assert update(Inventory(inventory.root, inventory.memory)) == set()
    assert names(Inventory(inventory.root, inventory.memory)) == ["a"]


def test_a_change_of_the_same_size_within_one_second_is_seen(inventory: Inventory, put: Put) -> None:
    first = put("a.json", description="one")
    stat = first.stat()
    update(inventory)
    second = put("a.json", description="two")
    os.utime(second, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # only the inode tells them apart
    assert inventory.stale()
    assert update(inventory) == {"a.json"}


def test_changed_defaults_touch_their_own_sub_tree_only(inventory: Inventory, put: Put) -> None:
    put("a.json")
    put("team/b.json")
    put("team/defaults.json", {"owner": "first"})
    update(inventory)
    put("team/defaults.json", {"owner": "second"})
    assert update(inventory) == {"team/b.json", "team/defaults.json"}
    with inventory.transaction() as con:
        assert json.loads(ready(con, "team/b.json")[0].text)["owner"] == "second"


def test_one_bad_file_hides_no_other_and_is_told_with_its_place(inventory: Inventory, put: Put) -> None:
    put("good.json")
    old(put("syntax.json", '{\n  "dag_id": "x",\n}'))
    put("typo.json", sorce={"type": "csv"})
    put("deep.json", "[" * 100_000)
    put("bytes.json", "").write_bytes(b"\xff\xfe\x00")
    update(inventory)
    assert names(inventory) == ["good"]
    found = texts(inventory)
    assert set(found) == {"syntax.json", "typo.json", "deep.json", "bytes.json"}
    assert found["syntax.json"].startswith("syntax.json:2:16: ")
    assert "unknown key 'sorce'" in found["typo.json"]
    assert "did you mean 'source'" in found["typo.json"]


def test_a_thousand_bad_configs_hide_none_of_a_thousand_good_ones(inventory: Inventory, put: Put) -> None:
    wrong: list[dict[str, Any]] = [
        {"sorce": {"type": "csv"}},
        {"schedule": "@dialy"},
        {"transforms": [{"type": "fliter", "where": "amount > 0"}]},
        {"destination": {"type": "postgres", "connection": "warehouse"}},
    ]
    for number in range(1_000):
        put(f"good_{number}.json")
        put(f"bad_{number}.json", **wrong[number % len(wrong)])
    put("bad_deep.json", "[" * 100_000)
    put("bad_large.json", "x" * 50_000_000)
    update(inventory)
    assert set(names(inventory)) == {f"good_{number}" for number in range(1_000)}
    found = texts(inventory)
    assert len(found) == 1_002
    assert all(text.startswith(f"{name}:") for name, text in found.items())


def test_all_problems_of_a_file_are_told_one_a_line(inventory: Inventory, put: Put) -> None:
    put("a.json", catchup="maybe", sorce=1, max_active_runs=0)
    update(inventory)
    lines = texts(inventory)["a.json"].splitlines()
    assert len(lines) == 3
    assert all(line.startswith("a.json:") for line in lines)


def test_transforms_that_can_not_work_are_told_before_anything_runs(inventory: Inventory, put: Put) -> None:
    steps = [{"type": "select", "columns": ["id"]}, {"type": "filter", "where": "amuont > 0"}]
    put("a.json", transforms=steps)
    update(inventory)
    assert "amuont" in texts(inventory)["a.json"]
    assert texts(inventory)["a.json"].startswith("a.json:")
    assert names(inventory) == []


def test_a_half_written_file_changes_nothing_until_it_is_whole(inventory: Inventory, put: Put, pipeline: Make) -> None:
    whole = json.dumps(pipeline("a"))
    path = put("a.json", whole)
    update(inventory)
    path.write_text(whole[:40])
    assert update(inventory) == set()
    assert names(inventory) == ["a"]
    assert texts(inventory) == {}
    assert inventory.stale(), "it must be looked at again, even if its time does not change"
    path.write_text(whole)
    assert update(inventory) <= {"a.json"}
    assert names(inventory) == ["a"]


def test_a_file_that_stays_half_written_becomes_an_error(inventory: Inventory, put: Put) -> None:
    path = put("a.json", '{"dag_id": "a"')
    assert update(inventory) == set()
    old(path)
    assert update(inventory) == {"a.json"}
    assert "ends too early" in texts(inventory)["a.json"]


def test_of_two_files_with_one_dag_id_the_deployed_one_stays_and_both_are_named(
    inventory: Inventory, put: Put, pipeline: Make
) -> None:
    put("z_first.json", pipeline("orders", schedule="@daily"))
    update(inventory)
    put("a_second.json", pipeline("orders", schedule="@hourly"))
    update(inventory)
    with inventory.transaction() as con:
        assert [(one.dag_id, one.path) for one in ready(con)] == [("orders", "z_first.json")]
    found = texts(inventory)
    assert set(found) == {"a_second.json"}
    assert found["a_second.json"].startswith("a_second.json:2:13: dag_id 'orders'")
    assert "'z_first.json', which stays in force" in found["a_second.json"]


def test_a_dag_id_stays_taken_while_its_file_is_broken_and_is_free_once_it_is_gone(
    inventory: Inventory, put: Put, pipeline: Make
) -> None:
    first = put("first.json", pipeline("orders"))
    update(inventory)
    put("second.json", pipeline("orders"))
    update(inventory)
    first.write_text("{]")
    update(inventory)
    assert names(inventory) == []
    first.unlink()
    update(inventory)
    with inventory.transaction() as con:
        assert [(one.dag_id, one.path) for one in ready(con)] == [("orders", "second.json")]
    assert texts(inventory) == {}


def test_a_matrix_gives_a_pipeline_for_each_of_its_cells(inventory: Inventory, put: Put, pipeline: Make) -> None:
    put("tenants.json", pipeline("load_${matrix.tenant}", matrix={"tenant": ["a", "b"]}))
    update(inventory)
    assert names(inventory) == ["load_a", "load_b"]


def test_a_folder_that_is_away_for_a_moment_takes_no_pipeline_away(inventory: Inventory, put: Put) -> None:
    put("a.json")
    update(inventory)
    inventory.root.rename(inventory.root.with_name("elsewhere"))
    update(inventory)
    assert names(inventory) == ["a"]


def test_a_damaged_memory_is_made_anew(inventory: Inventory, put: Put) -> None:
    put("a.json")
    update(inventory)
    inventory.memory.write_bytes(b"SQLite format 3\x00" + b"rubbish" * 500)
    update(inventory)
    assert names(inventory) == ["a"]


def test_a_memory_of_another_release_is_read_anew_but_keeps_who_was_first(
    inventory: Inventory, put: Put, pipeline: Make
) -> None:
    put("z.json", pipeline("orders"))
    update(inventory)
    put("a.json", pipeline("orders"))
    update(inventory)
    con = sqlite3.connect(inventory.memory)
    con.execute("UPDATE about SET version = '0.0.0'")
    con.commit()
    con.close()
    assert update(Inventory(inventory.root, inventory.memory)) >= {"a.json", "z.json"}
    with inventory.transaction() as con:
        assert [one.path for one in ready(con)] == ["z.json"]


def test_nothing_is_remembered_of_an_update_that_failed(inventory: Inventory, put: Put) -> None:
    put("a.json")
    with pytest.raises(KeyboardInterrupt), inventory.transaction() as con:
        inventory.update(con)
        raise KeyboardInterrupt
    assert inventory.stale()
    assert update(inventory) == {"a.json"}


def test_compiling_sql_is_spread_over_updates_when_there_is_much(inventory: Inventory, put: Put) -> None:
    for number in range(3):
        put(f"p{number}.json")
    assert len(update(inventory, sql_seconds=-1)) == 3
    assert names(inventory) == ["p0", "p1", "p2"], "pipelines run before their SQL is shown"
    assert inventory.stale()
    assert len(update(inventory, sql_seconds=60)) == 3
    with inventory.transaction() as con:
        assert all('"amount" > 0' in one.sql for one in ready(con))
    assert not inventory.stale()


def test_many_changed_files_are_read_bit_by_bit_and_edits_come_before_new_ones(inventory: Inventory, put: Put) -> None:
    for number in range(3):
        put(f"old{number}.json")
    update(inventory)
    for number in range(5):
        put(f"new{number}.json")
    put("old1.json", description="changed")
    assert update(inventory, seconds=-1) == {"old1.json"}
    assert inventory.unread == 5
    rounds = 0
    while inventory.stale():
        update(inventory, seconds=-1)
        rounds += 1
    assert rounds == 5
    assert names(inventory) == [f"new{number}" for number in range(5)] + [f"old{number}" for number in range(3)]


def test_one_pipeline_is_found_without_reading_the_others(inventory: Inventory, put: Put) -> None:
    path = put("a.json")
    put("b.json")
    update(inventory)
    found = inventory.find("a")
    assert found is not None
    assert (found.path, json.loads(found.text)["dag_id"]) == ("a.json", "a")
    assert inventory.find("unknown") is None
    put("a.json", schedule="@daily")
    assert inventory.find("a") is None, "what is remembered of a changed file is not used"
    path.unlink()
    assert inventory.find("a") is None


def test_read_by_several_processes_a_folder_is_remembered_as_if_read_by_one(
    folder: Path, put: Put, pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        put(f"p{number}.json", schedule=f"{number} 6 * * *")
    put("broken.json", '{"dag_id": "broken",}')
    put("column.json", transforms=[{"type": "select", "columns": ["id"]}, {"type": "filter", "where": "amuont > 0"}])
    put("twice.json", pipeline("p3"))
    put("matrix.json", pipeline("m_${matrix.t}", matrix={"t": ["x", "y"]}))
    old(put("half.json", '{"dag_id": "half"'))
    put("young.json", '{"dag_id": "young"')

    def remembered(name: str, processes: int) -> list[list[tuple[object, ...]]]:
        monkeypatch.setattr("dataforge.dag_factory.inventory.MANY", 2)
        monkeypatch.setattr("dataforge.dag_factory.forks.processes", lambda: processes)
        inventory = Inventory(folder, tmp_path / name)
        with inventory.transaction() as con:
            inventory.update(con)
            assert inventory.stale(), "a file is half-written"
            return [con.execute(f"SELECT * FROM {table}").fetchall() for table in ("files", "pipelines")]

    one = remembered("one", 1)
    assert remembered("three", 3) == one
    assert {path for path, _, error in one[0] if error} == {"broken.json", "column.json", "half.json"}
    assert len(one[1]) == 16
