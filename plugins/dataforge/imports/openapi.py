"""From an OpenAPI 3 description (JSON or YAML) to a draft of the http source for each endpoint that gives a list.

What a description says is taken over; what it does not say (how pages go on, which field tells what is new) is guessed
from the usual names, and each guess is a gap that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataforge.errors import ConfigError, Problem
from dataforge.imports.documents import MALFORMED, dag_id, read_document, table_name, understood
from dataforge.imports.gaps import Gap, Imported

Json = Any
Node = dict[str, Json]

MAX_CONFIGS = 500
_GUESS = "a guess from its name; see the API's documentation"
_LISTS = ("data", "items", "results", "records", "values", "value", "entries", "objects", "rows")
_PAGE = ("page", "page_number", "pagenumber", "page[number]", "p")
_OFFSET = ("offset", "skip", "start", "startat", "start_at", "page[offset]")
_LIMIT = ("limit", "per_page", "perpage", "page_size", "pagesize", "size", "count", "top", "max_results", "maxresults",
          "page[size]", "page[limit]", "take")  # fmt: skip
_CURSOR = ("cursor", "page_token", "pagetoken", "next_token", "nexttoken", "continuation_token", "starting_after",
           "after", "page_info", "start_cursor", "page[after]", "page[cursor]")  # fmt: skip
_NEXT = ("next", "next_url", "nexturl", "next_page", "next_link", "nextlink", "@odata.nextlink", "next_page_url")
_NEXT_CURSOR = ("next_cursor", "nextcursor", "cursor", "next_page_token", "nextpagetoken", "next_token", "nexttoken",
                "continuation_token", "end_cursor", "after", "next")  # fmt: skip
_HOLDERS = ("meta", "pagination", "paging", "links", "_links", "page", "page_info", "pageinfo", "response_metadata",
            "cursors", "cursor", "next")  # fmt: skip
_SINCE = ("updated_since", "updated_after", "modified_since", "since", "updated_at_min", "updated_at[gte]",
          "updated_at_gte", "updated_from", "modified_after", "changed_since", "last_modified_after")  # fmt: skip
_CHANGED = ("updated_at", "updatedat", "modified_at", "last_modified", "updated", "modified", "lastmodified",
            "updated_on", "date_modified", "last_updated", "lastupdated", "modifiedat")  # fmt: skip


def convert(text: str, *, file: Path) -> Imported:
    """Return a draft for each endpoint that gives a list of objects, with its guesses and gaps."""
    document = read_document(text, file)
    if not str(document.get("openapi", "")).startswith("3"):
        said = document.get("openapi") or document.get("swagger")
        message = f"{file.name!r} is no OpenAPI 3 description" + (f": it says version {said}" if said else "")
        raise ConfigError(Problem("wrong-type", message, (), "convert older ones to OpenAPI 3 first"))
    with understood(file):
        return _Description(document, file).converted()


class _Description:
    """One description on its way to drafts."""

    def __init__(self, document: Node, file: Path) -> None:
        self.document = document
        info = document.get("info") if isinstance(document.get("info"), dict) else {}
        assert isinstance(info, dict)
        self.name = table_name(str(info.get("title") or file.stem))
        self.connection = f"{self.name[:40].removesuffix('_api').rstrip('_')}_api"
        self.gaps: dict[Gap, None] = {}

    def gap(self, place: str, what: str, remedy: str) -> None:
        self.gaps[Gap(place, what[:500], remedy)] = None

    def converted(self) -> Imported:
        host, base = self._server()
        lists = dict(self._lists())
        configs: list[Node] = []
        for path, (operation, found) in lists.items():
            if len(configs) == MAX_CONFIGS:
                self.gap(
                    "paths", f"{len(lists)} lists", f"only the first {MAX_CONFIGS} were taken; split the description"
                )
                break
            try:
                configs.append(self._config(path, base, operation, found, lists))
            except MALFORMED as error:
                what = f"a part of it is of another kind than descriptions have ({type(error).__name__}: {error})"
                self.gap(f"paths/{path}/get", what, "check the description with a validator")
        names: dict[str, int] = {}
        for config in configs:
            number = names[config["dag_id"]] = names.get(config["dag_id"], 0) + 1
            if number > 1:
                config["dag_id"] = f"{config['dag_id']}_{number}"
                config["destination"]["table"] = f"{config['destination']['table'][:58]}_{number}"
        for path, item in self._paths():
            if path not in lists and isinstance(item.get("get"), dict):
                self.gap(
                    f"paths/{path}/get", "no list of objects is described there", "nothing, if it gives one object"
                )
        self.gap("servers", f"connection {self.connection!r} must be made: type http, host {host}", self._holds())
        return Imported(tuple(configs), tuple(self.gaps))

    # ---- Reading the description

    def _resolved(self, node: Json) -> Json:
        for _ in range(50):
            if not (isinstance(node, dict) and isinstance(node.get("$ref"), str)):
                return node
            found: Json = self.document
            if not node["$ref"].startswith("#/"):
                self.gap("$ref", f"{node['$ref']!r} lies in another file", "bundle the description into one file")
                return {}
            for key in node["$ref"][2:].split("/"):
                key = key.replace("~1", "/").replace("~0", "~")
                found = found.get(key) if isinstance(found, dict) else None
            node = found
        return {}

    def _object(self, node: Json) -> Node:
        found = self._resolved(node)
        return found if isinstance(found, dict) else {}

    def _paths(self) -> Iterator[tuple[str, Node]]:
        for path, item in self._object(self.document.get("paths")).items():
            yield str(path), self._object(item)

    def _lists(self) -> Iterator[tuple[str, tuple[Node, tuple[str, Node, Node]]]]:
        """Yield path, operation, and (path of the list, schema of a record, schema of the answer)."""
        for path, item in self._paths():
            operation = item.get("get")
            if not isinstance(operation, dict) or operation.get("deprecated"):
                continue
            operation = {
                **operation,
                "parameters": [*(item.get("parameters") or []), *(operation.get("parameters") or [])],
            }
            schema = self._answer(operation)
            found = self._list_in(schema)
            if found is not None:
                yield path, (operation, (*found, schema))

    def _answer(self, operation: Node) -> Node:
        responses = self._object(operation.get("responses"))
        answer = next((responses[code] for code in ("200", 200, "2XX", "default") if code in responses), None)
        content = self._object(self._object(answer).get("content"))
        kind = next((kind for kind in content if "json" in str(kind).lower()), None)
        return self._schema(self._object(content.get(kind)).get("schema")) if kind else {}

    def _schema(self, node: Json, depth: int = 0) -> Node:
        """Return a schema with the parts of `allOf` put together, and the first way of `oneOf` and `anyOf` taken."""
        schema = self._object(node)
        if depth > 10:
            return schema
        merged: Node = {key: value for key, value in schema.items() if key not in ("allOf", "oneOf", "anyOf")}
        ways = schema.get("oneOf") or schema.get("anyOf") or []
        for part in [*(schema.get("allOf") or []), *ways[:1]]:
            inner = self._schema(part, depth + 1)
            properties = {**(inner.get("properties") or {}), **(merged.get("properties") or {})}
            merged = {**inner, **merged, **({"properties": properties} if properties else {})}
        return merged

    def _list_in(self, schema: Node, depth: int = 0) -> tuple[str, Node] | None:
        """Return the path of the list of objects in an answer and the schema of its items."""
        if _is(schema, "array"):
            items = self._schema(schema.get("items"))
            return ("", items) if _is(items, "object") or items.get("properties") else None
        properties = self._object(schema.get("properties"))
        found: list[tuple[str, Node]] = []
        for key, value in properties.items():
            inner = self._schema(value)
            here = self._list_in(inner, depth + 1) if _is(inner, "array") or (depth < 1 and key in _LISTS) else None
            if here is not None and "." not in str(key):
                found.append((f"{key}.{here[0]}".rstrip("."), here[1]))
        usual = [each for each in found if each[0].split(".")[0] in _LISTS]
        chosen = (usual or found)[:1]
        # An object with many lists among other things is one record that has lists, as a rule.
        return chosen[0] if chosen and (usual or len(found) == 1) and (usual or len(properties) <= 12) else None

    def _server(self) -> tuple[str, str]:
        servers = self.document.get("servers") or [{}]
        server = self._object(servers[0])
        url = str(server.get("url") or "")
        for name, variable in self._object(server.get("variables")).items():
            url = url.replace(f"{{{name}}}", str(self._object(variable).get("default", "…")))
        parts = urlsplit(url)
        if not parts.netloc:
            self.gap("servers", "no server with a host is described", "put the API's host into the connection")
            return "(unknown)", parts.path.rstrip("/")
        if len(servers) > 1:
            self.gap("servers", f"{len(servers)} servers", f"the first one was taken: {parts.netloc}")
        return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")

    # ---- One draft

    def _config(self, path: str, base: str, operation: Node, found: tuple[str, Node, Node], lists: Node) -> Node:
        place = f"paths/{path}/get"
        records, item, answer = found
        source: Node = {"type": "http", "connection": self.connection}
        if auth := self._auth(operation, place):
            source["auth"] = auth
        endpoint, partitions = self._in_path(path, base, operation, lists, place)
        source["endpoint"] = endpoint
        parameters = [self._object(node) for node in operation["parameters"]]
        query = [node for node in parameters if node.get("in") == "query" and isinstance(node.get("name"), str)]
        self._required(query, parameters, source, place)
        if records:
            source["records"] = records
        if pagination := self._pagination(query, answer, source, place):
            source["pagination"] = pagination
        if partitions:
            source["partitions"] = partitions
        columns = self._object(item.get("properties"))
        cursor = self._cursor(query, columns, source, place)
        key = next((name for name in ("id", "uuid", "key", "gid") if name in columns), None)
        way = "merge" if key else "append" if cursor else "replace"
        destination: Node = {"type": "duckdb", "table": _table(path), "write_disposition": way}
        if key:
            destination["primary_key"] = [key]
            self.gap(place, f"{key!r} tells records apart", _GUESS)
        summary = " ".join(str(operation.get("summary") or operation.get("description") or "").split())
        return {
            "dag_id": dag_id(self.name, _table(path)),
            "description": summary[:300] or f"GET {path} of {self.name}.",
            "schedule": None,
            "source": source,
            "transforms": [],
            "destination": destination,
        }

    def _in_path(self, path: str, base: str, operation: Node, lists: Node, place: str) -> tuple[str, list[Node]]:
        """Return the endpoint and a partition for each `{name}` in it: a parent that lists it, or a list to fill in."""
        partitions: list[Node] = []
        names: dict[str, str] = {}
        for match in re.finditer(r"\{([^{}]+)\}", path):
            name = names[match[1]] = _name(match[1], names)
            before = path[: match.start()].rstrip("/")
            if before in lists:
                records, item, _ = lists[before][1]
                columns = self._object(item.get("properties"))
                key = next((each for each in (match[1], "id", name.removesuffix("_id")) if each in columns), None)
                parent = _filled(base + before, names)
                node: Node = {"type": "parent", "name": name, "endpoint": parent, "key": key or "id", "column": name}
                if records:
                    node["records"] = records
                spare: Node = {}
                query = [self._object(each) for each in lists[before][0]["parameters"]]
                if pagination := self._pagination(query, lists[before][1][2], spare, f"paths/{before}/get"):
                    node["pagination"] = pagination
                node |= {"query": spare["query"]} if "query" in spare else {}
                own = self._object(lists.get(path, ({}, ("", {}, {})))[1][1].get("properties"))
                if name in own:
                    node.pop("column")
                partitions.append(node)
                self.gap(place, f"{{{match[1]}}} is {node['key']!r} of each record of {before}", _GUESS)
            else:
                values = self._values(match[1], operation)
                partitions.append({"type": "list", "name": name, "values": values})
                if values == ["FILL_IN"]:
                    self.gap(place, f"{{{match[1]}}} has no known values", "write them into the list partition")
        return _filled(base + path, names), partitions

    def _values(self, name: str, operation: Node) -> list[Json]:
        for node in map(self._object, operation["parameters"]):
            if node.get("name") == name and node.get("in") == "path":
                schema = self._schema(node.get("schema"))
                values = schema.get("enum") or [schema.get("default", schema.get("example", node.get("example")))]
                return [value for value in values if isinstance(value, str | int | float)] or ["FILL_IN"]
        return ["FILL_IN"]

    def _required(self, query: list[Node], parameters: list[Node], source: Node, place: str) -> None:
        """Fill in parameters that the API wants, as far as the description gives values."""
        for node in parameters:
            if not node.get("required") or node.get("in") not in ("query", "header"):
                continue
            schema = self._schema(node.get("schema"))
            choices = schema.get("enum") or [None]
            value = schema.get("default", schema.get("example", node.get("example", choices[0])))
            where = "query" if node in query else "headers"
            name = str(node.get("name"))
            if not isinstance(value, str | int | float | bool) or name.lower() in ("authorization", "cookie", "host"):
                self.gap(place, f"required {node['in']} parameter {name!r} has no value", f"add it to {where}")
                continue
            source.setdefault(where, {})[name] = str(value) if where == "headers" else value

    def _pagination(self, query: list[Node], answer: Node, source: Node, place: str) -> Node | None:
        """Guess how pages go on, from the names of parameters and of fields of the answer."""
        known = {str(node["name"]).lower(): node for node in query if isinstance(node.get("name"), str)}
        size = next((known[name] for name in _LIMIT if name in known), None)
        limit = self._limit(size)
        cursor = next((str(known[name]["name"]) for name in _CURSOR if name in known), None)
        link = self._field(answer, _NEXT)
        made: Node | None = None
        if cursor and (path := self._field(answer, _NEXT_CURSOR)):
            made = {"type": "cursor", "path": path, "param": cursor}
        elif link:
            made = {"type": "next_url", "path": link}
        elif page := next((str(known[name]["name"]) for name in _PAGE if name in known), None):
            start = self._schema(known[page.lower()].get("schema")).get("minimum", 1)
            made = {"type": "page", "param": page, "start": 0 if start == 0 else 1}
            if size is not None:
                made |= {"size_param": size["name"], "size": limit}
        elif offset := next((str(known[name]["name"]) for name in _OFFSET if name in known), None):
            made = {"type": "offset", "param": offset, "limit": limit}
            if size is not None:
                made["limit_param"] = size["name"]
        if made is None:
            what = f"parameter {cursor!r} without a field that gives it" if cursor else "no way to further pages"
            self.gap(place, f"{what} is described", "set 'pagination' if there are any")
        else:
            self.gap(
                place,
                f"pagination {made['type']}: {', '.join(f'{k}={v}' for k, v in made.items() if k != 'type')}",
                _GUESS,
            )
        if size is not None and (made is None or made["type"] in ("cursor", "next_url")):
            source.setdefault("query", {})[str(size["name"])] = limit
        return made

    def _limit(self, size: Node | None) -> int:
        schema = self._schema(size.get("schema")) if size else {}
        for value in (schema.get("maximum"), schema.get("default")):
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return min(value, 1000)
        return 100

    def _field(self, answer: Node, names: tuple[str, ...]) -> str | None:
        """Return the path of a field of the answer that has one of these names, in itself or in a usual holder."""
        properties = self._object(answer.get("properties"))
        plain = {str(key).lower(): str(key) for key in properties}
        for name in names:
            schema = self._schema(properties[plain[name]]) if name in plain else {}
            if name in plain and "." not in plain[name] and not schema.get("properties") and not _is(schema, "array"):
                return plain[name]
        for holder in _HOLDERS:
            if holder in plain and "." not in plain[holder]:
                inner = self._object(self._schema(properties[plain[holder]]).get("properties"))
                below = {str(key).lower(): str(key) for key in inner}
                for name in names:
                    if name in below and "." not in below[name]:
                        return f"{plain[holder]}.{below[name]}"
        return None

    def _cursor(self, query: list[Node], columns: Node, source: Node, place: str) -> str | None:
        """Guess what makes a record new, and the parameter that asks for it."""
        names = {str(node["name"]).lower(): str(node["name"]) for node in query}
        since = next((names[name] for name in _SINCE if name in names), None)
        fields = {str(key).lower(): str(key) for key in columns}
        changed = next((fields[name] for name in _CHANGED if name in fields), None)
        if not since or not changed:
            return None
        source["cursor_field"] = changed
        source.setdefault("query", {})[since] = "${cursor:%Y-%m-%dT%H:%M:%SZ}"
        self.gap(place, f"new records by {changed!r}, asked for with {since!r}", _GUESS)
        return changed

    # ---- Auth

    def _scheme(self, operation: Node | None) -> tuple[str, Node] | None:
        security = operation.get("security") if operation and "security" in operation else self.document.get("security")
        schemes = self._object(self._object(self.document.get("components")).get("securitySchemes"))
        wanted = [name for option in security or [] if isinstance(option, dict) for name in option] or list(schemes)
        for name in wanted:
            scheme = self._object(schemes.get(name))
            if scheme.get("type") in ("http", "apiKey", "oauth2"):
                return name, scheme
        return None

    def _auth(self, operation: Node, place: str) -> Node | None:
        if operation.get("security") == []:
            return None
        found = self._scheme(operation)
        if found is None:
            return None
        name, scheme = found
        if scheme["type"] == "http":
            return {"type": "basic"} if str(scheme.get("scheme")).lower() == "basic" else {"type": "bearer"}
        if scheme["type"] == "apiKey":
            if scheme.get("in") not in ("header", "query"):
                self.gap(place, f"the key {name!r} goes into a {scheme.get('in')}", "http can't send it there")
                return None
            query = {"location": "query"} if scheme["in"] == "query" else {}
            return {"type": "api_key", "name": scheme.get("name"), **query}
        flows = self._object(scheme.get("flows"))
        flow = self._object(flows.get("clientCredentials"))
        url = urlsplit(str(flow.get("tokenUrl") or ""))
        if not flow or not url.path:
            remedy = "bearer was taken: put a token into the connection, or use oauth2 with a refresh token"
            self.gap("components/securitySchemes", f"{name!r} is a login of a person", remedy)
            return {"type": "bearer"}
        if url.netloc and url.netloc != urlsplit(self._server()[0]).netloc:
            login = f"{self.connection.removesuffix('_api')}_login"
            self.gap("components/securitySchemes", f"connection {login!r} must be made: type http, host "
                     f"{url.scheme}://{url.netloc}", "it holds client id and secret as login and password")  # fmt: skip
            return {"type": "oauth2", "connection": login, "endpoint": url.path}
        return {"type": "oauth2", "endpoint": url.path}

    def _holds(self) -> str:
        found = self._scheme(None)
        if found is None:
            return "it needs no login, as far as the description says"
        kind = found[1]["type"]
        return {
            "http": "it holds login and password, or a token as password",
            "apiKey": "it holds the key as password",
        }.get(kind, "it holds client id and secret as login and password, or a token as password")


def _is(schema: Node, kind: str) -> bool:
    given = schema.get("type")
    return given == kind or (isinstance(given, list) and kind in given)


def _name(text: str, taken: Node) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    name = name if name[:1].isalpha() or name[:1] == "_" else f"p_{name}"
    return name if name not in taken.values() else f"{name}_{len(taken)}"


def _filled(path: str, names: Node) -> str:
    for given, name in names.items():
        path = path.replace(f"{{{given}}}", f"{{{name}}}")
    return path


def _table(path: str) -> str:
    """Return a name for what a path gives: its words without versions and values."""
    words = [
        word for word in path.strip("/").split("/") if not word.startswith("{") and not re.match(r"\Av\d+\Z", word)
    ]
    return table_name("_".join(words[-3:]) or "records")
