"""The guards that can be switched off inside a child, to prove that the suite notices when one is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

GUARDS: dict[str, Callable[[], None]] = {}
"""Name of a guard to the function that takes it out of this process."""


def guard(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register how a guard is switched off."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        GUARDS[name] = function
        return function

    return register


def switch_off(name: str) -> None:
    """Take a guard out of this process."""
    GUARDS[name]()


@guard("digest")
def _digest() -> None:
    from dataforge.runtime import staging

    def fetch(self: staging.Staging, manifest: staging.Manifest, scratch: Path) -> list[Path]:
        address = self._address(manifest)
        return [self._store.fetch(f"{address}/{part.name}", scratch) for part in self.contents(manifest).parts]

    unchecked: Any = fetch
    staging.Staging.fetch = unchecked  # type: ignore[method-assign]
