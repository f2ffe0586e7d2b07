"""Refining, repairing, cancelling and a provider's faults on a real small model: what must hold whatever it says.

The model answers at temperature 0, but not with the same words on each processor. So nothing here is about its words:
what comes back is sound or told to be wrong, all else of a config stays to the byte, and no server takes a draft away.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import model_server as models
from tests.faults.proxy import Fault, Proxy
from tests.model_server import CONTEXT, NAME, Front

from dataforge.authoring import diff
from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest, Draft, Turn
from dataforge.authoring.catalogue import Catalogue, Known
from dataforge.authoring.checks import check_text, text_checker
from dataforge.authoring.models import open_models
from dataforge.authoring.refine import refine
from dataforge.authoring.repair import Repaired, repair
from dataforge.cli import main
from dataforge.components.base import Connection
from dataforge.gateway.base import Cancel, Event, Message, Request
from dataforge.gateway.calls import ModelGateway
from dataforge.gateway.opening import open_gateway
from dataforge.settings import from_mapping, get_settings
from dataforge.store.database import open_store
from dataforge.store.usage import summary

KEY = "key-canary-8812"
KNOWN = (Known("shop_db", "postgres"), Known("warehouse", "postgres"))
LOOSE = "Bring shop_db public.payments to warehouse fin.payments, and squash the cents column into whole units"
OPEN = "load sales.csv into the duckdb table sales, replacing it, but squash whatever is small"

HEAD = (
    '{\n   "dag_id" : "orders_daily",\n  "schedule": "@daily",   "tags": ["sales"],\n'
    '  "source": {"type":"csv",   "path": "orders.csv"},\n'
)
STEPS = (
    '  "transforms": [\n    {"type": "filter", "where": "status = \'paid\' and amount > 10"},\n'
    '      {"type": "mask",  "columns": {"email": "hash"}}\n  ],\n'
    '  "checks": [{"type": "not_null", "columns": ["id"]}],\n'
)
TAIL = (
    '  "destination": {"type": "postgres", "connection": "warehouse", "table": "orders", '
    '"write_disposition": "replace" }\n}\n'
)
TEXT = HEAD + STEPS + TAIL
PATIENT = {
    "LLM_CACHE_HOURS": "0", "LLM_FIRST_TOKEN_SECONDS": "200", "LLM_IDLE_SECONDS": "120", "LLM_TOTAL_SECONDS": "240"
}  # fmt: skip
"""Each answer is generated, and one thread of a machine that has much else to do may take minutes for it."""
HOURLY = "run it hourly and squash the cents somehow"


@dataclass(frozen=True)
class Lab:
    """The gateway to the real model over one address, and what it told of its calls."""

    gateway: ModelGateway
    events: list[Event] = field(default_factory=list)


def lab_at(url: str) -> Lab:
    """Return the gateway to the real model at an address."""
    connection = Connection("lab", "ollama", url, password=KEY, extra={"model": NAME, "num_ctx": CONTEXT})
    found = from_mapping({"llm_chain": "lab", **{name.lower(): value for name, value in PATIENT.items()}})
    events: list[Event] = []
    return Lab(open_gateway(lambda _: connection, settings=found, observer=events.append), events)


@pytest.fixture
def lab(model_server: Front) -> Lab:
    """The real model, straight."""
    return lab_at(model_server.url)


@pytest.fixture
def proxy(model_server: Front) -> Iterator[Proxy]:
    """A network to the real model that a test can make fail."""
    with Proxy(("127.0.0.1", model_server.server_port)) as found:
        yield found


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    folder = tmp_path / "configs"
    folder.mkdir()
    return Catalogue(KNOWN, complete=True, folder=folder)


def url_of(proxy: Proxy) -> str:
    """Return where a proxy listens."""
    assert isinstance(proxy.address, tuple)
    return f"http://127.0.0.1:{proxy.address[1]}"


def eventually(true: Callable[[], bool], seconds: float = 120) -> bool:
    """Wait until something holds; whether it came to hold."""
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        time.sleep(0.02)
    return true()


def refined(wish: str, lab: Lab, catalogue: Catalogue) -> Draft:
    """Return what becomes of TEXT."""
    wanted = AuthorRequest(wish, base=json.loads(TEXT), folder=catalogue.folder)
    return refine(wanted, lab.gateway, text=TEXT, catalogue=catalogue)


def drafted(lab: Lab, catalogue: Catalogue, **more: Any) -> Draft:
    """Return what becomes of a request that needs the model."""
    return author(AuthorRequest(LOOSE, folder=catalogue.folder), lab.gateway, catalogue=catalogue, **more)


def model_turns(trace: tuple[Turn, ...]) -> list[Turn]:
    """Return the turns that the model took."""
    return [turn for turn in trace if turn.model]


def assert_told(trace: tuple[Turn, ...], events: list[Event], task: str) -> None:
    """Each turn of the model has its prompt's version and hash and what it took, and the gateway told the same."""
    turns = model_turns(trace)
    assert turns
    for turn in turns:
        assert turn.model.removeprefix("lab/") == NAME
        assert re.fullmatch(r"[a-z]+@\d+:\w+", turn.prompt)
        assert re.fullmatch("[0-9a-f]{64}", turn.prompt_hash)
        assert turn.usage.prompt_tokens > 100
        assert turn.usage.completion_tokens > 0
        assert not turn.usage.estimated
    assert [turn.prompt_hash for turn in turns] == [event.prompt_hash for event in events if event.task == task]


