"""The mask transform: personal values made unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components import sql
from dataforge.components.base import Relation, Scope, TransformConfig
from dataforge.components.fields import ColumnName
from dataforge.components.registry import TRANSFORMS

if TYPE_CHECKING:
    from sqlglot import exp

Method = Literal["hash", "redact", "null", "partial", "email"]


class MaskConfig(TransformConfig):
    """Config of `mask`."""

    type: Literal["mask"] = "mask"
    columns: dict[ColumnName, Method] = Field(
        description="Column to method. hash: SHA-256 of the text, as 64 hex digits, equal for equal values; redact: "
        "'***'; null: null; partial: stars but for the last 4 characters (of 8 or more); email: first character and "
        "domain. Nulls stay null.",
        examples=[{"email": "hash", "phone": "partial"}],
    )
    salt: str = Field(
        default="",
        max_length=200,
        description="Put before every value that is hashed, so that hashes can't be matched with another pipeline's. "
        "It stands in the config for all to read, so it doesn't keep anyone from trying out likely values.",
        examples=["crm-2025"],
    )


@TRANSFORMS.register(MaskConfig)
class Mask:
    """Makes the values of columns unreadable; they become text."""

    def __init__(self, config: MaskConfig) -> None:
        self._config = config

    def apply(self, relation: Relation, scope: Scope) -> exp.Query:
        """Return `SELECT * REPLACE (masked AS column, …) FROM relation`."""
        found = sql.match_keys(relation.columns, self._config.columns, "columns")
        values = {}
        for name, method in self._config.columns.items():
            value = self._masked(found[name], method, (relation.columns or {}).get(found[name], ""))
            value.meta["path"] = ("columns", name)
            values[found[name]] = value
        return sql.select(relation, sql.star(replace=values))

    def _masked(self, name: str, method: Method, type_: str) -> exp.Expr:
        from sqlglot import exp

        text = sql.cast(sql.column(name), "TEXT")
        if method == "null":
            return exp.Cast(this=exp.Null(), to=exp.DataType.build(type_, dialect=sql.DIALECT)) if type_ else exp.Null()
        if method == "hash":
            salted = exp.DPipe(this=sql.literal(self._config.salt), expression=text) if self._config.salt else text
            return exp.SHA2(this=salted, length=exp.Literal.number(256))
        if method == "redact":
            return _case(exp.Not(this=exp.Is(this=sql.column(name), expression=exp.Null())), sql.literal("***"))
        length = exp.Length(this=text.copy())
        if method == "partial":
            stars = exp.Repeat(this=sql.literal("*"), times=exp.Sub(this=length.copy(), expression=sql.literal(4)))
            kept = exp.DPipe(this=stars, expression=exp.Right(this=text, expression=sql.literal(4)))
            every = exp.Repeat(this=sql.literal("*"), times=length)
            return _case(exp.GTE(this=length.copy(), expression=sql.literal(8)), kept, every)
        # The part behind the last '@' is the domain, whatever stands before it.
        masked = exp.RegexpReplace(
            this=text,
            expression=sql.literal(r"^(.)?.*(@[^@]*)$"),
            replacement=sql.literal(r"\1***\2"),
            modifiers=sql.literal("s"),
        )
        hidden = _case(exp.Not(this=exp.Is(this=text.copy(), expression=exp.Null())), sql.literal("***"))
        has_at = exp.GT(this=exp.StrPosition(this=text.copy(), substr=sql.literal("@")), expression=sql.literal(0))
        return _case(has_at, masked, hidden)


def _case(condition: exp.Expr, then: exp.Expr, otherwise: exp.Expr | None = None) -> exp.Case:
    from sqlglot import exp

    return exp.Case(ifs=[exp.If(this=condition, true=then)], default=otherwise)
