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


@guard("marker")
def _marker() -> None:
    from dataforge.destinations import _commit

    never: Any = lambda self, record, target: False
    _commit._Attempt._is_done = never  # type: ignore[method-assign]
    nothing: Any = lambda self, *rest: 0
    from dataforge.destinations import _dispositions

    # without the marker nobody knows that these rows were written before
    _dispositions.Dispositions.remove_own = nothing  # type: ignore[method-assign]


@guard("fence")
def _fence() -> None:
    from dataforge.destinations import _commit, _ledger

    anything: Any = lambda self, *rest: None
    _commit._Attempt._compare_cursor = anything  # type: ignore[method-assign]
    state = _ledger.LedgerTables.state

    def unlocked(self: _ledger.LedgerTables, *, lock: bool = False) -> Any:
        return state(self)

    def move(self: _ledger.LedgerTables, before: Any, cursor: Any, now: Any) -> None:
        found = state(self)
        original(self, found, cursor, now)

    original: Any = _ledger.LedgerTables.move
    replaced: Any = unlocked
    _ledger.LedgerTables.state = replaced  # type: ignore[method-assign]
    moved: Any = move
    _ledger.LedgerTables.move = moved  # type: ignore[method-assign]


@guard("zero rows")
def _zero_rows() -> None:
    from dataforge.destinations import _dispositions

    anything: Any = lambda self, *rest: None
    _dispositions.Dispositions.guard_replace = anything  # type: ignore[method-assign]


@guard("deadline")
def _deadline() -> None:
    from collections.abc import Iterator
    from contextlib import contextmanager

    from dataforge.sources import _http

    build = _http._adapter_class

    def adapter() -> Any:
        @contextmanager
        def within(self: Any, seconds: float) -> Iterator[Callable[[], bool]]:
            yield lambda: False

        class Unbounded(build()):  # type: ignore[misc]
            pass

        Unbounded.within = within
        return Unbounded

    replaced: Any = adapter
    _http._adapter_class = replaced
