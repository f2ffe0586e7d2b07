"""The singer source: one stream of an installed Singer tap."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dataforge.components.base import ExtractContext, Files, JsonValue, SourceConfig
from dataforge.components.delivery import Grade
from dataforge.components.fields import ColumnName, ConnectionId, Duration
from dataforge.components.registry import SOURCES
from dataforge.errors import ConfigError, Problem, TerminalError
from dataforge.settings import get_settings
from dataforge.sources import _tap

MAX_CATALOG = 64 * 1024 * 1024
MAX_STATE = 1024 * 1024
"""Bytes of a state; it stands in the marker of each load."""
_TYPES = {"integer": "BIGINT", "boolean": "BOOLEAN", "number": "", "object": "JSON", "array": "JSON"}
_FORMATS = {"date-time": "TIMESTAMPTZ", "date": "DATE"}


class SingerConfig(SourceConfig):
    """Config of the singer source."""

    type: Literal["singer"] = "singer"
    tap: str = Field(
        pattern=r"^tap-[A-Za-z0-9][A-Za-z0-9._-]{0,100}$",
        description="Name of the tap: the console script of a package that is installed where tasks run.",
        examples=["tap-github"],
    )
    connection: ConnectionId = Field(
        description="Airflow connection whose extra is the tap's configuration, a JSON object as the tap's page "
        "describes it. It is handed over in a file that only the task's user can read.",
        examples=["github_tap"],
    )
    stream: str = Field(
        min_length=1,
        max_length=300,
        description="The stream to read, as the tap's catalog calls it.",
        examples=["issues"],
    )
    select: tuple[ColumnName, ...] = Field(
        default=(), description="Properties to select; all when empty. Those that the tap always gives come as well."
    )
    resume: bool = Field(
        default=False,
        description="Whether each run goes on from the state in which the tap ended the one before. The state is "
        "committed with the rows. Needs write_disposition append or merge; taps may give records near the state twice, "
        "which merge takes and append doubles.",
    )
    catalog_option: Literal["--catalog", "--properties"] = Field(
        default="--catalog", description="How the tap takes the catalog: --properties for old ones."
    )
    timeout: Duration | None = Field(
        default=timedelta(hours=6), description="Longest time of one run of the tap; then it is ended and tried again."
    )

    def position_name(self) -> str | None:
        """Return "state" where runs go on from it."""
        return "state" if self.resume else None

    def grade(self) -> Grade:
        """Return what a tap proves: nothing beyond its having ended well."""
        return "unstable"


@SOURCES.register(SingerConfig)
class SingerSource:
    """Reads one stream of an installed Singer tap, with the tap's state kept beside the loaded rows."""

    def __init__(self, config: SingerConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Files:
        """Run the tap to its end, its records as NDJSON in scratch; the runtime types them over all of them."""
        position = context.position
        if position is not None and position.until is not None:
            raise TerminalError(
                "a tap can't be asked for the records of an earlier run alone; undo that run with 'dataforge undo', "
                "and the next run reads on from before it"
            )
        tap = self._tap(context)
        entry = self._selected(_discovered(tap))
        catalog = _tap.private_file(context.scratch / "tap-catalog.json", {"streams": [entry]})
        arguments = [self.config.catalog_option, str(catalog)]
        if position is not None and position.before is not None:
            state = _tap.private_file(context.scratch / "tap-state.json", position.before)
            arguments += ["--state", str(state)]
        target = context.scratch / "records.ndjson"
        stream = str(entry.get("stream") or self.config.stream)
        with closing(tap.run(arguments)) as lines:
            state_after = self._spool(lines, stream, target, context)
        if position is not None:
            position.reach(state_after if state_after is not None else position.before)
        return Files("json", (target,), {"format": "newline_delimited"})

    def verify(self) -> Iterable[Problem]:
        """Yield what is wrong where the tap is not installed here, or a cursor is wanted besides the state."""
        if _tap.installed(self.config.tap) is None:
            yield _missing(self.config.tap)
        if self.config.resume and self.config.cursor_field is not None:
            message = "the tap's state says from where on to read, so there can be no cursor_field beside it"
            yield Problem("conflicting-keys", message, ("cursor_field",), "remove one of 'resume', 'cursor_field'")

    def check(self, context: ExtractContext) -> str:
        """Return how many streams the tap finds with its settings."""
        entries = _discovered(self._tap(context))
        self._selected(entries)
        return f"{self.config.tap} has {len(entries)} stream(s), {self.config.stream!r} among them"

    def discover(self, context: ExtractContext) -> dict[str, str]:
        """Return the properties of the stream, with types as far as its schema tells them."""
        entry = self._selected(_discovered(self._tap(context)))
        properties = entry.get("schema", {}).get("properties", {})
        wanted = set(self.config.select)
        return {name: _type(schema) for name, schema in properties.items() if not wanted or name in wanted}

    def _tap(self, context: ExtractContext) -> _tap.Tap:
        point = _tap.installed(self.config.tap)
        if point is None:
            raise ConfigError(_missing(self.config.tap))
        settings = dict(context.connection(self.config.connection).extra)
        seconds = self.config.timeout.total_seconds() if self.config.timeout else 0
        stall = get_settings().stall_seconds
        return _tap.Tap(point, settings, context.scratch, context.log, seconds=seconds, stall=stall)

    def _selected(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the catalog's entry of the stream, selected in both ways that taps look for."""
        names = [str(entry.get("tap_stream_id") or entry.get("stream")) for entry in entries]
        entry = next(
            (one for one, name in zip(entries, names, strict=True) if self.config.stream in (name, one.get("stream"))),
            None,
        )
        if entry is None:
            near = difflib.get_close_matches(self.config.stream, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"streams: {', '.join(sorted(names)[:30])}"
            message = f"{self.config.tap} has no stream {self.config.stream!r}"
            raise ConfigError(Problem("unknown-table", message, ("stream",), hint, tuple(sorted(names))))
        properties = entry.setdefault("schema", {}).get("properties", {})
        if unknown := [name for name in self.config.select if name not in properties]:
            near = difflib.get_close_matches(unknown[0], properties, n=1)
            message = f"the stream {self.config.stream!r} has no property {unknown[0]!r}"
            raise ConfigError(
                Problem("unknown-column", message, ("select",), f"did you mean {near[0]!r}?" if near else None)
            )
        entry["schema"]["selected"] = True
        known = {tuple(one.get("breadcrumb", ())): one.setdefault("metadata", {}) for one in entry.get("metadata", [])}
        known.setdefault((), {})["selected"] = True
        for name in properties:
            about = known.setdefault(("properties", name), {})
            about["selected"] = not self.config.select or name in self.config.select
        entry["metadata"] = [{"breadcrumb": list(crumb), "metadata": about} for crumb, about in known.items()]
        return entry

    def _spool(self, lines: Iterable[bytes], stream: str, target: Path, context: ExtractContext) -> JsonValue:
        """Write the stream's records, one a line, and return the last state; what breaks off is not kept."""
        state: JsonValue = None
        rows = others = 0
        with target.open("w", encoding="utf-8") as out:
            for line in lines:
                kind, keys = self._message(line)
                if kind == "RECORD":
                    if json.loads(keys.get("stream", "null")) != stream:
                        others += 1
                        continue
                    record = keys.get("record", "")
                    if not record.startswith("{"):
                        raise TerminalError(f"{self.config.tap} wrote a RECORD without a record")
                    out.write(record.replace("\n", " ") + "\n")
                    rows += 1
                    if context.sample is not None and rows >= context.sample:
                        break
                elif kind == "STATE":
                    if len(keys.get("value", "")) > MAX_STATE:
                        raise TerminalError(f"{self.config.tap} wrote a state of more than {MAX_STATE} bytes")
                    state = json.loads(keys.get("value", "null"))
        context.log("tap read", tap=self.config.tap, stream=stream, rows=rows, **({"others": others} if others else {}))
        return state

    def _message(self, line: bytes) -> tuple[str, dict[str, str]]:
        if not line.strip():
            return "", {}
        try:
            return _tap.message(line)
        except (ValueError, RecursionError) as error:
            # not what it wrote: records are nobody's but the target's, and its config may stand in it
            said = f"{self.config.tap} wrote {len(line)} bytes that are no Singer message: {error}"
            raise TerminalError(said) from None


def _discovered(tap: _tap.Tap) -> list[dict[str, Any]]:
    """Return the streams of the tap's catalog."""
    found, size = [], 0
    with closing(tap.run(["--discover"])) as lines:
        for line in lines:
            size += len(line)
            if size > MAX_CATALOG:
                raise TerminalError(f"the tap's catalog is larger than {MAX_CATALOG} bytes")
            found.append(line)
    try:
        entries: list[dict[str, Any]] = json.loads(b"".join(found))["streams"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TerminalError("what the tap printed with --discover is no catalog") from None
    return entries


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return ""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    if kinds == ["string"]:
        return _FORMATS.get(str(schema.get("format")), "VARCHAR")
    return _TYPES.get(kinds[0], "") if len(kinds) == 1 else ""


def _missing(tap: str) -> Problem:
    known = _tap.taps()
    near = difflib.get_close_matches(tap, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"pip install {tap} where the tasks run"
    return Problem("unknown-component", f"no installed package has the console script {tap!r}", ("tap",), hint)
