"""What a config may use: components, connections by id and type, tables and columns, existing configs, policies.

Nothing secret is in it: of a connection only its id and type are kept. Hosts are kept as digests, to tell whether a URL
belongs to a connection, and never leave.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataforge.authoring.policies import Policies, read_policies
from dataforge.components.base import Connection, Discoverable, ExtractContext
from dataforge.components.reference import describe
from dataforge.components.registry import KINDS, SOURCES
from dataforge.components.secret_shapes import names_secret
from dataforge.errors import ConfigError, DataForgeError, bounded
from dataforge.runtime.connections import ENV_PREFIX
from dataforge.runtime.connections import parse as parse_connection
from dataforge.settings import airflow_home, config_option, get_settings

if TYPE_CHECKING:
    from dataforge.runtime.samples import Sample, Statistics

KEEP_SECONDS = 60.0
"""How long Airflow's list of connections is believed."""


@dataclass(frozen=True)
class Known:
    """A connection as the catalogue knows it; `type` is "" where only its name was seen. `host` is a digest.

    `team` is the one that it belongs to in an Airflow of several teams, "" for all of them.
    """

    id: str
    type: str = ""
    host: str = ""
    team: str = ""


@dataclass(frozen=True)
class Table:
    """A table or file that was asked for its columns: names to SQL types, in order.

    `statistics` come from a sample of `sampled` rows, of which `rows` are some, masked; the least and greatest values
    are there where rows may be shown, of numbers and instants, and never of masked columns.
    """

    place: str
    columns: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    sampled: int = 0

    def in_words(self) -> dict[str, str]:
        """Return the columns of which a sample says something: "no value in 12 %, 3 different, 1 to 90"."""
        return {name: said for name, one in self.statistics.items() if (said := _in_words(one, self.sampled))}


@dataclass(frozen=True)
class Summary:
    """One component as prompts name it: its keys with what they hold."""

    kind: str
    type: str
    text: str
    signature: str


@dataclass(frozen=True)
class Catalogue:
    """What a request may use. `complete` says that `connections` are all there are; `configs` are the folder's own.

    `barred` says of an id that the person may not use it, whether it exists or not.
    """

    connections: tuple[Known, ...] = ()
    complete: bool = False
    tables: tuple[Table, ...] = ()
    configs: tuple[Mapping[str, Any], ...] = ()
    dag_ids: Mapping[str, Path] = field(default_factory=dict)
    policies: Policies = field(default_factory=Policies)
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    barred: Callable[[str], bool] = lambda _: False

    @property
    def types(self) -> dict[str, str]:
        """Connection ids to their types."""
        return {one.id: one.type for one in self.connections}

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns that are known."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.columns))

    def by_host(self, url: str) -> str | None:
        """Return the connection that leads to a URL's host; None when none does."""
        wanted = _digest(urlsplit(url).hostname or "")
        return next((one.id for one in self.connections if one.host and one.host == wanted), None)


def read(
    folder: Path | None, *, airflow: bool = True, team: str = "", may_use: Callable[[str], bool] | None = None
) -> Catalogue:
    """Return the catalogue of a configs folder and of this deployment's connections.

    With `airflow`, Airflow's own database is asked where there is one. The connections of other teams than `team` are
    left out, and those of which `may_use` says that the person may not use them; without it, all may be used.
    """
    from dataforge.config.files import read_folder

    configs: list[Mapping[str, Any]] = []
    dag_ids: dict[str, Path] = {}
    if folder is not None and folder.is_dir():
        for loaded in read_folder(folder).pipelines:
            configs.append(loaded.data)
            dag_ids[loaded.config.dag_id] = loaded.file
    known, complete, notes = connections(airflow=airflow)
    by_id = {one.id: one for one in known}
    for name, type_ in _named(configs):
        by_id.setdefault(name, Known(name, type_))
    policies = read_policies(folder) if folder is not None else Policies()
    others = frozenset(one.id for one in known if one.team and one.team != team)

    def barred(id_: str) -> bool:
        return id_ in others or (may_use is not None and not may_use(id_))

    allowed = [one for one in by_id.values() if not barred(one.id) and policies.may_use_connection(one.id)]
    return Catalogue(
        tuple(sorted(allowed, key=lambda one: one.id)), complete, (), tuple(configs), dag_ids, policies, folder, notes,
        barred,
    )  # fmt: skip


