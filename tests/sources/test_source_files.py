"""File sources: finding, compression, encodings and dialects, on real files and a real S3 server."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataforge.components.base import Connection, ExtractContext, Files, Verifiable
from dataforge.components.paths import find, place, resolve
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError
from dataforge.runtime.landing import land

TEXT = "id,name\n1,ä\n2,ö\n"
MakeContext = Callable[..., ExtractContext]


def read(source: dict[str, Any], context: ExtractContext) -> list[tuple[Any, ...]]:
    """Extract and land as the runtime does; return all rows."""
    config = SOURCES.get(source["type"]).config.model_validate(source)
    extracted = SOURCES.build(config).extract(context)
    assert isinstance(extracted, Files)
    with duckdb.connect() as con:
        landed = land(con, "source", extracted, scratch=context.scratch / "land")
        landed.widen()
        return con.execute('SELECT * FROM "source"').fetchall()


# ---- Paths


def test_paths_are_found_below_the_folders_in_order_and_globs_are_sorted(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, names in ((first, ["x.csv"]), (second, ["x.csv", "y/2.csv", "y/1.csv", "y/.hidden.csv", "y/z/3.csv"])):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("a\n")
    both = (first, second)
    assert resolve("x.csv", both) == (first / "x.csv",)
    assert resolve(str(second / "x.csv"), both) == (second / "x.csv",)
    assert resolve(f"file://{second}/x.csv", both) == (second / "x.csv",)
    assert [path.name for path in resolve("y/*.csv", both)] == ["1.csv", "2.csv"]
    assert [path.name for path in resolve("y/**/*.csv", both)] == ["1.csv", "2.csv", "3.csv"]
    assert len(resolve("**", (second,))) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("../secret.csv", r"has '\.\.'"),
        ("sub/../../secret.csv", r"has '\.\.'"),
        ("/etc/passwd", "outside the folders"),
        ("link.csv", "leads out"),
        ("out/*.csv", "leads out"),
        ("broken.csv", "broken link"),
        ("pipe", "not a regular file"),
        ("folder", "write a glob"),
        ("nothing.csv", "there is no file"),
        ("none/*.csv", "no file matches"),
        ("gs://bucket/x", "scheme 'gs'"),
        ("file://host/x", "names a host"),
        ("a\0b", "NUL"),
        ("", "empty"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_and_says_why(tmp_path: Path, text: str, message: str) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    (folder / "folder").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.csv").write_text("a\n")
    (tmp_path / "secret.csv").write_text("a\n")
    (folder / "link.csv").symlink_to(outside / "secret.csv")
    (folder / "out").symlink_to(outside)
    (folder / "broken.csv").symlink_to(folder / "gone.csv")
    os.mkfifo(folder / "pipe")
    with pytest.raises(TerminalError, match=message):
        resolve(text, (folder,))


def test_a_destination_path_stays_below_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    assert place("a/b.parquet", folder) == folder / "a" / "b.parquet"
    assert place(str(folder / "c.csv"), folder) == folder / "c.csv"
    for text in ("../x", "/etc/x", "out/x", "", "."):
        with pytest.raises(TerminalError):
            place(text, folder)


# ---- CSV


def test_a_csv_is_read_with_its_types(data: Path, context: MakeContext) -> None:
    (data / "a.csv").write_text("id,zip,amount\n1,01234,1.50\n")
    assert [str(value) for value in read({"type": "csv", "path": "a.csv"}, context())[0]] == ["1", "01234", "1.50"]


def zipped(text: bytes, *names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, text)
    return out.getvalue()


def zstd(text: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(text)
    return bytes(out.getvalue())


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv.gz", gzip.compress),
        ("a.csv.bz2", bz2.compress),
        ("a.csv.xz", lzma.compress),
        ("a.csv.zst", zstd),
        ("a.zip", lambda text: zipped(text, "a.csv")),
        ("named-wrongly.csv", gzip.compress),
        ("two-members.csv.gz", lambda text: gzip.compress(text[:9]) + gzip.compress(text[9:])),
    ],
)
def test_compressed_files_are_told_by_their_content(
    data: Path, context: MakeContext, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (data / name).write_bytes(pack(TEXT.encode()))
    assert read({"type": "csv", "path": name}, context()) == [(1, "ä"), (2, "ö")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.gz", gzip.compress(TEXT.encode() * 100, mtime=0)[:-12], "cut short gzip"),
        ("cut.xz", lzma.compress(TEXT.encode() * 100)[:-12], "cut short xz"),
        ("cut.zst", zstd(TEXT.encode() * 100)[:-6], "cut short zstd"),
        ("two.zip", zipped(b"a\n", "a.csv", "b.csv"), "holds 2 files"),
        ("bomb.gz", gzip.compress(bytes(100_000_000), mtime=0), "refused as a bomb"),
    ],
)
def test_damaged_archives_and_bombs_are_refused(
    data: Path, context: MakeContext, name: str, content: bytes, message: str
) -> None:
    (data / name).write_bytes(content)
    with pytest.raises(TerminalError, match=message):
        read({"type": "csv", "path": name}, context())


@pytest.mark.parametrize(
    ("encoding", "given"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-32", None),
        ("cp1252", "cp1252"),
        ("utf-16-le", "utf-16-le"),
    ],
)
def test_encodings_are_detected_or_given(data: Path, context: MakeContext, encoding: str, given: str | None) -> None:
    (data / "a.csv").write_bytes(TEXT.encode(encoding))
    assert read({"type": "csv", "path": "a.csv", "encoding": given}, context()) == [(1, "ä"), (2, "ö")]


def test_an_old_encoding_is_guessed_from_the_text(data: Path, context: MakeContext) -> None:
    text = "id,Straße\n" + "".join(f"{i},Müllerstraße Köln für schöne Grüße\n" for i in range(200))
    (data / "a.csv").write_bytes(text.encode("cp1252"))
    assert read({"type": "csv", "path": "a.csv"}, context())[0] == (0, "Müllerstraße Köln für schöne Grüße")


def test_bytes_that_do_not_fit_the_encoding_are_told(data: Path, context: MakeContext) -> None:
    (data / "a.csv").write_bytes(b"a,b\n1,\xff\n")
    with pytest.raises(TerminalError, match="'encoding'"):
        read({"type": "csv", "path": "a.csv", "encoding": "utf-8"}, context())
    with pytest.raises(TerminalError, match="no known encoding"):
        read({"type": "csv", "path": "a.csv", "encoding": "klingon"}, context())


@pytest.mark.parametrize(
    ("text", "options", "rows"),
    [
        ("a;b\n1;2,5\n", {}, [(1, "2,5")]),
        ("a\tb\n1\tx\n", {}, [(1, "x")]),
        ("a|b\n1|x\n", {}, [(1, "x")]),
        ("'a','b'\n'x,1','y'\n", {"quote": "'"}, [("x,1", "y")]),
        ('a,b\n"say ""hi""",1\n', {}, [('say "hi"', 1)]),
        ('a,b\n"say \\"hi\\"",1\n', {"escape": "\\"}, [('say "hi"', 1)]),
        ("1,x\n2,y\n", {}, [(1, "x"), (2, "y")]),
        ("name,city\nann,rome\n", {}, [("ann", "rome")]),
        ("name,city\nann,rome\n", {"header": False}, [("name", "city"), ("ann", "rome")]),
        ("2019,2020\n1,2\n", {"header": True}, [(1, 2)]),
        (",name\n0,x\n", {}, [(0, "x")]),
        ("a,b\n1,NA\n2,\n", {"null_values": ["", "NA"]}, [(1, None), (2, None)]),
        ("title\n\na,b\n1,x\n", {"skip_rows": 2}, [(1, "x")]),
        ("# note\na,b\n1,x\n# end\n", {"comment": "#"}, [(1, "x")]),
        ("a;b\n1,5;2,5\n3,5;4,5\n", {}, [("1,5", "2,5"), ("3,5", "4,5")]),
        ("a;b\n1;x, y\n2;z, w\n", {}, [(1, "x, y"), (2, "z, w")]),
        ('a,b\n"x;y",1\n"z;w",2\n', {}, [("x;y", 1), ("z;w", 2)]),
        ('a,b\n5" pipe,1\n', {}, [('5" pipe', 1)]),
        ("a,b\n'tis,1\n", {}, [("'tis", 1)]),
        ("a,b\n'x,1',2\n'y,2',3\n", {}, [("x,1", 2), ("y,2", 3)]),
        ('a,b\n"say \\"hi\\"",1\n"no",2\n', {}, [('say "hi"', 1), ("no", 2)]),
        ("a,b\n1,\n,2\n", {}, [(1, None), (None, 2)]),
        ("only\nhello world\nmore words here\n", {}, [("hello world",), ("more words here",)]),
        ('a,b\r\n"two\r\nlines",1\r\n', {}, [("two\r\nlines", 1)]),
        ("a,b\n", {}, []),
    ],
)
def test_dialects_are_detected_or_given(
    data: Path, context: MakeContext, text: str, options: dict[str, Any], rows: list[tuple[Any, ...]]
) -> None:
    (data / "a.csv").write_text(text, newline="")
    assert read({"type": "csv", "path": "a.csv", **options}, context()) == rows


