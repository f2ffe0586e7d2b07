"""Where the benchmarks find and put things. This package uses the standard library only: the process that starts the
contestants must stay small, since a child's peak memory as the kernel counts it begins with that of its parent."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ.get("BENCH_SCRATCH", ROOT / "benchmarks" / ".data")).absolute()
PLUGINS = Path(os.environ.get("BENCH_PLUGINS", ROOT / "plugins")).absolute()
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
PYTHON = sys.executable
PEERS = ROOT / "benchmarks" / ".peers"

QUIET = {
    "DO_NOT_TRACK": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SCARF_NO_ANALYTICS": "true",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
"""Nobody phones home from a benchmark."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work: a command and what it needs in its environment besides the usual."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]

    @property
    def full_environment(self) -> dict[str, str]:
        """The environment that the command runs in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DLT", "PYTHON"))}
        path = os.pathsep.join((str(ROOT), str(PLUGINS)))
        return {**kept, **QUIET, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self.environment}


def program(module: str, *arguments: str, home: str | None = None) -> tuple[str, ...]:
    """Return the command that runs a module of the folder `contestants`, in the environment `home` of the peers."""
    python = str(PEERS / home / "bin" / "python") if home else PYTHON
    return (python, "-m", f"benchmarks.contestants.{module}", *arguments)
