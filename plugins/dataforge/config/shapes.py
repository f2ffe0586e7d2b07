"""`Shape`: what a config model says of the JSON values below it: types, fields, and which texts may hold `${…}`.

Made once for each model from pydantic's own field information. Three rules walk along it: strict types (pydantic would
take "3" for 3, an editor with the JSON Schema would not), placeholders, and secret-looking values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, PlainValidator, WithJsonSchema, WrapValidator
from pydantic.fields import FieldInfo

from dataforge.errors import Problem

Path = tuple[str | int, ...]
_SCALARS: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "boolean", type(None): "null"}
_OPAQUE = (BeforeValidator, PlainValidator, WrapValidator, WithJsonSchema)


@dataclass(frozen=True, eq=False)
class Shape:
    """One kind of value.

    `scalars` are the scalar types it may have (names of `_SCALARS`), or None where a validator takes what it likes;
    `marks` are the `x-` keys of its field; `columns` says that an object's keys are column names; `choices` are the
    literal values it is limited to.
    """

    scalars: frozenset[str] | None = None
    marks: Mapping[str, Any] = field(default_factory=dict)
    model: type[BaseModel] | None = None
    items: Shape | None = None
    values: Shape | None = None
    columns: bool = False
    choices: tuple[Any, ...] = ()
    options: tuple[Shape, ...] = ()

    @property
    def takes_placeholders(self) -> bool:
        """Whether `${…}` may stand in texts of this shape."""
        return bool(self.marks.get("x-templated")) or self.marks.get("x-sql") in ("expression", "query")

    @property
    def fields(self) -> dict[str, Shape]:
        """Shapes of an object's known keys."""
        return _fields(self.model) if self.model else {}


ANY = Shape()


def shape_of(model: type[BaseModel]) -> Shape:
    """Return the shape of a model's JSON objects."""
    return _of_model(model)


@cache
def _of_model(model: type[BaseModel]) -> Shape:
    return Shape(scalars=frozenset(), model=model)


@cache
def _fields(model: type[BaseModel]) -> dict[str, Shape]:
    decorators = model.__pydantic_decorators__.field_validators.values()
    loose = {name for each in decorators if each.info.mode != "after" for name in each.info.fields}
    return {
        info.alias or name: _of(info.annotation, _marks(info), loose=name in loose or _is_loose(info.metadata))
        for name, info in model.model_fields.items()
    }


def _is_loose(metadata: list[Any] | tuple[Any, ...]) -> bool:
    return any(isinstance(item, _OPAQUE) for item in metadata)


def _marks(info: FieldInfo) -> dict[str, Any]:
    extra = info.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def _of(annotation: Any, marks: dict[str, Any], *, loose: bool = False) -> Shape:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for item in args[1:]:
            if isinstance(item, FieldInfo):
                marks = {**marks, **_marks(item)}
        return _of(args[0], marks, loose=loose or _is_loose(args[1:]))
    if origin in (Union, UnionType):
        options = tuple(_of(arg, marks, loose=loose) for arg in args)
        scalars = [option.scalars for option in options]
        known = frozenset().union(*(each for each in scalars if each is not None))
        return Shape(None if None in scalars else known, _merged(options), options=options)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Shape(None if loose else frozenset(), marks, annotation)
    nothing = None if loose else frozenset[str]()
    if origin in (list, tuple, set, frozenset) or getattr(origin, "__name__", "") == "Sequence":
        return Shape(nothing, marks, items=_of(args[0], marks, loose=loose) if args else ANY)
    if origin is dict or getattr(origin, "__name__", "") == "Mapping":
        return Shape(nothing, marks, values=_of(args[1], marks, loose=loose), columns=_names_columns(args[0]))
    if origin is Literal:
        return Shape(None if loose else frozenset(_SCALARS[type(arg)] for arg in args), marks, choices=args)
    scalar = _SCALARS.get(annotation)
    return Shape(frozenset((scalar,)) if scalar and not loose else None, marks)


