"""The pivot transform: values of one column as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from dataforge.components import sql
from dataforge.components.base import JsonValue, Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp

Function = Literal["sum", "count", "min", "max", "avg", "any_value", "list"]


class PivotConfig(TransformConfig):
    """Config of `pivot`."""

    type: Literal["pivot"] = "pivot"
    group_by: tuple[ColumnName, ...] = Field(
        default=(), description="Columns of which each combination makes one row; one row in all when not set."
    )
    column: ColumnName = Field(description="Column whose values become columns.", examples=["month"])
    values: tuple[StrictBool | StrictInt | StrictStr, ...] | dict[ColumnName, StrictBool | StrictInt | StrictStr] = (
        Field(
            description="Values that become columns, in this order; or an object of new column to value. They are "
            "named here, so that the columns are the same in every run; dates as ISO 8601 text.",
            examples=[["Q1", "Q2", "Q3", "Q4"], {"first_quarter": "Q1"}],
        )
    )
    value: ColumnName | None = Field(
        default=None, description="Column to compute from; not needed for count.", examples=["amount"]
    )
    function: Function = Field(
        default="sum", description="What is computed of the rows of one cell: null where there are none (count: 0)."
    )
    others: Literal["fail", "drop"] = Field(
        default="fail",
        description="What happens when the column has a value that is not listed, null too: fail stops the run, drop "
        "leaves such rows out.",
    )


@TRANSFORMS.register(PivotConfig)
class Pivot:
    """Makes columns of the values of one column: one row for each group, one cell for each listed value."""

    def __init__(self, config: PivotConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT key, …, sum(value) FILTER (WHERE column = 'x') AS "x", … FROM relation GROUP BY key, …`."""
        from sqlglot import exp

        config = self._config
        with sql.Problems() as problems:
            keys: list[str] = []
            if config.group_by:
                with problems.under():
                    keys = sql.match_columns(relation.columns, config.group_by, "group_by")
            column = config.column
            with problems.under("column"):
                column = sql.match_column(relation.columns, config.column)
                sql.refuse_repeat(column, keys)
            wanted = self._wanted(keys, (relation.columns or {}).get(column, ""), problems)
            with problems.under("value"):
                value = self._value(relation)
        cells: list[exp.Expr] = []
        for name, listed in wanted.items():
            equal = exp.EQ(this=sql.column(column), expression=sql.literal(listed))
            cell: exp.Expr = exp.Filter(this=self._computed(value), expression=exp.Where(this=equal))
            cell.meta["path"] = ("value",) if config.value else ("function",)
            cells.append(sql.aliased(cell, name))
        query = sql.select(relation, *map(sql.column, keys), *cells)
        if keys:
            query.set("group", exp.Group(expressions=[sql.column(key) for key in keys]))
        if config.others == "fail":  # not in the cells, which later steps may leave out
            query.having(self._no_others(column, list(wanted.values())), copy=False)
        return query

    def _wanted(self, keys: list[str], type_: str, problems: sql.Problems) -> dict[str, JsonValue]:
        """New columns to the values that they stand for."""
        values = self._config.values
        if not values:
            problems.add(Problem("empty-list", "at least one value is needed", ("values",)))
        named: list[tuple[str | int, str, JsonValue]] = (
            [(name, name, value) for name, value in values.items()]
            if isinstance(values, dict)
            else [(index, _text(value), value) for index, value in enumerate(values)]
        )
        found: dict[str, JsonValue] = {}
        for key, name, value in named:
            with problems.under("values", key):
                if not name:
                    raise ConfigError(
                        Problem("invalid-value", "an empty text names no column", (), 'write {"NAME": ""}')
                    )
                sql.refuse_repeat(name, [*keys, *found])
                sql.check_value(value, type_)
                found[name] = value
        return found

    def _value(self, relation: Relation) -> str | None:
        if self._config.value is not None:
            return sql.match_column(relation.columns, self._config.value)
        if self._config.function != "count":
            raise ConfigError(Problem("missing-key", f"'value' is needed for {self._config.function}"))
        return None

    def _computed(self, value: str | None) -> exp.Expr:
        from sqlglot import exp

        what = exp.Star() if value is None else sql.column(value)
        return exp.Anonymous(this=self._config.function, expressions=[what])

    def _no_others(self, column: str, values: list[JsonValue]) -> exp.Expr:
        """True, unless a row of the group has a value that no column stands for: then the engine raises."""
        from sqlglot import exp

        listed = exp.In(this=sql.column(column), expressions=[sql.literal(value) for value in values])
        other = exp.Not(this=exp.Coalesce(this=listed, expressions=[exp.false()]))
        text = exp.Coalesce(this=sql.cast(sql.column(column), "TEXT"), expressions=[sql.literal("null")])
        found = exp.Filter(this=exp.Anonymous(this="any_value", expressions=[text]), expression=exp.Where(this=other))
        told = exp.Concat(
            expressions=[
                sql.literal(f"pivot: column {column!r} has the value '"),
                exp.Left(this=found.copy(), expression=sql.literal(80)),
                sql.literal("', which 'values' does not list; add it, or set others to drop"),
            ]
        )
        unexpected = exp.Not(this=exp.Is(this=found, expression=exp.Null()))
        raised = exp.Anonymous(this="error", expressions=[told])
        return exp.Case(ifs=[exp.If(this=unexpected, true=raised)], default=exp.true())


def _text(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
