"""The JSON Schema of config files, generated from the models, and the check of a config against it.

`jsonschema` and all components' models are imported here, so this module is loaded only when a schema is asked for or
a config has been refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from dataforge.components.base import ComponentConfig, JsonValue
from dataforge.components.registry import KINDS, Registry
from dataforge.config.pipeline import PipelineConfig
from dataforge.config.shapes import type_name
from dataforge.config.validation import MAX_ERRORS, fold_renamed, unknown_key, wrong_choice
from dataforge.errors import ConfigError, Problem, bounded

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BASES = {"source": "SourceConfig", "transform": "TransformConfig", "check": "CheckConfig"}
_BASES["destination"] = "DestinationConfig"
_MATRIX: dict[str, Any] = {
    "description": "Several pipelines from one file: ${matrix.x} is replaced in every text, once for each combination "
    "of the lists, or for each object of a list. The dag_id must name what tells them apart.",
    "anyOf": [
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "array", "minItems": 1},
        },
        {"type": "array", "minItems": 1, "items": {"type": "object"}},
    ],
    "examples": [{"tenant": ["north", "south"]}, [{"table": "orders", "key": "order_id"}]],
}


def json_schema(*, defaults: bool = False) -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a config file with all components that are installed.

    With `defaults` it is that of a folder's defaults.json: no key is required, dag_id and matrix are not allowed.
    """
    schema = json.loads(_schema_text())
    if defaults:
        schema["title"] = "DataForge folder defaults"
        del schema["required"]
        for key in ("dag_id", "matrix"):
            del schema["properties"][key]
        for component in {name for names in _names().values() for name in names}:
            schema["$defs"][component].pop("required", None)
        for name in _BASES.values():  # without a type, several branches fit
            base = schema["$defs"][name]
            base["anyOf"] = base.pop("oneOf")
            del base["discriminator"]
    return dict(schema)


