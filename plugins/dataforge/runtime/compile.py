"""`compile`: the transforms of a pipeline as one query with a CTE for each step, checked before anything runs.

Every step is checked against the columns before it: their names always when they are known, their types too when the
types of all inputs are known. Types come from DuckDB's own binder, over empty tables, so that what passes here is what
the engine will accept; without known types DuckDB isn't even imported. A transform in Python cuts the chain: the
plan then has several segments, in the order in which they run.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from dataforge.components import sql
from dataforge.components.base import (
    ArrowTransform,
    Columns,
    Refused,
    Refusing,
    Relation,
    RunValues,
    Scope,
    Sifting,
    TransformConfig,
    TransformContext,
)
from dataforge.components.registry import CHECKS, TRANSFORMS
from dataforge.components.wide_decimals import held_schema
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, Problem, TerminalError, bounded
from dataforge.runtime.values import resolve

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from sqlglot import exp

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Step:
    """One transform of a plan. `columns` is None when they are not known; a type of "" is one that is not known.

    `query` reads the relations named in `reads`; an Arrow step has no query but a `component`, and reads one relation.
    `refused` are the rows of the first relation that the step sets aside.
    """

    index: int
    type: str
    name: str
    columns: Columns | None
    reads: tuple[str, ...]
    query: exp.Query | None = field(default=None, repr=False)
    component: ArrowTransform | None = field(default=None, repr=False)
    refused: Refused | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SqlSegment:
    """Consecutive SQL steps as one query; `reads` are inputs and results of Arrow segments before it."""

    query: exp.Query = field(repr=False)
    reads: tuple[str, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class ArrowSegment:
    """A Python transform; it takes the stream of the SQL segment before it, its result is the relation `name`."""

    name: str
    step: int
    component: ArrowTransform = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """What a pipeline's transforms do, ready to run; `columns` of the result are None when they are not known."""

    config: PipelineConfig
    values: RunValues | None
    inputs: Mapping[str, Columns | None]
    steps: tuple[Step, ...]
    result: str
    columns: Columns | None
    context: TransformContext | None = field(default=None, repr=False)
    """What transforms in Python may use; None where nothing is run."""

    @property
    def is_bound(self) -> bool:
        """Whether the names and types of all inputs were known when this was compiled."""
        return all(_is_typed(columns) for columns in self.inputs.values())

    @property
    def segments(self) -> tuple[SqlSegment | ArrowSegment, ...]:
        """The segments in the order in which they run; the last one gives the result."""
        found: list[SqlSegment | ArrowSegment] = []
        for name in self._arrow_before(self.result):
            step = self._step(name)
            assert step is not None
            assert step.component is not None
            found += [self._segment(step.reads[0]), ArrowSegment(name, step.index, step.component)]
        last = self._step(self.result)
        if last is None or last.component is None:
            found.append(self._segment(self.result))
        return tuple(found)

    def sql(self, *, pretty: bool = True) -> str:
        """Return the SQL of all segments, for people to read; segments in Python stand as comments between them."""
        parts = []
        for segment in self.segments:
            if isinstance(segment, SqlSegment):
                parts.append(segment.query.sql(sql.DIALECT, pretty=pretty))
            else:
                parts.append(f"-- {segment.name}: {self.steps[segment.step].type}, a transform in Python")
        return "\n\n".join(parts)

    def upto(self, step: int) -> Plan:
        """Return the plan that ends with the step of that index (-1: with the first input), for previews."""
        if step < 0:
            name = next(iter(self.inputs))
            return replace(self, result=name, columns=self.inputs[name])
        return replace(self, result=self.steps[step].name, columns=self.steps[step].columns)

    def over(self, name: str) -> exp.Select:
        """Return `SELECT * FROM` an input or a step, with the SQL steps before it; a new query each time."""
        return cast("exp.Select", self._segment(name).query)

    def columns_of(self, name: str) -> Columns | None:
        """Return the columns of an input or a step."""
        step = self._step(name)
        return self.inputs[name] if step is None else step.columns

    def query_upto(self, step: int) -> exp.Query:
        """Return the last query of the plan that ends with the step of that index."""
        last = self.upto(step).segments[-1]
        if isinstance(last, ArrowSegment):
            raise TerminalError(f"step {step} ({self.steps[step].type}) is a transform in Python and has no query")
        return last.query

    def bind(self, inputs: Mapping[str, Columns]) -> Plan:
        """Return this plan compiled again for inputs whose columns are known now."""
        bound = compile(self.config, inputs, self.values, self.context)
        step = self._step(self.result)
        if step is not None:
            return bound.upto(step.index)
        return bound if self.result == bound.result else replace(bound, result=self.result, columns=inputs[self.result])

    def _step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)

    def _arrow_before(self, name: str) -> list[str]:
        """The Arrow steps that must run for `name`, itself included, in order."""
        step = self._step(name)
        if step is None:
            return []
        before = [found for read in step.reads for found in self._arrow_before(read)]
        return list(dict.fromkeys([*before, name] if step.component is not None else before))

    def _sql_before(self, name: str, found: dict[str, Step]) -> dict[str, Step]:
        """The SQL steps that `name` needs within its segment, itself included, in order."""
        step = self._step(name)
        if step is not None and step.query is not None and name not in found:
            for read in step.reads:
                self._sql_before(read, found)
            found[name] = step
        return found

    def _segment(self, name: str) -> SqlSegment:
        from sqlglot import exp

        steps = sorted(self._sql_before(name, {}).values(), key=lambda step: step.index)
        query = sql.select(Relation(name), exp.Star())
        if steps:
            ctes = [
                exp.CTE(this=step.query.copy(), alias=exp.TableAlias(this=sql.identifier(step.name)))
                for step in steps
                if step.query is not None
            ]
            query.set("with_", exp.With(expressions=ctes))
        inner = {step.name for step in steps}
        reads = dict.fromkeys(read for step in steps for read in step.reads if read not in inner)
        return SqlSegment(query, tuple(reads) if steps else (name,), tuple(step.index for step in steps))


