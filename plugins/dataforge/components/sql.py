"""SQL that stands in configs: parsed by SQLGlot, held against the allow-list, bound to known columns, built and quoted.

Nothing of a config is ever pasted into SQL. Text is parsed to a tree, the tree is written out and parsed again until
both agree, and what is held against the allow-list is the tree whose text the engine gets. Placeholders become typed
literals in that tree. Errors are ConfigErrors with paths below the component's own config.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dataforge.components.base import CheckQueries, Columns, JsonValue, Relation, Scope
from dataforge.components.placeholders import Placeholder, parse_placeholder, substitute
from dataforge.components.sql_allowed import (
    AGGREGATES,
    EXPRESSION_NODES,
    FUNCTION_NODES,
    FUNCTIONS,
    QUERY_NODES,
    TYPE_NODES,
    TYPES,
    WINDOWS,
)
from dataforge.errors import ConfigError, Problem, bounded

if TYPE_CHECKING:
    from sqlglot import Dialect, exp
    from typing_extensions import Self

Path = tuple[str | int, ...]

DIALECT = "duckdb"
MAX_TOKENS = 2_000
MAX_QUERY_TOKENS = 10_000
MAX_BRACKETS = 40
MAX_DEPTH = 200
_VALUE = "__dataforge_value_"
# Text, quoted names, comments and dollar quotes are skipped whole: a placeholder in them is not a value of its own.
_PIECES = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$([A-Za-z_]*)\$.*?\$\1\$|\$\{(?P<body>[^{}]*)\}", re.DOTALL
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_BRACKETS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|[(\[{]|[)\]}]", re.DOTALL)
_WORD = re.compile(r"\A[A-Za-z_][A-Za-z_ ]*\Z")
_NUMBER = re.compile(r"\A\d*\.?\d*(?:[eE][+-]?\d+)?\Z")


class Problems:
    """Collects the problems of several checks, to report them at once: `with Problems() as problems: …` raises them.

    `with problems.under("columns", 2): …` keeps a ConfigError from ending the rest, with its path put below that key.
    """

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def under(self, *path: str | int) -> _Guard:
        """Return a context that keeps ConfigErrors here, their paths below `path`."""
        return _Guard(self, path)

    def add(self, problem: Problem) -> None:
        """Keep one more problem."""
        self.found.append(problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError):
            raise ConfigError((*self.found, *error.problems)) from None
        if error is None and self.found:
            raise ConfigError(self.found)


class _Guard:
    def __init__(self, problems: Problems, path: Path) -> None:
        self._problems, self._path = problems, path

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self._problems.found += error.under(*self._path).problems
        return True


# ------------------------------------------------------------------------------------------------ names and columns


def near(name: str, allowed: Iterable[str]) -> str | None:
    """Return the name of `allowed` that is most like `name`, whatever its case; None when none is like it."""
    by_key = {known.casefold(): known for known in allowed}
    found = difflib.get_close_matches(name.casefold(), by_key, n=1)
    return by_key[found[0]] if found else None


def unknown(kind: str, name: str, allowed: Sequence[str], *path: str | int) -> ConfigError:
    """Return the finding `unknown-<kind>` for `name`, with the nearest of the allowed names."""
    guess = near(name, allowed)
    hint = f"did you mean {guess!r}?" if guess else f"known: {bounded(', '.join(allowed), 300) or 'none'}"
    return ConfigError(
        Problem(f"unknown-{kind}", f"{kind} {bounded(name, 200)!r} is not known", path, hint, tuple(allowed))
    )


def match_column(columns: Columns | None, name: str, *path: str | int) -> str:
    """Return `name` as the columns spell it, matched whatever its case, as DuckDB does; as it is when they are open."""
    if columns is None or name in columns:
        return name
    key = name.lower()
    for known in columns:
        if known.lower() == key:
            return known
    raise unknown("column", name, list(columns), *path)


def match_columns(columns: Columns | None, names: Sequence[str], *path: str | int) -> list[str]:
    """Return all `names` as the columns spell them; ConfigError with every unknown or repeated one, path + index."""
    found: list[str] = []
    with Problems() as problems:
        if not names:
            problems.add(Problem("empty-list", "at least one column is needed", path))
        for index, name in enumerate(names):
            with problems.under(*path, index):
                spelled = match_column(columns, name)
                refuse_repeat(spelled, found)
                found.append(spelled)
    return found


def match_keys(columns: Columns | None, mapping: Mapping[str, object], *path: str | int) -> dict[str, str]:
    """Return the keys of `mapping` with the columns' spelling; ConfigError with every unknown one, path + key."""
    found: dict[str, str] = {}
    with Problems() as problems:
        if not mapping:
            problems.add(Problem("empty-list", "at least one column is needed", path))
        for name in mapping:
            with problems.under(*path, name):
                spelled = match_column(columns, name)
                refuse_repeat(spelled, found.values())
                found[name] = spelled
    return found


