"""Attempts of tasks in processes of their own, that can be killed; and a driver that tries again as Airflow would.

Importing DuckDB, Arrow and the drivers takes a second, so a parent (`python -m tests.faults.child SOCKET`) imports them
once and forks for each attempt. What an attempt is asked to do, and what came of it, are one line of JSON each.

Faults inside a process come from here too: at the start of an attempt named functions are replaced by ones that kill or
stop the process at their n-th call, or switch a guard off. The product has no hooks.
"""

from __future__ import annotations

import errno
import functools
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = (
    "adbc_driver_postgresql.dbapi",
    "airflow.models.connection",
    "airflow.providers.common.sql.hooks.sql",
    "airflow.providers.sqlite.hooks.sqlite",
    "airflow.sdk",
    "duckdb",
    "pyarrow.parquet",
    "requests",
    "sqlalchemy.dialects.sqlite",
    "sqlglot.optimizer",
    *(
        f"dataforge.runtime.{name}"
        for name in ("checks", "clean_up", "compile", "cursor", "extract", "fused", "landing", "load", "transform")
    ),
    "dataforge.destinations._commit",
    "dataforge.destinations._duckdb_tables",
    "dataforge.destinations._postgres_session",
    "dataforge.destinations._postgres_tables",
    "dataforge.destinations._sql_tables",
    "dataforge.runtime.engines.duckdb_",
    *(f"sqlglot.{part}.{name}" for part in ("parsers", "generators") for name in ("duckdb", "postgres", "sqlite")),
    *(f"sqlglot.dialects.{name}" for name in ("duckdb", "postgres", "sqlite")),
)
"""What attempts import; none of it makes a connection or a thread that would not live through a fork."""
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.truncate")


@dataclass(frozen=True)
class Seam:
    """A place inside the process: the `nth` call of a function, and what happens before or after it.

    `at` is "module:name" or "module:Class.name"; "files" stands for every change of a file that Python makes below the
    attempt's home, "duckdb" for every statement on a DuckDB file, "sqlite" for every statement on an SQLite file.
    `do` is kill, stop, count, raise (a TransientError), eio, or "move A B", "overwrite A B" (B with the content of A),
    "remove A B", "rmtree A B", "readonly A B"; `match` is text that the first argument must contain.
    """

    at: str
    nth: int = 1
    when: str = "before"
    do: str = "kill"
    match: str = ""


@dataclass(frozen=True)
class Job:
    """One attempt of one task.

    `stage` is extract, transform, load, fused, clean_up, janitor or call ("module:function"), `env` replaces
    variables, `off` names guards to switch off (see `GUARDS`), `argument` is the source's name, the destination's
    index, or function and arguments of the call.
    """

    stage: str
    config: Mapping[str, Any]
    run_id: str
    attempt: str = "1"
    env: Mapping[str, str] = field(default_factory=dict)
    argument: Any = None
    manifest: Any = None
    interval: tuple[str, str] | None = None
    seams: tuple[Seam, ...] = ()
    off: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: killed, a value, or an error (its class, its kind in our tree, its text)."""

    killed: bool = False
    value: Any = None
    error: str = ""
    kind: str = ""
    message: str = ""
    trace: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    peak_kb: int = 0

    @property
    def ok(self) -> bool:
        """Whether the task succeeded."""
        return not self.killed and not self.error

    def __str__(self) -> str:
        return "killed" if self.killed else f"{self.error} {self.message[:300]}{self.trace}" if self.error else "ok"


# ---------------------------------------------------------------------------------------------------- in the child


class Hits:
    """Counts the calls of a seam and acts at the n-th."""

    def __init__(self, seam: Seam, counts: dict[str, int]) -> None:
        self.seam = seam
        self._counts = counts
        self._counts.setdefault(seam.at, 0)
        self._due = False

    def before(self, text: str = "") -> None:
        """Call before the function."""
        if self.seam.match and self.seam.match not in text:
            return
        self._counts[self.seam.at] += 1
        self._due = self._counts[self.seam.at] == self.seam.nth
        if self._due and self.seam.when == "before":
            self._act()

    def after(self) -> None:
        """Call after the function."""
        if self._due and self.seam.when == "after":
            self._act()
        self._due = False

    def _act(self) -> None:
        if self.seam.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.seam.do == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.seam.do == "eio":
            raise OSError(errno.EIO, "Input/output error")
        elif " " in self.seam.do:
            what, source, target = self.seam.do.split(" ")
            if what == "move":
                Path(source).replace(target)
            elif what == "overwrite":
                Path(target).write_bytes(Path(source).read_bytes())
            elif what == "remove":
                Path(target).unlink()
            elif what == "rmtree":
                shutil.rmtree(source)
            elif what == "readonly":
                for path in (Path(source), *Path(source).rglob("*")):
                    path.chmod(0o500 if path.is_dir() else 0o400)
        elif self.seam.do == "raise":
            from dataforge.errors import TransientError

            raise TransientError("a fault of the test")


class Statements:
    """A database connection whose statements pass a seam."""

    def __init__(self, inner: Any, hits: Hits) -> None:
        self._inner = inner
        self._hits = hits

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("execute", "executemany", "sql", "commit", "begin", "rollback", "query"):
            return found

        @functools.wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._hits.before(str(args[0]) if args else name)
            answer = found(*args, **kwargs)
            self._hits.after()
            return self if answer is self._inner else answer

        return call

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> Any:
        return self._inner.__exit__(kind, error, trace)


def place(at: str) -> tuple[Any, str]:
    """Return the object that holds the function `at` names, and the function's name there."""
    module, _, path = at.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for one in outer:
        holder = getattr(holder, one)
    return holder, name


