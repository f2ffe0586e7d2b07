"""From files and folders to valid pipelines and findings.

    read_folder(configs) ─► FolderResult ─► FileResult for each file ─► Loaded for each valid pipeline

A pipeline with a finding of severity error is in no result's `pipelines`, so a caller can't run it by mistake.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dataforge.config.findings import Finding, Severity, has_errors, in_order, severity
from dataforge.config.json_reader import JsonError, decode, read_json
from dataforge.config.layers import RENAMED, Layer, Stack
from dataforge.config.pipeline import PipelineConfig, merge, parse
from dataforge.config.placeholders import check_placeholders
from dataforge.config.positions import Fault, parent, pointer_of
from dataforge.config.reading import read_content
from dataforge.config.review import review
from dataforge.config.secrets_scan import find_secrets, hide
from dataforge.config.shapes import type_name
from dataforge.errors import ConfigError, Problem, bounded
from dataforge.settings import Settings, get_settings

DEFAULTS = "defaults.json"
POLICIES = "policies.json"
"""The organisation's rules, in the root of the configs folder (authoring.policies); no pipeline."""
IGNORE = ".dataforgeignore"
SETTLE_SECONDS = 2.0
"""A file that breaks off and is younger than this counts as half-written."""

MAX_FINDINGS = 200
_AT_KEY = frozenset({"unknown-key", "invalid-key", "renamed-key", "conflicting-keys", "not-in-defaults", "unused"})
_ORDER = {info.alias or name: number for number, (name, info) in enumerate(PipelineConfig.model_fields.items())}


@dataclass(frozen=True)
class Origin:
    """Where a value was written; the line counts from 1."""

    file: Path
    line: int


@dataclass(frozen=True)
class Loaded:
    """One valid pipeline. `data` is its JSON after merging; `revision` is the SHA-256 of that, in hexadecimal."""

    config: PipelineConfig
    data: Mapping[str, Any]
    file: Path
    revision: str
    stack: Stack = field(repr=False, compare=False)

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """Every JSON pointer that was written, in the file or in defaults, to its place; worked out when asked for."""
        found = {pointer: self.stack.locate(pointer) for pointer in self.stack.owners if pointer}
        return MappingProxyType({pointer: Origin(file, line) for pointer, (file, line, _) in found.items()})


@dataclass(frozen=True)
class FileResult:
    """What one file gives. `incomplete` tells a file that breaks off and is so young that it is still being written."""

    path: Path
    pipelines: tuple[Loaded, ...] = ()
    findings: tuple[Finding, ...] = ()
    incomplete: bool = False


@dataclass(frozen=True)
class FolderResult:
    """What a folder gives: its files in order of path, and all findings, each once."""

    files: tuple[FileResult, ...]
    findings: tuple[Finding, ...]

    @property
    def pipelines(self) -> Iterator[Loaded]:
        """All valid pipelines."""
        return (loaded for file in self.files for loaded in file.pipelines)


def read_file(path: Path, *, root: Path, settings: Settings | None = None) -> FileResult:
    """Return what one file gives, with the defaults of the folders from `root` down to its own.

    FileNotFoundError when there is none; everything else that can go wrong is a finding. Whether its dag_id is used in
    other files too, only `read_folder` and `mark_duplicates` can tell.
    """
    return _Reader(root, settings or get_settings()).file(path)


def read_folder(folder: Path, *, settings: Settings | None = None) -> FolderResult:
    """Return what all config files of a folder and its sub-folders give.

    Skipped are hidden files and folders, and what a `.dataforgeignore` (in gitignore's language) names.
    """
    reader = _Reader(folder, settings or get_settings())
    files = mark_duplicates(filter(None, map(reader.file_if_there, config_files(folder))))
    return FolderResult(files, in_order(finding for file in files for finding in file.findings))


def read_text(text: str | bytes, *, path: Path, root: Path, settings: Settings | None = None) -> FileResult:
    """Return what a file at `path` would give if `text` were its content; the file need not exist."""
    return _Reader(root, settings or get_settings()).text(path, text)