def refuse_repeat(name: str, others: Iterable[str], *path: str | int) -> None:
    """Raise ConfigError when `name` is among `others`, whatever its case, as two columns may not share a name."""
    if any(name.lower() == other.lower() for other in others):
        raise ConfigError(
            Problem("duplicate-column", f"column {name!r} would be there twice (letter case makes no difference)", path)
        )


def identifier(name: str) -> exp.Identifier:
    """Return the quoted identifier of exactly that name."""
    from sqlglot import exp

    return exp.Identifier(this=name, quoted=True)


def column(name: str, table: str | None = None) -> exp.Column:
    """Return a quoted reference to a column."""
    from sqlglot import exp

    return exp.Column(this=identifier(name), table=identifier(table) if table else None)


def aliased(expression: exp.Expr, name: str) -> exp.Alias:
    """Return `expression AS "name"`."""
    from sqlglot import exp

    return exp.Alias(this=expression, alias=identifier(name))


def select(relation: Relation, *projections: exp.Expr) -> exp.Select:
    """Return `SELECT projections FROM relation`."""
    from sqlglot import exp

    return exp.Select(expressions=list(projections)).from_(relation.table(), copy=False)


def count_violations(relation: Relation, broken: exp.Expr, says: str = "", column: str = "") -> CheckQueries:
    """Return the queries of a check on single rows: `broken` is true for a row that breaks it, else false or null."""
    from sqlglot import exp

    count = select(
        relation,
        aliased(exp.CountIf(this=broken), "violations"),
        aliased(exp.Count(this=exp.Star()), "checked"),
    )
    examples = select(relation, star()).where(broken.copy(), copy=False)
    return CheckQueries(count, examples, broken.copy(), says, column)


def star(
    exclude: Iterable[str] = (),
    replace: Mapping[str, exp.Expr] | None = None,
    rename: Mapping[str, str] | None = None,
) -> exp.Star:
    """Return `*` without, with other values for, or with other names for some columns."""
    from sqlglot import exp

    return exp.Star(
        except_=[column(name) for name in exclude] or None,
        replace=[aliased(value, name) for name, value in (replace or {}).items()] or None,
        rename=[aliased(column(old), new) for old, new in (rename or {}).items()] or None,
    )


def literal(value: JsonValue) -> exp.Expr:
    """Return the literal of a JSON scalar: text, number, true/false or null."""
    from sqlglot import exp

    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int | float):
        number = exp.Literal.number(repr(abs(value)))
        return exp.Neg(this=number) if value < 0 else number
    return exp.Literal.string(value)


def cast(expression: exp.Expr, type_: str | exp.DataType, *, safe: bool = False) -> exp.Expr:
    """Return `CAST(expression AS type)`, or TRY_CAST (null where a value does not fit) when `safe`."""
    from sqlglot import exp

    to = exp.DataType.build(type_, dialect=DIALECT) if isinstance(type_, str) else type_
    return exp.TryCast(this=expression, to=to) if safe else exp.Cast(this=expression, to=to)


_FAMILIES = {
    "number": r"(?:U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|INT\d+|DECIMAL|NUMERIC|FLOAT|REAL|DOUBLE)\b(?!.*\[)",
    "text": r"(?:VARCHAR|TEXT|CHAR|STRING|ENUM)\b(?!.*\[)",
    "boolean": r"BOOL(?:EAN)?\b(?!.*\[)",
    "date": r"DATE\b(?!.*\[)",
    "timestamp": r"(?:TIMESTAMP|DATETIME)(?!.*\[)",
}


