"""What a server does that it should not ends in a clear error, within the deadline."""

from __future__ import annotations

import json
import threading
import time

import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fault_server import EVENTS, HEAD, FaultServer, Step, done, said, status, stream

from dataforge.errors import (
    AnswerUnfit,
    Cancelled,
    GatewayError,
    ModelAway,
    ModelFull,
    ModelRefused,
    ModelSlow,
    PromptTooLong,
)
from dataforge.gateway.base import Cancel, Event, Message, Request

REQUEST = Request("author", (Message("user", "Say it."),), max_tokens=50, deadline_seconds=10)
OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ONE_CALL = {"llm_attempts": 1, "breaker_seconds": 0}
FULL = b'{"error": "server busy, please try again"}'


def drip(data: bytes, seconds: float, count: int) -> list[Step]:
    """Return the same bytes again and again, with pauses."""
    steps: list[Step] = []
    for _ in range(count):
        steps += [data, seconds]
    return steps


def sse(*events: object) -> list[Step]:
    """Return OpenAI's stream of these objects, without its end."""
    return [EVENTS, *(f"data: {json.dumps(event)}\n\n".encode() for event in events)]


def test_a_failing_server_is_asked_again_until_it_answers(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(status(503, {"error": "loading"}), status(500, {"error": "boom"}), stream(["yes"]))
    completion = gateway(faults.connection(), breaker_seconds=0).complete(REQUEST)
    assert (completion.text, completion.attempts) == ("yes", 3)


def test_a_full_server_is_left_alone_as_long_as_it_asks(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(status(429, {"error": "slow down"}, Retry_After="1"), stream(["yes"]))
    began = time.monotonic()
    completion = gateway(faults.connection()).complete(REQUEST)
    assert completion.attempts == 2
    assert 1 <= time.monotonic() - began < 2.5


def test_a_server_that_wants_more_time_than_there_is_is_not_waited_for(
    gateway: MakeGateway, faults: FaultServer
) -> None:
    faults.answer(status(429, {"error": "slow down"}, Retry_After="600"))
    began = time.monotonic()
    with pytest.raises(ModelFull, match=r"too many requests \(HTTP 429: slow down\)") as caught:
        gateway(faults.connection()).complete(REQUEST)
    assert caught.value.retry_after == 600
    assert time.monotonic() - began < 2


def test_a_full_server_does_not_open_the_breaker(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(*[status(429, {"error": "slow down"})] * 3, stream(["yes"]))
    lab = gateway(faults.connection(), llm_attempts=1, breaker_failures=1)
    for _ in range(3):
        with pytest.raises(ModelFull):
            lab.complete(REQUEST)
    assert lab.complete(REQUEST).text == "yes"


def test_a_wrong_key_is_not_tried_again_and_not_repeated(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(status(401, {"error": {"message": "Incorrect API key provided: key-canary-8812", "code": "invalid"}}))
    with pytest.raises(ModelRefused, match="the key is not accepted") as caught:
        gateway(faults.connection("openai")).complete(REQUEST)
    assert "canary" not in str(caught.value)
    assert len(faults.requests) == 1


@pytest.mark.parametrize(
    ("provider", "script", "error", "text"),
    [
        ("ollama", [HEAD, b"<html>welcome to the hotel</html>\n"], AnswerUnfit, "no answer of a model"),
        ("ollama", [HEAD, b"[1, 2]\n"], AnswerUnfit, "no answer of a model"),
        ("ollama", [HEAD, b'{"message": 5}\n'], AnswerUnfit, "no answer of a model"),
        ("ollama", [HEAD, b"\xff\xfe\x00\x01\n"], AnswerUnfit, "no answer of a model"),
        ("ollama", [HEAD, said("half of it")], AnswerUnfit, "ended without its last part"),
        (
            "ollama",
            [HEAD, said("half"), b'{"error": "an error was encountered"}\n'],
            AnswerUnfit,
            "broke its answer off",
        ),
        ("ollama", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], AnswerUnfit, "broke off"),
        ("ollama", [b"nonsense\r\n\r\n"], AnswerUnfit, "broke off|no answer"),
        ("ollama", [], AnswerUnfit, "broke off"),
        ("ollama", status(302, {}, Location="http://169.254.169.254/"), ModelRefused, "leads elsewhere"),
        ("ollama", status(400, {"error": "exceeds the available context size"}), PromptTooLong, "does not fit"),
        ("ollama", status(400, {"error": "invalid format"}), ModelRefused, "request is not taken .*invalid format"),
        ("openai", sse({"choices": [{"delta": {"content": "half"}, "index": 0}]}), AnswerUnfit, "broke off"),
        ("openai", [EVENTS, b"data: {nonsense\n\n"], AnswerUnfit, "no answer of a model"),
        ("openai", status(529, {"error": {"message": "overloaded"}}), ModelAway, "overloaded"),
        ("anthropic", [EVENTS, b"event: message_start\ndata: 7\n\n"], AnswerUnfit, "no answer of a model|broke off"),
        ("anthropic", status(529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}), ModelAway, "Over"),
    ],
)
def test_faults_have_their_errors(
    gateway: MakeGateway, faults: FaultServer, provider: str, script: list[Step], error: type[GatewayError], text: str
) -> None:
    faults.answer(script)
    began = time.monotonic()
    with pytest.raises(error, match=text):
        gateway(faults.connection(provider), **ONE_CALL).complete(REQUEST)
    assert time.monotonic() - began < 10


def test_a_server_that_never_answers_ends_at_the_first_tokens_limit(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, 1_800.0])
    with pytest.raises(ModelSlow, match=r"no answer began for 0\.3 seconds"):
        gateway(faults.connection(), llm_first_token_seconds=0.3, **ONE_CALL).complete(REQUEST)
    assert faults.gone.wait(2), "the connection was left open"


def test_a_server_that_accepts_and_says_nothing_at_all_ends_too(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([1_800.0])
    for provider in ("ollama", "openai", "anthropic"):
        faults.gone.clear()
        with pytest.raises(ModelSlow, match="no answer began"):
            gateway(faults.connection(provider), llm_first_token_seconds=0.3, **ONE_CALL).complete(REQUEST)
        assert faults.gone.wait(2), provider


def test_silence_in_the_middle_ends_at_the_idle_limit(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, said("yes"), 1_800.0])
    pieces: list[str] = []
    with pytest.raises(ModelSlow, match=r"nothing more came for 0\.3 seconds"):
        gateway(faults.connection(), llm_idle_seconds=0.3, **ONE_CALL).complete(REQUEST, pieces.append)
    assert pieces == ["yes"]
    assert faults.gone.wait(2)


def test_a_drip_ends_at_the_total_deadline(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, *drip(said("."), 0.1, 200)])
    began = time.monotonic()
    with pytest.raises(ModelSlow, match="not complete within the time"):
        gateway(faults.connection(), llm_total_seconds=1, **ONE_CALL).complete(
            Request("author", (Message("user", "x"),), max_tokens=500)
        )
    assert time.monotonic() - began < 2


