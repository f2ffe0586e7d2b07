"""A model that says what a test tells it to, and a guard that keeps a test off the network.

    model = Scripted('{"a": 1}', ModelAway("it is away", "scripted"), lambda call: call.messages[-1].text)
    gateway = gateway_over(model)

Answers go out in order; the last one is given again for further calls. Its vectors are those of letters: texts are near
each other when they share groups of three.
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dataforge.components.circuit import Store
from dataforge.errors import GatewayError
from dataforge.gateway.base import Call, Embedded, End, Finish, Model, Observer, Piece, UsageLedger
from dataforge.gateway.cache import Cache
from dataforge.gateway.calls import Chains, ModelGateway
from dataforge.gateway.connections import Extra, Profile
from dataforge.gateway.embeddings import SqliteVectors
from dataforge.gateway.lines import Line
from dataforge.gateway.opening import state_file
from dataforge.gateway.store import SqliteLedger
from dataforge.settings import Settings, get_settings

Answer = str | GatewayError | Callable[[Call], str] | Sequence[str | float | End]
"""A text, an error to raise, a function of the call, or a script of pieces, pauses in seconds, and the end."""


class Scripted:
    """A provider without a model. `calls` are those that it got, as they would have gone out."""

    provider = "scripted"
    compiles_schemas = False

    def __init__(self, *answers: Answer, model: str = "scripted", piece: int = 7) -> None:
        self._answers: tuple[Answer, ...] = answers or ("",)
        self._model = model
        self._piece = piece
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.embedded: list[str] = []
        self.closed = 0

    def stream(self, call: Call, seconds: float) -> _Script:
        """Begin the next answer."""
        del seconds
        with self._lock:
            answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
            self.calls.append(call)
        return _Script(self, call, answer, self._piece)

    def embed(self, model: str, texts: Sequence[str], seconds: float, line: Line) -> Embedded:
        """Return the texts by how often they hold each group of three letters."""
        del model, seconds, line
        self.embedded += texts
        return Embedded(tuple(_letters(text) for text in texts), sum(len(text) // 4 for text in texts))

    def models(self, seconds: float) -> Sequence[Model]:
        """Return the one model."""
        del seconds
        return [Model("scripted", self.provider, self._model, digest="scripted", price_in=0.0, price_out=0.0)]


class _Script:
    def __init__(self, owner: Scripted, call: Call, answer: Answer, piece: int) -> None:
        self._owner = owner
        self._call = call
        self._answer = answer
        self._piece = piece
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Piece | End]:
        answer = self._answer
        if isinstance(answer, GatewayError):
            raise answer
        if callable(answer):
            answer = answer(self._call)
        script = [*_pieces(answer, self._piece)] if isinstance(answer, str) else [*answer]
        text = ""
        for part in script:
            if isinstance(part, int | float):
                if self._closed.wait(part):
                    return
            elif isinstance(part, str):
                text += part
                yield Piece(part)
            else:
                yield part
                return
        finish: Finish = "stop"
        yield End(finish, prompt_tokens=self._call.prompt_estimate, completion_tokens=-(-len(text) // 4))

    def close(self) -> None:
        """End the answer."""
        if not self._closed.is_set():
            self._owner.closed += 1
            self._closed.set()


def _letters(text: str) -> tuple[float, ...]:
    found = [0.0] * 256
    plain = f"  {' '.join(text.casefold().split())}  "
    for place in range(len(plain) - 2):
        found[zlib.crc32(plain[place : place + 3].encode()) % len(found)] += 1
    return tuple(found)


def _pieces(text: str, size: int) -> Iterator[str]:
    yield from (text[start : start + size] for start in range(0, len(text), size))


def gateway_over(
    *models: Scripted,
    settings: Settings | None = None,
    ledger: UsageLedger | None = None,
    cache: Cache | None = None,
    breakers: Store | None = None,
    observer: Observer | None = None,
    private: Callable[[], Sequence[str]] = tuple,
) -> ModelGateway:
    """Return the real gateway over scripted models: a chain of connections `scripted`, `scripted2` …"""
    names = [f"scripted{place or ''}" for place in (0, *range(2, len(models) + 1))]
    adapters = dict(zip(names, models, strict=True))
    settings = (settings or get_settings()).model_copy(update={"llm_chain": tuple(names)})

    def profile(connection: str) -> Profile:
        return Profile(connection=connection, provider="scripted", url="here", extra=Extra(model="scripted"))

    return ModelGateway(
        Chains(settings, profile, names[0]),
        lambda found: adapters[found.connection],
        settings,
        ledger or SqliteLedger(state_file()),
        cache=cache,
        vectors=SqliteVectors(state_file()),
        breakers=breakers,
        observer=observer,
        private=private,
    )


class NetworkUsed(AssertionError):
    """A test reached for the network."""


@contextmanager
def no_network(*, loopback: bool = True) -> Iterator[list[str]]:
    """Let no connection of this process leave the machine (nor, without `loopback`, the process).

    Gives the list of refused addresses, which the test may look at.
    """
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    refused: list[str] = []
    started = time.monotonic()

    def check(one: socket.socket, address: Any) -> None:
        if one.family == getattr(socket, "AF_UNIX", None):
            return
        host = str(address[0]) if isinstance(address, tuple) else str(address)
        if loopback and (host in ("localhost", "::1", "") or host.startswith("127.")):
            return
        refused.append(f"{host}:{address[1] if isinstance(address, tuple) else ''}")
        raise NetworkUsed(f"a test tried to reach {host} after {time.monotonic() - started:.1f} s")

    def guarded(one: socket.socket, address: Any) -> None:
        check(one, address)
        connect(one, address)

    def guarded_ex(one: socket.socket, address: Any) -> int:
        check(one, address)
        return connect_ex(one, address)

    socket.socket.connect, socket.socket.connect_ex = guarded, guarded_ex  # type: ignore[method-assign,assignment]
    try:
        yield refused
    finally:
        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
