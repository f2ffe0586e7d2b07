"""A config changed as a person asks: what the request spells out is edited without a model, the rest by a patch of the
model; both only at places that the request speaks of. Every other byte of the file stays as it was, and this is proven.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from dataforge.authoring import constraints, diff, layout, prompts
from dataforge.authoring.base import AuthorRequest, Candidate, Change, Draft, Extracted, Turn
from dataforge.authoring.catalogue import Catalogue
from dataforge.authoring.catalogue import read as read_catalogue
from dataforge.authoring.checks import check, check_text, text_checker
from dataforge.authoring.editing import EditError, Operation, edit, exists, patch
from dataforge.authoring.extraction import extract
from dataforge.authoring.grounding import Grounds, ground, open_words
from dataforge.authoring.refusals import asks_for_prompt, refusals
from dataforge.authoring.settling import merged
from dataforge.config.findings import Finding
from dataforge.config.positions import escape
from dataforge.errors import GatewayError, ModelAway
from dataforge.gateway.base import Cancel, Gateway, OnText, Request, Usage
from dataforge.settings import get_settings

MAX_TOKENS = 350

_TOUCHES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        r"schedul|every|daily|hourly|weekly|monthly|nightly|cron|o'?clock|uhr|jede[nrs]?\b|täglich|stündlich|zeitplan|\bwhen\b.*\brun",
        ("/schedule", "/timezone"),
    ),
    (r"time\s?zone|zeitzone|\btime\b|\bzeit\b|UTC|Europe/|America/|Asia/", ("/timezone", "/schedule")),
    (r"start|begin|backfill|catch|nachhol|\bab\b|since|seit", ("/start_date", "/catchup", "/source/initial_value")),
    (r"\bend(?:s|ing|_date)?\b|until|bis\b", ("/end_date",)),
    (r"\btag|label|schlagw", ("/tags",)),
    (r"owner|owned|besitzer|verantwort|team", ("/owner",)),
    (r"descri|beschreib", ("/description",)),
    (r"dag_id|(?:rename|call|name)\s+(?:it|the\s+(?:pipeline|dag))|nenn", ("/dag_id",)),
    (r"retr|again|wiederhol|attempt|timeout|pool|queue", ("/default_args",)),
    (r"param", ("/params",)),
    (
        r"append|replace|overwrite|upsert|merge|histor|scd|key|schlüssel|anhäng|ersetz|überschreib|write|destination|target|table|into|ziel|tabelle|schreib|nach\b|duckdb|postgres|parquet|csv",
        ("/destination",),
    ),
    (
        r"source|read|from|path|file|endpoint|query|increment|cursor|lookback|connection|page|quelle|lies|aus\b|von\b|datei|verbindung|delimiter|encoding|null_values|records",
        ("/source", "/sources"),
    ),
    (
        r"check|must|should\s+(?:be|have|never|not)|ensure|sure|unique|null|at\s+least|fail|warn|prüf|darf|muss|mindestens|abbrechen",
        ("/checks",),
    ),
    (r"dead\s*letter|set\s+aside|reject|aussortier", ("/dead_letters", "/checks")),
    (r"contract|freeze|evolve|new\s+columns", ("/schema_contract", "/destination")),
    (r"fused|staged|stream", ("/execution",)),
)
_STEPS = r"filter|where|only|rows|column|field|renam|drop|remov|mask|hash|cast|convert|deriv|add|comput|join|sort|order|limit|first|dedup|duplicate|fill|aggregat|group|sum|count|average|select|keep|upper|lower|round|trim|spalte|zeilen|umbenenn|lösch|entfern|maskier|sortier|verknüpf|berechn|weglass|nur\b|step|transform"
_GLUE = frozenset(
    """change changes changed instead now also anymore longer please set switch make use using from to but still keep everything else
    same stay stays additionally further another more update adjust edit modify run runs step steps transform transforms check checks
    filter column table destination source schedule statt anstatt jetzt auch ändere ändern stelle mehr bitte noch zusätzlich soll
    sollen wird umstellen lass lasse lassen laufen läuft ausführen mode write disposition limit rows row number retries tag tags owner""".split()
)
_REMOVE = re.compile(
    r"\b(?:remove|delete|drop|get\s+rid\s+of|take\s+(?:out|away)|no\s+longer|don'?t|do\s+not|stop|without|entferne?n?|lösche?n?|kein(?:e|en)?|ohne|nicht\s+mehr)\b[^.;,]{0,25}?\b(?P<what>filter(?:s|ing)?|hash(?:es|ing)?|limit(?:s|ing)?|sort(?:s|ing)?|mask(?:s|ing)?|dedup\w*|renam(?:e|es|ing)|join(?:s|ing)?|cast(?:s|ing)?|aggregat\w+|schedule|zeitplan|tags?|lookback|owner|(?:all\s+)?checks?|not[_ ]null(?:\s+check)?|unique(?:\s+check)?|row[_ ]count(?:\s+check)?|range(?:\s+check)?|sortierung|maskierung|prüfung(?:en)?)\b(?P<rest>[^.;]*)",
    re.I,
)
_KINDS = (
    ("filter", "transforms", "filter"), ("limit", "transforms", "limit"), ("sort", "transforms", "sort"),
    ("mask", "transforms", "mask"), ("hash", "transforms", "mask"), ("dedup", "transforms", "deduplicate"), ("renam", "transforms", "rename"),
    ("join", "transforms", "join"), ("cast", "transforms", "cast"), ("aggregat", "transforms", "aggregate"),
    ("not", "checks", "not_null"), ("unique", "checks", "unique"), ("row", "checks", "row_count"), ("range", "checks", "range"),
)  # fmt: skip


def refine(
    request: AuthorRequest,
    gateway: Gateway | None,
    *,
    text: str | None = None,
    catalogue: Catalogue | None = None,
    on_text: OnText | None = None,
    cancel: Cancel | None = None,
    path: Path | None = None,
    private: tuple[str, ...] = (),
) -> Draft:
    """Return the draft of a changed config; `text` is the file as it stands, else `request.base` is laid out anew.

    Without a gateway, what the request spells out is changed and the rest is a finding.
    """
    base = dict(request.base or {})
    text = text if text is not None else layout.write(base)
    base = json.loads(text)
    catalogue = catalogue if catalogue is not None else read_catalogue(request.folder)
    if reason := prompts.too_much(request.text):
        return _refused(request, text, base, [(reason, "say what should be different")], ())
    found = extract(request.text, [one.id for one in catalogue.connections])
    if refused := refusals(request.text, found, catalogue):
        return _refused(request, text, base, [(one.reason, one.instead) for one in refused], found)
    if asks_for_prompt(request.text):
        return _refused(
            request, text, base, [("this is no change of a pipeline", "say what should be different")], found
        )
    grounds = ground(request.text, found, catalogue.types, {})
    allowed = touched(request.text, base, request.pinned, found)
    notes: list[str] = []
    trace: list[Turn] = []
    findings: tuple[Finding, ...] = ()
    wanted, explained = _spelled_out(base, grounds, found, request, at_end=True)
    earlier, _ = _spelled_out(base, grounds, found, request, at_end=False)
    if wanted != earlier and not check(wanted, catalogue=catalogue).valid and check(earlier, catalogue=catalogue).valid:
        wanted = earlier  # a step on columns that later steps leave out
    kept = list(diff.changes(base, wanted))
    edited = _edit(text, kept)
    removed = [match.span() for match in _REMOVE.finditer(request.text)] if explained else []
    left = _left(request.text, found, grounds, removed)
    if kept:
        trace.append(Turn("fix", "what the request spells out was changed without a model", changes=tuple(kept)))
    if left or not kept:
        try:
            edited, turn, said = _ask(
                request, gateway, edited, allowed, catalogue, on_text, cancel, private, bool(kept)
            )
            trace.append(turn)
            notes += said
        except GatewayError as error:
            level: Any = "warning" if kept else "error"
            hint = "what the request spells out was changed; the rest needs a model"
            findings = (Finding("model-away", level, str(error), path or Path("request"), 1, 1, "", hint),)
    edited, pinned_notes = _within(text, edited, (*allowed, *_pointers(request.pinned)))
    notes += pinned_notes
    file = path or (catalogue.folder or get_settings().configs_folder) / "draft.json"
    candidate = check_text(edited, catalogue=catalogue, path=file)
    if not candidate.valid:
        candidate = _repaired(request, candidate, text, gateway if trace else None, catalogue, file, allowed, trace)
    changed = diff.changes(base, dict(candidate.config))
    if not changed and not findings:
        findings = (Finding("not-understood", "warning", "nothing of the config would change by this request", file),)
    return Draft(
        candidate.config, candidate.text, (*candidate.findings, *findings), (), (), tuple(trace), _sum(trace), found, changed,
        diff_words(changed), tuple(dict.fromkeys(notes)), request_id=request.request_id,
    )  # fmt: skip


def diff_words(changed: Sequence[Change]) -> str:
    """Return what changes, in words."""
    from dataforge.authoring.explain import diff_in_words

    return diff_in_words(changed)


def _refused(
    request: AuthorRequest,
    text: str,
    base: Mapping[str, Any],
    reasons: Sequence[tuple[str, str]],
    found: Sequence[Extracted],
) -> Draft:
    findings = tuple(Finding("refused", "error", reason, Path("request"), 1, 1, "", hint) for reason, hint in reasons)
    answer = "This can't be done: " + "; ".join(f"{reason}. Instead: {hint}" for reason, hint in reasons)
    return Draft(
        base, text, findings, extracted=tuple(found), answer=answer, refused=True, request_id=request.request_id
    )


def touched(
    text: str, base: Mapping[str, Any], pinned: Mapping[str, Any] | None = None, found: Sequence[Extracted] = ()
) -> tuple[str, ...]:
    """Return the places of a config that a request may change, as JSON pointers; of what becomes of rows where it names none."""
    places: list[str] = []
    for pattern, pointers in _TOUCHES:
        if re.search(pattern, text, re.I):
            places += pointers
    if re.search(_STEPS, text, re.I):
        places.append("/transforms")
    if any(one.kind == "schedule" for one in found):
        places.append("/schedule")
    places += _pointers(pinned or {})
    known = [place for place in places if place.count("/") == 1]
    if "sources" in base:
        known = ["/sources" if place == "/source" else place for place in known]
    return tuple(dict.fromkeys(known)) or _ROWS


_ROWS = ("/transforms", "/checks")
"""What a request may change that names no place: what becomes of the rows, not where they are or when it runs."""


def _pointers(pinned: Mapping[str, Any]) -> list[str]:
    return [name if name.startswith("/") else f"/{escape(name)}" for name in pinned]


def _left(text: str, found: Sequence[Extracted], grounds: Grounds, removed: Iterable[tuple[int, int]]) -> list[str]:
    """Return the words of a request that no edit of ours explains."""
    chars = list(text)
    for start, end in removed:
        chars[start:end] = " " * (end - start)
    return [word for word in open_words("".join(chars), found, grounds) if word.lower() not in _GLUE]


def _spelled_out(
    base: Mapping[str, Any], grounds: Grounds, found: Sequence[Extracted], request: AuthorRequest, *, at_end: bool
) -> tuple[dict[str, Any], bool]:
    """Return the config with everything changed that the request spells out, and whether something was removed."""
    config = copy.deepcopy(dict(base))
    before = copy.deepcopy(config)
    without = _removed(config, request.text)
    gone = without != before
    config = without
    for key, value in grounds.top.items():
        if key == "tags":
            kept = (
                []
                if re.search(r"\b(?:only|instead|replace|nur|statt|ersetze)\b", request.text, re.I)
                else list(config.get("tags") or [])
            )
            config["tags"] = list(dict.fromkeys([*kept, *value]))
        elif key == "default_args":
            config[key] = {**dict(config.get(key) or {}), **value}
        elif key != "dag_id" or re.search(r"dag_id|rename\s+(?:it|the\s+(?:pipeline|dag))|nenn", request.text, re.I):
            config["schedule" if key == "schedule" else key] = value
            if key == "schedule":
                config.pop("schedule_interval", None)
    if any(one.kind == "schedule" and one.value is None for one in found):
        config.pop("schedule", None)
        config.pop("schedule_interval", None)
    for key, ends in (("source", grounds.sources), ("destination", grounds.destinations)):
        component = config.get(key)
        if isinstance(component, dict) and len(ends) == 1:
            config[key] = _changed_end(component, ends[0].config, ends[0].places)
    steps = list(config.get("transforms") or [])
    checks = list(config.get("checks") or [])
    if grounds.steps and not gone:
        config["transforms"] = merged(
            steps, [one for one in grounds.steps if not _is_told(one.config, steps)], at_end=at_end
        )
    if grounds.checks and not gone:
        config["checks"] = merged(checks, [one for one in grounds.checks if not _is_told(one.config, checks)])
    for name, value in request.pinned.items():
        config = patch(config, [Operation("add", name if name.startswith("/") else f"/{escape(name)}", value)])
    return config, gone


def _is_told(step: Mapping[str, Any], steps: Iterable[Any]) -> bool:
    return any(diff.same(dict(step), one) for one in steps)


def _changed_end(
    component: dict[str, Any], wanted: Mapping[str, Any], places: Mapping[str, Extracted]
) -> dict[str, Any]:
    """Return a source or destination with the keys that the request states; its type stays."""
    found = dict(component)
    for key, value in wanted.items():
        if key == "type" or key not in places:
            continue
        if key in ("table", "path", "endpoint", "connection", "database") and key not in component:
            continue
        if key == "table" and "query" in component:
            continue
        found[key] = value
    if wanted.get("write_disposition") not in (None, "merge"):
        for key in ("merge_strategy", "merge_key"):
            found.pop(key, None)
    return found


def _removed(config: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the config without the steps, checks and keys that the request wants gone."""
    found = copy.deepcopy(config)
    for match in _REMOVE.finditer(text):
        what = match["what"].lower()
        for start, key in (("sched", "schedule"), ("zeitplan", "schedule"), ("tag", "tags"), ("owner", "owner")):
            if what.startswith(start) and not (key == "tags" and re.search(r"\w", match["rest"])):
                found.pop(key, None)
        if what.startswith("lookback") and isinstance(found.get("source"), dict):
            found["source"].pop("lookback", None)
        if re.match(r"(?:all\s+)?checks?$|prüfung", what) and not re.search(r"\w{3,}", match["rest"]):
            found.pop("checks", None)
        german = {"sortierung": "sort", "maskierung": "mask"}
        what = german.get(what, what)
        for start, key, type_ in _KINDS:
            steps = found.get(key)
            if what.startswith(start) and isinstance(steps, list):
                found[key] = _without(steps, type_, match["rest"])
                if not found[key]:
                    del found[key]
    return found


