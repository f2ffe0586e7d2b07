"""`author`, `refine`, `explain`, `chat`, `models` and `usage`: configs in plain words."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.cli.deploying import _actor, _ask, _file_of
from dataforge.cli.loading import find, use_root
from dataforge.cli.output import print_json, print_sql, print_table
from dataforge.cli.usage import UsageError
from dataforge.errors import DataForgeError, bounded
from dataforge.settings import get_settings

if TYPE_CHECKING:
    from dataforge.authoring.base import AuthorRequest, Draft, Turn
    from dataforge.authoring.catalogue import Catalogue
    from dataforge.gateway.base import Gateway


def author(arguments: argparse.Namespace) -> int:
    """Make a config from a request; show findings, sample rows and the diff, and write it when wanted."""
    from dataforge.authoring import catalogue
    from dataforge.authoring.author import author as write
    from dataforge.authoring.generations import record_draft

    folder = get_settings().configs_folder
    known = catalogue.read(folder)
    path = folder / arguments.name if arguments.name else None
    wish = _request(arguments, folder, mode=arguments.mode, live=arguments.live, rows=arguments.rows)
    draft = write(wish, _models(arguments), catalogue=known, on_text=_stream(arguments), path=path)
    record_draft(draft, wish.text, kind="author", actor=wish.actor)
    return _finish(arguments, draft, path or _place(folder, draft), folder, known, before="", reason=wish.text)


def refine(arguments: argparse.Namespace) -> int:
    """Change a config as a request says; every other byte of the file stays."""
    from dataforge.authoring import catalogue
    from dataforge.authoring.generations import record_draft
    from dataforge.authoring.refine import refine as change

    path = find(arguments.path)
    folder = use_root(path)
    known = catalogue.read(folder)
    text = _text(path)
    wish = _request(arguments, folder, base=_object(text, path))
    draft = change(wish, _models(arguments), text=text, catalogue=known, on_text=_stream(arguments), path=path)
    record_draft(draft, wish.text, kind="refine", actor=wish.actor)
    return _finish(arguments, draft, path, folder, known, before=text, reason=wish.text)


def explain(arguments: argparse.Namespace) -> int:
    """Say in plain words what a config, a difference, a finding's code or a failed run means."""
    from dataforge.authoring import explain as words
    from dataforge.authoring.generations import record_explanation

    plain, sql, subject = _plainly(arguments)
    told = words.polish(
        plain, _models(arguments), sql=sql, language=arguments.language, model=arguments.model, actor=_actor(),
        use_cache=not arguments.no_cache, on_text=_stream(arguments),
    )  # fmt: skip
    record_explanation(told, subject, actor=_actor())
    if arguments.format == "json":
        print_json(
            {"text": told.text, "plain": told.plain, "sql": told.sql, "model": told.model, "usage": vars(told.usage)}
        )
        return 0
    if not told.polished or not sys.stderr.isatty():
        print(told.text)
    if told.sql:
        print()
        print_sql(told.sql)
    return 0


def _plainly(arguments: argparse.Namespace) -> tuple[str, str, str]:
    """Return what is to be explained in our own words, its SQL, and what it is."""
    from dataforge.authoring import explain as words

    if arguments.finding:
        code = arguments.finding
        return f"{code}: {words.code_in_words(code)}", "", f"finding {code}"
    if arguments.run:
        from dataforge.authoring.failures import find_log, read_failure

        path = find(arguments.path) if arguments.path else _file_of(arguments.run[0])
        return read_failure(find_log(*arguments.run), path).explanation, "", f"run {' '.join(arguments.run)}"
    if arguments.path is None:
        raise UsageError("name a CONFIG, or --finding CODE, or --run DAG_ID RUN_ID")
    path = find(arguments.path)
    use_root(path)
    config = _object(_text(path), path)
    if arguments.diff is None:
        return words.in_words(config), words.compiled(config), path.name
    from dataforge.authoring.diff import changes

    other = find(arguments.diff)
    changed = words.diff_in_words(changes(config, _object(_text(other), other)))
    return changed, "", f"{path.name} against {other.name}"


def chat(arguments: argparse.Namespace) -> int:
    """Write and change a config in a conversation; what was said before is kept."""
    from dataforge.authoring import catalogue

    path: Path | None = arguments.path
    if path is not None and not path.is_file():
        path = path if path.parent.is_dir() and path.suffix == ".json" else find(path)
    folder = use_root(path) if path else get_settings().configs_folder
    text = _text(path) if path and path.is_file() else ""
    if text and path:
        _object(text, path)
    talk = _Chat(arguments, folder, path, _models(arguments), catalogue.read(folder), text, text)
    print("Say what you want; /show, /diff, /write, /undo, /quit.", file=sys.stderr)
    while (line := _line()) not in (None, "/quit", "/exit", "/q"):
        try:
            talk.take(str(line))
        except KeyboardInterrupt:
            print("stopped; nothing was changed", file=sys.stderr)
        except DataForgeError as error:
            print(f"error: {error}", file=sys.stderr)
            talk.code = 1
    if line is None:
        print(file=sys.stderr)
    if talk.text != talk.before:
        print("the config was not written; /write does that", file=sys.stderr)
    return talk.code


