"""The commands on the ledger, in a real PostgreSQL: what they show, what they change, what they refuse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataforge.cli import main
from dataforge.settings import get_settings
from dataforge.store import audit
from dataforge.store.database import open_store

Data = dict[str, Any]


@dataclass
class Shop:
    """A configs folder with orders.csv in it, and a schema of its own in the warehouse."""

    folder: Path
    uri: str
    schema: str
    capture: pytest.CaptureFixture[str]

    def records(self, *rows: str) -> None:
        """Write orders.csv."""
        (self.folder / "orders.csv").write_text("\n".join(["id,amount,changed", *rows]) + "\n")

    def config(self, **changes: Any) -> Path:
        """Write a config that loads orders.csv."""
        destination = {"type": "postgres", "connection": "warehouse", "table": f"{self.schema}.orders"}
        data: Data = {
            "dag_id": "orders",
            "source": {"type": "csv", "path": "orders.csv"},
            "destination": destination | changes.pop("destination", {}),
            **changes,
        }
        path = self.folder / "orders.json"
        path.write_text(json.dumps(data))
        return path

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Run the command line; return exit code, standard output, standard error."""
        self.capture.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = self.capture.readouterr()
        return code, out, err

    def json(self, *arguments: object) -> Any:
        """Run a command that must succeed; return its JSON."""
        code, out, err = self(*arguments, "--format", "json")
        assert code == 0, err
        return json.loads(out)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the warehouse."""
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.uri) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def count(self) -> int:
        """Return the number of rows in the table."""
        found: int = self.rows(f'select count(*) from "{self.schema}"."orders"')[0][0]
        return found

    def runs(self, path: Path) -> list[str]:
        """Return the ids of the runs that were loaded, the newest first."""
        (target,) = self.json("loads", path)["targets"]
        return [load["run_id"] for load in target["loads"]]


@pytest.fixture
def shop(
    tmp_path: Path,
    warehouse: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    folder = tmp_path / "configs"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__DATAFORGE__CONFIGS_FOLDER", str(folder))
    get_settings.cache_clear()
    made = Shop(folder, warehouse, f"shop_{tmp_path.name[-40:].lower()}", capsys)
    made.records("1,10,2024-01-01", "2,20,2024-01-02")
    yield made
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(warehouse) as connection, connection.cursor() as cursor:
        cursor.execute(f'drop schema if exists "{made.schema}" cascade')
        connection.commit()


@pytest.fixture
def run(shop: Shop) -> Callable[[Path], None]:
    """Return a function that runs a pipeline that must succeed."""

    def go(path: Path) -> None:
        code, _, err = shop("run", path)
        assert code == 0, err

    return go


Run = Callable[[Path], None]


class TestLoads:
    def test_every_load_is_listed_the_newest_first(self, shop: Shop, run: Run) -> None:
        path = shop.config()
        run(path)
        shop.records("3,30,2024-01-03")
        run(path)
        (target,) = shop.json("loads", path)["targets"]
        assert target["target"] == f"warehouse/{shop.schema}.orders"
        assert [load["rows"] for load in target["loads"]] == [1, 2]
        assert all(load["run_id"].startswith("cli__") and load["undone_at"] is None for load in target["loads"])
        code, out, _ = shop("loads", path)
        title, headings, *_ = out.splitlines()
        assert title.rstrip() == f"warehouse/{shop.schema}.orders: loads of orders, the newest first"
        wanted = "committed run disposition rows inserted updated deleted rejected undone"
        assert headings.replace("┃", " ").split() == wanted.split()
        assert (code, "append" in out) == (0, True)
        assert len(shop.json("loads", path, "--limit", 1)["targets"][0]["loads"]) == 1

    def test_a_run_can_be_named_and_repeated_by_its_name(self, shop: Shop, run: Run) -> None:
        path = shop.config()
        assert shop.json("run", path, "--run-id", "by hand: 1/2")["run_id"] == "by hand: 1/2"
        run(path)
        shop.records("3,30,2024-01-03")
        assert shop("run", path, "--run-id", "by hand: 1/2")[0] == 0
        assert sorted(shop.rows(f'select id from "{shop.schema}"."orders"')) == [(1,), (2,), (3,)]
        assert "by hand: 1/2" in shop.runs(path)
        assert shop("undo", path, "by hand: 1/2", "--yes")[0] == 0
        assert shop.count() == 2
        for name in ("", " ", "a\nb", "x" * 251):
            with pytest.raises(SystemExit):
                shop("run", path, "--run-id", name)

    def test_before_the_first_load_there_are_none_and_no_ledger_is_made(self, shop: Shop) -> None:
        code, out, err = shop("loads", shop.config())
        assert (code, "no loads yet" in out) == (0, True), err
        assert shop.rows(f"select * from pg_namespace where nspname = '{shop.schema}'") == []

    def test_a_destination_that_is_not_there_is_a_wrong_usage(self, shop: Shop) -> None:
        code, _, err = shop("loads", shop.config(), "--destination", 2)
        assert (code, "no destination 2" in err) == (2, True)


class TestUndo:
    def test_the_rows_of_one_run_go_and_others_stay(self, shop: Shop, run: Run) -> None:
        path = shop.config()
        run(path)
        shop.records("3,30,2024-01-03")
        run(path)
        newest, oldest = shop.runs(path)
        code, out, err = shop("undo", path, oldest, "--yes")
        assert code == 0, err
        assert "2 rows removed" in out
        assert shop.rows(f'select id from "{shop.schema}"."orders"') == [(3,)]
        (target,) = shop.json("loads", path)["targets"]
        assert [load["undone_at"] is None for load in target["loads"]] == [True, False]
        again = shop("undo", path, oldest, "--yes")
        assert (again[0], "no load of run" in again[2]) == (3, True)
        assert newest in shop.runs(path)

    def test_nothing_is_done_without_a_yes(self, shop: Shop, run: Run) -> None:
        path = shop.config()
        run(path)
        code, _, err = shop("undo", path, shop.runs(path)[0])
        assert code == 2
        assert "append of 2 rows" in err
        assert "--yes" in err
        assert shop.count() == 2

    def test_what_can_not_be_taken_back_says_why(self, shop: Shop, run: Run) -> None:
        path = shop.config(destination={"write_disposition": "replace"})
        run(path)
        shop.records("3,30,2024-01-03")
        run(path)
        code, _, err = shop("undo", path, shop.runs(path)[0], "--yes")
        assert code == 3
        assert "keep_previous" in err
        assert shop.count() == 1


class TestCursor:
    SOURCE: Data = {"type": "csv", "path": "orders.csv", "cursor_field": "changed"}

    def test_it_is_shown_after_a_load(self, shop: Shop, run: Run) -> None:
        path = shop.config(source=self.SOURCE)
        run(path)
        (target,) = shop.json("cursor", "show", path)["targets"]
        assert target["cursor"]["source"]["value"] == "2024-01-02"
        assert "2024-01-02" in shop("cursor", "show", path)[1]

    def test_setting_it_back_reads_again_and_says_so(self, shop: Shop, run: Run) -> None:
        path = shop.config(source=self.SOURCE)
        run(path)
        run_again = shop("cursor", "set", path, "2024-01-01", "--yes")
        assert run_again[0] == 0, run_again[2]
        assert "from 2024-01-01 to 2024-01-02 again" in run_again[2]
        assert "'append' adds them" in run_again[2]
        run(path)
        assert shop.count() == 4

    def test_setting_it_on_skips_and_says_so(self, shop: Shop, run: Run) -> None:
        path = shop.config(source=self.SOURCE)
        run(path)
        code, _, err = shop("cursor", "set", path, "--value", "2024-02-01", "--yes")
        assert (code, "are skipped for good" in err) == (0, True), err
        shop.records("3,30,2024-01-15", "4,40,2024-02-02")
        run(path)
        assert sorted(shop.rows(f'select id from "{shop.schema}"."orders"')) == [(1,), (2,), (4,)]

    def test_a_value_of_another_type_is_refused(self, shop: Shop, run: Run) -> None:
        path = shop.config(source=self.SOURCE)
        run(path)
        code, _, err = shop("cursor", "set", path, "--value", "yesterday", "--yes")
        assert (code, "'yesterday' is no value of type DATE" in err) == (3, True), err
        for said in ((), ("2024-01-01", "--value", "2024-01-01")):
            code, _, err = shop("cursor", "set", path, *said, "--yes")
            assert (code, "say the value once" in err) == (2, True), err

    def test_it_is_forgotten_by_a_reset(self, shop: Shop, run: Run) -> None:
        path = shop.config(source=self.SOURCE)
        run(path)
        code, out, err = shop("cursor", "reset", path, "--yes")
        assert (code, out) == (0, "cursor reset\n")
        assert "from the beginning" in err
        (target,) = shop.json("cursor", "show", path)["targets"]
        assert not target["cursor"]

    def test_nothing_changes_without_a_yes(self, shop: Shop, run: Run) -> None:
        path = shop.config(source=self.SOURCE)
        run(path)
        before = shop.json("cursor", "show", path)
        assert shop("cursor", "set", path, "--value", "2020-01-01")[0] == 2
        assert shop("cursor", "reset", path)[0] == 2
        assert shop.json("cursor", "show", path) == before

    def test_a_source_without_a_cursor_field_has_none_to_set(self, shop: Shop) -> None:
        code, _, err = shop("cursor", "set", shop.config(), "--value", "1", "--yes")
        assert (code, "no source of 'orders' has a 'cursor_field'" in err) == (2, True)


class TestDeadLetters:
    SETTINGS: Data = {
        "dead_letters": {"max_share": 0.9},
        "checks": [{"type": "range", "column": "amount", "max": 15, "severity": "reject"}],
    }

    def test_they_are_listed_shown_and_replayed(self, shop: Shop, run: Run) -> None:
        path = shop.config(**self.SETTINGS)
        run(path)
        assert shop.count() == 1
        (target,) = shop.json("dead-letters", "list", path)["targets"]
        (letter,) = target["dead_letters"]
        assert "record" not in letter
        (target,) = shop.json("dead-letters", "show", path, "--id", letter["id"])["targets"]
        assert json.loads(target["dead_letters"][0]["record"])["id"] == 2
        code, out, _ = shop("dead-letters", "show", path, "--id", letter["id"])
        assert (code, "reason:" in out) == (0, True)

        shop.config(dead_letters={"max_share": 0.9})
        code, out, err = shop("dead-letters", "replay", path, "--all")
        assert code == 0, err
        assert "1 dead letters replayed, 1 rows loaded" in out
        (noted,) = audit.entries(open_store())
        assert (noted.action, noted.subject, noted.detail["replayed"]) == ("replayed", "orders", 1)
        assert shop.count() == 2
        assert shop.json("dead-letters", "list", path)["targets"][0]["dead_letters"] == []
        (target,) = shop.json("dead-letters", "list", path, "--all")["targets"]
        assert target["dead_letters"][0]["replayed_by"]
        assert "no dead letters that were not replayed" in shop("dead-letters", "replay", path, "--all")[1]
        assert shop.count() == 2

    @pytest.mark.parametrize("files", [False, True], ids=["table", "files"])
    def test_those_of_a_load_that_was_taken_back_are_not_replayed(self, shop: Shop, run: Run, files: bool) -> None:
        path = shop.config(**self.SETTINGS)
        if files:
            path.write_text(json.dumps({**json.loads(path.read_text()), "destination": {"type": "csv", "path": "o/"}}))
        run(path)
        assert shop.json("dead-letters", "list", path)["targets"][0]["dead_letters"]
        code, _, err = shop("undo", path, shop.runs(path)[0], "--yes")
        assert code == 0, err
        code, out, err = shop("dead-letters", "replay", path, "--all")
        assert (code, "no dead letters that were not replayed" in out) == (0, True), err
        assert len(shop.runs(path)) == 1

    def test_a_replay_wants_to_know_of_which(self, shop: Shop) -> None:
        code, _, err = shop("dead-letters", "replay", shop.config())
        assert (code, "--all" in err) == (2, True)

    def test_an_id_that_is_not_there_is_told(self, shop: Shop, run: Run) -> None:
        path = shop.config()
        run(path)
        code, _, err = shop("dead-letters", "show", path, "--id", "nope")
        assert (code, "no such dead letters" in err) == (3, True)


class TestPlan:
    def everything(self, shop: Shop) -> list[tuple[Any, ...]]:
        """All tables of all schemas but the system's, with the number of rows of each."""
        tables = shop.rows(
            "select table_schema::text, table_name::text from information_schema.tables "
            "where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2"
        )
        return [(*table, *shop.rows('select count(*) from "{}"."{}"'.format(*table))[0]) for table in tables]

    def files(self, shop: Shop) -> list[str]:
        return sorted(path.name for path in shop.folder.parent.rglob("*"))

    def test_a_first_run_shows_the_table_it_would_make_and_leaves_nothing(self, shop: Shop) -> None:
        path = shop.config()
        before = self.everything(shop), self.files(shop)
        code, out, err = shop("plan", path)
        assert code == 0, err
        assert "create table" in out.lower()
        assert "2 inserted, 0 updated, 0 deleted, 0 rejected" in out
        assert "nothing was written" in out
        assert (self.everything(shop), self.files(shop)) == before
        assert shop.rows(f"select 1 from pg_namespace where nspname = '{shop.schema}'") == []

    def test_a_later_run_shows_what_it_would_change_and_changes_nothing(self, shop: Shop, run: Run) -> None:
        path = shop.config(
            source={"type": "csv", "path": "orders.csv", "cursor_field": "changed", "lookback": "30d"},
            destination={"write_disposition": "merge", "primary_key": ["id"]},
        )
        run(path)
        (shop.folder / "orders.csv").write_text("id,amount,changed,note\n2,25,2024-01-05,x\n3,30,2024-01-06,y\n")
        before = self.everything(shop), shop.json("cursor", "show", path), self.files(shop)
        report = shop.json("plan", path)
        (load,) = report["loads"]
        assert (load["inserted"], load["updated"], load["deleted"]) == (1, 1, 0)
        assert any("note" in change for change in load["schema_changes"])
        assert (self.everything(shop), shop.json("cursor", "show", path), self.files(shop)) == before
        run(path)
        assert shop.count() == 3

    @pytest.mark.parametrize(
        "destination",
        [
            {"type": "duckdb", "table": "orders"},
            {"type": "csv", "path": "orders/"},
            {"type": "parquet", "path": "orders.parquet", "write_disposition": "replace"},
        ],
        ids=lambda destination: str(destination["type"]),
    )
    def test_files_are_neither_made_nor_changed(self, shop: Shop, run: Run, home: Path, destination: Data) -> None:
        path = shop.config()
        path.write_text(json.dumps({**json.loads(path.read_text()), "destination": destination}))

        def contents() -> dict[str, bytes]:
            return {
                str(file.relative_to(home)): file.read_bytes()
                for file in sorted(home.rglob("*"))
                if file.is_file() and "staging" not in file.parts
            }

        before = contents()
        code, out, err = shop("plan", path)
        assert code == 0, err
        assert "2 inserted" in out
        assert contents() == before
        run(path)
        before = contents()
        assert shop("plan", path)[0] == 0
        assert contents() == before

    def test_a_destination_that_can_not_tell_is_left_alone(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        from dataforge.destinations.postgres import PostgresDestination

        able = dataclasses.replace(PostgresDestination.capabilities, plans=False)
        monkeypatch.setattr(PostgresDestination, "capabilities", able)
        before = self.everything(shop)
        code, _, err = shop("plan", shop.config())
        assert (code, "can't tell what a load would do without doing it" in err) == (3, True)
        assert self.everything(shop) == before


class TestLetter:
    def test_validate_says_one_line_for_each_pipeline(self, shop: Shop) -> None:
        code, out, _ = shop("validate", shop.config())
        assert code == 0
        assert out.startswith("orders: exactly-once effect (E): ")

    def test_validate_says_it_as_a_finding_of_level_info_for_machines(self, shop: Shop) -> None:
        code, out, _ = shop("validate", shop.config(), "--format", "json")
        (finding,) = json.loads(out)
        assert (code, finding["severity"], finding["code"], finding["pointer"]) == (
            0,
            "info",
            "delivery",
            "/destination",
        )

    def test_show_says_it_too(self, shop: Shop) -> None:
        path = shop.config()
        assert "- **Guarantees** exactly-once effect (`E`): " in shop("show", path)[1]
        (shown,) = shop.json("show", path)
        assert shown["delivery"][0]["letter"] == "E"
