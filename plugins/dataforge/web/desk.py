"""What one person may do with configs: the shared tools, each behind that person's permissions on the DAGs at hand.

Every file and every text passes through `_existing`, `_text` or `_edit`, which look up the DAGs that it makes.
"""

from __future__ import annotations

import atexit
import dataclasses
import gc
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import Request

from dataforge.authoring import listing
from dataforge.authoring.tools import Answer, Tools, answered
from dataforge.components.delivery import DeadLetter
from dataforge.components.paths import UPLOAD
from dataforge.config.files import Loaded, read_text
from dataforge.config.findings import Finding, has_errors
from dataforge.errors import ConfigError, Problem
from dataforge.gateway.redaction import Redaction
from dataforge.settings import get_settings
from dataforge.store.database import open_store
from dataforge.web import observed
from dataforge.web.access import SAFE, Asker, Method, Person
from dataforge.web.problems import Refused

if TYPE_CHECKING:
    from dataforge.dag_factory.check import Checked
    from dataforge.store.approvals import Approval

Ids = frozenset[str | None]
"""DAG ids; None stands for one that can't be known, which only those have rights on who have them on all DAGs."""


_IDS: dict[bytes, Ids] = {}
"""The DAGs of texts by digest: reading a config to find them is most of what a look at it takes."""
_MOST_IDS = 5_000


@dataclass
class _Told:
    """What does not depend on who asks, of the configs of a folder as they were read once.

    `loaded` are the pipelines by DAG id, `names` their files, and `together` the DAGs of the same file; `lines` are
    those of the list, `whole` pipelines as their pages show them, `files` configs by name, and `lists` the lists made
    of `seen`, by what of it a person may know.
    """

    checked: Checked
    loaded: dict[str, Loaded]
    names: dict[str, str]
    together: dict[str, tuple[str, ...]]
    by_file: dict[Path, list[Finding]]
    broken: frozenset[Path]
    lines: list[Answer]
    whole: dict[str, Answer] = field(default_factory=dict)
    files: dict[str, Answer] = field(default_factory=dict)
    seen: Mapping[str, observed.Glance] = field(default_factory=dict)
    lists: dict[tuple[frozenset[Any], ...], Answer] = field(default_factory=dict)


_TOLD: dict[Path, _Told] = {}
_MOST_LISTS = 100
_TRACED: dict[tuple[str, str], list[Answer]] = {}
_MOST_TRACED = 200
"""Lineages that are kept, by the config that they are of: each costs a look at the sources."""


