"""A real language model behind Ollama's API, on loopback: llama.cpp's own server with a front that speaks Ollama.

Ollama itself can't be had from the Python index. Since 0.30 it is a front over llama.cpp's server too, which hands
`format` on as a JSON Schema; this front does the same. What OpenAI's and Anthropic's clients ask for (`/v1/…`) goes to
llama.cpp's server as it is, but for the schema of Anthropic's protocol, which that server would ignore.

    with running() as server:                       # SmolLM2-135M-Instruct; `scripts/model` fetches it
        ollama.Client(server.url).chat("smollm2:135m", …)

or, for a person: python -m tests.model_server --port 11434 --model smollm2:135m=.models/smollm2-135m.gguf
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NAME = "smollm2:135m"
WEIGHTS = Path(__file__).parents[1] / ".models" / "smollm2-135m.gguf"
VERSION = "0.33.0"
CONTEXT = 4_096
_NUMBERS = ("temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
_DEFAULTS: dict[str, Any] = {
    "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.0, "repeat_last_n": 64,
    "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": -1, "num_predict": -1,
}  # fmt: skip


def weights() -> Path | None:
    """Return the small model's file; None when `scripts/model` has not fetched it."""
    found = Path(os.environ.get("DATAFORGE_TEST_MODEL", WEIGHTS))
    return found if found.is_file() else None


class Refused(Exception):
    """An answer of Ollama's that is an error."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass
class Model:
    """One GGUF file, loaded on first use into a llama.cpp server of its own in this process."""

    name: str
    path: Path
    threads: int = 1
    context: int = CONTEXT
    _server: Any = None
    _url: str = ""
    _meta: dict[str, Any] = field(default_factory=dict)
    _expires: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def loaded(self) -> bool:
        """Whether it is in memory."""
        if self._server is not None and self._expires is not None and time.time() > self._expires:
            self._server = None
        return self._server is not None

    @property
    def digest(self) -> str:
        """A stand-in for the blob's digest: it changes when the file does."""
        status = self.path.stat()
        return f"{status.st_size:032x}{int(status.st_mtime):032x}"

    def load(self) -> float:
        """Load it if need be; return the seconds that it took."""
        with self._lock:
            if self.loaded:
                return 0.0
            import xllamacpp

            began = time.perf_counter()
            params = xllamacpp.CommonParams()
            params.model.path = str(self.path)
            params.hostnames = ["127.0.0.1"]
            params.port = free_port()
            params.n_ctx, params.n_parallel = self.context, 1
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
            params.use_jinja, params.warmup, params.endpoint_props = True, False, True
            params.model_alias = {self.name}
            params.verbosity = 0
            self._server = xllamacpp.Server(params)
            self._url = self._server.listening_address
            return time.perf_counter() - began

    def keep(self, keep_alive: object) -> None:
        """Keep it as long as a request wants."""
        seconds = _duration(keep_alive)
        if seconds == 0:
            self._server = None
        else:
            self._expires = None if seconds < 0 else time.time() + seconds

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to its llama.cpp server."""
        parts = urlsplit(self._url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)

    def ask(self, path: str, body: object | None = None) -> Any:
        """Return what its llama.cpp server answers."""
        with closing(self.connect()) as connection:
            text = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = json.loads(answer.read())
        if answer.status >= 400:
            raise Refused(answer.status, str(data["error"]["message"]))
        return data

    def details(self) -> dict[str, Any]:
        """Return what Ollama tells of a model."""
        if not self._meta and self.loaded:
            self._meta = self.ask("/v1/models")["data"][0].get("meta") or {}
        size = self._meta.get("n_params", 0)
        return {
            "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
            "parameter_size": f"{size / 1e6:.2f}M" if size else "", "quantization_level": "",
        }  # fmt: skip

    def fitting(self, messages: list[dict[str, Any]], context: int) -> list[dict[str, Any]]:
        """Return the messages without the oldest ones that do not fit, as Ollama cuts them: without a word."""
        kept = list(messages)
        while len(kept) > 1 and self._tokens(kept) > context:
            place = next((i for i, message in enumerate(kept[:-1]) if message["role"] != "system"), 0)
            del kept[place]
        if self._tokens(kept) > context:
            text = kept[-1]["content"]
            tokens = self.ask("/tokenize", {"content": text})["tokens"]
            room = max(1, context - (self._tokens(kept) - len(tokens)) - 8)
            kept[-1] = {**kept[-1], "content": self.ask("/detokenize", {"tokens": tokens[-room:]})["content"]}
        return kept

    def _tokens(self, messages: list[dict[str, Any]]) -> int:
        prompt = self.ask("/apply-template", {"messages": messages})["prompt"]
        return len(self.ask("/tokenize", {"content": prompt})["tokens"])


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _duration(value: object) -> float:
    """Return Ollama's keep_alive in seconds: a number, or a text such as 5m; below 0 for ever."""
    if value is None or value == "":
        return 300.0
    if isinstance(value, int | float):
        return float(value)
    parts = re.findall(r"(-?\d+(?:\.\d+)?)(ms|s|m|h)?", str(value))
    if not parts:
        raise Refused(400, f"time: invalid duration {value!r}")
    unit = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3_600}
    return float(sum(float(number) * unit[name] for number, name in parts))


