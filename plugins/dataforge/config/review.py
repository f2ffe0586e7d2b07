"""Advice on a pipeline that is valid: settings that have no effect, things declared and never used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import Problem


def review(config: PipelineConfig, data: Mapping[str, Any]) -> list[Problem]:
    """Return problems of severity warning about a valid config and the JSON it came from."""
    found: list[Problem] = []

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
