"""The way of one call: withhold, look into the cache, hold the budget, ask the models of the chain, count, put back.

    complete
      └─ each entry of the chain, until one answers           availability errors only, and only before the first text
           └─ each try, with growing waits                    the same; Retry-After is heeded, the deadline is kept
                └─ breaker ─ slot ─ one stream, watched       first token, silence, total; cancel cuts the wire

Nothing is tried again once text has come: whoever reads along has seen it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

from dataforge.components.base import Connection
from dataforge.components.circuit import Breakers, Store
from dataforge.components.retry import Policy, repeat
from dataforge.errors import (
    AnswerUnfit,
    Cancelled,
    DataForgeError,
    GatewayError,
    ModelAway,
    ModelFull,
    ModelRefused,
    ModelSlow,
    PromptTooLong,
    TransientError,
    bounded,
)
from dataforge.gateway.base import (
    TASKS,
    Adapter,
    Call,
    Cancel,
    Completion,
    Discovery,
    Embedded,
    Embedding,
    End,
    Event,
    Finish,
    JsonSchema,
    Message,
    Model,
    Observer,
    OnText,
    Piece,
    Request,
    Spent,
    Task,
    Usage,
    UsageLedger,
    Vector,
)
from dataforge.gateway.budgets import Budgets
from dataforge.gateway.cache import Answer, Cache, Scope, facts_key_of, key_of, normalised
from dataforge.gateway.connections import Profile
from dataforge.gateway.embeddings import SqliteVectors, likeness, unit
from dataforge.gateway.lines import Line
from dataforge.gateway.prices import price_of
from dataforge.gateway.redaction import MARK, Redaction
from dataforge.gateway.reuse import similarity
from dataforge.gateway.schema import ANTHROPIC, LLAMA, OPENAI, Flat, excess, flatten, mismatch
from dataforge.gateway.telemetry import span
from dataforge.observability.log import line
from dataforge.settings import Settings

Result = TypeVar("Result")

DISCOVERY_SECONDS = 60.0
"""For how long it is believed what models a server has."""
FIRST_TOKEN = {"ollama": 60.0}
"""Seconds for the first token, where it is not 20: Ollama may load the model, and read the prompt on a CPU."""
ENDLESS = 12
"""Characters per token above which an answer is taken for endless."""
DISCOVERY_WAIT = 5.0
EMBED_SECONDS = 15.0
"""Longest time for all vectors of one call of `embed`."""
EMBED_TEXTS = 32
"""Texts of one request for vectors."""
EMBED_LENGTH = 4_000
"""Characters of a text that count for its vector."""
ALIKE, ALIKE_WORDS = 0.9, 0.5
"""How alike words must be for an answer to serve both: as vectors, and as words where there are no vectors."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What a terminal would obey, and what turns the direction of writing: no answer of a model says such things."""
UNKNOWN = "unknown"
"""The digest of a model whose server could not be asked for it: its answers are not kept."""


@dataclass(frozen=True)
class Entry:
    """One link of a chain: a connection, and the model there (None: its own, or the first that it offers)."""

    connection: str
    model: str | None = None


class Chains:
    """Which connections and models serve which task, by the settings; connections are looked up when first used."""

    def __init__(self, settings: Settings, profile: Callable[[str], Profile], default: str) -> None:
        self._settings = settings
        self._profile = profile
        self._default = default
        self._profiles: dict[str, Profile] = {}
        self._lock = threading.Lock()

    def entries(self, task: str, model: str | None = None) -> list[Entry]:
        """Return the chain of a task; with `model` (or `connection/model`) only that one."""
        found = getattr(self._settings, f"llm_{task}") or self._settings.llm_chain or (self._default,)
        entries = [_entry(text) for text in found]
        if model is None:
            return entries
        named = _entry(model)
        if named.model is not None and named.connection in {*self.connections()}:
            return [named]
        return [Entry(entries[0].connection, model)]

    def connections(self) -> list[str]:
        """Return all connections of all chains, in order."""
        one = self._settings
        texts = (*one.llm_chain, *one.llm_author, *one.llm_refine, *one.llm_repair, *one.llm_explain)
        texts += one.llm_transform
        return list(dict.fromkeys(_entry(text).connection for text in texts)) or [self._default]

    def profile(self, connection: str) -> Profile:
        """Return what the connection says."""
        with self._lock:
            if connection not in self._profiles:
                self._profiles[connection] = self._profile(connection)
            return self._profiles[connection]


