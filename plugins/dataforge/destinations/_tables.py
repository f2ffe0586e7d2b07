"""What the commit protocol asks of a database: one open session with one open transaction, and what tables it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dataforge.destinations._columns import Outgoing, Planned, TargetColumn
from dataforge.destinations._ledger import Statements

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Target:
    """The table to write. `columns` are None when there is no table yet; `oid` is PostgreSQL's number for it."""

    schema: str
    table: str
    columns: tuple[TargetColumn, ...] | None = None
    schema_exists: bool = True
    oid: int | None = None
    case_sensitive: bool = True

    def column(self, name: str) -> TargetColumn | None:
        """Return the column of that name."""
        fold = self.fold
        return next((column for column in self.columns or () if fold(column.name) == fold(name)), None)

    def name_of(self, name: str) -> str | None:
        """Return the name as the table spells it; of a table to be made the name itself."""
        if self.columns is None:
            return self.fold(name)
        found = self.column(name)
        return found.name if found else None

    def fold(self, name: str) -> str:
        """Return the form in which names of the same column are equal."""
        return name if self.case_sensitive else name.lower()

    def beside(self, table: str) -> Target:
        """Return another table of the same schema."""
        return Target(self.schema, table, case_sensitive=self.case_sensitive)

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table


@dataclass(frozen=True)
class Upsert:
    """Rows of the query `rows` (called s) brought into a table (called t): all parts are SQL, names are quoted.

    Where `match` holds and `differs`, `sets` are set; where nothing matches, `inserts` are inserted.
    """

    rows: str
    match: str
    differs: str
    sets: Mapping[str, str]
    inserts: Mapping[str, str]


class Tables(Statements, Protocol):
    """One session of a database, as the commit protocol uses it."""

    max_name_bytes: int
    case_sensitive: bool
    durable: bool
    """Whether what is committed lasts; not so for a database that is only looked into and not there yet."""
    stages: bool
    """Whether rows can wait in a stage table that other sessions don't lock; else everything is one transaction."""
    alone: bool
    """Whether no other session can be in the database as long as this one is."""
    transactional_ddl: bool
    """Whether making and changing tables is part of a transaction; where it ends one, it is done before the load's."""

    def target(self, table: str) -> Target:
        """Return what stands in the database under that name; TerminalError when it is no table."""
        ...

    def literal(self, value: str, type_: str) -> str:
        """Return the text of a value of a DuckDB type as SQL."""
        ...

    def quoted(self, target: Target) -> str:
        """Return the quoted, qualified name."""
        ...

    def errors(self, target: Target) -> AbstractContextManager[None]:
        """Turn the database's errors into ours, with column and constraint and without any row's values."""
        ...

    def check_schema(self, target: Target, schema: str) -> None:
        """Raise TerminalError when that schema is missing and can't be made."""
        ...

    def check_ledger(self, schema: str) -> None:
        """Raise TerminalError when the ledger's tables can't be made in that schema."""
        ...

    def check_rights(self, target: Target, names: Sequence[str], disposition: str) -> None:
        """Raise TerminalError that names the first missing right."""
        ...

    def fit(self, field: pa.Field[Any], column: TargetColumn) -> Planned | None:
        """Return how an Arrow field goes into an existing column; None when its type does not go there."""
        ...

    def new(self, field: pa.Field[Any]) -> Planned:
        """Return the column that a new table gets for an Arrow field."""
        ...

    def checked(self, planned: Planned) -> Planned:
        """Return the same with values that only the database would refuse refused on the way there (MisfitError)."""
        ...

    def arrow_type(self, target: Target, column: TargetColumn) -> pa.DataType | None:
        """Return the Arrow type of an existing column's values; None where there is none for sure."""
        ...

    def create_schema(self, schema: str) -> str | None:
        """Return the statement that makes the schema; None where there is nothing to make."""
        ...

    def widen(self, target: Target, column: TargetColumn, type_: str, *, empty: bool) -> str:
        """Return the statement that gives the column a wider type; `empty` when it holds only nulls."""
        ...

    def copy(self, rows: Outgoing, table: str, planned: Sequence[Planned], schema: str | None) -> int:
        """Write rows into an existing table (of the session's own temporary ones without a schema); return how many."""
        ...

    def create_stage(self, name: str, columns: Sequence[tuple[str, str]], schema: str | None) -> str:
        """Make a stage table (name, type pairs), temporary when no schema is given; return its quoted name."""
        ...

    def settle_stage(self, table: str) -> None:
        """Do what makes a filled stage table fast to read."""
        ...

    def insert(self, target: Target, names: str, select: str, rows: int) -> int:
        """Insert the result of a query (`rows` in all, -1 when not known); return the number of rows inserted."""
        ...

    def upsert(self, target: Target, what: Upsert) -> tuple[int, int] | None:
        """Update and insert in one statement; return (inserted, updated), None where that can't be done or counted."""
        ...

    def before_replace(self, target: Target, *, undo: bool = False) -> None:
        """Lock out other writers of the target, and refuse where its rows can't be replaced."""
        ...

    def empty(self, target: Target) -> int:
        """Remove all rows of the target; return how many there were."""
        ...

    def swap_table(self, target: Target) -> Target | None:
        """Make an empty table that is to take the target's place; None where replace empties the target itself."""
        ...

    def swap_in(self, target: Target, new: Target) -> None:
        """Put the new table in the target's place."""
        ...

    def differs(self, left: str, right: str, type_: str) -> str:
        """Return SQL: whether two values of a column of that type differ, null being a value like others."""
        ...

    def records(self, sql: str, without: Sequence[str]) -> list[str]:
        """Return the rows of a query as JSON texts."""
        ...

    def stages_of(self, schema: str, prefix: str) -> list[str]:
        """Return the names of tables with that prefix that no living session fills."""
        ...


def literal(value: str, type_: str, dialect: str) -> str:
    """Return the text of a value of a DuckDB type as SQL of that dialect."""
    from sqlglot import exp

    return exp.cast(exp.Literal.string(value), exp.DataType.build(type_, dialect="duckdb")).sql(dialect)


Open = Callable[[], AbstractContextManager[Tables]]
"""Opens a session; what is not committed is rolled back when it closes."""
