"""What calls of language models used: one row for each try, summed by month, person, team, model and task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Select, String, cast, func, insert, literal_column, select

from dataforge.store.database import Store
from dataforge.store.schema import MODEL_CALLS as CALLS


@dataclass(frozen=True)
class ModelCall:
    """One try of one call. `model` is "connection/model"; `cost` in the currency of the configured prices."""

    at: datetime
    month: str
    request_id: str
    task: str
    actor: str
    team: str
    model: str
    provider: str
    attempt: int
    outcome: str
    cached: bool
    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    seconds: float
    cost: float
    estimated: bool
    prompt_hash: str


@dataclass(frozen=True)
class Total:
    """Sums over calls; `estimated` says that some tokens were not counted by the provider itself."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    seconds: float
    cost: float
    calls: int
    estimated: bool


@dataclass(frozen=True)
class Heading:
    """What a total is of."""

    month: str
    actor: str
    team: str
    model: str
    task: str


_SUMS = (
    func.coalesce(func.sum(CALLS.c.prompt_tokens), 0),
    func.coalesce(func.sum(CALLS.c.completion_tokens), 0),
    func.coalesce(func.sum(CALLS.c.cached_prompt_tokens), 0),
    func.coalesce(func.sum(CALLS.c.seconds), 0),
    func.coalesce(func.sum(CALLS.c.cost), 0),
    func.count(),
    func.coalesce(func.max(cast(CALLS.c.estimated, Integer)), 0),
)
_HEADING = (CALLS.c.month, CALLS.c.actor, CALLS.c.team, CALLS.c.model, CALLS.c.task)


def add(store: Store, call: ModelCall) -> None:
    """Write one call; texts that are too long are cut."""
    values = dict(vars(call))
    for name, column in CALLS.c.items():
        if isinstance(column.type, String):
            values[name] = str(values[name])[: column.type.length]
    with store.transaction() as connection:
        connection.execute(insert(CALLS).values(values))


def spent(
    store: Store,
    *,
    since: datetime | None = None,
    actor: str | None = None,
    team: str | None = None,
    request_id: str | None = None,
) -> Total:
    """Return the sum over what matches all that is given."""
    query = _matching(select(*_SUMS), since, actor, team, request_id)
    with store.reading() as connection:
        return _total(connection.execute(query).one())


def summary(
    store: Store, *, since: datetime | None = None, actor: str | None = None, team: str | None = None
) -> list[tuple[Heading, Total]]:
    """Return the sums by month, person, team, model and task, latest month first."""
    query = _matching(select(*_HEADING, *_SUMS), since, actor, team, None).group_by(*_HEADING)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(CALLS.c.month.desc(), *_HEADING[1:])).all()
    return [(Heading(*row[:5]), _total(row[5:])) for row in rows]


@dataclass(frozen=True)
class Row:
    """What was used under one key: `requests` are wishes of persons, each with all its calls."""

    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


def grouped(
    store: Store,
    by: Literal["day", "user", "model"],
    *,
    actor: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Row]:
    """Return the sums by day (UTC), person or model, in the order of the key; `until` is the first instant after."""
    with store.reading() as connection:
        key = {"user": CALLS.c.actor, "model": CALLS.c.model, "day": _day(connection.dialect.name)}[by]
        sums = (func.count(CALLS.c.request_id.distinct()), _SUMS[0], _SUMS[1], _SUMS[4])
        query = _matching(select(key, *sums), since, actor, None, None)
        if until is not None:
            query = query.where(CALLS.c.at < until)
        rows = connection.execute(query.group_by(key).order_by(key)).all()
    return [Row(str(row[0]), int(row[1]), int(row[2]), int(row[3]), float(row[4])) for row in rows]


def _day(dialect: str) -> ColumnElement[str]:
    if dialect == "postgresql":
        return func.to_char(func.timezone(literal_column("'UTC'"), CALLS.c.at), literal_column("'YYYY-MM-DD'"))
    return func.strftime(literal_column("'%Y-%m-%d'"), CALLS.c.at)


def _matching(
    query: Select[Any], since: datetime | None, actor: str | None, team: str | None, request_id: str | None
) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = [
        column == value
        for column, value in ((CALLS.c.actor, actor), (CALLS.c.team, team), (CALLS.c.request_id, request_id))
        if value is not None
    ]
    if since is not None:
        conditions.append(CALLS.c.at >= since)
    return query.where(*conditions)


def _total(row: Any) -> Total:
    prompt, completion, cached, seconds, cost, calls, estimated = row
    return Total(
        int(prompt), int(completion), int(cached), float(seconds), float(cost), int(calls), estimated=bool(estimated)
    )
