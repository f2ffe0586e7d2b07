"""The child process that reads one uploaded file: `python -m dataforge.authoring.profiling FOLDER`.

FOLDER holds the file as `upload`. What to do comes as JSON on standard input: how it is read, its name, the configs
folder, and how much memory and time may be taken. One line of JSON goes out: {"profile": …} or {"problem": …}; the CSV
that an Excel sheet became is left as `kept`. A file that is made to exhaust its reader ends this process alone.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataforge.components.paths import UPLOAD, lending
from dataforge.errors import ConfigError, NothingToLoad, Problem, TerminalError

MAX_COLUMNS = 300
EXAMPLES = 5
_MAX_EXAMPLE = 60
_MAX_READ = 1_000
"""Characters of a value that are looked at, so that no secret is cut in a place where it is no longer known."""
_MAX_UNPACKED = 64 * 1024 * 1024
_ROWS_LOOKED_AT = 200


def main() -> int:
    """Read the file; return 0 when it could be read."""
    asked = json.loads(sys.stdin.read())
    seconds, memory = int(asked["seconds"]), int(asked["memory"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    path = Path(sys.argv[1]) / "upload"
    try:
        if asked["kind"] == "excel":
            kept = path.with_name("kept")
            kept.write_bytes(as_csv(path.read_bytes()))
            path = kept
        told = {"profile": profile(path, asked["source"], asked["name"], Path(asked["configs"]))}
    except ConfigError as error:
        problem = error.problems[0]
        told = {"problem": {"code": problem.code, "message": problem.message, "suggestion": problem.suggestion}}
    print(json.dumps(told, default=str))
    return 1 if "problem" in told else 0


def profile(path: Path, source: Mapping[str, Any], name: str, folder: Path) -> dict[str, Any]:
    """Return rows and columns of a file: types, missing values, and a few values of those that are not private."""
    from dataforge.authoring.policies import read_policies

    policies = read_policies(folder)
    try:
        rows, columns = _read(path, source)
    except NothingToLoad:
        raise ConfigError(Problem("unfit-upload", "the file holds no records", ())) from None
    except (TerminalError, ConfigError) as error:
        said = str(error).replace(str(path), "the file")
        raise ConfigError(Problem("unfit-upload", f"the file can't be read: {said}", ())) from None
    hidden = {column for column in columns if policies.masks(name, column)}
    return {"rows": rows, "columns": [_column(name, *found, hidden=name in hidden) for name, found in columns.items()]}


def _read(path: Path, source: Mapping[str, Any]) -> tuple[int, dict[str, tuple[str, int, list[Any]]]]:
    """Return the number of records, and of each column the type, how many values are missing, and some values."""
    from sqlglot import exp

    from dataforge.components import sql
    from dataforge.components.base import Relation
    from dataforge.config.pipeline import parse
    from dataforge.runtime.context import local
    from dataforge.runtime.engines.duckdb_ import read
    from dataforge.runtime.extract import landed

    text = f"{UPLOAD}the-file"
    with lending({text: path}):
        config = parse(
            {
                "dag_id": "upload",
                "source": {**source, "path": text},
                "destination": {"type": "duckdb", "table": "upload"},
            }
        )
        context = local(config, {})
        with context.scratch() as scratch, landed(config, ("source",), context, scratch, (scratch,)) as (con, views):
            columns = dict(list(views["source"].columns.items())[:MAX_COLUMNS])
            counts: list[exp.Expr] = [sql.aliased(exp.Count(this=exp.Star()), "total")]
            counts += [
                sql.aliased(exp.Count(this=sql.column(name)), f"filled {place}") for place, name in enumerate(columns)
            ]
            said = read(con, sql.select(Relation("source"), *counts)).to_pylist()[0]
            first = read(con, sql.select(Relation("source"), exp.Star()).limit(_ROWS_LOOKED_AT)).to_pylist()
    total = int(said["total"])
    return total, {
        name: (type_, total - int(said[f"filled {place}"]), [row[name] for row in first])
        for place, (name, type_) in enumerate(columns.items())
    }


def _column(name: str, type_: str, nulls: int, values: list[Any], *, hidden: bool) -> dict[str, Any]:
    from dataforge.authoring.catalogue import is_private
    from dataforge.gateway.redaction import Redaction

    shown: dict[str, None] = {}
    for value in values:
        if value is not None and len(shown) < EXAMPLES:
            text = "***" if hidden or is_private(name) else Redaction().text(str(value)[:_MAX_READ])
            shown[text if len(text) <= _MAX_EXAMPLE else text[:_MAX_EXAMPLE] + "…"] = None
    return {"name": name, "type": type_, "nulls": nulls, "examples": list(shown)}


def as_csv(data: bytes) -> bytes:
    """Return the first sheet of an Excel file as CSV, which is what is kept of it."""
    import csv
    import io
    import zipfile

    try:
        from openpyxl import load_workbook
    except ImportError:
        hint = "install airflow-dataforge[excel], or save the sheet as CSV"
        raise ConfigError(Problem("unfit-upload", "Excel files need the package openpyxl", (), hint)) from None
    text = io.StringIO(newline="")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MAX_UNPACKED:
                raise ConfigError(Problem("too-large", f"the sheet has more than {_MAX_UNPACKED:,} bytes unpacked"))
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        writer = csv.writer(text)
        for row in book.worksheets[0].iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                writer.writerow([_cell(cell) for cell in row])
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  # the package raises whatever it meets in a damaged file
        message = f"the Excel file can't be read ({type(error).__name__})"
        raise ConfigError(Problem("unfit-upload", message, (), "save the sheet as CSV")) from None
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    from datetime import date, datetime, time

    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date | time) else value


if __name__ == "__main__":
    sys.exit(main())
