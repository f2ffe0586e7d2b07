"""Extras: packages that only some components need, and what to install where one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from dataforge.errors import Problem, TerminalError


@dataclass(frozen=True)
class Extra:
    """An optional part of the wheel, such as `kafka`, and the module (dotted, importable) that comes with it."""

    name: str
    module: str

    @property
    def hint(self) -> str:
        """The line that installs it."""
        return f"pip install 'airflow-dataforge[{self.name}]'"

    @property
    def installed(self) -> bool:
        """Whether its module can be found; nothing but the packages it lies in is imported."""
        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:  # of a package around it
            return False

    def problem(self, what: str) -> Problem:
        """Return what a config that names `what` is told where this is missing."""
        return Problem("missing-extra", f"{what} needs the Python module {self.module}", ("type",), self.hint)

    def need(self, what: str) -> None:
        """Raise TerminalError with the install line where it is missing; to be called before the module is imported."""
        if not self.installed:
            raise TerminalError(f"{self.problem(what).message}; {self.hint}")
