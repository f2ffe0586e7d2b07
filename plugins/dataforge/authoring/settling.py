"""From a model's answer to a config: what the request states is put in, what it knows nothing of is left out, and what
no model should decide (names, times, tags) is added.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dataforge.authoring import constraints
from dataforge.authoring.base import Assumption, AuthorRequest, Extracted
from dataforge.authoring.catalogue import Catalogue
from dataforge.authoring.editing import Operation, patch
from dataforge.authoring.extraction import of
from dataforge.authoring.grounding import End, Grounds, residue
from dataforge.authoring.steps import Step
from dataforge.config.positions import escape

_SQL_WORDS = frozenset(
    """and or not in is null like ilike between case when then else end as cast try_cast true false asc desc nulls first last
    date timestamp timestamptz time interval integer int bigint smallint decimal numeric double precision real float varchar
    text string boolean bool uuid sum count avg min max round floor ceil abs coalesce nullif lower upper trim ltrim rtrim
    length substr substring replace concat left right year month day hour minute second extract from date_trunc date_diff
    datediff strftime strptime to_date current_date current_timestamp now over partition by order row_number rank filter
    where distinct array list median stddev any_value arg_max arg_min string_agg regexp_matches regexp_replace split_part
    greatest least select join on left inner outer group having limit with input epoch make_date dayname monthname week
    quarter isodow dow doy md5 sha256 hash contains starts_with ends_with using union all""".split()
)
_WORD = re.compile(r"[A-Za-z_ÄÖÜäöüß][\wÄÖÜäöüß]*")
_TIME_NAMES = (("@hourly", "hourly"), ("@daily", "daily"), ("@weekly", "weekly"), ("@monthly", "monthly"))
_ORDER_OF_STEPS = {"limit": 3, "sort": 2}


def settle(
    request: AuthorRequest,
    answer: Mapping[str, Any],
    grounds: Grounds,
    found: Sequence[Extracted],
    catalogue: Catalogue,
) -> tuple[dict[str, Any], list[str]]:
    """Return the config of an answer, and in words what of it was left out."""
    notes: list[str] = []
    body = constraints.impose(answer, grounds)
    _fill_ends(body, grounds)
    _drop_strangers(body, found, catalogue)
    stated = (*grounds.steps, *grounds.checks)
    known = _Known(request, catalogue, found, narrow=())
    unstated = _Known(request, catalogue, found, narrow=stated)
    kinds = {str(step.config["type"]): _names_in(step.config) for step in stated}
    _reduce_ends(body, grounds, unstated)
    transforms = [step for step in body.get("transforms") or [] if isinstance(step, Mapping)]
    checks = [step for step in body.get("checks") or [] if isinstance(step, Mapping)]
    transforms = _covering(transforms, grounds)
    steps, left = _known_steps(transforms, known, unstated, kinds, several="sources" in body)
    tests, left_checks = _known_steps(checks, known, unstated, kinds, several="sources" in body)
    notes += [f"left out, since the request does not speak of it: {what}" for what in (*left, *left_checks)]
    body["transforms"] = arranged(merged(steps, grounds.steps, text=request.text))
    body["checks"] = merged(tests, grounds.checks)
    config = {**_top(request, grounds, body, catalogue), **body}
    for key in ("transforms", "checks"):
        if not config[key]:
            del config[key]
    config = _pinned(config, request.pinned)
    return config, notes


def _fill_ends(body: dict[str, Any], grounds: Grounds) -> None:
    """Put sources and destinations in that the answer lacks."""
    if "source" not in body and "sources" not in body:
        if len(grounds.sources) > 1:
            names = constraints.source_names(grounds.sources)
            body["sources"] = {name: _typed(end) for name, end in zip(names, grounds.sources, strict=True)}
        elif grounds.sources:
            body["source"] = _typed(grounds.sources[0])
    if "source" in body and "sources" in body:
        del body["source" if len(grounds.sources) > 1 else "sources"]
    if isinstance(body.get("sources"), dict) and len(body["sources"]) == 1:
        name, only = next(iter(body["sources"].items()))
        if not any(
            isinstance(step, Mapping) and name in (step.get("input"), step.get("with"))
            for step in body.get("transforms") or ()
        ):
            del body["sources"]
            body["source"] = only
    if "destination" not in body and grounds.destinations:
        ends = [_typed(end) for end in grounds.destinations]
        body["destination"] = ends[0] if len(ends) == 1 else ends


def _drop_strangers(body: Mapping[str, Any], found: Sequence[Extracted], catalogue: Catalogue) -> None:
    """Leave connections out that neither the request names nor, where it names none, the catalogue knows."""
    usable = {str(one.value) for one in of(found, "connection")} or set(catalogue.types)
    for one in found:  # an asset is a connection with its table
        if isinstance(one.value, Mapping) and "asset" in one.value:
            usable.add(str(one.value["asset"]).partition("/")[0])
    targets = body.get("destination")
    ends = [body.get("source"), *dict(body.get("sources") or {}).values()]
    ends += targets if isinstance(targets, list | tuple) else [targets]
    for end in ends:
        if usable and isinstance(end, dict) and end.get("connection") not in {*usable, None}:
            del end["connection"]


def _typed(end: End) -> dict[str, Any]:
    config = dict(end.config)
    return {"type": config.pop("type"), **config} if "type" in config else config


def _reduce_ends(body: dict[str, Any], grounds: Grounds, known: _Known) -> None:
    """Leave optional keys of a source or destination out whose values stand nowhere in the request."""
    for key, ends in (("source", grounds.sources), ("destination", grounds.destinations)):
        component = body.get(key)
        if not isinstance(component, dict):
            continue
        stated = ends[0].config if len(ends) == 1 else {}
        core = {
            *constraints.CORE[key].get(str(component.get("type")), ()),
            "type",
            "primary_key",
            "merge_strategy",
            "query",
        }
        for name in [name for name in component if name not in core and name not in stated]:
            names = identifiers(re.sub(r"\$\{[^}]*\}", "", str(component[name])))
            words = [word for word in names if word.lower() not in _FREE_WORDS]
            if words and not all(map(known.has, words)):
                del component[name]


_TWICE = re.compile(
    r"dup|doubl|twice|unique|distinct|doppelt|dublett|mehrfach|einmal|repeat|redundant|once|same|identical|copies|gleiche|wiederhol"
    r"|latest|newest|recent|most|only\s+one|one\s+(?:row|record)|each\s+\w+\s+only|neuest|jüngst|letzte|\bje\s|\bpro\s|\bper\s",
    re.I,
)
_STACKED = re.compile(
    r"union|stack|combin|together|append|on\s+top|below\s+each|vereinig|untereinander|zusammen|both|add|concat|all\s+of\s+them",
    re.I,
)
_COUNTED = re.compile(
    r"sum|total|count|number\s+of|averag|mean|median|\bavg|\bmax|\bmin|highest|lowest|largest|smallest|\bper\b|\beach\b|\bevery\b|group"
    r"|how\s+(?:many|much)|aggregat|most|least|summe|anzahl|durchschnitt|gesamt|\bje\b|\bpro\b|jede|wie\s*viel|mittel|breakdown|statist",
    re.I,
)
_EMPTY = re.compile(
    r"null|missing|empty|without|\bno\b|blank|given|\bset\b|present|ha(?:ve|s|ving)\b|fill|known|leer|fehl|ohne|gefüllt|gesetzt|vorhanden|kein",
    re.I,
)
_FREE_WORDS = frozenset(
    "type path param location query body link_header next_url next page cursor offset limit start size_param size links meta "
    "per_page get post utf gzip zstd snappy auto none fail deduplicate dead_letter skip evolve freeze newline_delimited".split()
)


# ---- what is known --------------------------------------------------------------------------------------------------


class _Known:
    """Which names a request, the catalogue and earlier steps know."""

    def __init__(
        self,
        request: AuthorRequest,
        catalogue: Catalogue,
        found: Sequence[Extracted],
        *,
        narrow: Sequence[Step] | None = None,
    ) -> None:
        said = request.text
        if narrow is not None:
            said = residue(said, found)
            for step in narrow:
                said = said[: step.start] + " " * (step.end - step.start) + said[step.end :]
        self._said = said
        text = "\n".join([said, *request.history, *map(str, request.pinned.values()), str(request.base or "")])
        words = [_plain(word) for word in _WORD.findall(text)]
        pairs = [one + other for one, other in itertools.pairwise(words)]
        self._names = {*words, *pairs, *(_plain(name) for name in catalogue.columns)}
        self._long = tuple(name for name in self._names if len(name) >= 4)
        self._seen: dict[str, bool] = {}
        self.numbers = {number.replace(",", "") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)}

    def add(self, names: Iterable[str]) -> None:
        """Take in names that a step gives."""
        self._names |= {_plain(name) for name in names}
        self._seen.clear()

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Return whether the request says something of that kind."""
        return pattern.search(self._said) is not None

    def has(self, name: str) -> bool:
        """Return whether a name stands in the request, as such or nearly."""
        plain = _plain(name)
        if plain not in self._seen:
            self._seen[plain] = plain in self._names or (
                len(plain) >= 4
                and (
                    any(
                        plain.startswith(one) or one.startswith(plain)
                        for one in self._long
                        if len(one) >= 5 and len(plain) >= 5
                    )
                    or bool(difflib.get_close_matches(plain, self._long, n=1, cutoff=0.88))
                )
            )
        return self._seen[plain]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9äöüß]", "", name.lower())


