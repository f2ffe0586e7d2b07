"""The email destination against a real SMTP server, slack against a server that plays Slack's web API."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pyarrow as pa
import pytest
from aiosmtpd.controller import Controller

from dataforge.components.base import ExtractContext, LoadContext
from dataforge.components.delivery import Reject
from dataforge.components.registry import DESTINATIONS
from dataforge.config.delivery import letter
from dataforge.config.pipeline import parse
from dataforge.errors import ServerAway, TerminalError, TransientError
from dataforge.runtime.connections import lookup
from dataforge.testing import ComponentContract, Rows

ROOT = Path(__file__).parents[2]
EMAIL = {"type": "email", "connection": "mail", "to": ["ann@example.org", "bo@example.org"], "subject": "Orders"}
SLACK = {"type": "slack", "connection": "bot", "channel": "#orders"}
TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "name": pa.array(["<b>Ann</b> & co", None, "=1+1"]),
        "amount": pa.array(["1.10", "-2.00", None]).cast(pa.decimal128(10, 2)),
    }
)


def load(folder: Path, config: dict[str, Any], table: pa.Table = TABLE, **context: Any) -> Any:
    model = DESTINATIONS.get(config["type"]).config.model_validate(config)
    return DESTINATIONS.build(model).load(Rows(table), LoadContext(lookup, folder, "0123456789abcdef", **context))


def check(folder: Path, config: dict[str, Any]) -> str:
    destination: Any = DESTINATIONS.build(DESTINATIONS.get(config["type"]).config.model_validate(config))
    said: str = destination.check(ExtractContext(lookup, folder))
    return said


class TestEmailConfig(ComponentContract):
    kind = "destination"
    config: ClassVar[dict[str, Any]] = EMAIL


class TestSlackConfig(ComponentContract):
    kind = "destination"
    config: ClassVar[dict[str, Any]] = SLACK


class Mailbox:
    """What the SMTP server took; `refusal` is what it says of recipients instead."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusal = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    put_mail(monkeypatch, port)
    yield box
    controller.stop()


def put_mail(monkeypatch: pytest.MonkeyPatch, port: int, **extra: Any) -> None:
    options = {"disable_ssl": True, "disable_tls": True, "from_email": "us@example.org", "retry_limit": 1, **extra}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": options}
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps(connection))


