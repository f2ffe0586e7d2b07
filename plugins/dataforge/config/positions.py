"""Where things stand in a JSON text, and what is wrong with it, place by place.

The fast reader (`json_reader`) uses C's `json`; this scanner runs only when a place is asked for. It keeps its own
stack, so depth costs memory and never the interpreter.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # public in use, absent from typeshed

MAX_DEPTH = 64
MAX_DIGITS = 1_000
MAX_FAULTS = 100

_BLANK = re.compile(r"[ \t\n\r]*")
_LINE_END = re.compile(r"\r\n|\n|\r")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[-+]?[A-Za-z0-9_$.+-]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LITERALS = ("true", "false", "null")
_HINTS = {
    "True": "JSON writes true",
    "False": "JSON writes false",
    "None": "JSON writes null",
    "undefined": "JSON writes null",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a JSON text. Line and column count from 1; `at_end` tells a text that breaks off."""

    code: str
    message: str
    line: int
    column: int
    pointer: str = ""
    suggestion: str | None = None
    at_end: bool = False


@dataclass(frozen=True)
class Positions:
    """Offsets of keys and values by JSON pointer. Of a key given twice the last counts, as in `json`."""

    text: str = field(repr=False)
    values: Mapping[str, int] = field(repr=False)
    keys: Mapping[str, int] = field(repr=False)
    faults: tuple[Fault, ...] = ()

    def value(self, pointer: str) -> tuple[int, int] | None:
        """Return (line, column) where the value at `pointer` begins, from 1; None when there is none."""
        return self._place(self.values.get(pointer))

    def key(self, pointer: str) -> tuple[int, int] | None:
        """Return (line, column) of the key whose value stands at `pointer`; None for the root and list items."""
        return self._place(self.keys.get(pointer))

    def _place(self, offset: int | None) -> tuple[int, int] | None:
        if offset is None:
            return None
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def _line_starts(self) -> list[int]:
        known: list[int] | None = self.__dict__.get("starts")
        if known is None:
            known = [0, *(match.end() for match in _LINE_END.finditer(self.text))]
            self.__dict__["starts"] = known
        return known


