"""`repair`, `deploy`, `rollback` and `history`: from findings to a file, and back again."""

from __future__ import annotations

import argparse
import difflib
import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataforge.cli.loading import did_you_mean, find, use_root
from dataforge.cli.output import print_json, print_table
from dataforge.cli.usage import UsageError
from dataforge.settings import get_settings

if TYPE_CHECKING:
    from dataforge.authoring.deploy import Deployed
    from dataforge.authoring.failures import Failure
    from dataforge.authoring.repair import Repaired


def repair(arguments: argparse.Namespace) -> int:
    """Repair a config, or what a failed run says about its config; show the diff, and write it when wanted."""
    from dataforge.authoring import catalogue, checks
    from dataforge.authoring.deploy import digest_of
    from dataforge.authoring.generations import record_repair
    from dataforge.authoring.mending import decode
    from dataforge.authoring.models import open_models
    from dataforge.authoring.repair import repair as repair_text

    path, failure = _subject(arguments)
    root = use_root(path)
    base = digest_of(path)
    known = catalogue.read(root)
    text, note = decode(path.read_bytes())
    repaired = repair_text(
        text,
        path=path,
        root=root,
        gateway=None if arguments.no_model else open_models(),
        check=checks.text_checker(path, catalogue=known),
        connections=known.types,
        failure=failure,
        actor=_actor(),
        model=arguments.model,
        max_turns=arguments.turns,
    )
    record_repair(repaired, f"repair {path.name}", actor=_actor())
    as_json = arguments.format == "json"
    if not as_json:
        _show(repaired, path, note)
    written: Deployed | None = None
    changed = repaired.candidate.text != text or bool(note)
    if changed and repaired.stopped != "not JSON" and _wanted(arguments, repaired):
        written = _write(path, root, repaired, base)
    if as_json:
        print_json(_report(repaired, path, written))
    elif written is not None:
        print(f"wrote {path}" + (f" as revision {written.revision.id}" if written.revision else ""))
    return 0 if repaired.valid else 1


def _subject(arguments: argparse.Namespace) -> tuple[Path, Failure | None]:
    """Return the config that is to be repaired, and the failed run that it is about."""
    from dataforge.authoring.failures import find_log, read_failure, tail

    path: Path | None = arguments.path
    if arguments.run:
        dag_id, run_id = arguments.run
        path = path or _file_of(dag_id)
        log = tail(arguments.log) if arguments.log else find_log(dag_id, run_id)
        return find(path), read_failure(log, path)
    if path is None:
        raise UsageError("name a CONFIG, or a failed run by --run DAG_ID RUN_ID")
    return find(path), read_failure(tail(arguments.log), path) if arguments.log else None


def _file_of(dag_id: str) -> Path:
    from dataforge.config.files import read_folder

    folder = get_settings().configs_folder
    found = list(read_folder(folder).pipelines) if folder.is_dir() else []
    for loaded in found:
        if loaded.config.dag_id == dag_id:
            return loaded.file
    near = difflib.get_close_matches(dag_id, [loaded.config.dag_id for loaded in found], n=1)
    hint = f"did you mean {near[0]!r}? Else name its CONFIG too" if near else "name its CONFIG too"
    raise UsageError(f"no valid config in {str(folder)!r} describes {dag_id!r}; {hint}")


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _show(repaired: Repaired, path: Path, note: str) -> None:
    from dataforge.config.report import as_text

    if repaired.failure is not None:
        print(repaired.failure.explanation + "\n")
    if note:
        print(f"{path}: {note}")
    for fix in repaired.fixed.applied:
        print(f"fixed[{fix.code}] {fix.pointer or '/'}: {fix.reason}")
    for turn in repaired.trace:
        if turn.model:
            print(f"{turn.model}: {turn.kind}" + (f", {turn.note}" if turn.note else ""))
    if repaired.diff:
        print(f"\n{repaired.diff}", end="")
    left = as_text(finding for finding in repaired.candidate.findings if finding.severity == "error")
    if left:
        print(f"\nleft:\n{left}")
    for line in repaired.notes:
        print(f"note: {line}")
    print(f"{path}: {'valid' if repaired.valid else repaired.stopped}")


def _wanted(arguments: argparse.Namespace, repaired: Repaired) -> bool:
    if arguments.yes:
        return True
    if arguments.format == "json" or not sys.stdin.isatty():
        if arguments.format != "json":
            print("nothing was written; repeat with --yes to write it")
        return False
    question = "write it?" if repaired.valid else "errors are left; write it all the same?"
    return _ask(question)


def _ask(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes", "j", "ja")


def _write(path: Path, root: Path, repaired: Repaired, base: str) -> Deployed | None:
    """Write the repaired text: deployed with its record when it is valid, else as it is, for the person to go on."""
    from dataforge.authoring.deploy import FileChanged, deploy, digest_of

    text = repaired.candidate.text
    if repaired.valid:
        reason = (
            f"repaired {len(repaired.fixed.applied)} findings" if repaired.failure is None else "repaired a failed run"
        )
        return deploy(
            path.resolve(),
            text,
            base_revision=base,
            actor=_actor(),
            reason=reason,
            model=repaired.model,
            prompt_hash=repaired.prompt_hash,
            root=root,
        )
    if digest_of(path) != base:
        raise FileChanged(f"{str(path)!r} was changed meanwhile; nothing was written", digest_of(path), repaired.diff)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="")
    temporary.replace(path)
    print(f"wrote {path}; errors are left", file=sys.stderr)
    return None


