"""Any `pydanticai…` connection of Airflow's common-ai provider, through pydantic-ai, for sites that have such."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataforge.errors import ModelRefused
from dataforge.gateway.base import Call, End, Finish, Model, Piece
from dataforge.gateway.connections import Profile
from dataforge.gateway.lines import Line, Lines
from dataforge.gateway.ollama_ import missing
from dataforge.gateway.streams import Streamed


class PydanticAIAdapter:
    """The model of one common-ai connection. Its wire is not ours: cancelling ends it at the next piece."""

    provider = "pydantic_ai"
    compiles_schemas = True

    def __init__(self, profile: Profile) -> None:
        try:
            from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
        except ImportError:
            package = "apache-airflow-providers-common-ai"
            raise ModelRefused(missing(package, profile.connection, "llm-pydantic-ai")) from None
        self._profile = profile
        self._lines = Lines()
        self._hook: Callable[[str], Any] = lambda model: PydanticAIHook(llm_conn_id=profile.connection, model_id=model)

    def stream(self, call: Call, seconds: float) -> Streamed:
        """Begin a call."""
        return Streamed(self._lines, self._profile.place, call, lambda line: self._pieces(call, seconds, line))

    def _pieces(self, call: Call, seconds: float, line: Line) -> Iterator[Piece | End]:
        sampling = bool(self._profile.extra.sampling)
        yield from pieces(self._hook(call.model).get_conn(), call, seconds, line, sampling=sampling)

    def models(self, seconds: float) -> Sequence[Model]:
        """Return the connection's own model: the provider lists none."""
        del seconds
        if self._profile.extra.model is None:
            return []
        extra = self._profile.extra
        return [
            Model(
                self._profile.connection,
                self.provider,
                self._profile.extra.model,
                context_tokens=extra.context_tokens,
                price_in=extra.price_in,
                price_out=extra.price_out,
            )
        ]


def pieces(model: Any, call: Call, seconds: float, line: Line, *, sampling: bool = False) -> Iterator[Piece | End]:
    """Yield the answer of a pydantic-ai model."""
    from pydantic_ai.direct import model_request_stream_sync
    from pydantic_ai.messages import (
        ModelMessage,
        ModelRequest,
        ModelResponse,
        PartDeltaEvent,
        PartStartEvent,
        SystemPromptPart,
        TextPart,
        TextPartDelta,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.settings import ModelSettings

    history: list[ModelMessage] = []
    for message in call.messages:
        if message.role == "assistant":
            history.append(ModelResponse(parts=[TextPart(message.text)]))
            continue
        part = SystemPromptPart(message.text) if message.role == "system" else UserPromptPart(message.text)
        history.append(ModelRequest(parts=[part]))
    settings = ModelSettings(max_tokens=call.max_tokens, timeout=seconds)
    if sampling:  # several models refuse these
        settings["temperature"], settings["seed"] = call.temperature, call.seed
    if call.stop:
        settings["stop_sequences"] = list(call.stop)
    if call.schema is not None:
        # its default, a tool call, fails with small models
        answer = OutputObjectDefinition(json_schema=dict(call.schema), name="answer", strict=True)
        parameters = ModelRequestParameters(output_mode="native", output_object=answer, allow_text_output=True)
    else:
        parameters = ModelRequestParameters(allow_text_output=True)
    with model_request_stream_sync(
        model, history, model_settings=settings, model_request_parameters=parameters
    ) as stream:
        for event in stream:
            if line.is_cut:
                return
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                yield Piece(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                yield Piece(event.delta.content_delta)
            else:
                yield Piece()
        response = stream.response
    finish: Finish = {"length": "length", "content_filter": "refused"}.get(str(response.finish_reason), "stop")  # type: ignore[assignment]
    yield End(
        finish,
        prompt_tokens=response.usage.input_tokens or None,
        completion_tokens=response.usage.output_tokens or None,
        cached_prompt_tokens=response.usage.cache_read_tokens,
        model=response.model_name or call.model,
    )
