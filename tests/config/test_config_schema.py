from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.samples import good, plain

from dataforge.components.base import ComponentConfig
from dataforge.components.registry import KINDS
from dataforge.config.pipeline import _parse_component, parse
from dataforge.config.schema import check_structure, combine, dump, json_schema
from dataforge.errors import ConfigError, Problem

jsonschema = pytest.importorskip("jsonschema")  # a heavy import, which may not stand at the top
Draft202012Validator = jsonschema.Draft202012Validator
SCHEMA = Draft202012Validator(json_schema())
NESTED: dict[str, Any] = good(
    schedule={"any": [{"asset": "a/b"}, {"all": [{"asset": "c"}]}]},
    source=...,
    sources={"orders": {"type": "csv", "path": ["a.csv", "b.csv"]}, "more": {"type": "parquet", "path": "x.parquet"}},
    destination=[{"type": "postgres", "connection": "warehouse", "table": "t"}],
)


def accepted(config: Any) -> bool:
    try:
        parse(config)
    except ConfigError:
        return False
    return True


def test_the_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(json_schema())
    Draft202012Validator.check_schema(json_schema(defaults=True))
    assert json.loads(dump()) == json_schema()
    assert dump() == dump()


def test_every_registered_component_is_in_the_schema_under_its_type() -> None:
    for kind, (registry, _) in KINDS.items():
        base = json_schema()["$defs"][f"{kind.capitalize()}Config"]
        assert sorted(base["discriminator"]["mapping"]) == registry.types()
        for ref in base["discriminator"]["mapping"].values():
            block = json_schema()["$defs"][ref.rpartition("/")[2]]
            assert block["required"][0] == "type"
            assert block["additionalProperties"] is False


def test_the_older_schedule_key_is_known_and_deprecated() -> None:
    assert json_schema()["properties"]["schedule_interval"]["deprecated"] is True
    assert SCHEMA.is_valid(plain(schedule_interval="@daily"))


def test_extra_keys_of_fields_are_kept() -> None:
    text = dump()
    assert all(f'"{mark}"' in text for mark in ("x-connection", "x-column", "x-sql", "x-templated"))


@pytest.mark.parametrize("config", [good(), plain(), NESTED, plain(matrix={"a": [1]}), plain(**{"$schema": "x"})])
def test_good_configs_fit_the_schema(config: Any) -> None:
    assert [*SCHEMA.iter_errors(config)] == []
    assert check_structure(config) == []


def test_a_folders_defaults_fit_the_schema_for_them() -> None:
    schema = Draft202012Validator(json_schema(defaults=True))
    assert schema.is_valid({"owner": "me", "destination": {"type": "postgres", "connection": "warehouse"}})
    assert not schema.is_valid({"dag_id": "x"})
    assert not schema.is_valid({"ownr": "x"})


def test_only_the_branch_that_was_meant_is_reported() -> None:
    config = good(source={"type": "csv", "path": "x", "delimter": ";"}, transforms=[{"type": "filter", "where": 5}])
    found = {(problem.code, problem.path) for problem in check_structure(config)}
    assert found == {("unknown-key", ("source", "delimter")), ("wrong-type", ("transforms", 0, "where"))}


def test_structure_tells_near_names_for_keys_and_values() -> None:
    config = good(execution="fusd", ownr="me", checks=[{"type": "not_nul"}])
    hints = {problem.path: problem.suggestion for problem in check_structure(config)}
    assert hints == {
        ("execution",): "did you mean 'fused'?",
        ("ownr",): "did you mean 'owner'?",
        ("checks", 0, "type"): "did you mean 'not_null'?",
    }


def test_what_both_say_of_one_place_is_told_once() -> None:
    first = [Problem("invalid-value", "x", ("schedule",)), Problem("unknown-key", "y", ("source", "pth"))]
    structure = [
        Problem("wrong-type", "z", ("schedule", "any")),
        Problem("missing-key", "z", ("source", "path")),
        Problem("wrong-type", "new", ("tags",)),
    ]
    assert [problem.path for problem in combine(first, structure)] == [("schedule",), ("source", "pth"), ("tags",)]


ODD = [
    None,
    "x",
    "3",
    "5m",
    5,
    1.5,
    3.0,
    True,
    [],
    ["a"],
    [1],
    {},
    {"a": "b"},
    {"a": 1},
    {"type": "x"},
    [{"type": "x"}],
]


@pytest.mark.parametrize("kind", KINDS)
def test_no_component_takes_what_its_schema_refuses(kind: str) -> None:
    schema, (registry, _) = json_schema(), KINDS[kind]
    block_schema = Draft202012Validator({"$ref": f"#/$defs/{kind.capitalize()}Config", "$defs": schema["$defs"]})
    for component in registry:
        model: type[ComponentConfig] = component.config
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        needed = {name: (info.examples or ["x"])[0] for name, info in fields.items() if info.is_required()}
        for name, info in fields.items():
            for value in [*(info.examples or []), *ODD] if name != "type" else []:
                block = {"type": component.type, **needed, name: value}
                try:
                    _parse_component(kind, block)
                except ConfigError:
                    continue
                assert block_schema.is_valid(block), block


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found += _paths(part, (*path, key))
    return found


JUNK = st.sampled_from(
    [None, True, False, 0, 1, -1, 2.5, 3.0, "", "x", "3", [], [1], ["a"], {}, {"a": 1}, {"type": "x"}]
)


@st.composite
def mutated(draw: Any) -> Any:
    config = copy.deepcopy(draw(st.sampled_from([good(), plain(), NESTED])))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(_paths(config) or [("dag_id",)]))
        holder = config
        for key in path[:-1]:
            holder = holder[key]
        act = draw(st.sampled_from(["replace", "remove", "add"]))
        if act == "replace":
            holder[path[-1]] = copy.deepcopy(draw(JUNK))
        elif act == "remove":
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["zzz", "type", "path", "retries"]))] = copy.deepcopy(draw(JUNK))
    return config


@settings(max_examples=600, deadline=None)
@given(mutated())
def test_the_schema_never_refuses_what_the_models_take(config: Any) -> None:
    if accepted(config):
        assert [error.message for error in SCHEMA.iter_errors(config)] == []
        assert check_structure(config) == []


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_our_reading_of_the_schema_agrees_with_the_plain_validator(config: Any) -> None:
    assert bool(check_structure(config)) == (not SCHEMA.is_valid(config))


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_what_the_schema_refuses_the_models_refuse(config: Any) -> None:
    if not SCHEMA.is_valid(config):
        assert not accepted(config)
