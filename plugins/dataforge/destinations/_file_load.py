"""One load into files: the data under a new name, then one swap of the manifest that makes them and all else true."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from dataforge.components.base import LoadContext, LoadReport
from dataforge.components.delivery import LoadRecord, Reject, State, Window, cursor_to_json
from dataforge.destinations._file_columns import Arranged
from dataforge.destinations._file_ledger import TRIES, Book, letters_of, too_busy, write_letters
from dataforge.destinations._file_manifest import (
    DEAD_LETTERS,
    PART,
    SCHEMAS,
    Letters,
    Manifest,
    Part,
    SchemaVersion,
    pipeline_key,
)
from dataforge.destinations._file_place import sync, temporary
from dataforge.destinations._output_path import LEDGER_FOLDER, TEMPORARY
from dataforge.errors import ConflictError, FencedError, TerminalError, TransientError


@dataclass(frozen=True)
class Piece:
    """One local file of a load, and the partition's folder that it belongs into; empty where there are none."""

    file: Path
    rows: int
    bytes: int
    sha256: str
    folder: str = ""


@dataclass(frozen=True)
class Written:
    """The data of a load in local files, not published yet; `rejects` were set aside while they were written.

    There is one piece, with no folder, unless the target is partitioned.
    """

    pieces: tuple[Piece, ...]
    arranged: Arranged
    rejects: tuple[Reject, ...] = ()

    @property
    def rows(self) -> int:
        """The rows of all pieces."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def bytes(self) -> int:
        """The bytes of all pieces."""
        return sum(piece.bytes for piece in self.pieces)


@dataclass(frozen=True)
class Terms:
    """What of a destination's config a commit goes by."""

    disposition: str
    suffix: str
    allow_empty: bool
    allow_shrink: bool
    keep_previous: bool
    partition_by: tuple[str, ...] = ()
    touched_only: bool = False