class Desk(Tools):
    """The tools of one person; `need` is what they must be allowed on each DAG that a request is about."""

    by = ""

    def __init__(self, folder: Path, asker: Person, need: Method, models: Any) -> None:
        super().__init__(folder, asker.name, models, write=True)
        self.asker = asker
        self._need = need

    # ---- what is there ----------------------------------------------------------------------------------------------

    def pipelines(self) -> Answer:
        """List the pipelines that this person may read, with what Airflow knows of them and what they may do with each,
        and the findings of files that give none. People with equal rights get the same object until something changed.
        """
        told = self._told()
        seen = observed.glances(told.names)
        if told.seen is not seen:
            told.seen, told.lists = seen, {}
        readable = self.asker.allowed("GET", told.names)
        invalid = {
            file.path
            for file in told.checked.files
            if not file.pipelines and file.path in told.broken and self._may("GET", self._ids_of(file.path))
        }
        knows = frozenset(dag_id for dag_id in readable if self.asker.may("GET", dag_id, "RUN"))
        may = self.asker.may
        edits = frozenset(one for one in readable if all(may("PUT", other) for other in told.together[one]))
        runs = frozenset(filter(self._may_run, readable))
        mends = frozenset(path for path in invalid if self._may("PUT", self._ids_of(path)))
        key = (frozenset(readable), knows, edits, runs, frozenset(invalid), mends)
        lists = told.lists
        if key not in lists:
            if len(lists) >= _MOST_LISTS:
                lists.clear()
            lists[key] = self._list(told, *key)
        return lists[key]

    def _list(self, told: _Told, readable: Any, knows: Any, edits: Any, runs: Any, invalid: Any, mends: Any) -> Answer:
        shown = [one for one in told.lines if one["dag_id"] in readable]
        now = [told.seen[one["dag_id"]].told(with_runs=one["dag_id"] in knows) for one in shown]
        listed = [
            {**one, **more, "may_edit": one["dag_id"] in edits, "may_run": one["dag_id"] in runs}
            for one, more in zip(shown, answered({"all": now})["all"], strict=True)
        ]
        broken = [
            {
                "file": self._name(path),
                "valid": False,
                "may_edit": path in mends,
                "findings": self._findings(told.by_file.get(path, ())),
            }
            for path in sorted(invalid)
        ]
        return {"pipelines": listed, "invalid": answered({"files": broken})["files"]}

    def _told(self) -> _Told:
        checked = listing.read(self._folder)
        kept = _TOLD.get(self._folder)
        if kept is None or kept.checked is not checked:
            by_file: dict[Path, list[Finding]] = {}
            for one in checked.findings:
                by_file.setdefault(one.file, []).append(one)
            broken = frozenset(path for path, found in by_file.items() if has_errors(found))
            loaded = [(file, one) for file in checked.files for one in file.pipelines]
            whole = [
                {
                    **self._listed(one),
                    "valid": file.path not in broken,
                    "findings": self._findings(by_file.get(file.path, ())),
                }
                for file, one in loaded
            ]
            known = {one.config.dag_id: one for _, one in reversed(loaded)}
            names = {dag_id: self._name(one.file) for dag_id, one in known.items()}
            together = {
                one.config.dag_id: tuple(other.config.dag_id for other in file.pipelines)
                for file, one in reversed(loaded)
            }
            lines = answered({"all": whole})["all"]
            kept = _TOLD[self._folder] = _Told(checked, known, names, together, by_file, broken, lines)
            set_aside()
        return kept

    def may_change(self, dag_id: str) -> bool:
        """Return whether this person may change the file of a pipeline, with all that stands in it."""
        return all(self.asker.may("PUT", one) for one in self._told().together.get(dag_id, (None,)))

    def _may_run(self, dag_id: str) -> bool:
        return self.asker.may("PUT", dag_id) and self.asker.may("POST", dag_id, "RUN")

    def pipeline(self, dag_id: str) -> Loaded:
        """Return a pipeline of the folder; Refused (403) without the right to it, ConfigError when there is none."""
        if not self.asker.may(self._need, dag_id):
            raise _forbidden(self._need, [dag_id])
        if (loaded := self._told().loaded.get(dag_id)) is None:
            raise ConfigError(Problem("unknown-pipeline", f"there is no pipeline {dag_id!r}"))
        return loaded

    def told(self, loaded: Loaded) -> Answer:
        """Return what a pipeline does and guarantees, with its file, that file's findings, and what this person may do
        with it."""
        told, dag_id = self._told(), loaded.config.dag_id
        whole = told.whole.get(dag_id) or self._in_full(loaded, told)
        if told.loaded.get(dag_id) is loaded:  # else the folder has changed since
            told.whole[dag_id] = whole
        return {**whole, "may_edit": self.may_change(dag_id), "may_run": self._may_run(dag_id)}

    def _in_full(self, loaded: Loaded, told: _Told) -> Answer:
        from dataforge.authoring.deploy import digest_of
        from dataforge.authoring.explain import in_words
        from dataforge.dag_factory.docs import summary

        found = told.by_file.get(loaded.file, ())
        return answered(
            {
                **self._listed(loaded),
                "valid": not has_errors(found),
                "findings": self._findings(found),
                "digest": digest_of(loaded.file),
                "config": loaded.data,
                "summary": summary(loaded.config),
                "words": in_words(loaded.data),
            }
        )

    def status(self, loaded: Loaded, digest: str) -> Answer:
        """Tell what Airflow has made of a pipeline, and whether that is what the file of that digest says."""
        from dataforge.authoring.deploy import digest_of
        from dataforge.dag_factory.docs import fenced

        found = observed.status(loaded.config.dag_id, self._name(loaded.file))
        # the DAG's documentation shows the config that it was made from, whatever the file is called or holds besides
        same = fenced(json.dumps(loaded.data, indent=2), "json") in found.docs
        return answered(
            {
                "parsed": found.glance.parsed,
                "current": found.glance.parsed and same and digest in ("", digest_of(loaded.file)),
                "import_error": found.glance.import_error,
                "paused": found.glance.paused,
                "version": found.version,
            }
        )

    def config(self, file: str) -> Answer:
        """Return a config's text as it stands, its digest and findings; a text that holds a secret without it."""
        from dataforge.authoring.deploy import digest_of

        path = self._existing(file)
        told, digest = self._told(), digest_of(path)
        name = self._name(path)
        kept = told.files.get(name)
        if kept is None or kept["digest"] != digest:
            result = self._read(path)
            kept = told.files[name] = self._fit(
                {
                    "file": name,
                    "text": path.read_bytes().decode("utf-8", "replace"),
                    "digest": digest,
                    "dag_ids": [one.config.dag_id for one in result.pipelines],
                    "findings": self._findings(result.findings),
                }
            )
        return {**kept, "may_edit": all(self.asker.may("PUT", one) for one in self._ids_of(path))}

    # ---- texts that may be new --------------------------------------------------------------------------------------

    def check(self, text: str, file: str) -> Answer:
        """Check a text as deploy does, and tell which pipelines it makes."""
        with self.lent(text):
            found = answered(self.validate_config(text, file))
        path = self._inside(file) if file else None
        ids = self._ids(text, path) if text or path is None else self._ids_of(path)
        return {**found, "dag_ids": sorted(filter(None, ids))}

    def compare(self, file: str, text: str) -> Answer:
        """Show what a text would change of a config."""
        self._text(text, file)
        return answered(self.diff_configs(file, text))

    def opened(self, text: str, file: str) -> None:
        """Refuse a config that this person may not work with."""
        self._text(text, file)

    def may_edit(self, file: str) -> None:
        """Refuse a file whose DAGs this person may not edit."""
        self._must(self._ids_of(self._inside(file)))

    def without_secret(self, text: str) -> str:
        """Return a text as it may be kept: as it is to the byte, unless it holds a secret."""
        found = read_text(text, path=self._folder / "new.json", root=self._folder)
        if any(one.code == "secret-in-config" for one in found.findings) or not _loose(text):
            return Redaction(personal=False).text(text)
        return text

    def lent(self, text: str) -> AbstractContextManager[None]:
        """Let this person's uploads that a draft names be read within the block."""
        from dataforge.authoring.uploads import lent

        return lent(open_store(), self.asker.name, text) if UPLOAD in text else nullcontext()

    def preview(self, text: str, file: str, dag_id: str, rows: int) -> Answer:
        """Return sample rows of each step, private columns masked."""
        with self.lent(text):
            return answered(self._preview(self._sound(text, file, dag_id).config, rows, shown=True))

    def plan(self, text: str, file: str, dag_id: str) -> Answer:
        """Return what a run would change."""
        with self.lent(text):
            return answered(self._plan(self._sound(text, file, dag_id).config))

    def _sound(self, text: str, file: str, dag_id: str) -> Loaded:
        """Return a pipeline that all checks let pass, the organisation's rules too: it is about to be run."""
        from dataforge.authoring.checks import check_text

        text, path = self._text(text, file)
        checked = check_text(text, catalogue=self._catalogue(), path=path)
        result = read_text(text, path=path or self._folder / "new.json", root=self._folder)
        return self._chosen(dataclasses.replace(result, findings=checked.findings), file or "the text", dag_id)

    def words(self, text: str, file: str) -> Answer:
        """Say in plain words, without a model, what a text does, with the SQL that it becomes."""
        self._text(text, file)
        with self.lent(text):
            return answered(self.explain(file, text))

    def effective(self, text: str, file: str, dag_id: str) -> Answer:
        """Return every value in force with the place that it comes from."""
        from dataforge.config.effective import explain

        with self.lent(text):
            rows = explain(self._sound(text, file, dag_id))
        return answered({"values": [{"pointer": one, "value": value, "origin": place} for one, value, place in rows]})

    def watch(self) -> list[Answer]:
        """Return a list to which each call of a model from now on is added, as it leaves this machine."""
        from dataforge.web.witness import Witness

        calls: list[Answer] = []
        models = self._models

        def watched() -> Witness | None:
            gateway = models()
            return Witness(gateway, calls) if gateway else None

        self._models = watched
        return calls

    def lineage(self, loaded: Loaded) -> Answer:
        """Return from which columns of the sources each column of the result is made, and which steps change it."""
        from dataforge.runtime.context import local
        from dataforge.runtime.lineage import run

        key = (loaded.config.dag_id, hashlib.sha256(json.dumps(loaded.data, sort_keys=True).encode()).hexdigest())
        if key not in _TRACED:
            traced = run(loaded.config, local(loaded.config, {}))
            while len(_TRACED) >= _MOST_TRACED:
                _TRACED.pop(next(iter(_TRACED)), None)
            _TRACED[key] = [
                {
                    "column": one.column, "type": one.type, "steps": list(one.steps),
                    "from": [{"source": source, "column": column} for source, column in one.origins],
                }
                for one in traced
            ]  # fmt: skip
        return answered({"columns": _TRACED[key]})

    def hides(self, loaded: Loaded, letter: DeadLetter) -> frozenset[str]:
        """Return the columns of a dead letter whose values stay hidden, in lower case."""
        from dataforge.runtime.preview import StepPreview

        fields = _loose(letter.reject.record)
        columns = dict.fromkeys([*fields, letter.reject.column], "")
        record = StepPreview(letter.reject.source, "record", columns, (), 0)
        return frozenset(name.lower() for name in self._hidden(loaded.config, [record]))

    def failed_run(self, dag_id: str, run_id: str) -> Loaded:
        """Return the pipeline of a failed run; Refused where its logs may not be read, or nothing of it failed."""
        loaded = self.pipeline(dag_id)
        if not self.asker.may("GET", dag_id, "TASK_LOGS"):
            raise Refused(403, "forbidden", f"this needs the permission to read the logs of the DAG {dag_id!r}")
        if not observed.has_failed(dag_id, run_id):
            raise Refused(404, "not-found", "there is no such run with a failed task")
        return loaded

    def file_of(self, dag_id: str) -> str:
        """Return the name of the config that makes a pipeline."""
        return self._name(self.pipeline(dag_id).file)

    def repair_run(self, dag_id: str, run_id: str, model: str, turns: int, **more: Any) -> Answer:
        """Propose how to change a config so that its failed run goes on, from what the masked log says."""
        from dataforge.authoring.failures import read_failure

        loaded = self.failed_run(dag_id, run_id)
        failure = read_failure(observed.failed_log(dag_id, run_id), loaded.file)
        return self.repair_config("", self._name(loaded.file), model, turns, failure=failure, **more)

    def reword(self, *given: Any, **more: Any) -> Answer:
        """Say in words what a config does."""
        return answered(super().reword(*given, **more))

    # ---- revisions --------------------------------------------------------------------------------------------------

    def history(self, file: str, limit: int) -> Answer:
        """List the revisions of a file."""
        self._must(self._ids_of(self._inside(file)) | self._ids_of_newest(file))
        return answered(self.config_history(file, limit))

    def revision(self, file: str, revision: str) -> Answer:
        """Return one revision with its text and how it differs from the file as it is now."""
        from dataforge.authoring import diff, explain
        from dataforge.authoring.deploy import digest_of, older

        path = self._inside(file)
        found = older(path, revision, root=self._folder)
        self._must(self._ids_of(path) | self._ids(found.text or "", path))
        now = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        changed = diff.changes(_loose(now), _loose(found.text or ""))
        return self._fit(
            {
                "id": found.id, "digest": found.digest, "author": found.author, "reason": found.reason,
                "model": found.model, "kind": found.kind, "created_at": found.created_at.isoformat(),
                "text": found.text, "current": digest_of(path), "diff": diff.text(now, found.text or "", file),
                "changes": [vars(one) for one in diff.without_secrets(changed)],
                "words": explain.diff_in_words(diff.without_secrets(changed)),
                "findings": self._findings(read_text(found.text or "", path=path, root=self._folder).findings),
            }
        )  # fmt: skip

    def deploy(self, file: str, text: str, reason: str, base: str) -> Answer:
        """Write a config, or let it wait for a second person."""
        self._edit(file, text)
        reason = Redaction(personal=False).text(reason)
        if get_settings().deploy_approval:
            return self._asked(file, text, reason, base, "deploy")
        return answered(self.deploy_config(file, text, reason, base))

    def rollback(self, file: str, revision: str, reason: str, base: str) -> Answer:
        """Write an older revision again."""
        from dataforge.authoring.deploy import older
        from dataforge.authoring.deploy import rollback as back

        path = self._inside(file)
        self._must(self._ids_of(path))
        found = older(path, revision or None, root=self._folder)
        self._edit(file, found.text or "")
        reason = Redaction(personal=False).text(reason)
        if get_settings().deploy_approval and found.text is not None:
            return self._asked(file, found.text, reason or f"back to revision {found.id}", base, "rollback")
        done = back(path, str(found.id), actor=self._actor, reason=reason, base_revision=base, root=self._folder)
        return answered(self._deployed(done))

    def _asked(self, file: str, text: str, reason: str, base: str, kind: Literal["deploy", "rollback"]) -> Answer:
        from dataforge.authoring.deploy import Awaiting, ask

        path = self._inside(file)
        done = ask(path, text, base_revision=base, actor=self._actor, reason=reason, kind=kind, root=self._folder)
        if isinstance(done, Awaiting):
            return answered({"approval": self._approval(done.approval)})
        return answered(self._deployed(done))

    def approvals(self, state: Any) -> list[Answer]:
        """List what waits, or waited, for a second person, of what this person may edit or asked for."""
        from dataforge.store import approvals

        return [self._approval(one) for one in approvals.of(open_store(), state=state) if self._concerns(one)]

    def approval(self, id_: str) -> Answer:
        """Return one with its text, and how that differs from the file as it is now; Refused (404) for others'."""
        from dataforge.authoring import diff, explain

        found = self._approval_of(id_)
        path = Path(found.file)
        now = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        changed = diff.without_secrets(diff.changes(_loose(now), _loose(found.text)))
        return self._fit(
            {
                **self._approval(found), "text": found.text, "diff": diff.text(now, found.text, self._name(path)),
                "changes": [vars(one) for one in changed], "words": explain.diff_in_words(changed),
                "findings": self._findings(read_text(found.text, path=path, root=self._folder).findings),
            }
        )  # fmt: skip

    def decide(self, id_: str, comment: str, *, approve: bool) -> Answer:
        """Carry out what waited, or let it come to nothing."""
        from dataforge.authoring import deploy
        from dataforge.store import approvals

        found = self._approval_of(id_)
        comment = Redaction(personal=False).text(comment)
        if approve or found.actor != self._actor:
            self._must(self._approval_ids(found))
        if not approve:
            if not approvals.refuse(open_store(), found, self._actor, comment):
                raise deploy.AlreadyDecided("somebody has decided about this deploy already")
            return answered({"approval": self._approval(self._approval_of(id_)), "deployed": None})
        if found.state != "pending":
            raise deploy.AlreadyDecided("somebody has decided about this deploy already")
        done = self._deployed(deploy.approve(found, self._actor, comment))
        return answered({"approval": self._approval(self._approval_of(id_)), "deployed": done})

    def _approval_of(self, id_: str) -> Approval:
        from dataforge.store import approvals

        found = approvals.get(open_store(), id_)
        if found is None or not self._concerns(found):
            raise Refused(404, "not-found", "there is no such deploy that waits")
        return found

    def _concerns(self, one: Approval) -> bool:
        if not Path(one.file).is_relative_to(self._folder):
            return False
        return one.actor == self._actor or self._may("PUT", self._approval_ids(one))

    def _approval_ids(self, one: Approval) -> Ids:
        path = Path(one.file)
        return self._ids_of(path) | self._ids(one.text, path)

    def _approval(self, one: Approval) -> Answer:
        return {
            "id": one.id, "file": self._name(Path(one.file)), "kind": one.kind, "actor": one.actor,
            "reason": one.reason, "state": one.state, "digest": one.digest, "base": one.base, "decider": one.decider,
            "comment": one.comment, "mine": one.actor == self._actor, "created_at": one.created_at.isoformat(),
            "decided_at": one.decided_at.isoformat() if one.decided_at else None,
        }  # fmt: skip

    # ---- permissions ------------------------------------------------------------------------------------------------

    def _existing(self, file: str) -> Path:
        path = self._inside(file)
        self._must(self._ids_of(path))  # first: whoever may not read a config isn't told either whether it is there
        if not path.is_file():
            raise ConfigError(Problem("no-such-file", f"there is no config {file!r}"))
        return path

    def _text(self, text: str, file: str) -> tuple[str, Path | None]:
        if text:
            self._must(self._ids(text, self._inside(file) if file else None))
        return super()._text(text, file)

    def _edit(self, file: str, text: str) -> None:
        path = self._inside(file)
        self._must(self._ids_of(path) | self._ids(text, path))

    def _must(self, ids: Ids) -> None:
        refused = [one for one in ids if not self.asker.may(self._need, one)]
        if refused:
            raise _forbidden(self._need, refused)

    def _may(self, method: Method, ids: Ids) -> bool:
        return all(self.asker.may(method, one) for one in ids)

    def _ids_of(self, path: Path) -> Ids:
        """Return the DAGs that a file makes; that of a new file, whatever it will be."""
        try:
            return self._ids(path.read_bytes().decode("utf-8", "replace"), path)
        except OSError:
            return frozenset({None})

    def _ids_of_newest(self, file: str) -> Ids:
        from dataforge.store import revisions

        path = self._inside(file)
        found = revisions.history(open_store(), f"{self._folder}/{self._name(path)}", 1)
        return self._ids(found[0].text or "", path) if found and not path.is_file() else frozenset()

    def _ids(self, text: str, path: Path | None) -> Ids:
        place = path or self._folder / "new.json"
        key = hashlib.sha256(f"{place}\0{text}".encode("utf-8", "surrogatepass")).digest()
        if (kept := _IDS.get(key)) is not None:
            return kept
        found = _ids_in(text, place, self._folder)
        if None not in found:  # else it may be due to a broken defaults.json
            if len(_IDS) >= _MOST_IDS:
                _IDS.clear()
            _IDS[key] = found
        return found

    def _catalogue(self) -> Any:
        """Return what models are told of the folder: no config that this person may not read."""
        found = super()._catalogue()
        readable = self.asker.allowed("GET", found.dag_ids)
        configs = tuple(one for one in found.configs if one.get("dag_id") in readable)
        return dataclasses.replace(found, configs=configs)

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _listed(self, loaded: Loaded) -> Answer:
        from dataforge.config.delivery import letter

        config = loaded.config
        return {
            **self._brief(loaded),
            "owner": config.owner or config.default_args.owner or "",
            "delivery": [one.to_json() for one in letter(config)],
        }

    def _draft(self, told: Answer, findings: Iterable[Finding]) -> Answer:
        """Return a report whole, as the page shows it, with names in place of paths."""
        return self._fit({**self._named(told), "findings": self._findings(findings)})

    def _named(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                key: Path(part).name if key == "file" and isinstance(part, str) else self._named(part)
                for key, part in value.items()
            }
        return [self._named(part) for part in value] if isinstance(value, list | tuple) else value

    def _fit(self, told: Answer) -> Answer:
        """Return an answer without secrets; the text of a config stays as it is to the byte, unless it holds one."""
        found = answered(told)
        if all(one["code"] != "secret-in-config" for one in found.get("findings", ())):
            found |= {
                key: json.loads(json.dumps(told[key], default=str), parse_constant=str)
                for key in ("text", "config")
                if key in told
            }
        return found


