"""Seeded records and the oracle: what a target must hold, and what it must not.

A record is (task, seq, payload of many types, checksum). The checksum is made by the generator and made again from what
stands in the target, so that a value which changed on its way shows, whatever the row's neighbours are.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

CANARY = "canary-7f3a"
"""Part of every text value and of the connection's password: it must never be read in a message."""

PAYLOAD = ("text", "amount", "whole", "ratio", "flag", "day", "at", "local", "data", "note")
COLUMNS = ("id", "task", "seq", *PAYLOAD, "checksum")
MAX_MESSAGE = 2_048

Record = dict[str, Any]


def generate(seed: int, rows: int, *, task: int = 1, start: int = 0) -> list[Record]:
    """Return `rows` records with ids from `start` on; the same for the same arguments."""
    chance = random.Random(f"{seed}-{task}-{start}")
    return [_record(chance, task, start + number) for number in range(rows)]


def _record(chance: random.Random, task: int, seq: int) -> Record:
    words = ["", " ", "a'b", 'quo"te', "back\\slash", "tab\there", "line\nbreak", "naïve ☕", "𝄞", "N/A", "null", "\\N"]
    record = {
        "id": seq,
        "task": task,
        "seq": seq,
        "text": f"{CANARY} {chance.choice(words)}{chance.choice(words)}",
        "amount": Decimal(chance.randrange(-(10**15), 10**15)).scaleb(-4),
        "whole": chance.choice([0, -1, 2**31, -(2**63), 2**63 - 1, chance.randrange(10**15)]),
        "ratio": chance.choice([0.0, -0.5, 1e300, 5e-324, chance.random(), 0.1 + 0.2]),
        "flag": chance.choice([True, False, None]),
        "day": date(1900, 1, 1) + timedelta(days=chance.randrange(60_000)),
        "at": datetime(1990, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=chance.randrange(10**15)),
        "local": datetime(1990, 1, 1) + timedelta(microseconds=chance.randrange(10**15)),
        "data": chance.randbytes(chance.randrange(12)),
        "note": chance.choice([None, None, "noted"]),
    }
    return {**record, "checksum": checksum(record)}


