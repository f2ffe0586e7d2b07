"""Everything that is to be known of a config before a person sees it: the list of `validate`, and what the catalogue
and the organisation's policies add. The same findings with the same places as everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from dataforge.authoring import layout, policies
from dataforge.authoring.base import Candidate, Config
from dataforge.authoring.catalogue import Catalogue
from dataforge.components.base import ExtractContext, Measurable
from dataforge.components.registry import SOURCES
from dataforge.config.files import Loaded, locate_problems, read_text
from dataforge.config.findings import Finding, has_errors, in_order
from dataforge.config.pipeline import PipelineConfig, parse
from dataforge.dag_factory.check import problems as pipeline_problems
from dataforge.errors import DataForgeError, Problem
from dataforge.settings import get_settings

BUILD_SECONDS = 60.0


def check(
    config: Config,
    *,
    catalogue: Catalogue | None = None,
    path: Path | None = None,
    live: bool = False,
    build: bool = False,
) -> Candidate:
    """Return a config with its text and all findings.

    `path` is the file it would be written to, or stands in. With `live` sources are asked for their columns; with
    `build` Airflow builds the DAG in a child process.
    """
    return check_text(layout.write(config), config, catalogue=catalogue, path=path, live=live, build=build)


def check_text(
    text: str,
    config: Config | None = None,
    *,
    catalogue: Catalogue | None = None,
    path: Path | None = None,
    live: bool = False,
    build: bool = False,
) -> Candidate:
    """Return the config that a text holds with all findings; of a text that is no object, an empty config."""
    catalogue = catalogue or Catalogue()
    root = catalogue.folder or get_settings().configs_folder
    if config is None:
        try:
            data = json.loads(text)
        except ValueError:
            data = {}
        config = data if isinstance(data, dict) else {}
    file = path or root / f"{_file_name(config)}.json"
    result = read_text(text, path=file, root=root)
    findings = list(result.findings)
    for loaded in result.pipelines:
        found = [*pipeline_problems(loaded.config, live=live)]
        found += _connections(loaded.config, catalogue)
        found += policies.problems(loaded.config, loaded.data, catalogue.policies)
        if live and not found:
            found += _volume(loaded.config)
        findings += locate_problems(found, loaded)
        findings += _twice(loaded, file, catalogue)
    findings = [_plain(finding) for finding in findings]
    if build and result.pipelines and not has_errors(findings):
        findings += [Finding("unbuildable", "error", message, file) for message in built(text, str(file), str(root))]
    return Candidate(config, text, in_order(findings))


def checker(
    *, catalogue: Catalogue | None = None, path: Path | None = None, live: bool = False, build: bool = False
) -> Callable[[Config], Candidate]:
    """Return `check` with its settings, as repair takes it."""
    return lambda config: check(config, catalogue=catalogue, path=path, live=live, build=build)


def text_checker(
    path: Path, *, catalogue: Catalogue | None = None, live: bool = False, build: bool = False
) -> Callable[[str], tuple[Finding, ...]]:
    """Return the same check for the text of a file at `path`, as fixers, repair and deploy take it."""
    return lambda text: check_text(text, catalogue=catalogue, path=path, live=live, build=build).findings


def _file_name(config: Config) -> str:
    name = config.get("dag_id")
    return name if isinstance(name, str) and name.replace("_", "").replace("-", "").isalnum() else "pipeline"


def _plain(finding: Finding) -> Finding:
    """Return a finding without control characters of foreign names in it."""
    if finding.message.isprintable():
        return finding
    return dataclasses.replace(
        finding, message="".join(char if char.isprintable() else " " for char in finding.message)
    )


def _ends(config: PipelineConfig) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    for name, source in config.inputs.items():
        yield (("source",) if config.source is not None else ("sources", name)), "source", source
    several = isinstance(config.destination, tuple)
    for index, target in enumerate(config.outputs):
        yield (("destination", index) if several else ("destination",)), "destination", target


_FITTING: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("source", "postgres"): ("postgres", "postgresql"),
    ("destination", "postgres"): ("postgres", "postgresql"),
    ("source", "http"): ("http", "https"),
    ("destination", "duckdb"): ("duckdb",),
}


def _connections(config: PipelineConfig, catalogue: Catalogue) -> Iterator[Problem]:
    """Yield connections that Airflow does not have, or that are of another type than the component needs."""
    types = catalogue.types
    for place, kind, end in _ends(config):
        id_ = getattr(end, "connection", None)
        if not id_:
            continue
        if catalogue.barred(id_):
            message = f"there is no Airflow connection {id_!r} that you may use"
            yield Problem(
                "unknown-connection", message, (*place, "connection"), "name another one", tuple(sorted(types))
            )
            continue
        if id_ not in types:
            near = difflib.get_close_matches(id_, types, n=1, cutoff=0.5)
            allowed = tuple(sorted(types))
            hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(allowed)}" if allowed else "add it"
            level = "error" if catalogue.complete and types else "warning"
            message = f"there is no Airflow connection {id_!r}"
            yield Problem("unknown-connection", message, (*place, "connection"), hint, allowed, level)
            continue
        fitting = _FITTING.get((kind, end.type), ())
        if fitting and types[id_] and types[id_] not in fitting:
            allowed = tuple(sorted(one for one, type_ in types.items() if type_ in fitting))
            message = f"connection {id_!r} is of type {types[id_]!r}; {kind} {end.type!r} needs {fitting[0]!r}"
            other = f"one of: {', '.join(allowed)}" if allowed else None
            yield Problem("unfit-connection", message, (*place, "connection"), other, allowed)


def _twice(loaded: Loaded, file: Path, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield a finding when another file of the folder gives the same dag_id."""
    other = catalogue.dag_ids.get(loaded.config.dag_id)
    if other is not None and other.resolve() != file.resolve():
        message = f"dag_id {loaded.config.dag_id!r} is given by {str(other.name)!r} too"
        place, line, column = loaded.stack.locate("/dag_id")
        yield Finding("duplicate-dag-id", "error", message, place, line, column, "/dag_id", "give it a name of its own")


