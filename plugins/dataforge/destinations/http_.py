"""The http destination: records posted to a web service in batches, each with an idempotency key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import Field, field_validator

from dataforge.components.base import (
    Capabilities,
    DestinationConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
)
from dataforge.components.fields import ConnectionId, Duration, TemplatedText
from dataforge.components.registry import DESTINATIONS
from dataforge.destinations._http_calls import Calls
from dataforge.errors import TerminalError, TransientError, bounded

TRIES = 5
NAMED = 5
"""Refused batches that the error names; it counts the others."""


class HttpConfig(DestinationConfig):
    """Config of the `http` destination."""

    type: Literal["http"] = "http"
    connection: ConnectionId = Field(
        description="Airflow connection of type http: its host is the base URL, its login, password and extra "
        "(headers) log in.",
        examples=["crm_api"],
    )
    endpoint: TemplatedText = Field(
        max_length=2_000, description="Path below the connection's base URL.", examples=["/v1/contacts/bulk"]
    )
    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="HTTP method.")
    body: Literal["list", "ndjson", "single"] = Field(
        default="list",
        description="What a request holds: a JSON list of records, one JSON object a line, or a single record.",
    )
    envelope: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$",
        description="Key of an object that the list is put under; the list itself is the body when not set.",
        examples=["contacts"],
    )
    batch_rows: int = Field(default=500, ge=1, le=100_000, description="Most records of one request.")
    batch_bytes: int = Field(
        default=5_000_000,
        ge=1_000,
        le=500_000_000,
        description="Most bytes of one request; a larger record goes alone.",
    )
    key_header: str | None = Field(
        default="Idempotency-Key",
        pattern=r"^[A-Za-z0-9-]{1,100}$",
        description="Header that takes the idempotency key: the same for each try of the same records in the same run. "
        "Null for none.",
    )
    failures: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        description="Dotted path, in an answer of status 2xx, to the list of records that were not taken; the run "
        "fails when it is not empty.",
        examples=["errors"],
    )
    on_refusal: Literal["stop", "continue"] = Field(
        default="stop",
        description="What follows a batch that is refused: stop at once, or send the others before the run fails.",
    )
    requests_per_second: float | None = Field(default=None, gt=0, le=1_000, description="Most requests in a second.")
    timeout: Duration = Field(default=timedelta(seconds=60), description="Longest silence within a request.")

    @field_validator("endpoint")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if message := _refused(value):
            raise ValueError(message)
        return value

    def asset(self) -> str | None:
        """Return `dataforge://connection/endpoint`; None where the endpoint depends on the run."""
        if "${" in self.endpoint:
            return None
        return f"dataforge://{self.connection}/{self.endpoint.split('?')[0].strip('/')}"


def _refused(endpoint: str) -> str | None:
    """Return why a text is no path below a base URL; None where it is one."""
    # the client takes %2e for a dot
    path = unquote(endpoint.split("?")[0])
    if "://" in endpoint or endpoint.startswith("//") or "\\" in path or ".." in path.split("/"):
        return f"{endpoint!r} is no path below the connection's base URL"
    if any(ord(char) <= 32 for char in endpoint):
        return f"{endpoint!r} has a blank or control character; percent-encode it"
    return None


@dataclass(frozen=True)
class _Batch:
    """One request: its number from 1, the rows in it (the first one's number from 1), and its body."""

    number: int
    first: int
    rows: int
    body: bytes


@DESTINATIONS.register(HttpConfig)
class HttpDestination:
    """Posts records to a web service in batches, each at least once, with a key by which repeats can be told."""

    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({"append"}), transactional=False, kind="files")

    def __init__(self, config: HttpConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Send all rows; TerminalError that says which batches were taken and which were refused."""
        config = self.config
        if message := _refused(config.endpoint):  # placeholders have their values by now
            raise TerminalError(message)
        if any(True for _ in context.rejects):
            raise TerminalError(
                "an http destination keeps no dead letters; add a table destination, or drop the records"
            )
        sent = size = 0
        refused: list[str] = []
        rows_refused = 0
        with closing(self._calls(context)) as calls:
            for batch in self._batches(incoming):
                try:
                    rows_refused += self._send(calls, batch, context)
                except TerminalError as error:
                    refused.append(
                        f"batch {batch.number} (rows {batch.first} to {batch.first + batch.rows - 1}): {error}"
                    )
                    if config.on_refusal == "stop":
                        break
                except TransientError:
                    context.log("rows were taken before", rows=sent, note="they are sent again under the same keys")
                    raise
                else:
                    sent += batch.rows
                    size += len(batch.body)
        place = f"{config.connection}/{config.endpoint.lstrip('/')}"
        if refused or rows_refused:
            self._fail(place, sent, refused, rows_refused)
        return LoadReport(place, sent, size, inserted=sent)

    def check(self, context: ExtractContext) -> str:
        """Return what the server answers to OPTIONS on the endpoint; nothing is written."""
        endpoint = self.config.endpoint
        with closing(self._calls(context)) as calls:
            status = calls.probe("OPTIONS", endpoint if "${" not in endpoint else "")
        if status in (401, 403):
            raise TerminalError(f"the server of connection {self.config.connection!r} refuses the login ({status})")
        return f"the server answers ({status} to OPTIONS {endpoint or '/'})"

    def _calls(self, context: LoadContext | ExtractContext) -> Calls:
        rate = self.config.requests_per_second
        connection = context.connection(self.config.connection)
        seconds = self.config.timeout.total_seconds()
        return Calls(connection, seconds, TRIES, 1 / rate if rate else 0.0, context.log)

    def _batches(self, incoming: Incoming) -> Iterator[_Batch]:
        """Yield the requests, the same ones for the same rows."""
        from dataforge.destinations._columns import record_json

        most = 1 if self.config.body == "single" else self.config.batch_rows
        held: list[bytes] = []
        size = number = 0
        first = 1
        for rows in incoming.reader():
            for record in rows.to_pylist():
                text = record_json(record).encode()
                if held and (len(held) == most or size + len(text) > self.config.batch_bytes):
                    number += 1
                    yield _Batch(number, first, len(held), self._body(held))
                    first, held, size = first + len(held), [], 0
                held.append(text)
                size += len(text) + 1
        if held:
            yield _Batch(number + 1, first, len(held), self._body(held))

    def _body(self, records: list[bytes]) -> bytes:
        if self.config.body == "single":
            return records[0]
        if self.config.body == "ndjson":
            return b"\n".join(records) + b"\n"
        found = b"[" + b",".join(records) + b"]"
        return b'{"' + self.config.envelope.encode() + b'":' + found + b"}" if self.config.envelope else found

    def _send(self, calls: Calls, batch: _Batch, context: LoadContext) -> int:
        """Send one batch; return how many of its records the answer says were not taken."""
        kind = "application/x-ndjson" if self.config.body == "ndjson" else "application/json"
        headers = {"Content-Type": kind}
        if self.config.key_header:
            digest = hashlib.sha256(batch.body).hexdigest()[:16]
            headers[self.config.key_header] = f"{context.run_key}-{batch.number}-{digest}"
        _, answer = calls.send(self.config.method, self.config.endpoint, batch.body, headers)
        failed = self._failed(answer)
        if failed:
            shown = bounded(json.dumps(failed[:3], ensure_ascii=False), 300)
            context.log("records not taken", batch=batch.number, rows=len(failed), examples=shown)
        return len(failed)

    def _failed(self, answer: bytes) -> list[Any]:
        if self.config.failures is None:
            return []
        try:
            found = json.loads(answer)
        except ValueError:
            raise TerminalError("the answer is no JSON, so 'failures' can't be looked up in it") from None
        for key in self.config.failures.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, list) else []

    def _fail(self, place: str, sent: int, refused: list[str], rows: int) -> None:
        parts = [f"{sent} rows were posted to {place}"]
        if rows:
            parts.append(f"{rows} of them were not taken by the service")
        if refused:
            more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
            parts.append(f"{len(refused)} batch(es) were refused: {'; '.join(refused[:NAMED])}{more}")
        raise TerminalError("; ".join(parts))
