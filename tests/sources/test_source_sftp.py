"""The sftp source, on a real SFTP server on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asyncssh
import duckdb
import pytest
from pydantic import ValidationError

from dataforge.components.base import ExtractContext, Files, RunValues
from dataforge.components.registry import SOURCES
from dataforge.errors import ServerAway, TerminalError, TransientError
from dataforge.runtime.landing import land
from dataforge.runtime.values import resolve
from dataforge.sources.sftp import SftpSource

MakeContext = Callable[..., ExtractContext]


class Door(asyncssh.SSHServer):
    """Lets one user in."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("me", "secret")


@dataclass
class Server:
    """The server's folder, and the environment's connection to it."""

    folder: Path
    port: int
    key: str

    def connection(self, **extra: Any) -> str:
        """Return an Airflow connection as JSON."""
        found = {"conn_type": "sftp", "host": "127.0.0.1", "port": self.port, "login": "me", "password": "secret"}
        return json.dumps({**found, "extra": {"host_key": self.key, "look_for_keys": False, **extra}})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An SFTP server in a thread of its own."""
    folder = tmp_path_factory.mktemp("sftp")
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()

    async def serve() -> Any:
        return await asyncssh.create_server(
            Door, "127.0.0.1", 0, server_host_keys=[key], allow_scp=False,
            sftp_factory=lambda chan: asyncssh.SFTPServer(chan, chroot=os.fsencode(folder)),
        )  # fmt: skip

    server = loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    public = " ".join(key.export_public_key().decode().split()[:2])
    yield Server(folder, server.get_port(), public)
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server with an empty folder `drop`."""
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", running.connection())
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in sorted(running.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    (running.folder / "drop" / "deep").mkdir(parents=True)
    return running


def source(**given: Any) -> Any:
    """The source."""
    config = {"type": "sftp", "connection": "partner", "folder": "/drop", "format": "csv", **given}
    return SOURCES.build(SOURCES.get("sftp").config.model_validate(config))


def read(context: ExtractContext, **given: Any) -> list[tuple[Any, ...]]:
    """Extract and type as the runtime does."""
    with duckdb.connect() as con:
        view = land(con, "source", source(**given).extract(context), scratch=context.scratch / "land")
        view.widen()
        return sorted(con.execute('SELECT * FROM "source"').fetchall())


def test_files_of_a_folder_are_read(server: Server, context: MakeContext) -> None:
    (server.folder / "drop" / "a.csv").write_text("id\n1\n")
    (server.folder / "drop" / "b.csv").write_text("id\n2\n")
    (server.folder / "drop" / ".hidden.csv").write_text("id\n3\n")
    (server.folder / "drop" / "deep" / "c.csv").write_text("id\n4\n")
    (server.folder / "drop" / "link.csv").symlink_to(server.folder / "drop" / "a.csv")
    assert read(context(), pattern="*.csv") == [(1,), (2,)]
    assert read(context(), pattern="**/*.csv") == [(1,), (2,), (4,)]
    assert source(pattern="**/*.csv").check(context()) == "3 file(s) match '**/*.csv' in '/drop'"


def test_new_files_are_told_by_path_size_and_time(server: Server, context: MakeContext) -> None:
    path = server.folder / "drop" / "a.csv"
    path.write_text("id\n1\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    from dataclasses import replace

    asked: list[Any] = []

    def choose(there: Any) -> list[Any]:
        asked.extend(there)
        return []

    found = source(only_new=True).extract(replace(context(), choose=choose))
    assert isinstance(found, Files)
    assert found.paths == ()
    assert [(one.name, one.version) for one in asked] == [("/drop/a.csv", "5-1700000000")]
    assert asked[0].changed == datetime.fromtimestamp(1_700_000_000, timezone.utc)
    assert read(context(), only_new=True, min_age=timedelta(minutes=1)) == [(1,)]


def test_a_file_that_grows_while_it_is_read_is_not_loaded(
    server: Server, context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = server.folder / "drop" / "a.csv"
    path.write_text("id\n1\n")
    listing = SftpSource._listing

    def slow(self: SftpSource, client: Any) -> Any:
        found = listing(self, client)
        path.write_text("id\n1\n2\n")
        return found

    monkeypatch.setattr(SftpSource, "_listing", slow)
    with pytest.raises(TransientError, match="changed while it was read"):
        read(context())


def test_a_parameter_of_the_run_leads_to_no_other_folder(server: Server, context: MakeContext) -> None:
    (server.folder / "a.csv").write_text("id\n1\n")
    model: Any = SOURCES.get("sftp").config
    config = model.model_validate(
        {"type": "sftp", "connection": "partner", "folder": "/drop/${params.shop}", "format": "csv"}
    )
    with pytest.raises(TerminalError, match=r"has '\.\.'"):
        SOURCES.build(resolve(config, RunValues({"shop": ".."}))).extract(context())


def test_a_server_with_another_key_is_refused(
    server: Server, context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server.folder / "drop" / "a.csv").write_text("id\n1\n")
    other = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[:2])
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", server.connection(host_key=other))
    with pytest.raises(TerminalError, match="does not match"):
        read(context())
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", server.connection(host_key=None))
    with pytest.raises(TerminalError, match="not known; put it into the extra"):
        read(context())
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", server.connection(host_key=None, no_host_key_check=True))
    with pytest.raises(TerminalError, match="does not check the server's key"):
        read(context())


def test_errors_say_what_to_mend(server: Server, context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TerminalError, match="folder '/none'"):
        read(context(), folder="/none")
    with pytest.raises(TerminalError, match="no file matches"):
        read(context())
    with pytest.raises(ValidationError, match=r"has '\.\.'"):
        source(folder="../etc")
    wrong = json.loads(server.connection()) | {"password": "wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", json.dumps(wrong))
    with pytest.raises(TerminalError, match="Authentication failed"):
        read(context())
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", json.dumps(json.loads(server.connection()) | {"port": 9}))
    with pytest.raises(ServerAway):
        read(context())
