"""One run of a Singer tap: a process of its own group whose life ends with ours, and whose words are masked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from pathlib import Path
from typing import IO, Any

from dataforge.errors import TerminalError, TransientError

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one message; the engine takes no larger record."""
MAX_LOG_LINES = 1_000
TAIL_LINES = 10
_KEPT = re.compile(
    r"PATH|PYTHONPATH|LANG|LC_\w+|TZ|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|(https?|no|all)_proxy", re.IGNORECASE
)
_PLAIN_KEYS = re.compile(r"(start|end)_date|version|stream\w*|lookback\w*|user_agent")
_DECODER = JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")

# When the process that holds the other end of standard input is gone, so is the whole group of this one.
_RUNNER = """
import os, signal, sys, threading
def follow():
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=follow, daemon=True).start()
from importlib.metadata import distribution
name, script = sys.argv[1:3]
sys.argv[:3] = [script]
points = distribution(name).entry_points.select(group="console_scripts", name=script)
sys.exit(list(points)[0].load()())
"""


def installed(name: str) -> EntryPoint | None:
    """Return the console script of that name of an installed distribution."""
    return next(iter(entry_points(group="console_scripts", name=name)), None)


def taps() -> list[str]:
    """Return the names of the taps that are installed."""
    return sorted({point.name for point in entry_points(group="console_scripts") if point.name.startswith("tap-")})


class Tap:
    """A tap with its settings in a private file; `secrets` are what must not show in its log."""

    def __init__(
        self,
        point: EntryPoint,
        settings: dict[str, Any],
        folder: Path,
        log: Callable[..., None],
        *,
        seconds: float,
        stall: float,
    ) -> None:
        self._point, self._folder, self._log = point, folder, log
        self._seconds, self._stall = seconds, stall
        self._secrets = sorted(texts(settings), key=len, reverse=True)
        self._config = private_file(folder / "tap-config.json", settings)

    def run(self, arguments: Sequence[str]) -> Generator[bytes, None, None]:
        """Yield the lines that the tap writes; TransientError when it fails, is silent or takes too long.

        The process and what it started end with the iteration; close it where it does not come to its end.
        """
        distribution = self._point.dist
        assert distribution is not None
        command = [sys.executable, "-c", _RUNNER, distribution.name, self._point.name, "--config", str(self._config)]
        process = subprocess.Popen(  # noqa: S603 - an installed console script, and no shell
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env=self._environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        watch = _Watch(process, self._seconds, self._stall)
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        reader = threading.Thread(target=self._listen, args=(process.stderr, tail, watch), daemon=True)
        reader.start()
        try:
            while line := process.stdout.readline(MAX_LINE + 1):
                watch.heard()
                if len(line) > MAX_LINE:
                    raise TerminalError(f"{self._point.name} wrote a message of more than {MAX_LINE} bytes")
                yield line
            code = process.wait()
            reader.join(timeout=5)
            if watch.reason:
                raise TransientError(f"{self._point.name} {watch.reason}; it was ended")
            if code:
                said = " | ".join(tail)
                raise TransientError(f"{self._point.name} failed with exit code {code}: {said or 'it said nothing'}")
        finally:
            watch.stop()
            end(process)
            reader.join(timeout=5)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
        return {**kept, "HOME": str(self._folder), "TMPDIR": str(self._folder), "PYTHONUNBUFFERED": "1"}

    def _listen(self, stream: IO[bytes], tail: deque[str], watch: _Watch) -> None:
        whole = True
        with suppress(OSError, ValueError):  # closed while it is read
            for number, raw in enumerate(iter(lambda: stream.readline(8192), b"")):
                watch.heard()
                begins, whole = whole, raw.endswith(b"\n")
                if not begins:  # the rest of a long line may begin with the rest of a secret
                    continue
                line = self._masked(raw.decode("utf-8", "replace").rstrip())[:500]
                if line:
                    tail.append(line)
                if number < MAX_LOG_LINES:
                    self._log("tap", tap=self._point.name, line=line)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _Watch:
    """Ends a process that says nothing for too long, or takes too long in all; `reason` says which."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float, stall: float) -> None:
        self.reason = ""
        self._process, self._seconds, self._stall = process, seconds, stall
        self._began = self._last = time.monotonic()
        self._done = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def heard(self) -> None:
        self._last = time.monotonic()

    def stop(self) -> None:
        self._done.set()

    def _look(self) -> None:
        while not self._done.wait(0.2):
            now = time.monotonic()
            if self._seconds and now - self._began > self._seconds:
                self.reason = f"took longer than {self._seconds:g} s"
            elif self._stall and now - self._last > self._stall:
                self.reason = f"said nothing for {self._stall:g} s"
            if self.reason:
                end(self._process)
                return


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)


def private_file(path: Path, value: Any) -> Path:
    """Write a value as JSON into a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file)
    return path


def message(line: bytes) -> tuple[str, dict[str, str]]:
    """Return a message's type and the JSON texts of its keys as they stand, so that no digit of a number changes.

    ValueError when the line is no message.
    """
    text = line.decode("utf-8").strip()
    keys: dict[str, str] = {}
    position = _skip(text, 0, "{")
    while text[position : position + 1] != "}":
        if keys:
            position = _skip(text, position, ",")
        if text[position : position + 1] != '"':
            raise ValueError("a key is needed")
        key, position = scanstring(text, position + 1)
        start = _skip(text, position, ":")
        _, stop = _DECODER.raw_decode(text, start)
        keys[key] = text[start:stop]
        position = _space(text, stop)
    if position + 1 != len(text):
        raise ValueError("text follows the message")
    return str(json.loads(keys.get("type", '""'))), keys


def _skip(text: str, position: int, mark: str) -> int:
    position = _space(text, position)
    if text[position : position + 1] != mark:
        raise ValueError(f"{mark!r} is needed at {position}")
    return _space(text, position + 1)


def _space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def texts(value: Any, key: str = "") -> set[str]:
    """Return the texts of the settings that may be secrets, as they stand and as JSON writes them."""
    if isinstance(value, dict):
        return {text for name, inner in value.items() for text in texts(inner, str(name))}
    if isinstance(value, list):
        return {text for inner in value for text in texts(inner, key)}
    if not isinstance(value, str) or len(value) < 4 or _PLAIN_KEYS.fullmatch(key):
        return set()
    return {value, json.dumps(value)[1:-1], repr(value)[1:-1]}