def compile(
    config: PipelineConfig,
    inputs: Mapping[str, Columns | None],
    values: RunValues | None = None,
    context: TransformContext | None = None,
) -> Plan:
    """Return the plan of a pipeline's transforms, its checks checked too.

    `inputs` are the columns of the sources by name, None where they are not known; `context` is what transforms in
    Python may use when the plan is run. ConfigError holds the problems of all steps, paths from the root of the config;
    a step after a broken one is checked as far as it can be.
    """
    return replace(_Compiler(config, inputs, values).compile(), context=context)


def scope(config: PipelineConfig, values: RunValues | None, relations: Mapping[str, Relation] | None = None) -> Scope:
    """Return what expressions of that config may refer to: relations, the run's values, and the types of params."""
    return Scope(relations or {}, values, {name: param.type for name, param in config.params.items()})


class _Compiler:
    """The state of one compilation: relations by the names that configs use, and the problems so far."""

    def __init__(self, config: PipelineConfig, inputs: Mapping[str, Columns | None], values: RunValues | None) -> None:
        self._config = config
        self._inputs = {name: inputs.get(name) for name in config.inputs}
        self._given = values
        self._values = None if values is None else _with_defaults(config, values)
        self._relations = {name: Relation(name, columns) for name, columns in self._inputs.items()}
        self._problems = sql.Problems()
        self._taken = {name.lower() for name in (*self._inputs, "input")}
        self._binder: _Binder | None = None

    def compile(self) -> Plan:
        typed = all(_is_typed(columns) for columns in self._inputs.values())
        if typed and (self._config.transforms or self._config.checks):
            self._binder = _Binder()
        try:
            return self._compile()
        finally:
            if self._binder is not None:
                self._binder.close()

    def _compile(self) -> Plan:
        if self._binder is not None:
            for name, columns in self._inputs.items():
                self._binder.create(name, columns or {})
        steps: list[Step] = []
        current = next(iter(self._relations.values()))
        with self._problems:
            for index, transform in enumerate(self._config.transforms):
                name = self._name(index, transform.type)
                relation = current
                with self._problems.under("transforms", index, "input"):
                    if transform.input is not None:
                        relation = sql.relation_named(transform.input, Scope(self._relations))
                found = len(self._problems.found)
                step = Step(index, transform.type, name, None, (relation.name,))
                with self._problems.under("transforms", index):
                    step = self._step(step, transform, relation)
                steps.append(step)
                if self._binder is not None:
                    self._binder = self._binder.after(name, step.columns, len(self._problems.found) > found)
                current = Relation(name, step.columns)
                with self._problems.under("transforms", index, "name"):
                    self._remember(transform, current)
            self._check(current)
        return Plan(self._config, self._given, self._inputs, tuple(steps), current.name, current.columns)

    def _name(self, index: int, type_: str) -> str:
        name = f"step_{index + 1}_{type_}"
        while name.lower() in self._taken:
            name += "_"
        return name

    def _remember(self, transform: TransformConfig, relation: Relation) -> None:
        if transform.name is None:
            return
        if transform.name.lower() in self._taken:
            raise ConfigError(
                Problem("duplicate-name", f"{transform.name!r} names another input already", (), "choose another name")
            )
        self._taken.add(transform.name.lower())
        self._relations[transform.name] = relation

    def _scope(self) -> Scope:
        return scope(self._config, self._values, self._relations)

    def _step(self, step: Step, config: TransformConfig, relation: Relation) -> Step:
        component = TRANSFORMS.build(config if self._values is None else resolve(config, self._values))
        if hasattr(component, "apply_batches"):
            return self._arrow_step(step, cast("ArrowTransform", component), config, relation)
        query = component.apply(relation, self._scope())
        reads = _reads(query, {*self._inputs, *(f.name for f in self._relations.values()), relation.name})
        relations = {known.name: known for known in (*self._relations.values(), relation)}
        if self._binder is not None:
            columns: Columns | None = self._binder.columns(query)
            refuse_mismatches(query, relations, self._binder.reads)
            self._binder.refuse_other_conditions(query)
        else:
            columns = output_columns(query, relations)
        _refuse_repeats(columns)
        refused = component.refused(relation, self._scope()) if isinstance(component, Refusing) else None
        if refused is not None:
            self._need_dead_letters(config)
        return replace(step, query=query, reads=reads, columns=columns, refused=refused)

    def _need_dead_letters(self, config: TransformConfig) -> None:
        """Raise ConfigError where rows would be set aside but no number of them is allowed."""
        if not self._config.reject_limit.enabled:
            message = f"{config.type} sets rows aside, but the pipeline has no 'dead_letters' to say how many may be"
            raise ConfigError(Problem("needs-dead-letters", message, (), 'add "dead_letters": {"max_share": 0.01}'))

    def _arrow_step(self, step: Step, component: ArrowTransform, config: TransformConfig, relation: Relation) -> Step:
        if isinstance(component, Sifting) and component.sifts:
            self._need_dead_letters(config)
        columns = self._binder.through(component, relation.name) if self._binder is not None else None
        return replace(step, component=component, columns=columns)

    def _check(self, result: Relation) -> None:
        """Try the checks' queries as well: a misspelled column in a check shall not wait for the run."""
        for index, config in enumerate(self._config.checks):
            with self._problems.under("checks", index):
                check = CHECKS.build(config if self._values is None else resolve(config, self._values))
                queries = check.queries(result, self._scope())
                if config.severity == "reject" and queries.violates is None:
                    message = f"{config.type} looks at many rows at once, so no single row can be set aside for it"
                    self._problems.add(
                        Problem("not-rejectable", message, ("severity",), "choose fail or warn").under("checks", index)
                    )
                if self._binder is not None:
                    self._binder.columns(queries.count)
                    refuse_mismatches(queries.count, {result.name: result}, self._binder.reads)
                    self._binder.refuse_other_conditions(queries.count)


