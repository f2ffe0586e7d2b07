"""Steps that follow from how a clause is built rather than from one verb: conditions as SQL writes them, cases, what
stands for a missing value, and the highest of many.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dataforge.authoring.words import COLUMNS, STOPWORDS

_Q = "`\"'„“”‚‘’"
_N = rf"[{_Q}]?[A-Za-z_]\w*[{_Q}]?"
_LITERAL = (
    r"(?:'(?P<quoted>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<number>-?\d+(?:\.\d+)?)(?![\w.]\d)|(?P<bool>true|false)\b)"
)
_COMPARED = re.compile(
    rf"(?P<name>\b[A-Za-z_]\w*)\s*(?:(?P<op><>|!=|<=|>=|==|=|<|>)|\b(?P<is>is|ist)(?P<not>\s+not|\s+nicht)?(?=\s+(?:true|false)\b))\s*{_LITERAL}"
    r"|(?P<name2>\b[A-Za-z_]\w*)\s+is\s+(?P<not2>not\s+)?null\b",
    re.I,
)
_AND_OR = re.compile(r"\s*\b(?P<word>and|or|und|oder)\s+", re.I)
_AWAY = re.compile(
    r"\b(?:leave|leaving|left)\s+out\b|\b(?:without|except(?:ing)?|ignor\w+|exclud\w+|discard\w*|skip\w*|forget\w*|drop\w*|remov\w+|throw\w*"
    r"|filter(?:ed|ing)?\s+out|get\s+rid|omit\w*|not|no|never|ohne|außer|verwirf|verwerfen|ignorier\w*|weglassen|raus|entfern\w*|nicht|kein\w*)\b",
    re.I,
)
_ONLY = re.compile(
    r"\b(?:only|just|keep\w*|where|whose|(?:rows|records|those|ones|all)\s+(?:with|that|which)|filter\w*|nur|wo|deren|behalt\w*|bei\s+denen|(?:zeilen|sätze)\s+mit|lediglich|ausschließlich)\b",
    re.I,
)
_BREAK = re.compile(r"[;!?\n]|\.(?=\s)|,(?=\s)")

_NO_VALUE = r"(?:null|missing|empty|blank|not\s+(?:given|set|there|filled)|unset|leer|fehlt|fehlend|nicht\s+gesetzt)"
_VALUE = (
    rf"(?:[{_Q}](?P<text>[^{_Q}]*)[{_Q}]|(?P<figure>-?\d+(?:\.\d+)?)(?![\w.]\d)"
    r"|(?P<word>zero|null|true|false|[A-Za-z]\w*))"
)
_FILL = (
    re.compile(
        rf"\b(?:where|if|when|wherever|whenever|wo|wenn|falls)\s+(?:the\s+|there\s+is\s+no\s+|die\s+|der\s+|das\s+)?(?P<name>{_N})\s+"
        rf"(?:is\s+|are\s+|ist\s+|sind\s+)?{_NO_VALUE}\s*,?\s*(?:then\s+|dann\s+)?"
        rf"(?:use|put|set|take|assume|write|insert|fill\s+in|make\s+it|it\s+(?:is|becomes)|nimm|setze?|schreibe?|verwende)\s+(?:it\s+to\s+|in\s+)?{_VALUE}",
        re.I,
    ),
    re.compile(
        rf"\b(?:missing|empty|null|blank|fehlende[nrs]?|leere[nrs]?)\s+(?:values?\s+(?:in|of|for)\s+|werte?\s+(?:in|von)\s+)?(?P<name>{_N})\s+"
        rf"(?:is|are|becomes?|means?|counts?\s+as|gets?|should\s+be(?:come)?|shall\s+be|wird|werden|gilt\s+als|soll)\s+(?:set\s+to\s+|filled\s+with\s+|zu\s+)?{_VALUE}",
        re.I,
    ),
    re.compile(
        rf"(?P<name>{_N})\s+(?:(?:is|are|ist)\s+)?(?:missing|empty|null|not\s+given|fehlt|leer)\s*(?:,\s*)?(?:means?|counts?\s+as|becomes?|stands?\s+for|=|:|->|→|bedeutet|heißt|wird)\s+{_VALUE}",
        re.I,
    ),
    re.compile(rf"\b(?:default|standard(?:wert)?)\s+(?P<name>{_N})\s+(?:to|is|auf|ist)\s+{_VALUE}", re.I),
)

_MOST = (
    r"(?P<most>highest|most|largest|biggest|greatest|best|top|longest|newest|latest"
    r"|höchste\w*|meiste\w*|größte\w*|beste\w*|teuerste\w*|neueste\w*)"
)
_LEAST = (
    r"(?P<least>lowest|least|smallest|fewest|shortest|oldest|cheapest|fastest"
    r"|niedrigste\w*|wenigste\w*|kleinste\w*|älteste\w*|schnellste\w*|billigste\w*)"
)
_FROM_TWO = (
    ("two", "zwei"),
    ("three", "drei"),
    ("four", "vier"),
    ("five", "fünf"),
    ("six", "sechs"),
    ("seven", "sieben"),
    ("eight", "acht"),
    ("nine", "neun"),
    ("ten", "zehn"),
    ("eleven", "elf"),
    ("twelve", "zwölf"),
)
_COUNTS: Mapping[str, int] = {
    **{word: number for number, words in enumerate(_FROM_TWO, 2) for word in words},
    "fifteen": 15,
    "twenty": 20,
    "twenty-five": 25,
    "thirty": 30,
    "fifty": 50,
    "hundred": 100,
    "fünfzehn": 15,
    "zwanzig": 20,
    "dreißig": 30,
    "fünfzig": 50,
    "hundert": 100,
}
_COUNT = rf"(?P<n>\d[\d,._]*|{'|'.join(sorted(_COUNTS, key=len, reverse=True))})"
_TOP = (
    re.compile(
        rf"\b{_COUNT}\s+(?:\w+\s+){{0,2}}?(?:with|having|that\s+have|mit)\s+(?:the\s+|den\s+|dem\s+|der\s+)?(?:{_MOST}|{_LEAST})\s+(?P<name>{_N})",
        re.I,
    ),
    re.compile(
        rf"\b(?:the|die|den)\s+{_COUNT}\s+(?:{_MOST}|{_LEAST})\b(?:\s+\w+){{0,2}}?\s+(?:by|in\s+terms\s+of|according\s+to|measured\s+by|nach|gemessen\s+an)\s+(?P<name>{_N})",
        re.I,
    ),
    re.compile(
        rf"\b(?:the|die|den)?\s*top[\s-]+{_COUNT}\b(?:\s+\w+){{0,2}}?\s+(?:by|nach)\s+(?P<name>{_N})(?P<most>)(?P<least>)",
        re.I,
    ),
    re.compile(
        rf"\b(?:(?P<most>last|latest|newest|most\s+recent|letzten|neuesten|jüngsten)|(?P<least>first|oldest|earliest|ersten|ältesten))\s+{_COUNT}\s+\w+(?:\s+\w+){{0,3}}?\s+(?:by|according\s+to|nach)\s+(?P<name>{_N})",
        re.I,
    ),
    re.compile(rf"\b(?:the|die|den)\s+{_COUNT}\s+(?:{_MOST}|{_LEAST})\b(?P<name>)", re.I),
)
_FIRST = re.compile(rf"\b(?:{_MOST}|{_LEAST})\s+(?:\w+\s+)?(?:first|zuerst|zuoberst)\b", re.I)

_CASE = re.compile(
    rf"[{_Q}](?P<value>[^{_Q}]+)[{_Q}]\s+(?:if|when|where|for|wenn|falls|bei)\s+(?P<test>(?P<name>{_N})\s*(?P<op><=|>=|<>|!=|<|>|=|"
    r"(?:(?:it\s+)?is\s+)?(?:below|under|less\s+than|above|over|more\s+than|greater\s+than|at\s+least|at\s+most)|unter|über|mindestens|höchstens|kleiner\s+als|größer\s+als)\s*"
    rf"(?:'(?P<text>[^']*)'|(?P<figure>-?\d+(?:\.\d+)?)))",
    re.I,
)
_ELSE = re.compile(
    rf"\b(?:otherwise|else|in\s+all\s+other\s+cases|sonst|andernfalls|ansonsten)\s+(?:it\s+is\s+)?[{_Q}](?P<value>[^{_Q}]+)[{_Q}]",
    re.I,
)
_CASE_NAME = re.compile(
    rf"\b(?:column|spalte|field|feld)\s+(?:called\s+|named\s+|namens\s+)?(?P<name>{_N})|\b(?:add|make|derive|compute|create|ergänze|berechne)\s+(?:a\s+|an\s+|eine?\s+)?(?:new\s+|neue\s+)?(?!column\b|field\b|spalte\b|feld\b)(?P<name2>{_N})",
    re.I,
)
_OPERATORS: Mapping[str, str] = {
    "below": "<", "under": "<", "less": "<", "unter": "<", "kleiner": "<", "above": ">", "over": ">", "more": ">",
    "greater": ">", "über": ">", "größer": ">", "least": ">=", "mindestens": ">=", "most": "<=", "höchstens": "<=",
}  # fmt: skip


@dataclass(frozen=True)
class Clause:
    """A step and its place; `open` says that what it sorts by is the last figure that was computed."""

    config: Mapping[str, Any]
    start: int
    end: int
    open: bool = False


def _is_name(name: str) -> bool:
    bare = name.strip(_Q)
    return bool(bare) and bare.lower() not in STOPWORDS - COLUMNS


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def conditions(text: str) -> Iterator[Clause]:
    """Yield filters that a request writes as SQL does: "(kind = 'x')", "only level > 3 and open is true".

    Where words join two of them by "or", only the words tell what belongs together, and nothing is yielded.
    """
    found = [*_conditions(text)]
    for one, other in itertools.pairwise(found):
        between = text[one.end : other.start]
        if re.search(r"\b(?:or|oder)\b", between, re.I) and not re.search(r"[.;!?]\s", between):
            return
    yield from found


def _conditions(text: str) -> Iterator[Clause]:
    at = 0
    while first := _COMPARED.search(text, at):
        at = first.end()
        begin, parts, end = first.start(), [_told(first)], first.end()
        while (joint := _AND_OR.match(text, end)) and (more := _COMPARED.match(text, joint.end())):
            parts += ["or" if joint["word"].lower() in ("or", "oder") else "and", _told(more)]
            end = more.end()
        at = end
        if None in parts:
            continue
        before = text[:begin].rstrip()
        clause = before[max((stop.end() for stop in _BREAK.finditer(before)), default=0) :]
        bracketed = before.endswith("(") and text[end:].lstrip().startswith(")")
        if bracketed:
            clause = clause[:-1]
        lead = clause[-70:]
        if not bracketed and not re.search(rf"(?:{_ONLY.pattern}|{_AWAY.pattern})[\w\s]{{0,30}}$", lead, re.I):
            continue
        if bracketed and re.search(
            r"\b(?:default|standard|if|when|wenn|falls|column|spalte|as|als|check|must|should)\s*\w*$", lead, re.I
        ):
            continue
        away = [*_AWAY.finditer(lead)]
        only = [*_ONLY.finditer(lead)]
        negate = bool(away) and not (only and only[-1].start() > away[-1].end() + 25)
        after = text[end : end + 30]
        negate = (
            negate
            or re.match(r"\)?[\w\s]{0,12}\b(?:weglassen|raus|entfernen|verwerfen|ignorieren)\b", after, re.I)
            is not None
        )
        where = " ".join(str(part) for part in parts)
        yield Clause({"type": "filter", "where": _negated(where, len(parts)) if negate else where}, begin, end)


def _told(match: re.Match[str]) -> str | None:
    if match["name2"]:
        return f"{match['name2']} is {'not ' if match['not2'] else ''}null" if _is_name(match["name2"]) else None
    if not _is_name(match["name"]):
        return None
    operator = {"!=": "<>", "==": "="}.get(match["op"] or "", match["op"] or ("<>" if match["not"] else "="))
    value = match["quoted"] if match["quoted"] is not None else match["double"]
    literal = quoted(value) if value is not None else match["number"] or match["bool"].lower()
    return f"{match['name']} {operator} {literal}"


def _negated(where: str, parts: int) -> str:
    if parts > 1:
        return f"not ({where})"
    if where.endswith(" is null"):
        return where.removesuffix(" is null") + " is not null"
    if where.endswith(" is not null"):
        return where.removesuffix(" is not null") + " is null"
    other = {"=": "<>", "<>": "=", ">": "<=", "<": ">=", ">=": "<", "<=": ">"}
    name, operator, value = where.split(" ", 2)
    return f"{name} {other[operator]} {value}"


def fills(text: str) -> Iterator[Clause]:
    """Yield what stands in for missing values: "where age is null use 0", "missing age counts as 0"."""
    for pattern in _FILL:
        for match in pattern.finditer(text):
            word = match["word"]
            if not _is_name(match["name"]) or (
                word and (word.lower() in STOPWORDS or word.lower() == "null") and word != "zero"
            ):
                continue
            value: Any = match["text"]
            if value is None:
                figure = match["figure"]
                value = (
                    (float(figure) if "." in figure else int(figure)) if figure else {"zero": 0}.get(word.lower(), word)
                )
                value = {"true": True, "false": False}.get(str(value).lower(), value) if word else value
            yield Clause({"type": "fill_null", "columns": {match["name"].strip(_Q): value}}, *match.span())


def tops(text: str) -> Iterator[Clause]:
    """Yield sort and limit of "the 20 rows with the highest price", "the ten oldest by born_on", "highest first"."""
    for pattern in _TOP:
        for match in pattern.finditer(text):
            number = match["n"].lower()
            count = _COUNTS.get(number) or int(re.sub(r"\D", "", number) or 0)
            name = (match["name"] or "").strip(_Q)
            if not count or (name and not _is_name(name)):
                continue
            down = bool(match["most"]) or not match["least"]
            if name:
                yield Clause({"type": "sort", "by": [f"{name} desc" if down else name]}, *match.span())
            else:
                yield Clause({"type": "sort", "by": ["desc" if down else "asc"]}, *match.span(), open=True)
            yield Clause({"type": "limit", "count": count}, *match.span())
            return
    if first := _FIRST.search(text):
        yield Clause({"type": "sort", "by": ["desc" if first["most"] else "asc"]}, *first.span(), open=True)


def cases(text: str) -> Iterator[Clause]:
    """Yield the column that a request makes of cases: "size: 'short' if length < 3, otherwise 'long'"."""
    found = [*_CASE.finditer(text)]
    if not found:
        return
    lead = text[: found[0].start()]
    names = [match["name"] or match["name2"] for match in _CASE_NAME.finditer(lead)]
    names = [name.strip(_Q) for name in names if _is_name(name)]
    if not names or len(lead) - lead.rfind(names[-1]) > 60:
        return
    column = ""
    whens = []
    for match in found:
        name = match["name"].strip(_Q)
        column = column if name.lower() in ("it", "this", "es", "that") else name
        operator = match["op"].lower()
        operator = (
            operator
            if operator[0] in "<>=!"
            else next((sign for word, sign in _OPERATORS.items() if word in operator), "")
        )
        if not column or not operator:
            return
        value = quoted(match["text"]) if match["text"] is not None else match["figure"]
        whens.append(f"when {column} {operator.replace('!=', '<>')} {value} then {quoted(match['value'])}")
    end = found[-1].end()
    last = _ELSE.search(text, end, end + 60)
    if last:
        whens.append(f"else {quoted(last['value'])}")
        end = last.end()
    yield Clause(
        {"type": "derive", "columns": {names[-1]: f"case {' '.join(whens)} end"}},
        found[0].start() - len(lead) + lead.rfind(names[-1]),
        end,
    )
