"""The lookup transform: values from another input, found by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from dataforge.components import sql
from dataforge.components.base import Refused, Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName, Name, SqlExpression
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlglot import exp

_FOUND, _COUNT, _OTHER = "dataforge found", "dataforge count", "dataforge other"
_COMPARABLE = (frozenset(("date", "timestamp")), frozenset(("boolean", "number")))
"""Families of types whose values can all be compared with each other."""


class LookupConfig(TransformConfig):
    """Config of `lookup`."""

    type: Literal["lookup"] = "lookup"
    with_: Name = Field(alias="with", description="The source or named transform to look in.", examples=["customers"])
    on: tuple[ColumnName, ...] | dict[ColumnName, ColumnName] = Field(
        description="Columns that must be equal: names that both have, or an object of own column to the other's.",
        examples=[["customer_id"], {"customer_id": "id"}],
    )
    columns: tuple[ColumnName, ...] | dict[ColumnName, ColumnName] = Field(
        description="Columns to take from the other input, or an object of its column to new name.",
        examples=[["country"], {"name": "customer_name"}],
    )
    missing: Literal["null", "default", "fail", "dead_letter"] = Field(
        default="null",
        description="What happens to a row whose key is not there, a null one too: null leaves the new columns null; "
        "default puts the values of 'defaults' there; fail stops the run; dead_letter sets the row aside.",
    )
    defaults: dict[ColumnName, StrictBool | StrictInt | StrictFloat | StrictStr] = Field(
        default_factory=dict,
        description="New column to its value where the key is not there, with missing default; dates as ISO 8601 text.",
        examples=[{"customer_name": "unknown"}],
    )
    several: Literal["fail", "first"] = Field(
        default="fail",
        description="What happens where the other input has a key more than once: fail stops the run once a row looks "
        "for it; first takes the row that comes first by 'order_by'. A row is never doubled.",
    )
    order_by: SqlExpression | tuple[SqlExpression, ...] | None = Field(
        default=None,
        description="Order of the other input's rows of one key, with several first: the first one is taken.",
        examples=["valid_from desc"],
    )


@TRANSFORMS.register(LookupConfig)
class Lookup:
    """Adds columns of another input, found by key: each row stays one row, and a miss is null, a default or a fault."""

    def __init__(self, config: LookupConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT l.*, r.column … FROM relation AS l LEFT JOIN (SELECT … GROUP BY key) AS r ON …`."""
        from sqlglot import exp

        config = self._config
        other = sql.relation_named(config.with_, scope, "with")
        with sql.Problems() as problems:
            with problems.under():
                pairs = self._pairs(relation, other)
            with problems.under():
                taken = self._taken(relation, other)
            order: list[exp.Expr] = []
            if config.order_by is not None:
                if config.several != "first":
                    message = "'order_by' has no effect without several 'first'"
                    problems.add(Problem("missing-key", message, ("order_by",), "set several to first"))
                with problems.under():
                    order = sql.parse_order(config.order_by, other, scope, "order_by")
            elif config.several == "first":
                problems.add(Problem("missing-key", "'order_by' is needed to tell which row is first", ("several",)))
        projections: list[exp.Expr] = [exp.Column(this=exp.Star(), table=sql.identifier("l"))]
        for place, (column, new) in enumerate(taken.items()):
            value = self._value(place, new)
            value.meta["path"] = ("columns", column) if isinstance(config.columns, dict) else ("columns", place)
            projections.append(sql.aliased(value, new))
        equal = [exp.EQ(this=sql.column(left, "l"), expression=sql.column(right, "r")) for left, right in pairs]
        condition = exp.and_(*equal, copy=False)
        condition.meta["path"] = ("on",)
        table = relation.table()
        table.set("alias", exp.TableAlias(this=sql.identifier("l")))
        how = "inner" if config.missing == "dead_letter" else "left"
        query = (
            exp.Select(expressions=projections)
            .from_(table, copy=False)
            .join(self._by_key(other, pairs, list(taken), order), on=condition, join_type=how, copy=False)
        )
        faults = self._faults(pairs)
        return query.where(exp.Case(ifs=faults, default=exp.true()), copy=False) if faults else query

    def refused(self, relation: Relation, scope: Scope) -> Refused | None:
        """Return which rows have no partner, where those are set aside."""
        from sqlglot import exp

        if self._config.missing != "dead_letter":
            return None
        other = sql.relation_named(self._config.with_, scope, "with")
        pairs = self._pairs(relation, other)
        table = other.table()
        table.set("alias", exp.TableAlias(this=sql.identifier(_OTHER)))
        equal = [
            exp.EQ(this=sql.column(left, relation.name), expression=sql.column(right, _OTHER)) for left, right in pairs
        ]
        partner = exp.Select(expressions=[sql.literal(1)]).from_(table, copy=False).where(*equal, copy=False)
        column = pairs[0][0] if len(pairs) == 1 else ""
        keys = ", ".join(repr(left) for left, _ in pairs)
        says = f"the key in {keys} is not in {self._config.with_!r}"
        return Refused(exp.Not(this=exp.Exists(this=partner)), says, column)

    def _value(self, place: int, new: str) -> exp.Expr:
        """SQL for a new column: what was found, or what stands for a miss."""
        from sqlglot import exp

        found = exp.Anonymous(this="struct_extract", expressions=[sql.column(_FOUND, "r"), sql.literal(f"v{place}")])
        defaults = {name.lower(): value for name, value in self._config.defaults.items()}
        if self._config.missing != "default" or new.lower() not in defaults:
            return found
        none = exp.Is(this=sql.column(_COUNT, "r"), expression=exp.Null())
        return exp.Case(ifs=[exp.If(this=none, true=sql.literal(defaults[new.lower()]))], default=found)

    def _faults(self, pairs: list[tuple[str, str]]) -> list[exp.If]:
        """What stops the run, as a condition on rows and not within the columns, which later steps may leave out."""
        from sqlglot import exp

        config, count = self._config, sql.column(_COUNT, "r")
        ifs: list[exp.If] = []
        if config.missing == "fail":
            none = exp.Is(this=count, expression=exp.Null())
            ifs.append(exp.If(this=none, true=self._raised(pairs, f" is not in {config.with_!r}")))
        if config.several == "fail":
            many = exp.GT(this=count.copy(), expression=sql.literal(1))
            ifs.append(exp.If(this=many, true=self._raised(pairs, f" is in {config.with_!r} more than once")))
        return ifs

    def _raised(self, pairs: list[tuple[str, str]], what: str) -> exp.Expr:
        from sqlglot import exp

        keys = [
            exp.Left(
                this=exp.Coalesce(this=sql.cast(sql.column(left, "l"), "TEXT"), expressions=[sql.literal("null")]),
                expression=sql.literal(80),
            )
            for left, _ in pairs
        ]
        shown = exp.Anonymous(this="concat_ws", expressions=[sql.literal("', '"), *keys])
        told = exp.Concat(expressions=[sql.literal("lookup: the key '"), shown, sql.literal(f"'{what}")])
        return exp.Anonymous(this="error", expressions=[told])

    def _pairs(self, relation: Relation, other: Relation) -> list[tuple[str, str]]:
        """Own columns and the other's that must be equal; ConfigError for unknown ones and for types apart."""
        on = self._config.on
        wanted = on if isinstance(on, dict) else {name: name for name in on}
        found: list[tuple[str, str]] = []
        with sql.Problems() as problems:
            if not wanted:
                problems.add(Problem("empty-list", "at least one column is needed", ("on",)))
            for index, (left, right) in enumerate(wanted.items()):
                key = left if isinstance(on, dict) else index
                with problems.under("on", key):
                    pair = sql.match_column(relation.columns, left), sql.match_column(other.columns, right)
                    types = (relation.columns or {}).get(pair[0], ""), (other.columns or {}).get(pair[1], "")
                    families = frozenset(map(sql.family, types))
                    if None not in families and len(families) > 1 and families not in _COMPARABLE:
                        message = f"{left!r} ({types[0]}) can't be compared with {right!r} ({types[1]}) of the other"
                        hint = "cast one of them in a cast step before, so that both have the same type"
                        raise ConfigError(Problem("type-mismatch", message, (), hint))
                    found.append(pair)
        return found

    def _taken(self, relation: Relation, other: Relation) -> dict[str, str]:
        """The other input's columns to new names."""
        config, wanted = self._config, self._config.columns
        with sql.Problems() as problems:
            if isinstance(wanted, dict):
                found = sql.match_keys(other.columns, wanted, "columns")
                taken = {found[name]: new for name, new in wanted.items()}
                places: list[str | int] = list(wanted)
            else:
                taken = {name: name for name in sql.match_columns(other.columns, wanted, "columns")}
                places = list(range(len(taken)))
            names = list(relation.columns or ())
            for place, new in zip(places, taken.values(), strict=True):
                with problems.under("columns", place):
                    sql.refuse_repeat(new, names)
                    names.append(new)
            if config.defaults and config.missing != "default":
                message = "'defaults' has no effect without missing 'default'"
                problems.add(Problem("missing-key", message, ("defaults",), "set missing to default"))
            if config.missing == "default" and not config.defaults:
                problems.add(Problem("missing-key", "missing 'default' needs 'defaults'", ("missing",)))
            spelled = {new.lower(): column for column, new in taken.items()}
            for new, value in config.defaults.items():
                with problems.under("defaults", new):
                    if new.lower() not in spelled:
                        raise sql.unknown("column", new, list(taken.values()))
                    sql.check_value(value, (other.columns or {}).get(spelled[new.lower()], ""))
        return taken

    def _by_key(
        self, other: Relation, pairs: list[tuple[str, str]], taken: list[str], order: list[exp.Expr]
    ) -> exp.Subquery:
        """The other input with one row for each key: one record of the wanted columns, and how many there were."""
        from sqlglot import exp

        keys = [sql.column(right) for _, right in pairs]
        fields = [
            exp.PropertyEQ(this=sql.identifier(f"v{index}"), expression=sql.column(name))
            for index, name in enumerate(taken)
        ]
        record: exp.Expr = exp.Struct(expressions=fields)
        if order:
            record = exp.Order(this=record, expressions=order)
        projections = [
            *(key.copy() for key in keys),
            sql.aliased(exp.Anonymous(this="first", expressions=[record]), _FOUND),
            sql.aliased(exp.Count(this=exp.Star()), _COUNT),
        ]
        rows = sql.select(other, *projections)
        rows.set("group", exp.Group(expressions=keys))
        return exp.Subquery(this=rows, alias=exp.TableAlias(this=sql.identifier("r")))
