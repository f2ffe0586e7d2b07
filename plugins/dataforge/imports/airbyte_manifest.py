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

from dataforge.errors import ConfigError, Problem
from dataforge.imports._airbyte_auth import Authenticators
from dataforge.imports._airbyte_values import (
    LOCATIONS,
    fits,
    iso_duration,
    iso_seconds,
    part_name,
    predicate,
    time_format,
)
from dataforge.imports.documents import MALFORMED, dag_id, read_document, table_name, understood
from dataforge.imports.gaps import Gap, Imported
from dataforge.imports.interpolation import access, is_plain, only, parse, sql_of, text_of, without_paging

Json = Any
Node = dict[str, Json]

_BY_HAND = "say it by hand in the config, or keep that stream in Airbyte"


def convert(text: str, *, file: Path) -> Imported:
    """Return a config for each stream that can be said, and every gap."""
    document = read_document(text, file)
    if document.get("type") != "DeclarativeSource" and "streams" not in document:
        raise ConfigError(Problem("wrong-type", f"{file.name!r} is no low-code manifest: it has no 'streams'"))
    with understood(file):
        return Manifest(document, _source_name(document, file)).converted()


def _source_name(document: Node, file: Path) -> str:
    """Return the connector's name: the file's, or its folder's where the file is called as all are."""
    stem = file.parent.name if file.stem.lower() in ("manifest", "source") else file.stem
    name = dag_id(re.sub(r"\A(source[-_])+", "", stem or "source").replace("-", "_"))
    return name or str(document.get("name", "source"))


@dataclass
class Manifest:
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
        configs = [config for stream in self._streams() if (config := self._config(*stream)) is not None]
        if self.document.get("dynamic_streams"):
            self.gap("dynamic_streams", "streams that are found at run time", "write a config for each that is wanted")
        for id_, host in self.connections.items():
            facts = "; ".join(dict.fromkeys(self.wanted.get(id_, []))) or "no login"
            self.gap("spec", f"connection {id_!r} must be made: type http, host {host}", f"it holds: {facts}")
        return Imported(tuple(configs), tuple(self.gaps))

    def _config(self, node: Node, place: str) -> Node | None:
        """Return a stream's config; one whose description has parts of a wrong kind becomes a gap."""
        try:
            return Stream(self, node, place).config()
        except MALFORMED as error:
            what = f"a part of it is of another kind than manifests have ({type(error).__name__}: {error})"
            self.gap(f"{place} ({node.get('name')})", what, "check the manifest with Airbyte's own tools")
            return None

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


class Stream:
    """One stream on its way to a config."""

    def __init__(self, manifest: Manifest, stream: Node, place: str) -> None:
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
        origin, path = self.url(requester, f"{where}/requester")
        if main:
            made["connection"] = self.manifest.connection(origin)
            if auth := Authenticators(self).auth(
                self.part(requester, "authenticator"), made["connection"], f"{where}/requester"
            ):
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
        if records := self.path(extractor.get("field_path"), f"{where}/record_selector/extractor/field_path"):
            made["records"] = records
        paginator = self._pagination(self.part(retriever, "paginator"), made, f"{where}/paginator")
        if paginator:
            made["pagination"] = paginator
        if main:
            self._errors(self.part(requester, "error_handler"), made, f"{where}/requester/error_handler")
        return made

    def url(self, requester: Node, where: str) -> tuple[str, str]:
        """Return origin and path of the requests."""
        base = str(requester.get("url_base") or self.parameters.get("url_base") or "")
        path = str(requester.get("path") or ("" if requester.get("url") else self.parameters.get("path") or ""))
        whole = str(requester.get("url") or "") or f"{base.rstrip('/')}/{path.lstrip('/')}"
        match = re.match(r"\A((?:https?://)?(?:\{\{.*?\}\}|[^/{])+)(.*)\Z", whole.strip(), re.DOTALL)
        host, rest = match.groups() if match else (whole, "")
        if not is_plain(host):
            host = re.sub(r"\{\{.*?\}\}", "…", host)
            self.gap(f"{where}/url", f"the host {host!r} is an input", "put it into the connection")
        said = text_of(rest, self.say)
        if said is None:
            self.gap(f"{where}/path", f"{rest!r} can't be said", "write the endpoint by hand")
            said = re.sub(r"\{[{%].*?[%}]\}", "", rest)
        said = re.sub(r"(?<!:)//+", "/", re.sub(r"\s+", "", said))
        return host, said

    def say(self, node: ast.expr) -> str | None:
        """Return a value of the manifest in our terms; None when there are none."""
        node = without_paging(node)
        if isinstance(node, ast.Constant):
            return "" if node.value is None else str(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.say(node.left), self.say(node.right)
            return left + right if left is not None and right is not None else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and isinstance(node.right, ast.Name):
            return self.say(node.left) if node.right.id in ("string", "int", "trim", "urlencode") else None
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
            return f"{{{part_name(keys[-1])}}}" if root != "stream_interval" and root != "stream_state" else None
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
        name = part_name("_".join(keys))
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
        if isinstance(value, str if kind == "string" else int | float) and fits(kind, value):
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
            said = text_of(value, self.say) if isinstance(value, str) else value
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
            said = text_of(value, self.say)
            if said is None:
                self.gap("retriever/requester/request_body", f"{value!r} can't be said", "write it by hand")
            return said
        return value

    def path(self, given: Json, where: str) -> str:
        keys = [given] if isinstance(given, str) else list(given or [])
        said = [text_of(str(key), self.say) for key in keys]
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
        said = text_of(str(name or ""), self.say)
        if not said or node.get("inject_into") not in LOCATIONS:
            self.gap(where, f"into {node.get('inject_into')} {name!r}", "set param and location by hand")
            return None
        location = LOCATIONS[node["inject_into"]]
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
            said = text_of(value, self.say)
            value = int(said) if said and said.isdigit() else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None

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
        node: Node = {"type": "list", "name": part_name(str(router.get("cursor_field") or "value")), "values": values}
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
                "name": part_name(str(config.get("partition_field", "parent_id"))),
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
        if lookback := iso_duration(sync.get("lookback_window")):
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
        slices: Node = {"start": self._start(sync), "format": time_format(str(sync.get("datetime_format", "")))}
        step, granularity = iso_duration(sync.get("step")), iso_duration(sync.get("cursor_granularity"))
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
        said = text_of(text, self.say)
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
        return self.say(node) if found and found[0] == "config" else None

    def _added(self, node: Node, known: set[str]) -> Node:
        columns: Node = {}
        for added in self.manifest.resolved(node.get("fields") or []):
            path, value = added.get("path") or [], str(added.get("value", ""))
            parsed = only(value)
            found = access(parsed)
            if len(path) != 1 or node.get("condition"):
                self.gap("transformations", f"adding {path!r} within records or on a condition", "derive it")
            elif found and found[0] in ("stream_slice", "stream_partition") and part_name(found[1][-1]) in known:
                self.partition_columns[part_name(found[1][-1])] = path[0]
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
            found = predicate(str(node["predicate"]))
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
                seconds = iso_seconds(interval)
                if isinstance(limit, int) and seconds:
                    rates.append(limit / seconds)
        return round(min(rates), 4) if rates and round(min(rates), 4) > 0 else None
