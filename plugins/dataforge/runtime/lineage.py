"""Column lineage: from which columns of the sources each column of the result is made, and which steps change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataforge.components import sql
from dataforge.components.base import Columns, Traceable
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import TerminalError
from dataforge.runtime.compile import Plan, Step, compile
from dataforge.runtime.context import TaskContext
from dataforge.runtime.extract import landed

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

SAMPLE_ROWS = 1_000
"""Rows of a source from which the names and types of its columns are read."""

Origin = tuple[str, str]
"""A relation and its column."""


@dataclass(frozen=True)
class Traced:
    """A column of the result, the columns of the sources that it is made from, and the steps that change it."""

    column: str
    type: str
    origins: tuple[Origin, ...]
    steps: tuple[int, ...]


def run(config: PipelineConfig, context: TaskContext) -> list[Traced]:
    """Return the lineage of a pipeline's result; the columns of its sources are read from a sample."""
    with context.scratch() as scratch, landed(config, config.inputs, context, scratch, (), SAMPLE_ROWS) as (_, views):
        columns = {name: dict(view.columns) for name, view in views.items()}
    return trace(compile(config, columns, context.values))


def trace(plan: Plan) -> list[Traced]:
    """Return the lineage of a plan whose columns are known; TerminalError where they are not."""
    known: dict[str, dict[str, Traced]] = {}
    for name, columns in plan.inputs.items():
        known[name] = {
            column: Traced(column, type_, ((name, column),), ()) for column, type_ in _known(columns).items()
        }
    for step in plan.steps:
        inputs = {name: known[name] for name in step.reads}
        known[step.name] = {
            column: _through(step, column, type_, *found, inputs)
            for (column, type_), found in zip(_known(step.columns).items(), _made(step, plan), strict=True)
        }
    return list(known[plan.result].values())


def _known(columns: Columns | None) -> Columns:
    if columns is None:
        raise TerminalError("the columns of a step can't be known before a run, so there is no lineage")
    return columns


def _through(
    step: Step,
    column: str,
    type_: str,
    origins: Iterable[Origin],
    changed: bool,
    known: Mapping[str, Mapping[str, Traced]],
) -> Traced:
    before = [known[name][one] for name, one in origins if one in known.get(name, {})]
    steps = {index for one in before for index in one.steps} | ({step.index} if changed else set())
    sources = dict.fromkeys(origin for one in before for origin in one.origins)
    return Traced(column, type_, tuple(sources), tuple(sorted(steps)))


def _made(step: Step, plan: Plan) -> list[tuple[list[Origin], bool]]:
    """Return for each column of a step the columns it is made from, and whether the step does more than pass it on."""
    inputs = {name: _known(plan.columns_of(name)) for name in step.reads}
    columns = _known(step.columns)
    if isinstance(step.component, Traceable):
        return _told(step.component, columns, inputs)
    if step.query is None:  # a transform in Python, which may do anything
        every = [(name, one) for name, found in inputs.items() for one in found]
        same = {one: [(name, one)] for name, found in inputs.items() for one in found}
        return [(same.get(column, every), True) for column in columns]
    return _of_query(step.query, columns, inputs)


def _told(component: Traceable, columns: Columns, inputs: Mapping[str, Columns]) -> list[tuple[list[Origin], bool]]:
    """The same for a transform in Python that tells what its columns are made from."""
    ((relation, known),) = inputs.items()
    spelled = {name.lower(): name for name in known}
    made = {name.lower(): origins for name, origins in component.made_from().items()}
    found = []
    for column in columns:
        origins = made.get(column.lower(), (column,))
        named = [(relation, spelled[origin.lower()]) for origin in origins if origin.lower() in spelled]
        found.append((named, column.lower() in made))
    return found


