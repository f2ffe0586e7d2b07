"""`Finding`: one thing wrong with a file, with its place; and the table of all codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataforge.errors import Problem

Severity = Literal["error", "warning", "info"]

CODES: dict[str, str] = {
    # the file
    "broken-link": "A symbolic link leads nowhere.",
    "outside-folder": "A symbolic link leads out of the configs folder; such files are not read.",
    "not-a-file": "Something named *.json is no regular file: a folder, pipe, device or socket. It is not opened.",
    "unreadable": "The file can't be read: rights, or an error of the disk.",
    "too-large": "The file is larger than [dataforge] max_config_bytes.",
    "empty-file": "The file is empty.",
    "no-such-file": "There is no config of that name.",
    "unknown-pipeline": "No config makes a pipeline of that dag_id.",
    # the JSON text
    "byte-order-mark": "The file begins with a byte order mark.",
    "duplicate-key": "An object has the same key twice.",
    "lone-surrogate": "A text holds half of a surrogate pair.",
    "not-a-number": "NaN or Infinity, which JSON does not have.",
    "not-utf8": "The file is not UTF-8.",
    "nul-character": "A text holds a NUL character.",
    "number-too-large": "A number beyond the range of double precision.",
    "number-too-long": "A number of more than 1,000 characters.",
    "syntax-error": "The text is not JSON.",
    "too-deep": "Objects and lists are nested deeper than 64.",
    "trailing-data": "There is text after the end of the config.",
    # the config's structure
    "broken-component": "The component is installed but can't be imported; the message says why.",
    "conflicting-keys": "Two keys exclude each other.",
    "invalid-choice": "The value is not among the allowed ones.",
    "invalid-key": "A key of a free object has a form that is not allowed.",
    "invalid-value": "The value has the right type but is not allowed.",
    "missing-extra": "A component needs an optional package that is not installed here; the hint is the line to run.",
    "missing-key": "A required key is missing; the place is that of the object it belongs to.",
    "renamed-key": "The key has a newer name; both are understood.",
    "unknown-check": "No check of this type is installed.",
    "unknown-destination": "No destination of this type is installed.",
    "unknown-key": "The key is not known here.",
    "unknown-source": "No source of this type is installed.",
    "unknown-transform": "No transform of this type is installed.",
    "wrong-type": "The value has another JSON type than its key wants.",
    # several pipelines
    "duplicate-dag-id": "The same dag_id is given by two files, or twice by one matrix.",
    "matrix-too-large": "The matrix makes more than 1,000 pipelines.",
    "not-in-defaults": "A folder's defaults can't hold this key.",
    # values
    "invalid-placeholder": "A ${…} that is not closed, not known here, or has a format that does not fit.",
    "misplaced-placeholder": "A ${…} where run values may not stand.",
    "secret-in-config": "A value looks like a secret; secrets belong into an Airflow connection.",
    "unknown-param": "A ${params.…} that the config does not declare.",
    # plain words
    "empty-request": "The request has no words.",
    # columns, SQL and what a pipeline does as a whole
    "circular-source": "Pipelines read each other's outputs in a circle.",
    "unknown-asset": "No pipeline writes this asset.",
    "contract-frozen": "A column would have to change, which the schema contract does not allow.",
    "constant": "An expression names no column where one is needed.",
    "duplicate-column": "A step would give two columns the same name.",
    "duplicate-destination": "Two destinations of one pipeline write the same table, file or folder.",
    "duplicate-name": "Two steps or inputs have the same name.",
    "empty-list": "A list needs at least one item.",
    "generated-column": "The destination's column is generated and can't be written.",
    "invalid-column": "A column can't be made in the destination under this name or type.",
    "invalid-columns": "The columns of a step do not fit together.",
    "invalid-param": "The value of a run parameter does not fit it.",
    "invalid-interval": "The data interval ends before it starts.",
    "invalid-setting": "A setting of [dataforge] has a value that is not allowed.",
    "invalid-path": "The path can't be read, whatever files there are.",
    "invalid-sql": "The SQL can't be read.",
    "uploaded-sample": "The path is an uploaded sample: drafts of its owner read it, a deployed pipeline can't.",
    "missing-column": "A column that is needed is not there.",
    "missing-value": "A ${…} has no value in this run.",
    "no-columns": "No column would be left.",
    "not-a-query": "The SQL is not exactly one SELECT.",
    "not-exportable": "A part of the pipeline has no form in an exported module.",
    "not-aggregated": "A column has several values in a group.",
    "not-allowed": "The SQL holds something that is not allowed in a config.",
    "not-an-expression": "The SQL is not exactly one expression.",
    "not-rejectable": "The check looks at many rows at once, so that no single row can be set aside for it.",
    "not-one": "Exactly one of several keys is needed.",
    "refused-by-airflow": "Airflow refuses what the config asks for.",
    "reserved-column": "A column has a name that DataForge itself uses in the target.",
    "source-unreachable": "The source could not be asked for its columns.",
    "type-mismatch": "A type does not fit where it is used.",
    "unfit-column": "The column's type does not fit the destination's column.",
    "unknown-column": "No column of this name is there.",
    "unknown-fields": "The fields of a JSON value can't be known before it is read; the step has to name them.",
    "unknown-component": "No component of this type is installed.",
    "unknown-connection": "Airflow has no connection of this id.",
    "unknown-function": "The SQL calls a function that is not allowed.",
    "unknown-input": "No source and no earlier named step has this name.",
    "unknown-placeholder": "A ${…} that names no run value.",
    "unknown-revision": "The file has no revision of this id or digest.",
    "unknown-type": "No SQL type of this name is known.",
    "which-pipeline": "The file describes several pipelines and none was named.",
    # delivery
    "delivery": "The delivery guarantee of a destination, with its reason and what would improve it.",
    "duplicates-possible": "Records that are read twice are written twice.",
    "incremental-no-ledger": "A cursor_field whose destination keeps no record, or another one for each run.",
    "incremental-several-destinations": "A cursor_field with several destinations, which can't commit together.",
    "needs-dead-letters": "Records are to be set aside, but the pipeline has no 'dead_letters'.",
    "needs-merge": "The key deletes rows, which only write_disposition merge does.",
    "rows-at-risk": "A combination that may delete rows which should stay.",
    "unsupported-disposition": "The destination does not have this write_disposition.",
    "unsupported-setting": "The destination can't do what a setting of the pipeline asks for.",
    # authoring
    "not-taken-up": "A part of the request in words has no counterpart in the config.",
    "model-away": "No language model answered; what needs none was done.",
    "not-understood": "The request does not say enough, or what came of it is no config.",
    "policy": "A rule of configs/policies.json is broken.",
    "refused": "The request asks for something that a config can't hold: code, a secret, or a host of its own.",
    "unbuildable": "Airflow can't build the DAG of this config.",
    "unfit-connection": "The connection is of another type than the component needs.",
    "unknown-table": "The source says that it has no such table or file.",
    # uploads and approval
    "needs-approval": "Deploys need the approval of a second person here; the page and the web API ask for it.",
    "own-deploy": "Nobody approves what they asked for themselves.",
    "too-many-uploads": "The person keeps as many uploaded files as may be.",
    "unfit-upload": "The uploaded file holds nothing that can be read as data.",
    # advice
    "no-effect": "A key that changes nothing in this combination.",
    "unused": "Something is declared but never used.",
    "volume": "About how much a run would read; told where sources may be asked.",
}
"""Code to its meaning in one line. Codes are stable: tools may filter by them."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a file. Line and column count from 1; the pointer is a JSON pointer (RFC 6901)."""

    code: str
    severity: Severity
    message: str
    file: Path
    line: int = 1
    column: int = 1
    pointer: str = ""
    suggestion: str | None = None
    allowed: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        """What findings are sorted by: file, line, column, code, message."""
        return str(self.file), self.line, self.column, self.code, self.message

    def replace(self, **changes: object) -> Finding:
        """Return a copy with changes."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # the fields' own types


def has_errors(findings: Iterable[Finding]) -> bool:
    """Return whether any finding is of severity error."""
    return any(finding.severity == "error" for finding in findings)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings sorted by place, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: finding.order))


def severity(problem: Problem) -> Severity:
    """Return a problem's severity as one of the three words."""
    return "warning" if problem.severity == "warning" else "info" if problem.severity == "info" else "error"


def as_markdown() -> str:
    """Return the page that lists all codes."""
    rows = [f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())]
    head = "Made from `dataforge.config.findings`, not by hand. Codes are stable: tools may filter by them."
    return "\n".join(["# Findings", "", head, "", "| Code | Meaning |", "|---|---|", *rows, ""])
