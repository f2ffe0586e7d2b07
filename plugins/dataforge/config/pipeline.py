"""`PipelineConfig`: what one JSON file describes, as a frozen model, and `parse`, the one way to make it.

`parse` reports every problem at once. Components are checked against the model of their own `type`, found through the
registries, so that only the components a config names are imported.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    ValidationError,
    WithJsonSchema,
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
from dataforge.components.delivery import ContractMode, RejectLimit, SchemaContract
from dataforge.components.fields import Duration, Name, parse_duration
from dataforge.components.registry import KINDS
from dataforge.config.cron import check_cron
from dataforge.config.shapes import shape_of, type_name, wrong_types
from dataforge.errors import ConfigError, Problem

PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
_INTERVAL = re.compile(r"\A(?:every\s+)?(\S+)\Z")
_SPELLED = re.compile(r"\A(?:every\s+)?(\d+)\s+(second|minute|hour|day|week)s?\Z")
_DATE = re.compile(r"\A\d{4}-\d{2}-\d{2}\Z", re.ASCII)


class Part(BaseModel):
    """Base of the config's own blocks."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AssetRef(Part):
    """Run when this asset is updated: `connection/table` of another pipeline's destination, or a full asset URI."""

    asset: str = Field(min_length=1, max_length=1000, examples=["warehouse/sales.orders"])


class AnyAsset(Part):
    """Run when any of these is updated."""

    any: tuple[_Asset, ...] = Field(min_length=1, description="Asset expressions, of which one suffices.")


class AllAssets(Part):
    """Run when all of these have been updated."""

    all: tuple[_Asset, ...] = Field(min_length=1, description="Asset expressions, all of which are needed.")


AssetExpression = AssetRef | AnyAsset | AllAssets
_ASSETS: dict[str, type[Part]] = {"asset": AssetRef, "any": AnyAsset, "all": AllAssets}


def _asset_branch(value: Any) -> str:
    """Name the one branch of the union to report errors from: by the key, the nearest key, else a single asset."""
    keys = [*value] if isinstance(value, Mapping) else [key for key, model in _ASSETS.items() if type(value) is model]
    near = (close[0] for key in keys if (close := difflib.get_close_matches(str(key), _ASSETS, n=1)))
    return f"({next((key for key in keys if key in _ASSETS), None) or next(near, 'asset')})"


def _schedule_branch(value: Any) -> str:
    return _asset_branch(value) if isinstance(value, Mapping | Part) else "(text)"


_Asset = Annotated[
    Annotated[AssetRef, Tag("(asset)")] | Annotated[AnyAsset, Tag("(any)")] | Annotated[AllAssets, Tag("(all)")],
    Discriminator(_asset_branch),
]
AnyAsset.model_rebuild()
AllAssets.model_rebuild()


def check_schedule(text: str) -> str:
    """Return `text` when it is a preset, a cron expression or an interval such as `every 15m`."""
    if text in PRESETS:
        return text
    if text.startswith("@"):
        near = difflib.get_close_matches(text, PRESETS, n=1)
        raise MisfitError(f"{text!r} is not a preset", f"did you mean {near[0]!r}?" if near else None, PRESETS)
    if len(text.split()) >= 5:
        check_cron(text)
    else:
        interval(text)
    return text


def interval(text: str) -> timedelta:
    """Return the timedelta of `every 15m` or `15m`; ValueError when `text` is no interval."""
    spelled = _SPELLED.match(text)
    match = _INTERVAL.match(text)
    try:
        value = parse_duration(spelled[1] + spelled[2][0] if spelled else match[1] if match else text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no schedule: a cron expression such as '0 6 * * *', a preset such as '@daily', an interval "
            "such as 'every 15m', an asset expression, or null"
        ) from None
    if value < timedelta(seconds=1):
        raise ValueError(f"{text!r} is too short an interval: at least 1s is needed")
    return value


class MisfitError(ValueError):
    """A ValueError that also knows what would be right, and where below the validated value the fault lies."""

    def __init__(
        self,
        message: str,
        suggestion: str | None = None,
        allowed: tuple[str, ...] = (),
        *,
        code: str | None = None,
        path: tuple[str | int, ...] = (),
    ) -> None:
        self.suggestion = suggestion or (f"one of: {', '.join(allowed)}" if allowed else None)
        self.allowed, self.code, self.path = allowed, code, path
        super().__init__(message)