def assert_sound(text: str, before: str, shown: set[str], catalogue: Catalogue) -> None:
    """A text parses, what is wrong in it is told, and it names no place that was not there."""
    config = json.loads(text)
    assert isinstance(config, dict)
    found = check_text(text, catalogue=catalogue, path=Path("draft.json"))
    assert {one.code for one in found.errors} <= shown
    assert set(_named(config)) <= set(_named(json.loads(before)))
    assert "://" not in text
    assert KEY not in text


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key in ("connection", "path", "table", "endpoint"):
                yield str(part)
            yield from _named(part)
    elif isinstance(value, list):
        for part in value:
            yield from _named(part)


# ---- refine ---------------------------------------------------------------------------------------------------------

BEFORE_SCHEDULE, AFTER_SCHEDULE = TEXT[: TEXT.index('"@daily"')], TEXT[TEXT.index(',   "tags"') : -len("\n}\n")]


@pytest.mark.parametrize(
    ("wish", "places", "stays"),
    [
        ("make the amount gross by putting nineteen percent on top", ("/transforms", "/checks"), (HEAD, TAIL)),
        ("teile die Betraege durch hundert", ("/transforms", "/checks"), (HEAD, TAIL)),
        (HOURLY, ("/schedule", "/timezone"), (BEFORE_SCHEDULE, AFTER_SCHEDULE)),
    ],
)
def test_whatever_a_real_model_edits_all_else_of_the_config_stays_to_the_byte(
    wish: str, places: tuple[str, ...], stays: tuple[str, ...], lab: Lab, catalogue: Catalogue, model_server: Front
) -> None:
    asked = len(model_server.asked)
    made = refined(wish, lab, catalogue)
    assert [one["model"] for one in model_server.asked[asked:] if one.get("messages")]
    assert_told(made.trace, [one for one in lab.events if one.task == "refine"], "refine")
    assert made.usage.tokens == sum(event.usage.tokens for event in lab.events)
    assert_sound(made.text, TEXT, {one.code for one in made.findings}, catalogue)
    assert made.config == json.loads(made.text)
    assert all(piece in made.text for piece in stays)
    assert {"/" + one.pointer.split("/")[1] for one in made.diff} <= set(places)
    assert made.diff == diff.changes(json.loads(TEXT), json.loads(made.text))
    assert made.diff or made.findings, "what came to nothing is said"
    assert KEY not in json.dumps(model_server.asked[asked:])


# ---- repair ---------------------------------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "dag_id": "orders",
    "schedule": "@daily",
    "source": {"type": "csv", "path": "orders.csv"},
    "transforms": [{"type": "limit", "count": 10}, {"type": "filter", "where": "amount > 0"}],
    "destination": {"type": "postgres", "connection": "warehouse", "table": "sales.orders"},
}


def broken(**changes: Any) -> str:
    """Return CONFIG with some keys changed."""
    return json.dumps({**CONFIG, **changes}, indent=2) + "\n"


RIDDLE = broken(schedule="now and then")
WORDS = broken(transforms=[CONFIG["transforms"][0], {"type": "filter", "where": "only the good ones"}])
TWO = broken(schedule="now and then", transforms=[CONFIG["transforms"][0], {"type": "filter"}])


