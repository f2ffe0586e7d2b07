"""A real MariaDB (or MySQL) server for tests: the system's own program, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "pa55-of-mariadb-17"


@dataclass(frozen=True)
class Server:
    """Where it listens. `sql` runs statements as the root of the server, and commits."""

    port: int
    socket: str

    def open(self, database: str = "") -> Any:
        """Return a connection of root's."""
        import pymysql  # type: ignore[import-untyped,import-not-found,unused-ignore]

        return pymysql.connect(unix_socket=self.socket, user="root", database=database or None, charset="utf8mb4")

    def sql(self, *statements: str, database: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""
        with closing(self.open(database)) as con, con.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            con.commit()
            return list(cursor.fetchall())


def program() -> str | None:
    """Return the server's program; None where there is none."""
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def running() -> Iterator[Server]:
    """Start an empty server on loopback; skip the test where none is installed."""
    pytest.importorskip("pymysql")
    found = program()
    if found is None:
        pytest.skip("there is no MariaDB server: on Debian, apt-get install mariadb-server-core")
    folder = Path(tempfile.mkdtemp(prefix="df-maria-"))  # a socket's path is limited to 107 characters
    user = pwd.getpwuid(os.geteuid()).pw_name  # named, since the server refuses to run as root by accident
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [
        "--no-defaults", f"--datadir={folder}/data", f"--user={user}", "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--performance-schema=OFF",
    ]  # fmt: skip
    try:
        (folder / "data").mkdir()
        with (folder / "log").open("wb") as log:
            # the system tables, as mariadb-install-db makes them
            share = Path("/usr/share/mysql")
            system = b"create database mysql;\nuse mysql;\n" + b"".join(
                (share / name).read_bytes() for name in ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
            )
            subprocess.run(
                [found, *options, "--bootstrap", "--skip-grant-tables", "--silent-startup"],
                input=system, stdout=log, stderr=log, check=True, timeout=60,
            )  # fmt: skip
            listens = [f"--socket={folder}/s", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder}/pid"]
            with subprocess.Popen([found, *options, *listens, "--skip-name-resolve"], stdout=log, stderr=log) as server:
                try:
                    found_server = Server(port, f"{folder}/s")
                    _await(found_server, server, folder / "log")
                    yield found_server
                finally:
                    server.terminate()
                    server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql  # type: ignore[import-untyped,import-not-found,unused-ignore]

    until = time.monotonic() + 30
    while True:
        try:
            server.sql(
                f"create user 'shop'@'%' identified by '{PASSWORD}'",
                "grant all on *.* to 'shop'@'%'",
            )
        except pymysql.err.OperationalError:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.05)
        else:
            return
