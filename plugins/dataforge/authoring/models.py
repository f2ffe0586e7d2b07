"""The deployment's language models, as everything that writes configs reaches them; their use is counted in the store.

    gateway = open_models()          # asks the models that the settings name; budgets count from the store

What no model can answer ends in a `GatewayError` that says what to do, so that the caller goes on without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING

from dataforge.errors import ConfigError, DataForgeError, ModelAway, ModelRefused
from dataforge.gateway.base import Cancel, Completion, Discovery, Event, Gateway, OnText, Request, Spent, Usage, Vector
from dataforge.gateway.connections import LOCAL
from dataforge.gateway.opening import open_gateway
from dataforge.runtime.connections import lookup, secrets
from dataforge.settings import Settings, get_settings

if TYPE_CHECKING:
    from dataforge.components.base import Connection
    from dataforge.store.database import Store
    from dataforge.store.usage import Total

NONE_SET_UP = (
    "no language model is set up, and no Ollama answers on this machine: install Ollama (https://ollama.com) and "
    "`ollama pull qwen2.5-coder:1.5b`, or name an Airflow connection to a model server in [dataforge] llm_chain"
)


def open_models(settings: Settings | None = None) -> Gateway:
    """Return the deployment's gateway; opens nothing yet."""
    return _Models(settings or get_settings())


class _Models:
    """The gateway, with messages for those who have not set a model up, or not rightly."""

    def __init__(self, settings: Settings) -> None:
        chains = settings.llm_chain, settings.llm_author, settings.llm_refine, settings.llm_repair, settings.llm_explain
        self._named = any(chains)
        self._ledger = StoreLedger()
        self._gateway = open_gateway(self._lookup, settings=settings, ledger=self._ledger, private=secrets)

    def _lookup(self, id_: str) -> Connection:
        found = lookup(id_)
        self._named = True
        return found

    def complete(self, request: Request, on_text: OnText | None = None, cancel: Cancel | None = None) -> Completion:
        """Return the model's answer; see `dataforge.gateway.base.Gateway`."""
        with self._advised():
            return self._gateway.complete(request, on_text, cancel)

    def embed(
        self,
        texts: Sequence[str],
        *,
        actor: str = "",
        team: str = "",
        request_id: str = "",
        private: Sequence[str] = (),
    ) -> tuple[Vector, ...] | None:
        """Return texts as vectors; see `dataforge.gateway.base.Gateway`."""
        with self._advised():
            return self._gateway.embed(texts, actor=actor, team=team, request_id=request_id, private=private)

    def models(self) -> list[Discovery]:
        """Return what each connection offers, or why it could not be asked."""
        found = self._gateway.models()
        if not self._named and [one.connection for one in found if one.error] == [LOCAL]:
            return [Discovery("", "", error=NONE_SET_UP)]
        return found

    def usage(self, actor: str | None = None, team: str | None = None, since: datetime | None = None) -> list[Spent]:
        """Return what was used, by month, person, team, model and task."""
        return self._ledger.summary(actor=actor, team=team, since=since)

    @contextmanager
    def _advised(self) -> Iterator[None]:
        try:
            yield
        except ModelAway as error:
            if self._named:
                advice = "start the server or mend the connection; `dataforge models` asks it"
                raise ModelAway(f"{error}; {advice}", error.connection, error.retry_after) from None
            raise ModelAway(NONE_SET_UP, error.connection, error.retry_after) from None
        except ConfigError as error:  # the settings name a connection that is not there
            raise ModelRefused(f"[dataforge] llm_chain can't be used: {error}") from None


class StoreLedger:
    """Use, counted in the store, which all processes of the deployment share; the store is opened at first use."""

    def __init__(self, store: Store | None = None) -> None:
        self._given = store

    @cached_property
    def _store(self) -> Store:
        from dataforge.store.database import open_store

        return self._given or open_store()

    def add(self, event: Event) -> None:
        """Count what one try used; ModelRefused when the store can't be reached."""
        from dataforge.store import usage

        used = event.usage
        at = event.at.astimezone(timezone.utc)
        with _counting():
            usage.add(
                self._store,
                usage.ModelCall(
                    at, f"{at:%Y-%m}", event.request_id, event.task, event.actor, event.team,
                    f"{event.connection}/{event.model}", event.provider, event.attempt, event.outcome, event.cached,
                    used.prompt_tokens, used.completion_tokens, used.cached_prompt_tokens, used.seconds, used.cost,
                    used.estimated, event.prompt_hash,
                ),
            )  # fmt: skip

    def spent(
        self,
        *,
        since: datetime | None = None,
        actor: str | None = None,
        team: str | None = None,
        request_id: str | None = None,
    ) -> Usage:
        """Return the sum over what matches all that is given; ModelRefused when the store can't be reached."""
        from dataforge.store import usage

        with _counting():
            return _usage(usage.spent(self._store, since=since, actor=actor, team=team, request_id=request_id))

    def summary(
        self, *, since: datetime | None = None, actor: str | None = None, team: str | None = None
    ) -> list[Spent]:
        """Return the sums by month, person, team, model and task, latest month first."""
        from dataforge.store import usage

        found = usage.summary(self._store, since=since, actor=actor, team=team)
        return [Spent(one.month, one.actor, one.team, one.model, one.task, _usage(total)) for one, total in found]


@contextmanager
def _counting() -> Iterator[None]:
    """A store that is away must not be taken for an empty one: then no model is asked."""
    try:
        yield
    except DataForgeError as error:
        raise ModelRefused(f"the use of models can't be counted now, so none is asked: {error}") from None


def _usage(total: Total) -> Usage:
    return Usage(
        total.prompt_tokens, total.completion_tokens, total.seconds, total.cost, total.calls,
        total.cached_prompt_tokens, estimated=total.estimated,
    )  # fmt: skip
