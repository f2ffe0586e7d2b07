"""From a low-code manifest of Airbyte (YAML or JSON) to one pipeline of the http source for each stream.

Nothing of the manifest is run: custom classes and what Jinja says beyond `interpolation` become gaps. Secrets stay out
of configs; a gap says which connection holds them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataforge.errors import ConfigError, Problem
from dataforge.imports.documents import dag_id, read_document, table_name
from dataforge.imports.gaps import Gap, Imported
from dataforge.imports.interpolation import access, is_plain, only, parse, sql_of, text_of, without_paging

Json = Any
Node = dict[str, Json]

_LOCATIONS = {"request_parameter": "query", "header": "header", "body_json": "body", "body_data": "body"}
_DURATION = re.compile(
    r"\AP(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z"
)
_SECONDS = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60, 1)
_BY_HAND = "say it by hand in the config, or keep that stream in Airbyte"


def convert(text: str, *, file: Path) -> Imported:
    """Return a config for each stream that can be said, and every gap."""
    document = read_document(text, file)
    if document.get("type") != "DeclarativeSource" and "streams" not in document:
        raise ConfigError(Problem("wrong-type", f"{file.name!r} is no low-code manifest: it has no 'streams'"))
    return _Manifest(document, _source_name(document, file)).converted()


def _source_name(document: Node, file: Path) -> str:
    """Return the connector's name: the file's, or its folder's where the file is called as all are."""
    stem = file.parent.name if file.stem.lower() in ("manifest", "source") else file.stem
    name = dag_id(re.sub(r"\A(source[-_])+", "", stem or "source").replace("-", "_"))
    return name or str(document.get("name", "source"))


@dataclass
class _Manifest:
    """One manifest on its way: what is found out is collected here."""

    document: Node
    name: str
    gaps: dict[Gap, None] = field(default_factory=dict)
    connections: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, list[str]] = field(default_factory=dict)
    _known: dict[str, Json] = field(default_factory=dict)

    def gap(self, place: str, what: str, remedy: str = _BY_HAND) -> None:
        self.gaps[Gap(place, what[:500], remedy)] = None

    def converted(self) -> Imported:
        configs = [config for stream in self._streams() if (config := _Stream(self, *stream).config()) is not None]
        if self.document.get("dynamic_streams"):
            self.gap("dynamic_streams", "streams that are found at run time", "write a config for each that is wanted")
        for id_, host in self.connections.items():
            facts = "; ".join(dict.fromkeys(self.wanted.get(id_, []))) or "no login"
            self.gap("spec", f"connection {id_!r} must be made: type http, host {host}", f"it holds: {facts}")
        return Imported(tuple(configs), tuple(self.gaps))

    def _streams(self) -> Iterator[tuple[Node, str]]:
        listed = self.resolved(self.document.get("streams") or [])
        for index, stream in enumerate(listed if isinstance(listed, list) else []):
            place = f"streams/{index}"
            if not isinstance(stream, dict):
                continue
            if stream.get("type") == "ConditionalStreams":
                self.gap(place, "a condition for these streams", "leave out the configs that are not wanted")
                yield from ((self.resolved(inner), place) for inner in stream.get("streams") or [])
            elif stream.get("type") == "StateDelegatingStream":
                self.gap(place, "another way of reading for the first run", "backfill by hand if it is needed")
                yield {**self.resolved(stream["incremental_stream"]), "name": stream.get("name")}, place
            else:
                yield stream, place

    def resolved(self, node: Json, depth: int = 0) -> Json:
        """Return a node whose own `$ref` is followed; keys beside it win. What lies below is resolved when read."""
        if depth > 50:
            raise ConfigError(Problem("invalid-value", "the manifest's references run in a circle"))
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            target = self.resolved(self._pointed(node["$ref"]), depth + 1)
            beside = {key: value for key, value in node.items() if key != "$ref"}
            if not beside:
                return target
            return {**target, **beside} if isinstance(target, dict) else target
        if isinstance(node, str) and node.startswith("#/definitions/"):
            return self.resolved(self._pointed(node), depth + 1)
        return [self.resolved(item, depth + 1) for item in node] if isinstance(node, list) else node

    def _pointed(self, pointer: str) -> Json:
        found: Json = self.document
        for key in pointer.removeprefix("#/").split("/"):
            key = key.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key not in found and "$ref" in found:
                found = self.resolved(found)
            if not isinstance(found, dict) or key not in found:
                raise ConfigError(Problem("invalid-value", f"the manifest refers to {pointer!r}, which it has not"))
            found = found[key]
        return found

    def specification(self, keys: tuple[str, ...]) -> Node:
        """Return what the manifest's spec says of a user's input; nothing when it says nothing."""
        spec = self.resolved(self.document.get("spec") or {})
        found: Json = spec.get("connection_specification") or {}
        for key in keys:
            properties = found.get("properties") or {} if isinstance(found, dict) else {}
            found = properties.get(key)
            if found is None:
                options = _options(spec, keys)
                return options if options is not None else {}
        return found if isinstance(found, dict) else {}

    def connection(self, origin: str, *, kind: str = "api") -> str:
        """Return the id of the connection for an origin."""
        for id_, host in self.connections.items():
            if host == origin:
                return id_
        id_ = f"{table_name(self.name)}_{kind}"
        taken = [known for known in self.connections if known.startswith(id_)]
        id_ = f"{id_}_{len(taken) + 1}" if taken else id_
        self.connections[id_] = origin
        return id_

    def needs(self, connection: str, fact: str) -> None:
        """Note what a connection must hold."""
        self.wanted.setdefault(connection, []).append(fact)


