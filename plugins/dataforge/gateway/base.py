"""What a caller of language models says and gets, as values, and what the parts of the gateway promise each other.

    gateway = open_gateway(lookup)                                   # dataforge.gateway.opening
    completion = gateway.complete(Request("author", (Message("user", "…"),), schema={…}, asked="…"), on_text=print)
    completion.value                                                 # the parsed JSON; None when there is none

Everything that goes wrong is a `GatewayError` (dataforge.errors) whose text is fit for a user.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from dataforge.gateway.lines import Line

Task = Literal["author", "refine", "repair", "explain", "transform", "embed"]
Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "refused"]
JsonSchema = Mapping[str, Any]
OnText = Callable[[str], None]
"""Takes each piece of the answer as it comes."""

TASKS: tuple[Task, ...] = ("author", "refine", "repair", "explain")
"""The tasks that a chain of models serves; embedding has one model of its own."""

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True)
class Request:
    """One call of a model.

    `schema` is the JSON Schema of the answer, as pydantic writes it (None: plain text); the gateway flattens it for the
    provider. `shared_schema` goes in its place to providers that compile each schema they have not seen (openai,
    anthropic), where a schema narrowed for one request costs seconds. `model` is `model`, or `connection/model`; None
    takes the task's chain from the settings. `max_tokens` bounds the answer, `deadline_seconds` the whole call with all
    tries and fallbacks (None: as the settings say).

    `actor` and `team` own the call: budgets count for them, and no answer is shared between teams. `request_id` is the
    same for all calls that serve one wish of a person (a first answer and its repairs), which share one budget.
    `asked` are the person's own words as they stand in the messages: the cache treats them as the same when they differ
    in white space only. `use_cache` False asks anew. `private` are values that must not leave, such as secrets of
    connections that the caller knows: they are withheld wherever they stand.

    `facts` are all that the answer depends on but the wording, as the caller read it from `asked` for certain, in any
    stable form; "" where that is not known. Where the settings allow it, an earlier answer to other words is given
    again when the facts are the same to the letter and the words are alike.
    """

    task: Task
    messages: tuple[Message, ...]
    schema: JsonSchema | None = None
    shared_schema: JsonSchema | None = None
    model: str | None = None
    max_tokens: int = 1_024
    temperature: float = 0.0
    seed: int = 1
    stop: tuple[str, ...] = ()
    deadline_seconds: float | None = None
    actor: str = ""
    team: str = ""
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked: str = ""
    use_cache: bool = True
    private: tuple[str, ...] = field(default=(), repr=False)
    facts: str = field(default="", repr=False)


@dataclass(frozen=True)
class Usage:
    """What calls took. `cost` is in the currency of the configured prices (US dollars as a rule), 0 for local models.

    `first_token_seconds` is None when no text came; `estimated` says that the provider did not count the tokens itself.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    calls: int = 0
    cached_prompt_tokens: int = 0
    load_seconds: float = 0.0
    first_token_seconds: float | None = None
    estimated: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Return both together; the first token is the first one's."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
            self.cost + other.cost,
            self.calls + other.calls,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
            self.load_seconds + other.load_seconds,
            self.first_token_seconds if self.first_token_seconds is not None else other.first_token_seconds,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True)
class Withheld:
    """One value that did not leave: its kind ("email", "password" …), what stood in its place, and how often.

    Values of `restored` kinds (personal data) are put back into the answer; secrets never are.
    """

    kind: str
    placeholder: str
    count: int
    restored: bool


