"""One session with PostgreSQL through ADBC: guards, statements, COPY, and errors in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from dataforge.components import retry
from dataforge.components.base import Connection
from dataforge.components.database import postgres_uri, without_secrets
from dataforge.components.lifeline import Lifeline, Lined, lined
from dataforge.destinations._columns import Outgoing
from dataforge.errors import DataForgeError, ServerAway, TerminalError


class Session:
    """One connection with one open transaction; every statement is closed after use, as the driver wants it."""

    def __init__(self, connection: Any, of: Connection, lifeline: Lifeline) -> None:
        self._db = connection
        self._of = of
        self._lifeline = lifeline
        self.casting: list[str] = []
        self._committing = False

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query with `$1`, `$2`, … bound to `values`."""
        with self._lifeline.within("a query"), self._db.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return [tuple(row) for row in cursor.fetchall()]

    def run(self, sql: str) -> int:
        """Run a statement without result; return the number of rows it touched, -1 when unknown."""
        with self._lifeline.within("a statement"), self._db.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    def copy(self, rows: Outgoing, table: str, *, schema: str | None = None) -> int:
        """COPY rows into an existing table (a temporary one when no schema is given); return their number."""
        where: dict[str, Any] = {"db_schema_name": schema} if schema else {"temporary": True}
        with rows.errors(), self._lifeline.within("the COPY"), self._db.cursor() as cursor:
            reader = self._lifeline.watched(rows.reader())
            return int(cursor.adbc_ingest(table, reader, mode="append", **where))

    def require(self, condition: str, values: Sequence[Any], right: str) -> None:
        """Raise TerminalError that names the missing right when the condition is false."""
        if not self.rows(f"select {condition}", values)[0][0]:
            user = self.rows("select current_user::text")[0][0]
            raise TerminalError(
                f"user {user!r} of connection {self._of.id!r} lacks {right}; nothing was written. Grant it, or use a "
                "connection with that right"
            )

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query by column name, with all that Arrow tells of their types."""
        with self._db.cursor() as cursor:
            cursor.execute(sql)
            found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            return found

    def rollback(self) -> None:
        """Roll back."""
        self._db.rollback()

    def commit(self) -> None:
        """Commit."""
        self._committing = True
        with self._lifeline.within("the commit"):
            self._db.commit()
        self._committing = False

    @contextmanager
    def errors(self, table: str, oid: int | None) -> Iterator[None]:
        """Turn the server's errors into ours, with column and constraint and without any row's values."""
        try:
            yield
        except DataForgeError:
            raise
        except Exception as error:
            if not _is_driver_error(error):
                raise
            raise self._explain(error, table, oid) from None

    def _explain(self, error: Exception, table: str, oid: int | None) -> DataForgeError:
        facts = _facts(error)
        constraint = facts.get("CONSTRAINT_NAME")
        column = facts.get("COLUMN_NAME") or _column_in(facts.get("CONTEXT", ""))
        holder = f"{facts.get('SCHEMA_NAME')}.{facts.get('TABLE_NAME')}"
        if getattr(error, "sqlstate", None) in ("23503", "23001") and constraint and holder != table:
            return referenced(table, constraint, holder, at_end=self._committing)
        columns: list[str] = [column] if column else []
        if constraint and not columns:
            columns = self._constrained(constraint, oid)
        if not columns and self.casting:
            columns = self.casting
        return explain(error, table, columns, self._of)

    def _constrained(self, constraint: str, oid: int | None) -> list[str]:
        """Return the columns of a constraint or unique index; empty when they can't be told."""
        try:
            with self._lifeline.within("the rollback"):
                self._db.rollback()
            found = self.rows(
                "select a.attname::text from pg_attribute a where exists (select from pg_constraint c "
                "where c.conname = $1 and c.conrelid = a.attrelid and a.attnum = any(c.conkey) "
                "and c.conrelid = $2::oid) or exists (select from pg_index i "
                "join pg_class n on n.oid = i.indexrelid where n.relname = $1 "
                "and i.indrelid = a.attrelid and a.attnum = any(i.indkey) and i.indrelid = $2::oid) order by a.attnum",
                (constraint, oid or 0),
            )
        except Exception as error:
            if not _is_driver_error(error):
                raise
            return []
        return [name for (name,) in found]


@contextmanager
def session(connection: Connection, lock_timeout: timedelta, statement_timeout: timedelta | None) -> Iterator[Session]:
    """Open a session with its guards set; what is not committed is rolled back, and the connection closed.

    TransientError when the server is away or has no slot, TerminalError when it refuses the user or database.
    """
    from adbc_driver_postgresql import dbapi

    def connect() -> Lined[Any]:
        try:
            return lined(connection.id, lambda: dbapi.connect(postgres_uri(connection)))
        except Exception as error:
            if not _is_driver_error(error):
                raise
            raise _refused(error, connection) from None

    made = retry.connecting(connect, connection.id)
    db, lifeline = made.connection, made.lifeline
    open_ = Session(db, connection, lifeline)
    try:
        try:
            _guard(open_, lock_timeout, statement_timeout)
            yield open_
        except DataForgeError:
            raise
        except Exception as error:
            if not _is_driver_error(error):
                raise
            raise explain(error, f"connection {connection.id!r}", [], connection) from None
    finally:
        with suppress(ServerAway), lifeline.within("the rollback"):
            _close(db)
        lifeline.close()


