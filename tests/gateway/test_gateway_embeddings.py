"""Texts as vectors: from real clients, kept, never at any price."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fault_server import FaultServer, Step, status
from tests.gateway.test_gateway_faults import drip

from dataforge.components.base import Connection
from dataforge.errors import AnswerUnfit, BudgetSpent, GatewayError, ModelAway, ModelRefused, ModelSlow
from dataforge.gateway import calls
from dataforge.gateway.base import Event
from dataforge.gateway.embeddings import SqliteVectors, likeness, unit
from dataforge.gateway.opening import state_file
from dataforge.gateway.scripted import Scripted, gateway_over


class Server(ThreadingHTTPServer):
    """Ollama's and OpenAI's way to ask for vectors; a text's vector is its count of each small letter."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[list[str]] = []

    def connection(self, provider: str) -> Connection:
        """Return an Airflow connection to here."""
        path = "/v1" if provider == "openai" else ""
        return Connection(provider, provider, f"http://127.0.0.1:{self.server_port}{path}", password="key-canary-8812")


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer({"models": [{"model": "letters:latest", "digest": "d1"}]} if "tags" in self.path else {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked["input"])
        vectors = [[float(text.lower().count(chr(97 + place))) for place in range(26)] for text in asked["input"]]
        if self.path == "/api/embed":
            self._answer({"model": asked["model"], "embeddings": vectors, "prompt_eval_count": 7})
            return
        assert self.path == "/v1/embeddings"
        data = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        self._answer({"object": "list", "data": data[::-1], "model": asked["model"], "usage": usage})

    def _answer(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of vectors."""
    with Server() as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


@pytest.mark.parametrize("provider", ["ollama", "openai"])
def test_texts_become_vectors_once_and_are_counted(
    gateway: MakeGateway, server: Server, events: list[Event], provider: str
) -> None:
    lab = gateway(server.connection(provider), llm_embed=f"{provider}/letters")
    first = lab.embed(["load orders", "load order", "xyz", "load orders"], actor="ada")
    assert first is not None
    assert first[0] == first[3]
    assert likeness(first[0], first[1]) > 0.9 > likeness(first[0], first[2])
    assert likeness(first[0], first[0]) == pytest.approx(1)
    again = lab.embed(["xyz", "load orders"])
    assert again is not None
    assert [likeness(*pair) for pair in zip(again, (first[2], first[0]), strict=True)] == pytest.approx([1, 1])
    assert server.asked == [["load orders", "load order", "xyz"]]
    assert [(one.task, one.actor, one.usage.prompt_tokens, one.outcome) for one in events] == [
        ("embed", "ada", 7, "ok")
    ]


def test_without_a_model_for_it_nothing_is_asked() -> None:
    assert gateway_over(Scripted()).embed(["x"]) is None


def test_neither_secrets_nor_personal_data_are_sent_or_kept(gateway: MakeGateway, server: Server) -> None:
    lab = gateway(server.connection("ollama"), llm_embed="ollama/letters")
    lab.embed(
        ["mail ada@example.com", "password: canary-1", "key-canary-8812", "vault-canary"], private=["vault-canary"]
    )
    assert "canary" not in str(server.asked)
    assert "ada@" not in str(server.asked)
    kept = b"".join(path.read_bytes() for path in state_file().parent.glob("gateway.db*"))
    assert b"canary" not in kept


def test_many_texts_go_in_parts(gateway: MakeGateway, server: Server) -> None:
    lab = gateway(server.connection("ollama"), llm_embed="ollama/letters")
    assert len(lab.embed([f"text {number}" for number in range(70)]) or ()) == 70
    assert [len(part) for part in server.asked] == [32, 32, 6]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(500, {"error": "boom"}), ModelAway),
        (status(404, {"error": "model 'm' not found"}), ModelRefused),
        (status(200, {"model": "m", "embeddings": []}), AnswerUnfit),
        (status(200, {"model": "m", "embeddings": [[0.0, 0.0]]}), AnswerUnfit),
        (status(200, {"model": "m", "embeddings": [[1.0], [1.0]]}), AnswerUnfit),
        (status(200, {"model": "m", "embeddings": "nonsense"}), AnswerUnfit),
        (status(200, [1, 2]), AnswerUnfit),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"], AnswerUnfit),
    ],
)
def test_what_is_no_vector_is_an_error(
    gateway: MakeGateway, faults: FaultServer, answer: list[Any], error: type[GatewayError]
) -> None:
    faults.answer(answer)
    lab = gateway(faults.connection("ollama"), llm_embed="faulty/m", breaker_seconds=0)
    with pytest.raises(error) as caught:
        lab.embed(["text"])
    assert "canary" not in str(caught.value)


def test_a_silent_or_dripping_server_ends_within_the_deadline(
    gateway: MakeGateway, faults: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "EMBED_SECONDS", 0.5)
    scripts: list[list[Step]] = [[1_800.0], [b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *drip(b" ", 0.1, 100)]]
    for script in scripts:
        faults.requests.clear()
        faults.answer(script)
        began = time.monotonic()
        with pytest.raises((ModelSlow, AnswerUnfit)):
            gateway(faults.connection("ollama"), llm_embed="faulty/m", breaker_seconds=0).embed(["text"])
        assert time.monotonic() - began < 3


def test_budgets_hold_for_vectors_too(gateway: MakeGateway, server: Server) -> None:
    with pytest.raises(BudgetSpent):
        gateway(server.connection("ollama"), llm_embed="ollama/letters", llm_tokens_per_call=5).embed(["word " * 100])
    assert server.asked == []


@pytest.mark.parametrize("setting", ["anthropic/m", "ollama"])
def test_a_setting_that_names_no_embedding_model_is_told(gateway: MakeGateway, setting: str) -> None:
    known = [Connection(name, name, "http://127.0.0.1:9") for name in ("anthropic", "ollama")]
    with pytest.raises(ModelRefused, match="llm_embed"):
        gateway(*known, llm_embed=setting).embed(["x"])


def test_the_oldest_vectors_go_first(tmp_path: Path) -> None:
    kept = SqliteVectors(tmp_path / "g.db", most=2)
    kept.put("m", {"a": (1.0, 0.0)})
    kept.put("m", {"b": (0.0, 1.0), "c": (0.5, 0.5)})
    assert kept.get("m", "abc") == {"b": (0.0, 1.0), "c": (0.5, 0.5)}
    assert kept.get("n", "abc") == {}


def test_a_vector_has_a_direction_or_is_none() -> None:
    assert unit((3.0, 4.0)) == (0.6, 0.8)
    assert unit((0.0,)) is None
    assert unit((float("nan"),)) is None
    assert likeness((1.0,), (1.0, 0.0)) == 0