@functools.lru_cache(maxsize=512)
def family(type_: str) -> str | None:
    """Return number, text, boolean, date or timestamp for a DuckDB type; None for others and for unknown types."""
    return next((name for name, pattern in _FAMILIES.items() if re.match(pattern, type_.upper())), None)


def check_value(value: JsonValue, type_: str, *path: str | int) -> None:
    """Raise ConfigError when a JSON scalar can't be a value of a column of that DuckDB type."""
    kind = family(type_)
    fits = True
    if kind == "number":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "boolean":
        fits = isinstance(value, bool)
    elif kind in ("date", "timestamp"):
        try:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        except (ValueError, AttributeError):
            fits = False
    elif kind == "text":
        fits = isinstance(value, str)
    if not fits:
        form = {"date": "a date such as '2024-12-31'", "timestamp": "an instant such as '2024-12-31T00:00:00'"}
        wanted = form.get(kind or "", f"a {kind}")
        raise ConfigError(
            Problem(
                "type-mismatch",
                f"{bounded(repr(value), 100)} does not fit a column of type {type_}",
                path,
                f"write {wanted}",
            )
        )


# ---------------------------------------------------------------------------------------------------------- parsing


def parse_type(text: str, *path: str | int) -> exp.DataType:
    """Return the type that `text` names; ConfigError "unknown-type" with the nearest name."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        _scan(text)
        built = exp.DataType.build(text, dialect=DIALECT, udt=False)
    except ConfigError as error:
        raise error.under(*path) from None
    except (SqlglotError, TypeError, ValueError, RecursionError):
        raise unknown("type", text, TYPES, *path) from None
    if not isinstance(built, exp.DataType) or ";" in text:  # the pure Python parser gives the first of several
        raise unknown("type", text, TYPES, *path)
    for node in built.walk():
        _check_type_node(node, text, path)
    _quote(built)
    return built


def parse_expression(
    text: str, relation: Relation, scope: Scope, *path: str | int, aggregates: bool = False, windows: bool = False
) -> exp.Expr:
    """Return the one expression that `text` is, its columns bound to `relation`, its placeholders typed literals.

    Aggregates (`sum(x)`) and window functions (`sum(x) over (…)`) are refused where the place can't have them.
    The node remembers `path` in its meta, so that a later type error can be told at the same place.
    """
    with _Below(path):
        node = _parse(text, scope, MAX_TOKENS)
        _check_nodes(node, EXPRESSION_NODES, text)
        _check_kinds(node, aggregates=aggregates, windows=windows)
        bind(node, relation, scope)
    node.meta["path"] = path
    return node


def parse_ordered(text: str, relation: Relation, scope: Scope, *path: str | int) -> exp.Ordered:
    """Return the sort key that `text` is: an expression with `asc` or `desc`, `nulls first` or `nulls last`."""
    from sqlglot import exp

    with _Below(path):
        node = _parse(text, scope, MAX_TOKENS, into=exp.Ordered)
        assert isinstance(node, exp.Ordered)
        _check_nodes(node, EXPRESSION_NODES, text)
        _check_kinds(node, aggregates=False, windows=False)
        if not any(node.find_all(exp.Column)):
            raise ConfigError(Problem("constant", f"{text!r} sorts nothing: it names no column", (), "write a column"))
        bind(node, relation, scope)
    node.this.meta["path"] = path
    return node


def parse_order(keys: str | Sequence[str], relation: Relation, scope: Scope, *path: str | int) -> list[exp.Expr]:
    """Return the sort keys of a text or of a list of texts; ConfigError with every problem, path + index in a list."""
    found: list[exp.Expr] = []
    if isinstance(keys, str):
        return [parse_ordered(keys, relation, scope, *path)]
    if not keys:
        raise ConfigError(Problem("empty-list", "at least one sort key is needed", path))
    with Problems() as problems:
        for index, key in enumerate(keys):
            with problems.under(*path, index):
                found.append(parse_ordered(key, relation, scope))
                found[-1].this.meta["path"] = (*path, index)
    return found


def relation_named(name: str, scope: Scope, *path: str | int) -> Relation:
    """Return the relation of that name; ConfigError "unknown-input" with the nearest name."""
    try:
        return scope.relations[name]
    except KeyError:
        raise unknown("input", name, list(scope.relations), *path) from None


def parse_query(text: str, relation: Relation, scope: Scope, *path: str | int) -> exp.Query:
    """Return the one SELECT that `text` is, over the relations of `scope` and over `input`, which is `relation`."""
    from sqlglot import exp

    with _Below(path):
        node = _parse(text, scope, MAX_QUERY_TOKENS)
        if not isinstance(node, exp.Query):
            raise ConfigError(Problem("not-a-query", "exactly one SELECT is needed", (), "begin with select or with"))
        _check_nodes(node, EXPRESSION_NODES | {"Distinct"}, text, query=True)
        bind_tables(node, {**scope.relations, "input": relation})
    _quote(node)
    node.meta["path"] = path
    return node


def bind(node: exp.Expr, relation: Relation, scope: Scope) -> None:
    """Check and quote the columns of an expression over `relation`, in place; subqueries may name scope's relations."""
    from sqlglot import exp

    with Problems() as problems:
        for query in node.find_all(exp.Query):
            if not _inside_query(query):
                with problems.under():
                    bind_tables(query, {**scope.relations, "input": relation})
        if relation.columns is not None:
            for found in node.find_all(exp.Column):
                if not _inside_query(found):
                    with problems.under():
                        _bind_column(found, relation.columns)
    _quote(node)


