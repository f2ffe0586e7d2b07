"""`PipelineConfig`: what one JSON file describes, as a frozen model, and `parse`, the one way to make it.

`parse` reports every problem at once. Components are checked against the model of their own `type`, found through the
registries, so that only the components a config names are imported.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from dataforge.components.base import (
    CheckConfig,
    ComponentConfig,
    DestinationConfig,
    JsonValue,
    SourceConfig,
    TransformConfig,
)
from dataforge.components.fields import Duration, Name, parse_duration
from dataforge.components.registry import KINDS
from dataforge.errors import ConfigError, Problem

PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
_CRON = re.compile(r"\A(?:[\d*/,#LW?A-Za-z-]+\s+){4,5}[\d*/,#LW?A-Za-z-]+\Z")
_INTERVAL = re.compile(r"\A(?:every\s+)?(\S+)\Z")


class Part(BaseModel):
    """Base of the config's own blocks."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AssetRef(Part):
    """Run when this asset is updated: `connection/table` of another pipeline's destination, or a full asset URI."""

    asset: str = Field(min_length=1, max_length=1000, examples=["warehouse/sales.orders"])


class AnyAsset(Part):
    """Run when any of these is updated."""

    any: tuple[AssetExpression, ...] = Field(min_length=1)


class AllAssets(Part):
    """Run when all of these have been updated."""

    all: tuple[AssetExpression, ...] = Field(min_length=1)


AssetExpression = AssetRef | AnyAsset | AllAssets
AnyAsset.model_rebuild()
AllAssets.model_rebuild()


def check_schedule(text: str) -> str:
    """Return `text` when it is a preset, a cron expression or an interval such as `every 15m`."""
    if text in PRESETS or _CRON.match(text):
        return text
    if text.startswith("@"):
        near = difflib.get_close_matches(text, PRESETS, n=1)
        raise ValueError(f"{text!r} is not a preset; " + (f"did you mean {near[0]!r}?" if near else ", ".join(PRESETS)))
    interval(text)
    return text


def interval(text: str) -> Any:
    """Return the timedelta of `every 15m` or `15m`; ValueError when `text` is no interval."""
    match = _INTERVAL.match(text)
    try:
        return parse_duration(match[1] if match else text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no schedule: a cron expression such as '0 6 * * *', a preset such as '@daily', an interval "
            "such as 'every 15m', an asset expression, or null"
        ) from None


ScheduleText = Annotated[str, AfterValidator(check_schedule), Field(examples=["@daily", "0 6 * * *", "every 15m"])]


class DefaultArgs(Part):
    """Settings of every task of the pipeline."""

    owner: str | None = Field(default=None, max_length=200, description="Who answers for it; shown in Airflow's UI.")
    retries: int = Field(default=3, ge=0, le=100, description="Further tries after a failed one.")
    retry_delay: Duration = Field(default=parse_duration("5m"), description="Wait before the first further try.")
    retry_exponential_backoff: bool = Field(default=True, description="Double the wait with every further try.")
    max_retry_delay: Duration | None = Field(default=parse_duration("1h"), description="Longest wait between tries.")
    execution_timeout: Duration | None = Field(default=None, description="Longest time one task may run.")
    pool: str | None = Field(default=None, max_length=256, description="Airflow pool that limits how many tasks run.")
    pool_slots: int = Field(default=1, ge=1, description="Slots that one task takes in the pool.")
    queue: str | None = Field(default=None, max_length=256, description="Executor queue.")
    priority_weight: int = Field(default=1, ge=1, description="Higher runs first when slots are scarce.")
    depends_on_past: bool = Field(default=False, description="Run a task only if its previous run succeeded.")


class Param(Part):
    """One run parameter: shown in Airflow's trigger form, usable as `${params.name}`."""

    type: Literal["string", "integer", "number", "boolean", "date", "datetime"] = "string"
    default: JsonValue = Field(default=None, description="Value when a run names none; required if there is none.")
    enum: tuple[JsonValue, ...] | None = Field(default=None, description="The allowed values.")
    minimum: float | None = Field(default=None, description="Smallest allowed number.")
    maximum: float | None = Field(default=None, description="Largest allowed number.")
    description: str | None = None

    @model_validator(mode="after")
    def _default_fits(self) -> Param:
        if self.default is not None:
            check_param("default", self, self.default)
        return self


_PARAM_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "date": (str,),
    "datetime": (str,),
}


