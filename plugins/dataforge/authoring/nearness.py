"""What comes near a request: examples, pipelines that are there already, and earlier requests that say the same.

Nearness ranks and offers. Only equal facts let an earlier answer serve again: everything that was read from the request
for certain, all other words of it in their order, and whatever else an answer hangs on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataforge.authoring.base import AuthorRequest, Extracted, Similar
from dataforge.authoring.catalogue import Catalogue, place_of
from dataforge.authoring.grounding import End, Grounds
from dataforge.errors import GatewayError
from dataforge.gateway.embeddings import likeness
from dataforge.gateway.reuse import canonical

if TYPE_CHECKING:
    from dataforge.authoring.library import Example
    from dataforge.gateway.base import Gateway

NEAR = 0.8
"""How alike the words of a request and those of a pipeline are when it is offered for them alone."""
OFFERED = 3
MOST_PIPELINES = 500
"""So many pipelines of the folder are compared by their words."""

_FREE = frozenset({"schedule", "timezone", "start_date", "end_date"})
"""Kinds of values that mean the same wherever they stand in a request."""
_TIME = re.compile(
    r"(?ix)\A(?:\d{1,2}(?::?\d\d)?(?:am|pm|h)?|am|pm|a\.m\.|p\.m\.|o'?clock|at|on|of|the|every|each|once|a|per|day|days|daily|"
    r"everyday|morning|evening|night|nightly|noon|midnight|hour|hours|hourly|minutes?|week|weekly|weekdays?|weekends?|month|"
    r"monthly|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|jede[nrsm]?|tag|täglich|um|uhr|morgens?|abends?|nachts?|mittags?|"
    r"stunde|stündlich|woche|wöchentlich|monat|monatlich|(?:mon|diens|donners|frei|sams|sonn)tags?|mittwochs?|am|"
    r"@\w+|\d{4}-\d\d-\d\d|utc|gmt|)\Z"
)
_ZONE_WORDS = frozenset({"time", "timezone", "zone", "zeit", "zeitzone", "in"})


def facts(
    request: AuthorRequest, found: Sequence[Extracted], grounds: Grounds, catalogue: Catalogue, prompt: str
) -> str:
    """Return all that an answer to a request depends on but its wording, to the letter; `prompt` is the system text."""

    def ends(some: Sequence[End]) -> list[Any]:
        return [dict(end.config) for end in some]

    counted = {
        "words": canonical(_without_times(request.text, found)),
        "values": sorted([one.kind, one.role, one.sure, _json(one.value)] for one in found),
        "grounds": [
            dict(grounds.top), ends(grounds.sources), ends(grounds.destinations), grounds.several,
            [dict(step.config) for step in (*grounds.steps, *grounds.checks)],
        ],
        "pinned": dict(request.pinned),
        "base": request.base,
        "mode": request.mode,
        "history": request.history,
        "rows": request.rows,
        "connections": catalogue.types,
        "tables": {one.place: [dict(one.columns), one.in_words(), list(one.rows)] for one in catalogue.tables},
        "policies": catalogue.policies.model_dump(mode="json"),
        "prompt": prompt,
    }  # fmt: skip
    return _json(counted)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _without_times(text: str, found: Sequence[Extracted]) -> str:
    """Return a request without its times and zones, where they are made of nothing but words for times."""
    times = [one for one in found if one.kind in _FREE and one.sure]
    for one in sorted(times, key=lambda one: -one.start):
        words = re.split(r"[\s,]+", text[one.start : one.end].casefold().strip(" ,.;"))
        own = {*_ZONE_WORDS, *re.split(r"\W|_", str(one.value).casefold()), str(one.value).casefold()}
        if all(_TIME.match(word) or (one.kind == "timezone" and word in own) for word in words):
            text = f"{text[: one.start]} {text[one.end :]}"
    return text


def of_examples(
    request: AuthorRequest, examples: Sequence[Example], gateway: Gateway | None, private: tuple[str, ...] = ()
) -> tuple[Mapping[str, float] | None, str]:
    """Return how near each example is by the embedding model, by id, and what is to be told; None: by words."""
    if gateway is None:
        return None, ""
    try:
        vectors = gateway.embed(
            [request.text, *(one.request for one in examples)],
            actor=request.actor, team=request.team, request_id=request.request_id, private=private,
        )  # fmt: skip
    except GatewayError as error:
        return None, f"examples were chosen by words, since the embedding model did not answer: {error}"
    if vectors is None:
        return None, ""
    asked, *others = vectors
    return {one.id: likeness(asked, other) for one, other in zip(examples, others, strict=True)}, ""


def pipelines(
    request: AuthorRequest,
    grounds: Grounds,
    catalogue: Catalogue,
    gateway: Gateway | None,
    private: tuple[str, ...] = (),
) -> tuple[Similar, ...]:
    """Return pipelines of the folder that do about the same already, the nearest first."""
    wanted = (_places(end.config for end in grounds.sources), _places(end.config for end in grounds.destinations))
    scored: dict[str, tuple[float, str]] = {}
    for config in catalogue.configs:
        reads, writes = wanted[0] & _places(_sources(config)), wanted[1] & _places(_targets(config))
        if writes or reads:
            said = [f"reads {', '.join(sorted(reads))}"] if reads else []
            said += [f"writes {', '.join(sorted(writes))}"] if writes else []
            scored[str(config.get("dag_id"))] = (1.0 * bool(reads) + 1.5 * bool(writes), " and ".join(said))
    for dag_id, score in _by_words(request, catalogue, gateway, private).items():
        before, why = scored.get(dag_id, (0.0, ""))
        if why or score >= NEAR:
            scored[dag_id] = (before + score, why or "is described alike")
    near = sorted(scored.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Similar(dag_id, why, catalogue.dag_ids.get(dag_id)) for dag_id, (_, why) in near[:OFFERED])


def _places(ends: Iterable[Mapping[str, Any]]) -> set[str]:
    return {place_of(end) for end in ends if any(end.get(key) for key in ("table", "path", "endpoint", "query"))}


def _by_words(
    request: AuthorRequest, catalogue: Catalogue, gateway: Gateway | None, private: tuple[str, ...]
) -> Mapping[str, float]:
    from dataforge.authoring.library import own

    told = own(catalogue.configs)[:MOST_PIPELINES]
    scores, _ = of_examples(request, told, gateway, private) if told else (None, "")
    return {id_.removeprefix("own:"): score for id_, score in (scores or {}).items()}


def _sources(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for end in (config.get("source"), *dict(config.get("sources") or {}).values()):
        if isinstance(end, Mapping):
            yield end


def _targets(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    targets = config.get("destination")
    for end in targets if isinstance(targets, list | tuple) else [targets]:
        if isinstance(end, Mapping):
            yield end
