"""From single values of a request to parts of a config: which table belongs to which connection, what is read, what is
written, and what stands at the top.

What is found here binds the model and is put into its answer again afterwards; what is not stays open.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from dataforge.authoring.base import Extracted
from dataforge.authoring.extraction import of, without
from dataforge.authoring.steps import Step, find_joins, find_steps
from dataforge.authoring.words import GLUE
from dataforge.components.registry import DESTINATIONS, SOURCES

_BY_CONNECTION = {
    "postgres": "postgres",
    "postgresql": "postgres",
    "http": "http",
    "https": "http",
    "duckdb": "duckdb",
    "sqlite": "sql",
    "mysql": "sql",
    "mssql": "sql",
    "snowflake": "sql",
    "oracle": "sql",
}
_BY_ENDING = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "parquet": "parquet",
    "pq": "parquet",
}
_FILES = frozenset({"csv", "json", "parquet", "ndjson"})
_TABLES = frozenset({"postgres", "sql", "duckdb"})
_SEVERAL = re.compile(
    r"\b(?:join(?:s|ed|ing)?|combin\w+|union|enrich\w*|look(?:ed)?\s+up|together\s+with|along\s+with|both|stack(?:ed)?|verknüpf\w*|verbinde\w*|zusammen\s+mit|anreicher\w*|angereichert|vereinig\w*|kombinier\w*)\b",
    re.I,
)


_QUERY = re.compile(
    r"\bselect\s.+\sfrom\s|\bquery\b|\babfrage\b|\binterval\b|\bof\s+(?:that|the|this)\s+day\b|\byesterday|\bgestern|\bvortag",
    re.I | re.S,
)


@dataclass(frozen=True)
class End:
    """A source or destination as far as the request tells it: parts of its config, and what stands behind each key."""

    config: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Extracted] = field(default_factory=dict)

    @property
    def type(self) -> str | None:
        """The component's type when it is known."""
        return self.config.get("type")


@dataclass(frozen=True)
class Grounds:
    """What a request states of a config. `several` says that it speaks of several sources."""

    top: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[End, ...] = ()
    destinations: tuple[End, ...] = ()
    steps: tuple[Step, ...] = ()
    checks: tuple[Step, ...] = ()
    several: bool = False
    places: Mapping[str, Extracted] = field(default_factory=dict)


def ground(text: str, found: Sequence[Extracted], types: Mapping[str, str], pinned: Mapping[str, Any]) -> Grounds:
    """Return what the values found in a request say of a config; `types` are the known connections' types."""
    found = _with_roles(text, found, types)
    top, places = _top(found)
    plain = without(text, found)
    steps, checks = find_steps(plain, found)
    sources, destinations = _ends(text, found, types)
    several = len(sources) > 1 or bool(_SEVERAL.search(plain))
    together = _joins(plain, sources, of(found, "primary_key")) or _union(plain, sources)
    steps = (*together, *_by_params(plain, found, steps), *steps)
    grounds = Grounds(top, sources, destinations, steps, checks, several, places)
    return _pinned(grounds, pinned)


def _joins(text: str, sources: Sequence[End], keys: Sequence[Extracted]) -> list[Step]:
    """Return the joins of two or more sources where the request says by which columns."""
    from dataforge.authoring.constraints import source_names

    names = source_names(sources)
    if len(names) < 2:
        return []
    made: list[Step] = []
    for join in find_joins(text):
        if any(key.start < join.end <= key.end + 1 for key in keys):
            continue  # "merge by order_id": how rows are written
        columns = join.on if isinstance(join.on, list) else [*join.on, *join.on.values()]
        if set(columns) & set(names) and not set(columns) - set(names):
            continue
        left = [name for name in names[1:] if name not in [step.config["with"] for step in made]]
        named = next((name for name in left if _names_it(text[join.start : join.end], name)), None)
        other = named or (left[0] if left else None)
        if other is None or (len(names) > 2 and named is None):
            break
        first = {"input": names[0]} if not made else {}
        kind = {"how": join.how} if join.how else {}
        taken = {"columns": join.columns} if join.columns else {}
        made.append(
            Step({"type": "join", **first, "with": other, "on": join.on, **kind, **taken}, join.start, join.end)
        )
    return made if len(made) == len(names) - 1 else []


