"""Values in a config that look like secrets: told by the key they stand under, or by their own shape.

A finding never repeats the value. `${…}` passes, and so do column names, ids and digests in hexadecimal: the mask
transform, casts of a column named "password" and pinned checksums are everyday things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from dataforge.components.base import JsonValue
from dataforge.components.secret_shapes import names_secret, secret_shape
from dataforge.config.placeholders import component_shape, components
from dataforge.config.shapes import ANY, Path, Shape, below, shape_of
from dataforge.errors import Problem

SUGGESTION = "put it into an Airflow connection and name that connection here"

_COLUMN_KEYS = frozenset(
    {"columns", "column", "keys", "rename", "values", "fields", "fill", "aggregations", "aggregates", "group_by", "on"}
)


def find_secrets(data: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[Problem, str]]:
    """Yield (problem, the value) for each secret-looking value of a pipeline's JSON, unknown keys too."""
    for key, value, shape in below(shape_of(model), data):
        placed = list(components(str(key), value))
        for path, kind, block in placed:
            yield from _walk(component_shape(kind, block), block, path)
        if not placed:
            yield from _one(str(key), value, shape, (key,), columns=False)


def _walk(shape: Shape, value: JsonValue, path: Path) -> Iterator[tuple[Problem, str]]:
    columns = _keyed_by_columns(shape, value, path)
    for key, part, inner in below(shape, value):
        yield from _one(str(key), part, inner, (*path, key), columns=columns or isinstance(key, int))


def _one(key: str, value: JsonValue, shape: Shape, path: Path, *, columns: bool) -> Iterator[tuple[Problem, str]]:
    if isinstance(value, dict | list):
        yield from _walk(shape, value, path)
        if isinstance(value, list) and not columns and names_secret(key):
            for index, part in enumerate(value):
                if isinstance(part, str):
                    yield from _literal(key, part, shape.items or ANY, (*path, index))
        return
    what = secret_shape(value) if isinstance(value, str) and len(value) >= 12 else None
    if what:
        yield Problem("secret-in-config", f"the value looks like {what}", path, SUGGESTION), value
    elif not columns and isinstance(value, str | int) and not isinstance(value, bool) and names_secret(key):
        yield from _literal(key, str(value), shape, path)


def _literal(key: str, text: str, shape: Shape, path: Path) -> Iterator[tuple[Problem, str]]:
    """Yield a problem for a literal under a key that names a secret, unless it is a reference of some kind."""
    named = shape.marks.get("x-connection") or shape.marks.get("x-column") or shape.choices
    if not named and text.strip() and not re.match(r"\A(?:[A-Za-z]+ )?\$\{[^{}]*\}\Z", text):
        yield Problem("secret-in-config", f"key {key!r} holds a literal secret", path, SUGGESTION), text


def _keyed_by_columns(shape: Shape, value: JsonValue, path: Path) -> bool:
    """Whether the keys of the object are column names, by its model or, where no model is known, by its own key."""
    options = shape.options or (shape,)
    if any(option.columns for option in options):
        return True
    known = any(option.model or option.values for option in options)
    return isinstance(value, Mapping) and not known and bool(path) and path[-1] in _COLUMN_KEYS


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` without any of the secret values, also as `repr` would show them."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, repr(secret)[1:-1]):
            if len(form) >= 3:
                text = text.replace(form, "***")
    return text
