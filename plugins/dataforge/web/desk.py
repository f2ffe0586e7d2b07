"""What one person may do with configs: the shared tools, each behind that person's permissions on the DAGs at hand.

Every file and every text passes through `_existing`, `_text` or `_edit`, which look up the DAGs that it makes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import Request

from dataforge.authoring import listing
from dataforge.authoring.tools import Answer, Tools, answered
from dataforge.config.files import Loaded, read_text
from dataforge.config.findings import Finding, has_errors
from dataforge.errors import ConfigError, Problem
from dataforge.web.access import SAFE, Asker, Method, Person
from dataforge.web.problems import Refused

Ids = frozenset[str | None]
"""DAG ids; None stands for one that can't be known, which only those have rights on who have them on all DAGs."""


class Desk(Tools):
    """The tools of one person; `need` is what they must be allowed on each DAG that a request is about."""

    by = ""

    def __init__(self, folder: Path, asker: Person, need: Method, models: Any) -> None:
        super().__init__(folder, asker.name, models, write=True)
        self.asker = asker
        self._need = need

    # ---- what is there ----------------------------------------------------------------------------------------------

    def pipelines(self) -> Answer:
        """List the pipelines that this person may read, and the findings of files that give none."""
        checked = listing.read(self._folder)
        by_file: dict[Path, list[Finding]] = {}
        for one in checked.findings:
            by_file.setdefault(one.file, []).append(one)
        broken = {path for path, found in by_file.items() if has_errors(found)}
        readable = self.asker.allowed("GET", (one.config.dag_id for file in checked.files for one in file.pipelines))
        listed = [
            {
                **self._listed(loaded),
                "valid": file.path not in broken,
                "findings": self._findings(by_file.get(file.path, ())),
            }
            for file in checked.files
            for loaded in file.pipelines
            if loaded.config.dag_id in readable
        ]
        invalid = [
            {"file": self._name(file.path), "valid": False, "findings": self._findings(by_file.get(file.path, ()))}
            for file in checked.files
            if not file.pipelines and file.path in broken and self._may("GET", self._ids_of(file.path))
        ]
        return answered({"pipelines": listed, "invalid": invalid})

    def pipeline(self, dag_id: str) -> Loaded:
        """Return a pipeline of the folder; Refused (403) without the right to it, ConfigError when there is none."""
        if not self.asker.may(self._need, dag_id):
            raise _forbidden(self._need, [dag_id])
        for file in listing.read(self._folder).files:
            for loaded in file.pipelines:
                if loaded.config.dag_id == dag_id:
                    return loaded
        raise ConfigError(Problem("unknown-pipeline", f"there is no pipeline {dag_id!r}"))

    def told(self, loaded: Loaded) -> Answer:
        """Return what a pipeline does and guarantees, with its file and that file's findings."""
        from dataforge.authoring.deploy import digest_of
        from dataforge.authoring.explain import in_words
        from dataforge.dag_factory.docs import summary

        found = [one for one in listing.read(self._folder).findings if one.file == loaded.file]
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

    def config(self, file: str) -> Answer:
        """Return a config's text as it stands, its digest and findings; a text that holds a secret without it."""
        path = self._existing(file)
        from dataforge.authoring.deploy import digest_of

        text = path.read_bytes().decode("utf-8", "replace")
        result = self._read(path)
        return self._fit(
            {
                "file": self._name(path),
                "text": text,
                "digest": digest_of(path),
                "dag_ids": [one.config.dag_id for one in result.pipelines],
                "findings": self._findings(result.findings),
            }
        )

    # ---- texts that may be new --------------------------------------------------------------------------------------

    def check(self, text: str, file: str) -> Answer:
        """Check a text as deploy does."""
        return answered(self.validate_config(text, file))

    def compare(self, file: str, text: str) -> Answer:
        """Show what a text would change of a config."""
        self._text(text, file)
        return answered(self.diff_configs(file, text))

    def opened(self, text: str, file: str) -> None:
        """Refuse a config that this person may not work with."""
        self._text(text, file)

    def preview(self, text: str, file: str, dag_id: str, rows: int) -> Answer:
        """Return sample rows of each step, private columns masked."""
        return answered(self._preview(self._sound(text, file, dag_id).config, rows, shown=True))

    def plan(self, text: str, file: str, dag_id: str) -> Answer:
        """Return what a run would change."""
        return answered(self._plan(self._sound(text, file, dag_id).config))

    def _sound(self, text: str, file: str, dag_id: str) -> Loaded:
        """Return a pipeline that all checks let pass, the organisation's rules too: it is about to be run."""
        from dataforge.authoring.checks import check_text

        text, path = self._text(text, file)
        checked = check_text(text, catalogue=self._catalogue(), path=path)
        result = read_text(text, path=path or self._folder / "new.json", root=self._folder)
        return self._chosen(dataclasses.replace(result, findings=checked.findings), file or "the text", dag_id)

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
        """Write a config."""
        self._edit(file, text)
        return answered(self.deploy_config(file, text, reason, base))

    def rollback(self, file: str, revision: str, reason: str, base: str) -> Answer:
        """Write an older revision again."""
        from dataforge.authoring.deploy import older
        from dataforge.authoring.deploy import rollback as back

        path = self._inside(file)
        self._must(self._ids_of(path))
        found = older(path, revision or None, root=self._folder)
        self._edit(file, found.text or "")
        done = back(path, str(found.id), actor=self._actor, reason=reason, base_revision=base, root=self._folder)
        return answered(self._deployed(done))

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
        from dataforge.store.database import open_store

        path = self._inside(file)
        found = revisions.history(open_store(), f"{self._folder}/{self._name(path)}", 1)
        return self._ids(found[0].text or "", path) if found and not path.is_file() else frozenset()

    def _ids(self, text: str, path: Path | None) -> Ids:
        result = read_text(text, path=path or self._folder / "new.json", root=self._folder)
        known = {one.config.dag_id for one in result.pipelines}
        if known:
            return frozenset(known)
        named = _loose(text).get("dag_id")
        return frozenset({named if isinstance(named, str) and named and "$" not in named else None})

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


def desk(request: Request, asker: Asker) -> Desk:
    """Return the desk for a request."""
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
