"""The pipelines of a watched folder, kept up to date on disk: only files that changed are read again.

One SQLite file remembers each config file: the stamp (time, size, inode) it was read by, its pipelines as JSON text
with their compiled SQL, or what is wrong with it. The bundle and the loader both stand on it, and a task's process
finds its own config in it without reading any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dataforge import __version__
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.dag_factory.forks import divided
from dataforge.errors import ConfigError, Problem
from dataforge.observability.log import line

if TYPE_CHECKING:
    from dataforge.config.files import FileResult, Loaded
    from dataforge.config.findings import Finding

SQL_SECONDS = 2.0
"""Time in one update of the loader after which pipelines are read without the SQL that their documentation shows; what
is left over is compiled in later ones."""

MANY = 500
"""Changed files from which on the work of reading them is divided among processes."""

DEFAULTS, IGNORE = "defaults.json", ".dataforgeignore"
"""As `config.files` has them, which a task's process need not import."""

LAYOUT = 2
SCHEMA = (
    "CREATE TABLE about (version TEXT NOT NULL, root TEXT NOT NULL, shards INTEGER NOT NULL)",
    "CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, error TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE pipelines (path TEXT NOT NULL, dag_id TEXT NOT NULL, text TEXT NOT NULL, sql TEXT,
    place TEXT NOT NULL, in_force INTEGER NOT NULL, PRIMARY KEY (path, dag_id)) WITHOUT ROWID""",
    "CREATE INDEX by_dag_id ON pipelines (dag_id)",
    "CREATE TABLE stubs (path TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {LAYOUT}",
)


@dataclass(frozen=True)
class Ready:
    """One pipeline in force: its config file relative to the folder, its config as JSON text, its compiled SQL."""

    dag_id: str
    path: str
    text: str
    sql: str


class _Old(NamedTuple):
    """A pipeline as it is remembered."""

    text: str
    sql: str | None
    in_force: int


class _Read(NamedTuple):
    """What a file says: each pipeline's config and compiled SQL as text, by dag_id, and what is wrong, as lines."""

    pipelines: Mapping[str, tuple[str, str | None]]
    errors: list[str]


