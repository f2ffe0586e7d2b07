"""Where a run writes: a home folder with everything in it, and for PostgreSQL a database of its own.

A base is prepared once: a first run is loaded, a second one is extracted and transformed, and one copy of it is loaded
undisturbed. Every fault then gets a copy of the base, so that a round costs two loads and no more.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.faults.child import Attempts, Outcome, Run, Seam
from tests.faults.proxy import Proxy
from tests.faults.records import (
    CANARY,
    COLUMNS,
    Marker,
    Record,
    Seen,
    Verdict,
    canonical,
    generate,
    judge,
    model,
    write,
)

FIRST, SECOND = "scheduled__2026-01-01T00:00:00+00:00", "scheduled__2026-01-02T00:00:00+00:00"
DISPOSITIONS: dict[str, dict[str, Any]] = {
    "append": {"write_disposition": "append"},
    "replace": {"write_disposition": "replace", "allow_shrink": True},
    "upsert": {"write_disposition": "merge", "primary_key": ["id"]},
    "delete_insert": {"write_disposition": "merge", "merge_strategy": "delete_insert", "primary_key": ["id"]},
    "scd2": {"write_disposition": "merge", "merge_strategy": "scd2", "primary_key": ["id"]},
}
KINDS = ("postgres", "duckdb", "sqlite", "parquet")
TABLE = "things"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server: the folder of its socket, and that of the proxy before it."""

    folder: Path
    front: Path | None = None

    def uri(self, database: str = "postgres") -> str:
        """Return the libpq URI for the test's own, undisturbed sessions."""
        return f"postgresql:///{database}?user=postgres&host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement and commit it."""
        from adbc_driver_postgresql import dbapi

        with closing(dbapi.connect(self.uri(database), autocommit=True)) as db, db.cursor() as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