def _names_it(text: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text, re.I) is not None


_STACK = re.compile(
    r"\bunion(?:s|ed|ing)?\b|\bstack(?:s|ed|ing)?\b|\bconcat\w*|\b(?:one\s+below\s+the\s+other|underneath\s+each\s+other|on\s+top\s+of\s+(?:each\s+other|one\s+another))\b"
    r"|\bvereinig\w+|\buntereinander\w*|\baneinander(?:häng|füg)\w*",
    re.I,
)


def _union(text: str, sources: Sequence[End]) -> list[Step]:
    """Return the union of several sources where the request asks for one."""
    from dataforge.authoring.constraints import source_names

    match = _STACK.search(text)
    if match is None or len(sources) < 2:
        return []
    names = source_names(sources)
    return [Step({"type": "union", "input": names[0], "with": names[1:]}, *match.span())]


def _by_params(text: str, found: Sequence[Extracted], steps: Sequence[Step]) -> list[Step]:
    """Return the filter by a run parameter of which the request says that it chooses the rows."""
    param = next((one for one in found if one.role == "param"), None)
    if param is None or any("${params." in str(step.config) for step in steps):
        return []
    name = next(iter(param.value))
    before = text[max(0, param.start - 120) : param.start]
    chooses = re.search(
        rf"\b(?:only|just|rows|records|those|nur|zeilen)\b[^.;]*?\b{re.escape(name)}\b", before, re.I
    ) or re.search(r"\b(?:only|just|nur)\b[^.;]*$", before, re.I)
    if not chooses:
        return []
    start = param.start - len(before) + chooses.start()
    return [Step({"type": "filter", "where": f"{name} = ${{params.{name}}}"}, start, param.end)]


