"""Iceberg tables of a catalog in SQLite, in a folder and in a real S3 server, read back by pyiceberg itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError
from sqlalchemy.exc import ProgrammingError
from tests import s3_server
from tests.destinations.conftest import rows

from dataforge.components.base import Connection, LoadContext, LoadReport
from dataforge.components.delivery import CursorStep
from dataforge.components.registry import DESTINATIONS
from dataforge.components.seen_files import ListedFile, position_of
from dataforge.destinations import iceberg
from dataforge.destinations.iceberg import IcebergConfig, catalog_properties
from dataforge.errors import ConfigError, FencedError, TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.testing import DestinationContract

MERGE: dict[str, Any] = {"write_disposition": "merge", "primary_key": ("id",)}


@pytest.fixture(autouse=True)
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty catalog, as an Airflow connection, and the deployment's output folder."""
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_CATALOG", '{"conn_type": "sqlite", "host": "' + str(tmp_path / "catalog.db") + '"}'
    )
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def connections(lake: Connection | None = None) -> Any:
    """The connections that a load may ask for."""
    path = get_settings().output_folder.parent / "catalog.db"
    known = {"catalog": Connection("catalog", "sqlite", str(path)), "lake": lake}
    return known.__getitem__


def context(run: str = "1", digest: str | None = None, lake: Connection | None = None) -> LoadContext:
    """The context of a run."""
    scratch = get_settings().output_folder.parent / "scratch"
    return LoadContext(connections(lake), scratch, run.rjust(16, "0"), "d", run_id=run, target="t", digest=digest)


def destination(**given: Any) -> Any:
    """The destination."""
    config = {"catalog": "catalog", "table": "sales.orders", "warehouse": "warehouse", **given}
    return DESTINATIONS.build(IcebergConfig(**config))


def load(incoming: Any, run: str = "1", digest: str | None = None, **given: Any) -> LoadReport:
    """Load as that run would."""
    lake, step = given.pop("lake", None), given.pop("step", None)
    report: LoadReport = destination(**given).load(incoming, replace(context(run, digest, lake), cursor=step))
    return report


def table(lake: Connection | None = None, **given: Any) -> Any:
    """The table as the library opens it."""
    return iceberg._opened(destination(**given)._catalog(connections(lake)), "sales.orders")


def stored(lake: Connection | None = None, **given: Any) -> list[tuple[Any, ...]]:
    """The rows, without the run column."""
    found = table(lake, **given).scan().to_arrow().drop_columns("_dataforge_run").to_pylist()
    return sorted((tuple(row.values()) for row in found), key=repr)


class TestIceberg(DestinationContract):
    """The general tests."""

    config = {"type": "iceberg", "catalog": "catalog", "table": "sales.orders", "warehouse": "warehouse"}

    def stored(self) -> list[dict[str, Any]]:
        found = table()
        return [] if found is None else list(found.scan().to_arrow().drop_columns("_dataforge_run").to_pylist())


def test_merge_brings_rows_of_known_keys_up_to_date() -> None:
    load(rows(id=[1, 2], name=["a", "b"]), "1", **MERGE)
    report = load(rows(id=[2, 3], name=["B", "c"]), "2", **MERGE)
    assert (report.inserted, report.updated) == (1, 1)
    assert stored() == [(1, "a"), (2, "B"), (3, "c")]
    with pytest.raises(TerminalError, match="have the key 'id' of another"):
        load(rows(id=[4, 4], name=["x", "y"]), "3", **MERGE)


def test_a_retry_finds_the_marker_of_its_snapshot() -> None:
    load(rows(id=[1]), "1", digest="x")
    load(rows(id=[2]), "2", digest="y")
    assert load(rows(id=[1]), "1", digest="x").already
    assert len(table().metadata.snapshots) == 2
    assert stored() == [(1,), (2,)]


def test_a_commit_of_others_in_between_is_seen_and_no_row_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    load(rows(id=[1]), "1", digest="x")
    committed = iceberg.Loading._committed

    def twin_first(self: Any, *given: Any) -> Any:
        monkeypatch.setattr(iceberg.Loading, "_committed", committed)
        load(rows(id=[2]), "2", digest="y")  # another attempt of the same run
        load(rows(id=[3]), "3", digest="z")  # another run
        return committed(self, *given)

    monkeypatch.setattr(iceberg.Loading, "_committed", twin_first)
    assert load(rows(id=[2]), "2", digest="y").already
    assert stored() == [(1,), (2,), (3,)]


