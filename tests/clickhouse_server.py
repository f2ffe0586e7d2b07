"""ClickHouse for tests: its own engine in a child process (chdb), behind a small HTTP front that plays its interface.

What is real is everything that SQL does: types, functions, the Arrow and Native formats, errors and their codes. What
is not is the server around it: users' rights, settings in the address, compression, sessions.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest

PASSWORD = "pa55-of-clickhouse-23"


@dataclass(frozen=True)
class Server:
    """Where it listens."""

    port: int

    def sql(self, *statements: str, database: str = "default") -> list[list[Any]]:
        """Run statements; return the rows of the last one."""
        found: list[list[Any]] = []
        for statement in statements:
            address = f"http://127.0.0.1:{self.port}/?{urlencode({'database': database, 'format': 'JSONCompact'})}"
            headers = {"X-ClickHouse-Key": PASSWORD}
            with urlopen(Request(address, statement.encode(), headers)) as answer:
                body = answer.read()
                found = json.loads(body)["data"] if body.startswith(b"{") else []
        return found


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start an empty one; skip the test where the engine is not installed."""
    if find_spec("chdb") is None:
        pytest.skip("chdb, ClickHouse's engine for Python, is not installed (there is none for this system)")
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.strip().isdigit(), "the engine did not start"
            yield Server(int(line))
        finally:
            process.kill()


class Front(BaseHTTPRequestHandler):
    """Answers as ClickHouse's HTTP interface does."""

    protocol_version = "HTTP/1.1"
    session: Any
    lock = Lock()

    def do_GET(self) -> None:
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = dict(parse_qsl(urlsplit(self.path).query))
        key = self.headers.get("X-ClickHouse-Key")
        if key is None:
            import base64

            scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
            key = base64.b64decode(token).decode().partition(":")[2] if scheme == "Basic" else ""
        if key != PASSWORD:
            self._answer(403, b"Code: 516. DB::Exception: default: Authentication failed: password is incorrect", 516)
            return
        query = "\n".join(filter(None, (given.get("query"), body.decode())))
        try:
            with self.lock:
                self.session.query(f"USE `{given.get('database') or 'default'}`")
                found = self.session.query(query, given.get("format") or given.get("default_format") or "TabSeparated")
            self._answer(200, bytes(found.bytes() or b""))
        except Exception as error:  # noqa: BLE001 whatever the engine says is told
            said = str(error)
            code = re.search(r"Code: (\d+)", said)
            self._answer(500, said.encode(), int(code[1]) if code else 1)

    def _answer(self, status: int, body: bytes, code: int = 0) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _serve(folder: str) -> None:
    from chdb.session import Session

    Front.session = Session(folder)  # type: ignore[no-untyped-call,unused-ignore]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(sys.argv[1])