def bind_tables(query: exp.Expr, relations: Mapping[str, Relation]) -> None:
    """Replace every table of a query by the relation of that name, in place, under the name the query gave it."""
    from sqlglot import exp

    by_key = {name.lower(): relation for name, relation in relations.items()}
    with Problems() as problems:
        for cte in query.find_all(exp.CTE):
            if cte.alias.lower() in by_key:
                what = f"WITH {cte.alias!r} hides the input of that name"
                problems.add(Problem("duplicate-name", what, (), "choose another name"))
        for table, visible in _tables(query, frozenset()):
            name = table.name
            if not isinstance(table.this, exp.Identifier):
                problems.add(
                    Problem("not-allowed", "functions can't stand in FROM", (), f"inputs: {', '.join(relations)}")
                )
            elif table.args.get("db") or table.args.get("catalog"):
                whole = ".".join(part.name for part in table.parts)
                problems.found += unknown("input", whole, list(relations)).problems
            elif name.lower() in visible:
                continue
            elif name.lower() not in by_key:
                problems.found += unknown("input", name, list(relations)).problems
            else:
                if not table.alias:
                    table.set("alias", exp.TableAlias(this=identifier(name)))
                table.set("this", identifier(by_key[name.lower()].name))


def _tables(node: exp.Expr, visible: frozenset[str]) -> Iterator[tuple[exp.Table, frozenset[str]]]:
    """Yield every table with the names that WITH clauses around it define, lower case."""
    from sqlglot import exp

    if isinstance(node, exp.Table):
        yield node, visible
    with_ = node.args.get("with_")
    if with_ is not None:
        for cte in with_.expressions:
            yield from _tables(cte.this, visible)
            visible |= {cte.alias.lower()}
    for child in list(node.iter_expressions()):
        if child is not with_:
            yield from _tables(child, visible)


def _inside_query(node: exp.Expr) -> bool:
    from sqlglot import exp

    return node.find_ancestor(exp.Query) is not None


def _bind_column(node: exp.Column, columns: Columns) -> None:
    from sqlglot import exp

    first = node.parts[0]
    assert isinstance(first, exp.Identifier)  # a star has been refused before
    ancestor = node.find_ancestor(exp.Lambda)
    while ancestor is not None:
        if any(param.name.lower() == first.name.lower() for param in ancestor.expressions):
            return
        ancestor = ancestor.find_ancestor(exp.Lambda)
    first.set("this", match_column(columns, first.name))


