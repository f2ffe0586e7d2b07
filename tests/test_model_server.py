"""The tests' Ollama-API front over a real model, by Ollama's own client and raw requests."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import ollama
import pytest
from tests.model_server import NAME, VERSION, Front

OPTIONS = {"temperature": 0, "num_predict": 12, "seed": 1}
HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def client(model_server: Front) -> ollama.Client:
    """Ollama's client."""
    return ollama.Client(model_server.url, timeout=60)


def raw(server: Front, verb: str, path: str, body: object | None = None) -> tuple[int, Any]:
    """Return status and JSON of one request."""
    parts = urlsplit(server.url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request(verb, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, json.loads(data) if data[:1] in (b"{", b"[") else data.decode()


def test_it_says_what_ollama_says_of_itself(model_server: Front) -> None:
    assert raw(model_server, "GET", "/") == (200, "Ollama is running")
    assert raw(model_server, "GET", "/api/version") == (200, {"version": VERSION})
    assert raw(model_server, "HEAD", "/")[0] == 200
    assert raw(model_server, "GET", "/api/nothing")[0] == 404


def test_streamed_and_whole_answers_are_the_same(client: ollama.Client) -> None:
    parts = list(client.chat(NAME, HELLO, options=OPTIONS, stream=True))
    whole = client.chat(NAME, HELLO, options=OPTIONS)
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert parts[-1].done
    assert parts[-1].done_reason in ("stop", "length")
    assert (parts[-1].prompt_eval_count, parts[-1].eval_count) == (whole.prompt_eval_count, whole.eval_count)
    assert (whole.total_duration or 0) > 0


def test_a_schema_binds_the_answer(client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"]}
    answer = client.chat(NAME, HELLO, options={**OPTIONS, "num_predict": 30}, format=schema)
    assert json.loads(answer.message.content or "")["n"] in (1, 2, 3)
    plain = client.generate(NAME, "Answer with an empty JSON object.", options=OPTIONS, format="json").response
    assert (plain or "").lstrip().startswith("{")


def test_models_are_listed_shown_loaded_and_unloaded(client: ollama.Client) -> None:
    client.chat(NAME)
    assert [one.model for one in client.list().models] == [NAME]
    assert [one.model for one in client.ps().models] == [NAME]
    assert (client.show(NAME).modelinfo or {})["llama.context_length"] == 8_192
    assert client.chat(NAME, keep_alive=0).done_reason == "unload"
    assert client.ps().models == []


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"model": "none"}, 404, "model 'none' not found"),
        ({"model": ""}, 400, "model is required"),
        ({"format": "xml"}, 400, "invalid format"),
        ({"think": True}, 400, "does not support thinking"),
        ({"options": {"temperature": "hot"}}, 400, "must be of type float32"),
        ({"keep_alive": "soon", "messages": []}, 400, "invalid duration"),
    ],
)
def test_it_refuses_what_ollama_refuses(model_server: Front, more: dict[str, Any], status: int, text: str) -> None:
    found, body = raw(model_server, "POST", "/api/chat", {"model": NAME, "messages": HELLO, **more})
    assert found == status
    assert text in body["error"]


def test_garbage_is_refused(model_server: Front) -> None:
    parts = urlsplit(model_server.url)
    connection = HTTPConnection(str(parts.hostname), parts.port)
    connection.request("POST", "/api/chat", "{nonsense")
    assert connection.getresponse().status == 400
    connection.close()