def _without(steps: list[Any], type_: str, about: str) -> list[Any]:
    """Return steps without those of a type; of several, without those that speak of the same columns."""
    mine = [step for step in steps if isinstance(step, Mapping) and step.get("type") == type_]
    named = [
        step
        for step in mine
        if any(word in json.dumps(step) for word in re.findall(r"[A-Za-z_]\w+", about) if "_" in word or len(word) > 3)
    ]
    gone = mine if len(mine) == 1 else named
    return [step for step in steps if step not in gone]


def _edit(text: str, changed: Sequence[Change]) -> str:
    return edit(text, diff.operations(changed)) if changed else text


def _within(before: str, after: str, allowed: Sequence[str]) -> tuple[str, list[str]]:
    """Return the edited text without changes at other places than the allowed ones; what was dropped is told.

    AssertionError would mean that an edit touched more than it said.
    """
    old = json.loads(before)
    changed = diff.changes(old, json.loads(after))
    bad = [change for change in changed if not _is_below(change.pointer, allowed)]
    if not bad:
        return after, []
    good = [change for change in changed if _is_below(change.pointer, allowed)]
    text = _edit(before, good)
    for change in diff.changes(old, json.loads(text)):
        if not _is_below(change.pointer, allowed):
            raise AssertionError(f"an edit changed {change.pointer!r}, of which the request does not speak")
    return text, [f"left as it was, since the request does not speak of it: {change.pointer}" for change in bad]