class _Below:
    """Puts the path before the problems of a ConfigError that passes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path and isinstance(error, ConfigError):
            raise error.under(*self._path) from None


@functools.cache
def _dialect() -> Dialect:
    from sqlglot import Dialect

    return Dialect.get_or_raise(DIALECT)


def _parse(text: str, scope: Scope, limit: int, into: type[exp.Expr] | None = None) -> exp.Expr:
    """Return the one tree whose own text parses to itself, with placeholders filled in and comments dropped."""
    from sqlglot.errors import ErrorLevel, SqlglotError

    if _VALUE in text.lower():
        raise ConfigError(Problem("not-allowed", f"names with {_VALUE!r} are reserved"))
    placeholders: list[Placeholder] = []
    marked = _mark(text, placeholders)
    try:
        node = _one(_tokens(marked, limit), into, text)
        if placeholders or "${" in text:
            node = _fill(node, placeholders, scope)
        written = node.sql(DIALECT, comments=False, identify=True, unsupported_level=ErrorLevel.RAISE)
        for _ in range(3):
            again = _one(_tokens(written, 4 * limit), into, written)
            text_again = again.sql(DIALECT, comments=False, identify=True, unsupported_level=ErrorLevel.RAISE)
            if text_again == written:
                if scope.values is None and "${" in text:
                    again.meta["stand_in"] = True  # its texts are not those of a run
                return again
            written = text_again
    except SqlglotError as error:
        raise _syntax_problem(error, text) from None
    except RecursionError:
        raise ConfigError(Problem("too-deep", "the SQL is nested too deeply")) from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        # SQLGlot fails in its own ways on some malformed input; whatever it can't read is not accepted.
        pass
    raise ConfigError(Problem("invalid-sql", f"this SQL can't be read: {bounded(text, 200)!r}"))


def _one(tokens: list[Any], into: type[exp.Expr] | None, text: str) -> exp.Expr:
    dialect = _dialect()
    parser = dialect.parser()
    found = parser.parse_into(into, tokens, text) if into else parser.parse(tokens, text)
    if len(found) != 1 or found[0] is None:
        raise ConfigError(
            Problem("not-one", f"exactly one expression is needed, found {sum(item is not None for item in found)}")
        )
    return found[0]


def _tokens(text: str, limit: int) -> list[Any]:
    _scan(text)
    tokens: list[Any] = _dialect().tokenize(text)
    if len(tokens) > limit:
        raise ConfigError(Problem("too-large", f"the SQL has {len(tokens)} words and signs, at most {limit} may be"))
    return tokens


def _scan(text: str) -> None:
    """Refuse what must not even reach the parser: control characters, deep nesting, unclosed comments."""
    if bad := _CONTROL.search(text):
        raise ConfigError(Problem("invalid-sql", f"the character {bad[0]!a} can't stand in SQL"))
    depth = deepest = 0
    for piece in _BRACKETS.finditer(text):
        if piece[0] in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif piece[0] in ")]}":
            depth -= 1
            if depth < 0:
                break
    if deepest > MAX_BRACKETS:
        raise ConfigError(Problem("too-deep", f"brackets are nested {deepest} deep, at most {MAX_BRACKETS} may be"))
    if depth != 0:
        raise ConfigError(Problem("invalid-sql", "brackets do not match"))


def _syntax_problem(error: Exception, text: str) -> ConfigError:
    details = getattr(error, "errors", None) or [{}]
    first = details[0]
    what = str(first.get("description") or str(error).split("\n")[0]).split(". Line")[0].rstrip(".")
    what = re.sub(r"<class '[\w.]*\.(\w+)'>", r"\1", what)
    place = f" near {bounded(str(first['highlight']), 60)!r}" if first.get("highlight") else ""
    column_ = f" at character {first['col']}" if first.get("col") and first.get("line") == 1 else ""
    message = f"{bounded(text, 200)!r} is no valid SQL: {what}{place}{column_}"
    return ConfigError(Problem("invalid-sql", message.replace(_VALUE, "${…}")))


# ------------------------------------------------------------------------------------------------------ placeholders


def _mark(text: str, placeholders: list[Placeholder]) -> str:
    """Return `text` with a reserved name in place of each `${…}` that stands for a value, collected in order."""
    if "${" not in text:
        return text

    def mark(match: re.Match[str]) -> str:
        if match["body"] is None:
            return match[0]
        placeholders.append(_placeholder(match["body"]))
        return f" {_VALUE}{len(placeholders) - 1} "

    return _PIECES.sub(mark, text)


def _placeholder(body: str) -> Placeholder:
    try:
        return parse_placeholder(body)
    except ValueError as error:
        raise ConfigError(Problem("unknown-placeholder", str(error))) from None


def _fill(node: exp.Expr, placeholders: list[Placeholder], scope: Scope) -> exp.Expr:
    """Return the tree with literals in place of the reserved names, and texts in place of `${…}` in quoted text."""
    from sqlglot import exp

    filled = 0
    for found in list(node.find_all(exp.Column, exp.Literal)):
        if isinstance(found, exp.Literal):
            if found.is_string and "${" in found.this:
                found.set("this", _filled_text(found.this, scope))
        elif isinstance(found, exp.Column) and len(found.parts) == 1 and found.name.startswith(_VALUE):
            value = _value(placeholders[int(found.name.removeprefix(_VALUE))], scope)
            # Parentheses keep a minus sign apart from what stands before it.
            value = exp.Paren(this=value) if isinstance(value, exp.Neg) else value
            if found is node:
                node = value
            else:
                found.replace(value)
            filled += 1
    if filled != len(placeholders) or any(_VALUE in str(name.this) for name in node.find_all(exp.Identifier, exp.Var)):
        raise ConfigError(
            Problem("misplaced-placeholder", "a placeholder can stand only where a value can, not for a name or a type")
        )
    return node


def _filled_text(text: str, scope: Scope) -> str:
    def fill(placeholder: Placeholder) -> str:
        _declared(placeholder, scope)
        found = placeholder.text(scope.values) if scope.values else None
        if found is None and scope.values is not None and placeholder.param:
            raise _missing(placeholder)
        return _stand_in_text(placeholder, scope) if found is None else found

    try:
        return substitute(text, fill)
    except ValueError as error:
        raise ConfigError(Problem("unknown-placeholder", str(error))) from None


def _stand_in_text(placeholder: Placeholder, scope: Scope) -> str:
    """A text of the right kind for validation, when there is no run: so that `date '${data_interval_start}'` binds."""
    kind = (scope.params or {}).get(placeholder.param, "string") if placeholder.param else "datetime"
    if placeholder.name == "run_id":
        kind = "string"
    if placeholder.format:
        return datetime(2000, 1, 1, tzinfo=timezone.utc).strftime(placeholder.format)
    stand_ins = {"integer": "0", "number": "0", "boolean": "false", "date": "2000-01-01"}
    return stand_ins.get(kind, "2000-01-01T00:00:00+00:00" if kind == "datetime" else "")


_SQL_TYPES = {
    "string": "TEXT",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "datetime": "TIMESTAMPTZ",
}


def _declared(placeholder: Placeholder, scope: Scope) -> None:
    if placeholder.param and scope.params is not None and placeholder.param not in scope.params:
        in_values = scope.values is not None and placeholder.param in scope.values.params
        if not in_values:
            raise unknown("param", placeholder.param, list(scope.params))


def _missing(placeholder: Placeholder) -> ConfigError:
    name = f"params.{placeholder.param}" if placeholder.param else placeholder.name
    return ConfigError(Problem("missing-value", f"${{{name}}} has no value in this run"))


def _value(placeholder: Placeholder, scope: Scope) -> exp.Expr:
    """Return the typed literal that a placeholder stands for; a null of its type when there is no run yet."""
    _declared(placeholder, scope)
    value = placeholder.value(scope.values) if scope.values else None
    if placeholder.param:
        kind = (scope.params or {}).get(placeholder.param)
        if value is None:
            return cast(literal(None), _SQL_TYPES[kind or "string"])
        return typed_literal(value, kind)
    if placeholder.name == "run_id" or placeholder.format:
        text = placeholder.text(scope.values) if scope.values else None
        return cast(literal(None), "TEXT") if text is None else literal(text)
    return typed_literal(value, "datetime") if value is not None else cast(literal(None), "TIMESTAMPTZ")


def typed_literal(value: JsonValue | datetime, kind: str | None = None) -> exp.Expr:
    """Return the literal of a run parameter of that declared type; dates and instants become casts of ISO texts."""
    if kind == "datetime" or isinstance(value, datetime):
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        aware = instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)
        return cast(literal(aware.astimezone(timezone.utc).isoformat()), "TIMESTAMPTZ")
    if kind == "date":
        return cast(literal(date.fromisoformat(str(value)).isoformat()), "DATE")
    if kind == "number" and not isinstance(value, bool) and isinstance(value, int | float):
        return cast(literal(value), "DOUBLE") if isinstance(value, float) else literal(value)
    return literal(value)


# -------------------------------------------------------------------------------------------------------- allow-list


def _check_nodes(node: exp.Expr, allowed: frozenset[str] | set[str], text: str, *, query: bool = False) -> None:
    """Raise ConfigError with everything in the tree that the published lists don't hold."""
    from sqlglot import exp

    problems = Problems()
    if not query and isinstance(node, exp.Alias | exp.Star | exp.Select | exp.SetOperation):
        raise ConfigError(Problem("not-an-expression", f"{bounded(text, 200)!r} is no single expression"))
    stack: list[tuple[exp.Expr, int, bool]] = [(node, 0, query)]
    while stack:
        current, depth, in_query = stack.pop()
        if depth > MAX_DEPTH:
            raise ConfigError(Problem("too-deep", f"the SQL is nested deeper than {MAX_DEPTH} levels"))
        in_query = in_query or isinstance(current, exp.Query)
        name = type(current).__name__
        with problems.under():
            if isinstance(current, exp.Anonymous):
                if current.name.lower() not in FUNCTIONS:
                    raise _unknown_function(current.name)
            elif name not in FUNCTION_NODES and name not in allowed and not (in_query and name in QUERY_NODES):
                raise _refused(current)
            _check_leaf(current, in_query, text)
        stack += [(child, depth + 1, in_query) for child in current.iter_expressions()]
    if problems.found:
        raise ConfigError(dict.fromkeys(problems.found))