def install(seam: Seam, counts: dict[str, int], home: Path) -> None:
    """Put a seam in place for the rest of this process."""
    hits = Hits(seam, counts)
    if seam.at == "files":
        root = str(home)

        def audit(event: str, args: tuple[Any, ...]) -> None:
            if event not in FILE_EVENTS or not args or not str(args[0]).startswith(root):
                return
            if event == "open" and not _writes(args):
                return
            hits.before(event)

        sys.addaudithook(audit)
    elif seam.at == "duckdb":
        import duckdb

        connect: Any = duckdb.connect

        def connected(database: Any = ":memory:", *args: Any, **kwargs: Any) -> Any:
            inner = connect(database, *args, **kwargs)
            return inner if str(database).startswith(":") else Statements(inner, hits)

        duckdb.connect = connected
    elif seam.at == "sqlite":
        import sqlite3

        opened: Any = sqlite3.connect

        def traced(*args: Any, **kwargs: Any) -> Any:
            inner = opened(*args, **kwargs)
            inner.set_trace_callback(hits.before)
            return inner

        sqlite3.connect = traced
        sqlite3.dbapi2.connect = traced
    else:
        holder, name = place(seam.at)
        found = holder.__dict__[name] if isinstance(holder, type) else getattr(holder, name)
        function = getattr(found, "__func__", found)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            texts = [one for one in args if isinstance(one, str)]
            hits.before(texts[0] if texts else "")
            answer = function(*args, **kwargs)
            hits.after()
            return answer

        setattr(holder, name, type(found)(wrapped) if isinstance(found, classmethod | staticmethod) else wrapped)
        for other in [one for label, one in sys.modules.items() if label.startswith("dataforge.")]:
            for label in [label for label, value in vars(other).items() if value is found]:
                setattr(other, label, wrapped)  # imported by name


