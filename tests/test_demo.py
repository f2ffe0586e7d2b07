"""The parts of scripts/demo that can be tested without Airflow."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from scripts import demo


def test_the_engine_of_the_small_model_is_locked_by_hash() -> None:
    first, *hashes = demo.engine_lock((demo.ROOT / "requirements-dev.txt").read_text())
    assert first.startswith("xllamacpp==")
    assert hashes
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


def test_settings_of_a_model_reach_the_shell_of_the_demo(tmp_path: Path) -> None:
    connection = json.dumps({"conn_type": "ollama", "host": "127.0.0.1"})
    demo.write_environment(tmp_path / "environment", {"AIRFLOW_CONN_DEMO_MODEL": connection})
    assert f"export AIRFLOW_CONN_DEMO_MODEL='{connection}'" in (tmp_path / "environment").read_text()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("no JSON", "gave no answer"),
        ({"status": "findings", "config": {}, "trace": [{"model": "m"}]}, "findings"),
        ({"status": "valid", "config": {}, "trace": [{"model": "m"}]}, "source"),
        ({"status": "valid", "config": {}, "trace": []}, "source"),
    ],
)
def test_an_answer_that_is_not_right_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: object, reason: str
) -> None:
    text = told if isinstance(told, str) else json.dumps(told)
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    with pytest.raises(demo.DemoError, match=reason):
        demo.author(demo.Demo(tmp_path, 1, {}, has_model=True))


def test_a_request_that_gets_no_answer_is_sent_again(tmp_path: Path) -> None:
    came: list[str] = []

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.path)
            if len(came) == 1:
                time.sleep(0.5)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"state": "queued"}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = demo.Api(demo.Demo(tmp_path, server.server_address[1], {}), seconds=0.2)
        assert api.post("/runs", {}) == {"state": "queued"}
        server.shutdown()
    assert came == ["/runs", "/runs"]
