"""The unpivot transform: columns as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import Problem

if TYPE_CHECKING:
    from sqlglot import exp

_VALUE = "dataforge value"


class UnpivotConfig(TransformConfig):
    """Config of `unpivot`."""

    type: Literal["unpivot"] = "unpivot"
    columns: tuple[ColumnName, ...] | dict[ColumnName, str] = Field(
        description="Columns that become rows; or an object of column to the text that stands for it in its rows.",
        examples=[["jan", "feb", "mar"], {"q1_amount": "Q1", "q2_amount": "Q2"}],
    )
    name_into: ColumnName = Field(
        default="name", description="New column with the name of the column that a row came from.", examples=["month"]
    )
    value_into: ColumnName = Field(default="value", description="New column with its value.", examples=["amount"])
    nulls: Literal["drop", "keep"] = Field(
        default="drop", description="Whether a column without a value makes a row: drop leaves it out, keep keeps it."
    )


@TRANSFORMS.register(UnpivotConfig)
class Unpivot:
    """Makes a row of each of some columns; all other columns stand in every row."""

    def __init__(self, config: UnpivotConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * EXCLUDE (column, …), UNNEST(names) AS name, UNNEST(values) AS value FROM relation`."""
        from sqlglot import exp

        config = self._config
        wanted = config.columns
        if isinstance(wanted, dict):
            found = sql.match_keys(relation.columns, wanted, "columns")
            told = {found[name]: text for name, text in wanted.items()}
        else:
            told = {name: name for name in sql.match_columns(relation.columns, wanted, "columns")}
        others = [name for name in relation.columns or () if name not in told]
        sql.refuse_repeat(config.name_into, others, "name_into")
        sql.refuse_repeat(config.value_into, [*others, config.name_into], "value_into")
        self._refuse_types_apart(relation, list(told))
        names = exp.Unnest(expressions=[exp.Array(expressions=[sql.literal(text) for text in told.values()])])
        values = exp.Unnest(expressions=[exp.Array(expressions=[sql.column(name) for name in told])])
        values.meta["path"] = ("columns",)
        kept = [sql.star(exclude=told)] if others or relation.columns is None else []
        rows = sql.select(relation, *kept, sql.aliased(names, config.name_into), sql.aliased(values, config.value_into))
        if config.nulls == "keep":
            return rows
        there = exp.Not(this=exp.Is(this=sql.column(config.value_into), expression=exp.Null()))
        inner = exp.Subquery(this=rows, alias=exp.TableAlias(this=sql.identifier("rows")))
        return exp.Select(expressions=[exp.Star()]).from_(inner, copy=False).where(there, copy=False)

    def _refuse_types_apart(self, relation: Relation, names: list[str]) -> None:
        """Raise ConfigError where the values would not fit into one column."""
        types = {name: (relation.columns or {}).get(name, "") for name in names}
        first = names[0]
        with sql.Problems() as problems:
            for index, (name, type_) in enumerate(types.items()):
                kinds = sql.family(types[first]) or types[first], sql.family(type_) or type_
                if all(kinds) and kinds[0] != kinds[1]:
                    message = f"{name!r} ({type_}) and {first!r} ({types[first]}) can't be in one column"
                    wanted = self._config.columns
                    key = list(wanted)[index] if isinstance(wanted, dict) else index
                    hint = "cast them to one type in a cast step before"
                    problems.add(Problem("type-mismatch", message, ("columns", key), hint))
