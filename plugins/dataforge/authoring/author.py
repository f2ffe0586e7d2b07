"""From a request in plain words to a draft: what is certain is read, the model answers the rest in one call that can
hold nothing else, the checks judge, and what is wrong is repaired.

Everything that the request states is put into the answer again afterwards, so that no model can change it; steps of
which the request says nothing are left out, and values that stand nowhere in it are shown as assumptions.
"""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataforge.authoring import constraints, diff, library, nearness, prompts
from dataforge.authoring.base import (
    Assumption,
    AuthorRequest,
    Candidate,
    Checker,
    Config,
    Draft,
    Extracted,
    Question,
    Turn,
)
from dataforge.authoring.catalogue import Catalogue, place_of, with_tables
from dataforge.authoring.catalogue import read as read_catalogue
from dataforge.authoring.checks import checker, text_checker
from dataforge.authoring.editing import Operation, patch
from dataforge.authoring.extraction import extract, of
from dataforge.authoring.grounding import End, Grounds, ground, open_words
from dataforge.authoring.refusals import Refusal, asks_for_prompt, refusals
from dataforge.authoring.schedules import mentions_time
from dataforge.authoring.settling import assumptions_of, identifiers, settle
from dataforge.authoring.spelling import Mended, mend
from dataforge.authoring.words import names as names_of
from dataforge.config.findings import Finding
from dataforge.config.positions import escape
from dataforge.errors import GatewayError, bounded
from dataforge.gateway.base import Cancel, Completion, Gateway, OnText, Request, Usage
from dataforge.settings import get_settings

SHOWN = 2
"""Examples in a prompt."""
MAX_TOKENS = 360
MAX_NAMES = 60
"""Names of columns that a schema offers."""

_LOOSE_WRITE = re.compile(
    r"\b(?:existing|again|twice|old|previous|fresh|history|add|new|whole|complete|entire|still|accumulat\w*|pile|current|bestehend\w*|vorhanden\w*|jedes\s+mal|each\s+time|ganz\w*|immer|neue?r?n?|alt\w*|aktuell\w*|dazu|update\w*|change\w*|geändert\w*)\b",
    re.I,
)


def author(
    request: AuthorRequest,
    gateway: Gateway | None,
    *,
    catalogue: Catalogue | None = None,
    examples: Sequence[library.Example] | None = None,
    on_text: OnText | None = None,
    cancel: Cancel | None = None,
    path: Path | None = None,
    private: tuple[str, ...] = (),
) -> Draft:
    """Return the draft of a config for a request, or answers and questions by its mode.

    Without a gateway, or when no model answers, the draft holds what can be read without one, with a finding that says
    so. `examples` replaces the packaged library; `private` are values that must not leave.
    """
    request = replace(request, request_id=request.request_id or uuid.uuid4().hex)
    if catalogue is None:
        catalogue = read_catalogue(request.folder, team=request.team)
    if request.base is not None and request.mode == "edit":
        from dataforge.authoring.refine import refine

        return refine(request, gateway, catalogue=catalogue, on_text=on_text, cancel=cancel, path=path, private=private)
    if reason := prompts.too_much(request.text):
        return _refused(request, (), (), reason)
    mended = mend(request.text, [one.id for one in catalogue.connections])
    request = replace(request, text=mended.text)
    found = extract(request.text, catalogue.types)
    refused = refusals(request.text, found, catalogue)
    if refused or asks_for_prompt(request.text):
        return _as_written(_refused(request, refused, found), mended)
    found = _with_urls(found, catalogue)
    grounds = ground(request.text, found, catalogue.types, request.pinned)
    asked = request.live or request.rows
    near = [end.config for end in grounds.sources if asked or _is_local(end.config)]
    if near:
        catalogue = with_tables(catalogue, near, sampled=asked, rows=request.rows)
    work = _Work(request, gateway, catalogue, examples, on_text, cancel, path, private, found, grounds)
    return _as_written(work.draft() if request.mode == "edit" else work.talk(), mended)


