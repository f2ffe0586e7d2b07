"""Structured log lines: one message, then `key=value` pairs, as every log store can split them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

logger = logging.getLogger("dataforge")


def line(message: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Log one line: `message key=value …`; texts with spaces are quoted, control characters escaped."""
    _log(level, message, fields)


def _log(level: int, message: str, fields: Mapping[str, object]) -> None:
    logger.log(level, "%s%s", message, "".join(f" {name}={_value(value)}" for name, value in fields.items()))


@contextmanager
def timed(stage: str, **fields: object) -> Iterator[Callable[..., None]]:
    """Log the start and end of a stage; the yielded function adds fields (rows, bytes) to the end line."""
    _log(logging.INFO, f"{stage} started", fields)
    began = time.monotonic()
    results: dict[str, object] = {}
    try:
        yield lambda **more: results.update(more)
    except Exception as error:
        _log(logging.INFO, f"{stage} failed", {**fields, "seconds": _since(began), "error": type(error).__name__})
        raise
    _log(logging.INFO, f"{stage} finished", {**fields, **results, "seconds": _since(began)})


def _since(began: float) -> float:
    return time.monotonic() - began


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if text.isascii() and text and not any(char.isspace() or char in '"=' or not char.isprintable() for char in text):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
