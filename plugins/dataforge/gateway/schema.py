"""From the JSON Schema that pydantic writes to one that providers can hold a model to, and back to what was meant.

Providers know different parts of JSON Schema, and some ignore the rest without a word: so patterns, lengths, formats
and bounds never go out, and are checked afterwards by those who asked; only where it is asked for a text has an end.
What goes out is a tree of closed objects, lists, texts, numbers, truth values and choices, without references.

The *strict* form is what all providers take. All keys are required, in the order of the schema, and what is left out is
said by an empty value ("" for texts, choices, numbers and truth values, [] for lists, null for objects), since unions
with null and optional keys are what providers count and limit. Objects with free keys become lists of {key, value}.
The *open* form, for llama.cpp and Ollama, leaves optional keys and free keys as they are, which costs fewer tokens.

`Flat.restore` turns an answer back: empty values go, pairs become objects, texts become what they stand for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataforge.errors import bounded
from dataforge.gateway.base import JsonSchema

ENDS_AFTER = "x-ends-after"
"""A text's key for the number of characters after which the open form ends it: a small model that repeats itself would
go on to the limit of its answer. llama.cpp takes at most 2,000 repetitions, those of a list's items multiplied."""

Restore = Callable[[Any], Any]
_MISSING: Any = object()
"""What `restore` gives for a value that says "left out"."""


@dataclass(frozen=True)
class Flat:
    """A schema as it goes out, and the way back for answers that follow it."""

    schema: JsonSchema
    restore: Restore


@dataclass(frozen=True)
class Limits:
    """What a provider takes; None is no limit that is known. Depth is of objects in objects."""

    properties: int | None = None
    depth: int | None = None
    enum_values: int | None = None
    name_chars: int | None = None
    optional: int | None = None
    unions: int | None = None
    root_union: bool = True
    free_keys: bool = True


OPENAI = Limits(
    properties=5_000, depth=10, enum_values=1_000, name_chars=120_000, optional=0, root_union=False, free_keys=False
)
ANTHROPIC = Limits(optional=24, unions=16, root_union=False, free_keys=False)
LLAMA = Limits(depth=30, enum_values=2_000)


@dataclass(frozen=True)
class Size:
    """What providers count in a schema."""

    properties: int = 0
    depth: int = 0
    enum_values: int = 0
    name_chars: int = 0
    optional: int = 0
    unions: int = 0
    root_union: bool = False
    free_keys: bool = False


def flatten(schema: JsonSchema, *, strict: bool = True) -> Flat:
    """Return the schema as it goes out, and the way back. ValueError where it describes nothing that can be sent."""
    made = _Flattening(schema, strict=strict).value(schema, ())
    out, restore = made.schema, made.restore
    if not out.get("properties"):
        raise ValueError("the schema of an answer must describe an object with keys")
    if strict and "anyOf" in out:
        raise ValueError("the schema of an answer must not be a union at its root")
    return Flat(out, lambda answer: _restored(restore, answer))


def _restored(restore: Restore, answer: Any) -> Any:
    value = restore(answer)
    return {} if value is _MISSING else value


@dataclass(frozen=True)
class _Part:
    schema: dict[str, Any]
    restore: Restore
    fits: Callable[[Any], bool] = lambda _: True