@cache
def set_aside() -> None:
    """Let the garbage collector leave alone what is there now, once: modules and what they keep.

    It looks through all that lives again and again, and all answers, Airflow's too, wait for it: half a second each
    time in a server of Airflow's size.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries look at the end for what they left behind


async def desk(request: Request, asker: Asker) -> Desk:
    """Return the desk for a request; nothing is read for it, so that it takes no thread."""
    need: Method = "GET" if request.method in SAFE else "PUT"
    from dataforge.settings import get_settings

    return Desk(get_settings().configs_folder, asker, need, request.app.state.models)


def _forbidden(need: Method, dag_ids: Iterable[str | None]) -> Refused:
    what = "read" if need == "GET" else "edit"
    named = sorted(one for one in dag_ids if one)
    which = f"the DAG {named[0]!r}" if named else "all DAGs"
    return Refused(403, "forbidden", f"this needs the permission to {what} {which}")


def _loose(text: str) -> dict[str, Any]:
    """Return the object that a text holds; an empty one of a text that holds none."""
    with suppress(ValueError, RecursionError):
        data = json.loads(text)
        if isinstance(data, dict):
            return data
    return {}


def _ids_in(text: str, path: Path, root: Path) -> Ids:
    result = read_text(text, path=path, root=root)
    known = {one.config.dag_id for one in result.pipelines}
    if known:
        return frozenset(known)
    named = _loose(text).get("dag_id")
    return frozenset({named if isinstance(named, str) and named and "$" not in named else None})