def _options(spec: Node, keys: tuple[str, ...]) -> Node | None:
    """Return an input that only one of several kinds of login has."""
    properties = (spec.get("connection_specification") or {}).get("properties") or {}
    for option in (properties.get(keys[0]) or {}).get("oneOf") or () if keys else ():
        found: Json = option
        for key in keys[1:]:
            found = (found.get("properties") or {}).get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return None


class _Stream:
    """One stream on its way to a config."""

    def __init__(self, manifest: _Manifest, stream: Node, place: str) -> None:
        self.manifest, self.stream, self.place = manifest, stream, place
        self.parameters: Node = dict(stream.get("$parameters") or {})
        self.name = str(stream.get("name") or self.parameters.get("name") or place.replace("/", "_"))
        self.place = f"streams/{self.name}"
        self.params: Node = {}
        self.partition_columns: dict[str, str] = {}
        self.sliced = False

    def gap(self, where: str, what: str, remedy: str = _BY_HAND) -> None:
        self.manifest.gap(f"{self.place}/{where}", what, remedy)

    def part(self, node: Node, key: str) -> Node:
        """Return a component below `node`, with the parameters that reach it."""
        found = self.manifest.resolved(node.get(key))
        if not isinstance(found, dict):
            return {}
        self.parameters |= found.get("$parameters") or {}
        return found

    def config(self) -> Node | None:
        """Return the pipeline's config; None where the stream can't be read by the http source."""
        retriever = self.part(self.stream, "retriever")
        if retriever.get("type", "SimpleRetriever") != "SimpleRetriever":
            self.gap("retriever", f"{retriever.get('type')}: jobs and custom code can't be said")
            return None
        decoder = self.part(retriever, "decoder").get("type", "JsonDecoder")
        if decoder not in ("JsonDecoder", "JsonlDecoder", "IterableDecoder"):
            self.gap("retriever/decoder", f"{decoder}: http reads JSON and NDJSON")
            return None
        partitions = self._partitions(retriever.get("partition_router"), "retriever/partition_router")
        source: Node = {"type": "http", **self._request(retriever, "retriever", main=True)}
        cursor = self._incremental(source)
        transforms = self._transforms(retriever, partitions)
        for partition in partitions:
            if column := self.partition_columns.get(partition["name"]):
                partition["column"] = column
        if partitions:
            source["partitions"] = partitions
        self._post(source, [source, *partitions, source.get("slices", {})])
        for partition in partitions:
            self._post(partition, [partition])
        if rate := self._rate():
            source["requests_per_second"] = rate
        keys = self._primary_key()
        config: Node = {
            "dag_id": dag_id(self.manifest.name, self.name),
            "description": f"Stream {self.name} of {self.manifest.name}, imported from a low-code manifest.",
            "schedule": "@daily",
            "start_date": "2025-01-01",
        }
        if self.params:
            config["params"] = self.params
        way = "merge" if keys else "append" if cursor else "replace"
        destination: Node = {"type": "duckdb", "table": table_name(self.name), "write_disposition": way}
        if keys:
            destination["primary_key"] = keys
        elif cursor and "lookback" in source:
            self.gap("primary_key", "records are read twice (lookback) and none tells them apart", "add a primary_key")
            source.pop("lookback")
        return {**config, "source": source, "transforms": transforms, "destination": destination}

    def _post(self, holder: Node, options: list[Node]) -> None:
        """Make a request that carries parameters in its body a POST; a GET with a body is nothing that http sends."""
        options = [*options, holder.get("pagination", {})]
        if any(option.get("location") == "body" for option in options) and holder.get("method") != "POST":
            if "endpoint" not in holder:
                return
            holder["method"] = "POST"
            self.gap("retriever/requester", "a GET with a body", "it is sent as a POST; see if the API takes that")

    # ---- The request

    def _request(self, retriever: Node, where: str, *, main: bool) -> Node:
        """Return what is asked for, and where the records are: of the stream itself, or of a parent."""
        requester = self.part(retriever, "requester")
        if requester.get("type", "HttpRequester") != "HttpRequester":
            self.gap(f"{where}/requester", f"{requester.get('type')} is code")
        made: Node = {}
        origin, path = self._url(requester, f"{where}/requester")
        if main:
            made["connection"] = self.manifest.connection(origin)
            if auth := self._auth(self.part(requester, "authenticator"), made["connection"], f"{where}/requester"):
                made["auth"] = auth
        made["endpoint"] = path
        method = str(requester.get("http_method", "GET")).upper()
        if method == "POST":
            made["method"] = "POST"
        elif method != "GET":
            self.gap(f"{where}/requester/http_method", f"method {method}")
        for ours, theirs in (("query", "request_parameters"), ("headers", "request_headers")):
            values = self._values(requester.get(theirs), f"{where}/requester/{theirs}")
            if ours == "headers":
                values = self._headers(values, f"{where}/requester/{theirs}")
            if values:
                made[ours] = values
        self._body(requester, made, f"{where}/requester", main=main)
        selector = self.part(retriever, "record_selector")
        extractor = self.part(selector, "extractor")
        if extractor.get("type", "DpathExtractor") != "DpathExtractor":
            self.gap(f"{where}/record_selector/extractor", f"{extractor.get('type')} is code")
        if records := self._path(extractor.get("field_path"), f"{where}/record_selector/extractor/field_path"):
            made["records"] = records
        paginator = self._pagination(self.part(retriever, "paginator"), made, f"{where}/paginator")
        if paginator:
            made["pagination"] = paginator
        if main:
            self._errors(self.part(requester, "error_handler"), made, f"{where}/requester/error_handler")
        return made

    def _url(self, requester: Node, where: str) -> tuple[str, str]:
        """Return origin and path of the requests."""
        base = str(requester.get("url_base") or self.parameters.get("url_base") or "")
        path = str(requester.get("path") or ("" if requester.get("url") else self.parameters.get("path") or ""))
        whole = str(requester.get("url") or "") or f"{base.rstrip('/')}/{path.lstrip('/')}"
        match = re.match(r"\A((?:https?://)?(?:\{\{.*?\}\}|[^/{])+)(.*)\Z", whole.strip(), re.DOTALL)
        host, rest = match.groups() if match else (whole, "")
        if not is_plain(host):
            host = re.sub(r"\{\{.*?\}\}", "…", host)
            self.gap(f"{where}/url", f"the host {host!r} is an input", "put it into the connection")
        said = text_of(rest, self._say)
        if said is None:
            self.gap(f"{where}/path", f"{rest!r} can't be said", "write the endpoint by hand")
            said = re.sub(r"\{[{%].*?[%}]\}", "", rest)
        said = re.sub(r"(?<!:)//+", "/", re.sub(r"\s+", "", said))
        return host, said

    def _say(self, node: ast.expr) -> str | None:
        """Return a value of the manifest in our terms; None when there are none."""
        node = without_paging(node)
        if isinstance(node, ast.Constant):
            return "" if node.value is None else str(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._say(node.left), self._say(node.right)
            return left + right if left is not None and right is not None else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and isinstance(node.right, ast.Name):
            return self._say(node.left) if node.right.id in ("string", "int", "trim", "urlencode") else None
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and len(node.values) == 2:
            found, default = access(node.values[0]), node.values[1]
            if found and found[0] == "config" and isinstance(default, ast.Constant):
                return self._param(found[1], default.value)
            return None
        found = access(node)
        if found is None:
            return None
        root, keys = found
        if root == "config" and keys:
            return self._param(keys, None)
        if root == "parameters" and len(keys) == 1:
            value = self.parameters.get(keys[0])
            return str(value) if isinstance(value, str | int | float) and is_plain(str(value)) else None
        if root in ("stream_slice", "stream_partition", "stream_interval", "stream_state") and keys:
            if keys[-1] in ("start_time", "end_time", *self._span_names()):
                self.sliced = True
                return "{slice_end}" if keys[-1] in ("end_time", self._span_names()[1]) else "{slice_start}"
            return f"{{{_name(keys[-1])}}}" if root != "stream_interval" and root != "stream_state" else None
        return None

    def _span_names(self) -> tuple[str, str]:
        sync = self.manifest.resolved(self.stream.get("incremental_sync") or {})
        names = sync if isinstance(sync, dict) else {}
        return str(names.get("partition_field_start", "")) or "-", str(names.get("partition_field_end", "")) or "-"

    def _param(self, keys: tuple[str, ...], default: Json) -> str | None:
        """Declare a user's input as a run parameter; None for one that is secret."""
        said = self.manifest.specification(keys)
        if said.get("airbyte_secret"):
            return None
        name = _name("_".join(keys))
        kind = said.get("type", "string")
        kind = next((each for each in kind if each != "null"), "string") if isinstance(kind, list) else kind
        if kind not in ("string", "integer", "number", "boolean"):
            return None
        examples = said.get("examples")
        value = next(
            (each for each in (said.get("default"), default, *(examples if isinstance(examples, list) else ()))
             if each is not None),
            None,
        )  # fmt: skip
        param: Node = {"type": kind}
        if isinstance(value, str if kind == "string" else int | float) and _fits(kind, value):
            param["default"] = value
        else:
            self.gap(f"params/{name}", f"input {name!r} has no default", "give params its value")
        if said.get("description"):
            param["description"] = " ".join(re.sub(r"<[^>]*>", "", str(said["description"])).split())[:300]
        self.params[name] = param
        return f"${{params.{name}}}"

    def _values(self, given: Json, where: str) -> Node:
        """Return the key/value pairs that can be said."""
        given = self.manifest.resolved(given)
        if given in (None, ""):
            return {}
        if not isinstance(given, dict):
            self.gap(where, f"{str(given)[:100]!r} is computed as a whole", "write the values by hand")
            return {}
        made: Node = {}
        for key, value in given.items():
            if key == "$parameters":
                continue
            if isinstance(value, dict | list):
                self.gap(f"{where}/{key}", "a computed or nested value", "write it by hand")
                continue
            said = text_of(value, self._say) if isinstance(value, str) else value
            if said is None:
                self.gap(f"{where}/{key}", f"{value!r} can't be said or is secret", "write it by hand, or leave it out")
            elif said != "":
                made[str(key)] = said
        return made

    def _headers(self, values: Node, where: str) -> Node:
        made = {}
        for name, value in values.items():
            if name.lower() in ("authorization", "cookie", "host", "content-length"):
                self.gap(f"{where}/{name}", "a header that belongs to the connection", "put it into auth or its extra")
            elif name.lower() == "content-type":
                continue  # it follows from the body
            else:
                made[name] = str(value)
        return made

    def _body(self, requester: Node, made: Node, where: str, *, main: bool) -> None:
        body = self.manifest.resolved(requester.get("request_body"))
        kind = body.get("type") if isinstance(body, dict) else None
        given = body.get("value") if kind else None
        if given is None:
            given = requester.get("request_body_json") or requester.get("request_body_data")
            kind = "RequestBodyUrlEncodedForm" if requester.get("request_body_data") else kind
        if given is None:
            return
        said = self._json(given)
        if not isinstance(said, dict):
            self.gap(f"{where}/request_body", "the body is a computed or plain text", "write it by hand")
            return
        made["body"] = said
        made["method"] = "POST"
        if kind == "RequestBodyUrlEncodedForm" and main:
            made["body_format"] = "form"

    def _json(self, value: Json) -> Json:
        if isinstance(value, dict):
            items = {str(key): self._json(item) for key, item in value.items() if key != "$parameters"}
            return {key: item for key, item in items.items() if item is not None}
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, str) and not is_plain(value):
            said = text_of(value, self._say)
            if said is None:
                self.gap("retriever/requester/request_body", f"{value!r} can't be said", "write it by hand")
            return said
        return value

    def _path(self, given: Json, where: str) -> str:
        keys = [given] if isinstance(given, str) else list(given or [])
        said = [text_of(str(key), self._say) for key in keys]
        plain = [key for key in said if key is not None and key != "*" and not set(".{") & set(key)]
        if len(plain) < len(said):
            self.gap(where, f"path {keys!r}: only plain keys lead to the records", "set 'records' by hand")
            plain = plain[: next(i for i, key in enumerate(said) if key not in plain)]
        return ".".join(key for key in plain if key)

    # ---- Pagination

    def _pagination(self, paginator: Node, made: Node, where: str) -> Node | None:
        if paginator.get("type", "NoPagination") == "NoPagination":
            return None
        strategy = self.part(paginator, "pagination_strategy")
        token, size = self.part(paginator, "page_token_option"), self.part(paginator, "page_size_option")
        page_size = self._number(strategy.get("page_size"))
        kind = strategy.get("type")
        option = self._option(token, f"{where}/page_token_option")
        size_option = self._option(size, f"{where}/page_size_option")
        if kind == "PageIncrement" and option:
            page: Node = {"type": "page", **option, "start": strategy.get("start_from_page", 0)}
            return {**page, **self._sized(size_option, page_size, option, made)}
        if kind == "OffsetIncrement" and option:
            offset: Node = {"type": "offset", **option, "limit": page_size or 100}
            if size_option and size_option.get("location") == option.get("location"):
                offset["limit_param"] = size_option["param"]
            elif not size_option:
                self.gap(where, "an offset without a page size", "see whether the API takes the parameter 'limit'")
            return offset
        if kind == "CursorPagination":
            if page_size and size_option:
                self._fixed(size_option, page_size, made)
            return self._cursor(strategy, token, option, where)
        self.gap(where, f"{kind} is code or lacks its parameter")
        return None

    def _sized(self, size: Node | None, page_size: int | None, option: Node, made: Node) -> Node:
        if not size or not page_size:
            return {}
        if size.get("location") == option.get("location"):
            return {"size_param": size["param"], "size": page_size}
        self._fixed(size, page_size, made)
        return {}

    def _fixed(self, option: Node, value: int, made: Node) -> None:
        """Send the same parameter with every request."""
        place = {"query": "query", "header": "headers", "body": "body"}[option.get("location", "query")]
        made[place] = {**made.get(place, {}), option["param"]: str(value) if place == "headers" else value}

    def _option(self, node: Node, where: str) -> Node | None:
        """Return `param` and `location` of a request option."""
        if not node or node.get("type") == "RequestPath":
            return None
        name = ".".join(node["field_path"]) if isinstance(node.get("field_path"), list) else node.get("field_name")
        said = text_of(str(name or ""), self._say)
        if not said or node.get("inject_into") not in _LOCATIONS:
            self.gap(where, f"into {node.get('inject_into')} {name!r}", "set param and location by hand")
            return None
        location = _LOCATIONS[node["inject_into"]]
        return {"param": said, **({} if location == "query" else {"location": location})}

    def _cursor(self, strategy: Node, token: Node, option: Node | None, where: str) -> Node | None:
        found = access(only(str(strategy.get("cursor_value") or "")))
        stop = str(strategy.get("stop_condition") or "")
        if found is None:
            self.gap(f"{where}/cursor_value", f"{strategy.get('cursor_value')!r}", "set the pagination by hand")
            return None
        root, keys = found
        if root == "headers" and [key.lower() for key in keys] == ["link", "next", "url"]:
            return {"type": "link_header"}
        made: Node
        if root == "response" and keys:
            made = {"path": ".".join(keys)}
        elif root == "headers" and len(keys) == 1:
            made = {"header": keys[0]}
        elif root == "last_record" or (root == "last_records" and keys[:1] == ("-1",)):
            made = {"last_record": ".".join(keys[1:] if root == "last_records" else keys)}
        else:
            self.gap(f"{where}/cursor_value", f"{strategy.get('cursor_value')!r}", "set the pagination by hand")
            return None
        more = self._more(stop, ".".join(keys), f"{where}/stop_condition")
        if token.get("type") == "RequestPath":
            if "path" not in made:
                self.gap(f"{where}/cursor_value", f"the next URL in {root}", "set the pagination by hand")
                return None
            return {"type": "next_url", **made, **more}
        if option is None:
            self.gap(f"{where}/page_token_option", "nothing takes the cursor", "set the pagination by hand")
            return None
        return {"type": "cursor", **made, **option, **more}

    def _more(self, stop: str, cursor: str, where: str) -> Node:
        """Return `has_more` for a stop condition; none where it only says that the cursor is missing."""
        if not stop.strip():
            return {}
        node = only(stop)
        target: ast.expr | None = None
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            target = node.operand
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            shown = ast.unparse(node.comparators[0]).lower()
            if shown in ("false", "none", "null", "''", "{}") and isinstance(node.ops[0], ast.Eq | ast.Is):
                target = node.left
            if isinstance(node.ops[0], ast.NotIn) and isinstance(node.left, ast.Constant):
                return {}  # the key of the cursor is not there
        found = access(target)
        if found and found[0] == "response":
            path = ".".join(found[1])
            return {} if path == cursor or cursor.startswith(f"{path}.") else {"has_more": path}
        if found and found[0] == "headers":
            return {}
        self.gap(
            where, f"{stop!r} can't be said", "an empty page or a missing cursor ends reading; see if that will do"
        )
        return {}

    def _number(self, value: Json) -> int | None:
        if isinstance(value, str):
            said = text_of(value, self._say)
            value = int(said) if said and said.isdigit() else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    # ---- Auth

    def _auth(self, node: Node, connection: str, where: str) -> Node | None:
        place, kind = f"{where}/authenticator", node.get("type", "NoAuth")
        needs = self.manifest.needs
        if kind == "NoAuth":
            return None
        if kind == "SelectiveAuthenticator":
            options = self.manifest.resolved(node.get("authenticators") or {})
            chosen = next(iter(options), "")
            self.gap(place, f"several ways to log in: {', '.join(options)}", f"{chosen!r} was taken; change auth")
            return self._auth(self.manifest.resolved(options[chosen]), connection, where) if options else None
        if kind == "BasicHttpAuthenticator":
            needs(connection, f"login from {node.get('username')}, password from {node.get('password') or 'nothing'}")
            return {"type": "basic"}
        if kind == "BearerAuthenticator":
            needs(connection, f"password from {node.get('api_token')}")
            return {"type": "bearer"}
        if kind == "ApiKeyAuthenticator":
            return self._api_key(node, connection, place)
        if kind == "OAuthAuthenticator":
            return self._oauth(node, connection, place)
        if kind == "SessionTokenAuthenticator":
            return self._session(node, connection, place)
        if kind == "JwtAuthenticator":
            return self._jwt(node, connection, place)
        self.gap(place, f"{kind} is code or outdated", "choose an auth of the http source")
        return None

    def _api_key(self, node: Node, connection: str, place: str) -> Node | None:
        into = self.manifest.resolved(node.get("inject_into") or {})
        name = into.get("field_name") or node.get("header")
        location = _LOCATIONS.get(into.get("inject_into", "header"))
        token = str(node.get("api_token") or "")
        prefix, braces, rest = token.partition("{{")
        self.manifest.needs(connection, f"password from {braces}{rest}" if braces else "password: the key")
        if location not in ("header", "query") or not isinstance(name, str) or not is_plain(name):
            self.gap(place, f"a key that goes into {into.get('inject_into')} {name!r}", "choose another auth")
            return None
        if name.lower() == "authorization" and location == "header" and prefix.strip():
            return {"type": "bearer", **({"scheme": prefix.strip()} if prefix.strip() != "Bearer" else {})}
        made: Node = {"type": "api_key", "name": name}
        return {
            **made,
            **({"location": "query"} if location == "query" else {}),
            **({"prefix": prefix} if prefix else {}),
        }

    def _oauth(self, node: Node, connection: str, place: str) -> Node:
        grant = str(node.get("grant_type") or "refresh_token")
        made: Node = {"type": "oauth2", "grant": grant if is_plain(grant) else "refresh_token"}
        parts = urlsplit(str(node.get("token_refresh_endpoint") or ""))
        origin, server = f"{parts.scheme}://{parts.netloc}", connection
        if not is_plain(origin) or not parts.netloc:
            self.gap(f"{place}/token_refresh_endpoint", "the token server is an input", "set connection and endpoint")
        else:
            if origin != self.manifest.connections.get(connection):
                server = self.manifest.connection(origin, kind="login")
                made["connection"] = server
            made["endpoint"] = parts.path or "/"
        facts = [f"login from {node.get('client_id')}", f"password from {node.get('client_secret')}"]
        if made["grant"] == "refresh_token":
            facts.append(f"extra refresh_token from {node.get('refresh_token')}")
        self.manifest.needs(server, ", ".join(facts))
        for ours, theirs in (("token_path", "access_token_name"), ("expires_path", "expires_in_name")):
            if isinstance(node.get(theirs), str):
                made[ours] = node[theirs]
        if isinstance(node.get("scopes"), list):
            made["scopes"] = [str(scope) for scope in node["scopes"]]
        others = {"client_id_name": "client_id", "client_secret_name": "client_secret",
                  "refresh_token_name": "refresh_token", "grant_type_name": "grant_type"}  # fmt: skip
        for key, usual in others.items():
            if node.get(key, usual) != usual:
                self.gap(f"{place}/{key}", f"the token server calls it {node[key]!r}", "such a server can't be asked")
        for key in ("refresh_request_headers", "refresh_request_body"):
            if node.get(key):
                self.gap(f"{place}/{key}", "further fields of the token request", "see auth.params and client_auth")
        if node.get("refresh_token_updater"):
            self.gap(f"{place}/refresh_token_updater", "refresh tokens that are valid once are not written back",
                     "let a login of another kind be given, or renew the connection from outside")  # fmt: skip
        return made

    def _session(self, node: Node, connection: str, place: str) -> Node | None:
        requester = self.part(node, "login_requester")
        origin, path = self._url(requester, f"{place}/login_requester")
        if origin != self.manifest.connections.get(connection):
            self.gap(f"{place}/login_requester", f"the login is at {origin}", "the login must be on the API's own host")
            return None
        made: Node = {"type": "session", "endpoint": path}
        if str(requester.get("http_method", "GET")).upper() == "GET":
            made["method"] = "GET"
        login = self.manifest.resolved(requester.get("authenticator") or {})
        body = self.manifest.resolved(requester.get("request_body") or {})
        fields = (body.get("value") if isinstance(body, dict) else None) or requester.get("request_body_json")
        fields = fields or requester.get("request_body_data") or {}
        if isinstance(login, dict) and login.get("type") == "BasicHttpAuthenticator":
            made["send"] = "basic"
        elif isinstance(fields, dict):
            if requester.get("request_body_data") or body.get("type") == "RequestBodyUrlEncodedForm":
                made["send"] = "form"
            for key, value in fields.items():
                found = access(only(str(value)))
                secret = bool(found) and self.manifest.specification(found[1] if found else ()).get("airbyte_secret")
                if found and found[0] == "config":
                    made["password_field" if secret or "pass" in str(key).lower() else "login_field"] = str(key)
                elif is_plain(str(value)):
                    made.setdefault("params", {})[str(key)] = str(value)
                else:
                    self.gap(f"{place}/login_requester/{key}", f"{value!r} can't be said", "see auth.params")
        self.manifest.needs(connection, "login and password of the login request")
        made["token_path"] = self._path(node.get("session_token_path"), f"{place}/session_token_path")
        into = self.part(self.part(node, "request_authentication"), "inject_into")
        if into:
            made |= {"name": into.get("field_name"), "scheme": ""}
            if _LOCATIONS.get(into.get("inject_into", "")) == "query":
                made["location"] = "query"
        if lifetime := _duration(node.get("expiration_duration")):
            made["lifetime"] = lifetime
        return made

    def _jwt(self, node: Node, connection: str, place: str) -> Node:
        made: Node = {"type": "jwt", "algorithm": node.get("algorithm")}
        self.manifest.needs(connection, f"password from {node.get('secret_key')}")
        claims = {**(node.get("jwt_payload") or {}), **(node.get("additional_jwt_payload") or {})}
        headers = {**(node.get("jwt_headers") or {}), **(node.get("additional_jwt_headers") or {})}
        for ours, given in (("claims", claims), ("headers", headers)):
            said = {}
            for key, value in given.items():
                text = text_of(value, self._say) if isinstance(value, str) else value
                if text is None or (ours == "headers" and "${" in str(text)):
                    self.gap(f"{place}/{key}", f"{value!r} can't be said here", f"write it into auth.{ours}")
                else:
                    said[key] = str(text) if ours == "headers" else text
            if said:
                made[ours] = said
        if node.get("base64_encode_secret_key"):
            made["base64_key"] = True
        if isinstance(node.get("token_duration"), int):
            made["lifetime"] = f"{node['token_duration']}s"
        if isinstance(node.get("header_prefix"), str):
            made["scheme"] = node["header_prefix"]
        if node.get("passphrase") or node.get("request_option"):
            self.gap(place, "a passphrase, or a token outside of a header", "store the key without a passphrase")
        return made

    # ---- Parts and times

    def _partitions(self, given: Json, where: str) -> list[Node]:
        given = self.manifest.resolved(given)
        made: list[Node] = []
        for router in given if isinstance(given, list) else [given] if given else []:
            kind = router.get("type")
            if kind == "GroupingPartitionRouter":
                self.gap(
                    where, f"groups of {router.get('group_size')} values in one request", "they are read one by one"
                )
                made += self._partitions(router.get("underlying_partition_router"), where)
            elif kind == "ListPartitionRouter":
                made += self._list(router, where)
            elif kind == "SubstreamPartitionRouter":
                made += self._parents(router, where)
            else:
                self.gap(where, f"{kind} is code")
        return made

    def _list(self, router: Node, where: str) -> list[Node]:
        values = router.get("values")
        if not isinstance(values, list) or not values:
            self.gap(f"{where}/values", f"{values!r} is an input", "write the values into the list partition")
            values = ["value"]
        node: Node = {"type": "list", "name": _name(str(router.get("cursor_field") or "value")), "values": values}
        option = self._option(self.part(router, "request_option"), f"{where}/request_option")
        return [{**node, **(option or {})}]

    def _parents(self, router: Node, where: str) -> list[Node]:
        configs = self.manifest.resolved(router.get("parent_stream_configs") or [])
        if len(configs) != 1:
            self.gap(
                where,
                f"{len(configs)} parents one after the other",
                "the first one was taken; add configs for the others",
            )
        made: list[Node] = []
        for config in configs[:1]:
            stream = self.manifest.resolved(config["stream"])
            outer, self.parameters = (self.parameters, self.sliced), dict(stream.get("$parameters") or {})
            retriever = self.part(stream, "retriever")
            if retriever.get("type", "SimpleRetriever") != "SimpleRetriever":
                self.gap(where, f"a parent of {retriever.get('type')}")
                self.parameters, self.sliced = outer
                continue
            made += self._partitions(retriever.get("partition_router"), f"{where}/parent")
            request = self._request(retriever, f"{where}/parent", main=False)
            self.parameters, self.sliced = outer
            key = str(config.get("parent_key", "id")).replace("/", ".")
            node = {
                "type": "parent",
                "name": _name(str(config.get("partition_field", "parent_id"))),
                **request,
                "key": key,
            }
            node |= self._option(self.part(config, "request_option"), f"{where}/request_option") or {}
            for path in config.get("extra_fields") or []:
                self.gap(f"{where}/extra_fields", f"{path!r}", "add it to 'columns' of the parent where it is needed")
            self._dependency(config, stream, node, where)
            made.append(node)
        return made

    def _dependency(self, config: Node, parent: Node, node: Node, where: str) -> None:
        """Say that only changed parents are read, where their cursor goes into the query."""
        sync = self.part(parent, "incremental_sync")
        if "{slice_" in repr(node):
            self.gap(where, "the parent is read in spans of time of its own", "all parents are read; see its query")
            node["query"] = {key: value for key, value in node.get("query", {}).items() if "{slice_" not in str(value)}
        if not config.get("incremental_dependency"):
            return
        option = self._option(self.part(sync, "start_time_option"), where) if sync else None
        form = str(sync.get("datetime_format", "")) if sync else ""
        if self.stream.get("incremental_sync") and option and "location" not in option and form.startswith("%Y"):
            node["query"] = {**node.get("query", {}), option["param"]: f"${{cursor:{form.replace('%_ms', '000')}}}"}
        else:
            self.gap(where, "only changed parents are read", "all are read; put ${cursor} into the parent's query")

    def _incremental(self, source: Node) -> str | None:
        sync = self.part(self.stream, "incremental_sync")
        if not sync:
            if self.sliced:
                self.gap("retriever/requester", "a span of time without an incremental sync", "remove {slice_start}")
            return None
        where, cursor = "incremental_sync", sync.get("cursor_field")
        if sync.get("type") != "DatetimeBasedCursor" or not isinstance(cursor, str) or not is_plain(cursor):
            self.gap(where, f"{sync.get('type')} on {cursor!r}", "set cursor_field and ${cursor} by hand")
            return None
        source["cursor_field"] = cursor
        if lookback := _duration(sync.get("lookback_window")):
            source["lookback"] = lookback
        elif sync.get("lookback_window"):
            self.gap(f"{where}/lookback_window", f"{sync['lookback_window']!r}", "set lookback by hand")
        formats = [str(form) for form in sync.get("cursor_datetime_formats") or [sync.get("datetime_format", "")]]
        if not any(form.startswith("%Y-%m-%d") or form in ("%s", "%ms", "%s_as_float") for form in formats):
            self.gap(f"{where}/cursor_datetime_formats", f"{formats[0]!r} is text to us", "leave cursor_field out")
        starts, ends = (self._option(self.part(sync, key), f"{where}/{key}") for key in
                        ("start_time_option", "end_time_option"))  # fmt: skip
        if not (starts or ends or self.sliced):
            return cursor
        slices: Node = {"start": self._start(sync), "format": _format(str(sync.get("datetime_format", "")))}
        step, granularity = _duration(sync.get("step")), _duration(sync.get("cursor_granularity"))
        if step:
            slices |= {"step": step, **({"granularity": granularity} if granularity else {})}
        for key, option in (("start_param", starts), ("end_param", ends)):
            if option:
                slices[key] = option["param"]
                slices |= {"location": option["location"]} if "location" in option else {}
        if sync.get("end_datetime") and "now" not in str(sync["end_datetime"]):
            self.gap(f"{where}/end_datetime", f"{sync['end_datetime']!r}", "slices end now, or at a backfill's end")
        source["slices"] = slices
        return cursor

    def _start(self, sync: Node) -> str:
        given = self.manifest.resolved(sync.get("start_datetime"))
        text = str(given.get("datetime") if isinstance(given, dict) else given)
        said = text_of(text, self._say)
        if said is None:
            self.gap("incremental_sync/start_datetime", f"{text!r} can't be said", "set slices.start")
            return "2020-01-01T00:00:00Z"
        return said

    # ---- Records

    def _primary_key(self) -> list[str]:
        given = self.stream.get("primary_key") or self.parameters.get("primary_key") or []
        keys = [given] if isinstance(given, str) else list(given)
        flat = [key[0] if isinstance(key, list) and len(key) == 1 else key for key in keys]
        if not all(isinstance(key, str) and key for key in flat):
            self.gap("primary_key", f"{given!r} lies within the records", "derive a column of it for primary_key")
            return []
        return flat

    def _transforms(self, retriever: Node, partitions: list[Node]) -> list[Node]:
        made: list[Node] = []
        known = {partition["name"] for partition in partitions}
        for node in self.manifest.resolved(self.stream.get("transformations") or []):
            kind = node.get("type")
            if kind == "AddFields":
                columns = self._added(node, known)
                made += [{"type": "derive", "columns": columns}] if columns else []
            elif kind == "RemoveFields" and not node.get("condition"):
                pointers = node.get("field_pointers") or []
                nested = [pointer for pointer in pointers if len(pointer) != 1]
                if nested:
                    self.gap("transformations", f"removing {nested!r} within records", "derive or drop the column")
                if drop := [pointer[0] for pointer in pointers if len(pointer) == 1]:
                    made.append({"type": "drop", "columns": drop})
                    self.gap("transformations", f"drop of {', '.join(drop)} fails where no record has it",
                             "remove the step then")  # fmt: skip
            else:
                self.gap("transformations", f"{kind}", "see the transforms rename, derive, flatten")
        selector = self.part(retriever, "record_selector")
        condition = self.part(selector, "record_filter").get("condition")
        if condition:
            node_ = only(str(condition)) or parse(str(condition))
            where = sql_of(node_, self._column) if node_ is not None else None
            if where and "slice_" not in where:
                made.insert(0, {"type": "filter", "where": where})
            elif "stream_interval" not in str(condition) and "stream_slice" not in str(condition):
                self.gap("record_filter", f"{condition!r} can't be said", "add a filter transform")
        return made

    def _column(self, node: ast.expr) -> str | None:
        found = access(node)
        if found and found[0] == "record" and len(found[1]) == 1:
            return '"' + found[1][0].replace('"', '""') + '"'
        return self._say(node) if found and found[0] == "config" else None

    def _added(self, node: Node, known: set[str]) -> Node:
        columns: Node = {}
        for added in self.manifest.resolved(node.get("fields") or []):
            path, value = added.get("path") or [], str(added.get("value", ""))
            parsed = only(value)
            found = access(parsed)
            if len(path) != 1 or node.get("condition"):
                self.gap("transformations", f"adding {path!r} within records or on a condition", "derive it")
            elif found and found[0] in ("stream_slice", "stream_partition") and _name(found[1][-1]) in known:
                self.partition_columns[_name(found[1][-1])] = path[0]
            elif is_plain(value):
                columns[path[0]] = "'" + value.replace("'", "''") + "'"
            elif parsed is not None and (said := self._column(parsed)):
                columns[path[0]] = said
            else:
                self.gap("transformations", f"{path[0]} = {value!r}", "derive it by hand")
        return columns

    # ---- Errors

    def _errors(self, handler: Node, made: Node, where: str) -> None:
        handlers = [handler] if handler.get("type") != "CompositeErrorHandler" else [
            self.manifest.resolved(each) for each in handler.get("error_handlers") or []
        ]  # fmt: skip
        rules: list[Node] = []
        retry: Node = {}
        for each in handlers:
            if not each:
                continue
            if each.get("type", "DefaultErrorHandler") != "DefaultErrorHandler":
                self.gap(where, f"{each.get('type')} is code")
                continue
            if isinstance(each.get("max_retries"), int):
                retry["tries"] = max(retry.get("tries", 1), min(50, each["max_retries"] + 1))
            for strategy in self.manifest.resolved(each.get("backoff_strategies") or []):
                retry |= self._backoff(strategy, where)
            for filter_ in self.manifest.resolved(each.get("response_filters") or []):
                rules += self._rules(filter_, where)
        if rules:
            made["errors"] = rules
        if retry:
            made["retry"] = retry

    def _backoff(self, node: Node, where: str) -> Node:
        kind = node.get("type")
        if kind == "ConstantBackoffStrategy" and isinstance(node.get("backoff_time_in_seconds"), int | float):
            return {"backoff": "constant", "first_wait": f"{node['backoff_time_in_seconds']}s"}
        if kind == "ExponentialBackoffStrategy" and isinstance(node.get("factor", 5), int | float):
            return {"first_wait": f"{node.get('factor', 5) * 2}s"}
        if kind in ("WaitTimeFromHeader", "WaitUntilTimeFromHeader") and is_plain(str(node.get("header"))):
            if node.get("regex") or node.get("min_wait"):
                self.gap(f"{where}/backoff_strategies", "a pattern or least wait for the header", "see retry")
            made: Node = {}
            if str(node["header"]).lower() != "retry-after":
                made["wait_header"] = node["header"]
                made["wait_kind"] = "seconds" if kind == "WaitTimeFromHeader" else "epoch"
            if isinstance(node.get("max_waiting_time_in_seconds"), int | float):
                made["max_wait"] = f"{node['max_waiting_time_in_seconds']}s"
            return made
        self.gap(f"{where}/backoff_strategies", f"{kind}", "see retry")
        return {}

    def _rules(self, node: Node, where: str) -> list[Node]:
        """Return a rule for each criterion: in a manifest one of them is enough."""
        actions = {"SUCCESS": "accept", "FAIL": "fail", "RETRY": "retry", "IGNORE": "ignore",
                   "RATE_LIMITED": "rate_limited"}  # fmt: skip
        if node.get("action") == "REFRESH_TOKEN_THEN_RETRY":
            return []  # http does so by itself on 401
        action = actions.get(str(node.get("action", "FAIL")))
        if action is None:
            self.gap(f"{where}/response_filters", f"action {node.get('action')}", "see errors")
            return []
        rule: Node = {"action": action}
        message = node.get("error_message")
        if isinstance(message, str) and is_plain(message) and action == "fail":
            rule["says"] = message[:500]
        made: list[Node] = []
        if node.get("http_codes"):
            made.append({"status": list(node["http_codes"]), **rule})
        if isinstance(node.get("error_message_contains"), str):
            made.append({"message": node["error_message_contains"], **rule})
        if node.get("predicate"):
            found = _predicate(str(node["predicate"]))
            if found is None:
                self.gap(f"{where}/response_filters", f"{node['predicate']!r} can't be said", "see errors")
            else:
                made.append({**found, **rule})
        return made

    def _rate(self) -> float | None:
        budget = self.manifest.resolved(self.manifest.document.get("api_budget") or {})
        rates = []
        for policy in self.manifest.resolved(budget.get("policies") or []):
            limits = [(rate.get("limit"), rate.get("interval")) for rate in policy.get("rates") or []]
            limits.append((policy.get("call_limit"), policy.get("period")))
            for limit, interval in limits:
                seconds = _seconds(interval)
                if isinstance(limit, int) and seconds:
                    rates.append(limit / seconds)
        return round(min(rates), 4) if rates and round(min(rates), 4) > 0 else None