def dump() -> str:
    """Return the schema as text in a stable order, as docs/pipeline.schema.json holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _components() -> dict[str, list[type[ComponentConfig]]]:
    return {
        kind: [config for type_ in registry.types() if (config := _config(registry, type_))]
        for kind, (registry, _) in KINDS.items()
    }


def _config(registry: Registry[Any], type_: str) -> type[ComponentConfig] | None:
    """Return a component's config model; None when its package is installed but can't be imported here."""
    try:
        return registry.get(type_).config
    except ConfigError:
        return None


@cache
def _generated() -> tuple[str, dict[str, list[str]]]:
    from pydantic.json_schema import GenerateJsonSchema, models_json_schema

    class Untitled(GenerateJsonSchema):
        """Leaves out the titles that pydantic makes up from key names."""

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the base's signature
            return False

    components = _components()
    models: list[Any] = [PipelineConfig, *(model for each in components.values() for model in each)]
    refs, generated = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)],
        ref_template="#/$defs/{model}",
        schema_generator=Untitled,
    )
    names = {model: ref["$ref"].rpartition("/")[2] for (model, _), ref in refs.items()}
    defs = generated["$defs"]
    by_kind = {kind: [names[model] for model in each] for kind, each in components.items()}
    for kind, each in components.items():
        mapping = {str(model.model_fields["type"].default): names[model] for model in each}
        for name in mapping.values():
            required = defs[name].get("required", [])
            defs[name]["required"] = ["type", *(key for key in required if key != "type")]
        defs[_BASES[kind]] = {
            "description": f"One {kind}; its 'type' says which.",
            "discriminator": {
                "propertyName": "type",
                "mapping": {type_: f"#/$defs/{name}" for type_, name in mapping.items()},
            },
            "oneOf": [{"$ref": f"#/$defs/{name}"} for name in mapping.values()] or [{"type": "object"}],
        }
    top = defs.pop(names[PipelineConfig])
    properties = top["properties"]
    older = {"deprecated": True, "description": "The older name of 'schedule'."}
    properties["schedule_interval"] = {**properties["schedule"], **older}
    properties["matrix"] = _MATRIX
    schema = {"$schema": DIALECT, **top, "title": "DataForge pipeline", "$defs": dict(sorted(defs.items()))}
    return json.dumps(schema), by_kind


def _schema_text() -> str:
    return _generated()[0]


def _names() -> dict[str, list[str]]:
    return _generated()[1]


def check_structure(data: JsonValue) -> list[Problem]:
    """Return every way in which a config departs from the schema; of a union, only the branch that was meant."""
    errors = islice(_validator().iter_errors(data), MAX_ERRORS)
    found = islice((problem for error in errors for problem in _problems(error)), MAX_ERRORS)
    return list(fold_renamed(dict.fromkeys(found)))


def combine(first: Iterable[Problem], structure: Iterable[Problem]) -> list[Problem]:
    """Return all of `first` and those of `structure` that tell of places which `first` does not cover."""
    first = list(first)
    known = {problem.path for problem in first}
    renamed = {problem.path[:-1] for problem in first if problem.code == "unknown-key"}

    def told(problem: Problem) -> bool:
        path = problem.path
        if any(path[:depth] in known for depth in range(1, len(path) + 1)):
            return True
        if problem.code == "missing-key":
            return path[:-1] in renamed
        return problem.code == "wrong-type" and bool(path) and any(each[: len(path)] == path for each in known)

    return list(fold_renamed([*first, *(problem for problem in structure if not told(problem))]))


@cache
def _validator() -> Validator:
    from jsonschema import Draft202012Validator, validators

    extended = validators.extend(  # type: ignore[no-untyped-call]  # untyped in its stubs
        Draft202012Validator, {"oneOf": _one_of, "anyOf": _any_of}
    )
    made: Validator = extended(json_schema())
    return made


def _one_of(validator: Any, branches: list[Any], value: JsonValue, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    choice = schema.get("discriminator")
    if not choice:
        yield from _any_of(validator, branches, value, schema)
        return
    if not isinstance(value, dict):
        yield ValidationError(f"must be an object, not {type_name(value)}", validator="type", validator_value="object")
        return
    key = choice["propertyName"]
    kind = value.get(key)
    if isinstance(kind, str) and kind in choice["mapping"]:
        yield from validator.descend(value, {"$ref": choice["mapping"][kind]})
    elif key not in value:
        yield ValidationError(f"key {key!r} is missing", validator="required", validator_value=[key], instance=value)
    else:
        allowed = list(choice["mapping"])
        yield ValidationError("no such type", validator="enum", validator_value=allowed, instance=kind, path=[key])


def _any_of(validator: Any, branches: list[Any], value: JsonValue, _: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the errors of the one branch that `value` was meant for, by its JSON type and by the fewest errors."""
    from jsonschema import ValidationError

    answers = [(branch, list(validator.descend(value, branch, schema_path=n))) for n, branch in enumerate(branches)]
    if any(not errors for _, errors in answers):
        return
    meant = [errors for _, errors in answers if not any(_is_mismatch(error) for error in errors)]
    if meant:
        yield from min(meant, key=len)
        return
    wanted = [_words(error.validator_value) for _, errors in answers for error in errors if _is_mismatch(error)]
    message = f"must be {' or '.join(dict.fromkeys(wanted))}, not {type_name(value)}"
    yield ValidationError(message, validator="type", validator_value=[], instance=value)


def _is_mismatch(error: Any) -> bool:
    return error.validator == "type" and not error.path


def _words(types: str | list[str]) -> str:
    names = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
    names |= {"array": "a list", "object": "an object"}
    return " or ".join(names.get(each, each) for each in ([types] if isinstance(types, str) else types))


def _problems(error: Any) -> Iterator[Problem]:
    path = tuple(error.absolute_path)
    kind, wanted, value = error.validator, error.validator_value, error.instance
    if kind == "required":
        yield from (
            Problem("missing-key", f"key {key!r} is missing", (*path, key))
            for key in wanted
            if key not in value and f"{key!r}" in error.message
        )
    elif kind == "additionalProperties":
        known = error.schema.get("properties", {})
        yield from (unknown_key((*path, key), known) for key in value if key not in known)
    elif kind == "type":
        told = error.message if error.message.startswith("must be ") else None
        yield Problem("wrong-type", told or f"must be {_words(wanted)}, not {type_name(value)}", path)
    elif kind in ("enum", "const"):
        yield wrong_choice(value, path, wanted if kind == "enum" else [wanted])
    elif kind in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        words = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
        yield Problem("invalid-value", f"must be {words.get(kind, 'less than')} {wanted}, not {value!r}", path)
    elif kind in ("minItems", "minLength", "maxItems", "maxLength", "minProperties", "maxProperties"):
        what = "items" if "Items" in kind else "characters" if "Length" in kind else "keys"
        limit = "at least" if kind.startswith("min") else "at most"
        what = what[:-1] if wanted == 1 else what
        yield Problem("invalid-value", f"must have {limit} {wanted} {what}, not {len(value)}", path)
    else:
        yield Problem("invalid-value", bounded(str(error.message), 300), path)
