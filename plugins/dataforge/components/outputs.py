"""What a pipeline wrote, as a source names it that reads it again: by pipeline, or by asset."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PrivateAttr
from typing_extensions import Self

from dataforge.components.base import DestinationConfig, SourceConfig
from dataforge.errors import TerminalError


@dataclass(frozen=True)
class Output:
    """One destination of another pipeline: by `dag_id` and number (from 1), or by the `asset` that it updates.

    `key` is the field of the source's config that names it.
    """

    key: str
    dag_id: str = ""
    number: int = 1
    asset: str = ""


class FollowingConfig(SourceConfig):
    """Base of the configs of sources that read what another pipeline wrote.

    Which destination that is, the configs folder tells: whoever resolves a config for a run adds it by `leading_to`.
    """

    _target: DestinationConfig | None = PrivateAttr(default=None)

    def follows(self) -> Output:
        """Return the output that is read."""
        raise NotImplementedError

    @property
    def target(self) -> DestinationConfig:
        """The destination whose rows are read; TerminalError where nobody looked it up."""
        if self._target is None:
            output = self.follows()
            raise TerminalError(f"{output.dag_id or output.asset!r} can't be looked up here")
        return self._target

    def leading_to(self, target: DestinationConfig) -> Self:
        """Return the same config with its destination known."""
        copy = self.model_copy()
        copy._target = target  # noqa: SLF001 - of the same class
        return copy
