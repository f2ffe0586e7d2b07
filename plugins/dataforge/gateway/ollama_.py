"""Ollama, by its own API, which unlike its OpenAI-like one takes the length of the context and tells what things took.

The schema goes as `format`: it binds the model but is not shown to it. Ollama cuts prompts that do not fit without a
word; the context is asked for by its size, and what the server says it read is compared with what was sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataforge.errors import AnswerUnfit, ModelRefused, PromptTooLong
from dataforge.gateway.base import Call, Embedded, End, Finish, Model, Piece
from dataforge.gateway.connections import Profile
from dataforge.gateway.faults import fault
from dataforge.gateway.lines import Line, Lines
from dataforge.gateway.streams import Streamed


class OllamaAdapter:
    """One Ollama server."""

    provider = "ollama"
    compiles_schemas = False

    def __init__(self, profile: Profile) -> None:
        try:
            import ollama
        except ImportError:
            raise ModelRefused(missing("ollama", profile.connection)) from None
        self._profile = profile
        self._lines = Lines()
        self._contexts: dict[str, int | None] = {}
        self._lock = threading.Lock()
        headers = dict(profile.extra.headers)
        if profile.key:
            headers["authorization"] = f"Bearer {profile.key}"
        self._make: Callable[[float], Any] = lambda seconds: ollama.Client(
            profile.url, headers=headers, **self._lines.options(seconds)
        )

    def stream(self, call: Call, seconds: float) -> Streamed:
        """Begin a call."""
        return Streamed(self._lines, self._profile.place, call, lambda line: self._pieces(call, seconds, line))

    def _pieces(self, call: Call, seconds: float, line: Line) -> Iterator[Piece | End]:
        extra = self._profile.extra
        client = self._make(seconds)
        context = self._context(client, call)
        options: dict[str, Any] = {
            "num_ctx": context,
            "num_predict": call.max_tokens,
            "temperature": call.temperature,
            "seed": call.seed,
            **({"stop": list(call.stop)} if call.stop else {}),
        }
        del line
        stream = client.chat(
            model=call.model,
            messages=[{"role": message.role, "content": message.text} for message in call.messages],
            stream=True,
            format=dict(call.schema) if call.schema is not None else None,
            options=options,
            keep_alive=extra.keep_alive,
            think=extra.think,
        )
        for part in stream:
            yield Piece(part.message.content or "")
            if part.done:
                finish: Finish = "length" if part.done_reason == "length" else "stop"
                yield End(
                    finish,
                    prompt_tokens=part.prompt_eval_count,
                    completion_tokens=part.eval_count,
                    load_seconds=(part.load_duration or 0) / 1e9,
                    context_tokens=context,
                    model=part.model or call.model,
                )
                return
        raise AnswerUnfit(
            f"{self._profile.place}: the answer ended without its last part, as when a model repeats itself"
        )

    def _context(self, client: Any, call: Call) -> int:
        """Return the tokens of context to ask for: as configured, or doubled until the call fits, if the model can."""
        context = self._profile.extra.num_ctx
        needed = call.prompt_estimate + call.max_tokens
        if needed <= context:
            return context
        largest = self._profile.extra.context_tokens or self._largest(client, call.model)
        while context < needed and (largest is None or context < largest):
            context *= 2
        context = min(context, largest or context)
        if call.prompt_estimate >= context:
            raise PromptTooLong(
                f"{self._profile.place}: the request has about {call.prompt_estimate:,} tokens, model {call.model!r} "
                f"takes {context:,}"
            )
        return context

    def _largest(self, client: Any, model: str) -> int | None:
        with self._lock:
            if model not in self._contexts:
                info = client.show(model).modelinfo or {}
                found = [value for key, value in info.items() if key.endswith(".context_length")]
                self._contexts[model] = int(found[0]) if found and found[0] else None
            return self._contexts[model]

    def embed(self, model: str, texts: Sequence[str], seconds: float, line: Line) -> Embedded:
        """Return the texts as vectors."""
        self._lines.use(line)
        try:
            answer = self._make(seconds).embed(
                model=model, input=list(texts), truncate=True, keep_alive=self._profile.extra.keep_alive
            )
            vectors = tuple(tuple(map(float, one)) for one in answer.embeddings)
        except Exception as error:  # noqa: BLE001 it is told by what it means
            raise fault(error, self._profile.place, line) from None
        return Embedded(vectors, answer.prompt_eval_count)

    def models(self, seconds: float) -> Sequence[Model]:
        """Return the models that the server has, those in memory first."""
        line = Line()
        self._lines.use(line)
        extra = self._profile.extra
        try:
            client = self._make(seconds)
            loaded = _loaded(client)
            found = [
                Model(
                    connection=self._profile.connection,
                    provider=self.provider,
                    name=one.model or "",
                    digest=one.digest or "",
                    size_bytes=int(one.size) if one.size is not None else None,
                    context_tokens=extra.num_ctx,
                    parameters=(one.details.parameter_size or "") if one.details else "",
                    loaded=None if loaded is None else one.model in loaded,
                    price_in=extra.price_in or 0.0,
                    price_out=extra.price_out or 0.0,
                )
                for one in client.list().models
            ]
        except Exception as error:  # noqa: BLE001 it is told by what it means
            raise fault(error, self._profile.place, line) from None
        return sorted(found, key=lambda model: (not model.loaded, model.name))


def _loaded(client: Any) -> set[str] | None:
    """Return the names of the models in memory; None where the server, being no Ollama, does not tell."""
    from ollama import ResponseError

    try:
        return {str(one.model) for one in client.ps().models}
    except ResponseError as error:
        if error.status_code == 404:
            return None
        raise


def missing(package: str, connection: str, extra: str | None = None) -> str:
    """Return what to do where a client is not installed."""
    return (
        f"connection {connection!r} needs the package {package!r}, which is not installed here: "
        f"pip install 'airflow-dataforge[{extra or package}]'"
    )
