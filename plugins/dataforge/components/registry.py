"""Registries: from a `type` in a config to the component's config model and class.

A component module is named after its type (`postgres.py`; with a trailing underscore where the plain name is a module
of the standard library: `csv_.py`) and is imported when its type is first asked for. Types that are not ours are looked
up in installed packages, by entry points of the group `dataforge.<kind>`. So a DAG parse imports only what its config
names, and asks the installed packages only when it must.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from dataforge.components.base import (
    ArrowTransform,
    Check,
    CheckConfig,
    ComponentConfig,
    Destination,
    DestinationConfig,
    Source,
    SourceConfig,
    Transform,
    TransformConfig,
)
from dataforge.errors import ConfigError, Problem

T = TypeVar("T")
ConfigClass = type[ComponentConfig]


@dataclass(frozen=True)
class Component(Generic[T]):
    """One registered component."""

    type: str
    config: ConfigClass
    cls: Callable[[Any], T]
    module: str

    @property
    def summary(self) -> str:
        """The first sentence of the class's docstring."""
        return (self.cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


class Registry(Generic[T]):
    """The components of one kind ("sources", "transforms", "checks" or "destinations")."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._known: dict[str, Component[T]] = {}

    @property
    def singular(self) -> str:
        """The kind as one noun, for messages."""
        return self.kind.removesuffix("s")

    def register(self, config: type[ComponentConfig]) -> Callable[[type], type]:
        """Class decorator: register the class under the type that `config` declares."""
        type_ = config.model_fields["type"].default

        def add(cls: type) -> type:
            known = self._known.get(type_)
            if known and known.module != cls.__module__:
                raise TypeError(f"{self.singular} {type_!r} is registered by both {known.module} and {cls.__module__}")
            self._known[type_] = Component(type_, config, cls, cls.__module__)
            return cls

        return add

    def get(self, type_: str) -> Component[T]:
        """Return the component of that type, imported now if need be; ConfigError with near names if there is none."""
        if type_ not in self._known:
            try:
                self._load(type_)
            except ImportError as error:
                message = f"{self.singular} {type_!r} is installed but can't be imported: {error}"
                raise ConfigError(Problem("broken-component", message, ("type",))) from error
        try:
            return self._known[type_]
        except KeyError:
            allowed = tuple(self.types())
            near = difflib.get_close_matches(type_, allowed, n=1)
            raise ConfigError(
                Problem(
                    code=f"unknown-{self.singular}",
                    message=f"{self.singular} type {type_!r} is not known",
                    path=("type",),
                    suggestion=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(allowed)}",
                    allowed=allowed,
                )
            ) from None

    def types(self) -> list[str]:
        """Return all types that can be had, sorted: our own and those of installed packages."""
        return sorted({*self._known, *self._own(), *(point.name for point in self._installed())})

    def __iter__(self) -> Iterator[Component[T]]:
        """Iterate over all components, importing every one."""
        return (self.get(type_) for type_ in self.types())

    def build(self, config: ComponentConfig) -> T:
        """Return a new component for that config; TerminalError with the install line where an extra is missing."""
        for extra in config.extras():
            extra.need(f"{self.singular} {config.type!r}")
        return self.get(config.type).cls(config)

    def _load(self, type_: str) -> None:
        if type_ in (own := self._own()):
            import_module(own[type_])
        else:
            for point in self._installed():
                if point.name == type_:
                    point.load()

    def _own(self) -> dict[str, str]:
        package = import_module(f"dataforge.{self.kind}")
        return {
            module.name.removesuffix("_"): f"{package.__name__}.{module.name}"
            for module in pkgutil.iter_modules(package.__path__)
            if not module.name.startswith("_")
        }

    def _installed(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=f"dataforge.{self.kind}"))


SOURCES: Registry[Source] = Registry("sources")
TRANSFORMS: Registry[Transform | ArrowTransform] = Registry("transforms")
CHECKS: Registry[Check] = Registry("checks")
DESTINATIONS: Registry[Destination] = Registry("destinations")

KINDS: dict[str, tuple[Registry[Any], type[ComponentConfig]]] = {
    "source": (SOURCES, SourceConfig),
    "transform": (TRANSFORMS, TransformConfig),
    "check": (CHECKS, CheckConfig),
    "destination": (DESTINATIONS, DestinationConfig),
}
"""Kind in the singular to its registry and the base of its config models."""
