"""Canaries in every place that holds secrets, and a search for them in everything that comes out."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest
from dataforge.authoring.catalogue import read
from dataforge.authoring.deploy import deploy
from dataforge.authoring.explain import explain
from dataforge.authoring.failures import read_failure
from dataforge.authoring.refine import refine
from dataforge.authoring.repair import repair
from dataforge.cli import main
from dataforge.errors import BudgetSpent, ModelAway, ModelRefused
from dataforge.gateway.base import Event, Message, Request
from dataforge.gateway.cache import SqliteCache
from dataforge.gateway.calls import ModelGateway
from dataforge.gateway.opening import state_file
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.runtime.connections import secrets
from dataforge.settings import Settings, get_settings

IN_PASSWORD = "c4nary-pass/word+1"
IN_EXTRA = "c4nary-extra-8c1f"
IN_URI = "c4nary%40uri"
IN_LOG = "c4nary-log-77"
IN_ROWS = "c4nary-row-12"
IN_CONFIG = "c4nary-config-5"
CANARIES = (IN_PASSWORD, IN_EXTRA, "c4nary@uri", IN_LOG, IN_ROWS, IN_CONFIG)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with a canary in each place that holds a secret."""
    found = tmp_path / "configs"
    found.mkdir()
    shop = {"conn_type": "postgres", "host": "db.example", "password": IN_PASSWORD, "extra": {"api_key": IN_EXTRA}}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", json.dumps(shop))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://etl:{IN_URI}@warehouse.example/dwh")
    monkeypatch.setenv("AIRFLOW_CONN_PLAIN", "postgres://postgres:postgres@localhost/postgres")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(found))
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_SAMPLE_ROWS", "true")
    get_settings.cache_clear()
    rows = [["id", "cents", "api_token", "note"], ["1", "250", IN_ROWS, f"password={IN_ROWS}"]]
    (found / "payments.csv").write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    other = {
        "dag_id": "other",
        "description": f"Load payments.csv into warehouse fin.payments, password: {IN_CONFIG}",
        "source": {"type": "csv", "path": "payments.csv"},
        "destination": {"type": "duckdb", "table": "t"},
    }
    (found / "other.json").write_text(json.dumps(other), encoding="utf-8")
    return found


def hits(text: str) -> list[str]:
    """Return the canaries that a text holds, plain, in base64, in URLs, in JSON, or their first 10 characters."""
    found = []
    for canary in CANARIES:
        forms = {canary, canary[:10], quote(canary, safe=""), json.dumps(canary)[1:-1]}
        forms |= {base64.b64encode((" " * shift + canary).encode()).decode()[4:-4] for shift in range(3)}
        found += [canary for form in forms if form in text]
    return sorted(set(found))


WISH = "Load payments.csv into warehouse fin.payments, and squash the cents column into whole units"
ANSWER = {
    "source": {"type": "csv", "path": "payments.csv"},
    "transforms": [{"type": "derive", "columns": {"cents": "cents / 100"}}],
    "checks": [],
    "destination": {
        "type": "postgres",
        "connection": "warehouse",
        "table": "fin.payments",
        "write_disposition": "replace",
    },
}


@pytest.fixture
def model() -> Scripted:
    """A model that says again all that it was told, as the worst one would."""
    return Scripted(lambda call: json.dumps({**ANSWER, "notes": [one.text for one in call.messages]}))


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def gateway(model: Scripted, events: list[Event]) -> ModelGateway:
    settings = Settings(llm_embed="scripted/letters", llm_reuse_similar=True)
    return gateway_over(model, settings=settings, cache=SqliteCache(state_file(), 3_600, 10_000_000),
                        observer=events.append, private=secrets)  # fmt: skip


@pytest.fixture
def spans() -> Iterator[list[Any]]:
    """The spans of OpenTelemetry that are told."""
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    from opentelemetry import trace as api

    provider = api.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        provider = trace.TracerProvider()
        api.set_tracer_provider(provider)
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    found: list[Any] = []
    yield found
    found += memory.get_finished_spans()


