"""Steps and checks that set aside the rows they can't take, in place of failing the run.

A step that looks at each row alone (`SELECT expressions FROM relation [WHERE condition]`, with no aggregate, window,
join or subquery) is strained: a row for which an expression can't be computed is a reject, as it was before the step.
So are rows that a step itself refuses (`components.base.Refusing`), such as a lookup's without a partner.
The engine tells such rows by itself: `TRY({'v': expression}) IS NULL` is true exactly where the expression raises,
also where its value may be null. Whatever else a pipeline does runs as always, once: results that strained steps
read are kept, so that every pass over them sees the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Columns, Relation, Scope, Sifting
from dataforge.components.database import quote_identifier
from dataforge.components.registry import CHECKS
from dataforge.errors import bounded
from dataforge.runtime import rejects
from dataforge.runtime.compile import Plan, Step

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

_REASON = "dataforge reason"
_COLUMN = "dataforge column"
_REFUSED = "dataforge refused"


@dataclass(frozen=True)
class _Part:
    """One expression of a step: the column that it makes (empty for a condition), and SQL for what is wrong with it."""

    column: str
    value: exp.Expr
    told: exp.Expr


@dataclass(frozen=True)
class _Strainer:
    """How a step takes only the rows it can: `query` does, `bad` is true for the others."""

    query: exp.Select
    bad: exp.Expr
    reason: exp.Expr
    column: exp.Expr


@contextmanager
def steady(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Make every pass of the block one transaction, in which `now()` is the same for all."""
    con.begin()
    try:
        yield
    except BaseException:
        con.rollback()
        raise
    con.commit()


def strain(
    con: duckdb.DuckDBPyConnection, plan: Plan, folder: Path, scratch: Path, *, first: int = 0
) -> tuple[Plan, list[Path]]:
    """Write the rows that the plan's steps can't take into `folder`; return the plan without them, and the parts.

    The inputs are tables or views of their names that can be read more than once. `first` is the index in the whole
    pipeline of the plan's first step. Errors of steps that look at many rows come out as they always do.
    """
    strainers = {step.index: found for step in plan.steps if (found := _strainer(con, plan, step, first)) is not None}
    looked_at = {*strainers, *(step.index for step in plan.steps if step.refused is not None or _sifts(step))}
    parts: list[Path] = []
    needed = _needed(plan)
    for index in range(max(looked_at, default=-1) + 1):
        step = plan.steps[index]
        if step.name not in needed:
            continue
        if _sifts(step):
            plan, written = _sifted(con, plan, step, folder, scratch, first)
            parts += written
            continue
        parts += _write_refused(con, plan, step, folder, first)
        strainer = strainers.get(index)
        if strainer is None:
            if not _is_single(step.query) and any(step.name in _below(plan, plan.steps[later]) for later in looked_at):
                plan = _kept(con, plan, step, scratch)
            continue
        base = plan.over(step.reads[0])
        base.set("from_", strainer.query.args["from_"].copy())
        base.where(strainer.bad, copy=False)
        parts += _write_aside(con, plan, step, base, (strainer.reason, strainer.column), folder, first)
        steps = [replace(one, query=strainer.query) if one.index == index else one for one in plan.steps]
        plan = replace(plan, steps=tuple(steps))
    return plan, parts


def _sifts(step: Step) -> bool:
    return isinstance(step.component, Sifting) and step.component.sifts


