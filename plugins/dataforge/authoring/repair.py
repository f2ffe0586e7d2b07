"""Repair: findings, then the fixers, then a model for the rest, in the smallest edits first.

    repaired = repair(text, path=path, root=configs, gateway=gateway)      # gateway None: the fixers alone

A turn of the model is one typed value for one finding (limited by the JSON Schema of its place, without the value that
was refused); where that did not help, edits by path and value; a rewrite of the wrong parts comes last. After every
turn the fixers look again. What a model may touch is what the findings are about; all else stays byte for byte.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dataforge.authoring import diff, offers, prompts
from dataforge.authoring.base import Candidate, Turn, TurnKind
from dataforge.authoring.editing import EditError, Operation, at, edit, exists, tokens
from dataforge.authoring.failures import Failure
from dataforge.authoring.fixers import NEEDS_A_PERSON, Fixed, TextChecker, checker, fix, stage
from dataforge.authoring.fixers.case import block_at, blocks, under
from dataforge.components.base import JsonValue
from dataforge.config.findings import Finding
from dataforge.config.json_reader import JsonError, read_json
from dataforge.config.report import as_object
from dataforge.errors import GatewayError
from dataforge.gateway.base import Cancel, Completion, Gateway, OnText, Request, Usage
from dataforge.gateway.schema import ENDS_AFTER
from dataforge.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TURNS = 5
_TRIED = 12
"""Values of one place that are tried before a model is asked: each costs a check."""
_MAX_TOKENS: Mapping[str, int] = {"value": 500, "patch": 600, "rewrite": 1_500}
"""Enough for one text that is as long as it may be: what is complete of an answer counts where the rest is cut off."""
_TEXT = {"type": "string", ENDS_AFTER: 400}
_NEVER = frozenset({"secret-in-config", *NEEDS_A_PERSON})

Stop = Literal["valid", "limit", "no progress", "repeated", "no model", "model failed", "needs a person", "not JSON"]
Rung = Literal["value", "patch", "rewrite"]
_RUNGS: tuple[Rung, ...] = ("value", "patch", "rewrite")


@dataclass(frozen=True)
class Repaired:
    """The best candidate, what the fixers did, the whole trace, and why it ended.

    `notes` are sentences for the person: what they must still do, and what the model server said.
    """

    candidate: Candidate
    fixed: Fixed
    stopped: Stop
    trace: tuple[Turn, ...] = ()
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    diff: str = ""
    request_id: str = ""
    failure: Failure | None = None

    @property
    def valid(self) -> bool:
        """Whether no error is left."""
        return self.stopped != "not JSON" and self.candidate.valid

    @property
    def model(self) -> str:
        """The model that had a part in it, "" when none had."""
        return next((turn.model for turn in reversed(self.trace) if turn.model), "")

    @property
    def prompt_hash(self) -> str:
        """The hash of its last prompt."""
        return next((turn.prompt_hash for turn in reversed(self.trace) if turn.prompt_hash), "")


def repair(
    text: str,
    *,
    path: Path,
    root: Path,
    gateway: Gateway | None = None,
    check: TextChecker | None = None,
    connections: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    failure: Failure | None = None,
    actor: str = "",
    team: str = "",
    model: str | None = None,
    max_turns: int = MAX_TURNS,
    deadline_seconds: float | None = None,
    request_id: str = "",
    use_cache: bool = True,
    on_text: OnText | None = None,
    cancel: Cancel | None = None,
) -> Repaired:
    """Repair the text of the config file at `path`; with `failure`, so that the failed run would go on.

    Never raises for what a model or its server does: the best candidate comes back, with the findings that are left.
    """
    look = check or checker(path, root, settings)
    if failure is not None and failure.findings:
        look = _with_failure(look, failure, text)
    fixed = fix(text, path=path, root=root, settings=settings, check=look, connections=connections)
    before = look(text)
    trace: list[Turn] = []
    if fixed.applied:
        note = "; ".join(dict.fromkeys(each.reason for each in fixed.applied))
        changed = diff.without_secrets(diff.changes(_config_of(text) or {}, fixed.config or {}))
        trace.append(Turn("fix", note, before=before, after=fixed.left, changes=changed))
    notes = [finding.message for finding in fixed.advice]
    loop = _Loop(
        fixed,
        look,
        path,
        root,
        settings,
        connections or {},
        gateway,
        failure,
        trace,
        notes,
        request=Request(
            "repair",
            (),
            model=model,
            actor=actor,
            team=team,
            deadline_seconds=deadline_seconds,
            use_cache=use_cache,
            request_id=request_id or uuid.uuid4().hex,
        ),
        max_turns=max_turns,
        on_text=on_text,
        cancel=cancel,
    )
    stopped = loop.run()
    candidate = Candidate(loop.config or {}, loop.text, loop.findings)
    shown = diff.text(text, loop.text, path.name)
    return Repaired(
        candidate, fixed, stopped, tuple(trace), loop.usage, tuple(loop.notes), shown, loop.request.request_id, failure
    )


@dataclass
class _Loop:
    fixed: Fixed
    look: TextChecker
    path: Path
    root: Path
    settings: Settings | None
    connections: Mapping[str, str]
    gateway: Gateway | None
    failure: Failure | None
    trace: list[Turn]
    notes: list[str]
    request: Request
    max_turns: int
    on_text: OnText | None = None
    cancel: Cancel | None = None
    usage: Usage = field(default_factory=Usage)

    def run(self) -> Stop:
        self.text, self.config, self.findings = self.fixed.text, self.fixed.config, self.fixed.left
        seen = {self.text}
        tried: set[tuple[str, str]] = set()
        rung = 0
        if self.config is None:
            return "not JSON"
        for turn in range(self.max_turns):
            if not self.errors():
                return "valid"
            open_ = [finding for finding in self.errors() if finding.code not in _NEVER]
            if not open_:
                return "needs a person"
            if self.gateway is None:
                self.notes.append(
                    f"no language model is used, so {_count(open_, 'finding')} stay for a person to decide"
                )
                return "no model"
            last = turn == self.max_turns - 1
            finding = next((each for each in open_ if (each.code, each.pointer) not in tried), None)
            kind: Rung = "rewrite" if last and rung == 1 else _RUNGS[rung]
            if kind == "value" and (finding is None or self.value_schema(finding) is None):
                kind, rung = "patch", 1
            try:
                answer = self.ask(kind, finding or open_[0], open_)
            except GatewayError as error:
                self.notes.append(f"the model gave no answer: {error}")
                return "model failed"
            if finding is not None and kind == "value":
                tried.add((finding.code, finding.pointer))
            text = None if answer.problem else self.applied(kind, finding or open_[0], open_, answer.value)
            better = text is not None and self.adopt(kind, text, answer, seen)
            if text is None:
                self.told(kind, answer, "the answer could not be used", self.findings)
            elif not better and text in seen and kind == "rewrite":
                return "repeated"
            if text is not None:
                seen.add(text)
            if better:
                rung = 0
            elif kind == "rewrite":
                return "no progress"
            elif kind != "value" or all((each.code, each.pointer) in tried for each in open_):
                rung = min(_RUNGS.index(kind) + 1, 2)
        return "valid" if not self.errors() else "limit"

    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    # ------------------------------------------------------------------------------------------------- the questions

    def ask(self, kind: Rung, finding: Finding, open_: Sequence[Finding]) -> Completion:
        assert self.gateway is not None
        assert self.config is not None
        about = [finding] if kind == "value" else list(open_)[:8]
        facts: dict[str, Any] = {"config": self.config, "findings": [_told(each) for each in about]}
        if self.failure is not None:
            facts["log"] = self.failure.log
        if self.connections:
            facts["connections"] = dict(self.connections)
        schema: dict[str, Any]
        if kind == "value":
            place = finding.pointer
            refused = at(self.config, place) if exists(self.config, place) else None
            wanted = f'Give the right value for {place} as {{"value": …}}.'
            if exists(self.config, place):
                wanted += f" {json.dumps(refused, ensure_ascii=False)} was refused; it must be another value."
            schema = _object({"value": _ending(self.value_schema(finding) or _TEXT)})
        elif kind == "patch":
            wanted = 'Give the edits that repair it as {"changes": [{"op", "path", "value"}]}; value is JSON as text.'
            change = _object(
                {
                    "op": {"enum": ["replace", "add", "remove"]},
                    "path": {"enum": self.paths(open_)},
                    "value": _TEXT,
                }
            )
            schema = _object({"changes": {"type": "array", "items": change, "minItems": 1, "maxItems": 4}})
        else:
            parts = self.parts(open_)
            wanted = f"Give these parts of the config anew, repaired: {', '.join(parts)}."
            schema = _object({part.removeprefix("/"): self.part_schema(part) for part in parts})
        prompt = prompts.build("repair", wanted, data=facts)
        self.prompt = prompt.name
        request = replace(self.request, messages=prompt.messages, schema=schema, max_tokens=_MAX_TOKENS[kind])
        answer = self.gateway.complete(request, self.on_text, self.cancel)
        self.usage += answer.usage
        return answer

    def value_schema(self, finding: Finding) -> dict[str, Any] | None:
        """Return the schema of the one value that a finding is about; None where no single value can be asked for."""
        assert self.config is not None
        if not finding.pointer or finding.code in ("unknown-key", "conflicting-keys", "renamed-key", "invalid-key"):
            return None
        path = tokens(finding.pointer)
        there = exists(self.config, finding.pointer)
        if not there and finding.code != "missing-key":
            return None
        holder = finding.pointer.rpartition("/")[0]
        if not there and not isinstance(at(self.config, holder) if exists(self.config, holder) else None, dict):
            return None
        refused = at(self.config, finding.pointer) if there else None
        if path[-1] == "connection":
            known = [name for name in self.connections if name != refused]
            return self.helpful(finding, {"enum": known}) if known else None
        if (offered := offers.schema(self.config, path, refused)) is not None:
            return self.helpful(finding, offered)
        if labels := list(self.choices(finding)):
            return {"enum": labels}
        named = finding.code.startswith(("unknown-", "invalid-choice")) and refused == _named(finding)
        if finding.allowed and isinstance(refused, str) and named:
            return self.helpful(finding, {"enum": [name for name in finding.allowed if name != refused]})
        schema = schema_at(self.config, path)
        rest = None if schema is None else _without(schema, refused)
        return None if rest is None else self.helpful(finding, rest)

    def choices(self, finding: Finding) -> dict[str, Operation]:
        """Return the edits of one key of a faulty component to another of its few values, as far as they help."""
        assert self.config is not None
        component = at(self.config, finding.pointer) if exists(self.config, finding.pointer) else None
        if not isinstance(component, dict) or "type" not in component:
            return {}
        found: dict[str, Operation] = {}
        for key, value in component.items():
            place = under(finding.pointer, key)
            values = (schema_at(self.config, tokens(place)) or {}).get("enum", ()) if key != "type" else ()
            for other in values if len(values) <= _TRIED else ():
                operation = Operation("replace", place, other)
                if other != value and _score(self.look(edit(self.text, [operation]))) > _score(self.findings):
                    found[f"{key}: {json.dumps(other)}"] = operation
        return found

    def helpful(self, finding: Finding, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema of few values without those that the checks would refuse again."""
        values = schema.get("enum")
        if not isinstance(values, list) or not 1 < len(values) <= _TRIED:
            return schema
        op: Literal["replace", "add"] = "replace" if exists(self.config, finding.pointer) else "add"
        good = []
        for value in values:
            try:
                text = edit(self.text, [Operation(op, finding.pointer, value)])
            except (EditError, KeyError, ValueError):
                continue
            if _score(self.look(text)) > _score(self.findings):
                good.append(value)
        return {**schema, "enum": good or values}

    def paths(self, open_: Sequence[Finding]) -> list[str]:
        """Return the pointers that edits may name: what the findings are about, and what lies around and below."""
        assert self.config is not None
        found: dict[str, None] = {}
        for scope in self.scopes(open_):
            found.update(dict.fromkeys(_pointers(at(self.config, scope), scope)) if exists(self.config, scope) else {})
        for finding in open_:
            found.setdefault(finding.pointer or "/", None)
        return [pointer for pointer in found if pointer and pointer != "/"][:200]

    def scopes(self, open_: Sequence[Finding]) -> list[str]:
        """Return the parts that the findings are about: whole components, and other keys of the top."""
        assert self.config is not None
        found: dict[str, None] = {}
        for finding in open_:
            path = tokens(finding.pointer)
            if not path:
                continue
            block = block_at(self.config, path)
            found[block.pointer if block else "/" + finding.pointer.split("/")[1]] = None
        if self.failure is not None and not found:
            found.update((block.pointer, None) for block in blocks(self.config))
        return list(found)

    def parts(self, open_: Sequence[Finding]) -> list[str]:
        return self.scopes(open_)[:4]

    def part_schema(self, pointer: str) -> dict[str, Any]:
        assert self.config is not None
        return schema_at(self.config, tokens(pointer), whole=True) or {"type": "object"}

    # --------------------------------------------------------------------------------------------------- the answers

    def applied(self, kind: Rung, finding: Finding, open_: Sequence[Finding], value: JsonValue) -> str | None:
        """Return the text with the model's answer in it; None when it can't be used, or touches something else."""
        assert self.config is not None
        if not isinstance(value, dict):
            return None
        operations: list[Operation] = []
        if kind == "value":
            if "value" not in value:
                return None
            new = offers.value(tokens(finding.pointer), value["value"])
            there = exists(self.config, finding.pointer)
            if there and at(self.config, finding.pointer) == new:
                return None
            chosen = self.choices(finding).get(new) if isinstance(new, str) else None
            operations = [chosen or Operation("replace" if there else "add", finding.pointer, new)]
        elif kind == "patch":
            allowed = self.paths(open_)
            for change in value.get("changes") or ():
                if not isinstance(change, dict) or change.get("path") not in allowed:
                    return None
                operations.append(Operation(change["op"], change["path"], _parsed(change.get("value"))))
        else:
            for part in self.parts(open_):
                key = part.removeprefix("/")
                if key in value:
                    there = exists(self.config, part)
                    operations.append(Operation("replace" if there else "add", part, _without_nulls(value[key])))
        operations = [
            each for each in operations if not self.brings_something_in(each) and not self.moves_data(each, open_)
        ]
        if not operations:
            return None
        try:
            return edit(self.text, operations)
        except (EditError, KeyError, ValueError):
            return None

    def brings_something_in(self, operation: Operation) -> bool:
        """Whether an operation names a connection that nobody gave: the model may never choose where data goes."""
        known = {*self.connections, *_connections(self.config)}
        named = set(_connections(operation.value))
        if tokens(operation.path)[-1:] == ("connection",) and isinstance(operation.value, str):
            named.add(operation.value)
        return bool(named - known)

    def moves_data(self, operation: Operation, open_: Sequence[Finding]) -> bool:
        """Whether an operation changes where data comes from or goes to although no finding is about that."""
        assert self.config is not None
        path = tokens(operation.path)
        if path[:1] not in (("source",), ("sources",), ("destination",)) or not exists(self.config, operation.path):
            return False
        about = {finding.pointer for finding in open_}
        if operation.path in about or operation.path.rpartition("/")[0] in about:
            return False
        before = at(self.config, operation.path)
        after = None if operation.op == "remove" else operation.value
        if path[-1] in _PLACES:
            return bool(before != after)
        kept = set(_places(after, operation.path))
        return any(one not in kept and one[0] not in about for one in _places(before, operation.path))

    def adopt(self, kind: Rung, text: str, answer: Completion, seen: set[str]) -> bool:
        """Take the text over when it is better than what there is, after the fixers looked at it."""
        fixed = fix(
            text, path=self.path, root=self.root, settings=self.settings, check=self.look, connections=self.connections
        )
        better = _score(fixed.left) > _score(self.findings) and fixed.text not in seen and fixed.config is not None
        note = "" if better else "no better than before; not taken"
        after = fixed.left
        changed = diff.without_secrets(diff.changes(self.config, fixed.config)) if fixed.config is not None else ()
        self.told(kind, answer, note, after, changed if better else ())
        if better:
            self.text, self.config, self.findings = fixed.text, fixed.config, fixed.left
            seen.add(fixed.text)
        return better

    def told(
        self, kind: TurnKind, answer: Completion, note: str, after: tuple[Finding, ...], changes: tuple[Any, ...] = ()
    ) -> None:
        note = "; ".join(filter(None, (note, answer.problem)))
        self.trace.append(
            Turn(
                kind,
                note,
                self.prompt,
                answer.prompt_hash,
                answer.model,
                answer.usage,
                self.findings,
                after,
                changes,
                answer.cached,
            )
        )
        self.notes += [each for each in answer.notes if each not in self.notes]