def _with_defaults(config: PipelineConfig, values: RunValues) -> RunValues:
    params = {name: param.default for name, param in config.params.items() if param.default is not None}
    return replace(values, params={**params, **{k: v for k, v in values.params.items() if v is not None}})


def _is_typed(columns: Columns | None) -> bool:
    return columns is not None and bool(columns) and all(columns.values())


def _reads(query: exp.Query, known: set[str]) -> tuple[str, ...]:
    """The relations a query reads, without the names that its own WITH defines."""
    from sqlglot import exp

    return tuple(dict.fromkeys(table.name for table in query.find_all(exp.Table) if table.name in known))


def _refuse_repeats(columns: Columns | None) -> None:
    seen: set[str] = set()
    for name in columns or ():
        if name.lower() in seen:
            sql.refuse_repeat(name, seen)
        seen.add(name.lower())


# ------------------------------------------------------------------------------------- columns without an engine


def output_columns(query: exp.Expr, relations: Mapping[str, Relation]) -> Columns | None:
    """Return the columns that a query gives, types "" where only the engine could tell; None when they can't be told.

    `relations` are the tables it reads, by the name it reads them under.
    """
    from sqlglot import exp

    with_ = query.args.get("with_")
    if with_ is not None:
        inner = dict(relations)
        for cte in with_.expressions:
            inner[cte.alias] = Relation(cte.alias, output_columns(cte.this, inner))
        relations = inner
    if isinstance(query, exp.Subquery):
        return output_columns(query.this, relations)
    if isinstance(query, exp.SetOperation):
        left, right = output_columns(query.this, relations), output_columns(query.expression, relations)
        if not query.args.get("by_name") or left is None or right is None:
            return None if query.args.get("by_name") else left
        spelled = {name.lower() for name in left}
        types = {name: type_ if right.get(name) == type_ else "" for name, type_ in left.items()}
        return {**types, **{name: "" for name in right if name.lower() not in spelled}}
    if not isinstance(query, exp.Select):
        return None
    sources = list(_sources(query, relations))
    found: dict[str, str] = {}
    for projection in query.expressions:
        part = _projected(projection, sources)
        if part is None or any(name in found for name in part):
            return None
        found.update(part)
    return found


