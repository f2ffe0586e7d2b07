"""Edits of a JSON text by JSON Patch (RFC 6902) that leave every other byte as it was.

    edit(text, [Operation("replace", "/source/path", "orders.csv")]) -> text
    patch(value, operations) -> value            # the same on plain JSON; `edit` holds itself to it

`move` within one object keeps the key's place, so that a renamed key stays on its line.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # public in use, absent from typeshed
from typing import Any, Literal

from dataforge.components.base import JsonValue
from dataforge.config.positions import Positions, escape, locate, parent

_BLANK = re.compile(r"[ \t\n\r]*")
_WIDTH = 100
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Operation:
    """One operation of JSON Patch; `from_` is the place that a move takes its value from."""

    op: Literal["add", "replace", "remove", "move"]
    path: str
    value: Any = None
    from_: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as RFC 6902 writes it."""
        if self.op == "move":
            return {"op": "move", "from": self.from_, "path": self.path}
        return {"op": self.op, "path": self.path} | ({} if self.op == "remove" else {"value": self.value})


class EditError(ValueError):
    """An operation names a place that is not there, or can't be done."""


def tokens(pointer: str) -> tuple[str, ...]:
    """Return the keys and indexes of a JSON pointer, as texts."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def at(value: JsonValue, pointer: str) -> JsonValue:
    """Return the value at a pointer; EditError when there is none."""
    for token in tokens(pointer):
        value = _step(value, token, pointer)
    return value


def exists(value: JsonValue, pointer: str) -> bool:
    """Return whether there is a value at a pointer."""
    try:
        at(value, pointer)
    except EditError:
        return False
    return True


def patch(value: JsonValue, operations: Iterable[Operation]) -> JsonValue:
    """Return a copy of `value` with the operations done one after the other; EditError when one can't be."""
    value = copy.deepcopy(value)
    for operation in operations:
        value = _patch(value, operation)
    return value


def edit(text: str, operations: Iterable[Operation]) -> str:
    """Return a strict JSON text with the operations done, everything else byte for byte as it was."""
    for operation in operations:
        before = json.loads(text)
        text = _edit(text, operation)
        if json.loads(text) != _patch(copy.deepcopy(before), operation):
            raise AssertionError(f"the edit at {operation.path!r} changed something else")
    return text


def differences(before: JsonValue, after: JsonValue, pointer: str = "") -> Iterator[str]:
    """Yield the pointer of each smallest place at which two values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            place = f"{pointer}/{escape(key)}"
            if key not in before or key not in after:
                yield place
            else:
                yield from differences(before[key], after[key], place)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{pointer}/{index}")
    elif type(before) is not type(after) or before != after:
        yield pointer


def members(text: str, start: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield (key, start of the key, start and end of its value) of the object at an offset, repeated keys too."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        key_start = at
        key, at = scanstring(text, at + 1, False)
        value_start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, value_start)
        yield key, key_start, value_start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def cut(text: str, start: int, end: int) -> str:
    """Return the text without the member or item at these offsets, and without the comma that it needs no more."""
    following = _skip(text, end)
    if text[following] == ",":
        return text[:start] + text[_skip(text, following + 1) :]
    before = len(text[:start].rstrip(" \t\r\n"))
    if text[before - 1] == ",":
        return text[: before - 1] + text[end:]
    return text[:before] + text[following:]


def render(value: JsonValue, *, margin: str = "", unit: str = "  ", width: int = _WIDTH) -> str:
    """Return JSON on one line where it fits, else one member or item a line below `margin`."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(line) + len(margin) <= width:
        return line
    inner = margin + unit
    if isinstance(value, dict):
        parts = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {render(part, margin=inner, unit=unit, width=width)}"
            for key, part in value.items()
        ]
        return "{\n" + ",\n".join(parts) + f"\n{margin}}}"
    parts = [inner + render(part, margin=inner, unit=unit, width=width) for part in value]
    return "[\n" + ",\n".join(parts) + f"\n{margin}]"


def _step(value: JsonValue, token: str, pointer: str) -> JsonValue:
    if isinstance(value, Mapping) and token in value:
        return value[token]
    if isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", token) and int(token) < len(value):
        return value[int(token)]
    raise EditError(f"there is nothing at {pointer!r}")


