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
_TRIES = 8
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
        found: Any = _decoded(_decoder(split_path(path)), body)
    except msgspec.ValidationError:
        return None  # another kind of value stands on the way
    for _ in split_path(path):
        if found is None:
            return None
        found = found.value
    text = bytes(found).strip() if found is not None else b"null"
    return None if text == b"null" else text


def _decoded(decoder: Any, text: bytes | memoryview) -> Any:
    """Return what a decoder makes of a text; ValueError for one that is no JSON, or nested deeper than it can read."""
    try:
        return decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply to be read") from None


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
    text = value_at(body, path)
    if text is None:
        return None
    if text[:1] == b"{":
        return [text]
    if text[:1] != b"[":
        return None
    records: list[Any] = _decoded(_list_decoder(), text)
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
    try:
        _decoded(_decoder(()), text)
    except ValueError as error:
        return str(error)
    return ""


def with_members(text: bytes, members: bytes) -> bytes:
    """Return the text of a JSON object with the members of another one behind its own, on one line."""
    if b"\n" in text or b"\r" in text:  # between tokens: inside a string none can stand
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    if members == b"{}":
        return text
    body = text.rstrip()[:-1]
    return body + (b"" if len(body) < 16 and body.strip() == b"{" else b",") + members[1:]


def is_whole(line: bytes) -> bool:
    """Whether a line holds one object and nothing else, going by its marks alone: its values may be no JSON."""
    text, depth = line.strip(), 0
    if text[:1] != b"{":
        return False
    for match in _NESTING.finditer(text):
        if match[0] in (b"{", b"["):
            depth += 1
        elif match[0] in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return match.end() == len(text)
    return False


def keys_with_lists(body: bytes, *, of_objects: bool = False) -> list[str]:
    """Return the keys of a JSON object whose values are lists, where records may be.

    With `of_objects` only lists that hold objects count, and empty ones under a usual name.
    """
    import msgspec

    try:
        top = _decoded(msgspec.json.Decoder(dict[str, msgspec.Raw]), body)
    except ValueError:
        return []
    starts = {key: b"".join(bytes(value)[:64].split())[:2] for key, value in top.items()}
    if of_objects:
        return [key for key, head in starts.items() if head == b"[{" or (head == b"[]" and key in _USUAL)]
    return [key for key, head in starts.items() if head[:1] == b"["]


_USUAL = frozenset({"data", "entries", "items", "objects", "records", "results", "rows", "value", "values"})


def copy_records(source: IO[bytes], path: str, out: IO[bytes], name: str) -> tuple[int, bytes]:
    """Copy the list at a dotted path of a large JSON document to `out`, one record a line, in bounded memory.

    Returns the number of records and the document without them (an empty list in their place). TerminalError when there
    is no list or the document is cut short; ValueError when a record is no JSON.
    """
    wanted = split_path(path)
    tokens = _Tokens(source, name)
    stack: list[str | None] = []  # the key under which each open object or list stands
    key: str | None = None
    last: bytes | None = None
    for token in tokens.walk():
        if token in (b"{", b"["):
            here = (*(item for item in stack[1:] if item is not None), *((key,) if key is not None else ()))
            if token == b"[" and here == wanted and len(stack) == len(wanted):
                count = tokens.copy_list(out)
                return count, tokens.rest(b"[]")
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
        self.before = b""

    def walk(self) -> Iterator[bytes]:
        """Yield tokens; `at` stands after the one that was yielded last."""
        while True:
            for match in _TOKEN.finditer(self.buffer, self.at):
                if _is_cut(match):
                    break
                self.at = match.end()
                yield match[0]
            else:
                self.at = len(self.buffer)
            self.before += self.buffer[: self.at]
            if len(self.before) > MAX_TEXT:
                raise TerminalError(f"{self.name}: more than {MAX_TEXT} bytes stand before the list")
            if not self._more():
                return

    def copy_list(self, out: IO[bytes]) -> int:
        """Write the records from the `[` just read to the `]` that closes it, one a line; return how many."""
        self.before += self.buffer[: self.at - 1]
        count = 0
        while True:
            end = self._whole_records() or self._scanned()
            closed = end < len(self.buffer) and self.buffer[end : end + 1] == b"]"
            text = self.buffer[self.at : end].strip().removeprefix(b",") if count else self.buffer[self.at : end]
            if text.strip():
                records = _decoded(_list_decoder(), b"[" + text + b"]")
                write_lines(records, out)
                count += len(records)
            moved, self.at = end > self.at, end + closed
            if closed:
                return count
            if not self._more() and not moved:
                raise TerminalError(f"{self.name}: the JSON text ends in the middle of the list")

    def _whole_records(self) -> int:
        """Return where the last record that is whole in the buffer ends, as far as a few tries find it, else 0.

        A text that is a valid list once brackets are put around it can only end between two records.
        """
        end = len(self.buffer)
        for _ in range(_TRIES):
            end = self.buffer.rfind(b"}", self.at, end)
            if end < 0:
                return 0
            if self.buffer[end + 1 : end + 33].lstrip()[:1] != b",":
                continue
            text = self.buffer[self.at : end + 1].lstrip().removeprefix(b",")
            if not fault(b"[" + text + b"]"):
                return end + 1
        return 0

    def _scanned(self) -> int:
        """Return where the list or its last whole record in the buffer ends, found mark by mark."""
        depth, end = 0, self.at
        for match in _NESTING.finditer(self.buffer, self.at):
            if _is_cut(match):
                break
            mark = match[0]
            if mark in (b"[", b"{"):
                depth += 1
            elif mark in (b"]", b"}"):
                if depth == 0:
                    return match.start()
                depth -= 1
                if depth == 0:
                    end = match.end()
        return end

    def rest(self, instead: bytes) -> bytes:
        """Return the document with `instead` in the place of what was copied."""
        after = self.buffer[self.at :]
        self.at = len(self.buffer)
        while self._more():
            after += self.buffer
            self.at = len(self.buffer)
            if len(after) > MAX_TEXT:
                raise TerminalError(f"{self.name}: more than {MAX_TEXT} bytes follow the list")
        return self.before + instead + after

    def _more(self) -> bool:
        chunk = self.source.read(CHUNK)
        self.buffer = self.buffer[self.at :] + chunk
        self.at = 0
        if len(self.buffer) > MAX_TEXT:
            raise TerminalError(f"{self.name}: one record in it is longer than {MAX_TEXT} bytes")
        return bool(chunk)


def _is_cut(match: re.Match[bytes]) -> bool:
    """Whether a match is a string without its end."""
    return match[1] is None and match[0].startswith(b'"')