def repaired(text: str, lab: Lab, catalogue: Catalogue, **more: Any) -> Repaired:
    """Return what repair makes of a text."""
    assert catalogue.folder is not None
    path = catalogue.folder / "orders.json"
    return repair(
        text, path=path, root=catalogue.folder, gateway=lab.gateway, connections=catalogue.types, use_cache=False,
        check=text_checker(path, catalogue=catalogue), **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        (RIDDLE, RIDDLE.partition('"now and then"')[0], RIDDLE.partition('"now and then"')[2]),
        (WORDS, WORDS[: WORDS.index('{\n      "type": "filter"')], WORDS[WORDS.index('\n  ],\n  "destination"') :]),
    ],
    ids=["schedule", "condition"],
)
def test_a_real_model_repairs_what_no_fixer_can_and_touches_nothing_else(
    text: str, first: str, last: str, lab: Lab, catalogue: Catalogue
) -> None:
    done = repaired(text, lab, catalogue)
    before, after = model_turns(done.trace)[0].before, done.candidate.findings
    assert done.stopped in ("valid", "limit", "no progress", "repeated")
    assert done.valid == (done.stopped == "valid")
    assert 1 <= len(model_turns(done.trace)) <= 5
    assert_told(done.trace, lab.events, "repair")
    assert done.usage.tokens == sum(event.usage.tokens for event in lab.events)
    assert_sound(done.candidate.text, text, {one.code for one in after}, catalogue)
    assert done.candidate.config == json.loads(done.candidate.text)
    assert done.candidate.text.startswith(first)
    assert done.candidate.text.endswith(last)
    assert len(done.candidate.errors) <= len(before)
    for turn in model_turns(done.trace):
        assert turn.note or len(turn.after) < len(turn.before)


