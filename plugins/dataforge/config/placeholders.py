"""`${…}` in a config: where it may stand, and which run values there are.

Allowed are texts whose field says so (`TemplatedText`, `SqlExpression`, `SqlQuery`), also within lists and objects of
them. Everywhere else a `${` is a problem, so that nobody believes in a value that nothing puts in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from dataforge.components.base import JsonValue
from dataforge.components.placeholders import CURSOR, parse_placeholder
from dataforge.components.registry import KINDS
from dataforge.config.shapes import ANY, Path, Shape, below, shape_of, texts
from dataforge.config.validation import nearest
from dataforge.errors import ConfigError, Problem

WORDS = ("data_interval_start", "data_interval_end", "run_id")
_OPENING = re.compile(r"\$\{([^{}]*)(\}?)")
_DIRECTIVES = frozenset("aAbBdfGHIjmMpSuUVwWyYzZ%")
_SLOTS = {"source": "source", "sources": "source", "transforms": "transform", "checks": "check"}


def check_placeholders(data: Mapping[str, Any], model: type[BaseModel]) -> list[Problem]:
    """Return a problem for each `${…}` in a pipeline's JSON that is misplaced, unknown or badly formatted."""
    declared = data.get("params")
    params = declared if isinstance(declared, Mapping) else {}
    found: list[Problem] = []
    for path, text, shape in config_texts(data, model):
        if "${" in text:
            found += _check(text, path, shape, params)
    return found + list(_in_keys(data, ()))


def config_texts(data: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[Path, str, Shape]]:
    """Yield (path, text, its shape) of every text value of a pipeline's JSON; components by their own models."""
    for key, value, shape in below(shape_of(model), data):
        if isinstance(value, str):
            yield (key,), value, shape
            continue
        parts = list(components(str(key), value))
        for path, kind, component in parts:
            yield from texts(component_shape(kind, component), component, path)
        if not parts and isinstance(value, dict | list):
            yield from texts(shape, value, (key,))


def components(key: str, value: JsonValue) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Yield (path, kind, block) of the components that stand under one top-level key."""
    if key == "source" or (key == "destination" and isinstance(value, Mapping)):
        blocks: list[tuple[Path, Any]] = [((key,), value)]
    elif key == "sources" and isinstance(value, Mapping):
        blocks = [((key, name), block) for name, block in value.items()]
    elif key in ("transforms", "checks", "destination") and isinstance(value, list):
        blocks = [((key, index), block) for index, block in enumerate(value)]
    else:
        blocks = []
    kind = _SLOTS.get(key, "destination")
    yield from ((path, kind, block) for path, block in blocks if isinstance(block, Mapping))


def component_shape(kind: str, block: Mapping[str, Any]) -> Shape:
    """Return the shape of a component block by its `type`; of anything when the type is not known."""
    try:
        return shape_of(KINDS[kind][0].get(block["type"]).config) if isinstance(block.get("type"), str) else ANY
    except ConfigError:
        return ANY


def _check(text: str, path: Path, shape: Shape, params: Mapping[str, Any]) -> Iterator[Problem]:
    for match in _OPENING.finditer(text):
        body, closed = match.groups()
        shown = f"${{{body[:60]}{closed}"
        if not closed:
            yield Problem("invalid-placeholder", f"{shown!r} is not closed", path, "write it as '${name}'")
        elif shape is not ANY and not shape.takes_placeholders:
            message = f"{shown!r} can't stand here: this value is the same for every run"
            yield Problem("misplaced-placeholder", message, path)
        elif CURSOR.fullmatch(match[0]):
            yield from _check_cursor(match[0], path, shape)
        else:
            yield from _check_name(shown, body, path, params)


def _check_cursor(shown: str, path: Path, shape: Shape) -> Iterator[Problem]:
    """Yield a problem for a `${cursor}` where no source puts it in, or with a pattern that is none."""
    pattern = shown[2:-1].partition(":")[2]
    if not shape.marks.get("x-cursor"):
        message = (
            f"{shown!r} can't stand here; it is for 'query', 'body' and 'variables' of sources that ask an HTTP API"
        )
        hint = "database sources read above the cursor by themselves: 'cursor_field' is enough"
        yield Problem("misplaced-placeholder", message, path, hint)
    elif set(re.findall(r"%(.?)", pattern, re.DOTALL)) - _DIRECTIVES:
        hint = "write for example '%Y-%m-%d' or '%Y-%m-%dT%H:%M:%SZ'"
        yield Problem("invalid-placeholder", f"{shown!r}: the format is none that dates know", path, hint)


def _check_name(shown: str, body: str, path: Path, params: Mapping[str, Any]) -> Iterator[Problem]:
    word, colon, pattern = body.partition(":")
    allowed = (*(f"params.{name}" for name in params), *WORDS)
    if word.startswith("params."):
        name = word.removeprefix("params.")
        if name not in params:
            near = nearest(name, params)
            known = f"declared: {', '.join(params)}" if params else f'declare it: "params": {{{name!r}: …}}'
            hint = f"did you mean '${{params.{near}}}'?" if near else known
            yield Problem("unknown-param", f"{shown!r}: no param {name!r} is declared", path, hint, allowed)
            return
        dated = False
    elif word in WORDS:
        dated = word != "run_id"
    else:
        near = nearest(word, allowed)
        hint = f"did you mean '${{{near}}}'?" if near else f"known: {', '.join(allowed)}"
        yield Problem("invalid-placeholder", f"{shown!r} names no run value", path, hint, allowed)
        return
    if not colon:
        yield from _refused(shown, body, path)
        return
    if not dated:
        message = f"{shown!r}: only the data interval takes a format"
        yield Problem("invalid-placeholder", message, path, f"write '${{{word}}}'")
    elif not pattern or set(re.findall(r"%(.?)", pattern, re.DOTALL)) - _DIRECTIVES:
        hint = "write for example '%Y-%m-%d' or '%Y%m%dT%H%M%S'"
        yield Problem("invalid-placeholder", f"{shown!r}: the format is none that dates know", path, hint)
    else:
        yield from _refused(shown, body, path)


def _refused(shown: str, body: str, path: Path) -> Iterator[Problem]:
    """Yield a problem for what the runtime would refuse, so that both always say the same."""
    try:
        parse_placeholder(body)
    except ValueError:
        yield Problem("invalid-placeholder", f"{shown!r} has a form that is not allowed", path)


def _in_keys(value: JsonValue, path: Path) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if "${" in str(key):
                message = f"key {str(key)[:60]!r}: '${{…}}' can't stand in a key"
                yield Problem("misplaced-placeholder", message, (*path, key))
            yield from _in_keys(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, dict | list):
                yield from _in_keys(part, (*path, index))
