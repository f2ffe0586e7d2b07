"""The join transform: columns of another input beside one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, Name
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import Problem

if TYPE_CHECKING:
    from sqlglot import exp


class JoinConfig(TransformConfig):
    """Config of `join`."""

    type: Literal["join"] = "join"
    with_: Name = Field(alias="with", description="The source or named transform to join.", examples=["customers"])
    on: tuple[ColumnName, ...] | dict[ColumnName, ColumnName] = Field(
        description="Columns that must be equal: names that both have, or an object of own column to the other's.",
        examples=[["customer_id"], {"customer_id": "id"}],
    )
    how: Literal["inner", "left", "right", "full", "semi", "anti"] = Field(
        default="inner",
        description="inner: rows with a partner; left, right, full: also rows of that side without one; semi: own rows "
        "that have a partner; anti: own rows that have none.",
    )
    columns: tuple[ColumnName, ...] | dict[ColumnName, ColumnName] | None = Field(
        default=None,
        description="Columns to take from the other input, or an object of its column to new name; all when not set.",
        examples=[["country"], {"name": "customer_name"}],
    )
    suffix: str | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="Put behind a name of the other input that is there already; '_' and that input's name by default.",
        examples=["_customer"],
    )


_COMPARABLE = (frozenset(("date", "timestamp")), frozenset(("boolean", "number")))
"""Families of types whose values can all be compared with each other."""


@TRANSFORMS.register(JoinConfig)
class Join:
    """Puts the columns of another input beside one's own, where keys are equal; key columns appear once."""

    def __init__(self, config: JoinConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT l.*, r.column, … FROM relation AS l [how] JOIN other AS r ON l.key = r.key AND …`."""
        from sqlglot import exp

        other = sql.relation_named(self._config.with_, scope, "with")
        pairs = self._pairs(relation, other)
        self._refuse_types_apart(pairs, relation, other)
        how = self._config.how
        with sql.Problems() as problems:
            if how in ("semi", "anti") and self._config.columns is not None:
                problems.add(Problem("not-allowed", f"a {how} join takes no columns of the other input", ("columns",)))
            with problems.under():
                projections = self._projections(relation, other, pairs)
        equal = [exp.EQ(this=sql.column(left, "l"), expression=sql.column(right, "r")) for left, right in pairs]
        condition = exp.and_(*equal, copy=False)
        condition.meta["path"] = ("on",)
        return (
            exp.Select(expressions=projections)
            .from_(_as(relation, "l"), copy=False)
            .join(_as(other, "r"), on=condition, join_type=how, copy=False)
        )

    def _pairs(self, relation: Relation, other: Relation) -> list[tuple[str, str]]:
        on = self._config.on
        if not isinstance(on, dict):
            left = sql.match_columns(relation.columns, on, "on")
            return list(zip(left, sql.match_columns(other.columns, on, "on"), strict=True))
        with sql.Problems() as problems:
            with problems.under():
                keys = sql.match_keys(relation.columns, on, "on")
            rights = {}
            for name, right in on.items():
                with problems.under("on", name):
                    rights[name] = sql.match_column(other.columns, right)
        return [(keys[name], right) for name, right in rights.items()]

    def _refuse_types_apart(self, pairs: list[tuple[str, str]], relation: Relation, other: Relation) -> None:
        """Raise ConfigError for keys of known types that the engine would compare by a cast that can fail."""
        on = self._config.on
        with sql.Problems() as problems:
            keys: list[str | int] = list(on) if isinstance(on, dict) else list(range(len(on)))
            for key, (left, right) in zip(keys, pairs, strict=True):
                types = [(relation.columns or {}).get(left, ""), (other.columns or {}).get(right, "")]
                families = frozenset(map(sql.family, types))
                if None not in families and len(families) > 1 and families not in _COMPARABLE:
                    message = f"{left!r} ({types[0]}) can't be compared with {right!r} ({types[1]}) of the other input"
                    hint = "cast one of them in a cast step before, so that both have the same type"
                    problems.add(Problem("type-mismatch", message, ("on", key), hint))

    def _projections(self, relation: Relation, other: Relation, pairs: list[tuple[str, str]]) -> list[exp.Expr]:
        """The own columns, then the other's; keys of rows that only the other side has are taken from there."""
        from sqlglot import exp

        own = sql.star()
        if self._config.how in ("right", "full"):
            own = sql.star(
                replace={
                    left: exp.Coalesce(this=sql.column(left, "l"), expressions=[sql.column(right, "r")])
                    for left, right in pairs
                }
            )
        mine: exp.Expr = exp.Column(this=own, table=sql.identifier("l"))
        if self._config.how in ("semi", "anti"):
            return [mine]
        taken = self._taken(other, [right for _, right in pairs])
        if taken is None:
            return [mine, exp.Column(this=sql.star(exclude=[right for _, right in pairs]), table=sql.identifier("r"))]
        names = list(relation.columns or ())
        result = [mine]
        chosen = isinstance(self._config.columns, dict)
        suffix = self._config.suffix or f"_{self._config.with_}"
        for column, name in taken.items():
            new = name
            if chosen:
                sql.refuse_repeat(new, names, "columns", column)
            elif any(new.lower() == other.lower() for other in names):
                new = name + suffix
                sql.refuse_repeat(new, names, "suffix")
            names.append(new)
            result.append(sql.aliased(sql.column(column, "r"), new) if new != column else sql.column(column, "r"))
        return result

    def _taken(self, other: Relation, keys: list[str]) -> dict[str, str] | None:
        """The other input's columns to new names; None for all when they are not known."""
        wanted = self._config.columns
        if isinstance(wanted, dict):
            found = sql.match_keys(other.columns, wanted, "columns")
            return {found[name]: new for name, new in wanted.items()}
        if wanted is not None:
            return {name: name for name in sql.match_columns(other.columns, wanted, "columns")}
        if other.columns is None:
            return None
        dropped = {key.lower() for key in keys}
        return {name: name for name in other.columns if name.lower() not in dropped}


def _as(relation: Relation, alias: str) -> exp.Table:
    from sqlglot import exp

    table = relation.table()
    table.set("alias", exp.TableAlias(this=sql.identifier(alias)))
    return table
