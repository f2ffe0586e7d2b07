"""The ledger of the file destinations: reading it, swapping it, and everything that is done to it between loads."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

from dataforge.components import seen_files
from dataforge.components.delivery import CursorStep, DeadLetter, LoadRecord, Reject, State, Undone
from dataforge.components.scratch import claimed
from dataforge.destinations._file_manifest import (
    DEAD_LETTERS,
    EARLIER,
    MARKERS,
    OURS,
    OWN,
    PART,
    PREVIOUS,
    Letters,
    Manifest,
    Part,
    ledger_of,
    told_by,
)
from dataforge.destinations._file_place import Place, Seen, sha256_of, sync
from dataforge.destinations._output_path import TEMPORARY
from dataforge.errors import ConflictError, FencedError, TerminalError
from dataforge.settings import get_settings

TRIES = 8
"""How often a commit begins again after another one was faster."""

GRACE = timedelta(hours=1)
"""How old something that nobody names must be before `sweep` takes it for debris, where a load may still work on it."""


@dataclass(frozen=True)
class Book:
    """The manifest of one target in its place; `file` is the name of a single file, empty for a dataset folder."""

    place: Place
    file: str = ""

    @property
    def beside(self) -> str:
        """Where the names of what belongs to the target, other than its data, begin."""
        return ledger_of(self.file)

    def read(self) -> tuple[Manifest, Seen]:
        """Return what is true now, and what a swap must be based on."""
        # The file's version comes first: a load that is committed after that makes the replacing of the file fail.
        version = self.place.version(self.file) if self.file else None
        seen = replace(self.place.ledger(), file=version)
        if seen.data is None:
            return self._adopted(), seen
        return self._settled(Manifest.from_json(seen.data, self.place.url)), seen

    def _settled(self, manifest: Manifest) -> Manifest:
        """Return the manifest of the file that is there, where a load was killed before it could say so."""
        if manifest.pending:
            identity = self.place.identity(self.file)
            if identity is not None and identity in manifest.pending:
                data = json.dumps(manifest.pending[identity]).encode()
                return Manifest.from_json(data, self.place.url)
        return manifest

    def swap(self, manifest: Manifest, seen: Seen) -> bool:
        """Make `manifest` true; False when another commit was faster."""
        return self.place.swap(manifest.to_json(), seen)

    def tidy(self, manifest: Manifest) -> list[str]:
        """Finish what follows a commit, and what a killed load left undone of it; return what was removed or moved."""
        if not manifest.doomed and (self.file or not manifest.previous):
            return []
        there = self.place.listing("", PART) if not self.file else {}

        def is_there(name: str) -> bool:
            return name in there or ("/" in name and self.place.stat(name) is not None)

        done = [name for name in manifest.doomed if is_there(name)]
        for name in done:
            self.place.remove(name)
        if not self.file:
            for part in manifest.previous:
                if is_there(part.name):
                    self.place.copy(part.name, f"{PREVIOUS}/{part.name}")
                    self.place.remove(part.name)
                    done.append(part.name)
        return done

    def debris(self, manifest: Manifest, prefix: str = PART, *, nested: bool = True) -> list[str]:
        """Return the parts of ours that the manifest does not name, of those whose names begin so.

        With `nested`, those in the folders of partitions too.
        """
        named = manifest.named()
        there = {**self.place.listing("", prefix), **(self.place.partitions(prefix) if nested else {})}
        found = []
        for name in there:
            file = name.rpartition("/")[2]
            if name not in named and (OURS.match(file) or (prefix != PART and OWN.match(file))):
                found.append(name)
        return found

    def is_pending(self, seen: Seen) -> bool:
        """Whether a load of the single file was begun and not finished."""
        return seen.data is not None and bool(Manifest.from_json(seen.data, self.place.url).pending)

    def put(
        self, before: Manifest, after: Manifest, data: Path, seen: Seen, is_done: Callable[[Manifest], bool]
    ) -> bool:
        """Put `data` in the place of the single file and make `after` true, as one; False when another was faster."""
        place = self.place
        token = place.token(data)
        waiting = {} if place.local else dict(before.pending)
        waiting[token] = json.loads(replace(after, pending={}).to_json())
        if not self.swap(replace(before, pending=waiting), seen):
            return False
        if not place.replace(data, self.file, token, seen.file) and place.identity(self.file) != token:
            return False
        for _ in range(TRIES):
            manifest, seen = self.read()
            if not is_done(manifest):
                raise FencedError(
                    f"fenced off: {place.named(self.file)} was written or reset by someone else meanwhile"
                )
            if not self.is_pending(seen) or self.swap(replace(manifest, pending={}), seen):
                return True
        return True  # it is committed; the next load writes it down

    def put_back(
        self, before: Manifest, after: Manifest, name: str, seen: Seen, is_done: Callable[[Manifest], bool]
    ) -> bool:
        """Put a kept copy in the place of the single file and make `after` true."""
        with self.local_copy(name) as copy:
            return self.put(before, after, copy, seen, is_done)

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Give a copy of a file, in the file system in which it could be renamed to its place."""
        folder, _, start = self.beside.rpartition("/")
        copy = f"{folder}/.{start}.{secrets.token_hex(4)}{TEMPORARY}"
        with _scratch(self.place) as scratch:
            local = Path(self.place.named(copy)) if self.place.local else scratch / "copy"
            try:
                self.place.fetch(name, local)
                if self.place.local:
                    sync(local)
                yield local
            finally:
                local.unlink(missing_ok=True)

    def _adopted(self) -> Manifest:
        """Return the manifest of a target to which DataForge wrote before there were manifests."""
        if self.file:
            found = self.place.stat(self.file)
            return Manifest(parts=(Part(self.file, found.bytes, self._rows(self.file)),) if found else ())
        parts = [
            Part(name, listed.bytes, self._rows(name), run_key=match[1])
            for name, listed in sorted(self.place.listing("", PART).items())
            if (match := EARLIER.match(name))
        ]
        return Manifest(parts=tuple(parts))

    def _rows(self, name: str) -> int | None:
        """Return the rows that a Parquet file's end tells; None for other files."""
        import struct

        import pyarrow as pa
        import pyarrow.parquet as pq

        edges = self.place.edges(name, 8)
        if edges is None or edges[1][-4:] != b"PAR1":
            return 0 if edges is not None and not edges[0] else None
        (length,) = struct.unpack("<I", edges[1][:4])
        footer = self.place.edges(name, length + 8)
        try:
            return pq.read_metadata(pa.BufferReader(b"PAR1" + footer[1])).num_rows if footer else None
        except (pa.ArrowInvalid, OSError):
            return None

    def rows_before(self, manifest: Manifest) -> int | None:
        """Return how many rows are live; None where some part was never counted, or a single file was changed."""
        total = 0
        for part in manifest.parts:
            rows = part.rows
            found = self.place.stat(part.name) if self.file else None
            if self.file and found is None:
                rows = 0
            elif found is not None and found.bytes != part.bytes:
                rows = self._rows(part.name)
            if rows is None:
                return None
            total += rows
        return total