def check_param(name: str, param: Param, value: JsonValue) -> JsonValue:
    """Return `value` when it fits the parameter; ValueError that names parameter, value and what would fit."""
    wrong = not isinstance(value, _PARAM_TYPES[param.type]) or (isinstance(value, bool) and param.type != "boolean")
    if not wrong and param.type in ("date", "datetime"):
        try:
            (date if param.type == "date" else datetime).fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            wrong = True
    if wrong:
        raise ValueError(f"{name}: {value!r} is no {param.type}")
    if param.enum is not None and value not in param.enum:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(repr, param.enum))}")
    if param.minimum is not None and value < param.minimum:
        raise ValueError(f"{name}: {value!r} is below {param.minimum:g}")
    if param.maximum is not None and value > param.maximum:
        raise ValueError(f"{name}: {value!r} is above {param.maximum:g}")
    return value


def _shorthand_param(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping) or isinstance(value, Param):
        return value
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": kinds.get(type(value), "string"), "default": value}


class PipelineConfig(Part):
    """What one JSON file describes; `dag_id` is its name."""

    schema_: str | None = Field(
        default=None, alias="$schema", description="Path or URL of docs/pipeline.schema.json, for editors."
    )
    dag_id: Name = Field(description="Name of the pipeline and of its DAG.", examples=["orders_daily"])
    description: str = Field(default="", max_length=5000, description="What it does, in a sentence or two.")
    schedule: ScheduleText | AssetExpression | None = Field(
        default=None,
        validation_alias=AliasChoices("schedule", "schedule_interval"),
        description="A cron expression, a preset (@daily), an interval (every 15m), an asset expression "
        '({"asset": "warehouse/sales.orders"}, {"any": […]}, {"all": […]}), or null for runs by hand.',
    )
    start_date: date | datetime | None = Field(default=None, description="First instant that scheduled runs cover.")
    end_date: date | datetime | None = Field(default=None, description="Last instant that scheduled runs cover.")
    timezone: str = Field(default="UTC", description="IANA name of the time zone of schedule and dates.")
    catchup: bool = Field(default=False, description="Run the intervals missed since start_date.")
    max_active_runs: int = Field(default=1, ge=1, le=1000, description="Runs that may be under way at once.")
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        default=(), description="Labels in Airflow's UI."
    )
    owner: str | None = Field(default=None, max_length=200, description="Who answers for it; beats default_args.owner.")
    default_args: DefaultArgs = Field(default_factory=DefaultArgs, description="Settings of every task.")
    params: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")], Param] = Field(
        default_factory=dict, description="Run parameters: a default value, or an object with type and limits."
    )
    source: SerializeAsAny[SourceConfig] | None = Field(default=None, description="Where records come from.")
    sources: dict[Name, SerializeAsAny[SourceConfig]] = Field(
        default_factory=dict, description="Several named sources, in place of `source`."
    )
    transforms: tuple[SerializeAsAny[TransformConfig], ...] = Field(default=(), description="Steps, in order.")
    checks: tuple[SerializeAsAny[CheckConfig], ...] = Field(
        default=(), description="What must hold of the transformed rows before they are loaded."
    )
    destination: SerializeAsAny[DestinationConfig] | tuple[SerializeAsAny[DestinationConfig], ...] = Field(
        description="Where records go; a list for several."
    )
    execution: Literal["staged", "fused"] = Field(
        default="staged", description="staged: three restartable tasks; fused: one streaming task."
    )
    engine: Literal["duckdb"] = Field(default="duckdb", description="Where transforms run.")

    @field_validator("params", mode="before")
    @classmethod
    def _shorthand_params(cls, value: Any) -> Any:
        return {name: _shorthand_param(param) for name, param in value.items()} if isinstance(value, Mapping) else value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone; write an IANA name such as 'Europe/Berlin'") from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> PipelineConfig:
        if (self.source is None) == (not self.sources):
            raise ValueError("exactly one of 'source' and 'sources' is needed")
        if isinstance(self.destination, tuple) and not self.destination:
            raise ValueError("'destination' is an empty list; at least one destination is needed")
        if self.start_date and self.end_date and _day(self.end_date) < _day(self.start_date):
            raise ValueError(f"end_date {self.end_date} is before start_date {self.start_date}")
        return self

    @property
    def inputs(self) -> dict[str, SourceConfig]:
        """The sources by name; a single one is called "source"."""
        return {"source": self.source} if self.source is not None else self.sources

    @property
    def outputs(self) -> tuple[DestinationConfig, ...]:
        """The destinations, one or several."""
        return self.destination if isinstance(self.destination, tuple) else (self.destination,)


