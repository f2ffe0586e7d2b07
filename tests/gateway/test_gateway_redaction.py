"""What never leaves, what comes back, and what is no secret."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from dataforge.gateway.base import Message
from dataforge.gateway.redaction import Redaction

SECRETS = [
    ("connect to postgres://etl:s3cr3t-canary@db.example/x", "s3cr3t-canary"),
    ("use password: Tr0ub4dor&canary now", "Tr0ub4dor&canary"),
    ('"password": "canaryword"', "canaryword"),
    ("db_password=canary99", "canary99"),
    ("the password is canary-42!", "canary-42!"),
    ("das Passwort lautet kanarie77", "kanarie77"),
    ("das Kennwort ist kanarie77", "kanarie77"),
    ("api key AKIAIOSFODNN7EXAMPLE please", "AKIAIOSFODNN7EXAMPLE"),
    ("Authorization: Bearer abcdef0123456789canary", "abcdef0123456789canary"),
    ("token ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("https://x.example/a?api_key=canary123456&b=1", "canary123456"),
    ("client_secret: canary.abc", "canary.abc"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
]
PERSONAL = [
    ("mail ada.lovelace+x@example.co.uk now", "ada.lovelace+x@example.co.uk", "email"),
    ("IBAN DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00", "iban"),
    ("IBAN GB82WEST12345698765432", "GB82WEST12345698765432", "iban"),
    ("card 4111 1111 1111 1111", "4111 1111 1111 1111", "card"),
    ("ssn 536-90-4399", "536-90-4399", "id_number"),
    ("call +49 30 12345678", "+49 30 12345678", "phone"),
    ("call (555) 123-4567", "(555) 123-4567", "phone"),
    ("host 10.20.30.40", "10.20.30.40", "ip_address"),
]
HARMLESS = [
    "every day at 06:00 from 2025-01-31 until 2025-12-31T23:59:59, cron 0 6 * * 1-5",
    "version 1.2.3, 1,000,000 rows, order 4111111111111112, id 12345678901234",
    "mask the columns password and email: email, hash the token column, password: hash",
    "rename api_key to key_name; the password column is text; primary_key: order_id",
    "s3://lake/orders/2025-*.csv.gz into warehouse sales.orders_v2, 127.0.0.1:5432, 0.0.0.0",
    '{"connection": "${params.password}", "password": "${conn.secret}", "token": null}',
    "timezone Europe/Berlin, decimal(12,2), 555-1234, 3.14159265",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0ba6d2d6f8a3d8a1f0a7b2",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_stay_here_and_do_not_come_back(text: str, secret: str) -> None:
    redaction = Redaction()
    sent = redaction.text(text)
    assert secret not in sent
    assert redaction.restored(sent) == sent
    assert all(not one.restored for one in redaction.record)


@pytest.mark.parametrize(("text", "value", "kind"), PERSONAL)
def test_personal_data_stays_here_and_comes_back(text: str, value: str, kind: str) -> None:
    redaction = Redaction()
    sent = redaction.text(text)
    assert value not in sent
    assert redaction.restored(sent) == text
    assert [(one.kind, one.restored) for one in redaction.record] == [(kind, True)]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_goes_as_it_is(text: str) -> None:
    assert Redaction().text(text) == text


def test_known_secrets_are_withheld_in_every_form() -> None:
    secret = 'p@ss/w"ö rd-canary'
    redaction = Redaction((secret,))
    for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")):
        assert form not in redaction.text(f"x {form} y")


def test_the_same_value_has_the_same_placeholder_everywhere() -> None:
    redaction = Redaction()
    first, second = redaction.messages((Message("user", "ada@example.com"), Message("user", "to ada@example.com")))
    assert second.text == f"to {first.text}"
    assert redaction.json({"enum": ["ada@example.com", "bob@example.com"]}) == {
        "enum": ["WITHHELD_EMAIL_1", "WITHHELD_EMAIL_2"]
    }


def test_a_secret_found_once_is_withheld_where_nothing_gives_it_away() -> None:
    sent = Redaction().text("password: canary-8812. Later on, write canary-8812 into the file")
    assert "canary" not in sent


def test_a_placeholder_that_somebody_wrote_is_not_taken_for_ours() -> None:
    redaction = Redaction()
    (sent,) = redaction.messages((Message("user", "WITHHELD_EMAIL_1 and ada@example.com"),))
    assert sent.text == "WITHHELD_EMAIL_1 and WITHHELD_EMAIL_2"
    assert redaction.restored(sent.text) == "WITHHELD_EMAIL_1 and ada@example.com"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_text_in_pieces_is_restored(size: int) -> None:
    redaction = Redaction()
    sent = redaction.text("WITH mail to ada@example.com, bob@example.com, W")
    pieces: list[str] = []
    restoring = redaction.restoring(pieces.append)
    for start in range(0, len(sent), size):
        restoring(sent[start : start + size])
    restoring.end()
    assert "".join(pieces) == "WITH mail to ada@example.com, bob@example.com, W"


def test_personal_data_goes_out_where_the_settings_say_so_and_secrets_never() -> None:
    redaction = Redaction(personal=False)
    assert redaction.text("ada@example.com, password: canary-1") == "ada@example.com, password: WITHHELD_PASSWORD_1"


def test_the_record_holds_no_values() -> None:
    redaction = Redaction(("vault-canary",))
    redaction.text("vault-canary ada@example.com password=canary1")
    assert "canary" not in repr(redaction.record)
    assert "ada" not in repr(redaction.record)


def test_long_texts_take_little_time() -> None:
    import time

    text = "load a@b, password x: 1-2 3 4 +49 " * 10_000
    began = time.monotonic()
    Redaction().text(text)
    assert time.monotonic() - began < 5
