"""From pydantic's errors to problems: one for each wrong place, in words of JSON, with near names.

Loaded only when something is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from dataforge.config.shapes import Path, Shape, shape_of, type_name
from dataforge.errors import ConfigError, Problem, bounded

_TYPES = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
    "none": "null",
    "decimal": "a number",
}
_LIMITS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


MAX_ERRORS = 1000
"""Errors of one file that are looked into; a person reads 200 of them at most, and a hostile file has a million."""


@dataclass
class _Node:
    """Errors below one part of pydantic's location. Branches of a union and keys of the config are apart."""

    errors: list[Problem] = field(default_factory=list)
    keys: dict[str | int, _Node] = field(default_factory=dict)
    branches: dict[str | int, _Node] = field(default_factory=dict)


def problems(error: ValidationError, model: type[BaseModel], data: Any) -> list[Problem]:
    """Return the problems that `error` tells about `data`, the value that `model` refused."""
    root = _Node()
    for item in error.errors(include_url=False)[:MAX_ERRORS]:
        node, value, known = root, data, data is not None
        path: Path = ()
        for part in item["loc"]:
            is_key = (_has(value, part) or _misses(item, part)) if known else not _looks_like_branch(part)
            if known and not isinstance(value, Mapping | list | tuple):
                is_key = False
            if is_key:
                node = node.keys.setdefault(part, _Node())
                path = (*path, part)
                value = _at(value, part)
            else:
                node = node.branches.setdefault(part, _Node())
        context = item.get("ctx") or {}
        if item["type"] == "too_short" and isinstance(value, list) and len(value) >= context["min_length"]:
            continue  # pydantic counts the valid items only; what is wrong with the others is told by themselves
        node.errors.append(_problem(dict(item), path, model))
    return list(fold_renamed(_chosen(root)))


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _misses(item: Mapping[str, Any], part: str | int) -> bool:
    return bool(item["type"] == "missing" and part == item["loc"][-1])


def _at(value: Any, part: str | int) -> Any:
    return value[part] if _has(value, part) else None


def _looks_like_branch(part: str | int) -> bool:
    """Whether a part of a location names a branch of a union or a validator, as far as its text can tell."""
    return isinstance(part, str) and (
        part[:1] == "("
        or "[" in part
        or part in _TYPES
        or part.startswith(("function-", "lax-or-strict", "tagged-union"))
    )


def _chosen(node: _Node) -> list[Problem]:
    """Return the errors of a node; of a union those of the branch that the value most likely meant."""
    found = list(node.errors)
    for child in node.keys.values():
        found += _chosen(child)
    answers = [_chosen(branch) for branch in node.branches.values()]
    if not answers:
        return found
    shallow = min(len(problem.path) for answer in answers for problem in answer)
    meant = [answer for answer in answers if not _is_mismatch(answer, shallow)]
    if meant:
        return found + min(meant, key=len)
    wanted = [problem.message.removeprefix("must be ").split(", not ")[0] for answer in answers for problem in answer]
    first = answers[0][0]
    ending = first.message.partition(", not ")[2]
    message = f"must be {' or '.join(dict.fromkeys(wanted))}" + (f", not {ending}" if ending else "")
    return [*found, replace(first, message=message)]


def _is_mismatch(answer: list[Problem], depth: int) -> bool:
    return all(problem.code == "wrong-type" and len(problem.path) == depth for problem in answer)