def _sifted(
    con: duckdb.DuckDBPyConnection, plan: Plan, step: Step, folder: Path, scratch: Path, first: int
) -> tuple[Plan, list[Path]]:
    """Compute a step in Python once, without the rows that it sets aside; return the plan that reads the result."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dataforge.runtime.engines.duckdb_ import ready, run, transformed, view_parquet, with_json

    assert step.component is not None
    before = step.reads[0]
    columns = dict(plan.columns_of(before) or {})
    source = with_json(run(con, replace(plan, result=before, columns=columns)), columns)
    component = ready(step.component, plan, step.index)
    assert isinstance(component, Sifting)
    aside, taken = scratch / f"{step.name}-aside.parquet", scratch / f"{step.name}.parquet"
    told = f"transforms/{first + step.index} ({step.type}): "
    with_reason = source.schema.append(pa.field(_REASON, pa.string()))
    with pq.ParquetWriter(aside, with_reason) as bad:

        def sound() -> Iterator[pa.RecordBatch]:
            for batch in source:
                reasons = component.reasons(batch)
                if reasons.null_count < len(reasons):
                    said = pa.array([f"{told}{reason}" for reason in reasons.drop_null().to_pylist()], pa.string())
                    rows = batch.filter(reasons.is_valid())
                    bad.write_batch(pa.RecordBatch.from_arrays([*rows.columns, said], schema=with_reason))
                    batch = batch.filter(reasons.is_null())
                yield batch

        stream = transformed(component, step.index, plan, pa.RecordBatchReader.from_batches(source.schema, sound()))
        with pq.ParquetWriter(taken, stream.schema) as good:
            for batch in stream:
                good.write_batch(batch)
    view_parquet(con, step.name, [taken])
    kept = replace(step, query=None, component=None, reads=())
    plan = replace(plan, steps=tuple(kept if one.index == step.index else one for one in plan.steps))
    if not pq.read_metadata(aside).num_rows:
        return plan, []
    view_parquet(con, _REFUSED, [aside])
    part = rejects.next_part(folder)
    rejects.write_rows(
        con,
        part,
        f"SELECT * FROM {quote_identifier(_REFUSED)}",
        columns,
        stage="transform",
        reason=quote_identifier(_REASON),
        source=before,
        step=first + step.index,
    )
    return plan, [part]


def _write_refused(con: duckdb.DuckDBPyConnection, plan: Plan, step: Step, folder: Path, first: int) -> list[Path]:
    """Write the rows that a step itself says it sets aside; return the part, if there are any."""
    if step.refused is None:
        return []
    query = sql.select(Relation(step.reads[0]), sql.star()).where(step.refused.broken.copy(), copy=False)
    probe = replace(step, name=_REFUSED, query=query, refused=None)
    base = replace(plan, steps=(*plan.steps[: step.index], probe)).over(_REFUSED)
    told = sql.literal(f"transforms/{first + step.index} ({step.type}): {step.refused.says}")
    return _write_aside(con, plan, step, base, (told, sql.literal(step.refused.column)), folder, first)


def _write_aside(
    con: duckdb.DuckDBPyConnection,
    plan: Plan,
    step: Step,
    rows: exp.Select,
    said: tuple[exp.Expr, exp.Expr],
    folder: Path,
    first: int,
) -> list[Path]:
    """Write the rows of a query over what a step reads as a reject part, if there are any; return it.

    `said` are reason and column at fault as SQL over the query.
    """
    if not _count(con, rows, plan):
        return []
    part, reason, column = rejects.next_part(folder), *said
    rows.select(sql.aliased(reason, _REASON), sql.aliased(column, _COLUMN), copy=False)
    rejects.write_rows(
        con,
        part,
        rows.sql(sql.DIALECT),
        dict(plan.columns_of(step.reads[0]) or {}),
        stage="transform",
        reason=quote_identifier(_REASON),
        column=quote_identifier(_COLUMN),
        source=step.reads[0],
        step=first + step.index,
    )
    return [part]


def _needed(plan: Plan) -> set[str]:
    """The names of the steps that the result comes from."""
    found: set[str] = set()
    for step in reversed(plan.steps):
        if step.name == plan.result or step.name in found:
            found |= {step.name, *step.reads}
    return found


def _below(plan: Plan, step: Step) -> set[str]:
    """The names of all relations that a step comes from."""
    found = set(step.reads)
    for earlier in reversed(plan.steps[: step.index]):
        if earlier.name in found:
            found |= set(earlier.reads)
    return found


def _kept(con: duckdb.DuckDBPyConnection, plan: Plan, step: Step, scratch: Path) -> Plan:
    """Compute a step once, as a table of its name, and return the plan that reads that."""
    import duckdb

    from dataforge.runtime.engines.duckdb_ import engine_error, view_parquet, write_parquet

    upto = plan.upto(step.index)
    if step.component is not None:
        path = scratch / f"{step.name}.parquet"
        write_parquet(con, upto, path)
        view_parquet(con, step.name, [path])
    else:
        try:
            # a table rather than a file: it has all of the engine's types
            con.execute(f"CREATE TABLE {quote_identifier(step.name)} AS {plan.over(step.name).sql(sql.DIALECT)}")
        except duckdb.Error as error:
            raise engine_error(error, plan) from error
    kept = replace(step, query=None, component=None, reads=())
    return replace(plan, steps=tuple(kept if one.index == step.index else one for one in plan.steps))


def _count(con: duckdb.DuckDBPyConnection, query: exp.Select, plan: Plan) -> int:
    import duckdb
    from sqlglot import exp

    from dataforge.runtime.engines.duckdb_ import engine_error

    counted = query.copy()
    counted.set("expressions", [exp.Count(this=exp.Star())])
    try:
        row = con.execute(counted.sql(sql.DIALECT)).fetchone()
    except duckdb.Error as error:
        raise engine_error(error, plan) from error
    return int(row[0]) if row else 0


# ------------------------------------------------------------------------------------------------------------ one step


def is_row_wise(query: exp.Query | None) -> bool:
    """Whether a query makes at most one row of each row of one relation, from that row alone, in whatever order."""
    return _is_single(query, frozenset({"expressions", "from_", "where", "order"}))


def _is_single(query: exp.Query | None, parts: frozenset[str] = frozenset({"expressions", "from_", "where"})) -> bool:
    """Whether a query of no other parts than those looks at each row of one relation alone."""
    from sqlglot import exp

    if not isinstance(query, exp.Select):
        return False
    if {key for key, value in query.args.items() if value} - parts:
        return False
    from_ = query.args.get("from_")
    if from_ is None or not isinstance(from_.this, exp.Table):
        return False
    if {key for key, value in from_.this.args.items() if value} - {"this", "alias"}:
        return False
    many = (exp.AggFunc, exp.Window, exp.Unnest, exp.Explode, exp.Query)
    return not any(isinstance(node, many) for node in query.walk() if node is not query)


def _strainer(con: duckdb.DuckDBPyConnection, plan: Plan, step: Step, first: int) -> _Strainer | None:
    """Return how the step takes only what it can; None where it takes all rows, or looks at many at once."""
    from sqlglot import exp

    columns = plan.columns_of(step.reads[0]) if step.reads else None
    if columns is None or not isinstance(step.query, exp.Select) or not _is_single(step.query):
        return None
    query = step.query.copy()
    place = f"transforms/{first + step.index} ({step.type})"
    parts: list[_Part] = []
    for alias in _computed(query):
        if _can_raise(alias.this):
            value = alias.this.copy()
            parts.append(_Part(alias.alias, value, _told(place, alias.alias, value)))
            alias.set("this", exp.Try(this=value.copy()))
    where = query.args.get("where")
    condition = where.this.copy() if where is not None and _can_raise(where.this) else None
    if not parts and condition is None:
        return None
    if any(not _is_known(node, columns) for node in query.find_all(exp.Column)):
        return None  # a name that another expression of the same SELECT makes
    failing: list[tuple[str, exp.Expr, exp.Expr]] = [(part.column, _raises(part.value), part.told) for part in parts]
    bad: exp.Expr = _raises(*(part.value for part in parts)) if parts else exp.false()
    if where is not None:
        met = exp.Coalesce(this=exp.Try(this=where.this.copy()), expressions=[exp.false()])
        bad = exp.And(this=exp.Paren(this=met.copy()), expression=exp.Paren(this=bad))
        failing = [(name, exp.And(this=met.copy(), expression=raises), told) for name, raises, told in failing]
        if condition is not None:
            told = sql.literal(f"{place}: the condition can't be computed: {bounded(condition.sql(sql.DIALECT), 200)}")
            failing.append(("", _raises(condition), told))
            bad = exp.Or(this=exp.Paren(this=bad), expression=exp.Paren(this=_raises(condition)))
        query.set("where", exp.Where(this=met))
    if parts:
        query.where(exp.Not(this=exp.Paren(this=_raises(*(part.value for part in parts)))), copy=False)
    strainer = _Strainer(query, bad, _joined([(raises, told) for _, raises, told in failing]), _one_column(failing))
    if not _binds(con, step, columns, strainer):
        return None
    return strainer


def _binds(con: duckdb.DuckDBPyConnection, step: Step, columns: Columns, strainer: _Strainer) -> bool:
    """Whether the engine takes the strained query for the same columns: some functions may not stand in TRY."""
    import duckdb

    empty = ", ".join(
        f"CAST(NULL AS {con.sqltype(type_)}) AS {quote_identifier(name)}" for name, type_ in columns.items()
    )
    name = quote_identifier(step.reads[0])
    try:
        found = con.sql(f"WITH {name} AS (SELECT {empty}) {strainer.query.sql(sql.DIALECT)}")
    except duckdb.Error:
        return False
    return dict(zip(found.columns, map(str, found.types), strict=True)) == dict(step.columns or {})


def _computed(query: exp.Select) -> Iterator[exp.Alias]:
    """The named expressions of a SELECT, those in `* REPLACE (…)` too."""
    from sqlglot import exp

    for item in query.expressions:
        star = item.this if isinstance(item, exp.Column) else item
        if isinstance(star, exp.Star):
            yield from star.args.get("replace") or ()
        elif isinstance(item, exp.Alias):
            yield item


def _can_raise(node: exp.Expr) -> bool:
    """Whether computing the expression may fail: everything may but names, constants, and tests for null."""
    from sqlglot import exp

    if isinstance(node, exp.Paren | exp.Not | exp.Is):
        return any(_can_raise(child) for child in node.iter_expressions())
    if isinstance(node, exp.And | exp.Or):
        return _can_raise(node.this) or _can_raise(node.expression)
    if isinstance(node, exp.TryCast) or (isinstance(node, exp.Cast) and node.to.is_type("text")):
        return _can_raise(node.this)
    return not isinstance(node, exp.Column | exp.Literal | exp.Null | exp.Boolean)


def _is_known(node: exp.Column, columns: Columns) -> bool:
    from sqlglot import exp

    if isinstance(node.this, exp.Star) or node.table:
        return True
    return node.name.lower() in map(str.lower, columns)


def _raises(*values: exp.Expr) -> exp.Expr:
    """SQL: whether computing any of the values raises an error; never null."""
    from sqlglot import exp

    fields = [
        exp.PropertyEQ(this=exp.to_identifier(f"v{index}", quoted=True), expression=value.copy())
        for index, value in enumerate(values)
    ]
    return exp.Is(this=exp.Try(this=exp.Struct(expressions=fields)), expression=exp.Null())


def _told(place: str, column: str, value: exp.Expr) -> exp.Expr:
    """SQL for the sentence about a row for which the value of a column can't be computed."""
    from sqlglot import exp

    if isinstance(value, exp.Cast) and isinstance(value.this, exp.Column):
        text = exp.Left(this=sql.cast(value.this.copy(), "TEXT"), expression=sql.literal(rejects.MAX_VALUE))
        head, tail = f"{place}: column {column!r}: '", f"' is no {value.to.sql(sql.DIALECT)}"
        return exp.Concat(expressions=[sql.literal(head), text, sql.literal(tail)], coalesce=True)
    return sql.literal(f"{place}: column {column!r} can't be computed: {bounded(value.sql(sql.DIALECT), 200)}")


