"""The gateway on a real model, through the three official clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from tests.gateway.conftest import MakeGateway
from tests.model_server import CONTEXT, NAME, Front, Model, free_port, running

from dataforge.components.base import Connection
from dataforge.errors import Cancelled, ModelAway, ModelRefused, PromptTooLong
from dataforge.gateway.base import Cancel, Event, Message, Request

PROVIDERS = ("ollama", "openai", "anthropic")
SCHEMA = {
    "type": "object",
    "$defs": {"Color": {"enum": ["red", "green", "blue"], "type": "string"}},
    "properties": {
        "kind": {"const": "paint", "type": "string"},
        "color": {"$ref": "#/$defs/Color"},
        "coats": {"type": "integer", "minimum": 1},
        "matte": {"type": "boolean", "default": False},
        "names": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["kind", "color", "coats"],
}


@pytest.fixture(params=PROVIDERS)
def connection(request: pytest.FixtureRequest, model_server: Front) -> Connection:
    """The real model behind one of the three protocols."""
    provider = str(request.param)
    url = model_server.url + ("/v1" if provider == "openai" else "")
    return Connection("lab", provider, url, extra={"model": NAME, "num_ctx": CONTEXT})


def ask(text: str, **more: object) -> Request:
    """Return a request of one message."""
    return Request("author", (Message("system", "Answer in JSON."), Message("user", text)), max_tokens=120, **more)  # type: ignore[arg-type]


def test_an_answer_follows_its_schema(gateway: MakeGateway, connection: Connection) -> None:
    completion = gateway(connection).complete(ask("Describe two coats of red paint.", schema=SCHEMA))
    assert completion.value is not None, (completion.text, completion.problem)
    assert completion.problem == ""
    assert completion.value["kind"] == "paint"
    assert completion.value["color"] in ("red", "green", "blue")
    assert isinstance(completion.value["coats"], int)
    assert completion.finish == "stop"


def test_text_comes_in_pieces_that_make_the_whole(gateway: MakeGateway, connection: Connection) -> None:
    pieces: list[str] = []
    completion = gateway(connection).complete(
        Request("explain", (Message("user", "Count from one to ten."),), max_tokens=40), pieces.append
    )
    assert len(pieces) > 5
    assert "".join(pieces) == completion.text
    assert completion.value is None
    assert completion.problem == ""


def test_tokens_and_time_are_counted(gateway: MakeGateway, connection: Connection, events: list[Event]) -> None:
    lab = gateway(connection)
    completion = lab.complete(Request("explain", (Message("user", "Say hello."),), max_tokens=12, actor="ada"))
    used = completion.usage
    assert 5 < used.prompt_tokens < 100
    assert 0 < used.completion_tokens <= 12
    assert used.first_token_seconds is not None
    assert 0 < used.first_token_seconds <= used.seconds
    assert not used.estimated
    (event,) = events
    assert (event.outcome, event.actor, event.usage) == ("ok", "ada", used)
    (spent,) = lab.usage(actor="ada")
    assert spent.usage.tokens == used.tokens
    assert lab.usage(actor="bob") == []


def test_an_answer_that_is_cut_off_says_so(gateway: MakeGateway, connection: Connection) -> None:
    completion = gateway(connection).complete(
        Request("author", (Message("user", "Describe two coats of red paint."),), schema=SCHEMA, max_tokens=5)
    )
    assert completion.finish == "length"
    assert completion.value is None
    assert "cut off after 5 tokens" in completion.problem


def test_cancelling_frees_the_models_slot(gateway: MakeGateway, connection: Connection, model_server: Front) -> None:
    cancel = Cancel()
    lab = gateway(connection)
    began = threading.Event()
    failed: list[BaseException] = []

    def call() -> None:
        request = Request("explain", (Message("user", "Write a very long story about a ship."),), max_tokens=2_000)
        try:
            lab.complete(request, lambda _: began.set(), cancel)
        except Cancelled as error:
            failed.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert began.wait(30)
    cancel()
    thread.join(2)
    assert not thread.is_alive()
    assert isinstance(failed[0], Cancelled)
    eventually(lambda: model_server.active == 0)
    started = time.monotonic()
    lab.complete(Request("explain", (Message("user", "Say yes."),), max_tokens=3))
    assert time.monotonic() - started < 10


def eventually(check: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until the check holds."""
    ends = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_the_models_of_a_server_are_found(gateway: MakeGateway, connection: Connection) -> None:
    (found,) = gateway(connection).models()
    assert found.error == ""
    assert [model.name for model in found.models] == [NAME]
    assert found.models[0].tasks == ("author", "refine", "repair", "explain")


