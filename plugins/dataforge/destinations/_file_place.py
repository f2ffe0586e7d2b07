"""Where a file destination keeps data and ledger: a folder or a prefix in a bucket, and how the ledger is swapped.

    Folder   a lock file lets one commit in at a time; the ledger is replaced by a rename
    Bucket   the ledger is replaced by a conditional PUT: only if nobody else has done so since it was read

Names are `/`-separated and relative to the place. Every method is one step that is done or not: a kill between two of
them leaves a state that the next load or `sweep` puts in order.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from dataforge.components.base import Connection
from dataforge.components.paths import filesystem, s3_call
from dataforge.destinations._file_partitions import FOLDER
from dataforge.destinations._output_path import LEDGER_FOLDER, TEMPORARY
from dataforge.errors import TerminalError, TransientError

LOCK_SECONDS = 60.0
"""How long a commit waits for another one; a commit takes milliseconds, the data are written before it."""

CHUNK = 64 * 1024 * 1024
"""Bytes of one part of an upload to S3; smaller files go in one request."""

_TOKEN = "dataforge-load"  # noqa: S105 - a metadata key of S3 objects
_LOST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_UNKNOWN = ("NotImplemented", "501")


@dataclass(frozen=True)
class Seen:
    """A ledger as it was read: its content, and what says whether it is still the same; None when there is none.

    `file` is the version of a single file from before the ledger was read.
    """

    data: bytes | None = None
    version: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Listed:
    """One file of a place."""

    bytes: int
    changed: datetime


class Place(Protocol):
    """A folder or prefix that holds data and ledger."""

    url: str
    local: bool

    def named(self, name: str) -> str:
        """Return how a message calls a name."""
        ...

    def held(self) -> AbstractContextManager[None]:
        """Keep other commits out, where the place has locks."""
        ...

    def ledger(self) -> Seen:
        """Return the ledger as it is now."""
        ...

    def swap(self, data: bytes, seen: Seen) -> bool:
        """Replace the ledger; False when it is not any more as it was seen."""
        ...

    def publish(self, file: Path, name: str) -> None:
        """Move or upload a local file to a new name."""
        ...

    def replace(self, file: Path, name: str, token: str, before: str | None) -> bool:
        """Put a local file in the place of `name`; False when that is not any more as `version` said before."""
        ...

    def version(self, name: str) -> str | None:
        """Return what changes whenever the file at `name` is replaced; None when there is none."""
        ...

    def token(self, file: Path) -> str:
        """Return what `identity` will say of this local file once it has been put somewhere."""
        ...

    def identity(self, name: str) -> str | None:
        """Return by what the file at `name` is recognised; None when there is none."""
        ...

    def copy(self, name: str, to: str) -> None:
        """Make the file at `name` also be at `to`."""
        ...

    def fetch(self, name: str, into: Path) -> None:
        """Copy the file at `name` to a local file."""
        ...

    def read(self, name: str) -> bytes:
        """Return a whole small file; FileNotFoundError when there is none."""
        ...

    def edges(self, name: str, size: int) -> tuple[bytes, bytes] | None:
        """Return the first and last bytes of a file; None when there is none."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; nothing to remove is fine."""
        ...

    def stat(self, name: str) -> Listed | None:
        """Return size and time of a file; None when there is none."""
        ...

    def listing(self, folder: str, prefix: str) -> dict[str, Listed]:
        """Return the files directly in `folder` ("" is the place itself) whose names begin with `prefix`."""
        ...

    def partitions(self, prefix: str, below: str = "") -> dict[str, Listed]:
        """Return the files in folders `column=value` below `below`, at any depth, whose names begin with `prefix`."""
        ...

    def abandoned(self, older_than: datetime, prefix: str) -> list[str]:
        """Remove what uploads and writes that were killed left behind; return how one would name it.

        A local place is held, and knows for sure what is left; an upload must be older than that.
        """
        ...


