"""Deploying a config: checked, written atomically against a base revision, recorded, and taken back.

    deployed = deploy("orders.json", text, base_revision=digest, actor="ada", reason="…", root=configs)

The order is such that a crash at any moment loses nothing: the revision is committed as pending, then the file is
renamed into place, then the revision becomes live with its audit row. What a crash leaves pending is settled when the
next command begins (`unfinished.mend`), before the next deploy of the same file, or for a whole folder by `reconcile`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dataforge.authoring import diff
from dataforge.authoring.fixers import TextChecker
from dataforge.authoring.unfinished import locked, locked_if_free
from dataforge.config.findings import Finding, has_errors, in_order
from dataforge.errors import ConfigError, DataForgeError, Problem, TerminalError, bounded
from dataforge.settings import Settings, get_settings

if TYPE_CHECKING:
    from dataforge.store.approvals import Approval
    from dataforge.store.database import Store
    from dataforge.store.revisions import Kind, Revision

_MODE = 0o644
_GIT_SECONDS = 30
_UNCHANGED = "the file is so already; nothing was written"


class FileChanged(DataForgeError):
    """The file is not what the deploy was made from; `current` is its digest now ("" for none), `diff` how it differs
    from what was to be written."""

    def __init__(self, message: str, current: str, diff: str) -> None:
        self.current, self.diff = current, diff
        super().__init__(message)

    def __reduce__(self) -> tuple[type[FileChanged], tuple[str, str, str]]:
        return type(self), (str(self), self.current, self.diff)


class InvalidDeploy(ConfigError):
    """The text has findings of severity error, so nothing was written."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        errors = [each for each in findings if each.severity == "error"]
        super().__init__(
            Problem(each.code, each.message, tuple(each.pointer.split("/")[1:]), each.suggestion, each.allowed)
            for each in errors
        )

    def __reduce__(self) -> Any:
        return type(self), (self.findings,)


@dataclass(frozen=True)
class Awaiting:
    """A deploy that was checked and waits for a second person."""

    path: Path
    approval: Approval


class AlreadyDecided(DataForgeError):
    """Somebody else approved or rejected what was to be approved."""


@dataclass(frozen=True)
class Approved:
    """What a second person approved: it is carried out in the name of whoever asked for it."""

    approval: Approval
    by: str
    comment: str = ""


@dataclass(frozen=True)
class Deployed:
    """What a deploy did. `revision` is None when the file was so already; `diff` is unified diff text."""

    path: Path
    digest: str
    revision: Revision | None
    diff: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def digest_of(path: Path) -> str:
    """Return the digest of a file as `deploy` wants it for a base revision; "" when there is none."""
    text = _read(path)
    return "" if text is None else hashlib.sha256(text).hexdigest()


def deploy(
    file: str | Path,
    text: str,
    *,
    base_revision: str | None,
    actor: str,
    reason: str = "",
    model: str = "",
    prompt_hash: str = "",
    kind: Kind = "deploy",
    root: Path | None = None,
    settings: Settings | None = None,
    check: TextChecker | None = None,
    store: Store | None = None,
    team: str = "",
    approved: Approved | None = None,
) -> Deployed:
    """Write `text` to a file of the configs folder, after all checks, and record it.

    `base_revision` is the digest of what the change was made from ("" for a new file): FileChanged when the file is
    something else by now; None skips that. Of a text that a model generated, `model` and `prompt_hash` are found by
    themselves. InvalidDeploy when the checks (by default all of `authoring.checks`, connections and policies too) find
    errors; ConfigError for a path that may not be written. Where the settings want a second person's approval, nothing
    is written without `approved` (ConfigError); `ask` lets a deploy wait for that.
    """
    from dataforge.store import approvals, audit, chats, revisions
    from dataforge.store.database import open_store

    settings = settings or get_settings()
    root = (root or settings.configs_folder).resolve()
    path, name = place(file, root)
    if settings.deploy_approval and approved is None:
        hint = "deploy it from the page or the web API, where another person can approve it"
        raise ConfigError(Problem("needs-approval", "deploys need the approval of a second person here", (), hint))
    findings = _checked(text, path, root, settings, check, team)
    raw = text.encode("utf-8")
    store = store or open_store()
    key = f"{root}/{name}"
    with locked(key) as lock:
        _reconcile(store, root, key)
        seen = _read(path)
        before = seen.decode("utf-8", "surrogateescape") if seen is not None else None
        current = revisions.digest(seen)
        shown = diff.text(before or "", text, name)
        if base_revision is not None and base_revision != current:
            raise _changed(name, base_revision, current, shown)
        _refuse_taken_names(path, text, root, settings)
        if seen == raw:
            return Deployed(path, current, None, "", findings, (_UNCHANGED,))
        if not model:
            model, prompt_hash = chats.origin(store, revisions.digest(raw))
        wanted = revisions.Revision(key, revisions.digest(raw), text, actor, reason, model, prompt_hash, kind=kind)
        lock.begin(key)
        with store.transaction() as connection:
            store.lock(connection, key)
            pending = revisions.begin(connection, wanted, before)
            if approved and not approvals.carry(
                connection, approved.approval, approved.by, approved.comment, pending.id
            ):
                raise AlreadyDecided("somebody else has decided about this deploy meanwhile")
        with store.transaction() as connection:
            store.lock(connection, key)
            _write(path, raw, root, expected=seen)
            live = revisions.settle(connection, pending, "live")
            details = {"revision": live.id, "parent": live.parent, "digest": live.digest, "reason": reason}
            if approved:
                details |= {"approval": approved.approval.id, "approved_by": approved.by}
            audit.add(connection, actor, kind, key, {**details, "model": model})
        lock.end()
    notes: tuple[str, ...] = ()
    if settings.deploy_git:
        commit, note = _commit(path, root, actor, reason or f"{kind} {name}")
        notes = (note,)
        if commit:
            with store.transaction() as connection:
                live = revisions.settle(connection, live, "live", commit)
    return Deployed(path, live.digest, live, shown, findings, notes)