class _Flattening:
    def __init__(self, root: JsonSchema, *, strict: bool) -> None:
        self._defs: Mapping[str, Any] = root.get("$defs", {})
        self._strict = strict

    def value(self, schema: Any, seen: tuple[str, ...]) -> _Part:
        """Return the part for a value that must be there."""
        schema, seen = self._resolved(schema, seen)
        if "const" in schema:
            return _choice((schema["const"],))
        if "enum" in schema:
            return _choice(tuple(schema["enum"]))
        branches = self._branches(schema, seen)
        if branches:
            return self._union(branches)
        kind = schema.get("type")
        if kind == "object" or "properties" in schema or "patternProperties" in schema:
            return self._object(schema, seen)
        if kind == "array":
            return self._list(schema, seen)
        if kind in ("string", "integer", "number", "boolean", "null"):
            part = _scalar(kind)
            ends = schema.get(ENDS_AFTER)
            return replace(part, schema={**part.schema, "maxLength": ends}) if ends and not self._strict else part
        # anything goes: a text, in which JSON is understood
        return _Part({"type": "string"}, _loose, lambda value: isinstance(value, str))

    def optional(self, schema: Any, seen: tuple[str, ...]) -> _Part:
        """Return the part for a value that may be left out, in the strict form."""
        resolved, inner = self._resolved(schema, seen)
        made = self.value(_without_null(resolved), inner)
        kind = made.schema.get("type")
        restore = made.restore
        if "enum" in made.schema and kind == "string":
            out = {**made.schema, "enum": list(dict.fromkeys([*made.schema["enum"], ""]))}
            return _Part(out, lambda value: _MISSING if value == "" else restore(value), made.fits)
        if kind == "string":
            return _Part(made.schema, lambda value: _MISSING if value == "" else restore(value), made.fits)
        if kind in ("integer", "number"):
            return _Part({"type": "string"}, _number_or_missing, made.fits)
        if kind == "boolean":
            out = {"type": "string", "enum": ["true", "false", ""]}
            return _Part(out, _truth_or_missing, made.fits)
        if kind == "array":
            return _Part(made.schema, lambda value: _MISSING if value == [] else restore(value), made.fits)
        if kind == "object" and made.schema.get("properties"):
            return _Part(made.schema, lambda value: _MISSING if (found := restore(value)) in ({}, None) else found)
        choices = made.schema.get("anyOf", [made.schema])
        return _Part({"anyOf": [*choices, {"type": "null"}]}, lambda v: _MISSING if v is None else restore(v))

    def _resolved(self, schema: Any, seen: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        if not isinstance(schema, Mapping):
            return {}, seen
        found = dict(schema)
        while "$ref" in found:
            name = str(found.pop("$ref")).rsplit("/", 1)[-1]
            if name in seen:  # a type inside of itself goes as JSON in a text
                return {}, seen
            found = {**copy.copy(dict(self._defs.get(name, {}))), **found}
            seen = (*seen, name)
        for part in found.pop("allOf", ()):
            inner, seen = self._resolved(part, seen)
            found = {**inner, **found}
        return found, seen

    def _branches(
        self, schema: Mapping[str, Any], seen: tuple[str, ...]
    ) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
        """Return the alternatives, nested ones too; a type that contains itself ends where it begins anew."""
        if isinstance(kinds := schema.get("type"), list):
            return [({**schema, "type": kind}, seen) for kind in kinds]
        if "type" in schema and not any("type" in part or "$ref" in part for part in schema.get("anyOf", ())):
            return []  # alternatives of format, not of type
        found = []
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            name = str(part.get("$ref", "")).rsplit("/", 1)[-1]
            if name and name in seen:
                continue
            resolved, inner = self._resolved(part, seen)
            found += self._branches(resolved, inner) or [(resolved, inner)]
        return found

    def _union(self, branches: list[tuple[dict[str, Any], tuple[str, ...]]]) -> _Part:
        if self._strict:
            return self._strict_union([pair for pair in branches if pair[0].get("type") != "null"])
        return _any_of([self.value(*branch) for branch in branches])

    def _strict_union(self, branches: list[tuple[dict[str, Any], tuple[str, ...]]]) -> _Part:
        """Return one part for what can be said in one way, a union only of what differs in shape."""
        parts = [self.value(branch, seen) for branch, seen in branches]
        if not parts:
            return _scalar("null")
        scalars = [part for part in parts if part.schema["type"] in _SCALARS and "enum" not in part.schema]
        if len({part.schema["type"] for part in scalars}) > 1:
            text = any(branch.get("type") == "string" for branch, _ in branches)
            one = _Part({"type": "string"}, _identity if text else _loose, _is(str))
            parts = [one, *(part for part in parts if part not in scalars)]
        lists = [part for part in parts if part.schema["type"] == "array"]
        for part in lists:  # a list says all that its shorthand, a single item, says
            items = part.schema["items"].get("anyOf", [part.schema["items"]])
            parts = [other for other in parts if other is part or other.schema not in items]
        # so does an object of which one key has the choices of the shorthand
        choices = [
            set(key["enum"]) - {""}
            for part in parts
            for key in part.schema.get("properties", {}).values()
            if key.get("type") == "string" and "enum" in key
        ]
        parts = [
            part for part in parts if part.schema["type"] != "string" or set(part.schema.get("enum", ())) not in choices
        ]
        names = [part for part in lists if part.schema["items"] == {"type": "string"}]
        pairs = [part for part in lists if part.schema == _pairs({"type": "string"})]
        if names and pairs:  # a pair with an empty value says all that a name says
            parts = [_names_or_pairs(pairs[0]), *(part for part in parts if part not in (names[0], pairs[0]))]
        return _any_of(parts)

    def _object(self, schema: Mapping[str, Any], seen: tuple[str, ...]) -> _Part:
        known = {
            name: part
            for name, part in schema.get("properties", {}).items()
            if not name.startswith("$") and not part.get("deprecated")
        }
        if not known:
            return self._free_keys(schema, seen)
        required = set(schema.get("required", ())) | {name for name, part in known.items() if "const" in part}
        parts: dict[str, _Part] = {}
        for name, part in known.items():
            strict = self._strict and name not in required
            parts[name] = self.optional(part, seen) if strict else self.value(part, seen)
        out = {
            "type": "object",
            "properties": {name: part.schema for name, part in parts.items()},
            "required": [name for name in parts if self._strict or name in required],
            "additionalProperties": False,
        }
        fixed = {name: part.schema["enum"] for name, part in parts.items() if len(part.schema.get("enum", ())) == 1}

        def restore(value: Any) -> Any:
            if not isinstance(value, Mapping):
                return value
            found = {}
            for name, inner in value.items():
                back = parts[name].restore(inner) if name in parts else inner
                if back is not _MISSING and not (back is None and name not in required):
                    found[name] = back
            return found

        def fits(value: Any) -> bool:
            return isinstance(value, Mapping) and all(value.get(name) in choices for name, choices in fixed.items())

        return _Part(out, restore, fits)

    def _free_keys(self, schema: Mapping[str, Any], seen: tuple[str, ...]) -> _Part:
        patterns = list(schema.get("patternProperties", {}).values())
        inner = patterns[0] if patterns else schema.get("additionalProperties", True)
        part = self.value(inner if isinstance(inner, Mapping) else {}, seen)
        restore = part.restore

        def back(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: restore(item) for key, item in value.items()}
            if isinstance(value, list) and all(isinstance(pair, Mapping) and "key" in pair for pair in value):
                return {str(pair["key"]): restore(pair.get("value")) for pair in value}
            return value

        if not self._strict:
            out: dict[str, Any] = {"type": "object", "additionalProperties": part.schema}
            return _Part(out, back, _is(dict))
        return _Part(_pairs(part.schema), back, _is_pairs)

    def _list(self, schema: Mapping[str, Any], seen: tuple[str, ...]) -> _Part:
        part = self.value(schema.get("items", {}), seen)
        out: dict[str, Any] = {"type": "array", "items": part.schema}
        if not self._strict:
            out |= {key: schema[key] for key in ("minItems", "maxItems") if key in schema}
        restore = part.restore

        def back(value: Any) -> Any:
            return [restore(item) for item in value] if isinstance(value, list) else value

        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(part.fits(item) for item in value)

        return _Part(out, back, fits)


_SCALARS = ("string", "integer", "number", "boolean")


def _pairs(value: Mapping[str, Any]) -> dict[str, Any]:
    pair = {
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": value},
        "required": ["key", "value"],
        "additionalProperties": False,
    }
    return {"type": "array", "items": pair}


def _names_or_pairs(pairs: _Part) -> _Part:
    def restore(value: Any) -> Any:
        if not _is_pairs(value) or not value:
            return value
        plain = all(pair["value"] in ("", pair["key"]) for pair in value)
        return [pair["key"] for pair in value] if plain else {p["key"]: p["value"] or p["key"] for p in value}

    return _Part(pairs.schema, restore, pairs.fits)


def _any_of(parts: Sequence[_Part]) -> _Part:
    """Return the union of parts, each different; an answer is restored by the first that it fits."""
    kept: list[_Part] = []
    for part in parts:
        if all(part.schema != other.schema for other in kept):
            kept.append(part)
    if len(kept) == 1:
        return kept[0]

    def restore(value: Any) -> Any:
        return next((part.restore for part in kept if part.fits(value)), _identity)(value)

    return _Part({"anyOf": [part.schema for part in kept]}, restore, lambda v: any(p.fits(v) for p in kept))


def _choice(values: tuple[Any, ...]) -> _Part:
    kinds = {_kind(value) for value in values}
    if len(kinds) == 1:
        out = {"type": next(iter(kinds)), "enum": list(values)}
        return _Part(out, _identity, lambda value: value in values)
    texts = {value if isinstance(value, str) else json.dumps(value): value for value in values}
    out = {"type": "string", "enum": list(texts)}
    return _Part(out, lambda v: texts.get(v, v), lambda v: v in texts or v in values)


def _kind(value: Any) -> str:
    for kind, name in ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"), (type(None), "null")):
        if isinstance(value, kind):
            return name
    return "object"


def _scalar(kind: str) -> _Part:
    types: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),)
    }  # fmt: skip
    return _Part({"type": kind}, _identity, lambda value: isinstance(value, types[kind]))


