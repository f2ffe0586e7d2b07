"""The row_count check: how many rows there are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Relation, Scope
from dataforge.components.registry import CHECKS
from dataforge.errors import ConfigError, Problem


class RowCountConfig(CheckConfig):
    """Config of `row_count`."""

    type: Literal["row_count"] = "row_count"
    min: int | None = Field(default=None, ge=0, description="Fewest rows that pass.", examples=[1])
    max: int | None = Field(default=None, ge=0, description="Most rows that pass.", examples=[1_000_000])


@CHECKS.register(RowCountConfig)
class RowCount:
    """The number of rows lies between two numbers."""

    def __init__(self, config: RowCountConfig) -> None:
        self._config = config

    def queries(self, relation: Relation, scope: Scope) -> CheckQueries:
        """Count the rows; one violation when there are too few or too many."""
        from sqlglot import exp

        low, high = self._config.min, self._config.max
        if low is None and high is None:
            raise ConfigError(Problem("missing-key", "'min', 'max' or both are needed"))
        if low is not None and high is not None and low > high:
            raise ConfigError(Problem("invalid-value", f"'min' {low} is above 'max' {high}", ("min",)))
        rows = exp.Count(this=exp.Star())
        outside: list[exp.Expr] = []
        if low is not None:
            outside.append(exp.LT(this=rows.copy(), expression=exp.Literal.number(low)))
        if high is not None:
            outside.append(exp.GT(this=rows.copy(), expression=exp.Literal.number(high)))
        broken = sql.cast(exp.or_(*outside, copy=False), "BIGINT")
        return CheckQueries(sql.select(relation, sql.aliased(broken, "violations"), sql.aliased(rows, "checked")))

    def describe(self, violations: int, checked: int) -> str:
        """Return one sentence for a result with violations."""
        low, high = self._config.min, self._config.max
        if low is not None and high is not None:
            wanted = f"{low:,} to {high:,}"
        else:
            wanted = f"at least {low:,}" if low is not None else f"at most {high:,}"
        return f"there are {checked:,} rows, not {wanted}"
