"""Walking through the pages of one endpoint, and writing their records one a line, each as the server wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

from dataforge.components.base import ExtractContext, JsonValue
from dataforge.errors import TerminalError, TransientError
from dataforge.sources import _json_text
from dataforge.sources._http import SHOWN, Answer, Client
from dataforge.sources._http_options import Cursor, LinkHeader, NextUrl, Offset, Page, Pagination

_BOM = b"\xef\xbb\xbf"
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Endpoint:
    """What is asked for, all values filled in; `form` says that the body is a form and no JSON."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = None
    form: bool = False
    records: str = ""


@dataclass
class Budget:
    """How many pages may be read, over all parts of a source."""

    max_pages: int
    pages: int = 0

    def take(self) -> None:
        """Count one page; TerminalError when there are too many."""
        self.pages += 1
        if self.pages > self.max_pages:
            raise TerminalError(f"more than max_pages = {self.max_pages} pages; raise it if that is right")


@dataclass(frozen=True)
class _Request:
    """What to ask for next: a whole URL, or parameters over the endpoint's own."""

    url: str | None = None
    params: tuple[tuple[str, JsonValue], ...] = ()


class Walk:
    """One walk from the first page to the last; a circle, a repeated page or too many pages end it."""

    def __init__(self, client: Client, endpoint: Endpoint, pagination: Pagination, budget: Budget) -> None:
        self.client, self.endpoint, self.pagination, self.budget = client, endpoint, pagination, budget

    def pages(self, context: ExtractContext, out: IO[bytes]) -> Iterator[tuple[int, Answer]]:
        """Yield the number of records and the answer of every page, after writing the records to `out`."""
        seen_requests: set[_Request] = set()
        seen_pages: dict[bytes, int] = {}
        request: _Request | None = self._first()
        total, unproved, number, expected = 0, 0, 0, None
        while request is not None:
            number += 1
            if request in seen_requests:
                raise TerminalError(f"page {number} is asked for a second time: the pagination runs in a circle")
            self.budget.take()
            seen_requests.add(request)
            answer, body, records, last = self._read(request, number, out)
            unproved += not answer.proved
            if records and answer.digest in seen_pages:
                raise TerminalError(
                    f"page {number} is the same as page {seen_pages[answer.digest]}: the server ignores the "
                    "pagination, or it runs in a circle"
                )
            seen_pages[answer.digest] = number
            total += records
            yield records, answer
            expected = self._number(body, getattr(self.pagination, "total", None), expected)
            request = self._next(answer, body, records, number, total, last)
        if expected is not None and total < expected:
            context.log("completeness unproved", records=total, total=expected, reason="the server announced more")
        if unproved:
            context.log("completeness unproved", pages=unproved, reason="answers without a length")

    def _read(self, request: _Request, number: int, out: IO[bytes]) -> tuple[Answer, bytes, int, bytes]:
        """Write one page's records to `out`; return its answer, body (without the records when large), their number,
        and the last of them where the pagination looks at it.

        A page that may have been cut short is asked for again once.
        """
        endpoint, wanted = self.endpoint, getattr(self.pagination, "last_record", None) is not None
        url, query, body, headers = self._placed(request)
        for again in (False, True):
            answer = self.client.send(endpoint.method, url, query, body, headers=headers, form=endpoint.form)
            where = f"page {number} of {answer.url.split('?')[0]}"
            try:
                if answer.file is not None:
                    rest, count = self._large(answer, answer.file, where, out)
                    return answer, rest, count, _last_line(out) if wanted and count else b""
                text = answer.body.removeprefix(_BOM)
                records = self._records(answer, text, where)
                _json_text.write_lines(records, out)
                return answer, text, len(records), bytes(records[-1]) if records else b""
            except _Unreadable as error:
                if again or answer.proved:
                    raise TerminalError(str(error)) from None
        raise TransientError(f"page {number} can't be read")

    def _placed(self, request: _Request) -> tuple[str, Mapping[str, Any] | None, Any, Mapping[str, str]]:
        """Return URL, query, body and headers of a request."""
        endpoint = self.endpoint
        location = getattr(self.pagination, "location", "query")
        query: Mapping[str, Any] | None = {name: plain(value) for name, value in endpoint.query.items()}
        body, headers = endpoint.body, endpoint.headers
        params = dict(request.params)
        if location == "body":
            body = place(endpoint.body or {}, params, form=endpoint.form)
        elif location == "header":
            headers = {**headers, **{name: str(plain(value)) for name, value in params.items()}}
        else:
            query = {**(query or {}), **params}
        if request.url is not None:
            return request.url, None, body, headers
        return endpoint.url, query, body, headers

    def _large(self, answer: Answer, file: Path, where: str, out: IO[bytes]) -> tuple[bytes, int]:
        """Copy the records of an answer that lies in a file, in bounded memory."""
        with file.open("rb") as source:
            head = source.read(SHOWN).removeprefix(_BOM).lstrip()
            source.seek(0)
            if _is_lines(answer) or (head[:1] == b"{" and not self.endpoint.records):
                return b"", self._copy_lines(source, where, out)
            try:
                count, rest = _json_text.copy_records(source, self.endpoint.records, out, where)
            except ValueError as error:
                raise TerminalError(f"{where} is no JSON ({error}): {self.client.excerpt(head)}") from None
        return rest.removeprefix(_BOM), count

    def _copy_lines(self, source: IO[bytes], where: str, out: IO[bytes]) -> int:
        count, line = 0, b""
        for line in source:
            if line.strip():
                out.write(line)
                count += 1
        if reason := _json_text.fault(line):
            raise TerminalError(f"{where}, line {count} is no JSON: {reason}")
        out.write(b"\n")
        return count

    def _records(self, answer: Answer, text: bytes, where: str) -> list[Any]:
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if answer.status == 204 or (not text.strip() and _is_lines(answer)):
            return []
        if _is_lines(answer):
            return self._lines(text, where)
        shown = f"{kind or 'no content type'}: {self.client.excerpt(text)}"
        try:
            records = _json_text.records_at(text, self.endpoint.records)
        except ValueError as error:
            if not self.endpoint.records and text.lstrip()[:1] == b"{" and "trailing" in str(error):
                return self._lines(text, where)
            raise _Unreadable(f"{where} is no JSON ({error}), {shown}") from None
        if records is None:
            if self.endpoint.records and _is_null(text, self.endpoint.records):
                return []
            lists = _json_text.keys_with_lists(text)
            hint = f"; lists stand at: {', '.join(lists)}" if lists else ""
            raise TerminalError(f"{where} has no list at {self.endpoint.records!r}{hint}, {shown}")
        lists = _json_text.keys_with_lists(text, of_objects=True) if not self.endpoint.records else []
        if len(lists) == 1:
            raise TerminalError(f'{where} is an object with a list at {lists[0]!r}; set "records": "{lists[0]}"')
        return records

    def _lines(self, text: bytes, where: str) -> list[Any]:
        lines = [line for line in text.split(b"\n") if line.strip()]
        for index in {0, len(lines) - 1} if lines else ():
            if reason := _json_text.fault(lines[index]):
                raise _Unreadable(
                    f"{where}, line {index + 1} is no JSON ({reason}): {self.client.excerpt(lines[index])}"
                )
        return lines

    # ---- Which page comes next

    def _first(self) -> _Request:
        paging = self.pagination
        if isinstance(paging, Page):
            return self._numbered(paging.start)
        if isinstance(paging, Offset):
            return _Request(params=((paging.param, 0), (paging.limit_param, paging.limit)))
        return _Request()

    def _numbered(self, page: int) -> _Request:
        paging = self.pagination
        assert isinstance(paging, Page)
        size = ((paging.size_param, paging.size),) if paging.size_param and paging.size else ()
        return _Request(params=((paging.param, page), *size))

    def _next(self, answer: Answer, body: bytes, records: int, number: int, total: int, last: bytes) -> _Request | None:
        """Return the request for the page after this one, None at the end."""
        paging = self.pagination
        if isinstance(paging, LinkHeader):
            return self._at(answer, _next_link(answer.headers.get("link", "")), "the Link header")
        if isinstance(paging, NextUrl):
            if paging.has_more is not None and not self._value(body, paging.has_more):
                return None
            value = self._value(body, paging.path)
            return self._at(answer, value, f"the URL at {paging.path!r}")
        if isinstance(paging, Cursor):
            return self._after(paging, answer, body, last)
        if isinstance(paging, Page | Offset):
            if not records:
                return None
            if paging.has_more is not None and not self._value(body, paging.has_more):
                return None
            if (
                paging.total is not None
                and (known := self._number(body, paging.total, None)) is not None
                and total >= known
            ):
                return None
            if isinstance(paging, Offset):
                # By what came, not by what was asked for: a server may give fewer than the limit on every page.
                return _Request(params=((paging.param, total), (paging.limit_param, paging.limit)))
            if paging.total_pages is not None and number >= (self._number(body, paging.total_pages, None) or 0):
                return None
            return self._numbered(paging.start + number)
        return None

    def _after(self, paging: Cursor, answer: Answer, body: bytes, last: bytes) -> _Request | None:
        """Return the request that continues at the cursor."""
        if paging.has_more is not None and not self._value(body, paging.has_more):
            return None
        value: Any
        if paging.header is not None:
            value = answer.headers.get(paging.header.lower())
        else:
            value = self._value(last if paging.last_record else body, paging.last_record or paging.path or "")
        return _Request(params=((paging.param, value),)) if value not in (None, "", False) else None

    def _at(self, answer: Answer, link: Any, what: str) -> _Request | None:
        if link in (None, "", False):
            return None
        if not isinstance(link, str):
            raise TerminalError(f"{what} is {link!r}, no URL")
        url = urljoin(answer.url, link)
        self.client.check_origin(url, what)
        return _Request(url=url)

    def _value(self, body: bytes, path: str) -> Any:
        text = _json_text.value_at(body, path) if body.strip() else None
        value = json.loads(text) if text is not None else None
        if isinstance(value, dict | list):
            raise TerminalError(f"the value at {path!r} is {type(value).__name__}, no text or number")
        return value

    def _number(self, body: bytes, path: str | None, default: int | None) -> int | None:
        if path is None:
            return default
        value = self._value(body, path)
        if isinstance(value, str) and value.isdigit():
            return int(value)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