def test_unusual_quotes_far_behind_the_first_rows_are_detected(data: Path, context: MakeContext) -> None:
    lines = [f"{number},value number {number}" for number in range(8000)]
    (data / "a.csv").write_text("\n".join(["id,v", *lines, *["1,'x,y'"] * 3]) + "\n")
    found = read({"type": "csv", "path": "a.csv"}, context())
    assert [value for _, value in found[8000:]] == ["x,y"] * 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_dialect_is_detected_in_files_longer_than_what_is_looked_at(
    data: Path, context: MakeContext, delimiter: str
) -> None:
    note = f'"a ""quoted""{delimiter} and\nbroken note"'
    lines = [delimiter.join((str(number), note, "1.5")) for number in range(3000)]
    (data / "a.csv").write_text("\n".join([delimiter.join(("id", "note", "v")), *lines]) + "\n")
    rows = read({"type": "csv", "path": "a.csv"}, context())
    assert len(rows) == 3000
    assert {note for _, note, _ in rows} == {f'a "quoted"{delimiter} and\nbroken note'}


def test_many_files_are_one_source(data: Path, context: MakeContext) -> None:
    for index in range(200):
        (data / f"{index:03}.csv").write_text(f"id,n\n{index},x\n" if index % 50 else "")
    rows = read({"type": "csv", "path": ["0*.csv", "1*.csv", "001.csv"]}, context())
    assert sorted(row[0] for row in rows) == [index for index in range(200) if index % 50]