class Inventory:
    """What is known of the configs below `root`, remembered in the SQLite file `memory`."""

    def __init__(self, root: Path, memory: Path) -> None:
        self.root = root
        self.memory = memory
        self._seen: str | None = None
        self._memory_stamp = ""
        self._rechecked = False
        self.unread = 0
        """Changed files that the last update left to the next one."""

    def stale(self) -> bool:
        """Whether a config or the memory changed since this object last updated; costs one stat for each file."""
        return self._seen is None or self._seen != _fingerprint(self.root) or self._memory_stamp != _stamp(self.memory)

    def scan(self) -> dict[str, str]:
        """Return each config file's relative path with the stamp of the file and of the defaults that it inherits."""
        from dataforge.config.files import config_files

        if not self.root.is_dir():
            raise FileNotFoundError(f"the configs folder {str(self.root)!r} does not exist")
        inherited: dict[Path, str] = {}
        found = {}
        for path in config_files(self.root):
            name = path.relative_to(self.root).as_posix()
            if not name.isprintable():  # undecodable bytes or control characters, which no other tool could show
                line("config skipped: its name is not printable", file=path)
            elif stamp := _stamp(path):  # else it was removed while we looked
                if path.parent not in inherited:
                    inherited[path.parent] = self._defaults_stamp(path)
                found[name] = stamp + inherited[path.parent]
        return found

    def _defaults_stamp(self, path: Path) -> str:
        """Return the stamps of the defaults that a config inherits, of all folders from the root down to its own."""
        above = [parent for parent in path.parents if parent.is_relative_to(self.root)]
        return "".join(f"|{_stamp(folder / DEFAULTS)}" for folder in above)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the memory, locked; all changes are kept when the block ends well, none when it raises."""
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(self._open()) as con:
            con.execute("BEGIN IMMEDIATE")
            yield con
            con.execute("COMMIT")
        self._memory_stamp = _stamp(self.memory)

    def update(
        self,
        con: sqlite3.Connection,
        *,
        recheck: bool = False,
        seconds: float = math.inf,
        sql_seconds: float = math.inf,
    ) -> set[str]:
        """Read what changed; return the relative paths of all files whose pipelines or errors may differ from before.

        `recheck` reads invalid files again once per process, since an installed package may have made them valid. After
        `seconds` the files that are left stay as they were, until the next update; after `sql_seconds` nothing more is
        compiled.
        """
        began = time.monotonic()
        seen = _fingerprint(self.root)
        try:
            found = self.scan()
        except FileNotFoundError as error:
            self._seen = seen
            line("configs folder is missing; the last known pipelines stay", folder=self.root, error=error)
            return set()
        known = dict(con.execute("SELECT path, stamp FROM files"))
        touched = {path for path, stamp in found.items() if known.get(path) != stamp}
        if recheck and not self._rechecked:
            touched |= {path for (path,) in con.execute("SELECT path FROM files WHERE error != ''") if path in found}
            self._rechecked = True
        order = sorted(touched, key=lambda path: (path not in known, position(path), path))  # edits before new files
        waiting: set[str] = set()
        self.unread = 0
        old = {path: _pipelines(con, path) for path in order if path in known}
        if len(order) >= MANY and seconds == sql_seconds == math.inf:
            for path, read in divided(lambda path: self._read(path, old.get(path, {}), compiled=True), order):
                if read is None:
                    waiting.add(path)
                else:
                    _keep(con, path, found[path], read, old.get(path, {}))
            order = []
        for done, path in enumerate(order):
            if done and time.monotonic() - began > seconds:
                self.unread = len(order) - done
                waiting.update(order[done:])
                break
            read = self._read(path, old.get(path, {}), compiled=time.monotonic() - began <= sql_seconds)
            if read is None:
                waiting.add(path)
            else:
                _keep(con, path, found[path], read, old.get(path, {}))
        touched -= waiting
        for path in known.keys() - found.keys():
            con.execute("DELETE FROM files WHERE path = ?", (path,))
            con.execute("DELETE FROM pipelines WHERE path = ?", (path,))
            touched.add(path)
        touched |= _settle_names(con)
        self._locate_duplicates(con, touched)
        compiled, left = self._compile(con, began + min(seconds, sql_seconds))
        touched |= compiled
        self._seen = None if left or waiting else seen
        return touched

    def find(self, dag_id: str) -> Ready | None:
        """Return the pipeline of that name when the memory holds it and its file has not changed since."""
        if not self.memory.is_file():
            return None
        with contextlib.closing(self._open()) as con:
            row = con.execute(
                "SELECT dag_id, path, text, coalesce(sql, ''), stamp FROM pipelines JOIN files USING (path)"
                " WHERE dag_id = ? AND in_force AND text != ''",
                (dag_id,),
            ).fetchone()
        if row is None:
            return None
        path = self.root / row[1]
        current = _stamp(path) + self._defaults_stamp(path)
        return Ready(*row[:4]) if current == row[4] else None

    def _read(self, path: str, old: Mapping[str, _Old], *, compiled: bool) -> _Read | None:
        """Return what one file says, given its pipelines as they were by dag_id; None when it is half-written."""
        from dataforge.config.files import locate_problems, read_file

        try:
            result = read_file(self.root / path, root=self.root)
            if result.incomplete:
                return None
            loaded, errors = _buildable(result, self.root)
        except FileNotFoundError:
            return None
        except Exception as bug:  # noqa: BLE001  # whatever one file brings up must not stop the others
            loaded, errors = [], [f"{path}:1:1: DataForge could not read this file: {type(bug).__name__}: {bug}"]
        pipelines: dict[str, tuple[str, str | None]] = {}
        for one in loaded:
            dag_id = one.config.dag_id
            text = json.dumps(one.data, indent=2)
            sql = old[dag_id].sql if dag_id in old and old[dag_id].text == text else None
            if sql is None and compiled:
                try:
                    sql = compiled_sql(one.config)
                except ConfigError as refusal:
                    text = sql = ""
                    found = locate_problems(refusal.problems, one)
                    errors += [_told(finding, self.root) for finding in found if finding.severity == "error"]
            pipelines[dag_id] = (text, sql)
        return _Read(pipelines, errors)

    def _compile(self, con: sqlite3.Connection, deadline: float) -> tuple[set[str], int]:
        """Compile pipelines that have no SQL yet, for a bounded time; return their files and how many are left."""
        todo = con.execute("SELECT path, dag_id, text FROM pipelines WHERE sql IS NULL").fetchall()
        touched: set[str] = set()
        for done, (path, dag_id, text) in enumerate(todo):
            if time.monotonic() > deadline:
                return touched, len(todo) - done
            try:
                values = (text, compiled_sql(parse(json.loads(text))), path, dag_id)
            except ConfigError as refusal:
                values = ("", "", path, dag_id)
                lines = "\n".join(self._located(path, dag_id, refusal))
                con.execute(
                    "UPDATE files SET error = trim(error || char(10) || ?, char(10)) WHERE path = ?", (lines, path)
                )
            con.execute("UPDATE pipelines SET text = ?, sql = ? WHERE path = ? AND dag_id = ?", values)
            touched.add(path)
        return touched, 0

    def _located(self, path: str, dag_id: str, refusal: ConfigError) -> list[str]:
        """Return what compilation says about a pipeline as lines with the places in its file."""
        from dataforge.config.files import locate_problems, read_file

        with contextlib.suppress(FileNotFoundError):
            for one in read_file(self.root / path, root=self.root).pipelines:
                if one.config.dag_id == dag_id:
                    findings = locate_problems(refusal.problems, one)
                    return [_told(finding, self.root) for finding in findings if finding.severity == "error"]
        return [f"{path}:1:1: {refusal}"]

    def _locate_duplicates(self, con: sqlite3.Connection, paths: set[str]) -> None:
        """Note the line and column of each dag_id that another file has; only of these, since looking costs time."""
        from dataforge.config.files import read_file

        refused = con.execute("SELECT DISTINCT path FROM pipelines WHERE NOT in_force AND text != ''").fetchall()
        for (path,) in refused:
            if path not in paths:
                continue
            with contextlib.suppress(FileNotFoundError):
                for one in read_file(self.root / path, root=self.root).pipelines:
                    place = _place(self.root, *one.stack.locate("/dag_id"))
                    con.execute(
                        "UPDATE pipelines SET place = ? WHERE path = ? AND dag_id = ?", (place, path, one.config.dag_id)
                    )

    def _open(self) -> sqlite3.Connection:
        con = sqlite3.connect(self.memory, timeout=60, isolation_level=None)
        try:
            layout = con.execute("PRAGMA user_version").fetchone()[0]
            about = con.execute("SELECT version, root FROM about").fetchone() if layout == LAYOUT else None
        except sqlite3.DatabaseError:
            layout, about = -1, None
        if layout not in (0, LAYOUT):  # damaged, or of another release: all of it can be read again
            con.close()
            self.memory.unlink(missing_ok=True)
            return self._open()
        if about != (__version__, str(self.root)):
            self._start(con)
        return con

    def _start(self, con: sqlite3.Connection) -> None:
        con.execute("BEGIN IMMEDIATE")
        if con.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in SCHEMA:
                con.execute(statement)
            con.execute("INSERT INTO about VALUES ('', '', 0)")
        con.execute("UPDATE about SET version = ?, root = ?", (__version__, str(self.root)))
        con.execute("UPDATE files SET stamp = ''")  # read all again: another release may judge them otherwise
        con.execute("COMMIT")


def _pipelines(con: sqlite3.Connection, path: str) -> dict[str, _Old]:
    rows = con.execute("SELECT dag_id, text, sql, in_force FROM pipelines WHERE path = ?", (path,))
    return {dag_id: _Old(*rest) for dag_id, *rest in rows}


def _keep(con: sqlite3.Connection, path: str, stamp: str, read: _Read, old: Mapping[str, _Old]) -> None:
    """Remember what a file says."""
    con.execute("REPLACE INTO files VALUES (?, ?, ?)", (path, stamp, "\n".join(read.errors)))
    if read.errors and not read.pipelines:  # its names stay taken while it is broken, but nothing of it is used
        con.execute("UPDATE pipelines SET text = '', sql = '' WHERE path = ?", (path,))
        return
    con.execute("DELETE FROM pipelines WHERE path = ?", (path,))
    con.executemany(
        "INSERT INTO pipelines VALUES (?, ?, ?, ?, ?, ?)",
        [
            (path, dag_id, text, sql, f"{path}:1:1", old[dag_id].in_force if dag_id in old else 0)
            for dag_id, (text, sql) in read.pipelines.items()
        ],
    )


def ready(con: sqlite3.Connection, path: str | None = None) -> list[Ready]:
    """Return the pipelines in force, of one file or of all, in order of file and name."""
    where, values = ("AND path = ?", (path,)) if path is not None else ("", ())
    rows = con.execute(
        "SELECT dag_id, path, text, coalesce(sql, '') FROM pipelines"
        f" WHERE in_force AND text != '' {where} ORDER BY path, dag_id",
        values,
    )
    return [Ready(*row) for row in rows]


def error(con: sqlite3.Connection, path: str) -> str:
    """Return what is wrong with that file, one finding a line as `file:line:column: message`; empty when nothing is."""
    row = con.execute("SELECT error FROM files WHERE path = ?", (path,)).fetchone()
    lines = [row[0]] if row and row[0] else []
    taken = con.execute(
        "SELECT mine.place, mine.dag_id, theirs.path FROM pipelines AS mine JOIN pipelines AS theirs USING (dag_id)"
        " WHERE mine.path = ? AND NOT mine.in_force AND theirs.in_force AND mine.text != '' ORDER BY 1, 2",
        (path,),
    )
    lines += [
        f"{place}: dag_id {dag_id!r} of {path!r} is already used by {other!r}, which stays in force"
        " (give each pipeline a dag_id of its own)"
        for place, dag_id, other in taken
    ]
    return "\n".join(lines)


def errors(con: sqlite3.Connection) -> dict[str, str]:
    """Return what is wrong with each invalid file, by relative path."""
    found = {path: error(con, path) for path in invalid(con)}
    return {path: text for path, text in found.items() if text}


def invalid(con: sqlite3.Connection) -> list[str]:
    """Return the relative paths of the files with which something is wrong."""
    query = "SELECT path FROM files WHERE error != '' UNION SELECT path FROM pipelines WHERE NOT in_force ORDER BY 1"
    return [path for (path,) in con.execute(query)]


def _buildable(result: FileResult, root: Path) -> tuple[list[Loaded], list[str]]:
    """Return the pipelines that make a DAG, and what is wrong with the others, as lines."""
    from dataforge.config.files import locate_problems

    findings = list(result.findings)
    loaded: list[Loaded] = []
    for one in result.pipelines:
        refused = _refused(one.config)
        findings += locate_problems(refused, one)
        loaded += [] if refused else [one]
    return loaded, [_told(finding, root) for finding in findings if finding.severity == "error"]


def _refused(config: PipelineConfig) -> tuple[Problem, ...]:
    from dataforge.dag_factory.builder import check_dag

    try:
        check_dag(config)
    except ConfigError as refusal:
        return refusal.problems
    return ()


def _told(finding: Finding, root: Path) -> str:
    hint = f" ({finding.suggestion})" if finding.suggestion else ""
    return f"{_place(root, finding.file, finding.line, finding.column)}: {finding.message}{hint}"


def _place(root: Path, file: Path, row: int, column: int) -> str:
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
    return f"{name}:{row}:{column}"


def _settle_names(con: sqlite3.Connection) -> set[str]:
    """Decide which file has each dag_id: the one that had it, else the first by path; return files that changed."""
    touched = set()
    open_names = con.execute(
        "SELECT dag_id FROM pipelines GROUP BY dag_id HAVING sum(in_force) != 1 OR count(*) > 1"
    ).fetchall()
    for (dag_id,) in open_names:
        claims = con.execute(
            "SELECT path, in_force FROM pipelines WHERE dag_id = ? ORDER BY in_force DESC, path", (dag_id,)
        ).fetchall()
        for place, (path, in_force) in enumerate(claims):
            if (place == 0) != bool(in_force):
                con.execute(
                    "UPDATE pipelines SET in_force = ? WHERE path = ? AND dag_id = ?", (place == 0, path, dag_id)
                )
                touched.add(path)
    return touched


def position(path: str) -> int:
    """Return the place of a config file, below 2**32, in the order in which files are packed together and read."""
    return zlib.crc32(path.encode())


def shard(path: str, shards: int) -> int:
    """Return in which of the DAG files that hold several pipelines those of this config file stand.

    Neighbours by `position` stand together, so that a large folder, read bit by bit, completes one DAG file after the
    other.
    """
    return position(path) * shards >> 32


def compiled_sql(config: PipelineConfig) -> str:
    """Return the pipeline's transforms as one SQL query; ConfigError when they can't work whatever the data are."""
    from dataforge.runtime.compile import compile as compile_

    columns: Mapping[str, Any] = dict.fromkeys(config.inputs)
    try:
        return compile_(config, columns).sql()
    except ConfigError:
        raise
    except Exception as reason:  # noqa: BLE001  # a page without its SQL is better than a folder without its DAGs
        line("pipeline's SQL is not shown", dag_id=config.dag_id, reason=f"{type(reason).__name__}: {reason}")
        return ""


def _fingerprint(root: Path) -> str:
    """Return a text that differs when any JSON file below `root` does; cheaper than listing configs by the rules."""
    found = []
    folders = [os.fspath(root)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".json") or entry.name == IGNORE:
                    with contextlib.suppress(OSError):
                        stat = entry.stat()
                        found.append(f"{entry.path}:{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}")
                elif entry.name[0] != "." and entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return hashlib.sha256("\n".join(sorted(found)).encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}"