def _joined(failing: Sequence[tuple[exp.Expr, exp.Expr]]) -> exp.Expr:
    """SQL for the sentences whose condition is true, one after the other."""
    from sqlglot import exp

    said = [exp.Case(ifs=[exp.If(this=when.copy(), true=told.copy())]) for when, told in failing]
    return exp.Anonymous(this="concat_ws", expressions=[sql.literal("; "), *said])


def _one_column(failing: Sequence[tuple[str, exp.Expr, exp.Expr]]) -> exp.Expr:
    """SQL for the column whose condition is true; empty when there are several."""
    from sqlglot import exp

    names = [exp.Case(ifs=[exp.If(this=when.copy(), true=sql.literal(name))]) for name, when, _ in failing]
    joined = exp.Anonymous(this="concat_ws", expressions=[sql.literal(""), *names])
    ones = [
        exp.Paren(this=exp.Case(ifs=[exp.If(this=when.copy(), true=sql.literal(1))], default=sql.literal(0)))
        for _, when, _ in failing
    ]
    count: exp.Expr = ones[0]
    for one in ones[1:]:
        count = exp.Add(this=count, expression=one)
    alone = exp.EQ(this=count, expression=sql.literal(1))
    return exp.Case(ifs=[exp.If(this=alone, true=joined)], default=sql.literal(""))


