"""`cursor`, `dead-letters`, `loads` and `undo`: what the destinations remember of a pipeline, shown and changed."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dataforge.cli.loading import load_one
from dataforge.cli.output import print_json, print_table
from dataforge.cli.usage import UsageError
from dataforge.components.base import JsonValue
from dataforge.components.delivery import (
    CursorPosition,
    DeadLetter,
    Ledger,
    LoadRecord,
    Undone,
    cursor_from_json,
    cursor_to_json,
)
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import DataForgeError, TerminalError
from dataforge.runtime.context import TaskContext
from dataforge.runtime.ledgers import accountable, opened, target_name, without_run


@dataclass(frozen=True)
class Chosen:
    """The pipeline that a command is about, and the destinations whose ledgers it opens."""

    config: PipelineConfig
    context: TaskContext
    indexes: tuple[int, ...]

    @contextmanager
    def ledger(self, index: int) -> Iterator[Ledger]:
        """Open the ledger of the destination at `index`."""
        with opened(self.config, index, self.context) as found:
            yield found

    def name(self, index: int) -> str:
        """Return the target as a person knows it."""
        return unquote(target_name(self.config, index).removeprefix("dataforge://"))

    def about(self, index: int, **more: JsonValue) -> dict[str, JsonValue]:
        """Return what every JSON answer says of a destination."""
        return {"destination": index + 1, "target": self.name(index), **more}


def cursor_show(arguments: argparse.Namespace) -> int:
    """Show up to where each source was read."""
    chosen = _chosen(arguments)
    found = []
    for index in chosen.indexes:
        with chosen.ledger(index) as ledger:
            state = ledger.state()
        about = {"epoch": state.epoch, "updated_at": state.updated_at, "cursor": state.cursor}
        found.append(chosen.about(index, **about))
        if arguments.format == "text":
            rows = [
                (source, position.field, position.value, position.type, len(position.ties))
                for source, position in cursor_from_json(state.cursor).items()
            ]
            title = f"{chosen.name(index)}: epoch {state.epoch}" + (
                f", changed {state.updated_at:%Y-%m-%d %H:%M:%S %Z}" if state.updated_at else ""
            )
            print_table(
                title, ("source", "field", "read up to", "type", "ties"), rows, [] if rows else ["no cursor yet"]
            )
    return _finish(arguments, chosen, targets=found)


def cursor_set(arguments: argparse.Namespace) -> int:
    """Put the cursor of a source to a value."""
    from dataforge.runtime.cursor import POSITION_TYPE
    from dataforge.runtime.cursor_values import compare, typed

    if (arguments.given is None) == (arguments.value is None):
        raise UsageError("say the value once: dataforge cursor set CONFIG VALUE, or --value VALUE")
    text = arguments.value if arguments.given is None else arguments.given
    chosen = _chosen(arguments)
    name = _source(chosen.config, arguments.source)
    field = str(chosen.config.inputs[name].cursor_name)
    own = chosen.config.inputs[name].position_name() is not None
    plans: list[tuple[int, dict[str, CursorPosition], CursorPosition]] = []
    for index in chosen.indexes:
        with chosen.ledger(index) as ledger:
            cursor = cursor_from_json(ledger.state().cursor)
        old = cursor.get(name)
        type_, value = typed(text, POSITION_TYPE if own else arguments.type or (old.type if old else None))
        new = CursorPosition(field, value, type_)
        plans.append((index, cursor, new))
        if own:
            effect = (
                "the next run reads on from there; what lies between the two is skipped for good, or read again"
                f"{_doubling(chosen.config, index)}"
            )
        elif old is None:
            effect = f"the next run reads records with {field} {value} and above; those below are skipped"
        elif old.type != type_ or (order := compare(value, old.value, type_)) == 0:
            effect = f"the next run reads records with {field} {value} and above, those with exactly that value again"
        elif order < 0:
            effect = (
                f"the next run reads records with {field} from {value} to {old.value} again"
                f"{_doubling(chosen.config, index)}"
            )
        else:
            effect = f"records with {field} from {old.value} to {value} that were not read yet are skipped for good"
        _tell(
            arguments, f"{chosen.name(index)}: {old.value if old else 'no cursor'} becomes {value} ({type_}); {effect}"
        )
    _confirm(arguments, "set the cursor?")
    for index, cursor, new in plans:
        with chosen.ledger(index) as ledger:
            ledger.set_cursor(cursor_to_json({**cursor, name: new}), _actor())
    done = [chosen.about(index, cursor=cursor_to_json({**cursor, name: new})) for index, cursor, new in plans]
    return _finish(arguments, chosen, f"cursor of source {name!r} set", targets=done)


def cursor_reset(arguments: argparse.Namespace) -> int:
    """Forget the cursor of a source, or of all."""
    chosen = _chosen(arguments)
    name = _source(chosen.config, arguments.source) if arguments.source else None
    plans = []
    for index in chosen.indexes:
        with chosen.ledger(index) as ledger:
            cursor = cursor_from_json(ledger.state().cursor)
        gone = [source for source in cursor if name in (None, source)]
        left = {source: position for source, position in cursor.items() if source not in gone}
        plans.append((index, left))
        for source in gone:
            configured = chosen.config.inputs.get(source)
            start = configured.initial_value if configured else None
            begin = f"from the initial value {start!r}" if start is not None else "from the beginning"
            _tell(
                arguments,
                f"{chosen.name(index)}: the cursor of {source!r} at {cursor[source].value} is forgotten; the next run "
                f"reads {begin}, records that were loaded before too{_doubling(chosen.config, index)}",
            )
        if not gone:
            _tell(arguments, f"{chosen.name(index)}: there is no cursor to forget")
    _confirm(arguments, "forget the cursor?")
    for index, left in plans:
        with chosen.ledger(index) as ledger:
            ledger.set_cursor(cursor_to_json(left) if left else None, _actor())
    done = [chosen.about(index, cursor=cursor_to_json(left)) for index, left in plans]
    return _finish(arguments, chosen, "cursor reset", targets=done)


def loads(arguments: argparse.Namespace) -> int:
    """List the loads that were committed, the newest first."""
    chosen = _chosen(arguments)
    found = []
    for index in chosen.indexes:
        with chosen.ledger(index) as ledger:
            records = ledger.loads(arguments.limit)
        found.append(chosen.about(index, loads=[asdict(record) for record in records]))
        if arguments.format == "text":
            counts = ("rows", "inserted", "updated", "deleted", "rejected")
            columns = ("committed", "run", "disposition", *counts, "undone")
            title = f"{chosen.name(index)}: loads of {chosen.config.dag_id}, the newest first"
            print_table(title, columns, map(_load_row, records), [] if records else ["no loads yet"])
    return _finish(arguments, chosen, targets=found)


def undo(arguments: argparse.Namespace) -> int:
    """Take the load of a run back, out of every destination that has one."""
    chosen = _chosen(arguments)
    doomed: list[tuple[int, LoadRecord]] = []
    for index in chosen.indexes:
        with chosen.ledger(index) as ledger:
            if (record := ledger.load(arguments.run)) is not None:
                doomed.append((index, record))
    if not doomed:
        names = ", ".join(map(chosen.name, chosen.indexes))
        raise TerminalError(
            f"there is no load of run {arguments.run!r} in {names}; `dataforge loads` lists those there are"
        )
    for index, record in doomed:
        when = f" on {record.committed_at:%Y-%m-%d %H:%M:%S %Z}" if record.committed_at else ""
        _tell(
            arguments,
            f"{chosen.name(index)}: {record.disposition} of {record.rows:,} rows{when} ({record.inserted:,} inserted, "
            f"{record.updated:,} updated, {record.deleted:,} deleted)",
        )
    _confirm(arguments, f"take run {arguments.run!r} back?")
    done: list[dict[str, JsonValue]] = []
    failures: list[DataForgeError] = []
    for index, _ in doomed:
        try:
            with chosen.ledger(index) as ledger:
                undone = ledger.undo(arguments.run, _actor())
        except DataForgeError as error:
            failures.append(error)
            continue
        done.append(chosen.about(index, **asdict(undone)))
        _say(arguments, f"{chosen.name(index)}: {_undone(undone)}")
    if failures:
        raise failures[0]
    return _finish(arguments, chosen, targets=done)


def dead_letters_list(arguments: argparse.Namespace) -> int:
    """List the records that were set aside."""
    chosen = _chosen(arguments)
    found = []
    for index in chosen.indexes:
        letters = _letters(chosen, index, arguments, everything=arguments.all)
        found.append(chosen.about(index, dead_letters=[_short(letter) for letter in letters]))
        if arguments.format == "text":
            columns = ("id", "kept", "run", "stage", "column", "reason", "replayed")
            rows = [
                (
                    letter.id,
                    _time(letter.kept_at),
                    letter.run_id,
                    letter.reject.stage,
                    letter.reject.column,
                    letter.reject.reason,
                    "yes" if letter.replayed_by else "",
                )
                for letter in letters
            ]
            print_table(chosen.name(index), columns, rows, [] if rows else ["no dead letters"])
    return _finish(arguments, chosen, targets=found)


def dead_letters_show(arguments: argparse.Namespace) -> int:
    """Show dead letters whole: the record, why it was set aside, and where it comes from."""
    chosen = _chosen(arguments)
    found = []
    for index in chosen.indexes:
        letters = _letters(chosen, index, arguments, everything=True)
        found.append(chosen.about(index, dead_letters=[_whole(letter) for letter in letters]))
        for letter in letters if arguments.format == "text" else ():
            for key, value in _whole(letter).items():
                if value not in ("", None):
                    print(f"{key + ':':<12} {value}")
            print()
    if not any(target["dead_letters"] for target in found):
        raise TerminalError("there are no such dead letters; `dataforge dead-letters list --all` lists those there are")
    return _finish(arguments, chosen, targets=found)


def dead_letters_replay(arguments: argparse.Namespace) -> int:
    """Run dead letters through the rest of the pipeline again and load them."""
    if not (arguments.id or arguments.run or arguments.all):
        raise UsageError("say which dead letters to replay: --id ID, --run RUN, or --all")
    from dataforge.runtime.replay import replay, taken_back

    chosen = _chosen(arguments)
    done = []
    for index in chosen.indexes:
        letters = [letter for letter in _letters(chosen, index, arguments) if not letter.replayed_by]
        gone = taken_back(chosen.config, index, chosen.context, letters)
        if gone:
            runs = ", ".join(sorted(gone))
            print(
                f"{chosen.name(index)}: left out are dead letters of loads that were taken back: {runs}",
                file=sys.stderr,
            )
        letters = [letter for letter in letters if letter.run_id not in gone]
        if not letters:
            _say(arguments, f"{chosen.name(index)}: no dead letters that were not replayed yet")
            continue
        reports = replay(chosen.config, letters, chosen.context, index=index)
        done.append(chosen.about(index, letters=len(letters), loads=reports))
        rows, again = (sum(int(report[key]) for report in reports) for key in ("rows", "rejected"))
        _note(chosen.config.dag_id, {"replayed": len(letters), "rejected": again, "destination": index + 1})
        _say(
            arguments,
            f"{chosen.name(index)}: {len(letters):,} dead letters replayed, {rows:,} rows loaded"
            + (f", {again:,} set aside again" if again else ""),
        )
    return _finish(arguments, chosen, targets=done)


def _chosen(arguments: argparse.Namespace) -> Chosen:
    path: Path = arguments.path
    config = load_one(path, arguments.dag_id).config
    context = without_run(config)
    able = accountable(config)
    if arguments.destination is None:
        if not able:
            types = ", ".join(repr(target.type) for target in config.outputs)
            raise TerminalError(f"no destination of {config.dag_id!r} keeps a record of its loads: {types}")
        return Chosen(config, context, tuple(able))
    index = arguments.destination - 1
    if index >= len(config.outputs):
        raise UsageError(f"there is no destination {index + 1}: {config.dag_id!r} has {len(config.outputs)}")
    return Chosen(config, context, (index,))


def _source(config: PipelineConfig, name: str | None) -> str:
    """Return the source whose cursor is meant."""
    able = [source for source, part in config.inputs.items() if part.cursor_name is not None]
    if not able:
        raise UsageError(f"no source of {config.dag_id!r} has a 'cursor_field'")
    if name is None and len(able) == 1:
        return able[0]
    if name not in able:
        said = f"no source {name!r} with a 'cursor_field'" if name else "several sources with a 'cursor_field'"
        raise UsageError(f"{config.dag_id!r} has {said}; pass --source, one of: {', '.join(able)}")
    return name


def _letters(
    chosen: Chosen, index: int, arguments: argparse.Namespace, *, everything: bool = False
) -> list[DeadLetter]:
    with chosen.ledger(index) as ledger:
        return ledger.dead_letters(
            arguments.run, pending=not (everything or arguments.id), ids=arguments.id, limit=arguments.limit
        )


def _short(letter: DeadLetter) -> dict[str, JsonValue]:
    return {key: value for key, value in _whole(letter).items() if key != "record"}


def _whole(letter: DeadLetter) -> dict[str, JsonValue]:
    reject = letter.reject
    return {
        "id": letter.id,
        "run": letter.run_id,
        "kept": letter.kept_at,
        "stage": reject.stage,
        "source": reject.source,
        "position": reject.position,
        "column": reject.column,
        "reason": reject.reason,
        "replayed_by": letter.replayed_by,
        "record": reject.record,
    }


def _load_row(record: LoadRecord) -> tuple[Any, ...]:
    counts = (record.rows, record.inserted, record.updated, record.deleted, record.rejected)
    when = _time(record.committed_at)
    return (when, record.run_id, record.disposition, *(f"{count:,}" for count in counts), _time(record.undone_at))


def _undone(undone: Undone) -> str:
    parts = [f"{undone.removed:,} rows removed", f"{undone.restored:,} brought back"]
    parts.append("the cursor went back too" if undone.cursor_moved else "the cursor stays where it is")
    return "; ".join([", ".join(parts), *([undone.note] if undone.note else [])])


def _time(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else ""


def _doubling(config: PipelineConfig, index: int) -> str:
    if config.outputs[index].write_disposition == "append":
        return ", and 'append' adds them to those that are there; undo their loads first, or use 'merge'"
    return ""


def _note(dag_id: str, done: dict[str, int]) -> None:
    """Write an audit entry of a replay; what was loaded stays, whether the store can be reached or not."""
    from dataforge.store import audit
    from dataforge.store.database import open_store

    try:
        audit.record(open_store(), _actor(), "replayed", dag_id, done)
    except DataForgeError as error:
        print(f"warning: the audit log does not tell of it: {error}", file=sys.stderr)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _say(arguments: argparse.Namespace, text: str) -> None:
    """Print a result for people."""
    if arguments.format == "text":
        print(text)


def _tell(arguments: argparse.Namespace, text: str) -> None:
    """Print what is about to happen, where it is in nobody's way."""
    if arguments.format == "text" or not arguments.yes:
        print(text, file=sys.stderr)


def _confirm(arguments: argparse.Namespace, question: str) -> None:
    """Return when the answer is yes; UsageError where nobody can be asked, TerminalError when it is no."""
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm; pass --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TerminalError("not confirmed; nothing was changed")


def _finish(arguments: argparse.Namespace, chosen: Chosen, text: str = "", **answer: JsonValue) -> int:
    if arguments.format == "json":
        print_json({"dag_id": chosen.config.dag_id, **answer})
    elif text:
        print(text)
    return 0
