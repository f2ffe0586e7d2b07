from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.config.samples import SETTINGS, good, plain, read, told, write

import dataforge
from dataforge.config import schema
from dataforge.config.effective import explain
from dataforge.config.files import (
    FolderResult,
    Loaded,
    config_files,
    locate_problems,
    mark_duplicates,
    read_file,
    read_folder,
)
from dataforge.config.findings import CODES
from dataforge.config.pipeline import parse
from dataforge.errors import Problem


def folder(path: Path) -> FolderResult:
    return read_folder(path, settings=SETTINGS)


def one(path: Path, root: Path | None = None) -> Loaded:
    [loaded] = read_file(path, root=root or path.parent, settings=SETTINGS).pipelines
    return loaded


def places(result: FolderResult) -> set[tuple[str, str, int]]:
    return {(finding.file.name, finding.code, finding.line) for finding in result.findings}


def test_a_good_file_gives_its_pipeline_and_no_finding(tmp_path: Path) -> None:
    write(tmp_path, orders=good())
    result = read_file(tmp_path / "orders.json", root=tmp_path, settings=SETTINGS)
    assert result.findings == ()
    assert [loaded.config.dag_id for loaded in result.pipelines] == ["orders_daily"]
    assert parse(result.pipelines[0].data) == result.pipelines[0].config


def test_findings_know_file_line_and_column() -> None:
    result = read(good(default_args={"retrys": 1}, source={"type": "csv"}))
    found = {finding.code: finding for finding in result.findings}
    lines = json.dumps(good(default_args={"retrys": 1}, source={"type": "csv"}), indent=2).split("\n")
    unknown, missing = found["unknown-key"], found["missing-key"]
    assert lines[unknown.line - 1][unknown.column - 1 :].startswith('"retrys"')
    assert unknown.pointer == "/default_args/retrys"
    assert lines[missing.line - 1].strip() == '"source": {'
    assert lines[missing.line - 1][missing.column - 1] == "{"
    assert missing.pointer == "/source/path"


def test_defaults_are_merged_from_the_outermost_folder_inwards(tmp_path: Path) -> None:
    write(tmp_path, defaults={"owner": "all", "default_args": {"retries": 1, "pool": "big"}, "tags": ["a", "b"]})
    write(tmp_path, sales__defaults={"default_args": {"retries": 2}, "tags": ["sales"]})
    write(tmp_path, sales__orders=plain(owner=None, default_args={"queue": "q"}))
    data = one(tmp_path / "sales" / "orders.json", tmp_path).data
    assert data["default_args"] == {"retries": 2, "pool": "big", "queue": "q"}
    assert data["tags"] == ["sales"]
    assert data["owner"] is None


def test_a_component_of_another_type_takes_the_place_of_the_default_whole(tmp_path: Path) -> None:
    write(tmp_path, defaults={"source": {"type": "csv", "path": "a.csv", "delimiter": ";"}})
    write(tmp_path, same={**plain(dag_id="same"), "source": {"type": "csv", "path": "b.csv"}})
    write(tmp_path, other={**plain(dag_id="other"), "source": {"type": "json", "path": "b.json"}})
    write(
        tmp_path,
        many={"dag_id": "many", "destination": plain()["destination"], "sources": {"x": {"type": "csv", "path": "x"}}},
    )
    found = {loaded.config.dag_id: loaded.data for loaded in folder(tmp_path).pipelines}
    assert found["same"]["source"] == {"type": "csv", "path": "b.csv", "delimiter": ";"}
    assert found["other"]["source"] == {"type": "json", "path": "b.json"}
    assert "source" not in found["many"]


def test_a_wrong_default_is_told_once_and_in_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, defaults={"default_args": {"retries": "3"}}, a=plain(dag_id="a"), b=plain(dag_id="b"))
    result = folder(tmp_path)
    assert places(result) == {("defaults.json", "wrong-type", 3)}
    assert len(result.findings) == 1
    assert list(result.pipelines) == []


def test_broken_defaults_stop_the_files_below_and_no_others(tmp_path: Path) -> None:
    write(tmp_path, a=plain(dag_id="a"), sub__defaults='{"owner": ', sub__b=plain(dag_id="b"))
    result = folder(tmp_path)
    assert [loaded.config.dag_id for loaded in result.pipelines] == ["a"]
    assert [file.path.name for file in result.files if file.findings] == ["b.json", "defaults.json"]
    assert places(result) == {("defaults.json", "syntax-error", 1)}