@dataclass(frozen=True)
class FileLedger:
    """The ledger of one pipeline in a place; see `delivery.Ledger`."""

    book: Book
    pipeline: str
    target: str

    def state(self) -> State:
        """Return cursor and epoch."""
        return self.book.read()[0].state(self.pipeline)

    def load(self, run_id: str) -> LoadRecord | None:
        """Return the marker of a run that stands."""
        manifest, _ = self.book.read()
        for marker in reversed(manifest.markers):
            if (marker.pipeline, marker.record.run_id) == (self.pipeline, run_id):
                return None if marker.record.undone_at else marker.record
        parts = (part for part in manifest.parts if (part.pipeline, part.run_id) == (self.pipeline, run_id))
        return next((told_by(part) for part in parts if part.load_digest), None)

    def loads(self, limit: int = 50) -> list[LoadRecord]:
        """Return the newest markers first; at most MARKERS of the target are kept."""
        manifest, _ = self.book.read()
        return [one.record for one in reversed(manifest.markers) if one.pipeline == self.pipeline][:limit]

    def set_cursor(self, cursor: Mapping[str, Any] | None, actor: str) -> None:  # noqa: ARG002 - the caller logs it
        """Put the cursor there; a load that was read from another one is fenced off."""

        def changed(manifest: Manifest) -> Manifest:
            state = State(manifest.state(self.pipeline).epoch + 1, cursor, datetime.now(timezone.utc))
            return replace(manifest, states={**manifest.states, self.pipeline: state})

        self._change(changed)

    def dead_letters(
        self, run_id: str | None = None, *, pending: bool = False, ids: Iterable[str] = (), limit: int = 1000
    ) -> list[DeadLetter]:
        """Return dead letters, oldest first."""
        manifest, _ = self.book.read()
        wanted = set(ids)
        found: list[DeadLetter] = []
        for letters in manifest.letters:
            if letters.pipeline != self.pipeline or (run_id is not None and letters.run_id != run_id):
                continue
            for letter in _read_letters(self.book.place, letters):
                by = manifest.replayed.get(letter.id, "")
                if (pending and by) or (wanted and letter.id not in wanted):
                    continue
                found.append(replace(letter, replayed_by=by))
                if len(found) == limit:
                    return found
        return found

    def dead_letter_counts(self) -> tuple[int, int]:
        """Return how many dead letters there are, and how many of them were not replayed yet."""
        manifest, _ = self.book.read()
        mine = [one for one in manifest.letters if one.pipeline == self.pipeline]
        if not manifest.replayed:
            return (total := sum(one.rows for one in mine)), total
        replayed = [letter.id in manifest.replayed for one in mine for letter in _read_letters(self.book.place, one)]
        return len(replayed), replayed.count(False)

    def undo(self, run_id: str, actor: str) -> Undone:
        """Take a load back: an append's parts go; a replace's previous data come back, where they were kept."""
        with self.book.place.held():
            for _ in range(TRIES):
                manifest, seen = self.book.read()
                after, answer = taken_back(manifest, self.pipeline, run_id, self.target, actor, self.book.file)
                if self.book.file:
                    kept = manifest.previous[0].name
                    done = self.book.put_back(manifest, after, kept, seen, partial(_is_undone, run_id, self.pipeline))
                else:
                    done = self._put_back(manifest, after, seen)
                if done:
                    self.book.tidy(after)
                    return answer
        raise too_busy(self.book.place)

    def _put_back(self, before: Manifest, after: Manifest, seen: Seen) -> bool:
        place = self.book.place
        back = [part for part in after.parts if part in before.previous]
        for part in back:
            if place.stat(part.name) is None:
                place.copy(f"{PREVIOUS}/{part.name}", part.name)
        if not self.book.swap(after, seen):
            return False
        for part in back:
            place.remove(f"{PREVIOUS}/{part.name}")
        return True

    def sweep(self) -> list[str]:
        """Finish killed loads and remove their debris: what is named like ours and by no manifest."""
        place = self.book.place
        older_than = datetime.now(timezone.utc) - GRACE
        with place.held():
            manifest, seen = self.book.read()
            gone = self.book.tidy(manifest) if seen.data is not None else []
            if place.local and seen.data is not None and self.book.is_pending(seen):
                self.book.swap(replace(manifest, pending={}), seen)  # in a bucket, a load may still be under way
            named = manifest.named()
            candidates: list[str] = []
            if self.book.file:
                own = re.compile(rf"{re.escape(self.book.beside)}\.(previous|[A-Za-z0-9_-]+)-[0-9a-f]{{8}}(\.rejects)?")
                folder, _, start = self.book.beside.rpartition("/")
                candidates += [name for name in place.listing(folder, start) if own.fullmatch(name)]
            else:
                candidates += self.book.debris(manifest)
                candidates += [*place.listing(PREVIOUS, PART), *place.listing(DEAD_LETTERS, "")]
                candidates += [f"{PREVIOUS}/{name}" for name in place.partitions(PART, f"{PREVIOUS}/")]
            for name in candidates:
                listed = place.stat(name) if name not in named else None
                if listed and (place.local or listed.changed < older_than):
                    place.remove(name)
                    gone.append(name)
            gone += place.abandoned(older_than, self.book.file or PART)
        return [place.named(name) for name in dict.fromkeys(gone)]

    def verify(self) -> list[str]:
        """Return what is wrong with the live data: parts that are missing or have another content; reads all of it."""
        wrong = []
        manifest, _ = self.book.read()
        with _scratch(self.book.place) as scratch:
            for part in manifest.parts:
                copy = scratch / "part"
                try:
                    self.book.place.fetch(part.name, copy)
                except FileNotFoundError:
                    wrong.append(f"{self.book.place.named(part.name)} is missing")
                    continue
                if part.sha256 and sha256_of(copy) != part.sha256:
                    wrong.append(f"{self.book.place.named(part.name)} was changed after it was loaded")
        return wrong

    def _change(self, change: Callable[[Manifest], Manifest]) -> None:
        with self.book.place.held():
            for _ in range(TRIES):
                manifest, seen = self.book.read()
                if self.book.swap(replace(change(manifest), epoch=manifest.epoch + 1, pending={}), seen):
                    return
        raise too_busy(self.book.place)