def _with_roles(text: str, found: Sequence[Extracted], types: Mapping[str, str]) -> list[Extracted]:
    """Give each address a role where its own words leave it open: the first is read, the last is written."""
    mine = [
        replace(one, role="source")
        if one.kind == "connection" and types.get(str(one.value)) in ("http", "https")
        else one
        for one in found
    ]
    mine = _uncorrected(text, mine)
    for before, index in itertools.pairwise(range(len(mine))):
        lead, one = mine[before], mine[index]
        beside = re.fullmatch(r"[\s(`\"']+(?:(?:table|tabelle|schema)\s+)?[`\"'(]?", text[lead.end : one.start], re.I)
        if lead.kind == "connection" and lead.role and one.kind == "table" and beside:
            mine[index] = replace(one, role=lead.role)
    for index, after in itertools.pairwise(range(len(mine))):
        lead, one = mine[index], mine[after]
        gap = text[lead.end : one.start]
        if (
            lead.kind == "table"
            and one.kind == "connection"
            and re.fullmatch(r"[`\"']?\s+(?:table\s+)?(?:from|out\s+of|aus|von)\s+(?:the\s+|der\s+)?", gap, re.I)
        ):
            mine[index], mine[after] = replace(lead, role="source"), replace(one, role="source")
    at = [n for n, one in enumerate(mine) if one.kind in ("table", "path") and one.role in ("", *_ROLES)]
    known_ids = "(?:" + "|".join(map(re.escape, types)) + ")" if types else r"(?:\w+)"
    same = {}
    for before, index in itertools.pairwise(at):
        gap = text[mine[before].end : mine[index].start]
        if (
            re.fullmatch(
                r"[`\"']?\s*(?:\(\w+\)\s*)?(?:with|and|mit|und|&|\+|,)\s*(?:the\s+|der\s+|die\s+|file\s+|table\s+)?[`\"']?",
                gap,
                re.I,
            )
            and mine[index].kind == "path"
        ) or (
            mine[index].kind == "table" == mine[before].kind
            and re.fullmatch(rf"[`\"']?\s*(?:and|und|&|\+)\s*(?:the\s+|table\s+)?(?:{known_ids}\s+)?[`\"']?", gap, re.I)
        ):
            same[index] = before
    strong = any(one.kind == "table" and one.role == "destination" for one in mine) or any(
        one.kind == "component" and one.role == "destination" and one.value in _TABLES for one in mine
    )
    weakly = {index for index in at if re.search(r"\b(?:in|im)\s+[`\"']?$", text[: mine[index].start], re.I)}
    strong = strong or any(mine[index].role == "destination" and index not in weakly for index in at)
    for index in at:
        if index in same:
            mine[index] = replace(mine[index], role=mine[same[index]].role)
        if strong and index in weakly and mine[index].kind == "path" and mine[index].role == "destination":
            mine[index] = replace(mine[index], role="source", sure=False)
    for number, index in enumerate(at):
        if index in same and not mine[index].role:
            mine[index] = replace(mine[index], role=mine[same[index]].role)
        if mine[index].role:
            continue
        earlier = [mine[other].role for other in at[:number]]
        later = any(mine[other].role == "destination" and mine[other].sure for other in at[number + 1 :])
        role = "source" if later or ("source" not in earlier and number < max(1, len(at) - 1)) else "destination"
        mine[index] = replace(mine[index], role=role, sure=False)
    roles = [mine[index].role for index in at]
    read_elsewhere = any(one.kind == "endpoint" or (one.kind == "connection" and one.role == "source") for one in mine)
    if len(at) > 1 and "source" not in roles and not read_elsewhere:
        mine[at[0]] = replace(mine[at[0]], role="source", sure=False)
    placed = any(one.role == "destination" and one.kind in ("component", "connection") for one in mine)
    if len(at) > 1 and "destination" not in roles and not placed and not _SEVERAL.search(text):
        mine[at[-1]] = replace(mine[at[-1]], role="destination", sure=False)
    for before, index in itertools.pairwise(range(len(mine))):
        lead, one = mine[before], mine[index]
        glued = re.fullmatch(r"[.\s]*\(?[`\"']?", text[lead.end : one.start]) is not None
        if lead.kind == "connection" and one.kind == "table" and one.role in _ROLES and lead.role != one.role and glued:
            mine[before] = replace(lead, role=one.role)
    if len(at) > 1 and "destination" not in roles and re.search(r"(?:->|→|=>)\s*\S*$", text[: mine[at[-1]].start]):
        mine[at[-1]] = replace(mine[at[-1]], role="destination")
    return mine


_ROLES = ("source", "destination")
_CORRECTION = re.compile(
    r"\b(?:no,?\s+wait|wait,?\s+no|scratch\s+that|i\s+mean|or\s+rather|sorry|correction|actually|nein|vielmehr|besser\s+gesagt|quatsch|korrektur|ich\s+meine)\b",
    re.I,
)


def _uncorrected(text: str, found: list[Extracted]) -> list[Extracted]:
    """Leave out the address that a request takes back: "into a.b, no wait, into c.d"."""
    kinds = ("table", "path", "connection")
    for match in _CORRECTION.finditer(text):
        before = [one for one in found if one.kind in kinds and match.start() - 60 <= one.start < match.start()]
        after = [one for one in found if one.kind in kinds and match.end() <= one.start < match.end() + 60]
        if before and after and before[-1].kind in {one.kind for one in after} and before[-1].role == after[0].role:
            role = before[-1].role
            gone = {one for one in before if one.role == role and one.kind in {each.kind for each in after}}
            found = [one for one in found if one not in gone]
    return found