def _entry(text: str) -> Entry:
    connection, _, model = text.partition("/")
    return Entry(connection, model or None)


class _Again(Exception):
    """An error after which the same server may be tried again."""

    def __init__(self, error: GatewayError) -> None:
        self.error = error
        self.retry_after = getattr(error, "retry_after", None)
        super().__init__(type(error).__name__)


@dataclass
class _Progress:
    """What is known of a call while it runs."""

    ends: float
    cancel: Cancel
    give: OnText
    text: str = ""
    attempts: int = 0
    first: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        return self.ends - time.monotonic()


@dataclass(frozen=True)
class _Prepared:
    """A call to one model, with what is needed around it."""

    entry: Entry
    profile: Profile
    adapter: Adapter
    model: Model
    call: Call
    flat: Flat | None
    prompt_hash: str


class ModelGateway:
    """The gateway over any adapters. Safe to use from several threads; `open_gateway` makes one by the settings.

    `private` gives, when it is called, secrets of the deployment that no request may hold.
    """

    def __init__(
        self,
        chains: Chains,
        adapter: Callable[[Profile], Adapter],
        settings: Settings,
        ledger: UsageLedger,
        *,
        cache: Cache | None = None,
        vectors: SqliteVectors | None = None,
        private: Callable[[], Sequence[str]] = tuple,
        breakers: Store | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._chains = chains
        self._make_adapter = adapter
        self._settings = settings
        self._ledger = ledger
        self._budgets = Budgets(ledger, settings)
        self._cache = cache
        self._vectors = vectors
        self._private = private
        self._breakers = breakers
        self._observer = observer
        self._adapters: dict[str, Adapter] = {}
        self._slots: dict[str, threading.BoundedSemaphore] = {}
        self._found: dict[str, tuple[float, tuple[Model, ...]]] = {}
        self._lock = threading.Lock()

    # ---- what a caller uses -----------------------------------------------------------------------------------------

    def complete(self, request: Request, on_text: OnText | None = None, cancel: Cancel | None = None) -> Completion:
        """Return the model's answer; see `dataforge.gateway.base.Gateway`."""
        seconds = request.deadline_seconds or self._settings.llm_total_seconds
        redaction = Redaction((*request.private, *self._private()), personal=self._settings.llm_withhold_personal)
        messages = redaction.messages(request.messages)
        told = on_text or (lambda _: None)
        restoring = redaction.restoring(lambda piece: told(_UNPRINTABLE.sub("", piece)))
        progress = _Progress(time.monotonic() + seconds, cancel or Cancel(), restoring)
        failures: list[GatewayError] = []
        for entry in self._chains.entries(request.task, request.model):
            try:
                completion = self._at(entry, request, messages, redaction, progress)
            except (ModelAway, ModelSlow) as error:
                if progress.text:
                    raise
                failures.append(error)
                if progress.left <= 0:
                    break
                progress.notes.append(bounded(str(error), 300))
                continue
            except ModelRefused as error:
                if failures:
                    raise ModelRefused(f"{error}; asked since {bounded(str(failures[0]), 400)}") from None
                raise
            restoring.end()
            return completion
        raise _all_away(failures)

    def models(self) -> list[Discovery]:
        """Return what each configured connection offers, or why it could not be asked."""
        found = []
        for connection in self._chains.connections():
            provider = ""
            try:
                profile = self._chains.profile(connection)
                provider = profile.provider
                models = self._models(profile, fresh=True)
            except DataForgeError as error:
                found.append(Discovery(connection, provider, error=str(error)))
                continue
            found.append(Discovery(connection, provider, tuple(self._with_tasks(model) for model in models)))
        return found

    def embed(
        self,
        texts: Sequence[str],
        *,
        actor: str = "",
        team: str = "",
        request_id: str = "",
        private: Sequence[str] = (),
    ) -> tuple[Vector, ...] | None:
        """Return each text as a vector; see `dataforge.gateway.base.Gateway`."""
        if not self._settings.llm_embed:
            return None
        entry = _entry(self._settings.llm_embed)
        profile = self._chains.profile(entry.connection)
        adapter = self._adapter(profile)
        if entry.model is None or not isinstance(adapter, Embedding):
            raise ModelRefused(
                f"{profile.place}: [dataforge] llm_embed is {self._settings.llm_embed!r}, but wants a connection of "
                "ollama or openai with an embedding model, such as ollama/nomic-embed-text"
            )
        redaction = Redaction((*private, *self._private(), profile.key), personal=self._settings.llm_withhold_personal)
        redaction.reserve(texts)
        sent = [redaction.text(text)[:EMBED_LENGTH] or " " for text in texts]
        progress = _Progress(time.monotonic() + EMBED_SECONDS, Cancel(), lambda _: None)
        model = self._model(profile, entry.model, progress)
        kept = self._vectors if model.digest != UNKNOWN else None
        space = "\0".join((profile.provider, profile.url, model.name, model.digest))
        known = kept.get(space, dict.fromkeys(sent)) if kept is not None else {}
        missing = [text for text in dict.fromkeys(sent) if text not in known]
        for start in range(0, len(missing), EMBED_TEXTS):
            part = tuple(missing[start : start + EMBED_TEXTS])
            call = Call(model.name, tuple(Message("user", text) for text in part), None, 0, 0.0, 0, (), 0)
            call = replace(call, prompt_estimate=estimated_tokens(call.messages))
            told = hashlib.sha256(json.dumps(part).encode()).hexdigest()
            prepared = _Prepared(entry, profile, adapter, model, call, None, told)
            request = Request("embed", (), actor=actor, team=team)
            request = replace(request, request_id=request_id or request.request_id)
            vectors = dict(zip(part, self._embedded(request, prepared, adapter, redaction, progress), strict=True))
            if kept is not None:
                kept.put(space, vectors)
            known |= vectors
        return tuple(known[text] for text in sent)

    def usage(self, actor: str | None = None, team: str | None = None, since: datetime | None = None) -> list[Spent]:
        """Return what was used, by month, person, team, model and task."""
        return self._ledger.summary(since=since, actor=actor, team=team)

    # ---- one entry of the chain -------------------------------------------------------------------------------------

    def _at(
        self, entry: Entry, request: Request, messages: tuple[Message, ...], redaction: Redaction, progress: _Progress
    ) -> Completion:
        prepared = self._prepared(entry, request, messages, redaction, progress)
        scope = self._scope(request, prepared)
        asked = normalised(redaction.text(request.asked))
        key = key_of(prepared.call, scope, redaction.text(request.asked)) if scope else None
        kept = self._kept(key, request.team)
        facts_key = None
        if kept is None and scope and request.facts and asked and self._settings.llm_reuse_similar:
            facts_key = facts_key_of(prepared.call, scope, request.facts)
            kept = self._alike(self._kept(facts_key, request.team), asked, request, prepared)
            if kept is not None:
                progress.notes.append("an earlier answer to other words with the same values was given again")
        if kept is not None:
            return self._from_cache(kept, request, prepared, redaction, progress)
        price_in, price_out = self._prices(prepared)
        call = prepared.call
        most = (call.prompt_estimate * price_in + call.max_tokens * price_out) / 1e6
        with ExitStack() as holding:
            with self._counting():
                holding.enter_context(self._budgets.held(request, call.prompt_estimate + call.max_tokens, most))
            told = holding.enter_context(span(request, call, prepared.profile.provider, prepared.profile.url))
            try:
                end, usage = self._tries(request, prepared, redaction, progress, (price_in, price_out))
            except BaseException as error:
                told.failed(error, progress.attempts)
                raise
            completion = self._completion(prepared, end, usage, redaction, progress)
            told.answered(completion)
        if completion.finish == "stop" and not completion.problem:
            answer = Answer(progress.text, end.finish, completion.model, *_counts(usage), asked)
            for one in filter(None, (key, facts_key)):
                self._keep(one, request.team, answer)
        return completion

    def _prepared(
        self, entry: Entry, request: Request, messages: tuple[Message, ...], redaction: Redaction, progress: _Progress
    ) -> _Prepared:
        profile = self._chains.profile(entry.connection)
        if profile.key:  # it must not stand in a prompt, wherever the caller has found it
            redaction.also((profile.key,))
            messages = redaction.messages(messages)
        adapter = self._adapter(profile)
        model = self._model(profile, entry.model or profile.extra.model, progress)
        schema, flat = request.schema, None
        if adapter.compiles_schemas and request.shared_schema is not None:
            schema = request.shared_schema
        sent: JsonSchema | None = None
        if schema is not None:
            flat = self._flat(schema, profile)
            sent = redaction.json(flat.schema)
            limits = {"openai": OPENAI, "anthropic": ANTHROPIC}.get(profile.provider, LLAMA)
            beyond = excess(sent or {}, limits) if profile.is_official or profile.provider == "ollama" else []
            if beyond or not profile.extra.schema_output:
                messages = _with_schema(messages, sent or {})
                if beyond:
                    progress.notes.append(f"the schema went as text, since {profile.provider} takes no {beyond[0]}")
                flat, sent = replace(flat, schema=sent or {}), None
            else:
                flat = replace(flat, schema=sent or {})
        estimate = estimated_tokens(messages)
        context = profile.extra.context_tokens
        if context is not None and estimate + request.max_tokens > 2 * context:
            raise PromptTooLong(
                f"{profile.place}: the request has about {estimate:,} tokens, model {model.name!r} takes {context:,}"
            )
        call = Call(
            model.name, messages, sent, request.max_tokens, request.temperature, request.seed, request.stop, estimate
        )
        told = json.dumps([[m.role, m.text] for m in messages] + [sent], sort_keys=True, ensure_ascii=False)
        return _Prepared(entry, profile, adapter, model, call, flat, hashlib.sha256(told.encode()).hexdigest())

    def _flat(self, schema: JsonSchema, profile: Profile) -> Flat:
        strict = profile.extra.strict if profile.extra.strict is not None else profile.provider in _STRICT
        try:
            return flatten(schema, strict=strict)
        except ValueError as error:
            raise ModelRefused(f"the schema of the answer can't be sent: {error}") from None

    def _completion(
        self,
        prepared: _Prepared,
        end: End,
        usage: Usage,
        redaction: Redaction,
        progress: _Progress,
        cached: bool = False,
    ) -> Completion:
        value, problem = _value(progress.text, prepared.flat, end.finish, prepared.call.max_tokens)
        return Completion(
            text=_UNPRINTABLE.sub("", redaction.restored(progress.text)),
            value=redaction.restored_json(value),
            model=end.model or prepared.model.name,
            provider=prepared.profile.provider,
            connection=prepared.profile.connection,
            usage=usage,
            finish=end.finish,
            prompt_hash=prepared.prompt_hash,
            cached=cached,
            withheld=redaction.record,
            problem=problem,
            attempts=progress.attempts,
            notes=tuple(progress.notes),
            sent=() if cached else prepared.call.messages,
        )

    # ---- tries ------------------------------------------------------------------------------------------------------

    def _tries(
        self,
        request: Request,
        prepared: _Prepared,
        redaction: Redaction,
        progress: _Progress,
        prices: tuple[float, float],
    ) -> tuple[End, Usage]:
        policy = Policy(self._settings.llm_attempts, first=0.4, cap=10.0, seconds=max(0.0, progress.left))

        def attempt() -> tuple[End, Usage]:
            progress.attempts += 1
            number, began, end = progress.attempts, time.monotonic(), None
            error: GatewayError | None = None
            interrupt: KeyboardInterrupt | None = None
            progress.first = None
            try:
                with self._slot(prepared.profile, progress), self._breaker(prepared.profile, prepared.model.name):
                    end = self._streamed(prepared, progress)
                    _check_not_cut(prepared, end)
            except GatewayError as found:
                error = found
            except KeyboardInterrupt as found:  # what the answer took before Ctrl-C counts, or budgets could be evaded
                interrupt, error = found, Cancelled("the call was interrupted")
            usage = _usage(prepared.call, end, progress, time.monotonic() - began, prices, error)
            self._tell(request, prepared, number, usage, error, redaction)
            if interrupt is not None:
                raise interrupt
            if error is not None:
                if isinstance(error, ModelAway) and not isinstance(error, _Resting) and not progress.text:
                    raise _Again(error)
                raise error
            return cast("End", end), usage

        try:
            return repeat(
                attempt,
                policy,
                when=_Again,
                what=str(prepared.profile.connection),
                log=_log,
                sleep=progress_sleep(progress),
            )
        except _Again as error:
            raise error.error from None

    def _streamed(self, prepared: _Prepared, progress: _Progress) -> End:
        """Read one answer to its end, within all limits of time and size."""
        profile, call = prepared.profile, prepared.call
        stream = prepared.adapter.stream(call, max(0.1, progress.left))
        box: queue.SimpleQueue[Piece | End | BaseException | None] = queue.SimpleQueue()
        stopped = threading.Event()
        longest = call.max_tokens * ENDLESS + 2_000

        def read() -> None:
            length = 0
            try:
                for item in stream:
                    if stopped.is_set():
                        return
                    box.put(item)
                    if isinstance(item, Piece) and (length := length + len(item.text)) > longest:
                        return
                box.put(AnswerUnfit(f"{profile.place}: the answer broke off before its end"))
            except BaseException as error:  # noqa: BLE001 it is raised again by the thread that waits
                box.put(error)

        def end_it() -> None:
            stopped.set()
            stream.close()
            box.put(None)

        threading.Thread(target=read, name="dataforge-model", daemon=True).start()
        progress.cancel.when(end_it)
        first = self._first_token(profile)
        try:
            waited_for = first
            while True:
                item = self._next(box, waited_for, progress, profile)
                waited_for = self._settings.llm_idle_seconds
                if isinstance(item, End):
                    return item
                if item.text:
                    progress.first = progress.first if progress.first is not None else time.monotonic()
                    progress.text += item.text
                    progress.give(item.text)
                if len(progress.text) > longest:
                    raise AnswerUnfit(f"{profile.place}: the answer goes on far beyond {call.max_tokens:,} tokens")
        finally:
            progress.cancel.forget(end_it)
            stopped.set()
            stream.close()

    def _next(
        self,
        box: queue.SimpleQueue[Piece | End | BaseException | None],
        limit: float,
        progress: _Progress,
        profile: Profile,
    ) -> Piece | End:
        try:
            item = box.get(timeout=max(0.0, min(limit, progress.left)))
        except queue.Empty:
            if progress.cancel.wanted:
                item = None
            elif progress.left <= 0:
                raise ModelSlow(f"{profile.place}: the answer is not complete within the time that it has") from None
            else:
                what = "nothing more came" if progress.text else "no answer began"
                raise ModelSlow(f"{profile.place}: {what} for {limit:g} seconds") from None
        if progress.cancel.wanted:
            raise Cancelled("the call was cancelled")
        if isinstance(item, GatewayError):
            raise item
        if item is None or isinstance(item, BaseException):
            raise AnswerUnfit(f"{profile.place}: the answer can't be read ({type(item).__name__})")
        return item

    def _first_token(self, profile: Profile) -> float:
        own = profile.extra.first_token_seconds
        if own is not None:
            return own
        return self._settings.llm_first_token_seconds or FIRST_TOKEN.get(profile.provider, 20.0)

    @contextmanager
    def _slot(self, profile: Profile, progress: _Progress) -> Iterator[None]:
        with self._lock:
            count = profile.extra.concurrency or self._settings.llm_concurrency
            slots = self._slots.setdefault(profile.connection, threading.BoundedSemaphore(count))
        while not slots.acquire(timeout=max(0.0, min(0.05, progress.left))):
            if progress.cancel.wanted:
                raise Cancelled("the call was cancelled")
            if progress.left <= 0:
                raise ModelFull(f"{profile.place}: too many calls at a time, and none ended", profile.connection)
        try:
            if progress.cancel.wanted:
                raise Cancelled("the call was cancelled")
            yield
        finally:
            slots.release()

    @contextmanager
    def _breaker(self, profile: Profile, model: str) -> Iterator[None]:
        """Refuse at once while the model rests; count what says that its server is away."""
        admitted = self._admitted(profile, model)
        if admitted is None:
            yield
            return
        breakers, place = admitted
        try:
            yield
        except ModelFull:
            breakers.give_back()
            raise
        except (ModelAway, ModelSlow) as error:
            breakers.away(ModelAway(str(error), place.id))
            raise
        except BaseException:
            breakers.give_back()
            raise
        breakers.well()

    def _admit(self, profile: Profile, model: str) -> None:
        """Refuse at once while the model rests, without counting what comes then."""
        if (admitted := self._admitted(profile, model)) is not None:
            admitted[0].give_back()

    def _admitted(self, profile: Profile, model: str) -> tuple[Breakers, Connection] | None:
        if self._breakers is None or not self._settings.breaker_seconds:
            return None
        breakers = Breakers(self._breakers, self._settings.breaker_failures, self._settings.breaker_seconds)
        place = Connection(f"llm/{profile.connection}/{model}", profile.provider, profile.url, password=profile.key)
        try:
            breakers.admit(place)
        except TransientError as error:
            raise _Resting(str(error).replace("connection 'llm/", "model '", 1), profile.connection) from None
        except OSError as error:
            line("breaker states can't be used", level=logging.WARNING, reason=type(error).__name__)
            return None
        return breakers, place

    def _embedded(
        self, request: Request, prepared: _Prepared, adapter: Embedding, redaction: Redaction, progress: _Progress
    ) -> tuple[Vector, ...]:
        """Ask for the vectors of a call's texts, once: what they are for can be done without them."""
        profile, call = prepared.profile, prepared.call
        prices = self._prices(prepared)
        texts = [message.text for message in call.messages]
        began, found, failed = time.monotonic(), Embedded(()), None
        with ExitStack() as holding:
            with self._counting():
                cost = call.prompt_estimate * prices[0] / 1e6
                holding.enter_context(self._budgets.held(request, call.prompt_estimate, cost))
            told = holding.enter_context(span(request, call, profile.provider, profile.url))
            try:
                with self._slot(profile, progress), self._breaker(profile, call.model):
                    found = _within(
                        lambda line: adapter.embed(call.model, texts, max(0.1, progress.left), line), progress, profile
                    )
                    vectors = [unit(one) for one in found.vectors]
                    if len(vectors) != len(texts) or None in vectors or len({len(one or ()) for one in vectors}) != 1:
                        raise AnswerUnfit(f"{profile.place}: what the server sent are no vectors of the texts")
            except GatewayError as error:
                failed = error
                told.failed(error, 1)
            end = End("stop", found.prompt_tokens, 0) if found.vectors else None
            usage = _usage(call, end, progress, time.monotonic() - began, prices, failed)
            self._tell(request, prepared, 1, usage, failed, redaction)
        if failed is not None:
            raise failed
        return tuple(cast("list[Vector]", vectors))

    # ---- models -----------------------------------------------------------------------------------------------------

    def _adapter(self, profile: Profile) -> Adapter:
        with self._lock:
            if profile.connection not in self._adapters:
                self._adapters[profile.connection] = self._make_adapter(profile)
            return self._adapters[profile.connection]

    def _model(self, profile: Profile, name: str | None, progress: _Progress) -> Model:
        """Return the model to use: the named one, with its digest where the server tells, or the first one offered."""
        if name is None:
            with self._breaker(profile, "*"):
                found = self._models(profile, seconds=max(0.1, min(DISCOVERY_WAIT, progress.left)))
            if not found:
                raise ModelRefused(
                    f"{profile.place}: the server has no model; add one, with ollama: `ollama pull NAME`"
                )
            return found[0]
        plain = Model(profile.connection, profile.provider, name)
        if profile.provider != "ollama" or self._cache is None:
            return plain
        self._admit(profile, name)
        try:
            found = self._models(profile, seconds=max(0.1, min(DISCOVERY_WAIT, progress.left)))
        except GatewayError:
            return replace(plain, digest=UNKNOWN)  # the call itself will tell what is wrong, and is tried again
        wanted = name if ":" in name else f"{name}:latest"
        return next((model for model in found if model.name in (name, wanted)), plain)

    def _models(self, profile: Profile, seconds: float = DISCOVERY_WAIT, *, fresh: bool = False) -> tuple[Model, ...]:
        with self._lock:
            at, models = self._found.get(profile.connection, (float("-inf"), ()))
        if fresh or time.monotonic() - at > DISCOVERY_SECONDS:
            models = tuple(self._adapter(profile).models(seconds))
            with self._lock:
                self._found[profile.connection] = (time.monotonic(), models)
        return models

    def _with_tasks(self, model: Model) -> Model:
        tasks: list[Task] = []
        for task in TASKS:
            first = self._chains.entries(task)[0]
            if first.connection == model.connection and first.model in (None, model.name):
                tasks.append(task)
        price_in, price_out = price_of(model, self._chains.profile(model.connection).extra)
        return replace(model, tasks=tuple(tasks), price_in=price_in, price_out=price_out)

    def _prices(self, prepared: _Prepared) -> tuple[float, float]:
        price_in, price_out = price_of(prepared.model, prepared.profile.extra)
        if self._budgets.of_money and (price_in is None or price_out is None):
            raise ModelRefused(
                f"{prepared.profile.place}: a budget of money is set, but the price of model "
                f"{prepared.model.name!r} is not known; write price_in and price_out, for a million tokens, into the "
                "connection's extra"
            )
        return price_in or 0.0, price_out or 0.0

    # ---- cache, events ----------------------------------------------------------------------------------------------

    def _scope(self, request: Request, prepared: _Prepared) -> Scope | None:
        """Return within what answers may be given again; None where they may not."""
        if self._cache is None or not request.use_cache or prepared.model.digest == UNKNOWN:
            return None
        profile = prepared.profile
        return Scope(
            request.task, request.team, request.actor, profile.provider, profile.connection, prepared.model.digest
        )

    def _alike(self, kept: Answer | None, asked: str, request: Request, prepared: _Prepared) -> Answer | None:
        """Return an answer to other words with the same facts, if the words are alike and it answers this call too."""
        if kept is None or not kept.asked:
            return None
        try:
            vectors = self.embed(
                (asked, kept.asked), actor=request.actor, team=request.team, request_id=request.request_id,
                private=request.private,
            )  # fmt: skip
        except GatewayError as error:
            line("words can't be compared", level=logging.WARNING, reason=type(error).__name__)
            return None
        near = likeness(*vectors) >= ALIKE if vectors else similarity(asked, kept.asked) >= ALIKE_WORDS
        # what a placeholder stands for is known to the call that it was made for
        _, problem = _value(kept.text, prepared.flat, cast("Finish", kept.finish), prepared.call.max_tokens)
        return kept if near and not problem and MARK not in kept.text else None

    def _kept(self, key: str | None, team: str) -> Answer | None:
        if self._cache is None or key is None:
            return None
        try:
            return self._cache.get(key, team)
        except Exception as error:  # noqa: BLE001 any cache may fail in its own ways; the model is asked instead
            line("answer cache can't be read", level=logging.WARNING, reason=type(error).__name__)
            return None

    def _keep(self, key: str, team: str, answer: Answer) -> None:
        try:
            cast("Cache", self._cache).put(key, team, answer)
        except Exception as error:  # noqa: BLE001 the answer is there, with or without the cache
            line("answer cache can't be written", level=logging.WARNING, reason=type(error).__name__)

    def _from_cache(
        self, kept: Answer, request: Request, prepared: _Prepared, redaction: Redaction, progress: _Progress
    ) -> Completion:
        progress.text = kept.text
        progress.give(kept.text)
        end = End(cast("Finish", kept.finish), model=kept.model)
        completion = self._completion(prepared, end, Usage(), redaction, progress, cached=True)
        self._tell(request, prepared, 0, Usage(), None, redaction, cached=True)
        return completion

    def _tell(
        self,
        request: Request,
        prepared: _Prepared,
        attempt: int,
        usage: Usage,
        error: GatewayError | None,
        redaction: Redaction,
        cached: bool = False,
    ) -> None:
        event = Event(
            request_id=request.request_id,
            task=request.task,
            actor=request.actor,
            team=request.team,
            connection=prepared.profile.connection,
            provider=prepared.profile.provider,
            model=prepared.model.name,
            attempt=attempt,
            outcome="cached" if cached else "ok" if error is None else type(error).__name__.lstrip("_"),
            usage=usage,
            at=datetime.now(timezone.utc),
            prompt_hash=prepared.prompt_hash,
            cached=cached,
            withheld=len(redaction.record),
            error="" if error is None else str(error),
        )
        with self._counting():
            self._ledger.add(event)
        _log_event(event)
        if self._observer is not None:
            self._observer(event)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """A ledger that does not work must not be taken for an empty one."""
        try:
            yield
        except DataForgeError:
            raise
        except Exception as error:
            line("use of models can't be counted", level=logging.ERROR, reason=f"{type(error).__name__}: {error}"[:300])
            raise ModelRefused("the use of models can't be counted now, so none is asked; see the log") from error


class _Resting(ModelAway):
    """The breaker is open: nothing was asked."""


def _within(ask: Callable[[Line], Result], progress: _Progress, profile: Profile) -> Result:
    """Return what a call that does not stream gives; its wire is cut when the time is over."""
    wire = Line()
    box: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put(ask(wire))
        except BaseException as error:  # noqa: BLE001 it is raised again by the thread that waits
            box.put(error)

    threading.Thread(target=run, name="dataforge-model", daemon=True).start()
    try:
        found = box.get(timeout=max(0.0, progress.left))
    except queue.Empty:
        raise ModelSlow(f"{profile.place}: the answer is not complete within the time that it has") from None
    finally:
        wire.cut()
    if isinstance(found, BaseException):
        raise found
    return found


_STRICT = ("openai", "anthropic", "pydantic_ai")


def progress_sleep(progress: _Progress) -> Callable[[float], None]:
    """Return a sleep that ends, by an error, when the caller cancels."""

    def sleep(seconds: float) -> None:
        if progress.cancel.wait(seconds):
            raise Cancelled("the call was cancelled")

    return sleep


def _log(message: str, /, **fields: object) -> None:
    line(message, level=logging.DEBUG, **fields)


def _log_event(event: Event) -> None:
    used = event.usage
    line(
        "model called",
        task=event.task,
        model=f"{event.connection}/{event.model}",
        outcome=event.outcome,
        attempt=event.attempt,
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        seconds=used.seconds,
        cost=used.cost,
        request=event.request_id,
    )


def _counts(usage: Usage) -> tuple[int, int]:
    return usage.prompt_tokens, usage.completion_tokens


def _usage(
    call: Call,
    end: End | None,
    progress: _Progress,
    seconds: float,
    prices: tuple[float, float],
    error: GatewayError | None,
) -> Usage:
    """Return what a try took; where the provider did not say, an estimate of what went out and came in."""
    sent, came = (end.prompt_tokens, end.completion_tokens) if end is not None else (None, None)
    unsent = (
        error is not None
        and not progress.text
        and end is None
        and not isinstance(error, ModelSlow | Cancelled | AnswerUnfit)
    )
    prompt = sent if sent is not None else 0 if unsent else call.prompt_estimate
    completion = came if came is not None else -(-len(progress.text) // 4)
    cost = (prompt * prices[0] + completion * prices[1]) / 1e6
    first = None if progress.first is None else max(0.0, seconds - (time.monotonic() - progress.first))
    return Usage(
        prompt,
        completion,
        seconds,
        cost,
        calls=1,
        cached_prompt_tokens=end.cached_prompt_tokens if end is not None else 0,
        load_seconds=end.load_seconds if end is not None else 0.0,
        first_token_seconds=first,
        estimated=(sent is None or came is None) and not unsent,
    )


def estimated_tokens(messages: tuple[Message, ...]) -> int:
    """Return about how many tokens messages have, rather too many than too few."""
    return sum(8 + -(-len(message.text.encode()) * 10 // 32) for message in messages)


def _least_tokens(messages: tuple[Message, ...]) -> int:
    """Return how many tokens messages have at least: no tokenizer joins words across white space."""
    return int(0.9 * sum(len(re.findall(r"\S+", message.text)) for message in messages))


def _check_not_cut(prepared: _Prepared, end: End) -> None:
    least = _least_tokens(prepared.call.messages)
    if end.prompt_tokens is not None and end.prompt_tokens < least:
        raise PromptTooLong(
            f"{prepared.profile.place}: the server read only {end.prompt_tokens:,} of at least {least:,} tokens: it "
            "cut the request without a word, so its answer can't be trusted; give the model a longer context (num_ctx "
            "in the connection's extra)"
        )


def _with_schema(messages: tuple[Message, ...], schema: JsonSchema) -> tuple[Message, ...]:
    text = "Answer with one JSON object and nothing else. It follows this JSON Schema:\n" + json.dumps(
        schema, separators=(",", ":"), ensure_ascii=False
    )
    if messages and messages[0].role == "system":
        return (Message("system", f"{messages[0].text}\n\n{text}"), *messages[1:])
    return (Message("system", text), *messages)


_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


def _value(text: str, flat: Flat | None, finish: Finish, most: int) -> tuple[Any | None, str]:
    """Return (the JSON of an answer as it was meant, what is wrong with it)."""
    if flat is None:
        return None, ""
    if finish == "refused":
        return None, "the model declined to answer"
    if finish == "length":
        return None, f"the answer was cut off after {most:,} tokens, before it was complete"
    value = _parsed(text)
    if value is None and (fenced := _FENCED.search(text)) is not None:
        value = _parsed(fenced.group(1))
    if value is None and "{" in text and "}" in text:
        value = _parsed(text[text.index("{") : text.rindex("}") + 1])
    if not isinstance(value, Mapping):
        return None, "the answer is no JSON object"
    try:
        wrong = mismatch(value, flat.schema)
        return flat.restore(value), f"the answer does not follow its schema: {wrong}" if wrong else ""
    except RecursionError:
        return None, "the answer is nested too deeply"


def _parsed(text: str) -> Any | None:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _all_away(failures: list[GatewayError]) -> GatewayError:
    if len(failures) == 1:
        return failures[0]
    waits = [wait for error in failures if (wait := getattr(error, "retry_after", None)) is not None]
    told = "; ".join(bounded(str(error), 400) for error in failures)
    if all(isinstance(error, ModelSlow) for error in failures):
        return ModelSlow(f"no model answers in time: {told}")
    return ModelAway(f"no model answers: {told}", "", min(waits) if waits else None)