def _is_below(pointer: str, allowed: Sequence[str]) -> bool:
    return any(pointer == one or pointer.startswith(f"{one}/") for one in allowed)


@cache
def _shots() -> tuple[Mapping[str, Any], ...]:
    return tuple(json.loads(files(prompts).joinpath("refine.json").read_text(encoding="utf-8")))


def _ask(
    request: AuthorRequest,
    gateway: Gateway | None,
    text: str,
    allowed: Sequence[str],
    catalogue: Catalogue,
    on_text: OnText | None,
    cancel: Cancel | None,
    private: tuple[str, ...],
    partly: bool,
) -> tuple[str, Turn, list[str]]:
    """Return the text after the model's patch, the turn, and what of the patch was not taken."""
    if gateway is None:
        raise ModelAway("the rest of the request needs a language model, and none is used here", "none")
    config = json.loads(text)
    shown = {key: value for key, value in config.items() if key not in ("$schema", "description")}
    examples = [prompts.Shown(f"{prompts.compact(one['config'])}\n{one['request']}", one["answer"]) for one in _shots()]
    wish = f"{prompts.compact(shown)}\n{request.text}"
    prompt = prompts.build(
        "refine", wish, examples=examples, data={"rules": "part of the request is done already"} if partly else None
    )
    schema = _schema(request.text, config, allowed, catalogue)
    done = gateway.complete(
        Request(
            "refine",
            prompt.messages,
            schema=schema,
            shared_schema=_shared(),
            model=request.model,
            max_tokens=MAX_TOKENS,
            deadline_seconds=request.deadline_seconds,
            actor=request.actor,
            team=request.team,
            request_id=request.request_id or "refine",
            asked=request.text,
            use_cache=request.use_cache,
            private=private,
        ),
        on_text,
        cancel,
    )
    said = [*done.notes, *([done.problem] if done.problem else [])]
    answer = done.value if isinstance(done.value, Mapping) else {}
    applied: list[Operation] = []
    known = _Words(request.text, config)
    for one in answer.get("changes") or ():
        operation = _operation(one, config, allowed)
        if operation is None or not known.speak_of(operation):
            said.append(f"not taken from the model: {diff.short(one, 120)}")
            continue
        try:
            text = edit(text, [operation])
        except EditError as error:
            said.append(f"not taken from the model: {error}")
            continue
        config = json.loads(text)
        applied.append(operation)
    turn = Turn(
        "refine", f"{len(applied)} of {len(answer.get('changes') or ())} edits taken", prompt.name, done.prompt_hash,
        f"{done.connection}/{done.model}", done.usage, cached=done.cached,
        changes=tuple(Change(one.op, one.path, None, one.value) for one in applied if one.op != "move"),
    )  # fmt: skip
    return text, turn, said


