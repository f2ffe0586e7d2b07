"""What can be done with configs, as plain functions from texts to JSON; nothing here knows a protocol.

The MCP server offers them to assistants as they are; the web API's desk adds a person's permissions to them. Each of
them sees the configs folder alone. Connections are known by name and type, rows are shown only where the
deployment allows them to models, and whatever looks like a secret is withheld from every answer.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from dataforge.authoring.failures import Failure
from dataforge.config.files import FileResult, Loaded
from dataforge.config.findings import Finding, has_errors
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError
from dataforge.gateway.base import Cancel, Gateway, OnText
from dataforge.settings import get_settings

if TYPE_CHECKING:
    from dataforge.config.pipeline import PipelineConfig
    from dataforge.runtime.preview import StepPreview

Answer = dict[str, Any]
Tool = Callable[..., Answer]
File = Annotated[str, Field(description="Name of a config in the configs folder, such as 'orders.json'.")]
MaybeFile = Annotated[
    str, Field(description="Name of a config in the configs folder; it may be new when `text` is given.")
]
Text = Annotated[str, Field(description="The whole JSON text of a config; the file's own when not given.")]
DagId = Annotated[str, Field(description="Which pipeline, where the file describes several.")]
Pinned = Annotated[
    dict[str, Any] | None,
    Field(
        description="Values that must stand in the config, by key ('schedule') or JSON pointer ('/destination/table')."
    ),
]
Model = Annotated[str, Field(description="Model, or connection/model; DataForge's own choice when not given.")]
Reason = Annotated[str, Field(description="Why, in a sentence, for the history.")]
Base = Annotated[
    str, Field(description="`digest` that show_config gave for the file that is to be changed; empty for a new file.")
]


class Tools:
    """The tools of one server. `models` gives the gateway; without `write`, nothing that changes a file is offered.

    Keyword-only arguments are for the server and not for the assistant: `cancel` ends a call of a model, `on_text`
    takes its words as they come, `history` are earlier words of the conversation.
    """

    by = " (by an MCP client)"
    """What the history says besides the reason of a deploy."""

    def __init__(self, folder: Path, actor: str, models: Callable[[], Gateway | None], *, write: bool = False) -> None:
        self._folder = folder.resolve()
        self._actor = actor
        self._models = models
        self.write = write

    def reading(self) -> tuple[Tool, ...]:
        """Return the tools that change nothing."""
        return (
            self.list_pipelines, self.show_config, self.validate_config, self.list_components,
            self.describe_component, self.list_connections, self.author_config, self.refine_config,
            self.repair_config, self.explain, self.diff_configs, self.preview_pipeline, self.plan_run,
            self.config_history, self.list_models, self.model_usage,
        )  # fmt: skip

    def writing(self) -> tuple[Tool, ...]:
        """Return the tools that change files; they are offered only where that is allowed."""
        return self.deploy_config, self.rollback_config

    # ---- what is there ----------------------------------------------------------------------------------------------

    def list_pipelines(self) -> Answer:
        """List the pipelines of the configs folder: name, file, schedule, where from and where to, and whether it is
        valid. Files that are not valid are listed with their findings."""
        from dataforge.dag_factory.check import check_paths

        if not self._folder.is_dir():
            raise TerminalError("the configs folder is not there yet")
        checked = check_paths([self._folder], root=self._folder)
        valid = set(map(id, checked.valid))
        return {
            "pipelines": [
                {**self._brief(loaded), "valid": id(loaded) in valid}
                for file in checked.files
                for loaded in file.pipelines
            ],
            "findings": self._findings(one for one in checked.findings if one.severity != "info"),
        }

    def show_config(
        self,
        file: File,
        effective: Annotated[
            bool, Field(description="Also every value in force with the place it comes from.")
        ] = False,
    ) -> Answer:
        """Show a config: its text, its digest (which deploy_config wants as `base`), what each pipeline in it does and
        guarantees, and findings."""
        from dataforge.authoring.deploy import digest_of
        from dataforge.config.delivery import letter
        from dataforge.config.effective import explain
        from dataforge.dag_factory.docs import summary

        path = self._existing(file)
        result = self._read(path)
        return {
            "file": self._name(path),
            "text": path.read_text(encoding="utf-8", errors="replace"),
            "digest": digest_of(path),
            "pipelines": [
                {
                    "dag_id": loaded.config.dag_id,
                    "summary": summary(loaded.config),
                    "delivery": [str(one) for one in letter(loaded.config)],
                    **(
                        {"effective": [dict(zip(_EFFECTIVE, row, strict=True)) for row in explain(loaded)]}
                        if effective
                        else {}
                    ),
                }
                for loaded in result.pipelines
            ],
            "findings": self._findings(result.findings),
        }

    def list_components(
        self,
        kind: Annotated[
            Literal["", "source", "transform", "check", "destination"], Field(description="Only these.")
        ] = "",
    ) -> Answer:
        """List what configs are made of: sources, transforms, checks and destinations, each with its keys in short."""
        from dataforge.authoring.catalogue import components
        from dataforge.components.registry import KINDS

        return {
            "components": [
                {"kind": one.kind, "type": one.type, "summary": one.text, "keys": one.signature}
                for name in KINDS
                if kind in ("", name)
                for one in components(name)
            ]
        }

    def describe_component(
        self, type: Annotated[str, Field(description="Its type, such as 'csv', 'join' or 'postgres'.")]
    ) -> Answer:
        """Describe every key of a component: type, default, meaning and examples."""
        import difflib

        from dataforge.components.reference import describe
        from dataforge.components.registry import KINDS

        every = [(kind, component) for kind, (registry, _) in KINDS.items() for component in registry]
        found = [describe(kind, component) for kind, component in every if component.type == type]
        if not found:
            types = sorted({component.type for _, component in every})
            near = difflib.get_close_matches(type, types, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(types)}"
            raise ConfigError(Problem("unknown-component", f"there is no component {type!r}", (), hint))
        return {"components": found}

    def list_connections(self) -> Answer:
        """List the Airflow connections that configs may name, by id and type. Nothing else of them is told."""
        known = self._catalogue()
        return {
            "connections": [{"id": one.id, "type": one.type} for one in known.connections],
            "complete": known.complete,
            "notes": list(known.notes),
        }

    # ---- configs in words -------------------------------------------------------------------------------------------

    def validate_config(self, text: Text = "", file: MaybeFile = "") -> Answer:
        """Check a config, given as text or by its file: structure, names, columns, SQL, connections and the
        organisation's rules. Each finding has code, place, message and what would be right."""
        from dataforge.authoring.checks import check_text

        text, path = self._text(text, file)
        checked = check_text(text, catalogue=self._catalogue(), path=path)
        return {"valid": checked.valid, "findings": self._findings(checked.findings)}

    def author_config(
        self,
        request: Annotated[str, Field(description="What is wanted, in plain English or German.")],
        mode: Annotated[
            Literal["edit", "plan", "ask"],
            Field(description="edit: a config; plan: its steps in words; ask: an answer."),
        ] = "edit",
        params: Pinned = None,
        model: Model = "",
        *,
        history: tuple[str, ...] = (),
        on_text: OnText | None = None,
        cancel: Cancel | None = None,
    ) -> Answer:
        """Make a config from a request in plain words, checked and repaired. Nothing is written. Values that do not
        stand in the request come back as assumptions; what only a person can say, as questions."""
        from dataforge.authoring.author import author
        from dataforge.authoring.base import AuthorRequest
        from dataforge.authoring.generations import record_draft
        from dataforge.authoring.report import of_draft

        wish = AuthorRequest(
            _said(request), mode=mode, pinned=params or {}, actor=self._actor, model=model or None,
            folder=self._folder, history=history,
        )  # fmt: skip
        draft = author(wish, self._models(), catalogue=self._catalogue(), on_text=on_text, cancel=cancel)
        record_draft(draft, request, kind="author", actor=self._actor)
        return self._draft(of_draft(draft), draft.findings)

    def refine_config(
        self,
        request: Annotated[str, Field(description="What is to change, in plain English or German.")],
        file: MaybeFile = "",
        text: Text = "",
        params: Pinned = None,
        model: Model = "",
        *,
        mode: Literal["edit", "plan", "ask"] = "edit",
        history: tuple[str, ...] = (),
        on_text: OnText | None = None,
        cancel: Cancel | None = None,
    ) -> Answer:
        """Change a config as a request says; everything else of it stays as it is. Nothing is written."""
        from dataforge.authoring.author import author
        from dataforge.authoring.base import AuthorRequest
        from dataforge.authoring.generations import record_draft
        from dataforge.authoring.refine import refine
        from dataforge.authoring.report import of_draft

        text, path = self._text(text, file)
        wish = AuthorRequest(
            _said(request), mode=mode, pinned=params or {}, base=_object(text), actor=self._actor, model=model or None,
            folder=self._folder, history=history,
        )  # fmt: skip
        known = self._catalogue()
        if mode == "edit":
            draft = refine(wish, self._models(), text=text, catalogue=known, path=path, on_text=on_text, cancel=cancel)
        else:
            draft = author(wish, self._models(), catalogue=known, on_text=on_text, cancel=cancel)
        record_draft(draft, request, kind="refine", actor=self._actor)
        return self._draft(of_draft(draft), draft.findings)

    def repair_config(
        self,
        text: Text = "",
        file: MaybeFile = "",
        model: Model = "",
        turns: Annotated[int, Field(ge=0, le=10, description="Calls of a model at most; 0: none.")] = 5,
        *,
        failure: Failure | None = None,
        on_text: OnText | None = None,
        cancel: Cancel | None = None,
    ) -> Answer:
        """Repair a faulty config: by fixers that need no model first, then by a model. Nothing is written."""
        from dataforge.authoring.checks import text_checker
        from dataforge.authoring.generations import record_repair
        from dataforge.authoring.repair import repair
        from dataforge.authoring.report import of_repair

        text, path = self._text(text, file)
        known = self._catalogue()
        repaired = repair(
            text, path=path or self._folder / "config.json", root=self._folder,
            gateway=self._models() if turns else None,
            check=text_checker(path or self._folder / "config.json", catalogue=known), connections=known.types,
            actor=self._actor, model=model or None, max_turns=max(1, turns), failure=failure, on_text=on_text,
            cancel=cancel,
        )  # fmt: skip
        record_repair(repaired, f"repair {file or 'a text'}", actor=self._actor)
        told = of_repair(repaired)
        told["advice"] = self._findings(repaired.fixed.advice)
        return self._draft(told, repaired.candidate.findings)

    def explain(
        self,
        file: MaybeFile = "",
        text: Text = "",
        finding: Annotated[str, Field(description="Code of a finding to explain, in place of a config.")] = "",
    ) -> Answer:
        """Say in plain words what a config does, with the SQL that it becomes, or what a finding's code means."""
        from dataforge.authoring import explain as words

        if finding:
            return {"text": words.code_in_words(finding), "sql": ""}
        config = _object(self._text(text, file)[0])
        return {"text": words.in_words(config), "sql": words.compiled(config)}

    def reword(
        self,
        file: str = "",
        text: str = "",
        finding: str = "",
        model: str = "",
        language: str = "English",
        *,
        on_text: OnText | None = None,
        cancel: Cancel | None = None,
    ) -> Answer:
        """Say what `explain` says in the words of a model, where one answers."""
        from dataforge.authoring.explain import polish
        from dataforge.authoring.generations import record_explanation

        plain = self.explain(file, text, finding)
        told = polish(
            plain["text"], self._models(), sql=plain["sql"], language=language, model=model or None,
            actor=self._actor, on_text=on_text, cancel=cancel,
        )  # fmt: skip
        record_explanation(told, finding or file or "a text", actor=self._actor)
        return {"text": told.text, "plain": told.plain, "sql": told.sql, "model": told.model, "usage": vars(told.usage)}

    def diff_configs(
        self,
        file: Annotated[str, Field(description="The config as it is, in the configs folder; empty for none.")],
        text: Annotated[str, Field(description="The JSON text that it is compared with.")],
    ) -> Answer:
        """Show what a text would change of a config: as a unified diff, value by value, and in words."""
        from dataforge.authoring import diff
        from dataforge.authoring.explain import diff_in_words

        before = self._text("", file)[0] if file else ""
        changed = diff.changes(_object(before) if before else {}, _object(text))
        return {
            "diff": diff.text(before, text, file or "new.json"),
            "changes": [vars(one) for one in changed],
            "words": diff_in_words(changed),
        }

    # ---- what a run would do ----------------------------------------------------------------------------------------

    def preview_pipeline(
        self,
        file: File,
        dag_id: DagId = "",
        rows: Annotated[int, Field(ge=1, le=50, description="Sample rows of each step.")] = 5,
    ) -> Answer:
        """Read a sample of the sources of a config in the folder and tell what each step makes of it: columns, types,
        counts, broken checks. Rows are shown only where [dataforge] llm_sample_rows allows it. Nothing is written."""
        return self._preview(self._one(file, dag_id).config, rows, shown=get_settings().llm_sample_rows)

    def _preview(self, config: PipelineConfig, rows: int, *, shown: bool) -> Answer:
        from dataforge.authoring.catalogue import masked
        from dataforge.runtime.context import local
        from dataforge.runtime.preview import run

        found = run(config, local(config, {}), rows)
        hidden = self._hidden(config, found.steps)
        return {
            "steps": [
                {
                    "name": step.name,
                    "type": step.type,
                    "columns": dict(step.columns),
                    "row_count": step.row_count,
                    **{kind: list(names) for kind, names in step.changes().items()},
                    "rows": list(masked(step.rows, hidden)) if shown else [],
                }
                for step in found.steps
            ],
            "checks": [
                {"check": one.check, "passed": one.passed, "violations": one.violations, "checked": one.checked}
                for one in found.checks
            ],
            "notes": [] if shown else ["rows are not shown to assistants here ([dataforge] llm_sample_rows)"],
        }

    def _hidden(self, config: PipelineConfig, steps: Iterable[StepPreview]) -> set[str]:
        """Return the columns whose values stay hidden: private ones, and all that a step may have made of one."""
        from dataforge.authoring.catalogue import is_private
        from dataforge.authoring.policies import read_policies

        policies = read_policies(self._folder)
        places = [
            str(place)
            for name, source in config.inputs.items()
            for place in (name, *(getattr(source, key, None) for key in ("table", "path", "endpoint")))
            if place
        ]
        hidden: set[str] = set()
        for step in steps:
            made = step.added if hidden else ()
            private = (
                one for one in step.columns if is_private(one) or any(policies.masks(place, one) for place in places)
            )
            hidden |= {*private, *made}
        return hidden

    def plan_run(self, file: File, dag_id: DagId = "") -> Answer:
        """Tell what a run of a config in the folder would change now in its destinations: rows inserted, updated,
        deleted and rejected, and changes of the schema. Nothing is written."""
        return self._plan(self._one(file, dag_id).config)

    def _plan(self, config: PipelineConfig) -> Answer:
        from dataforge.runtime.context import local
        from dataforge.runtime.plan import run

        planned = run(config, local(config, {}))
        checks = [{key: value for key, value in one.items() if key != "examples"} for one in planned.checks]
        return {"read": dict(planned.read), "loads": [dict(one) for one in planned.loads], "checks": checks}

    # ---- history and models -----------------------------------------------------------------------------------------

    def config_history(
        self, file: File, limit: Annotated[int, Field(ge=1, le=200, description="Revisions at most.")] = 20
    ) -> Answer:
        """List the revisions of a config, the newest first: when, by whom, why, by which model."""
        from dataforge.authoring.deploy import history

        path = self._inside(file)
        found = history(path, root=self._folder, limit=limit)
        if not found and not path.is_file():
            self._existing(file)
        keys = ("id", "digest", "author", "reason", "model", "prompt_hash", "kind")
        return {
            "revisions": [
                {**{key: getattr(one, key) for key in keys}, "created_at": one.created_at.isoformat()} for one in found
            ]
        }

    def list_models(self) -> Answer:
        """List the language models that DataForge itself can ask, or why there is none."""
        gateway = self._models()
        found = gateway.models() if gateway else []
        return {
            "connections": [
                {
                    "connection": one.connection,
                    "provider": one.provider,
                    "models": [{"name": model.name, "tasks": list(model.tasks)} for model in one.models],
                    "error": one.error,
                }
                for one in found
            ]
        }

    def model_usage(self) -> Answer:
        """Tell what DataForge's language models used for this user: calls, tokens and cost by month, model and task."""
        gateway = self._models()
        found = gateway.usage(actor=self._actor) if gateway else []
        return {
            "usage": [
                {
                    "month": one.month, "model": one.model, "task": one.task, "calls": one.usage.calls,
                    "prompt_tokens": one.usage.prompt_tokens, "completion_tokens": one.usage.completion_tokens,
                    "seconds": one.usage.seconds, "cost": one.usage.cost,
                }
                for one in found
            ]
        }  # fmt: skip

    # ---- tools that write -------------------------------------------------------------------------------------------

    def deploy_config(self, file: MaybeFile, text: str, reason: Reason, base: Base = "") -> Answer:
        """Check a config and write it into the configs folder, where Airflow picks it up within seconds; recorded as a
        revision. Refused when it has errors, or when the file is not as `base` says."""
        from dataforge.authoring.deploy import deploy

        done = deploy(
            self._inside(file), text, base_revision=base, actor=self._actor, reason=f"{reason}{self.by}",
            root=self._folder,
        )  # fmt: skip
        return self._deployed(done)

    def rollback_config(
        self,
        file: File,
        reason: Reason,
        revision: Annotated[str, Field(description="Id that config_history gives; the one before when empty.")] = "",
    ) -> Answer:
        """Write an older revision of a config again, after all checks; recorded as a revision of its own."""
        from dataforge.authoring.deploy import rollback

        path = self._inside(file)
        done = rollback(path, revision or None, actor=self._actor, reason=f"{reason}{self.by}", root=self._folder)
        return self._deployed(done)

    # ---- files ------------------------------------------------------------------------------------------------------

    def _inside(self, file: str) -> Path:
        """Return the path of a name in the folder; ConfigError for one that leads, or would lead, out of it."""
        path = Path(os.path.normpath(self._folder / file))
        try:
            inside = path.resolve().is_relative_to(self._folder)
        except (OSError, RuntimeError, ValueError):
            inside = False
        if not file or Path(file).is_absolute() or not inside or not path.is_relative_to(self._folder):
            raise _misplaced(file, "name a file by its path in the configs folder")
        if path.suffix != ".json" or any(part.startswith(".") for part in path.relative_to(self._folder).parts):
            raise _misplaced(file, "configs are files whose names end in .json and do not begin with a dot")
        return path

    def _existing(self, file: str) -> Path:
        import difflib

        from dataforge.config.files import config_files

        path = self._inside(file)
        if path.is_file():
            return path
        names = [self._name(found) for found in config_files(self._folder)] if self._folder.is_dir() else []
        near = difflib.get_close_matches(file, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "list_pipelines tells which there are"
        raise ConfigError(Problem("no-such-file", f"there is no config {file!r}", (), hint))

    def _text(self, text: str, file: str) -> tuple[str, Path | None]:
        """Return the text that is meant, and the file that it is, or would be, in."""
        if text:
            return text, self._inside(file) if file else None
        if not file:
            raise _misplaced(file, "give the text of a config, or the name of its file")
        path = self._existing(file)
        return path.read_bytes().decode("utf-8", "replace"), path

    def _read(self, path: Path) -> FileResult:
        from dataforge.config.files import read_file

        return read_file(path, root=self._folder)

    def _one(self, file: str, dag_id: str) -> Loaded:
        return self._chosen(self._read(self._existing(file)), file, dag_id)

    def _chosen(self, result: FileResult, file: str, dag_id: str) -> Loaded:
        if has_errors(result.findings):
            errors = [one for one in result.findings if one.severity == "error"]
            raise ConfigError(Problem(one.code, one.message, (), one.suggestion, one.allowed) for one in errors)
        chosen = [loaded for loaded in result.pipelines if dag_id in ("", loaded.config.dag_id)]
        if len(chosen) != 1:
            names = ", ".join(loaded.config.dag_id for loaded in result.pipelines)
            raise ConfigError(Problem("which-pipeline", f"{file!r} needs a dag_id", (), f"one of: {names}"))
        return chosen[0]

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else path.name

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _catalogue(self) -> Any:
        from dataforge.authoring import catalogue

        return catalogue.read(self._folder)

    def _brief(self, loaded: Loaded) -> Answer:
        config = loaded.config
        return {
            "dag_id": config.dag_id,
            "file": self._name(loaded.file),
            "description": loaded.data.get("description", ""),
            "schedule": loaded.data.get("schedule"),
            "tags": loaded.data.get("tags", []),
            "sources": [source.type for source in config.inputs.values()],
            "destinations": [target.type for target in config.outputs],
        }

    def _findings(self, found: Iterable[Finding]) -> list[dict[str, Any]]:
        from dataforge.config.report import as_object

        return [{**as_object(one), "file": self._name(one.file)} for one in found]

    def _draft(self, told: Answer, findings: Iterable[Finding]) -> Answer:
        """Return a report without what only a page needs, and with names in place of paths."""
        kept = {key: value for key, value in told.items() if key not in ("extracted", "grounds", "examples", "trace")}
        turns = [{key: turn[key] for key in ("kind", "note", "model")} for turn in told["trace"]]
        return {**kept, "findings": self._findings(findings), "trace": turns}

    def _deployed(self, done: Any) -> Answer:
        return {
            "status": "deployed" if done.revision else "unchanged",
            "file": self._name(done.path),
            "digest": done.digest,
            "revision": done.revision.id if done.revision else None,
            "diff": done.diff,
            "notes": list(done.notes),
        }


_EFFECTIVE = ("pointer", "value", "origin")


def told(error: DataForgeError) -> str:
    """Return an error as an assistant reads it: each problem with its code, place and what would be right."""
    if not isinstance(error, ConfigError):
        return _safe(str(error))
    return _safe("\n".join(f"[{problem.code}] {problem}" for problem in error.problems) or str(error))


def answered(answer: Answer) -> Answer:
    """Return an answer as plain JSON, with whatever looks like a secret withheld."""
    from dataforge.gateway.redaction import Redaction

    plain = json.loads(json.dumps(answer, default=_plain), parse_constant=str)  # JSON has no NaN
    found: Answer = Redaction(personal=False).json(plain)
    return found


def _safe(text: str) -> str:
    from dataforge.gateway.redaction import Redaction

    return Redaction(personal=False).text(text)


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)


def _said(request: str) -> str:
    if not request.strip():
        raise ConfigError(Problem("empty-request", "the request is empty", (), "say what data should go where"))
    return request


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"the text is no JSON ({error})" if isinstance(error, ValueError) else "the text is nested too deeply"
        raise ConfigError(Problem("syntax-error", message, (), "repair_config can help")) from None
    if not isinstance(data, dict):
        raise ConfigError(Problem("wrong-type", "the text is no JSON object", (), 'write {"dag_id": …}'))
    return data


def _misplaced(file: str, hint: str) -> ConfigError:
    return ConfigError(Problem("invalid-path", f"{file[:300]!r} is no config of the configs folder", (), hint))
