"""Deploying: what is written, what is refused, and what a crash leaves."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataforge.authoring.deploy import (
    Deployed,
    FileChanged,
    InvalidDeploy,
    deploy,
    digest_of,
    history,
    reconcile,
    rollback,
)
from dataforge.authoring.unfinished import Lock, locked, mend
from dataforge.cli import main
from dataforge.errors import ConfigError
from dataforge.settings import Settings, get_settings
from dataforge.store.database import Store, open_store
from dataforge.store.schema import AUDIT, REVISIONS

CONFIG: dict[str, Any] = {
    "dag_id": "orders",
    "source": {"type": "csv", "path": "orders.csv"},
    "destination": {"type": "duckdb", "table": "orders"},
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    folder = tmp_path / "configs"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(f"sqlite:///{root.parent / 'store.db'}")


def text_of(**changes: Any) -> str:
    return json.dumps({**CONFIG, **changes}, indent=2) + "\n"


def put(root: Path, store: Store, text: str, base: str | None = None, **more: Any) -> Deployed:
    named = {"actor": "ada", "settings": Settings(configs_folder=root), **more}
    return deploy("orders.json", text, base_revision=base, root=root, store=store, **named)


def rows(store: Store, table: Any) -> list[Any]:
    with store.transaction() as connection:
        return list(connection.execute(table.select().order_by(table.c.id)).mappings())


def test_a_deploy_writes_the_file_and_records_revision_and_audit(root: Path, store: Store) -> None:
    first = put(root, store, text_of(), "", reason="new", model="m", prompt_hash="p")
    second = put(root, store, text_of(tags=["x"]), first.digest, reason="a tag")
    assert (root / "orders.json").read_text() == text_of(tags=["x"])
    assert second.digest == digest_of(root / "orders.json")
    assert second.revision is not None
    assert first.revision is not None
    assert second.revision.parent == first.revision.id
    assert '+    "x"' in second.diff
    assert [(row["action"], row["actor"]) for row in rows(store, AUDIT)] == [("deploy", "ada")] * 2
    assert [(one.reason, one.model, one.state) for one in history("orders.json", root=root, store=store)] == [
        ("a tag", "", "live"),
        ("new", "m", "live"),
    ]
    assert not list(root.glob(".*"))


def test_the_same_text_again_writes_nothing(root: Path, store: Store) -> None:
    put(root, store, text_of())
    assert put(root, store, text_of()).revision is None
    assert len(rows(store, REVISIONS)) == 1


def test_a_file_that_changed_meanwhile_is_left_alone(root: Path, store: Store) -> None:
    base = put(root, store, text_of()).digest
    (root / "orders.json").write_text(text_of(tags=["by hand"]))
    with pytest.raises(FileChanged, match="changed meanwhile") as caught:
        put(root, store, text_of(tags=["mine"]), base)
    assert caught.value.current == digest_of(root / "orders.json")
    assert "by hand" in caught.value.diff
    assert "by hand" in (root / "orders.json").read_text()
    with pytest.raises(FileChanged, match="exists already"):
        put(root, store, text_of(tags=["mine"]), "")


def test_what_others_wrote_is_kept_as_a_revision_of_its_own(root: Path, store: Store) -> None:
    (root / "orders.json").write_text(text_of(tags=["by hand"]))
    put(root, store, text_of(tags=["mine"]))
    found = history("orders.json", root=root, store=store)
    assert [(one.kind, one.author) for one in found] == [("deploy", "ada"), ("found", "")]
    rollback("orders.json", actor="bob", root=root, settings=Settings(configs_folder=root), store=store)
    assert (root / "orders.json").read_text() == text_of(tags=["by hand"])


def test_findings_of_severity_error_refuse_the_deploy(root: Path, store: Store) -> None:
    with pytest.raises(InvalidDeploy, match="shedule"):
        put(root, store, text_of(shedule="@daily"))
    assert not (root / "orders.json").exists()
    assert rows(store, REVISIONS) == []


def test_a_dag_id_of_another_file_is_refused(root: Path, store: Store) -> None:
    (root / "other.json").write_text(text_of())
    with pytest.raises(InvalidDeploy, match="other"):
        put(root, store, text_of())
    assert not (root / "orders.json").exists()


@pytest.mark.parametrize(
    "file", ["../evil.json", "/etc/evil.json", "a.txt", ".hidden.json", "x/.git/a.json", "defaults.json", "a\nb.json"]
)
def test_paths_that_are_no_configs_of_the_folder_are_refused(root: Path, store: Store, file: str) -> None:
    with pytest.raises(ConfigError, match="can't be deployed"):
        deploy(file, text_of(), base_revision=None, actor="ada", root=root, store=store)


def test_symbolic_links_lead_nowhere(root: Path, store: Store) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "orders.json").write_text("mine")
    (root / "sub").symlink_to(outside)
    (root / "orders.json").symlink_to(outside / "orders.json")
    for file in ("sub/orders.json", "orders.json"):
        with pytest.raises(ConfigError, match="symbolic link"):
            deploy(file, text_of(), base_revision=None, actor="ada", root=root, store=store)
    assert (outside / "orders.json").read_text() == "mine"


def test_of_fifty_deploys_from_one_base_one_wins(root: Path, store: Store) -> None:
    base = put(root, store, text_of()).digest

    def attempt(number: int) -> str:
        try:
            put(root, store, text_of(tags=[f"t{number}"]), base)
        except FileChanged as error:
            return "refused" if error.diff else "refused without a diff"
        return f"t{number}"

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(attempt, range(50)))
    (winner,) = [answer for answer in answers if answer != "refused"]
    assert json.loads((root / "orders.json").read_text())["tags"] == [winner]
    assert [row["state"] for row in rows(store, REVISIONS)] == ["live", "live"]


KILLED = """
    import os, signal
    from pathlib import Path
    from dataforge.authoring import deploy as module
    from dataforge.settings import Settings
    real = module.os.rename
    def dying(*arguments, **named):
        if {moment!r} == "after":
            real(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    module.os.rename = dying
    root = Path({root!r})
    module.deploy("orders.json", {text!r}, base_revision={base!r}, actor="eve", reason="crash", root=root,
                  settings=Settings(configs_folder=root))
"""


@pytest.mark.parametrize(("moment", "state"), [("before", "abandoned"), ("after", "live")])
def test_what_a_killed_process_left_is_settled_by_the_next_command(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: str, state: str
) -> None:
    store = open_store()
    base = put(root, store, text_of()).digest
    program = KILLED.format(moment=moment, root=str(root), text=text_of(tags=["new"]), base=base)
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env={**os.environ}, check=False)
    assert child.returncode == -signal.SIGKILL
    assert rows(store, REVISIONS)[-1]["state"] == "pending"
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(root))
    get_settings.cache_clear()
    assert main(["validate", str(root)]) == 0
    assert [(row["state"], row["author"]) for row in rows(store, REVISIONS)][-1] == (state, "eve")
    assert rows(store, AUDIT)[-1]["action"] == "reconcile"
    assert not list(root.glob(".*.tmp"))
    assert mend() == []
    assert history("orders.json", root=root, store=store)[0].digest == digest_of(root / "orders.json")
    assert {row["text"] for row in rows(store, REVISIONS)} == {text_of(), text_of(tags=["new"])}
    put(root, store, text_of(tags=["later"]), digest_of(root / "orders.json"))


class Crash(BaseException):
    """The process is gone."""


STEPS = {
    "as the note is written": ("dataforge.authoring.unfinished.Lock.begin", "before", None),
    "before the revision": ("dataforge.store.revisions.begin", "before", None),
    "after the revision": ("dataforge.authoring.deploy._write", "before", "abandoned"),
    "as the file is written": ("dataforge.authoring.deploy.os.fchmod", "before", "abandoned"),
    "after the file's rename": ("dataforge.authoring.deploy.os.rename", "after", "live"),
    "after the whole file": ("dataforge.authoring.deploy._write", "after", "live"),
    "before the revision is live": ("dataforge.store.revisions.settle", "before", "live"),
    "after the revision is live": ("dataforge.store.revisions.settle", "after", "live"),
    "before its audit row": ("dataforge.store.audit.add", "before", "live"),
    "as the note is taken back": ("dataforge.authoring.unfinished.Lock.end", "before", "done"),
}


@pytest.mark.parametrize(
    ("step", "by"),
    [
        *((step, "the next command") for step in STEPS),
        *(
            (step, by)
            for step in ("after the revision", "after the whole file", "as the note is taken back")
            for by in ("a server that starts", "the next deploy", "the history")
        ),
    ],
)
def test_a_crash_at_any_step_leaves_file_and_revision_agreeing(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str, by: str
) -> None:
    store = open_store()
    put(root, store, text_of())
    where, when, state = STEPS[step]
    with monkeypatch.context() as patched:
        patched.setattr(where, crashing(where, when))
        with pytest.raises(Crash):
            put(root, store, text_of(tags=["new"]), actor="eve")
    match by:
        case "the next command":
            assert mend() == ([] if step == "as the note is written" else [f"{root}/orders.json"])
            assert mend() == []
        case "a server that starts":
            assert len(reconcile(root, store)) == (state in ("abandoned", "live"))
        case "the next deploy":
            put(root, store, text_of(tags=["later"]))
            assert mend() == []
        case _:
            history("orders.json", root=root, store=store)
    found = rows(store, REVISIONS)
    assert "pending" not in {row["state"] for row in found}
    ours = [row["state"] for row in found if row["author"] == "eve"]
    assert ours == ([] if state is None else ["live" if state == "done" else state])
    latest = history("orders.json", root=root, store=store)[0]
    assert (latest.digest, latest.kind) == (digest_of(root / "orders.json"), "deploy")
    assert json.loads((root / "orders.json").read_text())


def crashing(where: str, when: str) -> Any:
    """Return the function of a name, as it ends with the process."""
    module, _, name = where.rpartition(".")
    real = getattr(pkgutil.resolve_name(module), name)

    def crash(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            real(*arguments, **named)
        raise Crash

    return crash


def test_a_deploy_that_is_under_way_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    seen: list[list[Any]] = []
    real = Lock.begin

    def looked(lock: Lock, key: str) -> None:
        real(lock, key)
        seen.extend(([*mend()], [*reconcile(root, store)]))

    monkeypatch.setattr(Lock, "begin", looked)
    put(root, store, text_of())
    assert seen == [[], []]
    assert [row["state"] for row in rows(store, REVISIONS)] == ["live"]
    assert [row["action"] for row in rows(store, AUDIT)] == ["deploy"]


def test_a_store_that_is_away_keeps_no_command_from_its_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, open_store(), text_of())
    with locked(f"{root}/orders.json") as lock:
        lock.begin(f"{root}/orders.json")
    with monkeypatch.context() as patched:
        patched.setenv("AIRFLOW__DATAFORGE__STORE_URL", "postgresql+psycopg://127.0.0.1:1/x")
        get_settings.cache_clear()
        assert mend() == []
    get_settings.cache_clear()
    assert mend() == [f"{root}/orders.json"]


def test_a_rollback_takes_any_revision_by_id_or_digest(root: Path, store: Store) -> None:
    first = put(root, store, text_of())
    put(root, store, text_of(tags=["b"]))
    put(root, store, text_of(tags=["c"]))
    settings = Settings(configs_folder=root)
    rollback("orders.json", first.digest[:12], actor="bob", root=root, settings=settings, store=store)
    assert (root / "orders.json").read_text() == text_of()
    with pytest.raises(ConfigError, match="no revision '999'"):
        rollback("orders.json", "999", actor="bob", root=root, settings=settings, store=store)


def test_a_deploy_can_also_be_a_git_commit(root: Path, store: Store) -> None:
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    settings = Settings(configs_folder=root, deploy_git=True)
    done = put(root, store, text_of(), reason="first", settings=settings)
    assert "committed to Git" in done.notes[0]
    log = subprocess.run(
        ["git", "-C", str(root), "log", "--format=%an %s %H"], capture_output=True, text=True, check=True
    )
    name, subject, commit = log.stdout.split()
    assert (name, subject) == ("ada", "first")
    assert history("orders.json", root=root, store=store)[0].commit_id == commit


def test_a_failing_git_does_not_take_the_deploy_back(root: Path, store: Store) -> None:
    done = put(root, store, text_of(), settings=Settings(configs_folder=root, deploy_git=True))
    assert "not committed" in done.notes[0]
    assert (root / "orders.json").exists()