def _check_leaf(node: exp.Expr, in_query: bool, text: str) -> None:
    """Raise ConfigError for a node that is allowed only in some places or with some content."""
    from sqlglot import exp

    parent = node.parent
    if isinstance(node, exp.Var) and not _WORD.match(node.name):
        raise ConfigError(Problem("not-allowed", f"{bounded(node.name, 60)!r} can't stand here"))
    if isinstance(node, exp.Literal) and not node.is_string and not _NUMBER.match(node.this):
        raise ConfigError(Problem("not-allowed", f"{bounded(node.this, 60)!r} is no number"))
    if isinstance(node, exp.Star) and not in_query and not isinstance(parent, exp.Count):
        raise ConfigError(Problem("not-allowed", "'*' can't stand here", (), "name the columns"))
    if isinstance(node, exp.Dot) and not (
        isinstance(node.expression, exp.Identifier) and not isinstance(node.this, exp.Identifier)
    ):
        raise ConfigError(
            Problem("not-allowed", f"{bounded(node.sql(DIALECT), 80)!r} can't be called", (), "write function(value)")
        )
    if isinstance(node, exp.With) and node.args.get("recursive"):
        raise ConfigError(Problem("not-allowed", "WITH RECURSIVE is not allowed"))
    if isinstance(node, exp.CTE) and not isinstance(node.this, exp.Query):
        raise ConfigError(Problem("not-allowed", "WITH can hold only SELECT"))
    if isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks") or node.args.get("hint")):
        raise ConfigError(Problem("not-allowed", "INTO, FOR UPDATE and hints are not allowed"))
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
        raise ConfigError(
            Problem(
                "not-allowed",
                f"{bounded(node.sql(DIALECT), 80)!r}: functions can't stand in FROM",
                (),
                "read from the named inputs",
            )
        )
    _check_type_node(node, text, ())