def _as_written(draft: Draft, mended: Mended) -> Draft:
    """Return a draft whose places are those of the request as it was written, and which says what was read for what."""
    if not mended.words:
        return draft

    def moved(one: Extracted) -> Extracted:
        return replace(one, start=mended.place(one.start), end=mended.place(one.end))

    said = ", ".join(f"{written!r} as {meant!r}" for written, meant, _ in mended.words)
    return replace(
        draft,
        extracted=tuple(map(moved, draft.extracted)),
        grounds={pointer: moved(one) for pointer, one in draft.grounds.items()},
        notes=(f"read {said}", *draft.notes),
    )


def _settle_disposition(config: dict[str, Any]) -> bool:
    """Say how rows are written where neither request nor answer did: by key, added to a folder, else in place."""
    target = config.get("destination")
    if not isinstance(target, dict) or "write_disposition" in target:
        return False
    source = config.get("source")
    reads_new = isinstance(source, dict) and "cursor_field" in source
    value = (
        "merge"
        if target.get("primary_key")
        else "append"
        if reads_new or str(target.get("path", "")).endswith("/")
        else "replace"
    )
    config["destination"] = {**target, "write_disposition": value}
    return True


def _is_local(end: Mapping[str, Any]) -> bool:
    """Return whether a source is a file of this deployment, which may always be asked for its columns."""
    path = end.get("path")
    return isinstance(path, str) and "://" not in path and "${" not in path


def _with_urls(found: Iterable[Extracted], catalogue: Catalogue) -> tuple[Extracted, ...]:
    """Turn URLs whose host a connection leads to into that connection and an endpoint."""
    made: list[Extracted] = []
    for one in found:
        if one.kind != "url" or (id_ := catalogue.by_host(str(one.value))) is None:
            made.append(one)
            continue
        made.append(replace(one, kind="connection", value=id_, role=one.role or "source"))
        path = "/" + str(one.value).split("://", 1)[1].partition("/")[2]
        if path != "/":
            made.append(replace(one, kind="endpoint", value=path.split("?")[0], role="source"))
    return tuple(made)


def _refused(
    request: AuthorRequest,
    refused: Sequence[Refusal],
    found: Sequence[Extracted],
    reason: str = "the instructions of the assistant are not part of a pipeline",
) -> Draft:
    file = Path("request")
    findings = tuple(
        Finding("refused", "error", one.reason, file, *_line(request.text, one.start), "", one.instead)
        for one in refused
    )
    if not findings:
        findings = (Finding("refused", "error", reason, file, 1, 1, "", "say what data should go where"),)
    answer = "This can't be done: " + "; ".join(f"{one.message}. Instead: {one.suggestion}" for one in findings)
    return Draft(None, "", findings, extracted=tuple(found), answer=answer, refused=True, request_id=request.request_id)


def _not_taken_up(text: str, left: Sequence[str]) -> Finding:
    """Return what tells a person that a part of the request came to nothing; a config must not look like all of it."""
    words = " ".join(dict.fromkeys(left))
    message = f"this part of the request came to nothing in the config: {bounded(words, 200)!r}"
    hint = "say it as a condition on a column, or as a step of its own; or ask a larger model"
    place = _line(text, max(0, text.find(left[0])))
    return Finding("not-taken-up", "warning", message, Path("request"), *place, "", hint)