def config_files(folder: Path) -> list[Path]:
    """Return the config and defaults files of a folder and its sub-folders, sorted, whatever kind of file they are."""
    ignored = _ignore_rules(folder)
    found: list[Path] = []
    for at, folders, files in os.walk(folder):
        here = Path(at)
        odd = [name for name in folders if name.endswith(".json")]
        found += [here / name for name in (*files, *odd) if name.endswith(".json") and name[0] != "."]
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and name not in odd and not ignored((here / name).relative_to(folder).as_posix() + "/")
        )
    found = [path for path in found if path != folder / POLICIES]
    return sorted(path for path in found if not ignored(path.relative_to(folder).as_posix()))


def _ignore_rules(folder: Path) -> Any:
    path = folder / IGNORE
    if not path.is_file():
        return lambda _: False
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8", errors="replace").splitlines()).match_file


def mark_duplicates(files: Iterable[FileResult]) -> tuple[FileResult, ...]:
    """Return the results, each pipeline whose dag_id others give too taken out, with an error finding in its place."""
    files = tuple(files)
    users: dict[str, list[FileResult]] = {}
    for file in files:
        for loaded in file.pipelines:
            users.setdefault(loaded.config.dag_id, []).append(file)
    shared = {dag_id: found for dag_id, found in users.items() if len(found) > 1}
    if not shared:
        return files
    return tuple(_without(file, shared) for file in files)


def _without(file: FileResult, shared: Mapping[str, list[FileResult]]) -> FileResult:
    wrong = [loaded for loaded in file.pipelines if loaded.config.dag_id in shared]
    if not wrong:
        return file
    added = []
    for loaded in wrong:
        dag_id = loaded.config.dag_id
        others = [other.path for other in shared[dag_id] if other is not file]
        named = ", ".join(repr(str(other)) for other in others[:3]) + (" and others" if len(others) > 3 else "")
        message = f"dag_id {dag_id!r} is given both here ({str(file.path)!r}) and by {named}"
        place, line, column = loaded.stack.locate("/dag_id")
        suggestion = "give each pipeline a dag_id of its own"
        added.append(Finding("duplicate-dag-id", "error", message, place, line, column, "/dag_id", suggestion))
    kept = tuple(loaded for loaded in file.pipelines if loaded not in wrong)
    return dataclasses.replace(file, pipelines=kept, findings=in_order([*file.findings, *added]))


def canonical(data: Mapping[str, Any]) -> str:
    """Return a config's JSON as one text: top-level keys sorted, deeper order kept, since that of columns matters."""
    return json.dumps({key: data[key] for key in sorted(data)}, ensure_ascii=False, separators=(",", ":"))