def _check_type_node(node: exp.Expr, text: str, path: Path) -> None:
    from sqlglot import exp

    if not isinstance(node, exp.DataType):
        return
    name = getattr(node.this, "name", str(node.this))
    if name not in TYPE_NODES:
        raise unknown("type", node.sql(DIALECT) if node is not node.root() else text, TYPES, *path)
    numbers = [param.this for param in node.expressions if isinstance(param, exp.DataTypeParam)]
    if any(not isinstance(number, exp.Literal) or number.is_string for number in numbers):
        raise unknown("type", text, TYPES, *path)
    if name == "DECIMAL" and numbers:
        width, scale = int(numbers[0].this), int(numbers[1].this) if len(numbers) > 1 else 0
        if not (1 <= width <= 38 and 0 <= scale <= width):
            raise ConfigError(
                Problem(
                    "unknown-type",
                    f"decimal({width},{scale}) can't be: at most 38 digits, of which at most all "
                    "may stand behind the point",
                    path,
                    "write decimal(38,10) or smaller",
                )
            )


def _unknown_function(name: str) -> ConfigError:
    guess = near(name, FUNCTIONS)
    hint = f"did you mean {guess!r}?" if guess else "the reference lists the functions that configs may call"
    return ConfigError(Problem("unknown-function", f"function {bounded(name, 100)!r} is not allowed", (), hint))