def identifiers(text: str) -> list[str]:
    """Return the names and texts of a SQL expression that are no words of SQL."""
    return [word for word in _WORD.findall(text) if word.lower() not in _SQL_WORDS]


def _known_steps(
    steps: Iterable[Mapping[str, Any]], known: _Known, unstated: _Known, kinds: Mapping[str, set[str]], *, several: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the steps that the request speaks of, and the others in words."""
    kept: list[dict[str, Any]] = []
    left: list[str] = []
    for step in steps:
        if step.get("type") in ("join", "union") and not several:
            left.append(f"{step.get('type')} (there is one source)")
            continue
        # what the request spells out is explained; other steps must be about something else that it says
        again = kinds.get(str(step.get("type")), set()) & _names_in(step)
        told = _without_news(step, again, unstated) if again else step
        reduced, gone = _reduced(told, known if again else unstated)
        if reduced is None:
            left.append(_step_in_words(step))
            continue
        left += gone
        for one in (known, unstated):
            one.add(_given(reduced))
        if reduced not in kept:
            kept.append(reduced)
    return kept, left


def _without_news(step: Mapping[str, Any], stated: set[str], unstated: _Known) -> Mapping[str, Any]:
    """Return a step that the request spells out without columns that it names for something else."""
    columns = step.get("columns")
    if isinstance(columns, Mapping):
        return {**step, "columns": {k: v for k, v in columns.items() if k.lower() in stated or unstated.has(str(k))}}
    if isinstance(columns, list):
        return {**step, "columns": [one for one in columns if str(one).lower() in stated or unstated.has(str(one))]}
    return step


def _covering(steps: list[Mapping[str, Any]], grounds: Grounds) -> list[Mapping[str, Any]]:
    """Leave out a model's second telling of a join or aggregate that the request spells out."""
    kinds = {str(step.config["type"]) for step in grounds.steps} & {"join", "aggregate"}
    return [step for step in steps if step.get("type") not in kinds]


def _values_said(condition: str, known: _Known) -> bool:
    """Return whether the values of a condition stand in the request; dates that are computed may be anything."""
    if re.search(r"\bcurrent_|\bnow\(|\binterval\b|\$\{", condition, re.I):
        return True
    if re.search(r"\bis\s+(?:not\s+)?null\b", condition, re.I) and not known.says(_EMPTY):
        return False
    plain = re.sub(r"'[^']*'", " ", condition)
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", plain)
    if any(number not in known.numbers and number not in ("0", "1") for number in numbers):
        return False
    words = [word for text in re.findall(r"'([^']*)'", condition) for word in _WORD.findall(text)]
    return all(map(known.has, words))


def _step_in_words(step: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in step.items() if key != "type"}
    return f"{step.get('type')} {rest}" if rest else str(step.get("type"))


def _given(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of columns that a step makes."""
    columns = step.get("columns")
    if isinstance(columns, Mapping):
        if step["type"] in ("derive", "aggregate"):
            yield from map(str, columns)
        elif step["type"] in ("rename", "select", "join"):
            yield from (str(value) for value in columns.values())


def _reduced(step: Mapping[str, Any], known: _Known) -> tuple[dict[str, Any] | None, list[str]]:
    """Return a step without the columns that nothing speaks of; None when nothing is left of it."""
    type_ = str(step.get("type"))
    found: dict[str, Any] = {key: copy.deepcopy(value) for key, value in step.items() if value is not None}
    gone: list[str] = []

    def speaks(text: Any) -> bool:
        names = identifiers(str(text))
        return not names or any(map(known.has, names))

    for key in ("columns", "keys", "group_by", "on"):
        value = found.get(key)
        if isinstance(value, list):
            kept = list(dict.fromkeys(one for one in value if isinstance(one, str) and known.has(one)))
            gone += [f"{type_} of {one!r}" for one in value if one not in kept]
            if value and not kept:
                return None, []
            found[key] = kept
        elif isinstance(value, Mapping):
            if type_ in ("derive", "aggregate"):
                entries = {
                    name: one
                    for name, one in value.items()
                    if speaks(one) and (identifiers(str(one)) or type_ == "aggregate" or known.has(name))
                }
            else:
                entries = {name: one for name, one in value.items() if known.has(name)}
            gone += [f"{type_} of {name!r}" for name in value if name not in entries]
            if value and not entries and not (type_ == "aggregate" and found.get("group_by")):
                return None, []
            found[key] = entries
    for key in ("where", "expression", "query"):
        if key in found and not (speaks(found[key]) and identifiers(str(found[key]))):
            return None, []
    if any(not _values_said(str(found[key]), known) for key in ("where", "expression") if key in found):
        return None, []
    if type_ == "aggregate" and not known.says(_COUNTED):
        return None, []
    if type_ == "union" and not known.says(_STACKED):
        return None, []
    if type_ == "deduplicate" and not known.says(_TWICE):  # it takes rows away: not without a word of it
        return None, []
    if "order_by" in found and not speaks(found["order_by"]):
        del found["order_by"]
    if "by" in found and not speaks(found["by"]):
        return None, []
    if "column" in found and not known.has(str(found["column"])):
        return None, []
    if type_ == "limit" and known.numbers.isdisjoint({str(found.get("count"))}):
        return None, []
    if (
        type_ == "row_count"
        and not any(str(found.get(key)) in known.numbers for key in ("min", "max"))
        and found.get("min") != 1
    ):
        return None, []
    return found, gone


# ---- what the request spells out ------------------------------------------------------------------------------------


def merged(
    answered: Sequence[Mapping[str, Any]], stated: Sequence[Step], *, at_end: bool = False, text: str = ""
) -> list[dict[str, Any]]:
    """Return the steps of an answer with those that the request spells out put in their place; new ones `at_end`."""
    result: list[dict[str, Any]] = [dict(step) for step in answered]
    last = -1
    for step in stated:
        index = _match(result, step.config)
        if index is None:
            rank = _ORDER_OF_STEPS.get(str(step.config["type"]), 1 if at_end else 0)
            last = max(last + 1, _before(text, result, step.start)) if rank == 0 else len(result)
            last = min(last, len(result))
            result.insert(last, _plain_copy(step.config))
        else:
            result[index] = _joined(result[index], step.config)
            last = max(last, index)
    return result


def _before(text: str, steps: Sequence[Mapping[str, Any]], start: int) -> int:
    """Return how many of the first steps speak of what stands before a place of the request."""
    low = text.lower()
    count = 0
    for step in steps:
        places = [at for name in _names_in(step) if (at := low.find(name)) >= 0]
        if not places or min(places) >= start:
            break
        count += 1
    return count


def arranged(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return steps in an order in which an aggregate comes after what needs the columns that it leaves out."""
    index = next((n for n, step in enumerate(steps) if step.get("type") == "aggregate"), None)
    if index is None:
        return list(steps)
    made = steps[index]
    given = {str(name).lower() for name in (*(made.get("group_by") or ()), *(made.get("columns") or {}))}
    moved: list[dict[str, Any]] = []
    stay: list[dict[str, Any]] = []
    for step in steps[index + 1 :]:
        names = _columns_of(step)
        (
            stay
            if not names or names & given or step.get("type") in ("limit", "sort", "union", "sql", "join")
            else moved
        ).append(step)
    return [*steps[:index], *moved, made, *stay]


def _columns_of(step: Mapping[str, Any]) -> set[str]:
    """Return the names that a step reads, as far as they can be told."""
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    found: set[str] = set()
    if isinstance(step.get("where"), str):
        try:
            return {column.name.lower() for column in parse_one(step["where"], dialect="duckdb").find_all(exp.Column)}
        except SqlglotError:
            return set()
    for key in ("columns", "keys"):
        value = step.get(key)
        if step.get("type") == "derive" and isinstance(value, Mapping):
            for one in value.values():
                found |= {word.lower() for word in identifiers(re.sub(r"'[^']*'", "", str(one)))}
        elif isinstance(value, Mapping | list):
            found |= {str(name).lower() for name in value}
    return found


def _plain_copy(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: copy.deepcopy(value) for key, value in config.items()}


def _match(steps: Sequence[Mapping[str, Any]], stated: Mapping[str, Any]) -> int | None:
    """Return the index of the step that says what `stated` says, in other words."""
    wanted = _names_in(stated)
    for index, step in enumerate(steps):
        if step.get("type") != stated["type"]:
            continue
        if stated["type"] in ("limit", "sort", "deduplicate", "row_count", "select"):
            return index
        if stated["type"] in ("range", "accepted_values"):
            if step.get("column") == stated["column"]:
                return index
        elif wanted & _names_in(step):
            return index
    return None


def _names_in(step: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for key, value in step.items():
        if key == "type":
            continue
        parts = (
            [*value, *value.values()]
            if isinstance(value, Mapping)
            else value
            if isinstance(value, list | tuple)
            else [value]
        )
        for part in parts:
            found |= {word.lower() for word in identifiers(str(part))}
    return found


def _joined(step: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of an answer with what the request spells out in place of its own words for that."""
    type_ = stated["type"]
    if type_ in ("rename", "cast", "mask", "fill_null"):
        mine = dict(stated["columns"])
        values = {str(value).lower() for value in mine.values()} if type_ == "rename" else set()
        others = {
            name: value
            for name, value in dict(step.get("columns") or {}).items()
            if name not in mine and name.lower() not in values and str(value).lower() not in values
        }
        return {**step, "columns": {**mine, **others}}
    if type_ == "filter":
        return {**step, "where": _conjunction(str(step.get("where", "")), str(stated["where"]))}
    if type_ in ("not_null", "unique", "drop"):
        names = (
            list(dict.fromkeys([*stated["columns"], *(step.get("columns") or [])]))
            if type_ == "not_null"
            else list(stated["columns"])
        )
        return {**step, **stated, "columns": names}
    if type_ == "deduplicate":
        return {**step, **stated}
    return _plain_copy(stated)


def _conjunction(answered: str, stated: str) -> str:
    """Return `stated` and those conditions of `answered` that speak of other columns."""
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    mine = {word.lower() for word in identifiers(stated)}
    try:
        tree = parse_one(answered, dialect="duckdb")
    except SqlglotError:
        return stated
    parts = list(tree.flatten()) if isinstance(tree, exp.And) else [tree]
    rest = [
        part.sql(dialect="duckdb")
        for part in parts
        if part.find(exp.Column) is not None
        and not {column.name.lower() for column in part.find_all(exp.Column)} & mine
    ]
    return " and ".join([stated, *rest]) if rest else stated


# ---- what stands at the top -----------------------------------------------------------------------------------------


def _top(request: AuthorRequest, grounds: Grounds, body: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    top = dict(grounds.top)
    found: dict[str, Any] = {"dag_id": top.pop("dag_id", None) or _dag_id(grounds, body, catalogue)}
    found["description"] = _description(request.text)
    schedule = top.pop("schedule", None)
    if schedule is not None:
        found["schedule"] = schedule
    policies = catalogue.policies
    tags = list(dict.fromkeys([*top.pop("tags", []), *policies.required_tags]))
    if tags:
        found["tags"] = tags
    if len(policies.owners) == 1 and "owner" not in top:
        top["owner"] = policies.owners[0]
    if top.get("catchup") and "start_date" not in top:
        del top["catchup"]
    return {**found, **top}


def _description(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def _dag_id(grounds: Grounds, body: Mapping[str, Any], catalogue: Catalogue) -> str:
    """Return a name after the destination, or the source, and how often it runs; one that no other config has."""
    target = body.get("destination") or {}
    target = target[0] if isinstance(target, list) and target else target
    name = ""
    for end in (target, body.get("source") or {}):
        if isinstance(end, Mapping) and (end.get("table") or end.get("path") or end.get("endpoint")):
            name = constraints.source_names(
                [
                    End(
                        {
                            key: value if isinstance(value, str) else str(value[0])
                            for key, value in end.items()
                            if key in ("table", "path", "endpoint") and value
                        }
                    )
                ]
            )[0]
            if name != "source1":
                break
    name = re.sub(r"[^A-Za-z0-9_]", "_", name or "pipeline").strip("_").lower() or "pipeline"
    name = name if name[0].isalpha() else f"p_{name}"
    schedule = grounds.top.get("schedule")
    word = next((word for preset, word in _TIME_NAMES if schedule == preset), "")
    if isinstance(schedule, str) and re.fullmatch(r"\d+ [\d,]+ \* \* (?:\*|1-5)", schedule):
        word = "daily"
    base = f"{name}_{word}" if word and not name.endswith(word) else name
    unique, number = base, 2
    while unique in catalogue.dag_ids:
        unique, number = f"{base}_{number}", number + 1
    return unique[:200]


def _pinned(config: dict[str, Any], pinned: Mapping[str, Any]) -> dict[str, Any]:
    """Let pinned parameters win over everything."""
    for name, value in pinned.items():
        pointer = name if name.startswith("/") else f"/{escape(name)}"
        holder: Any = config
        for part in pointer.split("/")[1:-1]:
            holder = holder.setdefault(part, {}) if isinstance(holder, dict) else holder
        config = patch(config, [Operation("add", pointer, value)])
    return config


# ---- what was assumed -----------------------------------------------------------------------------------------------


def assumptions_of(
    config: Mapping[str, Any],
    grounds: Grounds,
    found: Sequence[Extracted],
    request: AuthorRequest,
    catalogue: Catalogue,
) -> list[Assumption]:
    """Return the values of a config that stand nowhere in the request."""
    known = _Known(request, catalogue, found)
    text = request.text.lower()
    assumed: list[Assumption] = []
    if "dag_id" not in grounds.top and "dag_id" not in request.pinned:
        assumed.append(Assumption("/dag_id", config.get("dag_id"), "made from the destination's name"))
    if (schedule := next((one for one in found if one.kind == "schedule"), None)) and not schedule.sure:
        assumed.append(Assumption("/schedule", schedule.value, "the time of day is not said"))
    for key in constraints.ANSWERED:
        for pointer, value in _leaves(config.get(key), f"/{key}"):
            if pointer.endswith("/type") or isinstance(value, bool):
                continue
            if not _stands(value, text, known, found) and pointer not in request.pinned:
                assumed.append(Assumption(pointer, value, "stands nowhere in the request"))
    return assumed


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{pointer}/{escape(key)}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{pointer}/{index}")
    elif value is not None:
        yield pointer, value


_STANDS: tuple[Callable[[Any, str], bool], ...] = (lambda value, text: str(value).lower() in text,)


def _stands(value: Any, text: str, known: _Known, found: Sequence[Extracted]) -> bool:
    if any(test(value, text) for test in _STANDS):
        return True
    for one in found:
        if one.value == value or (isinstance(one.value, tuple) and value in one.value):
            return True
    names = identifiers(str(value))
    return bool(names) and all(map(known.has, names))
