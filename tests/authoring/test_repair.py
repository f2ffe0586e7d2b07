"""Repair: the ladder from fixers to a model, and why it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.authoring.failures import read_failure
from dataforge.authoring.repair import Repaired, repair, schema_at
from dataforge.errors import ModelAway
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import Settings

ROOT = Path("/nowhere/configs")
PATH = ROOT / "orders.json"
CONFIG: dict[str, Any] = {
    "dag_id": "orders",
    "schedule": "@daily",
    "source": {"type": "csv", "path": "orders.csv"},
    "transforms": [{"type": "filter", "where": "amount > 0"}, {"type": "limit", "count": 10}],
    "destination": {"type": "postgres", "connection": "warehouse", "table": "sales.orders"},
}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))


def text_of(**changes: Any) -> str:
    return json.dumps({key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}, indent=2) + "\n"


def run(text: str, *answers: Any, **more: Any) -> tuple[Repaired, Scripted]:
    model = Scripted(*answers)
    gateway = gateway_over(model, settings=Settings(configs_folder=ROOT)) if answers else None
    settings = Settings(configs_folder=ROOT)
    repaired = repair(text, path=PATH, root=ROOT, gateway=gateway, settings=settings, use_cache=False, **more)
    return repaired, model


def value(new: Any) -> str:
    return json.dumps({"value": new})


def test_what_the_fixers_can_do_needs_no_model() -> None:
    repaired, model = run(text_of(schedule="dayly"), value("@hourly"))
    assert (repaired.stopped, repaired.valid, model.calls) == ("valid", True, [])
    assert repaired.candidate.text == text_of()
    assert [turn.kind for turn in repaired.trace] == ["fix"]


def test_one_value_is_asked_for_where_one_value_is_wrong() -> None:
    text = text_of(schedule="now and then")
    repaired, model = run(text, value("0 6 * * *"))
    assert repaired.stopped == "valid"
    assert repaired.candidate.text == text.replace("now and then", "0 6 * * *")
    assert [turn.kind for turn in repaired.trace] == ["value"]
    assert repaired.trace[0].prompt.startswith("repair@1:")
    assert "now and then" in model.calls[0].messages[-1].text


def test_a_missing_value_is_added() -> None:
    repaired, _ = run(text_of(transforms=[{"type": "filter"}]), value("amount > 5"))
    assert repaired.stopped == "valid"
    assert repaired.candidate.config["transforms"] == [{"type": "filter", "where": "amount > 5"}]


def test_the_refused_value_is_not_among_those_that_may_be_answered() -> None:
    text = text_of(transforms=[{"type": "join", "with": "x", "on": ["a"], "how": "sideways"}])
    repaired, model = run(text, value("left"))
    schema = model.calls[0].schema
    assert schema is not None
    assert "sideways" not in json.dumps(schema)
    assert repaired.candidate.config["transforms"][0]["how"] == "left"


def test_a_value_that_does_not_help_is_followed_by_a_patch_and_then_a_rewrite() -> None:
    text = text_of(transforms=[{"type": "filter", "where": "only the good ones"}])
    patch = json.dumps({"changes": [{"op": "replace", "path": "/transforms/0/where", "value": '"still wrong here"'}]})
    rewrite = json.dumps({"transforms/0": {"type": "filter", "where": "amount > 0"}})
    repaired, model = run(text, value("the best ones"), patch, rewrite)
    assert [turn.kind for turn in repaired.trace] == ["value", "patch", "rewrite"]
    assert repaired.stopped == "valid"
    assert len(model.calls) == 3
    assert repaired.candidate.config["transforms"] == [{"type": "filter", "where": "amount > 0"}]


def test_a_patch_may_not_touch_what_no_finding_is_about() -> None:
    text = text_of(transforms=[{"type": "filter", "where": "only the good ones"}])
    patch = json.dumps({"changes": [{"op": "replace", "path": "/destination/table", "value": '"evil"'}]})
    repaired, _ = run(text, value("the best ones"), patch, json.dumps({}))
    assert repaired.candidate.config["destination"] == CONFIG["destination"]
    assert repaired.stopped == "no progress"
    assert repaired.candidate.text == text


def test_no_model_may_bring_a_connection_in() -> None:
    config = {"type": "postgres", "table": "sales.orders"}
    answer = json.dumps(
        {"changes": [{"op": "replace", "path": "/destination", "value": json.dumps({**config, "connection": "evil"})}]}
    )
    repaired, _ = run(text_of(destination=config), answer)
    assert "evil" not in repaired.candidate.text
    assert not repaired.valid


def test_it_stops_when_nothing_gets_better() -> None:
    repaired, model = run(text_of(schedule="now and then"), value("now or never"))
    assert repaired.stopped in ("no progress", "repeated")
    assert len(model.calls) <= 3
    assert repaired.candidate.text == text_of(schedule="now and then")


def test_it_stops_at_the_limit_with_the_best_candidate() -> None:
    steps = [{"type": "filter", "where": f"this is no condition {n}"} for n in range(7)]
    answers = [value(f"a{n} > 0") for n in range(5)]
    repaired, model = run(text_of(transforms=steps), *answers)
    assert repaired.stopped == "limit"
    assert len(model.calls) == 5
    assert len(repaired.candidate.errors) < 7


def test_garbage_from_the_model_changes_nothing() -> None:
    text = text_of(schedule="now and then")
    for garbage in ("", "no JSON at all", "[]", '{"value": null', '{"other": 1}'):
        repaired, _ = run(text, garbage)
        assert repaired.candidate.text == text
        assert not repaired.valid


def test_a_model_that_is_away_leaves_what_the_fixers_did() -> None:
    text = text_of(schedule="now and then", retries=3)
    repaired, _ = run(text, ModelAway("nobody answers", "scripted"))
    assert repaired.stopped == "model failed"
    assert repaired.candidate.config["default_args"] == {"retries": 3}
    assert any("nobody answers" in note for note in repaired.notes)


def test_without_a_model_it_says_what_is_left() -> None:
    repaired, _ = run(text_of(schedule="now and then"))
    assert repaired.stopped == "no model"
    assert "1 finding" in repaired.notes[-1]
    assert [finding.pointer for finding in repaired.candidate.errors] == ["/schedule"]


def test_secrets_go_to_no_model() -> None:
    secret = "hunter2-hunter2"
    text = text_of(
        destination={**CONFIG["destination"], "password": secret},
        transforms=[{"type": "filter", "where": "the good ones"}],
    )
    repaired, model = run(text, value("amount > 0"))
    assert repaired.valid
    assert secret not in repaired.candidate.text
    assert all(secret not in message.text for call in model.calls for message in call.messages)
    assert any("change it" in note for note in repaired.notes)


def test_a_failed_run_says_which_column_was_wrong() -> None:
    text = text_of(transforms=[{"type": "filter", "where": "amuont > 0"}])
    log = (
        '{"level": "info", "event": "reading with password=hunter2secret"}\n'
        '{"level": "error", "event": "Task failed", "error_detail": [{"exc_type": "ConfigError", "exc_value": '
        "\"/transforms/0/where: column 'amuont' is not known (did you mean 'amount'?)\"}]}\n"
    )
    failure = read_failure(log, PATH)
    assert "hunter2" not in failure.log
    assert [(each.code, each.pointer) for each in failure.findings] == [("unknown-column", "/transforms/0/where")]
    repaired, _ = run(text, failure=failure)
    assert repaired.valid
    assert repaired.candidate.config["transforms"][0]["where"] == "amount > 0"


def test_a_run_that_failed_for_another_reason_leaves_the_config_alone() -> None:
    failure = read_failure("ERROR - connection to server at 'db' failed: Connection refused", PATH)
    repaired, _ = run(text_of(), failure=failure)
    assert repaired.candidate.text == text_of()
    assert "not at fault" in failure.explanation


def test_text_that_can_not_be_mended_is_given_back_as_it_is() -> None:
    repaired, _ = run("this is no JSON", value(1))
    assert (repaired.stopped, repaired.candidate.text, repaired.valid) == ("not JSON", "this is no JSON", False)


def test_schemas_of_places_are_those_of_their_component() -> None:
    where = schema_at(CONFIG, ("transforms", "0", "where"))
    assert where is not None
    assert where["type"] == "string"
    disposition = schema_at(CONFIG, ("destination", "write_disposition"))
    assert disposition is not None
    assert disposition["enum"] == ["append", "replace", "merge"]
    assert schema_at(CONFIG, ("nowhere",)) is None
