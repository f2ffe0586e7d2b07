"""Delta tables, written to folders and to a real S3 server and read back by deltalake itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pydantic import ValidationError
from tests import s3_server
from tests.destinations.conftest import Rows, rows

from dataforge.components.base import Connection, LoadContext, LoadReport
from dataforge.components.delivery import RejectLimit, SchemaContract
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations import _lake, delta
from dataforge.destinations.delta import DeltaConfig, delta_options
from dataforge.errors import ConfigError, ConflictError, TerminalError
from dataforge.settings import get_settings
from dataforge.testing import DestinationContract


@pytest.fixture(autouse=True)
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The deployment's output folder."""
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    get_settings.cache_clear()
    yield tmp_path / "output"
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def lake() -> Iterator[Connection]:
    """A bucket on a real S3 server."""
    with s3_server.running("lake") as connection:
        yield connection


def load(incoming: Any, run: str = "1", digest: str | None = None, **given: Any) -> LoadReport:
    """Load as that run would."""
    connection, contract = given.pop("lake", None), given.pop("contract", None)
    context = LoadContext(
        lambda _: connection,
        get_settings().output_folder.parent / "scratch",
        run.rjust(16, "0"),
        "d",
        run_id=run,
        target="t",
        digest=digest,
        contract=contract,
        limit=given.pop("limit", RejectLimit()),
    )
    report: LoadReport = DESTINATIONS.build(DeltaConfig(**{"path": "orders", **given})).load(incoming, context)
    return report


def table(options: Mapping[str, str] | None = None, path: str = "") -> DeltaTable:
    """The table as the library opens it."""
    return DeltaTable(path or str(get_settings().output_folder / "orders"), storage_options=dict(options or {}) or None)


def stored(**where: Any) -> list[tuple[Any, ...]]:
    """The rows, without the run column."""
    found = table(**where).to_pyarrow_table().drop_columns("_dataforge_run").to_pylist()
    return sorted((tuple(row.values()) for row in found), key=repr)


class TestDelta(DestinationContract):
    """The general tests."""

    config = {"type": "delta", "path": "orders"}

    def stored(self) -> list[dict[str, Any]]:
        try:
            found = table()
        except Exception:  # noqa: BLE001 - there is no table yet
            return []
        return list(found.to_pyarrow_table().drop_columns("_dataforge_run").to_pylist())


def test_merge_brings_rows_of_known_keys_up_to_date() -> None:
    key: dict[str, Any] = {"write_disposition": "merge", "primary_key": ("id",)}
    load(rows(id=[1, 2], name=["a", "b"]), "1", **key)
    report = load(rows(id=[2, 3], name=["B", "c"]), "2", **key)
    assert (report.inserted, report.updated) == (1, 1)
    assert stored() == [(1, "a"), (2, "B"), (3, "c")]
    with pytest.raises(TerminalError, match="1 of 3 records have the key 'id' of another"):
        load(rows(id=[4, 4, 5], name=["x", "y", "z"]), "3", **key)
    with pytest.raises(TerminalError, match="no value in the key"):
        load(rows(id=[None, 5], name=["x", "y"]), "3", **key)
    assert stored() == [(1, "a"), (2, "B"), (3, "c")]


def test_each_load_is_one_commit_with_its_marker() -> None:
    load(rows(id=[1]), "1", digest="x")
    load(rows(id=[2]), "2", digest="y")
    history = table().history()
    assert [entry["version"] for entry in history] == [1, 0]
    assert '"digest": "y"' in history[0]["dataforge"]
    assert load(rows(id=[1]), "1", digest="x").already
    assert table().version() == 1


def test_a_run_beyond_the_searched_commits_still_replaces_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "HISTORY", 1)
    load(rows(id=[1]), "1", digest="x")
    load(rows(id=[2]), "2", digest="y")
    load(rows(id=[1]), "1", digest="x")
    assert stored() == [(1,), (2,)]


def test_a_commit_of_others_in_between_is_seen_and_no_row_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    load(rows(id=[1]), "1", digest="x")
    spool = _lake.Plan.spool

    def twin_first(self: Any, incoming: Any, scratch: Path) -> Any:
        found = spool(self, incoming, scratch)
        monkeypatch.setattr(_lake.Plan, "spool", spool)
        load(rows(id=[2]), "2", digest="y")  # another attempt of the same run
        load(rows(id=[3]), "3", digest="z")  # another run
        return found

    opened = delta._opened
    stale = opened(str(get_settings().output_folder / "orders"), {})
    first = iter([stale])
    monkeypatch.setattr(delta, "_opened", lambda *where: next(first, None) or opened(*where))
    monkeypatch.setattr(_lake.Plan, "spool", twin_first)
    assert load(rows(id=[2]), "2", digest="y").already
    assert stored() == [(1,), (2,), (3,)]