def test_a_drip_of_bytes_that_make_no_line_ends_too(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, *drip(b" ", 0.05, 400)])
    with pytest.raises(ModelSlow, match="no answer began"):
        gateway(faults.connection(), llm_first_token_seconds=0.5, **ONE_CALL).complete(REQUEST)


def test_an_endless_answer_is_cut(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, lambda: said("and so on ") * 50])
    with pytest.raises(AnswerUnfit, match="goes on far beyond 50 tokens"):
        gateway(faults.connection(), **ONE_CALL).complete(REQUEST)


def test_an_endless_line_does_not_fill_the_memory(gateway: MakeGateway, faults: FaultServer) -> None:
    block = b"x" * 1_000_000
    faults.answer([HEAD, lambda: block])
    with pytest.raises(AnswerUnfit, match=r"more than the 33,554,432 bytes"):
        gateway(faults.connection(), **ONE_CALL).complete(REQUEST)


def test_a_compressed_answer_that_nobody_asked_for_is_refused(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection"), b"\x1f\x8b"])
    with pytest.raises(AnswerUnfit, match="encoded as 'gzip'"):
        gateway(faults.connection(), **ONE_CALL).complete(REQUEST)
    assert b"accept-encoding: identity" in faults.requests[0].lower()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no JSON at all", "no JSON object"),
        ('{"a": 1', "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"a": NaN}', "no JSON object"),
        ("[" * 40_000, "no JSON object"),
        ('{"a": "one"}', '/a is "one", not of type integer'),
        ('{"b": 1}', "has no key 'a'"),
        ('{"a": 1, "b": 2}', "unknown key 'b'"),
    ],
)
def test_wrong_json_is_told_by_the_completion(
    gateway: MakeGateway, faults: FaultServer, text: str, problem: str
) -> None:
    faults.answer(stream([text]))
    request = Request("author", (Message("user", "Say it."),), schema=OBJECT, max_tokens=5_000)
    completion = gateway(faults.connection(), **ONE_CALL).complete(request)
    assert problem in completion.problem


def test_json_in_a_fence_or_in_words_is_found(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(stream(['Sure!\n```json\n{"a": 1}\n```']), stream(['Here: {"a": 2} as you wish']))
    lab = gateway(faults.connection(), **ONE_CALL)
    request = Request("author", (Message("user", "Say it."),), schema=OBJECT)
    assert [lab.complete(request).value for _ in range(2)] == [{"a": 1}, {"a": 2}]


def test_nothing_is_tried_again_once_text_has_come(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, said("half")], stream(["whole"]))
    with pytest.raises(AnswerUnfit):
        gateway(faults.connection(), breaker_seconds=0).complete(REQUEST)
    assert len(faults.requests) == 1


