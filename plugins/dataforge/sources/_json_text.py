"""Taking records out of JSON text as they stand, without turning their values into Python objects.

Numbers keep their digits and nothing is rounded, since a record is copied, not parsed and printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import IO, Any

from dataforge.errors import TerminalError

CHUNK = 4 * 1024 * 1024
MAX_DEPTH = 1_000
MAX_TEXT = 64 * 1024 * 1024
# A string that the text's end cuts off is matched too, without the group that stands for its closing quote.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*(?:(")|\\?\Z)'
_TOKEN = re.compile(_STRING + rb"|[\[\]{}:,]", re.DOTALL)
_NESTING = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)


def split_path(path: str) -> tuple[str, ...]:
    """Return the keys of a dotted path; none for an empty one."""
    return tuple(path.split(".")) if path else ()


def value_at(body: bytes | memoryview, path: str) -> bytes | None:
    """Return the JSON text of the value at a dotted path, None when it is missing or null; ValueError for bad JSON."""
    import msgspec

    try:
        found: Any = _decoder(split_path(path)).decode(body)
    except msgspec.ValidationError:
        return None  # another kind of value stands on the way
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    for _ in split_path(path):
        if found is None:
            return None
        found = found.value
    text = bytes(found).strip() if found is not None else b"null"
    return None if text == b"null" else text


@cache
def _decoder(keys: tuple[str, ...]) -> Any:
    import msgspec

    type_: Any = msgspec.Raw
    for key in reversed(keys):
        type_ = msgspec.defstruct(
            "Level", [("value", type_ | None if type_ is not msgspec.Raw else type_, None)], rename={"value": key}
        )
    return msgspec.json.Decoder(type_)


def records_at(body: bytes | memoryview, path: str) -> list[Any] | None:
    """Return the records at a dotted path, each as its own JSON text; one object counts as one record.

    None when there is no list and no object; ValueError for bad JSON.
    """
    import msgspec

    text = value_at(body, path)
    if text is None:
        return None
    if text[:1] == b"{":
        return [text]
    if text[:1] != b"[":
        return None
    try:
        records: list[Any] = _list_decoder().decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    return records


@cache
def _list_decoder() -> Any:
    import msgspec

    return msgspec.json.Decoder(list[msgspec.Raw])


def write_lines(records: list[Any], out: IO[bytes]) -> None:
    """Write records one a line. A line break between tokens becomes a space; inside a JSON string none can stand."""
    if not records:
        return
    block = b"\n".join(map(bytes, records))
    if block.count(b"\n") != len(records) - 1:
        block = b"\n".join(bytes(item).replace(b"\n", b" ").replace(b"\r", b" ") for item in records)
    out.write(block + b"\n")


def fault(text: bytes) -> str:
    """Return what keeps a text from being JSON, or nothing."""
    import msgspec

    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return str(error)
    return ""


def keys_with_lists(body: bytes, *, of_objects: bool = False) -> list[str]:
    """Return the keys of a JSON object whose values are lists, where records may be.

    With `of_objects` only lists that hold objects count, and empty ones under a usual name.
    """
    import msgspec

    try:
        top = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return []
    starts = {key: b"".join(bytes(value)[:64].split())[:2] for key, value in top.items()}
    if of_objects:
        return [key for key, head in starts.items() if head == b"[{" or (head == b"[]" and key in _USUAL)]
    return [key for key, head in starts.items() if head[:1] == b"["]


_USUAL = frozenset({"data", "entries", "items", "objects", "records", "results", "rows", "value", "values"})


def copy_list(source: IO[bytes], path: str, out: IO[bytes], name: str) -> None:
    """Copy the list at a dotted path of a large JSON document to `out`, in bounded memory; TerminalError if absent."""
    wanted = split_path(path)
    tokens = _Tokens(source, name)
    stack: list[str | None] = []  # the key under which each open object or list stands
    key: str | None = None
    last: bytes | None = None
    for token in tokens.walk(_TOKEN):
        if token in (b"{", b"["):
            here = (*(item for item in stack[1:] if item is not None), *((key,) if key is not None else ()))
            if token == b"[" and here == wanted and len(stack) == len(wanted):
                tokens.copy_nested(out)
                return
            stack.append(key)
            if len(stack) > MAX_DEPTH:
                raise TerminalError(f"{name}: nested deeper than {MAX_DEPTH} levels")
            key = None
        elif token in (b"}", b"]"):
            if stack:
                stack.pop()
            key = None
        elif token == b":" and last is not None:
            key = _text(last)
        elif token == b",":
            key = None
        last = token
    raise TerminalError(f"{name}: there is no list at {path!r}")


def _text(token: bytes) -> str:
    import msgspec

    try:
        return str(msgspec.json.decode(token))
    except msgspec.DecodeError:
        return ""


class _Tokens:
    """Walks over the strings and marks of a JSON text, holding one chunk at a time."""

    def __init__(self, source: IO[bytes], name: str) -> None:
        self.source, self.name = source, name
        self.buffer = b""
        self.at = 0

    def walk(self, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
        """Yield tokens; `at` stands after the one that was yielded last."""
        while True:
            for match in pattern.finditer(self.buffer, self.at):
                if _is_cut(match):
                    break
                self.at = match.end()
                yield match[0]
            else:
                self.at = len(self.buffer)
            if not self._more():
                return

    def copy_nested(self, out: IO[bytes]) -> None:
        """Copy from the `[` just read to the `]` that closes it."""
        out.write(b"[")
        depth = 1
        while True:
            start, rest = self.at, len(self.buffer)
            for match in _NESTING.finditer(self.buffer, self.at):
                if _is_cut(match):
                    rest = match.start()
                    break
                mark = match[0]
                if mark in (b"[", b"{"):
                    depth += 1
                elif mark in (b"]", b"}"):
                    depth -= 1
                    if depth == 0:
                        out.write(self.buffer[start : match.end()])
                        return
            out.write(self.buffer[start:rest])
            self.at = rest
            if not self._more():
                raise TerminalError(f"{self.name}: the JSON text ends in the middle of the list")

    def _more(self) -> bool:
        chunk = self.source.read(CHUNK)
        self.buffer = self.buffer[self.at :] + chunk
        self.at = 0
        if len(self.buffer) > MAX_TEXT:
            raise TerminalError(f"{self.name}: one text in it is longer than {MAX_TEXT} bytes")
        return bool(chunk)


def _is_cut(match: re.Match[bytes]) -> bool:
    """Whether a match is a string without its end."""
    return match[1] is None and match[0].startswith(b'"')