def _patch(value: JsonValue, operation: Operation) -> JsonValue:
    if operation.op == "move":
        moved = at(value, operation.from_)
        if operation.path == operation.from_:
            return value
        if operation.path.startswith(f"{operation.from_}/"):
            raise EditError(f"{operation.from_!r} can't be moved into itself")
        if _is_rename(value, operation):
            return _renamed(value, operation)
        value = _patch(value, Operation("remove", operation.from_))
        return _patch(value, Operation("add", operation.path, moved))
    if not operation.path:
        if operation.op == "remove":
            raise EditError("the whole config can't be removed")
        return copy.deepcopy(operation.value)
    holder, token = at(value, parent(operation.path)), tokens(operation.path)[-1]
    if operation.op != "add":
        _step(holder, token, operation.path)
    if isinstance(holder, dict):
        if operation.op == "remove":
            del holder[token]
        else:
            holder[token] = copy.deepcopy(operation.value)
        return value
    if not isinstance(holder, list):
        raise EditError(f"{parent(operation.path)!r} holds no keys or items")
    if operation.op == "remove":
        del holder[int(token)]
    elif operation.op == "replace":
        holder[int(token)] = copy.deepcopy(operation.value)
    else:
        holder.insert(_index(token, len(holder), operation.path), copy.deepcopy(operation.value))
    return value


def _index(part: str, length: int, pointer: str) -> int:
    if part == "-":
        return length
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", part) or int(part) > length:
        raise EditError(f"{pointer!r} is no place of a list of {length} items")
    return int(part)


def _is_rename(value: JsonValue, operation: Operation) -> bool:
    holder = parent(operation.path)
    return (
        holder == parent(operation.from_)
        and isinstance(at(value, holder), dict)
        and tokens(operation.path)[-1] not in at(value, holder)
    )


def _renamed(value: JsonValue, operation: Operation) -> JsonValue:
    holder = at(value, parent(operation.path))
    old, new = tokens(operation.from_)[-1], tokens(operation.path)[-1]
    items = [(new if key == old else key, part) for key, part in holder.items()]
    holder.clear()
    holder.update(items)
    return value


def _edit(text: str, operation: Operation) -> str:
    places = locate(text)
    value = json.loads(text)
    if operation.op == "move":
        moved = at(value, operation.from_)
        if operation.path == operation.from_:
            return text
        if _is_rename(value, operation):
            start = places.keys[operation.from_]
            _, end = scanstring(text, start + 1, False)
            return text[:start] + json.dumps(tokens(operation.path)[-1], ensure_ascii=False) + text[end:]
        text = _edit(text, Operation("remove", operation.from_))
        return _edit(text, Operation("add", operation.path, moved))
    _patch(copy.deepcopy(value), operation)  # raises for places that are not there
    if operation.op == "remove":
        start = places.keys.get(operation.path, places.values[operation.path])
        return cut(text, start, _end(text, places.values[operation.path]))
    holder = at(value, parent(operation.path)) if operation.path else None
    token = tokens(operation.path)[-1] if operation.path else ""
    if operation.op == "replace" or not operation.path or (isinstance(holder, dict) and token in holder):
        start = places.values[operation.path]
        end = _end(text, start)
        many = "\n" in text[start:end]
        new = render(operation.value, margin=_margin(text, start), unit=_unit(text), width=0 if many else _WIDTH)
        return text[:start] + new + text[end:]
    return _insert(text, places, operation, holder, token)


def _insert(text: str, places: Positions, operation: Operation, holder: JsonValue, token: str) -> str:
    """Put a new member at the end of its object, or a new item at its index."""
    opened = places.values[parent(operation.path)]
    end = _end(text, opened)
    unit = _unit(text)
    named = f"{json.dumps(token, ensure_ascii=False)}: " if isinstance(holder, dict) else ""
    outer = _margin(text, opened)
    if not holder:
        if "\n" in text[opened:end] or not parent(operation.path):
            new = named + render(operation.value, margin=outer + unit, unit=unit)
            return f"{text[: opened + 1]}\n{outer}{unit}{new}\n{outer}{text[end - 1 :]}"
        return text[: opened + 1] + named + render(operation.value, margin=outer, unit=unit) + text[end - 1 :]
    first = _skip(text, opened + 1)
    spread = "\n" in text[opened:first]
    margin = _margin(text, first) if spread else outer
    new = named + render(operation.value, margin=margin, unit=unit)
    gap = f"\n{margin}" if spread else " "
    index = len(holder) if isinstance(holder, dict) else _index(token, len(holder), operation.path)
    if index < len(holder):
        start = places.values[f"{parent(operation.path)}/{index}"]
        return text[:start] + new + "," + gap + text[start:]
    last = len(text[: end - 1].rstrip(" \t\r\n"))
    return text[:last] + "," + gap + new + text[last:]


def _end(text: str, start: int) -> int:
    _, end = _DECODER.raw_decode(text, start)
    return int(end)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match
    return match.end()


def _margin(text: str, offset: int) -> str:
    """Return the white space that the line of an offset begins with."""
    start = text.rfind("\n", 0, offset) + 1
    match = re.match(r"[ \t]*", text[start:offset])
    return match.group() if match else ""


def _unit(text: str) -> str:
    """Return what one level of indentation is in a text."""
    match = re.search(r"\n([ \t]+)\S", text)
    return match[1] if match else "  "