class _Words:
    """What a request and its config name: a value that a model writes must speak of one of them."""

    def __init__(self, text: str, config: Mapping[str, Any]) -> None:
        self.asked = text.lower()
        self.text = f"{text}\n{json.dumps(config, ensure_ascii=False)}".lower()
        self.config = config

    def speak_of(self, operation: Operation) -> bool:
        """Return whether an operation's value names something that is known."""
        from dataforge.authoring.settling import identifiers

        if operation.op == "remove":
            gone = json.dumps(diff.get(self.config, operation.path), ensure_ascii=False)
            words = [*identifiers(gone), *operation.path.split("/")]
            return any(len(word) > 2 and word.lower() in self.asked for word in words)
        value = operation.value
        if isinstance(value, Mapping):
            value = {key: part for key, part in value.items() if key != "type"}
        names = identifiers(json.dumps(value, ensure_ascii=False))
        return not names or any(name.lower() in self.text for name in names)


def _operation(one: Any, config: Mapping[str, Any], allowed: Sequence[str]) -> Operation | None:
    """Return a model's edit as an operation, when it is whole and stays within the allowed places."""
    if not isinstance(one, Mapping) or not isinstance(one.get("path"), str):
        return None
    op, path, value = one.get("op"), one["path"], one.get("value")
    if not _is_below(path, allowed):
        return None
    if path.endswith("/-") and op != "remove":
        holder = path[: -len("/-")]
        if not exists(config, holder):
            return Operation("add", holder, [value])
        return Operation("add", path, value)
    if op == "remove":
        return Operation("remove", path) if exists(config, path) else None
    if value is None:
        return None
    return Operation("replace" if exists(config, path) else "add", path, value)


