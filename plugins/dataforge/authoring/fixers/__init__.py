"""Deterministic fixers: for each finding whose fix is determined, one or more ways to fix it, and the loop around them.

    fixed = fix(text, path=path, root=root)      # fixed.text, fixed.applied, fixed.left

A fix is kept only when the checks then find less: its own finding gone, and no new error unless a later check could
look for the first time. What a fix touches is what its operations say, asserted on each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from dataforge.authoring.editing import EditError, Operation, at, edit, exists
from dataforge.authoring.fixers import expressions, json_types, missing, names, places, secret_values, values
from dataforge.authoring.fixers.case import Case, Fixer, Proposal, Surroundings
from dataforge.authoring.mending import mend
from dataforge.components.base import JsonValue
from dataforge.config.findings import Finding, in_order
from dataforge.config.json_reader import JsonError, read_json
from dataforge.errors import DataForgeError
from dataforge.settings import Settings, get_settings

MAX_FIXES = 100
MAX_LOOKS = 600

FIXERS: Mapping[str, tuple[Fixer, ...]] = {
    "conflicting-keys": (places.conflicting_keys,),
    "duplicate-column": (names.duplicate_column,),
    "duplicate-destination": (places.duplicate_destination,),
    "empty-list": (missing.empty_step,),
    "invalid-choice": (names.invalid_choice, values.invalid_value),
    "invalid-columns": (missing.primary_key,),
    "invalid-key": (values.invalid_key,),
    "invalid-param": (values.invalid_value,),
    "invalid-placeholder": (names.unknown_param, expressions.sql_text),
    "invalid-sql": (expressions.sql_text,),
    "invalid-value": (values.invalid_value, json_types.wrong_type, missing.primary_key),
    "missing-key": (places.missing_type, missing.missing_key),
    "needs-dead-letters": (missing.needs_dead_letters,),
    "needs-merge": (missing.needs_merge,),
    "not-a-query": (expressions.sql_text,),
    "not-aggregated": (expressions.not_aggregated,),
    "not-allowed": (expressions.sql_text, expressions.sql_functions),
    "not-an-expression": (expressions.sql_text,),
    "not-in-defaults": (places.not_in_defaults,),
    "not-one": (expressions.sql_text,),
    "renamed-key": (names.renamed_key,),
    "secret-in-config": (secret_values.secret,),
    "type-mismatch": (expressions.sql_text,),
    "unfit-connection": (names.unknown_connection,),
    "unknown-check": (places.missing_type, names.unknown_type),
    "unknown-column": (names.unknown_name, expressions.sql_names),
    "unknown-connection": (names.unknown_connection,),
    "unknown-destination": (places.missing_type, names.unknown_type),
    "unknown-function": (expressions.sql_functions, expressions.sql_text),
    "unknown-input": (names.unknown_name, expressions.sql_names),
    "unknown-key": (places.mapping_too_high, names.obsolete_key, names.unknown_key, places.moved_key, json_types.named),
    "unknown-param": (names.unknown_param,),
    "unknown-placeholder": (names.unknown_param,),
    "unknown-source": (places.missing_type, names.unknown_type),
    "unknown-transform": (places.missing_type, names.unknown_type),
    "unknown-type": (names.unknown_sql_type, expressions.sql_types),
    "unsupported-disposition": (missing.unsupported_disposition,),
    "wrong-type": (places.plural, json_types.wrong_type, values.invalid_value),
}
"""Code to the fixers that are asked, in this order. Faults of the JSON text itself are mended before (`mending`)."""

NEEDS_A_PERSON = frozenset(
    [
        "duplicate-dag-id",
        "broken-link",
        "outside-folder",
        "not-a-file",
        "unreadable",
        "too-large",
        "matrix-too-large",
        "broken-component",
        "refused-by-airflow",
        "contract-frozen",
        "source-unreachable",
    ]
)
"""Codes that neither a fixer nor a model can decide."""

TextChecker = Callable[[str], tuple[Finding, ...]]
"""Takes the text of a config file and returns what the checks find."""


@dataclass(frozen=True)
class Fix:
    """One fix that was kept: for which finding, why, where, and what stood there before and after."""

    code: str
    pointer: str
    reason: str
    operations: tuple[Operation, ...] = ()
    before: JsonValue = None
    after: JsonValue = None
    line: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return it for machines, its operations as JSON Patch."""
        patch = [operation.to_json() for operation in self.operations]
        fields = {"code": self.code, "pointer": self.pointer, "line": self.line, "reason": self.reason}
        return {**fields, "patch": patch, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Fixed:
    """What the fixers made of a text. `config` is None while the text is not JSON; `left` is what the checks still
    find; `advice` is what a person must do besides (change a secret that stood in the file)."""

    config: dict[str, Any] | None
    text: str
    applied: tuple[Fix, ...] = ()
    left: tuple[Finding, ...] = ()
    advice: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of severity error that are left."""
        return tuple(finding for finding in self.left if finding.severity == "error")

    @property
    def valid(self) -> bool:
        """Whether no error is left."""
        return not self.errors


def checker(path: Path, root: Path, settings: Settings | None = None) -> TextChecker:
    """Return the check of `dataforge validate` for a text that would stand at `path`: the file, then the pipeline."""
    from dataforge.config.files import locate_problems, read_text
    from dataforge.dag_factory.check import problems

    def check(text: str) -> tuple[Finding, ...]:
        result = read_text(text, path=path, root=root, settings=settings)
        found = list(result.findings)
        for loaded in result.pipelines:
            found += locate_problems(problems(loaded.config), loaded)
        return in_order(found)

    return check


def fix(
    source: str | Mapping[str, Any],
    findings: Iterable[Finding] | None = None,
    *,
    path: Path,
    root: Path,
    settings: Settings | None = None,
    check: TextChecker | None = None,
    connections: Mapping[str, str] | None = None,
    today: date | None = None,
) -> Fixed:
    """Fix what is determined in the text (or the JSON) of a config file that stands, or would stand, at `path`.

    `findings` are those of the text when they are known already; `check` takes the place of `checker(path, root)`;
    `connections` are ids to types of the connections that may be used. The result's text differs from the one given
    only where a fix says so.
    """
    text = source if isinstance(source, str) else json.dumps(source, indent=2, ensure_ascii=False) + "\n"
    limit = (settings or get_settings()).max_config_bytes
    around = Surroundings(path, today or datetime.now(timezone.utc).date(), connections or {})
    loop = _Loop(text, check or checker(path, root, settings), around, limit)
    return loop.run(tuple(findings) if findings is not None else None)


@dataclass
class _Loop:
    text: str
    check: TextChecker
    around: Surroundings
    limit: int
    applied: list[Fix] = field(default_factory=list)
    advice: list[Finding] = field(default_factory=list)
    looks: int = 0

    def run(self, findings: tuple[Finding, ...] | None) -> Fixed:
        try:
            mended = mend(self.text, self.limit)
        except JsonError:
            return Fixed(None, self.text, (), self.check(self.text))
        if mended.text != self.text:
            faults = self.check(self.text)
            code = faults[0].code if faults else "syntax-error"
            self.applied += (Fix(code, "", note, line=line) for line, note in mended.notes)
            self.text, findings = mended.text, None
        data = self.data()
        found = self.look(self.text) if findings is None else in_order(findings)
        seen = {self.text}
        while isinstance(data, dict) and len(self.applied) < MAX_FIXES and self.looks < MAX_LOOKS:
            step = self.step(data, found, seen)
            if step is None:
                break
            self.text, found, kept, proposal, finding = step
            seen.add(self.text)
            self.applied.append(kept)
            if proposal.advice:
                told = f"{proposal.advice}"
                self.advice.append(Finding(finding.code, "warning", told, finding.file, finding.line, finding.column))
            data = self.data()
        return Fixed(
            data if isinstance(data, dict) else None, self.text, tuple(self.applied), found, tuple(self.advice)
        )

    def data(self) -> JsonValue:
        return read_json(self.text, max_bytes=self.limit)

    def look(self, text: str) -> tuple[Finding, ...]:
        self.looks += 1
        return self.check(text)

    def step(
        self, data: dict[str, Any], found: tuple[Finding, ...], seen: set[str]
    ) -> tuple[str, tuple[Finding, ...], Fix, Proposal, Finding] | None:
        """Return the first fix that helps; None when there is none."""
        for finding in _in_turn(found):
            case = Case(finding, data, self.around)
            tried: set[str] = set()
            for proposal in _proposals(case):
                try:
                    text = edit(self.text, proposal.operations)
                except (EditError, RecursionError):
                    continue
                if text in seen or text in tried or self.looks >= MAX_LOOKS:
                    continue
                tried.add(text)
                after = self.look(text)
                if _helps(finding, found, after, proposal):
                    return text, after, _kept(case, proposal, text, self.limit), proposal, finding
        return None


def _in_turn(found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield what may be fixed: secrets first (so that no other fix moves them), types of components, then the rest."""
    rank = {"secret-in-config": 0, "missing-key": 3}
    able = [each for each in found if each.code in FIXERS and (each.severity == "error" or each.code == "renamed-key")]
    yield from sorted(able, key=lambda each: rank.get(each.code, 1 if each.code in _TYPES else 2))


def _proposals(case: Case) -> Iterator[Proposal]:
    for fixer in FIXERS[case.finding.code]:
        try:
            yield from fixer(case)
        except (DataForgeError, EditError, OverflowError):
            continue


def _helps(finding: Finding, before: tuple[Finding, ...], after: tuple[Finding, ...], proposal: Proposal) -> bool:
    """Whether the finding is gone and nothing else is worse, or what is new could not be looked for before."""
    if any(_same(finding, other) for other in after):
        return False
    errors, left = _errors(before), _errors(after)
    known = {(each.code, each.pointer) for each in errors}
    new = [each for each in left if (each.code, each.pointer) not in known]
    if not new:
        return True
    if stage(after) > stage(before):
        return True
    if len(left) < len(errors):
        return True
    # A component whose type is known at last, or a value that moved, is looked into for the first time.
    touched = [operation.path for operation in proposal.operations]
    opens = finding.code.startswith("unknown-") or finding.code in ("missing-key", "wrong-type")
    inside = all(any(_within(each.pointer, _around(place)) for place in touched) for each in new)
    more = 30 if finding.code in _TYPES else 2
    return opens and inside and stage(after) >= stage(before) and len(left) <= len(errors) + more


def _same(one: Finding, other: Finding) -> bool:
    return one.code == other.code and one.pointer == other.pointer and one.message == other.message


def _errors(found: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.severity == "error"]


def _around(pointer: str) -> str:
    return pointer.rpartition("/")[0] or pointer


def _within(pointer: str, outer: str) -> bool:
    return pointer == outer or pointer.startswith(f"{outer}/")


_TYPES = frozenset(["unknown-source", "unknown-transform", "unknown-check", "unknown-destination"])
_TEXT = frozenset(
    [
        "byte-order-mark",
        "duplicate-key",
        "lone-surrogate",
        "not-a-number",
        "not-utf8",
        "nul-character",
        "number-too-large",
        "number-too-long",
        "syntax-error",
        "too-deep",
        "trailing-data",
        "empty-file",
    ]
)
_STRUCTURE = frozenset(
    [
        "conflicting-keys",
        "invalid-choice",
        "invalid-key",
        "invalid-value",
        "missing-key",
        "unknown-check",
        "unknown-destination",
        "unknown-key",
        "unknown-source",
        "unknown-transform",
        "wrong-type",
        "invalid-placeholder",
        "misplaced-placeholder",
        "unknown-param",
        "secret-in-config",
        "not-in-defaults",
    ]
)
_REVIEW = frozenset(["needs-dead-letters", "needs-merge", "unsupported-disposition", "incremental-no-ledger"])


def stage(found: Iterable[Finding]) -> int:
    """Return how far the checks came: 0 the text, 1 the structure, 2 keys together, 3 columns and SQL, 4 to the end."""
    codes = {finding.code for finding in found if finding.severity == "error"}
    if codes & _TEXT:
        return 0
    if codes & _STRUCTURE:
        return 1
    if codes & _REVIEW or any(code.startswith("incremental-") for code in codes):
        return 2
    return 3 if codes else 4


def _kept(case: Case, proposal: Proposal, text: str, limit: int) -> Fix:
    after = read_json(text, max_bytes=limit)
    first, last = proposal.operations[0], proposal.operations[-1]
    before_place = first.from_ if first.op == "move" else first.path
    secret = case.finding.code == "secret-in-config"
    before = at(case.data, before_place) if exists(case.data, before_place) else None
    return Fix(
        case.finding.code,
        case.finding.pointer,
        proposal.reason,
        proposal.operations,
        "***" if secret else before,
        None if secret or last.op == "remove" else at(after, last.path) if exists(after, last.path) else last.value,
        case.finding.line,
    )
