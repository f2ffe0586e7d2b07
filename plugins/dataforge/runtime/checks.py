"""`evaluate`: the checks of a pipeline, measured on a relation in few queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from dataforge.components import sql
from dataforge.components.base import CheckConfig, CheckQueries, Columns, JsonValue, Relation, RunValues, Scope
from dataforge.components.database import quote_identifier
from dataforge.components.registry import CHECKS
from dataforge.errors import CheckFailed, CheckFailure, bounded
from dataforge.runtime.engines.duckdb_ import engine_error

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

EXAMPLES = 5
MAX_EXAMPLE = 200


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome: `violations` of `checked` rows, with at most five examples; `message` says it in a sentence.

    The values in `examples` are plain JSON values, texts cut to 200 characters.
    """

    check: str
    severity: Literal["fail", "warn", "reject"]
    passed: bool
    violations: int
    checked: int
    examples: tuple[dict[str, object], ...]
    message: str

    def to_json(self) -> dict[str, JsonValue]:
        """Return the same as plain JSON."""
        return {**asdict(self), "examples": list(self.examples)}

    def failure(self) -> CheckFailure:
        """Return the same as what CheckFailed carries."""
        return CheckFailure(self.check, self.message, self.violations, self.checked, self.examples)


def evaluate(
    connection: duckdb.DuckDBPyConnection,
    checks: Sequence[CheckConfig],
    name: str,
    columns: Columns | None,
    scope: Scope | None = None,
) -> tuple[CheckResult, ...]:
    """Measure `checks` on the table or view `name`: one scan for all checks on single rows, one more for each other.

    Examples are read only for what is broken. `scope` holds the run's values for placeholders in expressions.
    """
    return measure(connection, checks, prepare(checks, name, columns, scope))


@dataclass(frozen=True)
class Measures:
    """The SQL that measures some checks: one `shared` query has the counts of those in `order`, first to last.

    `counts` are the queries of the other checks by their index, `examples` those of all, "" where a check has none.
    """

    shared: str
    order: tuple[int, ...]
    counts: Mapping[int, str]
    examples: tuple[str, ...]


def prepare(checks: Sequence[CheckConfig], name: str, columns: Columns | None, scope: Scope | None = None) -> Measures:
    """Return the SQL for `checks` on the table or view `name`."""
    relation, scope = Relation(name, columns), scope or Scope(values=RunValues())
    queries = [_measured(config, CHECKS.build(config).queries(relation, scope), relation) for config in checks]
    order = tuple(index for index, query in enumerate(queries) if _is_plain(query.count, relation))
    values: list[exp.Expr] = []
    for index in order:
        violations, checked = queries[index].count.expressions
        values += [
            sql.aliased(violations.unalias().copy(), f"violations_{index}"),
            sql.aliased(checked.unalias().copy(), f"checked_{index}"),
        ]
    return Measures(
        sql.select(relation, *values).sql(sql.DIALECT) if order else "",
        order,
        {index: query.count.sql(sql.DIALECT) for index, query in enumerate(queries) if index not in order},
        tuple(
            "" if query.examples is None else query.examples.copy().limit(EXAMPLES, copy=False).sql(sql.DIALECT)
            for query in queries
        ),
    )


def measure(
    connection: duckdb.DuckDBPyConnection, checks: Sequence[CheckConfig], measures: Measures
) -> tuple[CheckResult, ...]:
    """Run what `prepare` made of the same checks."""
    import duckdb

    results = []
    try:
        counts = _counts(connection, measures)
        for index, config in enumerate(checks):
            check, (violations, checked) = CHECKS.build(config), counts[index]
            examples = _examples(connection, measures.examples[index]) if violations else ()
            message = check.describe(violations, checked) if violations else f"{checked:,} rows checked"
            results.append(
                CheckResult(
                    config.type, config.severity, not violations, violations, checked, examples, bounded(message, 1000)
                )
            )
    except duckdb.Error as error:
        raise engine_error(error) from error
    return tuple(results)


def _measured(config: CheckConfig, queries: CheckQueries, relation: Relation) -> CheckQueries:
    """The check's queries; where rows are set aside, one for which the check can't be computed breaks it too."""
    if config.severity != "reject" or queries.violates is None:
        return queries
    from dataforge.runtime.strain import breaks

    return sql.count_violations(relation, breaks(queries), queries.says, queries.column)


def refuse_failed(results: Iterable[CheckResult]) -> None:
    """Raise CheckFailed when a check of severity "fail" is broken, or one whose rows should have been set aside."""
    failed = [result.failure() for result in results if not result.passed and result.severity != "warn"]
    if failed:
        raise CheckFailed(failed)


def _counts(connection: duckdb.DuckDBPyConnection, measures: Measures) -> dict[int, tuple[int, int]]:
    """Violations and checked rows of each check; those that only count rows of the relation share one scan."""
    row = _row(connection, measures.shared) if measures.shared else ()
    counts = {index: (row[2 * place], row[2 * place + 1]) for place, index in enumerate(measures.order)}
    for index, query in measures.counts.items():
        violations, checked = _row(connection, query)
        counts[index] = violations, checked
    return counts


def _is_plain(query: exp.Query, relation: Relation) -> bool:
    from sqlglot import exp

    from_ = query.args.get("from_")
    return (
        isinstance(query, exp.Select)
        and {key for key, value in query.args.items() if value} == {"expressions", "from_"}
        and len(query.expressions) == 2
        and from_ is not None
        and from_.this == relation.table()
    )


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return tuple(int(value or 0) for value in row)


def _examples(connection: duckdb.DuckDBPyConnection, text: str) -> tuple[dict[str, object], ...]:
    if not text:
        return ()
    columns = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {text}").fetchall()}
    # as texts of the engine: Python has no value for many an instant, and for those with a zone not without pytz
    shown = [
        quote_identifier(name) if type_ in _SHOWN else f"CAST({quote_identifier(name)} AS VARCHAR)"
        for name, type_ in columns.items()
    ]
    rows = connection.execute(f"SELECT {', '.join(shown)} FROM ({text})").fetchall()
    return tuple(dict(zip(columns, map(_plain, row), strict=True)) for row in rows)


_SHOWN = frozenset({"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE"})
"""Types whose values are shown as they are."""


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return bounded(str(value), MAX_EXAMPLE)