def rollback(
    file: str | Path,
    revision: str | None = None,
    *,
    actor: str,
    reason: str = "",
    base_revision: str | None = None,
    root: Path | None = None,
    settings: Settings | None = None,
    check: TextChecker | None = None,
    store: Store | None = None,
    team: str = "",
) -> Deployed:
    """Write an older revision of a file again, by its id or digest; the one before the present when not given.

    The same checks as of a deploy hold, since what was right then may be wrong now.
    """
    settings = settings or get_settings()
    root = (root or settings.configs_folder).resolve()
    wanted = older(file, revision, root=root, store=store)
    if wanted.text is None:
        raise ConfigError(Problem("unknown-revision", f"there was no file at revision {wanted.id}"))
    return deploy(
        file,
        wanted.text,
        base_revision=base_revision,
        actor=actor,
        reason=reason or f"back to revision {wanted.id}",
        model=wanted.model,
        prompt_hash=wanted.prompt_hash,
        kind="rollback",
        root=root,
        settings=settings,
        check=check,
        store=store,
        team=team,
    )


def ask(
    file: str | Path,
    text: str,
    *,
    base_revision: str,
    actor: str,
    reason: str = "",
    kind: Kind = "deploy",
    root: Path | None = None,
    settings: Settings | None = None,
    check: TextChecker | None = None,
    store: Store | None = None,
    team: str = "",
) -> Awaiting | Deployed:
    """Let a deploy wait for a second person, after all its checks; `Deployed` when the file is so already.

    All of it is checked again when it is carried out: what is right now may be wrong by then.
    """
    from dataforge.store import approvals
    from dataforge.store.database import open_store

    settings = settings or get_settings()
    root = (root or settings.configs_folder).resolve()
    path, name = place(file, root)
    findings = _checked(text, path, root, settings, check, team)
    store = store or open_store()
    key = f"{root}/{name}"
    with locked(key):
        _reconcile(store, root, key)
        seen = _read(path)
    current = "" if seen is None else hashlib.sha256(seen).hexdigest()
    if base_revision != current:
        before = seen.decode("utf-8", "surrogateescape") if seen is not None else ""
        raise _changed(name, base_revision, current, diff.text(before, text, name))
    _refuse_taken_names(path, text, root, settings)
    if seen == text.encode("utf-8"):
        return Deployed(path, current, None, "", findings, (_UNCHANGED,))
    return Awaiting(path, approvals.ask(store, approvals.Approval(key, kind, text, base_revision, actor, reason)))


def approve(approval: Approval, by: str, comment: str = "", store: Store | None = None) -> Deployed:
    """Carry out what waited for a second person: `by` is that person, never who asked for it (ConfigError).

    FileChanged when the file is not what it was when it was asked for; then it waits on, to be withdrawn or asked anew.
    """
    if by == approval.actor:
        raise ConfigError(Problem("own-deploy", "nobody approves what they asked for themselves"))
    path = Path(approval.file)
    try:
        return deploy(
            path, approval.text, base_revision=approval.base, actor=approval.actor, reason=approval.reason,
            kind=approval.kind, root=get_settings().configs_folder, store=store,
            approved=Approved(approval, by, comment),
        )  # fmt: skip
    finally:
        history(path, store=store)  # settles, should the write have failed, what then waits on


