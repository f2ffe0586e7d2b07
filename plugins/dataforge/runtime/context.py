"""What a task knows of its run, whether Airflow or the command line started it."""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from dataforge.components.base import Ask, Connection, JsonValue, RunValues, TransformContext
from dataforge.components.scratch import claimed
from dataforge.config.pipeline import PipelineConfig, check_param
from dataforge.errors import ConfigError, Problem
from dataforge.runtime.connections import lookup
from dataforge.settings import Settings, get_settings


@dataclass(frozen=True)
class TaskContext:
    """One attempt of one stage of one run. `attempt` differs between tries, `run_id` does not.

    With `dry_run`, loads are done and rolled back. `scoped` is whether the run is about the records of its data
    interval alone, as a backfill is, wherever a cursor stands. `actor` is who started it.
    """

    dag_id: str
    run_id: str
    values: RunValues
    attempt: str = "1"
    settings: Settings = field(default_factory=get_settings)
    connection: Callable[[str], Connection] = lookup
    dry_run: bool = False
    scoped: bool = False
    actor: str = ""
    ask: Ask | None = None

    def run_key(self, target: str) -> str:
        """Return the identity of this run's rows in `target`: the same for every attempt and every later clear."""
        return hashlib.sha256("\n".join((self.dag_id, self.run_id, target)).encode()).hexdigest()[:16]

    def for_transforms(self, sample: int | None = None) -> TransformContext:
        """Return what transforms in Python may use; `sample` is the number of rows that a preview shows."""
        return TransformContext(self.connection, self.ask, sample, self.actor, self.run_id)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty local folder, private to the user, that is removed afterwards."""
        with claimed(self.settings.scratch_folder, f"{self.dag_id}\n{self.run_id}") as folder:
            yield folder


def from_airflow() -> TaskContext:
    """Return the context of the Airflow task that is running in this process."""
    from airflow.sdk import get_current_context

    context = get_current_context()
    task = context["ti"]
    values = RunValues(
        params=dict(context["params"]),
        data_interval_start=context.get("data_interval_start"),
        data_interval_end=context.get("data_interval_end"),
        run_id=context["run_id"],
    )
    # whoever asks for a backfill of some days means the records of those days, not what is new since the last run
    scoped = str(getattr(context["dag_run"].run_type, "value", context["dag_run"].run_type)) == "backfill"
    actor = str(getattr(context["dag_run"], "triggering_user_name", None) or "airflow")
    return TaskContext(task.dag_id, context["run_id"], values, str(task.try_number), scoped=scoped, actor=actor)


def local(
    config: PipelineConfig,
    params: Mapping[str, JsonValue],
    interval: tuple[datetime, datetime] | None = None,
    run_id: str | None = None,
) -> TaskContext:
    """Return the context of a run without a scheduler; ConfigError when a parameter is unknown, missing or unfit.

    A run of an interval is about the records of that interval alone, as a backfill is.
    """
    now = datetime.now(timezone.utc)
    run_id = run_id or f"cli__{now:%Y-%m-%dT%H-%M-%S-%f}"
    start, end = interval or (now, now)
    if end < start:
        raise ConfigError(
            Problem(
                "invalid-interval",
                f"the interval ends at {end:%Y-%m-%d %H:%M} before it starts at {start:%Y-%m-%d %H:%M}",
            )
        )
    values = RunValues(check_params(config, params), start, end, run_id)
    return TaskContext(config.dag_id, run_id, values, scoped=interval is not None, actor=_user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def check_params(config: PipelineConfig, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the values of all declared parameters: `given` over the defaults."""
    problems = [
        Problem(
            "unknown-param",
            f"the pipeline has no parameter {name!r}",
            ("params",),
            f"declared: {', '.join(config.params) or 'none'}",
            tuple(config.params),
        )
        for name in given
        if name not in config.params
    ]
    values: dict[str, JsonValue] = {}
    for name, param in config.params.items():
        value = given.get(name, param.default)
        try:
            if value is None:
                raise ValueError(f"{name}: no value given and no default declared")
            values[name] = check_param(name, param, value)
        except ValueError as error:
            problems.append(Problem("invalid-param", str(error), ("params", name), "pass --param NAME=VALUE"))
    if problems:
        raise ConfigError(problems)
    return values
