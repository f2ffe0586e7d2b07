"""The encrypt transform: values that only holders of a key can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components.base import TransformConfig, TransformContext
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import TerminalError
from dataforge.transforms._ciphers import keys_of, match_texts, replaced, sealer

if TYPE_CHECKING:
    import pyarrow as pa


class EncryptConfig(TransformConfig):
    """Config of `encrypt`."""

    type: Literal["encrypt"] = "encrypt"
    columns: tuple[ColumnName, ...] = Field(
        description="Columns with text to encrypt; other types need a cast to text before. Nulls stay null.",
        examples=[["email", "iban"]],
    )
    connection: ConnectionId = Field(
        description="Airflow connection with the key: its password is 32 bytes in base64, its login the key's id (1 "
        "when empty), its extra may hold earlier keys as secret_ID.",
        examples=["column_keys"],
    )
    mode: Literal["random", "deterministic"] = Field(
        default="random",
        description="random: AES-256-GCM, equal values differ; deterministic: AES-SIV, equal values are equal, so that "
        "they can be joined and counted, and anyone can see which are.",
    )


@TRANSFORMS.register(EncryptConfig)
class Encrypt:
    """Encrypts texts with a key of an Airflow connection; `decrypt` reads them again."""

    row_wise: Literal[True] = True

    def __init__(self, config: EncryptConfig, seal: Callable[[str], str] | None = None) -> None:
        self._config = config
        self._seal = seal

    def using(self, context: TransformContext) -> Encrypt:
        """Return the transform with the connection's key."""
        keys = keys_of(context.connection(self._config.connection))
        return Encrypt(self._config, sealer(keys, self._config.mode))

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the same columns; ConfigError for one that is not there or is no text."""
        return match_texts(schema, self._config.columns)[0]

    def made_from(self) -> dict[str, tuple[str, ...]]:
        """Return each of the columns, made from itself."""
        return {name: (name,) for name in self._config.columns}

    def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches with tokens in place of the texts."""
        if self._seal is None:
            raise TerminalError("encrypt needs the key of its connection")
        for batch in batches:
            yield replaced(batch, match_texts(batch.schema, self._config.columns)[1], self._seal)
