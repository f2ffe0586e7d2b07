"""What encrypt and decrypt share: keys out of an Airflow connection, and values to and from tokens.

A token is text: `df1:r:KEY:BASE64` with AES-256-GCM and a random nonce, `df1:d:KEY:BASE64` with AES-SIV (RFC 5297),
which gives equal tokens for equal values. What stands before the base64 is authenticated too. Each way has a key of its
own, derived from the connection's by HKDF-SHA256, so that one connection serves both.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dataforge.components import sql
from dataforge.components.base import Connection
from dataforge.errors import Problem, TerminalError, bounded

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["random", "deterministic"]

PREFIX = "secret_"
"""Extras of the connection with earlier keys begin so."""
KEY_BYTES = 32
NONCE_BYTES = 12
_KEY_ID = re.compile(r"\A[A-Za-z0-9_-]{1,40}\Z")
_TOKEN = re.compile(r"\Adf1:([rd]):([A-Za-z0-9_-]{1,40}):([A-Za-z0-9_-]+)\Z")
_HINT = "make one with: openssl rand -base64 32"


@dataclass(frozen=True)
class Keys:
    """The keys of a connection by their ids; `current` is the id of the one that encrypts."""

    connection: str
    current: str
    by_id: Mapping[str, bytes] = field(repr=False)

    def of(self, key_id: str) -> bytes:
        """Return the key of an id; TerminalError where the connection has none."""
        if key_id not in self.by_id:
            known = ", ".join(sorted(self.by_id))
            raise TerminalError(
                f"connection {self.connection!r} has no key {key_id!r} (it has: {known}); add the key to its extra as "
                f"{PREFIX}{key_id}"
            )
        return self.by_id[key_id]


def keys_of(connection: Connection) -> Keys:
    """Return the keys that a connection holds; TerminalError where one is none."""
    current = connection.login or "1"
    texts = {name.removeprefix(PREFIX): text for name, text in connection.extra.items() if name.startswith(PREFIX)}
    texts[current] = connection.password
    found = {}
    for key_id, text in texts.items():
        if not _KEY_ID.match(key_id):
            raise TerminalError(
                f"connection {connection.id!r}: {bounded(key_id, 60)!r} is no id of a key: up to 40 letters, digits, "
                "'_' and '-'"
            )
        found[key_id] = _key(text, connection.id, "its password" if key_id == current else f"{PREFIX}{key_id}")
    return Keys(connection.id, current, found)


def _key(text: object, connection: str, place: str) -> bytes:
    try:
        key = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise TerminalError(f"connection {connection!r}: {place} is no key of 32 bytes in base64; {_HINT}")
    return key


def _derived(key: bytes, mode: str, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, None, f"dataforge column {mode}".encode()).derive(key)


def sealer(keys: Keys, mode: Mode) -> Callable[[str], str]:
    """Return what makes tokens of texts with the current key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

    head = f"df1:{mode[0]}:{keys.current}:"
    bound = head.encode()
    key = keys.of(keys.current)
    if mode == "random":
        gcm = AESGCM(_derived(key, mode, 32))

        def sealed(text: str) -> str:
            nonce = os.urandom(NONCE_BYTES)
            return head + _written(nonce + gcm.encrypt(nonce, text.encode(), bound))

        return sealed
    siv = AESSIV(_derived(key, mode, 64))
    # RFC 5297's cipher takes no empty text here; the byte before it makes each one of at least one
    return lambda text: head + _written(siv.encrypt(b"\0" + text.encode(), [bound]))


def opener(keys: Keys) -> Callable[[str], str]:
    """Return what makes texts of tokens, by whichever key they name; TerminalError for what is no sound token."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

    ciphers: dict[tuple[str, str], Any] = {}

    def cipher(mode: str, key_id: str) -> Any:
        if (mode, key_id) not in ciphers:
            key = keys.of(key_id)
            made = AESGCM(_derived(key, "random", 32)) if mode == "r" else AESSIV(_derived(key, "deterministic", 64))
            ciphers[mode, key_id] = made
        return ciphers[mode, key_id]

    def opened(token: str) -> str:
        match = _TOKEN.match(token)
        if match is None:
            raise TerminalError("a value is no token that encrypt made")
        mode, key_id, text = match.groups()
        head = f"df1:{mode}:{key_id}:".encode()
        found = cipher(mode, key_id)
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if mode == "r":
                return bytes(found.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], head)).decode()
            return bytes(found.decrypt(sealed, [head]))[1:].decode()
        except (InvalidTag, ValueError):
            raise TerminalError(
                f"a value can't be decrypted with key {key_id!r} of connection {keys.connection!r}: another key made "
                "it, or it was changed"
            ) from None

    return opened


def _written(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def match_texts(schema: pa.Schema, columns: Sequence[str]) -> tuple[pa.Schema, list[str]]:
    """Return the schema with those columns as text, and their names as it spells them.

    ConfigError, with paths below `columns`, for one that is not there, or is no text.
    """
    import pyarrow as pa
    from pyarrow import types as t

    names = sql.match_columns(dict.fromkeys(schema.names, ""), columns, "columns")
    with sql.Problems() as problems:
        for index, name in enumerate(names):
            place = schema.get_field_index(name)
            type_ = schema.field(place).type
            if not (t.is_string(type_) or t.is_large_string(type_) or isinstance(type_, pa.JsonType)):
                message = f"column {name!r} is of type {type_}, not text"
                hint = "cast it to text in a cast step before"
                problems.add(Problem("type-mismatch", message, ("columns", index), hint))
            schema = schema.set(place, pa.field(name, pa.string()))
    return schema, names


def replaced(batch: pa.RecordBatch, columns: Sequence[str], change: Callable[[str], str]) -> pa.RecordBatch:
    """Return the batch with the texts of some columns changed, nulls left.

    TerminalErrors of `change` get the column's name.
    """
    import pyarrow as pa

    for name in columns:
        index = batch.schema.get_field_index(name)
        try:
            texts = [None if text is None else change(text) for text in batch.column(index).to_pylist()]
        except TerminalError as error:
            raise TerminalError(f"column {name!r}: {error}") from None
        batch = batch.set_column(index, pa.field(name, pa.string()), pa.array(texts, pa.string()))
    return batch