def _line(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


@dataclass(frozen=True)
class _Work:
    """One request on its way; a value, so that every step can be followed by its arguments."""

    request: AuthorRequest
    gateway: Gateway | None
    catalogue: Catalogue
    examples: Sequence[library.Example] | None
    on_text: OnText | None
    cancel: Cancel | None
    path: Path | None
    private: tuple[str, ...]
    found: tuple[Extracted, ...]
    grounds: Grounds

    def draft(self) -> Draft:
        """Return a checked, repaired config."""
        grounds, assumed = _with_defaults(self.grounds, self.request.text, self._keys())
        likeness, told = nearness.of_examples(self.request, self._library(), self.gateway, self.private)
        shown = library.nearest(self.request.text, grounds, self._library(), SHOWN, likeness)
        known = {table.place for table in self.catalogue.tables}
        live = self.request.live or (bool(known) and all(place_of(end.config) in known for end in grounds.sources))
        check = checker(catalogue=self.catalogue, path=self.path, live=live)
        notes = [*self.catalogue.notes, *filter(None, (told,))]
        similar = nearness.pipelines(self.request, self.grounds, self.catalogue, self.gateway, self.private)
        notes += [f"pipeline {one.dag_id!r} {one.why} already; `dataforge refine` changes it" for one in similar]
        trace: list[Turn] = []
        findings: tuple[Finding, ...] = ()
        answer: Mapping[str, Any] = {}
        left = open_words(self.request.text, self.found, grounds)
        try:
            if not left and _is_whole(grounds):
                notes.append("everything was read from the request itself; no model was needed")
            elif self._only_asks(left, grounds):
                notes.append("what is missing only you can say; no model was asked")
            else:
                completion, prompt = self._ask(grounds, shown)
                answer = answered(completion)
                notes += [*completion.notes, *([completion.problem] if completion.problem else [])]
                trace.append(_turn("author", completion, prompt, f"answered after {len(shown)} examples"))
        except GatewayError as error:
            # an error: a config with a part of the request left out must not be written as if it were all of it
            hint = "only what can be read from the request without a model was done; try again, or name another model"
            findings = (Finding("model-away", "error", str(error), Path("request"), 1, 1, "", hint),)
            notes.append(str(error))
        config, left_out = settle(self.request, answer, grounds, self.found, self.catalogue)
        notes += left_out
        idle = bool(trace and left) and config == settle(self.request, {}, grounds, self.found, self.catalogue)[0]
        if _settle_disposition(config):
            assumed.append(
                Assumption("/destination/write_disposition", config["destination"]["write_disposition"], "not said")
            )
        candidate = check(config)
        if trace:
            trace[0] = replace(trace[0], after=candidate.findings)
        repaired = self._repair(candidate, trace, live=live)
        trace += repaired[1]
        candidate, gone = _without_faulty(repaired[0], check)
        notes += gone
        if idle:
            findings = (*findings, _not_taken_up(self.request.text, left))
        assumptions = [*assumed, *assumptions_of(candidate.config, grounds, self.found, self.request, self.catalogue)]
        assumptions = [one for one in _first_each(assumptions) if diff.get(candidate.config, one.pointer) == one.value]
        questions = tuple(_questions(grounds, self.request, self.catalogue, candidate, self.grounds))
        return Draft(
            candidate.config,
            candidate.text,
            (*candidate.findings, *findings),
            tuple(assumptions),
            questions,
            tuple(trace),
            _sum(trace),
            self.found,
            diff.changes(self.request.base or {}, dict(candidate.config)),
            _said(candidate.config, assumptions, questions),
            tuple(dict.fromkeys(notes)),
            tuple(one.id for one in shown),
            request_id=self.request.request_id,
            grounds=_grounds_of(candidate.config, grounds),
            similar=similar,
        )

    def _only_asks(self, left: Sequence[str], grounds: Grounds) -> bool:
        """Return whether a model could only invent what is missing: questions are open, and nothing else is."""
        if self.request.pinned or self.request.history or self.catalogue.configs:
            return False
        places = ("table", "path", "connection", "endpoint", "url", "component")
        if not any(one.kind in places for one in self.found):
            return True
        return not left and any(_questions(grounds, self.request, self.catalogue, None, self.grounds))

    def talk(self) -> Draft:
        """Return an answer or a plan in words; without a model, the plan of what can be read."""
        from dataforge.authoring.explain import in_words

        grounds, assumed = _with_defaults(self.grounds, self.request.text, self._keys())
        questions = tuple(_questions(grounds, self.request, self.catalogue, None, self.grounds))
        if self.request.base is not None:  # the config at hand answers them
            assumed, questions = [], ()
        facts = self._facts(grounds)
        prompt = prompts.build(
            "plan" if self.request.mode == "plan" else "ask",
            "\n".join([*self.request.history, self.request.text]),
            facts=facts,
            data=self._told(),
        )
        trace: list[Turn] = []
        findings: tuple[Finding, ...] = ()
        try:
            completion = self._call(prompt, None, None)
            answer = completion.text.strip()
            trace.append(_turn("explain", completion, prompt.name, f"mode {self.request.mode}"))
        except GatewayError as error:
            findings = (Finding("model-away", "warning", str(error), Path("request"), 1, 1),)
            answer = _plan(grounds) if self.request.base is None else in_words(self.request.base)
        return Draft(
            None, "", findings, tuple(assumed), questions, tuple(trace), _sum(trace), self.found, (), answer,
            self.catalogue.notes, request_id=self.request.request_id,
        )  # fmt: skip

    def _keys(self) -> list[str]:
        """Return the columns that the request calls a key."""
        return [str(name) for one in of(self.found, "primary_key", sure=True)[:1] for name in one.value]

    def _library(self) -> Sequence[library.Example]:
        shipped = library.packaged() if self.examples is None else self.examples
        return (*shipped, *library.own(self.catalogue.configs))

    def _ask(self, grounds: Grounds, shown: Sequence[library.Example]) -> tuple[Completion, str]:
        schema = constraints.schema(
            self.request.text,
            grounds,
            connections=self._usable(grounds),
            names=self._names(),
            examples=[one.config for one in shown],
            allowed_destinations=tuple(
                dict.fromkeys(rule.type for rule in self.catalogue.policies.destinations if "*" not in rule.type)
            ),
        )
        keys = {
            *constraints.keys_of(schema),
            *(("source", "sources") if "sources" in constraints.keys_of(schema) else ()),
        }
        prompt = prompts.build(
            "author",
            self.request.text,
            facts=self._facts(grounds),
            examples=[
                prompts.Shown(one.request, {key: value for key, value in one.shown().items() if key in keys})
                for one in shown
            ],
            data=self._data(),
        )
        facts = nearness.facts(self.request, self.found, grounds, self.catalogue, prompt.messages[0].text)
        return self._call(prompt, schema, constraints.shared_schema(), facts), prompt.name

    def _call(
        self,
        prompt: prompts.Prompt,
        schema: dict[str, Any] | None,
        shared: dict[str, Any] | None,
        facts: str = "",
    ) -> Completion:
        if self.gateway is None:
            from dataforge.errors import ModelAway

            raise ModelAway("the rest of the request needs a language model, and none is used here", "none")
        return self.gateway.complete(
            Request(
                "author",
                prompt.messages,
                schema=schema,
                shared_schema=shared,
                model=self.request.model,
                max_tokens=MAX_TOKENS,
                deadline_seconds=self.request.deadline_seconds,
                actor=self.request.actor,
                team=self.request.team,
                request_id=self.request.request_id,
                asked=self.request.text,
                use_cache=self.request.use_cache,
                private=self.private,
                facts=facts,
            ),
            self.on_text,
            self.cancel,
        )

    def _usable(self, grounds: Grounds) -> dict[str, str]:
        """Return the connections that an answer may name: those that the request names, else all of the catalogue."""
        said = {str(one.value): self.catalogue.types.get(str(one.value), "") for one in of(self.found, "connection")}
        del grounds
        return said or self.catalogue.types

    def _names(self) -> list[str]:
        """Return what may be a column: names in the request, and columns that are known."""
        columns = list(self.catalogue.columns)
        taken = {
            str(one.value).lower() for one in self.found if one.kind in ("connection", "table", "path", "dag_id", "tag")
        }
        said = [name for name in names_of(self.request.text) if name.lower() not in taken or name in columns]
        marked = [name for name in said if "_" in name or any(char.isdigit() for char in name)]
        plain = [name for name in said if name not in marked]
        return list(dict.fromkeys([*marked, *columns, *plain]))[:MAX_NAMES]

    def _facts(self, grounds: Grounds) -> dict[str, Any]:
        """Return what is decided already, as the prompt tells it; few words, since each costs time."""
        types = self._usable(grounds)
        facts: dict[str, Any] = {}
        if types:
            facts["connections"] = dict(list(types.items())[:20])
        if self.request.pinned:
            facts["fixed"] = dict(self.request.pinned)
        return facts

    def _data(self) -> dict[str, Any] | None:
        tables = {table.place: list(table.columns) for table in self.catalogue.tables}
        rows = {
            table.place: list(table.rows[:3]) for table in self.catalogue.tables if table.rows and self.request.rows
        }
        known = {table.place: said for table in self.catalogue.tables if (said := table.in_words())}
        more = {**({"statistics": known} if known else {}), **({"sample": rows} if rows else {})}
        return {"columns": tables, **more} if tables else None

    def _told(self) -> dict[str, Any] | None:
        """Return what a talk is about: the config at hand, and columns that are known."""
        data = {**({"config": self.request.base} if self.request.base is not None else {}), **(self._data() or {})}
        return data or None

    def _repair(self, candidate: Candidate, trace: list[Turn], *, live: bool) -> tuple[Candidate, list[Turn]]:
        """Return the best candidate after repair, and the turns it took."""
        if candidate.valid:
            return candidate, []
        from dataforge.authoring.repair import repair

        path = self.path or (self.catalogue.folder or get_settings().configs_folder) / "draft.json"
        done = repair(
            candidate.text,
            path=path,
            root=self.catalogue.folder or path.parent,
            gateway=self.gateway if trace else None,  # no further calls where the first did not get through
            check=text_checker(path, catalogue=self.catalogue, live=live),
            connections=self.catalogue.types,
            actor=self.request.actor,
            team=self.request.team,
            model=self.request.model,
            max_turns=max(0, self.request.max_turns - len(trace)),
            deadline_seconds=self.request.deadline_seconds,
            request_id=self.request.request_id,
            use_cache=self.request.use_cache,
            cancel=self.cancel,
        )
        return done.candidate, list(done.trace)


def answered(completion: Completion) -> Mapping[str, Any]:
    """Return the JSON of an answer; of one that was cut off, what of it is complete."""
    if isinstance(completion.value, Mapping):
        return completion.value
    from pydantic_core import from_json

    start = completion.text.find("{")
    try:
        found = from_json(completion.text[start:], allow_partial=True) if start >= 0 else {}
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _is_whole(grounds: Grounds) -> bool:
    """Return whether places to read and to write are told."""
    keys = {"table", "path", "endpoint", "query"}
    ends = (grounds.sources, grounds.destinations)
    told = all(found and all(end.type and keys & set(end.config) for end in found) for found in ends)
    return told and all("write_disposition" in end.config for end in grounds.destinations)


def _without_faulty(candidate: Candidate, check: Checker) -> tuple[Candidate, list[str]]:
    """Return a config without the steps, or columns of steps, that could not be mended, where it is valid so."""
    found, gone = candidate, list[str]()
    for _ in range(6):
        pointers = [finding.pointer for finding in found.errors]
        if not pointers:
            break
        if not all(pointer.startswith(("/transforms/", "/checks/")) for pointer in pointers):
            return candidate, []
        config: Any = dict(found.config)
        place = _faulty_place(config, pointers[0])
        gone.append(f"{place}: {diff.short(diff.get(config, place), 120)}")
        config = patch(config, [Operation("remove", place)])
        holder = place.rpartition("/")[0]
        if not diff.get(config, holder):
            above = holder if holder.count("/") == 1 else "/".join(holder.split("/")[:3])
            config = patch(config, [Operation("remove", above)])
        found = check(config)
    if not found.valid:
        return candidate, []
    return found, [f"left out, since it is wrong and could not be mended: {one}" for one in gone]


def _faulty_place(config: Config, pointer: str) -> str:
    """Return what to leave out for a finding: one column of several, else the whole step."""
    parts = pointer.split("/")
    one = "/".join(parts[:5])
    several = parts[3:4] == ["columns"] and len(parts) >= 5 and len(diff.get(config, "/".join(parts[:4])) or ()) > 1
    return one if several and diff.get(config, one) is not None else "/".join(parts[:3])


def _with_defaults(grounds: Grounds, text: str, keys: Sequence[str] = ()) -> tuple[Grounds, list[Assumption]]:
    """Fill what the request leaves open and a documented default decides."""
    assumed: list[Assumption] = []
    target = dict(grounds.destinations[0].config) if grounds.destinations else {}
    if len(grounds.destinations) > 1:
        return grounds, assumed
    if not ({"type", "connection", "path", "table"} & set(target)) and not _mentions_target(text):
        target = {"type": "duckdb", **target}
        assumed.append(
            Assumption("/destination/type", "duckdb", "no destination is named: the built-in DuckDB database")
        )
    elif "type" not in target and "table" in target and "connection" not in target and not _mentions_target(text):
        target = {"type": "duckdb", **target}
        assumed.append(Assumption("/destination/type", "duckdb", "no database is named: the built-in DuckDB database"))
    if target.get("type") in ("duckdb", "postgres", "sql") and "table" not in target and len(grounds.sources) == 1:
        name = constraints.source_names(grounds.sources)[0]
        if name != "source1":
            target["table"] = name
            assumed.append(Assumption("/destination/table", name, "no table is named: the source's name"))
    if (
        "write_disposition" not in target
        and keys
        and target.get("type") in (None, "duckdb", "postgres", "sql")
        and "path" not in target
    ):
        target |= {"write_disposition": "merge", "primary_key": keys}
        assumed.append(Assumption("/destination/write_disposition", "merge", "a key is named: known rows are updated"))
    one_file = "path" in target and not str(target["path"]).endswith("/")
    if "write_disposition" not in target and (one_file or not _LOOSE_WRITE.search(text)):
        cursor = any("cursor_field" in end.config for end in grounds.sources)
        folder = str(target.get("path", "")).endswith("/")
        value = "append" if (cursor or folder) and not one_file else "replace"
        target["write_disposition"] = value
        why = (
            "reads new records only: they are added"
            if value == "append"
            else "reads everything: a run replaces the last one's rows"
        )
        assumed.append(Assumption("/destination/write_disposition", value, f"not said; the pipeline {why}"))
    destinations = (End(target, grounds.destinations[0].places if grounds.destinations else {}),)
    return replace(grounds, destinations=destinations), assumed


def _mentions_target(text: str) -> bool:
    return (
        re.search(
            r"\b(?:warehouse|database|datenbank|postgres\w*|snowflake|mysql|bucket|s3|lake|dwh|excel|file|datei)\b",
            text,
            re.I,
        )
        is not None
    )


def _questions(
    grounds: Grounds, request: AuthorRequest, catalogue: Catalogue, candidate: Candidate | None, said: Grounds
) -> Iterator[Question]:
    """Yield what is open and no default can decide; `said` is what the request itself states."""
    known = tuple(catalogue.types)
    for role, ends in (("source", said.sources), ("destination", said.destinations)):
        for end in ends:
            name = end.config.get("connection")
            if catalogue.complete and name is not None and name not in catalogue.types:
                near = difflib.get_close_matches(str(name), known, n=3) or known
                yield Question(
                    f"There is no Airflow connection {name!r}. Which one is meant?", f"/{role}/connection", tuple(near)
                )
    if not any({"type", "connection", "path", "table"} & set(end.config) for end in said.destinations):
        yield Question(
            "Where should the rows go? Name a table with its connection, or a file; without an answer it is the "
            "built-in DuckDB database.",
            "/destination",
            known,
        )
    if not grounds.sources or not (
        {"path", "table", "endpoint", "query", "connection"} & set(grounds.sources[0].config)
    ):
        yield Question(
            "Where does the data come from? Name a table with its connection, a file, or an API.", "/source", known
        )
    elif any("table" in end.config and "connection" not in end.config for end in grounds.sources):
        yield Question("Which Airflow connection leads to the source table?", "/source/connection", known)
    target = grounds.destinations[0].config if grounds.destinations else {}
    if target.get("type") in ("postgres", "sql") and "connection" not in target:
        yield Question("Which Airflow connection leads to the destination?", "/destination/connection", known)
    if "schedule" not in grounds.top and mentions_time(request.text) and not of(extract(request.text), "schedule"):
        yield Question(
            "When exactly should it run? For example: daily at 6:00, every 15 minutes, or by hand.", "/schedule"
        )
    if target.get("write_disposition") == "merge" and not {"primary_key", "merge_key"} & set(target):
        yield Question(
            "Which column or columns tell the rows apart (the key of the merge)?", "/destination/primary_key"
        )
    if candidate is not None:
        for finding in candidate.errors:
            if finding.code == "missing-key" and finding.pointer in ("/source/table", "/destination/table"):
                read = "read" if finding.pointer.startswith("/source") else "written"
                yield Question(f"Which table is {read}?", finding.pointer)
            if finding.code == "unknown-connection":
                yield Question(f"{finding.message}. Which one is meant?", finding.pointer, finding.allowed)


def _said(config: Config, assumptions: Sequence[Assumption], questions: Sequence[Question]) -> str:
    """Return in words what was made, what was assumed, and what is open."""
    from dataforge.authoring.explain import in_words

    parts = [in_words(config)]
    if assumptions:
        parts.append(
            "Assumed: "
            + "; ".join(f"{one.pointer} = {diff.short(one.value, 60)} ({one.reason})" for one in assumptions)
        )
    if questions:
        parts.append("Open: " + " ".join(one.text for one in questions))
    return "\n".join(part for part in parts if part)


def _plan(grounds: Grounds) -> str:
    """Return the steps that the request names, without a model."""
    lines = [f"Read {diff.short(dict(end.config))}" for end in grounds.sources]
    lines += [
        f"{step.config['type']}: {diff.short({k: v for k, v in step.config.items() if k != 'type'})}"
        for step in grounds.steps
    ]
    lines += [f"Check {diff.short(dict(step.config))}" for step in grounds.checks]
    lines += [f"Write {diff.short(dict(end.config))}" for end in grounds.destinations]
    if "schedule" in grounds.top:
        lines.append(f"Run {grounds.top['schedule']}")
    return (
        "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
        or "Nothing could be read from the request."
    )


def _turn(kind: Any, completion: Completion, prompt: str, note: str) -> Turn:
    return Turn(
        kind, note, prompt, completion.prompt_hash, f"{completion.connection}/{completion.model}", completion.usage,
        cached=completion.cached,
    )  # fmt: skip


def _sum(trace: Iterable[Turn]) -> Usage:
    total = Usage()
    for turn in trace:
        total += turn.usage
    return total


def _first_each(assumptions: Iterable[Assumption]) -> list[Assumption]:
    found: dict[str, Assumption] = {}
    for one in assumptions:
        found.setdefault(one.pointer, one)
    return list(found.values())


def _grounds_of(config: Config, grounds: Grounds) -> dict[str, Extracted]:
    """Return the places of the request behind values of the config, by JSON pointer."""
    found = dict(grounds.places)
    if len(grounds.sources) == 1 and "source" in config:
        found |= {f"/source/{escape(key)}": one for key, one in grounds.sources[0].places.items()}
    elif "sources" in config:
        for name, end in zip(constraints.source_names(grounds.sources), grounds.sources, strict=True):
            found |= {f"/sources/{escape(name)}/{escape(key)}": one for key, one in end.places.items()}
    if len(grounds.destinations) == 1:
        found |= {f"/destination/{escape(key)}": one for key, one in grounds.destinations[0].places.items()}
    for kind, steps in (("transforms", grounds.steps), ("checks", grounds.checks)):
        placed = config.get(kind)
        for index, one in enumerate(placed if isinstance(placed, list | tuple) else ()):
            for step in steps:
                if diff.same(dict(step.config), one):
                    found[f"/{kind}/{index}"] = Extracted(one, "text", step.start, step.end, "step")
    return found


__all__ = ["answered", "author", "identifiers"]
