"""Where batches wait between tasks: parts and a manifest in a folder of their own for each attempt.

    <staging>/<dag>/<run>/<stage>/<attempt>/part-….parquet, manifest.json

The manifest is written last and names every part with its size and digest, so a folder without one is not there. What
travels through XCom is a `Manifest` value: the address, the digest of manifest.json, and counts. Everything is checked
against those digests before it is used. Local folders are private to the user whatever the umask.

A part's digest is the SHA-256 of the SHA-256 values of its pieces of 4 MiB: pieces are hashed side by side, and hashing
each part once when it is written and once when it is read is most of what staging safely costs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from dataforge.components.base import Columns, Connection, JsonValue
from dataforge.components.paths import filesystem, s3_call
from dataforge.components.scratch import Claim, claim, sweep
from dataforge.errors import ConfigError, TerminalError, TransientError
from dataforge.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Self

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
_PIECE = 4 * 1024 * 1024
_CHUNK = 256 * 1024
"""Bytes read at once: few enough to be hashed out of the processor's cache."""
_THREADS = min(4, os.cpu_count() or 1)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_PART_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}\Z")


@dataclass(frozen=True)
class Manifest:
    """The small reference to staged parts: `digest` is the SHA-256 of manifest.json, `bytes` and `rows` are totals."""

    url: str
    digest: str
    rows: int
    bytes: int
    parts: int

    def to_json(self) -> dict[str, JsonValue]:
        """Return a plain dict, far below 2 kB."""
        return {"url": self.url, "digest": self.digest, "rows": self.rows, "bytes": self.bytes, "parts": self.parts}

    @classmethod
    def from_json(cls, value: Mapping[str, JsonValue]) -> Manifest:
        """Return the manifest that `to_json` gave; TransientError when `value` is none."""
        try:
            return cls(
                str(value["url"]), str(value["digest"]), int(value["rows"]), int(value["bytes"]), int(value["parts"])
            )
        except (KeyError, TypeError, ValueError):
            raise TransientError(f"the manifest handed over by the previous task can't be read; {_AGAIN}") from None


