"""Tested pairs of request and config, from the package and from the user's own folder, and which of them come nearest.

Nearness is that of words (rare ones weigh more) and of what both are made of: kinds of source, destination and steps,
write disposition, number of sources. It is deterministic and needs no model; where an embedding model is set up, its
vectors stand in for the words.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from dataforge.authoring.constraints import ANSWERED
from dataforge.authoring.grounding import Grounds


@dataclass(frozen=True)
class Example:
    """A request and the config that answers it. `connections` are the ids it uses, with their types."""

    id: str
    request: str
    config: Mapping[str, Any]
    language: str = "en"
    connections: Mapping[str, str] = field(default_factory=dict)
    own: bool = False

    @property
    def answer(self) -> dict[str, Any]:
        """The part of the config that a model answers."""
        return {key: self.config[key] for key in ANSWERED if key in self.config} | {
            key: self.config.get(key, []) for key in ("transforms", "checks")
        }

    def shown(self) -> dict[str, Any]:
        """The answer in the order in which answers are written."""
        answer = self.answer
        return {key: answer[key] for key in ANSWERED if key in answer}


@cache
def packaged() -> tuple[Example, ...]:
    """Return the library that is shipped."""
    folder = files(f"{__package__}.examples")
    texts = [one.read_text(encoding="utf-8") for one in sorted(folder.iterdir(), key=str) if one.name.endswith(".json")]
    return tuple(
        Example(one["id"], one["request"], one["config"], one.get("language", "en"), one.get("connections", {}))
        for text in texts
        for one in json.loads(text)
    )


def own(configs: Iterable[Mapping[str, Any]]) -> tuple[Example, ...]:
    """Return a user's own configs that have a description as examples."""
    return tuple(
        Example(f"own:{config['dag_id']}", str(config["description"]), config, own=True)
        for config in configs
        if len(str(config.get("description") or "")) >= 20 and "matrix" not in config
    )


def nearest(
    text: str,
    grounds: Grounds,
    examples: Sequence[Example],
    count: int = 3,
    likeness: Mapping[str, float] | None = None,
) -> list[Example]:
    """Return the examples that come nearest to a request, the nearest last, next to the request in the prompt.

    `likeness` is how alike an embedding model finds request and example, by id; words are compared without it.
    """
    if not examples:
        return []
    weights = _weights(examples)
    wanted_words, wanted_parts = Counter(_words(text)), _parts_of_request(grounds)
    scored = []
    for example in examples:
        words, parts = _features(example)
        word_score = _cosine(wanted_words, words, weights) if likeness is None else likeness.get(example.id, 0.0)
        part_score = _cosine(wanted_parts, parts, weights)
        scored.append((word_score + 1.2 * part_score + (0.05 if example.own else 0), example))
    scored.sort(key=lambda pair: (-pair[0], pair[1].id))
    chosen: list[Example] = []
    shapes: set[str] = set()
    for _, example in scored:
        shape = json.dumps(sorted(_features(example)[1]))
        if shape in shapes:
            continue
        shapes.add(shape)
        chosen.append(example)
        if len(chosen) == count:
            break
    return chosen[::-1]


def _words(text: str) -> list[str]:
    return [word[:7] for word in re.findall(r"[a-zäöüß]{3,}", text.lower())]


_FEATURES: dict[int, tuple[Counter[str], Counter[str]]] = {}


def _features(example: Example) -> tuple[Counter[str], Counter[str]]:
    known = _FEATURES.get(id(example))
    if known is None:
        known = Counter(_words(example.request)), Counter(_parts(example.config))
        if not example.own:
            _FEATURES[id(example)] = known
    return known


def _parts(config: Mapping[str, Any]) -> Iterable[str]:
    sources = [config["source"]] if config.get("source") else list((config.get("sources") or {}).values())
    targets = config.get("destination") or {}
    targets = targets if isinstance(targets, list | tuple) else [targets]
    if len(sources) > 1:
        yield "several sources"
    if len(targets) > 1:
        yield "several destinations"
    for source in sources:
        yield f"source {source.get('type')}"
        yield from (
            f"source key {key}"
            for key in source
            if key in ("cursor_field", "query", "pagination", "records", "delimiter", "lookback")
        )
    for target in targets:
        yield f"destination {target.get('type')}"
        yield f"disposition {target.get('write_disposition', 'append')}"
        if target.get("merge_strategy"):
            yield f"strategy {target['merge_strategy']}"
    for kind in ("transforms", "checks"):
        yield from (f"{kind} {one.get('type')}" for one in config.get(kind) or ())


def _parts_of_request(grounds: Grounds) -> Counter[str]:
    config: dict[str, Any] = {
        "sources": {str(number): dict(end.config) for number, end in enumerate(grounds.sources)},
        "destination": [dict(end.config) for end in grounds.destinations],
        "transforms": [dict(step.config) for step in grounds.steps],
        "checks": [dict(step.config) for step in grounds.checks],
    }
    parts = Counter(part for part in _parts(config) if not part.endswith(" None"))
    if grounds.several:
        parts["several sources"] += 1
    if not any("write_disposition" in end.config for end in grounds.destinations):
        parts.pop("disposition append", None)
    return parts


def _weights(examples: Sequence[Example]) -> Mapping[str, float]:
    if all(not example.own for example in examples):
        return _packaged_weights(len(examples))
    return _weigh(examples)


@cache
def _packaged_weights(count: int) -> Mapping[str, float]:
    del count
    return _weigh(packaged())


def _weigh(examples: Sequence[Example]) -> Mapping[str, float]:
    counts: Counter[str] = Counter()
    for example in examples:
        words, parts = _features(example)
        counts.update({*words, *parts})
    return {name: math.log((1 + len(examples)) / (0.5 + count)) for name, count in counts.items()}


def _cosine(one: Counter[str], other: Counter[str], weights: Mapping[str, float]) -> float:
    def length(counter: Counter[str]) -> float:
        return math.sqrt(sum((count * weights.get(name, 1.0)) ** 2 for name, count in counter.items()))

    product = sum(count * other[name] * weights.get(name, 1.0) ** 2 for name, count in one.items() if name in other)
    lengths = length(one) * length(other)
    return product / lengths if lengths else 0.0
