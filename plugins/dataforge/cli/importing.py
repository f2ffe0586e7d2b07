"""`import`: configs from other tools' descriptions, with a report of what they could not say."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dataforge.cli.loading import use_root
from dataforge.cli.output import print_json
from dataforge.cli.usage import UsageError

if TYPE_CHECKING:
    from dataforge.config.findings import Finding
    from dataforge.imports.gaps import Gap, Imported

MAX_BYTES = 64 * 1024 * 1024
"""The largest file that is read; API descriptions of 10 MB exist."""


@dataclass(frozen=True)
class Kind:
    """A kind of description: the module of `dataforge.imports` that converts it, and what it is."""

    module: str
    help: str


KINDS: dict[str, Kind] = {
    "airbyte-manifest": Kind("airbyte_manifest", "a low-code manifest of an Airbyte connector (YAML or JSON)"),
    "openapi": Kind("openapi", "an OpenAPI 3 description of an API (JSON or YAML); drafts, with guesses marked"),
    "dag-factory": Kind("dag_factory", "DAGs of dag-factory (YAML); those tasks that move rows"),
    "sling": Kind("sling", "a replication of Sling (YAML or JSON)"),
    "singer-catalog": Kind("singer_catalog", "the catalog of a Singer tap (JSON)"),
    "dlt-rest": Kind("dlt_rest", "the configuration of dlt's REST API source (JSON, YAML, or a Python file, not run)"),
}
"""What can be imported; `dataforge import KIND FILE`."""


def import_file(arguments: argparse.Namespace) -> int:
    """Convert a file; write the configs or print them, then what they lack and what validation says of them."""
    from dataforge.config.report import as_object, as_text

    imported = _convert(arguments.kind, arguments.path)
    texts = {f"{config['dag_id']}.json": _text(config) for config in imported.configs}
    if len(texts) != len(imported.configs):
        raise UsageError(f"{str(arguments.path)!r} describes two pipelines of one name; rename one of them there")
    with _written(texts, arguments.to, force=arguments.force) as folder:
        findings = _findings(folder, texts, keep=arguments.to is not None)
    if arguments.format == "json":
        print_json(
            {
                "configs": imported.configs if arguments.to is None else None,
                "files": [str(arguments.to / name) for name in texts] if arguments.to is not None else None,
                "gaps": [vars(gap) for gap in imported.gaps],
                "findings": [as_object(finding) for finding in findings],
            }
        )
    else:
        for name, text in texts.items():
            print(f"wrote {arguments.to / name}" if arguments.to is not None else text)
        print(_summary(imported, findings, as_text(findings)), file=sys.stderr)
    broken = any(finding.severity == "error" for finding in findings)
    return 1 if broken or (arguments.strict and imported.gaps) else 0


def _convert(kind: str, path: Path) -> Imported:
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"{str(path)!r} is larger than {MAX_BYTES} bytes")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r} is not UTF-8") from None
    imported: Imported = import_module(f"dataforge.imports.{KINDS[kind].module}").convert(text, file=path)
    return imported


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def _written(texts: Mapping[str, str], to: Path | None, *, force: bool) -> Iterator[Path]:
    """Write the configs, to a folder that is gone afterwards where none is named; yield the folder."""
    if to is None:
        with TemporaryDirectory() as folder:
            yield _write(texts, Path(folder))
        return
    there = sorted(name for name in texts if (to / name).exists())
    if there and not force:
        raise UsageError(f"{', '.join(there)} exist in {str(to)!r} already; nothing was written (--force overwrites)")
    to.mkdir(parents=True, exist_ok=True)
    yield _write(texts, to)


def _write(texts: Mapping[str, str], folder: Path) -> Path:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _findings(folder: Path, names: Mapping[str, str], *, keep: bool) -> tuple[Finding, ...]:
    """Return what validation says; of files that are not kept, by their names alone."""
    from dataforge.dag_factory.check import check_paths

    found = check_paths([folder / name for name in names], root=use_root(folder) if keep else folder).findings
    return found if keep else tuple(replace(finding, file=Path(finding.file.name)) for finding in found)


def _summary(imported: Imported, findings: Sequence[Finding], shown: str) -> str:
    gaps: Sequence[Gap] = imported.gaps
    errors = sum(finding.severity == "error" for finding in findings)
    lines = [f"gap: {gap}" for gap in gaps]
    lines += [shown] if shown else []
    lines.append(f"{len(imported.configs)} configs, {len(gaps)} gaps, {errors} errors")
    return "\n".join(lines)
