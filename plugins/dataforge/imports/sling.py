"""From a replication of Sling (YAML or JSON) to one pipeline for each stream."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from dataforge.errors import ConfigError, Problem
from dataforge.imports.documents import dag_id, read_document
from dataforge.imports.gaps import Gap, Imported

Node = dict[str, Any]

_FILES = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
_TARGETS = {"csv": "csv", "json": "ndjson", "jsonlines": "ndjson", "parquet": "parquet"}
_KNOWN = {
    *("mode", "object", "primary_key", "update_key", "sql", "select", "where", "columns", "disabled", "description"),
    *("source_options", "target_options", "tags", "schedule", "single"),
}
_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_TYPES = {"string": "text", "integer": "integer", "bigint": "bigint", "bool": "boolean", "datetime": "timestamp"}
_LOCAL = ("local", "file", "")


def convert(text: str, *, file: Path) -> Imported:
    """Return a config for each stream that can be said, and every gap."""
    document = read_document(text, file)
    if not isinstance(document.get("streams"), dict) or "source" not in document:
        raise ConfigError(
            Problem("wrong-type", f"{file.name!r} is no Sling replication: it has no 'source', 'streams'")
        )
    remedy = "say it in the deployment, or with 'params'"
    gaps = [Gap(key, f"Sling's {key!r}", remedy) for key in ("env", "hooks") if document.get(key)]
    defaults = document.get("defaults") or {}
    configs = []
    for name, own in document["streams"].items():
        stream = {**defaults, **(own or {})}
        for key in ("source_options", "target_options"):
            stream[key] = {**(defaults.get(key) or {}), **((own or {}).get(key) or {})}
        if stream.get("disabled"):
            gaps.append(Gap(f"streams/{name}", "the stream is disabled", "left out"))
        elif "*" in name and not _is_file(name, document):
            gaps.append(
                Gap(f"streams/{name}", "a wildcard over tables", "write a config for each table that is wanted")
            )
        else:
            configs.append(_Stream(document, name, stream, gaps, file).config())
    connections = sorted({str(document[key]) for key in ("source", "target") if document.get(key)} - {"LOCAL"})
    gaps += [
        Gap(
            "",
            f"connection {_connection(one)!r} must be made: what Sling calls {one}",
            "in Airflow; see its fields there",
        )
        for one in connections
        if _connection(one) not in _LOCAL
    ]
    return Imported(tuple(configs), tuple(gaps))


class _Stream:
    """One stream on its way."""

    def __init__(self, document: Node, name: str, stream: Node, gaps: list[Gap], file: Path) -> None:
        self.document, self.name, self.stream, self.gaps, self.file = document, name, stream, gaps, file
        self.place = f"streams/{name}"

    def gap(self, what: str, remedy: str) -> None:
        self.gaps.append(Gap(self.place, what, remedy))

    def config(self) -> Node:
        for key in self.stream:
            if key not in _KNOWN:
                self.gap(f"the key {key!r}", "say it with a transform, a check or by hand")
        source, transforms = self._source(), self._transforms()
        found: Node = {"dag_id": dag_id(self.file.stem, self._variables()["stream_name"])}
        if self.stream.get("description"):
            found["description"] = str(self.stream["description"])
        schedule = self.stream.get("schedule")
        found["schedule"] = schedule if isinstance(schedule, str) else None
        found["source"] = source
        if transforms:
            found["transforms"] = transforms
        found["destination"] = self._destination(source)
        return found

    def _source(self) -> Node:
        columns = {name: self._column_type(str(type_)) for name, type_ in self._columns().items()}
        typed: Node = {"columns": columns} if columns else {}
        connection = _connection(str(self.document["source"]))
        if _is_file(self.name, self.document):
            path = self.name.removeprefix("file://")
            kind = next((kind for ending, kind in _FILES.items() if ending in PurePosixPath(path).name.lower()), "csv")
            source: Node = {"type": kind, "path": path.rstrip("/") + ("/*" if path.endswith("/") else "")}
            if path.startswith("s3://"):
                source["connection"] = connection
            options = self.stream["source_options"]
            for key, ours in (("delimiter", "delimiter"), ("header", "header"), ("null_if", "null_values")):
                if key in options:
                    source[ours] = [options[key]] if ours == "null_values" else options[key]
            return source | typed
        source = {"type": _database(str(self.document["source"]), self.gap), "connection": connection}
        sql, where = self.stream.get("sql"), self.stream.get("where")
        if sql or where:
            query = str(sql or f"select * from {self.name}").strip().rstrip(";")
            if "{incremental_" in query:
                self.gap("the query's own incremental condition", "cursor_field adds it; check the query that remains")
                query = re.sub(r"(?i)\b(?:where|and)\s+\{incremental_where_cond\}", "", query)
                query = query.replace("{incremental_where_cond}", "1 = 1").replace("{incremental_value}", "null")
            source["query"] = f"select * from ({query}) as found where {where}" if where else query
        else:
            source["table"] = self.name.replace('"', "")
        if self._mode() == "incremental" and self.stream.get("update_key"):
            source["cursor_field"] = str(self.stream["update_key"])
        return source | typed

    def _columns(self) -> Node:
        columns = self.stream.get("columns") or {}
        if isinstance(columns, list):
            columns = {
                one["name"]: one.get("type", "string") for one in columns if isinstance(one, dict) and "name" in one
            }
        return columns if isinstance(columns, dict) else {}

    def _column_type(self, text: str) -> str:
        bare, _, constraint = text.partition("|")
        if constraint:
            self.gap(f"the constraint {constraint.strip()!r}", "add a check")
        return _TYPES.get(bare.strip().lower(), bare.strip())

    def _transforms(self) -> list[Node]:
        wanted = self.stream.get("select") or []
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        kept = [str(name) for name in wanted if not str(name).startswith("-")]
        if any("*" in name for name in wanted):
            self.gap(f"a pattern in 'select': {wanted}", "name the columns")
            return []
        if kept:
            return [{"type": "select", "columns": kept}]
        return [{"type": "drop", "columns": [str(name)[1:] for name in wanted]}] if wanted else []

    def _mode(self) -> str:
        return str(self.stream.get("mode") or "full-refresh")

    def _destination(self, source: Node) -> Node:
        target = str(self.document.get("target") or "")
        object_ = self._filled(str(self.stream.get("object") or "{stream_table}"))
        disposition = self._disposition(source)
        connection = _connection(target)
        if "://" in object_ or connection in _LOCAL:
            path = object_.removeprefix("file://").lstrip("/") if not object_.startswith("s3://") else object_
            given = str(self.stream["target_options"].get("format") or PurePosixPath(path).suffix[1:])
            found: Node = {"type": _TARGETS.get(given, "parquet"), "path": path}
            if path.startswith("s3://"):
                found["connection"] = connection
            if disposition["write_disposition"] != "replace" and not path.endswith("/"):
                found["path"] = f"{path}/"
            if disposition["write_disposition"] == "merge":
                self.gap("a merge into files", "files can only be appended or replaced")
                return found | {"write_disposition": "append"}
            return found | {"write_disposition": disposition["write_disposition"]}
        kind = "duckdb" if "duck" in target.lower() else _database(target, self.gap)
        table = object_.replace('"', "")
        return {"type": kind, "table": table, **({"connection": connection} if kind != "duckdb" else {}), **disposition}

    def _disposition(self, source: Node) -> Node:
        keys = self.stream.get("primary_key") or []
        keys = [keys] if isinstance(keys, str) else list(keys)
        mode = self._mode()
        if mode == "truncate" or mode == "full-refresh":
            return {"write_disposition": "replace"}
        if mode == "snapshot":
            self.gap("a snapshot adds a column with the time of loading", "the run column of append tells the run")
            return {"write_disposition": "append"}
        if mode not in ("incremental", "backfill"):
            self.gap(f"the mode {mode!r}", "choose a write_disposition")
        if mode == "backfill":
            self.gap("a backfill of a range", "use Airflow's backfill with a cursor_field")
        if keys:
            return {"write_disposition": "merge", "primary_key": keys}
        if "cursor_field" not in source:
            self.gap("an incremental stream without primary_key and update_key", "every run appends all rows; add one")
        return {"write_disposition": "append"}

    def _variables(self) -> dict[str, str]:
        bare = self.name.replace('"', "")
        schema, _, table = bare.rpartition(".")
        stem = PurePosixPath(bare.split("://")[-1].rstrip("/*")).stem
        is_file = _is_file(self.name, self.document)
        return {
            "stream_name": stem if is_file else bare,
            "stream_schema": "" if is_file else schema,
            "stream_table": stem if is_file else table,
            "stream_table_lower": (stem if is_file else table).lower(),
            "stream_schema_lower": schema.lower(),
            "stream_file_name": stem,
            "stream_file_folder": PurePosixPath(bare.split("://")[-1]).parent.name,
            "source_name": _connection(str(self.document["source"])),
            "target_name": _connection(str(self.document.get("target") or "")),
        }

    def _filled(self, text: str) -> str:
        known = self._variables()

        def fill(match: re.Match[str]) -> str:
            if match[1] in known:
                return known[match[1]]
            self.gap(f"the variable {match[0]}", "write what it stands for; for times ${data_interval_start:%Y-%m-%d}")
            return "x"

        return _VARIABLE.sub(fill, text)


def _is_file(name: str, document: Node) -> bool:
    return "://" in name or str(document["source"]).lower() in _LOCAL or name.lower().endswith(tuple(_FILES))


def _connection(name: str) -> str:
    bare = name.split("://")[0] if "://" in name else name
    return re.sub(r"[^a-z0-9_]+", "_", bare.lower()).strip("_")


def _database(name: str, gap: Any) -> str:
    """Return the type of a database, by what its connection is called."""
    if re.search(r"(?i)\b(pg|postgres\w*)\b|postgres|(^|_)pg(_|$)", name):
        return "postgres"
    gap(
        f"the kind of the connection {name!r} is not said",
        "'sql' takes any; choose a type of its own where there is one",
    )
    return "sql"
