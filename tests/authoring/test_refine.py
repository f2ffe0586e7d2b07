from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.authoring.base import AuthorRequest, Draft
from dataforge.authoring.catalogue import Catalogue, Known
from dataforge.authoring.refine import refine, touched
from dataforge.errors import ModelAway
from dataforge.gateway.scripted import Scripted, gateway_over

TEXT = """{
   "dag_id" : "orders_daily",
  "schedule": "@daily",   "tags": ["sales"],
  "source": {"type":"csv",   "path": "orders.csv"},
  "transforms": [
    {"type": "filter", "where": "status = 'paid' and amount > 10"},
      {"type": "mask",  "columns": {"email": "hash"}}
  ],
  "checks": [{"type": "not_null", "columns": ["id"]}],
  "destination": {"type": "duckdb", "table": "orders", "write_disposition": "replace" }
}
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    folder = tmp_path / "configs"
    folder.mkdir()
    return Catalogue((Known("warehouse", "postgres"),), complete=True, folder=folder)


def refined(request: str, catalogue: Catalogue, *answers: Any) -> tuple[Draft, Scripted]:
    model = Scripted(*(answers or (ModelAway("away", "scripted"),)))
    wanted = AuthorRequest(request, base=json.loads(TEXT), folder=catalogue.folder)
    return refine(wanted, gateway_over(model), text=TEXT, catalogue=catalogue), model


@pytest.mark.parametrize(
    ("request_", "before", "after"),
    [
        ("run it every 15 minutes", '"@daily"', '"*/15 * * * *"'),
        ("append the rows", '"write_disposition": "replace"', '"write_disposition": "append"'),
        ("write it into table orders_v2 instead", '"table": "orders"', '"table": "orders_v2"'),
        ("add the tag finance", '["sales"]', '["sales", "finance"]'),
        ("only rows where amount > 50", "status = 'paid' and amount > 10", "amount > 50 and status = 'paid'"),
        ("stündlich laufen lassen", '"@daily"', '"@hourly"'),
    ],
)
def test_what_a_request_spells_out_changes_and_every_other_byte_stays(
    request_: str, before: str, after: str, catalogue: Catalogue
) -> None:
    made, model = refined(request_, catalogue)
    assert made.text == TEXT.replace(before, after)
    assert made.valid
    assert model.calls == []


def test_a_step_can_be_taken_out(catalogue: Catalogue) -> None:
    made, _ = refined("don't hash the email any more", catalogue)
    assert made.config is not None
    assert [step["type"] for step in made.config["transforms"]] == ["filter"]
    assert made.text.startswith(TEXT[: TEXT.index('{"type": "filter"')])


def test_a_new_step_comes_last(catalogue: Catalogue) -> None:
    made, _ = refined("also drop the column note", catalogue)
    assert made.config is not None
    assert made.config["transforms"][-1] == {"type": "drop", "columns": ["note"]}


def test_a_model_patches_only_places_that_the_request_speaks_of(catalogue: Catalogue) -> None:
    answer = {
        "changes": [
            {"op": "add", "path": "/transforms/-", "value": {"type": "derive", "columns": {"amount": "amount * 1.19"}}},
            {"op": "replace", "path": "/destination/table", "value": "stolen"},
            {"op": "replace", "path": "/schedule", "value": "* * * * *"},
        ]
    }
    made, model = refined("make the amount gross by putting nineteen percent on top", catalogue, json.dumps(answer))
    assert len(model.calls) == 1
    assert made.config is not None
    assert made.config["transforms"][-1]["type"] == "derive"
    assert made.config["destination"]["table"] == "orders"
    assert made.config["schedule"] == "@daily"
    assert len([note for note in made.notes if "not taken" in note]) == 2
    assert '   "dag_id" : "orders_daily",' in made.text


def test_a_model_may_not_remove_what_the_request_does_not_name(catalogue: Catalogue) -> None:
    answer = {"changes": [{"op": "remove", "path": "/transforms/0", "value": None}]}
    made, _ = refined("squash the cents column into units", catalogue, json.dumps(answer))
    assert made.text == TEXT


def test_without_a_model_the_rest_is_a_finding(catalogue: Catalogue) -> None:
    made, _ = refined("run it hourly and squash the cents somehow", catalogue)
    assert made.config is not None
    assert made.config["schedule"] == "@hourly"
    assert "model-away" in {finding.code for finding in made.findings}


def test_code_and_secrets_are_refused(catalogue: Catalogue) -> None:
    made, model = refined("add a python script that cleans the rows", catalogue, "{}")
    assert made.refused
    assert made.text == TEXT
    assert model.calls == []


def test_touched_names_places_and_never_the_name_by_accident() -> None:
    base = json.loads(TEXT)
    assert "/schedule" in touched("run it hourly", base)
    assert "/dag_id" not in touched("make everything better", base)
    assert "/transforms" in touched("only paid rows", base)