def _top(found: Sequence[Extracted]) -> tuple[dict[str, Any], dict[str, Extracted]]:
    top: dict[str, Any] = {}
    places: dict[str, Extracted] = {}

    def put(key: str, one: Extracted, value: Any = None) -> None:
        if key not in top:
            top[key] = one.value if value is None else value
            places[f"/{key}"] = one

    for one in found:
        if one.kind in ("schedule", "timezone", "dag_id", "owner") and (
            one.kind != "schedule" or one.value is not None
        ):
            put(one.kind, one)
        elif one.kind == "start_date" and one.sure:
            put("start_date", one)
        elif one.kind == "end_date":
            put("end_date", one)
        elif one.kind == "text" and one.role == "catchup":
            put("catchup", one, value=True)
        elif one.kind == "text" and one.role in ("schema_contract", "dead_letters"):
            put(one.role, one)
        elif one.kind == "text" and one.role == "param":
            put("params", one)
    tags = of(found, "tag")
    if tags:
        top["tags"] = list(dict.fromkeys(str(tag.value) for tag in tags))
        places["/tags"] = tags[0]
    args = {one.role: one for one in found if one.kind == "number" and one.role in ("retries", "retry_delay")}
    if args:
        top["default_args"] = {key: one.value for key, one in args.items()}
        places |= {f"/default_args/{key}": one for key, one in args.items()}
    return top, places


def _ends(text: str, found: Sequence[Extracted], types: Mapping[str, str]) -> tuple[tuple[End, ...], tuple[End, ...]]:
    ends: dict[str, list[End]] = {"source": [], "destination": []}
    connections = [one for one in found if one.kind == "connection"]
    used: set[Extracted] = set()
    queries = [one for one in found if one.role == "query"]
    addresses = [one for one in found if one.kind in ("table", "path", "endpoint") and one.role in ends]
    for role in ends:
        mine = [one for one in addresses if one.role == role]
        for one in _distinct(mine):
            connection = _connection_of(text, one, connections)
            over_http = connection is not None and types.get(str(connection.value)) in ("http", "https")
            if one.kind == "table" and over_http and any(other.kind == "endpoint" for other in addresses):
                continue
            end = _end(role, one, connection, found, types)
            if role == "source" and "table" in end.config and _QUERY.search(text) and not queries:
                end = End({key: value for key, value in end.config.items() if key != "table"}, end.places)
            used |= {connection} if connection else set()
            ends[role].append(end)
    for one in connections:
        if one in used or any(one.value == other.value for other in used if other.role == one.role):
            continue
        role = one.role or ("source" if not ends["source"] else "destination")
        if not ends[role]:
            ends[role].append(_end(role, None, one, found, types))
    for role in ends:
        if not ends[role]:
            mentioned = of(found, "component", role, sure=True)
            if mentioned and _allowed(role, str(mentioned[0].value)):
                one = mentioned[0]
                ends[role].append(End({"type": one.value}, {"type": one}))
    asset = next((one for one in found if one.kind == "schedule" and isinstance(one.value, Mapping)), None)
    if (
        asset
        and not ends["source"]
        and re.search(r"\b(?:from|of|out\s+of|aus|von)\s+(?:it|that|this|there|them|ihr|ihm)\b", text, re.I)
    ):
        leads, _, table = str(asset.value.get("asset", "")).partition("/")
        if leads in types and "/" not in table:
            known = {"type": _BY_CONNECTION.get(types[leads], "sql"), "connection": leads, "table": table}
            ends["source"].append(End(known, dict.fromkeys(known, asset)))
    destinations = [_with_disposition(end, found) for end in ends["destination"]]
    if not destinations and of(found, "disposition", sure=True):
        destinations = [_with_disposition(End(), found)]
    sources = [_with_reading(text, end, found) for end in ends["source"]]
    if queries and len(sources) == 1 and sources[0].type in ("postgres", "sql") and "table" not in sources[0].config:
        only = sources[0]
        sources = [End({**only.config, "query": queries[0].value}, {**only.places, "query": queries[0]})]
    return tuple(sources), tuple(destinations)