@dataclass(frozen=True)
class Completion:
    """An answer. `text` is all of it; `value` the JSON in it when a schema was asked for and JSON came, else None.

    `problem` says in a sentence what is wrong with an answer that was to follow a schema: cut off, no JSON, or not as
    the schema says (then `value` is there all the same); "" when all is well. `notes` are for the person: a prompt
    that the server cut, a fallback that was taken. `sent` is what left, to the letter; nothing did for a cached answer.
    """

    text: str
    value: Any | None
    model: str
    provider: str
    connection: str
    usage: Usage
    finish: Finish
    prompt_hash: str
    cached: bool = False
    withheld: tuple[Withheld, ...] = ()
    problem: str = ""
    attempts: int = 1
    notes: tuple[str, ...] = ()
    sent: tuple[Message, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Model:
    """A model that a server offers. `context_tokens` None: not told. Prices are for a million tokens, None: unknown."""

    connection: str
    provider: str
    name: str
    digest: str = ""
    size_bytes: int | None = None
    context_tokens: int | None = None
    parameters: str = ""
    loaded: bool | None = None
    tasks: tuple[Task, ...] = ()
    price_in: float | None = None
    price_out: float | None = None


@dataclass(frozen=True)
class Discovery:
    """What one connection offers: its models, or in a sentence why none could be asked for."""

    connection: str
    provider: str
    models: tuple[Model, ...] = ()
    error: str = ""
    resting_until: str | None = None


class Cancel:
    """A caller's way to end a call early; may be used from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._hooks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """End the call: its connection is closed, which frees the model's slot on the server."""
        with self._lock:
            self._event.set()
            hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()

    @property
    def wanted(self) -> bool:
        """Whether the call is to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; True as soon as the call is to end."""
        return self._event.wait(seconds)

    def when(self, hook: Callable[[], None]) -> None:
        """Call `hook` once when the call is to end, at once if it already is."""
        with self._lock:
            if not self._event.is_set():
                self._hooks.append(hook)
                return
        hook()

    def forget(self, hook: Callable[[], None]) -> None:
        """Take back what `when` was told."""
        with self._lock:
            if hook in self._hooks:
                self._hooks.remove(hook)


class Gateway(Protocol):
    """The one way to a model."""

    def complete(self, request: Request, on_text: OnText | None = None, cancel: Cancel | None = None) -> Completion:
        """Return the model's answer; each piece of it goes to `on_text` as it comes.

        Raises ModelAway (no server of the chain answers; at once while breakers are open), ModelSlow (a deadline),
        ModelRefused (a wrong key, an unknown model, a request that the provider does not take), AnswerUnfit (what came
        is no answer), PromptTooLong, BudgetSpent, Cancelled: all of them GatewayError.
        """
        ...

    def models(self) -> list[Discovery]:
        """Return what each configured connection offers; never raises."""
        ...

    def embed(
        self,
        texts: Sequence[str],
        *,
        actor: str = "",
        team: str = "",
        request_id: str = "",
        private: Sequence[str] = (),
    ) -> tuple[Vector, ...] | None:
        """Return each text as a vector of length 1; None when no embedding model is set up.

        Raises what `complete` raises.
        """
        ...

    def usage(self, actor: str | None = None, team: str | None = None, since: datetime | None = None) -> list[Spent]:
        """Return what was used, by month, person, model and task; without `since` all that is kept."""
        ...


@dataclass(frozen=True)
class Event:
    """One try of one call, told when it ended. `outcome` is "ok", "cached", or the class name of the error."""

    request_id: str
    task: Task
    actor: str
    team: str
    connection: str
    provider: str
    model: str
    attempt: int
    outcome: str
    usage: Usage
    at: datetime
    prompt_hash: str
    cached: bool = False
    withheld: int = 0
    error: str = ""


Observer = Callable[[Event], None]


@dataclass(frozen=True)
class Spent:
    """What was used under one heading; texts that do not apply are ""."""

    month: str
    actor: str
    team: str
    model: str
    task: str
    usage: Usage


class UsageLedger(Protocol):
    """Where use is counted. Instants are timezone-aware; counts must be seen by all processes of the deployment."""

    def add(self, event: Event) -> None:
        """Count what one try used."""
        ...

    def spent(
        self,
        *,
        since: datetime | None = None,
        actor: str | None = None,
        team: str | None = None,
        request_id: str | None = None,
    ) -> Usage:
        """Return the sum over what matches all that is given."""
        ...

    def summary(
        self, *, since: datetime | None = None, actor: str | None = None, team: str | None = None
    ) -> list[Spent]:
        """Return the sums by month, person, team, model and task, latest month first."""
        ...


# ---- between the gateway and its adapters ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """What an adapter sends: redacted messages, a schema already flattened, and limits that are decided."""

    model: str
    messages: tuple[Message, ...]
    schema: JsonSchema | None
    max_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]
    prompt_estimate: int


@dataclass(frozen=True)
class Piece:
    """Some more text of an answer; with no text, a sign of life (a model thinks, a server pings)."""

    text: str = ""


@dataclass(frozen=True)
class End:
    """How an answer ended, with what the provider counted (None: it did not say)."""

    finish: Finish
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_prompt_tokens: int = 0
    load_seconds: float = 0.0
    context_tokens: int | None = None
    model: str = ""


class Streaming(Protocol):
    """An answer on its way. `close` may be called from another thread and ends the call at the server."""

    def __iter__(self) -> Iterator[Piece | End]: ...
    def close(self) -> None: ...


class Adapter(Protocol):
    """One provider behind one connection. Its errors are GatewayError; it never tries anything again itself."""

    provider: str

    @property
    def compiles_schemas(self) -> bool:
        """Whether a schema that the provider has not seen costs seconds."""
        ...

    def stream(self, call: Call, seconds: float) -> Streaming:
        """Begin a call; `seconds` bounds the wait for the connection and between two pieces."""
        ...

    def models(self, seconds: float) -> Sequence[Model]:
        """Return the models that the server offers."""
        ...


@dataclass(frozen=True)
class Embedded:
    """Texts as a provider's vectors, in their order. `prompt_tokens` None: not counted."""

    vectors: tuple[Vector, ...]
    prompt_tokens: int | None = None


@runtime_checkable
class Embedding(Protocol):
    """An adapter whose provider has embedding models."""

    def embed(self, model: str, texts: Sequence[str], seconds: float, line: Line) -> Embedded:
        """Return the texts as vectors; `line` is the wire of the call, which may be cut from another thread."""
        ...