def test_defaults_hold_no_id_and_no_matrix(tmp_path: Path) -> None:
    write(tmp_path, defaults={"dag_id": "x", "matrix": {"a": [1]}, "ownr": "me"})
    assert [(f.code, f.pointer) for f in folder(tmp_path).findings] == [
        ("not-in-defaults", "/dag_id"),
        ("not-in-defaults", "/matrix"),
        ("unknown-key", "/ownr"),
    ]


def test_every_value_in_force_tells_where_it_comes_from(tmp_path: Path) -> None:
    write(tmp_path, defaults={"default_args": {"retries": 1}, "schedule_interval": "@hourly"})
    write(tmp_path, sub__orders=plain(params={"region": "eu"}, description="in ${matrix.x}", matrix={"x": ["y"]}))
    rows = {pointer: (value, origin) for pointer, value, origin in explain(one(tmp_path / "sub/orders.json", tmp_path))}
    assert rows["/default_args/retries"] == (1, "../defaults.json:3")
    assert rows["/schedule"] == ("@hourly", "../defaults.json:5")
    assert rows["/default_args/retry_delay"] == ("5m", "built-in default")
    assert rows["/dag_id"] == ("orders_daily", "orders.json:2")
    assert rows["/description"][0] == "in y"
    region = rows["/params/region/default"]
    lines = (tmp_path / "sub/orders.json").read_text().split("\n")
    assert region[0] == "eu"
    assert '"region"' in lines[int(region[1].split(":")[1]) - 1]
    assert rows["/params/region/minimum"] == (None, "built-in default")


def test_the_revision_changes_with_the_meaning_only(tmp_path: Path) -> None:
    write(tmp_path, a=plain(tags=["x"]), b={"tags": ["x"], "$schema": "s.json", **plain()}, c=plain(tags=["y"]))
    (tmp_path / "d.json").write_text(json.dumps(plain(tags=["x"])), encoding="utf-8")
    a, b, c, d = (one(tmp_path / f"{name}.json").revision for name in "abcd")
    assert a == b == d != c
    assert len(a) == 64


def test_the_order_of_columns_is_part_of_the_revision() -> None:
    steps = [
        [{"type": "derive", "columns": {"x": "1", "y": "2"}}],
        [{"type": "derive", "columns": {"y": "2", "x": "1"}}],
    ]
    revisions = {read(plain(transforms=step)).pipelines[0].revision for step in steps}
    assert len(revisions) == 2


def test_the_same_id_in_two_files_is_told_in_both_and_names_both(tmp_path: Path) -> None:
    write(tmp_path, a=plain(), sub__b=plain(), c=plain(dag_id="c"))
    result = folder(tmp_path)
    assert [loaded.config.dag_id for loaded in result.pipelines] == ["c"]
    assert {finding.file.name for finding in result.findings} == {"a.json", "b.json"}
    for finding in result.findings:
        assert finding.code == "duplicate-dag-id"
        assert finding.pointer == "/dag_id"
        assert str(tmp_path / "a.json") in finding.message
        assert str(tmp_path / "sub" / "b.json") in finding.message
    assert mark_duplicates(result.files) == result.files


def test_hidden_and_ignored_files_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, a=plain(), data__x=plain(), sub__keep=plain(), sub__draft_x=plain())
    for name in (".hidden.json", "b.json~", "#c.json#", "d.json.bak", ".git/e.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{")
    (tmp_path / ".dataforgeignore").write_text("data/\n*draft*\n# a comment\n")
    assert [path.name for path in config_files(tmp_path)] == ["a.json", "keep.json"]


def test_a_file_that_breaks_off_is_incomplete_while_it_is_young(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(good())[:-20])
    result = read_file(path, root=tmp_path, settings=SETTINGS)
    assert result.incomplete
    assert [finding.code for finding in result.findings] == ["syntax-error"]
    os.utime(path, (time.time() - 10, time.time() - 10))
    assert not read_file(path, root=tmp_path, settings=SETTINGS).incomplete
    path.write_text('{"a": }')
    assert not read_file(path, root=tmp_path, settings=SETTINGS).incomplete