class Folder:
    """A local folder, or one that all workers mount; the mount must have locks (NFS 4 does)."""

    local = True

    def __init__(self, base: Path, ledger: str) -> None:
        self.url = str(base)
        self._base = base
        self._ledger = base / ledger

    def named(self, name: str) -> str:
        """Return the absolute path."""
        return str(self._base / name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock file; TransientError when another process keeps it too long."""
        lock = self._ledger.with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TransientError(
                            f"{self.url}: another load has been committing for {LOCK_SECONDS:g} s; it holds {lock.name}"
                        ) from None
                    time.sleep(0.02)
                except OSError as error:
                    if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                        raise TerminalError(
                            f"{self.url}: this file system has no locks, which loads need; mount it with locks, or "
                            "choose another output folder"
                        ) from None
                    raise
            yield
        finally:
            os.close(handle)  # gives the lock back

    def ledger(self) -> Seen:
        """Return the ledger's file."""
        try:
            data = self._ledger.read_bytes()
        except FileNotFoundError:
            return Seen()
        return Seen(data, hashlib.sha256(data).hexdigest())

    def swap(self, data: bytes, seen: Seen) -> bool:
        """Rename a new ledger over the old one; the lock is held."""
        if self.ledger().version != seen.version:
            return False
        self._ledger.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._ledger.with_name(f".{self._ledger.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            write_synced(temporary, data)
            os.replace(temporary, self._ledger)  # noqa: PTH105 - a step that tests break
        finally:
            temporary.unlink(missing_ok=True)
        sync(self._ledger.parent)
        return True

    def publish(self, file: Path, name: str) -> None:
        """Rename the file, which lies in the same file system, to its place."""
        target = self._base / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)  # noqa: PTH105
        sync(target.parent)

    def replace(self, file: Path, name: str, token: str, before: str | None) -> bool:  # noqa: ARG002 - the lock is held
        """Rename the file over the old one."""
        self.publish(file, name)
        return True

    def version(self, name: str) -> str | None:
        """Return inode, size and time of change."""
        try:
            found = (self._base / name).stat()
        except FileNotFoundError:
            return None
        return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"

    def token(self, file: Path) -> str:
        """Return the SHA-256 of the content."""
        return sha256_of(file)

    def identity(self, name: str) -> str | None:
        """Return the SHA-256 of the content."""
        try:
            return sha256_of(self._base / name)
        except FileNotFoundError:
            return None

    def copy(self, name: str, to: str) -> None:
        """Link the file, which is never changed in place; copy it where the file system has no links."""
        target = self._base / to
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(self._base / name, target)
        except FileNotFoundError:
            raise
        except OSError:
            temporary = target.with_name(f".{target.name[-100:]}.{secrets.token_hex(4)}{TEMPORARY}")
            shutil.copyfile(self._base / name, temporary)
            sync(temporary)
            os.replace(temporary, target)  # noqa: PTH105
        sync(target.parent)

    def fetch(self, name: str, into: Path) -> None:
        """Copy the file."""
        shutil.copyfile(self._base / name, into)

    def read(self, name: str) -> bytes:
        """Return the content."""
        return (self._base / name).read_bytes()

    def edges(self, name: str, size: int) -> tuple[bytes, bytes] | None:
        """Return the first and last bytes."""
        path = self._base / name
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(size)
            file.seek(-min(size, len(head)), os.SEEK_END)
            return head, file.read(size)

    def remove(self, name: str) -> None:
        """Unlink the file; a symbolic link or a folder of that name is somebody else's."""
        path = self._base / name
        if path.is_file() and not path.is_symlink():
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108

    def stat(self, name: str) -> Listed | None:
        """Return size and time of a regular file."""
        path = self._base / name
        if path.is_symlink() or not path.is_file():
            return None
        found = path.stat()
        return Listed(found.st_size, datetime.fromtimestamp(found.st_mtime, timezone.utc))

    def listing(self, folder: str, prefix: str) -> dict[str, Listed]:
        """Return regular files."""
        found = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._base / folder) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    changed = datetime.fromtimestamp(stat.st_mtime, timezone.utc)
                    found[f"{folder}/{entry.name}" if folder else entry.name] = Listed(stat.st_size, changed)
        return found

    def partitions(self, prefix: str, below: str = "") -> dict[str, Listed]:
        """Return regular files; links are not followed."""
        found: dict[str, Listed] = {}
        base = self._base / below
        for folder, inner, _ in os.walk(base):
            inner[:] = [name for name in inner if FOLDER.match(name)]
            if Path(folder) != base:
                name = Path(folder).relative_to(base).as_posix()
                there = self.listing(f"{below}{name}", prefix)
                found |= {one.removeprefix(below): listed for one, listed in there.items()}
        return found

    def abandoned(self, older_than: datetime, prefix: str) -> list[str]:  # noqa: ARG002 - locks tell
        """Remove hidden temporary files that no process holds."""
        gone: list[str] = []
        folders = {
            "": f".{prefix[-100:]}",
            str(self._ledger.parent.relative_to(self._base)): f".{self._ledger.stem}",
        }
        if not prefix or prefix == "part-":
            folders |= {f"{LEDGER_FOLDER}/{inner}": "." for inner in ("dead_letters", "previous")}
        for folder, start in folders.items():
            names = [name for name in self.listing(folder, start) if name.endswith(TEMPORARY)]
            gone += [name for name in names if _remove_if_left(self._base / name)]
        return gone