def test_a_csv_tells_its_columns_without_types(data: Path, context: MakeContext) -> None:
    (data / "a.csv").write_text(TEXT)
    source = SOURCES.build(SOURCES.get("csv").config.model_validate({"type": "csv", "path": "a.csv"}))
    assert source.discover(context()) == {"id": "", "name": ""}  # type: ignore[attr-defined]
    assert "1 file(s)" in source.check(context())  # type: ignore[attr-defined]


def test_a_line_longer_than_the_engine_reads_is_refused_wherever_it_stands(data: Path, context: MakeContext) -> None:
    rows = "id,v\n" + "".join(f"{index},x\n" for index in range(1000))
    for tail in ("1,", "1,\n2,z\n"):
        first, *rest = tail.split("\n", 1)
        (data / "a.csv").write_text(rows + first + "y" * 60_000_000 + "".join(f"\n{line}" for line in rest))
        with pytest.raises(TerminalError, match="longer than 2 MB"):
            read({"type": "csv", "path": "a.csv"}, context())
    (data / "a.csv").write_text(rows + "1," + "y" * 3_000_000)
    with pytest.raises(TerminalError, match="longer than 2 MB"):
        read({"type": "csv", "path": "a.csv"}, context())
    (data / "a.csv").write_text(rows + "1," + "y" * 1_900_000)
    assert len(read({"type": "csv", "path": "a.csv"}, context())) == 1001
    (data / "a.csv").write_text(rows * 600)
    assert len(read({"type": "csv", "path": "a.csv", "header": True}, context())) == 600 * 1001 - 1