@dataclass
class _Chat:
    """One conversation: the text as it is now, that which stands in the file, and how it came about."""

    arguments: argparse.Namespace
    folder: Path
    path: Path | None
    gateway: Gateway | None
    known: Catalogue
    text: str
    before: str
    code: int = 0
    draft: Draft | None = None
    said: list[str] = field(default_factory=list)
    versions: list[tuple[str, Draft | None]] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Do what one line says."""
        if line == "/show":
            print(self.text or "nothing yet")
        elif line == "/diff":
            _print_diff(self.before, self.text, self.path.name if self.path else "new.json")
        elif line == "/undo":
            self.text, self.draft = self.versions.pop() if self.versions else (self.text, self.draft)
            print(self.text or "nothing yet")
        elif line == "/write":
            self._write()
        elif line.startswith("/"):
            raise UsageError(f"there is no {line.split()[0]!r}; /show, /diff, /write, /undo, /quit")
        elif line:
            self._say(line)

    def _write(self) -> None:
        if not self.text:
            raise UsageError("there is nothing to write yet")
        target = self.path or self.folder / f"{_object(self.text, self.folder).get('dag_id', 'pipeline')}.json"
        _write(target, self.text, self.folder, self.before, self.draft, "; ".join(self.said))
        self.before, self.path, self.code = self.text, target, 0

    def _say(self, line: str) -> None:
        from dataforge.authoring import layout
        from dataforge.authoring.author import author as write
        from dataforge.authoring.generations import record_draft
        from dataforge.authoring.refine import refine as change
        from dataforge.authoring.report import of_draft

        arguments, shown = self.arguments, _stream(self.arguments)
        base = _object(self.text, self.path or self.folder) if self.text else None
        wish = _wish(arguments, line, self.folder, base=base, history=self.said)
        if self.text:
            draft = change(wish, self.gateway, text=self.text, catalogue=self.known, on_text=shown, path=self.path)
        else:
            draft = write(wish, self.gateway, catalogue=self.known, on_text=shown)
        record_draft(draft, line, kind="refine" if self.text else "author", actor=wish.actor)
        if arguments.format == "json":
            print(json.dumps(of_draft(draft), ensure_ascii=False, default=str), flush=True)
        else:
            _show(draft, self.text)
        if draft.config is not None and not draft.refused:
            self.versions.append((self.text, self.draft))
            self.text, self.draft = draft.text or layout.write(draft.config), draft
        self.said.append(line)
        self.code = 0 if draft.valid or (draft.config is None and not draft.refused) else 1


def models(arguments: argparse.Namespace) -> int:
    """List the models of every configured connection, or why none could be asked for."""
    from dataforge.authoring.models import open_models

    found = open_models().models()
    if arguments.format == "json":
        print_json([asdict(one) for one in found])
        return 0
    for one in found:
        if one.error or not one.models:
            none = "the server has no model; with Ollama, `ollama pull qwen2.5-coder:1.5b` fetches one"
            print(f"{one.connection} ({one.provider}): {one.error or none}" if one.provider else one.error)
            continue
        rows = [
            (model.name, model.parameters, model.context_tokens, model.size_bytes, ", ".join(model.tasks))
            for model in one.models
        ]
        print_table(f"{one.connection} ({one.provider})", ("model", "parameters", "context", "bytes", "tasks"), rows)
    return 0


def usage(arguments: argparse.Namespace) -> int:
    """Show what was used, by month, person, model and task."""
    from dataforge.authoring.models import StoreLedger

    found = StoreLedger().summary(actor=arguments.actor, since=arguments.since)
    if arguments.format == "json":
        print_json([asdict(one) for one in found])
        return 0
    if not found:
        print("no language model was used" + (" in that time or by that person" if _narrowed(arguments) else " yet"))
        return 0
    rows = [
        (one.month, one.actor, one.model, one.task, one.usage.calls, one.usage.prompt_tokens,
         one.usage.completion_tokens, round(one.usage.seconds, 1), round(one.usage.cost, 4))
        for one in found
    ]  # fmt: skip
    names = ("month", "actor", "model", "task", "calls", "prompt tokens", "answer tokens", "seconds", "cost")
    print_table("Use of language models", names, rows)
    return 0


def _narrowed(arguments: argparse.Namespace) -> bool:
    return bool(arguments.actor or arguments.since)


# ---- requests -------------------------------------------------------------------------------------------------------


def _request(arguments: argparse.Namespace, folder: Path, **more: Any) -> AuthorRequest:
    text = sys.stdin.read() if arguments.request == "-" else arguments.request
    if not text.strip():
        raise UsageError("the request is empty")
    return _wish(arguments, text, folder, pinned={key: _value(value) for key, value in arguments.param}, **more)


def _wish(
    arguments: argparse.Namespace, text: str, folder: Path, history: Iterable[str] = (), **more: Any
) -> AuthorRequest:
    from dataforge.authoring.base import AuthorRequest

    return AuthorRequest(
        text, actor=_actor(), model=arguments.model, folder=folder, use_cache=not arguments.no_cache,
        history=tuple(history), **more,
    )  # fmt: skip


def _value(text: str) -> Any:
    """Return what the text of a parameter stands for: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object(text: str, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is no JSON ({error}); `dataforge repair {path}` can help") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds no config")
    return data


