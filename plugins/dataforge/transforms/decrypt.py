"""The decrypt transform: what encrypt made, readable again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dataforge.components.base import TransformConfig, TransformContext
from dataforge.components.fields import ColumnName, ConnectionId
from dataforge.components.registry import TRANSFORMS
from dataforge.errors import TerminalError
from dataforge.transforms._ciphers import keys_of, match_texts, opener, replaced

if TYPE_CHECKING:
    import pyarrow as pa


class DecryptConfig(TransformConfig):
    """Config of `decrypt`."""

    type: Literal["decrypt"] = "decrypt"
    columns: tuple[ColumnName, ...] = Field(
        description="Columns with what encrypt made; they become text, which a cast step gives its type. Nulls stay "
        "null.",
        examples=[["email", "iban"]],
    )
    connection: ConnectionId = Field(
        description="Airflow connection with the keys: the one in its password, with its login as id (1 when empty), "
        "and those in its extra as secret_ID; each 32 bytes in base64.",
        examples=["column_keys"],
    )


@TRANSFORMS.register(DecryptConfig)
class Decrypt:
    """Decrypts what encrypt made, by whichever key of the connection each value names."""

    row_wise: Literal[True] = True

    def __init__(self, config: DecryptConfig, open_: Callable[[str], str] | None = None) -> None:
        self._config = config
        self._open = open_

    def using(self, context: TransformContext) -> Decrypt:
        """Return the transform with the connection's key."""
        keys = keys_of(context.connection(self._config.connection))
        return Decrypt(self._config, opener(keys))

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the same columns; ConfigError for one that is not there or is no text."""
        return match_texts(schema, self._config.columns)[0]

    def made_from(self) -> dict[str, tuple[str, ...]]:
        """Return each of the columns, made from itself."""
        return {name: (name,) for name in self._config.columns}

    def apply_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches with texts in place of the tokens."""
        if self._open is None:
            raise TerminalError("decrypt needs the key of its connection")
        for batch in batches:
            yield replaced(batch, match_texts(batch.schema, self._config.columns)[1], self._open)
