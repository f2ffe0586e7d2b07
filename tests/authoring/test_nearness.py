"""Earlier answers: near misses never get one, the same in other words does; examples and pipelines are ranked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.authoring import library
from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest, Draft
from dataforge.authoring.catalogue import Catalogue, Known, read
from dataforge.authoring.extraction import extract
from dataforge.authoring.grounding import ground
from dataforge.errors import ModelAway
from dataforge.gateway.base import Call, Message, Request
from dataforge.gateway.cache import SqliteCache
from dataforge.gateway.opening import state_file
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import Settings

KNOWN = (
    Known("shop_db", "postgres"), Known("prod_db", "postgres"), Known("dev_db", "postgres"),
    Known("warehouse", "postgres"), Known("lake", "aws"),
)  # fmt: skip
EXAMPLES = library.packaged()[:3]
BASE = "Load public.orders from shop_db into warehouse sales.orders every day at 6am, and squash the cents column"
NEAR_MISSES = [
    (BASE, BASE.replace("6am", "7am")),
    (BASE, BASE.replace("6am", "6pm")),
    (BASE, BASE.replace("every day", "every Monday")),
    (BASE, BASE.replace("every day at 6am", "every hour")),
    (BASE, BASE.replace("at 6am", "at 6am Berlin time")),
    (BASE.replace("6am", "6am Berlin time"), BASE.replace("6am", "6am Lisbon time")),
    (BASE.replace("6am", "6am Europe/Berlin"), BASE.replace("6am", "6am UTC")),
    (BASE, BASE.replace("public.orders", "public.order")),
    (BASE, BASE.replace("public.orders", "public.refunds")),
    (BASE, BASE.replace("sales.orders", "sales.orders_v2")),
    (BASE, BASE.replace("sales.orders", "finance.orders")),
    (BASE, BASE.replace("shop_db", "prod_db")),
    (BASE.replace("shop_db", "prod_db"), BASE.replace("shop_db", "dev_db")),
    (BASE, "Load sales.orders from warehouse into shop_db public.orders every day at 6am, and squash the cents column"),
    (BASE, BASE.replace("squash", "do not squash")),
    (BASE + " and do not mask email", BASE + " and mask email"),
    (BASE, BASE.replace("cents", "euros")),
    (BASE, BASE.replace("squash", "triple")),
    (BASE + ", upsert by id", BASE + ", upsert by order_id"),
    (BASE + ", upsert by id", BASE + ", append"),
    (BASE + ", append", BASE + ", overwrite"),
    (BASE + ", key id", BASE + ", key id and day"),
    (BASE + ", only paid ones", BASE + ", only unpaid ones"),
    (BASE + ", amount > 10", BASE + ", amount < 10"),
    (BASE + ", amount > 10", BASE + ", amount >= 10"),
    (BASE + ", amount > 10", BASE + ", amount > 100"),
    (BASE + ", keep the first", BASE + ", keep the last"),
    (BASE + " with nulls", BASE + " without nulls"),
    (BASE + " since 2025-01-01", BASE + " since 2025-01-10"),
    (BASE + ", tag it sales", BASE + ", tag it finance"),
    (BASE + ", sorted ascending", BASE + ", sorted descending"),
    (BASE + ", hash email, redact phone", BASE + ", redact email, hash phone"),
    (BASE + ", call it 'a'", BASE + ", call it 'A'"),
    (BASE, BASE + ", but not on weekends"),
    (BASE, BASE.replace("and squash the cents column", "except the cents column")),
    (BASE + ", the last 7 days", BASE + ", the last 30 days"),
    (BASE + ", mail ada@example.com", BASE + ", mail bob@example.com"),
    (
        "Lade public.orders aus shop_db nach warehouse sales.orders jeden Tag um 6 Uhr und stauche Spalte cents",
        "Lade public.orders aus shop_db nach warehouse sales.orders jeden Tag um 18 Uhr und stauche Spalte cents",
    ),
    (
        "Lade public.orders aus shop_db nach warehouse sales.orders ohne Duplikate und stauche die Spalte cents",
        "Lade public.orders aus shop_db nach warehouse sales.orders mit Duplikaten und stauche die Spalte cents",
    ),
    (
        "Lade public.orders aus shop_db nach warehouse sales.orders jeden Tag um 6 Uhr und stauche Spalte cents",
        "Load public.orders from shop_db into warehouse sales.orders every day at 7 and squash the cents column",
    ),
    (
        "Lade public.orders aus shop_db nach warehouse sales.orders und stauche cents nicht",
        "Lade public.orders aus shop_db nach warehouse sales.orders und stauche cents",
    ),
]  # fmt: skip
REPEATS = [
    (BASE, "Please " + BASE[0].lower() + BASE[1:] + "."),
    (BASE, BASE.replace("Load", "Copy")),
    (BASE, BASE.replace("Load public", "I want to load public")),
    (BASE, BASE.replace("every day at 6am", "daily at 06:00")),
    (BASE, "Every day at 6am load public.orders from shop_db into warehouse sales.orders, and squash the cents column"),
    (BASE, BASE.replace("squash the cents", "squash cents")),
    (BASE, BASE.replace(" every day at 6am,", ",") + " every day at 6am"),
    (BASE.replace("6am", "6am Berlin time"), BASE.replace("6am", "6am Europe/Berlin")),
    (
        "Lade public.orders aus shop_db nach warehouse sales.orders jeden Tag um 6 Uhr und stauche Spalte cents",
        "Bitte lade public.orders aus shop_db nach warehouse sales.orders täglich um 6 Uhr und stauche Spalte cents",
    ),
]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    folder = tmp_path / "configs"
    folder.mkdir()
    return Catalogue(KNOWN, complete=True, folder=folder)


def fitting(call: Call) -> str:
    """Return the smallest answer that a call's schema allows."""
    return json.dumps(_fitting(call.schema or {}))


