"""A config, a difference, a finding or a failed run in plain words, without a model; a model may only polish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataforge.authoring import prompts
from dataforge.authoring.base import Change, Config
from dataforge.authoring.diff import short
from dataforge.config.findings import CODES, Finding
from dataforge.errors import ConfigError, DataForgeError, GatewayError
from dataforge.gateway.base import Cancel, Gateway, OnText, Request, Usage

_DISPOSITIONS = {
    "append": "adding rows to what is there",
    "replace": "replacing what was there",
    "merge": "bringing rows with known keys up to date and adding the others",
}
_STRATEGIES = {
    "scd2": "keeping old versions with their validity (SCD2)",
    "delete_insert": "deleting and inserting all rows of a key",
}
_HOURS = {"@hourly": "every hour", "@daily": "every day at midnight", "@weekly": "every week on Sunday at midnight"}
_PRESETS = {
    **_HOURS,
    "@monthly": "on the first of every month at midnight",
    "@quarterly": "on the first day of every quarter",
    "@yearly": "on January 1st",
    "@once": "once",
    "@continuous": "again as soon as a run is done",
}
_DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Explanation:
    """What something is or means, in words; `sql` is what the transforms become, "" where there is none.

    `polished` says that a model reworded `text`; `plain` is what we say ourselves.
    """

    text: str
    plain: str
    sql: str = ""
    polished: bool = False
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    prompt: str = ""
    prompt_hash: str = ""
    request_id: str = ""


def explain(
    config: Config,
    gateway: Gateway | None = None,
    *,
    language: str = "English",
    model: str | None = None,
    actor: str = "",
    team: str = "",
    on_text: OnText | None = None,
) -> Explanation:
    """Return what a pipeline does, with the SQL that its transforms become."""
    return polish(
        in_words(config),
        gateway,
        sql=compiled(config),
        language=language,
        model=model,
        actor=actor,
        team=team,
        on_text=on_text,
    )


def polish(
    plain: str,
    gateway: Gateway | None,
    *,
    sql: str = "",
    language: str = "English",
    model: str | None = None,
    actor: str = "",
    team: str = "",
    use_cache: bool = True,
    on_text: OnText | None = None,
    cancel: Cancel | None = None,
) -> Explanation:
    """Return an explanation, reworded by a model when there is one; ours when none answers or it leaves names out."""
    if gateway is None:
        return Explanation(plain, plain, sql)
    prompt = prompts.build(
        "explain", "Reword the summary.", data={"summary": plain}, values={"answer_language": language}
    )
    request = Request(
        "explain", prompt.messages, model=model, max_tokens=400, actor=actor, team=team, use_cache=use_cache
    )
    try:
        done = gateway.complete(request, on_text, cancel)
    except GatewayError:
        return Explanation(plain, plain, sql)
    text = done.text.strip()
    return Explanation(
        text or plain, plain, sql, bool(text), f"{done.connection}/{done.model}", done.usage,
        prompt.name, done.prompt_hash, request.request_id,
    )  # fmt: skip


def compiled(config: Config) -> str:
    """Return the SQL that a config's transforms become; "" when it is not valid or has none."""
    from dataforge.config.pipeline import parse
    from dataforge.dag_factory.check import declared_columns
    from dataforge.runtime.compile import compile as compile_

    data = {key: value for key, value in config.items() if key != "matrix"}
    if "matrix" in config or not config.get("transforms"):
        return ""
    try:
        parsed = parse(data)
        return compile_(parsed, declared_columns(parsed)).sql()
    except ConfigError:
        return ""


def in_words(config: Config) -> str:
    """Return what a config describes, a sentence for each part; of a config with faults as much as can be told."""
    lines = [f"{config.get('dag_id') or 'This pipeline'} runs {when(config)}."]
    sources = config.get("sources")
    if isinstance(sources, Mapping):
        lines += [
            f"It reads {_end(source)} as {name!r}." for name, source in sources.items() if isinstance(source, Mapping)
        ]
    elif isinstance(config.get("source"), Mapping):
        lines.append(f"It reads {_end(config['source'])}.")
    steps = [step for step in config.get("transforms") or () if isinstance(step, Mapping)]
    if steps:
        lines.append("Then it " + "; then it ".join(_step(step) for step in steps) + ".")
    checks = [check for check in config.get("checks") or () if isinstance(check, Mapping)]
    for check in checks:
        lines.append(_check(check))
    targets = config.get("destination")
    for target in targets if isinstance(targets, list | tuple) else [targets]:
        if isinstance(target, Mapping):
            lines.append(f"It writes to {_end(target)}, {_writes(target)}.")
    return "\n".join(lines)


