"""The drop transform: leave columns out."""

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


class DropConfig(TransformConfig):
    """Config of `drop`."""

    type: Literal["drop"] = "drop"
    columns: tuple[ColumnName, ...] = Field(description="Columns to leave out.", examples=[["note", "raw"]])


@TRANSFORMS.register(DropConfig)
class Drop:
    """Leaves the named columns out and keeps all others."""

    def __init__(self, config: DropConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * EXCLUDE (column, …) FROM relation`."""
        found = sql.match_columns(relation.columns, self._config.columns, "columns")
        if relation.columns is not None and len(found) == len(relation.columns):
            raise ConfigError(Problem("no-columns", "no column would be left", ("columns",)))
        return sql.select(relation, sql.star(exclude=found))
