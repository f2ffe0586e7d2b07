"""`matrix`: several pipelines from one file. `${matrix.x}` is replaced in every text; a text that is nothing else takes
the value with its type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

from dataforge.components.base import JsonValue
from dataforge.config.shapes import Path, type_name
from dataforge.config.validation import nearest
from dataforge.errors import ConfigError, Problem

MAX_PIPELINES = 1_000
_WHOLE = re.compile(r"\A\$\{matrix\.([^{}:]*)\}\Z")
_PART = re.compile(r"\$\{matrix\.([^{}:]*)\}")

Cell = Mapping[str, JsonValue]


def cells(matrix: JsonValue) -> list[Cell]:
    """Return the combinations that a matrix stands for: the product of its lists, or the objects it lists.

    ConfigError with paths below `matrix`.
    """
    if isinstance(matrix, list):
        return _listed(matrix)
    if not isinstance(matrix, Mapping):
        message = f"must be an object of lists or a list of objects, not {type_name(matrix)}"
        raise ConfigError(Problem("wrong-type", message, ("matrix",)))
    if not matrix:
        raise ConfigError(Problem("invalid-value", "must have at least one key with a list of values", ("matrix",)))
    wrong = [
        Problem("wrong-type", f"must be a list of values, not {type_name(values)}", ("matrix", name))
        if not isinstance(values, list)
        else Problem("invalid-value", "must have at least 1 item, not 0", ("matrix", name))
        for name, values in matrix.items()
        if not isinstance(values, list) or not values
    ]
    if wrong:
        raise ConfigError(wrong)
    _limit(prod(len(values) for values in matrix.values()))
    return [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())]


def _listed(matrix: list[JsonValue]) -> list[Cell]:
    wrong = [
        Problem("wrong-type", f"must be an object of values, not {type_name(cell)}", ("matrix", index))
        for index, cell in enumerate(matrix)
        if not isinstance(cell, Mapping)
    ]
    if not matrix:
        wrong = [Problem("invalid-value", "must have at least 1 item, not 0", ("matrix",))]
    if wrong:
        raise ConfigError(wrong)
    _limit(len(matrix))
    return [*matrix]


def _limit(count: int) -> None:
    if count > MAX_PIPELINES:
        message = f"the matrix makes {count:,} pipelines; at most {MAX_PIPELINES:,} come from one file"
        raise ConfigError(Problem("matrix-too-large", message, ("matrix",), "split it into several files"))


def fill(value: JsonValue, cell: Cell, used: set[str], problems: list[Problem], path: Path = ()) -> JsonValue:
    """Return `value` with every `${matrix.x}` replaced; adds to the names `used` and the `problems` found."""
    if isinstance(value, str):
        return _fill_text(value, cell, used, problems, path) if "${matrix" in value else value
    if isinstance(value, dict):
        return {key: fill(part, cell, used, problems, (*path, key)) for key, part in value.items()}
    if isinstance(value, list):
        return [fill(part, cell, used, problems, (*path, index)) for index, part in enumerate(value)]
    return value


def _fill_text(text: str, cell: Cell, used: set[str], problems: list[Problem], path: Path) -> JsonValue:
    def known(name: str) -> bool:
        used.add(name)
        if name in cell:
            return True
        near = nearest(name, cell)
        hint = f"did you mean '${{matrix.{near}}}'?" if near else _listing(cell)
        message = f"'${{matrix.{name}}}' names nothing in the matrix"
        problems.append(Problem("invalid-placeholder", message, path, hint, tuple(cell)))
        return False

    def part(match: re.Match[str]) -> str:
        if not known(match[1]):
            return ""
        value: Any = cell[match[1]]
        if isinstance(value, dict | list):
            message = f"'${{matrix.{match[1]}}}' is {type_name(value)}, which can't stand inside a text"
            problems.append(Problem("invalid-placeholder", message, path))
            return ""
        return value if isinstance(value, str) else json.dumps(value)

    whole = _WHOLE.match(text)
    if whole:
        return cell[whole[1]] if known(whole[1]) else text
    return _PART.sub(part, text)


def _listing(cell: Cell) -> str:
    return f"known: {', '.join(cell)}" if cell else "add a 'matrix' to this file"