def parse_instant(value: Any) -> Any:
    """Return the date or datetime that an ISO 8601 text names; ValueError for anything else."""
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        message = f"must be a date as text, not {type_name(value)}"
        raise MisfitError(message, "write it like '2025-01-31'", code="wrong-type")
    try:
        if _DATE.match(value):
            return date.fromisoformat(value)
        return datetime.fromisoformat(f"{value[:-1]}+00:00" if value[-1:] in ("Z", "z") else value)
    except ValueError:
        raise MisfitError(
            f"{value!r} is no date", "write it like '2025-01-31', '2025-01-31T06:00:00' or '2025-01-31T06:00:00+01:00'"
        ) from None


ScheduleText = Annotated[
    str,
    AfterValidator(check_schedule),
    Field(min_length=1, max_length=200, examples=["@daily", "0 6 * * *", "every 15m"]),
]
Schedule = Annotated[
    Annotated[ScheduleText, Tag("(text)")]
    | Annotated[AssetRef, Tag("(asset)")]
    | Annotated[AnyAsset, Tag("(any)")]
    | Annotated[AllAssets, Tag("(all)")],
    Discriminator(_schedule_branch),
]
Instant = Annotated[
    date | datetime,
    BeforeValidator(parse_instant),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"format": "date"}, {"format": "date-time"}],
            "examples": ["2025-01-31", "2025-01-31T06:00:00"],
        }
    ),
]


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
        for name, limit in (("minimum", self.minimum), ("maximum", self.maximum)):
            if limit is not None and self.type not in ("integer", "number"):
                raise ValueError(f"{name} is for numbers; this parameter is of type {self.type!r}")
        if self.default is not None:
            check_param("default", self, self.default)
        return self


class DeadLetters(Part):
    """How many records may be set aside, with their reason, in place of failing the run."""

    max_share: float = Field(
        default=0.01, gt=0, le=1, description="Largest share of the records read, 0 to 1; beyond it the run fails."
    )
    max_rows: int = Field(default=10_000, ge=1, le=1_000_000, description="Largest number of records of one run.")


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


def _shorthand_param(value: Any) -> Any:
    if isinstance(value, Mapping | Param):
        return value
    if value is None or isinstance(value, list):
        message = f"must be a default value or an object, not {type_name(value)}"
        raise MisfitError(message, 'write for example {"type": "string"}', code="wrong-type")
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": kinds.get(type(value), "string"), "default": value}


ParamField = Annotated[
    Param, BeforeValidator(_shorthand_param, json_schema_input_type=Param | str | bool | int | float)
]


class PipelineConfig(Part):
    """What one JSON file describes; `dag_id` is its name."""

    schema_: str | None = Field(
        default=None, alias="$schema", description="Path or URL of docs/pipeline.schema.json, for editors."
    )
    dag_id: Name = Field(description="Name of the pipeline and of its DAG.", examples=["orders_daily"])
    description: str = Field(default="", max_length=5000, description="What it does, in a sentence or two.")
    schedule: Schedule | None = Field(
        default=None,
        description="A cron expression, a preset (@daily), an interval (every 15m), an asset expression "
        '({"asset": "warehouse/sales.orders"}, {"any": […]}, {"all": […]}), or null for runs by hand.',
    )
    start_date: Instant | None = Field(default=None, description="First instant that scheduled runs cover.")
    end_date: Instant | None = Field(default=None, description="Last instant that scheduled runs cover.")
    timezone: str = Field(default="UTC", description="IANA name of the time zone of schedule and dates.")
    catchup: bool = Field(default=False, description="Run the intervals missed since start_date.")
    max_active_runs: int = Field(default=1, ge=1, le=1000, description="Runs that may be under way at once.")
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        default=(), description="Labels in Airflow's UI."
    )
    owner: str | None = Field(default=None, max_length=200, description="Who answers for it; beats default_args.owner.")
    default_args: DefaultArgs = Field(default_factory=DefaultArgs, description="Settings of every task.")
    params: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")], ParamField] = Field(
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
    schema_contract: SchemaContract | ContractMode | None = Field(
        default=None,
        description="What may happen to the columns of targets: evolve, freeze, discard_row or discard_value, for all "
        'columns or as {"default": …, "columns": {…}}. When not set, tables that DataForge made evolve and others are '
        "frozen.",
    )
    dead_letters: DeadLetters | None = Field(
        default=None,
        description="Set records aside that a type, transform, check, contract or key rejects, up to these limits. "
        "When not set, the first such record fails the run.",
    )
    execution: Literal["staged", "fused"] = Field(
        default="staged", description="staged: three restartable tasks; fused: one streaming task."
    )
    engine: Literal["duckdb"] = Field(default="duckdb", description="Where transforms run.")

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
            if self.source is None:
                raise MisfitError("one of 'source' and 'sources' is needed", code="missing-key")
            message = "'source' and 'sources' are both given; exactly one is needed"
            raise MisfitError(message, code="conflicting-keys", path=("sources",))
        if isinstance(self.destination, tuple) and not self.destination:
            raise MisfitError("must have at least 1 item, not 0", path=("destination",))
        if self.starts_at and self.ends_at and self.ends_at < self.starts_at:
            raise MisfitError(f"{self.end_date} is before start_date {self.start_date}", path=("end_date",))
        return self

    @property
    def starts_at(self) -> datetime | None:
        """`start_date` as an aware instant: without an offset of its own it is read in `timezone`."""
        return self._aware(self.start_date, time.min)

    @property
    def ends_at(self) -> datetime | None:
        """`end_date` as an aware instant; a mere date means the end of that day."""
        return self._aware(self.end_date, time.max)

    def _aware(self, value: date | datetime | None, at: time) -> datetime | None:
        if value is None:
            return None
        instant = value if isinstance(value, datetime) else datetime.combine(value, at)
        return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(self.timezone))

    @property
    def inputs(self) -> dict[str, SourceConfig]:
        """The sources by name; a single one is called "source"."""
        return {"source": self.source} if self.source is not None else self.sources

    @property
    def reject_limit(self) -> RejectLimit:
        """How many records may become dead letters."""
        wanted = self.dead_letters
        return RejectLimit(wanted.max_share, wanted.max_rows) if wanted else RejectLimit()

    def contract_of(self, index: int) -> SchemaContract:
        """Return the schema contract of the destination at `index`: its own over the pipeline's."""
        own, general = _contract(self.outputs[index].schema_contract), _contract(self.schema_contract)
        return own.over(general)

    @property
    def outputs(self) -> tuple[DestinationConfig, ...]:
        """The destinations, one or several."""
        return self.destination if isinstance(self.destination, tuple) else (self.destination,)