@dataclass(frozen=True)
class Part:
    """One staged file: `rows` is its number of records, `sha256` the digest over those of its pieces."""

    name: str
    bytes: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What manifest.json says: the parts in order, the columns (name to type) and what else the stage put in.

    `rejects` are Parquet parts with records that were set aside (`runtime.rejects`), which are no data.
    """

    parts: tuple[Part, ...]
    columns: dict[str, str] = field(default_factory=dict)
    extra: dict[str, JsonValue] = field(default_factory=dict)
    rejects: tuple[Part, ...] = ()


_AGAIN = "clear the extract task to extract again"


class _Store(Protocol):
    """The place behind a staging URL. Addresses are `/`-separated names below the root."""

    url: str

    def work_folder(self, address: str) -> Path: ...
    def publish(self, work: Path, names: Iterable[str], address: str) -> None: ...
    def discard(self, work: Path) -> None: ...
    def read(self, address: str, limit: int) -> bytes: ...
    def fetch(self, address: str, scratch: Path) -> Path: ...
    def remove(self, address: str) -> None: ...
    def ages(self) -> Iterator[tuple[str, datetime]]: ...


@dataclass
class Attempt:
    """One attempt of one stage: write parts into `folder`, then `publish` them; or `discard`.

    As a context manager it discards when the block ends with an error.
    """

    folder: Path
    _address: str
    _store: _Store

    def publish(
        self,
        parts: Iterable[Path],
        columns: Columns | None = None,
        extra: Mapping[str, JsonValue] | None = None,
        rows: Mapping[Path, int] | None = None,
        rejects: Iterable[Path] = (),
    ) -> Manifest:
        """Make the parts (files directly in `folder`) visible as one unit and return the reference to them.

        Rows are read from Parquet footers; for other files `rows` must name them. `rejects` are parts with records
        that were set aside; they count in no total. TransientError when the place is full or away.
        """
        with _place(self._store.url):
            described = _describe(tuple(parts), self.folder, rows or {})
            aside = _describe(tuple(rejects), self.folder, {})
            contents = {
                "version": 2,
                "address": self._address,
                "parts": [vars(part) for part in described],
                **({"rejects": [vars(part) for part in aside]} if aside else {}),
                "columns": dict(columns or {}),
                "extra": dict(extra or {}),
            }
            data = json.dumps(contents, ensure_ascii=False, allow_nan=False).encode()
            if len(data) > MAX_MANIFEST_BYTES:
                raise TerminalError(f"the staging manifest would have {len(data)} bytes; at most {MAX_MANIFEST_BYTES}")
            (self.folder / MANIFEST).write_bytes(data)
            names = [*(part.name for part in (*described, *aside)), MANIFEST]
            self._store.publish(self.folder, names, self._address)
        return Manifest(
            url=f"{self._store.url}/{self._address}",
            digest=hashlib.sha256(data).hexdigest(),
            rows=sum(part.rows for part in described),
            bytes=sum(part.bytes for part in described),
            parts=len(described),
        )

    def discard(self) -> None:
        """Remove what was written and not published."""
        self._store.discard(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            self.discard()


@dataclass(frozen=True)
class Staging:
    """The deployment's staging place."""

    _store: _Store

    @classmethod
    def open(cls, settings: Settings, connection: Callable[[str], Connection]) -> Staging:
        """Return the place that `staging_url` names (file:// or s3://); TerminalError when it names none."""
        url = settings.staging_url.rstrip("/")
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            return cls(_Folder(url, Path(unquote(parts.path))))
        if parts.scheme == "s3" and parts.netloc:
            if not settings.staging_connection:
                raise TerminalError(
                    f"staging_url {url!r} needs [dataforge] staging_connection, an Airflow connection of type aws"
                )
            try:
                found = connection(settings.staging_connection)
            except ConfigError as error:
                raise TerminalError(f"[dataforge] staging_connection: {error.problems[0].message}") from None
            return cls(_Bucket(url, found, settings.scratch_folder))
        raise TerminalError(
            f"[dataforge] staging_url {url!r} is not supported; write file:///folder or s3://bucket/prefix"
        )

    def attempt(self, dag_id: str, run_id: str, stage: str, attempt_id: str) -> Attempt:
        """Return a new attempt with an empty local folder to write parts into."""
        address = "/".join(map(folder_name, (dag_id, run_id, stage, attempt_id)))
        with _place(self._store.url):
            return Attempt(self._store.work_folder(address), address, self._store)

    def contents(self, manifest: Manifest) -> Contents:
        """Return what manifest.json says; TransientError when it is missing, changed or not from this place."""
        address = self._address(manifest)
        with _place(self._store.url):
            try:
                data = self._store.read(f"{address}/{MANIFEST}", MAX_MANIFEST_BYTES)
            except FileNotFoundError:
                raise TransientError(f"staged records are gone: no {MANIFEST} at {manifest.url!r}; {_AGAIN}") from None
        if hashlib.sha256(data).hexdigest() != manifest.digest:
            raise TransientError(f"staged records changed: {MANIFEST} at {manifest.url!r} has another digest; {_AGAIN}")
        try:
            value = json.loads(data)
            parts = tuple(Part(**part) for part in value["parts"])
            aside = tuple(Part(**part) for part in value.get("rejects", ()))
            fits = value["address"] == address and all(_PART_NAME.match(part.name) for part in (*parts, *aside))
            contents = Contents(parts, value["columns"], value["extra"], aside)
        except (ValueError, TypeError, KeyError):
            fits = False
        if not fits:
            raise TransientError(f"{MANIFEST} at {manifest.url!r} is of another kind or of another run; {_AGAIN}")
        return contents

    def fetch(self, manifest: Manifest, scratch: Path) -> list[Path]:
        """Return local paths of all parts with data, in order, each checked against its digest.

        Parts in a local staging folder are not copied; others are downloaded to `scratch`. TransientError when one is
        missing or differs.
        """
        return self._fetch(manifest, self.contents(manifest).parts, scratch)

    def fetch_rejects(self, manifest: Manifest, scratch: Path) -> list[Path]:
        """Return local paths of the parts with records that were set aside, as `fetch` does; often there are none."""
        return self._fetch(manifest, self.contents(manifest).rejects, scratch)

    def _fetch(self, manifest: Manifest, parts: Sequence[Part], scratch: Path) -> list[Path]:
        address = self._address(manifest)
        into = scratch / f"staged-{hashlib.sha256(manifest.url.encode()).hexdigest()[:16]}"

        def one(part: Part) -> Path:
            try:
                path = self._store.fetch(f"{address}/{part.name}", into)
                intact = path.stat().st_size == part.bytes and _sha256(path) == part.sha256
            except FileNotFoundError:
                raise TransientError(f"staged part {part.name!r} is missing at {manifest.url!r}; {_AGAIN}") from None
            if not intact:
                raise TransientError(f"staged part {part.name!r} at {manifest.url!r} is damaged; {_AGAIN}")
            return path

        with _place(self._store.url), ThreadPoolExecutor(min(4, len(parts)) or 1) as pool:
            return list(pool.map(one, parts))

    def remove_run(self, dag_id: str, run_id: str) -> None:
        """Remove everything that the run staged; nothing to remove is fine."""
        with _place(self._store.url):
            self._store.remove(f"{folder_name(dag_id)}/{folder_name(run_id)}")

    def sweep(self, older_than: timedelta) -> int:
        """Remove runs in which nothing was written for `older_than`; return how many."""
        limit = datetime.now(timezone.utc) - older_than
        with _place(self._store.url):
            old = [address for address, newest in self._store.ages() if newest < limit]
            for address in old:
                self._store.remove(address)
        return len(old)

    def _address(self, manifest: Manifest) -> str:
        prefix = f"{self._store.url}/"
        address = manifest.url.removeprefix(prefix)
        names = address.split("/")
        if not manifest.url.startswith(prefix) or len(names) != 4 or any(folder_name(name) != name for name in names):
            raise TransientError(
                f"manifest of another place: {manifest.url!r} is not below {self._store.url!r}; {_AGAIN}"
            )
        return address