def _checked(
    text: str, path: Path, root: Path, settings: Settings, check: TextChecker | None, team: str
) -> tuple[Finding, ...]:
    """Return the findings of a text; InvalidDeploy when there are errors among them."""
    size = len(text.encode("utf-8"))
    if size > settings.max_config_bytes:
        message = f"the text has {size:,} bytes; at most {settings.max_config_bytes:,} are allowed"
        raise ConfigError(Problem("too-large", message))
    if check is None:
        from dataforge.authoring import catalogue, checks

        check = checks.text_checker(path, catalogue=catalogue.read(root, team=team))
    findings = check(text)
    if has_errors(findings):
        raise InvalidDeploy(findings)
    return findings


def older(file: str | Path, revision: str | None, *, root: Path, store: Store | None = None) -> Revision:
    """Return the revision that a rollback goes to; ConfigError when there is none."""
    from dataforge.store import revisions
    from dataforge.store.database import open_store

    store = store or open_store()
    path, name = place(file, root.resolve())
    key = f"{root.resolve()}/{name}"
    if revision is not None:
        return revisions.get(store, key, revision)
    present = digest_of(path)
    for one in revisions.history(store, key):
        if one.digest != present and one.text is not None:
            return one
    raise ConfigError(Problem("unknown-revision", f"{name!r} has no older revision"))


def history(
    file: str | Path, *, root: Path | None = None, limit: int = 100, store: Store | None = None
) -> list[Revision]:
    """Return the revisions of a file, the newest first, after settling what a crash left open."""
    from dataforge.store import revisions
    from dataforge.store.database import open_store

    store = store or open_store()
    root = (root or get_settings().configs_folder).resolve()
    _, name = place(file, root)
    if revisions.pending(store, f"{root}/{name}"):  # else a look at it would wait for those who write
        with locked(f"{root}/{name}"):
            _reconcile(store, root, f"{root}/{name}")
    return revisions.history(store, f"{root}/{name}", limit)


def reconcile(root: Path | None = None, store: Store | None = None) -> list[Revision]:
    """Settle what crashes left between file and store, for all files of the folder; return what was settled.

    Whoever serves for long, as the API, does so at its start. Files that are being deployed now are left alone.
    """
    from dataforge.store import revisions
    from dataforge.store.database import open_store

    store = store or open_store()
    root = (root or get_settings().configs_folder).resolve()
    settled = []
    for key in revisions.pending(store, f"{root}/"):
        with locked_if_free(key) as lock:
            if lock is not None:
                settled += _reconcile(store, Path(key).parent, key)
                lock.end()
    _remove_left_overs(root, recursive=True)
    return settled


def settle(key: str, store: Store | None = None) -> list[Revision]:
    """Settle what a crash left of one file, named by its path; its lock is held."""
    from dataforge.store.database import open_store

    return _reconcile(store or open_store(), Path(key).parent, key)


def place(file: str | Path, root: Path) -> tuple[Path, str]:
    """Return the path of a config file below `root` and its name relative to it; ConfigError when it may not be one."""
    given = Path(file)
    path = Path(os.path.normpath(given if given.is_absolute() else root / given))
    if not path.is_relative_to(root):
        with suppress(OSError):
            path = path.parent.resolve() / path.name
    if not path.is_relative_to(root):
        raise _misplaced(file, f"it lies outside of the configs folder {str(root)!r}")
    name = PurePosixPath(path.relative_to(root)).as_posix()
    parts = PurePosixPath(name).parts
    if not name.endswith(".json") or name == ".json":
        raise _misplaced(file, "a config's file name ends in '.json'")
    if any(part.startswith(".") for part in parts):
        raise _misplaced(file, "hidden files and folders are not read")
    if any(ord(char) < 32 or char == "\\" or 0xD800 <= ord(char) <= 0xDFFF for char in name) or len(name) > 500:
        raise _misplaced(file, "its name holds characters that no config's name may have, or is too long")
    if parts[-1] == "defaults.json":
        raise _misplaced(file, "it holds the defaults of a folder, which change all configs at once; edit it by hand")
    if name == "policies.json":
        raise _misplaced(file, "it holds the rules that all configs follow; edit it by hand")
    if path.is_symlink():
        raise _misplaced(file, "it is a symbolic link; deploy to the file that it leads to")
    if not _resolved(path.parent).is_relative_to(root):
        raise _misplaced(file, "a symbolic link leads out of the configs folder")
    if path.exists() and not path.is_file():
        raise _misplaced(file, "there is something that is no file")
    return path, name


