"""The email source, on a real IMAP server (pymap) on loopback."""

from __future__ import annotations

import imaplib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataforge.components.base import ExtractContext
from dataforge.components.registry import SOURCES
from dataforge.errors import ServerAway, TerminalError
from dataforge.runtime.landing import land

MakeContext = Callable[..., ExtractContext]
UTC = timezone.utc


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that runs for these tests."""
    pytest.importorskip("pymap")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    command = [str(Path(sys.executable).with_name("pymap")), "--host", "127.0.0.1", "--port", str(number), "--no-tls"]
    server = subprocess.Popen([*command, "dict", "--demo-data"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", number), 1).close()
                break
            except OSError:
                assert server.poll() is None, "the mail server ended"
                time.sleep(0.1)
        yield number
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def mailbox(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[imaplib.IMAP4]:
    """An empty mailbox `Reports`, and the connection `mail` to its server."""
    about = {"conn_type": "imap", "host": "127.0.0.1", "port": port, "login": "demouser", "password": "demopass"}
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps({**about, "extra": {"use_ssl": False}}))
    client = imaplib.IMAP4("127.0.0.1", port)
    client.login("demouser", "demopass")
    client.create("Reports")
    yield client
    client.delete("Reports")
    client.logout()


def send(client: imaplib.IMAP4, attached: dict[str, bytes], age: int = 0, **head: str) -> None:
    """Put a message into the mailbox, as if it had come so many days ago."""
    message = EmailMessage()
    given = {"Subject": "Daily report", "From": "Shop <reports@example.com>", "To": "me@example.com", **head}
    for name, value in given.items():
        message[name] = value
    message.set_content("See the file.")
    for name, content in attached.items():
        message.add_attachment(content, maintype="text", subtype="csv", filename=name)
    when = imaplib.Time2Internaldate(datetime.now(UTC) - timedelta(days=age))
    assert client.append("Reports", "", when, bytes(message))[0] == "OK"


def source(**given: Any) -> Any:
    """The source."""
    config = {"type": "email", "connection": "mail", "mailbox": "Reports", "format": "csv", **given}
    return SOURCES.build(SOURCES.get("email").config.model_validate(config))


def read(context: ExtractContext, **given: Any) -> list[tuple[Any, ...]]:
    """Extract and type as the runtime does."""
    with duckdb.connect() as con:
        view = land(con, "source", source(**given).extract(context), scratch=context.scratch / "land")
        view.widen()
        return sorted(con.execute('SELECT * FROM "source"').fetchall())


def test_attachments_are_found_by_subject_sender_and_name(mailbox: imaplib.IMAP4, context: MakeContext) -> None:
    send(mailbox, {"orders ä.csv": b"id\n1\n", "notes.txt": b"x"}, Subject="Täglicher REPORT")
    send(mailbox, {"orders.csv": b"id\n2\n"}, Subject="Other")
    send(mailbox, {"orders.csv": b"id\n3\n"}, Subject="report", From="evil@example.org")
    send(mailbox, {"orders.csv": b"id\n4\n"}, age=60, Subject="report")
    given = {"subject": "report", "sender": "@example.com", "pattern": "*.csv"}
    assert read(context(), **given) == [(1,)]
    assert read(context(), **{**given, "sender": "EVIL@example.org"}) == [(3,)]
    assert read(context(), subject="report", pattern="*.csv", max_age="90d") == [(1,), (3,), (4,)]
    assert source(**given).check(context()) == "1 message(s) match in 'Reports'"
    assert source().check(context()) == "3 message(s) match in 'Reports'"


def test_a_message_that_is_an_attachment_and_parts_within_parts_are_read(
    mailbox: imaplib.IMAP4, context: MakeContext
) -> None:
    alone = EmailMessage()
    alone["Subject"], alone["From"] = "Report", "reports@example.com"
    alone.set_content(b"id\n1\n", maintype="text", subtype="csv", filename="alone.csv", disposition="attachment")
    inner, outer = EmailMessage(), EmailMessage()
    inner.set_content("See the file.")
    inner.add_attachment(b"id\n2\n", maintype="text", subtype="csv", filename="inner.csv")
    outer["Subject"], outer["From"] = "Report", "reports@example.com"
    outer.make_mixed()
    outer.attach(inner)
    for message in (alone, outer):
        assert mailbox.append("Reports", "", imaplib.Time2Internaldate(time.time()), bytes(message))[0] == "OK"
    assert read(context(), pattern="*.csv") == [(1,), (2,)]


@pytest.mark.parametrize("sender", ['"', ",<", ":b.c>a, .,"])
def test_a_sender_that_is_none_is_passed_over(mailbox: imaplib.IMAP4, context: MakeContext, sender: str) -> None:
    send(mailbox, {"a.csv": b"id\n1\n"})
    odd = f"Subject: x\r\nFrom: {sender}\r\n\r\nx".encode()
    assert mailbox.append("Reports", "", imaplib.Time2Internaldate(time.time()), odd)[0] == "OK"
    assert read(context(), sender="@example.com") == [(1,)]


def test_the_mailbox_is_not_changed(mailbox: imaplib.IMAP4, context: MakeContext) -> None:
    send(mailbox, {"orders.csv": b"id\n1\n"})
    assert read(context()) == [(1,)]
    mailbox.select("Reports", readonly=True)
    assert mailbox.search(None, "SEEN")[1] == [b""]
    mailbox.select("INBOX")


def test_only_new_messages_are_downloaded(mailbox: imaplib.IMAP4, context: MakeContext) -> None:
    send(mailbox, {"a.csv": b"id\n1\n"})
    send(mailbox, {"b.csv": b"id\n2\n"}, age=3)
    asked: list[Any] = []

    def choose(there: Any) -> list[Any]:
        asked[:] = there
        return [one for one in asked if one.changed > datetime.now(UTC) - timedelta(days=1)]

    assert read(replace(context(), choose=choose), only_new=True) == [(1,)]
    assert len({one.digest for one in asked}) == 2
    before = list(asked)
    send(mailbox, {"c.csv": b"id\n3\n"})
    read(replace(context(), choose=choose), only_new=True)
    assert asked[:2] == before


def test_errors_say_what_to_mend(
    mailbox: imaplib.IMAP4, context: MakeContext, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    with pytest.raises(TerminalError, match="no message in 'Reports'"):
        read(context())
    with pytest.raises(TerminalError, match="mailbox 'None' can't be opened"):
        read(context(), mailbox="None")
    about = {"conn_type": "imap", "host": "127.0.0.1", "port": port, "login": "demouser", "password": "wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps({**about, "extra": {"use_ssl": False}}))
    with pytest.raises(TerminalError, match="connection 'mail'"):
        read(context())
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps({**about, "port": 9, "extra": {"use_ssl": False}}))
    with pytest.raises(ServerAway):
        read(context())
