"""The deployment's models: use counted in the store for all processes, and what is said when there is none."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest
from dataforge.authoring.catalogue import Catalogue
from dataforge.authoring.generations import record_draft
from dataforge.authoring.models import StoreLedger, open_models
from dataforge.errors import BudgetSpent, ModelAway, ModelRefused
from dataforge.gateway.base import Message, Request
from dataforge.gateway.scripted import Scripted, gateway_over
from dataforge.settings import get_settings
from dataforge.store import chats
from dataforge.store.database import open_store


def asked(text: str = "x") -> Request:
    return Request("author", (Message("user", text),), actor="ada")


def test_a_budget_counts_what_another_process_used() -> None:
    program = (
        "from dataforge.authoring.models import StoreLedger\n"
        "from dataforge.gateway.base import Message, Request\n"
        "from dataforge.gateway.scripted import Scripted, gateway_over\n"
        "gateway = gateway_over(Scripted('word ' * 200), ledger=StoreLedger())\n"
        "gateway.complete(Request('author', (Message('user', 'x'),), actor='ada'))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    used = StoreLedger().spent(actor="ada")
    assert used.completion_tokens == 250
    assert [(one.model, one.task, one.usage.calls) for one in StoreLedger().summary()] == [
        ("scripted/scripted", "author", 1)
    ]
    settings = get_settings().model_copy(update={"llm_tokens_per_user_day": used.tokens + 100})
    gateway = gateway_over(Scripted("y"), ledger=StoreLedger(), settings=settings)
    with pytest.raises(BudgetSpent, match="ada today"):
        gateway.complete(asked())


def test_a_store_that_is_away_is_not_taken_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATAFORGE__STORE_URL", "postgresql://u:hunter2@127.0.0.1:1/d")
    get_settings.cache_clear()
    with pytest.raises(ModelRefused, match="can't be counted") as caught:
        gateway_over(Scripted("y"), ledger=StoreLedger()).complete(asked())
    assert "hunter2" not in str(caught.value)


def test_no_model_and_a_model_that_is_away_are_told_apart_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataforge.gateway.connections._ADDRESSES", {"ollama": "http://127.0.0.1:9"})
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_ATTEMPTS", "1")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__BREAKER_FAILURES", "1")
    get_settings.cache_clear()
    gateway = open_models()
    with pytest.raises(ModelAway, match=r"^no language model is set up.*ollama pull.*llm_chain"):
        gateway.complete(asked())
    assert gateway.models()[0].error.startswith("no language model is set up")
    monkeypatch.setenv("AIRFLOW_CONN_BIG", "ollama://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_CHAIN", "big/qwen")
    get_settings.cache_clear()
    gateway = open_models()
    with pytest.raises(ModelAway, match=r"connection 'big' .*start the server.*dataforge models"):
        gateway.complete(asked())
    began = time.monotonic()
    with pytest.raises(ModelAway, match=r"big/qwen.*dataforge models"):
        gateway.complete(asked())
    assert time.monotonic() - began < 0.1
    monkeypatch.setenv("AIRFLOW__DATAFORGE__LLM_CHAIN", "bgi/qwen")
    get_settings.cache_clear()
    with pytest.raises(ModelRefused, match=r"llm_chain.*'bgi'.*did you mean 'big'"):
        open_models().complete(asked())


def test_what_a_model_generated_is_kept_with_its_prompt_and_other_drafts_are_not(tmp_path: Path) -> None:
    text = "Bring a.csv to the duckdb table t, and squash the cents column of bob@example.com"
    known = Catalogue(folder=tmp_path)
    answer = '{"transforms": [{"type": "cast", "columns": {"cents": "integer"}}], "checks": []}'
    draft = author(AuthorRequest(text, folder=tmp_path), gateway_over(Scripted(answer)), catalogue=known)
    record_draft(draft, text, kind="author", actor="ada")
    plain = author(AuthorRequest("load a.csv into duckdb table t", folder=tmp_path), None, catalogue=known)
    record_draft(plain, "load", kind="author", actor="ada")
    (kept,) = chats.generations(open_store(), "ada")
    assert (kept["model"], kept["outcome"], kept["config"]) == ("scripted/scripted", "valid", draft.text)
    assert kept["prompt_hash"] == draft.trace[0].prompt_hash
    assert kept["details"]["turns"][0]["prompt"].startswith("author@1:")
    assert "bob@example.com" not in kept["request"]