def when(config: Config) -> str:
    """Return in words when a pipeline runs."""
    schedule = config.get("schedule", config.get("schedule_interval"))
    zone = f" ({config['timezone']})" if config.get("timezone") and config["timezone"] != "UTC" else " (UTC)"
    if schedule is None:
        return "by hand only"
    if not isinstance(schedule, str):
        return f"when {short(schedule)} is updated"
    if schedule in _PRESETS:
        return _PRESETS[schedule] + (zone if schedule not in ("@hourly", "@once", "@continuous") else "")
    if told := _cron(schedule):
        return told + zone
    return schedule if schedule.startswith("every") else f"by the schedule {schedule!r}{zone}"


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != 5:
        return ""
    minute, hour, day, month, weekday = fields
    if month != "*" or not (minute.isdigit() or minute.startswith("*/") or minute == "*"):
        return ""
    days = "every day"
    if weekday != "*":
        days = _weekdays(weekday)
        if not days:
            return ""
    if day != "*":
        if not day.isdigit() or weekday != "*":
            return ""
        days = f"on day {day} of every month"
    if minute.startswith("*/") and hour == "*":
        return f"every {minute[2:]} minutes" + ("" if days == "every day" else f" {days}")
    if hour.startswith("*/") and minute.isdigit():
        return f"every {hour[2:]} hours at minute {minute}" + ("" if days == "every day" else f" {days}")
    if hour == "*" and minute.isdigit():
        return f"every hour at minute {minute}" + ("" if days == "every day" else f" {days}")
    if all(part.isdigit() for part in hour.split(",")) and minute.isdigit():
        times = " and ".join(f"{int(part):02}:{int(minute):02}" for part in hour.split(","))
        return f"{days} at {times}"
    return ""


def _weekdays(text: str) -> str:
    if text == "1-5":
        return "Monday to Friday"
    parts = text.split(",")
    if not all(part.isdigit() and int(part) < 8 for part in parts):
        return ""
    return "every " + " and ".join(_DAY_NAMES[int(part)] for part in parts)


def _end(end: Mapping[str, Any]) -> str:
    type_ = str(end.get("type", "?"))
    where = next(
        (f"{key} {short(end[key], 120)}" for key in ("table", "path", "endpoint", "query") if end.get(key)), ""
    )
    via = f" through connection {end['connection']!r}" if end.get("connection") else ""
    extra = ""
    if end.get("cursor_field"):
        extra = f", only records newer by {end['cursor_field']!r} than the last run's"
        if end.get("lookback"):
            extra += f" (looking back {end['lookback']})"
    return f"{type_} {where}{via}{extra}".replace("  ", " ").strip()


def _writes(target: Mapping[str, Any]) -> str:
    disposition = str(target.get("write_disposition", "append"))
    text = _DISPOSITIONS.get(disposition, disposition)
    if target.get("primary_key"):
        text += f" by key {_names(target['primary_key'])}"
    if target.get("merge_strategy") in _STRATEGIES:
        text += f", {_STRATEGIES[target['merge_strategy']]}"
    return text