def _schema(text: str, config: Mapping[str, Any], allowed: Sequence[str], catalogue: Catalogue) -> dict[str, Any]:
    """Return the schema of a patch: places that exist below the allowed ones, and ends of lists."""
    places = [pointer for pointer in _places(config, "") if _is_below(pointer, allowed)]
    places += [f"{one}/-" for one in ("/transforms", "/checks", "/tags") if one in allowed]
    places += [one for one in allowed if one.count("/") == 1 and one[1:] in _SIMPLE and one not in places]
    steps = constraints.step_schemas(text, connections=catalogue.types, several="sources" in config)
    value = {
        "anyOf": [
            *steps,
            {"type": "string"},
            {"type": "number"},
            {"type": "boolean"},
            {"type": "array", "items": {"type": "string"}},
        ]
    }
    one = {
        "type": "object",
        "properties": {
            "op": {"enum": ["replace", "add", "remove"]},
            "path": {"enum": list(dict.fromkeys(places))[:150]},
            "value": {"anyOf": [*value["anyOf"], {"type": "null"}]},
        },
        "required": ["op", "path", "value"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"changes": {"type": "array", "items": one, "minItems": 1, "maxItems": 4}},
        "required": ["changes"],
        "additionalProperties": False,
    }


def _shared() -> dict[str, Any]:
    one = {
        "type": "object",
        "properties": {
            "op": {"enum": ["replace", "add", "remove"]},
            "path": {"type": "string"},
            "value": {"description": "JSON"},
        },
        "required": ["op", "path"],
    }
    return {"type": "object", "properties": {"changes": {"type": "array", "items": one}}, "required": ["changes"]}


