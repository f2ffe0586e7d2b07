"""The error of a command line that asks for something that can't be meant."""

from __future__ import annotations

from dataforge.errors import DataForgeError


class UsageError(DataForgeError):
    """The arguments name something that isn't there, or is there already; exit code 2."""