class Bucket:
    """A prefix in an S3 bucket.

    Where a provider does not know conditional requests, they are left out, and two commits at once are not told apart;
    `unguarded` says so after a swap.
    """

    local = False

    def __init__(self, base: str, ledger: str, connection: Connection, log: Callable[..., None]) -> None:
        self.url = f"s3://{base}"
        self._bucket, _, self._prefix = base.rstrip("/").partition("/")
        self._ledger = ledger
        self._connection = connection
        self._log = log
        self._files: Any = None

    @property
    def _fs(self) -> Any:
        if self._files is None:
            self._files = filesystem(self._connection)
        return self._files

    def named(self, name: str) -> str:
        """Return the object's URL."""
        return f"s3://{self._bucket}/{self._key(name)}"

    def held(self) -> AbstractContextManager[None]:
        """Hold nothing: conditional requests do."""
        return nullcontext()

    def ledger(self) -> Seen:
        """Return the object and its ETag."""
        try:
            return self._get(self._ledger)
        except FileNotFoundError:
            return Seen()

    def swap(self, data: bytes, seen: Seen) -> bool:
        """PUT the ledger if its ETag is the one that was seen."""
        try:
            done = self._put(self._ledger, data, seen.version, ContentType="application/json")
        except FileNotFoundError:  # If-Match on an object that was removed
            return False
        # A request that is sent again since its answer was lost fails the second time: the first one has done it.
        return done or self.ledger().data == data

    def publish(self, file: Path, name: str) -> None:
        """Upload the file."""
        self._call(name, partial(self._fs.put_file, str(file), f"{self._bucket}/{self._key(name)}"))

    def replace(self, file: Path, name: str, token: str, before: str | None) -> bool:
        """PUT the object if its ETag is the one that was seen before."""
        metadata = {"Metadata": {_TOKEN: token}}
        try:
            if file.stat().st_size <= CHUNK:
                return self._put(name, file.read_bytes(), before, **metadata)
            return self._put_parts(name, file, before, **metadata)
        except FileNotFoundError:
            return False

    def version(self, name: str) -> str | None:
        """Return the ETag."""
        head = self._head(name)
        return head["ETag"] if head else None

    def token(self, file: Path) -> str:  # noqa: ARG002 - the object's metadata carry it
        """Return a new token."""
        return secrets.token_hex(16)

    def identity(self, name: str) -> str | None:
        """Return the token of the load that wrote the object; empty when none of ours did."""
        head = self._head(name)
        return str(head.get("Metadata", {}).get(_TOKEN, "")) if head else None

    def copy(self, name: str, to: str) -> None:
        """Copy within the bucket, on the server."""
        source, target = (f"{self._bucket}/{self._key(one)}" for one in (name, to))
        self._call(name, partial(self._fs.cp_file, source, target))

    def fetch(self, name: str, into: Path) -> None:
        """Download the object."""
        self._call(name, partial(self._fs.get_file, f"{self._bucket}/{self._key(name)}", str(into)))

    def read(self, name: str) -> bytes:
        """Return the content."""
        return self._get(name).data or b""

    def edges(self, name: str, size: int) -> tuple[bytes, bytes] | None:
        """Return the first and last bytes."""
        path = f"{self._bucket}/{self._key(name)}"
        try:
            head = self._call(name, partial(self._fs.cat_file, path, start=0, end=size))
            return bytes(head), bytes(self._call(name, partial(self._fs.tail, path, size)) if head else b"")
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Delete the object."""
        self._call(name, lambda: self._fs.call_s3("delete_object", Bucket=self._bucket, Key=self._key(name)))

    def stat(self, name: str) -> Listed | None:
        """Return size and time of an object."""
        head = self._head(name)
        return Listed(head["ContentLength"], head["LastModified"]) if head else None

    def listing(self, folder: str, prefix: str) -> dict[str, Listed]:
        """Return objects."""
        start = self._key(f"{folder}/" if folder else "")
        found: dict[str, Listed] = {}
        for key, listed in self._listed(Prefix=start + prefix, Delimiter="/"):
            name = key.removeprefix(start)
            found[f"{folder}/{name}" if folder else name] = listed
        return found

    def _listed(self, **given: str) -> Iterator[tuple[str, Listed]]:
        more: dict[str, str] = {}
        while True:
            call = partial(self._fs.call_s3, "list_objects_v2", Bucket=self._bucket, **given, **more)
            answer = self._call(given["Prefix"].removeprefix(f"{self._prefix}/"), call)
            for item in answer.get("Contents", ()):
                yield item["Key"], Listed(item["Size"], item["LastModified"])
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def partitions(self, prefix: str, below: str = "") -> dict[str, Listed]:
        """Return objects."""
        start = self._key(below) if below else (f"{self._prefix}/" if self._prefix else "")
        found: dict[str, Listed] = {}
        for key, listed in self._listed(Prefix=start):
            *folders, file = key.removeprefix(start).split("/")
            if folders and file.startswith(prefix) and all(FOLDER.match(folder) for folder in folders):
                found["/".join([*folders, file])] = listed
        return found

    def abandoned(self, older_than: datetime, prefix: str) -> list[str]:
        """Abort uploads in parts that nobody goes on with: they cost money and show in no listing."""
        gone = []
        call = partial(self._fs.call_s3, "list_multipart_uploads", Bucket=self._bucket, Prefix=self._key(prefix))
        for upload in self._call(prefix, call).get("Uploads") or ():
            if upload["Initiated"] < older_than:
                where = {"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._call(prefix, partial(self._fs.call_s3, "abort_multipart_upload", **where))
                gone.append(f"upload of {upload['Key']}")
        return gone

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._call(
                name, lambda: self._fs.call_s3("head_object", Bucket=self._bucket, Key=self._key(name))
            )
        except FileNotFoundError:
            return None
        return found

    def _get(self, name: str) -> Seen:
        import fsspec.asyn

        async def get() -> Seen:
            answer = await self._fs._call_s3("get_object", Bucket=self._bucket, Key=self._key(name))  # noqa: SLF001
            async with answer["Body"] as body:
                return Seen(await body.read(), answer["ETag"])

        found: Seen = self._call(name, lambda: fsspec.asyn.sync(self._fs.loop, get))
        return found

    def _put(self, name: str, data: bytes, before: str | None, **more: Any) -> bool:
        where = {"Bucket": self._bucket, "Key": self._key(name), "Body": data, **more}
        return self._conditional(name, before, lambda given: self._fs.call_s3("put_object", **where, **given))

    def _put_parts(self, name: str, file: Path, before: str | None, **more: Any) -> bool:
        where = {"Bucket": self._bucket, "Key": self._key(name)}
        call = partial(self._call, name)
        upload = call(lambda: self._fs.call_s3("create_multipart_upload", **where, **more))["UploadId"]
        size = max(CHUNK, file.stat().st_size // 9_000 + 1)
        parts: list[dict[str, Any]] = []
        # After an error the upload stays: perhaps it was completed and only the answer is lost. Else sweep() finds it.
        with file.open("rb") as source:
            while chunk := source.read(size):
                here = {**where, "UploadId": upload, "PartNumber": len(parts) + 1, "Body": chunk}
                answer = call(partial(self._fs.call_s3, "upload_part", **here))
                parts.append({"PartNumber": here["PartNumber"], "ETag": answer["ETag"]})
        ends = {**where, "UploadId": upload, "MultipartUpload": {"Parts": parts}}
        done = self._conditional(
            name, before, lambda given: self._fs.call_s3("complete_multipart_upload", **ends, **given)
        )
        if not done:
            with suppress(TransientError):
                call(lambda: self._fs.call_s3("abort_multipart_upload", **where, UploadId=upload))
        return done

    def _conditional(self, name: str, before: str | None, put: Callable[[dict[str, str]], Any]) -> bool:
        """Send a request that holds only if the object is as before; False when it is not."""
        condition = {"IfNoneMatch": "*"} if before is None else {"IfMatch": before}

        def attempt() -> bool:
            try:
                put(condition)
            except OSError as error:
                code = _code(error)
                if code in _LOST or isinstance(error, FileExistsError):
                    return False
                if code not in _UNKNOWN:
                    raise
                self._log(
                    "this object store knows no conditional requests: two loads at once into one target can lose one "
                    "of them; limit the pipeline to one run at a time",
                    target=self.named(name),
                )
                put({})
            return True

        done: bool = self._call(name, attempt)
        return done

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        missing = False

        def guarded() -> Any:
            nonlocal missing
            try:
                return call()
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise
                missing = True

        answer = s3_call(self.named(name), self._connection, guarded)
        if missing:
            raise FileNotFoundError(self.named(name))
        return answer


def _code(error: OSError) -> str:
    """Return S3's own code of an error that s3fs translated."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Give a new empty file, and remove it if it is still there at the end.

    It is locked, so that others can tell it from one that a killed process left behind.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # taken for debris in the moment before it was locked
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _remove_if_left(path: Path) -> bool:
    """Remove a temporary file unless a process that lives has it locked; return whether it was removed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    path.write_bytes(data)
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():  # some file systems can't sync folders
            os.fsync(handle)
    finally:
        os.close(handle)