def revision(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a config's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(data).encode("utf-8")).hexdigest()


def locate_problems(problems: Iterable[Problem], loaded: Loaded) -> tuple[Finding, ...]:
    """Return what later checks (compilation, connections) say about a pipeline as findings with their places."""
    return in_order(_finding(problem, loaded.stack, ()) for problem in problems)


class _Reader:
    """Reads files below one root; every defaults file once."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root, self.settings = root, settings
        self.known: dict[Path, tuple[Layer | None, tuple[Finding, ...]]] = {}

    def file_if_there(self, path: Path) -> FileResult | None:
        try:
            return self.file(path)
        except FileNotFoundError:
            return None  # deleted since it was listed
        except Exception as error:  # noqa: BLE001  # whatever one file does to us, the others must still be read
            message = f"DataForge could not read this file: {type(error).__name__}: {bounded(str(error), 300)}"
            return FileResult(path, (), (Finding("unreadable", "error", message, path),))

    def file(self, path: Path) -> FileResult:
        root = self.root if self._is_inside(path) else path.parent
        if path.name == DEFAULTS:
            return FileResult(path, (), self._defaults(path)[1])
        changed = 0.0
        try:
            content = read_content(path, root, self.settings.max_config_bytes)
            changed = content.changed
            return self.text(path, content.data, changed)
        except JsonError as error:
            return _faulty(path, error, changed)

    def text(self, path: Path, text: str | bytes, changed: float = 0.0) -> FileResult:
        try:
            layer = self._layer(path, text)
        except JsonError as error:
            return _faulty(path, error, changed)
        layers, findings = self._all_defaults(path)
        stack = Stack((*layers, layer))
        pipelines, own = _load(stack)
        return FileResult(path, () if has_errors(findings) else pipelines, in_order([*findings, *own]))

    def _layer(self, path: Path, data: str | bytes) -> Layer:
        text = decode(data) if isinstance(data, bytes) else data
        value = read_json(text, max_bytes=self.settings.max_config_bytes)
        if not isinstance(value, dict):
            message = f"a config must be one object, not {type_name(value)}"
            raise JsonError((Fault("wrong-type", message, 1, 1, "", "begin it with {"),))
        return Layer(path, text, value)

    def _is_inside(self, path: Path) -> bool:
        return _plain(path).is_relative_to(_plain(self.root))

    def _all_defaults(self, path: Path) -> tuple[list[Layer], list[Finding]]:
        """Return the defaults that hold for a file, outermost first, and what is wrong with them."""
        folders = [path.parent]
        if self._is_inside(path):
            inner = _plain(path.parent).relative_to(_plain(self.root))
            folders = [self.root.joinpath(*inner.parts[:depth]) for depth in range(len(inner.parts) + 1)]
        layers, findings = [], []
        for folder in folders:
            layer, wrong = self._defaults(folder / DEFAULTS)
            layers += [layer] if layer else []
            findings += [finding for finding in wrong if finding.severity == "error"]
        return layers, findings

    def _defaults(self, path: Path) -> tuple[Layer | None, tuple[Finding, ...]]:
        if path not in self.known:
            self.known[path] = self._read_defaults(path)
        return self.known[path]

    def _read_defaults(self, path: Path) -> tuple[Layer | None, tuple[Finding, ...]]:
        root = self.root if self._is_inside(path) else path.parent
        try:
            layer = self._layer(path, read_content(path, root, self.settings.max_config_bytes).data)
        except FileNotFoundError:
            return None, ()
        except JsonError as error:
            return None, _faulty(path, error, 0.0).findings
        stack = Stack((layer,))
        problems = [*_defaults_problems(layer)]
        findings = in_order(_finding(problem, stack, ()) for problem in problems)
        kept = {key: value for key, value in layer.data.items() if key not in ("dag_id", "matrix")}
        return Layer(path, layer.text, kept), findings


def _plain(path: Path) -> Path:
    """Return an absolute path without `..`; symbolic links stay as they are."""
    return Path(os.path.normpath(path.absolute()))


def _defaults_problems(layer: Layer) -> Iterator[Problem]:
    from dataforge.config.validation import unknown_key

    yield from _renamed(layer)
    for key in layer.data:
        if key in ("dag_id", "matrix"):
            yield Problem("not-in-defaults", f"{key!r} can't stand in the defaults of a folder", (key,), "remove it")
        elif key not in _ORDER and key not in RENAMED:
            yield unknown_key((key,), (name for name in _ORDER if name != "dag_id"))
    for problem, _ in find_secrets(layer.data, PipelineConfig):
        yield problem


def _renamed(layer: Layer) -> Iterator[Problem]:
    for old, new in RENAMED.items():
        if old in layer.data and new not in layer.data:
            yield Problem(
                "renamed-key", f"{old!r} is now called {new!r}", (old,), f"rename it to {new!r}", severity="info"
            )


def _faulty(path: Path, error: JsonError, changed: float) -> FileResult:
    """Return the result of a file that is not JSON at all."""
    findings = in_order(
        Finding(each.code, "error", each.message, path, each.line, each.column, each.pointer, each.suggestion)
        for each in error.faults
    )
    young = abs(time.time() - changed) < SETTLE_SECONDS
    return FileResult(path, (), findings, incomplete=error.at_end and young)


def _load(stack: Stack) -> tuple[tuple[Loaded, ...], list[Finding]]:
    """Return the valid pipelines of one file and its findings."""
    merged = stack.merged
    secrets = list(find_secrets(merged, PipelineConfig))
    hidden = tuple(value for _, value in secrets)
    general = [problem for problem, _ in secrets] + list(_renamed(stack.layers[-1]))
    schema = stack.layers[-1].data.get("$schema")
    if not isinstance(schema, str | None):
        general.append(Problem("wrong-type", f"must be text, not {type_name(schema)}", ("$schema",)))
    problems = [*general]
    found: list[Loaded] = []
    try:
        for data, wrong in _expand(stack):
            problems += wrong
            if data is None:
                continue
            config, more = _parse(data)
            problems += merge(wrong, more)[len(wrong) :]
            if config is not None and not any(problem.severity == "error" for problem in (*wrong, *more)):
                found.append(Loaded(config, data, stack.file, revision(data), stack))
    except ConfigError as error:
        problems += error.problems
    problems += _twice(found)
    findings = list(in_order(_finding(problem, stack, hidden) for problem in dict.fromkeys(problems)))
    if len(findings) > MAX_FINDINGS:
        findings = sorted(findings, key=lambda finding: finding.severity != "error")[:MAX_FINDINGS]
    counts = Counter(loaded.config.dag_id for loaded in found)
    if any(problem.severity == "error" for problem in general):
        return (), findings
    return tuple(loaded for loaded in found if counts[loaded.config.dag_id] == 1), findings


def _expand(stack: Stack) -> Iterator[tuple[dict[str, Any] | None, list[Problem]]]:
    """Yield the JSON of every pipeline of a file with what is wrong with its `${matrix.…}`; None for the file's own."""
    plain = {key: stack.merged[key] for key in sorted(stack.merged, key=_rank) if key != "matrix"}
    templated = any("${matrix" in layer.text or "\\u" in layer.text for layer in stack.layers)
    if "matrix" not in stack.merged and not templated:
        yield plain, []
        return
    from dataforge.config.matrix import cells, fill

    matrix = stack.merged.get("matrix")
    used: set[str] = set()
    named: set[str] = set()
    for cell in cells(matrix) if "matrix" in stack.merged else [{}]:
        problems: list[Problem] = []
        named.update(cell)
        yield fill(plain, cell, used, problems), problems
    for name in sorted(named - used):
        path = ("matrix", name) if isinstance(matrix, dict) else ("matrix",)
        message, hint = f"{name!r} of the matrix is never used", f"use it as '${{matrix.{name}}}'"
        yield None, [Problem("unused", message, path, hint, severity="warning")]


def _rank(key: str) -> int:
    return _ORDER.get(key, len(_ORDER))


def _parse(data: dict[str, Any]) -> tuple[PipelineConfig | None, list[Problem]]:
    problems: list[Problem] = []
    config = None
    try:
        config = parse(data)
    except ConfigError as error:
        from dataforge.config.schema import check_structure, combine

        problems += combine(error.problems, check_structure(data))
    problems += check_placeholders(data, PipelineConfig)
    if config is not None and not problems:
        problems += review(config, data)
    return config, problems


def _twice(found: list[Loaded]) -> Iterator[Problem]:
    for dag_id, count in Counter(loaded.config.dag_id for loaded in found).items():
        if count > 1:
            message = f"dag_id {dag_id!r} is given to {count} pipelines of this file ({str(found[0].file)!r})"
            hint = "put what tells them apart into it, as '${matrix.…}'"
            yield Problem("duplicate-dag-id", message, ("dag_id",), hint)


def _finding(problem: Problem, stack: Stack, hidden: tuple[str, ...]) -> Finding:
    pointer = pointer_of(problem.path)
    at = parent(pointer) if problem.code == "missing-key" else pointer
    file, line, column = stack.locate(at, at_key=problem.code in _AT_KEY)
    message, suggestion = problem.message, problem.suggestion
    if hidden:
        message, suggestion = hide(message, hidden), hide(suggestion, hidden) if suggestion else None
    level: Severity = severity(problem)
    return Finding(problem.code, level, message, file, line, column, pointer, suggestion, problem.allowed)