def _fitting(schema: Any) -> Any:
    if "anyOf" in schema:
        return _fitting(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _fitting(schema["properties"][name]) for name in schema.get("required", ())}
    return [] if schema.get("type") == "array" else "x"


def settings(**more: Any) -> Settings:
    return Settings(**{"llm_reuse_similar": True, "llm_embed": "scripted/letters", **more})


def twice(one: str, other: str, catalogue: Catalogue, second: dict[str, Any] | None = None, **more: Any) -> Draft:
    """Return the draft for `other`, asked for after `one` over the same cache."""
    wanted = settings(**more)
    gateway = gateway_over(Scripted(fitting), settings=wanted, cache=SqliteCache(state_file(), 3_600, 1_000_000))
    first = author(
        AuthorRequest(one, folder=catalogue.folder, actor="ada"), gateway, catalogue=catalogue, examples=EXAMPLES
    )
    assert [turn.cached for turn in first.trace if turn.kind == "author"] == [False], "the request needs no model"
    asked = {"actor": "ada", **(second or {})}
    return author(
        AuthorRequest(other, folder=catalogue.folder, **asked), gateway, catalogue=catalogue, examples=EXAMPLES
    )


def reused(draft: Draft) -> bool:
    return any(turn.cached for turn in draft.trace)


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES)
def test_a_near_miss_never_gets_an_earlier_answer(one: str, other: str, catalogue: Catalogue) -> None:
    assert not reused(twice(one, other, catalogue))


@pytest.mark.parametrize(("one", "other"), REPEATS)
def test_the_same_in_other_words_gets_the_earlier_answer_with_its_own_values(
    one: str, other: str, catalogue: Catalogue
) -> None:
    draft = twice(one, other, catalogue)
    assert reused(draft)
    assert any("earlier answer" in note for note in draft.notes)
    alone = author(
        AuthorRequest(other, actor="x"), gateway_over(Scripted(fitting)), catalogue=catalogue, examples=EXAMPLES
    )
    assert draft.config == alone.config


def test_reuse_is_off_unless_the_settings_say_so(catalogue: Catalogue) -> None:
    one, other = REPEATS[1]
    assert not reused(twice(one, other, catalogue, llm_reuse_similar=False))


