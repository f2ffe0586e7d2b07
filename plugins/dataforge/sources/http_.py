"""The http source: any JSON API, through an Airflow connection, page by page."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from dataforge.components.base import ExtractContext, Files, JsonValue
from dataforge.components.delivery import Grade
from dataforge.components.placeholders import CURSOR
from dataforge.components.registry import SOURCES
from dataforge.sources import _json_text
from dataforge.sources._http import Answer, Ruling
from dataforge.sources._http_options import (
    Auth,
    DottedPath,
    Endpoint,
    ErrorRule,
    HttpSourceConfig,
    NoPagination,
    Offset,
    Page,
    Pagination,
    Partition,
    Scalar,
    Slices,
    check_body,
    names_between,
)


class HttpConfig(HttpSourceConfig):
    """Config of the http source."""

    type: Literal["http"] = "http"
    endpoint: Endpoint = Field(
        default="",
        description="Path below the connection's base URL; never a host. `{name}` stands for the value of a partition.",
        examples=["/v1/orders"],
    )
    method: Literal["GET", "POST"] = Field(default="GET", description="HTTP method.")
    auth: Auth | None = Field(
        default=None,
        description="How to log in with what the connection holds; its login and password as HTTP Basic when not set.",
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
        description="Body of a POST; its texts may hold ${…}, and ${cursor} as in query.",
        json_schema_extra={"x-templated": True, "x-cursor": True},
    )
    body_format: Literal["json", "form"] = Field(
        default="json", description="Whether the body is sent as JSON or as a form."
    )
    records: DottedPath = Field(
        default="",
        description="Dotted path to the list of records in the answer; not set when the answer is the list or NDJSON.",
        examples=["data.orders"],
    )
    pagination: Pagination = Field(default_factory=NoPagination, description="How to get further pages.")
    partitions: tuple[Partition, ...] = Field(
        default=(),
        max_length=5,
        description="Values that are read one after the other, each with all its pages: those of a list, or a key of "
        "each record of a parent endpoint. Several are nested, and a parent may hold `{name}` of those before it.",
    )
    slices: Slices | None = Field(
        default=None, description="Spans of time that are read one after the other, from the cursor up to now."
    )
    errors: tuple[ErrorRule, ...] = Field(
        default=(),
        max_length=50,
        description="What to do with certain answers; others go by their status: 401 and 403 fail, 408, 425, 429, 500 "
        "and 502 to 504 are tried again, all else from 300 on fails.",
    )

    @model_validator(mode="after")
    def _body_fits(self) -> Self:
        check_body(self.method, self.body, self.pagination)
        return self

    @model_validator(mode="after")
    def _cursor_known(self) -> Self:
        parents = ((each.query, each.body) for each in self.partitions if each.type == "parent")
        if self.cursor_field is None and any(map(_holds_cursor, (self.query, self.body, *parents))):
            raise ValueError("'${cursor}' needs 'cursor_field', the field whose greatest value it is")
        return self

    @model_validator(mode="after")
    def _names_known(self) -> Self:
        known: set[str] = set()
        for partition in self.partitions:
            if partition.type == "parent" and (unknown := names_between(partition.endpoint) - known):
                raise ValueError(f"{{{min(unknown)}}} in {partition.endpoint!r} names no earlier partition")
            if partition.name in known:
                raise ValueError(f"two partitions are named {partition.name!r}")
            known.add(partition.name)
        if self.slices is not None:
            known |= {"slice_start", "slice_end"}
        if unknown := names_between(self.endpoint) - known:
            raise ValueError(f"{{{min(unknown)}}} in {self.endpoint!r} names no partition")
        return self

    def login_options(self) -> Any:
        """Return `auth`."""
        return self.auth

    def grade(self) -> Grade:
        """Return what reading all pages proves: pages by number shift under the reader, links and cursors less so."""
        ways = [self.pagination, *(each.pagination for each in self.partitions if each.type == "parent")]
        if any(isinstance(way, Page | Offset) for way in ways):
            return "unstable"
        one = not self.partitions and self.slices is None and isinstance(self.pagination, NoPagination)
        return "snapshot" if one else "window"

    def asset(self) -> str | None:
        """Return the endpoint as an asset URI; None where it depends on the run."""
        if "${" in self.endpoint:
            return None
        return f"dataforge://{self.connection}/{self.endpoint.split('?')[0].strip('/')}"


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
        with path.open("w+b") as out:
            for records, _ in self._pages(context, out):
                count, pages = count + records, pages + 1
                if context.sample is not None and count >= context.sample:
                    break
        context.log("pages read", pages=pages, records=count, bytes=path.stat().st_size)
        return Files("json", (path,), {"format": "newline_delimited"})

    def check(self, context: ExtractContext) -> str:
        """Return what the first page of the endpoint answers."""
        for records, answer in self._pages(context, io.BytesIO()):
            return f"{self.config.method} {answer.url.split('?')[0]} answered {answer.status} with {records} record(s)"
        return "the connection answers, and no partition has a page"

    def _pages(self, context: ExtractContext, out: IO[bytes]) -> Iterator[tuple[int, Answer]]:
        """Yield the number of records of every page of every part, after writing them to `out`."""
        from dataforge.sources._http_auth import connected
        from dataforge.sources._http_pages import Budget, Walk
        from dataforge.sources._http_parts import Reader, Widened, filled

        config = self.config
        stream, form = filled(config, context.cursor), config.body_format == "form"
        budget = Budget(config.max_pages)
        client = connected(config, context, _judge(config.errors))
        try:
            for part in Reader(client, context, budget, form).parts(config.partitions, config.slices):
                walk = Walk(client, part.endpoint(client, stream, form=form), config.pagination, budget)
                into: IO[bytes] = Widened(out, part.columns) if part.columns else out  # type: ignore[assignment]
                yield from walk.pages(context, into)
        finally:
            client.close()


class _judge:  # noqa: N801 - a function that keeps its rules
    """Decides about answers by rules, the first that fits."""

    def __init__(self, rules: tuple[ErrorRule, ...]) -> None:
        self.rules = rules

    def __call__(self, answer: Answer) -> Ruling | None:
        for rule in self.rules:
            if _fits(rule, answer):
                return Ruling(rule.action, rule.says)
        return None


def _fits(rule: ErrorRule, answer: Answer) -> bool:
    """Whether all of a rule holds; of an answer that is too large for memory, no text is looked at."""
    if rule.status and answer.status not in rule.status:
        return False
    if rule.message is not None and rule.message.encode() not in answer.body:
        return False
    if rule.path is None:
        return True
    try:
        text = _json_text.value_at(answer.body, rule.path) if answer.body.strip() else None
    except ValueError:
        return False
    if rule.equals is None:
        return text not in (None, b'""', b"[]", b"{}", b"0", b"false")
    return text is not None and _same(text, rule.equals)


def _same(text: bytes, wanted: str | bool | float) -> bool:
    found = json.loads(text)
    if isinstance(wanted, str):
        return str(found) == wanted
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _holds_cursor(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_cursor, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_cursor, value))
    return isinstance(value, str) and CURSOR.search(value) is not None
