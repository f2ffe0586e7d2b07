"""The parquet, csv and ndjson destinations on a real folder and a real S3 server."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import gzip
import json
import os
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests import s3_server
from tests.destinations.conftest import Rows, rows

from dataforge.components.base import Connection, ExtractContext, LoadContext, LoadReport
from dataforge.components.paths import filesystem
from dataforge.components.registry import DESTINATIONS
from dataforge.config.pipeline import parse
from dataforge.destinations.csv_ import CsvConfig
from dataforge.destinations.ndjson import NdjsonConfig
from dataforge.destinations.parquet import ParquetConfig
from dataforge.errors import ConfigError, TerminalError, TransientError
from dataforge.settings import get_settings

Context = Callable[..., LoadContext]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The deployment's output folder."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    get_settings.cache_clear()
    yield tmp_path / "output"
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def lake() -> Iterator[Connection]:
    """A connection to a real S3 server with the bucket `lake`."""
    with s3_server.running("lake") as connection:
        yield connection


def data(folder: Path) -> list[str]:
    """Return the names of the files in a folder, parts without the token that tells attempts apart."""
    return sorted(re.sub(r"-[0-9a-f]{8}\.", ".", path.name) for path in folder.iterdir() if path.is_file())


def part(folder: Path) -> Path:
    """Return the only part of a dataset folder."""
    (found,) = folder.glob("part-*")
    return found


def load(context: LoadContext, incoming: Rows, **config: Any) -> LoadReport:
    type_ = config.pop("type")
    component = DESTINATIONS.get(type_)
    return DESTINATIONS.build(component.config.model_validate({"type": type_, **config})).load(incoming, context)


@pytest.mark.parametrize("type_", ["parquet", "csv", "ndjson"])
def test_a_dataset_gets_one_part_a_run_and_a_repeat_replaces_its_own(
    output: Path, context: Context, type_: str
) -> None:
    one, two = context(run_key="r1"), context(run_key="r2")
    load(one, rows(id=[1]), type=type_, path="orders/")
    load(two, rows(id=[2]), type=type_, path="orders/")
    report = load(one, rows(id=[11]), type=type_, path="orders/")
    assert report.created is False
    assert data(output / "orders") == [f"part-r1.{type_}", f"part-r2.{type_}"]
    reader = {"parquet": "parquet_scan", "csv": "read_csv", "ndjson": "read_json"}[type_]
    assert duckdb.execute(f"select id from {reader}('{output}/orders/*') order by 1").fetchall() == [(2,), (11,)]
    load(two, rows(id=[3]), type=type_, path="orders/", write_disposition="replace")
    assert data(output / "orders") == [f"part-r2.{type_}"]


def test_replace_of_a_dataset_leaves_files_of_others_alone(output: Path, context: Context) -> None:
    (output / "orders").mkdir(parents=True)
    (output / "orders" / "README").write_text("mine")
    load(context(), rows(id=[1]), type="csv", path="orders/", write_disposition="replace")
    assert [re.sub("-.*", "", name) for name in data(output / "orders")] == ["README", "part"]


def test_a_file_is_replaced_in_one_step(output: Path, context: Context) -> None:
    load(context(), rows(id=[1]), type="parquet", path="a/orders.parquet", write_disposition="replace")
    before = os.open(output / "a/orders.parquet", os.O_RDONLY)
    try:
        load(context(), rows(id=[2, 3]), type="parquet", path="a/orders.parquet", write_disposition="replace")
        with os.fdopen(os.dup(before), "rb") as old:
            assert pq.read_table(old).column("id").to_pylist() == [1]  # a reader that began before keeps the old file
    finally:
        os.close(before)
    assert pq.read_table(output / "a/orders.parquet").column("id").to_pylist() == [2, 3]
    assert data(output / "a") == ["orders.parquet"]


@pytest.mark.parametrize("type_", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("path", ["warehouse.duckdb", "a/x.DB", "warehouse.duckdb.wal", "x.sqlite", ".x.csv.1.tmp"])
def test_the_name_of_a_database_or_temporary_file_is_refused(
    output: Path, context: Context, type_: str, path: str
) -> None:
    component = DESTINATIONS.get(type_)
    given = {"type": type_, "path": path, "write_disposition": "replace"}
    with pytest.raises(ValidationError, match="the name of a"):
        component.config.model_validate(given)
    resolved = component.config.model_validate({**given, "path": "${params.x}"}).model_copy(update={"path": path})
    with pytest.raises(TerminalError, match="the name of a"):
        DESTINATIONS.build(resolved).load(rows(id=[1]), context())
    assert not output.exists()


@pytest.fixture
def foreign(tmp_path: Path) -> dict[str, bytes]:
    """The content of real files of several kinds, by how messages call them."""
    duckdb.connect(str(tmp_path / "w")).close()
    with closing(sqlite3.connect(tmp_path / "s")) as db:
        db.execute("create table t (id)")
        db.commit()
    pq.write_table(pa.table({"id": [1]}), tmp_path / "p")
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("sheet.xml", "<x/>")
    names = {"a DuckDB database": "w", "an SQLite database": "s", "a Parquet file": "p", "a ZIP archive": "z"}
    return {kind: (tmp_path / name).read_bytes() for kind, name in names.items()}


@pytest.mark.parametrize("type_", ["parquet", "csv", "ndjson"])
def test_a_file_of_another_kind_is_never_replaced(
    output: Path, context: Context, foreign: dict[str, bytes], type_: str
) -> None:
    output.mkdir()
    texts = {"another kind of file": b"id\n1\n", "a gzip file": gzip.compress(b"x")} if type_ == "parquet" else {}
    for kind, content in {**foreign, **texts}.items():
        if (type_, kind) == ("parquet", "a Parquet file"):
            continue
        (output / "data").write_bytes(content)
        with pytest.raises(TerminalError, match=f"{kind}.*nothing was written"):
            load(context(), rows(id=[1]), type=type_, path="data", write_disposition="replace")
        assert (output / "data").read_bytes() == content
        assert len(list(output.iterdir())) == 1


@pytest.mark.parametrize("head", ["PAR1", "ARROW1", "customerDUCK", "ORC", "SQLite format 3", ""])
def test_a_text_that_begins_like_another_file_is_replaced(output: Path, context: Context, head: str) -> None:
    output.mkdir()
    (output / "data").write_text(head and f"{head},id\n1,2\n")
    for compression in ("none", "gzip", "zstd", "none"):
        config = {"type": "csv", "path": "data", "write_disposition": "replace", "compression": compression}
        assert load(context(), Rows([pa.record_batch({head or "x": [1]})]), **config).rows == 1


def test_an_object_of_another_kind_is_never_replaced(
    output: Path, context: Context, lake: Connection, foreign: dict[str, bytes]
) -> None:
    fs = filesystem(lake)
    content = foreign["a Parquet file"]
    fs.pipe_file("lake/kept", content)
    where = {"path": "s3://lake/kept", "connection": "lake", "write_disposition": "replace"}
    with pytest.raises(TerminalError, match=r"a Parquet file.*nothing was written"):
        load(context(lake), rows(id=[1]), type="csv", **where)
    assert fs.cat_file("lake/kept") == content
    assert load(context(lake), rows(id=[1, 2]), type="parquet", **where).rows == 2


@pytest.mark.parametrize("type_", ["parquet", "csv", "ndjson"])
def test_a_broken_source_leaves_the_file_as_before_and_no_debris(output: Path, context: Context, type_: str) -> None:
    broken = Rows([pa.record_batch({"id": [7] * 5000})] * 8, fail_after=6, failure=TransientError("the API went away"))
    config = {"type": type_, "path": f"f.{type_}", "write_disposition": "replace"}
    with pytest.raises(TransientError, match="the API went away"):
        load(context(), broken, **config)
    assert list(output.iterdir()) == []
    load(context(), rows(id=[1]), **config)
    before = (output / f"f.{type_}").read_bytes()
    with pytest.raises(TransientError, match="the API went away"):
        load(context(), broken, **config)
    assert (output / f"f.{type_}").read_bytes() == before
    assert data(output) == [f"f.{type_}"]


ROWS = {
    "text": pa.array(["a\n\"',;é🦆\\", "", None]),
    "i": pa.array([2**63 - 1, -(2**63), None]),
    "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "f": pa.array([0.1, -0.0, 5e-324]),
    "dec": pa.array([Decimal("0.10"), Decimal("-1.05"), None], pa.decimal128(12, 2)),
    "long": pa.array([Decimal("9" * 38), None, Decimal(1)], pa.decimal128(38, 0)),
    "wide": pa.array([Decimal("1.5"), None, None], pa.decimal256(38, 2)),
    "bytes": pa.array([b"\0\xff", b"", None]),
    "date": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "ts": pa.array([dt.datetime(1, 1, 1), dt.datetime(2024, 1, 1, 5, 0, 0, 1), None]),
    "tz": pa.array([dt.datetime(2024, 3, 31, 1, 30), None, None], pa.timestamp("us", "Europe/Berlin")),
    "time": pa.array([dt.time(23, 59, 59, 999999), None, None]),
    "dict": pa.array(["x", None, "y"]).dictionary_encode(),
    "none": pa.nulls(3),
    "list": pa.array([[1, None], [], None]),
    "struct": pa.array([{"a": '"é'}, {"a": None}, None]),
}


def test_parquet_keeps_types_and_values(output: Path, context: Context) -> None:
    columns = {**ROWS, "nan": pa.array([float("nan"), float("inf"), None]), "nul": pa.array(["a\0b", None, ""])}
    load(context(), Rows([pa.record_batch(columns)]), type="parquet", path="t.parquet", write_disposition="replace")
    found = pq.read_table(output / "t.parquet")
    assert found.schema == pa.record_batch(columns).schema
    assert str(found.to_pydict()) == str(pa.table(columns).to_pydict())


def test_parquet_row_groups_are_filled_from_small_batches(output: Path, context: Context) -> None:
    small = Rows([pa.record_batch({"id": list(range(700))})] * 10)
    config = {"type": "parquet", "path": "t.parquet", "write_disposition": "replace"}
    load(context(), small, **config, row_group_rows=2000, compression="snappy")
    meta = pq.read_metadata(output / "t.parquet")
    assert (meta.num_rows, meta.row_group(0).column(0).compression) == (7000, "SNAPPY")
    assert meta.num_row_groups <= 8


def test_ndjson_says_every_value(output: Path, context: Context) -> None:
    load(context(), Rows([pa.record_batch(ROWS)]), type="ndjson", path="t.ndjson", write_disposition="replace")
    first, second, third = [json.loads(line) for line in (output / "t.ndjson").read_text().splitlines()]
    assert first == {
        "text": "a\n\"',;é🦆\\",
        "i": 2**63 - 1,
        "u": 2**64 - 1,
        "f": 0.1,
        "dec": 0.1,
        "long": "9" * 38,
        "wide": "1.50",
        "bytes": base64.b64encode(b"\0\xff").decode(),
        "date": "0001-01-01",
        "ts": "0001-01-01T00:00:00",
        "tz": "2024-03-31T01:30:00Z",
        "time": "23:59:59.999999",
        "dict": "x",
        "none": None,
        "list": [1, None],
        "struct": {"a": '"é'},
    }
    assert (second["text"], second["bytes"], second["list"], second["struct"]) == ("", "", [], {"a": None})
    assert (third["text"], third["f"], third["struct"]) == (None, 5e-324, None)


def test_csv_says_every_value(output: Path, context: Context) -> None:
    load(
        context(), Rows([pa.record_batch(ROWS)]), type="csv", path="t.csv", write_disposition="replace", null_text="\\N"
    )
    with (output / "t.csv").open(newline="") as file:
        header, first, second, third = csv.reader(file)
    assert header == list(ROWS)
    assert first == [
        "a\n\"',;é🦆\\",
        str(2**63 - 1),
        str(2**64 - 1),
        "0.1",
        "0.10",
        "9" * 38,
        "1.50",
        "AP8=",
        "0001-01-01",
        "0001-01-01 00:00:00",
        "2024-03-31 01:30:00+00",
        "23:59:59.999999",
        "x",
        "\\N",
        "[1,null]",
        '{"a":"\\"é"}',
    ]
    assert (second[0], second[7], second[14]) == ("", "", "[]")
    assert (third[0], third[3], third[15]) == ("\\N", "5e-324", "\\N")


def test_csv_tells_null_from_empty_text_by_default(output: Path, context: Context) -> None:
    load(context(), rows(a=[None, "", "x"], b=[1, 2, 3]), type="csv", path="t.csv", write_disposition="replace")
    assert (output / "t.csv").read_text() == 'a,b\n,1\n"",2\nx,3\n'


def test_csv_dialect_and_formulas(output: Path, context: Context) -> None:
    risky = rows(a=["=1+1", "+x", "-5", "@a", "\tz", "fine", None], n=[-1, 2, 3, 4, 5, 6, 7])
    config = {"type": "csv", "path": "t.csv.gz", "write_disposition": "replace"}
    load(context(), risky, **config, delimiter=";", quote="'", header=False, neutralize_formulas=True)
    with gzip.open(output / "t.csv.gz", "rt") as file:
        lines = list(csv.reader(file, delimiter=";", quotechar="'"))
    assert [line[0] for line in lines] == ["'=1+1", "'+x", "'-5", "'@a", "'\tz", "fine", ""]
    assert lines[0][1] == "-1"
    load(context(), risky, type="csv", path="plain.csv", write_disposition="replace")
    assert "=1+1,-1" in (output / "plain.csv").read_text()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_ndjson_refuses_what_json_cannot_say(output: Path, context: Context, value: float) -> None:
    with pytest.raises(TerminalError, match="column 'x'"):
        load(context(), rows(x=[1.0, value, None]), type="ndjson", path="d/")
    assert list((output / "d").iterdir()) == []


def test_zero_rows_make_an_empty_file_with_columns(output: Path, context: Context) -> None:
    empty = Rows([pa.record_batch({"id": pa.array([], pa.int64())})])
    assert load(context(), empty, type="parquet", path="d/").rows == 0
    assert pq.read_schema(part(output / "d")).names == ["id"]
    load(context(), empty, type="csv", path="c/")
    assert part(output / "c").read_text() == "id\n"


@pytest.mark.parametrize("config", [CsvConfig, NdjsonConfig, ParquetConfig])
def test_append_to_one_file_is_refused_with_the_folder_to_write(config: Any) -> None:
    with pytest.raises(ValidationError, match=r"'orders.csv/'"):
        config(path="orders.csv")


@pytest.mark.parametrize(
    "path",
    ["../x/", "/etc/x/", "a/../../x/", "ftp://h/x/", "s3://bucket", "s3://bucket/", "s3://b/../x/", "a\\b/", "./"],
)
def test_a_path_that_leads_out_is_refused_at_validation(path: str) -> None:
    with pytest.raises(ValidationError):
        ParquetConfig(path=path, connection="lake")


def test_validation_errors_have_a_place_in_the_config() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"dag_id": "x", "source": {"type": "csv", "path": "a"}, "destination": {"type": "csv", "path": "o.csv"}})
    assert any(
        problem.path[:1] == ("destination",) and "append" in problem.message for problem in caught.value.problems
    )


def test_a_symbolic_link_that_leads_out_is_refused_at_run_time(output: Path, context: Context, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    output.mkdir()
    (output / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(TerminalError, match="leads out"):
        load(context(), rows(id=[1]), type="csv", path="link/")
    assert list((tmp_path / "outside").iterdir()) == []


def test_folder_and_file_are_not_mistaken_for_each_other(output: Path, context: Context) -> None:
    output.mkdir()
    (output / "file").write_text("x")
    (output / "folder").mkdir()
    with pytest.raises(TerminalError, match="is a file"):
        load(context(), rows(id=[1]), type="csv", path="file/")
    with pytest.raises(TerminalError, match="is a folder"):
        load(context(), rows(id=[1]), type="csv", path="folder", write_disposition="replace")


@pytest.mark.parametrize("type_", ["parquet", "csv", "ndjson"])
def test_a_full_disk_is_transient_and_names_the_place(output: Path, context: Context, type_: str) -> None:
    import resource

    noise = Rows([pa.record_batch({"x": [os.urandom(60).hex() for _ in range(2000)]})] * 4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TransientError, match="output/d/part-r1"):
            load(context(run_key="r1"), noise, type=type_, path="d/")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list((output / "d").iterdir()) == []


@pytest.mark.parametrize("type_", ["parquet", "csv", "ndjson"])
def test_s3_gets_parts_and_files(output: Path, context: Context, lake: Connection, type_: str, tmp_path: Path) -> None:
    one, two = context(lake, run_key="r1"), context(lake, run_key="r2")
    where = {"type": type_, "path": f"s3://lake/{type_}/orders/", "connection": "lake"}
    assert load(one, rows(id=[1]), **where).created
    assert re.fullmatch(
        rf"s3://lake/{type_}/orders/part-r2-[0-9a-f]{{8}}\.{type_}", load(two, rows(id=[2]), **where).target
    )
    assert not load(one, rows(id=[1]), **where).created
    fs = filesystem(lake)
    assert [name.rsplit("-", 1)[0] for name in fs.glob(f"lake/{type_}/orders/*.{type_}")] == [
        f"lake/{type_}/orders/part-{run}" for run in ("r1", "r2")
    ]
    load(two, rows(id=[3]), **where, write_disposition="replace")
    (left,) = fs.glob(f"lake/{type_}/orders/*.{type_}")
    assert left.startswith(f"lake/{type_}/orders/part-r2-")
    load(one, rows(id=[4]), type=type_, path=f"s3://lake/one.{type_}", connection="lake", write_disposition="replace")
    assert fs.exists(f"lake/one.{type_}")
    broken = Rows([pa.record_batch({"id": [7]})] * 8, fail_after=6, failure=TransientError("the API went away"))
    with pytest.raises(TransientError, match="the API went away"):
        load(one, broken, type=type_, path=f"s3://lake/two.{type_}", connection="lake", write_disposition="replace")
    assert not fs.exists(f"lake/two.{type_}")
    destination: Any = DESTINATIONS.build(DESTINATIONS.get(type_).config.model_validate(where))
    assert "'lake' is reached" in destination.check(ExtractContext(one.connection, tmp_path))


def test_s3_away_is_transient(context: Context) -> None:
    away = Connection("lake", "aws", login="k", password="sesame-key", extra={"endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(TransientError, match="s3://lake/x/") as caught:
        load(context(away), rows(id=[1]), type="csv", path="s3://lake/x/", connection="lake")
    assert "sesame" not in str(caught.value)


def test_assets_name_the_stable_part_of_the_path() -> None:
    assert ParquetConfig(path="a/b/").asset() == "dataforge://files/a/b/"
    assert ParquetConfig(path="a/${run_id}/").asset() == "dataforge://files/a/"
    assert ParquetConfig(path="${run_id}/").asset() is None
    assert ParquetConfig(path="s3://lake/a/", connection="aws_lake").asset() == "dataforge://aws_lake/lake/a/"
