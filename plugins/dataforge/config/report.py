"""Findings as text for people, and as JSON, SARIF 2.1.0 and JUnit XML for machines."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from dataforge import __version__
from dataforge.config.findings import CODES, Finding

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def as_text(findings: Iterable[Finding]) -> str:
    """Return `file:line:column: error[code] message`, with the suggestion on a line of its own."""
    lines = []
    for finding in findings:
        place = f"{_shown(finding.file)}:{finding.line}:{finding.column}"
        at = f" (at {finding.pointer})" if finding.pointer else ""
        lines.append(f"{place}: {finding.severity}[{finding.code}] {_one_line(finding.message + at)}")
        if finding.suggestion:
            lines.append(f"    {_one_line(finding.suggestion)}")
    return "\n".join(lines)


def as_json(findings: Iterable[Finding]) -> str:
    """Return a list of objects with the fields of `Finding`."""
    return json.dumps([as_object(finding) for finding in findings], indent=2)


def as_object(finding: Finding) -> dict[str, object]:
    """Return a finding as a JSON object."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "file": str(finding.file),
        "line": finding.line,
        "column": finding.column,
        "pointer": finding.pointer,
        "suggestion": finding.suggestion,
        "allowed": list(finding.allowed),
    }


def as_sarif(findings: Iterable[Finding]) -> str:
    """Return a SARIF 2.1.0 log with one run, as code hosts show it beside the lines."""
    findings = list(findings)
    codes = sorted({finding.code for finding in findings})
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "dataforge",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "rules": [_rule(code) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, codes.index(finding.code)) for finding in findings],
            }
        ],
    }
    return json.dumps(log, indent=2)


def _rule(code: str) -> dict[str, object]:
    return {"id": code, "shortDescription": {"text": CODES.get(code, code)}}


def _result(finding: Finding, rule: int) -> dict[str, object]:
    hint = f" ({finding.suggestion})" if finding.suggestion else ""
    region = {"startLine": finding.line, "startColumn": finding.column}
    location: dict[str, object] = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(finding.file)}, "region": region}
    }
    if finding.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.pointer}]
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message + hint},
        "locations": [location],
    }


def as_junit(findings: Iterable[Finding], files: Sequence[Path] = ()) -> str:
    """Return JUnit XML: a test case for each file, failed when it has errors. `files` adds those without findings."""
    by_file: dict[Path, list[Finding]] = {path: [] for path in files}
    for finding in findings:
        by_file.setdefault(finding.file, []).append(finding)
    failed = sum(any(each.severity == "error" for each in found) for found in by_file.values())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="dataforge validate" tests="{len(by_file)}" failures="{failed}" errors="0">',
        f'  <testsuite name="dataforge validate" tests="{len(by_file)}" failures="{failed}" errors="0" skipped="0">',
    ]
    for path, found in by_file.items():
        name = _attribute(_shown(path))
        errors = [each for each in found if each.severity == "error"]
        others = [each for each in found if each.severity != "error"]
        lines.append(f'    <testcase classname="dataforge" name={name} file={name}>')
        if errors:
            message = _attribute(_one_line(errors[0].message))
            lines.append(
                f"      <failure type={_attribute(errors[0].code)} message={message}>{_body(errors)}</failure>"
            )
        if others:
            lines.append(f"      <system-out>{_body(others)}</system-out>")
        lines.append("    </testcase>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"])


def _body(findings: Iterable[Finding]) -> str:
    text = _CONTROL.sub("\ufffd", as_text(findings))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    return quoteattr(_CONTROL.sub("\ufffd", text))


def _one_line(text: str) -> str:
    return _CONTROL.sub("\ufffd", " ".join(re.split("[\r\n\u2028\u2029]+", text)))


def _shown(path: Path) -> str:
    """Return a path as a terminal can open it: relative when it lies below the working folder."""
    relative = os.path.relpath(path) if path.is_absolute() else str(path)
    return _one_line(str(path) if relative.startswith("..") else relative)


def _uri(path: Path) -> str:
    shown = _shown(path)
    return Path(shown).as_uri() if Path(shown).is_absolute() else _quoted(shown)


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(Path(path).as_posix())
