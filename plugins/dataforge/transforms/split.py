"""The split transform: the parts of a text as columns or as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp

_BLANKS = " \t\n\r\v\f"
"""White space; by itself, the engine would take off spaces only."""


class SplitConfig(TransformConfig):
    """Config of `split`."""

    type: Literal["split"] = "split"
    column: ColumnName = Field(description="Column with text.", examples=["full_name"])
    separator: str = Field(
        min_length=1, max_length=100, description="Text that stands between the parts.", examples=[" "]
    )
    into: tuple[ColumnName, ...] | ColumnName = Field(
        description="Names of new columns, one for each part: the last one takes all that is left, those without a "
        "part are null. Or one name, as a text: then each part becomes a row of its own.",
        examples=[["first_name", "last_name"], "tag"],
    )
    trim: bool = Field(default=False, description="Take white space off both ends of each part.")
    keep: bool = Field(default=False, description="Keep the column that is split.")


@TRANSFORMS.register(SplitConfig)
class Split:
    """Splits a text into columns, or into rows; a row whose text is null stays, with null parts."""

    def __init__(self, config: SplitConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * EXCLUDE (column), part AS name, … FROM relation`."""
        from sqlglot import exp

        config = self._config
        name = sql.match_column(relation.columns, config.column, "column")
        type_ = (relation.columns or {}).get(name, "")
        if type_ and sql.family(type_) != "text":
            hint = "cast it to text in a cast step before"
            raise ConfigError(
                Problem("type-mismatch", f"column {name!r} is of type {type_}, not text", ("column",), hint)
            )
        taken = [one for one in relation.columns or () if config.keep or one != name]
        parts: exp.Expr = exp.Anonymous(
            this="string_split", expressions=[sql.column(name), sql.literal(config.separator)]
        )
        new: list[exp.Expr] = []
        if isinstance(config.into, str):
            sql.refuse_repeat(config.into, taken, "into")
            null = sql.cast(sql.literal(None), "TEXT")
            is_null = exp.Is(this=sql.column(name), expression=exp.Null())
            parts = exp.Case(ifs=[exp.If(this=is_null, true=exp.Array(expressions=[null]))], default=parts)
            rows = sql.aliased(exp.Unnest(expressions=[self._trimmed_all(parts)]), config.into)
            new.append(rows)
        else:
            if len(config.into) < 2:
                raise ConfigError(Problem("empty-list", "at least two columns are needed", ("into",)))
            with sql.Problems() as problems:
                for place, into in enumerate(config.into):
                    with problems.under("into", place):
                        sql.refuse_repeat(into, taken)
                        taken.append(into)
                        new.append(sql.aliased(self._part(parts, place), into))
        kept = sql.star() if config.keep else sql.star(exclude=[name])
        alone = relation.columns is not None and len(relation.columns) == 1 and not config.keep
        return sql.select(relation, *([] if alone else [kept]), *new)

    def _part(self, parts: exp.Expr, place: int) -> exp.Expr:
        """One part; the last is all that is left, put together again as it stood."""
        from sqlglot import exp

        number = sql.literal(place + 1)
        part: exp.Expr = exp.Anonymous(this="list_extract", expressions=[parts.copy(), number])
        if place == len(self._config.into) - 1:
            length = exp.Anonymous(this="len", expressions=[parts.copy()])
            rest = exp.Anonymous(this="list_slice", expressions=[parts.copy(), number.copy(), length])
            joined = exp.Anonymous(this="array_to_string", expressions=[rest, sql.literal(self._config.separator)])
            there = exp.GTE(this=length.copy(), expression=number.copy())
            part = exp.Case(ifs=[exp.If(this=there, true=joined)])
        return exp.Trim(this=part, expression=sql.literal(_BLANKS)) if self._config.trim else part

    def _trimmed_all(self, parts: exp.Expr) -> exp.Expr:
        from sqlglot import exp

        if not self._config.trim:
            return parts
        name = sql.identifier("part")
        trimmed = exp.Trim(this=name, expression=sql.literal(_BLANKS))
        each = exp.Lambda(this=trimmed, expressions=[name.copy()])
        return exp.Anonymous(this="list_transform", expressions=[parts, each])
