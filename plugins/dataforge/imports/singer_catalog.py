"""From the catalog of a Singer tap (JSON) to one pipeline of the singer source for each selected stream."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dataforge.errors import ConfigError, Problem
from dataforge.imports.documents import dag_id, read_document, table_name
from dataforge.imports.gaps import Gap, Imported

Node = dict[str, Any]


def convert(text: str, *, file: Path) -> Imported:
    """Return a config for each stream that is selected; all streams where none is."""
    streams = read_document(text, file).get("streams")
    if not isinstance(streams, list):
        raise ConfigError(Problem("wrong-type", f"{file.name!r} is no Singer catalog: it has no list 'streams'"))
    streams = [stream for stream in streams if isinstance(stream, dict)]
    named = re.search(r"tap[-_][a-z0-9][a-z0-9_-]*", f"{file.parent.name}/{file.name}".lower())
    tap = (
        re.sub(r"[-_](catalog|properties|state|config).*\Z", "", named[0]).replace("_", "-") if named else "tap-unknown"
    )
    connection = f"{tap.removeprefix('tap-').replace('-', '_')}_tap"
    gaps = [] if named else [Gap("", "the file's name does not say which tap it is of", "put its name into 'tap'")]
    remedy = f"make the connection {connection!r} and put the tap's config.json into its extra"
    gaps.append(Gap("", "the tap's settings and secrets", remedy))
    chosen = [stream for stream in streams if _about(stream).get("selected") is True]
    if not chosen:
        gaps.append(
            Gap("streams", "no stream is selected, so all are taken", "leave out the configs that are not wanted")
        )
        chosen = streams
    configs = [_config(tap, connection, stream, gaps) for stream in chosen]
    return Imported(tuple(configs), tuple(gaps))


def _config(tap: str, connection: str, stream: Node, gaps: list[Gap]) -> Node:
    name = str(stream.get("tap_stream_id") or stream.get("stream"))
    about = _about(stream)
    keys = list(about.get("table-key-properties") or stream.get("key_properties") or [])
    method = str(about.get("replication-method") or stream.get("replication_method") or "FULL_TABLE").upper()
    incremental = method in ("INCREMENTAL", "LOG_BASED")
    place = f"streams/{name}"
    source: Node = {"type": "singer", "tap": tap, "connection": connection, "stream": name}
    if incremental:
        source["resume"] = True
    if select := _selected(stream):
        source["select"] = select
    target: Node = {"type": "duckdb", "table": table_name(name), "write_disposition": "replace"}
    if incremental:
        target |= {"write_disposition": "merge", "primary_key": keys} if keys else {"write_disposition": "append"}
    if incremental and not keys:
        gaps.append(Gap(place, "incremental without a key, so rows near the state come twice", "add a primary_key"))
    if method == "LOG_BASED":
        gaps.append(Gap(place, "replication by a log tells deleted rows by a column", "name it as delete_flag"))
    if stream.get("replication_key") or about.get("replication-key"):
        key = about.get("replication-key") or stream.get("replication_key")
        gaps.append(
            Gap(place, f"the replication key {key!r} is the catalog's own", "the tap's discovery must give it too")
        )
    return {"dag_id": dag_id(tap.removeprefix("tap-"), name), "schedule": None, "source": source, "destination": target}


def _about(stream: Node) -> Node:
    """Return what the catalog says of the stream as a whole."""
    found: Node = {}
    for one in stream.get("metadata") or []:
        if isinstance(one, dict) and not one.get("breadcrumb"):
            found |= one.get("metadata") or {}
    legacy = (stream.get("schema") or {}).get("selected")
    return found if legacy is None or "selected" in found else {**found, "selected": legacy}


def _selected(stream: Node) -> list[str]:
    """Return the properties that are selected; none where all are."""
    properties = list((stream.get("schema") or {}).get("properties") or {})
    left_out = {
        one["breadcrumb"][1]
        for one in stream.get("metadata") or []
        if isinstance(one, dict)
        and len(one.get("breadcrumb") or ()) == 2
        and (one.get("metadata") or {}).get("selected", (one.get("metadata") or {}).get("selected-by-default")) is False
        and (one.get("metadata") or {}).get("inclusion") != "automatic"
    }
    return [name for name in properties if name not in left_out] if left_out else []
