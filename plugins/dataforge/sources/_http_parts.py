"""Reading an API part by part: the values of a list, the records of a parent, spans of time, and what they fill in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from dataforge.components.base import CursorBounds, ExtractContext, JsonValue
from dataforge.components.bounds import family, is_number, parse_instant
from dataforge.components.placeholders import fill_cursor
from dataforge.errors import TerminalError
from dataforge.sources import _json_text
from dataforge.sources._http import Client
from dataforge.sources._http_options import (
    BETWEEN,
    ListPartition,
    ParentPartition,
    Partition,
    Position,
    Slices,
)
from dataforge.sources._http_pages import Budget, Endpoint, Walk, place, plain

MAX_PARENTS = 1_000_000
"""Keys of one parent that are kept in memory."""
MAX_SLICES = 100_000


@dataclass(frozen=True)
class Part:
    """What one walk through the pages is about.

    `values` fill `{name}`; `params` go to a place each; `columns` are added to every record.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    params: tuple[tuple[Position, str, JsonValue], ...] = ()
    columns: Mapping[str, JsonValue] = field(default_factory=dict)

    def extended(self, name: str, value: JsonValue, partition: Partition, columns: Mapping[str, JsonValue]) -> Part:
        """Return this part narrowed by one more value."""
        params = ((partition.location, partition.param, value),) if partition.param else ()
        added = {**columns, **({partition.column: value} if partition.column else {})}
        return Part({**self.values, name: value}, (*self.params, *params), {**self.columns, **added})

    def endpoint(self, client: Client, stream: Any, *, form: bool = False) -> Endpoint:
        """Return what to ask for `stream` (endpoint, method, headers, query, body, records) in this part."""
        url = self._in_path(client.url(stream.endpoint))
        query = {name: self._filled(value) for name, value in stream.query.items()}
        headers = {name: _header(name, str(self._filled(text))) for name, text in stream.headers.items()}
        body = self._filled(stream.body) if stream.body is not None else None
        for location, name, value in self.params:
            if location == "query":
                query[name] = value
            elif location == "header":
                headers[name] = _header(name, str(plain(value)))
            else:
                body = place(body or {}, {name: value}, form=form)
        return Endpoint(url, stream.method, headers, query, body, form, stream.records)

    def _in_path(self, url: str) -> str:
        def fill(name: str) -> str:
            text = str(plain(self.values[name]))
            if text in ("", ".", ".."):
                raise TerminalError(f"{{{name}}} is {text!r}, which can't stand in a path")
            return quote(text, safe="")

        return BETWEEN.sub(lambda match: fill(match[1]) if match[1] in self.values else match[0], url)

    def _filled(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str) and "{" in value:
            whole = BETWEEN.fullmatch(value)
            if whole and whole[1] in self.values:
                return self.values[whole[1]]
            known = self.values
            return BETWEEN.sub(lambda match: str(plain(known[match[1]])) if match[1] in known else match[0], value)
        if isinstance(value, Mapping):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._filled(item) for item in value)
        return value


@dataclass(frozen=True)
class Reader:
    """What reading the parts needs of the source."""

    client: Client
    context: ExtractContext
    budget: Budget
    form: bool

    def parts(self, partitions: tuple[Partition, ...], slices: Slices | None) -> Iterator[Part]:
        """Yield one part after the other, the outermost partition changing slowest and the time fastest."""
        spans = tuple(_spans(slices, self.context.cursor)) if slices else ()
        for part in self._nested(partitions, Part(), 0):
            if slices is None:
                yield part
            for start, end in spans:
                yield _in_span(part, slices, start, end)  # type: ignore[arg-type]  # there are none without slices

    def _nested(self, partitions: tuple[Partition, ...], outer: Part, depth: int) -> Iterator[Part]:
        if depth == len(partitions):
            yield outer
            return
        partition = partitions[depth]
        if isinstance(partition, ListPartition):
            found: Iterator[tuple[JsonValue, Mapping[str, JsonValue]]] = ((value, {}) for value in partition.values)
        else:
            found = self._parents(partition, outer, self.context.scratch / f"parents-{depth}.ndjson")
        for value, columns in found:
            yield from self._nested(partitions, outer.extended(partition.name, value, partition, columns), depth + 1)

    def _parents(
        self, partition: ParentPartition, outer: Part, path: Path
    ) -> Iterator[tuple[JsonValue, Mapping[str, JsonValue]]]:
        """Yield each distinct key of the parent's records with the columns that it gives.

        All parents are read before the first child is: pages must not shift while their children take their time.
        """
        stream = filled(partition, self.context.cursor)
        with path.open("w+b") as out:
            endpoint = outer.endpoint(self.client, stream, form=self.form)
            for _ in Walk(self.client, endpoint, partition.pagination, self.budget).pages(self.context, out):
                pass
            out.seek(0)
            seen: set[JsonValue] = set()
            missing = 0
            for line in out:
                key = _scalar(line, partition.key)
                if key is None:
                    missing += bool(line.strip())
                    continue
                if key in seen:
                    continue
                seen.add(key)
                if len(seen) > MAX_PARENTS:
                    raise TerminalError(f"partition {partition.name!r} has more than {MAX_PARENTS} parents")
                yield key, {name: _scalar(line, place) for name, place in partition.columns.items()}
        if missing:
            self.context.log("parents left out", partition=partition.name, records=missing, reason="they have no key")