def test_nothing_but_regular_files_below_the_folder_is_read(tmp_path: Path) -> None:
    root = tmp_path / "configs"
    write(root, good=plain(), real__target=plain(dag_id="target"))
    write(tmp_path, outside=plain(dag_id="outside"))
    (root / "link.json").symlink_to(root / "real" / "target.json")
    (root / "real" / "target.json").rename(root / "real" / "target.txt")
    (root / "inside.json").symlink_to(root / "real" / "target.txt")
    (root / "escape.json").symlink_to(tmp_path / "outside.json")
    (root / "device.json").symlink_to("/dev/zero")
    (root / "folder.json").mkdir()
    os.mkfifo(root / "pipe.json")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)
        server.bind("sock.json")
        os.chdir(here)
        result = folder(root)
    assert {loaded.config.dag_id for loaded in result.pipelines} == {"orders_daily", "target"}
    assert {(finding.file.name, finding.code) for finding in result.findings} == {
        ("link.json", "broken-link"),
        ("escape.json", "outside-folder"),
        ("device.json", "outside-folder"),
        ("folder.json", "not-a-file"),
        ("pipe.json", "not-a-file"),
        ("sock.json", "not-a-file"),
    }


def test_a_linked_folder_outside_is_not_entered(tmp_path: Path) -> None:
    write(tmp_path / "configs", a=plain())
    write(tmp_path / "elsewhere", b=plain(dag_id="b"))
    (tmp_path / "configs" / "more").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in config_files(tmp_path / "configs")] == ["a.json"]


def test_configs_mounted_by_kubernetes_are_read(tmp_path: Path) -> None:
    write(tmp_path / "configs" / "..2025_01_01", a=plain())
    (tmp_path / "configs" / "..data").symlink_to("..2025_01_01")
    (tmp_path / "configs" / "a.json").symlink_to("..data/a.json")
    assert [loaded.config.dag_id for loaded in folder(tmp_path / "configs").pipelines] == ["orders_daily"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(50_000_000)
    [finding] = folder(tmp_path).findings
    assert finding.code == "too-large"


@pytest.mark.timeout(60)
def test_a_thousand_bad_files_hide_none_of_a_thousand_good_ones(tmp_path: Path) -> None:
    bad: list[Any] = [
        '{"dag_id": "x", ',
        '{"dag_id": 1, "dag_id": 2}',
        plain(source={"type": "cvs"}),
        plain(destnation={}),
        "[]",
        plain(schedule="@dayly", tags=[1, 2]),
        plain(source={"type": "csv", "path": "${params.x}"}),
        plain(owner="AKIAIOSFODNN7EXAMPLE"),
    ]
    for number in range(1000):
        write(tmp_path, **{f"good_{number}": good(dag_id=f"good_{number}"), f"bad_{number}": bad[number % len(bad)]})
    (tmp_path / "bad_0.json").write_text("[" * 100_000)
    with (tmp_path / "bad_1.json").open("wb") as file:
        file.truncate(50_000_000)
    schema.check_structure({})
    result = folder(tmp_path)
    assert len(list(result.pipelines)) == 1000
    wrong = [file for file in result.files if file.findings]
    assert {file.path.name for file in wrong} == {f"bad_{number}.json" for number in range(1000)}
    assert all(finding.line >= 1 and finding.column >= 1 for finding in result.findings)


def test_what_later_checks_find_gets_a_place() -> None:
    loaded = read(good()).pipelines[0]
    problem = Problem("unknown-column", "column 'dy' not found", ("transforms", 1, "where"))
    [finding] = locate_problems([problem], loaded)
    line = json.dumps(good(), indent=2).split("\n")[finding.line - 1]
    assert line[finding.column - 1 :].startswith('"day = ')


def test_a_matrix_makes_one_pipeline_for_each_combination() -> None:
    config = plain(
        dag_id="${matrix.tenant}_${matrix.n}",
        matrix={"tenant": ["a", "b"], "n": [1, 2]},
        source={"type": "csv", "path": "${matrix.tenant}.csv", "skip_rows": "${matrix.n}"},
    )
    result = read(config)
    assert result.findings == ()
    found = [(p.config.dag_id, p.data["source"]["path"], p.data["source"]["skip_rows"]) for p in result.pipelines]
    assert found == [("a_1", "a.csv", 1), ("a_2", "a.csv", 2), ("b_1", "b.csv", 1), ("b_2", "b.csv", 2)]
    assert "matrix" not in result.pipelines[0].data


def test_a_matrix_may_list_its_combinations() -> None:
    matrix = [{"t": "orders", "keys": ["id"]}, {"t": "lines", "keys": ["id", "line"]}]
    config = plain(dag_id="load_${matrix.t}", matrix=matrix, checks=[{"type": "not_null", "columns": "${matrix.keys}"}])
    assert [p.data["checks"][0]["columns"] for p in read(config).pipelines] == [["id"], ["id", "line"]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"matrix": {"t": ["a", "b"]}}, {("duplicate-dag-id", "/dag_id"), ("unused", "/matrix/t")}),
        (
            {"matrix": {"t": ["a"]}, "dag_id": "${matrix.tt}"},
            {("invalid-placeholder", "/dag_id"), ("unused", "/matrix/t")},
        ),
        ({"dag_id": "${matrix.t}"}, {("invalid-placeholder", "/dag_id")}),
        ({"matrix": {"t": "a"}}, {("wrong-type", "/matrix/t")}),
        ({"matrix": {"t": []}}, {("invalid-value", "/matrix/t")}),
        ({"matrix": {}}, {("invalid-value", "/matrix")}),
        ({"matrix": []}, {("invalid-value", "/matrix")}),
        ({"matrix": [1]}, {("wrong-type", "/matrix/0")}),
        ({"matrix": 3}, {("wrong-type", "/matrix")}),
        ({"matrix": {"a": list(range(40)), "b": list(range(40))}}, {("matrix-too-large", "/matrix")}),
        ({"matrix": {"t": ["a b"]}, "dag_id": "x_${matrix.t}"}, {("invalid-value", "/dag_id")}),
        ({"matrix": {"t": [["a"]]}, "dag_id": "x_${matrix.t}"}, {("invalid-placeholder", "/dag_id")}),
    ],
)
def test_a_wrong_matrix_is_told_at_its_place(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    result = read(plain(**changes))
    assert set(told(result)) == expected
    assert result.pipelines == ()


def test_one_bad_combination_leaves_the_others() -> None:
    config = plain(dag_id="x_${matrix.t}", matrix={"t": ["a", "b b", "c"]})
    result = read(config)
    assert [p.config.dag_id for p in result.pipelines] == ["x_a", "x_c"]
    assert told(result) == [("invalid-value", "/dag_id")]


def test_an_older_key_is_an_advice_at_its_key() -> None:
    result = read(plain(schedule_interval="@daily"))
    [finding] = result.findings
    assert (finding.code, finding.severity, finding.pointer) == ("renamed-key", "info", "/schedule_interval")
    assert finding.line > 1
    assert result.pipelines[0].config.schedule == "@daily"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"catchup": True, "schedule": "@daily"}, "/catchup"),
        ({"catchup": True}, "/catchup"),
        ({"end_date": "2025-01-01"}, "/end_date"),
        ({"params": {"region": "eu"}}, "/params/region"),
        ({"default_args": {"retry_delay": "2h"}}, "/default_args/retry_delay"),
    ],
)
def test_what_has_no_effect_is_a_warning(changes: dict[str, Any], pointer: str) -> None:
    result = read(plain(**changes))
    assert [(finding.severity, finding.pointer) for finding in result.findings] == [("warning", pointer)]
    assert len(result.pipelines) == 1


