"""The way from a run to a language model: what `ai` steps ask goes through the gateway, with its budgets and cache.

It stands here because neither the runtime nor a component may know the gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dataforge.components.base import Ask, Connection, JsonValue, Question

if TYPE_CHECKING:
    from dataforge.gateway.base import Gateway
    from dataforge.runtime.context import TaskContext


def with_models(context: TaskContext) -> TaskContext:
    """Return the context with the deployment's gateway; nothing is opened before the first question."""
    return replace(context, ask=asking(lambda: _gateway(context.connection)))


def asking(gateway: Callable[[], Gateway]) -> Ask:
    """Return what puts questions to the gateway that `gateway` makes, once."""
    made: list[Gateway] = []

    def ask(question: Question) -> JsonValue:
        from dataforge.gateway.base import Message, Request

        if not made:
            made.append(gateway())
        completion = made[0].complete(
            Request(
                "transform",
                (Message("system", question.instructions), Message("user", question.text)),
                schema=question.schema,
                model=question.model,
                max_tokens=question.max_tokens,
                actor=question.actor,
                request_id=question.request_id,
            )
        )
        return completion.value

    return ask


def _gateway(lookup: Callable[[str], Connection]) -> Gateway:
    from dataforge.gateway.opening import open_gateway
    from dataforge.runtime.connections import secrets

    return open_gateway(lookup, private=secrets)
