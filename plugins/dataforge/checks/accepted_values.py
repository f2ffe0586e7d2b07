"""The accepted_values check: a column with only listed values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Relation, Scope
from dataforge.components.fields import ColumnName
from dataforge.components.registry import CHECKS
from dataforge.errors import bounded


class AcceptedValuesConfig(CheckConfig):
    """Config of `accepted_values`."""

    type: Literal["accepted_values"] = "accepted_values"
    column: ColumnName = Field(description="The column to look at.", examples=["status"])
    values: tuple[StrictBool | StrictInt | StrictFloat | StrictStr, ...] = Field(
        min_length=1,
        max_length=1000,
        description="All values it may have, dates and instants as ISO 8601 text; nulls pass.",
        examples=[["paid", "open", "cancelled"]],
    )


@CHECKS.register(AcceptedValuesConfig)
class AcceptedValues:
    """A column holds only listed values."""

    def __init__(self, config: AcceptedValuesConfig) -> None:
        self._config = config

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Count the rows with another value than those listed."""
        from sqlglot import exp

        with sql.Problems() as problems:
            name = sql.match_column(relation.columns, self._config.column, "column")
            for index, value in enumerate(self._config.values):
                with problems.under("values", index):
                    sql.check_value(value, (relation.columns or {}).get(name, ""))
        listed = exp.In(this=sql.column(name), expressions=[sql.literal(value) for value in self._config.values])
        says = f"{name} is none of {self._listed()}"
        return sql.count_violations(relation, exp.Not(this=listed), says, name)

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        return f"{violations:,} of {checked:,} rows have another {self._config.column} than {self._listed()}"

    def _listed(self) -> str:
        return bounded(", ".join(map(repr, self._config.values)), 200)
