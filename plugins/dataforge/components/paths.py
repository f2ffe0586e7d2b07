"""From the path in a config to files: local ones below the folders a deployment opened, or objects in S3.

Shared by file sources (`find`) and file destinations (`place`, `filesystem`). A config can't leave the folders: no
`..`, no symbolic link that leads out, only regular files. S3 is reached through an Airflow connection only.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.components.lifeline import bounded_call
from dataforge.components.seen_files import ListedFile
from dataforge.errors import DataForgeError, ServerAway, TerminalError, TransientError
from dataforge.settings import get_settings

CHUNK = 8 * 1024 * 1024
"""Bytes that one read of an S3 object or of a compressed file takes."""

_AT_ONCE = 4
"""Objects that are downloaded at the same time, each through a buffer of CHUNK bytes."""

UPLOAD = "upload://"
"""How the path of a file begins that a person uploaded; it leads nowhere but within that person's drafts."""

_lent: ContextVar[Mapping[str, Path]] = ContextVar("lent", default={})  # noqa: B039  # it is never changed in place
_SCHEME = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*)://")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Found:
    """One input file: where it lies now, what to call it in messages, and the ETag of the object it came from."""

    path: Path
    name: str
    etag: str | None = None


@dataclass(frozen=True, order=True)
class There(ListedFile):
    """A file of a listing, and where it lies if that is on this machine."""

    path: Path | None = field(default=None, compare=False)


def is_s3(text: str) -> bool:
    """Whether `text` names objects in S3."""
    return text.startswith("s3://")


@contextmanager
def lending(files: Mapping[str, Path]) -> Iterator[None]:
    """Let exactly these texts stand for these files within the block; nothing else can be reached through them."""
    token = _lent.set(files)
    try:
        yield
    finally:
        _lent.reset(token)


def is_lent(text: str) -> bool:
    """Whether `text` stands for a file of the person who drafts now."""
    return text in _lent.get()


def find(
    text: str,
    folders: Iterable[Path],
    *,
    connection: Connection | None = None,
    scratch: Path | None = None,
    limit: int | None = None,
) -> tuple[Found, ...]:
    """Return the files that a path, a glob (`*`, `?`, `[a-z]`, `**`) or an `s3://bucket/key*` names, sorted by name.

    Relative paths are looked up below `folders` in order; the first folder with a match is taken. S3 objects are
    downloaded to `scratch`, at most `limit` of them. TerminalError when nothing matches or the path leads out.
    """
    if is_s3(text):
        if connection is None:
            raise TerminalError(f"path {text!r} needs a 'connection' (an Airflow connection of type aws)")
        if scratch is None:
            raise TerminalError(f"path {text!r} can't be downloaded: there is no scratch folder")
        return download(text, connection, scratch, limit=limit)
    paths = resolve(text, folders)
    return tuple(Found(path, path.name) for path in paths)


def listing(text: str, folders: Iterable[Path], *, connection: Connection | None = None) -> tuple[There, ...]:
    """Return the files that a path, glob or S3 key names, without reading any; none where nothing matches.

    TerminalError when the path leads out.
    """
    if is_s3(text):
        if connection is None:
            raise TerminalError(f"path {text!r} needs a 'connection' (an Airflow connection of type aws)")
        return tuple(_objects(text, connection))
    found = []
    for name, path in _matches(text, folders, missing_ok=True):
        try:
            changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
            found.append(There(name, version_of(path), changed, path))
        except FileNotFoundError:  # removed since: then it is not there
            continue
    return tuple(found)