def _contract(wanted: SchemaContract | ContractMode | None) -> SchemaContract:
    return wanted if isinstance(wanted, SchemaContract) else SchemaContract(default=wanted)


def parse(data: Mapping[str, Any]) -> PipelineConfig:
    """Return the config that `data` describes; ConfigError with every problem, paths from the root of `data`."""
    if not isinstance(data, Mapping):
        raise ConfigError(Problem("wrong-type", f"a pipeline config must be an object, not {type_name(data)}"))
    problems: list[Problem] = []
    top = dict(data)
    if "schedule_interval" in top:
        if "schedule" in top:
            message = "'schedule' and its older name 'schedule_interval' are both given"
            problems.append(Problem("conflicting-keys", message, ("schedule_interval",), "remove 'schedule_interval'"))
        top["schedule"] = top.pop("schedule_interval")
    for path, kind, holder, key in _slots(top):
        holder[key] = _component(kind, holder[key], path, problems)
    problems += wrong_types(shape_of(PipelineConfig), top)
    try:
        config = PipelineConfig.model_validate(top)
    except ValidationError as error:
        problems = merge(problems, problems_of(error, PipelineConfig, top))
    if problems:
        raise ConfigError(problems)
    return config


def merge(first: Iterable[Problem], then: Iterable[Problem]) -> list[Problem]:
    """Return all of `first` and what `then` says about places that `first` doesn't mention."""
    known = {problem.path: problem for problem in first}
    return [*first, *(problem for problem in then if problem.path not in known)]


def _component(kind: str, value: Any, path: tuple[str | int, ...], problems: list[Problem]) -> ComponentConfig:
    """Return the component's config; when it is wrong, a stand-in, after adding what is wrong to `problems`."""
    try:
        return _parse_component(kind, value)
    except ConfigError as error:
        problems += error.under(*path).problems
        return KINDS[kind][1].model_construct(type="")


def _parse_component(kind: str, value: Any) -> ComponentConfig:
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
                ("type",),
                suggestion=f"one of: {', '.join(registry.types())}",
                allowed=tuple(registry.types()),
            )
        )
    model: type[ComponentConfig] = registry.get(value["type"]).config
    problems = wrong_types(shape_of(model), value)
    try:
        config = model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(merge(problems, problems_of(error, model, value))) from None
    if problems:
        raise ConfigError(problems)
    return config


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


def problems_of(error: ValidationError, model: type[BaseModel], data: Any = None) -> list[Problem]:
    """Return pydantic's errors as problems: stable codes, near names, one problem for each wrong place.

    `data` is the value that was validated; with it, names of union branches are told from keys of the config for sure.
    """
    from dataforge.config.validation import problems

    return problems(error, model, data)
