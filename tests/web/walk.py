"""Every operation of the API, from its own description: none is forgotten, and a new one is walked from the start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.web.conftest import CONFIG

from dataforge.web.openapi import document

NAMES = {
    "file": "sales.json", "dag_id": "sales", "kind": "source", "type": "csv", "code": "delivery", "revision": "1",
    "text": CONFIG,
}  # fmt: skip
"""Values of parameters that stand for something that is there; others get one of their form."""
SAFE = ("GET", "HEAD")


@dataclass(frozen=True)
class Operation:
    """One operation with values for its parameters: its address below /api/v1, and a body of the form that it wants."""

    method: str
    template: str
    path: str
    body: Any = None
    is_open: bool = False
    is_about: bool = False
    """Whether it names a config or a DAG."""

    @property
    def changes(self) -> bool:
        """Whether it is more than a look."""
        return self.method not in SAFE

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def operations() -> Iterator[Operation]:
    """Yield all of them, with a body of each kind."""
    described = document()
    for template, methods in described["paths"].items():
        for method, told in methods.items():
            given = {one["name"]: one for one in told.get("parameters", ())}

            def value(found: re.Match[str], given: Mapping[str, Any] = given) -> str:
                name = found.group(1)
                return quote(str(NAMES.get(name) or instance(given[name]["schema"], described)))

            path = re.sub(r"{([^}]+)}", value, template).removeprefix("/api/v1")
            content = told.get("requestBody", {}).get("content", {}).get("application/json")
            for schema in _kinds(content["schema"], described) if content else (None,):
                names = {*given, *(schema or {}).get("properties", ())}
                yield Operation(
                    method.upper(), template.removeprefix("/api/v1"), path,
                    None if schema is None else instance(schema, described),
                    "security" not in told, bool({"file", "dag_id"} & names),
                )  # fmt: skip


def _kinds(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in schema:
        schema = whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for one in schema.get("oneOf", ()):
        yield from _kinds(one, whole)
    if "oneOf" not in schema:
        yield schema


def instance(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:
    """Return the smallest value of a schema's form."""
    if "$ref" in schema:
        return instance(whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            return instance(schema[key][0], whole)
    match schema.get("type"):
        case "object":
            wanted = {*schema.get("required", ()), "file"}
            parts = {name: one for name, one in schema.get("properties", {}).items() if name in wanted}
            return {
                name: NAMES[name] if name in {"file", "dag_id", "text"} else instance(one, whole)
                for name, one in parts.items()
            }
        case "array":
            return [instance(schema["items"], whole)] * schema.get("minItems", 0)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "string":
            return ("word " * 100)[: max(schema.get("minLength", 0), 4)]
    return {}
