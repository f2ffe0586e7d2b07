"""What scenarios share: sizes, the scratch folder, input files, the server, our own side."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import postgres
from benchmarks.measure import Figures, Run
from benchmarks.outcome import Line, Target
from benchmarks.place import PYTHON, ROOT, Contestant, program

TRANSFORMS = [
    {"type": "rename", "columns": {"id": "order_id"}},
    {
        "type": "cast",
        "columns": {
            "order_id": "bigint",
            "amount": "decimal(12,2)",
            "quantity": "bigint",
            "score": "double",
            "is_gift": "boolean",
            "order_date": "date",
            "updated_at": "timestamp",
        },
    },
    {"type": "filter", "where": "amount > 0"},
    {"type": "derive", "columns": {"order_day": "cast(updated_at as date)"}},
]
"""What every contestant does to the orders, but for psql, which copies them as they are."""

SAME_TABLE: dict[str, Any] = {"run_column": None}
"""What our tables leave out, so that all contestants write the same columns."""


@dataclass
class Bench:
    """One run of benchmarks: how many rows, how often, and where."""

    rows: int
    repeat: int
    scratch: Path
    stack: ExitStack
    quick: bool = False

    @cached_property
    def server(self) -> postgres.Postgres:
        """The PostgreSQL server, started at first use."""
        return self.stack.enter_context(postgres.started(self.scratch))

    def tell(self, text: str) -> None:
        """Say on standard error what is going on."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def orders(self, rows: int | None = None, suffix: str = ".csv") -> Path:
        """Return the input file with that many orders (default: `rows`); made once, kept in the scratch folder."""
        count = self.rows if rows is None else rows
        path = self.folder("inputs") / f"orders-{count}{suffix}"
        if not path.exists():
            self.tell(f"writing {path.name}")
            subprocess.run(program("generate", str(count), str(path)), cwd=ROOT, check=True)
        return path

    def folder(self, name: str, *, empty: bool = False) -> Path:
        """Return a folder below the scratch folder."""
        path = self.scratch / name
        if empty:
            shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def ours(self, name: str, config: dict[str, Any], **connections: str) -> Contestant:
        """Return `dataforge run` of that config as a contestant; `connections` are Airflow connections by id."""
        path = self.folder("configs") / f"{config['dag_id']}.json"
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        known = {f"AIRFLOW_CONN_{id_.upper()}": value for id_, value in connections.items()}
        command = (PYTHON, "-m", "dataforge", "run", str(path), "--format", "json")
        return Contestant(name, command, {**self.our_environment, **known})

    @property
    def our_environment(self) -> dict[str, str]:
        """Environment of our side: the package from the tree, all folders below the scratch folder."""
        return {
            "AIRFLOW_HOME": str(self.folder("airflow")),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATAFORGE__CONFIGS_FOLDER": str(self.folder("configs")),
            "AIRFLOW__DATAFORGE__DATA_FOLDERS": str(self.folder("inputs")),
            "AIRFLOW__DATAFORGE__OUTPUT_FOLDER": str(self.folder("output")),
            "AIRFLOW__DATAFORGE__STAGING_URL": f"file://{self.folder('staging')}",
            "AIRFLOW__DATAFORGE__SCRATCH_FOLDER": str(self.folder("scratch")),
        }

    def dlt(self, name: str, module: str, *arguments: str, rows: int | None = None, files: int = 4) -> Contestant:
        """Return a dlt pipeline as a contestant, by default on the settings that were fastest here.

        dlt loads several files at once, each on a connection and in a transaction of its own: four files are quicker
        than one, and an error in one of them leaves the rows of the others in the table.
        """
        each = max(1, (self.rows if rows is None else rows) // files + 1)
        settings = {"DLT_DATA_DIR": str(self.folder("dlt")), "DATA_WRITER__FILE_MAX_ITEMS": str(each)}
        return Contestant(name, program(module, *arguments, home="dlt"), settings)

    def forget_dlt(self) -> None:
        """Remove dlt's working folder, so that every run is a first run."""
        self.folder("dlt", empty=True)


def figures(runs: dict[str, list[Run]], rows: int) -> tuple[tuple[Line, ...], dict[str, Figures]]:
    """Return the table lines of runs that each took `rows` input rows, and the figures by contestant."""
    found = {name: Figures.of(name, each) for name, each in runs.items()}
    return tuple(line(each, rows) for each in found.values()), found


def line(each: Figures, rows: int) -> Line:
    """Return the table line of one contestant."""
    return Line(
        each.name,
        {
            "seconds": each.seconds,
            "best": each.best_seconds,
            "rows/s": rows / each.seconds,
            "CPU s": each.cpu_seconds,
            "peak MB": each.peak_mb,
        },
    )


def faster(found: Mapping[str, Figures], ours: Sequence[str], theirs: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets that each of ours must be faster than the fastest of theirs."""
    best = min((found[name] for name in theirs), key=lambda each: each.seconds)
    return tuple(Target(f"{name} ÷ {best.name}, rows/s", best.seconds / found[name].seconds, ">", 1) for name in ours)


def expect_rows(got: str, expected: Sequence[str], who: str) -> None:
    """Fail unless a contestant's result is one of the expected ones: speed doesn't count where rows are wrong."""
    if got not in expected:
        raise RuntimeError(f"{who} left {got!r} in the destination; expected {' or '.join(map(repr, expected))}")
