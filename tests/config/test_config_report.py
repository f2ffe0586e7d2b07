from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dataforge.config.findings import Finding, has_errors, in_order
from dataforge.config.report import as_json, as_junit, as_sarif, as_text

FINDINGS = [
    Finding(
        "unknown-key",
        "error",
        "unknown key 'pth' <&>",
        Path("configs/a.json"),
        4,
        7,
        "/source/pth",
        "did you mean 'path'?",
    ),
    Finding("renamed-key", "info", "x", Path("configs/a b.json"), 2, 3, "/schedule_interval"),
]


def test_text_can_be_clicked_and_says_what_to_do() -> None:
    assert as_text(FINDINGS).splitlines() == [
        "configs/a.json:4:7: error[unknown-key] unknown key 'pth' <&> (at /source/pth)",
        "    did you mean 'path'?",
        "configs/a b.json:2:3: info[renamed-key] x (at /schedule_interval)",
    ]


def test_json_holds_every_field() -> None:
    first = json.loads(as_json(FINDINGS))[0]
    assert first == {
        "code": "unknown-key",
        "severity": "error",
        "message": "unknown key 'pth' <&>",
        "file": "configs/a.json",
        "line": 4,
        "column": 7,
        "pointer": "/source/pth",
        "suggestion": "did you mean 'path'?",
        "allowed": [],
    }


def test_sarif_has_rules_and_places() -> None:
    log = json.loads(as_sarif(FINDINGS))
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result, level in zip(run["results"], ["error", "note"], strict=True):
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] == level
    physical = run["results"][0]["locations"][0]["physicalLocation"]
    assert physical == {"artifactLocation": {"uri": "configs/a.json"}, "region": {"startLine": 4, "startColumn": 7}}
    assert run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "configs/a%20b.json"


def test_junit_counts_a_file_with_errors_as_failed() -> None:
    root = ElementTree.fromstring(as_junit(FINDINGS, [Path("configs/good.json")]))
    assert root.attrib["tests"] == "3"
    assert root.attrib["failures"] == "1"
    failure = root.find(".//failure")
    assert failure is not None
    assert "unknown key 'pth' <&>" in (failure.text or "")


@pytest.mark.parametrize("text", ["a\x00b\x1bc", "line\nline", "\ud800", "]]>", "\x85\ufffe"])
def test_no_message_breaks_a_report(text: str) -> None:
    findings = [Finding("syntax-error", "error", text, Path(f"{text}.json"), suggestion=text)]
    ElementTree.fromstring(as_junit(findings).encode("utf-8"))
    json.loads(as_sarif(findings).encode("utf-8"))
    json.loads(as_json(findings).encode("utf-8"))
    assert len(as_text(findings).encode("utf-8").splitlines()) == 2


def test_findings_are_sorted_by_place_and_each_told_once() -> None:
    later = Finding("syntax-error", "warning", "x", Path("a.json"), 10)
    earlier = Finding("syntax-error", "warning", "x", Path("a.json"), 9)
    assert in_order([later, earlier, later]) == (earlier, later)
    assert not has_errors([later])
    assert has_errors(FINDINGS)