def test_loads_at_once_all_arrive_once() -> None:
    load(rows(id=[0]), "0", digest="0")
    done: list[LoadReport] = []

    def work(run: str) -> None:
        while True:
            try:
                done.append(load(rows(id=[int(run)]), run, digest=run))
            except ConflictError:
                continue
            return

    threads = [threading.Thread(target=work, args=(str(number % 3 + 1),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 6
    assert stored() == [(0,), (1,), (2,), (3,)]


def test_new_columns_come_in_and_types_stay() -> None:
    load(rows(id=pa.array([1], pa.int32())), "1")
    report = load(rows(id=pa.array([2], pa.int64()), name=["b"]), "2")
    assert any("'name' is new" in note for note in report.schema_notes)
    load(rows(name=["c"]), "3")
    assert stored() == [(1, None), (2, "b"), (None, "c")]
    with pytest.raises(TerminalError, match="does not fit"):
        load(rows(id=pa.array([1 << 40]), name=["d"]), "4")
    with pytest.raises(ConfigError, match="cast it to int32"):
        load(rows(id=["text"], name=["d"]), "4")
    with pytest.raises(ConfigError, match="schema contract is freeze"):
        load(rows(id=[3], more=[1]), "4", contract=SchemaContract(default="freeze"))
    with pytest.raises(ConfigError, match="remove 'dead_letters'"):
        load(rows(id=[3]), "4", limit=RejectLimit(0.5, 10))


def test_values_of_every_kind_come_back() -> None:
    instant = datetime(2025, 1, 2, 3, 4, 5, 6, timezone.utc)
    columns: dict[str, Any] = {
        "u": pa.array([1 << 63], pa.uint64()),
        "at": pa.array([instant], pa.timestamp("ns", "Europe/Berlin")),
        "clock": pa.array([datetime(2025, 1, 2)], pa.timestamp("s")),
        "nothing": pa.nulls(1),
        "kind": pa.array(["a"]).dictionary_encode(),
        "tags": [["x", "y"]],
        "inner": [{"a": 1}],
        "raw": [b"\x00\xff"],
    }
    load(rows(**columns))
    assert stored() == [
        (1 << 63, instant, datetime(2025, 1, 2), None, "a", ["x", "y"], {"a": 1}, b"\x00\xff"),
    ]


def test_replace_is_guarded() -> None:
    load(rows(id=[1, 2, 3]), "1")
    with pytest.raises(TerminalError, match="would leave 1 of 3 rows"):
        load(rows(id=[1]), "2", write_disposition="replace")
    empty = Rows([pa.record_batch({"id": pa.array([], pa.int64())})])
    with pytest.raises(TerminalError, match="allow_empty"):
        load(empty, "2", write_disposition="replace")
    assert load(rows(name=["x"]), "2", write_disposition="replace", allow_shrink=True).deleted == 3
    assert stored() == [("x",)]


def test_a_table_in_s3_is_partitioned_and_merged(lake: Connection) -> None:
    given: dict[str, Any] = {
        "path": "s3://lake/sales/orders",
        "connection": "lake",
        "lake": lake,
        "partition_by": ("r",),
    }
    load(rows(id=[1, 2], r=["n", "s"]), "1", digest="x", **given)
    load(rows(id=[1, 2], r=["n", "s"]), "1", digest="x", **given)
    key: dict[str, Any] = {"write_disposition": "merge", "primary_key": ("id",)}
    load(rows(id=[2, 3], r=["s", "w"]), "2", **given, **key)
    where: dict[str, Any] = {"options": delta_options(lake), "path": "s3://lake/sales/orders"}
    assert stored(**where) == [(1, "n"), (2, "s"), (3, "w")]
    assert table(**where).metadata().partition_columns == ["r"]


def test_tables_of_others_are_written_to(output: Path) -> None:
    write_deltalake(str(output / "orders"), pa.table({"id": [1]}))
    load(rows(id=[2]))
    assert stored() == [(1,), (2,)]


@pytest.mark.parametrize("path", ["../out", "/abs", "s3://lake/", "a/_dataforge/b"])
def test_paths_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        DeltaConfig(path=path, connection="lake")
