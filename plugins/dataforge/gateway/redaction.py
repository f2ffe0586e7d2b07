"""Keep secrets and personal data from leaving: placeholders go out in their place, and a record of it stays.

Personal data (e-mail, phone, IBAN, card, identity and IP numbers) comes back into the answer where a placeholder stands
in it. Secrets never come back: an answer that would hold one holds the placeholder.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dataforge.components.secret_shapes import names_secret, secret_spans
from dataforge.gateway.base import Message, Withheld

MARK = "WITHHELD"
_PLACEHOLDER = re.compile(rf"{MARK}_[A-Z_]+_\d+")
_MAX_PLACEHOLDER = 40

_NAMED = re.compile(
    r"(?P<key>[\w.-]{2,60})(?P<quote>[\"']?)\s{0,3}(?P<sign>=>|[:=]|\bis\b|\bist\b|\blautet\b)\s{0,3}"
    r"(?P<open>[\"'`]?)(?P<value>[^\s\"'`,;<>{}\[\]()]{3,500})"
)
_SECRET_WORDS = re.compile(
    r"(?i)\b(?:passwor[dt]|passphrase|kennwort|passcode|pin|secret|geheimnis|token|api[ -]?key|zugangsschlüssel)"
    r"\s{1,3}(?:(?:is|ist|lautet|of|von|für|for)\s{1,3})?[\"'`]?(?P<value>(?=[^\s\"'`]*(?:\d|[^\w\s.,;:!?-]))"
    r"[^\s\"'`,;]{4,200})"
)
_URL_LOGIN = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^/\s:@?#]{0,200}:(?P<value>[^/\s@]{1,200})@")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?<![.-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(
    r"(?<![\w.])(?:\d{13,19}|\d{4}(?P<by>[ -])\d{4}(?P=by)\d{4}(?P=by)\d{1,4}(?:(?P=by)\d{1,3})?"
    r"|\d{4}(?P<or>[ -])\d{6}(?P=or)\d{4,5})(?![\w.]\d|\w)"
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w+./-])(?:\+|00)\d{1,3}[ /.-]?(?:\(0?\d{1,4}\)[ /.-]?)?\d{2,5}(?:[ /.-]?\d{2,5}){1,4}(?![\w-])"
)
_PHONE_LOCAL = re.compile(
    r"(?<![\w+./-])\(?0?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])|(?<![\w+./-])0\d{2,4}[ /]\d{5,9}(?![\w-])"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]\d|\w)")

PERSONAL = frozenset({"EMAIL", "IBAN", "CARD", "ID_NUMBER", "PHONE", "IP_ADDRESS"})
"""Kinds that come back into the answer."""


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    kind: str


_INNOCENT: dict[bool, set[str]] = {True: set(), False: set()}
"""Short texts in which no pattern found anything, with personal data looked for and without: lists repeat the same."""
_SHORT, _MOST_INNOCENT = 200, 20_000


class Redaction:
    """What one request withholds. The same value has the same placeholder wherever it stands."""

    def __init__(self, private: Iterable[str] = (), *, personal: bool = True) -> None:
        self._personal = personal
        self._private: list[str] = []
        self._placeholders: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._taken: frozenset[str] = frozenset()
        self.also(private)

    def also(self, private: Iterable[str]) -> None:
        """Withhold these secrets too, from now on."""
        found = {form for value in private if len(value) >= 3 for form in forms(value)}
        self._private = sorted({*self._private, *found}, key=_by_length)

    def reserve(self, texts: Iterable[str]) -> None:
        """Never use placeholders that stand in one of the texts already."""
        self._taken |= frozenset(found for text in texts for found in _PLACEHOLDER.findall(text))

    def messages(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Return the messages as they may leave."""
        messages = tuple(messages)
        self.reserve(message.text for message in messages)
        return tuple(Message(message.role, self.text(message.text)) for message in messages)

    def text(self, text: str) -> str:
        """Return the text as it may leave."""
        innocent = _INNOCENT[self._personal]
        if text in innocent and not self._private and not self._placeholders:
            return text
        before = text
        for value in self._private:
            if value in text:
                text = text.replace(value, self._placeholder("SECRET", value, text.count(value)))
        parts, end = [], 0
        for span in _apart(_spans(text, personal=self._personal)):
            parts += [text[end : span.start], self._placeholder(span.kind, text[span.start : span.end])]
            end = span.end
        text = "".join((*parts, text[end:]))
        # what was found once is withheld everywhere, also where nothing around it gives it away
        for whole, placeholder in list(self._placeholders.items()):
            for value in dict.fromkeys((whole, whole.rstrip(".,;:!?"))):
                if len(value) >= 6 and value in text and value not in placeholder:
                    self._counts[placeholder] += text.count(value)
                    text = text.replace(value, placeholder)
        if not parts and len(before) <= _SHORT:
            if len(innocent) >= _MOST_INNOCENT:
                innocent.clear()
            innocent.add(before)
        return text

    def json(self, value: Any) -> Any:
        """Return JSON (a schema with names of the request in it) with its texts as they may leave."""
        if isinstance(value, str):
            return self.text(value) if len(value) >= 3 else value
        if isinstance(value, Mapping):
            return {key: self.json(item) for key, item in value.items()}
        return [self.json(item) for item in value] if isinstance(value, list | tuple) else value

    def restored(self, text: str) -> str:
        """Return the text with personal data back in place of its placeholders."""
        return _PLACEHOLDER.sub(lambda match: self._values.get(match.group(), match.group()), text)

    def restored_json(self, value: Any) -> Any:
        """Return JSON with personal data back in its texts."""
        if isinstance(value, str):
            return self.restored(value)
        if isinstance(value, Mapping):
            return {self.restored(str(key)): self.restored_json(item) for key, item in value.items()}
        return [self.restored_json(item) for item in value] if isinstance(value, list) else value

    def restoring(self, on_text: Callable[[str], None]) -> Restoring:
        """Return a receiver of text in pieces that passes it on restored; call its `end` when all has come."""
        return Restoring(self, on_text)

    @property
    def record(self) -> tuple[Withheld, ...]:
        """What was withheld, without the values."""
        return tuple(
            Withheld(self._kinds[name].lower(), name, self._counts[name], name in self._values) for name in self._counts
        )

    def _placeholder(self, kind: str, value: str, count: int = 1) -> str:
        name = self._placeholders.get(value) or self._new(kind, value)
        self._counts[name] = self._counts.get(name, 0) + count
        return name

    def _new(self, kind: str, value: str) -> str:
        number = sum(known == kind for known in self._kinds.values()) + 1
        while (name := f"{MARK}_{kind}_{number}") in self._taken or name in self._kinds:
            number += 1
        self._placeholders[value] = name
        self._kinds[name] = kind
        if kind in PERSONAL:
            self._values[name] = value
        return name