def test_a_run_whose_snapshot_expired_still_replaces_its_own_rows() -> None:
    for run in ("1", "2", "3"):
        load(rows(id=[int(run)]), run, digest=run)
    found = table()
    found.maintenance.expire_snapshots().by_id(found.metadata.snapshots[0].snapshot_id).commit()
    load(rows(id=[10]), "1", digest="other")
    assert stored() == [(10,), (2,), (3,)]


def test_the_cursor_is_committed_with_the_rows_and_fences() -> None:
    a, b = (ListedFile(name, "1").digest for name in "ab")
    first = CursorStep("advance", {}, {"source": position_of([a], [a])})
    second = CursorStep("advance", first.after, {"source": position_of([a, b], [b])})
    load(rows(id=[1]), "1", digest="x", step=first)
    with destination().ledger(context()) as ledger:
        assert ledger.state().cursor == first.to_json()["after"]
        assert ledger.load("1").cursor == first.to_marker()
    load(rows(id=[2]), "2", digest="y", step=second)
    with pytest.raises(FencedError):
        load(rows(id=[3]), "3", digest="z", step=second)
    with destination().ledger(context()) as ledger:
        assert [one.run_id for one in ledger.loads()] == ["2", "1"]
        ledger.set_cursor(None, "me")
        assert ledger.state().cursor is None
        with pytest.raises(TerminalError, match="earlier snapshot"):
            ledger.undo("1", "me")
    assert stored() == [(1,), (2,)]


def test_new_columns_come_in_and_types_stay() -> None:
    load(rows(id=pa.array([1], pa.int32())), "1")
    load(rows(id=pa.array([2], pa.int64()), name=["b"]), "2")
    assert stored() == [(1, None), (2, "b")]
    with pytest.raises(ConfigError, match="cast it to int32"):
        load(rows(id=["text"], name=["d"]), "4")
    load(rows(name=["only"], more=[1]), "5", write_disposition="replace", allow_shrink=True)
    assert sorted(table().scan().to_arrow().column_names) == ["_dataforge_run", "more", "name"]


def test_values_of_every_kind_come_back() -> None:
    instant = datetime(2025, 1, 2, 3, 4, 5, 6, timezone.utc)
    load(
        rows(
            u=pa.array([1 << 63], pa.uint64()),
            at=pa.array([instant], pa.timestamp("ns", "Europe/Berlin")),
            nothing=pa.nulls(1),
            small=pa.array([1], pa.int8()),
            tags=[["x", "y"]],
            raw=[b"\x00\xff"],
        )
    )
    assert stored() == [(1 << 63, instant, None, 1, ["x", "y"], b"\x00\xff")]


def test_a_table_in_s3(tmp_path: Path) -> None:
    with s3_server.running("lake") as lake:
        given: dict[str, Any] = {"warehouse": "s3://lake/warehouse", "connection": "lake", "lake": lake}
        load(rows(id=[1]), "1", digest="x", **given)
        load(rows(id=[2]), "2", digest="y", **given)
        assert stored(**given) == [(1,), (2,)]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (TimeoutError(), TransientError, "TimeoutError"),
        (ProgrammingError("insert 's3cret'", {}, Exception("permission denied")), TerminalError, "permission denied"),
    ],
)
def test_errors_of_the_catalog_come_in_one_sentence(error: Exception, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as raised, destination()._errors():
        raise error
    assert "s3cret" not in str(raised.value)


def test_what_is_no_catalog_is_refused() -> None:
    with pytest.raises(TerminalError, match="needs 'iceberg'"):
        catalog_properties(Connection("c", "http", "x"))
    rest = catalog_properties(Connection("c", "iceberg", "https://catalog", login="me", password="secret"))
    assert rest == {"type": "rest", "uri": "https://catalog", "credential": "me:secret"}
    with pytest.raises(ValidationError, match="leads out"):
        IcebergConfig(catalog="c", table="a.b", warehouse="../x")
