"""The s3 source, on a real S3 server."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests import s3_server

from dataforge.components.base import Connection, ExtractContext, RunValues
from dataforge.components.paths import filesystem
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError
from dataforge.runtime.landing import land
from dataforge.runtime.values import resolve
from dataforge.sources._formats import matches

MakeContext = Callable[..., ExtractContext]


@pytest.fixture(scope="module")
def s3() -> Iterator[Connection]:
    """A bucket `lake` with files of all formats."""
    with s3_server.running("lake") as connection:
        fs = filesystem(connection)
        sheet, columns = io.BytesIO(), io.BytesIO()
        book = openpyxl.Workbook()
        book.active.append(["id"])
        book.active.append([1])
        book.save(sheet)
        pq.write_table(pa.table({"id": [1]}), columns)
        contents = {
            "csv/2025/01/02/a.csv.gz": gzip.compress(b"id\n1\n"),
            "csv/2025/01/03/a.csv.gz": gzip.compress(b"id\n2\n"),
            "semicolon/a.csv": b"id;name\n1;x\n",
            "json/a.json": b'[{"id": 1}]',
            "ndjson/a.ndjson": b'{"id": 1}\n',
            "excel/a.xlsx": sheet.getvalue(),
            "parquet/a.parquet": columns.getvalue(),
        }
        for key, content in contents.items():
            fs.pipe_file(f"lake/{key}", content)
        yield connection


def config(**source: Any) -> Any:
    """The config of an s3 source."""
    given = {"type": "s3", "connection": "lake", "bucket": "lake", **source}
    return SOURCES.get("s3").config.model_validate(given)


def read(source: Any, context: ExtractContext) -> list[tuple[Any, ...]]:
    """Extract and type as the runtime does."""
    with duckdb.connect() as con:
        view = land(con, "source", SOURCES.build(source).extract(context), scratch=context.scratch / "land")
        view.widen()
        return con.execute('SELECT * FROM "source"').fetchall()


@pytest.mark.parametrize("format_", ["csv", "json", "ndjson", "excel", "parquet"])
def test_every_format_is_read(s3: Connection, context: MakeContext, format_: str) -> None:
    prefix = "csv/2025/01/02" if format_ == "csv" else format_
    assert read(config(format=format_, prefix=prefix), context(s3)) == [(1,)]


def test_the_prefix_has_the_date_of_the_run(s3: Connection, context: MakeContext) -> None:
    from datetime import datetime, timezone

    source = config(format="csv", prefix="csv/${data_interval_start:%Y/%m/%d}/", pattern="*.csv.gz")
    values = RunValues(data_interval_start=datetime(2025, 1, 3, tzinfo=timezone.utc))
    assert read(resolve(source, values), replace(context(s3), values=values)) == [(2,)]


def test_options_are_those_of_the_format(s3: Connection, context: MakeContext) -> None:
    source = config(format="csv", prefix="semicolon", options={"delimiter": ";"}, columns={"id": "text"})
    built: Any = SOURCES.build(source)
    assert built.discover(context(s3)) == {"id": "", "name": ""}
    assert built.check(context(s3)) == "1 object(s) match 's3://lake/semicolon/**'"
    with pytest.raises(ValidationError, match=r"options\.sheet: Extra inputs"):
        config(format="csv", options={"sheet": 1})
    with pytest.raises(ValidationError, match="'path' is no option"):
        config(format="csv", options={"path": "/etc/passwd"})


def test_nothing_there_is_said(s3: Connection, context: MakeContext) -> None:
    with pytest.raises(TerminalError, match="no object matches 's3://lake/none/"):
        read(config(format="csv", prefix="none"), context(s3))
    with pytest.raises(ValidationError, match="no part of a key"):
        config(format="csv", prefix="s3://other/")


@pytest.mark.parametrize(
    ("name", "pattern", "is_one"),
    [
        ("a.csv", "*.csv", True),
        ("b/a.csv", "*.csv", False),
        ("b/a.csv", "**/*.csv", True),
        ("a.csv", "**/*.csv", True),
        ("b/c/a.csv", "**", True),
        ("a+b.csv", "a+?.csv", True),
        ("aab.csv", "a+b.csv", False),
    ],
)
def test_patterns_mean_the_same_everywhere(name: str, pattern: str, is_one: bool) -> None:
    assert matches(name, pattern) is is_one