def escape(part: str | int) -> str:
    """Return a key or index as one token of a JSON pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def pointer_of(path: tuple[str | int, ...]) -> str:
    """Return the JSON pointer of a path of keys and indexes."""
    return "".join(f"/{escape(part)}" for part in path)


def parent(pointer: str) -> str:
    """Return the pointer of the enclosing object or list."""
    return pointer.rpartition("/")[0]


def locate(text: str, max_depth: int = MAX_DEPTH) -> Positions:
    """Return the places of all keys and values of `text`, and its faults; scanning ends at the first syntax error."""
    scan = _Scan(text, max_depth)
    with contextlib.suppress(_Stop):
        scan.run()
    places = Positions(text, scan.values, scan.keys)
    faults = []
    for code, message, offset, pointer, suggestion, at_end in scan.faults:
        line, column = places._place(offset) or (1, 1)  # noqa: SLF001  # of the value that is being made
        faults.append(Fault(code, message, line, column, pointer, suggestion, at_end))
    return Positions(text, scan.values, scan.keys, tuple(faults))


class _Stop(Exception):  # ends the scan, is no error
    pass


@dataclass
class _Frame:
    """One open object or list: its pointer, and the next index or None for an object."""

    pointer: str
    index: int | None
    opened: int
    seen: dict[str, int] = field(default_factory=dict)


class _Scan:
    def __init__(self, text: str, max_depth: int) -> None:
        self.text, self.max_depth = text, max_depth
        self.values: dict[str, int] = {}
        self.keys: dict[str, int] = {}
        self.faults: list[tuple[str, str, int, str, str | None, bool]] = []
        self.stack: list[_Frame] = []
        self.at = 0

    def run(self) -> None:
        pointer, first = "", False
        if self.text.startswith("\ufeff"):
            self.note(
                "byte-order-mark", "the file begins with a byte order mark", 0, "", "save it as UTF-8 without BOM"
            )
            self.at = 1
        while True:
            opened = self.value(pointer)
            first = opened
            while not opened or first:
                if not self.stack:
                    self.blank()
                    if self.at < len(self.text):
                        self.fail("trailing-data", "there is text after the end of the config", "remove it")
                    return
                frame = self.stack[-1]
                if first and self.peek() == ("]" if frame.index is not None else "}"):
                    self.close()
                    opened = first = False
                    continue
                if not first:
                    if self.peek() in ("]", "}"):
                        self.close()
                        opened = False
                        continue
                    self.comma()
                pointer = self.member(frame)
                break

    def value(self, pointer: str) -> bool:
        """Take one value; True when it opened an object or a list."""
        char = self.peek()
        start = self.at
        self.values[pointer] = start
        if char in ("{", "["):
            if len(self.stack) >= self.max_depth:
                self.fail("too-deep", f"objects and lists are nested more than {self.max_depth} deep")
            self.stack.append(_Frame(pointer, 0 if char == "[" else None, start))
            self.at += 1
            return True
        if char == '"':
            self.string(pointer)
            return False
        for literal in _LITERALS:
            if self.text.startswith(literal, start):
                self.at = start + len(literal)
                return False
        number = _NUMBER.match(self.text, start)
        if number and not re.match(r"-?(?:Infinity|NaN)", self.text[start : start + 9]):
            self.number(number, pointer)
            return False
        self.bad_value(char, pointer)
        return False

    def number(self, match: re.Match[str], pointer: str) -> None:
        text = match.group()
        self.at = match.end()
        if self.text[self.at : self.at + 1].isdigit():
            self.fail("syntax-error", "a number can't begin with 0", "remove the leading zeros")
        if len(text) > MAX_DIGITS:
            self.note("number-too-long", f"a number of {len(text)} characters", match.start(), pointer)
        elif (match[1] or match[2]) and float(text) in (float("inf"), float("-inf")):
            self.note("number-too-large", "the number is beyond the range of numbers", match.start(), pointer)

    def bad_value(self, char: str, pointer: str) -> None:
        word = _WORD.match(self.text, self.at)
        text = word.group()[:40] if word else char
        if text in ("NaN", "Infinity", "-Infinity", "+Infinity"):
            self.note("not-a-number", f"{text} is no JSON value", self.at, pointer, "write null or a number")
            self.at += len(text)
            return
        if not char:
            self.fail_at_end()
        if any(each.startswith(self.text[self.at :]) for each in (*_LITERALS, "-")):
            self.at = len(self.text)
            self.fail_at_end()
        if char in ("]", "}") and self.stack:
            comma = self.text.rfind(",", 0, self.at)
            if comma >= 0 and not self.text[comma + 1 : self.at].strip():
                self.at = comma
                self.fail("syntax-error", f"there is a comma before {char!r}", "remove the comma")
        if self.text.startswith(("//", "/*", "#"), self.at):
            self.fail("syntax-error", "JSON has no comments", "put it into 'description'")
        if char == "'":
            self.fail("syntax-error", "texts stand in double quotes", "replace ' by \"")
        told = repr(text) if len(text) <= 12 else "this"  # longer words may be secrets that lack their quotes
        self.fail("syntax-error", f"{told} is no JSON value", _HINTS.get(text, "texts stand in double quotes"))

    def member(self, frame: _Frame) -> str:
        """Take the key of an object's next member, or count a list's item; return its pointer."""
        if frame.index is not None:
            pointer = f"{frame.pointer}/{frame.index}"
            frame.index += 1
            return pointer
        char = self.peek()
        start = self.at
        if char != '"':
            if char == "}":
                self.bad_value(char, frame.pointer)
            if not char:
                self.fail_at_end()
            if self.text.startswith(("//", "/*", "#"), start):
                self.fail("syntax-error", "JSON has no comments", "put it into 'description'")
            self.fail("syntax-error", "a key in double quotes is expected here")
        key = self.string(frame.pointer)
        pointer = f"{frame.pointer}/{escape(key)}"
        if key in frame.seen:
            places = Positions(self.text, {}, {})
            line, column = places._place(frame.seen[key]) or (1, 1)  # noqa: SLF001  # of the value that is being made
            message = f"key {key[:100]!r} is given twice; first at line {line}, column {column}"
            self.note("duplicate-key", message, start, pointer, "keep one of them")
        frame.seen.setdefault(key, start)
        self.keys[pointer] = start
        if self.peek() != ":":
            if self.at >= len(self.text):
                self.fail_at_end()
            self.fail("syntax-error", f"':' is expected after the key {key[:100]!r}")
        self.at += 1
        return pointer

    def string(self, pointer: str) -> str:
        start = self.at
        try:
            text, self.at = scanstring(self.text, start + 1, True)
        except JSONDecodeError as error:
            self.at = error.pos
            cut = re.search(r"\\(?:u[0-9a-fA-F]{0,3})?\Z", self.text[start:])
            if error.msg.startswith("Unterminated string") or (cut and error.pos >= start + cut.start()):
                self.at = start
                self.note("syntax-error", "the file ends inside this text", start, pointer, None, at_end=True)
                raise _Stop from None
            if error.msg.startswith("Invalid control"):
                char = self.text[error.pos : error.pos + 1]
                what = "a line break" if char in "\r\n" else "a NUL" if char == "\0" else "a control character"
                self.fail("syntax-error", f"{what} inside a text", "is a closing quote missing? (a line break is \\n)")
            self.fail("syntax-error", "a backslash begins an escape that JSON does not have", "write \\\\ for one \\")
        if "\0" in text:
            self.note("nul-character", "a text holds a NUL character, which no database takes", start, pointer)
        if _SURROGATE.search(text):
            self.note("lone-surrogate", "a text holds half of a surrogate pair, which is no character", start, pointer)
            text = _SURROGATE.sub("\ufffd", text)
        return str(text)

    def close(self) -> None:
        frame = self.stack[-1]
        char, wanted = self.text[self.at], "]" if frame.index is not None else "}"
        if char != wanted:
            self.fail("syntax-error", f"{wanted!r} is expected here, not {char!r}")
        self.at += 1
        self.stack.pop()

    def comma(self) -> None:
        char = self.peek()
        if char == ",":
            self.at += 1
            return
        if not char:
            self.fail_at_end()
        previous = self.text[: self.at].rstrip(" \t\r\n")
        if "\n" in self.text[len(previous) : self.at]:
            self.at = len(previous)
        self.fail("syntax-error", "a comma or a closing bracket is missing here")

    def blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        assert match
        self.at = match.end()

    def peek(self) -> str:
        self.blank()
        return self.text[self.at : self.at + 1]

    def note(
        self, code: str, message: str, offset: int, pointer: str, suggestion: str | None = None, at_end: bool = False
    ) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append((code, message, offset, pointer, suggestion, at_end))

    def fail(self, code: str, message: str, suggestion: str | None = None) -> None:
        self.note(code, message, self.at, self.stack[-1].pointer if self.stack else "", suggestion)
        raise _Stop

    def fail_at_end(self) -> None:
        if not self.text.strip("\ufeff \t\r\n"):
            self.note("empty-file", "the file is empty", 0, "", "a config is one JSON object", at_end=True)
            raise _Stop
        opened = self.stack[-1] if self.stack else None
        message = "the file ends too early"
        if opened:
            places = Positions(self.text, {}, {})
            line, column = places._place(opened.opened) or (1, 1)  # noqa: SLF001  # of the value that is being made
            bracket = "'}'" if opened.index is None else "']'"
            message += f"; {bracket} is missing for the bracket at line {line}, column {column}"
        self.note("syntax-error", message, len(self.text), opened.pointer if opened else "", None, at_end=True)
        raise _Stop
