"""The range check: a column between two values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictFloat, StrictInt, StrictStr

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Relation, Scope
from dataforge.components.fields import ColumnName
from dataforge.components.registry import CHECKS
from dataforge.errors import ConfigError, Problem


class RangeConfig(CheckConfig):
    """Config of `range`."""

    type: Literal["range"] = "range"
    column: ColumnName = Field(description="The column to look at.", examples=["amount"])
    min: StrictInt | StrictFloat | StrictStr | None = Field(
        default=None, description="Smallest value that passes; dates and instants as ISO 8601 text.", examples=[0]
    )
    max: StrictInt | StrictFloat | StrictStr | None = Field(
        default=None, description="Largest value that passes.", examples=[10_000, "2030-12-31"]
    )
    exclusive: bool = Field(default=False, description="Whether 'min' and 'max' themselves do not pass.")


@CHECKS.register(RangeConfig)
class Range:
    """A column's values lie between two values; nulls pass."""

    def __init__(self, config: RangeConfig) -> None:
        self._config = config

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Count the rows with a value outside."""
        from sqlglot import exp

        low, high = self._config.min, self._config.max
        if low is None and high is None:
            raise ConfigError(Problem("missing-key", "'min', 'max' or both are needed"))
        with sql.Problems() as problems:
            name = sql.match_column(relation.columns, self._config.column, "column")
            for key, value in (("min", low), ("max", high)):
                if value is not None:
                    with problems.under(key):
                        sql.check_value(value, (relation.columns or {}).get(name, ""))
        below, above = (exp.LTE, exp.GTE) if self._config.exclusive else (exp.LT, exp.GT)
        outside: list[exp.Expr] = []
        if low is not None:
            outside.append(below(this=sql.column(name), expression=sql.literal(low)))
        if high is not None:
            outside.append(above(this=sql.column(name), expression=sql.literal(high)))
        says = f"{name} is not {self._bounds()}"
        return sql.count_violations(relation, exp.or_(*outside, copy=False), says, name)

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        return f"{violations:,} of {checked:,} rows have a {self._config.column} that is not {self._bounds()}"

    def _bounds(self) -> str:
        low, high, more = self._config.min, self._config.max, "" if self._config.exclusive else "="
        return " and ".join([f">{more} {low}"] * (low is not None) + [f"<{more} {high}"] * (high is not None))
