"""Spans of model calls by OpenTelemetry's conventions for generative AI, where it is installed. Texts stay out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from dataforge.gateway.base import Call, Completion, Request

_PROVIDERS = {"pydantic_ai": "pydantic_ai"}


class Span(Protocol):
    """What a call tells about itself."""

    def answered(self, completion: Completion) -> None:
        """Note the answer."""
        ...

    def failed(self, error: BaseException, attempt: int) -> None:
        """Note the error."""
        ...


class _Silent:
    def answered(self, completion: Completion) -> None:
        pass

    def failed(self, error: BaseException, attempt: int) -> None:
        pass


class _Told:
    def __init__(self, span: Any) -> None:
        self._span = span

    def answered(self, completion: Completion) -> None:
        used = completion.usage
        self._span.set_attributes(
            {
                "gen_ai.response.model": completion.model,
                "gen_ai.response.finish_reasons": [completion.finish],
                "gen_ai.usage.input_tokens": used.prompt_tokens,
                "gen_ai.usage.output_tokens": used.completion_tokens,
                "dataforge.llm.cached": completion.cached,
                "dataforge.llm.cost": used.cost,
                "dataforge.llm.attempt": completion.attempts,
                "dataforge.llm.withheld": len(completion.withheld),
            }
        )

    def failed(self, error: BaseException, attempt: int) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attributes({"error.type": type(error).__name__, "dataforge.llm.attempt": attempt})
        self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))


@contextmanager
def span(request: Request, call: Call, provider: str, url: str) -> Iterator[Span]:
    """Give a span around one call of a model; one that does nothing without OpenTelemetry."""
    try:
        from opentelemetry import trace
    except ImportError:
        yield _Silent()
        return
    operation = "embeddings" if request.task == "embed" else "chat"
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": call.model,
        "gen_ai.request.max_tokens": call.max_tokens,
        "gen_ai.request.temperature": call.temperature,
        "gen_ai.request.seed": call.seed,
        "gen_ai.output.type": "text" if call.schema is None else "json",
        "server.address": url.rsplit("@", 1)[-1].split("://")[-1].split("/")[0],
        "dataforge.llm.task": request.task,
        "dataforge.llm.request_id": request.request_id,
    }
    tracer = trace.get_tracer("dataforge.gateway")
    with tracer.start_as_current_span(
        f"{operation} {call.model}",
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as found:
        yield _Told(found)
