"""The component reference: what every component is configured with, read from its config model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dataforge.components.registry import Component


def describe(kind: str, component: Component[Any]) -> dict[str, Any]:
    """Return a component as plain data: kind, type, summary and fields with type, default, description, examples."""
    schema = component.config.model_json_schema()
    return {
        "kind": kind,
        "type": component.type,
        "summary": component.summary,
        "fields": fields(
            schema, component.config.model_construct(type=component.type).model_dump(mode="json", warnings=False)
        ),
        "objects": [
            {"name": shown, "fields": fields({"$defs": schema.get("$defs", {}), **definition}, {})}
            for shown, definition in _objects(schema)
        ],
    }


def fields(schema: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of an object's JSON Schema, but for its `type`."""
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "type": type_text(field, schema.get("$defs", {})),
            "required": name in required,
            "default": defaults.get(name, field.get("default")),
            "description": field.get("description", ""),
            "examples": field.get("examples", []),
        }
        for name, field in schema["properties"].items()
        if name != "type"
    ]


def _objects(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (shown name, schema) of the objects that fields of a component may hold."""
    for definition in schema.get("$defs", {}).values():
        if "properties" in definition and len(definition["properties"]) > ("type" in definition["properties"]):
            shown = definition["properties"].get("type", {}).get("const") or definition["title"]
            yield str(shown), {**definition, "$defs": schema["$defs"]}


def type_text(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a JSON Schema type as a person would say it."""
    if "$ref" in field:
        return type_text(definitions[field["$ref"].rsplit("/", 1)[-1]], definitions)
    if "enum" in field:
        return " or ".join(json.dumps(value) for value in field["enum"])
    if "const" in field:
        return json.dumps(field["const"])
    for union in ("anyOf", "oneOf"):
        if union in field:
            parts: list[str] = [type_text(part, definitions) for part in field[union]]
            return " or ".join(dict.fromkeys(part for part in parts if part != "null"))
    kind = field.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(_WORDS.get(one, str(one)) for one in kind)
    if kind == "array":
        return f"list of {type_text(field.get('items', {}), definitions)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"object of {type_text(field['additionalProperties'], definitions)}"
    if kind == "object" and (discriminator := field.get("properties", {}).get("type", {}).get("const")):
        return f'object "{discriminator}"'
    return _WORDS.get(kind, str(kind))


_WORDS = {"string": "text", "boolean": "true/false"}


def as_markdown(components: Iterable[tuple[str, Component[Any]]]) -> str:
    """Return the reference page of all given (kind, component) pairs."""
    lines = [
        "# Components",
        "",
        "Made by `dataforge components --format markdown` from the config models; not to be edited by hand.",
        "",
    ]
    last = None
    for kind, component in components:
        if kind != last:
            lines += [f"## {kind.capitalize()}s", ""]
            last = kind
        data = describe(kind, component)
        lines += [f"### {kind} `{component.type}`", "", data["summary"], "", *_table(data["fields"])]
        for one in data["objects"]:
            lines += [f"Keys of an object `{one['name']}`:", "", *_table(one["fields"])]
    return "\n".join(lines)


def _table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for field in rows:
        default = "required" if field["required"] else f"`{json.dumps(field['default'])}`"
        example = f" Example: `{json.dumps(field['examples'][0])}`" if field["examples"] else ""
        meaning = f"{field['description']}{example}".replace("|", "\\|")
        lines.append(f"| `{field['name']}` | {field['type']} | {default} | {meaning} |".replace("\n", " "))
    return [*lines, ""]
