"""What a failure means and how often to try again: the one taxonomy of errors, and the one policy of repeating.

Every driver says in its own words what went wrong. Here SQLSTATEs, vendors' codes, HTTP statuses, error numbers of the
operating system and class names of drivers become one of five verdicts:

    away        the server can't be reached, is full or does not answer       ServerAway, counted by circuit breakers
    conflict    another transaction got in the way                            ConflictError
    again       something else that passes: a lock, a full disk, a limit      TransientError
    record      a value does not fit                                          TerminalError, or a dead letter
    terminal    trying again can't help                                       TerminalError
"""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from dataforge.errors import ConflictError, DataForgeError, ServerAway, TerminalError, TransientError
from dataforge.observability.log import line
from dataforge.settings import get_settings

Verdict = Literal["away", "conflict", "again", "record", "terminal"]
Result = TypeVar("Result")

SLOT_SECONDS = 13.0
"""Least pause before asking a full server for a slot again, which keeps below five tries a minute."""


@dataclass(frozen=True)
class Policy:
    """How often and how long to try: waits are `first` × 2ⁿ seconds plus up to `first` of jitter, at most `cap`.

    `seconds` bounds all tries together, by a clock that nobody sets; a wait that would pass it is not begun.
    """

    attempts: int = 3
    first: float = 1.0
    cap: float = 60.0
    seconds: float | None = None

    def wait(self, failed: int) -> float:
        """Return the seconds to wait after so many failed tries."""
        jitter = random.uniform(0, self.first)  # noqa: S311 it spreads clients, it hides nothing
        return min(self.cap, self.first * 2.0 ** min(failed - 1, 60) + jitter)


TRANSACTION = Policy(attempts=3, first=0.1, cap=2.0)
"""Deadlocks and serialization failures: the whole transaction, three times at most."""

OBJECTS = Policy(attempts=3, first=1.0)
"""Calls to an object store, whose client has tried several times before it gives up."""


