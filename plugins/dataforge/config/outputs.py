"""The outputs of other pipelines that sources of type `pipeline` and `asset` read: found, and checked for circles."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from dataforge.components.base import DestinationConfig
from dataforge.components.outputs import FollowingConfig, Output
from dataforge.config.files import config_files, read_file, read_folder
from dataforge.config.pipeline import PipelineConfig
from dataforge.errors import ConfigError, Problem
from dataforge.settings import get_settings

OWN_SCHEME = "dataforge://"


def output_of(output: Output, root: Path | None = None) -> DestinationConfig:
    """Return the destination that is meant, looked up below the configs folder; ConfigError when there is none."""
    folder = root or get_settings().configs_folder
    wanted = output.dag_id or output.asset.rsplit("/", 1)[-1]
    # most often the file tells by its name or its text; only where neither does, all are read
    likely = [path for path in config_files(folder) if path.stem == wanted or wanted in _text(path)]
    for configs in ([loaded.config for path in likely for loaded in read_file(path, root=folder).pipelines], None):
        known = configs if configs is not None else [loaded.config for loaded in read_folder(folder).pipelines]
        problem, found = _find(output, known)
        if found is not None:
            return found[1]
    assert problem is not None
    raise ConfigError(problem)


def following_problems(configs: Sequence[PipelineConfig], root: Path) -> Mapping[str, tuple[Problem, ...]]:
    """Return, by dag_id, what is wrong with the outputs these pipelines read; others are found below `root`."""
    following = [
        config for config in configs if any(isinstance(source, FollowingConfig) for source in config.inputs.values())
    ]
    if not following:
        return {}
    known = {loaded.config.dag_id: loaded.config for loaded in read_folder(root).pipelines} if root.is_dir() else {}
    known |= {config.dag_id: config for config in configs}
    edges = {dag_id: set(_upstream(config, list(known.values()))) for dag_id, config in known.items()}
    return {config.dag_id: tuple(_problems(config, list(known.values()), edges)) for config in following}


def _problems(
    config: PipelineConfig, known: Sequence[PipelineConfig], edges: Mapping[str, set[str]]
) -> Iterator[Problem]:
    for name, source in config.inputs.items():
        if not isinstance(source, FollowingConfig):
            continue
        output = source.follows()
        place = ("source",) if config.source is not None else ("sources", name)
        problem, found = _find(output, known)
        if problem is not None:
            yield problem.under(*place)
        elif found is not None and (circle := _path(found[0], config.dag_id, edges)):
            shown = " → ".join([config.dag_id, *reversed(circle)])
            message = f"the pipelines read each other's outputs in a circle: {shown}"
            yield Problem("circular-source", message, (*place, output.key), "let one of them read its first source")


def _find(
    output: Output, known: Sequence[PipelineConfig]
) -> tuple[Problem | None, tuple[str, DestinationConfig] | None]:
    """Return the dag_id and destination that is meant, or what is wrong."""
    if output.asset:
        wanted = _bare(output.asset)
        for config in known:
            for target in config.outputs:
                if (asset := target.asset()) is not None and _bare(asset) == wanted:
                    return None, (config.dag_id, target)
        assets = sorted({_bare(asset) for config in known for one in config.outputs if (asset := one.asset())})
        hint = _near(wanted, assets)
        return Problem("unknown-asset", f"no pipeline writes the asset {output.asset!r}", (output.key,), hint), None
    config_ = next((config for config in known if config.dag_id == output.dag_id), None)
    if config_ is None:
        names = sorted(config.dag_id for config in known)
        message = f"there is no valid pipeline {output.dag_id!r}"
        return Problem("unknown-pipeline", message, (output.key,), _near(output.dag_id, names)), None
    if output.number > len(config_.outputs):
        message = f"pipeline {output.dag_id!r} has {len(config_.outputs)} destination(s), no number {output.number}"
        return Problem("unknown-pipeline", message, ("destination",)), None
    return None, (config_.dag_id, config_.outputs[output.number - 1])


def _upstream(config: PipelineConfig, known: Sequence[PipelineConfig]) -> Iterator[str]:
    for source in config.inputs.values():
        if isinstance(source, FollowingConfig) and (found := _find(source.follows(), known)[1]) is not None:
            yield found[0]


def _path(start: str, goal: str, edges: Mapping[str, set[str]]) -> list[str]:
    """Return a way from `start` upstream to `goal`, both included; empty when there is none."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == goal:
            return way
        if way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, name] for name in sorted(edges.get(way[-1], ()))]
    return []


def _bare(asset: str) -> str:
    return unquote(asset.removeprefix("x-").removeprefix(OWN_SCHEME)).rstrip("/")


def _near(name: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
