"""A tolerant reader: from a text that was meant to be JSON to one that is, changed only where JSON demands it.

What has one plain reading is mended: byte order mark, comments, commas, quotes, Python's and JavaScript's literals,
NaN, raw line breaks and bad escapes in texts, brackets that are missing, keys given twice. The rest is left.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass

from dataforge.authoring.editing import cut, members
from dataforge.components.base import JsonValue
from dataforge.config.json_reader import JsonError, read_json
from dataforge.config.positions import locate, parent

_QUOTES = {'"': '"', "'": "'", "“": "”", "”": "”", "„": "“", "‘": "’", "’": "’", "`": "`"}
_LITERALS = {
    "true": "true",
    "false": "false",
    "null": "null",
    "True": "true",
    "TRUE": "true",
    "False": "false",
    "FALSE": "false",
    "None": "null",
    "NULL": "null",
    "Null": "null",
    "nil": "null",
    "undefined": "null",
    "NaN": "null",
    "nan": "null",
    "Infinity": "null",
    "-Infinity": "null",
    "+Infinity": "null",
}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_ODD_NUMBER = re.compile(r"([+-]?)0*([0-9][0-9_]*)?(?:\.([0-9_]*))?\Z")
_WORD = re.compile(r"[^\s,:{}\[\]\"'#]+")
_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_MAX_DEPTH = 64
_MAX_CHARACTERS = 300_000


@dataclass(frozen=True)
class Mended:
    """A text and in one sentence each what was changed, with the line (from 1) of the text that was given."""

    text: str
    notes: tuple[tuple[int, str], ...] = ()


def decode(data: bytes) -> tuple[str, str]:
    """Return bytes as text, and what had to be done for it ("" for UTF-8); JsonError when nothing fits."""
    for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            with contextlib.suppress(UnicodeDecodeError):
                return data.decode(name), "read as UTF-16, to be written as UTF-8"
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8"), ""
    with contextlib.suppress(UnicodeDecodeError):
        if b"\0" not in data and not data.startswith((b"\x1f\x8b", b"PK")):
            return data.decode("cp1252"), "read as Windows-1252, to be written as UTF-8"
    from dataforge.config.json_reader import decode as strict

    return strict(data), ""


def mend(text: str, max_bytes: int = 1_000_000) -> Mended:
    """Return the text as strict JSON, the same text where it is; JsonError, as of the text given, when it can't be."""
    try:
        read_json(text, max_bytes=max_bytes)
    except JsonError as error:
        if len(text) > min(max_bytes, _MAX_CHARACTERS):
            raise
        first = error
    else:
        return Mended(text)
    scan = _Scan(text)
    try:
        scan.run()
    except _Lost:
        raise first from None
    mended, notes = scan.result(), scan.told()
    for _ in range(200):
        try:
            read_json(mended, max_bytes=max_bytes)
        except JsonError as error:
            fault = error.faults[0]
            again = _without_repeat(mended, fault.pointer) if fault.code == "duplicate-key" else None
            again = _without_bad_characters(mended) if fault.code in ("nul-character", "lone-surrogate") else again
            if again is None or again[0] == mended:
                raise (error if notes else first) from None
            mended = again[0]
            notes.append((fault.line, again[1]))
        else:
            return Mended(mended, tuple(notes))
    raise first


class _Lost(Exception):  # there is no one reading
    pass


