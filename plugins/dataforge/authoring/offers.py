"""What a model may choose from where a value of a config is missing or wrong and any text would do by the schema.

A small model that may write any text writes anything; offered are conditions over columns that the config knows, names
that stand in it, and schedules that exist. What comes of a choice is always well formed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dataforge.authoring.clauses import quoted
from dataforge.authoring.settling import identifiers
from dataforge.components.base import JsonValue
from dataforge.gateway.schema import ENDS_AFTER

_SCHEDULES = ("@hourly", "@daily", "@weekly", "@monthly", "*/15 * * * *", "0 6 * * *", "0 0 * * 1-5")
_CONDITIONS = ("where", "expression")
_COMPARE = ("=", "<>", ">", "<", ">=", "<=")
_GIVEN = ("is not null", "is null")
_MAX_COLUMNS = 40


def schema(config: Mapping[str, Any], path: tuple[str, ...], refused: JsonValue) -> dict[str, Any] | None:
    """Return the JSON Schema of what is offered for a place; None where the place's own schema says enough."""
    key = path[-1]
    if key in _CONDITIONS and path[0] in ("transforms", "checks"):
        columns = list(dict.fromkeys(_columns(config)))[:_MAX_COLUMNS]
        if columns:
            return {
                "type": "object",
                "properties": {
                    "column": {"enum": columns},
                    "is": {"enum": [*_GIVEN, *_COMPARE]},
                    "value": {"type": "string", ENDS_AFTER: 200},
                },
                "required": ["column", "is", "value"],
                "additionalProperties": False,
            }
    if key == "table" and path[0] == "destination":
        names = [name for name in dict.fromkeys(_names(config)) if name != refused]
        return {"enum": names} if names else None
    if path == ("schedule",):
        return {"enum": [one for one in _SCHEDULES if one != refused]}
    return None


def value(path: tuple[str, ...], chosen: JsonValue) -> JsonValue:
    """Return the value of a config that a choice stands for."""
    if path[-1] not in _CONDITIONS or not isinstance(chosen, Mapping):
        return chosen
    column, operator, text = (str(chosen.get(key, "")) for key in ("column", "is", "value"))
    name = column if re.fullmatch(r"[A-Za-z_]\w*", column) else '"' + column.replace('"', '""') + '"'
    if operator in _GIVEN or operator not in _COMPARE:
        return f"{name} {operator if operator in _GIVEN else 'is not null'}"
    literal = text if re.fullmatch(r"-?\d{1,15}(?:\.\d{1,9})?", text) else quoted(text[:200])
    return f"{name} {operator} {literal}"


def _columns(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of columns that a config speaks of."""
    parts = [config.get("source"), *dict(config.get("sources") or {}).values()]
    for kind in ("transforms", "checks"):
        parts += config.get(kind) or ()
    target = config.get("destination")
    parts += target if isinstance(target, list | tuple) else [target]
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        for key in ("columns", "keys", "group_by", "primary_key", "on", "column", "cursor_field"):
            named = part.get(key)
            names = (
                [named] if isinstance(named, str) else list(named) if isinstance(named, Mapping | list | tuple) else []
            )
            yield from (name for name in names if isinstance(name, str) and re.fullmatch(r"[^\s()'\"]{1,63}", name))
            if isinstance(named, Mapping) and part.get("type") in ("rename", "select"):
                yield from (str(one) for one in named.values())
        for key in ("where", "expression"):
            if isinstance(part.get(key), str) and re.search(r"[=<>]", part[key]):
                yield from identifiers(re.sub(r"'[^']*'|\$\{[^}]*\}", "", part[key]))


def _names(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a table may be called after: what is read, and the pipeline."""
    for end in (config.get("source"), *dict(config.get("sources") or {}).values()):
        if isinstance(end, Mapping):
            told = end.get("table") or end.get("endpoint") or end.get("path")
            told = told[0] if isinstance(told, list | tuple) and told else told
            last = re.split(
                r"[/.]", re.sub(r"(?:\.\w{2,7}){1,2}$", "", str(told or "")) if "/" in str(told) else str(told or "")
            )
            for part in reversed(last):
                name = re.sub(r"\W+", "_", part).strip("_")
                if re.fullmatch(r"[A-Za-z]\w{0,62}", name) and name.lower() not in ("csv", "json", "parquet", "ndjson"):
                    yield name
                    break
    name = re.sub(r"\$\{[^}]*\}", "", str(config.get("dag_id") or ""))
    name = re.sub(r"\W+", "_", name).strip("_")
    if re.fullmatch(r"[A-Za-z]\w{0,62}", name):
        yield name