@dataclass(frozen=True)
class World:
    """One place with what is in it. `behind` sends sessions through the proxy."""

    kind: str
    disposition: str
    home: Path
    server: Server | None = None
    database: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    manifest: Any = None
    api: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The pipeline's config."""
        targets: dict[str, dict[str, Any]] = {
            "postgres": {"type": "postgres", "connection": "warehouse", "table": f"shop.{TABLE}"},
            "duckdb": {"type": "duckdb", "table": TABLE},
            "sqlite": {"type": "sql", "connection": "lite", "table": TABLE},
            "parquet": {"type": "parquet", "path": f"{TABLE}/"},
        }
        changes = dict(self.changes)
        target = {**targets[self.kind], **DISPOSITIONS[self.disposition], **changes.pop("destination", {})}
        if self.kind == "parquet":
            target.pop("allow_shrink", None)
        source = {"type": "parquet", "path": "in.parquet", **changes.pop("source", {})}
        source = {name: value for name, value in source.items() if value is not None}
        return {"dag_id": "faults", "source": source, "destination": target, **changes}

    @property
    def env(self) -> dict[str, str]:
        """The variables of every attempt."""
        made = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATAFORGE__SCRATCH_FOLDER": str(self.home / "scratch"),
            "AIRFLOW_CONN_LITE": json.dumps({"conn_type": "sqlite", "host": str(self.home / "lite.db")}),
            "TMPDIR": str(self.home / "tmp"),
            # what many failures in a row do to a connection has tests of its own
            "AIRFLOW__DATAFORGE__BREAKER_SECONDS": "0",
            "AIRFLOW__DATAFORGE__CONNECT_SECONDS": "5",
        }
        if self.api:
            made["AIRFLOW_CONN_API"] = json.dumps({"conn_type": "http", "host": self.api})
        if self.server is not None:
            login = {
                "conn_type": "postgres",
                "host": str(self.server.front or self.server.folder),
                "login": "postgres",
                "password": f"{CANARY}-password",
                "schema": self.database,
            }
            made["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(login)
        return made

    def run(self, attempts: Attempts, run_id: str, **options: Any) -> Run:
        """Return a run of this pipeline, with what is staged of it already."""
        return Run(attempts, self.config, run_id, self.env, manifest=self.manifest, **options)

    def feed(self, records: Sequence[Record]) -> None:
        """Put these records where the source reads."""
        write(self.home / "configs" / "in.parquet", records)

    def copy(self, home: Path) -> World:
        """Return a copy of the world in another folder and another database."""
        shutil.copytree(self.home, home, ignore=shutil.ignore_patterns("attempts.log"))
        database = self.database
        if self.server is not None:
            database = f"f{uuid.uuid4().hex[:16]}"
            self.server.sql(f"create database {database} template {self.database}")
        manifest = self.manifest
        if manifest is not None:
            manifest = {**manifest, "url": manifest["url"].replace(str(self.home), str(home))}
        return replace(self, home=home, database=database, manifest=manifest)

    def drop(self) -> None:
        """Remove the folder and the database."""
        shutil.rmtree(self.home, ignore_errors=True)
        if self.server is not None and self.database:
            self.server.sql(f"drop database if exists {self.database} with (force)")

    # ---- what stands there

    def see(self, *, debris: bool = True) -> Seen:
        """Return what stands at the destination now; with `debris` also what should not lie about any more."""
        seen = getattr(self, f"_{self.kind}")()
        assert isinstance(seen, Seen)
        if not debris:
            return replace(seen, debris=())
        return replace(seen, debris=(*seen.debris, *self._files()))

    def _files(self) -> list[str]:
        left: list[str] = []
        for name, what in (("scratch", "scratch folder"), ("tmp", "temporary file"), ("dataforge/staging", "staged")):
            folder = self.home / name
            left += [
                f"{what} {path.name}"
                for path in sorted(folder.glob("*"))
                if path.is_file() or name == "scratch" or any(one.is_file() for one in path.rglob("*"))
            ]
        output = self.home / "dataforge" / "output"
        found = (path for path in sorted(output.rglob("*")) if path.suffix in (".tmp", ".wal"))
        return left + [f"file {path.relative_to(output)}" for path in found]

    def _postgres(self) -> Seen:
        from adbc_driver_postgresql import dbapi

        assert self.server is not None
        deadline = time.monotonic() + 20
        others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        with closing(dbapi.connect(self.server.uri(self.database))) as db, db.cursor() as cursor:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                cursor.execute(sql)
                found = [tuple(row) for row in cursor.fetchall()]
                db.rollback()
                return found

            # the server notices within half a second that a client has gone
            while (left := rows(others)[0][0]) and time.monotonic() < deadline:
                time.sleep(0.02)
            debris = [f"{left} session(s)"] if left else []
            tables = {
                (schema, name)
                for schema, name in rows(
                    "select schemaname::text, tablename::text from pg_tables "
                    "where schemaname !~ '^(pg_|information_schema)'"
                )
            }
            debris += [
                f"table {schema}.{name}" for schema, name in sorted(tables) if name.startswith("_dataforge_stage")
            ]
            # the server's own workers, such as autovacuum, come when they like; whose lock it is stands in the debris
            locks = rows(
                "select coalesce(a.backend_type, 'nobody'), l.locktype, l.mode from pg_locks l "
                "left join pg_stat_activity a using (pid) where l.database = (select oid from pg_database where "
                "datname = current_database()) and l.pid is distinct from pg_backend_pid() "
                "and l.locktype in ('relation', 'advisory') and a.backend_type is distinct from 'autovacuum worker'"
            )
            debris += [f"lock {lock}" for lock in sorted(map(str, locks))] if not left else []
            found = self._table(rows, ("shop", TABLE) in tables, f"shop.{TABLE}", "shop.", {name for _, name in tables})
        return replace(found, debris=tuple(debris))

    def _duckdb(self) -> Seen:
        import duckdb

        path = self.home / "dataforge" / "output" / "warehouse.duckdb"
        if not path.exists():
            return Seen()
        with duckdb.connect(str(path), config={"threads": 1}) as db:
            db.execute("set timezone = 'UTC'")
            names = {name for (name,) in db.execute("select table_name from duckdb_tables()").fetchall()}

            def rows(sql: str) -> list[tuple[Any, ...]]:
                # by Arrow: DuckDB itself wants pytz for instants
                return [tuple(row.values()) for row in db.sql(sql).to_arrow_table().to_pylist()]

            found = self._table(rows, TABLE in names, TABLE, "", names)
        debris = tuple(f"table {name}" for name in sorted(names) if name.startswith("_dataforge_stage"))
        return replace(found, debris=debris)

    def _sqlite(self) -> Seen:
        import sqlite3

        path = self.home / "lite.db"
        if not path.exists():
            return Seen()
        with closing(sqlite3.connect(path)) as db:
            names = {name for (name,) in db.execute("select name from sqlite_master where type = 'table'").fetchall()}
            found = self._table(lambda sql: db.execute(sql).fetchall(), TABLE in names, TABLE, "", names)
        debris = tuple(f"table {name}" for name in sorted(names) if name.startswith("_dataforge_stage"))
        return replace(found, debris=debris)

    def _table(self, rows: Any, exists: bool, table: str, prefix: str, names: set[str]) -> Seen:
        data: Counter[tuple[Any, ...]] = Counter()
        shape: Counter[tuple[Any, ...]] = Counter()
        current: Counter[tuple[Any, ...]] = Counter()
        if exists:
            if self.kind == "postgres":
                columns = [
                    name
                    for (name,) in rows(
                        "select attname::text from pg_attribute where attrelid = "
                        f"'{table}'::regclass and attnum > 0 and not attisdropped order by attnum"
                    )
                ]
            elif self.kind == "duckdb":
                columns = [
                    name
                    for (name,) in rows(
                        f"select column_name from duckdb_columns() where table_name = '{table}' order by column_index"
                    )
                ]
            else:
                columns = [row[1] for row in rows(f"pragma table_info({table})")]
            quoted = ", ".join(f'"{name}"' for name in columns)
            for row in rows(f"select {quoted} from {table}"):
                values = dict(zip(columns, row, strict=True))
                key = tuple(canonical(name, values.get(name)) for name in COLUMNS)
                closed = values.get("_valid_to") is not None
                data[key] += 1
                shape[(values.get("_dataforge_run"), closed)] += 1
                if not closed:
                    current[key] += 1
        seen = Seen(data, shape, current)
        if "_dataforge_loads" not in names:
            return seen
        markers = tuple(
            Marker(*row)
            for row in rows(
                "select pipeline, target, run_key, run_id, digest, row_count, rejected "
                f"from {prefix}_dataforge_loads where undone_at is null order by epoch"
            )
        )
        states = rows(f"select epoch, cursor_json from {prefix}_dataforge_state")
        letters = rows(f"select count(*) as n from {prefix}_dataforge_dead_letters")[0][0]
        epoch, cursor = states[0] if states else (0, None)
        cursor = json.loads(cursor) if cursor else None
        return replace(seen, markers=markers, epoch=epoch, cursor=cursor, dead_letters=letters, ledger=True)

    def _parquet(self) -> Seen:
        import pyarrow.parquet as pq

        folder = self.home / "dataforge" / "output" / TABLE
        data: Counter[tuple[Any, ...]] = Counter()
        for path in sorted(folder.glob("*.parquet")):
            for values in pq.read_table(path).to_pylist():
                data[tuple(canonical(name, values.get(name)) for name in COLUMNS)] += 1
        return Seen(data, Counter({("rows",): data.total()}) if data else Counter(), data)


@dataclass(frozen=True)
class Base:
    """A world with one load in it and a second one staged, and how that one ends when nothing disturbs it.

    `origin` is the same world before the second run began.
    """

    world: World
    origin: World
    before: Seen
    undisturbed: Seen
    expected: Counter[tuple[Any, ...]]


@dataclass
class Bench:
    """Makes bases (once each) and copies of them."""

    folder: Path
    attempts: Attempts
    server: Server
    _bases: dict[Any, Base] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**9)))

    def new(self, kind: str, disposition: str, changes: Mapping[str, Any] | None = None) -> World:
        """Return an empty world."""
        home = self.folder / f"w{next(self._numbers)}"
        for name in ("configs", "scratch", "tmp"):
            (home / name).mkdir(parents=True)
        world = World(kind, disposition, home, changes=changes or {})
        if kind != "postgres":
            return world
        database = f"f{uuid.uuid4().hex[:16]}"
        self.server.sql(f"create database {database}")
        return replace(world, server=self.server, database=database)

    def rehearse(self, base: Base, proxy: Proxy) -> None:
        """Load once undisturbed through the proxy, which counts the messages."""
        proxy.arm(None)
        with self.copy(base) as world:
            succeed(world.run(self.attempts, "count").load())

    def base(
        self,
        kind: str,
        disposition: str,
        rows: int = 7,
        seed: int = 1,
        changes: Mapping[str, Any] | None = None,
        *,
        first: bool = True,
    ) -> Base:
        """Return the base for these, made at the first call: half of the second batch's ids are in the first one."""
        key = (kind, disposition, rows, seed, json.dumps(changes), first)
        if key in self._bases:
            return self._bases[key]
        world = self.new(kind, disposition, changes)
        old = generate(seed, rows, task=1) if first else []
        batch = generate(seed, rows, task=2, start=rows // 2)
        if first:
            world.feed(old)
            succeed(world.run(self.attempts, FIRST).run())
        before = world.see(debris=False)
        world.feed(batch)
        origin = world.copy(self.folder / f"w{next(self._numbers)}")
        run = world.run(self.attempts, SECOND)
        succeed(run.stage())
        world = replace(world, manifest=run.manifest)
        with self.copy(world) as copy:
            succeed(copy.run(self.attempts, SECOND).load())
            undisturbed = copy.see()
        base = Base(world, origin, before, replace(undisturbed, debris=()), model(disposition, old, batch))
        verdict = judge(
            undisturbed,
            succeeded=True,
            before=before,
            undisturbed=undisturbed,
            expected=base.expected,
            staged=run.manifest,
            run_id=SECOND,
        )
        assert verdict, f"undisturbed {kind} {disposition}: {verdict}"
        self._bases[key] = base
        return base

    @contextmanager
    def copy(self, of: World | Base) -> Iterator[World]:
        """Give a copy of a world, removed afterwards."""
        world = (of.world if isinstance(of, Base) else of).copy(self.folder / f"w{next(self._numbers)}")
        try:
            yield world
        finally:
            world.drop()

    def close(self) -> None:
        """Remove all bases."""
        for base in self._bases.values():
            base.world.drop()
            base.origin.drop()

    def disturb(
        self, base: Base, world: World, seams: tuple[Seam, ...] = (), *, tries: int = 4, off: tuple[str, ...] = ()
    ) -> Trial:
        """Load what is staged in `world`, with faults at the first try, and judge what is there in the end."""
        run = world.run(self.attempts, SECOND, tries=tries, off=off)
        outcome = run.load(seams)
        return self.judge(base, world, run, outcome)

    def rerun(self, base: Base, world: World, faults: Mapping[str, tuple[Seam, ...]], *, tries: int = 4) -> Trial:
        """Run all tasks of the second run in a copy of the base's origin, with faults at their first tries."""
        run = world.run(self.attempts, SECOND, tries=tries)
        outcome = run.run(faults)
        return self.judge(base, replace(world, manifest=run.manifest), run, outcome)

    def judge(self, base: Base, world: World, run: Run, outcome: Outcome) -> Trial:
        """Sweep what a kill may leave behind, then let the oracle look."""
        swept = self.attempts.run(run.job("janitor"))
        assert swept.ok, swept
        seen = world.see()
        said = [(one.kind, one.message) for _, one in run.outcomes if one.error]
        verdict = judge(
            seen,
            succeeded=outcome.ok,
            before=base.before,
            undisturbed=base.undisturbed,
            expected=base.expected,
            staged=world.manifest,
            run_id=run.run_id,
            messages=said,
        )
        return Trial(run, outcome, seen, verdict, base.undisturbed)


@dataclass(frozen=True)
class Trial:
    """One disturbed run and what the oracle says of it."""

    run: Run
    outcome: Outcome
    seen: Seen
    verdict: Verdict
    undisturbed: Seen

    @property
    def story(self) -> str:
        """What happened, try by try."""
        return "; ".join(f"{stage}: {one}" for stage, one in self.run.outcomes)


def supported(kind: str, disposition: str) -> bool:
    """Whether that destination takes that disposition."""
    from dataforge.components.registry import DESTINATIONS

    type_ = {"sqlite": "sql"}.get(kind, kind)
    if type_ not in DESTINATIONS.types():
        return False
    found: Any = DESTINATIONS.get(type_).cls
    return DISPOSITIONS[disposition]["write_disposition"] in found.capabilities.dispositions


def succeed(outcome: Outcome) -> Any:
    """Return an outcome's value; fail the test when the attempt failed."""
    assert outcome.ok, f"{outcome.error}: {outcome.message}\n{outcome.trace}"
    return outcome.value