_SIMPLE = ("schedule", "timezone", "start_date", "end_date", "owner", "description", "catchup")


def _places(value: Any, pointer: str) -> Iterator[str]:
    if pointer:
        yield pointer
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in ("$schema", "type"):
                yield from _places(part, f"{pointer}/{escape(key)}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _places(part, f"{pointer}/{index}")


def _repaired(
    request: AuthorRequest,
    candidate: Candidate,
    text: str,
    gateway: Gateway | None,
    catalogue: Catalogue,
    path: Path,
    allowed: Sequence[str],
    trace: list[Turn],
) -> Candidate:
    """Return the candidate after repair, when repair stayed within the allowed places."""
    from dataforge.authoring.repair import repair

    done = repair(
        candidate.text, path=path, root=catalogue.folder or path.parent, gateway=gateway,
        check=text_checker(path, catalogue=catalogue), connections=catalogue.types,
        actor=request.actor, team=request.team, model=request.model, request_id=request.request_id or "refine",
        max_turns=max(0, request.max_turns - len(trace)), use_cache=request.use_cache,
    )  # fmt: skip
    stays = all(_is_below(one.pointer, allowed) for one in diff.changes(json.loads(text), dict(done.candidate.config)))
    if not stays or not done.valid:
        return candidate
    trace += done.trace
    return replace(done.candidate)


def _sum(trace: Iterable[Turn]) -> Usage:
    total = Usage()
    for turn in trace:
        total += turn.usage
    return total