def _sources(query: exp.Select, relations: Mapping[str, Relation]) -> Iterator[tuple[str, Columns | None]]:
    """The alias and columns of everything a SELECT reads from."""
    from sqlglot import exp

    joins = query.args.get("joins") or []
    from_ = query.args.get("from_")
    for part in [*([from_.this] if from_ else []), *(join.this for join in joins)]:
        if isinstance(part, exp.Table):
            known = relations.get(part.name)
            columns = known.columns if known and not part.args.get("joins") else None
        else:
            columns = output_columns(part, relations) if isinstance(part, exp.Subquery) else None
        yield part.alias_or_name, columns
    for join in joins:
        if join.args.get("using") or join.kind in ("SEMI", "ANTI") or join.side in ("SEMI", "ANTI"):
            # Which columns `*` then stands for is the engine's business; `l.*` stays clear.
            yield "*", None
    if query.args.get("laterals"):
        yield "*", None


def _projected(projection: exp.Expr, sources: list[tuple[str, Columns | None]]) -> dict[str, str] | None:
    from sqlglot import exp

    if isinstance(projection, exp.Star):
        parts = [_starred(projection, columns) for _, columns in sources]
        whole: dict[str, str] = {}
        for part in parts:
            if part is None or any(name in whole for name in part):
                return None
            whole.update(part)
        return whole
    if isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
        named = [columns for alias, columns in sources if alias == projection.table]
        return _starred(projection.this, named[0]) if named else None
    if isinstance(projection, exp.Alias):
        return {projection.alias: _type_of(projection.this, sources)}
    if isinstance(projection, exp.Column):
        return {projection.name: _type_of(projection, sources)}
    return None


def _starred(found: exp.Star, columns: Columns | None) -> dict[str, str] | None:
    if columns is None:
        return None
    left_out = {column.name.lower() for column in found.args.get("except_") or ()}
    replaced = {alias.alias.lower(): alias.this for alias in found.args.get("replace") or ()}
    renamed = {alias.this.name.lower(): alias.alias for alias in found.args.get("rename") or ()}
    found_columns: dict[str, str] = {}
    for name, type_ in columns.items():
        key = name.lower()
        if key not in left_out:
            value = replaced.get(key)
            found_columns[renamed.get(key, name)] = type_ if value is None else _type_of(value, [("", columns)])
    return found_columns