# -------------------------------------------------------------------------------------------------------------- checks


def breaks(queries: CheckQueries) -> exp.Expr:
    """Return SQL for whether a row breaks a check, never null: also a row for which the check can't be computed."""
    from sqlglot import exp

    assert queries.violates is not None
    broken = exp.Coalesce(this=queries.violates.copy(), expressions=[exp.false()])
    # an error leaves the whole of TRY null, which a null of the check itself does not
    return exp.Coalesce(this=exp.Try(this=broken), expressions=[exp.true()])


def write_breaking(
    con: duckdb.DuckDBPyConnection,
    checks: Sequence[CheckConfig],
    relation: Relation,
    folder: Path,
    kept: Path,
    scope: Scope,
    *,
    source: str,
    step: int,
) -> Path:
    """Write the rows of a relation that break one of the checks as a reject part, and all others to `kept`.

    Every row is one reject, whatever number of checks it breaks. Return the path of the part.
    """
    from sqlglot import exp

    from dataforge.runtime.engines.duckdb_ import write_parquet

    assert relation.columns is not None
    found: list[tuple[str, exp.Expr, exp.Expr]] = []
    for config in checks:
        queries = CHECKS.build(config).queries(relation, scope)
        says = sql.literal(f"check {config.type}: {queries.says or 'the row breaks it'}")
        found.append((queries.column, breaks(queries), says))
    bad = exp.or_(*(when.copy() for _, when, _ in found), copy=False)
    reason = sql.aliased(_joined([(when, says) for _, when, says in found]), _REASON)
    rows = sql.select(relation, sql.star(), reason, sql.aliased(_one_column(found), _COLUMN)).where(bad, copy=False)
    part = rejects.next_part(folder)
    rejects.write_rows(
        con,
        part,
        rows.sql(sql.DIALECT),
        relation.columns,
        stage="check",
        reason=quote_identifier(_REASON),
        column=quote_identifier(_COLUMN),
        source=source,
        step=step,
    )
    others = sql.select(relation, sql.star()).where(exp.Not(this=exp.Paren(this=bad.copy())), copy=False)
    write_parquet(con, others, kept)
    return part
