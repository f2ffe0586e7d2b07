"""SQL that is nearly right: operators of other languages, stray words and signs, names that are nearly right."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataforge.authoring.fixers import aliases
from dataforge.authoring.fixers.case import Case, Proposal, nearest

_STRING = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


def sql_names(case: Case) -> Iterator[Proposal]:
    """Correct a column or input name inside an expression."""
    text = case.value
    wrong = re.search(r"'([^']*)' is not known", case.finding.message)
    if not isinstance(text, str) or not wrong or text == wrong[1]:
        return
    name = wrong[1]
    near = case.meant or nearest(name, case.finding.allowed)
    if f'"{name}"' in text:
        literal = "'" + name.replace("'", "''") + "'"
        if not near or " " in name:
            yield case.replace(text.replace(f'"{name}"', literal), f"{name!r} is a text, which stands in single quotes")
    if near:
        new = _replace_word(text, name, near)
        if new != text:
            yield case.replace(new, f"the nearest known name to {name!r} is {near!r}")
    if f'"{name}"' in text:
        literal = "'" + name.replace("'", "''") + "'"
        yield case.replace(text.replace(f'"{name}"', literal), f"{name!r} is a text, which stands in single quotes")


def sql_functions(case: Case) -> Iterator[Proposal]:
    """Call a function by the name that is allowed."""
    text = case.value
    wrong = re.search(r"function '([^']*)'", case.finding.message)
    if not isinstance(text, str) or not wrong:
        return
    for new, reason in (
        (aliases.FUNCTIONS.get(aliases.plain(wrong[1])), "is called"),
        (case.meant, "is nearest to"),
    ):
        if new:
            changed = re.sub(rf"(?i)(?<![\w.]){re.escape(wrong[1])}(?=\s*\()", new, text)
            if changed != text:
                told = f"{wrong[1]!r} is called {new!r}" if reason == "is called" else f"{new!r} {reason} {wrong[1]!r}"
                yield case.replace(changed, told)


def sql_text(case: Case) -> Iterator[Proposal]:
    """Write an expression as SQL: `=` for `==`, no `where` before it, no `;` behind it, quotes and brackets closed."""
    text = case.value
    if not isinstance(text, str):
        return
    steps = (
        (lambda t: re.sub(r"[;\s]+\Z", "", t), "no ';' at the end"),
        (lambda t: re.sub(r"(?i)\A\s*(?:where|having|and|select|set)\s+", "", t), "without the word before it"),
        (_straight_quotes, "straight quotes"),
        (_outside(r"==+", "="), "'=' compares"),
        (_outside(r"&&", " and "), "'and' for '&&'"),
        (_outside(r"\|\|(?=[^|]*[=<>])", " or "), "'or' for '||'"),
        (_outside(r"!(?=\s*\()", "not "), "'not' for '!'"),
        (_outside(r"(?i)\bis not none\b", "is not null"), "null for None"),
        (_outside(r"(?i)\b(is|=|!=|<>)\s*none\b", r"\1 null"), "null for None"),
        (_outside(r"(?i)(!=|<>)\s*null\b", "is not null"), "'is not null'"),
        (_outside(r"=>", ">="), "'>=' for '=>'"),
        (_outside(r"=<", "<="), "'<=' for '=<'"),
        (_outside(r"(?i)\A\s*if\s+", ""), "without 'if'"),
        (lambda t: re.sub(r"\A\s*(?:\{\{|\$\()\s*(.*?)\s*(?:\}\}|\))\s*\Z", r"\1", t), "without template brackets"),
        (_balanced, "brackets closed"),
        (_closed, "quotes closed"),
    )
    done = text
    reasons = []
    for step, reason in steps:
        changed = step(done)
        if changed != done:
            yield case.replace(step(text), f"SQL is written so: {reason}")
            done = changed
            reasons.append(reason)
    if len(reasons) > 1:
        yield case.replace(done, f"SQL is written so: {', '.join(reasons)}")
    whole = re.match(r"(?is)\A\s*select\s+\*\s+from\s+\w+\s+where\s+(.+?);?\s*\Z", text)
    if whole and case.key in ("where", "expression"):
        yield case.replace(whole[1], "the condition alone stands here")


def not_aggregated(case: Case) -> Iterator[Proposal]:
    """Group by a column that stands in the group as it is."""
    named = re.search(r"column '([^']*)' has several values", case.finding.message)
    block = case.block
    if named and block is not None and isinstance(case.value, str) and case.value.strip().lower() == named[1].lower():
        yield case.replace(f"any_value({case.value})", f"one of the values of {named[1]!r} in the group")


def _outside(pattern: str, new: str):  # type: ignore[no-untyped-def]
    """Return a function that replaces a pattern outside of quoted texts and names."""

    def change(text: str) -> str:
        parts = re.split(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")", text)
        return "".join(part if index % 2 else re.sub(pattern, new, part) for index, part in enumerate(parts)).strip()

    return change


def _straight_quotes(text: str) -> str:
    return text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0xB4: "'"})


def _balanced(text: str) -> str:
    bare = _STRING.sub("", text)
    opened, closed = bare.count("("), bare.count(")")
    if opened > closed:
        return text + ")" * (opened - closed)
    if closed > opened and text.rstrip().endswith(")" * (closed - opened)):
        return text.rstrip()[: -(closed - opened)]
    return text


def _closed(text: str) -> str:
    return text + "'" if text.count("'") % 2 else text


def _replace_word(text: str, word: str, new: str) -> str:
    """Replace a name outside of quoted texts, whatever its letter case."""
    quoted = new if re.match(r"\A[A-Za-z_]\w*\Z", new) else '"' + new.replace('"', '""') + '"'

    def change(match: re.Match[str]) -> str:
        found = match.group()
        if found.startswith("'"):
            return found
        if found.startswith('"'):
            return '"' + new.replace('"', '""') + '"' if found[1:-1] == word else found
        return re.sub(rf"(?i)(?<![\w$.{{]){re.escape(word)}(?![\w(])", lambda _: quoted, found)

    return re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[^'\"]+", change, text)


def sql_types(case: Case) -> Iterator[Proposal]:
    """Correct the name of a type inside an expression."""
    text = case.value
    wrong = re.search(r"type '([^']*)' is not known", case.finding.message)
    if not isinstance(text, str) or not wrong or text.strip().lower() == wrong[1].lower():
        return
    new = aliases.SQL_TYPES.get(aliases.plain(wrong[1])) or case.meant
    if new:
        changed = re.sub(rf"(?i)(\bas\s+|::\s*){re.escape(wrong[1])}\b", rf"\g<1>{new}", text)
        if changed != text:
            yield case.replace(changed, f"type {wrong[1]!r} is called {new!r}")
