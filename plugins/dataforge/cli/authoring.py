"""`author`, `refine`, `explain`, `chat`, `models` and `usage`: configs in plain words."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.cli.deploying import _actor, _ask, _gateway
from dataforge.cli.loading import use_root
from dataforge.cli.output import print_json, print_sql, print_table
from dataforge.cli.usage import UsageError
from dataforge.errors import DataForgeError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    from dataforge.authoring.base import AuthorRequest, Draft, Turn
    from dataforge.authoring.catalogue import Catalogue
    from dataforge.gateway.base import Gateway


def author(arguments: argparse.Namespace) -> int:
    """Make a config from a request; show findings, sample rows and the diff, and write it when wanted."""
    from dataforge.authoring import catalogue
    from dataforge.authoring.author import author as write

    folder = get_settings().configs_folder
    known = catalogue.read(folder)
    path = folder / arguments.name if arguments.name else None
    draft = write(
        _request(arguments, folder, mode=arguments.mode, live=arguments.live, rows=arguments.rows),
        _model_gateway(arguments),
        catalogue=known,
        on_text=_stream(arguments),
        path=path,
    )
    return _finish(arguments, draft, path or _place(folder, draft), folder, known, before="")


def refine(arguments: argparse.Namespace) -> int:
    """Change a config as a request says; every other byte of the file stays."""
    from dataforge.authoring import catalogue
    from dataforge.authoring.refine import refine as change

    path: Path = arguments.path
    if not path.is_file():
        raise UsageError(f"there is no config file {str(path)!r}")
    folder = use_root(path)
    known = catalogue.read(folder)
    text = path.read_text(encoding="utf-8")
    draft = change(
        _request(arguments, folder, base=_object(text, path)),
        _model_gateway(arguments),
        text=text,
        catalogue=known,
        on_text=_stream(arguments),
        path=path,
    )
    return _finish(arguments, draft, path, folder, known, before=text)


def explain(arguments: argparse.Namespace) -> int:
    """Say in plain words what a config, a difference, a finding's code or a failed run means."""
    from dataforge.authoring import explain as words

    gateway = _model_gateway(arguments)
    sql, plain = "", ""
    if arguments.finding:
        plain = f"{arguments.finding}: {words.code_in_words(arguments.finding)}"
    elif arguments.run:
        from dataforge.authoring.failures import find_log, read_failure
        from dataforge.cli.deploying import _file_of

        path = arguments.path or _file_of(arguments.run[0])
        plain = read_failure(find_log(*arguments.run), path).explanation
    elif arguments.path is None:
        raise UsageError("name a CONFIG, or --finding CODE, or --run DAG_ID RUN_ID")
    else:
        if not arguments.path.is_file():
            raise UsageError(f"there is no config file {str(arguments.path)!r}")
        use_root(arguments.path)
        config = _object(arguments.path.read_text(encoding="utf-8"), arguments.path)
        if arguments.diff:
            from dataforge.authoring.diff import changes

            other = _object(arguments.diff.read_text(encoding="utf-8"), arguments.diff)
            plain = words.diff_in_words(changes(config, other))
        else:
            plain, sql = words.in_words(config), words.compiled(config)
    told = words.polish(
        plain, gateway, sql=sql, language=arguments.language, model=arguments.model, actor=_actor(),
        on_text=_stream(arguments),
    )  # fmt: skip
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


def chat(arguments: argparse.Namespace) -> int:
    """Write and change a config in a conversation; what was said before is kept."""
    from dataforge.authoring import catalogue, layout
    from dataforge.authoring.author import author as write
    from dataforge.authoring.refine import refine as change

    path: Path | None = arguments.path
    folder = use_root(path) if path else get_settings().configs_folder
    known = catalogue.read(folder)
    gateway = _model_gateway(arguments)
    text = path.read_text(encoding="utf-8") if path and path.is_file() else ""
    before, code = text, 0
    said: list[str] = []
    print("Say what you want; /show, /diff, /write, /undo, /quit.", file=sys.stderr)
    versions: list[str] = []
    while (line := _line()) is not None:
        if line in ("/quit", "/exit", "/q"):
            break
        if line == "/show":
            print(text or "nothing yet")
        elif line == "/diff":
            _print_diff(before, text, path.name if path else "new.json")
        elif line == "/undo":
            text = versions.pop() if versions else text
            print(text or "nothing yet")
        elif line == "/write":
            target = path or folder / f"{_object(text, folder).get('dag_id', 'pipeline')}.json"
            _write(target, text, folder, before, None)
            before, path = text, target
        elif line:
            if text:
                wish = _wish(arguments, line, folder, base=_object(text, path or folder), history=said)
                draft = change(wish, gateway, text=text, catalogue=known, on_text=_stream(arguments), path=path)
            else:
                draft = write(
                    _wish(arguments, line, folder, history=said), gateway, catalogue=known, on_text=_stream(arguments)
                )
            if arguments.format == "json":
                print(json.dumps(report(draft), ensure_ascii=False, default=str))
            else:
                _show(draft, text)
            if draft.config is not None and not draft.refused:
                versions.append(text)
                text = draft.text or layout.write(draft.config)
            said.append(line)
            code = 0 if draft.valid or draft.config is None else 1
    return code