def _type_of(node: exp.Expr, sources: list[tuple[str, Columns | None]]) -> str:
    """The type of a cast or of a plain column; "" for all else."""
    from sqlglot import exp

    if isinstance(node, exp.Cast):
        return node.to.sql(sql.DIALECT)
    if isinstance(node, exp.Column):
        found = [(columns or {}).get(node.name, "") for alias, columns in sources if node.table in ("", alias)]
        return found[0] if len(found) == 1 else ""
    return ""


# ------------------------------------------------------------------------------- types that the engine lets through

_APART = {
    frozenset(pair)
    for pair in (("number", "date"), ("number", "timestamp"), ("boolean", "date"), ("boolean", "timestamp"))
}


def refuse_mismatches(query: exp.Expr, relations: Mapping[str, Relation], reads: Callable[[str, str], bool]) -> None:
    """Raise ConfigError for casts and comparisons that DuckDB binds but that fail on every row, as date and number.

    Looks at plain columns, literals and casts on the outer level of a SELECT; all else is the binder's. `reads` tells
    whether the engine reads a text as a value of a type.
    """
    from sqlglot import exp

    if not isinstance(query, exp.Select):
        return
    sources = list(_sources(query, relations))

    def kind(node: exp.Expr) -> tuple[str | None, str]:
        if isinstance(node, exp.Literal):
            return (None if node.is_string else "number"), f"the number {node.this}"
        if isinstance(node, exp.Column | exp.Cast):
            type_ = _type_of(node, sources)
            return sql.family(type_), f"{bounded(node.sql(sql.DIALECT), 80)} ({type_})"
        return None, ""

    def unreadable(node: exp.Expr, other: exp.Expr) -> bool:
        """Whether `other` is a text that is no value of the column's type; the engine would fail on the first row."""
        if not isinstance(node, exp.Column | exp.Cast) or not isinstance(other, exp.Literal) or not other.is_string:
            return False
        type_ = _type_of(node, sources)
        family = sql.family(type_)
        return family not in (None, "text") and not _has_stand_ins(other) and not reads(other.this, type_)

    equalities = (exp.Cast, exp.EQ, exp.NEQ, exp.In)
    ordered = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)  # the binder refuses those of types apart itself
    with sql.Problems() as problems:
        for node in query.find_all(*equalities, *ordered):
            if node.find_ancestor(exp.Query) is not query:
                continue
            verb = "cast to" if isinstance(node, exp.Cast) else "compared with"
            for left, right in _compared(node):
                (one, shown), (two, other) = kind(left), kind(right)
                if isinstance(node, exp.Cast):
                    other = node.to.sql(sql.DIALECT)
                    two = sql.family(other)
                if frozenset((one, two)) in _APART and isinstance(node, equalities):
                    message = f"{shown} can't be {verb} {other}"
                    problems.add(Problem("type-mismatch", message, _path_of(node), "cast to text in between"))
                    break
                column, text = (right, left) if unreadable(right, left) else (left, right)
                if unreadable(column, text):
                    family = sql.family(_type_of(column, sources))
                    message = f"{kind(column)[1]} can't be compared with the text {bounded(repr(text.this), 100)}"
                    hint = f"write a {family}, or cast the column to text"
                    problems.add(Problem("type-mismatch", message, _path_of(node), hint))
                    break


def _has_stand_ins(node: exp.Expr | None) -> bool:
    """Whether the expression of the config around a node holds placeholders that have no values yet."""
    while node is not None and not node.meta.get("stand_in"):
        node = node.parent
    return node is not None


def _compared(node: exp.Expr) -> list[tuple[exp.Expr, exp.Expr]]:
    """The pairs of values that a comparison, or a cast, puts against each other."""
    from sqlglot import exp

    if isinstance(node, exp.In):
        return [(node.this, item) for item in node.expressions]
    if isinstance(node, exp.Between):
        return [(node.this, node.args["low"]), (node.this, node.args["high"])]
    return [(node.this, node.to if isinstance(node, exp.Cast) else node.expression)]


def _path_of(node: exp.Expr) -> Path:
    found: exp.Expr | None = node
    while found is not None and found.meta.get("path") is None:
        found = found.parent
    return tuple(found.meta["path"]) if found is not None else ()


# ------------------------------------------------------------------------------------------ columns by DuckDB's binder


