"""Structured log lines: one message, then `key=value` pairs, as every log store can split them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger("dataforge")


def line(message: str, /, **fields: object) -> None:
    """Log one line: `message key=value …`; texts with spaces are quoted, control characters escaped."""
    logger.info("%s%s", message, "".join(f" {name}={_value(value)}" for name, value in fields.items()))


@contextmanager
def timed(stage: str, **fields: object) -> Iterator[Callable[..., None]]:
    """Log the start and end of a stage; the yielded function adds fields (rows, bytes) to the end line."""
    line(f"{stage} started", **fields)
    began = time.monotonic()
    results: dict[str, object] = {}
    try:
        yield lambda **more: results.update(more)
    except Exception as error:
        line(f"{stage} failed", **fields, seconds=time.monotonic() - began, error=type(error).__name__)
        raise
    line(f"{stage} finished", **fields, **results, seconds=time.monotonic() - began)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if text.isascii() and text and not any(char.isspace() or char in '"=' or not char.isprintable() for char in text):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
