"""The anonymise transform: values made coarser until no row stands alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp

_FAMILIES = {"width": ("number",), "to": ("date", "timestamp"), "first": ("text",), "groups": ("text",)}
"""The families of types that each way of making coarser takes."""
_SIZE, _LEFT = "dataforge group", "dataforge rest"


class Coarser(BaseModel):
    """One way to make a column coarser: exactly one of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: StrictInt | StrictFloat | None = Field(
        default=None, gt=0, description="Numbers: the lower end of their range of this width, 37 to 30 with width 10."
    )
    to: Literal["year", "quarter", "month", "week", "day", "hour"] | None = Field(
        default=None, description="Dates and instants: the begin of their year, quarter, month, week, day or hour."
    )
    first: StrictInt | None = Field(
        default=None, ge=0, le=1000, description="Texts: so many characters from the front, such as of a postcode."
    )
    groups: dict[str, str] | None = Field(
        default=None, description="Texts: value to the group that it belongs to, such as a town to its region."
    )
    other: str | None = Field(
        default=None, description="With groups: what a value becomes that is in none; null when not set."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Coarser:
        if sum(one is not None for one in (self.width, self.to, self.first, self.groups)) != 1:
            raise ValueError("exactly one of 'width', 'to', 'first' and 'groups' is needed")
        if self.other is not None and self.groups is None:
            raise ValueError("'other' goes with 'groups'")
        return self


class AnonymiseConfig(TransformConfig):
    """Config of `anonymise`."""

    type: Literal["anonymise"] = "anonymise"
    remove: tuple[ColumnName, ...] = Field(
        default=(),
        description="Columns that name a person by themselves, such as name and email: they are left out.",
        examples=[["name", "email"]],
    )
    generalise: dict[ColumnName, Coarser] = Field(
        default_factory=dict,
        description="Columns that name a person together with others, each with the way in which it is made coarser.",
        examples=[{"age": {"width": 10}, "born": {"to": "year"}, "postcode": {"first": 3}}],
    )
    within: tuple[ColumnName, ...] = Field(
        default=(),
        description="Further columns that may tell persons apart, as they are. Rows with equal values in these and in "
        "the generalised columns make a group.",
        examples=[["sex"]],
    )
    k: int | None = Field(
        default=None,
        ge=2,
        le=1_000_000,
        description="Rows that each group must have at least (k-anonymity); not looked at when not set.",
        examples=[5],
    )
    small_groups: Literal["fail", "drop", "suppress"] = Field(
        default="fail",
        description="What happens to rows of smaller groups: fail stops the run; drop leaves them out; suppress makes "
        "their generalised and 'within' columns null, and leaves them out if fewer than k rows are like that.",
    )


@TRANSFORMS.register(AnonymiseConfig)
class Anonymise:
    """Leaves out or coarsens what tells persons apart, and sees to it that no group of rows is smaller than k."""

    def __init__(self, config: AnonymiseConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * EXCLUDE (…) REPLACE (coarser AS column, …) FROM relation`, without groups below k."""

        config = self._config
        with sql.Problems() as problems:
            removed: list[str] = []
            if config.remove:
                with problems.under():
                    removed = sql.match_columns(relation.columns, config.remove, "remove")
            found: dict[str, str] = {}
            if config.generalise:
                with problems.under():
                    found = sql.match_keys(relation.columns, config.generalise, "generalise")
            within: list[str] = []
            if config.within:
                with problems.under():
                    within = sql.match_columns(relation.columns, config.within, "within")
            if not (config.remove or config.generalise or config.k):
                problems.add(Problem("missing-key", "'remove', 'generalise' or 'k' is needed"))
            for key, names in (("generalise", found.items()), ("within", enumerate(within))):
                for place, name in names:
                    with problems.under(key, place):
                        sql.refuse_repeat(name, removed if key == "generalise" else [*removed, *found.values()])
            if config.k is not None and not (config.generalise or config.within):
                problems.add(Problem("missing-key", "'k' needs 'generalise' or 'within'", ("k",)))
            if relation.columns is not None and len(removed) == len(relation.columns):
                problems.add(Problem("no-columns", "no column would be left", ("remove",)))
            coarse: dict[str, exp.Expr] = {}
            for name, way in config.generalise.items():
                if name in found:
                    with problems.under("generalise", name):
                        value = _coarser(found[name], way, (relation.columns or {}).get(found[name], ""))
                        value.meta["path"] = ("generalise", name)
                        coarse[found[name]] = value
        query = sql.select(relation, sql.star(exclude=removed, replace=coarse))
        if config.k is None:
            return query
        return self._large_enough(query, [*found.values(), *within], config.k)

    def _large_enough(self, query: exp.Select, names: list[str], k: int) -> exp.Select:
        """The rows of a query of which no group by those columns has fewer than k."""
        from sqlglot import exp

        counted = self._counted(query, [sql.column(name) for name in names], _SIZE)
        size, least = sql.column(_SIZE), sql.literal(k)
        small = exp.LT(this=size, expression=least)
        whole = exp.Select(expressions=[sql.star(exclude=[_SIZE])]).from_(counted, copy=False)
        if self._config.small_groups == "drop":
            return whole.where(exp.GTE(this=size, expression=least), copy=False)
        if self._config.small_groups == "fail":
            told = exp.Concat(
                expressions=[
                    sql.literal("anonymise: a group of "),
                    sql.cast(size, "TEXT"),
                    sql.literal(f" rows is smaller than {k}; generalise more, or set small_groups to drop or suppress"),
                ]
            )
            refused = exp.Case(
                ifs=[exp.If(this=small, true=exp.Anonymous(this="error", expressions=[told]))], default=exp.true()
            )
            return whole.where(refused, copy=False)
        nulls = {
            name: exp.Case(ifs=[exp.If(this=small.copy(), true=exp.Null())], default=sql.column(name)) for name in names
        }
        suppressed = exp.Select(expressions=[sql.star(replace=nulls)]).from_(counted, copy=False)
        # rows that are null in all of these columns by themselves are of that same group
        every = exp.and_(*(exp.Is(this=sql.column(name), expression=exp.Null()) for name in names), copy=False)
        again = self._counted(suppressed, [every], _LEFT)
        return (
            exp.Select(expressions=[sql.star(exclude=[_SIZE, _LEFT])])
            .from_(again, copy=False)
            .where(
                exp.Or(
                    this=exp.GTE(this=sql.column(_LEFT), expression=sql.literal(k)),
                    expression=exp.Not(this=exp.Paren(this=every.copy())),
                ),
                copy=False,
            )
        )

    @staticmethod
    def _counted(query: exp.Select, keys: list[exp.Expr], name: str) -> exp.Subquery:
        """The rows of a query with the number of rows that have their keys."""
        from sqlglot import exp

        inner = exp.Subquery(this=query, alias=exp.TableAlias(this=sql.identifier(f"{name} rows")))
        size = exp.Window(this=exp.Count(this=exp.Star()), partition_by=keys)
        counted = exp.Select(expressions=[exp.Star(), sql.aliased(size, name)]).from_(inner, copy=False)
        return exp.Subquery(this=counted, alias=exp.TableAlias(this=sql.identifier(f"{name} sizes")))


def _coarser(name: str, way: Coarser, type_: str) -> exp.Expr:
    from sqlglot import exp

    column = sql.column(name)
    for key, families in (
        ("width", ("number",)),
        ("to", ("date", "timestamp")),
        ("first", ("text",)),
        ("groups", ("text",)),
    ):
        kind = sql.family(type_)
        if getattr(way, key) is not None and type_ and kind not in families:
            hint = "cast it in a cast step before" if kind is None or kind == "text" else "choose another way"
            wanted = " or ".join(families)
            message = f"{key!r} is for columns of {wanted}; {name!r} is of type {type_}"
            raise ConfigError(Problem("type-mismatch", message, (key,), hint))
    if way.width is not None:
        width = sql.literal(way.width)
        rest = exp.Paren(this=exp.Mod(this=column, expression=width))  # below zero for numbers below zero
        above = exp.Paren(this=exp.Add(this=rest, expression=width.copy()))
        lower = exp.Sub(this=column.copy(), expression=exp.Mod(this=above, expression=width.copy()))
        return sql.cast(lower, type_) if type_ else lower
    if way.to is not None:
        begin = exp.Anonymous(this="date_trunc", expressions=[sql.literal(way.to), column])
        return sql.cast(begin, type_) if type_ else begin
    if way.first is not None:
        return exp.Left(this=column, expression=sql.literal(way.first))
    ifs = [exp.If(this=sql.literal(value), true=sql.literal(group)) for value, group in (way.groups or {}).items()]
    other = sql.literal(way.other) if way.other is not None else sql.cast(sql.literal(None), "TEXT")
    return exp.Case(this=column, ifs=ifs, default=other) if ifs else other
