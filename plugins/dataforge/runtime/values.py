"""`${…}` in the text fields of a config, replaced by the values of one run.

Only fields of type `TemplatedText` are touched, wherever they stand in the model: SQL gets its values as typed literals
when it is compiled, and everything else holds no placeholders.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dataforge.components.base import RunValues
from dataforge.components.outputs import FollowingConfig
from dataforge.components.placeholders import Placeholder, substitute
from dataforge.config.outputs import output_of
from dataforge.errors import ConfigError, Problem

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]


def resolve(config: M, values: RunValues) -> M:
    """Return the config with its placeholders replaced; ConfigError that names every one without a value."""
    problems: list[Problem] = []
    resolved = _model(config, values, (), problems)
    if problems:
        raise ConfigError(problems)
    if isinstance(resolved, FollowingConfig):
        return resolved.leading_to(output_of(resolved.follows()))
    return resolved


def _model(config: M, values: RunValues, path: Path, problems: list[Problem]) -> M:
    changed: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        old = getattr(config, name)
        new = _value(old, _is_templated(field), field.annotation, values, (*path, field.alias or name), problems)
        if new is not old:
            changed[name] = new
    return config.model_copy(update=changed) if changed else config


def _value(value: Any, templated: bool, annotation: Any, values: RunValues, path: Path, problems: list[Problem]) -> Any:
    if isinstance(value, BaseModel):
        return _model(value, values, path, problems)
    if isinstance(value, str):
        if "${" not in value or not (templated or _holds_templated(annotation)):
            return value
        return _text(value, values, path, problems)
    if isinstance(value, Mapping):
        inner = _inner(annotation, -1)
        return _same(
            value, {key: _value(item, templated, inner, values, (*path, key), problems) for key, item in value.items()}
        )
    if isinstance(value, list | tuple):
        inner = _inner(annotation, 0)
        items = [_value(item, templated, inner, values, (*path, i), problems) for i, item in enumerate(value)]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else type(value)(items)
    return value


def _same(old: Mapping[Any, Any], new: dict[Any, Any]) -> Mapping[Any, Any]:
    return old if all(new[key] is old[key] for key in old) else new


def _text(text: str, values: RunValues, path: Path, problems: list[Problem]) -> str:
    def fill(placeholder: Placeholder) -> str:
        found = placeholder.text(values)
        if found is None:
            name = f"params.{placeholder.param}" if placeholder.param else placeholder.name
            problems.append(Problem("missing-value", f"${{{name}}} has no value in this run", path))
        return found or ""

    try:
        return substitute(text, fill)
    except ValueError as error:
        problems.append(Problem("unknown-placeholder", str(error), path))
        return text


def _is_templated(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, Mapping) and extra.get("x-templated") is True


def _holds_templated(annotation: Any) -> bool:
    """Whether a text of that type may hold placeholders: `TemplatedText` itself or in a union."""
    return any(
        isinstance(part, FieldInfo) and _is_templated(part)
        for branch in _branches(annotation)
        if get_origin(branch) is Annotated
        for part in get_args(branch)[1:]
    )


@functools.lru_cache(maxsize=1024)
def _branches(annotation: Any) -> tuple[Any, ...]:
    """The annotation itself, or the branches of a union, nested ones too."""
    if get_origin(annotation) is Annotated or get_origin(annotation) in (dict, Mapping, list, tuple):
        return (annotation,)
    inner = get_args(annotation)
    return tuple(found for branch in inner for found in _branches(branch)) if inner else (annotation,)


def _inner(annotation: Any, position: int) -> Any:
    """The type of the items of a list or tuple (position 0) or of the values of a mapping (-1)."""
    for branch in _branches(annotation):
        plain = get_args(branch)[0] if get_origin(branch) is Annotated else branch
        wanted = (list, tuple) if position == 0 else (dict, Mapping)
        if get_origin(plain) in wanted or getattr(get_origin(plain), "__name__", "") == "Mapping":
            return get_args(plain)[position]
    return None
