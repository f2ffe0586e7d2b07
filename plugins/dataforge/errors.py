"""The error tree, sorted by what the caller does next.

DataForgeError
    ConfigError         fix the config: carries problems, each with a place in the config
    TransientError      try again: the same call may succeed later
        ServerAway      a connection's server can't be reached or does not answer: a circuit breaker counts these
        ConflictError   the server preferred another transaction: the same one may succeed at once
        FencedError     another load was faster: read the records again
    TerminalError       give up: trying again cannot help
        CheckFailed     the data broke a check of severity "fail"
        NothingToLoad   the only source has no records and no known columns: skip the run, leave the target as it is
    RecordError         set one record aside: its value does not fit
    GatewayError        a language model gave no answer: go on without it; the classes below are also of the kind that
                        stands in brackets
        ModelAway       [ServerAway] no model server answers
            ModelFull   it has too many requests now
        ModelSlow       [TransientError] the answer did not come in time
        AnswerUnfit     [TransientError] what came is no answer
        ModelRefused    [TerminalError] the provider does not take the request: a wrong key, an unknown model
        PromptTooLong   [TerminalError] the request does not fit into the model's context
        BudgetSpent     [TerminalError] tokens or money are used up
        Cancelled       the caller ended the call

Texts are bounded and hold no secret values and no row values beyond the few examples a check was asked to keep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_MESSAGE = 2_000


def bounded(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text`, cut to `limit` characters with a mark where something is missing."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config, told by the part that knows; the config layer adds file, line and column.

    `path` is the list of keys and indexes from the root of the pipeline config to the value.
    """

    code: str
    message: str
    path: tuple[str | int, ...] = ()
    suggestion: str | None = None
    allowed: tuple[str, ...] = ()
    severity: str = "error"

    def under(self, *prefix: str | int) -> Problem:
        """Return the same problem with its path put below `prefix`."""
        return Problem(self.code, self.message, (*prefix, *self.path), self.suggestion, self.allowed, self.severity)

    def __str__(self) -> str:
        place = "/" + "/".join(map(str, self.path))
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}: {self.message}{hint}"


class DataForgeError(Exception):
    """Base of all errors that DataForge raises on purpose; its text is fit for a user."""

    def __init__(self, message: str) -> None:
        super().__init__(bounded(message))


class ConfigError(DataForgeError):
    """The config must be changed; `problems` say where and how."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

    def under(self, *prefix: str | int) -> ConfigError:
        """Return the same error with every path put below `prefix`."""
        return ConfigError(problem.under(*prefix) for problem in self.problems)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class TransientError(DataForgeError):
    """The same call may succeed later: a server away, a lock, a time-out."""


class ConflictError(TransientError):
    """The server gave this transaction up in favour of another one: the same transaction may succeed at once."""


class FencedError(TransientError):
    """Another load changed the state on which this one stands: the records must be read again."""


class ServerAway(TransientError):
    """The server of `connection` can't be reached, is full, or does not answer; circuit breakers count these.

    `retry_after` is the least number of seconds to wait before the next try, where that is known.
    """

    def __init__(self, message: str, connection: str, retry_after: float | None = None) -> None:
        self.connection = connection
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ServerAway], tuple[str, str, float | None]]:
        return type(self), (str(self), self.connection, self.retry_after)


class TerminalError(DataForgeError):
    """Trying again cannot help: a missing right, a missing file, an answer that makes no sense."""


@dataclass(frozen=True)
class CheckFailure:
    """One broken check: how many of how many rows, with at most five examples."""

    check: str
    message: str
    violations: int
    checked: int
    examples: tuple[dict[str, object], ...] = field(default=())

    def __str__(self) -> str:
        shown = ", ".join(str(example) for example in self.examples)
        return bounded(f"check {self.check}: {self.message}" + (f"; for example {shown}" if shown else ""), 600)


class CheckFailed(TerminalError):
    """Checks of severity "fail" found violations; nothing was loaded."""

    def __init__(self, failures: Iterable[CheckFailure]) -> None:
        self.failures = tuple(failures)
        super().__init__("; ".join(map(str, self.failures)))

    def __reduce__(self) -> tuple[type[CheckFailed], tuple[tuple[CheckFailure, ...]]]:
        return type(self), (self.failures,)


class NothingToLoad(TerminalError):
    """There are no records, and no columns are known either, so that not even an empty result can be made."""


class RecordError(DataForgeError):
    """One record does not fit; `position` says which, in the source's own terms."""

    def __init__(self, message: str, position: str = "") -> None:
        self.position = position
        super().__init__(message)

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, str]]:
        return type(self), (str(self), self.position)


class GatewayError(DataForgeError):
    """A language model gave no answer; everything that needs none still works."""


class ModelAway(GatewayError, ServerAway):
    """No model server answers, all of them are full, or they are left alone for a while after failures."""


class ModelFull(ModelAway):
    """The server takes no more requests now, or no more from this caller; that says nothing bad about its health."""


class ModelSlow(GatewayError, TransientError):
    """The answer did not come in time: no first token, a silence, or the whole took too long."""


class AnswerUnfit(GatewayError, TransientError):
    """What the server sent is no answer: garbage, a stream that broke, an answer that would not end."""


class ModelRefused(GatewayError, TerminalError):
    """The provider does not take the request: a wrong key, an unknown model, a schema it can't use."""


class PromptTooLong(GatewayError, TerminalError):
    """The request does not fit into the model's context."""


class BudgetSpent(GatewayError, TerminalError):
    """A budget of tokens or money is used up; `scope` is "call", "request", "user" or "month"."""

    def __init__(self, message: str, scope: str) -> None:
        self.scope = scope
        super().__init__(message)

    def __reduce__(self) -> tuple[type[BudgetSpent], tuple[str, str]]:
        return type(self), (str(self), self.scope)


class Cancelled(GatewayError):
    """The caller ended the call."""
