"""Where uploaded sample files lie: a folder, or a prefix in S3; the page puts them there, maintenance removes them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from dataforge.components.paths import filesystem, s3_call
from dataforge.errors import DataForgeError, TerminalError
from dataforge.settings import Settings


@dataclass(frozen=True)
class Place:
    """Where the files lie: a folder, or a prefix in S3. Their names are ours, never those of their owners."""

    root: str
    fs: Any
    connection: Any = None

    @classmethod
    def of(cls, settings: Settings) -> Place:
        """Return the place that `uploads_url` names; TerminalError when it names none."""
        url = settings.uploads_url.rstrip("/")
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            from fsspec.implementations.local import LocalFileSystem

            return cls(unquote(parts.path), LocalFileSystem())
        if parts.scheme == "s3" and parts.netloc and settings.staging_connection:
            from dataforge.runtime.connections import lookup

            found = lookup(settings.staging_connection)
            return cls(url.removeprefix("s3://"), filesystem(found), found)
        raise TerminalError(
            f"[dataforge] uploads_url {url!r} is not supported; write file:///folder, or s3://bucket/prefix with "
            "staging_connection"
        )

    def put(self, id_: str, data: bytes) -> None:
        """Write a file."""
        if self.connection is None:
            Path(self.root).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._call(lambda: self.fs.pipe_file(self._at(id_), data))
        if self.connection is None:
            Path(self._at(id_)).chmod(0o600)

    def local(self, id_: str, scratch: Path) -> Path | None:
        """Return the file as a local one, downloaded to scratch where it must be; None when it is gone."""
        if self.connection is None:
            path = Path(self._at(id_))
            return path if path.is_file() else None
        target = scratch / id_
        try:
            self._call(lambda: self.fs.get_file(self._at(id_), str(target)))
        except (FileNotFoundError, TerminalError):
            return None
        return target

    def remove(self, id_: str) -> None:
        """Remove a file, which may be gone already."""
        with suppress(FileNotFoundError, DataForgeError):
            self._call(lambda: self.fs.rm_file(self._at(id_)))

    def left(self, older_than_seconds: float) -> set[str]:
        """Return the ids of files that lie there for longer."""
        from datetime import datetime, timedelta, timezone

        try:
            found = self._call(lambda: self.fs.ls(self.root, detail=True))
        except (FileNotFoundError, DataForgeError):
            return set()
        until = datetime.now(timezone.utc) - timedelta(seconds=older_than_seconds)
        old = set()
        for one in found:
            changed = one.get("mtime") or one.get("LastModified")
            at = datetime.fromtimestamp(changed, timezone.utc) if isinstance(changed, int | float) else changed
            if one.get("type") == "file" and at is not None and at < until:
                old.add(PurePosixPath(one["name"]).name)
        return {name for name in old if re.fullmatch(r"[0-9a-f]{32}", name)}

    def _at(self, id_: str) -> str:
        assert re.fullmatch(r"[0-9a-f]{32}", id_)
        return f"{self.root}/{id_}"

    def _call(self, call: Any) -> Any:
        if self.connection is None:
            try:
                return call()
            except FileNotFoundError:
                raise
            except OSError as error:
                raise TerminalError(f"uploads can't be kept: {error.strerror}") from None
        return s3_call("uploads", self.connection, call)
