"""The flatten transform: the fields of nested records as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem
from dataforge.transforms._nested import (
    NestedType,
    field,
    fields_of,
    is_json,
    item_of,
    json_leaves,
    known_type,
    leaves,
    of_json,
)

if TYPE_CHECKING:
    from sqlglot import exp


class FlattenConfig(TransformConfig):
    """Config of `flatten`."""

    type: Literal["flatten"] = "flatten"
    columns: tuple[ColumnName, ...] | dict[ColumnName, dict[ColumnName, NestedType]] = Field(
        description="Columns with records, whose fields become columns in their place; or an object of column to the "
        "fields that are wanted, each with its type, which a column of JSON needs since nobody knows its fields "
        "before it is read.",
        examples=[["address"], {"address": {"city": "text", "geo": "struct(lat double, lon double)"}}],
    )
    separator: str = Field(
        default="_", max_length=10, description="Put between the column's name and the field's.", examples=["_"]
    )
    depth: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Levels of records in records that become columns; deeper ones stay records.",
    )


@TRANSFORMS.register(FlattenConfig)
class Flatten:
    """Puts the fields of records into columns of their own, named column_field; lists stay as they are."""

    def __init__(self, config: FlattenConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * EXCLUDE (column, …), field AS column_field, … FROM relation`."""
        wanted = self._config.columns
        found = (
            sql.match_keys(relation.columns, wanted, "columns")
            if isinstance(wanted, dict)
            else dict(zip(wanted, sql.match_columns(relation.columns, wanted, "columns"), strict=True))
        )
        taken = [name for name in relation.columns or () if name not in found.values()]
        projections: list[exp.Expr] = []
        with sql.Problems() as problems:
            for index, (name, spelled) in enumerate(found.items()):
                key = name if isinstance(wanted, dict) else index
                with problems.under("columns", key):
                    fields = wanted[name] if isinstance(wanted, dict) else None
                    for new, value in self._fields(spelled, fields, (relation.columns or {}).get(spelled, "")):
                        value.meta["path"] = ("columns", key)
                        if new:
                            sql.refuse_repeat(new, taken)
                            taken.append(new)
                        projections.append(sql.aliased(value, new) if new else value)
        # `*` without any column left is refused
        whole = relation.columns is not None and len(found) == len(relation.columns)
        return sql.select(relation, *([] if whole else [sql.star(exclude=found.values())]), *projections)

    def _fields(self, name: str, wanted: dict[str, str] | None, type_: str) -> Iterator[tuple[str, exp.Expr]]:
        """Yield the new columns of one old one; a name of "" is one that only the engine knows."""
        from sqlglot import exp

        kind, value, depth = known_type(type_), sql.column(name), self._config.depth
        separator = self._config.separator
        records = fields_of(kind) if kind is not None else None
        found: Iterator[tuple[str, exp.Expr]]
        if wanted is None and kind is None:
            yield "", exp.Unnest(expressions=[value])
            return
        if wanted is None:
            if kind is None or not records:
                raise ConfigError(_no_record(name, type_))
            found = leaves(value, kind, separator, depth)
        elif records:
            found = _chosen(value, records, _types(wanted), separator, depth)
        else:
            if kind is not None and not is_json(kind) and sql.family(type_) != "text":
                raise ConfigError(_no_record(name, type_))
            found = json_leaves(of_json(value, kind), _types(wanted), separator, depth)
        for below, leaf in found:
            yield f"{name}{separator}{below}", leaf


def _types(wanted: Mapping[str, str]) -> dict[str, exp.DataType]:
    found: dict[str, exp.DataType] = {}
    with sql.Problems() as problems:
        if not wanted:
            problems.add(Problem("empty-list", "at least one field is needed"))
        for name, text in wanted.items():
            with problems.under(name):
                sql.refuse_repeat(name, found)
                found[name] = sql.parse_type(text)
    return found


def _chosen(
    value: exp.Expr, known: Mapping[str, exp.DataType], wanted: Mapping[str, exp.DataType], separator: str, depth: int
) -> Iterator[tuple[str, exp.Expr]]:
    """The wanted fields of a record whose types are known, cast to the wanted types."""
    names = dict.fromkeys(known, "")
    with sql.Problems() as problems:
        for name in wanted:
            with problems.under(name):
                sql.match_column(names, name)
    for name, kind in wanted.items():
        leaf = sql.cast(field(value, sql.match_column(names, name)), kind.copy())
        if depth > 1 and fields_of(kind):
            yield from ((f"{name}{separator}{below}", one) for below, one in leaves(leaf, kind, separator, depth - 1))
        else:
            yield name, leaf


def _no_record(name: str, type_: str) -> Problem:
    kind = known_type(type_)
    if kind is not None and (is_json(kind) or sql.family(type_) == "text"):
        message = f"the fields of column {name!r} ({type_}) can't be known before it is read"
        return Problem("unknown-fields", message, (), f'name them: "columns": {{"{name}": {{"FIELD": "TYPE", …}}}}')
    hint = "use unnest, which makes a row of each item" if kind is not None and item_of(kind) else "leave it out"
    return Problem("type-mismatch", f"column {name!r} is of type {type_}, not a record", (), hint)
