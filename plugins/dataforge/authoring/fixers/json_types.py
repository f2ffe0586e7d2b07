"""Values of the wrong JSON type that have one reading in the right one: "5" for 5, one item for a list, and so on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dataforge.authoring.editing import Operation, tokens
from dataforge.authoring.fixers import aliases
from dataforge.authoring.fixers.case import Case, Proposal, under
from dataforge.authoring.fixers.places import _type_named, _typed
from dataforge.authoring.fixers.values import duration_text
from dataforge.components.base import JsonValue
from dataforge.config.pipeline import PipelineConfig
from dataforge.config.shapes import Shape, type_name

_TRUE = frozenset(["true", "yes", "on", "y", "1", "enabled", "t"])
_FALSE = frozenset(["false", "no", "off", "n", "0", "disabled", "f"])
_NAMES = ("name", "id", "value", "column", "field", "key", "path", "connection", "conn_id", "table")


def wrong_type(case: Case) -> Iterator[Proposal]:
    """Write a value in the JSON type that its key wants."""
    if not case.there:
        return
    wanted, value = case.finding.message, case.value
    told = type_name(value)
    shape = case.shape
    if "must be true or false" in wanted or _may_be(shape, "boolean"):
        yield from _as_boolean(case, value, told)
    if "a whole number" in wanted or "a number" in wanted:
        yield from _as_number(case, value, told)
    yield from _as_duration(case, value)
    if "a list" in wanted or _has_items(shape):
        yield from _as_list(case, value)
    if "an object" in wanted or "object" in wanted.partition(", not")[0]:
        yield from _as_object(case, value, told)
    if "text" in wanted.partition(", not")[0] or "one of" in wanted:
        yield from _as_text(case, value, told)
    if value is None and _optional(case):
        yield case.remove("null is no value here; without the key the default holds")


def _as_boolean(case: Case, value: JsonValue, told: str) -> Iterator[Proposal]:
    word = str(value).strip().lower()
    if not isinstance(value, bool | dict | list) and word in _TRUE | _FALSE:
        yield case.replace(word in _TRUE, f"true/false is written without quotes, not as {told}")


def _as_number(case: Case, value: JsonValue, told: str) -> Iterator[Proposal]:
    text = value.strip().replace("_", "") if isinstance(value, str) else ""
    text = text.replace(",", "") if re.match(r"\A[+-]?\d{1,3}(,\d{3})+\Z", text) else text
    if re.match(r"\A[+-]?\d{1,15}\Z", text):
        yield case.replace(int(text), f"a number is written without quotes, not as {told}")
    elif re.match(r"\A[+-]?\d{1,15}\.0+\Z", text) and "whole" in case.finding.message:
        yield case.replace(int(float(text)), f"a number is written without quotes, not as {told}")
    elif re.match(r"\A[+-]?\d{1,15}\.\d{1,15}\Z", text):
        yield case.replace(float(text), f"a number is written without quotes, not as {told}")
    elif percent := re.match(r"\A(\d{1,3}(?:\.\d+)?)\s*%\Z", text):
        yield case.replace(round(float(percent[1]) / 100, 10), f"{value!r} is a share of one")
    if isinstance(value, float) and value.is_integer():
        yield case.replace(int(value), "a whole number has no point")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int | float):
        yield case.replace(value[0], "one number is wanted, no list")


def _as_duration(case: Case, value: JsonValue) -> Iterator[Proposal]:
    if isinstance(value, Mapping) and value:
        text = duration_text(value)
        if text:
            yield case.replace(text, f"a duration is written {text!r}")


def _as_text(case: Case, value: JsonValue, told: str) -> Iterator[Proposal]:
    if isinstance(value, bool | int | float):
        yield case.replace(json.dumps(value), f"text is wanted, not {told}")
    elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        yield case.replace(value[0], "one text is wanted, no list")
    elif isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        if case.key in ("where", "expression"):
            yield case.replace(" and ".join(f"({part})" for part in value), "several conditions are joined by 'and'")
        elif case.key in ("description", "query"):
            yield case.replace("\n".join(value), "lines of a text are one text")
        elif case.key == "table":
            yield case.replace(".".join(value), "a table is written 'schema.table'")
    elif isinstance(value, Mapping):
        if (case.key == "table" and {*value} == {"schema", "name"}) or {*value} == {"schema", "table"}:
            name = value.get("name", value.get("table"))
            yield case.replace(f"{value['schema']}.{name}", "a table is written 'schema.table'")
        if case.key == "schedule" or case.pointer == "/schedule_interval":
            inner = next(
                (value[key] for key in ("cron", "expression", "interval", "preset", "value") if key in value), None
            )
            if isinstance(inner, str) and len(value) == 1:
                yield case.replace(inner, "a schedule is a text")
        named = [part for key, part in value.items() if key in _NAMES and isinstance(part, str)]
        if len(value) == 1 and named:
            yield case.replace(named[0], "a text is wanted, no object")


def _as_list(case: Case, value: JsonValue) -> Iterator[Proposal]:
    if isinstance(value, str):
        inner = value.strip()
        if inner.startswith("[") and inner.endswith("]"):
            try:
                yield case.replace(json.loads(inner), "the list stands in quotes")
            except ValueError:
                inner = inner[1:-1]
        if "," in inner and "(" not in inner and "'" not in inner:
            parts = [part.strip() for part in inner.split(",") if part.strip()]
            yield case.replace(parts, "several names are a list")
        yield case.replace([value], "a single item stands in a list")
    elif isinstance(value, bool | int | float):
        yield case.replace([value], "a single item stands in a list")
        yield case.replace([json.dumps(value)], "a single item stands in a list")
    elif isinstance(value, Mapping):
        yield from _object_as_list(case, value)
    elif isinstance(value, list):
        flat = [item for part in value for item in (part if isinstance(part, list) else [part])]
        if len(flat) != len(value) or flat != value:
            yield case.replace(flat, "one list is wanted, no list of lists")


def _object_as_list(case: Case, value: Mapping[str, Any]) -> Iterator[Proposal]:
    kind = {"transforms": "transform", "checks": "check"}.get(case.key) if len(case.path) == 1 else None
    if kind and "type" not in value:
        whole = [
            _typed(kind, type_, inner)
            if (type_ := _type_named(kind, key))
            else {"name": key, **inner}
            if isinstance(inner, Mapping) and "type" in inner
            else None
            for key, inner in value.items()
        ]
        if whole and all(part is not None for part in whole):
            if kind == "check":
                whole = [{k: v for k, v in part.items() if k != "name"} for part in whole if part]
            yield case.replace(whole, f"{case.key!r} is a list of objects, each with its type")
    if kind and "type" in value:
        yield case.replace([dict(value)], "a single item stands in a list")
    if not kind:
        if all(isinstance(part, str) for part in value.values()):
            words = {part.strip().lower() for part in value.values()}
            if words <= {"asc", "desc"}:
                yield case.replace(
                    [f"{key} {part}".strip() for key, part in value.items()], "a list of texts is wanted"
                )
            if case.key == "on":
                yield case.replace(
                    [key if key == part else f"{key} = {part}" for key, part in value.items()],
                    "a list of texts is wanted",
                )
        if all(isinstance(part, bool) or part is None or part == {} for part in value.values()):
            yield case.replace([key for key, part in value.items() if part is not False], "a list of names is wanted")
        if not value:
            yield case.replace([], "a list is wanted")


def _as_object(case: Case, value: JsonValue, told: str) -> Iterator[Proposal]:
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            yield case.replace(json.loads(value), "the object stands in quotes")
        except ValueError:
            return
    block = case.block
    if block is not None and case.pointer == block.pointer:
        yield from _component(case, value, block.kind)
        return
    if isinstance(value, list) and value:
        yield from _list_as_mapping(case, value)
    if isinstance(value, str) and value.strip():
        pairs = [_pair(part) for part in re.split(r",(?![^(]*\))", value)]
        if all(pairs):
            yield case.replace(dict(filter(None, pairs)), "columns are an object of names")
    if value == [] or value is None:
        yield case.replace({}, "an object is wanted")
    if told == "true/false" and len(case.path) == 1 and value is True:
        yield case.replace({}, "an object is wanted; its defaults hold")


def _component(case: Case, value: JsonValue, kind: str) -> Iterator[Proposal]:
    """Return a component that stands as a text, or in a list of its own."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        yield case.replace(value[0], "one component is wanted, no list")
    if isinstance(value, str):
        type_ = _type_named(kind, value)
        if type_:
            yield case.replace({"type": type_}, f"a component is an object; {value!r} is its type")
        if match := re.match(r"\A(?:where\s+)?(.+(?:=|<|>| is | in | like ).+)\Z", value, re.IGNORECASE):
            main = {"transform": ("filter", "where"), "check": ("expression", "expression")}.get(kind)
            if main:
                yield case.replace({"type": main[0], main[1]: match[1]}, f"a condition is a {main[0]!r}")
        ending = re.search(r"\.(csv|tsv|json|jsonl|ndjson|parquet)(?:\.gz|\.zst)?\Z", value)
        if ending and kind in ("source", "destination"):
            found = aliases.TYPES[kind].get(ending[1], ending[1])
            yield case.replace({"type": found, "path": value}, f"a component is an object; {value!r} is its path")


