"""The union transform: rows of other inputs below one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import Name
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp


class UnionConfig(TransformConfig):
    """Config of `union`."""

    type: Literal["union"] = "union"
    with_: tuple[Name, ...] = Field(
        alias="with", description="The sources or named transforms to add.", examples=[["orders_2024", "orders_2025"]]
    )
    distinct: bool = Field(default=False, description="Keep only one of rows that are equal in all columns.")


@TRANSFORMS.register(UnionConfig)
class Union:
    """Puts the rows of other inputs below one's own; columns go by name, one that an input lacks is null there."""

    def __init__(self, config: UnionConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * FROM relation UNION ALL BY NAME SELECT * FROM other …`."""
        from sqlglot import exp

        if not self._config.with_:
            raise ConfigError(Problem("empty-list", "at least one input is needed", ("with",)))
        query: exp.Query = sql.select(relation, sql.star())
        with sql.Problems() as problems:
            for index, name in enumerate(self._config.with_):
                with problems.under("with", index):
                    other = sql.select(sql.relation_named(name, scope), sql.star())
                    query = exp.Union(this=query, expression=other, distinct=self._config.distinct, by_name=True)
        return query