def _distinct(found: Iterable[Extracted]) -> list[Extracted]:
    seen: dict[Any, Extracted] = {}
    for one in found:
        seen.setdefault((one.kind, one.value), one)
    return list(seen.values())


def _connection_of(text: str, address: Extracted, connections: Sequence[Extracted]) -> Extracted | None:
    """Return the connection that an address belongs to: the nearest, with no end of a sentence between."""
    best: tuple[int, Extracted] | None = None
    for one in connections:
        gap = text[min(one.end, address.end) : max(one.start, address.start)]
        distance = len(gap) + (60 if re.search(r"[.;!?]\s|\n", gap) else 0)
        if one.role not in ("", address.role):
            distance += (
                8
                if re.fullmatch(
                    r"\s*\(?\s*(?:(?:in|of|on|aus|von|in\s+der|der|des|mit|mit\s+der|with|bei|auf|through|via|the|verbindung|connection)\s+)*",
                    gap,
                    re.I,
                )
                else 1_000
            )
        if best is None or distance < best[0]:
            best = (distance, one)
    return best[1] if best and best[0] < 1_000 else None


def _end(
    role: str,
    address: Extracted | None,
    connection: Extracted | None,
    found: Sequence[Extracted],
    types: Mapping[str, str],
) -> End:
    config: dict[str, Any] = {}
    places: dict[str, Extracted] = {}
    type_ = _type(role, address, connection, found, types)
    if type_:
        config["type"] = type_
    kind = types.get(str(connection.value), "") if connection else ""
    if connection and type_ and kind and _BY_CONNECTION.get(kind, "sql") != type_ and type_ not in (*_FILES, "sql"):
        connection = None
    if connection and not (type_ in _FILES and address and not str(address.value).startswith("s3://")):
        config["connection"] = connection.value
        places["connection"] = connection
    if address and address.kind == "path":
        path = str(address.value)
        if role == "source" and path.endswith("/") and type_ in _FILES:  # a folder: what is in it
            path = f"{path}*.{type_}"
        config["path"] = path
        places["path"] = address
    elif address and address.kind == "table" and type_ not in _FILES and type_ != "http":
        config["table"] = address.value
        places["table"] = address
    elif address and address.kind == "endpoint":
        config["endpoint"] = address.value
        places["endpoint"] = address
    if type_ == "duckdb" and role == "destination":
        database = next((one for one in found if one.kind == "path" and one.role == "database"), None)
        if database and "connection" not in config:
            config["database"], places["database"] = database.value, database
    return End(config, places)


def _type(
    role: str,
    address: Extracted | None,
    connection: Extracted | None,
    found: Sequence[Extracted],
    types: Mapping[str, str],
) -> str | None:
    """Return the type of a source or destination where only one can be meant."""
    if address and address.kind == "endpoint":
        return "http"
    if address and address.kind == "path":
        ending = re.sub(r"\.(gz|bz2|xz|zst|zip)$", "", str(address.value).lower()).rsplit(".", 1)[-1]
        if by_ending := _BY_ENDING.get(ending):
            return "ndjson" if role == "destination" and by_ending == "json" else by_ending
        files = [one for one in of(found, "component", role) if one.value in _FILES]
        return str(files[0].value) if files else None
    known = _BY_CONNECTION.get(types.get(str(connection.value), "")) if connection else None
    if known and _allowed(role, known):
        return known
    said = [str(one.value) for one in of(found, "component", role) if _allowed(role, str(one.value))]
    if address and address.kind == "table":
        said = [type_ for type_ in said if type_ in _TABLES]
    elif connection:
        said = [type_ for type_ in said if type_ not in _FILES]
    return said[0] if len(set(said)) == 1 else None


def _allowed(role: str, type_: str) -> bool:
    return type_ in _types(role)


