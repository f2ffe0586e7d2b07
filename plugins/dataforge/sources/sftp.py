"""The sftp source: files of any format from a folder of an SFTP server."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from dataforge.components.base import ExtractContext, Extracted
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId, TemplatedText
from dataforge.components.paths import CHUNK
from dataforge.components.registry import SOURCES
from dataforge.components.seen_files import ListedFile
from dataforge.errors import DataForgeError, ServerAway, TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.sources._files import wanted
from dataforge.sources._formats import FormattedConfig, matches

if TYPE_CHECKING:
    from paramiko import SFTPClient

DEPTH = 20
"""Folders within folders that a pattern with `**` goes down."""


class SftpConfig(FormattedConfig):
    """Config of the sftp source."""

    type: Literal["sftp"] = "sftp"
    connection: ConnectionId = Field(
        description="Airflow connection of type sftp: host, port, login, password, and in extra private_key and "
        "host_key, the server's public key (or the worker's known_hosts has it). It is always checked."
    )
    folder: TemplatedText = Field(
        default=".",
        min_length=1,
        description="Folder on the server; relative to where the login begins, or absolute.",
        examples=["/outgoing/orders", "drop/${data_interval_start:%Y-%m-%d}"],
    )
    pattern: TemplatedText = Field(
        default="*",
        min_length=1,
        description="Which files below the folder: * and ? stand for text within one folder, **/ for any folders. "
        "Names that begin with a dot, and links, are left out.",
        examples=["*.csv", "**/*.parquet"],
    )

    @field_validator("folder", "pattern")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        if message := _refused(value):
            raise ValueError(message)
        return value

    def asset(self) -> str | None:
        """Return the folder as an asset URI; None where it depends on the run."""
        where = f"{self.folder}/{self.pattern}"
        return None if "${" in where else f"dataforge://{self.connection}/{where.lstrip('./')}"

    def extras(self) -> tuple[Extra, ...]:
        """Return Airflow's sftp provider, and what the format needs."""
        return (Extra("sftp", "airflow.providers.sftp"), *super().extras())


def _refused(value: str) -> str | None:
    """Return why a text is no folder or pattern; None where it is one."""
    return f"{value!r} has '..'; write the folder from its root" if ".." in value.split("/") or "\0" in value else None


@SOURCES.register(SftpConfig)
class SftpSource:
    """Reads files of any format from an SFTP server whose host key is checked, on request only those that are new."""

    def __init__(self, config: SftpConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Extracted:
        """Download the files and return what the source of their format makes of them."""
        config = self.config
        if message := _refused(config.folder) or _refused(config.pattern):  # placeholders have their values by now
            raise TerminalError(message)
        with self._client() as client:
            there = self._listing(client)
            chosen = wanted(there, config, context) if config.only_new else there
            if not chosen and not config.only_new:
                raise TerminalError(f"no file matches {config.pattern!r} in {config.folder!r} on the server")
            paths = [self._fetch(client, one, number, context) for number, one in enumerate(chosen)]
        return config.reader().read(config.plain(paths, context.scratch), context)

    def check(self, context: ExtractContext) -> str:  # noqa: ARG002 - the hook finds its connection by itself
        """Return how many files there are; nothing is downloaded."""
        with self._client() as client:
            return f"{len(self._listing(client))} file(s) match {self.config.pattern!r} in {self.config.folder!r}"

    def _listing(self, client: SFTPClient) -> list[ListedFile]:
        found = list(self._below(client, self.config.folder.rstrip("/") or "/", "", 0))
        return sorted(found)

    def _below(self, client: SFTPClient, root: str, inner: str, depth: int) -> Iterator[ListedFile]:
        deep = "/" in self.config.pattern or "**" in self.config.pattern
        for entry in client.listdir_attr(f"{root}/{inner}" if inner else root):
            name, mode = f"{inner}{entry.filename}", entry.st_mode or 0
            if entry.filename.startswith("."):
                continue
            if stat.S_ISDIR(mode) and deep and depth < DEPTH:
                yield from self._below(client, root, f"{name}/", depth + 1)
            elif stat.S_ISREG(mode) and matches(name, self.config.pattern):
                changed = datetime.fromtimestamp(entry.st_mtime or 0, timezone.utc)
                yield ListedFile(f"{root}/{name}", f"{entry.st_size}-{entry.st_mtime}", changed)

    def _fetch(self, client: SFTPClient, one: ListedFile, number: int, context: ExtractContext) -> Path:
        folder = context.scratch / "download"
        folder.mkdir(exist_ok=True)
        name = one.name.rpartition("/")[2]
        target = folder / f"{number:06d}-{re.sub(r'[^A-Za-z0-9._-]', '_', name)[-80:]}"
        with client.open(one.name, "rb") as source, target.open("wb") as out:
            source.prefetch()
            while chunk := source.read(CHUNK):
                out.write(chunk)
            now = client.stat(one.name)
        if f"{now.st_size}-{now.st_mtime}" != one.version or target.stat().st_size != now.st_size:
            raise TransientError(f"{one.name} changed while it was read; nothing was loaded. It is read again")
        context.log("file downloaded", name=one.name, bytes=target.stat().st_size)
        return target

    @contextmanager
    def _client(self) -> Iterator[SFTPClient]:
        """Open the connection; errors come out as ServerAway or TerminalError."""
        import paramiko
        from airflow.providers.sftp.hooks.sftp import SFTPHook

        who = self.config.connection
        try:
            hook = SFTPHook(ssh_conn_id=who, use_managed_conn=False)
            if hook.no_host_key_check or hook.allow_host_key_change:
                raise TerminalError(
                    f"connection {who!r} does not check the server's key; put the key into its extra as 'host_key' "
                    "and remove 'no_host_key_check' and 'allow_host_key_change'"
                )
            hook.conn_timeout = hook.conn_timeout or max(10, int(get_settings().connect_seconds))
            hook.conn_retry_attempts = 1  # Airflow's task tries again
            try:
                client = hook.get_conn()
                channel = client.get_channel()
                if channel is not None:
                    channel.settimeout(get_settings().stall_seconds or None)
                yield client
            finally:
                hook.close_conn()
        except DataForgeError:
            raise
        except (paramiko.AuthenticationException, paramiko.BadHostKeyException) as error:
            raise TerminalError(f"connection {who!r}: {_first_line(error)}") from None
        except (FileNotFoundError, PermissionError) as error:
            raise TerminalError(f"connection {who!r}, folder {self.config.folder!r}: {_first_line(error)}") from None
        except paramiko.SSHException as error:
            if "known_hosts" in str(error):
                message = f"connection {who!r}: the server's key is not known; put it into the extra as 'host_key'"
                raise TerminalError(message) from None
            raise ServerAway(f"connection {who!r}: {_first_line(error)}", who) from None
        except (OSError, EOFError) as error:
            raise ServerAway(f"connection {who!r}: {_first_line(error) or 'the connection was cut'}", who) from None
        except ValueError as error:
            raise TerminalError(f"connection {who!r}: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


__all__ = ["SftpConfig", "SftpSource"]