class TestEmail:
    def test_a_mail_holds_the_table_and_the_file(self, tmp_path: Path, mailbox: Mailbox) -> None:
        report = load(tmp_path, {**EMAIL, "message": "All <orders>", "attachment": "csv", "max_rows": 2})
        assert report.rows == 3
        (mail,) = mailbox.mails
        assert (mail["Subject"], mail["To"], mail["From"]) == (
            "Orders",
            "ann@example.org, bo@example.org",
            "us@example.org",
        )
        assert mail["Message-ID"] == "<0123456789abcdef@dataforge.invalid>"
        body = mail.get_body(("html",))
        assert body is not None
        text = body.get_content()
        assert "All &lt;orders&gt;" in text
        assert "&lt;b&gt;Ann&lt;/b&gt; &amp; co" in text
        assert "and 1 more of 3 rows" in text
        (file,) = mail.iter_attachments()
        content: Any = file.get_content()
        rows = (content.decode("utf-8-sig") if isinstance(content, bytes) else content.lstrip("\ufeff")).split()
        assert rows[0] == "id,name,amount"
        assert rows[-1] == "3,'=1+1,"
        assert "2,,-2.00" in rows

    def test_names_like_formulas_are_texts_in_the_file_too(self, tmp_path: Path, mailbox: Mailbox) -> None:
        load(tmp_path, {**EMAIL, "attachment": "csv"}, pa.table({'=HYPERLINK("x")': [1]}))
        (file,) = mailbox.mails[0].iter_attachments()
        content: Any = file.get_content()
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.lstrip("\ufeff")
        assert text.startswith("\"'=HYPERLINK")

    def test_a_result_without_rows_is_told_only_where_that_is_wanted(self, tmp_path: Path, mailbox: Mailbox) -> None:
        load(tmp_path, EMAIL, TABLE.slice(0, 0))
        assert not mailbox.mails
        load(tmp_path, {**EMAIL, "send_empty": True}, TABLE.slice(0, 0))
        body = mailbox.mails[0].get_body(("html",))
        assert body is not None
        assert "There are no rows" in body.get_content()

    def test_refusals_are_told_by_what_to_do(self, tmp_path: Path, mailbox: Mailbox) -> None:
        mailbox.refusal = "550 no such user"
        with pytest.raises(TerminalError, match=r"refuses the recipients ann@example.org.*no such user"):
            load(tmp_path, EMAIL)
        mailbox.refusal = "451 try later"
        with pytest.raises(TransientError, match="try later"):
            load(tmp_path, EMAIL)

    def test_a_server_that_is_away_is_told_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put_mail(monkeypatch, 9)
        for action in (load, check):
            with pytest.raises(ServerAway, match="does not answer"):
                action(tmp_path, EMAIL)

    def test_a_connection_says_who_may_be_written_to(
        self, tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "the mail server 127.0.0.1 answers" in check(tmp_path, EMAIL)
        put_mail(monkeypatch, 9, allowed_recipients=["example.com", "ann@example.org"])
        with pytest.raises(TerminalError, match="does not allow mail to 'bo@"):
            load(tmp_path, EMAIL)

    @pytest.mark.parametrize(
        "address", ["a@b", "a b@example.org", "a@example.org\nBcc: x@example.org", "a@example.org,b"]
    )
    def test_an_address_can_not_bring_headers(self, address: str) -> None:
        with pytest.raises(ValueError, match="no mail address"):
            DESTINATIONS.get("email").config.model_validate({**EMAIL, "to": [address]})


class Slack(ThreadingHTTPServer):
    """Plays what of Slack's web API the destination uses; `answer` is given in place of the real one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlackHandler)
        self.calls: list[tuple[str, Any]] = []
        self.answer: tuple[int, dict[str, str], dict[str, Any]] | None = None


class _SlackHandler(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.path.rsplit("/", 1)[-1]
        if name == "upload":
            given: Any = body
        elif "json" in self.headers.get("Content-Type", ""):
            given = json.loads(body or b"{}")
        elif "urlencoded" in self.headers.get("Content-Type", ""):
            given = {key: value[0] for key, value in parse_qs(body.decode()).items()}
        else:
            given = body
        self.server.calls.append((name, given))
        here = f"http://127.0.0.1:{self.server.server_port}/upload"
        answers: dict[str, dict[str, Any]] = {
            "files.getUploadURLExternal": {"upload_url": here, "file_id": "F1"},
            "files.completeUploadExternal": {"files": [{"id": "F1"}]},
            "auth.test": {"user": "reporter", "team": "Sales"},
        }
        status, headers, found = self.server.answer or (200, {}, {"ok": True, **answers.get(name, {})})
        text = json.dumps(found).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(text))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    pytest.importorskip("slack_sdk")
    server = Slack()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/api/"
    connection = {"conn_type": "slack", "password": "xoxb-not-a-token", "extra": {"base_url": base}}
    monkeypatch.setenv("AIRFLOW_CONN_BOT", json.dumps(connection))
    yield server
    server.shutdown()
    server.server_close()


class TestSlack:
    def test_a_message_holds_the_table_and_mentions_nobody(self, tmp_path: Path, slack: Slack) -> None:
        assert load(tmp_path, {**SLACK, "message": "<!channel> orders", "max_rows": 2}).rows == 3
        ((name, given),) = slack.calls
        assert (name, given["channel"]) == ("chat.postMessage", "#orders")
        assert given["text"].startswith("&lt;!channel&gt; orders\n```\nid  name")
        assert "1   &lt;b&gt;Ann&lt;/b&gt; &amp; co  1.10" in given["text"]
        assert "… and 1 more of 3 rows" in given["text"]

    def test_a_file_goes_to_a_channel_by_its_id(self, tmp_path: Path, slack: Slack) -> None:
        with pytest.raises(TerminalError, match="by its id"):
            load(tmp_path, {**SLACK, "attachment": "csv"})
        load(tmp_path, {**SLACK, "attachment": "csv", "channel": "C024BE91L"})
        names = [name for name, _ in slack.calls]
        assert names == ["files.getUploadURLExternal", "upload", "files.completeUploadExternal"]
        assert b"id,name,amount" in slack.calls[1][1]
        assert slack.calls[2][1]["channel_id"] == "C024BE91L"

    def test_a_long_table_is_cut_where_slack_would(self, tmp_path: Path, slack: Slack) -> None:
        table = pa.table({"text": ["x" * 150] * 900})
        load(tmp_path, {**SLACK, "max_rows": 1_000}, table)
        assert len(slack.calls[0][1]["text"]) < 40_000
        assert "more of 900 rows" in slack.calls[0][1]["text"]

    @pytest.mark.parametrize(
        ("status", "answer", "error", "message"),
        [
            (200, {"ok": False, "error": "channel_not_found"}, TerminalError, "channel_not_found"),
            (200, {"ok": False, "error": "missing_scope", "needed": "chat:write"}, TerminalError, "scope chat:write"),
            (429, {"ok": False, "error": "ratelimited"}, TransientError, "ratelimited"),
            (200, {"ok": False, "error": "internal_error"}, TransientError, "internal_error"),
        ],
    )
    def test_refusals_are_told_by_what_to_do(
        self, tmp_path: Path, slack: Slack, status: int, answer: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        slack.answer = (status, {"Retry-After": "1"}, answer)
        with pytest.raises(error, match=message):
            load(tmp_path, SLACK)

    def test_check_says_as_whom_and_posts_nothing(self, tmp_path: Path, slack: Slack) -> None:
        assert check(tmp_path, SLACK) == "Slack knows us as 'reporter' of 'Sales'"
        assert [name for name, _ in slack.calls] == ["auth.test"]

    def test_a_server_that_is_away_is_told_so(
        self, tmp_path: Path, slack: Slack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extra = {"base_url": "http://127.0.0.1:9/api/"}
        monkeypatch.setenv("AIRFLOW_CONN_BOT", json.dumps({"conn_type": "slack", "password": "xoxb-n", "extra": extra}))
        with pytest.raises(ServerAway, match="does not answer"):
            load(tmp_path, SLACK)


@pytest.mark.parametrize("config", [EMAIL, SLACK])
def test_dead_letters_are_refused(tmp_path: Path, config: dict[str, Any], mailbox: Mailbox, slack: Slack) -> None:
    with pytest.raises(TerminalError, match="keeps no dead letters"):
        load(tmp_path, config, rejects=[Reject(stage="extract", reason="no", record="{}")])


@pytest.mark.parametrize("name", ["email", "slack"])
def test_the_examples_are_sound_and_their_letter_honest(name: str) -> None:
    config = parse(json.loads((ROOT / "docs" / "examples" / f"{name}.json").read_text()))
    assert [one.letter for one in letter(config)] == ["A"]
