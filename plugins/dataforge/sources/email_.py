"""The email source: attachments of any format from a mailbox, which is only read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dataforge.components.base import ExtractContext, Extracted
from dataforge.components.extras import Extra
from dataforge.components.fields import ConnectionId, Duration
from dataforge.components.registry import SOURCES
from dataforge.components.seen_files import ListedFile
from dataforge.errors import DataForgeError, ServerAway, TerminalError
from dataforge.settings import get_settings
from dataforge.sources._files import wanted
from dataforge.sources._formats import FormattedConfig, matches

if TYPE_CHECKING:
    from imaplib import IMAP4

MAX_BYTES = 100 * 1024 * 1024
"""Size of a message, attachments and all, above which it is refused."""

AT_ONCE = 200
"""Messages whose headers are asked for in one command."""


class EmailConfig(FormattedConfig):
    """Config of the email source."""

    type: Literal["email"] = "email"
    connection: ConnectionId = Field(
        description="Airflow connection of type imap: host, port, login, password; TLS unless its extra says "
        "use_ssl false."
    )
    mailbox: str = Field(
        default="INBOX",
        min_length=1,
        max_length=200,
        pattern=r'^[^\x00-\x1f"\\\x7f]+$',
        description="Mailbox to look into; it is opened read-only, no message is marked or moved.",
        examples=["INBOX", "Reports"],
    )
    subject: str | None = Field(
        default=None, description="Text that the subject has somewhere, in any case.", examples=["Daily report"]
    )
    sender: str | None = Field(
        default=None,
        description="Address of the sender, in any case, or the part from @ on. Anybody can write a sender: it sorts, "
        "it proves nothing.",
        examples=["reports@example.com", "@example.com"],
    )
    pattern: str = Field(
        default="*", min_length=1, description="Which attachments, by file name: * and ? stand for any text.",
        examples=["*.csv", "orders-*.xlsx"],
    )  # fmt: skip
    max_age: Duration = Field(
        default=timedelta(days=30), description="Messages that came longer ago are not looked at.", examples=["30d"]
    )

    def asset(self) -> str | None:
        """Return the mailbox as an asset URI."""
        return f"dataforge://{self.connection}/{self.mailbox}"

    def extras(self) -> tuple[Extra, ...]:
        """Return Airflow's imap provider, and what the format needs."""
        return (Extra("email", "airflow.providers.imap"), *super().extras())


