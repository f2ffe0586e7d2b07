"""The http destination against a server on loopback that keeps idempotency keys, limits, refuses and falls silent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from dataforge.components.base import ExtractContext, LoadContext, RunValues
from dataforge.components.delivery import Reject
from dataforge.components.registry import DESTINATIONS
from dataforge.config.delivery import letter
from dataforge.config.pipeline import parse
from dataforge.errors import ServerAway, TerminalError, TransientError
from dataforge.runtime.connections import lookup
from dataforge.runtime.values import resolve
from dataforge.testing import ComponentContract, Rows

CONFIG = {"type": "http", "connection": "crm", "endpoint": "/v1/contacts"}
ROOT = Path(__file__).parents[2]


class Service(ThreadingHTTPServer):
    """Keeps what it was sent by key; `answers` are given before the real ones: (status, headers, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept: dict[str, Any] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    @property
    def rows(self) -> list[Any]:
        return [row for body in self.kept.values() for row in body]


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        status, headers, text = self.server.answers.pop(0) if self.server.answers else (200, {}, b'{"errors": []}')
        if status == 299:  # the reply is lost after the work was done
            self._keep(body)
            self.close_connection = True
            return
        if 200 <= status < 300 and self.command != "OPTIONS":
            self._keep(body)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def _keep(self, body: bytes) -> None:
        key = self.headers.get("Idempotency-Key") or str(len(self.server.kept))
        if "ndjson" in self.headers["Content-Type"]:
            found: Any = [json.loads(line) for line in body.splitlines()]
        else:
            found = json.loads(body)
            found = found["contacts"] if isinstance(found, dict) and "contacts" in found else found
        self.server.kept.setdefault(key, found if isinstance(found, list) else [found])

    do_POST = do_PUT = do_OPTIONS = _take  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    connection = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}", "login": "me",
                  "password": "hunter22", "extra": {"X-Team": "sales"}}  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield server
    server.shutdown()
    server.server_close()


TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "amount": pa.array(["1.10", None, "12345678901234567.89"]).cast(pa.decimal128(38, 2)),
        "at": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
        "tags": pa.array([["ü"], [], None], pa.list_(pa.string())),
    }
)


def load(folder: Path, table: pa.Table = TABLE, run: str = "0123456789abcdef", **changes: Any) -> Any:
    config = DESTINATIONS.get("http").config.model_validate({**CONFIG, **changes})
    return DESTINATIONS.build(config).load(Rows(table), LoadContext(lookup, folder, run))


class TestContract(ComponentContract):
    kind = "destination"
    config: ClassVar[dict[str, Any]] = CONFIG


def test_records_arrive_with_every_digit_and_the_connections_login(tmp_path: Path, service: Service) -> None:
    report = load(tmp_path)
    assert (report.rows, report.target) == (3, "crm/v1/contacts")
    ((method, path, headers),) = service.requests
    assert (method, path, headers["X-Team"]) == ("POST", "/v1/contacts", "sales")
    assert headers["Authorization"].startswith("Basic ")
    assert [row["id"] for row in service.rows] == [1, 2, 3]
    assert service.rows[0]["at"] == "1970-01-01T00:00:00Z"
    assert service.rows[0]["tags"] == ["ü"]


@pytest.mark.parametrize(
    ("changes", "requests"),
    [
        ({"batch_rows": 2}, 2),
        ({"batch_rows": 1, "envelope": "contacts"}, 3),
        ({"body": "ndjson", "batch_rows": 2}, 2),
        ({"body": "single", "method": "PUT"}, 3),
        ({"batch_bytes": 1_000}, 1),
    ],
)
def test_batches_come_in_the_form_that_is_asked_for(
    tmp_path: Path, service: Service, changes: dict[str, Any], requests: int
) -> None:
    load(tmp_path, **changes)
    assert len(service.requests) == requests
    assert [row["id"] for row in service.rows] == [1, 2, 3]


def test_a_repeated_run_sends_the_same_keys_and_another_run_others(tmp_path: Path, service: Service) -> None:
    for run, count in (("a" * 16, 2), ("a" * 16, 2), ("b" * 16, 4)):
        load(tmp_path, run=run, batch_rows=2)
        assert len(service.kept) == count
    load(tmp_path, TABLE.slice(1), run="a" * 16, batch_rows=2)
    assert len(service.kept) == 5  # a key never stands for other records