@dataclass(frozen=True)
class FileLoad:
    """One load of one run into the target of a book."""

    book: Book
    terms: Terms
    context: LoadContext

    @property
    def pipeline(self) -> str:
        """By what state and markers are found."""
        return pipeline_key(self.context.dag_id, self.context.target)

    def before(self) -> tuple[Manifest, LoadReport | None]:
        """Return what is true now, and the report of an earlier attempt if that has committed these records.

        FencedError when the records must be read again; TerminalError when they can't be loaded here.
        """
        manifest, _ = self.book.read()
        if self._done(manifest) is not None and not self.context.dry_run:
            with self.book.place.held():
                manifest, seen = self.book.read()
                if (record := self._done(manifest)) is not None:
                    if self.book.place.local and self.book.is_pending(seen):
                        self.book.swap(replace(manifest, pending={}), seen)
                    stale = self._stale(manifest)
                    self.book.tidy(manifest)
                    if self.book.place.local:
                        self.book.place.abandoned(datetime.now(timezone.utc), self.book.file or PART)
                        for name in stale:
                            self.book.place.remove(name)
                    return manifest, self._already(manifest, record)
        self._fence(manifest)
        self._refuse_other_folders(manifest)
        self._replaced(manifest, ())
        return manifest, None

    def schema_before(self, manifest: Manifest) -> SchemaVersion | None:
        """Return the columns of the data that are there."""
        return manifest.schemas[-1] if manifest.schemas else None

    def commit(self, written: Written, planned: SchemaVersion | None) -> LoadReport:
        """Publish the data and make them true, with all that belongs to them; or report what another attempt did."""
        token = secrets.token_hex(4)
        rejects = [*self.context.rejects, *written.rejects]
        self._check_rejects(rejects, len(written.rejects), written.rows)
        if self.context.dry_run:
            manifest, _ = self.book.read()
            return self._after(manifest, written, token, len(rejects), None)[1]
        published: list[str] = []
        try:
            with self.book.place.held():
                if self.book.place.local:
                    self.book.place.abandoned(datetime.now(timezone.utc), self.book.file or PART)
                return self._tries(written, planned, token, rejects, published)
        except Exception:
            # In a bucket a swap without an answer may still come true: what it names must stay.
            if self.book.place.local and published:
                with suppress(Exception):
                    named = self.book.read()[0].named()
                    for name in published:
                        if name not in named:
                            self.book.place.remove(name)
            raise

    def _tries(
        self,
        written: Written,
        planned: SchemaVersion | None,
        token: str,
        rejects: list[Reject],
        published: list[str],
    ) -> LoadReport:
        place, attempt = self.book.place, ""
        for number in range(TRIES):
            manifest, seen = self.book.read()
            if (record := self._done(manifest)) is not None:
                for name in published:
                    place.remove(name)
                self.book.tidy(manifest)
                return self._already(manifest, record)
            self._fence(manifest)
            now_there = self.schema_before(manifest)
            if now_there != planned and (now_there is None or not written.arranged.fits(now_there)):
                raise ConflictError(f"{place.url}: another load changed the columns meanwhile")
            # Another attempt of this run that has committed removes the parts it saw of ours: then they get new names.
            now = self._attempt(manifest)
            if number == 0 or now != attempt:
                attempt, token = now, (token if number == 0 else secrets.token_hex(4))
                stale = self._stale(manifest)
                after, report = self._after(manifest, written, token, len(rejects), stale)
                self._publish(written, after, token, rejects, published)
            else:
                after, report = self._after(manifest, written, token, len(rejects), self._stale(manifest, token))
            if self._make_true(manifest, after, written, seen, token):
                published.clear()
                self.book.tidy(after)
                return report
        raise too_busy(place)

    def _make_true(self, before: Manifest, after: Manifest, written: Written, seen: Any, token: str) -> bool:
        is_done = partial(self._is_done, token)
        if self.book.file:
            for part in after.previous:
                if part not in before.previous:
                    self.book.place.copy(self.book.file, part.name)
            return self.book.put(before, after, written.pieces[0].file, seen, is_done)
        # Where the answer was lost, another load may have been committed on top of ours before we looked.
        return self.book.swap(after, seen) or is_done(self.book.read()[0])

    def _is_done(self, token: str, manifest: Manifest) -> bool:
        return self._attempt(manifest) == token

    def _attempt(self, manifest: Manifest) -> str:
        for one in manifest.markers:
            if (one.pipeline, one.record.run_key) == (self.pipeline, self.context.run_key):
                return one.record.attempt
        return ""

    def _publish(
        self, written: Written, after: Manifest, token: str, rejects: list[Reject], published: list[str]
    ) -> None:
        place, context = self.book.place, self.context
        part = next((one.name for one in after.parts if token in one.name), None)
        if self.terms.partition_by:
            for piece in written.pieces:
                published.append(self._name(piece, token))
                self._publish_copy(piece.file, published[-1])
        elif part is not None and not self.book.file:
            earlier = next((name for name in reversed(published) if name.startswith(PART)), None)
            published.append(part)
            place.publish(Path(place.named(earlier)) if earlier and place.local else written.pieces[0].file, part)
        if rejects:
            name = self._letters_name(token)
            local = context.scratch / f"{token}.rejects"
            local.parent.mkdir(parents=True, exist_ok=True)
            now = datetime.now(timezone.utc)
            write_letters(letters_of(rejects, f"{self.pipeline}\n{context.run_key}", context.run_id, now), local)
            published.append(name)
            if place.local:
                target = Path(place.named(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                moved = target.with_name(f".{target.name}.tmp")
                moved.write_bytes(local.read_bytes())
                place.publish(moved, name)
            else:
                place.publish(local, name)
            local.unlink()

    def _publish_copy(self, file: Path, name: str) -> None:
        """Publish a file of scratch, which another try may need again and which may lie in another file system."""
        place = self.book.place
        if not place.local:
            place.publish(file, name)
            return
        hidden = Path(place.named(f".{PART}{self.context.run_key}.{secrets.token_hex(4)}{TEMPORARY}"))
        hidden.parent.mkdir(parents=True, exist_ok=True)
        with temporary(hidden):
            shutil.copyfile(file, hidden)
            sync(hidden)
            place.publish(hidden, name)

    def _name(self, piece: Piece, token: str) -> str:
        name = self.book.file or f"{PART}{self.context.run_key}-{token}{self.terms.suffix}"
        return f"{piece.folder}/{name}" if piece.folder else name

    def _letters_name(self, token: str) -> str:
        folder = f"{self.book.beside}." if self.book.file else f"{DEAD_LETTERS}/"
        return f"{folder}{self.context.run_key}-{token}.rejects"

    # ---- What is asked of the manifest

    def _done(self, manifest: Manifest) -> LoadRecord | None:
        """Return the marker of an attempt that has committed these records, if its data are still what it wrote."""
        record = manifest.standing(self.pipeline, self.context.run_key)
        if record is None or self.context.digest is None or record.digest != self.context.digest:
            return None
        for part in manifest.parts:
            if part.run_key != self.context.run_key:
                continue
            found = self.book.place.stat(part.name)
            same = found is not None and found.bytes == part.bytes
            if same and self.book.file:
                identity = self.book.place.identity(part.name)
                same = identity == part.sha256 if self.book.place.local else bool(identity)
            if not same:
                name = self.book.place.named(part.name)
                self.context.log("the data of an earlier load are damaged and loaded again", target=name)
                return None
        return record

    def _fence(self, manifest: Manifest) -> None:
        step, context = self.context.cursor, self.context
        record = manifest.standing(self.pipeline, context.run_key)
        if step is None or step.expected is None:
            return
        if record is not None and record.digest == context.digest:
            return  # the same records again, whose data were lost
        if (manifest.state(self.pipeline).cursor or {}) != cursor_to_json(step.expected):
            raise FencedError(
                f"fenced off: the cursor of {context.dag_id!r} for {self.book.place.url} was moved since these records "
                "were read; they are read again"
            )
        advances = step.mode == "advance" and (record is not None and (record.cursor or {}).get("mode") == "advance")
        if advances and record is not None and record.rows:
            raise FencedError(
                f"fenced off: run {context.run_id!r} was loaded before, and these are records after its own; they are "
                "read again within its bounds"
            )

    def _refuse_other_folders(self, manifest: Manifest) -> None:
        """Raise TerminalError where parts that stay lie in folders of other columns: no reader could read both."""
        if self.terms.disposition == "replace" and not self.terms.touched_only:
            return
        wanted = tuple(quote(name, safe=" ") for name in self.terms.partition_by)
        for part in manifest.parts:
            there = tuple(folder.partition("=")[0] for folder in part.name.split("/")[:-1])
            if there != wanted and not self.book.file:
                shown = ", ".join(map(unquote, there)) or "nothing"
                raise TerminalError(
                    f"{self.book.place.url} is partitioned by {shown}, and the config says "
                    f"{', '.join(self.terms.partition_by) or 'nothing'}; write to another folder, or replace all of it"
                )

    def _replaced(self, manifest: Manifest, pieces: Iterable[Piece]) -> tuple[Part, ...]:
        """Return the live parts that this load replaces; TerminalError when rows of an interval can't be cut out."""
        if self.terms.disposition == "replace":
            if not self.terms.touched_only:
                return manifest.parts
            touched = {piece.folder for piece in pieces}
            return tuple(
                part
                for part in manifest.parts
                if part.name.rpartition("/")[0] in touched or part.run_key == self.context.run_key
            )
        own = [part for part in manifest.parts if part.run_key == self.context.run_key]
        step = self.context.cursor
        if step is None or step.mode != "window" or step.window is None:
            return tuple(own)
        for part in manifest.parts:
            if part in own or part.pipeline not in ("", self.pipeline):
                continue
            relation = _relation(part.window, step.window)
            if relation == "inside":
                own.append(part)
            elif relation == "overlaps":
                raise TerminalError(
                    f"the interval {step.window.start} to {step.window.end} can't be loaded again into "
                    f"{self.book.place.url}: {part.name!r} may hold rows of it among others, and rows can't be cut out "
                    "of files. Write a folder for each interval (a path with ${data_interval_start}), or choose a "
                    "table destination"
                )
        return tuple(own)

    def _guard(self, manifest: Manifest, rows: int, gone: tuple[Part, ...]) -> None:
        """Refuse a replace that would leave nothing, or fewer than half of the rows, without leave to."""
        if self.terms.disposition != "replace" or not gone:
            return
        manifest = replace(manifest, parts=gone)
        before = self.book.rows_before(manifest)
        shown = "an unknown number of rows" if before is None else f"{before:,} rows"
        where = self.book.place.named(self.book.file) if self.book.file else self.book.place.url
        if rows == 0 and before != 0 and not self.terms.allow_empty:
            raise TerminalError(
                f"replacing {where} would leave no rows, where there are {shown}; nothing was changed. Set allow_empty "
                "to true if that is right"
            )
        if before is not None and 0 < rows * 2 < before and not self.terms.allow_shrink:
            raise TerminalError(
                f"replacing {where} would leave {rows:,} of {shown}, fewer than half; nothing was changed. Set "
                "allow_shrink to true if that is right"
            )

    def _check_rejects(self, rejects: list[Reject], own: int, rows: int) -> None:
        read = self.context.rows_read if self.context.rows_read is not None else rows + len(rejects)
        if own and (message := self.context.limit.exceeded(len(rejects), read)):
            raise TerminalError(message)

    def _stale(self, manifest: Manifest, token: str = "") -> list[str]:
        """Return the parts of this run that killed attempts left behind, or that a slower twin has just written."""
        if self.book.file:
            return []
        nested = bool(self.terms.partition_by)
        found = self.book.debris(manifest, f"{PART}{self.context.run_key}-", nested=nested)
        return [name for name in found if not token or token not in name]

    # ---- What will be true

    def _after(
        self,
        manifest: Manifest,
        written: Written,
        token: str,
        rejected: int,
        stale: list[str] | None,
    ) -> tuple[Manifest, LoadReport]:
        context, terms, book = self.context, self.terms, self.book
        gone = self._replaced(manifest, written.pieces)
        self._guard(manifest, written.rows, gone)
        kept = [part for part in manifest.parts if part not in gone]
        step, now = context.cursor, datetime.now(timezone.utc)
        window = step.window if step and step.mode == "window" else None
        own = [
            Part(
                self._name(piece, token),
                piece.bytes,
                piece.rows,
                piece.sha256,
                context.run_key,
                context.run_id,
                self.pipeline,
                context.digest or "",
                {"field": window.field, "start": window.start, "end": window.end, "type": window.type}
                if window
                else None,
            )
            for piece in written.pieces
        ]
        # An append without rows leaves a part only where its columns tell something new.
        parts = [*kept, *own] if written.rows or not kept or terms.disposition == "replace" else kept
        previous, previous_of, doomed = self._previous(manifest, gone, token)
        state = manifest.state(self.pipeline)
        cursor = cursor_to_json(step.after) if step and step.mode == "advance" else state.cursor
        before = self.schema_before(manifest)
        version = written.arranged.version(before, context.run_id, now.isoformat())
        deleted = sum(one.rows or 0 for one in gone)
        record = LoadRecord(
            context.run_key,
            context.run_id,
            context.target,
            terms.disposition,
            context.digest or hashlib.sha256("".join(piece.sha256 for piece in written.pieces).encode()).hexdigest(),
            written.rows,
            rejected,
            state.epoch + 1,
            now,
            inserted=written.rows,
            deleted=deleted,
            cursor=step.to_marker() if step else None,
            schema_version=version.version,
            revision=context.revision,
            actor=context.actor,
            attempt=token,
        )
        letters = [one for one in manifest.letters if one.run_key != context.run_key]
        doomed += [one.name for one in manifest.letters if one.run_key == context.run_key]
        if rejected:
            letters.append(Letters(self._letters_name(token), rejected, context.run_key, context.run_id, self.pipeline))
        taken = [id_ for id_ in context.replays if manifest.replayed.get(id_, context.run_key) != context.run_key]
        if taken:
            raise TransientError(
                f"{len(taken)} of {len(context.replays)} dead letters were replayed by another load meanwhile; list "
                "them again"
            )
        after = replace(
            manifest,
            epoch=manifest.epoch + 1,
            parts=tuple(parts),
            previous=previous,
            previous_of=previous_of,
            doomed=tuple(dict.fromkeys([*doomed, *(stale or ())])),
            states={**manifest.states, self.pipeline: State(state.epoch + 1, cursor, now)},
            markers=manifest.marked(self.pipeline, record),
            letters=tuple(letters),
            replayed={**manifest.replayed, **dict.fromkeys(context.replays, context.run_key)},
            schemas=(manifest.schemas if version == before else (*manifest.schemas, version)[-SCHEMAS:]),
            pending={},
        )
        report = LoadReport(
            book.place.url if terms.partition_by else book.place.named(self._name(written.pieces[0], token)),
            written.rows,
            written.bytes,
            created=not any(one.run_key == context.run_key for one in gone) and not (book.file and manifest.parts),
            inserted=written.rows,
            deleted=deleted,
            rejected=rejected,
            schema_version=version.version,
            schema_notes=written.arranged.notes,
        )
        return after, report

    def _previous(
        self, manifest: Manifest, gone: tuple[Part, ...], token: str
    ) -> tuple[tuple[Part, ...], str, list[str]]:
        """Return what is kept for an undo, of which load, and what is removed for good."""
        if self.terms.disposition != "replace":
            return manifest.previous, manifest.previous_of, [part.name for part in gone]
        file, run_key = self.book.file, self.context.run_key
        older = [part.name if file else f"{LEDGER_FOLDER}/previous/{part.name}" for part in manifest.previous]
        removed = [] if file else [part.name for part in gone]
        if not self.terms.keep_previous:
            return (), "", [*older, *removed]
        if manifest.previous_of == run_key:  # this run again: what it replaced the first time is still the one before
            # unless it touches other partitions now
            others = () if file else tuple(part for part in gone if part.run_key != run_key)
            return (*manifest.previous, *others), run_key, [name for name in removed if name not in _names(others)]
        if not file:
            return gone, run_key, older
        found = self.book.place.stat(file)
        if found is None:
            return (), "", older
        kept = f"{self.book.beside}.previous-{token}"
        rows = self.book.rows_before(manifest)
        before = gone[0] if gone else Part(file, found.bytes)
        return (replace(before, name=kept, bytes=found.bytes, rows=rows),), run_key, older

    def _already(self, manifest: Manifest, record: LoadRecord) -> LoadReport:
        part = next((one for one in manifest.parts if one.run_key == self.context.run_key), None)
        place = self.book.place
        return LoadReport(
            place.named(part.name) if part and not self.terms.partition_by else place.url,
            record.rows,
            sum(one.bytes for one in manifest.parts if one.run_key == self.context.run_key),
            inserted=record.inserted,
            updated=record.updated,
            deleted=record.deleted,
            rejected=record.rejected,
            already=True,
            schema_version=record.schema_version,
        )


def _names(parts: Iterable[Part]) -> set[str]:
    return {part.name for part in parts}


def _relation(part: Mapping[str, str] | None, window: Window) -> str:
    """Return how the rows of a part lie to an interval: "inside", "apart", or "overlaps", which is also "unknown"."""
    if part is None or part["field"] != window.field:
        return "overlaps"
    if (part["start"], part["end"]) == (window.start, window.end):
        return "inside"
    ends = [_ordered(text, window.type) for text in (part["start"], part["end"], window.start, window.end)]
    if part["type"] != window.type or any(end is None for end in ends):
        return "overlaps"
    start, end, first, last = ends
    try:
        inside, apart = first <= start and end <= last, end <= first or last <= start
    except TypeError:  # an instant with an offset and one without
        return "overlaps"
    return "inside" if inside else "apart" if apart else "overlaps"


def _ordered(text: str, type_: str) -> Any:
    """Return a value that is ordered as the text's type is; None where we don't know the order."""
    name = type_.upper()
    try:
        if name.startswith(("TIMESTAMP", "DATE")):
            return datetime.fromisoformat(text.replace("Z", "+00:00"))
        if name.startswith(("DECIMAL", "DOUBLE", "FLOAT", "REAL")) or name.endswith("INT") or name == "INTEGER":
            return Decimal(text)
    except (ValueError, InvalidOperation):
        return None
    return None