def _writes(args: tuple[Any, ...]) -> bool:
    mode, flags = args[1], args[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def perform(job: Job) -> Any:
    """Run the attempt in this process and return what its task would hand on."""
    from dataforge.config.pipeline import parse
    from dataforge.runtime import clean_up, extract, fused, load, transform
    from dataforge.runtime.context import local

    if job.stage == "call":
        holder, name = place(job.argument[0])
        return getattr(holder, name)(*job.argument[1:])
    config = parse(job.config)
    interval = (
        (datetime.fromisoformat(job.interval[0]), datetime.fromisoformat(job.interval[1])) if job.interval else None
    )
    context = local(config, {}, interval, run_id=job.run_id)
    context = type(context)(**{**vars(context), "attempt": job.attempt})
    if job.stage == "extract":
        return extract.run(config, job.argument or "source", context)
    if job.stage == "transform":
        return transform.run(config, job.manifest, context)
    if job.stage == "load":
        return load.run(config, job.argument or 0, job.manifest, context)
    if job.stage == "fused":
        return fused.run(config, context)
    if job.stage == "janitor":
        return janitor(config, context)
    return clean_up.run(context)


def janitor(config: Any, context: Any) -> list[str]:
    """Do what the maintenance DAG does, as if all that was left behind were old enough."""
    from dataforge.runtime import clean_up, ledgers
    from dataforge.settings import get_settings

    os.environ["AIRFLOW__DATAFORGE__STAGING_RETENTION_HOURS"] = "1e-9"
    get_settings.cache_clear()
    clean_up.sweep(get_settings())
    swept: list[str] = []
    for index in ledgers.accountable(config):
        with ledgers.opened(config, index, context) as ledger:
            swept += ledger.sweep()
    return swept


def answer(job: Job) -> Outcome:
    """Run the attempt with its faults in place; every error becomes part of the outcome."""
    from dataforge import errors
    from dataforge.settings import get_settings

    os.environ.update(job.env)
    get_settings.cache_clear()
    counts: dict[str, int] = {}
    began = time.monotonic()
    try:
        from tests.faults.guards import switch_off

        for name in job.off:
            switch_off(name)
        for seam in job.seams:
            install(seam, counts, Path(os.environ["AIRFLOW_HOME"]))
        value = json.loads(json.dumps(perform(job), default=str))
        outcome = Outcome(value=value)
    except BaseException as error:  # noqa: BLE001 - whatever comes is the outcome
        kinds = ("ConfigError", "TransientError", "NothingToLoad", "TerminalError", "RecordError")
        kind = next((name for name in kinds if isinstance(error, getattr(errors, name))), "")
        outcome = Outcome(
            error=type(error).__name__, kind=kind, message=str(error), trace="" if kind else _where(error)
        )
    return Outcome(**{**vars(outcome), "counts": counts, "seconds": time.monotonic() - began, "peak_kb": _peak()})


def _where(error: BaseException) -> str:
    """Return the last places in the product that an error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/plugins/" in frame.filename]
    return " at " + " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[:-4:-1])


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _serve(path: str) -> None:
    # Airflow's import writes a config file below its home
    os.environ["AIRFLOW_HOME"] = str(Path(path).parent)
    for name in PRELOADED:
        importlib.import_module(name)
    from dataforge.components.registry import DESTINATIONS, SOURCES
    from dataforge.config.pipeline import parse

    assert list(DESTINATIONS)
    assert list(SOURCES)
    parse(
        {"dag_id": "warm", "source": {"type": "parquet", "path": "a"}, "destination": {"type": "duckdb", "table": "t"}}
    )
    gc.collect()
    gc.freeze()  # a collection in an attempt would copy the pages of all that was imported
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the attempts
    parent = os.getppid()
    listener.settimeout(2)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            _attempt(connection)
        connection.close()


def _attempt(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    stream = connection.makefile("rwb")
    stream.write(b"%d\n" % os.getpid())
    stream.flush()
    text = json.loads(stream.readline())
    job = Job(**{**text, "seams": tuple(Seam(**one) for one in text["seams"]), "off": tuple(text["off"])})
    log = os.open(Path(job.env["AIRFLOW_HOME"]) / "attempts.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    outcome = answer(job)
    stream.write(json.dumps(asdict(outcome)).encode() + b"\n")
    stream.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


# --------------------------------------------------------------------------------------------------- in the driver


class Running:
    """An attempt under way."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rwb")
        self.pid = int(self._stream.readline())

    def send(self, job: Job) -> None:
        """Tell the process what to do."""
        self._stream.write(json.dumps(asdict(job)).encode() + b"\n")
        self._stream.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it is still there."""
        if not self.ended:
            os.kill(self.pid, number)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return not Path(f"/proc/{self.pid}").exists()

    @property
    def stopped(self) -> bool:
        """Whether the process is stopped by SIGSTOP."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except FileNotFoundError:
            return False

    def wait(self, seconds: float = 120) -> Outcome:
        """Return what came of it; an attempt that does not end within `seconds` is killed and says so."""
        self._connection.settimeout(seconds)
        try:
            line = self._stream.readline()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return Outcome(error="Timeout", message=f"the attempt did not end within {seconds} s")
        except ConnectionError:
            line = b""
        finally:
            self._stream.close()
            self._connection.close()
        if not line:
            return Outcome(killed=True)
        # a process that has answered is about to end; its files and sessions go with it
        deadline = time.monotonic() + 20
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.001)
        return Outcome(**json.loads(line))