# ------------------------------------------------------------------------------------------------------------- schemas


def schema_at(config: Mapping[str, Any], path: tuple[str, ...], *, whole: bool = False) -> dict[str, Any] | None:
    """Return the JSON Schema of a place, references resolved; of a component that of its type. None when unknown.

    With `whole` the place is a component or a top-level key that is asked for in one piece.
    """
    from dataforge.config.schema import json_schema

    schema = json_schema()
    defs = schema["$defs"]
    value: Any = config
    here: Any = schema
    for key in path:
        here = _below(_branch(here, value, defs), key, defs)
        if here is None:
            return None
        value = value.get(key) if isinstance(value, Mapping) else _item(value, key)
    found = _branch(here, value, defs) if whole or isinstance(value, Mapping) else here
    resolved: dict[str, Any] = _resolved(found, defs, 0)
    return resolved


def _branch(schema: Any, value: Any, defs: Mapping[str, Any]) -> Any:
    while "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    choice = schema.get("discriminator")
    if choice and isinstance(value, Mapping):
        ref = choice["mapping"].get(value.get("type"))
        return _branch({"$ref": ref}, value, defs) if ref else schema
    options = schema.get("anyOf") or schema.get("oneOf")
    if options and not choice:
        wanted = {"object": Mapping, "array": list}
        for option in options:
            found = _branch(option, value, defs)
            if isinstance(value, wanted.get(str(found.get("type")), ())) or found.get("discriminator"):
                if found.get("discriminator") and not isinstance(value, Mapping):
                    continue
                return found
    return schema