def _guard(db: Session, lock_timeout: timedelta, statement_timeout: timedelta | None) -> None:
    """Set limits for this session. A server that lost us must not keep our locks (see `docs`: facts E5)."""
    settings = {
        "lock_timeout": f"{max(int(lock_timeout.total_seconds() * 1000), 1)}",
        "statement_timeout": f"{int(statement_timeout.total_seconds() * 1000) if statement_timeout else 0}",
        "idle_in_transaction_session_timeout": "600000",
        "client_connection_check_interval": "500",
        "timezone": "UTC",
        "standard_conforming_strings": "on",  # a backslash in a value is a backslash
    }
    for name, value in settings.items():
        # pg_settings knows which of them this server has; the check interval came with version 14.
        db.rows(
            "select set_config(name, $2, false) from pg_settings where lower(name) = $1",
            (name, value),
        )
    db.commit()


def _close(db: Any) -> None:
    try:
        db.rollback()
    except Exception as error:
        if not _is_driver_error(error):
            raise
    db.close()


def _is_driver_error(error: BaseException) -> bool:
    from adbc_driver_manager import Error

    return isinstance(error, Error)


def _facts(error: Exception) -> dict[str, str]:
    """Return the server's diagnostic fields by their name without the prefix PG_DIAG_."""
    facts = {}
    for name, value in getattr(error, "details", None) or ():
        key = name.decode() if isinstance(name, bytes) else str(name)
        facts[key.removeprefix("PG_DIAG_")] = (
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        )
    return facts


def _column_in(context: str) -> str | None:
    found = re.search(r"^COPY .+?, line \d+, column (.+?)(?:: |$)", context, re.MULTILINE)
    return found[1] if found else None


def explain(error: Exception, target: str, columns: Sequence[str], connection: Connection) -> DataForgeError:
    """Return our error for the driver's: its class tells whether trying again may help.

    The text has the server's own sentence without the values that it quotes, the columns and the constraint.
    """
    facts = _facts(error)
    state = str(getattr(error, "sqlstate", None) or facts.get("SQLSTATE") or "")
    where = f"table {target}" if not target.startswith("connection") else target
    named = f"column{'s' if len(columns) > 1 else ''} {', '.join(map(repr, columns))}" if columns else ""
    if state in ("22021", "22P05"):
        return TerminalError(
            f"{where}: {named or 'a text column'} holds a character that the database can't store, such as NUL "
            "(U+0000); remove it with a derive transform: replace(column, chr(0), '')"
        )
    sentence = facts.get("MESSAGE_PRIMARY") or _first_line(str(error))
    if state[:2] in ("22", "P0", "23") or not facts:
        sentence = _without_values(sentence, keep=(facts.get("CONSTRAINT_NAME"), facts.get("TABLE_NAME"), *columns))
    text = without_secrets(f"{where}: {sentence}{f' ({named})' if named and named not in sentence else ''}", connection)
    if not state:
        return ServerAway(f"{text}; the connection to the server may be lost", connection.id)
    verdict = retry.of_sqlstate(state, writing=True)
    return retry.error_for(verdict, f"{text} [{state}]", connection.id, retry.pause(sentence, state))


def referenced(target: str, constraint: str, table: str, *, at_end: bool = False) -> TerminalError:
    """Return the error for a replace that a foreign key of `table` does not allow: at once, or at the commit."""
    if at_end:
        return TerminalError(
            f"table {target} can't be replaced: rows of {table} refer by the foreign key {constraint!r} to rows that "
            "the new ones don't have; nothing was changed. Keep those rows in the records, or set write_disposition "
            "to 'append'"
        )
    return TerminalError(
        f"table {target} can't be replaced: rows of {table} refer to it by the foreign key {constraint!r}, which does "
        "not wait for the new rows; nothing was changed. Make that key DEFERRABLE with NO ACTION on delete, or set "
        "write_disposition to 'append'"
    )


def _without_values(sentence: str, keep: Iterable[str | None]) -> str:
    names = {name for name in keep if name}
    return re.sub(r'"([^"]*)"', lambda found: found[0] if found[1] in names else '"…"', sentence)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]


def _refused(error: Exception, connection: Connection) -> DataForgeError:
    """Return the error for a connection that was not made. libpq gives no code then, only the server's sentence."""
    text = without_secrets(" ".join(str(error).removeprefix("IO: [libpq] Failed to connect: ").split()), connection)
    verdict = retry.of_connecting(text)
    return retry.error_for(verdict, f"connection {connection.id!r}: {text}", connection.id, retry.pause(text))
