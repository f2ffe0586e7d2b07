"""The manifest of a file destination's target: one JSON file beside the data, whose swap is the commit.

    <folder>/part-<run key>-<token>.parquet             data of a dataset folder; those that the manifest names are live
    <folder>/_dataforge/manifest.json                   its manifest
    <folder>/_dataforge/previous/part-….parquet         what the last replace replaced, with keep_previous
    <folder>/_dataforge/dead_letters/<run key>-….rejects  records that were set aside, one JSON object a line
    <folder>/_dataforge/files/<file>.json               the manifest of a single file <folder>/<file>; its dead letters
                                                        and kept data are <file>.….rejects and <file>.previous-…

A manifest names the live parts, cursor and epoch of each pipeline, a marker for each load, dead letters and schema
versions. It keeps the newest MARKERS markers; what a repeat of an older run needs to know stands with its live part.

A dataset's data are written under new names before the swap, and what is not live any more is removed after it
(`doomed`, so that a killed load's successor goes on with it). For a single file the rename or PUT of the file itself is
the commit: the manifest that will then be true is written before it (`pending`, by the identity of the new file), and
whoever reads takes it for true if that file is there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataforge.components.delivery import LoadRecord, State
from dataforge.destinations._output_path import LEDGER_FOLDER
from dataforge.errors import TerminalError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
PART = "part-"
MARKERS = 200
"""How many markers a manifest keeps."""

SCHEMAS = 50
"""How many schema versions a manifest keeps."""

DEAD_LETTERS = f"{LEDGER_FOLDER}/dead_letters"
PREVIOUS = f"{LEDGER_FOLDER}/previous"
_SUFFIX = r"\.(?:parquet|csv|ndjson)(?:\.gz|\.zst)?"
OWN = re.compile(rf"\Apart-([A-Za-z0-9_-]+)-([0-9a-f]{{8}}){_SUFFIX}\Z")
OURS = re.compile(rf"\Apart-[0-9a-f]{{16}}-[0-9a-f]{{8}}{_SUFFIX}\Z")
"""A name that only this module gives: what has it, and is not named by the manifest, may be removed."""

EARLIER = re.compile(rf"\Apart-([0-9a-f]{{16}}){_SUFFIX}\Z")
"""The name of a part that DataForge wrote before it kept manifests."""


MAX_FILE_NAME = 150
"""Bytes of a single file's name up to which the names of its ledger begin with it."""


def ledger_of(file: str) -> str:
    """Return where what belongs to a single file, or (for "") to a dataset folder, begins in its place."""
    if not file:
        return f"{LEDGER_FOLDER}/manifest"
    if len(file.encode()) > MAX_FILE_NAME:
        file = f"{file[:50]}-{hashlib.sha256(file.encode()).hexdigest()[:16]}"
    return f"{LEDGER_FOLDER}/files/{file}"


@dataclass(frozen=True)
class Part:
    """One data file. `rows` is None where nobody counted them; `load_digest` is that of the load's staged records.

    `window` is the interval that a backfill loaded; `pipeline` and `run_key` are empty for files of others.
    """

    name: str
    bytes: int
    rows: int | None = None
    sha256: str = ""
    run_key: str = ""
    run_id: str = ""
    pipeline: str = ""
    load_digest: str = ""
    window: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Marker:
    """A load record, the pipeline that it is of, and who took it back."""

    pipeline: str
    record: LoadRecord
    undone_by: str = ""


@dataclass(frozen=True)
class Letters:
    """One file of dead letters."""

    name: str
    rows: int
    run_key: str
    run_id: str
    pipeline: str


@dataclass(frozen=True)
class SchemaVersion:
    """The columns of the data from one load on: names to Arrow types in words, and exactly, as Arrow IPC in base64."""

    version: int
    columns: Mapping[str, str]
    arrow: str
    run_id: str = ""
    since: str = ""

    def schema(self) -> pa.Schema:
        """Return the Arrow schema."""
        import base64

        import pyarrow as pa

        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.arrow)))