def repeat(
    call: Callable[[], Result],
    policy: Policy,
    *,
    when: type[BaseException] | tuple[type[BaseException], ...] = TransientError,
    what: str = "",
    log: Callable[..., None] = line,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Return `call()`, tried again by the policy when it raises one of `when`; the last error is raised.

    Where the error has `retry_after`, that many seconds are waited in place of the policy's own.
    """
    import tenacity

    ends = None if policy.seconds is None else time.monotonic() + policy.seconds

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        return policy.wait(state.attempt_number) if asked is None else float(asked)

    def stop(state: tenacity.RetryCallState) -> bool:
        late = ends is not None and time.monotonic() + state.upcoming_sleep > ends
        return late or state.attempt_number >= policy.attempts

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log("trying again", what=what, attempt=state.attempt_number, wait=round(state.upcoming_sleep, 3), error=error)

    retrying = tenacity.Retrying(
        wait=wait,
        stop=stop,
        retry=tenacity.retry_if_exception_type(when),
        before_sleep=tell,
        reraise=True,
        sleep=sleep,
    )
    return retrying(call)


def connecting(call: Callable[[], Result], connection: str, log: Callable[..., None] = line) -> Result:
    """Return what `call` connects to, tried again while it raises ServerAway, for `connect_seconds` of the settings.

    A server without a free slot is asked at most five times a minute.
    """
    policy = Policy(attempts=1_000, seconds=get_settings().connect_seconds)
    return repeat(call, policy, when=ServerAway, what=f"connection {connection}", log=log)


def transaction(call: Callable[[], Result], log: Callable[..., None] = line) -> Result:
    """Return `call()`, which does one whole transaction: three times at most, as long as it raises ConflictError."""
    return repeat(call, TRANSACTION, when=ConflictError, what="transaction", log=log)


def error_for(verdict: Verdict, message: str, connection: str, retry_after: float | None = None) -> DataForgeError:
    """Return our error of that verdict."""
    if verdict == "away":
        return ServerAway(message, connection, retry_after)
    if verdict == "conflict":
        return ConflictError(message)
    return TransientError(message) if verdict == "again" else TerminalError(message)


_STATES: tuple[tuple[str, Verdict], ...] = (
    ("25P", "again"),  # the session was idle for too long
    ("0A", "terminal"),
    ("08P01", "terminal"),  # protocol violation: no such server at that address
    ("08", "away"),
    ("40003", "again"),  # whether it was done is unknown: the load's marker tells
    ("40", "conflict"),
    ("53300", "away"),  # no connection slot
    ("53", "again"),  # disk full, out of memory
    ("55", "again"),  # a lock, an object in use
    ("57014", "again"),  # cancelled, by a limit as a rule
    ("57", "away"),  # shutting down, crashed, starting up
    ("58", "again"),  # the server's own disk
    ("XX", "again"),  # internal: as a rule something was changed under the statement
    ("22", "record"),
    ("23", "record"),
)
_WRITING = ("25006", "42P07", "42701", "3F000", "42P06")
"""States of a write that others cause: the server became read-only, or a table, column or schema came or went."""


def of_sqlstate(state: str, *, writing: bool = False) -> Verdict:
    """Return the verdict on a SQLSTATE; `writing` where the statement may change something."""
    if writing and state in _WRITING:
        return "again"
    return next((verdict for prefix, verdict in _STATES if state.startswith(prefix)), "terminal")


_FULL = re.compile(
    r"too many (clients|connections)|connection slots|no more connections|max_client_conn|ORA-00020|ORA-12519",
    re.IGNORECASE,
)
_AWAY = re.compile(
    r"refused|time.?out|timed out|could not translate|name resolution|starting up|shutting down|recovery mode|"
    r"not yet accepting|closed the connection|connection (was |has been )?(closed|lost|terminated|aborted)|no route|"
    r"unreachable|reset by peer|no such file|broken pipe|host is down|eof detected|unexpected eof|server has gone away|"
    r"lost connection|can't connect|could not (connect|receive|send)|unable to connect|terminating connection|"
    r"server login has been failing|not connected",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"authentication|access denied|does not exist|no pg_hba|permission denied|not permitted|certificate|"
    r"does not support ssl|ssl was required|invalid (password|username|user|connection option|port)|unknown database|"
    r"login failed|no password supplied|logon denied",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"\b(locked|busy|lock wait|timeout)\b|cancel(l)?ing statement|conflict with recovery|no space left|disk full|"
    r"ORA-00054|ORA-01555|try again|throttl",
    re.IGNORECASE,
)
_SQLITE_DISK = re.compile(r"disk is full|disk I/O error", re.IGNORECASE)
_CONFLICT = re.compile(r"deadlock|could not serialize|serialization failure|ORA-00060|ORA-08177", re.IGNORECASE)
_VENDOR_AWAY = re.compile(r"ORA-(0311[34]|03135|125\d\d|12170|0103[34]|01089)|DPY-(4011|6005)|TNS-", re.IGNORECASE)
_MYSQL: dict[int, Verdict] = {
    **dict.fromkeys((1040, 1053, 1129, 1203, 2002, 2003, 2005, 2006, 2013, 2055), "away"),
    **dict.fromkeys((1213, 1614), "conflict"),
    **dict.fromkeys((1021, 1037, 1041, 1205, 1290, 1317, 1836, 3024), "again"),
    **dict.fromkeys((1044, 1045, 1049), "terminal"),
}


def of_connecting(text: str) -> Verdict:
    """Return the verdict on what a driver without codes (libpq) says of a connection that was not made."""
    if _FULL.search(text) or (_AWAY.search(text) and not _REFUSED.search(text)):
        return "away"
    return "terminal" if _REFUSED.search(text) else "again"


def pause(text: str, state: str = "") -> float | None:
    """Return the seconds to leave a server alone that has no free connection slot; None for all other troubles."""
    if state != "53300" and not _FULL.search(text):
        return None
    return SLOT_SECONDS + random.uniform(0, 2)  # noqa: S311 it spreads clients, it hides nothing


def of_driver(error: BaseException, *, connecting: bool = False) -> Verdict:
    """Return the verdict on an error of any DB-API driver, by SQLSTATE, vendor code, class name and text."""
    text = str(error).strip()
    state = str(getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or "")
    module = type(error).__module__.split(".")[0]
    if module == "sqlite3":
        return "again" if _BUSY.search(text) or _SQLITE_DISK.search(text) else "terminal"
    if state and state not in ("HY000", "00000"):
        return of_sqlstate(state)
    code = error.args[0] if error.args else None
    if module in ("MySQLdb", "pymysql", "mysql") and isinstance(code, int) and code in _MYSQL:
        return _MYSQL[code]
    if isinstance(error, OSError) and error.errno:
        return of_os_error(error)
    if _CONFLICT.search(text):
        return "conflict"
    if _REFUSED.search(text):
        return "terminal"
    if _FULL.search(text) or _VENDOR_AWAY.search(text):
        return "away"
    kinds = {base.__name__ for base in type(error).__mro__}
    if _AWAY.search(text) and (connecting or kinds & _UNSURE):
        return "away"
    return "again" if connecting or kinds & _UNSURE or _BUSY.search(text) else "terminal"


_UNSURE = {"OperationalError", "InterfaceError", "ConnectionError", "TimeoutError"}
"""Classes of drivers for what is not the statement's own fault, as a rule."""

_GONE = frozenset(
    (
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ENOTCONN,
    )
)
_HOPELESS = frozenset((errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG))


def of_os_error(error: OSError) -> Verdict:
    """Return the verdict on an error of the operating system: the network, the disk, or a wrong path."""
    if isinstance(error, TimeoutError | ConnectionError) or error.errno in _GONE:
        return "away"
    return "terminal" if error.errno in _HOPELESS else "again"


def of_status(status: int) -> Verdict:
    """Return the verdict on an HTTP status: the client's own fault stays, what a server says of itself passes."""
    if status in (502, 503, 504):
        return "away"
    return "again" if status in (408, 425, 429, 500) else "terminal"


_S3_AGAIN = ("SlowDown", "Throttl", "RequestTimeout", "InternalError", "OperationAborted", "RequestLimit", "TooMany")
_S3_TERMINAL = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "InvalidRegionError")
_S3_MODULES = ("botocore", "aiobotocore", "aiohttp", "s3fs", "asyncio", "fsspec", "urllib3")