def _is_undone(run_id: str, pipeline: str, manifest: Manifest) -> bool:
    return any(
        one.record.undone_at is not None
        for one in manifest.markers
        if (one.pipeline, one.record.run_id) == (pipeline, run_id)
    )


def taken_back(
    manifest: Manifest, pipeline: str, run_id: str, target: str, actor: str, file: str = ""
) -> tuple[Manifest, Undone]:
    """Return the manifest without a load, and what that means; TerminalError that says why it can't be.

    `file` is the name of a single file.
    """
    found = [one.record for one in manifest.markers if (one.pipeline, one.record.run_id) == (pipeline, run_id)]
    if not found:
        raise TerminalError(f"the ledger of {target} has no load of run {run_id!r}; it keeps the newest {MARKERS}")
    record = found[-1]
    if record.undone_at:
        raise TerminalError(f"run {run_id!r} was taken back before, at {record.undone_at:%Y-%m-%d %H:%M} UTC")
    kept: list[Part] = []
    previous, previous_of = manifest.previous, manifest.previous_of
    gone = [part for part in manifest.parts if part.run_key == record.run_key]
    doomed = [part.name for part in gone if not file]
    if record.disposition != "append":
        if not gone:
            raise TerminalError(
                f"the replace of run {run_id!r} can't be taken back: another load has replaced its data since; take "
                "that one back first"
            )
        if previous_of != record.run_key:
            raise TerminalError(
                f"the replace of run {run_id!r} can't be taken back: the data before it were not kept. Set "
                "keep_previous to true for later loads"
            )
        kept = [replace(part, name=file or part.name) for part in previous]
        doomed += [part.name for part in previous if file]
        previous, previous_of = (), ""
    parts = [part for part in manifest.parts if part not in gone] + kept
    now = datetime.now(timezone.utc)
    state, moved = manifest.state(pipeline), False
    cursor, note = state.cursor, ""
    step = CursorStep.from_json(record.cursor)
    if step is not None and step.mode != "window":
        cursor, whole = seen_files.taken_back(state.cursor, step)
        moved = whole and dict(step.before) != dict(step.after)
        if not whole:
            note = "the cursor stays where later loads moved it: load the run again to get its records back"
    letters = [one for one in manifest.letters if one.run_key == record.run_key]
    after = replace(
        manifest,
        epoch=manifest.epoch + 1,
        parts=tuple(parts),
        previous=previous,
        previous_of=previous_of,
        doomed=(*doomed, *(one.name for one in letters)),
        states={**manifest.states, pipeline: State(state.epoch + 1, cursor, now)},
        markers=manifest.marked(pipeline, replace(record, undone_at=now), actor),
        letters=tuple(one for one in manifest.letters if one not in letters),
        replayed={id_: by for id_, by in manifest.replayed.items() if by != record.run_key},
        pending={},
    )
    removed = sum(part.rows or 0 for part in gone)
    restored = sum(part.rows or 0 for part in kept)
    return after, Undone(run_id, target, removed, restored, moved, note)


