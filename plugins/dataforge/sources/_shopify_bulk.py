"""Shopify's bulk operations: start a query that the shop runs by itself, wait for it, download and nest its lines."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from dataforge.components.base import Connection, ExtractContext
from dataforge.errors import DataForgeError, TerminalError, TransientError
from dataforge.settings import get_settings
from dataforge.sources import _json_text
from dataforge.sources._graphql import Conversation
from dataforge.sources._http import Client

STORES = (".googleapis.com", ".shopify.com", ".shopifycloud.com", ".shopifycdn.com")
"""Where Shopify puts results, besides the shop's own host; a result is fetched from nowhere else, and without login."""

CANCEL_SECONDS = 10.0
"""How long cancelling an operation may take, also when the run's time is over."""

_START = """mutation($query: String!, $group: Boolean!) {
  bulkOperationRunQuery(query: $query, groupObjects: $group) { bulkOperation { id status } userErrors { message } }
}"""
_STATE = "query($id: ID!) { node(id: $id) { ... on BulkOperation { status errorCode objectCount url } } }"
_CANCEL = "mutation($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { status } } }"
_PASSING = ("INTERNAL_SERVER_ERROR", "TIMEOUT")
_TOKEN = re.compile(r"[{}()]|[A-Za-z_][A-Za-z0-9_]*|\"(?:[^\"\\]|\\.)*\"|:")


@dataclass
class Level:
    """The connections that a selection holds, by field name."""

    below: dict[str, Level] = field(default_factory=dict)

    def child(self, type_: str) -> str:
        """Return the field that a record of that type came from."""
        if len(self.below) == 1:
            return next(iter(self.below))
        for name in self.below:
            single = name.removesuffix("s").lower()
            if type_ and (type_.lower() == single or type_.lower().endswith(single)):
                return name
        raise TerminalError(
            f"a line of type {type_ or '(no id)'!r} fits none of the connections {', '.join(self.below)}"
        )


def levels(selection: str) -> Level:
    """Return the tree of connections (`name { edges { node { … } } }`) of a selection."""
    top = Level()
    stack: list[tuple[str, Level]] = []
    here, name, depth, alias = top, "", 0, ""
    for match in _TOKEN.finditer(selection):
        mark = match[0]
        if mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
        elif depth:
            continue
        elif mark == ":":
            alias = name
        elif mark == "{":
            stack.append((name, here))
            if name == "edges" and len(stack) > 1:
                outer, level = stack[-2]
                here = level.below.setdefault(outer, Level())
        elif mark == "}":
            name, here = stack.pop() if stack else ("", top)
        elif not mark.startswith('"'):
            name, alias = (alias or mark), ""
    return top


def start(conversation: Conversation, query: str, *, group: bool) -> str:
    """Start a bulk operation and return its id; TransientError while another one runs."""
    tries = conversation.client.tries
    conversation.client.tries = replace(tries, repeat_post=False)  # a second one would be refused, or run for nothing
    try:
        answer = conversation.ask(_START, {"query": query, "group": group})
    finally:
        conversation.client.tries = tries
    payload = json.loads(answer.body).get("data", {}).get("bulkOperationRunQuery") or {}
    if errors := payload.get("userErrors"):
        told = "; ".join(str(error.get("message")) for error in errors)[:500]
        if "already in progress" in told:
            raise TransientError(f"another bulk operation runs on the shop: {told}")
        raise TerminalError(f"the shop takes no such bulk operation: {told}")
    operation = payload.get("bulkOperation") or {}
    if not operation.get("id"):
        raise TerminalError("the shop started no bulk operation")
    return str(operation["id"])


