"""`configs/policies.json`: what an organisation allows its pipelines: destinations, names, owners, tags, schedules."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dataforge.components.fields import Duration
from dataforge.config.files import POLICIES
from dataforge.config.pipeline import PRESETS, PipelineConfig, interval
from dataforge.errors import ConfigError, Problem


class DestinationRule(BaseModel):
    """One kind of place that may be written; what is not given may be anything. Patterns know * and ?."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(default="*", description="Component type, such as postgres.")
    connection: str = Field(default="*", description="Pattern of the connection id.")
    table: str = Field(default="*", description="Pattern of the table, such as sales.*.")
    path: str = Field(default="*", description="Pattern of the path.")
    write_disposition: tuple[str, ...] = Field(default=(), description="Allowed dispositions; all when not given.")

    def allows(self, target: Mapping[str, Any]) -> bool:
        """Return whether a destination keeps to this rule."""
        keys = ("type", "connection", "table", "path")
        wanted = {"type": self.type, "connection": self.connection, "table": self.table, "path": self.path}
        if any(wanted[key] != "*" and not fnmatch.fnmatchcase(str(target.get(key) or ""), wanted[key]) for key in keys):
            return False
        return not self.write_disposition or str(target.get("write_disposition", "append")) in self.write_disposition


class Policies(BaseModel):
    """An organisation's rules; what is not given is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: str | None = Field(default=None, alias="$schema")
    destinations: tuple[DestinationRule, ...] = Field(default=(), description="Places that may be written.")
    connections: tuple[str, ...] = Field(default=(), description="Patterns of connection ids that may be used.")
    forbidden_connections: tuple[str, ...] = Field(default=(), description="Patterns of ids that may not be used.")
    dag_id: str | None = Field(default=None, description="Regular expression that the whole dag_id must match.")
    table: str | None = Field(default=None, description="Regular expression that the whole name of a table must match.")
    owners: tuple[str, ...] = Field(default=(), description="Allowed owners; one is then required.")
    required_tags: tuple[str, ...] = Field(default=(), description="Tags that each pipeline has.")
    tags: tuple[str, ...] = Field(default=(), description="Allowed tags.")
    schedules: tuple[str, ...] = Field(default=(), description="Allowed schedules, such as @daily; patterns know *.")
    shortest_interval: Duration | None = Field(default=None, description="Least time between two runs.")
    checks: tuple[str, ...] = Field(default=(), description="Types of checks that each pipeline has.")
    column_tags: dict[str, tuple[str, ...]] = Field(
        default={},
        description='Tags of columns by the pattern of their name, or of table.name: {"*email*": ["pii"]}.',
    )
    masked_tags: tuple[str, ...] = Field(
        default=("pii", "personal", "private", "confidential", "secret"),
        description="Tags of columns whose values are masked in samples.",
    )

    @field_validator("dag_id", "table")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value

    def masks(self, place: str, column: str) -> bool:
        """Return whether a column's values are masked where samples are shown; `place` names its table or file."""
        names = (column.casefold(), f"{place}.{column}".casefold(), f"{place.rpartition(': ')[2]}.{column}".casefold())
        return any(
            set(tags) & set(self.masked_tags) and any(fnmatch.fnmatchcase(name, pattern.casefold()) for name in names)
            for pattern, tags in self.column_tags.items()
        )

    def may_use_connection(self, id_: str) -> bool:
        """Return whether a connection may be used."""
        if any(fnmatch.fnmatchcase(id_, pattern) for pattern in self.forbidden_connections):
            return False
        return not self.connections or any(fnmatch.fnmatchcase(id_, pattern) for pattern in self.connections)


def read_policies(folder: Path) -> Policies:
    """Return the policies of a configs folder, none when it has no such file; ConfigError when it can't be read."""
    path = folder / POLICIES
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Policies()
    except (OSError, ValueError) as error:
        raise ConfigError(Problem("invalid-value", f"{path} can't be read: {error}", ())) from None
    try:
        return Policies.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            Problem("invalid-value", f"{path}: {'/'.join(map(str, one['loc']))}: {one['msg']}", ())
            for one in error.errors(include_url=False)
        ) from None


def problems(config: PipelineConfig, data: Mapping[str, Any], policies: Policies) -> Iterator[Problem]:
    """Yield what of a pipeline breaks the policies, each with its place."""
    yield from _names(config, policies)
    yield from _places(config, data, policies)
    yield from _times(config, policies)
    kinds = {check.type for check in config.checks}
    for wanted in policies.checks:
        if wanted not in kinds:
            yield Problem(
                "policy", f"each pipeline needs a check of type {wanted!r}", ("checks",), f"add a {wanted} check"
            )


