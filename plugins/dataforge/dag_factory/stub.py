"""What a generated DAG file calls: `globals().update(dags({...}))`.

Light on purpose: a task's process imports this, the config model, and the components that its one config names.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow.sdk import DAG, get_parsing_context

from dataforge.config.pipeline import parse
from dataforge.dag_factory.builder import build_dag
from dataforge.dag_factory.docs import render

Pipeline = Sequence[str]
"""A config file's name, the pipeline's config as JSON text, its compiled SQL or an empty text; perhaps its pools."""


class InvalidConfigError(Exception):
    """Raised by the DAG file of a config that can't be used; its text is what Airflow shows as import error."""


def invalid(text: str) -> InvalidConfigError:
    """Return the error to raise for a config with these findings."""
    return InvalidConfigError(text)


def dag(file: str, text: str, sql: str = "", pools: str = "{}") -> DAG:
    """Return the DAG of one pipeline, given its config as JSON text, and as JSON the pools of its destinations."""
    config = parse(json.loads(text))
    chosen = {int(index): str(name) for index, name in json.loads(pools).items()}
    return build_dag(config, doc_md=render(config, text=text, sql=sql, file=file), pools=chosen)


def dags(pipelines: Mapping[str, Pipeline]) -> dict[str, DAG]:
    """Return the DAGs to define in this process, by global name.

    In a task's process that is the task's own DAG alone.
    """
    only = get_parsing_context().dag_id
    chosen = {only: pipelines[only]} if only is not None and only in pipelines else pipelines
    return {f"dag_{number}": dag(*chosen[dag_id]) for number, dag_id in enumerate(chosen)}


def packed(here: str, sidecar: str) -> dict[str, DAG]:
    """Return the DAGs of a file that holds several configs, as `dags` does; the file `sidecar` beside it has them."""
    return dags(json.loads(Path(here).with_name(sidecar).read_text(encoding="utf-8")))


def moved(here: str, places: Mapping[str, str]) -> dict[str, DAG]:
    """Return the DAGs of an older snapshot whose files had other names then; `places` is dag_id to the old file name.

    A task that starts after its config file was renamed looks for the new name in the snapshot its run began with.
    """
    only = get_parsing_context().dag_id
    found: dict[str, DAG] = {}
    for name in sorted({place for dag_id, place in places.items() if only in (None, dag_id)}):
        path = Path(here).parent / name
        spec = importlib.util.spec_from_file_location(f"dataforge_moved_{len(found)}", path)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {f"moved_{len(found)}_{key}": value for key, value in vars(module).items() if isinstance(value, DAG)}
    return found