def filled(stream: Any, bounds: CursorBounds | None) -> Any:
    """Return a stream's model with every `${cursor}` in its query and body filled in."""
    try:
        changed = {name: fill_cursor(getattr(stream, name), bounds) for name in ("query", "body")}
    except ValueError as error:
        raise TerminalError(f"'${{cursor}}' can't be filled in: {error}") from None
    return stream.model_copy(update=changed)


class Widened:
    """A file of records one a line that adds columns to the front of each record."""

    def __init__(self, out: IO[bytes], columns: Mapping[str, JsonValue]) -> None:
        self._out = out
        self._front = json.dumps(dict(columns), ensure_ascii=False).encode()[:-1]
        self._names = tuple(json.dumps(name, ensure_ascii=False).encode() for name in columns)
        self.seek: Callable[..., int] = out.seek
        self.read: Callable[..., bytes] = out.read

    def write(self, block: bytes) -> int:
        """Write whole lines."""
        for line in block.splitlines():
            record = line.strip()
            if record[:1] != b"{":
                if record:
                    raise TerminalError("columns can't be added: a record is no object")
                continue
            for name in self._names:
                if name in record and _has_key(record, name):
                    raise TerminalError(f"column {name.decode()} can't be added: records have one of that name")
            rest = record[1:].lstrip()
            self._out.write(self._front + (b"" if rest[:1] == b"}" else b", ") + rest + b"\n")
        return len(block)


def _has_key(record: bytes, name: bytes) -> bool:
    import msgspec

    return json.loads(name) in msgspec.json.decode(record, type=dict[str, msgspec.Raw])


def _scalar(line: bytes, path: str) -> JsonValue:
    """Return the value at a path of a record, None when there is none; a list or object is an error."""
    if not line.strip():
        return None
    try:
        text = _json_text.value_at(line, path)
    except ValueError as error:
        raise TerminalError(f"a parent's record is no JSON: {error}") from None
    value = json.loads(text) if text is not None else None
    if isinstance(value, dict | list):
        raise TerminalError(f"the parent's value at {path!r} is {type(value).__name__}, no text or number")
    return value


def _header(name: str, text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise TerminalError(f"header {name!r} would have a control character in it")
    return text


# ---- Spans of time


def _spans(slices: Slices, bounds: CursorBounds | None) -> Iterator[tuple[datetime, datetime]]:
    """Yield (start, end) of each span, from where the run begins to read up to where it ends."""
    start = _instant(bounds.lower, bounds.type) if bounds and bounds.lower is not None else None
    end = _instant(bounds.upper, bounds.type) if bounds and bounds.upper is not None else None
    if start is None:
        try:
            start = parse_instant(slices.start)
        except ValueError as error:
            raise TerminalError(f"slices.start: {error}") from None
    end = end or datetime.now(timezone.utc)
    if slices.step is None:
        yield start, max(start, end)
        return
    if (end - start) / slices.step > MAX_SLICES:
        raise TerminalError(f"more than {MAX_SLICES} slices from {start.isoformat()} on; make 'step' longer")
    while True:
        following = start + slices.step
        if following > end:
            yield start, max(start, end)
            return
        yield start, following - slices.granularity
        start = following


def _instant(text: str, type_: str) -> datetime:
    try:
        if is_number(family(type_)):
            number = float(text)
            return datetime.fromtimestamp(number / 1000 if number > 1e11 else number, timezone.utc)
        return parse_instant(text)
    except (ValueError, OverflowError, OSError) as error:
        raise TerminalError(f"slices need a cursor that is a time: {error}") from None


def _in_span(part: Part, slices: Slices, start: datetime, end: datetime) -> Part:
    begin, until = (_written(instant, slices.format) for instant in (start, end))
    params = [
        (slices.location, name, value) for name, value in ((slices.start_param, begin), (slices.end_param, until))
    ]
    given = tuple((location, name, value) for location, name, value in params if name)
    return Part({**part.values, "slice_start": begin, "slice_end": until}, (*part.params, *given), part.columns)


def _written(instant: datetime, form: str) -> JsonValue:
    if form == "epoch":
        return int(instant.timestamp())
    if form == "epoch_ms":
        return int(instant.timestamp() * 1000)
    if form == "iso":
        return instant.isoformat().replace("+00:00", "Z")
    return instant.strftime(form.replace("%_ms", f"{instant.microsecond // 1000:03d}"))