def _list_as_mapping(case: Case, value: list[Any]) -> Iterator[Proposal]:
    """Return [{"name": "a", "type": "int"}], [{"a": "int"}] or ["a: int"] as {"a": "int"}."""
    found: dict[str, Any] = {}
    for part in value:
        if isinstance(part, Mapping) and len(part) == 1:
            found.update(part)
        elif isinstance(part, Mapping) and len(part) == 2:
            key = next(
                (part[k] for k in ("name", "column", "from", "old", "source", "field", "key") if k in part), None
            )
            other = next((v for k, v in part.items() if v != key), None)
            if not isinstance(key, str) or other is None:
                return
            found[key] = other
        elif isinstance(part, str) and (pair := _pair(part)):
            found[pair[0]] = pair[1]
        elif isinstance(part, list) and len(part) == 2 and isinstance(part[0], str):
            found[part[0]] = part[1]
        else:
            return
    if len(found) == len(value):
        yield case.replace(found, "an object is wanted: each name with its value")


def _pair(text: str) -> tuple[str, str] | None:
    match = re.match(r"\A\s*([A-Za-z_]\w*)\s*(?::|=>|->|=|\s+as\s+|\s+to\s+)\s*(.+?)\s*\Z", text)
    return (match[1], match[2]) if match else None


def _may_be(shape: Shape | None, scalar: str) -> bool:
    return shape is not None and shape.scalars is not None and shape.scalars == frozenset((scalar,))


def _has_items(shape: Shape | None) -> bool:
    return shape is not None and (shape.items is not None or any(option.items for option in shape.options))


def _optional(case: Case) -> bool:
    model = case.block.model if case.block and case.in_block else PipelineConfig if len(case.path) == 1 else None
    if model is None:
        return case.path[:1] == ("default_args",) or bool(case.path)
    return any((info.alias or name) == case.key and not info.is_required() for name, info in model.model_fields.items())


def as_duration(case: Case) -> Iterator[Proposal]:
    """Write a duration that stands as an object in a place that takes text."""
    yield from _as_duration(case, case.value)


def named(case: Case) -> Iterator[Proposal]:
    """Take the `name` out of components of a list that can't have one."""
    if case.block is not None and case.key == "name" and case.block.kind in ("source", "destination", "check"):
        path = under(case.block.pointer, "name")
        if path == case.pointer and tokens(path):
            yield Proposal((Operation("remove", path),), f"a {case.block.kind} has no name of its own")
