"""The JSON Schema that binds one answer: what the request states is constant, names come from request and catalogue.

The kinds of transforms and checks are never narrowed: a request can mean one without any of its words. What is narrowed
are sources and destinations that the request names, and keys that nothing in the request or its examples speaks of.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from dataforge.authoring.grounding import End, Grounds
from dataforge.config.schema import json_schema

MAX_STEPS = 6
MAX_CHECKS = 4
ANSWERED = ("source", "sources", "transforms", "checks", "destination")
"""The keys of a config that a model answers; the others are read from the request or have documented defaults."""

CORE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "source": {
        "csv": ("path",),
        "json": ("path",),
        "parquet": ("path",),
        "http": ("connection", "endpoint"),
        "postgres": ("connection", "table"),
        "sql": ("connection", "table"),
    },
    "destination": {
        "csv": ("path", "write_disposition"),
        "ndjson": ("path", "write_disposition"),
        "parquet": ("path", "write_disposition"),
        "duckdb": ("table", "write_disposition"),
        "postgres": ("connection", "table", "write_disposition"),
        "sql": ("connection", "table", "write_disposition"),
    },
}
"""What every answer says of a source or destination; a type that is not listed says its required keys."""

_WORDS: Mapping[str, str] = {
    "query": r"query|select\b|sql\b|abfrage",
    "columns": r"type of|typ der|as text|als text",
    "records": r"records?\b|under|nested|inside|path|unter|innerhalb|data\.",
    "pagination": r"pag(?:e|es|inat\w+)|next|link|offset|seiten?\b|cursor",
    "primary_key": r"key|upsert|merge|unique|schlüssel|histor|scd|version|update|aktualisier|identif|bring|changed",
    "merge_strategy": r"scd|histor|delete.?insert|version|slowly|stände",
    "cursor_field": r"increment|inkrement|cursor|watermark|new(?:er)? |changed|since|last run|neue|geändert"
    r"|letzte[nm] lauf|delta|updated_at",
    "lookback": r"look|overlap|late|überlapp|nachzügler",
    "delimiter": r"delimit|separat|semicolon|semikolon|tab\b|tabs\b|pipe|getrennt|trennzeichen",
    "encoding": r"encod|latin|utf|cp1252|kodier",
    "null_values": r"null|n/?a\b|missing|fehlend",
    "header": r"header|kopfzeile|überschrift",
    "severity": r"warn|reject|dead|only report|aussortier",
    "delete_flag": r"delet|gelöscht|remov",
    "method": r"post\b",
    "body": r"post\b|body",
    "headers": r"header",
    "database": r"duckdb|database|datenbank|\.db",
    "on_error": r"null|fehler|error|can't|cannot|invalid|ungültig",
    "initial_value": r"start|begin|since|from|ab|seit",
    "latest_by": r"latest|newest|neueste|duplicate",
    "duplicate_keys": r"duplicate|doppelt|dublette",
    "compression": r"compress|gzip|zstd|gz\b|snappy|komprim",
    "skip_rows": r"skip|first \w+ lines|überspring",
    "requests_per_second": r"per second|rate|pro sekunde",
    "salt": r"salt",
    "message": r"message|say|meldung",
}
_COMMON_STEPS = {
    "columns",
    "keys",
    "order_by",
    "where",
    "group_by",
    "by",
    "count",
    "query",
    "on_error",
    "how",
    "with",
    "on",
}
_HIDDEN_STEPS = {"offset", "salt", "suffix", "message", "name", "input", "severity"}


def schema(
    text: str,
    grounds: Grounds,
    *,
    connections: Mapping[str, str],
    names: Sequence[str] = (),
    examples: Iterable[Mapping[str, Any]] = (),
    allowed_destinations: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the schema of one answer: source or sources, transforms, checks and destination.

    `connections` are the ids that may be used, with their types; `names` what may be a column; `examples` are the
    configs that the prompt shows: the keys that they use may be used too.
    """
    examples = tuple(examples)
    used = _used(examples)
    several = grounds.several
    maker = _Maker(text, used, connections, tuple(names), several=several)
    steps = {
        "type": "array",
        "minItems": 1 if grounds.steps else 0,
        "maxItems": MAX_STEPS,
        "items": {"anyOf": [maker.step("transform", type_) for type_ in _types("transform")]},
    }
    checks = {
        "type": "array",
        "minItems": 1 if grounds.checks else 0,
        "maxItems": MAX_CHECKS,
        "items": {"anyOf": [maker.step("check", type_) for type_ in _types("check")]},
    }
    destination = maker.ends("destination", grounds.destinations, allowed_destinations)
    rest: dict[str, Any] = {"transforms": steps, "checks": checks}
    if not (grounds.destinations and _is_fixed(destination)):
        rest["destination"] = destination
    if len(grounds.sources) > 1:
        named = {
            name: maker.end("source", end)
            for name, end in zip(source_names(grounds.sources), grounds.sources, strict=True)
        }
        return _closed(rest if all(map(_is_fixed, named.values())) else {"sources": _closed(named), **rest})
    source = maker.ends("source", grounds.sources, ())
    if grounds.sources and _is_fixed(source):
        return _closed(rest)
    single = _closed({"source": source, **rest})
    if not several:
        return single
    free = {"type": "object", "additionalProperties": maker.ends("source", (), ())}
    return {"anyOf": [_closed({"sources": free, **rest}), single]}


