"""Texts that look like secrets, told by their own shape or by the key they stand under."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_KEYS = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secret|token|bearer|credentials?|authorization|cookie|"
    r"(?:api|access|secret|private|account|auth|encryption|signing|shared_access|subscription|master|service_account)"
    r"_?key|apikey|connection_string|dsn)$"
)
_INNOCENT_KEYS = re.compile(r"(?:^|_)(?:next|page|continuation|cursor|sync|start|after|previous|max)_(?:page_)?token$")
_SHAPES = (
    ("an AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,})"),
    ("a GitLab token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft)-[\w-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}|\bxapp-\d-[\w-]{10,}"),
    ("a Slack webhook", r"hooks\.slack\.com/(?:services|workflows)/\w+/\w+/\w+"),
    ("a Discord webhook", r"discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"),
    ("a Stripe key", r"\b(?:[srp]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[0-9A-Za-z+/=]{20,})"),
    ("an API key", r"\bsk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9][\w-]{18,}"),
    ("a Google key", r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}"),
    ("a SendGrid key", r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    ("a Mailgun key", r"\bkey-[0-9a-f]{32}\b"),
    ("a Twilio key", r"\bSK[0-9a-f]{32}\b"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a PyPI token", r"\bpypi-AgE[\w-]{20,}"),
    ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}\b"),
    ("a DigitalOcean token", r"\bdo[por]_v1_[0-9a-f]{64}\b"),
    ("a Shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    ("a Databricks token", r"\bdapi[0-9a-f]{32}\b"),
    ("a Grafana token", r"\bgl(?:sa|c)_[A-Za-z0-9+/=_]{30,}"),
    ("an Atlassian token", r"\bATATT3[\w=-]{20,}"),
    ("a Notion or Linear token", r"\b(?:ntn_|lin_api_)[A-Za-z0-9]{30,}"),
    ("a Vault token", r"\bhv[sbr]\.[\w-]{24,}"),
    ("an Airtable token", r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}\b"),
    ("a Telegram bot token", r"\b\d{8,10}:AA[\w-]{32,}"),
    ("a JSON web token", r"\beyJ[\w-]{8,1000}\.eyJ[\w-]{8,}"),
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File|AGE-SECRET-KEY-1"),
    ("an Azure key", r"(?i:(?:AccountKey|SharedAccessKey|SharedAccessSignature)=[A-Za-z0-9+/=%&]{20,})"),
    ("a signed URL", r"[?&](?:sig|X-Amz-Signature|X-Goog-Signature|Signature)=[A-Za-z0-9%+/=_-]{16,}"),
    ("a URL with a password", r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^/\s:@?#]{0,200}:(?!\$\{|\*+@)[^/\s@]{1,200}@"),
    (
        "a URL with a secret",
        r"[?&](?i:api_?key|access_token|auth_?token|token|(?:client_)?secret|passw(?:or)?d|pwd)=(?!\$\{)[^&\s]{6,}",
    ),
    (
        "a connection string",
        r"(?i:\b(?:host|server|dbname|database|uid|user(?: id)?)\s?=[^;]{0,200}[;\s](?:password|pwd)\s?=\s?[^\s;$]+)",
    ),
    ("a bearer token", r"(?i:\bbearer)\s+(?!\$\{)(?=[\w.~+/=-]*\d)[\w.~+/=-]{12,}"),
    ("basic credentials", r"\A(?i:basic)\s+[A-Za-z0-9+/]{8,}={0,2}\Z"),
)
# One pass over a text decides that it is innocent, as nearly all are; which shape it has matters only for the message.
_ANY_SHAPE = re.compile("|".join(f"(?:{pattern})" for _, pattern in _SHAPES))
_EACH_SHAPE = tuple((name, re.compile(pattern)) for name, pattern in _SHAPES)
_LONG = re.compile(r"[A-Za-z0-9+/_=-]{32,}")
_WINDOW, _OVERLAP = 20_000, 2_000
_HEX = re.compile(r"\A[0-9a-f-]+\Z|\A[0-9A-F-]+\Z")


def names_secret(key: str) -> bool:
    """Whether a key, a parameter or a column is called as secrets are."""
    words = "_".join(word.lower() for word in _WORDS.findall(key))
    return bool(_KEYS.search(words)) and not _INNOCENT_KEYS.search(words)


def secret_shape(text: str) -> str | None:
    """Return what kind of secret a text looks like, with its article, or None."""
    if len(text) > _WINDOW:
        starts = range(0, len(text), _WINDOW - _OVERLAP)
        return next(filter(None, (secret_shape(text[start : start + _WINDOW]) for start in starts)), None)
    if _ANY_SHAPE.search(text):
        return next((name for name, pattern in _EACH_SHAPE if pattern.search(text)), "a secret")
    if len(text) >= 32 and any(_is_random(match.group()) for match in _LONG.finditer(text)):
        return "a long random secret"
    return None


def _is_random(token: str) -> bool:
    """Whether a run of characters has the entropy and the restless mixture of a random one.

    In random base 62, neighbours differ in class (lower, upper, digit) in 62 % of places, in CamelCase names and paths
    in about a third; words with separators have parts that are short.
    """
    if _HEX.match(token) or max(map(len, re.split(r"[_/=+-]", token))) < 12:
        return False
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" if c.islower() else "s" for c in token]
    counts = Counter(kinds)
    changes = sum(a != b for a, b in pairwise(kinds)) / (len(kinds) - 1)
    mixed = counts["d"] >= 2 and counts["l"] >= 2 and counts["u"] >= 2 and changes >= 0.42
    lower = counts["d"] >= 5 and counts["l"] >= 5 and changes >= 0.3 and counts["s"] <= 1
    return (mixed or lower) and _entropy(token) >= 3.9


def _entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def secret_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, what it looks like) for each part of a text that has the shape of a secret, in any order."""
    for name, pattern in _EACH_SHAPE:
        for match in pattern.finditer(text):
            yield match.start(), match.end(), name
    for match in _LONG.finditer(text):
        if _is_random(match.group()):
            yield match.start(), match.end(), "a long random secret"
