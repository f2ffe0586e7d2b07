"""Folder defaults: layers of JSON from the configs folder down to one file, merged; and the layer of each value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dataforge.components.base import JsonValue
from dataforge.config.positions import Positions, escape, locate, parent

RENAMED = {"schedule_interval": "schedule"}
"""Older names of top-level keys to those that the model knows."""

_NEVER_MERGED = ("schedule", "matrix")
_EXCLUSIVE = {"source": "sources", "sources": "source"}


@dataclass(frozen=True)
class Layer:
    """One JSON object that was read, and its text for places."""

    path: Path
    text: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    @cached_property
    def positions(self) -> Positions:
        """Where its keys and values stand."""
        return locate(self.text)

    @property
    def normal(self) -> dict[str, Any]:
        """Its data with older key names replaced, where the newer one is not given too."""
        return {
            RENAMED[key] if key in RENAMED and RENAMED[key] not in self.data else key: value
            for key, value in self.data.items()
            if key != "$schema"
        }

    def place(self, pointer: str, *, at_key: bool = False) -> tuple[int, int] | None:
        """Return (line, column) of the value at `pointer`, or of its key; None when this layer has none."""
        positions = self.positions
        for old, new in RENAMED.items():
            if pointer.split("/")[1:2] == [new] and pointer not in positions.values:
                pointer = f"/{old}{pointer[len(new) + 1 :]}"
        return (positions.key(pointer) if at_key else None) or positions.value(pointer)


@dataclass(frozen=True)
class Stack:
    """The layers that make one file's config: defaults from the outermost folder inwards, the file last."""

    layers: tuple[Layer, ...]

    @property
    def file(self) -> Path:
        """The file itself."""
        return self.layers[-1].path

    @cached_property
    def merged(self) -> dict[str, Any]:
        """The layers merged: objects key by key, everything else replaced. `$schema` is left out."""
        merged: dict[str, Any] = {}
        for layer in self.layers:
            merged = _overlay(merged, layer.normal)
        return merged

    @cached_property
    def owners(self) -> dict[str, int]:
        """Every pointer of `merged` to the index of the layer that gave its value."""
        owners = {"": len(self.layers) - 1}
        merged: dict[str, Any] = {}
        for index, layer in enumerate(self.layers):
            merged = _overlay(merged, layer.normal, owners, index)
        return owners

    def locate(self, pointer: str, *, at_key: bool = False) -> tuple[Path, int, int]:
        """Return (file, line, column) of the value at `pointer`, or of the nearest thing around it that exists."""
        first = pointer.split("/")[1:2]
        if pointer not in self.owners and first and first[0] in RENAMED:
            pointer = f"/{RENAMED[first[0]]}{pointer[len(first[0]) + 1 :]}"
        while pointer not in self.owners:
            pointer, at_key = parent(pointer), False
        layer = self.layers[self.owners[pointer]]
        line, column = layer.place(pointer, at_key=at_key) or (1, 1)
        return layer.path, line, column


def _overlay(
    base: Mapping[str, Any],
    over: Mapping[str, Any],
    owners: dict[str, int] | None = None,
    index: int = 0,
    pointer: str = "",
) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        place = f"{pointer}/{escape(key)}"
        if not pointer and key in _EXCLUSIVE and _EXCLUSIVE[key] not in over:
            result.pop(_EXCLUSIVE[key], None)
            _forget(owners, f"/{_EXCLUSIVE[key]}")
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, dict) and not _replaces(place, before, value):
            result[key] = _overlay(before, value, owners, index, place)
            if owners is not None:
                owners[place] = index
            continue
        result[key] = value
        if owners is not None:
            if key in base:
                _forget(owners, place)
            _own(owners, place, value, index)
    return result


def _replaces(pointer: str, before: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether an object takes the place of another whole: one of another `type`, whose keys would not fit it."""
    other = "type" in before and "type" in value and before["type"] != value["type"]
    return pointer[1:] in _NEVER_MERGED or (other and not pointer.endswith("/columns"))


def _forget(owners: dict[str, int] | None, pointer: str) -> None:
    if owners is not None:
        for each in [each for each in owners if each == pointer or each.startswith(f"{pointer}/")]:
            del owners[each]


def _own(owners: dict[str, int], pointer: str, value: JsonValue, index: int) -> None:
    owners[pointer] = index
    if isinstance(value, dict):
        for key, part in value.items():
            _own(owners, f"{pointer}/{escape(key)}", part, index)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _own(owners, f"{pointer}/{number}", part, index)
