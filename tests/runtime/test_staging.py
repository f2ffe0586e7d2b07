"""Staging on a local folder and on a real S3 server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import s3_server

from dataforge.components.base import Connection
from dataforge.components.paths import filesystem
from dataforge.errors import ConfigError, Problem, TerminalError, TransientError
from dataforge.runtime.staging import MANIFEST, Attempt, Manifest, Staging, folder_name
from dataforge.settings import Settings

RUN = "scheduled__2024-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def s3() -> Iterator[Connection]:
    """A connection to a real S3 server with the bucket `staging`."""
    with s3_server.running("staging") as connection:
        yield connection


@pytest.fixture(params=["local", "s3"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Staging:
    """A staging place of each kind."""
    if request.param == "local":
        return local(tmp_path)
    connection: Connection = request.getfixturevalue("s3")
    settings = Settings(
        staging_url=f"s3://staging/{tmp_path.name}/x", staging_connection="lake", scratch_folder=tmp_path / "scratch"
    )
    return Staging.open(settings, lambda _: connection)


def local(tmp_path: Path) -> Staging:
    return Staging.open(Settings(staging_url=f"file://{tmp_path}/staging"), none)


def none(conn_id: str) -> Connection:
    raise ConfigError(Problem("unknown-connection", f"there is no Airflow connection {conn_id!r}"))


def write(attempt: Attempt, *values: list[int]) -> list[Path]:
    parts = []
    for index, ids in enumerate(values):
        parts.append(attempt.folder / f"part-{index}.parquet")
        pq.write_table(pa.table({"id": ids}), parts[-1])
    return parts


def stage(staging: Staging, *values: list[int], run: str = RUN, attempt: str = "1") -> Manifest:
    made = staging.attempt("orders", run, "extract", attempt)
    return made.publish(write(made, *values), columns={"id": "BIGINT"}, extra={"source": {"etag": "é"}})


def test_parts_come_back_in_order_with_their_facts(staging: Staging, tmp_path: Path) -> None:
    manifest = Manifest.from_json(json.loads(json.dumps(stage(staging, [1, 2], [3]).to_json())))
    assert (manifest.rows, manifest.parts) == (3, 2)
    assert len(json.dumps(manifest.to_json())) < 2000
    paths = staging.fetch(manifest, tmp_path / "fetched")
    assert [pq.read_table(path).column("id").to_pylist() for path in paths] == [[1, 2], [3]]
    assert sum(path.stat().st_size for path in paths) == manifest.bytes
    contents = staging.contents(manifest)
    assert contents.columns == {"id": "BIGINT"}
    assert contents.extra == {"source": {"etag": "é"}}
    assert [part.rows for part in contents.parts] == [2, 1]


def test_no_parts_and_no_rows_are_fine(staging: Staging, tmp_path: Path) -> None:
    assert staging.fetch(stage(staging), tmp_path / "a") == []
    assert stage(staging, [], attempt="2").rows == 0


def test_other_files_tell_their_rows(staging: Staging, tmp_path: Path) -> None:
    attempt = staging.attempt("orders", RUN, "extract", "1")
    part = attempt.folder / "part-0.ndjson"
    part.write_text('{"a":1}\n')
    assert attempt.publish([part], rows={part: 1}).rows == 1


def test_publishing_the_same_attempt_again_replaces_it(staging: Staging, tmp_path: Path) -> None:
    first, second = stage(staging, [1]), stage(staging, [2, 3])
    assert pq.read_table(staging.fetch(second, tmp_path / "b")[0]).num_rows == 2
    with pytest.raises(TransientError, match="another digest"):
        staging.fetch(first, tmp_path / "a")


def test_a_run_is_removed_whole_and_others_stay(staging: Staging, tmp_path: Path) -> None:
    mine, other = stage(staging, [1]), stage(staging, [2], run="other")
    staging.remove_run("orders", RUN)
    staging.remove_run("orders", RUN)
    with pytest.raises(TransientError, match=r"staged records are gone.*extract again"):
        staging.fetch(mine, tmp_path / "a")
    assert staging.fetch(other, tmp_path / "b")


def test_a_sweep_removes_by_age(staging: Staging, tmp_path: Path) -> None:
    manifest = stage(staging, [1])
    assert staging.sweep(timedelta(hours=1)) == 0
    assert staging.fetch(manifest, tmp_path / "a")
    time.sleep(1.1)  # S3 tells whole seconds
    assert staging.sweep(timedelta(0)) == 1
    with pytest.raises(TransientError):
        staging.fetch(manifest, tmp_path / "b")
    assert staging.sweep(timedelta(0)) == 0


def test_a_sweep_takes_what_was_never_published(tmp_path: Path) -> None:
    staging = local(tmp_path)
    write(staging.attempt("orders", RUN, "extract", "1"), [1])
    assert staging.sweep(timedelta(0)) == 1
    assert not list((tmp_path / "staging").rglob("*.parquet"))


def part_of(tmp_path: Path) -> Path:
    return next((tmp_path / "staging").rglob("part-0.parquet"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: flip(path.parent / MANIFEST), "another digest"),
        (lambda path: (path.parent / MANIFEST).unlink(), "are gone"),
    ],
)
def test_damage_is_found_before_use_and_says_to_extract_again(tmp_path: Path, damage: Any, message: str) -> None:
    staging = local(tmp_path)
    manifest = stage(staging, list(range(100)))
    damage(part_of(tmp_path))
    with pytest.raises(TransientError, match=f"{message}.*extract again"):
        staging.fetch(manifest, tmp_path / "a")


def test_damage_in_any_piece_of_a_large_part_is_found(tmp_path: Path) -> None:
    staging = local(tmp_path)
    attempt = staging.attempt("orders", RUN, "extract", "1")
    part = attempt.folder / "part-0.ndjson"
    one, two, rest = (os.urandom(size << 20) for size in (4, 4, 1))
    part.write_bytes(one + two + rest)
    manifest = attempt.publish([part], rows={part: 1})
    (path,) = staging.fetch(manifest, tmp_path / "a")
    flipped = [piece[:-1] + bytes([piece[-1] ^ 1]) for piece in (one, two, rest)]
    for damaged in (
        flipped[0] + two + rest,
        one + flipped[1] + rest,
        one + two + flipped[2],
        two + one + rest,
        one + one + rest,
    ):
        path.write_bytes(damaged)
        with pytest.raises(TransientError, match="is damaged"):
            staging.fetch(manifest, tmp_path / "a")
    path.write_bytes(one + two + rest)
    assert staging.fetch(manifest, tmp_path / "a") == [path]


def test_a_damaged_object_in_s3_is_found(tmp_path: Path, s3: Connection) -> None:
    settings = Settings(staging_url=f"s3://staging/{tmp_path.name}", staging_connection="lake")
    staging = Staging.open(settings, lambda _: s3)
    manifest = stage(staging, [1, 2, 3])
    fs = filesystem(s3)
    name = next(key for key in fs.find(f"staging/{tmp_path.name}") if key.endswith(".parquet"))
    fs.pipe_file(name, fs.cat_file(name)[:-1] + b"x")
    with pytest.raises(TransientError, match="is damaged"):
        staging.fetch(manifest, tmp_path / "a")


@pytest.mark.parametrize(
    "url",
    ["file:///etc", "s3://other/a/b/c/d", "{root}/a/../../x/y", "{root}/a/b", "{root}x/a/b/c/d", "{root}/a/b/c/..", ""],
)
def test_a_manifest_of_another_place_is_refused(tmp_path: Path, url: str) -> None:
    staging = local(tmp_path)
    foreign = Manifest(url.replace("{root}", f"file://{tmp_path}/staging"), "0" * 64, 1, 1, 1)
    with pytest.raises(TransientError, match="another place"):
        staging.fetch(foreign, tmp_path / "a")


def test_a_manifest_of_another_run_is_refused_even_with_the_right_digest(tmp_path: Path) -> None:
    staging = local(tmp_path)
    manifest = stage(staging, [1])
    folder = part_of(tmp_path).parent
    folder.rename(folder.with_name("2"))
    moved = Manifest(manifest.url[:-1] + "2", manifest.digest, manifest.rows, manifest.bytes, manifest.parts)
    with pytest.raises(TransientError, match="another run"):
        staging.fetch(moved, tmp_path / "a")


@pytest.mark.parametrize("value", [{}, {"url": 1}, {"url": "x", "digest": "y", "rows": "z", "bytes": 1, "parts": 1}])
def test_a_broken_hand_over_is_transient(value: dict[str, Any]) -> None:
    with pytest.raises(TransientError, match="can't be read"):
        Manifest.from_json(value)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        stage(local(tmp_path), [1])
    finally:
        os.umask(before)
    for path in (tmp_path / "staging", *(tmp_path / "staging").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_parts_must_lie_in_the_attempts_folder(tmp_path: Path) -> None:
    attempt = local(tmp_path).attempt("orders", RUN, "extract", "1")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="is no part"):
        attempt.publish([tmp_path / "x.parquet"])
    attempt.discard()
    assert not attempt.folder.exists()


def test_a_full_disk_is_transient_and_names_the_place(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    staging = Staging.open(Settings(staging_url=f"file://{blocked}/x"), none)
    with pytest.raises(TransientError, match=f"staging at file://{blocked}/x"):
        staging.attempt("orders", RUN, "extract", "1")


def test_staging_removed_under_a_running_task_is_transient(tmp_path: Path) -> None:
    import shutil

    staging = local(tmp_path)
    attempt = staging.attempt("orders", RUN, "extract", "1")
    parts = write(attempt, [1])
    shutil.rmtree(tmp_path / "staging")
    with pytest.raises(TransientError, match="staging at"):
        attempt.publish(parts)


@pytest.mark.parametrize("url", ["gs://bucket/x", "file://host/x", "/plain", "file:relative", "s3://"])
def test_an_unsupported_url_is_terminal(url: str) -> None:
    with pytest.raises(TerminalError, match="not supported"):
        Staging.open(Settings(staging_url=url), none)


def test_s3_needs_a_connection_that_exists() -> None:
    with pytest.raises(TerminalError, match="staging_connection"):
        Staging.open(Settings(staging_url="s3://b/x"), none)
    with pytest.raises(TerminalError, match="no Airflow connection 'lake'"):
        Staging.open(Settings(staging_url="s3://b/x", staging_connection="lake"), none)


@given(st.text(max_size=300), st.text(max_size=300))
def test_folder_names_are_safe_and_tell_names_apart(one: str, two: str) -> None:
    name = folder_name(one)
    assert 0 < len(name) <= 100
    assert name.isascii()
    assert not name.startswith(".")
    assert "/" not in name
    assert folder_name(name) == name
    assert (folder_name(two) == name) == (one == two) or name in (one, two)