def _names(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} → {part}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _step(step: Mapping[str, Any]) -> str:
    type_ = str(step.get("type"))
    columns = _names(step.get("columns", ()))
    words = {
        "rename": f"renames {columns}",
        "drop": f"leaves out {columns}",
        "select": f"keeps only {columns}",
        "cast": f"converts {columns}",
        "mask": f"masks {columns}",
        "fill_null": f"fills missing values ({columns})",
        "derive": "computes " + "; ".join(f"{k} = {v}" for k, v in dict(step.get("columns") or {}).items())
        if isinstance(step.get("columns"), Mapping)
        else "computes columns",
        "filter": f"keeps rows where {step.get('where')}",
        "deduplicate": "removes duplicates"
        + (f" by {_names(step['keys'])}" if step.get("keys") else "")
        + (f", keeping the first by {_names(step['order_by'])}" if step.get("order_by") else ""),
        "limit": f"keeps at most {step.get('count')} rows",
        "sort": f"sorts by {_names(step.get('by', ()))}",
        "aggregate": (f"groups by {_names(step.get('group_by', ()))}" if step.get("group_by") else "sums everything up")
        + f" ({columns})",
        "join": f"joins {_names(step.get('with', ''))} on {_names(step.get('on', ()))} ({step.get('how', 'inner')})",
        "union": f"adds the rows of {_names(step.get('with', ()))}",
        "sql": f"runs the query {short(step.get('query'), 300)}",
    }
    return words.get(type_, f"applies {type_} {short({k: v for k, v in step.items() if k != 'type'})}")


def _check(check: Mapping[str, Any]) -> str:
    type_ = str(check.get("type"))
    says = {
        "not_null": f"{_names(check.get('columns', ()))} always has a value",
        "unique": f"{_names(check.get('columns', ()))} is unique",
        "range": f"{check.get('column')} lies "
        + " and ".join(f"{'at least' if k == 'min' else 'at most'} {check[k]}" for k in ("min", "max") if k in check),
        "accepted_values": f"{check.get('column')} is one of {_names(check.get('values', ()))}",
        "row_count": "there are "
        + " and ".join(
            f"{'at least' if k == 'min' else 'at most'} {check[k]} rows" for k in ("min", "max") if k in check
        ),
        "expression": f"{check.get('expression')}",
    }
    ends = {"warn": "else it warns", "reject": "other rows are set aside"}.get(
        str(check.get("severity")), "else the run stops"
    )
    return f"It checks that {says.get(type_, type_)}; {ends}."


def finding_in_words(finding: Finding) -> str:
    """Return what a finding means and what to do."""
    parts = [f"{finding.message[:1].upper()}{finding.message[1:]}.", CODES.get(finding.code, "")]
    if finding.pointer:
        parts.append(f"It is about {finding.pointer}, line {finding.line}.")
    if finding.suggestion:
        parts.append(f"To mend it: {finding.suggestion}.")
    if finding.allowed and len(finding.allowed) <= 20:
        parts.append(f"Possible are: {', '.join(finding.allowed)}.")
    return " ".join(part for part in parts if part)


def code_in_words(code: str) -> str:
    """Return what a finding's code means; ConfigError with near codes when there is none."""
    if code in CODES:
        return CODES[code]
    import difflib

    from dataforge.errors import Problem

    near = difflib.get_close_matches(code, CODES, n=1)
    raise ConfigError(
        Problem("invalid-choice", f"there is no finding {code!r}", (), f"did you mean {near[0]!r}?" if near else None)
    )


def diff_in_words(changed: Iterable[Change]) -> str:
    """Return what a difference does, a sentence for each change."""
    return "\n".join(_change(change) for change in changed) or "Nothing changes."


def _change(change: Change) -> str:
    where = change.pointer.strip("/").replace("/", " › ") or "the config"
    if change.op == "add":
        return f"{where} becomes {short(change.after)} (new)."
    if change.op == "remove":
        return f"{where} goes (it was {short(change.before)})."
    return f"{where} changes from {short(change.before)} to {short(change.after)}."


def failure_in_words(error: DataForgeError | str, config: Config | None = None) -> str:
    """Return what a failed run means: what went wrong, of what kind it is, and what would help."""
    from dataforge.errors import CheckFailed, TransientError

    text = str(error)
    kind = "Trying again can't help before something is changed."
    if isinstance(error, TransientError):
        kind = "It may pass by itself; Airflow tries again."
    elif isinstance(error, CheckFailed):
        kind = "The data broke a check, so nothing was loaded."
    elif isinstance(error, ConfigError):
        kind = "The config must be changed."
    parts = [f"The run failed: {text}", kind]
    if config is not None:
        parts.append(in_words(config).splitlines()[0])
    return "\n".join(parts)


def lines(found: Sequence[Finding]) -> Iterator[str]:
    """Yield each finding in words."""
    return (finding_in_words(finding) for finding in found)
