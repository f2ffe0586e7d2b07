"""The http source: any JSON API, through an Airflow connection, page by page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from dataforge.components.base import ExtractContext, Files, JsonValue, SourceConfig
from dataforge.components.delivery import Grade
from dataforge.components.fields import ConnectionId, Duration, TemplatedText
from dataforge.components.placeholders import CURSOR, fill_cursor
from dataforge.components.registry import SOURCES
from dataforge.errors import TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.sources import _json_text
from dataforge.sources._http import SHOWN, Answer, Client, check_endpoint

Scalar = TemplatedText | bool | int | float
Position = Literal["query", "body"]
_BOM = b"\xef\xbb\xbf"
DottedPath = Annotated[str, Field(max_length=500)]

_OWN_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class _Pagination(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoPagination(_Pagination):
    """One request gives everything."""

    type: Literal["none"] = "none"


class LinkHeader(_Pagination):
    """The `Link` header names the next page (rel="next")."""

    type: Literal["link_header"] = "link_header"


class NextUrl(_Pagination):
    """The body names the URL of the next page; none, null or an empty text ends it."""

    type: Literal["next_url"] = "next_url"
    path: DottedPath = Field(default="next", min_length=1, description="Dotted path to it.", examples=["links.next"])


class Cursor(_Pagination):
    """The body gives a cursor to send with the next request; none, null or an empty text ends it."""

    type: Literal["cursor"] = "cursor"
    path: DottedPath = Field(min_length=1, description="Dotted path to the cursor.", examples=["meta.next_cursor"])
    param: str = Field(default="cursor", min_length=1, max_length=200, description="Parameter that takes the cursor.")
    location: Position = Field(default="query", description="Whether parameters go into the query or the JSON body.")


class Page(_Pagination):
    """Pages have numbers; an empty page, `has_more`, `total_pages` or `total` ends it."""

    type: Literal["page"] = "page"
    param: str = Field(default="page", min_length=1, max_length=200, description="Parameter that takes the number.")
    start: int = Field(default=1, ge=0, description="Number of the first page.")
    size_param: str | None = Field(default=None, max_length=200, description="Parameter that takes the page size.")
    size: int | None = Field(default=None, ge=1, description="Records to ask for per page.")
    has_more: DottedPath | None = Field(default=None, description="Dotted path to whether more pages follow.")
    total_pages: DottedPath | None = Field(default=None, description="Dotted path to the number of pages.")
    total: DottedPath | None = Field(default=None, description="Dotted path to the number of all records.")
    location: Position = Field(default="query", description="Whether parameters go into the query or the JSON body.")


class Offset(_Pagination):
    """Records are skipped by number; an empty page, `has_more` or `total` ends it."""

    type: Literal["offset"] = "offset"
    param: str = Field(default="offset", min_length=1, max_length=200, description="Parameter: records to skip.")
    limit_param: str = Field(default="limit", min_length=1, max_length=200, description="Parameter: records per page.")
    limit: int = Field(default=100, ge=1, description="Records to ask for per page.")
    has_more: DottedPath | None = Field(default=None, description="Dotted path to whether more records follow.")
    total: DottedPath | None = Field(default=None, description="Dotted path to the number of all records.")
    location: Position = Field(default="query", description="Whether parameters go into the query or the JSON body.")


Pagination = Annotated[NoPagination | LinkHeader | NextUrl | Cursor | Page | Offset, Field(discriminator="type")]


class HttpConfig(SourceConfig):
    """Config of the http source."""

    type: Literal["http"] = "http"
    connection: ConnectionId = Field(
        description="Airflow connection of type http: base URL, auth and secret headers.", examples=["shop_api"]
    )
    endpoint: TemplatedText = Field(
        default="", description="Path below the connection's base URL; never a host.", examples=["/v1/orders"]
    )
    method: Literal["GET", "POST"] = Field(default="GET", description="HTTP method.")
    headers: dict[str, TemplatedText] = Field(
        default_factory=dict, description="Further headers; secret ones belong into the connection's extra."
    )
    query: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        default_factory=dict,
        description="Query parameters. With a cursor_field, ${cursor} is where the run begins to read, minus the "
        "lookback: ISO 8601 for a time, or by a pattern such as ${cursor:%Y-%m-%dT%H:%M:%SZ}; a parameter that holds "
        "it is left out while there is no such place.",
        examples=[{"status": "paid", "updated_since": "${cursor}"}],
        json_schema_extra={"x-cursor": True},
    )
    body: dict[str, JsonValue] | None = Field(
        default=None,
        description="JSON body of a POST; its texts may hold ${…}, and ${cursor} as in query.",
        json_schema_extra={"x-templated": True, "x-cursor": True},
    )
    records: DottedPath = Field(
        default="",
        description="Dotted path to the list of records in the answer; not set when the answer is the list or NDJSON.",
        examples=["data.orders"],
    )
    pagination: Pagination = Field(default_factory=NoPagination, description="How to get further pages.")
    requests_per_second: float | None = Field(
        default=None, gt=0, le=1000, description="Most requests per second; unlimited when not set."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=60), description="Longest time for one answer with its whole body."
    )
    total_timeout: Duration = Field(default=timedelta(hours=1), description="Longest time for all pages together.")
    max_pages: int = Field(default=100_000, ge=1, description="Most pages to read; more is an error.")

    @field_validator("endpoint")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        if "${" not in value and (bad := check_endpoint(value)):
            raise ValueError(f"{value!r} {bad}")
        return value

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"header {name!r} can't stand in a config; auth belongs into the Airflow connection")
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError(f"{name!r} is no header name")
            if any(ord(char) < 32 or ord(char) == 127 for char in text):
                raise ValueError(f"header {name!r} has a control character in it")
        return value

    @model_validator(mode="after")
    def _body_fits(self) -> Self:
        if self.method == "GET" and (self.body is not None or getattr(self.pagination, "location", "") == "body"):
            raise ValueError('a body needs "method": "POST"')
        return self

    @model_validator(mode="after")
    def _cursor_known(self) -> Self:
        if self.cursor_field is None and any(map(_holds_cursor, (self.query, self.body))):
            raise ValueError("'${cursor}' needs 'cursor_field', the field whose greatest value it is")
        return self

    def grade(self) -> Grade:
        """Return what reading all pages proves: pages by number shift under the reader, links and cursors less so."""
        if isinstance(self.pagination, NoPagination):
            return "snapshot"
        return "unstable" if isinstance(self.pagination, Page | Offset) else "window"

    def asset(self) -> str | None:
        """Return the endpoint as an asset URI; None where it depends on the run."""
        if "${" in self.endpoint:
            return None
        return f"dataforge://{self.connection}/{self.endpoint.split('?')[0].strip('/')}"


@dataclass(frozen=True)
class _Request:
    """What to ask for next: a whole URL, or parameters over the config's own."""

    url: str | None = None
    params: tuple[tuple[str, JsonValue], ...] = ()


