"""What a failed run says: its log found, read, masked, and what of it points into the config."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataforge.config.findings import Finding, Severity
from dataforge.errors import TerminalError, bounded
from dataforge.gateway.redaction import masked
from dataforge.runtime.connections import secrets
from dataforge.settings import airflow_home, config_option

MAX_LOG = 6_000
"""Characters of a log that are kept: its errors, and what came just before."""

_MAX_BYTES = 2_000_000
_PLACED = re.compile(
    r"(?:^|[\s;:])(?P<pointer>/(?:sources?|transforms|checks|destination|params|schedule|default_args)(?:/[\w.~-]+)*): "
    r"(?P<message>[^;\n]+?)(?: \((?P<hint>[^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\))?(?=;|\n|$)"
)
_TOLD = "AirflowFailException: "
"""How Airflow's log begins what a task of ours could not do for good."""
_OURS = re.compile(rf"^(?:(?:[\w.]+\.)?(?:ConfigError|InvalidConfig): |{_TOLD}(?=/)|error\[[\w-]+\] )")
_WHERE = frozenset({"connection", "table", "path", "paths", "endpoint", "database", "query", "type"})
"""Keys that say where data comes from or goes to: no text of a log may change them, since others write into logs."""
_ERROR = re.compile(r"(?i)error\b|exception\b|traceback|\bfailed\b|\bfatal\b|critical")
_HINTS = (
    (r"(?i)could not connect|connection refused|can't be reached|name or service not known|timed? ?out", "away"),
    (r"(?i)password authentication|authentication failed|invalid credentials|401|unauthorized", "credentials"),
    (r"(?i)permission denied|must be owner|403|forbidden|insufficient privilege", "rights"),
    (r"(?i)no such file|does not exist|not found|no files? match", "missing"),
    (r"(?i)out of memory|memory limit", "memory"),
    (r"(?i)no space left|disk full", "disk"),
)
_ADVICE = {
    "away": "A server could not be reached. The config is not at fault: look at the connection and the network.",
    "credentials": "The server refused the credentials. They stand in the Airflow connection, not in the config.",
    "rights": "The user of the connection lacks a right. Grant it, or write to another place.",
    "missing": "Something that the config names is not there: a file, a table or a column.",
    "memory": "The engine ran out of memory. Raise [dataforge] memory_limit_mb, or read less at once.",
    "disk": "The disk is full.",
}


_CONNECTION = re.compile(r'"connection"\s*:\s*"([A-Za-z0-9_.-]{1,250})"')


@dataclass(frozen=True)
class Failure:
    """A failed run in words. `findings` are those of its errors that name a place in the config."""

    log: str
    errors: tuple[str, ...]
    findings: tuple[Finding, ...]
    advice: str = ""

    @property
    def explanation(self) -> str:
        """What happened, in a few sentences."""
        first = self.errors[-1].removeprefix(_TOLD) if self.errors else "The log holds no error that DataForge knows."
        return " ".join(filter(None, (f"The run failed: {first}", self.advice)))


def read_failure(log: str, file: Path) -> Failure:
    """Return what a log (text, or Airflow's JSON lines) says about the config in `file`; secrets are masked."""
    lines = masked("\n".join(_lines(log)), secrets(_connections(file))).splitlines()
    at = [index for index, line in enumerate(lines) if _ERROR.search(line)]
    kept = sorted({index for hit in at[-20:] for index in range(max(0, hit - 3), min(len(lines), hit + 6))})
    text = "\n".join(lines[index] for index in kept) if kept else "\n".join(lines[-30:])
    errors = tuple(dict.fromkeys(bounded(lines[index].strip(), 600) for index in at))[-5:]
    found = tuple(_placed("\n".join(lines), file))
    advice = advice_on("\n".join(errors))
    return Failure(text[-MAX_LOG:], errors, found, "" if found else advice)


def advice_on(errors: str) -> str:
    """Return what to do about errors of servers and machines, in a sentence; "" where we don't know."""
    return next((_ADVICE[name] for pattern, name in _HINTS if re.search(pattern, errors)), "")


def _connections(file: Path) -> set[str]:
    """Return the ids of the connections that a config names, valid or not."""
    try:
        return set(_CONNECTION.findall(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeError):
        return set()


def _lines(log: str) -> Iterator[str]:
    for line in log[-_MAX_BYTES:].splitlines():
        try:
            record = json.loads(line) if line.startswith("{") else None
        except ValueError:
            record = None
        if not isinstance(record, dict):
            yield line[:4_000]
            continue
        yield f"{record.get('level', '')}: {record.get('event', '')}"[:4_000]
        details = record.get("error_detail")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict):
                yield f"{detail.get('exc_type', 'error')}: {detail.get('exc_value', '')}"[:4_000]


def _placed(text: str, file: Path) -> Iterator[Finding]:
    """Yield the problems that errors of DataForge tell with their place: `/transforms/0/where: … (hint)`.

    Only what our own errors say counts. What is about a place of data is a warning, for a person to decide.
    """
    seen: set[tuple[str, str]] = set()
    for line in text.splitlines():
        if (ours := _OURS.match(line)) is None:
            continue
        for match in _PLACED.finditer(line, ours.end() - 1):
            pointer, message = match["pointer"], match["message"].strip()
            if (pointer, message) in seen:
                continue
            seen.add((pointer, message))
            keys = pointer.split("/")
            far = keys[1] in ("source", "sources", "destination") and (keys[-1] in _WHERE or len(keys) < 3)
            level: Severity = "warning" if far else "error"
            yield Finding(_code(message), level, message, file, pointer=pointer, suggestion=match["hint"])


def _code(message: str) -> str:
    kinds = {
        r"^column '.*' is not known": "unknown-column",
        r"^function '.*' is not allowed": "unknown-function",
        r"^type '.*' is not known": "unknown-type",
        r"is not one of": "invalid-choice",
        r"^unknown key": "unknown-key",
    }
    return next((code for pattern, code in kinds.items() if re.search(pattern, message)), "invalid-value")


def find_log(dag_id: str, run_id: str) -> str:
    """Return the logs of a run's last attempts from Airflow's log folder; TerminalError when there are none."""
    base = Path(config_option("logging", "base_log_folder") or airflow_home() / "logs")
    for name in (dag_id, run_id):
        if not name or "/" in name or name in (".", "..") or "\0" in name:
            raise TerminalError(f"{name!r} is no id of a DAG or run")
    folder = base / f"dag_id={dag_id}" / f"run_id={run_id}"
    by_task: dict[Path, Path] = {}
    for path in sorted(folder.rglob("attempt=*.log"), key=_attempt):
        by_task[path.parent] = path
    if not by_task:
        raise TerminalError(f"there is no log of run {run_id!r} of {dag_id!r} below {str(base)!r}; pass --log FILE")
    newest = sorted(by_task.values(), key=lambda path: path.stat().st_mtime)
    return "\n".join(tail(path) for path in newest)


def tail(path: Path) -> str:
    """Return the end of a log file."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _MAX_BYTES))
        return file.read().decode("utf-8", "replace")


def _attempt(path: Path) -> tuple[str, int]:
    number = re.search(r"attempt=(\d+)", path.name)
    return str(path.parent), int(number[1]) if number else 0


def as_json(failure: Failure) -> dict[str, Any]:
    """Return a failure for machines."""
    return {"explanation": failure.explanation, "errors": list(failure.errors), "log": failure.log}