def _named(configs: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Yield the connections that configs name, with the type that their component implies."""
    types = {
        "postgres": "postgres",
        "http": "http",
        "duckdb": "duckdb",
        "csv": "aws",
        "json": "aws",
        "parquet": "aws",
        "ndjson": "aws",
    }
    for config in configs:
        targets = config.get("destination")
        ends = [config.get("source"), *dict(config.get("sources") or {}).values()]
        ends += targets if isinstance(targets, list | tuple) else [targets]
        for end in ends:
            if isinstance(end, Mapping) and isinstance(end.get("connection"), str):
                yield end["connection"], types.get(str(end.get("type")), "")


def connections(*, airflow: bool = True) -> tuple[tuple[Known, ...], bool, tuple[str, ...]]:
    """Return (connections, whether these are all, notes): those of the environment and of Airflow's database."""
    found: dict[str, Known] = {}
    for name, text in os.environ.items():
        if name.startswith(ENV_PREFIX) and text.strip():
            id_ = name.removeprefix(ENV_PREFIX).lower()
            try:
                found[id_] = _known(parse_connection(id_, text))
            except DataForgeError:
                found[id_] = Known(id_)
    notes: tuple[str, ...] = ()
    asked = False
    if airflow and _has_airflow():
        stored, asked, notes = _STORED.get()
        for one in stored:
            found.setdefault(one.id, one)
    backend = any(config_option(section, option) for section, option in _BACKENDS)
    return tuple(found.values()), (asked or bool(found)) and not backend, notes


_BACKENDS = (("secrets", "backend"), ("workers", "secrets_backend"))


def _known(connection: Connection) -> Known:
    host = connection.host
    if "://" in host:
        host = urlsplit(host).hostname or ""
    return Known(connection.id, connection.type, _digest(host))


def _digest(host: str) -> str:
    return hashlib.sha256(host.strip().lower().encode()).hexdigest()[:16] if host.strip() else ""


def _has_airflow() -> bool:
    url = config_option("database", "sql_alchemy_conn")
    return bool(url) or (airflow_home() / "airflow.db").is_file()


class _Stored:
    """Airflow's list of connections, asked at most once a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = -KEEP_SECONDS
        self._found: tuple[tuple[Known, ...], bool, tuple[str, ...]] = ((), False, ())

    def get(self) -> tuple[tuple[Known, ...], bool, tuple[str, ...]]:
        with self._lock:
            if time.monotonic() - self._at >= KEEP_SECONDS:
                self._found, self._at = _ask_airflow(), time.monotonic()
            return self._found


_STORED = _Stored()


def _ask_airflow() -> tuple[tuple[Known, ...], bool, tuple[str, ...]]:
    try:
        from airflow.models.connection import Connection as Stored
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            rows = session.execute(select(Stored.conn_id, Stored.conn_type, Stored.host, Stored.team_name)).all()
    except Exception as error:  # noqa: BLE001  # what Airflow and its database may raise is not ours to list
        return (), False, (f"Airflow's connections could not be listed ({type(error).__name__})",)
    return (
        tuple(
            Known(str(id_), str(type_ or ""), _digest(_bare_host(host or "")), str(team or ""))
            for id_, type_, host, team in rows
        ),
        True,
        (),
    )


def _bare_host(text: str) -> str:
    return (urlsplit(text).hostname or "") if "://" in text else text


@cache
def components(kind: str) -> tuple[Summary, ...]:
    """Return all components of a kind ("source", "transform", "check", "destination") as prompts name them."""
    registry, _ = KINDS[kind]
    found = []
    for type_ in registry.types():
        try:
            component = registry.get(type_)
        except ConfigError:
            continue
        told = describe(kind, component)
        found.append(Summary(kind, type_, component.summary, _signature(kind, type_, told["fields"])))
    return tuple(found)


_KINDS_OF_VALUE: Mapping[str, str] = {
    "write_disposition": "append|replace|merge",
    "merge_strategy": "upsert|scd2",
    "rename.columns": "{old: new}",
    "cast.columns": "{column: sql type}",
    "mask.columns": "{column: hash|redact|partial|email|null}",
    "fill_null.columns": "{column: value}",
    "derive.columns": "{new column: sql expression}",
    "aggregate.columns": "{new column: sql aggregate}",
    "select.columns": "[column]",
    "join.columns": "[column]",
    "join.on": "[column]",
    "join.how": "inner|left|anti",
    "union.with": "[source]",
    "join.with": "source",
    "where": "sql condition",
    "expression": "sql condition",
    "order_by": "column desc",
    "by": "[column desc]",
    "query": "one select",
    "on_error": "fail|null",
}


def _kind_of(type_: str) -> str:
    """Return a short word for the type of a key."""
    if type_.startswith("list"):
        return "[…]"
    return "{…}" if type_.startswith("object") else type_.split(" or ", maxsplit=1)[0]


_SHOWN: Mapping[str, tuple[str, ...]] = {
    "source": ("connection", "path", "endpoint", "table", "query", "records", "cursor_field"),
    "destination": ("connection", "path", "table", "write_disposition", "primary_key", "merge_strategy"),
}


def _signature(kind: str, type_: str, fields: Sequence[Mapping[str, Any]]) -> str:
    """Return the keys that prompts show of a component, each with what it holds."""
    shown = _SHOWN.get(kind)
    words = []
    for one in fields:
        name = str(one["name"])
        if shown is not None and name not in shown and not one["required"]:
            continue
        if name in ("input", "name", "severity", "salt", "suffix", "offset", "message"):
            continue
        if type_ in ("csv", "json", "parquet", "ndjson") and name in ("connection", "cursor_field"):
            continue
        holds = _KINDS_OF_VALUE.get(f"{type_}.{name}") or _KINDS_OF_VALUE.get(name) or _kind_of(str(one["type"]))
        words.append(f"{name} {holds}")
    return ", ".join(words)


def with_tables(
    catalogue: Catalogue,
    ends: Iterable[Mapping[str, Any]],
    *,
    seconds: float = 5.0,
    sampled: bool = False,
    rows: bool = False,
) -> Catalogue:
    """Return the catalogue with the columns of the sources that a request names, as far as they answer in time.

    With `sampled`, a sample of each is read for the statistics of its columns; with `rows` and where the settings allow
    it, some rows and the least and greatest values are kept, masked by the tags of columns. A source that is away, not
    permitted or too slow is left out with a note; nothing is raised.
    """
    wanted = [dict(end) for end in ends if end.get("type") in SOURCES.types()]
    if not wanted:
        return catalogue
    found: list[Table] = []
    notes: list[str] = []
    allowed = get_settings().llm_sample_rows
    if rows and not allowed:
        notes.append("no sample rows are shown to the model: [dataforge] llm_sample_rows does not allow it")
    usable = [end for end in wanted if not catalogue.barred(str(end.get("connection") or ""))]
    usable = [end for end in usable if catalogue.policies.may_use_connection(str(end.get("connection") or ""))
              or not end.get("connection")]  # fmt: skip
    notes += [f"{place_of(end)} may not be asked for its columns" for end in wanted if end not in usable]
    wanted = usable
    pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="discover")
    begun = time.monotonic()
    look = partial(_discover, policies=catalogue.policies, sampled=sampled or (rows and allowed), rows=rows and allowed)
    futures = [(end, pool.submit(look, end)) for end in wanted]
    for end, future in futures:
        place = place_of(end)
        try:
            table = future.result(timeout=max(0.05, seconds - (time.monotonic() - begun)))
        except LateError:
            notes.append(f"{place} did not tell its columns within {seconds:g} s")
        except DataForgeError as error:
            notes.append(f"{place} could not be asked for its columns: {bounded(str(error), 300)}")
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, a request goes on without its columns
            notes.append(f"{place} could not be asked for its columns ({type(error).__name__})")
        else:
            if table:
                found.append(table)
    pool.shutdown(wait=False, cancel_futures=True)
    return replace(catalogue, tables=(*catalogue.tables, *found), notes=(*catalogue.notes, *notes))


def place_of(end: Mapping[str, Any]) -> str:
    """Return a source or destination in a few words: "shop_db: sales.orders"."""
    where = next(
        (str(end[key]) for key in ("table", "path", "endpoint", "query") if end.get(key)), str(end.get("type", ""))
    )
    return f"{end['connection']}: {where}" if end.get("connection") else where


def _discover(end: Mapping[str, Any], *, policies: Policies, sampled: bool, rows: bool) -> Table | None:
    from dataforge.config.pipeline import PipelineConfig, parse
    from dataforge.runtime.context import local
    from dataforge.runtime.values import resolve

    config: PipelineConfig = parse(
        {"dag_id": "discover", "source": dict(end), "destination": {"type": "duckdb", "table": "t"}}
    )
    context = local(config, {})
    if sampled:
        from dataforge.runtime.samples import sample

        return _table(place_of(end), sample(config, "source", context), policies, rows=rows)
    source = resolve(config.inputs["source"], context.values)
    built = SOURCES.build(source)
    if not isinstance(built, Discoverable):
        return None
    with context.scratch() as scratch:
        columns = built.discover(ExtractContext(context.connection, scratch, context.values, sample=100))
    safe = dict(list(columns.items())[:300])
    return Table(place_of(end), safe) if safe else None


def _in_words(one: Statistics, sampled: int) -> str:
    parts = [f"no value in {one.nulls:.0%}"] if one.nulls else []
    if one.distinct is not None and sampled > 1:
        if one.distinct == sampled:
            parts.append("all different")
        elif one.distinct <= 20:
            parts.append(f"{one.distinct} different")
    if one.least is not None and one.greatest is not None:
        parts.append(f"{one.least} to {one.greatest}")
    return ", ".join(parts)


def _table(place: str, found: Sample, policies: Policies, *, rows: bool) -> Table:
    """Return a sample as the catalogue keeps it: values only where rows may be shown, and none of masked columns."""
    hidden = {name for name in found.columns if policies.masks(place, name) or is_private(name)}
    statistics = {
        name: one if rows and name not in hidden and _is_plain(one.type) else replace(one, least=None, greatest=None)
        for name, one in found.statistics.items()
    }
    kept = masked(found.rows, hidden) if rows else ()
    return Table(place, dict(found.columns), kept, statistics, found.count)


def _is_plain(type_: str) -> bool:
    """Return whether values of a type are numbers or instants, which say nothing by themselves."""
    return type_.upper().startswith(("DATE", "TIME", "DECIMAL", "DOUBLE", "FLOAT", "BOOL")) or "INT" in type_.upper()


_PRIVATE = re.compile(
    r"mail|phone|tele|mobil|name|street|stra(?:ss|ß)e|address|adress|birth|geburt|iban|card|ssn|passw|token|secret|key$",
    re.I,
)


def is_private(column: str) -> bool:
    """Return whether a column's name says that its values are personal or secret."""
    return _PRIVATE.search(column) is not None or names_secret(column)


def masked(rows: Iterable[Mapping[str, Any]], private: Iterable[str] = ()) -> tuple[dict[str, Any], ...]:
    """Return sample rows with the values of private columns, and of those whose names say that they are, hidden."""
    hidden = {name.lower() for name in private}
    return tuple(
        {name: "***" if name.lower() in hidden or is_private(name) else value for name, value in row.items()}
        for row in rows
    )