def _body(model: Model, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what llama.cpp's server is asked for, from what Ollama is asked for."""
    options = {**_DEFAULTS, **{key: value for key, value in (asked.get("options") or {}).items() if value is not None}}
    for name in _NUMBERS:
        if not isinstance(options[name], int | float) or isinstance(options[name], bool):
            raise Refused(400, f'option "{name}" must be of type float32')
    body = {name: options[name] for name in (*_NUMBERS, "top_k", "repeat_last_n", "seed")}
    if int(options["num_predict"]) >= 0:
        body["max_tokens"] = int(options["num_predict"])
    if options.get("stop"):
        body["stop"] = options["stop"]
    form = asked.get("format")
    if form == "json":
        body["response_format"] = {"type": "json_object"}
    elif isinstance(form, dict):
        body["response_format"] = _schema_format(form)
    elif form not in (None, ""):
        raise Refused(400, f'invalid format: {json.dumps(form)}; expected "json" or a valid JSON Schema object')
    if asked.get("think"):
        raise Refused(400, f'"{model.name}" does not support thinking')
    return {**body, "stream": True, "stream_options": {"include_usage": True}, "cache_prompt": True}


def _schema_format(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


@dataclass(frozen=True)
class Done:
    """How an answer of llama.cpp's server ended."""

    reason: str
    prompt_tokens: int
    completion_tokens: int
    prompt_seconds: float
    completion_seconds: float


@contextmanager
def _watching(client: socket.socket, backend: http.client.HTTPConnection) -> Iterator[None]:
    """Cut the connection to llama.cpp's server as soon as the client is gone, which ends its work."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            readable, _, _ = select.select([client], [], [], 0)
            if not readable:
                continue
            with suppress(OSError):
                if client.recv(1, socket.MSG_PEEK):
                    return
            if backend.sock is not None:
                with suppress(OSError):
                    backend.sock.shutdown(socket.SHUT_RDWR)
            return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _generated(model: Model, body: dict[str, Any], client: socket.socket) -> Iterator[str | Done]:
    """Yield the pieces of an answer of llama.cpp's server, then its end."""
    with closing(model.connect()) as backend:
        backend.connect()
        with _watching(client, backend):
            backend.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = backend.getresponse()
            if answer.status >= 400:
                raise Refused(answer.status, str(json.loads(answer.read())["error"]["message"]))
            reason = ""
            usage: dict[str, Any] = {}
            timings: dict[str, Any] = {}
            for line in answer:
                data = line.removeprefix(b"data: ").strip()
                if not line.startswith(b"data: ") or data == b"[DONE]":
                    continue
                part = json.loads(data)
                if "error" in part:
                    raise Refused(500, str(part["error"].get("message", "unknown")))
                usage, timings = part.get("usage") or usage, part.get("timings") or timings
                for choice in part.get("choices") or ():
                    if text := (choice.get("delta") or {}).get("content"):
                        yield str(text)
                    reason = choice.get("finish_reason") or reason
    if not reason:
        raise ConnectionResetError("the client is gone")
    yield Done(
        "length" if reason == "length" else "stop",
        usage.get("prompt_tokens", 0),
        usage.get("completion_tokens", 0),
        timings.get("prompt_ms", 0) / 1e3,
        timings.get("predicted_ms", 0) / 1e3,
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


class Front(ThreadingHTTPServer):
    """The HTTP server. `active` counts the answers that are being generated."""

    daemon_threads = True

    def __init__(self, models: list[Model], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.models = {_full(model.name): model for model in models}
        self.active = 0
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def model(self, name: object) -> Model:
        """Return the model of that name, or what Ollama says when there is none."""
        if not name:
            raise Refused(400, "model is required")
        if (found := self.models.get(_full(str(name)))) is None:
            raise Refused(404, f"model '{name}' not found")
        return found


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "ollama-front"
    server: Front

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._guarded(self._get)

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _guarded(self, do: Any) -> None:
        try:
            do()
        except Refused as error:
            self._json({"error": str(error)}, error.status)
        except (ConnectionError, http.client.HTTPException):
            self.close_connection = True

    def _json(self, value: object, status: int = 200) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _get(self) -> None:
        path, models = self.path.split("?")[0], self.server.models.values()
        if path == "/":
            return self._json("Ollama is running")
        if path == "/api/version":
            return self._json({"version": VERSION})
        if path == "/api/tags":
            return self._json({"models": [self._listed(model) for model in models]})
        if path == "/api/ps":
            until = (datetime.now(timezone.utc) + timedelta(minutes=5)).isoformat()
            loaded = [model for model in models if model.loaded]
            extra = {"expires_at": until, "size_vram": 0, "context_length": CONTEXT}
            return self._json({"models": [{**self._listed(model), **extra} for model in loaded]})
        if path == "/v1/models":
            data = [{"id": model.name, "object": "model", "created": 0, "owned_by": "library"} for model in models]
            anthropic = [{**one, "type": "model", "display_name": one["id"], "created_at": _now()} for one in data]
            both = [{**one, **other} for one, other in zip(data, anthropic, strict=True)]
            return self._json({"object": "list", "data": both, "has_more": False, "first_id": None, "last_id": None})
        raise Refused(404, "404 page not found")

    def _listed(self, model: Model) -> dict[str, Any]:
        status = model.path.stat()
        changed = datetime.fromtimestamp(status.st_mtime, timezone.utc).isoformat()
        return {
            "name": model.name, "model": model.name, "modified_at": changed, "size": status.st_size,
            "digest": model.digest, "details": model.details(),
        }  # fmt: skip

    def _post(self) -> None:
        path = self.path.split("?")[0]
        try:
            asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        except ValueError as error:
            raise Refused(400, str(error)) from None
        self.server.asked.append(asked)
        model = self.server.model(asked.get("model") or asked.get("name"))
        if path == "/api/show":
            model.load()
            details = model.details()
            context = model._meta.get("n_ctx_train")
            info = {"general.architecture": "llama", "llama.context_length": context}
            return self._json({"details": details, "model_info": info, "capabilities": ["completion"], "template": ""})
        if path in ("/api/chat", "/api/generate"):
            return self._ollama(model, asked, chat=path == "/api/chat")
        if path == "/v1/messages":
            return self._anthropic(model, asked)
        if path.startswith("/v1/"):
            return self._passed_on(model, asked)
        raise Refused(404, "404 page not found")

    def _ollama(self, model: Model, asked: dict[str, Any], *, chat: bool) -> None:
        began = time.perf_counter()

        def said(text: str, **more: object) -> dict[str, Any]:
            part = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
            return {"model": asked["model"], "created_at": _now(), **part, **more}

        messages = asked.get("messages") if chat else [{"role": "user", "content": asked.get("prompt")}]
        if not messages or not messages[-1].get("content"):
            unload = _duration(asked.get("keep_alive")) == 0
            if not unload:
                model.load()
            model.keep(asked.get("keep_alive"))
            return self._json(said("", done=True, done_reason="unload" if unload else "load"))
        body = _body(model, asked)
        load = model.load()
        context = min(int((asked.get("options") or {}).get("num_ctx") or CONTEXT), model.context)
        plain = [{"role": one["role"], "content": one.get("content") or ""} for one in messages]
        body["messages"] = model.fitting(plain, context) if asked.get("truncate", True) else plain

        def parts() -> Iterator[dict[str, Any]]:
            for part in self._counted(model, body):
                if isinstance(part, str):
                    yield said(part, done=False)
                    continue
                model.keep(asked.get("keep_alive"))
                counts = {
                    "done": True, "done_reason": part.reason, "load_duration": int(load * 1e9),
                    "total_duration": int((time.perf_counter() - began) * 1e9),
                    "prompt_eval_count": part.prompt_tokens, "prompt_eval_duration": int(part.prompt_seconds * 1e9),
                    "eval_count": part.completion_tokens, "eval_duration": int(part.completion_seconds * 1e9),
                }  # fmt: skip
                yield said("", **counts)

        if asked.get("stream", True):
            return self._lines(parts())
        found = list(parts())
        text = "".join(one["message"]["content"] if chat else one["response"] for one in found)
        return self._json({**found[-1], **{key: value for key, value in said(text).items() if key != "created_at"}})

    def _counted(self, model: Model, body: dict[str, Any]) -> Iterator[str | Done]:
        self.server.active += 1
        try:
            yield from _generated(model, body, self.connection)
        finally:
            self.server.active -= 1

    def _lines(self, parts: Iterator[dict[str, Any]]) -> None:
        first = next(parts)  # an error before the first piece still gets a status of its own
        self._begin("application/x-ndjson")
        with suppress(ConnectionError):
            try:
                self._chunk(json.dumps(first).encode() + b"\n")
                for part in parts:
                    self._chunk(json.dumps(part).encode() + b"\n")
            except Refused as error:
                self._chunk(json.dumps({"error": str(error)}).encode() + b"\n")
            self._chunk(b"")
            return
        self.close_connection = True

    def _anthropic(self, model: Model, asked: dict[str, Any]) -> None:
        """Anthropic's Messages with `output_config.format`, streamed."""
        model.load()

        def text_of(content: Any) -> str:
            return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)

        messages = [{"role": one["role"], "content": text_of(one["content"])} for one in asked["messages"]]
        if asked.get("system"):
            messages.insert(0, {"role": "system", "content": text_of(asked["system"])})
        body: dict[str, Any] = {"messages": messages, "max_tokens": asked["max_tokens"], "stream": True}
        body |= {"stream_options": {"include_usage": True}, "stop": asked.get("stop_sequences") or []}
        body |= {key: asked[key] for key in ("temperature", "top_p", "top_k") if key in asked}
        if form := (asked.get("output_config") or {}).get("format"):
            body["response_format"] = _schema_format(form["schema"])
        parts = self._counted(model, body)
        first = next(parts)
        self._begin("text/event-stream")

        def event(kind: str, **more: object) -> None:
            self._chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode())

        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": []}
        empty = {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
        with suppress(ConnectionError):
            event("message_start", message={**head, **empty})
            event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            for part in (first, *parts) if isinstance(first, Done) else _again(first, parts):
                if isinstance(part, str):
                    event("content_block_delta", index=0, delta={"type": "text_delta", "text": part})
                    continue
                event("content_block_stop", index=0)
                reason = "max_tokens" if part.reason == "length" else "end_turn"
                usage = {"input_tokens": part.prompt_tokens, "output_tokens": part.completion_tokens}
                event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
            event("message_stop")
            self._chunk(b"")
            return
        self.close_connection = True

    def _passed_on(self, model: Model, asked: dict[str, Any]) -> None:
        model.load()
        self.server.active += 1
        try:
            with closing(model.connect()) as backend:
                backend.connect()
                with _watching(self.connection, backend):
                    backend.request("POST", self.path, json.dumps(asked), {"Content-Type": "application/json"})
                    answer = backend.getresponse()
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    while data := answer.read1(65_536):
                        self._chunk(data)
                    self._chunk(b"")
        finally:
            self.server.active -= 1


def _again(first: str | Done, rest: Iterator[str | Done]) -> Iterator[str | Done]:
    yield first
    yield from rest


@contextmanager
def running(*models: Model, port: int = 0) -> Iterator[Front]:
    """Start the front with these models, or with the small one."""
    found = list(models)
    if not found:
        path = weights()
        assert path is not None, "run scripts/model first"
        found = [Model(NAME, path)]
    front = Front(found, port)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    try:
        yield front
    finally:
        front.shutdown()
        front.server_close()


def main() -> None:
    """Serve models to a person until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE.gguf")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=8_192)
    given = parser.parse_args()
    pairs = [text.split("=", 1) for text in given.model] or [[NAME, str(WEIGHTS)]]
    models = [Model(name, Path(path), given.threads, given.context) for name, path in pairs]
    with running(*models, port=given.port) as front, suppress(KeyboardInterrupt):
        print(f"ready {front.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