def _names(config: PipelineConfig, policies: Policies) -> Iterator[Problem]:
    if policies.dag_id and not re.fullmatch(policies.dag_id, config.dag_id):
        message = f"dag_id {config.dag_id!r} does not follow the naming rule {policies.dag_id!r}"
        yield Problem("policy", message, ("dag_id",), "rename it")
    owner = config.owner or config.default_args.owner
    if policies.owners and owner not in policies.owners:
        said = f"owner {owner!r} is not one of those allowed" if owner else "an owner is needed"
        hint = f"one of: {', '.join(policies.owners)}"
        yield Problem("policy", said, ("owner",), hint, policies.owners)
    for tag in policies.required_tags:
        if tag not in config.tags:
            yield Problem("policy", f"the tag {tag!r} is required", ("tags",), f"add {tag!r}")
    for index, tag in enumerate(config.tags):
        if policies.tags and tag not in (*policies.tags, *policies.required_tags):
            hint = f"one of: {', '.join(policies.tags)}"
            yield Problem("policy", f"the tag {tag!r} is not allowed", ("tags", index), hint, policies.tags)


def _places(config: PipelineConfig, data: Mapping[str, Any], policies: Policies) -> Iterator[Problem]:
    for name, source in config.inputs.items():
        place: tuple[str | int, ...] = ("source",) if config.source is not None else ("sources", name)
        connection = getattr(source, "connection", None)
        if connection and not policies.may_use_connection(connection):
            yield Problem("policy", f"connection {connection!r} may not be used", (*place, "connection"))
    several = isinstance(config.destination, tuple)
    for index, target in enumerate(config.outputs):
        place = ("destination", index) if several else ("destination",)
        connection = getattr(target, "connection", None)
        if connection and not policies.may_use_connection(connection):
            yield Problem("policy", f"connection {connection!r} may not be used", (*place, "connection"))
        plain = target.model_dump(mode="json")
        if policies.destinations and not any(rule.allows(plain) for rule in policies.destinations):
            allowed = "; ".join(_said(rule) for rule in policies.destinations[:5])
            yield Problem("policy", "this destination is not among those allowed", place, f"allowed: {allowed}")
        table = getattr(target, "table", None)
        if policies.table and table and not re.fullmatch(policies.table, table):
            message = f"table {table!r} does not follow the naming rule {policies.table!r}"
            yield Problem("policy", message, (*place, "table"), "rename it")
    del data


def _said(rule: DestinationRule) -> str:
    return " ".join(f"{key} {value}" for key, value in rule.model_dump().items() if value not in ("*", (), []))


def _times(config: PipelineConfig, policies: Policies) -> Iterator[Problem]:
    schedule = config.schedule
    if not isinstance(schedule, str):
        return
    if policies.schedules and not any(fnmatch.fnmatchcase(schedule, pattern) for pattern in policies.schedules):
        hint = f"one of: {', '.join(policies.schedules)}"
        yield Problem("policy", f"schedule {schedule!r} is not allowed", ("schedule",), hint, policies.schedules)
    if policies.shortest_interval and (gap := shortest_gap(schedule)) and gap < policies.shortest_interval:
        message = f"schedule {schedule!r} runs every {gap}, more often than the {policies.shortest_interval} allowed"
        yield Problem("policy", message, ("schedule",), "run it less often")


def shortest_gap(schedule: str) -> timedelta | None:
    """Return the shortest time between two runs of a preset, interval or cron expression; None if it is not known."""
    known = {"@hourly": 1, "@daily": 24, "@weekly": 168, "@monthly": 672, "@quarterly": 2160, "@yearly": 8760}
    if schedule in PRESETS:
        return timedelta(hours=known[schedule]) if schedule in known else None
    fields = schedule.split()
    if len(fields) < 5:
        try:
            return interval(schedule)
        except ValueError:
            return None
    minutes, hours = _values(fields[0], 60), _values(fields[1], 24)
    if minutes is None or hours is None:
        return None
    points = [hour * 60 + minute for hour in hours for minute in minutes]
    gaps = [b - a for a, b in zip(points, [*points[1:], points[0] + 1440], strict=True)]
    return timedelta(minutes=min(gaps))


def _values(text: str, limit: int) -> list[int] | None:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            low, high = 0, limit - 1
        elif first.isdigit() and (not last or last.isdigit()):
            low = int(first)
            high = int(last) if last else (limit - 1 if step else low)
        else:
            return None
        if step and not step.isdigit():
            return None
        found.update(range(low, min(high, limit - 1) + 1, int(step or 1) or 1))
    return sorted(found) or None