def _below(schema: Any, key: str, defs: Mapping[str, Any]) -> Any:
    properties = schema.get("properties", {})
    if key in properties:
        return properties[key]
    if schema.get("type") == "array" and (key.isdigit() or key == "-"):
        return schema.get("items")
    more = schema.get("additionalProperties") or next(iter(schema.get("patternProperties", {}).values()), None)
    if isinstance(more, Mapping):
        return more
    for option in schema.get("anyOf") or ():
        found = _below(_branch(option, {}, defs), key, defs)
        if found is not None:
            return found
    return None


def _item(value: Any, key: str) -> Any:
    return value[int(key)] if isinstance(value, list) and key.isdigit() and int(key) < len(value) else None


def _resolved(schema: Any, defs: Mapping[str, Any], depth: int) -> Any:
    """Return a schema with its references put in; what nests too deeply is left as any text."""
    if isinstance(schema, list):
        return [_resolved(each, defs, depth) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        if depth > 6:
            return {"type": "string"}
        return _resolved(defs[schema["$ref"].rpartition("/")[2]], defs, depth + 1)
    return {key: _resolved(part, defs, depth) for key, part in schema.items() if key not in ("discriminator", "$defs")}


def _without(schema: dict[str, Any], refused: JsonValue) -> dict[str, Any] | None:
    """Return a schema that no longer allows the refused value, where it names its values one by one."""
    if "enum" in schema:
        left = [value for value in schema["enum"] if value != refused]
        return {**schema, "enum": left} if left else None
    if "const" in schema:
        return None if schema["const"] == refused else schema
    for key in ("anyOf", "oneOf"):
        if key in schema:
            options = [found for each in schema[key] if (found := _without(each, refused)) is not None]
            return {**schema, key: options} if options else None
    return schema


# --------------------------------------------------------------------------------------------------------- small parts


def _ending(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value with an end to its texts."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_ending(one) for one in schema["anyOf"]]}
    return {**schema, ENDS_AFTER: 400} if schema.get("type") == "string" else schema


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _told(finding: Finding) -> dict[str, Any]:
    shown = as_object(finding)
    kept = {key: shown[key] for key in ("code", "message", "pointer", "suggestion") if shown[key]}
    return kept | ({"allowed": list(finding.allowed)[:60]} if finding.allowed else {})


def _named(finding: Finding) -> str | None:
    match = re.search(r"'([^']*)'", finding.message)
    return match[1] if match else None


def _count(found: Sequence[Any], word: str) -> str:
    return f"{len(found)} {word}{'s' if len(found) != 1 else ''}"


def _score(found: tuple[Finding, ...]) -> tuple[int, int]:
    """How good a candidate is: first how far the checks came, then the fewest errors."""
    return stage(found), -sum(finding.severity == "error" for finding in found)


def _parsed(value: Any) -> JsonValue:
    if not isinstance(value, str):
        return value
    try:
        return read_json(value)
    except JsonError:
        return value


def _without_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def _pointers(value: JsonValue, pointer: str) -> Iterator[str]:
    yield pointer
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from _pointers(part, under(pointer, key))


def _connections(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("connection"), str):
            yield value["connection"]
        for part in value.values():
            yield from _connections(part)
    elif isinstance(value, list):
        for part in value:
            yield from _connections(part)


_PLACES = ("type", "connection", "table", "path", "endpoint", "query", "database")


def _places(value: JsonValue, pointer: str) -> Iterator[Any]:
    """Yield (pointer, value) of everything below that says where data is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        if key in _PLACES:
            yield f"{pointer}/{key}", json.dumps(part)
        yield from _places(part, under(pointer, key))


def _config_of(text: str) -> dict[str, Any] | None:
    try:
        value = read_json(text)
    except JsonError:
        return None
    return value if isinstance(value, dict) else None


def _with_failure(look: TextChecker, failure: Failure, text: str) -> Callable[[str], tuple[Finding, ...]]:
    """Return a check that also finds what the failed run found, for as long as the value in question is the same."""
    first = _config_of(text)

    def check(now: str) -> tuple[Finding, ...]:
        found = look(now)
        config = _config_of(now)
        if first is None or config is None:
            return found
        known = {(each.code, each.pointer) for each in found}
        same = [
            each
            for each in failure.findings
            if (each.code, each.pointer) not in known
            and exists(first, each.pointer)
            and exists(config, each.pointer)
            and at(first, each.pointer) == at(config, each.pointer)
        ]
        return (*found, *same)

    return check