@SOURCES.register(EmailConfig)
class EmailSource:
    """Reads attachments of any format from a mailbox, on request only those of new messages."""

    def __init__(self, config: EmailConfig) -> None:
        self.config = config

    def extract(self, context: ExtractContext) -> Extracted:
        """Download the attachments and return what the source of their format makes of them."""
        config = self.config
        with self._mailbox() as client:
            there = self._listing(client)
            chosen = wanted(there, config, context) if config.only_new else there
            paths = [path for one in chosen for path in self._attachments(client, one, context)]
        if not paths and not config.only_new:
            raise TerminalError(f"no message in {config.mailbox!r} has an attachment that matches {config.pattern!r}")
        return config.reader().read(config.plain(paths, context.scratch), context)

    def check(self, context: ExtractContext) -> str:  # noqa: ARG002 - the hook finds its connection by itself
        """Return how many messages there are; none is downloaded."""
        with self._mailbox() as client:
            return f"{len(self._listing(client))} message(s) match in {self.config.mailbox!r}"

    def _listing(self, client: IMAP4) -> list[ListedFile]:
        """Return the messages that subject and sender let through; a message is one file, whatever it has attached."""
        since = datetime.now(timezone.utc) - self.config.max_age
        # SINCE looks at days, in the server's time
        day = (since - timedelta(days=1)).strftime("%d-%b-%Y")
        numbers = _answer(client.uid("SEARCH", "SINCE", day))[0].split()
        _, validity = client.response("UIDVALIDITY")
        era = validity[0].decode() if validity and validity[0] else ""
        found = []
        for start in range(0, len(numbers), AT_ONCE):
            wanted_ = b",".join(numbers[start : start + AT_ONCE]).decode()
            fields = "(UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT FROM MESSAGE-ID)])"
            for about, text in _messages(_answer(client.uid("FETCH", wanted_, fields))):
                head = message_from_bytes(text, policy=policy.default)
                at = _instant(about)
                if (at is not None and at < since) or not self._fits(head):
                    continue
                number = _number(about, "UID")
                found.append(
                    ListedFile(f"{self.config.mailbox}/{era}/{number}", str(_number(about, "RFC822.SIZE")), at)
                )
        return sorted(found, key=lambda one: int(one.name.rpartition("/")[2]))

    def _fits(self, head: Any) -> bool:
        config = self.config
        if config.subject is not None and config.subject.lower() not in str(head.get("subject", "")).lower():
            return False
        if config.sender is None:
            return True
        try:
            addresses = [one.addr_spec.lower() for one in getattr(head.get("from"), "addresses", ())]
        except (AttributeError, LookupError, TypeError, ValueError):  # Python's parser breaks at some that are none
            return False
        mark = config.sender.lower()
        return any(address.endswith(mark) if mark.startswith("@") else address == mark for address in addresses)

    def _attachments(self, client: IMAP4, one: ListedFile, context: ExtractContext) -> Iterator[Path]:
        number = one.name.rpartition("/")[2]
        if int(one.version) > MAX_BYTES:
            raise TerminalError(f"message {one.name} has {int(one.version):,} bytes; at most {MAX_BYTES:,} are read")
        folder = context.scratch / "attachments"
        folder.mkdir(exist_ok=True)
        for _, text in _messages(_answer(client.uid("FETCH", number, "(UID BODY.PEEK[])"))):
            message = message_from_bytes(text, policy=policy.default)
            for index, part in enumerate(_parts(message)):
                name = (part.get_filename() or "").replace("\\", "/").rpartition("/")[2]
                if not name or not matches(name, self.config.pattern):
                    continue
                content = part.get_payload(decode=True)
                safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-80:]
                target = folder / f"{int(number):010d}-{index}-{safe}"
                target.write_bytes(content if isinstance(content, bytes) else b"")
                context.log("attachment downloaded", mail=one.name, name=name, bytes=target.stat().st_size)
                yield target

    @contextmanager
    def _mailbox(self) -> Iterator[IMAP4]:
        """Open the mailbox read-only; errors come out as ServerAway or TerminalError."""
        import imaplib
        import socket

        from airflow.providers.imap.hooks.imap import ImapHook

        who, client = self.config.connection, None
        before = socket.getdefaulttimeout()
        try:
            # the hook hands no time-out on
            socket.setdefaulttimeout(max(10, get_settings().connect_seconds))
            try:
                client = ImapHook(imap_conn_id=who).get_conn().mail_client
            finally:
                socket.setdefaulttimeout(before)
            if client is None:
                raise TerminalError(f"connection {who!r} gives no client")
            client.sock.settimeout(get_settings().stall_seconds or None)
            status, found = client.select(f'"{self.config.mailbox}"', readonly=True)
            if status != "OK":
                said = found[0].decode(errors="replace") if found and found[0] else status
                raise TerminalError(f"connection {who!r}: mailbox {self.config.mailbox!r} can't be opened: {said}")
            yield client
        except DataForgeError:
            raise
        except (imaplib.IMAP4.abort, OSError, EOFError) as error:
            raise ServerAway(f"connection {who!r}: {str(error) or 'the connection was cut'}", who) from None
        except imaplib.IMAP4.error as error:
            raise TerminalError(f"connection {who!r}: {error}") from None
        finally:
            if client is not None:
                with suppress(Exception):
                    client.logout()


def _answer(answer: tuple[str, list[Any]]) -> list[Any]:
    status, found = answer
    if status != "OK":
        raise TerminalError(f"the mail server answered {status}: {found[:1]!r}")
    return [b"" if one is None else one for one in found]


def _messages(found: list[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a FETCH says of each message (before and after its text), and the text."""
    for index, one in enumerate(found):
        if isinstance(one, tuple):
            rest = found[index + 1] if index + 1 < len(found) and isinstance(found[index + 1], bytes) else b""
            yield one[0] + b" " + rest, one[1]


def _parts(message: Any) -> Iterator[Any]:
    """Yield the parts of a message, the message itself where it has none; what a forwarded message holds is its own."""
    if message.get_content_maintype() != "multipart":
        yield message
        return
    for part in message.iter_parts():
        yield from _parts(part)


def _number(about: bytes, name: str) -> int:
    found = re.search(rb"\b" + name.encode() + rb" (\d+)", about)
    return int(found[1]) if found else 0


def _instant(about: bytes) -> datetime | None:
    found = re.search(rb'INTERNALDATE "([^"]+)"', about)
    if found is None:
        return None
    return datetime.strptime(found[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z")
