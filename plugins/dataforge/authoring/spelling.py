"""Misspelled words of a request put right, where only one word that we know can be meant.

Only the words that say what to do are known here, never names: a column, table or file stays as it is written. A word
is mended when letters are swapped, doubled or missing; another letter makes another word ("loan" is no "load").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

_KNOWN = frozenset(
    re.findall(
        r"\w+",
        """
    load into from table tables column columns rows daily hourly weekly monthly nightly every weekday weekdays
    morning evening midnight hours minutes monday tuesday wednesday thursday friday saturday sunday time
    timezone upsert merge append replace overwrite replacing appending incremental incrementally changed where
    only rename filter remove duplicates duplicate deduplicate aggregate average number group sort sorted
    descending ascending unique never empty connection database schedule pipeline write keep join combine hash
    mask convert integer decimal berlin london täglich stündlich wöchentlich monatlich jeden jede tabelle spalte
    spalten zeilen ersetzen ersetze anhängen einfügen aktualisieren umbenennen entfernen maskieren verbinden
    verknüpfen verbindung schlüssel doppelte dubletten sortieren absteigend summe anzahl durchschnitt werktags
    montags dienstags mittwochs donnerstags freitags samstags sonntags minuten stunden schreiben laden lade hole
    kopiere eindeutig
        """,
    )
)
_OTHER_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    form tale sot very ever were wort lad laden lader row olny type rule merger loaded loader tables filters
    sorts keeps joins where here there then them these times timer item mite emit stat start moth mont hose
    house minute hour table tablet cable able column colon group groups numbers numbered writer writes wide jene
    jedem jeder jedes rename renamed remover removed empty emptied replaced replaces appended appends merged
    merges changes change hashed masked masks maskiert sorter spalten zeile zeilen anzahlen summen ladet geladen
    never nerve lever sever dally hourly dairy diary weekly weakly untied united unite trial trail quiet quite
    mode modem model models marge large emerge mere tales filer upset eery wite
        """,
    )
)
"""Real words that are one slip away from a known one."""
_WORD = re.compile(r"(?<![\w./:@$-])[A-Za-zÄÖÜäöüß]{4,}(?![\w/@:]|\.\w|-\w)")
_PLAIN = str.maketrans({"ä": "a", "ö": "o", "ü": "u"})


@dataclass(frozen=True)
class Mended:
    """A text with its words put right. `words` are (as written, as meant, where in the new text)."""

    text: str
    words: tuple[tuple[str, str, int], ...] = ()

    def place(self, offset: int) -> int:
        """Return where an offset of the new text lies in the text as written."""
        starts = [at for _, _, at in self.words]
        shift = 0
        for written, meant, at in self.words[: bisect_right(starts, offset)]:
            if offset < at + len(meant):
                return at + shift + min(offset - at, len(written))
            shift += len(written) - len(meant)
        return offset + shift


def mend(text: str, names: Iterable[str] = ()) -> Mended:
    """Return a request with its misspelled words put right; `names` are those of things that exist."""
    if text.count("'") + text.count('"') + text.count("`") > 20:
        return Mended(text)
    kept = {name.lower() for name in names}
    parts: list[str] = []
    words: list[tuple[str, str, int]] = []
    done = length = 0
    for match in _WORD.finditer(text):
        word = match.group()
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        if word.lower() in kept or (before in "'\"`(" and after in "'\"`)" and before):
            continue
        meant = _meant(word.lower())
        if meant is None:
            continue
        meant = meant.capitalize() if word[0].isupper() else meant
        parts += [text[done : match.start()], meant]
        length += match.start() - done
        words.append((word, meant, length))
        length += len(meant)
        done = match.end()
    return Mended("".join([*parts, text[done:]]), tuple(words))


@cache
def _meant(word: str) -> str | None:
    if word in _KNOWN or word in _OTHER_WORDS:
        return None
    return _slips().get(word)


@cache
def _slips() -> dict[str, str]:
    """Return what known words become by one slip, each with the word; what two words become is left out."""
    found: dict[str, str | None] = {}
    for word in _KNOWN:
        for one in {*_slips_of(word), word.translate(_PLAIN)} - _KNOWN - _OTHER_WORDS:
            found[one] = word if found.get(one, word) == word else None
    return {one: word for one, word in found.items() if word is not None}


def _slips_of(word: str) -> set[str]:
    """Return a word with two letters swapped, one doubled, or one missing that is neither first nor last."""
    swapped = {word[:n] + word[n + 1] + word[n] + word[n + 2 :] for n in range(1, len(word) - 1)}
    doubled = {word[: n + 1] + word[n:] for n in range(len(word))}
    missing = {word[:n] + word[n + 1 :] for n in range(1, len(word) - 1)} if len(word) > 4 else set()
    return (swapped | doubled | missing) - {word}
