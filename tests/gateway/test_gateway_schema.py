"""Schemas that go out, and answers that come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from dataforge.authoring.constraints import shared_schema
from dataforge.gateway.schema import ANTHROPIC, LLAMA, OPENAI, Limits, excess, flatten, mismatch, size

DOCS = Path(__file__).parents[2] / "docs" / "pipeline.schema.json"
ANSWER: dict[str, Any] = {
    "dag_id": "orders", "description": "", "schedule": "0 6 * * *", "start_date": "2025-01-31", "end_date": "",
    "catchup": "", "tags": ["a"], "max_active_runs": "3",
    "source": {"type": "csv", "path": ["a.csv"], "columns": [{"key": "amount", "value": "decimal(12,2)"}]},
    "transforms": [
        {"type": "join", "with": "customers", "on": [{"key": "id", "value": ""}], "how": "left", "columns": None},
        {"type": "rename", "columns": [{"key": "id", "value": "order_id"}]},
    ],
    "destination": [{"type": "duckdb", "database": "x.duckdb", "table": "t", "write_disposition": "append"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    """The schema of pipelines, as it is published."""
    found: dict[str, Any] = json.loads(DOCS.read_text())
    return found


@pytest.mark.parametrize(("limits", "strict"), [(OPENAI, True), (ANTHROPIC, True), (LLAMA, False), (LLAMA, True)])
def test_the_real_schema_is_within_each_providers_limits(real: dict[str, Any], limits: Limits, strict: bool) -> None:
    sent = real if limits is LLAMA else shared_schema()  # providers that count are sent the schema without rare keys
    assert excess(flatten(sent, strict=strict).schema, limits) == []


def test_the_strict_form_has_only_what_all_providers_take(real: dict[str, Any]) -> None:
    known = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"}
    assert _keywords(flatten(real).schema) == known
    found = size(flatten(real).schema)
    assert found.optional == 0
    assert not found.free_keys


def _keywords(schema: Mapping[str, Any]) -> set[str]:
    """Return all keywords, without the names of keys."""
    items = [schema["items"]] if "items" in schema else []
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *items]
    return set(schema).union(*(_keywords(part) for part in inner))


def test_a_discriminator_stands_first(real: dict[str, Any]) -> None:
    for branch in flatten(real).schema["properties"]["transforms"]["items"]["anyOf"]:
        assert next(iter(branch["properties"])) == "type"


def test_a_strict_answer_comes_back_as_a_config(real: dict[str, Any]) -> None:
    config = flatten(real).restore(ANSWER)
    assert config == {
        "dag_id": "orders", "schedule": "0 6 * * *", "start_date": "2025-01-31", "tags": ["a"], "max_active_runs": 3,
        "source": {"type": "csv", "path": ["a.csv"], "columns": {"amount": "decimal(12,2)"}},
        "transforms": [
            {"type": "join", "with": "customers", "on": ["id"], "how": "left"},
            {"type": "rename", "columns": {"id": "order_id"}},
        ],
        "destination": [{"type": "duckdb", "database": "x.duckdb", "table": "t", "write_disposition": "append"}],
    }  # fmt: skip
    jsonschema.validate(config, real)


def test_an_open_answer_comes_back_as_it_is(real: dict[str, Any]) -> None:
    config = {"dag_id": "x", "source": {"type": "csv", "path": "a.csv", "columns": {"a": "int"}}}
    flat = flatten(real, strict=False)
    assert flat.restore(config) == config
    assert mismatch(config, flat.schema) == "/ has no key 'destination'"


def test_a_type_that_contains_itself_ends() -> None:
    flat = flatten(
        {
            "type": "object",
            "properties": {"tree": {"$ref": "#/$defs/T"}},
            "required": ["tree"],
            "$defs": {"T": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/T"}}]}},
        }
    )
    assert "$ref" not in json.dumps(flat.schema)


def test_models_with_every_kind_of_field_survive_the_way_there_and_back() -> None:
    class One(BaseModel):
        kind: Literal["one"] = "one"
        number: int | None = None

    class Two(BaseModel):
        kind: Literal["two"] = "two"
        on: bool = False
        size: Literal[1, 2] = 1

    class Whole(BaseModel):
        part: Annotated[One | Two, Field(discriminator="kind")]
        parts: list[Annotated[One | Two, Field(discriminator="kind")]] = []
        free: dict[str, One] = {}
        mixed: str | int = ""
        anything: Any = None
        ratio: float = 0.5

    flat = flatten(Whole.model_json_schema())
    answer = {
        "part": {"kind": "two", "on": "true", "size": 2},
        "parts": [{"kind": "one", "number": "7"}],
        "free": [{"key": "k", "value": {"kind": "one", "number": ""}}],
        "mixed": "5m", "anything": '{"deep": [1]}', "ratio": "0.25",
    }  # fmt: skip
    found = Whole.model_validate(flat.restore(answer))
    assert found.part == Two(on=True, size=2)
    assert found.parts == [One(number=7)]
    assert found.free == {"k": One()}
    assert (found.mixed, found.anything, found.ratio) == ("5m", {"deep": [1]}, 0.25)


def test_what_can_not_be_sent_is_said() -> None:
    with pytest.raises(ValueError, match="an object with keys"):
        flatten({"type": "string"})


def test_limits_are_counted() -> None:
    wide = {"type": "object", "properties": {f"k{n}": {"type": ["string", "array"], "items": {"type": "integer"}}
                                             for n in range(20)}}  # fmt: skip
    assert excess(flatten(wide).schema, ANTHROPIC) == ["20 unions, at most 16"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": "x"}, None),
        ({"a": True, "b": "x"}, "/a is true, not of type integer"),
        ({"a": 1, "b": "z"}, '/b is "z", not one of "x", "y"'),
        ({"a": 1, "b": "x", "c": [1, "2"]}, '/c/1 is "2", not of type integer'),
        ([], "/ is [], not of type object"),
    ],
)
def test_a_mismatch_is_told_in_a_sentence(value: Any, text: str | None) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string", "enum": ["x", "y"]},
                                               "c": {"type": "array", "items": {"type": "integer"}}},
              "required": ["a", "b"], "additionalProperties": False}  # fmt: skip
    assert mismatch(value, schema) == text