def test_repair_on_the_command_line_ends_at_its_limit_with_the_best_candidate_and_the_trace(
    model_server: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two values are open and one turn mends one at most, so that it ends so whatever the model says."""
    folder = use(model_server.server_port, tmp_path, monkeypatch)
    path = folder / "orders.json"
    path.write_text(TWO, encoding="utf-8")
    assert main(["repair", str(path), "--turns", "1", "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (turn,) = told["trace"]
    assert (told["status"], told["stopped"], told["written"]) == ("findings", "limit", None)
    assert (turn["kind"], turn["model"], turn["before"]) == ("value", NAME, 2)
    assert turn["prompt_hash"]
    assert 1 <= len([one for one in told["findings"] if one["severity"] == "error"]) <= 2
    assert told["usage"]["calls"] == 1
    assert {key: part for key, part in told["config"].items() if key not in ("schedule", "transforms")} == {
        key: part for key, part in CONFIG.items() if key not in ("schedule", "transforms")
    }
    assert path.read_text(encoding="utf-8") == TWO


# ---- cancelling -----------------------------------------------------------------------------------------------------


def test_a_cancelled_answer_frees_the_model_and_leaves_what_could_be_read(
    lab: Lab, catalogue: Catalogue, model_server: Front
) -> None:
    cancel, begun = Cancel(), threading.Event()
    made: list[Draft] = []

    def hold(_: str) -> None:
        begun.set()
        cancel.wait(60)  # so that the answer can't be read to its end before it is cancelled

    thread = threading.Thread(target=lambda: made.append(drafted(lab, catalogue, on_text=hold, cancel=cancel)))
    thread.start()
    assert begun.wait(240)
    cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert eventually(lambda: model_server.active == 0, 10)
    (draft,) = made
    (finding,) = [one for one in draft.findings if one.severity == "error"]
    assert (finding.code, finding.message) == ("model-away", "the call was cancelled")
    assert draft.config is not None
    assert draft.config["destination"]["table"] == "fin.payments"
    (event,) = lab.events
    assert event.outcome == "Cancelled"
    assert event.usage.prompt_tokens > 100
    assert event.usage.estimated
    (spent,) = lab.gateway.usage()
    assert spent.usage.tokens == event.usage.tokens
    assert model_turns(drafted(lab, catalogue).trace)
    assert lab.events[-1].outcome == "ok"


def use(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the command line use the real model on a port; return its configs folder."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "sales.csv").write_text("id,status,amount\n1,paid,10\n2,open,3\n", encoding="utf-8")
    model = {"model": NAME, "num_ctx": CONTEXT}
    found = {"conn_type": "ollama", "host": "127.0.0.1", "port": port, "password": KEY, "extra": model}
    monkeypatch.setenv("AIRFLOW_CONN_LAB", json.dumps(found))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", "host": "db.example"}))
    for name, value in {"CONFIGS_FOLDER": str(folder), "LLM_CHAIN": "lab", **PATIENT}.items():
        monkeypatch.setenv(f"AIRFLOW__DATAFORGE__{name}", value)
    get_settings.cache_clear()
    return folder


def begin(*arguments: str) -> subprocess.Popen[str]:
    """Start the command line as a process of its own."""
    command = [sys.executable, "-m", "dataforge", *arguments]
    path = os.pathsep.join(filter(None, ["plugins", os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_ctrl_c_ends_the_command_and_its_answer_at_once_and_the_use_is_counted(
    model_server: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = use(model_server.server_port, tmp_path, monkeypatch)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of a job in the background ignores it
    try:
        process = begin("author", OPEN, "--name", "sales.json", "--yes")
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        assert eventually(lambda: model_server.active == 1)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told.strip().endswith("interrupted; nothing further was written")
    assert "Traceback" not in out + told
    assert eventually(lambda: model_server.active == 0, 10)
    assert list(folder.glob("*.json")) == []
    ((heading, total),) = summary(open_store())
    assert (heading.model, heading.task, total.calls) == (f"lab/{NAME}", "author", 1)
    assert total.prompt_tokens > 100


# ---- a provider's faults --------------------------------------------------------------------------------------------


def test_a_connection_that_is_cut_inside_of_an_answer_costs_only_what_the_model_was_asked_for(
    proxy: Proxy, catalogue: Catalogue
) -> None:
    lab = lab_at(url_of(proxy))
    proxy.arm(Fault("cut", side="reply", after_bytes=600))
    made = refined(HOURLY, lab, catalogue)
    assert proxy.struck == 1
    assert made.text == TEXT.replace("@daily", "@hourly"), "what the request spells out was changed all the same"
    assert made.valid
    (finding,) = [one for one in made.findings if one.code == "model-away"]
    assert re.search(r"connection 'lab'.*the answer broke off before its end", finding.message)
    assert [event.outcome for event in lab.events] == ["AnswerUnfit"]
    again = refined(HOURLY, lab, catalogue)
    assert lab.events[-1].outcome == "ok"
    assert "model-away" not in {one.code for one in again.findings}
    assert model_turns(again.trace)


def test_an_answer_that_is_delayed_beyond_the_deadline_leaves_the_best_candidate(
    proxy: Proxy, catalogue: Catalogue
) -> None:
    lab = lab_at(url_of(proxy))
    proxy.arm(Fault("delay", side="reply", seconds=600))
    began = time.monotonic()
    done = repaired(RIDDLE.replace('"schedule"', '"schedule_interval"'), lab, catalogue, deadline_seconds=2.0)
    assert time.monotonic() - began < 60
    assert done.stopped == "model failed"
    assert not done.valid
    assert done.candidate.text == RIDDLE, "what the fixers did is kept"
    assert any("the model gave no answer" in note and "'lab'" in note for note in done.notes)
    assert {event.outcome for event in lab.events} == {"ModelSlow"}
    proxy.arm(None)
    again = repaired(RIDDLE, lab, catalogue)
    assert again.stopped != "model failed"
    assert model_turns(again.trace)


class Server:
    """The real model in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        weights = models.weights()
        assert weights is not None
        options = [
            "--port",
            str(self.port),
            "--threads",
            "2",
            "--context",
            str(CONTEXT),
            "--model",
            f"{NAME}={weights}",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.model_server", *options], cwd=Path(__file__).parents[2], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("ready ")

    def kill(self) -> int:
        """Kill it without a warning; return how it ended."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def server(model_server: Front) -> Iterator[Server]:
    """The server that may be killed; skipped where the session's own is."""
    del model_server
    found = Server(models.free_port())
    found.start()
    yield found
    found.kill()


@pytest.mark.timeout(900)  # two processes that load the model: seconds, but minutes where ten others want the cores
def test_a_server_that_is_killed_while_it_answers_is_told_and_serves_again_when_it_is_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a process: `dataforge author` with the server killed inside of the answer, while it is away, and after."""
    ended: list[int] = []
    with Proxy(("127.0.0.1", server.port)) as proxy:
        proxy.arm(Fault("call", side="reply", after_bytes=600, call=lambda _: ended.append(server.kill())))
        assert isinstance(proxy.address, tuple)
        folder = use(proxy.address[1], tmp_path, monkeypatch)
        command = ["author", OPEN, "--name", "sales.json", "--yes", "--format", "json"]

        process = begin(*command)
        out, err = process.communicate(timeout=240)
        told = json.loads(out)
        assert process.returncode == 1
        assert ended == [-signal.SIGKILL], told["findings"]
        (finding,) = [one for one in told["findings"] if one["code"] == "model-away"]
        assert (finding["severity"], told["status"], told["written"]) == ("error", "findings", None)
        assert re.search(r"connection 'lab'.*the answer broke off before its end", finding["message"])
        assert told["config"]["destination"]["table"] == "sales", "what could be read is not lost"
        assert "Traceback" not in out + err
        assert KEY not in out + err

    monkeypatch.setenv(
        "AIRFLOW_CONN_LAB", os.environ["AIRFLOW_CONN_LAB"].replace(str(proxy.address[1]), str(server.port))
    )
    assert main(command) == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in told["findings"] if one["severity"] == "error"] == ["model-away"]
    assert "no model server can be reached" in json.dumps(told["findings"])
    assert list(folder.glob("*.json")) == []

    server.start()
    completion = open_models().complete(Request("author", (Message("user", "Say yes."),), max_tokens=5, actor="ada"))
    assert (completion.connection, completion.model) == ("lab", NAME)
    assert completion.text
    (spent,) = open_models().usage(actor="ada")
    assert spent.usage.completion_tokens == completion.usage.completion_tokens > 0