def version_of(path: Path) -> str:
    """Return what changes when a file is written or replaced."""
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def resolve(text: str, folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return the local regular files that `text` (path or glob, also as `file://`) names below `folders`, sorted."""
    return tuple(path for _, path in _matches(text, folders))


def _matches(text: str, folders: Iterable[Path], *, missing_ok: bool = False) -> tuple[tuple[str, Path], ...]:
    """Return the files, and what each is called below the folder in which it was found."""
    if text in _lent.get():
        return ((text, _lent.get()[text]),)
    folders = tuple(folders)
    path = _local(text)
    for folder in folders:
        inner = _inside(path, folder)
        if inner is None:
            continue
        if found := _match(folder, inner):
            return tuple((item.relative_to(folder).as_posix(), _regular(item, text, folder)) for item in found)
    listed = ", ".join(repr(str(folder)) for folder in folders) or "none: set [dataforge] data_folders"
    if path.is_absolute() and all(_inside(path, folder) is None for folder in folders):
        raise TerminalError(f"path {text!r} is outside the folders that may be read: {listed}")
    if missing_ok:
        return ()
    what = "no file matches" if _GLOB.search(str(path)) else "there is no file"
    raise TerminalError(f"{what} {text!r} in the folders that may be read: {listed}")


def refusal(text: str, folders: Iterable[Path], *, connected: bool) -> str | None:
    """Return why `find` would refuse a path whatever files there are; None where that depends on files or the run.

    `connected` says whether there is a connection for S3.
    """
    if text in _lent.get():
        return None
    if is_s3(text):
        return None if connected else f"path {text!r} needs a 'connection' (an Airflow connection of type aws)"
    try:
        path = _local(text)
    except TerminalError as error:
        return str(error)
    folders = tuple(folders)
    if "${" in text or any(_inside(path, folder) is not None for folder in folders):
        return None
    listed = ", ".join(repr(str(folder)) for folder in folders) or "none: set [dataforge] data_folders"
    return f"path {text!r} is outside the folders that may be read: {listed}"


def place(text: str, folder: Path) -> Path:
    """Return the absolute path below `folder` that a destination may write for `text`; nothing is created.

    TerminalError when `text` is absolute and elsewhere, has `..`, or a symbolic link on the way leads out.
    """
    path = _local(text)
    inner = _inside(path, folder)
    if inner is None or not inner.parts:
        raise TerminalError(f"path {text!r} is outside the folder that may be written: {str(folder)!r}")
    target = folder / inner
    if not target.resolve().is_relative_to(folder.resolve()):
        raise TerminalError(f"path {text!r} leads out of the folder that may be written: {str(folder)!r}")
    return target


def _local(text: str) -> Path:
    scheme = _SCHEME.match(text)
    if text.startswith(UPLOAD):
        raise TerminalError(
            f"path {text!r} names an uploaded sample, which only the drafts of its owner can read; "
            "name a file in one of the data folders, or s3://bucket/key"
        )
    if scheme and scheme[1].lower() != "file":
        raise TerminalError(f"path {text!r} has the scheme {scheme[1]!r}; known are file:// and s3://")
    if scheme:
        text, whole = unquote(text[scheme.end() :]), text
        if not text.startswith("/"):
            raise TerminalError(f"path {whole!r} names a host; write file:///folder/file")
    if not text.strip() or "\0" in text:
        raise TerminalError(f"path {text!r} is empty or has a NUL character")
    path = Path(text)
    if ".." in path.parts:
        raise TerminalError(f"path {text!r} has '..'; write the path from one of the data folders")
    return path


def _inside(path: Path, folder: Path) -> Path | None:
    """Return `path` relative to `folder`, or None when it lies elsewhere."""
    if not path.is_absolute():
        return path
    for base in (folder, folder.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base)
    return None


def _match(folder: Path, inner: Path) -> list[Path]:
    if not inner.parts or not folder.is_dir():
        return []
    plain = folder / inner
    if os.path.lexists(plain) or not _GLOB.search(str(inner)):
        return [plain] if os.path.lexists(plain) else []
    pattern = str(inner / "*") if inner.parts[-1] == "**" else str(inner)
    hidden = any(part.startswith(".") for part in inner.parts)
    try:
        found = [item for item in folder.glob(pattern) if not item.is_dir()]
    except (ValueError, OSError) as error:
        raise TerminalError(f"path {str(inner)!r} is no valid pattern: {error}") from None
    return sorted(
        item for item in found if hidden or not any(p.startswith(".") for p in item.relative_to(folder).parts)
    )


def _regular(path: Path, text: str, folder: Path) -> Path:
    """Return the real path of `path` when it is a regular file below `folder`."""
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError):
        raise TerminalError(f"path {text!r}: {str(path)!r} is a broken link or can't be read") from None
    if not real.is_relative_to(folder.resolve()):
        raise TerminalError(f"path {text!r}: {str(path)!r} is a link that leads out of {str(folder)!r}")
    if not stat.S_ISREG(mode):
        kind = "a folder; write a glob such as 'folder/*.csv'" if stat.S_ISDIR(mode) else "not a regular file"
        raise TerminalError(f"path {text!r}: {str(path)!r} is {kind}")
    return real


def storage_options(connection: Connection) -> dict[str, Any]:
    """Return s3fs options for an Airflow connection of type aws: keys from login and password, and from its extra
    only `endpoint_url`, `region_name`, `aws_session_token`, `aws_access_key_id`, `aws_secret_access_key`.
    """
    extra = connection.extra
    client: dict[str, Any] = {}
    service = extra.get("service_config")
    s3 = service.get("s3") if isinstance(service, dict) else None
    endpoint = (s3.get("endpoint_url") if isinstance(s3, dict) else None) or extra.get("endpoint_url")
    if endpoint:
        client["endpoint_url"] = str(endpoint)
    if extra.get("region_name"):
        client["region_name"] = str(extra["region_name"])
    options = {
        "key": connection.login or extra.get("aws_access_key_id"),
        "secret": connection.password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
        "client_kwargs": client,
    }
    return {name: value for name, value in options.items() if value}


def filesystem(connection: Connection) -> Any:
    """Return an s3fs filesystem for an Airflow connection of type aws, not shared with other connections."""
    try:
        import s3fs
    except ImportError:
        raise TerminalError("s3:// needs the package s3fs; install airflow-dataforge[s3]") from None
    # Listings are never cached: another process may have written since.
    return s3fs.S3FileSystem(**storage_options(connection), use_listings_cache=False, skip_instance_cache=True)


def download(url: str, connection: Connection, scratch: Path, *, limit: int | None = None) -> tuple[Found, ...]:
    """Download the objects that `url` (`s3://bucket/key`, `*` and `**` allowed) names into `scratch`, in chunks.

    Each object is read at one ETag; TransientError when it is replaced meanwhile.
    """
    objects = _objects(url, connection)
    if not objects:
        raise TerminalError(f"no object matches {url!r}")
    return fetch(objects[:limit], connection, scratch)


def fetch(objects: Sequence[ListedFile], connection: Connection, scratch: Path) -> tuple[Found, ...]:
    """Download listed objects, a few at a time; TransientError where one is not any more as it was listed."""
    fs = filesystem(connection)
    scratch.mkdir(parents=True, exist_ok=True)

    def one(number: int, listed: ListedFile) -> Found:
        name = listed.name.removeprefix("s3://")
        target = scratch / f"{number:06d}-{re.sub(r'[^A-Za-z0-9._-]', '_', PurePosixPath(name).name)[-80:]}"
        s3_call(listed.name, connection, lambda: _fetch(fs, name, target, listed.version))
        return Found(target, listed.name, listed.version)

    with ThreadPoolExecutor(min(_AT_ONCE, len(objects)) or 1) as pool:
        return tuple(pool.map(one, range(len(objects)), objects))


def _objects(url: str, connection: Connection) -> list[There]:
    key = url.removeprefix("s3://")
    if not key.strip("/") or _GLOB.search(key.split("/")[0]):
        raise TerminalError(f"path {url!r} names no bucket; write s3://bucket/key")
    fs = filesystem(connection)

    def listed() -> dict[str, Any]:
        if _GLOB.search(key):
            return dict(fs.glob(key, detail=True))
        try:
            info = fs.info(key)
        except FileNotFoundError:
            return {}
        return {info["name"]: info}

    return sorted(
        There(f"s3://{name}", str(info.get("ETag", "")).strip('"'), info.get("LastModified"))
        for name, info in s3_call(url, connection, listed).items()
        # an object of this kind is how consoles show an empty folder
        if info.get("type") == "file" and not (name.endswith("/") and not info.get("size"))
    )


def _fetch(fs: Any, name: str, target: Path, etag: str) -> None:
    # Range requests carry If-Match, so an object that is replaced while it is read ends in an error, not in a mix.
    with fs.open(name, "rb", block_size=CHUNK, cache_type="none") as source, target.open("wb") as out:
        if etag and str(source.details.get("ETag", "")).strip('"') != etag:
            raise _ReplacedError
        while chunk := source.read(CHUNK):
            out.write(chunk)


def s3_call(what: str, connection: Connection, call: Callable[[], Any]) -> Any:
    """Return `call()`; S3's errors come out as TerminalError or TransientError that name `what` and the connection.

    It is called again while the store is away or asks for time, for `connect_seconds` of the settings at most, so it
    must be repeatable: read, put a whole object, remove. A call without an end is given up after `stall_seconds`.
    """
    settings = get_settings()
    late = ServerAway(f"{what}: no end after {settings.stall_seconds:g} s", connection.id)

    def once() -> Any:
        return _once(what, connection, lambda: bounded_call(settings.stall_seconds, call, lambda: late))

    try:
        return retry.repeat(once, replace(retry.OBJECTS, seconds=settings.connect_seconds), what=what)
    except _ReplacedError:
        raise TransientError(f"{what} was replaced while it was read") from None


class _ReplacedError(Exception):
    """The object is another one now: the same call would mix the two."""


def _once(what: str, connection: Connection, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except DataForgeError:
        raise
    except PermissionError as error:
        raise TerminalError(f"{what}: connection {connection.id!r} may not read it ({error})") from None
    except FileNotFoundError as error:
        raise TerminalError(f"{what}: not found ({error})") from None
    except OSError as error:
        if "precondition" in str(error).lower():
            raise _ReplacedError from None
        raise retry.error_for(retry.of_object_store(error) or "again", f"{what}: {error}", connection.id) from None
    except Exception as error:
        verdict = retry.of_object_store(error)
        if verdict is None:
            raise
        named = f"connection {connection.id!r}: " if verdict == "terminal" else ""
        raise retry.error_for(verdict, f"{what}: {named}{error}", connection.id) from None