def folder_name(text: str) -> str:
    """Return a folder name for `text`: itself when plain, else its plain part and a digest that tells it apart."""
    if text and len(text) <= 100 and not _UNSAFE.search(text) and not text.startswith("."):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_UNSAFE.sub('-', text).lstrip('.')[:80]}_{digest}"


class _Folder:
    """A local folder (or one that all workers mount)."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self._root = root

    def work_folder(self, address: str) -> Path:
        parent = self._root / Path(address).parent
        _make_private(self._root, parent)
        # In the same file system as the final place, so that publishing is one rename.
        return Path(tempfile.mkdtemp(prefix=f".{Path(address).name}-", dir=parent))

    def publish(self, work: Path, names: Iterable[str], address: str) -> None:
        for name in names:
            (work / name).chmod(0o600)
            _sync(work / name)
        _sync(work)
        target = self._root / address
        if target.exists():  # the same attempt published before, and its answer was lost
            aside = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
            target.rename(aside / "old")
            work.rename(target)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            work.rename(target)
        _sync(target.parent)

    def discard(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)

    def read(self, address: str, limit: int) -> bytes:
        with (self._root / address).open("rb") as file:
            return file.read(limit)

    def fetch(self, address: str, scratch: Path) -> Path:  # noqa: ARG002 - nothing is copied
        return self._root / address

    def remove(self, address: str) -> None:
        folder = self._root / address
        if not folder.is_dir():
            return
        doomed = folder.with_name(f".gone-{folder.name}-{os.getpid()}")
        try:
            folder.rename(doomed)  # readers see all of it or nothing
        except FileNotFoundError:
            return
        shutil.rmtree(doomed)
        with suppress(OSError):  # another run of the same DAG keeps it
            folder.parent.rmdir()

    def ages(self) -> Iterator[tuple[str, datetime]]:
        for run in sorted(self._root.glob("*/*")):
            if run.is_dir() and not run.is_symlink():
                newest = max(_changed(path) for path in (run, *run.rglob("*")))
                yield f"{run.parent.name}/{run.name}", datetime.fromtimestamp(newest, timezone.utc)


class _Bucket:
    """A prefix in an S3 bucket."""

    def __init__(self, url: str, connection: Connection, scratch: Path | None) -> None:
        self.url = url
        self._root = url.removeprefix("s3://")
        self._connection = connection
        self._scratch = scratch
        self._claims: dict[Path, Claim] = {}
        self._fs = filesystem(connection)

    def work_folder(self, address: str) -> Path:
        run = f"{self.url}/{address.rsplit('/', 2)[0]}"
        sweep(self._scratch, run)
        found = claim(self._scratch, run)
        self._claims[found.folder] = found
        return found.folder

    def publish(self, work: Path, names: Iterable[str], address: str) -> None:
        # The manifest comes last in `names`: parts without one are not there for anybody.
        for name in names:
            self._call(partial(self._fs.put_file, str(work / name), f"{self._root}/{address}/{name}"))
        self.discard(work)

    def discard(self, work: Path) -> None:
        if (found := self._claims.pop(work, None)) is not None:
            found.remove()

    def read(self, address: str, limit: int) -> bytes:
        return bytes(self._call(lambda: self._fs.cat_file(f"{self._root}/{address}", start=0, end=limit)))

    def fetch(self, address: str, scratch: Path) -> Path:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = scratch / address.rpartition("/")[2]
        if not path.exists():
            self._call(lambda: self._fs.get_file(f"{self._root}/{address}", str(path)))
        return path

    def remove(self, address: str) -> None:
        prefix = f"{self._root}/{address}/"
        found = self._call(lambda: self._fs.find(prefix))
        # Manifests go first, so that no reader starts on parts that are about to go.
        for name in sorted(found, key=lambda name: not name.endswith(f"/{MANIFEST}")):
            self._call(partial(self._fs.rm_file, name))

    def ages(self) -> Iterator[tuple[str, datetime]]:
        newest: dict[str, datetime] = {}
        found = self._call(lambda: self._fs.find(self._root, detail=True))
        for name, info in found.items():
            inner = name.removeprefix(f"{self._root}/").split("/")
            if len(inner) == 5:
                run = "/".join(inner[:2])
                newest[run] = max(info["LastModified"], newest.get(run, info["LastModified"]))
        yield from sorted(newest.items())

    def _call(self, call: Callable[[], Any]) -> Any:
        missing = False

        def guarded() -> Any:
            nonlocal missing
            try:
                return call()
            except FileNotFoundError:
                missing = True

        answer = s3_call(f"staging at {self.url}", self._connection, guarded)
        if missing:
            raise FileNotFoundError(self.url)
        return answer


def _describe(parts: tuple[Path, ...], folder: Path, rows: Mapping[Path, int]) -> tuple[Part, ...]:
    for path in parts:
        if path.parent != folder or not _PART_NAME.match(path.name) or path.name == MANIFEST:
            raise ValueError(f"{path} is no part of {folder}: parts lie directly in it, with plain names")
    with ThreadPoolExecutor(min(4, len(parts)) or 1) as pool:
        digests = list(pool.map(_sha256, parts))
    return tuple(
        Part(path.name, path.stat().st_size, rows[path] if path in rows else parquet_rows(path), digest)
        for path, digest in zip(parts, digests, strict=True)
    )


def parquet_rows(path: Path) -> int:
    """Return how many rows a Parquet file has, by its footer."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _sha256(path: Path) -> str:
    starts = range(0, path.stat().st_size, _PIECE)
    with ThreadPoolExecutor(min(_THREADS, len(starts)) or 1) as pool:
        return hashlib.sha256(b"".join(pool.map(partial(_piece, path), starts))).hexdigest()


def _piece(path: Path, start: int) -> bytes:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        left = _PIECE
        while left and (size := file.readinto(buffer[: min(left, _CHUNK)])):
            digest.update(buffer[:size])
            left -= size
    return digest.digest()


def _make_private(root: Path, folder: Path) -> None:
    """Create `folder` and what is missing above it; from `root` down only the user may enter, whatever the umask."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for path in (root, *reversed([p for p in (folder, *folder.parents) if p != root and p.is_relative_to(root)])):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        path.chmod(0o700)


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _place(url: str) -> Iterator[None]:
    """Turn errors of the system into a TransientError that names the place."""
    try:
        yield
    except OSError as error:
        raise TransientError(f"staging at {url}: {error.strerror or error}") from None