def _name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return name if name[:1].isalpha() or name[:1] == "_" else f"p_{name}"


def _fits(kind: str, value: Json) -> bool:
    return isinstance(value, bool) == (kind == "boolean") and not (kind == "integer" and isinstance(value, float))


def _seconds(text: Json) -> float | None:
    match = _DURATION.match(text) if isinstance(text, str) else None
    if not match or not any(match.groups()):
        return None
    return sum(float(part or 0) * size for part, size in zip(match.groups(), _SECONDS, strict=True))


def _duration(text: Json) -> str | None:
    """Return an ISO 8601 duration as ours; a month counts 30 days, a year 365."""
    seconds = _seconds(text)
    if seconds is None or seconds <= 0:
        return None
    if seconds < 0.001:
        return "1ms"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        if seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms"


def _format(text: str) -> str:
    return {"%s": "epoch", "%s_as_float": "epoch", "%ms": "epoch_ms", "": "iso"}.get(text, text)


def _predicate(text: str) -> Node | None:
    """Return path and value of a predicate on the answer's body."""
    node = only(text)
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        # `'error' in response and response.error == 'x'`: the second says it all
        node = node.values[-1]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = node.left, node.comparators[0]
        if isinstance(node.ops[0], ast.In) and isinstance(left, ast.Constant):
            found = access(right)
            if found and found[0] == "response":
                return {"path": ".".join((*found[1], str(left.value)))}
        found = access(left)
        if isinstance(node.ops[0], ast.Eq) and isinstance(right, ast.Constant) and found and found[0] == "response":
            return {"path": ".".join(found[1]), "equals": right.value}
    found = access(node)
    return {"path": ".".join(found[1])} if found and found[0] == "response" and found[1] else None
