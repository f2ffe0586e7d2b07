"""Writing an index of Elasticsearch or OpenSearch: documents by id, a new index behind an alias, a ledger's document.

    merge      each row is written under its id; then the marker. A load that fails may leave some of its rows
    replace    all rows go to a new index, which is counted; then the alias is moved to it, in one step

The ledger is a document in an index of ours; it is swapped by its sequence number, so that of two loads from one cursor
one is fenced off.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import AfterValidator, Field

from dataforge.components import retry
from dataforge.components.base import (
    Capabilities,
    DestinationConfig,
    ExtractContext,
    Incoming,
    LoadContext,
    LoadReport,
    WriteDisposition,
)
from dataforge.components.delivery import Reject
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.search_client import SearchClient, check_index, index_path
from dataforge.destinations._document_ledger import (
    DocumentLedger,
    Page,
    document_name,
    guard,
    letters_text,
)
from dataforge.errors import FencedError, TerminalError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa

LEDGER = "dataforge-ledger"
_BYTES = 5 * 1024 * 1024
_POLICY = retry.Policy(attempts=6, first=1.0, cap=30.0)

IndexName = Annotated[str, AfterValidator(check_index)]


class SearchConfig(DestinationConfig):
    """Base of the configs of both destinations."""

    connection: ConnectionId = Field(
        description="Airflow connection of type elasticsearch, opensearch or http: host, port, login and password, or "
        "'api_key' in the extra.",
        examples=["search"],
    )
    index: IndexName = Field(
        description="Alias under which the documents are found; the index behind it is made by the first load.",
        examples=["orders"],
    )
    primary_key: tuple[ColumnName, ...] = Field(
        min_length=1,
        description="Columns that make a document's id: one as its text, several joined by ':', in which ':' and '%' "
        "inside of a value are written as %3A and %25.",
        examples=[["order_id"]],
    )
    delete_flag: ColumnName | None = Field(
        default=None,
        description="Column that marks deleted records: where it is true, or is no boolean and not null, merge deletes "
        "the document. It is not written.",
        examples=["_deleted"],
    )
    write_disposition: WriteDisposition = Field(
        default="merge",
        description="merge writes each record as the whole document of its id and leaves others; replace writes a new "
        "index and moves the alias to it.",
    )
    batch_rows: int = Field(default=1_000, ge=1, le=50_000, description="Most documents of one request.")

    def asset(self) -> str:
        """Return `dataforge://connection/index`."""
        return f"dataforge://{quote(self.connection)}/{quote(self.index)}"

    def slot(self) -> str:
        """Return the alias's place."""
        return f"{self.connection}.{self.index}"

    def commit_point(self) -> str:
        """Return what readers must do."""
        return (
            "all documents of a load become true at once, when the alias is moved; who reads the index behind it may "
            "see a load under way"
        )


