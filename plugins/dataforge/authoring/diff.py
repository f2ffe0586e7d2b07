"""The difference of two configs, key by key, as changes that make the one from the other; and as lines of text.

The places of changes are JSON pointers at the time a change is applied, one after the other, as in a JSON Patch
(RFC 6902): `apply(before, changes(before, after)) == after`, and `invert` leads back.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dataforge.authoring.base import Change
from dataforge.authoring.editing import EditError, Operation, at, patch
from dataforge.config.positions import escape
from dataforge.gateway.redaction import masked


def changes(before: Any, after: Any) -> tuple[Change, ...]:
    """Return what makes `after` of `before`, in the order in which it must be applied."""
    return tuple(_changes(before, after, ""))


def _changes(before: Any, after: Any, pointer: str) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before:
            place = f"{pointer}/{escape(key)}"
            if key not in after:
                yield Change("remove", place, before[key])
            else:
                yield from _changes(before[key], after[key], place)
        for key in after:
            if key not in before:
                yield Change("add", f"{pointer}/{escape(key)}", None, after[key])
    elif isinstance(before, Sequence) and isinstance(after, Sequence) and not _text(before) and not _text(after):
        yield from _list_changes(list(before), list(after), pointer)
    elif not same(before, after):
        yield Change("replace", pointer, before, after)


def _text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _list_changes(before: list[Any], after: list[Any], pointer: str) -> Iterator[Change]:
    """Yield changes from the back to the front, so that the indexes of those to come stay right."""
    matcher = difflib.SequenceMatcher(None, [_key(one) for one in before], [_key(one) for one in after], autojunk=False)
    for tag, i1, i2, j1, j2 in reversed(matcher.get_opcodes()):
        if tag == "equal":
            continue
        paired = min(i2 - i1, j2 - j1)
        for index in reversed(range(i1 + paired, i2)):
            yield Change("remove", f"{pointer}/{index}", before[index])
        for offset in range(j1 + paired, j2):
            yield Change("add", f"{pointer}/{i1 + offset - j1}", None, after[offset])
        for index in reversed(range(paired)):
            yield from _changes(before[i1 + index], after[j1 + index], f"{pointer}/{i1 + index}")


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=list)


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal; true is not 1, and 1.0 not 1."""
    return _key(one) == _key(other)


def without_secrets(changed: Iterable[Change]) -> tuple[Change, ...]:
    """Return changes to be shown and kept: what they took out of a config holds no secret."""

    def hidden(value: Any, key: str) -> Any:
        if isinstance(value, str):
            return masked(f"{key}={value}").removeprefix(f"{key}=") if value else value
        if isinstance(value, Mapping):
            return {name: hidden(part, str(name)) for name, part in value.items()}
        return [hidden(part, key) for part in value] if isinstance(value, list | tuple) else value

    return tuple(
        Change(one.op, one.pointer, hidden(one.before, one.pointer.rpartition("/")[2]), one.after) for one in changed
    )


def apply(config: Any, changed: Iterable[Change]) -> Any:
    """Return a copy with the changes made; EditError when a place is not there."""
    return patch(config, operations(changed))


def operations(changed: Iterable[Change]) -> list[Operation]:
    """Return changes as operations of a JSON Patch."""
    return [Operation(change.op, change.pointer, None if change.op == "remove" else change.after) for change in changed]


def get(config: Any, pointer: str, default: Any = None) -> Any:
    """Return the value at a JSON pointer, else `default`."""
    try:
        return at(config, pointer)
    except EditError:
        return default


def invert(changed: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes that take these back."""
    back = {"add": "remove", "remove": "add", "replace": "replace"}
    return tuple(
        Change(back[change.op], change.pointer, change.after, change.before)  # type: ignore[arg-type]  # of the same three
        for change in reversed(tuple(changed))
    )


def text(before: str, after: str, name: str = "config.json") -> str:
    """Return the difference of two texts as unified diff; "" when they are equal.

    What an eye can't see, or takes for something else, stands as its number: see `visible`. Secrets that are taken out
    show as ***.
    """
    lines = difflib.unified_diff(
        visible(before).splitlines(keepends=True), visible(after).splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    shown = (line[:1] + masked(line[1:]) if line.startswith("-") else line for line in lines)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in shown)


_ODD = re.compile(r"[^\n\t\x20-\x7e]")
_WORD = re.compile(r"\w+")
_LATIN = re.compile(r"[A-Za-z]")
_LOOK_ALIKE = re.compile("[\u0370-\u03ff\u0400-\u052f\u0531-\u058f\u13a0-\u13ff\uff00-\uffef]")


def visible(text: str) -> str:
    """Return a text with \\uXXXX for characters that do not show, turn the direction of writing or end lines, and for
    letters of other scripts in words with Latin ones, which look the same."""
    if text.isascii():
        return _ODD.sub(_number, text)

    def hidden(match: re.Match[str]) -> str:
        char = match.group()
        return _number(match) if unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs", "Cn", "Zl", "Zp") else char

    def mixed(match: re.Match[str]) -> str:
        word = match.group()
        return _LOOK_ALIKE.sub(_number, word) if _LATIN.search(word) else word

    return _WORD.sub(mixed, _ODD.sub(hidden, text))


def _number(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def in_words(changed: Iterable[Change]) -> list[str]:
    """Return each change as a line."""
    return [_words(change) for change in changed]


def _words(change: Change) -> str:
    place = change.pointer or "/"
    if change.op == "add":
        return f"+ {place}: {short(change.after)}"
    if change.op == "remove":
        return f"- {place}: {short(change.before)}"
    return f"~ {place}: {short(change.before)} -> {short(change.after)}"


def short(value: Any, limit: int = 200) -> str:
    """Return a JSON value on one line, cut to `limit` characters."""
    found = visible(json.dumps(value, ensure_ascii=False, default=str))
    return found if len(found) <= limit else f"{found[: limit - 1]}…"
