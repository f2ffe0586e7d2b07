"""Connections through Airflow's hooks: what becomes of one that can't be prepared."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from dataforge.components.dbapi import connect
from dataforge.errors import TerminalError
from dataforge.runtime.connections import lookup


def test_a_session_that_can_not_be_prepared_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"conn_type": "sqlite", "host": str(tmp_path / "a.db")}
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps(about))
    opened: list[Any] = []

    def prepare(hook: Any, con: Any) -> None:
        opened.append(con)
        con.execute("set something")

    with pytest.raises(TerminalError, match="syntax error"):
        connect(lookup("lite"), None, lambda *_, **__: None, prepare)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[0].execute("select 1")
    for thread in threading.enumerate():
        if thread.name == "dataforge-lifeline":
            thread.join(5)
            assert not thread.is_alive()