def models(arguments: argparse.Namespace) -> int:
    """List the models of every configured connection, or why none could be asked for."""
    gateway = _gateway()
    found = gateway.models() if gateway else []
    if arguments.format == "json":
        print_json([asdict(one) for one in found])
        return 0
    if not found:
        print("no language model is set up; set [dataforge] llm_chain, or start Ollama on this machine")
        return 0
    for one in found:
        if one.error:
            print(f"{one.connection} ({one.provider}): {one.error}")
            continue
        rows = [
            (model.name, model.parameters, model.context_tokens, model.size_bytes, ", ".join(model.tasks))
            for model in one.models
        ]
        print_table(f"{one.connection} ({one.provider})", ("model", "parameters", "context", "bytes", "tasks"), rows)
    return 0


def usage(arguments: argparse.Namespace) -> int:
    """Show what was used, by month, person, model and task."""
    gateway = _gateway()
    found = gateway.usage(actor=arguments.actor, since=arguments.since) if gateway else []
    if arguments.format == "json":
        print_json([asdict(one) for one in found])
        return 0
    rows = [
        (one.month, one.actor, one.model, one.task, one.usage.calls, one.usage.prompt_tokens,
         one.usage.completion_tokens, round(one.usage.seconds, 1), round(one.usage.cost, 4))
        for one in found
    ]  # fmt: skip
    names = ("month", "actor", "model", "task", "calls", "prompt tokens", "answer tokens", "seconds", "cost")
    print_table("Use of language models", names, rows)
    return 0


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


def _model_gateway(arguments: argparse.Namespace) -> Gateway | None:
    return None if arguments.no_model else _gateway()


def _stream(arguments: argparse.Namespace) -> Callable[[str], None] | None:
    """Return what shows an answer as it comes: on a terminal only, and never among the output."""
    if arguments.format == "json" or not sys.stderr.isatty():
        return None

    def show(piece: str) -> None:
        sys.stderr.write(piece)
        sys.stderr.flush()

    return show


def _line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None


def _place(folder: Path, draft: Draft) -> Path:
    return folder / f"{(draft.config or {}).get('dag_id', 'pipeline')}.json"


# ---- answers --------------------------------------------------------------------------------------------------------


def _finish(
    arguments: argparse.Namespace, draft: Draft, path: Path, folder: Path, known: Catalogue, *, before: str
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
            written = _write(path, draft.text, folder, before, draft)
        elif not as_json:
            print("nothing was written; repeat with --yes to write it")
    if as_json:
        print_json({**report(draft), "file": str(path), "written": written})
    return 0 if draft.valid or (draft.config is None and not draft.refused) else 1


def _show(draft: Draft, before: str, name: str = "config.json") -> None:
    from dataforge.config.report import as_text

    if draft.answer:
        print(draft.answer)
    if draft.config is not None:
        print()
        _print_diff(before, draft.text, name)
    for note in draft.notes:
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


def _write(path: Path, text: str, folder: Path, before: str, draft: Draft | None) -> str:
    """Deploy a text; return the path that was written."""
    import hashlib

    from dataforge.authoring.deploy import deploy

    model = next((turn.model for turn in reversed(draft.trace) if turn.model), "") if draft else ""
    prompt = next((turn.prompt_hash for turn in reversed(draft.trace) if turn.prompt_hash), "") if draft else ""
    base = hashlib.sha256(before.encode()).hexdigest() if before else ""
    done = deploy(
        path.resolve(), text, base_revision=base, actor=_actor(), reason="authored", model=model, prompt_hash=prompt,
        root=folder,
    )  # fmt: skip
    print(f"wrote {done.path}", file=sys.stderr)
    return str(done.path)


def _status(draft: Draft) -> str:
    if draft.refused:
        return "refused"
    if draft.config is None:
        return "answered"
    return "valid" if draft.valid else "findings"


def report(draft: Draft) -> dict[str, Any]:
    """Return a draft as plain data: config, findings, assumptions, questions, trace and usage."""
    from dataforge.config.report import as_object

    return {
        "status": _status(draft),
        "request_id": draft.request_id,
        "answer": draft.answer,
        "config": draft.config,
        "text": draft.text,
        "findings": [as_object(finding) for finding in draft.findings],
        "assumptions": [vars(one) for one in draft.assumptions],
        "questions": [vars(one) for one in draft.questions],
        "extracted": [vars(one) for one in draft.extracted],
        "diff": [vars(one) for one in draft.diff],
        "notes": list(draft.notes),
        "examples": list(draft.examples),
        "grounds": {pointer: vars(one) for pointer, one in draft.grounds.items()},
        "trace": [
            {
                "kind": turn.kind, "note": turn.note, "model": turn.model, "prompt": turn.prompt,
                "prompt_hash": turn.prompt_hash, "cached": turn.cached, "usage": vars(turn.usage),
                "before": [as_object(one) for one in turn.before], "after": [as_object(one) for one in turn.after],
                "changes": [vars(change) for change in turn.changes],
            }
            for turn in draft.trace
        ],
        "usage": vars(draft.usage),
    }  # fmt: skip
