"""One model over all requests and faults: what came of each, and the figures that follow from it."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.authoring import faults
from benchmarks.authoring.judging import Fact, judge
from benchmarks.authoring.requests import CONNECTIONS, Case, config
from dataforge.authoring import library
from dataforge.authoring.author import answered as read_answer
from dataforge.authoring.author import author
from dataforge.authoring.base import AuthorRequest, Draft
from dataforge.authoring.catalogue import Catalogue, Known
from dataforge.authoring.checks import checker
from dataforge.components.base import Connection
from dataforge.gateway.base import Cancel, Completion, Gateway, OnText, Request
from dataforge.gateway.opening import open_gateway
from dataforge.settings import Settings

CONTEXT = 8_192
TURNS = 5


@dataclass
class Watch:
    """A gateway that notes how long each call took, whether its answer could be read and whether it was cut off."""

    inner: Gateway
    seconds: float = 0.0
    calls: int = 0
    broken: int = 0
    cut: int = 0

    def complete(self, request: Request, on_text: OnText | None = None, cancel: Cancel | None = None) -> Completion:
        """Hand the call on."""
        begun = time.perf_counter()
        answer = self.inner.complete(request, on_text, cancel)
        # what the gateway itself takes is ours, not the model's
        self.seconds += min(answer.usage.seconds, time.perf_counter() - begun)
        self.calls += 1
        if request.schema is not None and answer.value is None:
            self.cut += answer.finish == "length"
            self.broken += not read_answer(answer)  # of one that was cut off, what is complete counts
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True)
class Result:
    """What came of one request. `failures` are (kind, place, wanted, found) and are left empty for loose wording."""

    case: str
    wording: str
    language: str
    outcome: str
    right: int
    facts: int
    parsed: bool
    valid: bool
    seconds: float
    own_ms: float
    checks_ms: float
    calls: int
    turns: int
    tokens: int
    kinds: Mapping[str, int] = field(default_factory=dict)
    failures: Sequence[tuple[str, str, str, str]] = ()
    cut: int = 0

    @property
    def perfect(self) -> bool:
        """Whether every fact is right and the config is valid."""
        return self.right == self.facts and (self.valid or self.outcome != "config")


@contextmanager
def served(name: str, path: Path) -> Iterator[Gateway]:
    """Start the real server with one model on one thread, behind Ollama's API; yield a gateway that asks it."""
    import os

    from tests.model_server import Model, running

    with (
        tempfile.TemporaryDirectory(prefix="dataforge-authoring-") as home,
        running(Model(name, path, threads=1, context=CONTEXT)) as front,
    ):
        os.environ["AIRFLOW_HOME"] = home  # the gateway's own records go where they vanish
        lab = Connection("lab", "ollama", front.url, extra={"model": name, "num_ctx": CONTEXT})
        settings = Settings(
            llm_chain=("lab",), llm_cache_hours=0, llm_first_token_seconds=600, llm_total_seconds=600,
            llm_idle_seconds=300,
        )  # fmt: skip
        gateway = open_gateway(lambda _: lab, settings=settings)
        gateway.complete(Request("author", _hello(), max_tokens=1, use_cache=False))  # loads the weights
        yield gateway


def _hello() -> tuple[Any, ...]:
    from dataforge.gateway.base import Message

    return (Message("user", "Hello"),)


def run(cases: Sequence[Case], gateway: Gateway, *, control: bool) -> Iterator[tuple[Result, Result | None]]:
    """Yield the result of each request and, where wanted, of its control run without the two nearest examples."""
    with tempfile.TemporaryDirectory(prefix="dataforge-authoring-") as folder:
        known = tuple(Known(id_, type_) for id_, type_ in CONNECTIONS.items())
        catalogue = Catalogue(known, complete=True, folder=Path(folder))
        _one(_FIRST, gateway, catalogue, library.packaged())  # what is imported once belongs to no request
        for number, case in enumerate(cases, 1):
            result, draft = _one(case, gateway, catalogue, library.packaged())
            second: Result | None = None
            if control:
                rest = [one for one in library.packaged() if one.id not in draft.examples]
                second = _one(case, gateway, catalogue, rest)[0] if result.calls else result
            print(
                f"{number:3}/{len(cases)} {case.id:32} {result.right:2}/{result.facts:2} "
                f"{'valid' if result.valid else '-':5} {result.seconds:5.1f} s {result.turns} turns",
                file=sys.stderr,
                flush=True,
            )
            yield result, second


_FIRST = Case("first", "plain", "Load rowboats.csv into duckdb rowboats, rows with length_m > 3 only.", config(to={}))