def _models(arguments: argparse.Namespace) -> Gateway | None:
    if arguments.no_model:
        return None
    from dataforge.authoring.models import open_models

    return open_models()


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()  # line ends as they are: the rest of the file stays to the byte
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; `dataforge repair {path}` can help") from None


def _stream(arguments: argparse.Namespace) -> Callable[[str], None] | None:
    """Return what shows an answer as it comes: on a terminal only, and never among the output."""
    if arguments.format == "json" or not sys.stderr.isatty():
        return None

    def show(piece: str) -> None:
        sys.stderr.write(piece)
        sys.stderr.flush()

    return show


def _line() -> str | None:
    """Return the next line; None at the end of the input, or when Ctrl-C ends the conversation."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None


def _place(folder: Path, draft: Draft) -> Path:
    return folder / f"{(draft.config or {}).get('dag_id', 'pipeline')}.json"


# ---- answers --------------------------------------------------------------------------------------------------------


def _finish(
    arguments: argparse.Namespace,
    draft: Draft,
    path: Path,
    folder: Path,
    known: Catalogue,
    *,
    before: str,
    reason: str,
) -> int:
    """Show a draft, and write it when it is valid and wanted."""
    if getattr(arguments, "build", False) and draft.valid and draft.config is not None:
        from dataclasses import replace

        from dataforge.authoring.checks import check_text

        built = check_text(draft.text, draft.config, catalogue=known, path=path, build=True)
        draft = replace(draft, findings=built.findings)
    as_json = arguments.format == "json"
    if not as_json:
        _show(draft, before, path.name)
        _samples(draft)
    written = None
    if draft.valid and draft.text != before and not draft.refused:
        if arguments.yes or (not as_json and sys.stdin.isatty() and _ask(f"write {path}?")):
            written = _write(path, draft.text, folder, before, draft, reason)
        elif not as_json:
            print("nothing was written; repeat with --yes to write it")
    if as_json:
        from dataforge.authoring.report import of_draft

        print_json({**of_draft(draft), "file": str(path), "written": written})
    return 0 if draft.valid or (draft.config is None and not draft.refused) else 1


def _show(draft: Draft, before: str, name: str = "config.json") -> None:
    from dataforge.config.report import as_text

    if draft.answer:
        print(draft.answer)
    if draft.config is not None:
        print()
        _print_diff(before, draft.text, name)
    told = {finding.message for finding in draft.findings}
    for note in draft.notes:
        if note not in told:
            print(f"note: {note}")
    if shown := as_text(draft.findings):
        print(shown)
    for turn in draft.trace:
        print(f"{_said(turn)}", file=sys.stderr)


def _said(turn: Turn) -> str:
    if not turn.model:
        return f"{turn.kind}: {turn.note}"
    used = turn.usage
    took = f"{used.prompt_tokens}+{used.completion_tokens} tokens, {used.seconds:.1f} s"
    return f"{turn.kind} by {turn.model}: {turn.note} ({took})"


def _print_diff(before: str, after: str, name: str) -> None:
    from dataforge.authoring.diff import text

    shown = text(before, after, name)
    if shown:
        print(shown if before else after, end="")


def _samples(draft: Draft) -> None:
    """Show sample rows of what a valid config would load, where its sources can be reached."""
    if not draft.valid or draft.config is None or "matrix" in draft.config:
        return
    from dataforge.config.pipeline import parse
    from dataforge.runtime.context import local
    from dataforge.runtime.preview import run

    try:
        config = parse(draft.config)
        if any(getattr(source, "connection", None) for source in config.inputs.values()):
            return  # other systems are asked only by --live and by `dataforge preview`
        preview = run(config, local(config, {}), 5)
    except DataForgeError as error:
        print(f"no sample rows: {error}", file=sys.stderr)
        return
    last = preview.steps[-1]
    print_table("Sample of what would be loaded", list(last.columns), [list(row.values()) for row in last.rows])


def _write(path: Path, text: str, folder: Path, before: str, draft: Draft | None, reason: str) -> str:
    """Deploy a text; return the path that was written."""
    import hashlib

    from dataforge.authoring.deploy import deploy
    from dataforge.authoring.generations import origin
    from dataforge.gateway.redaction import Redaction

    model, prompt_hash = origin(draft.trace) if draft else ("", "")
    base = hashlib.sha256(before.encode()).hexdigest() if before else ""
    done = deploy(
        path.resolve(), text, base_revision=base, actor=_actor(), reason=Redaction().text(bounded(reason, 1_000)),
        model=model, prompt_hash=prompt_hash, root=folder,
    )  # fmt: skip
    print(f"wrote {done.path}", file=sys.stderr)
    return str(done.path)