def test_no_secret_gets_into_a_prompt_cache_log_trace_or_answer(
    folder: Path,
    model: Scripted,
    gateway: ModelGateway,
    events: list[Event],
    spans: list[Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """S40: 0 hits of a canary from connections, logs, samples and configs, also in other forms."""
    caplog.set_level(logging.DEBUG)
    known = read(folder, airflow=False)
    asked = AuthorRequest(WISH, folder=folder, rows=True, live=True, actor="ada")
    made = author(asked, gateway, catalogue=known)
    assert made.config is not None
    out: list[Any] = [known.connections, known.notes, made]
    coded = base64.b64encode(IN_PASSWORD.encode()).decode()
    log = "\n".join((
        f"ERROR - could not connect: postgresql://etl:{IN_LOG}@db/x password={IN_LOG}",
        f'FATAL: authentication failed for "etl" with "{IN_PASSWORD}" ({coded})',
        f"dataforge.errors.ConfigError: /transforms/0/where: column 'x' is not known, token {IN_EXTRA}",
    ))  # fmt: skip
    failure = read_failure(log, folder / "x.json")
    broken = {**made.config, "transforms": [{"type": "filter", "where": "x > 0"}], "password": IN_CONFIG}
    mended = repair(json.dumps(broken), path=folder / "x.json", root=folder, gateway=gateway, failure=failure,
                    connections=known.types)  # fmt: skip
    wish = AuthorRequest("squash the cents column somehow", base=made.config, folder=folder, actor="ada")
    refined = refine(wish, gateway, text=made.text, catalogue=known)
    said = explain(made.config, gateway), gateway.complete(Request("explain", (Message("user", log),)))
    out += [mended.trace, mended.notes, refined.answer, refined.notes, refined.trace, said]
    assert len(model.calls) >= 4
    assert "WITHHELD" in str(model.calls)
    prompts = "\n".join(message.text + json.dumps(call.schema) for call in model.calls for message in call.messages)
    assert hits(prompts) == []
    assert hits("\n".join(model.embedded)) == []
    out += [caplog.text, *capfd.readouterr(), [asdict(event) for event in events]]
    out += [(one.name, dict(one.attributes), [event.attributes for event in one.events]) for one in spans]
    assert hits("\n".join(map(repr, out))) == []
    kept = b"".join(path.read_bytes() for path in state_file().parent.glob("gateway.db*")).decode("latin-1")
    assert "WITHHELD" in kept
    assert hits(kept) == []


def test_known_secrets_are_withheld_and_plain_words_are_not(folder: Path) -> None:
    """S40: passwords and keys of connections are known, so that they are found without a word around them."""
    assert set(secrets()) == {IN_PASSWORD, IN_EXTRA, "c4nary@uri"}
    model = Scripted("yes")
    text = f"from postgres with {IN_PASSWORD} and {quote(IN_PASSWORD, safe='')} into postgres"
    done = gateway_over(model, private=secrets).complete(Request("explain", (Message("user", text),)))
    sent = model.calls[0].messages[0].text
    assert re.sub(r"\d", "n", sent) == "from postgres with WITHHELD_SECRET_n and WITHHELD_SECRET_n into postgres"
    assert [(one.kind, one.restored, one.count) for one in done.withheld] == [("secret", False, 1)] * 2
    assert hits(repr(done)) == []


def test_errors_of_the_command_line_hold_no_secret(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """S44: messages of commands hold neither secrets nor a trace."""
    config = json.loads((folder / "other.json").read_text())
    config["destination"] = {"type": "postgres", "connection": "warehouse", "table": "x", "password": IN_CONFIG}
    (folder / "other.json").write_text(json.dumps(config), encoding="utf-8")
    assert main(["validate", str(folder)]) == 1
    assert main(["author", WISH, "--no-model", "--format", "json"]) in (0, 1)
    (folder / "other.json").unlink()
    assert main(["author", WISH, "--no-model", "--live"]) in (0, 1)
    told = "\n".join(capfd.readouterr())
    assert hits(told.replace(str(folder), "")) == []
    assert "Traceback" not in told


def test_a_secret_in_a_config_is_refused_at_a_deploy(folder: Path) -> None:
    """S42: a config with a secret in it is not written."""
    from dataforge.authoring.deploy import InvalidDeploy

    tags = ["ghp_16C7e42F292c6912E7710c838347Ae178B4a"]
    target = {"type": "duckdb", "table": "t"}
    config = {"dag_id": "d", "source": {"type": "csv", "path": "payments.csv"}, "destination": target, "tags": tags}
    with pytest.raises(InvalidDeploy) as caught:
        deploy("d.json", json.dumps(config), base_revision="", actor="ada", root=folder)
    assert "secret-in-config" in {one.code for one in caught.value.findings}
    assert "16C7e42F292c" not in str(caught.value)
    assert not (folder / "d.json").exists()


def test_nothing_of_one_persons_calls_reaches_another(folder: Path, gateway: ModelGateway, model: Scripted) -> None:
    """S54: a canary of one person is in no prompt, cached answer or draft of another, with the same request."""
    own = "ada-private-" + "x7" * 4
    first = author(AuthorRequest(WISH, folder=folder, actor="ada", history=(own,)), gateway)
    for actor, team in (("bob", ""), ("ada", "other"), ("", "")):
        count = len(model.calls)
        second = author(AuthorRequest(WISH, folder=folder, actor=actor, team=team), gateway)
        assert len(model.calls) > count
        assert own not in repr(second)
        assert own not in str(model.calls[count:])
        assert not any(turn.cached for turn in second.trace)
    assert first.config is not None


def test_budgets_end_what_costs_too_much(folder: Path) -> None:
    """S55: budgets of tokens and money hold for all calls of a wish, and for vectors too."""
    model = Scripted("{}")
    draft = author(AuthorRequest(WISH, folder=folder), gateway_over(model, settings=Settings(llm_tokens_per_call=10)))
    assert model.calls == []
    assert any("budget" in one.message for one in draft.findings)
    with pytest.raises(BudgetSpent):
        gateway_over(model, settings=Settings(llm_tokens_per_call=1, llm_embed="scripted/x")).embed(["x" * 100])


def test_models_and_servers_that_are_not_set_up_are_refused(folder: Path) -> None:
    """S56: nobody names a server by its address, and an unknown connection is none."""
    from dataforge.gateway.opening import open_gateway
    from dataforge.runtime.connections import lookup

    lab = open_gateway(lookup, settings=Settings(llm_chain=("shop_db",)))
    with pytest.raises(ModelRefused, match="no model server"):
        lab.complete(Request("author", (Message("user", "x"),)))
    for name in ("http://evil.example", "evil/../x", "https://evil.example/model"):
        model = Scripted("{}")
        gateway_over(model).complete(Request("author", (Message("user", "x"),), model=name))
        assert model.calls[0].model == name  # a name for the server that is set up, never an address


@pytest.mark.parametrize(
    "failure", [ModelAway("it is away", "scripted"), "x" * 100_000, "\x00" * 50, "[]", "null", '{"a":']
)
def test_a_model_that_answers_nothing_of_use_leaves_what_can_be_read(folder: Path, failure: Any) -> None:
    """S55: garbage and absence end in a finding or in a draft of what the request says; never in an exception."""
    draft = author(AuthorRequest(WISH, folder=folder, use_cache=False), gateway_over(Scripted(failure)))
    assert draft.config is not None
    assert draft.config["destination"]["table"] == "fin.payments"
    assert draft.findings or draft.notes


def test_names_of_columns_that_hold_secrets_are_told_from_others() -> None:
    """S47: which columns are hidden in samples, at what precision: all of these, and none of those."""
    from dataforge.authoring.catalogue import is_private

    hidden = ("email", "E_Mail", "phone_number", "telefon", "first_name", "street", "Straße", "birthday", "iban", "ssn",
              "geburtsdatum", "credit_card", "password", "api_token", "client_secret", "api_key")  # fmt: skip
    shown = ("id", "amount", "created_at", "status", "quantity", "city", "country", "price", "currency", "sku", "day")
    assert [name for name in hidden if not is_private(name)] == []
    assert [name for name in shown if is_private(name)] == []
