"""Where each value of a pipeline comes from: its file, a folder's defaults, or the built-in default."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dataforge.components.base import JsonValue
from dataforge.config.files import Loaded
from dataforge.config.positions import escape, parent

BUILT_IN = "built-in default"


def explain(loaded: Loaded) -> list[tuple[str, JsonValue, str]]:
    """Return (JSON pointer, value, origin) of every value in force, in the order of the model.

    The origin is "file:line", relative to the file's own folder, or "built-in default". Empty lists and objects count
    as values.
    """
    value = loaded.config.model_dump(mode="json", by_alias=True, exclude={"schema_"})
    return [(pointer, leaf, _origin(loaded, pointer)) for pointer, leaf in _leaves(value, "")]


def _leaves(value: JsonValue, pointer: str) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{pointer}/{escape(key)}")
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, f"{pointer}/{index}")
    else:
        yield pointer, value


def _origin(loaded: Loaded, pointer: str) -> str:
    """Return the origin of one value; a short form (`"region": "eu"` for a whole param) stands for what it means."""
    origins, at = loaded.origins, pointer
    while at and at not in origins:
        at = parent(at)
    if not at or (at != pointer and not _is_short_form(loaded, at, pointer)):
        return BUILT_IN
    origin = origins[at]
    return f"{os.path.relpath(origin.file, loaded.file.parent)}:{origin.line}"


def _is_short_form(loaded: Loaded, at: str, pointer: str) -> bool:
    """Whether the JSON has one value at `at` that means the object whose part stands at `pointer`."""
    value: JsonValue = loaded.data
    for token in at.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return not isinstance(value, dict | list) and pointer.rpartition("/")[2] in ("default", "type")
