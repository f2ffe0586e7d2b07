"""What file sources share: finding the files, undoing compression and foreign encodings, in bounded memory.

A compressed or differently encoded file is written to scratch once, as plain UTF-8, since the engine then reads it on
all cores. What a small file may expand to is capped.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field, model_validator

from dataforge.components.base import Connection, ExtractContext, SourceConfig
from dataforge.components.fields import ConnectionId, Duration, TemplatedText
from dataforge.components.paths import CHUNK, Found, There, fetch, find, is_lent, listing, refusal, version_of
from dataforge.components.seen_files import ListedFile
from dataforge.errors import Problem, TerminalError, TransientError
from dataforge.settings import get_settings

MAX_RATIO = 200
FREE_BYTES = 64 * 1024 * 1024
"""A file may expand to this many bytes at any ratio, and beyond it to `MAX_RATIO` times its size."""
SAMPLE_BYTES = 1024 * 1024
_GUESS_BYTES = 256 * 1024
_GUESSES = (
    *(
        "cp1250",
        "cp1251",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
        "cp1258",
        "cp874",
        "iso8859_2",
        "iso8859_5",
    ),
    *("iso8859_7", "koi8_r", "koi8_u", "cp866", "cp932", "euc_jp", "gb18030", "big5", "cp949", "euc_kr"),
)
"""Encodings that files still come in; most others, such as those of DOS, are more often guessed than meant."""
_GUESS_EVIDENCE = 200
"""Letters beyond ASCII (bytes from C0 on; those below are mostly quotes and dashes) that another guess needs."""

Compression = Literal["auto", "none", "gzip", "bz2", "xz", "zstd", "zip"]

_MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


ONLY_NEW: Any = Field(
    default=False,
    description="Whether each run reads only files that were not loaded before, however late they come. Which those "
    "are is committed with the rows. A file is known by its name and version (ETag; size and time of change): one that "
    "is replaced is new again.",
)
MIN_AGE: Any = Field(
    default=None,
    description="With only_new: files that were changed less than this long ago are left to the next run, for they may "
    "still be written. Needed where files grow in place (folders, SFTP); objects in S3 come whole.",
    examples=["1m"],
)


def refuse_two_ways(config: Any) -> None:
    """Raise ValueError for a config that names new files and new records, or an age that nothing looks at."""
    if config.only_new and config.cursor_field is not None:
        raise ValueError("'only_new' reads new files, 'cursor_field' new records of all files; remove one of the two")
    if config.min_age is not None and not config.only_new:
        raise ValueError("'min_age' has no effect without 'only_new'")


class FileSourceConfig(SourceConfig):
    """Base of the configs of file sources."""

    path: TemplatedText | tuple[TemplatedText, ...] = Field(
        description="File to read: a path below one of the data folders, a glob (*, ?, **), or s3://bucket/key with "
        "globs; or a list of these. Several files are read as one, columns matched by name.",
        examples=["sales/2025-*.csv", "s3://lake/orders/*.csv.gz", ["a.csv", "b.csv"]],
    )
    connection: ConnectionId | None = Field(
        default=None, description="Airflow connection of type aws with the keys and endpoint for s3:// paths."
    )
    compression: Compression = Field(
        default="auto",
        description="How files are compressed; auto looks at their first bytes. A zip must hold one file.",
    )
    only_new: bool = ONLY_NEW
    min_age: Duration | None = MIN_AGE

    @model_validator(mode="after")
    def _reads_on_in_one_way(self) -> FileSourceConfig:
        refuse_two_ways(self)
        return self

    def incremental(self) -> str | None:
        """Return the key by which each run reads on from the last."""
        return "only_new" if self.only_new else super().incremental()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, one or several."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def asset(self) -> str | None:
        """Return the first path as an asset URI; None where it depends on the run."""
        path = self.paths[0] if self.paths else ""
        if not path or "${" in path:
            return None
        return (
            f"dataforge://{self.connection or 'files'}/{path.removeprefix('s3://').removeprefix('file://').lstrip('/')}"
        )


def path_problems(config: FileSourceConfig) -> Iterable[Problem]:
    """Yield what is wrong with the config's paths that can be told without looking at a file."""
    if not config.paths:
        yield Problem("invalid-path", "'path' is an empty list; at least one path is needed", ("path",))
    folders = get_settings().readable_folders
    for index, text in enumerate(config.paths):
        place = ("path",) if isinstance(config.path, str) else ("path", index)
        if message := refusal(text, folders, connected=config.connection is not None):
            yield Problem("invalid-path", message, place)
        if is_lent(text):
            message = f"path {text!r} is an uploaded sample: drafts read it, a deployed pipeline can't"
            hint = "before deploying, name a file in one of the data folders, or s3://bucket/key"
            yield Problem("uploaded-sample", message, place, hint, severity="warning")


def local_files(config: FileSourceConfig, context: ExtractContext) -> tuple[Path, ...]:
    """Return the config's files as plain local ones, each once, in the order of the paths.

    With only_new, those that were not loaded before, which may be none.
    """
    if not config.paths:
        raise TerminalError("'path' is an empty list; at least one path is needed")
    connection = context.connection(config.connection) if config.connection else None
    folders = get_settings().readable_folders
    if config.only_new:
        there = {one.name: one for text in config.paths for one in listing(text, folders, connection=connection)}
        found = _new_files(wanted(there.values(), config, context), connection, context)
    else:
        found = {}
        for index, text in enumerate(config.paths):
            folder = context.scratch / f"download-{index}"
            for one in find(text, folders, connection=connection, scratch=folder):
                found.setdefault(one.path, one)
    for one in found.values():
        if one.etag is None:
            context.watch(one.path)
        else:
            context.log("object downloaded", name=one.name, etag=one.etag, bytes=one.path.stat().st_size)
    return plain_files(found, config.compression, context.scratch)


