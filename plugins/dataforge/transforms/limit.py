"""The limit transform: only so many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp


class LimitConfig(TransformConfig):
    """Config of `limit`."""

    type: Literal["limit"] = "limit"
    count: int = Field(ge=0, le=2**62, description="Largest number of rows to keep.", examples=[1000])
    offset: int = Field(default=0, ge=0, le=2**62, description="Rows to leave out before.")


@TRANSFORMS.register(LimitConfig)
class Limit:
    """Keeps only the first rows; put a sort before it to say which come first."""

    def __init__(self, config: LimitConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * FROM relation LIMIT count OFFSET offset`."""
        query = sql.select(relation, sql.star()).limit(self._config.count, copy=False)
        return query.offset(self._config.offset, copy=False) if self._config.offset else query
