"""Strict JSON: what a config or a table of defaults may look like as a text.

Good texts take the fast path through C's `json`. Only when it objects does the scanner run, which knows places.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from dataforge.components.base import JsonValue
from dataforge.config.positions import MAX_DEPTH, MAX_DIGITS, Fault, locate
from dataforge.errors import ConfigError, Problem

_SUSPICIOUS = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_FAR = (float("inf"), float("-inf"))
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK": "zip"}


class JsonError(ConfigError):
    """The text is not strict JSON; `faults` say what and where, at least one."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        super().__init__(
            Problem(fault.code, f"line {fault.line}, column {fault.column}: {fault.message}", (), fault.suggestion)
            for fault in faults
        )

    @property
    def at_end(self) -> bool:
        """Whether the text merely breaks off, as a file does that is still being written."""
        return any(fault.at_end for fault in self.faults)

    def __reduce__(self) -> Any:
        return type(self), (self.faults,)


def read_json(data: str | bytes, *, max_bytes: int = 1_000_000) -> JsonValue:
    """Return the value of a JSON text; JsonError tells every fault up to the first syntax error.

    Faults besides syntax: duplicate keys, NaN and Infinity, numbers beyond range or of more than 1,000 characters,
    nesting deeper than 64, lone surrogates, NUL, a byte order mark, text after the end, and more than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    text = decode(data) if isinstance(data, bytes) else data
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except (ValueError, RecursionError):
        explain(text)
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        explain(text)
    if _SUSPICIOUS.search(text) or not _encodable(text):
        faults = locate(text).faults
        if faults:
            raise JsonError(faults)
    return value


def decode(data: bytes) -> str:
    """Return the bytes as UTF-8 text; JsonError with line and column of the first byte that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        other = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), None)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8" + (f"; the file looks like {other}" if other else "")
        at_end = error.end == len(data) and error.reason == "unexpected end of data"
        raise JsonError((Fault("not-utf8", message, line, column, "", "save it as UTF-8", at_end),)) from None


def too_large(size: int, limit: int) -> JsonError:
    """Return the error of a text that was not even looked at."""
    message = f"the file has {size:,} bytes; at most {limit:,} are read"
    return JsonError((Fault("too-large", message, 1, 1, "", "split it, or raise [dataforge] max_config_bytes"),))


def explain(text: str) -> NoReturn:
    """Raise the faults that the scanner finds in a text that the fast path refused."""
    faults = locate(text).faults
    raise JsonError(faults or (Fault("syntax-error", "this is not JSON", 1, 1),))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if len(text) > MAX_DIGITS or value in _FAR:
        raise ValueError("number out of range")
    return value


def _bounded(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("number too long")
    return int(text)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _depth(value: JsonValue) -> int:
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [part for each in level for part in (each.values() if isinstance(each, dict) else each)]
    return depth