def checksum(record: Mapping[str, Any]) -> str:
    """Return the digest of a record's values in canonical form."""
    text = json.dumps([canonical(name, record[name]) for name in ("task", "seq", *PAYLOAD)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def canonical(name: str, value: Any) -> Any:
    """Return a value in the one form in which all databases' drivers agree."""
    if value is None:
        return None
    if name == "amount":
        return format(Decimal(str(value)).quantize(Decimal("0.0001")), "f")
    if name in ("at", "local"):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return (
            (moment.astimezone(timezone.utc) if name == "at" and moment.tzinfo else moment)
            .replace(tzinfo=None)
            .isoformat()
        )
    if name == "day":
        return str(value)[:10]
    if name == "data":
        return bytes(value).hex() if not isinstance(value, str) else value
    if name == "flag":
        return bool(value)
    if name == "ratio":
        return repr(float(value))
    return value


def row_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a record's values in canonical form, in the order of COLUMNS."""
    return tuple(canonical(name, record.get(name)) for name in COLUMNS)


def write(path: Path, records: Sequence[Record]) -> None:
    """Write records as Parquet, so that their types are beyond doubt."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "id": pa.int64(),
        "task": pa.int32(),
        "seq": pa.int64(),
        "text": pa.string(),
        "amount": pa.decimal128(18, 4),
        "whole": pa.int64(),
        "ratio": pa.float64(),
        "flag": pa.bool_(),
        "day": pa.date32(),
        "at": pa.timestamp("us", "UTC"),
        "local": pa.timestamp("us"),
        "data": pa.binary(),
        "note": pa.string(),
        "checksum": pa.string(),
    }
    table = pa.table({name: pa.array([one[name] for one in records], type_) for name, type_ in types.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


# ------------------------------------------------------------------------------------------------------- the oracle


@dataclass(frozen=True)
class Marker:
    """What the ledger says of one load."""

    pipeline: str
    target: str
    run_key: str
    run_id: str
    digest: str
    rows: int
    rejected: int


@dataclass(frozen=True)
class Seen:
    """What stands at a destination. `rows` are the data columns only; `shape` counts rows by what we added to them
    (run number, whether a version is closed), so that two states can be compared as a whole."""

    rows: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    shape: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    current: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    markers: tuple[Marker, ...] = ()
    epoch: int = 0
    cursor: Any = None
    dead_letters: int = 0
    debris: tuple[str, ...] = ()
    ledger: bool = False

    @property
    def content(self) -> tuple[Any, ...]:
        """What must be equal for two states to be the same."""
        return (
            self.rows,
            self.shape,
            self.cursor,
            self.dead_letters,
            sorted((one.run_key, one.rows) for one in self.markers),
        )


def model(disposition: str, before: Iterable[Record], batch: Iterable[Record]) -> Counter[tuple[Any, ...]]:
    """Return the rows that a load must leave (for scd2: the current versions), told without any database."""
    old, new = list(before), list(batch)
    if disposition == "append":
        return Counter(map(row_of, [*old, *new]))
    if disposition == "replace":
        return Counter(map(row_of, new))
    merged = {record["id"]: record for record in old} | {record["id"]: record for record in new}
    return Counter(map(row_of, merged.values()))


@dataclass(frozen=True)
class Verdict:
    """What the oracle finds wrong, each named by its rule; nothing when all is well."""

    violations: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.violations

    def __str__(self) -> str:
        return "; ".join(self.violations) or "all is well"


def judge(
    seen: Seen,
    *,
    succeeded: bool,
    before: Seen,
    undisturbed: Seen,
    expected: Counter[tuple[Any, ...]] | None = None,
    staged: Mapping[str, Any] | None = None,
    run_id: str = "",
    messages: Iterable[tuple[str, str]] = (),
) -> Verdict:
    """Compare what stands there with the state before and with an undisturbed run.

    `expected` are the rows by the model (current versions), `staged` the manifest that was loaded, `messages` pairs of
    (kind of error, text) that a user was shown.
    """
    wrong: list[str] = []
    wanted = undisturbed if succeeded else before
    if seen.content != wanted.content:
        if not succeeded and seen.content == undisturbed.content:
            pass  # failure after the commit: allowed only when the next try says "already"; told apart by the caller
        else:
            wrong.append(f"O1: {'success' if succeeded else 'failure'} but {difference(seen, wanted)}")
    if succeeded and expected is not None and seen.current != expected:
        missing, extra = expected - seen.current, seen.current - expected
        wrong.append(f"O2: {missing.total()} records missing, {extra.total()} too many or doubled")
    wrong += _damaged(seen)
    if succeeded and seen.ledger:
        wrong += _marks(seen, undisturbed, staged, run_id)
        if seen.cursor != undisturbed.cursor:
            wrong.append(f"O3: cursor {seen.cursor!r}, undisturbed {undisturbed.cursor!r}")
    wrong += [f"O5: {one} was left behind" for one in seen.debris]
    for kind, text in messages:
        if not kind:
            wrong.append(f"O6: an error that is not ours: {text[:200]}")
        if len(text.encode()) > MAX_MESSAGE:
            wrong.append(f"O6: a message of {len(text.encode())} bytes")
        if CANARY in text:
            wrong.append(f"O6: a message holds a value of a record: {text[:300]}")
        if "Traceback" in text:
            wrong.append("O6: a message holds a trace")
    return Verdict(tuple(wrong))


def _damaged(seen: Seen) -> list[str]:
    changed = 0
    for row in seen.rows:
        values = dict(zip(COLUMNS, row, strict=True))
        text = json.dumps([values[name] for name in ("task", "seq", *PAYLOAD)])
        changed += hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] != values["checksum"]
    return [f"O2: {changed} records do not have their own checksum any more"] if changed else []


def _marks(seen: Seen, undisturbed: Seen, staged: Mapping[str, Any] | None, run_id: str) -> list[str]:
    wrong = []
    keys = Counter((one.pipeline, one.target, one.run_key) for one in seen.markers)
    wrong += [f"O4: {count} markers for run key {key[2]}" for key, count in keys.items() if count > 1]
    if run_id:
        mine = [one for one in seen.markers if one.run_id == run_id]
        if len(mine) != 1:
            wrong.append(f"O4: {len(mine)} markers for run {run_id!r}")
        elif staged is not None and (mine[0].digest, mine[0].rows + mine[0].rejected) != (
            staged["digest"],
            staged["rows"],
        ):
            wrong.append(
                f"O4: marker {mine[0].digest[:8]}, {mine[0].rows} rows; "
                f"manifest {staged['digest'][:8]}, {staged['rows']} rows"
            )
    if seen.epoch != undisturbed.epoch:
        wrong.append(f"O4: epoch {seen.epoch}, undisturbed {undisturbed.epoch}")
    return wrong


def difference(seen: Seen, wanted: Seen) -> str:
    """Say in words how two states differ."""
    parts = []
    missing, extra = wanted.rows - seen.rows, seen.rows - wanted.rows
    if missing or extra:
        parts.append(f"{missing.total()} of {wanted.rows.total()} rows are missing and {extra.total()} are too many")
    if seen.shape != wanted.shape:
        parts.append(f"rows by run and version {dict(seen.shape)}, not {dict(wanted.shape)}")
    if len(seen.markers) != len(wanted.markers):
        parts.append(f"{len(seen.markers)} markers, not {len(wanted.markers)}")
    if seen.cursor != wanted.cursor:
        parts.append(f"cursor {seen.cursor!r}, not {wanted.cursor!r}")
    if seen.dead_letters != wanted.dead_letters:
        parts.append(f"{seen.dead_letters} dead letters, not {wanted.dead_letters}")
    return ", ".join(parts) or "markers differ"


def without_debris(seen: Seen) -> Seen:
    """Return the same state as if nothing had been left behind."""
    return replace(seen, debris=())