@pytest.mark.parametrize("count", [1, 500])
def test_a_ragged_line_is_told_and_does_not_make_the_file_one_column(
    data: Path, context: MakeContext, count: int
) -> None:
    (data / "a.csv").write_text("id,name,c\n" + "".join(f"{i},x,y\n" for i in range(count)) + "9,z\n")
    with pytest.raises(TerminalError, match=rf"a\.csv, line {count + 2}: 2 fields where the header has 3"):
        read({"type": "csv", "path": "a.csv"}, context())


def test_a_header_with_a_comma_over_a_single_column_stays_one(data: Path, context: MakeContext) -> None:
    (data / "a.csv").write_text("name of street, city\nhigh\nlow\nwide\n")
    assert read({"type": "csv", "path": "a.csv"}, context()) == [("high",), ("low",), ("wide",)]


def test_names_that_come_twice_are_still_a_header(data: Path, context: MakeContext) -> None:
    (data / "a.csv").write_text("id,id,name\n1,2,x\n")
    config = SOURCES.get("csv").config.model_validate({"type": "csv", "path": "a.csv"})
    extracted = SOURCES.build(config).extract(context())
    assert isinstance(extracted, Files)
    with duckdb.connect() as con:
        assert list(land(con, "source", extracted, scratch=data).columns) == ["id", "id_1", "name"]
        assert con.execute('SELECT * FROM "source"').fetchall() == [(1, 2, "x")]


@pytest.mark.parametrize(
    ("encoding", "text", "times", "told"),
    [
        ("latin-1", "Ñandú", 1, "cp1252"),
        ("cp1252", "“quoted” – 5 €", 1, "cp1252"),
        ("cp1252", "“quoted” – 5 €", 500, "cp1252"),
        ("cp1252", "São João não é informação à noite", 300, "cp1252"),
        ("cp1251", "Привет мир это русский текст о погоде", 300, "cp1251"),
        ("cp932", "これは日本語のテキストです", 300, "cp932"),
    ],
)
def test_an_old_encoding_is_cp1252_unless_much_text_says_otherwise(
    data: Path,
    context: MakeContext,
    log: list[tuple[str, dict[str, Any]]],
    encoding: str,
    text: str,
    times: int,
    told: str,
) -> None:
    (data / "a.csv").write_bytes(("id,v\n" + f"1,{text}\n" * times).encode(encoding))
    assert read({"type": "csv", "path": "a.csv"}, context()) == [(1, text)] * times
    assert ("encoding assumed", {"file": "a.csv", "encoding": told}) in log


def test_json_that_is_no_unicode_needs_an_encoding(data: Path, context: MakeContext) -> None:
    (data / "a.json").write_bytes('{"v": "Ñandú"}\n'.encode("latin-1"))
    with pytest.raises(TerminalError, match="set 'encoding'"):
        read({"type": "json", "path": "a.json"}, context())
    assert read({"type": "json", "path": "a.json", "encoding": "latin-1"}, context()) == [("Ñandú",)]


def test_what_a_desktop_adds_to_a_zip_does_not_count(data: Path, context: MakeContext) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("orders/", "")
        archive.writestr("orders/.DS_Store", b"x")
        archive.writestr("orders/a.csv", TEXT)
        archive.writestr("__MACOSX/orders/._a.csv", b"x")
    (data / "a.zip").write_bytes(out.getvalue())
    assert read({"type": "csv", "path": "a.zip"}, context()) == [(1, "ä"), (2, "ö")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../secret.csv", r"has '\.\.'"),
        ("${params.day}/../x.csv", r"has '\.\.'"),
        ("/etc/passwd", "outside the folders"),
        ("file:///etc/passwd", "outside the folders"),
        ("http://example.org/a.csv", "scheme 'http'"),
        ("s3://lake/a.csv", "needs a 'connection'"),
    ],
)
@pytest.mark.parametrize("type_", ["csv", "json", "parquet"])
def test_a_path_that_can_never_be_read_is_found_without_looking(
    data: Path, type_: str, path: str, message: str
) -> None:
    for given, where in ((path, ("path",)), (["ok.csv", path], ("path", 1))):
        config = SOURCES.get(type_).config.model_validate({"type": type_, "path": given})
        built = SOURCES.build(config)
        assert isinstance(built, Verifiable)
        (problem,) = built.verify()
        assert problem.path == where
        assert re.search(message, problem.message)
    for fine in ("a.csv", "deep/*.csv", str(data / "a.csv"), "${params.file}", "out-${run_id}.csv"):
        built = SOURCES.build(SOURCES.get(type_).config.model_validate({"type": type_, "path": fine}))
        assert isinstance(built, Verifiable)
        assert not list(built.verify())