def of_object_store(error: BaseException) -> Verdict | None:
    """Return the verdict on an error of a call through s3fs; None when it is no error of the store or the network."""
    if isinstance(error, PermissionError | FileNotFoundError):
        return "terminal"
    status, code = _answer(error)
    if "precondition" in str(error).lower() or status == 412:
        return "again"
    if any(code.startswith(start) for start in _S3_AGAIN):
        return "again"
    if status:
        return "terminal" if 400 <= status < 500 and of_status(status) == "terminal" else of_status(status)
    if isinstance(error, OSError):
        verdict = of_os_error(error)
        return verdict if error.errno is not None and verdict != "terminal" else _by_name(error)
    return _by_name(error) if type(error).__module__.startswith(_S3_MODULES) else None


def _by_name(error: BaseException) -> Verdict:
    if type(error).__name__ in _S3_TERMINAL:
        return "terminal"
    away = ("Connect", "Timeout", "Disconnected", "Closed", "HTTPClientError", "ServerError", "ClientOSError")
    kinds = [base.__name__ for base in type(error).__mro__ if base not in (OSError, Exception, BaseException)]
    return "away" if any(mark in kind for kind in kinds for mark in away) else "again"


def _answer(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and code of a store's answer, which s3fs keeps as the cause of its own error."""
    for one in (error, error.__cause__):
        answer: Any = getattr(one, "response", None)
        if isinstance(answer, dict):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status or 0), str(answer.get("Error", {}).get("Code", ""))
    return 0, ""