class _Scan:
    """Goes through a text once, copies what is JSON, and writes what is not as JSON would."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.out: list[str] = []
        self.notes: list[tuple[int, str]] = []

    def result(self) -> str:
        return "".join(self.out)

    def told(self) -> list[tuple[int, str]]:
        return [(self.text.count("\n", 0, offset) + 1, note) for offset, note in self.notes]

    def note(self, what: str, at: int | None = None) -> None:
        self.notes.append((self.at if at is None else at, what))

    def run(self) -> None:
        if self.text.startswith("\ufeff"):
            self.at = 1
            self.note("removed the byte order mark")
        fence = _FENCE.search(self.text)
        if fence and not self.text[self.at :].lstrip().startswith(("{", "[")):
            self.note("took the text out of its code fence")
            self.text, self.at, self.notes = fence[1], 0, [(0, self.notes[-1][1])]
        self.blank()
        if self.peek() != "{":
            raise _Lost
        self.value(0)
        self.blank()
        rest = self.text[self.at :]
        if rest.strip():
            if rest.strip(" \t\r\n}],;`"):
                raise _Lost
            self.note(f"removed {rest.strip()[:20]!r} after the end")
            self.out.append("\n" if rest.endswith("\n") else "")
            self.at = len(self.text)

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def blank(self) -> None:
        """Copy white space; leave comments out, with their line where they have one of their own."""
        while True:
            match = re.compile(r"[ \t\r\n]+").match(self.text, self.at)
            if match:
                self.out.append(match.group())
                self.at = match.end()
            odd = re.compile("[\u00a0\u2000-\u200b\u202f\u3000\ufeff\x0b\x0c]+").match(self.text, self.at)
            if odd:
                self.note("replaced white space that JSON does not have")
                self.out.append(" ")
                self.at = odd.end()
                continue
            comment = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/|<!--.*?-->", re.DOTALL).match(self.text, self.at)
            if not comment:
                return
            self.note("removed a comment, which JSON does not have")
            self.at = comment.end()
            joined = "".join(self.out)
            line = joined.rpartition("\n")
            if line[1] and not line[2].strip() and self.text[self.at : self.at + 2].lstrip("\r")[:1] == "\n":
                self.out = [line[0]]
            elif self.text[self.at : self.at + 1] in ("\n", "\r", ""):
                self.out = [joined.rstrip(" \t")]

    def value(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _Lost
        char = self.peek()
        if char in ("{", "["):
            self.container(depth)
        elif char in _QUOTES:
            self.string()
        else:
            self.word()

    def container(self, depth: int) -> None:
        opened = self.peek()
        closer = "}" if opened == "{" else "]"
        self.out.append(opened)
        self.at += 1
        first = True
        while True:
            mark, before = self.mark(), (self.at, len(self.notes))
            self.blank()
            commas = 0
            while self.peek() in (",", ";"):
                commas += 1
                if self.peek() == ";":
                    self.note("wrote ',' for ';'")
                self.at += 1
                self.blank()
            char = self.peek()
            if char in ("}", "]") or not char:
                self.close(char, closer, mark, commas)
                return
            if not first and self.began_outside(opened):
                self.out, (self.at, kept) = ["".join(self.out)[:mark]], before
                self.notes = self.notes[:kept]
                self.note(f"put in {closer!r}, which was missing")
                self.out.append(closer)
                return
            if commas > (0 if first else 1):
                self.note("removed a comma too many")
            if not first:
                self.insert(mark, ",")
                if not commas:
                    self.note("put in a comma that was missing")
            first = False
            if opened == "{":
                self.key()
            self.value(depth + 1)

    def began_outside(self, opened: str) -> bool:
        """Whether what comes next can't stand in the container that is open, since its bracket was forgotten."""
        rest = self.text[self.at : self.at + 200]
        if opened == "[":
            return bool(re.match(r"""["'][^"'\n]*["']\s*:""", rest))
        return rest.startswith("{")

    def mark(self) -> int:
        """Return a place of the output to insert at: behind the last thing that is no white space."""
        joined = "".join(self.out)
        kept = joined.rstrip(" \t\r\n")
        self.out = [kept, joined[len(kept) :]]
        return len(kept)

    def insert(self, mark: int, what: str) -> None:
        joined = "".join(self.out)
        self.out = [joined[:mark], what, joined[mark:]]

    def close(self, char: str, closer: str, mark: int, commas: int) -> None:
        if commas:
            self.note("removed a comma before the closing bracket")
        if char == closer:
            self.out.append(char)
            self.at += 1
            return
        self.note(f"put in {closer!r}, which was missing")
        if not char:  # brackets at the very end stand each at the end of the last line
            joined = "".join(self.out)
            self.out = [joined.rstrip(" \t\r\n"), closer, "\n" if joined.endswith("\n") else ""]
            return
        self.insert(mark, closer)

    def key(self) -> None:
        if self.peek() in _QUOTES:
            self.string(is_key=True)
        else:
            word = re.compile(r"[A-Za-z_$][\w$.-]*").match(self.text, self.at)
            if not word:
                raise _Lost
            self.note(f"put the key {word.group()[:60]!r} in double quotes")
            self.out.append(json.dumps(word.group()))
            self.at = word.end()
        self.blank()
        sign = re.compile(r":=|=>|=|:").match(self.text, self.at)
        if not sign:
            raise _Lost
        if sign.group() != ":":
            self.note(f"wrote ':' for {sign.group()!r}")
        self.out.append(":")
        self.at = sign.end()
        self.blank()
        if not self.peek() or self.peek() in (",", "}", "]"):
            raise _Lost

    def word(self) -> None:
        """Take a value that is no text, object or list; words that are no literal become texts."""
        number = re.compile(r"[+-]?[0-9.][0-9_.eE+-]*").match(self.text, self.at)
        match = number if number and self.text[number.end() : number.end() + 1] in ("", *",}] \t\r\n/#") else None
        match = match or _WORD.match(self.text, self.at)
        if not match:
            raise _Lost
        word = match.group()
        if word in _LITERALS:
            if _LITERALS[word] != word:
                self.note(f"wrote {_LITERALS[word]} for {word}")
            self.out.append(_LITERALS[word])
        elif _NUMBER.match(word):
            self.out.append(word)
        elif odd := _ODD_NUMBER.match(word):
            whole, part = (odd[2] or "0").replace("_", ""), (odd[3] or "").replace("_", "")
            new = ("-" if odd[1] == "-" else "") + whole + (f".{part}" if part else "")
            self.note(f"wrote {new} for {word[:40]}")
            self.out.append(new)
        else:
            line = re.compile(r"[^,}\]\n\r\"'{\[]*").match(self.text, self.at)
            word = line.group().rstrip() if line else word
            if not word or not re.match(r"[\w@./*$-]", word):
                raise _Lost
            self.note("put a text in double quotes")
            self.out.append(json.dumps(word, ensure_ascii=False))
            self.at += len(word)
            return
        self.at = match.end()

    def string(self, *, is_key: bool = False) -> None:
        start, opened = self.at, self.peek()
        closer = _QUOTES[opened]
        end = self.end_of_string(start + 1, closer, is_key=is_key)
        inner = self.text[start + 1 : end]
        closed = self.text[end : end + 1] == closer
        if not closed and not is_key:
            inner = inner.rstrip(" \t\r")
            trailing = re.search(r"[,}\]\s]*\Z", inner)
            inner = inner[: trailing.start()] if trailing else inner
            self.note("put in a closing quote that was missing", start)
            end = start + 1 + len(inner)
        elif not closed:
            raise _Lost
        if opened != '"':
            self.note("replaced quotes by double quotes", start)
        written = self.inner(inner, start, plain=opened == '"')
        self.out.append(f'"{written}"')
        self.at = end + closed

    def end_of_string(self, at: int, closer: str, *, is_key: bool) -> int:
        """Return where a text ends: at its closing quote, or at the line's end when the quote is missing."""
        begin, line_end = at, -1
        while at < len(self.text):
            char = self.text[at]
            if char == "\\":
                at += 2
                continue
            if char == "\n" and line_end < 0:
                line_end = at
            if char == closer:
                following = self.text[at + 1 :].lstrip(" \t\r\n")[:1]
                if line_end >= 0 and following not in ("", ",", "}", "]"):
                    return line_end
                if following in ("", ",", "}", "]", ":") or line_end >= 0 or self.ends_here(at + 1):
                    return at
                if is_key:
                    return at
            at += 1
        return line_end if line_end >= 0 else len(self.text) if at > begin else begin

    def ends_here(self, at: int) -> bool:
        """Whether what follows a quote shows that it closed a text: a new line, a comment, a key or a value."""
        rest = self.text[at:]
        return bool(re.match(r"[ \t]*(?:\r?\n|//|#|/\*|=|;)", rest) or re.match(r'\s*[{\["]', rest))

    def inner(self, inner: str, start: int, *, plain: bool) -> str:
        """Return what stands between the quotes, with what JSON wants escaped."""
        parts: list[str] = []
        at = 0
        while at < len(inner):
            char = inner[at]
            if char == "\\":
                escape = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})').match(inner, at)
                if escape:
                    parts.append(escape.group())
                    at = escape.end()
                    continue
                if inner[at + 1 : at + 2] == "'":
                    parts.append("'")
                    at += 2
                    continue
                self.note("doubled a backslash that begins no escape", start)
                parts.append("\\\\")
            elif char == '"':
                if plain:
                    self.note("escaped a quote inside a text", start)
                parts.append('\\"')
            elif ord(char) < 32:
                self.note("escaped a line break or control character inside a text", start)
                parts.append(json.dumps(char)[1:-1] if char != "\0" else "")
            else:
                parts.append(char)
            at += 1
        return "".join(parts)