def wanted(there: Iterable[ListedFile], config: Any, context: ExtractContext) -> list[Any]:
    """Return which of the files that there are this run reads: old enough, and not loaded before."""
    found = sorted(there)
    if config.min_age is not None:
        latest = datetime.now(timezone.utc) - config.min_age
        young = [one for one in found if one.changed is not None and one.changed > latest]
        if young:
            context.log("files left to the next run", files=len(young), reason="they were changed just now")
        found = [one for one in found if one not in young]
    chosen = context.choose(found)
    context.log("new files", files=len(chosen), of=len(found))
    return chosen


def _new_files(chosen: Iterable[There], connection: Connection | None, context: ExtractContext) -> dict[Path, Found]:
    chosen = list(chosen)
    found = [Found(one.path, one.name) for one in chosen if one.path is not None]
    objects = [one for one in chosen if one.path is None]
    if objects and connection is not None:
        found += fetch(objects, connection, context.scratch / "download")
    for one in chosen:
        if one.path is not None:
            context.watch(one.path)
            if version_of(one.path) != one.version:
                raise TransientError(f"{one.name} changed after it was listed; nothing was loaded. It is read again")
    return {one.path: one for one in found}


def plain_files(paths: Iterable[Path], compression: Compression, scratch: Path) -> tuple[Path, ...]:
    """Return the files without their compression; a copy below `scratch` goes when it was unpacked."""
    plain = []
    for index, path in enumerate(paths):
        plain.append(decompress(path, compression, scratch / f"plain-{index}"))
        if plain[-1] != path and path.is_relative_to(scratch):
            path.unlink()
    return tuple(plain)


def compression_of(path: Path) -> Compression:
    """Return how a file is compressed, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(10)
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "bz2"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "none")


def decompress(path: Path, compression: Compression, folder: Path) -> Path:
    """Return the file itself when it is not compressed, else its content as a file in `folder`.

    TerminalError when it is damaged, cut short, holds more than one file, or expands beyond the cap.
    """
    kind = compression_of(path) if compression == "auto" else compression
    if kind == "none":
        return path
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (path.stem if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst", ".zip") else path.name)
    most = max(FREE_BYTES, path.stat().st_size * MAX_RATIO)
    total = 0
    try:
        with _OPEN[kind](path) as source, target.open("wb") as out:
            while chunk := source.read(CHUNK):
                total += len(chunk)
                if total > most:
                    raise TerminalError(
                        f"{path.name}: expands to more than {MAX_RATIO} times its size; it is refused as a bomb"
                    )
                out.write(chunk)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError, RuntimeError) as error:
        raise TerminalError(f"{path.name}: damaged or cut short {kind} data: {error}") from None
    return target


def _open_zip(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [item for item in archive.infolist() if not item.is_dir() and not _is_litter(item.filename)]
    if len(members) != 1:
        raise TerminalError(f"{path.name}: the zip holds {len(members)} files; one is needed")
    return archive.open(members[0])


def _is_litter(name: str) -> bool:
    """Whether a zip's entry is what a desktop puts beside the files on its own."""
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")


def _open_zstd(path: Path) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")


_OPEN: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.GzipFile,
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zip": _open_zip,
    "zstd": _open_zstd,
}


def unicode_of(path: Path) -> str | None:
    """Return which Unicode encoding a file is in, by its byte order mark and its beginning; None when in none."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return "utf-8"


def encoding_of(path: Path) -> str:
    """Return a file's encoding: Unicode where it is that, cp1252 where the text does not plainly speak against it.

    The 8-bit encodings of Europe can't be told from each other by a few bytes, and cp1252, which holds Latin-1's
    letters too, is by far the most frequent; another one must have much text, all of which cp1252 would garble.
    """
    if found := unicode_of(path):
        return found
    import charset_normalizer

    with path.open("rb") as file:
        head = file.read(_GUESS_BYTES)
    found = "cp1252"
    try:
        codecs.getincrementaldecoder(found)().decode(head)
    except UnicodeDecodeError:
        needed = 0
    else:
        needed = _GUESS_EVIDENCE
    if sum(byte >= 0xC0 for byte in head) >= needed:
        matches = charset_normalizer.from_bytes(head, cp_isolation=["cp1252", *_GUESSES])
        best = matches.best()
        if best is None and not needed:
            raise TerminalError(f"{path.name}: its encoding can't be told; set 'encoding'")
        if best is not None and not any(found in (match.encoding, *match.could_be_from_charset) for match in matches):
            return best.encoding
    return found


def to_utf8(path: Path, encoding: str, folder: Path, *, keep_bom: bool = False) -> Path:
    """Return the file itself when it is UTF-8, else a UTF-8 copy in `folder`; TerminalError where bytes don't fit."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise TerminalError(f"{encoding!r} is no known encoding; write for example utf-8, cp1252 or utf-16") from None
    if name in ("utf-8", "ascii") or (name == "utf-8-sig" and keep_bom):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    decoder = codecs.getincrementaldecoder(name)()
    done = 0
    with path.open("rb") as source, target.open("wb") as out:
        while True:
            chunk = source.read(CHUNK)
            try:
                out.write(decoder.decode(chunk, final=not chunk).encode("utf-8"))
            except UnicodeError as error:
                raise TerminalError(
                    f"{path.name}: near byte {done} is no {encoding}: {error}; set 'encoding'"
                ) from None
            if not chunk:
                return target
            done += len(chunk)
