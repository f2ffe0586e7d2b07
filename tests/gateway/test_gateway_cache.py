"""Answers that are given again, and requests that must never share one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.valkey_server import running

from dataforge.gateway.base import Call, Message, Request
from dataforge.gateway.cache import Answer, Cache, RedisCache, Scope, SqliteCache, key_of, normalised, redis_client
from dataforge.gateway.opening import state_file
from dataforge.gateway.reuse import canonical, similarity
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import Settings

ANSWER = Answer("{}", "stop", "m", 10, 2)
NEAR_MISSES = [
    ("load orders every day at 6am", "load orders every day at 7am"),
    ("append orders to the table sales", "overwrite orders to the table sales"),
    ("append orders to sales", "replace orders in sales"),
    ("copy table orders to warehouse", "copy table customers to warehouse"),
    ("copy orders from prod_db to lake", "copy orders from dev_db to lake"),
    ("copy a from x to y", "copy a from y to x"),
    ("load Orders into t", "load orders into t"),
    ("load orders daily", "load orders hourly"),
    ("load orders without nulls", "load orders with nulls"),
    ("load orders where amount > 10", "load orders where amount < 10"),
    ("load orders where amount > 10", "load orders where amount >= 10"),
    ("load orders, keep the first row", "load orders, keep the last row"),
    ("load orders and do not mask email", "load orders and mask email"),
    ("load orders sorted ascending", "load orders sorted descending"),
    ("load orders on Mondays", "load orders on Tuesdays"),
    ("load orders in Europe/Berlin", "load orders in Europe/Lisbon"),
    ("load 'my orders' into t", "load 'my  orders' into t"),
    ("load orders.csv", "load orders.csv.gz"),
    ("load s3://lake/a into t", "load s3://lake/b into t"),
    ("load orders since 2025-01-01", "load orders since 2025-01-10"),
    ("load the last 7 days", "load the last 30 days"),
    ("load seven days", "load nine days"),
    ("lade Bestellungen täglich um 6 Uhr", "lade Bestellungen täglich um 18 Uhr"),
    ("lade Bestellungen ohne Duplikate", "lade Bestellungen mit Duplikaten"),
    ("join orders with customers on id", "join orders with customers on customer_id"),
    ("upsert by id", "upsert by order_id"),
    ("load only paid orders", "load only unpaid orders"),
    ("load orders then customers", "load customers then orders"),
    ("load orders with a left join", "load orders with an inner join"),
    ("to orders add customers", "add orders to customers"),
]
SAME_WORDS = [
    ("Load orders  into t", "load orders into t"),
    ("Load orders\ninto t ", "Load orders into t"),
]
PARAPHRASES = [
    ("Please load the orders from pg into t", "load orders from pg into t"),
    ("I want to copy the orders from pg to t", "Load orders from pg into t."),
    ("bitte lade die Bestellungen aus pg", "Lade Bestellungen aus pg"),
]


def call(text: str, **more: object) -> Call:
    """Return a call with one message around a request."""
    messages = (Message("system", "rules"), Message("user", f'{{"request": "{text}"}}'))
    return replace(Call("m", messages, {"type": "object"}, 100, 0.0, 1, (), 10), **more)  # type: ignore[arg-type]


def key(text: str, *, digest: str = "d", team: str = "a", actor: str = "ada", **more: object) -> str:
    """Return a request's key."""
    return key_of(call(text, **more), Scope("author", team, actor, "ollama", "lab", digest), text)


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES)
def test_near_misses_never_share_an_answer(one: str, other: str) -> None:
    assert key(one) != key(other)
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(("one", "other"), SAME_WORDS)
def test_white_space_and_the_first_letter_make_no_difference(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert key(normalised(one)) == key(normalised(other))


@pytest.mark.parametrize(("one", "other"), PARAPHRASES)
def test_the_same_in_other_words_counts_the_same(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert key(one) != key(other)


def test_everything_that_an_answer_depends_on_counts() -> None:
    first = key("load orders")
    others = [
        key("load orders", team="b"),
        key("load orders", actor="bob"),
        key("load orders", digest="e"),
        key("load orders", model="n"),
        key("load orders", schema={"type": "object", "properties": {}}),
        key("load orders", schema=None),
        key("load orders", temperature=0.5),
        key("load orders", seed=2),
        key("load orders", max_tokens=99),
        key("load orders", stop=("x",)),
        key("load orders", messages=(Message("system", "other rules"), Message("user", '{"request": "load orders"}'))),
    ]
    assert len({first, *others}) == len(others) + 1


def test_similar_texts_are_ranked() -> None:
    near, far = similarity("load orders daily", "load orders hourly"), similarity("load orders daily", "mask emails")
    assert 0 <= far < near < 1


@pytest.fixture(params=["sqlite", "redis"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    """Both kinds of cache, for an hour."""
    if request.param == "sqlite":
        yield SqliteCache(tmp_path / "d" / "g.db", 3_600, 1_000_000)
        return
    with running(tmp_path) as url, closing(redis_client(url)) as client:
        yield RedisCache(client, 3_600)


def test_what_is_kept_is_found_by_its_team_only(cache: Cache) -> None:
    assert cache.get("k", "a") is None
    cache.put("k", "a", ANSWER)
    assert cache.get("k", "a") == ANSWER
    assert cache.get("k", "b") is None
    cache.put("long", "a", replace(ANSWER, text="x" * 2_000_000))
    assert cache.get("long", "a") is None


def test_answers_grow_old(tmp_path: Path) -> None:
    now = [1_000.0]
    kept = SqliteCache(tmp_path / "g.db", 60, 1_000_000, lambda: now[0])
    kept.put("k", "", ANSWER)
    now[0] += 59
    assert kept.get("k", "") == ANSWER
    now[0] += 2
    assert kept.get("k", "") is None


def test_the_least_used_go_first_when_there_is_no_room(tmp_path: Path) -> None:
    now = [1_000.0]
    kept = SqliteCache(tmp_path / "g.db", 3_600, 3_500, lambda: now[0])
    for name in ("a", "b", "c"):
        now[0] += 1
        kept.put(name, "", replace(ANSWER, text="x" * 1_000))
    now[0] += 1
    assert kept.get("a", "") is not None
    now[0] += 1
    kept.put("d", "", replace(ANSWER, text="x" * 1_000))
    assert [name for name in "abcd" if kept.get(name, "") is not None] == ["a", "c", "d"]


def test_the_file_is_its_owners_only() -> None:
    before = os.umask(0)
    try:
        gateway_over(Scripted("x")).complete(Request("explain", (Message("user", "x"),)))
    finally:
        os.umask(before)
    assert stat.S_IMODE(state_file().stat().st_mode) == 0o600


def test_neither_secrets_nor_personal_data_are_kept() -> None:
    kept = SqliteCache(state_file(), 3_600, 1_000_000)
    model = Scripted(lambda call: call.messages[-1].text)
    gateway = gateway_over(model, cache=kept)
    asked = "mail ada@example.com, password: canary-8812"
    completion = gateway.complete(Request("explain", (Message("user", asked),), asked=asked))
    assert completion.text == "mail ada@example.com, password: WITHHELD_PASSWORD_1"
    data = b"".join(path.read_bytes() for path in state_file().parent.glob("gateway.db*"))
    assert b"WITHHELD_EMAIL_1" in data
    assert b"canary" not in data
    assert b"ada@example" not in data
    again = gateway.complete(Request("explain", (Message("user", asked.replace("ada", "bob")),)))
    assert (again.cached, again.text.split(",")[0]) == (True, "mail bob@example.com")


def test_a_request_without_cache_asks_anew_and_failures_are_not_kept() -> None:
    kept = SqliteCache(state_file(), 3_600, 1_000_000)
    model = Scripted("no JSON", '{"a": 1}')
    gateway = gateway_over(model, cache=kept)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    request = Request("author", (Message("user", "x"),), schema=schema)
    assert gateway.complete(request).problem
    assert gateway.complete(request).value == {"a": 1}
    assert gateway.complete(request).cached
    assert not gateway.complete(replace(request, use_cache=False)).cached
    assert not gateway.complete(replace(request, team="others")).cached


def test_a_cache_that_is_away_is_done_without(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    with closing(redis_client("redis://127.0.0.1:1/0")) as client:
        gateway = gateway_over(Scripted("yes"), cache=RedisCache(client, 60), settings=Settings())
        assert gateway.complete(Request("explain", (Message("user", "x"),))).text == "yes"
