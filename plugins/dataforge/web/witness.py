"""What left the machine: every call of a model for one job, with the texts as they went out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dataforge.errors import GatewayError
from dataforge.gateway.base import Cancel, Completion, Discovery, Gateway, Message, OnText, Request, Spent, Vector

_FENCE = re.compile(r"<data>\n(.*?)\n</data>", re.DOTALL)


class Witness:
    """A gateway that notes in `calls` what another one sends."""

    def __init__(self, gateway: Gateway, calls: list[dict[str, Any]]) -> None:
        self._gateway = gateway
        self._calls = calls

    def complete(self, request: Request, on_text: OnText | None = None, cancel: Cancel | None = None) -> Completion:
        """Return the model's answer; see `dataforge.gateway.base.Gateway`."""
        try:
            found = self._gateway.complete(request, on_text, cancel)
        except GatewayError as error:
            self._calls.append({"task": request.task, "model": request.model or "", "failed": str(error)})
            raise
        self._calls.append(
            {
                "task": request.task,
                "connection": found.connection,
                "provider": found.provider,
                "model": found.model,
                "cached": found.cached,
                "messages": [{"role": one.role, "text": one.text} for one in found.sent],
                "withheld": [
                    {"kind": one.kind, "placeholder": one.placeholder, "count": count}
                    for one in found.withheld
                    if (count := sum(message.text.count(one.placeholder) for message in found.sent))
                ],
                "rows": rows_in(found.sent),
                "prompt_tokens": found.usage.prompt_tokens,
                "completion_tokens": found.usage.completion_tokens,
                "seconds": found.usage.seconds,
                "cost": found.usage.cost,
            }
        )
        return found

    def embed(
        self, texts: Sequence[str], *, actor: str = "", team: str = "", request_id: str = "",
        private: Sequence[str] = (),
    ) -> tuple[Vector, ...] | None:  # fmt: skip
        """Return texts as vectors; see `dataforge.gateway.base.Gateway`."""
        found = self._gateway.embed(texts, actor=actor, team=team, request_id=request_id, private=private)
        if found is not None:
            self._calls.append({"task": "embed", "model": "", "texts": len(texts)})
        return found

    def models(self) -> list[Discovery]:
        """Return what each connection offers."""
        return self._gateway.models()

    def usage(self, actor: str | None = None, team: str | None = None, since: datetime | None = None) -> list[Spent]:
        """Return what was used."""
        return self._gateway.usage(actor, team, since)


def rows_in(messages: Sequence[Message]) -> int:
    """Return how many sample rows stand in the data that messages hold."""
    found = 0
    for message in messages:
        for fence in _FENCE.findall(message.text):
            data = json.loads(fence)
            sample = data.get("sample") if isinstance(data, dict) else None
            found += sum(map(len, sample.values())) if isinstance(sample, dict) else 0
    return found
