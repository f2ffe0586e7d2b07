"""Words of a request: names of columns in it, lists of names, and the words that are no names."""

from __future__ import annotations

import re

STOPWORDS = frozenset(
    """a an and are as at be been before by can column columns data date day do does each every field fields for from get
    go has have hour how i if in into is it its just keep key last let like load make me merge my need new no not null of
    off on once one only or our out over per please primary put read row rows run same should so some such table take than
    that the their them then there these they this those time to two under up use using via want was we what when where
    which who will with without would write you your all any but id's everything nothing value values name named called
    records record file files job pipeline dag week weeks month year minute minutes hours days monday tuesday wednesday
    thursday friday saturday sunday incremental incrementally append appending upsert merge merging replace overwrite replacing
    hourly daily weekly monthly nightly schedule scheduled write writes load loads keeping drop filter rename sort limit
    mask hash join deduplicate cast remove removing sorted sorting filtered everything tag tags owner retry retries start
    starting fill filling convert converting set sets change add adds adding derive compute calculate aggregate group count
    sum average total ensure check verify make sure must should may replaced fail warn call name run runs running read
    reading take store storing save put entfernen hashen maskieren umbenennen füllen sortieren speichern schreiben lesen
    laden löschen behalten prüfen filtern gruppieren berechnen starting also only just no none unique null empty eindeutig
    leer sobald inkrementell anhängen ersetzen überschreiben täglich stündlich wöchentlich monatlich
    aber alle allem allen aller als am an auf aus bei bis bitte da das dass daten dem den der des die dies diese dieser doch
    dort du durch ein eine einem einen einer eines er es für gegen haben hat ich im in ins ist ja jede jeden jeder kein keine
    können man mein mir mit muss nach neu neue neuen nicht noch nur oder pro schon sein sich sie sind soll sollen spalte
    spalten tabelle tag tage über um und uns unter vom von vor war was wenn wer werden wie wir wird wo zu zum zur zeile
    zeilen uhr stunde stunden minuten sowie dann danach""".split()
)
_QUOTES = "`\"'„“”‚‘’"
_NAME = rf"[{_QUOTES}]?[A-Za-z_][A-Za-z0-9_]*[{_QUOTES}]?"
_AND = r"(?:\s*,\s*(?:and\s+|und\s+)?|\s+(?:and|und|plus|sowie|&)\s+|\s*/\s*|\s*\+\s*)(?:the\s+|also\s+|die\s+|der\s+)?"
NAMES = rf"{_NAME}(?:{_AND}{_NAME})*"
"""A pattern for a list of names: `a, b and c`."""


def names_in(text: str, *, plain: bool = False) -> list[str]:
    """Return the names of a list, up to the first word that can't be one.

    Without `plain`, an unquoted word after the first name must look like a name of its kind: with an underscore or a
    digit, or as plain as all others of the list.
    """
    found: list[str] = []
    for part in re.split(_AND, text):
        name = part.strip(_QUOTES + " ")
        if not name or (name.lower() in STOPWORDS and part[0] not in _QUOTES):
            break
        if not plain and found and "_" in found[0] and "_" not in name and part[0] not in _QUOTES and "," not in text and len(name) > 12:
            break
        found.append(name)
    return found


def names(text: str) -> list[str]:
    """Return everything in a text that may be the name of a column or table, in order, each once."""
    found = re.findall(r"[A-Za-z_äöüÄÖÜß][A-Za-z0-9_äöüÄÖÜß]*", text)
    return list(dict.fromkeys(word for word in found if word.lower() not in STOPWORDS))