def _refused(node: exp.Expr) -> ConfigError:
    from sqlglot import exp

    if isinstance(node, exp.Func):
        return _unknown_function(node.sql_name().lower())
    if isinstance(node, exp.Block):
        return ConfigError(Problem("not-one", "exactly one statement is needed, without ';'"))
    shown = bounded(node.sql(DIALECT), 80)
    return ConfigError(Problem("not-allowed", f"{shown!r} is not allowed in a config ({type(node).__name__.lower()})"))


def _check_kinds(node: exp.Expr, *, aggregates: bool, windows: bool) -> None:
    """Raise ConfigError for aggregates or window functions where the place can't have them."""
    from sqlglot import exp

    for found in node.find_all(exp.Window):
        if not windows and not _inside_query(found):
            shown = bounded(found.sql(DIALECT), 80)
            raise ConfigError(
                Problem("not-allowed", f"{shown} can't stand here", (), "compute it in a derive step before")
            )
    for call in _aggregates(node):
        if _over(call):
            continue
        name = call.name.lower() if isinstance(call, exp.Anonymous) else call.sql_name().lower()
        if name in WINDOWS:
            raise ConfigError(Problem("not-allowed", f"{name}() needs over (…)"))
        if not aggregates:
            raise ConfigError(
                Problem(
                    "not-allowed",
                    f"the aggregate {name}(…) can't stand here",
                    (),
                    "use an aggregate step" + (", or write … over (…)" if windows else ""),
                )
            )


def _aggregates(node: exp.Expr) -> Iterator[exp.Func]:
    from sqlglot import exp

    for found in node.find_all(exp.AggFunc, exp.RowNumber, exp.Anonymous):
        is_named = isinstance(found, exp.Anonymous) and found.name.lower() in AGGREGATES | WINDOWS
        if (is_named or isinstance(found, exp.AggFunc | exp.RowNumber)) and not _inside_query(found):
            yield found


def _over(node: exp.Expr) -> bool:
    """Whether a function is what a window is over (not merely inside its arguments)."""
    from sqlglot import exp

    parent = node.parent
    while isinstance(parent, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup | exp.Order):
        node, parent = parent, parent.parent
    return isinstance(parent, exp.Window) and parent.this is node


def is_aggregated(node: exp.Expr) -> bool:
    """Whether an expression holds an aggregate that is not a window function."""
    return any(not _over(found) for found in _aggregates(node))


def loose_columns(node: exp.Expr) -> Iterator[exp.Column]:
    """Yield the columns of an expression that stand outside of aggregates and subqueries."""
    from sqlglot import exp

    inside = {id(found) for found in _aggregates(node)}
    # `sum(a) filter (where b)`: b is looked at row by row, before the rows of a group become one
    inside |= {id(found) for found in node.find_all(exp.Filter)}
    for found in node.find_all(exp.Column):
        ancestor = found.parent
        while ancestor is not None and id(ancestor) not in inside and not isinstance(ancestor, exp.Query | exp.Lambda):
            ancestor = ancestor.parent
        if ancestor is None:
            yield found


def _quote(node: exp.Expr) -> None:
    from sqlglot import exp

    for found in node.find_all(exp.Identifier):
        found.set("quoted", True)
