"""Chains, budgets, events, spans and limits of the gateway, over scripted models."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.gateway.conftest import MakeGateway

from dataforge.components.base import Connection
from dataforge.errors import BudgetSpent, ConfigError, GatewayError, ModelAway, ModelRefused, ModelSlow
from dataforge.gateway.base import Call, End, Event, Message, Request, Usage
from dataforge.gateway.budgets import standings
from dataforge.gateway.calls import Chains
from dataforge.gateway.connections import Profile, profile_of
from dataforge.gateway.opening import open_gateway, state_file
from dataforge.gateway.scripted import NetworkUsed, Scripted, gateway_over, no_network
from dataforge.gateway.store import SqliteLedger
from dataforge.settings import Settings, from_mapping

ASK = Request("author", (Message("user", "Load the orders."),), max_tokens=100, actor="ada", request_id="one")
ONE_TRY = Settings(llm_attempts=1)


def away() -> ModelAway:
    """Return the error of a server that is away."""
    return ModelAway("connection 'scripted' is away", "scripted")


def test_the_chain_is_gone_down_on_availability_errors_only() -> None:
    first, second = Scripted(away()), Scripted("yes")
    completion = gateway_over(first, second, settings=ONE_TRY).complete(ASK)
    assert (completion.text, completion.connection) == ("yes", "scripted2")
    assert completion.notes == ("connection 'scripted' is away",)
    refused = Scripted(ModelRefused("the key is wrong"))
    with pytest.raises(ModelRefused):
        gateway_over(refused, Scripted("yes"), settings=ONE_TRY).complete(ASK)


def test_all_that_is_away_is_told_in_one_error() -> None:
    with pytest.raises(ModelAway, match=r"no model answers: .*; .*"):
        gateway_over(Scripted(away()), Scripted(away()), settings=ONE_TRY).complete(ASK)


def test_what_an_answer_took_before_ctrl_c_is_counted() -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    model = Scripted("a long answer")
    lab = gateway_over(model)
    with pytest.raises(KeyboardInterrupt):
        lab.complete(ASK, interrupt)
    assert model.closed == 1
    (spent,) = lab.usage(actor="ada")
    assert (spent.usage.calls, spent.usage.estimated) == (1, True)
    assert spent.usage.completion_tokens > 0


def test_a_slow_model_gives_way_to_the_next() -> None:
    slow = Scripted([30.0])
    settings = Settings(llm_attempts=1, llm_first_token_seconds=0.2)
    assert gateway_over(slow, Scripted("yes"), settings=settings).complete(ASK).text == "yes"
    assert slow.closed == 1


def test_the_deadline_holds_over_the_whole_chain() -> None:
    settings = Settings(llm_attempts=3, llm_first_token_seconds=0.4)
    began = time.monotonic()
    with pytest.raises(ModelSlow):
        gateway_over(*(Scripted([30.0]) for _ in range(5)), settings=settings).complete(
            replace(ASK, deadline_seconds=0.9)
        )
    assert time.monotonic() - began < 1.5


def test_a_model_can_be_chosen_for_a_task_and_for_a_call() -> None:
    settings = Settings(llm_chain=("a", "b/x"), llm_repair=("c/small", "a"))
    chains = Chains(settings, lambda name: Profile(connection=name, provider="ollama", url=""), "ollama")
    assert [(e.connection, e.model) for e in chains.entries("author")] == [("a", None), ("b", "x")]
    assert [(e.connection, e.model) for e in chains.entries("repair")] == [("c", "small"), ("a", None)]
    assert [(e.connection, e.model) for e in chains.entries("author", "b/org/model:7b")] == [("b", "org/model:7b")]
    assert [(e.connection, e.model) for e in chains.entries("author", "org/model")] == [("a", "org/model")]
    assert chains.connections() == ["a", "b", "c"]


def test_settings_are_read_as_text() -> None:
    settings = from_mapping({"llm_chain": "local/qwen:1.5b, cloud", "llm_cost_per_month": "10.5"})
    assert settings.llm_chain == ("local/qwen:1.5b", "cloud")
    assert settings.llm_cost_per_month == 10.5


@pytest.mark.parametrize(
    ("settings", "scope"),
    [
        ({"llm_tokens_per_call": 100}, "call"),
        ({"llm_tokens_per_request": 150}, "request"),
        ({"llm_tokens_per_user_day": 150}, "user"),
        ({"llm_tokens_per_user_month": 150}, "user_month"),
        ({"llm_tokens_per_month": 150}, "month"),
    ],
)
def test_budgets_of_tokens_hold_before_a_call(settings: dict[str, int], scope: str) -> None:
    model = Scripted("x" * 400)
    gateway = gateway_over(model, settings=Settings(**settings))
    allowed = 0 if scope == "call" else 1
    for _ in range(allowed):
        gateway.complete(ASK)
    with pytest.raises(BudgetSpent, match=rf"llm_tokens_per_{scope}") as caught:
        gateway.complete(ASK)
    assert caught.value.scope == scope
    assert len(model.calls) == allowed


def test_a_budget_of_one_person_is_not_anothers() -> None:
    gateway = gateway_over(Scripted("x" * 400), settings=Settings(llm_tokens_per_user_day=150))
    gateway.complete(ASK)
    gateway.complete(replace(ASK, actor="bob", request_id="two"))
    with pytest.raises(BudgetSpent, match="ada today"):
        gateway.complete(replace(ASK, request_id="three"))


def test_budgets_tell_how_they_stand_and_when_they_begin_anew(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "use.db")
    now = datetime.now(timezone.utc)
    for actor, tokens, at in (("ada", 70, now), ("bob", 50, now), ("ada", 10, now - timedelta(days=40))):
        usage = Usage(prompt_tokens=tokens, completion_tokens=10, cost=0.25)
        ledger.add(Event("one", "author", actor, "", "there", "ollama", "m", 1, "ok", usage, at, ""))
    assert standings(ledger, Settings(), "ada") == []
    limits = Settings(llm_tokens_per_user_day=100, llm_cost_per_user_month=0.2, llm_tokens_per_month=1_000)
    found = standings(ledger, limits, "ada")
    assert [(one.scope, one.unit, one.most, one.used, one.left) for one in found] == [
        ("user_day", "tokens", 100, 80, 20),
        ("user_month", "money", 0.2, 0.25, 0),
        ("month", "tokens", 1_000, 140, 860),
    ]  # fmt: skip
    day, month = found[0].ends_at, found[2].ends_at
    assert timedelta() < day - now <= timedelta(days=1)
    assert (month.day, month.hour, (month - timedelta(seconds=1)).month) == (1, 0, now.month)


def test_a_new_wish_has_its_own_budget() -> None:
    gateway = gateway_over(Scripted("x" * 400), settings=Settings(llm_tokens_per_request=150))
    gateway.complete(ASK)
    gateway.complete(replace(ASK, request_id="two"))


def test_calls_on_their_way_hold_their_budget() -> None:
    gateway = gateway_over(Scripted(["a", 0.5, End("stop", 10, 1)]), settings=Settings(llm_tokens_per_request=150))
    thread = threading.Thread(target=gateway.complete, args=(ASK,))
    thread.start()
    time.sleep(0.2)
    with pytest.raises(BudgetSpent):
        gateway.complete(ASK)
    thread.join()


def test_money_is_counted_by_the_connections_prices(gateway: MakeGateway, events: list[Event], tmp_path: Path) -> None:
    from tests.gateway.fault_server import FaultServer, stream

    with FaultServer() as server:
        server.answer(stream(["yes"], prompt=1_000, answer=500))
        lab = gateway(server.connection(price_in=2.0, price_out=10.0), llm_cost_per_request=0.01)
        used = lab.complete(ASK).usage
        assert used.cost == pytest.approx((1_000 * 2 + 500 * 10) / 1e6)
        with pytest.raises(BudgetSpent, match=r"budget of 0\.01 .* 0\.0070 is spent"):
            lab.complete(replace(ASK, max_tokens=400))


def test_a_budget_of_money_needs_prices(gateway: MakeGateway) -> None:
    cloud = Connection("cloud", "openai", "http://127.0.0.1:1/v1", extra={"model": "homemade"})
    with pytest.raises(ModelRefused, match="price of model 'homemade' is not known"):
        gateway(cloud, llm_cost_per_month=5).complete(ASK)


def test_a_ledger_that_can_not_count_stops_calls(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = Scripted("x")
    gateway = gateway_over(model, ledger=SqliteLedger(tmp_path / "file" / "gateway.db"))
    with pytest.raises(ModelRefused, match="can't be counted now"):
        gateway.complete(ASK)
    assert model.calls == []


def test_use_is_summed_by_month_person_team_model_and_task(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "g.db")
    now = datetime(2026, 3, 15, tzinfo=timezone.utc)
    event = Event("r", "author", "ada", "t", "lab", "ollama", "m", 1, "ok", Usage(10, 5, 1.0, 0.5, 1), now, "hash")
    for one in (event, event, replace(event, actor="bob"), replace(event, at=now - timedelta(days=30))):
        ledger.add(one)
    found = [(one.month, one.actor, one.model, one.usage.tokens, one.usage.calls) for one in ledger.summary()]
    assert found == [
        ("2026-03", "ada", "lab/m", 30, 2), ("2026-03", "bob", "lab/m", 15, 1), ("2026-02", "ada", "lab/m", 15, 1)
    ]  # fmt: skip
    assert ledger.spent(actor="ada", since=now).tokens == 30
    assert ledger.spent(request_id="r").cost == 2.0
    assert ledger.spent(team="nobody") == Usage()


def test_counts_of_many_threads_all_arrive() -> None:
    gateway = gateway_over(Scripted("yes"), settings=Settings(llm_concurrency=8))
    threads = [threading.Thread(target=gateway.complete, args=(ASK,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SqliteLedger(state_file()).spent(request_id="one").calls == 12


def test_each_try_is_an_event() -> None:
    events: list[Event] = []
    model = Scripted(ModelAway("away", "scripted", 0.01), "yes")
    gateway_over(model, observer=events.append).complete(ASK)
    assert [(event.outcome, event.attempt, event.error) for event in events] == [
        ("ModelAway", 1, "away"),
        ("ok", 2, ""),
    ]
    assert events[0].usage.tokens == 0


def test_spans_follow_the_conventions_and_hold_no_texts() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    gateway_over(Scripted("the answer-canary")).complete(ASK)
    with pytest.raises(ModelAway):
        gateway_over(Scripted(away()), settings=ONE_TRY).complete(ASK)
    good, bad = exporter.get_finished_spans()
    told = dict(good.attributes or {})
    assert good.name == "chat scripted"
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "scripted"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "scripted"
    assert told["gen_ai.usage.output_tokens"] == 5
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert dict(bad.attributes or {})["error.type"] == "ModelAway"
    assert "canary" not in good.to_json()
    assert "orders" not in good.to_json()


def test_personal_names_in_a_schema_are_withheld_and_come_back() -> None:
    schema = {"type": "object", "properties": {"to": {"enum": ["ada@example.com", "none"]}}, "required": ["to"]}
    model = Scripted(lambda call: json.dumps({"to": _first_choice(call)}))
    completion = gateway_over(model).complete(replace(ASK, schema=schema))
    assert "ada@" not in str(model.calls)
    assert completion.value == {"to": "ada@example.com"}
    assert completion.problem == ""


def _first_choice(call: Call) -> str:
    assert call.schema is not None
    return str(call.schema["properties"]["to"]["enum"][0])


def test_an_unknown_connection_is_a_problem_of_the_settings(gateway: MakeGateway) -> None:
    with pytest.raises(ConfigError, match="no Airflow connection 'nowhere'"):
        gateway(llm_chain=("nowhere/m",)).complete(ASK)


def test_without_any_setting_it_is_ollama_on_this_machine(gateway: MakeGateway) -> None:
    (found,) = gateway().models()
    assert (found.connection, found.provider) == ("ollama", "ollama")


@pytest.mark.parametrize(
    ("connection", "provider", "url"),
    [
        (Connection("x", "ollama"), "ollama", "http://127.0.0.1:11434"),
        (Connection("x", "ollama", "gpu", 9999), "ollama", "http://gpu:9999"),
        (Connection("x", "openai"), "openai", "https://api.openai.com/v1"),
        (Connection("x", "openai", "https://llm.local/v1/", 8443), "openai", "https://llm.local:8443/v1"),
        (
            Connection("x", "http", "vllm", 8000, schema="http", extra={"provider": "openai"}),
            "openai",
            "http://vllm:8000",
        ),
        (Connection("x", "generic", extra={"provider": "openai", "base_url": "http://a/v1"}), "openai", "http://a/v1"),
        (Connection("x", "anthropic"), "anthropic", "https://api.anthropic.com"),
        (Connection("x", "pydanticai-azure"), "pydantic_ai", "pydantic_ai"),
    ],
)
def test_connections_say_where_and_what(connection: Connection, provider: str, url: str) -> None:
    profile = profile_of(connection)
    assert (profile.provider, profile.url) == (provider, url)


def test_connections_that_are_no_model_server_are_refused() -> None:
    with pytest.raises(ModelRefused, match="type 'postgres', which is no model server"):
        profile_of(Connection("x", "postgres"))
    with pytest.raises(ModelRefused, match="'num_ctx' of its extra is not right"):
        profile_of(Connection("x", "ollama", extra={"num_ctx": "lots"}))


def test_no_key_shows_in_a_profile() -> None:
    assert "canary" not in repr(profile_of(Connection("x", "openai", password="key-canary")))


def test_a_scripted_model_is_refused_outside_of_tests(gateway: MakeGateway) -> None:
    with pytest.raises(GatewayError, match="for tests"):
        gateway(Connection("x", "scripted", extra={"model": "m"})).complete(ASK)


def test_the_guard_keeps_a_test_off_the_network() -> None:
    with no_network() as refused:
        with pytest.raises(NetworkUsed, match=r"192\.0\.2\.1"):
            socket.create_connection(("192.0.2.1", 80), timeout=1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
    assert refused == ["192.0.2.1:80"]


def test_our_own_share_of_a_call_is_small() -> None:
    gateway = gateway_over(Scripted("yes"))
    gateway.complete(ASK)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        gateway.complete(ASK)
        times.append(time.perf_counter() - began)
    assert sorted(times)[18] < 0.15


def test_opening_imports_no_client() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from dataforge.gateway.opening import open_gateway; open_gateway(lambda _: None); "
        "print([n for n in ('ollama', 'openai', 'anthropic', 'httpx', 'opentelemetry') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert open_gateway is not None