@lru_cache(maxsize=64)
def built(text: str, file: str, root: str) -> tuple[str, ...]:
    """Return what Airflow says against the DAGs of a config, built in a child process; nothing when it takes them."""
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "dataforge.authoring.building", file, root],
            input=text,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (f"building the DAG took more than {BUILD_SECONDS:g} s",)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return (f"the DAG could not be built: the process ended with {done.returncode}",)
    return tuple(json.loads(lines[-1])["errors"])


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run would read of one source: rows and bytes as far as they can be told, and how they are known."""

    source: str
    rows: int | None
    bytes: int | None
    note: str


def estimate(config: PipelineConfig, *, live: bool = False) -> list[Estimate]:
    """Return for each source how much a run would read: of files by their size and a sample, of others with `live`."""
    return [_estimated(name, source, live=live) for name, source in config.inputs.items()]


def _estimated(name: str, source: Any, *, live: bool) -> Estimate:
    from dataforge.components.paths import is_s3, resolve

    unknown = Estimate(name, None, None, "not known before it is read")
    paths = getattr(source, "paths", ())
    if paths and not any("${" in path or is_s3(path) for path in paths):
        folders = get_settings().readable_folders
        files = [file for path in paths for file in resolve(path, folders)]
        size = sum(file.stat().st_size for file in files)
        return Estimate(name, _rows(files, source.type, size), size, f"{len(files)} files")
    if not live:
        return unknown
    from dataforge.runtime.context import local
    from dataforge.runtime.values import resolve as filled

    built = SOURCES.build(source)
    if not isinstance(built, Measurable):
        return unknown
    config = parse({"dag_id": "measure", "source": source.model_dump(mode="json", exclude_unset=True),
                    "destination": {"type": "duckdb", "table": "t"}})  # fmt: skip
    context = local(config, {})
    built = SOURCES.build(filled(config.inputs["source"], context.values))
    with context.scratch() as scratch:
        rows, size = cast("Measurable", built).measure(ExtractContext(context.connection, scratch, context.values))
    return Estimate(name, rows, size, "as the server expects")


def _rows(files: Sequence[Path], type_: str, size: int) -> int | None:
    """Return about how many rows files of `size` bytes in all have: counted in Parquet, else by a part of the first."""
    if type_ == "parquet":
        from pyarrow import parquet

        return sum(parquet.read_metadata(file).num_rows for file in files)
    if not files or type_ != "csv" or files[0].name.endswith((".gz", ".zip", ".zst", ".bz2", ".xz")):
        return None
    with files[0].open("rb") as stream:
        part = stream.read(1 << 20)
    return int(size * part.count(b"\n") / max(1, len(part)))


def _volume(config: PipelineConfig) -> list[Problem]:
    """Return as one finding of severity info how much a run, and a day of runs, would read."""
    try:
        found = estimate(config, live=True)
    except (DataForgeError, OSError):  # what is wrong with a source is found and told elsewhere
        return []
    rows, size = (
        [one for one in values if one is not None] for values in zip(*((e.rows, e.bytes) for e in found), strict=True)
    )
    if not rows and not size:
        return []
    gap = policies.shortest_gap(config.schedule) if isinstance(config.schedule, str) else None
    runs = max(1, round(86_400 / gap.total_seconds())) if gap and gap.total_seconds() else 1

    def said(times: int) -> str:
        parts = [f"{sum(rows) * times:,} rows"] if rows else []
        return ", ".join([*parts, *([f"{sum(size) * times / 1e6:,.1f} MB"] if size else [])])

    reads_new = any(getattr(source, "cursor_field", None) for source in config.inputs.values())
    message = f"a run that reads everything reads about {said(1)}"
    if runs > 1 and not reads_new:
        message += f"; {runs} runs a day: about {said(runs)} a day"
    hint = "read only new records, by a cursor_field" if runs > 1 and not reads_new and sum(size or [0]) > 1e8 else None
    place = ("source",) if config.source is not None else ("sources",)
    return [Problem("volume", message, place, hint, severity="info")]