def _identity(value: Any) -> Any:
    return value


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, Mapping) and set(pair) == {"key", "value"} for pair in value
    )


def _loose(value: Any) -> Any:
    """Return what a text stands for: JSON where it is JSON, else the text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _number_or_missing(value: Any) -> Any:
    return _MISSING if value == "" else _loose(value)


def _truth_or_missing(value: Any) -> Any:
    return {"true": True, "false": False, "": _MISSING}.get(value, value) if isinstance(value, str) else value


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an optional value's schema without null among its alternatives."""
    for key in ("anyOf", "oneOf"):
        kept = [part for part in schema.get(key, ()) if part.get("type") != "null"]
        if len(kept) < len(schema.get(key, ())):
            rest = {name: value for name, value in schema.items() if name != key}
            return {**rest, **kept[0]} if len(kept) == 1 else {**rest, key: kept}
    return schema


# ---- limits ---------------------------------------------------------------------------------------------------------


def size(schema: JsonSchema) -> Size:
    """Return what providers count in a flattened schema."""
    nodes = list(_walk(schema, 0))
    objects = [(node, depth) for node, depth in nodes if node.get("type") == "object"]
    properties = [name for node, _ in objects for name in node.get("properties", {})]
    choices = [value for node, _ in nodes for value in node.get("enum", ())]
    return Size(
        properties=len(properties),
        depth=max((depth for _, depth in objects), default=0),
        enum_values=len(choices),
        name_chars=sum(map(len, properties)) + sum(len(str(value)) for value in choices),
        optional=sum(len(set(node.get("properties", {})) - set(node.get("required", ()))) for node, _ in objects),
        unions=sum("anyOf" in node or isinstance(node.get("type"), list) for node, _ in nodes),
        root_union="anyOf" in schema,
        free_keys=any(node.get("additionalProperties") is not False for node, _ in objects),
    )