@pytest.mark.parametrize("second", [{"actor": "bob"}, {"team": "b"}, {"pinned": {"owner": "x"}}, {"history": ("a",)},
                                    {"use_cache": False}])  # fmt: skip
def test_nobody_else_and_nothing_else_gets_an_earlier_answer(second: dict[str, Any], catalogue: Catalogue) -> None:
    one, other = REPEATS[1]
    assert not reused(twice(one, other, catalogue, second))


def test_the_same_words_of_another_person_are_asked_anew(catalogue: Catalogue) -> None:
    """S54: what one person was answered is out of another's reach, also to the letter."""
    assert not reused(twice(BASE, BASE, catalogue, {"actor": "bob"}))


def test_words_that_are_far_apart_get_no_earlier_answer_whatever_their_facts() -> None:
    """A second guard: equal facts alone do not suffice."""
    model = Scripted(fitting)
    gateway = gateway_over(model, settings=settings(), cache=SqliteCache(state_file(), 3_600, 1_000_000))
    for text, cached in (
        ("load all the orders of the shop daily", False),
        ("load all the orders of the shop, daily", True),
        ("mask it", False),
    ):
        request = Request("author", (Message("user", text),), asked=text, facts="the same", actor="ada")
        assert gateway.complete(request).cached is cached
    assert len(model.calls) == 2


def test_without_an_embedding_model_words_are_compared(catalogue: Catalogue) -> None:
    one, other = REPEATS[0]
    assert reused(twice(one, other, catalogue, llm_embed=""))


def test_an_embedding_model_that_is_away_costs_a_note_and_no_draft(catalogue: Catalogue) -> None:
    class Away(Scripted):
        def embed(self, *_: object, **__: object) -> Any:
            raise ModelAway("it is away", "scripted")

    gateway = gateway_over(Away(fitting), settings=settings(), cache=SqliteCache(state_file(), 3_600, 1_000_000))
    for text in REPEATS[0]:
        draft = author(AuthorRequest(text, actor="ada"), gateway, catalogue=catalogue, examples=EXAMPLES)
        assert draft.config is not None
        assert any("embedding model did not answer" in note for note in draft.notes)
        assert not reused(draft)


def test_examples_are_ranked_by_vectors_where_there_are_some() -> None:
    examples = library.packaged()
    grounds = ground("x", extract("x"), {}, {})
    wanted = examples[5].id
    ranked = library.nearest("x", grounds, examples, 2, {one.id: float(one.id == wanted) * 9 for one in examples})
    assert ranked[-1].id == wanted


def test_pipelines_that_do_about_the_same_are_offered(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    target = {"type": "postgres", "connection": "warehouse", "table": "sales.orders", "write_disposition": "append"}
    source = {"type": "postgres", "connection": "shop_db", "table": "public.orders"}
    other = {"type": "csv", "path": "x.csv"}
    told = "Load public.orders out of shop_db into warehouse sales.orders every day at 6am, squash the cents column"
    configs: dict[str, dict[str, Any]] = {
        "same": {"source": source, "destination": target},
        "writes": {"source": other, "destination": target},
        "worded": {"source": other, "destination": {**target, "table": "x"}, "description": told},
        "else": {"source": other, "destination": {**target, "table": "y"}, "description": "Bring the prices of metals"},
    }
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps({"dag_id": name, **config}), encoding="utf-8")
    catalogue = read(folder, airflow=False)
    wanted = settings()
    draft = author(
        AuthorRequest(BASE, folder=folder), gateway_over(Scripted(fitting), settings=wanted), catalogue=catalogue
    )
    assert [(one.dag_id, one.why) for one in draft.similar] == [
        ("same", "reads shop_db: public.orders and writes warehouse: sales.orders"),
        ("writes", "writes warehouse: sales.orders"),
        ("worded", "is described alike"),
    ]
    assert any("'same'" in note for note in draft.notes)
    plain = author(AuthorRequest(BASE, folder=folder), None, catalogue=catalogue)
    assert [one.dag_id for one in plain.similar] == ["same", "writes"]