def _of_query(query: exp.Query, columns: Columns, inputs: Mapping[str, Columns]) -> list[tuple[list[Origin], bool]]:
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    schema: dict[str, object] = {name: dict.fromkeys(found, "TEXT") for name, found in inputs.items()}
    try:
        made = qualify(query.copy(), dialect=sql.DIALECT, schema=schema, validate_qualify_columns=False)
        scope = build_scope(made)
    except SqlglotError as error:
        raise TerminalError(f"a step's SQL can't be traced: {error}") from None
    if scope is None:
        raise TerminalError("a step's SQL can't be traced")
    tracer = _Tracer(inputs)
    main = next(iter(inputs))
    found = [tracer.of(scope, column) for column in columns]
    return [
        (list(one), changed or one != {(main, column): None})
        for column, (one, changed) in zip(columns, found, strict=True)
    ]


class _Tracer:
    """Follows columns through the scopes of one qualified query, each only once."""

    def __init__(self, inputs: Mapping[str, Columns]) -> None:
        self._inputs = {name.lower(): (name, {one.lower(): one for one in found}) for name, found in inputs.items()}
        self._known: dict[tuple[int, str], tuple[dict[Origin, None], bool]] = {}

    def of(self, scope: Scope, column: str) -> tuple[dict[Origin, None], bool]:
        """Return the columns of the inputs that a column is made from, and whether it is more than passed on."""
        key = (id(scope), column.lower())
        if key not in self._known:
            self._known[key] = ({}, True)  # for a query that reads itself
            self._known[key] = self._follow(scope, column.lower())
        return self._known[key]

    def _follow(self, scope: Scope, column: str) -> tuple[dict[Origin, None], bool]:
        from sqlglot import exp

        if isinstance(scope.expression, exp.SetOperation):
            names = [one.alias_or_name.lower() for one in scope.expression.selects]
            place = names.index(column) if column in names and not scope.expression.args.get("by_name") else None
            sides = [self.of(one, _selected(one, place, column)) for one in scope.set_operation_scopes]
            return {origin: None for side, _ in sides for origin in side}, True
        if not isinstance(scope.expression, exp.Query):  # a list or a table function: all that it is made from
            return self._all(scope.expression, scope), True
        chosen = next((one for one in scope.expression.selects if one.alias_or_name.lower() == column), None)
        if chosen is None:
            return {}, True
        inner = chosen.unalias()
        if not isinstance(inner, exp.Column):
            return self._all(inner, scope), True
        return self._one(inner, scope, column)

    def _all(self, expression: exp.Expr, scope: Scope) -> dict[Origin, None]:
        from sqlglot import exp

        found = [self._one(one, scope, "")[0] for one in expression.find_all(exp.Column)]
        return {origin: None for one in found for origin in one}

    def _one(self, column: exp.Column, scope: Scope, name: str) -> tuple[dict[Origin, None], bool]:
        from sqlglot import exp

        source = _source(scope, column.table)
        if isinstance(source, exp.Table):
            relation, columns = self._inputs.get(source.name.lower(), ("", {}))
            spelled = columns.get(column.name.lower())
            return ({(relation, spelled): None} if spelled else {}), column.name.lower() != name
        if source is None:
            return {}, True
        found, changed = self.of(source, column.name)
        return found, changed or column.name.lower() != name


def _selected(scope: Scope, place: int | None, column: str) -> str:
    """Return the name that one side of a union has for the column at that place; None: the same name."""
    from sqlglot import exp

    selects = scope.expression.selects if isinstance(scope.expression, exp.Query) else []
    return selects[place].alias_or_name if place is not None and place < len(selects) else column


def _source(scope: Scope, alias: str) -> exp.Table | Scope | None:
    """Return what a table's alias stands for, here, or in a subquery within an expression."""
    if alias in scope.sources:
        found: exp.Table | Scope = scope.sources[alias]
        return found
    inner = (_source(one, alias) for one in (*scope.subquery_scopes, *scope.udtf_scopes))
    return next((one for one in inner if one is not None), None)