class Restoring:
    """Puts personal data back into text that comes in pieces; a piece that may end in a placeholder waits."""

    def __init__(self, redaction: Redaction, on_text: Callable[[str], None]) -> None:
        self._redaction = redaction
        self._on_text = on_text
        self._held = ""

    def __call__(self, text: str) -> None:
        """Take the next piece."""
        held = self._held + text
        start = _open_end(held)
        self._held = held[start:]
        self._give(held[:start])

    def end(self) -> None:
        """Pass on what waited."""
        held, self._held = self._held, ""
        self._give(held)

    def _give(self, text: str) -> None:
        if text:
            self._on_text(self._redaction.restored(text))


def _open_end(text: str) -> int:
    """Return where a placeholder may have begun that is not complete."""
    tail = max(0, len(text) - _MAX_PLACEHOLDER)
    at = text.rfind(MARK, tail)
    if at >= 0 and re.fullmatch(rf"{MARK}[A-Z_]*\d*", text[at:]):
        return at
    for length in range(min(len(MARK) - 1, len(text)), 0, -1):
        if text.endswith(MARK[:length]):
            return len(text) - length
    return len(text)


def masked(text: str, private: Iterable[str] = ()) -> str:
    """Return a text for people with *** in place of each secret; personal data stays."""
    redaction = Redaction(private, personal=False)
    redaction.reserve((text,))
    hidden = redaction.text(text)
    for one in redaction.record:
        hidden = hidden.replace(one.placeholder, "***")
    return hidden


