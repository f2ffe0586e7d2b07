"""What is to be said of a config whose parts are valid: settings that contradict each other, put rows at risk, or have
no effect; things declared and never used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dataforge.components.base import DestinationConfig
from dataforge.config import incremental
from dataforge.config.delivery import capabilities
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import Problem

Path = tuple[str | int, ...]

_MERGE_ONLY = (
    "merge_strategy",
    "merge_key",
    "null_keys",
    "duplicate_keys",
    "latest_by",
    "valid_from",
    "valid_to",
)
_REPLACE_ONLY = ("keep_previous", "allow_empty", "allow_shrink", "replace_method")
_GUARDS = ("allow_empty", "allow_shrink")  # of a merge that deletes missing rows as well
_DEAD_LETTERS = 'add "dead_letters": {"max_share": 0.01}'


def review(config: PipelineConfig, data: Mapping[str, Any]) -> list[Problem]:
    """Return problems, most of severity warning, of a config that `parse` took and the JSON it came from."""
    found: list[Problem] = [
        *incremental.problems(config),
        *_sources(config),
        *_destinations(config),
        *_dead_letters(config),
    ]

    def warn(code: str, message: str, path: tuple[str | int, ...], suggestion: str | None = None) -> None:
        found.append(Problem(code, message, path, suggestion, severity="warning"))

    schedule = config.schedule
    timed = isinstance(schedule, str)
    if config.catchup and not (timed and schedule not in ("@once", "@continuous")):
        warn("no-effect", "'catchup' has no effect without a schedule in time", ("catchup",), "remove it")
    elif config.catchup and config.start_date is None:
        warn("no-effect", "'catchup' has no effect without a 'start_date'", ("catchup",), "add a 'start_date'")
    if schedule is None and config.end_date is not None:
        warn("no-effect", "'end_date' has no effect on runs by hand", ("end_date",), "add a 'schedule' or remove it")
    args = config.default_args
    if args.max_retry_delay is not None and args.retry_delay > args.max_retry_delay:
        message = "'retry_delay' is longer than 'max_retry_delay', which wins"
        warn("no-effect", message, ("default_args", "retry_delay"), "raise 'max_retry_delay'")
    if config.params:
        text = json.dumps(data)
        for name in config.params:
            if f"${{params.{name}}}" not in text and f"${{params.{name}:" not in text:
                message = f"param {name!r} is declared but never used"
                warn("unused", message, ("params", name), f"use it as '${{params.{name}}}' or remove it")
    return found


def _sources(config: PipelineConfig) -> Iterator[Problem]:
    """Yield settings of incremental reading that nothing uses."""
    for name, source in config.inputs.items():
        place: Path = ("source",) if config.source is not None else ("sources", name)
        if source.cursor_field is None:
            for key in ("initial_value", "lookback", "null_cursor"):
                if key in source.model_fields_set:
                    message = f"{key!r} has no effect without a 'cursor_field'"
                    yield _warning("no-effect", message, (*place, key), "add a 'cursor_field' or remove it")


def _destinations(config: PipelineConfig) -> Iterator[Problem]:
    """Yield what contradicts a write disposition, is no part of it, or may cost rows."""
    cursors = [name for name, source in config.inputs.items() if source.incremental() is not None]
    key = (config.inputs[cursors[0]].incremental() if cursors else None) or ""
    for index, target in enumerate(config.outputs):
        place: Path = ("destination", index) if isinstance(config.destination, tuple) else ("destination",)
        disposition = target.write_disposition
        able = sorted(capabilities(target).dispositions)
        if disposition not in able:
            yield _unable(target, place, able)
            continue
        yield from _unused(target, place)
        if cursors and disposition == "replace":
            message = (
                f"{_named(config, cursors[0])} reads by {key!r}, so a run holds new records only, and 'replace' "
                "would remove all others"
            )
            hint = f"set write_disposition to 'merge' or 'append', or {incremental.how_to_end(key)}"
            yield Problem("conflicting-keys", message, (*place, "write_disposition"), hint)
        if disposition == "merge":
            yield from _merge_risks(config, target, place, cursors)
        again = [name for name in cursors if config.inputs[name].lookback is not None]
        if disposition == "append" and again:
            message = (
                f"{_named(config, again[0])} reads records again ('lookback'), and 'append' adds them again each time"
            )
            hint = "set write_disposition to 'merge' with a primary_key, or remove 'lookback'"
            yield _warning("duplicates-possible", message, (*place, "write_disposition"), hint)


def _merge_risks(
    config: PipelineConfig, target: DestinationConfig, place: Path, cursors: list[str]
) -> Iterator[Problem]:
    deletes = getattr(target, "missing_rows", "keep") == "delete"
    key = (config.inputs[cursors[0]].incremental() if cursors else None) or ""
    if deletes and cursors:
        message = (
            f"{_named(config, cursors[0])} reads by {key!r}, so a run holds new records only, and missing_rows "
            "'delete' would delete all others"
        )
        yield Problem("conflicting-keys", message, (*place, "missing_rows"), "remove one of the two")
    unstable = [name for name, source in config.inputs.items() if source.grade() == "unstable"]
    if deletes and unstable:
        message = f"{_named(config, unstable[0])} may miss records unseen, and missing_rows 'delete' deletes their rows"
        hint = "mark deleted records by 'delete_flag' instead, or read in a way that proves its completeness"
        yield _warning("rows-at-risk", message, (*place, "missing_rows"), hint)
    if cursors and getattr(target, "merge_strategy", "") == "delete_insert" and getattr(target, "merge_key", ()):
        message = (
            f"{_named(config, cursors[0])} reads by {key!r}: where only some records of a 'merge_key' are new, "
            "delete_insert deletes the rows of the others"
        )
        hint = "use a primary_key in place of merge_key, or a cursor that moves for all records of a key together"
        yield _warning("rows-at-risk", message, (*place, "merge_key"), hint)


def _reads_by(config: PipelineConfig, name: str) -> str:
    """Return by what a source reads on, as the beginning of a sentence."""
    own = config.inputs[name].position_name()
    how = f"its own {own}" if own else "'cursor_field'"
    return f"{_named(config, name)} reads by {how}"


def _unable(target: DestinationConfig, place: Path, able: list[str]) -> Problem:
    disposition = target.write_disposition
    if disposition == "merge" and capabilities(target).kind == "files":
        message = f"{target.type!r} writes files, in which single rows can't be brought up to date"
        hint = (
            "merge into a table (postgres, duckdb, sql); or set write_disposition to 'replace', where a path with "
            "'${data_interval_start:%Y-%m-%d}' overwrites one partition only"
        )
    else:
        message = f"destination {target.type!r} has no write_disposition {disposition!r}"
        hint = f"one of: {', '.join(able)}"
    return Problem("unsupported-disposition", message, (*place, "write_disposition"), hint, tuple(able))


def _unused(target: DestinationConfig, place: Path) -> Iterator[Problem]:
    given = target.model_fields_set
    if target.write_disposition != "merge":
        for key in sorted(given.intersection(_MERGE_ONLY)):
            message = f"{key!r} has no effect without write_disposition 'merge'"
            yield _warning("no-effect", message, (*place, key), "set write_disposition to 'merge' or remove it")
        for key in ("delete_flag", "missing_rows"):
            if getattr(target, key, None) not in (None, "keep"):
                message = f"{key!r} deletes rows, which only write_disposition 'merge' does"
                yield Problem("needs-merge", message, (*place, key), "set write_disposition to 'merge' or remove it")
    if target.write_disposition != "replace":
        guarded = target.write_disposition == "merge" and getattr(target, "missing_rows", "keep") == "delete"
        for key in sorted(given.intersection(_REPLACE_ONLY) - (set(_GUARDS) if guarded else set())):
            message = f"{key!r} has no effect without write_disposition 'replace'"
            yield _warning("no-effect", message, (*place, key), "set write_disposition to 'replace' or remove it")


def _dead_letters(config: PipelineConfig) -> Iterator[Problem]:
    """Yield an error for each setting that sets records aside, where the pipeline allows none to be."""
    if config.reject_limit.enabled:
        return
    for name, source in config.inputs.items():
        if source.null_cursor == "dead_letter" and source.cursor_field is not None:
            place: Path = ("source",) if config.source is not None else ("sources", name)
            yield _needs_dead_letters("null_cursor 'dead_letter'", (*place, "null_cursor"))
    for index, check in enumerate(config.checks):
        if check.severity == "reject":
            yield _needs_dead_letters("severity 'reject'", ("checks", index, "severity"))
    for index, target in enumerate(config.outputs):
        at: Path = ("destination", index) if isinstance(config.destination, tuple) else ("destination",)
        for key in ("null_keys", "duplicate_keys"):
            if target.write_disposition == "merge" and getattr(target, key, "") == "dead_letter":
                yield _needs_dead_letters(f"{key} 'dead_letter'", (*at, key))
        contract = config.contract_of(index)
        if "discard_row" in (contract.default, *contract.columns.values()):
            own = target.schema_contract is not None
            yield _needs_dead_letters("'discard_row'", (*at, "schema_contract") if own else ("schema_contract",))
            if not own:
                return


def _needs_dead_letters(what: str, path: Path) -> Problem:
    message = f"{what} sets records aside, but the pipeline has no 'dead_letters' to say how many may be"
    return Problem("needs-dead-letters", message, path, _DEAD_LETTERS)


def _named(config: PipelineConfig, name: str) -> str:
    return f"source {config.inputs[name].type!r}" if config.source is not None else f"source {name!r}"


def _warning(code: str, message: str, path: Path, suggestion: str | None = None) -> Problem:
    return Problem(code, message, path, suggestion, severity="warning")