@pytest.mark.parametrize("config", [{}, [], None, 5, "x", {"dag_id": []}, {"source": [], "destination": [[]]}])
def test_odd_values_give_findings_and_nothing_else(config: Any) -> None:
    result = read(json.dumps(config))
    assert result.findings
    assert result.pipelines == ()


def test_every_code_that_is_used_is_in_the_table() -> None:
    package = Path(dataforge.__file__).parent
    pattern = re.compile(r'(?:Problem|note|fail|warn|Fault|_refused)\(\(?\s*(?:code=)?"([a-z]+(?:-[a-z]+)*)"')
    used = {code for path in package.rglob("*.py") for code in pattern.findall(path.read_text(encoding="utf-8"))}
    assert used - set(CODES) == set()
    assert len(used) > 40


def test_a_component_that_cannot_be_imported_hides_no_other_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "broken_source-1.0.dist-info").mkdir(parents=True)
    (package / "broken_source-1.0.dist-info" / "METADATA").write_text("Name: broken-source\nVersion: 1.0\n")
    entry = "[dataforge.sources]\nbroken = broken_source_module\n"
    (package / "broken_source-1.0.dist-info" / "entry_points.txt").write_text(entry)
    (package / "broken_source_module.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(package))
    write(tmp_path / "configs", a=plain(), b=plain(dag_id="b", source={"type": "broken"}))
    result = folder(tmp_path / "configs")
    assert [loaded.config.dag_id for loaded in result.pipelines] == ["orders_daily"]
    assert places(result) == {("b.json", "broken-component", 9)}
    [finding] = result.findings
    assert "a_package_that_is_not_there" in finding.message
