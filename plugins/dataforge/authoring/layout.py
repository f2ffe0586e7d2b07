"""A config as the text of its file: one top-level key a line, and what fits into a line on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dataforge.config.pipeline import PipelineConfig

WIDTH = 120
_ORDER = {info.alias or name: number for number, (name, info) in enumerate(PipelineConfig.model_fields.items())}


def write(config: Mapping[str, Any]) -> str:
    """Return the text of a config file, its known keys in the schema's order, with a newline at the end."""
    keys = sorted(config, key=lambda key: (key != "$schema", _ORDER.get(key, len(_ORDER))))
    return value({key: config[key] for key in keys}, top=True) + "\n"


def value(data: Any, indent: int = 0, taken: int = 0, *, top: bool = False) -> str:
    """Return a JSON value as text that begins in column `indent` + `taken`; lines below it are indented by `indent`."""
    flat = json.dumps(data, ensure_ascii=False)
    if not isinstance(data, Mapping | list | tuple) or not data:
        return flat
    if not top and indent + taken + len(flat) + 1 <= WIDTH:
        return flat
    inner = indent + 2
    if isinstance(data, Mapping):
        parts = []
        for key, part in data.items():
            name = json.dumps(key, ensure_ascii=False) + ": "
            parts.append(name + value(part, inner, len(name)))
        opened, closed = "{", "}"
    else:
        parts = [value(part, inner) for part in data]
        opened, closed = "[", "]"
    pad = " " * inner
    return opened + "\n" + ",\n".join(pad + part for part in parts) + "\n" + " " * indent + closed