class _Unreadable(Exception):
    """A page that is no JSON."""


def _is_lines(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "").lower()
    return any(word in kind for word in ("ndjson", "jsonl", "json-seq", "jsonlines"))


def _is_null(body: bytes, path: str) -> bool:
    """Whether the value at a path is there and null."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    for key in _json_text.split_path(path):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return value is None


def plain(value: Any) -> Any:
    """Return a value as it stands in a query: booleans in small letters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def _next_link(header: str) -> str | None:
    """Return the target of rel="next" in a Link header."""
    from requests.utils import parse_header_links

    for link in parse_header_links(header) if header else ():
        if "next" in link.get("rel", "").lower().split():
            return link.get("url")
    return None


def place(value: Mapping[str, Any], params: Mapping[str, Any], *, form: bool = False) -> dict[str, Any]:
    """Return a body with parameters put in; in JSON, a dotted name leads into it."""
    made = dict(value)
    for name, item in params.items():
        keys = (name,) if form else _json_text.split_path(name)
        inner = made
        for key in keys[:-1]:
            below = inner.get(key)
            inner[key] = dict(below) if isinstance(below, Mapping) else {}
            inner = inner[key]
        inner[keys[-1]] = item
    return made


def _last_line(out: IO[bytes]) -> bytes:
    """Return the last line that was written, and go back to the end."""
    end, block = out.seek(0, 2), b""
    at = end
    while at > 0 and b"\n" not in block.rstrip():
        size = min(_BLOCK, at)
        at -= size
        out.seek(at)
        block = out.read(size) + block
    out.seek(0, 2)
    return block.rstrip().rpartition(b"\n")[2]