def _names_columns(key: Any) -> bool:
    return any(isinstance(item, FieldInfo) and _marks(item).get("x-column") for item in get_args(key)[1:])


def _merged(options: tuple[Shape, ...]) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    for option in options:
        if option.scalars is None or "text" in option.scalars:
            marks.update(option.marks)
    return marks


def below(shape: Shape, value: Any) -> Iterator[tuple[str | int, Any, Shape]]:
    """Yield (key or index, value, its shape) of every direct part of an object or list; unknown parts are `ANY`."""
    shape = _chosen(shape, value)
    if isinstance(value, Mapping):
        fields = shape.fields
        for key, part in value.items():
            yield key, part, fields.get(key) or shape.values or _inherited(shape)
    elif isinstance(value, list | tuple):
        inner = shape.items or _inherited(shape)
        for index, part in enumerate(value):
            yield index, part, inner


def _inherited(shape: Shape) -> Shape:
    """Below a value of unknown type (a free JSON value) its field's marks go on to hold; below a model they don't."""
    return Shape(marks=shape.marks) if shape.marks and shape.model is None else ANY


def _chosen(shape: Shape, value: Any) -> Shape:
    """Return the branch of a union that `value` belongs to, told by its JSON type, its `type` and its keys."""
    if not shape.options:
        return shape
    options = [_chosen(option, value) for option in shape.options]
    if isinstance(value, Mapping):
        fitting = [option for option in options if option.model or option.values]
        return max(fitting, key=lambda option: _affinity(option, value), default=Shape(marks=shape.marks))
    return next((option for option in options if option.items), Shape(marks=shape.marks))


def _affinity(option: Shape, value: Mapping[str, Any]) -> tuple[bool, int]:
    if option.model is None:
        return False, 0
    kind = option.model.model_fields.get("type")
    return bool(kind and kind.default == value.get("type")), sum(key in option.fields for key in value)


def texts(shape: Shape, value: Any, path: Path = ()) -> Iterator[tuple[Path, str, Shape]]:
    """Yield (path, text, its shape) of every text in `value`, keys excluded."""
    for key, part, inner in below(shape, value):
        if isinstance(part, str):
            yield (*path, key), part, inner
        elif isinstance(part, dict | list):
            yield from texts(inner, part, (*path, key))


def wrong_types(shape: Shape, value: Any, path: Path = ()) -> list[Problem]:
    """Return a problem for each scalar whose JSON type its field does not have, as a JSON Schema would see it."""
    found: list[Problem] = []
    for key, part, inner in below(shape, value):
        if isinstance(part, dict | list | tuple):
            found += wrong_types(inner, part, (*path, key))
        elif inner.scalars is not None and not isinstance(part, BaseModel) and not _fits(part, inner.scalars):
            wanted = _wanted(inner)
            told = repr(part) if isinstance(part, float) and "whole number" in wanted else type_name(part)
            found.append(Problem("wrong-type", f"must be {wanted}, not {told}", (*path, key)))
    return found


def _fits(value: Any, scalars: frozenset[str]) -> bool:
    name = _SCALARS.get(type(value))
    if name is None:
        return True
    if name in ("whole number", "number") and "number" in scalars:
        return True
    return name in scalars or (name == "number" and "whole number" in scalars and value.is_integer())


def _wanted(shape: Shape) -> str:
    names = {"text": "text", "whole number": "a whole number", "number": "a number", "boolean": "true or false"}
    names["null"] = "null"
    found = [names[name] for name in names if name in (shape.scalars or ())]
    options = shape.options or (shape,)
    found += ["an object"] * any(option.model or option.values for option in options)
    found += ["a list"] * any(option.items is not None for option in options)
    if "null" in found and len(found) > 1:
        found.remove("null")
    return " or ".join(found)


def type_name(value: Any) -> str:
    """Return the JSON name of a value's type, with its article where a sentence needs one."""
    names = {bool: "true/false", int: "a number", float: "a number", str: "text", type(None): "null"}
    names |= {dict: "an object", list: "a list", tuple: "a list"}
    return names.get(type(value), type(value).__name__)
