"""What kind of data a file holds, told by its content alone: neither its name nor what its sender says counts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dataforge.errors import ConfigError, Problem

Kind = Literal["csv", "json", "ndjson", "parquet", "excel", "openapi"]
_TAKEN = "CSV, JSON, NDJSON, Parquet, Excel (.xlsx) and OpenAPI descriptions are taken"
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
_API = re.compile(r"\A(?:\s|#[^\n]*\n|---\s*\n)*[\"']?(?:openapi|swagger)[\"']?\s*:")
_LOOKED = 100
"""Lines by which a text is told to be CSV."""
_MAX_YAML = 1_000_000
_MAX_DEPTH = 64
_MAX_OPERATIONS = 200


@dataclass(frozen=True)
class Sniffed:
    """What a file holds; `source` are the keys, besides the path, of the source that reads it, {} when none does."""

    kind: Kind
    source: Mapping[str, Any] = field(default_factory=dict)
    operations: tuple[str, ...] = ()
    """Of an API description: "GET /orders" and so on."""


def sniff(data: bytes) -> Sniffed:
    """Return what the bytes hold; ConfigError when it is nothing that is taken."""
    if data[:4] == b"PAR1" and data[-4:] == b"PAR1":
        return Sniffed("parquet", {"type": "parquet"})
    if data[:4] == b"PK\x03\x04":
        if b"xl/workbook.xml" in data:
            return Sniffed("excel", {"type": "csv"})
        raise _unfit("a zip archive", "upload the file inside by itself")
    if data.startswith(_PACKED):
        raise _unfit("a compressed file", "upload the file inside by itself")
    text = _decoded(data)
    begin = text.lstrip("\ufeff \t\r\n")
    if not begin:
        raise _unfit("empty")
    if begin[0] in "{[":
        return _json(text)
    if _API.match(text):
        return _described(_yaml(text))
    if begin[0] == "<":
        raise _unfit("HTML or XML")
    if _is_csv(text):
        return Sniffed("csv", {"type": "csv"})
    raise _unfit("a text without columns")


def _decoded(data: bytes) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8"), (b"", "cp1252")):
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            if not re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text):
                return text
    raise _unfit("no text, and no data in a form that is known")


def _json(text: str) -> Sniffed:
    text = text.lstrip("\ufeff")
    try:
        value = json.loads(text)
    except RecursionError:
        raise _unfit("JSON that is nested too deeply") from None
    except ValueError as error:
        if _are_objects(text.splitlines()):
            return Sniffed("ndjson", {"type": "json"})
        raise _unfit(f"broken JSON ({error})") from None
    if isinstance(value, list):
        if not value or not all(isinstance(one, dict) for one in value):
            raise _unfit("a JSON list that does not consist of objects")
        return Sniffed("json", {"type": "json"})
    if "openapi" in value or "swagger" in value:
        return _described(value)
    if (found := _records(value)) is not None:
        return Sniffed("json", {"type": "json", "records": found})
    return Sniffed("ndjson" if "\n" not in text.strip() else "json", {"type": "json"})


def _are_objects(lines: list[str]) -> bool:
    filled = [line for line in lines if line.strip()]
    try:
        return bool(filled) and all(isinstance(json.loads(line), dict) for line in filled)
    except (ValueError, RecursionError):
        return False


def _records(value: Mapping[str, Any]) -> str | None:
    """Return the dotted path of the first list of objects inside an object, the shallowest first."""
    level: list[tuple[str, Mapping[str, Any]]] = [("", value)]
    for _ in range(3):
        below: list[tuple[str, Mapping[str, Any]]] = []
        for path, one in level:
            for key, part in one.items():
                name = f"{path}.{key}" if path else key
                if "." in key or not key:
                    continue
                if isinstance(part, list) and part and all(isinstance(item, dict) for item in part):
                    return name
                if isinstance(part, dict):
                    below.append((name, part))
        level = below
    return None


def _yaml(text: str) -> Any:
    import yaml

    if len(text) > _MAX_YAML:
        raise _unfit(f"a YAML text of more than {_MAX_YAML:,} characters", "write the description as JSON")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        # libyaml builds nested values by recursion in C, which ends the process where they go too deep
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise _unfit("YAML that is nested too deeply")
        return yaml.load(text, Loader=loader)  # noqa: S506  # both are the safe one
    except (yaml.YAMLError, RecursionError, ValueError):
        raise _unfit("broken YAML") from None


def _described(value: Any) -> Sniffed:
    paths = value.get("paths") if isinstance(value, dict) else None
    if not isinstance(paths, dict):
        raise _unfit("an API description without paths")
    found = [
        f"{method.upper()} {path}"[:300]
        for path, methods in paths.items()
        if isinstance(path, str) and isinstance(methods, dict)
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    ]
    return Sniffed("openapi", {}, tuple(found[:_MAX_OPERATIONS]))


def _is_csv(text: str) -> bool:
    """Whether most lines have the delimiter of the first one, or all are one word each."""
    lines = [line for line in text[:1_000_000].splitlines()[: _LOOKED + 1] if line.strip()]
    if len(lines) < 2:
        return False
    for sign in ",;\t|":
        if sign in lines[0] and sum(sign in line for line in lines) >= 0.9 * len(lines):
            return True
    return all(len(line.split()) == 1 for line in lines)


def _unfit(what: str, hint: str = _TAKEN) -> ConfigError:
    return ConfigError(Problem("unfit-upload", f"the file is {what}", (), hint))
