"""A server that speaks Ollama's API and says what it was told to, word by word, as a model of real size does.

with running(lambda prompt: '{"transforms": []}') as port: …
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted"
PIECE, PAUSE = 8, 0.2
"""Letters of a piece, and the seconds between two."""


@contextmanager
def running(answer: Callable[[str], str]) -> Iterator[int]:
    """Serve on loopback; the value is the port. `answer` gets all that was said to the model."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._tell({"models": [{"name": MODEL, "model": MODEL, "size": 1, "digest": "0" * 12}]})

        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path != "/api/chat":
                self._tell({"model_info": {"scripted.context_length": 131_072}})
                return
            said = "\n".join(one["content"] for one in asked["messages"])
            words = answer(said)
            self._begin("application/x-ndjson")
            with suppress(OSError):  # a job may be cancelled
                for place in range(0, len(words), PIECE):
                    self._part({"content": words[place : place + PIECE]}, done=False)
                    time.sleep(PAUSE)
                read = len(said) // 3  # tokens, or the gateway would take the request for cut
                self._part({"content": ""}, done=True, done_reason="stop", prompt_eval_count=read, eval_count=40)

        def _part(self, message: dict[str, str], **more: Any) -> None:
            part = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", **message}}
            self.wfile.write(json.dumps(part | more).encode() + b"\n")
            self.wfile.flush()

        def _tell(self, body: dict[str, Any]) -> None:
            self._begin("application/json")
            self.wfile.write(json.dumps(body).encode())

        def _begin(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()
