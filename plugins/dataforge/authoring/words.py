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
    schreibe schreib lade lies hole speichere ersetze anhängen weglassen behalten ausblenden hochladen anhängen kopieren laden löschen behalten prüfen filtern gruppieren berechnen starting also only just no none unique null empty eindeutig
    leer sobald inkrementell anhängen ersetzen überschreiben täglich stündlich wöchentlich monatlich
    aber alle allem allen aller als am an auf aus bei bis bitte da das dass daten dem den der des die dies diese dieser doch
    dort du durch ein eine einem einen einer eines er es für gegen haben hat ich im in ins ist ja jede jeden jeder kein keine
    können man mein mir mit muss nach neu neue neuen nicht noch nur oder pro schon sein sich sie sind soll sollen spalte
    spalten tabelle tag tage über um und uns unter vom von vor war was wenn wer werden wie wir wird wo zu zum zur zeile
    zeilen uhr stunde stunden minuten sowie dann danach""".split()
)
GLUE = STOPWORDS | frozenset(
    """want wants need needs take takes bring brings move moves copy copies put puts pull pulls fetch fetches get gets ingest
    import imports export exports sync syncs transfer build create make made pipeline flow process source target destination
    database db warehouse file files folder csv parquet json ndjson duckdb postgres postgresql api endpoint http connection
    table tables data dataset rows records every day daily with using there here called named result results output input
    lines content contents stuff thing things whole full all please thanks thank hello hi dear everything way form format
    landing lands land goes go come comes onto new empty first then afterwards finally also just fresh again existing
    utc time zone timezone runs scheduled job dag incremental load loaded loads write written writes read reads stored
    tagged tag tags owner key keys column columns by at in on of merge replace append daten datei dateien tabelle quelle
    ziel bitte danke soll sollen möchte brauche hole holen nimm nehmen übertrage übertragen kopiere kopieren importiere
    exportiere verbindung zeile zeilen sätze jeden jede tag täglich uhr ergebnis schreibe lade lies mal zeit deutscher
    dabei davon daraus jeweils hinein rein existing order""".split()
)
"""Words that say nothing by themselves of what should become of the rows."""
_QUOTES = "`\"'„“”‚‘’"
COLUMNS = frozenset(
    "name date time value total count sum average year month day week key id type number status order group first last".split()
)
"""Words that are also common names of columns: no names by themselves, but where a phrase wants a column."""
_NAME = rf"[{_QUOTES}]?[A-Za-z_][A-Za-z0-9_]*[{_QUOTES}]?"
_AND = r"(?:\s*,\s*(?:and\s+|und\s+)?|\s+(?:and|und|plus|sowie|&)\s+|\s*/\s*|\s*\+\s*)(?:the\s+|also\s+|die\s+|der\s+)?"
NAMES = rf"{_NAME}(?:{_AND}{_NAME})*"
"""A pattern for a list of names: `a, b and c`."""


def names_in(text: str, *, plain: bool = False, tail: bool = False) -> list[str]:
    """Return the names of a list, up to the first word that can't be one; with `tail`, those after the last such word.

    Without `plain`, a long unquoted word in a list of names with underscores is no name.
    """
    found: list[str] = []
    for part in re.split(_AND, text):
        name = part.strip(_QUOTES + " ")
        if not name or (name.lower() in STOPWORDS - COLUMNS and part[0] not in _QUOTES):
            if tail:
                found = []
                continue
            break
        if (
            not plain
            and found
            and "_" in found[0]
            and "_" not in name
            and part[0] not in _QUOTES
            and "," not in text
            and len(name) > 12
        ):
            break
        found.append(name)
    return found


def names(text: str) -> list[str]:
    """Return everything in a text that may be the name of a column or table, in order, each once."""
    found = re.findall(r"[A-Za-z_äöüÄÖÜß][A-Za-z0-9_äöüÄÖÜß]*", text)
    return list(dict.fromkeys(word for word in found if word.lower() not in STOPWORDS))