def _problem(item: dict[str, Any], path: Path, model: type[BaseModel]) -> Problem:
    kind: str = item["type"]
    context: Mapping[str, Any] = item.get("ctx") or {}
    if kind == "extra_forbidden":
        return unknown_key(path, keys_at(model, path[:-1]))
    if kind == "missing":
        return Problem("missing-key", f"key {path[-1]!r} is missing" if path else "a key is missing", path)
    if kind in ("literal_error", "enum"):
        return _wrong_choice(item["input"], path, model, context)
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return Problem("invalid-value", f"{words} {context[key]}, not {item['input']!r}", path)
    if kind == "value_error":
        cause = context.get("error")
        if isinstance(cause, ConfigError):
            return replace(cause.problems[0], path=(*path, *cause.problems[0].path))
        code = getattr(cause, "code", None) or ("invalid-key" if item["loc"][-1:] == ("[key]",) else "invalid-value")
        suggestion, allowed = getattr(cause, "suggestion", None), getattr(cause, "allowed", ())
        below = getattr(cause, "path", ())
        return Problem(code, bounded(str(cause)), (*path, *below), suggestion, tuple(allowed))
    wanted = next((words for name, words in _TYPES.items() if kind in (f"{name}_type", f"{name}_parsing")), None)
    if wanted or kind in ("none_required", "int_from_float", "model_attributes_type"):
        wanted = wanted or {"none_required": "null", "int_from_float": "a whole number"}.get(kind, "an object")
        return Problem("wrong-type", f"must be {wanted}, not {_told(item['input'], wanted)}", path)
    message = re.sub(r"\A(?:Input|String|Value|Tuple|List|Dictionary|Set) should ", "must ", item["msg"])
    message = message.replace(" after validation", "")
    if kind.endswith("_type"):
        return Problem("wrong-type", f"{message}, not {type_name(item['input'])}", path)
    code = "invalid-key" if item["loc"][-1:] == ("[key]",) else "invalid-value"
    return Problem(code, bounded(message[:1].lower() + message[1:]), path)


def _told(value: Any, wanted: str) -> str:
    told = type_name(value)
    return repr(value) if told == "a number" and wanted == "a whole number" else told


def _wrong_choice(value: Any, path: Path, model: type[BaseModel], context: Mapping[str, Any]) -> Problem:
    allowed = choices_at(model, path) or tuple(part.strip("'") for part in str(context["expected"]).split(", "))
    return wrong_choice(value, path, allowed)


def wrong_choice(value: Any, path: Path, allowed: Iterable[Any]) -> Problem:
    """Return the problem of a value that is not among the allowed ones, with the nearest of them."""
    names = tuple(str(each) for each in allowed)
    listed = ", ".join(map(repr, names))
    if not isinstance(value, str):
        return Problem("wrong-type", f"must be one of {listed}, not {type_name(value)}", path, None, names)
    near = nearest(value, names)
    return Problem(
        "invalid-choice",
        f"{bounded(value, 200)!r} is not one of {listed}",
        path,
        f"did you mean {near!r}?" if near else None,
        names,
    )


def unknown_key(path: Path, allowed: Iterable[str]) -> Problem:
    """Return the problem of a key that is not known, with the nearest known one."""
    names = tuple(allowed)
    near = nearest(str(path[-1]), names)
    known = f"known keys: {', '.join(names)}" if names else None
    return Problem(
        "unknown-key", f"unknown key {path[-1]!r}", path, f"did you mean {near!r}?" if near else known, names
    )


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that `word` was probably meant to be, or None."""
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    begun = [name for name in lower if len(word) > 2 and name.startswith(word.lower())]
    return lower[near[0]] if near else lower[begun[0]] if len(begun) == 1 else None


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that are allowed in the object at `path`."""
    names: dict[str, None] = {}
    for shape in _shapes_at(shape_of(model), path):
        names.update(dict.fromkeys(shape.fields))
    return list(names)


def choices_at(model: type[BaseModel], path: Path) -> tuple[Any, ...]:
    """Return the literal values that are allowed at `path`."""
    found = [choice for shape in _shapes_at(shape_of(model), path) for choice in shape.choices]
    return tuple(dict.fromkeys(found))


def _shapes_at(shape: Shape, path: Path) -> Iterator[Shape]:
    """Yield every shape that a value at `path` may have, whatever the branches of unions above it."""
    for option in shape.options:
        yield from _shapes_at(option, path)
    if not path:
        yield shape
    elif isinstance(path[0], int) and shape.items:
        yield from _shapes_at(shape.items, path[1:])
    elif inner := shape.fields.get(str(path[0])) or shape.values:
        yield from _shapes_at(inner, path[1:])


def fold_renamed(found: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the problems, but not a missing key where an unknown one beside it was plainly meant to be it."""
    found = list(found)
    meant = {
        (*problem.path[:-1], problem.suggestion[len("did you mean '") : -2])
        for problem in found
        if problem.code == "unknown-key" and problem.suggestion and problem.suggestion.startswith("did you mean")
    }
    yield from (problem for problem in found if problem.code != "missing-key" or problem.path not in meant)