def _walk(schema: Mapping[str, Any], depth: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    inside = depth + 1 if schema.get("type") == "object" else depth
    yield schema, inside
    extra = schema.get("additionalProperties")
    inner: Sequence[Any] = (
        *schema.get("properties", {}).values(),
        *schema.get("anyOf", ()),
        *((schema["items"],) if "items" in schema else ()),
        *((extra,) if isinstance(extra, Mapping) else ()),
    )
    for part in inner:
        yield from _walk(part, inside)


def excess(schema: JsonSchema, limits: Limits) -> list[str]:
    """Return in words what of a flattened schema is beyond a provider's limits; an empty list when nothing is."""
    found = size(schema)
    counted = (
        ("keys", found.properties, limits.properties),
        ("levels of objects", found.depth, limits.depth),
        ("choices", found.enum_values, limits.enum_values),
        ("characters of names and choices", found.name_chars, limits.name_chars),
        ("optional keys", found.optional, limits.optional),
        ("unions", found.unions, limits.unions),
    )
    told = [f"{count} {what}, at most {limit}" for what, count, limit in counted if limit is not None and count > limit]
    if found.root_union and not limits.root_union:
        told.append("a union at the root")
    if found.free_keys and not limits.free_keys:
        told.append("objects with free keys")
    return told


# ---- answers --------------------------------------------------------------------------------------------------------


def mismatch(value: Any, schema: JsonSchema, path: str = "") -> str | None:
    """Return in a sentence where a value first differs from a flattened schema; None when it follows it."""
    if "anyOf" in schema:
        found = [mismatch(value, part, path) for part in schema["anyOf"]]
        if None in found:
            return None
        deepest = max((text or "" for text in found), key=lambda text: text.split(" ", 1)[0].count("/"))
        return (
            deepest if len(found) == 1 or deepest.split(" ", 1)[0] != (path or "/") else f"{path or '/'} fits no choice"
        )
    place = path or "/"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is {_shown(value)}, not one of {', '.join(map(_shown, schema['enum'][:8]))}"
    kind = schema.get("type")
    if kind is not None and not _has_type(value, kind):
        return f"{place} is {_shown(value)}, not of type {kind}"
    if isinstance(value, Mapping):
        known, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{place} has no key {missing[0]!r}"
        for name, inner in value.items():
            if name not in known and extra is False:
                return f"{place} has the unknown key {str(name)[:100]!r}"
            part = known.get(name, extra)
            if isinstance(part, Mapping) and (found_one := mismatch(inner, part, f"{path}/{name}")):
                return found_one
    if isinstance(value, list):
        for place_in, inner in enumerate(value):
            if found_one := mismatch(inner, schema.get("items", {}), f"{path}/{place_in}"):
                return found_one
    return None


def _has_type(value: Any, kind: str) -> bool:
    types: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
        "object": (Mapping,), "array": (list,),
    }  # fmt: skip
    return isinstance(value, types[kind]) and not (kind in ("integer", "number") and isinstance(value, bool))


def _shown(value: Any) -> str:
    return bounded(json.dumps(value, ensure_ascii=False, default=str), 80)
