"""What a fixer sees of one finding, and what it answers: proposals, best first; the first that helps is taken."""

from __future__ import annotations

import builtins
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dataforge.authoring.editing import EditError, Operation, at, exists, tokens
from dataforge.components.base import JsonValue
from dataforge.components.registry import KINDS
from dataforge.config.findings import Finding
from dataforge.config.layers import RENAMED
from dataforge.config.pipeline import PipelineConfig
from dataforge.config.positions import pointer_of
from dataforge.config.shapes import Shape, shape_of
from dataforge.errors import ConfigError

KIND_OF = {
    "source": "source",
    "sources": "source",
    "transforms": "transform",
    "checks": "check",
    "destination": "destination",
}


@dataclass(frozen=True)
class Proposal:
    """What would fix a finding: operations and the reason in one sentence. `advice` is what the person must do then."""

    operations: tuple[Operation, ...]
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Block:
    """One component in a config: its kind, its pointer, its JSON, and its model where its type is known."""

    kind: str
    pointer: str
    value: JsonValue

    @property
    def type(self) -> str:
        """Its type, "" where it has none."""
        kind = self.value.get("type") if isinstance(self.value, Mapping) else None
        return kind if isinstance(kind, str) else ""

    @property
    def model(self) -> builtins.type[BaseModel] | None:
        """The model of its config; None when its type is not known."""
        return model_of(self.kind, self.type)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it may have."""
        return tuple(shape_of(self.model).fields) if self.model else ()


@dataclass(frozen=True)
class Surroundings:
    """What fixers may know besides the config: the file, today, and the connections (id to type) that may be used."""

    path: Path
    today: date
    connections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One finding in the JSON of one file."""

    finding: Finding
    data: dict[str, Any]
    around: Surroundings

    @cached_property
    def pointer(self) -> str:
        """The finding's place in the file, where older names of keys may stand."""
        pointer = self.finding.pointer
        if exists(self.data, pointer):
            return pointer
        first = tokens(pointer)[:1]
        for old, new in RENAMED.items():
            if first == (new,) and old in self.data:
                return f"/{old}{pointer[len(new) + 1 :]}"
        return pointer

    @property
    def path(self) -> tuple[str, ...]:
        """The keys and indexes of the place."""
        return tokens(self.pointer)

    @property
    def key(self) -> str:
        """The last key or index of the place."""
        return self.path[-1] if self.path else ""

    @property
    def value(self) -> JsonValue:
        """The value at the place; None when there is none."""
        return at(self.data, self.pointer) if exists(self.data, self.pointer) else None

    @property
    def there(self) -> bool:
        """Whether the file has the place."""
        return exists(self.data, self.pointer)

    @property
    def holder_pointer(self) -> str:
        """The pointer of the object or list around the place."""
        return self.pointer.rpartition("/")[0]

    @property
    def holder(self) -> JsonValue:
        """The object or list around the place; None when the file does not have it."""
        try:
            return at(self.data, self.holder_pointer)
        except EditError:
            return None

    @cached_property
    def block(self) -> Block | None:
        """The component that the place belongs to; None outside of components."""
        return block_at(self.data, self.path)

    @property
    def in_block(self) -> bool:
        """Whether the place is a key of a component itself, not of something deeper."""
        return self.block is not None and self.holder_pointer == self.block.pointer

    @property
    def shape(self) -> Shape | None:
        """What the model says of the place; None when it does not know it."""
        return shape_at(self.data, self.path)

    @property
    def meant(self) -> str | None:
        """The name that the finding itself suggests ("did you mean 'x'?")."""
        match = re.search(r"did you mean '([^']*)'\?", self.finding.suggestion or "")
        return match[1] if match else None

    def replace(self, value: JsonValue, reason: str, advice: str = "") -> Proposal:
        """Return the proposal to put another value in the place."""
        return Proposal((Operation("replace", self.pointer, value),), reason, advice)

    def remove(self, reason: str, advice: str = "") -> Proposal:
        """Return the proposal to take the place away."""
        return Proposal((Operation("remove", self.pointer),), reason, advice)

    def rename(self, key: str, reason: str) -> Proposal:
        """Return the proposal to give the key another name."""
        return Proposal((Operation("move", under(self.holder_pointer, key), from_=self.pointer),), reason)