@cache
def _types(role: str) -> frozenset[str]:
    """Return the types of a role; asking the registry looks through all installed packages each time."""
    return frozenset((SOURCES if role == "source" else DESTINATIONS).types())


def _with_disposition(end: End, found: Sequence[Extracted]) -> End:
    config, places = dict(end.config), dict(end.places)
    said = of(found, "disposition", sure=True)
    if said:
        config["write_disposition"], places["write_disposition"] = said[0].value, said[0]
    if said and said[0].value == "merge":
        for strategy in of(found, "merge_strategy"):
            config["merge_strategy"], places["merge_strategy"] = strategy.value, strategy
    if end.type not in _FILES:
        for one in found:
            by_key = config.get("write_disposition") == "merge" or (not said and of(found, "primary_key"))
            if one.role == "delete_flag" and by_key:
                config["delete_flag"], places["delete_flag"] = one.value, one
        key_name = "primary_key"
        if config.get("merge_strategy") == "delete_insert" and of(found, "primary_key", "merge_key"):
            key_name = "merge_key"
        for key in of(found, "primary_key"):
            if config.get("write_disposition") == "merge":
                config[key_name], places[key_name] = list(key.value), key
    return End(config, places)


def _with_reading(text: str, end: End, found: Sequence[Extracted]) -> End:
    config, places = dict(end.config), dict(end.places)
    cursors = of(found, "cursor", sure=True)
    if cursors:
        config["cursor_field"], places["cursor_field"] = cursors[0].value, cursors[0]
        for one in found:
            if one.role == "lookback":
                config["lookback"], places["lookback"] = one.value, one
    for one in found:
        if one.role == "requests_per_second" and end.type == "http":
            config["requests_per_second"], places["requests_per_second"] = one.value, one
        if one.kind != "text" or end.type is None:
            continue
        if one.role == "header" and end.type == "csv":
            config["header"], places["header"] = one.value, one
        elif one.role == "delimiter" and end.type == "csv":
            config["delimiter"], places["delimiter"] = one.value, one
        elif one.role == "encoding" and end.type in ("csv", "json"):
            config["encoding"], places["encoding"] = _ENCODINGS.get(one.value.replace("-", ""), one.value), one
        elif one.role == "null_value" and end.type == "csv":
            config["null_values"], places["null_values"] = ["", one.value], one
        elif one.role == "pagination" and end.type == "http" and (one.sure or not re.search(_PAGE_DETAILS, text, re.I)):
            config["pagination"], places["pagination"] = one.value, one
        elif one.role == "records" and end.type in ("http", "json"):
            config["records"], places["records"] = one.value, one
    return End(config, places)


_PAGE_DETAILS = (
    r"\b\d+\s+(?:a|per|each|records?|rows?|items?)\b|per_page|page_size|page\s+size|with\s+\d+\s+each|\d+\s+je\s+seite"
)
_ENCODINGS = {"latin1": "latin-1", "iso88591": "iso-8859-1", "iso885915": "iso-8859-15", "windows1252": "cp1252"}


def _pinned(grounds: Grounds, pinned: Mapping[str, Any]) -> Grounds:
    """Let pinned parameters win over what the request says."""
    top = {**grounds.top, **{key: value for key, value in pinned.items() if not key.startswith("/")}}
    destinations = list(grounds.destinations) or [End()]
    sources = list(grounds.sources) or [End()]
    for pointer, value in pinned.items():
        parts = pointer.split("/")[1:]
        if len(parts) == 2 and parts[0] in ("source", "destination"):
            ends = sources if parts[0] == "source" else destinations
            ends[0] = End({**ends[0].config, parts[1]: value}, ends[0].places)
    if not any(pointer.startswith("/destination") for pointer in pinned):
        destinations = list(grounds.destinations)
    if not any(pointer.startswith("/source") for pointer in pinned):
        sources = list(grounds.sources)
    kept = {pointer: one for pointer, one in grounds.places.items() if pointer.strip("/") not in pinned}
    return replace(grounds, top=top, sources=tuple(sources), destinations=tuple(destinations), places=kept)


