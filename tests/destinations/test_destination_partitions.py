"""Hive partitions in files, local and in S3: what readers that know the layout see, and what each load replaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests import s3_server
from tests.destinations.conftest import Rows, rows

from dataforge.components.base import Connection, LoadContext, LoadReport
from dataforge.components.paths import filesystem
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations import _file_ledger, _file_partitions
from dataforge.destinations._file_partitions import NULL, Split, folder_name
from dataforge.destinations.csv_ import CsvConfig
from dataforge.destinations.ndjson import NdjsonConfig
from dataforge.destinations.parquet import ParquetConfig
from dataforge.errors import ConfigError, TerminalError
from dataforge.settings import get_settings

TYPES = {"parquet": ParquetConfig, "csv": CsvConfig, "ndjson": NdjsonConfig}


@pytest.fixture(scope="module")
def lake() -> Iterator[Connection]:
    """A bucket on a real S3 server."""
    with s3_server.running("lake") as connection:
        yield connection


@dataclass
class Target:
    """A dataset folder, and a copy of it that readers are let loose on."""

    base: str
    connection: Connection
    scratch: Path
    number: int = 0

    def load(self, incoming: Rows, run: str = "one", type_: str = "parquet", **config: Any) -> LoadReport:
        """Load as that run would."""
        given_ = {"path": f"{self.base}/", "partition_by": ("region",), **config}
        if self.base.startswith("s3:"):
            given_["connection"] = "lake"
        self.number += 1
        key = f"{abs(hash(run)):016x}"[:16]
        context = LoadContext(
            lambda _: self.connection, self.scratch / str(self.number), key, "d", run_id=run, target="t", digest=None
        )
        context = replace(context, digest=config.pop("digest", None)) if "digest" in config else context
        given_.pop("digest", None)
        report: LoadReport = DESTINATIONS.build(TYPES[type_](**given_)).load(incoming, context)
        return report

    def ledger(self) -> Any:
        """Open the ledger."""
        config = ParquetConfig(
            path=f"{self.base}/",
            partition_by=("region",),
            connection="lake" if self.base.startswith("s3:") else None,
        )
        destination: Any = DESTINATIONS.build(config)
        return destination.ledger(LoadContext(lambda _: self.connection, self.scratch, "", "d", target="t"))

    @property
    def folder(self) -> Path:
        """The data as local files."""
        if not self.base.startswith("s3:"):
            return get_settings().output_folder / self.base
        self.number += 1
        copy = self.scratch / f"copy-{self.number}"
        filesystem(self.connection).get(self.base.removeprefix("s3://"), str(copy), recursive=True)
        return copy

    def read(self, select: str = "id, region") -> list[tuple[Any, ...]]:
        """Return the rows as DuckDB reads a partitioned folder, each value as text."""
        with duckdb.connect() as con:
            files = f"read_parquet('{self.folder}/*=*/**/part-*.parquet', hive_partitioning = true, "
            found = con.execute(f"SELECT {select} FROM {files} hive_types_autocast = false) ORDER BY ALL").fetchall()
            return [tuple(row) for row in found]


@pytest.fixture(params=["local", "s3"])
def target(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: Connection
) -> Iterator[Target]:
    """An empty place for a dataset."""
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    monkeypatch.setattr(_file_ledger, "GRACE", timedelta(seconds=-5))
    get_settings.cache_clear()
    base = "set" if request.param == "local" else f"s3://lake/{quote(request.node.name, safe='')}"
    yield Target(base, lake, tmp_path / "scratch")
    get_settings.cache_clear()


def test_readers_see_the_rows_with_their_columns(target: Target) -> None:
    names = ["north", "süd/west", "a=b%2F c", "100", None]
    target.load(rows(id=pa.array(range(5)), region=names, day=[date(2025, 1, 2)] * 5), partition_by=("region", "day"))
    expected = sorted(
        [(number, name, "2025-01-02") for number, name in enumerate(names)], key=lambda row: (row[0], row[1] or "")
    )
    assert target.read("id, region, day") == expected
    fields: dict[str, pa.DataType] = {"region": pa.string(), "day": pa.date32()}
    schema = pa.schema(fields)
    dataset = ds.dataset(str(target.folder), partitioning=ds.partitioning(schema, flavor="hive"), format="parquet")
    table = dataset.to_table().sort_by("id")
    assert table["region"].to_pylist() == names
    assert table["day"].to_pylist() == [date(2025, 1, 2)] * 5


def test_append_adds_and_a_run_done_again_replaces_its_own_rows(target: Target) -> None:
    target.load(rows(id=[1, 2], region=["n", "s"]), "one")
    target.load(rows(id=[3], region=["n"]), "two")
    report = target.load(rows(id=[4], region=["w"]), "one")
    assert (report.rows, report.deleted) == (1, 2)
    assert target.read() == [(3, "n"), (4, "w")]
    assert target.load(rows(id=[5], region=["w"]), "three", digest="a").rows == 1
    assert target.load(rows(id=[5], region=["w"]), "three", digest="a").already
    assert target.read() == [(3, "n"), (4, "w"), (5, "w")]


def test_replace_leaves_the_last_run_or_what_it_did_not_touch(target: Target) -> None:
    target.load(rows(id=[1, 2, 3], region=["n", "s", "s"]), "one")
    touched = {"write_disposition": "replace", "replace_scope": "partitions"}
    report = target.load(rows(id=[4, 5], region=["s", "w"]), "two", **touched)
    assert (report.deleted, report.inserted) == (2, 2)
    assert target.read() == [(1, "n"), (4, "s"), (5, "w")]
    with pytest.raises(TerminalError, match="would leave 1 of 3 rows"):
        target.load(rows(id=[6], region=["s"]), "three", write_disposition="replace")
    target.load(rows(id=[6], region=["s"]), "three", write_disposition="replace", allow_shrink=True)
    assert target.read() == [(6, "s")]


def test_a_replaced_partition_comes_back_when_the_load_is_undone(target: Target) -> None:
    target.load(rows(id=[1, 2], region=["n", "s"]), "one")
    touched = {"write_disposition": "replace", "replace_scope": "partitions"}
    target.load(rows(id=[3], region=["s"]), "two", keep_previous=True, **touched)
    assert target.read() == [(1, "n"), (3, "s")]
    with target.ledger() as ledger:
        undone = ledger.undo("two", "me")
        assert (undone.removed, undone.restored) == (1, 1)
        assert ledger.verify() == []
    assert target.read() == [(1, "n"), (2, "s")]


def test_what_a_run_done_again_replaced_in_other_partitions_comes_back_too(target: Target) -> None:
    target.load(rows(id=[1, 2, 3], region=["n", "s", "w"]), "one")
    touched: dict[str, Any] = {"write_disposition": "replace", "replace_scope": "partitions", "keep_previous": True}
    target.load(rows(id=[4], region=["s"]), "two", **touched)
    target.load(rows(id=[5], region=["w"]), "two", **touched)
    with target.ledger() as ledger:
        ledger.undo("two", "me")
    assert target.read() == [(1, "n"), (2, "s"), (3, "w")]


def test_what_a_killed_load_left_in_a_partition_is_swept(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.load(rows(id=[1], region=["n"]), "one")

    def killed(*args: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_file_ledger.Book, "swap", killed)
        with pytest.raises(KeyboardInterrupt):
            target.load(rows(id=[2], region=["new"]), "two")
    with target.ledger() as ledger:
        (swept,) = ledger.sweep()
        assert "region=new/part-" in swept
    assert target.read() == [(1, "n")]


@pytest.mark.parametrize("type_", ["csv", "ndjson"])
def test_text_formats_are_partitioned_too(target: Target, type_: str) -> None:
    target.load(rows(id=[1, 2], region=["n", "s"], seen=[datetime(2025, 1, 2, 3)] * 2), type_=type_)
    reader = "read_csv" if type_ == "csv" else "read_json"
    with duckdb.connect() as con:
        files = f"{reader}('{target.folder}/*/part-*.{type_}', hive_partitioning = true)"
        found = con.execute(f"SELECT id, region, seen FROM {files} ORDER BY id").fetchall()
    assert found == [(1, "n", datetime(2025, 1, 2, 3)), (2, "s", datetime(2025, 1, 2, 3))]


def test_folders_of_other_columns_are_not_mixed(target: Target) -> None:
    target.load(rows(id=[1], region=["n"]))
    with pytest.raises(TerminalError, match="is partitioned by region, and the config says nothing"):
        target.load(rows(id=[2], region=["n"]), "two", partition_by=())
    target.load(rows(id=[2], region=["n"]), "two", partition_by=("id",), write_disposition="replace")
    assert target.read() == [("2", "n")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1]}, "no column 'region'"),
        ({"id": [1], "region": [1.5]}, "is double; folders are named by"),
        ({"region": ["n"]}, "nothing would be left"),
    ],
)
def test_what_names_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: Connection, columns: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    get_settings.cache_clear()
    with pytest.raises(ConfigError, match=message):
        Target("set", lake, tmp_path).load(rows(**columns))
    assert not [path for path in (tmp_path / "output").rglob("*") if path.is_file() and path.suffix != ".lock"]
    get_settings.cache_clear()


def test_values_that_no_reader_would_give_back_are_refused() -> None:
    for value in ("", NULL):
        with pytest.raises(TerminalError, match="region"):
            folder_name("region", value)
    for config in (
        {"path": "one.parquet", "write_disposition": "replace", "partition_by": ("a",)},
        {"path": "set/", "partition_by": ("a", "a")},
        {"path": "set/", "replace_scope": "partitions"},
    ):
        with pytest.raises(ValidationError, match="partition_by"):
            ParquetConfig(**config)


@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda text: text != NULL), min_size=1, max_size=30))
def test_rows_come_out_of_their_folders_in_order(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() or "x" for text in texts]
    split = Split(("k",), tmp_path_factory.mktemp("split"))
    batch = pa.record_batch({"k": texts, "n": range(len(texts))})
    before, _file_partitions.OPEN = _file_partitions.OPEN, 2
    try:
        split.take([batch, batch])
    finally:
        _file_partitions.OPEN = before
    found = {folder: split.reader(folder).read_all()["n"].to_pylist() for folder in split.folders}
    assert all("/" not in folder for folder in found)
    for text in set(texts):
        mine = [number for number, other in enumerate(texts) if other == text]
        assert found[folder_name("k", text)] == mine + mine
    assert sum(split.rows.values()) == 2 * len(texts)
    assert not any(os.scandir(split.scratch))