def letters_of(rejects: Iterable[Reject], seed: str, run_id: str, now: datetime) -> Iterator[DeadLetter]:
    """Yield dead letters; the id is made of the run, the record and its number, so that a repeat gives the same."""
    for number, reject in enumerate(rejects):
        text = f"{seed}\n{number}\n{reject.record}"
        yield DeadLetter(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32], run_id, reject, now)


def write_letters(letters: Iterable[DeadLetter], path: Path) -> int:
    """Write dead letters as NDJSON; return how many."""
    count = 0
    with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for letter in letters:
            kept = letter.kept_at.isoformat() if letter.kept_at else None
            value = {"id": letter.id, "run_id": letter.run_id, "kept_at": kept, **asdict(letter.reject)}
            file.write(json.dumps(value, separators=(",", ":")) + "\n")  # ASCII: a lone surrogate stays an escape
            count += 1
    return count


def _read_letters(place: Place, letters: Letters) -> Iterator[DeadLetter]:
    try:
        data = place.read(letters.name)
    except FileNotFoundError:
        raise TerminalError(f"{place.named(letters.name)} is missing; it held {letters.rows} dead letters") from None
    for line in data.splitlines():
        value = json.loads(line)
        id_, run_id, kept = (value.pop(name) for name in ("id", "run_id", "kept_at"))
        yield DeadLetter(id_, run_id, Reject(**value), datetime.fromisoformat(kept) if kept else None)


def too_busy(place: Place) -> ConflictError:
    """Return the error for a commit that others were always faster than."""
    return ConflictError(f"{place.url}: other loads were committed {TRIES} times meanwhile")


def _scratch(place: Place) -> AbstractContextManager[Path]:
    """Give a local folder for copies, which a sweep removes after a kill."""
    return claimed(get_settings().scratch_folder, place.named(""))
