"""From a path on the command line to valid pipelines, or to findings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dataforge.cli.usage import UsageError
from dataforge.errors import ConfigError, Problem
from dataforge.settings import ENV_PREFIX, get_settings

if TYPE_CHECKING:
    from dataforge.config.files import FileResult, Loaded
    from dataforge.config.findings import Finding


def configs_root(path: Path) -> Path:
    """Return the configs folder that `path` belongs to: where its defaults and its data files are looked up.

    The deployment's own when `path` lies below it; else the nearest folder above named `configs`; else the outermost
    of the folders above that hold a defaults.json without a gap; else the file's own folder.
    """
    folder = (path if path.is_dir() else path.parent).resolve()
    watched = get_settings().configs_folder.resolve()
    if folder.is_relative_to(watched):
        return watched
    for candidate in (folder, *folder.parents):
        if candidate.name == "configs":
            return candidate
    while (folder.parent / "defaults.json").is_file():
        folder = folder.parent
    return folder


def use_root(path: Path) -> Path:
    """Make the configs folder of `path` the deployment's, unless the environment names one; return it."""
    root = configs_root(path)
    if os.environ.setdefault(f"{ENV_PREFIX}CONFIGS_FOLDER", str(root)) == str(root):
        get_settings.cache_clear()
    return root


def find(path: Path) -> Path:
    """Return the config file that is meant: the path itself, or what the configs folder has under that name.

    There `.json` may be left out. UsageError, with the names that are near, when there is none.
    """
    if path.is_file():
        return path
    if not path.is_absolute() and ".." not in path.parts:
        folder = get_settings().configs_folder
        for found in (path.with_name(f"{path.name}.json"), folder / path, folder / f"{path}.json"):
            if found.is_file():
                return found
    raise UsageError(f"there is no config file {str(path)!r}{did_you_mean(path)}")


def did_you_mean(path: Path) -> str:
    """Return a hint at the config files whose names are near, in the path's own folder and in the configs folder."""
    import difflib

    from dataforge.config.files import config_files

    names: dict[str, str] = {}
    watched = get_settings().configs_folder
    if path.parent.is_dir():
        names |= {found.stem: str(found) for found in path.parent.glob("*.json")}
    if watched.is_dir():
        names |= {found.stem: str(found.relative_to(watched)) for found in config_files(watched)}
    names.pop("defaults", None)
    near = [names[stem] for stem in difflib.get_close_matches(path.stem, names, n=3)]
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; there are: {', '.join(sorted(names.values())[:8])}" if names else f"; {str(watched)!r} has none"


def read_one(path: Path) -> FileResult:
    """Read one config file with its defaults; warnings go to standard error. UsageError when there is no file."""
    from dataforge.config.files import read_file
    from dataforge.config.report import as_text

    path = find(path)
    result = read_file(path, root=use_root(path))
    if result.findings:
        print(as_text(result.findings), file=sys.stderr)
    return result


def load_one(path: Path, dag_id: str | None = None) -> Loaded:
    """Return the one valid pipeline of a file, or the one named; findings are printed and stop the command."""
    result = read_one(path)
    if any(finding.severity == "error" for finding in result.findings):
        raise InvalidConfig([as_problem(finding) for finding in result.findings if finding.severity == "error"])
    names = [loaded.config.dag_id for loaded in result.pipelines]
    chosen = [loaded for loaded in result.pipelines if dag_id in (None, loaded.config.dag_id)]
    if len(chosen) == 1:
        return chosen[0]
    wanted = f"describes no pipeline {dag_id!r}" if dag_id else f"describes {len(names)} pipelines"
    raise ConfigError(Problem("which-pipeline", f"{path} {wanted}", (), f"pass --dag-id, one of: {', '.join(names)}"))


class InvalidConfig(ConfigError):
    """The config has findings of severity error, which have been printed already."""


def as_problem(finding: Finding) -> Problem:
    """Return a finding without its place, for machines that get it in one object with the rest."""
    path = tuple(finding.pointer.split("/")[1:])
    return Problem(finding.code, finding.message, path, finding.suggestion, finding.allowed)
