"""From the configuration of dlt's REST API source (JSON, YAML, or the literal in a Python file) to http pipelines.

Python is parsed, never run: what is no literal, such as a secret that is looked up, becomes a gap.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataforge.errors import ConfigError, Problem
from dataforge.imports.documents import dag_id, read_document, table_name
from dataforge.imports.gaps import Gap, Imported

Node = dict[str, Any]
_UNKNOWN = frozenset({"what is no literal"})
"""Stands for an expression; of a type that no description has."""

_RESOURCE = re.compile(r"\{resources\.([A-Za-z0-9_]+)\.([A-Za-z0-9_.]+)\}")
_INCREMENTAL = re.compile(r"\{incremental\.(start_value|last_value|initial_value)\}")
_SCALARS = (str, int, float, bool)


def convert(text: str, *, file: Path) -> Imported:
    """Return a config for each resource that can be said, and every gap."""
    document = _from_python(text, file) if file.suffix == ".py" else read_document(text, file)
    if not isinstance(document.get("client"), dict) or not isinstance(document.get("resources"), list):
        raise ConfigError(Problem("wrong-type", f"{file.name!r} has no REST API configuration: 'client', 'resources'"))
    return _Api(document, dag_id(file.stem.removesuffix("_pipeline"))).converted()


class _Api:
    """One configuration on its way: what is found out is collected here."""

    def __init__(self, document: Node, name: str) -> None:
        self.client: Node = document["client"]
        self.defaults: Node = _object(document.get("resource_defaults"))
        self.name, self.connection = name, f"{name}_api"
        self.gaps: dict[Gap, None] = {}
        listed = [{"name": one, "endpoint": one} if isinstance(one, str) else one for one in document["resources"]]
        self.resources: dict[str, Node] = {}
        for index, one in enumerate(listed):
            if isinstance(one, dict) and isinstance(one.get("name") or _endpoint(one).get("path"), str):
                self.resources[str(one.get("name") or _endpoint(one)["path"])] = one
            else:
                self.gap(f"resources/{index}", "a resource that is Python", "write its config by hand, or use type dlt")

    def gap(self, place: str, what: str, remedy: str) -> None:
        self.gaps[Gap(place, what[:500], remedy)] = None

    def converted(self) -> Imported:
        host = self.client.get("base_url")
        shown = host if isinstance(host, str) else "the API's base URL"
        self.gap("client/base_url", f"connection {self.connection!r} must be made", f"type http, host {shown}")
        auth = self._auth()
        configs = [self._config(name, resource, auth) for name, resource in self.resources.items()]
        return Imported(tuple(configs), tuple(self.gaps))

    def _config(self, name: str, resource: Node, auth: Node | None) -> Node:
        place = f"resources/{name}"
        endpoint = {**_endpoint(self.defaults), **_endpoint(resource)}
        params = {**_object(_endpoint(self.defaults).get("params")), **_object(_endpoint(resource).get("params"))}
        source: Node = {"type": "http", "connection": self.connection}
        path = "/" + str(endpoint.get("path") or name).lstrip("/")
        query, partitions, incremental = self._params(place, path, params, _object(endpoint.get("incremental")))
        path = _RESOURCE.sub(lambda match: f"{{{match[1]}_{match[2].replace('.', '_')}}}", path)
        source["endpoint"] = path
        if str(endpoint.get("method", "GET")).upper() == "POST":
            source["method"] = "POST"
        if auth:
            source["auth"] = auth
        if query:
            source["query"] = query
        if isinstance(endpoint.get("json"), dict):
            source["body"] = endpoint["json"]
        selector = endpoint.get("data_selector")
        if isinstance(selector, str) and selector not in ("$", "", "$[*]"):
            source["records"] = selector.removeprefix("$.").removesuffix("[*]").removesuffix(".")
        elif selector is None:
            self.gap(
                place, "dlt finds the list of records by itself", "name it under 'records' where it is not the answer"
            )
        paginator = endpoint.get("paginator", self.client.get("paginator"))
        source["pagination"] = self._paginator(place, paginator)
        headers = _object(self.client.get("headers")) | _object(endpoint.get("headers"))
        plain = {key: value for key, value in headers.items() if isinstance(value, str)}
        if plain:
            source["headers"] = plain
        for key in sorted(set(headers) - set(plain)):
            self.gap(f"{place}/headers/{key}", "a header that is computed", "put it into the connection's extra")
        if partitions:
            source["partitions"] = partitions
        if incremental:
            source |= incremental
        for key in ("response_actions", "processing_steps", "include_from_parent", "columns"):
            if endpoint.get(key) or resource.get(key):
                self.gap(f"{place}/{key}", f"{key!r}", "say it with 'errors', transforms or 'columns'")
        target = self._destination(name, {**self.defaults, **resource}, bool(incremental))
        return {"dag_id": dag_id(self.name, name), "schedule": None, "source": source, "destination": target}

    def _params(self, place: str, path: str, params: Node, own: Node) -> tuple[Node, list[Node], Node]:
        """Return the query, the partitions by parents, and the keys of an incremental read."""
        query: Node = {}
        partitions: list[Node] = []
        found: Node = {}
        for name, value in params.items():
            if isinstance(value, dict) and value.get("type") == "incremental":
                found = self._incremental(place, value)
                query[name] = "${cursor}"
                if value.get("end_value") or value.get("end_param"):
                    self.gap(f"{place}/params/{name}", "an end of the range", "a backfill reads its own interval")
            elif isinstance(value, dict) and value.get("type") == "resolve":
                partitions += self._parent(place, name, str(value.get("resource")), str(value.get("field")))
                if f"{{{name}}}" not in path:
                    partitions[-1:] = [{**partitions[-1], "param": name}] if partitions else []
            elif isinstance(value, str) and _INCREMENTAL.search(value):
                query[name] = _INCREMENTAL.sub("${cursor}", value)
                found = self._incremental(place, own)
            elif isinstance(value, str) and (match := _RESOURCE.search(value)):
                partitions += [{**one, "param": name} for one in self._parent(place, name, match[1], match[2])]
            elif isinstance(value, _SCALARS):
                query[name] = value
            else:
                self.gap(f"{place}/params/{name}", "a value that is computed", "write the value, or a ${params.…}")
        for match in _RESOURCE.finditer(path):
            partitions += self._parent(place, f"{match[1]}_{match[2].replace('.', '_')}", match[1], match[2])
        if own and not found:
            found = self._incremental(place, own)
            if parameter := own.get("start_param"):
                query[str(parameter)] = "${cursor}"
        return query, partitions, found

    def _incremental(self, place: str, value: Node) -> Node:
        field = str(value.get("cursor_path") or "").removeprefix("$.")
        if not field or "." in field:
            self.gap(place, f"the cursor path {field!r} lies inside of a record", "flatten it, then name the column")
            return {}
        initial = value.get("initial_value")
        if value.get("convert"):
            self.gap(place, "the cursor is converted by Python", "give ${cursor} a pattern, such as ${cursor:%Y-%m-%d}")
        known = isinstance(initial, str | int | float)
        return {"cursor_field": field} | ({"initial_value": initial} if known else {})

    def _parent(self, place: str, name: str, resource: str, field: str) -> list[Node]:
        parent = self.resources.get(resource)
        if parent is None:
            self.gap(place, f"the parent resource {resource!r} is not here", "write the partition by hand")
            return []
        endpoint = {**_endpoint(self.defaults), **_endpoint(parent)}
        path = "/" + str(endpoint.get("path") or resource).lstrip("/")
        if "{" in path:
            self.gap(place, f"the parent {resource!r} has a parent of its own", "write the partitions by hand")
            return []
        found: Node = {"type": "parent", "name": name, "endpoint": path, "key": field}
        selector = endpoint.get("data_selector")
        if isinstance(selector, str) and selector != "$":
            found["records"] = selector.removeprefix("$.").removesuffix("[*]").removesuffix(".")
        found["pagination"] = self._paginator(place, endpoint.get("paginator", self.client.get("paginator")))
        return [found]

    def _paginator(self, place: str, wanted: Any) -> Node:
        given: Node = {"type": wanted} if isinstance(wanted, str) else _object(wanted)
        kind = str(given.get("type", "auto"))
        total = {"total": str(given["total_path"]).removeprefix("$.")} if given.get("total_path") else {}
        if kind == "single_page":
            return {"type": "none"}
        if kind == "header_link":
            return {"type": "link_header"}
        if kind in ("json_link", "json_response"):
            return {"type": "next_url", "path": str(given.get("next_url_path", "next")).removeprefix("$.")}
        if kind in ("cursor", "json_response_cursor"):
            path = str(given.get("cursor_path", "cursors.next")).removeprefix("$.")
            return {"type": "cursor", "path": path, "param": str(given.get("cursor_param", "cursor"))}
        if kind == "offset":
            names = {"param": given.get("offset_param", "offset"), "limit_param": given.get("limit_param", "limit")}
            return {"type": "offset", **names, "limit": int(given.get("limit", 100)), **total}
        if kind == "page_number":
            pages = {"total_pages": total["total"]} if total else {}
            return {
                "type": "page",
                "param": given.get("page_param", "page"),
                "start": given.get("base_page", 0),
                **pages,
            }
        if kind == "auto":
            self.gap(
                place, "dlt finds out by itself how pages follow", "choose a pagination; link headers are followed"
            )
            return {"type": "link_header"}
        self.gap(place, f"the paginator {kind!r}", "choose a pagination")
        return {"type": "none"}

    def _auth(self) -> Node | None:
        auth = self.client.get("auth")
        if auth is None:
            return None
        given: Node = auth if isinstance(auth, dict) else {"type": "bearer"}
        kind = str(given.get("type", "bearer"))
        here = f"the connection {self.connection!r}"
        if kind == "bearer":
            self.gap("client/auth", "the token", f"put it into {here} as its password")
            return {"type": "bearer"}
        if kind == "api_key":
            self.gap("client/auth", "the key", f"put it into {here} as its password")
            location = "query" if given.get("location") in ("query", "param") else "header"
            name = given.get("name", "Authorization")
            return {"type": "api_key", "name": name if isinstance(name, str) else "Authorization", "location": location}
        if kind in ("http_basic", "basic"):
            self.gap("client/auth", "user name and password", f"put them into {here} as login and password")
            return {"type": "basic"}
        self.gap("client/auth", f"the login {kind!r}", "choose a kind of 'auth' of the http source")
        return None

    def _destination(self, name: str, resource: Node, incremental: bool) -> Node:
        keys = resource.get("primary_key") or []
        keys = [keys] if isinstance(keys, str) else [key for key in keys if isinstance(key, str)]
        wanted = resource.get("write_disposition", "append")
        wanted = wanted.get("disposition") if isinstance(wanted, dict) else wanted
        target: Node = {"type": "duckdb", "table": table_name(str(resource.get("table_name") or name))}
        if wanted == "merge" and not keys:
            self.gap(f"resources/{name}", "a merge without a primary key", "name it; rows are appended until then")
        if wanted == "merge" and keys:
            return target | {"write_disposition": "merge", "primary_key": keys}
        if wanted == "replace" and not incremental:
            return target | {"write_disposition": "replace"}
        return target | {"write_disposition": "append"}


def _object(value: Any) -> Node:
    return dict(value) if isinstance(value, Mapping) else {}


def _endpoint(resource: Node) -> Node:
    endpoint = resource.get("endpoint")
    return {"path": endpoint} if isinstance(endpoint, str) else _object(endpoint)


def _from_python(text: str, file: Path) -> Node:
    """Return the first dict literal with a client and resources; what in it is no literal as a mark."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(Problem("unreadable", f"{file.name!r} is no Python: {error}")) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if {"client", "resources"} <= keys:
                found: Node = _literal(node)
                return found
    raise ConfigError(Problem("wrong-type", f"{file.name!r} holds no dict with 'client' and 'resources'"))


def _literal(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(key.value): _literal(value) for key, value in pairs if isinstance(key, ast.Constant)}
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, _SCALARS)):
        return node.value
    return _UNKNOWN
