"""Avro records as Arrow: what each Avro type becomes, and records of one schema written as Parquet.

A logical type becomes the Arrow type of the same meaning. A union of more than one type besides null, for which neither
Arrow nor SQL has a type, becomes JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dataforge.components.base import JsonValue

if TYPE_CHECKING:
    import pyarrow as pa

Convert = Callable[[Any], Any] | None
"""Turns a decoded value into one that Arrow takes; None where it takes it as it is."""


def arrow_type(schema: Any, named: Mapping[str, Any], depth: int = 0) -> tuple[pa.DataType, Convert]:
    """Return the Arrow type of a parsed Avro schema and how values get there; `named` are the schemas by full name.

    A type that holds itself becomes JSON text from its tenth level on.
    """
    import pyarrow as pa

    if depth > 10:
        return pa.string(), _as_json
    if isinstance(schema, list):
        others = [one for one in schema if one != "null"]
        return arrow_type(others[0], named, depth) if len(others) == 1 else (pa.string(), _as_json)
    if isinstance(schema, str):
        if schema in named:
            return arrow_type(named[schema], named, depth)
        return _plain()[schema], None
    kind = schema["type"]
    if (logical := _logical(schema)) is not None:
        return logical
    if kind in ("record", "error"):
        return _record(schema, named, depth)
    if kind == "array":
        inner, convert = arrow_type(schema["items"], named, depth + 1)
        return pa.list_(inner), convert and _each(convert)
    if kind == "map":
        inner, convert = arrow_type(schema["values"], named, depth + 1)
        return pa.map_(pa.string(), inner), _pairs(convert)
    if kind == "enum":
        return pa.string(), None
    if kind == "fixed":
        return pa.binary(), None
    return arrow_type(kind, named, depth)


def record_schema(schema: Any, named: Mapping[str, Any]) -> tuple[pa.Schema, dict[str, Convert]]:
    """Return the Arrow schema of an Avro record and how the values of its fields get there."""
    import pyarrow as pa

    found = {field["name"]: arrow_type(field["type"], named) for field in schema["fields"]}
    return pa.schema([(name, type_) for name, (type_, _) in found.items()]), {
        name: convert for name, (_, convert) in found.items()
    }


def _plain() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "null": pa.string(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "bytes": pa.binary(),
        "string": pa.string(),
    }


def _logical(schema: Mapping[str, Any]) -> tuple[pa.DataType, Convert] | None:
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "date": pa.date32(),
        "time-millis": pa.time64("us"),
        "time-micros": pa.time64("us"),
        "timestamp-millis": pa.timestamp("ms", "UTC"),
        "timestamp-micros": pa.timestamp("us", "UTC"),
        "local-timestamp-millis": pa.timestamp("ms"),
        "local-timestamp-micros": pa.timestamp("us"),
    }
    name = schema.get("logicalType", "")
    if name == "decimal" and schema["type"] in ("bytes", "fixed"):
        precision = int(schema.get("precision") or 38)
        scale = int(schema.get("scale") or 0)
        return (pa.decimal128(precision, scale), None) if precision <= 38 else (pa.string(), str_or_none)
    if name == "uuid":
        return pa.string(), str_or_none
    return (types[name], None) if name in types else None


def _record(schema: Mapping[str, Any], named: Mapping[str, Any], depth: int) -> tuple[pa.DataType, Convert]:
    import pyarrow as pa

    fields = {field["name"]: arrow_type(field["type"], named, depth + 1) for field in schema["fields"]}
    if not fields:
        return pa.string(), _as_json
    converts = {name: convert for name, (_, convert) in fields.items() if convert is not None}
    type_ = pa.struct([(name, inner) for name, (inner, _) in fields.items()])
    if not converts:
        return type_, None

    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {key: converts[key](inner) if key in converts else inner for key, inner in value.items()}

    return type_, convert


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else [convert(item) for item in value]


def _pairs(convert: Convert) -> Callable[[Any], Any]:
    def pairs(value: Any) -> Any:
        if value is None:
            return None
        return [(key, convert(item) if convert else item) for key, item in value.items()]

    return pairs


def str_or_none(value: Any) -> str | None:
    """Return a value as text."""
    return None if value is None else str(value)


def _as_json(value: JsonValue) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=_text)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
