"""When two requests in different words say the same: only if every value, name, number and verb of theirs is the same.

Similarity alone can't tell ("6am" and "7am" are 0.995 alike, append and overwrite 0.971), so it is no reason to give an
earlier answer again. `canonical` leaves of a request what counts: all of it, word for word and in order, but for
politeness, articles and a short list of words that mean the same. Whatever is not known to be harmless counts.
"""

from __future__ import annotations

import re
import unicodedata

_HARMLESS = frozenset(
    (
        *("a", "an", "the", "please", "kindly", "just", "pls", "thanks", "thank", "you", "hi", "hello", "hey", "i"),
        *("we", "want", "need", "would", "like", "could", "can", "me", "us", "for", "pipeline", "to"),
        *("der", "die", "das", "den", "dem", "ein", "eine", "einen", "bitte", "danke", "hallo", "ich", "wir", "möchte"),
    )
)
_SAME = {
    **dict.fromkeys(("load", "copy", "bring", "transfer", "ingest", "import"), "load"),
    **dict.fromkeys(("lade", "kopiere", "übertrage", "importiere"), "lade"),
    **dict.fromkeys(("daily", "everyday"), "daily"),
    **dict.fromkeys(("into", "onto"), "into"),
}
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|[^\s,;!?]+")
_PLAIN = re.compile(r"[^\W\d_]+")
_OPENING = re.compile(
    r"\A(?:please|could you|can you|i (?:want|need|would like) (?:you )?to|we need to|bitte)\b", re.IGNORECASE
)


def canonical(text: str) -> str:
    """Return the request as the values and words that count, in their order.

    "to" is harmless only in the opening words ("I want to load …"): elsewhere it says where data goes.
    """
    text = unicodedata.normalize("NFC", text.strip(" \t\r\n,;:"))
    while (match := _OPENING.match(text)) is not None:
        text = text[match.end() :].lstrip(" ,:")
    kept: list[str] = []
    for token in _TOKEN.findall(text):
        word = token.rstrip(".:") if not token.startswith(("'", '"', "`")) else token
        lower = word.casefold()
        if not _PLAIN.fullmatch(word) or (word != lower and kept):
            if word:
                kept.append(word)  # names, numbers, paths and quoted texts, to the letter
            continue
        if lower == "to":
            kept.append("into")
        elif lower not in _HARMLESS:
            kept.append(_SAME.get(lower, lower))
    return " ".join(kept)


def similarity(one: str, other: str) -> float:
    """Return how alike two texts are, by their groups of three letters, from 0 to 1; to rank, never to reuse alone."""
    first, second = _groups(one), _groups(other)
    return len(first & second) / max(1, len(first | second))


def _groups(text: str) -> set[str]:
    plain = f"  {' '.join(text.casefold().split())}  "
    return {plain[place : place + 3] for place in range(len(plain) - 2)}
