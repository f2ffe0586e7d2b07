"""The chain of audit entries: whole under many writers, and broken by whatever is done to it afterwards."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import text

from dataforge.cli import main
from dataforge.store import audit
from dataforge.store.database import Store, open_store

CANARY = "AKIA" + "ABCDEFGHIJKLMNOP"


def write(actor: str) -> None:
    """Write entries, in a process of its own."""
    for number in range(15):
        audit.record(open_store(), actor, "deploy", "orders.json", {"number": number})


@pytest.fixture
def store() -> Store:
    return open_store()


def change(store: Store, statement: str) -> None:
    with store.transaction() as connection:
        connection.execute(text(statement))


def test_several_processes_write_one_chain(store: Store) -> None:
    with get_context("fork").Pool(3) as pool:
        pool.map(write, ("p0", "p1", "p2"), chunksize=1)
    assert audit.verify(store) == audit.Verified(45, audit.entries(store, limit=1)[0].digest)
    assert {one.actor for one in audit.entries(store)} == {"p0", "p1", "p2"}


TAMPERED = (
    ("update dataforge_audit set actor = 'eve' where id = 3", 3),
    ("update dataforge_audit set details = '{}' where id = 1", 1),
    ("update dataforge_audit set at = '2020-01-01' where id = 4", 4),
    ("delete from dataforge_audit where id = 2", 3),
    ("delete from dataforge_audit where id = 1", 2),
    ("delete from dataforge_audit where id = 5", 4),
    ("delete from dataforge_audit where id >= 1", 0),
    ("update dataforge_audit set id = 9 where id = 2", 3),
    ("delete from dataforge_audit_end", 5),
)


def test_an_entry_that_is_changed_removed_or_moved_is_found(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        audit.record(store, "ada", "deploy", "a.json", {"number": number})
    assert main(["audit", "verify"]) == 0
    for number, (statement, broken_at) in enumerate(TAMPERED):
        copied = tmp_path / f"{number}.db"
        with closing(sqlite3.connect(str(store.engine.url.database))) as one, closing(sqlite3.connect(copied)) as other:
            one.backup(other)
        copy = open_store(f"sqlite:///{copied}")
        change(copy, statement)
        found = audit.verify(copy)
        assert (found.ok, found.broken_at) == (False, broken_at), statement
    change(store, TAMPERED[0][0])
    capsys.readouterr()
    assert main(["audit", "verify", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["broken_at"] == 3


def test_a_chain_that_was_made_anew_lacks_the_digest_that_was_written_down(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    audit.record(store, "ada", "deploy", "a.json")
    end = audit.verify(store).end
    audit.record(store, "ada", "deploy", "b.json")
    assert main(["audit", "verify", "--end", end]) == 0
    change(store, "delete from dataforge_audit")
    change(store, "delete from dataforge_audit_end")
    audit.record(store, "ada", "deploy", "a.json")
    assert main(["audit", "verify"]) == 0
    assert main(["audit", "verify", "--end", end]) == 1
    assert "not in the chain" in capsys.readouterr().out


def test_an_entry_and_what_it_tells_of_come_together_or_not_at_all(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction() as connection:
        audit.add(connection, "ada", "deploy", "a.json")
        raise RuntimeError
    assert audit.verify(store) == audit.Verified(0, "")


def test_no_secret_and_no_mark_that_misleads_stands_in_an_entry(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = {"reason": f"with {CANARY} and {CANARY}", "password": "hunter22", "list": [{"token": "t0ps3cret"}]}
    audit.record(store, "ada\n\u202eeve", "run", f"x?api_key={CANARY}".replace("?api_key=", " "), detail)
    assert main(["audit", "list", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["detail"] == {"reason": "with *** and ***", "password": "***", "list": [{"token": "***"}]}
    assert entry["actor"] == "ada��eve"
    assert CANARY not in json.dumps(entry)


def test_entries_are_found_by_actor_action_and_subject_page_by_page(store: Store) -> None:
    for number in range(4):
        audit.record(store, "ada" if number % 2 else "eve", "deploy" if number < 3 else "run", f"{number}.json")
    assert [one.subject for one in audit.entries(store, actor="ada")] == ["3.json", "1.json"]
    assert [one.subject for one in audit.entries(store, action="run")] == ["3.json"]
    assert [one.subject for one in audit.entries(store, subjects=("0.json", "x"))] == ["0.json"]
    first = audit.entries(store, limit=3)
    assert [one.subject for one in audit.entries(store, before=first[-1].id)] == ["0.json"]


def test_the_entries_of_the_version_before_become_a_chain(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from dataforge.store import database

    url = f"sqlite:///{tmp_path / 'store.db'}"
    old = Store(database._engine(database._parsed(url)))
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with old.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for name in ("a", "b"):
            connection.execute(
                text(
                    "insert into dataforge_audit (at, actor, action, subject, details)"
                    " values ('2026-01-01 10:00:00.123456', 'ada', 'deploy', :name, '{}')"
                ),
                {"name": name},
            )
    store = open_store(url)
    assert audit.verify(store).entries == 2
    audit.record(store, "ada", "deploy", "c")
    assert audit.verify(store).ok
    change(store, "update dataforge_audit set subject = 'x' where subject = 'b'")
    assert audit.verify(store).broken_at == 2