@SOURCES.register(HttpConfig)
class HttpSource:
    """Reads any JSON API through an Airflow connection, following its pages, with retries, limits and deadlines."""

    def __init__(self, config: HttpConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Return all records as one NDJSON file in scratch, each as the server wrote it."""
        context.scratch.mkdir(parents=True, exist_ok=True)
        path = context.scratch / "records.ndjson"
        count = pages = 0
        with path.open("wb") as out:
            for records, _ in self._pages(context, out):
                count, pages = count + records, pages + 1
                if context.sample is not None and count >= context.sample:
                    break
        context.log("pages read", pages=pages, records=count, bytes=path.stat().st_size)
        return Files("json", (path,), {"format": "newline_delimited"})

    def check(self, context: ExtractContext) -> str:
        """Return what the first page of the endpoint answers."""
        import io

        for records, answer in self._pages(context, io.BytesIO()):
            return f"{self.config.method} {answer.url.split('?')[0]} answered {answer.status} with {records} record(s)"
        return "no page"

    def _pages(self, context: ExtractContext, out: IO[bytes]) -> Iterator[tuple[int, Answer]]:
        """Yield the number of records of every page, after writing them to `out`."""
        config = self.config
        client = Client(
            context.connection(config.connection),
            get_settings(),
            context.scratch,
            config.timeout.total_seconds(),
            time.monotonic() + config.total_timeout.total_seconds(),
            1 / config.requests_per_second if config.requests_per_second else 0.0,
            context.log,
        )
        try:
            filled = {
                "query": fill_cursor(config.query, context.cursor),
                "body": fill_cursor(config.body, context.cursor),
            }
        except ValueError as error:
            raise TerminalError(f"'${{cursor}}' can't be filled in: {error}") from None
        self.config = config.model_copy(update=filled)
        client.open(config.headers)
        try:
            yield from self._walk(client, client.url(config.endpoint), context, out)
        finally:
            client.close()

    def _walk(self, client: Client, url: str, context: ExtractContext, out: IO[bytes]) -> Iterator[tuple[int, Answer]]:
        seen_requests: set[_Request] = set()
        seen_pages: dict[bytes, int] = {}
        request: _Request | None = self._first()
        total, unproved, number, expected = 0, 0, 0, None
        while request is not None:
            number += 1
            if request in seen_requests:
                raise TerminalError(f"page {number} is asked for a second time: the pagination runs in a circle")
            if number > self.config.max_pages:
                raise TerminalError(f"more than max_pages = {self.config.max_pages} pages; raise it if that is right")
            seen_requests.add(request)
            answer, body, records = self._read(client, url, request, number, out)
            unproved += not answer.proved
            if records and answer.digest in seen_pages:
                raise TerminalError(
                    f"page {number} is the same as page {seen_pages[answer.digest]}: the server ignores the "
                    "pagination, or it runs in a circle"
                )
            seen_pages[answer.digest] = number
            total += records
            yield records, answer
            expected = self._number(body, getattr(self.config.pagination, "total", None), expected)
            request = self._next(client, answer, body, records, number, total)
        if expected is not None and total < expected:
            context.log("completeness unproved", records=total, total=expected, reason="the server announced more")
        if unproved:
            context.log("completeness unproved", pages=unproved, reason="answers without a length")

    def _read(
        self, client: Client, url: str, request: _Request, number: int, out: IO[bytes]
    ) -> tuple[Answer, bytes, int]:
        """Write one page's records to `out`; return its answer, body (without the records when large), their number.

        A page that may have been cut short is asked for again once.
        """
        config = self.config
        in_body = getattr(config.pagination, "location", "query") == "body"
        params = dict(request.params)
        query: dict[str, Any] | None = {name: _plain(value) for name, value in config.query.items()}
        body = config.body
        if in_body:
            body = {**(config.body or {}), **params}
        else:
            query = {**(query or {}), **params}
        if request.url is not None:
            url, query = request.url, None
        for again in (False, True):
            answer = client.send(config.method, url, query, body)
            where = f"page {number} of {answer.url.split('?')[0]}"
            try:
                if answer.file is not None:
                    return answer, *self._large(client, answer, answer.file, where, out)
                text = answer.body.removeprefix(_BOM)
                records = self._records(client, answer, text, where)
                _json_text.write_lines(records, out)
                return answer, text, len(records)
            except _Unreadable as error:
                if again or answer.proved:
                    raise TerminalError(str(error)) from None
        raise TransientError(f"page {number} can't be read")

    def _large(self, client: Client, answer: Answer, file: Path, where: str, out: IO[bytes]) -> tuple[bytes, int]:
        """Copy the records of an answer that lies in a file, in bounded memory."""
        with file.open("rb") as source:
            head = source.read(SHOWN).removeprefix(_BOM).lstrip()
            source.seek(0)
            if _is_lines(answer) or (head[:1] == b"{" and not self.config.records):
                return b"", self._copy_lines(source, where, out)
            try:
                count, rest = _json_text.copy_records(source, self.config.records, out, where)
            except ValueError as error:
                raise TerminalError(f"{where} is no JSON ({error}): {client.excerpt(head)}") from None
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

    def _records(self, client: Client, answer: Answer, text: bytes, where: str) -> list[Any]:
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if answer.status == 204 or (not text.strip() and _is_lines(answer)):
            return []
        if _is_lines(answer):
            return self._lines(client, text, where)
        shown = f"{kind or 'no content type'}: {client.excerpt(text)}"
        try:
            records = _json_text.records_at(text, self.config.records)
        except ValueError as error:
            if not self.config.records and text.lstrip()[:1] == b"{" and "trailing" in str(error):
                return self._lines(client, text, where)
            raise _Unreadable(f"{where} is no JSON ({error}), {shown}") from None
        if records is None:
            if self.config.records and _is_null(text, self.config.records):
                return []
            lists = _json_text.keys_with_lists(text)
            hint = f"; lists stand at: {', '.join(lists)}" if lists else ""
            raise TerminalError(f"{where} has no list at {self.config.records!r}{hint}, {shown}")
        lists = _json_text.keys_with_lists(text, of_objects=True) if not self.config.records else []
        if len(lists) == 1:
            raise TerminalError(f'{where} is an object with a list at {lists[0]!r}; set "records": "{lists[0]}"')
        return records

    def _lines(self, client: Client, text: bytes, where: str) -> list[Any]:
        lines = [line for line in text.split(b"\n") if line.strip()]
        for index in {0, len(lines) - 1} if lines else ():
            if reason := _json_text.fault(lines[index]):
                raise _Unreadable(f"{where}, line {index + 1} is no JSON ({reason}): {client.excerpt(lines[index])}")
        return lines

    # ---- Which page comes next

    def _first(self) -> _Request:
        paging = self.config.pagination
        if isinstance(paging, Page):
            return self._numbered(paging.start)
        if isinstance(paging, Offset):
            return _Request(params=((paging.param, 0), (paging.limit_param, paging.limit)))
        return _Request()

    def _numbered(self, page: int) -> _Request:
        paging = self.config.pagination
        assert isinstance(paging, Page)
        size = ((paging.size_param, paging.size),) if paging.size_param and paging.size else ()
        return _Request(params=((paging.param, page), *size))

    def _next(
        self, client: Client, answer: Answer, body: bytes, records: int, number: int, total: int
    ) -> _Request | None:
        """Return the request for the page after this one, None at the end."""
        paging = self.config.pagination
        if isinstance(paging, LinkHeader):
            return self._at(client, answer, _next_link(answer.headers.get("link", "")), "the Link header")
        if isinstance(paging, NextUrl):
            value = self._value(body, paging.path)
            return self._at(client, answer, value, f"the URL at {paging.path!r}")
        if isinstance(paging, Cursor):
            value = self._value(body, paging.path)
            return _Request(params=((paging.param, value),)) if value not in (None, "", False) else None
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

    def _at(self, client: Client, answer: Answer, link: Any, what: str) -> _Request | None:
        if link in (None, "", False):
            return None
        if not isinstance(link, str):
            raise TerminalError(f"{what} is {link!r}, no URL")
        url = urljoin(answer.url, link)
        client.check_origin(url, what)
        return _Request(url=url)

    def _value(self, body: bytes, path: str) -> Any:
        text = _json_text.value_at(body, path)
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


def _holds_cursor(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_cursor, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_cursor, value))
    return isinstance(value, str) and CURSOR.search(value) is not None


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


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _next_link(header: str) -> str | None:
    """Return the target of rel="next" in a Link header."""
    from requests.utils import parse_header_links

    for link in parse_header_links(header) if header else ():
        if "next" in link.get("rel", "").lower().split():
            return link.get("url")
    return None