def parse(data: Mapping[str, Any]) -> PipelineConfig:
    """Return the config that `data` describes; ConfigError with every problem, paths from the root of `data`."""
    problems: list[Problem] = []
    top = dict(data)
    for path, kind, holder, key in _slots(top):
        try:
            holder[key] = _component(kind, holder[key])
        except ConfigError as error:
            problems += error.under(*path).problems
            holder[key] = KINDS[kind][1].model_construct()
    try:
        config = PipelineConfig.model_validate(top)
    except ValidationError as error:
        problems += problems_of(error, PipelineConfig)
    if problems:
        raise ConfigError(problems)
    return config


def _component(kind: str, value: Any) -> ComponentConfig:
    registry, base = KINDS[kind]
    if isinstance(value, base):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(Problem("wrong-type", f"{kind} must be an object, not {type_name(value)}"))
    if not isinstance(value.get("type"), str):
        raise ConfigError(
            Problem(
                "missing-key" if "type" not in value else "wrong-type",
                f"{kind} needs a text 'type' that names its kind",
                () if "type" not in value else ("type",),
                suggestion=f"one of: {', '.join(registry.types())}",
                allowed=tuple(registry.types()),
            )
        )
    model = registry.get(value["type"]).config
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(problems_of(error, model)) from None


def _slots(top: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, Any, Any]]:
    """Yield (path, kind, holder, key) of every component in `top`, after copying the holders so they may be changed."""
    if top.get("source") is not None:
        yield ("source",), "source", top, "source"
    if isinstance(top.get("sources"), Mapping):
        top["sources"] = dict(top["sources"])
        for name in top["sources"]:
            yield ("sources", name), "source", top["sources"], name
    for key, kind in (("transforms", "transform"), ("checks", "check"), ("destination", "destination")):
        if isinstance(top.get(key), list | tuple):
            top[key] = list(top[key])
            for index in range(len(top[key])):
                yield (key, index), kind, top[key], index
        elif key == "destination" and top.get(key) is not None:
            yield (key,), kind, top, key


_CODES = {"missing": "missing-key", "extra_forbidden": "unknown-key", "value_error": "invalid-value"}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return pydantic's errors as problems: stable codes, near names for unknown keys, union branches folded."""
    found: dict[tuple[str | int, ...], Problem] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=True):
        path = tuple(part for part in item["loc"] if not _is_branch(part))
        kind = item["type"]
        message, suggestion, allowed = item["msg"].removeprefix("Value error, "), None, ()
        code = _CODES.get(kind, "wrong-type" if "type" in kind or "parsing" in kind else "invalid-value")
        if kind == "extra_forbidden":
            allowed = tuple(_keys_at(model, path[:-1]))
            near = difflib.get_close_matches(str(path[-1]), allowed, n=1)
            message = f"unknown key {path[-1]!r}"
            suggestion = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(allowed)}"
        elif kind == "missing":
            message = f"key {path[-1]!r} is missing"
        elif code == "wrong-type":
            message = f"{message}, not {type_name(item['input'])}"
        if path in found:  # another branch of the same union said so already
            if message not in found[path].message and code != "unknown-key":
                found[path] = Problem(found[path].code, f"{found[path].message}; or {message}", path)
            continue
        found[path] = Problem(code, message, path, suggestion, allowed)
    return list(found.values())


def _is_branch(part: str | int) -> bool:
    """Whether a part of pydantic's location names a branch of a union or a validator, not a key of the config."""
    return isinstance(part, str) and (
        part in _BRANCHES or "[" in part or part.startswith(("function-", "lax-or-strict", "tagged-union"))
    )


_BRANCHES = {"str", "AssetRef", "AnyAsset", "AllAssets", "datetime", "SourceConfig", "DestinationConfig"}


def _keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Return the keys allowed at `path`, following fields that are models themselves."""
    for part in path:
        inner = model.model_fields.get(str(part))
        found = _model_in(inner.annotation) if inner else None
        if found is None:
            continue
        model = found
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)


def type_name(value: Any) -> str:
    """Return the JSON name of a value's type, with its article where a sentence needs one."""
    names = {bool: "true/false", int: "a number", float: "a number", str: "text", type(None): "null"}
    names |= {dict: "an object", list: "a list", tuple: "a list"}
    return names.get(type(value), type(value).__name__)


def _day(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value