def residue(text: str, found: Sequence[Extracted], grounds: Grounds | None = None) -> str:
    """Return what a request says besides places, times and names; with `grounds`, besides everything that was read."""
    rest = list(text)
    explained = (
        _EXPLAINED
        if grounds is None
        else (*_EXPLAINED, "disposition", "merge_strategy", "primary_key", "cursor", "number", "text")
    )
    spans = [(one.start, one.end) for one in found if one.kind in explained]
    if grounds is not None:
        spans += [(step.start, step.end) for step in (*grounds.steps, *grounds.checks)]
    for start, end in spans:
        rest[start:end] = " " * (end - start)
    return "".join(rest)


def open_words(text: str, found: Sequence[Extracted], grounds: Grounds) -> list[str]:
    """Return the words of a request that nothing of what was read explains."""
    words = re.findall(r"[A-Za-zÄÖÜäöüß_][\wÄÖÜäöüß]*|\d+", residue(text, found, grounds))
    explained = set(GLUE)
    for one in found:
        explained |= _COMPANIONS.get(one.role if one.kind == "text" else one.kind, frozenset())
    if any(step.config["type"] == "row_count" for step in grounds.checks):
        explained |= {"least", "most", "fewer"}
    if len(grounds.destinations) > 1:
        explained |= {"both", "beide"}
    for step in grounds.steps:
        if step.config["type"] == "join":
            explained |= _OF_JOINS
    named = {_stem(_last_part(one)) for one in found if one.kind in ("table", "path", "endpoint")}
    return [word for word in words if word.lower() not in explained and len(word) > 1 and _stem(word) not in named]


def _last_part(address: Extracted) -> str:
    """Return what a table, file or endpoint is called without its schema, folder and ending."""
    last = str(address.value).rstrip("/").rsplit("/", 1)[-1]
    return last.partition(".")[0] if address.kind == "path" else last.rsplit(".", 1)[-1]


def _stem(word: str) -> str:
    """Return a word without the endings of its plural: what a table is called after."""
    low = word.lower()
    return re.sub(r"(?:e?s|en|e|n)$", "", low) if len(low) > 4 else low


_OF_JOINS = frozenset(
    re.findall(
        r"\w+",
        "never used unused without appear occur according were not no ones missing even keep keeping auch ohne "
        "einträge behalten left inner matching unmatched partner",
    )
)
_COMPANIONS: Mapping[str, frozenset[str]] = {
    "cursor": frozenset(
        [
            "changed",
            "since",
            "newer",
            "updated",
            "modified",
            "last",
            "latest",
            "than",
            "geändert",
            "geänderte",
            "geänderten",
            "neuer",
            "seit",
            "letzten",
        ]
    ),
    "records": frozenset(["list", "liste", "sits", "sit", "under", "array"]),
    "pagination": frozenset(
        ["page", "pages", "paging", "paged", "pagination", "parameter", "seite", "seiten", "next", "link"]
    ),
    "schedule": frozenset(["cron", "updated", "schedule", "zeitplan"]),
    "timezone": frozenset(["zeitzone"]),
    "primary_key": frozenset(["business", "natural", "schlüssel", "identify", "identifies", "bzw"]),
    "disposition": frozenset(
        ["reload", "fully", "old", "fresh", "ones", "batch", "bzw", "einfügen", "outcome", "history"]
    ),
    "query": frozenset(["outcome", "sql", "query"]),
}
"""Words that stand around a value and say nothing more than it does, by its kind or role."""


_EXPLAINED = (
    "connection",
    "table",
    "path",
    "url",
    "endpoint",
    "schedule",
    "timezone",
    "tag",
    "dag_id",
    "owner",
    "component",
    "start_date",
    "end_date",
)