def test_an_unknown_model_is_refused_by_name(gateway: MakeGateway, connection: Connection) -> None:
    with pytest.raises(ModelRefused, match=r"there is no model 'no-such'.*dataforge models"):
        gateway(connection).complete(Request("author", (Message("user", "x"),), model="lab/no-such"))


def test_a_server_that_is_away_is_told_at_once(gateway: MakeGateway, events: list[Event]) -> None:
    away = Connection("lab", "ollama", f"http://127.0.0.1:{free_port()}", extra={"model": NAME})
    lab = gateway(away, llm_attempts=1, breaker_failures=2)
    for _ in range(2):
        with pytest.raises(ModelAway, match=r"connection 'lab'.*can be reached"):
            lab.complete(ask("x"))
    began = time.monotonic()
    with pytest.raises(ModelAway, match=r"model 'lab/smollm2:135m' is resting until .* after 2 failures"):
        lab.complete(ask("x"))
    assert time.monotonic() - began < 0.1
    assert [event.outcome for event in events] == ["ModelAway", "ModelAway", "Resting"]


def test_the_next_of_the_chain_answers_for_one_that_is_away(gateway: MakeGateway, connection: Connection) -> None:
    away = Connection("gone", "ollama", f"http://127.0.0.1:{free_port()}", extra={"model": NAME})
    completion = gateway(away, connection, llm_attempts=1).complete(
        Request("explain", (Message("user", "Say yes."),), max_tokens=3)
    )
    assert completion.connection == "lab"
    assert "gone" in completion.notes[0]


def test_a_prompt_that_ollama_cuts_without_a_word_is_noticed(gateway: MakeGateway, model_server: Front) -> None:
    short = Model("short", model_server.models[NAME].path, context=512)
    words = " ".join(f"word{number % 10}" for number in range(1_000))
    with running(short) as server:
        # the connection says that the model has more context than the server gives it
        lab = Connection("lab", "ollama", server.url, extra={"model": "short", "num_ctx": 32_768})
        with pytest.raises(PromptTooLong, match=r"read only \d+ of at least 900 tokens.*num_ctx"):
            gateway(lab).complete(Request("explain", (Message("user", words),), max_tokens=5))


def test_a_prompt_beyond_the_models_own_context_is_not_sent(gateway: MakeGateway, model_server: Front) -> None:
    lab = Connection("lab", "ollama", model_server.url, extra={"model": NAME, "num_ctx": 2_048})
    before = len(model_server.asked)
    with pytest.raises(PromptTooLong, match="takes 8,192"):
        gateway(lab).complete(Request("explain", (Message("user", "word " * 9_000),), max_tokens=5))
    assert all("messages" not in asked for asked in model_server.asked[before:])


def test_an_equal_request_is_answered_from_the_cache(
    gateway: MakeGateway, connection: Connection, model_server: Front, events: list[Event]
) -> None:
    lab = gateway(connection, llm_cache_hours=1)
    request = ask("Describe two coats of red paint.", schema=SCHEMA)
    first = lab.complete(request)
    asked = len(model_server.asked)
    pieces: list[str] = []
    again = lab.complete(request, pieces.append)
    assert again.cached
    assert not first.cached
    assert (again.value, again.text) == (first.value, first.text)
    assert "".join(pieces) == first.text
    assert again.usage.tokens == 0
    assert len(model_server.asked) == asked
    assert [event.outcome for event in events] == ["ok", "cached"]


def test_what_is_withheld_never_reaches_the_model(
    gateway: MakeGateway, connection: Connection, model_server: Front
) -> None:
    before = len(model_server.asked)
    text = "Mail ada@example.com; the password is hunter2-canary!, the vault key vault-canary-77."
    request = Request("explain", (Message("user", text),), max_tokens=5, private=("vault-canary-77",))
    completion = gateway(connection).complete(request)
    sent = str(model_server.asked[before:])
    assert "WITHHELD_EMAIL_1" in sent
    assert not any(secret in sent for secret in ("ada@example", "hunter2", "vault-canary"))
    assert {(one.kind, one.restored) for one in completion.withheld} == {
        ("email", True), ("password", False), ("secret", False)
    }  # fmt: skip