def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _misplaced(file: str | Path, why: str) -> ConfigError:
    return ConfigError(Problem("invalid-path", f"{bounded(str(file), 300)!r} can't be deployed: {why}"))


def _changed(name: str, base: str, current: str, shown: str) -> FileChanged:
    if not current:
        what = "is gone"
    elif not base:
        what = "exists already"
    else:
        what = f"was changed meanwhile: it is at {current[:12]}, not at {base[:12]}"
    return FileChanged(f"{name!r} {what}; nothing was written. Look at it again and repeat the change", current, shown)


def _refuse_taken_names(path: Path, text: str, root: Path, settings: Settings) -> None:
    """Raise InvalidDeploy when another file of the folder gives a pipeline the same dag_id."""
    from dataforge.config.files import mark_duplicates, read_folder, read_text

    own = read_text(text, path=path, root=root, settings=settings)
    wanted = {loaded.config.dag_id for loaded in own.pipelines}
    others = [
        file
        for file in read_folder(root, settings=settings).files
        if file.path != path and any(loaded.config.dag_id in wanted for loaded in file.pipelines)
    ]
    if others:
        marked = mark_duplicates([own, *others])
        found = [finding for file in marked for finding in file.findings if finding.code == "duplicate-dag-id"]
        raise InvalidDeploy(in_order(finding for finding in found if finding.file == path) or tuple(found))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TerminalError(f"{str(path)!r} can't be read: {error.strerror}") from None


def _write(path: Path, raw: bytes, root: Path, expected: bytes | None) -> None:
    """Put `raw` in the place of the file in one step; whoever reads sees the old text or the new one, whole."""
    _make_folders(path.parent, root)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    temporary = f".{path.name[:100]}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        opened = Path(f"/proc/self/fd/{folder}")
        if opened.exists() and not Path(os.path.realpath(opened)).is_relative_to(root):
            raise _misplaced(path, "a symbolic link leads out of the configs folder")
        mode = _MODE
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(temporary, flags, mode, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            if _read(path) != expected:
                shown = "the file was changed while it was being deployed; nothing was written"
                raise FileChanged(shown, digest_of(path), "")
            os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as error:
            raise TerminalError(f"{str(path)!r} can't be written: {error.strerror}") from None
        finally:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
    finally:
        os.close(folder)


def _make_folders(folder: Path, root: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TerminalError(f"the folder {str(folder)!r} can't be made: {error.strerror}") from None
    if not folder.resolve().is_relative_to(root):
        raise _misplaced(folder, "a symbolic link leads out of the configs folder")


def _reconcile(store: Store, folder: Path, key: str) -> list[Revision]:
    from dataforge.store import revisions

    def read(key: str) -> str | None:
        raw = _read(Path(key))
        return None if raw is None else raw.decode("utf-8", "surrogateescape")

    settled = revisions.reconcile(store, read, key)
    if settled:
        _remove_left_overs(folder)
    return settled


def _remove_left_overs(folder: Path, *, recursive: bool = False) -> None:
    """Remove temporary files of deploys whose process is gone."""
    for path in folder.rglob(".*.json.*.tmp") if recursive else folder.glob(".*.json.*.tmp"):
        process = path.name.split(".")[-3]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            with suppress(OSError):
                path.unlink()


def _commit(path: Path, root: Path, actor: str, message: str) -> tuple[str, str]:
    """Commit the file to Git; return the commit's id, and a note: the file is live whether this works or not."""
    who = "".join(char for char in actor if char.isprintable() and char not in "<>") or "dataforge"
    identity = {"GIT_AUTHOR_NAME": who, "GIT_COMMITTER_NAME": "DataForge"}
    identity |= {"GIT_AUTHOR_EMAIL": "dataforge@localhost", "GIT_COMMITTER_EMAIL": "dataforge@localhost"}
    environment = {**os.environ, **identity, "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1"}
    relative = str(path.relative_to(root))
    try:
        for arguments in (
            ("add", "--", relative),
            ("commit", "--quiet", "--message", message, "--only", "--", relative),
        ):
            done = _git(arguments, root, environment)
            if done.returncode:
                return "", f"not committed to Git: {bounded(done.stderr.strip() or done.stdout.strip(), 300)}"
        commit = _git(("rev-parse", "HEAD"), root, environment).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"not committed to Git: {type(error).__name__}"
    return commit, f"committed to Git as {commit[:12]}"


def _git(arguments: tuple[str, ...], root: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(  # noqa: S603  # git of this machine, its arguments as a list, paths after --
        command, env=environment, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
    )