def _without_repeat(text: str, pointer: str) -> tuple[str, str] | None:
    """Return the text with one of two members of the same key less, where it is clear which, and what was done."""
    opened = locate(text).values.get(parent(pointer))
    if opened is None or text[opened] != "{":
        return None
    first: dict[str, tuple[int, int, int]] = {}
    for key, start, value_start, end in members(text, opened):
        if key not in first:
            first[key] = (start, value_start, end)
            continue
        one = json.loads(text[first[key][1] : first[key][2]])
        other = json.loads(text[value_start:end])
        if one == other:
            return cut(text, start, end), f"removed the second of two equal keys {key[:60]!r}"
        if other in (None, "", [], {}):
            return cut(text, start, end), f"removed the second {key[:60]!r}, which is empty"
        if one in (None, "", [], {}) or not isinstance(one, dict | list):
            return cut(text, *first[key][::2]), f"kept the last of two {key[:60]!r}, as readers of JSON do"
        if isinstance(one, dict) and isinstance(other, dict) and not one.keys() & other.keys():
            inner = text[value_start + 1 : end - 1].strip()
            kept = text[: first[key][2] - 1].rstrip()
            joined = f"{kept}, {inner}{text[first[key][2] - 1 : start]}{text[start:]}"
            moved = len(joined) - len(text)
            return cut(joined, start + moved, end + moved), f"joined two {key[:60]!r} that don't overlap"
        return None
    return None


def _without_bad_characters(text: str) -> tuple[str, str]:
    cleaned = re.sub(r"(?<!\\)((?:\\\\)*)\\u0000", r"\1", text)
    cleaned = re.sub(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F])", r"\1", cleaned)
    cleaned = re.sub(r"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}", "", cleaned)
    return re.sub("[\ud800-\udfff]", "", cleaned), "removed characters that no database takes"


def value_of(text: str, max_bytes: int = 1_000_000) -> JsonValue:
    """Return the value of a text, mended where needed; JsonError when there is none."""
    return read_json(mend(text, max_bytes).text, max_bytes=max_bytes)
