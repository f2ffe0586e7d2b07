"""The unnest transform: one row for each item of a list, with the keys of the row that it came from."""

from __future__ import annotations

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
    of_json,
)

if TYPE_CHECKING:
    from sqlglot import exp

_ITEM = "dataforge item"


class UnnestConfig(TransformConfig):
    """Config of `unnest`."""

    type: Literal["unnest"] = "unnest"
    column: ColumnName = Field(description="Column with lists.", examples=["items"])
    keep: tuple[ColumnName, ...] | dict[ColumnName, ColumnName] | None = Field(
        default=None,
        description="Columns of the row that each of its items carries, such as its key; or an object of column to "
        "new name; all when not set.",
        examples=[["order_id"], {"id": "order_id", "ordered_at": "ordered_at"}],
    )
    fields: dict[ColumnName, NestedType] | None = Field(
        default=None,
        description="Fields of the items that become columns, each with its type; for lists of records all of them "
        "when not set. A column of JSON needs them: without, its items stay JSON, in one column.",
        examples=[{"sku": "text", "quantity": "integer"}],
    )
    prefix: str = Field(default="", max_length=50, description="Put before the fields' names.", examples=["item_"])
    into: ColumnName | None = Field(
        default=None,
        description="Name of the column with items that have no fields, such as texts; the list's own when not set.",
        examples=["tag"],
    )
    position: ColumnName | None = Field(
        default=None,
        description="A further column with the item's place in its list, from 1; with the keys of the row it makes "
        "the key of the item.",
        examples=["line"],
    )
    empty: Literal["drop", "keep"] = Field(
        default="drop",
        description="What happens to a row without items: drop leaves no row of it, keep leaves one without an item.",
    )


@TRANSFORMS.register(UnnestConfig)
class Unnest:
    """Makes a row of each item of a list: the child table of nested records, with the parent's keys in every row."""

    def __init__(self, config: UnnestConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT kept …, item.field AS field, … FROM (SELECT kept …, UNNEST(list) AS item FROM relation)`."""
        from sqlglot import exp

        config = self._config
        with sql.Problems() as problems:
            with problems.under():
                kept = self._kept(relation)
            with problems.under("column"):
                name = sql.match_column(relation.columns, config.column)
                type_ = (relation.columns or {}).get(name, "")
                items, item = _items(name, type_)
        inner: list[exp.Expr] = [sql.star(exclude=[name])]
        taken = [one for one in relation.columns or () if one != name]
        if kept is not None:
            inner, taken = [sql.aliased(sql.column(old), new) for old, new in kept.items()], list(kept.values())
        elif relation.columns is not None and not taken:
            inner = []
        length = exp.Anonymous(this="len", expressions=[items.copy()])
        whole = exp.GT(this=length, expression=sql.literal(0))
        if config.position is not None:
            sql.refuse_repeat(config.position, taken, "position")
            taken.append(config.position)
            one, beyond = sql.literal(1), exp.Add(this=length.copy(), expression=sql.literal(1))
            places: exp.Expr = exp.Anonymous(this="range", expressions=[one, beyond])
            inner.append(sql.aliased(exp.Unnest(expressions=[self._or_null(places, whole)]), config.position))
        items.meta["path"] = ("column",)
        inner.append(sql.aliased(exp.Unnest(expressions=[self._or_null(items, whole)]), _ITEM))
        rows = exp.Subquery(this=sql.select(relation, *inner), alias=exp.TableAlias(this=sql.identifier("rows")))
        outer = [*([sql.star(exclude=[_ITEM])] if len(inner) > 1 else []), *self._columns(item, name, taken)]
        return exp.Select(expressions=outer).from_(rows, copy=False)

    def _kept(self, relation: Relation) -> dict[str, str] | None:
        keep = self._config.keep
        if keep is None:
            return None
        if not isinstance(keep, dict):
            return {one: one for one in sql.match_columns(relation.columns, keep, "keep")}
        found = sql.match_keys(relation.columns, keep, "keep")
        for index, (old, new) in enumerate(keep.items()):
            sql.refuse_repeat(new, list(keep.values())[:index], "keep", old)
        return {found[old]: new for old, new in keep.items()}

    def _or_null(self, items: exp.Expr, whole: exp.Expr) -> exp.Expr:
        """The list, with one null item in place of none where a row without items is kept."""
        from sqlglot import exp

        if self._config.empty == "drop":
            return items
        return exp.Case(ifs=[exp.If(this=whole.copy(), true=items)], default=exp.Array(expressions=[exp.Null()]))

    def _columns(self, item: exp.DataType | None, name: str, taken: list[str]) -> list[exp.Expr]:
        """The columns that an item becomes."""
        config, value = self._config, sql.column(_ITEM)
        records = fields_of(item) if item is not None else None
        if config.fields is None and not records:
            new = config.into or name
            sql.refuse_repeat(new, taken, "into")
            return [sql.aliased(value, new)]
        if config.into is not None:
            hint = "the items are records, whose fields become columns: remove 'into'"
            raise ConfigError(Problem("not-allowed", "'into' is for items without fields", ("into",), hint))
        made = dict(self._made(value, item, records))
        with sql.Problems() as problems:
            for one in made:
                with problems.under(*(("fields", one) if config.fields else ("column",))):
                    _refuse_taken(config.prefix + one, taken)
                    taken.append(config.prefix + one)
        return [sql.aliased(found, config.prefix + one) for one, found in made.items()]

    def _made(
        self, value: exp.Expr, item: exp.DataType | None, records: dict[str, exp.DataType] | None
    ) -> list[tuple[str, exp.Expr]]:
        """The wanted fields of an item, and their values."""
        wanted: dict[str, exp.DataType] = {}
        with sql.Problems() as problems:
            if self._config.fields is not None and not self._config.fields:
                problems.add(Problem("empty-list", "at least one field is needed", ("fields",)))
            for one, text in (self._config.fields or {}).items():
                with problems.under("fields", one):
                    if records:
                        sql.match_column(dict.fromkeys(records, ""), one)
                    wanted[one] = sql.parse_type(text)
        if records and not wanted:
            return [(one, field(value.copy(), one)) for one in records]
        if records:
            known = dict.fromkeys(records, "")
            return [
                (one, sql.cast(field(value.copy(), sql.match_column(known, one)), kind)) for one, kind in wanted.items()
            ]
        if item is not None and not is_json(item):
            shown = item.sql(sql.DIALECT)
            raise ConfigError(Problem("type-mismatch", f"the items are of type {shown}, not records", ("fields",)))
        found = of_json(value, item)
        return list(json_leaves(found, wanted, "", 1))


def _items(name: str, type_: str) -> tuple[exp.Expr, exp.DataType | None]:
    """Return the list of a column, and the type of its items where that is known; ConfigError where it has none."""
    from sqlglot import exp

    kind = known_type(type_)
    if kind is None:
        return sql.column(name), None
    if is_json(kind):
        return sql.cast(sql.column(name), "JSON[]"), exp.DataType.build("JSON", dialect=sql.DIALECT)
    item = item_of(kind)
    if item is None:
        hint = "use flatten for records" if fields_of(kind) else "read text as JSON in a parse_json step before"
        raise ConfigError(Problem("type-mismatch", f"column {name!r} is of type {type_}, not a list", (), hint))
    return sql.column(name), item


def _refuse_taken(name: str, taken: list[str]) -> None:
    try:
        sql.refuse_repeat(name, taken)
    except ConfigError as error:
        (problem,) = error.problems
        hint = "set 'prefix', or name the columns to keep"
        raise ConfigError(Problem(problem.code, problem.message, problem.path, hint)) from None