# ---- JSON and Parquet

RECORDS = [{"id": 1, "v": 1.5}, {"id": 2, "v": None, "s": 'x"],[{\\"'}]


@pytest.mark.parametrize("levels", [127, 128, 1_000, 100_000])
def test_json_of_any_depth_arrives_or_is_told(data: Path, context: MakeContext, levels: int) -> None:
    value = "[" * levels + "]" * levels
    for text in (f'{{"v": {value}}}\n{{"v": [1]}}\n', f'{{"v": [1]}}\n{{"v": {value}}}\n', f'[{{"v": {value}}}]'):
        (data / "a.json").write_text(text)
        with (
            pytest.raises(TerminalError, match=r"a\.json, record [12]: nested deeper than 128 levels")
            if levels > 127
            else nullcontext()
        ):
            assert (value,) in read({"type": "json", "path": "a.json"}, context())
    (data / "a.json").write_text(f'{{"rows": [{{"v": {value}}}]}}')
    with pytest.raises(TerminalError, match="nested") if levels > 127 else nullcontext():
        assert read({"type": "json", "path": "a.json", "records": "rows"}, context()) == [(value,)]


def test_a_record_of_many_short_lists_is_not_deep(data: Path, context: MakeContext) -> None:
    value = json.dumps([[{"a": [n, "[["]}] for n in range(200)], separators=(",", ":"))
    (data / "a.json").write_text(f'{{"v": {value}}}\n')
    assert read({"type": "json", "path": "a.json"}, context()) == [(value,)]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("\n".join(map(json.dumps, RECORDS)), {}),
        (json.dumps(RECORDS), {}),
        (json.dumps(RECORDS, indent=2), {}),
        ("\n".join(json.dumps(record, indent=2) for record in RECORDS), {}),
        (
            json.dumps({"skip": [[{"data": [0]}]], "data": {"rows": RECORDS, "x": [9]}}, indent=1),
            {"records": "data.rows"},
        ),
        ("\ufeff" + json.dumps(RECORDS), {}),
    ],
)
def test_every_form_of_json_is_read(data: Path, context: MakeContext, text: str, options: dict[str, Any]) -> None:
    (data / "a.json").write_text(text, encoding="utf-8")
    rows = read({"type": "json", "path": "a.json", **options}, context())
    assert [(row[0], None if row[1] is None else float(row[1]), row[2]) for row in rows] == [
        (1, 1.5, None),
        (2, None, 'x"],[{\\"'),
    ]


def test_a_list_inside_a_large_object_is_copied_in_pieces(
    data: Path, context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataforge.sources import _json_text

    monkeypatch.setattr(_json_text, "CHUNK", 7)
    records = [{"id": index, "text": f'"{index}" ]}}[{{ \\ é'} for index in range(50)]
    (data / "a.json").write_text(json.dumps({"meta": {"rows": {"x": 1}}, "rows": records, "end": [1]}))
    assert [row[1] for row in read({"type": "json", "path": "a.json", "records": "rows"}, context())] == [
        record["text"] for record in records
    ]
    with pytest.raises(TerminalError, match=r"no list at 'meta\.rows'"):
        read({"type": "json", "path": "a.json", "records": "meta.rows"}, context())


def test_decimals_of_any_length_are_found_as_they_will_come(data: Path, context: MakeContext) -> None:
    table = pa.table({"v": pa.array([1], pa.decimal256(60, 2)), "n": pa.array([1], pa.decimal128(38, 2))})
    pq.write_table(table, data / "a.parquet")
    assert read({"type": "parquet", "path": "a.parquet"}, context()) == [("1.00", Decimal("1.00"))]
    source = SOURCES.build(SOURCES.get("parquet").config.model_validate({"type": "parquet", "path": "a.parquet"}))
    assert source.discover(context()) == {"v": "VARCHAR", "n": "DECIMAL(38,2)"}  # type: ignore[attr-defined]


def test_parquet_keeps_its_types_and_other_files_are_refused(data: Path, context: MakeContext) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int16())}), data / "1.parquet")
    pq.write_table(pa.table({"b": ["x"], "a": pa.array([2], pa.int32())}), data / "2.parquet")
    assert read({"type": "parquet", "path": "*.parquet"}, context()) == [(1, None), (2, "x")]
    (data / "no.parquet").write_text("hello")
    with pytest.raises(TerminalError, match="no Parquet file"):
        read({"type": "parquet", "path": "no.parquet"}, context())


