"""What `${…}` becomes in an exported module: a variable of the SQL session, set from Airflow's context.

The transforms are compiled for a run whose values no real run has; wherever such a value shows up in the SQL, a
variable belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from dataforge.components.base import JsonValue, RunValues
from dataforge.components.placeholders import PATTERN, Placeholder, parse_placeholder
from dataforge.config.pipeline import Param, PipelineConfig

if TYPE_CHECKING:
    from sqlglot import exp

_START = datetime(9873, 10, 11, 12, 13, 14, tzinfo=timezone.utc)
_END = datetime(9874, 11, 12, 13, 14, 15, tzinfo=timezone.utc)
_RUN_ID = "run id of an exported run"


@dataclass(frozen=True)
class Variable:
    """One value of a run: its name in SQL and in format strings, the Python expression for it, and stand-ins."""

    name: str
    python: str
    texts: tuple[str, ...] = ()
    number: str | None = None
    instant: bool = False


@dataclass(frozen=True)
class Variables:
    """The variables of one pipeline, the values to compile its transforms for, and what can't be a variable."""

    known: tuple[Variable, ...]
    values: RunValues
    fixed: tuple[str, ...] = field(default=())

    def used(self, text: str) -> list[Variable]:
        """Return the variables that a generated text refers to."""
        return [one for one in self.known if re.search(rf"((?i:getvariable)\('|\{{|%\(){one.name}('\)|\}}|\)s)", text)]

    def in_sql(self, query: exp.Query) -> str:
        """Return the SQL of a compiled query with variables in place of the stand-ins."""
        from sqlglot import exp

        def replace(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Literal):
                return node
            if not node.is_string:
                numbers = (one for one in self.known if one.number == node.this)
                return next((_variable(one) for one in numbers), node)
            return self._joined(node.this)

        return query.copy().transform(replace).sql("duckdb", pretty=True)

    def in_text(self, text: str) -> str:
        """Return a text for `str.format` with the names of variables in place of `${…}`, braces doubled."""
        parts = []
        end = 0
        for match in PATTERN.finditer(text):
            parts += [_doubled(text[end : match.start()]), f"{{{self._named(match[1])}}}"]
            end = match.end()
        return "".join([*parts, _doubled(text[end:])])

    def in_query(self, text: str) -> str:
        """Return a query for a Python driver with `%(name)s` in place of `${…}`, percent signs doubled."""
        parts, end = [], 0
        for match in PATTERN.finditer(text):
            parts += [text[end : match.start()].replace("%", "%%"), f"%({self._named(match[1])})s"]
            end = match.end()
        return "".join([*parts, text[end:].replace("%", "%%")])

    def _named(self, body: str) -> str:
        return _name(parse_placeholder(body), [one.name for one in self.known])

    def _joined(self, text: str) -> exp.Expr:
        """Return an expression for a text literal in which stand-ins may be."""
        from sqlglot import exp

        found = {text_: one for one in self.known for text_ in one.texts}
        pieces = re.split("(" + "|".join(map(re.escape, sorted(found, key=len, reverse=True))) + ")", text)
        if not found or len(pieces) == 1:
            return exp.Literal.string(text)
        parts = [_variable(found[piece]) if piece in found else exp.Literal.string(piece) for piece in pieces if piece]
        joined = parts[0]
        for part in parts[1:]:
            joined = exp.DPipe(this=joined, expression=part)
        return exp.Paren(this=joined) if len(parts) > 1 else joined


def variables(config: PipelineConfig) -> Variables:
    """Return the variables that the config's placeholders call for."""
    known: list[Variable] = []
    params: dict[str, JsonValue] = {}
    fixed = []
    used = {placeholder.param for placeholder in _placeholders(config)}
    for index, (name, param) in enumerate(config.params.items()):
        if param.type == "boolean":
            params[name] = bool(param.default)
            if name in used:
                fixed.append(name)
            continue
        variable, params[name] = _of_param(name, param, index)
        known.append(variable)
    instants = {"data_interval_start": _START, "data_interval_end": _END}
    for name, instant in instants.items():
        python = f'context["{name}"].isoformat()'
        known.append(Variable(name, python, (instant.isoformat(),), instant=True))
    known.append(Variable("run_id", 'context["run_id"]', (_RUN_ID,)))
    for placeholder in _placeholders(config):
        name = _name(placeholder, [one.name for one in known])
        if placeholder.format and name not in (one.name for one in known):
            python = f'context["{placeholder.name}"].strftime({placeholder.format!r})'
            known.append(Variable(name, python, (instants[placeholder.name].strftime(placeholder.format),)))
    return Variables(tuple(known), RunValues(params, _START, _END, _RUN_ID), tuple(fixed))


def _of_param(name: str, param: Param, index: int) -> tuple[Variable, JsonValue]:
    python, name = f'context["params"]["{name}"]', f"params_{name}"
    if param.type == "integer":
        return Variable(name, python, (str(number := 918_273_645_001 + index),), str(number)), number
    if param.type == "number":
        return Variable(name, python, (str(real := 918_273_645.125 + index),), str(real)), real
    if param.type == "date":
        day = (date(9871, 1, 1) + timedelta(days=index)).isoformat()
        return Variable(name, python, (day,)), day
    if param.type == "datetime":
        instant = datetime(9872, 1, 1, tzinfo=timezone.utc) + timedelta(days=index)
        return Variable(name, python, (instant.isoformat(),)), instant.isoformat()
    return Variable(name, python, (f"value of parameter {name} of an exported run",)), (
        f"value of parameter {name} of an exported run"
    )


def _name(placeholder: Placeholder, taken: list[str]) -> str:
    """Return the variable's name; instants with a pattern have the pattern's letters in it."""
    if placeholder.param:
        return f"params_{placeholder.param}"
    if not placeholder.format:
        return placeholder.name
    letters = re.sub(r"[^A-Za-z0-9]+", "_", placeholder.format.replace("%", "")).strip("_")
    return f"{placeholder.name}_{letters}" if letters else f"{placeholder.name}_{taken.index(placeholder.name)}"


def _placeholders(config: PipelineConfig) -> Iterator[Placeholder]:
    for text in _texts(config):
        for match in PATTERN.finditer(text):
            try:
                yield parse_placeholder(match[1])
            except ValueError:
                continue


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _variable(one: Variable) -> exp.Expr:
    from sqlglot import exp

    return exp.Anonymous(this="getvariable", expressions=[exp.Literal.string(one.name)])


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