Fixer = Callable[[Case], Iterator[Proposal]]


def under(pointer: str, *keys: str | int) -> str:
    """Return the pointer of something below another."""
    return pointer + pointer_of(keys)


def model_of(kind: str, type_: str) -> type[BaseModel] | None:
    """Return the config model of a component; None when there is none of this type."""
    try:
        model: type[BaseModel] = KINDS[kind][0].get(type_).config
    except ConfigError:
        return None
    return model


def blocks(data: Mapping[str, Any]) -> Iterator[Block]:
    """Yield every component of a config that is an object."""
    for key, kind in KIND_OF.items():
        value = data.get(key)
        if key == "sources" and isinstance(value, Mapping):
            found = [Block(kind, pointer_of((key, name)), part) for name, part in value.items()]
            yield from (block for block in found if isinstance(block.value, Mapping))
        elif isinstance(value, list):
            found = [Block(kind, pointer_of((key, index)), part) for index, part in enumerate(value)]
            yield from (block for block in found if isinstance(block.value, Mapping))
        elif isinstance(value, Mapping) and key in ("source", "destination"):
            yield Block(kind, pointer_of((key,)), value)


def block_at(data: Mapping[str, Any], path: tuple[str, ...]) -> Block | None:
    """Return the component that a path leads into."""
    if not path or path[0] not in KIND_OF:
        return None
    several = path[0] in ("sources", "transforms", "checks") or isinstance(data.get(path[0]), list)
    pointer = pointer_of(path[: 2 if several else 1])
    if (several and len(path) < 2) or not exists(data, pointer):
        return None
    return Block(KIND_OF[path[0]], pointer, at(data, pointer))


def shape_at(data: Mapping[str, Any], path: tuple[str, ...]) -> Shape | None:
    """Return the shape of a place by the models; of a union the option that knows the next key."""
    block = block_at(data, path)
    if block is not None:
        if block.model is None:
            return None
        shape, rest = shape_of(block.model), path[len(tokens(block.pointer)) :]
    else:
        shape, rest = shape_of(PipelineConfig), path
    for key in rest:
        found = _below(shape, key)
        if found is None:
            return None
        shape = found
    return shape


def _below(shape: Shape, key: str) -> Shape | None:
    for option in (*shape.options, shape):
        if option.options and option is not shape:
            found = _below(option, key)
        elif key in option.fields:
            found = option.fields[key]
        else:
            found = option.values or (option.items if key.isdigit() else None)
        if found is not None:
            return found
    return None


def nearest(word: str, names: Iterable[str], cutoff: float = 0.75) -> str | None:
    """Return the one name that is plainly meant by `word`: the nearest, well ahead of the next; None when none is."""
    plain = {re.sub(r"[\s_-]+", "", name).lower(): name for name in names}
    key = re.sub(r"[\s_-]+", "", word).lower()
    if key in plain:
        return plain[key]
    scored = sorted(((difflib.SequenceMatcher(None, key, each).ratio(), each) for each in plain), reverse=True)
    if not scored or scored[0][0] < cutoff:
        return None
    if len(scored) > 1 and scored[0][0] - scored[1][0] < 0.02:
        return None
    return plain[scored[0][1]]


def slug(text: str, otherwise: str = "pipeline") -> str:
    """Return the nearest valid name: letters, digits, `_`, `.` and `-`, beginning with a letter."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text.strip()).strip("_.-")
    name = name if re.match(r"[A-Za-z]", name) else f"{otherwise}_{name}".strip("_")
    return name[:200]
