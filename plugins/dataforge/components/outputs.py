"""What a pipeline wrote, as a source names it that reads it again: by pipeline, or by asset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Output:
    """One destination of another pipeline: by `dag_id` and number (from 1), or by the `asset` that it updates.

    `key` is the field of the source's config that names it.
    """

    key: str
    dag_id: str = ""
    number: int = 1
    asset: str = ""