def _report(repaired: Repaired, path: Path, written: Deployed | None) -> dict[str, Any]:
    from dataforge.authoring.report import of_repair

    return {
        **of_repair(repaired),
        "file": str(path),
        "written": str(written.path) if written else None,
        "revision": written.revision.id if written and written.revision else None,
    }


def deploy(arguments: argparse.Namespace) -> int:
    """Deploy a file into the configs folder, after all checks, with a record."""
    from dataforge.authoring import diff
    from dataforge.authoring.deploy import deploy as deploy_text
    from dataforge.authoring.deploy import digest_of, place

    source = find(arguments.path)
    root = get_settings().configs_folder.resolve()
    inside = source.resolve().is_relative_to(root)
    target, name = place(arguments.name or (source.resolve() if inside else source.name), root)
    base = digest_of(target)
    if arguments.base is not None and not base.startswith(arguments.base):
        base = arguments.base  # refused below, with what is there now
    text = source.read_text(encoding="utf-8")
    shown = diff.text(target.read_text(encoding="utf-8", errors="replace") if target.is_file() else "", text, name)
    if arguments.format != "json":
        print(shown, end="")
        if shown and not arguments.yes and (not sys.stdin.isatty() or not _ask(f"deploy {target}?")):
            print("nothing was written" + ("" if sys.stdin.isatty() else "; repeat with --yes to deploy"))
            return 0
    elif not arguments.yes and shown:
        print_json({"status": "not-deployed", "file": str(target), "diff": shown, "note": "repeat with --yes"})
        return 0
    done = deploy_text(target, text, base_revision=base, actor=_actor(), reason=arguments.message, root=root)
    return _done(arguments, done)


def rollback(arguments: argparse.Namespace) -> int:
    """Write an older revision of a config again."""
    from dataforge.authoring import diff
    from dataforge.authoring.deploy import digest_of, older, place
    from dataforge.authoring.deploy import rollback as rollback_file

    root, path = _placed(arguments.path)
    target, name = place(path, root)
    _refuse_unknown(target, name, root)
    wanted = older(target, arguments.revision, root=root)
    now = target.read_text(encoding="utf-8", errors="replace") if target.is_file() else ""
    shown = diff.text(now, wanted.text or "", name)
    if arguments.format != "json":
        print(shown, end="")
    if not arguments.yes and (arguments.format == "json" or not sys.stdin.isatty() or not _ask("go back to this?")):
        if arguments.format == "json":
            print_json({"status": "not-deployed", "file": str(target), "diff": shown, "note": "repeat with --yes"})
        else:
            print("nothing was written" + ("" if sys.stdin.isatty() else "; repeat with --yes to roll back"))
        return 0
    base = digest_of(target)
    done = rollback_file(
        target, str(wanted.id), actor=_actor(), reason=arguments.message, base_revision=base, root=root
    )
    return _done(arguments, done)


def history(arguments: argparse.Namespace) -> int:
    """List the revisions of a config, the newest first."""
    from dataforge.authoring.deploy import digest_of, place
    from dataforge.authoring.deploy import history as revisions_of

    root, path = _placed(arguments.path)
    target, name = place(path, root)
    found = revisions_of(target, root=root, limit=arguments.limit)
    if not found:
        _refuse_unknown(target, name, root)
    if arguments.format == "json":
        print_json([{**vars(one), "file": name, "created_at": one.created_at.isoformat()} for one in found])
        return 0
    if not found:
        print(f"{name} has no revisions yet; `dataforge deploy` makes them")
        return 0
    rows = [
        (
            one.id,
            one.digest[:12],
            one.created_at.strftime("%Y-%m-%d %H:%M:%S"),
            one.author,
            one.kind,
            one.model,
            one.reason,
        )
        for one in found
    ]
    notes = [] if found[0].digest == digest_of(target) else ["the file was changed since, by other means"]
    print_table(f"Revisions of {name}", ("id", "digest", "at (UTC)", "by", "kind", "model", "reason"), rows, notes)
    return 0


def _refuse_unknown(target: Path, name: str, root: Path) -> None:
    from dataforge.authoring.deploy import history as revisions_of

    if not target.is_file() and not revisions_of(target, root=root, limit=1):
        raise UsageError(f"there is no config file {name!r}, and no revision of one{did_you_mean(target)}")


def _placed(path: Path) -> tuple[Path, Path]:
    """Return the configs folder of a path, and the path in it; a bare name is looked up in the folder itself.

    The file itself may be gone: its revisions are there still.
    """
    try:
        path = find(path)
    except UsageError:
        root = (get_settings().configs_folder if not path.is_absolute() else use_root(path)).resolve()
        return root, root / (path if path.suffix == ".json" else path.with_name(f"{path.name}.json"))
    return use_root(path).resolve(), path.resolve()


def _done(arguments: argparse.Namespace, done: Deployed) -> int:
    revision = done.revision
    if arguments.format == "json":
        print_json(
            {
                "status": "deployed" if revision else "unchanged",
                "file": str(done.path),
                "digest": done.digest,
                "revision": revision.id if revision else None,
                "diff": done.diff,
                "notes": list(done.notes),
            }
        )
        return 0
    for note in done.notes:
        print(f"note: {note}")
    if revision:
        print(f"deployed {done.path} as revision {revision.id} ({done.digest[:12]})")
    return 0
