"""What transforms of nested values share: types as trees, fields of records, and JSON read as a type, all as SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dataforge.components import sql

if TYPE_CHECKING:
    from sqlglot import exp

NestedType = Annotated[str, Field(min_length=1, max_length=5_000, json_schema_extra={"x-sql": "type"})]
"""A type as in `cast`, with room for records: `struct(sku text, quantity integer)[]`."""


def known_type(type_: str) -> exp.DataType | None:
    """Return a column's type as a tree; None where it is not known, or is one that SQLGlot has no word for."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        return exp.DataType.build(type_, dialect=sql.DIALECT, udt=True) if type_ else None
    except (SqlglotError, ValueError, TypeError):
        return None


def is_json(type_: exp.DataType) -> bool:
    """Whether values of the type are JSON, whose own types nobody knows before they are read."""
    return type_.is_type("json")


def fields_of(type_: exp.DataType) -> dict[str, exp.DataType] | None:
    """Return the fields of a record type in order; None for all other types, and for records without names."""
    from sqlglot import exp

    if not type_.is_type("struct"):
        return None
    named = {one.name: one.args.get("kind") for one in type_.expressions if isinstance(one, exp.ColumnDef)}
    if len(named) != len(type_.expressions) or not all(isinstance(kind, exp.DataType) for kind in named.values()):
        return None
    return {name: kind for name, kind in named.items() if isinstance(kind, exp.DataType)}


def item_of(type_: exp.DataType) -> exp.DataType | None:
    """Return the type of a list's items; None for all other types."""
    from sqlglot import exp

    if not type_.is_type("array", "list") or not type_.expressions:
        return None
    item = type_.expressions[0]
    return item if isinstance(item, exp.DataType) else None


def field(record: exp.Expr, name: str) -> exp.Expr:
    """Return `struct_extract(record, 'name')`."""
    from sqlglot import exp

    return exp.Anonymous(this="struct_extract", expressions=[record, sql.literal(name)])


def leaves(value: exp.Expr, type_: exp.DataType, separator: str, depth: int) -> Iterator[tuple[str, exp.Expr]]:
    """Yield name and value of each field of a record, those of records in it too, down to `depth` levels."""
    for name, kind in (fields_of(type_) or {}).items():
        inner = field(value.copy(), name)
        if depth > 1 and fields_of(kind):
            yield from ((f"{name}{separator}{below}", one) for below, one in leaves(inner, kind, separator, depth - 1))
        else:
            yield name, inner


def read_json(value: exp.Expr, type_: exp.DataType, path: str = "$", depth: int = 0) -> exp.Expr:
    """Return SQL for what stands at `path` in a JSON value, as `type_`; null for a JSON null and where nothing is.

    The engine raises where a value is not of the type: an object where a list is wanted, a text that is no number.
    """
    from sqlglot import exp

    def at(function: str) -> exp.Expr:
        return exp.Anonymous(this=function, expressions=[value.copy(), sql.literal(path)])

    if is_json(type_):
        return at("json_extract")
    named, item = fields_of(type_), item_of(type_)
    if named is not None:
        parts = [
            exp.PropertyEQ(this=sql.identifier(name), expression=read_json(value, kind, json_path(path, name), depth))
            for name, kind in named.items()
        ]
        return _of_object(value, path, exp.Struct(expressions=parts))
    if item is not None:
        items = sql.cast(at("json_extract"), "JSON[]")
        if is_json(item):
            return items
        name = sql.identifier(f"item{depth}")
        each = exp.Lambda(this=read_json(name, item, "$", depth + 1), expressions=[name.copy()])
        return exp.Anonymous(this="list_transform", expressions=[items, each])
    if type_.is_type("map"):
        return sql.cast(at("json_extract"), type_.copy())
    return sql.cast(at("json_extract_string"), type_.copy())


def json_leaves(
    value: exp.Expr, fields: Mapping[str, exp.DataType], separator: str, depth: int, path: str = "$"
) -> Iterator[tuple[str, exp.Expr]]:
    """Yield name and value of each field of a JSON object, those of records in it too, down to `depth` levels."""
    for name, kind in fields.items():
        at, inner = json_path(path, name), fields_of(kind)
        if depth > 1 and inner:
            found = json_leaves(value, inner, separator, depth - 1, at)
            yield from ((f"{name}{separator}{below}", _of_object(value, path, leaf)) for below, leaf in found)
        else:
            yield name, _of_object(value, path, read_json(value, kind, at))


def _of_object(value: exp.Expr, path: str, then: exp.Expr) -> exp.Expr:
    """SQL for `then` where an object stands at that path, for null where nothing does; else the engine raises."""
    from sqlglot import exp

    def at(function: str) -> exp.Expr:
        return exp.Anonymous(this=function, expressions=[value.copy(), sql.literal(path)])

    # the cast of what is no object raises, and says what it is; `error()` may not stand in TRY
    refused = exp.Is(this=sql.cast(at("json_extract"), "MAP(TEXT, JSON)"), expression=exp.Null())
    is_object = exp.Case(
        this=exp.Coalesce(this=at("json_type"), expressions=[sql.literal("NULL")]),
        ifs=[
            exp.If(this=sql.literal("OBJECT"), true=exp.true()),
            exp.If(this=sql.literal("NULL"), true=exp.false()),
        ],
        default=refused,
    )
    return exp.Case(ifs=[exp.If(this=is_object, true=then)])


def json_path(path: str, name: str) -> str:
    """Return the JSON path of the member `name` below `path`."""
    return f"{path}.{json.dumps(name, ensure_ascii=False)}"


def of_json(value: exp.Expr, type_: exp.DataType | None) -> exp.Expr:
    """Return a value of a known or unknown type as JSON: text is read as JSON, all else is written as JSON."""
    from sqlglot import exp

    if type_ is not None and is_json(type_):
        return value
    if type_ is not None and sql.family(type_.sql(sql.DIALECT)) == "text":
        return sql.cast(value, "JSON")
    return exp.Anonymous(this="to_json", expressions=[value])
