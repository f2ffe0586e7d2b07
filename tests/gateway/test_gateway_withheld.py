"""Properties of what is withheld: whatever stands around a value, it does not leave, and what may come back does."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.conftest import MakeGateway
from tests.gateway.fault_server import FaultServer, status

from dataforge.errors import ModelRefused
from dataforge.gateway.base import Message, Request
from dataforge.gateway.redaction import Redaction, masked

PERSONAL = st.sampled_from([
    "ada.lovelace+x@example.co.uk", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "4111 1111 1111 1111",
    "536-90-4399", "+49 30 12345678", "(555) 123-4567", "10.20.30.40",
])  # fmt: skip
SECRETS = st.sampled_from([
    ("password: {}", "Tr0ub4dor&canary"), ("password={}", "canary99x"), ('"token": "{}"', "c4nary.value-1"),
    ("das Passwort lautet {}", "kanarie77"), ("postgres://etl:{}@db.example/x", "s3cr3t-canary"),
    ("Authorization: Bearer {}", "abcdef0123456789canary"), ("key {}", "AKIAIOSFODNN7EXAMPLE"),
    ("https://x.example/a?api_key={}", "canary123456"), ("{}", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
])  # fmt: skip
KNOWN = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=6, max_size=20
)
WORDS = st.lists(
    st.text(st.characters(codec="utf-8", categories=("Ll", "Lu", "Lo", "Sm", "So")), min_size=1, max_size=8)
    | st.sampled_from(["note:", "{", "}", '"x":', "\n", "WITHHELD_EMAIL_1", "\\", "=", "is", "42", "2025-01-31"]),
    max_size=8,
).map(" ".join)
QUICK = settings(max_examples=40, deadline=None)


@QUICK
@given(WORDS, st.lists(st.tuples(PERSONAL, WORDS), min_size=1, max_size=4), st.integers(1, 9))
def test_personal_data_comes_back_wherever_it_stood(before: str, parts: list[tuple[str, str]], size: int) -> None:
    """S47: placeholders are reversible, in one piece and in a stream of pieces."""
    text = before + "".join(f" {value} {after}" for value, after in parts)
    redaction = Redaction()
    (sent,) = redaction.messages([Message("user", text)])
    assert all(value not in sent.text for value, _ in parts)
    assert redaction.restored(sent.text) == text
    pieces: list[str] = []
    restoring = redaction.restoring(pieces.append)
    for start in range(0, len(sent.text), size):
        restoring(sent.text[start : start + size])
    restoring.end()
    assert "".join(pieces) == text
    assert redaction.restored_json({"a": [sent.text]}) == {"a": [text]}


@QUICK
@given(WORDS, SECRETS, WORDS)
def test_secrets_are_gone_and_stay_gone(before: str, secret: tuple[str, str], after: str) -> None:
    """S41: a secret that its shape or its words give away does not leave and does not come back."""
    shape, value = secret
    text = f"{before} {shape.format(value)} {after}"
    redaction = Redaction()
    (sent,) = redaction.messages([Message("user", text)])
    assert value not in sent.text
    assert redaction.restored(sent.text) == sent.text or "@" in text
    assert value not in redaction.restored(sent.text)
    assert value not in masked(text)


@QUICK
@given(KNOWN, WORDS, st.integers(0, 2))
def test_known_secrets_are_gone_in_every_form(secret: str, around: str, shift: int) -> None:
    """S40: what the caller knows to be a secret is withheld as it stands, in URLs, in JSON and in base64."""
    text = (
        f"{around} {secret} {quote(secret, safe='')} {json.dumps(secret)} {base64.b64encode(secret.encode()).decode()}"
    )
    sent = Redaction((secret,)).text(f"{'x' * shift}{text}")
    for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")):
        assert form not in sent


@QUICK
@given(st.lists(PERSONAL, min_size=1, max_size=5), WORDS)
def test_the_record_tells_kinds_and_counts_and_no_values(values: list[str], around: str) -> None:
    """The record of what was withheld: one entry a value, how often it stood there, and never the value."""
    redaction = Redaction()
    text = " and ".join([around.replace("WITHHELD", ""), *values])
    redaction.messages([Message("user", text)])
    assert sum(one.count for one in redaction.record) == len(values)
    assert len(redaction.record) == len(set(values))
    assert all(one.restored for one in redaction.record)
    assert all(value not in repr(redaction.record) for value in values)


@pytest.mark.parametrize("provider", ["ollama", "openai", "anthropic"])
def test_nothing_withheld_is_in_the_request_of_any_client(
    gateway: MakeGateway, faults: FaultServer, provider: str
) -> None:
    """S40: what goes over the wire, by the official clients, holds none of it: messages, schema, address and all."""
    faults.answer(status(400, {"error": {"message": "no"}}))
    lab = gateway(faults.connection(provider))

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(WORDS, SECRETS, PERSONAL, KNOWN)
    def sent(around: str, secret: tuple[str, str], personal: str, known: str) -> None:
        faults.requests.clear()
        shape, value = secret
        said = f"{around} {shape.format(value)} {personal} {known} key-canary-8812"
        messages = (Message("system", said), Message("user", f"{around}\n{said}"), Message("assistant", said),
                    Message("user", json.dumps({"rows": [{"note": said}]})))  # fmt: skip
        schema = {"type": "object", "properties": {"a": {"enum": [personal, "b"]}, "c": {"description": known}}}
        with pytest.raises(ModelRefused) as caught:
            lab.complete(Request("author", messages, schema=schema, private=(known,)))
        (raw,) = [one for one in faults.requests if one.startswith(b"POST")]
        head, body = raw.split(b"\r\n\r\n", 1)
        told = [json.dumps(json.loads(body), ensure_ascii=False), head.split(b"\r\n")[0].decode(), str(caught.value)]
        for hidden in (value, personal, known, "key-canary-8812"):
            assert all(hidden not in one and json.dumps(hidden)[1:-1] not in one for one in told), hidden
            assert json.dumps(hidden).encode()[1:-1] not in body

    sent()