@dataclass(frozen=True)
class Manifest:
    """What is true of a target."""

    epoch: int = 0
    parts: tuple[Part, ...] = ()
    previous: tuple[Part, ...] = ()
    previous_of: str = ""
    doomed: tuple[str, ...] = ()
    states: Mapping[str, State] = field(default_factory=dict)
    markers: tuple[Marker, ...] = ()
    letters: tuple[Letters, ...] = ()
    replayed: Mapping[str, str] = field(default_factory=dict)
    schemas: tuple[SchemaVersion, ...] = ()
    pending: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the manifest's file."""
        value = {
            "format": FORMAT,
            "epoch": self.epoch,
            "parts": [_bare(asdict(part)) for part in self.parts],
            "previous": [_bare(asdict(part)) for part in self.previous],
            "previous_of": self.previous_of,
            "doomed": self.doomed,
            "states": {
                key: {"epoch": state.epoch, "cursor": state.cursor, "updated_at": _text(state.updated_at)}
                for key, state in self.states.items()
            },
            "markers": [
                {"pipeline": one.pipeline, "undone_by": one.undone_by, **_record_to_json(one.record)}
                for one in self.markers
            ],
            "dead_letters": [asdict(one) for one in self.letters],
            "replayed": self.replayed,
            "schemas": [asdict(one) for one in self.schemas],
            "pending": self.pending,
        }
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Manifest:
        """Return the manifest of a file; TerminalError when it is none that this version can read."""
        try:
            value = json.loads(data)
            if value["format"] != FORMAT:
                raise TerminalError(
                    f"{where}: the manifest has format {value['format']!r}, and this DataForge knows {FORMAT}; a newer "
                    "one has written here"
                )
            return cls(
                value["epoch"],
                tuple(Part(**part) for part in value["parts"]),
                tuple(Part(**part) for part in value["previous"]),
                value["previous_of"],
                tuple(value["doomed"]),
                {
                    key: State(one["epoch"], one["cursor"], _instant(one["updated_at"]))
                    for key, one in value["states"].items()
                },
                tuple(
                    Marker(one.pop("pipeline"), undone_by=one.pop("undone_by"), record=_record_from_json(one))
                    for one in value["markers"]
                ),
                tuple(Letters(**one) for one in value["dead_letters"]),
                value["replayed"],
                tuple(SchemaVersion(**one) for one in value["schemas"]),
                value["pending"],
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise TerminalError(
                f"{where}: the manifest can't be read ({type(error).__name__}); restore it from a backup. If there is "
                "none, remove it: the parts beside it are then taken for live, and cursors begin anew"
            ) from None

    def state(self, key: str) -> State:
        """Return cursor and epoch of a pipeline; a fresh one where it never loaded."""
        return self.states.get(key, State())

    def standing(self, pipeline: str, run_key: str) -> LoadRecord | None:
        """Return the marker of a run that was not undone, or what its live part tells of it."""
        for marker in self.markers:
            if marker.pipeline == pipeline and marker.record.run_key == run_key:
                return None if marker.record.undone_at else marker.record
        return next((told_by(part) for part in self.parts if part.run_key == run_key and part.load_digest), None)

    def named(self) -> set[str]:
        """Return the names of all files that belong to the target."""
        kept = {f"{PREVIOUS}/{part.name}" for part in self.previous}
        return {part.name for part in (*self.parts, *self.previous)} | kept | {one.name for one in self.letters}

    def marked(self, pipeline: str, record: LoadRecord, undone_by: str = "") -> tuple[Marker, ...]:
        """Return the markers with that one as the newest, in place of an older one of its run."""
        others = [one for one in self.markers if one.pipeline != pipeline or one.record.run_key != record.run_key]
        return (*others, Marker(pipeline, record, undone_by))[-MARKERS:]


def pipeline_key(dag_id: str, target: str) -> str:
    """Return by what states and markers of a pipeline and target are found."""
    return f"{dag_id}|{target}"


def told_by(part: Part) -> LoadRecord:
    """Return what a live part tells of its load, when the marker is not kept any more."""
    rows = part.rows or 0
    return LoadRecord(part.run_key, part.run_id, part.name, "append", part.load_digest, rows, 0, 0, inserted=rows)


def _record_to_json(record: LoadRecord) -> dict[str, Any]:
    value = asdict(record) | {"committed_at": _text(record.committed_at), "undone_at": _text(record.undone_at)}
    return _bare(value)


def _record_from_json(value: dict[str, Any]) -> LoadRecord:
    instants = {name: _instant(value.get(name)) for name in ("committed_at", "undone_at")}
    return LoadRecord(**{**value, **instants})


def _bare(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` without what is None: it is the default."""
    return {key: one for key, one in value.items() if one is not None}


def _text(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