class SearchDestination:
    """Writes the documents of an index; base of both destinations."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        frozenset({"replace", "merge"}), transactional=False, kind="table", commit="keys"
    )

    def __init__(self, config: SearchConfig) -> None:
        self.config = config

    def load(self, incoming: Incoming, context: LoadContext) -> LoadReport:
        """Write all rows; a replace becomes true as one, a merge row by row."""
        with _client(self.config, context) as client:
            return _Load(self.config, client, context).run(incoming)

    @contextmanager
    def ledger(self, context: LoadContext) -> Iterator[DocumentLedger]:
        """Open the ledger of this pipeline and alias."""
        with _client(self.config, context) as client:
            yield DocumentLedger(_Documents(client, document_name(context), self.config.index), self.config.index)

    def check(self, context: ExtractContext) -> str:
        """Say which server answers and what the alias names."""
        with _client(self.config, context) as client:
            name, version = client.about()
            found = _behind(client, self.config.index)
            state = f"is {found}" if found else "is to be made"
        return f"{name} {'.'.join(map(str, version))}, alias {self.config.index!r} {state}"


@contextmanager
def _client(config: SearchConfig, context: LoadContext | ExtractContext) -> Iterator[SearchClient]:
    client = SearchClient(context.connection(config.connection), context.log)
    try:
        yield client
    finally:
        client.close()


def _behind(client: SearchClient, alias: str) -> str | None:
    """Return the index behind an alias; None where there is none; TerminalError where it names an index, or several."""
    said = client.ask("GET", f"_alias/{index_path(alias)}", missing=True, what=f"alias {alias!r}")
    names: list[str] = sorted(said or {})
    if not names:
        if client.call("GET", index_path(alias), missing=True, what=f"index {alias!r}") is not None:
            raise TerminalError(f"{alias!r} is an index, no alias; give the alias a name of its own")
        return None
    if len(names) > 1:
        raise TerminalError(f"the alias {alias!r} names several indexes: {', '.join(names)}; it must name one")
    return names[0]


class _Documents:
    """The documents of a ledger."""

    def __init__(self, client: SearchClient, name: str, alias: str) -> None:
        self.client, self.name, self.alias = client, name, alias
        self._seen: tuple[str | None, int, int] = (None, 0, 0)

    def prepare(self) -> None:
        """Make the ledger's index where it is missing."""
        if self.client.call("GET", LEDGER, missing=True) is None:
            body = {"mappings": {"dynamic": False}, "settings": {"number_of_shards": 1}}
            try:
                self.client.ask("PUT", LEDGER, body, what="the ledger's index")
            except TerminalError:  # another load was faster
                if self.client.call("GET", LEDGER, missing=True) is None:
                    raise

    def read(self) -> str | None:
        """Return the document."""
        said = self.client.ask("GET", f"{LEDGER}/_doc/{self.name}", missing=True, what="the ledger")
        if said is None or not said.get("found", True):
            self._seen = (None, 0, 0)
            return None
        text = str(said["_source"]["page"])
        self._seen = (text, int(said["_seq_no"]), int(said["_primary_term"]))
        return text

    def swap(self, before: str | None, after: str) -> bool:
        """Put another document in its place; False where it is another one by now."""
        text, number, term = self._seen
        if text != before:
            return False
        query: dict[str, Any] = {"if_seq_no": number, "if_primary_term": term} if before is not None else {}
        kind = "_doc" if before is not None else "_create"
        try:
            self.client.ask(
                "PUT", f"{LEDGER}/{kind}/{self.name}", {"page": after}, what="the marker", again=False, **query
            )
        except TerminalError as error:
            if "status 409" in str(error):
                return False
            raise
        return True

    def put_letters(self, run_key: str, text: str) -> None:
        """Write the dead letters of a load, before its marker."""
        self.client.ask("PUT", f"{LEDGER}/_doc/{self.name}-{run_key}", {"letters": text}, what="the dead letters")

    def letters(self, run_key: str) -> str | None:
        """Return the dead letters of a load."""
        said = self.client.ask("GET", f"{LEDGER}/_doc/{self.name}-{run_key}", missing=True, what="the dead letters")
        return None if said is None or not said.get("found", True) else str(said["_source"]["letters"])

    def sweep(self) -> list[str]:
        """Remove indexes that killed loads left behind a day ago: named as ours, and behind no alias."""
        said = self.client.ask("GET", f"{index_path(self.alias)}-df*/_alias", missing=True) or {}
        today, gone = datetime.now(timezone.utc), []
        for name, found in said.items():
            made = name.removeprefix(f"{self.alias}-df").partition("-")[0]
            with suppress(ValueError):
                since = datetime.strptime(made, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
                if not found.get("aliases") and (today - since).days >= 1:
                    self.client.ask("DELETE", index_path(name), missing=True)
                    gone.append(name)
        return sorted(gone)


class _Load:
    """One attempt of a load."""

    def __init__(self, config: SearchConfig, client: SearchClient, context: LoadContext) -> None:
        self.config, self.client, self.context = config, client, context
        self.name = uuid.uuid4().hex
        self.documents = _Documents(client, document_name(context), config.index)
        self.rejects: list[Reject] = list(context.rejects)
        self.given = len(self.rejects)
        self.read = self.rows = self.deleted = 0
        self.ids: set[str] = set()

    def run(self, incoming: Incoming) -> LoadReport:
        """Write rows, then the marker."""
        config, context = self.config, self.context
        self.documents.prepare()
        text = self.documents.read()
        page = Page.of(text)
        if (done := page.done(context)) is not None:
            context.log("rows were committed before", target=config.index, rows=done.rows)
            return done
        where = f"alias {config.index!r}"
        page.fence(context, where)
        if context.dry_run:
            raise TerminalError("a load into a search index can't be tried without writing; use a preview")
        old = _behind(self.client, config.index)
        if config.write_disposition == "replace" or old is None:
            new = self._made(incoming)
            try:
                total = self._write(incoming, new)
                before = self._count(old) if old is not None else 0
                if config.write_disposition == "replace":
                    guard(before, total, where, allow_empty=config.allow_empty, allow_shrink=config.allow_shrink)
                self._refuse_too_many()
                self._move(old, new)
            except BaseException:
                with suppress(Exception):
                    self.client.ask("DELETE", index_path(new), missing=True)
                raise
            if old is not None:
                with suppress(Exception):
                    self.client.ask("DELETE", index_path(old), missing=True)
        else:
            total = self._write(incoming, old)
            self._refuse_too_many()
        letters, count = letters_text(self.rejects, context)
        if count:
            self.documents.put_letters(context.run_key, letters)
        disposition = config.write_disposition
        after = page.after(context, disposition, self.rows, count, self.name, deleted=self.deleted, total=total)
        if not self._marked(text, after):
            raise FencedError(
                f"fenced off: another load of {context.dag_id!r} into {where} was committed meanwhile; the records are "
                "read again"
            )
        context.log("rows committed", target=config.index, rows=self.rows, deleted=self.deleted)
        return LoadReport(config.index, self.rows, created=old is None, deleted=self.deleted, rejected=count)

    def _marked(self, text: str | None, after: Page) -> bool:
        try:
            if self.documents.swap(text, after.text()):
                return True
        except TransientError:  # whether it was written is not known
            pass
        record = Page.of(self.documents.read()).standing(self.context.run_key)
        return record is not None and record.attempt == self.name

    # ---- Indexes

    def _made(self, incoming: Incoming) -> str:
        """Make a new index with the types of the columns; return its name."""
        now = datetime.now(timezone.utc)
        name = f"{self.config.index}-df{now:%Y%m%d%H%M%S}-{self.name[:8]}"
        with incoming.reader() as reader:
            properties = {
                field.name: {"type": type_} for field in reader.schema if (type_ := _mapped(field.type)) is not None
            }
        properties.pop(self.config.delete_flag or "", None)
        self.client.ask(
            "PUT", index_path(name), {"mappings": {"properties": properties}}, what=f"index {name!r}", again=False
        )
        return name

    def _move(self, old: str | None, new: str) -> None:
        """Move the alias, in one step; it fails where another load has moved it meanwhile."""
        actions: list[dict[str, Any]] = [{"add": {"index": new, "alias": self.config.index}}]
        if old is not None:
            actions.insert(0, {"remove": {"index": old, "alias": self.config.index, "must_exist": True}})
        elif _behind(self.client, self.config.index) is not None:
            raise FencedError(f"fenced off: another load has made the alias {self.config.index!r} meanwhile")
        try:
            self.client.ask("POST", "_aliases", {"actions": actions}, what=f"alias {self.config.index!r}", again=False)
        except TransientError:
            if _behind(self.client, self.config.index) != new:
                raise

    def _count(self, index: str) -> int:
        return int(self.client.ask("GET", f"{index_path(index)}/_count")["count"])

    # ---- Documents

    def _write(self, incoming: Incoming, index: str) -> int:
        """Write all rows; return how many documents the index has then."""
        with incoming.reader() as reader:
            self._refuse_unknown(reader.schema)
            lines: list[tuple[str, bytes]] = []
            size = 0
            for batch in reader:
                for row in batch.to_pylist():
                    self.read += 1
                    id_, line = self._line(row)
                    lines.append((id_, line))
                    size += len(line)
                    if len(lines) >= self.config.batch_rows or size >= _BYTES:
                        self._send(index, lines)
                        lines, size = [], 0
            if lines:
                self._send(index, lines)
        self.client.ask("POST", f"{index_path(index)}/_refresh", what=f"index {index!r}")
        total = self._count(index)
        if self.config.write_disposition == "replace" and total != self.rows:
            raise TransientError(f"the new index has {total:,} documents where {self.rows:,} were written")
        return total

    def _refuse_unknown(self, schema: pa.Schema) -> None:
        for name in (*self.config.primary_key, *((self.config.delete_flag,) if self.config.delete_flag else ())):
            if name not in schema.names:
                raise TerminalError(f"the records have no column {name!r}; columns: {', '.join(schema.names)}")

    def _line(self, row: dict[str, Any]) -> tuple[str, bytes]:
        from dataforge.destinations._columns import record_json

        flag = row.pop(self.config.delete_flag) if self.config.delete_flag else None
        gone = flag if isinstance(flag, bool) else flag is not None
        values = [row[name] for name in self.config.primary_key]
        if any(value is None for value in values):
            keys = ", ".join(map(repr, self.config.primary_key))
            raise TerminalError(f"a record has no value in the primary key ({keys}); filter such records out")
        id_ = _id(values)
        if id_ in self.ids:
            raise TerminalError(
                f"more than one record has the id {id_!r}; the marker was not written. Add a deduplicate transform"
            )
        self.ids.add(id_)
        if gone and self.config.write_disposition == "merge":
            return id_, json.dumps({"delete": {"_id": id_}}).encode() + b"\n"
        head = json.dumps({"index": {"_id": id_}}, ensure_ascii=False).encode()
        return id_, head + b"\n" + record_json(row).encode() + b"\n"

    def _send(self, index: str, lines: list[tuple[str, bytes]]) -> None:
        """Send documents, those that the server was too busy for again; others that it refuses are set aside."""
        left = list(lines)

        def once() -> None:
            nonlocal left
            body = b"".join(line for _, line in left)
            said = self.client.ask("POST", f"{index_path(index)}/_bulk", body, what=f"index {index!r}")
            items = said.get("items") or []
            if len(items) != len(left):
                raise TransientError(
                    f"index {index!r}: {len(left):,} documents were sent, {len(items):,} were answered"
                )
            again = []
            for one, item in zip(left, items, strict=True):
                ((kind, answer),) = item.items()
                status = int(answer["status"])
                if retry.of_status(status) != "terminal":
                    again.append(one)
                elif status >= 300 and not (kind == "delete" and status == 404):
                    self._refused(one, answer)
                elif kind == "delete":
                    self.deleted += 1
                else:
                    self.rows += 1
            left = again
            if left:
                raise TransientError(f"index {index!r}: the server was too busy for {len(left):,} documents")

        retry.repeat(once, _POLICY, what=f"index {index}", log=self.context.log)

    def _refused(self, one: tuple[str, bytes], answer: Mapping[str, Any]) -> None:
        error = answer.get("error") or {}
        # what follows shows the value
        reason = str(error.get("reason") or error.get("type") or "").split(". Preview of")[0].split(" Preview of")[0]
        said = f"the server refuses the document ({error.get('type', 'error')}): {reason[:300]}"
        if not self.context.limit.enabled:
            raise TerminalError(f"document {one[0]!r}: {said}; the marker was not written")
        record = one[1].split(b"\n")[1].decode() or json.dumps({"_id": one[0]})
        self.rejects.append(Reject("load", said, record, step=self.context.last_step, position=one[0]))
        if len(self.rejects) > self.context.limit.max_rows:
            self._refuse_too_many()

    def _refuse_too_many(self) -> None:
        own = len(self.rejects) - self.given
        read = self.context.rows_read if self.context.rows_read is not None else self.read
        if own and (message := self.context.limit.exceeded(len(self.rejects), read)):
            raise TerminalError(message)


def _id(values: list[Any]) -> str:
    texts = [value.isoformat() if hasattr(value, "isoformat") else str(value) for value in values]
    if len(texts) == 1:
        return texts[0]
    return ":".join(text.replace("%", "%25").replace(":", "%3A") for text in texts)


def _mapped(type_: pa.DataType) -> str | None:
    """Return the type of a column in a mapping; None where the server finds a good one by itself."""
    from pyarrow import types as t

    if t.is_boolean(type_):
        return "boolean"
    if t.is_integer(type_):
        return "unsigned_long" if t.is_uint64(type_) else "long"
    if t.is_floating(type_) or t.is_decimal(type_):
        return "double"
    return "date" if t.is_timestamp(type_) or t.is_date(type_) else None
