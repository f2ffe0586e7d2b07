"""Values in a config that look like secrets: told by the key they stand under, or by their own shape.

A finding never repeats the value. `${…}` passes, and so do column names, ids and digests in hexadecimal: the mask
transform, casts of a column named "password" and pinned checksums are everyday things.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from dataforge.components.base import JsonValue
from dataforge.config.placeholders import component_shape, components
from dataforge.config.shapes import ANY, Path, Shape, below, shape_of
from dataforge.errors import Problem

SUGGESTION = "put it into an Airflow connection and name that connection here"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_KEYS = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secret|token|bearer|credentials?|authorization|cookie|"
    r"(?:api|access|secret|private|account|auth|encryption|signing|shared_access|subscription|master|service_account)"
    r"_?key|apikey|connection_string|dsn)$"
)
_INNOCENT_KEYS = re.compile(r"(?:^|_)(?:next|page|continuation|cursor|sync|start|after|previous|max)_(?:page_)?token$")
_COLUMN_KEYS = frozenset(
    {"columns", "column", "keys", "rename", "values", "fields", "fill", "aggregations", "aggregates", "group_by", "on"}
)
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


def find_secrets(data: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[Problem, str]]:
    """Yield (problem, the value) for each secret-looking value of a pipeline's JSON, unknown keys too."""
    for key, value, shape in below(shape_of(model), data):
        placed = list(components(str(key), value))
        for path, kind, block in placed:
            yield from _walk(component_shape(kind, block), block, path)
        if not placed:
            yield from _one(str(key), value, shape, (key,), columns=False)


def _walk(shape: Shape, value: JsonValue, path: Path) -> Iterator[tuple[Problem, str]]:
    columns = _keyed_by_columns(shape, value, path)
    for key, part, inner in below(shape, value):
        yield from _one(str(key), part, inner, (*path, key), columns=columns or isinstance(key, int))


def _one(key: str, value: JsonValue, shape: Shape, path: Path, *, columns: bool) -> Iterator[tuple[Problem, str]]:
    if isinstance(value, dict | list):
        yield from _walk(shape, value, path)
        if isinstance(value, list) and not columns and _names_secret(key):
            for index, part in enumerate(value):
                if isinstance(part, str):
                    yield from _literal(key, part, shape.items or ANY, (*path, index))
        return
    what = secret_shape(value) if isinstance(value, str) and len(value) >= 12 else None
    if what:
        yield Problem("secret-in-config", f"the value looks like {what}", path, SUGGESTION), value
    elif not columns and isinstance(value, str | int) and not isinstance(value, bool) and _names_secret(key):
        yield from _literal(key, str(value), shape, path)


def _literal(key: str, text: str, shape: Shape, path: Path) -> Iterator[tuple[Problem, str]]:
    """Yield a problem for a literal under a key that names a secret, unless it is a reference of some kind."""
    named = shape.marks.get("x-connection") or shape.marks.get("x-column") or shape.choices
    if not named and text.strip() and not re.match(r"\A(?:[A-Za-z]+ )?\$\{[^{}]*\}\Z", text):
        yield Problem("secret-in-config", f"key {key!r} holds a literal secret", path, SUGGESTION), text


def _keyed_by_columns(shape: Shape, value: JsonValue, path: Path) -> bool:
    """Whether the keys of the object are column names, by its model or, where no model is known, by its own key."""
    options = shape.options or (shape,)
    if any(option.columns for option in options):
        return True
    known = any(option.model or option.values for option in options)
    return isinstance(value, Mapping) and not known and bool(path) and path[-1] in _COLUMN_KEYS


def _names_secret(key: str) -> bool:
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


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` without any of the secret values, also as `repr` would show them."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, repr(secret)[1:-1]):
            if len(form) >= 3:
                text = text.replace(form, "***")
    return text