def wait(conversation: Conversation, id_: str, seconds: float) -> tuple[str | None, int]:
    """Return URL and number of lines of a finished operation, asked for every so many seconds.

    One that is given up is cancelled.
    """
    try:
        while True:
            state = json.loads(conversation.ask(_STATE, {"id": id_}).body)["data"].get("node") or {}
            status, reason = state.get("status"), state.get("errorCode")
            if status == "COMPLETED":
                return state.get("url"), int(state.get("objectCount") or 0)
            if status not in ("CREATED", "RUNNING", "CANCELING"):
                text = f"the bulk operation ended as {status} ({reason or 'no reason given'}); what it has is no whole"
                raise TransientError(text) if reason in _PASSING else TerminalError(text)
            if time.monotonic() + seconds > conversation.client.ends:
                raise TransientError(f"the bulk operation is {status} still at the end of total_timeout")
            time.sleep(seconds)
    except BaseException:
        conversation.client.ends = max(conversation.client.ends, time.monotonic() + CANCEL_SECONDS)
        with suppress(DataForgeError):
            conversation.ask(_CANCEL, {"id": id_})
        raise


def download(client: Client, context: ExtractContext, url: str) -> Path:
    """Fetch a result without any login and return its file; TerminalError where it lies at a place not known."""
    parts = urlsplit(url)
    own = urlsplit(client.url(""))
    known = parts.scheme == "https" and f".{parts.hostname}".endswith(STORES)
    if parts.username or not (known or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)):
        raise TerminalError(f"the result lies at {parts.hostname}, which is no store of Shopify's; nothing was fetched")
    place = Connection(client.connection.id, "http", f"{parts.scheme}://{parts.netloc}")
    folder = context.scratch / "bulk"
    folder.mkdir(exist_ok=True)
    seconds = client.ends - time.monotonic()
    fetcher = Client(place, get_settings(), folder, seconds, client.ends, log=client.log, tries=client.tries)
    fetcher.open({}, anonymous=True, made=True)
    try:
        answer = fetcher.send("GET", url)
    finally:
        fetcher.close()
    if answer.file is not None:
        return answer.file
    path = folder / "result.jsonl"
    path.write_bytes(answer.body)
    return path


def nested(lines: IO[bytes], tree: Level, expected: int) -> Iterator[bytes]:
    """Yield each root object with its children in lists; TransientError when lines are missing."""
    import msgspec

    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    count = 0
    root: _Node | None = None
    known: dict[str, _Node] = {}
    for line in lines:
        if not line.strip():
            continue
        count += 1
        try:
            values = decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise TransientError(f"line {count} of the result is no JSON object: {error}") from None
        above = values.pop("__parentId", None)
        id_ = str(json.loads(bytes(values["id"]))) if "id" in values else ""
        if above is None:
            if root is not None:
                yield root.text()
            root = _Node(values, tree)
            known = {id_: root}
            continue
        parent = known.get(json.loads(bytes(above)))
        if parent is None:
            raise TerminalError(f"line {count} of the result has no parent above it; it can't be nested")
        node = parent.add(values, id_)
        if id_:
            known[id_] = node
    if root is not None:
        yield root.text()
    if count != expected:
        raise TransientError(f"the result has {count} lines, and the shop counted {expected} objects")


class _Node:
    """One object with the children that came so far."""

    def __init__(self, values: Mapping[str, Any], level: Level) -> None:
        self.values, self.level = dict(values), level
        self.children: dict[str, list[_Node]] = {name: [] for name in level.below}

    def add(self, values: Mapping[str, Any], id_: str) -> _Node:
        """Take a child in, under the field that it came from."""
        type_ = id_.split("/")[-2] if id_.startswith("gid://") else ""
        name = self.level.child(type_)
        node = _Node(values, self.level.below[name])
        self.children[name].append(node)
        return node

    def text(self) -> bytes:
        """Return the object as JSON, each value as the shop wrote it."""
        parts = [json.dumps(key).encode() + b": " + bytes(value).strip() for key, value in self.values.items()]
        for name, nodes in self.children.items():
            parts.append(json.dumps(name).encode() + b": [" + b", ".join(node.text() for node in nodes) + b"]")
        return b"{" + b", ".join(parts) + b"}"


def write(records: Iterator[bytes], out: IO[bytes], enough: int | None) -> int:
    """Write records one a line and return how many; `enough` ends it early."""
    count = 0
    for record in records:
        _json_text.write_lines([record], out)
        count += 1
        if enough is not None and count >= enough:
            break
    return count