def forms(secret: str) -> Iterator[str]:
    """Yield a secret as it stands, and as it stands in URLs, in JSON and in base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield secret.encode("unicode_escape").decode("ascii")
    if len(secret) >= 6:
        yield base64.b64encode(secret.encode()).decode().rstrip("=")


def _by_length(text: str) -> tuple[int, str]:
    return -len(text), text


def _spans(text: str, *, personal: bool) -> Iterator[_Span]:
    for match in _URL_LOGIN.finditer(text):
        if not match["value"].startswith(("${", "***", MARK)):
            yield _Span(*match.span("value"), "PASSWORD")
    for start, end, what in secret_spans(text):
        if "URL with a password" in what or MARK in text[start:end]:
            continue
        yield _Span(start, end, "SECRET")
    for pattern in (_NAMED, _SECRET_WORDS):
        place = 0
        while (found := pattern.search(text, place)) is not None:
            value = found["value"]
            named = pattern is _SECRET_WORDS or names_secret(found["key"])
            sure = pattern is _NAMED and found["sign"] in (":", "=", "=>")
            secret = named and not value.startswith(("${", "***", MARK)) and _could_be_secret(value, sure)
            if secret:
                yield _Span(*found.span("value"), "PASSWORD")
            # the value of an innocent key may name a secret itself: {"note": "password=…"}
            place = found.end() if secret else found.start("value")
    if personal:
        yield from _personal(text)


_PLAIN = frozenset(
    (
        *("null", "none", "true", "false", "string", "text", "varchar", "bigint", "integer", "number", "boolean"),
        *("secret", "password", "passwort", "hash", "redact", "partial", "email", "mask", "masked", "column", "type"),
        *("not", "set", "required", "optional", "the", "der", "die", "das", "and", "und", "from", "aus", "hashed"),
    )
)
_WORDY = re.compile(r"[^\W\d_]+[.!?]*")


def _could_be_secret(value: str, sure: bool) -> bool:
    """Whether a value under a secret's name is one, and no type, mask method or word of the sentence."""
    return value.lower().rstrip(".") not in _PLAIN and (sure or not _WORDY.fullmatch(value))


def _personal(text: str) -> Iterator[_Span]:
    for match in _EMAIL.finditer(text):
        yield _Span(*match.span(), "EMAIL")
    for kind, pattern, check in (("IBAN", _IBAN, _is_iban), ("CARD", _CARD, _luhn)):
        place = 0
        while (found := pattern.search(text, place)) is not None:
            length = _longest(found.group(), check)
            if length:
                yield _Span(found.start(), found.start() + length, kind)
            # other figures or capitals before it, or behind it, may have been taken for a part of it
            place = found.start() + (length or 1)
    for match in _SSN.finditer(text):
        yield _Span(*match.span(), "ID_NUMBER")
    for pattern in (_PHONE, _PHONE_LOCAL):
        for match in pattern.finditer(text):
            if sum(char.isdigit() for char in match.group()) >= 8:
                yield _Span(*match.span(), "PHONE")
    for match in _IPV4.finditer(text):
        if _is_address(match.group()):
            yield _Span(*match.span(), "IP_ADDRESS")


def _longest(text: str, check: Callable[[str], bool]) -> int:
    """Return the length of the longest beginning of a text, up to one of its gaps, that passes; 0 when none does."""
    while text and not check(text):
        gap = max(text.rfind(" "), text.rfind("-"))
        text = text[: max(0, gap)]
    return len(text)


def _apart(spans: Iterable[_Span]) -> list[_Span]:
    """Return spans that do not overlap, in order: secrets win over personal data, then what begins first."""
    found = sorted(spans, key=lambda span: (span.start, -span.end))
    secrets: list[_Span] = []
    for span in found:
        if span.kind in PERSONAL:
            continue
        if secrets and span.start < secrets[-1].end:
            secrets[-1] = _Span(secrets[-1].start, max(span.end, secrets[-1].end), secrets[-1].kind)
        else:
            secrets.append(span)
    kept, end = list(secrets), 0
    for span in found:
        if span.kind in PERSONAL and span.start >= end and not any(_meet(span, other) for other in secrets):
            kept.append(span)
            end = span.end
    return sorted(kept, key=lambda span: span.start)


def _meet(one: _Span, other: _Span) -> bool:
    return one.start < other.end and other.start < one.end


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _luhn(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _is_address(text: str) -> bool:
    """Whether it is the address of somebody: versions, loopback and documentation masks are no personal data."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
