"""Budgets of tokens and money: looked at before a call, with what calls now on their way may use, and counted after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

from dataforge.errors import BudgetSpent
from dataforge.gateway.base import Request, Usage, UsageLedger
from dataforge.settings import Settings

Scope = Literal["user_day", "user_month", "month"]


@dataclass(frozen=True)
class Standing:
    """How one budget of tokens or money stands: of a person today or in this month, or of all together in this month.

    `ends_at` is the instant (UTC) at which it begins anew.
    """

    scope: Scope
    unit: Literal["tokens", "money"]
    most: float
    used: float
    ends_at: datetime

    @property
    def left(self) -> float:
        """What may still be used."""
        return max(0.0, self.most - self.used)


def standings(ledger: UsageLedger, settings: Settings, actor: str) -> list[Standing]:
    """Return how the budgets that the settings name stand for a person; nothing is looked up where they name none."""
    day = _today()
    month = day.replace(day=1)
    tomorrow, next_month = day + timedelta(days=1), (month + timedelta(days=31)).replace(day=1)
    one = settings
    scopes: tuple[tuple[Scope, int, float, str | None, datetime, datetime], ...] = (
        ("user_day", one.llm_tokens_per_user_day, one.llm_cost_per_user_day, actor, day, tomorrow),
        ("user_month", one.llm_tokens_per_user_month, one.llm_cost_per_user_month, actor, month, next_month),
        ("month", one.llm_tokens_per_month, one.llm_cost_per_month, None, month, next_month),
    )
    found: list[Standing] = []
    for scope, tokens, cost, who, since, end in scopes:
        used = ledger.spent(since=since, actor=who) if tokens or cost else Usage()
        if tokens:
            found.append(Standing(scope, "tokens", tokens, used.tokens, end))
        if cost:
            found.append(Standing(scope, "money", cost, used.cost, end))
    return found


def _today() -> datetime:
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class _Held:
    request_id: str
    actor: str
    tokens: int
    cost: float


class Budgets:
    """The budgets of a deployment."""

    def __init__(self, ledger: UsageLedger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._held: list[_Held] = []
        self._lock = threading.Lock()

    @property
    def of_money(self) -> bool:
        """Whether prices must be known."""
        one = self._settings
        limits = (one.llm_cost_per_call, one.llm_cost_per_request, one.llm_cost_per_user_day)
        return any((*limits, one.llm_cost_per_user_month, one.llm_cost_per_month))

    @contextmanager
    def held(self, request: Request, tokens: int, cost: float) -> Iterator[None]:
        """Hold what a call may use at most while it runs; BudgetSpent when there is not so much left."""
        mine = _Held(request.request_id, request.actor, tokens, cost)
        with self._lock:
            self._check(request, mine)
            self._held.append(mine)
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(mine)

    def _check(self, request: Request, mine: _Held) -> None:
        one = self._settings
        _within(mine.tokens, mine.cost, one.llm_tokens_per_call, one.llm_cost_per_call, Usage(), "call", "this call")
        day = _today()
        if one.llm_tokens_per_request or one.llm_cost_per_request:
            used = self._ledger.spent(request_id=request.request_id)
            tokens, cost = self._with(mine, request_id=request.request_id)
            what = "this request with its repairs"
            _within(tokens, cost, one.llm_tokens_per_request, one.llm_cost_per_request, used, "request", what)
        if one.llm_tokens_per_user_day or one.llm_cost_per_user_day:
            used = self._ledger.spent(actor=request.actor, since=day)
            tokens, cost = self._with(mine, actor=request.actor)
            what = f"{request.actor or 'nobody in particular'} today"
            _within(tokens, cost, one.llm_tokens_per_user_day, one.llm_cost_per_user_day, used, "user", what)
        if one.llm_tokens_per_user_month or one.llm_cost_per_user_month:
            used = self._ledger.spent(actor=request.actor, since=day.replace(day=1))
            tokens, cost = self._with(mine, actor=request.actor)
            most = one.llm_tokens_per_user_month, one.llm_cost_per_user_month
            _within(tokens, cost, *most, used, "user_month", f"{request.actor or 'nobody in particular'} in this month")
        if one.llm_tokens_per_month or one.llm_cost_per_month:
            used = self._ledger.spent(since=day.replace(day=1))
            tokens, cost = self._with(mine)
            _within(tokens, cost, one.llm_tokens_per_month, one.llm_cost_per_month, used, "month", "all in this month")

    def _with(self, mine: _Held, *, request_id: str | None = None, actor: str | None = None) -> tuple[int, float]:
        """Return what this call and those on their way under the same heading may use."""
        others = [
            one
            for one in self._held
            if (request_id is None or one.request_id == request_id) and (actor is None or one.actor == actor)
        ]
        return mine.tokens + sum(one.tokens for one in others), mine.cost + sum(one.cost for one in others)


def _within(tokens: int, cost: float, most_tokens: int, most_cost: float, used: Usage, scope: str, what: str) -> None:
    setting = {"user": "user_day"}.get(scope, scope)
    if most_tokens and used.tokens + tokens > most_tokens:
        raise BudgetSpent(
            f"the budget of {most_tokens:,} tokens for {what} does not suffice: {used.tokens:,} are used, and the next "
            f"call may take {tokens:,} ([dataforge] llm_tokens_per_{setting})",
            scope,
        )
    if most_cost and used.cost + cost > most_cost:
        raise BudgetSpent(
            f"the budget of {most_cost:.2f} for {what} does not suffice: {used.cost:.4f} is spent, and the next call "
            f"may cost {cost:.4f} ([dataforge] llm_cost_per_{setting})",
            scope,
        )
