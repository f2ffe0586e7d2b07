"""OpenAI, and whatever speaks its chat protocol: vLLM, llama.cpp, LM Studio, Azure, a LiteLLM proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dataforge.errors import AnswerUnfit, ModelRefused
from dataforge.gateway.base import Call, Embedded, End, Finish, Model, Piece
from dataforge.gateway.connections import Profile
from dataforge.gateway.faults import fault
from dataforge.gateway.lines import Line, Lines
from dataforge.gateway.ollama_ import missing
from dataforge.gateway.streams import Streamed


class OpenAIAdapter:
    """One server of OpenAI's protocol."""

    provider = "openai"

    def __init__(self, profile: Profile) -> None:
        try:
            import openai
        except ImportError:
            raise ModelRefused(missing("openai", profile.connection)) from None
        self._profile = profile
        self._lines = Lines()
        self.compiles_schemas = profile.is_official
        extra = profile.extra
        common: dict[str, Any] = {
            "api_key": profile.key or "none",
            "organization": extra.organization,
            "default_headers": dict(extra.headers),
            "max_retries": 0,
        }

        def make(seconds: float) -> Any:
            common.update(timeout=seconds, http_client=openai.DefaultHttpxClient(**self._lines.options(seconds)))
            if extra.api_version:
                return openai.AzureOpenAI(azure_endpoint=profile.url, api_version=extra.api_version, **common)
            return openai.OpenAI(base_url=profile.url, **common)

        self._make = make

    def stream(self, call: Call, seconds: float) -> Streamed:
        """Begin a call."""
        return Streamed(self._lines, self._profile.place, call, lambda line: self._pieces(call, seconds, line))

    def _pieces(self, call: Call, seconds: float, line: Line) -> Iterator[Piece | End]:
        del line
        official, extra = self._profile.is_official, self._profile.extra
        arguments: dict[str, Any] = {
            "model": call.model,
            "messages": [{"role": message.role, "content": message.text} for message in call.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            ("max_completion_tokens" if official else "max_tokens"): call.max_tokens,
        }
        if extra.sampling if extra.sampling is not None else not official:
            arguments |= {"temperature": call.temperature, "seed": call.seed}
        if call.stop:
            arguments["stop"] = list(call.stop)
        if call.schema is not None:
            form = {"name": "answer", "strict": True, "schema": dict(call.schema)}
            arguments["response_format"] = {"type": "json_schema", "json_schema": form}
        finish: Finish | None = None
        usage: Any = None
        model = ""
        with self._make(seconds) as client:
            for part in client.chat.completions.create(**arguments):
                usage = part.usage or usage
                model = part.model or model
                for choice in part.choices or ():
                    if choice.delta is not None and choice.delta.content:
                        yield Piece(choice.delta.content)
                    elif choice.delta is not None and getattr(choice.delta, "refusal", None):
                        finish = "refused"
                        yield Piece(choice.delta.refusal)
                    else:
                        yield Piece()
                    if choice.finish_reason and finish is None:
                        finish = _FINISH.get(choice.finish_reason, "stop")
        if finish is None:
            raise AnswerUnfit(f"{self._profile.place}: the answer broke off before its end")
        details = getattr(usage, "prompt_tokens_details", None)
        yield End(
            finish,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            cached_prompt_tokens=getattr(details, "cached_tokens", None) or 0,
            context_tokens=extra.context_tokens,
            model=model or call.model,
        )

    def embed(self, model: str, texts: Sequence[str], seconds: float, line: Line) -> Embedded:
        """Return the texts as vectors."""
        self._lines.use(line)
        try:
            with self._make(seconds) as client:
                answer = client.embeddings.create(model=model, input=list(texts), encoding_format="float")
            found = sorted(answer.data, key=lambda one: one.index)
            vectors = tuple(tuple(map(float, one.embedding)) for one in found)
        except Exception as error:  # noqa: BLE001 it is told by what it means
            raise fault(error, self._profile.place, line) from None
        return Embedded(vectors, answer.usage.prompt_tokens if answer.usage else None)

    def models(self, seconds: float) -> Sequence[Model]:
        """Return the models that the key may use."""
        line = Line()
        self._lines.use(line)
        extra = self._profile.extra
        try:
            with self._make(seconds) as client:
                found = list(client.models.list())
        except Exception as error:  # noqa: BLE001 it is told by what it means
            raise fault(error, self._profile.place, line) from None
        return [
            Model(
                connection=self._profile.connection,
                provider=self.provider,
                name=str(one.id),
                context_tokens=extra.context_tokens or getattr(one, "max_model_len", None),
                price_in=extra.price_in,
                price_out=extra.price_out,
            )
            for one in sorted(found, key=lambda one: str(one.id))
        ]


_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "refused"}
