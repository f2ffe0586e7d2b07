"""The aggregate transform: one row for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, SqlExpression
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp


class AggregateConfig(TransformConfig):
    """Config of `aggregate`."""

    type: Literal["aggregate"] = "aggregate"
    group_by: tuple[ColumnName, ...] = Field(
        default=(),
        description="Columns that make a group; one row over everything when not set.",
        examples=[["region"]],
    )
    columns: dict[ColumnName, SqlExpression] = Field(
        default_factory=dict,
        description="New column to SQL expression with an aggregate function. sum and avg of double columns add up in "
        "no fixed order, so their last digits can differ between runs: cast to decimal for sums that are always equal.",
        examples=[{"total": "sum(amount)", "orders": "count(*)"}],
    )


@TRANSFORMS.register(AggregateConfig)
class Aggregate:
    """Makes one row of each group of rows."""

    def __init__(self, config: AggregateConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT key, …, expression AS column, … FROM relation GROUP BY key, …`."""
        from sqlglot import exp

        if not self._config.group_by and not self._config.columns:
            raise ConfigError(Problem("missing-key", "'group_by', 'columns' or both are needed"))
        with sql.Problems() as problems:
            keys: list[str] = []
            if self._config.group_by:
                with problems.under():
                    keys = sql.match_columns(relation.columns, self._config.group_by, "group_by")
            taken = list(keys)
            values: dict[str, exp.Expr] = {}
            for name, text in self._config.columns.items():
                with problems.under("columns", name):
                    sql.refuse_repeat(name, taken)
                    taken.append(name)
                    values[name] = self._value(text, relation, scope, keys or self._config.group_by)
                    values[name].meta["path"] = ("columns", name)
        query = sql.select(
            relation, *map(sql.column, keys), *(sql.aliased(value, name) for name, value in values.items())
        )
        if keys:
            query.set("group", exp.Group(expressions=[sql.column(key) for key in keys]))
        return query

    @staticmethod
    def _value(text: str, relation: Relation, scope: Scope, keys: list[str] | tuple[str, ...]) -> exp.Expr:
        value = sql.parse_expression(text, relation, scope, aggregates=True)
        grouped = {key.lower() for key in keys}
        loose = next((found for found in sql.loose_columns(value) if found.parts[0].name.lower() not in grouped), None)
        if loose is not None:
            name = loose.parts[0].name
            raise ConfigError(
                Problem(
                    "not-aggregated",
                    f"column {name!r} has several values in a group",
                    (),
                    f"write sum({name}), max({name}) or any_value({name}), or add it to group_by",
                )
            )
        return value