def _one(
    case: Case, gateway: Gateway, catalogue: Catalogue, examples: Sequence[library.Example]
) -> tuple[Result, Draft]:
    watch = Watch(gateway)
    begun = time.perf_counter()
    draft = author(
        AuthorRequest(case.text, folder=catalogue.folder, max_turns=TURNS, use_cache=False),
        watch,
        catalogue=catalogue,
        examples=examples,
    )
    seconds = time.perf_counter() - begun
    facts = judge(case.wanted, draft)
    checks = _checks_ms(draft, catalogue)
    wrong = [fact for fact in facts if not fact.right]
    shown = [] if case.wording == "loose" else [_told(fact) for fact in wrong]
    return Result(
        case.id,
        case.wording,
        case.language,
        case.wanted.outcome,
        len(facts) - len(wrong),
        len(facts),
        watch.broken == 0,
        draft.valid,
        seconds,
        1000 * (seconds - watch.seconds),
        checks,
        watch.calls,
        sum(bool(turn.model) for turn in draft.trace),
        draft.usage.tokens,
        Counter(fact.kind for fact in wrong),
        shown,
        watch.cut,
    ), draft


def _told(fact: Fact) -> tuple[str, str, str, str]:
    return fact.kind, fact.place, str(fact.wanted), str(fact.found)


def _checks_ms(draft: Draft, catalogue: Catalogue) -> float:
    """Return how long the checks of a draft take."""
    if draft.config is None:
        return 0.0
    check = checker(catalogue=catalogue)
    begun = time.perf_counter()
    check(draft.config)
    return 1000 * (time.perf_counter() - begun)


def mend(gateway: Gateway) -> dict[str, Any]:
    """Return what repair makes of the injected faults, by class, with the fixers alone and with the model."""
    injected = faults.inject()
    alone = faults.run(injected)
    left = [outcome.fault for outcome in alone if not outcome.good]
    print(f"{len(injected)} faults, {len(left)} are left to the model", file=sys.stderr, flush=True)
    asked: list[faults.Outcome] = []
    turns: list[int] = []
    for fault in left:
        ((outcome, repaired),) = faults.run_with([fault], gateway)
        asked.append(outcome)
        turns.append(sum(bool(turn.model) for turn in repaired.trace))
        state = "fixed" if outcome.good else "left"
        print(f"  {fault.kind:40} {state:6} {turns[-1]} turns", file=sys.stderr, flush=True)
    done = [*(outcome for outcome in alone if outcome.good), *asked]
    kinds = sorted({outcome.fault.kind for outcome in done})
    return {
        "faults": len(done),
        "fixed_alone": sum(outcome.good for outcome in alone),
        "fixed": sum(outcome.good for outcome in done),
        "elsewhere": sum(bool(outcome.elsewhere) for outcome in done),
        "turns": sum(turns),
        "median_seconds": statistics.median(outcome.seconds for outcome in asked) if asked else 0.0,
        "kinds": {
            kind: [
                sum(outcome.fault.kind == kind for outcome in done),
                sum(outcome.good and outcome.fault.kind == kind for outcome in alone),
                sum(outcome.good and outcome.fault.kind == kind for outcome in done),
            ]
            for kind in kinds
        },
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies; 0 when there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def figures(results: Sequence[Result]) -> dict[str, float]:
    """Return the figures of some results: shares in percent, seconds of those that a model was asked for."""
    if not results:
        return {}
    configs = [one for one in results if one.outcome == "config"]
    asked = [one.seconds for one in results if one.calls]
    count = len(results)
    return {
        "requests": count,
        "parses %": 100 * sum(one.parsed for one in results) / count,
        "valid %": 100 * sum(one.valid for one in configs) / max(1, len(configs)),
        "facts %": 100 * sum(one.right for one in results) / sum(one.facts for one in results),
        "perfect %": 100 * sum(one.perfect for one in results) / count,
        "asked %": 100 * len(asked) / count,
        "cut %": 100 * sum(one.cut > 0 for one in results) / count,
        "turns": sum(one.turns for one in results) / count,
        "tokens": sum(one.tokens for one in results) / count,
        "median s": statistics.median(one.seconds for one in results),
        "median s, model asked": statistics.median(asked) if asked else 0.0,
        "p95 s": percentile([one.seconds for one in results], 0.95),
        "own p95 ms": percentile([one.own_ms for one in results], 0.95),
        "checks p95 ms": percentile([one.checks_ms for one in results if one.checks_ms], 0.95),
    }


def packed(result: Result | None) -> dict[str, Any] | None:
    """Return a result as JSON."""
    return None if result is None else {**asdict(result), "kinds": dict(result.kinds)}


def unpacked(value: Mapping[str, Any] | None) -> Result | None:
    """Return the result that JSON describes."""
    return None if value is None else replace(Result(**value), failures=[tuple(one) for one in value["failures"]])
