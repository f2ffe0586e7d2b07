"""Kafka Connect's schemas in JSON messages (`schemas.enable`), as Debezium writes them: types and values as Arrow.

A schema tells what JSON can't: that a number is a date or an instant, that a text is the bytes of a decimal. What is
nested other than a list of plain values becomes JSON text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Convert = Callable[[Any], Any]

_TIME = "io.debezium.time."
_DATA = "org.apache.kafka.connect.data."


def field_types(schema: Mapping[str, Any]) -> dict[str, tuple[pa.DataType, Convert]]:
    """Return name to Arrow type, and how a JSON value becomes one that Arrow takes, for the fields of a struct."""
    return {field["field"]: _type(field) for field in schema.get("fields") or ()}


def _type(schema: Mapping[str, Any]) -> tuple[pa.DataType, Convert]:
    import pyarrow as pa

    name, kind = schema.get("name") or "", schema.get("type")
    if name == f"{_DATA}Decimal":
        return _decimal(schema.get("parameters") or {})
    if name == "io.debezium.data.VariableScaleDecimal":
        return pa.string(), lambda value: str(_number(value["value"], int(value["scale"])))
    types: dict[str, tuple[pa.DataType, Convert]] = {
        f"{_TIME}Date": (pa.date32(), _same),
        f"{_DATA}Date": (pa.date32(), _same),
        f"{_TIME}Timestamp": (pa.timestamp("ms"), _same),
        f"{_DATA}Timestamp": (pa.timestamp("ms"), _same),
        f"{_TIME}MicroTimestamp": (pa.timestamp("us"), _same),
        f"{_TIME}NanoTimestamp": (pa.timestamp("ns"), _same),
        f"{_TIME}ZonedTimestamp": (pa.timestamp("us", "UTC"), _instant),
        f"{_TIME}Time": (pa.time32("ms"), _same),
        f"{_DATA}Time": (pa.time32("ms"), _same),
        f"{_TIME}MicroTime": (pa.time64("us"), _same),
        f"{_TIME}NanoTime": (pa.time64("ns"), _same),
    }
    if name in types:
        return types[name]
    if kind == "array":
        inner, convert = _type(schema.get("items") or {})
        if convert is not _to_json:
            return pa.list_(inner), lambda value: [None if one is None else convert(one) for one in value]
    plain: dict[Any, tuple[pa.DataType, Convert]] = {
        "int8": (pa.int8(), _same),
        "int16": (pa.int16(), _same),
        "int32": (pa.int32(), _same),
        "int64": (pa.int64(), _same),
        "float": (pa.float32(), float),
        "float32": (pa.float32(), float),
        "double": (pa.float64(), float),
        "float64": (pa.float64(), float),
        "boolean": (pa.bool_(), _same),
        "string": (pa.string(), str),
        "bytes": (pa.binary(), base64.b64decode),
    }
    return plain.get(kind, (pa.string(), _to_json))


def _same(value: Any) -> Any:
    return value


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _instant(value: str) -> datetime:
    from dataforge.components.bounds import parse_instant

    return parse_instant(value).astimezone(timezone.utc)


def _number(text: str, scale: int) -> Decimal:
    unscaled = int.from_bytes(base64.b64decode(text), "big", signed=True)
    # by its parts, for arithmetic would round to the context's digits
    return Decimal((unscaled < 0, tuple(map(int, str(abs(unscaled)))), -scale))


def _decimal(parameters: Mapping[str, str]) -> tuple[pa.DataType, Convert]:
    import pyarrow as pa

    scale = int(parameters.get("scale") or 0)
    precision = int(parameters.get("connect.decimal.precision") or 38)

    def convert(value: Any) -> Decimal | str:
        # decimal.handling.mode string or double leaves no such schema, but a converter may write plain numbers
        return _number(value, scale) if isinstance(value, str) else Decimal(str(value))

    if precision > 38 or not 0 <= scale <= precision:
        return pa.string(), lambda value: str(convert(value))
    return pa.decimal128(precision, scale), convert
