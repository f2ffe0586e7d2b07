"""What a draft shows of the facts that are wanted: one `Fact` for each, right or wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.authoring.requests import Has, Names, OneOf, Step, Wanted
from dataforge.authoring.base import Draft

_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True)
class Fact:
    """One thing that a right answer shows. `kind` groups failures: outcome, schedule, source, keys, steps …"""

    kind: str
    place: str
    right: bool
    wanted: Any = None
    found: Any = None


def judge(wanted: Wanted, draft: Draft) -> list[Fact]:
    """Return all facts of a request, as the draft shows them."""
    if wanted.outcome == "refused":
        return [Fact("outcome", "refused", draft.refused and draft.config is None, "refused", _outcome(draft))]
    if wanted.outcome == "question":
        asked = bool(draft.questions) and not draft.refused
        return [Fact("outcome", "question", asked, "question", _outcome(draft))]
    config: Mapping[str, Any] = draft.config or {}
    facts = [Fact("outcome", "config", _outcome(draft) == "config", "config", _outcome(draft))]
    for key, value in {"schedule": None, **wanted.top}.items():
        facts.append(_fact("schedule" if key == "schedule" else "top", f"/{key}", value, config.get(key)))
    surplus: list[str] = []
    sources = [config["source"]] if config.get("source") else list(dict(config.get("sources") or {}).values())
    facts += _ends("source", wanted.sources, sources)
    target = config.get("destination") or []
    targets = target if isinstance(target, list | tuple) else [target]
    facts += _ends("destination", wanted.destinations, targets)
    for name, ends, meant in (("source", sources, wanted.sources), ("destination", targets, wanted.destinations)):
        surplus += [name] * (len(ends) - len(meant))
    for kind, steps in (("transforms", wanted.steps), ("checks", wanted.checks)):
        if steps is not None:
            found, left = _steps(kind, steps, config.get(kind) or ())
            facts += found
            surplus += left
    facts.append(Fact("surplus", "parts", not surplus, [], surplus))
    return facts


def _outcome(draft: Draft) -> str:
    if draft.refused:
        return "refused"
    return "question" if draft.questions else "config" if draft.config is not None else "nothing"


def _fact(kind: str, place: str, wanted: Any, found: Any) -> Fact:
    return Fact(kind, place, agrees(place, wanted, found), _shown(wanted), found)


def _shown(wanted: Any) -> Any:
    if isinstance(wanted, Names):
        return list(wanted.names)
    if isinstance(wanted, Has):
        return f"with {', '.join(wanted.words)}"
    return [_shown(one) for one in wanted.values] if isinstance(wanted, OneOf) else wanted


def _ends(role: str, wanted: Sequence[Mapping[str, Any]], found: Sequence[Any]) -> Iterator[Fact]:
    left = [one for one in found if isinstance(one, Mapping)]
    for number, end in enumerate(wanted):
        best = max(left, key=lambda one: sum(agrees(k, v, one.get(k)) for k, v in end.items()), default=None)
        if best is not None:
            left.remove(best)
        for key, value in end.items():
            kind = (
                "disposition"
                if key in ("write_disposition", "merge_strategy")
                else "keys"
                if key in ("primary_key", "merge_key", "cursor_field", "lookback")
                else role
            )
            yield _fact(kind, f"/{role}/{number}/{key}", value, None if best is None else best.get(key))


def _steps(kind: str, wanted: Sequence[Step], found: Sequence[Any]) -> tuple[list[Fact], list[str]]:
    left = [one for one in found if isinstance(one, Mapping)]
    facts: list[Fact] = []
    for number, step in enumerate(wanted):

        def score(one: Mapping[str, Any], step: Step = step) -> int:
            return sum(agrees(key, value, one.get(key)) for key, value in step.values.items())

        fitting = [one for one in left if one.get("type") in step.types]
        best = max(fitting, key=score, default=None)
        if best is not None:
            left.remove(best)
        place = f"/{kind}/{number}"
        facts.append(
            Fact(kind, f"{place}/type", best is not None, "|".join(step.types), [str(one.get("type")) for one in left])
        )
        for key, value in step.values.items():
            if best is None:
                facts.append(Fact(kind, f"{place}/{key}", False, _shown(value)))
            else:
                facts.append(_fact(kind, f"{place}/{key}", value, best.get(key)))
    return facts, [str(one.get("type")) for one in left]


def agrees(place: str, wanted: Any, found: Any) -> bool:
    """Return whether a value is the wanted one, or says the same."""
    key = place.rpartition("/")[2]
    if isinstance(wanted, OneOf):
        return any(agrees(place, one, found) for one in wanted.values)
    if isinstance(wanted, Names):
        names = list(found) if isinstance(found, Mapping | list | tuple) else [found]
        return {str(one).lower() for one in names} == {name.lower() for name in wanted.names}
    if isinstance(wanted, Has):
        text = re.sub(r"\s+|\"", "", json.dumps(found, ensure_ascii=False, default=str).lower())
        return all(re.sub(r"\s+|\"", "", word.lower()) in text for word in wanted.words)
    if wanted is None or found is None:
        return bool(wanted is found)
    if key == "schedule":
        return bool(_cron(wanted) == _cron(found))
    if key in ("where", "expression", "query"):
        return _sql(str(wanted)) == _sql(str(found))
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping) or set(wanted) != set(found):
            return key == "on" and isinstance(found, Mapping) and {v: k for k, v in found.items()} == dict(wanted)
        return all(_value(wanted[name]) == _value(found[name]) for name in wanted)
    if isinstance(wanted, list | tuple) or isinstance(found, list | tuple):
        both = [[one] if isinstance(one, str) else list(one) if one else [] for one in (wanted, found)]
        same = [[_value(one) for one in values] for values in both]
        return same[0] == same[1] or (key in _UNORDERED and sorted(map(str, same[0])) == sorted(map(str, same[1])))
    return bool(_value(wanted) == _value(found))


_UNORDERED = frozenset({"primary_key", "group_by", "keys", "values", "tags", "on", "columns", "merge_key"})


def _value(value: Any) -> Any:
    """Return a value in the form in which it is compared: types of SQL by their one name, texts without case."""
    if not isinstance(value, str):
        return value
    low = value.strip().lower()
    if low.split("(")[0] in ("integer", "int", "bigint", "decimal", "numeric", "varchar", "text", "string", "date"):
        import sqlglot.expressions as exp

        built = exp.DataType.build(low, dialect="duckdb").sql("duckdb")
        return {"BIGINT": "INT"}.get(built, built)
    return low


def _cron(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = _PRESETS.get(value, value).lower().removeprefix("every ")
    if match := re.fullmatch(r"(\d+)\s*(m|h|d)\w*", text):
        number, unit = int(match[1]), match[2]
        if unit == "m" and number < 60 and 60 % number == 0:
            text = f"*/{number} * * * *"
        elif unit == "h" and number < 24 and 24 % number == 0:
            text = f"0 */{number} * * *"
        elif unit == "d" and number == 1:
            text = "0 0 * * *"
    parts = text.split()
    if len(parts) != 5:
        return text
    for number, name in enumerate(_DAYS):
        parts[4] = parts[4].replace(name, str(number))
    parts[4] = {"7": "0"}.get(parts[4], parts[4])
    parts = ["*" if part == "*/1" else re.sub(r"\b0+(?=\d)", "", part) for part in parts]
    if parts[3] in ("1,4,7,10", "*/3"):
        parts[3] = "*/3"
    return " ".join(parts)


def _sql(text: str) -> str:
    """Return SQL in a form in which spelling, case of names and the order of AND and OR don't matter."""
    import sqlglot
    import sqlglot.expressions as exp
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.simplify import simplify

    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
    except SqlglotError:
        return text
    for name in tree.find_all(exp.Identifier):
        name.set("this", str(name.this).lower())
        name.set("quoted", False)
    tree = simplify(tree, dialect="duckdb")
    for joined in tree.find_all(exp.Is):
        if isinstance(joined.expression, exp.Boolean):
            joined.replace(exp.EQ(this=joined.this, expression=joined.expression))
    return _sorted(tree)


def _sorted(tree: Any) -> str:
    import sqlglot.expressions as exp

    if isinstance(tree, exp.Paren):
        return _sorted(tree.this)
    if isinstance(tree, exp.And | exp.Or):
        word = " AND " if isinstance(tree, exp.And) else " OR "
        return "(" + word.join(sorted(_sorted(part) for part in tree.flatten())) + ")"
    return str(tree.sql("duckdb"))