def test_a_lost_reply_does_not_double(tmp_path: Path, service: Service) -> None:
    service.answers = [(299, {}, b"")]
    load(tmp_path)
    assert len(service.requests) == 2
    assert [row["id"] for row in service.rows] == [1, 2, 3]


def test_what_passes_is_tried_again_and_a_wait_is_kept(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    service.answers = [(429, {"Retry-After": "7"}, b""), (503, {}, b"")]
    load(tmp_path)
    assert len(service.requests) == 3
    assert waits == [7.0, 2.0]
    service.answers = [(503, {}, b"")] * 5
    with pytest.raises(ServerAway, match="503"):
        load(tmp_path)
    service.answers = [(429, {"Retry-After": "9000"}, b"")]
    with pytest.raises(TransientError, match="429"):
        load(tmp_path)


def test_a_refused_batch_is_told_with_its_rows_and_without_secrets(tmp_path: Path, service: Service) -> None:
    service.answers = [(200, {}, b"{}"), (422, {}, b"bad for hunter22")]
    with pytest.raises(TerminalError, match=r"1 rows were posted.*batch 2 \(rows 2 to 2\).*422: bad for \*\*\*"):
        load(tmp_path, batch_rows=1)
    assert len(service.requests) == 2
    service.answers = [(422, {}, b"bad")]
    with pytest.raises(TerminalError, match="2 rows were posted"):
        load(tmp_path, batch_rows=1, on_refusal="continue")


def test_records_that_the_service_did_not_take_fail_the_run(tmp_path: Path, service: Service) -> None:
    service.answers = [(207, {}, json.dumps({"data": {"errors": [{"id": 2, "why": "no"}]}}).encode())]
    with pytest.raises(TerminalError, match="1 of them were not taken"):
        load(tmp_path, failures="data.errors")
    load(tmp_path, failures="errors")
    service.answers = [(200, {}, b"fine")]
    with pytest.raises(TerminalError, match="no JSON"):
        load(tmp_path, failures="errors")


def test_a_redirect_is_not_followed(tmp_path: Path, service: Service) -> None:
    service.answers = [(302, {"Location": "http://169.254.169.254/"}, b"")]
    with pytest.raises(TerminalError, match="redirected"):
        load(tmp_path)


def test_dead_letters_are_refused(tmp_path: Path, service: Service) -> None:
    config = DESTINATIONS.get("http").config.model_validate(CONFIG)
    reject = Reject(stage="extract", reason="no", record="{}")
    with pytest.raises(TerminalError, match="keeps no dead letters"):
        DESTINATIONS.build(config).load(Rows(TABLE), LoadContext(lookup, tmp_path, "a", rejects=[reject]))


def test_check_asks_without_writing(tmp_path: Path, service: Service) -> None:
    destination: Any = DESTINATIONS.build(DESTINATIONS.get("http").config.model_validate(CONFIG))
    assert "200 to OPTIONS /v1/contacts" in destination.check(ExtractContext(lookup, tmp_path))
    service.answers = [(401, {}, b"")]
    with pytest.raises(TerminalError, match="refuses the login"):
        destination.check(ExtractContext(lookup, tmp_path))
    assert not service.kept


@pytest.mark.parametrize(
    "endpoint", ["http://other/", "//other/x", "/a/../b", "/a/%2E%2e/b", "/a/%5C..", "/a b", "\\\\x"]
)
def test_an_endpoint_never_leads_elsewhere(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        DESTINATIONS.get("http").config.model_validate({**CONFIG, "endpoint": endpoint})


def test_a_parameter_of_the_run_leads_nowhere_else(tmp_path: Path, service: Service) -> None:
    config = DESTINATIONS.get("http").config.model_validate({**CONFIG, "endpoint": "/v1/${params.shop}/x"})
    model = resolve(config, RunValues({"shop": "../../admin"}))
    with pytest.raises(TerminalError, match="no path below"):
        DESTINATIONS.build(model).load(Rows(TABLE), LoadContext(lookup, tmp_path, "a"))
    assert not service.requests


def test_the_example_is_sound_and_its_letter_honest() -> None:
    config = parse(json.loads((ROOT / "docs" / "examples" / "http_destination.json").read_text()))
    assert [one.letter for one in letter(config)] == ["A"]


def test_an_answer_that_breaks_off_is_asked_for_again(tmp_path: Path, service: Service) -> None:
    service.answers = [(200, {"Content-Encoding": "gzip"}, b"no gzip at all")]
    assert load(tmp_path).rows == TABLE.num_rows
    assert len(service.requests) == 2
    assert len(service.kept) == 1