def test_assets_name_files_and_objects() -> None:
    config = SOURCES.get("csv").config
    assert config.model_validate({"type": "csv", "path": "a/b.csv"}).asset() == "dataforge://files/a/b.csv"  # type: ignore[attr-defined]
    s3 = config.model_validate({"type": "csv", "path": "s3://lake/b.csv", "connection": "lake"})
    assert s3.asset() == "dataforge://lake/lake/b.csv"  # type: ignore[attr-defined]
    assert config.model_validate({"type": "csv", "path": "${run_id}.csv"}).asset() is None  # type: ignore[attr-defined]


# ---- S3


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Any]]:
    """A real S3 server with a bucket, as an Airflow connection and a client."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    client.create_bucket(Bucket="lake")
    yield (
        Connection(
            "lake", "aws", login="key", password="secret", extra={"endpoint_url": url, "region_name": "us-east-1"}
        ),
        client,
    )
    server.stop()


def test_objects_are_read_by_key_and_glob(
    lake: tuple[Connection, Any], data: Path, context: MakeContext, log: list[tuple[str, dict[str, Any]]]
) -> None:
    connection, client = lake
    client.put_object(Bucket="lake", Key="in/2.csv", Body=b"id,v\n2,x\n")
    client.put_object(Bucket="lake", Key="in/1.csv.gz", Body=gzip.compress(b"id,v\n1,x\n"))
    client.put_object(Bucket="lake", Key="in/deep/3.csv", Body=b"id,v\n3,x\n")
    client.put_object(Bucket="lake", Key="in/note.txt", Body=b"no\n")
    one = {"type": "csv", "connection": "lake"}
    assert read({**one, "path": "s3://lake/in/2.csv"}, context(connection)) == [(2, "x")]
    assert read({**one, "path": "s3://lake/in/*.csv*"}, context(connection)) == [(1, "x"), (2, "x")]
    assert len(read({**one, "path": "s3://lake/in/**/*.csv*"}, context(connection))) == 3
    etags = [fields["etag"] for message, fields in log if message == "object downloaded"]
    assert etags
    assert all(etags)


def test_missing_objects_buckets_and_connections_are_told(
    lake: tuple[Connection, Any], data: Path, context: MakeContext, tmp_path: Path
) -> None:
    connection, _ = lake
    for path, message in (
        ("s3://lake/none.csv", "no object matches"),
        ("s3://lake/x/*.csv", "no object matches"),
        ("s3://*/x", "bucket"),
    ):
        with pytest.raises(TerminalError, match=message):
            find(path, (), connection=connection, scratch=tmp_path)
    with pytest.raises(TerminalError, match="needs a 'connection'"):
        read({"type": "csv", "path": "s3://lake/a.csv"}, context())


def test_a_large_object_comes_whole_in_pieces(
    lake: tuple[Connection, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, client = lake
    body = os.urandom(300_000)
    client.put_object(Bucket="lake", Key="big", Body=body)
    monkeypatch.setattr("dataforge.components.paths.CHUNK", 65_536)
    (found,) = find("s3://lake/big", (), connection=connection, scratch=tmp_path / "s")
    assert found.path.read_bytes() == body