@functools.cache
def _empty_database(_process: int) -> duckdb.DuckDBPyConnection:
    """One database for each process, since making one takes longer than asking it; a forked child makes its own."""
    import duckdb

    connection = duckdb.connect(
        config={
            "enable_external_access": "false",
            "threads": "1",
            "memory_limit": "64MB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    connection.execute("SET python_enable_replacements = false; SET TimeZone = 'UTC'; SET lock_configuration = true")
    return connection


class _Binder:
    """Asks DuckDB what a query over empty tables would give; nothing is ever executed on rows."""

    def __init__(self) -> None:
        self._connection = _empty_database(os.getpid()).cursor()

    def close(self) -> None:
        self._connection.close()

    def create(self, name: str, columns: Columns) -> None:
        """Make an empty table of these columns; DuckDB itself reads and writes the types: they can be no other SQL."""
        import duckdb

        try:
            types = [str(self._connection.sqltype(type_)) for type_ in columns.values()]
        except duckdb.Error as error:
            shown = bounded(str(dict(columns)), 300)
            raise TerminalError(f"input {name!r}: one of {shown} is no type of the engine") from error
        names = [sql.identifier(column).sql(sql.DIALECT) for column in columns]
        fields = ", ".join(map(" ".join, zip(names, types, strict=True)))
        self._connection.execute(f"CREATE TEMP TABLE {sql.identifier(name).sql(sql.DIALECT)} ({fields})")

    def after(self, name: str, columns: Columns | None, failed: bool) -> _Binder | None:
        """Go on behind a step: with its result as one more table, or no longer when it failed."""
        if failed or not columns:
            self.close()
            return None
        self.create(name, columns)
        return self

    def columns(self, query: exp.Query) -> Columns:
        """Return names and types of a query; ConfigError at the expression that the engine refuses."""
        import duckdb

        try:
            return self._describe(query)
        except duckdb.Error as error:
            raise self._located(query, error) from None

    def reads(self, text: str, type_: str) -> bool:
        """Return whether the engine reads the text as a value of that type."""
        query = f"SELECT TRY_CAST(? AS {self._connection.sqltype(type_)}) IS NOT NULL"
        row = self._connection.execute(query, [text]).fetchone()
        return row is not None and bool(row[0])

    def refuse_other_conditions(self, query: exp.Query) -> None:
        """Raise ConfigError for a condition, or a part of one, that DuckDB would silently cast to boolean."""
        from sqlglot import exp

        with sql.Problems() as problems:
            for condition in [node for node in query.walk() if node.meta.get("condition")]:
                parts = list(_truths(condition))
                alone = exp.Select(
                    expressions=[sql.aliased(part.copy(), f"part_{index}") for index, part in enumerate(parts)]
                ).from_(query.args["from_"].this.copy(), copy=False)
                for part, type_ in zip(parts, self._describe(alone).values(), strict=True):
                    if type_ != "BOOLEAN" and not isinstance(part, exp.Null):  # a bare null passes in any version
                        shown = bounded(part.sql(sql.DIALECT), 80)
                        problems.add(
                            Problem(
                                "type-mismatch",
                                f"{shown} is of type {type_}, not a condition that is true or false",
                                tuple(condition.meta["path"]),
                                f"compare it with a value, as in {shown} = …, or cast it to boolean",
                            )
                        )

    def through(self, component: ArrowTransform, name: str) -> Columns | None:
        """Return the columns that a transform in Python gives for the table `name`."""
        source = self._connection.table(sql.identifier(name).sql(sql.DIALECT))
        given = mark_json(read_arrow(source, 1).schema, dict(zip(source.columns, map(str, source.types), strict=True)))
        schema = held_schema(component.schema(given))
        self._connection.register("arrow_result", schema.empty_table())
        try:
            return self._describe_text('SELECT * FROM "arrow_result"')
        finally:
            self._connection.unregister("arrow_result")

    def _describe(self, query: exp.Expr) -> Columns:
        return self._describe_text(query.sql(sql.DIALECT))

    def _describe_text(self, text: str) -> Columns:
        # A relation is bound when it is made and runs only when it is read. DESCRIBE takes ten times as long, and
        # spells columns that were renamed in nothing but their case as they were before.
        relation = self._connection.sql(text)
        repeated = [name for name in relation.columns if relation.columns.count(name) > 1]
        if repeated:
            sql.refuse_repeat(repeated[0], repeated[1:])
        return dict(zip(relation.columns, map(str, relation.types), strict=True))

    def _located(self, query: exp.Query, error: duckdb.Error) -> ConfigError:
        """Try every expression of the config alone, to tell which one the engine refuses."""
        import duckdb
        from sqlglot import exp

        names = self._names(query)
        if query.meta.get("path") is not None:
            return ConfigError(engine_problem(error, names).under(*query.meta["path"]))
        if isinstance(query, exp.Select):
            for node in [found for found in query.walk() if found.meta.get("path") is not None]:
                alone = exp.Select(expressions=[node.copy()])
                for part in ("from_", "joins", "group"):
                    if query.args.get(part):
                        alone.set(
                            part,
                            [join.copy() for join in query.args[part]] if part == "joins" else query.args[part].copy(),
                        )
                if node.meta["path"] == ("on",):
                    continue
                try:
                    self._describe(alone)
                except duckdb.Error as its_own:
                    return ConfigError(engine_problem(its_own, names).under(*node.meta["path"]))
        return ConfigError(engine_problem(error, names))

    def _names(self, query: exp.Query) -> list[str]:
        from sqlglot import exp

        names: dict[str, None] = {}
        for table in query.find_all(exp.Table):
            rows = self._connection.execute(
                "SELECT column_name FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table.name]
            ).fetchall()
            names.update(dict.fromkeys(row[0] for row in rows))
        return list(names)


def _truths(node: exp.Expr) -> Iterator[exp.Expr]:
    """The parts of a condition that must each be true or false: what AND, OR and NOT join."""
    from sqlglot import exp

    if isinstance(node, exp.And | exp.Or):
        yield from _truths(node.this)
        yield from _truths(node.expression)
    elif isinstance(node, exp.Not | exp.Paren):
        yield from _truths(node.this)
    else:
        yield node


_NOT_FOUND = re.compile(r'Referenced column "(?P<a>.*?)" not found|does not have a column named "(?P<b>.*?)"')
_NO_MATCH = re.compile(r"No function matches the given name and argument types '(?P<call>.*?)'\. You")
_COMPARED = re.compile(r"Cannot compare values of type (?P<a>.+?) and type (?P<b>.+?) - an explicit cast")


def engine_problem(error: Exception, columns: list[str]) -> Problem:
    """Return what DuckDB's binder says as a problem: a code, one sentence, and what to do."""
    text = re.split(r"\n\s*LINE \d+:", str(error))[0].strip()
    text = re.sub(r"^(?:\w+ )*Error: ", "", text)
    if match := _NOT_FOUND.search(text):
        return sql.unknown("column", match["a"] or match["b"], columns).problems[0]
    if match := _NO_MATCH.search(text):
        call = match["call"].replace("_LITERAL", "")
        return Problem("type-mismatch", f"{call}: no such function for these types", (), "cast the column first")
    if match := _COMPARED.search(text):
        left, right = match["a"].replace("_LITERAL", ""), match["b"].replace("_LITERAL", "")
        return Problem("type-mismatch", f"{left} can't be compared with {right}", (), "cast one of them")
    first = text.split("\n")[0].rstrip("!. ")
    code = "type-mismatch" if re.search(r"(?i)\b(cast|type)\b", first) else "invalid-sql"
    return Problem(code, bounded(first[:1].lower() + first[1:] if first[1:2].islower() else first, 500))


def mark_json(schema: pa.Schema, columns: Columns) -> pa.Schema:
    """Return the schema of what the engine gives with its columns of type JSON as `arrow.json`, not as mere text."""
    import pyarrow as pa

    json_ = {name for name, type_ in columns.items() if type_ == "JSON"}
    return pa.schema([one.with_type(pa.json_(pa.string())) if one.name in json_ else one for one in schema])


def read_arrow(relation: duckdb.DuckDBPyRelation, rows: int) -> Any:
    """Return a DuckDB relation as an Arrow stream of batches of `rows`; the name of the method differs by version."""
    method = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    return method(rows)
