"""Small values of low-code manifests in our terms: durations, formats, places of parameters, predicates."""

from __future__ import annotations

import ast
import re
from typing import Any

from dataforge.imports.interpolation import access, only

Json = Any
Node = dict[str, Json]

LOCATIONS = {"request_parameter": "query", "header": "header", "body_json": "body", "body_data": "body"}
_DURATION = re.compile(
    r"\AP(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z"
)
_SECONDS = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60, 1)


def part_name(text: str) -> str:
    """Return the nearest name of a partition or parameter."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return name if name[:1].isalpha() or name[:1] == "_" else f"p_{name}"


def fits(kind: str, value: Json) -> bool:
    """Whether a value is of a parameter's type, as far as numbers and booleans go."""
    return isinstance(value, bool) == (kind == "boolean") and not (kind == "integer" and isinstance(value, float))


def iso_seconds(text: Json) -> float | None:
    """Return the seconds of an ISO 8601 duration, a month as 30 days and a year as 365; None for other texts."""
    match = _DURATION.match(text) if isinstance(text, str) else None
    if not match or not any(match.groups()):
        return None
    return sum(float(part or 0) * size for part, size in zip(match.groups(), _SECONDS, strict=True))


def iso_duration(text: Json) -> str | None:
    """Return an ISO 8601 duration as ours; a month counts 30 days, a year 365."""
    seconds = iso_seconds(text)
    if seconds is None or seconds <= 0:
        return None
    if seconds < 0.001:
        return "1ms"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        if seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms"


def time_format(text: str) -> str:
    """Return how times are written, in our words."""
    return {"%s": "epoch", "%s_as_float": "epoch", "%ms": "epoch_ms", "": "iso"}.get(text, text)


def predicate(text: str) -> Node | None:
    """Return path and value of a predicate on the answer's body."""
    node = only(text)
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        # `'error' in response and response.error == 'x'`: the second says it all
        node = node.values[-1]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = node.left, node.comparators[0]
        if isinstance(node.ops[0], ast.In) and isinstance(left, ast.Constant):
            found = access(right)
            if found and found[0] == "response":
                return {"path": ".".join((*found[1], str(left.value)))}
        found = access(left)
        if isinstance(node.ops[0], ast.Eq) and isinstance(right, ast.Constant) and found and found[0] == "response":
            return {"path": ".".join(found[1]), "equals": right.value}
    found = access(node)
    return {"path": ".".join(found[1])} if found and found[0] == "response" and found[1] else None