def step_schemas(text: str, *, connections: Mapping[str, str], several: bool = False) -> list[dict[str, Any]]:
    """Return the schemas of all transforms and checks."""
    maker = _Maker(text, set(), connections, (), several=several)
    return [maker.step(kind, type_) for kind in ("transform", "check") for type_ in _types(kind)]


def _is_fixed(part: Mapping[str, Any]) -> bool:
    """Return whether a schema leaves nothing open: then there is nothing to ask for."""
    if "const" in part:
        return True
    if part.get("type") == "array":
        return len(part.get("items", {}).get("enum", ())) == 1
    properties = part.get("properties")
    return isinstance(properties, Mapping) and bool(properties) and all(map(_is_fixed, properties.values()))


def keys_of(wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that an answer by this schema has."""
    branches = wanted.get("anyOf", [wanted])
    return tuple(dict.fromkeys(key for branch in branches for key in branch["properties"]))


def shared_schema() -> dict[str, Any]:
    """Return the schema of any answer, the same for all requests, for providers that compile schemas."""
    return copy.deepcopy(_shared())


@cache
def _shared() -> dict[str, Any]:
    whole = json_schema()
    defs = copy.deepcopy(whole["$defs"])
    for definition in defs.values():  # what may be one or several is asked for in one of both ways: unions are counted
        properties = definition.get("properties", {})
        for key in _RARE & set(properties):
            del properties[key]
        if "path" in properties:
            properties["path"] = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            **{key: whole["properties"][key] for key in ANSWERED if key != "destination"},
            "destination": {"$ref": f"#/$defs/{_BASE['destination']}"},
        },
        "required": ["transforms", "checks", "destination"],
        "additionalProperties": False,
        "$defs": defs,
    }


_RARE = frozenset(
    {
        "allow_private", "auth", "compression", "create_schema", "errors", "grant", "keep_previous", "ledger_schema",
        "lock_timeout", "null_cursor", "on_lost", "partitions", "replace_scope", "retry", "schema_contract", "send",
        "slices", "stage_above", "stage_append", "statement_timeout", "total_timeout",
    }
)  # fmt: skip
"""Keys that people set by hand: without them, the choices of all components stay below what providers count to."""


def source_names(ends: Sequence[End]) -> list[str]:
    """Return a name for each of several sources: that of its table or file, made unique."""
    found: list[str] = []
    for number, end in enumerate(ends, 1):
        text = str(end.config.get("table") or end.config.get("endpoint") or end.config.get("path") or f"source{number}")
        last = [
            part
            for part in re.split(r"[/.]", re.sub(r"\.(?:csv|json|jsonl|ndjson|parquet|gz|zst|zip|bz2)\b", "", text))
            if re.search(r"[A-Za-z]", part)
        ]
        name = re.sub(r"\W+", "_", last[-1] if last else f"source{number}").strip("_") or f"source{number}"
        name = name if name[0].isalpha() else f"s_{name}"
        while name in found:
            name = f"{name}_{number}"
        found.append(name)
    return found


def impose(answer: Mapping[str, Any], grounds: Grounds) -> dict[str, Any]:
    """Return an answer in which everything that the request states stands as the request states it."""
    found: dict[str, Any] = {
        key: copy.deepcopy(value) for key, value in answer.items() if key in ANSWERED and value is not None
    }
    for key, kind in (("source", dict), ("sources", dict), ("transforms", list), ("checks", list)):
        if not isinstance(found.get(key, kind()), kind):
            del found[key]
    if len(grounds.sources) == 1 and not grounds.several and "sources" in found:
        # a request for one source gets one, whatever else an answer would read
        parts = [one for one in found.pop("sources").values() if isinstance(one, dict)]
        fitting = [one for one in parts if one.get("type") == grounds.sources[0].type]
        found.setdefault("source", (fitting or [{}])[0])
    if len(grounds.sources) == 1 and isinstance(found.get("source"), dict):
        found["source"] = _imposed(found["source"], grounds.sources[0])
    elif len(grounds.sources) > 1 and isinstance(found.get("sources"), dict):
        for name, end in zip(source_names(grounds.sources), grounds.sources, strict=True):
            if isinstance(found["sources"].get(name), dict):
                found["sources"][name] = _imposed(found["sources"][name], end)
    if "destination" in found:
        # as many destinations as the request tells, never one more
        given = found["destination"] if isinstance(found["destination"], list) else [found["destination"]]
        wanted = grounds.destinations or (End(),)
        parts = [one if isinstance(one, dict) else {} for one in given] + [{}] * len(wanted)
        ends = [_imposed(one, end) for one, end in zip(parts, wanted, strict=False)]
        found["destination"] = ends[0] if len(ends) == 1 else ends
    return found


def _imposed(component: Mapping[str, Any], end: End) -> dict[str, Any]:
    merged = {**component, **end.config}
    for one, other in (("table", "query"), ("query", "table")):
        if one in end.config:
            merged.pop(other, None)
    return {"type": merged.pop("type"), **merged} if "type" in merged else merged


def _types(kind: str) -> list[str]:
    mapping = json_schema()["$defs"][_BASE[kind]]["discriminator"]["mapping"]
    return list(mapping)


_BASE = {
    "source": "SourceConfig",
    "transform": "TransformConfig",
    "check": "CheckConfig",
    "destination": "DestinationConfig",
}


def _used(examples: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return (type, key) of everything that the examples' components say."""
    found = set()
    for config in examples:
        parts = [
            config.get("source"),
            *dict(config.get("sources") or {}).values(),
            *(config.get("transforms") or ()),
            *(config.get("checks") or ()),
        ]
        target = config.get("destination")
        parts += target if isinstance(target, list | tuple) else [target]
        found |= {
            (str(part["type"]), key) for part in parts if isinstance(part, Mapping) and "type" in part for key in part
        }
    return found


def _closed(properties: Mapping[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    left = set(optional)
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in left],
        "additionalProperties": False,
    }


@cache
def _inlined(kind: str, type_: str) -> dict[str, Any]:
    """Return the schema of a component with all references resolved."""
    whole = json_schema()
    defs = whole["$defs"]
    name = defs[_BASE[kind]]["discriminator"]["mapping"][type_].rsplit("/", 1)[-1]

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            rest = {key: value for key, value in part.items() if key != "$ref"}
            return {**resolved(defs[part["$ref"].rsplit("/", 1)[-1]]), **rest}
        return {key: resolved(value) for key, value in part.items()}

    made = resolved(defs[name])
    return dict(made)


class _Maker:
    def __init__(
        self,
        text: str,
        used: set[tuple[str, str]],
        connections: Mapping[str, str],
        names: tuple[str, ...],
        *,
        several: bool,
    ) -> None:
        self.text, self.used, self.connections, self.names, self.several = text, used, connections, names, several

    def ends(self, kind: str, ends: Sequence[End], allowed: Sequence[str]) -> dict[str, Any]:
        """Return the schema of the source or destination, or of several destinations."""
        if len(ends) > 1:
            return {
                "type": "array",
                "minItems": len(ends),
                "maxItems": len(ends),
                "items": {"anyOf": [self.end(kind, end, allowed) for end in ends]},
            }
        return self.end(kind, ends[0] if ends else End(), allowed)

    def end(self, kind: str, end: End, allowed: Sequence[str] = ()) -> dict[str, Any]:
        """Return the schema of one source or destination."""
        types = [end.type] if end.type in _types(kind) else [t for t in _types(kind) if self._fits(kind, t, end)]
        types = [type_ for type_ in types if not allowed or type_ in allowed] or types
        branches = [self._component(kind, str(type_), end) for type_ in types]
        return branches[0] if len(branches) == 1 else {"anyOf": branches}

    def _fits(self, kind: str, type_: str, end: End) -> bool:
        """Return whether a type can hold all that is known."""
        keys = _inlined(kind, type_)["properties"]
        if kind == "destination" and end.config.get("write_disposition") == "merge" and "primary_key" not in keys:
            return False
        if (
            "connection" in _inlined(kind, type_).get("required", ())
            and not self.connections
            and "connection" not in end.config
        ):
            return False
        return all(key in keys for key in end.config if key in ("table", "path", "connection", "endpoint", "database"))

    def _component(self, kind: str, type_: str, end: End) -> dict[str, Any]:
        inlined = _inlined(kind, type_)
        known = inlined["properties"]
        core = list(CORE[kind].get(type_) or [key for key in inlined.get("required", ()) if key != "type"])
        stated = [key for key in end.config if key in known and key != "type"]
        if "endpoint" in core and "table" in stated:
            stated.remove("table")
        more = [key for key in known if key not in (*core, *stated, "type") and self._wanted(type_, key)]
        if end.config.get("write_disposition") == "merge" and "primary_key" in known and "primary_key" not in core:
            core.append("primary_key")
            more = [key for key in more if key != "primary_key"]
        if "path" in core and str(end.config.get("path", "")).startswith("s3://") and "connection" in known:
            more = [key for key in more if key != "connection"]
            if self._connections(type_):
                core.append("connection")
        fields: dict[str, Any] = {"type": {"const": type_}}
        for key in (*core, *(key for key in stated if key not in core)):
            fields[key] = (
                {"const": end.config[key]} if _scalar(end.config.get(key)) else self._fixed(key, end, known, type_)
            )
        required = list(fields)
        if type_ in ("postgres", "sql") and kind == "source" and "query" in more and "table" not in stated:
            # one of two: a table or a query
            more.remove("query")
            with_query = {key: value for key, value in fields.items() if key != "table"}
            with_query["query"] = {"type": "string"}
            extra = {key: self._value(type_, key, known[key]) for key in more}
            return {"anyOf": [_closed({**fields, **extra}, more), _closed({**with_query, **extra}, more)]}
        fields |= {key: self._value(type_, key, known[key]) for key in more}
        return _closed(fields, [key for key in fields if key not in required])

    def _fixed(self, key: str, end: End, known: Mapping[str, Any], type_: str) -> Any:
        value = end.config.get(key)
        if isinstance(value, Mapping):
            return _closed({name: {"const": one} for name, one in value.items()})
        if isinstance(value, list | tuple) and value:
            return (
                {"type": "array", "minItems": len(value), "maxItems": len(value), "items": {"enum": list(value)}}
                if len(value) > 1
                else {"type": "array", "minItems": 1, "maxItems": 1, "items": {"enum": list(value)}}
            )
        return self._value(type_, key, known[key])

    def _wanted(self, type_: str, key: str) -> bool:
        if (type_, key) in self.used:
            return key not in _HIDDEN_STEPS or self._said(key)
        return key in _WORDS and self._said(key)

    def _said(self, key: str) -> bool:
        pattern = _WORDS.get(key)
        return pattern is not None and re.search(pattern, self.text, re.I) is not None

    def _connections(self, type_: str) -> list[str]:
        """Return the ids of connections that a component of this type may use."""
        fitting = {
            "postgres": ("postgres", "postgresql"),
            "http": ("http", "https"),
            "csv": ("aws", "s3"),
            "json": ("aws", "s3"),
            "parquet": ("aws", "s3"),
            "ndjson": ("aws", "s3"),
            "duckdb": ("duckdb",),
        }.get(type_)
        return [id_ for id_, kind in self.connections.items() if fitting is None or not kind or kind in fitting]

    def _value(self, type_: str, key: str, field: Mapping[str, Any]) -> dict[str, Any]:
        if key == "connection":
            fitting = self._connections(type_)
            return {"enum": fitting} if fitting else {"type": "string"}
        if key in ("primary_key", "cursor_field", "latest_by", "delete_flag") and self.names:
            one: dict[str, Any] = {"enum": list(self.names)}
            return {"type": "array", "items": one, "minItems": 1, "maxItems": 4} if key == "primary_key" else one
        if key in ("path", "order_by", "by", "lookback", "initial_value"):
            return {"type": "string"}
        if key == "merge_strategy":
            return {"enum": field.get("enum", ["upsert", "delete_insert", "scd2"])}
        return dict(field)

    def step(self, kind: str, type_: str) -> dict[str, Any]:
        """Return the schema of one transform or check."""
        inlined = _inlined(kind, type_)
        required = {"type", *inlined.get("required", ())}
        # a model that may leave `keys` or `columns` out does so too often
        if type_ in ("aggregate",):
            required |= {"group_by", "columns"}
        fields: dict[str, Any] = {"type": {"const": type_}}
        for key, field in inlined["properties"].items():
            if key == "type":
                continue
            if key in ("input", "name"):
                if self.several:
                    fields[key] = {"type": "string"}
                continue
            if key in _HIDDEN_STEPS and not self._said(key):
                continue
            fields[key] = self._step_value(type_, key, field)
        return _closed(fields, [key for key in fields if key not in required])

    def _step_value(self, type_: str, key: str, field: Mapping[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {"enum": list(self.names)} if self.names else {"type": "string"}
        if (
            type_ in ("drop", "not_null", "unique", "deduplicate", "aggregate")
            and key
            in (
                "columns",
                "keys",
                "group_by",
            )
            and not (type_ == "aggregate" and key == "columns")
        ):
            return {"type": "array", "items": named, "minItems": 1, "maxItems": 8}
        if type_ == "select" and key == "columns":
            return {"type": "array", "items": named, "minItems": 1, "maxItems": 16}
        if type_ in ("range", "accepted_values") and key == "column":
            return named
        if type_ == "join" and key == "on":
            return {"type": "array", "items": named, "minItems": 1, "maxItems": 4}
        if type_ == "join" and key == "columns":
            return {"type": "array", "items": named, "minItems": 1, "maxItems": 8}
        if key == "order_by":
            return {"type": "string"}
        if key == "by":
            return {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 4}
        if key in ("min", "max") and type_ == "range":
            return {"anyOf": [{"type": "number"}, {"type": "string"}]}
        if key == "values":
            return {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "number"}]},
                "minItems": 1,
                "maxItems": 20,
            }
        if key == "columns" and type_ == "fill_null":
            return {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]}}
        return dict(field)


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
