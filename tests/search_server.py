"""A server that plays the API of Elasticsearch and OpenSearch, as both document it, with documents in memory.

It is no search engine: it knows the queries that the tests ask. It keeps what matters to a client: aliases, points in
time, scrolls, sequence numbers, refused documents, and answers that only a part of the shards took part in.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dataforge.components.base import Connection


@dataclass
class Index:
    """One index: documents by id, as the text that came, with a sequence number each."""

    mappings: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)


Answer = tuple[int, Any]


class SearchServer:
    """The server. `faults` are answers to give in place of the next ones, each by (method, end of the path)."""

    def __init__(self, distribution: str = "elasticsearch", version: str = "8.15.0") -> None:
        self.distribution, self.version = distribution, version
        self.indexes: dict[str, Index] = {}
        self.points: dict[str, list[tuple[str, str, bytes]]] = {}
        self.requests: list[str] = []
        self.faults: list[tuple[str, str, Answer]] = []
        self._count = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with server._lock:
                    status, said = server.answer(self.command, unquote(parts.path), dict(parse_qsl(parts.query)), body)
                text = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.connection = Connection("search", "elasticsearch", "127.0.0.1", self.http.server_address[1], schema="http")
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, index: str, documents: dict[str, Any]) -> None:
        """Put documents by id."""
        found = self.indexes.setdefault(index, Index())
        for id_, document in documents.items():
            text = document if isinstance(document, bytes) else json.dumps(document).encode()
            self._count += 1
            found.documents[id_] = (text, self._count)

    def documents(self, name: str) -> dict[str, Any]:
        """Return the documents of an index or alias."""
        return {id_: json.loads(text) for index in self.named(name) for id_, (text, _) in index[1].documents.items()}

    def named(self, name: str) -> list[tuple[str, Index]]:
        """Return the indexes that a name, alias or pattern stands for."""
        from fnmatch import fnmatch

        return [(key, one) for key, one in sorted(self.indexes.items()) if fnmatch(key, name) or name in one.aliases]

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        """Return status and body."""
        self.requests.append(f"{method} {path}")
        for number, (verb, end, said) in enumerate(self.faults):
            if verb == method and path.endswith(end):
                del self.faults[number]
                return said
        parts = [part for part in path.split("/") if part]
        if not parts:
            about = {"number": self.version, "distribution": self.distribution}
            return 200, {"version": about if self.distribution == "opensearch" else {"number": self.version}}
        if parts[0] in ("_search", "_pit"):
            return self._paged(method, parts, json.loads(body or b"{}"))
        if parts == ["_aliases"]:
            return self._aliased(json.loads(body)["actions"])
        if parts[0] == "_alias":
            found: Any = {
                key: {"aliases": {parts[1]: {}}} for key, one in self.indexes.items() if parts[1] in one.aliases
            }
            return (200, found) if found else (404, {"error": "alias missing"})
        return self._of_index(method, parts, query, body)

    def _of_index(self, method: str, parts: list[str], query: dict[str, str], body: bytes) -> Answer:
        name, rest = parts[0], parts[1:]
        found = self.named(name)
        if method == "PUT" and not rest:
            if found:
                return 400, {"error": {"type": "resource_already_exists_exception"}}
            self.indexes[name] = Index(json.loads(body).get("mappings", {}))
            return 200, {"acknowledged": True}
        if not found and "*" not in name:
            return 404, {"error": {"type": "index_not_found_exception", "reason": f"no such index [{name}]"}}
        if not rest:
            if method == "DELETE":
                del self.indexes[name]
            return 200, {key: {} for key, _ in found}
        if rest[0] in ("_doc", "_create"):
            return self._document(method, found[0][1], rest, query, body)
        if rest[0] == "_bulk":
            return 200, {"items": [self._item(found[0][1], *one) for one in _actions(body)]}
        if rest[0] == "_pit":
            return 200, {"id": self._point(found)}
        if rest[0] == "_search":
            asked = json.loads(body)
            point = self._point(found, asked["query"])
            return self._scrolled(point, asked["size"])
        said: dict[str, Any] = {
            "_count": {"count": sum(len(one.documents) for _, one in found)},
            "_mapping": {key: {"mappings": one.mappings} for key, one in found},
            "_alias": {key: {"aliases": {alias: {} for alias in one.aliases}} for key, one in found},
            "_refresh": {},
            "_stats": {"_all": {"primaries": {"store": {"size_in_bytes": 1234}}}},
        }
        return 200, said[rest[0]]

    def _document(self, method: str, index: Index, rest: list[str], query: dict[str, str], body: bytes) -> Answer:
        known = index.documents.get(rest[1])
        if method == "GET":
            if known is None:
                return 404, {"found": False}
            return 200, {"found": True, "_seq_no": known[1], "_primary_term": 1, "_source": json.loads(known[0])}
        expected = query.get("if_seq_no")
        if (rest[0] == "_create" and known) or (expected is not None and (known is None or known[1] != int(expected))):
            return 409, {"error": {"type": "version_conflict_engine_exception", "reason": "version conflict"}}
        self._count += 1
        index.documents[rest[1]] = (body, self._count)
        return 200, {"_seq_no": self._count}

    def _item(self, index: Index, kind: str, id_: str, text: bytes) -> dict[str, Any]:
        if kind == "delete":
            return {"delete": {"_id": id_, "status": 200 if index.documents.pop(id_, None) else 404}}
        for name, kind_ in index.mappings.get("properties", {}).items():
            if kind_["type"] == "long" and isinstance(value := json.loads(text).get(name), str):
                reason = f"failed to parse field [{name}] of type [long]. Preview of field's value: '{value}'"
                error = {"type": "document_parsing_exception", "reason": reason}
                return {"index": {"_id": id_, "status": 400, "error": error}}
        self._count += 1
        index.documents[id_] = (text, self._count)
        return {"index": {"_id": id_, "status": 201}}

    def _aliased(self, actions: list[dict[str, Any]]) -> Answer:
        for action in actions:
            ((kind, said),) = action.items()
            if kind == "remove" and said["alias"] not in self.indexes.get(said["index"], Index()).aliases:
                return 404, {"error": {"type": "aliases_not_found_exception", "reason": "alias missing"}}
        for action in actions:
            ((kind, said),) = action.items()
            aliases = self.indexes[said["index"]].aliases
            (aliases.add if kind == "add" else aliases.discard)(said["alias"])
        return 200, {"acknowledged": True}

    # ---- Searching

    def _point(self, found: list[tuple[str, Index]], query: Any = None) -> str:
        self._count += 1
        rows = [(key, id_, text) for key, one in found for id_, (text, _) in one.documents.items()]
        self.points[str(self._count)] = [row for row in rows if query is None or _matches(query, json.loads(row[2]))]
        return str(self._count)

    def _paged(self, method: str, parts: list[str], asked: dict[str, Any]) -> Answer:
        if method == "DELETE":
            for point in [asked.get("id"), *asked.get("scroll_id", [])]:
                self.points.pop(str(point), None)
            return 200, {}
        if parts == ["_search", "scroll"]:
            return self._scrolled(asked["scroll_id"], 0)
        point = asked["pit"]["id"]
        rows = [row for row in self.points[point] if _matches(asked["query"], json.loads(row[2]))]
        first = asked["search_after"][0] + 1 if "search_after" in asked else 0
        return 200, _result(rows[first : first + asked["size"]], first, pit_id=point)

    def _scrolled(self, scroll: str, size: int) -> Answer:
        if size:
            self.sizes = {**getattr(self, "sizes", {}), scroll: size}
        rows = self.points[scroll]
        self.points[scroll] = rows[self.sizes[scroll] :]
        return 200, _result(rows[: self.sizes[scroll]], 0, _scroll_id=scroll)


def _result(rows: list[tuple[str, str, bytes]], first: int, **more: str) -> bytes:
    hits = [
        b'{"_index": %s, "_id": %s, "_source": %s, "sort": [%d]}'
        % (json.dumps(index).encode(), json.dumps(id_).encode(), text, first + number)
        for number, (index, id_, text) in enumerate(rows)
    ]
    head = json.dumps({"timed_out": False, "_shards": {"total": 1, "failed": 0}, **more}).encode()[:-1]
    return head + b', "hits": {"hits": [' + b", ".join(hits) + b"]}}"


def _actions(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    lines = iter(body.splitlines())
    for line in lines:
        ((kind, said),) = json.loads(line).items()
        yield kind, said["_id"], next(lines) if kind == "index" else b""


def _matches(query: dict[str, Any], document: dict[str, Any]) -> bool:
    ((kind, said),) = query.items()
    if kind == "match_all":
        return True
    if kind == "term":
        ((name, value),) = said.items()
        return bool(document.get(name) == value)
    if kind == "range":
        ((name, bounds),) = said.items()
        return name in document and str(document[name]) >= str(bounds["gte"])
    if kind == "exists":
        return document.get(said["field"]) is not None
    if "must_not" in said:
        return not _matches(said["must_not"], document)
    if "filter" in said:
        return all(_matches(one, document) for one in said["filter"])
    return any(_matches(one, document) for one in said["should"])


@contextmanager
def running(distribution: str = "elasticsearch", version: str = "8.15.0") -> Iterator[SearchServer]:
    """Start a server and end it."""
    server = SearchServer(distribution, version)
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