class Attempts:
    """The process that forks attempts; a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dataforge-faults-")
        self._path = f"{self._folder.name}/attempts"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        paths = os.pathsep.join([str(ROOT / "plugins"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error::DeprecationWarning:dataforge", "-m", "tests.faults.child", self._path],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": paths},
        )
        deadline = time.monotonic() + 60
        while not Path(self._path).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the process that forks attempts did not start")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def start(self, job: Job, prepare: Callable[[int], None] = lambda pid: None) -> Running:
        """Start an attempt; `prepare` is called with its process id before it begins."""
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 20
        while True:
            try:
                connection.connect(self._path)
                break
            except (ConnectionRefusedError, BlockingIOError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        running = Running(connection)
        prepare(running.pid)
        running.send(job)
        return running

    def run(self, job: Job, seconds: float = 120) -> Outcome:
        """Run an attempt to its end."""
        return self.start(job).wait(seconds)


@dataclass
class Run:
    """One run of a pipeline, driven as Airflow drives it: task after task, each tried up to `tries` times.

    A task that was killed or that raised a TransientError (or an error that is not ours, which Airflow would try again
    as well) is tried again on its own; any other error fails the run. `seams` are for the first try of a task.
    """

    attempts: Attempts
    config: Mapping[str, Any]
    run_id: str
    env: Mapping[str, str]
    tries: int = 4
    interval: tuple[str, str] | None = None
    off: tuple[str, ...] = ()
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    manifest: Any = None

    def job(
        self, stage: str, attempt: int = 1, argument: Any = None, manifest: Any = None, seams: tuple[Seam, ...] = ()
    ) -> Job:
        """Return an attempt of a task of this run."""
        return Job(
            stage, self.config, self.run_id, str(attempt), self.env, argument, manifest, self.interval, seams, self.off
        )

    def task(
        self, stage: str, argument: Any = None, manifest: Any = None, seams: tuple[Seam, ...] = (), first: int = 1
    ) -> Outcome:
        """Try one task until it succeeds, fails for good or its tries are used up."""
        outcome = Outcome()
        for attempt in range(first, first + self.tries):
            if attempt > first:
                time.sleep(0.02)
            job = self.job(stage, attempt, argument, manifest, seams if attempt == first else ())
            outcome = self.attempts.run(job)
            self.outcomes.append((stage, outcome))
            if outcome.ok or outcome.kind not in ("", "TransientError"):
                break
        return outcome

    def stage(self, faults: Mapping[str, tuple[Seam, ...]] | None = None) -> Outcome:
        """Extract and transform; the manifest to load is kept in `manifest`."""
        faults = faults or {}
        manifests = {}
        outcome = Outcome()
        for source in self.config.get("sources") or {"source": None}:
            outcome = self.task("extract", source, seams=faults.get("extract", ()))
            if not outcome.ok:
                return outcome
            manifests[source] = outcome.value
        outcome = self.task("transform", manifest=manifests, seams=faults.get("transform", ()))
        self.manifest = outcome.value
        return outcome

    def load(self, seams: tuple[Seam, ...] = (), first: int = 1) -> Outcome:
        """Load what was staged."""
        return self.task("load", 0, self.manifest, seams, first)

    def run(self, faults: Mapping[str, tuple[Seam, ...]] | None = None) -> Outcome:
        """Run all tasks."""
        faults = faults or {}
        if self.config.get("execution") == "fused":
            return self.task("fused", seams=faults.get("fused", ()))
        outcome = self.stage(faults)
        return self.load(faults.get("load", ())) if outcome.ok else outcome

    @property
    def unclean(self) -> list[Outcome]:
        """Errors of attempts that are not of our tree: each is a fault of the product."""
        return [outcome for _, outcome in self.outcomes if outcome.error and not outcome.kind]


if __name__ == "__main__":
    _serve(sys.argv[1])