def test_cancelling_closes_the_connection(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, said("a"), 1_800.0])
    cancel = Cancel()
    threading.Timer(0.3, cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        gateway(faults.connection(), **ONE_CALL).complete(REQUEST, None, cancel)
    assert time.monotonic() - began < 1
    assert faults.gone.wait(2)


def test_cancelling_ends_the_wait_between_tries(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(status(503, {}, Retry_After="3"))
    cancel = Cancel()
    threading.Timer(0.3, cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        gateway(faults.connection()).complete(REQUEST, None, cancel)
    assert time.monotonic() - began < 1.5


def test_the_breaker_opens_rests_and_tries_once(gateway: MakeGateway, faults: FaultServer, events: list[Event]) -> None:
    faults.answer(*[status(503, {"error": "down"})] * 2, stream(["yes"]))
    lab = gateway(faults.connection(), llm_attempts=1, breaker_failures=2, breaker_seconds=0.5)
    for _ in range(2):
        with pytest.raises(ModelAway, match="down"):
            lab.complete(REQUEST)
    with pytest.raises(ModelAway, match="is resting"):
        lab.complete(REQUEST)
    assert len(faults.requests) == 2
    time.sleep(0.6)
    assert lab.complete(REQUEST).text == "yes"
    assert [event.outcome for event in events] == ["ModelAway", "ModelAway", "Resting", "ok"]


def test_what_another_process_saw_keeps_this_one_from_asking(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(status(503, {"error": "down"}))
    for _ in range(2):
        with pytest.raises(ModelAway):
            gateway(faults.connection(), llm_attempts=1, breaker_failures=1).complete(REQUEST)
    assert len(faults.requests) == 1


def test_an_answer_to_another_model_of_the_same_server_is_still_given(
    gateway: MakeGateway, faults: FaultServer
) -> None:
    faults.answer(status(503, {"error": "down"}), stream(["yes"]))
    lab = gateway(faults.connection(), llm_attempts=1, breaker_failures=1)
    with pytest.raises(ModelAway):
        lab.complete(REQUEST)
    request = Request("author", (Message("user", "Say it."),), model="faulty/other")
    assert lab.complete(request).text == "yes"


def test_calls_wait_for_their_turn(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, said("a"), 0.4, done()])
    lab = gateway(faults.connection(concurrency=1), **ONE_CALL)
    threads = [threading.Thread(target=lab.complete, args=(REQUEST,)) for _ in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 1.2
    with pytest.raises(ModelFull, match="too many calls at a time"):
        _hold_and_ask(lab)


def _hold_and_ask(lab: object) -> None:
    slow = threading.Thread(target=lab.complete, args=(REQUEST,))  # type: ignore[attr-defined]
    slow.start()
    time.sleep(0.1)
    try:
        lab.complete(Request("author", (Message("user", "x"),), deadline_seconds=0.1))  # type: ignore[attr-defined]
    finally:
        slow.join()


def test_a_cut_prompt_is_noticed_by_its_count(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, said("yes"), done(prompt=20)])
    with pytest.raises(PromptTooLong, match="read only 20 of at least 90 tokens"):
        gateway(faults.connection(), **ONE_CALL).complete(Request("author", (Message("user", "word " * 100),)))


def test_what_was_used_by_failed_calls_is_counted(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer([HEAD, said("half of an answer")])
    lab = gateway(faults.connection(), **ONE_CALL)
    with pytest.raises(AnswerUnfit):
        lab.complete(REQUEST)
    (spent,) = lab.usage()
    assert spent.usage.completion_tokens > 0
    assert spent.usage.prompt_tokens > 0
    assert spent.usage.estimated


TAGS = {"models": [{"name": "m:latest", "model": "m:latest", "digest": "d1", "size": 5}]}


def test_a_server_that_lists_models_but_answers_nothing_still_opens_the_breaker(
    gateway: MakeGateway, faults: FaultServer
) -> None:
    down = status(503, {"error": "down"})
    faults.answer(status(404, {"error": "no ps"}), status(200, TAGS), down, down)
    lab = gateway(faults.connection(), llm_attempts=1, breaker_failures=2, llm_cache_hours=1)
    for _ in range(2):
        with pytest.raises(ModelAway, match="down"):
            lab.complete(REQUEST)
    asked = len(faults.requests)
    with pytest.raises(ModelAway, match="is resting"):
        lab.complete(REQUEST)
    assert len(faults.requests) == asked


def test_a_server_that_starts_late_is_tried_again_although_it_could_not_list_its_models(
    gateway: MakeGateway, faults: FaultServer
) -> None:
    faults.answer(status(503, {"error": "starting"}), status(503, {"error": "starting"}), stream(["yes"]))
    lab = gateway(faults.connection(), llm_cache_hours=1)
    assert lab.complete(REQUEST).text == "yes"


def test_the_key_of_a_connection_is_withheld_from_prompts(gateway: MakeGateway, faults: FaultServer) -> None:
    faults.answer(stream(["yes"]))
    lab = gateway(faults.connection(), **ONE_CALL)
    lab.complete(Request("author", (Message("user", "the log says key-canary-8812"),)))
    body = faults.requests[0].split(b"\r\n\r\n", 1)[1]
    assert json.loads(body)["model"] == "m"
    assert b"canary" not in body
