"""Anthropic, and servers that speak its Messages protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataforge.errors import AnswerUnfit, ModelRefused
from dataforge.gateway.base import Call, End, Finish, Model, Piece
from dataforge.gateway.connections import Profile
from dataforge.gateway.faults import fault
from dataforge.gateway.lines import Line, Lines
from dataforge.gateway.ollama_ import missing
from dataforge.gateway.streams import Streamed

CACHED_PREFIX = 4_000
"""System texts of at least so many characters are marked for the provider's prompt cache."""


class AnthropicAdapter:
    """One server of Anthropic's protocol."""

    provider = "anthropic"

    def __init__(self, profile: Profile) -> None:
        try:
            import anthropic
        except ImportError:
            raise ModelRefused(missing("anthropic", profile.connection)) from None
        self._profile = profile
        self._lines = Lines()
        self.compiles_schemas = profile.is_official
        self._make: Callable[[float], Any] = lambda seconds: anthropic.Anthropic(
            base_url=profile.url,
            api_key=profile.key or "none",
            default_headers=dict(profile.extra.headers),
            max_retries=0,
            timeout=seconds,
            http_client=anthropic.DefaultHttpxClient(**self._lines.options(seconds)),
        )

    def stream(self, call: Call, seconds: float) -> Streamed:
        """Begin a call."""
        return Streamed(self._lines, self._profile.place, call, lambda line: self._pieces(call, seconds, line))

    def _pieces(self, call: Call, seconds: float, line: Line) -> Iterator[Piece | End]:
        del line
        system = "\n\n".join(message.text for message in call.messages if message.role == "system")
        arguments: dict[str, Any] = {
            "model": call.model,
            "max_tokens": call.max_tokens,
            "messages": [
                {"role": message.role, "content": message.text} for message in call.messages if message.role != "system"
            ],
            "stream": True,
        }
        if system:
            block: dict[str, Any] = {"type": "text", "text": system}
            if len(system) >= CACHED_PREFIX:
                block["cache_control"] = {"type": "ephemeral"}
            arguments["system"] = [block]
        more: dict[str, Any] = {}  # what not every version of the client has an argument for
        # several of the provider's models refuse sampling parameters
        if self._profile.extra.sampling if self._profile.extra.sampling is not None else not self._profile.is_official:
            more["temperature"] = call.temperature
        if call.stop:
            arguments["stop_sequences"] = list(call.stop)
        if call.schema is not None:
            more["output_config"] = {"format": {"type": "json_schema", "schema": dict(call.schema)}}
        finish: Finish | None = None
        sent = cached = written = 0
        model = ""
        ended = False
        with self._make(seconds) as client:
            for event in client.messages.create(**arguments, extra_body=more or None):
                if event.type == "message_start":
                    usage = event.message.usage
                    model = event.message.model
                    cached = getattr(usage, "cache_read_input_tokens", None) or 0
                    sent = usage.input_tokens + cached + (getattr(usage, "cache_creation_input_tokens", None) or 0)
                    yield Piece()
                elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                    yield Piece(event.delta.text)
                elif event.type == "message_delta":
                    if event.delta.stop_reason:
                        finish = _FINISH.get(event.delta.stop_reason, "stop")
                    written = event.usage.output_tokens
                    sent = max(sent, (getattr(event.usage, "input_tokens", None) or 0) + cached)
                elif event.type == "message_stop":
                    ended = True
                else:
                    yield Piece()
        if finish is None or not ended:
            raise AnswerUnfit(f"{self._profile.place}: the answer broke off before its end")
        yield End(
            finish,
            prompt_tokens=sent or None,
            completion_tokens=written or None,
            cached_prompt_tokens=cached,
            context_tokens=self._profile.extra.context_tokens,
            model=model or call.model,
        )

    def models(self, seconds: float) -> Sequence[Model]:
        """Return the models that the key may use."""
        line = Line()
        self._lines.use(line)
        extra = self._profile.extra
        try:
            with self._make(seconds) as client:
                found = list(client.models.list(limit=100))
        except Exception as error:  # noqa: BLE001 it is told by what it means
            raise fault(error, self._profile.place, line) from None
        return [
            Model(
                connection=self._profile.connection,
                provider=self.provider,
                name=str(one.id),
                context_tokens=extra.context_tokens or getattr(one, "max_input_tokens", None),
                price_in=extra.price_in,
                price_out=extra.price_out,
            )
            for one in found
        ]


_FINISH: dict[str, Finish] = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "refused",
    "model_context_window_exceeded": "length",
}  # fmt: skip
