"""Printing: plain text when piped, tables and progress on a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from dataforge.cli.usage import UsageError


def print_json(value: Any) -> None:
    """Print a value as indented JSON; dates as ISO 8601, decimals as text so that no digit is lost."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=plain))


def plain(value: Any) -> Any:
    """Return a JSON-able stand-in for a value of a database row."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    return str(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()) -> None:
    """Print rows as a table under a title; every column is shown, long values are cut to the terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(text(value), style="dim" if value is None else "") for value in row))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    for note in notes:
        console.print(Text(f"  {note}", style="dim"))
    console.print()


def text(value: Any) -> str:
    """Return the one-line text of a value."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value.replace("\n", "\\n")
    return str(plain(value)) if not isinstance(value, int | float) else str(value)


def print_sql(sql: str) -> None:
    """Print SQL, coloured on a terminal."""
    if not sys.stdout.isatty():
        print(sql)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(sql, "sql", background_color="default", word_wrap=True))


@contextmanager
def logs() -> Iterator[None]:
    """Send our logs to standard error, also where Airflow sends all others to standard output, among the results.

    Only warnings, unless DATAFORGE_LOG names another level.
    """
    logger = logging.getLogger("dataforge")
    level, propagate = logger.level, logger.propagate
    handler = logging.StreamHandler(sys.stderr)
    wanted = os.environ.get("DATAFORGE_LOG", "WARNING").upper()
    try:
        logger.setLevel(wanted)
    except ValueError:
        raise UsageError(f"DATAFORGE_LOG is {wanted!r}; write DEBUG, INFO, WARNING or ERROR") from None
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def progress(stages: Sequence[str]) -> Iterator[Callable[[str, str], None]]:
    """Show the stages of a run as they go by: a bar on a terminal, one line a stage on standard error otherwise.

    The yielded function takes a finished stage and one sentence on what it did.
    """
    if not sys.stderr.isatty():
        yield lambda stage, result: print(f"{stage}: {result}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(stages[0], total=len(stages))

        def finish(stage: str, result: str) -> None:
            console.print(f"{stage}: {result}", highlight=False, markup=False)
            following = stages.index(stage) + 1
            bar.update(task, advance=1, description=stages[following] if following < len(stages) else "done")

        yield finish
