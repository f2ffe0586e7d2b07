"""`dataforge run CONFIG` without what makes it safe: no ledger, no marker, no fence, no digests. Only to see the price.

The functions are replaced here; the product has no such switch.
"""

from __future__ import annotations

import sys
from typing import Any


def main() -> int:
    """Run the command line with those functions replaced."""
    from dataforge.cli import main as command
    from dataforge.components.delivery import State
    from dataforge.destinations._ledger import LedgerTables, SchemaVersion
    from dataforge.runtime import staging

    def nothing(*_: Any, **__: Any) -> None:
        return None

    replaced: dict[str, Any] = {
        "exists": lambda _: True,
        "prepare": nothing,
        "load": nothing,
        "state": lambda *_, **__: State(),
        "schema_version": lambda _: SchemaVersion(ours=True),
        "keep_schema": lambda *_: 0,
        "forget_dead_letters": nothing,
        "keep": lambda *_: 0,
        "mark": nothing,
        "move": nothing,
    }
    for name, function in replaced.items():
        setattr(LedgerTables, name, function)
    setattr(staging, "_sha256", lambda _: "0" * 64)  # noqa: B010 - a private name, from outside
    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
